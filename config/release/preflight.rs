//! Before a release: whether a plan can reach an answer with the requests that come.
//!
//! Only what waits for requests matters: a bake by requests, gates that measure them, and the outcomes that a guarded plan must know. A gate
//! that passes without an answer waits for nothing. What the guard can see with the requests that come tells [`outlook`].

mod outlook;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Bake, Check, Gate, OnInsufficient, Plan, Step};
use crate::release::rollout::MAX_EXPOSURE;
use crate::release::verdict::{Watch, enough_requests};
use crate::text::problem::{Problem, Severity};
use crate::value::duration::show_duration;
use crate::value::weight::Weight;

pub use outlook::outlook;

/// An alias must be looked at for so long before anything is said of its rate.
const LEAST_TIME: Duration = Duration::from_secs(5);
const GUARD: &str = "the guard";
/// Requests per second that no alias has: what is short of them is short whatever comes.
const ANY_RATE: f64 = 1e9;

/// What an alias did lately.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Requests that its split decided.
    pub requests: u64,
    /// The part of stable's requests that failed, 0 to 1.
    pub failures: f64,
    /// Within so long.
    pub over: Duration,
}

/// Requests that a step waits for, and that do not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// Such as `plan.steps[0]`.
    pub path: String,
    /// In a sentence.
    pub message: String,
    /// What would do.
    pub hint: String,
}

impl Observed {
    /// Requests per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.over.as_secs_f64()
    }

    /// The rate that hardly lies above what was seen: two standard deviations of a count, and the three requests of which
    /// none may have come.
    fn most(&self) -> f64 {
        let requests = self.requests as f64;
        (requests + 2.0 * requests.sqrt() + 3.0) / self.over.as_secs_f64()
    }
}

/// Why the plan cannot reach an answer, and what would: errors where it cannot, warnings where it may not, or where too
/// little was seen to say. `from`: what the candidate has already; smaller steps are skipped.
#[must_use]
pub fn preflight(plan: &Plan, from: Weight, seen: &Observed) -> Vec<Problem> {
    let needs = needs(plan, from, seen.failures);
    if seen.requests > 0 && seen.over >= LEAST_TIME {
        let (rate, most) = (seen.rate(), seen.most());
        let judged = needs.iter().filter_map(|need| match need.comes.at(most) < need.least {
            true => Some(need.told(rate).problem(Severity::Error)),
            false => need.is_short(rate).then(|| need.told(rate).problem(Severity::Warning)),
        });
        return judged.collect();
    }
    let (never, open): (Vec<_>, Vec<_>) = needs.iter().partition(|need| need.comes.at(ANY_RATE) < need.least);
    let never = never.into_iter().map(|need| need.told(ANY_RATE).problem(Severity::Error));
    let unknown = open.iter().filter(|need| need.is_short(0.0)).max_by(|a, b| a.likely.total_cmp(&b.likely));
    let unknown = unknown.map(|need| {
        let message = format!(
            "{} needs {:.0} requests of {}, and too few were seen to say whether they come",
            need.name(),
            need.likely,
            need.who
        );
        Problem::warning(need.path(), message).help("`weir simulate --rate` tells what the plan does at a rate")
    });
    never.chain(unknown).collect()
}

/// What the plan waits for that does not come at this rate of requests per second, where this part of stable's fails.
#[must_use]
pub fn shortfalls(plan: &Plan, rate: f64, failures: f64) -> Vec<Shortfall> {
    needs(plan, Weight::ZERO, failures).iter().filter(|need| need.is_short(rate)).map(|need| need.told(rate)).collect()
}

impl Shortfall {
    fn problem(self, severity: Severity) -> Problem {
        Problem { severity, ..Problem::error(self.path, self.message).help(self.hint) }
    }
}

/// Requests, as they depend on the rate.
#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    /// At any rate.
    given: f64,
    /// And so many at one request per second.
    seconds: f64,
}

impl Amount {
    fn at(self, rate: f64) -> f64 {
        self.given + rate * self.seconds
    }

    fn plus(self, more: Self) -> Self {
        Self { given: self.given + more.given, seconds: self.seconds + more.seconds }
    }

    fn times(self, factor: f64) -> Self {
        Self { given: self.given * factor, seconds: self.seconds * factor }
    }
}

