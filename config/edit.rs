//! Edits: the only way one configuration becomes the next.
//!
//! An edit says what somebody wants changed, not what the whole should look like. What an alias remembers (who holds which
//! bucket, since when it is split) is carried from edit to edit here.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use ipnet::IpNet;

use crate::bucket::Buckets;
use crate::check;
use crate::host::HostPattern;
use crate::model::{
    Alias, BaseDomain, Config, Dialect, Domain, Function, Notifier, Overrides, Plan, Route, Stage, Version,
};
use crate::name::{AliasName, FunctionName, NotifierName, PlanName, StageName, VersionId};
use crate::problem::{Problem, Severity};
use crate::weight::Split;

/// So many functions and domains touched at once, and checking everything once is cheaper.
const MANY: usize = 64;

/// One wish. `None` deletes.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Creates an empty function, if there is none.
    CreateFunction(FunctionName),
    /// Replaces a function as it is, history and all, or deletes it.
    PutFunction(FunctionName, Option<Arc<Function>>),
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
    /// Sets or deletes the base domain of direct hosts.
    BaseDomain(Option<Arc<BaseDomain>>),
    /// Replaces who may override.
    Overrides(Arc<Overrides>),
    /// Replaces whose forwarding headers are believed.
    TrustedProxies(Arc<[IpNet]>),
    /// Replaces everything but functions, stages, domains and process settings by that of another configuration.
    Rest(Arc<Config>),
}

/// One wish inside a function.
#[derive(Debug, Clone)]
pub enum FunctionEdit {
    /// Sets or deletes the draft.
    Draft(Option<Arc<Version>>),
    /// Sets or deletes a version.
    Version(NonZeroU32, Option<Arc<Version>>),
    /// Sets the dialects.
    Dialects(Vec<Dialect>),
    /// Sets or deletes an alias. An alias that exists keeps its history, unless the new one brings its own.
    Alias(AliasName, Option<Arc<Alias>>),
    /// Gives an alias these weights and leaves the rest of it alone.
    Shift(AliasName, Split),
}

/// `config` after all of `edits`, checked as a whole; warnings are no reason to refuse.
///
/// # Errors
/// Every problem that the result would have. Nothing is applied then.
pub fn apply(config: &Config, edits: &[Edit]) -> Result<Config, Vec<Problem>> {
    let mut next = config.clone();
    let problems: Vec<Problem> = edits.iter().filter_map(|edit| apply_one(&mut next, edit).err()).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut problems = check_touched(config, &next, edits);
    problems.retain(|problem| problem.severity == Severity::Error);
    if problems.is_empty() { Ok(next) } else { Err(problems) }
}

