//! Valid configurations from a seed: every kind of value appears, every reference holds.

#![expect(clippy::unwrap_used, reason = "test data: what is written here is valid")]

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use config::model::*;
use config::value::name::{FunctionName, Qualifier, VersionId};
use config::value::path::{PathPattern, Rewrite};
use config::value::rule::{Condition, Interval, Pattern, Subject, Test, When};
use config::value::template::Template;
use config::value::weight::{Share, Split, Weight};

mod plan;

use plan::plan;

/// What generated configurations find in the environment.
pub(crate) fn env(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "0123456789abcdef0123".to_owned())
}

/// A small generator of pseudorandom numbers (SplitMix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.coin() { Some(make(self)) } else { None }
    }

    fn some<T>(&mut self, least: u64, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }

    /// Texts that YAML could take for something else.
    fn text(&mut self) -> String {
        let texts = [
            "a", "1", "1.50", "no", "null", "~", "a: b", "# x", "- y", "\"q\"", "it's", "{x}", "名前", "0x1F", "a\\b",
            "on", " lead",
        ];
        self.of(&texts).to_owned()
    }

    fn line(&mut self) -> String {
        self.text()
    }

    fn duration(&mut self, least: u64) -> Duration {
        let bits = self.below(30);
        Duration::from_millis(least + self.below(1 << bits))
    }

    fn seconds(&mut self) -> Duration {
        Duration::from_secs(1 + self.below(100_000))
    }
}

fn template(text: &str) -> Template {
    Template::parse(text, &env).unwrap()
}

pub(crate) fn config(seed: u64) -> Config {
    let d = &mut Draw(seed);
    let mut config = Config { process: Arc::new(process(d)), ..Config::default() };
    let plans = ["careful", "slow", "steps"];
    for name in plans {
        config.plans.insert(name.parse().unwrap(), Arc::new(plan(d)));
    }
    for name in ["shop", "assets", "Null", "yes"] {
        if d.coin() || name == "shop" {
            config.functions.insert(name.parse().unwrap(), Arc::new(function(d)));
        }
    }
    let names: Vec<FunctionName> = config.functions.keys().cloned().collect();
    for name in ["release", "dev", "on"] {
        if d.coin() {
            config.stages.insert(name.parse().unwrap(), Arc::new(stage(d, &names)));
        }
    }
    for host in ["shop.example.com", "*.example.com", "bücher.example", "10.0.0.1", "::1", "a-b.c_d.example"] {
        if d.coin() {
            let domain = domain(d, &config);
            config.domains.insert(host.parse().unwrap(), Arc::new(domain));
        }
    }
    config.triggers = routes(d, &config, true).into();
    config.base_domain =
        d.maybe(|d| Arc::new(BaseDomain { host: "fn.example.com".parse().unwrap(), public: d.coin() }));
    if d.coin() {
        let tokens = if d.coin() { vec![template("${TOKEN}"), template("0123456789abcdef")] } else { Vec::new() };
        config.overrides =
            Arc::new(Overrides { from: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], tokens });
    }
    config.trusted_proxies = d.maybe(|_| vec!["192.168.0.0/16".parse().unwrap()]).unwrap_or_default().into();
    config.default_certificate = d.maybe(|d| {
        let files = Certificate { cert: "default.crt".into(), key: "tls/default.key".into() };
        Arc::new(DefaultCertificate { files, unknown_names: d.coin() })
    });
    for name in ["oncall", "n"] {
        let notifier = notifier(d);
        config.notifiers.insert(name.parse().unwrap(), Arc::new(notifier));
    }
    if d.coin() {
        config.functions.insert("empty".parse().unwrap(), Arc::default());
    }
    for (name, function) in &config.functions {
        let highest = function.versions.keys().next_back().copied();
        let number = d.maybe(|d| NonZeroU32::new(9 + d.below(3) as u32).unwrap()).max(highest);
        config.numbers.extend(number.map(|number| (name.clone(), number)));
    }
    if d.coin() {
        config.numbers.insert("gone".parse().unwrap(), NonZeroU32::MAX);
    }
    config
}

