//! A request whose head is here, and the decision where it goes.

use std::num::NonZeroU16;
use std::time::Instant;

use config::model::{Domain, Https, Limits, Protocol};
use config::route::resolve::{Unresolved, allowed};
use config::route::table::Answers;
use config::value::host;
use config::value::name::{FunctionName, Qualifier};
use config::value::target::{AbsoluteTarget, RequestTarget};

use super::{ClientConnection, ClientTls, HeadView, HttpVersion, RequestFields, Resolved, Worker};
use crate::clock;
use crate::live::{Destination, Served, Snapshot, Way};
use crate::policy::answer::Answer;
use crate::policy::forwarded::{Origin, is_told_https};
use crate::policy::headers::RequestId;
use crate::policy::refusal::Refusal;

/// The facts that are known of every request.
#[derive(Debug)]
pub struct Received {
    /// The time at which its head was whole.
    pub started: Instant,
    /// The client and who vouches for it.
    pub origin: Origin,
    /// The id that endpoints, the client and the log see.
    pub id: RequestId,
}

/// The step that a request had reached when it was answered.
#[derive(Debug, Default)]
#[expect(clippy::large_enum_variant, reason = "large, and one a request: moving it costs less than memory of its own")]
pub enum Reached {
    /// None: its head was refused.
    #[default]
    Nothing,
    /// A route took it, and it was answered before a version was drawn.
    Way(Way),
    /// A version.
    Version(Resolved),
}

/// The next step of a request whose head was read.
#[derive(Debug)]
pub enum Admission {
    /// An endpoint answers.
    Forward(Resolved),
    /// The gateway answers what the version says.
    Fixed(Resolved),
    /// The gateway answers for itself.
    Answer(Answer<'static>, Reached),
}

impl Reached {
    /// The version that the request came to.
    #[must_use]
    pub fn resolved(&self) -> Option<&Resolved> {
        if let Self::Version(resolved) = self { Some(resolved) } else { None }
    }

    /// The same, to be changed.
    pub fn resolved_mut(&mut self) -> Option<&mut Resolved> {
        if let Self::Version(resolved) = self { Some(resolved) } else { None }
    }

    /// The way in.
    #[must_use]
    pub fn way(&self) -> Option<&Way> {
        match self {
            Self::Nothing => None,
            Self::Way(way) => Some(way),
            Self::Version(resolved) => Some(&resolved.way),
        }
    }

    /// The version that answers, and who was drawn.
    #[must_use]
    pub fn served(&self) -> Option<&Served> {
        self.resolved().map(|resolved| &resolved.served)
    }
}

impl Worker {
    /// Reads who sent a request. `snapshot` is the one that the request is resolved by.
    pub fn receive<F: RequestFields + ?Sized>(
        &self,
        snapshot: &Snapshot,
        client: &ClientConnection<'_>,
        head: &HeadView<'_, F>,
    ) -> Received {
        let origin = Origin::of(client.address, &snapshot.table.config().trusted_proxies, head.fields);
        let id = RequestId::of(&origin, head.fields, clock::unix(), rand::random());
        Received { started: clock::now(), origin, id }
    }

    /// Decides where a request goes. What is refused before a version is drawn draws nothing, so that the split stays exact.
    pub fn admit<F: RequestFields + ?Sized>(
        &self,
        snapshot: &Snapshot,
        received: &Received,
        client: &ClientConnection<'_>,
        head: &HeadView<'_, F>,
    ) -> Admission {
        let refused = |answer: Answer<'static>, reached: Reached| {
            if let Some(refusal) = answer.refusal() {
                self.metrics.refused.inc(refusal.word());
            }
            Admission::Answer(answer, reached)
        };
        if let Some(answer) = self.refuse_head(head) {
            return refused(answer, Reached::Nothing);
        }
        let routing = head.for_routing(received.origin.client);
        let unresolved = |unresolved: Unresolved| {
            self.metrics.unresolved.inc(unresolved.as_str());
            match unresolved {
                Unresolved::MethodNotAllowed(domain) => {
                    Answer::no_method(unresolved.into(), allowed(&snapshot.table, &routing, domain).join(", "))
                }
                _ => Answer::of(unresolved.into()),
            }
        };
        let way = match snapshot.route(&routing) {
            Ok(way) => way,
            Err(reason) => return Admission::Answer(unresolved(reason), Reached::Nothing),
        };
        if let Some(answer) = self.refuse_way(snapshot, received, client, head, &way) {
            return refused(answer, Reached::Way(way));
        }
        match snapshot.choose(&routing, &way) {
            Ok(served) => self.chosen(snapshot, received, head, way, served),
            Err(reason) => Admission::Answer(unresolved(reason), Reached::Way(way)),
        }
    }