/// Every problem that these edits can have made. A change of functions and domains alone costs what those are large.
fn check_touched(old: &Config, new: &Config, edits: &[Edit]) -> Vec<Problem> {
    let (mut functions, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for edit in edits {
        match edit {
            Edit::CreateFunction(name) | Edit::PutFunction(name, _) | Edit::Function(name, _) => functions.insert(name),
            Edit::Domain(host, _) => hosts.insert(host),
            _ => return check::check(new),
        };
    }
    if functions.len() + hosts.len() > MANY {
        return check::check(new);
    }
    let of_functions = functions.into_iter().flat_map(|name| check::check_function(old, new, name));
    of_functions.chain(hosts.into_iter().flat_map(|host| check::check_domain(new, host))).collect()
}

fn apply_one(config: &mut Config, edit: &Edit) -> Result<(), Problem> {
    match edit {
        Edit::CreateFunction(name) => {
            config.functions.entry(name.clone()).or_default();
        }
        Edit::PutFunction(name, to) => put(&mut config.functions, name, to.as_ref()),
        Edit::Function(name, edit) => {
            let Some(function) = config.functions.get_mut(name) else {
                return Err(Problem::error("functions", format!("there is no function `{name}`")));
            };
            apply_function(Arc::make_mut(function), name, edit)?;
        }
        Edit::Stage(name, to) => put(&mut config.stages, name, to.as_ref()),
        Edit::Domain(host, to) => put(&mut config.domains, host, to.as_ref()),
        Edit::Plan(name, to) => put(&mut config.plans, name, to.as_ref()),
        Edit::Notifier(name, to) => put(&mut config.notifiers, name, to.as_ref()),
        Edit::Triggers(to) => config.triggers = Arc::clone(to),
        Edit::BaseDomain(to) => config.base_domain.clone_from(to),
        Edit::Overrides(to) => config.overrides = Arc::clone(to),
        Edit::TrustedProxies(to) => config.trusted_proxies = Arc::clone(to),
        Edit::Rest(to) => {
            let Config { process: _, functions: _, stages: _, domains: _, triggers, plans, notifiers, .. } = &**to;
            (config.triggers, config.plans, config.notifiers) =
                (Arc::clone(triggers), plans.clone(), notifiers.clone());
            (config.base_domain, config.overrides, config.trusted_proxies) =
                (to.base_domain.clone(), Arc::clone(&to.overrides), Arc::clone(&to.trusted_proxies));
        }
    }
    Ok(())
}

fn put<K: Ord + Clone, V>(map: &mut OrdMap<K, Arc<V>>, key: &K, to: Option<&Arc<V>>) {
    match to {
        Some(value) => map.insert(key.clone(), Arc::clone(value)),
        None => map.remove(key),
    };
}

fn apply_function(function: &mut Function, name: &FunctionName, edit: &FunctionEdit) -> Result<(), Problem> {
    match edit {
        FunctionEdit::Draft(to) => function.draft.clone_from(to),
        FunctionEdit::Version(number, Some(to)) => {
            function.versions.insert(*number, Arc::clone(to));
        }
        FunctionEdit::Version(number, None) => {
            function.versions.remove(number);
        }
        FunctionEdit::Dialects(to) => function.dialects.clone_from(to),
        FunctionEdit::Alias(alias, Some(to)) => {
            let to = match function.aliases.get(alias) {
                Some(now) if !to.has_history() => Arc::new(now.succeeded_by(to)),
                _ => Arc::clone(to),
            };
            function.aliases.insert(alias.clone(), to);
        }
        FunctionEdit::Alias(alias, None) => {
            function.aliases.remove(alias);
        }
        FunctionEdit::Shift(alias, split) => {
            let Some(now) = function.aliases.get(alias) else {
                let path = format!("functions.{name}.aliases");
                return Err(Problem::error(path, format!("function `{name}` has no alias `{alias}`")));
            };
            let shifted = now.shifted(split);
            function.aliases.insert(alias.clone(), Arc::new(shifted));
        }
    }
    Ok(())
}

impl Alias {
    /// This alias with other weights: callers move only from versions that lose to versions that gain.
    #[must_use]
    pub fn shifted(&self, split: &Split) -> Self {
        Self {
            split: split.clone(),
            buckets: self.buckets.reassign(split),
            joined: joined(self, split),
            ..self.clone()
        }
    }

    /// What `next` says, with the history of this alias.
    fn succeeded_by(&self, next: &Self) -> Self {
        let Self { buckets, joined, .. } = self.shifted(&next.split);
        Self { buckets, joined, stable: next.stable.or(self.stable), ..next.clone() }
    }

    /// Whether it remembers more than a cold start from its weights would give.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.buckets != Buckets::cold(&self.split) || self.joined != self.split.highest()
    }
}

/// The cohort's version after `alias` gets `split`: it changes when one version becomes several, to the highest newcomer.
fn joined(alias: &Alias, split: &Split) -> VersionId {
    let before: Vec<VersionId> = alias.split.served().collect();
    if before.len() > 1 && split.served().count() > 1 {
        return alias.joined;
    }
    split.served().rfind(|version| !before.contains(version)).unwrap_or_else(|| split.highest())
}