/// Something that waits for requests.
struct Need {
    /// From 0.
    step: usize,
    /// Such as: the gate `no-worse`.
    what: String,
    who: &'static str,
    /// Whose share of the requests that is, 0 to 1.
    share: f64,
    /// So many will do.
    likely: f64,
    /// With fewer there is no hope.
    least: f64,
    /// Whether fewer than `least` are asked for by name, and `likely` follows from what they are to show.
    exact: bool,
    /// Until it must answer.
    comes: Amount,
    /// How long that is, where a clock says it.
    patience: Option<Duration>,
    /// What would do.
    cures: &'static str,
}

impl Need {
    fn is_short(&self, rate: f64) -> bool {
        self.comes.at(rate) < self.likely
    }

    /// How many are told to be needed at this rate.
    fn wanted(&self, rate: f64) -> f64 {
        if self.exact && self.comes.at(rate) < self.least { self.least } else { self.likely }
    }

    fn path(&self) -> String {
        format!("plan.steps[{}]", self.step)
    }

    fn name(&self) -> String {
        format!("{} of step {}", self.what, self.step + 1)
    }

    fn told(&self, rate: f64) -> Shortfall {
        if self.likely.is_infinite() {
            let message = format!("{} never passes: its margin of nothing cannot be shown", self.name());
            return Shortfall { path: self.path(), message, hint: "give `guard` a wider margin".to_owned() };
        }
        let within = self.patience.map(|time| format!(" in the {}", show_duration(time))).unwrap_or_default();
        let mut message = format!(
            "{} needs {:.0} requests of {}, and about {:.0} come{within} until it must answer",
            self.name(),
            self.wanted(rate),
            self.who,
            self.comes.at(rate).floor()
        );
        if rate >= ANY_RATE {
            message.push_str(", at any rate");
            return Shortfall { path: self.path(), message, hint: format!("it takes {}", self.cures) };
        }
        message.push_str(&format!(", at {}", rate_text(rate)));
        let hint = format!(
            "that many take {} at this weight; {} would do",
            how_long(self.wanted(rate) / (rate * self.share)),
            self.cures
        );
        Shortfall { path: self.path(), message, hint }
    }
}

/// Everything that waits for requests, in the order of the steps.
fn needs(plan: &Plan, from: Weight, failures: f64) -> Vec<Need> {
    let mut needs = Vec::new();
    // What earlier steps bring of the evidence that the candidate is no worse: the verdict is one over all of them.
    let mut shown = Amount::default();
    let last = plan.steps.len() - 1;
    for (place, step) in plan.steps.iter().enumerate().filter(|(place, step)| step.weight >= from || *place == last) {
        let share = f64::from(step.weight.basis_points()) / f64::from(Weight::WHOLE);
        needs.extend(of_bake(place, step, share));
        if needs.iter().all(|need: &Need| need.what != GUARD) {
            needs.extend(of_guard(plan, (place, step), share));
        }
        let no_worse = no_worse_needs(plan, step, failures);
        for gate in plan.gates_at(step) {
            needs.extend(of_gate(gate, (place, step), share, (no_worse, shown)));
        }
        if no_worse.is_finite() {
            shown = shown.plus(brought(step, share, share).times(1.0 / no_worse));
        }
    }
    needs
}

fn of_bake(place: usize, step: &Step, share: f64) -> Option<Need> {
    let Bake::Requests(wanted) = step.bake else { return None };
    Some(Need {
        step: place,
        what: "the bake".to_owned(),
        who: "the candidate",
        share,
        likely: wanted as f64,
        least: wanted as f64,
        exact: true,
        comes: Amount { given: 0.0, seconds: share * MAX_EXPOSURE.as_secs_f64() },
        patience: Some(MAX_EXPOSURE),
        cures: "fewer `requests`, or a larger weight",
    })
}

