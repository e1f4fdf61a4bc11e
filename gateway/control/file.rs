//! The configuration file: watched, read, parsed, and applied when it changes.
//!
//! It is read when nobody is writing it. A rename and a swapped link put a whole file in place, which is applied at once. A file
//! that is written in place has to stand still first, for longer if what is there may be a part of it. A file that is not valid
//! changes nothing.
//!
//! - `spread`: reading many entries of it at once
//! - `stamp`: what the file system says of the file
//! - `watch`: what happens in its folder

mod spread;
mod stamp;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use config::model::{Config, Process};
use config::text::format::format;
use config::text::parse::{LastFile, Parsed};
use config::text::problem::{self, Problem};
use config::text::unfinished::may_be_unfinished;
use tokio::sync::Notify;

use super::named_files::Folder;
use super::readers::{Answer, Readers, Waiting};
use super::{AllowEmpty, Author, Control, Environment, Refused};
use crate::clock;
use crate::files::{self, FileError};
use crate::store::Revision;
use spread::spread;
use stamp::Stamp;
use watch::Watch;

/// Time from an event to the look at the file: events come in groups.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How often the file is looked at where the watch says nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a file is read again that could not be read, or not be stored.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// How long a file that was written in place has to stand still.
const STILL: Duration = Duration::from_millis(300);
/// The same for a file that may be a part of what is meant.
const STILL_IF_UNFINISHED: Duration = Duration::from_secs(5);
/// Time after which an operator is told that a file is not read because it does not stand still.
const RESTLESS: Duration = Duration::from_secs(30);

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

/// The file at the start.
#[derive(Debug)]
pub struct FileAtStart {
    path: PathBuf,
    text: String,
    stamp: Option<Stamp>,
    /// Its entries, so that the next text costs what it changes.
    last: LastFile,
    /// Its settings of the process.
    pub process: Arc<Process>,
    /// What it states; the printed problems if something else of it than the process settings cannot be used.
    pub config: Result<Config, String>,
}

/// The file as the start left it.
#[derive(Debug)]
pub enum Applied {
    /// It is live.
    Yes,
    /// It may still be being written; what it said before is live.
    Waits {
        /// The file as it was applied last.
        last: Config,
    },
    /// It cannot be applied; what is stored is live.
    Refused {
        /// The file as it was applied last.
        last: Config,
        /// The printed problems.
        report: String,
        /// True if it may be applied later as it is.
        again: bool,
    },
}

/// The file of a running gateway.
pub struct ConfigFile {
    path: PathBuf,
    control: Control,
    environment: Environment,
    /// Process settings that this process runs with.
    process: Arc<Process>,
    /// The text that was applied last.
    applied: String,
    /// The entries of the text that was parsed last.
    last: LastFile,
    /// The text that was read last, and whether it has to be applied even if it is read again.
    read: (String, bool),
    /// The file that `read` is the text of.
    stamp: Option<Stamp>,
    /// The change of the file that is not read yet.
    pending: Option<Pending>,
    /// Why it could not be read the last time, if it could not.
    unreadable: Option<String>,
    readers: Readers,
    /// The thread that waits for the file system of the file.
    late: Option<Weak<Waiting>>,
    report: Report,
}

/// A file that differs from the one that was read, and has to stand still before it is read.
#[derive(Debug)]
struct Pending {
    stamp: Stamp,
    /// The time since which it has stood still.
    since: Instant,
    /// The time at which it began to change.
    began: Instant,
    rest: Rest,
    /// True once an operator was told that it does not stand still.
    was_told: bool,
}

/// The time for which a file has to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It came whole.
    Whole,
    /// It was written in place.
    Written,
    /// It was written in place, and may be a part of what is meant.
    MayBeUnfinished,
}

impl Rest {
    fn time(self) -> Duration {
        match self {
            Self::Whole => Duration::ZERO,
            Self::Written => STILL,
            Self::MayBeUnfinished => STILL_IF_UNFINISHED,
        }
    }
}

