//! Worlds of keyless requests: each begins, takes its time, and fails or not; the verdict is told of it as the gateway tells it.

use std::time::Duration;

use config::model::Margin;
use config::release::outcome::Class;
use config::release::verdict::{Cause, Limits, Verdict, Watch};
use config::value::weight::Weight;

use crate::judged::{ByBeginnings, Judged};
use crate::random::Random;

/// Between two looks, in seconds.
const TICK: f64 = 0.1;

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) is_candidate: bool,
    /// Seconds since the rollout began.
    pub(crate) began: f64,
    /// Seconds until it ends; infinite where it hangs.
    pub(crate) took: f64,
    pub(crate) class: Class,
}

/// A world and its plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyless {
    pub(crate) name: &'static str,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Of both, and how much more of the candidate's.
    pub(crate) fails: [f64; 2],
    /// Seconds of each step; as much more weight each, where there are several.
    pub(crate) step: f64,
    pub(crate) steps: usize,
    pub(crate) weight: usize,
    /// Seconds that an answer takes in the middle, and how far they are spread (lognormal).
    pub(crate) takes: [f64; 2],
    /// How many times as long the candidate takes, and how many seconds more.
    pub(crate) slower: [f64; 2],
    /// Seconds after which a request is unanswered, and after which a client that leaves counts.
    pub(crate) limits: [f64; 2],
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
    /// Stable fails after so many seconds, the candidate after so many others, equally often.
    SlowFailures([f64; 2]),
    /// The first so many answers of the candidate take three times as long.
    Cold(u64),
    /// Answers take longer the more a side has to do.
    Load,
    /// The gateway starts again every 15 seconds, and loses what had not ended.
    Restarts,
    /// Of a train of five, the first that is called worse.
    Train,
    /// What fails are client errors, and the plan counts them.
    ClientErrors,
    /// Who failed asks again at once, up to so many times, and fails again in six of ten cases.
    Retries(u32),
    /// This part of the answers of stable, and that of the candidate's, takes half a second.
    SlowMode([f64; 2]),
    /// The candidate never answers.
    Hangs,
}

/// The time at which a rollout was called worse, and what had come by then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Finding {
    pub(crate) seconds: f64,
    /// Requests of the candidate by then, and of both.
    pub(crate) candidate: u64,
    pub(crate) total: u64,
    /// True if it was for its speed.
    pub(crate) is_speed: bool,
}

/// The outcome of a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) finding: Option<Finding>,
    /// True if it was called slow at a weight at which that is only said.
    pub(crate) alerts: bool,
}

pub(crate) const WORLD: Keyless = Keyless {
    name: "",
    rate: 200.0,
    fails: [0.01, 0.0],
    step: 30.0,
    steps: 9,
    weight: 10,
    takes: [0.02, 0.5],
    slower: [1.0, 0.0],
    limits: [1.0, 0.064],
    trouble: Trouble::None,
};

/// A world in which the candidate fails so much more, held at one weight for ten minutes.
pub(crate) const fn defect(base: f64, more: f64) -> Keyless {
    Keyless { fails: [base, more], step: 600.0, steps: 1, ..WORLD }
}

/// A verdict that has seen nothing, for one of so many aliases.
pub(crate) fn watch(world: &Keyless, members: u32) -> Watch {
    let margin = Margin { alpha: Margin::default().alpha / members, ..Margin::default() };
    Watch::new(margin, world.trouble == Trouble::ClientErrors)
}

/// Runs one rollout, or those of a train, under the verdict until the first is called worse.
pub(crate) fn by_beginnings(world: &Keyless, seed: u64) -> Judgement {
    let members = if world.trouble == Trouble::Train { 5 } else { 1 };
    let run = |member| run(world, seed * u64::from(members) + member, watch(world, members), is_worse, |_| {});
    let mut all: Vec<Judgement> = (0..u64::from(members)).map(run).collect();
    let first = all.iter().position(|one| one.finding.is_some()).unwrap_or(0);
    all.swap_remove(first)
}

pub(crate) fn is_worse(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Worse(_))
}

