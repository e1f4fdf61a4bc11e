//! The compiled table against a scan of the model, and updates against compiling anew.

#![expect(clippy::unwrap_used, reason = "what is unwrapped here is made by the test itself")]

mod oracle;
mod updates;
mod worlds;

use config::model::Config;
use config::route::resolve::{Draw, Reason, RequestHead, Resolution, Unresolved, resolve};
use config::route::table::{AliasIndex, Table, UpstreamIndex, Via};
use oracle::{Named, Oracle};
use proptest::prelude::*;
use worlds::{Choices, Request, request, world};

/// Draws that the request brings along; counts them.
struct Brought<'a> {
    table: &'a Table,
    request: &'a Request,
    slots: Vec<AliasIndex>,
}

impl Draw for Brought<'_> {
    fn slot(&mut self, alias: AliasIndex) -> u64 {
        self.slots.push(alias);
        self.request.slot
    }

    fn random(&mut self) -> u64 {
        self.request.random
    }

    fn healthy(&self, upstream: UpstreamIndex) -> bool {
        oracle::healthy(self.request, self.table.upstream(upstream).expect("only what is there is asked").key.version)
    }
}

fn resolved(table: &Table, request: &Request) -> (Result<Resolution, Unresolved>, Vec<AliasIndex>) {
    let head = RequestHead {
        method: request.method,
        host: &request.host,
        path: &request.path,
        query: request.query,
        headers: &request.headers[..],
        client: request.client,
    };
    let mut draw = Brought { table, request, slots: Vec::new() };
    (resolve(table, &head, &mut draw), draw.slots)
}

/// The resolution in names; checks that the upstreams are those of its versions and stage.
fn names(table: &Table, resolution: &Resolution) -> Named {
    let function = table.function(resolution.routed.function).expect("the function is there");
    let stage = resolution.routed.stage.map(|stage| table.stage(stage).expect("the stage is there").name.clone());
    for (version, upstream) in [(resolution.version, resolution.upstream)].into_iter().chain(resolution.spare) {
        let key = &table.upstream(upstream).expect("the upstream is there").key;
        assert_eq!((&key.function, key.version), (&function.name, version));
        assert!(key.stage.is_none() || key.stage == stage);
    }
    let (domain, route) = match resolution.routed.via {
        Via::Domain(domain, route) => (Some(table.domain(domain).expect("it is there").host.to_string()), Some(route)),
        Via::Trigger(route) => (None, Some(route)),
        Via::DirectHost | Via::Invoke => (None, None),
    };
    Named {
        domain,
        route,
        function: function.name.clone(),
        stage,
        alias: resolution.alias.map(|alias| table.alias(alias).expect("the alias is there").name.clone()),
        version: resolution.version,
        spare: resolution.spare.map(|spare| spare.0),
        fallback_from: resolution.fallback_from,
        reason: match resolution.reason {
            Reason::Direct => "direct".into(),
            Reason::Override => "override".into(),
            Reason::Rule(number) => format!("rule {number}"),
            Reason::Bucket(bucket) => format!("bucket {bucket}"),
            Reason::Slot(_) => "slot".into(),
            Reason::Random => "random".into(),
            Reason::Stable => "stable".into(),
            Reason::Only => "only".into(),
        },
        overridden: resolution.overridden,
        issued: resolution.issued.map(|key| key.to_string()),
        stage_bytes: resolution.routed.stage_bytes,
    }
}

/// Compares a table of `config` with the scan for one request.
fn check(config: &Config, table: &Table, request: &Request) -> Result<&'static str, TestCaseError> {
    let (outcome, slots) = resolved(table, request);
    let slot = |function: &config::value::name::FunctionName, alias: &config::value::name::AliasName| {
        let function = table.function(table.function_named(function.as_str()).unwrap()).unwrap();
        let alias = table.alias(function.alias(alias.as_str()).unwrap()).unwrap();
        alias.model.split.parts()[alias.slots.as_ref().unwrap().at(request.slot)].0
    };
    let expected = Oracle { config, request, slot: &slot }.resolve();
    let found = outcome.as_ref().map(|resolution| names(table, resolution)).map_err(|u| u.as_str());
    prop_assert_eq!(&found, &expected);
    // A slot is drawn once by a request that goes by one, of that alias, and never in vain.
    let drawn = match outcome {
        Ok(Resolution { reason: Reason::Slot(slot), alias: Some(alias), .. }) => {
            prop_assert_eq!(slot, request.slot);
            vec![alias]
        }
        _ => Vec::new(),
    };
    prop_assert_eq!(slots, drawn);
    Ok(match &found {
        Ok(named) => {
            named.reason.split(' ').next().map_or("", |word| if word == "bucket" { "bucket" } else { "other" })
        }
        Err(unresolved) => unresolved,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn resolving_is_a_scan_of_the_model(
        choices in proptest::collection::vec(any::<u8>(), 0..400),
        requests in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 24), 1..40),
    ) {
        let config = world(&mut Choices(choices.iter()));
        let table = Table::compile(&config);
        for choices in &requests {
            check(&config, &table, &request(&mut Choices(choices.iter())))?;
        }
    }
}

/// The worlds reach every outcome; without that the property would say little.
#[test]
fn the_worlds_reach_every_outcome() {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    let mut state = 1u64;
    let mut bytes = |n: usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(n)
        .collect()
    };
    for _ in 0..300 {
        let config = world(&mut Choices(bytes(400).iter()));
        let table = Table::compile(&config);
        for _ in 0..60 {
            let request = request(&mut Choices(bytes(24).iter()));
            let outcome = match resolved(&table, &request).0 {
                Ok(resolution) => {
                    let named = names(&table, &resolution);
                    for (mark, what) in [
                        (named.spare.is_some(), "spare"),
                        (named.fallback_from.is_some(), "fallback"),
                        (named.issued.is_some(), "issued"),
                        (named.overridden, "overridden"),
                        (named.stage_bytes > 0, "stage of the path"),
                        (named.domain.is_none() && named.route.is_some(), "trigger"),
                        (named.route.is_none(), "direct host"),
                    ] {
                        *seen.entry(what.to_owned()).or_default() += u32::from(mark);
                    }
                    named.reason.split(' ').next().unwrap_or_default().to_owned()
                }
                Err(unresolved) => unresolved.as_str().to_owned(),
            };
            *seen.entry(outcome).or_default() += 1;
        }
    }
    for outcome in [
        "spare",
        "fallback",
        "issued",
        "overridden",
        "stage of the path",
        "trigger",
        "direct host",
        "direct",
        "override",
        "rule",
        "bucket",
        "slot",
        "random",
        "stable",
        "only",
        "bad_host",
        "bad_path",
        "no_domain",
        "no_route",
        "method_not_allowed",
        "no_stage",
        "direct_host_refused",
        "no_function",
        "no_alias",
        "no_version",
        "missing_key",
    ] {
        assert!(seen.get(outcome).is_some_and(|&n| n >= 3), "{outcome} in {seen:?}");
    }
}
