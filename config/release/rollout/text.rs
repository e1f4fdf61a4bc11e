//! A rollout as a store keeps it: JSON, written and read by Weir alone.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Approval, Goal, Held, Member, Moment, Phase, Point, Rollout, RolloutId};
use crate::model::{Plan, Shield};
use crate::text::format::format_plan;
use crate::text::parse::{Env, parse_plan};
use crate::value::name::VersionId;
use crate::value::weight::Weight;

#[derive(Serialize, Deserialize)]
struct Stored {
    id: String,
    members: Vec<StoredMember>,
    plan: String,
    plan_name: Option<String>,
    by: String,
    why: Option<String>,
    began: Moment,
    weight: u16,
    phase: Phase,
    held: Option<Held>,
    #[serde(default)]
    approvals: Vec<Approval>,
    /// The yes to the current step, where release 0.1.0 wrote the rollout.
    #[serde(default, skip_serializing)]
    approved: Option<String>,
    runs: u32,
    alerted: bool,
    seen: Moment,
    evidence: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct StoredMember {
    function: String,
    alias: String,
    stable: Option<String>,
    candidate: String,
}

/// The text of a rollout.
#[must_use]
pub fn to_text(rollout: &Rollout) -> String {
    let rollout = rollout.clone();
    let member = |member: &Member| StoredMember {
        function: member.function.to_string(),
        alias: member.alias.to_string(),
        stable: member.stable.map(|stable| stable.to_string()),
        candidate: member.candidate.to_string(),
    };
    let stored = Stored {
        id: rollout.id.to_string(),
        members: rollout.members.iter().map(member).collect(),
        plan: format_plan(&rollout.plan),
        plan_name: rollout.plan_name,
        by: rollout.by,
        why: rollout.why,
        began: rollout.began,
        weight: rollout.weight.basis_points(),
        phase: rollout.phase,
        held: rollout.held,
        approvals: rollout.approvals,
        approved: None,
        runs: rollout.runs,
        alerted: rollout.alerted,
        seen: rollout.seen,
        evidence: rollout.evidence,
    };
    serde_json::to_string(&stored).expect("texts and numbers are JSON")
}

/// A rollout that was read from a text.
#[derive(Debug)]
pub struct ReadRollout {
    /// The rollout. Without a plan that could be read it has one without steps.
    pub rollout: Rollout,
    /// The reason why its plan cannot be followed, in a sentence. One that is over needs none.
    pub unusable: Option<String>,
    /// The own fields of each alias, where release 0.1.0 wrote the rollout.
    pub lent: Vec<OwnFields>,
}

/// The fields of an alias that a rollout of release 0.1.0 replaced while it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFields {
    /// The alias's own salt.
    pub salt: Option<String>,
    /// The alias's own shield.
    pub shield: Shield,
}

/// The rollout of a text. A plan that cannot be read, such as one whose environment variable is not set any more, or a phase of
/// another version of Weir, leaves its members known, so that it can go back to stable.
///
/// # Errors
/// In a sentence, when not even its members can be read.
pub fn from_text(text: &str, env: Env<'_>) -> Result<ReadRollout, String> {
    let damaged = |error: serde_json::Error| format!("a stored rollout is damaged: {error}");
    let value: serde_json::Value = serde_json::from_str(text).map_err(damaged)?;
    match serde_json::from_value::<Stored>(value.clone()) {
        Ok(stored) => {
            let lent = lent(value["members"].as_array().map_or(&[][..], |members| members));
            let read = read_stored(stored, env)?;
            match impossible(&read.rollout) {
                None => Ok(ReadRollout { lent, ..read }),
                Some(why) => {
                    let rollout = read_rest(&value).ok_or_else(|| why.clone())?;
                    Ok(ReadRollout { rollout, unusable: Some(why), lent })
                }
            }
        }
        Err(error) => {
            let why = damaged(error);
            let rollout = read_rest(&value).ok_or_else(|| why.clone())?;
            let lent = lent(value["members"].as_array().map_or(&[][..], |members| members));
            Ok(ReadRollout { rollout, unusable: Some(why), lent })
        }
    }
}

