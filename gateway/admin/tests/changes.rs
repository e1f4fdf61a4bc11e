//! What changes, under which condition, and what the journal says of it.

use serde_json::{Value, json};

use super::support::{Api, FILE};

const SHOP: &str = "/v1/functions/shop";
const PROD: &str = "/v1/functions/shop/aliases/prod";

#[tokio::test]
async fn a_function_is_created_once_and_put_as_often_as_one_likes() {
    let api = Api::start().await;
    let all = "/v1/functions";
    let made = api.operate("POST", all, r#"{"name": "cart", "dialects": ["fc"]}"#).await.is(201).json();
    assert_eq!((&made["name"], &made["dialects"]), (&json!("cart"), &json!(["fc"])));
    api.operate("POST", all, r#"{"name": "cart"}"#).await.refuses(409, "AlreadyExists");
    api.operate("PUT", "/v1/functions/cart", "").await.is(200);
    api.operate("POST", all, r#"{"name": "1cart"}"#).await.refuses(400, "InvalidRequest");
    api.operate("POST", all, r#"{"name": "other", "dialects": ["gcp"]}"#).await.refuses(422, "InvalidConfig");
    api.get("/v1/functions/other").await.refuses(404, "NotFound");
}

#[tokio::test]
async fn from_nothing_to_a_published_version() {
    let api = Api::start().await;
    let made = api.operate("PUT", "/v1/functions/cart", "").await.is(201);
    let revision = made.json()["revision"].as_u64().unwrap();
    assert_eq!(made.header("etag"), Some(&*format!("\"{revision}\"")));
    assert_eq!(made.header("x-weir-revision"), Some(&*revision.to_string()));
    let set = api.operate("PUT", "/v1/functions/cart", r#"{"dialects": ["fc"]}"#).await.is(200).json();
    assert_eq!((&set["name"], &set["dialects"]), (&json!("cart"), &json!(["fc"])));

    let drafts = "/v1/functions/cart/draft";
    api.get(drafts).await.refuses(404, "NotFound");
    let draft =
        api.operate("PUT", drafts, r#"{"endpoints": ["127.0.0.1:5"], "description": "five"}"#).await.is(201).json();
    assert_eq!((&draft["name"], &draft["endpoints"]), (&json!("$LATEST"), &json!(["127.0.0.1:5"])));
    let patched = api.operate("PATCH", drafts, r#"{"description": null, "protocol": "h2c"}"#).await.is(200).json();
    assert_eq!((&patched["description"], &patched["protocol"]), (&Value::Null, &json!("h2c")));

    let versions = "/v1/functions/cart/versions";
    let stale = format!("{{\"expected_revision\": {revision}}}");
    api.operate("POST", versions, &stale).await.refuses(412, "PreconditionFailed");
    let digest = format!("{{\"expected_digest\": \"{}\"}}", "0".repeat(64));
    api.operate("POST", versions, &digest).await.refuses(412, "PreconditionFailed");
    let current = format!("{{\"expected_revision\": {}, \"label\": \"first\"}}", patched["revision"]);
    let published = api.operate("POST", versions, &current).await.is(201);
    assert_eq!(published.header("location"), Some("/v1/functions/cart/versions/1"));
    let published = published.json();
    assert_eq!((&published["number"], &published["label"]), (&json!(1), &json!("first")));
    let same = api.operate("POST", versions, "").await.refuses(409, "VersionUnchanged");
    assert_eq!(same["version"], 1);
    assert_eq!(api.get(&format!("{versions}/1")).await.is(200).json(), published);

    api.operate("DELETE", drafts, "").await.is(204);
    api.operate("DELETE", "/v1/functions/cart", "").await.is(204);
    api.get("/v1/functions/cart").await.refuses(404, "NotFound");
    api.operate("DELETE", "/v1/functions/cart", "").await.refuses(404, "NotFound");
}

#[tokio::test]
async fn what_is_named_cannot_go_and_what_is_frozen_cannot_change() {
    let api = Api::start().await;
    let named = api.operate("DELETE", &format!("{SHOP}/versions/2"), "").await.refuses(409, "Referenced");
    assert!(named["problems"].to_string().contains("prod"), "{named}");
    api.operate("DELETE", SHOP, "").await.refuses(409, "Referenced");
    let named = api.operate("DELETE", PROD, "").await.refuses(409, "Referenced");
    assert!(named["message"].as_str().unwrap().contains("routes[0].to"), "{named}");
    api.operate("PATCH", &format!("{SHOP}/versions/2"), r#"{"protocol": "h2c"}"#).await.refuses(400, "InvalidRequest");
    let moved = r#"{"label": "blue", "description": "x", "endpoints": ["127.0.0.1:22"]}"#;
    let digest = api.get(&format!("{SHOP}/versions/2")).await.json()["digest"].clone();
    let moved = api.operate("PATCH", &format!("{SHOP}/versions/2"), moved).await.is(200).json();
    assert_eq!(
        (&moved["label"], &moved["endpoints"], &moved["digest"]),
        (&json!("blue"), &json!(["127.0.0.1:22"]), &digest)
    );
    let bare = api.operate("PATCH", &format!("{SHOP}/versions/2"), r#"{"label": null}"#).await.is(200).json();
    assert_eq!((&bare["label"], &bare["description"]), (&Value::Null, &json!("x")));
    api.operate("PATCH", &format!("{SHOP}/versions/9"), r#"{"label": null}"#).await.refuses(404, "NotFound");
}

#[tokio::test]
async fn an_alias_changes_only_under_the_condition_of_its_caller() {
    let api = Api::start().await;
    let before = api.get(PROD).await.is(200);
    let tag = before.header("etag").unwrap().to_owned();
    // Another change does not touch this revision.
    api.operate("PUT", "/v1/functions/other", "").await.is(201);
    let shifted =
        api.operate_with("PATCH", PROD, &[("if-match", &tag)], r#"{"split": {"1": 90, "2": 10}}"#).await.is(200);
    assert_eq!(shifted.json()["split"], json!({ "1": 90, "2": 10 }));
    let late = api.operate_with("PATCH", PROD, &[("if-match", &tag)], r#"{"split": {"1": 1}}"#).await;
    late.refuses(412, "PreconditionFailed");
    let absent = [("if-none-match", "*")];
    api.operate_with("PUT", PROD, &absent, r#"{"split": 1}"#).await.refuses(412, "PreconditionFailed");
    api.operate_with("PUT", &format!("{SHOP}/aliases/new"), &absent, r#"{"split": 1}"#).await.is(201);
    api.operate_with("PUT", &format!("{SHOP}/aliases/none"), &[("if-match", "*")], r#"{"split": 1}"#)
        .await
        .refuses(412, "PreconditionFailed");
    let yaml = [("content-type", "application/yaml")];
    let keyed = api.operate_with("PATCH", PROD, &yaml, "key: [{header: x-user}]\n").await.is(200).json();
    assert_eq!((keyed["key"].as_array().unwrap().len(), &keyed["split"]), (1, &json!({ "1": 90, "2": 10 })));
    assert_eq!(api.operate("PATCH", PROD, r#"{"key": null}"#).await.is(200).json()["key"], Value::Null);
    api.operate("DELETE", &format!("{SHOP}/aliases/new"), "").await.is(204);
    api.operate("DELETE", &format!("{SHOP}/aliases/$DEFAULT"), "").await.refuses(409, "Immutable");
    assert_eq!(api.get(&format!("{SHOP}/aliases/$DEFAULT")).await.is(200).json()["split"], json!({ "$LATEST": 100 }));
}

#[tokio::test]
async fn a_dry_run_tells_the_difference_and_changes_nothing() {
    let api = Api::start().await;
    let revision = api.node.live.load().revision;
    let tried =
        api.operate("PATCH", &format!("{PROD}?dry_run=true"), r#"{"split": {"1": 50, "2": 50}}"#).await.is(200).json();
    let change = &tried["changes"][0];
    assert_eq!(
        (tried["changes"].as_array().unwrap().len(), &change["path"]),
        (1, &json!("functions.shop.aliases.prod.split"))
    );
    assert_eq!((&change["before"], &change["after"]), (&json!({ "1": 95, "2": 5 }), &json!({ "1": 50, "2": 50 })));
    let tried = api.operate("DELETE", &format!("{PROD}?dry_run=true"), "").await;
    tried.refuses(409, "Referenced");
    let tried = api.operate_with("POST", "/v1/config?dry_run=true", &[("content-type", "application/yaml")], "").await;
    tried.refuses(400, "InvalidRequest");
    let emptied = FILE.replace("domains: {shop.example.com: 'shop:prod'}\n", "");
    let yaml = [("content-type", "application/yaml")];
    let tried = api.operate_with("POST", "/v1/config?dry_run=true", &yaml, &emptied).await.is(200).json();
    assert_eq!(tried["changes"][0]["path"], "domains.\"shop.example.com\"");
    api.operate("POST", "/v1/drain?dry_run=true", "").await.refuses(400, "InvalidRequest");
    assert_eq!(api.node.live.load().revision, revision);
}

#[tokio::test]
async fn an_alias_and_the_whole_go_back() {
    let api = Api::start().await;
    let start = api.node.live.load().revision;
    api.operate("PATCH", PROD, r#"{"split": {"1": 50, "2": 50}}"#).await.is(200);
    api.operate("PATCH", PROD, r#"{"on_unhealthy": "fail"}"#).await.is(200);
    let back = api.operate("POST", &format!("{PROD}/rollback"), "").await.is(200).json();
    assert_eq!((&back["split"], &back["on_unhealthy"]), (&json!({ "1": 95, "2": 5 }), &json!("fail")));
    let to = format!("{{\"to\": {start}}}");
    assert_eq!(api.operate("POST", &format!("{PROD}/rollback"), &to).await.is(200).json()["on_unhealthy"], Value::Null);
    api.operate("DELETE", "/v1/domains/shop.example.com", "").await.is(204);
    api.get("/v1/domains/shop.example.com").await.refuses(404, "NotFound");
    let back = api.operate("POST", "/v1/config/rollback", &to).await.is(200).json();
    assert_eq!(back["changes"][0]["path"], "domains.\"shop.example.com\"");
    api.get("/v1/domains/shop.example.com").await.is(200);
    api.operate("POST", "/v1/config/rollback", r#"{"to": 4711}"#).await.refuses(404, "NotFound");
}

#[tokio::test]
async fn stages_domains_plans_and_notifiers_are_made_read_and_deleted() {
    let api = Api::start().await;
    let things = [
        ("stages", "release", r#"{"alias": "prod"}"#, "alias"),
        ("domains", "a.example.com", r#"{"routes": [{"path": "/*", "to": "shop:prod"}]}"#, "routes"),
        ("plans", "careful", r#"{"canaryStep": {"weight": 20, "interval": "10m"}}"#, "canaryStep"),
        ("notifiers", "oncall", r#"{"webhook": {"url": "https://example.com/"}}"#, "webhook"),
    ];
    for (kind, name, body, field) in things {
        let path = format!("/v1/{kind}/{name}");
        api.get(&path).await.refuses(404, "NotFound");
        let made = api.operate("PUT", &path, body).await.is(201).json();
        assert!(made["name"] == name && !made[field].is_null(), "{made}");
        assert_eq!(
            api.operate("PUT", &path, body).await.is(200).json(),
            made,
            "{kind}: the same again changes nothing"
        );
        assert_eq!(api.get(&path).await.is(200).json(), made);
        let listed = api.get(&format!("/v1/{kind}")).await.is(200).json();
        assert!(listed["items"].as_array().unwrap().contains(&made), "{listed}");
        api.operate("PUT", &path, r#"{"nonsense": 1}"#).await.refuses(422, "InvalidConfig");
        api.operate("DELETE", &path, "").await.is(204);
        api.operate("DELETE", &path, "").await.refuses(404, "NotFound");
    }
}

#[tokio::test]
async fn a_file_is_applied_field_by_field_and_drift_is_told() {
    let api = Api::start().await;
    assert_eq!(api.get("/v1/drift").await.is(200).json(), json!({ "changes": [], "layers": {} }));
    api.operate("PATCH", PROD, r#"{"split": {"1": 50, "2": 50}}"#).await.is(200);
    let drift = api.get("/v1/drift").await.is(200).json();
    assert_eq!(
        (&drift["changes"][0]["before"], &drift["changes"][0]["after"]),
        (&json!({ "1": 95, "2": 5 }), &json!({ "1": 50, "2": 50 }))
    );
    let yaml = [("content-type", "application/yaml")];
    let file = format!("{FILE}stages: {{dev: {{alias: prod}}}}\n").replace("1: 95, 2: 5", "1: 2, 2: 1");
    let applied = api.operate_with("POST", "/v1/config", &yaml, &file).await.is(200).json();
    assert_eq!(applied["warnings"][0]["severity"], "warning", "a sum other than 100: {applied}");
    assert_eq!(applied["revision"], api.node.live.load().revision);
    let bad = api.operate_with("POST", "/v1/config", &yaml, "functions: 1\n").await.refuses(422, "InvalidConfig");
    assert_eq!((&bad["problems"][0]["line"], &bad["problems"][0]["column"]), (&json!(1), &json!(12)));
    let settings = r#"{"triggers": [{"path": "/hooks/*", "to": "shop:prod"}], "trusted_proxies": ["10.0.0.0/8"]}"#;
    let set = api.operate("PUT", "/v1/settings", settings).await.is(200).json();
    assert_eq!(set["trusted_proxies"], json!(["10.0.0.0/8"]));
    assert_eq!(api.get("/v1/settings").await.json(), set);
}

#[tokio::test]
async fn the_journal_names_who_and_why() {
    let api = Api::start().await;
    let why = [("x-weir-why", "gr%C3%BCn%20ist%20gut")];
    api.operate_with("PATCH", PROD, &why, r#"{"split": {"1": 50, "2": 50}}"#).await.is(200);
    let newest = api.get("/v1/journal?limit=1").await.is(200).json();
    let entry = &newest["items"][0];
    assert_eq!((&entry["who"], &entry["why"]), (&json!("token:operator"), &json!("grün ist gut")));
    assert_eq!(entry["changes"][0]["name"], "alias/shop/prod");
    assert_eq!(newest["next"], entry["revision"]);
    let all = api.get("/v1/journal?order=oldest").await.is(200).json();
    assert_eq!(all["items"].as_array().unwrap().last(), Some(entry));
    let mine = api.get("/v1/journal?who=token:operator&name=alias/shop/prod&since=2020-01-01T00:00:00Z").await.json();
    assert_eq!(mine["items"].as_array().unwrap().len(), 1);
    api.get("/v1/journal?since=yesterday").await.refuses(400, "InvalidRequest");
    assert_eq!(api.get("/v1/journal/verify").await.is(200).json()["ok"], true);
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_taken_back() {
    let api = Api::start().await;
    let made = api.administer("POST", "/v1/tokens", r#"{"name": "ci", "role": "operator"}"#).await.is(201).json();
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let headers = [("authorization", &*bearer)];
    api.ask("PUT", "/v1/functions/new", &headers, "").await.is(201);
    api.administer("POST", "/v1/tokens", r#"{"name": "ci", "role": "viewer"}"#).await.refuses(409, "AlreadyExists");
    api.administer("POST", "/v1/tokens", r#"{"name": "9", "role": "viewer"}"#).await.refuses(422, "InvalidConfig");
    api.administer("POST", "/v1/tokens", r#"{"name": "x", "role": "god"}"#).await.refuses(400, "InvalidRequest");
    let listed = api.administer("GET", "/v1/tokens?after=admin&limit=1", "").await.is(200).json();
    assert_eq!((&listed["items"][0]["name"], &listed["next"]), (&json!("ci"), &json!("ci")));
    api.administer("DELETE", "/v1/tokens/ci", "").await.is(204);
    api.ask("PUT", "/v1/functions/newer", &headers, "").await.refuses(401, "Unauthorized");
    api.administer("DELETE", "/v1/tokens/ci", "").await.refuses(404, "NotFound");
}
