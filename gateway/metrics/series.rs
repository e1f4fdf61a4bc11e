//! The series of versions and upstreams: found by name when publishing, held by the data path, collected for a scrape.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::value::name::{AliasName, FunctionName, VersionId};
use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::cell::{Cell, Times};
use super::counts::{Counted, Counts};
use super::rollouts::Rollouts;
use super::{
    CERTIFICATES, DURATION, Family, HEALTHY, Judged, Kind, PICKS, REQUESTS, RETRIES, ROLLOUT_STEP, ROLLOUT_WEIGHT,
    UPSTREAM_CONNECT, UPSTREAM_DURATION, VERDICTS, WEIGHT,
};

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
    retries: [Cell; Retry::LABELS.len()],
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
    certificates: Mutex<Vec<(String, i64)>>,
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

type VersionKey = Counted;
type UpstreamKey = (FunctionName, VersionId);

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
    fn wake(&mut self) {
        let room = MAX_SERIES.saturating_sub(self.series.len());
        let mut used = 0;
        let is_shown = |_: &K, series: &mut Arc<S>| {
            let is_shown = used < room && series.is_used();
            used += usize::from(is_shown);
            is_shown
        };
        self.series.extend(self.resting.extract_if(.., is_shown));
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

// --- scraping --------------------------------------------------------------------------------------------------------

/// What the registry asks for series.
pub(super) struct Collected {
    series: Arc<AllSeries>,
    descriptions: Vec<Desc>,
}

impl Collected {
    pub(super) fn new(series: Arc<AllSeries>) -> Self {
        let families = [
            REQUESTS,
            DURATION,
            PICKS,
            WEIGHT,
            UPSTREAM_DURATION,
            UPSTREAM_CONNECT,
            RETRIES,
            HEALTHY,
            CERTIFICATES,
            ROLLOUT_STEP,
            ROLLOUT_WEIGHT,
            VERDICTS,
        ];
        let described = families.map(|family| {
            let labels = family.labels.iter().map(ToString::to_string).collect();
            Desc::new(family.name.into(), family.help.into(), labels, Default::default())
                .expect("families are constants with legal names")
        });
        Self { series, descriptions: described.into() }
    }
}

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut scrape = Scrape::default();
        let mut versions = lock(&self.series.versions);
        versions.wake();
        scrape.versions(&versions);
        drop(versions);
        let mut upstreams = lock(&self.series.upstreams);
        upstreams.wake();
        scrape.upstreams(&upstreams);
        drop(upstreams);
        for (domain, not_after) in &*lock(&self.series.certificates) {
            scrape.push(&CERTIFICATES, &[domain], Seen::Number(*not_after as f64));
        }
        scrape.rollouts(&self.series.rollouts);
        scrape.0.into_values().collect()
    }
}

/// Families by name, being filled.
#[derive(Default)]
struct Scrape(BTreeMap<&'static str, proto::MetricFamily>);

enum Seen {
    Number(f64),
    Times(proto::Histogram),
}

impl Scrape {
    fn versions(&mut self, named: &Named<VersionKey, VersionSeries>) {
        for ((function, alias, version), series) in &named.series {
            let version = version.to_string();
            let labels = [function.as_str(), alias.as_ref().map_or("", AliasName::as_str), &version];
            self.version(&labels, series);
            if alias.is_some() {
                self.push(&WEIGHT, &labels, Seen::Number(series.weight.get() as f64));
            }
        }
        if let Some(series) = &named.other {
            self.version(&[OTHER; 3], series);
        }
    }

    fn version(&mut self, labels: &[&str; 3], series: &VersionSeries) {
        self.each(&REQUESTS, labels, CodeClass::LABELS, &series.requests);
        self.each(&PICKS, labels, Pick::LABELS, &series.picks);
        self.push(&DURATION, labels, Seen::Times(series.duration.proto()));
    }

    fn upstreams(&mut self, named: &Named<UpstreamKey, UpstreamSeries>) {
        for ((function, version), series) in &named.series {
            let labels = [function.as_str(), &version.to_string()];
            self.upstream(&labels, series);
            self.push(&HEALTHY, &labels, Seen::Number(series.healthy.get() as f64));
        }
        if let Some(series) = &named.other {
            self.upstream(&[OTHER; 2], series);
        }
    }

    fn upstream(&mut self, labels: &[&str; 2], series: &UpstreamSeries) {
        self.each(&RETRIES, labels, Retry::LABELS, &series.retries);
        self.push(&UPSTREAM_DURATION, labels, Seen::Times(series.duration.proto()));
        self.push(&UPSTREAM_CONNECT, labels, Seen::Times(series.connect.proto()));
    }

    fn rollouts(&mut self, rollouts: &Rollouts) {
        rollouts.each_standing(|standing| {
            let labels = [standing.function.as_str(), standing.alias.as_str()];
            self.push(&ROLLOUT_STEP, &labels, Seen::Number(standing.step as f64));
            self.push(&ROLLOUT_WEIGHT, &labels, Seen::Number(f64::from(standing.weight)));
        });
        rollouts.each_verdict(|key, verdicts| {
            let labels = key.map_or([OTHER; 2], |(function, alias)| [function.as_str(), alias.as_str()]);
            self.each(&VERDICTS, &labels, Judged::LABELS, &verdicts.0);
        });
    }

    /// One series per value of the last label.
    fn each(&mut self, family: &'static Family, labels: &[&str], last: &[&str], cells: &[Cell]) {
        for (value, cell) in last.iter().zip(cells) {
            let labels: Vec<&str> = labels.iter().chain([value]).copied().collect();
            self.push(family, &labels, Seen::Number(cell.get() as f64));
        }
    }

    fn push(&mut self, family: &'static Family, labels: &[&str], seen: Seen) {
        let pairs = family.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = proto::Metric::from_label(pairs.collect());
        match (family.kind, seen) {
            (_, Seen::Times(times)) => metric.set_histogram(times),
            (Kind::Counter, Seen::Number(number)) => {
                let mut counter = proto::Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            }
            (_, Seen::Number(number)) => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
        }
        self.0.entry(family.name).or_insert_with(|| empty(family)).mut_metric().push(metric);
    }
}

/// No function, alias or version can have this name.
const OTHER: &str = "_other";

fn empty(family: &Family) -> proto::MetricFamily {
    let mut empty = proto::MetricFamily::default();
    empty.set_name(family.name.to_owned());
    empty.set_help(family.help.to_owned());
    empty.set_field_type(match family.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    empty
}
