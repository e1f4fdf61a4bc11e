//! What can be read.

use std::time::Duration;

use config::value::name::VersionId;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::{Api, request};
use crate::metrics::Pick;

#[tokio::test]
async fn probes_and_the_description_need_nothing() {
    let api = Api::start().await;
    assert_eq!(api.get("/live").await.is(200).body, "live\n");
    assert_eq!(api.get("/ready").await.is(200).body, "ready\n");
    assert!(api.get("/metrics").await.is(200).body.contains("weir_build_info"));
    assert_eq!(api.get("/v1/openapi.json").await.is(200).json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn lists_come_in_pages_in_order() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        api.operate("PUT", &format!("/v1/functions/{name}"), "").await.is(201);
    }
    let mut names = Vec::new();
    let mut path = "/v1/functions?limit=2".to_owned();
    loop {
        let page = api.get(&path).await.is(200).json();
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/functions?limit=2&after={next}");
    }
    assert_eq!(names, ["a", "b", "c", "shop"]);
    let shop = api.get("/v1/functions?after=c").await.json()["items"][0].clone();
    assert_eq!((&shop["latest"], &shop["versions"], &shop["aliases"]), (&json!(2), &json!(2), &json!(["prod"])));
    let versions = api.get("/v1/functions/shop/versions?limit=1").await.json();
    assert_eq!((&versions["items"][0]["number"], &versions["next"]), (&json!(1), &json!("1")));
    let versions = api.get("/v1/functions/shop/versions?after=1").await.json();
    assert_eq!((&versions["items"][0]["number"], &versions["next"]), (&json!(2), &Value::Null));
    let whole = api.get("/v1/functions/shop").await.json();
    assert_eq!(whole["aliases"]["prod"]["split"], json!({ "1": 95, "2": 5 }));
    assert_eq!(whole["versions"]["1"]["endpoints"], json!(["127.0.0.1:1"]));
}

#[tokio::test]
async fn the_configuration_reads_back_as_yaml_and_json() {
    let api = Api::start().await;
    let yaml = api.get("/v1/config").await.is(200);
    assert_eq!(yaml.header("content-type"), Some("application/yaml"));
    let read = config::text::parse::parse(&yaml.body, &|_| None).unwrap().0;
    assert!(config::text::diff::diff(&read, api.node.live.load().table.config()).is_empty());
    let json = api.ask("GET", "/v1/config", &[("accept", "application/json")], "").await.is(200).json();
    assert_eq!(json["functions"]["shop"]["aliases"]["prod"]["split"]["1"], 95);
}

