//! What every store promises, as tests that run against each implementation.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Change, Entry, Image, Order, Page, PutError, Revision, Store, Term, Update};

/// All of it, each part against an empty store of its own.
pub(crate) async fn run<S: Store + 'static>(mut empty: impl FnMut() -> Arc<S>) {
    a_transaction_holds_only_against_its_revision(&*empty()).await;
    a_transaction_is_whole_or_nothing(&*empty()).await;
    of_two_writers_one_is_first(empty()).await;
    a_text_tells_when_it_last_changed(&*empty()).await;
    a_prefix_selects_names(&*empty()).await;
    a_text_comes_back_as_it_was(&*empty()).await;
    a_watch_misses_nothing_wherever_it_starts(&*empty()).await;
    a_watch_of_a_prefix_sees_every_revision(&*empty()).await;
    a_watch_under_load_is_in_order(empty()).await;
    a_watch_that_was_dropped_disturbs_nobody(&*empty()).await;
    the_journal_reads_from_both_ends(&*empty()).await;
    a_trimmed_journal_keeps_the_rest(&*empty()).await;
    an_empty_store_takes_what_another_held(&*empty(), &*empty()).await;
    one_leads_and_nobody_writes_under_another_term(&*empty()).await;
}

/// One text to write.
pub(crate) fn write(name: &str, text: &str) -> Change {
    Change { name: name.into(), text: Some(text.into()) }
}

/// One text to delete.
pub(crate) fn delete(name: &str) -> Change {
    Change { name: name.into(), text: None }
}

/// The whole journal.
pub(crate) const ALL: Page = Page { after: 0, before: Revision::MAX, order: Order::OldestFirst, limit: usize::MAX };

async fn put(store: &dyn Store, revision: Revision, changes: Vec<Change>) -> Revision {
    store.put_if(revision, None, changes, format!("entry {}", revision + 1).into()).await.unwrap()
}

fn texts(image: &Image) -> Vec<(&str, &str)> {
    image.texts.iter().map(|(name, stored)| (name.as_str(), &*stored.text)).collect()
}

async fn next(watch: &mut mpsc::UnboundedReceiver<Update>) -> Update {
    watch.recv().await.expect("the store is there")
}

/// The next update, which has to be a transaction.
async fn transaction(watch: &mut mpsc::UnboundedReceiver<Update>) -> (Revision, Vec<Change>) {
    match next(watch).await {
        Update::Transaction(transaction) => (transaction.revision, transaction.changes.to_vec()),
        Update::Image(image) => panic!("an image of revision {} instead of a transaction", image.revision),
    }
}

/// The next update, which has to be an image.
async fn image(watch: &mut mpsc::UnboundedReceiver<Update>) -> Image {
    match next(watch).await {
        Update::Image(image) => image,
        Update::Transaction(transaction) => panic!("transaction {} instead of an image", transaction.revision),
    }
}

async fn a_transaction_holds_only_against_its_revision(store: &dyn Store) {
    assert_eq!(store.load("").await.unwrap(), Image::default());
    assert_eq!(put(store, 0, vec![write("a", "1")]).await, 1);
    for stale in [0, 2, Revision::MAX] {
        let error = store.put_if(stale, None, vec![write("a", "2")], "stale".into()).await.unwrap_err();
        assert!(matches!(error, PutError::Conflict { current: 1 }), "{error}");
    }
    let now = store.load("").await.unwrap();
    assert_eq!((now.revision, texts(&now)), (1, vec![("a", "1")]));
    assert_eq!(put(store, 1, vec![delete("a"), delete("never there")]).await, 2);
    let now = store.load("").await.unwrap();
    assert_eq!((now.revision, now.texts.len()), (2, 0));
    assert_eq!(store.journal(ALL).await.unwrap().len(), 2, "a refused transaction has no line");
}

async fn a_transaction_is_whole_or_nothing(store: &dyn Store) {
    put(store, 0, vec![write("a", "1"), write("b", "1"), write("c", "1")]).await;
    let twice = vec![write("a", "2"), delete("b"), write("c", "2"), write("a", "3"), delete("c")];
    put(store, 1, twice).await;
    assert_eq!(texts(&store.load("").await.unwrap()), [("a", "3")], "the later change of a name counts");
    assert_eq!(put(store, 2, Vec::new()).await, 3, "a transaction may be a journal line alone");
}

