//! What one look of the verdict costs. How many requests it takes is measured by `make science`.

use std::hint::black_box;
use std::time::Duration;

use config::model::Margin;
use config::release::verdict::{Begun, Stratum, Watch};
use config::value::weight::Weight;
use criterion::Criterion;

/// One look of a typical 100 ms, and of a very large one.
fn main() {
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
