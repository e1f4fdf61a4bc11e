//! What a verdict is worth, measured: every world with all its rollouts. `make science` writes it into `gateway/manual/science.md`, and the table of
//! detection into the README.
//!
//! Without `--full` a cut of it is printed. `--runs N` says how many rollouts a world without a difference has, `--threads N` on how many
//! threads they run, `--made TEXT` where and when. Exits with 1 when a world without a difference is called worse more often than claimed; three
//! standard deviations of chance are left to each bound.

#[path = "../tests/science/callers.rs"]
mod callers;
#[path = "../tests/science/compared.rs"]
mod compared;
#[expect(dead_code, reason = "the tests hold more")]
#[path = "../tests/science/counted.rs"]
mod counted;
#[path = "../tests/science/gates.rs"]
mod gates;
#[path = "../tests/science/intervals.rs"]
mod intervals;
#[path = "../tests/judged/mod.rs"]
mod judged;
#[path = "../tests/science/keyless.rs"]
mod keyless;
#[path = "science/page.rs"]
mod page;
#[path = "science/peers.rs"]
mod peers;
#[path = "../tests/science/random.rs"]
mod random;
#[path = "science/requests.rs"]
mod requests;
#[path = "../tests/science/tables.rs"]
mod tables;
#[path = "../tests/science/worlds.rs"]
mod worlds;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use callers::{Callers, run};
use compared::{GATES, SHAPES, plan, sent_back};
use counted::{each, median, most, share};
use gates::{Failures, GateWorld, LIMIT, bake};
use random::Activity;
use tables::{CLAIMED, NULLS, OTHERS, POWERS, claimed, power};

/// The number of rollouts of each part.
struct Suite {
    nulls: u64,
    powers: u64,
    threads: usize,
    /// The page.
    text: String,
    /// Bounds that did not hold.
    broken: Vec<String>,
}

