//! The verdict under simulated load: how often it is wrong, what it sees, and that it outlives a restart.

use std::time::Duration;

use config::model::Margin;
use config::release::verdict::{Begun, Cause, Stratum, Verdict, Watch};
use config::value::weight::Weight;

use crate::load::{Looked, Rng, Slots, latency, until};

mod beginnings;
#[expect(dead_code, reason = "nothing starts again here")]
#[path = "../judged/mod.rs"]
mod judged;
mod load;

const ROLLOUTS: u64 = 2_000;

fn percent(n: u16) -> Weight {
    Weight::new(n * 100).expect("it is a percentage")
}

fn watch() -> Watch {
    Watch::new(Margin::default(), false)
}

/// How many of [`ROLLOUTS`] end with what is `wrong`.
fn count(wrong: impl Fn(&Verdict) -> bool, rollout: impl Fn(&mut Rng, &mut Watch) -> Verdict) -> u64 {
    (0..ROLLOUTS).filter(|&seed| wrong(&rollout(&mut Rng(seed << 32), &mut watch()))).count() as u64
}

/// Runs rollouts without any difference between the versions, and holds the false alarms to the margin's 1 %.
fn no_alarms(rollout: impl Fn(&mut Rng, &mut Watch) -> Verdict) {
    let alarms = count(|verdict| matches!(verdict, Verdict::Worse(_)), &rollout);
    assert!(alarms <= ROLLOUTS / 100, "{alarms} false alarms in {ROLLOUTS} rollouts");
    println!("{alarms} false alarms in {ROLLOUTS} rollouts");
}

/// A rollout of so many looks; stops at an alarm, whatever comes later.
fn looks(looks: u64, mut look: impl FnMut(u64) -> Verdict) -> Verdict {
    let mut verdict = Verdict::NoData;
    for n in 0..looks {
        verdict = look(n);
        if matches!(verdict, Verdict::Worse(_) | Verdict::Void(_)) {
            break;
        }
    }
    verdict
}

#[test]
fn independent_failures_raise_no_false_alarm() {
    no_alarms(|rng, watch| {
        let mut looked = Looked::new();
        looks(250, |_| {
            for _ in 0..100 {
                let (candidate, fails) = (rng.chance(0.05), rng.chance(0.01));
                looked.add(candidate, fails, latency(rng));
            }
            looked.look(watch, percent(5))
        })
    });
}

/// Pooled over the rollout, the candidate would have twice stable's rate.
#[test]
fn a_base_rate_that_rises_with_the_weight_raises_no_false_alarm() {
    no_alarms(|rng, watch| {
        let mut looked = Looked::new();
        looks(250, |n| {
            let weight = percent([5, 10, 25, 50][n as usize / 63]);
            let rate = 0.005 + 0.025 * n as f64 / 250.0;
            for _ in 0..100 {
                let (candidate, fails) = (rng.chance(f64::from(weight.basis_points()) / 1e4), rng.chance(rate));
                looked.add(candidate, fails, latency(rng) * (1 + n / 50));
            }
            looked.look(watch, weight)
        })
    });
}

/// Outages of both, short and long, in traffic that comes in bursts: from one request in a look to hundreds.
#[test]
fn outages_of_both_raise_no_false_alarm() {
    no_alarms(|rng, watch| {
        let weight = percent([10, 50, 90][rng.below(3) as usize]);
        let mut looked = Looked::new();
        let (mut left, mut outage) = (0, 0.0);
        looks(300, |_| {
            let requests = if rng.chance(0.1) { 1 + rng.below(600) } else { 1 + rng.below(20) };
            for _ in 0..requests {
                if left == 0 && rng.chance(0.002) {
                    (left, outage) = (1 + rng.below(300), 0.2 + 0.8 * rng.below(100) as f64 / 100.0);
                }
                let failing = left > 0;
                left -= u64::from(failing);
                let fails = rng.chance(if failing { outage } else { 0.002 });
                let candidate = rng.chance(f64::from(weight.basis_points()) / 1e4);
                looked.add(candidate, fails, latency(rng) * if failing { 20 } else { 1 });
            }
            looked.look(watch, weight)
        })
    });
}

