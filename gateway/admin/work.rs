//! The places for requests in work: how many of each kind the admin API carries out at a time.
//!
//! Whoever changes things has places of their own, and what takes long to parse or to render runs on threads of its own: neither the
//! health of the gateway nor a rollback waits for somebody's reads.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connections::Connections;
use super::error::Failure;

/// The most connections, whatever the limit of open files.
const CONNECTIONS: usize = 256;
/// The fewest: enough for one request of each kind and somebody who waits.
const FEWEST: usize = 16;
/// Requests that are parsed or rendered at the same time, for those who read.
const LONG_READS: usize = 2;
/// The same for those who change something.
const LONG_CHANGES: usize = 1;
/// Bodies of more than [`LONG_BODY`] bytes that are held at the same time.
const LONG_BODIES: usize = 4;
/// A longer body takes long to parse.
pub(super) const LONG_BODY: usize = 64 << 10;
/// The longest wait of a request for its turn.
const TURN: Duration = Duration::from_secs(20);

/// The places of each kind.
pub(super) struct Work {
    pub(super) connections: Arc<Connections>,
    reads: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    most_streams: usize,
    long_reads: Arc<Semaphore>,
    long_changes: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

/// The kind of a request, by which it gets its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Health: it takes no place.
    Probe,
    /// Everything else that needs no token of an operator.
    Read,
    /// A change by somebody whose token allows it.
    Change,
}

/// The place of a request, until it is dropped.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

impl Work {
    /// Shares out so many connections, [`CONNECTIONS`] at most: a quarter each for reads, changes, event streams, and those that
    /// have no request.
    pub(super) fn new(connections: usize) -> Self {
        let connections = connections.clamp(FEWEST, CONNECTIONS);
        let places = |number: usize| Arc::new(Semaphore::new(number));
        let quarter = connections / 4;
        Self {
            connections: Connections::new(connections),
            reads: places(quarter),
            changes: places(quarter),
            streams: places(quarter),
            most_streams: quarter,
            long_reads: places(LONG_READS),
            long_changes: places(LONG_CHANGES),
            bodies: places(LONG_BODIES),
        }
    }

    /// A place for a request. A read that finds none takes that of a client who does not take its answer.
    ///
    /// # Errors
    /// 503 `Busy`.
    pub(super) async fn begin(&self, kind: Kind) -> Result<Option<Turn>, Failure> {
        let places = match kind {
            Kind::Probe => return Ok(None),
            Kind::Read => &self.reads,
            Kind::Change => &self.changes,
        };
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Ok(Some(Arc::new(place)));
        }
        let what = if kind == Kind::Read { "reads" } else { "changes" };
        let full = format!("as many {what} are under way as the admin API carries out at a time");
        if !self.connections.end_slow() {
            return Err(busy(full));
        }
        place(places, Duration::from_secs(1)).await.map(Some).ok_or_else(|| busy(full))
    }

    /// The place of an event stream.
    ///
    /// # Errors
    /// 503 `Busy`.
    pub(super) fn follow(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let most = self.most_streams;
            busy(format!("{most} event streams are open, and there are no more; `GET /v1/journal` tells the same"))
        })
    }

    /// A place for a long body.
    ///
    /// # Errors
    /// 503 `Busy`.
    pub(super) async fn long_body(&self) -> Result<Turn, Failure> {
        place(&self.bodies, TURN).await.ok_or_else(|| busy("as many long bodies are being read as fit"))
    }

    /// The turn of a request that takes long to carry out.
    ///
    /// # Errors
    /// 503 `Busy`.
    pub(super) async fn long(&self, kind: Kind) -> Result<Turn, Failure> {
        let turns = if kind == Kind::Change { &self.long_changes } else { &self.long_reads };
        let turn = place(turns, TURN).await;
        turn.ok_or_else(|| busy(format!("other requests took all of {} s to be carried out", TURN.as_secs())))
    }
}

async fn place(places: &Arc<Semaphore>, within: Duration) -> Option<Turn> {
    let place = timeout(within, Arc::clone(places).acquire_owned()).await;
    Some(Arc::new(place.ok()?.expect("nobody closes this semaphore")))
}

fn busy(message: impl Into<String>) -> Failure {
    Failure::new("Busy", message).header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}
