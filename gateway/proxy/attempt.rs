//! One attempt at an endpoint of the resolved version, and whether another one follows.

use std::os::fd::RawFd;

use config::table::{Answers, RenderedEdits, RenderedHost};
use http::header::COOKIE;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::Session;
use pingora_core::{Error, ErrorSource, ErrorType, Result};

use super::ctx::{Attempt, Ctx};
use super::peer::Peers;
use super::respond::apply;
use super::{charge, fault};
use crate::clock;
use crate::edge::{Cut, HeadWait};
use crate::log::EndReason;
use crate::metrics::Retry;
use crate::policy::context::{RequestContext, VersionEdits};
use crate::policy::headers::request_edits;
use crate::policy::{retry, target};
use crate::upstreams::Failure;

/// More attempts than a version and its spare may ask for together.
pub(super) const MAX_ATTEMPTS: usize = 16;

/// Picks an endpoint that this request has not tried.
pub(super) fn begin(session: &mut Session, ctx: &mut Ctx, peers: &Peers) -> Result<Box<HttpPeer>> {
    let served = ctx.served.as_ref().expect("request_filter let it pass");
    let state = served.destination.state.as_ref().expect("a fixed response is answered in request_filter");
    if ctx.attempts == 0 {
        state.budget().on_request();
    }
    // What an attempt before has read of it is read again.
    ctx.body_bytes = 0;
    let Some(pick) = state.pick(&ctx.tried, &mut rand::rng()) else {
        ctx.end = Some(EndReason::NoHealthy);
        return Error::e_explain(ErrorType::HTTPStatus(503), "no healthy endpoint");
    };
    let peer = if session.is_upgrade_req() {
        session.set_read_timeout(Some(state.spec().timeouts.idle));
        peers.for_upgrade_of(&pick)
    } else {
        peers.of_pick(&pick)
    };
    // Nothing has awaited anything but the client before the first attempt.
    let began = if ctx.attempts == 0 { ctx.started } else { clock::now() };
    ctx.tried.add(&pick);
    ctx.attempts += 1;
    ctx.attempt = Attempt { pick: Some(pick), began: Some(began), ..Attempt::default() };
    Ok(peer)
}

/// Connected, by a socket that is this request's alone if the endpoint speaks HTTP/1.1.
pub(super) fn connected(session: &Session, peer: &HttpPeer, socket: RawFd, reused: bool, ctx: &mut Ctx) {
    ctx.attempt.connected(reused);
    ctx.attempt.cut = if peer.options.custom_l4.is_none() && peer.options.alpn.get_max_http_version() == 1 {
        Some(Cut::Endpoint(socket))
    } else if session.is_http2() {
        None
    } else {
        Some(Cut::Client)
    };
}

/// The endpoint has all of the request: from now on it has `timeouts.response` to begin its answer.
pub(super) fn sent(ctx: &mut Ctx) {
    let attempt = &mut ctx.attempt;
    if attempt.wait.is_none()
        && attempt.status.is_none()
        && let (Some(connection), Some(cut)) = (&ctx.connection, attempt.cut)
        && let Some(state) = ctx.served.as_ref().and_then(|served| served.destination.state.as_ref())
    {
        attempt.wait = Some(HeadWait::begin(connection, state.spec().timeouts.response, cut));
    }
}

/// Turns the client's head into the endpoint's.
pub(super) fn write_head(session: &Session, head: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let way = ctx.way.as_ref().expect("the request was routed");
    let served = ctx.served.as_ref().expect("the request resolved");
    let destination = &served.destination;
    let Answers::Endpoints(rendered) = &destination.upstream.answers else { return Ok(()) };
    let client = session.req_header();
    let original = client.uri.path_and_query().map_or("/", |both| both.as_str());
    let path = client.uri.path();
    let inner = way.rewritten.as_deref().unwrap_or_else(|| served.resolution.path(path));
    let target = target::target(original, &rendered.path_prefix, inner);
    // Compared with the bytes that would go out, not with what they were read as: an endpoint gets what was routed.
    if target.as_bytes() != head.raw_path() {
        head.set_raw_path(target.as_bytes())?;
    }
    join_cookies(head)?;
    let pick = ctx.attempt.pick.as_ref().expect("an attempt has its endpoint");
    let upstream_host = match &rendered.host {
        RenderedHost::Keep => None,
        RenderedHost::Endpoint => Some(pick.authority()),
        RenderedHost::Set(host) => Some(host.as_str()),
    };
    let RenderedEdits { remove, set, add } = &rendered.headers;
    let request = RequestContext {
        function: destination.upstream.key.function.as_str(),
        qualifier: &destination.qualifier,
        version: destination.version(),
        stage_variables: way.stage.as_ref().map(|stage| &stage.model.variables),
        dialects: &destination.function.dialects,
        version_edits: VersionEdits { remove, set, add },
        upstream_host,
        stage_prefix: &path[..served.resolution.stage_bytes as usize],
        origin: ctx.origin.expect("request_filter saw the origin"),
        tls: ctx.is_tls(),
        port: ctx.port,
        host: super::admit::host(client),
        received_by: super::admit::received_by(client),
        request_id: ctx.request_id(),
    };
    let edits = request_edits(&request, &client.headers);
    apply(head, edits.iter())
}

