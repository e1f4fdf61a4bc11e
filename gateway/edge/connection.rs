//! What is known about a client connection, reachable from every request on it.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::proxied::deadline::Deadlines;
use super::proxied::http2::Streams;
use super::transport::Remains;
use super::{ClientSide, Closing};

/// The protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientProtocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, agreed on by ALPN.
    Http2,
}

impl ClientProtocol {
    /// The value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// What the TLS handshake agreed on.
#[derive(Debug)]
pub struct Tls {
    /// Server name that the client asked for, lower case: a request for a host under another certificate is misdirected.
    pub sni: Box<str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its registered name.
    pub cipher: &'static str,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// Index of the listener in the settings.
    pub listener: usize,
    /// Who is at the other end of the socket.
    pub peer: SocketAddr,
    /// The client: what a PROXY protocol header said, else the peer.
    pub client: SocketAddr,
    /// TLS, if there is any.
    pub tls: Option<Tls>,
    /// The protocol spoken.
    pub protocol: ClientProtocol,
    pub(super) deadlines: Deadlines,
    pub(super) streams: Streams,
    /// The client's side of the request under way; each stream of HTTP/2 has its own.
    pub(super) client_side: Arc<ClientSide>,
    closing: Arc<Closing>,
    half_closed: AtomicBool,
    endless: AtomicBool,
    tunnel: AtomicBool,
    handed: Mutex<Option<Box<dyn Any + Send>>>,
    /// The target of the request at hand as it was received, where lanes see another form of it.
    target: Mutex<Option<Box<[u8]>>>,
    /// The time from the first byte of the head of the request at hand to its last, in microseconds.
    head_micros: AtomicU32,
    /// An answer that takes the place of one of which nothing was sent.
    substitute: Mutex<Option<Vec<u8>>>,
    remains: Mutex<Option<Remains>>,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        listener: usize,
        (peer, client): (SocketAddr, SocketAddr),
        tls: Option<Tls>,
        protocol: ClientProtocol,
        closing: Arc<Closing>,
    ) -> Self {
        Self {
            id,
            listener,
            peer,
            client,
            tls,
            protocol,
            deadlines: Deadlines::default(),
            streams: Streams::default(),
            client_side: Arc::default(),
            closing,
            half_closed: AtomicBool::new(false),
            endless: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            handed: Mutex::default(),
            target: Mutex::default(),
            head_micros: AtomicU32::new(0),
            substitute: Mutex::default(),
            remains: Mutex::default(),
        }
    }

    /// The client's side of the request under way on an HTTP/1 connection.
    #[must_use]
    pub fn client_side(&self) -> &Arc<ClientSide> {
        &self.client_side
    }

    /// True when the response in the making is the last one, and should say so: the gateway is closing, or the client has
    /// ended its side.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.has_begun() || self.half_closed.load(Ordering::Relaxed)
    }

    /// Marks the answer in the making as one without an end of its own, such as an event stream. A client of HTTP/1 that ends
    /// its side during such an answer is taken to have left: the next write, which would tell, may be long in coming.
    pub fn begin_endless_answer(&self) {
        self.endless.store(true, Ordering::Relaxed);
    }

    pub(super) fn answer_is_endless(&self) -> bool {
        self.endless.load(Ordering::Relaxed)
    }

    /// Marks the answer in the making as one that changes the protocol (101): what the client sent behind its request, and
    /// all it sends from now on, is read as it comes.
    pub fn begin_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Relaxed)
    }

    /// The client has ended its side after its last request.
    pub(super) fn half_closed(&self) {
        self.half_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn request_done(&self) {
        self.endless.store(false, Ordering::Relaxed);
    }

    /// Leaves something for the lane that takes the request over: what was resolved is not resolved twice.
    pub fn hand_over<T: Send + 'static>(&self, value: T) {
        *lock(&self.handed) = Some(Box::new(value));
    }

    /// Takes what the lane before left for this request.
    pub fn take_handed<T: 'static>(&self) -> Option<T> {
        let mut handed = lock(&self.handed);
        if handed.as_ref()?.is::<T>() { handed.take()?.downcast().ok().map(|value| *value) } else { None }
    }

    pub(super) fn keep_target(&self, received: &[u8]) {
        *lock(&self.target) = Some(received.into());
    }

    pub(super) fn head_took(&self, time: Duration) {
        self.head_micros.store(u32::try_from(time.as_micros()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The time from the first byte of the head of the request at hand to its last; 0 over HTTP/2.
    #[must_use]
    pub fn head_time(&self) -> Duration {
        Duration::from_micros(self.head_micros.load(Ordering::Relaxed).into())
    }

    /// Takes the target of the request at hand as it was received; `None` when it is the one that the lane sees.
    #[must_use]
    pub fn take_received_target(&self) -> Option<Box<[u8]>> {
        lock(&self.target).take()
    }

    /// Sends `answer`, a whole response of HTTP/1.1 that ends the connection, in the place of one that an engine has written
    /// and that is still [unsent](ClientSide::is_answered).
    pub fn substitute(&self, answer: Vec<u8>) {
        *lock(&self.substitute) = Some(answer);
    }

    pub(super) fn take_substitute(&self) -> Option<Vec<u8>> {
        lock(&self.substitute).take()
    }

    pub(super) fn leave_remains(&self, remains: Remains) {
        *lock(&self.remains) = Some(remains);
    }

    pub(super) fn take_remains(&self) -> Option<Remains> {
        lock(&self.remains).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only whole values are put in and taken out.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
