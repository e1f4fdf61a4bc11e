//! One weight change from accepted edit to live, through writer, store, watch and publisher; and what a thread that
//! resolves notices of it.
//!
//! `cargo bench --bench swap -- 1000 10000` chooses the numbers of domains. Most of the time goes into filling the store.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use config::route::head::RequestHead;
use config::route::resolve::Unresolved;
use config::text::edit::{Edit, FunctionEdit};
use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion};
use gateway::control::{AllowEmpty, Author, Control, Wish};
use gateway::live::Live;
use gateway::store::memory::Memory;
use http::HeaderMap;
use tokio::runtime::Runtime;

#[path = "../config/benches/fleet/mod.rs"]
mod fleet;
mod plane;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many domains there are, unless the command line says otherwise.
const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// How many domains one function has.
const PER_FUNCTION: usize = 10;

/// How long a reader is watched.
const WATCHED: Duration = Duration::from_millis(1_500);

/// How many requests a reader resolves between two looks at the clock.
const CHUNK: u32 = 1024;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    let rows: Vec<String> = plane::sizes(&SIZES).into_iter().map(|domains| swap(&mut criterion, domains)).collect();
    criterion.final_summary();
    println!("\n| domains | edit to live, median us | best | worst | resolves per second | during changes |");
    println!("|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
}

fn swap(criterion: &mut Criterion, domains: usize) -> String {
    let runtime = plane::runtime();
    let mut gateway = Gateway::new(&runtime, domains);
    criterion.benchmark_group("swap").bench_function(BenchmarkId::new("weight", domains), |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| gateway.change(&runtime)).sum());
    });
    let live = Arc::clone(&gateway.live);
    let quiet = resolves_per_second(&live, domains, || thread::sleep(WATCHED));
    let mut times = Vec::new();
    let busy = resolves_per_second(&live, domains, || {
        let start = WallTime.start();
        while start.elapsed() < WATCHED {
            times.push(gateway.change(&runtime));
        }
    });
    times.sort_unstable();
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    format!(
        "| {domains} | {:.0} | {:.0} | {:.0} | {quiet:.0} | {busy:.0} |",
        us(times[times.len() / 2]),
        us(times[0]),
        us(times[times.len() - 1]),
    )
}

/// What one thread resolves while `meanwhile` runs, by the median of its chunks: interruptions by other programs do not
/// count, those by the change itself do when they are many.
fn resolves_per_second(live: &Live, domains: usize, meanwhile: impl FnOnce()) -> f64 {
    let stop = AtomicBool::new(false);
    let hosts: Vec<String> = (0..10).map(|number| fleet::host(number * (domains / 10))).collect();
    let mut chunks = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (headers, mut chunks) = (HeaderMap::new(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let start = WallTime.start();
                for at in 0..CHUNK {
                    let served = serve(live, &hosts[at as usize % hosts.len()], &headers);
                    assert!(black_box(served).is_ok(), "every host is served in every revision");
                }
                chunks.push(WallTime.end(start));
            }
            chunks
        });
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("the reader does not panic")
    });
    chunks.sort_unstable();
    f64::from(CHUNK) / chunks[chunks.len() / 2].as_secs_f64()
}

fn serve(live: &Live, host: &str, headers: &HeaderMap) -> Result<(), Unresolved> {
    let client = "192.0.2.7".parse().expect("an address");
    let head = RequestHead { method: "GET", host, path: "/products/42", query: None, headers, client };
    let snapshot = live.load();
    let way = snapshot.route(&head)?;
    snapshot.choose(&head, &way).map(|served| drop(black_box((way, served))))
}

/// The control plane without a listener.
struct Gateway {
    live: Arc<Live>,
    control: Control,
    domains: usize,
    percent: u64,
}

impl Gateway {
    fn new(runtime: &Runtime, domains: usize) -> Self {
        let (live, control) = plane::start(runtime, Arc::new(Memory::default()), plane::metrics(), Arc::default());
        let config = fleet::fleet(domains, PER_FUNCTION, &config::model::Alias::new(fleet::split(5)), "prod");
        runtime
            .block_on(control.apply_file(Author::of("bench"), config, AllowEmpty(false), false))
            .expect("the fleet is valid");
        Self { live, control, domains, percent: 5 }
    }

    /// Gives one alias other weights; answers how long it took until they were live.
    fn change(&mut self, runtime: &Runtime) -> Duration {
        self.percent = 5 + (self.percent + 1) % 5;
        let function = fleet::function_name(self.domains / PER_FUNCTION / 2).parse().expect("a name");
        let shift = FunctionEdit::Shift("prod".parse().expect("a name"), fleet::split(self.percent));
        let edits = vec![Edit::Function(function, shift)];
        let start = WallTime.start();
        runtime
            .block_on(self.control.edit(Wish { author: Author::of("bench"), edits, guard: None }))
            .expect("a valid edit");
        WallTime.end(start)
    }
}
