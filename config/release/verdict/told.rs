//! Verdicts and the numbers behind them, and how they are told.

use std::fmt;

use serde::Serialize;

use super::tally::Tally;
use crate::model::LatencyGuard;
use crate::value::decimal::show_parts;
use crate::value::duration::show_duration;

/// What can be said of a candidate. Shown as one sentence with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is shown not to be beyond both margins.
    NoWorse,
    /// It is shown to be worse. Once said it stands.
    Worse(Cause),
    /// There is not enough evidence for either.
    NotYet(Needed),
    /// One of the two has no requests.
    NoData,
    /// The split did not do what its weights ask, so that the two cannot be compared. Once said it stands, unless the
    /// candidate is shown to be worse all the same.
    Void(SampleRatio),
}

/// In what the candidate is worse.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// It fails more often; all requests of the rollout.
    Failures { stable: Tally, candidate: Tally, measure: Measure },
    /// It answers slower, beyond these bounds.
    Latency { slow: Slowness, settings: LatencyGuard, measure: Measure },
    /// It fails nearly everything from the start while stable is healthy; its first requests.
    Breaker { candidate: Tally, measure: Measure },
}

/// What is known and what is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Needed {
    /// All requests so far.
    pub stable: Tally,
    pub candidate: Tally,
    /// About how many more requests of the candidate show that it is no worse, at the present weight and if it fails as
    /// often as stable. `None` where none ever would: at a weight of 0 or 100, or with a margin of nothing.
    pub more: Option<u64>,
    /// Of `no worse`.
    pub measure: Measure,
}

/// A split that contradicts its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRatio {
    /// Picks of both.
    pub drawn: u64,
    /// Picks of the candidate.
    pub candidate: u64,
    /// How many picks of the candidate its weights ask for.
    pub asked: f64,
    pub measure: Measure,
}

/// Evidence, and how much of it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measure {
    /// What a stake of 1 has come to, betting against the opposite. Numbers above 1e300 are told as 1e300.
    pub e: f64,
    /// What it must reach.
    pub needed: f64,
}

/// Answers, and as failures those that were slow: of stable slower than its own quantile before, of the candidate slower than that and
/// both margins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Slowness {
    pub stable: Tally,
    pub candidate: Tally,
}

/// The numbers behind a verdict, for the journal and for people.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evidence {
    /// All requests of stable that say something about it.
    pub stable: Tally,
    /// The same of the candidate.
    pub candidate: Tally,
    /// That the candidate fails more often; the most there ever was.
    pub failures: Measure,
    /// That it is slower; the most there ever was.
    pub latency: Measure,
    /// The same at weights above 50 %, where it only alerts.
    pub heavy_latency: Measure,
    /// Slow answers.
    pub slow: Slowness,
    /// That it fails nearly everything from the start; the most there ever was.
    pub breaker: Measure,
    /// That it is no worse; as of now.
    pub no_worse: Measure,
    /// That the split contradicts its weights; the most there ever was.
    pub sample_ratio: Measure,
}

impl Measure {
    const MOST: f64 = 1e300;

    pub(super) fn new(ln: f64, alpha: f64) -> Self {
        Self { e: ln.exp().min(Self::MOST), needed: (1.0 / alpha).min(Self::MOST) }
    }

    pub(super) fn reached(self) -> bool {
        self.e >= self.needed
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorse => write!(f, "no worse: the candidate is within the margin"),
            Self::Worse(cause) => write!(f, "worse: {cause}"),
            Self::NotYet(needed) => write!(f, "not yet: {needed}"),
            Self::NoData => write!(f, "no data: stable or candidate has no requests"),
            Self::Void(ratio) => write!(f, "void: {ratio}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures { stable, candidate, measure } => write!(
                f,
                "{} of {} failures fell on the candidate, which had {} of requests{}; {measure}",
                candidate.failures,
                candidate.failures + stable.failures,
                percent(candidate.requests, candidate.requests + stable.requests),
                silences(candidate),
            ),
            Self::Latency { slow: Slowness { stable, candidate }, settings, measure } => write!(
                f,
                "{} of the candidate's answers were slower than stable's p{} before by more than {} times and {}, and {} of \
                 stable's slower than that p{}; {measure}",
                percent(candidate.failures, candidate.requests),
                settings.quantile / 10,
                show_parts(settings.ratio.into(), 3),
                show_duration(settings.more),
                percent(stable.failures, stable.requests),
                settings.quantile / 10,
            ),
            Self::Breaker { candidate, measure } => write!(
                f,
                "{} of the candidate's first {} requests failed while stable was healthy{}; {measure}",
                candidate.failures,
                candidate.requests,
                silences(candidate)
            ),
        }
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stable, candidate, more, measure } = self;
        write!(
            f,
            "{} of {} requests failed on the candidate, {} of {} on stable; ",
            candidate.failures, candidate.requests, stable.failures, stable.requests
        )?;
        match more {
            Some(more) => write!(
                f,
                "about {more} more of the candidate would show that it is no worse, if it fails as often as stable; {measure}"
            ),
            None => write!(f, "at this weight and margin nothing would show that the candidate is no worse; {measure}"),
        }
    }
}

impl fmt::Display for SampleRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drawn, candidate, asked, measure } = self;
        write!(f, "{candidate} of {drawn} picks fell on the candidate, its weights ask for {asked:.0}; {measure}")
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e = {}, needed {}", short(self.e), short(self.needed))
    }
}

/// `1.3`, `214`, `4e12`. Rounded down, so that what is short of a bound never looks as if it had reached it.
fn short(e: f64) -> String {
    if e < 10.0 {
        format!("{}", (e * 10.0).floor() / 10.0)
    } else if e < 1e6 {
        format!("{:.0}", e.floor())
    } else {
        format!("{e:.0e}")
    }
}

/// ` (40 got no answer, 3 clients left after a long wait)`
fn silences(candidate: &Tally) -> String {
    let Tally { unanswered, gone, .. } = candidate;
    match (unanswered, gone) {
        (0, 0) => String::new(),
        (_, 0) => format!(" ({unanswered} got no answer)"),
        (0, _) => format!(" ({gone} clients left after a long wait)"),
        _ => format!(" ({unanswered} got no answer, {gone} clients left after a long wait)"),
    }
}

/// `5 %`, `0.4 %`.
fn percent(part: u64, of: u64) -> String {
    let percent = 100.0 * part as f64 / of.max(1) as f64;
    format!("{} %", (percent * 10.0).round() / 10.0)
}
