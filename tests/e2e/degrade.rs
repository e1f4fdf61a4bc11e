//! Starts with one thing that cannot be used: everything else is served.

use serde_json::Value;

use crate::kit::client::get;
use crate::kit::endpoint::Endpoint;
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::eventually;
use crate::kit::rollout::{becomes, ends, newest, shares};
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS, Weir, folder};
use crate::{HOST, shop};

const LONG: &str = "linearStep: {weight: 40, interval: 10m}";

/// A gateway with version 2 promoted by a first rollout and version 3 tried by a second one, both by plans with a hook whose URL
/// has a variable.
async fn released() -> (Weir, [Endpoint; 3]) {
    let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await, Endpoint::start("v3").await];
    let [one, two, three] = &endpoints;
    let live = shop(&[one, two, three], "1");
    let weir = Weir::start_by(&["env", "CI_TOKEN=secret"], folder(), PROCESS, &live).await;
    let hooks = format!("hooks: {{after: ['http://{}/hook?${{CI_TOKEN}}']}}", one.address);
    ends(&weir, &["release", "shop:prod", "2", "--plan", &format!("{{full: true, {hooks}}}")], 0).await;
    becomes(&weir, "promoted").await;
    ends(&weir, &["release", "shop:prod", "3", "--plan", &format!("{{{LONG}, {hooks}}}")], 0).await;
    shares(&weir, [0, 60, 40]).await;
    (weir, endpoints)
}

/// The kind and the name of everything that the status calls unusable.
async fn unusable(weir: &Weir) -> Vec<(String, String)> {
    let status = weir.ask("/v1/status").await.json();
    let text = |thing: &Value, key: &str| thing[key].as_str().expect("a text").to_owned();
    let things = status["unusable"].as_array().expect("a list").iter();
    things.map(|thing| (text(thing, "kind"), text(thing, "name"))).collect()
}

/// Changes a stored text, as another version of Weir or a damaged disk would.
fn store(folder: &std::path::Path, name: &str, change: impl FnOnce(String) -> String) {
    let store = rusqlite::Connection::open(folder.join("weir-state.db")).expect("the store is a database");
    let text = store.query_row("SELECT text FROM texts WHERE name = ?1", [name], |row| row.get::<_, String>(0));
    let text = change(text.expect("the text is there"));
    assert_eq!(store.execute("UPDATE texts SET text = ?1 WHERE name = ?2", [&*text, name]).expect("it can be set"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_an_old_plan_keeps_no_gateway_from_starting() {
    let (weir, _endpoints) = released().await;
    let weir = Weir::again(weir.killed().await).await;
    shares(&weir, [0, 100, 0]).await;
    let rollouts = weir.json(&["rollouts"]).await;
    assert_eq!((&rollouts[0]["state"], &rollouts[1]["state"]), (&"aborted".into(), &"promoted".into()), "{rollouts}");
    let why = rollouts[0]["why"].as_str().expect("a reason");
    assert!(why.contains("CI_TOKEN") && why.contains("cannot be read"), "{why}");
    assert!(unusable(&weir).await.is_empty());
    ends(&weir, &["release", "shop:prod", "3", "--plan", LONG], 0).await;
    shares(&weir, [0, 60, 40]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_rollout_keeps_no_gateway_from_starting() {
    let (weir, _endpoints) = released().await;
    let rollouts = weir.json(&["rollouts"]).await;
    let id = |index: usize| rollouts[index]["id"].as_str().expect("an id").to_owned();
    let (running, finished) = (id(0), id(1));
    let folder = weir.killed().await;
    store(folder.path(), &format!("rollout/{finished}"), |text| text[..text.len() / 2].to_owned());
    // A phase that a later version knows.
    store(folder.path(), &format!("rollout/{running}"), |text| {
        text.replace("\"is\":\"baking\"", "\"is\":\"dreaming\"")
    });
    let weir = Weir::again(folder).await;
    shares(&weir, [0, 100, 0]).await;
    assert_eq!(newest(&weir).await["state"], "aborted");
    assert_eq!(unusable(&weir).await, [("rollout".to_owned(), finished)]);
    assert_eq!(weir.metric("weir_unusable", &[("kind", "rollout")]).await, Some(1.0));
    assert!(weir.ask("/ready").await.text().starts_with("ready\n1 thing cannot be used"));
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
}

/// Version 1 without TLS behind one domain, version 2 over TLS by the authority of `ca.pem` behind another one.
async fn two_versions(own: &Certificate) -> (Weir, Endpoint, H2Endpoint) {
    let (plain, secure) = (Endpoint::start("v1").await, H2Endpoint::start(Some(own.server_with(&["h2"]))).await);
    let folder = folder();
    own.write(folder.path(), "ca");
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: 'http://{}'\n      2: {{endpoints: ['{}'], protocol: h2, tls: {{ca: ca.crt, \
         sni: localhost}}}}\n    aliases: {{prod: 1, next: 2, both: {{1: 50, 2: 50}}}}\ndomains:\n  {HOST}: shop:prod\n  \
         {NEXT}: shop:next\n  {BOTH}: shop:both\n",
        plain.address, secure.address
    );
    (Weir::start_in(folder, PROCESS, &live).await, plain, secure)
}

const NEXT: &str = "next.example.com";
const BOTH: &str = "both.example.com";

async fn status_of(weir: &Weir, host: &str) -> u16 {
    get(weir.http, host, "/").await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_that_cannot_be_used_take_down_their_version_alone() {
    let own = Certificate::new("localhost");
    let (weir, _plain, _secure) = two_versions(&own).await;
    assert_eq!(status_of(&weir, NEXT).await, 200);
    let folder = weir.killed().await;
    let file = folder.path().join("ca.crt");
    let good = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let weir = Weir::again(folder).await;
    assert_eq!((status_of(&weir, HOST).await, status_of(&weir, NEXT).await), (200, 503));
    assert_eq!(unusable(&weir).await, [("authority".to_owned(), "shop:2".to_owned())]);
    for _ in 0..10 {
        assert_eq!(status_of(&weir, BOTH).await, 200, "the other version answers for it");
    }
    // An edit of something else is carried out meanwhile.
    weir.told(&["shift", "shop:both", "1=90", "2=10"]).await;

    std::fs::write(&file, &good).unwrap();
    eventually("the repair is noticed", async || (status_of(&weir, NEXT).await == 200).then_some(())).await;
    assert!(unusable(&weir).await.is_empty());
    // What could be used goes on, whatever comes of the file.
    std::fs::write(&file, "rubbish").unwrap();
    eventually("the break is noticed", async || (!unusable(&weir).await.is_empty()).then_some(())).await;
    assert_eq!(status_of(&weir, NEXT).await, 200);
    weir.told(&["shift", "shop:both", "1=80", "2=20"]).await;
    assert!(weir.log().contains("the last good ones are trusted"), "{}", weir.log());
}
