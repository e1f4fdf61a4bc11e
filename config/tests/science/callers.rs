//! Worlds of callers with routing keys: each has an activity, a bucket and a chance to fail of its own.

use std::time::Duration;

use config::model::Margin;
use config::release::outcome::Class;
use config::release::verdict::votes::{
    BUCKETS, BucketCounts, BucketSide, CallerStratum, CallersVerdict, CallersVote, VoteAbout,
};
use config::release::verdict::{Limits, Verdict, Watch};
use config::value::weight::Weight;

use crate::judged::{ByBeginnings, Judged};
use crate::random::{Activity, Random};

/// Requests per second.
pub(crate) const RATE: f64 = 200.0;

/// The callers, what they do, and the plan that they meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callers {
    pub(crate) name: &'static str,
    pub(crate) callers: usize,
    /// Each has a bucket of its own.
    pub(crate) alone: bool,
    /// Parts of the callers, and how often their requests fail whichever version they get.
    pub(crate) kinds: &'static [(f64, f64)],
    /// How often those of all other callers do.
    pub(crate) base: f64,
    pub(crate) swing: Swing,
    pub(crate) steps: Steps,
    pub(crate) defect: Defect,
    pub(crate) about: VoteAbout,
    /// Aliases of a train: alpha is shared by as many.
    pub(crate) members: u32,
    /// The part of the requests that has no key: they are judged by request, by a quarter of alpha.
    pub(crate) keyless: f64,
    /// Judges requests with a key one by one, as if they had none. That is wrong; a suite that does not say so is worth nothing.
    pub(crate) by_request: bool,
}

/// What multiplies all chances to fail over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Swing {
    None,
    /// Between 0.1 and 1.9 times, with a period of so many seconds.
    Wave(f64),
    /// Every so many seconds everything fails for 2 seconds.
    Outages(f64),
    /// The rate of requests itself moves between 0.1 and 1.9 times, and callers of each half of the ranks come at other times.
    Days(f64),
    /// A caller that failed asks again at once, up to this many times.
    Retries(u32),
    /// Each caller has a chance of its own that an answer is slow: its speed is lognormal with sigma 1.
    Speeds,
    /// Every so many seconds the gateway starts again from what it stored, and what failed in the 3 seconds before is lost.
    Restarts(f64),
}

/// The weights, in percent, and what ends a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Steps {
    Fixed {
        weight: usize,
        seconds: f64,
    },
    Linear {
        by: usize,
        seconds: f64,
    },
    /// Ten percent more after so many requests of the candidate.
    ByRequests(u64),
}

/// What the candidate adds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Defect {
    None,
    /// Every request fails with this chance more, from so many seconds on.
    Each(f64, f64),
    /// This part of the callers fails wholly.
    Some(f64),
    /// So many times the odds.
    Odds(f64),
}

pub(crate) const WORLD: Callers = Callers {
    name: "",
    callers: 1_000,
    alone: false,
    kinds: &[],
    base: 0.01,
    swing: Swing::None,
    steps: Steps::Fixed { weight: 10, seconds: 600.0 },
    defect: Defect::None,
    about: VoteAbout::Failures,
    members: 1,
    keyless: 0.0,
    by_request: false,
};

/// One rollout.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ran {
    /// When it was called worse, and after how many requests of the candidate.
    pub(crate) found: Option<(f64, u64)>,
    /// Whether there were too few callers at the end.
    pub(crate) too_few: bool,
    /// Requests of the candidate, and how many of them failed.
    pub(crate) candidate: [u64; 2],
}

struct World<'a> {
    of: &'a Callers,
    random: Random,
    buckets: Vec<u16>,
    chances: Vec<f64>,
    broken: Vec<bool>,
    begun: Vec<u32>,
    vote: CallersVote,
    requests: ByBeginnings,
    /// The first bucket that is not the candidate's.
    edge: usize,
    step_began: f64,
    step_requests: u64,
    pending: u64,
    restarts: u64,
    ran: Ran,
}

/// Runs a rollout until the vote says worse or the steps are over. `activity` is that of the world's callers.
pub(crate) fn run(of: &Callers, activity: &Activity, seed: u64) -> Ran {
    let margin = Margin { alpha: Margin::default().alpha / of.members, ..Margin::default() };
    run_by(of, activity, seed, CallersVote::new(of.about, margin, 0.5))
}

