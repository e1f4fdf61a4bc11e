//! A scripted endpoint on loopback: it records the exact bytes of every request, says who it is, and can misbehave.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::Socket;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::wire::{Body, Head, Unframed, Wire};
use super::{eventually, within};

/// What an endpoint does with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// 200 with the endpoint's name as body and in `x-endpoint`.
    Name,
    /// Exactly these bytes; the connection stays.
    Raw(Vec<u8>),
    /// Exactly these bytes, then the end of the connection.
    RawThenClose(Vec<u8>),
    /// These parts one after another, each when the semaphore gives a permit; the connection stays.
    Parts(Vec<Vec<u8>>, Arc<Semaphore>),
    /// 200 with the request's body.
    Echo,
    /// `100 Continue`, then the request's body, then 200 with its length.
    Continue,
    /// 101, then every byte back.
    WebSocket,
    /// 101, and a reset at the first bytes behind it.
    BrokenTunnel,
    /// The first answer, so much later.
    Later(Duration, Box<Answer>),
    /// Each of these in turn, over all connections, and again from the first.
    Cycle(Vec<Answer>, Arc<AtomicUsize>),
    /// Never.
    Hang,
    /// The connection is reset.
    Reset,
    /// One after another, request by request; the last one from then on.
    Turns(Arc<Mutex<Vec<Answer>>>),
}

impl Answer {
    pub(crate) fn turns(mut answers: Vec<Self>) -> Self {
        answers.reverse();
        Self::Turns(Arc::new(Mutex::new(answers)))
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The head's exact bytes.
    pub(crate) raw: Vec<u8>,
    pub(crate) head: Head,
    pub(crate) body: Body,
}

impl Seen {
    /// The target of the request line.
    pub(crate) fn target(&self) -> &str {
        self.head.start.split(' ').nth(1).unwrap_or_default()
    }
}

struct Shared {
    name: String,
    /// By target without its query; others are answered by name.
    script: Mutex<HashMap<String, Answer>>,
    seen: Mutex<Vec<Seen>>,
    /// Bytes that were no request.
    strays: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
}

/// A listening endpoint. Dropping it closes the listener and every connection.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Endpoint {
    /// Answers everything by name until [`on`](Self::on) says otherwise.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_at(name, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same on a certain address.
    pub(crate) async fn start_at(name: &str, address: SocketAddr) -> Self {
        Self::listen(name, address, None).await
    }

    /// The same over TLS.
    pub(crate) async fn start_tls(name: &str, config: Arc<rustls::ServerConfig>) -> Self {
        Self::listen(name, SocketAddr::from(([127, 0, 0, 1], 0)), Some(config.into())).await
    }

    async fn listen(name: &str, address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
        socket.set_reuseaddr(true).expect("a socket takes options");
        socket.bind(address).expect("a loopback port is free");
        // Room for a burst: a connection that finds none takes a second, which ends `timeouts.connect`.
        let listener = socket.listen(4096).expect("a bound socket listens");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            name: name.into(),
            script: Mutex::default(),
            seen: Mutex::default(),
            strays: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, tls, shared.clone()));
        Self { address, shared, accepting }
    }

    /// What a target (without its query) gets from now on.
    pub(crate) fn on(&self, target: &str, answer: Answer) {
        self.shared.script.lock().expect("no test panics with the lock").insert(target.into(), answer);
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no test panics with the lock").clone()
    }

    /// The request with this exact target, as soon as it is there.
    pub(crate) async fn saw(&self, target: &str) -> Seen {
        let find = async || self.seen().into_iter().find(|seen| seen.target() == target);
        eventually(&format!("{} gets {target}", self.shared.name), find).await
    }

    /// Bytes that came where a request should have begun.
    pub(crate) fn strays(&self) -> Vec<Vec<u8>> {
        self.shared.strays.lock().expect("no test panics with the lock").clone()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

/// A port of loopback where nobody listens: connecting is refused.
pub(crate) async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address")
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("loopback accepts");
        stream.set_nodelay(true).expect("loopback has no-delay");
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let (shared, tls) = (shared.clone(), tls.clone());
        // How a connection ends is the client's business; what came over it is recorded.
        connections.spawn(async move {
            // Kept apart for a reset: a socket that is closed with linger zero sends RST.
            let socket = socket2::SockRef::from(&stream).try_clone()?;
            let wire = match tls {
                Some(tls) => Wire::new(tls.accept(stream).await?),
                None => Wire::new(stream),
            };
            serve(wire, &socket, &shared).await
        });
    }
}

