//! The load of an endpoint, as picks compare it: its requests in flight, and a penalty for what it failed lately.
//!
//! Without a penalty, an endpoint that fails at once has nothing in flight and would draw nearly all requests. So a
//! failure weighs as one request in flight, and half of that is gone after as long as a good answer of the upstream takes.
//! By Little's law a stream of failures then weighs 1.4 times what as many good answers would: an endpoint that fails
//! gets a little less than its share, whether answers take a millisecond or a minute. Nothing here reads a clock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The load of one request in flight; penalties are fractions of it.
const UNIT: u64 = 256;
/// Less than this is no penalty any more: a single failure counts for two half-lives.
const LEAST: u64 = UNIT / 4;
/// The bits of a penalty in its word; the others say when it was that large.
const VALUE_BITS: u32 = 24;
const VALUE_MASK: u64 = (1 << VALUE_BITS) - 1;
/// Half-life of a penalty where no good answer has been timed.
const UNKNOWN: u32 = 100;
/// Bounds of a half-life. Times are whole milliseconds, so a shorter one would be all rounding.
const SHORTEST: u32 = 4;
const LONGEST: u32 = 60_000;
/// A new time counts for one part of so many.
const SMOOTHING: u32 = 16;

/// The rest of a penalty after some time.
fn left(penalty: u64, elapsed: u64, half_life: u32) -> u64 {
    let half_life = u64::from(half_life.max(1));
    let halved = penalty.checked_shr(u32::try_from(elapsed / half_life).unwrap_or(u32::MAX)).unwrap_or(0);
    // Between two halvings in a straight line, at most 6 % above the curve.
    let left = halved - halved * (elapsed % half_life) / (2 * half_life);
    if left < LEAST { 0 } else { left }
}

/// The penalty of one endpoint. Lock-free; races between threads lose a failure at worst.
#[derive(Debug, Default)]
pub(super) struct Penalty {
    /// 0 where there is none: picks then need no clock.
    word: AtomicU64,
    half_life: AtomicU32,
}

impl Penalty {
    /// Adds one failure, at this time in milliseconds.
    pub(super) fn add(&self, now: u64, half_life: u32) {
        self.half_life.store(half_life, Relaxed);
        let added = |word: u64| {
            let value = (Self::of(word, now, half_life) + UNIT).min(VALUE_MASK);
            Some(now << VALUE_BITS | value)
        };
        // The closure always has a next word.
        let _ = self.word.fetch_update(Relaxed, Relaxed, added);
    }

    /// The load with so many requests in flight.
    pub(super) fn load(&self, in_flight: u32, now: impl FnOnce() -> u64) -> u64 {
        let in_flight = u64::from(in_flight) * UNIT;
        let word = self.word.load(Relaxed);
        if word == 0 {
            return in_flight;
        }
        let penalty = Self::of(word, now(), self.half_life.load(Relaxed));
        if penalty == 0 {
            // If this fails, another failure has just been added.
            let _ = self.word.compare_exchange(word, 0, Relaxed, Relaxed);
        }
        in_flight + penalty
    }

    fn of(word: u64, now: u64, half_life: u32) -> u64 {
        left(word & VALUE_MASK, now.saturating_sub(word >> VALUE_BITS), half_life)
    }
}

/// The time that good answers of an upstream take: a moving average, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    /// True until an answer was timed.
    pub(super) fn is_unknown(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// Takes the time of one good answer.
    pub(super) fn observe(&self, micros: u32) {
        let (mean, micros) = (self.0.load(Relaxed), micros.max(1));
        let next = match mean {
            0 => micros,
            // Never 0, and never stuck below a time that is a little longer.
            _ if micros > mean => mean + (micros - mean).div_ceil(SMOOTHING),
            _ => mean - (mean - micros) / SMOOTHING,
        };
        self.0.store(next, Relaxed);
    }

    /// The half-life of a penalty, in milliseconds.
    pub(super) fn half_life(&self) -> u32 {
        match self.0.load(Relaxed) {
            0 => UNKNOWN,
            micros => micros.div_ceil(1_000).clamp(SHORTEST, LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_penalty_halves_with_each_half_life_and_ends() {
        for (elapsed, expected) in [(0, 1024), (50, 768), (100, 512), (200, 256), (300, 128), (400, 64), (404, 0)] {
            assert_eq!(left(1024, elapsed, 100), expected, "{elapsed}");
        }
        assert_eq!(left(VALUE_MASK, u64::MAX, 1), 0);
        assert_eq!(left(VALUE_MASK, 1, 0), VALUE_MASK / 2, "no division by zero");
    }

    proptest! {
        #[test]
        fn a_penalty_never_grows_by_itself(penalty in 0..=VALUE_MASK, at in 0u64..100_000, half_life in 1u32..70_000) {
            prop_assert!(left(penalty, at + 1, half_life) <= left(penalty, at, half_life));
        }

        /// A stream of failures weighs at least what as many answers of the usual length would, and at most twice that.
        #[test]
        fn failures_weigh_a_little_more_than_good_answers(time in 5u32..2_000, every in 1u64..50) {
            let (penalty, pace) = (Penalty::default(), Pace::default());
            pace.observe(time * 1_000);
            let mut weights = Vec::new();
            for step in 0..u64::from(time) * 20 / every + 100 {
                let now = 1 + step * every;
                weights.push(penalty.load(0, || now));
                penalty.add(now, pace.half_life());
            }
            // Half of the moments just before a failure, half just after it.
            let late = &weights[weights.len() / 2..];
            let mean = late.iter().sum::<u64>() as f64 / late.len() as f64 / UNIT as f64 + 0.5;
            let good = f64::from(time) / every as f64;
            prop_assert!(mean >= good.min(1.0) * 0.5 && (good < 2.0 || mean >= good) && mean <= good * 2.0 + 1.0,
                "{} good ones in flight, a penalty of {}", good, mean);
        }
    }

    #[test]
    fn without_failures_nobody_asks_for_the_time() {
        let penalty = Penalty::default();
        assert_eq!(penalty.load(3, || panic!("asked without need")), 3 * UNIT);
        penalty.add(1_000, 10);
        assert_eq!(penalty.load(3, || 1_000), 4 * UNIT);
        assert_eq!(penalty.load(3, || 1_100), 3 * UNIT);
        assert_eq!(penalty.load(3, || panic!("asked after its end")), 3 * UNIT);
    }

    #[test]
    fn the_pace_follows_good_answers_and_is_bounded() {
        let pace = Pace::default();
        assert!(pace.is_unknown());
        assert_eq!(pace.half_life(), UNKNOWN);
        pace.observe(30_000);
        assert_eq!(pace.half_life(), 30);
        (0..200).for_each(|_| pace.observe(90_000));
        assert_eq!(pace.half_life(), 90);
        (0..200).for_each(|_| pace.observe(0));
        assert_eq!(pace.half_life(), SHORTEST);
        (0..200).for_each(|_| pace.observe(u32::MAX));
        assert_eq!(pace.half_life(), LONGEST);
    }
}
