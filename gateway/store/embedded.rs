//! A store in one SQLite file, for a gateway that runs alone.
//!
//! What is promised:
//! - An acknowledged transaction is on the disk: in the write-ahead log (WAL) with an fsync, and from there in the file.
//! - A transaction is there whole or not at all, whenever the process or the machine stops.
//! - *Nothing was written* is final. It is said only if the frame that commits was never written to the WAL.
//! - After a commit that failed in any other way nobody knows: the kernel drops pages whose fsync failed and calls them
//!   clean, so a second fsync proves nothing (<https://wiki.postgresql.org/wiki/Fsync_Errors>). That is
//!   [`PutError::Unknown`]. The file is then closed and opened again, which reads what there is, and everything in the WAL is
//!   written anew to the file with an fsync of its own, before anything is read or written again. Whatever came of the
//!   transaction is durable by then, and watchers are told if it was written.
//! - The same is done when the store is opened, since a killed process may leave a WAL that was never fsynced. If that
//!   fails, because the disk is full for example, the store can be read, and takes no transaction until it succeeds.
//! - Nobody else has the file open, so there is no file of shared memory beside it, and whoever leads first does so until it is
//!   closed. A term is in no file: one of an earlier process has nobody left to write under it.
//!
//! One thread has the connection. Calls go to it as jobs, and it tells the watchers, so all see one order.

mod database;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync;

use self::database::Database;
use super::terms::Terms;
use super::watchers::Watchers;
use super::{Change, Entry, Image, Page, PutError, Revision, Store, StoreError, Term, Transaction, Update};
use crate::clock;

/// How often a store that failed is tried again while nobody asks for it.
const RETRY: Duration = Duration::from_secs(1);

const ENDED: &str = "the thread of the store has ended; restart the gateway";

/// The store in a file. Dropping it waits until what was asked for is written and the file is closed.
#[derive(Debug)]
pub struct Embedded {
    // Before the thread: it ends when nobody can send it a job.
    jobs: mpsc::Sender<Job>,
    _thread: Thread,
    /// Beside the thread: whoever leads does not wait for the disk.
    terms: Mutex<Terms>,
}

type Job = Box<dyn FnOnce(&mut Owner) + Send>;

impl Embedded {
    /// Opens the store, or makes an empty one that only this user may read.
    ///
    /// # Errors
    /// When the file is in use, damaged, of another program, of a newer schema, or cannot be read and written. It is left
    /// as it is then.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = absolute(path)?;
        let mut database = Database::open(&path)?;
        if let Err(error) = database.settle() {
            tracing::error!("no change can be stored: {error}");
        }
        let owner = Owner { path, database: Some(database), watchers: Watchers::default(), failing: false };
        let (jobs, queue) = mpsc::channel();
        let thread = thread::Builder::new().name("weir-store".into()).spawn(move || owner.run(&queue));
        let thread = thread.map_err(|error| StoreError(format!("the store gets no thread: {error}")))?;
        Ok(Self { jobs, _thread: Thread(Some(thread)), terms: Mutex::default() })
    }

    fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `job` on the thread of the store; answers `None` if that has ended.
    async fn ask<T: Send + 'static>(&self, job: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = sync::oneshot::channel();
        // Whoever stopped waiting needs no answer.
        self.jobs.send(Box::new(move |owner| drop(reply.send(job(owner))))).ok()?;
        answer.await.ok()
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.ask(|owner| owner.database().and_then(job)).await;
        answer.unwrap_or_else(|| Err(StoreError(ENDED.into())))
    }
}

/// The absolute path of a file, its folder without links; the file itself may not be one.
fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    let path = std::path::absolute(path)
        .map_err(|error| StoreError(format!("the store {} has no absolute path: {error}", path.display())))?;
    Ok(match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        // What is wrong with it is told when it is opened.
        _ => path,
    })
}

