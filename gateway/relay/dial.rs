//! New connections to endpoints.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::RelayWorker;
use super::pool::PoolKey;
use crate::policy::exchange::AttemptFailure;
use crate::upstreams::Member;

/// No connection came about.
#[derive(Debug)]
pub(super) enum DialError {
    /// The system says why.
    System(io::Error),
    /// It took longer than `timeouts.connect`.
    Late,
    /// Its descriptor lies in the reserve of others.
    Reserved,
}

impl DialError {
    /// The failure of the attempt.
    pub(super) fn failure(&self) -> AttemptFailure {
        if self.lacks_descriptors() { AttemptFailure::Overloaded } else { AttemptFailure::Connect }
    }

    /// True if the gateway had no descriptor, port or memory for it.
    fn lacks_descriptors(&self) -> bool {
        const LACKS: [Errno; 5] = [Errno::EMFILE, Errno::ENFILE, Errno::EADDRNOTAVAIL, Errno::ENOBUFS, Errno::ENOMEM];
        match self {
            Self::Reserved => true,
            Self::Late => false,
            Self::System(error) => error.raw_os_error().is_some_and(|code| LACKS.contains(&Errno::from_raw(code))),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "connecting failed: {error}"),
            Self::Late => f.write_str("connecting took longer than timeouts.connect"),
            Self::Reserved => f.write_str("no descriptor is left for a connection"),
        }
    }
}

/// A connection for one attempt, and whether it was used before.
pub(super) async fn connect(
    relay: &RelayWorker,
    member: &Member,
    now: Instant,
) -> Result<(TcpStream, bool), DialError> {
    if let Some(socket) = relay.pool.take(PoolKey::of(member), now) {
        return Ok((socket, true));
    }
    // Boxed: most requests find a connection.
    match Box::pin(dial(relay, member)).await {
        Err(error) if error.lacks_descriptors() => {
            // Connections that wait for nothing make room.
            relay.pool.clear();
            Box::pin(dial(relay, member)).await.map(|socket| (socket, false))
        }
        dialled => dialled.map(|socket| (socket, false)),
    }
}

async fn dial(relay: &RelayWorker, member: &Member) -> Result<TcpStream, DialError> {
    let connecting = timeout(member.spec().timeouts.connect, TcpStream::connect(member.address()));
    let socket = connecting.await.map_err(|_| DialError::Late)?.map_err(DialError::System)?;
    if socket.as_raw_fd() >= relay.reserved_from {
        return Err(DialError::Reserved);
    }
    // Without it requests are only slower.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}
