//! Rollouts under random events, crashes, clock jumps and lost effects: what must hold after every single step.

#![expect(clippy::unwrap_used, reason = "test data: what is written here is valid")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use config::model::{AliasPatch, Bake, Config, Field, Shield};
use config::release::rollout::{
    Answer, Ask, Asked, Effect, Event, Now, Observation, Outcome, Phase, Rollout, RolloutId, Speaker, Traffic,
    Transition, Waits, Word, begin, edits, from_text, to_text,
};
use config::text::edit::{self, Edit, FunctionEdit};
use config::text::parse::{parse, parse_plan};
use config::value::name::VersionId;
use config::value::weight::Split;
use serde_json::Value;

const FILE: &str = "
functions:
  shop:
    versions: {1: 'http://127.0.0.1:1', 2: 'http://127.0.0.1:2'}
    aliases: {prod: 1}
  cart:
    versions: {1: 'http://127.0.0.1:1', 2: 'http://127.0.0.1:2'}
    aliases: {prod: {split: 1, salt: own}}
";

const PLANS: [&str; 9] = [
    "canaryStep: {weight: 20, interval: 10m}",
    "linearStep: {weight: 10, interval: 1m}",
    "canaryPlans: [{weight: 10, interval: 5m}, {weight: 30, interval: 1h}]",
    "canaryWeight: 50",
    "full",
    "steps: [{weight: 5, requests: 1000}, {weight: 20, bake: hold}, {weight: 50, bake: 1s}]",
    "{linearStep: {weight: 25, interval: 1m}, gates: [no-worse, {approval: {timeout: 1h, default: reject}}], on_restart: extend}",
    "{canaryStep: {weight: 20}, hooks: {before: ['http://127.0.0.1:9/a', 'http://127.0.0.1:9/b'], step: ['http://127.0.0.1:9/s'], after: ['http://127.0.0.1:9/c']}, on_restart: hold}",
    "{steps: [{weight: 10, bake: 1h, gates: [{window: ['Mon-Fri 09:00-17:00']}]}, {weight: 60, bake: 2m, gates: [{error_rate: {max: 1%, on_insufficient: fail}}]}]}",
];

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// A gateway that carries out what a rollout says, and loses some of it.
struct World {
    random: Seeded,
    config: Config,
    rollout: Rollout,
    time: Duration,
    frozen: bool,
    /// Hooks that were asked and may still answer.
    asked: BTreeSet<u32>,
    /// The last step whose weight was set.
    entered: Option<usize>,
    log: Vec<String>,
}

