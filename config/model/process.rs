//! What needs a restart to change.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Certificate, Dialects};
use crate::value::name::NotifierName;
use crate::value::pattern::{CallPattern, VariablePattern};

/// What needs a restart to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Where clients come in. Default: `0.0.0.0:8080`, plain.
    pub listeners: Vec<Listener>,
    /// Where the admin API listens. Default `127.0.0.1:9900`.
    pub admin: AdminListener,
    /// File of the embedded store. Default `weir-state.db`.
    pub store: PathBuf,
    /// How much of the journal is kept. YAML: `journal: {age: 90d, entries: 100000, size: 1GiB}`.
    pub journal: Retention,
    /// The notifiers that are told the newest hash of the journal. YAML: `journal: {notify: [audit]}`.
    pub journal_notify: Vec<NotifierName>,
    /// The number of newest versions of a function that are kept when one is published, beside those that something names; `None` keeps
    /// all.
    /// YAML: `versions: {keep: 50}`.
    pub keep_versions: Option<usize>,
    /// Data-path threads; 0 means one per core.
    pub workers: usize,
    /// The lane that serves requests. YAML: `lane: relay` (default) or `lane: pingora`.
    pub lane: LaneChoice,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// How the process stops.
    pub drain: Drain,
    /// The address of the admin API as people and hooks reach it, without a slash at the end. YAML: `admin: {url: URL}`.
    pub admin_url: Option<String>,
    /// The names of the environment that a configuration may use.
    pub environment: EnvironmentRules,
    /// The hosts that an operator may name; `None` for all. YAML: `calls: {allow: [HOST]}`.
    pub calls: Option<Vec<CallPattern>>,
    /// Where the clouds' own clients are answered; `None`: nowhere.
    pub dialects: Option<Dialects>,
    /// One line per request. YAML: `access_log: stdout` (default), `off`, a path, or
    /// `access_log: {to: PATH, redact_query: true}`.
    pub access_log: AccessLog,
}

/// Where the admin API listens, and what protects it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminListener {
    /// TCP.
    Tcp {
        /// Where.
        address: SocketAddr,
        /// The certificate, where clients speak TLS.
        tls: Option<Certificate>,
        /// The word without which there is no plain text off this machine: tokens could be read on the way.
        insecure: bool,
    },
    /// A Unix socket, for the user of the process alone (mode 0600).
    Socket(PathBuf),
}

/// The names of the environment that a configuration may use. YAML: `environment: {allow: [PATTERN], operator: [PATTERN]}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvironmentRules {
    /// Those that anybody may use; `None` for all.
    pub allow: Option<Vec<VariablePattern>>,
    /// Those that an operator may use at new places.
    pub operator: Vec<VariablePattern>,
}

impl EnvironmentRules {
    /// Tells if anybody may use this name.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.iter().any(|pattern| pattern.takes(name)))
    }

    /// Tells if an operator may use this name wherever they like.
    #[must_use]
    pub fn gives_operators(&self, name: &str) -> bool {
        self.allows(name) && self.operator.iter().any(|pattern| pattern.takes(name))
    }
}

/// How much of the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Lines older than this may go. Default 90 days.
    pub age: Duration,
    /// Lines beyond so many may go, the oldest first. Default 100 000.
    pub entries: u64,
    /// Lines beyond so many bytes may go, the oldest first. Default 1 GiB.
    pub bytes: u64,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessLog {
    /// Where the lines go.
    pub to: AccessTarget,
    /// Whether values of query parameters are hidden. Default false.
    pub redact_query: bool,
}

/// The lane that serves requests. Answers are the same; speed and memory differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LaneChoice {
    /// The gateway's own lane for HTTP/1.1; what it does not carry goes through pingora.
    #[default]
    Relay,
    /// pingora, for everything.
    Pingora,
}

impl LaneChoice {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Pingora => "pingora",
        }
    }
}

/// Where access-log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccessTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere.
    Off,
    /// Appended to this file.
    File(PathBuf),
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// Whether clients speak TLS.
    pub tls: bool,
    /// Peers that must send a PROXY protocol header, v1 or v2; empty: nobody.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// Bounds on what clients may send. All finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, request line included. Over it: 431. Default 32 KiB.
    pub head_bytes: usize,
    /// Header fields of a request. Over it: 431. Default 100.
    pub headers: usize,
    /// Bytes of the request target. Over it: 414. Default 8 KiB.
    pub target_bytes: usize,
    /// Bytes of a request body. Over it: 413. Default 1 GiB.
    pub body_bytes: u64,
    /// Open client connections over all listeners. Default 100 000.
    pub connections: usize,
    /// Open client connections of one address, or of one /64 of IPv6. Default 10 000.
    pub connections_per_address: usize,
    /// Answers of one address that it has taken nothing of for five seconds. One more is cut. Default 1000.
    pub unread_per_address: usize,
    /// From the first byte of a head (or the TLS ClientHello) to its last. Default 10 s.
    pub head_timeout: Duration,
    /// A connection without a request. Default 75 s.
    pub idle_timeout: Duration,
    /// The longest time in which a client sends nothing of a request body that is waited for, or takes nothing of an
    /// answer. Default 60 s.
    pub body_timeout: Duration,
    /// The least rate of a client that is not silent.
    pub min_rate: MinRate,
}

/// The least bytes a second of a client, counted over the time in which bytes wait for it. Tunnels, event streams and gRPC
/// calls may be slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// The least rate of request bodies; `None` is `off`. Below it: 408. Default 256 bytes.
    pub upload: Option<u64>,
    /// The least rate at which answers are taken; `None` is `off`. Below it the answer is cut. Default 256 bytes.
    pub download: Option<u64>,
    /// The longest time that a client may be slower. Default 30 s.
    pub grace: Duration,
}

/// How the process stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// How long `/ready` answers 503 while everything is still served. Default 5 s.
    pub delay: Duration,
    /// How long requests in flight may take after that. Default 30 s.
    pub deadline: Duration,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            listeners: vec![Listener {
                address: SocketAddr::from(([0, 0, 0, 0], 8080)),
                tls: false,
                proxy_protocol_from: Vec::new(),
            }],
            admin: AdminListener::at(SocketAddr::from(([127, 0, 0, 1], 9900))),
            store: PathBuf::from("weir-state.db"),
            journal: Retention { age: Duration::from_secs(90 * 24 * 3600), entries: 100_000, bytes: 1 << 30 },
            journal_notify: Vec::new(),
            keep_versions: None,
            workers: 0,
            lane: LaneChoice::default(),
            limits: Limits::default(),
            drain: Drain { delay: Duration::from_secs(5), deadline: Duration::from_secs(30) },
            access_log: AccessLog::default(),
            admin_url: None,
            environment: EnvironmentRules::default(),
            calls: None,
            dialects: None,
        }
    }
}

impl AdminListener {
    /// Plain TCP.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self::Tcp { address, tls: None, insecure: false }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 << 10,
            headers: 100,
            target_bytes: 8 << 10,
            body_bytes: 1 << 30,
            connections: 100_000,
            connections_per_address: 10_000,
            unread_per_address: 1_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            min_rate: MinRate::default(),
        }
    }
}

impl Default for MinRate {
    fn default() -> Self {
        Self { upload: Some(256), download: Some(256), grace: Duration::from_secs(30) }
    }
}
