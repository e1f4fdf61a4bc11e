//! Offers to upgrade a connection, and what an endpoint is told of the gateway before it.

use std::time::Duration;

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::eventually;
use crate::kit::weir::Weir;

/// The fields that Java's client and `curl --http2` add to each request.
const H2C: &str = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";

/// A gateway before one endpoint, with more fields of its version.
async fn one(more: &str) -> (Weir, Endpoint) {
    let endpoint = Endpoint::start("v1").await;
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: {{endpoints: ['{}']{more}}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: shop:prod\n",
        endpoint.address
    );
    (Weir::start(&live).await, endpoint)
}

async fn handshake(client: &mut Client, offer: &str) -> u16 {
    client.send(format!("GET /chat HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: {offer}\r\n\r\n")).await;
    client.head().await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_of_h2c_are_ordinary_requests() {
    let (weir, endpoint) = one("").await;
    endpoint.on("/echo", Answer::Echo);
    let mut client = Client::connect(weir.http).await;
    for _ in 0..30 {
        assert_eq!(client.get_with(HOST, "/", H2C).await.text(), "v1");
    }
    client.send(format!("POST /echo HTTP/1.1\r\nhost: {HOST}\r\n{H2C}content-length: 5\r\n\r\nhello")).await;
    assert_eq!(client.response("POST").await.text(), "hello");
    client
        .send(format!(
            "POST /echo HTTP/1.1\r\nhost: {HOST}\r\n{H2C}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ))
        .await;
    assert_eq!(client.response("POST").await.text(), "hi");
    assert_eq!(endpoint.connections(), 1, "for 32 requests in a row");
    for seen in endpoint.seen() {
        for name in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(seen.head.field(name), None, "{name} is between the client and us");
        }
    }
}

/// Requests that are sent ahead behind an offer are answered too.
#[tokio::test(flavor = "multi_thread")]
async fn offers_of_h2c_may_be_pipelined() {
    let (weir, _endpoint) = one("").await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("GET /a HTTP/1.1\r\nhost: {HOST}\r\n{H2C}\r\n").repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(client.response("GET").await.text(), "v1");
    }
}

/// An upgrade has to be answered within `timeouts.idle`; an ordinary request has `timeouts.response`.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_h2c_leaves_the_endpoint_its_time() {
    let (weir, endpoint) = one(", timeouts: {response: 20s, idle: 300ms}").await;
    endpoint.on("/slow", Answer::Later(Duration::from_secs(1), Box::new(Answer::Name)));
    let mut client = Client::connect(weir.http).await;
    assert_eq!(client.get_with(HOST, "/slow", H2C).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_is_taken_from_a_longer_offer() {
    let (weir, endpoint) = one("").await;
    endpoint.on("/chat", Answer::WebSocket);
    let mut client = Client::connect(weir.http).await;
    assert_eq!(handshake(&mut client, "h2c, websocket").await, 101);
    client.send("hello").await;
    assert_eq!(client.take(5).await, b"hello");
    assert_eq!(endpoint.saw("/chat").await.head.field("upgrade"), Some("websocket"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_says_what_it_takes() {
    let (weir, endpoint) = one(", upgrade: [tunnel]").await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tunnel\r\n\r\n";
    endpoint.on("/chat", Answer::turns(vec![Answer::Name, Answer::Raw(switch.into())]));
    assert_eq!(handshake(&mut Client::connect(weir.http).await, "websocket").await, 200, "an ordinary request");
    assert_eq!(endpoint.saw("/chat").await.head.field("upgrade"), None);
    assert_eq!(handshake(&mut Client::connect(weir.http).await, "Tunnel").await, 101);
    assert_eq!(endpoint.seen()[1].head.field("upgrade"), Some("Tunnel"));
}

/// An endpoint that speaks HTTP/2 alone would close the connection, and any client could have it ejected.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_speak_http2_see_no_offer() {
    let endpoint = H2Endpoint::start(None).await;
    let live = format!(
        "functions:\n  shop: {{versions: {{1: {{endpoints: ['{}'], protocol: h2c}}}}, aliases: {{prod: 1}}}}\n\
         domains:\n  {HOST}: shop:prod\n",
        endpoint.address
    );
    let weir = Weir::start(&live).await;
    for _ in 0..8 {
        assert_eq!(handshake(&mut Client::connect(weir.http).await, "websocket").await, 200, "an ordinary request");
    }
    assert!(!weir.log().contains("ejected"), "{}", weir.log());
}

/// An endpoint may close a tunnel because of what its client sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_tunnel_ejects_no_endpoint() {
    let (weir, endpoint) = one("").await;
    endpoint.on("/chat", Answer::BrokenTunnel);
    for _ in 0..8 {
        let mut client = Client::connect(weir.http).await;
        assert_eq!(handshake(&mut client, "websocket").await, 101);
        client.send("\u{0}").await;
        client.rest().await;
    }
    let over = async || (weir.access_log().len() == 8).then_some(());
    eventually("a line for each tunnel", over).await;
    assert!(!weir.log().contains("ejected"), "{}", weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_told_of_the_gateway_unless_a_version_says_not_to() {
    for (more, via) in [("", Some("1.1 weir")), (", via: on", Some("1.1 weir")), (", via: off", None)] {
        let (weir, endpoint) = one(more).await;
        assert_eq!(crate::kit::client::get(weir.http, HOST, "/").await.status, 200);
        assert_eq!(endpoint.saw("/").await.head.field("via"), via, "{more}");
    }
}
