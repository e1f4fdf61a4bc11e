//! Where messages end: what comes in one piece goes out in one piece, and what can be read in two ways is refused.

use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::kit::client::Client;
use crate::kit::endpoint::Answer;
use crate::kit::weir::Weir;
use crate::kit::{eventually, within};
use crate::{HOST, one};

const LARGE: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_leave_the_connection_in_step() {
    let (weir, endpoint) = one().await;
    endpoint.on("/204", Answer::Raw(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n".to_vec()));
    endpoint.on("/304", Answer::Raw(b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 5\r\n\r\n".to_vec()));
    endpoint.on("/head", Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec()));
    let mut client = Client::connect(weir.http).await;
    for (method, path, status) in [("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/head", 200)] {
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
        let response = client.response(method).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.head.field("transfer-encoding"), None, "{path}");
        let length = response.head.field("content-length");
        match path {
            "/204" => assert_eq!(length, None, "a 204 has none (RFC 9110, section 8.6)"),
            "/head" => assert_eq!(length, Some("5")),
            _ => {}
        }
        assert_eq!(client.get(HOST, "/").await.text(), "v1", "after {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_framing_of_an_answer_arrives_whole() {
    let (weir, endpoint) = one().await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\n\r\n";
    endpoint.on("/chunked", Answer::Raw(chunked.into()));
    endpoint.on("/close", Answer::RawThenClose(b"HTTP/1.1 200 OK\r\n\r\nabcdef".to_vec()));
    endpoint.on("/length", Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabcdef".to_vec()));
    endpoint.on("/empty", Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()));
    let mut client = Client::connect(weir.http).await;
    for (path, body) in [("/chunked", "abcdef"), ("/close", "abcdef"), ("/length", "abcdef"), ("/empty", "")] {
        let response = client.get(HOST, path).await;
        assert_eq!((response.status, response.text().as_str()), (200, body), "{path}");
        if response.head.field("connection") == Some("close") {
            client = Client::connect(weir.http).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_not_passed_off_as_whole() {
    let (weir, endpoint) = one().await;
    endpoint.on("/cut", Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec()));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    endpoint.on("/cut-chunks", Answer::RawThenClose(chunked.into()));
    for path in ["/cut", "/cut-chunks"] {
        let mut client = Client::connect(weir.http).await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
        match within("an end", client.try_response("GET")).await {
            Ok(response) => assert_eq!(response.status, 502, "{path}"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{path}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reach_the_endpoint_with_one_framing() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("POST /length HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 6\r\n\r\nabc")).await;
    client.send("def").await;
    assert_eq!(client.response("POST").await.status, 200);
    let seen = endpoint.saw("/length").await;
    assert_eq!((seen.head.field("content-length"), seen.body.raw.as_slice()), (Some("6"), &b"abcdef"[..]));
    assert_eq!(seen.head.field("transfer-encoding"), None);

    let chunks = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    client.send(format!("POST /chunked HTTP/1.1\r\nhost: {HOST}\r\n{chunks}")).await;
    assert_eq!(client.response("POST").await.status, 200);
    let seen = endpoint.saw("/chunked").await;
    let framing = (seen.head.field("content-length"), seen.head.field("transfer-encoding"));
    assert!(matches!(framing, (Some("6"), None) | (None, Some("chunked"))), "{framing:?}");
    assert_eq!(seen.body.bytes, b"abcdef");

    // Several more on the same connections: a stray byte would show as a request that is none.
    for _ in 0..5 {
        assert_eq!(client.get(HOST, "/").await.status, 200);
    }
    assert_eq!(endpoint.strays(), Vec::<Vec<u8>>::new());
}

/// Requests that can be read in two ways, or not at all.
const REFUSED: &[(&str, &str)] = &[
    ("bare LF", "GET / HTTP/1.1\nhost: shop.example.com\n\n"),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nhost: shop.example.com\r\nhost: other.example.com\r\n\r\n"),
    ("folded field", "GET / HTTP/1.1\r\nhost: shop.example.com\r\nx-a: b\r\n c\r\n\r\n"),
    ("space before the colon", "GET / HTTP/1.1\r\nhost: shop.example.com\r\nx-a : b\r\n\r\n"),
    ("NUL in a value", "GET / HTTP/1.1\r\nhost: shop.example.com\r\nx-a: b\0c\r\n\r\n"),
    ("bare CR in a value", "GET / HTTP/1.1\r\nhost: shop.example.com\r\nx-a: b\rc\r\n\r\n"),
    ("empty field name", "GET / HTTP/1.1\r\nhost: shop.example.com\r\n: b\r\n\r\n"),
    ("two lengths", "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    ("signed length", "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: +1\r\n\r\na"),
    ("unknown coding", "POST / HTTP/1.1\r\nhost: shop.example.com\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nhost: shop.example.com\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("host and target differ", "GET http://other.example.com/ HTTP/1.1\r\nhost: shop.example.com\r\n\r\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_refused() {
    let (weir, endpoint) = one().await;
    for (what, request) in REFUSED {
        let mut client = Client::connect(weir.http).await;
        client.send(request).await;
        let response = client.response("GET").await;
        assert!(matches!(response.status, 400 | 501), "{what}: {}", response.status);
        assert_eq!(client.rest().await, b"", "{what}: the connection must end");
        assert_eq!(endpoint.seen().len(), 0, "{what} went through");
    }
    assert_eq!(Client::connect(weir.http).await.get(HOST, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn length_and_chunks_together_never_go_through_together() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    client
        .send(format!("POST /both HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"))
        .await;
    client.send("0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.example.com\r\n\r\n").await;
    let response = client.response("POST").await;
    client.rest().await;
    if response.status == 200 {
        let seen = endpoint.saw("/both").await;
        assert_eq!(seen.head.field("content-length"), None);
    } else {
        assert_eq!(response.status, 400);
    }
    assert!(endpoint.seen().iter().all(|seen| seen.target() != "/smuggled"));
    assert_eq!(endpoint.strays(), Vec::<Vec<u8>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_by_name() {
    let (weir, endpoint) = one().await;
    let many = "x: y\r\n".repeat(200);
    for (status, request) in [
        (414, format!("GET /{} HTTP/1.1\r\nhost: {HOST}\r\n\r\n", "a".repeat(9 << 10))),
        (431, format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx: {}\r\n\r\n", "a".repeat(40 << 10))),
        (431, format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{many}\r\n")),
        (413, format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n", 2u64 << 30)),
    ] {
        let mut client = Client::connect(weir.http).await;
        // The gateway may answer and close before it has all.
        let _ = client.try_send(request.as_bytes()).await;
        assert_eq!(client.response("GET").await.status, status);
    }
    assert_eq!(endpoint.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_waits_for_continue() {
    let (weir, endpoint) = one().await;
    endpoint.on("/continue", Answer::Continue);
    let mut client = Client::connect(weir.http).await;
    let head = format!("POST /continue HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 6\r\n\r\n");
    client.send(head).await;
    assert_eq!(client.take_through("\r\n\r\n").await.lines().next(), Some("HTTP/1.1 100 Continue"));
    assert_eq!(endpoint.seen().len(), 0, "the body cannot be there yet");
    client.send("abcdef").await;
    let response = client.response("POST").await;
    assert_eq!((response.status, response.text().as_str()), (200, "6"));
    assert_eq!(endpoint.saw("/continue").await.head.field("expect"), Some("100-continue"));
    // pingora 0.9.1 ends the connection after an interim answer; what counts is that it says so.
    if response.head.field("connection") == Some("close") {
        assert_eq!(client.rest().await, b"");
    } else {
        assert_eq!(client.get(HOST, "/").await.text(), "v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways() {
    let (weir, endpoint) = one().await;
    endpoint.on("/echo", Answer::Echo);
    let body: Vec<u8> = (0..LARGE).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut client = Client::connect(weir.http).await;
    client.send(format!("POST /echo HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {LARGE}\r\n\r\n")).await;
    client.send(&body).await;
    let response = client.response("POST").await;
    assert_eq!(response.status, 200);
    assert!(response.body.bytes == body, "the echo differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn request_bodies_are_streamed() {
    let (weir, listener) = played().await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 10\r\n\r\nfirst")).await;
    let (mut endpoint, _) = within("the gateway connects", listener.accept()).await.expect("loopback accepts");
    let mut got = Vec::new();
    within("the first half arrives alone", async {
        while !got.ends_with(b"first") {
            assert!(endpoint.read_buf(&mut got).await.unwrap() > 0);
        }
    })
    .await;
    client.send("later").await;
    within("the second half", async {
        while !got.ends_with(b"firstlater") {
            assert!(endpoint.read_buf(&mut got).await.expect("the gateway sends") > 0);
        }
    })
    .await;
    endpoint.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(client.response("POST").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_endpoints_are_reused() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    for _ in 0..20 {
        assert_eq!(client.get(HOST, "/").await.status, 200);
    }
    assert_eq!(endpoint.connections(), 1);
}

/// Bodies whose chunks can be read in two ways, or not at all.
const MALFORMED_CHUNKS: &[(&str, &str)] = &[
    ("an empty size line", "\r\n"),
    ("an empty size line as the last chunk", "3\r\nabc\r\n\r\n"),
    ("an extension without a size", ";a\r\n\r\n"),
    ("blanks after the size", "3 \r\nabc\r\n0\r\n\r\n"),
    ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
    ("a size line that ends in LF", "3\nabc\r\n0\r\n\r\n"),
    ("an extension that ends in LF", "3;a\nabc\r\n0\r\n\r\n"),
    ("data longer than its size", "3\r\nabcd\r\n0\r\n\r\n"),
    ("data that ends in LF", "3\r\nabc\n0\r\n\r\n"),
    ("a last chunk that ends in LF", "3\r\nabc\r\n0\r\n\n"),
    ("a trailer without a name", "0\r\n: b\r\n\r\n"),
    ("a folded trailer", "0\r\na: b\r\n c\r\n\r\n"),
    ("a size of 17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("a size over 63 bits", "8000000000000000\r\nabc\r\n"),
];

/// A request that only a desync would show.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn malformed_chunks_are_refused_and_charged_to_nobody() {
    let (weir, endpoint) = one().await;
    for (number, (what, body)) in MALFORMED_CHUNKS.iter().enumerate() {
        for cut in [false, true] {
            let head = format!("POST /{number} HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n");
            let mut client = Client::connect(weir.http).await;
            if cut {
                client.send(&head).await;
                tokio::task::yield_now().await;
                client.send(format!("{body}{SMUGGLED}")).await;
            } else {
                client.send(format!("{head}{body}{SMUGGLED}")).await;
            }
            assert_eq!(client.response("POST").await.status, 400, "{what}");
            assert_eq!(client.rest().await, b"", "{what}: the connection must end");
        }
        let line = weir.access_line(&format!("\"path\":\"/{number}\"")).await;
        assert!(line.contains("\"DPE\""), "{what}: {line}");
    }
    assert_eq!(endpoint.seen().len(), 0, "no request was whole");
    assert!(!weir.log().contains("ejected"), "{}", weir.log());
    assert_eq!(endpoint.strays(), Vec::<Vec<u8>>::new());
    assert_eq!(Client::connect(weir.http).await.get(HOST, "/").await.text(), "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_end_where_they_end_and_the_next_request_is_answered() {
    let (weir, endpoint) = one().await;
    endpoint.on("/echo", Answer::Echo);
    let body = "3;a=\"b c\"\r\nabc\r\n000\r\nx-sum: 1\r\n\r\n";
    let post = format!("POST /echo HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    let mut client = Client::connect(weir.http).await;
    client.send(format!("{post}{post}GET /next HTTP/1.1\r\nhost: {HOST}\r\n\r\n{post}")).await;
    for expected in ["abc", "abc", "v1", "abc"] {
        let response = client.response("POST").await;
        assert_eq!((response.status, response.text().as_str()), (200, expected));
    }
    assert_eq!(client.get(HOST, "/").await.text(), "v1");
    assert_eq!(endpoint.strays(), Vec::<Vec<u8>>::new());
}

/// A client that sends these bytes and then ends its side.
async fn half_closed(weir: &Weir, request: &str) -> Client {
    let mut client = Client::connect(weir.http).await;
    client.send(request).await;
    client.wire.stream.shutdown().await.expect("the connection is open");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_end_their_side_after_a_request_get_their_answer() {
    let (weir, endpoint) = one().await;
    let later = |answer| Answer::Later(std::time::Duration::from_millis(20), Box::new(answer));
    endpoint.on("/get", later(Answer::Name));
    endpoint.on("/post", later(Answer::Echo));
    let chunks = "transfer-encoding: chunked\r\n\r\n2\r\nv1\r\n0\r\n\r\n";
    let requests = [
        format!("GET /get HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
        format!("GET /get HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
        format!("POST /post HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\n\r\nv1"),
        format!("POST /post HTTP/1.1\r\nhost: {HOST}\r\n{chunks}"),
    ];
    for round in 0..20 {
        for request in &requests {
            let mut client = half_closed(&weir, request).await;
            let response = client.response("GET").await;
            assert_eq!((response.status, response.text().as_str()), (200, "v1"), "round {round}: {request}");
            assert_eq!(response.head.field("connection"), Some("close"), "nothing can follow");
            assert_eq!(client.rest().await, b"");
        }
    }
    // As many as were sent are answered.
    let mut client = half_closed(&weir, &requests.concat()).await;
    for _ in &requests {
        assert_eq!(client.response("GET").await.text(), "v1");
    }
}

/// An endpoint that a test plays itself: its listener, and a gateway before it.
pub(crate) async fn played() -> (Weir, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
    let live = format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{}'}}\n    aliases: {{prod: 1}}\ndomains:\n  {HOST}: shop:prod\n",
        listener.local_addr().expect("a bound socket has an address")
    );
    (Weir::start(&live).await, listener)
}

/// The next request of the gateway, read to the end of its head.
pub(crate) async fn taken(listener: &TcpListener) -> TcpStream {
    let (mut endpoint, _) = within("the gateway connects", listener.accept()).await.expect("loopback accepts");
    let mut got = Vec::new();
    within("a head", async {
        while !got.ends_with(b"\r\n\r\n") {
            assert!(endpoint.read_buf(&mut got).await.expect("the gateway sends") > 0);
        }
    })
    .await;
    endpoint
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_client_that_resets_is_noticed_while_it_waits() {
    let (weir, listener) = played().await;
    let client = std::net::TcpStream::connect(weir.http).unwrap();
    (&client).write_all(format!("GET /gone HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut endpoint = taken(&listener).await;
    socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let end = within("the endpoint is told", endpoint.read(&mut [0; 10])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert!(weir.access_line("\"/gone\"").await.contains("\"DC\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_goes_on_for_a_half_closed_client_and_ends_when_it_is_gone() {
    let (weir, listener) = played().await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n";
    let request = format!("GET /long HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let mut client = half_closed(&weir, &request).await;
    let mut endpoint = taken(&listener).await;
    endpoint.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(client.head().await.0, 200);
    client.take_through("1\r\na\r\n").await;
    endpoint.write_all(b"1\r\nb\r\n").await.unwrap();
    client.take_through("1\r\nb\r\n").await;
    drop(client);
    let told = async || endpoint.write_all(b"1\r\nc\r\n").await.is_err().then_some(());
    eventually("the endpoint is told by writes that fail", told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_ends_with_its_client_though_nothing_is_sent() {
    let (weir, listener) = played().await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    let mut endpoint = taken(&listener).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    endpoint.write_all(format!("{head}9\r\ndata: 0\n\n\r\n").as_bytes()).await.unwrap();
    client.take_through("data: 0").await;
    drop(client);
    let end = within("the endpoint is told", endpoint.read(&mut [0; 10])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

pub(crate) const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_reach_clients_that_know_them() {
    let (weir, endpoint) = one().await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    endpoint.on("/hints", Answer::Raw(format!("{HINTS}{HINTS}{answer}").into()));
    let mut client = Client::connect(weir.http).await;
    client.send(format!("GET /hints HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    for _ in 0..2 {
        let hints = client.take_through("\r\n\r\n").await.to_lowercase();
        assert!(hints.starts_with("http/1.1 103 ") && hints.contains("\r\nlink: </a.css>; rel=preload\r\n"), "{hints}");
    }
    assert_eq!(client.response("GET").await.text(), "ok");
    assert_eq!(client.get(HOST, "/").await.text(), "v1");
    // A client of HTTP/1.0 would take the first head for the answer.
    let old = old_answer(&weir, "GET /hints HTTP/1.0\r\nhost: shop.example.com\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.1 200 ") && old.ends_with("\r\n\r\nok"), "{old}");
}

/// The bytes that a client reads until the end of the connection.
async fn old_answer(weir: &Weir, request: &str) -> String {
    let mut client = Client::connect(weir.http).await;
    client.send(request).await;
    String::from_utf8(client.rest().await).expect("the answer is text")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_http_1_0_get_bodies_without_chunks() {
    let (weir, endpoint) = one().await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    endpoint.on("/chunked", Answer::Raw(chunked.into()));
    endpoint.on("/close", Answer::RawThenClose(b"HTTP/1.1 200 OK\r\n\r\nabcdef".to_vec()));
    endpoint.on("/continue", Answer::Continue);
    for path in ["/chunked", "/close"] {
        for keep in ["", "connection: keep-alive\r\n"] {
            let old = old_answer(&weir, &format!("GET {path} HTTP/1.0\r\nhost: {HOST}\r\n{keep}\r\n")).await;
            let (head, body) = old.split_once("\r\n\r\n").unwrap();
            let head = head.to_lowercase();
            assert_eq!(body, "abcdef", "{path}: {head}");
            assert!(head.starts_with("http/1.1 200 ") && head.contains("\r\nconnection: close"), "{path}: {head}");
            assert!(!head.contains("transfer-encoding"), "{path}: {head}");
        }
    }
    let expect =
        format!("POST /continue HTTP/1.0\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab");
    let old = old_answer(&weir, &expect).await;
    assert!(old.starts_with("HTTP/1.1 200 ") && old.ends_with("\r\n\r\n2"), "{old}");
    // With a length a connection can be kept.
    let mut client = Client::connect(weir.http).await;
    for _ in 0..2 {
        client.send(format!("GET / HTTP/1.0\r\nhost: {HOST}\r\nconnection: keep-alive\r\n\r\n")).await;
        let response = client.response("GET").await;
        assert_eq!((response.text().as_str(), response.head.field("connection")), ("v1", Some("keep-alive")));
    }
    client.send(format!("HEAD /chunked HTTP/1.0\r\nhost: {HOST}\r\n\r\n")).await;
    assert_eq!(client.response("HEAD").await.head.field("transfer-encoding"), None);
}
