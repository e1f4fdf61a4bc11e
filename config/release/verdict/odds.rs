//! On which side failures fell, given how many there were: Fisher's noncentral hypergeometric distribution.

use super::tally::Both;

/// One stratum, held against an odds ratio.
///
/// Given `F` failures among `s` requests of stable and `c` of the candidate, whose odds of failing are `ψ` times stable's, `k` of
/// them fell on the candidate with the probability `C(c, k) C(s, F-k) ψ^k / S(ψ)`, where `S` sums the numerator over all `k`.
/// How often requests fail at all has dropped out, so it may be anything and drift.
///
/// The likelihood ratio of `ψ` against the `null` is `(ψ/null)^k S(null)/S(ψ)`. Its expectation is 1 if the odds ratio is the
/// null's. If `ψ` lies above it, the ratio rises with `k`, and a lower odds ratio makes lower `k` likelier (the family
/// has a monotone likelihood ratio): the expectation is at most 1 for every odds ratio up to the null's. If `ψ` lies below,
/// the same holds for every odds ratio from the null's on. So the boundary is the worst case of the composite hypothesis.
pub(super) struct Fallen {
    both: Both,
    failures: u64,
    /// The least and the most failures that could fall on the candidate.
    fewest: u64,
    most: u64,
    null: f64,
    ln_null_sum: f64,
}

impl Fallen {
    /// `None` when there is only one way in which the failures could have fallen, which tells nothing.
    pub(super) fn new(both: Both, null: f64) -> Option<Self> {
        let failures = both.stable.failures + both.candidate.failures;
        let fewest = failures.saturating_sub(both.stable.requests);
        let most = failures.min(both.candidate.requests);
        (fewest < most).then(|| {
            let fallen = Self { both, failures, fewest, most, null, ln_null_sum: 0.0 };
            Self { ln_null_sum: fallen.ln_sum(null), ..fallen }
        })
    }

    /// The ln of the likelihood ratio of `psi` against the null.
    pub(super) fn ln_ratio(&self, psi: f64) -> f64 {
        self.both.candidate.failures as f64 * (psi / self.null).ln() + self.ln_null_sum - self.ln_sum(psi)
    }

    /// ln S(ψ), summed from the largest term outwards until terms fall below the precision: their ratios fall on both sides.
    fn ln_sum(&self, psi: f64) -> f64 {
        const NEGLIGIBLE: f64 = 1e-18;
        let mode = self.mode(psi);
        let mut sum = 1.0;
        let mut term = 1.0;
        for k in mode..self.most {
            term *= self.step(k, psi);
            sum += term;
            if term < NEGLIGIBLE {
                break;
            }
        }
        term = 1.0;
        for k in (self.fewest..mode).rev() {
            term /= self.step(k, psi);
            sum += term;
            if term < NEGLIGIBLE {
                break;
            }
        }
        ln_choose(self.both.candidate.requests, mode)
            + ln_choose(self.both.stable.requests, self.failures - mode)
            + mode as f64 * psi.ln()
            + sum.ln()
    }

    /// The `k` of the largest term of S(ψ), by bisection: [`Fallen::step`] falls with `k`.
    fn mode(&self, psi: f64) -> u64 {
        let (mut low, mut high) = (self.fewest, self.most);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.step(middle, psi) < 1.0 { high = middle } else { low = middle + 1 }
        }
        low
    }

    /// The term of S(ψ) at `k + 1` over that at `k`; `k` is below the most.
    fn step(&self, k: u64, psi: f64) -> f64 {
        let (stable, candidate) = (self.both.stable.requests, self.both.candidate.requests);
        let up = (candidate - k) as f64 * (self.failures - k) as f64;
        psi * up / ((k + 1) as f64 * (stable + k + 1 - self.failures) as f64)
    }
}

