//! What a plan would do: the same state machine on a virtual clock, with assumed traffic and an assumed defect.
//!
//! Hooks answer yes at once, windows are open, servers and people say yes: what is forecast is the traffic and what the
//! verdict and the measuring gates make of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Bake, Check, Gate, OnInsufficient, Plan};
use crate::name::VersionId;
use crate::outcome::{Class, Counts, latency_bucket};
use crate::parse::show_duration;
use crate::problem::Problem;
use crate::rollout::{
    Answer, Effect, Event, Goal, Member, Now, Observation, Outcome, Phase, Rollout, RolloutId, Seen, Speaker, Word,
};
use crate::verdict::{Batch, Side, Verdict, Watch};
use crate::weight::Weight;

/// The most looks at a bake; a gateway looks ten times a second.
const LOOKS: u32 = 2_000;
/// The longest virtual time of one run: after that it counts as undecided.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is assumed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumed {
    /// Requests per second of the alias.
    pub rate: f64,
    /// The part of requests that fail on stable, 0 to 1.
    pub stable_failures: f64,
    /// The part of requests that fail on the candidate, 0 to 1.
    pub candidate_failures: f64,
    /// Latency of stable.
    pub latency: Duration,
    /// Latency of the candidate.
    pub candidate_latency: Duration,
    /// How many times it is run.
    pub runs: u32,
    /// Equal seeds give equal forecasts.
    pub seed: u64,
}

/// What came of the runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Of a run that nothing stops: when each weight is set, counted from the beginning, and which.
    pub timeline: Vec<(Duration, Weight)>,
    /// Runs that promoted the candidate.
    pub promoted: u32,
    /// Runs that went back to stable, with when they did, in order.
    pub rolled_back: Vec<Duration>,
    /// Runs that wait for somebody, or do so for longer than 30 days.
    pub held: u32,
    /// Requests that the candidate got, of each run, in order.
    pub exposure: Vec<f64>,
    /// The most frequent reason to go back, without its numbers.
    pub reason: Option<String>,
}

/// Runs the plan.
#[must_use]
pub fn simulate(plan: &Arc<Plan>, assumed: &Assumed) -> Forecast {
    let mut forecast = Forecast {
        timeline: Vec::new(),
        promoted: 0,
        rolled_back: Vec::new(),
        held: 0,
        exposure: Vec::new(),
        reason: None,
    };
    for run in 0..assumed.runs.max(1) {
        let random = Random(assumed.seed.wrapping_add(u64::from(run).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let mut world = World::new(plan, *assumed, random);
        world.run();
        if world.timeline.len() > forecast.timeline.len() {
            forecast.timeline.clone_from(&world.timeline);
        }
        forecast.exposure.push(world.exposure);
        match &world.rollout.phase {
            Phase::Over { outcome: Outcome::Promoted, .. } => forecast.promoted += 1,
            Phase::Over { why, .. } => {
                forecast.rolled_back.push(world.time);
                forecast.reason.get_or_insert_with(|| why.clone());
            }
            _ => forecast.held += 1,
        }
    }
    forecast.rolled_back.sort_unstable();
    forecast.exposure.sort_by(f64::total_cmp);
    forecast
}

/// Why the plan cannot reach an answer at this rate of requests per second, and what would.
#[must_use]
pub fn preflight(plan: &Plan, rate: f64) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let share = rate * f64::from(step.weight.basis_points()) / f64::from(Weight::WHOLE);
        let rest = rate - share;
        let path = format!("plan.steps.{number}");
        if let Bake::Requests(wanted) = step.bake {
            let seconds = wanted as f64 / share;
            if !seconds.is_finite() || seconds > crate::rollout::MAX_EXPOSURE.as_secs_f64() {
                let message = format!(
                    "step {} waits for {wanted} requests of the candidate, and {} come at {rate:.2} requests a second",
                    number + 1,
                    per_time(share)
                );
                problems.push(Problem::error(path.clone(), message).help("ask for fewer, or for a larger weight"));
            }
        }
        let Bake::Time(bake) = step.bake else { continue };
        for gate in plan.gates_at(step) {
            let Some((needs, who)) = needed(gate, step.weight) else { continue };
            let patience = match gate.on_insufficient {
                OnInsufficient::Pass => continue,
                OnInsufficient::Wait => bake + gate.timeout,
                OnInsufficient::Fail => bake,
            };
            let slower = if who == "stable" { rest } else { share };
            let comes = slower * patience.as_secs_f64();
            if comes < needs as f64 {
                let message = format!(
                    "step {}: the gate `{}` needs {needs} requests of {who}, and about {comes:.0} come in {} at {rate:.2} \
                     requests a second",
                    number + 1,
                    gate.check.name(),
                    show_duration(patience)
                );
                let needed = Duration::from_secs_f64((needs as f64 / slower.max(1e-9)).min(1e9).ceil());
                let help = format!(
                    "a bake of {} would do, or a larger weight, or `on_insufficient: pass`",
                    show_duration(needed)
                );
                problems.push(Problem::error(path.clone(), message).help(help));
            }
        }
    }
    problems
}

