//! Metrics whose series are known at the start.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::cell::{BOUNDS_MICROS, seconds};
use super::{CONNECTIONS, DIALECT_REQUESTS, Family, STREAMS};

/// Makes and registers them.
pub(super) struct Fixed<'r>(pub(super) &'r Registry);

/// Open connections of one listener.
#[derive(Debug, Clone)]
pub struct Connections {
    /// HTTP/1.0 and HTTP/1.1.
    pub http1: IntGauge,
    /// HTTP/2.
    pub http2: IntGauge,
}

/// A counter for each code of a closed list.
#[derive(Debug, Clone)]
pub struct Reasons(Vec<(&'static str, IntCounter)>);

impl Reasons {
    /// Adds one to this code's counter. The list is short, so finding it is a few comparisons and no lock; a code that is
    /// not in it counts as `other`.
    pub fn inc(&self, code: &str) {
        let found = self.0.iter().find(|(name, _)| *name == code).or(self.0.last());
        found.expect("`other` is in every list").1.inc();
    }
}

/// A counter for each dialect, operation and result that came up.
#[derive(Debug, Clone)]
pub struct DialectRequests(IntCounterVec);

impl DialectRequests {
    /// Counts a request. All three are of closed lists, so that no client makes series.
    pub fn inc(&self, dialect: &'static str, operation: &'static str, result: &'static str) {
        self.0.with_label_values(&[dialect, operation, result]).inc();
    }
}

impl Fixed<'_> {
    pub(super) fn register(&self, collector: Box<dyn Collector>) {
        self.0.register(collector).expect("every family is registered once, under a legal name");
    }

    pub(super) fn counter(&self, family: &Family) -> IntCounter {
        let counter = IntCounter::new(family.name, family.help).expect(LEGAL);
        self.register(Box::new(counter.clone()));
        counter
    }

    pub(super) fn gauge(&self, family: &Family) -> IntGauge {
        let gauge = IntGauge::new(family.name, family.help).expect(LEGAL);
        self.register(Box::new(gauge.clone()));
        gauge
    }

    /// A gauge for each of these lists of label values.
    pub(super) fn gauges(&self, family: &Family, values: &[&[&str]]) -> impl Iterator<Item = IntGauge> {
        let gauges = IntGaugeVec::new(Opts::new(family.name, family.help), family.labels).expect(LEGAL);
        self.register(Box::new(gauges.clone()));
        values.iter().map(move |values| gauges.with_label_values(values))
    }

    /// A gauge for each value of the only label.
    pub(super) fn by_code(&self, family: &Family, codes: &[&'static str]) -> Vec<(&'static str, IntGauge)> {
        let values: Vec<[&str; 1]> = codes.iter().map(|code| [*code]).collect();
        let values: Vec<&[&str]> = values.iter().map(|value| &value[..]).collect();
        codes.iter().copied().zip(self.gauges(family, &values)).collect()
    }

    pub(super) fn histogram(&self, family: &Family) -> Histogram {
        let histogram = Histogram::with_opts(times(family)).expect(LEGAL);
        self.register(Box::new(histogram.clone()));
        histogram
    }

    /// A histogram for each value of the only label.
    pub(super) fn histograms<const N: usize>(&self, family: &Family, values: [&str; N]) -> [Histogram; N] {
        let histograms = HistogramVec::new(times(family), family.labels).expect(LEGAL);
        self.register(Box::new(histograms.clone()));
        values.map(|value| histograms.with_label_values(&[value]))
    }

    pub(super) fn connections(&self, listeners: &[String]) -> Vec<Connections> {
        let values: Vec<_> = listeners.iter().flat_map(|l| [[l.as_str(), "http1"], [l.as_str(), "http2"]]).collect();
        let values: Vec<&[&str]> = values.iter().map(|pair| &pair[..]).collect();
        let mut gauges = self.gauges(&CONNECTIONS, &values);
        let mut connections = Vec::new();
        while let (Some(http1), Some(http2)) = (gauges.next(), gauges.next()) {
            connections.push(Connections { http1, http2 });
        }
        connections
    }

    /// WebSocket, server-sent events, gRPC.
    pub(super) fn streams(&self) -> [IntGauge; 3] {
        let mut gauges = self.gauges(&STREAMS, &[&["ws"], &["sse"], &["grpc"]]);
        std::array::from_fn(|_| gauges.next().expect("one gauge for each kind"))
    }

    pub(super) fn dialect_requests(&self) -> DialectRequests {
        let opts = Opts::new(DIALECT_REQUESTS.name, DIALECT_REQUESTS.help);
        let counters = IntCounterVec::new(opts, DIALECT_REQUESTS.labels).expect(LEGAL);
        self.register(Box::new(counters.clone()));
        DialectRequests(counters)
    }

    pub(super) fn reasons(&self, family: &Family, codes: &[&'static str]) -> Reasons {
        let counters = IntCounterVec::new(Opts::new(family.name, family.help), family.labels).expect(LEGAL);
        self.register(Box::new(counters.clone()));
        let codes = codes.iter().copied().chain(["other"]);
        Reasons(codes.map(|code| (code, counters.with_label_values(&[code]))).collect())
    }
}

/// With the bounds of all durations.
fn times(family: &Family) -> HistogramOpts {
    let bounds = BOUNDS_MICROS.iter().map(|micros| seconds(*micros)).collect();
    HistogramOpts::new(family.name, family.help).buckets(bounds)
}

const LEGAL: &str = "families are constants with legal names";
