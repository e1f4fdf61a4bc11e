//! The access log: lines from the data path, written by a thread of their own.
//!
//! Rotation: the program that renames the file asks for it to be opened again ([`AccessLog::reopen`]), and the thread
//! writes on into the new one. Copying and truncating works without asking, because the file is appended to.
//!
//! A line is written straight into one of a few buffers that the data path and the thread share. The data path only
//! ever *tries* the locks of these buffers: when every one is taken or full the line is dropped and counted. The thread
//! swaps a buffer for an empty one and writes it out without holding its lock, so a slow disk or a reader that stopped
//! reading costs lines, never a request.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use config::model::{self, AccessTarget};
use prometheus::IntCounter;

use super::line::AccessLine;

/// Buffers: more than one, so that a taken lock is no reason to drop a line.
const BUFFERS: usize = 8;
/// The most bytes that wait in one buffer.
const BUFFER_BYTES: usize = 1 << 20;
/// A buffer with so many bytes wakes the thread before its time.
const WAKE_BYTES: usize = 64 << 10;
/// The longest that a line waits while the thread can write.
const FLUSH: Duration = Duration::from_millis(100);

/// Opens a file to append to it, and makes it when it is not there.
pub type Opener = fn(&Path) -> io::Result<File>;

/// The data path's end. Cheap to clone.
#[derive(Clone)]
pub struct AccessLog(Option<Arc<Shared>>);

/// The thread's end: ends the log when it is finished or dropped.
pub struct AccessThread {
    shared: Arc<Shared>,
    /// Disconnected when the thread has ended.
    ended: mpsc::Receiver<()>,
}

/// The writer of the thread.
struct Output {
    out: Box<dyn Write + Send>,
    /// The file's path and what opens it, where it is one.
    file: Option<(PathBuf, Opener)>,
}

struct Shared {
    buffers: [Mutex<Vec<u8>>; BUFFERS],
    /// The most bytes in one buffer.
    capacity: usize,
    redact_query: bool,
    dropped: IntCounter,
    stopping: AtomicBool,
    reopen: AtomicBool,
    writer: OnceLock<Thread>,
}

impl AccessLog {
    /// A log that takes lines and drops them uncounted: `access_log: off`.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// The log that `access_log` asks for. A file is appended to, and made when it is not there.
    ///
    /// # Errors
    /// The file cannot be opened for writing, or the operating system gives no thread.
    pub fn open(
        settings: &model::AccessLog,
        opener: Opener,
        dropped: IntCounter,
    ) -> io::Result<(Self, Option<AccessThread>)> {
        let output = match &settings.to {
            AccessTarget::Off => return Ok((Self::off(), None)),
            AccessTarget::Stdout => Output { out: Box::new(io::stdout()), file: None },
            AccessTarget::File(path) => {
                let named = |error: io::Error| {
                    let message = format!("the access log {} cannot be opened: {error}", path.display());
                    io::Error::new(error.kind(), message)
                };
                let out = Box::new(opener(path).map_err(named)?);
                Output { out, file: Some((path.clone(), opener)) }
            }
        };
        let started = Self::with_capacity(output, settings.redact_query, dropped, BUFFER_BYTES)?;
        Ok((started.0, Some(started.1)))
    }

    /// Starts the thread that writes to `output`. `dropped` counts lines that found no room or could not be written.
    fn with_capacity(
        output: Output,
        redact_query: bool,
        dropped: IntCounter,
        capacity: usize,
    ) -> io::Result<(Self, AccessThread)> {
        let shared = Arc::new(Shared {
            buffers: std::array::from_fn(|_| Mutex::default()),
            capacity,
            redact_query,
            dropped,
            stopping: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            writer: OnceLock::new(),
        });
        let (running, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("access-log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let _running = running;
                shared.write_all(output);
            }
        })?;
        shared.writer.get_or_init(|| thread.thread().clone());
        Ok((Self(Some(Arc::clone(&shared))), AccessThread { shared, ended }))
    }

    /// Asks for the file to be opened again by its name; a log that is not a file has nothing to do. Never waits.
    pub fn reopen(&self) {
        if let Some(shared) = &self.0 {
            shared.reopen.store(true, Ordering::Release);
            shared.wake();
        }
    }

    /// Whether lines go anywhere: when not, they need not be made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes one line, or drops and counts it. Never waits.
    pub fn write(&self, line: &AccessLine<'_>) {
        let Some(shared) = &self.0 else { return };
        for buffer in &shared.buffers {
            let Ok(mut buffer) = buffer.try_lock() else { continue };
            let before = buffer.len();
            line.write(&mut buffer, shared.redact_query);
            let after = buffer.len();
            if after > shared.capacity {
                buffer.truncate(before);
                continue;
            }
            drop(buffer);
            if before < WAKE_BYTES && after >= WAKE_BYTES {
                shared.wake();
            }
            return;
        }
        shared.dropped.inc();
    }
}

