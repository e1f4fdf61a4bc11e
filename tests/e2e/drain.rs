//! Clients of a gateway that goes away: each is told in time, and none loses a request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Request;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, interval, sleep};
use tokio_rustls::TlsConnector;

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::h2::H2;
use crate::kit::tls::Certificate;
use crate::kit::weir::{Weir, folder};
use crate::kit::wire::Wire;
use crate::kit::{eventually, within};

/// A delay with a second half that every client lives to see.
const DRAIN: &str = "\
listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0', tls: true}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 3s, deadline: 30s}
";

/// Longer than the delay, the last call and what lingers together.
const IDLE_BOUND: Duration = Duration::from_secs(10);

struct Drained {
    weir: Weir,
    endpoint: Endpoint,
    trusting: Arc<ClientConfig>,
}

impl Drained {
    async fn start() -> Self {
        let (folder, endpoint, certificate) = (folder(), Endpoint::start("v1").await, Certificate::new(HOST));
        certificate.write(folder.path(), "shop");
        let live = format!(
            "functions:\n  shop:\n    versions: {{1: 'http://{}'}}\n    aliases: {{prod: 1}}\ndomains:\n  {HOST}: \
             {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n",
            endpoint.address
        );
        let weir = Weir::start_in(folder, DRAIN, &live).await;
        Self { weir, endpoint, trusting: certificate.client(&["h2"]) }
    }

    async fn h2(&self) -> H2 {
        H2::connect(self.weir.https.expect("the file has a TLS listener"), HOST, self.trusting.clone()).await
    }
}

/// The experience of one client of the load until the port was closed.
#[derive(Debug, Default)]
struct Saw {
    answered: usize,
    failed: Vec<String>,
    /// Connections of which the gateway said that it would end them.
    told: usize,
}

/// A request each 100 ms, on one connection for as long as the gateway keeps it, else on a new one.
async fn keep(address: SocketAddr, fields: &'static str) -> Saw {
    let mut saw = Saw::default();
    let mut rate = interval(Duration::from_millis(100));
    while let Ok(stream) = TcpStream::connect(address).await {
        let mut client = Client { wire: Wire::new(stream) };
        loop {
            let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n");
            let answer = async {
                client.try_send(request.as_bytes()).await?;
                client.try_response("GET").await
            };
            let answer = within("an answer or an end", answer).await.map_err(|error| error.to_string());
            rate.tick().await;
            match answer {
                Ok(response) if response.status == 200 => {
                    saw.answered += 1;
                    if response.head.field("connection") == Some("close") {
                        saw.told += 1;
                        break;
                    }
                }
                other => {
                    saw.failed.push(format!("{other:?}"));
                    break;
                }
            }
        }
    }
    saw
}

