//! What each event does. Nothing here decides by anything but the rollout, the event and the time.

use std::time::Duration;

use super::told::{days, gate_name, hook_name, said_by};
use super::{
    Answer, Approval, Effect, Event, Goal, HOOK_GRACE, Held, MAX_EXPOSURE, MAX_PAUSE, Moment, Now, Observation,
    Outcome, Phase, Point, REMIND_EVERY, Refusal, Rollout, Speaker, Tone, Traffic, Transition, Waits, Word,
};
use crate::model::{Bake, Check, Decision, Gate, Hook, OnInsufficient};
use crate::value::weight::Weight;

impl Rollout {
    /// What the event makes of the rollout; `None` when it changes nothing.
    ///
    /// # Errors
    /// When somebody's word does not fit where the rollout stands. Everything else always fits, if only by changing nothing.
    pub fn on(&self, event: &Event, now: Now) -> Result<Option<Transition>, Refusal> {
        let mut run = Run { rollout: self.clone(), effects: Vec::new(), now, refused: None };
        if !self.is_over() {
            run.keep_deadlines();
            // What was observed names the bake as it is stored.
            run.take(event, self.bake());
        } else if let Event::Said { word, .. } = event
            && *word != Word::Abort
        {
            run.refuse(format!("rollout {} is over: {}", self.id, self.outcome().map_or("", Outcome::as_str)));
        }
        if let Some(refusal) = run.refused {
            return Err(refusal);
        }
        if run.rollout == *self && run.effects.is_empty() {
            return Ok(None);
        }
        run.rollout.seen = run.rollout.seen.max(now.time);
        Ok(Some(Transition { rollout: run.rollout, effects: run.effects }))
    }
}

/// One event at work.
pub(super) struct Run {
    pub(super) rollout: Rollout,
    pub(super) effects: Vec<Effect>,
    pub(super) now: Now,
    pub(super) refused: Option<Refusal>,
}

impl Run {
    fn take(&mut self, event: &Event, bake: Option<(usize, Moment)>) {
        match event {
            Event::Tick => self.tick(),
            Event::Thawed => self.thawed(),
            Event::Checkpoint => self.rollout.seen = self.now.time,
            Event::Restarted => self.restarted(),
            Event::Observed(observation) => {
                if bake == Some((observation.step, observation.since)) {
                    self.rollout.evidence.clone_from(&observation.evidence);
                    self.observed(observation);
                }
            }
            Event::HookEnded { point, index, run, result } => self.hook_ended((*point, *index, *run), result),
            Event::Said { step: Some(step), .. } if self.rollout.step() != Some(*step) => {
                self.refuse(format!("step {} of rollout {} is over", step + 1, self.rollout.id));
            }
            Event::Said { word, speaker, .. } => self.said(*word, speaker),
            Event::Superseded(speaker) => {
                self.traffic(Traffic::Dropped);
                self.over(Outcome::Superseded, format!("{} set the split", said_by(speaker)));
            }
        }
    }

    pub(super) fn time(&self) -> Moment {
        self.now.time
    }

    /// Whether nothing but going back may happen.
    pub(super) fn is_held(&self) -> bool {
        self.now.frozen || self.rollout.held.is_some()
    }

    pub(super) fn tick(&mut self) {
        if let Some(held) = self.rollout.held.as_ref().filter(|held| self.time() >= held.until) {
            let why = format!("it was held by {} until its time was over", held.by);
            return self.back(Outcome::Aborted, why);
        }
        match self.rollout.phase.clone() {
            Phase::Asking { point, index, until, .. } if self.time() >= until => {
                self.back(Outcome::RolledBack, format!("{} did not answer in time", hook_name(point, index)));
            }
            Phase::Ready { goal, asked, .. } if !self.is_held() => self.go(goal, asked),
            Phase::Baking { step, until, .. } | Phase::Deciding { step, until, .. } if self.time() >= until => {
                match self.rollout.plan.steps[step].bake {
                    Bake::Hold if matches!(self.rollout.phase, Phase::Baking { .. }) => self.remind(step),
                    _ => self.observed(&Observation::default()),
                }
            }
            _ => {}
        }
    }

