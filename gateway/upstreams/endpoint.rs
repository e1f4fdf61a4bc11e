//! One endpoint: its address, what is in flight to it, and its health.
//!
//! Health has two halves. *Active* health is `up`, decided by checks alone. *Passive* health is what requests show:
//! five failures in a row (no connection, one that breaks, silence, 502, 503, 504) eject the endpoint for 1 s, then 2,
//! 4 … 30 s. An answer that ended whole starts the count again; its head alone does not, or an endpoint that breaks off
//! every answer would never be found. A 500 is no failure: it comes from the application, and a client that can send
//! what makes it throw could eject one endpoint after the other.
//!
//! When the time of an ejection is over, one probe decides whether the endpoint returns: a request that may be repeated,
//! else after a second a check of our own (see [`probe`](super::probe)). It returns on probation: its next failure ejects
//! it again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::load::Penalty;

/// Failures in a row that eject (Envoy's `consecutive_gateway_failure` default).
const FAILURES: u32 = 5;
/// The first ejection; each further one is twice as long.
const FIRST: u64 = 1_000;
/// The longest ejection. So long without an ejection, and the next one is a first one again.
const LONGEST: u64 = 30_000;
/// The time that a probe may take before another one may start.
const PROBE: u64 = 5_000;
/// The time after the end of an ejection in which only requests that may be repeated probe; then a check of our own does.
const REPEATABLE_ONLY: u64 = 1_000;
/// The time after the end of an ejection from which any request probes, should the check of our own not have decided.
const ANYBODY: u64 = REPEATABLE_ONLY + PROBE;
/// The least time between two times that the reason of a failure is told.
const TELL: u64 = 10_000;

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
    pub(super) penalty: Penalty,
    up: AtomicBool,
    /// Checks in a row with the same result: positive when good, negative when bad.
    streak: AtomicI64,
    failures: AtomicU32,
    /// 0: not ejected. Otherwise ejected, and to be probed from then on.
    ejected_until: AtomicU64,
    /// The number of ejections that decides how long the next one is.
    ejections: AtomicU32,
    /// The number of ejections there ever were.
    epoch: AtomicU32,
    returned: AtomicU64,
    told: AtomicU64,
}

/// The part that a request plays for the health of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptRole {
    /// The endpoint was not ejected; it had been so many times before.
    In(u32),
    /// The endpoint was ejected, and this request decides whether it returns.
    Probe,
    /// The endpoint was ejected, but nothing else was left. An answer brings it back; a failure shows nothing new.
    LastResort,
}

/// The kinds of attempt that may probe an ejected endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prober {
    /// A request that may be sent again elsewhere if it fails.
    Repeatable,
    /// A check of our own, which may take so many milliseconds.
    Check(u64),
    /// A request whose failure its client sees.
    Any,
}

