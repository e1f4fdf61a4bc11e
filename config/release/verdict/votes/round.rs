//! One round of the callers' vote: two sets of buckets, who of them has voted, and the bets on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::interval::Sums;
use super::super::odds::Fallen;
use super::super::tally::{Both, Tally};
use super::super::told::Measure;
use super::super::wealth::Wealth;
use super::told::{CallersCause, VoteCounter};
use super::{BUCKETS, BucketCounts, BucketSide, VoteAbout};

/// The ln of the ratio that a bad outcome is worth in `excess` and `drift`: they look for buckets that fail three times as often.
pub(super) const TRIPLE: f64 = 1.098_612_288_668_109_8;
/// The sum of `excess` at which a bucket votes.
const EXCESS: f64 = 1.0;
/// The sum of `drift` at which a bucket votes.
const DRIFT: f64 = 3.0;
/// Past requests that the pooled rate counts for, beside a bucket's own past.
const PRIOR: f64 = 50.0;

/// How many classes of a past there are: no request yet, no bad outcome yet, a bad outcome.
const CLASSES: usize = 3;
/// How many counters have votes.
const COUNTERS: usize = 3;

/// What a stratum brings to every round.
pub(super) struct Betting<'a> {
    pub(super) bad: &'a [BucketCounts],
    /// The pooled rate before it.
    pub(super) rate: f64,
    /// The margin's odds ratio.
    pub(super) null: f64,
}

/// Buckets of one class that have not voted, moved and staying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Unvoted {
    moved: u64,
    staying: u64,
}

/// A bucket that had a bad outcome in this round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Failing {
    bad: u32,
    /// The sum of `drift`.
    drift: f64,
    /// The number of the request that was bad last.
    last: u32,
    /// By counter.
    voted: [bool; COUNTERS],
}

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CallerRound {
    #[serde(with = "packed")]
    sides: Vec<BucketSide>,
    /// Requests of each bucket in the rollout before the round.
    begun: Vec<u32>,
    /// Bad outcomes before the round.
    before: BTreeMap<u16, u32>,
    failing: BTreeMap<u16, Failing>,
    unvoted: [[Unvoted; CLASSES]; COUNTERS],
    /// Buckets compared.
    size: Unvoted,
    /// Bad outcomes in the round.
    bad: Unvoted,
    /// Votes so far, by counter.
    votes: [Unvoted; COUNTERS],
}

impl CallerRound {
    /// `None` when one of both sets is empty, or when what is given is not of all buckets.
    pub(super) fn new(sides: &[BucketSide], begun: &[u32], before: &BTreeMap<u16, u32>) -> Option<Self> {
        if sides.len() != BUCKETS || begun.len() != BUCKETS {
            return None;
        }
        let mut size = Unvoted::default();
        let mut classes = [Unvoted::default(); CLASSES];
        for (bucket, side) in (0_u16..).zip(sides) {
            let past = class(begun[usize::from(bucket)], before.contains_key(&bucket));
            classes[past].add(*side);
            size.add(*side);
        }
        (size.moved > 0 && size.staying > 0).then(|| Self {
            sides: sides.to_vec(),
            begun: begun.to_vec(),
            before: before.clone(),
            failing: BTreeMap::new(),
            unvoted: [classes; COUNTERS],
            size,
            bad: Unvoted::default(),
            votes: Default::default(),
        })
    }

    /// A round over the same two sets that begins now.
    pub(super) fn again(&self, begun: &[u32], before: &BTreeMap<u16, u32>) -> Option<Self> {
        Self::new(&self.sides, begun, before)
    }

