//! Gates: what must hold before a rollout goes on.

use std::time::Duration;

use crate::model::{
    Bake, Check, Decision, Gate, Limit, OnInsufficient, Plan, PrometheusCheck, QUANTILES, Step, Window,
};
use crate::text::parse::place::{Fields, Place, Reading, one_of, quoted};
use crate::text::parse::scalar::{decimal, duration_within, integer, url};
use crate::text::problem::{Problem, Severity, nearest};
use crate::value::decimal::{Decimal, PERCENTAGE, parse_percentage};

const MAX_GATES: usize = 32;
const MAX_WINDOWS: usize = 32;
const MAX_QUERY: usize = 8192;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KINDS: [&str; 6] = ["no-worse", "error_rate", "latency", "approval", "window", "prometheus"];

/// How long somebody may be waited for, by a gate or a hook: 30 days.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);

/// `[no-worse, {error_rate: {max: 1%}}, {approval: {timeout: 24h}}]`
pub(super) fn gates(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<Gate>> {
    let items = place.few_items(r, MAX_GATES, "gates", "a list such as `[no-worse, {error_rate: {max: 1%}}]`")?;
    let gates: Vec<Gate> = items.iter().filter_map(|item| gate(item, r)).collect();
    (gates.len() == items.len()).then_some(gates)
}

/// `no-worse`, `approval`, or a mapping with exactly one kind.
fn gate(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Gate> {
    let words = [("no-worse", Check::NoWorse), ("approval", Check::Approval { default: Decision::default() })];
    let what = format!("`no-worse`, `approval`, or a mapping with one of {}", one_of(&KINDS));
    if place.is_scalar() {
        let text = place.text(r, &what)?;
        let gate = words.into_iter().find(|(word, _)| *word == text).map(|(_, check)| Gate::new(check));
        if gate.is_none() {
            let problem = place.expected(&what);
            r.problems.push(match nearest(text, KINDS) {
                Some(kind) => problem.help(format!("did you mean `{kind}`?")),
                None => problem,
            });
        }
        return gate;
    }
    let mut fields = place.fields(r, &what)?;
    let there = fields.alternatives(r, &KINDS, "a gate is of one kind", "write several gates");
    if there == 0 && fields.is_empty() {
        r.problems.push(place.expected(&what));
    }
    let gates = [
        fields.read(r, "no-worse", no_worse),
        fields.read(r, "error_rate", error_rate),
        fields.read(r, "latency", latency),
        fields.read(r, "approval", approval),
        fields.read(r, "window", window),
        fields.read(r, "prometheus", prometheus),
    ];
    fields.finish(r);
    gates.into_iter().flatten().next()
}

fn no_worse(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Gate> {
    let mut fields = place.fields(r, "a mapping such as `{timeout: 1h}`")?;
    let waits = Waits::read(&mut fields, r, on_insufficient);
    fields.finish(r);
    Some(waits.gate(Check::NoWorse))
}

fn error_rate(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Gate> {
    let mut fields = place.fields(r, "a mapping such as `{max: 1%}`")?;
    let limit = limit(place, &mut fields, r, [("max", percentage), ("ratio", ratio), ("points", points)]);
    let min_requests = min_requests(&mut fields, r);
    let waits = Waits::read(&mut fields, r, on_insufficient);
    fields.finish(r);
    Some(waits.gate(Check::ErrorRate { limit: limit?, min_requests }))
}

/// `{p95: {max: 250ms}}`, or `{quantile: p95, max: 250ms}`.
fn latency(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Gate> {
    let mut fields = place.fields(r, "a mapping such as `{p95: {max: 250ms}}`")?;
    let names: Vec<&str> = QUANTILES.iter().map(|(name, _)| *name).chain(["quantile"]).collect();
    let there = fields.alternatives(r, &names, "a latency gate has one quantile", "write several gates");
    if there == 0 {
        let problem = place.problem("this gate has no quantile");
        r.problems.push(problem.help("write `{p95: {max: 250ms}}` or `{quantile: p95, max: 250ms}`"));
    }
    let mut found = None;
    if fields.has("quantile") || (there == 0 && LATENCIES.iter().any(|(name, _)| fields.has(name))) {
        let quantile = fields.read(r, "quantile", |place, r| place.choice(r, &QUANTILES));
        let limit = limit(place, &mut fields, r, LATENCIES);
        found = quantile.zip(limit);
    }
    for (name, quantile) in QUANTILES {
        let limit = fields.read(r, name, |place, r| {
            let mut fields = place.fields(r, "a mapping such as `{max: 250ms}`")?;
            let limit = limit(place, &mut fields, r, LATENCIES);
            fields.finish(r);
            limit
        });
        found = found.or(limit.map(|limit| (quantile, limit)));
    }
    let min_requests = min_requests(&mut fields, r);
    let waits = Waits::read(&mut fields, r, on_insufficient);
    fields.finish(r);
    let (quantile, limit) = found?;
    Some(waits.gate(Check::Latency { quantile, limit, min_requests }))
}

fn approval(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Gate> {
    let mut fields = place.fields(r, "a mapping such as `{timeout: 24h, default: reject}`")?;
    let decisions = [Decision::Reject, Decision::Approve].map(|decision| (decision.as_str(), decision));
    let default = fields.read(r, "default", |place, r| place.choice(r, &decisions)).unwrap_or_default();
    let gate = Gate::new(Check::Approval { default });
    let timeout = fields.read(r, "timeout", timeout).unwrap_or(gate.timeout);
    fields.finish(r);
    Some(Gate { timeout, ..gate })
}

/// `["Mon-Fri 09:00-17:00", "Sat 10:00-12:00"]`, or one.
fn window(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Gate> {
    let one = |place: &Place<'_>, r: &mut Reading<'_>| place.parse::<Window>(r, "a window");
    if place.is_scalar() {
        return one(place, r).map(|window| Gate::new(Check::Window(vec![window])));
    }
    let items = place.few_items(r, MAX_WINDOWS, "windows", "a list such as `[\"Mon-Fri 09:00-17:00\"]`, in UTC")?;
    let windows: Vec<Window> = items.iter().filter_map(|item| one(item, r)).collect();
    (windows.len() == items.len()).then(|| Gate::new(Check::Window(windows)))
}

fn prometheus(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Gate> {
    let example = "a mapping such as `{url: \"http://prometheus:9090\", query: \"…\", max: 0.01}`";
    let mut fields = place.fields(r, example)?;
    let server = fields.require(r, "url", "for example `url: \"http://prometheus:9090\"`");
    let server = server.and_then(|place| url(&place, r));
    let query = fields.require(r, "query", "PromQL whose result is one number");
    let query = query.and_then(|place| self::query(&place, r));
    let bound = |place: &Place<'_>, r: &mut Reading<'_>| place.parse::<Decimal>(r, "a bound");
    let (min, max) = (fields.read(r, "min", bound), fields.read(r, "max", bound));
    if !fields.has("min") && !fields.has("max") {
        r.problems.push(place.problem("this gate has no bound").help("`max: 0.01`, `min: 100`, or both"));
    }
    if let (Some(min), Some(max)) = (&min, &max)
        && min.value() > max.value()
    {
        r.problems.push(place.problem(format!("no number is at least {min} and at most {max}")));
    }
    let every = fields.read(r, "every", |place, r| duration_within(place, r, SECOND..=DAY));
    let waits = Waits::read(&mut fields, r, on_silence);
    fields.finish(r);
    let every = every.unwrap_or(PrometheusCheck::EVERY);
    let check = PrometheusCheck { url: server?, query: query?, min, max, every };
    Some(waits.gate(Check::Prometheus(Box::new(check))))
}

/// PromQL, which may name what the rollout is about: `${function}`, `${candidate}`.
fn query(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "a query")?;
    let before = r.problems.len();
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.trim().is_empty() || text.chars().count() > MAX_QUERY || text.contains(control) {
        r.problems.push(place.problem(format!("expected a query of 1 to {MAX_QUERY} characters")));
    }
    for after in text.split("${").skip(1) {
        let name = after.split('}').next().unwrap_or_default();
        if !PrometheusCheck::VARIABLES.contains(&name) {
            let problem = place.problem(format!("{} is no variable of a query", quoted(&format!("${{{name}"))));
            let known = PrometheusCheck::VARIABLES.map(|name| format!("`${{{name}}}`"));
            r.problems.push(problem.help(format!("there is: {}", known.join(", "))));
        }
    }
    (r.problems.len() == before).then(|| text.to_owned())
}

/// What a gate says of waiting; what it leaves out is as [`Gate::new`] has it.
struct Waits {
    on_insufficient: Option<OnInsufficient>,
    timeout: Option<Duration>,
}

impl Waits {
    fn read(fields: &mut Fields<'_>, r: &mut Reading<'_>, on_insufficient: Read<OnInsufficient>) -> Self {
        Self {
            on_insufficient: fields.read(r, "on_insufficient", on_insufficient),
            timeout: fields.read(r, "timeout", timeout),
        }
    }

    fn gate(self, check: Check) -> Gate {
        let gate = Gate::new(check);
        Gate {
            on_insufficient: self.on_insufficient.unwrap_or(gate.on_insufficient),
            timeout: self.timeout.unwrap_or(gate.timeout),
            ..gate
        }
    }
}

type Read<T> = fn(&Place<'_>, &mut Reading<'_>) -> Option<T>;

fn on_insufficient(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OnInsufficient> {
    let choices = [OnInsufficient::Wait, OnInsufficient::Pass, OnInsufficient::Fail];
    place.choice(r, &choices.map(|on| (on.as_str(), on)))
}

/// A server may say nothing for any reason.
fn on_silence(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OnInsufficient> {
    let on = on_insufficient(place, r)?;
    if on == OnInsufficient::Pass {
        let problem = place.problem("a server that gives no answer is no reason to go on");
        r.problems.push(problem.help("write `wait` (default) or `fail`"));
    }
    Some(on)
}

fn timeout(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Duration> {
    duration_within(place, r, SECOND..=MAX_TIMEOUT)
}

fn min_requests(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> u64 {
    let requests = fields.read(r, "min_requests", |place, r| integer(place, r, 1..=1_000_000_000));
    requests.unwrap_or(Check::MIN_REQUESTS)
}

/// Exactly one of these keys.
fn limit(
    place: &Place<'_>,
    fields: &mut Fields<'_>,
    r: &mut Reading<'_>,
    limits: [(&'static str, Read<Limit>); 3],
) -> Option<Limit> {
    let names = limits.map(|(name, _)| name);
    if fields.alternatives(r, &names, "a gate has one limit", "write several gates") == 0 {
        let problem = place.problem("this gate has no limit");
        r.problems.push(problem.help(format!("add one of {}", one_of(&names))));
    }
    limits.map(|(name, read)| fields.read(r, name, read)).into_iter().flatten().next()
}

const LATENCIES: [(&str, Read<Limit>); 3] = [
    ("max", |place, r| milliseconds(place, r).map(Limit::Max)),
    ("ratio", ratio),
    ("more", |place, r| milliseconds(place, r).map(Limit::Points)),
];

/// In parts per million.
fn percentage(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Limit> {
    let parts = parse_percentage(place.text(r, PERCENTAGE)?);
    if parts.is_none() {
        r.problems.push(place.expected(PERCENTAGE));
    }
    parts.map(|parts| Limit::Max(parts.into()))
}

/// So many times what stable does, in thousandths.
fn ratio(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Limit> {
    margin_ratio(place, r).map(Limit::Ratio)
}

/// From 1 to 1000, in thousandths.
pub(super) fn margin_ratio(place: &Place<'_>, r: &mut Reading<'_>) -> Option<u32> {
    decimal(place, r, 3, 1000..=1_000_000).and_then(|thousandths| u32::try_from(thousandths).ok())
}

fn points(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Limit> {
    margin_points(place, r).map(|parts| Limit::Points(parts.into()))
}

/// Percentage points, in parts per million.
pub(super) fn margin_points(place: &Place<'_>, r: &mut Reading<'_>) -> Option<u32> {
    decimal(place, r, 4, 0..=1_000_000).and_then(|parts| u32::try_from(parts).ok())
}

/// In microseconds, from a millisecond to an hour.
fn milliseconds(place: &Place<'_>, r: &mut Reading<'_>) -> Option<u64> {
    let time = duration_within(place, r, Duration::from_millis(1)..=Duration::from_secs(3600))?;
    u64::try_from(time.as_micros()).ok()
}

/// Says which gates of a plan, read at `place`, no step asks.
pub(super) fn warn_of_plan(place: &Place<'_>, r: &mut Reading<'_>, plan: &Plan) {
    let is_asked =
        |gate: &Gate| plan.steps.iter().any(|step| plan.gates_at(step).any(|asked| std::ptr::eq(asked, gate)));
    for (item, _) in place.items(r, "").iter().zip(&plan.gates).filter(|(_, gate)| !is_asked(gate)) {
        let help = "a plan's gates are asked at steps that are held, comparisons with stable at those below 100; a step \
                    may have `gates` of its own";
        warn(item, r, "this gate is never asked", help);
    }
}

/// Says which gates of a step, read at `place`, have no answer for certain.
pub(super) fn warn_of_step(place: &Place<'_>, r: &mut Reading<'_>, step: &Step) {
    for (item, gate) in place.items(r, "").iter().zip(&step.gates) {
        let counts = matches!(gate.check, Check::ErrorRate { .. } | Check::Latency { .. });
        let unheld = step.bake == Bake::Time(Duration::ZERO) && counts;
        if step.is_whole() && gate.check.compares() {
            let message = "this gate is never asked: at weight 100 stable has no requests to compare with";
            warn(item, r, message, "move it to a step below 100");
        } else if unheld && gate.on_insufficient != OnInsufficient::Wait {
            let verb = if gate.on_insufficient == OnInsufficient::Pass { "passes" } else { "fails" };
            let message = format!("this gate always {verb}: the step is not held, and at its end there is no answer");
            warn(item, r, &message, "give the step a `bake`, or the gate `on_insufficient: wait`");
        }
    }
}

fn warn(item: &Place<'_>, r: &mut Reading<'_>, message: &str, help: &str) {
    r.problems.push(Problem { severity: Severity::Warning, ..item.problem(message).help(help) });
}
