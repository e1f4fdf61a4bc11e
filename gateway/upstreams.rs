//! Upstreams at run time: what survives a swap of the snapshot, keyed by name.
//!
//! The control plane calls [`Upstreams::reconcile`] for each upstream that a new revision names and puts the
//! [`UpstreamState`]s into the snapshot; the data path calls [`UpstreamState::pick`] once per attempt. Health and counts
//! in flight stay with an endpoint as long as its upstream names its address. Names are looked up and checks are run on
//! the control plane's runtime; nothing on the data path awaits, locks or allocates here.
//!
//! - `state`: one upstream at run time, with its members
//! - `member`: an endpoint in its upstream, and a pick of it
//! - `pick`: the choice of an endpoint for one attempt
//! - `endpoint`: the address and the health of one endpoint
//! - `load`: requests in flight and penalties, as picks compare them
//! - `budget`: the retry budget of a version
//! - `health`: active checks
//! - `rest`: upstreams that nothing asks for
//! - `probe`: probes of ejected endpoints that no request has probed
//! - `names`: lookups of names of endpoints
//! - `trust`: certificate authorities, and the keys of connections

mod budget;
mod endpoint;
mod health;
mod load;
mod member;
mod names;
mod pick;
mod probe;
mod rest;
mod state;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use config::route::table::Rendered;
use tokio::runtime::Handle;

pub use budget::RetryBudget;
pub use config::route::table::UpstreamKey;
pub use health::Checker;
pub use member::{Failure, Member, Pick};
pub use pick::Tried;
pub use state::{EndpointView, UpstreamState};
pub use trust::{Authorities, Trust, TrustError, read_authorities};

use crate::clock;
use crate::dial::Dial;
use endpoint::Millis;
use names::{Lookup, Resolver};

