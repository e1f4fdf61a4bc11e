//! Requests and failures of both sides, and the strata that they are compared in.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Requests of one side, and how many of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that say something about the version.
    pub requests: u64,
    /// Of them, the failures.
    pub failures: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.failures += more.failures;
    }
}

impl Tally {
    /// Without so many failures.
    pub(super) fn without(self, failures: u64) -> Self {
        Self { requests: self.requests.saturating_sub(failures), failures: self.failures.saturating_sub(failures) }
    }

    /// Halves both until there are at most so many requests: what was long ago counts for less.
    pub(super) fn forget(&mut self, requests: u64) {
        while self.requests > requests {
            self.requests /= 2;
            self.failures /= 2;
        }
    }
}

/// Both sides over the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Both {
    pub(super) stable: Tally,
    pub(super) candidate: Tally,
}

impl AddAssign for Both {
    fn add_assign(&mut self, more: Self) {
        self.stable += more.stable;
        self.candidate += more.candidate;
    }
}

impl Both {
    /// Adds a batch to an open stratum, and takes the stratum when it has at least so many requests.
    ///
    /// Batches of few requests are joined this way, or slow traffic would never tell anything. When a stratum ends may depend on
    /// when something failed, but not on which side it was nor on how many requests each side has: a stratum that
    /// waited for a request of the candidate would end more often where that one fails, and favour stable.
    pub(super) fn join(&mut self, batch: Self, least: u64) -> Option<Self> {
        *self += batch;
        (self.stable.requests + self.candidate.requests >= least).then(|| std::mem::take(self))
    }
}
