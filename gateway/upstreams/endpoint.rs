//! One endpoint: its address, what is in flight to it, and its health.
//!
//! Health has two halves. *Active* health is `up`, decided by checks alone. *Passive* health is what requests show: five
//! failures in a row eject the endpoint for 1 s, then 2, 4 … 30 s; when the time is over a single request probes it and
//! decides. An ejection is only an advice to the pick (see [`pick`](super::pick)): it never makes a version unhealthy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Failures in a row that eject (Envoy's `consecutive_gateway_failure` default).
const FAILURES: u32 = 5;
/// The first ejection; each further one is twice as long.
const FIRST: u64 = 1_000;
/// The longest ejection. So long without an ejection, and the next one is a first one again.
const LONGEST: u64 = 30_000;
/// How long a probe may take before another request becomes the probe.
const PROBE: u64 = 5_000;

/// Milliseconds since the gateway started, never 0.
pub(super) type Millis = u64;

/// The state of one endpoint. Lives as long as its upstream names it, over config and DNS changes.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Distinct among all endpoints of the process.
    pub(super) id: u64,
    /// Name or IP address as configured.
    pub(super) host: Arc<str>,
    pub(super) address: SocketAddr,
    in_flight: AtomicU32,
    up: AtomicBool,
    /// Checks in a row with the same result: positive when good, negative when bad.
    streak: AtomicI64,
    failures: AtomicU32,
    /// 0: not ejected. Otherwise ejected, and to be probed from then on.
    ejected_until: AtomicU64,
    ejections: AtomicU32,
    returned: AtomicU64,
}

/// What passive health says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Requests show nothing bad.
    Good,
    /// Ejected; the time is not over.
    Ejected,
    /// Ejected, and the next request may try it.
    ProbeDue,
}

