//! The configuration file: watched, read, parsed, and applied when it changes.
//!
//! The directory is watched, not the file, so that an editor's rename and a swapped symlink (as mounted config maps do)
//! are seen; a slow poll of the content catches what the watch misses. A file that is not valid changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::model::{Config, Process};
use config::problem::{self, Problem};
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};

use super::{Author, Control, Environment, Refused};
use crate::store::Revision;

/// Quiet time after the last event before the file is read: editors write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How often the content is compared where the watch says nothing.
const POLL: Duration = Duration::from_secs(2);

/// What came of reading the file again.
#[derive(Debug)]
pub enum Reload {
    /// It says what it said before.
    Unchanged,
    /// It is live.
    Applied {
        /// Since this revision.
        revision: Revision,
    },
    /// Nothing changed.
    Refused {
        /// Ready to print.
        report: String,
    },
}

/// Is told of every reload that was not [`Reload::Unchanged`].
pub type Report = Box<dyn Fn(&Reload) + Send + Sync>;

/// The file of a running gateway.
pub struct ConfigFile {
    path: PathBuf,
    control: Control,
    environment: Environment,
    /// Process settings that this process runs with.
    process: Arc<Process>,
    text: String,
    /// Why it could not be read the last time, if it could not.
    unreadable: Option<String>,
    report: Report,
}

impl ConfigFile {
    /// Reads and parses the file once, for the start.
    ///
    /// # Errors
    /// The printed problems.
    pub fn read(path: &Path, environment: &Environment) -> Result<(String, Config), String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("weir: cannot read {}: {error}\n", path.display()))?;
        match config::parse::parse(&text, &**environment) {
            Ok((config, warnings)) => {
                if !warnings.is_empty() {
                    tracing::warn!("{}", problem::render(&warnings, &path.display().to_string(), &text));
                }
                Ok((text, config))
            }
            Err(problems) => Err(problem::render(&problems, &path.display().to_string(), &text)),
        }
    }

    /// A file that was read as `text` and is running with `process`.
    #[must_use]
    pub fn new(
        path: &Path,
        control: Control,
        environment: Environment,
        started: (String, Arc<Process>),
        report: Report,
    ) -> Self {
        let (text, process) = started;
        Self { path: path.to_owned(), control, environment, process, text, unreadable: None, report }
    }

    /// Applies the file whenever it changes, and whenever `asked` says so, until the control plane ends.
    pub async fn follow(mut self, asked: Arc<Notify>) {
        let (sender, mut changes) = mpsc::channel(1);
        let _watcher = self.watch(sender);
        loop {
            let forced = tokio::select! {
                () = asked.notified() => true,
                Some(()) = changes.recv() => tokio::select! {
                    () = asked.notified() => true,
                    () = tokio::time::sleep(DEBOUNCE) => false,
                },
                () = tokio::time::sleep(POLL) => false,
            };
            // What came until now is read in the same go.
            let _ = changes.try_recv();
            let reload = self.reload(forced).await;
            if forced || !matches!(reload, Reload::Unchanged) {
                (self.report)(&reload);
            }
        }
    }

    /// Watches the directory of the file, and of the file that it links to. `None` leaves it to the poll.
    fn watch(&self, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        let told = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // Full means that a reload is due already.
                let _ = changed.try_send(());
            }
        };
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let watching = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        watching
            .inspect_err(|error| {
                tracing::warn!(
                    "cannot watch {} ({error}); reading the file every {POLL:?} instead",
                    directory.display()
                );
            })
            .ok()
    }

    async fn reload(&mut self, forced: bool) -> Reload {
        let shown = self.path.display().to_string();
        let text = match tokio::fs::read_to_string(&self.path).await {
            Ok(text) => text,
            // Between the two steps of a rename there may be no file; a poll says nothing new about it.
            Err(error) if !forced && error.kind() == std::io::ErrorKind::NotFound => return Reload::Unchanged,
            Err(error) => return self.unreadable(format!("cannot read {shown}: {error}"), forced),
        };
        self.unreadable = None;
        if text == self.text && !forced {
            return Reload::Unchanged;
        }
        self.text.clone_from(&text);
        let refused = |problems: &[Problem]| Reload::Refused { report: problem::render(problems, &shown, &text) };
        let (config, warnings) = match config::parse::parse(&text, &*self.environment) {
            Ok(parsed) => parsed,
            Err(problems) => return refused(&problems),
        };
        if !warnings.is_empty() {
            tracing::warn!("{}", problem::render(&warnings, &shown, &text));
        }
        if config.process != self.process {
            tracing::warn!(
                "{shown}: listeners, admin, store, journal, workers, limits and drain change by a restart only"
            );
        }
        match self.control.apply_file(Author::of("file"), config, false).await {
            Ok(done) => Reload::Applied { revision: done.revision },
            Err(Refused::Problems(problems)) => refused(&problems),
            Err(Refused::Stopping) => Reload::Unchanged,
            Err(other) => {
                // The store may take it the next time that it is read.
                self.text.clear();
                Reload::Refused { report: format!("{shown} was not applied: {other}") }
            }
        }
    }

    /// Told once, however often the poll looks.
    fn unreadable(&mut self, report: String, forced: bool) -> Reload {
        // Applied when it can be read again, even if it says what it said.
        self.text.clear();
        let known = self.unreadable.replace(report.clone());
        if !forced && known.as_ref() == Some(&report) { Reload::Unchanged } else { Reload::Refused { report } }
    }
}
