//! What is asked of the control plane, and what comes of it.

use std::sync::Arc;

use config::model::Config;
use config::release::rollout::RolloutId;
use config::text::edit::Edit;
use config::text::problem::Problem;
use imbl::OrdMap;

use super::authority::Forbidden;
use crate::store::{PutError, Revision, StoreError};

/// Who wants a change, and why: for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Such as `token:ci`, `file`, `start`.
    pub who: String,
    /// In the author's words.
    pub why: Option<String>,
    /// True if they may name what is not live yet: programs that run as this process's user, names of its environment, and hosts.
    pub may_run: bool,
    /// True if what they send comes by the API: there is no folder that relative names of files could be taken in.
    pub is_remote: bool,
}

/// What the author believes of one thing; the change holds only if it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Name of its text: `alias/shop/prod`.
    pub name: String,
    /// What is believed.
    pub expected: Expected,
}

impl Guard {
    /// Tells if it holds for a thing whose text is at its revision among these.
    pub(super) fn holds(&self, revisions: &OrdMap<Arc<str>, Revision>) -> bool {
        self.expected.holds(revisions.get(&*self.name).copied(), effective_revision(revisions, &self.name))
    }
}

impl Expected {
    /// Tells if it holds for a thing at this revision, of which requests see what is at that.
    pub(super) fn holds(self, current: Option<Revision>, effective: Option<Revision>) -> bool {
        match self {
            Self::Revision(revision) => [current, effective].contains(&Some(revision)),
            Self::Present => current.is_some(),
            Self::Absent => current.is_none(),
        }
    }
}

/// The revision of what requests see of an alias with this text: its own, that of the layer over it, or of what it remembers, which
/// changes when a layer is taken off. It never falls back.
pub(crate) fn effective_revision(revisions: &OrdMap<Arc<str>, Revision>, text: &str) -> Option<Revision> {
    let alias = text.strip_prefix("alias/")?;
    let [layer, past] = ["layer", "past"].map(|kind| revisions.get(&*format!("{kind}/{alias}")).copied());
    revisions.get(text).copied().max(layer).max(past)
}

/// What is believed of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It last changed at this revision.
    Revision(Revision),
    /// It is there, as it may be.
    Present,
    /// It is not there.
    Absent,
}

/// Edits to carry out.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Who wants them.
    pub author: Author,
    /// Applied together or not at all.
    pub edits: Vec<Edit>,
    /// Under this condition.
    pub guard: Option<Guard>,
}

/// What came of a command. The configurations share what did not change.
#[derive(Debug, Clone)]
pub struct Done {
    /// Where it is live; of a dry run: the current revision.
    pub revision: Revision,
    /// Before it.
    pub before: Config,
    /// After it.
    pub after: Config,
    /// The rollouts that it ends beside what it is about.
    pub ended: Vec<RolloutId>,
    /// Whether it is live from memory alone, because the store could not take it: it is written as soon as it can be,
    /// and lost if the process ends before.
    pub unsaved: bool,
}

/// What came of a command.
pub type Outcome = Result<Done, Refused>;

/// The permission for a file to leave no function where the file before had some, which is more often a mistake than meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowEmpty(pub bool);

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The result would not be valid.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// What the author believed is not so.
    #[error("`{name}` {}", match current { Some(revision) => format!("is at revision {revision}"), None => "does not exist".into() })]
    Precondition {
        /// Of the thing.
        name: String,
        /// Its revision, if it exists.
        current: Option<Revision>,
    },
    /// The journal does not reach back so far, or not yet forth.
    #[error("revision {asked} is not in the journal, which holds {oldest} to {newest}")]
    NotInJournal {
        /// The revision that was asked for.
        asked: Revision,
        /// The oldest that can be returned to.
        oldest: Revision,
        /// The newest.
        newest: Revision,
    },
    /// The word does not fit where the rollout stands.
    #[error("{0}")]
    Rollout(String),
    /// The author may not name something that the change names.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The store could not take it: what is stored is what was.
    #[error("{0}")]
    Unavailable(String),
    /// It was to be done under a term that is over.
    #[error("another node conducts the rollouts by now")]
    TermOver,
    /// It is not known whether the store took it.
    #[error("{0}")]
    Unknown(String),
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Author {
    /// The gateway itself, as its file or its start says.
    #[must_use]
    pub fn of(who: &str) -> Self {
        Self { who: who.to_owned(), why: None, may_run: true, is_remote: false }
    }
}

impl From<PutError> for Refused {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Conflict { .. } | PutError::Unavailable(_) => Self::Unavailable(error.to_string()),
            PutError::Fenced => Self::TermOver,
            PutError::Unknown(_) => Self::Unknown(error.to_string()),
        }
    }
}
