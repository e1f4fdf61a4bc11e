//! Names of endpoints: looked up off the data path, again every five seconds.
//!
//! Every address of a name is an endpoint. A lookup that fails keeps the last good answer; a name that never had one has
//! no endpoint, and the upstream is unhealthy if it has no other. The system's resolver answers (`getaddrinfo`), so
//! `/etc/hosts`, search domains and `nsswitch` hold as everywhere else.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinSet;

use super::{Rendered, UpstreamState};

/// Time between two lookups of the same name, up to a tenth more or less.
const EVERY: Duration = Duration::from_secs(5);

/// Turns host and port into addresses. Blocks.
pub(super) type Answer = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Who answers, and how often it is asked.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) answer: Arc<Answer>,
    pub(super) every: Duration,
}

impl Lookup {
    /// The system's resolver.
    pub(super) fn system() -> Self {
        Self { answer: Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())), every: EVERY }
    }
}

/// Whether any endpoint is a name.
pub(super) fn has_names(spec: &Rendered) -> bool {
    spec.endpoints.iter().any(|(host, _)| is_name(host))
}

fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

/// Looks up all names of an upstream again and again, until it is dropped or retired.
pub(super) async fn keep(upstream: Weak<UpstreamState>) {
    while let Some(state) = upstream.upgrade() {
        let every = state.shared.lookup.every;
        look_up_all(&state).await;
        drop(state);
        let pause = every.mul_f64(rand::rng().random_range(0.9..1.1));
        tokio::time::sleep(pause).await;
    }
}

async fn look_up_all(state: &Arc<UpstreamState>) {
    let mut lookups = JoinSet::new();
    for (index, (host, port)) in state.spec().endpoints.iter().enumerate() {
        if is_name(host) {
            let (state, host, port) = (Arc::clone(state), host.clone(), *port);
            lookups.spawn(async move {
                let answer = look_up(&state, host, port).await;
                state.answered(index, answer);
            });
        }
    }
    lookups.join_all().await;
}

/// One lookup on a thread of its own. The permit stays with the thread: a resolver that hangs cannot gather threads.
async fn look_up(state: &UpstreamState, host: String, port: u16) -> Result<Vec<SocketAddr>, String> {
    let permit = Arc::clone(&state.shared.lookups).acquire_owned().await.map_err(|error| error.to_string())?;
    let lookup = state.shared.lookup.clone();
    let thread = tokio::task::spawn_blocking(move || {
        let answer = (lookup.answer)(&host, port);
        drop(permit);
        answer
    });
    let mut addresses = thread.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err("the answer is empty".into()) } else { Ok(addresses) }
}
