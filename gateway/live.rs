//! What is live: one snapshot, swapped whole.
//!
//! A snapshot is the pure table plus the runtime state behind its indices. The state is looked up by name when a snapshot
//! is published, so it survives the swap, and the request path reaches it by index alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use config::model::{self, Shield};
use config::route::head::{Headers, RequestHead};
use config::route::resolve::{self, Draw, Reason, Resolution, Routed, Unresolved};
use config::route::table::{AliasIndex, Chunks, Stage, Table, Upstream, UpstreamIndex, Via};
use config::value::name::{AliasName, FunctionName, Qualifier, VersionId};
use config::value::path::PathPattern;
use imbl::OrdMap;
use tokio::sync::watch;

use crate::metrics::{UpstreamSeries, VersionSeries};
use crate::outcomes::Outcomes;
use crate::store::Revision;
use crate::upstreams::{EndpointView, UpstreamState};

/// The one place where configuration meets requests.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    progress: watch::Sender<Revision>,
    unusable: Mutex<BTreeMap<&'static str, Arc<[Unusable]>>>,
    /// The newest revision that is stored and not seen by the publisher yet, and since when there is such a one.
    behind: Mutex<Option<(Revision, Instant)>>,
    paused: Mutex<Option<Paused>>,
}

/// The store takes no change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// The store's reason.
    pub reason: String,
    /// The time since which it takes none, counted from 1970.
    pub since: Duration,
}

/// One thing that cannot be used as it is, which takes down itself alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The name: the host of a domain, for example.
    pub name: String,
    /// The reason, and what it means.
    pub reason: String,
    /// The time since which it cannot be used, counted from 1970.
    pub since: Duration,
}

/// Everything a request needs, at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The store's revision that it was made from; 0 before the first.
    pub revision: Revision,
    /// True if something of it is not stored yet.
    pub is_ahead: bool,
    /// The compiled configuration, and the configuration it was compiled from.
    pub table: Table,
    /// When each thing changed last, by the name of its text: `alias/shop/prod`.
    pub revisions: OrdMap<Arc<str>, Revision>,
    /// Runtime state of each alias, by its index in the table.
    pub(crate) aliases: Chunks<Arc<AliasState>>,
    /// Runtime state of each upstream as reached without an alias, by its index in the table.
    pub(crate) upstreams: Chunks<Arc<Destination>>,
}

/// The next slot of an alias: the one word that all workers write to, so it has a pair of cache lines (the unit that
/// adjacent-line prefetch moves) for itself.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cursor(pub(crate) AtomicU64);

/// What an alias remembers between requests.
#[derive(Debug)]
pub(crate) struct AliasState {
    /// Where its next slot stands; `None` when it draws none.
    pub(crate) cursor: Option<Arc<Cursor>>,
    /// Where the alias can lead: the versions of its split and of its rules.
    pub(crate) destinations: Box<[Arc<Destination>]>,
}

/// One version as reached by one qualifier.
#[derive(Debug)]
pub struct Destination {
    /// Its place in the table.
    pub index: UpstreamIndex,
    /// The function.
    pub function: Arc<model::Function>,
    /// The alias's name, or the version where none was named.
    pub qualifier: Box<str>,
    /// Whether `qualifier` is an alias.
    pub by_alias: bool,
    /// Its name and who answers.
    pub upstream: Arc<Upstream>,
    /// Its endpoints; `None` when the gateway itself answers.
    pub state: Option<Arc<UpstreamState>>,
    /// Counts of the version under this qualifier.
    pub series: Arc<VersionSeries>,
    /// Counts of its endpoints.
    pub upstream_series: Arc<UpstreamSeries>,
    /// What comes of the requests that the alias's split draws for it; `None` where there is nothing to compare: no alias,
    /// no other part of the split.
    pub outcomes: Option<Arc<Outcomes>>,
    /// Which of its failures a spare answers.
    pub shield: Shield,
    /// The parts that the alias carried over from before its last change of weights, as the access log tells it.
    pub owed: Option<Box<str>>,
}

/// The way in of one request: all that is known before a version is chosen.
#[derive(Debug)]
pub struct Way {
    /// Revision of the snapshot.
    pub revision: Revision,
    /// The route, the function and what is asked of it.
    pub routed: Routed,
    /// The stage that it came through.
    pub stage: Option<Arc<Stage>>,
    /// The domain that claims its host.
    pub domain: Option<Arc<model::Domain>>,
    /// The path pattern of the route.
    pub route: Option<PathPattern>,
    /// The path after the route's rewrite; `None` when it has none.
    pub rewritten: Option<String>,
}

/// The goal of one request: all that it keeps, beside its [`Way`], of the snapshot it was resolved by.
#[derive(Debug)]
pub struct Served {
    /// The way to the version, step by step.
    pub resolution: Resolution,
    /// The version that answers.
    pub destination: Arc<Destination>,
    /// The version that was chosen, where another one answers in its place.
    pub first: Option<Arc<Destination>>,
    /// The version that answers a request that `destination` fails; `None` where nothing is shielded.
    pub spare: Option<Arc<Destination>>,
}

