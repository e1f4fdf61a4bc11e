//! A disk that fails: system calls that answer errors, and a file system that is full.

use std::fs;
use std::process::Output;

use super::*;
use crate::store::Stored;

/// How many edits the child tries.
const EDITS: usize = 4;

#[test]
fn a_failed_fsync_is_never_taken_for_durable() {
    let runs = sweep("a_failed_fsync_is_never_taken_for_durable", "fsync,fdatasync", "EIO", "");
    assert!(runs.iter().any(|run| run.told("unknown") > 0), "a commit whose fsync fails is unknown");
    assert!(runs.iter().all(|run| run.told("unknown") <= 1), "one failure is one doubt");
}

#[test]
fn a_disk_whose_fsyncs_fail_from_then_on_takes_no_edit() {
    for run in sweep("a_disk_whose_fsyncs_fail_from_then_on_takes_no_edit", "fsync,fdatasync", "EIO", "+") {
        let mut after =
            run.lines.iter().skip_while(|line| !line.starts_with("unknown") && !line.starts_with("nothing"));
        // What cannot be made durable is not read either: the reader would take it for stored.
        assert!(!after.any(|line| line.starts_with("stored") || line.starts_with("read")), "{:#?}", run.lines);
    }
}

#[test]
fn a_failed_write_leaves_edits_whole() {
    let runs = sweep("a_failed_write_leaves_edits_whole", "pwrite64", "EIO", "");
    assert!(runs.iter().any(|run| run.told("unknown") + run.told("nothing") > 0), "no edit met the failure");
}

#[test]
fn a_write_that_finds_no_space_writes_nothing() {
    let runs = sweep("a_write_that_finds_no_space_writes_nothing", "pwrite64", "ENOSPC", "");
    assert!(runs.iter().any(|run| run.told("nothing") > 0), "no edit met the failure");
    assert!(runs.iter().all(|run| run.told("unknown") == 0), "a full disk leaves no doubt");
}

#[test]
fn a_full_disk_refuses_edits_until_there_is_space() {
    child::run(fill_and_free);
    child::require("unshare", "util-linux");
    let directory = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=2m none \"$1\" && shift && exec \"$@\"";
    let line = ["unshare", "-rm", "sh", "-c", mount, "sh", directory.path().to_str().unwrap()];
    let output = child::command(
        &line,
        "faults::a_full_disk_refuses_edits_until_there_is_space",
        &directory.path().join("weir.db"),
    )
    .output()
    .unwrap();
    assert!(
        succeeded(&output).lines().any(|line| line == "done"),
        "the child did not run; this test needs user namespaces (unshare -rm) to mount a file system of its own"
    );
}

#[test]
fn a_store_that_is_mounted_read_only_is_named_as_such() {
    child::run(open_read_only);
    child::require("unshare", "util-linux");
    let directory = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs none \"$1\" && shift && exec \"$@\"";
    let line = ["unshare", "-rm", "sh", "-c", mount, "sh", directory.path().to_str().unwrap()];
    let path = directory.path().join("weir.db");
    let output =
        child::command(&line, "faults::a_store_that_is_mounted_read_only_is_named_as_such", &path).output().unwrap();
    assert!(
        succeeded(&output).lines().any(|line| line == "done"),
        "the child did not run; this test needs user namespaces (unshare -rm) to mount a file system of its own"
    );
}

/// What a child printed that edited while a system call failed.
struct Run {
    lines: Vec<String>,
}

impl Run {
    /// How many edits ended so.
    fn told(&self, outcome: &str) -> usize {
        self.lines.iter().filter(|line| line.starts_with(outcome)).count()
    }
}

/// In a child of `test`, edits. Else runs a child for the first, second … call of `calls` on a thread, until it makes no more of them. That call fails,
/// and with `more` of `+` all that follow it.
fn sweep(test: &str, calls: &str, error: &str, more: &str) -> Vec<Run> {
    child::run(edit_a_few);
    child::require("strace", "strace");
    let mut runs = Vec::new();
    loop {
        let (directory, path) = place();
        let trace = directory.path().join("trace");
        let inject = format!("inject={calls}:error={error}:when={}{more}", runs.len() + 1);
        let traced = format!("trace={calls}");
        let line = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", &traced, "-e", &inject];
        let output = child::command(&line, &format!("faults::{test}"), &path).output().unwrap();
        let lines = succeeded(&output).lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(lines.iter().any(|line| line == "done"), "the child did not run: {output:?}");
        let trace = fs::read_to_string(&trace).unwrap();
        if !trace.contains("(INJECTED)") {
            assert!(!runs.is_empty(), "strace injected nothing:\n{trace}");
            return runs;
        }
        verify(&path, &lines);
        runs.push(Run { lines });
    }
}

