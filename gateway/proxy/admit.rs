//! The head of a request -> where it goes, or an answer of our own. Nothing here awaits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use config::head::RequestHead;
use config::model::Protocol;
use config::resolve::{Reason, Unresolved, allowed};
use config::table::Answers;
use config::target::RequestTarget;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST};
use http::{HeaderMap, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::Proxy;
use super::ctx::Ctx;
use crate::clock;
use crate::edge::Connection;
use crate::live::{Destination, Served, Snapshot, Way};
use crate::log::EndReason;
use crate::metrics::Pick;
use crate::policy::answer::Answer;
use crate::policy::forwarded::Origin;
use crate::policy::headers::RequestId;

/// Methods that are named when one is refused that no route could take.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What happens next to a request.
pub(super) enum Admission {
    /// An endpoint answers.
    Forward,
    /// The gateway answers.
    Answer(Answer<'static>),
    /// The gateway answers what the version says.
    Fixed(Arc<Destination>),
}

impl Proxy {
    /// Decides what happens to a request, and puts into `ctx` what is known about it from now on.
    pub(super) fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Admission {
        let connection = Connection::of(session);
        session.set_write_timeout(Some(self.limits.body_timeout));
        if session.req_header().headers.contains_key(EXPECT) {
            // The endpoint's 100 comes before the body has ended, which is no reason to close the connection.
            session.set_close_on_response_before_downstream_finish(false);
        }
        let snapshot = self.live.load();
        let request = session.req_header();
        let peer = connection.as_ref().map_or(Ipv4Addr::UNSPECIFIED.into(), |connection| connection.client.ip());
        let origin = Origin::of(peer, &snapshot.table.config().trusted_proxies, &request.headers);
        ctx.id = Some(RequestId::of(&origin, &request.headers, clock::unix(), rand::random()));
        ctx.origin = Some(origin);
        let handed = connection.as_ref().and_then(|connection| connection.take_handed::<(Way, Served)>());
        ctx.port = connection.as_ref().map_or(0, |connection| self.ports[connection.listener]);
        ctx.connection = connection;
        if let Some(refusal) = self.refuse(request) {
            return Admission::Answer(refusal);
        }
        let head = head(request, origin.client);
        let chosen = match handed {
            Some((way, served)) => {
                ctx.way = Some(way);
                Ok(served)
            }
            None => self.choose(&snapshot, request, &head, ctx),
        };
        let served = match chosen {
            Ok(served) => served,
            Err(answer) => return Admission::Answer(answer),
        };
        if let Some(outcomes) = served.charged() {
            outcomes.drawn(ctx.worker);
        }
        let destination = Arc::clone(&served.destination);
        let served = ctx.served.insert(served);
        if let Some(answer) = refuse_served(request, served) {
            return Admission::Answer(answer);
        }
        destination.series.picked(pick(served));
        match destination.upstream.answers {
            Answers::Endpoints(_) => Admission::Forward,
            Answers::Response(_) => Admission::Fixed(destination),
        }
    }

    /// The way in, then the version. What is refused in between draws nothing, so that the split stays exact.
    fn choose(
        &self,
        snapshot: &Snapshot,
        request: &RequestHeader,
        head: &RequestHead<'_, HeaderMap>,
        ctx: &mut Ctx,
    ) -> Result<Served, Answer<'static>> {
        let unresolved = |unresolved: Unresolved| {
            self.metrics.unresolved.inc(unresolved.as_str());
            unanswered(snapshot, head, unresolved)
        };
        let way = snapshot.route(head).map_err(unresolved)?;
        let refusal = self.refuse_way(snapshot, request, ctx, &way);
        let way = ctx.way.insert(way);
        match refusal {
            Some(refusal) => Err(refusal),
            None => snapshot.choose(head, way).map_err(unresolved),
        }
    }

    /// What is refused wherever it would go.
    fn refuse(&self, request: &RequestHeader) -> Option<Answer<'static>> {
        // HTTP/1 targets were read by the edge; an HTTP/2 `:path` may still be `?query` or `*`.
        let target = RequestTarget::parse(request.method.as_str().as_bytes(), request.raw_path());
        if !matches!(target, Ok(RequestTarget::Origin(_) | RequestTarget::Asterisk)) {
            return Some(Answer::of(EndReason::BadRequest));
        }
        // TRACE would show a caller the headers that proxies add (RFC 9110, 9.3.8).
        if request.method == http::Method::TRACE {
            return Some(Answer::no_method(METHODS));
        }
        let length = request.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        length.filter(|length| *length > self.limits.body_bytes).map(|_| Answer::of(EndReason::BodyTooLarge))
    }

    /// What is refused because of the way it came in, whichever version would answer.
    fn refuse_way(
        &self,
        snapshot: &Snapshot,
        request: &RequestHeader,
        ctx: &Ctx,
        way: &Way,
    ) -> Option<Answer<'static>> {
        let domain = way.domain.as_ref()?;
        let tls = ctx.connection.as_ref().and_then(|connection| connection.tls.as_ref());
        let host = without_port(host(request));
        match tls {
            None if domain.redirect_to_https && !told_https(request, ctx) => {
                let target = request.uri.path_and_query().map_or("/", |both| both.as_str());
                Some(Answer::to_https(host, self.https_port, target))
            }
            // RFC 9110, 15.5.20: the handshake was made for a host with another certificate.
            Some(tls) if self.is_misdirected(snapshot, &tls.sni, host) => Some(Answer::of(EndReason::Misdirected)),
            _ => None,
        }
    }

    fn is_misdirected(&self, snapshot: &Snapshot, sni: &str, host: &str) -> bool {
        let certificate = |host: &str| {
            let domain = snapshot.table.domain_of(&host.to_ascii_lowercase());
            domain.and_then(|domain| snapshot.table.domain(domain)).and_then(|domain| domain.model.certificate.as_ref())
        };
        !sni.eq_ignore_ascii_case(host) && certificate(host).is_some_and(|own| certificate(sni) != Some(own))
    }
}