    /// Lets buckets vote in a closed stratum, and bets on their sides: one bet for each counter and class that has votes.
    pub(super) fn take(&mut self, betting: &Betting<'_>, wealth: &mut [Wealth]) {
        let mut votes = [[Unvoted::default(); CLASSES]; COUNTERS];
        for entry in betting.bad {
            let side = self.sides.get(usize::from(entry.bucket)).copied().unwrap_or(BucketSide::Out);
            if side == BucketSide::Out {
                continue;
            }
            self.bad.add_many(side, u64::from(entry.bad));
            let past = class(self.start(entry.bucket), self.before.contains_key(&entry.bucket));
            for (counter, is_new) in self.alarms(entry, betting.rate).into_iter().enumerate() {
                if is_new {
                    votes[counter][past].add(side);
                }
            }
        }
        for ((counter, votes), wealth) in votes.iter().enumerate().zip(wealth) {
            for (past, votes) in votes.iter().enumerate().filter(|(_, votes)| **votes != Unvoted::default()) {
                let open = &mut self.unvoted[counter][past];
                let tally = Tally::of;
                let both =
                    Both { stable: tally(open.staying, votes.staying), candidate: tally(open.moved, votes.moved) };
                if let Some(fallen) = Fallen::new(both, betting.null) {
                    wealth.bet(|psi| fallen.ln_ratio(psi));
                }
                open.moved = open.moved.saturating_sub(votes.moved);
                open.staying = open.staying.saturating_sub(votes.staying);
                self.votes[counter].moved += votes.moved;
                self.votes[counter].staying += votes.staying;
            }
        }
    }

    /// By counter, whether the bucket votes now.
    fn alarms(&mut self, entry: &BucketCounts, pooled: f64) -> [bool; COUNTERS] {
        let start = self.start(entry.bucket);
        let begun = entry.begun.saturating_sub(start).max(1);
        let cost = (2.0 * self.expected(entry.bucket, pooled)).ln_1p();
        let failing = self.failing.entry(entry.bucket).or_default();
        failing.bad += entry.bad;
        let since = f64::from(begun.saturating_sub(failing.last));
        failing.drift = (failing.drift - since * cost).max(0.0) + f64::from(entry.bad) * TRIPLE;
        failing.last = begun.max(failing.last);
        let excess = f64::from(failing.bad) * TRIPLE - f64::from(begun) * cost;
        let alarms = [true, excess >= EXCESS, failing.drift >= DRIFT];
        let mut new = [false; COUNTERS];
        for ((new, alarm), voted) in new.iter_mut().zip(alarms).zip(&mut failing.voted) {
            *new = alarm && !*voted;
            *voted |= alarm;
        }
        new
    }

    /// How often requests of the bucket are bad, by its own past and the pooled rate.
    fn expected(&self, bucket: u16, pooled: f64) -> f64 {
        let bad = self.before.get(&bucket).copied().unwrap_or(0);
        (f64::from(bad) + PRIOR * pooled) / (f64::from(self.start(bucket)) + PRIOR)
    }

    /// The score of `sums` of each bucket compared, with its side: how much more than expected was bad, cut off at 4 so that no caller
    /// dominates.
    pub(super) fn scores(&self, begun: &[u32], pooled: f64) -> Vec<(BucketSide, f64)> {
        const MOST: f64 = 4.0;
        let compared = (0_u16..).zip(&self.sides).filter(|(_, side)| **side != BucketSide::Out);
        let score = |(bucket, side): (u16, &BucketSide)| {
            let requests = self.requests(bucket, begun);
            let bad = self.failing.get(&bucket).map_or(0, |failing| failing.bad);
            let cost = if requests == 0 { 0.0 } else { (2.0 * self.expected(bucket, pooled)).ln_1p() };
            (*side, (f64::from(bad) * TRIPLE - f64::from(requests) * cost).clamp(-MOST, MOST))
        };
        compared.map(score).collect()
    }

    fn requests(&self, bucket: u16, begun: &[u32]) -> u32 {
        begun.get(usize::from(bucket)).map_or(0, |now| now.saturating_sub(self.start(bucket)))
    }

    /// Requests of the bucket in the rollout before the round.
    fn start(&self, bucket: u16) -> u32 {
        self.begun.get(usize::from(bucket)).copied().unwrap_or(0)
    }