/// Callers stay on their side, send many requests at once, and fail with all of them; each counts once in a look.
#[test]
fn callers_that_come_in_clusters_raise_no_false_alarm() {
    no_alarms(|rng, watch| {
        let mut looked = Looked::new();
        looks(250, |_| {
            // A trouble that strikes some callers of both sides.
            let rate = if rng.chance(0.1) { 0.3 } else { 0.01 };
            for _ in 0..1 + rng.below(60) {
                let (candidate, fails) = (rng.chance(0.1), rng.chance(rate));
                looked.add(candidate, fails, latency(rng));
            }
            looked.look(watch, percent(10))
        })
    });
}

/// Some callers fail with everything they ever send, whichever version they are given, and stay with it.
#[test]
fn callers_that_fail_for_ever_raise_no_false_alarm() {
    no_alarms(|rng, watch| {
        let mut looked = Looked::new();
        // On which side, and whether it is one of those; how often it has failed.
        let mut callers: Vec<(bool, bool, u64)> = (0..200).map(|_| (rng.chance(0.1), rng.chance(0.02), 0)).collect();
        looks(250, |_| {
            for (candidate, broken, failed) in &mut callers {
                match (rng.chance(0.2), *broken, *failed) {
                    (false, ..) => {}
                    (true, false, _) => looked.add(*candidate, rng.chance(0.001), latency(rng)),
                    (true, true, 0) => looked.add(*candidate, true, latency(rng)),
                    (true, true, _) => looked.add_repeated(*candidate, latency(rng)),
                }
                *failed += u64::from(*broken);
            }
            looked.look(watch, percent(10))
        })
    });
}

/// Ten callers of a candidate that breaks for all of them are enough, though each counts once.
#[test]
fn a_candidate_that_breaks_for_all_its_callers_is_seen_though_each_counts_once() {
    let seen = count(
        |verdict| matches!(verdict, Verdict::Worse(_)),
        |rng, watch| {
            let mut looked = Looked::new();
            looks(250, |n| {
                for caller in 0..100 {
                    let candidate = caller < 10;
                    let (comes, broken) = (rng.chance(0.2), candidate && n >= 100);
                    match (comes, broken, n) {
                        (false, ..) => {}
                        (true, true, 110..) => looked.add_repeated(candidate, latency(rng)),
                        (true, broken, _) => looked.add(candidate, broken, latency(rng)),
                    }
                }
                looked.look(watch, percent(10))
            })
        },
    );
    assert!(seen > ROLLOUTS * 99 / 100, "{seen} of {ROLLOUTS} rollouts");
}

/// Looks end where something fails, as they do when a failure wakes the verdict.
#[test]
fn looks_that_failures_cause_raise_no_false_alarm() {
    no_alarms(|rng, watch| {
        let mut slots = Slots::new(percent(5));
        let mut looked = Looked::new();
        let mut since = 0;
        looks(1_000, |_| {
            loop {
                let (candidate, fails) = (slots.next(rng), rng.chance(0.02));
                looked.add(candidate, fails, latency(rng));
                since = (since + 1) % 10;
                if fails || since == 0 {
                    return looked.look(watch, percent(5));
                }
            }
        })
    });
}

/// Exactly at one of the margins the candidate is not worse yet: twice as many failures, but 0.1 points.
#[test]
fn a_candidate_at_the_margin_is_not_called_worse() {
    no_alarms(|rng, watch| {
        let mut looked = Looked::new();
        looks(150, |_| {
            for _ in 0..200 {
                let candidate = rng.chance(0.5);
                looked.add(candidate, rng.chance(if candidate { 0.002 } else { 0.001 }), 10_000);
            }
            looked.look(watch, percent(50))
        })
    });
}

/// Exactly at the margin it is worse enough not to be called no worse: 1.2 times the odds, and 0.2 points.
#[test]
fn a_candidate_at_the_margin_is_not_called_no_worse() {
    let wrong = count(
        |verdict| *verdict == Verdict::NoWorse,
        |rng, watch| {
            let mut slots = Slots::new(percent(20));
            let mut looked = Looked::new();
            let mut verdict = Verdict::NoData;
            for request in 0..10_000 {
                let candidate = slots.next(rng);
                let fails = rng.chance(if candidate { 0.06 / 1.01 } else { 0.05 });
                looked.add(candidate, fails, 10_000);
                if fails || request % 10 == 0 {
                    verdict = looked.look(watch, percent(20));
                    if verdict == Verdict::NoWorse {
                        break;
                    }
                }
            }
            verdict
        },
    );
    assert!(wrong <= ROLLOUTS / 100, "{wrong} of {ROLLOUTS} rollouts wrongly called no worse");
    println!("{wrong} of {ROLLOUTS} rollouts wrongly called no worse");
}