/// Runs one rollout until the verdict is as wished; `seen` is told of every request.
pub(crate) fn run(
    world: &Keyless,
    seed: u64,
    watch: Watch,
    wished: impl Fn(&Verdict) -> bool,
    mut seen: impl FnMut(&Asked),
) -> Judgement {
    let mut random = Random::new(seed);
    let limits = world.limits.map(Duration::from_secs_f64);
    let limits = Limits { unanswered: limits[0], gone: limits[1], is_known: true };
    let mut judge = ByBeginnings::new(watch, limits, world.weight_at(0.0));
    let (mut candidate, mut total, mut owed) = (0, 0, 0.0);
    let looks = (world.step * world.steps as f64 / TICK) as u64;
    for look in 0..looks {
        let time = look as f64 * TICK;
        let weight = world.weight_at(time);
        let share = f64::from(weight.basis_points()) / 1e4;
        owed += world.requests(time, &mut random);
        let count = f64::floor(owed);
        owed -= count;
        for place in 0..count as u64 {
            let began = time + TICK * place as f64 / count;
            let mut again = if let Trouble::Retries(most) = world.trouble { most } else { 0 };
            loop {
                let is_candidate = random.chance(share);
                candidate += u64::from(is_candidate);
                total += 1;
                let is_first = !matches!(world.trouble, Trouble::Retries(most) if again < most);
                let asked = world.ask(is_candidate, began, share, (candidate, is_first), &mut random);
                seen(&asked);
                judge.asked(asked.into());
                if again == 0 || asked.class == Class::Success {
                    break;
                }
                again -= 1;
            }
        }
        let now = Duration::from_millis(100 * (look + 1));
        if world.trouble == Trouble::Restarts && look % 150 == 149 {
            judge.restarted(now, weight);
        }
        let verdict = judge.look(now, world.weight_at(time + TICK));
        if wished(&verdict) {
            let is_speed = matches!(verdict, Verdict::Worse(Cause::Latency { .. }));
            let finding = Finding { seconds: time + TICK, candidate, total, is_speed };
            return Judgement { finding: Some(finding), alerts: judge.watch.alert().is_some() };
        }
    }
    Judgement { finding: None, alerts: judge.watch.alert().is_some() }
}

impl From<Asked> for Judged {
    fn from(asked: Asked) -> Self {
        let takes = asked.took.is_finite().then(|| Duration::from_secs_f64(asked.took));
        let began = Duration::from_secs_f64(asked.began);
        Self { is_candidate: asked.is_candidate, began, takes, class: asked.class }
    }
}

impl Keyless {
    fn weight_at(&self, time: f64) -> Weight {
        // A look comes at the end of a tick, whose sum may fall short of the step by a rounding.
        let step = ((time + 1e-6) / self.step).floor().min(self.steps as f64 - 1.0);
        Weight::new(self.weight as u16 * 100 * (1 + step as u16)).expect("the steps end below 100 %")
    }

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

    /// One request. `place`: which one of the candidate it is, if it is that, and whether it is no retry.
    fn ask(&self, is_candidate: bool, began: f64, share: f64, place: (u64, bool), random: &mut Random) -> Asked {
        let (candidates, is_first) = place;
        let base = match self.trouble {
            Trouble::Drift(to) => self.fails[0] + (to - self.fails[0]) * began / (self.step * self.steps as f64),
            Trouble::Outages if began % 20.0 < 2.0 => 1.0,
            Trouble::Days => self.fails[0] * (1.0 + 0.9 * (std::f64::consts::TAU * began / 120.0).sin()),
            Trouble::Retries(_) if !is_first => 0.6,
            _ => self.fails[0],
        };
        let more = if is_candidate { self.fails[1] } else { 0.0 };
        let failed = random.chance(base + (1.0 - base) * more);
        let [ratio, plus] = if is_candidate { self.slower } else { [1.0, 0.0] };
        let even = self.takes[0] * (self.takes[1] * random.normal()).exp() * ratio + plus;
        let side = usize::from(is_candidate);
        let took = match self.trouble {
            Trouble::Outages => 1e-4,
            Trouble::SlowFailures(seconds) if failed => seconds[side],
            Trouble::Cold(first) if is_candidate && candidates <= first => 3.0 * even,
            // One server a side, of which each request takes 4 ms.
            Trouble::Load => {
                let part = if is_candidate { share } else { 1.0 - share };
                even / (1.0 - (self.rate * part * 0.004).min(0.95))
            }
            Trouble::SlowMode(parts) if random.chance(parts[side]) => 25.0 * even,
            Trouble::Hangs if is_candidate => f64::INFINITY,
            _ => even,
        };
        let failure = if self.trouble == Trouble::ClientErrors { Class::ClientError } else { Class::ServerError };
        Asked { is_candidate, began, took, class: if failed { failure } else { Class::Success } }
    }
}
