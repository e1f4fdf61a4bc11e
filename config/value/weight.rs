//! Weights in basis points, and splits that sum to 10 000 or do not exist.
//!
//! People write *shares*: non-negative decimals in any sum (`{1: 95, 2: 5}`, `{1: 2, 2: 1}`). [`Split::from_shares`]
//! turns them into weights of exactly 10 000 basis points. No float is involved anywhere.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::value::decimal::show_parts;
use crate::value::name::VersionId;

/// The part of a split that one version gets, in basis points, 0..=10 000. Shown as percent: `5`, `0.05`, `33.33`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// All of the traffic, in basis points.
    pub const WHOLE: u16 = 10_000;
    /// No new pick; rules, override and direct call still reach the version.
    pub const ZERO: Self = Self(0);

    /// A weight of so many basis points; `None` above 10 000.
    #[must_use]
    pub fn new(basis_points: u16) -> Option<Self> {
        (basis_points <= Self::WHOLE).then_some(Self(basis_points))
    }

    /// Basis points, 0..=10 000.
    #[must_use]
    pub fn basis_points(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_parts(self.0.into(), 2))
    }
}

/// What someone wrote as a weight: a decimal from 0 to 10^12 with at most two decimals, in hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u64);

impl Share {
    /// The largest share that can be written.
    pub const MAX: u64 = 1_000_000_000_000;

    /// A share without decimals; `None` above [`Share::MAX`].
    #[must_use]
    pub fn new(units: u64) -> Option<Self> {
        (units <= Self::MAX).then(|| Self(units * 100))
    }

    /// Hundredths of what was written: 550 for `5.5`.
    #[must_use]
    pub fn hundredths(self) -> u64 {
        self.0
    }
}

/// Why a text is not a share. The message says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Not digits with an optional decimal part; a sign, an exponent, a leading zero, `5.` or `.5`.
    #[error("a weight is a plain number from 0, such as 5 or 0.25")]
    Shape,
    /// More than two decimals.
    #[error("a weight has at most two decimals, such as 0.25")]
    Decimals,
    /// Above [`Share::MAX`].
    #[error("a weight is at most 1000000000000")]
    Large,
}

impl FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(units) || !digits(decimals) || (units.len() > 1 && units.starts_with('0')) {
            return Err(ShareError::Shape);
        }
        if decimals.len() > 2 {
            return Err(ShareError::Decimals);
        }
        let units: u64 = units.parse().map_err(|_| ShareError::Large)?;
        let hundredths: u64 = format!("{decimals:0<2}").parse().map_err(|_| ShareError::Shape)?;
        let share = Self(units.checked_mul(100).and_then(|n| n.checked_add(hundredths)).ok_or(ShareError::Large)?);
        if share.0 <= Self::MAX * 100 { Ok(share) } else { Err(ShareError::Large) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_parts(self.0, 2))
    }
}

/// The weights of an alias: 1 to 16 versions in ascending order, each once, that sum to exactly 10 000 basis points.
/// Shown as `1: 95, 2: 5`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Split(Arc<[(VersionId, Weight)]>);

/// Why parts are not a split. The message says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No version at all.
    #[error("a split names at least one version")]
    Empty,
    /// More than [`Split::MAX_VERSIONS`]; says how many.
    #[error("a split has at most 16 versions, and this one has {0}")]
    TooMany(usize),
    /// The same version twice.
    #[error("version {0} is named twice; name it once")]
    Duplicate(VersionId),
    /// Every weight is 0.
    #[error(
        "all weights are 0; give a version a weight above 0 (to close an alias, point it to a `response:` version)"
    )]
    AllZero,
    /// A share above 0 that would become a weight of 0.
    #[error("the weight of version {0} rounds to 0 %; make it at least 0.01 % of the sum, or 0")]
    RoundsToZero(VersionId),
    /// Exact weights with another sum than 10 000 basis points; says which.
    #[error("weights sum to 10000 basis points, and these sum to {0}")]
    Sum(u32),
}

