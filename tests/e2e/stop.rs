//! Graceful stop.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::weir::{Weir, folder};
use crate::streams::events;
use crate::{HOST, one, shop};

/// A delay that leaves time to look at what happens in it.
const LONG_DELAY: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 3s, deadline: 20s}
";

#[tokio::test(flavor = "multi_thread")]
async fn term_turns_unready_serves_on_and_waits_for_the_last_request() {
    let endpoint = Endpoint::start("v1").await;
    let (answer, permits) = events(1);
    endpoint.on("/slow", answer);
    let mut weir = Weir::start_in(folder(), LONG_DELAY, &shop(&[&endpoint], "1")).await;
    let mut slow = Client::connect(weir.http).await;
    slow.send(format!("GET /slow HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    permits.add_permits(1);
    assert_eq!(slow.head().await.0, 200);

    weir.signal("TERM");
    weir.ready(503).await;
    assert_eq!(Client::connect(weir.http).await.get(HOST, "/").await.status, 200, "the delay still serves");
    let (http, what) = (weir.http, "new connections are refused");
    eventually(what, async || TcpStream::connect(http).await.is_err().then_some(())).await;

    permits.add_permits(2);
    assert!(slow.take_through("0\r\n\r\n").await.contains("data: 0"), "the request in flight ends whole");
    assert_eq!(weir.exit().await.code(), Some(0), "{}", weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_gateway_stops_at_once() {
    let (mut weir, _endpoint) = one().await;
    let mut idle = Client::connect(weir.http).await;
    assert_eq!(idle.get(HOST, "/").await.status, 200);
    let start = Instant::now();
    weir.signal("TERM");
    assert_eq!(weir.exit().await.code(), Some(0));
    // The delay is 300 ms; an idle keep-alive connection must not hold the process until the deadline of 10 s.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(idle.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_what_does_not_end() {
    const SHORT: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 100ms, deadline: 500ms}
";
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/hang", Answer::Hang);
    let mut weir = Weir::start_in(folder(), SHORT, &shop(&[&endpoint], "1")).await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("GET /hang HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    endpoint.saw("/hang").await;
    let start = Instant::now();
    weir.signal("TERM");
    weir.exit().await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/hang", Answer::Hang);
    let mut weir = Weir::start_in(folder(), LONG_DELAY, &shop(&[&endpoint], "1")).await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("GET /hang HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    endpoint.saw("/hang").await;
    weir.signal("TERM");
    weir.ready(503).await;
    let start = Instant::now();
    weir.signal("TERM");
    weir.exit().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_a_clear_failure() {
    let (weir, endpoint) = one().await;
    let folder = folder();
    let process = format!("listeners: [{{address: '{}'}}]\nadmin: {{address: '127.0.0.1:0'}}\n", weir.http);
    std::fs::write(folder.path().join("weir.yaml"), format!("{process}{}", shop(&[&endpoint], "1"))).unwrap();
    let (code, _, stderr) = crate::kit::weir::run(folder.path(), &["serve"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&weir.http.to_string()), "{stderr}");
}
