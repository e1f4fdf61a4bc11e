//! Nanoseconds per resolve: by what decides, by how many domains there are, by how many threads ask.
//!
//! `hot` asks for ten hosts in random order, `uniform` for all hosts alike.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use config::model::{Alias, KeySource, Rule};
use config::route::head::RequestHead;
use config::route::resolve::{Draw, Reason, resolve};
use config::route::table::{AliasIndex, Table, UpstreamIndex};
use config::value::name::VersionId;
use config::value::rule::{Condition, Subject, Test, When};
use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use http::HeaderMap;

mod fleet;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many resolves are timed together: few enough that most chunks run without interruption on a busy machine, so
/// that their median is that of an idle one.
const CHUNK: u32 = 1024;

/// How many domains there are.
const SIZES: [usize; 3] = [10, 1_000, 100_000];

/// How many domains one function has.
const PER_FUNCTION: usize = 10;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .configure_from_args();
    let mut figures = Figures::default();
    by_way(&mut criterion, &mut figures);
    by_threads(&mut criterion, &mut figures);
    cursors(&mut criterion, &mut figures);
    criterion.final_summary();
    figures.print();
}

fn by_way(criterion: &mut Criterion, figures: &mut Figures) {
    let mut group = criterion.benchmark_group("resolve");
    for way in WAYS {
        for domains in SIZES {
            let world = World::new(domains, way);
            for (order, hosts) in [("hot", 10), ("uniform", domains)] {
                let mut picks = Picks::new(domains, hosts, 1);
                let name = format!("{} {order}", way.name);
                figures.measure(&mut group, &name, domains, |times, chunks| world.ask(way, &mut picks, times, chunks));
            }
        }
    }
}

fn by_threads(criterion: &mut Criterion, figures: &mut Figures) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut group = criterion.benchmark_group("threads");
    let way = WAYS[0];
    let world = World::new(100_000, way);
    for (order, hosts) in [("hot", 10), ("uniform", 100_000)] {
        for threads in 1..=cores {
            let name = format!("{} {order}, {threads} thread(s)", way.name);
            figures.measure(&mut group, &name, 100_000, |times, chunks| {
                together(threads, chunks, |thread, chunks| {
                    world.ask(way, &mut Picks::new(100_000, hosts, thread as u64 ^ times << 8), times, chunks);
                });
            });
        }
    }
}

/// What the one word costs that all threads write to.
fn cursors(criterion: &mut Criterion, figures: &mut Figures) {
    let mut group = criterion.benchmark_group("cursor");
    let cursors: Vec<Arc<Cursor>> = (0..2).map(|_| Arc::default()).collect();
    for (name, threads, shared) in [("1 thread", 1, true), ("2 threads, one each", 2, false), ("2 threads", 2, true)] {
        figures.measure(&mut group, &format!("cursor, {name}"), 0, |times, chunks| {
            together(threads, chunks, |thread, chunks| {
                let cursor = &cursors[if shared { 0 } else { thread }];
                for _ in 0..times {
                    let start = WallTime.start();
                    for _ in 0..CHUNK {
                        black_box(cursor.0.fetch_add(1, Ordering::Relaxed));
                    }
                    chunks.push(WallTime.end(start));
                }
            });
        });
    }
}

