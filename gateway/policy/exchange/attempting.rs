//! One attempt at an endpoint, and whether another one follows.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use config::route::table::{Answers, RenderedEdits, RenderedHost};

use super::answered::LongLived;
use super::{ClientConnection, HeadView, Received, RequestFields, Resolved, Worker};
use crate::clock;
use crate::policy::context::{RequestContext, VersionEdits};
use crate::policy::headers::request_edits;
use crate::policy::refusal::Refusal;
use crate::policy::retry::{self, Failure};
use crate::policy::{Edits, Fields, target};
use crate::upstreams::{self, Pick};

/// The attempt under way, or the last one.
#[derive(Debug)]
pub struct Attempting {
    /// The endpoint, in flight until it is released.
    pick: Option<Pick>,
    began: Instant,
    /// Connecting, TLS included; `None` on a reused connection.
    connect: Option<Duration>,
    reused: bool,
    /// The time at which the endpoint had the whole request.
    sent: Option<Instant>,
    /// The time at which the head of an answer came, and its status.
    answer: Option<(Instant, u16)>,
}

/// The failure of an attempt, as a lane saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection came about.
    Connect,
    /// The endpoint refused the HTTP/2 stream unprocessed (RFC 9113, section 8.7), or is going away and did not take it.
    RefusedStream,
    /// The connection ended before the answer was whole.
    Reset,
    /// The endpoint's answer breaks the protocol.
    Protocol,
    /// The endpoint was silent for too long, or did not take what was sent.
    Timeout,
    /// The client holds its body back until the endpoint asks for it, which it did not.
    NoContinue,
    /// Both sides of an event stream, a gRPC call or a tunnel were silent, as they may be.
    IdleStream,
    /// The client left.
    ClientLeft,
    /// The client paused its upload for too long.
    SlowClient,
    /// The client's head cannot be passed on.
    MalformedHead,
    /// The client's body is malformed.
    MalformedBody,
    /// The client's body is too large.
    BodyTooLarge,
    /// The gateway lacks something, such as a descriptor.
    Overloaded,
    /// The gateway failed.
    Internal,
}

impl AttemptFailure {
    /// The failure as retries see it; `None` when it is not the endpoint's fault.
    fn retry(self) -> Option<Failure> {
        match self {
            Self::Connect | Self::RefusedStream => Some(Failure::Unsent),
            Self::Reset | Self::Protocol => Some(Failure::Reset),
            Self::Timeout => Some(Failure::Timeout),
            Self::NoContinue
            | Self::IdleStream
            | Self::ClientLeft
            | Self::SlowClient
            | Self::MalformedHead
            | Self::MalformedBody
            | Self::BodyTooLarge
            | Self::Overloaded
            | Self::Internal => None,
        }
    }

    /// The same, behind the head of a long-lived answer: there, silence is no failure.
    #[must_use]
    pub fn in_answer(self, long_lived: Option<LongLived>) -> Self {
        match (self, long_lived) {
            (Self::Timeout, Some(_)) => Self::IdleStream,
            _ => self,
        }
    }

    /// The failure as the endpoint's health sees it. A connection that the endpoint closed while it was idle, and a
    /// stream that it refused because it is going away, are none.
    fn health(self, reused: bool) -> Option<upstreams::Failure> {
        match self {
            Self::Connect => Some(upstreams::Failure::Connect),
            Self::Reset | Self::Protocol => (!reused).then_some(upstreams::Failure::Reset),
            Self::Timeout => Some(upstreams::Failure::Timeout),
            _ => None,
        }
    }

