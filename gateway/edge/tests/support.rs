//! A gateway of a few lines, the endpoint behind it, and a client that writes bytes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use config::model::Limits;
use pingora::proxy::{ProxyHttp, Session, http_proxy};
use pingora::upstreams::peer::HttpPeer;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_http::ResponseHeader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};

use crate::edge::proxied::{ProxiedLane, connection_of};
use crate::edge::transport::Transport;
use crate::edge::{
    ClientProtocol, Connection, Edge, EdgeStream, Entrance, Lane, Load, Observer, Refusal, bind, serve_listener,
};

/// Generous limits: a test lowers the one it is about.
pub(super) fn limits() -> Limits {
    Limits {
        head_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// What happened so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) requests: usize,
    pub(super) clients: BTreeSet<SocketAddr>,
    pub(super) connections_of_requests: BTreeSet<u64>,
    pub(super) snis: Vec<Option<String>>,
    pub(super) handed: Vec<u64>,
    pub(super) opened: usize,
    pub(super) closed: usize,
    pub(super) refused: Vec<Refusal>,
    pub(super) handshakes: Vec<Result<(), Refusal>>,
}

#[derive(Default)]
struct Notes {
    seen: Mutex<Seen>,
    changed: Notify,
}

impl Notes {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_waiters();
    }
}

impl Observer for Arc<Notes> {
    fn opened(&self, _: usize, _: ClientProtocol) {
        self.note(|seen| seen.opened += 1);
    }
    fn closed(&self, _: usize, _: ClientProtocol) {
        self.note(|seen| seen.closed += 1);
    }
    fn refused(&self, refusal: Refusal) {
        self.note(|seen| seen.refused.push(refusal));
    }
    fn handshake(&self, outcome: Result<(), Refusal>) {
        self.note(|seen| seen.handshakes.push(outcome));
    }
}

pub(super) struct Gateway {
    address: SocketAddr,
    notes: Arc<Notes>,
    edge: Arc<Edge>,
    slow: Arc<Notify>,
    down: watch::Sender<bool>,
}

impl Gateway {
    pub(super) async fn plain(limits: Limits) -> Self {
        Self::on(bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap(), limits).await
    }

    pub(super) async fn on(sockets: Vec<std::net::TcpListener>, limits: Limits) -> Self {
        Self::start(sockets, limits, |lane| lane, |_| {}).await
    }

    /// With a lane in front that reads the first head of each connection.
    pub(super) async fn relayed(limits: Limits) -> Self {
        let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        Self::start(sockets, limits, |next| Reader { next, count: AtomicU64::new(0) }, |_| {}).await
    }

    /// With other settings of the listener.
    pub(super) async fn with(limits: Limits, change: impl FnOnce(&mut Entrance)) -> Self {
        let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        Self::start(sockets, limits, |lane| lane, change).await
    }

    async fn start<L: Lane>(
        sockets: Vec<std::net::TcpListener>,
        limits: Limits,
        lane: impl FnOnce(ProxiedLane<pingora::proxy::HttpProxy<Forward>>) -> L,
        change: impl FnOnce(&mut Entrance),
    ) -> Self {
        let notes = Arc::new(Notes::default());
        let slow = Arc::new(Notify::new());
        let endpoint = endpoint(Arc::clone(&slow)).await;
        let edge = Arc::new(Edge::new(limits, Arc::new(Arc::clone(&notes))));
        let forward = Forward { endpoint, notes: Arc::clone(&notes) };
        let app = Arc::new(http_proxy(&Arc::new(ServerConf::default()), forward));
        let lane = Rc::new(lane(ProxiedLane::new(app, Arc::clone(&edge))));
        let mut entrance =
            Entrance { listener: 0, tls: None, proxy_protocol_from: Vec::new(), edge: Arc::clone(&edge) };
        change(&mut entrance);
        let entrance = Arc::new(entrance);
        let (down, watch) = watch::channel(false);
        let address = sockets[0].local_addr().unwrap();
        for socket in sockets {
            let serving = serve_listener(socket, Rc::clone(&lane), Arc::clone(&entrance), watch.clone());
            tokio::task::spawn_local(async move { serving.await.unwrap() });
        }
        Self { address, notes, edge, slow, down }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn load(&self) -> &Load {
        &self.edge.load
    }

    pub(super) fn seen(&self) -> Seen {
        self.notes.seen.lock().unwrap().clone()
    }

    /// Waits until it was seen.
    pub(super) async fn until(&self, right: impl Fn(&Seen) -> bool) {
        let waiting = async {
            loop {
                let changed = self.notes.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if right(&self.notes.seen.lock().unwrap()) {
                    return;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(waited.is_ok(), "not seen within 10 s: {:?}", self.seen());
    }

    pub(super) fn release_slow(&self) {
        self.slow.notify_one();
    }

    /// Makes each answer the last one of its connection.
    pub(super) fn closing(&self) {
        self.edge.closing.begin();
    }

    /// Waits until clients cannot connect any more.
    pub(super) async fn until_port_closed(&self) {
        let waiting = async {
            while TcpStream::connect(self.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the port is closed within 10 s");
    }

    pub(super) fn shut_down(&self) {
        self.down.send(true).unwrap();
    }

    pub(super) async fn client(&self) -> Client<TcpStream> {
        Client::connect(self.address).await
    }

    pub(super) async fn client_from(&self, local: SocketAddr) -> Client<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(local).unwrap();
        Client { stream: socket.connect(self.address).await.unwrap(), unread: Vec::new() }
    }
}

/// Forwards everything to the endpoint.
pub(super) struct Forward {
    endpoint: SocketAddr,
    notes: Arc<Notes>,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        let connection = connection_of(session).expect("the request came through the edge");
        self.notes.note(|seen| {
            seen.requests += 1;
            seen.clients.insert(connection.client);
            seen.connections_of_requests.insert(connection.id);
            seen.snis.push(connection.tls.as_ref().map(|tls| tls.sni.to_string()));
            seen.handed.extend(connection.take_handed::<u64>());
        });
        assert_eq!(
            session.client_addr().and_then(|address| address.as_inet()).map(|address| address.to_string()),
            Some(connection.client.to_string())
        );
        if session.req_header().uri.path() == "/early" {
            session.respond_error(413).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        (): &mut (),
    ) -> pingora::Result<()> {
        let connection = connection_of(session).expect("the request came through the edge");
        if connection.is_closing() {
            session.set_keepalive(None);
        }
        if head.status == 101 {
            connection.begin_tunnel();
        }
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.endpoint, false, String::new())))
    }
}

/// Reads the first head of each connection, leaves a number, and hands the request over.
struct Reader<L> {
    next: L,
    count: AtomicU64,
}

impl<L: Lane> Lane for Reader<L> {
    async fn serve(&self, mut stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        let head = stream.next_head(&mut shutdown.clone()).await.unwrap();
        assert!(stream.unread()[..head.len].starts_with(b"GET /first "));
        stream.connection().hand_over(self.count.fetch_add(1, Ordering::Relaxed));
        self.next.serve(stream, shutdown).await;
    }
}

/// A stream with nothing behind it, its client, and what must stay alive.
pub(super) async fn lone_stream(limits: Limits) -> (EdgeStream, TcpStream, Arc<Edge>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, peer) = listener.accept().await.unwrap();
    let edge = Arc::new(Edge::new(limits, Arc::new(())));
    let connection = Connection::new(1, 0, (peer, peer), None, ClientProtocol::Http1, Arc::clone(&edge.closing));
    let connection = Arc::new(connection);
    (EdgeStream::new(Transport::Plain(tcp), connection, Arc::clone(&edge)), client, edge)
}

// --- the endpoint ----------------------------------------------------------------------------------------------------

async fn endpoint(slow: Arc<Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let slow = Arc::clone(&slow);
            tokio::spawn(answer(Client { stream: tcp, unread: Vec::new() }, slow));
        }
    });
    address
}

