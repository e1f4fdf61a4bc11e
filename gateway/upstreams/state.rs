//! One upstream at run time: its members, kept up to date by the control plane and picked from by requests.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;

use super::endpoint::Endpoint;
use super::load::Pace;
use super::member::Member;
use super::rest::Rest;
use super::{Event, Rendered, Reporter, RetryBudget, Shared, Trust, UpstreamKey, health, names, probe};

/// One upstream at run time: its endpoints, their health, its retry budget.
pub struct UpstreamState {
    pub(super) common: Arc<Common>,
    pub(super) shared: Arc<Shared>,
    pub(super) members: ArcSwap<Box<[Arc<Member>]>>,
    /// Some endpoint is up and in.
    healthy: AtomicBool,
    /// Some endpoint is up.
    up: AtomicBool,
    /// Counts what may have changed the two.
    changes: AtomicU64,
    /// True while a task probes ejected endpoints.
    pub(super) probing: AtomicBool,
    pub(super) rest: Rest,
    control: Mutex<Control>,
}

/// Facts that an upstream has in common with its members, which outlive it where a request holds one.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) spec: Arc<Rendered>,
    pub(super) trust: Trust,
    pub(super) reporter: Reporter,
    pub(super) lasting: Arc<LastingState>,
}

/// State that an upstream keeps over changes of its configuration.
#[derive(Debug)]
pub(super) struct LastingState {
    budget: RetryBudget,
    pub(super) pace: Pace,
    /// The state that counts: what happens to an endpoint is told to it, also by requests that began under an older one.
    current: ArcSwap<Weak<UpstreamState>>,
}

impl LastingState {
    pub(super) fn current(&self) -> Option<Arc<UpstreamState>> {
        self.current.load().upgrade()
    }
}

/// State that only the control plane touches.
pub(super) struct Control {
    /// For each endpoint of the spec its addresses: the IP address itself, or the last good answer.
    addresses: Vec<Vec<SocketAddr>>,
    /// The error of the last lookup of each, when it failed.
    errors: Vec<Option<String>>,
    /// Lookups of names.
    pub(super) tasks: Vec<AbortHandle>,
    /// Checks, by the endpoint's id.
    pub(super) checks: HashMap<u64, AbortHandle>,
    /// A newer state, or none, has taken over: nothing may change any more.
    pub(super) retired: bool,
}

impl UpstreamState {
    /// True when the version answers as far as is known: some endpoint exists that neither active checks nor requests
    /// say is bad. If not, a spare should answer. One atomic load.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// True when a request that no other version may answer is worth an attempt: some endpoint exists that active
    /// checks do not say is down. One atomic load.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// The name of the upstream.
    #[must_use]
    pub fn key(&self) -> &UpstreamKey {
        &self.common.reporter.key
    }

    /// The specification that it was made from.
    #[must_use]
    pub fn spec(&self) -> &Arc<Rendered> {
        &self.common.spec
    }

    /// The budget for retries.
    #[must_use]
    pub fn budget(&self) -> &RetryBudget {
        &self.common.lasting.budget
    }

    /// Attempts in flight at all its endpoints.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.members.load().iter().map(|member| member.endpoint.in_flight()).sum()
    }

    /// Each endpoint as it is now.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointView> {
        let members = self.members.load();
        members
            .iter()
            .map(|member| EndpointView {
                host: Arc::clone(&member.endpoint.host),
                port: member.port(),
                address: member.endpoint.address,
                up: member.endpoint.is_up(),
                ejected: !member.endpoint.is_in(),
                in_flight: member.endpoint.in_flight(),
            })
            .collect()
    }

    /// Names whose last lookup failed, with the reason. Takes a lock: not for the data path.
    #[must_use]
    pub fn unresolved(&self) -> Vec<(String, String)> {
        let control = self.control();
        let names = self.spec().endpoints.iter().map(|(host, _)| host.clone());
        names.zip(&control.errors).filter_map(|(name, error)| Some((name, error.clone()?))).collect()
    }
}

/// One endpoint for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// Name or IP address as configured.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// The address that it listens on.
    pub address: SocketAddr,
    /// The result of active checks; true without checks.
    pub up: bool,
    /// The result of passive health.
    pub ejected: bool,
    /// Attempts in flight.
    pub in_flight: u32,
}

