//! Mistakes in the guardian itself: each costs one rollout, and is told.

use std::panic::{self, AssertUnwindSafe};

use config::release::rollout::{Event, Speaker, Word};

use super::Guarding;
use crate::live::Unusable;
use crate::{clock, metrics};

impl Guarding {
    /// Goes on after a panic, which is a mistake in this program: tells of it for as long as the process runs, and forgets what may be half
    /// done.
    pub(super) fn recover(&mut self, what: &str, panic: &str) {
        tracing::error!("{what} failed, which is a mistake in Weir; it goes on: {panic}");
        let reason =
            format!("{what} failed, which is a mistake in Weir: {panic}; a rollout that cannot be watched goes back");
        let thing = Unusable { name: what.to_owned(), reason, since: clock::unix() };
        let known = self.ground.live.unusable().get(metrics::GUARDIAN).cloned().unwrap_or_default();
        let mut things: Vec<Unusable> = known.iter().filter(|known| known.name != thing.name).cloned().collect();
        things.push(thing);
        self.ground.metrics.set_unusable(metrics::GUARDIAN, things.len());
        self.ground.live.set_unusable(metrics::GUARDIAN, things);
        self.due.clear();
        self.waiting.clear();
    }
}

/// Does this; the words of the panic if it panics. Whoever calls it puts in order what may be half done.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

/// The event that sends a rollout back which cannot go on.
pub(super) fn go_back(why: &str) -> Event {
    let speaker = Speaker { who: "guardian".to_owned(), why: Some(why.to_owned()) };
    Event::Said { word: Word::Abort, speaker, step: None }
}
