//! Exact split: which version the next keyless request of an alias takes.
//!
//! A request takes the next *slot* of its alias. [`SlotSequence`] says which part of the split a slot goes to; it depends
//! on the weights alone and is shared by all aliases with these weights. [`Slots`] is one alias's way through a
//! sequence: where it starts, and what is carried over from before the last change of weights.
//!
//! What a version is *owed* after some requests is its weight times their number, minus the requests it got, in 1/10 000
//! request. A sequence keeps it between -10 000 and 10 000, both exclusive, for every version after every prefix
//! (Tijdeman's chairman assignment, 1980). So any window is off by less than two requests.

mod build;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::value::name::VersionId;
use crate::value::weight::{Split, Weight};

/// One request, in the unit of what is owed.
const REQUEST: i32 = Weight::WHOLE as i32;

/// Which part of a split each slot goes to. It repeats as a whole, and every prefix of the repetition is exact too.
#[derive(PartialEq, Eq)]
pub struct SlotSequence {
    /// Index into the parts of the split, by slot. At most 16 parts.
    parts: Box<[u8]>,
    /// Floor of 2^64 / number of slots.
    reciprocal: u64,
    weights: Box<[Weight]>,
}

impl SlotSequence {
    /// The fewest slots of a sequence: a short period would resonate with clients that are periodic themselves.
    pub const MIN_SLOTS: usize = 16_384;

    /// The sequence for the weights of a split, the same for the same weights and seed.
    ///
    /// It is randomised by `seed`. With two versions each request of the rarer one falls at a uniform place in its own
    /// cell of 1/weight slots. With more, requests are ordered by such places as far as the bound allows, and then stirred
    /// by exchanges of slots, each kept only if it keeps the bound. There a client whose requests come at a multiple of
    /// the weights' own period still sees a bias (up to a sixth of its requests at 70/20/7/3 and every tenth slot).
    #[must_use]
    pub fn new(split: &Split, seed: u64) -> Self {
        Self::continuing(split, &vec![0; split.parts().len()], seed)
            .expect("Tijdeman: from nothing owed it is always possible")
    }

    /// A sequence that keeps the bound when each part is owed something at its start; `None` if there is none.
    fn continuing(split: &Split, owed: &[i32], seed: u64) -> Option<Self> {
        let weights: Box<[Weight]> = split.weights().into();
        let period = period(&weights);
        let len = Self::MIN_SLOTS.next_multiple_of(period);
        let parts = build::parts(&basis_points(&weights), owed, len, seed)?.into();
        Some(Self { parts, reciprocal: u64::try_from((1u128 << 64) / len as u128).expect("len is above 1"), weights })
    }

    /// How many slots there are before it repeats: at least [`SlotSequence::MIN_SLOTS`], rounded up to whole periods.
    #[expect(clippy::len_without_is_empty, reason = "there are always slots")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// The index, in the parts of the split, that the slot of this cursor goes to. A part of weight 0 never comes.
    #[inline]
    #[must_use]
    pub fn at(&self, cursor: u64) -> usize {
        self.parts[self.slot(cursor)].into()
    }