fn read_stored(stored: Stored, env: Env<'_>) -> Result<ReadRollout, String> {
    let id: RolloutId = read("id", &stored.id)?;
    let is_over = matches!(stored.phase, Phase::Over { .. });
    let (plan, phase, unusable) = match parse_plan(&stored.plan, env) {
        Ok(plan) => (plan, stored.phase, None),
        // People read its steps; nobody asks its hooks and notifiers any more.
        Err(_) if is_over => (without_variables(&stored.plan), stored.phase, None),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let why = format!("its stored plan cannot be read: {}", problems.join("; "));
            (without_variables(&stored.plan), nowhere(stored.seen), Some(why))
        }
    };
    let mut rollout = Rollout {
        id,
        members: stored.members.into_iter().map(member).collect::<Result<_, _>>()?,
        plan: Arc::new(plan),
        plan_name: stored.plan_name,
        by: stored.by,
        why: stored.why,
        began: stored.began,
        weight: Weight::new(stored.weight).ok_or_else(|| format!("the stored weight of rollout {id} is none"))?,
        phase,
        held: stored.held,
        approvals: stored.approvals,
        runs: stored.runs,
        alerted: stored.alerted,
        seen: stored.seen,
        evidence: stored.evidence,
    };
    if let (Some(by), Some((step, _))) = (stored.approved, rollout.bake()) {
        rollout.approvals.push(Approval { step, by, why: None, at: rollout.seen });
    }
    Ok(ReadRollout { rollout, unusable, lent: Vec::new() })
}

/// The end of the year 9999: no moment of a rollout is later, and none that is computed from one overflows.
const LAST: Moment = Moment::from_secs(253_402_300_799);

/// The reason why no rollout can stand where this one does, if so: its text was damaged in a way that can still be read.
fn impossible(rollout: &Rollout) -> Option<String> {
    let Rollout { id, members, plan, began, seen, held, approvals, runs, phase, .. } = rollout;
    let is_step = |step: usize| step < plan.steps.len();
    let is_goal = |goal: &Goal| match goal {
        Goal::Step(step) => is_step(*step),
        Goal::Promote => true,
    };
    let (is_there, moments) = match phase {
        Phase::Asking { point, goal, index, until, .. } => {
            let chain = match point {
                Point::Before => &plan.hooks.before,
                Point::Step => &plan.hooks.step,
                Point::After => &plan.hooks.after,
            };
            (is_goal(goal) && *index < chain.len(), vec![*until])
        }
        Phase::Ready { goal, until, .. } => (is_goal(goal), vec![*until]),
        Phase::Baking { step, since, until } | Phase::Deciding { step, since, until, .. } => {
            (is_step(*step), vec![*since, *until])
        }
        Phase::Over { at, .. } => (true, vec![*at]),
    };
    let of_hold = held.iter().flat_map(|held| [held.since, held.until]);
    let of_people = approvals.iter().map(|approval| approval.at);
    let mut moments = moments.into_iter().chain([*began, *seen]).chain(of_hold).chain(of_people);
    if moments.any(|moment| moment > LAST) {
        return Some(format!("the stored rollout {id} is damaged: a moment of it is after the year 9999"));
    }
    let is_counted = approvals.iter().all(|approval| is_step(approval.step)) && *runs < u32::MAX / 2;
    let is_split = |member: &Member| member.stable != Some(VersionId::Number(member.candidate));
    if !is_there || !is_counted || !members.iter().all(is_split) {
        return Some(format!("the stored rollout {id} is damaged: its plan and members do not have what it stands at"));
    }
    None
}

/// Reads the members of a running rollout whose text another version of Weir wrote.
fn read_rest(value: &serde_json::Value) -> Option<Rollout> {
    if value["phase"]["is"] == "over" {
        return None;
    }
    let stored: Vec<StoredMember> = serde_json::from_value(value["members"].clone()).ok()?;
    let members: Vec<Member> = stored.into_iter().map(member).collect::<Result<_, _>>().ok()?;
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Rollout {
        id: text("id")?.parse().ok()?,
        members: Some(members).filter(|members| !members.is_empty())?,
        plan: Arc::new(no_plan()),
        plan_name: text("plan_name"),
        by: text("by").unwrap_or_default(),
        why: text("why"),
        began: Moment::ZERO,
        weight: value["weight"]
            .as_u64()
            .and_then(|weight| Weight::new(weight.try_into().ok()?))
            .unwrap_or(Weight::ZERO),
        phase: nowhere(Moment::ZERO),
        held: None,
        approvals: Vec::new(),
        runs: 0,
        alerted: false,
        seen: Moment::ZERO,
        evidence: serde_json::Value::Null,
    })
}

