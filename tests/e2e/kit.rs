//! What every end-to-end test needs: the real binary, endpoints that record bytes, clients that send bytes.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod endpoint;
pub(crate) mod endpoint_h2;
pub(crate) mod frame;
pub(crate) mod h2;
pub(crate) mod lane;
pub(crate) mod load;
pub(crate) mod message;
pub(crate) mod rollout;
pub(crate) mod script;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod weir;
pub(crate) mod wire;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long anything may take before a test gives up. Ten times what a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The value of `probe` as soon as there is one. Panics with `what` when patience ends.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits until a number has stopped rising.
pub(crate) async fn settled(what: &str, mut number: impl FnMut() -> u64) -> u64 {
    let mut last = number();
    eventually(what, async || {
        sleep(Duration::from_millis(500)).await;
        let now = number();
        let still = now <= last;
        last = now;
        still.then_some(now)
    })
    .await
}

/// The future's value. Panics with `what` when patience ends.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