fn process(d: &mut Draw) -> Process {
    let mut process = Process::default();
    if d.coin() {
        process.listeners = vec![
            Listener { address: "0.0.0.0:80".parse().unwrap(), tls: false, proxy_protocol_from: Vec::new() },
            Listener {
                address: "[::]:443".parse().unwrap(),
                tls: true,
                proxy_protocol_from: vec!["10.0.0.0/8".parse().unwrap()],
            },
        ];
        process.admin = d.of(&[
            AdminListener::at("127.0.0.1:0".parse().unwrap()),
            AdminListener::Tcp {
                address: "10.0.0.1:9900".parse().unwrap(),
                tls: Some(Certificate { cert: "tls/a: b.crt".into(), key: "tls/a.key".into() }),
                insecure: false,
            },
            AdminListener::Tcp { address: "[::]:9900".parse().unwrap(), tls: None, insecure: true },
            AdminListener::Socket("/run/weir: a.sock".into()),
        ]);
        process.admin_url = d.maybe(|d| d.of(&["https://weir.example.com", "http://10.0.0.1:9900/weir"]).to_owned());
        process.environment.allow = d.maybe(|_| vec!["*".parse().unwrap(), "CI_*".parse().unwrap()]);
        process.environment.operator = d.maybe(|_| vec!["CI_TOKEN".parse().unwrap()]).unwrap_or_default();
        process.calls =
            d.maybe(|_| ["*.example.com", "10.0.0.0/8", "::1"].map(|pattern| pattern.parse().unwrap()).to_vec());
        process.store = "a b/state: 1.db".into();
        process.dialects = d.maybe(dialects);
        process.access_log = AccessLog {
            to: d.of(&[AccessTarget::Stdout, AccessTarget::Off, AccessTarget::File("logs/a: b.jsonl".into())]),
            redact_query: d.coin(),
        };
        process.lane = d.of(&[LaneChoice::Relay, LaneChoice::Pingora]);
        process.workers = d.below(65) as usize;
        process.limits.head_bytes = 16_384 + d.below(1000) as usize;
        process.limits.body_bytes = 1 << d.below(50);
        process.limits.head_timeout = d.duration(100);
        let age = Duration::from_secs(3600) + d.duration(0);
        process.journal = Retention { age, entries: 1 + d.below(9), bytes: 1 << (20 + d.below(20)) };
        process.journal_notify = if d.coin() { vec!["audit".parse().unwrap()] } else { Vec::new() };
        process.keep_versions = d.maybe(|d| 1 + d.below(60) as usize);
        process.drain = Drain { delay: d.duration(0), deadline: d.duration(0) };
    }
    process
}

fn dialects(d: &mut Draw) -> Dialects {
    let secret = |d: &mut Draw| match d.coin() {
        true => KeySecret::Variable(Template::parse("${TOKEN}", &env).unwrap()),
        false => KeySecret::File("keys/a: b".into()),
    };
    let roles = [KeyRole::Viewer, KeyRole::Invoker, KeyRole::Operator];
    let keys = ["WEIRKEYCI0000000001", "AKID-a_b"];
    let tls = Certificate { cert: "tls/a: b.crt".into(), key: "tls/a.key".into() };
    Dialects {
        listener: d.of(&[
            AdminListener::Tcp { address: "127.0.0.1:9901".parse().unwrap(), tls: None, insecure: false },
            AdminListener::Tcp { address: "10.0.0.1:9901".parse().unwrap(), tls: Some(tls), insecure: false },
            AdminListener::Tcp { address: "[::]:9901".parse().unwrap(), tls: None, insecure: true },
        ]),
        account: d.of(&["000000000000", "123456789012"]).to_owned(),
        keys: keys.map(|id| AccessKey { id: id.to_owned(), secret: secret(d), role: d.of(&roles) }).to_vec(),
    }
}

