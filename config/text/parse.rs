//! Text -> [`Config`], field by field, all problems at once.
//!
//! Reading goes on after a problem, so that one run shows everything; what refers to a thing that could not be read is
//! not reported as well. A value is returned only when there is no error. References between things are checked by
//! [`check`](crate::text::check), which edits use too.
//!
//! [`parse_alias`], [`parse_version`] and their like read one thing alone, from a store or from a caller (JSON is YAML).
//! They know nothing of other things: whoever puts the result into a `Config` checks it there.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::model::{
    Alias, AliasPatch, Config, Domain, Endpoint, Function, FunctionSettings, Notifier, Plan, Process, Stage, Version,
};
use crate::text::check;
use crate::text::parse::function::Functions;
use crate::text::parse::place::{Fields, Place, Reading};
use crate::text::problem::{Problem, Severity};
use crate::text::yaml::{self, Node, Value};
use crate::value::host::HostPattern;
use crate::value::name::{FunctionName, StageName};

mod alias;
mod asked;
mod authority;
mod dialects;
mod domain;
mod function;
mod gate;
mod guard;
mod header;
mod hook;
mod notifier;
mod parts;
mod place;
mod plan;
mod process;
mod rule;
mod scalar;
mod upstream;
mod value;

pub use crate::value::template::unresolved;
pub use asked::{Named, asked_plan};
pub use parts::{LastFile, Spread};
pub(crate) use plan::CONSTRUCTORS;
pub use value::parse_value;

/// Answers for the environment: the value of a variable, if it is set.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A value and its warnings, or every problem there is (warnings included).
pub type Parsed<T> = Result<(T, Vec<Problem>), Vec<Problem>>;

/// Reads a whole file.
///
/// # Errors
/// Every problem of the text, at least one of them an error.
pub fn parse(text: &str, env: Env<'_>) -> Parsed<Config> {
    LastFile::default().parse(text, env)
}

/// Reads a whole file at once.
fn parse_whole(text: &str, env: Env<'_>) -> Parsed<Config> {
    let mut r = Reading::new(env);
    let Some(node) = file(text, &mut r) else { return Err(r.problems) };
    let sections = |fields: &mut Fields<'_>, r: &mut Reading<'_>| Some(Sections::read(fields, r));
    let Some(config) = config(&Place::root(&node, ""), &mut r, sections) else { return Err(r.problems) };
    r.problems.extend(check::check_text(&config, &r.broken, &node));
    finish(Some(config), r.problems)
}

/// Reads one function, with its draft, versions and aliases. References are not checked.
///
/// # Errors
/// Every problem of the text, with paths from `functions.NAME`.
pub fn parse_function(name: &FunctionName, text: &str, env: Env<'_>) -> Parsed<Function> {
    one(text, &yaml::join("functions", name.as_str()), env, function::function)
}

/// Reads one stage. References are not checked.
///
/// # Errors
/// Every problem of the text, with paths from `stages.NAME`.
pub fn parse_stage(name: &StageName, text: &str, env: Env<'_>) -> Parsed<Stage> {
    one(text, &yaml::join("stages", name.as_str()), env, domain::stage)
}

/// Reads one domain. References are not checked.
///
/// # Errors
/// Every problem of the text, with paths from `domains.HOST`.
pub fn parse_domain(host: &HostPattern, text: &str, env: Env<'_>) -> Parsed<Domain> {
    one(text, &yaml::join("domains", &host.to_string()), env, domain::domain)
}

/// Reads what belongs to a function alone: `{dialects: [fc], invoke: {path: /event}}`, or `{}`.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_function_settings(path: &str, text: &str, env: Env<'_>) -> Parsed<FunctionSettings> {
    one(text, path, env, function::settings_alone)
}

/// Reads one alias: a version, a split, or the full form. References are not checked.
///
/// # Errors
/// Every problem of the text, with paths from `path` (such as `functions.shop.aliases.prod`).
pub fn parse_alias(path: &str, text: &str, env: Env<'_>) -> Parsed<Alias> {
    one(text, path, env, alias::alias)
}

/// Reads the fields of an alias that are to change: what is absent stays, `null` or nothing resets, a value sets.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_alias_patch(path: &str, text: &str, env: Env<'_>) -> Parsed<AliasPatch> {
    one(text, path, env, alias::patch)
}

/// Reads one version: a URL, or the full form.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_version(path: &str, text: &str, env: Env<'_>) -> Parsed<Version> {
    one(text, path, env, function::version)
}

/// Reads one version as a store has it: what it states as its digest is its digest.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_stored_version(path: &str, text: &str, env: Env<'_>) -> Parsed<Version> {
    one(text, path, env, function::stored_version)
}

/// Reads one draft: a URL, or the full form.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_draft(path: &str, text: &str, env: Env<'_>) -> Parsed<Version> {
    one(text, path, env, function::draft)
}

/// Reads a list of endpoints: `[10.0.0.11:8080]`.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_endpoints(path: &str, text: &str, env: Env<'_>) -> Parsed<Vec<Endpoint>> {
    one(text, path, env, upstream::endpoints)
}

/// Reads one plan, as [`parse_plan`] does.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_plan_text(path: &str, text: &str, env: Env<'_>) -> Parsed<Plan> {
    one(text, path, env, plan::plan)
}

/// Reads one notifier.
///
/// # Errors
/// Every problem of the text, with paths from `path`.
pub fn parse_notifier(path: &str, text: &str, env: Env<'_>) -> Parsed<Notifier> {
    one(text, path, env, notifier::notifier)
}

