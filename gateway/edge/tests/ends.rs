//! How requests and connections end: chunks, half-closed clients, idle connections, and a gateway that is closing.

use super::*;

#[tokio::test]
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