fn speaker() -> Speaker {
    Speaker { who: "token:ann".to_owned(), why: None }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Seeded(seed);
        let (config, _) = parse(FILE, &|_| None).unwrap();
        let plan = PLANS[random.below(PLANS.len() as u64) as usize];
        let asked = |function: &str| Asked {
            function: function.parse().unwrap(),
            alias: "prod".parse().unwrap(),
            candidate: 2.try_into().unwrap(),
            base: None,
        };
        let members = if random.below(3) == 0 { vec![asked("shop"), asked("cart")] } else { vec![asked("shop")] };
        let ask = Ask {
            members,
            plan: Arc::new(parse_plan(plan, &|_| None).unwrap()),
            plan_name: None,
            speaker: speaker(),
            supersede: false,
            adopt: false,
        };
        let time = Duration::from_secs(1_800_000_000 + random.below(1_000_000));
        let now = Now { time, frozen: false };
        let (transition, superseded) = begin(RolloutId(7), &ask, &config, &[], now).unwrap();
        assert!(superseded.is_empty());
        let rollout = transition.rollout.clone();
        let asked = BTreeSet::new();
        let mut world =
            Self { random, config, rollout, time, frozen: false, asked, entered: None, log: vec![plan.to_owned()] };
        world.carry_out(&transition, "begin");
        world
    }

    fn now(&self) -> Now {
        Now { time: self.time, frozen: self.frozen }
    }

    fn take(&mut self, event: &Event) {
        self.log.push(format!("{:?} {event:?}", self.time));
        let before = self.rollout.clone();
        match before.on(event, self.now()) {
            Ok(None) => {}
            Ok(Some(transition)) => {
                assert!(!before.is_over(), "it was over: {event:?}");
                self.carry_out(&transition, "event");
                if self.frozen || before.held.is_some() {
                    self.only_went_back(&before, event, &transition);
                }
            }
            Err(refusal) => {
                assert!(matches!(event, Event::Said { .. }) && !refusal.0.is_empty(), "{event:?}: {refusal}")
            }
        }
    }

    /// Under a freeze and in a pause nothing but going back moves the traffic; only somebody's word may promote in a pause.
    fn only_went_back(&self, before: &Rollout, event: &Event, transition: &Transition) {
        let moved = transition.effects.iter().find_map(|effect| match effect {
            Effect::Traffic(traffic) => Some(*traffic),
            _ => None,
        });
        let word = if let Event::Said { word, .. } = event { Some(*word) } else { None };
        let allowed = match moved {
            None | Some(Traffic::Back | Traffic::Theirs) => true,
            Some(Traffic::Promoted) => !self.frozen && matches!(word, Some(Word::Promote | Word::Resume)),
            Some(Traffic::Share(_)) => !self.frozen && word == Some(Word::Resume),
        };
        assert!(allowed, "held {:?}, frozen {}, {event:?}: {moved:?}", before.held, self.frozen);
    }

    fn carry_out(&mut self, transition: &Transition, what: &str) {
        let stored = to_text(&transition.rollout);
        let read = from_text(&stored, &|_| None).unwrap().rollout;
        assert_eq!(read, transition.rollout, "{what}: what is stored is what is");
        self.rollout = read;
        let traffics = transition.effects.iter().filter(|effect| matches!(effect, Effect::Traffic(_))).count();
        assert!(traffics <= 1, "the traffic is moved at most once at a time");
        for effect in &transition.effects {
            match effect {
                Effect::Traffic(traffic) => self.move_traffic(*traffic),
                Effect::Ask { run, .. } => assert!(self.asked.insert(*run), "run {run} was asked twice"),
                Effect::Cancel { run } => assert!(self.asked.remove(run), "run {run} was not asked"),
                Effect::Tell(milestone) => assert!(!milestone.text.is_empty()),
            }
        }
        self.check();
    }

    fn move_traffic(&mut self, traffic: Traffic) {
        if let Traffic::Share(weight) = traffic {
            let steps = &self.rollout.plan.steps;
            let step = steps.iter().position(|step| step.weight == weight).expect("only weights of the plan are set");
            let next = self.entered.map_or(0, |before| before + 1);
            // A step whose bake is nothing is over at once.
            let skipped = steps[next..step].iter().all(|step| step.bake == Bake::Time(Duration::ZERO));
            assert!(step >= next && skipped, "step {step} after {:?}", self.entered);
            self.entered = Some(step);
        }
        let edits = edits(&self.rollout, traffic, &self.config);
        assert_eq!(edits.len(), self.rollout.members.len());
        self.config = edit::apply(&self.config, &edits).unwrap();
    }

    /// What must hold at any time.
    fn check(&self) {
        let one = VersionId::number(1).unwrap();
        let two = VersionId::number(2).unwrap();
        for member in &self.rollout.members {
            let alias = &self.config.functions[&member.function].aliases[&member.alias];
            let sum: u32 = alias.split.parts().iter().map(|(_, weight)| u32::from(weight.basis_points())).sum();
            assert_eq!(sum, 10_000);
            let expected = match self.rollout.outcome() {
                Some(Outcome::Promoted) => Split::whole(two),
                Some(Outcome::Aborted | Outcome::RolledBack) => Split::whole(one),
                Some(Outcome::Superseded) => continue,
                None => {
                    assert_eq!(alias.split.weight(two), self.rollout.weight, "what the rollout says is live");
                    assert_eq!(alias.split.weight(one).basis_points(), 10_000 - self.rollout.weight.basis_points());
                    continue;
                }
            };
            assert_eq!(alias.split, expected);
            assert_eq!(alias.stable, Some(expected.highest()));
            let own = (member.function.as_str() == "cart").then(|| "own".to_owned());
            assert_eq!(alias.salt, own, "the alias has its own cohort again");
        }
        match &self.rollout.phase {
            Phase::Over { .. } => {
                assert!(self.asked.is_empty(), "every hook that was asked has ended: {:?}", self.asked);
                assert_eq!(self.rollout.deadline(), None);
            }
            Phase::Asking { run, .. } => assert!(self.asked.contains(run) && self.asked.len() == 1),
            _ => assert!(self.asked.is_empty()),
        }
        assert!(self.rollout.is_over() || self.rollout.deadline().is_some(), "no phase without a deadline");
    }

    fn crash(&mut self) {
        // Questions are lost with the process, and so is what they would have answered.
        self.asked.clear();
        self.time = match self.random.below(4) {
            // A wall clock that was set back.
            0 => self.time.saturating_sub(Duration::from_secs(self.random.below(100_000))),
            1 => self.time + Duration::from_secs(self.random.below(1_000_000)),
            _ => self.time + Duration::from_secs(self.random.below(60)),
        };
        self.take(&Event::Restarted);
        if let Phase::Baking { step, until, .. } = self.rollout.phase
            && let Bake::Time(bake) = self.rollout.plan.steps[step].bake
        {
            assert!(until <= self.time + bake, "a clock that went back does not make a bake longer");
        }
    }

    fn step(&mut self) {
        self.time += Duration::from_millis(self.random.below(40_000));
        if self.random.below(20) == 0 {
            self.time += Duration::from_secs(self.random.below(30_000));
        }
        match self.random.below(24) {
            0..8 => self.observe(),
            8..12 => self.take(&Event::Tick),
            12..16 => self.answer_hook(),
            16 => self.crash(),
            17 => {
                self.frozen = !self.frozen;
                if !self.frozen {
                    self.take(&Event::Thawed);
                }
            }
            18 => self.take(&Event::Checkpoint),
            19 if self.random.below(20) == 0 => {
                let split = Split::whole(VersionId::number(1).unwrap());
                let shift = FunctionEdit::Shift("prod".parse().unwrap(), split);
                self.config = edit::apply(&self.config, &[Edit::Function("shop".parse().unwrap(), shift)]).unwrap();
                self.take(&Event::Superseded(speaker()));
            }
            _ => self.say(),
        }
    }

    fn say(&mut self) {
        let word = match self.random.below(40) {
            0..6 => Word::Approve,
            6..12 => Word::Pause,
            12..30 => Word::Resume,
            30..37 => Word::Advance,
            37 => Word::Reject,
            38 => Word::Promote,
            _ => Word::Abort,
        };
        self.take(&Event::Said { word, speaker: speaker(), step: None });
        if word == Word::Abort {
            assert!(self.rollout.is_over(), "abort always wins");
            let once = self.rollout.clone();
            self.take(&Event::Said { word: Word::Abort, speaker: speaker(), step: None });
            assert_eq!(self.rollout, once, "and does nothing when nothing runs");
        }
    }

    fn observe(&mut self) {
        let Some(step) = self.rollout.step() else { return };
        let answers = self.rollout.gates(step).count();
        let answers = (0..answers).map(|_| match self.random.below(60) {
            0 => Answer::Fail("it is worse".to_owned()),
            1..20 => Answer::None("too few requests".to_owned()),
            _ => Answer::Pass,
        });
        let answers: Vec<Answer> = answers.collect();
        let worse = (self.random.below(200) == 0).then(|| "worse".to_owned());
        let requests = self.random.below(1_200);
        let evidence = Value::from(self.random.below(9));
        let fails = answers.iter().any(|answer| matches!(answer, Answer::Fail(_)));
        let is_baking = matches!(self.rollout.phase, Phase::Baking { .. } | Phase::Deciding { .. });
        self.take(&Event::Observed(Observation { answers, worse, requests, evidence }));
        if fails && is_baking {
            assert_eq!(self.rollout.outcome(), Some(Outcome::RolledBack), "a gate that fails ends it, frozen or not");
        }
    }

    fn answer_hook(&mut self) {
        let Phase::Asking { point, index, run, .. } = self.rollout.phase else { return };
        // Now and then an answer comes from a run that was lost.
        let stale = self.random.below(5) == 0;
        let result = if self.random.below(15) == 0 { Err("no".to_owned()) } else { Ok(Value::from("yes")) };
        let before = self.rollout.clone();
        if !stale {
            self.asked.remove(&run);
        }
        let asked = run - u32::from(stale);
        self.take(&Event::HookEnded { point, index, run: asked, result });
        if stale {
            assert_eq!(self.rollout.phase, before.phase, "an answer of another run says nothing");
        }
    }

    /// Left alone, it ends; a plan that holds goes on holding.
    fn ends_by_itself(&mut self) {
        self.frozen = false;
        self.take(&Event::Thawed);
        for _ in 0..200 {
            let Some(deadline) = self.rollout.deadline() else { return };
            self.time = self.time.max(deadline);
            let (reminds, phase) = (self.holds(), self.rollout.phase.clone());
            self.take(&Event::Tick);
            if reminds && !self.rollout.is_over() {
                return;
            }
            if let Phase::Asking { run, .. } = phase
                && self.rollout.is_over()
            {
                assert!(!self.asked.contains(&run));
            }
        }
        panic!("it never ends: {:?}", self.rollout);
    }

    fn holds(&self) -> bool {
        let Phase::Baking { step, .. } = self.rollout.phase else { return false };
        self.rollout.held.is_none() && self.rollout.plan.steps[step].bake == Bake::Hold
    }
}

