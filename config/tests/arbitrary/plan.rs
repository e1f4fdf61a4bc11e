//! Plans with everything that may stand in them.

use std::time::Duration;

use config::model::*;
use config::text::parse::parse_plan;

use super::{Draw, env, template};

pub(crate) fn plan(d: &mut Draw) -> Plan {
    let plans = [
        "canaryStep: {weight: 20, interval: 90s}",
        "linearStep: {weight: 40}",
        "canaryPlans: [{weight: 10, interval: 5}, {weight: 30, interval: 1h}]",
        "canaryPlans: [{weight: 10, interval: 5}, {weight: 100}]",
        "canaryWeight: 20",
        "full",
        "CodeDeployDefault.LambdaLinear10PercentEvery3Minutes",
        "steps: [{weight: 5, bake: 10m}, {weight: 20, requests: 1000}, {weight: 50, bake: hold}]",
        "steps: [{weight: 5, bake: 10m}]",
        "steps: [{weight: 100, bake: hold}]",
    ];
    let mut plan = parse_plan(d.of(&plans), &env).unwrap();
    if d.below(4) == 0 {
        return plan;
    }
    if plan.form == PlanForm::Steps {
        plan.steps.iter_mut().filter(|step| step.bake != Bake::Time(Duration::ZERO)).for_each(|step| {
            step.gates = d.some(0, 2, gate);
        });
    }
    plan.gates = d.some(0, 3, gate);
    let whole = plan.steps[0].is_whole();
    plan.guard = d.maybe(|d| guard(d, !whole)).unwrap_or(plan.guard);
    plan.hooks = Hooks { before: d.some(0, 2, hook), step: d.some(0, 1, hook), after: d.some(0, 1, hook) };
    plan.notify = d.of(&[vec![], vec!["n".parse().unwrap()], vec!["oncall".parse().unwrap(), "n".parse().unwrap()]]);
    plan.on_restart = d.of(&[OnRestart::Resume, OnRestart::Extend, OnRestart::Hold]);
    plan
}

fn guard(d: &mut Draw, may_enforce: bool) -> Guard {
    let guard = Guard::enforced(may_enforce && d.coin());
    if d.coin() {
        return guard;
    }
    Guard {
        margin: Margin {
            alpha: 100 * (1 + d.below(5000) as u32),
            ratio: 1000 + d.below(999_001) as u32,
            points: d.below(1_000_001) as u32,
        },
        client_errors: d.coin(),
        shield: d.of(&[Shield::Off, Shield::Gateway, Shield::AnyServerError]),
        latency: d.maybe(|d| LatencyGuard {
            quantile: d.of(&[500, 950, 990]),
            ratio: 1_000 + d.below(99_001) as u32,
            more: Duration::from_millis(d.below(3_600_001)),
            warm_up: d.below(1_000),
        }),
        min_requests: d.below(1_000),
        patience: Duration::from_millis(1_000 + d.below(100_000)),
        ..guard
    }
}

fn gate(d: &mut Draw) -> Gate {
    let min_requests = 1 + d.below(200);
    let ratio = Limit::Ratio(1000 + d.below(3000) as u32);
    let check = match d.below(6) {
        0 => Check::NoWorse,
        1 => {
            let (max, points) = (Limit::Max(d.below(1_000_001)), Limit::Points(d.below(1_000_001)));
            Check::ErrorRate { limit: d.of(&[max, ratio, points]), min_requests }
        }
        2 => {
            let (max, more) = (Limit::Max(1000 * (1 + d.below(5000))), Limit::Points(1000 * (1 + d.below(5000))));
            Check::Latency { quantile: d.of(&[500, 950, 990]), limit: d.of(&[max, ratio, more]), min_requests }
        }
        3 => Check::Approval { default: d.of(&[Decision::Approve, Decision::Reject]) },
        4 => Check::Window(d.some(1, 3, window)),
        _ => Check::Prometheus(Box::new(prometheus(d))),
    };
    let gate = Gate::new(check);
    let timeout = Duration::from_millis(1000 + d.below(2_591_999_001));
    match gate.check {
        Check::Window(_) => gate,
        Check::Approval { .. } => Gate { timeout, ..gate },
        Check::Prometheus(_) => {
            Gate { timeout, on_insufficient: d.of(&[OnInsufficient::Wait, OnInsufficient::Fail]), ..gate }
        }
        _ if d.coin() => gate,
        _ => Gate {
            timeout,
            on_insufficient: d.of(&[OnInsufficient::Wait, OnInsufficient::Pass, OnInsufficient::Fail]),
            ..gate
        },
    }
}

fn window(d: &mut Draw) -> Window {
    let days = 1 + d.below(127);
    let from = d.below(1440) as u16;
    let to = from + 1 + d.below(u64::from(1440 - from)) as u16;
    Window { days: std::array::from_fn(|day| days & (1 << day) != 0), from, to }
}

fn prometheus(d: &mut Draw) -> PrometheusCheck {
    let queries = ["sum(rate(errors{alias=\"${alias}\"}[5m]))", "up", "a: b\n  / # \"${candidate}\"\n\tc", "1"];
    let max = d.maybe(|d| d.of(&["5", "5.50", "1e6", "6E+2"]).parse().unwrap());
    let min = match max {
        None => Some(d.of(&["-3", "0", "1e-9", "100000000000000000000000"]).parse().unwrap()),
        Some(_) => d.maybe(|d| d.of(&["-3", "0", "1e-9"]).parse().unwrap()),
    };
    PrometheusCheck {
        url: template(d.of(&["http://prometheus:9090", "https://x/?token=${TOKEN}"])),
        query: d.of(&queries).to_owned(),
        min,
        max,
        every: d.of(&[PrometheusCheck::EVERY, Duration::from_millis(1500)]),
    }
}

fn hook(d: &mut Draw) -> Hook {
    let call = match d.coin() {
        true => HookCall::Http(template(d.of(&["https://ci.example.com/smoke?a=1", "http://x/${TOKEN}"]))),
        false => {
            HookCall::Command([vec!["/bin/smoke".to_owned()], d.some(0, 2, Draw::text), vec![String::new()]].concat())
        }
    };
    let callback = d.coin();
    let timeout = d.maybe(|d| Duration::from_millis(1000 + d.below(100_000)));
    Hook {
        call,
        timeout: timeout.unwrap_or_else(|| Hook::default_timeout(callback)),
        retries: d.below(11) as u32,
        callback,
    }
}
