//! One attempt at an endpoint, as pingora makes it.

use std::os::fd::RawFd;

use http::header::{COOKIE, EXPECT, HOST, HeaderValue, TE, TRAILER};
use http::{HeaderMap, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::Session;
use pingora_core::{Error, ErrorType, OrErr, Result};

use super::ctx::Ctx;
use super::{Proxy, fault, upgrade, view};
use crate::edge::proxied::client_side_of;
use crate::edge::{Cut, Fault, Silences, UPLOAD, Watch};
use crate::policy::exchange::attempting::breaks_protocol;
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
        // The part that an attempt before has read of it is read again.
        ctx.body_bytes = 0;
        let has_body = !session.is_body_empty();
        let attempt = match resolved.begin(received, &view::head(session.req_header()), has_body, &mut rand::rng()) {
            Ok(attempt) => attempt,
            Err(refusal) => return Err(refused(ctx, refusal)),
        };
        let pick = attempt.pick().expect("an attempt begins with its endpoint");
        let timeouts = &pick.spec().timeouts;
        let (is_upgrade, uploads) = (session.is_upgrade_req(), !session.as_downstream_mut().is_body_done());
        ctx.watches_body = !is_upgrade && (uploads || timeouts.response > timeouts.idle);
        let peer = if is_upgrade {
            session.set_read_timeout(Some(timeouts.idle));
            self.peers.for_upgrade_of(pick)
        } else {
            let mut peer = self.peers.of_pick(pick);
            if uploads {
                // While the request is on its way, silence may be the client's: `Watch` knows.
                peer.options.read_timeout = peer.options.read_timeout.max(Some(UPLOAD));
            }
            peer
        };
        ctx.attempt = Some(attempt);
        ctx.watch = None;
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
        let changed = request.target.as_bytes() != head.raw_path();
        let mut parts = view::take_request(head);
        if changed {
            view::set_target(&mut parts, &request.target)?;
        }
        // pingora drops the trailers of every request.
        parts.headers.remove(TRAILER);
        join_cookies(&mut parts.headers)?;
        // gRPC over HTTP/2 asks for it, and pingora takes it for a field of the client's connection alone.
        let client = session.req_header();
        let takes_trailers =
            client.version == Version::HTTP_2 && client.headers.get(TE).is_some_and(|te| te == "trailers");
        if takes_trailers && parts.version == Version::HTTP_2 {
            parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        view::apply(&mut parts.headers, &request.edits)?;
        // pingora makes `:scheme` anew, so that it says how the endpoint is reached, where there is a Host.
        if parts.version == Version::HTTP_2
            && !parts.headers.contains_key(HOST)
            && let Some(authority) = parts.uri.authority()
        {
            let host = HeaderValue::from_str(authority.as_str());
            parts.headers.insert(HOST, host.or_err(ErrorType::InvalidHTTPHeader, "an authority is no host")?);
        }
        upgrade::offer(session, &mut parts);
        *head = RequestHeader::from(parts);
        Ok(())
    }
}

/// Connected, by a socket that is this request's alone if the endpoint speaks HTTP/1.1.
pub(super) fn connected(session: &Session, peer: &HttpPeer, socket: RawFd, reused: bool, ctx: &mut Ctx) {
    if let Some(attempt) = &mut ctx.attempt {
        attempt.connected(reused);
    }
    let cut = if peer.options.custom_l4.is_none() && peer.options.alpn.get_max_http_version() == 1 {
        Cut::Endpoint(socket)
    } else {
        Cut::Client
    };
    if let (Some(connection), Some(pick)) = (&ctx.connection, ctx.attempt.as_ref().and_then(|attempt| attempt.pick())) {
        let client = ctx.client_side.get_or_insert_with(|| client_side_of(session, connection));
        if client.is_uploading() {
            client.expects(ctx.body_bytes == 0 && holds_body_back(session.req_header()));
            if view::head(session.req_header()).is_grpc() {
                client.unrated();
            }
        }
        let timeouts = &pick.spec().timeouts;
        let silences = Silences { response: timeouts.response, idle: timeouts.idle };
        ctx.watch = Some(Watch::begin(connection, client, silences, cut));
    }
}

