//! The series of versions and upstreams: found by name when publishing, held by the data path, collected for a scrape.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::value::name::{AliasName, FunctionName, VersionId};

use super::cell::{Cell, Times};
use super::counts::{Counted, Counts};
use super::rollouts::Rollouts;

/// The most aliases x versions with series of their own, and the most upstreams. The rest shares `_other`.
pub const MAX_SERIES: usize = 10_000;
/// The most certificates that are shown.
pub const MAX_CERTIFICATES: usize = 100;

/// Declares a closed set of label values as an enum.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The label values, in the order of the type.
            pub const LABELS: &[&'static str] = &[$($label),*];
        }
    };
}
pub(super) use labels;

labels! {
    /// The class of the status that the client got.
    CodeClass {
        /// 1xx: an upgrade.
        Informational = "1xx",
        /// 2xx.
        Success = "2xx",
        /// 3xx.
        Redirection = "3xx",
        /// 4xx.
        ClientError = "4xx",
        /// 5xx.
        ServerError = "5xx",
        /// The client left before any status was sent.
        None = "none",
    }
}

labels! {
    /// Why a version was picked.
    Pick {
        /// The route, trigger or direct host names it.
        Direct = "direct",
        /// `x-weir-qualifier`.
        Override = "override",
        /// A rule hit.
        Rule = "rule",
        /// The routing key's bucket.
        Bucket = "bucket",
        /// The next slot.
        Slot = "slot",
        /// The only version above weight 0.
        Only = "only",
        /// `selection: random`.
        Random = "random",
        /// `on_missing_key: stable`.
        Stable = "stable",
        /// The version first chosen had no healthy endpoint.
        Fallback = "fallback",
        /// The version first chosen failed the request.
        Shield = "shield",
    }
}

labels! {
    /// How the attempt before a retry failed.
    Retry {
        /// No connection.
        Connect = "connect",
        /// The connection ended.
        Reset = "reset",
        /// It took too long.
        Timeout = "timeout",
        /// A status that is tried again.
        Status = "status",
    }
}

impl CodeClass {
    /// The class of this status.
    #[must_use]
    pub fn of(status: Option<u16>) -> Self {
        match status.map(|status| status / 100) {
            Some(1) => Self::Informational,
            Some(2) => Self::Success,
            Some(3) => Self::Redirection,
            Some(4) => Self::ClientError,
            Some(_) => Self::ServerError,
            None => Self::None,
        }
    }
}

/// The cells of one version under one alias, or called directly.
#[derive(Debug, Default)]
pub struct VersionSeries {
    pub(super) requests: [Cell; CodeClass::LABELS.len()],
    pub(super) picks: [Cell; Pick::LABELS.len()],
    pub(super) duration: Times,
    /// Configured weight, basis points.
    pub weight: Cell,
}

impl VersionSeries {
    /// A request was sent to this version, and why.
    pub fn picked(&self, pick: Pick) {
        self.picks[pick as usize].inc();
    }

    /// A request has ended: the status that the client got, and how long it took.
    pub fn ended(&self, status: Option<u16>, duration: Duration) {
        self.requests[CodeClass::of(status) as usize].inc();
        self.duration.observe(duration);
    }
}

/// The cells of one version's upstream.
#[derive(Debug, Default)]
pub struct UpstreamSeries {
    /// From the last byte sent to the head of the answer.
    pub duration: Times,
    /// New connections, TLS included.
    pub connect: Times,
    pub(super) retries: [Cell; Retry::LABELS.len()],
    /// Endpoints that requests may go to.
    pub healthy: Cell,
}

impl UpstreamSeries {
    /// One more attempt is made because the one before failed so.
    pub fn retried(&self, retry: Retry) {
        self.retries[retry as usize].inc();
    }
}

/// All series by name. Locked for publishing and scraping only.
#[derive(Default)]
pub(super) struct AllSeries {
    versions: Mutex<Named<VersionKey, VersionSeries>>,
    upstreams: Mutex<Named<UpstreamKey, UpstreamSeries>>,
    pub(super) certificates: Mutex<Vec<(String, i64)>>,
    pub(super) rollouts: Rollouts,
}

