//! One request: which dialect it is of, who signed it, its body, and how it was answered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use config::dialect::failure::{DialectFailure, FailureKind};
use config::model::KeyRole;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::keys::Key;
use super::signature::{SignedRequest, present};
use super::{Desk, lambda, others, scf};
use crate::admin::Peer;
use crate::clock;
use crate::policy::headers::RequestId;

/// Bytes of an event that is invoked with.
const EVENT: usize = 6 << 20;
/// Bytes of any other body.
const BODY: usize = 1 << 20;
/// For a body to arrive.
const ARRIVAL: Duration = Duration::from_secs(20);
/// For everything but an invocation.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an operation needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Invoke,
    Change,
}

impl Right {
    /// True if a key of this role has it.
    fn is_of(self, role: KeyRole) -> bool {
        match role {
            KeyRole::Operator => true,
            KeyRole::Viewer => self == Self::Read,
            KeyRole::Invoker => self == Self::Invoke,
        }
    }
}

/// A dialect and one of its operations, as a request names them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Lambda(lambda::LambdaOperation),
    Scf(scf::ScfAction),
    Other(others::Other),
}

/// A request that is to be carried out.
pub(super) struct Signed {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    pub(super) key: Arc<Key>,
    /// As ARNs name it.
    pub(super) region: String,
    /// A new one for each request.
    pub(super) id: String,
    pub(super) peer: Peer,
}

impl Asked {
    /// What a request asks for.
    fn of(parts: &Parts) -> Self {
        let path = parts.uri.path();
        if let Some(action) = scf::action(parts) {
            return Self::Scf(action);
        }
        match lambda::operation(&parts.method, path) {
            Some(operation) => Self::Lambda(operation),
            None => Self::Other(others::of(parts)),
        }
    }

    /// The service that AWS and Tencent sign for.
    fn service(self) -> Option<&'static str> {
        match self {
            Self::Lambda(_) => Some("lambda"),
            Self::Scf(_) => Some("scf"),
            Self::Other(other) => other.service(),
        }
    }

    fn right(self) -> Right {
        match self {
            Self::Lambda(operation) => operation.right(),
            Self::Scf(action) => action.right(),
            Self::Other(_) => Right::Read,
        }
    }

    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Lambda(operation) => ("lambda", operation.name()),
            Self::Scf(action) => ("scf", action.name()),
            Self::Other(other) => (other.dialect(), "other"),
        }
    }

    /// The answer to a failure, in the form of the dialect.
    fn told(self, failure: &DialectFailure, id: &str) -> Response {
        match self {
            Self::Lambda(_) => lambda::told(failure, id),
            Self::Scf(_) => scf::told(failure, id),
            Self::Other(other) => other.told(failure, id),
        }
    }
}

/// How a request counts.
pub(super) struct Carried {
    pub(super) response: Response,
    /// True if a function failed, which is a success of its invocation.
    pub(super) is_function_error: bool,
}

impl From<Response> for Carried {
    fn from(response: Response) -> Self {
        Self { response, is_function_error: false }
    }
}

