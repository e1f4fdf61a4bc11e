//! A rollout as the API shows it: where it stands, what is seen of its traffic, and what it waits for.

use config::model::{Bake, Gate};
use config::release::rollout::{Goal, Moment, Phase, Rollout, Waits, last_seen};
use config::value::name::{AliasName, FunctionName};
use serde_json::{Value, json};

use crate::admin::{Server, rfc3339};
use crate::clock;
use crate::control::guardian::Sight;
use crate::control::rollouts::{Freeze, seen, view};

/// A rollout: [`view`], with `seen`, `waits_for` and `left_seconds`.
pub(super) fn rollout(server: &Server, rollout: &Rollout) -> Value {
    let now = clock::unix();
    let sights = server.control.sights();
    let sight = sights.borrow().get(&rollout.id).cloned();
    let freeze = in_force(server, now);
    let mut shown = view(rollout);
    let unstored = server.control.unstored(rollout.id).filter(|_| !rollout.is_over() && server.live.paused().is_some());
    shown["unstored"] = unstored.is_some().into();
    let waits_for = match unstored {
        Some(why) => Some(format!("the store to take its next step: {why}")),
        None => waits_for(rollout, freeze.as_ref(), sight.as_ref()),
    };
    shown["waits_for"] = waits_for.into();
    shown["left_seconds"] = rollout.deadline().map(|deadline| left(deadline, now)).into();
    shown["seen"] = match sight {
        Some(sight) => seen(&json!(sight)),
        None if rollout.evidence.is_null() => Value::Null,
        None => seen(&last_seen(rollout)),
    };
    shown
}

/// The rollout that moves this alias; null without one.
pub(in crate::admin) fn of_alias(server: &Server, function: &FunctionName, alias: &AliasName) -> Value {
    let rollouts = server.control.rollouts();
    let running = rollouts.borrow().on(function, alias).cloned();
    running.map_or(Value::Null, |running| rollout(server, &running))
}

/// Whether all rollouts are held, by whom and until when.
pub(in crate::admin) fn freeze(server: &Server) -> Value {
    let freeze = in_force(server, clock::unix());
    json!({
        "frozen": freeze.is_some(),
        "by": freeze.as_ref().map(|freeze| freeze.by.as_str()),
        "reason": freeze.as_ref().and_then(|freeze| freeze.why.as_deref()),
        "since": freeze.as_ref().and_then(|freeze| rfc3339(freeze.since)),
        "until": freeze.as_ref().and_then(|freeze| rfc3339(freeze.until)),
    })
}

fn in_force(server: &Server, now: Moment) -> Option<Freeze> {
    let rollouts = server.control.rollouts();
    let freeze = rollouts.borrow().freeze.clone();
    freeze.filter(|freeze| now < freeze.until)
}

/// Tenths of seconds, as seconds.
fn left(deadline: Moment, now: Moment) -> f64 {
    (deadline.saturating_sub(now).as_secs_f64() * 10.0).ceil() / 10.0
}

/// Why it does not go on by itself now, in a sentence without the end; `None` while a bake by time runs, and at the end.
fn waits_for(rollout: &Rollout, freeze: Option<&Freeze>, sight: Option<&Sight>) -> Option<String> {
    if rollout.is_over() {
        return None;
    }
    if let Some(held) = &rollout.held {
        let until = rfc3339(held.until).unwrap_or_default();
        return Some(format!("somebody to resume it: held by {}; goes back to stable at {until}", held.by));
    }
    let frozen = freeze.map(|freeze| {
        let until = rfc3339(freeze.until).unwrap_or_default();
        format!("the end of the freeze by {}, at {until} at the latest", freeze.by)
    });
    match &rollout.phase {
        Phase::Asking { index, .. } => Some(format!("the answer of hook {}", index + 1)),
        _ if frozen.is_some() => frozen,
        Phase::Ready { goal: Goal::Step(_), .. } => Some("the window of the next step".to_owned()),
        Phase::Baking { step, .. } => match rollout.plan.steps[*step].bake {
            Bake::Time(_) => None,
            Bake::Requests(wanted) => {
                let seen = sight.and_then(|sight| sight.members.iter().map(|member| member.candidate.requests).min());
                Some(format!("requests to the candidate: {} of {wanted}", seen.unwrap_or(0)))
            }
            Bake::Hold => Some("somebody to promote, advance or abort it: the plan holds here".to_owned()),
        },
        Phase::Deciding { waits: Waits::Approval, .. } => Some("somebody to approve or reject it".to_owned()),
        Phase::Deciding { step, waits: Waits::Gates, .. } => Some(open_gates(rollout.gates(*step), sight)),
        Phase::Ready { goal: Goal::Promote, .. } | Phase::Over { .. } => None,
    }
}

/// `no-worse: not yet: …`
fn open_gates<'g>(gates: impl Iterator<Item = &'g Gate>, sight: Option<&Sight>) -> String {
    let said: Vec<String> = match sight {
        Some(sight) => {
            let open = sight.gates.iter().filter(|(_, says)| says != "pass");
            open.map(|(gate, says)| format!("{gate}: {says}")).collect()
        }
        None => gates.map(|gate| gate.check.name().to_owned()).collect(),
    };
    let lacks = sight.and_then(|sight| sight.lacks.clone());
    match (lacks, said.is_empty()) {
        (Some(lacks), true) => format!("what must be known before the step ends: {lacks}"),
        (Some(lacks), false) => format!("{lacks}, and for an answer of its gates: {}", said.join("; ")),
        (None, _) => format!("an answer of its gates: {}", said.join("; ")),
    }
}
