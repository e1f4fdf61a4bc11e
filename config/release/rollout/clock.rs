//! The clocks of a rollout: what becomes of its deadlines when a gateway starts anew, and when a window opens.

use std::time::Duration;

use super::machine::Run;
use super::{Goal, Moment, Phase, REMIND_EVERY, Rollout, Tone, Waits};
use crate::model::{Check, OnRestart};

/// The most that two readings differ by without a jump of a clock.
const CLOCK_NOISE: Duration = Duration::from_secs(1);

impl Rollout {
    /// The bake that gates watch: its step, and when its weight went live.
    #[must_use]
    pub fn bake(&self) -> Option<(usize, Moment)> {
        match self.phase {
            Phase::Baking { step, since, .. } | Phase::Deciding { step, since, .. } => Some((step, since)),
            Phase::Asking { .. } | Phase::Ready { .. } | Phase::Over { .. } => None,
        }
    }

    /// Keeps what was left of every deadline `before`, at the time `now` of another clock.
    fn move_clock(&mut self, before: Moment, now: Moment) {
        let moved = |moment: &mut Moment| *moment = (*moment + now).saturating_sub(before);
        match &mut self.phase {
            Phase::Asking { until, .. } | Phase::Ready { until, .. } => moved(until),
            Phase::Baking { since, until, .. } | Phase::Deciding { since, until, .. } => {
                moved(since);
                moved(until);
            }
            Phase::Over { .. } => {}
        }
        if let Some(held) = &mut self.held {
            moved(&mut held.since);
            moved(&mut held.until);
        }
    }
}

impl Run {
    /// Brings deadlines of a clock that is ahead of this one to this one. Time in which nothing was seen of the rollout, since it has not
    /// come yet, is no part of a bake.
    pub(super) fn keep_deadlines(&mut self) {
        let (seen, time) = (self.rollout.seen, self.time());
        if time + CLOCK_NOISE < seen {
            self.rollout.move_clock(seen, time);
            self.rollout.seen = time;
        }
    }

    pub(super) fn restarted(&mut self) {
        let (seen, time) = (self.rollout.seen, self.time());
        // Moments are those of a clock that may have jumped since: what counts is how much of each deadline was left. Time that was
        // lost counts only for a plan that wants it, and not when the clock went back.
        if time < seen || self.rollout.plan.on_restart != OnRestart::Resume {
            self.rollout.move_clock(seen, time);
        }
        if let Phase::Asking { point, goal, index, run, previous, .. } = self.rollout.phase.clone() {
            self.ask(point, goal, index, run + 1, previous);
        }
        self.rollout.seen = time;
        // Links are lost with the process that sent them: whoever is to approve gets new ones.
        if let Phase::Deciding { step, waits: Waits::Approval, .. } = self.rollout.phase
            && self.rollout.approval(step).is_none()
        {
            let text = "the gateway has restarted, and somebody still has to approve it; links that were sent before are \
                        worth nothing any more";
            self.tell(Tone::Info, "approval", text.to_owned());
        }
        // A window may be open by now, whatever was left of the time until it opened.
        if matches!(self.rollout.phase, Phase::Ready { .. }) {
            self.tick();
        }
        if self.rollout.plan.on_restart == OnRestart::Hold && self.rollout.held.is_none() {
            self.hold("a restart of the gateway (`on_restart: hold`)".to_owned());
        }
    }

    /// Until when the goal is out of reach.
    pub(super) fn obstacle(&self, goal: Goal) -> Option<Moment> {
        if let Some(held) = &self.rollout.held {
            return Some(held.until);
        }
        if self.now.frozen {
            return Some(self.time() + REMIND_EVERY);
        }
        let Goal::Step(step) = goal else { return None };
        let wall = self.now.wall;
        let opens = self.rollout.gates(step).filter_map(|gate| match &gate.check {
            Check::Window(windows) => crate::model::Window::next(windows, wall),
            _ => None,
        });
        let until = self.time() + opens.max()?.checked_sub(wall).filter(|wait| !wait.is_zero())?;
        match self.rollout.phase {
            // The two clocks are never read at the same moment.
            Phase::Ready { goal: now, until: known, .. } if now == goal && known.abs_diff(until) < CLOCK_NOISE => {
                Some(known)
            }
            _ => Some(until),
        }
    }
}
