//! Where one request goes. HOT: no allocation, no await, no clock; the draws come from outside.
//!
//! The order is fixed:
//! 1. A way in: the domain of exactly this host, a direct host, the domain of the longest wildcard, else the triggers;
//!    then the most specific route. What it names (a qualifier, else the stage's alias, else `$DEFAULT`) is where to look;
//!    a version number is the end.
//! 2. The header `x-weir-qualifier`, if the client may use it ([`Overrides`](crate::model::Overrides)); from anybody else
//!    it means nothing.
//! 3. The alias's rules, first hit.
//! 4. The bucket of the routing key: of the sources that are present the first one; an empty value counts as absent.
//! 5. The next slot. It is drawn only when nothing above has decided and the request cannot end unresolved any more.
//!
//! [`route`] is step 1, [`choose`] the others. Between the two a caller refuses what it refuses whichever version would
//! answer (a redirect to https, a host of another certificate), so that such a request draws nothing.
//!
//! **Spare.** A version that failed may be stood in for by another one of the alias: the first healthy one of those
//! above weight 0, the stable version first, then by weight, the largest first, of equals the lower number. Not where a
//! version was asked for by number or by override, and not by versions of weight 0. With `on_unhealthy: fallback` a
//! request whose version has no healthy endpoint goes to the spare at once ([`Resolution::fallback_from`]).

use std::fmt;

pub use crate::route::head::{Headers, RequestHead};
use crate::route::slot::Owed;
use crate::route::table::{AliasIndex, DomainIndex, FunctionIndex, Pointed, StageIndex, Table, UpstreamIndex, Via};
use crate::value::name::{AliasName, FunctionName, Qualifier, VersionId};
use crate::value::{host, path};

mod choice;
mod way;

/// What resolving asks of the world.
pub trait Draw {
    /// Takes the next value of the alias's cursor, which begins at [`Slots::start`](crate::route::slot::Slots::start).
    fn slot(&mut self, alias: AliasIndex) -> u64;
    /// A uniform random number.
    fn random(&mut self) -> u64;
    /// Whether an endpoint of the upstream can answer.
    fn healthy(&self, upstream: UpstreamIndex) -> bool;
}

/// The facts of a request before a version is chosen: how it came in, and what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed {
    /// The way in.
    pub via: Via,
    /// The function.
    pub function: FunctionIndex,
    /// The stage whose variables count.
    pub stage: Option<StageIndex>,
    /// The length of the stage's part of the path, at its start, in bytes; the rest, or `/`, is the path that routes
    /// and rewrite see.
    pub stage_bytes: u32,
    /// The version or the alias that the way in names.
    pointed: Pointed,
}

/// Where a request goes, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// The way in, and the function and qualifier that were asked for.
    pub routed: Routed,
    /// The alias, unless a version was named.
    pub alias: Option<AliasIndex>,
    /// The version that answers.
    pub version: VersionId,
    /// Where it runs.
    pub upstream: UpstreamIndex,
    /// Who may answer in its place when it fails.
    pub spare: Option<(VersionId, UpstreamIndex)>,
    /// The version that was chosen but has no healthy endpoint; [`version`](Self::version) is its spare then.
    pub fallback_from: Option<VersionId>,
    /// Why the version was chosen (that of `fallback_from` if there is one).
    pub reason: Reason,
    /// Whether the header `x-weir-qualifier` named the alias.
    pub overridden: bool,
    /// The routing key that the answer must set as a cookie.
    pub issued: Option<IssuedKey>,
}

/// Why a version was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Route, trigger or direct host names the version.
    Direct,
    /// The header `x-weir-qualifier` names the version.
    Override,
    /// The rule with this number, from 0.
    Rule(u32),
    /// The bucket of the routing key.
    Bucket(u16),
    /// The value of the alias's cursor.
    Slot(u64),
    /// Drawn at random.
    Random,
    /// No routing key, and `on_missing_key: stable`.
    Stable,
    /// The only version above weight 0.
    Only,
}

