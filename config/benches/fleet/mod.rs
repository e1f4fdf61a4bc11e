//! Configurations of any size, shaped like a platform whose customers bring their own domains.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use config::model::{
    Alias, Config, Domain, DomainStage, Endpoint, Function, Https, Protocol, Retries, Route, Target, Timeouts,
    Upgrades, Upstream, UpstreamHost, Version,
};
use config::value::bucket::Buckets;
use config::value::name::{FunctionName, Qualifier, VersionId};
use config::value::template::Template;
use config::value::weight::{Share, Split};

/// How long [`host`] is, in bytes.
pub(crate) const HOST: usize = 24;

/// The host of a domain by its number.
pub(crate) fn host(number: usize) -> String {
    let host = format!("shop-{number:07}.example.com");
    assert_eq!(host.len(), HOST, "numbers below ten million have one length");
    host
}

/// The name of a function by its number.
pub(crate) fn function_name(number: usize) -> String {
    format!("shop-{number:07}")
}

/// So many domains, `per_function` of them on each function. A function has two versions with two endpoints each, and
/// the alias `prod`. Every text is an allocation of its own, as it is after parsing a file.
pub(crate) fn fleet(domains: usize, per_function: usize, alias: &Alias, qualifier: &str) -> Config {
    let mut config = Config::default();
    for number in 0..domains.div_ceil(per_function) {
        let name: FunctionName = function_name(number).parse().expect("a name");
        config.numbers.insert(name.clone(), NonZeroU32::new(2).expect("two versions"));
        config.functions.insert(name, Arc::new(function(alias)));
    }
    for number in 0..domains {
        let route = Route {
            path: "/*".parse().expect("a pattern"),
            methods: None,
            function: function_name(number / per_function).parse().expect("a name"),
            qualifier: Some(qualifier_of(qualifier)),
            stage: None,
            rewrite: None,
        };
        let domain = Domain {
            certificate: None,
            stage: DomainStage::None,
            routes: vec![route],
            version_header: true,
            https: Https::Optional,
        };
        config.domains.insert(host(number).parse().expect("a host"), Arc::new(domain));
    }
    config
}

/// Version 1 at `100 - percent`, version 2 at `percent`.
pub(crate) fn split(percent: u64) -> Split {
    let part = |version, percent| (VersionId::number(version).expect("from 1"), Share::new(percent).expect("small"));
    Split::from_shares(&[part(1, 100 - percent), part(2, percent)]).expect("they sum to 100")
}

fn qualifier_of(text: &str) -> Qualifier {
    match text.parse() {
        Ok(version) => Qualifier::Version(version),
        Err(_) => Qualifier::Alias(text.parse().expect("a name")),
    }
}

fn function(alias: &Alias) -> Function {
    let versions = (1..=2).map(|version| (NonZeroU32::new(version).expect("from 1"), Arc::new(self::version(version))));
    let alias = Alias { buckets: Buckets::cold(&alias.split), split: copy(&alias.split), ..alias.clone() };
    Function {
        versions: Arc::new(versions.collect()),
        aliases: BTreeMap::from([("prod".parse().expect("a name"), Arc::new(alias))]),
        ..Function::default()
    }
}

/// The same split in memory of its own.
fn copy(split: &Split) -> Split {
    Split::new(split.parts().iter().copied()).expect("it is one")
}

fn version(number: u32) -> Version {
    let endpoint = |last: u32| Endpoint { host: text(&format!("10.0.{number}.{last}")), port: 8080 };
    Version::new(Target::Upstream(Box::new(Upstream {
        endpoints: vec![endpoint(1), endpoint(2)],
        protocol: Protocol::Http1,
        tls: None,
        host: UpstreamHost::Keep,
        path_prefix: text(""),
        headers: config::model::HeaderEdits::default(),
        health: None,
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        via: true,
        upgrade: Upgrades::default(),
    })))
}

fn text(text: &str) -> Template {
    Template::parse(text, &|_| None).expect("it has no variable")
}
