//! The end of the process: what has to be closed is closed, within a time, even if parts of it are blocked.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::token::TokenFile;
use crate::log::{AccessThread, Outlet};

/// The time for everything together. A disk, a name server or a reader that does not answer is not waited for longer.
const WITHIN: Duration = Duration::from_secs(1);

/// The parts that are open, as far as the start came.
#[derive(Default)]
pub(super) struct Open {
    pub(super) runtime: Option<Runtime>,
    /// The threads of the admin API.
    pub(super) admin: Option<Runtime>,
    /// The thread of dialects.
    pub(super) dialects: Option<Runtime>,
    pub(super) stdout: Option<Outlet>,
    pub(super) access: Option<AccessThread>,
    pub(super) token: Option<TokenFile>,
}

impl Open {
    /// Closes everything: announcements and access-log lines are written, a token that ends with the process is removed, the
    /// control plane ends and with it the store.
    pub(super) fn close(self) {
        let (closing, closed) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("weir-closing".into()).spawn(move || {
            let _closing = closing;
            self.close_all();
        });
        if let Err(error) = thread {
            tracing::warn!("nothing is closed in order, because there is no thread for it: {error}");
        } else if closed.recv_timeout(WITHIN) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("not everything could be closed within {WITHIN:?}: something is blocked");
        }
    }

    fn close_all(self) {
        if let Some(access) = self.access
            && !access.finish(WITHIN / 4)
        {
            tracing::warn!("nobody reads the access log: its last lines are lost");
        }
        if let Some(stdout) = self.stdout {
            stdout.flush(WITHIN / 4);
        }
        // Before what may be blocked by a disk.
        if let Some(token) = self.token {
            token.forget();
        }
        // Their tasks hold ways in to the control plane, which ends with the last of them.
        for threads in [self.admin, self.dialects].into_iter().flatten() {
            threads.shutdown_timeout(WITHIN / 4);
        }
        // Waits for tasks and, through them, for the store; blocking calls that hang are left behind.
        if let Some(runtime) = self.runtime {
            runtime.shutdown_timeout(WITHIN);
        }
    }
}
