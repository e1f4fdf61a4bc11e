//! The wait of a connection for its next request: one timer and one watch over the shutdown serve all waits of a connection.
//!
//! Most requests come long before the timer ends, so it is not touched by them: it may end too early, and is then set to when it
//! should. The watch over the shutdown is asked again only when something of it changed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::ShutdownWatch;
use super::closing::last_call;

/// The bounds of all waits of one connection. Waited for by one task.
pub struct IdleWait {
    shutdown: ShutdownWatch,
    /// The gateway was shutting down before the first wait.
    is_down: bool,
    /// Armed at the first wait.
    last_call: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Armed at the first wait.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The beginning of the wait; `None` until it is asked about.
    since: Option<Instant>,
}

impl IdleWait {
    /// The bounds for a connection that this shutdown concerns.
    #[must_use]
    pub fn new(shutdown: &ShutdownWatch) -> Self {
        let (shutdown, is_down) = (shutdown.clone(), *shutdown.borrow());
        Self { shutdown, is_down, last_call: None, sleep: None, since: None }
    }

    /// Another wait begins.
    pub(super) fn begin(&mut self) {
        self.since = None;
    }

    /// Ready when the wait has taken longer than `limit`, or the gateway serves nothing new.
    pub(super) fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_last_call(cx).is_ready() {
            return Poll::Ready(());
        }
        let deadline = *self.since.get_or_insert_with(Instant::now) + limit;
        let sleep = match &mut self.sleep {
            Some(sleep) if sleep.deadline() <= deadline && !sleep.is_elapsed() => return Poll::Pending,
            Some(sleep) => {
                if sleep.deadline() != deadline {
                    sleep.as_mut().reset(deadline);
                }
                sleep
            }
            none => none.insert(Box::pin(sleep_until(deadline))),
        };
        sleep.as_mut().poll(cx)
    }

    fn poll_last_call(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A watch whose sender is gone ends it too.
        let is_told = self.is_down || self.shutdown.has_changed().unwrap_or(true);
        match &mut self.last_call {
            Some(_) if !is_told => Poll::Pending,
            Some(last_call) => last_call.as_mut().poll(cx),
            none => {
                let mut shutdown = self.shutdown.clone();
                none.insert(Box::pin(async move { last_call(&mut shutdown).await })).as_mut().poll(cx)
            }
        }
    }
}

impl fmt::Debug for IdleWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleWait").field("since", &self.since).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::watch;
    use tokio::time::{sleep, timeout};

    use super::super::closing::LAST_CALL;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn ends_after(wait: &mut IdleWait) -> Duration {
        let began = Instant::now();
        wait.begin();
        poll_fn(|cx| wait.poll(LIMIT, cx)).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_the_whole_time() {
        let (_sender, watch) = watch::channel(false);
        let mut wait = IdleWait::new(&watch);
        for _ in 0..5 {
            let early = timeout(Duration::from_secs(50), ends_after(&mut wait)).await;
            assert!(early.is_err(), "{early:?}");
            // A request takes longer than what was left of the time.
            sleep(Duration::from_secs(20)).await;
        }
        for _ in 0..2 {
            assert_eq!(ends_after(&mut wait).await.as_secs(), LIMIT.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_ends_the_wait_whenever_it_is_told() {
        for waits_before in [false, true] {
            let (sender, watch) = watch::channel(false);
            let mut wait = IdleWait::new(&watch);
            if waits_before {
                let early = timeout(Duration::from_secs(1), ends_after(&mut wait)).await;
                assert!(early.is_err(), "{early:?}");
            }
            // Told between two waits.
            sender.send_replace(true);
            assert_eq!(ends_after(&mut wait).await, LAST_CALL);
        }
        let (sender, watch) = watch::channel(false);
        let mut wait = IdleWait::new(&watch);
        let told = async {
            sleep(Duration::from_secs(5)).await;
            sender.send_replace(true);
        };
        let (waited, ()) = tokio::join!(ends_after(&mut wait), told);
        assert_eq!(waited, Duration::from_secs(5) + LAST_CALL);
        let mut late = IdleWait::new(&watch);
        assert_eq!(ends_after(&mut late).await, LAST_CALL);
    }
}
