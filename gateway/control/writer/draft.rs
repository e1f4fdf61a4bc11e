//! A transaction before it is one.

use config::model::Config;
use config::release::rollout::RolloutId;
use config::text::edit::Edit;

use crate::control::rollouts::Moves;
use crate::store::{Change, Term};

/// A transaction to be.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) file: Option<Config>,
    pub(super) changes: Vec<Change>,
    /// The term that it is written under, if nobody else may write it.
    pub(super) term: Option<Term>,
    /// In words, where the configurations do not say it.
    pub(super) told: Option<String>,
    pub(super) moves: Moves,
    /// True if somebody asked for edits, which are told beside what they do to rollouts.
    pub(super) is_edit: bool,
    /// The rollouts that it ends beside what it is about.
    pub(super) ended: Vec<RolloutId>,
    /// True if its moves are live already, and their effects are carried out.
    pub(super) is_shown: bool,
    /// Whether traffic goes back to what it was, which must not wait for the store: by these edits.
    pub(super) back: Option<Vec<Edit>>,
}

impl Draft {
    /// One that changes nothing of this configuration.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            config: config.clone(),
            file: None,
            changes: Vec::new(),
            term: None,
            told: None,
            moves: Moves::default(),
            is_edit: false,
            ended: Vec::new(),
            is_shown: false,
            back: None,
        }
    }

    /// What it is, in words; none leave it to what differs.
    pub(super) fn told(&self) -> Vec<String> {
        self.told.clone().map_or_else(|| self.moves.told(), |told| vec![told])
    }
}
