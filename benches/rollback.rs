//! From a candidate that begins to fail until no request reaches it, while the gateway is busy with something else.
//!
//! `cargo bench --bench rollback -- 100000 1000` chooses the number of functions and of samples in each row. A burst of failures is
//! counted as the data path counts them, and the live table is watched until it sends nothing to the candidate any more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use config::model::{AdminListener, Alias, Config};
use config::release::outcome::Class;
use config::release::rollout::{Ask, Asked, RolloutId, Speaker};
use config::text::parse::parse_plan;
use config::value::name::{AliasName, FunctionName, VersionId};
use criterion::measurement::{Measurement, WallTime};
use gateway::admin::{About, Admin, LastReload, Listener};
use gateway::clock;
use gateway::control::{AllowEmpty, Author, Control};
use gateway::dial::Dial;
use gateway::hook::Hooks;
use gateway::live::Live;
use gateway::metrics::Metrics;
use gateway::outcomes::Ended;
use gateway::store::embedded::Embedded;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

#[path = "../config/benches/fleet/mod.rs"]
mod fleet;
mod plane;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The numbers of functions, and of samples of each row, unless the command line says otherwise.
const SIZES: [usize; 2] = [100_000, 1_000];
/// Rollouts that run at a time, where a row is not about their number.
const BATCH: usize = 100;
/// Requests that fail at once.
const BURST: u32 = 50;
/// The plan of those that are measured.
const GUARDED: &str = "canaryStep: {weight: 50, interval: 10m}";
/// The plan of one that fails all the time, and is only told.
const UNGUARDED: &str = "canaryWeight: 50";
/// The time from one of its failures to the next.
const FAILS_EVERY: Duration = Duration::from_millis(5);
/// The time from one look at the live table to the next.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// Followers of events.
const STREAMS: usize = 64;

/// The work of the gateway beside rollbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Reloads,
    Scrapes,
    Streams,
    Rollouts,
    Failures,
}

const ROWS: [(Beside, &str); 6] = [
    (Beside::Nothing, "nothing"),
    (Beside::Reloads, "a file that changes every function, again and again"),
    (Beside::Scrapes, "`/metrics` of all versions, again and again"),
    (Beside::Streams, "64 streams of events, as many as there may be"),
    (Beside::Rollouts, "all other rollouts of the row, watched"),
    (Beside::Failures, "an unrelated alias that fails 200 times a second"),
];

struct Plane {
    runtime: Runtime,
    live: Arc<Live>,
    control: Control,
    metrics: Arc<Metrics>,
    /// The file that is live, and one that says something else of every function that has no rollout.
    files: [Config; 2],
    admin: SocketAddr,
    _admin: Runtime,
    _folder: TempDir,
}

fn main() {
    let sizes = plane::sizes(&SIZES);
    let [functions, samples] = [sizes[0], sizes.get(1).copied().unwrap_or(SIZES[1])];
    assert!(functions > 2 * samples, "the functions that are reloaded are others than those with rollouts");
    let plane = Plane::new(functions, samples);
    println!("\n| beside it | failures to live, median ms | 99 of 100, ms | longest, ms |");
    println!("|---|---|---|---|");
    for (beside, name) in ROWS {
        let mut times = plane.row(beside, samples);
        times.sort_unstable();
        let ms = |place: usize| times[place].as_secs_f64() * 1e3;
        println!("| {name} | {:.2} | {:.2} | {:.2} |", ms(samples / 2), ms(samples * 99 / 100), ms(samples - 1));
    }
}

