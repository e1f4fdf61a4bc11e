//! Whether the candidate is beyond a limit that follows stable: for gates that compare, with numbers of their own.
//!
//! The tests are those of the verdict, with the gate's number in the place of the margin, stratum by stratum. Failures are compared by
//! [`points`], for a ratio too: a plan's `ratio` is one of rates, and the odds test ([`Fallen`]) would send back candidates within it where
//! failures are not rare. Answers that are slow are compared by their odds.

use serde::{Deserialize, Serialize};

use super::odds::Fallen;
use super::points::RateLimit;
use super::tally::{Both, Tally};
use super::told::Measure;
use super::wealth::Wealth;
use super::{LIFTS, lifted, points, stratum_requests};
use crate::model::Limit;
use crate::release::outcome::{Counts, LATENCY_BUCKETS, latency_bound, latency_bucket};
use crate::value::weight::Weight;

/// The odds that an answer is slow may differ by so much: buckets are coarse, and load drifts within a stratum.
const SLOW_ODDS: f64 = 1.5;
/// How many latencies of stable must be known before any is judged.
const KNOWN: u64 = 200;
/// How many are remembered.
const REMEMBERED: u64 = 20_000;
/// How many requests of stable its rate is guessed from.
const GUESSED: u64 = 10_000;

/// What the limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Compares {
    /// So many thousandths of stable's part.
    #[serde(alias = "Odds")]
    Rates(u32),
    /// So many millionths more than stable's part.
    Points(u32),
    /// A quantile, so many thousandths of stable's.
    Times(u16, u32),
    /// A quantile, so many microseconds more than stable's.
    Micros(u16, u64),
}

/// Both sides held against a limit that compares them, since a step began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Against {
    compares: Compares,
    wealth: Wealth,
    open: Both,
    /// Stable's failures of earlier strata: a guess of its rate.
    base: Tally,
    /// Latencies of stable of earlier looks, older ones halved.
    known: Vec<u64>,
}

impl Against {
    /// Of failures; `None` for a limit that does not compare.
    #[must_use]
    pub fn failures(limit: Limit) -> Option<Self> {
        match limit {
            Limit::Max(_) => None,
            Limit::Ratio(thousandths) => Some(Self::new(Compares::Rates(thousandths.max(1)))),
            Limit::Points(more) => Some(Self::new(Compares::Points(u32::try_from(more).unwrap_or(u32::MAX)))),
        }
    }

    /// Of a quantile of latencies, in thousandths; `None` for a limit that does not compare.
    #[must_use]
    pub fn latency(quantile: u16, limit: Limit) -> Option<Self> {
        match limit {
            Limit::Max(_) => None,
            Limit::Ratio(thousandths) => Some(Self::new(Compares::Times(quantile, thousandths))),
            Limit::Points(more) => Some(Self::new(Compares::Micros(quantile, more))),
        }
    }

    fn new(compares: Compares) -> Self {
        let null = match compares {
            Compares::Rates(_) | Compares::Points(_) => 1.0,
            Compares::Times(..) | Compares::Micros(..) => SLOW_ODDS,
        };
        Self {
            compares,
            wealth: Wealth::new(&LIFTS.map(|lift| null * lift)),
            open: Both::default(),
            base: Tally::default(),
            known: vec![0; LATENCY_BUCKETS],
        }
    }

    /// Takes in what both sides did since the last look, at one weight.
    pub fn add(&mut self, weight: Weight, stable: &Counts, candidate: &Counts, client_errors: bool) {
        let least = stratum_requests(weight);
        match self.compares {
            Compares::Rates(thousandths) => {
                let both = failures(stable, candidate, client_errors);
                self.bet_rates(both, least, RateLimit::ratio(f64::from(thousandths) / 1e3));
            }
            Compares::Points(more) => {
                let both = failures(stable, candidate, client_errors);
                self.bet_rates(both, least, RateLimit::points(f64::from(more) / 1e6));
            }
            Compares::Times(quantile, thousandths) => {
                self.add_slow(
                    quantile,
                    |micros| micros.saturating_mul(thousandths.into()) / 1_000,
                    least,
                    [stable, candidate],
                );
            }
            Compares::Micros(quantile, more) => {
                self.add_slow(quantile, |micros| micros.saturating_add(more), least, [stable, candidate]);
            }
        }
    }

    fn bet_rates(&mut self, both: Both, least: u64, limit: RateLimit) {
        let Some(both) = self.open.join(both, least) else { return };
        let guess = (self.base.failures as f64 + 0.5) / (self.base.requests as f64 + 50.0);
        self.wealth.bet(|lift| points::ln_factor(&both, guess, limit, lifted(limit.at(guess), lift)));
        self.base += both.stable;
        self.base.forget(GUESSED);
    }

    fn bet_odds(&mut self, both: Both, least: u64, null: f64) {
        if let Some(fallen) = self.open.join(both, least).and_then(|both| Fallen::new(both, null)) {
            self.wealth.bet(|psi| fallen.ln_ratio(psi));
        }
    }

    /// Stable's answer is slow above its quantile of earlier looks, the candidate's above what that allows. If the candidate keeps within the
    /// limit, the chance of the latter is at most that of the former, however wrong the guess of the quantile is.
    fn add_slow(&mut self, quantile: u16, allowed: impl Fn(u64) -> u64, least: u64, sides: [&Counts; 2]) {
        if let Some(from) = self.slow_from(quantile) {
            let micros =
                latency_bound(from - 1).map_or(u64::MAX, |bound| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX));
            let limit = latency_bucket(std::time::Duration::from_micros(allowed(micros))) + 1;
            let slow = |counts: &Counts, bucket: usize| {
                Tally::of(counts.latencies.iter().sum(), counts.latencies.iter().skip(bucket).sum())
            };
            self.bet_odds(Both { stable: slow(sides[0], from), candidate: slow(sides[1], limit) }, least, SLOW_ODDS);
        }
        self.known.resize(LATENCY_BUCKETS, 0);
        self.known.iter_mut().zip(sides[0].latencies).for_each(|(seen, count)| *seen += count);
        while self.known.iter().sum::<u64>() > REMEMBERED {
            self.known.iter_mut().for_each(|seen| *seen /= 2);
        }
    }

    /// The first bucket above stable's quantile, above 0; `None` while too little is known.
    fn slow_from(&self, quantile: u16) -> Option<usize> {
        let mut known = Counts::default();
        known.latencies.iter_mut().zip(&self.known).for_each(|(count, seen)| *count = *seen);
        let bound = known.quantile(quantile.into()).filter(|_| self.known.iter().sum::<u64>() >= KNOWN)?;
        Some(latency_bucket(bound).max(1))
    }

    /// Whether the limit is shown to be exceeded.
    #[must_use]
    pub fn exceeded(&self, alpha: f64) -> Option<Measure> {
        (self.wealth.peak() >= -alpha.ln()).then(|| Measure::new(self.wealth.peak(), alpha))
    }
}

fn failures(stable: &Counts, candidate: &Counts, client_errors: bool) -> Both {
    let tally = |counts: &Counts| Tally::of(counts.judged(), counts.failures(client_errors));
    Both { stable: tally(stable), candidate: tally(candidate) }
}
