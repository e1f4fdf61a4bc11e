//! A report in sentences.

use std::fmt;
use std::time::Duration;

use super::{Due, Forecast, Report, Spread};
use crate::release::preflight::rate_text;
use crate::text::problem::visible;
use crate::value::duration::show_duration;

/// Weights of a timeline that are told; of a longer one the first and the last of them.
const WEIGHTS: usize = 12;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let assumed = &self.assumed;
        let worse = assumed.base.plus(assumed.defect);
        if let Some(plan) = &self.plan {
            writeln!(f, "plan: {}", visible(plan))?;
        }
        if let Some(seen) = self.observed {
            writeln!(f, "seen: {} requests within {}", seen.requests, time(seen.seconds))?;
        }
        let rate = rate_text(assumed.rate.per_second());
        writeln!(f, "assumed: {rate}, {} of them fail on stable; {} runs", assumed.base, assumed.runs)?;
        writeln!(f, "weights: {}", weights(&self.timeline))?;
        writeln!(f, "\na sound candidate ({} fail):", assumed.base)?;
        self.sound.tell(f, assumed.runs, "by mistake")?;
        writeln!(f, "\na defective candidate ({worse} fail):")?;
        self.defective.tell(f, assumed.runs, "to stable")?;
        if !self.shortfalls.is_empty() {
            writeln!(f)?;
        }
        for short in &self.shortfalls {
            writeln!(f, "warning: {}\n  {}", visible(&short.message), visible(&short.hint))?;
        }
        Ok(())
    }
}

/// `10 % at once, 20 % after 1m`
fn weights(timeline: &[Due]) -> String {
    let told = |due: &Due| match due.seconds {
        0.0 => format!("{} % at once", due.weight),
        after => format!("{} % after {}", due.weight, time(after)),
    };
    let mut all: Vec<String> = timeline.iter().map(told).collect();
    if all.len() > WEIGHTS {
        all.splice(WEIGHTS - 2..all.len() - 1, ["…".to_owned()]);
    }
    all.join(", ")
}

impl Forecast {
    /// `back`: what a rollback of this candidate is.
    fn tell(&self, f: &mut fmt::Formatter<'_>, runs: u32, back: &str) -> fmt::Result {
        let of_runs = |count: u32| format!("{count} of {runs} runs ({} %)", percent(count, runs));
        if self.promoted > 0 {
            let after =
                if self.promoted == runs { format!(", after {}", spread(self.seconds, time)) } else { String::new() };
            writeln!(f, "  promoted in {}{after}", of_runs(self.promoted))?;
        }
        writeln!(f, "  rolled back {back} in {}", of_runs(self.rolled_back))?;
        if self.held > 0 {
            writeln!(f, "  left to somebody's decision in {}, and watched for an hour", of_runs(self.held))?;
        }
        if self.alerted > 0 {
            writeln!(f, "  told to be worse, and left alone, in {}: the plan is not guarded", of_runs(self.alerted))?;
        }
        if let Some(found) = self.found_seconds {
            writeln!(f, "  found after {}", spread(found, time))?;
        }
        let share = (self.share * 10.0).round() / 10.0;
        writeln!(f, "  requests it gets: {}; {share} % of all", spread(self.requests, whole))?;
        let until = if self.found_seconds.is_some() { " until it is found" } else { "" };
        writeln!(f, "  of them fail{until}: {}", spread(self.failed, whole))?;
        self.why.as_ref().map_or(Ok(()), |why| writeln!(f, "  why, for example: {}", visible(why)))
    }
}

/// `7s (median), 15s (95 of 100 runs)`
fn spread(spread: Spread, told: impl Fn(f64) -> String) -> String {
    let (median, p95) = (told(spread.median), told(spread.p95));
    if median == p95 { median } else { format!("{median} (median), {p95} (95 of 100 runs)") }
}

/// With a tenth below ten seconds, in whole seconds beyond.
fn time(seconds: f64) -> String {
    if seconds < 9.95 {
        format!("{}s", (seconds * 10.0).round() / 10.0)
    } else {
        show_duration(Duration::from_secs(seconds.round() as u64))
    }
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}

/// With one decimal.
fn percent(part: u32, of: u32) -> f64 {
    (f64::from(part) * 1000.0 / f64::from(of.max(1))).round() / 10.0
}