    /// `cursor % len` without a division: the quotient by the reciprocal is right or one too small.
    #[inline]
    fn slot(&self, cursor: u64) -> usize {
        let len = self.parts.len() as u64;
        let quotient = ((u128::from(cursor) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = cursor - quotient * len;
        (if rest >= len { rest - len } else { rest }) as usize
    }

    /// What each part is owed after the slots before that of `cursor`, if nothing is owed at slot 0.
    fn owed(&self, cursor: u64) -> Vec<i32> {
        let passed = self.slot(cursor);
        let mut owed: Vec<i32> = basis_points(&self.weights).iter().map(|w| w * passed as i32).collect();
        for &part in &self.parts[..passed] {
            owed[usize::from(part)] -= REQUEST;
        }
        owed
    }
}

impl fmt::Debug for SlotSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotSequence").field("weights", &self.weights).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What the versions of an alias are owed: exact, in 1/10 000 request, each below one request, together 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owed(Vec<(VersionId, i32)>);

impl Owed {
    /// Versions in ascending order with what they are owed, -9 999..=9 999; negative if they got too much.
    #[must_use]
    pub fn parts(&self) -> &[(VersionId, i32)] {
        &self.0
    }

    /// What each part of a split is owed to begin with.
    ///
    /// Parts above weight 0 keep what they are owed, new ones are owed nothing. A version that leaves, or goes to
    /// weight 0, forgives and is forgiven: to make the sum 0 again, the versions on the side that is in surplus give
    /// up proportional parts. So nobody is owed more than before.
    fn at_start_of(&self, split: &Split) -> Vec<i32> {
        let before = |version| self.0.iter().find(|(v, _)| *v == version).map_or(0, |&(_, owed)| owed);
        let parts = split.parts().iter();
        balanced(parts.map(|&(version, weight)| if weight > Weight::ZERO { before(version) } else { 0 }).collect())
    }
}

/// As the access log holds it: `1=-250,2=250`.
impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (version, owed)) in self.0.iter().enumerate() {
            write!(f, "{}{version}={owed}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Owed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` does not say what versions are owed, such as `1=-250,2=250`");
        let part = |part: &str| {
            let (version, owed) = part.split_once('=')?;
            let owed = owed.parse().ok().filter(|owed: &i32| owed.abs() < REQUEST)?;
            Some((version.parse::<VersionId>().ok()?, owed))
        };
        let parts: Option<Vec<_>> = text.split(',').map(part).collect();
        let parts = parts.filter(|parts| parts.iter().map(|(_, owed)| i64::from(*owed)).sum::<i64>() == 0);
        parts.filter(|parts| parts.is_sorted_by(|a, b| a.0 < b.0)).map(Self).ok_or_else(wrong)
    }
}

/// One alias's way through a sequence.
///
/// The alias has a cursor that begins at [`Slots::start`]; each request takes its value, adds one, and goes to the part
/// [`Slots::at`] says. At a change of weights, [`Slots::owed`] goes into [`Slots::carried`], and the cursor begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    sequence: Arc<SlotSequence>,
    /// One slot that goes to another part than the sequence says.
    exchange: Exchange,
    start: Start,
    /// What each part is owed all along, beside what it is owed by the sequence.
    base: Box<[i32]>,
    split: Split,
    /// The parts that were carried over; `None` if none was.
    carried: Option<Arc<Owed>>,
}

/// The places at which a cursor can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Any period of so many slots: nothing is owed at the start of each.
    Period(u64),
    /// This place alone, at which what was owed before the change of weights is owed.
    Cursor(u64),
}

/// At cursor `at` (`u64::MAX`: never), part `to` gets the slot of part `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exchange {
    at: u64,
    to: u8,
    from: u8,
}

impl Exchange {
    const NONE: Self = Self { at: u64::MAX, to: 0, from: 0 };
}

impl Slots {
    /// An alias to which nothing is owed. `sequence` is that of the split's weights.
    #[must_use]
    pub fn fresh(split: &Split, sequence: Arc<SlotSequence>) -> Self {
        debug_assert_eq!(*sequence.weights, *split.weights(), "the sequence is that of the split");
        let start = Start::Period(period(&sequence.weights) as u64);
        Self {
            sequence,
            exchange: Exchange::NONE,
            start,
            base: vec![0; split.parts().len()].into(),
            split: split.clone(),
            carried: None,
        }
    }

    /// An alias whose weights became `split` when its versions were owed `owed`.
    ///
    /// `sequence` gives the shared sequence of the new weights. It is used if nothing is owed or at most two versions are
    /// above weight 0; else the alias gets a sequence of its own, made from `seed`.
    ///
    /// With at most three versions, each is owed less than one request at any time, counted over all changes together.
    /// With four and more that is not always possible (two versions may both have to get the very next request). Then the
    /// largest of 3/4, 1/2, 1/4 or nothing of what is owed is carried that keeps the bound, and the rest is forgiven: each
    /// change can add less than one request to the error.
    ///
    /// Requests that still take a slot of the old way after its cursor was read are not in `owed`.
    #[must_use]
    pub fn carried(split: &Split, owed: &Owed, seed: u64, sequence: impl FnOnce() -> Arc<SlotSequence>) -> Self {
        let before = owed;
        let owed = owed.at_start_of(split);
        let above_zero: Vec<usize> = (0..owed.len()).filter(|&i| split.parts()[i].1 > Weight::ZERO).collect();
        let slots = match above_zero[..] {
            _ if owed.iter().all(|&owed| owed == 0) => return Self::fresh(split, sequence()),
            [a, b] => Self::carried_by_two(split, (a, b), owed[a], sequence(), seed),
            _ => Self::carried_by_many(split, &owed, seed),
        };
        Self { carried: Some(Arc::new(before.clone())), ..slots }
    }

