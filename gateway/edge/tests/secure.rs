//! TLS and HTTP/2 over real sockets.

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::edge::tls::{Certificates, Certified, LiveCertificates, server_config};

/// A certificate made for some names.
struct Made {
    der: CertificateDer<'static>,
    certified: Arc<Certified>,
}

fn make(names: &[&str]) -> Made {
    let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let certified = Certified::parse(("crt", cert.as_bytes()), ("key", key.as_bytes())).unwrap();
    Made { der: made.cert.der().clone(), certified }
}

struct Secure {
    gateway: Gateway,
    live: Arc<LiveCertificates>,
    roots: Vec<CertificateDer<'static>>,
}

impl Secure {
    /// Serves `a.example` and everything below `b.example`, each with its own certificate.
    async fn start(limits: Limits) -> Self {
        let (a, b) = (make(&["a.example"]), make(&["x.b.example", "y.b.example"]));
        let mut certificates = Certificates::default();
        certificates.insert("a.example", a.certified);
        certificates.insert("*.b.example", b.certified);
        let live = Arc::new(LiveCertificates::default());
        live.publish(certificates);
        let config = server_config(Arc::clone(&live)).unwrap();
        let gateway = Gateway::with(limits, |entrance| entrance.tls = Some(config)).await;
        Self { gateway, live, roots: vec![a.der, b.der] }
    }

    /// A handshake that asks for `name` and trusts the certificates of the start.
    async fn connect(&self, name: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.client_config(alpn);
        Self::connect_with(self.gateway.address(), config, name).await
    }

    async fn connect_with(
        address: SocketAddr,
        config: ClientConfig,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        tokio::time::timeout(SLACK, connecting).await.unwrap()
    }

    fn client_config(&self, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

#[tokio::test(flavor = "local")]
async fn certificates_are_chosen_by_server_name() {
    let secure = Secure::start(limits()).await;
    for name in ["a.example", "x.b.example", "y.b.example", "A.Example"] {
        let mut client = Client::over(secure.connect(name, &["http/1.1"]).await.unwrap());
        client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
        assert_eq!(client.response().await.1, b"hello");
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.1, b"GET / 0");
    }
    let seen = secure.gateway.seen();
    let snis: Vec<_> = seen.snis.iter().map(|sni| sni.as_deref().unwrap()).collect();
    let twice = ["a.example", "x.b.example", "y.b.example", "a.example"].map(|name| [name; 2]);
    assert_eq!(snis, twice.concat());
    assert_eq!(seen.handshakes, [Ok(()); 4]);
}

#[tokio::test(flavor = "local")]
async fn a_name_without_a_certificate_is_refused_by_the_right_alert() {
    let secure = Secure::start(limits()).await;
    for name in ["c.example", "b.example", "127.0.0.1"] {
        let error = secure.connect(name, &[]).await.unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "{name}: {error}");
    }
    secure.gateway.until(|seen| seen.refused.len() == 3).await;
    assert_eq!(secure.gateway.seen().refused, [Refusal::UnknownServerName; 3]);
    assert_eq!(secure.gateway.seen().handshakes, [Err(Refusal::UnknownServerName); 3]);
    assert_eq!(secure.gateway.seen().opened, 0);
}

#[tokio::test(flavor = "local")]
async fn clients_without_a_name_get_the_default_certificate_and_unknown_names_do_not() {
    let secure = Secure::start(limits()).await;
    let default = make(&["127.0.0.1"]);
    let mut certificates = Certificates::clone(&secure.live.current());
    certificates.set_default(Some(default.certified));
    secure.live.publish(certificates.clone());
    let trusting = Secure { roots: [secure.roots.clone(), vec![default.der]].concat(), ..secure };
    let mut client = Client::over(trusting.connect("127.0.0.1", &["http/1.1"]).await.unwrap());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.1, b"GET / 0");
    assert_eq!(trusting.gateway.seen().snis, [Some(String::new())]);
    trusting.connect("a.example", &[]).await.unwrap();
    let error = trusting.connect("c.example", &[]).await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    certificates.set_default_for_unknown(true);
    trusting.live.publish(certificates);
    let error = trusting.connect("c.example", &[]).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "the default certificate was shown: {error}");
}

#[tokio::test(flavor = "local")]
async fn a_server_name_may_end_in_a_dot() {
    let secure = Secure::start(limits()).await;
    let mut client = Client::over(secure.connect("A.example.", &["http/1.1"]).await.unwrap());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.1, b"GET / 0");
    assert_eq!(secure.gateway.seen().snis, [Some("a.example".to_owned())]);
}

