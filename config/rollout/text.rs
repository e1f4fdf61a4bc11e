//! A rollout as a store keeps it: JSON, written and read by Weir alone.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Held, Member, Moment, Phase, Rollout, RolloutId};
use crate::format::format_plan;
use crate::model::Shield;
use crate::parse::{Env, parse_plan};
use crate::weight::Weight;

const SHIELDS: [(Shield, &str); 3] =
    [(Shield::Off, "off"), (Shield::Gateway, "gateway"), (Shield::AnyServerError, "any-5xx")];

fn shield_name(shield: Shield) -> &'static str {
    SHIELDS.iter().find(|(other, _)| *other == shield).map_or("off", |(_, name)| name)
}

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
    salt: Option<String>,
    shield: String,
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
        salt: member.salt.clone(),
        shield: shield_name(member.shield).to_owned(),
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
        approved: rollout.approved,
        runs: rollout.runs,
        alerted: rollout.alerted,
        seen: rollout.seen,
        evidence: rollout.evidence,
    };
    serde_json::to_string(&stored).expect("texts and numbers are JSON")
}

/// The rollout of a text.
///
/// # Errors
/// In a sentence, when this is no text of a rollout that this version of Weir can read.
pub fn from_text(text: &str, env: Env<'_>) -> Result<Rollout, String> {
    let stored: Stored = serde_json::from_str(text).map_err(|error| format!("a stored rollout is damaged: {error}"))?;
    let id: RolloutId = read("id", &stored.id)?;
    let plan = parse_plan(&stored.plan, env).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("the stored plan of rollout {id} cannot be read: {}", problems.join("; "))
    })?;
    Ok(Rollout {
        id,
        members: stored.members.into_iter().map(member).collect::<Result<_, _>>()?,
        plan: Arc::new(plan),
        plan_name: stored.plan_name,
        by: stored.by,
        why: stored.why,
        began: stored.began,
        weight: Weight::new(stored.weight).ok_or_else(|| format!("the stored weight of rollout {id} is none"))?,
        phase: stored.phase,
        held: stored.held,
        approved: stored.approved,
        runs: stored.runs,
        alerted: stored.alerted,
        seen: stored.seen,
        evidence: stored.evidence,
    })
}

fn member(stored: StoredMember) -> Result<Member, String> {
    let shield = SHIELDS
        .iter()
        .find(|(_, name)| *name == stored.shield)
        .map(|(shield, _)| *shield)
        .ok_or_else(|| format!("the stored shield `{}` is none", stored.shield))?;
    Ok(Member {
        function: read("function", &stored.function)?,
        alias: read("alias", &stored.alias)?,
        stable: stored.stable.as_deref().map(|stable| read("stable version", stable)).transpose()?,
        candidate: read("candidate", &stored.candidate)?,
        salt: stored.salt,
        shield,
    })
}

fn read<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("the stored {what} `{text}` of a rollout is none: {error}"))
}
