//! The order in which a gateway stops.
//!
//! A signal that says stop, or the admin API, begins the drain: `/ready` answers 503 while everything is still served, so
//! that load balancers look elsewhere, and in the second half of the delay clients are told to leave (see
//! [`closing`](crate::edge::closing)); then nothing new is accepted, and what is in flight may end. A second signal ends the
//! process at once.
//!
//! None of this runs on the control plane's runtime: one of its threads may be blocked.

use config::model::Drain;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::edge::Edge;
use crate::edge::closing::LAST_CALL;

/// The stop of a gateway, as it comes.
pub(super) struct Stopping {
    /// Names of signals that say stop.
    stops: mpsc::UnboundedReceiver<&'static str>,
    /// Signals so far.
    signals: usize,
}

impl Stopping {
    pub(super) fn new(stops: mpsc::UnboundedReceiver<&'static str>) -> Self {
        Self { stops, signals: 0 }
    }

    /// Waits for a signal that says stop, or for `asked`.
    pub(super) async fn until_stop(&mut self, asked: &Notify) {
        let why = tokio::select! {
            signal = self.signal() => signal,
            () = asked.notified() => "asked by the admin API",
        };
        tracing::info!("{why}: draining");
    }

    /// Waits out the delay, stops the listeners, and waits for what is in flight; a second signal ends the wait.
    /// `others` returns when nothing else is in flight.
    pub(super) async fn drain(
        &mut self,
        drain: &Drain,
        edge: &Edge,
        stop: &watch::Sender<bool>,
        others: impl Future<Output = ()>,
    ) {
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
                others.await;
            };
            if timeout(drain.deadline, ended).await.is_err() && load.requests() > 0 {
                tracing::warn!("{} requests were still in flight after {:?}", load.requests(), drain.deadline);
            }
        };
        tokio::select! {
            () = draining => {}
            signal = self.second() => {
                tracing::warn!("{signal} again: ending now, with {} requests in flight", load.requests());
            }
        }
    }

    /// The second signal. One that comes while the drain that the admin API began goes on is the first: an operator who
    /// asks by `weir drain` and then lets a supervisor send its signal loses no request.
    async fn second(&mut self) -> &'static str {
        while self.signals == 0 {
            let signal = self.signal().await;
            tracing::info!("{signal}: draining already; another signal ends it at once");
        }
        self.signal().await
    }

    async fn signal(&mut self) -> &'static str {
        match self.stops.recv().await {
            Some(signal) => {
                self.signals += 1;
                signal
            }
            // The thread of signals ends with the process.
            None => std::future::pending().await,
        }
    }
}