impl Default for Live {
    fn default() -> Self {
        let empty = Snapshot {
            revision: 0,
            is_ahead: false,
            table: Table::empty(),
            revisions: OrdMap::new(),
            aliases: Chunks::default(),
            upstreams: Chunks::default(),
        };
        Self {
            current: ArcSwap::from_pointee(empty),
            progress: watch::Sender::default(),
            unusable: Mutex::default(),
            behind: Mutex::default(),
            paused: Mutex::default(),
        }
    }
}

impl Live {
    /// The snapshot for the request at hand; to be dropped before any await.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot to keep for longer.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The newest revision that is live: told of each one.
    pub fn progress(&self) -> watch::Receiver<Revision> {
        self.progress.subscribe()
    }

    /// Makes `next` live and hands back what was. Called by the guardian alone.
    pub(crate) fn publish(&self, next: Arc<Snapshot>) -> Arc<Snapshot> {
        let reached = next.revision;
        let before = self.current.swap(next);
        self.reach(reached);
        before
    }

    /// Says that this revision is stored: from `now` on the publisher is behind until it has seen it.
    pub(crate) fn stored(&self, revision: Revision, now: Instant) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if revision > *self.progress.borrow() {
            let since = behind.map_or(now, |(_, since)| since);
            *behind = Some((revision, since));
        }
    }

    /// Tells how far the publisher has come. It is no longer behind with it: [`stored`](Self::stored) sees both or neither.
    fn reach(&self, reached: Revision) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        *behind = behind.filter(|(stored, _)| *stored > reached);
        self.progress.send_if_modified(|progress| {
            let is_newest = reached >= *progress;
            *progress = reached.max(*progress);
            is_newest
        });
    }

    /// The newest revision that is stored and that the publisher has not seen, and since when it is behind.
    pub fn behind(&self) -> Option<(Revision, Instant)> {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reason why the store takes no change, if it takes none.
    pub fn paused(&self) -> Option<Paused> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces why the store takes no change.
    pub(crate) fn set_paused(&self, paused: Option<Paused>) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = paused;
    }

    /// Everything that cannot be used now, by its kind.
    #[must_use]
    pub fn unusable(&self) -> BTreeMap<&'static str, Arc<[Unusable]>> {
        self.unusable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what cannot be used of this kind.
    pub(crate) fn set_unusable(&self, kind: &'static str, things: Vec<Unusable>) {
        self.unusable.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, things.into());
    }
}

impl Snapshot {
    /// Finds the way in of a request, and rewrites its path. Draws nothing: a request that is refused after this leaves
    /// the split as it was.
    ///
    /// # Errors
    /// The reason why it goes nowhere.
    pub fn route<H: Headers + ?Sized>(&self, head: &RequestHead<'_, H>) -> Result<Way, Unresolved> {
        let routed = resolve::route(&self.table, head)?;
        let domain = match routed.via {
            Via::Domain(domain, _) => self.table.domain(domain).map(|domain| Arc::clone(&domain.model)),
            Via::Trigger(_) | Via::DirectHost | Via::Invoke => None,
        };
        let route = self.table.route(routed.via);
        let rewritten = match route.and_then(|route| route.rewrite.as_ref()) {
            Some(rewrite) => Some(rewrite.apply(routed.path(head.path)).ok_or(Unresolved::BadPath)?),
            None => None,
        };
        Ok(Way {
            revision: self.revision,
            stage: routed.stage.and_then(|stage| self.table.stage(stage)).cloned(),
            domain,
            route: route.map(|route| route.path.clone()),
            rewritten,
            routed,
        })
    }

    /// The way in of an invocation, which names its function and what is asked of it. Draws nothing.
    ///
    /// # Errors
    /// There is no such function.
    pub fn call(&self, function: &FunctionName, qualifier: &Qualifier) -> Result<Way, Unresolved> {
        let routed = resolve::called(&self.table, function, qualifier)?;
        Ok(Way { revision: self.revision, stage: None, domain: None, route: None, rewritten: None, routed })
    }

    /// Chooses the version of a request, once: draws its slot, and holds on to what the rest of the request needs. `way`
    /// is what this snapshot answered to [`route`](Self::route) for the same head.
    ///
    /// # Errors
    /// The reason why it goes nowhere; no slot was drawn then.
    pub fn choose<H: Headers + ?Sized>(&self, head: &RequestHead<'_, H>, way: &Way) -> Result<Served, Unresolved> {
        let mut draw = Drawing { snapshot: self, take: true };
        let resolution = resolve::choose(&self.table, head, &way.routed, &mut draw)?;
        let destination = self.destination(resolution.alias, resolution.upstream);
        let spare = resolution.spare.filter(|_| destination.shield != Shield::Off);
        Ok(Served {
            first: resolution.fallback_from.and_then(|version| self.version_of(resolution.alias?, version)).cloned(),
            spare: spare.map(|(_, upstream)| self.destination(resolution.alias, upstream)),
            destination,
            resolution,
        })
    }

