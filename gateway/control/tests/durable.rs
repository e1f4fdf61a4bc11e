//! What outlives a process, and what happens while the store fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use async_trait::async_trait;
use config::text::edit::FunctionEdit;
use config::value::weight::Split;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::control::backup::ImportError;
use crate::control::journal::Verdict;
use crate::control::tokens::Role;
use crate::control::{Done, Environment, Expected, Guard, RollBack, backup};
use crate::store::{Change, Entry, Image, Page, PutError, Revision, StoreError, Term, Update};

/// A store that fails as it is told.
#[derive(Default)]
pub(super) struct Failing {
    inner: Arc<Memory>,
    /// How often texts were read.
    pub(super) loads: AtomicUsize,
    /// Whoever holds it keeps every transaction waiting.
    pub(super) disk: tokio::sync::Mutex<()>,
    next: Mutex<Vec<Fault>>,
    /// True if it does not tell who leads.
    pub(super) cut: AtomicBool,
    /// The number of transactions that came.
    pub(super) puts: watch::Sender<usize>,
    /// How many transactions came under a term, and how many of them were too late.
    pub(super) under_terms: watch::Sender<usize>,
    pub(super) fenced: watch::Sender<usize>,
}

#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// Nothing is written.
    Full,
    /// It is written, and nobody knows.
    Doubt,
    /// Nothing is written, and nobody knows.
    Lost,
}

impl Failing {
    /// The way of another node to the same store.
    pub(super) fn of_another_node(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), ..Self::default() }
    }

    pub(super) fn fail(&self, faults: &[Fault]) {
        *self.next.lock().unwrap() = faults.to_vec();
    }
}