/// True if the client waits for a 100 (RFC 9110, section 10.1.1): HTTP/1.0 knows none, and no other expectation is defined.
fn holds_body_back(head: &RequestHeader) -> bool {
    let expectation = head.headers.get(EXPECT).filter(|_| head.version != Version::HTTP_10);
    expectation.is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The endpoint has all of the request: from now on it has `timeouts.response` to begin its answer.
pub(super) fn sent(ctx: &mut Ctx) {
    if let Some(attempt) = &mut ctx.attempt {
        attempt.sent();
    }
    if let Some(client) = &ctx.client_side {
        client.uploaded();
    }
    if let Some(watch) = &ctx.watch {
        watch.sent();
    }
}

/// Bytes of the request's body came.
pub(super) fn uploaded(ctx: &Ctx) {
    if let Some(client) = &ctx.client_side {
        client.expects(false);
    }
    passed(ctx);
}

/// Bytes of a body passed, in whichever direction.
pub(super) fn passed(ctx: &Ctx) {
    if let Some(watch) = &ctx.watch {
        watch.touch();
    }
}

/// The endpoint's answer is under way, not just its head; or its head is all that need come for long.
pub(super) fn answering(ctx: &mut Ctx) {
    if let (Some(received), Some(resolved), Some(attempt)) = (&ctx.received, ctx.reached.resolved_mut(), &ctx.attempt) {
        attempt.answering(received, resolved);
    }
}

/// HTTP/2 clients may send a field for each cookie; HTTP/1.1 knows one field (RFC 9113, 8.2.3).
fn join_cookies(fields: &mut HeaderMap) -> Result<()> {
    if fields.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let cookies: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&cookies.join(&b"; "[..]));
    fields.insert(COOKIE, joined.or_err(ErrorType::InvalidHTTPHeader, "cookies cannot be joined")?);
    Ok(())
}

/// The endpoint sent a head. A status that is tried again becomes an error that says so.
pub(super) fn answered(session: &Session, head: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    let status = head.status.as_u16();
    if view::is_interim(head.status) {
        if let (Some(client), 100) = (&ctx.client_side, status) {
            client.expects(false);
        }
        return Ok(());
    }
    let view = view::head(session.req_header());
    if breaks_protocol(status, &head.headers, session.is_upgrade_req()) {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "an answer that cannot be passed on").into_up());
    }
    if ctx.watches_body && status != 101 {
        if let Some(watch) = &ctx.watch {
            watch.answered();
        }
    } else {
        ctx.watch = None;
    }
    let (Some(received), Some(resolved), Some(attempt)) = (&ctx.received, ctx.reached.resolved_mut(), &mut ctx.attempt)
    else {
        return Ok(());
    };
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
        ctx.watch = None;
        return error;
    }
    let fault = ctx.watch.take().and_then(|watch| watch.fault());
    let (Some(received), Some(resolved), Some(attempt)) = (&ctx.received, ctx.reached.resolved_mut(), &ctx.attempt)
    else {
        return error;
    };
    let failure = match fault {
        Some(Fault::Endpoint) => AttemptFailure::Timeout,
        Some(Fault::NoContinue) => AttemptFailure::NoContinue,
        Some(Fault::Client) => AttemptFailure::SlowClient,
        None => {
            let waited_for = ctx.client_side.as_ref().is_some_and(|client| client.is_waited_for());
            fault::of(&error, !attempt.is_sent() && waited_for)
        }
    };
    let failure = failure.in_answer(ctx.answered.as_ref().and_then(|answered| answered.long_lived));
    let view = view::head(session.req_header());
    let next = attempt.failed((received, resolved), &view, (failure, &error), || replay(session));
    error.set_retry(next == Next::Again);
    ctx.failure = Some(failure);
    error
}

/// The rest of the request's body for another attempt, and whether the head of an answer went to the client.
fn replay(session: &Session) -> (retry::Body, bool) {
    let gone = session.as_ref().retry_buffer_truncated();
    (if gone { retry::Body::Gone } else { retry::Body::Replayable }, view::answered_status(session).is_some())
}