/// The reset that a close with unread bytes would send must not take the answer away.
#[tokio::test(flavor = "local")]
async fn a_plain_request_on_a_port_for_tls_is_told_so() {
    let secure = Secure::start(limits()).await;
    let large = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n{}", "a".repeat(20_000));
    for request in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &large] {
        let mut client = secure.gateway.client().await;
        client.send(request).await;
        let answer = String::from_utf8(client.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with(": this port speaks TLS: use https\n"), "{answer}");
    }
    secure.gateway.until(|seen| seen.refused.len() == 3).await;
    assert_eq!(secure.gateway.seen().refused, [Refusal::PlainOnTls; 3]);
    tokio::time::timeout(SLACK, secure.gateway.load().no_connections()).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn what_is_not_tls_is_refused_and_silence_is_cut() {
    let secure = Secure::start(Limits { head_timeout: Duration::from_millis(200), ..limits() }).await;
    let mut client = secure.gateway.client().await;
    client.send("\x01 is neither HTTP nor TLS").await;
    secure.gateway.until(|seen| seen.refused == [Refusal::Handshake]).await;
    let mut silent = secure.gateway.client().await;
    assert_eq!(silent.rest().await, b"");
    secure.gateway.until(|seen| seen.refused == [Refusal::Handshake, Refusal::HandshakeTimeout]).await;
    tokio::time::timeout(SLACK, secure.gateway.load().no_connections()).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn certificates_are_swapped_while_connections_live() {
    let secure = Secure::start(limits()).await;
    let mut before = Client::over(secure.connect("a.example", &[]).await.unwrap());
    let next = make(&["a.example"]);
    let mut certificates = Certificates::default();
    certificates.insert("a.example", next.certified);
    secure.live.publish(certificates);
    assert!(secure.connect("a.example", &[]).await.is_err(), "the old certificate is gone");
    let trusting = Secure { roots: vec![next.der], ..secure };
    let mut after = Client::over(trusting.connect("a.example", &[]).await.unwrap());
    for client in [&mut before, &mut after] {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.1, b"GET / 0");
    }
    assert!(trusting.connect("x.b.example", &[]).await.is_err());
}

#[tokio::test(flavor = "local")]
async fn tls_sessions_are_resumed_by_ticket() {
    let secure = Secure::start(limits()).await;
    let config = Arc::new(secure.client_config(&["http/1.1"]));
    for version in 0..3 {
        let tcp = TcpStream::connect(secure.gateway.address()).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let mut client = Client::over(TlsConnector::from(Arc::clone(&config)).connect(name, tcp).await.unwrap());
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.response().await;
        let resumed = client.stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        assert_eq!(resumed, version > 0);
    }
}

type Sender = h2::client::SendRequest<Bytes>;

async fn http2(stream: TlsStream<TcpStream>) -> (Sender, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn ask(sender: &mut Sender, path: &str, body: &'static [u8]) -> (http::StatusCode, Vec<u8>) {
    let request = http::Request::post(format!("https://a.example{path}")).body(()).unwrap();
    let mut ready = sender.clone().ready().await.unwrap();
    let (response, mut stream) = ready.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(body), true).unwrap();
    let response = tokio::time::timeout(SLACK, response).await.unwrap().unwrap();
    let status = response.status();
    let mut body = response.into_body();
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        all.extend(part);
    }
    (status, all)
}

