//! Intervals for a chart: of a rate, of a quantile, and of the difference of candidate and stable.
//!
//! Each is a *confidence sequence*: it covers what it is about at all times of a step at once, with the chance of its level,
//! however often somebody looks (Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
//! sequences", 2021). It needs totals only.
//!
//! # Proof
//! For values in 0..=1 with conditional means `p_i`, the factor of value `Y` is `exp(λ Y) / (1 - p_i + p_i e^λ)`: its mean is at most 1, as
//! `e^{λy}` lies below its chord. The product of the denominators is at most `(1 - p + p e^λ)^n` with `p` the mean of the `p_i`, because the
//! logarithm is concave. So `exp(λ S - n ln(1 - p + p e^λ))` lies below a test martingale, whatever the rates do in the meantime, and a
//! mixture over fixed `λ` does too; by Ville's inequality it ever reaches `2/level` with a chance of at most `level/2` on each side.
//!
//! It is wider than the verdict is sure: that one compares stratum by stratum, and this one each side by itself. A chart may touch
//! 0 where the verdict says `worse`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wealth::ln_add;
use crate::release::outcome::{LATENCY_BUCKETS, latency_bound};

/// The level of each side of a difference: together 99 %.
const LEVEL: f64 = 0.005;
/// The smallest exponent that is mixed.
const FINEST: f64 = 0.005;
/// How many exponents are mixed, each twice the one before.
const EXPONENTS: i32 = 12;
/// Halvings of a limit: more than a `f64` can tell apart.
const ROUNDS: u32 = 50;

/// Values in 0..=1, added up: requests, and how many were bad; or callers, and what part of each one's requests was.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sums {
    /// How many.
    pub n: f64,
    /// Their sum.
    pub bad: f64,
}

/// Two limits; without `high` nothing is known above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The value as it was seen.
    pub estimate: f64,
    /// At least this.
    pub low: f64,
    /// At most this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub high: Option<f64>,
}

/// Candidate minus stable since a step began, at 99 % for each of them: the JSON that status, events and charts have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    /// Of the parts that failed; `None` while one side has no request.
    pub failures: Option<Interval>,
    /// Of the medians, in milliseconds.
    pub p50_ms: Option<Interval>,
    /// Of the 95th percentiles.
    pub p95_ms: Option<Interval>,
    /// Of the 99th percentiles.
    pub p99_ms: Option<Interval>,
}

impl Sums {
    /// So many, of which so many were bad.
    #[must_use]
    pub fn new(n: u64, bad: u64) -> Self {
        Self { n: n as f64, bad: bad as f64 }
    }

    /// The limits of the mean, which it never leaves with a chance of at least `1 - level`.
    #[must_use]
    pub fn limits(self, level: f64) -> Interval {
        if self.n <= 0.0 {
            return Interval { estimate: 0.0, low: 0.0, high: Some(1.0) };
        }
        let (needed, estimate) = ((2.0 / level).ln(), (self.bad / self.n).clamp(0.0, 1.0));
        // Below the estimate the evidence against a rate falls as it rises, above it rises.
        let low = bisect(0.0, estimate, |p| self.ln_evidence(p, 1.0) >= needed);
        let high = bisect(1.0, estimate, |p| self.ln_evidence(p, -1.0) >= needed);
        Interval { estimate, low, high: Some(high) }
    }

    /// The ln of the mixture against a mean of `p`, for more (`sign` 1) or less (-1) than it.
    fn ln_evidence(self, p: f64, sign: f64) -> f64 {
        let each = (0..EXPONENTS).map(|i| {
            let lambda = sign * FINEST * f64::from(1 << i);
            lambda * self.bad - self.n * (p * lambda.exp_m1()).ln_1p()
        });
        each.fold(f64::NEG_INFINITY, ln_sum) - f64::from(EXPONENTS).ln()
    }
}

/// The same as [`ln_add`], where the first may be nothing.
fn ln_sum(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY { b } else { ln_add(a, b) }
}

/// The place between `outside`, where `is_out` is expected to hold, and `inside`; on the safe side. `outside` where it does not hold.
fn bisect(outside: f64, inside: f64, is_out: impl Fn(f64) -> bool) -> f64 {
    if !is_out(outside) {
        return outside;
    }
    let (mut out, mut within) = (outside, inside);
    for _ in 0..ROUNDS {
        let middle = f64::midpoint(out, within);
        if is_out(middle) { out = middle } else { within = middle }
    }
    out
}

/// Candidate minus stable, at 99 %; `None` while one of them has nothing.
#[must_use]
pub fn difference(stable: Sums, candidate: Sums) -> Option<Interval> {
    (stable.n > 0.0 && candidate.n > 0.0).then(|| candidate.limits(LEVEL).minus(&stable.limits(LEVEL)))
}

impl Interval {
    fn minus(&self, other: &Self) -> Self {
        Self {
            estimate: self.estimate - other.estimate,
            low: other.high.map_or(f64::MIN, |high| self.low - high),
            high: self.high.map(|high| high - other.low),
        }
    }
}

