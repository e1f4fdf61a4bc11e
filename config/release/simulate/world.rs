//! One run: a rollout, its traffic, and a clock.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::Assumed;
use super::random::Random;
use crate::model::{Bake, Plan};
use crate::release::outcome::{Class, Counts};
use crate::release::rollout::{
    Effect, Event, Exposure, GateWatch, Goal, Member, Now, Observation, Outcome, Phase, Rollout, RolloutId, Seen,
};
use crate::release::verdict::{Begun, Stratum, Verdict, Watch};
use crate::value::name::VersionId;
use crate::value::weight::Weight;

/// How long a step that holds is watched.
pub(super) const HOLD: Duration = Duration::from_secs(3600);
/// Between two looks, as a gateway has it.
const TICK: Duration = Duration::from_millis(100);
/// Looks get rarer with the time since the step began: one each time when it has grown by this part.
const PART: u32 = 64;
/// The most requests of one look that the verdict is told of: more would say the same and cost more.
const BATCH: f64 = 25_000.0;

/// What came of one run.
pub(super) struct Run {
    /// `None` of one that holds.
    pub(super) outcome: Option<Outcome>,
    /// Why it is over.
    pub(super) why: String,
    /// When it was over, or left.
    pub(super) time: Duration,
    /// When the candidate was found to be worse, or was sent back.
    pub(super) found: Option<Duration>,
    /// When each weight was set, until it was over.
    pub(super) weights: Vec<(Duration, Weight)>,
    /// Of the candidate.
    pub(super) requests: u64,
    /// Of both.
    all: u64,
    /// On the candidate, until it was found or it was over.
    pub(super) failed: u64,
}

impl Run {
    /// The candidate's share of all requests, in percent.
    pub(super) fn share(&self) -> f64 {
        100.0 * self.requests as f64 / self.all.max(1) as f64
    }
}

/// How many looks so long a time takes, at most.
pub(super) fn looks(time: Duration) -> u64 {
    let (time, even) = (time.as_secs_f64(), (TICK * PART).as_secs_f64());
    if time <= even {
        (time / TICK.as_secs_f64()).ceil() as u64
    } else {
        (f64::from(PART + 1) * (1.1 + (time / even).ln())).ceil() as u64
    }
}

/// Runs a plan without hooks whose gates all measure, with a candidate of which this part fails.
pub(super) fn run(plan: &Arc<Plan>, assumed: &Assumed, failures: f64, random: Random) -> Run {
    let mut world = World {
        rate: assumed.rate.per_second(),
        failures: [assumed.base.fraction(), failures],
        random,
        rollout: rollout(plan),
        watch: Watch::new(plan.guard.margin, plan.guard.client_errors),
        step: Default::default(),
        gates: Vec::new(),
        owed: [0.0; 2],
        run: Run {
            outcome: None,
            why: String::new(),
            time: Duration::ZERO,
            found: None,
            weights: Vec::new(),
            requests: 0,
            all: 0,
            failed: 0,
        },
    };
    world.take(&Event::Tick);
    while let Some(patience) = world.patience() {
        if !world.watch_for(patience) {
            break;
        }
    }
    if let Phase::Over { outcome, why, .. } = world.rollout.phase {
        world.run.outcome = Some(outcome);
        world.run.why = why;
    }
    world.run
}

/// One that begins with the next event.
fn rollout(plan: &Arc<Plan>) -> Rollout {
    let member = Member {
        function: "function".parse().expect("a name"),
        alias: "alias".parse().expect("a name"),
        stable: Some(VersionId::Number(NonZeroU32::MIN)),
        candidate: NonZeroU32::MIN.saturating_add(1),
    };
    Rollout {
        id: RolloutId(1),
        members: vec![member],
        plan: Arc::clone(plan),
        plan_name: None,
        by: String::new(),
        why: None,
        began: Duration::ZERO,
        weight: Weight::ZERO,
        phase: Phase::Ready { goal: Goal::Step(0), asked: true, until: Duration::ZERO },
        held: None,
        approvals: Vec::new(),
        runs: 0,
        alerted: false,
        seen: Duration::ZERO,
        evidence: serde_json::Value::Null,
    }
}

struct World {
    /// Of both, per second.
    rate: f64,
    /// Of stable and the candidate.
    failures: [f64; 2],
    random: Random,
    rollout: Rollout,
    watch: Watch,
    /// Since the step's weight went live.
    step: [Counts; 2],
    /// Of the step.
    gates: Vec<GateWatch>,
    /// Parts of requests that have not come yet.
    owed: [f64; 2],
    run: Run,
}

impl World {
    /// How long it stays where it is, if nothing happens.
    fn patience(&self) -> Option<Duration> {
        match self.rollout.phase {
            Phase::Baking { step, .. } if self.rollout.plan.steps[step].bake == Bake::Hold => Some(HOLD),
            Phase::Baking { until, .. } | Phase::Deciding { until, .. } => Some(until.saturating_sub(self.run.time)),
            _ => None,
        }
    }

