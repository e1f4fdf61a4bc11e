//! The suite of worlds: how often the verdict is wrong where nothing is wrong, what it finds, and what others would find.
//!
//! `make science` runs all rollouts (an hour at most) and writes `gateway/manual/science.md`; without `--full` it is a cut that
//! only prints. It fails if a share of false alarms lies above its bound.

#[path = "../tests/science/callers.rs"]
mod callers;
#[path = "../tests/science/counted.rs"]
mod counted;
#[path = "../tests/science/gates.rs"]
mod gates;
#[path = "../tests/science/intervals.rs"]
mod intervals;
#[path = "../tests/science/keyless.rs"]
mod keyless;
#[path = "science/peers.rs"]
mod peers;
#[path = "../tests/science/random.rs"]
mod random;
#[path = "../tests/science/tables.rs"]
mod tables;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use callers::{Callers, run};
use config::model::Margin;
use config::release::verdict::Watch;
use counted::{each, median, most, share};
use gates::{Failures, GateWorld, LIMIT, bake};
use keyless::{ByBeginnings, KEYLESS, by_beginnings, defect};
use random::Activity;
use tables::{CLAIMED, NULLS, OTHERS, POWERS, power};

/// How many rollouts each part has.
struct Suite {
    nulls: u64,
    powers: u64,
    threads: usize,
    /// The page.
    text: String,
    /// Bounds that did not hold.
    broken: Vec<String>,
}

fn main() -> ExitCode {
    let is_full = std::env::args().any(|argument| argument == "--full");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (nulls, powers) = if is_full { (1_000, 101) } else { (100, 21) };
    let mut suite = Suite { nulls, powers, threads, text: String::new(), broken: Vec::new() };
    suite.line("# What a verdict is worth: measured\n");
    suite.line(
        "Made by `make science`: do not edit. Worlds are in `config/tests/science`, methods in the documentation of",
    );
    suite.line("`config/release/verdict`. Intervals are at 95 %.");
    suite.callers_nulls();
    suite.keyless_nulls();
    suite.callers_powers();
    suite.gates();
    suite.charts();
    suite.peers();
    if is_full {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/manual/science.md");
        #[expect(clippy::disallowed_methods, reason = "the core is pure; its suite writes a page of the manual")]
        let written = std::fs::write(&page, &suite.text);
        if let Err(error) = written {
            eprintln!("{}: {error}; its folder must be there", page.display());
            return ExitCode::FAILURE;
        }
    }
    suite.broken.iter().for_each(|broken| eprintln!("above its bound: {broken}"));
    if suite.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
            "\n## Keyed traffic, candidate and stable the same\n\nRollouts called worse of {}; at most {} % may be. Equal: all callers are \
             equally active; Zipf: the first of 1 000 makes 13 %.\n\n| world | equal | Zipf |\n|---|---|---|",
            self.nulls,
            CLAIMED * 100.0
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
                let _ = write!(row, " {} |", self.null(world.name, CLAIMED, hits, self.nulls));
            }
            self.line(&row);
        }
    }

    fn keyless_nulls(&mut self) {
        self.line(&format!(
            "\n## Keyless traffic, candidate and stable the same\n\nRollouts called worse of {}; at most 1 % may be.\n\n| world | called worse |\n|---|---|",
            self.nulls
        ));
        for world in KEYLESS {
            let found = each(self.nulls, self.threads, |seed| by_beginnings(world, seed).is_some());
            let hits = found.into_iter().filter(|is| *is).count() as u64;
            let told = self.null(world.name, 0.01, hits, self.nulls);
            self.line(&format!("| {} | {told} |", world.name));
        }
    }

    fn callers_powers(&mut self) {
        self.line(
            "\n## Keyed traffic, a candidate that fails more\n\n200 requests/s, Zipf, up to 600 s. Medians: seconds, requests of the \
             candidate; in brackets what the design says.\n\n| base, weight, callers | +100 % | +50 % | +10 % | +5 % | +2 % |\n|---|---|---|---|---|---|",
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
        self.line(
            "\n## A gate at 1 %, bake of ten minutes, weight 10 %\n\nSent back early by windows (median second), by the estimate at every \
             look; then passed at the end.\n\n| requests/s | failures | part of the limit | windows | every look | passes |\n|---|---|---|---|---|---|",
        );
        let independent = [20.0, 200.0].into_iter().flat_map(|rate| {
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
            let runs = self.nulls.min(200);
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

    fn charts(&mut self) {
        self.line("\n## The interval of a chart\n\n| stable, candidate | ever missed | width after 10, 100, 600 s | above 0 from |\n|---|---|---|---|");
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
            self.line(&format!("| {rates:?}{swing} | {told} | {ten:.2}, {hundred:.2}, {all:.2} points | {above} |"));
        }
        let p95 = each(runs, self.threads, intervals::p95);
        let missed = p95.iter().filter(|(missed, _)| *missed).count() as u64;
        let told = self.null("chart of p95", 0.01, missed, runs);
        let [low, high] =
            [0, 1].map(|place| median(p95.iter().map(|(_, at)| at[place]).collect(), runs as usize).unwrap_or(0.0));
        self.line(&format!("\nA p95 of lognormal answers was ever missed in {told}; after 2 000 answers its limits are {low:.2} and {high:.2} of it."));
    }

    fn peers(&mut self) {
        self.line("\n## Beside other tools\n\nThe same keyless requests (200/s, 10 % to the candidate, base 1 %, ten minutes): share sent back, median second.\n");
        let defects = [0.0, 1.0, 0.1, 0.05, 0.02, 0.01];
        self.line("| rule | nothing | +100 % | +10 % | +5 % | +2 % | +1 % |\n|---|---|---|---|---|---|---|");
        let mut rows: Vec<String> =
            std::iter::once("Weir").chain(peers::RULES.map(|rule| rule.0)).map(|name| format!("| {name} |")).collect();
        for more in defects {
            let world = defect(0.01, more);
            let runs = each(self.powers, self.threads, |seed| {
                let weir = by_beginnings(&world, seed).map(|found| found.0);
                let mut minutes = Vec::new();
                let mut nobody =
                    ByBeginnings::new(Watch::new(Margin { alpha: 1, ratio: u32::MAX, points: 1_000_000 }, false));
                keyless::run(&world, seed, &mut nobody, |asked| peers::count(&mut minutes, asked));
                let others = peers::RULES.map(|(_, rule)| rule(&minutes));
                std::iter::once(weir).chain(others).collect::<Vec<_>>()
            });
            for (place, row) in rows.iter_mut().enumerate() {
                let back: Vec<f64> = runs.iter().filter_map(|run| run[place]).collect();
                let count = back.len();
                let time = median(back, count).map_or(String::new(), |time| format!(", {time:.1} s"));
                let _ = write!(row, " {} %{time} |", percent(count as u64, self.powers));
            }
        }
        rows.iter().for_each(|row| self.line(row));
    }
}

fn percent(hits: u64, runs: u64) -> f64 {
    (hits as f64 * 1000.0 / runs as f64).round() / 10.0
}
