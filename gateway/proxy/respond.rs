//! Heads of answers, answers that the gateway makes itself, and the end of a request.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::{FailToProxy, Session};
use pingora_core::{Error, ErrorType, OrErr, Result};

use super::ctx::Ctx;
use super::{Proxy, attempt, fault, view};
use crate::log::EndReason;
use crate::policy::answer::{Answer, Reply};
use crate::policy::exchange::answered::{LongLived, with_response_edits};
use crate::policy::exchange::{Answered, AttemptFailure, Ending, Finished, HttpVersion};
use crate::policy::hop::hop_by_hop;
use crate::policy::refusal::Refusal;
use crate::policy::{Edits, FieldName, framing};

/// Frames the body so that the client can find its end.
fn frame(session: &mut Session, answer: &mut http::response::Parts) {
    let request = session.req_header();
    if view::version(request.version).knows_http11() {
        return;
    }
    let ends_with_connection = framing::ends_with_connection(&request.method, answer.status, &answer.headers);
    answer.headers.remove(TRANSFER_ENCODING);
    if ends_with_connection {
        session.set_keepalive(None);
    }
}

/// True if the client says in any of its `Connection` fields that this is its last request; pingora reads the first one alone.
fn asks_for_the_end(session: &Session) -> bool {
    let fields = session.req_header().headers.get_all(CONNECTION);
    let mut words =
        fields.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    words.any(|word| word.eq_ignore_ascii_case(b"close"))
}

/// Drops from an interim head what belongs to the endpoint's connection, and a length, which such a head has not (RFC 9110,
/// section 8.6).
fn edit_interim(head: &mut ResponseHeader) {
    for name in hop_by_hop(&head.headers) {
        head.remove_header(&*name);
    }
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.remove_header(&name);
    }
}

fn edit(fields: &mut HeaderMap, ctx: &Ctx, answered_by: Option<HttpVersion>) -> Result<()> {
    let Some(received) = &ctx.received else { return Ok(()) };
    let client = view::client(ctx.connection.as_deref());
    with_response_edits(&ctx.reached, received, &client, answered_by, |edits| view::apply(fields, edits))
}

impl Proxy {
    /// Edits the head of an endpoint's answer for the client.
    pub(super) fn edit_head(&self, session: &mut Session, head: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if view::is_interim(head.status) {
            edit_interim(head);
            return Ok(());
        }
        if ctx.connection.as_ref().is_some_and(|connection| connection.is_closing()) || asks_for_the_end(session) {
            session.set_keepalive(None);
        }
        let reason = head.get_reason_phrase().filter(|reason| head.status.canonical_reason() != Some(reason));
        let reason = reason.map(str::to_owned);
        let mut parts = view::take_response(head);
        if parts.status == StatusCode::NO_CONTENT {
            // It has none (RFC 9110, section 8.6), and clients of HTTP/2 take it for an error.
            parts.headers.remove(CONTENT_LENGTH);
        }
        if parts.status != 101 {
            for name in hop_by_hop(&parts.headers) {
                parts.headers.remove(&*name);
            }
            // pingora passes trailers on between HTTP/2 connections alone.
            if parts.version != Version::HTTP_2 {
                parts.headers.remove(TRAILER);
            }
        } else if let Some(connection) = &ctx.connection {
            connection.begin_tunnel();
        }
        frame(session, &mut parts);
        edit(&mut parts.headers, ctx, Some(view::version(parts.version)))?;
        if parts.version == Version::HTTP_10 {
            // Each side of a gateway speaks its own version (RFC 9110, section 2.5).
            parts.version = Version::HTTP_11;
        }
        *head = ResponseHeader::from(parts);
        if reason.is_some() {
            head.set_reason_phrase(reason.as_deref())?;
        }
        if let Some(received) = &ctx.received {
            let status = head.status.as_u16();
            let answered = Answered::by_endpoint(&self.worker, received, status, &head.headers);
            if let (Some(LongLived::EventStream), Some(connection)) = (answered.long_lived, &ctx.connection) {
                connection.begin_endless_answer();
            }
            if let (Some(_), Some(client)) = (answered.long_lived, &ctx.client_side) {
                client.streams();
            }
            let may_pause = matches!(answered.long_lived, Some(LongLived::EventStream | LongLived::Tunnel));
            ctx.answered = Some(answered);
            if may_pause {
                attempt::answering(ctx);
            }
        }
        Ok(())
    }