impl UpstreamState {
    /// Builds the state, retires the old one, and starts the tasks it needs.
    pub(super) fn start(
        shared: &Arc<Shared>,
        key: UpstreamKey,
        (spec, trust): (Arc<Rendered>, Trust),
        rests: bool,
        old: Option<&Self>,
    ) -> Arc<Self> {
        let percent = spec.retries.budget;
        let new =
            || LastingState { budget: RetryBudget::new(percent), pace: Pace::default(), current: ArcSwap::default() };
        let lasting = old.map_or_else(|| Arc::new(new()), |old| Arc::clone(&old.common.lasting));
        lasting.budget.set_percent(percent);
        let observer = Arc::clone(&shared.observer);
        // Once the old one is retired, no task of it changes what the two share.
        let mut answers = old.map(Self::retire).unwrap_or_default();
        let addresses = spec.endpoints.iter().map(|(host, port)| match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, *port)],
            Err(_) => answers.remove(&(host.clone(), *port)).unwrap_or_default(),
        });
        let addresses: Vec<_> = addresses.collect();
        let errors = vec![None; addresses.len()];
        let reporter = Reporter { key, observer, start: shared.start };
        let control = Control { addresses, errors, tasks: Vec::new(), checks: HashMap::new(), retired: false };
        let state = Arc::new(Self {
            common: Arc::new(Common { spec, trust, reporter, lasting }),
            shared: Arc::clone(shared),
            members: ArcSwap::from_pointee(Box::default()),
            healthy: AtomicBool::new(false),
            up: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            probing: AtomicBool::new(false),
            rest: Rest::new(rests),
            control: Mutex::new(control),
        });
        let known = old.map(|old| old.members.load_full());
        state.set_up(known.as_ref().map_or(&[], |known| known));
        state
    }

    /// Makes the first members and starts the tasks.
    fn set_up(self: &Arc<Self>, known: &[Arc<Member>]) {
        let mut control = self.control();
        self.rebuild(&mut control, known);
        let Common { spec, lasting, .. } = &*self.common;
        if spec.health.is_none() || self.rest.is_asleep() {
            self.members.load().iter().for_each(|member| member.endpoint.unchecked());
        }
        lasting.current.store(Arc::new(Arc::downgrade(self)));
        self.refresh();
        self.look_up(&mut control);
        drop(control);
        self.probe_ejected();
    }

    /// Has the names of endpoints looked up again and again.
    pub(super) fn look_up(self: &Arc<Self>, control: &mut Control) {
        control.tasks.drain(..).for_each(|task| task.abort());
        for index in names::of(self.spec()) {
            let task = self.shared.runtime.spawn(names::keep(Arc::downgrade(self), index));
            control.tasks.push(task.abort_handle());
        }
    }

    /// Stops the tasks; from here on nothing but requests changes an endpoint. Returns the addresses of each endpoint.
    pub(super) fn retire(&self) -> HashMap<(String, u16), Vec<SocketAddr>> {
        let mut control = self.control();
        control.retired = true;
        control.tasks.drain(..).for_each(|task| task.abort());
        control.checks.drain().for_each(|(_, task)| task.abort());
        self.spec().endpoints.iter().cloned().zip(control.addresses.iter().cloned()).collect()
    }

    /// Stops the tasks of an upstream that is not named any more.
    pub(super) fn end(&self) {
        self.common.lasting.current.store(Arc::default());
        self.retire();
    }

    /// Makes the members for the addresses as they are now; endpoints among `known` keep their state.
    fn rebuild(self: &Arc<Self>, control: &mut Control, known: &[Arc<Member>]) {
        let known: HashMap<(&str, SocketAddr), &Arc<Member>> =
            known.iter().map(|member| ((&*member.endpoint.host, member.endpoint.address), member)).collect();
        let mut members = Vec::new();
        for ((host, port), addresses) in self.spec().endpoints.iter().zip(&control.addresses) {
            for &address in addresses {
                if let Err(reason) = self.shared.dial.check_endpoint(address) {
                    let reason = reason.to_string();
                    self.common.reporter.tell(&Event::Undialled { endpoint: address, reason: &reason });
                    continue;
                }
                let endpoint = match known.get(&(host.as_str(), address)) {
                    Some(member) => Arc::clone(&member.endpoint),
                    None => {
                        let id = self.shared.next_id.fetch_add(1, Relaxed);
                        Arc::new(Endpoint::new(id, host.as_str().into(), address))
                    }
                };
                members.push(Arc::new(Member::new(endpoint, *port, Arc::clone(&self.common))));
            }
        }
        self.check(control, &members);
        self.members.store(Arc::new(members.into_boxed_slice()));
    }

    /// Gives each of the endpoints a task that checks it, and ends those of endpoints that are gone.
    pub(super) fn check(self: &Arc<Self>, control: &mut Control, members: &[Arc<Member>]) {
        if self.spec().health.is_none() || self.rest.is_asleep() {
            return;
        }
        let mut before = std::mem::take(&mut control.checks);
        for member in members {
            let id = member.id();
            if control.checks.contains_key(&id) {
                continue;
            }
            let running = before.remove(&id).unwrap_or_else(|| {
                let check = health::keep(Arc::downgrade(self), Arc::clone(member));
                self.shared.runtime.spawn(check).abort_handle()
            });
            control.checks.insert(id, running);
        }
        before.into_values().for_each(|task| task.abort());
    }

    /// Brings what is known of the whole up to date, after an endpoint or the members have changed. The last caller
    /// sees all changes, and looks again if there was another one meanwhile: so the last word is right without a lock.
    pub(super) fn refresh(&self) {
        let mut seen = self.changes.fetch_add(1, SeqCst) + 1;
        loop {
            let members = self.members.load();
            let up = || members.iter().filter(|member| member.endpoint.is_up());
            self.up.store(up().next().is_some(), SeqCst);
            self.healthy.store(up().any(|member| member.endpoint.is_in()), SeqCst);
            let now = self.changes.load(SeqCst);
            if now == seen {
                return;
            }
            seen = now;
        }
    }

    /// Makes sure that ejected endpoints are probed, if there are any.
    pub(super) fn probe_ejected(self: &Arc<Self>) {
        if self.has_ejected() && !self.probing.swap(true, SeqCst) {
            self.shared.runtime.spawn(probe::keep(Arc::downgrade(self)));
        }
    }

    /// True while any endpoint is ejected.
    pub(super) fn has_ejected(&self) -> bool {
        self.members.load().iter().any(|member| !member.endpoint.is_in())
    }

    /// True until a newer state, or none, has taken over.
    pub(super) fn is_current(&self) -> bool {
        self.common.lasting.current.load().as_ptr() == std::ptr::from_ref(self)
    }

    /// The answer for the endpoint at `index` of the spec: sorted addresses without repetition.
    pub(super) fn answered(self: &Arc<Self>, index: usize, answer: Result<Vec<SocketAddr>, String>) {
        let mut control = self.control();
        if control.retired {
            return;
        }
        let name = &*self.spec().endpoints[index].0;
        match answer {
            Err(error) => {
                let kept = control.addresses[index].len();
                if control.errors[index].is_none() {
                    self.common.reporter.tell(&Event::Unresolved { name, error: &error, kept });
                }
                control.errors[index] = Some(error);
            }
            Ok(addresses) => {
                let back = control.errors[index].take().is_some();
                let differs = control.addresses[index] != addresses;
                if back || differs {
                    self.common.reporter.tell(&Event::Resolved { name, addresses: &addresses });
                }
                if differs {
                    control.addresses[index] = addresses;
                    self.rebuild(&mut control, &self.members.load_full());
                    self.refresh();
                }
            }
        }
    }

    /// The result of one active check: `Err` with the reason.
    pub(super) fn checked(&self, member: &Member, result: Result<(), String>) {
        let Some(health) = &self.spec().health else { return };
        let control = self.control();
        if control.retired || self.rest.is_asleep() {
            return;
        }
        let endpoint = member.endpoint.address;
        let turn = member.endpoint.checked(result.is_ok(), health.rise, health.fall);
        drop(control);
        if turn.is_some() {
            self.refresh();
        }
        match (turn, result) {
            (Some(_), Ok(())) => self.common.reporter.tell(&Event::Up { endpoint }),
            (Some(_), Err(reason)) => self.common.reporter.tell(&Event::Down { endpoint, reason: &reason }),
            (None, _) => {}
        }
    }

    /// Every change under the lock leaves it consistent, so a poisoned one is as good as any.
    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UpstreamState {
    fn drop(&mut self) {
        self.retire();
    }
}

impl fmt::Debug for UpstreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamState").field("key", self.key()).field("endpoints", &self.endpoints()).finish()
    }
}
