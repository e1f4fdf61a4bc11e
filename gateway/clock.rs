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