    /// Lets requests come for so long, or until the rollout moves; answers whether it did.
    fn watch_for(&mut self, time: Duration) -> bool {
        let (began, end) = (self.run.time, self.run.time + time);
        let before = self.rollout.phase.clone();
        while self.run.time < end {
            let tick = ((self.run.time - began) / PART).max(TICK).min(end - self.run.time);
            self.run.time += tick;
            self.traffic(tick);
            let seen = self.observation();
            self.take(&Event::Observed(seen));
            if self.rollout.phase != before {
                return true;
            }
        }
        false
    }

    fn traffic(&mut self, tick: Duration) {
        let share = f64::from(self.rollout.weight.basis_points()) / f64::from(Weight::WHOLE);
        let comes = self.rate * tick.as_secs_f64();
        let mut sides: [(u64, u64); 2] = Default::default();
        for (place, part) in [1.0 - share, share].into_iter().enumerate() {
            self.owed[place] += comes * part;
            // What rounding took on the way is no request less.
            let requests = (self.owed[place] + 1e-6).floor();
            self.owed[place] -= requests;
            let failed = self.random.hits(requests as u64, self.failures[place]);
            sides[place] = (requests as u64, failed);
            self.step[place].add(&counts(requests as u64, failed));
        }
        let [(of_stable, _), (requests, failed)] = sides;
        self.run.requests += requests;
        self.run.all += requests + of_stable;
        if self.run.found.is_none() {
            self.run.failed += failed;
        }
        let part = (BATCH / (requests + of_stable) as f64).min(1.0);
        let [stable, candidate] = sides.map(|(requests, failed)| {
            let [requests, failed] = [requests, failed].map(|count| (count as f64 * part) as u64);
            Begun::answered(requests, failed)
        });
        let (weight, stakes, began) = (self.rollout.weight, self.watch.stakes(), self.run.time);
        self.watch.observe(&Stratum { stable, candidate, weight, stakes, is_drawn: true, began });
    }

    fn observation(&mut self) -> Observation {
        let verdict = self.watch.verdict();
        let known = self.watch.evidence().candidate;
        let [stable, candidate] = &self.step;
        let client_errors = self.rollout.plan.guard.client_errors;
        let seen = Seen { stable, candidate, verdict: &verdict, client_errors };
        let (step, since) = self.rollout.bake().unwrap_or_default();
        let clock = self.rollout.step_clock(self.run.time, candidate.ended());
        let gates = self.rollout.gates(step).zip(&mut self.gates);
        let answers = clock.map(|clock| gates.map(|(gate, watch)| watch.answer(gate, &seen, &clock)).collect());
        Observation {
            step,
            since,
            answers: answers.unwrap_or_default(),
            worse: matches!(verdict, Verdict::Worse(_)).then(|| verdict.to_string()),
            alert: None,
            exposure: Some(Exposure {
                judged: known.requests,
                good: known.requests - known.failures,
                waiting: 0,
                is_healthy: true,
            }),
            requests: candidate.judged(),
            evidence: json!({ "judged": known.requests }),
        }
    }

    fn take(&mut self, event: &Event) {
        // Nobody says anything here that could be refused.
        let Ok(Some(transition)) =
            self.rollout.on(event, Now { time: self.run.time, wall: self.run.time, frozen: false })
        else {
            return;
        };
        self.rollout = transition.rollout;
        let is_back = self.rollout.outcome() == Some(Outcome::RolledBack);
        if (is_back || self.rollout.alerted) && self.run.found.is_none() {
            self.run.found = Some(self.run.time);
        }
        let is_moved = transition.effects.iter().any(|effect| matches!(effect, Effect::Traffic(_)));
        if is_moved && !is_back {
            self.step = Default::default();
            self.gates = self.rollout.step().map_or_else(Vec::new, |step| self.rollout.gate_watches(step));
            // A promotion from the whole sets nothing new.
            if self.run.weights.last().is_none_or(|(_, last)| *last != self.rollout.weight) {
                self.run.weights.push((self.run.time, self.rollout.weight));
            }
        }
    }
}

/// Answers that took no time.
fn counts(requests: u64, failed: u64) -> Counts {
    let mut counts = Counts { begun: requests, ..Counts::default() };
    counts.classes[Class::Success as usize] = requests - failed;
    counts.classes[Class::ServerError as usize] = failed;
    counts.latencies[0] = requests;
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_never_more_than_said() {
        for seconds in [0.0, 0.05, 1.0, 6.4, 7.0, 60.0, 600.0, 86_400.0, 3e7] {
            let end = Duration::from_secs_f64(seconds);
            let (mut time, mut taken) = (Duration::ZERO, 0);
            while time < end {
                time += (time / PART).max(TICK).min(end - time);
                taken += 1;
            }
            let said = looks(end);
            assert!(taken <= said && said <= taken + taken / 5 + 10, "{seconds} s: {taken}, not {said}");
        }
    }
}