#[tokio::test]
async fn a_gateway_that_is_behind_its_store_for_five_seconds_is_not_ready() {
    let api = Api::start().await;
    let now = crate::clock::now();
    let next = api.node.live.load().revision + 1;
    api.node.live.stored(next, now - Duration::from_secs(3));
    assert_eq!(api.get("/ready").await.is(200).body, "ready\n");
    // What is stored later does not make it begin anew.
    api.node.live.stored(next + 1, now);
    api.node.live.stored(next, now - Duration::from_secs(6));
    assert_eq!(api.get("/ready").await.is(200).body, "ready\n");
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", r#"{"split": {"1": 1}}"#).await.is(200);
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", r#"{"split": {"2": 1}}"#).await.is(200);
    let late = api.node.live.load().revision + 1;
    api.node.live.stored(late, now - Duration::from_secs(6));
    let told = api.get("/ready").await.is(503).body;
    assert!(told.starts_with(&format!("not ready\nrevision {late} is stored, and not live after ")), "{told}");
    api.operate("PATCH", "/v1/functions/shop/aliases/prod", r#"{"split": {"1": 1}}"#).await.is(200);
    assert_eq!(api.get("/ready").await.is(200).body, "ready\n");
}

#[tokio::test]
async fn explain_tells_of_what_is_live_and_of_a_proposal() {
    let api = Api::start().await;
    let kind = [("content-type", "application/json")];
    let question = json!({ "host": "shop.example.com", "path": "/a?b=c", "headers": [["X-User", "bob"]] });
    let told = api.ask("POST", "/v1/explain", &kind, &question.to_string()).await.is(200).json();
    assert_eq!(told["revision"], api.node.live.load().revision);
    let proposal = super::support::FILE.replace("{1: 95, 2: 5}", "2");
    let question = json!({ "host": "shop.example.com", "config": proposal });
    api.ask("POST", "/v1/explain", &kind, &question.to_string()).await.refuses(401, "Unauthorized");
    let viewer = format!("Bearer {}", api.viewer);
    let kind = [kind[0], ("authorization", &*viewer)];
    let told = api.ask("POST", "/v1/explain", &kind, &question.to_string()).await.is(200).json();
    assert!(told.to_string().contains("\"2\"") && told["revision"].is_null(), "{told}");
    let bad = json!({ "host": "shop.example.com", "config": "functions: 1" });
    api.ask("POST", "/v1/explain", &kind, &bad.to_string()).await.refuses(422, "InvalidConfig");
    let bad = json!({ "host": "shop.example.com", "path": "a" });
    api.ask("POST", "/v1/explain", &kind, &bad.to_string()).await.refuses(400, "InvalidRequest");
}

#[tokio::test]
async fn status_tells_what_each_version_did() {
    let api = Api::start().await;
    let quiet = api.get("/v1/status?function=shop").await.is(200).json();
    let prod = |status: &Value| {
        let aliases = status["functions"][0]["aliases"].as_array().unwrap().clone();
        aliases.into_iter().find(|alias| alias["name"] == "prod").unwrap()
    };
    assert_eq!((&prod(&quiet)["achieved"], &prod(&quiet)["requests"]), (&Value::Null, &json!(0)));
    assert_eq!(quiet["functions"][0]["versions"][0]["requests_per_second"], Value::Null);
    let (function, alias) = ("shop".parse().unwrap(), "prod".parse().unwrap());
    for (version, requests) in [(1, 3), (2, 1)] {
        let series = api.node.metrics.version(&function, Some(&alias), VersionId::number(version).unwrap());
        for _ in 0..requests {
            series.picked(Pick::Slot);
            series.ended(Some(if version == 2 { 503 } else { 200 }), Duration::from_micros(800));
        }
        series.picked(Pick::Rule);
    }
    let busy = api.get("/v1/status").await.is(200).json();
    let alias = prod(&busy);
    assert_eq!((&alias["achieved"], &alias["requests"]), (&json!({ "1": 75.0, "2": 25.0 }), &json!(4)));
    assert_eq!(alias["split"], json!({ "1": 95, "2": 5 }));
    let versions = &busy["functions"][0]["versions"];
    assert_eq!((&versions[0]["error_rate"], &versions[1]["error_rate"]), (&json!(0.0), &json!(1.0)));
    let median = versions[0]["p50_ms"].as_f64().unwrap();
    assert!((0.5..=1.0).contains(&median), "{median}");
    let endpoint = &versions[0]["endpoints"][0];
    assert_eq!(endpoint["address"], "127.0.0.1:1");
    assert_eq!((&endpoint["healthy"], &endpoint["in_flight"]), (&json!(true), &json!(0)));
    assert_eq!(versions[2]["version"], "$LATEST");
    assert_eq!((&busy["store"]["kind"], &busy["store"]["healthy"]), (&json!("memory"), &json!(true)));
    assert_eq!(busy["reload"]["result"], "none");
    api.get("/v1/status?function=none").await.refuses(404, "NotFound");
    let nodes = api.get("/v1/nodes").await.is(200).json();
    assert_eq!((&nodes["items"][0]["this"], &nodes["items"][0]["ready"]), (&json!(true), &json!(true)));
}

/// Server-sent events of one connection.
struct Events(tokio::io::Lines<BufReader<TcpStream>>);

impl Events {
    async fn after(api: &Api, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(&api.place).await.unwrap();
        stream.write_all(request("GET", path, headers, "").as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        while !lines.next_line().await.unwrap().unwrap().is_empty() {}
        Self(lines)
    }

    /// Id, name and data of the next one.
    async fn next(&mut self) -> (u64, String, Value) {
        let (mut id, mut event) = (0, String::new());
        loop {
            let line = timeout(Duration::from_secs(20), self.0.next_line()).await.unwrap().unwrap().unwrap();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().unwrap();
            } else if let Some(text) = line.strip_prefix("event: ") {
                event = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return (id, event, serde_json::from_str(text).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn events_come_as_changes_go_live_and_go_on_where_a_client_was() {
    let api = Api::start().await;
    let prod = "/v1/functions/shop/aliases/prod";
    let mut events = Events::after(&api, "/v1/events", &[]).await;
    api.operate("PATCH", prod, r#"{"split": {"1": 50, "2": 50}}"#).await.is(200);
    let (first, event, data) = events.next().await;
    assert_eq!((event.as_str(), &data["who"]), ("change", &json!("token:operator")));
    assert_eq!(data["revision"], first);
    drop(events);
    api.operate("PATCH", prod, r#"{"split": {"1": 40, "2": 60}}"#).await.is(200);
    api.operate("PATCH", prod, r#"{"split": {"1": 30, "2": 70}}"#).await.is(200);
    let known = first.to_string();
    let mut events = Events::after(&api, "/v1/events", &[("last-event-id", &known)]).await;
    let (second, ..) = events.next().await;
    let (third, ..) = events.next().await;
    assert!(first < second && second < third, "{first} {second} {third}");
    let mut all = Events::after(&api, "/v1/events?after=0", &[]).await;
    assert_eq!(all.next().await.0, 1);
    // An id that this store never gave: the client has seen another store.
    let mut ahead = Events::after(&api, "/v1/events", &[("last-event-id", "4711")]).await;
    let (id, event, _) = ahead.next().await;
    assert_eq!((id, event.as_str()), (third, "gap"));
    api.ask("GET", "/v1/events", &[("last-event-id", "x")], "").await.refuses(400, "InvalidRequest");
}