/// HTTP/2 clients may send a field for each cookie; HTTP/1.1 knows one field (RFC 9113, 8.2.3).
fn join_cookies(head: &mut RequestHeader) -> Result<()> {
    if head.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let cookies: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    head.insert_header("cookie", cookies.join(&b"; "[..]))
}

/// The endpoint sent a head. A status that the version wants tried again becomes an error that says so.
pub(super) fn answered(session: &Session, head: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if head.status.is_informational() && head.status != 101 {
        return Ok(());
    }
    let status = head.status.as_u16();
    ctx.attempt.status = Some(status);
    ctx.attempt.wait = None;
    let now = clock::now();
    ctx.attempt.answer = ctx.attempt.began.map(|began| now - began);
    ctx.first_byte = Some(now - ctx.started);
    if let Some(pick) = &ctx.attempt.pick {
        pick.succeeded();
    }
    let failure = retry::Failure::Status(status);
    if again(session, ctx, failure) || charge::stands_in(session, ctx, failure) {
        let mut error = Error::explain(ErrorType::HTTPStatus(status), "a status to be tried again");
        error.as_up();
        error.set_retry(true);
        return Err(error);
    }
    Ok(())
}

/// The attempt failed: tells the endpoint's health, and decides whether another attempt follows.
pub(super) fn failed(session: &Session, ctx: &mut Ctx, mut error: Box<Error>, reused: bool) -> Box<Error> {
    if matches!(error.etype(), ErrorType::HTTPStatus(_)) {
        // Decided in `answered`, or an answer of our own.
        return error;
    }
    if ctx.attempt.wait.take().is_some_and(|wait| wait.was_cut()) {
        error = Error::explain(ErrorType::ReadTimedout, "no response head within timeouts.response");
        error.as_up();
    }
    if let (Some(pick), Some(failure)) = (&ctx.attempt.pick, fault::of(&error, reused)) {
        pick.failed(failure);
    }
    let retry =
        kind(&error).is_some_and(|failure| again(session, ctx, failure) || charge::stands_in(session, ctx, failure));
    error.set_retry(retry);
    error
}

/// What a failure means for another attempt; `None` when it is not the endpoint's.
fn kind(error: &Error) -> Option<retry::Failure> {
    if *error.esource() != ErrorSource::Upstream {
        return None;
    }
    Some(match fault::of(error, false)? {
        Failure::Connect => retry::Failure::Unsent,
        Failure::Reset => retry::Failure::Reset,
        Failure::Timeout => retry::Failure::Timeout,
    })
}

/// The request after a failed attempt, as policy sees it.
pub(super) fn made<'s>(session: &'s Session, ctx: &Ctx) -> retry::Attempt<'s> {
    let head = session.req_header();
    retry::Attempt {
        method: head.method.as_str(),
        idempotency_key: head.headers.contains_key("idempotency-key"),
        body: if session.as_ref().retry_buffer_truncated() { retry::Body::Gone } else { retry::Body::Replayable },
        answered: session.response_written().is_some(),
        made: ctx.attempts - ctx.attempts_before,
    }
}

fn again(session: &Session, ctx: &Ctx, failure: retry::Failure) -> bool {
    let Some(served) = &ctx.served else { return false };
    let Some(state) = &served.destination.state else { return false };
    let unseen = match failure {
        retry::Failure::Unsent => true,
        // The endpoint had closed an idle connection.
        retry::Failure::Reset => ctx.attempt.reused,
        retry::Failure::Timeout | retry::Failure::Status(_) => false,
    };
    // A spare gets a request once.
    if ctx.stand_in.is_some() && !unseen {
        return false;
    }
    let attempt = made(session, ctx);
    let again = retry::again(&attempt, failure, &state.spec().retries, || state.budget().try_take());
    if again {
        served.destination.upstream_series.retried(match failure {
            retry::Failure::Unsent => Retry::Connect,
            retry::Failure::Reset => Retry::Reset,
            retry::Failure::Timeout => Retry::Timeout,
            retry::Failure::Status(_) => Retry::Status,
        });
    }
    again
}