/// That the disk, working again, has every edit that was acknowledged, none that was refused, and no half one.
fn verify(path: &Path, lines: &[String]) {
    runtime().block_on(async {
        let store = Embedded::open(path).unwrap();
        let image = store.load("").await.unwrap();
        for line in lines {
            let Some((outcome, edit)) = line.split_once(' ') else { continue };
            let halves = ["left", "right"].map(|half| image.texts.contains_key(&format!("{half}/{edit}")));
            match outcome {
                "stored" => assert_eq!(halves, [true, true], "edit {edit} is lost: {lines:#?}"),
                "nothing" => assert_eq!(halves, [false, false], "edit {edit} was refused: {lines:#?}"),
                "unknown" => assert_eq!(halves[0], halves[1], "half of edit {edit}: {lines:#?}"),
                _ => {}
            }
        }
        let journal = store.journal(ALL).await.unwrap();
        assert_eq!(
            journal.iter().map(|entry| entry.revision).collect::<Vec<_>>(),
            (1..=image.revision).collect::<Vec<_>>()
        );
        assert_eq!(image.texts.len(), 2 * journal.len());
    });
}

/// The process whose system calls fail.
async fn edit_a_few(path: &Path) {
    match Embedded::open(path) {
        Ok(store) => edit_and_watch(&store).await,
        Err(error) => println!("refused: {error}"),
    }
    println!("done");
}

/// Tries each edit once and prints what came of it. What the watch tells is what is stored in the end.
async fn edit_and_watch(store: &Embedded) {
    let mut watch = store.watch("", 0).await;
    let mut revision = 0;
    for edit in 0..EDITS {
        let text = edit.to_string().repeat(10_000);
        let changes = ["left", "right"].map(|half| write(&format!("{half}/{edit}"), &text));
        match store.put_if(revision, None, changes.into(), text.as_str().into()).await {
            Ok(next) => {
                assert_eq!(next, revision + 1);
                revision = next;
                println!("stored {edit}");
            }
            Err(PutError::Unavailable(error)) => println!("nothing {edit} {error}"),
            Err(PutError::Unknown(error)) => {
                println!("unknown {edit} {error}");
                if let Ok(image) = store.load("").await {
                    revision = image.revision;
                    println!("read {edit}");
                }
            }
            Err(error @ (PutError::Conflict { .. } | PutError::Fenced)) => panic!("{error}"),
        }
    }
    let Ok(stored) = store.load("").await else { return };
    let mut seen = Image::default();
    while seen.revision < stored.revision {
        match watch.recv().await.expect("the store is there") {
            Update::Image(image) => seen = image,
            Update::Transaction(Transaction { revision, changes }) => {
                assert_eq!(revision, seen.revision + 1);
                seen.revision = revision;
                for change in &*changes {
                    let text = Arc::clone(change.text.as_ref().expect("nothing is deleted here"));
                    seen.texts.insert(change.name.clone(), Stored { revision, text });
                }
            }
        }
    }
    assert_eq!(seen, stored);
}

/// The process whose disk is full.
async fn fill_and_free(path: &Path) {
    let ballast = path.with_file_name("ballast");
    fs::write(&ballast, vec![1; 1200 << 10]).unwrap();
    let store = Embedded::open(path).unwrap();
    let full = fill(&store).await;
    for _ in 0..3 {
        let error = edit(&store, full).await.unwrap_err();
        let PutError::Unavailable(why) = &error else { panic!("{error}") };
        assert!(why.contains("weir.db is on a full disk; free some space"), "{why}");
        assert_eq!(store.load("").await.unwrap().revision, full, "a full disk is read");
    }
    drop(store);
    let store = Embedded::open(path).expect("a store on a full disk is opened");
    assert_eq!(store.load("").await.unwrap().texts.len() as u64, full);
    assert!(matches!(edit(&store, full).await, Err(PutError::Unavailable(_))));
    fs::remove_file(&ballast).unwrap();
    assert_eq!(edit(&store, full).await.unwrap(), full + 1, "there is space again");
    drop(store);
    let store = Embedded::open(path).unwrap();
    assert_eq!(store.load("").await.unwrap().texts.len() as u64, full + 1);
    println!("done");
}

/// The process whose file system takes no writes any more.
async fn open_read_only(path: &Path) {
    let store = Embedded::open(path).unwrap();
    edit(&store, 0).await.unwrap();
    drop(store);
    let folder = path.parent().unwrap();
    let mounted = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(folder).status().unwrap();
    assert!(mounted.success());
    for path in [path.to_owned(), folder.join("another.db")] {
        let why = Embedded::open(&path).unwrap_err().to_string();
        assert!(why.contains("is on a file system that is mounted read-only"), "{why}");
        assert!(!why.contains("disk"), "{why}");
    }
    println!("done");
}

/// Edits until no more is taken; answers the last revision.
async fn fill(store: &Embedded) -> Revision {
    let mut revision = 0;
    while let Ok(next) = edit(store, revision).await {
        revision = next;
    }
    assert!(revision > 3, "there was space for {revision} edits only");
    revision
}

async fn edit(store: &Embedded, revision: Revision) -> Result<Revision, PutError> {
    let text = "text ".repeat(10_000);
    store.put_if(revision, None, vec![write(&format!("name/{revision}"), &text)], "".into()).await
}

fn succeeded(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}\n{error}", output.status);
    printed
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}
