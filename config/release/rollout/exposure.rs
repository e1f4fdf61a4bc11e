//! What must be known of a candidate before a step ends.

use crate::model::{Bake, Step};

use super::{Observation, Rollout};

/// Outcomes and health of a candidate since the rollout began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// Requests that have their outcome.
    pub judged: u64,
    /// Of them, the good ones.
    pub good: u64,
    /// Requests that were drawn before the end of the bake and have no answer yet.
    pub waiting: u64,
    /// True if one of its endpoints is healthy.
    pub is_healthy: bool,
}

impl Exposure {
    /// The lesser of both in each respect: of several candidates the one counts that is known least.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self {
            judged: self.judged.min(other.judged),
            good: self.good.min(other.good),
            waiting: self.waiting.max(other.waiting),
            is_healthy: self.is_healthy && other.is_healthy,
        }
    }

    /// The reason why a step may not end yet, if this many outcomes must be known.
    #[must_use]
    pub fn lacks(&self, min_requests: u64) -> Option<String> {
        let Self { judged, good, waiting, is_healthy } = self;
        if !is_healthy {
            Some("no endpoint of the candidate is healthy".to_owned())
        } else if *judged < min_requests {
            Some(format!(
                "the candidate has {judged} of the {min_requests} outcomes that must be known (`guard: {{min_requests}}`)"
            ))
        } else if *judged > 0 && *good == 0 {
            Some(format!("none of the {judged} requests that the candidate got was answered well"))
        } else if *waiting > 0 {
            Some(format!("{waiting} requests of the candidate from before the end of the bake have no answer yet"))
        } else {
            None
        }
    }
}

impl Rollout {
    /// The reason why this step may not end yet. A plan that is not guarded asks for nothing, and neither does a step that is over at once.
    #[must_use]
    pub fn lacks(&self, step: usize, seen: &Observation) -> Option<String> {
        let holds_nothing = |step: &Step| matches!(step.bake, Bake::Time(time) if time.is_zero());
        if !self.plan.guard.enforced || self.plan.steps.get(step).is_none_or(holds_nothing) {
            return None;
        }
        match &seen.exposure {
            Some(exposure) => exposure.lacks(self.plan.guard.min_requests),
            None => Some("nothing was measured yet".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_until_nothing_is() {
        let lacks = |judged, good, waiting, is_healthy| {
            Exposure { judged, good, waiting, is_healthy }.lacks(10).unwrap_or_default()
        };
        assert!(lacks(10, 10, 0, false).starts_with("no endpoint of the candidate is healthy"));
        assert!(lacks(9, 9, 0, true).starts_with("the candidate has 9 of the 10 outcomes"));
        assert!(lacks(12, 0, 0, true).starts_with("none of the 12 requests"));
        assert!(lacks(10, 1, 2, true).starts_with("2 requests of the candidate"));
        assert_eq!(lacks(10, 1, 0, true), "");
        let nothing = Exposure { judged: 0, good: 0, waiting: 0, is_healthy: true };
        assert_eq!(nothing.lacks(0), None, "a plan may ask for nothing");
    }
}
