//! What a gate says about what was counted.

mod watch;

use std::fmt::Write as _;
use std::time::Duration;

pub use self::watch::{GateWatch, StepClock};

use super::Answer;
use crate::model::{Check, Gate, Limit, PrometheusCheck};
use crate::release::outcome::Counts;
use crate::release::verdict::Verdict;

/// What was counted since the step's weight went live, and what the verdict is.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Of stable.
    pub stable: &'a Counts,
    /// Of the candidate.
    pub candidate: &'a Counts,
    /// Over the whole rollout.
    pub verdict: &'a Verdict,
    /// Whether 4xx are failures.
    pub client_errors: bool,
}

impl Gate {
    /// What the counts say by themselves. Of a server, of a person and of a window something else is asked.
    ///
    /// Only an estimate: whoever asks at every look, and takes the first failure for an answer, sends sound candidates back.
    /// [`GateWatch::answer`] is for that.
    #[must_use]
    pub fn answer(&self, seen: &Seen<'_>) -> Answer {
        match &self.check {
            Check::NoWorse => match seen.verdict {
                Verdict::NoWorse => Answer::Pass,
                verdict @ Verdict::Worse(_) => Answer::Fail(verdict.to_string()),
                verdict @ (Verdict::NotYet(_) | Verdict::NoData | Verdict::Void(_)) => {
                    Answer::None(verdict.to_string())
                }
            },
            Check::ErrorRate { limit, min_requests } => {
                let side = |counts: &Counts| Share { is: counts.failures(seen.client_errors), of: counts.judged() };
                rate(*limit, *min_requests, &side(seen.candidate), &side(seen.stable))
            }
            Check::Latency { quantile, limit, min_requests } => {
                let side = |counts: &Counts| (counts.quantile((*quantile).into()), counts.latencies.iter().sum());
                slow((*quantile, *limit, *min_requests), side(seen.candidate), side(seen.stable))
            }
            Check::Approval { .. } | Check::Window(_) | Check::Prometheus(_) => {
                Answer::None("it is asked elsewhere".to_owned())
            }
        }
    }
}

impl Check {
    /// As plans write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoWorse => "no-worse",
            Self::ErrorRate { .. } => "error_rate",
            Self::Latency { .. } => "latency",
            Self::Approval { .. } => "approval",
            Self::Window(_) => "window",
            Self::Prometheus(_) => "prometheus",
        }
    }
}

impl Check {
    /// The part of the candidate's requests that may be bad, 0 to 1; `None` where that follows stable, or nothing is counted.
    #[must_use]
    pub fn limit_part(&self) -> Option<f64> {
        match *self {
            Self::ErrorRate { limit: Limit::Max(most), .. } => Some(most as f64 / 1e6),
            Self::Latency { quantile, limit: Limit::Max(_), .. } => Some(1.0 - f64::from(quantile) / 1e3),
            _ => None,
        }
    }
}

impl PrometheusCheck {
    /// What a number from the server means.
    #[must_use]
    pub fn answer(&self, value: f64) -> Answer {
        let beyond =
            |bound: &crate::value::decimal::Decimal, word| format!("`{}` is {value}, {word} {bound}", self.query);
        match (&self.min, &self.max) {
            (Some(min), _) if value < min.value() => Answer::Fail(beyond(min, "below")),
            (_, Some(max)) if value > max.value() => Answer::Fail(beyond(max, "above")),
            _ => Answer::Pass,
        }
    }
}

/// So many of so many.
struct Share {
    is: u64,
    of: u64,
}

impl Share {
    /// In parts per million.
    fn millionths(&self) -> u128 {
        u128::from(self.is) * 1_000_000 / u128::from(self.of.max(1))
    }

    fn percent(&self) -> String {
        percent(self.millionths())
    }
}

fn percent(millionths: u128) -> String {
    let mut text = format!("{}.{:04}", millionths / 10_000, millionths % 10_000);
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text.push_str(" %");
    text
}

fn too_few(who: &str, has: u64, needs: u64) -> Option<Answer> {
    (has < needs).then(|| Answer::None(format!("{who} has {has} of {needs} requests")))
}

fn rate(limit: Limit, min_requests: u64, candidate: &Share, stable: &Share) -> Answer {
    if let Some(answer) = too_few("the candidate", candidate.of, min_requests.max(1)) {
        return answer;
    }
    let compares = !matches!(limit, Limit::Max(_));
    if let Some(answer) = too_few("stable", stable.of, min_requests.max(1)).filter(|_| compares) {
        return answer;
    }
    // A stable version without a failure counts as if its next request failed: no multiple of nothing is ever reached.
    let base = Share { is: stable.is.max(1), of: stable.of.max(1) }.millionths();
    let allowed = match limit {
        Limit::Max(most) => u128::from(most),
        Limit::Ratio(thousandths) => base * u128::from(thousandths) / 1_000,
        Limit::Points(more) => stable.millionths() + u128::from(more),
    };
    if candidate.millionths() <= allowed {
        return Answer::Pass;
    }
    let mut why = format!(
        "{} of {} requests failed on the candidate ({}), allowed are {}",
        candidate.is,
        candidate.of,
        candidate.percent(),
        percent(allowed)
    );
    if compares {
        // Writing to a text cannot fail.
        let _ = write!(why, "; stable has {}", stable.percent());
    }
    Answer::Fail(why)
}

