//! What a plan would do: the same state machine on a virtual clock, with assumed traffic and an assumed defect.
//!
//! Hooks, people, servers and windows say yes at once, answers take no time, and requests come evenly: what is forecast is the
//! traffic, and what the verdict and the gates that measure failures make of it.

mod assumed;
mod random;
mod told;
mod world;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Bake, Check, Gate, Hooks, OnInsufficient, Plan};
use crate::release::preflight::{Shortfall, shortfalls};
use crate::release::rollout::{MAX_EXPOSURE, Outcome};
use crate::text::problem::Problem;
use crate::value::weight::Weight;

pub use self::assumed::{Assumed, AssumedError, Defect, Percentage, Rate};
use self::random::Random;
use self::world::{HOLD, Run, looks};

/// The most runs.
pub const MAX_RUNS: u32 = 1_000;
/// Runs, where nobody says how many.
const RUNS: u32 = 200;
/// The most looks at the traffic in all runs; one takes some microseconds.
const MAX_LOOKS: u64 = 2_000_000;

/// What would happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The plan's name, where it has one.
    pub plan: Option<String>,
    /// What it stands on.
    pub assumed: Assumed,
    /// Where rate and base may come from; `None` without an alias that was looked at.
    pub observed: Option<Seen>,
    /// Of a run that nothing stops: when each weight is set.
    pub timeline: Vec<Due>,
    /// With a candidate that fails as often as stable: what goes back here goes back by mistake.
    pub sound: Forecast,
    /// With a candidate that has the defect.
    pub defective: Forecast,
    /// What the plan waits for that does not come at this rate.
    pub shortfalls: Vec<Shortfall>,
}

/// What an alias did lately.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Requests that its split decided.
    pub requests: u64,
    /// Within so long.
    pub seconds: f64,
}

/// A weight, and when it is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Due {
    /// Since the beginning.
    pub seconds: f64,
    /// Of the candidate, in percent.
    pub weight: f64,
}

/// What came of all runs with one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Runs that made the candidate stable.
    pub promoted: u32,
    /// Runs that went back to stable.
    pub rolled_back: u32,
    /// Runs that hold until somebody decides; they are watched for an hour.
    pub held: u32,
    /// Runs that told of a worse candidate, and went on, because the plan is not guarded.
    pub alerted: u32,
    /// Until a run was over, or left at a hold.
    pub seconds: Spread,
    /// Until the candidate was found to be worse, or was sent back for something else: of the runs in which it was.
    pub found_seconds: Option<Spread>,
    /// Requests that the candidate got.
    pub requests: Spread,
    /// Their share of all requests of the run, in percent: the median.
    pub share: f64,
    /// Requests that failed on the candidate until it was found, or until the end.
    pub failed: Spread,
    /// Why the median of the runs that went back did.
    pub why: Option<String>,
}

/// Of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them are at most this.
    pub median: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
}

/// Runs the plan with a sound candidate, and with one that has the defect.
///
/// # Errors
/// What is assumed makes no sense, or takes more than 2 000 000 looks at the traffic.
pub fn simulate(plan: &Plan, name: Option<String>, assumed: Assumed) -> Result<Report, Problem> {
    let wrong = |path: &str, message: String, help: String| Err(Problem::error(path, message).help(help));
    let (base, worse) = (assumed.base.fraction(), assumed.base.fraction() + assumed.defect.fraction());
    if worse > 1.0 {
        let message = format!("{} and {} more are more than all", assumed.base, assumed.defect);
        return wrong("defect", message, format!("at most `+{}`", assumed.base.rest()));
    }
    if !(1..=MAX_RUNS).contains(&assumed.runs) {
        return wrong("runs", format!("{} runs", assumed.runs), format!("1 to {MAX_RUNS} runs are possible"));
    }
    let possible = possible_runs(plan);
    if assumed.runs > possible {
        let message = format!("{} runs of a plan of so many steps take too long", assumed.runs);
        return wrong("runs", message, format!("at most {possible} are possible"));
    }
    let measured = Arc::new(measured(plan));
    let runs = |failures: f64| -> Vec<Run> {
        (0..assumed.runs)
            .map(|run| world::run(&measured, &assumed, failures, Random::of_run(assumed.seed, run)))
            .collect()
    };
    let (sound, defective) = (runs(base), runs(worse));
    Ok(Report {
        plan: name,
        assumed,
        observed: None,
        timeline: timeline(&sound),
        sound: Forecast::of(&sound),
        defective: Forecast::of(&defective),
        shortfalls: shortfalls(plan, assumed.rate.per_second(), base),
    })
}

/// How many runs of the plan are made where nobody says how many.
#[must_use]
pub fn default_runs(plan: &Plan) -> u32 {
    RUNS.min(possible_runs(plan))
}

