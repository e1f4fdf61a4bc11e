//! Invocations: an event on its way to an endpoint of the version that its function's alias resolves to.
//!
//! It resolves, counts and is written down as any request is; only its bytes travel by themselves: one connection for each
//! invocation, on the thread of dialects. An event is sent once. What no endpoint was connected to for may be sent again.
//!
//! - `send`: the bytes, to an endpoint and back

mod send;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use config::dialect::event::{ProxiedRequest, packed_answer};
use config::dialect::failure::{DialectFailure, FailureKind};
use config::model::InvokeMode;
use config::route::resolve::Unresolved;
use config::route::table::Answers;
use config::value::name::{FunctionName, Qualifier, VersionId};

use super::Desk;
use crate::admin::Peer;
use crate::clock;
use crate::log::EndReason;
use crate::policy::answer::Answer;
use crate::policy::exchange::{
    Admission, Answered, AttemptFailure, Attempting, ClientConnection, ClientTls, Ending, Finished, HeadView,
    HttpVersion, Next, Reached, Received, Resolved,
};
use crate::policy::refusal::Refusal;
use crate::policy::retry::Body;

pub(super) use send::Trusted;
use send::{Sent, There, Unsent};

/// Headers of clients that are not for functions: credentials, and what is between client and gateway alone.
const OWN: [&str; 9] = [
    "authorization",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "expect",
    "accept-encoding",
    "cookie",
];
const OWN_PREFIXES: [&str; 5] = ["x-amz-", "amz-sdk-", "x-tc-", "x-acs-", "x-fc-"];

/// What is to be invoked, and with what.
pub(super) struct EventCall {
    pub(super) function: FunctionName,
    pub(super) qualifier: Qualifier,
    pub(super) event: Bytes,
    /// Fields that rules and routing keys see as headers.
    pub(super) routing: Vec<(String, String)>,
    /// The client's own, without credentials.
    pub(super) headers: HeaderMap,
    /// The host by which the client came to the gateway.
    pub(super) host: String,
    pub(super) peer: Peer,
}

/// What came of it.
pub(super) struct Invoked {
    /// The version that answered.
    pub(super) version: VersionId,
    /// What the function says, or as much of it as there is.
    pub(super) body: Bytes,
    /// Why it failed, if it did.
    pub(super) error: Option<FunctionError>,
    pub(super) took: Duration,
}

/// The failure of a function after the event was sent.
pub(super) struct FunctionError {
    /// One word.
    pub(super) kind: &'static str,
    pub(super) message: String,
}

/// The end of a log: the lines that clients look for.
pub(super) struct Tail<'i> {
    pub(super) id: &'i str,
    pub(super) invoked: &'i Invoked,
}

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, invoked } = self;
        let millis = invoked.took.as_secs_f64() * 1e3;
        writeln!(f, "START RequestId: {id} Version: {}", invoked.version)?;
        if let Some(error) = &invoked.error {
            writeln!(f, "[ERROR] {}: {}", error.kind, error.message)?;
        }
        writeln!(f, "END RequestId: {id}")?;
        let billed = millis.ceil();
        writeln!(
            f,
            "REPORT RequestId: {id}\tDuration: {millis:.2} ms\tBilled Duration: {billed} ms\tMemory Size: 128 MB\t"
        )
    }
}

/// The headers of a client without its credentials.
pub(super) fn clean_headers(headers: &HeaderMap) -> HeaderMap {
    let is_own = |name: &str| OWN.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let kept = headers.iter().filter(|(name, _)| !is_own(name.as_str()));
    let mut clean: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(context) = headers.get("x-amz-client-context") {
        clean.insert("x-amz-client-context", context.clone());
    }
    clean
}

/// The request that an endpoint gets.
struct Outgoing {
    method: String,
    path: String,
    query: Option<String>,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    /// True if the answer is packed as API Gateway wants it.
    is_proxied: bool,
}

