//! Every metric: name, type, labels, and the bound on how many series it can have.
//!
//! What is counted per request is resolved when a snapshot is published ([`Metrics::version`], [`Metrics::upstream`]):
//! the data path then adds to cells it already holds, and looks nothing up and takes no lock. Series grow with aliases
//! x versions and never with domains, paths, hosts or clients; beyond [`MAX_SERIES`] aliases x versions the rest shares
//! one series labelled `_other`, so that no configuration can drown who scrapes it.
//!
//! The cells of versions and upstreams are our own, not `prometheus`'s vectors: version 0.14 of that crate finds a
//! series by a hash of its label values *without separators*, so that version 2 of alias `prod1` and version 12 of alias
//! `prod` would be one series (`MetricVecCore::hash_label_values`).

mod cell;
mod counts;
mod fixed;
mod rollouts;
mod scrape;
mod series;

use std::sync::Arc;
use std::time::Duration;

use config::value::name::{AliasName, FunctionName, VersionId};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, IntCounter, IntGauge, Registry, TextEncoder};

pub use cell::{BOUNDS_MICROS, Cell, Times};
pub use counts::{Counted, Counts};
pub use fixed::{Connections, DialectRequests, Reasons};
pub use rollouts::{Judged, Standing};
pub use series::{Among, CodeClass, MAX_CERTIFICATES, MAX_SERIES, Pick, Retry, UpstreamSeries, VersionSeries};

use fixed::Fixed;
use scrape::Collected;
use series::AllSeries;

