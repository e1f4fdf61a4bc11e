//! Plans in every spelling of the field: FC-Canary's constructors, CodeDeploy's names, own steps. Exactly one per plan.

use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::model::{Bake, Guard, Hooks, Margin, OnRestart, Plan, PlanForm, Shield, Step};
use crate::name::PlanName;
use crate::parse::place::{Fields, Place, Reading, quoted};
use crate::parse::scalar::{integer, interval, switch};
use crate::problem::nearest;
use crate::weight::Weight;

/// The most steps of a plan.
const MAX_STEPS: usize = 1000;
/// CodeDeploy's names for Lambda without their prefixes; canary: first weight, then the minutes until everything.
const CANARIES: [(&str, u64); 4] = [
    ("Canary10Percent5Minutes", 5),
    ("Canary10Percent10Minutes", 10),
    ("Canary10Percent15Minutes", 15),
    ("Canary10Percent30Minutes", 30),
];
/// The linear ones: ten percent more every so many minutes.
const LINEARS: [(&str, u64); 4] = [
    ("Linear10PercentEvery1Minute", 1),
    ("Linear10PercentEvery2Minutes", 2),
    ("Linear10PercentEvery3Minutes", 3),
    ("Linear10PercentEvery10Minutes", 10),
];
const ALL_AT_ONCE: &str = "AllAtOnce";

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

impl Plan {
    /// A plan from its form; `steps` is for [`PlanForm::Steps`] only, whose weights rise.
    fn new(form: PlanForm, steps: Vec<Step>) -> Self {
        let mut steps = match &form {
            PlanForm::CanaryStep { weight, interval } => vec![timed(*weight, *interval)],
            PlanForm::LinearStep { weight, interval } => {
                let weights =
                    (1u16..).map(|n| weight.basis_points().saturating_mul(n)).take_while(|w| *w < Weight::WHOLE);
                weights.filter_map(Weight::new).map(|weight| timed(weight, *interval)).collect()
            }
            PlanForm::CanaryPlans(parts) => parts.iter().map(|(weight, interval)| timed(*weight, *interval)).collect(),
            PlanForm::CanaryWeight(weight) => vec![Step { weight: *weight, bake: Bake::Hold, gates: Vec::new() }],
            PlanForm::Full => Vec::new(),
            PlanForm::CodeDeploy(name) => code_deploy_steps(name),
            PlanForm::Steps => steps,
        };
        let last = steps.last();
        let holds = matches!(last, Some(Step { bake: Bake::Hold, .. }))
            && matches!(form, PlanForm::CanaryWeight(_) | PlanForm::Steps);
        if !holds && last.is_none_or(|last| last.weight.basis_points() < Weight::WHOLE) {
            steps.push(timed(percent(100), Duration::ZERO));
        }
        let guard = Guard::of(&form);
        Self {
            form,
            steps,
            gates: Vec::new(),
            guard,
            hooks: Hooks::default(),
            notify: Vec::new(),
            on_restart: OnRestart::default(),
        }
    }

    /// The predefined plan of CodeDeploy with this name, with or without the prefixes `CodeDeployDefault.` and `Lambda`.
    #[must_use]
    pub fn predefined(name: &str) -> Option<Self> {
        let name = predefined_name(name)?;
        Some(Self::new(PlanForm::CodeDeploy(name.to_owned()), Vec::new()))
    }
}

impl Guard {
    /// How a plan of this form is guarded when it does not say.
    #[must_use]
    pub fn of(form: &PlanForm) -> Self {
        let enforced = !matches!(form, PlanForm::CanaryWeight(_) | PlanForm::Full);
        let shield = if enforced { Shield::Gateway } else { Shield::Off };
        Self { enforced, margin: Margin::default(), client_errors: false, shield }
    }
}

fn timed(weight: Weight, bake: Duration) -> Step {
    Step { weight, bake: Bake::Time(bake), gates: Vec::new() }
}

