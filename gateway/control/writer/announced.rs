//! The newest hash of the journal, announced where whoever can write the store cannot change it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Writer;
use crate::clock;
use crate::control::journal::Hash;
use crate::notify::{Notice, Severity};
use crate::store::Revision;

/// The longest time from a change until its hash is announced.
const AT_LEAST_EVERY: Duration = Duration::from_secs(3600);

impl Writer {
    /// Writes the newest hash of the journal where it can be compared with later: whoever changes the store cannot change that.
    pub(super) fn announce_head(&mut self) {
        if let Some(head) = &self.known.head {
            let revision = self.known.stored.revision;
            tracing::info!("the journal stands at revision {revision} with hash {}", head.as_str());
            self.tell_notifiers(revision, head);
            self.announced = Some((revision, clock::now()));
        }
    }

    /// Announces the newest hash where it was not for long, and is another one by now.
    pub(super) fn announce_late(&mut self) {
        let is_due = |(revision, at): &(Revision, Instant)| {
            *revision != self.known.stored.revision && at.elapsed() >= AT_LEAST_EVERY
        };
        if self.announced.as_ref().is_none_or(is_due) {
            self.announce_head();
        }
    }

    /// Tells the notifiers of `journal.notify`.
    fn tell_notifiers(&self, revision: Revision, head: &Hash) {
        for name in &*self.ground.journal_notify {
            let Some(notifier) = self.known.stored.config.notifiers.get(name) else {
                tracing::warn!("`journal.notify` names the notifier `{name}`, which is not there and hears nothing");
                continue;
            };
            let notice = Notice {
                title: format!("the journal at revision {revision}"),
                text: format!("the line of revision {revision} has the hash {}; `weir verify` compares", head.as_str()),
                severity: Severity::Info,
                facts: json!({ "kind": "journal", "revision": revision, "hash": head.as_str() }),
                links: Vec::new(),
            };
            self.ground.calls.notifiers.tell(name, notifier, notice);
        }
    }
}