/// The same under this vote.
pub(crate) fn run_by(of: &Callers, activity: &Activity, seed: u64, vote: CallersVote) -> Ran {
    let mut random = Random::new(seed);
    let buckets = buckets(of, &mut random);
    let chances = chances(of, &mut random);
    let broken = match of.defect {
        Defect::Some(part) => part_of(of.callers, part, &mut random),
        _ => vec![false; of.callers],
    };
    let quarter = Margin { alpha: Margin::default().alpha / of.members / 4, ..Margin::default() };
    let limits = Limits { unanswered: Duration::from_secs(1), gone: Duration::from_millis(64), is_known: true };
    let requests = ByBeginnings::new(Watch::new(quarter, false), limits, Weight::ZERO);
    let mut world = World {
        of,
        random,
        buckets,
        chances,
        broken,
        begun: vec![0; BUCKETS],
        vote,
        requests,
        edge: 0,
        step_began: 0.0,
        step_requests: 0,
        pending: 0,
        restarts: 0,
        ran: Ran::default(),
    };
    world.step(0.0);
    let mut time = 0.0;
    for request in 1_u64.. {
        time += world.gap(time);
        if world.is_over(time) && !world.next_step(time) {
            break;
        }
        if of.keyless > 0.0 && world.random.chance(of.keyless) {
            world.keyless(time);
            if request % 20 == 0 && (world.look(time) || world.look_at_requests(time)) {
                break;
            }
            continue;
        }
        let caller = world.caller(activity, time);
        if world.request(caller, time) || (request % 20 == 0 && (world.look(time) || world.look_at_requests(time))) {
            break;
        }
    }
    world.ran.too_few = matches!(world.vote.verdict(&world.begun, true), CallersVerdict::TooFewCallers { .. });
    world.ran
}

fn buckets(of: &Callers, random: &mut Random) -> Vec<u16> {
    if !of.alone {
        return (0..of.callers).map(|_| random.below(BUCKETS) as u16).collect();
    }
    let mut all: Vec<u16> = (0..BUCKETS as u16).collect();
    random.shuffle(&mut all);
    all.truncate(of.callers);
    all
}

fn part_of(callers: usize, part: f64, random: &mut Random) -> Vec<bool> {
    let mut is: Vec<bool> = (0..callers).map(|place| (place as f64) < (callers as f64 * part).round()).collect();
    random.shuffle(&mut is);
    is
}

fn chances(of: &Callers, random: &mut Random) -> Vec<f64> {
    if of.swing == Swing::Speeds {
        // Slow is above 1.5 times the 95th percentile of all answers: sigma 1 between callers, 0.5 within.
        let limit = 1.5_f64.ln() + 1.645 * 1.25_f64.sqrt();
        return (0..of.callers).map(|_| above((limit - random.normal()) / 0.5)).collect();
    }
    let mut chances = Vec::new();
    for (part, chance) in of.kinds {
        let count = (of.callers as f64 * part).round() as usize;
        chances.extend(std::iter::repeat_n(*chance, count));
    }
    chances.resize(of.callers, of.base);
    random.shuffle(&mut chances);
    chances
}

/// The chance that a normal value lies above, to 1e-7 (Abramowitz and Stegun, 26.2.17).
fn above(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - above(-z);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = series.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * sum
}

