//! Edits: the only way one configuration becomes the next.
//!
//! An edit says what somebody wants changed, not what the whole should look like. What an alias remembers (who holds which
//! bucket, since when it is split) is carried from edit to edit, and a version never changes. Three kinds differ in what
//! they owe to what is live: a wish of an operator is refused when it does not fit, a [`Merge`] of two texts touches only
//! the fields in which they differ, and what a store says ([`Stored`]) is taken as it is.

mod alias;
mod function;
mod layer;
mod merge;
mod outdated;
mod stored;
#[cfg(test)]
mod tests;
pub(crate) mod text_name;
mod touched;
pub(crate) mod unread;
mod version;

use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;
use ipnet::IpNet;

pub use layer::rollback_of;
pub use merge::{Merge, edits_between, edits_of_file};
pub use outdated::outdated;
pub use stored::Stored;
use touched::Touched;
pub(crate) use version::raise;

use crate::model::{
    Alias, AliasPatch, BaseDomain, Config, DefaultCertificate, Domain, EarlierSplit, Endpoint, Function,
    FunctionSettings, Layer, Notifier, Overrides, Past, Plan, Route, Stage, Version,
};
use crate::text::problem::{Code, Problem, Severity};
use crate::text::yaml::join;
use crate::value::digest::Digest;
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName, NotifierName, PlanName, RolloutId, StageName, VersionId};
use crate::value::weight::Split;

/// One wish. `None` deletes, and what is to be deleted must be there.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Creates an empty function, if there is none.
    CreateFunction(FunctionName),
    /// Creates an empty function where there is none.
    NewFunction(FunctionName),
    /// Deletes a function with its draft, versions and aliases. Its numbers are not given out again.
    DeleteFunction(FunctionName),
    /// Changes something inside a function.
    Function(FunctionName, FunctionEdit),
    /// Sets or deletes a stage.
    Stage(StageName, Option<Arc<Stage>>),
    /// Sets or deletes a domain.
    Domain(HostPattern, Option<Arc<Domain>>),
    /// Sets or deletes a plan.
    Plan(PlanName, Option<Arc<Plan>>),
    /// Sets or deletes a notifier.
    Notifier(NotifierName, Option<Arc<Notifier>>),
    /// Replaces all triggers.
    Triggers(Arc<[Route]>),
    /// Sets or removes the base domain of direct hosts.
    BaseDomain(Option<Arc<BaseDomain>>),
    /// Replaces who may override.
    Overrides(Arc<Overrides>),
    /// Replaces whose forwarding headers are believed.
    TrustedProxies(Arc<[IpNet]>),
    /// Sets or removes the certificate for clients that name no host.
    DefaultCertificate(Option<Arc<DefaultCertificate>>),
    /// No version of this function, which need not exist, gets this number or a lower one any more.
    RaiseNumber(FunctionName, NonZeroU32),
    /// What changed about a function from one text to the next. A version that is gone is retired; a function that is
    /// gone loses its draft and its aliases, and all its versions are retired.
    MergeFunction(FunctionName, Merge<Function>),
    /// What changed about a stage from one text to the next.
    MergeStage(StageName, Merge<Stage>),
    /// What changed about a domain from one text to the next.
    MergeDomain(HostPattern, Merge<Domain>),
    /// Whether a plan changed from one text to the next.
    MergePlan(PlanName, Merge<Plan>),
    /// Whether a notifier changed from one text to the next.
    MergeNotifier(NotifierName, Merge<Notifier>),
    /// A part of a function as a store has it, history and all.
    Stored(FunctionName, Stored),
}

/// One wish inside a function.
#[derive(Debug, Clone)]
pub enum FunctionEdit {
    /// Sets or deletes the draft.
    Draft(Option<Arc<Version>>),
    /// Creates a version under this number, changes what may change of one that exists, or deletes one that nothing names.
    Version(NonZeroU32, Option<Arc<Version>>),
    /// Freezes the draft, or an older version, under the next number. Refused when it is the newest version already.
    Publish {
        /// The version to freeze anew; `None` for the draft.
        from: Option<NonZeroU32>,
        /// A label for the new version.
        label: Option<String>,
        /// A description of the new version; `None` takes that of the source.
        description: Option<String>,
        /// The digest that the source must have.
        expected: Option<Digest>,
    },
    /// Sets or removes the label of a version.
    Label(NonZeroU32, Option<String>),
    /// Sets or removes the description of a version.
    Describe(NonZeroU32, Option<String>),
    /// Takes a version that nothing names out of use, or brings it back.
    Retire(NonZeroU32, bool),
    /// Drops a version that nothing names; its digest stays, and the number comes back with it alone.
    DropVersion(NonZeroU32),
    /// Moves a version: its digest stays.
    Endpoints(NonZeroU32, Vec<Endpoint>),
    /// Sets what belongs to the function alone.
    Settings(FunctionSettings),
    /// Creates an alias that is not there.
    CreateAlias(AliasName, Arc<Alias>),
    /// Sets or deletes an alias. One that exists keeps its history, unless the new one brings its own. `$DEFAULT` cannot be
    /// deleted.
    Alias(AliasName, Option<Arc<Alias>>),
    /// Changes some fields of an alias.
    PatchAlias(AliasName, AliasPatch),
    /// Gives an alias these weights and leaves the rest of it alone.
    Shift(AliasName, Split),
    /// Puts an alias back to what it was, history included, whether it is there now or not.
    RestoreAlias(AliasName, Arc<Alias>),
    /// Gives an alias this split, and this past: [`rollback_of`] makes it. Applied twice it is the same as applied once.
    RollBackAlias(AliasName, EarlierSplit, Arc<Past>),
    /// Ends a rollout by giving the alias the candidate alone, with this split; the layer is dropped.
    Promote {
        /// The alias; it is made if it is not there.
        alias: AliasName,
        /// The rollout.
        rollout: RolloutId,
        /// The version that has everything from now on.
        candidate: VersionId,
    },
    /// Puts the layer of a rollout over an alias.
    SetLayer(AliasName, Arc<Layer>),
    /// Drops the layer of a rollout, if it is there.
    DropLayer {
        /// The alias.
        alias: AliasName,
        /// The rollout.
        rollout: RolloutId,
        /// True if the rollout went back, so that the alias has the split that it had before.
        is_back: bool,
    },
    /// Writes what requests see into the alias, and drops the layer of the rollout.
    KeepLayer {
        /// The alias.
        alias: AliasName,
        /// The rollout.
        rollout: RolloutId,
    },
}

