//! Simulations by API, and what a release lacks.

use std::time::Duration;

use config::value::name::VersionId;
use serde_json::{Value, json};

use super::support::Api;
use crate::metrics::Pick;

const SIMULATE: &str = "/v1/simulate";
const CANARY: &str = "canaryStep: {weight: 10, interval: 2m}";

/// Of `shop:prod`, by this plan, with more.
fn of_prod(plan: &str, more: Value) -> String {
    let mut body = json!({ "function": "shop", "alias": "prod", "plan": plan, "runs": 5 });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body.to_string()
}

/// An API whose alias gives everything to version 1, and had 100 requests of which 20 failed.
async fn busy() -> Api {
    let api = Api::start().await;
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", r#"{"split": 1}"#).await.is(200);
    let (function, alias) = ("shop".parse().unwrap(), "prod".parse().unwrap());
    let series = api.node.metrics.version(&function, Some(&alias), VersionId::number(1).unwrap());
    for request in 0..100 {
        series.picked(Pick::Slot);
        series.ended(Some(if request % 5 == 0 { 503 } else { 200 }), Duration::from_micros(800));
    }
    api
}

#[tokio::test]
async fn an_alias_is_simulated_as_it_was_or_as_somebody_says() {
    let api = busy().await;
    let told = api.ask("POST", SIMULATE, &[], &of_prod(CANARY, json!({}))).await.is(200).json();
    assert_eq!((&told["observed"]["requests"], &told["assumed"]["base"]), (&json!(100), &json!("20%")), "{told}");
    assert_eq!(told["assumed"]["defect"], "+5%");
    let said = json!({ "rate": 50, "base": "1%", "defect": "+50%", "seed": 7 });
    let told = api.ask("POST", SIMULATE, &[], &of_prod(CANARY, said.clone())).await.is(200).json();
    assert_eq!(told["assumed"], json!({ "rate": "50", "base": "1%", "defect": "+50%", "runs": 5, "seed": 7 }));
    assert_eq!(told["timeline"], json!([{ "seconds": 0.0, "weight": 10.0 }, { "seconds": 120.0, "weight": 100.0 }]));
    assert_eq!((&told["sound"]["promoted"], &told["defective"]["rolled_back"]), (&json!(5), &json!(5)));
    assert_eq!(told["sound"]["requests"]["median"], 600.0);
    assert!(told["defective"]["found_seconds"]["median"].as_f64().unwrap() < 60.0, "{told}");
    assert_eq!(api.ask("POST", SIMULATE, &[], &of_prod(CANARY, said)).await.is(200).json(), told, "equal seeds");
}

