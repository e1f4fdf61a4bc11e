//! Rollouts by API: begun, read, told, and answered by link.

use serde_json::{Value, json};

use super::support::Api;

const ROLLOUTS: &str = "/v1/rollouts";

/// The body of a release of version 2 by this plan.
fn to_two(plan: &str) -> String {
    json!({ "function": "shop", "alias": "prod", "version": 2, "plan": plan }).to_string()
}

/// An API whose alias gives everything to version 1.
async fn api() -> Api {
    let api = Api::start().await;
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", r#"{"split": 1}"#).await.is(200);
    api
}

async fn split(api: &Api) -> Value {
    api.get("/v1/functions/shop/aliases/prod").await.is(200).json()["effective"].clone()
}

#[tokio::test]
async fn a_rollout_is_begun_read_and_listed() {
    let api = api().await;
    let why = [("x-weir-why", "by%20header")];
    let begun = api.operate_with("POST", ROLLOUTS, &why, &to_two("canaryWeight: 10")).await.is(201);
    let location = begun.header("location").unwrap().to_owned();
    let shown = begun.json();
    let id = shown["id"].as_str().unwrap();
    assert_eq!(location, format!("{ROLLOUTS}/{id}"));
    assert_eq!(begun.header("x-weir-revision"), Some(&id[1..]), "its number is the revision that began it");
    assert_eq!((&shown["by"], &shown["reason"]), (&json!("token:operator"), &json!("by header")));
    assert_eq!((&shown["state"], &shown["weight"], &shown["step"]), (&json!("baking"), &json!(10.0), &json!(1)));
    let member = json!({ "function": "shop", "alias": "prod", "stable": "1", "candidate": "2" });
    assert_eq!(shown["members"], json!([member]));
    assert!(shown["waits_for"].as_str().unwrap().starts_with("somebody to promote"), "{shown}");
    assert_eq!(split(&api).await, json!({ "1": 90, "2": 10 }));
    assert_eq!(api.get(&location).await.is(200).json()["id"], id);

    let running = "/v1/rollouts?function=shop&alias=prod&state=running";
    assert_eq!(api.get(running).await.is(200).json()["items"][0]["id"], id);
    assert_eq!(api.get("/v1/rollouts?function=cart").await.json()["items"], json!([]));
    assert_eq!(api.get("/v1/rollouts?state=over").await.json()["items"], json!([]));
    let status = api.get("/v1/status").await.is(200).json();
    let prod = status["functions"][0]["aliases"].as_array().unwrap().iter().find(|alias| alias["name"] == "prod");
    assert_eq!((&prod.unwrap()["rollout"]["id"], &status["freeze"]["frozen"]), (&json!(id), &json!(false)));

    let replaced = to_two("canaryWeight: 20").replace('{', "{\"supersede\": true, ");
    let second = api.operate("POST", ROLLOUTS, &replaced).await.is(201).json();
    let newest = api.get("/v1/rollouts?limit=1").await.is(200).json();
    assert_eq!((&newest["items"][0]["id"], &newest["next"]), (&second["id"], &second["id"]));
    let older = api.get(&format!("/v1/rollouts?limit=1&after={}", newest["next"].as_str().unwrap())).await.json();
    assert_eq!((&older["items"][0]["id"], &older["items"][0]["outcome"]), (&json!(id), &json!("superseded")));
    assert_eq!(older["next"], Value::Null);
    for wrong in ["/v1/rollouts?state=paused", "/v1/rollouts?after=12", "/v1/rollouts/12", "/v1/rollouts?function=a.b"]
    {
        api.get(wrong).await.refuses(400, "InvalidRequest");
    }
    api.get("/v1/rollouts/r4711").await.refuses(404, "NotFound");
}

