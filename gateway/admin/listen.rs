//! Where the admin API listens: TCP with or without TLS, or a Unix socket of mode 0600.

use std::convert::Infallible;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::Response;
use config::model::AdminListener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::auth::Peer;
use super::connections::{Connection, Connections, Place, State, Watched};
use super::events;
use super::taken::taken;

/// For a TLS handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an `accept` that failed for want of resources.
const PAUSE: Duration = Duration::from_millis(100);

/// An open listener.
pub struct Listener {
    socket: Bound,
    tls: Option<TlsAcceptor>,
    local: bool,
    /// How many connections it may have.
    pub room: usize,
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, OwnPath),
}

/// The path of a socket that goes with the listener.
struct OwnPath(PathBuf);

impl Drop for OwnPath {
    fn drop(&mut self) {
        // Another process may have cleared it away; then there is nothing to do.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Opens the socket. `tls` are the settings where the listener speaks TLS. Needs a runtime.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(at: &AdminListener, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let (socket, local) = match at {
            AdminListener::Tcp { address, .. } => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                (Bound::Tcp(TcpListener::from_std(listener)?), address.ip().is_loopback())
            }
            AdminListener::Socket(path) => (Bound::Unix(private(path)?, OwnPath(path.clone())), true),
        };
        Ok(Self { socket, tls: tls.map(TlsAcceptor::from), local, room: usize::MAX })
    }

    /// The same with at most so many connections at a time, if the API itself does not allow fewer.
    #[must_use]
    pub fn with_room_for(self, connections: usize) -> Self {
        Self { room: connections, ..self }
    }

    /// Where it is: `127.0.0.1:9900`, `10.0.0.1:9900 (https)` or `unix:/run/weir.sock`.
    ///
    /// # Errors
    /// When the system does not tell the address.
    pub fn name(&self) -> io::Result<String> {
        Ok(match (&self.socket, &self.tls) {
            (Bound::Tcp(listener), None) => listener.local_addr()?.to_string(),
            (Bound::Tcp(listener), Some(_)) => format!("{} (https)", listener.local_addr()?),
            (Bound::Unix(_, path), _) => format!("unix:{}", path.0.display()),
        })
    }

    /// Where hooks and people can answer; `None` of a Unix socket.
    ///
    /// # Errors
    /// When the system does not tell the address.
    pub fn url(&self) -> io::Result<Option<String>> {
        let Bound::Tcp(listener) = &self.socket else { return Ok(None) };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(Some(format!("{scheme}://{}", listener.local_addr()?)))
    }

    /// Answers by `router` until the runtime ends.
    pub async fn serve(self, router: Router, connections: Arc<Connections>) {
        loop {
            let accepted = match &self.socket {
                Bound::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                    let Some(place) = connections.enter() else { return };
                    let peer = Peer { address: Some(from.ip().to_canonical()), local: self.local };
                    tokio::spawn(over_tcp(stream, self.tls.clone(), peer, router.clone(), place));
                }),
                Bound::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    let Some(place) = connections.enter() else { return };
                    let peer = Peer { address: None, local: true };
                    tokio::spawn(exchange(stream, peer, router.clone(), place));
                }),
            };
            if let Err(error) = accepted {
                // What is silent makes room: the next one may be an operator.
                connections.end_silent();
                tracing::warn!("the admin listener could not take a connection: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn over_tcp(stream: tokio::net::TcpStream, tls: Option<TlsAcceptor>, peer: Peer, router: Router, place: Place) {
    let Some(tls) = tls else { return exchange(stream, peer, router, place).await };
    let connection = Arc::clone(&place.connection);
    let handshake = timeout(PATIENCE, tls.accept(Watched::new(stream, connection)));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = place.connection.must_leave() => return,
    };
    if let Ok(Ok(stream)) = shaken {
        exchange(stream, peer, router, place).await;
    }
}

/// One connection, request by request, until it ends or has to leave.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, router: Router, place: Place) {
    let router = TowerToHyperService::new(router);
    let connection = &place.connection;
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        connection.is_now(State::Asking);
        let asked = Asked(Arc::clone(connection));
        let answer = router.call(request);
        async move { Ok::<_, Infallible>(asked.answered(answer.await?)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let stream = TokioIo::new(Watched::new(stream, Arc::clone(connection)));
    tokio::select! {
        // What goes wrong here went wrong on the client's side.
        _ = http.serve_connection(stream, service) => {}
        () = connection.must_leave() => {}
    }
}

/// A connection with a request, until its client has taken the answer.
struct Asked(Arc<Connection>);

impl Asked {
    fn answered(self, answer: Response) -> Response {
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes() == events::EVENTS.as_bytes());
        self.0.is_now(if is_stream { State::Following } else { State::Taking });
        taken(answer, self)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.is_now(State::Free);
    }
}

/// A Unix socket that nobody but the user of this process can open, at any moment: its mode is set before it listens. A
/// socket that a process left behind is replaced, one that answers is not.
fn private(path: &Path) -> io::Result<UnixListener> {
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file there that is not a socket"));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into())
}
