//! How many requests a verdict takes, and what one look costs: the tables of "How quickly a bad version is seen" in the README.

use std::hint::black_box;
use std::time::Duration;

use config::model::Margin;
use config::release::verdict::{Begun, Stratum, Verdict, Watch};
use config::value::weight::Weight;
use criterion::Criterion;

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/verdict/load.rs"]
mod load;

/// How many rollouts a median is of.
const ROLLOUTS: u64 = 101;

/// The most requests that a rollout gets.
const MOST: u64 = 5_000_000;

fn main() {
    let five = Weight::new(500).expect("it is below 10 000");
    let half = Weight::new(5_000).expect("it is below 10 000");
    println!("| stable fails | candidate fails | weight | verdict | requests of the candidate | requests in total |");
    println!("|---|---|---|---|---|---|");
    for candidate in [0.02, 0.03, 0.06, 0.11, 0.51, 1.0] {
        row(five, (0.01, candidate), "worse", |verdict| matches!(verdict, Verdict::Worse(_)));
    }
    for (weight, rate) in [(five, 0.0), (half, 0.0), (five, 0.001), (half, 0.001), (five, 0.01), (half, 0.01)] {
        row(weight, (rate, rate), "no worse", |verdict| *verdict == Verdict::NoWorse);
    }
    cost();
}

/// Medians over [`ROLLOUTS`].
fn row(weight: Weight, rates: (f64, f64), name: &str, wished: impl Fn(&Verdict) -> bool + Copy) {
    let rollout = |seed: u64| {
        let mut watch = Watch::new(Margin::default(), false);
        let taken = load::until(&mut watch, weight, rates, MOST, seed << 32, wished);
        taken.map_or((u64::MAX, u64::MAX), |taken| (taken.candidate, taken.total))
    };
    let mut taken: Vec<(u64, u64)> = (0..ROLLOUTS).map(rollout).collect();
    taken.sort_unstable();
    let (candidate, total) = taken[ROLLOUTS as usize / 2];
    let shown = |n: u64| if n == u64::MAX { format!("above {MOST}") } else { n.to_string() };
    let (stable, rate) = (100.0 * rates.0, 100.0 * rates.1);
    println!("| {stable} % | {rate} % | {weight} % | {name} | {} | {} |", shown(candidate), shown(total));
}

/// One look of a typical 100 ms, and of a very large one.
fn cost() {
    let mut criterion =
        Criterion::default().sample_size(20).measurement_time(Duration::from_secs(1)).configure_from_args();
    for (name, requests, failures) in
        [("100 requests", 100, 1), ("10 000 requests", 10_000, 100), ("a million", 1_000_000, 10_000)]
    {
        let side = |share: u64| {
            let failed = (failures * share).div_ceil(100);
            Begun::answered((requests - failures) * share / 100 + failed, failed)
        };
        let (stable, candidate) = (side(95), side(5));
        let weight = Weight::new(500).expect("it is below 10 000");
        let mut watch = Watch::new(Margin::default(), false);
        criterion.bench_function(&format!("look at {name}"), |bench| {
            bench.iter(|| {
                let (stable, candidate, stakes) = (black_box(stable), black_box(candidate), watch.stakes());
                watch.observe(&Stratum { stable, candidate, weight, stakes, is_drawn: true, began: Duration::ZERO });
                watch.verdict()
            });
        });
    }
}