/// Answers one request, and counts it.
pub(super) async fn answered(desk: Arc<Desk>, request: Request) -> Response {
    let peer: Peer = *request.extensions().get().expect("the listener tells who is asking");
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts);
    let id = String::from_utf8_lossy(RequestId::new(clock::unix(), rand::random()).as_bytes()).into_owned();
    let metrics = Arc::clone(&desk.worker.metrics);
    let outcome = carried_out(desk, asked, (parts, body), peer, id.clone()).await;
    let (dialect, operation) = asked.labels();
    match outcome {
        Ok(outcome) => {
            let result = if outcome.is_function_error { "function_error" } else { "ok" };
            metrics.dialect_requests.inc(dialect, operation, result);
            outcome.response
        }
        Err(failure) => {
            let is_ours = matches!(failure.kind, FailureKind::NotSent | FailureKind::Unavailable);
            metrics.dialect_requests.inc(dialect, operation, if is_ours { "failed" } else { "refused" });
            let mut response = asked.told(&failure, &id);
            if failure.kind == FailureKind::TooMany {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}

async fn carried_out(
    desk: Arc<Desk>,
    asked: Asked,
    (parts, body): (Parts, Body),
    peer: Peer,
    id: String,
) -> Result<Carried, DialectFailure> {
    let right = asked.right();
    let places = if right == Right::Invoke { &desk.invocations } else { &desk.requests };
    let busy =
        || DialectFailure::new(FailureKind::TooMany, "as many requests are under way as are carried out at a time");
    let place = Arc::new(Arc::clone(places).try_acquire_owned().map_err(|_| busy())?);
    if let Asked::Other(other) = asked
        && other.is_for_nobody()
    {
        return Err(other.refusal(&parts));
    }
    let signed = SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let counted = |failure: DialectFailure| count_attempt(&desk, peer, failure);
    let presented = present(&signed, &desk.ring, clock::unix()).map_err(counted)?;
    if let Some(service) = asked.service() {
        presented.is_for(service).map_err(counted)?;
    }
    let limit = if right == Right::Invoke { EVENT + BODY } else { BODY };
    let late = || DialectFailure::new(FailureKind::WrongBody, "the body did not arrive in time");
    let body = timeout(ARRIVAL, read(body, limit)).await.map_err(|_| late())??;
    let region = presented.region.clone();
    let key = presented.verify(&signed, &body).map_err(counted)?;
    if let Asked::Other(other) = asked {
        return Err(other.refusal(&parts));
    }
    if !right.is_of(key.role) {
        let message =
            format!("the key `{}` is of role {}, which does not allow {}", key.id, key.role.as_str(), asked.labels().1);
        return Err(DialectFailure::new(FailureKind::Forbidden, message));
    }
    let region = region.or_else(|| text(&parts, "x-tc-region")).unwrap_or_else(|| "local".to_owned());
    let request = Signed { parts, body, key, region, id, peer };
    // To its end, even if the client leaves: what was sent to an endpoint is counted, and what was asked of the control plane is
    // answered.
    let kept = Arc::clone(&place);
    let work = async move {
        let _kept = kept;
        let work = async {
            match asked {
                Asked::Lambda(operation) => lambda::carried_out(&desk, operation, &request).await,
                Asked::Scf(action) => scf::carried_out(&desk, action, &request).await,
                Asked::Other(other) => Err(other.refusal(&request.parts)),
            }
        };
        if right == Right::Invoke {
            return work.await;
        }
        let late = || {
            let message = format!("there was no answer within {} s: read before you try again", PATIENCE.as_secs());
            DialectFailure::new(FailureKind::Unavailable, message)
        };
        timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
    };
    let stopping = |_| Err(DialectFailure::new(FailureKind::Unavailable, "the gateway is stopping"));
    let Carried { response, is_function_error } = tokio::spawn(work).await.unwrap_or_else(stopping)?;
    Ok(Carried { response: held(response, place), is_function_error })
}

/// The answer, whose place is given back when its client has taken it: a gateway that stops waits for that.
fn held(mut response: Response, place: Arc<OwnedSemaphorePermit>) -> Response {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &place;
            frame
        }))
    })
}

/// Notes a wrong key or signature. An address with too many of them is told to wait; whoever signs rightly is never.
fn count_attempt(desk: &Desk, peer: Peer, failure: DialectFailure) -> DialectFailure {
    if !matches!(failure.kind, FailureKind::UnknownKey | FailureKind::WrongSignature) {
        return failure;
    }
    desk.worker.metrics.admin_refused.inc("wrong_key");
    match desk.attempts.failed(peer.address) {
        None => {
            tracing::warn!(client = %peer, "a request of a cloud's client was refused: {}", failure.message);
            failure
        }
        Some(wait) => {
            let message = format!("too many wrong keys and signatures from this address; try again in {wait} s");
            DialectFailure::new(FailureKind::TooMany, message)
        }
    }
}

/// The whole body. Of one that is too large a part more is read and dropped: a client that is still sending would not see the
/// answer.
async fn read(mut body: Body, limit: usize) -> Result<Bytes, DialectFailure> {
    let (mut bytes, mut size) = (Vec::new(), 0);
    while size <= 4 * limit
        && let Some(frame) = body.frame().await
    {
        let frame = frame
            .map_err(|error| DialectFailure::new(FailureKind::WrongBody, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size <= limit {
            bytes.extend_from_slice(&data);
        }
    }
    if size > limit { Err(too_large(size, limit)) } else { Ok(bytes.into()) }
}

fn too_large(size: usize, limit: usize) -> DialectFailure {
    DialectFailure::new(FailureKind::TooLarge, format!("the body has {size} bytes or more, and may have {limit}"))
}

/// Checks the size of an event.
///
/// # Errors
/// It is too large.
pub(super) fn check_event(event: &[u8]) -> Result<(), DialectFailure> {
    if event.len() > EVENT { Err(too_large(event.len(), EVENT)) } else { Ok(()) }
}

/// A header as text.
pub(super) fn text(parts: &Parts, name: &str) -> Option<String> {
    parts.headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// An answer of this status, type and body.
pub(super) fn of_type(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = body.into().into_response();
    *response.status_mut() = StatusCode::from_u16(status).expect("statuses of dialects are statuses");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
