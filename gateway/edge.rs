//! Where clients come in: the accept loop and the transport below every lane.
//!
//! pingora's own listeners leave gaps (no deadline over a whole head, no idle limit, constants for head sizes, no PROXY
//! protocol on plain listeners, answers that no callback sees), so Weir accepts connections itself and gives pingora a
//! stream of its own:
//!
//! ```text
//! accept ── PROXY protocol ── caps ── TLS ── EdgeStream ── Lane
//! ```
//! - [`accept`]: sockets, the loop, what a connection passes before a lane sees it
//! - `idle`, `spare`: the bounds of a wait for a request, and the memory that its head takes
//! - [`stream`]: [`EdgeStream`], with one buffer each way that exists only while there is something in it
//! - `transport`: the socket below, with or without TLS, and how it is left
//! - `readable`, [`chunks`]: the end of a request
//! - `half_closed`: clients that have ended their side
//! - `writer`: the way out, gathered into few writes
//! - [`head`]: the request head of HTTP/1, as the transport looks at it
//! - [`refuse`]: the answer to a client that no lane has seen
//! - [`connection`]: the facts of a connection, reachable from every request on it
//! - [`client_side`]: the client's side of a request, and what is waited for there
//! - [`pace`]: limits on slow clients
//! - [`load`]: counts of connections and requests, with their caps; draining waits for them
//! - [`closing`]: the shutdown as clients see it
//! - [`tls`]: certificates by SNI, swapped while running
//! - [`proxy_protocol`]: the client's address, from a load balancer in front
//! - [`proxied`]: the lane that pingora serves; its deadlines for endpoints, and its HTTP/2 streams
//!
//! Nothing here knows functions, versions or routes.

pub mod accept;
pub mod chunks;
pub mod client_side;
pub mod closing;
pub mod connection;
mod half_closed;
pub mod head;
mod idle;
pub mod load;
pub mod pace;
pub mod proxied;
pub mod proxy_protocol;
mod readable;
pub mod refuse;
mod spare;
pub mod stream;
pub mod tls;
mod transport;
mod writer;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::os::fd::RawFd;
use std::sync::Arc;

use config::model::Limits;
use ipnet::IpNet;
use tokio::sync::watch;

pub use crate::policy::refusal::Refusal;

pub use accept::{bind, serve_listener};
pub use client_side::ClientSide;
pub use closing::Closing;
pub use connection::{ClientProtocol, Connection, Tls};
pub use idle::IdleWait;
pub use load::Load;
pub use pace::TooSlow;
pub use proxied::deadline::{Cut, Fault, Phase, Silences, UPLOAD, Watch};
pub use refuse::RefusedHead;
pub use spare::SpareBuffer;
pub use stream::EdgeStream;

/// Turns true when the gateway stops.
pub type ShutdownWatch = watch::Receiver<bool>;

/// What serves a connection.
///
/// A lane takes the connection over for its whole life. When `shutdown` turns true it ends what is idle after a last call
/// (see [`closing`]) and lets the requests in flight finish.
///
/// It stays on one thread with all of its connections, so that what they share needs no locks.
pub trait Lane: 'static {
    /// Serves every request of one connection; ends when the connection is over.
    fn serve(&self, stream: Box<EdgeStream>, shutdown: &ShutdownWatch) -> impl Future<Output = ()>;
}

/// Is told what happens at the edge. Called on the data path: nothing here may block.
pub trait Observer: Send + Sync + 'static {
    /// A connection is ready for requests. `listener` is its index in the settings.
    fn opened(&self, _listener: usize, _protocol: ClientProtocol) {}
    /// A connection that was opened is over.
    fn closed(&self, _listener: usize, _protocol: ClientProtocol) {}
    /// The transport turned a client, or one of its requests, away.
    fn refused(&self, _refusal: Refusal) {}
    /// The transport refused the head of a request, and answered it. Called after [`refused`](Self::refused).
    fn refused_head(&self, _head: &RefusedHead<'_>) {}
    /// A TLS handshake ended; a failed one is also refused.
    fn handshake(&self, _outcome: Result<(), Refusal>) {}
}

/// An observer that looks away.
impl Observer for () {}

/// What all listeners share. One per process.
pub struct Edge {
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// Who is here.
    pub load: Arc<Load>,
    /// The switch that makes each answer the last one of its connection.
    pub closing: Arc<Closing>,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// The first descriptor that no client may take: this one and higher ones are others' reserve.
    pub reserved_from: RawFd,
}

impl Edge {
    /// An edge where nobody is yet.
    #[must_use]
    pub fn new(limits: Limits, observer: Arc<dyn Observer>) -> Self {
        let load = Arc::new(Load::new(&limits));
        Self { limits, load, closing: Arc::default(), observer, reserved_from: RawFd::MAX }
    }

    /// The same with a reserve of descriptors for others.
    #[must_use]
    pub fn reserving(self, reserved_from: RawFd) -> Self {
        Self { reserved_from, ..self }
    }
}

/// One listener, as all its workers see it.
pub struct Entrance {
    /// Index of the listener in the settings.
    pub listener: usize,
    /// TLS settings (see [`tls::server_config`]); `None` on a plain listener.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Peers that must send a PROXY protocol header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// What all listeners share.
    pub edge: Arc<Edge>,
}