/// What is refused because of the version that was chosen; it keeps its slot.
fn refuse_served(request: &RequestHeader, served: &Served) -> Option<Answer<'static>> {
    // Said here and not when the pick finds nothing, because pingora closes the connection then.
    if served.destination.state.as_ref().is_some_and(|state| !state.healthy()) {
        return Some(Answer::retry_after(EndReason::NoHealthy, 1));
    }
    lacks_trailers(request, &served.destination).then(|| Answer::of(EndReason::UpstreamProtocol))
}

/// Whether the request is a gRPC call, which ends in trailers, and the version cannot give any: HTTP/1.1 endpoints of
/// pingora-proxy cannot.
pub(super) fn lacks_trailers(request: &RequestHeader, destination: &Destination) -> bool {
    let is_grpc = request.headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    is_grpc
        && matches!(&destination.upstream.answers, Answers::Endpoints(rendered) if rendered.protocol == Protocol::Http1)
}

/// What a request that goes nowhere is answered.
fn unanswered(snapshot: &Snapshot, head: &RequestHead<'_, HeaderMap>, unresolved: Unresolved) -> Answer<'static> {
    match unresolved {
        Unresolved::BadHost | Unresolved::BadPath => Answer::of(EndReason::BadRequest),
        Unresolved::MissingKey(..) => Answer::of(EndReason::MissingKey),
        Unresolved::DirectHostRefused => Answer::of(EndReason::Denied),
        Unresolved::MethodNotAllowed(domain) => Answer::no_method(allowed(&snapshot.table, head, domain).join(", ")),
        _ => Answer::of(EndReason::NoRoute),
    }
}

/// What routing looks at.
fn head(request: &RequestHeader, client: IpAddr) -> RequestHead<'_, HeaderMap> {
    RequestHead {
        method: request.method.as_str(),
        host: host(request),
        path: request.uri.path(),
        query: request.uri.query(),
        headers: &request.headers,
        client,
    }
}

/// `:authority` or `Host`, as received; empty where there is none, or one that is no text.
pub(super) fn host(request: &RequestHeader) -> &str {
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    authority.or_else(|| request.headers.get(HOST)?.to_str().ok()).unwrap_or_default()
}

/// The protocol that the request came by, as `Via` writes it.
pub(super) fn received_by(request: &RequestHeader) -> &'static str {
    match request.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a trusted proxy in front says that the client spoke TLS to it.
fn told_https(request: &RequestHeader, ctx: &Ctx) -> bool {
    ctx.origin.is_some_and(|origin| origin.trusted)
        && request.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

fn pick(served: &Served) -> Pick {
    if served.resolution.fallback_from.is_some() {
        return Pick::Fallback;
    }
    match served.resolution.reason {
        Reason::Direct => Pick::Direct,
        Reason::Override => Pick::Override,
        Reason::Rule(_) => Pick::Rule,
        Reason::Bucket(_) => Pick::Bucket,
        Reason::Slot(_) => Pick::Slot,
        Reason::Only => Pick::Only,
        Reason::Random => Pick::Random,
        Reason::Stable => Pick::Stable,
    }
}