/// The value behind an option.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the core is pure; its suite says how long it took")]
    let began = Instant::now();
    let is_full = std::env::args().any(|argument| argument == "--full");
    let number = |name: &str| option(name).and_then(|text| text.parse::<u64>().ok());
    let threads = number("--threads").map_or_else(cores, |threads| threads as usize);
    let (nulls, powers) =
        (number("--runs").unwrap_or(if is_full { 1_000 } else { 100 }), if is_full { 101 } else { 21 });
    let mut suite = Suite { nulls, powers, threads, text: String::new(), broken: Vec::new() };
    let made = option("--made").unwrap_or_else(|| "an unnamed machine".to_owned());
    suite.line("# What a verdict is worth: measured\n");
    suite.line(&format!(
        "Made by `make science`: do not edit. On {made}, with {threads} threads; {nulls} rollouts of each world without a\n\
         difference and {powers} of each with one, seeds from 1 on. Worlds are in `config/tests/science`, methods in the documentation of\n\
         `config/release/verdict`. Intervals are at 95 % (Wilson). What may be wrong is asserted, with three standard deviations of chance."
    ));
    let table = suite.detection();
    suite.callers_nulls();
    suite.keyless_nulls();
    suite.speeds();
    suite.callers_powers();
    suite.gates();
    suite.compared();
    suite.charts();
    suite.peers();
    let minutes = began.elapsed().as_secs() / 60;
    suite.line(&format!("\nAll of it took {minutes} minutes."));
    if is_full && let Err(error) = page::write(&suite.text, &table) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    suite.broken.iter().for_each(|broken| eprintln!("above its bound: {broken}"));
    if suite.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Suite {
    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A share of false alarms, held against its bound.
    fn null(&mut self, name: &str, claimed: f64, hits: u64, runs: u64) -> String {
        if hits > most(claimed, runs) {
            self.broken.push(format!("{name}: {hits} of {runs}, claimed {} %", claimed * 100.0));
        }
        let (low, high) = share(hits, runs);
        format!("{} % ({:.1} to {:.1})", percent(hits, runs), low * 100.0, high * 100.0)
    }

    fn callers_nulls(&mut self) {
        self.line(&format!(
            "\n## Keyed traffic, candidate and stable the same\n\nRollouts called worse; at most {} % may be, {} % where half of the requests \
             have no key.\nEqual: all callers are equally active; Zipf: the first of 1 000 makes 13 %.\n\n| world | equal | Zipf |\n|---|---|---|",
            CLAIMED * 100.0,
            (CLAIMED + 0.0025) * 100.0
        ));
        for world in NULLS {
            let mut row = format!("| {} |", world.name);
            for z in [0.0, 1.0] {
                let activity = Activity::new(world.callers, z);
                let members = u64::from(world.members);
                let is_called = |seed: u64| {
                    (0..members).any(|member| run(world, &activity, seed * members + member).found.is_some())
                };
                let hits = each(self.nulls, self.threads, is_called).into_iter().filter(|is| *is).count() as u64;
                let _ = write!(row, " {} |", self.null(world.name, claimed(world), hits, self.nulls));
            }
            self.line(&row);
        }
    }

    fn callers_powers(&mut self) {
        self.line(
            "\n## Keyed traffic, a candidate that fails more\n\n200 requests/s, Zipf, up to 600 s. Share found, medians: seconds, requests of the \
             candidate; in brackets what was found when the method was chosen.\n\n| base, weight, callers | +100 % | +50 % | +10 % | +5 % | +2 % |\n|---|---|---|---|---|---|",
        );
        for (base, weight, callers, found) in POWERS {
            let activity = Activity::new(*callers, 1.0);
            let mut row = format!("| {} %, {weight} %, {callers} |", base * 100.0);
            for (extra, seconds, requests) in found {
                let told = self.found(&power(*base, *weight, *callers, *extra), &activity);
                let _ = write!(row, " {told} ({seconds} s, {requests}) |");
            }
            self.line(&row);
        }
        self.line("\n| 1 000 callers, base 1 % | found |\n|---|---|");
        for world in OTHERS {
            let told = self.found(world, &Activity::new(world.callers, 1.0));
            self.line(&format!("| {} | {told} |", world.name));
        }
    }

    /// Such as `98 %: 0.3 s, 7`.
    fn found(&self, world: &Callers, activity: &Activity) -> String {
        let ran = each(self.powers, self.threads, |seed| run(world, activity, seed));
        let found: Vec<(f64, u64)> = ran.iter().filter_map(|ran| ran.found).collect();
        let (count, few) = (found.len(), ran.iter().filter(|ran| ran.too_few).count());
        let seconds = median(found.iter().map(|found| found.0).collect(), count);
        let requests = median(found.iter().map(|found| found.1 as f64).collect(), count);
        let note = if few > 0 { format!(", too few callers in {few}") } else { String::new() };
        match (seconds, requests) {
            (Some(seconds), Some(requests)) => {
                format!("{} %: {seconds:.1} s, {requests}{note}", percent(count as u64, self.powers))
            }
            _ => format!("0 %{note}"),
        }
    }

    fn gates(&mut self) {
        let runs = self.nulls.min(200);
        self.line(&format!(
            "\n## A gate at 1 %, bake of ten minutes, weight 10 %\n\nSent back early by windows (median second), by the estimate at every look; then \
             passed at the end; {runs} rollouts each.\n\n| requests/s | failures | part of the limit | windows | every look | passes |\n|---|---|---|---|---|---|",
        ));
        let independent = [20.0, 200.0, 2_000.0].into_iter().flat_map(|rate| {
            [0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 5.0, 100.0].map(|times| (rate, Failures::Independent, times))
        });
        let clustered = [
            Failures::Runs(5),
            Failures::Outages(2.0),
            Failures::Outages(10.0),
            Failures::Callers(1_000),
            Failures::Callers(100),
        ];
        let clustered = clustered.into_iter().flat_map(|how| [0.3, 0.5, 0.8].map(|times| (200.0, how, times)));
        for (rate, how, times) in independent.chain(clustered) {
            let world = GateWorld { rate, failing: times * LIMIT, how };
            let baked = each(runs, self.threads, |seed| bake(&world, seed));
            let back: Vec<f64> =
                baked.iter().filter_map(|baked| baked.by_windows).map(|second| second as f64).collect();
            let hits = back.len() as u64;
            let by_looks = baked.iter().filter(|baked| baked.by_looks.is_some()).count() as u64;
            let passes = baked.iter().filter(|baked| baked.by_windows.is_none() && baked.passes).count() as u64;
            let is_held =
                times <= 1.0 && matches!(how, Failures::Independent | Failures::Runs(_) | Failures::Outages(2.0));
            let claimed = if is_held { 0.01 } else { 1.0 };
            let told = self.null(&format!("gate, {how:?}, {times} times"), claimed, hits, runs);
            let time = median(back, hits as usize).map_or(String::new(), |time| format!(", {time} s"));
            let (looks, passes) = (percent(by_looks, runs), percent(passes, runs));
            self.line(&format!("| {rate} | {how:?} | {times} | {told}{time} | {looks} % | {passes} % |"));
        }
    }

    fn compared(&mut self) {
        let runs = self.nulls.min(400);
        self.line(&format!(
            "\n## Gates that compare, a candidate exactly at their limit\n\nRollouts sent back; at most 1 % of a whole plan may be; {runs} each.\n\n| gate | \
             world | plan | sent back |\n|---|---|---|---|"
        ));
        for (name, gate, worlds) in GATES {
            for (shape, text) in SHAPES {
                let plan = plan(text, gate);
                for world in *worlds {
                    let back = each(runs, self.threads, |seed| sent_back(&plan, *world, seed).is_some());
                    let hits = back.into_iter().filter(|is| *is).count() as u64;
                    let told = self.null(&format!("{name}, {world:?}, {shape}"), 0.01, hits, runs);
                    self.line(&format!("| {name} | {} | {shape} | {told} |", world.told()));
                }
            }
        }
    }

    fn charts(&mut self) {
        self.line(&format!("\n## The interval of a chart\n\nAt every second of ten minutes; {} rollouts each.\n\n| stable, candidate | ever missed | width after 10, 100, 600 s | above 0 from |\n|---|---|---|---|", self.powers));
        let worlds = [
            ([0.01, 0.01], None),
            ([0.01, 0.01], Some(60.0)),
            ([0.0, 0.0], None),
            ([0.01, 0.02], None),
            ([0.01, 0.05], None),
            ([0.0, 0.05], None),
        ];
        let runs = self.powers;
        for (rates, period) in worlds {
            let charts = each(runs, self.threads, |seed| intervals::chart(rates, period, seed));
            let missed = charts.iter().filter(|chart| chart.missed).count() as u64;
            let told = self.null(&format!("chart {rates:?}"), 0.01, missed, runs);
            let widths = [0, 1, 2].map(|place| {
                median(charts.iter().map(|chart| chart.widths[place]).collect(), runs as usize).unwrap_or(0.0)
            });
            let above: Vec<f64> = charts.iter().filter_map(|chart| chart.above).map(|second| second as f64).collect();
            let above = median(above, runs as usize).map_or("-".to_owned(), |second| format!("{second} s"));
            let swing = if period.is_some() { ", swinging" } else { "" };
            let [ten, hundred, all] = widths;
            let [stable, candidate] = rates.map(|rate| rate * 100.0);
            self.line(&format!(
                "| {stable} %, {candidate} %{swing} | {told} | {ten:.2}, {hundred:.2}, {all:.2} points | {above} |"
            ));
        }
        let p95 = each(runs, self.threads, intervals::p95);
        let missed = p95.iter().filter(|(missed, _)| *missed).count() as u64;
        let told = self.null("chart of p95", 0.01, missed, runs);
        let [low, high] =
            [0, 1].map(|place| median(p95.iter().map(|(_, at)| at[place]).collect(), runs as usize).unwrap_or(0.0));
        self.line(&format!("\nA p95 of lognormal answers was ever missed in {told}; after 2 000 answers its limits are {low:.2} and {high:.2} of it."));
    }
}

fn percent(hits: u64, runs: u64) -> f64 {
    (hits as f64 * 1000.0 / runs as f64).round() / 10.0
}
