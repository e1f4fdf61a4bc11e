//! Where a version runs, and how it is spoken to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::value::host::Host;
use crate::value::template::Template;

/// Endpoints with one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// At least one, none twice.
    pub endpoints: Vec<Endpoint>,
    /// How the endpoints are spoken to. YAML: `http/1.1` (default), `h2`, `h2c`.
    pub protocol: Protocol,
    /// TLS to the endpoints; `None` for plain text.
    pub tls: Option<UpstreamTls>,
    /// The `Host` that the endpoint sees. YAML: `keep` (default), `endpoint`, or a host.
    pub host: UpstreamHost,
    /// Put before every path; empty or `/like/this`, without a trailing slash. May hold stage variables.
    pub path_prefix: Template,
    /// Changes to the request headers.
    pub headers: HeaderEdits,
    /// Active checks; `None` leaves health to what requests show.
    pub health: Option<HealthCheck>,
    /// All finite.
    pub timeouts: Timeouts,
    /// Retries inside the version.
    pub retries: Retries,
    /// True if endpoints are told in `Via` that a gateway is before them. YAML: `on` (default), `off`.
    pub via: bool,
    /// The offers of clients to upgrade a connection that endpoints get to see. Default WebSocket alone, and none where
    /// the protocol is HTTP/2.
    pub upgrade: Upgrades,
}

/// One address: `10.0.0.11:8080`, `shop.internal:8080`, `[::1]:80`, `${stageVariables.region}.shop.internal:80`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// An IP address (IPv6 without brackets) or a DNS name.
    pub host: Template,
    /// 1..=65535.
    pub port: u16,
}

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 over plain text with prior knowledge.
    H2c,
}

/// TLS to endpoints. The shorthand `https://…` gives the default of every field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of the certificate authorities; `None` takes the system's.
    pub ca: Option<PathBuf>,
    /// Name that the certificate must carry; `None` takes the endpoint's host.
    pub sni: Option<Host>,
    /// Whether the certificate is verified; `false` is for tests and warned about.
    pub verify: bool,
}

/// The `Host` that an endpoint sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamHost {
    /// As the client sent it.
    Keep,
    /// The endpoint's own host and port.
    Endpoint,
    /// This one. May hold stage variables.
    Set(Template),
}

/// Changes to a message's headers: `remove`, then `set`, then `add`. Names are lower case and checked; hop-by-hop
/// fields, `host`, `content-length` and Weir's own context headers are not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Replaces every value of the name.
    pub set: BTreeMap<String, Template>,
    /// Adds a value.
    pub add: BTreeMap<String, Template>,
    /// Drops every value of the name.
    pub remove: Vec<String>,
}

/// Protocols that clients may upgrade a connection to. Any other offer is left out, and the request goes on without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upgrades(
    /// Lower-case tokens, none twice; `None` where the file lists none, and the protocol decides.
    Option<Box<[String]>>,
);

/// An active check: `GET path` on every endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Starts with `/`; may have a query.
    pub path: String,
    /// Time between checks of one endpoint. Default 5 s, at least 100 ms.
    pub every: Duration,
    /// For connect and answer together. Default 2 s.
    pub timeout: Duration,
    /// Statuses that count as healthy, as inclusive ranges. Default 200..=399.
    pub status: (u16, u16),
    /// Consecutive good checks until it is healthy again. Default 2.
    pub rise: u32,
    /// Consecutive bad checks until it is unhealthy. Default 3.
    pub fall: u32,
}

/// How long each part may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS together. Default 1 s.
    pub connect: Duration,
    /// From the last byte of the request to the head of the response. Default 30 s.
    pub response: Duration,
    /// Between two bytes of a body, and the idle limit of a tunnel. Default 60 s.
    pub idle: Duration,
    /// How long an unused connection to an endpoint is kept. Default 55 s.
    pub keep_alive: Duration,
}

/// Retries inside a version, for requests that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Attempts after the first. Default 1, at most 5.
    pub attempts: u32,
    /// Part of the requests that may be retries, in percent; 0 turns retries off. Default 20.
    pub budget: u32,
    /// Statuses that are tried again, besides connect errors and resets. Default none; of 500..=599.
    pub on_status: Vec<u16>,
}

impl Upgrades {
    const WEBSOCKET: &str = "websocket";

    /// These protocols: lower-case tokens, none twice.
    #[must_use]
    pub fn new(protocols: Vec<String>) -> Self {
        Self(Some(protocols.into()))
    }

    /// The protocols that the file lists, in its order; `None` where it lists none.
    #[must_use]
    pub fn listed(&self) -> Option<&[String]> {
        self.0.as_deref()
    }

    /// True if an offer of this protocol, in upper or lower case, goes to endpoints that speak `spoken`. Upgrades are of
    /// HTTP/1.1 alone (RFC 9113, section 8.6), so those that speak HTTP/2 see the listed ones only.
    #[must_use]
    pub fn takes(&self, protocol: &[u8], spoken: Protocol) -> bool {
        match &self.0 {
            Some(listed) => listed.iter().any(|taken| protocol.eq_ignore_ascii_case(taken.as_bytes())),
            None => spoken == Protocol::Http1 && protocol.eq_ignore_ascii_case(Self::WEBSOCKET.as_bytes()),
        }
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/".into(),
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            status: (200, 399),
            rise: 2,
            fall: 3,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(55),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 1, budget: 20, on_status: Vec::new() }
    }
}
