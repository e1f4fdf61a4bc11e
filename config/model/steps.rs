//! What a spelling of a plan means: its steps, how it is guarded, and when each weight is due.

use std::time::Duration;

use crate::model::{
    Bake, Check, Gate, Guard, HookCall, Hooks, LatencyGuard, Limit, Margin, OnRestart, Plan, PlanForm, Shield, Step,
};
use crate::value::weight::Weight;

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

impl Plan {
    /// The programs that its hooks run, each with its arguments.
    pub fn programs(&self) -> impl Iterator<Item = &[String]> {
        let Hooks { before, step, after } = &self.hooks;
        before.iter().chain(step).chain(after).filter_map(|hook| match &hook.call {
            HookCall::Command(program) => Some(&**program),
            HookCall::Http(_) => None,
        })
    }

    /// A plan from its form and nothing else said; `steps` is for [`PlanForm::Steps`] only, whose weights rise.
    pub(crate) fn new(form: PlanForm, steps: Vec<Step>) -> Self {
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

    /// When each weight is due after the start of a rollout whose gates pass at once; `None` from the first step on that
    /// a clock alone does not reach: after a hold or a number of requests.
    #[must_use]
    pub fn timeline(&self) -> Vec<(Option<Duration>, Weight)> {
        let mut due = Some(Duration::ZERO);
        let times = self.steps.iter().map(|step| {
            let this = due;
            due = match step.bake {
                Bake::Time(time) => due.map(|due| due + time),
                Bake::Requests(_) | Bake::Hold => None,
            };
            (this, step.weight)
        });
        times.collect()
    }

    /// What must hold at a step of this plan: the step's own gates, and those of the plan if the step is held at all.
    /// What compares with stable is not asked where stable has no requests: at 100 %.
    pub fn gates_at<'a>(&'a self, step: &'a Step) -> impl Iterator<Item = &'a Gate> {
        let held = step.bake != Bake::Time(Duration::ZERO);
        let of_plan = self.gates.iter().filter(move |_| held);
        of_plan.chain(&step.gates).filter(|gate| !(step.is_whole() && gate.check.compares()))
    }
}

impl Step {
    /// Whether the candidate has everything, and stable nothing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.weight.basis_points() == Weight::WHOLE
    }
}

impl Check {
    /// Whether it holds the candidate against stable.
    #[must_use]
    pub fn compares(&self) -> bool {
        match self {
            Self::NoWorse => true,
            Self::ErrorRate { limit, .. } | Self::Latency { limit, .. } => !matches!(limit, Limit::Max(_)),
            Self::Approval { .. } | Self::Window(_) | Self::Prometheus(_) => false,
        }
    }
}

impl Guard {
    /// The number of outcomes of the candidate that must be known before a step ends.
    pub const MIN_REQUESTS: u64 = 10;
    /// The time that the end of a step waits for them.
    pub const PATIENCE: Duration = Duration::from_secs(3600);

    /// How a plan of this form is guarded when it does not say.
    #[must_use]
    pub fn of(form: &PlanForm) -> Self {
        let guard = Self::enforced(!matches!(form, PlanForm::CanaryWeight(_) | PlanForm::Full));
        // The cloud's plans wait for nothing but the time.
        let min_requests = if matches!(form, PlanForm::CodeDeploy(_)) { 0 } else { guard.min_requests };
        Self { min_requests, ..guard }
    }

    /// A guard that says no more than whether it is enforced. YAML: `guard: true`, `guard: false`.
    #[must_use]
    pub fn enforced(enforced: bool) -> Self {
        Self {
            enforced,
            margin: Margin::default(),
            client_errors: false,
            shield: if enforced { Shield::AnyServerError } else { Shield::Off },
            latency: Some(LatencyGuard::default()),
            min_requests: Self::MIN_REQUESTS,
            patience: Self::PATIENCE,
        }
    }
}

fn timed(weight: Weight, bake: Duration) -> Step {
    Step { weight, bake: Bake::Time(bake), gates: Vec::new() }
}

/// So many percent, at most 100.
pub(crate) fn percent(percent: u64) -> Weight {
    u16::try_from(percent * 100).ok().and_then(Weight::new).expect("at most 100 percent")
}

/// The short name of a predefined plan.
pub(crate) fn predefined_name(name: &str) -> Option<&'static str> {
    let short = name.strip_prefix("CodeDeployDefault.").unwrap_or(name);
    let short = short.strip_prefix("Lambda").unwrap_or(short);
    predefined_names().find(|known| *known == short)
}

/// The short names of every predefined plan.
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
        crate::text::parse::parse_plan(text, &|_| None).unwrap()
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

    #[test]
    fn a_timeline_ends_where_the_clock_does_not_decide() {
        let times = |text: &str| {
            let due =
                |(due, weight): (Option<Duration>, Weight)| (due.map(|due| due.as_secs()), weight.basis_points() / 100);
            read(text).timeline().into_iter().map(due).collect::<Vec<_>>()
        };
        assert_eq!(times("canaryStep: {weight: 20, interval: 90s}"), [(Some(0), 20), (Some(90), 100)]);
        assert_eq!(times("linearStep: {weight: 40, interval: 1s}"), [(Some(0), 40), (Some(1), 80), (Some(2), 100)]);
        assert_eq!(times("full"), [(Some(0), 100)]);
        assert_eq!(times("canaryWeight: 5"), [(Some(0), 5)]);
        let mixed = "steps: [{weight: 5, bake: 10s}, {weight: 20, requests: 1000}, {weight: 50, bake: 5s}]";
        assert_eq!(times(mixed), [(Some(0), 5), (Some(10), 20), (None, 50), (None, 100)]);
        let held = "steps: [{weight: 5, bake: hold}, {weight: 50, bake: 5s}]";
        assert_eq!(times(held), [(Some(0), 5), (None, 50), (None, 100)]);
    }

    #[test]
    fn gates_are_asked_where_they_can_be_answered() {
        let plan = read(
            "{steps: [{weight: 5, bake: 1m, gates: [approval]}, {weight: 100, gates: [{window: \"09:00-17:00\"}, no-worse]}], \
              gates: [no-worse, {error_rate: {max: 1%}}, {latency: {p95: {ratio: 2}}}]}",
        );
        let asked = |n: usize| plan.gates_at(&plan.steps[n]).map(|gate| &gate.check).collect::<Vec<_>>();
        let first = asked(0);
        assert_eq!(first.len(), 4);
        assert!(matches!(first[3], Check::Approval { .. }));
        assert!(matches!(asked(1)[..], [Check::Window(_)]), "{:?}", asked(1));
        let held = read("{steps: [{weight: 100, bake: 1m}], gates: [no-worse, {error_rate: {max: 1%}}]}");
        assert_eq!(held.gates_at(&held.steps[0]).count(), 1);
    }
}