/// Runs `work` on so many threads that start at once, and takes the chunks of all of them.
fn together(threads: usize, chunks: &mut Vec<Duration>, work: impl Fn(usize, &mut Vec<Duration>) + Sync) {
    if threads == 1 {
        return work(0, chunks);
    }
    let (barrier, work) = (&Barrier::new(threads), &work);
    thread::scope(|scope| {
        let run = |thread| {
            move || {
                let mut chunks = Vec::new();
                barrier.wait();
                work(thread, &mut chunks);
                chunks
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        for thread in running {
            chunks.extend(thread.join().expect("work does not panic"));
        }
    });
}

/// What decides about a request.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    /// What every route names.
    qualifier: &'static str,
    alias: fn(Alias) -> Alias,
    decided: fn(Reason) -> bool,
}

const WAYS: [Way; 4] = [
    Way { name: "slot", qualifier: "prod", alias: |alias| alias, decided: |reason| matches!(reason, Reason::Slot(_)) },
    Way {
        name: "bucket",
        qualifier: "prod",
        alias: |alias| Alias { key: vec![KeySource::Header("x-user".into())], ..alias },
        decided: |reason| matches!(reason, Reason::Bucket(_)),
    },
    Way {
        name: "rule",
        qualifier: "prod",
        alias: |alias| Alias { rules: vec![rule("Alice", 1), rule("Bob", 2)], ..alias },
        decided: |reason| reason == Reason::Rule(1),
    },
    Way { name: "direct", qualifier: "2", alias: |alias| alias, decided: |reason| reason == Reason::Direct },
];

fn rule(user: &str, version: u32) -> Rule {
    let condition = Condition { subject: Subject::Header("user".into()), test: Test::Exact(user.into()) };
    let version = VersionId::number(version).expect("from 1");
    Rule { when: When { conditions: vec![condition] }, version }
}

/// A table with what a gateway has beside it.
struct World {
    table: Table,
    cursors: Vec<Arc<Cursor>>,
    healthy: Vec<AtomicBool>,
    headers: HeaderMap,
}

/// As the gateway has it: a pair of cache lines for itself.
#[derive(Default)]
#[repr(align(128))]
struct Cursor(AtomicU64);

impl World {
    fn new(domains: usize, way: Way) -> Self {
        let alias = (way.alias)(Alias::new(fleet::split(5)));
        let table = Table::compile(&fleet::fleet(domains, PER_FUNCTION, &alias, way.qualifier));
        let headers = [
            ("host", "shop.example.com"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br"),
            ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
            ("user", "Bob"),
            ("x-user", "user-1234567"),
        ];
        let headers = headers.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        Self {
            cursors: (0..table.alias_end()).map(|_| Arc::default()).collect(),
            healthy: (0..table.upstream_end()).map(|_| AtomicBool::new(true)).collect(),
            headers: headers.into_iter().collect(),
            table,
        }
    }

    /// Asks so many times; the time of each [`CHUNK`] goes to `chunks`.
    fn ask(&self, way: Way, picks: &mut Picks, times: u64, chunks: &mut Vec<Duration>) {
        let first = fleet::host(0);
        let mut draw = Drawing(self);
        let head = RequestHead {
            method: "GET",
            host: &first,
            path: "/products/42",
            query: Some("colour=red"),
            headers: &self.headers,
            client: "192.0.2.7".parse().expect("an address"),
        };
        let resolution = resolve(&self.table, &head, &mut draw).expect("every host has its domain");
        assert!((way.decided)(resolution.reason), "{:?} by {}", resolution.reason, way.name);
        for _ in 0..times {
            picks.next_chunk();
            let start = WallTime.start();
            for at in 0..CHUNK as usize {
                let head = RequestHead { host: picks.host(at), ..head };
                let _ = black_box(resolve(&self.table, black_box(&head), &mut draw));
            }
            chunks.push(WallTime.end(start));
        }
    }
}

struct Drawing<'a>(&'a World);

impl Draw for Drawing<'_> {
    fn slot(&mut self, alias: AliasIndex) -> u64 {
        self.0.cursors[alias.get() as usize].0.fetch_add(1, Ordering::Relaxed)
    }

    fn random(&mut self) -> u64 {
        0x9e37_79b9_7f4a_7c15
    }

    fn healthy(&self, upstream: UpstreamIndex) -> bool {
        self.0.healthy[upstream.get() as usize].load(Ordering::Relaxed)
    }
}

/// The hosts of the next chunk: in the cache, as a request's own head is, and written between the times.
struct Picks {
    /// `hosts` of all `domains`, far from each other.
    domains: usize,
    hosts: usize,
    state: u64,
    chunk: String,
}

impl Picks {
    fn new(domains: usize, hosts: usize, seed: u64) -> Self {
        Self { domains, hosts, state: seed, chunk: String::new() }
    }

    fn next_chunk(&mut self) {
        self.chunk.clear();
        for _ in 0..CHUNK {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (self.state >> 33) as usize % self.hosts;
            self.chunk.push_str(&fleet::host(pick * (self.domains / self.hosts)));
        }
    }

    fn host(&self, at: usize) -> &str {
        &self.chunk[at * fleet::HOST..][..fleet::HOST]
    }
}

/// What was measured, by name and number of domains.
#[derive(Default)]
struct Figures(Vec<(String, Vec<Figure>)>);

/// Nanoseconds of one turn: the median of all chunks, and the best.
struct Figure {
    median: f64,
    best: f64,
}

impl Figures {
    /// `work` does its work so many times, in chunks, and says how long each took.
    fn measure(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        domains: usize,
        mut work: impl FnMut(u64, &mut Vec<Duration>),
    ) {
        let mut all = Vec::new();
        group.throughput(Throughput::Elements(CHUNK.into()));
        group.bench_function(BenchmarkId::new(name, domains), |bencher| {
            bencher.iter_custom(|times| {
                let mut chunks = Vec::new();
                work(times, &mut chunks);
                let threads = chunks.len() as u32 / times as u32;
                let sum = chunks.iter().sum::<Duration>() / threads;
                all.append(&mut chunks);
                sum
            });
        });
        if all.is_empty() {
            return;
        }
        all.sort_unstable();
        let nanoseconds = |time: Duration| time.as_nanos() as f64 / f64::from(CHUNK);
        let figure = Figure { median: nanoseconds(all[all.len() / 2]), best: nanoseconds(all[0]) };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, row)) => row.push(figure),
            None => self.0.push((name.to_owned(), vec![figure])),
        }
    }

    fn print(&self) {
        println!("\nMedian nanoseconds per resolve, and the best of {CHUNK} in a row:\n");
        println!("| | 10 domains | 1 000 | 100 000 |\n|---|---|---|---|");
        for (name, row) in self.0.iter().filter(|(_, row)| row.len() == SIZES.len()) {
            let row: Vec<_> = row.iter().map(|f| format!("{:.0} ({:.0})", f.median, f.best)).collect();
            println!("| {name} | {} |", row.join(" | "));
        }
        println!(
            "\nOnly on an idle machine: on a busy one threads take turns on one core, and nothing is contended.\n"
        );
        println!("| threads that share hosts and cursors | ns per thread |\n|---|---|");
        for (name, row) in self.0.iter().filter(|(_, row)| row.len() == 1) {
            println!("| {name} | {:.1} ({:.1}) |", row[0].median, row[0].best);
        }
    }
}
