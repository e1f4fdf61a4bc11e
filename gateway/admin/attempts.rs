//! Failed attempts to get in, by the address that they came from: tokens of the admin API, and keys that clouds' clients sign with.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// So many failures of one address within [`WINDOW`], and the rest is told to wait.
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; beyond it all others count as one.
const ADDRESSES: usize = 4096;

/// The failures of each address.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Option<IpAddr>, Failures>>);

/// The failures of one address.
#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Attempts {
    /// Notes a failure; the seconds to wait, if there were too many.
    pub fn failed(&self, address: Option<IpAddr>) -> Option<u64> {
        let now = clock::now();
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = address;
        if attempts.len() >= ADDRESSES && !attempts.contains_key(&key) {
            attempts.retain(|_, seen| now.saturating_duration_since(seen.since) < WINDOW);
            key = key.filter(|_| attempts.len() < ADDRESSES);
        }
        let seen = attempts.entry(key).or_insert(Failures { since: now, count: 0 });
        if now.saturating_duration_since(seen.since) >= WINDOW {
            *seen = Failures { since: now, count: 0 };
        }
        seen.count = seen.count.saturating_add(1);
        let left = WINDOW.saturating_sub(now.saturating_duration_since(seen.since));
        (seen.count > MOST).then(|| left.as_secs() + 1)
    }
}
