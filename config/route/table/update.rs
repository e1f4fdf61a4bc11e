//! From one table to the next, touching what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use smallvec::SmallVec;

use super::alias::{self, Preferred};
use super::entry::{Domain, DomainHost, DomainStage, Function, Stage, Upstreams};
use super::routes::{Pointed, RouteTarget, Routes};
use super::upstream::{self, Upstream, UpstreamKey};
use super::{Alias, AliasIndex, Change, Changes, DomainIndex, FunctionIndex, StageIndex, Table, UpstreamIndex};
use crate::model::{self, Config};
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName, Qualifier, StageName, VersionId};
use crate::value::template::Template;

pub(super) fn update(old: &Table, new: &Config, cursor: &dyn Fn(AliasIndex) -> u64) -> (Table, Changes) {
    let before = old.config.clone();
    let mut update = Update { table: old.clone(), changes: Changes::default(), cursor };
    for item in before.stages.diff(&new.stages) {
        match item {
            DiffItem::Add(name, stage) | DiffItem::Update { new: (name, stage), .. } => update.stage(name, stage),
            DiffItem::Remove(name, _) => update.remove_stage(name),
        }
    }
    for item in before.functions.diff(&new.functions) {
        match item {
            DiffItem::Add(name, function) | DiffItem::Update { new: (name, function), .. } => {
                update.function(name, function);
            }
            DiffItem::Remove(name, _) => update.remove_function(name),
        }
    }
    update.functions_of_changed_stages(&before, new);
    for item in before.domains.diff(&new.domains) {
        match item {
            DiffItem::Add(host, domain) | DiffItem::Update { new: (host, domain), .. } => update.domain(host, domain),
            // What cannot be read any more gets its entry below.
            DiffItem::Remove(host, _) if new.is_unread(&format!("domain/{host}")) => {}
            DiffItem::Remove(host, _) => update.remove_domain(host),
        }
    }
    update.unread_domains(&before, new);
    let moved = update.moved(old);
    update.domains_of(&moved, new);
    let is_same = Arc::ptr_eq(&before.triggers, &new.triggers) || before.triggers == new.triggers;
    if !is_same || moved.concerns_routes(&new.triggers, &model::DomainStage::None, old.dangling_triggers) {
        (update.table.triggers, update.table.dangling_triggers) =
            update.routes(&new.triggers, &model::DomainStage::None);
    }
    update.finish(new)
}

/// Upstreams of one function by key.
type Indices = BTreeMap<UpstreamKey, UpstreamIndex>;

pub(super) struct Update<'a> {
    /// Between the old table and the new one.
    pub(super) table: Table,
    pub(super) changes: Changes,
    cursor: &'a dyn Fn(AliasIndex) -> u64,
}

