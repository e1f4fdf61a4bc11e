//! Connections to endpoints that wait for their next request: those of one worker, which alone touches them.
//!
//! A connection comes back only when both messages on it ended cleanly, and is given out only for the same endpoint of the same
//! version with the same trust. The one that was used last is given out first, so that those that are not needed grow old.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::clock;
use crate::upstreams::Member;

/// Connections that one worker keeps. Too few cost a new connection for almost every request.
const MOST: usize = 4096;

/// The connections that may stand in for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolKey {
    group: u64,
    endpoint: u64,
}

impl PoolKey {
    /// The connections to this endpoint.
    pub(super) fn of(member: &Member) -> Self {
        Self { group: member.trust().group_key(), endpoint: member.id() }
    }
}

/// The idle connections of a worker.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: RefCell<BTreeMap<PoolKey, Vec<IdleConnection>>>,
    count: Cell<usize>,
}

#[derive(Debug)]
struct IdleConnection {
    socket: TcpStream,
    until: Instant,
}

impl Pool {
    /// Takes the connection that was used last and is still good.
    pub(super) fn take(&self, key: PoolKey, now: Instant) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&key)?;
        while let Some(IdleConnection { socket, until }) = connections.pop() {
            self.count.set(self.count.get() - 1);
            if now < until && is_silent(&socket) {
                return Some(socket);
            }
        }
        None
    }

    /// Keeps a connection for so long, if there is room.
    pub(super) fn put(&self, key: PoolKey, socket: TcpStream, keep: Duration) {
        if self.count.get() >= MOST {
            return;
        }
        self.count.set(self.count.get() + 1);
        let until = clock::now() + keep;
        self.idle.borrow_mut().entry(key).or_default().push(IdleConnection { socket, until });
    }

    /// Drops those that are too old, and those that their endpoint has closed or written to.
    pub(super) fn sweep(&self) {
        if self.count.get() == 0 {
            return;
        }
        let now = clock::now();
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| now < connection.until && is_silent(&connection.socket));
            !connections.is_empty()
        });
        self.count.set(self.idle.borrow().values().map(Vec::len).sum());
    }

    /// Drops all of them: what they hold is needed elsewhere.
    pub(super) fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.count.set(0);
    }

    /// Connections that wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count.get()
    }
}

/// True if nothing came on a connection that waits, neither bytes nor its end. Mostly the runtime knows without a call.
fn is_silent(socket: &TcpStream) -> bool {
    match socket.poll_read_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => true,
        // A read that left nothing may have left this mark.
        Poll::Ready(Ok(())) => {
            matches!(socket.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        }
        Poll::Ready(Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const KEY: PoolKey = PoolKey { group: 1, endpoint: 1 };
    const LONG: Duration = Duration::from_secs(60);

    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn the_last_one_is_the_first_and_keys_are_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Pool::default();
        let (one, _one) = pair(&listener).await;
        let (two, _two) = pair(&listener).await;
        let last = two.local_addr().unwrap();
        pool.put(KEY, one, LONG);
        pool.put(KEY, two, LONG);
        for key in [PoolKey { group: 2, ..KEY }, PoolKey { endpoint: 2, ..KEY }] {
            assert!(pool.take(key, clock::now()).is_none(), "{key:?}");
        }
        assert_eq!(pool.take(KEY, clock::now()).unwrap().local_addr().unwrap(), last);
        assert_eq!(pool.len(), 1);
        assert!(pool.take(KEY, clock::now()).is_some() && pool.take(KEY, clock::now()).is_none());
    }

    #[tokio::test]
    async fn what_speaks_ends_or_grows_old_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Pool::default();
        for turn in 0..6 {
            let (near, mut far) = pair(&listener).await;
            let keep = if turn < 4 { LONG } else { Duration::ZERO };
            match turn {
                0 | 1 => far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap(),
                2 | 3 => drop(far),
                _ => {}
            }
            if turn < 4 {
                near.readable().await.unwrap();
            }
            pool.put(KEY, near, keep);
            if turn % 2 == 0 {
                assert!(pool.take(KEY, clock::now()).is_none(), "turn {turn}");
            } else {
                pool.sweep();
            }
            assert_eq!(pool.len(), 0, "turn {turn}");
        }
    }
}
