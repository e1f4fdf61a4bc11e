//! Where configuration lives between two processes: named texts under one revision, and a journal of how they came about.
//!
//! A store knows names, texts and revisions, and nothing of what they mean. Every change is one transaction that holds
//! against the revision it was computed from, and every node, the writer included, learns of it from the watch. What one node
//! alone may do, it does under a term, which the transaction is held against too.

#[cfg(test)]
pub(crate) mod bounded;
pub mod embedded;
pub mod memory;
#[cfg(test)]
pub(crate) mod suite;
mod terms;
mod watchers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

/// Number of a transaction: 0 is the empty store, each transaction adds one.
pub type Revision = u64;

/// A text as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The store's revision when this text last changed.
    pub revision: Revision,
    /// The whole text.
    pub text: Arc<str>,
}

/// Every text that was asked for, at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The store's.
    pub revision: Revision,
    /// Texts by name.
    pub texts: BTreeMap<String, Stored>,
}

/// A text that is written, or deleted where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Such as `function/shop`.
    pub name: String,
    /// The whole new text.
    pub text: Option<Arc<str>>,
}

/// One transaction, as the watch tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The store's revision after it.
    pub revision: Revision,
    /// What changed, in the order in which it was written.
    pub changes: Arc<[Change]>,
}

/// The journal line of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The store's revision after it.
    pub revision: Revision,
    /// As it was given to [`Store::put_if`].
    pub text: Arc<str>,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The next transaction.
    Transaction(Transaction),
    /// Everything at one revision: the start of a watch, or a leap over transactions that are not told one by one.
    Image(Image),
}

/// From which end a page of the journal is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Rising revisions.
    OldestFirst,
    /// Falling revisions.
    NewestFirst,
}

/// Which part of the journal to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only entries after this revision; 0 for all.
    pub after: Revision,
    /// Only entries before this revision; [`Revision::MAX`] for all.
    pub before: Revision,
    /// From which end.
    pub order: Order,
    /// At most so many entries.
    pub limit: usize,
}

/// The right to do something alone, until somebody else has it: a fencing token
/// (<https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What it is the right to.
    pub name: Arc<str>,
    /// Rises from one holder to the next.
    pub epoch: u64,
}

/// Why a transaction was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Somebody else was first: load, apply again, try again. Nothing was written.
    #[error("the store is at revision {current}, the change was made for another one")]
    Conflict {
        /// The store's revision.
        current: Revision,
    },
    /// The term under which it was to be written is over. Nothing was written, and nothing else will be under that term.
    #[error("nothing was written: another node leads by now")]
    Fenced,
    /// Nothing was written (disk full, I/O error, locked): what is stored is what was. Says what to do.
    #[error("nothing was written: {0}")]
    Unavailable(String),
    /// It is not known whether it was written (a failed fsync). Nobody may be told that it was; the store must be read
    /// again before the next write.
    #[error("it is not known whether the change was written: {0}")]
    Unknown(String),
}

/// Why a store cannot be opened, read or trimmed: where, what, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(String);

impl StoreError {
    /// In words.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Named texts under one revision.
#[async_trait]
pub trait Store: Send + Sync {
    /// Every text whose name starts with `prefix`, at one revision.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load(&self, prefix: &str) -> Result<Image, StoreError>;

    /// Writes all `changes` and the journal line `entry` in one transaction if the store is still at `revision`, and if `term`,
    /// where there is one, is not over; answers the new revision once it is durable. Of two changes of one name the later counts.
    /// A caller who stops waiting does not stop the transaction.
    ///
    /// # Errors
    /// When it was not written, or when that is not known. A term that is over is told first, whatever the revision.
    async fn put_if(
        &self,
        revision: Revision,
        term: Option<&Term>,
        changes: Vec<Change>,
        entry: Arc<str>,
    ) -> Result<Revision, PutError>;

    /// The term of whoever leads `name`, if that is `holder`, for whom it is renewed: for `ttl` from now, or longer, nobody else leads. `None`
    /// while somebody else does. Nobody gives a term back: whoever died leads until its time is over.
    ///
    /// A term that nobody took over may outlive its time. It is over when another one begins, at the latest, and then no
    /// transaction is written under it, however long that was on its way. In etcd that is a key with a lease, whose creation is the
    /// epoch and is compared in the transaction (<https://etcd.io/docs/v3.5/learning/api/#lease-api>).
    ///
    /// # Errors
    /// When it is not known who leads.
    async fn lead(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>, StoreError>;

    /// What follows `from` among names that start with `prefix`, in order, none left out. A transaction that touches none
    /// of them is told too, with no changes, so that whoever waits for a revision sees it. Ends when the receiver is
    /// dropped. While the store cannot be read the watch is silent; it goes on where it stood.
    async fn watch(&self, prefix: &str, from: Revision) -> mpsc::UnboundedReceiver<Update>;

    /// A page of the journal.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn journal(&self, page: Page) -> Result<Vec<Entry>, StoreError>;

    /// The length of the journal entries after the revision `after` and before `before`, in bytes of UTF-8.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn journal_bytes(&self, after: Revision, before: Revision) -> Result<u64, StoreError>;

    /// Forgets journal entries of revisions up to and including `until`. Answers how many. Adds no revision.
    ///
    /// # Errors
    /// When they may still be there.
    async fn trim(&self, until: Revision) -> Result<u64, StoreError>;

    /// Tries whether a change could be written, without one: asked after a transaction that was not.
    ///
    /// # Errors
    /// Why not.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Fills a store that holds nothing with what another one held: texts with their revisions, and its journal.
    ///
    /// # Errors
    /// [`PutError::Conflict`] when it is not at revision 0; else as [`put_if`](Self::put_if).
    async fn restore(&self, image: Image, journal: Vec<Entry>) -> Result<(), PutError>;
}
