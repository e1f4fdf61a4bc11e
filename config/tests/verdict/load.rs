//! Simulated requests of two versions, from a seed.

use std::time::Duration;

use config::release::outcome::{Class, LATENCY_BUCKETS, latency_bucket};
use config::release::verdict::{Begun, Stratum, Verdict, Watch};
use config::value::weight::Weight;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True with the chance `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        ((self.next() >> 11) as f64) < p * (1u64 << 53) as f64
    }

    /// From 0, below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

/// The exact split of two versions: each request of the rarer falls at a random place in its own cell of 1/weight.
pub(crate) struct Slots {
    cell: u64,
    at: u64,
    hit: u64,
}

impl Slots {
    pub(crate) fn new(weight: Weight) -> Self {
        Self { cell: 10_000 / u64::from(weight.basis_points()), at: 0, hit: 0 }
    }

    /// Whether the next request goes to the candidate.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> bool {
        if self.at == 0 {
            self.hit = rng.below(self.cell);
        }
        let hit = self.at == self.hit;
        self.at = (self.at + 1) % self.cell;
        hit
    }
}

/// Requests between two looks, which began and ended there.
pub(crate) struct Looked {
    pub(crate) stable: Begun,
    pub(crate) candidate: Begun,
    learned: [u64; LATENCY_BUCKETS],
    slow: Option<[Duration; 2]>,
    now: Duration,
}

impl Looked {
    pub(crate) fn new() -> Self {
        Self {
            stable: Begun::default(),
            candidate: Begun::default(),
            learned: [0; LATENCY_BUCKETS],
            slow: None,
            now: Duration::ZERO,
        }
    }

    /// One request, answered after so long.
    pub(crate) fn add(&mut self, candidate: bool, fails: bool, micros: u64) {
        let latency = Duration::from_micros(micros);
        let is_quick = self.slow.is_none_or(|limits| latency <= limits[usize::from(candidate)]);
        if !candidate {
            self.learned[latency_bucket(latency)] += 1;
        }
        let side = self.side(candidate);
        side.begun += 1;
        side.classes[if fails { Class::ServerError } else { Class::Success } as usize] += 1;
        side.quick += u64::from(is_quick);
    }

    fn side(&mut self, candidate: bool) -> &mut Begun {
        if candidate { &mut self.candidate } else { &mut self.stable }
    }

    /// One request more that fails, of a caller whose last one failed too.
    pub(crate) fn add_repeated(&mut self, candidate: bool, micros: u64) {
        self.add(candidate, true, micros);
        self.side(candidate).repeated += 1;
    }

    /// Many, all answered alike.
    pub(crate) fn add_many(&mut self, candidate: bool, requests: u64, failures: u64) {
        let many = Begun::answered(requests, failures);
        let side = self.side(candidate);
        side.begun += requests;
        side.quick += requests;
        side.classes.iter_mut().zip(many.classes).for_each(|(sum, more)| *sum += more);
    }

    /// Shows them to the watch, and starts anew. A look takes 100 ms.
    pub(crate) fn look(&mut self, watch: &mut Watch, weight: Weight) -> Verdict {
        self.now += Duration::from_millis(100);
        let (now, slow) = (self.now, self.slow);
        let Self { stable, candidate, learned, .. } = std::mem::replace(self, Self { now, ..Self::new() });
        let stratum = Stratum { stable, candidate, weight, stakes: watch.stakes(), is_drawn: true, began: now };
        watch.observe(&stratum);
        if slow.is_some() {
            watch.observe_speed(&stratum);
        }
        watch.learn_speed(&learned);
        self.slow = watch.slow_limits(now);
        watch.verdict()
    }
}

/// A latency in microseconds with a long tail: 10 ms in the middle, a twentieth above 190 ms (log-logistic).
pub(crate) fn latency(rng: &mut Rng) -> u64 {
    let rank = rng.below(1 << 20);
    10_000 * rank / ((1 << 20) - rank)
}

/// How many requests it took until the verdict was as wished.
pub(crate) struct Taken {
    pub(crate) candidate: u64,
    pub(crate) total: u64,
}

/// Requests by slots at one weight, in looks of 100 and at every failure, until `wished` of the verdict; `None` after
/// `most` requests.
pub(crate) fn until(
    watch: &mut Watch,
    weight: Weight,
    rates: (f64, f64),
    most: u64,
    seed: u64,
    wished: impl Fn(&Verdict) -> bool,
) -> Option<Taken> {
    let mut rng = Rng(seed);
    let mut slots = Slots::new(weight);
    let mut looked = Looked::new();
    let mut candidates = 0;
    for request in 1..=most {
        let candidate = slots.next(&mut rng);
        candidates += u64::from(candidate);
        let fails = rng.chance(if candidate { rates.1 } else { rates.0 });
        looked.add(candidate, fails, 10_000);
        if (fails || request % 100 == 0) && wished(&looked.look(watch, weight)) {
            return Some(Taken { candidate: candidates, total: request });
        }
    }
    None
}
