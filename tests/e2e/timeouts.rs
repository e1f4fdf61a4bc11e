//! Slow endpoints: `timeouts.response` bounds the wait for the head, `timeouts.idle` the pauses behind it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::time::{Instant, sleep};

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::h2::H2;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder};
use crate::kit::{eventually, within};
use crate::streams::{events, handshake};

/// Longer than the shorter limit of a test, shorter than the longer one.
const BETWEEN: Duration = Duration::from_millis(1_200);

struct Slow {
    weir: Weir,
    certificate: Certificate,
}

impl Slow {
    async fn start(endpoint: SocketAddr, protocol: &str, timeouts: &str) -> Self {
        let (folder, certificate) = (folder(), Certificate::new(HOST));
        certificate.write(folder.path(), "shop");
        let live = format!(
            "functions:\n  shop:\n    versions:\n      1: {{endpoints: ['{endpoint}'], protocol: {protocol}, timeouts: {{{timeouts}}}}}\n    \
             aliases: {{prod: 1}}\n\
             domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n"
        );
        Self { weir: Weir::start_in(folder, PROCESS_TLS, &live).await, certificate }
    }

    async fn client(&self) -> Client {
        Client::connect(self.weir.http).await
    }

    async fn h2(&self) -> H2 {
        let https = self.weir.https.expect("these files have a TLS listener");
        H2::connect(https, HOST, self.certificate.client(&["h2"])).await
    }
}

fn request(path: &str) -> Request<()> {
    Request::builder().uri(format!("https://{HOST}{path}")).body(()).expect("a request")
}

