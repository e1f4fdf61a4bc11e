//! The bounded store on keys in memory that count what a transaction holds, and can be cut off.

use std::ops::Bound::{Included, Unbounded};
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::clock;
use crate::store::suite::{self, ALL, delete, write};
use crate::store::terms::Terms;

/// Keys in memory.
pub(super) struct Limited {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    values: Values,
    terms: Terms,
    watchers: Vec<mpsc::UnboundedSender<Arc<[Change]>>>,
    /// How many transactions there were.
    written: usize,
    cut: Option<Cut>,
}

/// The end of a process, as its store sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    /// After so many transactions nothing is written any more.
    Before(usize),
    /// The transaction of this number is written, and nothing after it; nobody hears of it.
    After(usize),
}

impl Limited {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn cut(&self, cut: Option<Cut>) {
        let mut state = self.state();
        (state.cut, state.written) = (cut, 0);
    }

    /// The same keys, for another process.
    fn copy(&self) -> Arc<Self> {
        let copy = Self::new(self.limits);
        copy.state().values.clone_from(&self.state().values);
        copy
    }

    fn store(self: &Arc<Self>) -> Bounded {
        Bounded::new(Arc::clone(self) as Arc<dyn Keys>, self.limits)
    }

    fn blobs(&self) -> usize {
        self.state().values.keys().filter(|key| key.starts_with("blob/")).count()
    }
}

#[async_trait]
impl Keys for Limited {
    async fn read(&self, prefixes: &[String]) -> Result<Values, StoreError> {
        let state = self.state();
        let mut read = Values::new();
        for prefix in prefixes {
            let found = state.values.range::<str, _>((Included(prefix.as_str()), Unbounded));
            let found = found.take_while(|(key, _)| key.starts_with(prefix.as_str()));
            read.extend(found.map(|(key, value)| (key.clone(), Arc::clone(value))));
        }
        Ok(read)
    }

    async fn write(
        &self,
        head: Option<Option<String>>,
        term: Option<&Term>,
        changes: Vec<Change>,
    ) -> Result<(), NotWritten> {
        let size: usize =
            changes.iter().map(|one| one.name.len() + one.text.as_ref().map_or(0, |text| text.len())).sum();
        let Limits { operations, bytes } = self.limits;
        assert!(changes.len() <= operations && size <= bytes, "{} operations, {size} bytes", changes.len());
        let mut state = self.state();
        if term.is_some_and(|term| state.terms.is_over(term)) {
            return Err(NotWritten::Fenced);
        }
        if head.is_some_and(|head| head.as_deref() != state.values.get(Head::KEY).map(|value| &**value)) {
            return Err(NotWritten::OtherHead);
        }
        state.written += 1;
        let number = state.written;
        let lost = || Err(NotWritten::Failed("the connection is lost".to_owned()));
        if matches!(state.cut, Some(Cut::Before(last)) if number > last)
            || matches!(state.cut, Some(Cut::After(last)) if number > last)
        {
            return lost();
        }
        for Change { name, text } in &changes {
            match text {
                Some(text) => state.values.insert(name.clone(), Arc::clone(text)),
                None => state.values.remove(name),
            };
        }
        let changes: Arc<[Change]> = changes.into();
        state.watchers.retain(|watcher| watcher.send(Arc::clone(&changes)).is_ok());
        if state.cut == Some(Cut::After(number)) { lost() } else { Ok(()) }
    }

    async fn watch(&self) -> mpsc::UnboundedReceiver<Arc<[Change]>> {
        let (written, told) = mpsc::unbounded_channel();
        self.state().watchers.push(written);
        told
    }