/// The series of a function that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Those of versions as called directly, and by each alias.
    All,
    /// Those by each alias: no version came or went.
    ByAlias,
}

/// No version comes before this one; the draft comes after all.
const FIRST: VersionId = VersionId::Number(NonZeroU32::MIN);

pub(super) type VersionKey = Counted;
pub(super) type UpstreamKey = (FunctionName, VersionId);

pub(super) struct Named<K, S> {
    series: BTreeMap<K, Arc<S>>,
    /// Those that are shown once something is counted in them.
    resting: BTreeMap<K, Arc<S>>,
    /// Shared by all beyond [`MAX_SERIES`]; made when the first comes.
    other: Option<Arc<S>>,
}

impl<K, S> Default for Named<K, S> {
    fn default() -> Self {
        Self { series: BTreeMap::new(), resting: BTreeMap::new(), other: None }
    }
}

impl<K, S> Named<K, S> {
    /// The last is the one that is shared, if there is one.
    pub(super) fn each(&self, mut see: impl FnMut(Option<&K>, &S)) {
        self.series.iter().for_each(|(key, series)| see(Some(key), series));
        self.other.iter().for_each(|other| see(None, other));
    }
}

/// The series that are shown, as they are found at one moment.
pub(super) struct Listed<K, S> {
    pub(super) series: Vec<(K, Arc<S>)>,
    /// The one that is shared by all beyond [`MAX_SERIES`].
    pub(super) other: Option<Arc<S>>,
}

/// Cells that may all be as they began.
pub(super) trait Used {
    /// Whether anything was counted.
    fn is_used(&self) -> bool;
}

impl Used for VersionSeries {
    fn is_used(&self) -> bool {
        self.picks.iter().any(|cell| cell.get() > 0)
    }
}

impl Used for UpstreamSeries {
    fn is_used(&self) -> bool {
        // Checks connect too, and are no reason to be shown.
        self.duration.counts().iter().any(|count| *count > 0) || self.retries.iter().any(|cell| cell.get() > 0)
    }
}

impl<K: Ord, S: Default + Used> Named<K, S> {
    /// Those of a thing that is hardly ever called, which take no place among [`MAX_SERIES`] before it is.
    fn get_resting(&mut self, key: K) -> Arc<S> {
        match self.series.get(&key) {
            Some(series) => Arc::clone(series),
            None => Arc::clone(self.resting.entry(key).or_default()),
        }
    }

    /// Shows those in which something is counted by now, as far as there is room.
    fn wake(&mut self)
    where
        K: Clone,
    {
        let room = MAX_SERIES.saturating_sub(self.series.len());
        let used = self.resting.iter().filter(|(_, series)| series.is_used()).map(|(key, _)| key.clone());
        for key in used.take(room).collect::<Vec<K>>() {
            self.series.extend(self.resting.remove_entry(&key));
        }
    }

    /// Lists those that are shown.
    fn listed(&mut self) -> Listed<K, S>
    where
        K: Clone,
    {
        self.wake();
        let series = self.series.iter().map(|(key, series)| (key.clone(), Arc::clone(series)));
        Listed { series: series.collect(), other: self.other.clone() }
    }

    /// Shows those of `among` no longer that are unused so far and for which `rests` is true.
    fn rest(&mut self, first: K, among: impl Fn(&K) -> bool, rests: impl Fn(&K) -> bool)
    where
        K: Clone,
    {
        let found = self.series.range(first..).take_while(|(key, _)| among(key));
        let found = found.filter(|(key, series)| !series.is_used() && rests(key)).map(|(key, _)| key.clone());
        for key in found.collect::<Vec<K>>() {
            self.resting.extend(self.series.remove_entry(&key));
        }
    }
}