/// The limits of a quantile (500 is the median) of latencies by [`latency_bucket`], in milliseconds; `None` without latencies.
///
/// How many of `n` answers lie at or below the quantile is a sum of values with mean `permille / 1000`. The ranks where the evidence
/// against that mean stands at the bound are limits of it, and the histogram says where these ranks lie.
///
/// [`latency_bucket`]: crate::release::outcome::latency_bucket
#[must_use]
pub fn quantile(latencies: &[u64; LATENCY_BUCKETS], permille: u16, level: f64) -> Option<Interval> {
    let n: u64 = latencies.iter().sum();
    let p = f64::from(permille) / 1000.0;
    let (lowest, highest) = ranks(n, p, level);
    let at = |rank: u64| {
        let mut below = 0;
        latencies.iter().position(|count| {
            below += count;
            below >= rank.max(1)
        })
    };
    let upper = |bucket| latency_bound(bucket).map(millis);
    let lower = |bucket: usize| bucket.checked_sub(1).and_then(upper).unwrap_or(0.0);
    let middle = at((n as f64 * p).ceil() as u64).filter(|_| n > 0)?;
    Some(Interval {
        estimate: upper(middle).unwrap_or_else(|| lower(middle)),
        low: lowest.and_then(at).map_or(0.0, lower),
        high: highest.and_then(at).and_then(upper),
    })
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

/// The ranks between which the quantile lies; `None` where there is no such rank.
fn ranks(n: u64, p: f64, level: f64) -> (Option<u64>, Option<u64>) {
    let needed = (2.0 / level).ln();
    let is_out = |rank: u64, sign| Sums::new(n, rank).ln_evidence(p, sign) >= needed;
    let middle = (n as f64 * p) as u64;
    // The evidence that fewer lie below rises as the rank falls, and the other way round.
    let (mut low, mut within) = (0, middle);
    while low < within {
        let rank = low + (within - low).div_ceil(2);
        if is_out(rank, -1.0) { low = rank } else { within = rank - 1 }
    }
    let (mut high, mut inside) = (n, middle);
    while inside < high {
        let rank = inside + (high - inside) / 2;
        if is_out(rank, 1.0) { high = rank } else { inside = rank + 1 }
    }
    (Some(low).filter(|rank| is_out(*rank, -1.0)), Some(high).filter(|rank| is_out(*rank, 1.0)))
}

/// The same of candidate minus stable, at 99 %; `None` while one of them has no answer.
#[must_use]
pub fn quantile_difference(
    stable: &[u64; LATENCY_BUCKETS],
    candidate: &[u64; LATENCY_BUCKETS],
    permille: u16,
) -> Option<Interval> {
    let mut difference = quantile(candidate, permille, LEVEL)?.minus(&quantile(stable, permille, LEVEL)?);
    // Where stable has no upper limit yet, the difference has no lower one but that the candidate takes no time at all.
    if difference.low == f64::MIN {
        difference.low = -slowest();
    }
    Some(difference)
}

/// The start of the slowest bucket: nothing is told apart above it.
fn slowest() -> f64 {
    latency_bound(LATENCY_BUCKETS - 2).map_or(0.0, millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::outcome::{Counts, latency_bucket};

    #[test]
    fn ranks_are_those_of_the_mixture() {
        assert_eq!(ranks(200, 0.95, 0.01), (Some(175), Some(200)));
        assert_eq!(ranks(2_000, 0.95, 0.01), (Some(1_859), Some(1_937)));
        assert_eq!(ranks(20_000, 0.95, 0.01), (Some(18_875), Some(19_119)));
        assert_eq!(ranks(3, 0.5, 0.01), (None, None));
    }

    #[test]
    fn limits_hold_the_estimate_and_get_closer() {
        let mut width = 1.0;
        for n in [10, 100, 1_000, 100_000] {
            let Interval { estimate, low, high } = Sums::new(n, n / 10).limits(0.01);
            let high = high.unwrap();
            assert!(low < estimate && estimate < high && high - low < width, "{n}: {low} {estimate} {high}");
            width = high - low;
        }
        assert_eq!(Sums::default().limits(0.01).high, Some(1.0));
        assert_eq!(Sums::new(1_000, 0).limits(0.01).low, 0.0);
        assert_eq!(Sums::new(1_000, 1_000).limits(0.01).high, Some(1.0));
    }

    #[test]
    fn a_difference_is_told_only_of_two_sides() {
        assert_eq!(difference(Sums::default(), Sums::new(10, 1)), None);
        let worse = difference(Sums::new(18_000, 180), Sums::new(2_000, 100)).unwrap();
        assert!(worse.low > 0.0 && worse.high.unwrap() < 0.1, "{worse:?}");
        let json = serde_json::to_value(worse).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["estimate", "high", "low"]);
    }

    #[test]
    fn a_quantile_lies_between_its_limits_and_few_answers_have_no_upper_one() {
        let mut counts = Counts::default();
        for micros in (1..=2_000_u64).map(|n| n * 100) {
            counts.latencies[latency_bucket(Duration::from_micros(micros))] += 1;
        }
        let p95 = quantile(&counts.latencies, 950, 0.01).unwrap();
        assert!(p95.low < 190.0 && p95.low > 165.0 && p95.high.unwrap() > 190.0, "{p95:?}");
        let mut few = Counts::default();
        few.latencies[40] = 5;
        assert_eq!(quantile(&few.latencies, 950, 0.01).unwrap().high, None);
        let open = quantile_difference(&counts.latencies, &few.latencies, 950).unwrap();
        assert!(open.high.is_none() && open.low < 0.0, "{open:?}");
        assert_eq!(quantile_difference(&Counts::default().latencies, &few.latencies, 950), None);
    }
}
