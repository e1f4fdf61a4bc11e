//! How long a request may wait for the head of its answer, kept by the task of the client's connection.
//!
//! pingora 0.9.1 has one read timeout for the head and the body of an answer, and no callback while it waits. So the limit
//! on the head is kept here: when it passes, the wait is cut where pingora reads, and the error that follows is told from
//! others by [`HeadWait::was_cut`]. One timer serves all requests of a connection, and is not touched by most of them.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Connection;

/// Where a wait is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// At the socket to the endpoint, which serves this request alone and stays open while the wait lasts.
    Endpoint(RawFd),
    /// At the client's HTTP/1 stream: its next read fails once.
    Client,
}

/// A request that waits for the head of its answer. The wait is over when this is dropped.
#[derive(Debug)]
pub struct HeadWait {
    connection: Arc<Connection>,
    id: u64,
}

impl HeadWait {
    /// Begins a wait of at most `limit`.
    #[must_use]
    pub fn begin(connection: &Arc<Connection>, limit: Duration, cut: Cut) -> Self {
        let id = connection.deadlines.add(Instant::now() + limit, cut);
        Self { connection: Arc::clone(connection), id }
    }

    /// Whether the limit passed.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        !self.connection.deadlines.lock().waits.iter().any(|wait| wait.id == self.id)
    }
}

impl Drop for HeadWait {
    fn drop(&mut self) {
        self.connection.deadlines.remove(self.id);
    }
}

/// The waits of one connection.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    waits: Mutex<Waits>,
    /// A wait ends before the timer does.
    sooner: Notify,
    client_cut: AtomicBool,
}

#[derive(Debug, Default)]
struct Waits {
    waits: SmallVec<[Wait; 1]>,
    next_id: u64,
    /// When the timer ends; `None` while it rests.
    timer: Option<Instant>,
}

#[derive(Debug)]
struct Wait {
    id: u64,
    deadline: Instant,
    cut: Cut,
}

impl Deadlines {
    /// Cuts what is due, for ever. Polled before the requests, so that a cut is seen in the same turn.
    pub(super) async fn keep(&self) {
        loop {
            match self.cut_due() {
                Some(next) => tokio::select! {
                    () = sleep_until(next) => {}
                    () = self.sooner.notified() => {}
                },
                None => self.sooner.notified().await,
            }
        }
    }

    /// Whether the client's next read is to fail.
    pub(super) fn take_client_cut(&self) -> bool {
        self.client_cut.load(Ordering::Relaxed) && self.client_cut.swap(false, Ordering::Relaxed)
    }

    fn add(&self, deadline: Instant, cut: Cut) -> u64 {
        let mut waits = self.lock();
        let id = waits.next_id;
        waits.next_id += 1;
        waits.waits.push(Wait { id, deadline, cut });
        if waits.timer.is_none_or(|timer| deadline < timer) {
            waits.timer = Some(deadline);
            self.sooner.notify_one();
        }
        id
    }

    fn remove(&self, id: u64) {
        let mut waits = self.lock();
        match waits.waits.iter().position(|wait| wait.id == id) {
            Some(at) => drop(waits.waits.swap_remove(at)),
            // It was cut; a read that has not failed yet shall not fail the next request.
            None => self.client_cut.store(false, Ordering::Relaxed),
        }
    }

    fn cut_due(&self) -> Option<Instant> {
        let mut waits = self.lock();
        let now = Instant::now();
        waits.waits.retain(|wait| {
            if wait.deadline > now {
                return true;
            }
            match wait.cut {
                // An error means that the endpoint was faster.
                Cut::Endpoint(socket) => drop(shutdown(socket, Shutdown::Both)),
                Cut::Client => self.client_cut.store(true, Ordering::Relaxed),
            }
            false
        });
        waits.timer = waits.waits.iter().map(|wait| wait.deadline).min();
        waits.timer
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        // Nothing that holds it can panic halfway.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
