//! The express lane: what it does otherwise than pingora, and what it hands over to it.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::framing::{HINTS, played, taken};
use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::weir::{Weir, folder};
use crate::kit::within;
use crate::{HOST, shop};

const PINGORA: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 1
lane: pingora
";
const RELAY: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 1
lane: relay
";

/// A gateway with this lane before one endpoint.
async fn one_by(process: &'static str) -> (Weir, Endpoint) {
    let endpoint = Endpoint::start("v1").await;
    (Weir::start_in(folder(), process, &shop(&[&endpoint], "1")).await, endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_go_on_as_announced_or_are_not_announced() {
    for (process, announced) in [(PINGORA, None), (RELAY, Some("x-sum"))] {
        let (weir, endpoint) = one_by(process).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: X-Sum, Host\r\n\r\n";
        let trailers = "x-sum: 1\r\nhost: other\r\nx-silent: 2\r\n";
        endpoint.on("/sum", Answer::Raw(format!("{head}3\r\nabc\r\n0\r\n{trailers}\r\n").into()));
        let mut client = Client::connect(weir.http).await;
        let head = "transfer-encoding: chunked\r\ntrailer: x-sum\r\n";
        client.send(format!("POST /sum HTTP/1.1\r\nhost: {HOST}\r\n{head}\r\n3\r\nabc\r\n0\r\n{trailers}\r\n")).await;
        let answer = client.response("POST").await;
        assert_eq!((answer.text().as_str(), answer.head.field("trailer")), ("abc", announced));
        let seen = endpoint.saw("/sum").await;
        assert_eq!((seen.body.bytes.as_slice(), seen.head.field("trailer")), (&b"abc"[..], announced));
        let end: &[u8] = if announced.is_some() { b"0\r\nx-sum: 1\r\n\r\n" } else { b"0\r\n\r\n" };
        for raw in [answer.body.raw, seen.body.raw] {
            assert!(raw.ends_with(end), "{}", String::from_utf8_lossy(&raw));
        }
        assert_eq!(client.get(HOST, "/").await.text(), "v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_byte_by_byte_arrive_unchanged() {
    let (weir, endpoint) = one_by(RELAY).await;
    let chunked =
        "HTTP/1.1 200 OK\r\nX-A: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nb;x=y\r\n0123456789a\r\n0\r\n\r\n";
    let sized = "HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 14\r\n\r\nabc0123456789a";
    let hinted = format!("{HINTS}{sized}");
    let mut client = Client::connect(weir.http).await;
    for (number, text) in [chunked, sized, &hinted].into_iter().enumerate() {
        let path = format!("/slow/{number}");
        let bytes = text.bytes().map(|byte| vec![byte]).collect::<Vec<_>>();
        let permits = Arc::new(Semaphore::new(bytes.len()));
        endpoint.on(&path, Answer::Parts(bytes, permits));
        let body = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
        for byte in format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\nx-b: c d\r\n{body}").bytes() {
            client.send([byte]).await;
        }
        let answer = client.response("POST").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "abc0123456789a"), "{text:?}");
        assert_eq!(answer.head.field("x-a"), Some("b"));
        let seen = endpoint.saw(&path).await;
        assert_eq!((seen.body.bytes.as_slice(), seen.head.field("x-b")), (&b"abcdefg"[..], Some("c d")));
    }
    assert_eq!(endpoint.connections(), 1, "each message ended where it ends");
    assert_eq!(endpoint.strays(), Vec::<Vec<u8>>::new());
}

/// Answers that no client may get.
const GARBAGE: &[(&str, &str)] = &[
    ("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n"),
    ("a bare LF", "HTTP/1.1 200 OK\ncontent-length: 1\n\na"),
    ("a bare LF behind a field", "HTTP/1.1 200 OK\r\nx: y\ncontent-length: 1\r\n\r\na"),
    ("another version", "HTTP/1.2 200 OK\r\ncontent-length: 1\r\n\r\na"),
    ("a folded field", "HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 1\r\n\r\na"),
    ("a space before the colon", "HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\na"),
    ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na"),
    ("a signed length", "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na"),
    ("a length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("another coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\na"),
    ("an unasked 101", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
    ("a wrong first chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_can_be_read_in_two_ways_are_a_502_and_their_connection_ends() {
    let (weir, endpoint) = one_by(RELAY).await;
    for (number, (what, garbage)) in GARBAGE.iter().enumerate() {
        let path = format!("/{number}");
        endpoint.on(&path, Answer::Raw((*garbage).into()));
        let mut client = Client::connect(weir.http).await;
        client.send(format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n")).await;
        let answer = client.response("POST").await;
        assert_eq!(answer.status, 502, "{what}");
        assert!(answer.text().contains("\"end\":\"UPE\""), "{what}: {}", answer.text());
        // The row of failures ends before the endpoint is ejected, and a desync would show.
        assert_eq!(Client::connect(weir.http).await.get(HOST, "/").await.text(), "v1", "{what}");
        assert_eq!(endpoint.connections(), number + 2, "{what}");
    }
    assert_eq!(endpoint.strays(), Vec::<Vec<u8>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_with_its_connection_is_reset_where_it_is_cut() {
    for is_cut in [true, false] {
        let (weir, listener) = played().await;
        let mut client = TcpStream::connect(weir.http).await.unwrap();
        client.write_all(format!("GET / HTTP/1.0\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        let mut endpoint = taken(&listener).await;
        endpoint.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\nabc") {
            assert!(within("bytes", client.read_buf(&mut got)).await.unwrap() > 0, "{}", got.escape_ascii());
        }
        if !is_cut {
            endpoint.write_all(b"0\r\n\r\n").await.unwrap();
        }
        drop(endpoint);
        let end = within("the connection ends", client.read_to_end(&mut got)).await;
        let is_reset = end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert_eq!(is_reset, is_cut, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_an_answer_reaches_nobody() {
    let (weir, endpoint) = one_by(RELAY).await;
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let mut client = Client::connect(weir.http).await;
    for (number, (method, answer)) in [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        endpoint.on(&path, Answer::Raw(format!("{answer}{poison}").into()));
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
        let got = client.response(method).await;
        assert!(matches!(got.text().as_str(), "" | "a"), "{answer:?}: {}", got.text());
        assert_eq!(client.get(HOST, "/").await.text(), "v1", "{answer:?}");
        assert_eq!(endpoint.connections(), number + 2, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_an_http2_endpoint_is_handed_over_and_drawn_once() {
    let (plain, other) = (Endpoint::start("v1").await, H2Endpoint::start(None).await);
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: 'http://{}'\n      2: {{endpoints: ['{}'], protocol: h2c}}\n    \
         aliases: {{prod: {{1: 50, 2: 50}}}}\ndomains:\n  {HOST}: shop:prod\n",
        plain.address, other.address
    );
    let weir = Weir::start_in(folder(), RELAY, &live).await;
    let mut versions = [0, 0];
    let mut client = Client::connect(weir.http).await;
    for _ in 0..40 {
        let answer = client.get(HOST, "/").await;
        assert_eq!(answer.status, 200);
        versions[if answer.version() == "1" { 0 } else { 1 }] += 1;
        // A connection stays with the lane that it was handed to.
        client = Client::connect(weir.http).await;
    }
    assert_eq!(versions, [20, 20], "the split is exact over both lanes");
}