#[async_trait]
impl Store for Embedded {
    async fn load(&self, prefix: &str) -> Result<Image, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |database| database.load(&prefix)).await
    }

    async fn put_if(
        &self,
        revision: Revision,
        term: Option<&Term>,
        changes: Vec<Change>,
        entry: Arc<str>,
    ) -> Result<Revision, PutError> {
        if term.is_some_and(|term| self.terms().is_over(term)) {
            return Err(PutError::Fenced);
        }
        let answer = self.ask(move |owner| owner.put_if(revision, changes, &entry)).await;
        answer.unwrap_or_else(|| Err(PutError::Unknown(ENDED.into())))
    }

    async fn lead(&self, name: &str, holder: &str, _ttl: Duration) -> Result<Option<Term>, StoreError> {
        Ok(self.terms().lead(name, holder, clock::now(), None))
    }

    async fn watch(&self, prefix: &str, from: Revision) -> sync::mpsc::UnboundedReceiver<Update> {
        let (updates, receiver) = sync::mpsc::unbounded_channel();
        let prefix = prefix.to_owned();
        // The image, if one is due, comes when the job is done. If the thread has ended, so has the watch.
        let _ = self.jobs.send(Box::new(move |owner| owner.watchers.add(prefix, from, updates)));
        receiver
    }

    async fn journal(&self, page: Page) -> Result<Vec<Entry>, StoreError> {
        self.read(move |database| database.journal(page)).await
    }

    async fn journal_bytes(&self, after: Revision, before: Revision) -> Result<u64, StoreError> {
        self.read(move |database| database.journal_bytes(after, before)).await
    }

    async fn trim(&self, until: Revision) -> Result<u64, StoreError> {
        self.read(move |database| database.trim(until)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.read(|database| database.probe()).await
    }

    async fn restore(&self, image: Image, journal: Vec<Entry>) -> Result<(), PutError> {
        let answer = self.ask(move |owner| {
            let database = owner.database().map_err(|error| PutError::Unavailable(error.to_string()))?;
            database.restore(&image, &journal)
        });
        answer.await.unwrap_or_else(|| Err(PutError::Unknown(ENDED.into())))
    }
}

/// Joins the thread when it is dropped.
#[derive(Debug)]
struct Thread(Option<JoinHandle<()>>);

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // A panic of the thread has been printed; there is nothing left to close.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Owner {
    path: PathBuf,
    /// `None` after a failure, until it could be opened again.
    database: Option<Database>,
    watchers: Watchers,
    /// Whether the last attempt to catch up failed.
    failing: bool,
}

impl Owner {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        loop {
            let next = if self.is_behind() {
                jobs.recv_timeout(RETRY)
            } else {
                jobs.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            };
            match next {
                Ok(job) => job(&mut self),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.catch_up();
        }
    }

    fn put_if(&mut self, revision: Revision, changes: Vec<Change>, entry: &str) -> Result<Revision, PutError> {
        let database = self.database().map_err(|error| PutError::Unavailable(error.to_string()))?;
        let revision = database.put_if(revision, &changes, entry)?;
        self.watchers.tell(&Transaction { revision, changes: changes.into() });
        Ok(revision)
    }

    /// The database, opened again if it can no longer be believed.
    fn database(&mut self) -> Result<&mut Database, StoreError> {
        // It is closed first: nobody opens the file twice.
        let database = match self.database.take().filter(|database| !database.is_doubtful()) {
            Some(database) => database,
            None => {
                let mut database = Database::open(&self.path)?;
                database.settle().map_err(StoreError)?;
                database
            }
        };
        Ok(self.database.insert(database))
    }

    /// Whether there is something to do that nobody asks for.
    fn is_behind(&self) -> bool {
        match &self.database {
            Some(database) => database.is_doubtful() || self.watchers.wait_for(database.revision()),
            None => true,
        }
    }

    /// Opens what was closed, and tells watchers what they have not seen.
    fn catch_up(&mut self) {
        if !self.is_behind() {
            return;
        }
        let mut watchers = std::mem::take(&mut self.watchers);
        let caught_up =
            self.database().and_then(|database| watchers.catch_up(database.revision(), |prefix| database.load(prefix)));
        self.watchers = watchers;
        match &caught_up {
            Ok(()) if self.failing => tracing::info!("the store {} can be used again", self.path.display()),
            Err(error) if !self.failing => tracing::error!("{error}; trying again"),
            _ => {}
        }
        self.failing = caught_up.is_err();
    }
}
