//! Signals, and the order in which a gateway stops.
//!
//! `SIGHUP` reads the file again. `SIGTERM`, `SIGINT` and `SIGQUIT` begin the drain: `/ready` answers 503 while everything
//! is still served, so that load balancers look elsewhere, and in the second half of the delay clients are told to leave
//! (see [`closing`](crate::edge::closing)); then nothing new is accepted, and what is in flight may end. A second signal ends
//! the process at once.

use std::io;

use config::model::Drain;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::edge::Edge;
use crate::edge::closing::LAST_CALL;

/// The signals that a gateway listens to.
pub(super) struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for a signal that says stop, or for `asked`; `SIGHUP` notifies `reload`.
    pub(super) async fn until_stop(&mut self, reload: &Notify, asked: &Notify) {
        let why = tokio::select! {
            signal = self.stop(Some(reload)) => signal,
            () = asked.notified() => "asked by the admin API",
        };
        tracing::info!("{why}: draining");
    }

    /// Waits out the delay, stops the listeners, and waits for what is in flight; a signal ends the wait.
    pub(super) async fn drain(&mut self, drain: &Drain, edge: &Edge, stop: &watch::Sender<bool>) {
        let load = &edge.load;
        let draining = async {
            sleep(drain.delay / 2).await;
            edge.closing.begin();
            sleep(drain.delay - drain.delay / 2).await;
            stop.send_replace(true);
            let ended = async {
                // A request may be on its way on any connection; the last one to end has the last call, and time to be read.
                let _ = timeout(2 * LAST_CALL, load.no_connections()).await;
                load.no_requests().await;
            };
            if timeout(drain.deadline, ended).await.is_err() && load.requests() > 0 {
                tracing::warn!("{} requests were still in flight after {:?}", load.requests(), drain.deadline);
            }
        };
        tokio::select! {
            () = draining => {}
            signal = self.stop(None) => {
                tracing::warn!("{signal} again: ending now, with {} requests in flight", load.requests());
            }
        }
    }

    async fn stop(&mut self, reload: Option<&Notify>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.quit.recv() => return "SIGQUIT",
                _ = self.hang_up.recv() => if let Some(reload) = reload { reload.notify_one() },
            }
        }
    }
}