fn per_time(rate: f64) -> String {
    if rate <= 0.0 { "none".to_owned() } else { format!("{:.1} a day", rate * 86_400.0) }
}

/// Requests that a gate needs before it can answer, and whose.
fn needed(gate: &Gate, weight: Weight) -> Option<(u64, &'static str)> {
    match gate.check {
        Check::ErrorRate { min_requests, .. } | Check::Latency { min_requests, .. } => {
            Some((min_requests, "the candidate"))
        }
        Check::NoWorse => no_worse_needs(weight).map(|needs| (needs, "the candidate")),
        Check::Approval { .. } | Check::Window(_) | Check::Prometheus(_) => None,
    }
}

/// About how many requests of the candidate show that it is no worse, where one of a hundred fails.
fn no_worse_needs(weight: Weight) -> Option<u64> {
    let mut watch = Watch::new(crate::model::Margin::default(), false);
    let side = |requests: u64| {
        let mut side = Side::default();
        side.counts.classes[Class::Success as usize] = requests - requests / 100;
        side.counts.classes[Class::ServerError as usize] = requests / 100;
        side
    };
    let share = u64::from(weight.basis_points());
    let (stable, candidate) = (side(u64::from(Weight::WHOLE) - share), side(share));
    watch.observe(&Batch { stable: &stable, candidate: &candidate, weight });
    match watch.verdict() {
        Verdict::NotYet(needed) => needed.more.map(|more| more + share),
        _ => None,
    }
}

/// One run.
struct World {
    assumed: Assumed,
    random: Random,
    rollout: Rollout,
    watch: Watch,
    time: Duration,
    timeline: Vec<(Duration, Weight)>,
    exposure: f64,
    /// Since the step's weight went live.
    step: (Counts, Counts),
    /// Parts of requests that have not come yet.
    owed: (f64, f64),
}

impl World {
    fn new(plan: &Arc<Plan>, assumed: Assumed, random: Random) -> Self {
        let member = Member {
            function: "function".parse().expect("a name"),
            alias: "alias".parse().expect("a name"),
            stable: VersionId::number(1),
            candidate: NonZeroU32::MIN.saturating_add(1),
            salt: None,
            shield: plan.guard.shield,
        };
        let rollout = Rollout {
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
            approved: None,
            runs: 0,
            alerted: false,
            seen: Duration::ZERO,
            evidence: serde_json::Value::Null,
        };
        let watch = Watch::new(plan.guard.margin, plan.guard.client_errors);
        let mut world = Self {
            assumed,
            random,
            rollout,
            watch,
            time: Duration::ZERO,
            timeline: Vec::new(),
            exposure: 0.0,
            step: Default::default(),
            owed: (0.0, 0.0),
        };
        world.take(&Event::Tick);
        world
    }