    /// The answer to a client that is still there; `None` when it is not.
    #[must_use]
    pub fn refusal(self) -> Option<Refusal> {
        Some(match self {
            Self::Connect => Refusal::ConnectFailed,
            Self::RefusedStream | Self::Reset => Refusal::UpstreamReset,
            Self::Protocol => Refusal::UpstreamProtocol,
            Self::Timeout => Refusal::UpstreamTimeout,
            Self::ClientLeft => return None,
            Self::SlowClient => Refusal::SlowBody,
            Self::NoContinue => Refusal::NoContinue,
            Self::IdleStream => Refusal::IdleStream,
            Self::MalformedHead => Refusal::MalformedHead,
            Self::MalformedBody => Refusal::MalformedBody,
            Self::BodyTooLarge => Refusal::BodyTooLarge,
            Self::Overloaded => Refusal::Overloaded,
            Self::Internal => Refusal::Internal,
        })
    }
}

/// The next step after a head or a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt.
    Again,
    /// The answer, or the failure, goes to the client.
    Over,
}

/// A request as an endpoint gets it: the target, and the edits of the client's fields.
pub struct EndpointRequest<'a> {
    /// Path and query.
    pub target: Cow<'a, str>,
    /// The edits, to be applied after hop-by-hop fields were dropped.
    pub edits: Edits<'a>,
}

impl Attempting {
    pub(super) fn new(pick: Pick, began: Instant) -> Self {
        Self { pick: Some(pick), began, connect: None, reused: false, sent: None, answer: None }
    }

    /// The endpoint, until it is released.
    #[must_use]
    pub fn pick(&self) -> Option<&Pick> {
        self.pick.as_ref()
    }

    /// The time at which the attempt began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The attempt has a connection, new or `reused`.
    pub fn connected(&mut self, reused: bool) {
        self.reused = reused;
        self.connect = (!reused).then(|| clock::now() - self.began);
    }

    /// The endpoint has all of the request: from now on it is waited for.
    pub fn sent(&mut self) {
        self.sent.get_or_insert_with(clock::now);
    }

