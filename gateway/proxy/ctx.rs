//! What a request carries from hook to hook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use crate::clock;
use crate::edge::{Connection, Cut, HeadWait};
use crate::live::{Served, Way};
use crate::log::EndReason;
use crate::outcomes::StandIn;
use crate::policy::forwarded::Origin;
use crate::policy::headers::RequestId;
use crate::upstreams::{Pick, Tried};

/// One request, from its head to its line in the access log.
pub struct Ctx {
    pub(super) started: Instant,
    /// Which worker serves it.
    pub(super) worker: usize,
    pub(super) connection: Option<Arc<Connection>>,
    /// Port of the listener.
    pub(super) port: u16,
    pub(super) origin: Option<Origin>,
    pub(super) id: Option<RequestId>,
    /// Its way in; unset when it has none.
    pub(super) way: Option<Way>,
    /// Set once, by the one resolve of the request. The shield puts the spare into the place of the version.
    pub(super) served: Option<Served>,
    /// While a spare answers for a version that failed the request, which is charged with that already.
    pub(super) stand_in: Option<StandIn>,
    pub(super) attempt: Attempt,
    /// Attempts made.
    pub(super) attempts: u32,
    /// Of them, those at a version in whose place another one answers now.
    pub(super) attempts_before: u32,
    pub(super) tried: Tried,
    /// Bytes of the request's body so far.
    pub(super) body_bytes: u64,
    /// Bytes of the answer's body so far.
    pub(super) sent_bytes: u64,
    /// The status of the gRPC call that is being answered, as far as it is known.
    pub(super) grpc: Option<u16>,
    /// From the request's head to the head of the answer.
    pub(super) first_byte: Option<Duration>,
    /// Counted while a long-lived answer is under way.
    pub(super) stream: Option<OpenStream>,
    /// Why it ended as it did, as far as that is known.
    pub(super) end: Option<EndReason>,
}

/// The attempt under way, or the last one.
#[derive(Default)]
pub(super) struct Attempt {
    pub(super) pick: Option<Pick>,
    pub(super) began: Option<Instant>,
    pub(super) connect: Option<Duration>,
    pub(super) answer: Option<Duration>,
    pub(super) reused: bool,
    pub(super) status: Option<u16>,
    /// Where the wait for the head can be cut.
    pub(super) cut: Option<Cut>,
    /// From the request's last byte to the head of the answer.
    pub(super) wait: Option<HeadWait>,
}

impl Ctx {
    pub(super) fn new(worker: usize) -> Self {
        Self {
            started: clock::now(),
            worker,
            connection: None,
            port: 0,
            origin: None,
            id: None,
            way: None,
            served: None,
            stand_in: None,
            attempt: Attempt::default(),
            attempts: 0,
            attempts_before: 0,
            tried: Tried::default(),
            body_bytes: 0,
            sent_bytes: 0,
            grpc: None,
            first_byte: None,
            stream: None,
            end: None,
        }
    }

    /// Whether the client's connection is under TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.tls.is_some())
    }

    pub(super) fn request_id(&self) -> &[u8] {
        self.id.as_ref().map_or(b"", RequestId::as_bytes)
    }
}

/// A long-lived exchange, counted until it is dropped.
pub(super) struct OpenStream(IntGauge);

impl OpenStream {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Attempt {
    pub(super) fn connected(&mut self, reused: bool) {
        self.reused = reused;
        self.connect = self.began.filter(|_| !reused).map(|began| began.elapsed());
    }
}