#[tokio::test]
async fn what_a_release_asks_for_is_checked_before_anything_moves() {
    let api = api().await;
    let of = |fields: Value| {
        let mut body = json!({ "function": "shop", "alias": "prod", "version": 2, "plan": "full" });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    };
    for (fields, status, code, told) in [
        (json!({ "version": "$LATEST" }), 400, "InvalidRequest", "publish it"),
        (json!({ "version": 0 }), 400, "InvalidRequest", "`0`"),
        (json!({ "members": [] }), 400, "InvalidRequest", "members"),
        (json!({ "members": [["shop", "prod", 2]] }), 400, "InvalidRequest", "expected a map"),
        (json!({ "speed": 1 }), 400, "InvalidRequest", "speed"),
        (json!({ "reason": "a\nb" }), 400, "InvalidRequest", "one line"),
        (json!({ "plan": null }), 422, "InvalidConfig", "names no plan"),
        (json!({ "plan": "carefull" }), 422, "InvalidConfig", "the plan `carefull` does not exist"),
        (json!({ "plan": { "canaryWeight": 0 } }), 422, "InvalidConfig", "whole percentage"),
        (json!({ "plan": { "canaryWeight": 5, "notify": "oncall" } }), 422, "InvalidConfig", "the notifier `oncall`"),
        (json!({ "version": 9 }), 404, "NotFound", "no version 9"),
        (json!({ "function": "cart" }), 404, "NotFound", "no function `cart`"),
        (json!({ "base_version": "2" }), 409, "RolloutState", "both the base and the candidate"),
        (json!({ "version": 1 }), 409, "RolloutState", "already"),
    ] {
        let refused = api.operate("POST", ROLLOUTS, &of(fields.clone())).await.refuses(status, code);
        assert!(refused.to_string().contains(told), "{fields}: {refused}");
    }
    let by_hand = r#"{"split": {"1": 60, "2": 40}}"#;
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", by_hand).await.is(200);
    let split_already = api.operate("POST", ROLLOUTS, &of(json!({}))).await.refuses(409, "RolloutState");
    assert!(split_already["problems"][0]["hint"].as_str().unwrap().contains("adopt"), "{split_already}");
    assert_eq!(api.get(ROLLOUTS).await.json()["items"], json!([]));
    let viewer = format!("Bearer {}", api.viewer);
    api.ask("POST", ROLLOUTS, &[("authorization", &viewer)], &of(json!({}))).await.refuses(403, "Forbidden");
    api.ask("POST", ROLLOUTS, &[], &of(json!({}))).await.refuses(401, "Unauthorized");
}

