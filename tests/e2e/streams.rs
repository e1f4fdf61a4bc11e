//! What stays open: server-sent events and WebSockets.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::kit::client::Client;
use crate::kit::endpoint::Answer;
use crate::{HOST, one};

/// An endpoint's answer that sends one event per permit.
pub(crate) fn events(count: usize) -> (Answer, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let event = |number| {
        let text = format!("data: {number}\n\n");
        format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
    };
    let parts = std::iter::once(head.into()).chain((0..count).map(event)).chain([b"0\r\n\r\n".to_vec()]);
    (Answer::Parts(parts.collect(), permits.clone()), permits)
}

/// The head of a WebSocket handshake.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one() {
    let (weir, endpoint) = one().await;
    let (answer, permits) = events(5);
    endpoint.on("/events", answer);
    let mut client = Client::connect(weir.http).await;
    client.send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\naccept: text/event-stream\r\n\r\n")).await;
    permits.add_permits(1);
    let (status, head) = client.head().await;
    assert_eq!((status, head.field("content-type")), (200, Some("text/event-stream")));
    for number in 0..5 {
        // The next event is not sent before this one has arrived, so nothing on the way may wait for more.
        permits.add_permits(1);
        let got = client.take_through("\n\n").await;
        assert!(got.contains(&format!("data: {number}")), "{got:?}");
    }
    permits.add_permits(1);
    client.take_through("0\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_open_every_time_and_carry_bytes() {
    let (weir, endpoint) = one().await;
    endpoint.on("/socket", Answer::WebSocket);
    for round in 0..200 {
        let mut client = Client::connect(weir.http).await;
        client.send(handshake("/socket")).await;
        let (status, head) = client.head().await;
        assert_eq!((status, head.field("upgrade")), (101, Some("websocket")), "round {round}");
        let message = format!("\u{1}frame {round}\0");
        client.send(&message).await;
        assert_eq!(client.take(message.len()).await, message.as_bytes(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_carry_much_in_both_directions() {
    let (weir, endpoint) = one().await;
    endpoint.on("/socket", Answer::WebSocket);
    let mut client = Client::connect(weir.http).await;
    client.send(handshake("/socket")).await;
    assert_eq!(client.head().await.0, 101);
    for round in 0..64u8 {
        let block = vec![round; 60_000];
        client.send(&block).await;
        assert!(client.take(block.len()).await == block, "block {round} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_other_than_101_closes_no_door() {
    let (weir, endpoint) = one().await;
    endpoint.on("/refused", Answer::Raw(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_vec()));
    let mut client = Client::connect(weir.http).await;
    client.send(handshake("/refused")).await;
    let response = client.response("GET").await;
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}