    /// The freeze is over. The end of a bake waits for the next look at what is measured: nothing was while it lasted.
    fn thawed(&mut self) {
        match self.rollout.phase {
            Phase::Baking { .. } | Phase::Deciding { waits: Waits::Gates, .. } => {}
            Phase::Deciding { step, waits: Waits::Approval, .. } if self.rollout.approval(step).is_some() => {
                self.follow_approval();
            }
            _ => self.tick(),
        }
    }

    /// Goes on from a step that waits for an approval which has been given.
    fn follow_approval(&mut self) {
        if let Phase::Deciding { step, waits: Waits::Approval, .. } = self.rollout.phase
            && self.rollout.approval(step).is_some()
            && !self.is_held()
        {
            self.leave(step);
        }
    }

    /// A step that holds asks for a decision again.
    fn remind(&mut self, step: usize) {
        let Phase::Baking { until, .. } = &mut self.rollout.phase else { return };
        *until = self.now.time + REMIND_EVERY;
        let weight = self.rollout.plan.steps[step].weight;
        self.tell(Tone::Info, "reminder", format!("the candidate is held at {weight} %: promote it, advance or abort"));
    }

    pub(super) fn hold(&mut self, by: String) {
        self.tell(Tone::Info, "held", format!("held by {by}; it goes on when somebody resumes it"));
        self.rollout.held = Some(Held { since: self.time(), until: self.time() + MAX_PAUSE, by });
    }

    /// What the gates say, and whether the bake is over.
    fn observed(&mut self, seen: &Observation) {
        let (step, since, until) = match self.rollout.phase {
            Phase::Baking { step, since, until } | Phase::Deciding { step, since, until, .. } => (step, since, until),
            _ => return,
        };
        let failed =
            seen.answers.iter().find_map(|answer| if let Answer::Fail(why) = answer { Some(why) } else { None });
        let worse = seen.worse.as_ref().filter(|_| self.rollout.plan.guard.enforced);
        if let Some(why) = worse.or(failed) {
            return self.back(Outcome::RolledBack, why.clone());
        }
        if let (Some(why), false) = (&seen.worse, self.rollout.alerted) {
            self.rollout.alerted = true;
            self.tell(Tone::Warning, "alert", format!("{why}; the plan is not guarded, so the weights stay"));
        }
        if let (Some(why), false) = (&seen.alert, self.rollout.alerted) {
            self.rollout.alerted = true;
            self.tell(Tone::Warning, "alert", why.clone());
        }
        if self.is_held() {
            return;
        }
        if matches!(self.rollout.phase, Phase::Baking { .. }) {
            let over = match self.rollout.plan.steps[step].bake {
                Bake::Time(_) => self.time() >= until,
                Bake::Requests(wanted) if seen.requests >= wanted => true,
                Bake::Requests(wanted) => {
                    if self.time() >= until {
                        let why = format!(
                            "the candidate got {} of {wanted} requests in {}",
                            seen.requests,
                            days(MAX_EXPOSURE)
                        );
                        self.back(Outcome::RolledBack, why);
                    }
                    return;
                }
                Bake::Hold => false,
            };
            if !over {
                return;
            }
        }
        self.decide(step, since, seen);
    }

