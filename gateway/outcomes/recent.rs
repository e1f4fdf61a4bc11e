//! How a version has done lately: two periods of five seconds, the present one and the one before.

use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What came of the requests of the last five to ten seconds, those that clients left not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recent {
    /// Requests.
    pub requests: u64,
    /// Of them, failures.
    pub failures: u64,
}

impl Sum for Recent {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            requests: sum.requests + one.requests,
            failures: sum.failures + one.failures,
        })
    }
}

/// Seconds of a period.
const PERIOD: u64 = 5;
/// One word per period: its number, its failures and its requests. No worker answers a million requests in five seconds.
const BITS: u32 = 20;
const MASK: u64 = (1 << BITS) - 1;
const PERIOD_MASK: u64 = (1 << (64 - 2 * BITS)) - 1;

/// The cells of one worker.
#[derive(Debug, Default)]
pub(super) struct RecentCells([AtomicU64; 2]);

impl RecentCells {
    /// `age` is the time since any fixed moment.
    pub(super) fn add(&self, age: Duration, failed: bool) {
        let period = period(age);
        let word = &self.0[(period % 2) as usize];
        // Nobody but the worker writes here.
        if word.load(Relaxed) >> (2 * BITS) != period & PERIOD_MASK {
            word.store((period & PERIOD_MASK) << (2 * BITS), Relaxed);
        }
        word.fetch_add(1 | u64::from(failed) << BITS, Relaxed);
    }

    /// What was added lately, seen from `age`.
    pub(super) fn at(&self, age: Duration) -> Recent {
        let now = period(age);
        let words = self.0.iter().map(|word| word.load(Relaxed));
        let recent = words.filter(|word| (now.wrapping_sub(word >> (2 * BITS)) & PERIOD_MASK) < 2);
        recent.map(|word| Recent { requests: word & MASK, failures: word >> BITS & MASK }).sum()
    }
}

/// From 2 on, so that words that were never written lie too far back.
fn period(age: Duration) -> u64 {
    age.as_secs() / PERIOD + 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the list of everything that ever happened.
        #[test]
        fn agrees_with_the_slow_count(steps in prop::collection::vec((0_u64..4, any::<bool>()), 0..200)) {
            let cells = RecentCells::default();
            let (mut all, mut now) = (Vec::new(), 0);
            for (pause, failed) in steps {
                now += pause * pause;
                cells.add(Duration::from_secs(now), failed);
                all.push((now, failed));
                let recent = all.iter().filter(|(at, _)| at / PERIOD + 1 >= now / PERIOD);
                let expected = Recent {
                    requests: recent.clone().count() as u64,
                    failures: recent.filter(|(_, failed)| *failed).count() as u64,
                };
                prop_assert_eq!(cells.at(Duration::from_secs(now)), expected);
                prop_assert_eq!(cells.at(Duration::from_secs(now + 10)), Recent::default());
            }
        }
    }
}
