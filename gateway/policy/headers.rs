//! The header edits of a request on its way to an endpoint, and of a response on its way to the client.

use std::time::Duration;

use config::model::Dialect;
use config::value::name::VersionId;

use super::FieldName::{Given, Own};
use super::context::{RequestContext, ResponseContext};
use super::forwarded::{Origin, forward, only, values};
use super::{Edits, Fields};

/// The name by which this gateway signs `Via` and `Proxy-Status`.
pub const PSEUDONYM: &str = "weir";

/// The draft, as Function Compute writes it.
const FC_DRAFT: &[u8] = b"LATEST";

/// Tells the client in which version's place another one answered.
const SHIELDED_FROM: &str = "x-weir-shielded-from";

/// What is changed in a request's header fields (`fields`, as the client sent them) before an endpoint gets it.
pub fn request_edits<'a, F: Fields + ?Sized>(request: &RequestContext<'a>, fields: &'a F) -> Edits<'a> {
    let mut edits = Edits::default();
    for (name, _) in fields.fields() {
        let strip = match Class::of(name) {
            Class::Context => true,
            Class::Forwarding { exact } => !(exact && request.origin.trusted),
            Class::Other => false,
        };
        if strip {
            edits.remove(name);
        }
    }
    context(&mut edits, request);
    forward(&mut edits, request, fields);
    if let Some(received_by) = request.received_by {
        via(&mut edits, received_by);
    }
    edits.set(Own("x-request-id"), request.request_id);
    if let Some(host) = request.upstream_host {
        edits.set(Own("host"), host.as_bytes());
    }
    for name in request.version_edits.remove {
        edits.remove(name);
    }
    for (name, value) in request.version_edits.set {
        edits.set(Given(name), value.as_bytes());
    }
    for (name, value) in request.version_edits.add {
        edits.add(Given(name), value.as_bytes());
    }
    edits
}

/// What is changed in a response's header fields before the client gets it. Also for answers that Weir makes itself.
pub fn response_edits<'a>(response: &ResponseContext<'a>) -> Edits<'a> {
    let mut edits = Edits::default();
    match response.version.filter(|_| response.version_header) {
        Some(version) => version_edit(&mut edits, "x-weir-version", version),
        None => edits.remove("x-weir-version"),
    }
    match response.shielded_from.filter(|_| response.version_header) {
        Some(version) => version_edit(&mut edits, SHIELDED_FROM, version),
        None => edits.remove(SHIELDED_FROM),
    }
    if let Some(version) = response.version {
        for dialect in response.dialects {
            match dialect {
                Dialect::Fc => fc_version_edit(&mut edits, "x-fc-invocation-function-version", version),
                Dialect::Aws => version_edit(&mut edits, "x-amz-executed-version", version),
            }
        }
    }
    edits.set(Own("x-request-id"), response.request_id);
    if let Some(received_by) = response.received_by {
        via(&mut edits, received_by);
    }
    if let Some(cookie) = response.cookie {
        edits.add_written("set-cookie", |text| {
            text.display(cookie.name).display("=").display(cookie.key);
            text.display("; Path=/; Max-Age=").display(cookie.max_age).display("; HttpOnly; SameSite=Lax");
            text.display(if cookie.secure { "; Secure" } else { "" });
        });
    }
    edits
}

/// The id of one request: the one a trusted proxy gave it, else a new UUIDv7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// From a trusted proxy.
    Kept(Box<[u8]>),
    /// Made here: the hyphenated form.
    Made([u8; 36]),
}

impl RequestId {
    /// The longest id that is kept, in bytes.
    pub const MAX: usize = 128;

    /// The id of a request with these fields. `unix` is the time since 1970 and `random` 80 random bits, for a new one.
    /// An id is kept when its sender is trusted, there is one only, and it is visible ASCII of 1 to [`Self::MAX`] bytes.
    pub fn of<F: Fields + ?Sized>(origin: &Origin, fields: &F, unix: Duration, random: [u8; 10]) -> Self {
        let sent = if origin.trusted { only(values(fields, "x-request-id")) } else { None };
        if let Some(id) = sent.filter(|id| id.len() <= Self::MAX && id.iter().all(u8::is_ascii_graphic)) {
            return Self::Kept(id.into());
        }
        Self::new(unix, random)
    }

