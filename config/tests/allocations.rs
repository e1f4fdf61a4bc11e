//! Resolving allocates nothing, whatever decides.
#![expect(clippy::unwrap_used, reason = "what is unwrapped here is made by the test itself")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use config::model::{
    Alias, BaseDomain, Config, Domain, DomainStage, FixedResponse, Function, Https, KeySource, OnMissingKey,
    OnUnhealthy, Overrides, Route, Rule, Selection, Shield, Stage, Target, Version,
};
use config::route::resolve::{Draw, Reason, RequestHead, Resolution, Unresolved, resolve};
use config::route::table::{AliasIndex, Table, UpstreamIndex};
use config::value::bucket::Buckets;
use config::value::name::VersionId;
use config::value::rule::{Condition, Pattern, Subject, Test, When};
use config::value::template::Template;
use config::value::weight::{Split, Weight};

struct Counter(u64);

impl Draw for Counter {
    fn slot(&mut self, _: AliasIndex) -> u64 {
        self.0 += 1;
        self.0
    }

    fn random(&mut self) -> u64 {
        self.0 += 1;
        self.0 << 40
    }

    fn healthy(&self, _: UpstreamIndex) -> bool {
        !self.0.is_multiple_of(3)
    }
}

fn number(n: u32) -> VersionId {
    VersionId::number(n).unwrap()
}

fn alias(change: impl FnOnce(&mut Alias)) -> Arc<Alias> {
    let weight = |n| Weight::new(n).unwrap();
    let split = Split::new([(number(1), weight(9_500)), (number(2), weight(500))]).unwrap();
    let mut alias = Alias {
        buckets: Buckets::cold(&split),
        split,
        joined: number(2),
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
    };
    change(&mut alias);
    Arc::new(alias)
}

fn route(path: &str, qualifier: Option<&str>) -> Route {
    Route {
        path: path.parse().unwrap(),
        methods: None,
        function: "shop".parse().unwrap(),
        qualifier: qualifier.map(|q| q.parse().unwrap()),
        stage: None,
        rewrite: None,
    }
}

fn config() -> Config {
    let answer = |status| {
        let target = Target::Response(FixedResponse { status, headers: Vec::new(), body: String::new() });
        Arc::new(Version::new(target))
    };
    let keys = vec![
        KeySource::Header("x-user".into()),
        KeySource::Cookie("uid".into()),
        KeySource::Query("u".into()),
        KeySource::IssueCookie { name: "weir_key".into(), max_age: Duration::from_secs(60) },
    ];
    let when = |subject, test| When { conditions: vec![Condition { subject, test }] };
    let rules = vec![
        Rule { when: "invoke.headers.x-number range [1,50)".parse().unwrap(), version: number(1) },
        Rule {
            when: when(Subject::Query("q".into()), Test::Regex(Pattern::new("^a b+$").unwrap())),
            version: number(2),
        },
        Rule { when: when(Subject::ClientAddress, Test::Prefix("192.".into())), version: number(2) },
    ];
    let aliases = BTreeMap::from([
        ("prod".parse().unwrap(), alias(|_| {})),
        ("keyed".parse().unwrap(), alias(|alias| alias.key = keys)),
        ("by-address".parse().unwrap(), alias(|alias| alias.key = vec![KeySource::ClientAddress])),
        ("ruled".parse().unwrap(), alias(|alias| alias.rules = rules)),
        ("random".parse().unwrap(), alias(|alias| alias.selection = Selection::Random)),
    ]);
    let versions = Arc::new((1..=2).map(|n| (NonZeroU32::new(n).unwrap(), answer(200))).collect());
    let function = Function { draft: Some(answer(201)), versions, aliases, ..Function::default() };
    let template = |text: &str| Template::parse(text, &|_| None).unwrap();
    let stage = Stage { alias: template("prod"), functions: BTreeMap::new(), variables: BTreeMap::new() };
    let domain = |routes, stage| {
        Arc::new(Domain { certificate: None, stage, routes, version_header: true, https: Https::Optional })
    };
    let mut routes: Vec<Route> =
        ["prod", "keyed", "by-address", "ruled", "random", "1"].map(|q| route(&format!("/{q}/*"), Some(q))).into();
    routes.push(route("/items/{id}/%41", Some("prod")));
    let mut config = Config::default();
    config.functions.insert("shop".parse().unwrap(), Arc::new(function));
    config.stages.insert("release".parse().unwrap(), Arc::new(stage));
    config.domains.insert("shop.example".parse().unwrap(), domain(routes, DomainStage::None));
    config.domains.insert("*.example".parse().unwrap(), domain(vec![route("/*", None)], DomainStage::Path));
    config.triggers = vec![route("/hook", Some("$LATEST"))].into();
    config.base_domain = Some(Arc::new(BaseDomain { host: "fn.test".parse().unwrap(), public: false }));
    config.overrides = Arc::new(Overrides {
        from: vec!["10.0.0.0/8".parse().unwrap()],
        tokens: vec![template("a-long-enough-token")],
    });
    config
}

