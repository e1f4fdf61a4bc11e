//! Milestones as people hear of them: a log line, and a notice to whom the plan names. Journal and events have them from the
//! transaction itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use config::release::rollout::{Milestone, Phase, Rollout, RolloutId, Tone, Word};
use serde_json::json;

use super::super::rollouts::view;
use super::super::{Ground, sha256};
use crate::notify::{Link, Notice, Severity};

/// Links by which somebody approves or rejects a step once: what each of them means, by the hash of its token.
#[derive(Default)]
pub struct Ballots(Mutex<HashMap<String, Ballot>>);

/// What a link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// The rollout that asks.
    pub rollout: RolloutId,
    /// The step that it asks about, from 0.
    pub step: usize,
    /// What the link says.
    pub word: Word,
}

impl Ballots {
    fn issue(&self, ballot: Ballot) -> String {
        let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let mut ballots = self.lock();
        // One rollout asks about one step at a time.
        ballots.retain(|_, other| other.rollout != ballot.rollout || other.step == ballot.step);
        ballots.insert(sha256(&token), ballot);
        token
    }

    /// What this token means; it is still worth something afterwards.
    #[must_use]
    pub fn look(&self, token: &str) -> Option<Ballot> {
        self.lock().get(&sha256(token)).copied()
    }

    /// What this token means; it and the others of its question are worth nothing afterwards.
    #[must_use]
    pub fn take(&self, token: &str) -> Option<Ballot> {
        let mut ballots = self.lock();
        let ballot = ballots.remove(&sha256(token))?;
        ballots.retain(|_, other| (other.rollout, other.step) != (ballot.rollout, ballot.step));
        Some(ballot)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ballot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn tell(ground: &Ground, ballots: &Ballots, rollout: &Rollout, milestone: &Milestone) {
    let (names, text) = (names(rollout), &milestone.text);
    let id = rollout.id;
    match milestone.tone {
        Tone::Info | Tone::Good => {
            tracing::info!(rollout = %id, kind = milestone.kind, weight = %rollout.weight, "{names}: {text}");
        }
        Tone::Warning | Tone::Bad => {
            tracing::warn!(rollout = %id, kind = milestone.kind, weight = %rollout.weight, "{names}: {text}");
        }
    }
    if rollout.plan.notify.is_empty() {
        return;
    }
    let config = ground.live.load_full().table.config().clone();
    let notice = Notice {
        title: format!("{names}: {}", milestone.kind),
        text: format!("{text}\n{}", standing(rollout)),
        severity: match milestone.tone {
            Tone::Info | Tone::Good => Severity::Info,
            Tone::Warning => Severity::Warning,
            Tone::Bad => Severity::Error,
        },
        facts: json!({ "kind": milestone.kind, "text": text, "rollout": view(rollout) }),
        links: links(ground, ballots, rollout, milestone),
    };
    for name in &rollout.plan.notify {
        match config.notifiers.get(name) {
            Some(notifier) => ground.calls.notifiers.tell(name, notifier, notice.clone()),
            None => tracing::warn!(rollout = %id, "the notifier `{name}` is gone, and hears nothing of this"),
        }
    }
}

/// `shop:prod 1 -> 2`.
fn names(rollout: &Rollout) -> String {
    let mut names = String::new();
    for member in &rollout.members {
        if !names.is_empty() {
            names.push_str(", ");
        }
        let stable = member.stable.map(|stable| format!("{stable} -> ")).unwrap_or_default();
        // Writing to a text cannot fail.
        let _ = write!(names, "{}:{} {stable}{}", member.function, member.alias, member.candidate);
    }
    names
}

fn standing(rollout: &Rollout) -> String {
    format!("rollout {}: the candidate has {} % of the traffic", rollout.id, rollout.weight)
}

fn links(ground: &Ground, ballots: &Ballots, rollout: &Rollout, milestone: &Milestone) -> Vec<Link> {
    let (Some(Some(base)), "approval") = (ground.calls.admin_url.get(), milestone.kind) else { return Vec::new() };
    let Phase::Deciding { step, .. } = rollout.phase else { return Vec::new() };
    let link = |label: &str, word| {
        let token = ballots.issue(Ballot { rollout: rollout.id, step, word });
        Link { label: label.to_owned(), url: format!("{}/v1/ballots/{token}", base.trim_end_matches('/')) }
    };
    vec![link("approve", Word::Approve), link("reject", Word::Reject)]
}
