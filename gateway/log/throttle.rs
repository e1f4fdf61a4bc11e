//! Lets only a few of pingora's log records per second through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::{Level, Log, Metadata, Record};

/// Lines of pingora in one second; the rest is counted and reported as one line.
const LINES: u64 = 10;
/// The window's count sits in these low bits, its second above them.
const COUNT_BITS: u32 = 32;

/// A logger that passes everything on, but at most [`LINES`] records of pingora per second.
pub(super) struct Throttled<L, N> {
    inner: L,
    now: N,
    /// The current second and how many records of pingora it has seen.
    window: AtomicU64,
}

impl<L: Log, N: Fn() -> Duration + Send + Sync> Throttled<L, N> {
    pub(super) fn new(inner: L, now: N) -> Self {
        Self { inner, now, window: AtomicU64::new(0) }
    }

    /// Counts one record: whether it passes, and how many were held back in the window that it ends.
    fn count(&self) -> (bool, u64) {
        let second = (self.now)().as_secs();
        let step = |window: u64| {
            if window >> COUNT_BITS == second { window + 1 } else { (second << COUNT_BITS) + 1 }
        };
        let before = self
            .window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| Some(step(window)))
            .expect("the closure always gives a value");
        let seen = before & ((1 << COUNT_BITS) - 1);
        if before >> COUNT_BITS == second { (seen < LINES, 0) } else { (true, seen.saturating_sub(LINES)) }
    }
}

impl<L: Log, N: Fn() -> Duration + Send + Sync> Log for Throttled<L, N> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !record.target().starts_with("pingora") || !self.inner.enabled(record.metadata()) {
            return self.inner.log(record);
        }
        let (passes, held_back) = self.count();
        if held_back > 0 {
            self.inner.log(
                &Record::builder()
                    .level(Level::Warn)
                    .target("gateway::log")
                    .args(format_args!("{held_back} log lines of pingora were held back"))
                    .build(),
            );
        }
        if passes {
            self.inner.log(record);
        }
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Log for &Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.level() <= Level::Warn
        }
        fn log(&self, record: &Record<'_>) {
            if self.enabled(record.metadata()) {
                self.0.lock().unwrap().push(record.args().to_string());
            }
        }
        fn flush(&self) {}
    }

    #[test]
    fn pingora_gets_ten_lines_a_second_and_everyone_else_all_of_theirs() {
        let (lines, second) = (Lines::default(), AtomicU64::new(100));
        let logger = Throttled::new(&lines, || Duration::from_secs(second.load(Ordering::Relaxed)));
        let say = |target: &str, level, text: &str| {
            logger.log(&Record::builder().target(target).level(level).args(format_args!("{text}")).build());
        };
        (0..25).for_each(|_| say("pingora_proxy::proxy_h1", Level::Error, "fail"));
        (0..25).for_each(|_| say("pingora_core", Level::Info, "filtered, so not counted"));
        (0..25).for_each(|_| say("gateway", Level::Warn, "own"));
        second.store(101, Ordering::Relaxed);
        say("pingora_core", Level::Error, "next");
        second.store(102, Ordering::Relaxed);
        say("pingora_core", Level::Error, "later");
        let expected =
            [&["fail"; 10][..], &["own"; 25], &["15 log lines of pingora were held back", "next", "later"]].concat();
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }
}
