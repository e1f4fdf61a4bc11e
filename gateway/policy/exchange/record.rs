//! The record of a request: counts, times, and one line in the access log.

use std::time::Duration;

use super::{Answered, Attempting, ClientConnection, HeadView, Reached, Received, RequestFields, Worker};
use crate::clock;
use crate::log::{AccessLine, EndReason, Resolved};
use crate::policy::headers::trace_id;
use crate::policy::outcome::class;
use crate::policy::refusal::Refusal;

/// The end of a request, as its lane saw it.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'e> {
    /// The reason.
    pub end: EndReason,
    /// The row of the table, where the request was turned away.
    pub refusal: Option<Refusal>,
    /// The status that the client got; `None` when nothing was sent.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The time from the first byte of the request's head to its last.
    pub head_time: Duration,
    /// The target as the client sent it, where the lane saw another form of it.
    pub target: Option<&'e [u8]>,
}

/// Everything that is known of a request at its end.
#[derive(Debug)]
pub struct Finished<'r> {
    /// The part that comes from its head.
    pub received: &'r Received,
    /// The step that it had reached.
    pub reached: &'r mut Reached,
    /// The last attempt, if there was one.
    pub attempt: Option<&'r mut Attempting>,
    /// The answer, if there was one.
    pub answered: Option<&'r mut Answered>,
}

impl Worker {
    /// Counts a request that is over, writes it down, and frees what it held.
    pub fn record<F: RequestFields + ?Sized>(
        &self,
        client: &ClientConnection<'_>,
        head: &HeadView<'_, F>,
        request: Finished<'_>,
        ending: &Ending<'_>,
    ) {
        let now = clock::now();
        let Finished { received, reached, attempt, answered } = request;
        let duration = now - received.started;
        if let Some(resolved) = reached.resolved_mut() {
            let grpc = answered.as_ref().and_then(|answered| answered.grpc());
            let latency = match &attempt {
                Some(attempt) => attempt.latency(received),
                None => answered.as_ref().map(|answered| answered.first_byte),
            };
            resolved.over(class(ending.end, ending.refusal, ending.status, grpc), latency, now);
            let destination = &resolved.served.destination;
            destination.series.ended(ending.status, duration);
            if let Some(time) = attempt.as_ref().and_then(|attempt| attempt.answer_time()) {
                destination.upstream_series.duration.observe(time);
            }
            if let Some(time) = attempt.as_ref().and_then(|attempt| attempt.connect_time()) {
                destination.upstream_series.connect.observe(time);
            }
        }
        if self.access.is_on() {
            let known = Known { received, reached, attempt: attempt.as_deref(), answered: answered.as_deref() };
            self.write_line(client, head, &known, ending, duration);
        }
        // Frees the endpoint before the rest of the request's body is read.
        if let Some(attempt) = attempt {
            attempt.release();
        }
        if let Some(answered) = answered {
            answered.close();
        }
    }

    fn write_line<F: RequestFields + ?Sized>(
        &self,
        client: &ClientConnection<'_>,
        head: &HeadView<'_, F>,
        known: &Known<'_>,
        ending: &Ending<'_>,
        duration: Duration,
    ) {
        let Known { received, reached, attempt, answered } = *known;
        let (way, served) = (reached.way(), reached.served());
        let endpoint = attempt.and_then(Attempting::pick).map(|pick| pick.address().to_string());
        self.access.write(&AccessLine {
            time: clock::unix().saturating_sub(duration + ending.head_time),
            duration: duration + ending.head_time,
            ttfb: answered.map(|answered| answered.first_byte + ending.head_time),
            upstream_connect: attempt.and_then(Attempting::connect_time),
            upstream_time: attempt.and_then(Attempting::answer_time),
            method: Some(head.method.as_bytes()),
            host: Some(head.host.as_bytes()),
            target: ending.target,
            path: Some(head.path.as_bytes()),
            query: head.query.map(str::as_bytes),
            protocol: Some(head.version.name()),
            status: ending.status,
            upstream_status: attempt.and_then(Attempting::status),
            bytes_in: ending.bytes_in,
            bytes_out: ending.bytes_out,
            client: received.origin.client,
            peer: received.origin.peer,
            route: way.and_then(|way| Some(way.route.as_ref()?.as_str())),
            resolved: served.map(|served| Resolved {
                function: served.destination.upstream.key.function.as_str(),
                alias: served.destination.alias(),
                version: served.destination.version(),
                shielded_from: served.shielded_from(),
                reason: served.resolution.reason.as_str(),
                position: served.resolution.reason.position().map(|number| (served.resolution.reason.as_str(), number)),
            }),
            revision: way.map(|way| way.revision),
            suppressed: 0,
            endpoint: endpoint.as_deref(),
            attempts: reached.resolved().map_or(0, |resolved| resolved.attempts()),
            reused: attempt.is_some_and(Attempting::is_reused),
            tls: client.tls.map(|tls| tls.version),
            sni: client.tls.map(|tls| tls.sni),
            request_id: received.id.as_bytes(),
            trace_id: trace_id(head.fields),
            user_agent: head.field("user-agent"),
            referer: head.field("referer"),
            end: ending.end,
        });
    }
}

/// The same as [`Finished`], to be read.
#[derive(Clone, Copy)]
struct Known<'r> {
    received: &'r Received,
    reached: &'r Reached,
    attempt: Option<&'r Attempting>,
    answered: Option<&'r Answered>,
}