    /// The bake is over: goes on, waits, or goes back.
    fn decide(&mut self, step: usize, since: Moment, seen: &Observation) {
        let rollout = self.rollout.clone();
        let mut timeout: Option<(Duration, String)> = None;
        // Somebody is asked already: from then on only a gate that fails matters.
        let is_asked = matches!(rollout.phase, Phase::Deciding { waits: Waits::Approval, .. });
        for (place, gate) in rollout.gates(step).enumerate().filter(|(_, gate)| measures(gate) && !is_asked) {
            let missing = match seen.answers.get(place) {
                Some(Answer::Pass | Answer::Fail(_)) => continue,
                Some(Answer::None(missing)) => missing.clone(),
                None => "nothing was measured yet".to_owned(),
            };
            match gate.on_insufficient {
                OnInsufficient::Pass => {}
                OnInsufficient::Fail => {
                    let why = format!("at the end of the bake {} had no answer: {missing}", gate_name(gate));
                    return self.back(Outcome::RolledBack, why);
                }
                OnInsufficient::Wait => {
                    let why = format!("{} has no answer: {missing}", gate_name(gate));
                    if timeout.as_ref().is_none_or(|(shortest, _)| gate.timeout < *shortest) {
                        timeout = Some((gate.timeout, why));
                    }
                }
            }
        }
        if let Some(missing) = rollout.lacks(step, seen).filter(|_| !is_asked) {
            let patience = rollout.plan.guard.patience;
            let shortest = timeout.as_ref().map_or(patience, |(timeout, _)| patience.min(*timeout));
            timeout = Some((shortest, missing));
        }
        if let Some((timeout, why)) = timeout {
            return self.wait(step, since, Waits::Gates, timeout, Outcome::RolledBack, why);
        }
        let approval = rollout.gates(step).find_map(|gate| match gate.check {
            Check::Approval { default } => Some((default, gate.timeout)),
            _ => None,
        });
        match approval {
            Some((default, timeout)) if rollout.approval(step).is_none() => {
                self.await_approval(step, since, default, timeout)
            }
            _ => self.leave(step),
        }
    }

    /// Waits for what must answer, or goes back because it waited long enough.
    fn wait(&mut self, step: usize, since: Moment, waits: Waits, timeout: Duration, outcome: Outcome, why: String) {
        match self.rollout.phase {
            Phase::Deciding { waits: now, until, .. } if now == waits => {
                if self.time() >= until {
                    self.back(outcome, why);
                }
            }
            _ => {
                let until = self.time() + timeout;
                self.rollout.phase = Phase::Deciding { step, since, waits, until };
                let tone = if waits == Waits::Approval { "approval" } else { "waiting" };
                self.tell(Tone::Info, tone, format!("the bake is over, and {why}"));
            }
        }
    }

    fn await_approval(&mut self, step: usize, since: Moment, default: Decision, timeout: Duration) {
        let is_due =
            matches!(self.rollout.phase, Phase::Deciding { waits: Waits::Approval, until, .. } if self.time() >= until);
        if is_due && default == Decision::Approve {
            let why = "nobody objected in time, which counts as approval".to_owned();
            self.tell(Tone::Info, "approved", why.clone());
            self.approve(step, "nobody".to_owned(), Some(why));
            return self.leave(step);
        }
        let why = if is_due { "nobody approved it in time" } else { "somebody has to approve it" };
        self.wait(step, since, Waits::Approval, timeout, Outcome::RolledBack, why.to_owned());
    }

    /// The step is done.
    fn leave(&mut self, step: usize) {
        let next = step + 1;
        let goal = if next < self.rollout.plan.steps.len() { Goal::Step(next) } else { Goal::Promote };
        self.go(goal, false);
    }

    /// Towards a goal, as far as it can be reached now.
    pub(super) fn go(&mut self, goal: Goal, asked: bool) {
        if let Some(until) = self.obstacle(goal) {
            let is_new = !matches!(self.rollout.phase, Phase::Ready { goal: now, .. } if now == goal);
            self.rollout.phase = Phase::Ready { goal, asked, until };
            if is_new && !self.is_held() {
                self.tell(Tone::Info, "waiting", "the next step waits for its window".to_owned());
            }
            return;
        }
        let point = if goal == Goal::Promote { Point::After } else { Point::Step };
        if !asked && !self.hooks(point).is_empty() {
            return self.ask(point, goal, 0, self.next_run(), None);
        }
        match goal {
            Goal::Promote => {
                let known = self.rollout.evidence["judged"].as_u64().unwrap_or(0);
                let is_first = self.rollout.members.iter().all(|member| member.stable.is_none());
                let unseen = if known == 0 && !is_first {
                    ", and nothing is known of the candidate: it had no outcome"
                } else {
                    ""
                };
                self.promote(format!("every step of the plan is done{unseen}"));
            }
            Goal::Step(step) => self.enter(step),
        }
    }