#[test]
fn the_exact_split_and_random_draws_are_never_called_broken() {
    let broken = count(
        |verdict| matches!(verdict, Verdict::Void(_)),
        |rng, watch| {
            let exact = rng.chance(0.5);
            let mut slots = Slots::new(percent(20));
            let mut looked = Looked::new();
            looks(200, |_| {
                for _ in 0..50 {
                    let candidate = if exact { slots.next(rng) } else { rng.chance(0.2) };
                    looked.add(candidate, false, 10_000);
                }
                looked.look(watch, percent(20))
            })
        },
    );
    assert_eq!(broken, 0);
}

#[test]
fn a_split_that_does_not_do_what_its_weights_ask_makes_the_verdict_void() {
    let mut rng = Rng(7);
    let mut watch = watch();
    let mut looked = Looked::new();
    let verdict = looks(1_000, |_| {
        (0..100).for_each(|_| looked.add(rng.chance(0.065), rng.chance(0.01), 10_000));
        looked.look(&mut watch, percent(5))
    });
    assert!(matches!(verdict, Verdict::Void(_)), "{verdict}");
    let text = verdict.to_string();
    assert!(text.starts_with("void: ") && text.ends_with(", needed 10000"), "{text}");
    // What fails is still seen.
    let mut looked = Looked::new();
    looked.add_many(false, 950, 10);
    looked.add_many(true, 50, 40);
    let verdict = looked.look(&mut watch, percent(5));
    assert!(matches!(verdict, Verdict::Worse(Cause::Failures { .. })), "{verdict}");
}

#[test]
fn a_candidate_that_fails_everything_is_seen_within_a_handful_of_its_requests() {
    let worse = |verdict: &Verdict| matches!(verdict, Verdict::Worse(_));
    for weight in [1, 5, 20, 50] {
        for seed in 0..50 {
            let taken = until(&mut watch(), percent(weight), (0.01, 1.0), 2_000, seed, worse).unwrap();
            assert!(taken.candidate <= 16, "{} requests at {weight} %", taken.candidate);
        }
    }
}

/// The candidate gets everything, so that there is nobody to compare it with in the same time.
#[test]
fn a_candidate_that_fails_everything_is_seen_without_stable() {
    let mut watch = watch();
    let mut looked = Looked::new();
    looked.add_many(false, 500, 2);
    assert_eq!(looked.look(&mut watch, percent(0)), Verdict::NoData);
    let verdict = looks(10, |_| {
        looked.add_many(true, 1, 1);
        looked.look(&mut watch, percent(100))
    });
    let text = verdict.to_string();
    assert!(
        text.starts_with("worse: 3 of the candidate's first 3 requests failed while stable was healthy; e = "),
        "{text}"
    );
}

#[test]
fn a_candidate_that_breaks_late_is_seen_as_well() {
    let worse = |verdict: &Verdict| matches!(verdict, Verdict::Worse(_));
    for seed in 0..10 {
        let mut watch = watch();
        assert!(until(&mut watch, percent(5), (0.01, 0.01), 200_000, seed, worse).is_none());
        let taken = until(&mut watch, percent(5), (0.01, 1.0), 2_000, seed, worse).unwrap();
        assert!(taken.candidate <= 20, "{} requests", taken.candidate);
    }
}

#[test]
fn a_candidate_without_difference_is_shown_to_be_no_worse() {
    let no_worse = |verdict: &Verdict| *verdict == Verdict::NoWorse;
    for (rates, weight, most) in [((0.0, 0.0), 50, 30_000), ((0.0, 0.0), 5, 200_000), ((0.05, 0.05), 50, 200_000)] {
        let mut taken: Vec<u64> = (0..9)
            .map(|seed| until(&mut watch(), percent(weight), rates, most, seed, no_worse).map_or(u64::MAX, |t| t.total))
            .collect();
        taken.sort_unstable();
        assert!(taken[4] < u64::MAX, "{rates:?} at {weight} %: {taken:?}");
    }
}

#[test]
fn a_candidate_that_answers_slower_is_seen_and_told() {
    let mut rng = Rng(3);
    let mut watch = watch();
    let mut looked = Looked::new();
    let verdict = looks(200, |_| {
        for _ in 0..200 {
            let candidate = rng.chance(0.1);
            looked.add(candidate, false, latency(&mut rng) * if candidate { 5 } else { 1 });
        }
        looked.look(&mut watch, percent(10))
    });
    assert!(matches!(verdict, Verdict::Worse(Cause::Latency { .. })), "{verdict}");
    let text = verdict.to_string();
    let told = "of the candidate's answers were slower than stable's p95 before by more than 1.5 times and 25ms, and ";
    assert!(text.contains(told), "{text}");
}

