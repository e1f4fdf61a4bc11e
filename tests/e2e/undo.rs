//! `weir rollback` of an alias: what one rollout did is undone as a whole.

use serde_json::json;

use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::rollout::{becomes, ends, newest, shares, three};
use crate::kit::weir::Weir;
use crate::shop;

const FAST: &str = "{steps: [{weight: 20, bake: 1s}, {weight: 60, bake: 1s}], guard: false}";
const LONG: &str = "linearStep: {weight: 40, interval: 10m}";

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_after_a_promotion_gives_everything_to_the_version_before() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", FAST], 0).await;
    becomes(&weir, "promoted").await;
    ends(&weir, &["release", "shop:prod", "3", "--plan", FAST], 0).await;
    becomes(&weir, "promoted").await;
    shares(&weir, [0, 0, 100]).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [0, 100, 0]).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [100, 0, 0]).await;
    let told = ends(&weir, &["rollback", "shop:prod"], 1).await;
    assert!(told.contains("no other split") && told.contains("`weir history shop:prod` lists"), "{told}");
    let told = ends(&weir, &["rollback", "shop:prod", "--to", "4711"], 1).await;
    assert!(
        told.contains("revision 4711 is not in the journal") && told.contains("`weir history` lists them"),
        "{told}"
    );
    shares(&weir, [100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_in_the_middle_of_a_release_ends_it() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", LONG], 0).await;
    shares(&weir, [60, 40, 0]).await;
    ends(&weir, &["rollback", "shop:prod", "--why", "too many complaints"], 0).await;
    shares(&weir, [100, 0, 0]).await;
    let rollout = newest(&weir).await;
    assert_eq!(rollout["state"], "aborted", "{rollout}");
    assert!(rollout["why"].as_str().is_some_and(|why| why.contains("too many complaints")), "{rollout}");
    let told = ends(&weir, &["rollback", "shop:prod"], 0).await;
    assert!(told.contains("shop:prod is 1: 100 already"), "{told}");
    let line = weir.json(&["history", "--limit", "1"]).await[0].clone();
    assert_eq!(line["what"], json!(["shop:prod is back already: the next rollback goes further back"]), "{line}");
    shares(&weir, [100, 0, 0]).await;
    // A split that was set by hand in the middle of a release is an episode of its own.
    ends(&weir, &["release", "shop:prod", "3", "--plan", LONG], 0).await;
    ends(&weir, &["shift", "shop:prod", "1=70", "3=30"], 0).await;
    shares(&weir, [70, 0, 30]).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_versions_of_a_running_rollout_stay() {
    let (weir, endpoints) = three().await;
    // No alias names version 2 before the hook has answered.
    endpoints[0].on("/hook", Answer::Hang);
    let plan = format!("{{{LONG}, hooks: {{before: ['http://{}/hook']}}}}", endpoints[0].address);
    ends(&weir, &["release", "shop:prod", "2", "--plan", &plan], 0).await;
    for word in ["retire", "delete"] {
        let told = ends(&weir, &["version", word, "shop:2"], 5).await;
        assert!(told.contains("version 2 of `shop` is still in use by rollout r"), "{told}");
    }
    ends(&weir, &["abort", "shop:prod"], 0).await;
    ends(&weir, &["version", "delete", "shop:2"], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_train_did_is_one_episode_of_each_alias() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&shop(&[&one, &two], "1, beta: 1")).await;
    let split = async |alias: &str| weir.json(&["alias", "get", alias]).await["effective"].clone();
    ends(&weir, &["release", "shop:prod=2", "shop:beta=2", "--plan", LONG], 0).await;
    assert_eq!(split("shop:beta").await, json!({"1": 60, "2": 40}));
    // It takes one member, and the other one goes back with the train.
    ends(&weir, &["shift", "shop:prod", "1=50", "2=50"], 0).await;
    assert_eq!(split("shop:beta").await, json!({"1": 100}));
    ends(&weir, &["rollback", "shop:beta"], 0).await;
    assert_eq!(split("shop:beta").await, json!({"1": 100}), "it is so already");
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    assert_eq!(split("shop:prod").await, json!({"1": 100}), "the shift is undone");
}