    fn enter(&mut self, step: usize) {
        let weight = self.rollout.plan.steps[step].weight;
        let since = self.time();
        self.rollout.weight = weight;
        self.rollout.phase = Phase::Baking { step, since, until: since + self.whole(step) };
        self.traffic(Traffic::Step(weight));
        let steps = self.rollout.plan.steps.len();
        self.tell(Tone::Info, "step", format!("step {} of {steps}: the candidate gets {weight} %", step + 1));
        if self.rollout.plan.steps[step].bake == Bake::Time(Duration::ZERO) {
            self.decide(step, since, &Observation::default());
        }
    }

    /// How long a bake may take.
    fn whole(&self, step: usize) -> Duration {
        match self.rollout.plan.steps[step].bake {
            Bake::Time(time) => time,
            Bake::Requests(_) => MAX_EXPOSURE,
            Bake::Hold => REMIND_EVERY,
        }
    }

    fn hooks(&self, point: Point) -> &[Hook] {
        let hooks = &self.rollout.plan.hooks;
        match point {
            Point::Before => &hooks.before,
            Point::Step => &hooks.step,
            Point::After => &hooks.after,
        }
    }

    /// Runs are numbered over the whole rollout, so that no answer is ever taken for another's.
    fn next_run(&self) -> u32 {
        self.rollout.runs + 1
    }

    pub(super) fn ask(
        &mut self,
        point: Point,
        goal: Goal,
        index: usize,
        run: u32,
        previous: Option<serde_json::Value>,
    ) {
        let hook = &self.hooks(point)[index];
        let longest = if hook.callback { 1 } else { hook.retries + 1 };
        let until = self.time() + hook.timeout * longest * 2 + HOOK_GRACE;
        self.rollout.runs = run;
        self.rollout.phase = Phase::Asking { point, goal, index, run, previous: previous.clone(), until };
        self.effects.push(Effect::Ask { point, index, run, previous });
    }

    fn hook_ended(&mut self, asked: (Point, usize, u32), result: &Result<serde_json::Value, String>) {
        let Phase::Asking { point, goal, index, run, .. } = self.rollout.phase else { return };
        if asked != (point, index, run) {
            return;
        }
        // It has answered: nobody need be told that the answer is not waited for any more.
        self.rollout.phase = Phase::Ready { goal, asked: true, until: self.time() };
        match result {
            Err(why) => self.back(Outcome::RolledBack, format!("{} failed: {why}", hook_name(point, index))),
            Ok(output) if index + 1 < self.hooks(point).len() => {
                self.ask(point, goal, index + 1, self.next_run(), Some(output.clone()));
            }
            Ok(_) => self.go(goal, point != Point::Before),
        }
    }

    fn said(&mut self, word: Word, speaker: &Speaker) {
        let by = said_by(speaker);
        match word {
            Word::Abort => self.back(Outcome::Aborted, format!("aborted by {by}")),
            Word::Stop => {
                self.traffic(Traffic::Kept);
                self.over(Outcome::Stopped, format!("ended by {by}, and the split stays"));
            }
            Word::Promote if self.now.frozen => {
                self.refuse("a freeze is on: nothing but going back happens".to_owned())
            }
            Word::Promote => self.promote(format!("promoted by {by}")),
            Word::Pause if self.rollout.held.is_some() => {}
            Word::Pause => self.hold(by),
            Word::Resume => self.resume(&by),
            Word::Approve | Word::Reject => self.vote(word, speaker),
            Word::Advance => self.advance(&by),
        }
    }

