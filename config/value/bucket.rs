//! Routing key -> bucket -> version: which callers a version gets, and who moves when weights change.
//!
//! # The public contract
//! Every hash is XXH3-64 with seed 0, so that `xxhsum -H3` repeats it:
//! - salt = XXH3-64 of the text `<function>:<alias>:<version that joined>`, such as `shop:prod:2`; a salt with a name
//!   is XXH3-64 of that name (so the name `shop:prod:2` keeps that cohort);
//! - key hash = XXH3-64 of the salt's 8 bytes, least significant first, followed by the bytes of the key;
//! - bucket = (key hash × 10 000) >> 64, of 0..10 000.
//!
//! | salt text | salt | key | key hash | bucket |
//! |---|---|---|---|---|
//! | `shop:prod:2` | `0x204354f7fcd3020b` | (empty) | `0xee8314c75126a989` | 9316 |
//! | `shop:prod:2` | `0x204354f7fcd3020b` | `alice` | `0xf9dc0c83280686fc` | 9760 |
//! | `shop:prod:2` | `0x204354f7fcd3020b` | `bob` | `0x98d2600260063d8d` | 5969 |
//! | `shop:prod:3` | `0x9d318b8e6a17dc34` | `alice` | `0xe1e3222ea694e1c8` | 8823 |
//! | `train-7` | `0xd84eef58613d88b1` | `alice` | `0xc393de5e82d16637` | 7639 |
//!
//! # Which version holds a bucket
//! With one or two versions above weight 0 it follows from the weights alone: the higher version holds `[0, w)`. With
//! three or more it is history, see [`Buckets::reassign`].

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::value::name::{AliasName, FunctionName, VersionId};
use crate::value::weight::{Split, Weight};

/// How many buckets there are: one for each basis point.
const BUCKETS: u16 = Weight::WHOLE;

/// Keys up to this length, in bytes, are hashed in one piece.
const SHORT_KEY: usize = 248;

/// The hash of a routing key. Does not allocate.
#[inline]
#[must_use]
pub fn key_hash(salt: u64, key: &[u8]) -> u64 {
    let salt = salt.to_le_bytes();
    if key.len() <= SHORT_KEY {
        let mut text = [0; 8 + SHORT_KEY];
        text[..8].copy_from_slice(&salt);
        text[8..8 + key.len()].copy_from_slice(key);
        xxh3_64(&text[..8 + key.len()])
    } else {
        let mut hash = Xxh3::new();
        hash.update(&salt);
        hash.update(key);
        hash.digest()
    }
}

/// The bucket of a key hash, 0..10 000.
#[inline]
#[must_use]
pub fn bucket(hash: u64) -> u16 {
    let scaled = u128::from(hash) * u128::from(BUCKETS);
    u16::try_from(scaled >> 64).expect("a hash below 2^64 scales to below 10 000")
}

/// The salt of an alias. `joined` is the version that joined when the alias last went from one version to several: the
/// same candidate gets the same callers on every node and after every restart, the next candidate gets others.
#[must_use]
pub fn salt(function: &FunctionName, alias: &AliasName, joined: VersionId) -> u64 {
    named_salt(&format!("{function}:{alias}:{joined}"))
}

/// The salt of everything that shares the cohort `name`.
#[must_use]
pub fn named_salt(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Which version holds each of the 10 000 buckets, as runs. Equal neighbours are one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets(Arc<[Run]>);

/// Neighbouring buckets that came to one version in one edit: from the end of the run before (0 for the first) up to
/// `end`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// One past the last bucket, 1..=10 000.
    pub end: u16,
    /// Rank of the edit that brought them: 0 is the oldest. Ranks have no gaps.
    pub arrived: u16,
    /// Who holds them.
    pub version: VersionId,
}

/// Why runs are not the buckets of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunsError {
    /// A run ends where or before it starts; says where it ends.
    #[error("runs of buckets rise, and the run that ends at {0} does not")]
    Order(u16),
    /// The last run ends elsewhere (0: there is none).
    #[error("runs of buckets end at 10000, and the last one ends at {0}")]
    Last(u16),
    /// A version holds more or fewer buckets than its weight.
    #[error("version {version} holds {holds} buckets, and its weight is {weight} basis points")]
    Count { version: VersionId, holds: u16, weight: u16 },
    /// One or two versions, and other buckets than those that follow from the weights.
    #[error("with one or two versions the buckets follow from the weights: the higher version holds the first ones")]
    History,
}

