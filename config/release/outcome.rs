//! What came of requests, counted: what the data path adds up and what gates and verdicts compare.

use std::time::Duration;

/// What came of one request, as the version that was first chosen for it is charged with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 1xx, 2xx, 3xx.
    Success,
    /// 4xx: the caller's fault, unless a plan says otherwise.
    ClientError,
    /// 5xx other than 502, 503, 504; a gRPC status that says the same.
    ServerError,
    /// 502, 503, 504 that the endpoint sent.
    GatewayError,
    /// No connection: refused, unreachable, TLS.
    Connect,
    /// The connection ended before the answer did.
    Reset,
    /// It took longer than the version's timeouts allow.
    Timeout,
    /// The client left before it had its answer. A bad outcome where it had waited for long ([`Counts::gone`]).
    ClientGone,
    /// Nobody is charged: the client was too slow or sent nonsense, or the gateway refused it for its own reasons.
    Uncharged,
}

impl Class {
    /// All, in the order of the type.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::ClientError,
        Self::ServerError,
        Self::GatewayError,
        Self::Connect,
        Self::Reset,
        Self::Timeout,
        Self::ClientGone,
        Self::Uncharged,
    ];

    /// What a status means. gRPC's own status is told apart by whoever sees the trailers.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::GatewayError,
            500.. => Self::ServerError,
            400..=499 => Self::ClientError,
            _ => Self::Success,
        }
    }

    /// Whether it is a failure of the version; 4xx only where the plan counts them.
    #[must_use]
    pub fn is_failure(self, client_errors: bool) -> bool {
        match self {
            Self::Success | Self::ClientGone | Self::Uncharged => false,
            Self::ClientError => client_errors,
            Self::ServerError | Self::GatewayError | Self::Connect | Self::Reset | Self::Timeout => true,
        }
    }
}

/// How many buckets a histogram of latencies has: eight for each doubling from 64 µs to 67 s, one for what is below and one
/// for what is above. So a quantile is known to 9 percent.
pub const LATENCY_BUCKETS: usize = 8 * 20 + 2;

/// The bucket of a latency. No loop, no floating point.
#[inline]
#[must_use]
pub fn latency_bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    if micros < 64 {
        return 0;
    }
    let doubling = micros.ilog2();
    // The three bits below the leading one.
    let eighth = (micros >> (doubling - 3)) & 7;
    (1 + 8 * (doubling as usize - 6) + eighth as usize).min(LATENCY_BUCKETS - 1)
}

/// The upper bound, exclusive, of a bucket's latencies; `None` of the last one.
#[must_use]
pub fn latency_bound(bucket: usize) -> Option<Duration> {
    if bucket + 1 >= LATENCY_BUCKETS {
        return None;
    }
    // Bucket `n` ends where the eighths of its doubling say.
    Some(Duration::from_micros((8 + bucket as u64 % 8) << (3 + bucket / 8)))
}

/// Requests of one version, over some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Requests that began.
    pub begun: u64,
    /// Of them, those that ended, by [`Class`], in its order.
    pub classes: [u64; Class::ALL.len()],
    /// Of those whose client left first, the ones whose client had waited for long: a bad outcome.
    pub gone: u64,
    /// Requests that had no answer when they were as old as answers ever are: a bad outcome.
    pub unanswered: u64,
    /// Requests with an answer, by [`latency_bucket`]: from the head of the request to the head of the answer.
    pub latencies: [u64; LATENCY_BUCKETS],
}

impl Default for Counts {
    fn default() -> Self {
        Self { begun: 0, classes: [0; Class::ALL.len()], gone: 0, unanswered: 0, latencies: [0; LATENCY_BUCKETS] }
    }
}

impl Counts {
    /// Requests that ended, those that clients left included.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Requests that say something about the version: all but those that clients left early, and those of which nobody is
    /// charged.
    #[must_use]
    pub fn judged(&self) -> u64 {
        let left_out = self.classes[Class::ClientGone as usize] + self.classes[Class::Uncharged as usize];
        self.ended().saturating_sub(left_out) + self.gone + self.unanswered
    }

