//! A gate at work in one step: it is asked at every look, fails early only on evidence that holds whenever one looks, and
//! passes only where its bake is over.
//!
//! A limit that is asked at each look from some request on, and sends back whenever the estimate is above it, sends most
//! sound candidates back. So there are two questions: whether the limit is *shown* to be exceeded ([`Windows`], or [`Against`] where
//! stable is compared), which may be asked at any time; and at the end of the bake, once, whether the estimate is within it.
//! Where it is neither, the gate has no answer yet, and asks again at 2, 4 and 8 times what it had seen then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answer, Seen};
use crate::model::{Bake, Check, Gate, Limit, Plan};
use crate::release::outcome::{Counts, latency_bucket};
use crate::release::rollout::{Moment, Phase, Rollout};
use crate::release::verdict::{Against, Measure, Tally, WINDOW_REQUESTS, Windows};
use crate::value::weight::Weight;

/// The chance that a candidate within the limits of all gates of a plan is sent back early by any of them.
const ALPHA: f64 = 0.01;
/// A window is this part of the bake …
const PARTS: u32 = 60;
/// … and at least so long; so long also where requests end the bake.
const SHORTEST: Duration = Duration::from_secs(1);
/// So long where nothing ends the bake.
const HELD: Duration = Duration::from_secs(60);
/// How many times a gate that had no answer at the end is asked again.
const AGAIN: u32 = 3;

/// Where a step stands: how far its bake is, and how long the windows of its gates are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepClock {
    /// Of the candidate.
    pub weight: Weight,
    /// Since the step's weight went live.
    pub age: Duration,
    /// The part of the bake that is over; 1 is its end, and more is what came since. 0 where nothing ends it.
    pub exposure: f64,
    /// A window.
    pub window: Duration,
    /// The fewest requests of a window.
    pub least: u64,
}

/// What a gate has made of what it saw since the step's weight went live. Counts start anew with the gateway, and what was shown stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateWatch {
    alpha: f64,
    test: GateTest,
    /// What was counted at the last look.
    #[serde(skip)]
    last: [Counts; 2],
    /// The exposure at which it is asked next, once the bake is over.
    next: f64,
    /// How often it was asked so.
    asked: u32,
    /// The answer at the last time.
    answer: Option<KeptAnswer>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum GateTest {
    Max(Windows),
    Compared(Box<Against>),
    /// It has no limit.
    Other,
}

/// An answer that stands until the gate is asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum KeptAnswer {
    Pass,
    None(String),
}

impl GateWatch {
    /// Of a gate that has seen nothing of its step. `members`: how many aliases the rollout has, each with a watch of its own.
    #[must_use]
    pub fn new(plan: &Plan, gate: &Gate, members: usize) -> Self {
        let against = match gate.check {
            Check::ErrorRate { limit, .. } => Against::failures(limit),
            Check::Latency { quantile, limit, .. } => Against::latency(quantile, limit),
            Check::NoWorse | Check::Approval { .. } | Check::Window(_) | Check::Prometheus(_) => None,
        };
        let test = match (gate.check.limit_part(), against) {
            (Some(part), _) => GateTest::Max(Windows::new(part)),
            (None, Some(against)) => GateTest::Compared(Box::new(against)),
            (None, None) => GateTest::Other,
        };
        let alpha = ALPHA / (gates_with_limits(plan) * members).max(1) as f64;
        Self { alpha, test, last: Default::default(), next: 1.0, asked: 0, answer: None }
    }

    /// The gate's word now. `seen` is what was counted since the step's weight went live.
    pub fn answer(&mut self, gate: &Gate, seen: &Seen<'_>, clock: &StepClock) -> Answer {
        let estimate = gate.answer(seen);
        if self.test == GateTest::Other {
            return estimate;
        }
        let more = [seen.stable, seen.candidate].map(Clone::clone);
        let [stable, candidate] = [more[0].since(&self.last[0]), more[1].since(&self.last[1])];
        self.last = more;
        match &mut self.test {
            GateTest::Max(windows) => {
                let tally = tally(&gate.check, &candidate, seen.client_errors);
                windows.add(clock.age, clock.window, clock.least, tally);
            }
            GateTest::Compared(against) => against.add(clock.weight, &stable, &candidate, seen.client_errors),
            GateTest::Other => {}
        }
        match (estimate, self.exceeded()) {
            (Answer::Fail(why), Some(measure)) => Answer::Fail(format!("{why}; {measure}")),
            (estimate, _) => self.within(estimate, clock.exposure),
        }
    }

    fn exceeded(&self) -> Option<Measure> {
        match &self.test {
            GateTest::Max(windows) => windows.exceeded(self.alpha),
            GateTest::Compared(against) => against.exceeded(self.alpha),
            GateTest::Other => None,
        }
    }