impl Buckets {
    /// The buckets of a split without history: ranges by version number, the highest version first. So with two
    /// versions the higher one holds `[0, w)`.
    #[must_use]
    pub fn cold(split: &Split) -> Self {
        let served = split.parts().iter().rev().filter(|(_, weight)| *weight > Weight::ZERO);
        let mut end = 0;
        let runs = served.map(|&(version, weight)| {
            end += weight.basis_points();
            Run { end, arrived: 0, version }
        });
        Self(runs.collect())
    }

    /// Buckets from stored runs.
    ///
    /// # Errors
    /// The runs do not rise to 10 000, hold other counts than `split` says, or differ from [`Buckets::cold`] where
    /// there is no history.
    pub fn from_runs(runs: &[Run], split: &Split) -> Result<Self, RunsError> {
        if let Some(pair) = runs.windows(2).find(|pair| pair[1].end <= pair[0].end) {
            return Err(RunsError::Order(pair[1].end));
        }
        match (runs.first(), runs.last()) {
            (Some(Run { end: 0, .. }), _) => return Err(RunsError::Order(0)),
            (_, Some(Run { end: BUCKETS, .. })) => {}
            (_, last) => return Err(RunsError::Last(last.map_or(0, |run| run.end))),
        }
        let buckets = Self(runs_of(holders(runs)));
        for &(version, weight) in split.parts() {
            let (holds, weight) = (buckets.count(version), weight.basis_points());
            if holds != weight {
                return Err(RunsError::Count { version, holds, weight });
            }
        }
        if follows_from_weights(split) && !buckets.is_cold(split) { Err(RunsError::History) } else { Ok(buckets) }
    }

    /// The buckets after an edit of the weights.
    ///
    /// To a split with one or two versions above weight 0: [`Buckets::cold`], whatever was before. So on the way from
    /// three versions to two also callers of the two that stay may move, from one to the other: all those whose bucket
    /// lies elsewhere in the cold ranges.
    ///
    /// To a split with three or more: exact counts with the fewest moves, only from versions that lose to versions that
    /// gain. A version gives up its latest arrivals first: its buckets from runs with the highest `arrived`. Of
    /// buckets that arrived together, the version that holds bucket 0 gives the highest ones and every other version
    /// the lowest ones (between two versions that is their common border, so it is the order in which they came).
    /// What was given up is dealt in ascending order, first to the highest version that gains.
    #[must_use]
    pub fn reassign(&self, new: &Split) -> Self {
        if follows_from_weights(new) {
            return Self::cold(new);
        }
        let mut holders: Vec<Holder> = holders(&self.0).collect();
        let mut given = given_up(&holders, new);
        given.sort_unstable();
        let arrived = 1 + holders.iter().map(|holder| holder.arrived).max().expect("there are 10 000 buckets");
        let mut given = given.into_iter();
        for &(version, weight) in new.parts().iter().rev() {
            let gain = weight.basis_points().saturating_sub(self.count(version));
            for at in given.by_ref().take(gain.into()) {
                holders[at] = Holder { arrived, version };
            }
        }
        Self(runs_of(holders))
    }

    /// The version that holds a bucket.
    ///
    /// # Panics
    /// If `bucket` is not one of 0..10 000.
    #[inline]
    #[must_use]
    pub fn version(&self, bucket: u16) -> VersionId {
        self.0[self.0.partition_point(|run| run.end <= bucket)].version
    }

    /// The runs in ascending order; the last ends at 10 000.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// How many buckets a version holds.
    #[must_use]
    pub fn count(&self, version: VersionId) -> u16 {
        let starts = std::iter::once(0).chain(self.0.iter().map(|run| run.end));
        let own = starts.zip(self.0.iter()).filter(|(_, run)| run.version == version);
        own.map(|(start, run)| run.end - start).sum()
    }

    /// Whether these are the buckets of a split without history, which need not be stored.
    #[must_use]
    pub fn is_cold(&self, split: &Split) -> bool {
        *self == Self::cold(split)
    }
}

/// At most two versions have a weight above 0: no history.
fn follows_from_weights(split: &Split) -> bool {
    split.parts().iter().filter(|(_, weight)| *weight > Weight::ZERO).count() <= 2
}

/// Who holds one bucket, and since which edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    arrived: u16,
    version: VersionId,
}

