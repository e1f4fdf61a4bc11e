//! The parts of the suite about keyless requests: what is found, how often nothing is called something, and what other tools would do.

use std::fmt::Write as _;

use config::release::verdict::Verdict;

use crate::counted::{each, median};
use crate::keyless::{Finding, Keyless, Trouble, WORLD, by_beginnings, defect, is_worse, run, watch};
use crate::worlds::{
    EVEN_SPEEDS, FOUND_EVEN, FOUND_WORSE, HANGS, KEYLESS, KEYLESS_CLAIMED, SLOWER, SPEED_CLAIMED, held,
};
use crate::{Suite, peers, percent};

impl Suite {
    /// The table of the README.
    pub(crate) fn detection(&mut self) -> String {
        let mut table =
            "| stable fails | candidate fails | weight | verdict | requests of the candidate | requests in total |\n\
                         |---|---|---|---|---|---|\n"
                .to_owned();
        for (stable, candidate, weight) in FOUND_WORSE {
            let world = held(*stable, *candidate, *weight);
            let _ = writeln!(table, "{}", self.row((*stable, *candidate), &world, "worse", is_worse));
        }
        for (rate, weight) in FOUND_EVEN {
            let world = held(*rate, *rate, *weight);
            let row = self.row((*rate, *rate), &world, "no worse", |verdict| *verdict == Verdict::NoWorse);
            let _ = writeln!(table, "{row}");
        }
        self.line(&format!(
            "\n## How quickly a bad version is seen\n\n200 keyless requests/s that take 20 ms, looked at ten times a second. Medians of {} rollouts; \
             requests count when they begin.\n\n{}",
            self.powers,
            table.trim_end()
        ));
        table
    }

    fn row(&self, rates: (f64, f64), world: &Keyless, name: &str, wished: fn(&Verdict) -> bool) -> String {
        let found = each(self.powers, self.threads, |seed| run(world, seed, watch(world, 1), wished, |_| {}).finding);
        let of = |count: fn(&Finding) -> u64| {
            let all: Vec<f64> = found.iter().flatten().map(|found| count(found) as f64).collect();
            median(all, self.powers as usize).map_or("above 5000000".to_owned(), |middle| middle.to_string())
        };
        let (stable, candidate) = (100.0 * rates.0, 100.0 * rates.1);
        let (candidates, total) = (of(|found| found.candidate), of(|found| found.total));
        format!("| {stable} % | {candidate} % | {} % | {name} | {candidates} | {total} |", world.weight)
    }

    pub(crate) fn keyless_nulls(&mut self) {
        self.line(&format!(
            "\n## Keyless traffic, candidate and stable the same\n\n200 requests/s, 10 % more every 30 s. Rollouts called worse, by failures or by speed; at \
             most {} % may be.\n\n| world | called worse | said to be slower above 50 % |\n|---|---|---|",
            KEYLESS_CLAIMED * 100.0
        ));
        for world in KEYLESS {
            let all = each(self.nulls, self.threads, |seed| by_beginnings(world, seed));
            let hits = all.iter().filter(|one| one.finding.is_some()).count() as u64;
            let alerts = all.iter().filter(|one| one.alerts).count() as u64;
            let told = self.null(world.name, KEYLESS_CLAIMED, hits, self.nulls);
            self.line(&format!("| {} | {told} | {} % |", world.name, percent(alerts, self.nulls)));
        }
    }

