//! How much of the journal is kept, by age, by count and by size.

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
pub(super) struct Kept {
    start: Start,
    /// The length of its lines up to the second, in bytes; `None` before the first look.
    counted: Option<(u64, Revision)>,
}

impl Kept {
    pub(super) fn new(start: Start) -> Self {
        Self { start, counted: None }
    }

    /// The last line that is no longer kept at `now` (since 1970-01-01 UTC), when `newest` is the newest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn due(
        &mut self,
        store: &dyn Store,
        retention: Retention,
        newest: Revision,
        now: Duration,
    ) -> Result<Option<Start>, StoreError> {
        let oldest = self.start.revision;
        let by_count = newest.saturating_sub(retention.entries);
        let by_age = self.older_than(store, newest, &journal::rfc3339(now.saturating_sub(retention.age))).await?;
        let by_size = self.beyond(store, newest, retention.bytes).await?;
        let until = by_count.max(by_age).max(by_size);
        if by_size == oldest && until < oldest + worth(retention) {
            return Ok(None);
        }
        let page = Page { after: until - 1, before: until + 1, order: Order::OldestFirst, limit: 1 };
        let line = store.journal(page).await?;
        Ok(line.first().map(|line| Start { revision: until, hash: Hash::of(&line.text) }))
    }

    /// The last line that goes so that the others have no more than so many bytes.
    async fn beyond(&mut self, store: &dyn Store, newest: Revision, bytes: u64) -> Result<Revision, StoreError> {
        let (counted, until) = self.counted.unwrap_or((0, self.start.revision));
        let all = counted + store.journal_bytes(until, newest + 1).await?;
        self.counted = Some((all, newest));
        let (mut gone, mut kept) = (self.start.revision, newest);
        if all <= bytes {
            return Ok(gone);
        }
        // Some room is made, so that a full journal is not trimmed line by line.
        let bytes = bytes - bytes / 10;
        // Without `gone` the others are too long, and without `kept` they fit.
        while kept - gone > 1 {
            let middle = gone + (kept - gone) / 2;
            let rest = all - store.journal_bytes(self.start.revision, middle + 1).await?;
            if rest > bytes { gone = middle } else { kept = middle }
        }
        Ok(kept)
    }

    /// The last line from before `time`; times rise with revisions, so halving finds it.
    async fn older_than(&self, store: &dyn Store, newest: Revision, time: &str) -> Result<Revision, StoreError> {
        let (mut older, mut younger) = (self.start.revision, newest + 1);
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

    /// Notes that another node deletes what is before `start`.
    pub(super) fn starts_at(&mut self, start: Start) {
        *self = Self::new(start);
    }

    /// Deletes what is before `start`, which the store has been told.
    pub(super) async fn trimmed(&mut self, store: &dyn Store, start: Start) {
        if let Err(error) = store.trim(start.revision).await {
            tracing::warn!("the journal keeps more than it should: {error}");
        }
        (self.start, self.counted) = (start, None);
    }
}