#[test]
fn a_hundred_thousand_random_steps_break_nothing() {
    let (mut steps, mut seed, mut outcomes) = (0, 0, [0_u32; 4]);
    while steps < 100_000 {
        seed += 1;
        let mut world = World::new(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..60 {
                world.step();
                steps += 1;
            }
            world.ends_by_itself();
        }));
        if let Err(panic) = result {
            eprintln!("seed {seed}:\n{}", world.log.join("\n"));
            std::panic::resume_unwind(panic);
        }
        if let Some(outcome) = world.rollout.outcome() {
            outcomes[outcome as usize] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 20), "every end is reached: {outcomes:?}");
}

/// The time at which [`begun`] begins.
const START: Duration = Duration::from_secs(1_800_000_000);

/// A rollout of version 2 of the shop by this plan.
fn begun(plan: &str) -> Transition {
    let (config, _) = parse(FILE, &|_| None).unwrap();
    let ask = Ask {
        members: vec![Asked {
            function: "shop".parse().unwrap(),
            alias: "prod".parse().unwrap(),
            candidate: 2.try_into().unwrap(),
            base: None,
        }],
        plan: Arc::new(parse_plan(plan, &|_| None).unwrap()),
        plan_name: None,
        speaker: speaker(),
        supersede: false,
        adopt: false,
    };
    begin(RolloutId(1), &ask, &config, &[], Now { time: START, frozen: false }).unwrap().0
}