pub(crate) fn function(d: &mut Draw) -> Function {
    let count = 3 + d.below(3) as u32;
    let mut versions: BTreeMap<_, _> =
        (1..=count).map(|n| (NonZeroU32::new(n).unwrap(), Arc::new(version(d, Some(n))))).collect();
    if d.coin() {
        let retired = Version { retired: true, ..version(d, Some(9)) };
        versions.insert(NonZeroU32::new(9).unwrap(), Arc::new(retired));
    }
    let mut function = Function {
        // The draft makes `$DEFAULT` a destination without an alias.
        draft: Some(Arc::new(version(d, None))),
        versions: Arc::new(versions),
        aliases: BTreeMap::new(),
        dialects: d.of(&[vec![], vec![Dialect::Fc], vec![Dialect::Aws, Dialect::Fc]]),
        invoke: InvokeSettings {
            path: d.of(&["/invoke", "/", "/a/b%20c"]).to_owned(),
            mode: d.of(&[InvokeMode::Auto, InvokeMode::Event, InvokeMode::Proxy]),
        },
        ..Function::default()
    };
    for name in ["prod", "no", "$DEFAULT"] {
        if d.coin() || name == "prod" {
            let alias = alias(d, count);
            function.aliases.insert(name.parse().unwrap(), Arc::new(alias));
        }
    }
    function
}

fn version(d: &mut Draw, number: Option<u32>) -> Version {
    let target = if d.below(5) == 0 {
        let body = d.text();
        Target::Response(FixedResponse { status: 503, headers: vec![("retry-after".into(), "60".into())], body })
    } else {
        Target::Upstream(Box::new(upstream(d)))
    };
    let version = Version {
        description: d.maybe(Draw::line),
        label: number.and_then(|n| d.maybe(|_| format!("label{n}"))),
        artifact: d.maybe(Draw::line),
        ..Version::new(target)
    };
    let mut version = version.sealed();
    if let (Some(_), Target::Upstream(upstream), true) = (number, &mut version.target, d.coin()) {
        // Moved since it was made.
        upstream.endpoints = vec![Endpoint { host: template("10.0.0.99"), port: 1 }];
    }
    version
}

fn upstream(d: &mut Draw) -> Upstream {
    let tls = d.maybe(|d| UpstreamTls {
        ca: d.maybe(|_| "tls/ca.pem".into()),
        sni: d.maybe(|_| "shop.internal".parse().unwrap()),
        verify: true,
    });
    let protocol = match (&tls, d.coin()) {
        (_, true) => Protocol::Http1,
        (Some(_), false) => Protocol::H2,
        (None, false) => Protocol::H2c,
    };
    let endpoint = |host: &str, port| Endpoint { host: template(host), port };
    let all = [
        endpoint("10.0.0.11", 8080),
        endpoint("2001:db8::1", 443),
        endpoint("shop.internal", 1),
        endpoint("${TOKEN}", 65535),
    ];
    let mut headers = HeaderEdits::default();
    if d.coin() {
        headers.set.insert("x-color".into(), template(d.of(&["blue", "1", "${TOKEN}", "a: b", "$${x}", ""])));
        headers.add.insert("x-null".into(), template("null"));
        headers.remove.push("x-old".into());
    }
    Upstream {
        endpoints: all[d.below(3) as usize..].to_vec(),
        protocol,
        tls,
        host: d.of(&[UpstreamHost::Keep, UpstreamHost::Endpoint, UpstreamHost::Set(template("shop.example.com:8443"))]),
        path_prefix: template(d.of(&["", "/base", "/a/b%20c"])),
        headers,
        health: d.maybe(|d| HealthCheck {
            path: "/healthz?full=1".into(),
            every: d.duration(100),
            timeout: d.duration(1),
            status: d.of(&[(200, 399), (200, 200)]),
            rise: 1 + d.below(3) as u32,
            fall: 1 + d.below(4) as u32,
        }),
        timeouts: if d.coin() {
            Timeouts { connect: d.duration(1), response: d.duration(1), idle: d.duration(1), keep_alive: d.duration(1) }
        } else {
            Timeouts::default()
        },
        retries: Retries {
            attempts: d.below(6) as u32,
            budget: d.below(101) as u32,
            on_status: d.of(&[vec![], vec![502, 503]]),
        },
        via: d.coin(),
        upgrade: d.of(&[
            Upgrades::default(),
            Upgrades::new(vec![]),
            Upgrades::new(vec!["websocket".into(), "tunnel".into()]),
        ]),
    }
}