    /// The answer where nothing is shown to be exceeded.
    fn within(&mut self, estimate: Answer, exposure: f64) -> Answer {
        let now = match estimate {
            Answer::Pass => KeptAnswer::Pass,
            // Too few requests: there is nothing to decide on, whatever came of them.
            Answer::None(why) => return self.answer.clone().map_or(Answer::None(why), Into::into),
            Answer::Fail(why) => KeptAnswer::None(format!("{why}; that may be chance")),
        };
        if exposure < 1.0 {
            return now.into();
        }
        if exposure >= self.next && self.asked <= AGAIN && self.answer != Some(KeptAnswer::Pass) {
            (self.answer, self.asked, self.next) = (Some(now.clone()), self.asked + 1, exposure * 2.0);
        }
        self.answer.clone().map_or_else(|| now.into(), Into::into)
    }
}

impl From<KeptAnswer> for Answer {
    fn from(kept: KeptAnswer) -> Self {
        match kept {
            KeptAnswer::Pass => Self::Pass,
            KeptAnswer::None(why) => Self::None(why),
        }
    }
}

impl Rollout {
    /// Watches of the gates of a step, in their order, for one of its members.
    #[must_use]
    pub fn gate_watches(&self, step: usize) -> Vec<GateWatch> {
        self.gates(step).map(|gate| GateWatch::new(&self.plan, gate, self.members.len())).collect()
    }

    /// Where the step stands whose weight is live; `requests` of the candidate have ended in it. `None` where none is.
    #[must_use]
    pub fn step_clock(&self, now: Moment, requests: u64) -> Option<StepClock> {
        let (step, since) = self.bake()?;
        let age = now.saturating_sub(since);
        let is_over = matches!(self.phase, Phase::Deciding { .. });
        let over = |exposure: f64| if is_over { exposure.max(1.0) } else { exposure };
        let (exposure, window, least) = match self.plan.steps[step].bake {
            Bake::Time(bake) => (over(self.baked(now, age, bake)), (bake / PARTS).max(SHORTEST), WINDOW_REQUESTS),
            Bake::Requests(wanted) => {
                let least = (wanted / u64::from(PARTS)).max(WINDOW_REQUESTS);
                (over(requests as f64 / wanted.max(1) as f64), SHORTEST, least)
            }
            Bake::Hold => (0.0, HELD, WINDOW_REQUESTS),
        };
        Some(StepClock { weight: self.weight, age, exposure, window, least })
    }

    /// The part of a bake of so long that is over. What it was held is no part of it.
    fn baked(&self, now: Moment, age: Duration, bake: Duration) -> f64 {
        let whole = bake.as_secs_f64().max(1e-9);
        match self.phase {
            Phase::Baking { until, .. } => {
                let now = self.held.as_ref().map_or(now, |held| held.since.min(now));
                1.0 - until.saturating_sub(now).as_secs_f64() / whole
            }
            _ => age.as_secs_f64() / whole,
        }
    }
}

/// How many gates with a limit a plan has, counted at each of its steps.
fn gates_with_limits(plan: &Plan) -> usize {
    let has_limit = |gate: &&Gate| matches!(gate.check, Check::ErrorRate { .. } | Check::Latency { .. });
    plan.steps.iter().map(|step| plan.gates_at(step).filter(has_limit).count()).sum()
}

