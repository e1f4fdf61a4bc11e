//! Peers at work: upgrades through a small pingora proxy, and TLS with own authorities.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use config::model::UpstreamTls;
use config::route::table::Rendered;
use pingora::proxy::{ProxyHttp, Session, http_proxy};
use pingora_core::apps::ServerApp;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::fault;
use super::super::peer::Peers;
use crate::policy::exchange::AttemptFailure;
use crate::upstreams::tests::{key, read_head, reconcile, rng, spec, until, upstreams};
use crate::upstreams::{Pick, Tried, UpstreamState};

const HANDSHAKE: &[u8] = b"GET /chat HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Sends every request to one upstream.
struct Proxy {
    state: Arc<UpstreamState>,
    peers: Peers,
    /// True when upgrades get their own peer, as they must.
    upgrades_apart: bool,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Option<Pick>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    async fn upstream_peer(&self, session: &mut Session, held: &mut Self::CTX) -> pingora_core::Result<Box<HttpPeer>> {
        let pick = held.insert(self.state.pick(&Tried::default(), true, &mut rng()).expect("the upstream is healthy"));
        let peers = &self.peers;
        Ok(if self.upgrades_apart && session.is_upgrade_req() {
            peers.for_upgrade_of(pick)
        } else {
            peers.of_pick(pick)
        })
    }
}

/// A gateway in this process; returns where it listens.
async fn gateway(proxy: Proxy) -> SocketAddr {
    let proxy = Arc::new(http_proxy(&Arc::new(ServerConf::default()), proxy));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (_keep, shutdown) = tokio::sync::watch::channel(false);
        while let Ok((stream, _)) = listener.accept().await {
            let (proxy, shutdown) = (Arc::clone(&proxy), shutdown.clone());
            tokio::spawn(async move { proxy.process_new(Box::new(Stream::from(stream)), &shutdown).await });
        }
    });
    address
}

/// Accepts every upgrade at once, then sends back what it gets.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Some(head) = read_head(&mut stream).await else { return };
    assert!(head.to_lowercase().contains("\r\nupgrade: websocket\r\n"), "{head}");
    let _ = stream.write_all(SWITCH).await;
    let _ = stream.flush().await;
    let (mut from, mut to) = tokio::io::split(stream);
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// An echoing server; with a certificate it speaks TLS.
async fn echo_server(acceptor: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                match acceptor {
                    None => echo(stream).await,
                    // A client that distrusts us leaves; its own test says so.
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            echo(stream).await;
                        }
                    }
                }
            });
        }
    });
    port
}

/// One handshake and one message there and back.
async fn handshake(gateway: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    stream.write_all(HANDSHAKE).await?;
    let head = read_head(&mut stream).await.ok_or(io::ErrorKind::UnexpectedEof)?;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut back = [0; 5];
    stream.write_all(b"hello").await?;
    stream.read_exact(&mut back).await?;
    assert_eq!(&back, b"hello");
    Ok(())
}

fn state(spec: Rendered) -> Arc<UpstreamState> {
    reconcile(&mut upstreams().0, key(1), spec)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_upgrade_is_lost() {
    let port = echo_server(None).await;
    let state = state(spec(&[("127.0.0.1", port)]));
    let gateway = gateway(Proxy { state: Arc::clone(&state), peers: Peers::default(), upgrades_apart: true }).await;
    for number in 0..400 {
        handshake(gateway).await.unwrap_or_else(|error| panic!("handshake {number}: {error}"));
    }
    until("no pick is left", || state.endpoints()[0].in_flight == 0).await;
}

/// Ends with the first upgrade that pingora loses. When this fails, pingora has fixed its issue 946, and
/// `for_upgrade_of` may become as simple as `of_pick`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pingora_still_loses_upgrades_by_itself() {
    let port = echo_server(None).await;
    let state = state(spec(&[("127.0.0.1", port)]));
    let gateway = gateway(Proxy { state, peers: Peers::default(), upgrades_apart: false }).await;
    for _ in 0..2_000 {
        if handshake(gateway).await.is_err() {
            return;
        }
    }
    panic!("2000 upgrades and none was lost");
}

// --- TLS -------------------------------------------------------------------------------------------------------------

/// A server certificate for `name`, and the file of its authority (itself).
fn certificate(dir: &tempfile::TempDir, name: &str) -> (TlsAcceptor, PathBuf) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = dir.path().join(format!("{name}.pem"));
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), path)
}

fn https(port: u16, ca: Option<PathBuf>, sni: Option<&str>, verify: bool) -> Rendered {
    let sni = sni.map(|name| name.parse().unwrap());
    Rendered { tls: Some(UpstreamTls { ca, sni, verify }), ..spec(&[("127.0.0.1", port)]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_over_tls_are_not_lost_either() {
    let dir = tempfile::tempdir().unwrap();
    let (acceptor, ca) = certificate(&dir, "shop.test");
    let port = echo_server(Some(acceptor)).await;
    let state = state(https(port, Some(ca), Some("shop.test"), true));
    let gateway = gateway(Proxy { state, peers: Peers::default(), upgrades_apart: true }).await;
    for number in 0..100 {
        handshake(gateway).await.unwrap_or_else(|error| panic!("handshake {number}: {error}"));
    }
}

#[tokio::test]
async fn only_the_right_authority_and_name_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (acceptor, ca) = certificate(&dir, "shop.test");
    let (_, other) = certificate(&dir, "other.test");
    let port = echo_server(Some(acceptor)).await;
    let cases = [
        (https(port, Some(ca.clone()), Some("shop.test"), true), true),
        (https(port, Some(ca.clone()), Some("other.test"), true), false),
        (https(port, Some(ca), None, true), false),
        (https(port, Some(other), Some("shop.test"), true), false),
        (https(port, None, Some("shop.test"), true), false),
        (https(port, None, None, false), true),
    ];
    let (connector, peers) = (Connector::new(None), Peers::default());
    for (spec, trusted) in cases {
        let tls = spec.tls.clone();
        let pick = state(spec).pick(&Tried::default(), true, &mut rng()).unwrap();
        let connected = connector.get_http_session(&*peers.of_pick(&pick)).await;
        assert_eq!(connected.is_ok(), trusted, "{tls:?}");
        if let Err(mut error) = connected.map(drop) {
            error.as_up();
            assert_eq!(fault::of(&error, false), AttemptFailure::Connect, "{error}");
        }
    }
}
