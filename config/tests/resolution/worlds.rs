//! Random valid configurations and requests, built from a list of choices so that they shrink.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::model::{
    Alias, BaseDomain, Config, Domain, DomainStage, Endpoint, Function, Https, KeySource, OnMissingKey, OnUnhealthy,
    Overrides, Protocol, Retries, Route, Rule, Selection, Shield, Stage, Target, Timeouts, Upgrades, Upstream,
    UpstreamHost, Version,
};
use config::value::bucket::Buckets;
use config::value::host::HostPattern;
use config::value::name::{AliasName, FunctionName, Qualifier, VersionId};
use config::value::template::Template;
use config::value::weight::{Split, Weight};

pub(crate) const FUNCTIONS: [&str; 3] = ["api-2", "assets", "shop"];
pub(crate) const ALIASES: [&str; 3] = ["$DEFAULT", "prepub", "prod"];
pub(crate) const STAGES: [&str; 2] = ["dev", "release"];
const DOMAINS: [&str; 6] =
    ["a.example", "shop.example", "*.example", "*.shop.example", "prod--shop.fn.example", "*.fn.example"];
const PATTERNS: [&str; 7] = ["/*", "/a", "/a/*", "/a/{x}", "/{x}/b", "/{x}/*", "/"];
pub(crate) const TOKEN: &str = "correct-horse-battery";

/// Numbers that decide; all 0 once they are used up.
pub(crate) struct Choices<'a>(pub std::slice::Iter<'a, u8>);

impl Choices<'_> {
    /// One of `0..n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }

    pub(crate) fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Once in `n` times.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    fn some<T: Clone>(&mut self, all: &[T], n: usize) -> Option<T> {
        if self.rarely(n) { Some(self.of(all)) } else { None }
    }
}

pub(crate) fn version(number: u32) -> VersionId {
    VersionId::number(number).unwrap()
}

pub(crate) fn template(text: &str) -> Template {
    Template::parse(text, &|_| None).unwrap()
}

pub(crate) fn upstream(host: &str, port: u16) -> Arc<Version> {
    let upstream = Upstream {
        endpoints: vec![Endpoint { host: template(host), port }],
        protocol: Protocol::default(),
        tls: None,
        host: UpstreamHost::Keep,
        path_prefix: template(""),
        headers: config::model::HeaderEdits::default(),
        health: None,
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        via: true,
        upgrade: Upgrades::default(),
    };
    let target = Target::Upstream(Box::new(upstream));
    Arc::new(Version::new(target))
}

pub(crate) fn alias(split: Split) -> Alias {
    Alias {
        buckets: Buckets::cold(&split),
        joined: split.parts().last().unwrap().0,
        split,
        key: Vec::new(),
        on_missing_key: OnMissingKey::Slot,
        selection: Selection::Exact,
        salt: None,
        rules: Vec::new(),
        on_unhealthy: OnUnhealthy::Fallback,
        shield: Shield::Off,
        stable: None,
        plan: None,
        description: None,
    }
}

pub(crate) fn split(parts: &[(VersionId, u16)]) -> Split {
    Split::new(parts.iter().map(|&(version, weight)| (version, Weight::new(weight).unwrap()))).unwrap()
}

pub(crate) fn domain(routes: Vec<Route>, stage: DomainStage) -> Domain {
    Domain { certificate: None, stage, routes, version_header: true, https: Https::Optional }
}

pub(crate) fn route(path: &str, function: &str, qualifier: Option<&str>) -> Route {
    Route {
        path: path.parse().unwrap(),
        methods: None,
        function: function.parse().unwrap(),
        qualifier: qualifier.map(|q| q.parse().unwrap()),
        stage: None,
        rewrite: None,
    }
}

