//! Requests to the writer.

use std::time::Duration;

use config::model::Config;
use config::release::rollout::{Ask, Event, RolloutId};
use config::text::edit::Edit;
use tokio::sync::oneshot;

use super::looked::Looked;
use crate::control::rollouts::Rollouts;
use crate::control::{AllowEmpty, Author, Guard, Outcome, RollBack};
use crate::store::Term;

/// A request, queued.
pub(in crate::control) enum Command {
    Change(Box<Wanted>, oneshot::Sender<Outcome>),
    Drift(oneshot::Sender<(Config, Config)>),
    /// The rollouts with everything that the store has told of them, for a gateway that conducts from now on, once the store is in the
    /// form of its release.
    TakeOver(oneshot::Sender<Rollouts>),
}

/// A change that was asked for.
pub(in crate::control) struct Wanted {
    pub(in crate::control) author: Author,
    pub(in crate::control) what: What,
    pub(in crate::control) guard: Option<Guard>,
    pub(in crate::control) dry_run: bool,
    /// The term that it is written under, if nobody else may write it.
    pub(in crate::control) term: Option<Term>,
    /// The outcome of looks at the files that it names.
    pub(in crate::control) looked: Looked,
}

/// The content of a change.
pub(in crate::control) enum What {
    Edits(Vec<Edit>),
    /// Everything that this file says otherwise than the file before.
    File(Box<Config>, AllowEmpty),
    /// The same as `File`, and no certificate keeps it from going live.
    Start(Box<Config>),
    RollBack(RollBack),
    /// `what`: for the journal.
    Token {
        name: String,
        text: Option<String>,
        what: String,
    },
    Begin(Box<Ask>),
    Event(RolloutId, Box<Event>),
    /// Freezes rollouts for this time; `None` ends the freeze.
    Freeze(Option<Duration>),
}

impl Wanted {
    /// A wish for which no file has been looked at yet.
    pub(in crate::control) fn new(author: Author, what: What, guard: Option<Guard>, dry_run: bool) -> Box<Self> {
        Box::new(Self { author, what, guard, dry_run, term: None, looked: Looked::default() })
    }

    /// The same wish, to be written under this term.
    pub(in crate::control) fn under(mut self: Box<Self>, term: Option<Term>) -> Box<Self> {
        self.term = term;
        self
    }
}