async fn of_two_writers_one_is_first(store: Arc<impl Store + 'static>) {
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut written = 0;
            while written < 10 {
                let image = store.load("count").await.unwrap();
                let count = image.texts.get("count").map_or(0, |stored| stored.text.parse::<u32>().unwrap());
                let change = write("count", &(count + 1).to_string());
                match store.put_if(image.revision, None, vec![change], writer.to_string().into()).await {
                    Ok(_) => written += 1,
                    Err(PutError::Conflict { current }) => assert!(current > image.revision),
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let image = store.load("").await.unwrap();
    assert_eq!((image.revision, texts(&image)), (80, vec![("count", "80")]));
}

async fn a_text_tells_when_it_last_changed(store: &dyn Store) {
    put(store, 0, vec![write("a", "1"), write("b", "1")]).await;
    put(store, 1, vec![write("b", "2")]).await;
    put(store, 2, vec![write("c", "3")]).await;
    let image = store.load("").await.unwrap();
    let revisions = image.texts.iter().map(|(name, stored)| (name.as_str(), stored.revision));
    assert_eq!(revisions.collect::<Vec<_>>(), [("a", 1), ("b", 2), ("c", 3)]);
}

async fn a_prefix_selects_names(store: &dyn Store) {
    let names =
        ["domain/a", "domain/b", "domain0", "function/a", "DOMAIN/a", "domain", "domain/\u{10ffff}x", "domain/"];
    put(store, 0, names.iter().map(|name| write(name, "1")).collect()).await;
    for prefix in ["", "domain/", "domain", "domain/\u{10ffff}", "z", "domain/a", "%", "_omain/"] {
        let image = store.load(prefix).await.unwrap();
        let mut expected = names.iter().filter(|name| name.starts_with(prefix)).copied().collect::<Vec<_>>();
        expected.sort_unstable();
        assert_eq!(image.texts.keys().collect::<Vec<_>>(), expected, "prefix {prefix:?}");
        assert_eq!(image.revision, 1, "the revision is the store's, whatever is asked for");
    }
}

async fn a_text_comes_back_as_it_was(store: &dyn Store) {
    let large = "0123456789abcdef".repeat(1 << 16);
    let odd = ["", "\0", "line\r\nline\n", "žluťoučký 🦀", "'; DROP TABLE text; --", &large];
    put(store, 0, odd.iter().map(|text| write(&format!("name {text:.20}"), text)).collect()).await;
    let entry = store.put_if(1, None, Vec::new(), large.as_str().into()).await.unwrap();
    let image = store.load("").await.unwrap();
    for text in odd {
        assert_eq!(&*image.texts[&format!("name {text:.20}")].text, text);
    }
    let page = Page { after: entry - 1, ..ALL };
    assert_eq!(store.journal(page).await.unwrap(), [Entry { revision: 2, text: large.into() }]);
}

async fn a_watch_misses_nothing_wherever_it_starts(store: &dyn Store) {
    put(store, 0, vec![write("a", "1")]).await;
    let mut late = store.watch("", 0).await;
    let mut ahead = store.watch("", 7).await;
    let mut current = store.watch("", 1).await;
    put(store, 1, vec![write("b", "2")]).await;
    for watch in [&mut late, &mut ahead] {
        let image = image(watch).await;
        assert_eq!((image.revision, texts(&image)), (1, vec![("a", "1")]));
    }
    for watch in [&mut late, &mut ahead, &mut current] {
        assert_eq!(transaction(watch).await, (2, vec![write("b", "2")]));
    }
}

async fn a_watch_of_a_prefix_sees_every_revision(store: &dyn Store) {
    put(store, 0, vec![write("a/1", "1"), write("b/1", "1")]).await;
    let mut watch = store.watch("a/", 0).await;
    assert_eq!(texts(&image(&mut watch).await), [("a/1", "1")]);
    put(store, 1, vec![write("b/1", "2")]).await;
    put(store, 2, vec![delete("a/1"), write("b/1", "3"), write("a/2", "3")]).await;
    assert_eq!(transaction(&mut watch).await, (2, vec![]));
    assert_eq!(transaction(&mut watch).await, (3, vec![delete("a/1"), write("a/2", "3")]));
}

async fn a_watch_under_load_is_in_order(store: Arc<impl Store + 'static>) {
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for revision in 0..100 {
                put(&*store, revision, vec![write("a", &revision.to_string())]).await;
            }
        }
    });
    let watches = (0..4).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut watch = store.watch("", 0).await;
            let mut seen = 0;
            while seen < 100 {
                seen = match next(&mut watch).await {
                    Update::Image(image) if seen == 0 => image.revision,
                    Update::Transaction(transaction) if transaction.revision == seen + 1 => seen + 1,
                    other => panic!("after revision {seen} came {other:?}"),
                };
            }
        })
    });
    for watch in watches.collect::<Vec<_>>() {
        watch.await.unwrap();
    }
    writer.await.unwrap();
}

async fn a_watch_that_was_dropped_disturbs_nobody(store: &dyn Store) {
    drop(store.watch("", 0).await);
    drop(store.watch("", 5).await);
    let mut watch = store.watch("", 0).await;
    put(store, 0, vec![write("a", "1")]).await;
    assert_eq!(transaction(&mut watch).await, (1, vec![write("a", "1")]));
}

