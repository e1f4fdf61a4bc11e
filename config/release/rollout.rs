//! Rollouts: one run of a plan, as a pure state machine.
//!
//! [`Rollout::on`] takes an event and the time and answers what the rollout is now and what is to be done. Whoever calls it
//! stores the answer before doing anything of it, so that a crash loses no step and doubles none.
//!
//! ```text
//! begin ─ Asking(before) ─ Ready ─ Asking(step) ─ Baking ─┬─ next step … ─ Asking(after) ─ Over: promoted
//!                          window                   Deciding
//!                          freeze, pause            gates, approval
//! ```
//! From everywhere: abort, a gate that fails, a hook that fails, a deadline: back to stable; promote: at once; somebody
//! else's split: superseded. No phase is without a deadline and what happens then ([`Rollout::deadline`]).

mod begin;
mod clock;
mod exposure;
mod gates;
mod machine;
mod migrate;
mod report;
mod text;
mod told;
mod traffic;
mod window;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use begin::{Ask, Asked, begin};
pub use exposure::Exposure;
pub use gates::{GateWatch, Seen, StepClock};
pub use migrate::layered;
pub use report::{MemberReport, Report, SideCounts, SideReport, last_seen};
pub use text::{OwnFields, ReadRollout, from_text, to_text};
pub use told::{Milestone, Tone};
pub use traffic::{edits, without_set_fields};

use crate::model::{Gate, Plan};
pub use crate::value::name::RolloutId;
use crate::value::name::{AliasName, FunctionName, VersionId};
use crate::value::weight::Weight;

/// Time since 1970-01-01 UTC.
pub type Moment = Duration;

/// How long a rollout stays paused before it goes back to stable.
pub const MAX_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a bake by requests may take before the rollout goes back to stable.
pub const MAX_EXPOSURE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often a plan that holds reminds that somebody has to decide.
pub const REMIND_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How much longer than its own timeouts a hook may take before its silence is a failure.
const HOOK_GRACE: Duration = Duration::from_secs(60);

/// One run of a plan on one alias, or on several that step together (a train).
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Its number.
    pub id: RolloutId,
    /// The aliases; at least one.
    pub members: Vec<Member>,
    /// The plan as it was when the rollout began: a later change of it is for the next one.
    pub plan: Arc<Plan>,
    /// The plan's name, where it has one.
    pub plan_name: Option<String>,
    /// Who began it.
    pub by: String,
    /// Why, in their words.
    pub why: Option<String>,
    /// When it began.
    pub began: Moment,
    /// The candidate's weight that is live.
    pub weight: Weight,
    /// Where it stands.
    pub phase: Phase,
    /// Why nothing but going back happens, if so.
    pub held: Option<Held>,
    /// Who approved which step; at most one for each.
    pub approvals: Vec<Approval>,
    /// How many hooks were asked so far.
    pub runs: u32,
    /// Whether it was told that the candidate is worse, in a plan that is not guarded, or that it is slower where that only alerts.
    pub alerted: bool,
    /// When it was last known to run: of the last transition or checkpoint.
    pub seen: Moment,
    /// What whoever watches the gates knows; the machine only carries it through a crash.
    pub evidence: serde_json::Value,
}

/// One alias of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its function.
    pub function: FunctionName,
    /// Its name.
    pub alias: AliasName,
    /// The version that has what the candidate does not; `None`: the alias is not there yet, and there is nothing to go back to.
    pub stable: Option<VersionId>,
    /// The version that is released.
    pub candidate: NonZeroU32,
}

