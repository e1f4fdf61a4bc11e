//! Shutdown of the gateway as its clients see it. First it *closes*: everything is served, and each answer is the last one of
//! its connection. Then it *stops*: nothing new is accepted.
//!
//! A client that keeps connections may have a request on its way whenever its connection is ended. So no connection is
//! ended before its client was told, or had time to send once more:
//!
//! - closing: HTTP/1.1 answers say `Connection: close`; HTTP/2 connections get GOAWAY, and what is under way on them goes on.
//!   A connection that is opened meanwhile is served like any other.
//! - stopping: HTTP/2 connections that were opened meanwhile get GOAWAY. An HTTP/1.1 connection that is idle is read for
//!   [`LAST_CALL`] more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::ShutdownWatch;

/// Time in which a client that was not told may still begin a request, once nothing new is accepted.
pub const LAST_CALL: Duration = Duration::from_secs(1);

/// Waits until nothing new is accepted, and [`LAST_CALL`] more.
pub(super) async fn last_call(shutdown: &mut ShutdownWatch) {
    // A watch whose sender is gone ends it too.
    let _ = shutdown.wait_for(|down| *down).await;
    sleep(LAST_CALL).await;
}

/// The switch from serving to closing.
#[derive(Debug, Default)]
pub struct Closing {
    /// Read for each answer; the watch is for those who wait.
    begun: AtomicBool,
    told: watch::Sender<bool>,
}

impl Closing {
    /// Makes each answer the last one of its connection from now on. A second call changes nothing.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.told.send_replace(true);
    }

    /// True while the gateway is closing.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Waits until the gateway is closing.
    pub async fn begun(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.told.subscribe().wait_for(|begun| *begun).await;
    }
}