async fn the_journal_reads_from_both_ends(store: &dyn Store) {
    assert_eq!(store.journal(ALL).await.unwrap(), []);
    for revision in 0..9 {
        put(store, revision, vec![write("a", "1")]).await;
    }
    let read = async |page| {
        let entries: Vec<Entry> = store.journal(page).await.unwrap();
        assert!(entries.iter().all(|entry| *entry.text == *format!("entry {}", entry.revision)));
        entries.iter().map(|entry| entry.revision).collect::<Vec<_>>()
    };
    let newest = Page { order: Order::NewestFirst, ..ALL };
    assert_eq!(read(ALL).await, (1..=9).collect::<Vec<_>>());
    assert_eq!(read(newest).await, (1..=9).rev().collect::<Vec<_>>());
    assert_eq!(read(Page { limit: 2, ..ALL }).await, [1, 2]);
    assert_eq!(read(Page { limit: 2, ..newest }).await, [9, 8]);
    assert_eq!(read(Page { after: 3, before: 6, ..ALL }).await, [4, 5]);
    assert_eq!(read(Page { after: 3, before: 6, ..newest }).await, [5, 4]);
    assert_eq!(read(Page { before: 3, ..newest }).await, [2, 1]);
    for (after, before, limit) in
        [(3, 4, 9), (4, 4, 9), (6, 3, 9), (9, Revision::MAX, 9), (Revision::MAX, 0, 9), (0, 9, 0)]
    {
        assert_eq!(read(Page { after, before, limit, ..ALL }).await, [0; 0], "after {after}, before {before}");
    }
}

async fn a_trimmed_journal_keeps_the_rest(store: &dyn Store) {
    for revision in 0..5 {
        put(store, revision, vec![write("a", "1")]).await;
    }
    let bytes = "entry 1".len() as u64;
    assert_eq!(store.journal_bytes(0, Revision::MAX).await.unwrap(), 5 * bytes);
    assert_eq!(store.journal_bytes(1, 4).await.unwrap(), 2 * bytes);
    assert_eq!(store.journal_bytes(4, 4).await.unwrap(), 0);
    assert_eq!(store.trim(0).await.unwrap(), 0);
    assert_eq!(store.trim(3).await.unwrap(), 3);
    assert_eq!(store.trim(3).await.unwrap(), 0);
    let left = store.journal(ALL).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.revision).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(store.journal_bytes(0, Revision::MAX).await.unwrap(), 2 * bytes);
    assert_eq!(store.trim(Revision::MAX).await.unwrap(), 2);
    assert_eq!(put(store, 5, Vec::new()).await, 6, "revisions go on where they stood");
    let image = store.load("").await.unwrap();
    assert_eq!((image.revision, image.texts["a"].revision), (6, 5));
}

async fn an_empty_store_takes_what_another_held(from: &dyn Store, to: &dyn Store) {
    put(from, 0, vec![write("a/1", "one"), write("b/1", "two")]).await;
    put(from, 1, vec![write("a/1", "three")]).await;
    let mut watch = to.watch("a/", 0).await;
    let (held, journal) = (from.load("").await.unwrap(), from.journal(ALL).await.unwrap());
    to.restore(held.clone(), journal.clone()).await.unwrap();
    assert_eq!((to.load("").await.unwrap(), to.journal(ALL).await.unwrap()), (held.clone(), journal.clone()));
    let told = image(&mut watch).await;
    assert_eq!((told.revision, texts(&told)), (2, vec![("a/1", "three")]));
    let PutError::Conflict { current: 2 } = to.restore(held, journal).await.unwrap_err() else {
        panic!("it is no longer empty")
    };
    assert_eq!(put(to, 2, vec![write("a/2", "four")]).await, 3, "it goes on from there");
}

async fn one_leads_and_nobody_writes_under_another_term(store: &dyn Store) {
    let lead = async |name, holder| store.lead(name, holder, Duration::from_secs(3600)).await.unwrap();
    let term = lead("conduct", "one").await.expect("nobody led");
    assert_eq!(lead("conduct", "two").await, None);
    assert_eq!(lead("conduct", "one").await.as_ref(), Some(&term), "it is renewed");
    let other = lead("collect", "two").await.expect("that is something else");
    assert_eq!((&*term.name, &*other.name), ("conduct", "collect"));
    for (revision, term) in [(0, &term), (1, &other)] {
        store.put_if(revision, Some(term), vec![write("a", "1")], "".into()).await.unwrap();
    }
    let held = store.load("").await.unwrap();
    let mut watch = store.watch("", 2).await;
    for epoch in [0, term.epoch + 1, u64::MAX] {
        for revision in [2, 7] {
            let term = Term { epoch, ..term.clone() };
            let error = store.put_if(revision, Some(&term), vec![write("a", "2")], "".into()).await.unwrap_err();
            assert!(matches!(error, PutError::Fenced), "epoch {epoch} at revision {revision}: {error}");
        }
    }
    let nobody = Term { name: "nobody's".into(), epoch: 1 };
    let error = store.put_if(2, Some(&nobody), vec![write("a", "2")], "".into()).await.unwrap_err();
    assert!(matches!(error, PutError::Fenced), "{error}");
    assert_eq!((store.load("").await.unwrap(), store.journal(ALL).await.unwrap().len()), (held, 2));
    store.put_if(2, Some(&term), vec![write("a", "3")], "".into()).await.unwrap();
    assert_eq!(transaction(&mut watch).await, (3, vec![write("a", "3")]), "nothing came between");
}
