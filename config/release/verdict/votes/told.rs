//! What callers have shown, and how it is told.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::told::Measure;
use super::VoteAbout;

/// What can be said of a candidate by its callers. Shown as one sentence with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum CallersVerdict {
    /// It is shown to be worse. Once said it stands.
    Worse(CallersCause),
    /// Even if all callers of the candidate failed, and none of stable's, that could be chance. It holds no step.
    TooFewCallers {
        /// Groups of callers of the candidate that had a request.
        has: u64,
        /// At least so many are needed at this weight.
        needs: u64,
    },
    /// It is shown to be within the margin's points, each caller counted once: as of the last look at this step.
    NoWorse,
    /// There is not enough evidence; the counter that is nearest to its bound.
    NotYet(Measure),
    /// At this weight there is nothing to compare: one of both sides has no callers.
    NotCompared,
}

/// A counter of the vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteCounter {
    /// Callers that began to fail.
    First,
    /// Callers that failed more than their past lets expect.
    Excess,
    /// Callers with a run of failures.
    Drift,
    /// As `First`, in a renewed round.
    FirstRenewed,
    /// As `Excess`, in a renewed round.
    ExcessRenewed,
    /// All bad outcomes, cut off by caller.
    Sums,
}

/// In what the candidate's callers are worse off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallersCause {
    /// Failures or latency.
    pub about: VoteAbout,
    /// The counter that found it.
    pub counter: VoteCounter,
    /// Votes of groups that were moved to the candidate; of `Sums`, bad outcomes.
    pub moved: u64,
    /// Votes of all groups.
    pub all: u64,
    /// Groups that were moved.
    pub moved_buckets: u64,
    /// Groups that were compared.
    pub buckets: u64,
    /// What a stake of 1 has come to.
    pub e: f64,
    /// What it had to reach.
    pub needed: f64,
}

impl VoteCounter {
    /// Those of long rounds, in the order of their wealth.
    pub(super) const LONG: [Self; 3] = [Self::First, Self::Excess, Self::Drift];
    /// Those of renewed rounds.
    pub(super) const RENEWED: [Self; 2] = [Self::FirstRenewed, Self::ExcessRenewed];
}

impl fmt::Display for CallersVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worse(cause) => write!(f, "worse: {cause}"),
            Self::TooFewCallers { has, needs } => {
                write!(f, "too few callers: {has}, at least {needs} are needed at this weight")
            }
            Self::NoWorse => write!(f, "no worse: the candidate's callers are within the margin"),
            Self::NotYet(measure) => write!(f, "not yet: callers do not differ enough; {measure}"),
            Self::NotCompared => write!(f, "no data: at this weight there are no callers to compare"),
        }
    }
}

impl fmt::Display for CallersCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, counter, moved, all, moved_buckets, buckets, e, needed } = self;
        let measure = Measure { e: *e, needed: *needed };
        let did = match (about, counter) {
            (VoteAbout::Failures, VoteCounter::First | VoteCounter::FirstRenewed) => "that began to fail are",
            (VoteAbout::Failures, VoteCounter::Excess | VoteCounter::ExcessRenewed) => "that fail more than before are",
            (VoteAbout::Failures, VoteCounter::Drift) => "that fail in a row are",
            (VoteAbout::Failures, VoteCounter::Sums) => "failures are",
            (VoteAbout::Latency, VoteCounter::Sums) => "slow answers are",
            (VoteAbout::Latency, _) => "that became slow are",
        };
        let groups = format!("among the candidate's {} of {} groups", grouped(*moved_buckets), grouped(*buckets));
        write!(f, "callers: {} of {} {did} {groups}; {measure}", grouped(*moved), grouped(*all))
    }
}

/// `1 000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
