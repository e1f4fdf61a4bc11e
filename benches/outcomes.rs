//! What it costs a request to be drawn and to have its outcome counted, on one thread and on two at once.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use config::release::outcome::Class;
use config::release::verdict::Limits;
use criterion::{Criterion, criterion_group, criterion_main};
use gateway::clock;
use gateway::outcomes::{Ended, Outcomes, Wake, begin_stratum};

const REQUESTS: u16 = 10_000;

fn requests(outcomes: &Outcomes, worker: usize, at: Instant, ended: impl Fn(u16) -> (Class, Option<u16>)) {
    for n in 0..REQUESTS {
        let (class, bucket) = ended(black_box(n));
        let ticket = outcomes.begin(worker, bucket, at);
        outcomes.ended(worker, &ticket, &Ended { class, latency: Some(Duration::from_micros(n.into())), at });
    }
}

fn bench(criterion: &mut Criterion) {
    let at = clock::now();
    let outcomes = Arc::new(Outcomes::new(2, Arc::new(Wake::new(at)), at));
    outcomes.watch(true);
    let mut group = criterion.benchmark_group("outcomes of 10 000 requests");
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("keyless", |b| b.iter(|| requests(&outcomes, 0, at, |_| (Class::Success, None))));
    group.bench_function("failures", |b| b.iter(|| requests(&outcomes, 0, at, |_| (Class::Reset, None))));
    group.bench_function("by bucket", |b| {
        b.iter(|| {
            begin_stratum([&outcomes, &outcomes], Limits::default(), None);
            requests(&outcomes, 0, at, |n| (Class::Success, Some(n)));
        });
    });
    group.bench_function("keyless, two workers", |b| {
        b.iter(|| {
            thread::scope(|scope| {
                for worker in 0..2 {
                    let outcomes = &outcomes;
                    scope.spawn(move || requests(outcomes, worker, at, |_| (Class::Success, None)));
                }
            });
        });
    });
    group.finish();
    black_box(outcomes.counts());
}

criterion_group!(benches, bench);
criterion_main!(benches);