/// The outcomes that a step of a guarded plan ends with. Where they do not come the rollout goes back, which is a way to find out:
/// nothing is refused for it.
fn of_guard(plan: &Plan, (place, step): (usize, &Step), share: f64) -> Option<Need> {
    let (guard, bake) = (&plan.guard, step.bake);
    let is_over_at_once = matches!(bake, Bake::Time(time) if time.is_zero());
    if !guard.enforced || guard.min_requests == 0 || is_over_at_once {
        return None;
    }
    let patience = Amount { given: 0.0, seconds: share * guard.patience.as_secs_f64() };
    Some(Need {
        step: place,
        what: GUARD.to_owned(),
        who: "the candidate",
        share,
        likely: guard.min_requests as f64,
        least: 0.0,
        exact: true,
        comes: brought(step, share, share).plus(patience),
        patience: if let Bake::Time(time) = bake { Some(time + guard.patience) } else { None },
        cures: "a larger weight, fewer `min_requests` or a longer `patience` in `guard`",
    })
}

fn of_gate(gate: &Gate, (place, step): (usize, &Step), share: f64, (no_worse, shown): (f64, Amount)) -> Option<Need> {
    let (likely, least, cures) = match gate.check {
        Check::ErrorRate { min_requests, .. } | Check::Latency { min_requests, .. } => {
            // A candidate at half of its limit is within it then, nearly always.
            let likely = gate.check.limit_part().map_or(0, enough_requests).max(min_requests);
            let cures = "a longer bake or `timeout`, a larger weight, fewer `min_requests`, or `on_insufficient: pass`";
            (likely as f64, min_requests as f64, cures)
        }
        // An estimate: half of it may do on a good day.
        Check::NoWorse => {
            let cures =
                "a longer bake or `timeout`, a larger weight, a wider margin in `guard`, or `on_insufficient: pass`";
            (no_worse, no_worse / 2.0, cures)
        }
        Check::Approval { .. } | Check::Window(_) | Check::Prometheus(_) => return None,
    };
    // Both sides need them where a limit compares; the slower one decides.
    let compares = gate.check.compares() && gate.check != Check::NoWorse;
    let (who, of) = if compares && share > 0.5 { ("stable", 1.0 - share) } else { ("the candidate", share) };
    let wait = match gate.on_insufficient {
        OnInsufficient::Pass => return None,
        OnInsufficient::Wait => gate.timeout,
        OnInsufficient::Fail => Duration::ZERO,
    };
    let mut comes = brought(step, share, of).plus(Amount { given: 0.0, seconds: of * wait.as_secs_f64() });
    if gate.check == Check::NoWorse && no_worse.is_finite() {
        comes = comes.plus(shown.times(no_worse));
    }
    let patience = if let Bake::Time(bake) = step.bake { Some(bake + wait) } else { None };
    let what = format!("the gate `{}`", gate.check.name());
    let exact = gate.check != Check::NoWorse;
    Some(Need { step: place, what, who, share: of, likely, least, exact, comes, patience, cures })
}

/// The requests of one side, whose share is `of`, during the bake of a step whose candidate has this share.
fn brought(step: &Step, share: f64, of: f64) -> Amount {
    match step.bake {
        Bake::Time(time) => Amount { given: 0.0, seconds: of * time.as_secs_f64() },
        Bake::Requests(wanted) => Amount { given: wanted as f64 * of / share, seconds: 0.0 },
        Bake::Hold => Amount { given: f64::INFINITY, seconds: 0.0 },
    }
}

/// About how many requests of the candidate show at this step alone that it is no worse; infinite where none ever would.
fn no_worse_needs(plan: &Plan, step: &Step, failures: f64) -> f64 {
    Watch::needs(plan.guard.margin, step.weight, failures).map_or(f64::INFINITY, |needs| needs as f64)
}

/// `200 requests a second`, or by the day where that says more.
pub(crate) fn rate_text(rate: f64) -> String {
    let (number, unit) = if rate < 0.1 { (rate * 86_400.0, "day") } else { (rate, "second") };
    let number = (number * 10.0).round() / 10.0;
    format!("{number} request{} a {unit}", if number == 1.0 { "" } else { "s" })
}

