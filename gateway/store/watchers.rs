//! Who watches a store, and how far each of them has been told.

use tokio::sync::mpsc;

use super::{Image, Revision, Transaction, Update};

/// Everyone who watches one store. Whoever has not been told everything gets an image before the next transaction.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    prefix: String,
    /// The last revision that was told.
    told: Revision,
    updates: mpsc::UnboundedSender<Update>,
}

impl Watchers {
    /// Adds one who knows the store as it was at `from`.
    pub(super) fn add(&mut self, prefix: String, from: Revision, updates: mpsc::UnboundedSender<Update>) {
        self.0.push(Watcher { prefix, told: from, updates });
    }

    /// Tells a transaction to all who know what was before it, and forgets those who went away.
    pub(super) fn tell(&mut self, transaction: &Transaction) {
        self.0.retain_mut(|watcher| {
            if watcher.told != transaction.revision - 1 {
                return !watcher.updates.is_closed();
            }
            watcher.told = transaction.revision;
            watcher.updates.send(Update::Transaction(transaction.under(&watcher.prefix))).is_ok()
        });
    }

    /// Whether somebody has not been told of `revision`.
    pub(super) fn wait_for(&self, revision: Revision) -> bool {
        self.0.iter().any(|watcher| watcher.told != revision)
    }

    /// Gives an image, made by `load` from a prefix, to all who are not at `revision`.
    ///
    /// # Errors
    /// The first of `load`; who has no image by then still waits for it.
    pub(super) fn catch_up<E>(
        &mut self,
        revision: Revision,
        mut load: impl FnMut(&str) -> Result<Image, E>,
    ) -> Result<(), E> {
        self.0.retain(|watcher| !watcher.updates.is_closed());
        for watcher in self.0.iter_mut().filter(|watcher| watcher.told != revision) {
            let image = load(&watcher.prefix)?;
            watcher.told = image.revision;
            // One who went away since is forgotten the next time.
            let _ = watcher.updates.send(Update::Image(image));
        }
        Ok(())
    }
}

impl Transaction {
    /// The same transaction, for somebody who wants only names that start with `prefix`.
    pub(super) fn under(&self, prefix: &str) -> Self {
        if self.changes.iter().all(|change| change.name.starts_with(prefix)) {
            return self.clone();
        }
        let wanted = self.changes.iter().filter(|change| change.name.starts_with(prefix));
        Self { revision: self.revision, changes: wanted.cloned().collect() }
    }
}
