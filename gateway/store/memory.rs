//! A store that lives as long as the process: `serve --ephemeral`, the demo, and tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::terms::Terms;
use super::watchers::Watchers;
use super::{
    Change, Entry, Image, Order, Page, PutError, Revision, Store, StoreError, Stored, Term, Transaction, Update,
};
use crate::clock;

/// Texts in memory, with every watcher told of each transaction under the same lock that orders them.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    texts: BTreeMap<String, Stored>,
    journal: BTreeMap<Revision, Arc<str>>,
    watchers: Watchers,
    terms: Terms,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn load(&self, prefix: &str) -> Result<Image, StoreError> {
        let state = self.state();
        Ok(image(state.revision, &state.texts, prefix))
    }

    async fn put_if(
        &self,
        revision: Revision,
        term: Option<&Term>,
        changes: Vec<Change>,
        entry: Arc<str>,
    ) -> Result<Revision, PutError> {
        let mut state = self.state();
        if term.is_some_and(|term| state.terms.is_over(term)) {
            return Err(PutError::Fenced);
        }
        let current = state.revision;
        if current != revision {
            return Err(PutError::Conflict { current });
        }
        let revision = current + 1;
        for Change { name, text } in &changes {
            match text {
                Some(text) => state.texts.insert(name.clone(), Stored { revision, text: Arc::clone(text) }),
                None => state.texts.remove(name),
            };
        }
        state.journal.insert(revision, entry);
        state.revision = revision;
        state.watchers.tell(&Transaction { revision, changes: changes.into() });
        Ok(revision)
    }

    async fn lead(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>, StoreError> {
        let now = clock::now();
        Ok(self.state().terms.lead(name, holder, now, now.checked_add(ttl)))
    }

    async fn watch(&self, prefix: &str, from: Revision) -> mpsc::UnboundedReceiver<Update> {
        let (updates, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        let State { revision, texts, watchers, .. } = &mut *state;
        watchers.add(prefix.to_owned(), from, updates);
        let Ok(()) = watchers.catch_up::<Infallible>(*revision, |prefix| Ok(image(*revision, texts, prefix)));
        receiver
    }

    async fn journal(&self, page: Page) -> Result<Vec<Entry>, StoreError> {
        let state = self.state();
        if page.after >= page.before {
            return Ok(Vec::new());
        }
        let entries = state.journal.range((Excluded(page.after), Excluded(page.before)));
        let entries = entries.map(|(&revision, text)| Entry { revision, text: Arc::clone(text) });
        Ok(match page.order {
            Order::OldestFirst => entries.take(page.limit).collect(),
            Order::NewestFirst => entries.rev().take(page.limit).collect(),
        })
    }

    async fn journal_bytes(&self, after: Revision, before: Revision) -> Result<u64, StoreError> {
        let state = self.state();
        let among = state.journal.iter().filter(|(revision, _)| **revision > after && **revision < before);
        Ok(among.map(|(_, text)| text.len() as u64).sum())
    }

    async fn trim(&self, until: Revision) -> Result<u64, StoreError> {
        let mut state = self.state();
        let before = state.journal.len();
        state.journal.retain(|&revision, _| revision > until);
        Ok((before - state.journal.len()) as u64)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn restore(&self, image: Image, journal: Vec<Entry>) -> Result<(), PutError> {
        let mut state = self.state();
        let State { revision, texts, journal: kept, watchers, .. } = &mut *state;
        if *revision != 0 {
            return Err(PutError::Conflict { current: *revision });
        }
        (*revision, *texts) = (image.revision, image.texts);
        kept.extend(journal.into_iter().map(|entry| (entry.revision, entry.text)));
        let Ok(()) = watchers.catch_up::<Infallible>(*revision, |prefix| Ok(self::image(*revision, texts, prefix)));
        Ok(())
    }
}

fn image(revision: Revision, texts: &BTreeMap<String, Stored>, prefix: &str) -> Image {
    let texts = texts
        .range::<str, _>((Included(prefix), Unbounded))
        .take_while(|(name, _)| name.starts_with(prefix))
        .map(|(name, stored)| (name.clone(), stored.clone()));
    Image { revision, texts: texts.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    #[tokio::test]
    async fn memory_is_a_store() {
        suite::run(|| Arc::new(Memory::default())).await;
    }

    #[tokio::test]
    async fn a_term_that_is_not_renewed_goes_to_whoever_asks_and_fences_the_one_before() {
        const LONG: Duration = Duration::from_secs(3600);
        let store = Memory::default();
        let lead = async |holder, ttl| store.lead("conduct", holder, ttl).await.unwrap();
        let put = async |term| store.put_if(0, Some(term), Vec::new(), "".into()).await;
        let first = lead("one", Duration::ZERO).await.unwrap();
        assert_eq!(lead("one", Duration::from_millis(20)).await.as_ref(), Some(&first), "nobody else asked");
        let second = loop {
            if let Some(term) = lead("two", LONG).await {
                break term;
            }
        };
        assert!(second.epoch > first.epoch);
        assert_eq!(lead("one", LONG).await, None);
        assert!(matches!(put(&first).await, Err(PutError::Fenced)));
        assert_eq!(put(&second).await.unwrap(), 1);
    }
}
