//! Why a request goes where it goes, step by step, in words.
//!
//! The steps are read off the result of the same [`resolve`] that serves requests, so that they cannot say anything else.

use std::fmt;

use serde_json::{Value, json};

use crate::model::{KeySource, Route, Shield};
use crate::route::head::{Headers, RequestHead};
use crate::route::resolve::{Draw, Past, Reason, Resolution, Routed, Unresolved, again, allowed, resolve};
use crate::route::table::{AliasIndex, Answers, DomainIndex, FunctionIndex, StageIndex, Table, UpstreamIndex, Via};
use crate::value::host::normalize;

/// What happened to a request on its way, and where that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// In the order of resolution.
    pub steps: Vec<Step>,
    /// Where it goes.
    pub outcome: Result<Resolution, Unresolved>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was decided: `host`, `domain`, `route`, `trigger`, `direct host`, `stage`, `function`, `path`, `alias`,
    /// `override`, `rule`, `bucket`, `slot`, `random`, `stable`, `only`, `version`, `fallback`, `endpoints`, `answer`,
    /// `spare`, `shield`, `cookie`, or `unresolved`.
    pub name: &'static str,
    /// What was found.
    pub found: String,
}

/// Resolves a request and says why it goes there. Draws like any request: give it draws that do not count.
pub fn explain<H: Headers + ?Sized, D: Draw>(table: &Table, head: &RequestHead<'_, H>, draw: &mut D) -> Explanation {
    let outcome = resolve(table, head, draw);
    let mut telling = Telling { table, steps: Vec::new() };
    let mut buffer = [0; 256];
    if let Some(host) = normalize(head.host, &mut buffer) {
        telling.step("host", host);
    }
    match &outcome {
        Ok(resolution) => telling.resolved(resolution, head),
        Err(unresolved) => telling.unresolved(*unresolved, head),
    }
    Explanation { steps: telling.steps, outcome }
}

/// Explains a request of the past, by the table that it was resolved by.
///
/// # Errors
/// Says what does not fit the table.
pub fn explain_again<H: Headers + ?Sized, D: Draw>(
    table: &Table,
    head: &RequestHead<'_, H>,
    past: &Past<'_>,
    draw: &mut D,
) -> Result<Explanation, String> {
    let resolution = again(table, head, past, draw)?;
    let mut telling = Telling { table, steps: Vec::new() };
    let mut buffer = [0; 256];
    if let Some(host) = normalize(head.host, &mut buffer) {
        telling.step("host", host);
    }
    telling.resolved(&resolution, head);
    Ok(Explanation { steps: telling.steps, outcome: Ok(resolution) })
}

impl Explanation {
    /// As JSON: `{"resolved": …, "status": …, "steps": [{"step": …, "found": …}]}`.
    #[must_use]
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(|s| json!({"step": s.name, "found": s.found})).collect();
        match &self.outcome {
            Ok(resolution) => json!({"resolved": true, "version": resolution.version.to_string(), "steps": steps}),
            Err(unresolved) => json!({
                "resolved": false,
                "unresolved": unresolved.as_str(),
                "status": unresolved.status(),
                "steps": steps,
            }),
        }
    }
}

/// One line for each step.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{:<11} {}", step.name, step.found)?;
        }
        Ok(())
    }
}

struct Telling<'t> {
    table: &'t Table,
    steps: Vec<Step>,
}