#[tokio::test]
async fn a_plan_is_found_as_a_release_finds_it() {
    let api = busy().await;
    api.operate("PUT", "/v1/plans/careful", r#"{"canaryWeight": 30}"#).await.is(201);
    let weight = async |body: &str| {
        let told = api.ask("POST", SIMULATE, &[], body).await.is(200).json();
        (told["plan"].clone(), told["timeline"][0]["weight"].as_f64().unwrap())
    };
    assert_eq!(weight(&of_prod("careful", json!({}))).await, (json!("careful"), 30.0));
    let inline = r#"{"plan": {"canaryWeight": 40}, "rate": "12.5", "runs": 1}"#;
    assert_eq!(weight(inline).await, (Value::Null, 40.0));
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", r#"{"plan": "careful"}"#).await.is(200);
    assert_eq!(weight(r#"{"function": "shop", "alias": "prod", "runs": 1}"#).await, (json!("careful"), 30.0));
}

#[tokio::test]
async fn what_cannot_be_simulated_is_refused() {
    let api = busy().await;
    api.operate("PUT", "/v1/functions/shop/aliases/quiet", r#"{"split": 1}"#).await.is(201);
    for (body, status, code, told) in [
        (json!({ "function": "shop", "plan": CANARY }), 400, "InvalidRequest", "`function` and `alias`"),
        (json!({ "plan": CANARY, "rate": -1 }), 400, "InvalidRequest", "requests per second"),
        (json!({ "plan": CANARY, "rate": 1, "base": "1" }), 400, "InvalidRequest", "percentage"),
        (json!({ "plan": CANARY, "rate": 1, "defect": "5%" }), 400, "InvalidRequest", "`+5%`"),
        (json!({ "plan": CANARY, "rate": 1, "defect": "+100%" }), 422, "InvalidConfig", "more than all"),
        (json!({ "plan": CANARY, "rate": 1, "runs": 1001 }), 422, "InvalidConfig", "1 to 1000"),
        (
            json!({ "plan": "linearStep: {weight: 1, interval: 1d}", "rate": 1, "runs": 1000 }),
            422,
            "InvalidConfig",
            "too long",
        ),
        (json!({ "plan": "carefull", "rate": 1 }), 422, "InvalidConfig", "`carefull` does not exist"),
        (json!({ "plan": "canaryWeight: 0", "rate": 1 }), 422, "InvalidConfig", "whole percentage"),
        (json!({ "plan": CANARY }), 422, "InvalidConfig", "say how many requests"),
        (json!({ "rate": 1 }), 422, "InvalidConfig", "names no plan"),
        (json!({ "function": "shop", "alias": "quiet", "plan": CANARY }), 422, "InvalidConfig", "had no request"),
        (json!({ "function": "shop", "alias": "none", "plan": CANARY }), 404, "NotFound", "`shop:none`"),
        (json!({ "function": "cart", "alias": "prod", "plan": CANARY }), 404, "NotFound", "`cart`"),
    ] {
        let refused = api.ask("POST", SIMULATE, &[], &body.to_string()).await.refuses(status, code);
        assert!(refused.to_string().contains(told), "{body}: {refused}");
    }
}

#[tokio::test]
async fn a_release_says_what_it_may_lack_and_refuses_what_no_rate_can_bring() {
    let api = busy().await;
    let release = |plan: &str, more: Value| {
        let mut body = json!({ "function": "shop", "alias": "prod", "version": 2, "plan": plan });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body.to_string()
    };
    let never = "{steps: [{weight: 5, requests: 10, gates: [{error_rate: {max: 1%, on_insufficient: fail}}]}]}";
    for path in ["/v1/rollouts", "/v1/rollouts?dry_run=true"] {
        let refused = api.operate("POST", path, &release(never, json!({}))).await.refuses(409, "PlanUnanswerable");
        let problem = &refused["problems"][0];
        assert_eq!((&problem["severity"], &problem["path"]), (&json!("error"), &json!("plan.steps[0]")));
        assert!(problem["message"].as_str().unwrap().starts_with("`shop:prod`: the gate `error_rate`"), "{problem}");
    }
    assert_eq!(api.get("/v1/rollouts").await.json()["items"], json!([]), "nothing began");
    let insists = json!({ "preflight": false });
    let begun = api.operate("POST", "/v1/rollouts", &release(never, insists)).await.is(201).json();
    assert_eq!(begun["warnings"], Value::Null);
    // What had no request yet has no rate.
    api.operate("PUT", "/v1/functions/shop/aliases/quiet", r#"{"split": 1}"#).await.is(201);
    let gated = "{canaryStep: {weight: 5, interval: 10m}, gates: [{error_rate: {max: 1%}}]}";
    let quiet = || json!({ "alias": "quiet", "supersede": true });
    let tried = api.operate("POST", "/v1/rollouts?dry_run=true", &release(gated, quiet())).await.is(200).json();
    let begun = api.operate("POST", "/v1/rollouts", &release(gated, quiet())).await.is(201).json();
    for answer in [&tried, &begun] {
        let warning = &answer["warnings"][0];
        assert_eq!(warning["severity"], "warning", "{answer}");
        assert!(warning["message"].as_str().unwrap().contains("too few were seen"), "{warning}");
    }
    let open = api
        .operate("POST", "/v1/rollouts", &release("{linearStep: {weight: 10}, guard: {min_requests: 0}}", quiet()))
        .await
        .is(201)
        .json();
    assert_eq!(open["warnings"], Value::Null, "a plan that waits for nothing lacks nothing");
    let first = json!({ "alias": "next" });
    let first = api.operate("POST", "/v1/rollouts", &release(never, first)).await.is(201).json();
    assert_eq!((&first["outcome"], &first["warnings"]), (&json!("promoted"), &Value::Null));
}
