//! What a table costs: to compile from a model, to keep in memory, to update by one weight. And what a file costs.
//!
//! Memory is that of a process of its own for each size (this program again, with `--row`), so that nothing freed before
//! is used twice.

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use config::model::Config;
use config::route::table::Table;
use config::text::edit::{self, Edit, FunctionEdit};
use config::text::format::format;
use config::text::parse::parse;
use config::text::texts;
use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion};

mod fleet;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many domains there are.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// How many domains one function has, in the tables of the other columns.
const PER_FUNCTION: usize = 10;

/// How many weight changes a row measures.
const UPDATES: u32 = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, domains, per_function] = &arguments[..]
        && flag == "--row"
    {
        let number = |text: &str| text.parse().expect("a number");
        return row(number(domains), number(per_function));
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
    // Criterion's own flags and filters are about its part only.
    if !arguments.iter().any(|argument| argument == "--list" || argument == "--test") {
        table_of_sizes();
    }
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    for domains in &SIZES[..2] {
        let config = fleet(*domains, PER_FUNCTION);
        group.bench_with_input(BenchmarkId::new("model", domains), &config, |bencher, config| {
            bencher.iter_with_large_drop(|| Table::compile(config));
        });
        let text = format(&config);
        group.bench_with_input(BenchmarkId::new("file", domains), &text, |bencher, text| {
            bencher.iter_with_large_drop(|| parse(text, &|_| None));
        });
    }
    let config = fleet(SIZES[1], 1);
    let texts = texts::changes(&Config::default(), &config);
    group.bench_with_input(BenchmarkId::new("texts, one function per domain", SIZES[1]), &texts, |bencher, texts| {
        let texts = || texts.iter().map(|(name, text)| (name.as_str(), text.as_deref().expect("nothing is deleted")));
        bencher.iter_with_large_drop(|| texts::from_store(texts(), &|_| None));
    });
    group.finish();
    let mut group = criterion.benchmark_group("update");
    for domains in &SIZES[..3] {
        let mut weights = Weights::new(fleet(*domains, PER_FUNCTION));
        group.bench_function(BenchmarkId::new("weight", domains), |bencher| bencher.iter(|| weights.change()));
    }
}

fn table_of_sizes() {
    println!(
        "\n| domains | per function | model, bytes per domain | table, bytes per domain | compile, ms | edit, us | update, us | file, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (domains, per_function) in SIZES.map(|domains| (domains, PER_FUNCTION)).into_iter().chain([(100_000, 1)]) {
        let program = std::env::current_exe().expect("a program knows where it is");
        let status = Command::new(program).args(["--row", &domains.to_string(), &per_function.to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "the row of {domains} domains");
    }
}

/// Measures one size in a fresh process, and prints it.
fn row(domains: usize, per_function: usize) {
    let before = resident();
    let config = fleet(domains, per_function);
    let model = resident();
    let start = WallTime.start();
    let table = Table::compile(&config);
    let compile = WallTime.end(start);
    let both = resident();
    let mut weights = Weights { config, table, percent: 5 };
    let mut times: Vec<_> = (0..UPDATES).map(|_| weights.change()).collect();
    let mut median = |time: fn(&(Duration, Duration)) -> Duration| {
        times.sort_unstable_by_key(time);
        time(&times[times.len() / 2]).as_nanos() as f64 / 1e3
    };
    let (edit, update) = (median(|times| times.0), median(|times| times.1));
    // A million domains are for the API; a file of them would only take time.
    let file = (domains <= 100_000).then(|| file(&weights.config));
    println!(
        "| {domains} | {per_function} | {} | {} | {:.1} | {edit:.1} | {update:.1} | {} |",
        (model - before) / domains,
        (both - model) / domains,
        compile.as_secs_f64() * 1e3,
        file.map_or_else(String::new, |time| format!("{:.0}", time.as_secs_f64() * 1e3)),
    );
}

fn file(config: &Config) -> Duration {
    let text = format(config);
    let start = WallTime.start();
    let parsed = parse(&text, &|_| None);
    let time = WallTime.end(start);
    let domains = parsed.map(|(config, _)| config.domains.len());
    assert_eq!(domains, Ok(config.domains.len()), "what was printed is read");
    time
}

fn fleet(domains: usize, per_function: usize) -> Config {
    fleet::fleet(domains, per_function, &config::model::Alias::new(fleet::split(5)), "prod")
}

/// One alias whose weights change, again and again.
struct Weights {
    config: Config,
    table: Table,
    percent: u64,
}

impl Weights {
    fn new(config: Config) -> Self {
        Self { table: Table::compile(&config), config, percent: 5 }
    }

    /// How long the edit took, and the update of the table.
    fn change(&mut self) -> (Duration, Duration) {
        self.percent = 5 + (self.percent + 1) % 5;
        let function = self.config.functions.len() / 2;
        let function = fleet::function_name(function).parse().expect("a name");
        let shift = FunctionEdit::Shift("prod".parse().expect("a name"), fleet::split(self.percent));
        let start = WallTime.start();
        let next = edit::apply(&self.config, &[Edit::Function(function, shift)]).expect("a valid edit");
        let edited = WallTime.end(start);
        let start = WallTime.start();
        let (table, changes) = self.table.update(&next, &|_| 12_345);
        let updated = WallTime.end(start);
        assert_eq!(changes.restarted.len(), 1, "one alias has other weights");
        (self.config, self.table) = (next, black_box(table));
        (edited, updated)
    }
}

/// Resident memory of this process, in bytes.
#[expect(clippy::disallowed_methods, reason = "a bench looks at its own process")]
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number of statm") * 4096
}