/// Somebody's yes to a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The step, from 0.
    pub step: usize,
    /// Such as `token:ann`; `nobody`, where nobody objected in time.
    pub by: String,
    /// In their words.
    pub why: Option<String>,
    /// The time of their word.
    pub at: Moment,
}

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Phase {
    /// A hook was asked and has not answered.
    Asking {
        /// Which chain.
        point: Point,
        /// What follows the chain.
        goal: Goal,
        /// Which hook of the chain, from 0.
        index: usize,
        /// Which try of this gateway: a crash asks again, and what the lost one answers no longer counts.
        run: u32,
        /// What the hook before it answered.
        previous: Option<serde_json::Value>,
        /// When silence becomes a failure.
        until: Moment,
    },
    /// Nothing is in the way of the goal but a window, a freeze or a pause.
    Ready {
        /// What follows.
        goal: Goal,
        /// Whether the goal's hooks were asked.
        asked: bool,
        /// When to look again.
        until: Moment,
    },
    /// The weight of a step is live, and gates watch.
    Baking {
        /// From 0.
        step: usize,
        /// When the weight went live.
        since: Moment,
        /// The end of the bake; of one by requests: when it is given up; of a hold: the next reminder.
        until: Moment,
    },
    /// The bake is over, and something that must answer has not.
    Deciding {
        /// From 0.
        step: usize,
        /// When the weight went live.
        since: Moment,
        /// What is waited for.
        waits: Waits,
        /// When the default is taken.
        until: Moment,
    },
    /// Nothing happens any more.
    Over {
        /// How it ended.
        outcome: Outcome,
        /// In a sentence.
        why: String,
        /// When.
        at: Moment,
    },
}

/// Which chain of hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// `BeforeAllowTraffic`.
    Before,
    /// Before a step.
    Step,
    /// `AfterAllowTraffic`.
    After,
}

/// What a rollout does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Sets the weight of this step.
    Step(usize),
    /// Promotes the candidate.
    Promote,
}

/// What is waited for after a bake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// Gates that measure.
    Gates,
    /// Somebody's word.
    Approval,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The candidate is stable now.
    Promoted,
    /// Somebody stopped it, and stable has everything.
    Aborted,
    /// Weir stopped it, and stable has everything.
    RolledBack,
    /// Somebody else set the split, and that is what is live.
    Superseded,
    /// An operator stopped it, and the split stays as it was then.
    Stopped,
}

/// A rollout that only goes back, until somebody says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Since when; what was left of a bake then is left afterwards.
    pub since: Moment,
    /// When it goes back to stable by itself.
    pub until: Moment,
    /// Who or what holds it.
    pub by: String,
}

/// What happens to a rollout.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The gateway has started, and the rollout was running when it ended.
    Restarted,
    /// It is still running: for the time that a crash loses.
    Checkpoint,
    /// What the gates of the current step say now.
    Observed(Observation),
    /// A hook has answered.
    HookEnded {
        /// As the question said.
        point: Point,
        /// As the question said.
        index: usize,
        /// As the question said.
        run: u32,
        /// Its output, or why it failed.
        result: Result<serde_json::Value, String>,
    },
    /// A freeze ended.
    Thawed,
    /// Somebody said something.
    Said {
        /// What.
        word: Word,
        /// Who, and why.
        speaker: Speaker,
        /// The step that it is about, from 0: at any other it does not fit. `None`: where the rollout stands.
        step: Option<usize>,
    },
    /// Somebody else changed a split.
    Superseded(Speaker),
}

/// Who, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// Such as `token:ci`.
    pub who: String,
    /// In their words.
    pub why: Option<String>,
}

/// What a person can say to a running rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Pass the human gate.
    Approve,
    /// Do not pass the human gate.
    Reject,
    /// Stay here.
    Pause,
    /// Go on from a pause.
    Resume,
    /// End this bake now.
    Advance,
    /// The candidate becomes stable now.
    Promote,
    /// Stable takes everything now.
    Abort,
    /// End here: what requests see is the alias's own split from now on.
    Stop,
}

/// What gates say about a step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observation {
    /// The step that was looked at, from 0. What is seen of another step than the current one means nothing.
    pub step: usize,
    /// When the weight of that step went live, as the phase says.
    pub since: Moment,
    /// Of each of [`Rollout::gates`], in their order; fewer say nothing about the rest.
    pub answers: Vec<Answer>,
    /// Why the candidate is worse than stable, if that is shown. It ends a guarded rollout, and alerts in any other.
    pub worse: Option<String>,
    /// What is known of the candidate; `None`: nothing was measured.
    pub exposure: Option<Exposure>,
    /// What somebody should know that does not end the rollout. It is told once.
    pub alert: Option<String>,
    /// Outcomes of the candidate since the step's weight went live; of a train, the member's with the fewest.
    pub requests: u64,
    /// What to carry.
    pub evidence: serde_json::Value,
}