#[tokio::test]
async fn a_plan_is_found_by_name_by_alias_or_written_out() {
    let api = api().await;
    api.operate("PUT", "/v1/plans/careful", r#"{"canaryWeight": 30}"#).await.is(201);
    let weight = async |body: Value| {
        let shown = api.operate("POST", "/v1/rollouts", &body.to_string()).await.is(201).json();
        (shown["plan"].clone(), shown["weight"].as_f64().unwrap())
    };
    let with =
        |plan: Value| json!({ "function": "shop", "alias": "prod", "version": "2", "supersede": true, "plan": plan });
    assert_eq!(weight(with(json!("careful"))).await, (json!("careful"), 30.0));
    assert_eq!(weight(with(json!("LambdaCanary10Percent5Minutes"))).await.1, 10.0);
    assert_eq!(weight(with(json!("CodeDeployDefault.LambdaLinear10PercentEvery1Minute"))).await.1, 10.0);
    assert_eq!(weight(with(json!({ "canaryWeight": 40 }))).await, (Value::Null, 40.0));
    assert_eq!(weight(with(json!("{canaryWeight: 50}"))).await, (Value::Null, 50.0));
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", r#"{"plan": "careful"}"#).await.is(200);
    assert_eq!(weight(with(Value::Null)).await, (json!("careful"), 30.0));
    let first = json!({ "function": "shop", "alias": "next", "version": 2 });
    assert_eq!(weight(first).await, (json!("full"), 100.0));
    let tried = api.operate("POST", "/v1/rollouts?dry_run=true", &with(json!("full")).to_string()).await.is(200).json();
    assert_eq!(tried["changes"][0]["after"], json!({ "2": 100 }), "{tried}");
    assert_eq!(split(&api).await, json!({ "1": 70, "2": 30 }));
}

#[tokio::test]
async fn only_an_admin_brings_programs_and_everybody_may_release_by_their_plan() {
    let api = api().await;
    let plan = json!({ "canaryWeight": 10, "hooks": { "before": [{ "command": ["/bin/true"] }] } });
    let release = |plan: &Value| {
        json!({ "function": "shop", "alias": "prod", "version": 2, "plan": plan, "supersede": true }).to_string()
    };
    let file = format!("{}plans: {{tested: {plan}}}\n", super::support::FILE);
    for (method, path, body) in [
        ("PUT", "/v1/plans/tested", plan.to_string()),
        ("PUT", "/v1/plans/tested?dry_run=true", plan.to_string()),
        ("POST", "/v1/config", file),
        ("POST", ROLLOUTS, release(&plan)),
    ] {
        let yaml = [("content-type", "application/yaml")];
        let refused = api.operate_with(method, path, &yaml, &body).await.refuses(403, "Forbidden");
        let told = refused["message"].as_str().unwrap();
        assert!(told.contains("`/bin/true`") && told.contains("role admin"), "{method} {path}: {told}");
    }
    api.administer("PUT", "/v1/plans/tested", &plan.to_string()).await.is(201);
    let mut other = plan.clone();
    other["canaryWeight"] = 20.into();
    api.operate("PUT", "/v1/plans/tested", &other.to_string()).await.is(200);
    api.operate("POST", ROLLOUTS, &release(&json!("tested"))).await.is(201);
    other["hooks"]["before"][0]["command"] = json!(["/bin/true", "--really"]);
    api.operate("PUT", "/v1/plans/tested", &other.to_string()).await.refuses(403, "Forbidden");
}

#[tokio::test]
async fn a_train_steps_together() {
    let api = api().await;
    api.operate("PUT", "/v1/functions/shop/aliases/beta", r#"{"split": 1}"#).await.is(201);
    let body = r#"{"members": [{"function": "shop", "alias": "prod", "version": 2},
        {"function": "shop", "alias": "beta", "version": 2, "base_version": 1}], "plan": "canaryWeight: 10"}"#;
    let begun = api.operate("POST", ROLLOUTS, body).await.is(201).json();
    assert_eq!(begun["members"].as_array().unwrap().len(), 2);
    let beta = api.get("/v1/functions/shop/aliases/beta").await.json();
    assert_eq!((split(&api).await, &beta["effective"]), (json!({ "1": 90, "2": 10 }), &json!({ "1": 90, "2": 10 })));
    let id = begun["id"].as_str().unwrap();
    api.operate("POST", &format!("{ROLLOUTS}/{id}/promote"), "").await.is(200);
    assert_eq!(split(&api).await, json!({ "2": 100 }));
}

