//! Plans with their gates, guards and hooks.

use std::time::Duration;

use crate::model::{
    Bake, Check, Decision, Gate, Guard, Hook, HookCall, Hooks, LatencyGuard, Limit, OnRestart, Plan, PlanForm,
    PrometheusCheck, QUANTILES, Step,
};
use crate::text::format::Entries;
use crate::text::format::tree::Tree;
use crate::value::decimal::show_parts;
use crate::value::duration::show_duration;
use crate::value::weight::Weight;

/// One plan as it was spelled; a text where it is a predefined name and nothing else.
pub(crate) fn plan(plan: &Plan) -> Tree {
    let mut others = Entries::default();
    others.put_full("gates", Tree::list(plan.gates.iter().map(gate)));
    others.put_unless("guard", &plan.guard, &Guard::of(&plan.form), guard);
    others.put_full("hooks", hooks(&plan.hooks));
    others.put_full("notify", Tree::list(plan.notify.iter().map(Tree::text)));
    others.put_unless("on_restart", &plan.on_restart, &OnRestart::default(), |on| on.as_str().into());
    let mut entries = Entries::default();
    match &plan.form {
        PlanForm::CanaryStep { weight, interval } => entries.put("canaryStep", timed(*weight, *interval)),
        PlanForm::LinearStep { weight, interval } => entries.put("linearStep", timed(*weight, *interval)),
        PlanForm::CanaryPlans(parts) => {
            entries.put("canaryPlans", Tree::list(parts.iter().map(|(weight, interval)| timed(*weight, *interval))))
        }
        PlanForm::CanaryWeight(weight) => entries.put("canaryWeight", Tree::raw(weight)),
        PlanForm::Full => entries.put("full", Tree::raw(&true)),
        PlanForm::CodeDeploy(name) if others.0.is_empty() => return Tree::text(name),
        PlanForm::CodeDeploy(name) => entries.put("plan", Tree::text(name)),
        PlanForm::Steps => entries.put("steps", Tree::list(plan.steps.iter().map(step))),
    };
    entries.0.append(&mut others.0);
    entries.flow()
}

fn timed(weight: Weight, interval: Duration) -> Tree {
    let mut entries = Entries::default();
    entries.put("weight", Tree::raw(&weight));
    let whole = weight.basis_points() == Weight::WHOLE && interval.is_zero();
    if !whole {
        entries.put("interval", duration(&interval));
    }
    entries.flow()
}

fn step(step: &Step) -> Tree {
    let mut entries = Entries::default();
    entries.put("weight", Tree::raw(&step.weight));
    match step.bake {
        Bake::Time(time) if time.is_zero() => {}
        Bake::Time(time) => {
            entries.put("bake", duration(&time));
        }
        Bake::Requests(requests) => {
            entries.put("requests", Tree::raw(&requests));
        }
        Bake::Hold => {
            entries.put("bake", "hold");
        }
    }
    entries.put_full("gates", Tree::list(step.gates.iter().map(gate)));
    entries.flow()
}

fn gate(gate: &Gate) -> Tree {
    let mut entries = Entries::default();
    let kind = match &gate.check {
        Check::NoWorse => "no-worse",
        Check::ErrorRate { limit, min_requests } => {
            match limit {
                Limit::Max(parts) => entries.put("max", Tree::Text(format!("{}%", show_parts(*parts, 4)))),
                Limit::Ratio(thousandths) => entries.put("ratio", ratio(thousandths)),
                Limit::Points(parts) => entries.put("points", points(parts)),
            };
            entries.put_unless("min_requests", min_requests, &Check::MIN_REQUESTS, Tree::raw);
            "error_rate"
        }
        Check::Latency { quantile, limit, min_requests } => {
            let name = QUANTILES.iter().find(|(_, known)| known == quantile).map(|(name, _)| *name);
            entries.put_some("quantile", name.as_ref(), |name| (**name).into());
            match limit {
                Limit::Max(micros) => entries.put("max", duration(&Duration::from_micros(*micros))),
                Limit::Ratio(thousandths) => entries.put("ratio", ratio(thousandths)),
                Limit::Points(micros) => entries.put("more", duration(&Duration::from_micros(*micros))),
            };
            entries.put_unless("min_requests", min_requests, &Check::MIN_REQUESTS, Tree::raw);
            "latency"
        }
        Check::Approval { default } => {
            entries.put_unless("default", default, &Decision::default(), |default| default.as_str().into());
            "approval"
        }
        Check::Window(windows) => {
            return Entries::default().put("window", Tree::list(windows.iter().map(Tree::text))).flow();
        }
        Check::Prometheus(check) => {
            prometheus(&mut entries, check);
            "prometheus"
        }
    };
    let default = Gate::new(gate.check.clone());
    entries.put_unless("on_insufficient", &gate.on_insufficient, &default.on_insufficient, |on| on.as_str().into());
    entries.put_unless("timeout", &gate.timeout, &default.timeout, duration);
    // Only of these two nothing can be left to say.
    if entries.0.is_empty() { kind.into() } else { Entries::default().put(kind, entries.flow()).flow() }
}

