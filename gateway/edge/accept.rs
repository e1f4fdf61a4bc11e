//! Listening sockets, the accept loop, and what a connection passes before a lane sees it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use super::closing::last_call;
use super::load::Admission;
use super::refuse::RefusalResponse;
use super::transport::{Remains, Transport};
use super::{ClientProtocol, Connection, EdgeStream, Entrance, Lane, Refusal, ShutdownWatch, Tls, proxy_protocol, tls};

/// Connections that may wait to be accepted; the kernel has its own cap (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// First and longest wait after a failed accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// One listening socket per worker on one address. With port 0 the system chooses a port, the same for all.
///
/// # Errors
/// When somebody else listens there already, even another process that would share the port, or the address is not ours.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    // The first socket is bound without sharing, which fails if anybody is there. Only then is the port shared.
    let first = socket(address).and_then(|socket| {
        socket.bind(&address.into())?;
        socket.set_reuse_port(true)?;
        Ok(socket)
    });
    let first = first.map_err(explain)?;
    let chosen = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..workers {
        let socket = socket(chosen)?;
        socket.set_reuse_port(true)?;
        socket.bind(&chosen.into()).map_err(explain)?;
        sockets.push(socket);
    }
    for socket in &sockets {
        socket.listen(BACKLOG).map_err(explain)?;
    }
    Ok(sockets.into_iter().map(Into::into).collect())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a process before us, on their way out, do not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Accepts connections and serves each by `lane`, until `shutdown` turns true; those that are established by then are
