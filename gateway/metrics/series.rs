//! The series of versions and upstreams: found by name when publishing, held by the data path, collected for a scrape.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU32;
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

/// No version comes before this one.
const FIRST: VersionId = VersionId::Number(NonZeroU32::MIN);

type VersionKey = Counted;
type UpstreamKey = (FunctionName, VersionId);

pub(super) struct Named<K, S> {
    series: BTreeMap<K, Arc<S>>,
    /// Shared by all beyond [`MAX_SERIES`]; made when the first comes.
    other: Option<Arc<S>>,
}

impl<K, S> Default for Named<K, S> {
    fn default() -> Self {
        Self { series: BTreeMap::new(), other: None }
    }
}

impl<K, S> Named<K, S> {
    /// The last is the one that is shared, if there is one.
    pub(super) fn each(&self, mut see: impl FnMut(Option<&K>, &S)) {
        self.series.iter().for_each(|(key, series)| see(Some(key), series));
        self.other.iter().for_each(|other| see(None, other));
    }
}

impl<K: Ord, S: Default> Named<K, S> {
    pub(super) fn get(&mut self, key: K) -> Arc<S> {
        let full = self.series.len() >= MAX_SERIES;
        match self.series.entry(key) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(_) if full => Arc::clone(self.other.get_or_insert_default()),
            Entry::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
        }
    }

    /// Drops those from `first` on, as far as `among` goes, for which `keep` is false; the others are not looked at.
    fn retain(&mut self, first: K, among: impl Fn(&K) -> bool, mut keep: impl FnMut(&K) -> bool)
    where
        K: Clone,
    {
        let keys = self.series.range(first..).map(|(key, _)| key).take_while(|key| among(key));
        let dropped: Vec<K> = keys.filter(|key| !keep(key)).cloned().collect();
        for key in dropped {
            self.series.remove(&key);
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
        lock(&self.versions).series.iter().for_each(|(key, series)| see(key, Counts::of(series)));
    }

    pub(super) fn upstream(&self, function: &FunctionName, version: VersionId) -> Arc<UpstreamSeries> {
        lock(&self.upstreams).get((function.clone(), version))
    }

    pub(super) fn retain_versions(
        &self,
        function: &FunctionName,
        mut keep: impl FnMut(Option<&AliasName>, VersionId) -> bool,
    ) {
        let first = (function.clone(), None, FIRST);
        lock(&self.versions).retain(first, |key| key.0 == *function, |key| keep(key.1.as_ref(), key.2));
    }

    pub(super) fn retain_upstreams(&self, function: &FunctionName, mut keep: impl FnMut(VersionId) -> bool) {
        lock(&self.upstreams).retain((function.clone(), FIRST), |key| key.0 == *function, |key| keep(key.1));
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
        scrape.versions(&lock(&self.series.versions));
        scrape.upstreams(&lock(&self.series.upstreams));
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
