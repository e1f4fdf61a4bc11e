//! The open connections of the admin API, and which of them leaves when there is no room for another one.
//!
//! A connection is free while it has no request: it was just opened, or waits for its client's next one. A full table ends the
//! free connection whose client has been silent for the longest time, so that whoever says something is not kept out by others who
//! say nothing. Connections with a request are never more than the table holds: [`Work`](super::work::Work) bounds them.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use crate::clock;

/// The longest time in which a client may take no byte of what waits for it.
const STALL: Duration = Duration::from_secs(30);
/// The time that a client has to take its answer before it has to leave for others whose requests find no place.
const TAKING: Duration = Duration::from_secs(1);

/// The table of open connections.
pub struct Connections {
    began: Instant,
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, Arc<Connection>>,
}

/// One connection as the table knows it.
pub(super) struct Connection {
    began: Instant,
    /// When its client last took or sent a byte, in milliseconds since `began`.
    moved: AtomicU64,
    state: AtomicU8,
    leaves: Notify,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// It has no request.
    Free,
    /// It has a request that has no answer yet.
    Asking,
    /// Its client takes an answer.
    Taking,
    /// Its client follows events.
    Following,
}

/// The place of one connection in the table, until it is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    pub(super) connection: Arc<Connection>,
}

impl Connections {
    /// A table for so many.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { began: clock::now(), most, open: Mutex::default() })
    }

    /// A place for a new connection; `None` if there is no room, and nobody who can leave.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        if self.lock().by_number.len() >= self.most && !self.end_silent() {
            return None;
        }
        let connection = Arc::new(Connection {
            began: self.began,
            moved: AtomicU64::default(),
            state: AtomicU8::new(State::Free as u8),
            leaves: Notify::new(),
        });
        connection.moves();
        let mut open = self.lock();
        open.next += 1;
        let number = open.next;
        open.by_number.insert(number, Arc::clone(&connection));
        drop(open);
        Some(Place { connections: Arc::clone(self), number, connection })
    }

    /// Ends the free connection that has been silent for the longest time; false if there is none.
    pub(super) fn end_silent(&self) -> bool {
        self.end_oldest(State::Free, Duration::ZERO)
    }

    /// Ends the connection that has taken no byte of its answer for the longest time; false if there is none, or all take theirs.
    pub(super) fn end_slow(&self) -> bool {
        self.end_oldest(State::Taking, TAKING)
    }

    fn end_oldest(&self, state: State, silent: Duration) -> bool {
        let Some(latest) = self.began.elapsed().checked_sub(silent).map(|latest| latest.as_millis()) else {
            return false;
        };
        let mut open = self.lock();
        let those = open.by_number.iter().filter(|(_, connection)| connection.state() == state as u8);
        let oldest = those.map(|(number, connection)| (connection.moved.load(Ordering::Relaxed), *number)).min();
        let Some((_, number)) = oldest.filter(|(moved, _)| u128::from(*moved) <= latest) else { return false };
        if let Some(connection) = open.by_number.remove(&number) {
            connection.leaves.notify_one();
        }
        true
    }

    /// Every change of the table is whole before a panic can come.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Its client took or sent something.
    fn moves(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(since, Ordering::Relaxed);
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    pub(super) fn is_now(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Returns when it has to leave.
    pub(super) async fn must_leave(&self) {
        self.leaves.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().by_number.remove(&self.number);
    }
}

/// The bytes of a connection. Tells the table when some move, and ends a client that takes none for [`STALL`].
pub(super) struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, stall: None }
    }

    fn written<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            self.connection.moves();
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.moves();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.written(Poll::Pending, context),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table for three that is ten seconds old.
    fn table() -> Arc<Connections> {
        Arc::new(Connections { began: clock::now() - Duration::from_secs(10), most: 3, open: Mutex::default() })
    }

    async fn leaves(place: &Place) -> bool {
        let left = tokio::time::timeout(Duration::from_millis(1), place.connection.must_leave());
        left.await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_silent_connection_leaves_and_none_with_a_request() {
        let connections = table();
        let [asking, old, new] = std::array::from_fn(|_| connections.enter().expect("there is room"));
        asking.connection.is_now(State::Asking);
        for (moved, place) in [&asking, &old, &new].into_iter().enumerate() {
            place.connection.moved.store(moved as u64, Ordering::Relaxed);
        }
        let next = connections.enter().expect("the oldest silent one leaves");
        assert_eq!([leaves(&asking).await, leaves(&old).await, leaves(&new).await], [false, true, false]);
        for place in [&new, &next] {
            place.connection.is_now(State::Asking);
        }
        assert!(connections.enter().is_none(), "nobody is silent");
        drop(next);
        assert!(connections.enter().is_some());
    }

    #[tokio::test]
    async fn a_client_that_takes_its_answer_slowly_leaves_and_one_that_takes_it_stays() {
        let connections = table();
        let place = connections.enter().expect("there is room");
        place.connection.is_now(State::Taking);
        assert!(!connections.end_slow(), "it has just begun");
        place.connection.moved.store(0, Ordering::Relaxed);
        assert!(connections.end_slow() && leaves(&place).await);
    }
}
