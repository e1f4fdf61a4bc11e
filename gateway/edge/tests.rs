//! The edge over real loopback sockets, with a small pingora proxy behind it and a raw endpoint behind that.

mod ends;
mod secure;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::model::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;
use support::{Client, Gateway, Seen, limits};

/// What a test waits for at most; ten times what a deadline under test is set to.
const SLACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "local")]
async fn a_request_and_the_next_on_the_same_connection() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    for round in 0..3 {
        client.send(&format!("GET /{round} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body, format!("GET /{round} 0").as_bytes());
    }
    assert_eq!(gateway.seen().requests, 3);
    assert_eq!(gateway.seen().connections_of_requests.len(), 1);
    assert_eq!(gateway.seen().clients, [client.address()].into());
}

#[tokio::test(flavor = "local")]
async fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    let mut text = String::new();
    for round in 0..20 {
        text.push_str(&format!("GET /{round} HTTP/1.1\r\nhost: a\r\n\r\n"));
        text.push_str(&format!("POST /{round} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"));
    }
    client.send(&text).await;
    for round in 0..20 {
        assert_eq!(client.response().await.1, format!("GET /{round} 0").as_bytes());
        assert_eq!(client.response().await.1, format!("POST /{round} 5").as_bytes());
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_sent_while_the_one_before_is_answered_waits_for_its_turn() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    gateway.until(|seen| seen.requests == 1).await;
    client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
    gateway.release_slow();
    assert_eq!(client.response().await.1, b"GET /slow 0");
    assert_eq!(client.response().await.1, b"GET /next 0");
}

#[tokio::test(flavor = "local")]
async fn bodies_arrive_intact_however_they_are_cut() {
    let gateway = Gateway::plain(limits()).await;
    let body: Vec<u8> = (0..300_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for cut in [1000, 4096, 70_000, 300_000] {
        let mut client = gateway.client().await;
        let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut message = head.into_bytes();
        message.extend(&body);
        message.extend(b"GET /after HTTP/1.1\r\nhost: a\r\n\r\n");
        let (mut read, mut write) = client.split();
        let sending = async {
            for part in message.chunks(cut) {
                write.write_all(part).await.unwrap();
                write.flush().await.unwrap();
            }
        };
        let receiving = async {
            assert!(read.response().await.1 == body, "cut at {cut}");
            assert_eq!(read.response().await.1, b"GET /after 0");
        };
        tokio::join!(sending, receiving);
    }
}

#[tokio::test(flavor = "local")]
async fn chunked_bodies_arrive_intact() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    client.send("6\r\n world\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.1, b"hello world");
    client.send("GET /after HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.1, b"GET /after 0");
}

#[tokio::test(flavor = "local")]
async fn expect_100_continue_reaches_the_endpoint_and_comes_back() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    client.send("POST /continue HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 100"));
    client.send("hello").await;
    assert_eq!(client.response().await.1, b"POST /continue 5");
}

#[tokio::test(flavor = "local")]
async fn tunnels_pass_bytes_both_ways() {
    let gateway = Gateway::plain(limits()).await;
    let upgrade = "HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    // Some clients say that their request has no body (`kubectl exec`), and some send ahead.
    for (framing, ahead) in [("", ""), ("content-length: 0\r\n", ""), ("", "ahead")] {
        let mut client = gateway.client().await;
        client.send(&format!("GET /tunnel {upgrade}{framing}\r\n{ahead}")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101"));
        assert_eq!(client.exactly(ahead.len()).await, ahead.as_bytes());
        for text in ["one", "two"] {
            client.send(text).await;
            assert_eq!(client.exactly(3).await, text.as_bytes());
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_slow_head_is_cut_at_the_deadline_over_all_of_it() {
    let gateway = Gateway::plain(Limits { head_timeout: Duration::from_millis(200), ..limits() }).await;
    let mut client = gateway.client().await;
    let began = Instant::now();
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(1000));
    let (mut read, mut write) = client.split();
    let sending = async {
        for byte in text.as_bytes() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::select! {
        () = sending => panic!("the whole slow head was taken"),
        (head, _) = read.response() => head,
    };
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < SLACK);
    assert_eq!(gateway.seen().refused, [Refusal::HeadTimeout]);
    assert_eq!(gateway.seen().requests, 0);
}

#[tokio::test(flavor = "local")]
async fn an_idle_connection_is_closed_in_silence() {
    for first in [false, true] {
        let gateway = Gateway::plain(Limits { idle_timeout: Duration::from_millis(200), ..limits() }).await;
        let mut client = gateway.client().await;
        if first {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            client.response().await;
        }
        let began = Instant::now();
        assert_eq!(client.rest().await, b"");
        assert!(began.elapsed() >= Duration::from_millis(150) && began.elapsed() < SLACK);
        gateway.until(|seen| seen.closed == 1).await;
        assert_eq!(gateway.seen().refused, []);
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_over_a_bound_gets_its_answer_from_the_transport() {
    let long = "x".repeat(10_000);
    let huge = "y".repeat(200_000);
    let fields = "a: b\r\n".repeat(200);
    let table = [
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "414", Refusal::TargetTooLong),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {huge}\r\n\r\n"), "431", Refusal::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"), "431", Refusal::TooManyFields),
        ("GET / HTTP/1.1\nhost: a\n\n".into(), "400", Refusal::MalformedHead),
        ("GET / HTTP/1.1\r\n\r\n".into(), "400", Refusal::MissingHost),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n".into(), "405", Refusal::Connect),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "400", Refusal::MalformedHead),
    ];
    for (text, status, refusal) in table {
        let gateway = Gateway::plain(limits()).await;
        let mut client = gateway.client().await;
        client.send(&text).await;
        let (head, _) = client.response().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(client.rest().await, b"");
        assert_eq!(gateway.seen().refused, [refusal]);
        assert_eq!(gateway.seen().requests, 0);
    }
}

#[tokio::test(flavor = "local")]
async fn an_answer_before_the_body_was_sent_can_be_read() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    client.send("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    // The client sends on for a while and meets no reset, which could cost it the answer.
    for _ in 0..100 {
        client.send(&"x".repeat(4000)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.rest().await, b"");
}

#[tokio::test(flavor = "local")]
async fn a_client_that_does_not_read_is_given_up_on() {
    let gateway = Gateway::plain(Limits { body_timeout: Duration::from_millis(300), ..limits() }).await;
    let mut client = gateway.client().await;
    client.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let began = Instant::now();
    gateway.until(|seen| seen.closed == 1).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    drop(client);
}

#[tokio::test(flavor = "local")]
async fn caps_over_all_and_per_address() {
    let gateway = Gateway::plain(Limits { connections: 3, connections_per_address: 2, ..limits() }).await;
    let local = |last: u8| SocketAddr::from(([127, 0, 0, last], 0));
    let mut one = gateway.client_from(local(1)).await;
    let mut two = gateway.client_from(local(1)).await;
    gateway.until(|seen| seen.opened == 2).await;
    let mut third = gateway.client_from(local(1)).await;
    assert!(third.response().await.0.starts_with("HTTP/1.1 503"));
    assert_eq!(third.rest().await, b"");
    let other = gateway.client_from(local(2)).await;
    gateway.until(|seen| seen.opened == 3).await;
    let mut fourth = gateway.client_from(local(3)).await;
    assert!(fourth.response().await.0.starts_with("HTTP/1.1 503"));
    assert_eq!(gateway.seen().refused, [Refusal::ConnectionsPerAddress, Refusal::Connections]);
    // Who is in stays in, and who leaves makes room.
    for client in [&mut one, &mut two] {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.1, b"GET / 0");
    }
    drop((one, other));
    gateway.until(|seen| seen.closed == 2).await;
    let mut again = gateway.client_from(local(1)).await;
    again.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(again.response().await.1, b"GET / 0");
}

#[tokio::test(flavor = "local")]
async fn shutdown_ends_what_is_idle_and_lets_the_rest_finish() {
    let gateway = Gateway::plain(limits()).await;
    let mut idle = gateway.client().await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.response().await;
    let mut fresh = gateway.client().await;
    let mut busy = gateway.client().await;
    busy.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    gateway.until(|seen| seen.requests == 2 && seen.opened == 3).await;
    assert_eq!((gateway.load().connections(), gateway.load().requests()), (3, 1));
    gateway.shut_down();
    assert_eq!(idle.rest().await, b"");
    assert_eq!(fresh.rest().await, b"");
    assert_eq!(gateway.load().requests(), 1);
    assert!(TcpStream::connect(gateway.address()).await.is_err(), "the port is closed");
    gateway.release_slow();
    let (head, body) = busy.response().await;
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert_eq!(body, b"GET /slow 0");
    assert_eq!(busy.rest().await, b"");
    tokio::time::timeout(SLACK, gateway.load().no_connections()).await.unwrap();
    assert_eq!(gateway.load().requests(), 0);
}

#[tokio::test(flavor = "local")]
async fn a_connection_without_a_request_holds_no_buffer() {
    let (stream, mut client, _keep) = support::lone_stream(limits()).await;
    let mut stream = stream;
    let (_hold, mut watch) = watch::channel(false);
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
    let head = stream.next_head(&mut watch).await.unwrap();
    assert!(stream.holds_buffers());
    let mut all = vec![0; head.len + 3];
    stream.read_exact(&mut all).await.unwrap();
    assert!(all.ends_with(b"abc"));
    stream.write_all(b"answer").await.unwrap();
    assert!(stream.holds_buffers());
    stream.flush().await.unwrap();
    stream.request_done();
    assert!(!stream.holds_buffers());
    {
        let waiting = stream.next_head(&mut watch);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting.as_mut()).await.is_err());
    }
    assert!(!stream.holds_buffers());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Messages sent back to back, cut anywhere, are read one by one, each exactly.
    #[test]
    fn each_message_is_read_exactly(
        bodies in proptest::collection::vec(0usize..12_000, 1..6), cut in 1usize..9000, read in 1usize..9000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut stream, client, _keep) = support::lone_stream(limits()).await;
            let (_hold, mut watch) = watch::channel(false);
            let messages: Vec<Vec<u8>> = bodies.iter().enumerate().map(|(index, &len)| {
                let head = format!("POST /{index} HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
                let body = (0..len).map(|at| (at * 31 + index) as u8);
                head.into_bytes().into_iter().chain(body).collect()
            }).collect();
            let all = messages.concat();
            let sending = async {
                let mut client = client;
                for part in all.chunks(cut) {
                    client.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
                client
            };
            let receiving = async {
                for message in &messages {
                    stream.next_head(&mut watch).await.unwrap();
                    let mut got: Vec<u8> = Vec::new();
                    while got.len() < message.len() {
                        let mut part = vec![0; read];
                        let len = stream.read(&mut part).await.unwrap();
                        assert_ne!(len, 0);
                        got.extend(&part[..len]);
                    }
                    assert!(got == *message);
                    stream.request_done();
                }
            };
            tokio::join!(sending, receiving);
        });
    }
}