impl Telling<'_> {
    fn step(&mut self, name: &'static str, found: impl fmt::Display) {
        self.steps.push(Step { name, found: found.to_string() });
    }

    fn resolved<H: Headers + ?Sized>(&mut self, resolution: &Resolution, head: &RequestHead<'_, H>) {
        let Routed { via, function, stage, .. } = resolution.routed;
        self.way(via, function, stage);
        self.path(&resolution.routed, head.path);
        if let Some(alias) = resolution.alias {
            self.alias(alias, resolution.overridden);
        }
        self.reason(resolution);
        self.step("version", resolution.fallback_from.unwrap_or(resolution.version));
        if let Some(from) = resolution.fallback_from {
            let version = resolution.version;
            self.step("fallback", format_args!("version {version}: no endpoint of version {from} is healthy"));
        }
        self.upstream(resolution.upstream);
        if let Some((version, _)) = resolution.spare {
            self.step("spare", format_args!("version {version}"));
            self.shield(resolution);
        }
        if let (Some(key), Some(alias)) = (resolution.issued, resolution.alias.and_then(|a| self.table.alias(a)))
            && let Some(KeySource::IssueCookie { name, .. }) = alias.model.key.get(key.source as usize)
        {
            self.step("cookie", format_args!("{name}={key} is issued"));
        }
    }

    fn shield(&mut self, resolution: &Resolution) {
        let Some(alias) = resolution.alias.and_then(|alias| self.table.alias(alias)) else { return };
        let version = resolution.version;
        let statuses = match alias.shield(version) {
            Shield::Off => return,
            Shield::Gateway => "502, 503, 504",
            Shield::AnyServerError => "any 5xx",
        };
        let failures = format_args!("version {version} fails: no whole answer in time, {statuses}");
        self.step("shield", format_args!("the spare answers when {failures}"));
    }

    fn unresolved<H: Headers + ?Sized>(&mut self, unresolved: Unresolved, head: &RequestHead<'_, H>) {
        let detail = match unresolved {
            Unresolved::NoRoute(domain) | Unresolved::NoStage(domain) => {
                self.domain(domain);
                String::new()
            }
            Unresolved::MethodNotAllowed(domain) => {
                if let Some(domain) = domain {
                    self.domain(domain);
                }
                format!(": allowed are {}", allowed(self.table, head, domain).join(", "))
            }
            Unresolved::NoFunction(via) => {
                self.via(via);
                String::new()
            }
            Unresolved::Unreadable(via) => {
                self.via(via);
                ": what it leads to is stored and cannot be read, see `weir status`".to_owned()
            }
            Unresolved::NoAlias(via, function, stage) => {
                self.way(via, function, stage);
                String::new()
            }
            Unresolved::NoVersion(via, function, stage, version) => {
                self.way(via, function, stage);
                format!(": version {version} is not there, is retired, or uses a variable that its stage does not have")
            }
            Unresolved::MissingKey(via, alias) => {
                if let Some(entry) = self.table.alias(alias) {
                    self.way(via, entry.function, None);
                }
                self.alias(alias, false);
                String::new()
            }
            Unresolved::BadHost | Unresolved::BadPath | Unresolved::NoDomain | Unresolved::DirectHostRefused => {
                String::new()
            }
        };
        self.step("unresolved", format_args!("{} {unresolved}{detail}", unresolved.status()));
    }

    fn way(&mut self, via: Via, function: FunctionIndex, stage: Option<StageIndex>) {
        self.via(via);
        if let Some(stage) = stage.and_then(|stage| self.table.stage(stage)) {
            self.step("stage", &stage.name);
        }
        if let Some(function) = self.table.function(function) {
            self.step("function", &function.name);
        }
    }

    fn via(&mut self, via: Via) {
        match via {
            Via::Domain(domain, number) => {
                self.domain(domain);
                let route = self.table.domain(domain).and_then(|d| d.model.routes.get(number as usize));
                if let Some(route) = route {
                    self.step("route", describe(number, route));
                }
            }
            Via::Trigger(number) => {
                if let Some(route) = self.table.config().triggers.get(number as usize) {
                    self.step("trigger", describe(number, route));
                }
            }
            Via::DirectHost => {
                if let Some(base) = &self.table.config().base_domain {
                    self.step("direct host", format_args!("<qualifier>--<function>.{}", base.host));
                }
            }
            Via::Invoke => self.step("invocation", "names function and qualifier itself"),
        }
    }

    fn domain(&mut self, domain: DomainIndex) {
        if let Some(domain) = self.table.domain(domain) {
            self.step("domain", &domain.host);
        }
    }

    /// The path that the endpoint sees, when that is another than the client sent.
    fn path(&mut self, routed: &Routed, sent: &str) {
        let path = routed.path(sent);
        let rewrite = self.table.route(routed.via).and_then(|route| route.rewrite.as_ref());
        match rewrite.map(|rewrite| rewrite.apply(path)) {
            Some(Some(path)) => self.step("path", path),
            Some(None) => self.step("path", "400: the rewrite makes no valid path of it"),
            None if path != sent => self.step("path", path),
            None => {}
        }
    }

    fn alias(&mut self, index: AliasIndex, overridden: bool) {
        let Some(alias) = self.table.alias(index) else { return };
        if overridden {
            self.step("override", "the header x-weir-qualifier names the alias");
        }
        self.step("alias", format_args!("{} ({})", alias.name, alias.model.split));
        let function = self.table.function(alias.function).map(|function| &function.model);
        if let Some((function, layer)) = function.and_then(|f| Some((f, f.layers.get(&alias.name)?)))
            && let Some(own) = function.own(&alias.name)
        {
            self.step("rollout", format_args!("{} runs on the alias, whose own split is {}", layer.rollout, own.split));
        }
    }

    fn reason(&mut self, resolution: &Resolution) {
        match resolution.reason {
            Reason::Direct => self.step("direct", "the version is named"),
            Reason::Override => self.step("override", "the header x-weir-qualifier names the version"),
            Reason::Rule(number) => self.step("rule", format_args!("rule {} holds", number + 1)),
            Reason::Bucket(bucket) => self.step("bucket", format_args!("{bucket} of 10000, by the routing key")),
            Reason::Slot(slot) => self.step("slot", format_args!("{slot}: no rule and no routing key")),
            Reason::Random => self.step("random", "no rule and no routing key"),
            Reason::Stable => self.step("stable", "no rule and no routing key"),
            Reason::Only => self.step("only", "no other version is above weight 0"),
        }
    }

    fn upstream(&mut self, index: UpstreamIndex) {
        let Some(upstream) = self.table.upstream(index) else { return };
        match &upstream.answers {
            Answers::Endpoints(rendered) => {
                let endpoints: Vec<String> =
                    rendered.endpoints.iter().map(|(host, port)| address(host, *port)).collect();
                self.step("endpoints", endpoints.join(", "));
            }
            Answers::Response(response) => self.step("answer", format_args!("a fixed {}", response.status)),
        }
    }
}