/// The shape of one metric.
#[derive(Debug)]
pub struct Family {
    /// With its unit and `_total` as Prometheus names metrics.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Label names in order.
    pub labels: &'static [&'static str],
    /// The most series it can have, in words.
    pub bound: &'static str,
    /// What it means, and its unit.
    pub help: &'static str,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts per bucket of seconds.
    Histogram,
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $bound:literal $help:literal;)*) => {
        $(pub(crate) const $constant: Family = Family {
            name: $name, kind: Kind::$kind, labels: &[$($label),*], bound: $bound, help: $help,
        };)*
        /// Every metric of Weir's own, beside the usual `process_*`.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    REQUESTS = Counter "weir_requests_total" ["function", "alias", "version", "code_class"]
        "aliases x versions x 6" "Requests that resolved, by the class of the status sent to the client.";
    DURATION = Histogram "weir_request_duration_seconds" ["function", "alias", "version"]
        "aliases x versions" "From the first byte of the request to the last byte of the answer.";
    PICKS = Counter "weir_picks_total" ["function", "alias", "version", "reason"]
        "aliases x versions x 10" "Requests by why this version was chosen.";
    WEIGHT = Gauge "weir_alias_weight" ["function", "alias", "version"]
        "aliases x versions" "Configured weight in basis points, 0 to 10000.";
    UPSTREAM_DURATION = Histogram "weir_upstream_duration_seconds" ["function", "version"]
        "versions" "From the last byte of the request sent to an endpoint to the head of its answer.";
    UPSTREAM_CONNECT = Histogram "weir_upstream_connect_seconds" ["function", "version"]
        "versions" "New connections to endpoints, TLS included.";
    RETRIES = Counter "weir_retries_total" ["function", "version", "reason"]
        "versions x 4" "Attempts after the first, by how the attempt before failed.";
    HEALTHY = Gauge "weir_endpoints_healthy" ["function", "version"]
        "versions" "Endpoints that requests may go to.";
    UNRESOLVED = Counter "weir_unresolved_total" ["reason"]
        "a closed list" "Requests that resolved to no version.";
    REFUSED = Counter "weir_refused_total" ["reason"]
        "a closed list" "Connections and requests turned away before they were resolved.";
    ADMIN_REFUSED = Counter "weir_admin_refused_total" ["reason"]
        "a closed list" "Requests to the admin API turned away before they were looked at.";
    DIALECT_REQUESTS = Counter "weir_dialect_requests_total" ["dialect", "operation", "result"]
        "operations of a closed list x 4" "Requests of clouds' clients: ok, function_error, refused (the client's fault), failed.";
    CONNECTIONS = Gauge "weir_connections_open" ["listener", "protocol"]
        "listeners x 2" "Open client connections.";
    STREAMS = Gauge "weir_streams_open" ["kind"]
        "3" "Open long-lived exchanges.";
    REVISION = Gauge "weir_config_revision" []
        "1" "Revision of the live snapshot.";
    RELOADS = Counter "weir_config_reloads_total" ["result"]
        "a closed list" "Configurations received, by result.";
    LAST_RELOAD = Gauge "weir_config_last_reload_success" []
        "1" "Whether the last configuration received went live.";
    APPLY = Histogram "weir_config_apply_seconds" []
        "1" "From a configuration received to its snapshot live.";
    ROLLOUT_STEP = Gauge "weir_rollout_step" ["function", "alias"]
        "rollouts that run" "Step of the rollout that runs on the alias, from 1.";
    ROLLOUT_WEIGHT = Gauge "weir_rollout_weight" ["function", "alias"]
        "rollouts that run" "Weight of the candidate of the rollout that runs on the alias, in basis points.";
    VERDICTS = Counter "weir_verdicts_total" ["function", "alias", "verdict"]
        "aliases x 3" "Verdicts that rollouts came to, each counted when it is reached.";
    ROLLBACK = Histogram "weir_rollback_seconds" ["part"]
        "3" "Rollbacks: detected (since the first failure not looked at yet), live since then, stored.";
    NOTICES_LOST = Counter "weir_notices_lost_total" []
        "1" "Notices that reached no notifier: dropped, refused, or sent in vain.";
    STARTED_EMPTY = Gauge "weir_store_started_empty" []
        "1" "Whether the store was empty when the gateway started.";
    UNSAVED_ROLLBACK = Gauge "weir_unsaved_rollback" []
        "1" "Whether a rollback is live that the store could not take yet.";
    STORE_WRITABLE = Gauge "weir_store_writable" []
        "1" "Whether the store took the last change; 0 while rollouts and edits wait for it.";
    UNUSABLE = Gauge "weir_unusable" ["kind"]
        "a closed list" "Things that cannot be used as they are, and are tried again every few seconds.";
    CERTIFICATES = Gauge "weir_tls_certificate_not_after_seconds" ["domain"]
        "the 100 certificates that expire first" "When a certificate expires, in seconds since 1970.";
    HANDSHAKES = Counter "weir_tls_handshakes_total" ["result"]
        "a closed list" "TLS handshakes with clients.";
    LINES_DROPPED = Counter "weir_access_log_dropped_total" []
        "1" "Access-log lines that found no room or could not be written.";
    DIAGNOSTICS_DROPPED = Counter "weir_diagnostics_dropped_total" []
        "1" "Lines of diagnostics that found no room or could not be written.";
    BUILD = Gauge "weir_build_info" ["version", "commit"]
        "1" "Always 1.";
}

/// Reasons of `weir_admin_refused_total`: a foreign `Host` or `Origin`, no token or a wrong one, a key of a dialect that signs wrongly, a
/// role too low, and too many wrong tokens from one address.
pub const ADMIN_REFUSALS: &[&str] = &["host", "origin", "no_token", "wrong_token", "wrong_key", "role", "attempts"];

/// Access keys of clouds' clients among the things that cannot be used, as the metric and the status name them.
pub const ACCESS_KEY: &str = "access_key";
/// Certificates among the kinds of things that cannot be used, as the metric and the status name them.
pub const CERTIFICATE: &str = "certificate";
/// Certificate authorities of versions among them.
pub const AUTHORITY: &str = "authority";
/// Stored rollouts among them.
pub const ROLLOUT: &str = "rollout";
/// See [`UNUSABLE_KINDS`].
pub const GUARDIAN: &str = "guardian";

/// Places of the configuration that name what is not stored among them.
pub const REFERENCE: &str = "reference";
/// Stored texts of the configuration among them.
pub const TEXT: &str = "text";
/// Stored texts of the file as it was applied last among them.
pub const FILE_TEXT: &str = "file_text";

/// Kinds of `weir_unusable`.
pub const UNUSABLE_KINDS: &[&str] =
    &[ACCESS_KEY, AUTHORITY, CERTIFICATE, FILE_TEXT, GUARDIAN, REFERENCE, ROLLOUT, TEXT];