impl Endpoint {
    /// New endpoints are taken for healthy until checks or requests say otherwise.
    pub(super) fn new(id: u64, host: Arc<str>, address: SocketAddr) -> Self {
        Self {
            id,
            host,
            address,
            in_flight: AtomicU32::new(0),
            penalty: Penalty::default(),
            up: AtomicBool::new(true),
            streak: AtomicI64::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            returned: AtomicU64::new(0),
            told: AtomicU64::new(0),
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

    /// The load, as picks compare it.
    pub(super) fn load(&self, now: impl FnOnce() -> Millis) -> u64 {
        self.penalty.load(self.in_flight(), now)
    }

    /// Allows one line about a failure every ten seconds, which a log can bear.
    pub(super) fn tells(&self, now: Millis) -> bool {
        let told = self.told.load(Relaxed);
        (told == 0 || now.saturating_sub(told) >= TELL)
            && self.told.compare_exchange(told, now, Relaxed, Relaxed).is_ok()
    }

    // --- active --------------------------------------------------------------------------------------------------

    /// True unless active checks say that the endpoint is down.
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

    /// Forgets what checks and requests said.
    pub(super) fn forget(&self) {
        self.unchecked();
        self.failures.store(0, Relaxed);
        self.ejected_until.store(0, Relaxed);
    }

    // --- passive -------------------------------------------------------------------------------------------------

    /// True while it is not ejected; needs no clock.
    pub(super) fn is_in(&self) -> bool {
        self.ejected_until.load(Relaxed) == 0
    }

    /// The role of a request that is sent while the endpoint is in.
    pub(super) fn as_member(&self) -> AttemptRole {
        AttemptRole::In(self.epoch.load(Relaxed))
    }

    /// The time from which on it may be probed; `None` while it is in.
    pub(super) fn due(&self, by: Prober) -> Option<Millis> {
        let until = self.ejected_until.load(Relaxed);
        (until != 0).then_some(until + by.waits())
    }

    /// Lets the caller probe; `false` when it is too early, another one was faster, or there is no need.
    pub(super) fn claim_probe(&self, by: Prober, now: Millis) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0
            && until + by.waits() <= now
            && self.ejected_until.compare_exchange(until, now + by.takes(), Relaxed, Relaxed).is_ok()
    }

    /// An answer has begun, and shows that the endpoint works. True when that brings it back.
    pub(super) fn began_well(&self, role: AttemptRole, now: impl FnOnce() -> Millis) -> bool {
        // What was sent before an ejection says nothing about now.
        if matches!(role, AttemptRole::In(_)) || self.is_in() {
            return false;
        }
        self.failures.store(FAILURES - 1, Relaxed);
        self.returned.store(now(), Relaxed);
        self.ejected_until.swap(0, Relaxed) != 0
    }

    /// An answer has ended whole.
    pub(super) fn ended_well(&self, role: AttemptRole) {
        if self.failures.load(Relaxed) != 0 && self.is_in() && !self.is_stale(role) {
            self.failures.store(0, Relaxed);
        }
    }

    /// A request failed. `Some(time)` when that ejects the endpoint.
    pub(super) fn failed(&self, role: AttemptRole, now: Millis) -> Option<Duration> {
        let until = self.ejected_until.load(Relaxed);
        if until == 0 {
            if self.is_stale(role) || self.failures.fetch_add(1, Relaxed) + 1 < FAILURES {
                return None;
            }
            if now.saturating_sub(self.returned.load(Relaxed)) >= LONGEST {
                self.ejections.store(0, Relaxed);
            }
        } else if role != AttemptRole::Probe {
            return None;
        }
        let time = FIRST.saturating_mul(1 << self.ejections.load(Relaxed).min(16)).min(LONGEST);
        self.ejected_until.compare_exchange(until, now + time, Relaxed, Relaxed).ok()?;
        self.ejections.fetch_add(1, Relaxed);
        self.epoch.fetch_add(1, Relaxed);
        Some(Duration::from_millis(time))
    }

    /// True when the endpoint was ejected after the request was sent.
    fn is_stale(&self, role: AttemptRole) -> bool {
        matches!(role, AttemptRole::In(epoch) if epoch != self.epoch.load(Relaxed))
    }
}

impl Prober {
    /// The time after the end of an ejection from which it may probe.
    fn waits(self) -> Millis {
        match self {
            Self::Repeatable => 0,
            Self::Check(_) => REPEATABLE_ONLY,
            Self::Any => ANYBODY,
        }
    }