/// Host, path, query, fields, and whether the outcome is the one that is meant.
type Request<'a> = (&'a str, &'a str, Option<&'a str>, &'a [(&'a str, &'a str)], fn(&Outcome) -> bool);

type Outcome = Result<Resolution, Unresolved>;

fn reason(outcome: &Outcome) -> Option<Reason> {
    outcome.as_ref().ok().map(|resolution| resolution.reason)
}

#[test]
fn resolving_allocates_nothing() {
    let table = Table::compile(&config());
    let long = format!("u={}", "%41".repeat(150));
    let token = ("x-weir-override-token", "a-long-enough-token");
    let requests: [Request<'_>; 20] = [
        ("SHOP.example.:80", "/prod/x", None, &[], |o| matches!(reason(o), Some(Reason::Slot(_)))),
        ("shop.example", "/items/7/%61", None, &[], |o| matches!(o, Err(Unresolved::NoRoute(_)))),
        ("shop.example", "/items/7/A", None, &[], |o| matches!(reason(o), Some(Reason::Slot(_)))),
        ("shop.example", "/keyed", None, &[("x-user", "a")], |o| matches!(reason(o), Some(Reason::Bucket(_)))),
        ("shop.example", "/keyed", None, &[("cookie", "a=b; uid=7")], |o| matches!(reason(o), Some(Reason::Bucket(_)))),
        ("shop.example", "/keyed", Some(&long), &[], |o| matches!(o, Ok(r) if r.issued.is_none())),
        ("shop.example", "/keyed", None, &[], |o| matches!(o, Ok(r) if r.issued.is_some())),
        ("shop.example", "/by-address/", None, &[], |o| matches!(reason(o), Some(Reason::Bucket(_)))),
        ("shop.example", "/ruled", None, &[("x-number", "7")], |o| reason(o) == Some(Reason::Rule(0))),
        ("shop.example", "/ruled", Some("q=a%20bb"), &[], |o| reason(o) == Some(Reason::Rule(1))),
        ("shop.example", "/ruled", None, &[], |o| reason(o) == Some(Reason::Rule(2))),
        ("shop.example", "/random", None, &[], |o| reason(o) == Some(Reason::Random)),
        ("shop.example", "/1", None, &[], |o| reason(o) == Some(Reason::Direct)),
        ("shop.example", "/prod", None, &[("x-weir-qualifier", "2"), token], |o| reason(o) == Some(Reason::Override)),
        ("shop.example", "/none", None, &[], |o| matches!(o, Err(Unresolved::NoRoute(_)))),
        ("a.b.example", "/release/x/y", None, &[], |o| matches!(o, Ok(r) if r.routed.stage.is_some())),
        ("a.b.example", "/none/x", None, &[], |o| matches!(o, Err(Unresolved::NoStage(_)))),
        ("2--shop.fn.test", "/", None, &[token], |o| reason(o) == Some(Reason::Direct)),
        ("2--shop.fn.test", "/", None, &[], |o| *o == Err(Unresolved::DirectHostRefused)),
        ("[::1]:8080", "/hook", None, &[], |o| reason(o) == Some(Reason::Direct)),
    ];
    let mut draw = Counter(0);
    for (host, path, query, headers, expected) in requests {
        let client = "192.0.2.1".parse().unwrap();
        let head = RequestHead { method: "GET", host, path, query, headers, client };
        // Once before counting: a regular expression makes its cache when a thread first uses it.
        let outcome = resolve(&table, &head, &mut draw);
        assert!(expected(&outcome), "{host}{path}: {outcome:?}");
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                let _ = std::hint::black_box(resolve(&table, &head, &mut draw));
            }
        });
        assert_eq!(counted.count_total, 0, "{host}{path}");
    }
}

/// The counter counts.
#[test]
fn allocations_are_seen() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1u64))));
    assert_eq!(counted.count_total, 1);
}
