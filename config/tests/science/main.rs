//! What a verdict is worth, in simulated worlds: how often it is wrong where nothing is wrong, and what it sees where something is.
//!
//! `make science` runs every world with all its rollouts (`config/benches/science.rs`); here is a cut of them with fixed seeds.

use config::model::Margin;
use config::release::verdict::Watch;
use config::release::verdict::votes::CallersVote;

use crate::callers::{Callers, run, run_by};
use crate::compared::{AtLimit, GATES, SHAPES, plan, sent_back};
use crate::counted::{each, hold, median, share};
use crate::gates::{Failures, GateWorld, LIMIT, bake};
use crate::keyless::{by_beginnings, is_worse};
use crate::random::Activity;
use crate::tables::{NULLS, OTHERS, POWERS, claimed, power};
use crate::worlds::{EVEN_SPEEDS, HANGS, KEYLESS, KEYLESS_CLAIMED, SLOWER, SPEED_CLAIMED, held};

mod callers;
mod compared;
mod counted;
mod gates;
mod intervals;
#[path = "../judged/mod.rs"]
mod judged;
mod keyless;
mod random;
mod tables;
#[expect(dead_code, reason = "the suite of `make science` makes the tables of the README")]
mod worlds;

/// Rollouts of a world without a difference.
const NULL_RUNS: u64 = 40;
/// Rollouts of a world with one.
const POWER_RUNS: u64 = 41;

/// Counts false alarms over all worlds: a part that is too large in each of them by a little is seen in the sum.
#[derive(Default)]
struct Alarms {
    wrong: u64,
    runs: u64,
    expected: f64,
    broken: Vec<String>,
}

impl Alarms {
    fn count(&mut self, name: &str, claimed: f64, wrong: impl IntoIterator<Item = bool>) {
        let (mut hits, mut runs) = (0, 0);
        for is_wrong in wrong {
            hits += u64::from(is_wrong);
            runs += 1;
        }
        println!("{name}: {hits} of {runs}, {:?}", share(hits, runs));
        self.broken.extend(hold(name, claimed, hits, runs).err());
        (self.wrong, self.runs, self.expected) =
            (self.wrong + hits, self.runs + runs, self.expected + claimed * runs as f64);
    }

    /// The bounds that do not hold.
    fn found(mut self) -> Vec<String> {
        let claimed = self.expected / self.runs.max(1) as f64;
        self.broken.extend(hold("all worlds", claimed, self.wrong, self.runs).err());
        self.broken
    }
}

/// True for each of the first rollouts of a world that is called worse.
fn called(world: &Callers, z: f64, runs: u64) -> Vec<bool> {
    let activity = Activity::new(world.callers, z);
    let members = u64::from(world.members);
    each(runs, 1, |seed| (0..members).any(|member| run(world, &activity, seed * members + member).found.is_some()))
}

#[test]
fn callers_without_a_difference_are_not_called_worse() {
    let mut alarms = Alarms::default();
    for world in NULLS {
        for z in [0.0, 1.0] {
            alarms.count(&format!("{}, z {z}", world.name), claimed(world), called(world, z, NULL_RUNS));
        }
    }
    assert_eq!(alarms.found(), Vec::<String>::new());
}

/// A bound that no judge can break holds nothing.
#[test]
fn a_judge_of_callers_that_is_wrong_is_caught() {
    let mut careless = Alarms::default();
    let mut by_request = Alarms::default();
    for world in NULLS.iter().filter(|world| world.members == 1 && world.keyless == 0.0) {
        let activity = Activity::new(world.callers, 1.0);
        let margin = Margin { alpha: 1_000_000, ..Margin::default() };
        let vote = || CallersVote::new(world.about, margin, 1.0);
        let found = each(NULL_RUNS, 1, |seed| run_by(world, &activity, seed, vote()).found.is_some());
        careless.count(world.name, claimed(world), found);
        if world.alone {
            let world = Callers { by_request: true, ..*world };
            by_request.count(world.name, claimed(&world), called(&world, 1.0, NULL_RUNS));
        }
    }
    assert!(!careless.found().is_empty(), "a vote whose alpha is all");
    assert!(!by_request.found().is_empty(), "requests of one caller, judged as if they were independent");
}

