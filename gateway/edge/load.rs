//! Counts of what is under way: open connections, overall and by address, answers that clients do not read, and
//! requests in flight. The caps are held here, and draining waits here.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::model::Limits;
use tokio::sync::Notify;

use crate::policy::refusal::Refusal;

const SHARDS: usize = 16;

/// Open connections and requests in flight.
#[derive(Debug)]
pub struct Load {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Told when one of the counts falls to zero.
    fell_to_zero: Notify,
    by_address: [Mutex<HashMap<IpAddr, Here>>; SHARDS],
    hash: RandomState,
    next_id: AtomicU64,
    connections_max: usize,
    connections_per_address_max: usize,
    unread_per_address_max: usize,
}

/// The counts of one address.
#[derive(Debug, Default)]
struct Here {
    connections: usize,
    unread: usize,
}

impl Load {
    /// Begins with nothing counted, and with the caps of `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            fell_to_zero: Notify::new(),
            by_address: std::array::from_fn(|_| Mutex::default()),
            hash: RandomState::new(),
            next_id: AtomicU64::new(1),
            connections_max: limits.connections,
            connections_per_address_max: limits.connections_per_address,
            unread_per_address_max: limits.unread_per_address,
        }
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Requests in flight.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// Waits until no connection is open.
    pub async fn no_connections(&self) {
        self.zero(&self.connections).await;
    }

    /// Waits until no request is in flight.
    pub async fn no_requests(&self) {
        self.zero(&self.requests).await;
    }

    async fn zero(&self, count: &AtomicUsize) {
        loop {
            let told = self.fell_to_zero.notified();
            tokio::pin!(told);
            // Listens before it looks, so that no fall is missed.
            told.as_mut().enable();
            if count.load(Ordering::Acquire) == 0 {
                return;
            }
            told.await;
        }
    }

    /// Counts a request until the value returned is dropped.
    #[must_use]
    pub fn request(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// Lets a connection in, if there is room.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Admission, Refusal> {
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        let admission = Admission { load: Arc::clone(self), address: None };
        if before < self.connections_max { Ok(admission) } else { Err(Refusal::Connections) }
    }

    /// Counts an answer that this address does not take, if it may have one more.
    pub(super) fn unread(self: &Arc<Self>, address: IpAddr) -> Option<Unread> {
        let address = one_of_a_client(address);
        let mut shard = self.shard(address);
        if shard.get(&address).map_or(0, |here| here.unread) >= self.unread_per_address_max {
            return None;
        }
        shard.entry(address).or_default().unread += 1;
        drop(shard);
        Some(Unread { load: Arc::clone(self), address })
    }

    /// Takes back what was counted of an address.
    fn forget(&self, address: IpAddr, change: impl FnOnce(&mut Here)) {
        let mut shard = self.shard(address);
        if let Some(here) = shard.get_mut(&address) {
            change(here);
            if here.connections == 0 && here.unread == 0 {
                shard.remove(&address);
            }
        }
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, Here>> {
        let hash = self.hash.hash_one(address);
        // A count is whole after every step, so a panic elsewhere under the lock has spoilt nothing.
        self.by_address[(hash >> 32) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, count: &AtomicUsize) {
        if count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.fell_to_zero.notify_waiters();
        }
    }
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Load>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.leave(&self.0.requests);
    }
}

/// A connection that was let in, until dropped.
#[derive(Debug)]
pub(super) struct Admission {
    load: Arc<Load>,
    address: Option<IpAddr>,
}

impl Admission {
    /// Counts the connection under its client's address too.
    pub(super) fn count_address(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let address = one_of_a_client(address);
        let mut shard = self.load.shard(address);
        let here = shard.entry(address).or_default();
        if here.connections >= self.load.connections_per_address_max {
            return Err(Refusal::ConnectionsPerAddress);
        }
        here.connections += 1;
        drop(shard);
        self.address = Some(address);
        Ok(())
    }
}

/// The address that stands for all of one client, which has a /64 of IPv6 addresses or more (RFC 6177).
fn one_of_a_client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.load.forget(address, |here| here.connections -= 1);
        }
        self.load.leave(&self.load.connections);
    }
}

/// An answer that its client does not take, until dropped.
#[derive(Debug)]
pub(super) struct Unread {
    load: Arc<Load>,
    address: IpAddr,
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.load.forget(self.address, |here| here.unread -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_and_their_release() {
        let load = Arc::new(Load::new(&Limits { connections: 3, connections_per_address: 2, ..Limits::default() }));
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let mut first = load.admit().unwrap();
        let mut second = load.admit().unwrap();
        let mut third = load.admit().unwrap();
        assert_eq!(load.admit().unwrap_err(), Refusal::Connections);
        assert_eq!(load.connections(), 3);
        first.count_address(here).unwrap();
        second.count_address(here).unwrap();
        assert_eq!(third.count_address(here), Err(Refusal::ConnectionsPerAddress));
        third.count_address(there).unwrap();
        drop(first);
        load.admit().unwrap().count_address(here).unwrap();
        drop((second, third));
        assert_eq!(load.connections(), 0);
        assert!(load.by_address.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn unread_answers_are_capped_by_address() {
        let load = Arc::new(Load::new(&Limits { unread_per_address: 2, ..Limits::default() }));
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let (one, two) = (load.unread(here).unwrap(), load.unread(here).unwrap());
        assert!(load.unread(here).is_none());
        assert!(load.unread(there).is_some());
        drop(one);
        let again = load.unread(here).unwrap();
        drop((two, again));
        assert!(load.by_address.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn a_client_with_many_ipv6_addresses_is_one() {
        let load = Arc::new(Load::new(&Limits { connections: 9, connections_per_address: 2, ..Limits::default() }));
        let of = |address: &str| {
            let mut admission = load.admit().unwrap();
            admission.count_address(address.parse().unwrap()).map(|()| admission)
        };
        let _held = [of("2001:db8:0:1::1").unwrap(), of("2001:db8:0:1:ffff:ffff:ffff:ffff").unwrap()];
        assert_eq!(of("2001:db8:0:1:2::").unwrap_err(), Refusal::ConnectionsPerAddress);
        drop((of("2001:db8:0:2::1").unwrap(), of("192.0.2.1").unwrap()));
        assert_eq!(load.connections(), 2);
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_one_leaves() {
        let load = Arc::new(Load::new(&Limits::default()));
        load.no_requests().await;
        let (one, two) = (load.request(), load.request());
        let waiting = tokio::spawn({
            let load = Arc::clone(&load);
            async move { load.no_requests().await }
        });
        drop(one);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(load.requests(), 1);
        drop(two);
        waiting.await.unwrap();
    }
}