/// How many runs of the plan are within bounds; at least one.
fn possible_runs(plan: &Plan) -> u32 {
    let runs = MAX_LOOKS / (2 * looks_of(&measured(plan))).max(1);
    u32::try_from(runs).unwrap_or(MAX_RUNS).clamp(1, MAX_RUNS)
}

/// The plan without what says yes at once.
fn measured(plan: &Plan) -> Plan {
    let mut plan = Plan { hooks: Hooks::default(), ..plan.clone() };
    let measures = |gate: &Gate| matches!(gate.check, Check::NoWorse | Check::ErrorRate { .. } | Check::Latency { .. });
    plan.gates.retain(measures);
    plan.steps.iter_mut().for_each(|step| step.gates.retain(measures));
    plan
}

/// The most looks of one run.
fn looks_of(plan: &Plan) -> u64 {
    let each = plan.steps.iter().map(|step| {
        let bake = match step.bake {
            Bake::Time(time) => time,
            Bake::Requests(_) => MAX_EXPOSURE,
            Bake::Hold => HOLD,
        };
        let waits = plan.gates_at(step).filter(|gate| gate.on_insufficient == OnInsufficient::Wait);
        looks(bake) + looks(waits.map(|gate| gate.timeout).max().unwrap_or(Duration::ZERO))
    });
    each.sum()
}

/// Of the run that got furthest.
fn timeline(runs: &[Run]) -> Vec<Due> {
    let furthest = runs.iter().max_by_key(|run| (run.outcome != Some(Outcome::RolledBack), run.weights.len()));
    let due = |(at, weight): &(Duration, Weight)| Due {
        seconds: at.as_secs_f64(),
        weight: f64::from(weight.basis_points()) / 100.0,
    };
    furthest.into_iter().flat_map(|run| &run.weights).map(due).collect()
}

impl Forecast {
    fn of(runs: &[Run]) -> Self {
        let count = |is: &dyn Fn(&&Run) -> bool| runs.iter().filter(is).count() as u32;
        let spread = |of: &dyn Fn(&Run) -> f64| Spread::of(runs.iter().map(of).collect());
        let found = runs.iter().filter_map(|run| run.found).map(|time| time.as_secs_f64());
        let mut back: Vec<&Run> = runs.iter().filter(|run| run.outcome == Some(Outcome::RolledBack)).collect();
        back.sort_by_key(|run| run.time);
        let nothing = Spread { median: 0.0, p95: 0.0 };
        Self {
            promoted: count(&|run| run.outcome == Some(Outcome::Promoted)),
            rolled_back: count(&|run| run.outcome == Some(Outcome::RolledBack)),
            held: count(&|run| run.outcome.is_none()),
            alerted: count(&|run| run.found.is_some() && run.outcome != Some(Outcome::RolledBack)),
            seconds: spread(&|run| run.time.as_secs_f64()).unwrap_or(nothing),
            found_seconds: Spread::of(found.collect()),
            requests: spread(&|run| run.requests as f64).unwrap_or(nothing),
            share: spread(&Run::share).unwrap_or(nothing).median,
            failed: spread(&|run| run.failed as f64).unwrap_or(nothing),
            why: back.get(back.len() / 2).map(|run| run.why.clone()),
        }
    }
}