fn percent(percent: u64) -> Weight {
    u16::try_from(percent * 100).ok().and_then(Weight::new).expect("at most 100 percent")
}

/// The short name of a predefined plan.
pub(crate) fn predefined_name(name: &str) -> Option<&'static str> {
    let short = name.strip_prefix("CodeDeployDefault.").unwrap_or(name);
    let short = short.strip_prefix("Lambda").unwrap_or(short);
    predefined_names().find(|known| *known == short)
}

pub(crate) fn predefined_names() -> impl Iterator<Item = &'static str> {
    CANARIES.iter().chain(&LINEARS).map(|(name, _)| *name).chain([ALL_AT_ONCE])
}

fn code_deploy_steps(name: &str) -> Vec<Step> {
    let minutes = |table: &[(&str, u64)]| {
        let minutes = table.iter().find(|(known, _)| *known == name).map(|(_, minutes)| *minutes);
        minutes.map(|minutes| Duration::from_secs(60 * minutes))
    };
    if let Some(interval) = minutes(&CANARIES) {
        vec![timed(percent(10), interval)]
    } else if let Some(interval) = minutes(&LINEARS) {
        (1..10).map(|n| timed(percent(10 * n), interval)).collect()
    } else {
        Vec::new()
    }
}

const CONSTRUCTORS: [&str; 6] = ["canaryStep", "linearStep", "canaryPlans", "canaryWeight", "full", "steps"];

