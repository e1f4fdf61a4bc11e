//! The lane that pingora's proxy serves: HTTP/2, and HTTP/1 for as long as there is no other lane for it.
//!
//! HTTP/1 connections are looped over here and not by pingora: the next request reaches pingora only when its head is whole,
//! so an idle connection holds no session of pingora's, and it is known when each request ends.
//!
//! - [`deadline`]: limits on the silence of endpoints
//! - `engine`: an [`EdgeStream`] as pingora wants its streams
//! - `http2`: HTTP/2 connections and their streams, without pingora's server

pub mod deadline;
mod engine;
pub(super) mod http2;

use std::sync::Arc;

use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;

use super::{ClientProtocol, Edge, EdgeStream, IdleWait, Lane, ShutdownWatch, SpareBuffer};
use deadline::Keeper;
use engine::EngineStream;
use http2::{Http2, Http2Stream};

pub use engine::{client_side_of, connection_of};

/// Serves connections by an application of pingora's, such as `pingora::proxy::http_proxy`.
pub struct ProxiedLane<A> {
    app: Arc<A>,
    http2: Http2,
    edge: Arc<Edge>,
}

impl<A: HttpServerApp + Send + Sync + 'static> ProxiedLane<A> {
    /// A lane for `app`, counting requests in `edge.load`.
    #[must_use]
    pub fn new(app: Arc<A>, edge: Arc<Edge>) -> Self {
        let http2 = Http2::new(&edge.limits);
        Self { app, http2, edge }
    }

    async fn serve_http1(&self, stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        let connection = Arc::clone(stream.connection());
        let mut stream = Box::new(EngineStream::new(stream));
        let mut keeper = Keeper::new(&connection.deadlines);
        let (spare, mut idle) = (SpareBuffer::default(), IdleWait::new(shutdown));
        let mut settings: Option<HttpPersistentSettings> = None;
        loop {
            // A lane before this one may have read the head already.
            if !stream.inner.has_head() && stream.inner.next_head_in(&spare, &mut idle).await.is_err() {
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
        let request = |stream: Http2Stream| {
            let (app, shutdown) = (Arc::clone(&self.app), shutdown.clone());
            async move {
                // The proxy keeps no stream.
                app.process_new_http(ServerSession::new_custom(Box::new(stream)), &shutdown).await;
            }
        };
        let serving = self.http2.serve(stream, &self.edge, shutdown.clone(), request);
        Keeper::new(&connection.deadlines).beside(serving).await;
        if let Some(remains) = connection.take_remains() {
            // A drain waits for it as for a request: what the client has not read yet would be lost.
            let _answering = self.edge.load.request();
            Box::pin(remains.linger_while_read(self.edge.limits.body_timeout)).await;
        }
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
