//! The express lane: clients of HTTP/1.1 to endpoints of HTTP/1.1, without an engine of somebody else's.
//!
//! A request is read, rewritten and sent in one turn of its task, over buffers of the worker that are borrowed only within that turn:
//! a connection that waits holds none. All connections of a worker share its pool of connections to endpoints, on one thread and
//! without locks. What this lane does not carry is handed to another one after it was resolved, so that no slot is drawn twice.
//!
//! - [`exchange`]: one request, from its head to its line in the log
//! - [`answer`]: answers of endpoints and of the gateway, on their way to the client
//! - [`upload`], [`download`]: the state of the two directions
//! - [`head`], [`body`]: messages as they come, read strictly
//! - [`write`], [`date`]: heads as they go out
//! - [`pool`], [`dial`]: connections to endpoints
//! - [`silence`]: limits on the silence of endpoints

mod answer;
mod body;
mod date;
mod dial;
mod download;
mod exchange;
mod head;
mod pool;
mod silence;
mod upload;
mod write;

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use config::model::Protocol;
use config::route::table::Answers;

use crate::edge::{ClientProtocol, Connection, Edge, EdgeStream, IdleWait, Lane, ShutdownWatch, SpareBuffer};
use crate::live::Destination;
use crate::policy::exchange::{ClientConnection, ClientTls, Resolved, Worker};
use date::DateLine;
use download::Download;
use exchange::ExchangeEnd;
use head::RequestHead;
use pool::Pool;
use silence::SilenceTimer;
use upload::Upload;

/// Bytes that are read at once: the head and the body of a 64 KiB answer in one call.
const BUFFER: usize = 128 << 10;
/// States of requests that a worker keeps for the next ones.
const SPARES: usize = 256;
/// The time between two looks for connections that grew old or were closed by their endpoints.
const SWEEP: Duration = Duration::from_secs(1);

/// The lane of one worker, before the lane that serves the rest.
pub struct RelayLane<N> {
    relay: Rc<RelayWorker>,
    next: N,
}

/// Everything that the requests of one worker share.
struct RelayWorker {
    worker: Worker,
    edge: Arc<Edge>,
    /// The first descriptor that no connection to an endpoint may take.
    reserved_from: RawFd,
    pool: Pool,
    /// Bytes that are being moved. Borrowed within one poll.
    buffer: RefCell<Box<[u8]>>,
    /// Memory for the head that is read next.
    spare: SpareBuffer,
    /// The head that is being written. Borrowed within one poll.
    heads: RefCell<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "a task that serves a connection holds room for a pointer, not for a request")]
    spares: RefCell<Vec<Box<Scratch>>>,
    date: DateLine,
}

/// The state of a request that takes memory, which the next one uses again.
#[derive(Default)]
struct Scratch {
    request: RequestHead,
    upload: Upload,
    download: Download,
}

impl<N: Lane> RelayLane<N> {
    /// A lane for one worker; `next` serves what it does not carry. Made on the worker's runtime.
    #[must_use]
    pub fn new(worker: Worker, edge: Arc<Edge>, next: N) -> Self {
        let relay = Rc::new(RelayWorker {
            worker,
            reserved_from: edge.reserved_from,
            edge,
            pool: Pool::default(),
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            spare: SpareBuffer::default(),
            heads: RefCell::new(Vec::with_capacity(4096)),
            spares: RefCell::default(),
            date: DateLine::default(),
        });
        tokio::task::spawn_local(sweep(Rc::downgrade(&relay)));
        Self { relay, next }
    }

    async fn serve_http1(&self, mut stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        let relay = &*self.relay;
        let mut idle = IdleWait::new(shutdown);
        let mut timer = SilenceTimer::default();
        loop {
            let Ok(head) = stream.next_head_in(&relay.spare, &mut idle).await else { return };
            let in_flight = relay.edge.load.request();
            let mut scratch = relay.take_scratch();
            // Boxed: the task of an idle connection shall not hold room for a request.
            let end = Box::pin(exchange::serve(relay, &mut stream, head, &mut scratch, &mut timer)).await;
            relay.put_scratch(scratch);
            drop(in_flight);
            match end {
                ExchangeEnd::Kept => stream.request_done(),
                ExchangeEnd::Over => return Box::pin(stream.finish()).await,
                ExchangeEnd::Reset => return stream.reset(),
                ExchangeEnd::Cut => return Box::pin(stream.leave()).await,
                ExchangeEnd::HandedOver => return Box::pin(self.next.serve(stream, shutdown)).await,
            }
        }
    }
}

impl<N: Lane> Lane for RelayLane<N> {
    async fn serve(&self, stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        match stream.connection().protocol {
            ClientProtocol::Http1 => self.serve_http1(stream, shutdown).await,
            ClientProtocol::Http2 => Box::pin(self.next.serve(stream, shutdown)).await,
        }
    }
}

impl RelayWorker {
    fn take_scratch(&self) -> Box<Scratch> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    fn put_scratch(&self, mut scratch: Box<Scratch>) {
        let mut spares = self.spares.borrow_mut();
        if spares.len() < SPARES {
            scratch.request.trim();
            scratch.upload.trim();
            scratch.download.trim();
            spares.push(scratch);
        }
    }
}

/// Drops what is of no use in the pool, for as long as the lane lives.
async fn sweep(relay: Weak<RelayWorker>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(relay) = relay.upgrade() else { return };
        relay.pool.sweep();
    }
}

/// True if this lane carries a request to its version, and to the spare that may answer in its place.
fn carries(resolved: &Resolved) -> bool {
    let served = &resolved.served;
    is_carried(&served.destination) && served.spare.as_deref().is_none_or(is_carried)
}

/// True for endpoints that speak plain HTTP/1.1.
fn is_carried(destination: &Destination) -> bool {
    match &destination.upstream.answers {
        Answers::Endpoints(rendered) => rendered.protocol == Protocol::Http1 && rendered.tls.is_none(),
        Answers::Response(_) => true,
    }
}

/// The client's connection as policy sees it.
fn client_of(connection: &Connection) -> ClientConnection<'_> {
    ClientConnection {
        address: connection.client.ip(),
        listener: connection.listener,
        tls: connection.tls.as_ref().map(|tls| ClientTls { sni: &tls.sni, version: tls.version }),
    }
}