/// Requests, and those beyond a limit of a number: failures, or answers slower than the limit.
fn tally(check: &Check, counts: &Counts, client_errors: bool) -> Tally {
    match *check {
        Check::Latency { limit: Limit::Max(most), .. } => Tally::of(
            counts.latencies.iter().sum(),
            // The bucket of the limit has answers on both sides of it.
            counts.latencies.iter().skip(latency_bucket(Duration::from_micros(most)) + 1).sum(),
        ),
        _ => Tally::of(counts.judged(), counts.failures(client_errors)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::outcome::Class;
    use crate::release::verdict::Verdict;
    use crate::text::parse::parse_plan;

    const PLAN: &str = "{canaryStep: {weight: 10, interval: 10m}, gates: [{error_rate: {max: 1%}}, {latency: {p95: {max: 100ms}}}, {error_rate: {ratio: 2}}]}";

    struct Bench {
        plan: Plan,
        watch: GateWatch,
        gate: Gate,
        counts: [Counts; 2],
        age: Duration,
    }

    impl Bench {
        fn new(place: usize) -> Self {
            let plan = parse_plan(PLAN, &|_| None).unwrap();
            let gate = plan.gates_at(&plan.steps[0]).nth(place).unwrap().clone();
            let watch = GateWatch::new(&plan, &gate, 1);
            Self { plan, watch, gate, counts: Default::default(), age: Duration::ZERO }
        }

        /// So many more requests of each side, of which so many fail and take so long, in ten seconds.
        fn see(&mut self, stable: (u64, u64, u64), candidate: (u64, u64, u64)) -> Answer {
            self.age += Duration::from_secs(10);
            for (counts, (requests, failures, millis)) in self.counts.iter_mut().zip([stable, candidate]) {
                counts.classes[Class::Success as usize] += requests - failures;
                counts.classes[Class::ServerError as usize] += failures;
                counts.latencies[latency_bucket(Duration::from_millis(millis))] += requests;
            }
            let [stable, candidate] = &self.counts;
            let seen = Seen { stable, candidate, verdict: &Verdict::NoData, client_errors: false };
            let clock = StepClock {
                weight: self.plan.steps[0].weight,
                age: self.age,
                exposure: self.age.as_secs_f64() / 600.0,
                window: Duration::from_secs(10),
                least: WINDOW_REQUESTS,
            };
            self.watch.answer(&self.gate, &seen, &clock)
        }
    }

    #[test]
    fn an_estimate_above_the_limit_is_no_failure_and_what_is_shown_is() {
        let mut bench = Bench::new(0);
        let Answer::None(why) = bench.see((0, 0, 1), (200, 3, 1)) else { panic!("that is chance") };
        assert_eq!(why, "3 of 200 requests failed on the candidate (1.5 %), allowed are 1 %; that may be chance");
        let answers: Vec<Answer> = (0..10).map(|_| bench.see((0, 0, 1), (200, 100, 1))).collect();
        let failed = answers.iter().position(|answer| matches!(answer, Answer::Fail(_)));
        assert!(failed.is_some_and(|place| place < 4), "{answers:?}");
        let Answer::Fail(why) = &answers[9] else { panic!("{answers:?}") };
        assert!(why.contains("; e = ") && why.ends_with(", needed 300"), "{why}");
    }

    #[test]
    fn at_the_end_it_passes_within_the_limit_and_keeps_that() {
        let mut bench = Bench::new(0);
        (1..=60).for_each(|_| assert_eq!(bench.see((0, 0, 1), (100, 0, 1)), Answer::Pass));
        assert_eq!(bench.see((0, 0, 1), (100, 90, 1)), Answer::Pass, "asked once, at the end");
    }

    #[test]
    fn what_had_no_answer_at_the_end_is_asked_again_at_twice_the_exposure() {
        let mut bench = Bench::new(0);
        let none = |answer| matches!(answer, Answer::None(_));
        // 12 of 1 000 in the bake, and none any more.
        (0..12).for_each(|_| assert!(!matches!(bench.see((0, 0, 1), (17, 1, 1)), Answer::Fail(_))));
        (12..60).for_each(|_| drop(bench.see((0, 0, 1), (17, 0, 1))));
        assert!(none(bench.see((0, 0, 1), (17, 0, 1))));
        (61..119).for_each(|n| assert!(none(bench.see((0, 0, 1), (17, 0, 1))), "{n}: not asked yet"));
        assert_eq!(bench.see((0, 0, 1), (17, 0, 1)), Answer::Pass);
    }

    #[test]
    fn too_few_requests_at_the_end_are_asked_for_until_they_are_there() {
        let mut bench = Bench::new(0);
        let answers: Vec<Answer> = (0..99).map(|_| bench.see((0, 0, 1), (1, 0, 1))).collect();
        assert_eq!(answers[98], Answer::None("the candidate has 99 of 100 requests".into()));
        assert_eq!(bench.see((0, 0, 1), (1, 0, 1)), Answer::Pass);
    }

    #[test]
    fn a_slow_candidate_fails_by_windows_too() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.see((0, 0, 1), (200, 0, 10)), Answer::Pass);
        let answers: Vec<Answer> = (0..30).map(|_| bench.see((0, 0, 1), (200, 0, 200))).collect();
        assert!(matches!(answers[0], Answer::None(_)) && matches!(answers[29], Answer::Fail(_)), "{answers:?}");
    }

    #[test]
    fn a_limit_that_compares_fails_on_what_both_did() {
        let mut bench = Bench::new(2);
        // Chance: twice as many, and a little more.
        let Answer::None(_) = bench.see((1_800, 18, 1), (200, 5, 1)) else { panic!("that is chance") };
        (0..60).for_each(|_| assert!(!matches!(bench.see((1_800, 18, 1), (200, 3, 1)), Answer::Fail(_))));
        let failed = (0..60).any(|_| matches!(bench.see((1_800, 18, 1), (200, 30, 1)), Answer::Fail(_)));
        assert!(failed);
    }

    #[test]
    fn a_watch_goes_on_from_what_was_stored() {
        let mut bench = Bench::new(0);
        (0..3).for_each(|_| drop(bench.see((0, 0, 1), (200, 4, 1))));
        let text = serde_json::to_string(&bench.watch).unwrap();
        bench.watch = serde_json::from_str(&text).unwrap();
        bench.counts = Default::default();
        assert_eq!(serde_json::to_string(&bench.watch).unwrap(), text);
        drop(bench.see((0, 0, 1), (200, 100, 1)));
        assert!(matches!(bench.see((0, 0, 1), (200, 100, 1)), Answer::Fail(_)));
    }
}