impl Endpoint {
    /// New endpoints are taken for healthy until checks or requests say otherwise.
    pub(super) fn new(id: u64, host: Arc<str>, address: SocketAddr) -> Self {
        Self {
            id,
            host,
            address,
            in_flight: AtomicU32::new(0),
            up: AtomicBool::new(true),
            streak: AtomicI64::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            returned: AtomicU64::new(0),
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    // --- active --------------------------------------------------------------------------------------------------

    /// Whether active checks let requests through.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Takes the result of one check; `Some(up)` when that changes the endpoint. Called by one task at a time.
    pub(super) fn checked(&self, good: bool, rise: u32, fall: u32) -> Option<bool> {
        let streak = self.streak.load(Relaxed);
        let streak = if good { streak.max(0) + 1 } else { streak.min(0) - 1 };
        self.streak.store(streak, Relaxed);
        let up = self.is_up();
        let turns = if up { streak <= -i64::from(fall.max(1)) } else { streak >= i64::from(rise.max(1)) };
        if turns {
            self.up.store(!up, Relaxed);
        }
        if turns && !up {
            // It answers: an ejection from the time when it was down has no reason any more.
            self.failures.store(0, Relaxed);
            self.ejected_until.store(0, Relaxed);
        }
        turns.then_some(!up)
    }

    /// Forgets what checks said: there are none any more.
    pub(super) fn unchecked(&self) {
        self.streak.store(0, Relaxed);
        self.up.store(true, Relaxed);
    }

    // --- passive -------------------------------------------------------------------------------------------------

    /// Whether it was never ejected, or has returned; needs no clock.
    pub(super) fn in_good_standing(&self) -> bool {
        self.ejected_until.load(Relaxed) == 0
    }

    pub(super) fn standing(&self, now: Millis) -> Standing {
        match self.ejected_until.load(Relaxed) {
            0 => Standing::Good,
            until if until > now => Standing::Ejected,
            _ => Standing::ProbeDue,
        }
    }

    /// Makes the caller's request the probe; `false` when another one was faster.
    pub(super) fn claim_probe(&self, now: Millis) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0 && until <= now && self.ejected_until.compare_exchange(until, now + PROBE, Relaxed, Relaxed).is_ok()
    }

    /// A request was answered. True when that brings the endpoint back.
    pub(super) fn succeeded(&self, probe: bool, now: impl FnOnce() -> Millis) -> bool {
        if probe {
            self.failures.store(0, Relaxed);
            self.returned.store(now(), Relaxed);
            return self.ejected_until.swap(0, Relaxed) != 0;
        }
        // What was sent before an ejection says nothing about now.
        if self.failures.load(Relaxed) != 0 && self.in_good_standing() {
            self.failures.store(0, Relaxed);
        }
        false
    }

    /// A request failed. `Some(time)` when that ejects the endpoint; `last` tells that no other one is left.
    pub(super) fn failed(&self, probe: bool, now: Millis, last: impl FnOnce() -> bool) -> Option<Duration> {
        let until = self.ejected_until.load(Relaxed);
        if !probe {
            if until != 0 || self.failures.fetch_add(1, Relaxed) + 1 < FAILURES || last() {
                return None;
            }
            if now.saturating_sub(self.returned.load(Relaxed)) >= LONGEST {
                self.ejections.store(0, Relaxed);
            }
        }
        let time = FIRST.saturating_mul(1 << self.ejections.load(Relaxed).min(16)).min(LONGEST);
        self.ejected_until.compare_exchange(until, now + time, Relaxed, Relaxed).ok()?;
        self.ejections.fetch_add(1, Relaxed);
        Some(Duration::from_millis(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(1, "127.0.0.1".into(), SocketAddr::from(([127, 0, 0, 1], 80)))
    }

    fn fail(endpoint: &Endpoint, times: u32, now: Millis) -> Option<Duration> {
        (0..times).map(|_| endpoint.failed(false, now, || false)).last().flatten()
    }

    #[test]
    fn five_failures_in_a_row_eject_and_one_success_starts_the_count_again() {
        let endpoint = endpoint();
        assert_eq!(fail(&endpoint, 4, 1), None);
        assert!(!endpoint.succeeded(false, || 1));
        assert_eq!(fail(&endpoint, 4, 1), None);
        assert_eq!(fail(&endpoint, 1, 1), Some(Duration::from_secs(1)));
        assert_eq!(endpoint.standing(1_000), Standing::Ejected);
        assert_eq!(endpoint.standing(1_001), Standing::ProbeDue);
    }

    #[test]
    fn a_single_probe_decides_and_ejections_grow_to_thirty_seconds() {
        let endpoint = endpoint();
        let mut now = 1 + fail(&endpoint, 5, 1).expect("ejected").as_millis() as u64;
        for seconds in [2, 4, 8, 16, 30, 30] {
            assert!(endpoint.claim_probe(now) && !endpoint.claim_probe(now), "one probe");
            assert_eq!(endpoint.standing(now), Standing::Ejected, "nobody else gets in meanwhile");
            assert_eq!(endpoint.failed(true, now, || true), Some(Duration::from_secs(seconds)));
            now += seconds * 1_000;
        }
        assert!(endpoint.claim_probe(now));
        assert!(endpoint.succeeded(true, || now));
        assert_eq!(endpoint.standing(now), Standing::Good);
        // Soon after, it is the same trouble; after thirty good seconds, a new one.
        assert_eq!(fail(&endpoint, 5, now + 1), Some(Duration::from_secs(30)));
        assert!(endpoint.claim_probe(now + 30_001) && endpoint.succeeded(true, || now + 30_001));
        assert_eq!(fail(&endpoint, 5, now + 60_001), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_lost_probe_is_followed_by_another() {
        let endpoint = endpoint();
        fail(&endpoint, 5, 1);
        assert!(endpoint.claim_probe(2_000));
        assert!(!endpoint.claim_probe(2_000 + PROBE - 1));
        assert!(endpoint.claim_probe(2_000 + PROBE));
    }

    #[test]
    fn what_was_sent_before_the_ejection_decides_nothing() {
        let endpoint = endpoint();
        fail(&endpoint, 5, 1);
        assert!(!endpoint.succeeded(false, || 2));
        assert_eq!(endpoint.failed(false, 2, || false), None);
        assert_eq!(endpoint.standing(500), Standing::Ejected);
    }

    #[test]
    fn the_last_one_stays_until_it_is_no_longer_the_last() {
        let endpoint = endpoint();
        for _ in 0..100 {
            assert_eq!(endpoint.failed(false, 1, || true), None);
        }
        assert_eq!(endpoint.failed(false, 1, || false), Some(Duration::from_secs(1)));
    }

    #[test]
    fn checks_turn_it_by_rise_and_fall() {
        let endpoint = endpoint();
        let results = [false, false, true, false, false, false, false, true, false, true, true, true];
        let turns: Vec<_> = results.iter().map(|good| endpoint.checked(*good, 2, 3)).collect();
        let mut want = vec![None; results.len()];
        want[5] = Some(false);
        want[10] = Some(true);
        assert_eq!(turns, want);
    }

    #[test]
    fn checks_that_pass_again_end_an_ejection() {
        let endpoint = endpoint();
        fail(&endpoint, 5, 1);
        assert_eq!(endpoint.checked(true, 1, 1), None);
        assert_eq!(endpoint.standing(1), Standing::Ejected, "it was up all the time: requests know better");
        assert_eq!(endpoint.checked(false, 1, 1), Some(false));
        assert_eq!(endpoint.checked(true, 1, 1), Some(true));
        assert_eq!(endpoint.standing(1), Standing::Good);
        assert_eq!(fail(&endpoint, 4, 1), None);
    }
}