#[test]
fn defects_of_all_callers_are_found_as_soon_as_the_design_says() {
    for (base, weight, callers, found) in POWERS.iter().filter(|row| row.1 == 10 && row.2 == 1_000) {
        let activity = Activity::new(*callers, 1.0);
        for (extra, _, expected) in &found[..4] {
            let world = power(*base, *weight, *callers, *extra);
            let requests = each(POWER_RUNS, 1, |seed| run(&world, &activity, seed).found);
            let requests: Vec<f64> = requests.into_iter().flatten().map(|(_, requests)| requests as f64).collect();
            let middle = median(requests, POWER_RUNS as usize).unwrap_or(f64::INFINITY);
            assert!(middle <= 1.5 * *expected as f64 + 1.0, "base {base}, +{extra}: {middle}, not {expected}");
        }
    }
}

#[test]
fn late_defects_and_those_of_some_callers_are_found() {
    for world in &OTHERS[..3] {
        let activity = Activity::new(world.callers, 1.0);
        let found = each(20, 1, |seed| run(world, &activity, seed).found.is_some());
        let count = found.iter().filter(|is| **is).count();
        assert!(count >= 19, "{}: {count} of 20", world.name);
    }
}

#[test]
fn few_callers_are_said_to_be_too_few() {
    let activity = Activity::new(100, 1.0);
    let few = each(100, 1, |seed| run(&power(0.0, 5, 100, 1.0), &activity, seed).too_few);
    let few = few.into_iter().filter(|is| *is).count();
    assert!((15..=35).contains(&few), "{few} of 100 rollouts, the design says 25");
}

#[test]
fn sound_candidates_are_not_sent_back_by_windows_and_bad_ones_are() {
    let back = |rate, failing, how| {
        let world = GateWorld { rate, failing, how };
        let baked = each(100, 1, |seed| bake(&world, seed));
        let times: Vec<f64> = baked.iter().filter_map(|baked| baked.by_windows).map(|time| time as f64).collect();
        (times.len() as u64, median(times, 100))
    };
    for rate in [20.0, 200.0] {
        for times in [0.3, 0.5, 0.8, 1.0] {
            let (count, _) = back(rate, times * LIMIT, Failures::Independent);
            assert!(count <= counted::most(0.01, 100), "{rate}/s, {times} times: {count} of 100");
        }
        let (count, time) = back(rate, 5.0 * LIMIT, Failures::Independent);
        assert!(count == 100 && time.unwrap() <= 135.0, "{rate}/s: {count} of 100 after {time:?} s");
        assert!(back(rate, 1.0, Failures::Independent).1.unwrap() <= 30.0);
    }
    for how in [Failures::Runs(5), Failures::Outages(2.0), Failures::Callers(10_000)] {
        for times in [0.3, 0.5, 0.8] {
            let (count, _) = back(200.0, times * LIMIT, how);
            assert!(count <= counted::most(0.01, 100), "{how:?}, {times} times: {count} of 100");
        }
    }
}

#[test]
fn intervals_cover_the_truth_at_every_second() {
    let charts = [([0.01, 0.01], None), ([0.01, 0.01], Some(60.0)), ([0.0, 0.05], None), ([0.2, 0.2], None)];
    for (rates, period) in charts {
        let missed = each(10, 1, |seed| intervals::chart(rates, period, seed).missed);
        let missed = missed.into_iter().filter(|is| *is).count() as u64;
        assert!(missed <= counted::most(0.01, 10), "{rates:?}: {missed} of 10");
    }
    let missed = each(50, 1, |seed| intervals::p95(seed).0).into_iter().filter(|is| *is).count() as u64;
    assert!(missed <= counted::most(0.01, 50), "p95: {missed} of 50");
}

#[test]
fn widths_of_a_chart_are_those_of_the_design() {
    let close = |got: f64, expected: f64| got < expected * 1.25 && got > expected / 1.25;
    for (rates, expected) in [([0.01; 2], [8.6, 2.5, 1.0]), ([0.0; 2], [4.1, 0.42, 0.07])] {
        let charts = each(5, 1, |seed| intervals::chart(rates, None, seed).widths);
        for (place, expected) in expected.into_iter().enumerate() {
            let got = median(charts.iter().map(|widths| widths[place]).collect(), 5).unwrap();
            assert!(close(got, expected), "{rates:?} at look {place}: {got} points, not {expected}");
        }
    }
}

