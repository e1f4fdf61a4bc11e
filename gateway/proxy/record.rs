//! What is remembered of a request: counts, times, and one line in the access log.

use std::time::Duration;

use pingora::proxy::Session;
use pingora_core::Error;

use super::Proxy;
use super::admit::{self, received_by};
use super::charge;
use super::ctx::Ctx;
use super::respond::end_of;
use crate::clock;
use crate::log::{AccessLine, EndReason, Resolved};
use crate::policy::headers::trace_id;

impl Proxy {
    pub(super) fn record(&self, session: &Session, error: Option<&Error>, ctx: &mut Ctx) {
        let now = clock::now();
        let duration = now - ctx.started;
        let status = session.response_written().map(|head| head.status.as_u16());
        let end = ctx.end.unwrap_or_else(|| error.map_or(EndReason::Answered, end_of));
        charge::ended(ctx, end, status, now);
        if let Some(served) = &ctx.served {
            served.destination.series.ended(status, duration);
            let upstream = &served.destination.upstream_series;
            if let Some(time) = ctx.attempt.answer {
                upstream.duration.observe(time);
            }
            if let Some(time) = ctx.attempt.connect {
                upstream.connect.observe(time);
            }
        }
        if self.access.is_on() {
            self.write_line(session, ctx, (status, duration, end));
        }
        // Frees the endpoint before the rest of the request's body is read.
        ctx.attempt.pick = None;
        ctx.stand_in = None;
        ctx.stream = None;
    }

    fn write_line(&self, session: &Session, ctx: &Ctx, (status, duration, end): (Option<u16>, Duration, EndReason)) {
        let head = session.req_header();
        let field = |name: &str| head.headers.get(name).map(http::HeaderValue::as_bytes);
        let origin = ctx.origin.expect("request_filter saw the origin");
        let endpoint = ctx.attempt.pick.as_ref().map(|pick| pick.address().to_string());
        let tls = ctx.connection.as_ref().and_then(|connection| connection.tls.as_ref());
        let (way, served) = (ctx.way.as_ref(), ctx.served.as_ref());
        let received = ctx.connection.as_ref().and_then(|connection| connection.take_received_target());
        let (path, query) = match &received {
            Some(target) => split_query(target),
            None => (head.uri.path().as_bytes(), head.uri.query().map(str::as_bytes)),
        };
        self.access.write(&AccessLine {
            time: clock::unix().saturating_sub(duration),
            duration,
            ttfb: ctx.first_byte,
            upstream_connect: ctx.attempt.connect,
            upstream_time: ctx.attempt.answer,
            method: head.method.as_str().as_bytes(),
            host: admit::host(head).as_bytes(),
            path,
            query,
            protocol: match received_by(head) {
                "2" => "HTTP/2",
                "1.0" => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            status,
            upstream_status: ctx.attempt.status,
            bytes_in: ctx.body_bytes,
            bytes_out: ctx.sent_bytes,
            client: origin.client,
            peer: origin.peer,
            route: way.and_then(|way| Some(way.route.as_ref()?.as_str())),
            resolved: served.map(|served| Resolved {
                function: served.destination.upstream.key.function.as_str(),
                alias: served.destination.alias(),
                version: served.destination.version(),
                shielded_from: served.shielded_from(),
                reason: served.resolution.reason.as_str(),
                position: served.resolution.reason.position().map(|number| (served.resolution.reason.as_str(), number)),
            }),
            revision: way.map_or(0, |way| way.revision),
            endpoint: endpoint.as_deref(),
            attempts: ctx.attempts,
            reused: ctx.attempt.reused,
            tls: tls.map(|tls| tls.version),
            sni: tls.map(|tls| &*tls.sni),
            request_id: ctx.request_id(),
            trace_id: trace_id(&head.headers),
            user_agent: field("user-agent"),
            referer: field("referer"),
            end,
        });
    }
}

/// A request target without its query, and the query.
fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}