/// `config` after all of `edits`, checked as far as they reach; warnings are no reason to refuse.
///
/// # Errors
/// Every edit that is refused, with its [`Code`]; or else every problem that the result would have and that `config` does not have:
/// nobody answers for what somebody else broke. Nothing is applied then.
pub fn apply(config: &Config, edits: &[Edit]) -> Result<Config, Vec<Problem>> {
    let mut next = config.clone();
    unread::replace_settings(&mut next, edits)?;
    let mut problems: Vec<Problem> =
        edits.iter().filter_map(|edit| apply_one(&mut next, edit).err()).flatten().collect();
    unread::settle(&mut next);
    let touched = Touched::by(edits);
    if problems.is_empty() {
        problems = touched.functions.iter().flat_map(|name| version::still_named(config, &next, name)).collect();
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let problems = touched.check(config, &next);
    if problems.is_empty() { Ok(next) } else { Err(problems) }
}

/// Without the warnings.
pub(crate) fn errors(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.retain(|problem| problem.severity == Severity::Error);
    problems
}

/// `config` after one edit, not checked.
pub(crate) fn apply_one(config: &mut Config, edit: &Edit) -> Result<(), Vec<Problem>> {
    if unread::apply(config, edit)? {
        return Ok(());
    }
    match edit {
        Edit::CreateFunction(name) => {
            config.functions.entry(name.clone()).or_default();
        }
        Edit::NewFunction(name) => {
            if config.functions.contains_key(name) {
                let problem = Problem::error(join("functions", name.as_str()), format!("there is a function `{name}`"));
                return Err(vec![problem.code(Code::Exists)]);
            }
            config.functions.insert(name.clone(), Arc::default());
        }
        Edit::DeleteFunction(name) => put(&mut config.functions, "functions", name, None)?,
        Edit::Function(name, edit) => function::apply(config, name, edit)?,
        Edit::Stage(name, to) => put(&mut config.stages, "stages", name, to.as_ref())?,
        Edit::Domain(host, to) => put(&mut config.domains, "domains", host, to.as_ref())?,
        Edit::Plan(name, to) => put(&mut config.plans, "plans", name, to.as_ref())?,
        Edit::Notifier(name, to) => put(&mut config.notifiers, "notifiers", name, to.as_ref())?,
        Edit::Triggers(to) => config.triggers = Arc::clone(to),
        Edit::BaseDomain(to) => config.base_domain.clone_from(to),
        Edit::Overrides(to) => config.overrides = Arc::clone(to),
        Edit::TrustedProxies(to) => config.trusted_proxies = Arc::clone(to),
        Edit::DefaultCertificate(to) => config.default_certificate.clone_from(to),
        Edit::RaiseNumber(name, number) => raise(&mut config.numbers, name, *number),
        Edit::MergeFunction(name, merge) => merge::function(config, name, merge)?,
        Edit::MergeStage(name, merge) => merge::item(&mut config.stages, name, merge),
        Edit::MergeDomain(host, merge) => merge::item(&mut config.domains, host, merge),
        Edit::MergePlan(name, merge) => merge::item(&mut config.plans, name, merge),
        Edit::MergeNotifier(name, merge) => merge::item(&mut config.notifiers, name, merge),
        Edit::Stored(name, part) => stored::apply(config, name, part)?,
    }
    Ok(())
}

fn put<K: Ord + Clone + ToString, V>(
    map: &mut OrdMap<K, Arc<V>>,
    section: &str,
    key: &K,
    to: Option<&Arc<V>>,
) -> Result<(), Vec<Problem>> {
    match to {
        Some(value) => drop(map.insert(key.clone(), Arc::clone(value))),
        None if map.remove(key).is_none() => {
            let key = key.to_string();
            return Err(vec![not_found(join(section, &key), format!("there is no `{key}` in `{section}`"))]);
        }
        None => {}
    }
    Ok(())
}

fn not_found(path: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem::error(path, message).code(Code::NotFound)
}
