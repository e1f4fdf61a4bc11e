//! What a plan would do, with traffic as an alias has it or as the caller assumes.

use std::sync::Arc;

use axum::Json;
use axum::response::IntoResponse;
use config::release::preflight::Observed;
use config::release::simulate::{self, Assumed, Defect, Percentage, Rate, Seen};
use config::text::parse;
use config::text::problem::Problem;
use config::value::name::{AliasName, FunctionName};
use serde::Deserialize;
use serde_json::Value;

use super::asked::{self, Text};
use super::auth::Access;
use super::call::Call;
use super::error::Failure;
use super::operation::{Answer, Content, Operation, Verb, run};
use super::{functions, observed};

/// Of simulations.
pub(super) fn operations() -> Vec<Operation> {
    let summary =
        "What a plan would do, with traffic as an alias has it or as is assumed. It takes a while; one runs at a time.";
    vec![
        Operation::act(Verb::Post, "/v1/simulate", "simulate", summary, run!(simulated))
            .access(Access::Read)
            .takes("simulation")
            .answers(Content::Form("forecast")),
    ]
}

/// What is left out is as the alias has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    function: Option<Text<FunctionName>>,
    alias: Option<Text<AliasName>>,
    plan: Option<Value>,
    rate: Option<Text<Rate>>,
    base: Option<Text<Percentage>>,
    defect: Option<Text<Defect>>,
    runs: Option<u32>,
    seed: Option<u64>,
}

async fn simulated(call: Call) -> Answer {
    let Form { function, alias, plan, rate, base, defect, runs, seed } = call.form()?;
    let config = call.live().config;
    let target = match (function, alias) {
        (Some(function), Some(alias)) => Some((function.0, alias.0)),
        (None, None) => None,
        _ => return Err(Failure::invalid("the body: an alias is named by `function` and `alias`")),
    };
    let aliases: Vec<_> = target.iter().map(|(function, alias)| (function, alias)).collect();
    let (plan, name) = asked::plan(plan.as_ref(), &aliases, &config, &parse::unresolved)?;
    let seen = match &target {
        Some((function, alias)) => {
            let model = functions::find(&config, function)?;
            if !model.aliases.contains_key(alias) && *alias != AliasName::default_alias() {
                return Err(Failure::not_found(&format!("alias `{function}:{alias}`")));
            }
            Some(observed::of_alias(&call.server, &config, function, alias)).filter(|seen| seen.requests > 0)
        }
        None => None,
    };
    let rate = rate.map(|rate| rate.0).or(seen.map(|seen| Rate::near(seen.rate())));
    let assumed = Assumed {
        rate: rate.ok_or_else(|| Failure::problems(vec![without_rate(target.as_ref())]))?,
        base: base.map(|base| base.0).or(seen.map(|seen| Percentage::near(seen.failures))).unwrap_or_default(),
        defect: defect.map(|defect| defect.0).unwrap_or_default(),
        runs: runs.unwrap_or_else(|| simulate::default_runs(&plan)),
        seed: seed.unwrap_or(1),
    };
    // A simulation takes a whole processor, which the data path would miss: one at a time.
    let turn = Arc::clone(&call.server.simulating).acquire_owned().await.map_err(|_| stopping())?;
    let report = tokio::task::spawn_blocking(move || {
        // It keeps its turn, also when nobody waits for the answer any more.
        let _turn = turn;
        simulate::simulate(&plan, name, assumed)
    });
    let mut report = report.await.map_err(|_| stopping())?.map_err(|problem| Failure::problems(vec![problem]))?;
    report.observed =
        seen.map(|Observed { requests, over, .. }| Seen { requests, seconds: over.as_secs_f64().round() });
    Ok(Json(report).into_response())
}

fn stopping() -> Failure {
    Failure::new("Stopping", "the gateway is stopping")
}

fn without_rate(target: Option<&(FunctionName, AliasName)>) -> Problem {
    let message = match target {
        Some((function, alias)) => format!("`{function}:{alias}` had no request within the last minute"),
        None => "no alias is named whose rate might be assumed".to_owned(),
    };
    Problem::error("rate", message).help("say how many requests come in a second: `rate: 200`")
}