    /// The parts that were carried over from before the last change of weights: with it, [`carried`](Self::carried) makes the same way again.
    /// `None` if it is that of [`fresh`](Self::fresh).
    #[must_use]
    pub fn carried_over(&self) -> Option<&Owed> {
        self.carried.as_deref()
    }

    /// Finds the place of the sequence where part `a` is owed what it is owed here, rounded to what can occur.
    ///
    /// There it may be owed one request more or less than here, the other part the opposite. Then the next slot
    /// of the part that has too much is exchanged: until there both ways give every slot to the same part, so
    /// the bound holds on ours as well. What was rounded, at most half a step, is owed all along: a sequence for two parts
    /// stays a whole step below one request.
    fn carried_by_two(
        split: &Split,
        (a, b): (usize, usize),
        owed: i32,
        sequence: Arc<SlotSequence>,
        seed: u64,
    ) -> Self {
        debug_assert_eq!(*sequence.weights, *split.weights(), "the sequence is that of the split");
        let (len, weights) = (sequence.len() as u64, basis_points(&sequence.weights));
        let step = REQUEST / period(&sequence.weights) as i32;
        let mut here = 0;
        let mut best = None;
        for slot in 0..len {
            let rounded = (owed - here + step / 2).rem_euclid(REQUEST) - step / 2;
            if 2 * rounded.abs() <= step {
                let exchanged = owed - here - rounded;
                let rank = (exchanged != 0, (slot + len - seed % len) % len);
                best = best.into_iter().chain([(rank, slot, rounded, exchanged)]).min();
            }
            here += weights[a] - if sequence.at(slot) == a { REQUEST } else { 0 };
        }
        let (_, start, rounded, exchanged) = best.expect("every multiple of the step occurs, up to whole requests");
        let (to, from) = if exchanged > 0 { (a, b) } else { (b, a) };
        let exchange = match exchanged {
            0 => Exchange::NONE,
            _ => Exchange {
                at: (start..).find(|&cursor| sequence.at(cursor) == from).expect("both parts have slots"),
                to: to as u8,
                from: from as u8,
            },
        };
        let mut base = vec![0; split.parts().len()];
        (base[a], base[b]) = (rounded, -rounded);
        Self { sequence, exchange, start: Start::Cursor(start), base: base.into(), split: split.clone(), carried: None }
    }

    /// A sequence of its own that begins with as much of what is owed as can be carried.
    fn carried_by_many(split: &Split, owed: &[i32], seed: u64) -> Self {
        let quarters = [4, 3, 2, 1, 0].into_iter();
        let mut carried = quarters.map(|n| balanced(owed.iter().map(|owed| owed * n / 4).collect()));
        let begun = carried.find_map(|base| Some((SlotSequence::continuing(split, &base, seed)?, base)));
        let (sequence, base) = begun.expect("Tijdeman: from nothing owed it is always possible");
        Self {
            sequence: sequence.into(),
            exchange: Exchange::NONE,
            start: Start::Cursor(0),
            base: base.into(),
            split: split.clone(),
            carried: None,
        }
    }

    /// The first value of the cursor, from a uniform random number.
    ///
    /// The start of a random period, if nothing is owed. If it were always the same one, gateways that live for less
    /// than a period would all draw its first slots and no others: at 1 % and 60 requests each, a rare version would
    /// get a request of every life, or of none. Far below 1 % there are few periods to choose from (16 of 1 000 slots at
    /// 0.1 %), so that the share over many short lives is only roughly right there.
    #[must_use]
    pub fn start(&self, random: u64) -> u64 {
        match self.start {
            Start::Period(period) => {
                let periods = self.sequence.len() as u64 / period;
                ((u128::from(random) * u128::from(periods)) >> 64) as u64 * period
            }
            Start::Cursor(start) => start,
        }
    }