impl AccessThread {
    /// Writes what waits and ends the thread; lines that come later are lost. Waits until the output has taken them, but not
    /// longer than `within`; reports whether it has.
    pub fn finish(self, within: Duration) -> bool {
        self.shared.stop();
        // The thread never sends anything.
        self.ended.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

impl Drop for AccessThread {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    /// The thread: swaps each buffer and writes it out, until it is told to stop and has seen every buffer once more.
    fn write_all(&self, mut output: Output) {
        let mut spare = Vec::new();
        let mut failing = false;
        loop {
            let last = self.stopping.load(Ordering::Acquire);
            if self.reopen.swap(false, Ordering::AcqRel) {
                output.reopen();
            }
            for buffer in &self.buffers {
                mem::swap(&mut *lock(buffer), &mut spare);
                if spare.is_empty() {
                    continue;
                }
                let result = output.out.write_all(&spare).and_then(|()| output.out.flush());
                if result.is_err() {
                    // A line that was cut short counts as lost with the rest of its buffer.
                    self.dropped.inc_by(spare.iter().filter(|byte| **byte == b'\n').count() as u64);
                }
                self.report(&mut failing, &output, result);
                spare.clear();
            }
            if last {
                return;
            }
            thread::park_timeout(FLUSH);
        }
    }

    /// One diagnostic when writing begins to fail, one when it works again.
    fn report(&self, failing: &mut bool, output: &Output, result: io::Result<()>) {
        let file = output.file.as_ref().map(|(path, _)| path.as_path());
        let stream = file.unwrap_or(Path::new("standard output")).display();
        match (mem::replace(failing, result.is_err()), result) {
            (false, Err(error)) => {
                tracing::error!(%error, "the access log cannot be written to {stream}; lines are dropped");
            }
            (true, Ok(())) => {
                tracing::info!(dropped_so_far = self.dropped.get(), "the access log can be written to {stream} again");
            }
            _ => {}
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

impl Output {
    /// Opens the file again by its name. Where that fails, lines go on into the old file.
    fn reopen(&mut self) {
        let Some((path, opener)) = &self.file else { return };
        match opener(path) {
            Ok(out) => {
                self.out = Box::new(out);
                tracing::info!("the access log {} was opened again", path.display());
            }
            Err(error) => tracing::error!(
                "the access log {} cannot be opened again, lines go on into the file as it was: {error}",
                path.display()
            ),
        }
    }
}

/// A buffer is bytes: what a panic left behind is still a buffer.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::smallest;
    use super::*;

    const LATE: Duration = Duration::from_secs(20);

    /// An output that stands still until it is let go, and says what it got.
    struct Gate {
        entered: mpsc::Sender<()>,
        go: mpsc::Receiver<()>,
        got: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.entered.send(()).ok();
            // Ends when the test drops its side.
            self.go.recv().ok();
            lock(&self.got).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Shut;

    impl Write for Shut {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(out: impl Write + Send + 'static) -> Output {
        Output { out: Box::new(out), file: None }
    }

    fn start(out: impl Write + Send + 'static, dropped: &IntCounter) -> (AccessLog, AccessThread) {
        AccessLog::with_capacity(output(out), false, dropped.clone(), BUFFER_BYTES).unwrap()
    }

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "lines").unwrap()
    }

    fn line_bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        smallest().write(&mut bytes, false);
        bytes
    }

    #[test]
    fn every_line_arrives_whole_from_many_threads() {
        let (got, dropped) = (Arc::new(Mutex::new(Vec::new())), counter());
        let (entered, _entered) = mpsc::channel();
        let (_, go) = mpsc::channel();
        let gate = Gate { entered, go, got: Arc::clone(&got) };
        let (log, thread) = start(gate, &dropped);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| log.write(&smallest())));
            }
        });
        assert!(thread.finish(LATE));
        let (got, line) = (lock(&got), line_bytes());
        assert_eq!(got.len() / line.len() + usize::try_from(dropped.get()).unwrap(), 2000);
        assert!(got.chunks(line.len()).all(|chunk| chunk == line));
    }

    #[test]
    fn a_reader_that_stopped_costs_lines_not_requests() {
        let (got, dropped, size) = (Arc::new(Mutex::new(Vec::new())), counter(), line_bytes().len());
        let (entered, has_entered) = mpsc::channel();
        let (let_go, go) = mpsc::channel();
        let gate = Gate { entered, go, got: Arc::clone(&got) };
        let (log, thread) = AccessLog::with_capacity(output(gate), false, dropped.clone(), 2 * size).unwrap();
        log.write(&smallest());
        has_entered.recv().unwrap();
        // The thread stands in its first write: every buffer has room for two lines, and no more.
        (0..BUFFERS * 2 + 5).for_each(|_| log.write(&smallest()));
        assert_eq!(dropped.get(), 5);
        drop(let_go);
        assert!(thread.finish(LATE));
        assert_eq!(lock(&got).len(), (1 + BUFFERS * 2) * size);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let dropped = counter();
        let (log, thread) = start(Shut, &dropped);
        (0..3).for_each(|_| log.write(&smallest()));
        assert!(thread.finish(LATE));
        assert_eq!(dropped.get(), 3);
    }

    #[test]
    fn an_output_that_takes_nothing_holds_nobody_at_the_end() {
        let (got, dropped) = (Arc::new(Mutex::new(Vec::new())), counter());
        let (entered, has_entered) = mpsc::channel();
        let (let_go, go) = mpsc::channel();
        let gate = Gate { entered, go, got: Arc::clone(&got) };
        let (log, thread) = start(gate, &dropped);
        log.write(&smallest());
        has_entered.recv().unwrap();
        assert!(!thread.finish(Duration::from_millis(50)), "the thread stands in its write");
        drop(let_go);
    }

    fn append(path: &Path) -> io::Result<File> {
        File::options().create(true).append(true).open(path)
    }

    #[test]
    fn a_renamed_file_is_followed_by_a_new_one_and_no_line_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (path, renamed) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let settings = model::AccessLog { to: AccessTarget::File(path.clone()), redact_query: false };
        let (log, thread) = AccessLog::open(&settings, append, counter()).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (0..2000).for_each(|_| log.write(&smallest())));
            std::fs::rename(&path, &renamed).unwrap();
            log.reopen();
        });
        // Until the thread has seen the request, it writes into the renamed file.
        while !path.exists() {
            thread::yield_now();
        }
        log.write(&smallest());
        assert!(thread.unwrap().finish(LATE));
        let (before, after) = (std::fs::read(&renamed).unwrap(), std::fs::read(&path).unwrap());
        let line = line_bytes();
        assert!(!after.is_empty());
        assert_eq!(before.len() + after.len(), 2001 * line.len());
        assert!([before, after].iter().all(|file| file.chunks(line.len()).all(|chunk| chunk == line)));
    }

    #[test]
    fn targets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let open = |to| AccessLog::open(&model::AccessLog { to, redact_query: false }, append, counter());
        let (log, thread) = open(AccessTarget::File(path.clone())).unwrap();
        log.write(&smallest());
        assert!(thread.unwrap().finish(LATE));
        let text = std::fs::read(&path).unwrap();
        assert_eq!(text, [b"before\n", &line_bytes()[..]].concat());
        let (off, none) = open(AccessTarget::Off).unwrap();
        assert!(!off.is_on() && none.is_none());
        let none = dir.path().join("none/access.log");
        let error = open(AccessTarget::File(none.clone())).err().unwrap().to_string();
        assert!(error.starts_with(&format!("the access log {} cannot be opened: ", none.display())), "{error}");
    }
}
