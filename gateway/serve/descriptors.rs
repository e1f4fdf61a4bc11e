//! The limit of open files: raised as far as it goes, and shared out between the gateway itself, clients, and a reserve.
//!
//! A client's connection takes two descriptors, its own and one to an endpoint. The reserve is for the admin API and the control
//! plane: without it, clients could use up all descriptors, and operators could not ask `/ready` or roll back then.

use config::model::Process;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors of a process without workers and clients: standard streams, store, log, watches, runtimes.
const BASE: u64 = 32;
/// Descriptors of one worker's runtime; its listening sockets come on top.
const WORKER: u64 = 4;
/// The least and the most descriptors of the reserve, which is an eighth of all within these bounds.
const RESERVE: (u64, u64) = (32, 512);
/// The most connections of dialects.
const DIALECTS: u64 = 512;
/// Descriptors of one client: its connection, and one to an endpoint.
const EACH: u64 = 2;

/// The shares of the open files of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The most that the process may have open.
    limit: u64,
    /// Those that the gateway has open without any client.
    own: u64,
    /// Those that only the admin API and the control plane may use.
    reserve: u64,
    /// Connections of dialects, which are among what the gateway has open.
    dialects: u64,
}

/// The process may not open enough files to serve clients.
#[derive(Debug, thiserror::Error)]
#[error(
    "the process may open {limit} files, and needs {needed} with these workers and listeners; raise the hard limit (systemd: \
     LimitNOFILE=, docker: --ulimit nofile=), or set fewer workers"
)]
pub(super) struct TooFewDescriptors {
    limit: u64,
    needed: u64,
}

/// Raises the soft limit of open files to the hard one, and returns the limit that then holds. A limit that cannot be raised
/// stays, with a warning; one that cannot be read counts as none.
pub(super) fn raise() -> u64 {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!("the limit of open files cannot be read: {error}");
            return u64::MAX;
        }
    };
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => {
            tracing::info!("the limit of open files was raised from {soft} to {hard}");
            hard
        }
        Err(error) => {
            tracing::warn!("the limit of open files stays at {soft}, it cannot be raised to {hard}: {error}");
            soft
        }
    }
}

impl Share {
    /// Shares out `limit` open files in a process with so many workers, each of which has a socket for each listener.
    ///
    /// # Errors
    /// [`TooFewDescriptors`] if there is room for no connection.
    pub(super) fn new(limit: u64, workers: usize, listeners: usize) -> Result<Self, TooFewDescriptors> {
        let own = BASE + workers as u64 * (WORKER + listeners as u64);
        let share = Self { limit, own, reserve: (limit / 8).clamp(RESERVE.0, RESERVE.1), dialects: 0 };
        let needed = own + share.reserve + EACH;
        if limit < needed { Err(TooFewDescriptors { limit, needed }) } else { Ok(share) }
    }

    /// The same with room for connections of dialects: one in 32 descriptors is for them, and no more than a quarter of the clients' room.
    /// Each may take another one to an endpoint.
    pub(super) fn with_dialects(self) -> Self {
        let dialects = (self.limit / 32).min(DIALECTS).min(self.connections() as u64 / 4);
        Self { own: self.own + EACH * dialects, dialects, ..self }
    }

    /// The number of connections of dialects.
    pub(super) fn dialects_room(&self) -> usize {
        usize::try_from(self.dialects).unwrap_or(usize::MAX)
    }

    /// The number of client connections that there is room for.
    pub(super) fn connections(&self) -> usize {
        usize::try_from((self.limit - self.own - self.reserve) / EACH).unwrap_or(usize::MAX)
    }

    /// The first descriptor of the reserve. The system gives out the lowest that is free, so a connection with this one
    /// or a higher one has come when all below were taken.
    pub(super) fn reserved_from(&self) -> i32 {
        i32::try_from(self.limit - self.reserve).unwrap_or(i32::MAX)
    }

    /// The number of connections of the admin API that fit in the reserve: a quarter of it is left for the control plane.
    pub(super) fn admin_room(&self) -> usize {
        usize::try_from(self.reserve - self.reserve / 4).unwrap_or(usize::MAX)
    }

    /// The warning for an allowance of `wanted` connections; `None` if they fit.
    fn shortage(&self, wanted: usize) -> Option<String> {
        let room = self.connections();
        let Self { limit, own, reserve, .. } = self;
        let kept = own + reserve;
        let right = (wanted as u64).saturating_mul(EACH).saturating_add(own + RESERVE.1);
        (wanted > room).then(|| {
            format!(
                "limits.connections is {wanted}, but the process may open {limit} files, which is enough for {room} connections: \
                 each takes {EACH}, and {kept} are kept for the gateway itself. More clients than that are turned away. Raise the hard \
                 limit to {right} (systemd: LimitNOFILE={right}, docker: --ulimit nofile={right}), or set limits.connections to {room}"
            )
        })
    }

    /// The number of client connections to admit: `limits.connections`, or as many as there is room for, with a warning.
    pub(super) fn admitted(&self, process: &Process) -> usize {
        let wanted = process.limits.connections;
        if let Some(shortage) = self.shortage(wanted) {
            tracing::warn!("{shortage}");
        }
        wanted.min(self.connections())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_out_fits_and_nothing_is_wasted() {
        for limit in [0, 64, 128, 256, 1024, 4096, 20_000, 524_288, 1 << 30, u64::MAX] {
            for workers in [1, 2, 64] {
                match Share::new(limit, workers, 2) {
                    Ok(share) => {
                        let (room, kept) = (share.connections() as u64, share.own + share.reserve);
                        assert!(room > 0 && (0..EACH).contains(&(limit - kept - EACH * room)), "{share:?}");
                        assert!(share.reserved_from() > 0);
                        let shared = share.with_dialects();
                        let given = (room - shared.connections() as u64, shared.dialects_room() as u64);
                        assert!(given.0 == given.1 && 3 * given.1 <= shared.connections() as u64, "{shared:?}");
                    }
                    Err(error) => assert!(error.needed > limit, "{error}"),
                }
            }
        }
        assert!(Share::new(64, 2, 2).is_err() && Share::new(128, 2, 2).is_ok() && Share::new(256, 64, 2).is_err());
        assert_eq!(Share::new(u64::MAX, 2, 1).unwrap().reserved_from(), i32::MAX);
    }

    #[test]
    fn the_limit_that_is_asked_for_is_enough() {
        for wanted in [100, 10_000, 100_000] {
            let short = Share::new(128, 2, 2).unwrap().shortage(wanted).unwrap();
            let right = short.split("hard limit to ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            assert_eq!(Share::new(right.parse().unwrap(), 2, 2).unwrap().shortage(wanted), None, "{short}");
        }
    }

    #[test]
    fn the_connections_that_are_asked_for_fit() {
        let share = Share::new(1024, 2, 1).unwrap();
        let room = share.connections();
        assert_eq!(share.shortage(room), None);
        let warning = share.shortage(100_000).unwrap();
        for part in ["limits.connections is 100000", "may open 1024 files", &format!("limits.connections to {room}")] {
            assert!(warning.contains(part), "{warning}");
        }
    }
}
