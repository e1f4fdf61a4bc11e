//! Changes of the writer before anybody can ask for one.

use config::model::Config;
use config::text::edit::{self, Edit};

use super::draft::Draft;
use super::{Failed, Known, Writer};
use crate::control::named::changes;
use crate::control::rollouts::Moves;
use crate::control::stored::Stored;
use crate::control::{Author, CONFIG, Refused, migrate};

impl Writer {
    /// Brings a store of an earlier release into the form of this one, and drops layers that nobody conducts.
    pub(super) async fn migrate(&mut self) -> Result<(), Refused> {
        loop {
            self.catch_up().await?;
            let Known { stored: Stored { config, .. }, rollouts, .. } = &self.known;
            let environment = &self.ground.environment;
            let old = migrate::edits(&*self.ground.store, config, rollouts, environment).await?;
            let (told, note) = match old {
                Some(_) => ("the store is brought into the form of this release: running rollouts become layers", true),
                None => ("layers are dropped whose rollout does not run", false),
            };
            let edits = old.unwrap_or_else(|| migrate::without_orphans(config, rollouts));
            if edits.is_empty() && !note {
                self.is_migrated = true;
                return Ok(());
            }
            let (after, edits) = as_far_as_possible(config, edits);
            let mut changes = changes(CONFIG, config, &after);
            changes.extend(note.then(migrate::note));
            let draft = Draft { config: after, changes, told: Some(told.to_owned()), ..Draft::of(config) };
            return match self.write(&Author::of("start"), draft).await {
                Ok(()) => {
                    self.is_migrated = true;
                    Ok(())
                }
                // Another node was first, with the same or with something else.
                Err(Failed::Conflict) => continue,
                // Everything can be served all the same; it is stored as soon as that is possible.
                Err(Failed::Store(error)) => self
                    .show_unsaved((&Author::of("start"), None), (edits, Moves::default(), Vec::new()), error)
                    .await
                    .map(drop),
                Err(Failed::Refused(refused)) => Err(refused),
            };
        }
    }
}

/// The configuration after those of the edits that can be applied, which come with it. One that needs what cannot be read keeps no
/// gateway from starting.
fn as_far_as_possible(config: &Config, edits: Vec<Edit>) -> (Config, Vec<Edit>) {
    if let Ok(after) = edit::apply(config, &edits) {
        return (after, edits);
    }
    let mut after = config.clone();
    let applied = edits.into_iter().filter(|one| match edit::apply(&after, std::slice::from_ref(one)) {
        Ok(next) => {
            after = next;
            true
        }
        Err(problems) => {
            for problem in problems {
                tracing::error!("a change of the start is left out: {problem}");
            }
            false
        }
    });
    let applied = applied.collect();
    (after, applied)
}
