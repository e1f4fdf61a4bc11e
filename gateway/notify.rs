//! Notifiers: where news goes. Each has a queue and a task of its own while there is news for it, so that a slow or dead
//! one holds nobody: what does not fit is dropped, counted and logged.
//!
//! - `message`: a notice as each kind of receiver wants it, within its limits
//! - `sign`: the signatures they ask for
//! - `deliver`: the sending, and what the answers mean

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::model::Notifier;
use config::value::name::NotifierName;
use prometheus::IntCounter;
use serde::Serialize;

use crate::calls::Caller;
use crate::dial::Dial;

mod deliver;
mod message;
mod sign;
#[cfg(test)]
mod tests;

/// Notices that wait for one notifier.
const QUEUE: usize = 64;

/// Something that people should know.
#[derive(Debug, Clone, Serialize)]
pub struct Notice {
    /// One line.
    pub title: String,
    /// Sentences.
    pub text: String,
    pub severity: Severity,
    /// Everything about it, for programs.
    pub facts: serde_json::Value,
    /// What can be done about it. May hold secrets: never logged.
    pub links: Vec<Link>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// A way to do something about a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    pub label: String,
    pub url: String,
}

/// Tells notifiers. Clones are the same.
#[derive(Clone)]
pub struct Notifiers(Arc<Inner>);

struct Inner {
    caller: Caller,
    /// What waits, by notifier; a notifier is here exactly as long as its task runs.
    queues: Mutex<HashMap<NotifierName, VecDeque<Told>>>,
    /// Notified whenever a task ends.
    idle: tokio::sync::Notify,
    lost: IntCounter,
}

struct Told {
    notifier: Arc<Notifier>,
    notice: Notice,
}

impl Notifiers {
    /// With nothing to tell; `lost` counts the notices that reach nobody: dropped, refused, or sent in vain.
    #[must_use]
    pub fn counting(lost: IntCounter) -> Self {
        Self::dialling(Dial::default(), lost)
    }

    /// The same, at these addresses alone.
    #[must_use]
    pub fn dialling(dial: Dial, lost: IntCounter) -> Self {
        let (queues, idle) = Default::default();
        Self(Arc::new(Inner { caller: Caller::dialling(dial), queues, idle, lost }))
    }

    /// Tells one notifier, some time soon, in order; returns at once. Must be called on a runtime.
    pub fn tell(&self, name: &NotifierName, notifier: &Arc<Notifier>, notice: Notice) {
        let told = Told { notifier: Arc::clone(notifier), notice };
        match self.lock().entry(name.clone()) {
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::from([told]));
                tokio::spawn(self.clone().empty(name.clone()));
            }
            Entry::Occupied(mut queue) if queue.get().len() < QUEUE => queue.get_mut().push_back(told),
            Entry::Occupied(_) => {
                self.lose(name, &told.notice, format_args!("{QUEUE} notices wait for this notifier already"));
            }
        }
    }

    /// Waits until everything is told, or so long.
    pub async fn drain(&self, most: Duration) {
        let told = async {
            loop {
                let mut idle = std::pin::pin!(self.0.idle.notified());
                idle.as_mut().enable();
                if self.lock().is_empty() {
                    return;
                }
                idle.await;
            }
        };
        if tokio::time::timeout(most, told).await.is_err() {
            let names: Vec<String> = self.lock().keys().map(ToString::to_string).collect();
            tracing::warn!("stopped waiting after {most:?} for notifiers: {}", names.join(", "));
        }
    }

    /// Tells a notifier what waits for it, until nothing does.
    async fn empty(self, name: NotifierName) {
        while let Some(Told { notifier, notice }) = self.next(&name) {
            if let Err(why) = deliver::deliver(&self.0.caller, &name, &notifier, &notice).await {
                self.lose(&name, &notice, format_args!("{why}"));
            }
        }
        self.0.idle.notify_waiters();
    }

    fn next(&self, name: &NotifierName) -> Option<Told> {
        let mut queues = self.lock();
        let told = queues.get_mut(name)?.pop_front();
        if told.is_none() {
            queues.remove(name);
        }
        told
    }

    fn lose(&self, name: &NotifierName, notice: &Notice, why: std::fmt::Arguments<'_>) {
        self.0.lost.inc();
        tracing::warn!(notifier = %name, title = notice.title, "a notice did not arrive: {why}");
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NotifierName, VecDeque<Told>>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
