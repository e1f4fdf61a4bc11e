//! What a verdict is worth, in simulated worlds: how often it is wrong where nothing is wrong, and what it sees where something is.
//!
//! `make science` runs every world with all its rollouts (`config/benches/science.rs`); here is a cut of them with fixed seeds.

use crate::callers::{Callers, run};
use crate::counted::{each, median, most, share};
use crate::gates::{Failures, GateWorld, LIMIT, bake};
use crate::keyless::{KEYLESS, by_beginnings};
use crate::random::Activity;
use crate::tables::{CLAIMED, NULLS, OTHERS, POWERS, power};

mod callers;
mod counted;
mod gates;
mod intervals;
#[expect(dead_code, reason = "the suite of `make science` tells the rest")]
mod keyless;
mod random;
mod tables;

/// Rollouts of a world without a difference.
const NULL_RUNS: u64 = 20;
/// Rollouts of a world with one.
const POWER_RUNS: u64 = 41;

/// How many of the first rollouts of a world are called worse.
fn called(world: &Callers, z: f64, runs: u64) -> u64 {
    let activity = Activity::new(world.callers, z);
    let is_called = |seed: u64| {
        let members = u64::from(world.members);
        (0..members).any(|member| run(world, &activity, seed * members + member).found.is_some())
    };
    each(runs, 1, is_called).into_iter().filter(|is| *is).count() as u64
}

#[test]
fn callers_without_a_difference_are_not_called_worse() {
    for world in NULLS {
        for z in [0.0, 1.0] {
            let wrong = called(world, z, NULL_RUNS);
            println!("{}, z {z}: {wrong} of {NULL_RUNS}, {:?}", world.name, share(wrong, NULL_RUNS));
            assert!(wrong <= most(CLAIMED, NULL_RUNS), "{}, z {z}: {wrong} of {NULL_RUNS}", world.name);
        }
    }
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
            assert!(count <= most(0.01, 100), "{rate}/s, {times} times: {count} of 100");
        }
        let (count, time) = back(rate, 5.0 * LIMIT, Failures::Independent);
        assert!(count == 100 && time.unwrap() <= 135.0, "{rate}/s: {count} of 100 after {time:?} s");
        assert!(back(rate, 1.0, Failures::Independent).1.unwrap() <= 30.0);
    }
    for how in [Failures::Runs(5), Failures::Outages(2.0), Failures::Callers(10_000)] {
        for times in [0.3, 0.5, 0.8] {
            let (count, _) = back(200.0, times * LIMIT, how);
            assert!(count <= most(0.01, 100), "{how:?}, {times} times: {count} of 100");
        }
    }
}

#[test]
fn intervals_cover_the_truth_at_every_second() {
    let charts = [([0.01, 0.01], None), ([0.01, 0.01], Some(60.0)), ([0.0, 0.05], None), ([0.2, 0.2], None)];
    for (rates, period) in charts {
        let missed = each(10, 1, |seed| intervals::chart(rates, period, seed).missed);
        let missed = missed.into_iter().filter(|is| *is).count() as u64;
        assert!(missed <= most(0.01, 10), "{rates:?}: {missed} of 10");
    }
    let missed = each(50, 1, |seed| intervals::p95(seed).0).into_iter().filter(|is| *is).count() as u64;
    assert!(missed <= most(0.01, 50), "p95: {missed} of 50");
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
    for world in KEYLESS {
        let wrong =
            each(20, 1, |seed| by_beginnings(world, seed).is_some()).into_iter().filter(|is| *is).count() as u64;
        assert!(wrong <= most(0.01, 20), "{}: {wrong} of 20", world.name);
    }
}
