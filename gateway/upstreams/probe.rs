//! Probes of ejected endpoints that no request has probed.
//!
//! A version all of whose endpoints are ejected gets no requests while a spare answers, and a version that is asked by
//! `POST` alone none that may be repeated. So a second after the time of an ejection a check of our own decides: the
//! upstream's health check where it has one, else a connection (with its TLS handshake).

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::endpoint::{AttemptRole, Millis, Prober};
use super::member::{Failure, Member};
use super::{UpstreamState, health};

/// Bounds of the time between two looks.
const SHORTEST: Millis = 20;
const LONGEST: Millis = 1_000;

/// Probes until nothing is ejected any more, or another state counts. One task for each upstream at a time.
pub(super) async fn keep(upstream: Weak<UpstreamState>) {
    loop {
        let Some(state) = upstream.upgrade().filter(|state| state.is_current()) else { return };
        if !state.has_ejected() {
            state.probing.store(false, SeqCst);
            // For what was ejected between the two lines above.
            state.probe_ejected();
            return;
        }
        let pause = look(&state);
        drop(state);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Starts the probes that are due; returns the milliseconds until the next look.
fn look(state: &Arc<UpstreamState>) -> Millis {
    let now = state.common.reporter.millis();
    let mut pause = LONGEST;
    for member in state.members.load().iter() {
        let limit = limit(member);
        let prober = Prober::Check(limit.as_millis() as Millis);
        // An endpoint that is down by checks returns by checks.
        if !member.endpoint.is_up() {
            continue;
        }
        if member.claims(prober) {
            tokio::spawn(probe(Arc::clone(state), Arc::clone(member), limit));
        } else if let Some(due) = member.endpoint.due(prober) {
            pause = pause.min(due.saturating_sub(now).max(SHORTEST));
        }
    }
    pause
}

/// The time that a probe may take.
fn limit(member: &Member) -> Duration {
    let spec = member.spec();
    spec.health.as_ref().map_or(spec.timeouts.connect, |check| check.timeout)
}

async fn probe(state: Arc<UpstreamState>, member: Arc<Member>, limit: Duration) {
    let checker = Arc::clone(&state.shared.checker);
    // The state may go while the probe is under way.
    drop(state);
    let result = match &member.spec().health {
        Some(check) => health::ask(&*checker, &member, check).await,
        None => match tokio::time::timeout(limit, checker.connect(&member, limit)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no connection within {limit:?}")),
        },
    };
    match result {
        Ok(()) => {
            if member.endpoint.began_well(AttemptRole::Probe, || member.common.reporter.millis()) {
                member.returned();
            }
        }
        Err(reason) => {
            member.explain(&reason);
            member.failed(AttemptRole::Probe, Failure::Connect);
        }
    }
}