    /// Decides where an invocation goes. `routing` are the fields that rules and routing keys see of it; the endpoint gets those of
    /// `head`.
    pub fn admit_call<F: RequestFields + ?Sized>(
        &self,
        snapshot: &Snapshot,
        received: &Received,
        (function, qualifier): (&FunctionName, &Qualifier),
        head: &HeadView<'_, F>,
        routing: &F,
    ) -> Admission {
        let routing = HeadView { fields: routing, ..*head }.for_routing(received.origin.client);
        let unresolved = |reason: Unresolved, reached: Reached| {
            self.metrics.unresolved.inc(reason.as_str());
            Admission::Answer(Answer::of(reason.into()), reached)
        };
        let way = match snapshot.call(function, qualifier) {
            Ok(way) => way,
            Err(reason) => return unresolved(reason, Reached::Nothing),
        };
        match snapshot.choose(&routing, &way) {
            Ok(served) => self.chosen(snapshot, received, head, way, served),
            Err(reason) => unresolved(reason, Reached::Way(way)),
        }
    }

    /// The next step of a request whose version was chosen just now.
    fn chosen<F: RequestFields + ?Sized>(
        &self,
        snapshot: &Snapshot,
        received: &Received,
        head: &HeadView<'_, F>,
        way: Way,
        served: Served,
    ) -> Admission {
        let resolved = Resolved::new(way, served, self.number, received.started);
        if let Some(refusal) = refuse_version(snapshot, head, &resolved.served) {
            return Admission::Answer(Answer::of(refusal), Reached::Version(resolved));
        }
        resolved.picked();
        match resolved.served.destination.upstream.answers {
            Answers::Endpoints(_) => Admission::Forward(resolved),
            Answers::Response(_) => Admission::Fixed(resolved),
        }
    }

    /// The answer to a head that is refused wherever it would go.
    fn refuse_head<F: RequestFields + ?Sized>(&self, head: &HeadView<'_, F>) -> Option<Answer<'static>> {
        // HTTP/1 heads were read by the edge.
        if head.version == HttpVersion::Http2
            && let Err(refusal) = check_http2(head, &self.limits)
        {
            return Some(Answer::of(refusal));
        }
        // A `:path` may still be `?query` or `*`.
        if !head.target.starts_with('/') {
            return Some(match RequestTarget::parse(head.method.as_bytes(), head.target.as_bytes()) {
                Ok(RequestTarget::Asterisk) => Answer::methods(),
                _ => Answer::of(Refusal::MalformedTarget),
            });
        }
        if head.method == "TRACE" {
            return Some(Answer::of(Refusal::Trace));
        }
        let length = head.field("content-length").and_then(|length| str::from_utf8(length).ok()?.parse::<u64>().ok());
        length.filter(|length| *length > self.limits.body_bytes).map(|_| Answer::of(Refusal::BodyTooLarge))
    }

    /// The answer that the way in alone decides, whichever version would answer.
    fn refuse_way<F: RequestFields + ?Sized>(
        &self,
        snapshot: &Snapshot,
        received: &Received,
        client: &ClientConnection<'_>,
        head: &HeadView<'_, F>,
        way: &Way,
    ) -> Option<Answer<'static>> {
        let domain = way.domain.as_ref()?;
        match (client.tls, domain.https) {
            (None, Https::Redirect(port)) if !is_told_https(&received.origin, head.fields) => {
                let port = port.map_or(self.https_port, NonZeroU16::get);
                Some(Answer::to_https(without_port(head.host), port, head.target))
            }
            (Some(ClientTls { sni, .. }), _) if is_misdirected(snapshot, sni, domain) => {
                Some(Answer::of(Refusal::Misdirected))
            }
            _ => None,
        }
    }
}

/// Checks what the `h2` crate leaves open of a head: where it goes, and how long its body is, can be read in one way
/// (RFC 9113, sections 8.1.1, 8.2.1 and 8.3.1; RFC 9110, section 8.6).
fn check_http2<F: RequestFields + ?Sized>(head: &HeadView<'_, F>, limits: &Limits) -> Result<(), Refusal> {
    if head.target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    if head.fields.fields().nth(limits.headers).is_some() {
        return Err(Refusal::TooManyFields);
    }
    // The `http` crate takes quotes in names, which are no tokens (RFC 9110, section 5.6.2).
    if head.fields.fields().any(|(name, _)| name.contains('"')) {
        return Err(Refusal::MalformedHead);
    }
    if head.method == "CONNECT" {
        return Err(Refusal::Connect);
    }
    if head.target.starts_with('/') && RequestTarget::parse(head.method.as_bytes(), head.target.as_bytes()).is_err() {
        return Err(Refusal::MalformedTarget);
    }
    let mut hosts = head.fields.all("host");
    let authority = AbsoluteTarget { authority: head.host, default_port: 443, path_and_query: "" };
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::MalformedHead),
        (None, None) if head.host.is_empty() => return Err(Refusal::MissingHost),
        // Without a host that is text, resolving says what is wrong with it.
        (Some(host), None) if !head.host.is_empty() && !authority.agrees_with(host) => {
            return Err(Refusal::ContradictoryHost);
        }
        _ => {}
    }
    let is_padded = |value: &[u8]| matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if head.fields.fields().any(|(_, value)| is_padded(value)) {
        return Err(Refusal::MalformedHead);
    }
    let mut lengths = head.fields.all("content-length");
    let is_number = |length: &[u8]| !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    match (lengths.next(), lengths.next()) {
        (None, None) => Ok(()),
        (Some(length), None) if is_number(length) => Ok(()),
        _ => Err(Refusal::MalformedHead),
    }
}

