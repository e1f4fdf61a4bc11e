//! One waiter that failures wake.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::AcqRel;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

const NEVER: u64 = u64::MAX;

/// Wakes who judges outcomes. Between two waits only the first failure does more than change one word.
#[derive(Debug)]
pub struct Wake {
    /// When the first failure was that nobody waited for yet, in nanoseconds since `origin`.
    raised: AtomicU64,
    origin: Instant,
    notify: Notify,
}

impl Wake {
    /// Nobody is woken yet. `now` is no later than anything that will happen.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { raised: AtomicU64::new(NEVER), origin: now, notify: Notify::new() }
    }

    /// Something happened at this time, and can be seen in the cells already.
    pub fn wake(&self, at: Instant) {
        let since = at.saturating_duration_since(self.origin).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1);
        // Both sides write, so that one of them sees the other: whoever finds it raised has been seen by the waiter.
        if self.raised.fetch_min(since, AcqRel) == NEVER {
            self.notify.notify_one();
        }
    }

    /// Until something has happened since the last wait; when the first of it was. What led to it, and all before, can be
    /// seen then. For one waiter.
    pub async fn wait(&self) -> Instant {
        self.notify.notified().await;
        self.origin + Duration::from_nanos(self.raised.swap(NEVER, AcqRel))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn whatever_happened_is_seen_by_a_wait_after_it() {
        const EVENTS: u64 = 200_000;
        let start = crate::clock::now();
        let (wake, happened) = (Arc::new(Wake::new(start)), Arc::new(AtomicU64::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (wake, happened) = (Arc::clone(&wake), Arc::clone(&happened));
                std::thread::spawn(move || {
                    for _ in 0..EVENTS {
                        happened.fetch_add(1, Ordering::Relaxed);
                        wake.wake(start);
                    }
                })
            })
            .collect();
        // A lost wake-up would leave the last events unseen, and this waiting for ever.
        while happened.load(Ordering::Relaxed) < 2 * EVENTS {
            tokio::time::timeout(Duration::from_secs(20), wake.wait()).await.expect("it is woken");
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
