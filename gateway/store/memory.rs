//! A store that lives as long as the process: `serve --ephemeral`, the demo, and tests.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Change, Image, PutError, Revision, Store, Transaction, Update};

/// Texts in memory, with every watcher told of each transaction under the same lock that orders them.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    image: Image,
    watchers: Vec<mpsc::UnboundedSender<Update>>,
}

impl Memory {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn load(&self) -> Image {
        self.state().image.clone()
    }

    async fn put_if(&self, revision: Revision, changes: Vec<Change>) -> Result<Revision, PutError> {
        let mut state = self.state();
        let current = state.image.revision;
        if current != revision {
            return Err(PutError::Conflict { current });
        }
        for change in &changes {
            match &change.text {
                Some(text) => state.image.texts.insert(change.name.clone(), Arc::clone(text)),
                None => state.image.texts.remove(&change.name),
            };
        }
        state.image.revision += 1;
        let transaction = Transaction { revision: state.image.revision, changes: changes.into() };
        state.watchers.retain(|watcher| watcher.send(Update::Transaction(transaction.clone())).is_ok());
        Ok(state.image.revision)
    }

    async fn watch(&self, from: Revision) -> mpsc::UnboundedReceiver<Update> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        if from != state.image.revision {
            sender.send(Update::Image(state.image.clone())).expect("the receiver is still here");
        }
        state.watchers.push(sender);
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str, text: &str) -> Vec<Change> {
        vec![Change { name: name.into(), text: Some(text.into()) }]
    }

    #[tokio::test]
    async fn a_transaction_holds_only_against_its_revision() {
        let store = Memory::default();
        assert_eq!(store.put_if(0, write("a", "1")).await.unwrap(), 1);
        let PutError::Conflict { current } = store.put_if(0, write("a", "2")).await.unwrap_err();
        assert_eq!(current, 1);
        assert_eq!(&*store.load().await.texts["a"], "1");
        assert_eq!(store.put_if(1, vec![Change { name: "a".into(), text: None }]).await.unwrap(), 2);
        assert!(store.load().await.texts.is_empty());
    }

    #[tokio::test]
    async fn a_watch_misses_nothing_wherever_it_starts() {
        let store = Memory::default();
        store.put_if(0, write("a", "1")).await.unwrap();
        let mut late = store.watch(0).await;
        let mut current = store.watch(1).await;
        store.put_if(1, write("b", "2")).await.unwrap();
        let Some(Update::Image(image)) = late.recv().await else { panic!("a late watch starts with an image") };
        assert_eq!((image.revision, image.texts.len()), (1, 1));
        for watch in [&mut late, &mut current] {
            let Some(Update::Transaction(next)) = watch.recv().await else { panic!("then come transactions") };
            assert_eq!((next.revision, &*next.changes), (2, &*write("b", "2")));
        }
    }
}