    fn run(&mut self) {
        while !self.rollout.is_over() && self.time < LONGEST {
            match self.rollout.phase.clone() {
                Phase::Baking { step, .. } if self.rollout.plan.steps[step].bake == Bake::Hold => {
                    // Long enough to see what the verdict makes of it.
                    if !self.watch_for(Duration::from_secs(3600)) {
                        return;
                    }
                }
                Phase::Baking { until, .. } | Phase::Deciding { until, .. } => {
                    let left = until.saturating_sub(self.time);
                    if !self.watch_for(left) && !self.rollout.is_over() && self.time >= until {
                        let seen = self.observation();
                        self.take(&Event::Observed(seen));
                    }
                }
                Phase::Asking { point, index, run, .. } => {
                    let result = Ok(serde_json::Value::Null);
                    self.take(&Event::HookEnded { point, index, run, result });
                }
                Phase::Ready { until, .. } => {
                    self.time = self.time.max(until);
                    self.take(&Event::Tick);
                }
                Phase::Over { .. } => return,
            }
        }
    }

    /// Lets requests come for so long, or until the rollout moves; answers whether it did.
    fn watch_for(&mut self, time: Duration) -> bool {
        let tick = (time / LOOKS).clamp(Duration::from_millis(100), Duration::from_secs(600));
        let end = self.time + time;
        while self.time < end {
            let tick = tick.min(end - self.time);
            self.time += tick;
            self.traffic(tick);
            let seen = self.observation();
            let before = self.rollout.phase.clone();
            if self.rollout.approved.is_none() {
                let speaker = Speaker { who: String::new(), why: None };
                self.take(&Event::Said { word: Word::Approve, speaker, step: None });
            }
            self.take(&Event::Observed(seen));
            if self.rollout.phase != before {
                return true;
            }
        }
        false
    }

    fn traffic(&mut self, tick: Duration) {
        let comes = self.assumed.rate * tick.as_secs_f64();
        let share = f64::from(self.rollout.weight.basis_points()) / f64::from(Weight::WHOLE);
        self.owed.0 += comes * (1.0 - share);
        self.owed.1 += comes * share;
        let (stable, candidate) = (self.owed.0.floor(), self.owed.1.floor());
        self.owed = (self.owed.0 - stable, self.owed.1 - candidate);
        self.exposure += candidate;
        let stable = self.side(stable as u64, self.assumed.stable_failures, self.assumed.latency);
        let candidate = self.side(candidate as u64, self.assumed.candidate_failures, self.assumed.candidate_latency);
        self.step.0.add(&stable.counts);
        self.step.1.add(&candidate.counts);
        self.watch.observe(&Batch { stable: &stable, candidate: &candidate, weight: self.rollout.weight });
    }

    fn side(&mut self, requests: u64, failures: f64, latency: Duration) -> Side {
        let failed = self.random.hits(requests, failures);
        let mut side = Side { drawn: requests, ..Side::default() };
        side.counts.classes[Class::Success as usize] = requests - failed;
        side.counts.classes[Class::ServerError as usize] = failed;
        side.counts.latencies[latency_bucket(latency)] = requests;
        side
    }

    fn observation(&self) -> Observation {
        let verdict = self.watch.verdict();
        let client_errors = self.rollout.plan.guard.client_errors;
        let seen = Seen { stable: &self.step.0, candidate: &self.step.1, verdict: &verdict, client_errors };
        let Some(step) = self.rollout.step() else { return Observation::default() };
        let answers = self.rollout.gates(step).map(|gate| match gate.check {
            Check::Prometheus(_) => Answer::Pass,
            _ => gate.answer(&seen),
        });
        Observation {
            answers: answers.collect(),
            worse: matches!(verdict, Verdict::Worse(_)).then(|| verdict.to_string()),
            requests: self.step.1.ended(),
            evidence: serde_json::Value::Null,
        }
    }

