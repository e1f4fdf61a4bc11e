//! Rollbacks that are live and not stored.

use std::time::Duration;

use config::edit::{self, Edit};
use config::rollout::RolloutId;

use super::draft::Draft;
use super::{Failed, Writer};
use crate::clock;
use crate::control::named::changes;
use crate::control::rollouts::Moves;
use crate::control::{Author, CONFIG, Done, Outcome, Refused};
use crate::store::PutError;

/// What is live and not stored.
#[derive(Default)]
pub(super) struct Unsaved {
    author: Option<Author>,
    edits: Vec<Edit>,
    pub(super) moves: Moves,
    /// True if it is a rollback by an operator, and no rollout's.
    rollback: bool,
}

impl Writer {
    /// Makes a rollback live that the store could not take.
    pub(super) async fn show_unsaved(
        &mut self,
        author: &Author,
        (back, moves, rollback): (Vec<Edit>, Moves, bool),
        error: PutError,
    ) -> Outcome {
        let before = self.known.config.clone();
        let mut unsaved = self.unsaved.take().unwrap_or_default();
        unsaved.author = Some(author.clone());
        unsaved.edits.extend(back);
        unsaved.moves.extend(&moves);
        unsaved.rollback |= rollback;
        let edits = unsaved.edits.clone();
        let unsaved_rollouts: Vec<RolloutId> = unsaved.moves.transitions.iter().map(|moved| moved.rollout.id).collect();
        self.unsaved = Some(unsaved);
        let after = edit::apply(&before, &edits).map_err(Refused::Problems)?;
        tracing::error!(
            "a rollback goes live that is not stored yet, and is lost if this process ends before: {error}"
        );
        self.ground.metrics.unsaved_rollback.set(1);
        let began = clock::now();
        self.ahead.show(edits).await?;
        self.known.rollouts.moved(&moves);
        self.announce(moves, began, Duration::ZERO);
        self.ground.aside.note(&unsaved_rollouts).await;
        Ok(Done { unsaved: true, ..self.done(before, after) })
    }

    /// Tries to store what is live and not stored; answers whether nothing is unsaved any more.
    pub(super) async fn save(&mut self) -> bool {
        match self.store_unsaved().await {
            Ok(()) => tracing::info!(revision = self.known.revision, "the rollback that went live is stored"),
            Err(Failed::Refused(refused @ (Refused::Problems(_) | Refused::Stopping))) => {
                tracing::error!(
                    "the rollback that went live does not fit what is stored by now, and is given up: {refused}"
                );
            }
            Err(Failed::Refused(_) | Failed::Conflict) => return false,
            Err(Failed::Store(error)) => {
                self.stale |= matches!(error, PutError::Unknown(_));
                return false;
            }
        }
        self.unsaved = None;
        self.ground.aside.note(&[]).await;
        self.ground.metrics.unsaved_rollback.set(0);
        // What is stored is all there is to show; if that fails, the gateway is stopping.
        let _ = self.ahead.show(Vec::new()).await;
        true
    }

    async fn store_unsaved(&mut self) -> Result<(), Failed> {
        if self.stale {
            self.refresh().await.map_err(Failed::Refused)?;
        }
        let Some(Unsaved { author: Some(author), edits, moves, rollback }) = &self.unsaved else { return Ok(()) };
        let (author, rollback) = (author.clone(), *rollback);
        let config = edit::apply(&self.known.config, edits).map_err(|p| Failed::Refused(Refused::Problems(p)))?;
        let mut changes = changes(CONFIG, &self.known.config, &config);
        changes.extend(moves.changes());
        if changes.is_empty() {
            return Ok(());
        }
        // Their effects were carried out when it went live.
        let told = moves.told().join("; ");
        let told = Some(told).filter(|told| !told.is_empty());
        let draft = Draft { config, changes, told, rollback, ..Draft::of(&self.known.config) };
        self.write(&author, draft).await.inspect_err(|failed| {
            if matches!(failed, Failed::Conflict) {
                tracing::info!("the store moved on before the rollback that went live was stored; trying again");
            }
        })
    }
}