#[tokio::test(flavor = "local")]
async fn another_lane_may_read_the_head_and_hand_the_request_over() {
    let gateway = Gateway::relayed(limits()).await;
    for _ in 0..300 {
        let mut client = gateway.client().await;
        client.send("GET /first HTTP/1.1\r\nhost: a\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.1, b"GET /first 0");
        assert_eq!(client.response().await.1, b"GET /second 0");
    }
    let Seen { requests, handed, .. } = gateway.seen();
    assert_eq!(requests, 600);
    // Only the first request of each connection was read by the other lane; each was taken once.
    assert_eq!(handed, (0..300).collect::<Vec<u64>>());
}

#[test]
fn a_port_that_somebody_has_is_refused() {
    let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
    let address = first[0].local_addr().unwrap();
    assert_ne!(address.port(), 0);
    assert!(first.iter().all(|socket| socket.local_addr().unwrap() == address));
    let error = bind(address, 3).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
    drop(first);
    bind(address, 1).unwrap();
}

#[tokio::test(flavor = "local")]
async fn every_socket_of_a_port_accepts() {
    let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
    let address = sockets[0].local_addr().unwrap();
    let gateway = Gateway::on(sockets, limits()).await;
    for _ in 0..40 {
        let mut client = Client::connect(address).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.1, b"GET / 0");
    }
    assert_eq!(gateway.seen().requests, 40);
}

