//! Whether one side is beyond a limit of its own, judged by windows of time: for gates, which compare with nothing.
//!
//! A limit is about one side alone, so that no draw protects it: failures must not be clustered beyond the unit that is judged.
//! By request they are, in practice; the unit is a window of a sixtieth of the bake.
//!
//! # Proof
//! With `Y` the part of a window's requests that was bad, `1 + λ (Y - m)` has a mean of at most 1 given the past while the window's own mean is at
//! most `m`, whatever happens inside of it: it is linear in `Y`. A mixture over fixed `λ` is a test supermartingale, and Ville's inequality bounds
//! its peak (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024). Windows that hardly vary make a
//! large `λ` pay, without that a variance is assumed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use super::told::Measure;
use super::wealth::Wealth;

/// What is staked against a limit, in parts of what a window without a bad request may cost.
const STAKES: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.35, 0.5];

/// A limit of nothing at all stands for this: any bad request is far beyond it.
const LEAST_LIMIT: f64 = 1e-6;

/// How many requests a window has at least; windows of fewer are joined.
pub const WINDOW_REQUESTS: u64 = 20;

/// Windows held against a limit, since a step began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    limit: f64,
    wealth: Wealth,
    /// When the open window began, since the step did.
    began: Duration,
    open: Tally,
    all: Tally,
}

impl Windows {
    /// Against a part of requests, 0 to 1, that may be bad.
    #[must_use]
    pub fn new(limit: f64) -> Self {
        let limit = limit.max(LEAST_LIMIT);
        Self {
            limit,
            wealth: Wealth::new(&STAKES.map(|stake| stake / limit)),
            began: Duration::ZERO,
            open: Tally::default(),
            all: Tally::default(),
        }
    }

    /// Takes in requests since it was last told; windows end when they are at least so long and have at least so many requests,
    /// neither of which may depend on what came of them.
    pub fn add(&mut self, age: Duration, length: Duration, least: u64, more: Tally) {
        self.open += more;
        self.all += more;
        if age < self.began + length || self.open.requests < least.max(WINDOW_REQUESTS) {
            return;
        }
        let window = std::mem::take(&mut self.open);
        self.began = age;
        let beyond = window.failures as f64 / window.requests as f64 - self.limit;
        self.wealth.bet(|stake| (stake * beyond).ln_1p());
    }

    /// Whether the limit is shown to be exceeded: the windows ever were worth `1/alpha`, and all requests so far lie above it.
    #[must_use]
    pub fn exceeded(&self, alpha: f64) -> Option<Measure> {
        let is_above = self.all.failures as f64 > self.limit * self.all.requests as f64;
        (is_above && self.wealth.peak() >= -alpha.ln()).then(|| Measure::new(self.wealth.peak(), alpha))
    }
}

/// How many requests let a candidate at half of the limit be above it with a chance of less than 1 % when it is asked once: of
/// 12 bad ones that are allowed 6 are to be expected, and more than 12 come in 0.9 % (Poisson).
#[must_use]
pub fn enough_requests(limit: f64) -> u64 {
    (12.0 / limit.max(LEAST_LIMIT) - 1e-6).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(windows: &[(u64, u64)], limit: f64) -> Windows {
        let mut all = Windows::new(limit);
        for (second, (requests, failures)) in (1..).zip(windows) {
            let more = Tally::of(*requests, *failures);
            all.add(Duration::from_secs(second), Duration::from_secs(1), 0, more);
        }
        all
    }

    #[test]
    fn one_window_never_suffices_and_two_that_fail_wholly_do() {
        assert_eq!(after(&[(10_000, 10_000)], 0.01).exceeded(0.01), None);
        assert!(after(&[(20, 20), (20, 20)], 0.01).exceeded(0.01).is_some());
    }

    #[test]
    fn windows_of_few_requests_are_joined() {
        let few = after(&[(5, 5); 7], 0.01);
        assert_eq!((few.all.requests, few.open.requests), (35, 15));
        assert_eq!(few.exceeded(0.01), None);
    }

    #[test]
    fn what_is_exceeded_is_so_only_while_the_sum_is_above() {
        let mut windows = after(&[(20, 20); 4], 0.1);
        assert!(windows.exceeded(0.01).is_some());
        windows.add(Duration::from_secs(9), Duration::from_secs(1), 0, Tally::of(10_000, 0));
        assert_eq!(windows.exceeded(0.01), None);
    }

    #[test]
    fn any_bad_request_exceeds_a_limit_of_nothing() {
        assert!(after(&[(20, 0), (20, 1)], 0.0).exceeded(0.001).is_some());
        assert_eq!(after(&[(20, 0); 100], 0.0).exceeded(0.001), None);
    }

    /// All that happens within a window may be one event: the factor is worth at most 1 all the same.
    #[test]
    fn a_bet_on_a_mean_at_the_limit_is_never_favourable() {
        for limit in [0.01, 0.05, 0.5, 0.9] {
            for stake in STAKES.map(|stake| stake / limit) {
                let factor = |y: f64| 1.0 + stake * (y - limit);
                // Wholly bad with the chance of the limit, or the limit itself in each.
                let mean = limit * factor(1.0) + (1.0 - limit) * factor(0.0);
                assert!((mean - 1.0).abs() < 1e-12 && factor(0.0) > 0.0, "{limit} {stake}: {mean}");
            }
        }
    }

    #[test]
    fn enough_requests_are_those_that_half_of_the_limit_hardly_exceeds() {
        assert_eq!([0.01, 0.05, 0.5].map(enough_requests), [1_200, 240, 24]);
        let (mut term, mut below) = ((-6.0_f64).exp(), 0.0);
        for k in 1..=13 {
            below += term;
            term *= 6.0 / f64::from(k);
        }
        assert!(1.0 - below < 0.01, "{below}");
    }
}