/// Says what it was asked, in the first words of the path.
async fn answer(mut gateway: Client<TcpStream>, slow: Arc<Notify>) -> std::io::Result<()> {
    loop {
        let Some(head) = gateway.maybe_head().await else { return Ok(()) };
        let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        match line.split_once('/').unwrap().1 {
            "slow" => slow.notified().await,
            "continue" => gateway.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?,
            "tunnel" => {
                gateway
                    .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
                    .await;
                let (mut read, mut write) = gateway.stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                return Ok(());
            }
            "endless" => {
                gateway.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
                loop {
                    gateway.stream.write_all(&[b'x'; 65_536]).await?;
                }
            }
            _ => {}
        }
        let body = gateway.body(&head).await;
        let text = if line.ends_with("/echo") { body } else { format!("{line} {}", body.len()).into_bytes() };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
        gateway.stream.write_all(&[head.as_bytes(), &text].concat()).await?;
    }
}

// --- a peer that reads and writes messages ---------------------------------------------------------------------------

pub(super) struct Client<S> {
    pub(super) stream: S,
    unread: Vec<u8>,
}

impl Client<TcpStream> {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub(super) fn split(&mut self) -> (Client<tokio::net::tcp::ReadHalf<'_>>, tokio::net::tcp::WriteHalf<'_>) {
        let (read, write) = self.stream.split();
        (Client { stream: read, unread: Vec::new() }, write)
    }
}

impl<S: AsyncWriteExt + Unpin> Client<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }
}

impl<S: AsyncReadExt + Unpin> Client<S> {
    /// A head and the body that belongs to it.
    pub(super) async fn response(&mut self) -> (String, Vec<u8>) {
        let head = self.head().await;
        let body = self.body(&head).await;
        (head, body)
    }

    pub(super) async fn head(&mut self) -> String {
        self.maybe_head().await.expect("a head, not the end")
    }

    async fn maybe_head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.read_more().await == 0 {
                assert!(self.unread.is_empty(), "ends within a head: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        Some(String::from_utf8(self.unread.drain(..end).collect()).unwrap())
    }

    async fn body(&mut self, head: &str) -> Vec<u8> {
        let lower = head.to_ascii_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            return self.chunks().await;
        }
        let length =
            lower.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        self.exactly(length).await
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(self.exactly(1).await);
            }
            let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            body.extend(self.exactly(size).await);
            assert_eq!(self.exactly(2).await, b"\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    pub(super) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert_ne!(self.read_more().await, 0, "ends within a body");
        }
        self.unread.drain(..length).collect()
    }

    /// Everything until the other side closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        while self.read_more().await > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// As `rest`, where the other side may go without a word.
    pub(super) async fn rest_or_reset(&mut self) -> Vec<u8> {
        let reading = self.stream.read_to_end(&mut self.unread);
        let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the end within 10 s");
        std::mem::take(&mut self.unread)
    }

    async fn read_more(&mut self) -> usize {
        let reading = self.stream.read_buf(&mut self.unread);
        match tokio::time::timeout(Duration::from_secs(10), reading).await.expect("something within 10 s") {
            Ok(read) => read,
            Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&self.unread)),
        }
    }
}
