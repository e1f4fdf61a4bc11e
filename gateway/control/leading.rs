//! The term of whoever conducts rollouts: asked for, and asked for again while it lasts.
//!
//! All gateways on one store follow every rollout, tell it, and take a word to it. One of them conducts: it watches candidates, asks
//! hooks, and writes what the clock brings. If it dies, another one does so when its time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time;

use crate::clock;
use crate::store::{Store, Term};

/// The name of the term.
const CONDUCT: &str = "conduct";
/// How long a gateway that died keeps the others from conducting.
const TTL: Duration = Duration::from_secs(5);

/// How a gateway asks for a term.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Names this gateway, and no other.
    pub holder: String,
    /// How long nobody else leads after it asked.
    pub ttl: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { holder: format!("{:032x}", rand::random::<u128>()), ttl: TTL }
    }
}

/// Asks for the term; answers the one that this gateway has, which changes with it. Ends when nobody looks at the answer any more.
pub(super) async fn start(store: Arc<dyn Store>, lease: Lease) -> watch::Receiver<Option<Term>> {
    let mut asking = Asking { store, lease, term: None, renewed: clock::now() };
    let first = asking.ask().await;
    if first.is_none() {
        tracing::info!("this gateway follows the rollouts, and does not conduct them");
    }
    let (leading, told) = watch::channel(first);
    tokio::spawn(asking.keep(leading));
    told
}

struct Asking {
    store: Arc<dyn Store>,
    lease: Lease,
    term: Option<Term>,
    /// When the last question was asked that had an answer.
    renewed: Instant,
}

impl Asking {
    async fn keep(mut self, leading: watch::Sender<Option<Term>>) {
        loop {
            tokio::select! {
                () = leading.closed() => return,
                () = time::sleep(self.lease.ttl / 3) => {}
            }
            let term = self.ask().await;
            leading.send_if_modified(|known| {
                let is_changed = *known != term;
                if is_changed && term.is_some() {
                    tracing::info!("this gateway conducts the rollouts from now on");
                } else if is_changed {
                    tracing::warn!("this gateway conducts the rollouts no longer");
                }
                *known = term;
                is_changed
            });
        }
    }

    /// The term, if this gateway has it. Without an answer it has what it had, for as long as nobody else can have it.
    async fn ask(&mut self) -> Option<Term> {
        let Lease { holder, ttl } = &self.lease;
        let asked = clock::now();
        // Without an answer by then somebody else may have it.
        let left = if self.term.is_some() { ttl.saturating_sub(self.renewed.elapsed()) } else { *ttl };
        match time::timeout(left, self.store.lead(CONDUCT, holder, *ttl)).await {
            Ok(Ok(term)) => (self.term, self.renewed) = (term, asked),
            Ok(Err(error)) => tracing::warn!("it is not known who conducts the rollouts: {error}"),
            Err(_) => tracing::warn!("it is not known who conducts the rollouts: the store gives no answer"),
        }
        if self.renewed.elapsed() >= *ttl {
            self.term = None;
        }
        self.term.clone()
    }
}
