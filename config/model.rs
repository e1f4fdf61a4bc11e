//! The model: a configuration that cannot be wrong.
//!
//! Every value here is checked: names have their shape, splits sum to 10 000, every alias, stage, plan and version that
//! is named exists. Texts become a [`Config`] in [`parse`](crate::parse), one `Config` becomes the next in
//! [`edit`](crate::edit), and nothing else makes one. The maps share what an edit did not touch, so a clone costs nothing
//! and a diff costs what changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use ipnet::IpNet;

use crate::bucket::Buckets;
use crate::host::{Host, HostPattern};
use crate::name::{AliasName, FunctionName, NotifierName, PlanName, Qualifier, StageName, VersionId};
use crate::path::{PathPattern, Rewrite};
use crate::rule::When;
use crate::template::Template;
use crate::weight::{Split, Weight};

/// A whole valid configuration. `Default` is the empty file.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What needs a restart to change.
    pub process: Arc<Process>,
    /// Functions by name.
    pub functions: OrdMap<FunctionName, Arc<Function>>,
    /// Stages by name.
    pub stages: OrdMap<StageName, Arc<Stage>>,
    /// Custom domains by host pattern.
    pub domains: OrdMap<HostPattern, Arc<Domain>>,
    /// Routes that answer on every host that no domain claims.
    pub triggers: Arc<[Route]>,
    /// Plans by name.
    pub plans: OrdMap<PlanName, Arc<Plan>>,
    /// Notifiers by name.
    pub notifiers: OrdMap<NotifierName, Arc<Notifier>>,
    /// Direct hosts `<qualifier>--<function>.<host>`.
    pub base_domain: Option<Arc<BaseDomain>>,
    /// Who may choose a version by the header `x-weir-qualifier`.
    pub overrides: Arc<Overrides>,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed. YAML: `trusted_proxies`.
    pub trusted_proxies: Arc<[IpNet]>,
}

// --- functions -------------------------------------------------------------------------------------------------------

/// The deployable unit: a draft, frozen versions, and aliases over them. Any HTTP backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// `$LATEST`; a function may have none.
    pub draft: Option<Arc<Version>>,
    /// Published versions by number.
    pub versions: BTreeMap<NonZeroU32, Arc<Version>>,
    /// Aliases by name. `$DEFAULT` is here only when it was changed; otherwise it means all to `$LATEST`.
    pub aliases: BTreeMap<AliasName, Arc<Alias>>,
    /// Clouds whose context headers endpoints and clients get beside Weir's own.
    pub dialects: Vec<Dialect>,
}

/// A cloud whose header names a function speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// `x-fc-qualifier`, `x-fc-version-id` to the endpoint, `x-fc-invocation-function-version` to the client.
    Fc,
    /// `x-amz-executed-version` to the client.
    Aws,
}

/// One version, or the draft: where it runs and how it is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Who answers.
    pub target: Target,
    /// For people.
    pub description: Option<String>,
    /// Unique within the function; not a number.
    pub label: Option<String>,
    /// Digest of what runs there; stands for the endpoints when versions are compared.
    pub artifact: Option<String>,
    /// Out of use: no alias may name it, but its number stays taken.
    pub retired: bool,
}

/// Who answers for a version.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Endpoints on the network.
    Upstream(Box<Upstream>),
    /// The gateway itself, always the same: a maintenance page.
    Response(FixedResponse),
}

/// A fixed answer. YAML: `response: {status: 503, headers: {…}, body: "…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedResponse {
    /// 200..=599.
    pub status: u16,
    /// Checked header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// UTF-8 body; `content-type: text/plain; charset=utf-8` unless `headers` says otherwise.
    pub body: String,
}

/// Endpoints with one policy.
#[derive(Debug, Clone, PartialEq)]
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

/// A named split over versions of one function.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// Who gets how much.
    pub split: Split,
    /// Which callers each version has. A pure function of `split` for one and two versions, history for more.
    pub buckets: Buckets,
    /// The version that joined when the alias last went from one version to several: names the cohort of the salt.
    pub joined: VersionId,
    /// Where the routing key is found: the first source present wins. Empty: every request is keyless.
    pub key: Vec<KeySource>,
    /// What happens to a request without a routing key.
    pub on_missing_key: OnMissingKey,
    /// How keyless requests are drawn.
    pub selection: Selection,
    /// Shares or keeps a cohort under this name.
    pub salt: Option<String>,
    /// First hit wins.
    pub rules: Vec<Rule>,
    /// What happens when no endpoint of the chosen version is healthy.
    pub on_unhealthy: OnUnhealthy,
    /// The version that promotion left as the stable one.
    pub stable: Option<VersionId>,
    /// The plan that a release uses when it names none.
    pub plan: Option<PlanName>,
}

/// Where a routing key is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A request header, lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The client's address (the trusted one).
    ClientAddress,
    /// A cookie that Weir issues, holding a random key, when it is absent.
    IssueCookie {
        /// Name of the cookie.
        name: String,
        /// `Max-Age`. Default 30 days.
        max_age: Duration,
    },
}

/// What happens to a request without a routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissingKey {
    /// It is split like a keyless one.
    #[default]
    Slot,
    /// It goes to the alias's stable version, else to the largest weight.
    Stable,
    /// 400.
    Refuse,
}

/// How keyless requests are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// By the exact sequence: never more than one request off.
    #[default]
    Exact,
    /// Independently at random, as the clouds do.
    Random,
}

/// What happens when no endpoint of the chosen version is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnhealthy {
    /// The spare version answers.
    #[default]
    Fallback,
    /// 503.
    Fail,
}

/// Requests that go to a fixed version.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which requests.
    pub when: When,
    /// Where they go.
    pub version: VersionId,
}