fn id(d: &mut Draw, count: u32) -> VersionId {
    if d.below(6) == 0 { VersionId::Latest } else { VersionId::number(1 + d.below(count.into()) as u32).unwrap() }
}

fn split(d: &mut Draw, count: u32) -> Split {
    loop {
        let mut shares: BTreeMap<VersionId, Share> = BTreeMap::new();
        for _ in 0..=d.below(4) {
            shares.insert(id(d, count), format!("{}.{:02}", d.below(50), d.below(100)).parse().unwrap());
        }
        if let Ok(split) = Split::from_shares(&shares.into_iter().collect::<Vec<_>>()) {
            return split;
        }
    }
}

fn alias(d: &mut Draw, count: u32) -> Alias {
    let mut alias = Alias::new(split(d, count));
    if d.coin() {
        // Buckets with a history.
        let old = alias.buckets;
        alias.split = split(d, count);
        alias.buckets = old.reassign(&alias.split);
        alias.joined = id(d, count);
    }
    if d.coin() {
        alias.key = vec![KeySource::Header("x-user".into()), KeySource::Cookie("u".into()), KeySource::Query(d.text())];
        alias.key.extend(d.maybe(|d| match d.coin() {
            true => KeySource::ClientAddress,
            false => KeySource::IssueCookie { name: "weir_key".into(), max_age: d.seconds() },
        }));
    }
    alias.on_missing_key = d.of(&[OnMissingKey::Slot, OnMissingKey::Stable, OnMissingKey::Refuse]);
    alias.selection = d.of(&[Selection::Exact, Selection::Random]);
    alias.salt = d.maybe(|d| d.of(&["train-7", "1", "{x}", "a:b"]).to_owned());
    alias.rules = d.some(0, 3, |d| Rule { when: When { conditions: d.some(1, 3, condition) }, version: id(d, count) });
    alias.on_unhealthy = d.of(&[OnUnhealthy::Fallback, OnUnhealthy::Fail]);
    alias.shield = d.of(&[Shield::Off, Shield::Gateway, Shield::AnyServerError]);
    alias.stable = d.maybe(|d| id(d, count));
    alias.description = d.maybe(|d| d.text()).filter(|text| !text.trim().is_empty());
    alias.plan = d.maybe(|d| d.of(&["careful", "slow", "Canary10Percent5Minutes", "AllAtOnce"]).parse().unwrap());
    alias
}

fn condition(d: &mut Draw) -> Condition {
    let subjects = [
        Subject::Header("x-a".into()),
        Subject::Cookie("c".into()),
        Subject::Query("q: 1".into()),
        Subject::Path,
        Subject::Method,
        Subject::ClientAddress,
    ];
    let subject = d.of(&subjects);
    let test = match d.below(9) {
        0 => Test::Exact(d.text()),
        1 => Test::Prefix(d.text()),
        2 => Test::Suffix(d.text()),
        3 => Test::Regex(Pattern::new(d.of(&["^a+$", "[0-9]{2}: \"x\"", ""])).unwrap()),
        4 => Test::In(d.some(1, 3, Draw::text)),
        5 => Test::Present(d.coin()),
        6 => Test::Range(Interval { first: -5, last: d.below(100) as i64 }),
        7 => Test::Percent { weight: Weight::new(1 + d.below(10_000) as u16).unwrap(), salt: d.maybe(|_| "s".into()) },
        _ => {
            return Condition {
                subject: Subject::ClientAddress,
                test: Test::Networks(vec!["10.0.0.0/8".parse().unwrap()]),
            };
        }
    };
    // `client_address: present` is no test: an address is always there.
    let subject =
        if subject == Subject::ClientAddress && matches!(test, Test::Present(_)) { Subject::Path } else { subject };
    Condition { subject, test }
}