    /// Answers instead of an endpoint.
    pub(super) async fn answer(&self, session: &mut Session, ctx: &mut Ctx, answer: Answer<'_>) -> Result<()> {
        ctx.end = Some(answer.end());
        ctx.refusal = answer.refusal();
        let is_closing = ctx.connection.as_ref().is_some_and(|connection| connection.is_closing());
        // What is left of the body is not worth reading.
        if answer.closes() || is_closing || !session.is_body_empty() {
            session.set_keepalive(None);
        }
        let request = session.req_header();
        let accept = request.headers.get(ACCEPT).map(http::HeaderValue::as_bytes);
        let reply = answer.reply(request.method.as_str(), accept);
        let (head, body) = write_reply(&reply, ctx)?;
        ctx.answered = ctx.received.as_ref().map(Answered::by_gateway);
        ctx.sent_bytes = body.len() as u64;
        session.write_response_header(Box::new(head), body.is_empty()).await?;
        if !body.is_empty() {
            session.write_response_body(Some(body), true).await?;
        }
        Ok(())
    }

    /// Answers for a request that failed, if there is still somebody to answer and nothing was said yet.
    pub(super) async fn answer_failure(&self, session: &mut Session, ctx: &mut Ctx, error: &Error) -> FailToProxy {
        let failure = failure_of(ctx, error);
        let unsaid = view::answered_status(session).is_none();
        let refusal = ctx.refusal.or_else(|| failure.refusal());
        ctx.refusal = refusal;
        ctx.end = Some(end_of(refusal));
        let Some(answer) = refusal.map(Answer::of) else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        let error_code = answer.status();
        if unsaid {
            session.set_keepalive(None);
            if let Err(error) = self.answer(session, ctx, answer).await {
                tracing::debug!("the client left before its answer: {error}");
            }
        } else {
            substitute(session, ctx, answer);
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// The request is over: counts it and writes it down.
    pub(super) fn record(&self, session: &Session, error: Option<&Error>, ctx: &mut Ctx) {
        // The socket to the endpoint may be another request's from now on.
        ctx.watch = None;
        let Some(received) = &ctx.received else { return };
        let (end, refusal) = match (ctx.end, error) {
            (Some(end), _) => (end, ctx.refusal),
            (None, Some(error)) => {
                let refusal = failure_of(ctx, error).refusal();
                (end_of(refusal), refusal)
            }
            (None, None) => (EndReason::Answered, None),
        };
        if error.is_none()
            && ctx.end.is_none()
            && let Some(attempt) = &ctx.attempt
        {
            attempt.completed();
        }
        let target = ctx.connection.as_ref().and_then(|connection| connection.take_received_target());
        let ending = Ending {
            end,
            refusal,
            status: ctx.substituted.or_else(|| view::answered_status(session)),
            bytes_in: ctx.body_bytes,
            bytes_out: ctx.sent_bytes,
            head_time: ctx.connection.as_ref().map_or(Duration::ZERO, |connection| connection.head_time()),
            target: target.as_deref(),
        };
        let finished = Finished {
            received,
            reached: &mut ctx.reached,
            attempt: ctx.attempt.as_mut(),
            answered: ctx.answered.as_mut(),
        };
        let client = view::client(ctx.connection.as_deref());
        self.worker.record(&client, &view::head(session.req_header()), finished, &ending);
    }
}

/// The end reason of a request that failed; a client that left gets no refusal.
fn end_of(refusal: Option<Refusal>) -> EndReason {
    refusal.map_or(EndReason::ClientLeft, Refusal::end)
}

/// Answers in the place of an endpoint whose small answer broke off before anything of it left the gateway.
fn substitute(session: &Session, ctx: &mut Ctx, answer: Answer<'_>) {
    let unsent = ctx.client_side.as_ref().is_some_and(|client| !client.is_answered());
    let request = session.req_header();
    if unsent
        && request.version != Version::HTTP_2
        && let (Some(connection), Some(received)) = (&ctx.connection, &ctx.received)
    {
        let accept = request.headers.get(ACCEPT).map(http::HeaderValue::as_bytes);
        ctx.substituted = Some(answer.status());
        let reply = answer.reply(request.method.as_str(), accept);
        ctx.sent_bytes = reply.body.len() as u64;
        connection.substitute(reply.to_http1(received.id.as_bytes()));
    }
}

/// The failure of the request: the attempt's, or one outside of any attempt.
fn failure_of(ctx: &Ctx, error: &Error) -> AttemptFailure {
    ctx.failure.unwrap_or_else(|| fault::of(error, false))
}

fn write_reply(reply: &Reply<'_>, ctx: &Ctx) -> Result<(ResponseHeader, Bytes)> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(reply.status).or_err(ErrorType::InternalError, "a status is 200 to 599")?;
    let mut answer = Edits::default();
    for (name, value) in &reply.headers {
        answer.add(FieldName::Given(name), value.as_bytes());
    }
    view::apply(&mut parts.headers, &answer)?;
    edit(&mut parts.headers, ctx, None)?;
    Ok((ResponseHeader::from(parts), Bytes::copy_from_slice(&reply.body)))
}