#[tokio::test(flavor = "local")]
async fn a_load_balancer_says_who_the_client_is() {
    let from_here = |entrance: &mut Entrance| entrance.proxy_protocol_from = vec!["127.0.0.1/32".parse().unwrap()];
    let gateway = Gateway::with(Limits { head_timeout: Duration::from_millis(300), ..limits() }, from_here).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = gateway.client().await;
    client.send(&format!("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n{request}")).await;
    assert_eq!(client.response().await.1, b"GET / 0");
    client.send(request).await;
    assert_eq!(client.response().await.1, b"GET / 0");
    // Another peer is a client like any other, and may not say who it is.
    let mut other = gateway.client_from(SocketAddr::from(([127, 0, 0, 2], 0))).await;
    other.send(request).await;
    assert_eq!(other.response().await.1, b"GET / 0");
    assert_eq!(gateway.seen().clients, [SocketAddr::from(([192, 0, 2, 7], 4711)), other.address()].into());
    other.send("PROXY TCP4 192.0.2.8 10.0.0.1 4711 80\r\n").await;
    assert!(other.response().await.0.starts_with("HTTP/1.1 400"));
    // A listed peer that says nothing, or something else, is cut off.
    let mut silent = gateway.client().await;
    assert_eq!(silent.rest().await, b"");
    let mut wrong = gateway.client().await;
    wrong.send(&request.repeat(3)).await;
    let _ = wrong.stream.read(&mut [0; 10]).await;
    gateway.until(|seen| seen.refused.len() == 3).await;
    let refused = [Refusal::MalformedHead, Refusal::ProxyProtocol, Refusal::ProxyProtocol];
    assert_eq!(gateway.seen().refused, refused);
}
