//! An endpoint in its upstream, as picks and lanes see it, and a pick of it: in flight until it is dropped, told once how
//! the attempt went.

use std::fmt::{self, Display};
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

use super::endpoint::{AttemptRole, Endpoint, Prober};
use super::state::Common;
use super::{Event, Rendered, Trust};
use crate::clock;

/// The ways in which an attempt fails, as passive health counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unreachable, timed out, or TLS refused.
    Connect,
    /// The connection broke before the response was complete.
    Reset,
    /// Connected, but silent for too long.
    Timeout,
    /// An answer 502, 503 or 504.
    Status(u16),
}

/// No result was counted for an attempt.
const NOTHING: u8 = 0;
/// The application threw: a penalty, no failure.
const THROWN: u8 = 1;
/// A failure was counted.
const FAILED: u8 = 2;

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Reset => f.write_str("a connection that broke"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Status(status) => write!(f, "an answer {status}"),
        }
    }
}

/// One endpoint of one upstream.
#[derive(Debug)]
pub struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    port: u16,
    authority: Box<str>,
    pub(super) common: Arc<Common>,
}

/// A picked endpoint, in flight until it is dropped. A pick that is told nothing (a client that left) changes nothing.
#[derive(Debug)]
pub struct Pick {
    member: Arc<Member>,
    role: AttemptRole,
    /// The time of the pick, if the answer is to be timed.
    began: Option<Instant>,
    /// `NOTHING`, `THROWN` or `FAILED`: one attempt counts as one failure at most.
    counted: AtomicU8,
}

impl Pick {
    /// Counts the attempt as in flight. `timed`: a good answer's time becomes part of the upstream's pace.
    pub(super) fn new(member: &Arc<Member>, role: AttemptRole, timed: bool) -> Self {
        member.endpoint.begin();
        let began = timed.then(clock::now);
        Self { member: Arc::clone(member), role, began, counted: AtomicU8::new(NOTHING) }
    }

    /// The endpoint.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// The head of an answer came; informational ones but 101 do not count. 502, 503 and 504 are failures. Any other 5xx
    /// weighs on the endpoint's load for a while, so that failing at once attracts no requests, but never ejects.
    pub fn answered(&self, status: u16) {
        match status {
            502..=504 => self.count(Failure::Status(status)),
            500.. => {
                self.member.penalise();
                self.counted.store(THROWN, Relaxed);
                self.began_well();
            }
            // The rest of a connection that was switched is no answer that could end whole.
            101 => {
                self.began_well();
                self.member.endpoint.ended_well(self.role);
            }
            200.. => self.began_well(),
            _ => {}
        }
    }

    /// The answer ended whole.
    pub fn completed(&self) {
        let counted = self.counted.load(Relaxed);
        if counted == FAILED {
            return;
        }
        self.member.endpoint.ended_well(self.role);
        if let Some(began) = self.began.filter(|_| counted == NOTHING) {
            let time = clock::now().saturating_duration_since(began).as_micros();
            self.member.common.lasting.pace.observe(u32::try_from(time).unwrap_or(u32::MAX));
        }
    }

    /// The attempt failed, or its answer broke off.
    pub fn failed(&self, failure: Failure) {
        self.count(failure);
    }

    /// The attempt failed for a reason that an operator wants to read, such as a refused certificate. The reason is told
    /// at most every ten seconds for each endpoint.
    pub fn failed_because(&self, failure: Failure, reason: &dyn Display) {
        self.member.explain(reason);
        self.count(failure);
    }

    fn began_well(&self) {
        let reporter = &self.member.common.reporter;
        if self.member.endpoint.began_well(self.role, || reporter.millis()) {
            self.member.returned();
        }
    }

    fn count(&self, failure: Failure) {
        if self.counted.swap(FAILED, Relaxed) != FAILED {
            self.member.penalise();
            self.member.failed(self.role, failure);
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.member.endpoint.end();
    }
}

/// Everything about the endpoint.
impl Deref for Pick {
    type Target = Member;

    fn deref(&self) -> &Member {
        &self.member
    }
}

impl Member {
    pub(super) fn new(endpoint: Arc<Endpoint>, port: u16, common: Arc<Common>) -> Self {
        let authority = authority(&endpoint.host, port, common.spec.tls.is_some()).into();
        Self { endpoint, port, authority, common }
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// The host as configured: a name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// The port of the endpoint.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as a `Host` field writes them: without the scheme's default port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A number that no other endpoint of the process has or had.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.endpoint.id
    }

    /// The specification of its upstream: protocol, TLS, timeouts.
    #[must_use]
    pub fn spec(&self) -> &Rendered {
        &self.common.spec
    }

    /// The authorities that a connection to it trusts.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.common.trust
    }

    /// Lets the caller probe it, if it is ejected and the time has come.
    pub(super) fn claims(&self, by: Prober) -> bool {
        !self.endpoint.is_in() && self.endpoint.claim_probe(by, self.common.reporter.millis())
    }

    /// The load, as picks compare it.
    pub(super) fn load(&self) -> u64 {
        self.endpoint.load(|| self.common.reporter.millis())
    }

    /// An ejection has ended.
    pub(super) fn returned(&self) {
        self.common.reporter.tell(&Event::Returned { endpoint: self.endpoint.address });
        if let Some(upstream) = self.common.lasting.current() {
            upstream.refresh();
        }
    }

    /// A request or a probe failed.
    pub(super) fn failed(&self, role: AttemptRole, after: Failure) {
        let reporter = &self.common.reporter;
        if let Some(time) = self.endpoint.failed(role, reporter.millis()) {
            reporter.tell(&Event::Ejected { endpoint: self.endpoint.address, after, time });
            if let Some(upstream) = self.common.lasting.current() {
                upstream.refresh();
                upstream.probe_ejected();
            }
        }
    }

    /// Tells why an attempt or a probe failed, but not more often than a log can bear.
    pub(super) fn explain(&self, reason: &dyn Display) {
        let reporter = &self.common.reporter;
        if self.endpoint.tells(reporter.millis()) {
            reporter.tell(&Event::Failing { endpoint: self.endpoint.address, reason: &reason.to_string() });
        }
    }

    fn penalise(&self) {
        self.endpoint.penalty.add(self.common.reporter.millis(), self.common.lasting.pace.half_life());
    }
}

/// Host and port as in a `Host` field: IPv6 addresses in brackets (RFC 3986, 3.2.2), no port where it is the scheme's
/// (RFC 9110, 4.2.1 and 4.2.2), because strict virtual hosts and signatures do not know the name with it.
fn authority(host: &str, port: u16, tls: bool) -> String {
    let is_default = port == if tls { 443 } else { 80 };
    match (host.parse::<Ipv6Addr>().is_ok(), is_default) {
        (false, true) => host.to_owned(),
        (false, false) => format!("{host}:{port}"),
        (true, true) => format!("[{host}]"),
        (true, false) => format!("[{host}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_leaves_out_the_port_of_its_scheme() {
        for (host, port, tls, expected) in [
            ("shop.test", 80, false, "shop.test"),
            ("shop.test", 443, true, "shop.test"),
            ("shop.test", 443, false, "shop.test:443"),
            ("shop.test", 80, true, "shop.test:80"),
            ("10.0.0.1", 8080, false, "10.0.0.1:8080"),
            ("::1", 80, false, "[::1]"),
            ("::1", 8443, true, "[::1]:8443"),
        ] {
            assert_eq!(authority(host, port, tls), expected);
        }
    }
}
