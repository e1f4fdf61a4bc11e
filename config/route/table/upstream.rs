//! Upstreams with everything put in: what a version is for one stage.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::model::{
    self, FixedResponse, HealthCheck, Protocol, Retries, Target, Timeouts, Upgrades, UpstreamHost, UpstreamTls,
};
use crate::value::name::{FunctionName, StageName, VersionId};
use crate::value::template::Template;

/// Names one upstream. The stage is there when the version's texts use stage variables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamKey {
    /// The function.
    pub function: FunctionName,
    /// Its version.
    pub version: VersionId,
    /// The stage whose variables were put in.
    pub stage: Option<StageName>,
}

/// `shop:2`, or `shop:2@dev` with a stage.
impl fmt::Display for UpstreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.function, self.version)?;
        self.stage.as_ref().map_or(Ok(()), |stage| write!(f, "@{stage}"))
    }
}

/// One version, all variables put in.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub key: UpstreamKey,
    /// Who answers.
    pub answers: Answers,
}

/// Who answers for a version.
#[derive(Debug, Clone, PartialEq)]
pub enum Answers {
    /// Endpoints on the network.
    Endpoints(Arc<Rendered>),
    /// The gateway itself.
    Response(FixedResponse),
}

/// Endpoints with one policy, all variables put in.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Host (a DNS name, or an IP address without brackets) and port.
    pub endpoints: Vec<(String, u16)>,
    /// How the endpoints are spoken to.
    pub protocol: Protocol,
    /// TLS to the endpoints.
    pub tls: Option<UpstreamTls>,
    /// The `Host` that the endpoint sees.
    pub host: RenderedHost,
    /// Put before every path; empty or `/like/this`.
    pub path_prefix: String,
    /// Changes to the request headers.
    pub headers: RenderedEdits,
    /// Active checks.
    pub health: Option<HealthCheck>,
    /// All finite.
    pub timeouts: Timeouts,
    /// Retries inside the version.
    pub retries: Retries,
    /// True if endpoints are told in `Via` that a gateway is before them.
    pub via: bool,
    /// The offers of clients to upgrade a connection that endpoints get to see.
    pub upgrade: Upgrades,
}

/// The `Host` that an endpoint sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenderedHost {
    /// As the client sent it.
    Keep,
    /// The endpoint's own host and port.
    Endpoint,
    /// This one.
    Set(String),
}

/// Changes to headers: `remove`, then `set`, then `add`. Names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenderedEdits {
    /// Name and value.
    pub set: Vec<(String, String)>,
    /// Name and value.
    pub add: Vec<(String, String)>,
    /// Names.
    pub remove: Vec<String>,
}

/// Whether the version's texts use stage variables.
pub(super) fn uses_stage(version: &model::Version) -> bool {
    let Target::Upstream(upstream) = &version.target else { return false };
    let host = if let UpstreamHost::Set(host) = &upstream.host { Some(host) } else { None };
    upstream
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.host)
        .chain([&upstream.path_prefix])
        .chain(host)
        .chain(upstream.headers.set.values())
        .chain(upstream.headers.add.values())
        .any(|text| text.stage_variables().next().is_some())
}

impl Rendered {
    /// An upstream that says nothing but where it runs: at these endpoints.
    #[must_use]
    pub fn at(endpoints: Vec<(String, u16)>) -> Self {
        Self {
            endpoints,
            protocol: Protocol::default(),
            tls: None,
            host: RenderedHost::Keep,
            path_prefix: String::new(),
            headers: RenderedEdits::default(),
            health: None,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            via: true,
            upgrade: Upgrades::default(),
        }
    }
}

/// The answer of a version that is not there: no endpoint.
pub(super) fn nowhere() -> Answers {
    Answers::Endpoints(Arc::new(Rendered::at(Vec::new())))
}

/// The version with these stage variables; `None` when one of them is missing.
pub(super) fn render(version: &model::Version, variables: &BTreeMap<String, String>) -> Option<Answers> {
    let upstream = match &version.target {
        Target::Response(response) => return Some(Answers::Response(response.clone())),
        Target::Upstream(upstream) => upstream,
    };
    let text = |template: &Template| template.render(variables).ok();
    let fields = |fields: &BTreeMap<String, Template>| {
        fields.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect::<Option<Vec<_>>>()
    };
    let endpoints = upstream.endpoints.iter().map(|endpoint| Some((text(&endpoint.host)?, endpoint.port)));
    Some(Answers::Endpoints(Arc::new(Rendered {
        endpoints: endpoints.collect::<Option<_>>()?,
        protocol: upstream.protocol,
        tls: upstream.tls.clone(),
        host: match &upstream.host {
            UpstreamHost::Keep => RenderedHost::Keep,
            UpstreamHost::Endpoint => RenderedHost::Endpoint,
            UpstreamHost::Set(host) => RenderedHost::Set(text(host)?),
        },
        path_prefix: text(&upstream.path_prefix)?,
        headers: RenderedEdits {
            set: fields(&upstream.headers.set)?,
            add: fields(&upstream.headers.add)?,
            remove: upstream.headers.remove.clone(),
        },
        health: upstream.health.clone(),
        timeouts: upstream.timeouts.clone(),
        retries: upstream.retries.clone(),
        via: upstream.via,
        upgrade: upstream.upgrade.clone(),
    })))
}
