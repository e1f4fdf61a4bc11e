//! The reasons to look at a rollout: gates that watch its traffic, or a deadline that leads back without them, of a hook that is silent or
//! of a pause.

use config::release::rollout::{Answer, Event, Moment, Observation, Phase, Rollout};

/// Tells if gates watch the traffic.
pub(in crate::control) fn watches(rollout: &Rollout) -> bool {
    matches!(rollout.phase, Phase::Baking { .. } | Phase::Deciding { .. })
}

/// Tells if every gate that measures has its answer.
pub(super) fn settled(seen: &Observation) -> bool {
    seen.answers.iter().all(|answer| !matches!(answer, Answer::None(_)))
}

/// Tells if the rollout goes back when its deadline passes, while no gate watches its traffic.
pub(in crate::control) fn leads_back(rollout: &Rollout) -> bool {
    let is_asking = matches!(rollout.phase, Phase::Asking { .. });
    is_asking || matches!(rollout.phase, Phase::Ready { .. }) && rollout.held.is_some()
}

/// The event of such a deadline that has passed.
pub(super) fn event(rollout: &Rollout, now: Moment) -> Option<Event> {
    let is_due = rollout.deadline().is_some_and(|deadline| now >= deadline);
    (is_due && leads_back(rollout)).then_some(Event::Tick)
}
