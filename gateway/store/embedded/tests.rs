//! The store in a file: what it keeps, what it refuses, and (in the modules) what survives kills and failing disks.

mod child;
mod faults;
mod kills;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::store::suite::{self, ALL, delete, write};

/// A directory for one store, and the path of its file.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.db");
    (directory, path)
}

/// Why the file is refused; it has to stay as it is.
fn refusal(path: &Path) -> String {
    let before = fs::read(path).ok();
    let error = Embedded::open(path).expect_err("it was opened").to_string();
    assert_eq!(fs::read(path).ok(), before, "a refused file stays as it is: {error}");
    assert!(error.contains(&path.display().to_string()), "which file: {error}");
    error
}

#[tokio::test]
async fn embedded_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut number = 0;
    suite::run(|| {
        number += 1;
        Arc::new(Embedded::open(&directory.path().join(number.to_string())).unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_text_that_is_no_utf8_is_damaged_alone() {
    let (_directory, path) = place();
    let store = Embedded::open(&path).unwrap();
    store.put_if(0, None, vec![write("a", "1"), write("b", "2")], "first".into()).await.unwrap();
    store.put_if(1, None, vec![write("c", "3")], "second".into()).await.unwrap();
    drop(store);
    let database = Connection::open(&path).unwrap();
    database.execute("UPDATE texts SET text = CAST(x'31fe' AS TEXT) WHERE name = 'a'", []).unwrap();
    database.execute("UPDATE journal SET text = CAST(x'fe' AS TEXT) WHERE revision = 1", []).unwrap();
    drop(database);
    let store = Embedded::open(&path).unwrap();
    let texts = store.load("").await.unwrap().texts;
    assert_eq!((&*texts["b"].text, &*texts["c"].text), ("2", "3"));
    assert!(texts["a"].text.starts_with('\0'), "no reader takes it for what it was");
    let journal = store.journal(ALL).await.unwrap();
    assert!(journal[0].text.starts_with('\0') && &*journal[1].text == "second");
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let (_directory, path) = place();
    let store = Embedded::open(&path).unwrap();
    store.put_if(0, None, vec![write("a", "1"), write("b", "1")], "first".into()).await.unwrap();
    store.put_if(1, None, vec![write("a", "2"), delete("b")], "second".into()).await.unwrap();
    let (image, journal) = (store.load("").await.unwrap(), store.journal(ALL).await.unwrap());
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert_eq!((store.load("").await.unwrap(), store.journal(ALL).await.unwrap()), (image, journal));
    let mut watch = store.watch("", 1).await;
    assert!(matches!(watch.recv().await, Some(Update::Image(image)) if image.revision == 2));
    drop(store);
    assert_eq!(watch.recv().await, None, "a watch ends with its store");
}

#[tokio::test]
async fn a_stopped_store_is_one_file_that_only_its_user_reads() {
    let (directory, path) = place();
    let store = Embedded::open(&path).unwrap();
    store.put_if(0, None, vec![write("a", "1")], "".into()).await.unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
    drop(store);
    let copy = directory.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(Embedded::open(&copy).unwrap().load("").await.unwrap().texts.len(), 1);
}

#[test]
fn a_store_is_opened_once() {
    let (_directory, path) = place();
    let store = Embedded::open(&path).unwrap();
    let error = Embedded::open(&path).unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(store);
    Embedded::open(&path).unwrap();
}

#[tokio::test]
async fn an_interrupted_creation_is_finished() {
    let (_directory, path) = place();
    fs::write(&path, "").unwrap();
    drop(Embedded::open(&path).unwrap());
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.put_if(0, None, vec![write("a", "1")], "".into()).await.unwrap(), 1);
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let (_directory, path) = place();
    fs::write(&path, "listeners: []\n".repeat(100)).unwrap();
    assert!(refusal(&path).contains("is no store of weir"));
    for mode in ["WAL", "DELETE"] {
        fs::remove_file(&path).unwrap();
        let foreign = Connection::open(&path).unwrap();
        foreign.pragma_update(None, "journal_mode", mode).unwrap();
        foreign.execute_batch("CREATE TABLE other (a); INSERT INTO other VALUES (1)").unwrap();
        assert!(mode == "DELETE" || refusal(&path).contains("in use by another process"));
        drop(foreign);
        assert!(refusal(&path).contains("of another program"));
        let foreign = Connection::open(&path).unwrap();
        assert_eq!(foreign.query_row("SELECT a FROM other", [], |row| row.get(0)), Ok(1));
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_directory, path) = place();
    drop(Embedded::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let error = refusal(&path);
    assert!(error.contains("newer weir (schema 2, this one knows 1)"), "{error}");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
    Embedded::open(&path).unwrap();
}

#[test]
fn a_place_where_no_file_can_be_is_refused() {
    let (directory, path) = place();
    let error = refusal(&path.join("below/nothing"));
    assert!(error.contains("cannot be created") && error.contains("its directory must be there"), "{error}");
    let error = refusal(directory.path());
    assert!(error.contains("is no regular file"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_is_reported() {
    let (_directory, path) = place();
    let store = Embedded::open(&path).unwrap();
    let texts = (0..1000).map(|number| write(&format!("name/{number:04}"), &"text ".repeat(40)));
    store.put_if(0, None, texts.collect(), "".into()).await.unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    for page in 1..whole.len() / 4096 {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xa5; 4096], page as u64 * 4096).unwrap();
        drop(file);
        let error = refusal(&path);
        assert!(error.contains("is damaged") && error.contains("restore a copy"), "page {page}: {error}");
        fs::write(&path, &whole).unwrap();
    }
    let half = &whole[..whole.len() / 2];
    fs::write(&path, half).unwrap();
    assert!(refusal(&path).contains("is damaged"));
}
