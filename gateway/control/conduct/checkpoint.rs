//! Checkpoints: how a rollout tells the store that it still runs, for the time that a crash loses.

use std::time::Duration;

use config::model::{Bake, OnRestart};
use config::release::rollout::{Event, MAX_EXPOSURE, MAX_PAUSE, Moment, Phase, Rollout};

/// The shortest and the longest time between two checkpoints of a bake by time.
const CHECKPOINTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// The event that says that a rollout still runs, when that is due: for the time that a crash loses.
pub(in crate::control) fn checkpoint(rollout: &Rollout, now: Moment) -> Option<Event> {
    let is_old = now.saturating_sub(rollout.seen) >= checkpoint_every(rollout)?;
    (rollout.plan.on_restart != OnRestart::Resume && is_old).then_some(Event::Checkpoint)
}

/// The time between two checkpoints of a rollout; `None` where nothing is lost with the time. Each is a line of the journal, so a
/// deadline that is days away has few.
fn checkpoint_every(rollout: &Rollout) -> Option<Duration> {
    let [least, most] = CHECKPOINTS;
    if rollout.held.is_some() {
        return Some(MAX_PAUSE / 20);
    }
    match rollout.phase {
        Phase::Baking { step, .. } => match rollout.plan.steps[step].bake {
            Bake::Time(time) => Some((time / 20).clamp(least, most)),
            Bake::Requests(_) => Some(MAX_EXPOSURE / 20),
            // The deadline is a reminder.
            Bake::Hold => None,
        },
        Phase::Deciding { since, until, .. } => Some((until.saturating_sub(since) / 20).max(least)),
        // A hook is asked again with its own time, and a window is opened by the wall clock.
        Phase::Asking { .. } | Phase::Ready { .. } | Phase::Over { .. } => None,
    }
}