impl FileAtStart {
    /// Reads and parses the file.
    ///
    /// # Errors
    /// The printed problems, if the process settings cannot be read.
    pub fn read(path: &Path, environment: &Environment) -> Result<Self, String> {
        let shown = path.display().to_string();
        let (stamp, text) = {
            let path = path.to_owned();
            // A file that can be read and not looked at is read again when it can be.
            let read = move || (Stamp::of(&path).ok(), files::read_text(&path, files::CONFIGURATION));
            let (stamp, read) = files::within(files::PATIENCE, read).unwrap_or((None, Err(FileError::Late)));
            (stamp, read.map_err(|error| format!("weir: {shown} {error}\n"))?.1)
        };
        let print = |problems: &[Problem]| problem::render(problems, &shown, &text);
        let mut last = LastFile::default();
        let (process, config) = match last.parse_spread(&text, &**environment, &spread) {
            Ok((config, warnings)) => {
                if !warnings.is_empty() {
                    tracing::warn!("{}", print(&warnings));
                }
                (Arc::clone(&config.process), Ok(config))
            }
            Err(problems) => match config::text::parse::parse_process(&text, &**environment) {
                Ok((process, _)) => (Arc::new(process), Err(print(&problems))),
                Err(_) => return Err(print(&problems)),
            },
        };
        Ok(Self { path: path.to_owned(), text, stamp, last, process, config })
    }

    /// The folder that its relative names are taken in.
    #[must_use]
    pub fn folder(&self) -> Folder {
        Folder::of(&self.path)
    }

    /// Applies the file over what is stored and live. Nothing in the file keeps the gateway from serving that.
    ///
    /// # Errors
    /// When the gateway is stopping.
    pub async fn apply(&self, control: &Control) -> Result<Applied, Refused> {
        let last = control.drift().await?.0;
        let config = match &self.config {
            Ok(config) => config,
            Err(report) => return Ok(Applied::Refused { last, report: report.clone(), again: false }),
        };
        if !self.is_whole(&last, config).await {
            tracing::info!("{} may still be being written: what is stored is served until then", self.path.display());
            return Ok(Applied::Waits { last });
        }
        match control.apply_at_start(config.clone()).await {
            Ok(_) => Ok(Applied::Yes),
            Err(Refused::Stopping) => Err(Refused::Stopping),
            Err(refused) => {
                let again = !matches!(refused, Refused::Problems(_));
                Ok(Applied::Refused { last, report: refused_report(&self.path, &self.text, &refused), again })
            }
        }
    }

    /// True if nobody seems to be writing the file. Waits for as long as a file has to stand still.
    async fn is_whole(&self, last: &Config, config: &Config) -> bool {
        let Some(stamp) = &self.stamp else { return false };
        let age = stamp.age(clock::unix());
        if stamp.was_touched_after_writing() || age >= STILL_IF_UNFINISHED {
            return true;
        }
        if may_be_unfinished(&format(last), &format(config)) {
            return false;
        }
        tokio::time::sleep(STILL.saturating_sub(age)).await;
        let path = self.path.clone();
        files::within(files::PATIENCE, move || Stamp::of(&path))
            .is_some_and(|now| now.is_ok_and(|now| now.is_still(stamp)))
    }
}

impl ConfigFile {
    /// Follows the file with which the gateway started.
    #[must_use]
    pub fn new(
        start: FileAtStart,
        applied: Applied,
        control: Control,
        environment: Environment,
        report: Report,
    ) -> Self {
        let FileAtStart { path, text, stamp, last: parsed, process, .. } = start;
        let (applied, read, stamp) = match applied {
            Applied::Yes => (text.clone(), (text, false), stamp),
            Applied::Waits { last } => (format(&last), (String::new(), false), None),
            Applied::Refused { last, report: problems, again } => {
                report(&Reload::Refused { report: problems });
                (format(&last), (text, again), stamp)
            }
        };
        let (readers, late) = (Readers::default(), None);
        let (pending, unreadable) = (None, None);
        Self {
            path,
            control,
            environment,
            process,
            applied,
            last: parsed,
            read,
            stamp,
            pending,
            unreadable,
            readers,
            late,
            report,
        }
    }