impl Update<'_> {
    fn finish(self, new: &Config) -> (Table, Changes) {
        let Self { mut table, changes, .. } = self;
        table.config = new.clone();
        table.domains.settle();
        table.functions.settle();
        table.aliases.settle();
        table.upstreams.settle();
        table.stages.settle();
        (table, changes)
    }

    // --- stages ------------------------------------------------------------------------------------------------------

    fn stage(&mut self, name: &StageName, model: &Arc<model::Stage>) {
        let alias = |text: &Template| text.render(&model.variables).ok()?.parse::<AliasName>().ok();
        let stage = Arc::new(Stage {
            name: name.clone(),
            model: model.clone(),
            alias: alias(&model.alias),
            exceptions: model.functions.iter().map(|(function, text)| (function.clone(), alias(text))).collect(),
        });
        match self.table.stage_named(name.as_str()) {
            Some(index) => {
                self.table.stages.set(index.get(), stage);
                self.changes.stages.push((index, Change::Changed));
            }
            None => {
                let index = StageIndex::new(self.table.stages.insert(stage));
                self.table.stage_names.insert(name.clone(), index);
                self.changes.stages.push((index, Change::Added));
            }
        }
    }

    fn remove_stage(&mut self, name: &StageName) {
        if let Some(index) = self.table.stage_names.remove(name) {
            self.table.stages.remove(index.get());
            self.changes.stages.push((index, Change::Removed));
        }
    }

    // --- functions ---------------------------------------------------------------------------------------------------

    /// Functions that did not change themselves, but whose versions use the variables of stages that did.
    fn functions_of_changed_stages(&mut self, before: &Config, new: &Config) {
        if self.changes.stages.is_empty() {
            return;
        }
        for name in self.table.staged.clone() {
            if let (Some(old), Some(model)) = (before.functions.get(&name), new.functions.get(&name))
                && old == model
            {
                self.function(&name, model);
            }
        }
    }

    fn function(&mut self, name: &FunctionName, model: &Arc<model::Function>) {
        let old = self.table.function_named(name.as_str());
        let before = old.and_then(|index| self.table.function(index).cloned());
        let index = old.unwrap_or_else(|| {
            let nothing = Function {
                name: name.clone(),
                model: model.clone(),
                versions: Arc::default(),
                aliases: Box::default(),
            };
            let index = FunctionIndex::new(self.table.functions.insert(Arc::new(nothing)));
            self.table.function_names.insert(name.clone(), index);
            index
        });
        let versions = self.versions(name, model, before.as_deref());
        let aliases = self.aliases((index, name), model, &versions, before.as_deref());
        if versions.iter().any(|(_, upstreams)| matches!(upstreams, Upstreams::ByStage(_))) {
            self.table.staged.insert(name.clone());
        } else {
            self.table.staged.remove(name);
        }
        let function = Function { name: name.clone(), model: model.clone(), versions, aliases };
        self.table.functions.set(index.get(), Arc::new(function));
        let change = if before.is_some() { Change::Changed } else { Change::Added };
        self.changes.functions.push((index, change));
    }

    fn remove_function(&mut self, name: &FunctionName) {
        let Some(index) = self.table.function_names.remove(name) else { return };
        let function = self.table.function(index).cloned().expect("every name has its entry");
        for &(_, alias) in &function.aliases {
            self.remove_alias(alias);
        }
        for upstream in self.upstreams_of(&function).into_values() {
            self.remove_upstream(upstream);
        }
        self.table.staged.remove(name);
        self.table.functions.remove(index.get());
        self.changes.functions.push((index, Change::Removed));
    }

    /// Tells if every version runs where it ran, and all that are named are there.
    fn runs_alike(&self, before: &Function, model: &model::Function) -> bool {
        let is_staged = !self.changes.stages.is_empty() && self.table.staged.contains(&before.name);
        let is_same = before.model.shares_versions(model) && !is_staged;
        let is_there = |(id, _): &(VersionId, Upstreams)| model.version(*id).is_some_and(|version| !version.retired);
        is_same && before.versions.iter().all(is_there) && absent(model, &before.versions).is_empty()
    }

    /// The upstreams of all versions that are not retired, and of those that are named and not there; those of `before` that are
    /// not among them are removed.
    fn versions(
        &mut self,
        name: &FunctionName,
        model: &model::Function,
        before: Option<&Function>,
    ) -> Arc<[(VersionId, Upstreams)]> {
        // Most changes are of aliases, and a function may have thousands of versions.
        if let Some(before) = before.filter(|before| self.runs_alike(before, model)) {
            return Arc::clone(&before.versions);
        }
        let mut left = before.map(|function| self.upstreams_of(function)).unwrap_or_default();
        let numbered = model.versions.iter().map(|(number, version)| (VersionId::Number(*number), version));
        let draft = model.draft.iter().map(|version| (VersionId::Latest, version));
        let mut versions = Vec::new();
        for (id, version) in numbered.chain(draft).filter(|(_, version)| !version.retired) {
            let upstreams = if upstream::uses_stage(version) {
                let stages: Vec<_> = self.table.stages().map(|(index, stage)| (index, stage.clone())).collect();
                let by_stage = stages.iter().filter_map(|(index, stage)| {
                    let answers = upstream::render(version, &stage.model.variables)?;
                    let stage = Some(stage.name.clone());
                    let key = UpstreamKey { function: name.clone(), version: id, stage };
                    Some((*index, self.upstream(Upstream { key, answers }, &mut left)))
                });
                Upstreams::ByStage(by_stage.collect())
            } else {
                let answers = upstream::render(version, &BTreeMap::new()).expect("it uses no variable");
                let key = UpstreamKey { function: name.clone(), version: id, stage: None };
                Upstreams::One(self.upstream(Upstream { key, answers }, &mut left))
            };
            versions.push((id, upstreams));
        }
        for id in absent(model, &versions) {
            let key = UpstreamKey { function: name.clone(), version: id, stage: None };
            let upstream = Upstream { key, answers: upstream::nowhere() };
            versions.push((id, Upstreams::One(self.upstream(upstream, &mut left))));
            versions.sort_unstable_by_key(|(id, _)| *id);
        }
        for upstream in left.into_values() {
            self.remove_upstream(upstream);
        }
        versions.into()
    }

    /// Puts an upstream at the index of its key, which is taken out of `left`; at a new one when it is not there.
    fn upstream(&mut self, upstream: Upstream, left: &mut Indices) -> UpstreamIndex {
        // A stage that was removed and added again under the same name may have another index, so keys count, not stages.
        let Some(index) = left.remove(&upstream.key) else {
            let index = UpstreamIndex::new(self.table.upstreams.insert(Arc::new(upstream)));
            self.changes.upstreams.push((index, Change::Added));
            return index;
        };
        if self.table.upstream(index).is_none_or(|old| **old != upstream) {
            self.table.upstreams.set(index.get(), Arc::new(upstream));
            self.changes.upstreams.push((index, Change::Changed));
        }
        index
    }

    fn upstreams_of(&self, function: &Function) -> Indices {
        let mut found = Vec::new();
        for (_, upstreams) in &*function.versions {
            match upstreams {
                Upstreams::One(index) => found.push(*index),
                Upstreams::ByStage(by_stage) => found.extend(by_stage.iter().map(|(_, index)| *index)),
            }
        }
        let key = |index| self.table.upstream(index).expect("a function's upstreams are there").key.clone();
        found.into_iter().map(|index| (key(index), index)).collect()
    }

    fn remove_upstream(&mut self, index: UpstreamIndex) {
        self.table.upstreams.remove(index.get());
        self.changes.upstreams.push((index, Change::Removed));
    }

    // --- aliases -----------------------------------------------------------------------------------------------------

    fn aliases(
        &mut self,
        function: (FunctionIndex, &FunctionName),
        model: &model::Function,
        versions: &[(VersionId, Upstreams)],
        before: Option<&Function>,
    ) -> Box<[(AliasName, AliasIndex)]> {
        let mut aliases = model.aliases.clone();
        let default = AliasName::default_alias();
        if !model.is_unread_alias(&default) {
            aliases.entry(default).or_insert_with(|| self.table.untouched_default.clone());
        }
        for (name, layer) in &model.layers {
            aliases.entry(name.clone()).and_modify(|alias| *alias = Arc::new(layer.over(alias)));
        }
        let compiled = aliases.iter().map(|(name, alias)| {
            let old = before.and_then(|function| function.alias(name.as_str()));
            let preference = alias::preference(alias, |version| upstream_of(versions, version));
            (name.clone(), self.alias(function, (name, alias), preference, old))
        });
        let compiled = compiled.collect();
        for (name, index) in before.map_or(&[][..], |function| &function.aliases) {
            if !aliases.contains_key(name) {
                self.remove_alias(*index);
            }
        }
        compiled
    }

    fn alias(
        &mut self,
        function: (FunctionIndex, &FunctionName),
        (name, model): (&AliasName, &Arc<model::Alias>),
        preference: SmallVec<[Preferred; 2]>,
        old: Option<AliasIndex>,
    ) -> AliasIndex {
        let before = old.and_then(|index| self.table.alias(index).cloned());
        if let (Some(index), Some(before)) = (old, &before)
            && before.model == *model
            && before.preference == preference
        {
            return index;
        }
        let at = before.as_deref().zip(old).map(|(alias, index)| (alias, (self.cursor)(index)));
        let (slots, restarted) = self.table.sequences.slots((function.1, name), model, at);
        let alias = Arc::new(Alias::compile(function, name, model, preference, slots));
        let (index, change) = match old {
            Some(index) => {
                self.table.aliases.set(index.get(), alias);
                (index, Change::Changed)
            }
            None => (AliasIndex::new(self.table.aliases.insert(alias)), Change::Added),
        };
        self.changes.aliases.push((index, change));
        if restarted {
            self.changes.restarted.push(index);
        }
        index
    }

    fn remove_alias(&mut self, index: AliasIndex) {
        self.table.aliases.remove(index.get());
        self.changes.aliases.push((index, Change::Removed));
    }

    // --- domains -----------------------------------------------------------------------------------------------------

    pub(super) fn domain(&mut self, host: &HostPattern, model: &Arc<model::Domain>) {
        let stage = match &model.stage {
            model::DomainStage::None => DomainStage::None,
            model::DomainStage::Named(name) => {
                self.table.stage_named(name.as_str()).map_or(DomainStage::None, DomainStage::Named)
            }
            model::DomainStage::Path => DomainStage::Path,
        };
        let (routes, is_dangling) = self.routes(&model.routes, &model.stage);
        if is_dangling {
            self.table.dangling.insert(host.clone());
        } else {
            self.table.dangling.remove(host);
        }
        self.put_domain(host, Domain { host: DomainHost::new(host), model: model.clone(), stage, routes });
    }

    pub(super) fn put_domain(&mut self, host: &HostPattern, domain: Domain) {
        match self.table.domain_named(host) {
            Some(index) => {
                self.table.domains.set(index.get(), domain);
                self.changes.domains.push((index, Change::Changed));
            }
            None => {
                let index = DomainIndex::new(self.table.domains.insert(domain));
                self.table.hosts.insert(host, index);
                self.changes.domains.push((index, Change::Added));
            }
        }
    }

    pub(super) fn remove_domain(&mut self, host: &HostPattern) {
        self.table.dangling.remove(host);
        if let Some(index) = self.table.domain_named(host) {
            self.table.hosts.remove(host, &self.table.domains);
            self.table.domains.remove(index.get());
            self.changes.domains.push((index, Change::Removed));
        }
    }

    /// Compiled routes, and whether one of them leads to what is not there.
    fn routes(&self, routes: &[model::Route], stage: &model::DomainStage) -> (Routes, bool) {
        let has_stage = |name: &StageName| self.table.stage_named(name.as_str()).is_some();
        let lacks_stage = matches!(stage, model::DomainStage::Named(name) if !has_stage(name));
        let targets: Vec<RouteTarget> = routes.iter().map(|route| self.target(route, lacks_stage)).collect();
        let is_dangling = targets.iter().any(|to| to.function.is_none() || to.qualifier == Some(Pointed::Broken));
        (Routes::compile(routes, targets), is_dangling)
    }

    /// `lacks_stage`: the domain names a stage that is not there.
    fn target(&self, route: &model::Route, lacks_stage: bool) -> RouteTarget {
        let function = self.table.function_named(route.function.as_str());
        let stage = route.stage.as_ref().and_then(|name| self.table.stage_named(name.as_str()));
        let qualifier = match &route.qualifier {
            Some(Qualifier::Version(version)) => Some(Pointed::Version(*version)),
            Some(Qualifier::Alias(name)) => {
                let function = function.and_then(|index| self.table.function(index));
                Some(function.and_then(|f| f.alias(name.as_str())).map_or(Pointed::Broken, Pointed::Alias))
            }
            None if route.stage.is_some() => stage.is_none().then_some(Pointed::Broken),
            None => lacks_stage.then_some(Pointed::Broken),
        };
        RouteTarget { function, qualifier, stage }
    }
}