/// The line of a past request in the access log: the reason for its version. The headers that it stood on
/// are not told.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// The alias, unless a version was named.
    pub alias: Option<&'a AliasName>,
    /// The version that was chosen.
    pub version: VersionId,
    /// Why.
    pub reason: Reason,
    /// What had been carried over when its slot was drawn.
    pub owed: Option<&'a Owed>,
}

/// A routing key that Weir issues: 128 random bits, as a cookie 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedKey {
    bits: u128,
    /// Which of the alias's key sources issues it.
    pub source: u32,
}

/// Why a request goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// No host, or a text that is none.
    BadHost,
    /// A path that does not start with `/`, or with a `.` or `..` segment in some spelling.
    BadPath,
    /// No domain claims the host, and no trigger takes the path.
    NoDomain,
    /// No route of the domain takes the path.
    NoRoute(DomainIndex),
    /// Routes take the path, but not the method; `None` for triggers. [`allowed`] names the methods.
    MethodNotAllowed(Option<DomainIndex>),
    /// The first segment of the path names no stage.
    NoStage(DomainIndex),
    /// A direct host that this client may not use.
    DirectHostRefused,
    /// No function of this name.
    NoFunction(Via),
    /// The function has no alias of this name.
    NoAlias(Via, FunctionIndex, Option<StageIndex>),
    /// The function has no such version, or it is retired or uses a variable that the stage does not have.
    NoVersion(Via, FunctionIndex, Option<StageIndex>, VersionId),
    /// No routing key, and `on_missing_key: refuse`.
    MissingKey(Via, AliasIndex),
    /// Something that the route needs is stored in a form that cannot be read.
    Unreadable(Via),
}

/// Resolves a request against a table: [`route`], then [`choose`].
///
/// # Errors
/// Says why it goes nowhere; then no slot was drawn.
pub fn resolve<H: Headers + ?Sized, D: Draw>(
    table: &Table,
    head: &RequestHead<'_, H>,
    draw: &mut D,
) -> Result<Resolution, Unresolved> {
    choose(table, head, &route(table, head)?, draw)
}

/// Finds the way in of a request: everything that host, path and method decide. Draws nothing.
///
/// # Errors
/// Says why it goes nowhere.
pub fn route<H: Headers + ?Sized>(table: &Table, head: &RequestHead<'_, H>) -> Result<Routed, Unresolved> {
    let mut buffer = [0; 256];
    let host = host::normalize(head.host, &mut buffer).ok_or(Unresolved::BadHost)?;
    if !path::is_plain(head.path) {
        return Err(Unresolved::BadPath);
    }
    way::find(table, head, host)
}

/// The way in of an invocation, which names its function and what is asked of it. Draws nothing.
///
/// # Errors
/// There is no such function.
pub fn called(table: &Table, function: &FunctionName, qualifier: &Qualifier) -> Result<Routed, Unresolved> {
    way::called(table, function, qualifier)
}

/// Chooses the version of a request that [`route`] found a way for, in the same table and by the same head.
///
/// # Errors
/// Says why it goes nowhere; then no slot was drawn.
pub fn choose<H: Headers + ?Sized, D: Draw>(
    table: &Table,
    head: &RequestHead<'_, H>,
    routed: &Routed,
    draw: &mut D,
) -> Result<Resolution, Unresolved> {
    choice::choose(table, head, routed, draw)
}

/// Chooses the version of a request of the past, in the table that it was resolved by. What it held beside host, path and method is
/// taken from what is told of it.
///
/// # Errors
/// Says what does not fit the table.
pub fn again<H: Headers + ?Sized, D: Draw>(
    table: &Table,
    head: &RequestHead<'_, H>,
    past: &Past<'_>,
    draw: &mut D,
) -> Result<Resolution, String> {
    let routed = route(table, head).map_err(|unresolved| unresolved.to_string())?;
    choice::again(table, head, &routed, past, draw)
}