    /// Bad outcomes per request in this round: staying, moved.
    pub(super) fn rates(&self, begun: &[u32]) -> [f64; 2] {
        let mut requests = Unvoted::default();
        for (bucket, side) in (0_u16..).zip(&self.sides) {
            requests.add_many(*side, u64::from(self.requests(bucket, begun)));
        }
        [(self.bad.staying, requests.staying), (self.bad.moved, requests.moved)]
            .map(|(bad, of)| bad as f64 / of.max(1) as f64)
    }

    /// Each bucket that had a request as one value: staying, moved.
    pub(super) fn shares(&self, begun: &[u32]) -> [Sums; 2] {
        let mut sums = [Sums::default(); 2];
        for (bucket, side) in (0_u16..).zip(&self.sides) {
            let requests = self.requests(bucket, begun);
            let place = match side {
                BucketSide::Staying => 0,
                BucketSide::Moved => 1,
                BucketSide::Out => continue,
            };
            if requests > 0 {
                let bad = self.failing.get(&bucket).map_or(0, |failing| failing.bad);
                sums[place].n += 1.0;
                sums[place].bad += (f64::from(bad) / f64::from(requests)).min(1.0);
            }
        }
        sums
    }

    pub(super) fn moved_with_requests(&self, begun: &[u32]) -> u64 {
        let moved = (0_u16..).zip(&self.sides).filter(|(_, side)| **side == BucketSide::Moved);
        moved.filter(|(bucket, _)| self.requests(*bucket, begun) > 0).count() as u64
    }

    /// The part of the compared buckets that moves.
    pub(super) fn share(&self) -> f64 {
        self.size.moved as f64 / (self.size.moved + self.size.staying) as f64
    }

    pub(super) fn cause(&self, counter: VoteCounter, measure: Measure, about: VoteAbout) -> CallersCause {
        let votes = match counter {
            VoteCounter::First | VoteCounter::FirstRenewed => self.votes[0],
            VoteCounter::Excess | VoteCounter::ExcessRenewed => self.votes[1],
            VoteCounter::Drift => self.votes[2],
            VoteCounter::Sums => self.bad,
        };
        CallersCause {
            about,
            counter,
            moved: votes.moved,
            all: votes.moved + votes.staying,
            moved_buckets: self.size.moved,
            buckets: self.size.moved + self.size.staying,
            e: measure.e,
            needed: measure.needed,
        }
    }
}

impl Unvoted {
    fn add(&mut self, side: BucketSide) {
        self.add_many(side, 1);
    }

    fn add_many(&mut self, side: BucketSide, count: u64) {
        match side {
            BucketSide::Moved => self.moved += count,
            BucketSide::Staying => self.staying += count,
            BucketSide::Out => {}
        }
    }
}

/// The class of a bucket by its past in the rollout.
fn class(begun: u32, has_failed: bool) -> usize {
    match (begun, has_failed) {
        (0, false) => 0,
        (_, false) => 1,
        (_, true) => 2,
    }
}

/// Sides as one text: a letter for each bucket.
mod packed {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::super::BucketSide;

    pub(super) fn serialize<S: Serializer>(sides: &[BucketSide], out: S) -> Result<S::Ok, S::Error> {
        let letter = |side: &BucketSide| match side {
            BucketSide::Staying => 's',
            BucketSide::Moved => 'm',
            BucketSide::Out => '-',
        };
        out.serialize_str(&sides.iter().map(letter).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BucketSide>, D::Error> {
        let side = |letter| match letter {
            's' => Ok(BucketSide::Staying),
            'm' => Ok(BucketSide::Moved),
            '-' => Ok(BucketSide::Out),
            other => Err(D::Error::custom(format!("`{other}` is no side of a bucket; `s`, `m` and `-` are"))),
        };
        String::deserialize(from)?.chars().map(side).collect()
    }
}
