//! Routes to what is not there, as a store with texts that cannot be read has them: compiled so that a request is told, and again
//! once what they lead to comes, or goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use super::entry::{Domain, DomainHost, DomainStage};
use super::routes::{RouteTarget, Routes};
use super::update::Update;
use super::{Change, Table};
use crate::model::{self, Config, Https, Route};
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName, Qualifier, StageName};

/// Names that routes can lead to and that came, or went, with an update.
pub(super) struct Moved {
    has_new: bool,
    functions: BTreeSet<FunctionName>,
    aliases: BTreeSet<(FunctionName, AliasName)>,
    stages: BTreeSet<StageName>,
}

impl Moved {
    fn has_gone(&self) -> bool {
        !(self.functions.is_empty() && self.aliases.is_empty() && self.stages.is_empty())
    }

    /// True if these routes may lead elsewhere now. `is_dangling`: one of them led nowhere before.
    pub(super) fn concerns_routes(&self, routes: &[Route], stage: &model::DomainStage, is_dangling: bool) -> bool {
        let is_gone = |route: &Route| {
            let stage = match (&route.stage, stage) {
                (Some(stage), _) | (None, model::DomainStage::Named(stage)) => Some(stage),
                _ => None,
            };
            let alias = match &route.qualifier {
                Some(Qualifier::Alias(alias)) => Some((route.function.clone(), alias.clone())),
                _ => None,
            };
            self.functions.contains(&route.function)
                || alias.is_some_and(|alias| self.aliases.contains(&alias))
                || stage.is_some_and(|stage| self.stages.contains(stage))
        };
        (is_dangling && self.has_new) || (self.has_gone() && routes.iter().any(is_gone))
    }
}

impl Update<'_> {
    /// The names that came or went since `old`.
    pub(super) fn moved(&self, old: &Table) -> Moved {
        let changes = &self.changes;
        let is_new = |change: &Change| *change == Change::Added;
        let mut moved = Moved {
            has_new: changes.functions.iter().any(|(_, change)| is_new(change))
                || changes.aliases.iter().any(|(_, change)| is_new(change))
                || changes.stages.iter().any(|(_, change)| is_new(change)),
            functions: BTreeSet::new(),
            aliases: BTreeSet::new(),
            stages: BTreeSet::new(),
        };
        let is_gone = |change: &Change| *change == Change::Removed;
        let functions = changes.functions.iter().filter(|(_, change)| is_gone(change));
        moved.functions.extend(functions.filter_map(|(index, _)| Some(old.function(*index)?.name.clone())));
        let aliases = changes.aliases.iter().filter(|(_, change)| is_gone(change));
        moved.aliases.extend(aliases.filter_map(|(index, _)| {
            let alias = old.alias(*index)?;
            Some((old.function(alias.function)?.name.clone(), alias.name.clone()))
        }));
        let stages = changes.stages.iter().filter(|(_, change)| is_gone(change));
        moved.stages.extend(stages.filter_map(|(index, _)| Some(old.stage(*index)?.name.clone())));
        moved
    }

    /// Compiles domains anew that did not change themselves, and whose routes may lead elsewhere now.
    pub(super) fn domains_of(&mut self, moved: &Moved, new: &Config) {
        let mut hosts = BTreeSet::new();
        if moved.has_new {
            hosts.extend(self.table.dangling.iter().cloned());
        }
        if moved.has_gone() {
            let concerned = new.domains.iter().filter(|(_, d)| moved.concerns_routes(&d.routes, &d.stage, false));
            hosts.extend(concerned.map(|(host, _)| host.clone()));
        }
        let compiled: BTreeSet<_> = self.changes.domains.iter().map(|(index, _)| *index).collect();
        for host in hosts {
            let is_compiled = self.table.domain_named(&host).is_some_and(|index| compiled.contains(&index));
            if let Some(domain) = new.domains.get(&host).filter(|_| !is_compiled) {
                self.domain(&host, domain);
            }
        }
    }

    /// Gives domains whose text cannot be read an entry without routes, so that nobody else answers for their hosts.
    pub(super) fn unread_domains(&mut self, before: &Config, new: &Config) {
        for item in before.unreadable.diff(&new.unreadable) {
            let (name, is_unread) = match item {
                DiffItem::Add(name, _) | DiffItem::Update { new: (name, _), .. } => (name, true),
                DiffItem::Remove(name, _) => (name, false),
            };
            let host = name.strip_prefix("domain/").and_then(|host| host.parse::<HostPattern>().ok());
            let Some(host) = host.filter(|host| !new.domains.contains_key(host)) else { continue };
            if is_unread {
                self.put_domain(&host, nowhere(&host));
            } else {
                self.remove_domain(&host);
            }
        }
    }
}

fn nowhere(host: &HostPattern) -> Domain {
    let model = model::Domain {
        certificate: None,
        stage: model::DomainStage::None,
        routes: Vec::new(),
        version_header: true,
        https: Https::Optional,
    };
    let routes = Routes::All(RouteTarget { function: None, qualifier: None, stage: None });
    Domain { host: DomainHost::new(host), model: Arc::new(model), stage: DomainStage::None, routes }
}