impl Split {
    /// The most versions in one split.
    pub const MAX_VERSIONS: usize = 16;

    /// Everything to one version.
    #[must_use]
    pub fn whole(version: VersionId) -> Self {
        Self(Arc::new([(version, Weight(Weight::WHOLE))]))
    }

    /// A split of exactly these weights, in any order.
    ///
    /// # Errors
    /// No or more than 16 versions, a version twice, a sum other than 10 000.
    pub fn new(parts: impl IntoIterator<Item = (VersionId, Weight)>) -> Result<Self, SplitError> {
        let parts = in_order(parts)?;
        match parts.iter().map(|(_, weight)| u32::from(weight.0)).sum() {
            10_000 => Ok(Self(parts.into())),
            sum => Err(SplitError::Sum(sum)),
        }
    }

    /// The split closest to these shares, in any order and any sum above zero: Webster's method (Sainte-Laguë) with
    /// 10 000 seats, ties to the lower version. Raising one share never raises the weight of another version.
    ///
    /// # Errors
    /// No or more than 16 versions, a version twice, only zeros, a share above 0 that rounds to a weight of 0.
    pub fn from_shares(shares: &[(VersionId, Share)]) -> Result<Self, SplitError> {
        let shares = in_order(shares.iter().copied())?;
        if shares.iter().all(|(_, share)| share.0 == 0) {
            return Err(SplitError::AllZero);
        }
        let seats = webster(&shares.iter().map(|(_, share)| share.0).collect::<Vec<_>>());
        let parts = shares.iter().zip(seats).map(|(&(version, share), seats)| match seats {
            0 if share.0 > 0 => Err(SplitError::RoundsToZero(version)),
            _ => Ok((version, Weight(seats))),
        });
        Ok(Self(parts.collect::<Result<_, _>>()?))
    }

    /// Versions and weights, ascending by version; weights of 0 included.
    #[must_use]
    pub fn parts(&self) -> &[(VersionId, Weight)] {
        &self.0
    }

    /// The weights in the order of [`Split::parts`]: splits with equal weights share their slot sequence.
    #[must_use]
    pub fn weights(&self) -> Vec<Weight> {
        self.0.iter().map(|&(_, weight)| weight).collect()
    }

    /// What a version gets; 0 for one that the split does not name.
    #[must_use]
    pub fn weight(&self, version: VersionId) -> Weight {
        self.0.iter().find(|(v, _)| *v == version).map_or(Weight::ZERO, |&(_, weight)| weight)
    }

    /// The versions above weight 0, ascending; at least one.
    pub fn served(&self) -> impl DoubleEndedIterator<Item = VersionId> + '_ {
        self.0.iter().filter(|(_, weight)| *weight > Weight::ZERO).map(|&(version, _)| version)
    }

    /// The highest version above weight 0.
    #[must_use]
    pub fn highest(&self) -> VersionId {
        self.served().next_back().expect("the weights sum to 10 000")
    }

    /// The version with the largest weight; of several, the lowest.
    #[must_use]
    pub fn largest(&self) -> VersionId {
        let (mut largest, mut most) = self.0[0];
        for &(version, weight) in &self.0[1..] {
            if weight > most {
                (largest, most) = (version, weight);
            }
        }
        largest
    }
}

/// Parts ascending by version, 1 to 16 of them, each version once.
fn in_order<T>(parts: impl IntoIterator<Item = (VersionId, T)>) -> Result<Vec<(VersionId, T)>, SplitError> {
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|&(version, _)| version);
    if let Some(pair) = parts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(SplitError::Duplicate(pair[0].0));
    }
    match parts.len() {
        0 => Err(SplitError::Empty),
        1..=Split::MAX_VERSIONS => Ok(parts),
        n => Err(SplitError::TooMany(n)),
    }
}

