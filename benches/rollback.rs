//! From a candidate that begins to fail to stable having everything: what is detected, stored on a real file, and live.
//!
//! `cargo bench --bench rollback -- 1 10000` chooses the numbers of domains. A burst of failures is counted as the data path
//! counts them, and the live table is watched until it sends nothing to the candidate any more.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use config::model::{Alias, Config};
use config::release::outcome::Class;
use config::release::rollout::{Ask, Asked, RolloutId, Speaker};
use config::text::parse::parse_plan;
use config::value::name::{FunctionName, VersionId};
use criterion::measurement::{Measurement, WallTime};
use gateway::clock;
use gateway::control::{AllowEmpty, Author, Control};
use gateway::live::Live;
use gateway::outcomes::Ended;
use gateway::store::embedded::Embedded;
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[path = "../config/benches/fleet/mod.rs"]
mod fleet;
mod plane;

struct Plane {
    live: Arc<Live>,
    control: Control,
}

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many domains there are, unless the command line says otherwise.
const SIZES: [usize; 2] = [1_000, 10_000];
const ROLLOUTS: usize = 200;
/// Requests that fail at once.
const BURST: u32 = 50;

fn main() {
    let rows: Vec<String> = plane::sizes(&SIZES).into_iter().map(row).collect();
    println!(
        "\n| domains | failures to live, median ms | 99 of 100, ms | mean: detected, ms | stored, ms | live, us |"
    );
    println!("|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
}

fn row(domains: usize) -> String {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder under target");
    let store = Embedded::open(&folder.path().join("weir-state.db")).expect("a new store");
    let runtime = plane::runtime();
    let metrics = plane::metrics();
    let (live, control) = plane::start(&runtime, Arc::new(store), Arc::clone(&metrics), Arc::default());
    let plane = Plane { live, control };
    let fleet = fleet::fleet(domains, 1, &Alias::new(fleet::split(0)), "prod");
    fill(&runtime, &plane, fleet);
    let functions = (0..ROLLOUTS).map(|rollout| fleet::function_name(rollout * 7 % domains));
    let functions = functions.map(|name| name.parse().expect("a name"));
    let mut times: Vec<Duration> = functions.map(|function| roll_back(&runtime, &plane, &function)).collect();
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let [detected, stored, live] =
        metrics.rollback.each_ref().map(|part| part.get_sample_sum() / part.get_sample_count() as f64 * 1e3);
    format!(
        "| {domains} | {:.2} | {:.2} | {detected:.2} | {stored:.2} | {:.0} |",
        ms(times[ROLLOUTS / 2]),
        ms(times[ROLLOUTS * 99 / 100]),
        live * 1e3,
    )
}

fn fill(runtime: &Runtime, plane: &Plane, fleet: Config) {
    runtime
        .block_on(plane.control.apply_file(Author::of("bench"), fleet, AllowEmpty(false), false))
        .expect("the fleet is valid");
}

fn number(version: u32) -> VersionId {
    VersionId::number(version).expect("from 1")
}

/// How long it takes from failures of the candidate until the table gives it nothing.
fn roll_back(runtime: &Runtime, plane: &Plane, function: &FunctionName) -> Duration {
    begin(runtime, plane, function);
    count(plane, function, 1, Class::Success, 400);
    count(plane, function, 2, Class::Success, 400);
    let start = WallTime.start();
    count(plane, function, 2, Class::Connect, BURST);
    while served(plane, function) > 1 {
        assert!(start.elapsed() < Duration::from_secs(20), "it is never rolled back");
        std::thread::yield_now();
    }
    start.elapsed()
}

fn begin(runtime: &Runtime, plane: &Plane, function: &FunctionName) {
    let ask = Ask {
        members: vec![Asked {
            function: function.clone(),
            alias: "prod".parse().expect("a name"),
            candidate: NonZeroU32::MIN.saturating_add(1),
            base: None,
        }],
        plan: Arc::new(parse_plan("canaryStep: {weight: 50, interval: 10m}", &|_| None).expect("a plan")),
        plan_name: None,
        speaker: Speaker { who: "bench".to_owned(), why: None },
        supersede: false,
        adopt: false,
    };
    let begun = runtime.block_on(plane.control.release(Author::of("bench"), ask, false)).expect("a rollout");
    // What came before the first look is not the rollout's.
    let id = RolloutId(begun.revision);
    let mut sights = plane.control.sights();
    runtime.block_on(sights.wait_for(|sights| sights.contains_key(&id))).expect("the gateway runs");
}

/// Requests that the split drew for a version, with what came of them.
fn count(plane: &Plane, function: &FunctionName, version: u32, class: Class, requests: u32) {
    let alias = "prod".parse().expect("a name");
    let cells = plane.live.load().outcomes(function, &alias, number(version)).expect("a rollout is watched");
    for _ in 0..requests {
        cells.drawn(0);
        let latency = Some(Duration::from_millis(3));
        cells.ended(0, &Ended { class, latency, bucket: None, at: clock::now() });
    }
}

/// How many versions the live alias serves.
fn served(plane: &Plane, function: &FunctionName) -> usize {
    let snapshot = plane.live.load_full();
    let function = &snapshot.table.config().functions[function];
    function.aliases["prod"].split.served().count()
}
