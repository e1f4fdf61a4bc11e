//! Balancing among the endpoints of a version: failing attracts no requests, and an endpoint that fails is left out
//! until it works again.

use std::time::Duration;

use http::Request;
use tokio::time::Instant;

use crate::HOST;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint, refusing};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::eventually;
use crate::kit::h2::H2;
use crate::kit::load::Load;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder};

/// One worker, so that all requests share its connections.
const ONE_WORKER: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 1
drain: {delay: 300ms, deadline: 10s}
";

fn answer(status: u16) -> Answer {
    Answer::Raw(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n").into_bytes())
}

/// One version at these endpoints, with these fields more.
fn version(endpoints: &[&Endpoint], fields: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|endpoint| format!("'{}'", endpoint.address)).collect();
    format!(
        "functions:\n  shop:\n    versions:\n      1: {{endpoints: [{}]{fields}}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: shop:prod\n",
        endpoints.join(", ")
    )
}

/// 24 clients before so many endpoints, of which all but one take 30 ms and that one answers with `status` at once. What
/// part of the requests it got, and what the log says.
async fn share_of_the_failing_one(count: usize, status: u16) -> (f64, String) {
    const REQUESTS: usize = 1_200;
    let mut endpoints = Vec::new();
    for _ in 0..count {
        let endpoint = Endpoint::start("v1").await;
        endpoint.on("/", Answer::Later(Duration::from_millis(30), Box::new(Answer::Name)));
        endpoints.push(endpoint);
    }
    endpoints[0].on("/", answer(status));
    let weir = Weir::start(&version(&endpoints.iter().collect::<Vec<_>>(), "")).await;
    let load = Load::start(weir.http, HOST, 24, REQUESTS);
    eventually("the load is over", async || (load.done() >= REQUESTS).then_some(())).await;
    load.stop().await;
    let all: usize = endpoints.iter().map(|endpoint| endpoint.seen().len()).sum();
    (endpoints[0].seen().len() as f64 / all as f64, weir.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_throws_at_once_gets_no_more_than_its_share() {
    for count in [2, 5] {
        let (share, log) = share_of_the_failing_one(count, 500).await;
        let fair = 1.0 / count as f64;
        assert!(share <= fair * 1.05, "{share} of the requests, its share is {fair}");
        assert!(share >= fair / 10.0, "{share} of the requests: it is not ejected");
        assert!(!log.contains("ejected"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_overloaded_is_ejected() {
    for count in [2, 5] {
        let (share, log) = share_of_the_failing_one(count, 503).await;
        assert!(share <= 0.1, "{share} of the requests");
        assert!(log.contains("failures in a row, the last one an answer 503"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_breaks_off_its_answers_is_ejected() {
    let (good, bad) = (Endpoint::start("v1").await, Endpoint::start("v1").await);
    bad.on("/", Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()));
    let weir = Weir::start(&version(&[&good, &bad], "")).await;
    let ask = async || {
        let mut client = Client::connect(weir.http).await;
        client.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
        // A cut answer is an error of the connection.
        let _ = client.try_response("GET").await;
        weir.log().contains("failures in a row").then_some(())
    };
    eventually("it is ejected", ask).await;
    assert!(bad.seen().len() <= 8, "{} answers were cut", bad.seen().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_alone_show_that_a_version_is_unhealthy() {
    let (one, dead) = (Endpoint::start("v1").await, refusing().await);
    let weir = Weir::start(&format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{}', 2: 'http://{dead}'}}\n    \
         aliases: {{prod: {{1: 50, 2: 50}}}}\ndomains:\n  {HOST}: shop:prod\n  two.example.com: 'shop:2'\n",
        one.address
    ))
    .await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(get(weir.http, HOST, "/").await.status != 200);
    }
    // Five in a row eject its endpoint; then the spare answers.
    assert!(failed <= 5, "{failed} of 40");
    weir.logged("ejected").await;
    assert_eq!(get(weir.http, HOST, "/").await.version(), "1");
    // No other version may answer for one that was named: it is tried.
    assert_eq!(get(weir.http, "two.example.com", "/").await.status, 502);

    let _revived = Endpoint::start_at("v2", dead).await;
    let back = async || (get(weir.http, HOST, "/").await.version() == "2").then_some(());
    eventually("version 2 answers again", back).await;
    let answers = [get(weir.http, HOST, "/").await, get(weir.http, HOST, "/").await];
    assert!(answers.iter().all(|answer| answer.status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_sees_the_probe_of_an_ejected_endpoint_fail() {
    let (good, bad) = (Endpoint::start("v1").await, Endpoint::start("v1").await);
    bad.on("/", Answer::Reset);
    let (folder, certificate) = (folder(), Certificate::new("two.example.com"));
    certificate.write(folder.path(), "two");
    let live = format!(
        "{}  two.example.com: {{certificate: {{cert: two.crt, key: two.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n",
        version(&[&good, &bad], ", retries: {attempts: 1, budget: 100}")
    );
    let weir = Weir::start_in(folder, PROCESS_TLS, &live).await;
    let https = weir.https.expect("a TLS listener");
    let h2 = H2::connect(https, "two.example.com", certificate.client(&["h2"])).await;
    let mut client = Client::connect(weir.http).await;
    let get_once = async |client: &mut Client| assert_eq!(client.get(HOST, "/").await.status, 200);
    while !weir.log().contains("ejected for 1s") {
        get_once(&mut client).await;
    }
    let before = bad.seen().len();
    // Over the ends of the first two ejections.
    let end = Instant::now() + Duration::from_secs(20);
    while !weir.log().contains("ejected for 4s") {
        assert!(Instant::now() < end, "it is probed");
        for _ in 0..5 {
            client.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\n\r\nab")).await;
            assert_eq!(client.response("POST").await.status, 200);
            // May be repeated, but the length of its body is not known.
            let upload = Request::put("https://two.example.com/").body(()).expect("a request");
            assert_eq!(h2.request(upload, &[b"ab"]).await.status, 200);
        }
        get_once(&mut client).await;
    }
    let probes: Vec<_> = bad.seen().split_off(before);
    assert!(probes.iter().all(|seen| seen.head.start.starts_with("GET")), "{probes:?}");
    assert!(!probes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_hold_up_no_others_over_http2() {
    let endpoint = H2Endpoint::start(None).await;
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: {{endpoints: ['{}'], protocol: h2c}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: shop:prod\n",
        endpoint.address
    );
    let weir = Weir::start_in(folder(), ONE_WORKER, &live).await;
    let mut unread = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(weir.http).await;
        client.send(format!("GET /large HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.head().await.0, 200);
        unread.push(client);
    }
    eventually("all that may be on the way to them is", async || endpoint.stands_still().await.then_some(())).await;
    for _ in 0..20 {
        assert_eq!(get(weir.http, HOST, "/small").await.text(), "h2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_refused_is_in_the_log() {
    let (folder, certificate) = (folder(), Certificate::new("other.test"));
    certificate.write(folder.path(), "other");
    let endpoint = Endpoint::start_tls("v1", certificate.server()).await;
    let live = format!(
        "functions:\n  shop:\n    versions:\n      \
         1: {{endpoints: ['{}'], tls: {{ca: other.crt, sni: shop.test}}}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: shop:prod\n",
        endpoint.address
    );
    let weir = Weir::start_in(folder, ONE_WORKER, &live).await;
    for _ in 0..20 {
        assert_eq!(get(weir.http, HOST, "/").await.status, 502);
    }
    let line = weir.logged("fails: ").await;
    assert!(line.contains("shop.test") && line.contains("certificate"), "{line}");
    let said = weir.log().lines().filter(|line| line.contains("fails: ")).count();
    assert!(said <= 3, "{said} lines, at most one in ten seconds");
}