/// The plan without the values of its variables.
fn without_variables(plan: &str) -> Plan {
    parse_plan(plan, &|_| Some(String::new())).unwrap_or_else(|_| no_plan())
}

/// The plan of a rollout whose own cannot be read, which goes nowhere but back.
fn no_plan() -> Plan {
    parse_plan("full: true", &|_| None).expect("the plan with one step can be read")
}

/// The phase of a rollout that cannot go on.
fn nowhere(until: Moment) -> Phase {
    Phase::Ready { goal: Goal::Step(0), asked: false, until }
}

fn member(stored: StoredMember) -> Result<Member, String> {
    Ok(Member {
        function: read("function", &stored.function)?,
        alias: read("alias", &stored.alias)?,
        stable: stored.stable.as_deref().map(|stable| read("stable version", stable)).transpose()?,
        candidate: read("candidate", &stored.candidate)?,
    })
}

/// The own fields of aliases, where members tell them.
fn lent(members: &[serde_json::Value]) -> Vec<OwnFields> {
    let fields = members.iter().map(|member| {
        let word = member["shield"].as_str()?;
        let (_, shield) = *Shield::WORDS.iter().find(|(other, _)| *other == word)?;
        Some(OwnFields { salt: member["salt"].as_str().map(str::to_owned), shield })
    });
    fields.collect::<Option<_>>().unwrap_or_default()
}

fn read<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("the stored {what} `{text}` of a rollout is none: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAKING: &str = r#"{"id":"r10","members":[{"function":"shop","alias":"prod","stable":"1","candidate":"2"}],
        "plan":"canaryStep: {weight: 10, interval: 10m}\n","plan_name":null,"by":"token:ci","why":null,
        "began":{"secs":1800000000,"nanos":0},"weight":1000,
        "phase":{"is":"baking","step":0,"since":{"secs":1800000000,"nanos":0},"until":{"secs":1800000600,"nanos":0}},
        "held":null,"runs":1,"alerted":false,"seen":{"secs":1800000000,"nanos":0},"evidence":null}"#;

    #[test]
    fn a_rollout_that_stands_where_none_can_goes_back() {
        let read = |text: &str| from_text(text, &|_| None).unwrap();
        assert_eq!(read(BAKING).unusable, None);
        for (right, wrong) in [
            (r#""step":0"#, r#""step":99"#),
            (r#""step":0"#, r#""step":18446744073709551615"#),
            ("canaryStep: {weight: 10, interval: 10m}", "full: true"),
            (r#""until":{"secs":1800000600"#, r#""until":{"secs":18446744073709551615"#),
            (r#""since":{"secs":1800000000"#, r#""since":{"secs":18446744073709551615"#),
            (r#""began":{"secs":1800000000"#, r#""began":{"secs":1000000000000"#),
            (r#""runs":1"#, r#""runs":4294967295"#),
            (r#""stable":"1""#, r#""stable":"2""#),
        ] {
            assert!(BAKING.contains(right), "{right}");
            let text = BAKING.replace(right, wrong);
            // A step fewer leaves none to stand at.
            let text = if wrong == "full: true" { text.replace(r#""step":0"#, r#""step":1"#) } else { text };
            let ReadRollout { rollout, unusable, .. } = read(&text);
            assert!(unusable.as_ref().is_some_and(|why| why.contains("damaged")), "{wrong}: {unusable:?}");
            assert_eq!((rollout.id, rollout.members.len()), (RolloutId(10), 1), "it is known what goes back");
            assert!(rollout.deadline().is_none_or(|deadline| deadline <= LAST));
        }
        let over = BAKING.replace(
            r#""is":"baking""#,
            r#""is":"over","outcome":"aborted","why":"","at":{"secs":1000000000000,"nanos":0}"#,
        );
        assert!(from_text(&over, &|_| None).unwrap_err().contains("9999"));
    }
}
