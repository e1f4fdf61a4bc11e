//! The lane of pingora-proxy: HTTP/2, and HTTP/1 for as long as there is no other lane for it.
//!
//! The hooks stand in the order in which pingora calls them, each a few lines; what they do is in the modules below.
//! Nothing before `upstream_peer` awaits anything but the client.
//!
//! - [`admit`]: the request's head -> where it goes, or an answer of our own
//! - [`attempt`]: one attempt at an endpoint, and whether another one follows
//! - [`peer`], [`fault`]: an endpoint as pingora wants it, and whose fault an error is
//! - [`charge`]: which version a request's outcome counts for, and whether another one answers instead
//! - [`respond`]: heads of answers, and answers of our own
//! - [`record`]: metrics and the access log
//! - [`ctx`]: what a request carries from hook to hook
//! - [`check`]: active checks over this lane's connections

mod admit;
mod attempt;
mod charge;
mod check;
mod ctx;
mod fault;
mod peer;
mod record;
mod respond;
#[cfg(test)]
mod tests;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use config::model::Limits;
use config::table::Answers;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::configuration::ServerConf;
use pingora_core::{Error, ErrorType, Result};

use crate::live::Live;
use crate::log::{AccessLog, EndReason};
use crate::metrics::Metrics;
use crate::policy::answer::Answer;
use admit::Admission;
use ctx::Ctx;

pub use check::LaneChecker;
pub use peer::Peers;

/// Connections to endpoints that one worker keeps for reuse. Too few cost a new connection for almost every request.
const POOL: usize = 4096;

/// What the lane needs of the gateway.
#[derive(Clone)]
pub struct Proxy {
    /// Where requests go.
    pub live: Arc<Live>,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
    /// Where they are written down.
    pub access: AccessLog,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// Port of each listener.
    pub ports: Arc<[u16]>,
    /// Port of the first TLS listener, for redirects to https.
    pub https_port: u16,
    /// Endpoints as pingora wants them.
    pub peers: Arc<Peers>,
    /// Which of the workers this is, from 0.
    pub worker: usize,
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
    pingora::proxy::http_proxy(&Arc::new(conf), proxy)
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.worker)
    }

    /// None: each module costs every request a box and dynamic calls.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        match self.admit(session, ctx) {
            Admission::Forward => Ok(false),
            Admission::Answer(answer) => self.answer(session, ctx, answer).await.map(|()| true),
            Admission::Fixed(destination) => {
                let Answers::Response(response) = &destination.upstream.answers else { return Ok(false) };
                self.answer(session, ctx, Answer::fixed(response)).await.map(|()| true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        attempt::begin(session, ctx, &self.peers)
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
        attempt::connected(session, peer, socket, reused, ctx);
        Ok(())
    }

    fn fail_to_connect(&self, session: &mut Session, _: &HttpPeer, ctx: &mut Ctx, error: Box<Error>) -> Box<Error> {
        attempt::failed(session, ctx, error, false)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        attempt::write_head(session, head, ctx)?;
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
        if ctx.body_bytes > self.limits.body_bytes {
            ctx.end = Some(EndReason::BodyTooLarge);
            return Error::e_explain(ErrorType::HTTPStatus(413), "request body over limits.body_bytes");
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

    fn upstream_response_trailer_filter(&self, _: &mut Session, trailers: &mut HeaderMap, ctx: &mut Ctx) -> Result<()> {
        charge::trailers(trailers, ctx);
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
        reused: bool,
    ) -> Box<Error> {
        attempt::failed(session, ctx, error, reused)
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