/// The rollout after this event, so many minutes after its beginning.
fn after(rollout: &Rollout, event: &Event, minutes: u64, frozen: bool) -> Rollout {
    let time = START + Duration::from_secs(60 * minutes);
    let transition = rollout.on(event, Now { time, frozen }).unwrap();
    transition.map_or_else(|| rollout.clone(), |transition| transition.rollout)
}

fn said(word: Word) -> Event {
    Event::Said { word, speaker: speaker(), step: None }
}

#[test]
fn the_end_of_a_freeze_decides_nothing_that_was_not_measured() {
    let rollout =
        begun("{steps: [{weight: 50, bake: 10m}], gates: [{error_rate: {max: 1%, on_insufficient: fail}}]}").rollout;
    let thawed = after(&rollout, &Event::Thawed, 20, false);
    assert_eq!(thawed.phase, rollout.phase, "the next look has the answer");
    let seen = Observation { answers: vec![Answer::Pass], ..Observation::default() };
    assert_eq!(after(&thawed, &Event::Observed(seen), 21, false).outcome(), Some(Outcome::Promoted));
}

#[test]
fn an_approval_counts_when_the_pause_or_the_freeze_is_over() {
    let plan = "{steps: [{weight: 50, bake: 10m}], gates: [{approval: {timeout: 24h, default: reject}}]}";
    let asks = after(&begun(plan).rollout, &Event::Tick, 10, false);
    assert!(matches!(asks.phase, Phase::Deciding { waits: Waits::Approval, .. }), "{asks:?}");
    let paused = after(&after(&asks, &said(Word::Pause), 11, false), &said(Word::Approve), 12, false);
    assert_eq!(paused.outcome(), None);
    assert_eq!(after(&paused, &said(Word::Resume), 13, false).outcome(), Some(Outcome::Promoted));
    let frozen = after(&asks, &said(Word::Approve), 12, true);
    assert_eq!(frozen.outcome(), None);
    assert_eq!(after(&frozen, &Event::Thawed, 13, false).outcome(), Some(Outcome::Promoted));
}

