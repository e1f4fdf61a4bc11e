//! The lane that pingora serves: HTTP/2, and HTTP/1 for as long as there is no other lane for it.
//!
//! HTTP/1 connections are looped over here and not by pingora: the next request reaches pingora only when its head is whole,
//! so an idle connection holds no session of pingora's, and it is known when each request ends.
//!
//! - [`deadline`]: limits on the silence of endpoints
//! - `engine`: an [`EdgeStream`] as pingora wants its streams
//! - `paced`: one HTTP/2 stream, within the limits on clients
//! - `streams`: the end of an HTTP/2 connection

pub mod deadline;
mod engine;
mod paced;
pub(super) mod streams;

use std::sync::Arc;

use async_trait::async_trait;
use config::model::Limits;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use tokio::sync::watch;

use super::{ClientProtocol, Edge, EdgeStream, Lane, Load, ShutdownWatch};
use deadline::Keeper;
use engine::EngineStream;
use paced::Paced;
use streams::OpenStream;

/// Open streams of one HTTP/2 connection: the least that RFC 9113, 6.5.2 recommends, because each answer that the client does
/// not read holds half a mebibyte.
const STREAMS: u32 = 100;
/// The bytes of a body that a client may send ahead on one stream. Over a round trip of 100 ms this is 2.5 MB a second.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection. With windows of one size an upload to an endpoint that does not read would stop
/// all others of the client, who may be a CDN; here it takes eight of them. More would do better and let each connection make
/// the gateway hold more: what is sent ahead is kept here until an endpoint takes it.
const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;
/// The bytes of an answer that a stream may have written and the socket not yet taken.
const SEND_BUFFER: usize = 64 << 10;

pub use engine::{client_side_of, connection_of};

/// Serves connections by an application of pingora's, such as `pingora::proxy::http_proxy`.
pub struct ProxiedLane<A> {
    app: Arc<A>,
    http2: Arc<Http2<A>>,
    edge: Arc<Edge>,
}

impl<A: HttpServerApp + Send + Sync + 'static> ProxiedLane<A> {
    /// A lane for `app`, counting requests in `edge.load`.
    #[must_use]
    pub fn new(app: Arc<A>, edge: Arc<Edge>) -> Self {
        let http2 = Arc::new(Http2::new(Arc::clone(&app), &edge));
        Self { app, http2, edge }
    }

    async fn serve_http1(&self, stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        let connection = Arc::clone(stream.connection());
        let mut stream = Box::new(EngineStream::new(stream));
        let mut keeper = Keeper::new(&connection.deadlines);
        let mut down = shutdown.clone();
        let mut settings: Option<HttpPersistentSettings> = None;
        loop {
            // A lane before this one may have read the head already.
            if !stream.inner.has_head() && stream.inner.next_head(&mut down).await.is_err() {
                return;
            }
            let in_flight = self.edge.load.request();
            let session = self.session(stream, settings.take());
            let reused = keeper.beside(self.app.process_new_http(session, shutdown)).await;
            drop(in_flight);
            let Some((reused, kept)) = reused.map(ReusedHttpStream::consume) else { break };
            let Ok(reused) = reused.into_any().downcast::<EngineStream>() else { return };
            stream = reused;
            stream.inner.request_done();
            settings = kept;
        }
        if let Some(remains) = connection.take_remains() {
            Box::pin(remains.linger()).await;
        }
    }

    async fn serve_http2(&self, mut stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        if stream.http2_preface().await.is_err() {
            return;
        }
        let connection = Arc::clone(stream.connection());
        let (goaway, told) = watch::channel(false);
        let serving = async {
            tokio::select! {
                biased;
                () = streams::until_dropped(&connection, &self.edge, shutdown.clone(), &goaway) => {}
                _ = self.http2.process_new(Box::new(EngineStream::new(stream)), &told) => {}
            }
        };
        Keeper::new(&connection.deadlines).beside(serving).await;
    }

    fn session(&self, stream: Box<EngineStream>, kept: Option<HttpPersistentSettings>) -> ServerSession {
        let limits = &self.edge.limits;
        let mut session = ServerSession::new_http1(stream);
        match kept {
            Some(kept) => kept.apply_to_session(&mut session),
            // Only whether it is kept matters: waiting for the next request is the stream's.
            None => session.set_keepalive(Some(limits.idle_timeout.as_secs())),
        }
        session.set_total_drain_timeout(Some(limits.body_timeout));
        session
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Lane for ProxiedLane<A> {
    async fn serve(&self, stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        match stream.connection().protocol {
            ClientProtocol::Http1 => self.serve_http1(stream, shutdown).await,
            // Boxed, so that the task of an HTTP/1 connection is not as large.
            ClientProtocol::Http2 => Box::pin(self.serve_http2(stream, shutdown)).await,
        }
    }
}

/// The application as HTTP/2 connections see it: with the edge's limits, each stream counted.
struct Http2<A> {
    app: Arc<A>,
    load: Arc<Load>,
    limits: Limits,
    http2: H2Options,
}

impl<A> Http2<A> {
    fn new(app: Arc<A>, edge: &Edge) -> Self {
        let (load, limits) = (Arc::clone(&edge.load), edge.limits.clone());
        Self { app, load, http2: http2_options(&limits), limits }
    }
}

fn http2_options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    // HPACK entries count 32 bytes more than their text (RFC 7541, 4.1), which bounds the number of fields as well.
    let list = limits.head_bytes.saturating_add(32 * limits.headers);
    options.max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
    options.max_concurrent_streams(STREAMS);
    options.initial_window_size(STREAM_WINDOW);
    options.initial_connection_window_size(CONNECTION_WINDOW);
    options.max_send_buffer_size(SEND_BUFFER);
    options
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Http2<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _in_flight = self.load.request();
        let connection = engine::connection_below(&session);
        let session = match session {
            ServerSession::H2(stream) => {
                let client = connection.as_ref().map(|connection| connection.client.ip());
                ServerSession::new_custom(Box::new(Paced::new(stream, &self.limits, &self.load, client)))
            }
            other => other,
        };
        let _open = connection.map(OpenStream::of);
        self.app.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.http2.clone())
    }
}