// --- ways in ---------------------------------------------------------------------------------------------------------

/// A named environment: which alias each function has there, and variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The alias of every function that `functions` does not name. May hold this stage's own variables.
    pub alias: Template,
    /// Exceptions by function.
    pub functions: BTreeMap<FunctionName, Template>,
    /// For `${stageVariables.NAME}`; sent to endpoints as `x-weir-stage-<name>`.
    pub variables: BTreeMap<String, String>,
}

/// A custom host with routes and a certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// TLS certificate of this host; `None` serves it on plain listeners, or under a wildcard's certificate.
    pub certificate: Option<Certificate>,
    /// Where the stage of a request comes from.
    pub stage: DomainStage,
    /// In the order of the file; the most specific path wins, whatever the order.
    pub routes: Vec<Route>,
    /// Whether answers carry `x-weir-version`. Default true.
    pub version_header: bool,
    /// Whether requests on plain listeners are redirected (308) to https. YAML: `https: redirect`.
    pub redirect_to_https: bool,
}

/// Certificate and key as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// Private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Where the stage of a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainStage {
    /// No stage: a route without a qualifier means `$DEFAULT`.
    None,
    /// Always this one. YAML: `stage: release`.
    Named(StageName),
    /// The first path segment, removed before routes match, as API gateways do. YAML: `stage_from: path`.
    Path,
}

/// Paths and methods -> function and qualifier or stage. Also the form of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Which paths.
    pub path: PathPattern,
    /// Upper case; `None` means all. A route with `GET` takes `HEAD` too.
    pub methods: Option<Vec<String>>,
    /// The function.
    pub function: FunctionName,
    /// Wins over any stage.
    pub qualifier: Option<Qualifier>,
    /// Wins over the domain's stage.
    pub stage: Option<StageName>,
    /// How the path changes.
    pub rewrite: Option<Rewrite>,
}

/// Direct hosts: `<qualifier>--<function>.<host>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseDomain {
    /// The host below which they live.
    pub host: Host,
    /// Whether everybody may use them; otherwise only whom [`Overrides`] names.
    pub public: bool,
}

/// Who may choose a version: by direct host, or by the header `x-weir-qualifier`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Client networks.
    pub from: Vec<IpNet>,
    /// Tokens sent as `x-weir-override-token`; at least 16 characters each.
    pub tokens: Vec<Template>,
}

// --- releases --------------------------------------------------------------------------------------------------------

/// The recipe of a rollout: weights that rise, each held for a bake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// As it was written, for printing it back.
    pub form: PlanForm,
    /// What it means: at least one step, the weights rising. The last is 10 000 unless the plan holds there.
    pub steps: Vec<Step>,
}

/// How a plan was spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanForm {
    /// One step, then everything.
    CanaryStep { weight: Weight, interval: Duration },
    /// Equal steps.
    LinearStep { weight: Weight, interval: Duration },
    /// Any steps, then everything.
    CanaryPlans(Vec<(Weight, Duration)>),
    /// One weight that stays until someone promotes, shifts or aborts.
    CanaryWeight(Weight),
    /// Everything at once.
    Full,
    /// A predefined name of CodeDeploy.
    CodeDeploy(String),
    /// Own steps.
    Steps,
}

/// One part of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The candidate's weight.
    pub weight: Weight,
    /// How long it is held.
    pub bake: Bake,
}

/// The wait inside a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bake {
    /// So long.
    Time(Duration),
    /// Until the candidate has answered so many requests.
    Requests(u64),
    /// Until someone decides.
    Hold,
}

/// Where the news of a rollout goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notifier {
    /// DingTalk group robot.
    DingTalk { access_token: Template, secret: Option<Template>, at_users: Vec<String> },
    /// Feishu group robot.
    Feishu { url: Template, secret: Option<Template> },
    /// WeCom group robot.
    WeCom { key: Template },
    /// Slack-compatible incoming webhook.
    Slack { url: Template },
    /// JSON by POST, signed with HMAC-SHA256 when there is a secret.
    Webhook { url: Template, secret: Option<Template> },
    /// A log line.
    Log,
}

// --- process ---------------------------------------------------------------------------------------------------------

/// What needs a restart to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Where clients come in. Default: `0.0.0.0:8080`, plain.
    pub listeners: Vec<Listener>,
    /// Where the admin API listens. Default `127.0.0.1:9900`.
    pub admin: SocketAddr,
    /// File of the embedded store. Default `weir-state.db`.
    pub store: PathBuf,
    /// Data-path threads; 0 means one per core.
    pub workers: usize,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// How the process stops.
    pub drain: Drain,
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
    /// Open client connections of one address. Default 10 000.
    pub connections_per_address: usize,
    /// From the first byte of a head (or the TLS ClientHello) to its last. Default 10 s.
    pub head_timeout: Duration,
    /// A connection without a request. Default 75 s.
    pub idle_timeout: Duration,
    /// Between two bytes of a request body, or two writes to a client that does not read. Default 60 s.
    pub body_timeout: Duration,
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
            admin: SocketAddr::from(([127, 0, 0, 1], 9900)),
            store: PathBuf::from("weir-state.db"),
            workers: 0,
            limits: Limits::default(),
            drain: Drain { delay: Duration::from_secs(5), deadline: Duration::from_secs(30) },
        }
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
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
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

impl Function {
    /// The version behind an id, the draft included.
    #[must_use]
    pub fn version(&self, id: VersionId) -> Option<&Arc<Version>> {
        match id {
            VersionId::Number(number) => self.versions.get(&number),
            VersionId::Latest => self.draft.as_ref(),
        }
    }
}
