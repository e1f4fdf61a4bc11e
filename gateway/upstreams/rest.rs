//! Upstreams that nothing asks for: old versions of a function that has many, which no alias names. Their endpoints are neither checked
//! nor looked up, and nothing is remembered of them. The first request wakes one, and so does an alias that names it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::UpstreamState;

/// Whether an upstream rests.
#[derive(Debug)]
pub(super) struct Rest {
    /// True if it rests while no request comes.
    may: AtomicBool,
    /// True while it does.
    is_asleep: AtomicBool,
    /// The time of its last request while it may rest, in milliseconds of its reporter.
    called: AtomicU64,
}

impl Rest {
    /// One that rests until a request comes, or never.
    pub(super) fn new(rests: bool) -> Self {
        Self { may: AtomicBool::new(rests), is_asleep: AtomicBool::new(rests), called: AtomicU64::new(0) }
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.is_asleep.load(Relaxed)
    }
}

impl UpstreamState {
    /// Says whether it rests while no request comes.
    pub fn set_resting(self: &Arc<Self>, rests: bool) {
        if self.rest.may.swap(rests, Relaxed) == rests {
            return;
        }
        if rests {
            self.fall_asleep();
        } else if self.rest.is_asleep.swap(false, Relaxed) {
            self.wake();
        }
    }

    /// Notes that a request wants an endpoint. Costs a load where nothing rests.
    pub(super) fn called(&self) {
        if self.rest.may.load(Relaxed) {
            self.rest.called.store(self.common.reporter.millis(), Relaxed);
            if self.rest.is_asleep()
                && self.rest.is_asleep.swap(false, Relaxed)
                && let Some(state) = self.common.lasting.current()
            {
                self.shared.runtime.spawn(async move { state.wake() });
            }
        }
    }

    /// Ends its checks, and forgets what they and requests said of its endpoints. Lookups end with the next good answer.
    fn fall_asleep(&self) {
        let mut control = self.control();
        if control.retired {
            return;
        }
        self.rest.is_asleep.store(true, Relaxed);
        control.checks.drain().for_each(|(_, task)| task.abort());
        self.members.load().iter().for_each(|member| member.endpoint.forget());
        drop(control);
        self.refresh();
    }

    /// Begins its checks and lookups again.
    fn wake(self: &Arc<Self>) {
        let mut control = self.control();
        // It may have fallen asleep again meanwhile.
        if control.retired || self.rest.is_asleep() {
            return;
        }
        self.look_up(&mut control);
        self.check(&mut control, &self.members.load());
        if self.rest.may.load(Relaxed) {
            self.shared.runtime.spawn(drowse(Arc::downgrade(self)));
        }
    }
}

/// Has an upstream rest again when no request came for long.
async fn drowse(upstream: Weak<UpstreamState>) {
    loop {
        let Some(state) = upstream.upgrade().filter(|state| state.rest.may.load(Relaxed) && !state.rest.is_asleep())
        else {
            return;
        };
        let after = state.shared.rest_after;
        let since = state.common.reporter.millis().saturating_sub(state.rest.called.load(Relaxed));
        let left = after.saturating_sub(Duration::from_millis(since));
        if left.is_zero() {
            return state.fall_asleep();
        }
        drop(state);
        tokio::time::sleep(left).await;
    }
}
