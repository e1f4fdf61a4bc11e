//! One waiter that failures wake.

use std::sync::atomic::{AtomicBool, Ordering::AcqRel};

use tokio::sync::Notify;

/// Wakes who judges outcomes. Between two waits only the first failure does more than swap one flag.
#[derive(Debug, Default)]
pub struct Wake {
    raised: AtomicBool,
    notify: Notify,
}

impl Wake {
    /// Nobody is woken yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something happened, and can be seen in the cells already.
    pub fn wake(&self) {
        if !self.raised.swap(true, AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Until something has happened since the last wait. What led to it, and all before, can be seen then. For one waiter.
    pub async fn wait(&self) {
        self.notify.notified().await;
        // Both sides swap, so that one of them sees the other: whoever finds the flag up has been seen by the waiter.
        self.raised.swap(false, AcqRel);
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
        let (wake, happened) = (Arc::new(Wake::new()), Arc::new(AtomicU64::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (wake, happened) = (Arc::clone(&wake), Arc::clone(&happened));
                std::thread::spawn(move || {
                    for _ in 0..EVENTS {
                        happened.fetch_add(1, Ordering::Relaxed);
                        wake.wake();
                    }
                })
            })
            .collect();
        // A lost wake-up would leave the last events unseen, and this waiting for ever.
        while happened.load(Ordering::Relaxed) < 2 * EVENTS {
            tokio::time::timeout(std::time::Duration::from_secs(20), wake.wait()).await.expect("it is woken");
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