impl Spread {
    /// `None` of nothing.
    fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let at = |percent: usize| numbers.get((numbers.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self { median: at(50)?, p95: at(95)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse::parse_plan;

    fn plan(text: &str) -> Plan {
        parse_plan(text, &|_| None).unwrap()
    }

    fn assumed(defect: &str) -> Assumed {
        Assumed {
            rate: "200".parse().unwrap(),
            base: "1%".parse().unwrap(),
            defect: defect.parse().unwrap(),
            runs: 50,
            seed: 1,
        }
    }

    fn report(text: &str, defect: &str) -> Report {
        simulate(&plan(text), None, assumed(defect)).unwrap()
    }

    #[test]
    fn a_sound_candidate_takes_the_steps_of_its_plan() {
        let report = report("linearStep: {weight: 25, interval: 2m}", "+5%");
        let weights: Vec<(f64, f64)> = report.timeline.iter().map(|due| (due.seconds, due.weight)).collect();
        assert_eq!(weights, [(0.0, 25.0), (120.0, 50.0), (240.0, 75.0), (360.0, 100.0)]);
        let Forecast { promoted, rolled_back, seconds, requests, share, .. } = report.sound;
        assert!(promoted >= 49 && promoted + rolled_back == 50, "{promoted} {rolled_back}");
        assert_eq!((seconds.median, requests.median, share), (360.0, 36_000.0, 50.0));
    }

    #[test]
    fn a_bad_candidate_goes_back_and_a_worse_one_sooner() {
        let found = |defect| {
            let defective = report("canaryStep: {weight: 10, interval: 30m}", defect).defective;
            assert_eq!(defective.rolled_back, 50, "{defect}");
            assert!(defective.why.as_ref().unwrap().starts_with("worse: "), "{:?}", defective.why);
            assert!(defective.failed.median <= defective.requests.median && defective.failed.median > 0.0);
            defective.found_seconds.unwrap()
        };
        let (all, tenth) = (found("+99%"), found("+9%"));
        assert!(all.median < 2.0 && all.median < tenth.median && tenth.median < 60.0, "{all:?} {tenth:?}");
        assert!(tenth.median <= tenth.p95, "{tenth:?}");
    }

    #[test]
    fn a_plan_without_guard_tells_and_holds() {
        let report = report("canaryWeight: 10", "+20%");
        assert_eq!((report.sound.held, report.sound.alerted), (50, 0));
        assert_eq!((report.defective.held, report.defective.alerted, report.defective.rolled_back), (50, 50, 0));
        assert!(report.defective.found_seconds.unwrap().median < 60.0);
        assert_eq!(report.defective.seconds.median, 3600.0);
    }

    #[test]
    fn everything_at_once_finds_nothing() {
        let report = report("full", "+20%");
        assert_eq!((report.defective.promoted, report.defective.found_seconds), (50, None));
        assert_eq!(report.timeline, [Due { seconds: 0.0, weight: 100.0 }]);
    }

    #[test]
    fn whoever_is_asked_says_yes() {
        let text = "{canaryStep: {weight: 10, interval: 1m}, gates: [approval, {window: \"09:00-17:00\"}], \
                    hooks: {before: ['http://127.0.0.1:1/']}}";
        assert_eq!(report(text, "+5%").sound.seconds.median, 60.0);
    }

    #[test]
    fn a_gate_that_never_has_its_requests_shows_in_the_runs_and_as_a_shortfall() {
        let text = "{canaryStep: {weight: 10, interval: 1m}, gates: [{error_rate: {max: 50%, min_requests: 10000, timeout: 1m}}]}";
        let report = report(text, "+5%");
        assert_eq!((report.sound.rolled_back, report.shortfalls.len()), (50, 1));
        assert!(report.sound.why.unwrap().contains("error_rate"));
        assert_eq!(report.sound.found_seconds.unwrap().median, 120.0);
    }

    /// Asked at every look by its estimate, such a gate sends a third of them back, and nearly all where there are ten steps.
    #[test]
    fn a_sound_candidate_at_half_of_the_limit_of_a_gate_is_not_sent_back() {
        for shape in ["canaryStep: {weight: 10, interval: 10m}", "linearStep: {weight: 10, interval: 1m}"] {
            let report = report(&format!("{{{shape}, gates: [{{error_rate: {{max: 2%}}}}]}}"), "+9%");
            assert!(report.sound.rolled_back <= 2, "{shape}: {:?}", report.sound);
            assert_eq!(report.defective.rolled_back, 50, "{shape}");
        }
    }

    #[test]
    fn a_bake_by_requests_lasts_as_long_as_they_take() {
        let report = report("steps: [{weight: 10, requests: 2000}]", "+5%");
        assert!((report.sound.seconds.median - 100.0).abs() < 3.0, "{:?}", report.sound);
    }

    #[test]
    fn equal_seeds_give_equal_reports_and_others_do_not() {
        let canary = "canaryStep: {weight: 10, interval: 30m}";
        assert_eq!(report(canary, "+5%"), report(canary, "+5%"));
        let other = simulate(&plan(canary), None, Assumed { seed: 2, ..assumed("+5%") }).unwrap();
        assert_ne!(report(canary, "+5%").defective, other.defective);
    }

    #[test]
    fn what_makes_no_sense_or_takes_too_long_is_refused() {
        let told = |text: &str, assumed| simulate(&plan(text), None, assumed).unwrap_err().to_string();
        assert!(
            told("full", assumed("+100%")).contains("defect: 1% and +100% more are more than all (at most `+99%`)")
        );
        for runs in [0, 1_001] {
            assert!(told("full", Assumed { runs, ..assumed("+5%") }).contains("1 to 1000 runs"));
        }
        let long = "linearStep: {weight: 1, interval: 1d}";
        let possible = default_runs(&plan(long));
        assert!((1..RUNS).contains(&possible), "{possible}");
        let refused = told(long, Assumed { runs: possible + 1, ..assumed("+5%") });
        assert!(refused.contains(&format!("at most {possible} are possible")), "{refused}");
        assert_eq!((default_runs(&plan("full")), default_runs(&plan("linearStep: {weight: 10}"))), (RUNS, RUNS));
    }

    #[test]
    fn a_report_is_the_same_after_its_way_through_json() {
        let report = report("canaryStep: {weight: 10, interval: 10m}", "+5%");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
