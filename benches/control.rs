//! The control plane on a real file: how many changes it takes a second when each is on the disk before it is
//! acknowledged, and what a start costs from a store that is full.
//!
//! `cargo bench --bench control -- 1000 100000` chooses the numbers of domains; each has a function of its own with two
//! versions and an alias. The file is under `target`: its disk is what is measured, so a bare write with an fsync stands
//! beside it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use config::model::{Alias, Config};
use config::text::edit::{Edit, FunctionEdit, edits_between};
use criterion::measurement::{Measurement, WallTime};
use gateway::control::{Author, Control, Wish};
use gateway::store::embedded::Embedded;
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[path = "../config/benches/fleet/mod.rs"]
mod fleet;
mod plane;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many domains there are, unless the command line says otherwise.
const SIZES: [usize; 2] = [1_000, 100_000];

/// How many edits one transaction of the filling has.
const TOGETHER: usize = 1_000;

/// How long changes are made.
const WATCHED: Duration = Duration::from_secs(3);

/// How often a full store is started from.
const STARTS: usize = 3;

fn main() {
    let rows: Vec<String> = plane::sizes(&SIZES).into_iter().map(row).collect();
    println!(
        "\n| domains | changes per second | median, ms | 99 of 100, ms | bare fsync, ms | store, MiB | start to ready, s \
         | resident, MiB | at most, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
}

fn row(domains: usize) -> String {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder under target");
    let store = folder.path().join("weir-state.db");
    let runtime = plane::runtime();
    let times = {
        let embedded = Arc::new(Embedded::open(&store).expect("a new store"));
        let (_, control) = plane::start(&runtime, embedded, plane::metrics(), Arc::default());
        fill(&runtime, &control, domains);
        changes(&runtime, &control, domains)
    };
    // The store is closed when the tasks that use it have ended.
    drop(runtime);
    let bytes = std::fs::metadata(&store).expect("the store is a file").len();
    let mut starts: Vec<Start> = (0..STARTS).map(|_| Start::measure(folder.path())).collect();
    starts.sort_unstable_by_key(|start| start.ready);
    let start = &starts[STARTS / 2];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "| {domains} | {:.0} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {} | {} |",
        times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64(),
        ms(times[times.len() / 2]),
        ms(times[times.len() * 99 / 100]),
        ms(bare_fsync(folder.path())),
        bytes >> 20,
        start.ready.as_secs_f64(),
        start.resident >> 10,
        start.peak >> 10,
    )
}

fn fill(runtime: &Runtime, control: &Control, domains: usize) {
    let full = fleet::fleet(domains, 1, &Alias::new(fleet::split(5)), "prod");
    for edits in edits_between(&Config::default(), &full).chunks(TOGETHER) {
        change(runtime, control, edits.to_vec());
    }
}

/// Gives aliases other weights, one after another; answers how long each took until it was durable and live, sorted.
fn changes(runtime: &Runtime, control: &Control, domains: usize) -> Vec<Duration> {
    let (start, mut times) = (WallTime.start(), Vec::new());
    while start.elapsed() < WATCHED {
        let number = times.len();
        let function = fleet::function_name(number * 7 % domains).parse().expect("a name");
        // Never what it was, however often the aliases were gone through.
        let percent = 10 + (number / domains) as u64 % 50;
        let shift = FunctionEdit::Shift("prod".parse().expect("a name"), fleet::split(percent));
        let start = WallTime.start();
        change(runtime, control, vec![Edit::Function(function, shift)]);
        times.push(WallTime.end(start));
    }
    times.sort_unstable();
    times
}

fn change(runtime: &Runtime, control: &Control, edits: Vec<Edit>) {
    let wish = Wish { author: Author::of("bench"), edits, guard: None };
    runtime.block_on(control.edit(wish)).expect("a valid edit");
}

/// The median of writing 4 KiB to a file in this folder, with an fsync after each.
fn bare_fsync(folder: &Path) -> Duration {
    let mut file = File::create(folder.join("bare")).expect("a file");
    let once = |_| {
        let start = WallTime.start();
        file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).expect("the disk takes it");
        WallTime.end(start)
    };
    let mut times: Vec<Duration> = (0..100).map(once).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// What one start of the real binary cost.
struct Start {
    ready: Duration,
    /// KiB of memory once it is ready.
    resident: usize,
    /// KiB of memory, at most until then.
    peak: usize,
}

impl Start {
    /// From the store in `folder`.
    fn measure(folder: &Path) -> Self {
        let process = "listeners: ['127.0.0.1:0']\nadmin: {address: '127.0.0.1:0'}\n";
        std::fs::write(folder.join("weir.yaml"), process).expect("a file");
        let start = WallTime.start();
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("serve")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let said = lines.map_while(Result::ok).any(|line| line.contains("admin on"));
        let ready = WallTime.end(start);
        assert!(said, "the gateway ended before it was ready");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("this is Linux");
        let kib = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of status");
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number of kB")
        };
        let measured = Self { ready, resident: kib("VmRSS"), peak: kib("VmHWM") };
        child.kill().and_then(|()| child.wait()).expect("it can be ended");
        measured
    }
}
