//! Interim answers (1xx) to clients over HTTP/2; those of HTTP/1 are in [`framing`](crate::framing).

use http::Request;

use crate::framing::HINTS;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::h2::H2;
use crate::{HOST, behind_tls};

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_reach_clients_over_http_2() {
    let endpoint = Endpoint::start("v1").await;
    let (weir, certificate) = behind_tls(&format!("'http://{}'", endpoint.address)).await;
    let hop = "connection: x-own\r\nx-own: 1\r\nkeep-alive: timeout=5\r\ncontent-length: 9\r\n\r\n";
    let hints = HINTS.replace("\r\n\r\n", &format!("\r\n{hop}"));
    endpoint.on("/hints", Answer::Raw(format!("{hints}{HINTS}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").into()));
    endpoint.on("/continue", Answer::Continue);
    let h2 = H2::connect(weir.https.expect("a TLS listener"), HOST, certificate.client(&["h2"])).await;
    let request = |path: &str| Request::post(format!("https://{HOST}{path}"));
    let (hints, status) = h2.interim(request("/hints").body(()).expect("a request"), b"").await;
    assert_eq!((hints.len(), status.as_u16()), (2, 200));
    for head in hints {
        assert_eq!(head.status().as_u16(), 103);
        let fields: Vec<_> = head.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("link", &b"</a.css>; rel=preload"[..])]);
    }
    let held_back = request("/continue").header("expect", "100-continue").header("content-length", "2");
    let (asked, status) = h2.interim(held_back.body(()).expect("a request"), b"ab").await;
    assert_eq!(asked.iter().map(|head| head.status().as_u16()).collect::<Vec<_>>(), [100]);
    assert_eq!((status.as_u16(), endpoint.saw("/continue").await.body.bytes), (200, b"ab".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_without_end_do_not_pile_up() {
    let endpoint = Endpoint::start("v1").await;
    let (weir, certificate) = behind_tls(&format!("'http://{}'", endpoint.address)).await;
    let hints = HINTS.replace("\r\n\r\n", &format!("\r\nx-large: {}\r\n\r\n", "a".repeat(3000)));
    endpoint.on("/hints", Answer::Raw(format!("{}HTTP/1.1 200 OK\r\n\r\n", hints.repeat(100)).into()));
    let h2 = H2::connect(weir.https.expect("a TLS listener"), HOST, certificate.client(&["h2"])).await;
    let (hints, status) = h2.interim(Request::post(format!("https://{HOST}/hints")).body(()).unwrap(), b"").await;
    assert!((10..30).contains(&hints.len()) && status.as_u16() == 200, "{} and {status}", hints.len());
}