impl Outgoing {
    fn of(call: &EventCall, mode: InvokeMode, path: &str) -> Result<Self, DialectFailure> {
        let proxied = match mode {
            InvokeMode::Event => None,
            InvokeMode::Auto => ProxiedRequest::read(&call.event)?,
            InvokeMode::Proxy => Some(ProxiedRequest::read(&call.event)?.ok_or_else(|| {
                let message =
                    "the function takes events of API Gateway alone, of payload format 2.0: `invoke: {mode: proxy}`";
                DialectFailure::new(FailureKind::WrongBody, message)
            })?),
        };
        match proxied {
            Some(ProxiedRequest { method, path, query, headers, body }) => {
                let target = query.as_ref().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
                let mut clean = headers;
                for name in ["content-length", "transfer-encoding", "connection", "expect"] {
                    clean.remove(name);
                }
                Ok(Self { method, path, query, target, headers: clean, body: body.into(), is_proxied: true })
            }
            None => {
                let mut headers = call.headers.clone();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                let (path, target) = (path.to_owned(), path.to_owned());
                let (method, body) = ("POST".to_owned(), call.event.clone());
                Ok(Self { method, path, query: None, target, headers, body, is_proxied: false })
            }
        }
    }
}

/// One invocation under way.
struct Exchange<'e> {
    desk: &'e Desk,
    call: &'e EventCall,
    outgoing: &'e Outgoing,
    host: &'e str,
    client: ClientConnection<'e>,
    received: Received,
}

/// An answer, or why there is none.
enum Came {
    Answer {
        version: VersionId,
        status: u16,
        headers: HeaderMap,
        body: Bytes,
    },
    /// After the event was sent.
    Failed {
        version: VersionId,
        failure: AttemptFailure,
    },
}

impl Desk {
    /// Checks that there is something to invoke. Draws nothing.
    ///
    /// # Errors
    /// There is not.
    pub(super) fn check_call(&self, function: &FunctionName, qualifier: &Qualifier) -> Result<(), DialectFailure> {
        let seen = self.plane.seen();
        let model = seen.function(function)?;
        let is_there = match qualifier {
            Qualifier::Version(version) => model.version(*version).is_some_and(|version| !version.retired),
            Qualifier::Alias(alias) => model.own(alias).is_some(),
        };
        let missing =
            || DialectFailure::new(FailureKind::NoQualifier, format!("Function not found: {function}:{qualifier}"));
        is_there.then_some(()).ok_or_else(missing)
    }

    /// Invokes.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) async fn invoke(&self, call: EventCall) -> Result<Invoked, DialectFailure> {
        self.check_call(&call.function, &call.qualifier)?;
        let began = clock::now();
        let settings = self.plane.seen().function(&call.function)?.invoke.clone();
        let outgoing = Outgoing::of(&call, settings.mode, &settings.path)?;
        let own = outgoing.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = own.unwrap_or(&call.host).to_owned();
        let address = call.peer.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let tls = self.is_tls.then_some(ClientTls { sni: "", version: "TLSv1.3" });
        let client = ClientConnection { address, listener: 0, tls };
        // Each piece of the exchange is small; the future is kept on the heap, because it holds them all.
        let came = Box::pin(self.exchange(&call, &outgoing, &host, client)).await?;
        Ok(invoked(came, &outgoing, clock::now() - began))
    }

    async fn exchange(
        &self,
        call: &EventCall,
        outgoing: &Outgoing,
        host: &str,
        client: ClientConnection<'_>,
    ) -> Result<Came, DialectFailure> {
        let head = outgoing.head(host);
        let routing = routing(outgoing, call);
        let (received, admission) = {
            let snapshot = self.worker.live.load();
            let received = self.worker.receive(&snapshot, &client, &head);
            let named = (&call.function, &call.qualifier);
            let admission = self.worker.admit_call(&snapshot, &received, named, &head, &routing);
            (received, admission)
        };
        let exchange = Exchange { desk: self, call, outgoing, host, client, received };
        match admission {
            Admission::Forward(resolved) => exchange.forward(resolved).await,
            Admission::Fixed(resolved) => Ok(exchange.fixed(resolved)),
            Admission::Answer(answer, reached) => Err(exchange.refused(&answer, reached)),
        }
    }
}