/// The methods that the routes of this path take, for the answer 405; each once, in alphabetical order.
#[must_use]
pub fn allowed<'t, H: ?Sized>(
    table: &'t Table,
    head: &RequestHead<'_, H>,
    domain: Option<DomainIndex>,
) -> Vec<&'t str> {
    match domain.map(|index| table.domain(index)) {
        None => table.triggers().allowed(head.path),
        Some(None) => Vec::new(),
        Some(Some(domain)) => {
            let path = way::split_stage(table, domain, head.path).map_or(head.path, |(_, path, _)| path);
            domain.routes.allowed(path)
        }
    }
}

impl Reason {
    /// One word for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Override => "override",
            Self::Rule(_) => "rule",
            Self::Bucket(_) => "bucket",
            Self::Slot(_) => "slot",
            Self::Random => "random",
            Self::Stable => "stable",
            Self::Only => "only",
        }
    }

    /// Which rule, bucket or slot it was.
    #[must_use]
    pub fn position(self) -> Option<u64> {
        match self {
            Self::Rule(rule) => Some(rule.into()),
            Self::Bucket(bucket) => Some(bucket.into()),
            Self::Slot(slot) => Some(slot),
            Self::Direct | Self::Override | Self::Random | Self::Stable | Self::Only => None,
        }
    }
}

impl Routed {
    /// The part of the request's path that routes and rewrite see: without the stage.
    #[must_use]
    pub fn path<'p>(&self, path: &'p str) -> &'p str {
        match path.get(self.stage_bytes as usize..) {
            Some("") | None => "/",
            Some(rest) => rest,
        }
    }
}

impl IssuedKey {
    /// The key as the cookie holds it and as it is hashed.
    #[must_use]
    pub fn text(self) -> [u8; 32] {
        std::array::from_fn(|at| b"0123456789abcdef"[(self.bits >> (4 * (31 - at))) as usize & 15])
    }
}

impl fmt::Display for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.bits)
    }
}

impl Unresolved {
    /// Every word that [`as_str`](Self::as_str) can be.
    pub const LABELS: [&'static str; 12] = [
        "bad_host",
        "bad_path",
        "no_domain",
        "no_route",
        "method_not_allowed",
        "no_stage",
        "direct_host_refused",
        "no_function",
        "no_alias",
        "no_version",
        "missing_key",
        "unreadable",
    ];

    /// The status that says so.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadHost | Self::BadPath | Self::MissingKey(..) => 400,
            Self::DirectHostRefused => 403,
            Self::NoDomain
            | Self::NoRoute(_)
            | Self::NoStage(_)
            | Self::NoFunction(_)
            | Self::NoAlias(..)
            | Self::NoVersion(..) => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::Unreadable(_) => 503,
        }
    }

    /// One word for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::BadPath => "bad_path",
            Self::NoDomain => "no_domain",
            Self::NoRoute(_) => "no_route",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NoStage(_) => "no_stage",
            Self::DirectHostRefused => "direct_host_refused",
            Self::NoFunction(_) => "no_function",
            Self::NoAlias(..) => "no_alias",
            Self::NoVersion(..) => "no_version",
            Self::MissingKey(..) => "missing_key",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// One sentence for clients and operators; it names nothing of the configuration.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::BadHost => "the request has no valid host",
            Self::BadPath => "the path is not absolute, or has a `.` or `..` segment",
            Self::NoDomain => "no domain is configured for this host",
            Self::NoRoute(_) => "no route takes this path",
            Self::MethodNotAllowed(_) => "no route takes this method here",
            Self::NoStage(_) => "the path names no stage",
            Self::DirectHostRefused => "this client may not call versions directly",
            Self::NoFunction(_) => "there is no such function",
            Self::NoAlias(..) => "there is no such alias",
            Self::NoVersion(..) => "there is no such version",
            Self::MissingKey(..) => "the request has no routing key",
            Self::Unreadable(_) => "the configuration of this route cannot be read",
        }
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}
