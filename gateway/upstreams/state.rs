//! One upstream at run time: its members, kept up to date by the control plane and picked from by requests.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;

use super::endpoint::Endpoint;
use super::pick::Member;
use super::trust::Trust;
use super::{Event, Rendered, Reporter, RetryBudget, Shared, UpstreamKey, health, names};

/// One upstream at run time: its endpoints, their health, its retry budget.
pub struct UpstreamState {
    pub(super) common: Arc<Common>,
    pub(super) shared: Arc<Shared>,
    budget: Arc<RetryBudget>,
    pub(super) members: ArcSwap<Box<[Arc<Member>]>>,
    healthy: AtomicBool,
    control: Mutex<Control>,
}

/// What an upstream has in common with its members, which outlive it where a request holds one.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) spec: Arc<Rendered>,
    pub(super) trust: Trust,
    pub(super) reporter: Reporter,
    pub(super) upstream: Weak<UpstreamState>,
}

/// What only the control plane touches.
struct Control {
    /// For each endpoint of the spec its addresses: the IP address itself, or the last good answer.
    addresses: Vec<Vec<SocketAddr>>,
    /// What the last lookup of each said, when it failed.
    errors: Vec<Option<String>>,
    tasks: Vec<AbortHandle>,
    /// A newer state, or none, has taken over: nothing may change any more.
    retired: bool,
}

impl UpstreamState {
    /// Whether the version can answer: some endpoint exists that active checks do not say is down. One atomic load.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// Which upstream it is.
    #[must_use]
    pub fn key(&self) -> &UpstreamKey {
        &self.common.reporter.key
    }

    /// What it is made of.
    #[must_use]
    pub fn spec(&self) -> &Arc<Rendered> {
        &self.common.spec
    }

    /// What is left for retries.
    #[must_use]
    pub fn budget(&self) -> &RetryBudget {
        &self.budget
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
                ejected: !member.endpoint.in_good_standing(),
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
    /// Where it is.
    pub address: SocketAddr,
    /// What active checks say; true without checks.
    pub up: bool,
    /// What requests show.
    pub ejected: bool,
    /// Attempts in flight.
    pub in_flight: u32,
}

impl UpstreamState {
    /// Builds the state, retires the old one, and starts the tasks it needs.
    pub(super) fn start(
        shared: &Arc<Shared>,
        key: UpstreamKey,
        spec: Arc<Rendered>,
        trust: Trust,
        old: Option<&Self>,
    ) -> Arc<Self> {
        let percent = spec.retries.budget;
        let budget = old.map_or_else(|| Arc::new(RetryBudget::new(percent)), |old| Arc::clone(&old.budget));
        budget.set_percent(percent);
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
        let state = Arc::new_cyclic(|this| Self {
            common: Arc::new(Common { spec, trust, reporter, upstream: Weak::clone(this) }),
            shared: Arc::clone(shared),
            budget,
            members: ArcSwap::from_pointee(Box::default()),
            healthy: AtomicBool::new(false),
            control: Mutex::new(Control { addresses, errors, tasks: Vec::new(), retired: false }),
        });
        let known = old.map(|old| old.members.load_full());
        state.set_up(known.as_ref().map_or(&[], |known| known));
        state
    }

    /// Makes the first members and starts the tasks.
    fn set_up(&self, known: &[Arc<Member>]) {
        let mut control = self.control();
        self.rebuild(&control.addresses, known);
        let Common { spec, upstream, .. } = &*self.common;
        if spec.health.is_none() {
            self.members.load().iter().for_each(|member| member.endpoint.unchecked());
        }
        self.refresh();
        let runtime = &self.shared.runtime;
        if names::has_names(spec) {
            control.tasks.push(runtime.spawn(names::keep(Weak::clone(upstream))).abort_handle());
        }
        if spec.health.is_some() {
            control.tasks.push(runtime.spawn(health::keep(Weak::clone(upstream))).abort_handle());
        }
    }

    /// Stops the tasks; from here on nothing but requests changes an endpoint. Returns the addresses of each endpoint.
    pub(super) fn retire(&self) -> HashMap<(String, u16), Vec<SocketAddr>> {
        let mut control = self.control();
        control.retired = true;
        control.tasks.drain(..).for_each(|task| task.abort());
        self.spec().endpoints.iter().cloned().zip(control.addresses.iter().cloned()).collect()
    }

    /// Makes the members for these addresses; endpoints among `known` keep their state.
    fn rebuild(&self, addresses: &[Vec<SocketAddr>], known: &[Arc<Member>]) {
        let known: HashMap<(&str, SocketAddr), &Arc<Member>> =
            known.iter().map(|member| ((&*member.endpoint.host, member.endpoint.address), member)).collect();
        let mut members = Vec::new();
        for ((host, port), addresses) in self.spec().endpoints.iter().zip(addresses) {
            for &address in addresses {
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
        self.members.store(Arc::new(members.into_boxed_slice()));
    }

    /// Brings `healthy` up to date. Called under the control lock.
    fn refresh(&self) {
        let healthy = self.members.load().iter().any(|member| member.endpoint.is_up());
        self.healthy.store(healthy, Relaxed);
    }

    /// The answer for the endpoint at `index` of the spec: sorted addresses without repetition.
    pub(super) fn answered(&self, index: usize, answer: Result<Vec<SocketAddr>, String>) {
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
                    self.rebuild(&control.addresses, &self.members.load_full());
                    self.refresh();
                }
            }
        }
    }

    /// The result of one active check: `Err` with the reason.
    pub(super) fn checked(&self, member: &Member, result: Result<(), String>) {
        let Some(health) = &self.spec().health else { return };
        let control = self.control();
        if control.retired {
            return;
        }
        let endpoint = member.endpoint.address;
        let turn = member.endpoint.checked(result.is_ok(), health.rise, health.fall);
        self.refresh();
        drop(control);
        match (turn, result) {
            (Some(_), Ok(())) => self.common.reporter.tell(&Event::Up { endpoint }),
            (Some(_), Err(reason)) => self.common.reporter.tell(&Event::Down { endpoint, reason: &reason }),
            (None, _) => {}
        }
    }

    /// Every change under the lock leaves it consistent, so a poisoned one is as good as any.
    fn control(&self) -> MutexGuard<'_, Control> {
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