    fn take(&mut self, event: &Event) {
        let now = Now { time: self.time, frozen: false };
        // A word that does not fit here says nothing.
        let Ok(Some(transition)) = self.rollout.on(event, now) else { return };
        self.rollout = transition.rollout;
        for effect in &transition.effects {
            if let Effect::Traffic(_) = effect {
                self.timeline.push((self.time, self.rollout.weight));
                self.step = Default::default();
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// How many of `tries` happen with this chance: the gaps between them are geometric (Devroye, 1986, section X.4).
    fn hits(&mut self, tries: u64, chance: f64) -> u64 {
        if chance <= 0.0 {
            return 0;
        }
        if chance >= 1.0 {
            return tries;
        }
        let scale = (1.0 - chance).ln();
        let (mut at, mut hits) = (0.0, 0);
        loop {
            let uniform = ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            at += (uniform.ln() / scale).floor() + 1.0;
            if at > tries as f64 {
                return hits;
            }
            hits += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse_plan;

    fn plan(text: &str) -> Arc<Plan> {
        Arc::new(parse_plan(text, &|_| None).unwrap())
    }

    fn assumed(candidate_failures: f64) -> Assumed {
        Assumed {
            rate: 200.0,
            stable_failures: 0.01,
            candidate_failures,
            latency: Duration::from_millis(20),
            candidate_latency: Duration::from_millis(20),
            runs: 50,
            seed: 1,
        }
    }

    #[test]
    fn a_good_candidate_takes_the_steps_of_its_plan() {
        let forecast = simulate(&plan("linearStep: {weight: 25, interval: 2m}"), &assumed(0.01));
        let weights: Vec<(u64, u16)> =
            forecast.timeline.iter().map(|(at, weight)| (at.as_secs(), weight.basis_points())).collect();
        assert_eq!(weights, [(0, 2_500), (120, 5_000), (240, 7_500), (360, 10_000)]);
        assert!(forecast.promoted >= 49, "{forecast:?}");
    }

    #[test]
    fn a_bad_candidate_goes_back_and_a_worse_one_sooner() {
        let canary = plan("canaryStep: {weight: 10, interval: 30m}");
        let median = |failures| {
            let forecast = simulate(&canary, &assumed(failures));
            assert_eq!(forecast.rolled_back.len(), 50, "{failures}: {:?}", forecast.promoted);
            forecast.rolled_back[25]
        };
        let (all, tenth) = (median(1.0), median(0.1));
        assert!(all < Duration::from_secs(20) && all < tenth && tenth < Duration::from_secs(300), "{all:?} {tenth:?}");
    }

    #[test]
    fn equal_seeds_give_equal_forecasts() {
        let canary = plan("canaryStep: {weight: 10, interval: 30m}");
        assert_eq!(simulate(&canary, &assumed(0.05)), simulate(&canary, &assumed(0.05)));
    }

    #[test]
    fn a_plan_that_cannot_reach_an_answer_is_told_so() {
        let text = "{canaryStep: {weight: 5, interval: 10m}, gates: [{error_rate: {max: 1%, min_requests: 1000, on_insufficient: fail}}]}";
        let problems = preflight(&plan(text), 1.0);
        assert_eq!(problems.len(), 1);
        let told = problems[0].to_string();
        assert!(told.contains("needs 1000 requests") && told.contains("about 30 come in 10m"), "{told}");
        assert!(problems[0].help.as_ref().unwrap().contains("a bake of"), "{:?}", problems[0].help);
        assert_eq!(preflight(&plan(text), 1_000.0), []);
        assert_eq!(preflight(&plan("linearStep: {weight: 10}"), 0.0), [], "the guard alone waits for nothing");
        let exposure = plan("steps: [{weight: 5, requests: 1000000}, {weight: 100}]");
        assert!(preflight(&exposure, 1.0)[0].to_string().contains("requests of the candidate"));
    }
}
