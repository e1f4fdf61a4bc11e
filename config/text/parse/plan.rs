//! Plans in every spelling of the field: FC-Canary's constructors, CodeDeploy's names, own steps. Exactly one per plan.

use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::model::{Bake, OnRestart, Plan, PlanForm, Step, percent, predefined_name, predefined_names};
use crate::text::parse::place::{Fields, Place, Reading, one_of, quoted};
use crate::text::parse::scalar::{integer, interval, switch};
use crate::text::parse::{gate, guard, hook};
use crate::text::problem::nearest;
use crate::value::name::{NotifierName, PlanName};
use crate::value::weight::Weight;

/// The most steps of a plan.
const MAX_STEPS: usize = 1000;
/// `plans:`
pub(super) fn plans(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OrdMap<PlanName, Arc<Plan>>> {
    let mut plans = OrdMap::new();
    for entry in place.entries(r, "plans by name") {
        let name = entry.parse_key::<PlanName>(r, "a plan name");
        if predefined_name(entry.key()).is_some() {
            let problem = entry.key_problem(format!("`{}` is a predefined plan of CodeDeploy", entry.key()));
            r.problems.push(problem.help("choose another name"));
        }
        match (name, plan(&entry, r)) {
            (Some(name), Some(plan)) => {
                plans.insert(name, Arc::new(plan));
            }
            _ => {
                r.broken.insert(entry.path());
            }
        }
    }
    Some(plans)
}

/// The keys of which a plan has exactly one.
pub(crate) const CONSTRUCTORS: [&str; 7] =
    ["canaryStep", "linearStep", "canaryPlans", "canaryWeight", "full", "steps", "plan"];
/// What may stand beside a constructor.
const OTHERS: [&str; 5] = ["gates", "guard", "hooks", "notify", "on_restart"];

/// `full`, a name of CodeDeploy, or a mapping with exactly one constructor.
pub(super) fn plan(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Plan> {
    let what = "a plan: a predefined name of CodeDeploy, `full`, or a mapping with one of `canaryStep`, `linearStep`, \
                `canaryPlans`, `canaryWeight`, `full`, `steps` and `plan`";
    if place.is_scalar() {
        return named(place, r);
    }
    let mut fields = place.fields(r, what)?;
    let help = "keep one, or make several plans";
    let constructors = fields.alternatives(r, &CONSTRUCTORS, "a plan has one constructor", help);
    if constructors == 0 && fields.is_empty() {
        r.problems.push(place.expected(what));
    } else if constructors == 0 && OTHERS.iter().any(|name| fields.has(name)) {
        let problem = place.problem("this plan does not say how the weight rises");
        r.problems.push(problem.help(format!("add one of {}", one_of(&CONSTRUCTORS))));
    }
    let plan = constructed(&mut fields, r);
    let gates = fields.take("gates");
    let gate_list = gates.as_ref().and_then(|place| gate::gates(place, r)).unwrap_or_default();
    let guard = fields.take("guard");
    let guard_value = guard.as_ref().and_then(|place| guard::guard(place, r));
    let hooks = fields.read(r, "hooks", hook::hooks).unwrap_or_default();
    let notify = fields.read(r, "notify", notify).unwrap_or_default();
    let on_restart = fields.read(r, "on_restart", on_restart).unwrap_or_default();
    fields.finish(r);
    let plan = plan?;
    let guard_value = guard_value.unwrap_or(plan.guard);
    let plan = Plan { gates: gate_list, guard: guard_value, hooks, notify, on_restart, ..plan };
    if let Some(place) = guard {
        guard::comparable(&place, r, &plan);
    }
    if let Some(place) = gates.filter(|_| !plan.gates.is_empty()) {
        gate::warn_of_plan(&place, r, &plan);
    }
    Some(plan)
}

/// The plan that the constructor alone means.
fn constructed(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> Option<Plan> {
    let canary = fields.read(r, "canaryStep", |place, r| {
        let (weight, interval) = weight_and_interval(place, r, 10)?;
        Some(Plan::new(PlanForm::CanaryStep { weight, interval }, Vec::new()))
    });
    let linear = fields.read(r, "linearStep", |place, r| {
        let (weight, interval) = weight_and_interval(place, r, 1)?;
        Some(Plan::new(PlanForm::LinearStep { weight, interval }, Vec::new()))
    });
    let plans = fields.read(r, "canaryPlans", canary_plans);
    let weight = fields.read(r, "canaryWeight", |place, r| {
        weight(place, r).map(|weight| Plan::new(PlanForm::CanaryWeight(weight), Vec::new()))
    });
    let full = fields.read(r, "full", |place, r| {
        let on = switch(place, r)?;
        if !on {
            r.problems.push(place.problem("`full: false` says nothing").help("name another constructor"));
        }
        on.then(|| Plan::new(PlanForm::Full, Vec::new()))
    });
    let steps = fields.read(r, "steps", steps);
    let named = fields.read(r, "plan", named);
    canary.or(linear).or(plans).or(weight).or(full).or(steps).or(named)
}

fn named(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Plan> {
    let text = place.text(r, "a plan")?;
    if text == "full" {
        return Some(Plan::new(PlanForm::Full, Vec::new()));
    }
    let plan = Plan::predefined(text);
    if plan.is_none() {
        let problem = place.problem(format!("{} is not a predefined plan", quoted(text)));
        let short = text.trim_start_matches("CodeDeployDefault.").trim_start_matches("Lambda");
        r.problems.push(problem.help(match nearest(short, predefined_names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("one of {}, full", predefined_names().collect::<Vec<_>>().join(", ")),
        }));
    }
    plan
}

/// `{weight: 20, interval: 10m}`; without an interval so many minutes.
fn weight_and_interval(place: &Place<'_>, r: &mut Reading<'_>, minutes: u64) -> Option<(Weight, Duration)> {
    let mut fields = place.fields(r, "a mapping such as `{weight: 20, interval: 10m}`")?;
    let weight = fields.require(r, "weight", "for example `weight: 20`").and_then(|place| weight(&place, r));
    let interval = fields.read(r, "interval", interval).unwrap_or(Duration::from_secs(60 * minutes));
    fields.finish(r);
    Some((weight?, interval))
}

/// A whole percentage, 1 to 100.
fn weight(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Weight> {
    let text = place.text(r, "a whole percentage from 1 to 100")?;
    let number = text.parse::<u64>().ok().filter(|number| (1..=100).contains(number) && *text == number.to_string());
    if number.is_none() {
        r.problems.push(place.expected("a whole percentage from 1 to 100"));
    }
    number.map(percent)
}

/// `[{weight: 10, interval: 5m}, {weight: 50, interval: 10m}]`
fn canary_plans(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Plan> {
    let what = "a list such as `[{weight: 10, interval: 5m}, {weight: 50, interval: 10m}]`";
    let items = place.few_items(r, MAX_STEPS, "steps", what)?;
    let mut parts: Vec<(Weight, Duration)> = Vec::new();
    for item in &items {
        let mut fields = item.fields(r, "a mapping such as `{weight: 10, interval: 5m}`")?;
        let weight = fields.require(r, "weight", "for example `weight: 10`").and_then(|place| weight(&place, r));
        let interval = match weight {
            Some(weight) if weight.basis_points() == Weight::WHOLE && !fields.has("interval") => Some(Duration::ZERO),
            _ => fields.require(r, "interval", "for example `interval: 5m`").and_then(|place| interval(&place, r)),
        };
        finish_step(item, r, fields, parts.last().map(|(weight, _)| *weight), weight);
        parts.extend(weight.zip(interval));
    }
    (parts.len() == items.len()).then(|| Plan::new(PlanForm::CanaryPlans(parts), Vec::new()))
}

/// `[{weight: 5, bake: 10m}, {weight: 20, requests: 1000}, {weight: 50, bake: hold}, {weight: 100}]`
fn steps(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Plan> {
    let what = "a list such as `[{weight: 5, bake: 10m}, {weight: 20, requests: 1000}]`";
    let items = place.few_items(r, MAX_STEPS, "steps", what)?;
    let mut steps: Vec<Step> = Vec::new();
    for item in &items {
        let before = steps.last().map(|step| step.weight);
        steps.extend(step(item, r, before));
    }
    (steps.len() == items.len()).then(|| Plan::new(PlanForm::Steps, steps))
}

fn step(item: &Place<'_>, r: &mut Reading<'_>, before: Option<Weight>) -> Option<Step> {
    let mut fields = item.fields(r, "a mapping such as `{weight: 5, bake: 10m}`")?;
    let weight = fields.require(r, "weight", "for example `weight: 5`").and_then(|place| weight(&place, r));
    let bake = fields.read(r, "bake", bake);
    let requests = fields.read(r, "requests", |place, r| integer(place, r, 1..=1_000_000_000).map(Bake::Requests));
    let gates = fields.take("gates");
    let gate_list = gates.as_ref().and_then(|place| gate::gates(place, r)).unwrap_or_default();
    let whole = weight.is_some_and(|weight| weight.basis_points() == Weight::WHOLE);
    let (has_bake, has_requests) = (fields.has("bake"), fields.has("requests"));
    if has_bake && has_requests {
        let problem = item.problem("a step is held for a time or for a number of requests, not both");
        r.problems.push(problem.help("keep `bake` or `requests`"));
    } else if !has_bake && !has_requests && !whole {
        let help = "`bake: 10m`, `requests: 1000`, or `bake: hold` until someone decides";
        r.problems.push(item.problem("this step does not say how long it is held").help(help));
    }
    finish_step(item, r, fields, before, weight);
    let none = (whole && !has_bake && !has_requests).then_some(Bake::Time(Duration::ZERO));
    let step = Step { weight: weight?, bake: bake.or(requests).or(none)?, gates: gate_list };
    if let Some(place) = gates.filter(|_| !step.gates.is_empty()) {
        gate::warn_of_step(&place, r, &step);
    }
    Some(step)
}

/// A time, or `hold`.
fn bake(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Bake> {
    if place.is_scalar() && place.text(r, "") == Some("hold") {
        return Some(Bake::Hold);
    }
    interval(place, r).map(Bake::Time)
}

fn finish_step(
    item: &Place<'_>,
    r: &mut Reading<'_>,
    fields: Fields<'_>,
    before: Option<Weight>,
    weight: Option<Weight>,
) {
    fields.finish(r);
    if let (Some(before), Some(weight)) = (before, weight)
        && weight <= before
    {
        let problem = item.problem(format!("the weights of a plan rise, and {weight} comes after {before}"));
        r.problems.push(problem.help("order the steps; to go back, abort or roll back"));
    }
}

/// `[oncall, team]`, or `oncall`.
pub(super) fn notify(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<NotifierName>> {
    let name = |place: &Place<'_>, r: &mut Reading<'_>| place.parse::<NotifierName>(r, "the name of a notifier");
    if place.is_scalar() {
        return name(place, r).map(|name| vec![name]);
    }
    let mut names: Vec<NotifierName> = Vec::new();
    for item in &place.some_items(r, "a list of notifiers such as `[oncall]`, or the name of one")? {
        let Some(name) = name(item, r) else { continue };
        if names.contains(&name) {
            r.problems.push(item.problem(format!("`{name}` is named twice")).help("name it once"));
        }
        names.push(name);
    }
    Some(names)
}

fn on_restart(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OnRestart> {
    place.choice(r, &[OnRestart::Extend, OnRestart::Resume, OnRestart::Hold].map(|on| (on.as_str(), on)))
}

#[cfg(test)]
mod tests {
    use crate::text::parse::parse_plan;
    use crate::text::problem::render;

    #[test]
    fn problems_of_an_inline_plan_need_no_file() {
        let text = "{linearStep: {weight: 0, interval: 1s}, gates: [{error_rate: {max: 2}}]}";
        let problems = parse_plan(text, &|_| None).unwrap_err();
        let expected = "\
error: expected a whole percentage from 1 to 100, found `0`
 --> plan:1:23
  |
1 | {linearStep: {weight: 0, interval: 1s}, gates: [{error_rate: {max: 2}}]}
  |                       ^
  = at: plan.linearStep.weight

error: expected a percentage from `0%` to `100%` with at most 4 decimals, such as `0.5%`, found `2`
 --> plan:1:68
  |
1 | {linearStep: {weight: 0, interval: 1s}, gates: [{error_rate: {max: 2}}]}
  |                                                                    ^
  = at: plan.gates[0].error_rate.max

plan: 2 errors
";
        assert_eq!(render(&problems, "plan", text), expected);
    }
}