    fn resume(&mut self, by: &str) {
        let Some(held) = self.rollout.held.take() else {
            return self.refuse(format!("rollout {} is not paused", self.rollout.id));
        };
        self.tell(Tone::Info, "resumed", format!("resumed by {by}"));
        let lost = self.time().saturating_sub(held.since);
        match &mut self.rollout.phase {
            Phase::Baking { until, .. } | Phase::Deciding { until, .. } => *until += lost,
            _ => self.tick(),
        }
        self.follow_approval();
    }

    fn vote(&mut self, word: Word, speaker: &Speaker) {
        let by = said_by(speaker);
        let step = match self.rollout.phase {
            Phase::Baking { step, .. } | Phase::Deciding { step, .. } => step,
            _ => return self.refuse(format!("rollout {} asks nobody for approval now", self.rollout.id)),
        };
        if !self.rollout.gates(step).any(|gate| matches!(gate.check, Check::Approval { .. })) {
            return self.refuse(format!("step {} of rollout {} needs no approval", step + 1, self.rollout.id));
        }
        if word == Word::Reject {
            return self.back(Outcome::RolledBack, format!("rejected by {by}"));
        }
        if self.rollout.approval(step).is_some() {
            return;
        }
        self.tell(Tone::Info, "approved", format!("approved by {by}"));
        self.approve(step, speaker.who.clone(), speaker.why.clone());
        self.follow_approval();
    }

    fn approve(&mut self, step: usize, by: String, why: Option<String>) {
        let at = self.time();
        self.rollout.approvals.push(Approval { step, by, why, at });
    }

    fn advance(&mut self, by: &str) {
        if let Some(held) = &self.rollout.held {
            let message = format!("rollout {} is held by {}: resume it first", self.rollout.id, held.by);
            return self.refuse(message);
        }
        if self.now.frozen {
            return self.refuse("a freeze is on: nothing but going back happens".to_owned());
        }
        match self.rollout.phase {
            Phase::Baking { step, .. } | Phase::Deciding { step, .. } => {
                self.tell(Tone::Info, "advanced", format!("the bake of step {} was ended by {by}", step + 1));
                self.leave(step);
            }
            Phase::Ready { goal, asked, .. } => {
                self.go(goal, asked);
                if matches!(self.rollout.phase, Phase::Ready { .. }) {
                    self.refuse("the next step waits for its window".to_owned());
                }
            }
            _ => self.refuse("a hook is being asked: abort or promote, or wait for its answer".to_owned()),
        }
    }

    fn promote(&mut self, why: String) {
        self.rollout.weight = Weight::new(Weight::WHOLE).expect("the whole is a weight");
        self.traffic(Traffic::Promoted);
        self.over(Outcome::Promoted, why);
    }

    pub(super) fn back(&mut self, outcome: Outcome, why: String) {
        self.rollout.weight = Weight::ZERO;
        self.traffic(Traffic::Dropped);
        self.over(outcome, why);
    }

    fn over(&mut self, outcome: Outcome, why: String) {
        if let Phase::Asking { run, .. } = self.rollout.phase {
            self.effects.push(Effect::Cancel { run });
        }
        self.rollout.held = None;
        let tone = match outcome {
            Outcome::Promoted => Tone::Good,
            Outcome::Aborted | Outcome::Superseded | Outcome::Stopped => Tone::Warning,
            Outcome::RolledBack => Tone::Bad,
        };
        self.tell(tone, outcome.as_str(), why.clone());
        self.rollout.phase = Phase::Over { outcome, why, at: self.time() };
    }

    /// Only the last word about the traffic counts: a step that is over at once is not set and taken back.
    pub(super) fn traffic(&mut self, traffic: Traffic) {
        self.effects.retain(|effect| !matches!(effect, Effect::Traffic(_)));
        self.effects.push(Effect::Traffic(traffic));
    }

    fn refuse(&mut self, why: String) {
        self.refused = Some(Refusal(why));
    }
}

/// Whether whoever watches the traffic answers for it.
fn measures(gate: &Gate) -> bool {
    !matches!(gate.check, Check::Approval { .. } | Check::Window(_))
}
