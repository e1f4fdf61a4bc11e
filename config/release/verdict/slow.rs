//! Whether the candidate answers slower than stable did: how many answers took longer than stable's 95th percentile of
//! earlier batches, compared as failures are.

use serde::{Deserialize, Serialize};

use super::odds::Fallen;
use super::tally::{Both, Tally};
use super::wealth::Wealth;
use super::{Batch, LIFTS, stratum_requests};
use crate::release::outcome::{Counts, latency_bucket};

/// The candidate is slower when the odds that an answer is slow are more than so many times stable's.
const MARGIN: f64 = 2.0;

/// How many answers of the candidate come first and are not judged: connections open, caches fill.
const WARM_UP: u64 = 50;

/// How many latencies of stable must be known before any is judged.
const KNOWN: u64 = 200;

/// How many are remembered, so that the percentile follows the load.
const REMEMBERED: u64 = 20_000;

/// The comparison of latencies. In its tallies requests are answers, and failures are slow answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slow {
    pub(super) wealth: Wealth,
    /// All that was judged.
    pub(super) total: Both,
    open: Both,
    /// Latencies of stable by bucket, older ones halved.
    stable: Vec<u64>,
    /// Answers of the candidate, judged or not.
    answers: u64,
}

impl Slow {
    pub(super) fn new() -> Self {
        Self {
            wealth: Wealth::new(&LIFTS.map(|lift| MARGIN * lift)),
            total: Both::default(),
            open: Both::default(),
            stable: Vec::new(),
            answers: 0,
        }
    }

    pub(super) fn observe(&mut self, batch: &Batch<'_>) {
        let [stable, candidate] = [batch.stable, batch.candidate].map(|side| &side.counts);
        if let Some(bucket) = self.slow_from().filter(|_| self.answers >= WARM_UP) {
            let judged = Both { stable: slow(stable, bucket), candidate: slow(candidate, bucket) };
            self.total += judged;
            if let Some(fallen) =
                self.open.join(judged, stratum_requests(batch.weight)).and_then(|it| Fallen::new(it, MARGIN))
            {
                self.wealth.bet(|psi| fallen.ln_ratio(psi));
            }
        }
        self.answers += candidate.latencies.iter().sum::<u64>();
        self.learn(stable);
    }

    /// What was not yet compared is not compared with what comes at another weight.
    pub(super) fn close(&mut self) {
        self.open = Both::default();
    }

    /// The first bucket above stable's 95th percentile; `None` while too little is known.
    fn slow_from(&self) -> Option<usize> {
        let mut known = Counts::default();
        known.latencies.iter_mut().zip(&self.stable).for_each(|(count, seen)| *count = *seen);
        (self.stable.iter().sum::<u64>() >= KNOWN).then(|| known.quantile(950).map(latency_bucket)).flatten()
    }

    fn learn(&mut self, stable: &Counts) {
        self.stable.resize(stable.latencies.len(), 0);
        self.stable.iter_mut().zip(stable.latencies).for_each(|(seen, count)| *seen += count);
        while self.stable.iter().sum::<u64>() > REMEMBERED {
            self.stable.iter_mut().for_each(|seen| *seen /= 2);
        }
    }
}

/// Answers, and those of them in this bucket or above.
fn slow(counts: &Counts, bucket: usize) -> Tally {
    Tally { requests: counts.latencies.iter().sum(), failures: counts.latencies[bucket..].iter().sum() }
}
