//! The head of the answer that a client gets: what is remembered of it, and the edits of it.

use std::time::Duration;

use config::head::Headers;
use config::model::KeySource;
use config::name::AliasName;
use prometheus::IntGauge;

use super::{Attempting, ClientConnection, HttpVersion, Reached, Received, Worker};
use crate::clock;
use crate::live::Served;
use crate::policy::Edits;
use crate::policy::context::{IssuedCookie, ResponseContext};
use crate::policy::headers::response_edits;
use crate::policy::outcome::GRPC_UNKNOWN;

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
        let grpc = kind.strip_prefix(b"application/grpc");
        Self {
            first_byte: clock::now() - received.started,
            long_lived,
            // Not gRPC-Web: its status is in the body.
            grpc: matches!(grpc, Some([] | [b'+' | b';', ..])).then(|| grpc_status(fields)),
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

impl Attempting {
    /// The whole answer went to the client.
    pub fn completed(&self) {
        if let Some(pick) = self.pick() {
            pick.completed();
        }
    }
}
