//! A rollout as a store keeps it: JSON, written and read by Weir alone.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Approval, Goal, Held, Member, Moment, Phase, Rollout, RolloutId};
use crate::model::{Plan, Shield};
use crate::text::format::format_plan;
use crate::text::parse::{Env, parse_plan};
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
            Ok(ReadRollout { lent, ..read_stored(stored, env)? })
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
