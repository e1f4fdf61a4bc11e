//! A gateway under random events, crashes, refused writes and jumps of the clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use config::model::{Bake, Config, OnRestart};
use config::release::rollout::{
    Answer, Ask, Asked, Effect, Event, Exposure, Now, Observation, Outcome, Phase, Rollout, RolloutId, Speaker,
    Traffic, Transition, Word, begin, edits, from_text, to_text,
};
use config::text::edit::{self, Edit, FunctionEdit};
use config::text::parse::{parse, parse_plan};
use config::value::name::VersionId;
use config::value::weight::Split;
use serde_json::Value;

pub(crate) const FILE: &str = "
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
pub(crate) struct World {
    random: Seeded,
    config: Config,
    pub(crate) rollout: Rollout,
    time: Duration,
    frozen: bool,
    /// Hooks that were asked and may still answer.
    asked: BTreeSet<u32>,
    /// The last step whose weight was set.
    entered: Option<usize>,
    /// True while the store takes nothing but what goes back.
    refuses: bool,
    /// Events that the store refused and that nothing tells again: the first to be delivered.
    inbox: Vec<Event>,
    /// Some that were delivered, to be delivered once more.
    old: Vec<Event>,
    pub(crate) log: Vec<String>,
}

pub(crate) fn speaker() -> Speaker {
    Speaker { who: "token:ann".to_owned(), why: None }
}

/// True for a transition that is never refused: it goes live without the store.
fn goes_back(transition: &Transition) -> bool {
    matches!(transition.rollout.outcome(), Some(Outcome::Aborted | Outcome::RolledBack))
}

