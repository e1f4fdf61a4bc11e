//! The swap: what the publisher made last, without the candidates that are being taken out.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use config::text::edit::{self, Edit};

use crate::clock;
use crate::control::Ground;
use crate::live::Snapshot;

/// The time between two looks at old snapshots, to see whether requests still hold them.
const RETIRE_EVERY: Duration = Duration::from_millis(100);

/// Makes snapshots live: what the publisher made last, with the edits that are live before they are stored.
pub(super) struct Swap {
    ground: Ground,
    published: Arc<Snapshot>,
    /// Edits of aliases that are live before they are stored, oldest first.
    shown: BTreeMap<u64, Vec<Edit>>,
    next_key: u64,
    retired: mpsc::Sender<Arc<Snapshot>>,
}

impl Swap {
    /// Goes on from what is live.
    ///
    /// # Errors
    /// When the system gives no thread to free old snapshots on.
    pub(super) fn new(ground: Ground) -> io::Result<Self> {
        let (retired, snapshots) = mpsc::channel();
        thread::Builder::new().name("weir-retire".into()).spawn(move || retire(&snapshots))?;
        let published = ground.live.load_full();
        Ok(Self { ground, published, shown: BTreeMap::new(), next_key: 0, retired })
    }

    /// The snapshot that the publisher made last.
    pub(super) fn published(&self) -> &Snapshot {
        &self.published
    }

    /// Makes a finished snapshot live, with the edits that are shown.
    pub(super) fn publish(&mut self, next: Arc<Snapshot>) {
        self.published = next;
        self.swap();
    }

    /// Makes these edits live on top of whatever is published, until they are settled by the key that this answers. `None`:
    /// they do not fit what is published, or they are more than a matter of aliases.
    pub(super) fn show(&mut self, edits: Vec<Edit>) -> Option<u64> {
        with_edits(&self.ground, &self.published, &edits)?;
        let key = self.next_key;
        self.next_key += 1;
        self.shown.insert(key, edits);
        self.swap();
        Some(key)
    }

    /// Ends these edits: what is published counts again.
    pub(super) fn settle(&mut self, key: u64) {
        if self.shown.remove(&key).is_some() {
            self.swap();
        }
    }

    fn swap(&mut self) {
        let mut next = Arc::clone(&self.published);
        for edits in self.shown.values() {
            // What no longer fits was overtaken by what is stored.
            next = with_edits(&self.ground, &next, edits).unwrap_or(next);
        }
        self.ground.metrics.revision.set(i64::try_from(next.revision).unwrap_or(i64::MAX));
        if !Arc::ptr_eq(&next, &*self.ground.live.load()) {
            // The thread lives as long as this does.
            let _ = self.retired.send(self.ground.live.publish(next));
        }
    }
}

/// A snapshot with edits of aliases; the same one if they change nothing. `None` if they do not fit.
fn with_edits(ground: &Ground, before: &Arc<Snapshot>, edits: &[Edit]) -> Option<Arc<Snapshot>> {
    let config = edit::apply(before.table.config(), edits).ok()?;
    let cursor = |alias| before.cursor(alias).map_or(0, |cursor| cursor.0.load(Ordering::Relaxed));
    let (table, changes) = before.table.update(&config, &cursor);
    if changes.functions.is_empty() {
        return Some(Arc::clone(before));
    }
    // Only the publisher knows the states of endpoints.
    if !changes.upstreams.is_empty() {
        return None;
    }
    let mut next = Snapshot { table, is_ahead: true, ..Snapshot::clone(before) };
    ground.point_aliases(before, &mut next, &changes);
    Some(Arc::new(next))
}

/// Frees each snapshot when nobody else holds it, so that no worker ever does.
fn retire(snapshots: &mpsc::Receiver<Arc<Snapshot>>) {
    let mut held: Vec<Arc<Snapshot>> = Vec::new();
    let mut looked = clock::now();
    loop {
        let next = if held.is_empty() {
            snapshots.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            snapshots.recv_timeout(RETIRE_EVERY)
        };
        match next {
            // One that was live twice is held once, or it would never be the last to be held.
            Ok(snapshot) if held.iter().any(|known| Arc::ptr_eq(known, &snapshot)) => {}
            Ok(snapshot) => held.push(snapshot),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // However many come, those before them are looked at.
        if looked.elapsed() >= RETIRE_EVERY {
            held.retain(|snapshot| Arc::strong_count(snapshot) > 1);
            looked = clock::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Live;

    #[test]
    fn snapshots_are_freed_however_many_come() {
        let (retired, snapshots) = mpsc::channel();
        let thread = thread::spawn(move || retire(&snapshots));
        let snapshot = || Live::default().load_full();
        let first = snapshot();
        let gone = Arc::downgrade(&first);
        retired.send(first).unwrap();
        let begun = clock::now();
        while gone.strong_count() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it is never freed while others come");
            retired.send(snapshot()).unwrap();
            thread::yield_now();
        }
        drop(retired);
        thread.join().unwrap();
    }
}