    /// A new id. `unix` is the time since 1970 and `random` 80 random bits.
    #[must_use]
    pub fn new(unix: Duration, random: [u8; 10]) -> Self {
        let millis = u64::try_from(unix.as_millis()).expect("the clock is before the year 500 000 000");
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        Self::Made(text)
    }

    /// The id as it is sent and logged.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Kept(id) => id,
            Self::Made(id) => id,
        }
    }
}

/// The trace id of a W3C `traceparent` (version 00 and later: `vv-<32 hex>-<16 hex>-ff…`); `None` when it has not that
/// shape. The field itself is passed on untouched, and `tracestate` with it.
pub fn trace_id<F: Fields + ?Sized>(fields: &F) -> Option<&[u8]> {
    let parent = only(values(fields, "traceparent"))?;
    let mut parts = parent.split(|b| *b == b'-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &[u8], len: usize| part.len() == len && part.iter().all(u8::is_ascii_hexdigit);
    let shaped = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (shaped && trace.iter().any(|b| *b != b'0')).then_some(trace)
}

/// What the endpoint is told about the resolution.
fn context<'a>(edits: &mut Edits<'a>, request: &RequestContext<'a>) {
    edits.set(Own("x-weir-function"), request.function.as_bytes());
    edits.set(Own("x-weir-qualifier"), request.qualifier.as_bytes());
    version_edit(edits, "x-weir-version", request.version);
    for (name, value) in request.stage_variables.into_iter().flatten() {
        edits.set_prefixed("x-weir-stage-", name, value.as_bytes());
    }
    if request.dialects.contains(&Dialect::Fc) {
        let is_draft = request.qualifier == VersionId::DRAFT;
        edits.set(Own("x-fc-qualifier"), if is_draft { FC_DRAFT } else { request.qualifier.as_bytes() });
        fc_version_edit(edits, "x-fc-version-id", request.version);
    }
}

fn via(edits: &mut Edits<'_>, received_by: &str) {
    edits.add_written("via", |text| {
        text.bytes(received_by.as_bytes()).bytes(b" ").bytes(PSEUDONYM.as_bytes());
    });
}

fn version_edit(edits: &mut Edits<'_>, name: &'static str, version: VersionId) {
    edits.set_written(name, |text| {
        text.display(version);
    });
}

/// The same as Function Compute writes versions.
fn fc_version_edit(edits: &mut Edits<'_>, name: &'static str, version: VersionId) {
    match version {
        VersionId::Latest => edits.set(Own(name), FC_DRAFT),
        number => version_edit(edits, name, number),
    }
}

/// What a client's header field is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Only Weir may say it: never taken from anybody. Also `Proxy`, which CGI-like endpoints would read as the
    /// environment variable `HTTP_PROXY` (CVE-2016-5385).
    Context,
    /// Believed from trusted proxies, in its `exact` spelling.
    Forwarding { exact: bool },
    /// The client's own business.
    Other,
}

impl Class {
    /// `_` counts as `-`: many endpoints (CGI, WSGI, Rack) cannot tell `X_Weir_Version` from `X-Weir-Version`.
    fn of(name: &str) -> Self {
        let name = name.as_bytes();
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'x') if starts(name, "x-weir-") || is(name, "x-fc-qualifier") || is(name, "x-fc-version-id") => {
                Self::Context
            }
            Some(b'x') if starts(name, "x-forwarded-") || is(name, "x-real-ip") || is(name, "x-request-id") => {
                Self::Forwarding { exact: !name.contains(&b'_') }
            }
            Some(b'f') if is(name, "forwarded") => Self::Forwarding { exact: true },
            Some(b'p') if is(name, "proxy") => Self::Context,
            _ => Self::Other,
        }
    }
}

fn starts(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|head| is(head, prefix))
}

fn is(name: &[u8], lower: &str) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == lower.len() && name.iter().map(folded).eq(lower.bytes())
}

#[cfg(test)]
mod tests;
