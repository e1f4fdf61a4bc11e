//! A stream that a thread of its own writes, so that no other thread waits for its reader.
//!
//! A pipe that is not read blocks its writer for ever. Here that is the thread; all others put their lines into a
//! bounded buffer, or drop and count them. Lost lines are reported in the diagnostics, on standard error, also those of
//! standard output.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;

/// The most bytes that wait for the thread.
const CAPACITY: usize = 1 << 20;

/// The side of those who write. Cheap to clone.
#[derive(Clone)]
pub struct Outlet(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told when something waits, and when everything is written.
    changed: Condvar,
    capacity: usize,
    /// The name of the stream, as operators read it.
    stream: &'static str,
    counter: OnceLock<IntCounter>,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// True while the thread holds bytes that are not written yet.
    writing: bool,
    /// Lines lost so far.
    dropped: u64,
    /// The part of `dropped` that the counter has not seen.
    uncounted: u64,
}

impl Outlet {
    /// Starts the thread that writes to `out`, and lives as long as the process. `stream` is the name of `out` in errors
    /// and diagnostics, and that of the thread.
    ///
    /// # Errors
    /// The operating system's, with the name of the stream, when it gives no thread.
    pub fn start(stream: &'static str, out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_capacity(stream, out, CAPACITY)
    }

    fn with_capacity(stream: &'static str, out: impl Write + Send + 'static, capacity: usize) -> io::Result<Self> {
        let (state, changed, counter) = (Mutex::default(), Condvar::new(), OnceLock::new());
        let shared = Arc::new(Shared { state, changed, capacity, stream, counter });
        let spawned = thread::Builder::new().name(stream.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_all(out)
        });
        match spawned {
            Ok(_) => Ok(Self(shared)),
            Err(error) => Err(io::Error::new(error.kind(), format!("{stream} gets no thread to write it: {error}"))),
        }
    }

    /// Writes whole lines, or drops them and counts one. Never waits for a reader.
    pub fn write(&self, lines: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + lines.len() > self.0.capacity {
            self.0.lost(&mut state, 1);
            return;
        }
        state.waiting.extend_from_slice(lines);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until everything is written, but not longer than `within`; reports whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        let pending = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), within, pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Counts lost lines in `counter` too, those of the past included. The first counter stays.
    pub fn count(&self, counter: &IntCounter) {
        self.0.counter.get_or_init(|| counter.clone());
        self.0.lost(&mut self.0.lock(), 0);
    }
}

impl Shared {
    fn write_all(&self, mut out: impl Write) {
        let mut taken = Vec::new();
        let (mut failing, mut told) = (false, 0);
        loop {
            self.take(&mut taken);
            let written = out.write_all(&taken).and_then(|()| out.flush());
            let mut state = self.lock();
            if written.is_err() {
                self.lost(&mut state, taken.iter().filter(|byte| **byte == b'\n').count() as u64);
            }
            let dropped = state.dropped;
            drop(state);
            taken.clear();
            // Of standard error this comes back here as a line to write. So a failure is told once, when it begins, and lost
            // lines when there is room again: neither feeds itself.
            let stream = self.stream;
            match (mem::replace(&mut failing, written.is_err()), written) {
                (false, Err(error)) => tracing::error!("{stream} cannot be written: {error}"),
                (_, Ok(())) if dropped > mem::replace(&mut told, dropped) => {
                    tracing::warn!(dropped_so_far = dropped, "lines for {stream} were lost: nobody read them in time");
                }
                _ => {}
            }
        }
    }

    /// Waits for bytes and swaps them into `taken`, which is empty.
    fn take(&self, taken: &mut Vec<u8>) {
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        while state.waiting.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = true;
        mem::swap(&mut state.waiting, taken);
    }

    fn lost(&self, state: &mut State, lines: u64) {
        state.dropped += lines;
        state.uncounted += lines;
        if let Some(counter) = self.counter.get() {
            counter.inc_by(mem::take(&mut state.uncounted));
        }
    }

    /// Bytes and counts are whole after every step: what a panic left behind can be used.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};

    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(20);

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "lines").unwrap()
    }

    #[test]
    fn what_waits_is_written_when_somebody_reads_and_the_rest_is_counted() {
        let (mut reader, writer) = pipe().unwrap();
        let outlet = Outlet::with_capacity("a pipe", writer, 1 << 20).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // Much more than a pipe and the buffer hold together.
        (0..4096).for_each(|_| outlet.write(&line));
        assert!(!outlet.flush(SOON), "nobody reads");
        let counter = counter();
        outlet.count(&counter);
        let lost = usize::try_from(counter.get()).unwrap();
        let mut bytes = vec![0; (4096 - lost) * line.len()];
        reader.read_exact(&mut bytes).unwrap();
        assert!(bytes.chunks(line.len()).all(|chunk| chunk == line), "lines are whole");
        assert!(outlet.flush(LATE));
        assert!((1024..4096).contains(&lost), "{lost} lines were lost");
    }

    #[test]
    fn a_closed_pipe_is_counted_and_stops_nobody() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let outlet = Outlet::start("a pipe", writer).unwrap();
        let counter = counter();
        outlet.count(&counter);
        outlet.write(b"one\ntwo\n");
        assert!(outlet.flush(LATE));
        assert_eq!(counter.get(), 2);
    }
}
