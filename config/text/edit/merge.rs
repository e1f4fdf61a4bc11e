//! From one text to the next, field by field: what neither of them changed, such as a live shift, stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::model::{Alias, Config, Domain, Function, Notifier, Plan, Stage, Target, Upstream, Version};
use crate::text::edit::text_name::TextName;
use crate::text::edit::unread::{forget, settings};
use crate::text::edit::version::Versions;
use crate::text::edit::{Edit, FunctionEdit, layer};
use crate::text::problem::Problem;
use crate::text::yaml::join;
use crate::value::digest::Digest;
use crate::value::name::{AliasName, FunctionName, Qualifier, VersionId};

/// What one text says about a thing, and what the next one says. Only the fields in which they differ are changed; a thing
/// that is live no more is made whole from the new text, and one that the old text did not have is as the new text says.
#[derive(Debug, Clone)]
pub struct Merge<T> {
    /// In the old text. Without it, the thing is as the new text says: there or gone.
    pub from: Option<Arc<T>>,
    /// In the new text.
    pub to: Option<Arc<T>>,
}

/// The edits that say what changed from the text `old` to the text `new`. Process settings are no part of it: they change
/// by a restart.
#[must_use]
pub fn edits_between(old: &Config, new: &Config) -> Vec<Edit> {
    let mut edits = Vec::new();
    items(&old.plans, &new.plans, &mut edits, Edit::MergePlan);
    items(&old.notifiers, &new.notifiers, &mut edits, Edit::MergeNotifier);
    items(&old.functions, &new.functions, &mut edits, Edit::MergeFunction);
    // After the functions: a number that is raised first could not be written by hand any more.
    for item in old.numbers.diff(&new.numbers) {
        if let DiffItem::Add(name, number) | DiffItem::Update { new: (name, number), .. } = item {
            edits.push(Edit::RaiseNumber(name.clone(), *number));
        }
    }
    items(&old.stages, &new.stages, &mut edits, Edit::MergeStage);
    items(&old.domains, &new.domains, &mut edits, Edit::MergeDomain);
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
    if old.default_certificate != new.default_certificate {
        edits.push(Edit::DefaultCertificate(new.default_certificate.clone()));
    }
    edits
}

/// The edits that say what changed from the file as it was applied last to `file`, above what is live. Of what cannot be read of the last
/// one nothing changed, for all that is known. `repair`: what cannot be read of what is live is as the file says.
#[must_use]
pub fn edits_of_file(live: &Config, last: &Config, file: &Config, repair: bool) -> Vec<Edit> {
    let mut last = last.clone();
    for name in last.unreadable.keys().cloned().collect::<Vec<_>>() {
        forget(&mut last, &name);
        if let Some(text) = TextName::parse(&name) {
            text.copy(file, &mut last);
        }
    }
    let mut edits = Vec::new();
    for name in live.unreadable.keys().filter(|_| repair).filter_map(|name| TextName::parse(name)) {
        name.copy(&Config::default(), &mut last);
        match &name {
            // Nobody knows what they were.
            TextName::Settings => edits.extend(settings(file)),
            TextName::Function(function) => edits.extend(
                file.functions
                    .get(function)
                    .map(|said| Edit::Function(function.clone(), FunctionEdit::Settings(said.settings()))),
            ),
            _ => {}
        }
    }
    edits.extend(edits_between(&last, file));
    edits
}

fn items<K: Ord + Clone, V: PartialEq>(
    old: &OrdMap<K, Arc<V>>,
    new: &OrdMap<K, Arc<V>>,
    edits: &mut Vec<Edit>,
    edit: fn(K, Merge<V>) -> Edit,
) {
    edits.extend(old.diff(new).map(|item| {
        let (key, from, to) = match item {
            DiffItem::Add(key, to) => (key, None, Some(to)),
            DiffItem::Update { old: (_, from), new: (key, to) } => (key, Some(from), Some(to)),
            DiffItem::Remove(key, from) => (key, Some(from), None),
        };
        edit(key.clone(), Merge { from: from.cloned(), to: to.cloned() })
    }));
}

