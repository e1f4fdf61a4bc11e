//! The cells that the data path adds to: atomics, each add one instruction and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto;

/// Upper bounds of all histograms' buckets, in microseconds: 250 µs to 10 s.
pub const BOUNDS_MICROS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// One number.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Replaces the number: for gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram of times. `prometheus`'s own needs four atomic adds per time, one of them a loop; this one needs two,
/// because the count is the sum of the buckets and is only computed for a scrape.
#[derive(Debug, Default)]
pub struct Times {
    /// Times up to each bound and above the one before; the last is what is above all.
    buckets: [Cell; BOUNDS_MICROS.len() + 1],
    /// Microseconds: 584 000 years of them fit.
    sum: AtomicU64,
}

impl Times {
    /// Adds one time.
    pub fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS_MICROS.partition_point(|bound| *bound < micros)].inc();
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Times in each bucket.
    pub(super) fn counts(&self) -> [u64; BOUNDS_MICROS.len() + 1] {
        self.buckets.each_ref().map(Cell::get)
    }

    /// The number of times.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.counts().iter().sum()
    }

    /// The bound of the bucket below which so many of a thousand times lie; the longest time there is, for what is above all
    /// bounds. `None` without times.
    #[must_use]
    pub fn upper_bound(&self, permille: u64) -> Option<Duration> {
        let rank = (self.known() * permille).div_ceil(1000).max(1);
        let mut below = 0;
        let bucket = self.counts().iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(BOUNDS_MICROS.get(bucket).map_or(Duration::MAX, |bound| Duration::from_micros(*bound)))
    }

    /// What a scrape sees. A time being added meanwhile may be in the count and not yet in the sum.
    pub(super) fn proto(&self) -> proto::Histogram {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_MICROS.len());
        for (bound, cell) in BOUNDS_MICROS.iter().zip(&self.buckets) {
            count += cell.get();
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(seconds(*bound));
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(count + self.buckets[BOUNDS_MICROS.len()].get());
        histogram.set_sample_sum(seconds(self.sum.load(Ordering::Relaxed)));
        histogram.set_bucket(buckets);
        histogram
    }
}

pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_bucket_holds_what_is_not_above_its_bound(times in prop::collection::vec(0_u64..20_000_000, 0..50)) {
            let cells = Times::default();
            times.iter().for_each(|micros| cells.observe(Duration::from_micros(*micros)));
            let seen = cells.proto();
            for bucket in seen.get_bucket() {
                let not_above = times.iter().filter(|micros| **micros as f64 / 1e6 <= bucket.upper_bound()).count();
                prop_assert_eq!(bucket.cumulative_count(), not_above as u64);
            }
            prop_assert_eq!(seen.get_sample_count(), times.len() as u64);
            prop_assert_eq!(seen.get_sample_sum(), times.iter().sum::<u64>() as f64 / 1e6);
        }
    }
}