type Quantile = (Option<Duration>, u64);

fn slow((permille, limit, min_requests): (u16, Limit, u64), candidate: Quantile, stable: Quantile) -> Answer {
    if let Some(answer) = too_few("the candidate", candidate.1, min_requests.max(1)) {
        return answer;
    }
    let compares = !matches!(limit, Limit::Max(_));
    if let Some(answer) = too_few("stable", stable.1, min_requests.max(1)).filter(|_| compares) {
        return answer;
    }
    let micros = |side: Quantile| side.0.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    let (candidate, stable) = (micros(candidate), micros(stable));
    let allowed = match limit {
        Limit::Max(most) => u128::from(most),
        Limit::Ratio(thousandths) => u128::from(stable) * u128::from(thousandths) / 1_000,
        Limit::Points(more) => u128::from(stable) + u128::from(more),
    };
    if u128::from(candidate) <= allowed {
        return Answer::Pass;
    }
    let show = |micros: u128| format!("{}.{:03} ms", micros / 1_000, micros % 1_000);
    Answer::Fail(format!(
        "p{} of the candidate is {}, allowed are {}",
        permille / 10,
        show(candidate.into()),
        show(allowed)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OnInsufficient;
    use crate::release::outcome::{Class, latency_bucket};

    fn counts(good: u64, bad: u64, millis: u64) -> Counts {
        let mut counts = Counts::default();
        counts.classes[Class::Success as usize] = good;
        counts.classes[Class::ServerError as usize] = bad;
        counts.latencies[latency_bucket(Duration::from_millis(millis))] = good + bad;
        counts
    }

    fn answer(check: Check, stable: &Counts, candidate: &Counts) -> Answer {
        let gate = Gate { check, on_insufficient: OnInsufficient::Wait, timeout: Duration::from_secs(1) };
        gate.answer(&Seen { stable, candidate, verdict: &Verdict::NoData, client_errors: false })
    }

    fn is_fail(answer: &Answer) -> bool {
        matches!(answer, Answer::Fail(_))
    }

    #[test]
    fn an_error_rate_is_held_against_its_limit() {
        let check = |limit| Check::ErrorRate { limit, min_requests: 100 };
        let (none, one, two) = (counts(1000, 0, 1), counts(990, 10, 1), counts(980, 20, 1));
        let few = answer(check(Limit::Max(10_000)), &none, &counts(50, 40, 1));
        assert_eq!(few, Answer::None("the candidate has 90 of 100 requests".into()));
        assert_eq!(answer(check(Limit::Max(10_000)), &none, &one), Answer::Pass, "1 % is at most 1 %");
        let Answer::Fail(why) = answer(check(Limit::Max(10_000)), &none, &two) else { panic!("2 % passed") };
        assert_eq!(why, "20 of 1000 requests failed on the candidate (2 %), allowed are 1 %");
        assert_eq!(answer(check(Limit::Ratio(2_000)), &one, &two), Answer::Pass);
        assert!(is_fail(&answer(check(Limit::Ratio(1_900)), &one, &two)));
        assert_eq!(answer(check(Limit::Points(10_000)), &one, &two), Answer::Pass);
        assert!(is_fail(&answer(check(Limit::Points(9_000)), &one, &two)));
        assert_eq!(answer(check(Limit::Ratio(1_000)), &none, &counts(999, 1, 1)), Answer::Pass, "one of a thousand");
        let no_stable = answer(check(Limit::Ratio(1_000)), &Counts::default(), &two);
        assert_eq!(no_stable, Answer::None("stable has 0 of 100 requests".into()));
    }

    #[test]
    fn a_latency_is_held_against_its_limit() {
        let check = |limit| Check::Latency { quantile: 950, limit, min_requests: 10 };
        let (fast, slow) = (counts(100, 0, 10), counts(100, 0, 100));
        assert_eq!(answer(check(Limit::Max(20_000)), &slow, &fast), Answer::Pass);
        assert!(is_fail(&answer(check(Limit::Max(20_000)), &fast, &slow)));
        assert!(is_fail(&answer(check(Limit::Ratio(2_000)), &fast, &slow)));
        assert_eq!(answer(check(Limit::Ratio(1_000)), &fast, &fast), Answer::Pass);
        assert!(is_fail(&answer(check(Limit::Points(50_000)), &fast, &slow)));
        assert_eq!(answer(check(Limit::Points(120_000)), &fast, &slow), Answer::Pass);
    }
}
