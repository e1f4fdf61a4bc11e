//! Active checks: `GET path` on every endpoint, with the same trust and protocol as requests, on connections of their own.
//!
//! A new endpoint counts as healthy until `fall` checks in a row were bad; it is unhealthy until `rise` in a row were
//! good. Checks run on the control plane's runtime and stop with the upstream.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use config::model::HealthCheck;
use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use super::UpstreamState;
use super::pick::Member;

/// Asks endpoints in place of a client. A lane does it, so that a check speaks and trusts as the lane's requests do.
#[async_trait]
pub trait Checker: Send + Sync {
    /// The status of `GET path`, asked on a connection of its own; what went wrong where there is none. `timeout` bounds
    /// each step; who calls bounds the whole.
    async fn get(&self, member: &Member, path: &str, timeout: Duration) -> Result<u16, String>;
}

/// Checks all endpoints of an upstream every `every`, until it is dropped or retired. The start is spread over one
/// period, so that a restart does not check everything at once.
pub(super) async fn keep(upstream: Weak<UpstreamState>) {
    let Some(every) = upstream.upgrade().and_then(|state| state.spec().health.as_ref().map(|check| check.every)) else {
        return;
    };
    let start = tokio::time::Instant::now() + every.mul_f64(rand::rng().random_range(0.0..1.0));
    let mut ticks = interval_at(start, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(state) = upstream.upgrade() else { return };
        check_all(&state).await;
    }
}

async fn check_all(state: &Arc<UpstreamState>) {
    let mut checks = JoinSet::new();
    for member in state.members.load().iter() {
        let (state, member) = (Arc::clone(state), Arc::clone(member));
        checks.spawn(async move {
            let Some(check) = &state.spec().health else { return };
            let Ok(_permit) = state.shared.checks.acquire().await else { return };
            let result = match tokio::time::timeout(check.timeout, ask(&state, &member, check)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer to GET {} within {:?}", check.path, check.timeout)),
            };
            state.checked(&member, result);
        });
    }
    checks.join_all().await;
}

/// One check. Says what was wrong.
async fn ask(state: &UpstreamState, member: &Member, check: &HealthCheck) -> Result<(), String> {
    let status = state.shared.checker.get(member, &check.path, check.timeout).await?;
    let (lowest, highest) = check.status;
    if (lowest..=highest).contains(&status) {
        Ok(())
    } else {
        Err(format!("GET {} answered {status}, healthy is {lowest} to {highest}", check.path))
    }
}