/// The answer to a request that the drawn version cannot serve; the version keeps its slot.
fn refuse_version<F: RequestFields + ?Sized>(
    snapshot: &Snapshot,
    head: &HeadView<'_, F>,
    served: &Served,
) -> Option<Refusal> {
    // Said here and not when the pick finds nothing, because a lane may have to close the connection then.
    if served.destination.state.as_ref().is_some_and(|state| !state.is_up()) {
        return Some(Refusal::NoHealthy);
    }
    if !lacks_trailers(head, &served.destination) {
        return None;
    }
    // If all versions speak HTTP/1.1, the call is wrong and no version is worse than another.
    let mut others = snapshot.destinations(&served.resolution);
    Some(if others.any(|other| !lacks_trailers(head, other)) { Refusal::LostTrailers } else { Refusal::NoTrailers })
}

/// True if the request is a gRPC call, which ends in trailers, and the version cannot give any: HTTP/1.1 endpoints of
/// pingora-proxy cannot.
pub(super) fn lacks_trailers<F: RequestFields + ?Sized>(head: &HeadView<'_, F>, destination: &Destination) -> bool {
    matches!(&destination.upstream.answers, Answers::Endpoints(rendered) if rendered.protocol == Protocol::Http1)
        && head.is_grpc()
}

/// True if the TLS connection was made for a host with another certificate than the one of the request's domain.
fn is_misdirected(snapshot: &Snapshot, sni: &str, domain: &Domain) -> bool {
    let Some(own) = &domain.certificate else { return false };
    let mut buffer = [0; 256];
    // A client that names no host gets the default certificate, and is not misled by it.
    let Some(sni) = host::normalize(sni, &mut buffer) else { return false };
    let made_for = snapshot.table.domain_of(sni).and_then(|index| snapshot.table.domain(index));
    made_for.and_then(|domain| domain.model.certificate.as_ref()) != Some(own)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    /// The refusal of a head with this method, authority, target and fields.
    fn refusal(method: &str, host: &str, target: &str, fields: &[(&'static str, &str)]) -> Option<Refusal> {
        let field = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            map.append(name, value);
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let head = HeadView { method, host, path, query, target, version: HttpVersion::Http2, fields: &map };
        check_http2(&head, &Limits { target_bytes: 100, headers: 3, ..Limits::default() }).err()
    }

    #[test]
    fn an_http2_head_that_can_be_read_in_two_ways_is_refused() {
        const HOST: &str = "shop.example.com";
        for (method, host, target, fields, expected) in [
            ("GET", HOST, "/a?b", &[][..], None),
            ("GET", HOST, "/a", &[("host", HOST)], None),
            ("GET", HOST, "/a", &[("host", "Shop.Example.com:443")], None),
            ("GET", "shop.example.com:8443", "/a", &[("host", HOST)], Some(Refusal::ContradictoryHost)),
            ("GET", HOST, "/a", &[("host", "other.example.com")], Some(Refusal::ContradictoryHost)),
            ("GET", HOST, "/a", &[("host", "")], Some(Refusal::ContradictoryHost)),
            ("GET", HOST, "/a", &[("host", HOST), ("host", HOST)], Some(Refusal::MalformedHead)),
            ("GET", "", "/a", &[], Some(Refusal::MissingHost)),
            ("GET", HOST, "/a", &[("a", ""), ("b", ""), ("c", "")], None),
            ("GET", HOST, "/a", &[("a", ""), ("b", ""), ("c", ""), ("d", "")], Some(Refusal::TooManyFields)),
            ("GET", HOST, &format!("/{}", "a".repeat(99)), &[], None),
            ("GET", HOST, &format!("/{}", "a".repeat(100)), &[], Some(Refusal::TargetTooLong)),
            ("GET", HOST, "/a", &[("a\"b", "")], Some(Refusal::MalformedHead)),
            ("CONNECT", HOST, "", &[], Some(Refusal::Connect)),
            ("POST", HOST, "/a", &[("content-length", "5")], None),
            ("POST", HOST, "/a", &[("content-length", "+5")], Some(Refusal::MalformedHead)),
            ("POST", HOST, "/a", &[("content-length", "")], Some(Refusal::MalformedHead)),
            ("POST", HOST, "/a", &[("content-length", "5"), ("content-length", "5")], Some(Refusal::MalformedHead)),
            ("GET", HOST, "/a", &[("x-a", " b")], Some(Refusal::MalformedHead)),
            ("GET", HOST, "/a", &[("x-a", "b\t")], Some(Refusal::MalformedHead)),
            ("GET", HOST, "/a", &[("x-a", "b c"), ("x-b", "")], None),
            ("GET", HOST, "/a b", &[], Some(Refusal::MalformedTarget)),
            ("OPTIONS", HOST, "*", &[], None),
        ] {
            assert_eq!(refusal(method, host, target, fields), expected, "{method} {host} {target} {fields:?}");
        }
    }
}
