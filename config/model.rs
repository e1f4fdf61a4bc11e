//! The model: a configuration that cannot be wrong.
//!
//! Every value here is checked: names have their shape, splits sum to 10 000, every alias, stage, plan and version that
//! is named exists. Texts become a [`Config`] in [`parse`](crate::text::parse), one `Config` becomes the next in
//! [`edit`](crate::text::edit), and nothing else makes one. The maps share what an edit did not touch, so a clone costs nothing
//! and a diff costs what changed.

mod alias;
mod dialects;
mod function;
mod layer;
mod mention;
mod past;
mod patch;
mod process;
mod release;
mod steps;
mod unreadable;
mod upstream;
mod window;

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use ipnet::IpNet;

pub use dialects::{AccessKey, Dialects, KeyRole, KeySecret};
pub use function::{
    Alias, Dialect, FixedResponse, Function, FunctionSettings, InvokeMode, InvokeSettings, KeySource, OnMissingKey,
    OnUnhealthy, Rule, Selection, Target, Version,
};
pub use layer::Layer;
pub use mention::{Mention, Said};
pub use past::{EarlierSplit, Past};
pub use patch::{AliasPatch, Field};
pub use process::{
    AccessLog, AccessTarget, AdminListener, Drain, EnvironmentRules, LaneChoice, Limits, Listener, MinRate, Process,
    Retention,
};
pub(crate) use release::QUANTILES;
pub use release::{
    Bake, Check, Decision, Gate, Guard, Hook, HookCall, Hooks, LatencyGuard, Limit, Margin, Notifier, OnInsufficient,
    OnRestart, Plan, PlanForm, PrometheusCheck, Shield, Step, Window,
};
pub(crate) use steps::{percent, predefined_name, predefined_names};
pub use unreadable::Unreadable;
pub use upstream::{
    Endpoint, HeaderEdits, HealthCheck, Protocol, Retries, Timeouts, Upgrades, Upstream, UpstreamHost, UpstreamTls,
};

use crate::value::host::{Host, HostPattern};
use crate::value::name::{FunctionName, NotifierName, PlanName, Qualifier, StageName};
use crate::value::path::{PathPattern, Rewrite};
use crate::value::template::Template;

/// A whole valid configuration. `Default` is the empty file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// What needs a restart to change.
    pub process: Arc<Process>,
    /// Functions by name.
    pub functions: OrdMap<FunctionName, Arc<Function>>,
    /// The highest version number that each function ever used. It outlives versions and functions, so that no number
    /// is given out twice; at least the highest number that is there.
    pub numbers: OrdMap<FunctionName, NonZeroU32>,
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
    /// The certificate for TLS clients that name no host; without one they are refused.
    pub default_certificate: Option<Arc<DefaultCertificate>>,
    /// Texts of a store that cannot be read, by their names, such as `alias/shop/prod`. A file has none.
    pub unreadable: OrdMap<Arc<str>, Arc<Unreadable>>,
}

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
    pub certificate: Option<Box<Certificate>>,
    /// Where the stage of a request comes from.
    pub stage: DomainStage,
    /// In the order of the file; the most specific path wins, whatever the order.
    pub routes: Vec<Route>,
    /// Whether answers carry `x-weir-version`. Default true.
    pub version_header: bool,
    /// The treatment of requests that do not come by https.
    pub https: Https,
}

/// The treatment of requests that come by a plain listener, and by no proxy that ended TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Https {
    /// Serves them. YAML: `https: optional`.
    #[default]
    Optional,
    /// Redirects them (308): to this port, else to that of the first TLS listener, else to 443. YAML:
    /// `https: redirect`, or `https: {redirect: true, port: 443}`.
    Redirect(Option<NonZeroU16>),
}

/// Certificate and key as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Certificate {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// Private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The certificate for TLS handshakes that name no host with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultCertificate {
    /// The certificate and its key.
    pub files: Certificate,
    /// Includes clients that name an unknown host; otherwise only those that name none get it. Default false.
    pub unknown_names: bool,
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

impl Config {
    /// The functions that `other` does not have, or has otherwise. Costs what differs.
    pub fn functions_unlike<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a FunctionName, &'a Arc<Function>)> {
        other.functions.diff(&self.functions).filter_map(|item| match item {
            DiffItem::Add(name, function) | DiffItem::Update { new: (name, function), .. } => Some((name, function)),
            DiffItem::Remove(..) => None,
        })
    }

    /// The domains that have another certificate than in `other`, with that certificate; `None` where there is none any
    /// more. Costs what differs.
    pub fn certificates_unlike<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a HostPattern, Option<&'a Certificate>)> {
        other.domains.diff(&self.domains).filter_map(|item| {
            let (host, old, new) = match item {
                DiffItem::Add(host, new) => (host, None, Some(new)),
                DiffItem::Update { old: (_, old), new: (host, new) } => (host, Some(old), Some(new)),
                DiffItem::Remove(host, old) => (host, Some(old), None),
            };
            let of = |domain: Option<&'a Arc<Domain>>| domain.and_then(|domain| domain.certificate.as_deref());
            (of(old) != of(new)).then_some((host, of(new)))
        })
    }
}