/// A configuration in which every function and alias that a route names is there.
pub(crate) fn world(choices: &mut Choices<'_>) -> Config {
    let mut world = Config::default();
    for name in &FUNCTIONS[choices.below(3)..] {
        world.functions.insert(name.parse().unwrap(), Arc::new(function(choices)));
    }
    for name in &STAGES[choices.below(3)..] {
        world.stages.insert(name.parse().unwrap(), Arc::new(stage(choices, &world)));
    }
    for host in DOMAINS {
        if choices.below(2) == 1 {
            let stage = match choices.below(3) {
                0 => DomainStage::None,
                1 => DomainStage::Path,
                _ => world.stages.keys().next().cloned().map_or(DomainStage::None, DomainStage::Named),
            };
            let routes = (0..=choices.below(4)).map(|_| any_route(choices, &world)).collect();
            world.domains.insert(host.parse::<HostPattern>().unwrap(), Arc::new(domain(routes, stage)));
        }
    }
    world.triggers = (0..choices.below(3)).map(|_| any_route(choices, &world)).collect();
    if choices.below(3) > 0 {
        let base = BaseDomain { host: "fn.example".parse().unwrap(), public: choices.below(2) == 1 };
        world.base_domain = Some(Arc::new(base));
    }
    world.overrides = Arc::new(Overrides {
        from: choices.some(&["10.0.0.0/8".parse().unwrap()], 2).into_iter().collect(),
        tokens: choices.some(&[template(TOKEN)], 2).into_iter().collect(),
    });
    world
}

fn function(choices: &mut Choices<'_>) -> Function {
    let mut versions = BTreeMap::new();
    let count = 1 + choices.below(3) as u32;
    for number in 1..=count {
        let host = if choices.rarely(4) { "${stageVariables.region}.internal" } else { "10.0.0.1" };
        let port = 8000 + choices.below(3) as u16;
        versions.insert(number.try_into().unwrap(), upstream(host, port));
    }
    if choices.rarely(3) {
        let mut retired = Version::clone(&upstream("10.0.0.9", 80));
        retired.retired = true;
        versions.insert(9.try_into().unwrap(), Arc::new(retired));
    }
    let draft = choices.some(&[upstream("10.0.0.8", 80)], 2);
    let mut ids: Vec<VersionId> = (1..=count).map(version).collect();
    ids.extend(draft.is_some().then_some(VersionId::Latest));
    let mut aliases = BTreeMap::new();
    for name in ALIASES {
        if choices.below(3) > 0 {
            aliases.insert(name.parse().unwrap(), Arc::new(any_alias(choices, &ids)));
        }
    }
    Function { draft, versions: Arc::new(versions), aliases, ..Function::default() }
}

fn any_alias(choices: &mut Choices<'_>, ids: &[VersionId]) -> Alias {
    let weights: &[u16] = match (ids.len(), choices.below(3)) {
        (1, _) => &[10_000],
        (2, 0) => &[9_500, 500],
        (2, 1) => &[0, 10_000],
        (2, _) => &[5_000, 5_000],
        (3, 0) => &[7_000, 2_000, 1_000],
        (3, 1) => &[5_000, 5_000, 0],
        (3, _) => &[3_333, 3_333, 3_334],
        (_, 0) => &[2_500, 2_500, 2_500, 2_500],
        (_, _) => &[4_000, 0, 2_000, 4_000],
    };
    let parts: Vec<_> = ids.iter().copied().zip(weights.iter().copied()).collect();
    let mut alias = alias(split(&parts));
    let sources = [
        KeySource::Header("x-user".into()),
        KeySource::Cookie("uid".into()),
        KeySource::Query("u".into()),
        KeySource::IssueCookie { name: "weir_key".into(), max_age: Duration::from_secs(60) },
        KeySource::ClientAddress,
    ];
    alias.key = (0..choices.below(3)).map(|_| choices.of(&sources)).collect();
    alias.on_missing_key = choices.of(&[OnMissingKey::Slot, OnMissingKey::Stable, OnMissingKey::Refuse]);
    alias.selection = choices.of(&[Selection::Exact, Selection::Exact, Selection::Random]);
    alias.shield = choices.of(&[Shield::Off, Shield::Gateway, Shield::AnyServerError]);
    alias.on_unhealthy = choices.of(&[OnUnhealthy::Fallback, OnUnhealthy::Fail]);
    alias.salt = choices.some(&["cohort".to_owned()], 3);
    alias.stable = choices.some(ids, 3);
    let whens = ["invoke.headers.x-user exact Bob", "invoke.headers.X-Number range [1,50)"];
    alias.rules = (0..choices.below(3))
        .map(|_| Rule { when: choices.of(&whens).parse().unwrap(), version: choices.of(ids) })
        .collect();
    alias
}

