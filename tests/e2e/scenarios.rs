//! Whole releases as their users live them, from the first request to the last.

use std::collections::HashSet;

use serde_json::Value;
use tokio::time::Instant;

use crate::HOST;
use crate::kit::api::Api;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::load::{Exchange, Load};
use crate::kit::rollout::{ends, newest, three, with};
use crate::kit::weir::Weir;

/// Half of the requests, for longer than any test.
const HALF: &str = "canaryStep: {weight: 50, interval: 10m}";

fn broken(status: u16) -> Answer {
    Answer::Raw(format!("HTTP/1.1 {status} Broken\r\ncontent-length: 0\r\n\r\n").into())
}

fn failed(exchanges: &[Exchange]) -> usize {
    exchanges.iter().filter(|exchange| !matches!(exchange.outcome, Ok((200, _)))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_rollback_no_request_reaches_the_candidate() {
    const MORE: usize = 3_000;
    const FEW: usize = MORE / 10;
    for shield in ["any-5xx", "off"] {
        let (weir, endpoints) = three().await;
        endpoints[1].on("/", broken(500));
        let load = Load::start(weir.http, HOST, 4, 200_000);
        ends(&weir, &["release", "shop:prod", "2", "--plan", &format!("{{{HALF}, guard: {{shield: {shield}}}}}")], 0)
            .await;
        let known = rolled_back(&weir).await;
        let until = load.done() + MORE;
        eventually("more requests are answered", async || (load.done() > until).then_some(())).await;
        let exchanges = load.stop().await;

        let reached: HashSet<usize> =
            endpoints[1].seen().iter().map(|seen| number(seen.head.field("x-load"))).collect();
        let late = exchanges.iter().filter(|exchange| exchange.sent > known);
        let astray: Vec<&Exchange> = late.clone().filter(|exchange| reached.contains(&exchange.number)).collect();
        assert!(late.count() > MORE / 2 && astray.is_empty(), "sent after the rollback was known: {astray:?}");
        only_stable_since_the_rollback(&weir, MORE / 2).await;

        // Without the rollback it would have been half of all.
        let (asked, failed) = (reached.len(), failed(&exchanges));
        assert!((1..FEW).contains(&asked), "{shield}: the candidate got {asked} of {} requests", exchanges.len());
        assert_eq!(failed, if shield == "off" { asked } else { 0 }, "{shield}: of {asked}");
    }
}

fn number(text: Option<&str>) -> usize {
    text.expect("a request of the load").parse().expect("its number")
}

/// When it was first known that the newest rollout was rolled back.
async fn rolled_back(weir: &Weir) -> Instant {
    let path = format!("/v1/rollouts/{}", newest(weir).await["id"].as_str().expect("a rollout has its number"));
    let mut api = Api::of(weir).await;
    let ended = eventually("the rollout ends", async || {
        let rollout = api.call("GET", &path, "").await.json();
        (rollout["over"] == true).then_some((rollout, Instant::now()))
    });
    let (rollout, known) = ended.await;
    assert_eq!(rollout["outcome"], "rolled back", "{rollout}");
    known
}

/// Every request that was served at the rollback's revision or later was the first version's, by the access log.
async fn only_stable_since_the_rollback(weir: &Weir, at_least: usize) {
    let newest = weir.json(&["history", "--limit", "1"]).await[0].clone();
    assert_eq!(newest["news"][0]["kind"], "rolled back", "{newest}");
    get(weir.http, HOST, "/last").await;
    weir.access_line("\"/last\"").await;
    let log = weir.access_log();
    let (before, since): (Vec<&Value>, Vec<&Value>) =
        log.iter().partition(|line| line["revision"].as_u64() < newest["revision"].as_u64());
    assert!(before.iter().any(|line| line["version"] == "2" || line["shielded_from"] == "2"));
    assert!(since.len() > at_least, "{} of {} lines", since.len(), log.len());
    for line in since {
        assert!(line["version"] == "1" && line["shielded_from"].is_null(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_that_is_held_by_hand_stays_whatever_fails_and_alerts_once() {
    let notified = Endpoint::start("notified").await;
    let notifier = format!("notifiers: {{oncall: {{webhook: {{url: 'http://{}/told'}}}}}}\n", notified.address);
    let (weir, endpoints) = with(&notifier).await;
    endpoints[1].on("/", broken(500));
    for (word, outcome, failures) in [("abort", "aborted", 0), ("promote", "promoted", 100)] {
        ends(&weir, &["release", "shop:prod", "2", "--plan", "{canaryWeight: 50, notify: oncall}"], 0).await;
        let id = newest(&weir).await["id"].clone();
        for _ in 0..3 {
            let failed = failures_of_hundred(&weir).await;
            assert!((49..=51).contains(&failed), "{failed} of 100");
        }
        eventually("it alerts", async || notices(&notified, &id).contains(&"alert".to_owned()).then_some(())).await;
        let now = newest(&weir).await;
        assert_eq!((&now["state"], &now["weight"]), (&"baking".into(), &50.0.into()), "{now}");
        ends(&weir, &[word, "shop:prod"], 0).await;
        assert_eq!(failures_of_hundred(&weir).await, failures);
        eventually(outcome, async || notices(&notified, &id).contains(&outcome.to_owned()).then_some(())).await;
        assert_eq!(notices(&notified, &id), ["begun", "step", "alert", outcome]);
    }
}

async fn failures_of_hundred(weir: &Weir) -> usize {
    let mut client = Client::connect(weir.http).await;
    let mut failures = 0;
    for _ in 0..100 {
        failures += usize::from(client.get(HOST, "/").await.status == 500);
    }
    failures
}

/// What a notifier was told of this rollout.
fn notices(notified: &Endpoint, id: &Value) -> Vec<String> {
    let seen = notified.seen();
    let notices = seen.iter().map(|seen| serde_json::from_slice::<Value>(&seen.body.bytes).expect("a notice is JSON"));
    let of_this = notices.filter(|notice| notice["facts"]["rollout"]["id"] == *id);
    of_this.map(|notice| notice["facts"]["kind"].as_str().expect("a word").to_owned()).collect()
}

/// Its stage is the first part of the path.
const BY_PATH: &str = "stages.example.com";

/// Draft, candidate and stable of one function, each behind a stage of its own.
fn stages(first: &Endpoint) -> String {
    format!(
        "functions:
  shop:
    draft: {{endpoints: ['{0}']}}
    versions: {{1: 'http://{0}'}}
    aliases: {{prepub: 1, release: 1}}
stages:
  dev: {{alias: $DEFAULT}}
  prepub: {{alias: prepub}}
  release: {{alias: release}}
domains:
  {HOST}: {{stage: release, routes: [{{path: /*, to: shop}}]}}
  {BY_PATH}: {{stage_from: path, routes: [{{path: /*, to: shop}}]}}
",
        first.address
    )
}

/// Whom developers, Bob before the release, Alice before the release, and the public reach.
async fn whom(weir: &Weir) -> [String; 4] {
    let mut client = Client::connect(weir.http).await;
    let dev = client.get(BY_PATH, "/dev/").await.text();
    let bob = client.get_with(BY_PATH, "/prepub/", "user: Bob\r\n").await.text();
    let alice = client.get_with(BY_PATH, "/prepub/", "user: Alice\r\n").await.text();
    let public = client.get_with(HOST, "/", "user: Bob\r\n").await.text();
    assert_eq!(client.get(BY_PATH, "/release/").await.text(), public, "one alias, whatever leads to it");
    [dev, bob, alice, public]
}

#[tokio::test(flavor = "multi_thread")]
async fn three_versions_go_through_three_stages_and_no_route_is_touched() {
    let [first, others @ ..] = [
        Endpoint::start("v1").await,
        Endpoint::start("v2").await,
        Endpoint::start("v3").await,
        Endpoint::start("v4").await,
    ];
    let weir = Weir::start(&stages(&first)).await;
    let mut api = Api::of(&weir).await;
    let routes = async |api: &mut Api| {
        let mut texts = Vec::new();
        for host in [HOST, BY_PATH] {
            let domain = api.call("GET", &format!("/v1/domains/{host}"), "").await;
            let tag = domain.head.field("etag").expect("a resource has its tag").to_owned();
            texts.push((tag, domain.body.bytes));
        }
        texts
    };
    let before = routes(&mut api).await;
    assert_eq!(whom(&weir).await, ["v1", "v1", "v1", "v1"]);
    for (version, endpoint) in (2..).zip(&others) {
        let (old, new) = (format!("v{}", version - 1), format!("v{version}"));
        let (old, new) = (old.as_str(), new.as_str());
        weir.told(&["draft", "set", "shop", "--endpoint", &endpoint.address.to_string()]).await;
        assert_eq!(whom(&weir).await, [new, old, old, old], "an edit is for developers, at once");
        let told = weir.told(&["publish", "shop"]).await;
        assert!(told.starts_with(&format!("shop:{version} is published")), "{told}");
        assert_eq!(whom(&weir).await, [new, old, old, old], "to publish moves nobody");
        let rule = format!("rules: [{{when: invoke.headers.User exact Bob, version: {version}}}]");
        std::fs::write(weir.folder.path().join("bob.yaml"), rule).unwrap();
        weir.told(&["alias", "update", "shop:prepub", "--file", "bob.yaml"]).await;
        assert_eq!(whom(&weir).await, [new, new, old, old], "Bob looks first");

        let load = Load::start(weir.http, HOST, 2, 200_000);
        let plan = "{linearStep: {weight: 50, interval: 1s}, guard: {min_requests: 0}}";
        let told = ends(&weir, &["release", "shop:release", &version.to_string(), "--plan", plan, "--wait"], 0).await;
        let exchanges = load.stop().await;
        assert!(told.contains(&format!("shop:release {} -> {version}: promoted", version - 1)), "{told}");
        assert!(exchanges.len() > 100 && failed(&exchanges) == 0, "{} of {}", failed(&exchanges), exchanges.len());
        assert_eq!(whom(&weir).await, [new, new, old, new], "the public");
        weir.told(&["shift", "shop:prepub", &version.to_string()]).await;
    }
    assert_eq!(whom(&weir).await, ["v4", "v4", "v4", "v4"]);
    assert_eq!(routes(&mut api).await, before, "not one route was edited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_for_one_content_and_for_ever() {
    let (weir, endpoints) = three().await;
    let publish = async || weir.told(&["publish", "shop"]).await;
    weir.told(&["draft", "set", "shop", "--endpoint", &endpoints[0].address.to_string()]).await;
    std::fs::write(weir.folder.path().join("blue.yaml"), "headers: {set: {x-color: blue}}").unwrap();
    weir.told(&["draft", "edit", "shop", "--file", "blue.yaml"]).await;
    assert!(publish().await.starts_with("shop:4 is published"));
    for _ in 0..2 {
        assert!(ends(&weir, &["publish", "shop"], 5).await.contains("version 4"), "it has its number");
    }
    weir.told(&["draft", "edit", "shop", "--description", "for people"]).await;
    ends(&weir, &["publish", "shop"], 5).await;
    std::fs::write(weir.folder.path().join("green.yaml"), "headers: {set: {x-color: green}}").unwrap();
    weir.told(&["draft", "edit", "shop", "--file", "green.yaml"]).await;
    assert!(publish().await.starts_with("shop:5 is published"), "one header is another version");
    weir.told(&["version", "delete", "shop:5"]).await;
    let weir = Weir::again(weir.killed().await).await;
    assert!(
        weir.told(&["publish", "shop"]).await.starts_with("shop:6 is published"),
        "the number of another is not reused"
    );
    weir.told(&["shift", "shop:prod", "6"]).await;
    get(weir.http, HOST, "/colour").await;
    assert_eq!(endpoints[0].saw("/colour").await.head.field("x-color"), Some("green"));

    for number in [1, 2] {
        weir.told(&["functions", "create", "tool"]).await;
        weir.told(&["draft", "set", "tool", "--endpoint", &endpoints[number].address.to_string()]).await;
        let told = weir.told(&["publish", "tool"]).await;
        assert!(told.starts_with(&format!("tool:{number} is published")), "not even by another of that name: {told}");
        weir.told(&["functions", "delete", "tool"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_member_takes_the_whole_train_back_and_nobody_notices() {
    const CART: &str = "cart.example.com";
    let cart = [Endpoint::start("cart v1").await, Endpoint::start("cart v2").await];
    cart[1].on("/", broken(503));
    let shop = [Endpoint::start("v1").await, Endpoint::start("v2").await];
    let live = format!(
        "functions:
  shop: {{versions: {{1: 'http://{}', 2: 'http://{}'}}, aliases: {{prod: 1}}}}
  cart: {{versions: {{1: 'http://{}', 2: 'http://{}'}}, aliases: {{prod: 1}}}}
domains:
  {HOST}: shop:prod
  {CART}: cart:prod
",
        shop[0].address, shop[1].address, cart[0].address, cart[1].address
    );
    let weir = Weir::start(&live).await;
    let loads = [Load::start(weir.http, HOST, 2, 200_000), Load::start(weir.http, CART, 2, 200_000)];
    let told = ends(&weir, &["release", "shop:prod=2", "cart:prod=2", "--plan", HALF, "--wait"], 5).await;
    assert!(told.contains("rolled back: cart:prod: worse"), "{told}");
    for load in loads {
        let until = load.done() + 100;
        eventually("more requests are answered", async || (load.done() > until).then_some(())).await;
        let exchanges = load.stop().await;
        assert_eq!(failed(&exchanges), 0, "of {}", exchanges.len());
    }
    assert!(!shop[1].seen().is_empty() && !cart[1].seen().is_empty(), "both had their share");
    let after = [shop[1].seen().len(), cart[1].seen().len()];
    for host in [HOST, CART] {
        let mut client = Client::connect(weir.http).await;
        for _ in 0..50 {
            assert_eq!(client.get(host, "/").await.version(), "1");
        }
    }
    assert_eq!([shop[1].seen().len(), cart[1].seen().len()], after);
}