impl Outgoing {
    fn head<'h>(&'h self, host: &'h str) -> HeadView<'h, HeaderMap> {
        HeadView {
            method: &self.method,
            host,
            path: &self.path,
            query: self.query.as_deref(),
            target: &self.target,
            version: HttpVersion::Http11,
            fields: &self.headers,
        }
    }
}

/// The fields that rules and routing keys see: those of the routing key come first.
fn routing(outgoing: &Outgoing, call: &EventCall) -> HeaderMap {
    let mut routing = outgoing.headers.clone();
    for (name, value) in &call.routing {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            routing.insert(name, value);
        }
    }
    routing
}

impl Exchange<'_> {
    fn ending(
        &self,
        end: EndReason,
        refusal: Option<Refusal>,
        status: Option<u16>,
        bytes_out: usize,
    ) -> Ending<'static> {
        let bytes_in = self.outgoing.body.len() as u64;
        Ending { end, refusal, status, bytes_in, bytes_out: bytes_out as u64, head_time: Duration::ZERO, target: None }
    }

    fn record(
        &self,
        mut reached: Reached,
        attempt: Option<&mut Attempting>,
        answered: Option<&mut Answered>,
        ending: &Ending<'_>,
    ) {
        let head = self.outgoing.head(self.host);
        let finished = Finished { received: &self.received, reached: &mut reached, attempt, answered };
        self.desk.worker.record(&self.client, &head, finished, ending);
    }

    /// The gateway itself answers.
    fn fixed(&self, resolved: Resolved) -> Came {
        let version = resolved.served.destination.version();
        let Answers::Response(response) = resolved.served.destination.upstream.answers.clone() else {
            return Came::Failed { version, failure: AttemptFailure::Internal };
        };
        let body = Bytes::from(response.body.into_bytes());
        let fields =
            response.headers.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let headers: HeaderMap = fields.collect::<Vec<(HeaderName, HeaderValue)>>().into_iter().collect();
        let mut answered = Answered::by_gateway(&self.received);
        let ending = self.ending(EndReason::Fixed, None, Some(response.status), body.len());
        self.record(Reached::Version(resolved), None, Some(&mut answered), &ending);
        Came::Answer { version, status: response.status, headers, body }
    }

    /// Nothing is sent.
    fn refused(&self, answer: &Answer<'_>, reached: Reached) -> DialectFailure {
        let refusal = answer.refusal();
        let ending = self.ending(answer.end(), refusal, Some(answer.status()), 0);
        self.record(reached, None, None, &ending);
        let EventCall { function, qualifier, .. } = self.call;
        let (kind, message) = match refusal {
            Some(Refusal::Unresolved(Unresolved::NoFunction(_))) => {
                (FailureKind::NoFunction, format!("Function not found: {function}"))
            }
            Some(Refusal::Unresolved(Unresolved::MissingKey(..))) => (
                FailureKind::WrongParameter,
                format!("{function}:{qualifier} needs a routing key, and the invocation has none"),
            ),
            Some(Refusal::Unresolved(Unresolved::Unreadable(_))) => {
                (FailureKind::Unavailable, format!("the configuration of {function}:{qualifier} cannot be read"))
            }
            Some(Refusal::Unresolved(_)) => {
                (FailureKind::NoQualifier, format!("Function not found: {function}:{qualifier}"))
            }
            _ => (
                FailureKind::NotSent,
                format!("no endpoint of {function}:{qualifier} can take the event; it was not sent"),
            ),
        };
        DialectFailure::new(kind, message)
    }

    /// Sends the event to an endpoint: to another one only if the first could not be connected to.
    async fn forward(&self, mut resolved: Resolved) -> Result<Came, DialectFailure> {
        let head = self.outgoing.head(self.host);
        loop {
            let has_body = !self.outgoing.body.is_empty();
            let begun = resolved.begin(&self.received, &head, has_body, &mut rand::rng());
            let mut attempt = match begun {
                Ok(attempt) => attempt,
                Err(refusal) => return Err(self.refused(&Answer::of(refusal), Reached::Version(resolved))),
            };
            let version = resolved.served.destination.version();
            match self.attempt(&mut attempt, &mut resolved).await {
                Ok(Sent { status, headers, body }) => {
                    let mut answered = Answered::by_endpoint(&self.desk.worker, &self.received, status, &headers);
                    let gone = || (Body::Gone, true);
                    attempt.answered((&self.received, &mut resolved), &head, status, gone);
                    attempt.completed();
                    let ending = self.ending(EndReason::Answered, None, Some(status), body.len());
                    self.record(Reached::Version(resolved), Some(&mut attempt), Some(&mut answered), &ending);
                    return Ok(Came::Answer { version, status, headers, body });
                }
                Err(Unsent { failure, reason }) => {
                    let is_sent = failure != AttemptFailure::Connect;
                    let left = || if is_sent { (Body::Gone, true) } else { (Body::Replayable, false) };
                    let told = (failure, &reason as &dyn fmt::Display);
                    let next = attempt.failed((&self.received, &mut resolved), &head, told, left);
                    if next == Next::Again && !is_sent {
                        continue;
                    }
                    let refusal = failure.refusal().unwrap_or(Refusal::Internal);
                    let status = refusal.row().told.map(|told| told.status);
                    let ending = self.ending(refusal.end(), Some(refusal), status, 0);
                    self.record(Reached::Version(resolved), Some(&mut attempt), None, &ending);
                    if is_sent {
                        return Ok(Came::Failed { version, failure });
                    }
                    let message = "no endpoint could be connected to; the event was not sent";
                    return Err(DialectFailure::new(FailureKind::NotSent, message));
                }
            }
        }
    }

    async fn attempt(&self, attempt: &mut Attempting, resolved: &mut Resolved) -> Result<Sent, Unsent> {
        let internal = |reason: &str| Unsent { failure: AttemptFailure::Connect, reason: reason.to_owned() };
        let head = self.outgoing.head(self.host);
        let endpoint = {
            let edited = attempt.request(&self.desk.worker, (&self.received, &*resolved), &self.client, &head);
            let edited = edited.map_err(|_| internal("the version has no endpoints"))?;
            send::EventRequest::new(self.outgoing, &edited)?
        };
        let there =
            attempt.pick().map(|pick| There::of(pick.member())).ok_or_else(|| internal("no endpoint was picked"))?;
        let connection = send::connect(&there, &self.desk.trust).await?;
        attempt.connected(false);
        attempt.sent();
        connection.send(endpoint, &there).await
    }
}

/// What came of it, for whoever invoked. In proxy mode an answer is an answer, whatever its status.
fn invoked(came: Came, outgoing: &Outgoing, took: Duration) -> Invoked {
    match came {
        Came::Answer { version, status, headers, body } if outgoing.is_proxied => {
            Invoked { version, body: packed_answer(status, &headers, &body).into(), error: None, took }
        }
        Came::Answer { version, status, body, .. } => {
            let error = (status >= 400).then(|| FunctionError {
                kind: if status < 500 { "ClientError" } else { "ServerError" },
                message: format!("the endpoint answered {status}"),
            });
            Invoked { version, body, error, took }
        }
        Came::Failed { version, failure } => {
            let (kind, message) = match failure {
                AttemptFailure::Timeout => ("Timeout", "the function did not answer in time"),
                AttemptFailure::BodyTooLarge => ("ResponseSizeTooLarge", "the answer has more than 6 MiB"),
                AttemptFailure::Protocol => ("ProtocolError", "the endpoint's answer breaks HTTP"),
                _ => ("ConnectionBroken", "the connection broke after the event was sent"),
            };
            let error = Some(FunctionError { kind, message: message.to_owned() });
            Invoked { version, body: Bytes::new(), error, took }
        }
    }
}
