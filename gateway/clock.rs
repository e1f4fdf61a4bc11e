//! The only reader of time.

use std::time::{Duration, Instant, SystemTime};

/// The monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the one place that reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall time since 1970-01-01 UTC; zero if the wall clock stands before that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the one place that reads the clock")]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Wall time as it was at the start of the process, going on by the monotonic clock: it never jumps while the process runs.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    unix: Duration,
    at: Instant,
}

impl Steady {
    /// From now on.
    #[must_use]
    pub fn start() -> Self {
        Self { unix: unix(), at: now() }
    }

    /// Time since 1970-01-01 UTC.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.unix + self.at.elapsed()
    }
}
