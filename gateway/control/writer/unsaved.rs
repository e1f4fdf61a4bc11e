//! Rollbacks that are live and not stored.

use std::collections::BTreeSet;
use std::time::Duration;

use config::release::rollout::RolloutId;
use config::text::edit::{self, Edit, FunctionEdit};

use super::draft::Draft;
use super::{Failed, Writer};
use crate::clock;
use crate::control::migrate;
use crate::control::named::changes;
use crate::control::rollouts::Moves;
use crate::control::{Author, CONFIG, Done, Outcome, Refused};
use crate::store::{PutError, Term};

/// What is live and not stored.
#[derive(Default)]
pub(super) struct Unsaved {
    author: Option<Author>,
    /// The term that it is to be written under, if a rollout alone went back.
    term: Option<Term>,
    edits: Vec<Edit>,
    pub(super) moves: Moves,
}

impl Unsaved {
    pub(super) fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// The rollouts that went back.
    pub(super) fn rollouts(&self) -> impl Iterator<Item = RolloutId> {
        self.moves.transitions.iter().map(|moved| moved.rollout.id)
    }

    /// Without what sends this rollout back.
    pub(super) fn leave_out(&mut self, id: RolloutId) {
        self.moves.leave_out(id);
        let drops =
            |edit: &Edit| matches!(edit, Edit::Function(_, FunctionEdit::DropLayer { rollout, .. }) if *rollout == id);
        self.edits.retain(|edit| !drops(edit));
    }
}

impl Writer {
    /// Makes a rollback live that the store could not take.
    pub(super) async fn show_unsaved(
        &mut self,
        (author, term): (&Author, Option<&Term>),
        (back, moves, ended): (Vec<Edit>, Moves, Vec<RolloutId>),
        error: PutError,
    ) -> Outcome {
        let stored = self.known.stored.config.clone();
        let unsaved = self.unsaved.as_ref().map_or(&[][..], Unsaved::edits);
        let before = edit::apply(&stored, unsaved).unwrap_or_else(|_| stored.clone());
        let edits: Vec<Edit> =
            self.unsaved.iter().flat_map(|unsaved| unsaved.edits.iter().cloned()).chain(back).collect();
        let after = edit::apply(&stored, &edits).map_err(Refused::Problems)?;
        // What somebody asked for is stored whoever leads.
        let of_before = self.unsaved.as_ref().map_or(term, |unsaved| unsaved.term.as_ref());
        let term = of_before.filter(|of_before| term == Some(*of_before)).cloned();
        let unsaved = self.unsaved.get_or_insert_default();
        unsaved.term = term;
        unsaved.author = Some(author.clone());
        unsaved.edits.clone_from(&edits);
        unsaved.moves.extend(&moves);
        self.ground.aside.set_unsaved(unsaved.rollouts().collect());
        tracing::error!(
            "a rollback goes live that is not stored yet, and is lost if this process ends before: {error}"
        );
        self.ground.metrics.unsaved_rollback.set(1);
        let began = clock::now();
        self.ahead.show(edits).await?;
        self.known.rollouts.moved(&moves);
        self.announce(moves, began, Duration::ZERO);
        self.ground.aside.write().await;
        Ok(Done { unsaved: true, ..self.done(before, after, ended) })
    }

    /// Tries to store what is live and not stored; answers whether nothing is unsaved any more.
    pub(super) async fn save(&mut self) -> bool {
        match self.store_unsaved().await {
            Ok(()) => tracing::info!(revision = self.known.stored.revision, "the rollback that went live is stored"),
            Err(Failed::Refused(refused @ (Refused::Problems(_) | Refused::Stopping))) => {
                tracing::error!(
                    "the rollback that went live does not fit what is stored by now, and is given up: {refused}"
                );
                self.stale = true;
            }
            Err(Failed::Refused(Refused::TermOver)) => {
                tracing::error!("the rollback that went live is given up: another gateway conducts the rollout by now");
                self.stale = true;
            }
            Err(Failed::Refused(_) | Failed::Conflict) => return false,
            Err(Failed::Store(error)) => {
                self.stale |= matches!(error, PutError::Unknown(_));
                return false;
            }
        }
        self.unsaved = None;
        self.ground.aside.set_unsaved(BTreeSet::new());
        self.ground.aside.write().await;
        self.ground.metrics.unsaved_rollback.set(0);
        // What is stored is all there is to show; if that fails, the gateway is stopping.
        let _ = self.ahead.show(Vec::new()).await;
        if self.stale
            && let Err(refused) = self.catch_up().await
        {
            tracing::warn!("what is stored instead cannot be read yet: {refused}");
        }
        true
    }

    async fn store_unsaved(&mut self) -> Result<(), Failed> {
        self.catch_up().await.map_err(Failed::Refused)?;
        let Some(Unsaved { author: Some(author), term, edits, moves }) = &self.unsaved else { return Ok(()) };
        let (author, term, moves) = (author.clone(), term.clone(), moves.clone());
        let config =
            edit::apply(&self.known.stored.config, edits).map_err(|p| Failed::Refused(Refused::Problems(p)))?;
        let mut changes = changes(CONFIG, &self.known.stored.config, &config);
        changes.extend(moves.changes());
        if changes.is_empty() {
            return Ok(());
        }
        // It may be the migration of a store that took nothing at the start.
        changes.push(migrate::note());
        // Their effects were carried out when it went live.
        let told = moves.told().join("; ");
        let told = Some(told).filter(|told| !told.is_empty());
        let draft =
            Draft { config, changes, term, told, moves, is_shown: true, ..Draft::of(&self.known.stored.config) };
        self.write(&author, draft).await.inspect_err(|failed| {
            if matches!(failed, Failed::Conflict) {
                tracing::info!("the store moved on before the rollback that went live was stored; trying again");
            }
        })
    }
}