fn until(rollout: &Rollout) -> Duration {
    match rollout.phase {
        Phase::Asking { until, .. }
        | Phase::Ready { until, .. }
        | Phase::Baking { until, .. }
        | Phase::Deciding { until, .. } => until,
        Phase::Over { at, .. } => at,
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
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
        let now = Now { time, wall: time, frozen: false };
        let (transition, superseded) = begin(RolloutId(7), &ask, &config, &[], now).unwrap();
        assert!(superseded.is_empty());
        let rollout = transition.rollout.clone();
        let asked = BTreeSet::new();
        let (refuses, inbox, old, log) = (false, Vec::new(), Vec::new(), vec![plan.to_owned()]);
        let mut world =
            Self { random, config, rollout, time, frozen: false, asked, entered: None, refuses, inbox, old, log };
        world.carry_out(&transition, "begin");
        world
    }

    fn now(&self) -> Now {
        Now { time: self.time, wall: self.time, frozen: self.frozen }
    }

    fn take(&mut self, event: &Event) {
        self.log.push(format!("{:?} {event:?}", self.time));
        let before = self.rollout.clone();
        match before.on(event, self.now()) {
            Ok(None) => {}
            Ok(Some(transition)) if self.refuses && !goes_back(&transition) => {
                self.log.push("refused".to_owned());
                if matches!(event, Event::HookEnded { .. } | Event::Restarted) {
                    self.inbox.push(event.clone());
                }
            }
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
            None | Some(Traffic::Dropped) => true,
            Some(Traffic::Promoted) => !self.frozen && matches!(word, Some(Word::Promote | Word::Resume)),
            Some(Traffic::Kept) => word == Some(Word::Stop),
            Some(Traffic::Step(_) | Traffic::Adopted) => !self.frozen && word == Some(Word::Resume),
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
        if let Traffic::Step(weight) = traffic {
            let steps = &self.rollout.plan.steps;
            let step = steps.iter().position(|step| step.weight == weight).expect("only weights of the plan are set");
            let next = self.entered.map_or(0, |before| before + 1);
            // A step whose bake is nothing is over at once.
            let skipped = steps[next..step].iter().all(|step| step.bake == Bake::Time(Duration::ZERO));
            assert!(step >= next && skipped, "step {step} after {:?}", self.entered);
            self.entered = Some(step);
        }
        let edits = edits(&self.rollout, traffic, &self.config);
        self.config = edit::apply(&self.config, &edits).unwrap();
    }

    /// What must hold at any time.
    fn check(&self) {
        let one = VersionId::number(1).unwrap();
        let two = VersionId::number(2).unwrap();
        for member in &self.rollout.members {
            let function = &self.config.functions[&member.function];
            let (alias, own) = (function.effective(&member.alias).unwrap(), &function.aliases[&member.alias]);
            let sum: u32 = alias.split.parts().iter().map(|(_, weight)| u32::from(weight.basis_points())).sum();
            assert_eq!(sum, 10_000);
            let expected = match self.rollout.outcome() {
                Some(Outcome::Promoted) => Split::whole(two),
                Some(Outcome::Aborted | Outcome::RolledBack) => Split::whole(one),
                Some(Outcome::Superseded) => continue,
                Some(Outcome::Stopped) => {
                    assert!(function.layers.is_empty(), "what was seen is the alias's own");
                    continue;
                }
                None => {
                    assert_eq!(own.split, Split::whole(one), "the alias itself stays as it is");
                    assert_eq!(alias.split.weight(two), self.rollout.weight, "what the rollout says is live");
                    assert_eq!(alias.split.weight(one).basis_points(), 10_000 - self.rollout.weight.basis_points());
                    continue;
                }
            };
            assert_eq!(alias.split, expected);
            assert_eq!(alias.stable_version(), expected.highest());
            let salt = (member.function.as_str() == "cart").then(|| "own".to_owned());
            assert_eq!(alias.salt, salt, "the alias has its own cohort again");
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
        self.inbox.clear();
        let before = self.rollout.clone();
        self.time = match self.random.below(6) {
            // A wall clock that was set back, or is years ahead.
            0 => self.time.saturating_sub(Duration::from_secs(self.random.below(100_000))),
            1 => self.time.saturating_sub(Duration::from_secs(self.random.below(100_000_000))),
            2 => self.time + Duration::from_secs(self.random.below(1_000_000)),
            3 => self.time + Duration::from_secs(self.random.below(100_000_000)),
            _ => self.time + Duration::from_secs(self.random.below(60)),
        };
        self.take(&Event::Restarted);
        if !self.inbox.is_empty() || self.rollout.is_over() {
            return;
        }
        if before.plan.on_restart != OnRestart::Resume && before.bake().is_some() && before.held.is_none() {
            let left = |rollout: &Rollout, now| until(rollout).saturating_sub(now);
            assert_eq!(left(&self.rollout, self.time), left(&before, before.seen), "time that was lost does not count");
        }
        if let Phase::Baking { step, until, .. } = self.rollout.phase
            && let Bake::Time(bake) = self.rollout.plan.steps[step].bake
        {
            assert!(until <= self.time + bake, "a clock that went back does not make a bake longer");
        }
    }

    /// Delivers what the store refused, now that it takes everything.
    fn empty_inbox(&mut self) {
        self.refuses = false;
        for event in std::mem::take(&mut self.inbox) {
            self.deliver(&event);
        }
    }

    pub(crate) fn step(&mut self) {
        self.empty_inbox();
        self.refuses = self.random.below(10) == 0;
        self.time += Duration::from_millis(self.random.below(40_000));
        if self.random.below(20) == 0 {
            self.time += Duration::from_secs(self.random.below(30_000));
        }
        match self.random.below(26) {
            0..8 => self.observe(),
            8..12 => self.take(&Event::Tick),
            12..16 => self.answer_hook(),
            16 => self.crash(),
            24..26 => self.replay(),
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
            39 => Word::Stop,
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
        let (step, since) = self.rollout.bake().unwrap_or((step, self.time));
        let exposure = (self.random.below(9) > 0).then(|| Exposure {
            judged: requests,
            good: self.random.below(requests + 1),
            waiting: self.random.below(8) / 7,
            is_healthy: self.random.below(9) > 0,
        });
        let alert = (self.random.below(200) == 0).then(|| "slower".to_owned());
        let seen = Observation { step, since, answers, worse, alert, exposure, requests, evidence };
        let lacks = self.rollout.lacks(step, &seen).is_some();
        let was = self.rollout.step();
        self.deliver(&Event::Observed(seen));
        let has_advanced = self.rollout.step() > was || self.rollout.outcome() == Some(Outcome::Promoted);
        assert!(!(lacks && has_advanced), "a step ended unseen");
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
        if self.inbox.iter().any(|event| matches!(event, Event::HookEnded { .. })) {
            return;
        }
        let asked = run - u32::from(stale);
        let event = Event::HookEnded { point, index, run: asked, result };
        self.deliver(&event);
        if stale {
            assert_eq!(self.rollout.phase, before.phase, "an answer of another run says nothing");
        }
    }

    /// Delivers an event that may be delivered again later.
    fn deliver(&mut self, event: &Event) {
        let answered = if let Event::HookEnded { run, .. } = event { self.asked.take(run) } else { None };
        let refused = self.inbox.len();
        self.take(event);
        if self.inbox.len() > refused {
            self.asked.extend(answered);
        }
        if *event != Event::Restarted {
            self.old.push(event.clone());
        }
    }

    /// Delivers something once more, late: it means nothing, unless it is about what is there still.
    fn replay(&mut self) {
        if self.old.is_empty() {
            return;
        }
        let index = self.random.below(self.old.len() as u64) as usize;
        let event = self.old.swap_remove(index);
        let before = self.rollout.clone();
        let is_current = match &event {
            Event::Observed(seen) => before.bake() == Some((seen.step, seen.since)),
            Event::HookEnded { point, index, run, .. } => {
                matches!(before.phase, Phase::Asking { point: p, index: i, run: r, .. } if (p, i, r) == (*point, *index, *run))
            }
            _ => false,
        };
        if !is_current {
            self.take(&event);
            assert_eq!(self.rollout, before, "{event:?} is about something that is over");
        }
    }

    /// Left alone, it ends; a plan that holds goes on holding.
    pub(crate) fn ends_by_itself(&mut self) {
        self.frozen = false;
        self.empty_inbox();
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