    /// Failures of the version, with those that got no answer in time.
    #[must_use]
    pub fn failures(&self, client_errors: bool) -> u64 {
        let failed = Class::ALL.iter().zip(self.classes).filter(|(class, _)| class.is_failure(client_errors));
        failed.map(|(_, n)| n).sum::<u64>() + self.gone + self.unanswered
    }

    /// What was added since `before`, of cells that only rise.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        since.begun = since.begun.saturating_sub(before.begun);
        since.gone = since.gone.saturating_sub(before.gone);
        since.unanswered = since.unanswered.saturating_sub(before.unanswered);
        since.classes.iter_mut().zip(before.classes).for_each(|(now, before)| *now = now.saturating_sub(before));
        since.latencies.iter_mut().zip(before.latencies).for_each(|(now, before)| *now = now.saturating_sub(before));
        since
    }

    /// Both together.
    pub fn add(&mut self, more: &Self) {
        self.begun += more.begun;
        self.gone += more.gone;
        self.unanswered += more.unanswered;
        self.classes.iter_mut().zip(more.classes).for_each(|(sum, more)| *sum += more);
        self.latencies.iter_mut().zip(more.latencies).for_each(|(sum, more)| *sum += more);
    }

    /// The bound below which at least `permille` of a thousand latencies lie (500 is the median); of the slowest
    /// bucket, which has none, where it begins. `None` without latencies.
    #[must_use]
    pub fn quantile(&self, permille: u64) -> Option<Duration> {
        let total: u64 = self.latencies.iter().sum();
        let rank = (total * permille).div_ceil(1000).max(1);
        let mut below = 0;
        let bucket = self.latencies.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        latency_bound(bucket).or_else(|| latency_bound(bucket - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket_and_buckets_are_narrow() {
        let micros = (0..2_000).chain((0..27).flat_map(|n| [(64 << n) - 1, 64 << n, (64 << n) + 1]));
        for micros in micros {
            let latency = Duration::from_micros(micros);
            let bucket = latency_bucket(latency);
            let low = bucket.checked_sub(1).map_or(Duration::ZERO, |below| latency_bound(below).unwrap());
            assert!(low <= latency, "{micros} µs in bucket {bucket}, which starts at {low:?}");
            match latency_bound(bucket) {
                Some(high) => {
                    assert!(latency < high, "{micros} µs in bucket {bucket}, which ends at {high:?}");
                    assert!(bucket == 0 || high <= low * 9 / 8, "bucket {bucket} goes from {low:?} to {high:?}");
                }
                None => assert!(micros >= 64 << 20, "{micros} µs are beyond everything"),
            }
        }
        assert_eq!(latency_bucket(Duration::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn counts_tell_failures_from_what_is_not_the_versions_fault() {
        let mut counts = Counts::default();
        Class::ALL.iter().for_each(|class| counts.classes[*class as usize] += 1);
        assert_eq!((counts.ended(), counts.judged()), (9, 7));
        assert_eq!((counts.failures(false), counts.failures(true)), (5, 6));
        (counts.gone, counts.unanswered) = (1, 2);
        assert_eq!((counts.judged(), counts.failures(false)), (10, 8), "long waits for nothing are bad outcomes");
        assert_eq!(
            [200, 304, 101, 404, 500, 502, 504, 599].map(Class::of_status),
            [
                Class::Success,
                Class::Success,
                Class::Success,
                Class::ClientError,
                Class::ServerError,
                Class::GatewayError,
                Class::GatewayError,
                Class::ServerError,
            ]
        );
    }

    #[test]
    fn quantiles_bound_the_latencies_below_them() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile(500), None);
        (0..95).for_each(|_| counts.latencies[latency_bucket(Duration::from_millis(10))] += 1);
        (0..5).for_each(|_| counts.latencies[latency_bucket(Duration::from_millis(500))] += 1);
        let within = |permille, millis: u64| {
            let bound = counts.quantile(permille).unwrap();
            bound > Duration::from_millis(millis) && bound <= Duration::from_millis(millis) * 9 / 8
        };
        assert!(within(500, 10) && within(950, 10) && within(951, 500) && within(999, 500));
    }
}