    /// True if the endpoint has all of the request.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// The status that the endpoint answered with.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.answer.map(|(_, status)| status)
    }

    /// Connecting to the endpoint; `None` on a reused connection.
    #[must_use]
    pub fn connect_time(&self) -> Option<Duration> {
        self.connect
    }

    /// True if the connection was used before.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// The time from the request's last byte to the head of the answer; 0 if the endpoint answered before it had all of
    /// it.
    #[must_use]
    pub fn answer_time(&self) -> Option<Duration> {
        self.answer.map(|(at, _)| self.sent.map_or(Duration::ZERO, |sent| at.saturating_duration_since(sent)))
    }

    /// The time that the gateway and its endpoints took to begin the answer, without the time of the client's upload.
    pub(super) fn latency(&self, received: &Received) -> Option<Duration> {
        let (at, _) = self.answer?;
        let connected = self.began + self.connect.unwrap_or_default();
        let upload = self.sent.unwrap_or(at).saturating_duration_since(connected);
        Some(at.saturating_duration_since(received.started).saturating_sub(upload))
    }

    /// A part of the answer came that shows it to be under way: a part of its body, or the head of one that may pause for long.
    pub fn answering(&self, received: &Received, resolved: &mut Resolved) {
        if self.answer.is_some_and(|(_, status)| status < 500) {
            resolved.answering(self.latency(received), clock::now);
        }
    }

    /// Frees the endpoint.
    pub(super) fn release(&mut self) {
        self.pick = None;
    }

    /// The request as this endpoint gets it.
    ///
    /// # Errors
    /// [`Refusal::Internal`] if the version has no endpoints.
    pub fn request<'a, F: RequestFields + ?Sized>(
        &'a self,
        worker: &Worker,
        (received, resolved): (&'a Received, &'a Resolved),
        client: &ClientConnection<'a>,
        head: &HeadView<'a, F>,
    ) -> Result<EndpointRequest<'a>, Refusal> {
        let (way, destination) = (&resolved.way, &resolved.served.destination);
        let Answers::Endpoints(rendered) = &destination.upstream.answers else { return Err(Refusal::Internal) };
        let pick = self.pick.as_ref().ok_or(Refusal::Internal)?;
        let inner = way.rewritten.as_deref().unwrap_or_else(|| way.routed.path(head.path));
        let RenderedEdits { remove, set, add } = &rendered.headers;
        let request = RequestContext {
            function: destination.upstream.key.function.as_str(),
            qualifier: &destination.qualifier,
            version: destination.version(),
            stage_variables: way.stage.as_ref().map(|stage| &stage.model.variables),
            dialects: &destination.function.dialects,
            version_edits: VersionEdits { remove, set, add },
            upstream_host: match &rendered.host {
                RenderedHost::Keep => None,
                RenderedHost::Endpoint => Some(pick.authority()),
                RenderedHost::Set(host) => Some(host.as_str()),
            },
            stage_prefix: &head.path[..way.routed.stage_bytes as usize],
            origin: received.origin,
            tls: client.tls.is_some(),
            port: worker.ports[client.listener],
            host: head.host,
            received_by: rendered.via.then(|| head.version.via()),
            request_id: received.id.as_bytes(),
        };
        Ok(EndpointRequest {
            target: target::target(head.target, &rendered.path_prefix, inner),
            edits: request_edits(&request, head.fields),
        })
    }

    /// The endpoint sent the head of its answer, with this status. `body` is what is left of the request's body.
    pub fn answered<F: RequestFields + ?Sized>(
        &mut self,
        (received, resolved): (&Received, &mut Resolved),
        head: &HeadView<'_, F>,
        status: u16,
        body: impl FnOnce() -> (retry::Body, bool),
    ) -> Next {
        self.answer = Some((clock::now(), status));
        if let Some(pick) = &self.pick {
            pick.answered(status);
        }
        // Most answers need no second look.
        if !resolved.may_try_again(status) {
            return Next::Over;
        }
        self.next((received, resolved), head, Failure::Status(status), body())
    }

    /// The attempt broke, for a reason that operators read: tells the endpoint's health, and decides whether another
    /// attempt follows.
    pub fn failed<F: RequestFields + ?Sized>(
        &self,
        (received, resolved): (&Received, &mut Resolved),
        head: &HeadView<'_, F>,
        (failure, reason): (AttemptFailure, &dyn fmt::Display),
        body: impl FnOnce() -> (retry::Body, bool),
    ) -> Next {
        // A connection that was idle may break at its next request; one that had brought an answer's head was alive.
        let stale = self.reused && self.answer.is_none();
        // Either side ends a tunnel as it likes, and what the client sends through it may be why the endpoint does.
        let pick = self.pick.as_ref().filter(|_| self.status() != Some(101));
        match (pick, failure.health(stale)) {
            (Some(pick), Some(health @ upstreams::Failure::Connect)) => pick.failed_because(health, reason),
            (Some(pick), Some(health)) => pick.failed(health),
            _ => {}
        }
        match failure.retry() {
            Some(failure) => self.next((received, resolved), head, failure, body()),
            None => Next::Over,
        }
    }

    /// The whole answer went to the client.
    pub fn completed(&self) {
        if let Some(pick) = &self.pick {
            pick.completed();
        }
    }

    fn next<F: RequestFields + ?Sized>(
        &self,
        (received, resolved): (&Received, &mut Resolved),
        head: &HeadView<'_, F>,
        failure: Failure,
        (body, answered): (retry::Body, bool),
    ) -> Next {
        let made = resolved.made(head, body, answered);
        let again = resolved.again(&made, failure, self.reused)
            || resolved.stands_in(head, &made, failure, self.latency(received));
        if again { Next::Again } else { Next::Over }
    }
}