/// To one unit, rounded up: `45s`, `12m`, `3h`, `9d`.
fn how_long(seconds: f64) -> String {
    const UNITS: [(f64, f64, &str); 4] =
        [(1.0, 120.0, "s"), (60.0, 120.0, "m"), (3600.0, 48.0, "h"), (86_400.0, 365.0, "d")];
    let fits = UNITS.iter().find(|(unit, most, _)| seconds / unit <= *most);
    fits.map_or_else(
        || "more than a year".to_owned(),
        |(unit, _, name)| format!("about {:.0}{name}", (seconds / unit).ceil()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse::parse_plan;

    fn plan(text: &str) -> Plan {
        parse_plan(text, &|_| None).unwrap()
    }

    /// What is told of a plan, each problem as `error: …` or `warning: …`.
    fn told(text: &str, requests: u64, seconds: u64) -> Vec<String> {
        let seen = Observed { requests, failures: 0.01, over: Duration::from_secs(seconds) };
        preflight(&plan(text), Weight::ZERO, &seen).iter().map(Problem::to_string).collect()
    }

    const GATE: &str = "{canaryStep: {weight: 5, interval: 10m}, gates: [{error_rate: {max: 1%, min_requests: 1000, on_insufficient: fail}}]}";

    #[test]
    fn a_gate_that_cannot_have_its_requests_is_refused_with_what_would_do() {
        let [told] = &told(GATE, 60, 60)[..] else { panic!("one problem") };
        assert_eq!(
            told,
            "error: plan.steps[0]: the gate `error_rate` of step 1 needs 1000 requests of the candidate, and about 30 come \
             in the 10m until it must answer, at 1 request a second (that many take about 6h at this weight; a longer bake or \
             `timeout`, a larger weight, fewer `min_requests`, or `on_insufficient: pass` would do)"
        );
    }

    #[test]
    fn enough_requests_are_no_problem_and_nearly_enough_are_a_warning() {
        assert_eq!(told(GATE, 60 * 40, 60), [""; 0]);
        let [told] = &told(GATE, 60 * 33, 60)[..] else { panic!("one problem") };
        assert!(told.starts_with("warning: ") && told.contains("about 990 come"), "{told}");
    }

    #[test]
    fn what_was_hardly_seen_is_not_judged() {
        for (requests, seconds) in [(0, 60), (0, 0), (3, 4)] {
            let [told, ..] = &told(GATE, requests, seconds)[..] else { panic!("one problem") };
            assert!(told.starts_with("warning: ") && told.contains("too few were seen"), "{told}");
        }
        assert!(told(GATE, 3, 5)[0].starts_with("error: "), "five seconds say something");
    }

    #[test]
    fn what_waits_for_nothing_is_no_problem() {
        for text in [
            "linearStep: {weight: 10}",
            "canaryWeight: 5",
            "full",
            "{canaryStep: {weight: 5, interval: 1m}, gates: [approval, {window: \"09:00-17:00\"}]}",
            "{canaryStep: {weight: 5, interval: 1m}, gates: [{error_rate: {max: 1%, on_insufficient: pass}}]}",
            "{canaryWeight: 5, gates: [no-worse, {error_rate: {max: 1%}}]}",
        ] {
            let text =
                if text.starts_with('{') { text.replacen('{', "{guard: {min_requests: 0}, ", 1) } else { text.into() };
            let text = text.replace("linearStep: {weight: 10}", "{linearStep: {weight: 10}, guard: {min_requests: 0}}");
            assert_eq!(told(&text, 1, 60), [""; 0], "{text}");
            assert_eq!(told(&text, 0, 60), [""; 0], "{text}");
        }
    }

    #[test]
    fn outcomes_that_a_guarded_plan_must_know_and_that_do_not_come_are_a_warning() {
        let text = "{canaryStep: {weight: 5, interval: 1m}, guard: {patience: 1m}}";
        let [told_of] = &told(text, 60, 60)[..] else { panic!("one problem") };
        assert!(
            told_of.starts_with("warning: plan.steps[0]: the guard of step 1 needs 10 requests of the candidate, and about 6 come in the 2m"),
            "{told_of}"
        );
        assert_eq!(told(text, 600, 60), [""; 0]);
        assert!(told(text, 0, 60)[0].contains("too few were seen to say whether they come"));
    }

    #[test]
    fn a_gate_that_waits_has_its_timeout_too() {
        let text = |timeout| {
            format!(
                "{{canaryStep: {{weight: 50, interval: 1m}}, gates: [{{error_rate: {{max: 1%, min_requests: 1000, timeout: {timeout}}}}}]}}"
            )
        };
        assert!(told(&text("1m"), 60, 60)[0].starts_with("error: "));
        assert_eq!(told(&text("1h"), 60, 60), [""; 0]);
    }

    #[test]
    fn the_slower_side_decides_where_a_limit_compares() {
        let text = |limit| {
            format!(
                "{{steps: [{{weight: 90, bake: 1m, gates: [{{error_rate: {{{limit}, min_requests: 100, timeout: 1s}}}}]}}]}}"
            )
        };
        assert!(told(&text("ratio: 2"), 300, 60)[0].contains("100 requests of stable, and about 30 come"));
        assert_eq!(told(&text("max: 5%"), 300, 60), [""; 0]);
        let [unsure] = &told(&text("max: 1%"), 300, 60)[..] else { panic!("one problem") };
        assert!(unsure.starts_with("warning: ") && unsure.contains("needs 1200 requests of the candidate"), "{unsure}");
    }

    #[test]
    fn a_bake_by_requests_is_given_up_after_a_week() {
        let text = "steps: [{weight: 5, requests: 1000000}, {weight: 100}]";
        let [told] = &told(text, 60, 60)[..] else { panic!("one problem") };
        assert!(
            told.contains("the bake of step 1 needs 1000000 requests") && told.contains("about 30240 come in the 7d"),
            "{told}"
        );
    }

    #[test]
    fn what_no_rate_can_bring_is_refused_without_any() {
        let text = "{steps: [{weight: 5, requests: 10, gates: [{error_rate: {max: 1%, on_insufficient: fail}}]}]}";
        let told = &told(text, 0, 0)[0];
        assert!(
            told.starts_with("error: ") && told.contains("about 10 come until it must answer, at any rate"),
            "{told}"
        );
    }

    #[test]
    fn steps_below_what_the_candidate_has_are_skipped() {
        let text = "{canaryPlans: [{weight: 1, interval: 1m}, {weight: 50, interval: 1m}], gates: [{error_rate: {max: 1%, timeout: 1s}}]}";
        let seen = Observed { requests: 3_600, failures: 0.0, over: Duration::from_secs(60) };
        let paths = |from| -> Vec<String> {
            preflight(&plan(text), from, &seen).into_iter().map(|problem| problem.path).collect()
        };
        assert_eq!(paths(Weight::ZERO), ["plan.steps[0]"]);
        assert_eq!(paths(Weight::new(2_000).unwrap()), [""; 0]);
    }

    #[test]
    fn no_worse_counts_what_earlier_steps_have_shown_and_what_really_fails() {
        let text = |interval| {
            format!("{{linearStep: {{weight: 10, interval: {interval}}}, gates: [{{no-worse: {{timeout: 1s}}}}]}}")
        };
        let steps = |interval, rate: f64, failures| shortfalls(&plan(&text(interval)), rate, failures).len();
        assert_eq!(steps("1h", 1.0, 0.01), 9, "none of the steps below 100 gets its answer");
        assert_eq!(steps("1h", 10_000.0, 0.01), 0);
        let (often, rarely) = (steps("1h", 8.0, 0.01), steps("1h", 8.0, 0.0));
        assert!(0 < rarely && rarely < often && often < 9, "{rarely} {often}");
    }

    #[test]
    fn a_margin_of_nothing_is_never_shown() {
        let text = "{canaryStep: {weight: 5}, gates: [no-worse], guard: {ratio: 1, points: 0}}";
        assert!(told(text, 0, 0)[0].contains("never passes"), "{:?}", told(text, 0, 0));
        assert!(told(text, 1_000_000, 60)[0].contains("never passes"));
    }

    #[test]
    fn times_are_told_in_one_unit() {
        for (seconds, told) in
            [(0.5, "about 1s"), (120.0, "about 120s"), (121.0, "about 3m"), (7201.0, "about 3h"), (1e6, "about 12d")]
        {
            assert_eq!(how_long(seconds), told);
        }
        assert_eq!(how_long(f64::INFINITY), "more than a year");
        assert_eq!(
            (rate_text(0.5), rate_text(0.01)),
            ("0.5 requests a second".to_owned(), "864 requests a day".to_owned())
        );
    }
}
