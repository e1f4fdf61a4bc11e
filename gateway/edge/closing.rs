//! The end of a gateway, as its clients see it: first it *closes* (everything is served, and each answer is a connection's
//! last), then it *stops* (nothing new is accepted).
//!
//! A client that keeps connections may have a request on its way whenever its connection is ended. So nobody's connection is
//! ended before its client was told, or had time to send once more:
//!
//! - closing: HTTP/1.1 answers say `Connection: close`; HTTP/2 connections get GOAWAY, and what is under way on them goes on.
//!   A connection that is opened meanwhile is served like any other.
//! - stopping: HTTP/2 connections that were opened meanwhile get GOAWAY. An HTTP/1.1 connection that is idle is read for
//!   [`LAST_CALL`] more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How long a client that was not told of the end may still begin a request, once nothing new is accepted.
pub const LAST_CALL: Duration = Duration::from_secs(1);

/// Whether the gateway is closing.
#[derive(Debug, Default)]
pub struct Closing {
    /// Read for each answer; the watch is for those who wait.
    begun: AtomicBool,
    told: watch::Sender<bool>,
}

impl Closing {
    /// From now on each answer is the last one of its connection. Again is no more.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.told.send_replace(true);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        // The sender is at hand, so that the wait ends in no other way.
        let _ = self.told.subscribe().wait_for(|begun| *begun).await;
    }
}
