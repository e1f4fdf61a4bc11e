//! What policy has to know about one request: who sent it, and what it resolved to.

use std::collections::BTreeMap;

use config::model::Dialect;
use config::value::name::VersionId;

use super::forwarded::Origin;

/// One request on its way to an endpoint.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    /// The function.
    pub function: &'a str,
    /// The qualifier that the route, the stage or the override named: an alias, a number, `$LATEST`.
    pub qualifier: &'a str,
    /// The version that answers.
    pub version: VersionId,
    /// The variables of the stage, sent as `x-weir-stage-<name>`; `None` without a stage.
    pub stage_variables: Option<&'a BTreeMap<String, String>>,
    /// Clouds whose names the function speaks.
    pub dialects: &'a [Dialect],
    /// The version's own header edits, stage variables put in.
    pub version_edits: VersionEdits<'a>,
    /// What the endpoint sees as `Host`; `None` keeps the client's.
    pub upstream_host: Option<&'a str>,
    /// The stage segment that was taken from the path, such as `/prod`; empty when none was.
    pub stage_prefix: &'a str,
    /// Where the request comes from.
    pub origin: Origin,
    /// Whether the client spoke TLS to this gateway.
    pub tls: bool,
    /// `Host` or `:authority` as received, port included.
    pub host: &'a str,
    /// The port of the listener.
    pub port: u16,
    /// The protocol the request came in by, as `Via` writes it: `1.0`, `1.1` or `2`; `None` where the endpoint is not to
    /// be told that a gateway is before it.
    pub received_by: Option<&'static str>,
    /// The id of this request, from [`RequestId::of`](super::headers::RequestId::of).
    pub request_id: &'a [u8],
}

/// A version's header edits with stage variables put in: applied after everything else, so the operator has the last
/// word. The model has checked the names.
#[derive(Debug, Clone, Copy, Default)]
pub struct VersionEdits<'a> {
    /// Names to drop.
    pub remove: &'a [String],
    /// Names and values that replace.
    pub set: &'a [(String, String)],
    /// Names and values that are added.
    pub add: &'a [(String, String)],
}

/// One response on its way to the client.
#[derive(Clone, Copy)]
pub struct ResponseContext<'a> {
    /// The version that answered; `None` when the request resolved to none.
    pub version: Option<VersionId>,
    /// The version that was chosen, where another one answered in its place.
    pub shielded_from: Option<VersionId>,
    /// Whether the domain shows versions (`version_header`).
    pub version_header: bool,
    /// Clouds whose names the function speaks.
    pub dialects: &'a [Dialect],
    /// The id of the request.
    pub request_id: &'a [u8],
    /// A routing-key cookie to issue.
    pub cookie: Option<IssuedCookie<'a>>,
    /// The protocol the response came in by, as `Via` writes it; `None` when Weir itself answers.
    pub received_by: Option<&'static str>,
}

/// A cookie with a random routing key: never a version.
#[derive(Debug, Clone, Copy)]
pub struct IssuedCookie<'a> {
    /// Name of the cookie.
    pub name: &'a str,
    /// The key, in characters that need no quoting.
    pub key: &'a str,
    /// `Max-Age` in seconds.
    pub max_age: u64,
    /// Whether the client spoke TLS: then the cookie is `Secure`.
    pub secure: bool,
}