    async fn lead(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>, StoreError> {
        let now = clock::now();
        Ok(self.state().terms.lead(name, holder, now, now.checked_add(ttl)))
    }

    fn is_over(&self, term: &Term) -> bool {
        self.state().terms.is_over(term)
    }
}

#[tokio::test]
async fn bounded_is_a_store_whatever_the_bounds_are() {
    for limits in [ETCD, Limits { operations: 3, bytes: 64 << 10 }] {
        suite::run(|| Arc::new(Limited::new(limits).store())).await;
    }
}

/// The next transaction of a watch, with its changes by name.
async fn told(watch: &mut mpsc::UnboundedReceiver<Update>) -> (Revision, Changes) {
    match watch.recv().await.unwrap() {
        Update::Transaction(Transaction { revision, changes }) => {
            (revision, changes.iter().map(|one| (one.name.clone(), one.text.clone())).collect())
        }
        Update::Image(image) => panic!("an image of revision {}", image.revision),
    }
}

#[tokio::test]
async fn a_transaction_that_is_cut_off_at_any_step_is_whole_or_nothing() {
    let keys = Limited::new(Limits { operations: 8, bytes: 4 << 10 });
    let store = keys.store();
    let large = "0123456789".repeat(500);
    let first = (0..30).map(|n| write(&format!("a/{n:02}"), "1")).collect();
    assert_eq!(store.put_if(0, None, first, large.as_str().into()).await.unwrap(), 1);
    let mut changes: Vec<Change> = (10..50).map(|n| write(&format!("a/{n:02}"), "2")).collect();
    changes.extend([write("a/large", &large), delete("a/00"), write("b", "2")]);
    let whole = keys.copy();
    whole.store().put_if(1, None, changes.clone(), "two".into()).await.unwrap();
    let (before, after) = (store.load("").await.unwrap(), whole.store().load("").await.unwrap());
    let steps = whole.state().written;
    assert!(steps > 10, "{steps}");
    for cut in (0..=steps).flat_map(|step| [Cut::Before(step), Cut::After(step)]) {
        let keys = keys.copy();
        keys.cut(Some(cut));
        let mut watch = keys.store().watch("", 1).await;
        let put = keys.store().put_if(1, None, changes.clone(), "two".into()).await;
        keys.cut(None);
        // Somebody else looks at what is left.
        let store = keys.store();
        let left = store.load("").await.unwrap();
        match &put {
            Ok(2) => assert_eq!(left, after, "{cut:?}"),
            Err(PutError::Unavailable(_)) => assert_eq!(left, before, "{cut:?}"),
            Err(PutError::Unknown(_)) => assert!(left == before || left == after, "{cut:?}"),
            other => panic!("{cut:?}: {other:?}"),
        }
        if left == before {
            assert_eq!(store.put_if(1, None, changes.clone(), "two".into()).await.unwrap(), 2, "{cut:?}");
        }
        let wanted: Changes = changes.iter().map(|one| (one.name.clone(), one.text.clone())).collect();
        assert_eq!(told(&mut watch).await, (2, wanted), "{cut:?}");
        store.put_if(2, None, vec![write("c", "3")], "three".into()).await.unwrap();
        assert_eq!(told(&mut watch).await, (3, [("c".to_owned(), Some("3".into()))].into()), "{cut:?}");
        let mut image = after.clone();
        image.revision = 3;
        image.texts.insert("c".to_owned(), Stored { revision: 3, text: "3".into() });
        assert_eq!(store.load("").await.unwrap(), image, "{cut:?}");
        assert_eq!(store.journal(ALL).await.unwrap().len(), 3, "{cut:?}");
        // The first line goes with the blobs that only it named.
        store.trim(1).await.unwrap();
        assert_eq!((store.load("").await.unwrap(), keys.blobs()), (image, 3), "{cut:?}");
    }
}

#[tokio::test]
async fn a_restore_that_is_cut_off_leaves_an_empty_store() {
    let from = Limited::new(Limits { operations: 8, bytes: 4 << 10 });
    let texts = (0..50).map(|n| write(&format!("a/{n}"), "1")).collect();
    from.store().put_if(0, None, texts, "one".into()).await.unwrap();
    let (image, journal) = (from.store().load("").await.unwrap(), from.store().journal(ALL).await.unwrap());
    for step in 0..4 {
        let keys = Limited::new(from.limits);
        keys.cut(Some(Cut::Before(step)));
        keys.store().restore(image.clone(), journal.clone()).await.unwrap_err();
        keys.cut(None);
        assert_eq!(keys.store().load("").await.unwrap(), Image::default());
        assert_eq!(keys.store().put_if(0, None, vec![write("b", "1")], "".into()).await.unwrap(), 1);
        assert_eq!(keys.store().load("").await.unwrap().texts.len(), 1, "nothing of it comes back");
    }
}

#[tokio::test]
async fn a_file_of_a_hundred_thousand_domains_goes_through_the_bounds_of_etcd_whole_or_not_at_all() {
    const DOMAINS: usize = 100_000;
    let domain =
        |n: usize| write(&format!("config/domain/{n}.example.com"), "routes:\n- {path: /*, to: 'shop:prod'}\n");
    let changes: Vec<Change> = (0..DOMAINS).map(domain).collect();
    // A line of the journal holds each of them again.
    let entry: Arc<str> = "x".repeat(DOMAINS * 100).into();
    let keys = Limited::new(ETCD);
    let mut watch = keys.store().watch("config/", 0).await;
    let held = async || keys.store().load("config/").await.unwrap().texts.len();
    keys.cut(Some(Cut::Before(9)));
    keys.store().put_if(0, None, changes.clone(), Arc::clone(&entry)).await.unwrap_err();
    assert_eq!(held().await, 0, "none of it");
    // It is cut off while it is unpacked.
    keys.cut(Some(Cut::Before(200)));
    assert_eq!(keys.store().put_if(0, None, changes, Arc::clone(&entry)).await.unwrap(), 1);
    assert_eq!(held().await, DOMAINS);
    keys.cut(None);
    let (revision, told) = told(&mut watch).await;
    assert_eq!((revision, told.len()), (1, DOMAINS), "the watch tells it at once");
    keys.store().put_if(1, None, vec![delete("config/domain/7.example.com")], "".into()).await.unwrap();
    assert_eq!(held().await, DOMAINS - 1);
    assert_eq!(keys.store().journal(ALL).await.unwrap()[0].text, entry);
}