#[test]
fn keyless_worlds_without_a_difference_are_not_called_worse() {
    let mut alarms = Alarms::default();
    for world in KEYLESS {
        let found = each(NULL_RUNS, 1, |seed| by_beginnings(world, seed).finding.is_some());
        alarms.count(world.name, KEYLESS_CLAIMED, found);
    }
    for world in EVEN_SPEEDS {
        let found = each(NULL_RUNS / 4, 1, |seed| by_beginnings(world, seed).finding.is_some_and(|one| one.is_speed));
        alarms.count(world.name, SPEED_CLAIMED, found);
    }
    assert_eq!(alarms.found(), Vec::<String>::new());
}

#[test]
fn a_judge_of_requests_that_is_wrong_is_caught() {
    let mut alarms = Alarms::default();
    for world in KEYLESS {
        let careless = || Watch::new(Margin { alpha: 1_000_000, ..Margin::default() }, false);
        let run = |seed| keyless::run(world, seed, careless(), is_worse, |_| {}).finding.is_some();
        alarms.count(world.name, KEYLESS_CLAIMED, each(NULL_RUNS / 4, 1, run));
    }
    assert!(!alarms.found().is_empty(), "a verdict whose alpha is all");
}

#[test]
fn slower_and_hanging_candidates_are_found_as_soon_as_the_design_says() {
    for (world, expected) in SLOWER.iter().chain(&[(HANGS, 1.2)]) {
        let found = each(5, 1, |seed| by_beginnings(world, seed).finding.map(|found| found.seconds));
        let middle = median(found.into_iter().flatten().collect(), 5).unwrap_or(f64::INFINITY);
        assert!(middle <= 1.5 * expected, "{}: {middle} s, not {expected}", world.name);
    }
}

#[test]
fn defects_of_requests_are_found_after_as_few_as_the_readme_says() {
    for (stable, candidate, weight, expected) in [
        (0.0, 1.0, 5, 4.0),
        (0.01, 1.0, 10, 6.0),
        (0.0, 0.1, 5, 50.0),
        (0.01, 0.11, 5, 80.0),
        (0.01, 0.03, 5, 800.0),
        (0.01, 0.02, 5, 5_000.0),
    ] {
        let world = held(stable, candidate, weight);
        let found = each(POWER_RUNS, 1, |seed| by_beginnings(&world, seed).finding.map(|found| found.candidate as f64));
        let middle = median(found.into_iter().flatten().collect(), POWER_RUNS as usize).unwrap_or(f64::INFINITY);
        assert!(middle <= expected * 1.2 + 1.0, "{stable} to {candidate}: {middle} requests, not {expected}");
    }
}

/// Gates that compare with stable, at their limits: rates are compared, not odds, which differ where failures are not rare.
#[test]
fn candidates_at_a_limit_that_compares_are_not_sent_back() {
    let mut alarms = Alarms::default();
    for (name, gate, worlds) in GATES {
        for (shape, text) in SHAPES {
            let plan = plan(text, gate);
            for world in *worlds {
                let back = each(NULL_RUNS / 2, 1, |seed| sent_back(&plan, *world, seed).is_some());
                alarms.count(&format!("{name}, {}, {shape}", world.told()), 0.01, back);
            }
        }
    }
    assert_eq!(alarms.found(), Vec::<String>::new());
}

#[test]
fn candidates_beyond_a_limit_that_compares_are_sent_back() {
    for (gate, world) in [
        ("{error_rate: {ratio: 2}}", AtLimit::Times(0.01, 5.0)),
        ("{error_rate: {ratio: 2}}", AtLimit::Times(0.3, 2.8)),
        ("{error_rate: {points: 5}}", AtLimit::More(0.01, 0.15)),
        ("{latency: {p95: {ratio: 1.5}}}", AtLimit::Slower(3.0)),
    ] {
        let plan = plan(SHAPES[1].1, gate);
        let back = each(9, 1, |seed| sent_back(&plan, world, seed).is_some());
        assert!(back.iter().all(|back| *back), "{gate}, {world:?}: {back:?}");
    }
}
