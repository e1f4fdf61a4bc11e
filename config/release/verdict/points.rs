//! Whether the candidate fails more often than stable by so many points, or so many times as often: a bet that also learns from requests
//! that succeed.

use super::tally::Both;

/// The most of a stake that one request may cost.
const DARE: f64 = 0.95;

/// The most that the candidate may fail: `times` stable's rate, and `more` above that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RateLimit {
    pub(super) times: f64,
    pub(super) more: f64,
}

impl RateLimit {
    /// So many points, as a difference of rates.
    pub(super) fn points(more: f64) -> Self {
        Self { times: 1.0, more }
    }

    /// So many times stable's rate.
    pub(super) fn ratio(times: f64) -> Self {
        Self { times, more: 0.0 }
    }

    /// The limit where stable fails this often.
    pub(super) fn at(self, stable: f64) -> f64 {
        stable * self.times + self.more
    }
}

/// The ln of the factor of one stratum, for a bet that the candidate fails with a chance of `bold`, not of the limit at `guess`;
/// 0 where there is nothing to bet.
///
/// `guess`, above 0, is what stable's chance to fail is thought to be. It comes from earlier strata and decides only how
/// well the bet does, never whether it is fair.
///
/// Each request multiplies by `1 + x (Y - at)`, where `Y` is 1 for a failure; `at` is `guess` for stable, `times guess + more` for the
/// candidate, and the stakes `x` are such that `s x_stable = -c times x_candidate` for `s` and `c` requests. If requests fail with average
/// chances of `p` and `q`, the average expected factor is `1 + c x_candidate (q - times p - more) / (s + c)`, and the
/// expectation of the product is at most its (s+c)th power, as a geometric mean is no larger than an arithmetic one. So it is at most 1
/// while `q <= times p + more` if `bold` lies above the limit (then `x_candidate > 0`), and while `q >= times p + more` if below.
/// This is the product E-variable of Turner, Ly and Grünwald for a convex hypothesis, written as a bet.
///
/// It is about rates at any base. An odds ratio is a ratio of rates only where failures are rare: twice 30 % is 3.5 times the odds.
pub(super) fn ln_factor(both: &Both, guess: f64, limit: RateLimit, bold: f64) -> f64 {
    let (stable, candidate) = (both.stable, both.candidate);
    ln_mean_factor(
        [stable.requests, stable.failures, candidate.requests, candidate.failures].map(|n| n as f64),
        guess,
        limit,
        bold,
    )
}

/// The same for numbers of stable's requests and failures and the candidate's that need not be whole.
pub(super) fn ln_mean_factor(
    [stable, stable_failed, candidate, candidate_failed]: [f64; 4],
    guess: f64,
    limit: RateLimit,
    bold: f64,
) -> f64 {
    let at = limit.at(guess);
    if at >= 1.0 || stable == 0.0 || candidate == 0.0 {
        return 0.0;
    }
    let wish = (bold - at) / (at * (1.0 - at));
    let opposite = stable / (candidate * limit.times);
    // Stable's stake has the other sign, so that the two are cut by opposite outcomes.
    let most = if wish > 0.0 {
        (DARE / at).min(DARE / (1.0 - guess) * opposite)
    } else {
        (DARE / (1.0 - at)).min(DARE / guess * opposite)
    };
    let on_candidate = wish.clamp(-most, most);
    let on_stable = -on_candidate / opposite;
    stable_failed * (on_stable * (1.0 - guess)).ln_1p()
        + (stable - stable_failed) * (-on_stable * guess).ln_1p()
        + candidate_failed * (on_candidate * (1.0 - at)).ln_1p()
        + (candidate - candidate_failed) * (-on_candidate * at).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;

    /// The expected factor of a stratum, by all outcomes.
    fn mean(requests: (u64, u64), truth: (f64, f64), guess: f64, limit: RateLimit, bold: f64) -> f64 {
        let outcomes = |n: u64, p: f64| {
            (0..=n).map(move |k| {
                let ways = (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
                (
                    Tally { requests: n, failures: k, ..Tally::default() },
                    ways * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32),
                )
            })
        };
        outcomes(requests.0, truth.0)
            .flat_map(|stable| outcomes(requests.1, truth.1).map(move |candidate| (stable, candidate)))
            .map(|((stable, p), (candidate, q))| {
                p * q * ln_factor(&Both { stable, candidate }, guess, limit, bold).exp()
            })
            .sum()
    }

    #[test]
    fn within_the_hypothesis_the_bet_is_never_favourable_however_wrong_the_guess() {
        let limits = [RateLimit::points(0.05), RateLimit::ratio(2.0), RateLimit::ratio(0.5), RateLimit::ratio(1.2)];
        let worlds = [(1, 1), (19, 1), (1, 19), (10, 10)].into_iter().flat_map(|requests| {
            limits.into_iter().flat_map(move |limit| [1e-4, 0.01, 0.3, 0.5].map(|guess| (requests, limit, guess)))
        });
        for (requests, limit, guess) in worlds {
            for stable in [0.0, 0.001, 0.2, 0.45, 0.9] {
                let border = limit.at(stable).min(1.0);
                let below = limit.at(guess) / 2.0;
                for (bold, candidates) in [(0.99, [0.0, stable.min(border), border]), (below, [border, 0.97, 1.0])] {
                    // The limit itself is above what can be: nothing exceeds it, and nothing lies beyond it.
                    let candidates = candidates.into_iter().filter(|q| bold > 0.9 || *q >= limit.at(stable));
                    for candidate in candidates.filter(|q| bold < 0.9 || *q <= limit.at(stable)) {
                        let mean = mean(requests, (stable, candidate), guess, limit, bold);
                        assert!(
                            mean < 1.0 + 1e-9,
                            "{requests:?} {guess} {stable} {candidate} {limit:?} {bold}: {mean}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn without_any_failure_each_request_of_the_candidate_is_worth_the_points() {
        let tally = |requests| Tally { requests, ..Tally::default() };
        let both = Both { stable: tally(1900), candidate: tally(100) };
        let ln = ln_factor(&both, 1e-4, RateLimit::points(0.001), 1e-4);
        assert!((ln / (100.0 * 0.001) - 0.9).abs() < 0.1, "{ln}");
    }
}
