//! A store of release 0.1.0, in which rollouts set the splits of aliases themselves.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::kit::client::get;
use crate::kit::endpoint::Endpoint;
use crate::kit::rollout::{ends, newest, shares};
use crate::kit::weir::{PROCESS, Weir, folder};
use crate::{HOST, shop};

/// The store of a gateway that promoted version 2 on `prod` and released version 3 to 40 %, aborted a rollout on `beta`, and had
/// the split of `hand` set twice; then it was killed.
const STORE: &str = include_str!("../fixtures/stores/0.1.0.sql");

/// The token of the role admin that the store knows.
const TOKEN: &str = "weir_a9cdbd800ae79f679190a015113bfb40a16697206c1e15a1fc4ca0b464fc7d31";

async fn opened() -> (Weir, [Endpoint; 3]) {
    let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await, Endpoint::start("v3").await];
    let [one, two, three] = &endpoints;
    let folder = folder();
    let store = rusqlite::Connection::open(folder.path().join("weir-state.db")).expect("a new database");
    store.execute_batch(STORE).expect("the dump is one of SQLite");
    drop(store);
    let token = folder.path().join("weir-state.token");
    std::fs::write(&token, TOKEN).expect("it can be written");
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("the file is ours");
    // Endpoints may move; everything else is as the file said then.
    let aliases = "1, beta: 1, hand: {1: 95, 2: 5}";
    let live = shop(&[one, two, three], aliases) + "  beta.example.com: shop:beta\n  hand.example.com: shop:hand\n";
    (Weir::start_in(folder, PROCESS, &live).await, endpoints)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_see_the_same_and_aliases_get_back_what_is_theirs() {
    let (weir, _endpoints) = opened().await;
    let prod = weir.json(&["alias", "get", "shop:prod"]).await;
    assert_eq!((&prod["split"], &prod["effective"]), (&json!({"2": 100}), &json!({"2": 60, "3": 40})), "{prod}");
    assert_eq!((&prod["layer"]["shield"], &prod["shield"]), (&json!("any-5xx"), &json!(null)), "{prod}");
    shares(&weir, [0, 60, 40]).await;
    assert_eq!(newest(&weir).await["members"][0]["alias"], "beta");
    ends(&weir, &["abort", "shop:prod"], 0).await;
    shares(&weir, [0, 100, 0]).await;
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
    ends(&weir, &["verify"], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_on_and_the_episodes_are_remembered() {
    let (weir, _endpoints) = opened().await;
    ends(&weir, &["promote", "shop:prod"], 0).await;
    shares(&weir, [0, 0, 100]).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [0, 100, 0]).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [100, 0, 0]).await;
    let told = ends(&weir, &["rollback", "shop:beta"], 0).await;
    assert!(told.contains("shop:beta is 1: 100 already"), "{told}");
    for split in ["1: 60, 2: 40", "1: 95, 2: 5"] {
        let told = ends(&weir, &["rollback", "shop:hand"], 0).await;
        assert!(told.contains(split), "{told}");
    }
    // The store is brought into the new form once.
    let revision = weir.ask("/v1/status").await.json()["node"]["revision"].clone();
    let weir = Weir::again(weir.killed().await).await;
    assert_eq!(weir.ask("/v1/status").await.json()["node"]["revision"], revision);
}
