//! The data path's threads: one single-threaded runtime each, with sockets, connections and pools of its own.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;

use config::model::{LaneChoice, Process};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;

use super::{Failure, Started};
use crate::edge::proxied::ProxiedLane;
use crate::edge::{self, Entrance, Lane, ShutdownWatch};
use crate::policy::exchange::Worker;
use crate::proxy::{self, Peers, Proxy};
use crate::relay::RelayLane;

/// Open listening sockets: per listener its entrance, its address, and one socket for each worker.
pub(super) struct Doors {
    workers: usize,
    doors: Vec<Door>,
}

struct Door {
    entrance: Arc<Entrance>,
    address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

/// Threads that serve requests.
pub(super) fn count(process: &Process) -> usize {
    match process.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// Threads that count outcomes: the workers, and behind them the one of dialects.
pub(super) fn counting(process: &Process) -> usize {
    count(process) + usize::from(process.dialects.is_some())
}

/// Opens every listener for every worker.
pub(super) fn open(started: &Started, process: &Process) -> Result<Doors, Failure> {
    let workers = count(process);
    let mut doors = Vec::new();
    for (index, listener) in process.listeners.iter().enumerate() {
        let tls = if listener.tls { Some(edge::tls::server_config(Arc::clone(&started.certificates))?) } else { None };
        let sockets = edge::bind(listener.address, workers)?;
        let address = sockets.first().map_or(Ok(listener.address), std::net::TcpListener::local_addr)?;
        let entrance = Entrance {
            listener: index,
            tls,
            proxy_protocol_from: listener.proxy_protocol_from.clone(),
            edge: Arc::clone(&started.edge),
        };
        doors.push(Door { entrance: Arc::new(entrance), address, sockets });
    }
    Ok(Doors { workers, doors })
}

impl Doors {
    /// One line for each listener.
    pub(super) fn announcement(&self) -> String {
        let line = |door: &Door| {
            let scheme = if door.entrance.tls.is_some() { "https" } else { "http" };
            format!("weir: listening on {} ({scheme})\n", door.address)
        };
        self.doors.iter().map(line).collect()
    }

    /// Port of each listener.
    fn ports(&self) -> Vec<u16> {
        self.doors.iter().map(|door| door.address.port()).collect()
    }

    /// Port of the first TLS listener; 443 where there is none, because then somebody else ends TLS.
    fn https_port(&self) -> u16 {
        self.doors.iter().find(|door| door.entrance.tls.is_some()).map_or(443, |door| door.address.port())
    }
}

/// Starts the workers. They accept nothing more once `stop` is true, and end with the process.
pub(super) fn start(
    started: &Started,
    doors: Doors,
    choice: LaneChoice,
    stop: &watch::Sender<bool>,
) -> Result<(), Failure> {
    let worker = Worker {
        live: Arc::clone(&started.live),
        metrics: Arc::clone(&started.metrics),
        access: started.access.clone(),
        limits: started.edge.limits.clone(),
        https_port: doors.https_port(),
        ports: doors.ports().into(),
        number: 0,
    };
    let peers = Arc::new(Peers::default());
    let mut by_worker: Vec<Vec<_>> = (0..doors.workers).map(|_| Vec::new()).collect();
    for door in doors.doors {
        for (worker, socket) in by_worker.iter_mut().zip(door.sockets) {
            worker.push((Arc::clone(&door.entrance), socket));
        }
    }
    for (number, sockets) in by_worker.into_iter().enumerate() {
        let proxy = Proxy {
            worker: Worker { number, ..worker.clone() },
            peers: Arc::clone(&peers),
            reserved_from: started.edge.reserved_from,
        };
        let (edge, stop) = (Arc::clone(&started.edge), stop.subscribe());
        let (started, starting) = mpsc::channel();
        thread::Builder::new().name(format!("weir-worker-{number}")).spawn(move || {
            // Made by its own thread: it never leaves it.
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let (told, runtime) = match runtime {
                Ok(runtime) => (Ok(()), Some(runtime)),
                Err(error) => (Err(error), None),
            };
            // It is waited for below.
            let _ = started.send(told);
            let Some(runtime) = runtime else { return };
            runtime.block_on(async move {
                let worker = proxy.worker.clone();
                let proxied = ProxiedLane::new(Arc::new(proxy::application(proxy)), Arc::clone(&edge));
                match choice {
                    LaneChoice::Pingora => serve(Rc::new(proxied), sockets, &stop).await,
                    LaneChoice::Relay => serve(Rc::new(RelayLane::new(worker, edge, proxied)), sockets, &stop).await,
                }
            });
        })?;
        starting.recv().map_err(io::Error::other)??;
    }
    Ok(())
}

/// Serves these sockets for as long as the process lives.
async fn serve<L: Lane>(lane: Rc<L>, sockets: Vec<(Arc<Entrance>, std::net::TcpListener)>, stop: &ShutdownWatch) {
    let serving = sockets.into_iter().map(|(entrance, socket)| {
        let (lane, stop) = (Rc::clone(&lane), stop.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = edge::serve_listener(socket, lane, entrance, stop).await {
                tracing::error!("a listener failed: {error}");
            }
        })
    });
    for listener in serving.collect::<Vec<_>>() {
        // A panic has been printed; the other listeners go on.
        let _ = listener.await;
    }
    // Connections live on as tasks of this runtime, until the process ends.
    std::future::pending::<()>().await;
}