/// 10 000 seats by Webster's method. At least one share is above 0.
///
/// Seats go one after the other to the highest `share / (2 * seats + 1)`, the earlier part first. Rounding
/// every quota gives the state of that process after some number of seats close to 10 000; the rest is given or taken.
fn webster(shares: &[u64]) -> Vec<u16> {
    let sum: u128 = shares.iter().map(|&share| u128::from(share)).sum();
    let house = u128::from(Weight::WHOLE);
    // Half a seat is rounded down, so that of equal claims none is met before the loops below order them.
    let mut seats: Vec<u128> =
        shares.iter().map(|&share| (2 * u128::from(share) * house + sum - 1) / (2 * sum)).collect();
    // Whether part i's claim, share over (2 * its seats + odd), is above part j's.
    let above = |seats: &[u128], i: usize, j: usize, odd: i8| {
        let divisor = |part: usize| if odd > 0 { 2 * seats[part] + 1 } else { 2 * seats[part] - 1 };
        u128::from(shares[i]) * divisor(j) > u128::from(shares[j]) * divisor(i)
    };
    while seats.iter().sum::<u128>() < house {
        let next = (0..shares.len()).reduce(|best, i| if above(&seats, i, best, 1) { i } else { best });
        seats[next.expect("a split has a part")] += 1;
    }
    while seats.iter().sum::<u128>() > house {
        let seated = (0..shares.len()).filter(|&i| seats[i] > 0);
        let last = seated.reduce(|worst, i| if above(&seats, i, worst, -1) { worst } else { i });
        seats[last.expect("more than 10 000 seats are taken")] -= 1;
    }
    seats.into_iter().map(|n| u16::try_from(n).expect("no part has more than 10 000 seats")).collect()
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(v, w)| (v, w.0))).finish()
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (version, weight)) in self.0.iter().enumerate() {
            write!(f, "{}{version}: {weight}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn v(n: u32) -> VersionId {
        VersionId::number(n).unwrap()
    }

    fn shares(texts: &[&str]) -> Vec<(VersionId, Share)> {
        (1..).zip(texts).map(|(n, text)| (v(n), text.parse().unwrap())).collect()
    }

    fn weights(shares: &[(VersionId, Share)]) -> Vec<u16> {
        Split::from_shares(shares).unwrap().parts().iter().map(|(_, w)| w.basis_points()).collect()
    }

    #[test]
    fn a_share_is_a_plain_decimal() {
        for (text, hundredths) in
            [("0", 0), ("5", 500), ("5.5", 550), ("0.05", 5), ("95.00", 9500), ("1000000000000", 100_000_000_000_000)]
        {
            assert_eq!(text.parse::<Share>().map(Share::hundredths), Ok(hundredths), "{text}");
        }
        for text in ["", ".5", "5.", "-5", "+5", "1e3", "05", "0x5", "5 ", "5,5", "5.-1", "1.2.3", "٥", "NaN"] {
            assert_eq!(text.parse::<Share>(), Err(ShareError::Shape), "{text}");
        }
        assert_eq!("0.125".parse::<Share>(), Err(ShareError::Decimals));
        for text in ["1000000000000.01", "1000000000001", "99999999999999999999999", "18446744073709551615"] {
            assert_eq!(text.parse::<Share>(), Err(ShareError::Large), "{text}");
        }
    }

    #[test]
    fn weights_and_splits_are_shown_as_percent() {
        for (text, shown) in [("5", "5"), ("5.50", "5.5"), ("0.05", "0.05"), ("10.1", "10.1"), ("0", "0")] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), shown);
        }
        assert_eq!(Weight(3333).to_string(), "33.33");
        assert_eq!(Weight(10_000).to_string(), "100");
        assert_eq!(Split::from_shares(&shares(&["95", "5"])).unwrap().to_string(), "1: 95, 2: 5");
        assert_eq!(Split::from_shares(&shares(&["2", "1"])).unwrap().to_string(), "1: 66.67, 2: 33.33");
    }

    #[test]
    fn shares_of_any_sum_become_exact_weights_with_ties_to_the_lower_version() {
        assert_eq!(weights(&shares(&["1", "1", "1"])), [3334, 3333, 3333]);
        assert_eq!(weights(&shares(&["0.01", "99.99", "0"])), [1, 9999, 0]);
        assert_eq!(weights(&shares(&["1000000000000", "1000000000000"])), [5000, 5000]);
        assert_eq!(weights(&shares(&["0", "7"])), [0, 10_000]);
        let unordered = [(v(2), Share(500)), (VersionId::Latest, Share(0)), (v(1), Share(9500))];
        let split = Split::from_shares(&unordered).unwrap();
        assert_eq!(split.to_string(), "1: 95, 2: 5, $LATEST: 0");
        assert_eq!((split.largest(), split.weight(v(2)), split.weight(v(9))), (v(1), Weight(500), Weight::ZERO));
        assert_eq!(Split::from_shares(&shares(&["0", "5", "5"])).unwrap().largest(), v(2));
    }

    #[test]
    fn what_is_no_split_says_why() {
        let error = |texts: &[&str]| Split::from_shares(&shares(texts)).unwrap_err();
        assert_eq!(error(&[]), SplitError::Empty);
        assert_eq!(error(&["1"; 17]), SplitError::TooMany(17));
        assert_eq!(error(&["0", "0"]), SplitError::AllZero);
        assert_eq!(error(&["100000", "1"]), SplitError::RoundsToZero(v(2)));
        assert_eq!(Split::from_shares(&[(v(3), Share(1)); 2]), Err(SplitError::Duplicate(v(3))));
        assert_eq!(Split::new([(v(1), Weight(9500)), (v(2), Weight(400))]), Err(SplitError::Sum(9900)));
        assert_eq!(Split::new([(v(2), Weight(1)), (v(1), Weight(9999))]).unwrap().to_string(), "1: 99.99, 2: 0.01");
        assert_eq!(Split::new([]), Err(SplitError::Empty));
    }

    /// One seat at a time to the highest claim, the earlier part first: the definition.
    fn webster_oracle(shares: &[u64]) -> Vec<u16> {
        let mut seats = vec![0u16; shares.len()];
        for _ in 0..Weight::WHOLE {
            let mut best = 0;
            for i in 1..shares.len() {
                let claim = |i: usize, by: usize| u128::from(shares[i]) * (2 * u128::from(seats[by]) + 1);
                if claim(i, best) > claim(best, i) {
                    best = i;
                }
            }
            seats[best] += 1;
        }
        seats
    }

    fn some_shares() -> impl Strategy<Value = Vec<u64>> {
        let share = prop_oneof![0..=20u64, 0..=10_000u64, 0..=Share::MAX * 100];
        vec(share, 1..=16).prop_filter("a share above 0", |shares| shares.iter().any(|&s| s > 0))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn webster_is_its_definition(shares in some_shares()) {
            prop_assert_eq!(webster(&shares), webster_oracle(&shares));
        }

        #[test]
        fn raising_one_share_raises_no_other_weight(shares in some_shares(), at in any::<prop::sample::Index>(), by in 1..=10_000u64) {
            let mut raised = shares.clone();
            let at = at.index(shares.len());
            raised[at] += by;
            for (i, (before, after)) in webster(&shares).into_iter().zip(webster(&raised)).enumerate() {
                if i == at { prop_assert!(after >= before) } else { prop_assert!(after <= before) }
            }
        }

        #[test]
        fn what_is_shown_reads_back(weight in 1..10_000u16) {
            let split = Split::new([(v(1), Weight(weight)), (v(2), Weight(10_000 - weight))]).unwrap();
            let texts = split.weights().iter().map(Weight::to_string).collect::<Vec<_>>();
            let again = shares(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(Split::from_shares(&again).unwrap(), split);
        }
    }
}
