//! What the store holds, as far as the writer knows: read once, and then folded from the same watch that the publisher has.
//!
//! What another node writes costs what it changed. Everything is read anew at the start, and when it is not known any more what
//! is stored: after a write of which nobody knows what came, or where the watch leaves something out.

use std::time::Duration;

use config::model::Config;
use config::release::rollout::RolloutId;
use tokio::time::timeout;

use super::Writer;
use super::unsaved::Unsaved;
use crate::clock;
use crate::control::journal::{self, Hash, Start};
use crate::control::rollouts::{ROLLOUT, Rollouts};
use crate::control::stored::{Stored, config_after, config_of};
use crate::control::{CONFIG, FILE, Refused, unreadable};
use crate::live::Unusable;
use crate::metrics;
use crate::store::{Order, Page, Revision, Store, StoreError, Transaction, Update};

/// How long the writer waits for the watch to tell of what is stored, and for the publisher to make it live.
const PATIENCE: Duration = Duration::from_secs(1);

/// The content of the store.
#[derive(Default)]
pub(super) struct Known {
    pub(super) stored: Stored,
    /// The file as last applied.
    pub(super) file: Config,
    pub(super) rollouts: Rollouts,
    /// Hash of the newest line of the journal; `None` until it is asked for where another node wrote it.
    pub(super) head: Option<Hash>,
}

impl Known {
    /// The hash of the newest line of the journal.
    ///
    /// # Errors
    /// When it is another node's line, and the store cannot be read.
    pub(super) async fn head(&mut self, store: &dyn Store) -> Result<Hash, StoreError> {
        if let Some(head) = &self.head {
            return Ok(head.clone());
        }
        let before = self.stored.revision + 1;
        let newest =
            Page { after: self.stored.revision.saturating_sub(1), before, order: Order::NewestFirst, limit: 1 };
        let lines = store.journal(newest).await?;
        let head = lines.first().map_or_else(Hash::zero, |line| Hash::of(&line.text));
        Ok(self.head.insert(head).clone())
    }
}

impl Writer {
    /// Takes what the watch has told by now, and reads everything anew if that is not enough.
    ///
    /// # Errors
    /// When everything has to be read, and cannot be.
    pub(super) async fn catch_up(&mut self) -> Result<(), Refused> {
        while let Some(update) = self.updates.as_mut().and_then(|updates| updates.try_recv().ok()) {
            self.follow(update).await;
        }
        if self.stale { self.refresh().await } else { Ok(()) }
    }

    /// The next update of the watch; never one without a watch.
    pub(super) async fn next_update(&mut self) -> Update {
        if let Some(updates) = &mut self.updates
            && let Some(update) = updates.recv().await
        {
            return update;
        }
        // The store is closed, or was never read: nothing is told.
        std::future::pending().await
    }

    /// Waits until the watch has told of this revision, at which somebody else wrote.
    pub(super) async fn reach(&mut self, revision: Revision) {
        // A store that is not where it was is another one.
        self.stale |= revision <= self.known.stored.revision;
        while !self.stale && self.known.stored.revision < revision {
            match timeout(PATIENCE, self.next_update()).await {
                Ok(update) => self.follow(update).await,
                Err(_) => self.stale = true,
            }
        }
    }

    /// Takes an update of the watch. Its own transactions are known.
    pub(super) async fn follow(&mut self, update: Update) {
        let known = self.known.stored.revision;
        match update {
            Update::Transaction(next) if next.revision == known + 1 && !self.stale => self.fold(&next).await,
            Update::Transaction(Transaction { revision, .. }) => self.stale |= revision > known,
            Update::Image(image) => self.stale |= image.revision > known,
        }
    }

