//! Random numbers from a seed, and draws of callers by how active they are.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut numbers = Self(seed);
        Self(numbers.next() ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0..1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// From 0, below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// With mean 0 and variance 1, by the method of Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// With this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// Draws a caller by activity `1/rank^z`, in constant time (Walker's alias method).
pub(crate) struct Activity {
    keep: Vec<f64>,
    other: Vec<u32>,
}

impl Activity {
    pub(crate) fn new(callers: usize, z: f64) -> Self {
        let weights: Vec<f64> = (1..=callers).map(|rank| (rank as f64).powf(-z)).collect();
        let total: f64 = weights.iter().sum();
        let mut keep: Vec<f64> = weights.iter().map(|weight| weight * callers as f64 / total).collect();
        let mut other = vec![0; callers];
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..callers).partition(|place| keep[*place] < 1.0);
        while let (Some(few), Some(many)) = (small.pop(), large.last().copied()) {
            other[few] = many as u32;
            keep[many] -= 1.0 - keep[few];
            if keep[many] < 1.0 {
                large.pop();
                small.push(many);
            }
        }
        small.into_iter().chain(large).for_each(|place| keep[place] = 1.0);
        Self { keep, other }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let at = random.uniform() * self.keep.len() as f64;
        let place = at as usize;
        if at.fract() < self.keep[place] { place } else { self.other[place] as usize }
    }
}