fn describe(number: u32, route: &Route) -> String {
    let mut text = format!("{} ({}", route.path, number + 1);
    if let Some(methods) = &route.methods {
        text.push_str(&format!(", {}", methods.join(" ")));
    }
    text.push_str(&format!(") to {}", route.function));
    if let Some(qualifier) = &route.qualifier {
        text.push_str(&format!(":{qualifier}"));
    }
    text
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        self, Config, Domain, DomainStage, FixedResponse, Function, Https, OnMissingKey, OnUnhealthy, Selection,
    };
    use crate::model::{Target, Version};
    use crate::value::bucket::Buckets;
    use crate::value::name::VersionId;
    use crate::value::path::Rewrite;
    use crate::value::weight::{Split, Weight};

    struct At(u64, bool);

    impl Draw for At {
        fn slot(&mut self, _: AliasIndex) -> u64 {
            self.0
        }

        fn random(&mut self) -> u64 {
            self.0
        }

        fn healthy(&self, upstream: UpstreamIndex) -> bool {
            self.1 || upstream.get() > 0
        }
    }

    fn config() -> Config {
        let number = |n| VersionId::number(n).unwrap();
        let split = Split::new([(number(1), Weight::new(9_500).unwrap()), (number(2), Weight::new(500).unwrap())]);
        let split = split.unwrap();
        let alias = model::Alias {
            buckets: Buckets::cold(&split),
            split,
            joined: number(2),
            key: vec![KeySource::IssueCookie { name: "weir_key".into(), max_age: std::time::Duration::from_secs(60) }],
            on_missing_key: OnMissingKey::Slot,
            selection: Selection::Exact,
            salt: None,
            rules: Vec::new(),
            on_unhealthy: OnUnhealthy::Fallback,
            shield: Shield::Gateway,
            stable: None,
            plan: None,
            description: None,
        };
        let answer = FixedResponse { status: 503, headers: Vec::new(), body: String::new() };
        let target = Target::Response(answer);
        let version = Version::new(target);
        let versions = (1..=2u32).map(|n| (n.try_into().unwrap(), Arc::new(version.clone())));
        let aliases = BTreeMap::from([("prod".parse().unwrap(), Arc::new(alias))]);
        let mut config = Config::default();
        let function = Function { versions: Arc::new(versions.collect()), aliases, ..Function::default() };
        config.functions.insert("shop".parse().unwrap(), Arc::new(function));
        let path = "/api/*".parse().unwrap();
        let rewrite = Some(Rewrite::parse("/v2/*", &path).unwrap());
        let qualifier = Some("prod".parse().unwrap());
        let methods = Some(vec!["GET".to_owned()]);
        let route = Route { path, methods, function: "shop".parse().unwrap(), qualifier, stage: None, rewrite };
        let stage = DomainStage::None;
        let domain =
            Domain { certificate: None, stage, routes: vec![route], version_header: true, https: Https::Optional };
        config.domains.insert("shop.example".parse().unwrap(), Arc::new(domain));
        config
    }

    fn told(method: &str, host: &str, path: &str, healthy: bool) -> (String, Value) {
        told_by(At(7, healthy), method, host, path)
    }

    fn told_by(mut draw: At, method: &str, host: &str, path: &str) -> (String, Value) {
        let table = Table::compile(&config());
        let headers: &[(&str, &str)] = &[];
        let head = RequestHead { method, host, path, query: None, headers, client: [192, 0, 2, 1].into() };
        let explanation = explain(&table, &head, &mut draw);
        (explanation.to_string(), explanation.json())
    }

    #[test]
    fn every_step_of_a_resolution() {
        let (text, json) = told("GET", "Shop.Example:80", "/api/cart", true);
        assert_eq!(
            text,
            "\
host        shop.example
domain      shop.example
route       /api/* (1, GET) to shop:prod
function    shop
path        /v2/cart
alias       prod (1: 95, 2: 5)
bucket      3909 of 10000, by the routing key
version     1
answer      a fixed 503
spare       version 2
cookie      weir_key=00000000000000070000000000000007 is issued
"
        );
        assert_eq!(json["resolved"], true);
        assert_eq!(json["version"], "1");
        assert_eq!(json["steps"][0], json!({"step": "host", "found": "shop.example"}));
        let (text, _) = told("GET", "shop.example", "/api/cart", false);
        assert!(text.contains("fallback    version 2: no endpoint of version 1 is healthy\n"), "{text}");
    }

    #[test]
    fn a_shielded_version_says_who_answers_for_it() {
        let mut drawn = (0..1_000).map(|draw| told_by(At(draw, true), "GET", "shop.example", "/api").0);
        let second = drawn.find(|text| text.contains("version     2\n")).unwrap();
        let shielded = "spare       version 1\n\
                        shield      the spare answers when version 2 fails: no whole answer in time, 502, 503, 504\n";
        assert!(second.contains(shielded), "{second}");
    }

    #[test]
    fn why_a_request_goes_nowhere() {
        let (text, json) = told("PUT", "shop.example", "/api", true);
        assert_eq!(
            text,
            "\
host        shop.example
domain      shop.example
unresolved  405 no route takes this method here: allowed are GET, HEAD
"
        );
        assert_eq!((&json["resolved"], &json["status"]), (&json!(false), &json!(405)));
        assert_eq!(told("GET", "a b", "/", true).0, "unresolved  400 the request has no valid host\n");
    }
}