#[async_trait]
impl Store for Failing {
    async fn load(&self, prefix: &str) -> Result<Image, StoreError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.inner.load(prefix).await
    }

    async fn put_if(
        &self,
        revision: Revision,
        term: Option<&Term>,
        changes: Vec<Change>,
        entry: Arc<str>,
    ) -> Result<Revision, PutError> {
        self.puts.send_modify(|count| *count += 1);
        self.under_terms.send_modify(|count| *count += usize::from(term.is_some()));
        let _disk = self.disk.lock().await;
        let fault = self.next.lock().unwrap().pop();
        match fault {
            None => {
                let put = self.inner.put_if(revision, term, changes, entry).await;
                self.fenced.send_modify(|count| *count += usize::from(matches!(put, Err(PutError::Fenced))));
                put
            }
            Some(Fault::Full) => Err(PutError::Unavailable("no space left on the device".into())),
            Some(Fault::Lost) => Err(PutError::Unknown("an fsync failed".into())),
            Some(Fault::Doubt) => {
                self.inner.put_if(revision, term, changes, entry).await?;
                Err(PutError::Unknown("an fsync failed".into()))
            }
        }
    }

    async fn lead(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>, StoreError> {
        if self.cut.load(Ordering::Relaxed) {
            return Err(StoreError::new("the store cannot be reached"));
        }
        self.inner.lead(name, holder, ttl).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> mpsc::UnboundedReceiver<Update> {
        self.inner.watch(prefix, from).await
    }

    async fn journal(&self, page: Page) -> Result<Vec<Entry>, StoreError> {
        self.inner.journal(page).await
    }

    async fn journal_bytes(&self, after: Revision, before: Revision) -> Result<u64, StoreError> {
        self.inner.journal_bytes(after, before).await
    }

    async fn trim(&self, until: Revision) -> Result<u64, StoreError> {
        self.inner.trim(until).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn restore(&self, image: Image, journal: Vec<Entry>) -> Result<(), PutError> {
        self.inner.restore(image, journal).await
    }
}

impl Node {
    pub(super) async fn shift(&self, split: &str) -> Outcome {
        self.shift_if(split, None).await
    }

    pub(super) async fn shift_if(&self, split: &str, guard: Option<Guard>) -> Outcome {
        let shift = FunctionEdit::Shift("prod".parse().unwrap(), parsed(split));
        let edits = vec![Edit::Function("shop".parse().unwrap(), shift)];
        self.control.edit(Wish { author: Author::of("token:ci"), edits, guard }).await
    }

    pub(super) async fn roll_back(&self, to: Option<Revision>) -> Outcome {
        let (function, alias) = ("shop".parse().unwrap(), "prod".parse().unwrap());
        let what = RollBack::Alias { function, alias, to };
        self.control.roll_back(Author::of("token:ci"), what, None, false).await
    }

    async fn export(&self) -> String {
        let (mut pieces, mut text) = (self.control.export(), String::new());
        while let Some(piece) = pieces.recv().await {
            text.push_str(&piece.unwrap());
        }
        text
    }

    pub(super) fn split(&self) -> String {
        self.alias("shop").1.model.split.to_string()
    }
}

fn parsed(split: &str) -> Split {
    let text = file("shop", split, "");
    parse::parse(&text, &|_| None).unwrap().0.functions["shop"].aliases["prod"].split.clone()
}

const SHOP: &str = "{1: 95, 2: 5}";

pub(super) async fn on_a_failing_store() -> (Arc<Failing>, Node) {
    let store = Arc::new(Failing::default());
    let node = Node::on(Arc::clone(&store) as Arc<dyn Store>).await;
    node.file(&file("shop", SHOP, "")).await.unwrap();
    (store, node)
}

#[tokio::test]
async fn what_was_changed_live_outlives_the_process_and_an_unchanged_file() {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let node = Node::on(Arc::clone(&store)).await;
    node.file(&file("shop", SHOP, "")).await.unwrap();
    let shifted = node.shift("{1: 60, 2: 40}").await.unwrap().revision;
    drop(node);
    let node = Node::on(store).await;
    assert_eq!((node.split().as_str(), node.live.load().revision), ("1: 60, 2: 40", shifted), "it is live at once");
    let done = node.file(&file("shop", SHOP, "")).await.unwrap();
    assert_eq!((node.split().as_str(), done.revision), ("1: 60, 2: 40", shifted), "the file says nothing new");
    node.file(&file("shop", "{1: 50, 2: 50}", "")).await.unwrap();
    assert_eq!(node.split(), "1: 50, 2: 50", "now it does");
}

#[tokio::test]
async fn a_change_holds_only_against_the_revision_of_its_own_thing() {
    let node = Node::with(&file("shop", SHOP, "")).await;
    let seen = node.live.load().revisions["alias/shop/prod"];
    let other = format!("trusted_proxies: [10.0.0.0/8]\n{}", file("shop", SHOP, ""));
    node.file(&other).await.unwrap();
    let guard = Guard { name: "alias/shop/prod".into(), expected: Expected::Revision(seen) };
    let done = node.shift_if("{1: 60, 2: 40}", Some(guard.clone())).await.expect("unrelated edits do not conflict");
    let refused = node.shift_if("{1: 50, 2: 50}", Some(guard)).await.unwrap_err();
    let Refused::Precondition { current, .. } = refused else { panic!("{refused}") };
    assert_eq!((current, node.split().as_str()), (Some(done.revision), "1: 60, 2: 40"));
}

#[tokio::test]
async fn an_edit_that_the_store_cannot_take_changes_nothing_and_the_next_one_works() {
    let (store, node) = on_a_failing_store().await;
    store.fail(&[Fault::Full]);
    let refused = node.shift("{1: 60, 2: 40}").await.unwrap_err();
    assert!(matches!(&refused, Refused::Unavailable(why) if why.contains("no space left")), "{refused}");
    assert_eq!(node.split(), "1: 95, 2: 5");
    node.shift("{1: 60, 2: 40}").await.unwrap();
    assert_eq!(node.split(), "1: 60, 2: 40");
}

#[tokio::test]
async fn after_a_doubtful_write_nobody_is_told_that_it_holds_and_the_next_edit_stands_on_the_truth() {
    let (store, node) = on_a_failing_store().await;
    store.fail(&[Fault::Doubt]);
    let refused = node.shift("{1: 60, 2: 40}").await.unwrap_err();
    assert!(matches!(refused, Refused::Unknown(_)), "{refused}");
    let Done { before, revision, .. } = node.shift("{1: 50, 2: 50}").await.unwrap();
    let before = before.functions["shop"].aliases["prod"].split.to_string();
    assert_eq!((before.as_str(), revision), ("1: 60, 2: 40", 3), "it had been written");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_goes_live_while_the_store_is_full_and_is_written_when_it_can_be() {
    let (store, node) = on_a_failing_store().await;
    node.shift("{1: 60, 2: 40}").await.unwrap();
    store.fail(&[Fault::Full; 4]);
    let done = node.roll_back(None).await.unwrap();
    assert!(done.unsaved);
    assert_eq!((node.split().as_str(), node.metrics.unsaved_rollback.get()), ("1: 95, 2: 5", 1));
    let refused = node.shift("{1: 50, 2: 50}").await.unwrap_err();
    assert!(matches!(refused, Refused::Unavailable(_)), "nothing else changes before it is stored: {refused}");
    assert_eq!(node.split(), "1: 95, 2: 5");
    let mut progress = node.live.progress();
    progress.wait_for(|live| *live == 3).await.unwrap();
    while node.metrics.unsaved_rollback.get() == 1 {
        tokio::task::yield_now().await;
    }
    let page = node.control.journal(past::all()).await.unwrap();
    assert_eq!(page.entries[2].who, "token:ci", "it is written by who wanted it");
    drop(node);
    assert_eq!(Node::on(store).await.split(), "1: 95, 2: 5", "and stored");
}

#[tokio::test]
async fn a_rollback_that_was_never_written_is_lost_with_the_process_and_what_was_stored_serves() {
    let (store, node) = on_a_failing_store().await;
    node.shift("{1: 60, 2: 40}").await.unwrap();
    store.fail(&[Fault::Full]);
    assert!(node.roll_back(None).await.unwrap().unsaved);
    drop(node);
    store.fail(&[]);
    let store: Arc<dyn Store> = store;
    assert_eq!(Node::on(store).await.split(), "1: 60, 2: 40");
}

#[tokio::test]
async fn a_token_counts_from_its_making_to_its_end_and_only_its_hash_is_kept() {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let node = Node::on(Arc::clone(&store)).await;
    let secret = node.control.create_token(Author::of("start"), "ci", Role::Operator).await.unwrap();
    let again = node.control.create_token(Author::of("start"), "ci", Role::Admin).await.unwrap_err();
    assert!(matches!(again, Refused::Precondition { .. }), "{again}");
    let bad = node.control.create_token(Author::of("start"), "no name", Role::Admin).await.unwrap_err();
    assert!(bad.to_string().contains("a letter followed by"), "{bad}");
    let everything = node.export().await;
    assert!(!everything.contains(secret.reveal()), "the secret is nowhere");
    drop(node);
    let node = Node::on(store).await;
    let tokens = node.control.tokens();
    let grant = tokens.grant(secret.reveal()).expect("it outlives the process");
    assert_eq!((grant.name.as_str(), grant.role), ("ci", Role::Operator));
    assert!(tokens.grant("weir_0").is_none() && tokens.grant("").is_none());
    node.control.revoke_token(Author::of("start"), "ci").await.unwrap();
    assert!(tokens.grant(secret.reveal()).is_none());
    assert!(node.control.revoke_token(Author::of("start"), "ci").await.is_err(), "there is none any more");
}

#[tokio::test]
async fn an_export_brings_everything_back_into_an_empty_store_and_nothing_that_was_damaged() {
    let node = Node::with(&file("shop", SHOP, "")).await;
    let secret = node.control.create_token(Author::of("start"), "ci", Role::Operator).await.unwrap();
    node.shift("{1: 60, 2: 40}").await.unwrap();
    let everything = node.export().await;
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let environment: Environment = Arc::new(|_| None);
    for damaged in [everything.replace("60", "61"), everything[..everything.len() / 2].to_owned(), String::new()] {
        let refused = backup::import(&*store, &damaged, &environment).await.unwrap_err();
        assert!(matches!(refused, ImportError::Damaged(_)), "{refused}");
    }
    assert_eq!(backup::import(&*store, &everything, &environment).await.unwrap().0, 3);
    let again = backup::import(&*store, &everything, &environment).await.unwrap_err();
    assert!(matches!(again, ImportError::NotEmpty { revision: 3 }), "{again}");
    let other = Node::on(store).await;
    assert_eq!(other.split(), "1: 60, 2: 40");
    assert!(other.control.tokens().grant(secret.reveal()).is_some());
    assert_eq!(other.export().await, everything, "not a byte is lost");
    assert!(matches!(other.control.verify().await.unwrap().verdict, Verdict::Whole { from: 1, to: 3 }));
    other.roll_back(None).await.unwrap();
    assert_eq!(other.split(), "1: 95, 2: 5", "with its past");
}
