//! End to end: the real binary between raw clients and endpoints that record the bytes they get, over loopback.

mod kit;

mod access;
mod admin;
mod asked;
mod balance;
mod certificates;
mod clients;
mod commands;
mod conformance;
mod control;
mod crash;
mod degrade;
mod demo;
mod drain;
mod entrance;
mod express;
mod failure;
mod fault;
mod files;
mod frames;
mod framing;
mod headers;
mod interim;
mod killed;
mod layer;
mod migrated;
mod names;
mod past;
mod paths;
mod process;
mod release;
mod reload;
mod remote;
mod rest;
mod rollouts;
mod scenarios;
mod secrets;
mod secure;
mod shield;
mod slow;
mod soak;
mod split;
mod stop;
mod storm;
mod streams;
mod target;
mod timeouts;
mod undo;
mod unread;
mod unreadable;
mod unseen;
mod upgrades;
mod upstream_h2;
mod written;

use kit::endpoint::Endpoint;
use kit::tls::Certificate;
use kit::weir::{PROCESS_TLS, Weir, folder};

/// The host of most tests.
const HOST: &str = "shop.example.com";

/// The live part of a file: function `shop` with versions 1, 2, … at these endpoints, one alias, one domain.
fn shop(endpoints: &[&Endpoint], alias: &str) -> String {
    let version = |(index, endpoint): (usize, &&Endpoint)| format!("{}: 'http://{}'", index + 1, endpoint.address);
    let versions: Vec<String> = endpoints.iter().enumerate().map(version).collect();
    format!(
        "functions:\n  shop:\n    versions: {{{}}}\n    aliases: {{prod: {alias}}}\ndomains:\n  {HOST}: shop:prod\n",
        versions.join(", ")
    )
}

/// A gateway before one endpoint, named `v1`.
async fn one() -> (Weir, Endpoint) {
    let endpoint = Endpoint::start("v1").await;
    (Weir::start(&shop(&[&endpoint], "1")).await, endpoint)
}

/// A gateway with a TLS listener before one version, and a client's trust in it.
async fn behind_tls(version: &str) -> (Weir, Certificate) {
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    let live = format!(
        "functions:\n  shop: {{versions: {{1: {version}}}, aliases: {{prod: 1}}}}\n\
         domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n"
    );
    (Weir::start_in(folder, PROCESS_TLS, &live).await, certificate)
}