#[tokio::test]
async fn words_fit_where_a_rollout_stands_or_are_refused() {
    let api = api().await;
    let plan = "{steps: [{weight: 10, bake: 1h}, {weight: 50, bake: 1h}, {weight: 100}]}";
    let begun = api.operate("POST", ROLLOUTS, &to_two(plan)).await.is(201).json();
    let word = |word: &str| format!("{ROLLOUTS}/{}/{word}", begun["id"].as_str().unwrap());
    let held = api.operate("POST", &word("pause"), r#"{"reason": "lunch"}"#).await.is(200).json();
    assert_eq!(held["held_by"], "token:operator (lunch)");
    api.operate("POST", &word("advance"), "").await.refuses(409, "RolloutState");
    assert_eq!(api.operate("POST", &word("resume"), "").await.is(200).json()["held_by"], Value::Null);
    api.operate("POST", &word("resume"), "").await.refuses(409, "RolloutState");
    api.operate("POST", &word("approve"), "").await.refuses(409, "RolloutState");
    assert_eq!(api.operate("POST", &word("advance"), "").await.is(200).json()["step"], 2);
    assert_eq!(split(&api).await, json!({ "1": 50, "2": 50 }));
    let aborted = api.operate("POST", &word("abort"), r#"{"reason": "no"}"#).await.is(200).json();
    assert_eq!((&aborted["outcome"], &aborted["why"]), (&json!("aborted"), &json!("aborted by token:operator (no)")));
    assert_eq!(split(&api).await, json!({ "1": 100 }));
    let revision = api.node.live.load().revision;
    assert_eq!(api.operate("POST", &word("abort"), "").await.is(200).json()["outcome"], "aborted");
    assert_eq!(api.node.live.load().revision, revision, "what is over is not aborted again");
    for late in ["pause", "resume", "advance", "promote", "approve", "reject"] {
        api.operate("POST", &word(late), "").await.refuses(409, "RolloutState");
    }
    api.operate("POST", &word("abort"), r#"{"why": "x"}"#).await.refuses(400, "InvalidRequest");
    api.operate("POST", "/v1/rollouts/r4711/abort", "").await.refuses(404, "NotFound");
    api.ask("POST", &word("abort"), &[], "").await.refuses(401, "Unauthorized");
    let entry = &api.get("/v1/journal?limit=1").await.json()["items"][0];
    assert_eq!((&entry["why"], &entry["news"][0]["kind"]), (&json!("no"), &json!("aborted")));
}

#[tokio::test]
async fn a_freeze_is_set_read_and_ended() {
    let api = api().await;
    assert_eq!(api.get("/v1/freeze").await.is(200).json()["frozen"], false);
    let frozen = api.operate("PUT", "/v1/freeze", r#"{"for": "2h", "reason": "sale"}"#).await.is(200).json();
    assert_eq!(
        (&frozen["frozen"], &frozen["by"], &frozen["reason"]),
        (&json!(true), &json!("token:operator"), &json!("sale"))
    );
    assert_eq!(api.get("/v1/freeze").await.json(), frozen);
    let begun = api.operate("POST", ROLLOUTS, &to_two("full")).await.is(201).json();
    assert!(begun["waits_for"].as_str().unwrap().starts_with("the end of the freeze"), "{begun}");
    for wrong in [r#"{"for": "31d"}"#, r#"{"for": "0s"}"#, r#"{"for": "soon"}"#] {
        let refused = api.operate("PUT", "/v1/freeze", wrong).await.refuses(422, "InvalidConfig");
        assert_eq!(refused["problems"][0]["path"], "for");
    }
    api.operate("PUT", "/v1/freeze", "[null, null]").await.refuses(400, "InvalidRequest");
    api.operate("DELETE", "/v1/freeze", "").await.is(204);
    api.operate("DELETE", "/v1/freeze", "").await.is(204);
    assert_eq!(split(&api).await, json!({ "2": 100 }), "what waited for its end goes on");
    assert!(api.operate("PUT", "/v1/freeze", "").await.is(200).json()["until"].is_string());
}

#[tokio::test]
async fn links_are_worth_one_answer_and_nothing_to_others() {
    let api = api().await;
    for (method, path) in [("GET", "/v1/ballots/none"), ("POST", "/v1/ballots/none")] {
        api.ask(method, path, &[], "").await.refuses(404, "NotFound");
        let page = api.ask(method, path, &[("accept", "text/html,*/*")], "").await.is(404);
        assert!(page.body.contains("Nothing is asked here"), "{page:?}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
    }
    let origin = [("origin", "http://evil.example.com")];
    api.ask("POST", "/v1/ballots/none", &origin, "").await.refuses(403, "WrongOrigin");
    let yes = r#"{"decision": "approve", "output": {"tested": 7}}"#;
    let json_body = [("content-type", "application/json")];
    api.ask("POST", "/v1/callbacks/none", &json_body, yes).await.refuses(404, "NotFound");
    api.ask("POST", "/v1/callbacks/none", &json_body, r#"{"decision": "yes"}"#).await.refuses(400, "InvalidRequest");
}
