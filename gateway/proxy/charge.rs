//! Which version a request's outcome counts for, and whether another version answers in its place.

use std::mem;
use std::time::{Duration, Instant};

use config::outcome::Class;
use config::resolve::Reason;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::admit::lacks_trailers;
use super::attempt;
use super::ctx::Ctx;
use crate::clock;
use crate::live::{Destination, Served};
use crate::log::EndReason;
use crate::metrics::Pick;
use crate::outcomes::{Ended, StandIn};
use crate::policy::outcome::{GRPC_UNKNOWN, class};
use crate::policy::retry::Failure;
use crate::policy::shield;

/// The endpoint's head, which may begin, or be, the answer to a gRPC call. Not gRPC-Web: its status is in the body.
pub(super) fn head(head: &ResponseHeader, ctx: &mut Ctx) {
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let is_grpc = matches!(kind.strip_prefix(b"application/grpc"), Some([] | [b'+' | b';', ..]));
    ctx.grpc = is_grpc.then(|| grpc_status(&head.headers));
}

/// The end of the endpoint's answer, where a gRPC call has its status.
pub(super) fn trailers(trailers: &HeaderMap, ctx: &mut Ctx) {
    if ctx.grpc.is_some() {
        ctx.grpc = Some(grpc_status(trailers));
    }
}

/// The request is over.
pub(super) fn ended(ctx: &Ctx, end: EndReason, status: Option<u16>, now: Instant) {
    let Some(served) = &ctx.served else { return };
    if served.resolution.fallback_from.is_some() {
        // The version that was drawn had no endpoint to try.
        charge(served, ctx.worker, Class::Connect, None, now);
    } else if ctx.stand_in.is_none() {
        let class = class(end, status, ctx.grpc);
        charge(served, ctx.worker, class, ctx.first_byte.filter(|_| has_answer(class)), now);
    }
}

/// Whether the spare answers what the version failed. Then the version has been charged, and the spare is in its place.
pub(super) fn stands_in(session: &Session, ctx: &mut Ctx, failure: Failure) -> bool {
    let Some(served) = &ctx.served else { return false };
    let Some(spare) = &served.spare else { return false };
    let attempt = attempt::made(session, ctx);
    if !shield::covers(served.destination.shield, &attempt, failure) || lacks_trailers(session.req_header(), spare) {
        return false;
    }
    let now = clock::now();
    let Some(stand_in) = admitted(spare, now) else { return false };
    let class = match failure {
        Failure::Unsent => Class::Connect,
        Failure::Reset => Class::Reset,
        Failure::Timeout => Class::Timeout,
        Failure::Status(status) => Class::of_status(status),
    };
    charge(served, ctx.worker, class, ctx.first_byte.filter(|_| has_answer(class)), now);
    spare.series.picked(Pick::Shield);
    ctx.stand_in = Some(stand_in);
    ctx.attempts_before = ctx.attempts;
    if let Some(served) = &mut ctx.served
        && let Some(spare) = served.spare.take()
    {
        served.first = Some(mem::replace(&mut served.destination, spare));
    }
    true
}

/// Lets the spare answer one request more, within its budget.
fn admitted(spare: &Destination, now: Instant) -> Option<StandIn> {
    let (outcomes, state) = (spare.outcomes.as_ref()?, spare.state.as_ref()?);
    if !state.healthy() || !shield::is_open(outcomes.recent(now)) {
        return None;
    }
    outcomes.stand_in(shield::most_at_once(state.in_flight()))
}

/// Counts the outcome for the version that was drawn, if one was.
fn charge(served: &Served, worker: usize, class: Class, latency: Option<Duration>, now: Instant) {
    if let Some(outcomes) = served.charged() {
        let bucket = if let Reason::Bucket(bucket) = served.resolution.reason { Some(bucket) } else { None };
        outcomes.ended(worker, &Ended { class, latency, bucket, at: now });
    }
}

/// Whether a request of this class had an answer whose head came from the version.
fn has_answer(class: Class) -> bool {
    match class {
        Class::Success | Class::ClientError | Class::ServerError | Class::GatewayError => true,
        Class::Connect | Class::Reset | Class::Timeout | Class::ClientGone => false,
    }
}

fn grpc_status(fields: &HeaderMap) -> u16 {
    let status = fields.get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
    status.unwrap_or(GRPC_UNKNOWN)
}