async fn serve(mut wire: Wire, socket: &Socket, shared: &Shared) -> io::Result<()> {
    while let Some(raw) = wire.take_through(b"\r\n\r\n").await? {
        let Some(head) = Head::parse(&raw).filter(|head| head.start.ends_with(" HTTP/1.1")) else {
            shared.strays.lock().expect("no test panics with the lock").push(raw);
            return Ok(());
        };
        let target = head.start.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let answer = shared.script.lock().expect("no test panics with the lock").get(path).cloned();
        let answer = answer.unwrap_or(Answer::Name);
        if matches!(answer, Answer::Continue) {
            wire.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = wire.body(&head, Unframed::Empty).await?;
        let seen = Seen { raw, head, body };
        shared.seen.lock().expect("no test panics with the lock").push(seen.clone());
        if !respond(&mut wire, answer, &seen, shared, socket).await? {
            return Ok(());
        }
    }
    Ok(())
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// Whether the connection stays.
async fn respond(wire: &mut Wire, answer: Answer, seen: &Seen, shared: &Shared, socket: &Socket) -> io::Result<bool> {
    match answer {
        Answer::Name => wire.stream.write_all(&ok(&shared.name, shared.name.as_bytes())).await?,
        Answer::Echo => wire.stream.write_all(&ok(&shared.name, &seen.body.bytes)).await?,
        Answer::Continue => {
            wire.stream.write_all(&ok(&shared.name, seen.body.bytes.len().to_string().as_bytes())).await?;
        }
        Answer::Raw(bytes) => wire.stream.write_all(&bytes).await?,
        Answer::RawThenClose(bytes) => {
            wire.stream.write_all(&bytes).await?;
            wire.stream.shutdown().await?;
            return Ok(false);
        }
        Answer::Parts(parts, permits) => {
            for part in parts {
                permits.acquire().await.expect("nobody closes the semaphore").forget();
                wire.stream.write_all(&part).await?;
                wire.stream.flush().await?;
            }
        }
        Answer::BrokenTunnel => {
            wire.stream.write_all(SWITCH.as_bytes()).await?;
            wire.stream.flush().await?;
            wire.more().await?;
            socket.set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        Answer::WebSocket => {
            wire.stream.write_all(SWITCH.as_bytes()).await?;
            loop {
                let bytes = std::mem::take(&mut wire.unread);
                wire.stream.write_all(&bytes).await?;
                wire.stream.flush().await?;
                if wire.more().await? == 0 {
                    return Ok(false);
                }
            }
        }
        Answer::Later(pause, answer) => {
            tokio::time::sleep(pause).await;
            return Box::pin(respond(wire, *answer, seen, shared, socket)).await;
        }
        Answer::Cycle(answers, turn) => {
            let answer = answers[turn.fetch_add(1, Ordering::SeqCst) % answers.len()].clone();
            return Box::pin(respond(wire, answer, seen, shared, socket)).await;
        }
        Answer::Hang => std::future::pending().await,
        Answer::Turns(left) => {
            let next = {
                let mut left = left.lock().expect("no test panics with the lock");
                if left.len() > 1 { left.pop() } else { left.last().cloned() }
            };
            return Box::pin(respond(wire, next.expect("there is a last one"), seen, shared, socket)).await;
        }
        Answer::Reset => {
            socket.set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
    }
    wire.stream.flush().await?;
    Ok(true)
}

/// A 200 with a length.
pub(crate) fn ok(name: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nx-endpoint: {name}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn the_endpoint_records_what_came() {
    let endpoint = Endpoint::start("v1").await;
    let mut wire = Wire::new(tokio::net::TcpStream::connect(endpoint.address).await.unwrap());
    wire.stream.write_all(b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    wire.stream.write_all(b"3\r\nabc\r\n0\r\n\r\n0\r\n\r\n").await.unwrap();
    let head = within("an answer", wire.take_through(b"\r\n\r\n")).await.unwrap().unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\nx-endpoint: v1\r\n"));
    let seen = endpoint.saw("/a").await;
    assert_eq!((seen.body.raw.as_slice(), seen.body.bytes.as_slice()), (&b"3\r\nabc\r\n0\r\n\r\n"[..], &b"abc"[..]));
    eventually("the second terminator is a stray", async || endpoint.strays().pop().filter(|s| s == b"0\r\n\r\n"))
        .await;
}

#[tokio::test]
async fn the_endpoint_resets() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/", Answer::Reset);
    let mut wire = Wire::new(tokio::net::TcpStream::connect(endpoint.address).await.unwrap());
    wire.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let end = within("the end", wire.more()).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