/// Asserts that the limit of 500 ms was kept, and not the one of 5 s.
fn in_time(asked: Instant) {
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_head_is_a_504_in_time() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/hang", Answer::Hang);
    let slow = Slow::start(endpoint.address, "http/1.1", "response: 500ms, idle: 5s").await;
    let mut client = slow.client().await;
    // The second request finds the connection's timer as the first one left it.
    assert_eq!(client.get(HOST, "/").await.status, 200);
    for ask in [
        format!("GET /hang HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
        format!("POST /hang HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\n\r\nab"),
        handshake("/hang"),
    ] {
        let asked = Instant::now();
        client.send(&ask).await;
        assert_eq!(client.response("GET").await.status, 504, "{ask}");
        in_time(asked);
        client = slow.client().await;
    }
    let asked = Instant::now();
    assert_eq!(slow.h2().await.request(request("/hang"), &[]).await.status.as_u16(), 504);
    in_time(asked);
    slow.weir.access_line("\"end\":\"UT\"").await;
    assert_eq!(client.get(HOST, "/").await.status, 200);
}

/// While the request is under way nobody waits for its answer yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_no_late_head() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/echo", Answer::Echo);
    let slow = Slow::start(endpoint.address, "http/1.1", "response: 500ms, idle: 5s").await;
    let mut client = slow.client().await;
    client.send(format!("POST /echo HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 4\r\n\r\nab")).await;
    sleep(BETWEEN).await;
    client.send("cd").await;
    assert_eq!(client.response("POST").await.text(), "abcd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_pause_for_longer_than_a_head_may_take() {
    let endpoint = Endpoint::start("v1").await;
    let slow = Slow::start(endpoint.address, "http/1.1", "response: 500ms, idle: 5s").await;
    for mut client in [slow.client().await, slow.client().await] {
        let (answer, permits) = events(1);
        endpoint.on("/events", answer);
        client.send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
        permits.add_permits(1);
        assert_eq!(client.head().await.0, 200);
        sleep(BETWEEN).await;
        permits.add_permits(2);
        client.take_through("0\r\n\r\n").await;
        assert_eq!(client.get(HOST, "/").await.text(), "v1", "the connection is as good as before");
    }
    let (answer, permits) = events(1);
    endpoint.on("/events", answer);
    permits.add_permits(1);
    let h2 = slow.h2().await;
    let (answer, ()) = tokio::join!(h2.request(request("/events"), &[]), async {
        sleep(BETWEEN).await;
        permits.add_permits(2);
    });
    assert_eq!(answer.body, b"data: 0\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_pauses_for_too_long_is_cut() {
    let endpoint = Endpoint::start("v1").await;
    let (answer, permits) = events(1);
    endpoint.on("/events", answer);
    let slow = Slow::start(endpoint.address, "http/1.1", "response: 300ms, idle: 500ms").await;
    let mut client = slow.client().await;
    client.send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    // The gateway's clock begins before the head is here.
    let paused = Instant::now();
    permits.add_permits(1);
    assert_eq!(client.head().await.0, 200);
    assert_eq!(client.rest().await, b"", "no end of the body is made up");
    in_time(paused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_may_take_longer_than_a_body_may_pause() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/later", Answer::Later(BETWEEN, Box::new(Answer::Name)));
    let slow = Slow::start(endpoint.address, "http/1.1", "response: 5s, idle: 500ms").await;
    assert_eq!(slow.client().await.get(HOST, "/later").await.text(), "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_may_pause_until_the_idle_limit() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/socket", Answer::WebSocket);
    let slow = Slow::start(endpoint.address, "http/1.1", "response: 300ms, idle: 2s").await;
    let mut client = slow.client().await;
    client.send(handshake("/socket")).await;
    assert_eq!(client.head().await.0, 101);
    sleep(BETWEEN).await;
    client.send("ping").await;
    assert_eq!(client.take(4).await, b"ping");
    let paused = Instant::now();
    assert_eq!(client.rest().await, b"");
    assert!(paused.elapsed() > BETWEEN, "{:?}", paused.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_endpoint_has_the_same_limits() {
    let endpoint = H2Endpoint::start(None).await;
    let slow = Slow::start(endpoint.address, "h2c", "response: 500ms, idle: 5s").await;
    let asks = ["GET /paced HTTP/1.1\r\n\r\n", "POST /paced HTTP/1.1\r\ncontent-length: 2\r\n\r\nab"];
    for (number, ask) in asks.into_iter().enumerate() {
        let ask = ask.replacen("\r\n", &format!("\r\nhost: {HOST}\r\n"), 1);
        let mut client = slow.client().await;
        let asked = Instant::now();
        client.send(&ask).await;
        assert_eq!(client.response("GET").await.status, 504, "{ask}");
        in_time(asked);
        eventually("the endpoint is told", async || (endpoint.reset() == number + 1).then_some(())).await;

        let mut client = slow.client().await;
        client.send(&ask).await;
        endpoint.pace.add_permits(1);
        assert_eq!(client.head().await.0, 200);
        sleep(BETWEEN).await;
        endpoint.pace.add_permits(1);
        client.take_through("0\r\n\r\n").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_on_both_sides_has_the_same_limits() {
    let endpoint = H2Endpoint::start(None).await;
    let slow = Slow::start(endpoint.address, "h2c", "response: 500ms, idle: 5s").await;
    let h2 = slow.h2().await;
    let asked = Instant::now();
    assert_eq!(h2.request(request("/paced"), &[]).await.status.as_u16(), 504);
    in_time(asked);
    eventually("the endpoint is told", async || (endpoint.reset() == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_end_a_request_as_a_body_does() {
    let endpoint = H2Endpoint::start(None).await;
    let slow = Slow::start(endpoint.address, "h2c", "response: 500ms, idle: 5s").await;
    let h2 = slow.h2().await;
    let send = async || {
        let (response, mut body) = h2.open(request("/paced")).await;
        body.send_data(Bytes::from_static(b"ab"), false).expect("the stream takes a body");
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-end"), HeaderValue::from_static("1"))]);
        body.send_trailers(trailers).expect("the stream takes trailers");
        (response, body)
    };
    let asked = Instant::now();
    let (response, _body) = send().await;
    assert_eq!(within("an answer", response).await.expect("an answer").status().as_u16(), 504);
    in_time(asked);
    eventually("the endpoint is told", async || (endpoint.reset() == 1).then_some(())).await;
    let (response, mut body) = send().await;
    eventually("the endpoint has it", async || (endpoint.seen().len() == 2).then_some(())).await;
    body.send_reset(h2::Reason::CANCEL);
    drop(response);
    eventually("the endpoint is told that the client left", async || (endpoint.reset() == 2).then_some(())).await;
    let line = eventually("two lines", async || slow.weir.access_log().get(1).cloned()).await;
    assert_eq!(line["end"], "DC", "{line}");
}

/// Behind a head only `timeouts.idle` counts, also where heads may take longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_for_heads_is_none_for_bodies() {
    let endpoint = Endpoint::start("v1").await;
    let slow = Slow::start(endpoint.address, "http/1.1", "response: 15s, idle: 500ms").await;
    let (answer, permits) = events(1);
    endpoint.on("/events", answer);
    let mut client = slow.client().await;
    client.send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    // The gateway's clock begins before the head is here.
    let paused = Instant::now();
    permits.add_permits(1);
    assert_eq!(client.head().await.0, 200);
    assert_eq!(client.rest().await, b"");
    in_time(paused);

    let endpoint = H2Endpoint::start(None).await;
    let slow = Slow::start(endpoint.address, "h2c", "response: 15s, idle: 500ms").await;
    endpoint.pace.add_permits(1);
    let paused = Instant::now();
    assert!(slow.h2().await.try_request(request("/paced"), &[]).await.is_err(), "no end of the body is made up");
    in_time(paused);
}