impl Edit {
    /// The aliases whose `split` this edit sets, even if to what it is. That ends a rollout which runs on them.
    #[must_use]
    pub fn splits(&self) -> Vec<(&FunctionName, &AliasName)> {
        match self {
            Self::Function(name, edit) => edit.split().map(|alias| (name, alias)).into_iter().collect(),
            Self::MergeFunction(name, merge) => {
                let aliases =
                    |side: &'_ Option<Arc<Function>>| side.as_ref().map(|function| &function.aliases).cloned();
                let (from, to) = (aliases(&merge.from).unwrap_or_default(), aliases(&merge.to).unwrap_or_default());
                let sides = [&merge.from, &merge.to].into_iter().flatten();
                let names: BTreeSet<&AliasName> = sides.flat_map(|function| function.aliases.keys()).collect();
                let split = |side: &BTreeMap<AliasName, Arc<Alias>>, alias| side.get(alias).map(|a| a.split.clone());
                let changed = names.into_iter().filter(|alias| split(&from, *alias) != split(&to, *alias));
                changed.map(|alias| (name, alias)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl FunctionEdit {
    /// The alias whose own split this edit sets, even if to what it is.
    fn split(&self) -> Option<&AliasName> {
        match self {
            Self::Shift(name, _) | Self::RestoreAlias(name, _) | Self::Alias(name, Some(_)) => Some(name),
            Self::PatchAlias(name, patch) if patch.split.is_some() => Some(name),
            _ => None,
        }
    }

    /// The alias that this edit changes as an operator or a promotion would: what it had before is an episode.
    pub(super) fn alias(&self) -> Option<&AliasName> {
        match self {
            Self::CreateAlias(name, _)
            | Self::Alias(name, _)
            | Self::Shift(name, _)
            | Self::RestoreAlias(name, _)
            | Self::PatchAlias(name, _) => Some(name),
            _ => None,
        }
    }
}

/// A thing with fields that texts own one by one.
pub(super) trait Fields: Clone + PartialEq {
    /// `live`, with the fields of `to` that differ from those of `from`.
    fn merged(live: &Self, from: &Self, to: &Self) -> Self;
}

pub(super) fn item<K: Ord + Clone, V: Fields>(map: &mut OrdMap<K, Arc<V>>, key: &K, merge: &Merge<V>) {
    let next = match &merge.from {
        Some(_) => merged(map.get(key), merge.from.as_ref(), merge.to.as_ref()),
        None => merge.to.clone(),
    };
    match next {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    };
}

fn merged<V: Fields>(live: Option<&Arc<V>>, from: Option<&Arc<V>>, to: Option<&Arc<V>>) -> Option<Arc<V>> {
    if from == to {
        return live.cloned();
    }
    match (live, from, to) {
        (Some(live), Some(from), Some(to)) => Some(Arc::new(V::merged(live, from, to))),
        (_, _, to) => to.cloned(),
    }
}

pub(super) fn function(config: &mut Config, name: &FunctionName, merge: &Merge<Function>) -> Result<(), Vec<Problem>> {
    let Some(to) = &merge.to else {
        leave(config, name);
        return Ok(());
    };
    let nothing = Function::default();
    let from = merge.from.as_deref().filter(|_| config.functions.contains_key(name)).unwrap_or(&nothing);
    let function = Arc::make_mut(config.functions.entry(name.clone()).or_default());
    if merge.from.is_none() || from.dialects != to.dialects {
        function.dialects.clone_from(&to.dialects);
    }
    if merge.from.is_none() || from.invoke != to.invoke {
        function.invoke.clone_from(&to.invoke);
    }
    let default_before = function.own(&AliasName::default_alias());
    function.draft = merged(function.draft.as_ref(), from.draft.as_ref(), to.draft.as_ref());
    for alias in keys(&from.aliases, &to.aliases) {
        let before = function.aliases.get(alias).cloned();
        let before = before.or_else(|| default_before.clone().filter(|_| *alias == AliasName::default_alias()));
        let now = function.aliases.get(alias);
        let next = match (now, from.aliases.get(alias), to.aliases.get(alias)) {
            (Some(now), None, Some(to)) if !to.has_history() => Some(Arc::new(now.succeeded_by(to))),
            (now, from, to) => merged(now, from, to),
        };
        match next {
            Some(next) => function.aliases.insert(alias.clone(), next),
            None => function.aliases.remove(alias),
        };
        layer::remember(function, alias, before);
    }
    let path = join("functions", name.as_str());
    let mut problems = Vec::new();
    for number in keys(&from.versions, &to.versions) {
        let (from, to) = (from.versions.get(number), to.versions.get(number));
        let versions = Versions { path: &path, name, function: &mut *function, numbers: &mut config.numbers };
        problems.extend(version(versions, *number, from, to).err().into_iter().flatten());
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// A function that no text has any more: a text never deletes a version.
fn leave(config: &mut Config, name: &FunctionName) {
    let Some(function) = config.functions.get_mut(name) else { return };
    let is_version = |part: &Qualifier| matches!(part, Qualifier::Version(VersionId::Number(_)));
    if function.versions.is_empty() && !function.unread.iter().any(is_version) {
        config.functions.remove(name);
        return;
    }
    let function = Arc::make_mut(function);
    function.draft = None;
    function.aliases.clear();
    function.layers.clear();
    function.pasts.clear();
    for version in Arc::make_mut(&mut function.versions).values_mut().filter(|version| !version.retired) {
        Arc::make_mut(version).retired = true;
    }
}

fn version(
    versions: Versions<'_>,
    number: NonZeroU32,
    from: Option<&Arc<Version>>,
    to: Option<&Arc<Version>>,
) -> Result<(), Vec<Problem>> {
    let live = versions.function.versions.get(&number);
    match (live, to) {
        _ if from == to => Ok(()),
        (None, None) => Ok(()),
        (Some(_), None) => versions.change(number, |version| version.retired = true),
        (Some(live), Some(to)) => {
            let Some(mut next) = merged(Some(live), from, Some(to)) else { return Ok(()) };
            // A digest that the text states is compared with that of the version.
            let stated = to.digest != Digest::of(to);
            Arc::make_mut(&mut next).digest = if stated { to.digest } else { live.digest };
            versions.put(number, &next)
        }
        (None, Some(to)) => versions.put(number, to),
    }
}

fn keys<'m, K: Ord, V>(from: &'m BTreeMap<K, V>, to: &'m BTreeMap<K, V>) -> BTreeSet<&'m K> {
    from.keys().chain(to.keys()).collect()
}

/// One field: what did not change stays as it is live.
fn pick<T: PartialEq + Clone>(live: &T, from: &T, to: &T) -> T {
    if from == to { live.clone() } else { to.clone() }
}

/// A mapping whose entries are fields.
fn pick_entries<K: Ord + Clone, V: PartialEq + Clone>(
    live: &BTreeMap<K, V>,
    from: &BTreeMap<K, V>,
    to: &BTreeMap<K, V>,
) -> BTreeMap<K, V> {
    let mut next = live.clone();
    for key in keys(from, to) {
        match to.get(key) {
            value if value == from.get(key) => {}
            Some(value) => drop(next.insert(key.clone(), value.clone())),
            None => drop(next.remove(key)),
        }
    }
    next
}

/// A thing of these fields, each picked.
macro_rules! picked {
    ($name:ident { $($field:ident),* } of $live:ident, $from:ident, $to:ident $(, $other:ident: $value:expr)*) => {
        $name { $($field: pick(&$live.$field, &$from.$field, &$to.$field),)* $($other: $value,)* }
    };
}

impl Fields for Stage {
    fn merged(live: &Self, from: &Self, to: &Self) -> Self {
        picked!(Stage { alias } of live, from, to,
            functions: pick_entries(&live.functions, &from.functions, &to.functions),
            variables: pick_entries(&live.variables, &from.variables, &to.variables))
    }
}

impl Fields for Domain {
    fn merged(live: &Self, from: &Self, to: &Self) -> Self {
        picked!(Domain { certificate, stage, routes, version_header, https } of live, from, to)
    }
}

impl Fields for Plan {
    fn merged(live: &Self, from: &Self, to: &Self) -> Self {
        pick(live, from, to)
    }
}

impl Fields for Notifier {
    fn merged(live: &Self, from: &Self, to: &Self) -> Self {
        pick(live, from, to)
    }
}

impl Fields for Alias {
    fn merged(live: &Self, from: &Self, to: &Self) -> Self {
        // What an alias remembers belongs to its split.
        let same = (&from.split, &from.buckets, from.joined) == (&to.split, &to.buckets, to.joined);
        let Self { split, buckets, joined, .. } = match (same, to.has_history()) {
            (true, _) => live.clone(),
            (false, true) => to.clone(),
            (false, false) => live.shifted(&to.split),
        };
        picked!(Alias { key, on_missing_key, selection, salt, rules, on_unhealthy, shield, stable, plan, description } of live, from, to,
            split: split, buckets: buckets, joined: joined)
    }
}

impl Fields for Version {
    fn merged(live: &Self, from: &Self, to: &Self) -> Self {
        let target = match (&live.target, &from.target, &to.target) {
            (Target::Upstream(live), Target::Upstream(from), Target::Upstream(to)) => {
                Target::Upstream(Box::new(upstream(live, from, to)))
            }
            (live, from, to) => pick(live, from, to),
        };
        let digest = live.digest;
        picked!(Version { description, label, artifact, retired } of live, from, to, target: target, digest: digest)
            .sealed()
    }
}

fn upstream(live: &Upstream, from: &Upstream, to: &Upstream) -> Upstream {
    // Which protocols there are depends on TLS, so the two are one field.
    let transport = |upstream: &Upstream| (upstream.protocol, upstream.tls.clone());
    let (protocol, tls) = pick(&transport(live), &transport(from), &transport(to));
    picked!(Upstream { endpoints, host, path_prefix, headers, health, timeouts, retries, via, upgrade } of live, from, to,
        protocol: protocol, tls: tls)
}