    /// Applies the file whenever it changes, and whenever `asked` says so, until the control plane ends.
    pub async fn follow(mut self, asked: Arc<Notify>) {
        let mut watch = Watch::start(&self.path);
        loop {
            let forced = tokio::select! {
                () = asked.notified() => true,
                () = watch.changed() => tokio::select! {
                    () = asked.notified() => true,
                    () = tokio::time::sleep(DEBOUNCE) => false,
                },
                () = tokio::time::sleep(self.next_look()) => false,
            };
            let reload = if forced { self.read_now().await } else { self.look(&mut watch).await };
            if forced || !matches!(reload, Reload::Unchanged) {
                (self.report)(&reload);
            }
        }
    }

    /// The time until the file is to be looked at without an event.
    fn next_look(&self) -> Duration {
        let due = self.pending.as_ref().map(|pending| pending.rest.time().saturating_sub(pending.since.elapsed()));
        // Past its time it waits for a writer to close it.
        let look = if self.read.1 { RETRY_EVERY } else { LOOK_EVERY };
        due.filter(|due| !due.is_zero()).map_or(look, |due| due.min(LOOK_EVERY))
    }

    /// Reads the file if it is another one, and nobody is writing it.
    async fn look(&mut self, watch: &mut Watch) -> Reload {
        let stamp = match self.stamp_now().await {
            Ok(stamp) => stamp,
            // Between the two steps of a replacement there may be no file.
            Err(error) if error.is_missing() => {
                self.pending = None;
                return Reload::Unchanged;
            }
            Err(error) => return self.unreadable(&error, false),
        };
        watch.follow(&self.path, &stamp.target);
        if self.stamp.as_ref().is_some_and(|read| stamp.is_untouched(read)) && !self.read.1 {
            self.pending = None;
            return Reload::Unchanged;
        }
        let is_whole = watch.was_renamed() || self.stamp.as_ref().is_some_and(|read| stamp.replaces(read));
        let pending = self.take_note(stamp, is_whole);
        let is_still = pending.since.elapsed() >= pending.rest.time();
        if pending.rest != Rest::Whole && (!is_still || watch.is_being_written()) {
            self.tell_restless();
            return Reload::Unchanged;
        }
        watch.take_rename();
        self.read_if_finished().await
    }

    /// Notes that the file differs from the one that was read.
    fn take_note(&mut self, stamp: Stamp, is_whole: bool) -> &Pending {
        let now = clock::now();
        let before = self.pending.take();
        let (began, was_told) = before.as_ref().map_or((now, false), |before| (before.began, before.was_told));
        let rest = if is_whole { Rest::Whole } else { Rest::Written };
        let fresh = || Pending { stamp: stamp.clone(), since: now, began, rest, was_told };
        self.pending.insert(before.filter(|before| stamp.is_still(&before.stamp)).unwrap_or_else(fresh))
    }

    fn tell_restless(&mut self) {
        let Some(pending) = self.pending.as_mut() else { return };
        if !pending.was_told && pending.began.elapsed() >= RESTLESS {
            pending.was_told = true;
            tracing::warn!(
                "{} has been written to for {RESTLESS:?}, and is not read before its writer is done; SIGHUP reads it as it is",
                self.path.display()
            );
        }
    }

    /// Reads the pending file, and applies it unless it has to stand still for longer.
    async fn read_if_finished(&mut self) -> Reload {
        let Some(pending) = self.pending.take() else { return Reload::Unchanged };
        let text = match self.text_now().await {
            Ok(text) => text,
            Err(error) if error.is_missing() => return Reload::Unchanged,
            Err(error) => return self.unreadable(&error, false),
        };
        // What was read while somebody wrote is looked at again.
        if !self.stamp_now().await.is_ok_and(|now| now.is_still(&pending.stamp)) {
            return Reload::Unchanged;
        }
        self.unreadable = None;
        if text == self.read.0 && !self.read.1 {
            self.stamp = Some(pending.stamp);
            return Reload::Unchanged;
        }
        if pending.rest == Rest::Written && self.may_be_unfinished(&text).await {
            self.pending = Some(Pending { rest: Rest::MayBeUnfinished, ..pending });
            return Reload::Unchanged;
        }
        self.stamp = Some(pending.stamp);
        self.apply(text).await
    }