    /// The time that its probe may take before another one may start.
    fn takes(self) -> Millis {
        match self {
            Self::Check(limit) => limit.max(PROBE),
            Self::Repeatable | Self::Any => PROBE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(1, "127.0.0.1".into(), SocketAddr::from(([127, 0, 0, 1], 80)))
    }

    fn fail(endpoint: &Endpoint, times: u32, now: Millis) -> Option<Duration> {
        let role = endpoint.as_member();
        (0..times).map(|_| endpoint.failed(role, now)).last().flatten()
    }

    #[test]
    fn five_failures_in_a_row_eject_and_a_whole_answer_starts_the_count_again() {
        let endpoint = endpoint();
        let role = endpoint.as_member();
        assert_eq!(fail(&endpoint, 4, 1), None);
        assert!(!endpoint.began_well(role, || 1));
        endpoint.ended_well(role);
        assert_eq!(fail(&endpoint, 4, 1), None);
        assert!(!endpoint.began_well(role, || 1), "a head alone changes nothing");
        assert_eq!(fail(&endpoint, 1, 1), Some(Duration::from_secs(1)));
        assert_eq!(endpoint.due(Prober::Repeatable), Some(1_001));
    }

    #[test]
    fn a_single_probe_decides_and_ejections_grow_to_thirty_seconds() {
        let endpoint = endpoint();
        let mut now = 1 + fail(&endpoint, 5, 1).expect("ejected").as_millis() as u64;
        let claim = |now| endpoint.claim_probe(Prober::Repeatable, now);
        for seconds in [2, 4, 8, 16, 30, 30] {
            assert!(!claim(now - 1), "too early");
            assert!(claim(now) && !claim(now), "one probe");
            assert!(!endpoint.is_in(), "nobody else gets in meanwhile");
            assert_eq!(endpoint.failed(AttemptRole::Probe, now), Some(Duration::from_secs(seconds)));
            now += seconds * 1_000;
        }
        assert!(claim(now));
        assert!(endpoint.began_well(AttemptRole::Probe, || now));
        assert!(endpoint.is_in());
        endpoint.ended_well(AttemptRole::Probe);
        // Soon after, it is the same trouble; after thirty good seconds, a new one.
        assert_eq!(fail(&endpoint, 5, now + 1), Some(Duration::from_secs(30)));
        assert!(claim(now + 30_001) && endpoint.began_well(AttemptRole::Probe, || now + 30_001));
        endpoint.ended_well(AttemptRole::Probe);
        assert_eq!(fail(&endpoint, 5, now + 60_001), Some(Duration::from_secs(1)));
    }

    #[test]
    fn who_may_probe_and_when() {
        let endpoint = endpoint();
        fail(&endpoint, 5, 1);
        let (over, check) = (1_001, Prober::Check(20_000));
        for (by, from) in [(Prober::Repeatable, over), (check, over + 1_000), (Prober::Any, over + 6_000)] {
            assert_eq!(endpoint.due(by), Some(from));
            assert!(!endpoint.claim_probe(by, from - 1), "{by:?}");
        }
        // A check that takes long is not overtaken by another one.
        assert!(endpoint.claim_probe(check, over + 1_000));
        assert!(!endpoint.claim_probe(Prober::Repeatable, over + 20_000));
    }

    #[test]
    fn a_lost_probe_is_followed_by_another() {
        let endpoint = endpoint();
        fail(&endpoint, 5, 1);
        assert!(endpoint.claim_probe(Prober::Repeatable, 2_000));
        assert!(!endpoint.claim_probe(Prober::Repeatable, 2_000 + PROBE - 1));
        assert!(endpoint.claim_probe(Prober::Repeatable, 2_000 + PROBE));
    }

    #[test]
    fn after_its_return_one_failure_ejects_it_until_an_answer_ended_whole() {
        for (whole, ejected) in [(false, Some(Duration::from_secs(2))), (true, None)] {
            let endpoint = endpoint();
            fail(&endpoint, 5, 1);
            assert!(endpoint.claim_probe(Prober::Repeatable, 2_000));
            assert!(endpoint.began_well(AttemptRole::Probe, || 2_000));
            if whole {
                endpoint.ended_well(AttemptRole::Probe);
            }
            // Its own probe that breaks off counts as any other failure.
            assert_eq!(endpoint.failed(AttemptRole::Probe, 2_001), ejected);
        }
    }

    #[test]
    fn what_was_sent_before_the_ejection_decides_nothing() {
        let endpoint = endpoint();
        let before = endpoint.as_member();
        fail(&endpoint, 5, 1);
        assert!(!endpoint.began_well(before, || 2));
        assert_eq!(endpoint.failed(before, 2), None);
        assert!(!endpoint.is_in());
        // Neither does it when the endpoint has returned.
        assert!(endpoint.claim_probe(Prober::Repeatable, 2_000) && endpoint.began_well(AttemptRole::Probe, || 2_000));
        for _ in 0..10 {
            assert_eq!(endpoint.failed(before, 2_001), None);
        }
        endpoint.ended_well(before);
        assert!(fail(&endpoint, 1, 2_002).is_some(), "still on probation");
    }

    #[test]
    fn a_last_resort_brings_it_back_but_makes_nothing_worse() {
        let endpoint = endpoint();
        fail(&endpoint, 5, 1);
        for _ in 0..100 {
            assert_eq!(endpoint.failed(AttemptRole::LastResort, 2), None);
        }
        assert_eq!(endpoint.due(Prober::Repeatable), Some(1_001));
        assert!(endpoint.began_well(AttemptRole::LastResort, || 3));
        assert!(!endpoint.began_well(AttemptRole::LastResort, || 3), "once");
        assert!(endpoint.is_in());
    }

    #[test]
    fn reasons_are_told_once_in_ten_seconds() {
        let endpoint = endpoint();
        let told: Vec<_> = (1..30_000).filter(|now| endpoint.tells(*now)).collect();
        assert_eq!(told, [1, 10_001, 20_001]);
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
        assert!(!endpoint.is_in(), "it was up all the time: requests know better");
        assert_eq!(endpoint.checked(false, 1, 1), Some(false));
        assert_eq!(endpoint.checked(true, 1, 1), Some(true));
        assert!(endpoint.is_in());
        assert_eq!(fail(&endpoint, 4, 1), None);
    }
}
