//! What a version fails, its spare answers.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::HOST;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint, refusing};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::eventually;
use crate::kit::h2::H2;
use crate::kit::load::Load;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder};

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";

/// A setting without fallback, so that the shield alone stands in for a version that fails.
const ALONE: &str = "on_unhealthy: fail";

/// Version 1 at an endpoint, version 2 at an address and without retries, so that its failures are the shield's.
fn shop(one: &Endpoint, two: impl std::fmt::Display, alias: &str) -> String {
    format!(
        "functions:\n  shop:\n    versions:\n      1: 'http://{}'\n      \
         2: {{endpoints: ['{two}'], retries: {{attempts: 0}}, timeouts: {{response: 200ms}}}}\n    \
         aliases: {{prod: {alias}}}\ndomains:\n  {HOST}: shop:prod\n",
        one.address
    )
}

async fn picks(weir: &Weir, version: &str, reason: &str) -> usize {
    let labels = [("alias", "prod"), ("version", version), ("reason", reason)];
    weir.metric("weir_picks_total", &labels).await.expect("the version has its series") as usize
}

/// Every second answer is by name, the others are this one.
fn every_second(answer: Answer) -> Answer {
    Answer::Cycle(vec![Answer::Name, answer], Arc::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_sees_what_the_candidate_fails() {
    const REQUESTS: usize = 600;
    let failures = [
        ("gateway", Some(Answer::Raw(UNAVAILABLE.to_vec()))),
        ("any-5xx", Some(Answer::Raw(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()))),
        ("gateway", Some(Answer::Reset)),
        ("gateway", Some(Answer::Hang)),
        ("gateway", None),
    ];
    for (case, (shield, failure)) in failures.into_iter().enumerate() {
        let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
        let is_refused = failure.is_none();
        let address = match failure {
            Some(failure) => {
                two.on("/", every_second(failure));
                two.address
            }
            None => refusing().await,
        };
        let weir =
            Weir::start(&shop(&one, address, &format!("{{split: {{1: 80, 2: 20}}, {ALONE}, shield: {shield}}}"))).await;
        let load = Load::start(weir.http, HOST, 8, REQUESTS);
        eventually("the load is over", async || (load.done() >= REQUESTS).then_some(())).await;
        let exchanges = load.stop().await;
        let failed: Vec<_> = exchanges.iter().filter(|exchange| !matches!(&exchange.outcome, Ok((200, _)))).collect();
        assert!(failed.is_empty(), "case {case}: {} of {}, as {:?}", failed.len(), exchanges.len(), failed[0].outcome);
        let drawn = picks(&weir, "2", "slot").await;
        assert!((119..=121).contains(&drawn), "case {case}: {drawn} of {REQUESTS} at 20 %");
        let failed = if is_refused { drawn } else { drawn / 2 };
        assert_eq!(picks(&weir, "1", "shield").await, failed, "case {case}: of {drawn}");
        assert_eq!(one.seen().len(), exchanges.len() - drawn + failed, "case {case}: each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_repeated_is_sent_once() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    two.on("/reset", Answer::Reset);
    two.on("/busy", Answer::Raw(UNAVAILABLE.to_vec()));
    two.on("/slow", Answer::Hang);
    let weir =
        Weir::start(&shop(&one, two.address, &format!("{{split: {{1: 50, 2: 50}}, {ALONE}, shield: any-5xx}}"))).await;
    for (path, status) in [("/reset", 502), ("/busy", 503), ("/slow", 504)] {
        for key in ["", "idempotency-key: 7\r\n"] {
            let (mut failed, before) = (0, [one.seen().len(), two.seen().len()]);
            for _ in 0..4 {
                let mut client = Client::connect(weir.http).await;
                let body = "x".repeat(3_000);
                client
                    .send(format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\n{key}content-length: 3000\r\n\r\n{body}"))
                    .await;
                let response = client.response("POST").await;
                failed += usize::from(response.status == status);
                assert!(response.status == status || response.version() == "1", "{path}: {}", response.status);
            }
            let sent = [one.seen().len() - before[0], two.seen().len() - before[1]];
            if key.is_empty() {
                assert_eq!((failed, sent[0] + sent[1]), (sent[1], 4), "{path}: each is sent once");
            } else {
                assert_eq!((failed, sent[0]), (0, 4), "{path}: the spare has its own and the others");
            }
        }
    }
    assert!(
        one.seen().iter().all(|seen| seen.body.bytes == "x".repeat(3_000).as_bytes()),
        "all of the body is repeated"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_both_is_not_doubled() {
    const REQUESTS: usize = 200;
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let unavailable = || Answer::Raw(UNAVAILABLE.to_vec());
    one.on("/", unavailable());
    two.on("/", unavailable());
    let alias = format!("{{split: {{1: 50, 2: 50}}, {ALONE}, shield: gateway}}");
    let weir = Weir::start(&shop(&one, two.address, &alias)).await;
    let mut client = Client::connect(weir.http).await;
    for _ in 0..REQUESTS {
        assert_eq!(client.get(HOST, "/").await.status, 503);
    }
    // The shield closes once the spare has no healthy endpoint, or twenty requests have told how it does.
    let shielded = picks(&weir, "1", "shield").await;
    assert!((1..=25).contains(&shielded), "{shielded}");
    assert_eq!(one.seen().len(), picks(&weir, "1", "slot").await + shielded);

    // Healthy again, it answers for the other as soon as its failures are a tenth or less.
    one.on("/", Answer::Name);
    let answered = eventually("the shield opens", async || {
        let response = client.get(HOST, "/").await;
        response.head.field("x-weir-shielded-from").map(|_| response.status)
    });
    assert_eq!(answered.await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_has_only_so_many_requests_of_others_at_once() {
    const REQUESTS: usize = 40;
    const MOST: usize = 10;
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let answers = Arc::new(Semaphore::new(0));
    one.on("/", Answer::Parts(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()], answers.clone()));
    two.on("/", Answer::Raw(UNAVAILABLE.to_vec()));
    let alias = format!("{{split: {{1: 1, 2: 99}}, stable: 1, {ALONE}, shield: gateway}}");
    let weir = Weir::start(&shop(&one, two.address, &alias)).await;
    let mut clients = JoinSet::new();
    for _ in 0..REQUESTS {
        let address = weir.http;
        clients.spawn(async move { get(address, HOST, "/").await.status });
    }
    let drawn = eventually("all are drawn", async || {
        let drawn = [picks(&weir, "1", "slot").await, picks(&weir, "2", "slot").await];
        (drawn[0] + drawn[1] == REQUESTS).then_some(drawn)
    });
    let [own, others] = drawn.await;
    let mut refused = 0;
    while refused < others - MOST {
        refused += usize::from(clients.join_next().await.expect("some are left").expect("no client panics") == 503);
    }
    eventually("the spare has its own and those", async || (one.seen().len() == own + MOST).then_some(())).await;
    answers.add_permits(REQUESTS);
    assert_eq!(clients.join_all().await, vec![200; own + MOST]);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_told_who_answers() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    two.on("/app/cart", Answer::Raw(UNAVAILABLE.to_vec()));
    let alias = "{split: {1: 1, 2: 99}, stable: 1, shield: gateway, key: [{header: x-user}]}";
    let live = shop(&one, two.address, alias).replace(
        &format!("1: 'http://{}'", one.address),
        &format!(
            "1: {{endpoints: ['{}'], path_prefix: /old, host: old.internal, headers: {{set: {{x-side: stable}}}}}}",
            one.address
        ),
    );
    let quiet =
        format!("{live}  quiet.example.com: {{version_header: false, routes: [{{path: /*, to: 'shop:prod'}}]}}\n");
    let weir = Weir::start(&quiet).await;
    let mut client = Client::connect(weir.http).await;
    let response = client.get_with(HOST, "/app/cart", "x-user: a\r\n").await;
    assert_eq!((response.status, response.text().as_str(), response.version()), (200, "v1", "1"));
    assert_eq!(response.head.field("x-weir-shielded-from"), Some("2"));
    let seen = one.saw("/old/app/cart").await;
    for (field, value) in [("x-weir-version", "1"), ("host", "old.internal"), ("x-side", "stable"), ("x-user", "a")] {
        assert_eq!(seen.head.field(field), Some(value), "{field}");
    }
    let seen = two.saw("/app/cart").await;
    assert_eq!((seen.head.field("x-weir-version"), seen.head.field("x-side")), (Some("2"), None));
    let line = weir.access_line(r#""shielded_from":"2""#).await;
    for part in [r#""version":"1""#, r#""reason":"bucket""#, r#""attempts":2"#, r#""upstream_status":200"#] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let response = client.get_with("quiet.example.com", "/app/cart", "x-user: a\r\n").await;
    assert_eq!((response.status, response.version()), (200, ""));
    assert_eq!(response.head.field("x-weir-shielded-from"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_stable_nor_what_was_named_is_shielded() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    one.on("/stable", Answer::Raw(UNAVAILABLE.to_vec()));
    two.on("/candidate", Answer::Raw(UNAVAILABLE.to_vec()));
    let live = format!(
        "{}  two.example.com: 'shop:2'\noverride: {{tokens: ['0123456789abcdef-token']}}\n",
        shop(&one, two.address, &format!("{{split: {{1: 50, 2: 50}}, {ALONE}, shield: any-5xx}}"))
    );
    let weir = Weir::start(&live).await;
    let mut client = Client::connect(weir.http).await;
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(client.get(HOST, "/stable").await.status == 503);
    }
    assert!((9..=11).contains(&failed), "{failed} of 20");
    assert_eq!(client.get("two.example.com", "/candidate").await.status, 503);
    let named = "x-weir-qualifier: 2\r\nx-weir-override-token: 0123456789abcdef-token\r\n";
    assert_eq!(client.get_with(HOST, "/candidate", named).await.status, 503);
    assert_eq!(picks(&weir, "1", "shield").await + picks(&weir, "2", "shield").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_http2_are_shielded_too() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    for (path, failure) in
        [("/busy", Answer::Raw(UNAVAILABLE.to_vec())), ("/reset", Answer::Reset), ("/slow", Answer::Hang)]
    {
        two.on(path, every_second(failure));
        one.on(path, Answer::Echo);
    }
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    let live = shop(&one, two.address, "{split: {1: 50, 2: 50}, shield: gateway}").replace(
        &format!("{HOST}: shop:prod"),
        &format!("{HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}"),
    );
    let weir = Weir::start_in(folder, PROCESS_TLS, &live).await;
    let client = H2::connect(weir.https.expect("a TLS listener"), HOST, certificate.client(&["h2"])).await;
    for path in ["/busy", "/reset", "/slow"] {
        let mut shielded = 0;
        for _ in 0..20 {
            let request =
                Request::builder().method("PUT").uri(format!("https://{HOST}{path}")).body(()).expect("a request");
            let answer = client.request(request, &[b"ab", b"c"]).await;
            assert_eq!(answer.status.as_u16(), 200, "{path}");
            if answer.headers.contains_key("x-weir-shielded-from") {
                assert_eq!(answer.body, b"abc", "{path}: all of the body is repeated");
                shielded += 1;
            }
        }
        assert!((4..=6).contains(&shielded), "{path}: {shielded} of 10 that the candidate got");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_of_another_protocol_is_shielded_too() {
    let (one, two) = (Endpoint::start("v1").await, H2Endpoint::start(None).await);
    one.on("/paced", Answer::Echo);
    let alias = "{split: {1: 50, 2: 50}, shield: gateway}";
    let live = shop(&one, two.address, alias).replace("retries:", "protocol: h2c, retries:");
    let weir = Weir::start(&live).await;
    let mut client = Client::connect(weir.http).await;
    for _ in 0..6 {
        client.send(format!("PUT /paced HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 3\r\n\r\nabc")).await;
        let response = client.response("PUT").await;
        assert_eq!((response.status, response.version(), response.text().as_str()), (200, "1", "abc"));
    }
    let slow = two.seen().len();
    assert!((2..=4).contains(&slow), "{slow} of 6");
    assert_eq!(picks(&weir, "1", "shield").await, slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failures_of_a_spare_are_answered_as_they_are() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    two.on("/", Answer::Raw(UNAVAILABLE.to_vec()));
    one.on("/", Answer::Later(Duration::from_millis(1), Box::new(Answer::Reset)));
    let alias = "{split: {1: 1, 2: 99}, stable: 1, shield: gateway, key: [{header: x-user}]}";
    let weir = Weir::start(&shop(&one, two.address, alias)).await;
    let response = Client::connect(weir.http).await.get_with(HOST, "/", "x-user: a\r\n").await;
    assert_eq!((response.status, response.version()), (502, "1"));
    assert_eq!(response.head.field("x-weir-shielded-from"), Some("2"));
    assert_eq!((one.seen().len(), two.seen().len()), (1, 1), "a spare gets a request once");
}
