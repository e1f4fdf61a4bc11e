//! Constant, paced load over a bounded number of keep-alive connections, each answer recorded with its time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::Client;

/// Between two requests of one client: load that leaves the machine room to breathe.
const PACE: Duration = Duration::from_millis(1);

/// One exchange.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Which of the load's requests; it says so itself, in `x-load`.
    pub(crate) number: usize,
    pub(crate) sent: Instant,
    pub(crate) done: Instant,
    /// Status and version, or what went wrong.
    pub(crate) outcome: Result<(u16, String), String>,
}

/// Running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: JoinSet<Vec<Exchange>>,
}

impl Load {
    /// Each of `connections` clients sends `GET /` one at a time, `most` in all at the most.
    pub(crate) fn start(address: SocketAddr, host: &str, connections: usize, most: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(run(address, host.to_string(), stop.clone(), done.clone(), most));
        }
        Self { stop, done, clients }
    }

    /// Exchanges so far.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Lets every client finish its request, and returns all exchanges.
    pub(crate) async fn stop(self) -> Vec<Exchange> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

async fn run(
    address: SocketAddr,
    host: String,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    most: usize,
) -> Vec<Exchange> {
    let mut client = Client::connect(address).await;
    let mut exchanges = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = done.fetch_add(1, Ordering::Relaxed);
        if number >= most {
            break;
        }
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-load: {number}\r\n\r\n");
        let sent = Instant::now();
        let response = async {
            client.try_send(request.as_bytes()).await?;
            client.try_response("GET").await
        };
        let response = super::within("an answer under load", response).await;
        let failed = response.is_err();
        let outcome = response.map(|r| (r.status, r.version().to_string())).map_err(|error| error.to_string());
        exchanges.push(Exchange { number, sent, done: Instant::now(), outcome });
        if failed {
            client = Client::connect(address).await;
        }
        sleep(PACE).await;
    }
    exchanges
}