/// What one gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It holds.
    Pass,
    /// It does not: why.
    Fail(String),
    /// There is no answer yet: what is missing.
    None(String),
}

/// What is known beside the rollout itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The time. It never runs backwards while a gateway runs; from one run to the next it may jump by any length, either way.
    pub time: Moment,
    /// The time by the wall clock, for windows. It may jump at any moment.
    pub wall: Moment,
    /// Whether nothing but going back may happen.
    pub frozen: bool,
}

/// What is to be done, once the rollout is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The traffic goes so: in the transaction that stores the rollout.
    Traffic(Traffic),
    /// A hook is asked.
    Ask {
        /// Which chain.
        point: Point,
        /// Which of the chain.
        index: usize,
        /// To be told with the answer.
        run: u32,
        /// What the hook before it answered.
        previous: Option<serde_json::Value>,
    },
    /// A hook that was asked need not answer any more.
    Cancel {
        /// Its run.
        run: u32,
    },
    /// This is told to whoever wants to know.
    Tell(Milestone),
}

/// The traffic of every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// A layer over each alias that has the candidate already, with the weight that it has there.
    Adopted,
    /// A layer over each alias: this weight to the candidate, the rest to stable.
    Step(Weight),
    /// All to the candidate, which is the alias's own from now on. No layer is left.
    Promoted,
    /// The alias's own: the layer is dropped.
    Dropped,
    /// The split that requests see, written into the alias.
    Kept,
}

/// What an event made of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// As it is now.
    pub rollout: Rollout,
    /// In the order in which they are to be done.
    pub effects: Vec<Effect>,
}

/// Why somebody's word does nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Rollout {
    /// Whether nothing happens any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over { .. })
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        if let Phase::Over { outcome, .. } = self.phase { Some(outcome) } else { None }
    }

    /// The step whose weight is live, or is to be next.
    #[must_use]
    pub fn step(&self) -> Option<usize> {
        match self.phase {
            Phase::Baking { step, .. } | Phase::Deciding { step, .. } => Some(step),
            Phase::Asking { goal: Goal::Step(step), .. } | Phase::Ready { goal: Goal::Step(step), .. } => Some(step),
            Phase::Asking { .. } | Phase::Ready { .. } => Some(self.plan.steps.len() - 1),
            Phase::Over { .. } => None,
        }
    }

    /// The gates of a step, in the order in which they answer.
    pub fn gates(&self, step: usize) -> impl Iterator<Item = &Gate> {
        self.plan.steps.get(step).into_iter().flat_map(|step| self.plan.gates_at(step))
    }

    /// The yes to this step, if somebody has said it.
    #[must_use]
    pub fn approval(&self, step: usize) -> Option<&Approval> {
        self.approvals.iter().find(|approval| approval.step == step)
    }

    /// When it must be looked at again, whatever happens; `None` once it is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let held = self.held.as_ref().map(|held| held.until);
        match &self.phase {
            Phase::Over { .. } => None,
            // Hooks are not paused.
            Phase::Asking { until, .. } => Some(held.map_or(*until, |held| held.min(*until))),
            Phase::Ready { until, .. } | Phase::Baking { until, .. } | Phase::Deciding { until, .. } => {
                Some(held.unwrap_or(*until))
            }
        }
    }

    /// Whether several aliases step together, and share a cohort meanwhile.
    #[must_use]
    pub fn is_train(&self) -> bool {
        self.members.len() > 1
    }

    /// Whether this alias is a member.
    #[must_use]
    pub fn moves(&self, function: &FunctionName, alias: &AliasName) -> bool {
        self.members.iter().any(|member| member.function == *function && member.alias == *alias)
    }
}

impl Outcome {
    /// `promoted`, `aborted`, `rolled back`, `superseded`, `stopped`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled back",
            Self::Superseded => "superseded",
            Self::Stopped => "stopped",
        }
    }
}
