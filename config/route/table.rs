//! The table: a configuration compiled for resolving. Names outside, indices inside.
//!
//! A table is immutable and shares with the one before it everything that an update did not touch, so an update costs
//! what changed, whatever the size of the rest. Compiling cannot fail: a route to something that is not there, as a store with a
//! text that cannot be read has it, leads to an answer that says so, and a version that is not there has no endpoint.
//!
//! Functions, aliases, upstreams, stages and domains have indices. An index stays with its name for as long as the name
//! is configured, so that counters and pools can lie in arrays by the same index. A removed index is given out again
//! after the update that removed it at the earliest; [`Changes`] says which ones an update touched.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

pub use alias::Alias;
pub(crate) use alias::Preferred;
pub use chunks::Chunks;
pub use entry::{Domain, DomainHost, Function, Stage};
pub use upstream::{Answers, Rendered, RenderedEdits, RenderedHost, Upstream, UpstreamKey};

use crate::model::{self, Config};
use crate::value::host::HostPattern;
use crate::value::name::{FunctionName, StageName};
pub(crate) use entry::DomainStage;
use hosts::Hosts;
pub(crate) use routes::{Found, Pointed, RouteTarget, Routes};

mod alias;
mod chunks;
mod dangling;
mod entry;
mod hosts;
mod routes;
mod update;
mod upstream;

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Held as one more than it is, so that none takes no room beside it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// `index` is below `u32::MAX`: [`Chunks`] give out no other.
            #[inline]
            fn new(index: u32) -> Self {
                Self(NonZeroU32::MIN.saturating_add(index))
            }

            /// The place in [`Chunks`], from 0 without large gaps.
            #[inline]
            #[must_use]
            pub fn get(self) -> u32 {
                self.0.get() - 1
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.get())
            }
        }
    )*};
}

indices! {
    /// A function of a table.
    FunctionIndex;
    /// An alias of a table: of one function.
    AliasIndex;
    /// A version of a table: of one function, and for one stage if it uses stage variables.
    UpstreamIndex;
    /// A stage of a table.
    StageIndex;
    /// A domain of a table.
    DomainIndex;
}

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Domain, and its route by number in the order of the file, from 0.
    Domain(DomainIndex, u32),
    /// Trigger by number in the order of the file, from 0.
    Trigger(u32),
    /// `<qualifier>--<function>.<base_domain>`.
    DirectHost,
    /// An invocation that names function and qualifier itself, through no host.
    Invoke,
}

/// A compiled configuration.
#[derive(Debug, Clone)]
pub struct Table {
    config: Config,
    hosts: Hosts,
    domains: Chunks<Domain>,
    functions: Chunks<Arc<Function>>,
    aliases: Chunks<Arc<Alias>>,
    upstreams: Chunks<Arc<Upstream>>,
    stages: Chunks<Arc<Stage>>,
    function_names: OrdMap<FunctionName, FunctionIndex>,
    stage_names: OrdMap<StageName, StageIndex>,
    /// Functions with versions that use stage variables.
    staged: OrdSet<FunctionName>,
    triggers: Routes,
    /// Domains with routes to what is not there: they are compiled anew once it may be.
    dangling: OrdSet<HostPattern>,
    /// True if a trigger is such a route.
    dangling_triggers: bool,
    sequences: alias::Sequences,
    untouched_default: Arc<model::Alias>,
}

/// What happened to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The name is new.
    Added,
    /// What the name stands for is another.
    Changed,
    /// The name is gone; the index is free from the next update on.
    Removed,
}

/// What an update touched; each index once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Functions.
    pub functions: Vec<(FunctionIndex, Change)>,
    /// Aliases.
    pub aliases: Vec<(AliasIndex, Change)>,
    /// Upstreams.
    pub upstreams: Vec<(UpstreamIndex, Change)>,
    /// Stages.
    pub stages: Vec<(StageIndex, Change)>,
    /// Domains.
    pub domains: Vec<(DomainIndex, Change)>,
    /// Aliases whose cursor begins anew, at [`Slots::start`](crate::route::slot::Slots::start): new ones, and those whose
    /// weights changed.
    pub restarted: Vec<AliasIndex>,
}