/// The same over HTTP/2, each connection until its GOAWAY.
async fn streams(address: SocketAddr, trusting: Arc<ClientConfig>) -> Saw {
    let mut saw = Saw::default();
    let mut rate = interval(Duration::from_millis(50));
    while let Some(client) = H2::try_connect(address, HOST, trusting.clone()).await {
        while client.is_open().await {
            let request = Request::get(format!("https://{HOST}/")).body(()).expect("a request");
            match within("an answer or an end", client.try_request(request, &[])).await {
                Ok(answer) if answer.status == 200 => saw.answered += 1,
                // It was told between the look and the request, which nobody processed: it is sent again (RFC 9113, section 6.8).
                Err(error) if error.is_go_away() && error.reason() == Some(Reason::NO_ERROR) => break,
                other => saw.failed.push(format!("{other:?}")),
            }
            rate.tick().await;
        }
        saw.told += 1;
    }
    saw
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_loses_a_request() {
    let mut drained = Drained::start().await;
    let (http, https) = (drained.weir.http, drained.weir.https.unwrap());
    let mut kept: JoinSet<Saw> = (0..10).map(|_| keep(http, "")).collect();
    let mut closed: JoinSet<Saw> = (0..10).map(|_| keep(http, "connection: close\r\n")).collect();
    let mut over_h2: JoinSet<Saw> = (0..4).map(|_| streams(https, drained.trusting.clone())).collect();
    let warm = async || (drained.weir.access_log().len() > 200).then_some(());
    eventually("the load is under way", warm).await;
    drained.weir.signal("TERM");
    let mut all = Vec::new();
    for (kind, clients) in [("kept", &mut kept), ("closed", &mut closed), ("over HTTP/2", &mut over_h2)] {
        while let Some(saw) = clients.join_next().await {
            let saw = saw.unwrap();
            assert_eq!(saw.failed, Vec::<String>::new(), "{kind}: of {} answers", saw.answered);
            assert!(saw.answered > 0 && saw.told > 0, "{kind}: {saw:?}");
            all.push(saw);
        }
    }
    assert_eq!(all.len(), 24);
    assert!(drained.weir.exit().await.success(), "{}", drained.weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_idle_all_the_while_is_answered_once_more() {
    let mut drained = Drained::start().await;
    let mut idle = Client::connect(drained.weir.http).await;
    assert_eq!(idle.get(HOST, "/").await.head.field("connection"), Some("keep-alive"));
    let silent = Client::connect(drained.weir.http).await;
    let over_h2 = drained.h2().await;
    let start = Instant::now();
    drained.weir.signal("TERM");
    let http = drained.weir.http;
    eventually("the port is closed", async || TcpStream::connect(http).await.is_err().then_some(())).await;
    let last = idle.get(HOST, "/").await;
    assert_eq!((last.status, last.head.field("connection")), (200, Some("close")));
    assert!(!over_h2.is_open().await, "it got GOAWAY");
    // Neither a client that does not close its end nor one that never sent anything holds the process.
    assert!(drained.weir.exit().await.success(), "{}", drained.weir.log());
    assert!(start.elapsed() < IDLE_BOUND, "{:?}", start.elapsed());
    assert_eq!(silent.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_half_of_the_delay_keeps_connections_and_the_second_does_not() {
    let drained = Drained::start().await;
    let mut client = Client::connect(drained.weir.http).await;
    assert_eq!(client.get(HOST, "/").await.status, 200);
    let start = Instant::now();
    drained.weir.signal("TERM");
    drained.weir.ready(503).await;
    let told = async || {
        let response = client.get(HOST, "/").await;
        let kept = response.head.field("connection").expect("every answer says it");
        assert!(matches!(kept, "close" | "keep-alive"), "{kept}");
        (kept == "close").then_some(())
    };
    eventually("the connection is to end", told).await;
    assert!(start.elapsed() >= Duration::from_millis(1400), "{:?}", start.elapsed());
    // It still serves, and what it answers itself says so, too.
    for (host, status) in [(HOST, 200), ("nobody.example.com", 404)] {
        let response = Client::connect(drained.weir.http).await.get(host, "/").await;
        assert_eq!((response.status, response.head.field("connection")), (status, Some("close")));
    }
}

/// A connection that is read at this rate, in bytes a second.
struct Paced<S> {
    inner: S,
    rate: f64,
    pause: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.pause.as_mut().poll(cx));
        let mut piece = [0; 4096];
        let most = piece.len().min(buf.remaining());
        let mut piece = ReadBuf::new(&mut piece[..most]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        let read = piece.filled().len();
        buf.put_slice(piece.filled());
        let pause = Duration::from_secs_f64(read as f64 / self.rate);
        self.pause.as_mut().reset(Instant::now() + pause);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Reads a large answer over a connection with large windows and a small socket buffer, so that the gateway is done with it long
/// before its client; answers the bytes that came.
async fn read_slowly(address: SocketAddr, trusting: Arc<ClientConfig>) -> Result<usize, h2::Error> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(32 << 10).expect("a buffer");
    let stream = socket.connect(address).await.expect("the gateway listens");
    let name = ServerName::try_from(HOST).expect("a name");
    let inner = TlsConnector::from(trusting).connect(name, stream).await.expect("a handshake");
    let paced = Paced { inner, rate: 250_000.0, pause: Box::pin(sleep(Duration::ZERO)) };
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(8 << 20).initial_connection_window_size(8 << 20);
    let (requests, connection) = builder.handshake::<_, Bytes>(paced).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("https://{HOST}/large")).body(()).expect("a request");
    let (response, _) = requests.ready().await?.send_request(request, true)?;
    let mut body = response.await?.into_body();
    let mut read = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        read += chunk.len();
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(read)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_over_http2_gets_the_end_of_its_answer() {
    const LARGE: usize = 2_000_000;
    let mut drained = Drained::start().await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
    drained.endpoint.on("/large", Answer::Raw([head.as_bytes(), &vec![b'a'; LARGE]].concat()));
    let reading = tokio::spawn(read_slowly(drained.weir.https.expect("a TLS listener"), drained.trusting.clone()));
    drained.weir.access_line("\"path\":\"/large\"").await;
    drained.weir.signal("TERM");
    assert_eq!(reading.await.expect("no panic").expect("the whole answer"), LARGE);
    assert!(drained.weir.exit().await.success(), "{}", drained.weir.log());
}