/// True if the head of an endpoint's answer may not go to a client: a status that is none (RFC 9110, section 15), a 101 that the
/// request did not ask for (section 15.2.2), a transfer coding other than `chunked`, behind which only the endpoint knows
/// where the body ends, or more than one `Content-Length` (section 8.6).
pub fn breaks_protocol<F: Fields + ?Sized>(status: u16, fields: &F, upgrade_asked: bool) -> bool {
    let mut codings = fields.fields().filter(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
    let lengths = fields.fields().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let unknown = |value: &[u8]| !value.trim_ascii().eq_ignore_ascii_case(b"chunked");
    status > 599
        || (status == 101 && !upgrade_asked)
        || codings.next().is_some_and(|(_, first)| unknown(first) || codings.next().is_some())
        || lengths.enumerate().any(|(at, (_, value))| at > 0 || value.contains(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::refusal::Fault;

    /// Every failure, whose fault it is, and whether a connection that was idle before excuses the endpoint.
    const TABLE: [(AttemptFailure, Option<Fault>, Option<upstreams::Failure>, bool); 14] = [
        (AttemptFailure::Connect, Some(Fault::Endpoint), Some(upstreams::Failure::Connect), false),
        (AttemptFailure::RefusedStream, Some(Fault::Endpoint), None, false),
        (AttemptFailure::Reset, Some(Fault::Endpoint), Some(upstreams::Failure::Reset), true),
        (AttemptFailure::Protocol, Some(Fault::Endpoint), Some(upstreams::Failure::Reset), true),
        (AttemptFailure::Timeout, Some(Fault::Endpoint), Some(upstreams::Failure::Timeout), false),
        (AttemptFailure::NoContinue, Some(Fault::Gateway), None, false),
        (AttemptFailure::IdleStream, Some(Fault::Gateway), None, false),
        (AttemptFailure::ClientLeft, None, None, false),
        (AttemptFailure::MalformedHead, Some(Fault::Client), None, false),
        (AttemptFailure::SlowClient, Some(Fault::Client), None, false),
        (AttemptFailure::MalformedBody, Some(Fault::Client), None, false),
        (AttemptFailure::BodyTooLarge, Some(Fault::Client), None, false),
        (AttemptFailure::Overloaded, Some(Fault::Gateway), None, false),
        (AttemptFailure::Internal, Some(Fault::Gateway), None, false),
    ];

    #[test]
    fn only_what_endpoints_do_counts_against_them() {
        for (failure, fault, health, excused) in TABLE {
            assert_eq!(failure.refusal().map(|refusal| refusal.row().fault), fault, "{failure:?}");
            assert_eq!(failure.health(false), health, "{failure:?}");
            assert_eq!(failure.health(true), health.filter(|_| !excused), "{failure:?}");
            assert_eq!(failure.retry().is_some(), fault == Some(Fault::Endpoint), "{failure:?}");
        }
    }

    #[test]
    fn answers_that_no_client_may_get() {
        let coded = |value: &'static str| [("Transfer-Encoding", value.as_bytes())];
        assert!(breaks_protocol(101, &[][..], false) && !breaks_protocol(101, &[][..], true));
        assert!(breaks_protocol(600, &[][..], false) && !breaks_protocol(599, &[][..], false));
        assert!(!breaks_protocol(200, &coded(" Chunked")[..], false));
        for coding in ["xchunked", "gzip", "gzip, chunked", ""] {
            assert!(breaks_protocol(200, &coded(coding)[..], false), "{coding}");
        }
        assert!(breaks_protocol(200, &[coded("chunked")[0], coded("chunked")[0]][..], false));
        let length = |value: &'static [u8]| ("content-length", value);
        assert!(!breaks_protocol(200, &[length(b"3")][..], false));
        assert!(breaks_protocol(200, &[length(b"3"), length(b"3")][..], false));
        assert!(breaks_protocol(200, &[length(b"3, 3")][..], false));
    }

    #[test]
    fn what_no_endpoint_has_processed_may_be_sent_again_whatever_the_method() {
        for failure in [AttemptFailure::Connect, AttemptFailure::RefusedStream] {
            assert_eq!(failure.retry(), Some(Failure::Unsent));
        }
    }
}
