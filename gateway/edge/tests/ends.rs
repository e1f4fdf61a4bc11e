//! The ends of requests and connections: chunks, half-closed clients, idle connections, and a gateway that is closing.

use super::*;

#[tokio::test(flavor = "local")]
async fn a_request_behind_chunks_is_answered_on_the_same_connection() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    let chunked =
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\na: b\r\n\r\n";
    client.send(&format!("{chunked}GET /one HTTP/1.1\r\nhost: a\r\n\r\n{chunked}{chunked}")).await;
    client.send("GET /two HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for expected in ["hello", "GET /one 0", "hello", "hello", "GET /two 0"] {
        assert_eq!(client.response().await.1, expected.as_bytes());
    }
    assert_eq!(gateway.seen().connections_of_requests.len(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_request_behind_an_upgrade_that_was_not_granted_is_answered() {
    let gateway = Gateway::plain(limits()).await;
    let mut client = gateway.client().await;
    let offer = "GET /offer HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    client.send(&format!("{offer}{offer}GET /next HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    for expected in ["GET /offer 0", "GET /offer 0", "GET /next 0"] {
        assert_eq!(client.response().await.1, expected.as_bytes());
    }
}

#[tokio::test(flavor = "local")]
async fn the_last_answers_say_so_while_new_connections_are_served() {
    let gateway = Gateway::plain(limits()).await;
    let mut idle = gateway.client().await;
    idle.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!idle.response().await.0.to_ascii_lowercase().contains("connection: close"));
    gateway.closing();
    idle.send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (head, body) = idle.response().await;
    assert_eq!(body, b"GET /2 0");
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert_eq!(idle.rest().await, b"");
    let mut fresh = gateway.client().await;
    fresh.send("GET /3 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(fresh.response().await.0.to_ascii_lowercase().contains("connection: close"));
}

#[tokio::test(flavor = "local")]
async fn an_idle_connection_has_a_last_call_when_the_gateway_stops() {
    let gateway = Gateway::plain(limits()).await;
    let mut idle = gateway.client().await;
    idle.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.response().await;
    gateway.shut_down();
    gateway.until_port_closed().await;
    idle.send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (head, body) = idle.response().await;
    assert_eq!(body, b"GET /2 0");
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    // A request too much is read and gets no answer, but no reset either, which could cost the last answer.
    idle.send("GET /3 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(idle.rest().await, b"");
    tokio::time::timeout(SLACK, gateway.load().no_connections()).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn who_waits_to_be_accepted_when_the_gateway_stops_is_served() {
    let gateway = Gateway::plain(limits()).await;
    // On one thread nobody accepts between these lines.
    let tcp = std::net::TcpStream::connect(gateway.address()).unwrap();
    gateway.shut_down();
    tcp.set_nonblocking(true).unwrap();
    let mut client = Client::over(TcpStream::from_std(tcp).unwrap());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.1, b"GET / 0");
}