/// served too. Runs on the worker that calls it, a [`LocalRuntime`](tokio::runtime::LocalRuntime); so do the connections, which
/// outlive this call.
///
/// # Errors
/// When the socket cannot be registered with the runtime.
pub async fn serve_listener<L: Lane>(
    listener: std::net::TcpListener,
    lane: Rc<L>,
    entrance: Arc<Entrance>,
    mut shutdown: ShutdownWatch,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = shutdown.clone();
    let mut wait = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            biased;
            // A watch whose sender is gone ends it too.
            _ = shutdown.wait_for(|down| *down) => {
                entrance.edge.closing.begin();
                return take_the_last(listener, &lane, &entrance, &connections);
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                wait = BACK_OFF.0;
                welcome(tcp, peer, &lane, &entrance, &connections);
            }
            // The client left while it was waiting; the next one may be fine.
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                log::warn!("accept on listener {} failed, next try in {wait:?}: {error}", entrance.listener);
                entrance.edge.observer.refused(Refusal::Accept);
                tokio::select! {
                    // The loop sees it first.
                    _ = shutdown.wait_for(|down| *down) => {}
                    () = tokio::time::sleep(wait) => {}
                }
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Takes the connections that the system has accepted already: closing the listener would reset them.
fn take_the_last<L: Lane>(
    listener: TcpListener,
    lane: &Rc<L>,
    entrance: &Arc<Entrance>,
    shutdown: &ShutdownWatch,
) -> io::Result<()> {
    let listener = listener.into_std()?;
    for _ in 0..BACKLOG {
        match listener.accept() {
            Ok((tcp, peer)) => {
                tcp.set_nonblocking(true)?;
                welcome(TcpStream::from_std(tcp)?, peer, lane, entrance, shutdown);
            }
            Err(error) if is_of_the_client(&error) => {}
            // No other connection waits, or the system gives no more.
            Err(_) => break,
        }
    }
    Ok(())
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn welcome<L: Lane>(
    tcp: TcpStream,
    peer: SocketAddr,
    lane: &Rc<L>,
    entrance: &Arc<Entrance>,
    shutdown: &ShutdownWatch,
) {
    match entrance.edge.load.admit() {
        // The system gives out the lowest descriptor that is free: all below the reserve are taken.
        Ok(_) if tcp.as_raw_fd() >= entrance.edge.reserved_from => turn_away(&tcp, Refusal::Connections, entrance),
        Ok(admission) => {
            let (lane, entrance, shutdown) = (Rc::clone(lane), Arc::clone(entrance), shutdown.clone());
            tokio::task::spawn_local(async move {
                serve_connection(tcp, peer, &*lane, &entrance, shutdown, admission).await
            });
        }
        Err(refusal) => turn_away(&tcp, refusal, entrance),
    }
}

/// Says why, if that can be said at once, and hangs up.
fn turn_away(tcp: &TcpStream, refusal: Refusal, entrance: &Entrance) {
    entrance.edge.observer.refused(refusal);
    if entrance.tls.is_none()
        && let Some(response) = RefusalResponse::of(refusal)
    {
        // A fresh socket has room for it. What the client has sent is taken, or closing would reset the connection and the
        // answer with it. If any of this fails, the client is just gone.
        let _ = tcp.try_write(&response.bytes);
        let _ = socket2::SockRef::from(tcp).shutdown(std::net::Shutdown::Write);
        let _ = tcp.try_read(&mut [0; 4096]);
    }
}

async fn serve_connection<L: Lane>(
    mut tcp: TcpStream,
    peer: SocketAddr,
    lane: &L,
    entrance: &Entrance,
    shutdown: ShutdownWatch,
    mut admission: Admission,
) {
    let edge = &entrance.edge;
    // Without it answers are only slower.
    let _ = tcp.set_nodelay(true);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let deadline = Instant::now() + edge.limits.head_timeout;
    let client = if entrance.proxy_protocol_from.iter().any(|net| net.contains(&peer.ip())) {
        // Boxed, here and below: what a connection needs once shall not be part of its task for ever.
        match timeout_at(deadline, Box::pin(proxy_protocol::read(&mut tcp))).await {
            Ok(Ok(client)) => client.unwrap_or(peer),
            Ok(Err(_)) | Err(_) => return edge.observer.refused(Refusal::ProxyProtocol),
        }
    } else {
        peer
    };
    if let Err(refusal) = admission.count_address(client.ip()) {
        return turn_away(&tcp, refusal, entrance);
    }
    let Some((transport, tls, protocol)) = Box::pin(secure(tcp, deadline, entrance, &shutdown)).await else { return };
    let id = edge.load.next_id();
    let connection =
        Arc::new(Connection::new(id, entrance.listener, (peer, client), tls, protocol, Arc::clone(&edge.closing)));
    let stream = Box::new(EdgeStream::new(transport, connection, Arc::clone(edge)));
    let _open = Open::new(entrance, protocol);
    lane.serve(stream, &shutdown).await;
}

/// Makes the TLS handshake, on listeners that want one.
async fn secure(
    tcp: TcpStream,
    deadline: Instant,
    entrance: &Entrance,
    shutdown: &ShutdownWatch,
) -> Option<(Transport, Option<Tls>, ClientProtocol)> {
    let Some(config) = &entrance.tls else { return Some((Transport::Plain(tcp), None, ClientProtocol::Http1)) };
    let mut shutdown = shutdown.clone();
    let outcome = tokio::select! {
        biased;
        outcome = timeout_at(deadline, handshake(tcp, config)) => outcome.unwrap_or(Err(Refusal::HandshakeTimeout)),
        () = last_call(&mut shutdown) => return None,
    };
    let observer = &entrance.edge.observer;
    match outcome {
        Ok((stream, tls, protocol)) => {
            observer.handshake(Ok(()));
            Some((Transport::Tls(Box::new(stream)), Some(tls), protocol))
        }
        Err(refusal) => {
            observer.handshake(Err(refusal));
            observer.refused(refusal);
            None
        }
    }
}

/// The handshake, unless the client speaks HTTP without TLS: it is told so in HTTP.
async fn handshake(
    tcp: TcpStream,
    config: &Arc<ServerConfig>,
) -> Result<(TlsStream<TcpStream>, Tls, ClientProtocol), Refusal> {
    let mut first = [0];
    let seen = tcp.peek(&mut first).await.map_err(|_| Refusal::Handshake)?;
    // A method begins with a letter, a TLS record with its type: 22 for a handshake.
    if seen == 0 || !first[0].is_ascii_alphabetic() {
        return tls::accept(tcp, config).await;
    }
    if let Some(response) = RefusalResponse::of(Refusal::PlainOnTls) {
        Remains::before(Transport::Plain(tcp), response.bytes).linger().await;
    }
    Err(Refusal::PlainOnTls)
}

/// An open connection, as the observer sees it.
struct Open<'a>(&'a Entrance, ClientProtocol);

impl<'a> Open<'a> {
    fn new(entrance: &'a Entrance, protocol: ClientProtocol) -> Self {
        entrance.edge.observer.opened(entrance.listener, protocol);
        Self(entrance, protocol)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.edge.observer.closed(self.0.listener, self.1);
    }
}