/// `full`, a name of CodeDeploy, or a mapping with exactly one constructor.
pub(super) fn plan(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Plan> {
    let what = "a plan: a predefined name of CodeDeploy, `full`, or a mapping with one of `canaryStep`, `linearStep`, \
                `canaryPlans`, `canaryWeight`, `full` and `steps`";
    if place.is_scalar() {
        return named(place, r);
    }
    let mut fields = place.fields(r, what)?;
    let there: Vec<&str> = CONSTRUCTORS.iter().copied().filter(|name| fields.has(name)).collect();
    if there.len() > 1 {
        let message = format!("a plan has one constructor, and this one has {}: {}", there.len(), there.join(", "));
        r.problems.push(place.problem(message).help("keep one, or make several plans"));
    } else if there.is_empty() && fields.is_empty() {
        r.problems.push(place.expected(what));
    }
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
    fields.finish(r);
    canary.or(linear).or(plans).or(weight).or(full).or(steps)
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
    let items = place.some_items(r, "a list such as `[{weight: 10, interval: 5m}, {weight: 50, interval: 10m}]`")?;
    let mut parts: Vec<(Weight, Duration)> = Vec::new();
    for item in few(place, r, &items)? {
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
    let items = place.some_items(r, "a list such as `[{weight: 5, bake: 10m}, {weight: 20, requests: 1000}]`")?;
    let mut steps: Vec<Step> = Vec::new();
    for item in few(place, r, &items)? {
        let mut fields = item.fields(r, "a mapping such as `{weight: 5, bake: 10m}`")?;
        let weight = fields.require(r, "weight", "for example `weight: 5`").and_then(|place| weight(&place, r));
        let bake = fields.read(r, "bake", bake);
        let requests = fields.read(r, "requests", |place, r| integer(place, r, 1..=1_000_000_000).map(Bake::Requests));
        let whole = weight.is_some_and(|weight| weight.basis_points() == Weight::WHOLE);
        match (fields.has("bake"), fields.has("requests")) {
            (true, true) => {
                let problem = item.problem("a step is held for a time or for a number of requests, not both");
                r.problems.push(problem.help("keep `bake` or `requests`"));
            }
            (false, false) if !whole => {
                let help = "`bake: 10m`, `requests: 1000`, or `bake: hold` until someone decides";
                r.problems.push(item.problem("this step does not say how long it is held").help(help));
            }
            _ => {}
        }
        let none = (whole && !fields.has("bake") && !fields.has("requests")).then_some(Bake::Time(Duration::ZERO));
        finish_step(item, r, fields, steps.last().map(|step| step.weight), weight);
        steps.extend(weight.zip(bake.or(requests).or(none)).map(|(weight, bake)| Step {
            weight,
            bake,
            gates: Vec::new(),
        }));
    }
    (steps.len() == items.len()).then(|| Plan::new(PlanForm::Steps, steps))
}

/// A time, or `hold`.
fn bake(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Bake> {
    if place.is_scalar() && place.text(r, "") == Some("hold") {
        return Some(Bake::Hold);
    }
    interval(place, r).map(Bake::Time)
}

fn few<'a>(place: &Place<'_>, r: &mut Reading<'_>, items: &'a [Place<'a>]) -> Option<&'a [Place<'a>]> {
    if items.len() > MAX_STEPS {
        r.problems
            .push(place.problem(format!("a plan has at most {MAX_STEPS} steps, and this one has {}", items.len())));
        return None;
    }
    Some(items)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(plan: &Plan) -> Vec<(u16, Bake)> {
        plan.steps.iter().map(|step| (step.weight.basis_points() / 100, step.bake)).collect()
    }

    fn minutes(n: u64) -> Bake {
        Bake::Time(Duration::from_secs(60 * n))
    }

    fn read(text: &str) -> Plan {
        crate::parse::parse_plan(text, &|_| None).unwrap()
    }

    #[test]
    fn code_deploy_names_mean_what_they_say() {
        let canary = [(10, minutes(5)), (100, minutes(0))];
        for name in [
            "Canary10Percent5Minutes",
            "LambdaCanary10Percent5Minutes",
            "CodeDeployDefault.LambdaCanary10Percent5Minutes",
        ] {
            assert_eq!(shown(&Plan::predefined(name).unwrap()), canary, "{name}");
        }
        let linear = Plan::predefined("CodeDeployDefault.LambdaLinear10PercentEvery1Minute").unwrap();
        assert_eq!(shown(&linear).len(), 10);
        assert_eq!(shown(&linear)[8..], [(90, minutes(1)), (100, minutes(0))]);
        assert_eq!(shown(&Plan::predefined("LambdaAllAtOnce").unwrap()), [(100, minutes(0))]);
        assert_eq!(Plan::predefined("Canary20Percent5Minutes"), None);
        assert!(predefined_names().all(|name| Plan::predefined(name).is_some()));
    }

    #[test]
    fn constructors_follow_fc_canary() {
        assert_eq!(shown(&read("canaryStep: {weight: 20}")), [(20, minutes(10)), (100, minutes(0))]);
        assert_eq!(shown(&read("linearStep: {weight: 40}")), [(40, minutes(1)), (80, minutes(1)), (100, minutes(0))]);
        assert_eq!(shown(&read("linearStep: {weight: 10, interval: 2}")).len(), 10);
        assert_eq!(shown(&read("linearStep: {weight: 100}")), [(100, minutes(0))]);
        assert_eq!(shown(&read("canaryWeight: 20")), [(20, Bake::Hold)]);
        assert_eq!(shown(&read("full: true")), [(100, minutes(0))]);
        let plans = "canaryPlans: [{weight: 10, interval: 5}, {weight: 30, interval: 1h}]";
        assert_eq!(shown(&read(plans)), [(10, minutes(5)), (30, minutes(60)), (100, minutes(0))]);
        // 100 at the end is not appended again (a defect of FC-Canary).
        let ends = "canaryPlans: [{weight: 10, interval: 5}, {weight: 100}]";
        assert_eq!(shown(&read(ends)), [(10, minutes(5)), (100, minutes(0))]);
        let own = "steps: [{weight: 5, requests: 1000}, {weight: 20, bake: hold}]";
        assert_eq!(shown(&read(own)), [(5, Bake::Requests(1000)), (20, Bake::Hold)]);
    }
}