fn stage(d: &mut Draw, functions: &[FunctionName]) -> Stage {
    let variables =
        BTreeMap::from([("region".to_owned(), "eu: 1".to_owned()), ("alias".to_owned(), "prod".to_owned())]);
    let exceptions = d.maybe(|d| (d.of(functions), template("${stageVariables.alias}")));
    Stage {
        alias: template(d.of(&["prod", "${stageVariables.alias}"])),
        functions: exceptions.into_iter().collect(),
        variables,
    }
}

fn domain(d: &mut Draw, config: &Config) -> Domain {
    let stages: Vec<_> = config.stages.keys().cloned().collect();
    let stage = match d.below(3) {
        0 if !stages.is_empty() => DomainStage::Named(d.of(&stages)),
        1 if !stages.is_empty() => DomainStage::Path,
        _ => DomainStage::None,
    };
    let tls = config.process.listeners.iter().any(|listener| listener.tls) || !config.trusted_proxies.is_empty();
    Domain {
        certificate: d.maybe(|_| Box::new(Certificate { cert: "tls/a: b.crt".into(), key: "tls/no".into() })),
        stage,
        routes: routes(d, config, false),
        version_header: d.coin(),
        https: match d.below(3) {
            0 if tls => Https::Redirect(None),
            1 if tls => Https::Redirect(NonZeroU16::new(8443)),
            _ => Https::Optional,
        },
    }
}

fn routes(d: &mut Draw, config: &Config, empty: bool) -> Vec<Route> {
    let functions: Vec<FunctionName> = config.functions.keys().cloned().collect();
    let stages: Vec<_> = config.stages.keys().cloned().collect();
    let mut routes = Vec::new();
    for path in ["/*", "/static/*", "/users/{id}", "/a%20b", "/{a}/x/*"] {
        if d.coin() || (routes.is_empty() && path == "/{a}/x/*" && !empty) {
            let path: PathPattern = path.parse().unwrap();
            let qualifiers = [
                None,
                Some(Qualifier::Alias("prod".parse().unwrap())),
                Some(Qualifier::Version(VersionId::Latest)),
                Some("1".parse().unwrap()),
            ];
            let rewrite = match d.below(3) {
                0 => None,
                1 => Some(Rewrite::parse("/fixed", &path).unwrap()),
                _ => Some(Rewrite::regex("^/api/(.*)$", "/v2/$1").unwrap()),
            };
            routes.push(Route {
                path,
                methods: d.maybe(|_| vec!["GET".into(), "POST".into()]),
                function: d.of(&functions),
                qualifier: d.of(&qualifiers),
                stage: if stages.is_empty() { None } else { d.maybe(|d| d.of(&stages)) },
                rewrite,
            });
        }
    }
    routes
}

fn notifier(d: &mut Draw) -> Notifier {
    let secret = d.maybe(|_| template("${TOKEN}"));
    let url = template("https://example.com/hook?a=1#x");
    d.of(&[
        Notifier::DingTalk {
            access_token: template("${TOKEN}"),
            secret: secret.clone(),
            at_users: vec!["1".into()],
            url: secret.is_none().then(|| url.clone()),
        },
        Notifier::Feishu { url: url.clone(), secret: secret.clone() },
        Notifier::WeCom { key: template("k"), url: secret.is_some().then(|| url.clone()) },
        Notifier::Slack { url: url.clone() },
        Notifier::Webhook { url, secret },
        Notifier::Log,
    ])
}
