//! The answer that a client gets: the facts of its head, the edits of it, and the record of a request that is over.

use std::time::Duration;

use config::model::KeySource;
use config::route::head::Headers;
use config::route::resolve::Reason;
use config::value::name::AliasName;
use prometheus::IntGauge;

use super::{
    Attempting, ClientConnection, HeadView, HttpVersion, Reached, Received, RequestFields, Worker, is_grpc_type,
};
use crate::clock;
use crate::live::Served;
use crate::log::{AccessLine, EndReason, Resolved};
use crate::policy::Edits;
use crate::policy::context::{IssuedCookie, ResponseContext};
use crate::policy::headers::{response_edits, trace_id};
use crate::policy::outcome::{GRPC_UNKNOWN, class};
use crate::policy::refusal::Refusal;

/// The facts of an answer whose head is on its way to the client.
#[derive(Debug)]
pub struct Answered {
    /// The time from the request's head to the head of the answer.
    pub first_byte: Duration,
    /// The kind of a long-lived answer.
    pub long_lived: Option<LongLived>,
    /// The status of the gRPC call that is being answered, as far as it is known.
    grpc: Option<u16>,
    /// Counted while a long-lived answer is under way.
    stream: Option<OpenStream>,
}

/// Answers that may pause for long, and whose end is not waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongLived {
    /// 101: bytes of another protocol.
    Tunnel,
    /// `text/event-stream`.
    EventStream,
    /// `application/grpc` and its relatives.
    Grpc,
}

impl LongLived {
    fn of(status: u16, content_type: &[u8]) -> Option<Self> {
        if status == 101 {
            Some(Self::Tunnel)
        } else if content_type.starts_with(b"text/event-stream") {
            Some(Self::EventStream)
        } else {
            content_type.starts_with(b"application/grpc").then_some(Self::Grpc)
        }
    }
}

/// A long-lived exchange, counted until it is dropped.
#[derive(Debug)]
struct OpenStream(IntGauge);

impl OpenStream {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Answered {
    /// The gateway answers for itself.
    #[must_use]
    pub fn by_gateway(received: &Received) -> Self {
        Self { first_byte: clock::now() - received.started, long_lived: None, grpc: None, stream: None }
    }

    /// An endpoint answers, with this status and these fields.
    pub fn by_endpoint<H: Headers + ?Sized>(worker: &Worker, received: &Received, status: u16, fields: &H) -> Self {
        let kind = fields.get("content-type").unwrap_or_default();
        let long_lived = LongLived::of(status, kind);
        let gauge = long_lived.map(|kind| match kind {
            LongLived::Tunnel => &worker.metrics.websockets,
            LongLived::EventStream => &worker.metrics.event_streams,
            LongLived::Grpc => &worker.metrics.grpc_calls,
        });
        Self {
            first_byte: clock::now() - received.started,
            long_lived,
            grpc: is_grpc_type(kind).then(|| grpc_status(fields)),
            stream: gauge.map(OpenStream::new),
        }
    }

    /// The end of the endpoint's answer, where a gRPC call has its status.
    pub fn trailers<H: Headers + ?Sized>(&mut self, trailers: &H) {
        if self.grpc.is_some() {
            self.grpc = Some(grpc_status(trailers));
        }
    }

    /// The status of the gRPC call, if it was one.
    #[must_use]
    pub fn grpc(&self) -> Option<u16> {
        self.grpc
    }

    /// The answer is over.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }
}

/// Makes the edits of a version or a refusal for the head of an answer.
///
/// `answered_by` is the protocol of the endpoint, `None` where the gateway answers for itself. `with` takes the edits.
pub fn with_response_edits<R>(
    reached: &Reached,
    received: &Received,
    client: &ClientConnection<'_>,
    answered_by: Option<HttpVersion>,
    with: impl FnOnce(&Edits<'_>) -> R,
) -> R {
    let served = reached.served();
    let domain = reached.way().and_then(|way| way.domain.as_ref());
    let key = served.and_then(|served| served.resolution.issued).map(|issued| issued.to_string());
    let response = ResponseContext {
        version: served.map(|served| served.destination.version()),
        shielded_from: served.and_then(Served::shielded_from),
        version_header: served.is_some() && domain.is_none_or(|domain| domain.version_header),
        dialects: served.map_or(&[], |served| &served.destination.function.dialects),
        request_id: received.id.as_bytes(),
        cookie: served.zip(key.as_deref()).and_then(|(served, key)| cookie(served, key, client.tls.is_some())),
        received_by: answered_by.map(HttpVersion::via),
    };
    with(&response_edits(&response))
}

/// The cookie with the routing key that was issued to this client.
fn cookie<'a>(served: &'a Served, key: &'a str, secure: bool) -> Option<IssuedCookie<'a>> {
    let alias: AliasName = served.destination.alias()?.parse().ok()?;
    let alias = served.destination.function.aliases.get(&alias)?;
    match alias.key.get(served.resolution.issued?.source as usize)? {
        KeySource::IssueCookie { name, max_age } => {
            Some(IssuedCookie { name, key, max_age: max_age.as_secs(), secure })
        }
        _ => None,
    }
}

fn grpc_status<H: Headers + ?Sized>(fields: &H) -> u16 {
    let status = fields.get("grpc-status").and_then(|value| str::from_utf8(value).ok()?.parse().ok());
    status.unwrap_or(GRPC_UNKNOWN)
}

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
        let duration = now - request.received.started;
        if let Some(resolved) = request.reached.resolved_mut() {
            let (attempt, answered) = (request.attempt.as_deref(), request.answered.as_deref());
            let grpc = answered.and_then(Answered::grpc);
            let latency = match attempt {
                Some(attempt) => attempt.latency(request.received),
                None => answered.map(|answered| answered.first_byte),
            };
            resolved.over(class(ending.end, ending.refusal, ending.status, grpc), latency, now);
            let destination = &resolved.served.destination;
            destination.series.ended(ending.status, duration);
            if let Some(time) = attempt.and_then(Attempting::answer_time) {
                destination.upstream_series.duration.observe(time);
            }
            if let Some(time) = attempt.and_then(Attempting::connect_time) {
                destination.upstream_series.connect.observe(time);
            }
        }
        if self.access.is_on() {
            self.write_line(client, head, &request, ending, duration);
        }
        // Frees the endpoint before the rest of the request's body is read.
        if let Some(attempt) = request.attempt {
            attempt.release();
        }
        if let Some(answered) = request.answered {
            answered.close();
        }
    }

    fn write_line<F: RequestFields + ?Sized>(
        &self,
        client: &ClientConnection<'_>,
        head: &HeadView<'_, F>,
        request: &Finished<'_>,
        ending: &Ending<'_>,
        duration: Duration,
    ) {
        let Finished { received, reached, .. } = request;
        let (attempt, answered) = (request.attempt.as_deref(), request.answered.as_deref());
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
                owed: owed(served),
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

/// The part of each version that the alias had carried over when the request drew its slot.
fn owed(served: &Served) -> Option<&str> {
    let is_slot = matches!(served.resolution.reason, Reason::Slot(_));
    served.destination.owed.as_deref().filter(|_| is_slot)
}
