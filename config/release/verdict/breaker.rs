//! Whether the candidate fails nearly everything from its first requests on, while stable is healthy. Needs no request of
//! stable in the same stratum, so it sees a candidate that was dead on arrival at any weight and rate.
//!
//! It looks at the first requests only: later an outage of both sides might reach the candidate first, and the tests that compare
//! both in the same stratum see a late failure about as fast.

use serde::{Deserialize, Serialize};

use super::tally::{Both, Tally};
use super::wealth::Wealth;

/// A candidate that is no worse is assumed to fail less often than this while stable is healthy.
const MOST: f64 = 0.1;

/// What is bet on: that it fails nearly always. A lower rate would also be bet on by an outage of both that begins just then.
const ALWAYS: f64 = 0.99;

/// How many requests of the candidate are looked at, and what else comes with the last of them.
const FIRST: u64 = 20;

/// Stable is healthy when at most one in so many of its last requests failed …
const HEALTHY: u64 = 20;

/// … and at least so many are known.
const KNOWN: u64 = 10;

/// How many are remembered.
const REMEMBERED: u64 = 40;

/// The bet, one request of the candidate after the other. Where stable is not healthy nothing is bet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Breaker {
    pub(super) wealth: Wealth,
    /// The last requests of stable.
    stable: Tally,
    /// The requests of the candidate that were bet on.
    pub(super) first: Tally,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { wealth: Wealth::new(&[ALWAYS]), stable: Tally::default(), first: Tally::default() }
    }

    /// `batch` is what happened since the last look.
    pub(super) fn observe(&mut self, batch: Both) {
        self.stable += batch.stable;
        // What this batch brought counts in full: it is what the candidate went through at the same time.
        let healthy = self.stable.requests >= KNOWN && healthy(self.stable, 1) && healthy(batch.stable, 0);
        self.stable.forget(REMEMBERED);
        let Tally { requests, failures, .. } = batch.candidate;
        if requests == 0 || self.first.requests >= FIRST || !healthy {
            return;
        }
        self.first += batch.candidate;
        self.wealth.bet(|rate| {
            failures as f64 * (rate / MOST).ln() + (requests - failures) as f64 * ((1.0 - rate) / (1.0 - MOST)).ln()
        });
    }
}

/// `spared`: so many failures are no sign of trouble, however few requests there were.
fn healthy(stable: Tally, spared: u64) -> bool {
    stable.failures <= spared.max(stable.requests / HEALTHY)
}
