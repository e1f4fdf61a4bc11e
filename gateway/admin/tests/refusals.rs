//! Who is turned away, and how.

use super::support::{Api, FILE};

#[tokio::test]
async fn a_change_needs_a_token_of_a_role_that_is_high_enough() {
    let api = Api::start().await;
    let none = api.ask("PUT", "/v1/functions/new", &[], "").await;
    assert_eq!(none.header("www-authenticate"), Some("bearer"));
    none.refuses(401, "Unauthorized");
    let wrong = [("authorization", "Bearer weir_0000")];
    api.ask("PUT", "/v1/functions/new", &wrong, "").await.refuses(401, "Unauthorized");
    api.ask("PUT", "/v1/functions/new", &[("authorization", "Basic YTpi")], "").await.refuses(401, "Unauthorized");
    let viewer = format!("Bearer {}", api.viewer);
    let refused =
        api.ask("PUT", "/v1/functions/new", &[("authorization", &viewer)], "").await.refuses(403, "Forbidden");
    assert!(refused["message"].as_str().unwrap().contains("operator"), "{refused}");
    api.operate("POST", "/v1/tokens", r#"{"name": "x", "role": "admin"}"#).await.refuses(403, "Forbidden");
    api.operate("GET", "/v1/export", "").await.refuses(403, "Forbidden");
    // Nothing of it happened, and a read needs no token here, but not a wrong one either.
    api.get("/v1/functions/new").await.refuses(404, "NotFound");
    api.ask("GET", "/v1/functions", &wrong, "").await.refuses(401, "Unauthorized");
    api.ask("GET", "/v1/functions", &[("authorization", &viewer)], "").await.is(200);
    let metrics = api.get("/metrics").await.body;
    assert!(metrics.contains("weir_admin_refused_total{reason=\"no_token\"} 1\n"), "{metrics}");
    assert!(metrics.contains("weir_admin_refused_total{reason=\"wrong_token\"} 2\n"), "{metrics}");
    assert!(metrics.contains("weir_admin_refused_total{reason=\"role\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_turned_away_on_every_path() {
    let api = Api::start().await;
    for path in ["/v1/functions", "/metrics", "/no/such/path"] {
        for host in ["evil.example.com", "localhost.evil.example.com:9900", "10.0.0.1:9900"] {
            api.ask("GET", path, &[("host", host)], "").await.refuses(403, "WrongHost");
        }
        api.ask("GET", path, &[("origin", "http://evil.example.com")], "").await.refuses(403, "WrongOrigin");
        api.ask("GET", path, &[("origin", "null")], "").await.refuses(403, "WrongOrigin");
    }
    for host in ["localhost:9900", "127.0.0.1", "[::1]:9900"] {
        let origin = format!("http://{host}");
        api.ask("GET", "/v1/functions", &[("host", host), ("origin", &origin)], "").await.is(200);
    }
}

#[tokio::test]
async fn an_address_with_too_many_wrong_tokens_waits_and_a_right_one_gets_in() {
    let api = Api::start().await;
    let wrong = [("authorization", "Bearer weir_0000")];
    for _ in 0..20 {
        api.ask("GET", "/v1/functions", &wrong, "").await.refuses(401, "Unauthorized");
    }
    let refused = api.ask("GET", "/v1/functions", &wrong, "").await;
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    refused.refuses(429, "TooManyAttempts");
    api.operate("PUT", "/v1/functions/new", "").await.is(201);
}

#[tokio::test]
async fn requests_that_are_wrong_are_told_what_would_be_right() {
    let api = Api::start().await;
    api.get("/v1/nothing").await.refuses(404, "NotFound");
    let method = api.operate("PUT", "/v1/functions", "{}").await;
    assert_eq!(method.header("allow"), Some("get,head,post"));
    method.refuses(405, "MethodNotAllowed");
    let unknown = api.get("/v1/functions?limt=1").await.refuses(400, "InvalidRequest");
    assert!(unknown["message"].as_str().unwrap().contains("limit, after"), "{unknown}");
    api.get("/v1/functions?limit=0").await.refuses(400, "InvalidRequest");
    api.get("/v1/functions?limit=1001").await.refuses(400, "InvalidRequest");
    api.get("/v1/functions/9x").await.refuses(400, "InvalidRequest");
    api.ask("GET", "/v1/config", &[("accept", "text/html")], "").await.refuses(406, "NotAcceptable");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let alias = "/v1/functions/shop/aliases/prod";
    api.operate_with("PUT", alias, &form, "split=1").await.refuses(415, "UnsupportedMediaType");
    api.operate("PUT", alias, "{split: 1}").await.refuses(400, "InvalidRequest");
    api.operate("PUT", alias, "").await.refuses(400, "InvalidRequest");
    let unreadable =
        api.operate("PUT", alias, "{\"split\": {\"1\": 50,\n \"7\": 50}}").await.refuses(422, "InvalidConfig");
    assert!(
        unreadable["problems"][0]["path"].as_str().unwrap().starts_with("functions.shop.aliases.prod"),
        "{unreadable}"
    );
    let unknown = api.operate("PUT", alias, "{\"splt\": {\"1\": 50}}").await.refuses(422, "InvalidConfig");
    assert_eq!((&unknown["problems"][0]["line"], unknown["problems"][0]["hint"].is_string()), (&1.into(), true));
    let large = format!("{{\"split\": 1{}}}", " ".repeat(1 << 20));
    api.operate("PUT", alias, &large).await.refuses(413, "TooLarge");
    api.operate_with("PUT", alias, &[("x-weir-why", "%ff")], "{\"split\": 1}").await.refuses(400, "InvalidRequest");
    api.operate_with("PUT", alias, &[("if-match", "1")], "{\"split\": 1}").await.refuses(400, "InvalidRequest");
    api.operate_with("POST", "/v1/config", &[("if-match", "\"1\"")], FILE).await.refuses(400, "InvalidRequest");
    // None of it changed anything.
    assert_eq!(api.get(alias).await.json()["split"], serde_json::json!({ "1": 95, "2": 5 }));
}

#[tokio::test]
async fn no_answer_shows_a_secret() {
    let api = Api::start().await;
    let created = api.administer("POST", "/v1/tokens", r#"{"name": "ci", "role": "viewer"}"#).await.is(201);
    assert_eq!(created.header("cache-control"), Some("no-store"));
    let token = created.json()["token"].as_str().unwrap().to_owned();
    let paths = [
        "/v1/tokens",
        "/v1/journal",
        "/v1/export",
        "/v1/config",
        "/v1/settings",
        "/v1/status",
        "/v1/drift",
        "/metrics",
    ];
    for path in paths {
        let answer = api.administer("GET", path, "").await.is(200);
        for hidden in [&token, &api.admin, &api.operator, &api.viewer] {
            assert!(!answer.body.contains(hidden) && !answer.head.contains(hidden), "{path}: {answer:?}");
        }
    }
}