/// Reads triggers, base domain, overrides, trusted proxies and default certificate; everything else is empty in the
/// result. References are not checked.
///
/// # Errors
/// Every problem of the text.
pub fn parse_settings(text: &str, env: Env<'_>) -> Parsed<Config> {
    if text.trim().is_empty() {
        return Ok((Config::default(), Vec::new()));
    }
    one(text, "", env, |place, r| {
        let mut fields = place.fields(r, "a mapping with `triggers` or other settings")?;
        let mut config = Config::default();
        settings(&mut config, &mut fields, r);
        fields.finish(r);
        Some(config)
    })
}

/// These problems, each at the place of its path in the text of a file: for what only an edit finds out.
#[must_use]
pub fn locate(text: &str, problems: Vec<Problem>) -> Vec<Problem> {
    match yaml::read(text, &mut Vec::new()) {
        Some(node) => check::locate(&node, problems),
        None => problems,
    }
}

/// Reads the process settings of a whole file and nothing else of it: where the gateway that runs the file is found.
///
/// # Errors
/// Every problem of these settings.
pub fn parse_process(text: &str, env: Env<'_>) -> Parsed<Process> {
    let mut r = Reading::new(env);
    let Some(node) = file(text, &mut r) else { return Err(r.problems) };
    let place = Place::root(&node, "");
    let process = place.fields(&mut r, FILE).map(|mut fields| process::process(&mut fields, &mut r));
    finish(process, r.problems)
}

/// Reads one plan: a predefined name, or an inline form such as `linearStep: {weight: 10, interval: 1s}`.
///
/// # Errors
/// Every problem of the text.
pub fn parse_plan(text: &str, env: Env<'_>) -> Result<Plan, Vec<Problem>> {
    one(text, "plan", env, plan::plan).map(|(plan, _)| plan)
}

/// Reads a duration such as `2h`, between these two.
///
/// # Errors
/// What is wrong with it, at `path`.
pub fn parse_time(path: &str, text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Vec<Problem>> {
    one(text, path, &|_| None, |place, r| scalar::duration_within(place, r, range)).map(|(time, _)| time)
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

/// The shape of a file.
const FILE: &str = "a mapping with `functions` and `domains`";

/// Reads the text of a file. One without content is a mistake: it is being written, or a command that was to write it failed.
fn file(text: &str, r: &mut Reading<'_>) -> Option<Node> {
    let node = yaml::read(text, &mut r.problems)?;
    if node.value == Value::Null {
        let help = "a file has at least `functions` and `domains`, or process settings such as `listeners`";
        r.problems.push(Problem::error("", "the file is empty").at(node.at).help(help));
        return None;
    }
    Some(node)
}

/// The sections that may hold very many entries.
struct Sections {
    functions: Functions,
    stages: OrdMap<StageName, Arc<Stage>>,
    domains: OrdMap<HostPattern, Arc<Domain>>,
}

impl Sections {
    fn read(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> Self {
        let functions = Self::functions(fields, r);
        let stages = Self::stages(fields, r);
        Self { functions, stages, domains: Self::domains(fields, r) }
    }

    fn functions(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> Functions {
        fields.read(r, "functions", function::functions).unwrap_or_default()
    }

    fn stages(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> OrdMap<StageName, Arc<Stage>> {
        fields.read(r, "stages", domain::stages).unwrap_or_default()
    }

    fn domains(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> OrdMap<HostPattern, Arc<Domain>> {
        fields.read(r, "domains", domain::domains).unwrap_or_default()
    }
}

/// The configuration of a file, its sections read by `sections`.
fn config<'e>(
    place: &Place<'_>,
    r: &mut Reading<'e>,
    sections: impl FnOnce(&mut Fields<'_>, &mut Reading<'e>) -> Option<Sections>,
) -> Option<Config> {
    let mut fields = place.fields(r, FILE)?;
    let process = Arc::new(process::process(&mut fields, r));
    r.environment = process.environment.clone();
    let Sections { functions: (functions, numbers), stages, domains } = sections(&mut fields, r)?;
    let mut config = Config { process, functions, numbers, stages, domains, ..Config::default() };
    config.plans = fields.read(r, "plans", plan::plans).unwrap_or_default();
    config.notifiers = fields.read(r, "notifiers", notifier::notifiers).unwrap_or_default();
    settings(&mut config, &mut fields, r);
    let next = fields.take("next_versions");
    let gone = next.as_ref().and_then(|place| function::next_versions(place, r)).unwrap_or_default();
    for (name, number) in gone {
        if let (Some(place), true) = (&next, config.functions.contains_key(&name)) {
            let problem = place.problem(format!("the function `{name}` is here"));
            r.problems.push(problem.help(format!("write `functions.{name}.next` instead")));
        }
        config.numbers.insert(name, number);
    }
    fields.finish(r);
    Some(config)
}

fn settings(config: &mut Config, fields: &mut Fields<'_>, r: &mut Reading<'_>) {
    config.triggers = fields.read(r, "triggers", domain::triggers).unwrap_or_default();
    config.base_domain = fields.read(r, "base_domain", domain::base_domain);
    config.overrides = fields.read(r, "override", domain::overrides).unwrap_or_default();
    config.trusted_proxies = fields.read(r, "trusted_proxies", scalar::networks).unwrap_or_default().into();
    config.default_certificate = fields.read(r, "default_certificate", domain::default_certificate).map(Arc::new);
}
