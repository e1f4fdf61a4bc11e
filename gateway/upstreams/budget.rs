//! The retry budget of a version: retries are at most a part of the recent requests.
//!
//! Over the last ten seconds, retries <= requests x percent / 100 + 3 per second. The floor keeps retries possible for
//! a version with hardly any traffic; the percentage keeps a failing version from getting a multiple of its load (the
//! rule of Finagle's `RetryBudget`, in integers). No lock: one packed word per second, in a ring.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::clock;

/// Seconds over which requests and retries are counted, the present one included.
const WINDOW: u64 = 10;
/// Retries per second that need no requests to stand for them.
const FLOOR: u64 = 3;
/// Slots of the ring: a power of two, more than `WINDOW`, so that a slot is reused only when it no longer counts.
const SLOTS: u64 = 16;

/// One slot: the second it counts, its retries and its requests. Counters that are full stay full.
const REQUEST_BITS: u32 = 22;
const RETRY_BITS: u32 = 18;
const REQUEST_MASK: u64 = (1 << REQUEST_BITS) - 1;
const RETRY_MASK: u64 = (1 << RETRY_BITS) - 1;
const SECOND_MASK: u64 = (1 << (64 - REQUEST_BITS - RETRY_BITS)) - 1;
/// Room for the threads that may add to a full counter before they see that it is full.
const SLACK: u64 = 1 << 12;

/// The retries that a version may still have now. Shared by all its requests; survives a config change.
#[derive(Debug)]
pub struct RetryBudget {
    start: Instant,
    percent: AtomicU32,
    slots: [AtomicU64; SLOTS as usize],
}

impl RetryBudget {
    /// A budget of `percent` of the requests; 0 allows no retry at all.
    #[must_use]
    pub fn new(percent: u32) -> Self {
        let slots = std::array::from_fn(|_| AtomicU64::new(0));
        Self { start: clock::now(), percent: AtomicU32::new(percent), slots }
    }

    /// Counts one request: its first attempt, never its retries.
    pub fn on_request(&self) {
        self.on_request_at(self.second());
    }

    /// Takes one retry out of the budget; `false` when there is none left, and then nothing is taken.
    #[must_use]
    pub fn try_take(&self) -> bool {
        self.try_take_at(self.second())
    }

    /// Changes the part of the requests that may be retries.
    pub(super) fn set_percent(&self, percent: u32) {
        self.percent.store(percent, Relaxed);
    }

    /// Seconds since the start, from `WINDOW` on: an untouched slot (second 0) is never inside the window.
    fn second(&self) -> u64 {
        clock::now().saturating_duration_since(self.start).as_secs() + WINDOW
    }

    fn on_request_at(&self, second: u64) {
        let slot = self.current(second);
        if slot.load(Relaxed) & REQUEST_MASK < REQUEST_MASK - SLACK {
            slot.fetch_add(1, Relaxed);
        }
    }

    fn try_take_at(&self, second: u64) -> bool {
        let percent = u64::from(self.percent.load(Relaxed));
        if percent == 0 {
            return false;
        }
        let slot = self.current(second);
        if (slot.load(Relaxed) >> REQUEST_BITS) & RETRY_MASK >= RETRY_MASK - SLACK {
            return false;
        }
        // Taken first and given back if that was too much: threads that race can be refused, never overdraw.
        slot.fetch_add(1 << REQUEST_BITS, Relaxed);
        let (requests, retries) = self.recent(second);
        let allowed = retries <= requests * percent / 100 + FLOOR * WINDOW;
        if !allowed {
            slot.fetch_sub(1 << REQUEST_BITS, Relaxed);
        }
        allowed
    }

    /// The slot of `second`, emptied first if it still counts an earlier one.
    fn current(&self, second: u64) -> &AtomicU64 {
        let slot = &self.slots[(second % SLOTS) as usize];
        let fresh = (second & SECOND_MASK) << (REQUEST_BITS + RETRY_BITS);
        let found = slot.load(Relaxed);
        if found >> (REQUEST_BITS + RETRY_BITS) != second & SECOND_MASK {
            // When this fails another thread has just emptied it.
            let _ = slot.compare_exchange(found, fresh, Relaxed, Relaxed);
        }
        slot
    }

    /// Requests and retries of the window that ends with `second`.
    fn recent(&self, second: u64) -> (u64, u64) {
        let mut sums = (0, 0);
        for slot in &self.slots {
            let word = slot.load(Relaxed);
            let age = second.wrapping_sub(word >> (REQUEST_BITS + RETRY_BITS)) & SECOND_MASK;
            if age < WINDOW {
                sums.0 += word & REQUEST_MASK;
                sums.1 += (word >> REQUEST_BITS) & RETRY_MASK;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Request,
        Retry,
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Request),
            4 => Just(Step::Retry),
            1 => (0..25u64).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..400)
    }

    proptest! {
        /// Against the list of everything that ever happened.
        #[test]
        fn agrees_with_the_slow_count(percent in 0u32..=100, start in 10u64..40, steps in steps()) {
            let budget = RetryBudget::new(percent);
            let (mut requests, mut retries, mut second) = (Vec::new(), Vec::new(), start);
            for step in steps {
                match step {
                    Step::Wait(seconds) => second += seconds,
                    Step::Request => {
                        budget.on_request_at(second);
                        requests.push(second);
                    }
                    Step::Retry => {
                        let recent = |list: &[u64]| list.iter().filter(|at| **at + 10 > second).count() as u64;
                        let room = recent(&requests) * u64::from(percent) / 100 + 30;
                        let want = percent > 0 && recent(&retries) < room;
                        prop_assert_eq!(budget.try_take_at(second), want);
                        if want {
                            retries.push(second);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn threads_never_overdraw_it() {
        let budget = RetryBudget::new(10);
        for _ in 0..1_000 {
            budget.on_request_at(50);
        }
        let taken: usize = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1_000).filter(|_| budget.try_take_at(51)).count())).collect();
            takers.into_iter().map(|taker| taker.join().expect("no taker panics")).sum()
        });
        assert!((100..=130).contains(&taken), "{taken} of 1000 x 10 % + 30");
        assert!(budget.recent(51).1 == taken as u64);
    }

    #[test]
    fn a_full_second_stays_full() {
        let budget = RetryBudget::new(100);
        budget.slots[12].store((12 << 40) | (REQUEST_MASK - SLACK), Relaxed);
        budget.on_request_at(12);
        assert_eq!(budget.recent(12), (REQUEST_MASK - SLACK, 0));
    }
}
