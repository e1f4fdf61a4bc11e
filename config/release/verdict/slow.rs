//! Whether the candidate answers slower than stable: how many of its answers are slow, compared as failures are.
//!
//! **Two thresholds.** An answer of stable is slow above `q`, a quantile of its own earlier answers; one of the candidate is slow above
//! `L = max(ratio q, q + more)`. If the candidate's times are at most those of stable times `ratio`, or plus `more`, a slow answer of the
//! candidate is no likelier than one of stable, whatever `q` was guessed to be: only a candidate beyond *both* margins can be called
//! slower. Both thresholds are fixed when a stratum begins. A margin of odds remains for the width of the histogram's buckets and
//! for drift within a stratum.
//!
//! - A request that is still open at the age of its threshold is slow. A failure that is quick is not slow.
//! - The candidate's first answers do not count: connections open, caches fill.
//! - Above a weight of 50 % it is an alert only: the larger side carries the load, and no split at random removes that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::odds::Fallen;
use super::tally::Both;
use super::wealth::Wealth;
use super::{LIFTS, Stratum, stratum_requests};
use crate::model::LatencyGuard;
use crate::release::outcome::{Counts, LATENCY_BUCKETS};
use crate::value::weight::Weight;

/// The candidate is slower when the odds that an answer is slow are more than so many times stable's.
const MARGIN: f64 = 1.5;

/// The least time that the warm-up takes, and the most.
const WARM_UP: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

/// The number of stable's latencies that must be known before any is judged.
const KNOWN: u64 = 200;

/// The number that is remembered, so that the quantile follows the load.
const REMEMBERED: u64 = 20_000;

/// The weight above which slowness only alerts.
const CAP: u16 = Weight::WHOLE / 2;

/// The comparison of latencies. In its tallies requests are answers, and failures are slow answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settings: Option<LatencyGuard>,
    pub(super) wealth: Wealth,
    /// The same above [`CAP`].
    pub(super) heavy: Wealth,
    /// All that was judged.
    pub(super) total: Both,
    joined: Both,
    /// Of the last stratum, in basis points.
    weight: u16,
    /// Latencies of stable by bucket, older ones halved.
    stable: Vec<u64>,
    /// The time at which the candidate's first stratum began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<Duration>,
    /// Requests of the candidate so far.
    answers: u64,
}

impl Slow {
    pub(super) fn new(settings: Option<LatencyGuard>) -> Self {
        Self {
            settings,
            wealth: Wealth::new(&LIFTS.map(|lift| MARGIN * lift)),
            heavy: Wealth::new(&LIFTS.map(|lift| MARGIN * lift)),
            total: Both::default(),
            joined: Both::default(),
            weight: 0,
            stable: Vec::new(),
            began: None,
            answers: 0,
        }
    }

    /// Takes in a stratum that had limits.
    pub(super) fn observe(&mut self, stratum: &Stratum) {
        if std::mem::replace(&mut self.weight, stratum.weight.basis_points()) != stratum.weight.basis_points() {
            // What was not yet compared is not compared with what comes at another weight.
            self.joined = Both::default();
        }
        let judged = Both { stable: stratum.stable.slow(), candidate: stratum.candidate.slow() };
        self.total += judged;
        self.joined += judged;
        if self.joined.stable.requests + self.joined.candidate.requests < stratum_requests(stratum.weight) {
            return;
        }
        if let Some(fallen) = Fallen::new(std::mem::take(&mut self.joined), MARGIN) {
            let wealth = if self.weight > CAP { &mut self.heavy } else { &mut self.wealth };
            wealth.bet(|psi| fallen.ln_ratio(psi));
        }
    }

    /// Counts requests of the candidate for its warm-up.
    pub(super) fn warm_up(&mut self, stratum: &Stratum) {
        if stratum.candidate.begun > 0 {
            self.began.get_or_insert(stratum.began);
            self.answers += stratum.candidate.begun - stratum.candidate.waiting();
        }
    }

    /// The latency above which an answer is slow, of stable and of the candidate; `None` while that is not judged.
    pub(super) fn limits(&self, now: Duration) -> Option<[Duration; 2]> {
        let settings = self.settings?;
        let age = now.saturating_sub(self.began?);
        let [least, most] = WARM_UP;
        let is_warm = age >= most || (age >= least && self.answers >= settings.warm_up);
        if !is_warm || self.stable.iter().sum::<u64>() < KNOWN {
            return None;
        }
        let mut known = Counts::default();
        known.latencies.iter_mut().zip(&self.stable).for_each(|(count, seen)| *count = *seen);
        let stable = known.quantile(settings.quantile.into())?;
        let ratio = stable.mul_f64(f64::from(settings.ratio) / 1e3);
        Some([stable, ratio.max(stable + settings.more)])
    }

    pub(super) fn learn(&mut self, stable: &[u64; LATENCY_BUCKETS]) {
        self.stable.resize(stable.len(), 0);
        self.stable.iter_mut().zip(stable).for_each(|(seen, count)| *seen += count);
        while self.stable.iter().sum::<u64>() > REMEMBERED {
            self.stable.iter_mut().for_each(|seen| *seen /= 2);
        }
    }
}
