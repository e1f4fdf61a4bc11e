//! Requests and failures of both sides, and the strata that they are compared in.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Requests of one side, and how many of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that say something about the version.
    pub requests: u64,
    /// Of them, the bad outcomes: failures, and those below.
    pub failures: u64,
    /// Of the bad ones, those that had no answer when they were as old as answers ever are.
    #[serde(default)]
    pub unanswered: u64,
    /// Of the bad ones, those whose client left after a long wait.
    #[serde(default)]
    pub gone: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.failures += more.failures;
        self.unanswered += more.unanswered;
        self.gone += more.gone;
    }
}

impl Tally {
    /// Outcomes of which nothing else is told apart.
    #[must_use]
    pub fn of(requests: u64, failures: u64) -> Self {
        Self { requests, failures, ..Self::default() }
    }

    /// Without so many failures.
    pub(super) fn without(self, failures: u64) -> Self {
        Self {
            requests: self.requests.saturating_sub(failures),
            failures: self.failures.saturating_sub(failures),
            ..self
        }
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
    /// The one with more requests.
    pub(super) fn larger(self, other: Self) -> Self {
        let requests = |both: &Self| both.stable.requests + both.candidate.requests;
        if requests(&other) > requests(&self) { other } else { self }
    }

    /// Adds a batch, and takes the sum when it has at least that many requests, on whichever side they are: see [`Joined::join`].
    pub(super) fn join(&mut self, batch: Self, least: u64) -> Option<Self> {
        *self += batch;
        (self.stable.requests + self.candidate.requests >= least).then(|| std::mem::take(self))
    }
}

/// Strata that are joined until they are large enough to be compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Joined {
    pub(super) all: Both,
    /// The same without repeated failures.
    pub(super) fresh: Both,
    /// Requests of both sides that began.
    begun: u64,
    /// The guess that the first of them was begun with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) guess: Option<f64>,
}

impl Joined {
    /// Adds a stratum, and takes all of them when that many requests began in them.
    ///
    /// Strata of few requests are joined this way, or slow traffic would never tell anything. When it is enough may depend on
    /// how many requests began, but not on which side they were nor on what came of them: strata that waited for a
    /// request of the candidate would end more often where that one fails, and favour stable.
    pub(super) fn join(&mut self, more: Self, least: u64) -> Option<Self> {
        self.all += more.all;
        self.fresh += more.fresh;
        self.begun += more.begun;
        self.guess = self.guess.or(more.guess);
        (self.begun >= least).then(|| std::mem::take(self))
    }

    pub(super) fn new(all: Both, repeated: [u64; 2], begun: u64, guess: f64) -> Self {
        let [stable, candidate] = repeated;
        let fresh = Both { stable: all.stable.without(stable), candidate: all.candidate.without(candidate) };
        Self { all, fresh, begun, guess: Some(guess) }
    }
}
