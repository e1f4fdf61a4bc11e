//! Endpoints that speak HTTP/2: plain, over TLS, and gRPC through them.

use http::Request;
use http::uri::{Authority, PathAndQuery};

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::Endpoint;
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::h2::H2;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder};

/// A gateway before one version, written out in full, and a client's trust in it.
async fn start(version: &str, endpoint: Option<&Certificate>) -> (Weir, Certificate) {
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    if let Some(endpoint) = endpoint {
        endpoint.write(folder.path(), "endpoint");
    }
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: {{{version}}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n"
    );
    (Weir::start_in(folder, PROCESS_TLS, &live).await, certificate)
}

async fn h2(weir: &Weir, certificate: &Certificate) -> H2 {
    let https = weir.https.expect("these files have a TLS listener");
    H2::connect(https, HOST, certificate.client(&["h2"])).await
}

/// From clients of both protocols; the endpoint sees one HTTP/2 request each, with the context and without HTTP/1's fields.
async fn carries_both(weir: &Weir, certificate: &Certificate, endpoint: &H2Endpoint, scheme: &str) {
    let mut client = Client::connect(weir.http).await;
    client
        .send(format!(
            "POST /one?a=b HTTP/1.1\r\nhost: {HOST}\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nab"
        ))
        .await;
    assert_eq!(client.response("POST").await.text(), "ab");
    assert_eq!(client.get(HOST, "/two").await.text(), "h2");
    let h2 = h2(weir, certificate).await;
    let three = Request::builder().method("POST").uri(format!("https://{HOST}/three")).body(()).expect("a request");
    let large = vec![7; 300_000];
    assert!(h2.request(three, &[&large]).await.body == large, "the echo differs");

    let seen = endpoint.seen();
    let targets: Vec<_> = seen.iter().map(|request| request.uri.path_and_query().map(PathAndQuery::as_str)).collect();
    assert_eq!(targets, [Some("/one?a=b"), Some("/two"), Some("/three")]);
    for request in &seen {
        assert_eq!(request.version, http::Version::HTTP_2);
        assert_eq!(request.uri.authority().map(Authority::as_str), Some(HOST));
        assert_eq!(request.uri.scheme_str(), Some(scheme), "how the endpoint is reached, not how the gateway is");
        assert_eq!(request.headers["x-weir-version"], "1");
        assert_eq!(request.headers["x-forwarded-for"], "127.0.0.1");
        assert!(!request.headers.contains_key("connection") && !request.headers.contains_key("host"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h2c_endpoints_answer() {
    let endpoint = H2Endpoint::start(None).await;
    let (weir, certificate) = start(&format!("endpoints: ['{}'], protocol: h2c", endpoint.address), None).await;
    carries_both(&weir, &certificate, &endpoint, "http").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_endpoints_are_agreed_on_by_alpn() {
    let own = Certificate::new("localhost");
    let endpoint = H2Endpoint::start(Some(own.server_with(&["h2"]))).await;
    let version =
        format!("endpoints: ['{}'], protocol: h2, tls: {{ca: endpoint.crt, sni: localhost}}", endpoint.address);
    let (weir, certificate) = start(&version, Some(&own)).await;
    carries_both(&weir, &certificate, &endpoint, "https").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_ends_in_its_trailers() {
    let endpoint = H2Endpoint::start(None).await;
    let (weir, certificate) = start(&format!("endpoints: ['{}'], protocol: h2c", endpoint.address), None).await;
    let call = Request::builder()
        .method("POST")
        .uri(format!("https://{HOST}/shop.Cart/Add"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let message = b"\0\0\0\0\x02ab";
    let answer = h2(&weir, &certificate).await.request(call, &[message]).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, &message[..]));
    assert_eq!(answer.trailers.expect("gRPC has trailers")["grpc-status"], "0");
    assert_eq!(endpoint.seen()[0].headers["te"], "trailers");
}

/// Trailers would be lost on the way, and with them the outcome of the call: no answer is better than half of one.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_to_an_http1_endpoint_is_refused() {
    let endpoint = Endpoint::start("v1").await;
    let (weir, certificate) = start(&format!("endpoints: ['{}']", endpoint.address), None).await;
    let call = Request::builder()
        .method("POST")
        .uri(format!("https://{HOST}/shop.Cart/Add"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    assert_eq!(h2(&weir, &certificate).await.request(call, &[b"x"]).await.status.as_u16(), 502);
    assert_eq!(endpoint.seen().len(), 0);
}