#[test]
fn verdicts_tell_their_numbers() {
    let mut watch = watch();
    let mut looked = Looked::new();
    assert_eq!(watch.verdict().to_string(), "no data: stable or candidate has no requests");
    looked.add_many(false, 950, 4);
    looked.add_many(true, 50, 0);
    let text = looked.look(&mut watch, percent(5)).to_string();
    assert!(
        text.starts_with("not yet: 0 of 50 requests failed on the candidate, 4 of 950 on stable; about "),
        "{text}"
    );
    assert!(text.ends_with(", needed 100"), "{text}");
    looked.add_many(true, 50, 41);
    looked.add_many(false, 950, 0);
    let text = looked.look(&mut watch, percent(5)).to_string();
    assert!(
        text.starts_with("worse: 41 of 45 failures fell on the candidate, which had 5 % of requests; e = "),
        "{text}"
    );
    assert!(text.ends_with(", needed 200"), "{text}");
}

#[test]
fn what_is_missing_is_about_what_it_takes() {
    let no_worse = |verdict: &Verdict| *verdict == Verdict::NoWorse;
    let mut watch = watch();
    assert!(until(&mut watch, percent(50), (0.02, 0.02), 2_000, 1, no_worse).is_none());
    let Verdict::NotYet(needed) = watch.verdict() else { panic!("{}", watch.verdict()) };
    let mut taken: Vec<u64> = (0..9)
        .map(|seed| until(&mut watch.clone(), percent(50), (0.02, 0.02), 500_000, seed, no_worse).unwrap().candidate)
        .collect();
    taken.sort_unstable();
    let (said, took) = (needed.more.unwrap(), taken[4]);
    assert!(said / 3 < took && took < said * 3, "said {said}, took {took}");
}

#[test]
fn a_watch_goes_on_from_exactly_what_was_stored() {
    let mut rng = Rng(11);
    let mut watch = watch();
    let mut looked = Looked::new();
    for n in 0..3_000 {
        for _ in 0..50 {
            let (candidate, fails) = (rng.chance(0.2), rng.chance(0.02));
            looked.add(candidate, fails, latency(&mut rng));
        }
        looked.look(&mut watch, percent(20));
        if n % 100 == 0 {
            let text = serde_json::to_string(&watch).unwrap();
            assert!(text.len() < 5120, "{} bytes", text.len());
            assert_eq!(serde_json::from_str::<Watch>(&text).unwrap(), watch);
        }
    }
}

/// Whatever is counted: no panic, and numbers that can be stored.
#[test]
fn any_counts_leave_finite_numbers() {
    const MILLION: u64 = 1_000_000;
    let mut rng = Rng(5);
    let amounts = [0, 0, 1, 2, 20, 1_000, MILLION];
    for (alpha, ratio, points) in
        [(10_000, 1_200, 1_000), (0, 1_000, 0), (1_000_000, 0, 1_000_000), (1, 100_000, 999_999)]
    {
        let mut watch = Watch::new(Margin { alpha, ratio, points }, true);
        for _ in 0..300 {
            let mut looked = Looked::new();
            for candidate in [false, true] {
                let requests = amounts[rng.below(7) as usize];
                looked.add_many(candidate, requests, amounts[rng.below(7) as usize].min(requests));
            }
            let weight = [0, 1, 5_000, 9_999, 10_000][rng.below(5) as usize];
            let verdict = looked.look(&mut watch, Weight::new(weight).unwrap());
            assert!(!verdict.to_string().contains("NaN"), "{verdict}");
            let text = serde_json::to_string(&(&watch, watch.evidence())).unwrap();
            assert!(!text.contains("null"), "{text}");
        }
    }
}

#[test]
fn client_errors_count_where_the_plan_says_so() {
    for (counted, worse) in [(false, false), (true, true)] {
        let mut watch = Watch::new(Margin::default(), counted);
        let (stable, mut candidate) = (Begun::answered(1_000, 0), Begun::answered(50, 0));
        candidate.classes.swap(0, 1);
        let (weight, stakes) = (percent(5), watch.stakes());
        watch.observe(&Stratum { stable, candidate, weight, stakes, is_drawn: true, began: Duration::ZERO });
        assert_eq!(matches!(watch.verdict(), Verdict::Worse(_)), worse);
    }
}