/// ln C(n, k).
fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// ln n!, to 1e-11 or twelve digits, whichever is coarser. From 16 on Stirling's series.
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return ((2..=n).product::<u64>() as f64).ln();
    }
    let n = n as f64;
    let square = n * n;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * square)) / square) / n;
    (n + 0.5) * n.ln() - n + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;

    fn both(stable: (u64, u64), candidate: (u64, u64)) -> Both {
        let tally = |(requests, failures)| Tally { requests, failures, ..Tally::default() };
        Both { stable: tally(stable), candidate: tally(candidate) }
    }

    /// The definition, with exact binomial coefficients.
    fn probability(stable: u64, candidate: u64, failures: u64, k: u64, psi: f64) -> f64 {
        let choose =
            |n: u64, k: u64| if k > n { 0.0 } else { (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64) };
        let weight = |k: u64| choose(candidate, k) * choose(stable, failures - k) * psi.powi(k as i32);
        weight(k) / (0..=failures).map(weight).sum::<f64>()
    }

    #[test]
    fn the_ratio_is_that_of_the_definition() {
        for (stable, candidate) in [(1_u64, 1), (19, 1), (3, 40), (40, 30), (60, 60)] {
            for failures in 1..stable + candidate {
                let possible = failures.saturating_sub(stable)..=failures.min(candidate);
                for k in possible {
                    for psi in [0.2, 1.0, 1.5, 30.0] {
                        let fallen = Fallen::new(both((stable, failures - k), (candidate, k)), 1.2).unwrap();
                        let likely = |psi| probability(stable, candidate, failures, k, psi).ln();
                        let (got, right) = (fallen.ln_ratio(psi), likely(psi) - likely(1.2));
                        assert!(
                            (got - right).abs() < 1e-9,
                            "{stable} {candidate} {failures} {k} {psi}: {got}, {right}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_odds_ratio_within_the_hypothesis_makes_the_bet_favourable() {
        for (stable, candidate, failures) in [(19_u64, 1, 1_u64), (30, 20, 7), (50, 50, 60)] {
            for (psi, truths) in [(3.0, [0.1, 0.9, 1.2]), (0.7, [1.2, 1.5, 9.0])] {
                for truth in truths {
                    let mean: f64 = (0..=failures.min(candidate))
                        .filter(|k| failures - k <= stable)
                        .map(|k| {
                            let fallen = Fallen::new(both((stable, failures - k), (candidate, k)), 1.2).unwrap();
                            probability(stable, candidate, failures, k, truth) * fallen.ln_ratio(psi).exp()
                        })
                        .sum();
                    assert!(mean < 1.0 + 1e-9, "{stable} {candidate} {failures}, {psi} where {truth} holds: {mean}");
                }
            }
        }
    }

    #[test]
    fn failures_that_could_fall_in_one_way_only_tell_nothing() {
        for (stable, candidate) in [((5, 0), (5, 0)), ((5, 5), (5, 5)), ((0, 0), (5, 3)), ((5, 3), (0, 0))] {
            assert!(Fallen::new(both(stable, candidate), 1.2).is_none());
        }
    }

    #[test]
    fn a_million_requests_in_one_stratum_are_finite_and_right() {
        const MILLION: u64 = 1_000_000;
        let few = Fallen::new(both((MILLION, MILLION / 2), (MILLION, 1)), 1.2).unwrap();
        let many = Fallen::new(both((MILLION, 1), (MILLION, MILLION - 1)), 1.2).unwrap();
        assert!(few.ln_ratio(1000.0) < -1e5 && few.ln_ratio(1000.0).is_finite());
        assert!(many.ln_ratio(1000.0) > 1e5 && many.ln_ratio(1000.0).is_finite());
        // At the mean the ratio of the true odds ratio is the largest, and close ones differ by the variance.
        let even = Fallen::new(both((MILLION, MILLION / 2), (MILLION, MILLION / 2)), 1.0).unwrap();
        let step = 0.001_f64;
        let variance = MILLION as f64 / 8.0;
        assert!(
            (even.ln_ratio(step.exp()) + variance * step * step / 2.0).abs() < 1e-4,
            "{}",
            even.ln_ratio(step.exp())
        );
    }
}
