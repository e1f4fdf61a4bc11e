//! HTTP/2 connections: their streams, and the GOAWAY that ends them.
//!
//! The connection is served by the `h2` crate and not by pingora's server, which drops an idle connection without a word, answers
//! some heads itself, and passes no interim answer on. Each stream goes to pingora's proxy as a session of our own.

mod stream;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use config::model::Limits;
use h2::Reason;
use h2::server::Builder;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::edge::{Connection, Edge, EdgeStream, ShutdownWatch};

pub(super) use stream::{Http2Stream, StreamOrigin};

/// Open streams of one HTTP/2 connection: the least that RFC 9113, 6.5.2 recommends, because each answer that the client does
/// not read holds half a mebibyte.
const STREAMS: u32 = 100;
/// Tasks of one connection: those of its open streams, and of as many that their client has reset.
const MOST_TASKS: usize = 2 * STREAMS as usize;
/// The bytes of a body that a client may send ahead on one stream. Over a round trip of 100 ms this is 2.5 MB a second.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection. With windows of one size an upload to an endpoint that does not read would stop
/// all others of the client, who may be a CDN; here it takes eight of them. More would do better and let each connection make
/// the gateway hold more: what is sent ahead is kept here until an endpoint takes it.
const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;
/// The bytes of an answer that a stream may have written and the socket not yet taken.
const SEND_BUFFER: usize = 64 << 10;

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
struct OpenStream(Arc<Connection>);

impl OpenStream {
    fn of(connection: Arc<Connection>) -> Self {
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

/// HTTP/2 with the limits of the edge.
pub(super) struct Http2 {
    builder: Builder,
}

impl Http2 {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut builder = Builder::new();
        // HPACK entries count 32 bytes more than their text (RFC 7541, 4.1), which bounds the number of fields as well.
        let list = limits.head_bytes.saturating_add(32 * limits.headers);
        builder
            .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER);
        Self { builder }
    }

    /// Serves a connection until it ends; `request` is what is done with each stream, in a task of its own.
    pub(super) async fn serve<F>(
        &self,
        stream: Box<EdgeStream>,
        edge: &Arc<Edge>,
        shutdown: ShutdownWatch,
        request: impl Fn(Http2Stream) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let connection = Arc::clone(stream.connection());
        let (goaway, mut told) = watch::channel(false);
        let accepting = async {
            let Ok(mut accepted) = self.builder.handshake::<_, Bytes>(stream).await else { return };
            loop {
                let next = tokio::select! {
                    biased;
                    // Only a value that is true is sent, and only once.
                    Ok(()) = told.changed() => {
                        accepted.graceful_shutdown();
                        continue;
                    }
                    next = accepted.accept() => next,
                };
                // An error ends the connection, and each stream notices by itself.
                let Some(Ok((head, mut respond))) = next else { return };
                // A stream that its client resets makes room for the next one at once, and its task has an endpoint to leave.
                if connection.streams.open.load(Ordering::Acquire) >= MOST_TASKS {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                let counted = (edge.load.request(), OpenStream::of(Arc::clone(&connection)));
                let serving = request(Http2Stream::new(head, respond, &connection, edge));
                tokio::spawn(async move {
                    serving.await;
                    drop(counted);
                });
            }
        };
        tokio::select! {
            biased;
            () = until_dropped(&connection, edge, shutdown, &goaway) => {}
            () = accepting => {}
        }
    }
}

/// Sends true to `goaway` when the connection is to take no more requests; ends when it can be dropped.
async fn until_dropped(
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
        () = idle_for(connection, edge.limits.idle_timeout) => {
            goaway.send_replace(true);
            idle_for(connection, GOODBYE).await;
        }
    }
}

/// Waits until the connection has had no stream for so long, and no bytes wait for its client.
async fn idle_for(connection: &Connection, limit: Duration) {
    loop {
        connection.streams.idle_for(limit).await;
        if !connection.client_side.is_writing() {
            return;
        }
    }
}
