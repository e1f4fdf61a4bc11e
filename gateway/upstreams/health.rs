//! Active checks: `GET path` on every endpoint, with the same trust and protocol as requests, on connections of their own.
//!
//! A new endpoint counts as healthy until `fall` checks in a row were bad; it is unhealthy until `rise` in a row were
//! good. Each endpoint has a task of its own on the control plane's runtime, so that one that hangs delays no other. The
//! task ends with the endpoint or its upstream.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use config::model::HealthCheck;
use rand::RngExt;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::UpstreamState;
use super::member::Member;

/// Asks endpoints in place of a client. A lane does it, so that a check speaks and trusts as the lane's requests do.
#[async_trait]
pub trait Checker: Send + Sync {
    /// The status of `GET path`, asked on a connection of its own; what went wrong where there is none. `limit` bounds
    /// each step; who calls bounds the whole.
    async fn get(&self, member: &Member, path: &str, limit: Duration) -> Result<u16, String>;

    /// Connects, with the TLS handshake where the upstream has TLS, and closes the connection. Says what went wrong.
    async fn connect(&self, member: &Member, limit: Duration) -> Result<(), String>;
}

/// Checks one endpoint every `every`. The start is spread over one period, so that a restart does not check everything at
/// once.
pub(super) async fn keep(upstream: Weak<UpstreamState>, member: Arc<Member>) {
    let Some(check) = &member.spec().health else { return };
    let start = tokio::time::Instant::now() + check.every.mul_f64(rand::rng().random_range(0.0..1.0));
    let mut ticks = interval_at(start, check.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(checker) = upstream.upgrade().map(|state| Arc::clone(&state.shared.checker)) else { return };
        let result = ask(&*checker, &member, check).await;
        let Some(state) = upstream.upgrade() else { return };
        state.checked(&member, result);
    }
}

/// One check. Says what was wrong.
pub(super) async fn ask(checker: &dyn Checker, member: &Member, check: &HealthCheck) -> Result<(), String> {
    let HealthCheck { path, timeout: limit, .. } = check;
    let status = match timeout(*limit, checker.get(member, path, *limit)).await {
        Ok(status) => status?,
        Err(_) => return Err(format!("no answer to GET {path} within {limit:?}")),
    };
    let (lowest, highest) = check.status;
    if (lowest..=highest).contains(&status) {
        Ok(())
    } else {
        Err(format!("GET {path} answered {status}, healthy is {lowest} to {highest}"))
    }
}