    /// Takes a transaction of another node.
    async fn fold(&mut self, next: &Transaction) {
        let environment = &self.ground.environment;
        self.known.stored = self.known.stored.after(next, environment);
        (self.known.head, self.is_migrated) = (None, false);
        if next.changes.iter().any(|change| change.name.starts_with(FILE)) {
            self.known.file = config_after(FILE, &self.known.file, &next.changes, environment);
            unreadable::tell_of_file(&self.ground, &self.known.file);
        }
        let mut moved = Vec::new();
        for change in &*next.changes {
            if change.name.starts_with(ROLLOUT) {
                let now = self.clock.time();
                self.known.rollouts.take(&change.name, change.text.as_deref(), environment, now);
                moved.extend(change.name[ROLLOUT.len()..].parse::<RolloutId>());
            } else if change.name == journal::START
                && let Some(start) = change.text.as_deref().and_then(Start::parse)
            {
                self.journal.starts_at(start);
            }
        }
        let is_stuck = self.known.rollouts.stick_to_unread(&self.known.stored.config);
        if is_stuck || next.changes.iter().any(|change| change.name.starts_with(ROLLOUT)) {
            self.leave_what_ended(&moved);
            self.show_rollouts().await;
        }
    }

    /// Leaves rollouts as another node ended them, that went back here without being stored.
    fn leave_what_ended(&mut self, moved: &[RolloutId]) {
        let Some(unsaved) = &mut self.unsaved else { return };
        for id in moved {
            if self.known.rollouts.all.get(id).is_none_or(|rollout| rollout.is_over()) {
                unsaved.leave_out(*id);
            }
        }
    }

    /// Shows how the rollouts stand, once their traffic is live here, or does not become so.
    async fn show_rollouts(&mut self) {
        if let Some(unsaved) = &self.unsaved {
            self.known.rollouts.moved(&unsaved.moves);
        }
        self.tell_unreadable();
        // What is not live by then is told by the publisher.
        let _ = timeout(PATIENCE, self.live(self.known.stored.revision)).await;
        self.rollouts.send_replace(self.known.rollouts.clone());
    }

    /// Names the rollouts that cannot be read.
    fn tell_unreadable(&self) {
        let unreadable = &self.known.rollouts.unreadable;
        let before = self.ground.live.unusable().get(metrics::ROLLOUT).cloned().unwrap_or_default();
        let now = unreadable.iter().map(|(name, why)| {
            let known = before.iter().find(|thing| thing.name == *name);
            if known.is_none() {
                tracing::error!("the rollout {name} cannot be read, and is left out: {why}");
            }
            let since = known.map_or_else(clock::unix, |known| known.since);
            Unusable { name: name.clone(), reason: format!("{why}; it is left out"), since }
        });
        let now: Vec<Unusable> = now.collect();
        self.ground.metrics.set_unusable(metrics::ROLLOUT, now.len());
        self.ground.live.set_unusable(metrics::ROLLOUT, now);
    }

    /// Reads everything: what is live where that is the same, the texts themselves otherwise.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn refresh(&mut self) -> Result<(), Refused> {
        let store = self.ground.store.clone();
        let file = store.load(FILE).await?;
        let revision = file.revision;
        if self.updates.is_none() {
            // Before the rest is read: whatever is written meanwhile is told, and folded over what was read.
            self.updates = Some(store.watch("", revision).await);
        }
        let environment = self.ground.environment.clone();
        let file = config_of(FILE, &file, &environment);
        unreadable::tell_of_file(&self.ground, &file);
        let is_live = self.live(revision).await.is_ok();
        let snapshot = self.ground.live.load_full();
        let stored = if is_live && snapshot.revision == revision && !snapshot.is_ahead {
            Stored { revision, config: snapshot.table.config().clone(), revisions: snapshot.revisions.clone() }
        } else {
            Stored { revision, ..Stored::of(&store.load(CONFIG).await?, &environment) }
        };
        let mut rollouts = Rollouts::load(&store.load(ROLLOUT).await?, &environment, self.clock.time());
        rollouts.stick_to_unread(&stored.config);
        self.known = Known { stored, file, rollouts, head: None };
        (self.stale, self.is_migrated) = (false, false);
        let ids: Vec<RolloutId> = self.unsaved.iter().flat_map(Unsaved::rollouts).collect();
        self.leave_what_ended(&ids);
        self.show_rollouts().await;
        Ok(())
    }
}
