//! A process that edits without a pause is killed again and again. Nothing that it was told is stored may be lost.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rand::random_range;

use super::*;
use crate::store::Order;

/// In each of the lanes, which run at the same time.
const KILLS: usize = 100;
const LANES: usize = 3;

#[test]
fn a_killed_process_loses_nothing_that_it_was_told() {
    child::run(edit_without_end);
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let (_directory, path) = place();
                let mut revision = 0;
                for _ in 0..KILLS {
                    let told = edit_and_kill(&path).unwrap_or(revision).max(revision);
                    let now = verify(&path, revision);
                    assert!((told..=told + 1).contains(&now), "revision {now} after {told} was acknowledged");
                    revision = now;
                }
                assert!(revision > KILLS as u64, "the children got to {revision} only");
            });
        }
    });
}

#[test]
fn a_store_of_a_living_process_is_refused() {
    child::run(edit_without_end);
    let (_directory, path) = place();
    let mut child = child::command(&[], "kills::a_store_of_a_living_process_is_refused", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("stored ")), "the child has not stored anything");
    let error = Embedded::open(&path).unwrap_err().to_string();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(error.contains("in use by another process"), "{error}");
    let log = || fs::metadata(path.with_extension("db-wal")).unwrap().len();
    assert!(log() > 0, "the child left nothing to settle");
    let _store = Embedded::open(&path).unwrap();
    assert_eq!(log(), 0, "what a killed process left is made durable before it is read");
}

/// Kills a child, anywhere from its start to some edits later. Answers the last revision that was acknowledged to it.
fn edit_and_kill(path: &Path) -> Option<Revision> {
    let mut child = child::command(&[], "kills::a_killed_process_loses_nothing_that_it_was_told", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stored = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("stored ")?.parse().ok());
    let edits = random_range(0..12);
    let last = if edits == 0 { None } else { stored.by_ref().take(edits).last() };
    // No condition is awaited here: the point of the kill is what is drawn.
    thread::sleep(Duration::from_micros(random_range(0..if edits == 0 { 30_000 } else { 3_000 })));
    child.kill().unwrap();
    child.wait().unwrap();
    stored.last().or(last)
}

/// That everything in the store is whole; answers its revision. Entries up to `from` were verified before.
fn verify(path: &Path, from: Revision) -> Revision {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let store = Embedded::open(path).unwrap();
        let image = store.load("").await.unwrap();
        let changes = if image.revision == 0 { Vec::new() } else { changes(image.revision) };
        for change in &changes {
            let stored = image.texts.get(&change.name).map(|stored| &stored.text);
            assert!(stored == change.text.as_ref(), "half of edit {}: {}", image.revision, change.name);
        }
        let journal = store.journal(Page { after: from.saturating_sub(1), ..ALL }).await.unwrap();
        assert_eq!(journal.last().map_or(0, |entry| entry.revision), image.revision);
        for pair in journal.windows(2) {
            assert_eq!(pair[0].revision + 1, pair[1].revision);
            assert_eq!(*pair[1].text, *chained(&pair[0].text, pair[1].revision));
        }
        image.revision
    })
}

/// The process that is killed.
async fn edit_without_end(path: &Path) {
    let store = Embedded::open(path).unwrap();
    let newest = Page { order: Order::NewestFirst, limit: 1, ..ALL };
    let mut entry = store.journal(newest).await.unwrap().pop().map_or("".into(), |entry| entry.text);
    let mut revision = store.load("").await.unwrap().revision;
    loop {
        entry = chained(&entry, revision + 1).into();
        revision = store.put_if(revision, None, changes(revision + 1), Arc::clone(&entry)).await.unwrap();
        println!("stored {revision}");
    }
}

/// What a revision writes: several texts, which all tell the revision, and sometimes more than SQLite holds in memory.
fn changes(revision: Revision) -> Vec<Change> {
    let size = if revision.is_multiple_of(97) { 3 << 20 } else { revision * 7919 % 20_000 };
    let text = format!("{revision} {}", "x".repeat(size as usize));
    vec![
        write("left", &text),
        write(&format!("small/{}", revision % 16), &revision.to_string()),
        delete(&format!("small/{}", (revision + 8) % 16)),
        write("right", &text),
    ]
}

/// A journal line that holds a hash of itself and the line before.
fn chained(before: &str, revision: Revision) -> String {
    let mut hasher = DefaultHasher::new();
    (before, revision).hash(&mut hasher);
    format!("{revision} {:016x}", hasher.finish())
}
