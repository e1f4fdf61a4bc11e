//! One attempt at an endpoint, as pingora makes it.

use std::os::fd::RawFd;

use http::header::COOKIE;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::Session;
use pingora_core::{Error, ErrorType, Result};

use super::ctx::Ctx;
use super::{Proxy, fault, view};
use crate::edge::{Cut, HeadWait};
use crate::policy::exchange::{AttemptFailure, Next};
use crate::policy::refusal::Refusal;
use crate::policy::retry;

/// More attempts than a version and its spare may ask for together.
pub(super) const MAX_ATTEMPTS: usize = 16;

/// An error that ends the request with the answer of a refusal.
pub(super) fn refused(ctx: &mut Ctx, refusal: Refusal) -> Box<Error> {
    ctx.refusal = Some(refusal);
    let status = refusal.row().told.map_or(500, |told| told.status);
    Error::explain(ErrorType::HTTPStatus(status), refusal.word())
}

impl Proxy {
    /// Picks an endpoint that this request has not tried.
    pub(super) fn begin(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let Some((received, resolved)) = ctx.received.as_ref().zip(ctx.reached.resolved_mut()) else {
            return Err(refused(ctx, Refusal::Internal));
        };
        // What an attempt before has read of it is read again.
        ctx.body_bytes = 0;
        let attempt = match resolved.begin(received, &view::head(session.req_header()), &mut rand::rng()) {
            Ok(attempt) => attempt,
            Err(refusal) => return Err(refused(ctx, refusal)),
        };
        let pick = attempt.pick().expect("an attempt begins with its endpoint");
        let peer = if session.is_upgrade_req() {
            session.set_read_timeout(Some(pick.spec().timeouts.idle));
            self.peers.for_upgrade_of(pick)
        } else {
            self.peers.of_pick(pick)
        };
        ctx.attempt = Some(attempt);
        ctx.cut = None;
        ctx.wait = None;
        Ok(peer)
    }

    /// Turns the client's head into the endpoint's.
    pub(super) fn write_head(&self, session: &Session, head: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
        let (Some(received), Some(resolved), Some(attempt)) = (&ctx.received, ctx.reached.resolved(), &ctx.attempt)
        else {
            return Error::e_explain(ErrorType::InternalError, "a head is written before there is an attempt");
        };
        let view = view::head(session.req_header());
        let client = view::client(ctx.connection.as_deref());
        let request = attempt.request(&self.worker, (received, resolved), &client, &view);
        let request = request.map_err(|refusal| Error::explain(ErrorType::InternalError, refusal.word()))?;
        // Compared with the bytes that would go out, not with what they were read as: an endpoint gets what was routed.
        if request.target.as_bytes() != head.raw_path() {
            head.set_raw_path(request.target.as_bytes())?;
        }
        join_cookies(head)?;
        view::apply(head, request.edits.iter())
    }
}

/// Connected, by a socket that is this request's alone if the endpoint speaks HTTP/1.1.
pub(super) fn connected(session: &Session, peer: &HttpPeer, socket: RawFd, reused: bool, ctx: &mut Ctx) {
    if let Some(attempt) = &mut ctx.attempt {
        attempt.connected(reused);
    }
    ctx.cut = if peer.options.custom_l4.is_none() && peer.options.alpn.get_max_http_version() == 1 {
        Some(Cut::Endpoint(socket))
    } else if session.is_http2() {
        None
    } else {
        Some(Cut::Client)
    };
}

/// The endpoint has all of the request: from now on it has `timeouts.response` to begin its answer.
pub(super) fn sent(ctx: &mut Ctx) {
    let Some(attempt) = &mut ctx.attempt else { return };
    if attempt.is_sent() {
        return;
    }
    attempt.sent();
    if attempt.status().is_none()
        && let (Some(connection), Some(cut), Some(pick)) = (&ctx.connection, ctx.cut, attempt.pick())
    {
        ctx.wait = Some(HeadWait::begin(connection, pick.spec().timeouts.response, cut));
    }
}

/// HTTP/2 clients may send a field for each cookie; HTTP/1.1 knows one field (RFC 9113, 8.2.3).
fn join_cookies(head: &mut RequestHeader) -> Result<()> {
    if head.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let cookies: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    head.insert_header("cookie", cookies.join(&b"; "[..]))
}

/// The endpoint sent a head. A status that is tried again becomes an error that says so.
pub(super) fn answered(session: &Session, head: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if head.status.is_informational() && head.status != 101 {
        return Ok(());
    }
    ctx.wait = None;
    let status = head.status.as_u16();
    let (Some(received), Some(resolved), Some(attempt)) = (&ctx.received, ctx.reached.resolved_mut(), &mut ctx.attempt)
    else {
        return Ok(());
    };
    let view = view::head(session.req_header());
    match attempt.answered((received, resolved), &view, status, || replay(session)) {
        Next::Over => Ok(()),
        Next::Again => {
            let mut error = Error::explain(ErrorType::HTTPStatus(status), "a status to be tried again");
            error.as_up();
            error.set_retry(true);
            Err(error)
        }
    }
}

/// The attempt failed: tells the endpoint's health, and decides whether another attempt follows.
pub(super) fn failed(session: &Session, ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    if matches!(error.etype(), ErrorType::HTTPStatus(_)) {
        // Decided in `answered`, or an answer of our own.
        return error;
    }
    let (Some(received), Some(resolved), Some(attempt)) = (&ctx.received, ctx.reached.resolved_mut(), &ctx.attempt)
    else {
        return error;
    };
    let failure = if ctx.wait.take().is_some_and(|wait| wait.was_cut()) {
        AttemptFailure::Timeout
    } else {
        fault::of(&error, attempt.is_sent())
    };
    let view = view::head(session.req_header());
    let next = attempt.failed((received, resolved), &view, (failure, &error), || replay(session));
    error.set_retry(next == Next::Again);
    ctx.failure = Some(failure);
    error
}

/// What is left of the request's body for another attempt, and whether anything of an answer went to the client.
fn replay(session: &Session) -> (retry::Body, bool) {
    let gone = session.as_ref().retry_buffer_truncated();
    (if gone { retry::Body::Gone } else { retry::Body::Replayable }, session.response_written().is_some())
}