/// The closed lists that other modules own: what may be a label value.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Addresses of the listeners, in the order of the settings.
    pub listeners: &'a [String],
    /// Codes of `weir_refused_total`.
    pub refused: &'a [&'static str],
    /// Codes of `weir_unresolved_total`.
    pub unresolved: &'a [&'static str],
    /// Codes of handshakes that failed.
    pub handshakes: &'a [&'static str],
}

/// All metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    series: Arc<AllSeries>,
    /// By index of the listener.
    pub connections: Vec<Connections>,
    /// Open WebSocket tunnels.
    pub websockets: IntGauge,
    /// Open server-sent event streams.
    pub event_streams: IntGauge,
    /// Open gRPC calls.
    pub grpc_calls: IntGauge,
    /// Connections and requests turned away.
    pub refused: Reasons,
    /// Requests to the admin API turned away, by one of [`ADMIN_REFUSALS`].
    pub admin_refused: Reasons,
    /// Requests of clouds' clients.
    pub dialect_requests: DialectRequests,
    /// Requests that resolved to nothing.
    pub unresolved: Reasons,
    /// TLS handshakes: `ok`, or why not.
    pub handshakes: Reasons,
    /// Revision of the live snapshot.
    pub revision: IntGauge,
    /// Whether the store was empty at the start.
    pub store_started_empty: IntGauge,
    /// Whether a rollback is live that is not stored.
    pub unsaved_rollback: IntGauge,
    /// True if the store took the last change.
    pub store_writable: IntGauge,
    /// Access-log lines lost: for [`AccessLog::open`](crate::log::AccessLog::open).
    pub lines_dropped: IntCounter,
    /// Lines of diagnostics lost: for [`Diagnostics::count`](crate::log::Diagnostics::count).
    pub diagnostics_dropped: IntCounter,
    /// Rollbacks: how long it took to decide them, to store them, and then until they were live.
    pub rollback: [Histogram; 3],
    /// Notices lost: for [`Notifiers::counting`](crate::notify::Notifiers::counting).
    pub notices_lost: IntCounter,
    reloads: Reasons,
    last_reload: IntGauge,
    apply: Histogram,
    unusable: Vec<(&'static str, IntGauge)>,
}

impl Metrics {
    /// Every series of a closed list at zero, the others empty. One per gateway; nothing global.
    #[must_use]
    pub fn new(labels: &Labels<'_>) -> Self {
        let registry = Registry::new();
        let fixed = Fixed(&registry);
        let series = Arc::new(AllSeries::default());
        fixed.register(Box::new(Collected::new(Arc::clone(&series))));
        fixed.register(Box::new(ProcessCollector::for_self()));
        let commit = option_env!("WEIR_COMMIT").unwrap_or("unknown");
        fixed.gauges(&BUILD, &[&[env!("CARGO_PKG_VERSION"), commit]]).for_each(|gauge| gauge.set(1));
        let [websockets, event_streams, grpc_calls] = fixed.streams();
        Self {
            series,
            connections: fixed.connections(labels.listeners),
            websockets,
            event_streams,
            grpc_calls,
            refused: fixed.reasons(&REFUSED, labels.refused),
            admin_refused: fixed.reasons(&ADMIN_REFUSED, ADMIN_REFUSALS),
            dialect_requests: fixed.dialect_requests(),
            unresolved: fixed.reasons(&UNRESOLVED, labels.unresolved),
            handshakes: fixed.reasons(&HANDSHAKES, &[&["ok"], labels.handshakes].concat()),
            revision: fixed.gauge(&REVISION),
            store_started_empty: fixed.gauge(&STARTED_EMPTY),
            unsaved_rollback: fixed.gauge(&UNSAVED_ROLLBACK),
            store_writable: writable(fixed.gauge(&STORE_WRITABLE)),
            lines_dropped: fixed.counter(&LINES_DROPPED),
            diagnostics_dropped: fixed.counter(&DIAGNOSTICS_DROPPED),
            rollback: fixed.histograms(&ROLLBACK, ["detected", "live", "stored"]),
            notices_lost: fixed.counter(&NOTICES_LOST),
            reloads: fixed.reasons(&RELOADS, &["ok", "refused"]),
            last_reload: fixed.gauge(&LAST_RELOAD),
            apply: fixed.histogram(&APPLY),
            unusable: fixed.by_code(&UNUSABLE, UNUSABLE_KINDS),
            registry,
        }
    }