impl Table {
    /// The table of the empty configuration.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            config: Config::default(),
            hosts: Hosts::new(),
            domains: Chunks::default(),
            functions: Chunks::default(),
            aliases: Chunks::default(),
            upstreams: Chunks::default(),
            stages: Chunks::default(),
            function_names: OrdMap::new(),
            stage_names: OrdMap::new(),
            staged: OrdSet::new(),
            triggers: Routes::compile(&[], Vec::new()),
            dangling: OrdSet::new(),
            dangling_triggers: false,
            sequences: alias::Sequences::default(),
            untouched_default: model::Alias::untouched_default(),
        }
    }

    /// The table of a configuration, from nothing.
    #[must_use]
    pub fn compile(config: &Config) -> Self {
        Self::empty().update(config, &|_| 0).0
    }

    /// The table of the next configuration, and what changed; costs what changed.
    ///
    /// `cursor` says where the cursor of an alias stands: when weights change, what the versions are owed until there is
    /// carried over.
    #[must_use]
    pub fn update(&self, new: &Config, cursor: &dyn Fn(AliasIndex) -> u64) -> (Self, Changes) {
        update::update(self, new, cursor)
    }

    /// What this table was compiled from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The function with this index.
    #[inline]
    #[must_use]
    pub fn function(&self, index: FunctionIndex) -> Option<&Arc<Function>> {
        self.functions.get(index.get())
    }

    /// The alias with this index.
    #[inline]
    #[must_use]
    pub fn alias(&self, index: AliasIndex) -> Option<&Arc<Alias>> {
        self.aliases.get(index.get())
    }

    /// The upstream with this index.
    #[inline]
    #[must_use]
    pub fn upstream(&self, index: UpstreamIndex) -> Option<&Arc<Upstream>> {
        self.upstreams.get(index.get())
    }

    /// The stage with this index.
    #[inline]
    #[must_use]
    pub fn stage(&self, index: StageIndex) -> Option<&Arc<Stage>> {
        self.stages.get(index.get())
    }

    /// The domain with this index.
    #[inline]
    #[must_use]
    pub fn domain(&self, index: DomainIndex) -> Option<&Domain> {
        self.domains.get(index.get())
    }

    /// The route or trigger that a request came in by; a direct host has none.
    #[must_use]
    pub fn route(&self, via: Via) -> Option<&model::Route> {
        match via {
            Via::Domain(domain, number) => self.domain(domain)?.model.routes.get(number as usize),
            Via::Trigger(number) => self.config.triggers.get(number as usize),
            Via::DirectHost | Via::Invoke => None,
        }
    }

    /// The domain that claims a host, which is [normalised](crate::value::host::normalize): its own, else that of the longest
    /// wildcard.
    #[must_use]
    pub fn domain_of(&self, host: &str) -> Option<DomainIndex> {
        self.exact_host(host).or_else(|| self.wildcard_above(host))
    }

    /// The domain of exactly this pattern.
    #[must_use]
    pub fn domain_named(&self, pattern: &HostPattern) -> Option<DomainIndex> {
        self.hosts.get(pattern, &self.domains)
    }

    /// The function with this name.
    #[must_use]
    pub fn function_named(&self, name: &str) -> Option<FunctionIndex> {
        self.function_names.get(name).copied()
    }

    /// The stage with this name.
    #[must_use]
    pub fn stage_named(&self, name: &str) -> Option<StageIndex> {
        self.stage_names.get(name).copied()
    }

    /// The upstream with this name.
    #[must_use]
    pub fn upstream_named(&self, key: &UpstreamKey) -> Option<UpstreamIndex> {
        let function = self.function(self.function_named(key.function.as_str())?)?;
        let stage = match &key.stage {
            Some(stage) => Some(self.stage_named(stage.as_str())?),
            None => None,
        };
        function.upstream(key.version, stage)
    }

    /// All functions.
    pub fn functions(&self) -> impl Iterator<Item = (FunctionIndex, &Arc<Function>)> {
        self.functions.iter().map(|(index, entry)| (FunctionIndex::new(index), entry))
    }

    /// All aliases.
    pub fn aliases(&self) -> impl Iterator<Item = (AliasIndex, &Arc<Alias>)> {
        self.aliases.iter().map(|(index, entry)| (AliasIndex::new(index), entry))
    }

    /// All upstreams.
    pub fn upstreams(&self) -> impl Iterator<Item = (UpstreamIndex, &Arc<Upstream>)> {
        self.upstreams.iter().map(|(index, entry)| (UpstreamIndex::new(index), entry))
    }

    /// All stages.
    pub fn stages(&self) -> impl Iterator<Item = (StageIndex, &Arc<Stage>)> {
        self.stages.iter().map(|(index, entry)| (StageIndex::new(index), entry))
    }

    /// All domains.
    pub fn domains(&self) -> impl Iterator<Item = (DomainIndex, &Domain)> {
        self.domains.iter().map(|(index, entry)| (DomainIndex::new(index), entry))
    }

    /// One past the highest alias index: the length of an array by alias.
    #[must_use]
    pub fn alias_end(&self) -> usize {
        self.aliases.end()
    }

    /// One past the highest upstream index: the length of an array by upstream.
    #[must_use]
    pub fn upstream_end(&self) -> usize {
        self.upstreams.end()
    }

    /// The routes without a domain.
    #[inline]
    pub(crate) fn triggers(&self) -> &Routes {
        &self.triggers
    }

    /// The domain of exactly this host.
    #[inline]
    pub(crate) fn exact_host(&self, host: &str) -> Option<DomainIndex> {
        self.hosts.exact(host, &self.domains)
    }

    /// The domain of the longest wildcard above this host.
    #[inline]
    pub(crate) fn wildcard_above(&self, host: &str) -> Option<DomainIndex> {
        self.hosts.wildcard(host, &self.domains)
    }
}

impl hosts::Names for Chunks<Domain> {
    #[inline]
    fn is(&self, domain: DomainIndex, host: &str) -> bool {
        self.get(domain.get()).is_some_and(|domain| domain.host.is(host))
    }
}