    /// The index, in the parts of the split, that the request with this cursor goes to.
    #[inline]
    #[must_use]
    pub fn at(&self, cursor: u64) -> usize {
        if cursor == self.exchange.at { self.exchange.to.into() } else { self.sequence.at(cursor) }
    }

    /// What each version is owed when the next request will take `cursor`.
    #[must_use]
    pub fn owed(&self, cursor: u64) -> Owed {
        let mut owed = self.sequence.owed(cursor);
        for (owed, base) in owed.iter_mut().zip(&self.base) {
            *owed += base;
        }
        if cursor <= self.exchange.at && self.exchange != Exchange::NONE {
            owed[usize::from(self.exchange.to)] += REQUEST;
            owed[usize::from(self.exchange.from)] -= REQUEST;
        }
        Owed(self.split.parts().iter().map(|part| part.0).zip(owed).collect())
    }
}

/// After how many slots every version can have exactly its weight.
fn period(weights: &[Weight]) -> usize {
    let common = weights.iter().fold(Weight::WHOLE, |a, weight| {
        let (mut a, mut b) = (a, weight.basis_points());
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    usize::from(Weight::WHOLE / common)
}

fn basis_points(weights: &[Weight]) -> Vec<i32> {
    weights.iter().map(|weight| weight.basis_points().into()).collect()
}

/// The same with sum 0: each value on the side in surplus comes closer to 0 by a proportional part.
fn balanced(mut owed: Vec<i32>) -> Vec<i32> {
    let surplus: i32 = owed.iter().sum();
    let side: i32 = owed.iter().filter(|owed| owed.signum() == surplus.signum()).sum();
    let (mut passed, mut given) = (0, 0);
    for owed in owed.iter_mut().filter(|owed| surplus != 0 && owed.signum() == surplus.signum()) {
        passed += *owed;
        let due = (i64::from(passed) * i64::from(surplus) / i64::from(side)) as i32;
        *owed -= due - given;
        given = due;
    }
    owed
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn v(n: u32) -> VersionId {
        VersionId::number(n).unwrap()
    }

    /// Versions 1, 2, … with these basis points.
    fn split(weights: &[u16]) -> Split {
        Split::new((1..).zip(weights).map(|(n, &w)| (v(n), Weight::new(w).unwrap()))).unwrap()
    }

    fn sequence(weights: &[u16], seed: u64) -> SlotSequence {
        SlotSequence::new(&split(weights), seed)
    }

    /// The largest part of a request that any part is or has too much after any prefix of `cursors`, in 1/10 000.
    fn worst(split: &Split, owed: &[i32], at: impl Fn(u64) -> usize, cursors: std::ops::Range<u64>) -> i32 {
        let mut owed = owed.to_vec();
        let mut worst = 0;
        for cursor in cursors {
            owed[at(cursor)] -= REQUEST;
            for (owed, (_, weight)) in owed.iter_mut().zip(split.parts()) {
                *owed += i32::from(weight.basis_points());
                worst = worst.max(owed.abs());
            }
        }
        worst
    }

    const SOME: [&[u16]; 12] = [
        &[9500, 500],
        &[5000, 5000],
        &[9999, 1],
        &[1, 9999],
        &[6667, 3333],
        &[10_000],
        &[0, 10_000, 0],
        &[7000, 2000, 700, 300],
        &[3334, 3333, 3333],
        &[9998, 1, 1],
        &[4000, 0, 4000, 2000],
        &[625; 16],
    ];

    #[test]
    fn every_prefix_is_less_than_one_request_off_over_the_end_too() {
        for weights in SOME {
            for seed in 0..3 {
                let sequence = sequence(weights, seed);
                let len = sequence.len() as u64;
                assert!(sequence.len() >= SlotSequence::MIN_SLOTS && sequence.len() < 2 * SlotSequence::MIN_SLOTS);
                let split = split(weights);
                let nothing = vec![0; weights.len()];
                let worst = worst(&split, &nothing, |cursor| sequence.at(cursor), 0..2 * len + 100);
                assert!(worst < REQUEST, "{weights:?}: {worst}");
                assert_eq!(sequence.owed(len), nothing, "{weights:?}: whole periods");
            }
        }
    }

    #[test]
    fn a_cursor_wraps_as_its_remainder() {
        let sequence = sequence(&[6667, 3333], 5);
        let len = sequence.len() as u64;
        let last = u64::MAX / len * len;
        for cursor in (0..len).chain(len - 2..len + 2).chain(last - 2..last + 2).chain(u64::MAX - 9..=u64::MAX) {
            assert_eq!(sequence.slot(cursor) as u64, cursor % len, "{cursor}");
        }
    }

    #[test]
    fn windows_are_at_most_one_request_off_at_95_5_and_50_50_and_less_than_two_always() {
        for weights in SOME {
            let sequence = sequence(weights, 9);
            for length in [2, 7, 100, 1000] {
                let mut count = vec![0i32; weights.len()];
                for cursor in 0..sequence.len() as u64 * 2 {
                    count[sequence.at(cursor)] += 1;
                    if cursor >= length {
                        count[sequence.at(cursor - length)] -= 1;
                    }
                    for (&count, &weight) in count.iter().zip(weights).filter(|_| cursor + 1 >= length) {
                        let off = (i32::from(weight) * length as i32 - count * REQUEST).abs();
                        assert!(off < 2 * REQUEST, "{weights:?} {length} {off}");
                        let round = matches!(weights, [9500, 500] | [5000, 5000]) && length >= 100;
                        assert!(off <= REQUEST || !round, "{weights:?} {length} {off}");
                    }
                }
            }
        }
    }

    /// A client that makes every n-th request. Two versions: as close to its share as independent draws, within five
    /// standard deviations; more: likewise, or within a fifth of its requests where n meets the weights' own period.
    #[test]
    fn periodic_clients_get_about_their_share() {
        for (weights, seed, stride) in every_stride() {
            let sequence = sequence(weights, seed);
            let meets = weights.len() > 2 && stride > 2;
            for first in 0..stride {
                let cursors = (first..sequence.len()).step_by(stride);
                let requests = cursors.len() as f64;
                for (part, &weight) in weights.iter().enumerate() {
                    let got = cursors.clone().filter(|&cursor| sequence.at(cursor as u64) == part).count() as f64;
                    let weight = f64::from(weight) / 1e4;
                    let deviation = (requests * weight * (1.0 - weight)).sqrt().max(1.0);
                    let allowed = if meets { requests / 5.0 } else { 5.0 * deviation };
                    let off = (got - requests * weight).abs();
                    assert!(off < allowed, "{weights:?} seed {seed}: part {part} at {first} + n * {stride}: {off}");
                }
            }
        }
    }

    fn every_stride() -> impl Iterator<Item = (&'static [u16], u64, usize)> {
        let strides = [2, 3, 4, 5, 7, 10, 20].into_iter();
        strides.flat_map(|stride| (0..4).flat_map(move |seed| SOME.into_iter().map(move |w| (w, seed, stride))))
    }

    #[test]
    fn a_seed_decides_the_sequence() {
        let sequence = |seed| sequence(&[7000, 2000, 700, 300], seed);
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        assert_eq!(sequence(1).len(), 16_400);
    }

    /// The number of the first `requests` of `lives` gateways, each of which begins anew, that go to the second
    /// version; and the fewest and the most of one life.
    fn over_lives(split: &Split, lives: u64, requests: u64) -> (usize, usize, usize) {
        let slots = Slots::fresh(split, SlotSequence::new(split, 7).into());
        let each = (0..lives).map(|life| {
            let start = slots.start(life.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            (start..start + requests).filter(|&cursor| slots.at(cursor) == 1).count()
        });
        each.fold((0, usize::MAX, 0), |(all, least, most), count| (all + count, least.min(count), most.max(count)))
    }

    #[test]
    fn a_rare_version_gets_its_share_of_many_short_lives() {
        let (all, least, most) = over_lives(&split(&[9900, 100]), 1_000, 60);
        assert!((500..=700).contains(&all), "{all} of 60 000 requests at 1 %");
        assert_eq!((least, most), (0, 1), "of 60 requests at 1 %");
        let (all, ..) = over_lives(&split(&[9950, 50]), 1_000, 100);
        assert!((375..=625).contains(&all), "{all} of 100 000 requests at 0.5 %");
        let (all, ..) = over_lives(&split(&[7000, 100, 2000, 900]), 1_000, 60);
        assert!((500..=700).contains(&all), "{all} of 60 000 requests at 1 % beside three others");
    }

    #[test]
    fn the_first_hundred_requests_of_every_life_are_exact_at_95_5() {
        let (all, least, most) = over_lives(&split(&[9500, 500]), 1_000, 100);
        assert_eq!((all, least, most), (5_000, 5, 5));
    }

    #[test]
    fn every_start_is_a_whole_period_where_nothing_is_owed() {
        for weights in SOME {
            let split = split(weights);
            let slots = Slots::fresh(&split, SlotSequence::new(&split, 0).into());
            let len = slots.sequence.len() as u64;
            for random in [0, 1, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
                let start = slots.start(random);
                assert!(start < len, "{weights:?}: {start}");
                assert!(slots.owed(start).parts().iter().all(|part| part.1 == 0), "{weights:?}: {start}");
            }
        }
    }

    /// An alias through changes of weights, with a plain count of what it owes since the first of them.
    struct Life {
        slots: Slots,
        cursor: u64,
        owed: Vec<i32>,
        /// The random number for cursors that may begin at any period.
        random: u64,
    }

    impl Life {
        fn begin(split: &Split, seed: u64) -> Self {
            let slots = Slots::fresh(split, SlotSequence::new(split, seed).into());
            Self { cursor: slots.start(seed), slots, owed: vec![0; split.parts().len()], random: seed }
        }

        /// Takes requests and says by how much the worst version was off at any time.
        fn take(&mut self, requests: u64) -> i32 {
            let split = self.slots.split.clone();
            let mut worst = 0;
            for _ in 0..requests {
                self.owed[self.slots.at(self.cursor)] -= REQUEST;
                self.cursor += 1;
                for (owed, (_, weight)) in self.owed.iter_mut().zip(split.parts()) {
                    *owed += i32::from(weight.basis_points());
                    worst = worst.max(owed.abs());
                }
            }
            worst
        }

        fn shift(&mut self, split: &Split, seed: u64) {
            let owed = self.slots.owed(self.cursor);
            self.slots = Slots::carried(split, &owed, seed, || SlotSequence::new(split, seed % 3).into());
            self.cursor = self.slots.start(self.random);
        }
    }

    /// Splits over `n` versions, each above weight 0, often with a short period.
    fn above_zero(n: usize) -> impl Strategy<Value = Split> {
        let weight = prop_oneof![1..=4u64, 1..=100u64, 1..=9000u64];
        vec(weight, n).prop_filter_map("a split", |weights| {
            let shares: Vec<_> =
                (1..).zip(weights).map(|(n, w)| (v(n), crate::value::weight::Share::new(w).unwrap())).collect();
            Split::from_shares(&shares).ok()
        })
    }

    /// Splits and how many requests each is in force.
    fn life(versions: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<(Split, u64)>> {
        let requests = || prop_oneof![0..=3u64, 0..=200u64, 0..=60_000u64];
        versions.prop_flat_map(move |n| vec((above_zero(n), requests()), 2..8))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn any_split_is_exact_after_every_prefix(split in (1..=16usize).prop_flat_map(above_zero), seed in any::<u64>()) {
            let sequence = SlotSequence::new(&split, seed);
            let nothing = vec![0; split.parts().len()];
            prop_assert!(worst(&split, &nothing, |cursor| sequence.at(cursor), 0..sequence.len() as u64) < REQUEST);
            prop_assert_eq!(sequence.owed(sequence.len() as u64), nothing);
        }

        #[test]
        fn up_to_three_versions_stay_exact_over_all_changes_together(life in life(1..=3), seed in any::<u64>()) {
            let mut alias = Life::begin(&life[0].0, seed);
            for (i, (split, requests)) in (0..).zip(&life) {
                if i > 0 {
                    alias.shift(split, seed.wrapping_add(i));
                }
                let owed = |alias: &Life| alias.slots.owed(alias.cursor).parts().iter().map(|part| part.1).collect::<Vec<_>>();
                prop_assert_eq!(&owed(&alias), &alias.owed);
                let worst = alias.take(*requests);
                prop_assert!(worst < REQUEST, "{} in {:?}", worst, split);
                prop_assert_eq!(&owed(&alias), &alias.owed);
            }
        }

        #[test]
        fn two_versions_stay_exact_over_many_changes(
            life in vec((prop_oneof![1..10_000u16, (1..20u16).prop_map(|n| n * 500), Just(5000)], 0..=60u64), 30),
            seed in any::<u64>(),
        ) {
            let mut alias = Life::begin(&split(&[9500, 500]), seed);
            for (i, (weight, requests)) in (0..).zip(life) {
                alias.shift(&split(&[10_000 - weight, weight]), seed.wrapping_add(i));
                let worst = alias.take(requests);
                prop_assert!(worst < REQUEST, "{} at {}", worst, weight);
            }
        }

        #[test]
        fn many_versions_are_less_than_two_requests_off_after_a_change(life in life(4..=16), seed in any::<u64>()) {
            let mut alias = Life::begin(&life[0].0, seed);
            prop_assert!(alias.take(life[0].1) < REQUEST);
            for (i, (split, requests)) in (1..).zip(&life[1..]) {
                // What the alias forgives itself is not counted on: only what the last change adds.
                alias.owed = alias.slots.owed(alias.cursor).parts().iter().map(|part| part.1).collect();
                prop_assert!(alias.owed.iter().all(|owed| owed.abs() < REQUEST));
                alias.shift(split, seed.wrapping_add(i));
                prop_assert!(alias.take(*requests) < 2 * REQUEST);
            }
        }

        /// Versions 1..=5 come, go, and go to weight 0.
        #[test]
        fn leaving_never_makes_the_others_be_owed_more(
            changes in vec((vec(prop_oneof![Just(0u64), 1..=5u64, 1..=9000u64], 5), any::<[bool; 5]>(), 0..=300u64), 1..8),
            seed in any::<u64>(),
        ) {
            let mut alias = Life::begin(&Split::whole(v(1)), seed);
            for (i, (weights, named, requests)) in (0..).zip(changes) {
                let parts = (1..).zip(weights).zip(named).filter(|(_, named)| *named);
                let shares: Vec<_> = parts.map(|((n, w), _)| (v(n), crate::value::weight::Share::new(w).unwrap())).collect();
                let Ok(split) = Split::from_shares(&shares) else { continue };
                let before = alias.slots.owed(alias.cursor);
                let start = before.at_start_of(&split);
                prop_assert_eq!(start.iter().sum::<i32>(), 0);
                for (&(version, weight), &owed) in split.parts().iter().zip(&start) {
                    let before = before.parts().iter().find(|part| part.0 == version).map_or(0, |part| part.1);
                    prop_assert!(owed.abs() <= before.abs() && owed * before >= 0);
                    prop_assert!(owed == 0 || weight > Weight::ZERO);
                }
                alias.shift(&split, seed ^ i);
                let few = split.parts().iter().filter(|(_, weight)| *weight > Weight::ZERO).count() <= 3;
                alias.owed = start;
                let worst = alias.take(requests);
                prop_assert!(worst < if few { REQUEST } else { 2 * REQUEST }, "{} in {:?}", worst, split);
            }
        }
    }

    #[test]
    fn what_was_carried_over_makes_the_same_way_again() {
        let (two, three) = (split(&[5_000, 5_000]), split(&[5_000, 3_000, 2_000]));
        for next in [&split(&[9_000, 1_000]), &three, &split(&[1_000, 6_000, 3_000])] {
            for (before, cursor) in [(&two, 3), (&three, 7), (&three, 16_390)] {
                let sequence = |split: &Split| Arc::new(SlotSequence::new(split, 1));
                let owed = Slots::fresh(before, sequence(before)).owed(cursor);
                let slots = Slots::carried(next, &owed, 9, || sequence(next));
                let Some(told) = slots.carried_over().map(ToString::to_string) else { continue };
                let again = Slots::carried(next, &told.parse().unwrap(), 9, || sequence(next));
                assert_eq!(again, slots, "{told}");
            }
        }
        for wrong in ["", "1", "1=5", "1=-10000,2=10000", "2=5,1=-5", "1=5,1=-5", "x=1,1=-1"] {
            assert!(wrong.parse::<Owed>().is_err(), "{wrong}");
        }
    }
}
