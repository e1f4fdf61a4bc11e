//! The store that takes no change: shown from the first refusal until it takes one again, or could.

use super::Writer;
use crate::clock;
use crate::live::Paused;
use crate::store::PutError;

impl Writer {
    /// Shows what came of the last transaction.
    pub(super) fn store_took(&mut self, outcome: Result<(), &PutError>) {
        match outcome {
            // Somebody else could write.
            Ok(()) | Err(PutError::Conflict { .. } | PutError::Fenced) => self.goes_on(),
            Err(error) => self.pauses(error.to_string()),
        }
    }

    /// Asks a store that took nothing whether it would now.
    pub(super) async fn probe(&mut self) {
        match self.ground.store.probe().await {
            Ok(()) => self.goes_on(),
            Err(error) => self.pauses(error.to_string()),
        }
    }

    fn goes_on(&mut self) {
        if std::mem::take(&mut self.is_paused) {
            self.ground.live.set_paused(None);
            self.ground.metrics.store_writable.set(1);
            tracing::info!("the store takes changes again");
        }
    }

    fn pauses(&mut self, reason: String) {
        self.is_paused = true;
        let since = self.ground.live.paused().map_or_else(clock::unix, |paused| paused.since);
        self.ground.live.set_paused(Some(Paused { reason, since }));
        self.ground.metrics.store_writable.set(0);
    }
}
