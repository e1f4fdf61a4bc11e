//! The keys that a bounded store is made of: what etcd offers, as far as it is needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::store::{Change, StoreError, Term};

/// A reason why keys were not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    /// The key `head` has another value.
    #[error("somebody else was first")]
    OtherHead,
    /// The term is over.
    #[error("another node leads by now")]
    Fenced,
    /// It is not known whether they were.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for NotWritten {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Keys with values.
#[async_trait]
pub(super) trait Keys: Send + Sync {
    /// All keys that start with one of these, at one moment.
    async fn read(&self, prefixes: &[String]) -> Result<BTreeMap<String, Arc<str>>, StoreError>;

    /// Writes all of these in one transaction, if the key `head` has that value, where one is asked for, and if the term is not over.
    async fn write(
        &self,
        head: Option<Option<String>>,
        term: Option<&Term>,
        changes: Vec<Change>,
    ) -> Result<(), NotWritten>;

    /// The transactions from now on.
    async fn watch(&self) -> mpsc::UnboundedReceiver<Arc<[Change]>>;

    /// As [`Store::lead`](crate::store::Store::lead).
    async fn lead(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>, StoreError>;

    /// Whether nothing can be written under this term any more.
    fn is_over(&self, term: &Term) -> bool;
}
