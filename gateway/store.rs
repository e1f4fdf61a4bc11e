//! Where configuration lives between two processes: named texts under one revision.
//!
//! A store knows names, texts and revisions, and nothing of what they mean. Every change is one transaction that holds
//! against the revision it was computed from, and every node, the writer included, learns of it from the watch.

pub mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

/// Number of a transaction: 0 is the empty store, each transaction adds one.
pub type Revision = u64;

/// Everything in the store at one revision.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// When.
    pub revision: Revision,
    /// Texts by name.
    pub texts: BTreeMap<String, Arc<str>>,
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
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The store's revision after it.
    pub revision: Revision,
    /// What changed, each name once.
    pub changes: Arc<[Change]>,
}

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum Update {
    /// The next transaction.
    Transaction(Transaction),
    /// Everything at one revision: the start of a watch, or a leap over transactions that are no longer kept.
    Image(Image),
}

/// Why a change was not written. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Somebody else was first: load, apply again, try again.
    #[error("the store is at revision {current}, the change was made for an earlier one")]
    Conflict {
        /// The store's revision.
        current: Revision,
    },
}

/// Named texts under one revision.
#[async_trait]
pub trait Store: Send + Sync {
    /// Everything, at one revision.
    async fn load(&self) -> Image;

    /// Writes all of `changes` in one transaction, if the store is still at `revision`; answers the new revision.
    ///
    /// # Errors
    /// When it is not.
    async fn put_if(&self, revision: Revision, changes: Vec<Change>) -> Result<Revision, PutError>;

    /// What follows revision `from`, in order, none left out. Ends when the receiver is dropped.
    async fn watch(&self, from: Revision) -> mpsc::UnboundedReceiver<Update>;
}