    /// Draws for a question: the next slot is seen, but not taken.
    pub fn peek(&self) -> impl Draw + '_ {
        Drawing { snapshot: self, take: false }
    }

    /// Writes down how many endpoints of each version requests may go to.
    pub fn count_healthy(&self) {
        for (_, destination) in self.upstreams.iter() {
            let endpoints = destination.state.as_ref().map_or_else(Vec::new, |state| state.endpoints());
            let healthy = endpoints.iter().filter(|endpoint| endpoint.up && !endpoint.ejected).count();
            destination.upstream_series.healthy.set(healthy as u64);
        }
    }

    /// What came of the requests that the alias's split drew for the version; `None` where that is not counted.
    #[must_use]
    pub fn outcomes(&self, function: &FunctionName, alias: &AliasName, version: VersionId) -> Option<Arc<Outcomes>> {
        self.alias_destination(function, alias, version)?.outcomes.clone()
    }

    /// The version as the alias reaches it.
    pub(crate) fn alias_destination(
        &self,
        function: &FunctionName,
        alias: &AliasName,
        version: VersionId,
    ) -> Option<&Arc<Destination>> {
        let function = self.table.function(self.table.function_named(function.as_str())?)?;
        self.version_of(function.alias(alias.as_str())?, version)
    }

    /// The endpoints of an upstream as they are now; none where the gateway itself answers.
    #[must_use]
    pub fn endpoints(&self, upstream: UpstreamIndex) -> Vec<EndpointView> {
        let state = self.upstreams.get(upstream.get()).and_then(|destination| destination.state.as_ref());
        state.map_or_else(Vec::new, |state| state.endpoints())
    }

    /// The cursor of an alias that draws slots.
    pub(crate) fn cursor(&self, alias: AliasIndex) -> Option<&Arc<Cursor>> {
        self.aliases.get(alias.get())?.cursor.as_ref()
    }

    /// The version as the alias reaches it. Where it has an upstream for each stage, any of them.
    fn version_of(&self, alias: AliasIndex, version: VersionId) -> Option<&Arc<Destination>> {
        self.aliases.get(alias.get())?.destinations.iter().find(|destination| destination.version() == version)
    }

    /// The destinations to which the alias of a resolution can lead; none for a version that was named.
    pub fn destinations(&self, resolution: &Resolution) -> impl Iterator<Item = &Destination> {
        let alias = resolution.alias.and_then(|alias| self.aliases.get(alias.get()));
        alias.into_iter().flat_map(|alias| alias.destinations.iter().map(|destination| &**destination))
    }

    fn destination(&self, alias: Option<AliasIndex>, upstream: UpstreamIndex) -> Arc<Destination> {
        let by_alias = alias.and_then(|alias| {
            let state = self.aliases.get(alias.get())?;
            state.destinations.iter().find(|destination| destination.index == upstream)
        });
        let found = by_alias.or_else(|| self.upstreams.get(upstream.get()));
        Arc::clone(found.expect("every upstream of the table has its state in the snapshot"))
    }
}

impl Destination {
    /// The version.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.upstream.key.version
    }

    /// The alias that led here, if one did.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        self.by_alias.then_some(&*self.qualifier)
    }
}

impl Served {
    /// Where this request counts: at the version that the split drew. Nowhere when a rule or the caller chose.
    #[must_use]
    pub fn charged(&self) -> Option<&Arc<Outcomes>> {
        let drawn = match self.resolution.reason {
            Reason::Slot(_) | Reason::Bucket(_) | Reason::Random | Reason::Only => true,
            Reason::Direct | Reason::Override | Reason::Rule(_) | Reason::Stable => false,
        };
        self.first.as_ref().unwrap_or(&self.destination).outcomes.as_ref().filter(|_| drawn)
    }

    /// The version in whose place another one answers.
    #[must_use]
    pub fn shielded_from(&self) -> Option<VersionId> {
        self.first.as_ref().map(|first| first.version())
    }
}

struct Drawing<'a> {
    snapshot: &'a Snapshot,
    take: bool,
}

impl Draw for Drawing<'_> {
    fn slot(&mut self, alias: AliasIndex) -> u64 {
        let cursor =
            self.snapshot.cursor(alias).expect("an alias of the table that draws slots has a cursor in the snapshot");
        if self.take { cursor.0.fetch_add(1, Ordering::Relaxed) } else { cursor.0.load(Ordering::Relaxed) }
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }

    fn healthy(&self, upstream: UpstreamIndex) -> bool {
        let destination = self.snapshot.upstreams.get(upstream.get());
        destination.is_none_or(|destination| destination.state.as_ref().is_none_or(|state| state.healthy()))
    }
}