#[test]
fn what_an_operator_sets_during_a_rollout_stays() {
    let first = begun("{linearStep: {weight: 25, interval: 1m}, guard: {shield: any-5xx}}").rollout;
    let second = after(&first, &Event::Tick, 1, false);
    let (mut config, _) = parse(FILE, &|_| None).unwrap();
    let shield = |config: &Config| config.functions["shop"].aliases["prod"].shield;
    let with =
        |config: &Config, rollout: &Rollout, traffic| edit::apply(config, &edits(rollout, traffic, config)).unwrap();
    config = with(&config, &first, Traffic::Share(first.weight));
    assert_eq!(shield(&config), Shield::AnyServerError);
    assert_eq!(shield(&with(&config, &second, Traffic::Share(second.weight))), Shield::AnyServerError);
    assert_eq!(shield(&with(&config, &second, Traffic::Back)), Shield::Off, "its own again");
    let patch = AliasPatch { shield: Field::Set(Shield::Gateway), ..AliasPatch::default() };
    let edit = FunctionEdit::PatchAlias("prod".parse().unwrap(), patch);
    config = edit::apply(&config, &[Edit::Function("shop".parse().unwrap(), edit)]).unwrap();
    for traffic in [Traffic::Share(second.weight), Traffic::Promoted, Traffic::Back] {
        assert_eq!(shield(&with(&config, &second, traffic)), Shield::Gateway, "{traffic:?}");
    }
}

#[test]
fn a_plan_that_nobody_disturbs_takes_every_step_in_its_time() {
    let start = START;
    let at = |time| Now { time, frozen: false };
    let begun = begun("linearStep: {weight: 40, interval: 10m}");
    let (mut rollout, mut timeline) = (begun.rollout, vec![(0, 4_000)]);
    while let Some(deadline) = rollout.deadline() {
        let just_before = at(deadline.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(rollout.on(&Event::Tick, just_before).unwrap(), None, "not a moment before its time");
        rollout = rollout.on(&Event::Tick, at(deadline)).unwrap().unwrap().rollout;
        timeline.push(((deadline - start).as_secs() / 60, rollout.weight.basis_points()));
    }
    assert_eq!(timeline, [(0, 4_000), (10, 8_000), (20, 10_000)]);
    assert_eq!(rollout.outcome(), Some(Outcome::Promoted));
    assert!(matches!(begun.effects.last(), Some(Effect::Tell(_))));
}