impl World<'_> {
    fn gap(&self, time: f64) -> f64 {
        match self.of.swing {
            Swing::Days(period) => 1.0 / (RATE * wave(time, period)),
            _ => 1.0 / RATE,
        }
    }

    fn caller(&mut self, activity: &Activity, time: f64) -> usize {
        let caller = activity.draw(&mut self.random);
        if let Swing::Days(period) = self.of.swing {
            // Whoever comes at the other time of the day is drawn again, once.
            let is_late = (time / period).fract() > 0.5;
            if caller.is_multiple_of(2) == is_late {
                return activity.draw(&mut self.random);
            }
        }
        caller
    }

    fn weight(&self) -> usize {
        self.edge * 100 / BUCKETS
    }

    fn is_over(&self, time: f64) -> bool {
        match self.of.steps {
            Steps::Fixed { seconds, .. } | Steps::Linear { seconds, .. } => time - self.step_began >= seconds,
            Steps::ByRequests(requests) => self.step_requests >= requests,
        }
    }

    /// False when there is none that could be compared.
    fn next_step(&mut self, time: f64) -> bool {
        match self.of.steps {
            Steps::Fixed { .. } => false,
            Steps::Linear { by, .. } if self.weight() + by >= 100 => false,
            Steps::ByRequests(_) if self.weight() >= 90 => false,
            Steps::Linear { .. } | Steps::ByRequests(_) => {
                self.step(time);
                true
            }
        }
    }

    fn step(&mut self, time: f64) {
        self.flush();
        let by = match self.of.steps {
            Steps::Fixed { weight, .. } => weight,
            Steps::Linear { by, .. } => by,
            Steps::ByRequests(_) => 10,
        };
        let (from, to) = (self.edge, self.edge + by * BUCKETS / 100);
        let side = |bucket| match bucket {
            _ if bucket < from => BucketSide::Out,
            _ if bucket < to => BucketSide::Moved,
            _ => BucketSide::Staying,
        };
        (self.edge, self.step_began, self.step_requests) = (to, time, 0);
        let sides: Vec<BucketSide> = (0..BUCKETS).map(side).collect();
        self.vote.step(&sides, &self.begun);
    }

    /// Requests that were good and not yet told.
    fn flush(&mut self) {
        let requests = std::mem::take(&mut self.pending);
        self.vote.observe(&CallerStratum { requests, bad: &[] });
    }

    /// One request with its retries; true when the vote says worse.
    fn request(&mut self, caller: usize, time: f64) -> bool {
        let again = if let Swing::Retries(most) = self.of.swing { most } else { 0 };
        for _ in 0..=again {
            let bucket = self.buckets[caller];
            let place = usize::from(bucket);
            self.begun[place] += 1;
            self.pending += 1;
            let is_candidate = place < self.edge;
            self.step_requests += u64::from(is_candidate);
            self.ran.candidate[0] += u64::from(is_candidate);
            let fails = self.fails(caller, is_candidate, time);
            if self.of.by_request {
                self.ask(is_candidate, fails, time);
                return false;
            }
            if !fails {
                return false;
            }
            self.ran.candidate[1] += u64::from(is_candidate);
            if self.is_lost(time) {
                return false;
            }
            let bad = [BucketCounts { bucket, begun: self.begun[place], bad: 1 }];
            let requests = std::mem::take(&mut self.pending);
            self.vote.observe(&CallerStratum { requests, bad: &bad });
            if self.is_worse(time) {
                return true;
            }
        }
        false
    }

    /// One request without a key: its side is drawn.
    fn keyless(&mut self, time: f64) {
        let is_candidate = self.random.chance(self.edge as f64 / BUCKETS as f64);
        self.ran.candidate[0] += u64::from(is_candidate);
        let fails = self.random.chance(self.chance_of(self.of.base, false, is_candidate, time));
        self.ran.candidate[1] += u64::from(is_candidate && fails);
        self.ask(is_candidate, fails, time);
    }

    fn ask(&mut self, is_candidate: bool, fails: bool, time: f64) {
        let takes = Some(Duration::from_secs_f64(0.02 * (0.5 * self.random.normal()).exp()));
        let class = if fails { Class::ServerError } else { Class::Success };
        self.requests.asked(Judged { is_candidate, began: Duration::from_secs_f64(time), takes, class });
    }

    fn look_at_requests(&mut self, time: f64) -> bool {
        if self.of.keyless == 0.0 && !self.of.by_request {
            return false;
        }
        let weight = Weight::new(self.edge as u16).expect("it is a part of all buckets");
        let verdict = self.requests.look(Duration::from_secs_f64(time), weight);
        let is_worse = matches!(verdict, Verdict::Worse(_));
        if is_worse {
            self.ran.found = Some((time, self.ran.candidate[0]));
        }
        is_worse
    }

    /// Whether what fails now is lost; a start that is due is made.
    fn is_lost(&mut self, time: f64) -> bool {
        let Swing::Restarts(every) = self.of.swing else { return false };
        if (time / every) as u64 > self.restarts {
            self.restarts += 1;
            let stored = serde_json::to_string(&self.vote).expect("numbers and texts are JSON");
            self.vote = serde_json::from_str(&stored).expect("what was stored is read again");
        }
        every - time % every < 3.0
    }

    fn fails(&mut self, caller: usize, is_candidate: bool, time: f64) -> bool {
        let chance = self.chance_of(self.chances[caller], self.broken[caller], is_candidate, time);
        self.random.chance(chance)
    }

    fn chance_of(&self, own: f64, is_broken: bool, is_candidate: bool, time: f64) -> f64 {
        let base = match self.of.swing {
            Swing::Wave(period) => (own * wave(time, period)).min(1.0),
            Swing::Outages(every) if time % every < 2.0 => 1.0,
            _ => own,
        };
        match self.of.defect {
            _ if !is_candidate => base,
            Defect::Each(extra, from) if time >= from => base + (1.0 - base) * extra,
            Defect::Some(_) if is_broken => 1.0,
            Defect::Odds(times) => base * times / (base * times + 1.0 - base),
            _ => base,
        }
    }

    fn is_worse(&mut self, time: f64) -> bool {
        let is_worse = matches!(self.vote.verdict(&self.begun, true), CallersVerdict::Worse(_));
        if is_worse {
            self.ran.found = Some((time, self.ran.candidate[0]));
        }
        is_worse
    }

    fn look(&mut self, time: f64) -> bool {
        let age = Duration::from_secs_f64(time - self.step_began);
        if !self.vote.is_due(age) {
            return false;
        }
        self.flush();
        self.vote.look(age, &self.begun, true);
        self.is_worse(time)
    }
}

/// Between 0.1 and 1.9.
fn wave(time: f64, period: f64) -> f64 {
    1.0 + 0.9 * (std::f64::consts::TAU * time / period).sin()
}
