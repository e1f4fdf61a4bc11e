//! Worlds of keyless requests: each begins, takes its time, and fails or not; a judge is told of it when it wants.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use config::model::Margin;
use config::release::outcome::Class;
use config::release::verdict::{Begun, Limits, Opening, Strata, Verdict, Watch};
use config::value::weight::Weight;

use crate::random::Random;

/// Between two looks, in seconds.
const TICK: f64 = 0.1;

/// Limits of a service that answers in 20 ms.
const LIMITS: Limits = Limits { unanswered: Duration::from_secs(1), gone: Duration::from_millis(64), is_known: true };

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) is_candidate: bool,
    /// Seconds since the rollout began.
    pub(crate) began: f64,
    /// Seconds until it ends.
    pub(crate) took: f64,
    pub(crate) failed: bool,
}

/// Whoever judges the two sides.
pub(crate) trait KeylessJudge {
    /// A request begins; what will come of it is known to the world alone until its end.
    fn asked(&mut self, asked: &Asked, weight: Weight);
    /// Looks at the time; whether the candidate is worse.
    fn is_worse(&mut self, time: f64, weight: Weight) -> bool;
    /// The gateway starts again.
    fn restarted(&mut self);
}

/// A world and its plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyless {
    pub(crate) name: &'static str,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Of both, and how much more of the candidate's.
    pub(crate) fails: [f64; 2],
    /// Seconds of each step; ten percent more each, where there are several.
    pub(crate) step: f64,
    pub(crate) steps: usize,
    pub(crate) weight: usize,
    pub(crate) trouble: Trouble,
}

/// What else happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trouble {
    None,
    /// The base rises to this while the weights do.
    Drift(f64),
    /// A tenth of the looks brings thirty times the requests.
    Bursts,
    /// Every 20 seconds everything fails for 2 seconds; answers take 0.1 ms.
    Outages,
    /// Rate and base move together with a period of 120 seconds.
    Days,
    /// Stable fails after so many seconds, the candidate at once, equally often.
    SlowFailures(f64),
    /// The first so many answers of the candidate take three times as long.
    Cold(u64),
    /// Answers take longer the more a side has to do.
    Load,
    /// The gateway starts again every 15 seconds, and loses what had not ended.
    Restarts,
    /// Of a train of five, the first that is called worse.
    Train,
}

const WORLD: Keyless =
    Keyless { name: "", rate: 200.0, fails: [0.01, 0.0], step: 30.0, steps: 9, weight: 10, trouble: Trouble::None };

/// Worlds in which candidate and stable are the same.
pub(crate) const KEYLESS: &[Keyless] = &[
    Keyless { name: "independent, 1 %", ..WORLD },
    Keyless {
        name: "base from 0.5 to 3 % while weights rise",
        fails: [0.005, 0.0],
        trouble: Trouble::Drift(0.03),
        ..WORLD
    },
    Keyless { name: "bursts", trouble: Trouble::Bursts, ..WORLD },
    Keyless { name: "outages of both, answers in 0.1 ms", trouble: Trouble::Outages, ..WORLD },
    Keyless { name: "rate and base move with the time of day", trouble: Trouble::Days, ..WORLD },
    Keyless { name: "restarts that lose what was open", trouble: Trouble::Restarts, ..WORLD },
    Keyless { name: "a train of five", trouble: Trouble::Train, ..WORLD },
    Keyless { name: "few requests: 2/s", rate: 2.0, ..WORLD },
    Keyless {
        name: "stable fails after 30 s, the candidate at once",
        fails: [0.015, 0.0],
        trouble: Trouble::SlowFailures(30.0),
        ..WORLD
    },
    Keyless { name: "the first 200 answers of the candidate are cold", trouble: Trouble::Cold(200), ..WORLD },
    Keyless { name: "answers follow the load of a side", trouble: Trouble::Load, ..WORLD },
];

/// A world in which the candidate fails so much more, held at one weight for ten minutes.
pub(crate) fn defect(base: f64, more: f64) -> Keyless {
    Keyless { fails: [base, more], step: 600.0, steps: 1, ..WORLD }
}

/// Runs one rollout under the verdict. When it was called worse, and after how many requests of the candidate.
pub(crate) fn by_beginnings(world: &Keyless, seed: u64) -> Option<(f64, u64)> {
    let members = if world.trouble == Trouble::Train { 5 } else { 1 };
    let margin = Margin { alpha: Margin::default().alpha / members, ..Margin::default() };
    (0..u64::from(members)).find_map(|member| {
        let mut judge = ByBeginnings::new(Watch::new(margin, false));
        run(world, seed * u64::from(members) + member, &mut judge, |_| {})
    })
}

/// Runs one rollout until the judge says worse; `seen` is told of every request.
pub(crate) fn run(
    world: &Keyless,
    seed: u64,
    judge: &mut impl KeylessJudge,
    mut seen: impl FnMut(&Asked),
) -> Option<(f64, u64)> {
    let mut random = Random::new(seed);
    let (mut candidates, mut owed) = (0, 0.0);
    let looks = (world.step * world.steps as f64 / TICK) as u64;
    for look in 0..looks {
        let time = look as f64 * TICK;
        let share = (world.weight as f64 / 100.0) * (1.0 + (time / world.step).floor());
        let weight = Weight::new((share * 1e4).round() as u16).expect("the steps end below 100 %");
        owed += world.requests(time, &mut random);
        let count = f64::floor(owed);
        owed -= count;
        for place in 0..count as u64 {
            let is_candidate = random.chance(share);
            candidates += u64::from(is_candidate);
            let began = time + TICK * place as f64 / count;
            let (took, failed) = world.outcome(is_candidate, began, share, candidates, &mut random);
            let asked = Asked { is_candidate, began, took, failed };
            seen(&asked);
            judge.asked(&asked, weight);
        }
        if world.trouble == Trouble::Restarts && look % 150 == 149 {
            judge.restarted();
        }
        if judge.is_worse(time + TICK, weight) {
            return Some((time + TICK, candidates));
        }
    }
    None
}

