//! Random numbers that follow from a seed.

/// What lies between two states of SplitMix64.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
/// With more hits than this to be expected, their number is as good as normally distributed.
const MANY: f64 = 50.0;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(super) struct Random(u64);

impl Random {
    /// A stream for each run. Streams that began a gamma apart would be one stream, each a number further on.
    pub(super) fn of_run(seed: u64, run: u32) -> Self {
        let mut numbers = Self(seed);
        Self(numbers.next() ^ Self(u64::from(run)).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Above 0, below 1.
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// How many of `tries` happen with this chance.
    pub(super) fn hits(&mut self, tries: u64, chance: f64) -> u64 {
        if chance > 0.5 {
            return tries - self.hits(tries, 1.0 - chance);
        }
        if chance <= 0.0 || tries == 0 {
            return 0;
        }
        let mean = tries as f64 * chance;
        if mean > MANY { self.normal(tries, mean, (mean * (1.0 - chance)).sqrt()) } else { self.gaps(tries, chance) }
    }

    /// By the gaps between them, which are geometric (Devroye: Non-Uniform Random Variate Generation, 1986, section X.4).
    fn gaps(&mut self, tries: u64, chance: f64) -> u64 {
        let scale = (-chance).ln_1p();
        let (mut at, mut hits) = (0.0, 0);
        loop {
            at += (self.uniform().ln() / scale).floor() + 1.0;
            if at > tries as f64 {
                return hits;
            }
            hits += 1;
        }
    }

    /// By the method of Box and Muller.
    fn normal(&mut self, tries: u64, mean: f64, deviation: f64) -> u64 {
        let (radius, angle) = ((-2.0 * self.uniform().ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        let hits = mean + deviation * radius * angle.cos();
        (hits.round().max(0.0) as u64).min(tries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_not_each_others() {
        let numbers = |run| -> Vec<u64> {
            let mut random = Random::of_run(1, run);
            (0..1_000).map(|_| random.next()).collect()
        };
        let mut all: Vec<u64> = (0..100).flat_map(numbers).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 100_000, "no number comes twice");
    }

    #[test]
    fn hits_have_the_mean_and_variance_of_their_chance() {
        for (tries, chance) in [(20, 0.01), (1_000, 0.02), (1_000, 0.3), (1_000_000, 0.9), (10, 1.0), (10, 0.0)] {
            let mut random = Random(7);
            let drawn: Vec<f64> = (0..20_000).map(|_| random.hits(tries, chance) as f64).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|hits| (hits - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            let (expected, spread) = (tries as f64 * chance, tries as f64 * chance * (1.0 - chance));
            assert!((mean - expected).abs() <= 4.0 * (spread / 20_000.0).sqrt(), "{tries} {chance}: {mean}");
            assert!((variance - spread).abs() <= 0.05 * spread, "{tries} {chance}: {variance}, not {spread}");
        }
    }
}
