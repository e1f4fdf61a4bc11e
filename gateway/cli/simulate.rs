//! `weir simulate`: what a plan would do, before it is tried on people.

use std::path::Path;

use config::model::{Config, Plan};
use config::release::simulate::{self, Assumed, Defect, MAX_RUNS, Percentage, Rate, Report};
use config::text::parse;
use config::value::name::PlanName;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Exit;
use super::access::{Access, DEFAULT_FILE};
use super::ask::{Form, finish};
use super::failure::Failure;
use super::local::load_unresolved;
use super::remote::{Call, LONG, Remote};
use super::target::AliasTarget;

/// `weir simulate`
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// Ask the running gateway: what is not said is as this alias has had it within the last minute. Without an alias
    /// nothing is asked, and a plan is looked for in the configuration file
    #[arg(value_name = "FUNCTION:ALIAS")]
    target: Option<AliasTarget>,
    /// The name of a plan, a name of CodeDeploy, or a plan written out: `linearStep: {weight: 10, interval: 1m}`; without
    /// it, the plan of the alias
    #[arg(long, value_name = "PLAN", required_unless_present = "target")]
    plan: Option<String>,
    /// Requests of the alias per second
    #[arg(long, value_name = "PER SECOND", required_unless_present = "target")]
    rate: Option<Rate>,
    /// How many requests fail on stable; 1% where nothing is known
    #[arg(long, value_name = "PERCENT")]
    base: Option<Percentage>,
    /// How many more fail on a defective candidate: `+5%` are five more of a hundred
    #[arg(long, value_name = "+PERCENT", default_value_t)]
    defect: Defect,
    /// How many times each candidate is tried; 200, or fewer where the plan has very many steps
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RUNS)))]
    runs: Option<u32>,
    /// Equal seeds give equal answers
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    access: Access,
}

impl Simulate {
    pub(super) fn run(&self) -> Exit {
        let asked = match &self.target {
            Some(target) => self.ask(target),
            None => match self.file() {
                Ok(file) => self.compute(&file),
                Err(exit) => return exit,
            },
        };
        finish(asked.and_then(|answer| self.show(&answer)))
    }

    fn ask(&self, target: &AliasTarget) -> Result<Value, Failure> {
        let body = json!({
            "function": target.function.as_str(),
            "alias": target.alias.as_str(),
            "plan": self.plan,
            "rate": self.rate,
            "base": self.base,
            "defect": self.defect,
            "runs": self.runs,
            "seed": self.seed,
        });
        let sent =
            Remote::new(&self.access)?.call(Call::new(Method::POST, "/v1/simulate").json(&body).within(Some(LONG)));
        Ok(sent.map_err(|failure| self.placed(failure))?.json)
    }

    /// The configuration file, if the plan may be one of its plans. Its problems are printed.
    fn file(&self) -> Result<Config, Exit> {
        let is_own = |plan: &str| plan.parse::<PlanName>().is_ok() && Plan::predefined(plan).is_none();
        let is_name = self.plan.as_deref().is_some_and(is_own);
        match &self.access.config {
            Some(file) if is_name => load_unresolved(file),
            None if is_name && Path::new(DEFAULT_FILE).exists() => load_unresolved(Path::new(DEFAULT_FILE)),
            _ => Ok(Config::default()),
        }
    }

    fn compute(&self, file: &Config) -> Result<Value, Failure> {
        let (Some(plan), Some(rate)) = (&self.plan, self.rate) else {
            return Err(Failure::usage("without an alias, `--plan` and `--rate` say what is simulated"));
        };
        let invalid =
            |problems| self.placed(Failure::new(Exit::Invalid, "this cannot be simulated").with_problems(problems));
        let (plan, name) = parse::asked_plan(plan, &file.plans, &parse::unresolved).map_err(invalid)?;
        let base = self.base.unwrap_or_default();
        let runs = self.runs.unwrap_or_else(|| simulate::default_runs(&plan));
        let assumed = Assumed { rate, base, defect: self.defect, runs, seed: self.seed };
        let report = simulate::simulate(&plan, name, assumed).map_err(|problem| invalid(vec![problem]))?;
        serde_json::to_value(report).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
    }

    /// The failure with its problems shown in the plan, where they stand there.
    fn placed(&self, failure: Failure) -> Failure {
        match &self.plan {
            Some(plan) if failure.is_placed() => failure.in_text("--plan", plan),
            _ => failure,
        }
    }

    fn show(&self, answer: &Value) -> Result<Exit, Failure> {
        if self.form.json {
            return Ok(self.form.show(answer, String::new));
        }
        let report = Report::deserialize(answer).map_err(|error| Failure::other_form(&error))?;
        Ok(self.form.show(answer, || report.to_string()))
    }
}