    pub(crate) fn speeds(&mut self) {
        self.line(&format!(
            "\n## Speed\n\n200 requests/s, 10 %, five minutes unless it says otherwise. A candidate within one of both margins; at most {} % may be called \
             slower.\n\n| world | called slower | said to be slower above 50 % |\n|---|---|---|",
            SPEED_CLAIMED * 100.0
        ));
        for world in EVEN_SPEEDS {
            let all = each(self.nulls, self.threads, |seed| by_beginnings(world, seed));
            let hits = all.iter().filter(|one| one.finding.is_some_and(|found| found.is_speed)).count() as u64;
            let alerts = all.iter().filter(|one| one.alerts).count() as u64;
            let told = self.null(world.name, SPEED_CLAIMED, hits, self.nulls);
            self.line(&format!("| {} | {told} | {} % |", world.name, percent(alerts, self.nulls)));
        }
        self.line(
            "\nA candidate beyond both, or that hangs. Of the seconds 25 are the warm-up of 500 answers (60 at 20 requests/s).\n\n| world | found, median \
             second, requests of the candidate | when the method was chosen |\n|---|---|---|",
        );
        let hangs = Keyless { name: "hangs, clients are patient, 20 ms", ..HANGS };
        for (world, expected) in SLOWER.iter().chain(&[(hangs, 1.2)]) {
            let runs = self.powers.min(51);
            let found = each(runs, self.threads, |seed| by_beginnings(world, seed).finding);
            let found: Vec<Finding> = found.into_iter().flatten().collect();
            self.line(&format!("| {} | {} | {expected} s |", world.name, told(&found, runs)));
        }
    }

    pub(crate) fn peers(&mut self) {
        let runs = self.powers.min(51);
        self.line(&format!(
            "\n## Beside other tools\n\nThe same keyless requests under each: 200/s, 10 % to the candidate for ten minutes, base 1 %, unless it says otherwise. \
             Share sent back, median second, and for Weir the requests of the candidate by then; {runs} rollouts each. The others' rules are those \
             of their documentation, with a threshold of twice the base.\n"
        ));
        let names: Vec<&str> = std::iter::once("Weir").chain(peers::RULES.map(|rule| rule.0)).collect();
        self.line(&format!("| world | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len())));
        let linear = Keyless { step: 60.0, ..WORLD };
        let mut worlds = vec![
            Keyless { name: "the same", ..defect(0.01, 0.0) },
            Keyless {
                name: "the same, base from 0.5 to 3 %, 10 % every minute",
                fails: [0.005, 0.0],
                trouble: Trouble::Drift(0.03),
                ..linear
            },
            Keyless { name: "the same, everything fails 2 s of 20", trouble: Trouble::Outages, ..defect(0.01, 0.0) },
            Keyless { name: "the same, 2 requests/s", rate: 2.0, ..defect(0.01, 0.0) },
        ];
        let more = [("fails +100 %", 1.0), ("+10 %", 0.1), ("+5 %", 0.05), ("+2 %", 0.02), ("+1 %", 0.01)];
        worlds.extend(more.map(|(name, more)| Keyless { name, ..defect(0.01, more) }));
        worlds.push(Keyless { name: "+100 %, 2 requests/s", rate: 2.0, ..defect(0.01, 1.0) });
        for world in &worlds {
            let all = each(runs, self.threads, |seed| {
                let weir = by_beginnings(world, seed).finding;
                let mut minutes = Vec::new();
                run(world, seed, watch(world, 1), |_| false, |asked| peers::count(&mut minutes, asked));
                (weir, peers::RULES.map(|(_, rule)| rule(&minutes)))
            });
            let weir: Vec<Finding> = all.iter().filter_map(|one| one.0).collect();
            let mut row = format!("| {} | {} |", world.name, told(&weir, runs));
            for place in 0..peers::RULES.len() {
                let back: Vec<f64> = all.iter().filter_map(|one| one.1[place]).collect();
                let count = back.len();
                let time = median(back, count).map_or(String::new(), |time| format!(", {time:.0} s"));
                let _ = write!(row, " {} %{time} |", percent(count as u64, runs));
            }
            self.line(&row);
        }
    }
}

/// Such as `100 %, 2.9 s, 58`.
fn told(found: &[Finding], runs: u64) -> String {
    let middle = |of: fn(&Finding) -> f64| median(found.iter().map(of).collect(), found.len());
    match (middle(|found| found.seconds), middle(|found| found.candidate as f64)) {
        (Some(seconds), Some(requests)) => {
            format!("{} %, {seconds:.1} s, {requests}", percent(found.len() as u64, runs))
        }
        _ => "0 %".to_owned(),
    }
}