    /// The series of a version under an alias; `None` for direct calls. The same name gives the same cells.
    #[must_use]
    pub fn version(
        &self,
        function: &FunctionName,
        alias: Option<&AliasName>,
        version: VersionId,
    ) -> Arc<VersionSeries> {
        self.series.version(function, alias, version)
    }

    /// The series of a version's upstream. The same name gives the same cells.
    #[must_use]
    pub fn upstream(&self, function: &FunctionName, version: VersionId) -> Arc<UpstreamSeries> {
        self.series.upstream(function, version)
    }

    /// The series of a version that is hardly ever called, for direct calls, and those of its upstream: shown from its first call
    /// on, if there is room.
    #[must_use]
    pub fn resting(&self, function: &FunctionName, version: VersionId) -> (Arc<VersionSeries>, Arc<UpstreamSeries>) {
        self.series.resting(function, version)
    }

    /// Shows the series no longer of a function's versions that were never called and for which `rests` is true.
    pub fn rest(&self, function: &FunctionName, rests: impl Fn(VersionId) -> bool) {
        self.series.rest(function, rests);
    }

    /// What each version with a series of its own has counted so far. Takes the lock that publishing takes, never one of
    /// the data path.
    pub fn each_version(&self, see: impl FnMut(&Counted, Counts)) {
        self.series.each_version(see);
    }

    /// Drops the series of a function's versions under aliases for which `keep` is false. Cells that somebody still holds
    /// count on, unseen.
    pub fn retain_versions(
        &self,
        function: &FunctionName,
        among: Among,
        keep: impl FnMut(Option<&AliasName>, VersionId) -> bool,
    ) {
        self.series.retain_versions(function, among, keep);
    }

    /// Drops the series of a function's upstreams for which `keep` is false.
    pub fn retain_upstreams(&self, function: &FunctionName, keep: impl FnMut(VersionId) -> bool) {
        self.series.retain_upstreams(function, keep);
    }

    /// Replaces what is known of certificates: domain and expiry in seconds since 1970. Only the [`MAX_CERTIFICATES`]
    /// that expire first are shown, so that domains do not become series.
    pub fn set_certificates(&self, certificates: Vec<(String, i64)>) {
        self.series.set_certificates(certificates);
    }

    /// Sets how many things of this kind, one of [`UNUSABLE_KINDS`], cannot be used.
    pub fn set_unusable(&self, kind: &str, number: usize) {
        let gauge = self.unusable.iter().find(|(known, _)| *known == kind);
        gauge.expect("the kind is in the list").1.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Replaces what is known of the rollouts that run.
    pub fn set_rollouts(&self, standings: Vec<Standing>) {
        self.series.rollouts.set(standings);
    }

    /// The rollout on this alias has come to this verdict.
    pub fn judged(&self, function: &FunctionName, alias: &AliasName, judged: Judged) {
        self.series.rollouts.judged(function, alias, judged);
    }

    /// A configuration was received and went live within `time`.
    pub fn reloaded(&self, time: Duration) {
        self.reloads.inc("ok");
        self.last_reload.set(1);
        self.apply.observe(time.as_secs_f64());
    }

    /// What was received is live, even if it was live before: a file that was mended may say nothing new.
    pub fn reload_succeeded(&self) {
        self.last_reload.set(1);
    }

    /// A configuration was received and refused.
    pub fn reload_refused(&self) {
        self.reloads.inc("refused");
        self.last_reload.set(0);
    }

    /// Everything in Prometheus's text format ([`prometheus::TEXT_FORMAT`]).
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).expect("every family has a name and a series")
    }
}

/// A store is taken to be writable until it says otherwise.
fn writable(gauge: IntGauge) -> IntGauge {
    gauge.set(1);
    gauge
}

#[cfg(test)]
mod tests;