/// The edits that say what changed from the text `old` to the text `new`, item by item: what neither text changed, such as
/// a live shift, stays as it is. Process settings are no part of it: they change by a restart.
#[must_use]
pub fn edits_between(old: &Config, new: &Config) -> Vec<Edit> {
    let mut edits = Vec::new();
    items(&old.plans, &new.plans, &mut edits, Edit::Plan);
    items(&old.notifiers, &new.notifiers, &mut edits, Edit::Notifier);
    functions(old, new, &mut edits);
    items(&old.stages, &new.stages, &mut edits, Edit::Stage);
    items(&old.domains, &new.domains, &mut edits, Edit::Domain);
    if old.triggers != new.triggers {
        edits.push(Edit::Triggers(Arc::clone(&new.triggers)));
    }
    if old.base_domain != new.base_domain {
        edits.push(Edit::BaseDomain(new.base_domain.clone()));
    }
    if old.overrides != new.overrides {
        edits.push(Edit::Overrides(Arc::clone(&new.overrides)));
    }
    if old.trusted_proxies != new.trusted_proxies {
        edits.push(Edit::TrustedProxies(Arc::clone(&new.trusted_proxies)));
    }
    edits
}

fn items<K: Ord + Clone, V: PartialEq>(
    old: &OrdMap<K, Arc<V>>,
    new: &OrdMap<K, Arc<V>>,
    edits: &mut Vec<Edit>,
    edit: fn(K, Option<Arc<V>>) -> Edit,
) {
    edits.extend(old.diff(new).map(|item| match item {
        DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => {
            edit(key.clone(), Some(Arc::clone(value)))
        }
        DiffItem::Remove(key, _) => edit(key.clone(), None),
    }));
}

fn functions(old: &Config, new: &Config, edits: &mut Vec<Edit>) {
    let empty = Function::default();
    for item in old.functions.diff(&new.functions) {
        let (name, before, after) = match item {
            DiffItem::Add(name, after) => {
                edits.push(Edit::CreateFunction(name.clone()));
                (name, &empty, after)
            }
            DiffItem::Update { old: (_, before), new: (name, after) } => (name, &**before, after),
            DiffItem::Remove(name, _) => {
                edits.push(Edit::PutFunction(name.clone(), None));
                continue;
            }
        };
        edits.extend(function_edits(before, after).into_iter().map(|edit| Edit::Function(name.clone(), edit)));
    }
}

fn function_edits(old: &Function, new: &Function) -> Vec<FunctionEdit> {
    let mut edits = Vec::new();
    if old.draft != new.draft {
        edits.push(FunctionEdit::Draft(new.draft.clone()));
    }
    if old.dialects != new.dialects {
        edits.push(FunctionEdit::Dialects(new.dialects.clone()));
    }
    for (number, version) in &new.versions {
        if old.versions.get(number) != Some(version) {
            edits.push(FunctionEdit::Version(*number, Some(Arc::clone(version))));
        }
    }
    for (name, alias) in &new.aliases {
        match old.aliases.get(name) {
            Some(before) if before == alias => {}
            Some(before) if **alias == before.shifted(&alias.split) => {
                edits.push(FunctionEdit::Shift(name.clone(), alias.split.clone()));
            }
            _ => edits.push(FunctionEdit::Alias(name.clone(), Some(Arc::clone(alias)))),
        }
    }
    edits.extend(gone(&old.aliases, &new.aliases).map(|name| FunctionEdit::Alias(name.clone(), None)));
    edits.extend(gone(&old.versions, &new.versions).map(|number| FunctionEdit::Version(*number, None)));
    edits
}

fn gone<'a, K: Ord, V>(
    old: &'a std::collections::BTreeMap<K, V>,
    new: &'a std::collections::BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    old.keys().filter(|key| !new.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    const SHOP: &str = "
functions:
  shop:
    versions: {1: 'http://10.0.0.1:80', 2: 'http://10.0.0.2:80', 3: 'http://10.0.0.3:80', 4: 'http://10.0.0.4:80'}
    aliases: {prod: SPLIT}