/// Where a version runs, if that is the same for every stage.
fn upstream_of(versions: &[(VersionId, Upstreams)], version: VersionId) -> Option<UpstreamIndex> {
    let place = versions.binary_search_by_key(&version, |(version, _)| *version).ok()?;
    if let Upstreams::One(upstream) = versions[place].1 { Some(upstream) } else { None }
}

/// The versions that aliases name, or whose text cannot be read, and that are not among these.
fn absent(model: &model::Function, versions: &[(VersionId, Upstreams)]) -> BTreeSet<VersionId> {
    let named = model.aliases.iter().flat_map(|(name, alias)| {
        let layer = model.layers.get(name);
        let layered = layer.into_iter().flat_map(|layer| [layer.stable, VersionId::Number(layer.candidate)]);
        let split = alias.split.parts().iter().map(|part| part.0);
        split.chain(alias.rules.iter().map(|rule| rule.version)).chain(alias.stable).chain(layered)
    });
    let unread = model.unread.iter().filter_map(|part| match part {
        Qualifier::Version(id) => Some(*id),
        Qualifier::Alias(_) => None,
    });
    let is_absent = |id: &VersionId| versions.binary_search_by_key(id, |(version, _)| *version).is_err();
    named.chain(unread).filter(is_absent).collect()
}
