//! The signals that operators send, taken by a thread of its own from the first moment of the start to the end of the
//! drain, so that they count even if everything else is blocked. None of them ends the process by the system's default
//! action.
//!
//! | signal | what it does |
//! |---|---|
//! | `SIGHUP` | reads the configuration file again, and opens the access log again |
//! | `SIGUSR1` | opens the access log again |
//! | `SIGTERM`, `SIGQUIT`, `SIGINT` | begins the drain; the second of them ends the process at once |
//! | `SIGUSR2`, `SIGWINCH` | nothing but a line in the log: other servers upgrade or stop workers on them |

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::cli::Exit;
use crate::log::{AccessLog, Diagnostics};

/// The time that a second signal leaves for an orderly end, which takes milliseconds where nothing is blocked.
const AT_ONCE: Duration = Duration::from_millis(250);
/// The time after that for diagnostics that have not been read yet.
const FLUSH: Duration = Duration::from_millis(50);

/// The signals as the rest of the gateway learns of them.
pub(super) struct Signals {
    /// Notified by `SIGHUP`.
    pub(super) reload: Arc<Notify>,
    /// Opened again by `SIGHUP` and `SIGUSR1`, once it is set.
    pub(super) access: Arc<OnceLock<AccessLog>>,
    /// Names of the signals that say stop, as they come: the second one ends the process, however it is received.
    pub(super) stops: mpsc::UnboundedReceiver<&'static str>,
}

/// The signals that the thread listens to.
struct Listening {
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
    window: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

enum Wish {
    Reload,
    Reopen,
    Stop(&'static str),
    Nothing(&'static str),
}

impl Signals {
    /// Listens from now on, on a thread that lives as long as the process.
    ///
    /// # Errors
    /// The operating system's, when it gives no thread or no descriptors.
    pub(super) fn start(diagnostics: &Diagnostics) -> io::Result<Self> {
        let (stopping, stops) = mpsc::unbounded_channel();
        let (reload, access) = (Arc::new(Notify::new()), Arc::new(OnceLock::new()));
        // A runtime of its own, because a thread of another one may be blocked when a signal comes.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let context = runtime.enter();
        let mut listening = Listening::new()?;
        drop(context);
        thread::Builder::new().name("weir-signals".into()).spawn({
            let (reload, access): (Arc<Notify>, Arc<OnceLock<AccessLog>>) = (Arc::clone(&reload), Arc::clone(&access));
            let diagnostics = diagnostics.clone();
            move || {
                let reopen = || access.get().map_or((), AccessLog::reopen);
                let mut stopped = false;
                loop {
                    match runtime.block_on(listening.next()) {
                        Wish::Reload => {
                            reopen();
                            reload.notify_one();
                        }
                        Wish::Reopen => reopen(),
                        Wish::Stop(name) => {
                            // It has no receiver when the end has begun already.
                            let _ = stopping.send(name);
                            if std::mem::replace(&mut stopped, true) {
                                end_at_once(&diagnostics);
                            }
                        }
                        Wish::Nothing(name) => tracing::info!("{name} is ignored"),
                    }
                }
            }
        })?;
        Ok(Self { reload, access, stops })
    }
}

/// Ends the process, if it has not ended itself until then.
fn end_at_once(diagnostics: &Diagnostics) -> ! {
    thread::sleep(AT_ONCE);
    tracing::warn!("something is blocked: ending without it");
    diagnostics.flush(FLUSH);
    std::process::exit(Exit::Ok as i32)
}

impl Listening {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            window: signal(SignalKind::window_change())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Wish::Stop("SIGINT"),
            _ = self.quit.recv() => Wish::Stop("SIGQUIT"),
            _ = self.hang_up.recv() => Wish::Reload,
            _ = self.user_1.recv() => Wish::Reopen,
            _ = self.user_2.recv() => Wish::Nothing("SIGUSR2"),
            _ = self.window.recv() => Wish::Nothing("SIGWINCH"),
        }
    }
}
