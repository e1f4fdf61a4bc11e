//! The part of a connection before its first request: the PROXY protocol.

use std::net::Ipv4Addr;

use crate::kit::client::{Client, get};
use crate::kit::endpoint::Endpoint;
use crate::kit::weir::{Weir, folder};
use crate::{HOST, shop};

/// A load balancer on 127.0.0.1 is asked for PROXY headers.
const BEHIND: &str = "\
listeners: [{address: '127.0.0.1:0', proxy_protocol: {from: [127.0.0.1/32]}}]
admin: {address: '127.0.0.1:0'}
workers: 1
";

/// The only one who may send PROXY headers is somebody else.
const ELSEWHERE: &str = "\
listeners: [{address: '127.0.0.1:0', proxy_protocol: {from: [192.0.2.1/32]}}]
admin: {address: '127.0.0.1:0'}
workers: 1
";

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n").into_bytes()
}

/// Version 2: signature, PROXY over TCP and IPv4, 12 bytes of addresses and ports.
fn version_2(client: Ipv4Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client.octets());
    header.extend([127, 0, 0, 1, 0xc3, 0x50, 0x1f, 0x90]);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_headers_name_the_client() {
    let endpoint = Endpoint::start("v1").await;
    let weir = Weir::start_in(folder(), BEHIND, &shop(&[&endpoint], "1")).await;
    for (path, header, address) in [
        ("/v1", b"PROXY TCP4 203.0.113.7 127.0.0.1 50000 8080\r\n".to_vec(), "203.0.113.7"),
        ("/v1-six", b"PROXY TCP6 2001:db8::7 ::1 50000 8080\r\n".to_vec(), "2001:db8::7"),
        ("/v2", version_2(Ipv4Addr::new(203, 0, 113, 8)), "203.0.113.8"),
        ("/v2-local", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        let mut client = Client::connect(weir.http).await;
        client.send([header, request(path)].concat()).await;
        assert_eq!(client.response("GET").await.status, 200, "{path}");
        assert_eq!(endpoint.saw(path).await.head.field("x-forwarded-for"), Some(address), "{path}");
        let line = weir.access_line(&format!("\"path\":\"{path}\"")).await;
        assert!(line.contains(&format!("\"client\":\"{address}\"")), "{line}");
        // The header speaks for the connection, so for its next request too.
        let again = format!("{path}-again");
        assert_eq!(client.get(HOST, &again).await.status, 200);
        assert_eq!(endpoint.saw(&again).await.head.field("x-forwarded-for"), Some(address), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proper_proxy_header_nothing_is_served() {
    let endpoint = Endpoint::start("v1").await;
    let weir = Weir::start_in(folder(), BEHIND, &shop(&[&endpoint], "1")).await;
    for garbage in [
        request("/"),
        b"PROXY TCP4 203.0.113.7 127.0.0.1 50000\r\n".to_vec(),
        b"PROXY TCP4 999.0.113.7 127.0.0.1 50000 8080\r\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c203.0.113.7.".to_vec(),
    ] {
        let mut client = Client::connect(weir.http).await;
        client.send([garbage.clone(), request("/")].concat()).await;
        assert_eq!(client.rest().await, b"", "{:?}", String::from_utf8_lossy(&garbage));
    }
    assert_eq!(endpoint.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_send_a_proxy_header() {
    let endpoint = Endpoint::start("v1").await;
    let weir = Weir::start_in(folder(), ELSEWHERE, &shop(&[&endpoint], "1")).await;
    for header in [b"PROXY TCP4 203.0.113.7 127.0.0.1 50000 8080\r\n".to_vec(), version_2([203, 0, 113, 8].into())] {
        let mut client = Client::connect(weir.http).await;
        client.send([header.clone(), request("/")].concat()).await;
        let answer = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(endpoint.seen().len(), 0);
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1", "a client that sends none is served");
}
