//! Milestones as people hear of them: a log line, and a notice to whom the plan names. Journal and events have them from the
//! transaction itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::model::Notifier;
use config::release::rollout::{Milestone, Phase, Report, Rollout, RolloutId, Tone, Word, last_seen};
use config::value::name::NotifierName;
use serde_json::{Value, json};

use super::super::rollouts::{seen as shown, view};
use super::super::{Ground, sha256};
use super::Shared;
use crate::notify::{Link, Notice, Severity};

/// Links by which somebody approves or rejects a step once: what each of them means, by the hash of its token.
#[derive(Default)]
pub struct Ballots(Mutex<HashMap<String, Ballot>>);

/// What a link means.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    /// The rollout that asks.
    pub rollout: RolloutId,
    /// The step that it asks about, from 0.
    pub step: usize,
    /// What the link says.
    pub word: Word,
    /// The notifier that it was sent to.
    pub notifier: NotifierName,
    /// What was told with it.
    pub report: Arc<Report>,
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
        self.lock().get(&sha256(token)).cloned()
    }

    /// What this token means; it and the others of its question are worth nothing afterwards.
    #[must_use]
    pub fn take(&self, token: &str) -> Option<Ballot> {
        let mut ballots = self.lock();
        let ballot = ballots.remove(&sha256(token))?;
        ballots.retain(|_, other| (other.rollout, other.step) != (ballot.rollout, ballot.step));
        Some(ballot)
    }

    /// A rollout that is over asks nobody.
    fn forget(&self, rollout: RolloutId) {
        self.lock().retain(|_, ballot| ballot.rollout != rollout);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ballot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn tell(ground: &Ground, shared: &Shared, rollout: &Rollout, milestone: &Milestone) {
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
    if rollout.is_over() {
        shared.ballots.forget(id);
    }
    if rollout.plan.notify.is_empty() {
        return;
    }
    let config = ground.live.load_full().table.config().clone();
    let seen = seen(shared, rollout);
    let mut report = Report::new(rollout, &seen);
    report.caption = (milestone.kind == "step").then_some("counted before this step");
    let report = Arc::new(report);
    let notice = Notice {
        title: format!("{names}: {}", milestone.kind),
        text: told(rollout, milestone, &report),
        severity: match milestone.tone {
            Tone::Info | Tone::Good => Severity::Info,
            Tone::Warning => Severity::Warning,
            Tone::Bad => Severity::Error,
        },
        facts: json!({ "kind": milestone.kind, "text": text, "rollout": view(rollout), "seen": shown(&seen) }),
        links: Vec::new(),
    };
    for name in &rollout.plan.notify {
        let Some(notifier) = config.notifiers.get(name) else {
            tracing::warn!(rollout = %id, "the notifier `{name}` is gone, and hears nothing of this");
            continue;
        };
        let links = match (milestone.kind, &**notifier) {
            (_, Notifier::Log) => Vec::new(),
            ("approval", _) => links(ground, &shared.ballots, rollout, (name, &report)),
            _ => Vec::new(),
        };
        ground.calls.notifiers.tell(name, notifier, Notice { links, ..notice.clone() });
    }
}

/// What is seen of a rollout now; until it was looked at, what it carries.
fn seen(shared: &Shared, rollout: &Rollout) -> Value {
    let sights = shared.sights.borrow();
    let sight = sights.get(&rollout.id).map(|sight| json!(sight));
    sight.unwrap_or_else(|| last_seen(rollout))
}

fn told(rollout: &Rollout, milestone: &Milestone, report: &Report) -> String {
    let mut text = format!("{}\n{report}", milestone.text);
    if milestone.kind == "approval" {
        let id = rollout.id;
        // Writing to a text cannot fail.
        let _ = write!(text, "\nby command: `weir approve {id}` or `weir reject {id}`");
    }
    text
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

/// Links of one notifier, so that an answer says whose link it was.
fn links(
    ground: &Ground,
    ballots: &Ballots,
    rollout: &Rollout,
    (notifier, report): (&NotifierName, &Arc<Report>),
) -> Vec<Link> {
    let Some(Some(base)) = ground.calls.admin_url.get() else { return Vec::new() };
    let Phase::Deciding { step, .. } = rollout.phase else { return Vec::new() };
    let link = |label: &str, word| {
        let (notifier, report) = (notifier.clone(), Arc::clone(report));
        let token = ballots.issue(Ballot { rollout: rollout.id, step, word, notifier, report });
        Link { label: label.to_owned(), url: format!("{}/v1/ballots/{token}", base.trim_end_matches('/')) }
    };
    vec![link("approve", Word::Approve), link("reject", Word::Reject)]
}