/// The holder of each bucket, ascending.
fn holders(runs: &[Run]) -> impl Iterator<Item = Holder> {
    let starts = std::iter::once(0).chain(runs.iter().map(|run| run.end));
    starts.zip(runs).flat_map(|(start, run)| {
        std::iter::repeat_n(Holder { arrived: run.arrived, version: run.version }, (run.end - start).into())
    })
}

/// The buckets that versions lose, in no order: of each loser its latest arrivals.
fn given_up(holders: &[Holder], new: &Split) -> Vec<usize> {
    let mut held: BTreeMap<VersionId, Vec<usize>> = BTreeMap::new();
    for (at, holder) in holders.iter().enumerate() {
        held.entry(holder.version).or_default().push(at);
    }
    let mut given = Vec::new();
    for (version, mut own) in held {
        let loss = own.len().saturating_sub(new.weight(version).basis_points().into());
        if own[0] == 0 {
            own.reverse();
        }
        own.sort_by_key(|&at| std::cmp::Reverse(holders[at].arrived));
        given.extend(&own[..loss]);
    }
    given
}

/// 10 000 holders as runs, with ranks of arrival without gaps.
fn runs_of(holders: impl IntoIterator<Item = Holder>) -> Arc<[Run]> {
    let mut runs: Vec<Run> = Vec::new();
    for (end, Holder { arrived, version }) in (1..).zip(holders) {
        match runs.last_mut() {
            Some(run) if run.version == version && run.arrived == arrived => run.end = end,
            _ => runs.push(Run { end, arrived, version }),
        }
    }
    let mut ranks: Vec<u16> = runs.iter().map(|run| run.arrived).collect();
    ranks.sort_unstable();
    ranks.dedup();
    for run in &mut runs {
        let rank = ranks.binary_search(&run.arrived).expect("every arrival is ranked");
        run.arrived = u16::try_from(rank).expect("at most 10 000 arrivals");
    }
    runs.into()
}

/// The runs that a stored line such as `0-499 2@1, 500-9999 1` tells of; `None` for any other text.
pub(crate) fn parse_runs(text: &str) -> Option<Vec<Run>> {
    let mut runs = Vec::new();
    let mut next = 0u16;
    for part in text.split(',') {
        let (range, holder) = part.trim().split_once(' ')?;
        let (first, last) = range.split_once('-')?;
        let (version, arrived) = holder.split_once('@').unwrap_or((holder, "0"));
        let last: u16 = last.parse().ok()?;
        if first.parse() != Ok(next) || last >= Weight::WHOLE || last < next {
            return None;
        }
        next = last + 1;
        runs.push(Run { end: next, arrived: arrived.parse().ok()?, version: version.parse().ok()? });
    }
    Some(runs)
}

