//! The lane of pingora-proxy: HTTP/2, and HTTP/1 for as long as there is no other lane for it.
//!
//! The hooks stand in the order in which pingora calls them, each a few lines: a translation of
//! [`policy::exchange`](crate::policy::exchange), which decides. Nothing before `upstream_peer` awaits anything but the client.
//!
//! - [`attempt`]: one attempt at an endpoint
//! - [`respond`]: heads of answers, answers of our own, the end of a request
//! - [`view`]: pingora's heads and connections, as policy reads them
//! - [`upgrade`]: offers of clients to upgrade
//! - [`fault`]: pingora's errors, and the side at fault
//! - [`ctx`]: the state of a request from hook to hook
//! - [`peer`], [`check`]: endpoints as pingora wants them, and their checks

mod attempt;
mod check;
mod ctx;
mod fault;
mod peer;
mod respond;
#[cfg(test)]
mod tests;
mod upgrade;
mod view;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use config::route::table::Answers;
use http::HeaderMap;
use http::header::EXPECT;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::configuration::ServerConf;
use pingora_core::apps::HttpServerOptions;
use pingora_core::{Error, Result};

use crate::edge::proxied::connection_of;
use crate::policy::answer::Answer;
use crate::policy::exchange::{Admission, Handed, Reached, Worker};
use crate::policy::refusal::Refusal;
use ctx::Ctx;

pub use check::LaneChecker;
pub use peer::Peers;

/// Connections to endpoints that one worker keeps for reuse. Too few cost a new connection for almost every request.
const POOL: usize = 4096;

/// What the lane needs of the gateway.
#[derive(Clone)]
pub struct Proxy {
    /// The state that all exchanges of this worker share.
    pub worker: Worker,
    /// Endpoints as pingora wants them.
    pub peers: Arc<Peers>,
    /// The first descriptor that no connection to an endpoint may take.
    pub reserved_from: RawFd,
}

/// The application for one worker, with a pool of connections of its own.
#[must_use]
pub fn application(proxy: Proxy) -> HttpProxy<Proxy> {
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: POOL,
        max_retries: attempt::MAX_ATTEMPTS,
        ..ServerConf::default()
    };
    let mut application = pingora::proxy::http_proxy(&Arc::new(conf), proxy);
    // `admit` refuses CONNECT, as any request is refused.
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    application.server_options = Some(options);
    application
}

impl Proxy {
    /// Decides what happens to a request, and puts into `ctx` who sent it. Nothing here awaits.
    fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Admission {
        ctx.connection = connection_of(session);
        if session.req_header().headers.contains_key(EXPECT) {
            // The endpoint's 100 comes before the body has ended, which is no reason to close the connection.
            session.set_close_on_response_before_downstream_finish(false);
        }
        if !view::version(session.req_header().version).knows_http11() {
            session.set_ignore_info_resp(true);
        }
        let handed = ctx.connection.as_ref().and_then(|connection| connection.take_handed::<Handed>());
        if let Some(Handed { received, resolved }) = handed {
            ctx.received = Some(received);
            return Admission::Forward(resolved);
        }
        let (client, head) = (view::client(ctx.connection.as_deref()), view::head(session.req_header()));
        let snapshot = self.worker.live.load();
        let received = ctx.received.insert(self.worker.receive(&snapshot, &client, &head));
        self.worker.admit(&snapshot, received, &client, &head)
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::default()
    }

    /// None: each module costs every request a box and dynamic calls.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        match self.admit(session, ctx) {
            Admission::Forward(resolved) => {
                upgrade::settle(session.req_header_mut(), &resolved);
                ctx.reached = Reached::Version(resolved);
                Ok(false)
            }
            Admission::Fixed(resolved) => {
                let destination = Arc::clone(&resolved.served.destination);
                ctx.reached = Reached::Version(resolved);
                let Answers::Response(response) = &destination.upstream.answers else { return Ok(false) };
                self.answer(session, ctx, Answer::fixed(response)).await.map(|()| true)
            }
            Admission::Answer(answer, reached) => {
                ctx.reached = reached;
                self.answer(session, ctx, answer).await.map(|()| true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        self.begin(session, ctx)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        socket: RawFd,
        _: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if !reused && socket >= self.reserved_from {
            return Err(attempt::refused(ctx, Refusal::Overloaded));
        }
        attempt::connected(session, peer, socket, reused, ctx);
        Ok(())
    }

    fn fail_to_connect(&self, session: &mut Session, _: &HttpPeer, ctx: &mut Ctx, error: Box<Error>) -> Box<Error> {
        attempt::failed(session, ctx, error)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.write_head(session, head, ctx)?;
        if session.as_downstream_mut().is_body_done() {
            attempt::sent(ctx);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.body_bytes += body.as_ref().map_or(0, |bytes| bytes.len() as u64);
        attempt::uploaded(ctx);
        if ctx.body_bytes > self.worker.limits.body_bytes {
            return Err(attempt::refused(ctx, Refusal::BodyTooLarge));
        }
        // cloudflare/pingora issue 935: an HTTP/2 body that ends in an empty DATA frame would be ended twice towards an
        // HTTP/1.1 endpoint, and the second end would be read as the start of the next request.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        if end {
            attempt::sent(ctx);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        attempt::answered(session, head, ctx)
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        attempt::passed(ctx);
        if body.as_ref().is_some_and(|bytes| !bytes.is_empty()) {
            attempt::answering(ctx);
        }
        Ok(None)
    }

    fn upstream_response_trailer_filter(&self, _: &mut Session, trailers: &mut HeaderMap, ctx: &mut Ctx) -> Result<()> {
        if let Some(answered) = &mut ctx.answered {
            answered.trailers(trailers);
        }
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, head: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        self.edit_head(session, head, ctx)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        ctx.sent_bytes += body.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        _: bool,
    ) -> Box<Error> {
        attempt::failed(session, ctx, error)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        self.answer_failure(session, ctx, error).await
    }

    /// The access log has a line for every request, with its end reason.
    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        self.record(session, error, ctx);
    }
}
