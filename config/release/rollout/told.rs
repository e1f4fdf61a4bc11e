//! What a rollout tells: log, journal, events and notifications are all made from this.

use std::time::Duration;

use super::machine::Run;
use super::{Effect, Point, Speaker};
use crate::model::Gate;

/// News of a rollout, in a word and in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// How it is meant.
    pub tone: Tone,
    /// One of a closed list of words: `begun`, `step`, `waiting`, `approval`, `approved`, `advanced`, `held`, `resumed`,
    /// `reminder`, `alert`, and the [outcomes](super::Outcome).
    pub kind: &'static str,
    /// What happened, without the name of the rollout.
    pub text: String,
}

/// How news is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As planned.
    Info,
    /// The end that was wished for.
    Good,
    /// Somebody should look.
    Warning,
    /// It failed.
    Bad,
}

impl Run {
    pub(super) fn tell(&mut self, tone: Tone, kind: &'static str, text: String) {
        self.effects.push(Effect::Tell(Milestone { tone, kind, text }));
    }
}

pub(super) fn gate_name(gate: &Gate) -> String {
    format!("the gate `{}`", gate.check.name())
}

/// The name of a hook, with its chain as the clouds call it.
pub(super) fn hook_name(point: Point, index: usize) -> String {
    let chain = match point {
        Point::Before => "BeforeAllowTraffic",
        Point::Step => "step",
        Point::After => "AfterAllowTraffic",
    };
    format!("hook {} of `{chain}`", index + 1)
}

pub(super) fn said_by(speaker: &Speaker) -> String {
    match &speaker.why {
        Some(why) => format!("{} ({why})", speaker.who),
        None => speaker.who.clone(),
    }
}

pub(super) fn days(time: Duration) -> String {
    format!("{} days", time.as_secs() / 86_400)
}