#[tokio::test(flavor = "local")]
async fn http2_is_agreed_on_and_served() {
    let secure = Secure::start(limits()).await;
    let (mut sender, driver) = http2(secure.connect("a.example", &["h2", "http/1.1"]).await.unwrap()).await;
    for _ in 0..3 {
        let (status, body) = ask(&mut sender, "/echo", b"hello").await;
        assert_eq!((status.as_u16(), &body[..]), (200, &b"hello"[..]));
    }
    let seen = secure.gateway.seen();
    assert_eq!(seen.requests, 3);
    assert_eq!(seen.connections_of_requests.len(), 1);
    assert_eq!(seen.snis, vec![Some("a.example".to_owned()); 3]);
    drop(sender);
    driver.await.unwrap().unwrap();
    tokio::time::timeout(SLACK, secure.gateway.load().no_connections()).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn http2_requests_in_flight_outlive_a_shutdown() {
    let secure = Secure::start(limits()).await;
    let (mut sender, driver) = http2(secure.connect("a.example", &["h2"]).await.unwrap()).await;
    let slow = tokio::spawn(async move { ask(&mut sender, "/slow", b"abc").await });
    secure.gateway.until(|seen| seen.requests == 1).await;
    assert_eq!(secure.gateway.load().requests(), 1);
    secure.gateway.shut_down();
    secure.gateway.release_slow();
    assert_eq!(slow.await.unwrap().1, b"POST /slow 3");
    driver.await.unwrap().unwrap();
    tokio::time::timeout(SLACK, secure.gateway.load().no_connections()).await.unwrap();
    assert_eq!(secure.gateway.load().requests(), 0);
}

#[tokio::test(flavor = "local")]
async fn http2_must_begin_in_time_and_by_its_preface() {
    let secure = Secure::start(Limits { head_timeout: Duration::from_millis(200), ..limits() }).await;
    let mut silent = Client::over(secure.connect("a.example", &["h2"]).await.unwrap());
    assert_eq!(silent.rest_or_reset().await, b"");
    let mut wrong = Client::over(secure.connect("a.example", &["h2"]).await.unwrap());
    wrong.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(wrong.rest_or_reset().await, b"");
    secure.gateway.until(|seen| seen.refused == [Refusal::Http2Preface; 2]).await;
}

#[tokio::test(flavor = "local")]
async fn an_idle_http2_connection_is_closed() {
    let secure = Secure::start(Limits { idle_timeout: Duration::from_millis(300), ..limits() }).await;
    let (mut sender, driver) = http2(secure.connect("a.example", &["h2"]).await.unwrap()).await;
    ask(&mut sender, "/", b"").await;
    let _ = tokio::time::timeout(SLACK, driver).await.expect("closed by the gateway");
}

/// A client whose end of the connection is seen: `Ok(0)` is `close_notify`, a cut is an error of rustls.
#[tokio::test(flavor = "local")]
async fn an_idle_session_is_ended_and_not_cut() {
    let limits = Limits { idle_timeout: Duration::from_millis(200), ..limits() };
    let secure = Secure::start(limits).await;
    let mut client = secure.connect("a.example", &["http/1.1"]).await.unwrap();
    let read = tokio::time::timeout(SLACK, client.read(&mut [0; 10])).await.unwrap();
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test(flavor = "local")]
async fn an_idle_http2_connection_gets_goaway_and_an_end() {
    let limits = Limits { idle_timeout: Duration::from_millis(300), ..limits() };
    let secure = Secure::start(limits).await;
    let stream = secure.connect("a.example", &["h2"]).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(get_over(&client, "/busy").await, b"GET /busy 0");
    // An error would be a GOAWAY with a reason, or a cut.
    tokio::time::timeout(SLACK, connection).await.unwrap().unwrap().unwrap();
    let refused = client.ready().await.unwrap_err();
    assert!(refused.is_go_away() && refused.reason() == Some(h2::Reason::NO_ERROR), "{refused}");
    tokio::time::timeout(SLACK, secure.gateway.load().no_connections()).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_stream_keeps_its_connection_from_being_idle() {
    let limits = Limits { idle_timeout: Duration::from_millis(200), ..limits() };
    let secure = Secure::start(limits).await;
    let stream = secure.connect("a.example", &["h2"]).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let slow = get_over(&client, "/slow");
    tokio::pin!(slow);
    assert!(tokio::time::timeout(Duration::from_millis(600), slow.as_mut()).await.is_err());
    secure.gateway.release_slow();
    assert_eq!(slow.await, b"GET /slow 0");
}

#[tokio::test(flavor = "local")]
async fn http2_connections_are_told_when_the_gateway_closes_and_finish_what_is_under_way() {
    let secure = Secure::start(limits()).await;
    let stream = secure.connect("a.example", &["h2"]).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let slow = get_over(&client, "/slow");
    tokio::pin!(slow);
    tokio::select! {
        _ = slow.as_mut() => panic!("it waits"),
        () = secure.gateway.until(|seen| seen.requests == 1) => {}
    }
    secure.gateway.closing();
    let told = async {
        while client.clone().ready().await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    tokio::select! {
        _ = slow.as_mut() => panic!("it waits"),
        told = tokio::time::timeout(SLACK, told) => told.unwrap(),
    }
    // A new connection is served, and told when the gateway stops.
    let stream = secure.connect("a.example", &["h2"]).await.unwrap();
    let (fresh, other) = h2::client::handshake(stream).await.unwrap();
    let other = tokio::spawn(other);
    assert_eq!(get_over(&fresh, "/fresh").await, b"GET /fresh 0");
    secure.gateway.shut_down();
    tokio::time::timeout(SLACK, other).await.unwrap().unwrap().unwrap();
    secure.gateway.release_slow();
    assert_eq!(slow.await, b"GET /slow 0");
    tokio::time::timeout(SLACK, connection).await.unwrap().unwrap().unwrap();
}

/// The body of the answer to a `GET`.
async fn get_over(client: &h2::client::SendRequest<Bytes>, path: &str) -> Vec<u8> {
    let request = http::Request::get(format!("https://a.example{path}")).body(()).unwrap();
    let mut client = client.clone().ready().await.unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let mut body = tokio::time::timeout(Duration::from_secs(10), response).await.unwrap().unwrap().into_body();
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        bytes.extend(part.unwrap());
    }
    bytes
}