fn stage(choices: &mut Choices<'_>, world: &Config) -> Stage {
    let names = ["prod", "prepub", "$DEFAULT", "${stageVariables.alias}", "other"];
    let mut variables = BTreeMap::new();
    if choices.below(3) > 0 {
        variables.insert("region".to_owned(), choices.of(&["eu", "us"]).to_owned());
    }
    if choices.below(3) > 0 {
        variables.insert("alias".to_owned(), choices.of(&["prod", "no alias"]).to_owned());
    }
    let mut functions = BTreeMap::new();
    for name in world.functions.keys() {
        if choices.rarely(3) {
            functions.insert(name.clone(), template(choices.of(&names)));
        }
    }
    Stage { alias: template(choices.of(&names)), functions, variables }
}

fn any_route(choices: &mut Choices<'_>, world: &Config) -> Route {
    let names: Vec<FunctionName> = world.functions.keys().cloned().collect();
    let name = choices.of(&names);
    let mut aliases: Vec<AliasName> = world.functions[&name].aliases.keys().cloned().collect();
    aliases.push(AliasName::default_alias());
    let qualifiers =
        [Qualifier::Version(version(1)), Qualifier::Version(version(9)), Qualifier::Alias(choices.of(&aliases))];
    let methods = [vec!["GET".to_owned()], vec!["HEAD".to_owned(), "POST".to_owned()]];
    let stages: Vec<_> = world.stages.keys().cloned().collect();
    let mut route = route(choices.of(&PATTERNS), name.as_str(), None);
    route.methods = choices.some(&methods, 3);
    route.qualifier = choices.some(&qualifiers, 2);
    route.stage = if stages.is_empty() { None } else { choices.some(&stages, 3) };
    route
}

/// A request, with the world's answers to what it may ask.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: &'static str,
    pub host: String,
    pub path: String,
    pub query: Option<&'static str>,
    pub headers: Vec<(&'static str, String)>,
    pub client: IpAddr,
    /// Whether version `n` of every function is healthy; 0 stands for the draft.
    pub healthy: [bool; 4],
    /// What every cursor stands at.
    pub slot: u64,
    /// Every random number.
    pub random: u64,
}

pub(crate) fn request(choices: &mut Choices<'_>) -> Request {
    let hosts = [
        "a.example",
        "A.Example.:80",
        "shop.example",
        "x.example",
        "x.shop.example",
        "y.x.shop.example",
        "prod--shop.fn.example",
        "2--api-2.fn.example",
        "latest--shop.fn.example",
        "9--shop.fn.example",
        "prod--none.fn.example",
        "none--shop.fn.example",
        "x.prod--shop.fn.example",
        "shop.fn.example",
        "example",
        "a b",
        "",
    ];
    let paths =
        ["/", "/a", "/a/", "/a/b", "/x/b", "/%61/x", "/a/../b", "/release", "/dev/a", "/release/a/b", "/c", "a"];
    let mut headers = Vec::new();
    for (name, values) in [
        ("x-user", &["Bob", "alice", ""][..]),
        ("x-number", &["49", "50", "x"]),
        ("cookie", &["uid=7", "a=b; weir_key=0123", "uid="]),
        ("x-weir-qualifier", &["2", "prod", "$LATEST", "none", "9"]),
        ("x-weir-override-token", &[TOKEN, "wrong", ""]),
    ] {
        if choices.rarely(3) {
            headers.push((name, choices.of(values).to_owned()));
        }
    }
    Request {
        method: choices.of(&["GET", "HEAD", "POST", "PUT"]),
        host: choices.of(&hosts).to_owned(),
        path: choices.of(&paths).to_owned(),
        query: choices.some(&["u=7", "u=%41b&u=2", "v=1"], 3),
        headers,
        client: choices.of(&["10.1.2.3", "192.0.2.1"]).parse().unwrap(),
        healthy: std::array::from_fn(|_| choices.below(3) > 0),
        slot: choices.below(256) as u64 * 77,
        random: choices.below(256) as u64 * (u64::MAX / 255),
    }
}