impl Plane {
    fn new(functions: usize, samples: usize) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder under target");
        let store = Embedded::open(&folder.path().join("weir-state.db")).expect("a new store");
        let (runtime, metrics) = (plane::runtime(), plane::metrics());
        let (live, control) = plane::start(&runtime, Arc::new(store), Arc::clone(&metrics), Arc::default());
        let admin_runtime = plane::runtime();
        let admin = serve_admin(&admin_runtime, &live, &control, &metrics);
        let file = fleet::fleet(functions, 1, &Alias::new(fleet::split(0)), "prod");
        let mut other = fleet::fleet(functions, 1, &Alias::new(fleet::split(10)), "prod");
        for number in 0..=samples {
            let name: FunctionName = name(number);
            let function = Arc::clone(&file.functions[&name]);
            other.functions.insert(name, function);
        }
        let files = [file, other];
        let plane = Self { runtime, live, control, metrics, files, admin, _admin: admin_runtime, _folder: folder };
        plane.apply(0);
        plane
    }

    fn apply(&self, file: usize) {
        let applied = self.control.apply_file(Author::of("bench"), self.files[file].clone(), AllowEmpty(false), false);
        self.runtime.block_on(applied).expect("the fleet is valid");
    }

    /// The time that each rollback took.
    fn row(&self, beside: Beside, samples: usize) -> Vec<Duration> {
        let batch = if beside == Beside::Rollouts { samples } else { BATCH.min(samples) };
        let mut times = Vec::new();
        let streams = if beside == Beside::Streams { self.follow() } else { Vec::new() };
        thread::scope(|scope| {
            for stream in &streams {
                scope.spawn(|| read_to_end(stream));
            }
            while times.len() < samples {
                let functions: Vec<FunctionName> = (0..batch.min(samples - times.len())).map(name).collect();
                functions.iter().for_each(|function| self.begin(function, GUARDED));
                let stop = AtomicBool::new(false);
                thread::scope(|scope| {
                    scope.spawn(|| self.work(beside, samples, &stop));
                    times.extend(functions.iter().map(|function| self.roll_back(function)));
                    stop.store(true, Ordering::Relaxed);
                });
                self.are_over();
            }
            streams.iter().for_each(|stream| drop(stream.shutdown(std::net::Shutdown::Both)));
        });
        times
    }

    /// Works until it is told to stop.
    fn work(&self, beside: Beside, samples: usize, stop: &AtomicBool) {
        let goes_on = || !stop.load(Ordering::Relaxed);
        match beside {
            Beside::Nothing | Beside::Streams | Beside::Rollouts => {}
            Beside::Reloads => {
                while goes_on() {
                    self.apply(1);
                    self.apply(0);
                }
            }
            Beside::Scrapes => {
                while goes_on() {
                    std::hint::black_box(self.metrics.render());
                }
            }
            Beside::Failures => {
                let function = name(samples);
                self.begin(&function, UNGUARDED);
                while goes_on() {
                    self.count(&function, 2, Class::Connect);
                    self.count(&function, 1, Class::Success);
                    thread::sleep(FAILS_EVERY);
                }
                let word = config::release::rollout::Word::Abort;
                let speaker = Speaker { who: "bench".to_owned(), why: None };
                let event = config::release::rollout::Event::Said { word, speaker, step: None };
                let id = self.control.rollouts().borrow().on(&function, &prod()).expect("it runs").id;
                self.runtime.block_on(self.control.tell(Author::of("bench"), id, event)).expect("it ends");
            }
        }
    }

    /// Followers of events, as many as there may be.
    fn follow(&self) -> Vec<TcpStream> {
        let follow = |_| {
            let mut stream = TcpStream::connect(self.admin).expect("the admin API listens");
            let request = format!("GET /v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin);
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut head = [0; 12];
            stream.read_exact(&mut head).expect("it answers");
            assert_eq!(&head, b"HTTP/1.1 200", "the stream is open");
            stream
        };
        (0..STREAMS).map(follow).collect()
    }

    /// Waits until the store has the end of every rollout.
    fn are_over(&self) {
        let mut rollouts = self.control.rollouts();
        let over = rollouts.wait_for(|rollouts| rollouts.running().next().is_none());
        drop(self.runtime.block_on(over).expect("the gateway runs"));
    }

    /// The time from failures of the candidate until the table gives it nothing.
    fn roll_back(&self, function: &FunctionName) -> Duration {
        // In turns, as the split draws them: a look may come at any moment.
        for _ in 0..400 {
            self.count(function, 1, Class::Success);
            self.count(function, 2, Class::Success);
        }
        let start = WallTime.start();
        for _ in 0..BURST {
            self.count(function, 2, Class::Connect);
            self.count(function, 1, Class::Success);
        }
        while self.served(function) > 1 {
            assert!(start.elapsed() < Duration::from_secs(20), "it is never rolled back");
            // A loop without a pause would take a core from what is measured.
            thread::sleep(LOOK_EVERY);
        }
        start.elapsed()
    }

    fn begin(&self, function: &FunctionName, plan: &str) {
        let ask = Ask {
            members: vec![Asked {
                function: function.clone(),
                alias: prod(),
                candidate: NonZeroU32::MIN.saturating_add(1),
                base: None,
            }],
            plan: Arc::new(parse_plan(plan, &|_| None).expect("a plan")),
            plan_name: None,
            speaker: Speaker { who: "bench".to_owned(), why: None },
            supersede: false,
            adopt: false,
        };
        let begun = self.control.release(Author::of("bench"), ask, false);
        let id = RolloutId(self.runtime.block_on(begun).expect("a rollout").revision);
        // Counts from before the first look are not the rollout's.
        let mut sights = self.control.sights();
        self.runtime.block_on(sights.wait_for(|sights| sights.contains_key(&id))).expect("the gateway runs");
    }

    /// A request that the split drew for a version, with what came of it. Nothing once the version has no traffic.
    fn count(&self, function: &FunctionName, version: u32, class: Class) {
        let version = VersionId::number(version).expect("from 1");
        let Some(cells) = self.live.load().outcomes(function, &prod(), version) else { return };
        let at = clock::now();
        let ticket = cells.begin(0, None, at);
        cells.ended(0, &ticket, &Ended { class, latency: Some(Duration::from_millis(3)), at });
    }

    /// The number of versions that requests can reach.
    fn served(&self, function: &FunctionName) -> usize {
        let snapshot = self.live.load_full();
        let alias = snapshot.table.config().functions[function].effective(&prod());
        alias.expect("the alias is there").split.served().count()
    }
}

fn name(number: usize) -> FunctionName {
    fleet::function_name(number).parse().expect("a name")
}

fn prod() -> AliasName {
    "prod".parse().expect("a name")
}

fn read_to_end(mut stream: &TcpStream) {
    let mut bytes = [0; 16 * 1024];
    while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
}

/// Serves the admin API on a port of loopback.
fn serve_admin(runtime: &Runtime, live: &Arc<Live>, control: &Control, metrics: &Arc<Metrics>) -> SocketAddr {
    let _context = runtime.enter();
    let at = AdminListener::Tcp { address: SocketAddr::from(([127, 0, 0, 1], 0)), tls: None, insecure: false };
    let listener = Listener::open(&at, None).expect("a port is free");
    let address = listener.name().expect("it has an address").parse().expect("an address");
    let about = About { id: "bench".to_owned(), started: clock::unix(), store: None };
    let admin = Admin {
        live: Arc::clone(live),
        metrics: Arc::clone(metrics),
        control: control.clone(),
        hooks: Hooks::dialling(Dial::default()),
        environment: Arc::new(|_| None),
        authority: Arc::default(),
        ready: Arc::new(AtomicBool::new(true)),
        drain: Arc::default(),
        reload: watch::channel(LastReload::default()).1,
        about,
        attempts: Arc::default(),
    };
    runtime.spawn(gateway::admin::serve(listener, admin));
    address
}