impl<K: Ord, S: Default> Named<K, S> {
    pub(super) fn get(&mut self, key: K) -> Arc<S> {
        let full = self.series.len() >= MAX_SERIES;
        if !full && let Some((key, series)) = self.resting.remove_entry(&key) {
            return Arc::clone(self.series.entry(key).or_insert(series));
        }
        match self.series.entry(key) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(_) if full => Arc::clone(self.other.get_or_insert_default()),
            Entry::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
        }
    }

    /// Drops those from `first` on, as far as `among` goes, for which `keep` is false; the others are not looked at.
    fn retain(&mut self, first: Bound<K>, among: impl Fn(&K) -> bool, mut keep: impl FnMut(&K) -> bool)
    where
        K: Clone,
    {
        for map in [&mut self.series, &mut self.resting] {
            let keys = map.range((first.clone(), Bound::Unbounded)).map(|(key, _)| key).take_while(|key| among(key));
            let dropped: Vec<K> = keys.filter(|key| !keep(key)).cloned().collect();
            for key in dropped {
                map.remove(&key);
            }
        }
    }
}

impl AllSeries {
    pub(super) fn version(
        &self,
        function: &FunctionName,
        alias: Option<&AliasName>,
        version: VersionId,
    ) -> Arc<VersionSeries> {
        lock(&self.versions).get((function.clone(), alias.cloned(), version))
    }

    pub(super) fn each_version(&self, mut see: impl FnMut(&VersionKey, Counts)) {
        let mut versions = lock(&self.versions);
        versions.wake();
        versions.series.iter().for_each(|(key, series)| see(key, Counts::of(series)));
    }

    /// Whoever renders them holds no lock meanwhile that publishing waits for.
    pub(super) fn listed_versions(&self) -> Listed<VersionKey, VersionSeries> {
        lock(&self.versions).listed()
    }

    pub(super) fn listed_upstreams(&self) -> Listed<UpstreamKey, UpstreamSeries> {
        lock(&self.upstreams).listed()
    }

    pub(super) fn upstream(&self, function: &FunctionName, version: VersionId) -> Arc<UpstreamSeries> {
        lock(&self.upstreams).get((function.clone(), version))
    }

    pub(super) fn resting(
        &self,
        function: &FunctionName,
        version: VersionId,
    ) -> (Arc<VersionSeries>, Arc<UpstreamSeries>) {
        let of_version = lock(&self.versions).get_resting((function.clone(), None, version));
        (of_version, lock(&self.upstreams).get_resting((function.clone(), version)))
    }

    pub(super) fn rest(&self, function: &FunctionName, rests: impl Fn(VersionId) -> bool) {
        let is_direct = |key: &VersionKey| key.0 == *function && key.1.is_none();
        lock(&self.versions).rest((function.clone(), None, FIRST), is_direct, |key| rests(key.2));
        lock(&self.upstreams).rest((function.clone(), FIRST), |key| key.0 == *function, |key| rests(key.1));
    }

    pub(super) fn retain_versions(
        &self,
        function: &FunctionName,
        among: Among,
        mut keep: impl FnMut(Option<&AliasName>, VersionId) -> bool,
    ) {
        let first = match among {
            Among::All => Bound::Included((function.clone(), None, FIRST)),
            Among::ByAlias => Bound::Excluded((function.clone(), None, VersionId::Latest)),
        };
        lock(&self.versions).retain(first, |key| key.0 == *function, |key| keep(key.1.as_ref(), key.2));
    }

    pub(super) fn retain_upstreams(&self, function: &FunctionName, mut keep: impl FnMut(VersionId) -> bool) {
        lock(&self.upstreams).retain(
            Bound::Included((function.clone(), FIRST)),
            |key| key.0 == *function,
            |key| keep(key.1),
        );
    }

    pub(super) fn set_certificates(&self, mut certificates: Vec<(String, i64)>) {
        certificates.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        certificates.truncate(MAX_CERTIFICATES);
        *lock(&self.certificates) = certificates;
    }
}

/// A panic elsewhere leaves the maps whole: every change of them is one call.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
