//! Names of endpoints: looked up off the data path, again every five seconds.
//!
//! Every address of a name is an endpoint. A lookup that fails keeps the last good answer; a name that never had one has
//! no endpoint, and the upstream is unhealthy if it has no other. The system's resolver answers (`getaddrinfo`), so
//! `/etc/hosts`, search domains and `nsswitch` hold as everywhere else.
//!
//! `getaddrinfo` can hang and cannot be stopped. So each lookup has a thread that is not waited for: neither by the
//! exit nor by a runtime, nor by the lookups of other names. A name never has more than one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{Rendered, UpstreamState};

/// Time between two lookups of the same name, up to a tenth more or less.
const EVERY: Duration = Duration::from_secs(5);
/// The time without an answer after which the name counts as one that cannot be looked up.
const SILENCE: Duration = Duration::from_secs(10);
/// Lookups that are begun at the same time.
const AT_ONCE: usize = 64;
/// A lookup that takes longer makes room for another one to begin.
const PROMPT: Duration = Duration::from_millis(250);
/// The stack that `getaddrinfo` and the modules of `nsswitch` need, with room to spare.
const STACK: usize = 512 << 10;
/// The outcome of a lookup whose thread did not start or panicked.
const UNANSWERED: &str = "the lookup ended without an answer";

/// Turns host and port into addresses. Blocks.
pub(super) type Answer = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The resolver that answers, and the times to ask it.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) answer: Arc<Answer>,
    pub(super) every: Duration,
    pub(super) silence: Duration,
}

impl Lookup {
    /// The system's resolver.
    pub(super) fn system() -> Self {
        let answer = |host: &str, port| Ok((host, port).to_socket_addrs()?.collect());
        Self { answer: Arc::new(answer), every: EVERY, silence: SILENCE }
    }
}

/// A host and a port.
type Name = (String, u16);
/// Sorted addresses without repetition; what went wrong where there are none.
type Outcome = Result<Vec<SocketAddr>, String>;
/// Names that are being looked up, and who wants to know.
type Pending = Mutex<HashMap<Name, Vec<oneshot::Sender<Outcome>>>>;

/// Looks names up for all upstreams.
pub(super) struct Resolver {
    lookup: Lookup,
    begun: Semaphore,
    pending: Arc<Pending>,
}

/// A lookup on its thread. Its end tells the outcome to everybody who waits for the name.
struct Outstanding {
    pending: Arc<Pending>,
    name: Name,
    outcome: Outcome,
}

impl Resolver {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, begun: Semaphore::new(AT_ONCE), pending: Arc::default() }
    }

    /// The answer for a name, by a lookup that is under way if there is one.
    pub(super) async fn look_up(&self, name: Name) -> Outcome {
        let (tell, mut told) = oneshot::channel();
        let Some(tell) = join(&self.pending, &name, tell) else { return heard(told.await) };
        let permit = self.begun.acquire().await.map_err(|error| error.to_string())?;
        self.begin(name, tell)?;
        let prompt = timeout(PROMPT, &mut told).await;
        drop(permit);
        match prompt {
            Ok(answer) => heard(answer),
            Err(_) => heard(told.await),
        }
    }

    /// Starts the thread of a lookup, unless another caller has done so meanwhile.
    fn begin(&self, name: Name, tell: oneshot::Sender<Outcome>) -> Result<(), String> {
        match lock(&self.pending).entry(name.clone()) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(tell);
                return Ok(());
            }
            Entry::Vacant(place) => {
                place.insert(vec![tell]);
            }
        }
        let outcome = Err(UNANSWERED.to_owned());
        let outstanding = Outstanding { pending: Arc::clone(&self.pending), name, outcome };
        let answer = Arc::clone(&self.lookup.answer);
        let thread = std::thread::Builder::new().name("weir-lookup".into()).stack_size(STACK);
        let begun = thread.spawn(move || outstanding.look_up(&*answer));
        begun.map(drop).map_err(|error| format!("no thread for the lookup: {error}"))
    }
}

impl Outstanding {
    fn look_up(mut self, answer: &Answer) {
        self.outcome = addresses(answer(&self.name.0, self.name.1));
    }
}

impl Drop for Outstanding {
    /// Removes the name once: a second removal could meet the lookup that was begun after the first.
    fn drop(&mut self) {
        let waiting = lock(&self.pending).remove(&self.name).unwrap_or_default();
        for tell in waiting {
            // A caller that is gone needs no answer.
            let _ = tell.send(self.outcome.clone());
        }
    }
}

/// Waits with others for a lookup that is under way; gives `tell` back when there is none.
fn join(pending: &Pending, name: &Name, tell: oneshot::Sender<Outcome>) -> Option<oneshot::Sender<Outcome>> {
    match lock(pending).get_mut(name) {
        Some(waiting) => {
            waiting.push(tell);
            None
        }
        None => Some(tell),
    }
}

fn heard(answer: Result<Outcome, oneshot::error::RecvError>) -> Outcome {
    answer.unwrap_or_else(|_| Err(UNANSWERED.into()))
}

fn addresses(answer: io::Result<Vec<SocketAddr>>) -> Outcome {
    let mut addresses = answer.map_err(|error| error.to_string())?;
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err("the answer is empty".into()) } else { Ok(addresses) }
}

/// Every change under the lock is one call, so a poisoned one is as good as any.
fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, HashMap<Name, Vec<oneshot::Sender<Outcome>>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The places of the endpoints that are names.
pub(super) fn of(spec: &Rendered) -> impl Iterator<Item = usize> {
    let is_name = |(_, (host, _)): &(usize, &Name)| host.parse::<IpAddr>().is_err();
    spec.endpoints.iter().enumerate().filter(is_name).map(|(index, _)| index)
}

/// Looks up one name of an upstream again and again, until it is dropped or retired.
pub(super) async fn keep(upstream: Weak<UpstreamState>, index: usize) {
    let Some((resolver, name)) =
        upstream.upgrade().map(|state| (Arc::clone(&state.shared.resolver), state.spec().endpoints[index].clone()))
    else {
        return;
    };
    let Lookup { every, silence, .. } = resolver.lookup;
    let tell = |outcome| upstream.upgrade().inspect(|state| state.answered(index, outcome));
    loop {
        let mut lookup = pin!(resolver.look_up(name.clone()));
        let outcome = match timeout(silence, &mut lookup).await {
            Ok(outcome) => outcome,
            Err(_) => {
                if tell(Err(format!("no answer within {silence:?}"))).is_none() {
                    return;
                }
                lookup.await
            }
        };
        // One that rests has an address for the first request that comes, and looks again by then.
        let is_known = outcome.is_ok();
        match tell(outcome) {
            Some(state) if !(is_known && state.rest.is_asleep()) => {}
            _ => return,
        }
        let pause = every.mul_f64(rand::rng().random_range(0.9..1.1));
        tokio::time::sleep(pause).await;
    }
}
