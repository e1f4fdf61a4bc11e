//! What a rollout tells: log, journal, events and notifications are all made from this.

use super::Effect;
use super::machine::Run;

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
