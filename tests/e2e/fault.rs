//! Faults of clients, endpoints and the gateway, and who is told of them and charged with them.

use std::time::Duration;

use http::Request;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::h2::H2;
use crate::kit::within;
use crate::{HOST, behind_tls, one};

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_refused_is_answered_and_logged_as_any_refusal() {
    let (weir, endpoint) = one().await;
    for (request, status, end, shown) in [
        (format!("GET admin/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n"), 400, "DPE", r#""target":"admin/x""#),
        (format!("GET /a HTTP/1.1\r\nhost: {HOST}\r\nbad header\r\n\r\n"), 400, "DPE", r#""target":"/a""#),
        ("GET /without HTTP/1.1\r\n\r\n".into(), 400, "DPE", r#""target":"/without""#),
        (format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}\r\n\r\n"), 405, "NM", r#""method":"CONNECT""#),
        (format!("GET /{} HTTP/1.1\r\nhost: {HOST}\r\n\r\n", "a".repeat(9 << 10)), 414, "TL", r#""end":"TL""#),
        (format!("GET /b HTTP/1.1\r\nhost: {HOST}\r\n{}\r\n", "x: y\r\n".repeat(200)), 431, "HL", r#""end":"HL""#),
    ] {
        let mut client = Client::connect(weir.http).await;
        // The gateway may answer and close before it has all.
        let _ = client.try_send(request.as_bytes()).await;
        let answer = client.response("GET").await;
        assert_eq!(answer.status, status, "{shown}");
        let page: serde_json::Value = serde_json::from_slice(&answer.body.bytes).expect("a page in JSON");
        assert_eq!(page["end"], end, "{shown}");
        let details = format!("details=\"{end}\"");
        assert!(answer.head.field("proxy-status").is_some_and(|field| field.ends_with(&details)), "{shown}");
        let id = answer.head.field("x-request-id").expect("every answer has an id");
        let line = weir.access_line(id).await;
        assert!(line.contains(shown) && line.contains(&format!("\"end\":\"{end}\"")), "{line}");
    }
    assert_eq!(endpoint.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_client_may_get_is_a_502() {
    let (weir, endpoint) = one().await;
    for (path, head) in [
        ("/101", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
        ("/coded", "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\nabc"),
        ("/zipped", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"),
    ] {
        endpoint.on(path, Answer::Raw(head.into()));
        let answer = get(weir.http, HOST, path).await;
        assert_eq!(answer.status, 502, "{path}");
        assert!(answer.text().contains("\"end\":\"UPE\""), "{path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_an_endpoint_refused_unprocessed_is_sent_again() {
    let endpoint = H2Endpoint::start(None).await;
    let (weir, certificate) = behind_tls(&format!("{{endpoints: ['{}'], protocol: h2c}}", endpoint.address)).await;
    let h2 = H2::connect(weir.https.expect("a TLS listener"), HOST, certificate.client(&["h2"])).await;
    let request = Request::post(format!("https://{HOST}/refused-once")).body(()).expect("a request");
    let answer = h2.request(request, &[b"once"]).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, b"once".to_vec()));
    let line = weir.access_line("/refused-once").await;
    assert!(line.contains("\"attempts\":2"), "{line}");
    assert!(!weir.log().contains("ejected"), "{}", weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_answer_that_breaks_off_unsent_is_a_502() {
    let (weir, endpoint) = one().await;
    // Whether anything was sent is a matter of microseconds: each turn has a chance of some percent.
    for turn in 0..2_000 {
        let path = format!("/cut/{turn}");
        endpoint.on(&path, Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec()));
        let mut client = Client::connect(weir.http).await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
        let told = client.rest().await;
        // Bytes that were sent cannot be taken back; an empty end would tell the client nothing.
        let told = String::from_utf8(told).expect("text");
        assert!(told.starts_with("HTTP/1.1 502 ") || told.ends_with("\r\n\r\nabc"), "{told:?}");
        let status = &told[9..12];
        let line = weir.access_line(&format!("\"path\":\"{path}\"")).await;
        assert!(line.contains(&format!("\"status\":{status}")) && line.contains("\"end\":\"UC\""), "{line}");
        if status == "502" {
            return;
        }
    }
    panic!("the head was sent before the end came, each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_head_that_is_refused_is_answered_logged_and_counted_as_any_refusal() {
    let endpoint = Endpoint::start("v1").await;
    let (weir, certificate) = behind_tls(&format!("'http://{}'", endpoint.address)).await;
    let h2 = H2::connect(weir.https.expect("a TLS listener"), HOST, certificate.client(&["h2"])).await;
    let get = || Request::get(format!("https://{HOST}/"));
    for (request, status, end, reason) in [
        (get().header("host", "other.example.com"), 400, "DPE", "contradictory_host"),
        (get().header("host", HOST).header("host", HOST), 400, "DPE", "malformed_head"),
        (Request::connect(format!("{HOST}:443")), 405, "NM", "connect"),
        (Request::builder().method("TRACE").uri(format!("https://{HOST}/")), 405, "NM", "trace"),
    ] {
        let answer = h2.request(request.body(()).expect("a request"), &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{reason}");
        let page: serde_json::Value = serde_json::from_slice(&answer.body).expect("a page in JSON");
        assert_eq!(page["end"], end, "{reason}");
        let field = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(field("proxy-status").ends_with(&format!("details=\"{end}\"")), "{reason}");
        assert_eq!(field("allow").is_empty(), status != 405, "{reason}");
        let line = weir.access_line(field("x-request-id")).await;
        assert!(line.contains(&format!("\"end\":\"{end}\"")), "{line}");
        assert_eq!(weir.metric("weir_refused_total", &[("reason", reason)]).await, Some(1.0), "{reason}");
    }
    assert_eq!(endpoint.seen().len(), 0);
    for host in [HOST, "SHOP.example.com:443"] {
        let answer = h2.request(get().header("host", host).body(()).expect("a request"), &[]).await;
        assert_eq!(answer.status.as_u16(), 200, "{host}");
        assert_eq!(endpoint.saw("/").await.head.field("host"), Some(HOST));
    }
}

/// A listener that takes no connection, and whose queue is full: the system lets further ones wait.
async fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a loopback port is free");
    let listener = socket.listen(1).expect("a bound socket listens");
    let address = listener.local_addr().expect("a bound socket has an address");
    let mut queue = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queue.push(connected.expect("loopback connects"));
    }
    (listener, queue)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_a_client_resets_make_no_room_without_end() {
    let (listener, _queue) = deaf().await;
    let version = format!("{{endpoints: ['{}'], timeouts: {{connect: 15s}}}}", listener.local_addr().unwrap());
    let (weir, certificate) = behind_tls(&version).await;
    let https = weir.https.expect("a TLS listener");
    let h2 = H2::connect(https, HOST, certificate.client(&["h2"])).await;
    let trace = || Request::builder().method("TRACE").uri(format!("https://{HOST}/")).body(()).expect("a request");
    let mut ends = Vec::new();
    for _ in 0..3 {
        let mut open = Vec::new();
        for _ in 0..99 {
            open.push(h2.open(Request::post(format!("https://{HOST}/")).body(()).expect("a request")).await);
        }
        // The gateway has taken the others when it answers this one; then all of them are reset.
        ends.push(within("an answer or a reset", h2.try_request(trace(), &[])).await);
    }
    assert!(ends[..2].iter().all(|end| end.as_ref().is_ok_and(|answer| answer.status == 405)), "{ends:?}");
    assert_eq!(ends[2].as_ref().err().and_then(h2::Error::reason), Some(h2::Reason::REFUSED_STREAM), "{ends:?}");
    let other = H2::connect(https, HOST, certificate.client(&["h2"])).await;
    assert_eq!(other.request(trace(), &[]).await.status.as_u16(), 405, "other clients are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_an_endpoint_begins_when_it_has_the_whole_request() {
    const PAUSE: Duration = Duration::from_secs(1);
    let (weir, _endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("POST /slow HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 6\r\n\r\nabc")).await;
    // Time that the client takes.
    tokio::time::sleep(PAUSE).await;
    client.send("def").await;
    assert_eq!(client.response("POST").await.status, 200);
    let line: serde_json::Value = serde_json::from_str(&weir.access_line("/slow").await).expect("JSON");
    let millis = |line: &serde_json::Value, key: &str| line[key].as_f64().expect("a time");
    assert!(millis(&line, "upstream_ms") < 500.0 && millis(&line, "ttfb_ms") > 900.0, "{line}");

    client.send("GET /slow-head HTTP/1.1\r\n").await;
    tokio::time::sleep(PAUSE).await;
    client.send(format!("host: {HOST}\r\n\r\n")).await;
    assert_eq!(client.response("GET").await.status, 200);
    let line: serde_json::Value = serde_json::from_str(&weir.access_line("/slow-head").await).expect("JSON");
    assert!(millis(&line, "duration_ms") > 900.0 && millis(&line, "upstream_ms") < 500.0, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_answers_for_itself_which_methods_it_takes() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("OPTIONS * HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    let answer = client.response("OPTIONS").await;
    assert_eq!((answer.status, answer.head.field("allow").is_some()), (204, true));
    assert_eq!(endpoint.seen().len(), 0);
}
