//! Threshold gates at one step of ten minutes: one side against a limit of 1 %, by windows and as it was asked before.

use std::time::Duration;

use config::release::verdict::{Tally, WINDOW_REQUESTS, Windows};

use crate::random::Random;

/// The limit.
pub(crate) const LIMIT: f64 = 0.01;
/// The bake, in seconds.
const BAKE: u64 = 600;
/// Requests of the candidate before an answer.
const LEAST: u64 = 100;
/// The candidate's part of the requests.
const SHARE: f64 = 0.1;

/// How failures come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failures {
    Independent,
    /// In runs of so many requests one after the other.
    Runs(u64),
    /// In times of so many seconds in which everything fails.
    Outages(f64),
    /// Of so many callers some, drawn with the rate as their chance, fail always.
    Callers(usize),
}

/// Requests per second of both sides, the mean part that fails, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateWorld {
    pub(crate) rate: f64,
    pub(crate) failing: f64,
    pub(crate) how: Failures,
}

/// What a bake ends with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Baked {
    /// Seconds until windows send it back.
    pub(crate) by_windows: Option<u64>,
    /// The same by the estimate at every look, from 100 requests on.
    pub(crate) by_looks: Option<f64>,
    /// At the end: within the limit.
    pub(crate) passes: bool,
    /// The mean of what was really drawn lies above the limit.
    pub(crate) is_over: bool,
}

/// Runs one bake, in looks of 0.1 s.
pub(crate) fn bake(world: &GateWorld, seed: u64) -> Baked {
    let mut random = Random::new(seed);
    let mut windows = Windows::new(LIMIT);
    let mut source = Source::new(world, &mut random);
    let (mut owed, mut all) = (0.0, Tally::default());
    let mut baked = Baked { by_windows: None, by_looks: None, passes: false, is_over: false };
    for look in 1..=BAKE * 10 {
        owed += world.rate * SHARE / 10.0;
        let mut more = Tally::default();
        while owed >= 1.0 - 1e-9 {
            owed -= 1.0;
            more.requests += 1;
            more.failures += u64::from(source.fails(look as f64 / 10.0, &mut random));
        }
        all.requests += more.requests;
        all.failures += more.failures;
        let age = Duration::from_millis(100 * look);
        windows.add(age, Duration::from_secs(BAKE / 60), WINDOW_REQUESTS, more);
        let is_above = all.failures as f64 > LIMIT * all.requests as f64;
        if all.requests >= LEAST && is_above {
            baked.by_looks = baked.by_looks.or(Some(age.as_secs_f64()));
        }
        if windows.exceeded(0.01).is_some() {
            baked.by_windows = Some(age.as_secs());
            break;
        }
        (baked.passes, baked.is_over) = (all.requests >= LEAST && !is_above, is_above);
    }
    baked
}

struct Source {
    world: GateWorld,
    /// Of a run.
    left: u64,
    outages: Vec<f64>,
    callers: Vec<bool>,
}

impl Source {
    fn new(world: &GateWorld, random: &mut Random) -> Self {
        let mut source = Self { world: *world, left: 0, outages: Vec::new(), callers: Vec::new() };
        match world.how {
            Failures::Outages(seconds) => {
                let mut time = 0.0;
                while time < BAKE as f64 {
                    time += random.exponential(seconds / world.failing);
                    source.outages.push(time);
                }
            }
            Failures::Callers(count) => {
                source.callers = (0..count).map(|_| random.chance(world.failing)).collect();
            }
            Failures::Independent | Failures::Runs(_) => {}
        }
        source
    }

    fn fails(&mut self, time: f64, random: &mut Random) -> bool {
        match self.world.how {
            Failures::Independent => random.chance(self.world.failing),
            Failures::Runs(length) => {
                if self.left == 0 && random.chance(self.world.failing / length as f64) {
                    self.left = length;
                }
                let is_failing = self.left > 0;
                self.left = self.left.saturating_sub(1);
                is_failing
            }
            Failures::Outages(seconds) => self.outages.iter().any(|began| (*began..*began + seconds).contains(&time)),
            Failures::Callers(count) => self.callers[random.below(count)],
        }
    }
}
