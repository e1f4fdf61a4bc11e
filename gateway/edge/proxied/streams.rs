//! The streams under way on an HTTP/2 connection, and the GOAWAY that ends it.
//!
//! pingora 0.9.1 drops an idle HTTP/2 connection without a word. So being idle is watched here, and the connection is ended
//! as a shutdown ends it: GOAWAY, what the client had on its way, and the end of the transport (under TLS a
//! `close_notify`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::edge::{Connection, Edge, ShutdownWatch};

/// Time in which an idle client answers its GOAWAY before its connection is dropped.
const GOODBYE: Duration = Duration::from_secs(5);

/// A count of the streams under way on one connection.
#[derive(Debug, Default)]
pub(in crate::edge) struct Streams {
    open: AtomicUsize,
    /// Told when the first one begins and when the last one ends.
    changed: Notify,
}

/// A stream under way, until dropped.
pub(super) struct OpenStream(Arc<Connection>);

impl OpenStream {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        if connection.streams.open.fetch_add(1, Ordering::AcqRel) == 0 {
            connection.streams.changed.notify_one();
        }
        Self(connection)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.streams.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.streams.changed.notify_one();
        }
    }
}

impl Streams {
    fn are_none(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Waits until there has been no stream for so long.
    async fn idle_for(&self, limit: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.are_none() {
                tokio::select! {
                    () = sleep(limit) => if self.are_none() { return },
                    () = changed => {}
                }
            } else {
                changed.await;
            }
        }
    }
}

/// Sends true to `goaway` when the connection is to take no more requests; ends when it can be dropped.
pub(super) async fn until_dropped(
    connection: &Connection,
    edge: &Edge,
    mut shutdown: ShutdownWatch,
    goaway: &watch::Sender<bool>,
) {
    // A client that connects while the gateway is closing was sent here, and has nothing better yet.
    let told_at_once = !edge.closing.has_begun();
    let closing = async {
        if told_at_once {
            edge.closing.begun().await;
        } else {
            // A watch whose sender is gone ends it too.
            let _ = shutdown.wait_for(|down| *down).await;
        }
    };
    tokio::select! {
        () = closing => {
            goaway.send_replace(true);
            // The client ends it, or the end of the process.
            std::future::pending().await
        }
        () = connection.streams.idle_for(edge.limits.idle_timeout) => {
            goaway.send_replace(true);
            connection.streams.idle_for(GOODBYE).await;
        }
    }
}