domains: {shop.example.com: 'shop:prod'}
";

    fn file(split: &str) -> Config {
        parse(&SHOP.replace("SPLIT", split), &|_| None).unwrap().0
    }

    fn prod(config: &Config) -> &Alias {
        &config.functions["shop"].aliases["prod"]
    }

    fn version(number: u32) -> VersionId {
        VersionId::number(number).unwrap()
    }

    /// The aliases that come of one file after the other.
    fn history(splits: &[&str]) -> Vec<Alias> {
        let (mut live, mut last) = (Config::default(), Config::default());
        let step = |split: &&str| {
            let next = file(split);
            live = apply(&live, &edits_between(&last, &next)).unwrap();
            last = next;
            prod(&live).clone()
        };
        splits.iter().map(step).collect()
    }

    #[test]
    fn what_a_file_says_becomes_what_is_live() {
        let (one, two) = (file("{1: 95, 2: 5}"), file("{1: 50, 2: 50}"));
        assert_eq!(apply(&Config::default(), &edits_between(&Config::default(), &one)).unwrap(), one);
        assert_eq!(apply(&one, &edits_between(&one, &two)).unwrap(), two);
        assert!(matches!(&edits_between(&one, &two)[..], [Edit::Function(_, FunctionEdit::Shift(..))]));
        let empty = Config::default();
        assert_eq!(apply(&two, &edits_between(&two, &empty)).unwrap(), empty);
        assert!(edits_between(&two, &two).is_empty());
    }

    #[test]
    fn a_live_shift_stays_until_the_file_says_otherwise_about_the_split() {
        let before = file("{1: 95, 2: 5}");
        let split = file("{1: 20, 2: 80}").functions["shop"].aliases["prod"].split.clone();
        let name: FunctionName = "shop".parse().unwrap();
        let shift = FunctionEdit::Shift("prod".parse().unwrap(), split.clone());
        let live = apply(&before, &[Edit::Function(name, shift)]).unwrap();
        let mut after = before.clone();
        after.trusted_proxies = Arc::new(["10.0.0.0/8".parse().unwrap()]);
        let live = apply(&live, &edits_between(&before, &after)).unwrap();
        assert_eq!(prod(&live).split, split);
        assert_eq!(live.trusted_proxies, after.trusted_proxies);
    }

    #[test]
    fn callers_move_only_into_versions_that_gain_through_any_number_of_files() {
        let aliases = history(&["{1: 60, 2: 40}", "{1: 50, 2: 30, 3: 20}", "{1: 40, 2: 35, 3: 25}"]);
        for pair in aliases.windows(2) {
            for bucket in 0..10_000 {
                let (from, to) = (pair[0].buckets.version(bucket), pair[1].buckets.version(bucket));
                assert!(from == to || pair[0].split.weight(to) < pair[1].split.weight(to), "{bucket}: {from} to {to}");
            }
        }
        assert!(aliases[2].has_history(), "three versions remember how they came to be");
    }

    #[test]
    fn a_cohort_lasts_until_one_version_is_alone() {
        let joined: Vec<_> =
            history(&["1", "{1: 95, 2: 5}", "{1: 50, 2: 50}", "{1: 40, 2: 40, 3: 20}", "3", "{3: 90, 4: 10}"])
                .iter()
                .map(|alias| alias.joined)
                .collect();
        assert_eq!(joined, [1, 2, 2, 2, 3, 4].map(version));
    }

    #[test]
    fn an_edit_that_breaks_a_reference_changes_nothing() {
        let config = file("{1: 95, 2: 5}");
        let name: FunctionName = "shop".parse().unwrap();
        for edit in [
            Edit::PutFunction(name.clone(), None),
            Edit::Function(name.clone(), FunctionEdit::Alias("prod".parse().unwrap(), None)),
            Edit::Function(name.clone(), FunctionEdit::Version(NonZeroU32::MIN, None)),
            Edit::Function("nope".parse().unwrap(), FunctionEdit::Draft(None)),
            Edit::Function(name, FunctionEdit::Shift("nope".parse().unwrap(), Split::whole(version(1)))),
        ] {
            assert!(!apply(&config, std::slice::from_ref(&edit)).unwrap_err().is_empty(), "{edit:?}");
        }
    }
}