/// The text that [`parse_runs`] reads.
pub(crate) fn show_runs(buckets: &Buckets) -> String {
    let mut first = 0;
    let runs = buckets.runs().iter().map(|run| {
        let arrived = if run.arrived == 0 { String::new() } else { format!("@{}", run.arrived) };
        let text = format!("{first}-{} {}{arrived}", run.end - 1, run.version);
        first = run.end;
        text
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn v(n: u32) -> VersionId {
        VersionId::number(n).unwrap()
    }

    /// `(version, basis points)`.
    fn split(parts: &[(u32, u16)]) -> Split {
        Split::new(parts.iter().map(|&(n, w)| (v(n), Weight::new(w).unwrap()))).unwrap()
    }

    /// `(end, version)`.
    fn ends(buckets: &Buckets) -> Vec<(u16, u32)> {
        let number = |id| (1..100).find(|&n| v(n) == id).unwrap();
        buckets.runs().iter().map(|run| (run.end, number(run.version))).collect()
    }

    /// Computed with the reference implementation of XXH3 (xxhash 0.8), not with this code.
    #[test]
    fn hashes_are_the_public_contract() {
        let long = |n| "x".repeat(n);
        for (text, key, hash, expected) in [
            ("shop:prod:2", String::new(), 0xee83_14c7_5126_a989, 9316),
            ("shop:prod:2", "alice".into(), 0xf9dc_0c83_2806_86fc, 9760),
            ("shop:prod:2", "bob".into(), 0x98d2_6002_6006_3d8d, 5969),
            ("shop:prod:3", "alice".into(), 0xe1e3_222e_a694_e1c8, 8823),
            ("train-7", "alice".into(), 0xc393_de5e_82d1_6637, 7639),
            ("shop:$DEFAULT:$LATEST", long(240), 0xba12_a1e6_dcb1_4fb8, 7268),
            ("shop:$DEFAULT:$LATEST", long(248), 0x61d3_77d9_8fc5_2cab, 3821),
            ("shop:$DEFAULT:$LATEST", long(249), 0x4f77_a4ea_ebad_ec86, 3104),
            ("shop:$DEFAULT:$LATEST", long(2000), 0xe0f0_eac6_5fec_3d35, 8786),
        ] {
            assert_eq!(key_hash(named_salt(text), key.as_bytes()), hash, "{text} {key}");
            assert_eq!(bucket(hash), expected);
        }
        let (function, alias) = ("shop".parse().unwrap(), "prod".parse().unwrap());
        assert_eq!(salt(&function, &alias, v(2)), 0x2043_54f7_fcd3_020b);
        assert_eq!(
            salt(&function, &AliasName::default_alias(), VersionId::Latest),
            named_salt("shop:$DEFAULT:$LATEST")
        );
        assert_eq!([bucket(0), bucket(u64::MAX), bucket(1 << 63)], [0, 9999, 5000]);
    }

    #[test]
    fn the_higher_of_two_versions_holds_the_first_buckets() {
        let cold = |parts| ends(&Buckets::cold(&split(parts)));
        assert_eq!(cold(&[(1, 9500), (2, 500)]), [(500, 2), (10_000, 1)]);
        assert_eq!(cold(&[(1, 7000), (2, 2000), (3, 1000)]), [(1000, 3), (3000, 2), (10_000, 1)]);
        assert_eq!(cold(&[(1, 0), (7, 10_000), (9, 0)]), [(10_000, 7)]);
        let buckets = Buckets::cold(&split(&[(1, 9500), (2, 500)]));
        assert_eq!([0, 499, 500, 9999].map(|bucket| buckets.version(bucket)), [v(2), v(2), v(1), v(1)]);
    }

    #[test]
    fn latest_arrivals_leave_first() {
        let edit = |buckets: &Buckets, parts| buckets.reassign(&split(parts));
        let two = Buckets::cold(&split(&[(1, 9500), (2, 500)]));
        // Version 3 joins at the border of 1 and 2, where the latest arrivals of both are.
        let three = edit(&two, &[(1, 9300), (2, 400), (3, 300)]);
        assert_eq!(ends(&three), [(400, 2), (700, 3), (10_000, 1)]);
        let raised = edit(&three, &[(1, 9000), (2, 400), (3, 600)]);
        assert_eq!(ends(&raised), [(400, 2), (700, 3), (1000, 3), (10_000, 1)]);
        // What 3 got last is what it gives up first, although 1 could take from either end.
        assert_eq!(edit(&raised, &[(1, 9300), (2, 400), (3, 300)]).version(699), v(3));
        let moved = edit(&raised, &[(1, 9000), (2, 700), (3, 300)]);
        assert_eq!(ends(&moved), [(400, 2), (700, 3), (1000, 2), (10_000, 1)]);
        assert_eq!(ends(&edit(&moved, &[(1, 9300), (2, 400), (3, 300)])), [(400, 2), (700, 3), (1000, 1), (10_000, 1)]);
        // Two versions have no history.
        assert_eq!(ends(&edit(&moved, &[(1, 9000), (3, 1000)])), [(1000, 3), (10_000, 1)]);
    }

    #[test]
    fn runs_that_are_not_the_buckets_of_the_split_are_refused() {
        let three = split(&[(1, 5000), (2, 3000), (3, 2000)]);
        let run = |end, n| Run { end, arrived: 0, version: v(n) };
        let error = |runs: &[Run]| Buckets::from_runs(runs, &three).unwrap_err();
        assert_eq!(error(&[]), RunsError::Last(0));
        assert_eq!(error(&[run(0, 1), run(10_000, 1)]), RunsError::Order(0));
        assert_eq!(error(&[run(5000, 1), run(5000, 2)]), RunsError::Order(5000));
        assert_eq!(error(&[run(5000, 1), run(8000, 2), run(9999, 3)]), RunsError::Last(9999));
        assert_eq!(error(&[run(5000, 1), run(8000, 2), run(10_001, 3)]), RunsError::Last(10_001));
        let count = RunsError::Count { version: v(2), holds: 2999, weight: 3000 };
        assert_eq!(error(&[run(5000, 1), run(7999, 2), run(10_000, 3)]), count);
        let stranger = [run(5000, 1), run(7999, 2), run(8000, 4), run(10_000, 3)];
        assert_eq!(error(&stranger), count);
        let two = split(&[(2, 9999), (4, 1), (5, 0)]);
        assert!(Buckets::from_runs(&[run(1, 4), run(10_000, 2)], &two).is_ok());
        let two = split(&[(1, 5000), (2, 5000)]);
        assert_eq!(Buckets::from_runs(&[run(5000, 1), run(10_000, 2)], &two), Err(RunsError::History));
    }

    /// Splits over some of the versions 1..=5, zero weights among them.
    fn some_split() -> impl Strategy<Value = Split> {
        let weight = prop_oneof![Just(0u64), Just(1), 1..=100u64, 1..=10_000u64];
        vec((1..=5u32, weight), 1..=5).prop_filter_map("a split", |parts| {
            let shares: BTreeMap<u32, u64> = parts.into_iter().collect();
            let shares: Vec<_> =
                shares.into_iter().map(|(n, w)| (v(n), crate::value::weight::Share::new(w).unwrap())).collect();
            Split::from_shares(&shares).ok()
        })
    }

    fn all(buckets: &Buckets) -> Vec<VersionId> {
        (0..BUCKETS).map(|bucket| buckets.version(bucket)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Against a plain array of 10 000 versions, each with the number of the edit that brought it.
        #[test]
        fn edits_move_the_fewest_callers(first in some_split(), edits in vec(some_split(), 1..12)) {
            let mut buckets = Buckets::cold(&first);
            let mut before = all(&buckets);
            let mut came = vec![0; before.len()];
            for (edit, new) in (1..).zip(&edits) {
                buckets = buckets.reassign(new);
                let after = all(&buckets);
                let count = |all: &[VersionId], version| all.iter().filter(|&&v| v == version).count();
                for n in 1..=5 {
                    prop_assert_eq!(count(&after, v(n)), usize::from(new.weight(v(n)).basis_points()));
                    prop_assert_eq!(count(&after, v(n)), usize::from(buckets.count(v(n))));
                }
                prop_assert_eq!(Buckets::from_runs(buckets.runs(), new), Ok(buckets.clone()));
                if new.parts().iter().filter(|(_, w)| *w > Weight::ZERO).count() <= 2 {
                    prop_assert!(buckets.is_cold(new));
                    came.fill(0);
                } else {
                    let gains: BTreeMap<_, _> =
                        (1..=5).map(|n| (v(n), count(&after, v(n)).saturating_sub(count(&before, v(n))))).collect();
                    let gain = |version: VersionId| gains[&version];
                    let moved: Vec<usize> = (0..after.len()).filter(|&at| after[at] != before[at]).collect();
                    prop_assert_eq!(moved.len(), (1..=5).map(|n| gain(v(n))).sum::<usize>());
                    let mut latest = BTreeMap::new();
                    for at in (0..after.len()).filter(|&at| after[at] == before[at]) {
                        let latest: &mut i32 = latest.entry(before[at]).or_default();
                        *latest = came[at].max(*latest);
                    }
                    for at in moved {
                        prop_assert!(gain(after[at]) > 0 && gain(before[at]) == 0);
                        // Nobody who stayed came later than one who left.
                        prop_assert!(latest.get(&before[at]).is_none_or(|&latest| latest <= came[at]));
                        came[at] = edit;
                    }
                }
                before = after;
            }
        }

        #[test]
        fn lowering_and_raising_brings_back_the_same_callers(low in 0..=10_000u16, high in 0..=10_000u16) {
            let at = |w| Buckets::cold(&split(&[(3, 10_000 - w), (8, w)]));
            let (few, many) = (at(low.min(high)), at(low.max(high)));
            prop_assert_eq!(&few.reassign(&split(&[(3, 10_000 - low.max(high)), (8, low.max(high))])), &many);
            for (few, many) in all(&few).into_iter().zip(all(&many)) {
                prop_assert!(few == many || (few, many) == (v(3), v(8)));
            }
        }

        #[test]
        fn keys_spread_evenly_and_salts_are_independent(first in any::<u64>(), other in any::<u64>()) {
            prop_assume!(first != other);
            let (mut hits, mut both) = (0i32, 0i32);
            for key in 0..20_000u32 {
                let low = |salt| i32::from(bucket(key_hash(salt, key.to_string().as_bytes())) < 2000);
                hits += low(first);
                both += low(first) * low(other);
            }
            // Six standard deviations: 4000 and 800 expected.
            prop_assert!((hits - 4000).abs() < 340 && (both - 800).abs() < 170, "{} {}", hits, both);
        }
    }
}
