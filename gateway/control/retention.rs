//! How much of the journal is kept, by age and by count.

use std::time::Duration;

use config::model::Retention;

use super::journal::{self, Entry, Hash, Start};
use crate::store::{Order, Page, Revision, Store, StoreError};

/// How often the journal is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Forgetting fewer lines than this is not worth the line that it takes.
fn worth(retention: Retention) -> u64 {
    (retention.entries / 10).clamp(1, 1000)
}

/// What the journal holds.
pub(super) struct Kept(Start);

impl Kept {
    pub(super) fn new(start: Start) -> Self {
        Self(start)
    }

    /// The last line that is no longer kept at `now` (since 1970-01-01 UTC), when `newest` is the newest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn due(
        &self,
        store: &dyn Store,
        retention: Retention,
        newest: Revision,
        now: Duration,
    ) -> Result<Option<Start>, StoreError> {
        let oldest = self.0.revision;
        let by_count = newest.saturating_sub(retention.entries);
        let by_age = self.older_than(store, newest, &journal::rfc3339(now.saturating_sub(retention.age))).await?;
        let until = by_count.max(by_age);
        if until < oldest + worth(retention) {
            return Ok(None);
        }
        let page = Page { after: until - 1, before: until + 1, order: Order::OldestFirst, limit: 1 };
        let line = store.journal(page).await?;
        Ok(line.first().map(|line| Start { revision: until, hash: Hash::of(&line.text) }))
    }

    /// The last line from before `time`; times rise with revisions, so halving finds it.
    async fn older_than(&self, store: &dyn Store, newest: Revision, time: &str) -> Result<Revision, StoreError> {
        let (mut older, mut younger) = (self.0.revision, newest + 1);
        while younger - older > 1 {
            let middle = older + (younger - older) / 2;
            let page = Page { after: middle - 1, before: middle + 1, order: Order::OldestFirst, limit: 1 };
            let is_older = match store.journal(page).await?.first() {
                Some(line) => Entry::parse(line.revision, &line.text)?.time.as_str() < time,
                None => true,
            };
            if is_older { older = middle } else { younger = middle }
        }
        Ok(older)
    }

    /// Deletes what is before `start`, which the store has been told.
    pub(super) async fn trimmed(&mut self, store: &dyn Store, start: Start) {
        if let Err(error) = store.trim(start.revision).await {
            tracing::warn!("the journal keeps more than it should: {error}");
        }
        self.0 = start;
    }
}
