//! Bounds on lines: so many in a second, the rest counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::{Level, Log, Metadata, Record};

/// Lines of pingora in one second; the rest is counted and reported as one line.
const PINGORA_LINES: u64 = 10;
/// The window's count sits in these low bits, its second above them.
const COUNT_BITS: u32 = 32;

/// A rate bound for lines that clients can cause, such as those of refused heads. All workers share the edge's.
#[derive(Debug)]
pub struct LineRate {
    per_second: u64,
    /// The current second, and how many lines were asked for in it.
    window: AtomicU64,
    /// Lines held back since the last one that passed.
    held_back: AtomicU64,
}

impl LineRate {
    /// Allows so many lines in one second of the clock.
    #[must_use]
    pub const fn new(per_second: u64) -> Self {
        Self { per_second, window: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Asks for one line at `now`, the time since any fixed moment: `None` when it is held back, else how many were held back
    /// since the line before, which this one has to tell.
    pub fn pass(&self, now: Duration) -> Option<u64> {
        let second = now.as_secs();
        let step = |window: u64| {
            if window >> COUNT_BITS == second { window + 1 } else { (second << COUNT_BITS) + 1 }
        };
        let before = self
            .window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| Some(step(window)))
            .expect("the closure always gives a value");
        let asked = if before >> COUNT_BITS == second { before & ((1 << COUNT_BITS) - 1) } else { 0 };
        if asked < self.per_second {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// A logger that passes everything on, but at most [`PINGORA_LINES`] records of pingora per second.
pub(super) struct Throttled<L, N> {
    inner: L,
    now: N,
    rate: LineRate,
}

impl<L: Log, N: Fn() -> Duration + Send + Sync> Throttled<L, N> {
    pub(super) fn new(inner: L, now: N) -> Self {
        Self { inner, now, rate: LineRate::new(PINGORA_LINES) }
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
        let Some(held_back) = self.rate.pass((self.now)()) else { return };
        if held_back > 0 {
            self.inner.log(
                &Record::builder()
                    .level(Level::Warn)
                    .target("gateway::log")
                    .args(format_args!("{held_back} log lines of pingora were held back"))
                    .build(),
            );
        }
        self.inner.log(record);
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

    #[test]
    fn lines_held_back_are_told_by_the_next_one() {
        let rate = LineRate::new(2);
        let ask = |second| rate.pass(Duration::from_secs(second));
        assert_eq!([5, 5, 5, 5, 6, 6, 6].map(ask), [Some(0), Some(0), None, None, Some(2), Some(0), None]);
        assert_eq!(ask(60), Some(1));
    }
}
