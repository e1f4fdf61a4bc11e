//! Many certificates: how long a start takes to read them, what memory they take, what looks without a change cost, and how
//! soon one that was renewed is served.
//!
//! `cargo bench --bench certificates -- 1000 10000` chooses the numbers of domains; each has a certificate of its own
//! (ECDSA P-256, self-signed) in two files under `target`. Memory that one size leaves is taken by the next, so that it is
//! measured with one number alone.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use config::model::Config;
use gateway::clock;
use gateway::edge::tls::LiveCertificates;
use gateway::store::memory::Memory;
use tempfile::TempDir;

mod plane;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The numbers of domains, unless the command line says otherwise.
const SIZES: [usize; 2] = [1_000, 10_000];

/// The time after which files that were just written are read no more.
const SETTLED: Duration = Duration::from_secs(20);

/// The time for which looks without a change are watched.
const WATCHED: Duration = Duration::from_secs(20);

/// The number of renewals of one certificate.
const RENEWALS: usize = 5;

fn main() {
    let rows: Vec<String> = plane::sizes(&SIZES).into_iter().map(row).collect();
    println!(
        "\n| certificates | start until all are served, s | memory with its domain, KiB | CPU of looks, % of a core \
         | renewal to served, s: median | most | KiB read by it |"
    );
    println!("|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
}

fn row(domains: usize) -> String {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder under target");
    (0..domains).for_each(|number| write(folder.path(), number));
    let before = resident();
    let file = file(folder.path(), domains);
    let runtime = plane::runtime();
    let certificates = Arc::new(LiveCertificates::default());
    let store = Arc::new(Memory::default());
    let (_live, control) = plane::start(&runtime, store, plane::metrics(), Arc::clone(&certificates));
    let began = clock::now();
    runtime.block_on(control.apply_at_start(file)).expect("the domains are valid");
    let start = began.elapsed().as_secs_f64();
    assert!((0..domains).all(|number| certificates.current().find(&host(number)).is_some()), "all are served");
    let memory = resident().saturating_sub(before);
    // What was just written is read once more at the next look.
    sleep(SETTLED);
    let (ticks, read) = (ticks(), read());
    sleep(WATCHED);
    let percent = (self::ticks() - ticks) as f64 / WATCHED.as_secs_f64();
    assert!(self::read() - read < 64 << 10, "nothing changed, so nothing is read");
    let mut renewals: Vec<Renewal> = (0..RENEWALS).map(|_| renew(folder.path(), &certificates, domains / 2)).collect();
    renewals.sort_unstable_by(|a, b| a.seconds.total_cmp(&b.seconds));
    format!(
        "| {domains} | {start:.2} | {:.1} | {percent:.2} | {:.2} | {:.2} | {:.1} |",
        memory as f64 / domains as f64,
        renewals[RENEWALS / 2].seconds,
        renewals[RENEWALS - 1].seconds,
        renewals.iter().map(|renewal| renewal.read).max().unwrap_or_default() as f64 / 1024.0,
    )
}

struct Renewal {
    seconds: f64,
    /// Bytes, of this process.
    read: u64,
}

fn renew(folder: &Path, certificates: &LiveCertificates, number: usize) -> Renewal {
    let current = || certificates.current().find(&host(number)).map(Arc::clone).expect("it is served");
    let old = current();
    write(folder, number);
    let (began, before) = (clock::now(), read());
    while Arc::ptr_eq(&old, &current()) {
        sleep(Duration::from_millis(5));
    }
    Renewal { seconds: began.elapsed().as_secs_f64(), read: read() - before }
}

fn host(number: usize) -> String {
    format!("shop-{number}.example.com")
}

fn write(folder: &Path, number: usize) {
    let made = rcgen::generate_simple_self_signed([host(number)]).expect("the host fits in a certificate");
    fs::write(folder.join(format!("{number}.crt")), made.cert.pem()).expect("the folder can be written");
    fs::write(folder.join(format!("{number}.key")), made.signing_key.serialize_pem())
        .expect("the folder can be written");
}

fn file(folder: &Path, domains: usize) -> Config {
    let folder = folder.display();
    let mut text =
        "functions: {shop: {versions: {1: 'http://127.0.0.1:1'}, aliases: {prod: 1}}}\ndomains:\n".to_owned();
    for number in 0..domains {
        text += &format!(
            "  {}: {{certificate: {{cert: {folder}/{number}.crt, key: {folder}/{number}.key}}, routes: [{{path: /*, to: shop:prod}}]}}\n",
            host(number)
        );
    }
    config::text::parse::parse(&text, &|_| None).expect("the file is valid").0
}

/// KiB of this process.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// CPU time of this process in hundredths of a second.
fn ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = stat.rsplit(')').next().expect("the name stands in brackets");
    after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// Bytes that this process has read.
fn read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").expect("Linux");
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("Linux").parse().expect("a number")
}
