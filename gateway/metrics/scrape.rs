//! What a scrape sees of the series.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::value::name::AliasName;
use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::cell::Cell;
use super::rollouts::Rollouts;
use super::series::{
    AllSeries, CodeClass, Listed, Pick, Retry, UpstreamKey, UpstreamSeries, VersionKey, VersionSeries, lock,
};
use super::{
    CERTIFICATES, DURATION, Family, HEALTHY, Judged, Kind, PICKS, REQUESTS, RETRIES, ROLLOUT_STEP, ROLLOUT_WEIGHT,
    UPSTREAM_CONNECT, UPSTREAM_DURATION, VERDICTS, WEIGHT,
};

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
        scrape.versions(&self.series.listed_versions());
        scrape.upstreams(&self.series.listed_upstreams());
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
    fn versions(&mut self, listed: &Listed<VersionKey, VersionSeries>) {
        for ((function, alias, version), series) in &listed.series {
            let version = version.to_string();
            let labels = [function.as_str(), alias.as_ref().map_or("", AliasName::as_str), &version];
            self.version(&labels, series);
            if alias.is_some() {
                self.push(&WEIGHT, &labels, Seen::Number(series.weight.get() as f64));
            }
        }
        if let Some(series) = &listed.other {
            self.version(&[OTHER; 3], series);
        }
    }

    fn version(&mut self, labels: &[&str; 3], series: &VersionSeries) {
        self.each(&REQUESTS, labels, CodeClass::LABELS, &series.requests);
        self.each(&PICKS, labels, Pick::LABELS, &series.picks);
        self.push(&DURATION, labels, Seen::Times(series.duration.proto()));
    }

    fn upstreams(&mut self, listed: &Listed<UpstreamKey, UpstreamSeries>) {
        for ((function, version), series) in &listed.series {
            let labels = [function.as_str(), &version.to_string()];
            self.upstream(&labels, series);
            self.push(&HEALTHY, &labels, Seen::Number(series.healthy.get() as f64));
        }
        if let Some(series) = &listed.other {
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
