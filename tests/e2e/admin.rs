//! The admin API under clients that take all they can get: health, changes and rollbacks answer all the same.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::kit::api::Api;
use crate::kit::client::{Client, Response, get};
use crate::kit::rollout::{becomes, ends, shares, three};
use crate::kit::weir::Weir;
use crate::kit::{eventually, within};
use crate::{HOST, shop};

const ALIAS: &str = "/v1/functions/shop/aliases/prod";
/// The longest wait of an operator.
const SOON: Duration = Duration::from_secs(1);

/// The value of the future, which has to come soon.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let value = within(what, future).await;
    assert!(began.elapsed() < SOON, "{what} took {:?}", began.elapsed());
    value
}

/// Probes, a change and a rollback, each on a connection of its own, answer soon.
async fn operators_get_in(weir: &Weir) {
    for path in ["/live", "/ready"] {
        assert_eq!(soon(path, weir.ask(path)).await.status, 200, "{path}");
    }
    let change = async |method: &str, path: &str, body: &str| -> Response {
        let call = async { Api::of(weir).await.call(method, path, body).await };
        soon(path, call).await
    };
    let split = json!({"split": {"1": 50, "2": 50}}).to_string();
    let patched = change("PATCH", ALIAS, &split).await;
    assert_eq!(patched.status, 200, "{}", patched.text());
    let back = change("POST", &format!("{ALIAS}/rollback"), "").await;
    assert_eq!(back.status, 200, "{}", back.text());
    // The command reads first where it changes.
    weir.told(&["shift", "shop:prod", "1=50", "2=50"]).await;
    weir.told(&["rollback", "shop:prod"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_no_operator_out() {
    let (weir, _endpoints) = three().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(Client::connect(weir.admin).await);
    }
    operators_get_in(&weir).await;
    // Half a head is as good as none.
    for client in &mut silent {
        // The oldest ones are gone.
        let _ = client.try_send(b"GET /v1/status HTTP/1.1\r\n").await;
    }
    operators_get_in(&weir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_have_a_bound_of_their_own_and_say_so() {
    let (weir, _endpoints) = three().await;
    let (mut streams, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..256 {
        let mut client = Client::connect(weir.admin).await;
        client.send(format!("GET /v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", weir.admin)).await;
        let (status, _) = client.head().await;
        if status == 200 { streams.push(client) } else { refused.push((status, client)) }
    }
    assert_eq!(streams.len(), 64);
    assert!(refused.iter().all(|(status, _)| *status == 503));
    let answer = get(weir.admin, &weir.admin.to_string(), "/v1/events").await;
    assert_eq!((answer.status, answer.head.field("retry-after")), (503, Some("1")));
    assert_eq!(answer.json()["code"], "Busy");
    assert!(answer.text().contains("64 event streams are open"), "{}", answer.text());
    operators_get_in(&weir).await;
    let event = streams[0].take_through("event: change").await;
    assert!(event.contains("id: "), "{event}");
    drop(streams);
    let again = async || {
        let mut client = Client::connect(weir.admin).await;
        client.send(format!("GET /v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", weir.admin)).await;
        (client.head().await.0 == 200).then_some(())
    };
    eventually("there is room again", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_keep_no_operator_out() {
    let (weir, _endpoints) = three().await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = Client::connect(weir.admin).await;
        let head =
            format!("POST /v1/explain HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000\r\n\r\n{{\"host\":", weir.admin);
        client.send(head).await;
        clients.push(client);
    }
    let full = async || (weir.ask("/v1/functions").await.status == 503).then_some(());
    eventually("there is no place for reads", full).await;
    for path in ["/live", "/ready"] {
        assert_eq!(soon(path, weir.ask(path)).await.status, 200, "{path}");
    }
    let split = json!({"split": {"1": 50, "2": 50}}).to_string();
    let change = async { Api::of(&weir).await.call("PATCH", ALIAS, split).await };
    assert_eq!(soon("a change", change).await.status, 200);
    // Bodies have to come within ten seconds.
    let free = async || (weir.ask("/v1/functions").await.status == 200).then_some(());
    eventually("there are places again", free).await;
}

/// A whole file with so many functions more.
fn large(live: &str, functions: usize) -> String {
    let (before, after) = live.split_once("domains:").expect("a file of `shop`");
    let mut text = before.to_owned();
    for number in 0..functions {
        writeln!(text, "  f{number}: {{versions: {{1: 'http://127.0.0.1:9'}}, aliases: {{prod: 1}}}}")
            .expect("a text can be written");
    }
    text + "domains:" + after
}

#[tokio::test(flavor = "multi_thread")]
async fn long_requests_and_a_large_reload_delay_no_probe_and_no_abort() {
    let (weir, [one, two, three]) = three().await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", "canaryStep: {weight: 50, interval: 10m}"], 0).await;
    shares(&weir, [50, 50, 0]).await;
    let file = large(&shop(&[&one, &two, &three], "1"), 20_000);

    let (place, host) = (weir.admin, weir.admin.to_string());
    let explained = json!({"host": HOST, "config": "x".repeat(14 << 20)}).to_string();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (mut api, text) = (Api::of(&weir).await, weir.text_of(&file));
        asking.spawn(async move { api.call("POST", "/v1/config?dry_run=true", text).await.status });
    }
    let mut api = Api::of(&weir).await;
    // So much is not even read to its end.
    asking.spawn(async move { api.try_call("POST", "/v1/explain", explained).await.map_or(413, |told| told.status) });
    weir.edit(&file);

    let mut slowest = Duration::ZERO;
    let mut looks = 0;
    let abort = weir.cli(&["abort", "shop:prod"]);
    tokio::pin!(abort);
    let mut aborted = None;
    while aborted.is_none() || !asking.is_empty() {
        let began = Instant::now();
        assert_eq!(get(place, &host, "/live").await.status, 200);
        (slowest, looks) = (slowest.max(began.elapsed()), looks + 1);
        tokio::select! {
            outcome = &mut abort, if aborted.is_none() => aborted = Some(outcome),
            Some(status) = asking.join_next() => {
                let status = status.expect("a call ends");
                assert!(matches!(status, 200 | 413), "{status}");
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
    assert!(slowest < Duration::from_secs(1) && looks > 10, "{slowest:?} in {looks}");
    let (code, _, stderr) = aborted.expect("it ended");
    assert_eq!(code, Some(0), "{stderr}");
    becomes(&weir, "aborted").await;
    shares(&weir, [100, 0, 0]).await;
    weir.lives("f19999").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_to_explain_by_is_small_and_for_viewers() {
    let (weir, [one, ..]) = three().await;
    let ask = |config: String| json!({"host": HOST, "config": config}).to_string();
    let config = weir.text_of(&shop(&[&one], "1"));
    let mut nobody = Client::connect(weir.admin).await;
    let body = ask(config.clone());
    let head = format!("POST /v1/explain HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n", weir.admin, body.len());
    nobody.send(head + &body).await;
    let answer = nobody.response("POST").await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    let mut api = Api::of(&weir).await;
    let told = api.call("POST", "/v1/explain", ask(config)).await;
    assert_eq!((told.status, &told.json()["version"]), (200, &json!("1")), "{}", told.text());
    let answer = api.call("POST", "/v1/explain", ask("#".repeat(2 << 20))).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}