    async fn may_be_unfinished(&self, text: &str) -> bool {
        let (applied, text) = (self.applied.clone(), text.to_owned());
        // Large files take a second to parse.
        let judged = tokio::task::spawn_blocking(move || may_be_unfinished(&applied, &text));
        judged.await.unwrap_or(false)
    }

    /// Reads and applies the file as it is.
    async fn read_now(&mut self) -> Reload {
        self.pending = None;
        self.stamp = self.stamp_now().await.ok();
        match self.text_now().await {
            Ok(text) => {
                self.unreadable = None;
                self.apply(text).await
            }
            Err(error) => self.unreadable(&error, true),
        }
    }

    async fn stamp_now(&mut self) -> Result<Stamp, FileError> {
        self.on_its_thread(|path| Stamp::of(path)).await
    }

    async fn text_now(&mut self) -> Result<String, FileError> {
        self.on_its_thread(|path| files::read_text(path, files::CONFIGURATION).map(|(_, text)| text)).await
    }

    /// Does this with the file on a thread that is not waited for when its file system hangs. There is one such thread at most.
    async fn on_its_thread<T: Send + 'static>(
        &mut self,
        work: impl Fn(&PathBuf) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<T, FileError> {
        if self.late.as_ref().is_some_and(|waiting| waiting.strong_count() > 0) {
            return Err(FileError::Late);
        }
        match self.readers.all(vec![self.path.clone()], work).await.pop() {
            Some(Answer::Done(done)) => done,
            Some(Answer::Late(waiting)) => {
                self.late = Some(waiting);
                Err(FileError::Late)
            }
            Some(Answer::Skipped) | None => Err(FileError::Late),
        }
    }

    async fn apply(&mut self, text: String) -> Reload {
        self.read = (text.clone(), false);
        let shown = self.path.display().to_string();
        let print = |problems: &[Problem]| problem::render(problems, &shown, &text);
        let (config, warnings) = match self.parse(text.clone()).await {
            Ok(parsed) => parsed,
            Err(problems) => return Reload::Refused { report: print(&problems) },
        };
        if !warnings.is_empty() {
            tracing::warn!("{}", print(&warnings));
        }
        if config.process != self.process {
            tracing::warn!(
                "{shown}: listeners, admin, dialects, store, journal, workers, limits and drain change by a restart only"
            );
        }
        match self.control.apply_file(Author::of("file"), config, AllowEmpty(false), false).await {
            Ok(done) => {
                self.applied = text;
                Reload::Applied { revision: done.revision }
            }
            Err(Refused::Stopping) => Reload::Unchanged,
            Err(refused) => {
                // The store may take it the next time that it is read.
                self.read.1 = !matches!(refused, Refused::Problems(_));
                Reload::Refused { report: refused_report(&self.path, &text, &refused) }
            }
        }
    }

    /// Parses it on threads of its own: a large file takes a second where much of it changed.
    async fn parse(&mut self, text: String) -> Parsed<Config> {
        let (environment, mut last) = (Arc::clone(&self.environment), std::mem::take(&mut self.last));
        let parsed = tokio::task::spawn_blocking(move || {
            let parsed = last.parse_spread(&text, &*environment, &spread);
            (last, parsed)
        });
        match parsed.await {
            Ok((last, parsed)) => {
                self.last = last;
                parsed
            }
            Err(_) => Err(vec![Problem::error("", "it was not parsed: the gateway is stopping")]),
        }
    }

    /// Told once, however often the file is looked at.
    fn unreadable(&mut self, error: &FileError, forced: bool) -> Reload {
        let report = format!("{} {error}", self.path.display());
        // Applied when it can be read again, even if it says what it said.
        self.read.1 = true;
        let known = self.unreadable.replace(report.clone());
        if !forced && known.as_ref() == Some(&report) { Reload::Unchanged } else { Reload::Refused { report } }
    }
}

fn refused_report(path: &Path, text: &str, refused: &Refused) -> String {
    let shown = path.display().to_string();
    match refused {
        Refused::Problems(problems) => {
            problem::render(&config::text::parse::locate(text, problems.clone()), &shown, text)
        }
        other => format!("{shown} was not applied: {other}"),
    }
}
