//! What versions have counted, for whoever compares two moments.

use config::value::name::{AliasName, FunctionName, VersionId};

use super::cell::BOUNDS_MICROS;
use super::series::{CodeClass, Pick, VersionSeries};

/// Whose counts: a version under an alias, or called directly.
pub type Counted = (FunctionName, Option<AliasName>, VersionId);

/// What one version has counted since it was first published. All of them only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that have ended.
    pub ended: u64,
    /// Of them, those answered with 5xx.
    pub errors: u64,
    /// Requests that the split led here: neither a rule nor the caller.
    pub drawn: u64,
    /// Durations up to each of [`BOUNDS_MICROS`] and above the one before; the last is what is above all.
    pub times: [u64; BOUNDS_MICROS.len() + 1],
}

impl Counts {
    /// As they are now.
    pub(super) fn of(series: &VersionSeries) -> Self {
        let drawn = [Pick::Bucket, Pick::Slot, Pick::Only, Pick::Random, Pick::Stable, Pick::Fallback];
        Self {
            ended: series.requests.iter().map(super::Cell::get).sum(),
            errors: series.requests[CodeClass::ServerError as usize].get(),
            drawn: drawn.into_iter().map(|pick| series.picks[pick as usize].get()).sum(),
            times: series.duration.counts(),
        }
    }

    /// What was added since `before`; everything, when the cells began anew since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        if self.ended < before.ended || self.drawn < before.drawn {
            return *self;
        }
        let mut times = self.times;
        times.iter_mut().zip(before.times).for_each(|(now, before)| *now = now.saturating_sub(before));
        Self {
            ended: self.ended - before.ended,
            errors: self.errors.saturating_sub(before.errors),
            drawn: self.drawn - before.drawn,
            times,
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.errors += other.errors;
        self.drawn += other.drawn;
        self.times.iter_mut().zip(other.times).for_each(|(sum, more)| *sum += more);
    }

    /// Milliseconds below which this part of the durations lies (0.5 is the median), as a line between the bounds of a
    /// bucket; the largest bound for what is above all. `None` without durations.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let total: u64 = self.times.iter().sum();
        let rank = part * total as f64;
        let mut below = 0;
        let mut low = 0;
        for (count, high) in self.times.iter().zip(BOUNDS_MICROS) {
            if *count > 0 && (below + count) as f64 >= rank {
                let within = (rank - below as f64) / *count as f64;
                return Some((low as f64 + within * (high - low) as f64) / 1e3);
            }
            below += count;
            low = high;
        }
        (total > 0).then_some(low as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_times() {
        let series = VersionSeries::default();
        assert_eq!(Counts::of(&series).quantile(0.5), None);
        (0..99).for_each(|_| series.ended(Some(200), Duration::from_micros(700)));
        series.ended(Some(503), Duration::from_secs(60));
        let counts = Counts::of(&series);
        assert_eq!((counts.ended, counts.errors, counts.drawn), (100, 1, 0));
        let median = counts.quantile(0.5).unwrap();
        assert!(median > 0.5 && median <= 1.0, "{median}");
        assert_eq!(counts.quantile(1.0), Some(10_000.0));
    }

    #[test]
    fn only_the_split_counts_as_drawn_and_a_new_start_counts_whole() {
        let series = VersionSeries::default();
        for pick in [Pick::Slot, Pick::Bucket, Pick::Rule, Pick::Direct, Pick::Override] {
            series.picked(pick);
        }
        let before = Counts::of(&series);
        assert_eq!(before.drawn, 2);
        series.picked(Pick::Slot);
        assert_eq!(Counts::of(&series).since(&before).drawn, 1);
        let anew = VersionSeries::default();
        anew.picked(Pick::Slot);
        assert_eq!(Counts::of(&anew).since(&before).drawn, 1);
    }
}