/// News about endpoints. Rare: transitions only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Requests failed in a row, or a probe did: no more of them for `time`, then one probe.
    Ejected { endpoint: SocketAddr, after: Failure, time: Duration },
    /// An attempt or a probe failed for this reason. Told every ten seconds at most for each endpoint.
    Failing { endpoint: SocketAddr, reason: &'a str },
    /// The probe was answered.
    Returned { endpoint: SocketAddr },
    /// Active checks failed, the last one for this reason.
    Down { endpoint: SocketAddr, reason: &'a str },
    /// Active checks pass again.
    Up { endpoint: SocketAddr },
    /// A name has other addresses than before.
    Resolved { name: &'a str, addresses: &'a [SocketAddr] },
    /// An address is not dialled, for this reason.
    Undialled { endpoint: SocketAddr, reason: &'a str },
    /// A name cannot be looked up any more (or for the first time); `kept` addresses of its last answer stay.
    Unresolved { name: &'a str, error: &'a str, kept: usize },
}

/// Receives the news; must not block.
pub trait Observer: Send + Sync {
    /// Something changed for an endpoint of `key`.
    fn observe(&self, key: &UpstreamKey, event: &Event<'_>);
}

/// An upstream of a revision.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub key: UpstreamKey,
    /// Its endpoints, and how they are spoken to.
    pub spec: Arc<Rendered>,
    /// The authorities of its own file, as far as they are known.
    pub authorities: Option<Arc<Authorities>>,
    /// True if it is neither checked nor looked up until a request comes.
    pub rests: bool,
}

/// The file of certificate authorities that an upstream names.
#[must_use]
pub fn authority_file(spec: &Rendered) -> Option<&Path> {
    spec.tls.as_ref()?.ca.as_deref()
}

/// All upstreams of the process. Owned by the control plane, the only one that changes them.
pub struct Upstreams {
    shared: Arc<Shared>,
    states: HashMap<UpstreamKey, Arc<UpstreamState>>,
    /// The files of certificate authorities, by the upstreams that name one: few of all.
    authority_files: BTreeMap<UpstreamKey, PathBuf>,
}

/// Services and settings that all upstreams share.
struct Shared {
    observer: Arc<dyn Observer>,
    start: Instant,
    runtime: Handle,
    next_id: AtomicU64,
    resolver: Arc<Resolver>,
    checker: Arc<dyn Checker>,
    dial: Dial,
    /// The time without a request after which an upstream that may rest does so again.
    rest_after: Duration,
}

/// See [`Shared::rest_after`].
const REST_AFTER: Duration = Duration::from_secs(300);

impl Upstreams {
    /// None yet. `runtime` is the control plane's: lookups and checks run there.
    #[must_use]
    pub fn new(runtime: Handle, observer: Arc<dyn Observer>, checker: Arc<dyn Checker>) -> Self {
        Self::with_lookup(runtime, observer, checker, Lookup::system())
    }

    fn with_lookup(runtime: Handle, observer: Arc<dyn Observer>, checker: Arc<dyn Checker>, lookup: Lookup) -> Self {
        let shared = Shared {
            observer,
            start: clock::now(),
            runtime,
            next_id: AtomicU64::new(1),
            resolver: Arc::new(Resolver::new(lookup)),
            checker,
            dial: Dial::default(),
            rest_after: REST_AFTER,
        };
        Self { shared: Arc::new(shared), states: HashMap::new(), authority_files: BTreeMap::new() }
    }

    /// The same with endpoints at these addresses alone. Before the first upstream.
    #[must_use]
    pub fn dialling(mut self, dial: Dial) -> Self {
        Arc::get_mut(&mut self.shared).expect("no upstream shares it yet").dial = dial;
        self
    }

    /// The states for the upstreams of a revision, in the same order: the present one when nothing changed that its
    /// endpoints depend on, else a new one that takes over what is known about the endpoints both name.
    ///
    /// One whose own authorities are not known has no endpoint, because there is none that it can trust.
    pub fn reconcile(&mut self, wanted: Vec<Wanted>) -> Vec<Arc<UpstreamState>> {
        wanted.into_iter().map(|wanted| self.start(wanted)).collect()
    }

    fn start(&mut self, Wanted { key, mut spec, authorities, rests }: Wanted) -> Arc<UpstreamState> {
        match authority_file(&spec) {
            Some(path) => self.authority_files.insert(key.clone(), path.to_owned()),
            None => self.authority_files.remove(&key),
        };
        if authorities.is_none() && authority_file(&spec).is_some() {
            spec = Arc::new(Rendered { endpoints: Vec::new(), ..Rendered::clone(&spec) });
        }
        let trust = Trust::new(&key, &spec, authorities);
        let old = self.states.get(&key);
        let same =
            |old: &UpstreamState| is_alike(old.spec(), &spec) && old.common.trust.group_key() == trust.group_key();
        if let Some(old) = old.filter(|old| same(old)) {
            old.set_resting(rests);
            return Arc::clone(old);
        }
        let state = UpstreamState::start(&self.shared, key.clone(), (spec, trust), rests, old.map(|old| &**old));
        self.states.insert(key, Arc::clone(&state));
        state
    }

    /// The upstreams that name a file of authorities, with it.
    pub fn with_authorities(&self) -> impl Iterator<Item = (&UpstreamKey, &Path)> {
        self.authority_files.iter().map(|(key, path)| (key, &**path))
    }

    /// The state for `key`.
    #[must_use]
    pub fn get(&self, key: &UpstreamKey) -> Option<&Arc<UpstreamState>> {
        self.states.get(key)
    }

    /// Forgets one: its checks and lookups stop; requests that hold a pick go on.
    pub fn forget(&mut self, key: &UpstreamKey) {
        self.authority_files.remove(key);
        if let Some(state) = self.states.remove(key) {
            state.end();
        }
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keep: impl Fn(&UpstreamKey) -> bool) {
        self.authority_files.retain(|key, _| keep(key));
        for (_, state) in self.states.extract_if(|key, _| !keep(key)) {
            state.end();
        }
    }
}

/// Tells the observer about one upstream, and what time it is.
#[derive(Clone)]
struct Reporter {
    key: UpstreamKey,
    observer: Arc<dyn Observer>,
    start: Instant,
}

impl Reporter {
    fn tell(&self, event: &Event<'_>) {
        self.observer.observe(&self.key, event);
    }

    /// Never 0, which means "not at all" in an endpoint.
    fn millis(&self) -> Millis {
        1 + clock::now().saturating_duration_since(self.start).as_millis() as Millis
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// Tells if two specifications name the same endpoints, and speak to and check them in the same way. What is done to a
/// request does not count.
fn is_alike(one: &Rendered, other: &Rendered) -> bool {
    let Rendered {
        endpoints,
        protocol,
        tls,
        host,
        health,
        timeouts,
        retries,
        path_prefix: _,
        headers: _,
        via: _,
        upgrade: _,
    } = one;
    (endpoints, protocol, tls) == (&other.endpoints, &other.protocol, &other.tls)
        && (host, health, timeouts, retries) == (&other.host, &other.health, &other.timeouts, &other.retries)
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ejected { endpoint, after, time } => {
                write!(f, "endpoint {endpoint} ejected for {time:?}: failures in a row, the last one {after}")
            }
            Self::Failing { endpoint, reason } => write!(f, "endpoint {endpoint} fails: {reason}"),
            Self::Returned { endpoint } => write!(f, "endpoint {endpoint} answers again"),
            Self::Down { endpoint, reason } => write!(f, "endpoint {endpoint} is down: {reason}"),
            Self::Up { endpoint } => write!(f, "endpoint {endpoint} is up"),
            Self::Resolved { name, addresses } => write!(f, "{name} resolves to {addresses:?}"),
            Self::Undialled { reason, .. } => write!(f, "an endpoint is left out: {reason}"),
            Self::Unresolved { name, error, kept: 0 } => {
                write!(f, "{name} cannot be resolved ({error}): it has no endpoint until it can")
            }
            Self::Unresolved { name, error, kept } => {
                write!(f, "{name} cannot be resolved ({error}): its last {kept} addresses stay")
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
