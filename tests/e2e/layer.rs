//! A rollout is a layer over its alias: the alias stays as its operator set it.

use serde_json::{Value, json};

use crate::kit::api::Api;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::rollout::{becomes, ends, newest, shares, three};
use crate::kit::weir::Weir;
use crate::shop;

const LONG: &str = "{linearStep: {weight: 40, interval: 10m}, guard: {shield: any-5xx}}";
const ALIAS: &str = "/v1/functions/shop/aliases/prod";

async fn alias(weir: &Weir) -> Value {
    weir.json(&["alias", "get", "shop:prod"]).await
}

/// A gateway in the middle of a release, and the number of its rollout.
async fn released() -> (Weir, [Endpoint; 3], String) {
    let (weir, endpoints) = three().await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", LONG], 0).await;
    shares(&weir, [60, 40, 0]).await;
    let id = newest(&weir).await["id"].as_str().expect("an id").to_owned();
    (weir, endpoints, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alias_shows_its_own_split_the_layer_and_what_requests_see() {
    let (weir, _endpoints, id) = released().await;
    let shown = alias(&weir).await;
    assert_eq!((&shown["split"], &shown["effective"]), (&json!({"1": 100}), &json!({"1": 60, "2": 40})));
    let layer =
        json!({"rollout": id, "stable": "1", "candidate": "2", "weight": 40, "shield": "any-5xx", "salt": null});
    assert_eq!(shown["layer"], layer);
    assert!(shown["effective_revision"].as_u64() > shown["revision"].as_u64(), "{shown}");
    let (code, told, note) = weir.cli(&["diff"]).await;
    assert_eq!((code, &*told), (Some(0), "nothing changes\n"), "the file and the alias say the same");
    assert_eq!(note, format!("weir: rollout {id} runs on shop:prod: version 2 gets 40 %\n"));
    let config = weir.told(&["export"]).await;
    assert!(!config.contains(&id) && config.contains("prod"), "{config}");
    let text = weir.told(&["alias", "get", "shop:prod"]).await;
    assert!(text.contains(&format!("# rollout {id} runs on it, and requests see 1: 60, 2: 40\n")), "{text}");
    assert!(!text.contains("effective:") && !text.contains("layer:"), "{text}");
    let told = Api::of(&weir).await.call("POST", "/v1/explain", r#"{"host": "shop.example.com"}"#).await.text();
    assert!(told.contains(&format!("{id} runs on the alias, whose own split is 1: 100")), "{told}");
    ends(&weir, &["abort", "shop:prod"], 0).await;
    let after = alias(&weir).await;
    assert_eq!((&after["layer"], &after["effective"]), (&Value::Null, &json!({"1": 100})));
    assert_eq!(after["revision"], shown["revision"], "the alias itself was never touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_may_name_the_revision_of_the_alias_or_of_what_requests_see() {
    let (weir, _endpoints, _) = released().await;
    let shown = alias(&weir).await;
    let patch = weir.file().with_file_name("patch.yaml");
    let patch = patch.to_str().expect("a path");
    for (field, value) in [("effective_revision", "fail"), ("revision", "fallback")] {
        std::fs::write(patch, format!("on_unhealthy: {value}\n")).expect("it can be written");
        // Each change gives the alias a new revision.
        let current = if field == "revision" { alias(&weir).await } else { shown.clone() };
        let revision = current[field].to_string();
        ends(&weir, &["alias", "update", "shop:prod", "-f", patch, "--if-revision", &revision], 0).await;
    }
    let stale = shown["revision"].to_string();
    ends(&weir, &["alias", "update", "shop:prod", "-f", patch, "--if-revision", &stale], 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_sets_the_split_ends_the_rollout_and_says_so() {
    let (weir, endpoints, id) = released().await;
    let told = ends(&weir, &["shift", "shop:prod", "1", "--dry-run"], 0).await;
    assert!(told.contains(&format!("this would end {id}")), "{told}");
    shares(&weir, [60, 40, 0]).await;
    // The own split is what it is already.
    let told = ends(&weir, &["shift", "shop:prod", "1"], 0).await;
    assert!(told.contains(&format!("this ends {id}")), "{told}");
    shares(&weir, [100, 0, 0]).await;
    assert_eq!(newest(&weir).await["state"], "superseded");
    ends(&weir, &["release", "shop:prod", "2", "--plan", LONG], 0).await;
    let id = newest(&weir).await["id"].as_str().expect("an id").to_owned();
    let [one, two, three] = &endpoints;
    let file = weir.file().with_file_name("other.yaml");
    std::fs::write(&file, weir.text_of(&shop(&[one, two, three], "{1: 50, 3: 50}"))).expect("it can be written");
    let told = ends(&weir, &["apply", file.to_str().expect("a path")], 0).await;
    assert!(told.contains(&format!("this ends {id}")), "{told}");
    shares(&weir, [50, 0, 50]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_and_another_release_say_which_rollout_they_end() {
    let (weir, _endpoints, id) = released().await;
    let told = ends(&weir, &["release", "shop:prod", "3", "--plan", LONG, "--supersede"], 0).await;
    assert!(told.contains(&format!("this ends {id}")), "{told}");
    ends(&weir, &["alias", "create", "shop:beta", "1"], 0).await;
    ends(&weir, &["release", "shop:beta", "2", "--plan", LONG], 0).await;
    let id = newest(&weir).await["id"].as_str().expect("an id").to_owned();
    let told = ends(&weir, &["alias", "delete", "shop:beta", "--dry-run"], 0).await;
    assert!(told.contains(&format!("this would end {id}")), "{told}");
    assert_eq!(newest(&weir).await["over"], false);
    let told = ends(&weir, &["alias", "delete", "shop:beta"], 0).await;
    assert!(told.contains(&format!("this ends {id}")) && told.contains("shop:beta is deleted"), "{told}");
    let mut api = Api::of(&weir).await;
    api.call("PUT", "/v1/functions/shop/aliases/beta", "{split: {1: 100}}").await;
    let gone = api.call("DELETE", "/v1/functions/shop/aliases/beta", "").await;
    assert_eq!((gone.status, &*gone.text()), (204, ""), "nothing runs on it");
    // A whole function, with the rollout of its alias.
    let endpoint = newest(&weir).await["id"].clone();
    api.call("PUT", "/v1/functions/cart/draft", "{endpoints: ['127.0.0.1:1']}").await;
    api.call("POST", "/v1/functions/cart/versions", "{}").await;
    api.call("PATCH", "/v1/functions/cart/draft", "{endpoints: ['127.0.0.1:2']}").await;
    api.call("POST", "/v1/functions/cart/versions", "{}").await;
    api.call("PUT", "/v1/functions/cart/aliases/prod", "{split: {1: 100}}").await;
    ends(&weir, &["release", "cart:prod", "2", "--plan", LONG, "--no-preflight"], 0).await;
    let id = newest(&weir).await["id"].clone();
    assert_ne!(id, endpoint);
    let gone = api.call("DELETE", "/v1/functions/cart", "").await;
    assert_eq!((gone.status, &gone.json()["ended_rollouts"]), (200, &json!([id])), "{}", gone.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_revision_of_what_requests_see_never_falls_back() {
    let (weir, _endpoints, _) = released().await;
    let before = alias(&weir).await["effective_revision"].as_u64().expect("a revision");
    ends(&weir, &["abort", "shop:prod"], 0).await;
    let back = alias(&weir).await;
    let after = back["effective_revision"].as_u64().expect("a revision");
    assert!(after > before, "{after}, and before it {before}");
    // Set to what it is, which ends a rollout and leaves the alias as it was.
    ends(&weir, &["release", "shop:prod", "2", "--plan", LONG], 0).await;
    let before = alias(&weir).await["effective_revision"].as_u64().expect("a revision");
    ends(&weir, &["shift", "shop:prod", "1"], 0).await;
    let shown = alias(&weir).await;
    assert_eq!(shown["revision"], back["revision"], "the alias itself was never touched");
    assert!(shown["effective_revision"].as_u64().expect("a revision") > before, "{shown}");
    for (revision, code) in [(before, 5), (shown["effective_revision"].as_u64().expect("a revision"), 0)] {
        ends(&weir, &["shift", "shop:prod", "3", "--if-revision", &revision.to_string()], code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_field_ends_nothing_and_a_shield_that_is_set_live_stays() {
    let (weir, _endpoints, _) = released().await;
    let mut api = Api::of(&weir).await;
    let answer = api.call("PATCH", ALIAS, r#"{"shield": "gateway", "on_unhealthy": "fail"}"#).await.json();
    assert_eq!((&answer["shield"], &answer["layer"]["shield"]), (&json!("gateway"), &Value::Null), "{answer}");
    ends(&weir, &["advance", "shop:prod"], 0).await;
    shares(&weir, [20, 80, 0]).await;
    assert_eq!(alias(&weir).await["layer"]["shield"], Value::Null);
    ends(&weir, &["promote", "shop:prod"], 0).await;
    let promoted = alias(&weir).await;
    assert_eq!((&promoted["split"], &promoted["shield"]), (&json!({"2": 100}), &json!("gateway")), "{promoted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_is_stopped_leaves_the_split_to_the_alias() {
    let (weir, _endpoints, _) = released().await;
    let told = ends(&weir, &["stop", "shop:prod", "--why", "enough for today"], 0).await;
    assert!(told.contains("stopped: ended by token:admin (enough for today), and the split stays"), "{told}");
    shares(&weir, [60, 40, 0]).await;
    let stopped = alias(&weir).await;
    assert_eq!((&stopped["split"], &stopped["layer"]), (&json!({"1": 60, "2": 40}), &Value::Null));
    assert_eq!(stopped["shield"], Value::Null, "the plan's went with it");
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_from_the_draft_is_full() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = format!(
        "functions:\n  shop:\n    draft: 'http://{}'\n    versions: {{2: 'http://{}'}}\n    aliases: {{prod: $LATEST}}\n\
         domains:\n  shop.example.com: shop:prod\n",
        one.address, two.address
    );
    let weir = Weir::start(&live).await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", LONG], 0).await;
    becomes(&weir, "promoted").await;
    shares(&weir, [0, 100, 0]).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_to_a_revision_ends_the_rollouts_since() {
    let (weir, _endpoints, id) = released().await;
    let told = ends(&weir, &["rollback", "shop:prod", "--to", "1"], 0).await;
    assert!(told.contains(&format!("this ends {id}")), "{told}");
    shares(&weir, [100, 0, 0]).await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", LONG], 0).await;
    shares(&weir, [60, 40, 0]).await;
    ends(&weir, &["rollback", "--all", "--to", "1"], 0).await;
    shares(&weir, [100, 0, 0]).await;
    assert_eq!(newest(&weir).await["state"], "superseded");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_base_is_one_episode_with_its_rollout() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["release", "shop:prod", "3", "--base", "2", "--plan", LONG], 0).await;
    shares(&weir, [0, 60, 40]).await;
    ends(&weir, &["promote", "shop:prod"], 0).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [100, 0, 0]).await;
    ends(&weir, &["release", "shop:prod", "3", "--base", "2", "--plan", LONG], 0).await;
    ends(&weir, &["abort", "shop:prod"], 0).await;
    shares(&weir, [0, 100, 0]).await;
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    shares(&weir, [100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_train_that_adopts_moves_nothing_before_its_first_step() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&shop(&[&one, &two], "{1: 80, 2: 20}, beta: 1")).await;
    one.on("/hook", Answer::Hang);
    let plan =
        format!("{{linearStep: {{weight: 40, interval: 10m}}, hooks: {{before: ['http://{}/hook']}}}}", one.address);
    ends(&weir, &["release", "shop:prod=2", "shop:beta=2", "--adopt", "--plan", &plan, "--no-preflight"], 0).await;
    let effective = async |name: &str| weir.json(&["alias", "get", name]).await["effective"].clone();
    assert_eq!(effective("shop:prod").await, json!({"1": 80, "2": 20}), "the candidate keeps what it has");
    assert_eq!(effective("shop:beta").await, json!({"1": 100}));
    ends(&weir, &["abort", "shop:prod"], 0).await;
    assert_eq!(effective("shop:prod").await, json!({"1": 100}));
    ends(&weir, &["rollback", "shop:prod"], 0).await;
    assert_eq!(effective("shop:prod").await, json!({"1": 80, "2": 20}), "what was adopted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_whose_rollout_cannot_be_read_goes_at_the_start() {
    let (weir, _endpoints, id) = released().await;
    let folder = weir.killed().await;
    let store = rusqlite::Connection::open(folder.path().join("weir-state.db")).expect("the store is a database");
    store.execute("UPDATE texts SET text = '{' WHERE name = ?1", [format!("rollout/{id}")]).expect("it can be set");
    drop(store);
    let weir = Weir::again(folder).await;
    shares(&weir, [100, 0, 0]).await;
    assert_eq!(alias(&weir).await["layer"], Value::Null);
}