fn prometheus(entries: &mut Entries, check: &PrometheusCheck) {
    entries.put("url", &check.url);
    entries.put("query", &*check.query);
    entries.put_some("min", check.min.as_ref(), Tree::raw);
    entries.put_some("max", check.max.as_ref(), Tree::raw);
    entries.put_unless("every", &check.every, &PrometheusCheck::EVERY, duration);
}

fn guard(guard: &Guard) -> Tree {
    let default = Guard::enforced(guard.enforced);
    if *guard == default {
        return Tree::raw(&guard.enforced);
    }
    let mut entries = Entries::default();
    entries.put_unless("enforced", &guard.enforced, &true, Tree::raw);
    entries.put_unless("alpha", &guard.margin.alpha, &default.margin.alpha, |alpha| {
        Tree::Raw(show_parts((*alpha).into(), 6))
    });
    entries.put_unless("ratio", &guard.margin.ratio, &default.margin.ratio, ratio);
    entries.put_unless("points", &guard.margin.points, &default.margin.points, |parts| points(&u64::from(*parts)));
    entries.put_unless("client_errors", &guard.client_errors, &default.client_errors, Tree::raw);
    entries.put_unless("shield", &guard.shield, &default.shield, |shield| shield.as_str().into());
    entries.put_unless("latency", &guard.latency, &default.latency, |bounds| {
        bounds.as_ref().map_or_else(|| "off".into(), latency_guard)
    });
    entries.put_unless("min_requests", &guard.min_requests, &default.min_requests, Tree::raw);
    entries.put_unless("patience", &guard.patience, &default.patience, duration);
    entries.flow()
}

fn latency_guard(bounds: &LatencyGuard) -> Tree {
    let name = QUANTILES.iter().find(|(_, known)| *known == bounds.quantile).map(|(name, _)| *name);
    let mut entries = Entries::default();
    entries.put_some("quantile", name.as_ref(), |name| (**name).into());
    entries.put("ratio", ratio(&bounds.ratio));
    entries.put("more", duration(&bounds.more));
    entries.put("warm_up", Tree::raw(&bounds.warm_up));
    entries.flow()
}

fn hooks(hooks: &Hooks) -> Tree {
    let chain = |hooks: &[Hook]| Tree::list(hooks.iter().map(hook));
    let mut entries = Entries::default();
    entries.put_full("before", chain(&hooks.before));
    entries.put_full("step", chain(&hooks.step));
    entries.put_full("after", chain(&hooks.after)).flow()
}

fn hook(hook: &Hook) -> Tree {
    let mut entries = Entries::default();
    match &hook.call {
        HookCall::Http(url) => entries.put("http", url),
        HookCall::Command(parts) => entries.put("command", Tree::list(parts.iter().map(Tree::text))),
    };
    entries.put_unless("timeout", &hook.timeout, &Hook::default_timeout(hook.callback), duration);
    entries.put_unless("retries", &hook.retries, &Hook::RETRIES, Tree::raw);
    entries.put_unless("callback", &hook.callback, &false, Tree::raw).flow()
}

fn duration(duration: &Duration) -> Tree {
    Tree::Text(show_duration(*duration))
}

/// Thousandths.
fn ratio(thousandths: &u32) -> Tree {
    Tree::Raw(show_parts((*thousandths).into(), 3))
}

/// Percentage points of parts per million.
fn points(parts: &u64) -> Tree {
    Tree::Raw(show_parts(*parts, 4))
}
