//! Endpoints that fail.

use std::time::Duration;

use crate::HOST;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint, refusing};
use crate::kit::eventually;
use crate::kit::weir::Weir;

/// A function `shop` whose versions are written out in full.
fn full(versions: &str, alias: &str) -> String {
    format!(
        "functions:\n  shop:\n    versions:\n{versions}    aliases: {{prod: {alias}}}\ndomains:\n  {HOST}: shop:prod\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_costs_no_request() {
    let (alive, dead) = (Endpoint::start("v1").await, refusing().await);
    let weir = Weir::start(&full(&format!("      1: {{endpoints: ['{}', '{dead}']}}\n", alive.address), "1")).await;
    let mut client = Client::connect(weir.http).await;
    for _ in 0..40 {
        assert_eq!(client.get(HOST, "/").await.text(), "v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_a_502_that_leaks_nothing() {
    let dead = refusing().await;
    let weir = Weir::start(&full(&format!("      1: 'http://{dead}'\n"), "1")).await;
    let response = get(weir.http, HOST, "/").await;
    assert!(matches!(response.status, 502 | 503), "{}", response.status);
    assert!(!response.text().contains(&dead.to_string()), "{}", response.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_repeated_is_repeated() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v1").await);
    for endpoint in [&one, &two] {
        endpoint.on("/reset", Answer::Reset);
        endpoint.on("/post", Answer::Reset);
    }
    let versions = format!("      1: {{endpoints: ['{}', '{}']}}\n", one.address, two.address);
    let weir = Weir::start(&full(&versions, "1")).await;
    let attempts = |target: &str| {
        let seen = one.seen().into_iter().chain(two.seen());
        seen.filter(|seen| seen.target() == target).count()
    };
    assert_eq!(get(weir.http, HOST, "/reset").await.status, 502);
    assert_eq!(attempts("/reset"), 2, "one attempt and one retry");
    let mut client = Client::connect(weir.http).await;
    client.send(format!("POST /post HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\n\r\nab")).await;
    assert_eq!(client.response("POST").await.status, 502);
    assert_eq!(attempts("/post"), 1, "a POST is sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_stays_inside_the_version() {
    let (failing, other) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    failing.on("/", Answer::Reset);
    let versions = format!("      1: 'http://{}'\n      2: 'http://{}'\n", failing.address, other.address);
    let weir = Weir::start(&full(&versions, "{1: 100, 2: 0}")).await;
    assert_eq!(get(weir.http, HOST, "/").await.status, 502);
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_version_falls_back_or_fails() {
    for (policy, statuses) in [("fallback", &[200][..]), ("fail", &[200, 503][..])] {
        let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
        two.on("/healthz", Answer::Raw(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()));
        let versions = format!(
            "      1: 'http://{}'\n      2: {{endpoints: ['{}'], health: {{path: /healthz, every: 100ms, fall: 1}}}}\n",
            one.address, two.address
        );
        let weir = Weir::start(&full(&versions, &format!("{{split: {{1: 50, 2: 50}}, on_unhealthy: {policy}}}"))).await;
        let healthy = async |count: f64| {
            let version_two = [("function", "shop"), ("version", "2")];
            eventually(&format!("version 2 has {count} healthy endpoints"), async || {
                weir.metric("weir_endpoints_healthy", &version_two).await.filter(|value| *value == count)
            })
            .await;
        };
        healthy(0.0).await;
        let mut client = Client::connect(weir.http).await;
        let (mut seen, mut stood_in) = (std::collections::BTreeSet::new(), 0);
        for _ in 0..20 {
            let response = client.get(HOST, "/").await;
            stood_in += usize::from(response.head.field("x-weir-shielded-from") == Some("2"));
            assert!(response.status != 200 || response.text() == "v1", "{policy}: {}", response.text());
            seen.insert(response.status);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), statuses, "{policy}");
        assert_eq!(
            (9..=11).contains(&stood_in),
            policy == "fallback",
            "{policy}: {stood_in} of 20 say who did not answer"
        );

        two.on("/healthz", Answer::Name);
        healthy(1.0).await;
        let mut back = 0;
        for _ in 0..20 {
            back += usize::from(client.get(HOST, "/").await.text() == "v2");
        }
        assert!((9..=11).contains(&back), "{policy}: {back} of 20 after it came back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_endpoint_is_a_504() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/hang", Answer::Hang);
    endpoint.on("/later", Answer::Later(Duration::from_millis(50), Box::new(Answer::Name)));
    let version = format!("      1: {{endpoints: ['{}'], timeouts: {{response: 500ms}}}}\n", endpoint.address);
    let weir = Weir::start(&full(&version, "1")).await;
    assert_eq!(get(weir.http, HOST, "/hang").await.status, 504);
    assert_eq!(get(weir.http, HOST, "/later").await.text(), "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_an_endpoint_is_a_502() {
    let endpoint = Endpoint::start("v1").await;
    let nonsense: &[(&str, &str)] = &[
        ("/garbage", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        ("/lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        ("/early-end", ""),
    ];
    for (path, bytes) in nonsense {
        endpoint.on(path, Answer::RawThenClose(bytes.as_bytes().to_vec()));
    }
    let weir = Weir::start(&full(&format!("      1: 'http://{}'\n", endpoint.address), "1")).await;
    for (path, _) in nonsense {
        assert_eq!(get(weir.http, HOST, path).await.status, 502, "{path}");
    }
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");
}
