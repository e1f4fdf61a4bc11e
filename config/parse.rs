//! Text -> [`Config`], field by field, all problems at once.
//!
//! Reading goes on after a problem, so that one run shows everything; what refers to a thing that could not be read is
//! not reported as well. A value is returned only when there is no error. References between things are checked by
//! [`check`](crate::check), which edits use too.
//!
//! The store keeps one text per function, stage and domain and one for the rest; [`parse_function`], [`parse_stage`] and
//! [`parse_domain`] read such a text alone. They know nothing of other texts: whoever puts the result into a `Config`
//! checks it there.

use std::collections::HashSet;
use std::sync::Arc;

use crate::check;
use crate::host::HostPattern;
use crate::model::{Config, Domain, Function, Plan, Stage};
use crate::name::{FunctionName, StageName};
use crate::parse::place::{Place, Reading};
use crate::problem::{Problem, Severity};
use crate::yaml::{self, Value};

mod alias;
mod domain;
mod function;
mod header;
mod notifier;
mod place;
mod plan;
mod process;
mod rule;
mod scalar;
mod upstream;

pub(crate) use alias::show_runs;
pub(crate) use plan::predefined_names;
pub(crate) use scalar::{show_duration, show_size};

/// Answers for the environment: the value of a variable, if it is set.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A value and its warnings, or every problem there is (warnings included).
pub type Parsed<T> = Result<(T, Vec<Problem>), Vec<Problem>>;

/// Reads a whole file.
///
/// # Errors
/// Every problem of the text, at least one of them an error.
pub fn parse(text: &str, env: Env<'_>) -> Parsed<Config> {
    let mut r = Reading::new(env);
    let Some(node) = yaml::read(text, &mut r.problems) else { return Err(r.problems) };
    let config = match &node.value {
        // The empty file is the empty configuration.
        Value::Null => Some(Config::default()),
        _ => config(&Place::root(&node, ""), &mut r),
    };
    let Some(config) = config else { return Err(r.problems) };
    r.problems.extend(check::check_text(&config, &r.broken, &node));
    finish(Some(config), r.problems)
}

/// Reads the stored text of one function. References are not checked.
///
/// # Errors
/// Every problem of the text, with paths from `functions.NAME`.
pub fn parse_function(name: &FunctionName, text: &str, env: Env<'_>) -> Parsed<Function> {
    one(text, &yaml::join("functions", name.as_str()), env, function::function)
}

/// Reads the stored text of one stage. References are not checked.
///
/// # Errors
/// Every problem of the text, with paths from `stages.NAME`.
pub fn parse_stage(name: &StageName, text: &str, env: Env<'_>) -> Parsed<Stage> {
    one(text, &yaml::join("stages", name.as_str()), env, domain::stage)
}

/// Reads the stored text of one domain. References are not checked.
///
/// # Errors
/// Every problem of the text, with paths from `domains.HOST`.
pub fn parse_domain(host: &HostPattern, text: &str, env: Env<'_>) -> Parsed<Domain> {
    one(text, &yaml::join("domains", &host.to_string()), env, domain::domain)
}

/// Reads everything but functions, stages and domains; those are empty in the result. References are not checked.
///
/// # Errors
/// Every problem of the text.
pub fn parse_rest(text: &str, env: Env<'_>) -> Parsed<Config> {
    if text.trim().is_empty() {
        return Ok((Config::default(), Vec::new()));
    }
    one(text, "", env, |place, r| {
        let config = config(place, r)?;
        if !(config.functions.is_empty() && config.stages.is_empty() && config.domains.is_empty()) {
            r.problems.push(place.problem("functions, stages and domains have their own texts"));
        }
        Some(config)
    })
}

/// Reads one plan: a predefined name, or an inline form such as `linearStep: {weight: 10, interval: 1s}`.
///
/// # Errors
/// Every problem of the text.
pub fn parse_plan(text: &str, env: Env<'_>) -> Result<Plan, Vec<Problem>> {
    one(text, "plan", env, plan::plan).map(|(plan, _)| plan)
}

fn one<T>(
    text: &str,
    path: &str,
    env: Env<'_>,
    read: impl FnOnce(&Place<'_>, &mut Reading<'_>) -> Option<T>,
) -> Parsed<T> {
    let mut r = Reading::new(env);
    let Some(node) = yaml::read(text, &mut r.problems) else { return Err(r.problems) };
    let value = read(&Place::root(&node, path), &mut r);
    finish(value, r.problems)
}

fn finish<T>(value: Option<T>, problems: Vec<Problem>) -> Parsed<T> {
    match value {
        Some(value) if problems.iter().all(|problem| problem.severity == Severity::Warning) => Ok((value, problems)),
        _ => Err(problems),
    }
}

fn config(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Config> {
    let mut fields = place.fields(r, "a mapping with `functions` and `domains`")?;
    let config = Config {
        process: Arc::new(process::process(&mut fields, r)),
        functions: fields.read(r, "functions", function::functions).unwrap_or_default(),
        stages: fields.read(r, "stages", domain::stages).unwrap_or_default(),
        domains: fields.read(r, "domains", domain::domains).unwrap_or_default(),
        triggers: fields.read(r, "triggers", domain::triggers).unwrap_or_default(),
        plans: fields.read(r, "plans", plan::plans).unwrap_or_default(),
        base_domain: fields.read(r, "base_domain", domain::base_domain),
        overrides: fields.read(r, "override", domain::overrides).unwrap_or_default(),
        trusted_proxies: fields.read(r, "trusted_proxies", scalar::networks).unwrap_or_default().into(),
        notifiers: fields.read(r, "notifiers", notifier::notifiers).unwrap_or_default(),
    };
    fields.finish(r);
    Some(config)
}

/// Paths of things that could not be read, so that references to them are not reported as well.
pub(crate) type Broken = HashSet<String>;