impl Keyless {
    /// How many come within a look.
    fn requests(&self, time: f64, random: &mut Random) -> f64 {
        let even = self.rate * TICK;
        match self.trouble {
            Trouble::Bursts if random.chance(0.1) => 30.0 * even,
            Trouble::Bursts => even / 2.0,
            Trouble::Days => even * (1.0 + 0.9 * (std::f64::consts::TAU * time / 120.0).sin()),
            _ => even,
        }
    }

    /// How long a request takes, and whether it fails.
    fn outcome(&self, is_candidate: bool, time: f64, share: f64, candidates: u64, random: &mut Random) -> (f64, bool) {
        let base = match self.trouble {
            Trouble::Drift(to) => self.fails[0] + (to - self.fails[0]) * time / (self.step * self.steps as f64),
            Trouble::Outages if time % 20.0 < 2.0 => 1.0,
            Trouble::Days => self.fails[0] * (1.0 + 0.9 * (std::f64::consts::TAU * time / 120.0).sin()),
            _ => self.fails[0],
        };
        let more = if is_candidate { self.fails[1] } else { 0.0 };
        let failed = random.chance(base + (1.0 - base) * more);
        let lognormal = 0.02 * (0.5 * random.normal()).exp();
        let took = match self.trouble {
            Trouble::Outages => 1e-4,
            Trouble::SlowFailures(seconds) if failed => {
                if is_candidate {
                    0.01
                } else {
                    seconds
                }
            }
            Trouble::Cold(first) if is_candidate && candidates <= first => 3.0 * lognormal,
            // One server a side, of which each request takes 1 ms.
            Trouble::Load => {
                let part = if is_candidate { share } else { 1.0 - share };
                lognormal / (1.0 - (self.rate * part * 0.004).min(0.95))
            }
            _ => lognormal,
        };
        (took, failed)
    }
}

/// The verdict, told of each request when it begins and when it ends, as the gateway tells it.
pub(crate) struct ByBeginnings {
    watch: Watch,
    strata: Strata,
    cells: HashMap<u32, [Begun; 2]>,
    number: u32,
    now: Duration,
    open: BinaryHeap<Ending>,
}

impl ByBeginnings {
    pub(crate) fn new(watch: Watch) -> Self {
        let (strata, cells, open) = Default::default();
        Self { watch, strata, cells, number: 0, now: Duration::ZERO, open }
    }

    /// Begins a stratum with the requests that come.
    fn begin(&mut self, weight: Weight) {
        if !self.strata.may_begin(self.now) {
            return;
        }
        self.number += 1;
        let opening =
            Opening { number: self.number, weight, limits: LIMITS, slow: None, is_drawn: true, now: self.now };
        self.strata.begin(opening, &self.watch);
        self.cells.insert(self.number, Default::default());
    }
}

/// A request on its way, in the stratum in which it began. What ends first comes first.
struct Ending {
    asked: Asked,
    stratum: u32,
}

impl KeylessJudge for ByBeginnings {
    fn asked(&mut self, asked: &Asked, weight: Weight) {
        if self.number == 0 {
            self.begin(weight);
        }
        self.cells.entry(self.number).or_default()[usize::from(asked.is_candidate)].begun += 1;
        self.open.push(Ending { asked: *asked, stratum: self.number });
    }

    fn is_worse(&mut self, time: f64, weight: Weight) -> bool {
        self.now = Duration::from_secs_f64(time);
        while let Some(Ending { asked, stratum }) = self.open.peek().filter(|ending| ending.end() <= time) {
            if asked.took <= LIMITS.unanswered.as_secs_f64()
                && let Some(cells) = self.cells.get_mut(stratum)
            {
                let class = if asked.failed { Class::ServerError } else { Class::Success };
                cells[usize::from(asked.is_candidate)].classes[class as usize] += 1;
            }
            self.open.pop();
        }
        self.begin(weight);
        let cells = &self.cells;
        self.strata.settle(self.now, &mut self.watch, |number| cells[&number]);
        self.strata.early(&mut self.watch, |number| cells[&number]);
        matches!(self.watch.verdict(), Verdict::Worse(_))
    }

    fn restarted(&mut self) {
        let stored = serde_json::to_string(&self.watch).expect("numbers are JSON");
        let watch = serde_json::from_str(&stored).expect("what was stored is read again");
        *self = Self { now: self.now, ..Self::new(watch) };
    }
}

impl Ending {
    fn end(&self) -> f64 {
        self.asked.began + self.asked.took
    }
}

impl PartialEq for Ending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ending {}

impl PartialOrd for Ending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ending {
    fn cmp(&self, other: &Self) -> Ordering {
        other.end().total_cmp(&self.end())
    }
}
