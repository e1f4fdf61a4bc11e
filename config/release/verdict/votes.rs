//! The callers' vote: whether the candidate is worse where routing keys tie callers to a side, judged by caller and not by request.
//!
//! # What is random
//! A key falls into a bucket by a hash whose salt is new for each candidate. If candidate and stable are the same, what the callers of a
//! bucket do is the same whether their bucket is moved or not: requests, retries, failures, times. So among the buckets that were on
//! stable before a step, which ones the step moves is a uniform draw, independent of all outcomes, however dependent these are within a
//! caller, between callers, or over time. That is the only assumption: requests need not be independent, and are not.
//!
//! # Rounds and votes
//! A rise of the weight begins a *long round*: the buckets that it moves are compared with those that stay on stable; buckets moved
//! earlier take no part. 60, 120, 240 … seconds later a *renewed round* begins over the same two sets, for defects that come late. Buckets are
//! compared within a class by their own past: no request yet, no failure yet, failed before.
//!
//! A bucket votes once in each round and for each counter, when it first alarms: `first` at its first bad outcome; `excess` when its bad
//! outcomes outweigh what its past lets expect; `drift` when a run of them does (a sum that is held above 0). When a stratum is closed, how
//! many of its votes are of moved buckets is bet on as failures are ([`Fallen`]), among the buckets that have not voted. A fourth counter,
//! `sums`, has no votes: at 15, 30, 60 … seconds of a step it compares what all moved buckets come to with what a draw would.
//! `Worse` needs a counter at its part of alpha and that the estimate agrees.
//!
//! # Proof
//! *One round.* Let `H(t)` be what outcomes of all buckets up to `t` say without their sides, all that was known when the step began, and the
//! sides of buckets that have voted. Given `H`, the sides of the others are a uniform draw, because the rule of the vote reads `H` only:
//! rates in it are pooled over both sides, and numbers of requests are those that the request itself drew when it began. So how many of a
//! stratum's votes are moved ones is central hypergeometric, each stake's factor has a mean of at most 1 (monotone likelihood ratio), the
//! wealth is a test martingale, and Ville's inequality bounds its peak. This is the safe log-rank test (ter Schure, Pérez-Ortiz, Ly and
//! Grünwald, "The safe logrank test: error control under continuous monitoring with unlimited horizon", 2020) on Cox's partial likelihood,
//! with randomisation (Fisher) in the place of proportional hazards.
//! *Over steps.* Given everything up to the next step, the buckets that it takes are again uniform among the rest: the wealth is carried
//! over in the filtration that learns the remaining sides when a step begins.
//! *Sums.* Given all outcomes, the statistic is a sum of draws without replacement; its moment generating function is at most that of draws
//! with replacement (Hoeffding, "Probability inequalities for sums of bounded random variables", 1963, theorem 4), which is
//! the denominator, computed exactly. So each look is an e-value, and looks share alpha.
//! *Counters, renewed rounds and looks* live in different filtrations: their parts of alpha are added up, not averaged.
//!
//! A step that ends by the candidate's own count, or by a gate, knows a little of the sides; in simulations that is not visible. A step
//! that ends by time, by all requests or by this verdict is exact.

mod round;
mod sums;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::round::{Betting, CallerRound};
use self::sums::SumsLook;
pub use self::told::{CallersCause, CallersVerdict, VoteCounter};
use super::interval::Sums;
use super::odds::Fallen;
use super::tally::{Both, Tally};
use super::told::Measure;
use super::wealth::Wealth;
use super::{LIFTS, points, ratio};
use crate::model::Margin;
use crate::value::bucket::Buckets;
use crate::value::name::VersionId;
use crate::value::weight::Weight;

/// How many buckets keys fall into.
pub const BUCKETS: usize = Weight::WHOLE as usize;

/// Of the pooled rate, how many requests are remembered.
const REMEMBERED: u64 = 20_000;
/// When `sums` first looks at a step; then at twice the time each.
const FIRST_SUMS: Duration = Duration::from_secs(15);
/// When the first renewed round of a step begins; then at twice the time each.
const FIRST_RENEWAL: Duration = Duration::from_secs(60);
/// The parts of alpha of `first`, `excess` and `drift` in long rounds.
const LONG_PARTS: [f64; 3] = [0.25, 0.25, 0.125];
/// The part of each of `first` and `excess` in all renewed rounds together.
const RENEWED_PART: f64 = 1.0 / 16.0;
/// The part of `sums` in all looks together.
const SUMS_PART: f64 = 0.25;

/// The side of a bucket in the round of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketSide {
    /// It remains on stable.
    Staying,
    /// The step takes it from stable to the candidate.
    Moved,
    /// It was moved by an earlier step, or belongs to neither version.
    Out,
}

/// Bad outcomes of one bucket in a closed stratum, in the order in which their requests began.
///
/// The data path keeps one counter of begun requests for each bucket and raises it by one, relaxed, for each keyed request; the request
/// keeps what it drew. When it turns out bad, that number and the bucket go to the stratum in which it began. Several may be told
/// as one: `begun` is then the number of the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketCounts {
    /// From 0, below [`BUCKETS`].
    pub bucket: u16,
    /// The number that the request drew: how many of its bucket had begun in the rollout, it included.
    pub begun: u32,
    /// How many bad outcomes.
    pub bad: u32,
}

/// A closed stratum of keyed requests. Entries of one bucket are in the order in which they began; others in any.
#[derive(Debug, Clone, Copy)]
pub struct CallerStratum<'a> {
    /// Requests of both sides that ended in it, good and bad.
    pub requests: u64,
    /// The bad ones.
    pub bad: &'a [BucketCounts],
}

/// How the estimate is known to agree with the votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VoteAbout {
    /// Bad outcomes are failures: moved buckets fail more of their requests than staying ones, by the margin's points.
    Failures,
    /// Bad outcomes are answers slower than a limit that is fixed for the step and the same on both sides: whoever asks says whether
    /// the candidate's quantile in this round lies above it.
    Latency,
}

/// What callers have shown of a candidate. Some numbers and what is known of 10 000 buckets: to be stored with the rollout and to go
/// on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallersVote {
    about: VoteAbout,
    margin: Margin,
    /// The vote's part of the plan's alpha.
    alpha: f64,
    /// Bad outcomes of both sides together, older ones halved.
    pooled: Tally,
    /// Bad outcomes by bucket, over the whole rollout.
    bad: BTreeMap<u16, u32>,
    /// Over all long rounds: `first`, `excess`, `drift`.
    carried: [Wealth; 3],
    long: Option<CallerRound>,
    renewed: Option<(CallerRound, [Wealth; 2])>,
    /// Renewed rounds in the whole rollout, and in this step.
    renewals: [u32; 2],
    /// Looks of `sums` in the whole rollout, and in this step.
    looks: [u32; 2],
    /// How many moved buckets must vote at least, if none of the staying does.
    needs: u64,
    /// Whether as many of them had a request.
    enough: bool,
    /// Whether the last look at this step showed that the candidate is no worse.
    no_worse: bool,
    said: Option<CallersCause>,
}

impl CallersVote {
    /// A vote that has seen nothing. `part`: its share of the margin's alpha (a half for failures, a quarter for latency).
    #[must_use]
    pub fn new(about: VoteAbout, margin: Margin, part: f64) -> Self {
        let wealth = || Wealth::new(&LIFTS.map(|lift| ratio(margin) * lift));
        Self {
            about,
            margin,
            alpha: f64::from(margin.alpha) / 1e6 * part,
            pooled: Tally::default(),
            bad: BTreeMap::new(),
            carried: [wealth(), wealth(), wealth()],
            long: None,
            renewed: None,
            renewals: [0; 2],
            looks: [0; 2],
            needs: 0,
            enough: false,
            no_worse: false,
            said: None,
        }
    }

    /// A step begins: `sides` of all buckets in it, and how many requests of each had begun in the rollout. Bad outcomes of strata that
    /// began before are told before.
    ///
    /// A step without buckets on both sides, such as the last one to 100 %, is not judged.
    pub fn step(&mut self, sides: &[BucketSide], begun: &[u32]) {
        (self.renewed, self.renewals[1], self.looks[1]) = (None, 0, 0);
        (self.enough, self.no_worse) = (false, false);
        self.long = CallerRound::new(sides, begun, &self.bad);
        self.needs = self.long.as_ref().map_or(0, |long| callers_needed(self.margin, self.alpha, long.share()));
    }

    /// Whether [`CallersVote::look`] has something to do when the step is so old: then the counters are copied as the next stratum
    /// begins, and the look is taken when all strata before that one are closed.
    #[must_use]
    pub fn is_due(&self, age: Duration) -> bool {
        self.long.is_some() && (age >= self.next_sums() || age >= self.next_renewal())
    }

    fn next_sums(&self) -> Duration {
        FIRST_SUMS * (1 << self.looks[1].min(20))
    }

    fn next_renewal(&self) -> Duration {
        FIRST_RENEWAL * (1 << self.renewals[1].min(20))
    }

    /// Takes in a closed stratum.
    pub fn observe(&mut self, stratum: &CallerStratum<'_>) {
        let rate = self.rate();
        let null = ratio(self.margin);
        if let Some(long) = &mut self.long {
            let betting = Betting { bad: stratum.bad, rate, null };
            long.take(&betting, &mut self.carried);
            if let Some((renewed, wealth)) = &mut self.renewed {
                renewed.take(&betting, wealth);
            }
        }
        for entry in stratum.bad.iter().filter(|entry| usize::from(entry.bucket) < BUCKETS) {
            *self.bad.entry(entry.bucket).or_default() += entry.bad;
            self.pooled.failures += u64::from(entry.bad);
        }
        self.pooled.requests += stratum.requests;
        self.pooled.forget(REMEMBERED);
    }

    /// What is due when the step is so old: a look of `sums`, whether the candidate is no worse, and another renewed round. `begun`:
    /// requests of each bucket in the rollout.
    pub fn look(&mut self, age: Duration, begun: &[u32], slower: bool) {
        let rate = self.rate();
        let (is_sums, is_renewal) = (age >= self.next_sums(), age >= self.next_renewal());
        let Some(long) = &self.long else { return };
        if is_sums {
            self.looks[0] += 1;
            while age >= self.next_sums() {
                self.looks[1] += 1;
            }
            let look = SumsLook::new(long, begun, rate);
            let needed = of_many(self.alpha * SUMS_PART, self.looks[0]);
            if look.ln() >= -needed.ln() && self.agrees(long, begun, VoteCounter::Sums, slower) {
                let measure = Measure::new(look.ln(), needed);
                self.said.get_or_insert(long.cause(VoteCounter::Sums, measure, self.about));
            }
        }
        if is_renewal {
            self.renewals[0] += 1;
            while age >= self.next_renewal() {
                self.renewals[1] += 1;
            }
            self.no_worse = is_no_worse(self.margin, self.renewals[0], long.shares(begun));
            let wealth = || Wealth::new(&LIFTS.map(|lift| ratio(self.margin) * lift));
            self.renewed = long.again(begun, &self.bad).map(|round| (round, [wealth(), wealth()]));
        }
    }

    /// What can be said by now. `slower`: whether the candidate's quantile in this round lies above the limit, for a vote about
    /// latency; one about failures does not ask.
    pub fn verdict(&mut self, begun: &[u32], slower: bool) -> CallersVerdict {
        let Some(long) = &self.long else {
            return self.said.clone().map_or(CallersVerdict::NotCompared, CallersVerdict::Worse);
        };
        if self.said.is_none() {
            self.said = self.found(long, begun, slower);
        }
        if let Some(cause) = &self.said {
            return CallersVerdict::Worse(cause.clone());
        }
        let needs = self.needs;
        let has = if self.enough { needs } else { long.moved_with_requests(begun) };
        self.enough = has >= needs;
        if self.no_worse {
            CallersVerdict::NoWorse
        } else if self.enough {
            CallersVerdict::NotYet(self.strongest())
        } else {
            CallersVerdict::TooFewCallers { has, needs }
        }
    }

    /// The counter that has reached its bound, if the estimate of its round agrees.
    fn found(&self, long: &CallerRound, begun: &[u32], slower: bool) -> Option<CallersCause> {
        let of_long = VoteCounter::LONG.into_iter().zip(&self.carried).zip(LONG_PARTS);
        let of_long = of_long.map(|((counter, wealth), part)| (long, counter, wealth, self.alpha * part));
        let renewed = self.renewed.iter().flat_map(|(round, wealth)| {
            let alpha = of_many(self.alpha * RENEWED_PART, self.renewals[0]);
            VoteCounter::RENEWED.into_iter().zip(wealth).map(move |(counter, wealth)| (round, counter, wealth, alpha))
        });
        of_long.chain(renewed).find_map(|(round, counter, wealth, alpha)| {
            let is_found = wealth.peak() >= -alpha.ln() && self.agrees(round, begun, counter, slower);
            is_found.then(|| round.cause(counter, Measure::new(wealth.peak(), alpha), self.about))
        })
    }

    fn agrees(&self, round: &CallerRound, begun: &[u32], counter: VoteCounter, slower: bool) -> bool {
        if self.about == VoteAbout::Latency {
            return slower;
        }
        let [staying, moved] = round.rates(begun);
        let least = match counter {
            VoteCounter::Sums => points(self.margin).max((ratio(self.margin) - 1.0) * staying),
            _ => points(self.margin),
        };
        moved - staying > least
    }

    /// Of the counters of long rounds, what is nearest to its bound.
    fn strongest(&self) -> Measure {
        let measures = self.carried.iter().zip(LONG_PARTS).map(|(wealth, part)| (wealth.peak(), self.alpha * part));
        let nearest = measures.max_by(|a, b| (a.0 + a.1.ln()).total_cmp(&(b.0 + b.1.ln())));
        nearest.map_or(Measure::new(0.0, self.alpha), |(ln, alpha)| Measure::new(ln, alpha))
    }

    /// A guess of how often requests are bad, of both sides together: one side's would leak the sides that are bet on.
    fn rate(&self) -> f64 {
        (self.pooled.failures as f64 + 0.5) / (self.pooled.requests as f64 + 50.0)
    }

    /// Of the round of this step, each bucket that had a request as one value in 0..=1: the part of its requests that was bad.
    /// Stable, then candidate; `None` where no step is compared.
    #[must_use]
    pub fn callers(&self, begun: &[u32]) -> Option<[Sums; 2]> {
        self.long.as_ref().map(|long| long.shares(begun))
    }
}

/// How many moved buckets must fail at least, if none of the staying does, before the vote can say `worse`: as many as its first counter
/// takes to reach its bound when every vote is the candidate's. `alpha`: of the vote. `share`: of the buckets compared, the part
/// that moves.
#[must_use]
pub fn callers_needed(margin: Margin, alpha: f64, share: f64) -> u64 {
    let null = ratio(margin);
    let mut moved = (share * BUCKETS as f64).round() as u64;
    let staying = (BUCKETS as u64).saturating_sub(moved);
    let mut wealth = Wealth::new(&LIFTS.map(|lift| null * lift));
    let needed = -(alpha * LONG_PARTS[0]).ln();
    let mut votes = 0;
    while wealth.peak() < needed && moved > 0 {
        let vote = Tally::of(moved, 1);
        let both = Both { stable: Tally::of(staying, 0), candidate: vote };
        let Some(fallen) = Fallen::new(both, null) else { return u64::MAX };
        wealth.bet(|psi| fallen.ln_ratio(psi));
        (votes, moved) = (votes + 1, moved - 1);
    }
    votes
}

/// Whether callers of the candidate are bad by at most the margin's points more than those of stable, at the `j`th look of a rollout.
/// Each caller counts once, by the part of its requests that was bad; stable's is the first of both sums.
///
/// It needs thousands of callers at a tenth of a point: without any failure, about 9 over the points.
fn is_no_worse(margin: Margin, j: u32, [staying, moved]: [Sums; 2]) -> bool {
    if staying.n == 0.0 || moved.n == 0.0 {
        return false;
    }
    let level = of_many(f64::from(margin.alpha) / 1e6, j);
    let most = moved.limits(level).high.unwrap_or(1.0);
    most - staying.limits(level).low <= points(margin)
}

/// The side of each bucket in the round of a step that turns one assignment of buckets into another.
#[must_use]
pub fn bucket_sides(before: &Buckets, after: &Buckets, stable: VersionId, candidate: VersionId) -> Vec<BucketSide> {
    let side = |bucket| match (before.version(bucket) == stable, after.version(bucket)) {
        (true, now) if now == candidate => BucketSide::Moved,
        (true, now) if now == stable => BucketSide::Staying,
        _ => BucketSide::Out,
    };
    (0..Weight::WHOLE).map(side).collect()
}

/// About how many of the 10 000 buckets have a caller.
#[must_use]
pub fn occupied_buckets(callers: f64) -> f64 {
    BUCKETS as f64 * -(-callers / BUCKETS as f64).exp_m1()
}

/// The part of alpha that the `j`th of any number of looks has, counted from 1: all together are at most the whole.
fn of_many(alpha: f64, j: u32) -> f64 {
    alpha / (f64::from(j) * (f64::from(j) + 1.0))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::value::weight::Split;

    const NONE: &[u32] = &[0; BUCKETS];

    /// The first `moved` buckets are taken by the step.
    fn sides(moved: usize) -> Vec<BucketSide> {
        (0..BUCKETS).map(|bucket| if bucket < moved { BucketSide::Moved } else { BucketSide::Staying }).collect()
    }

    fn vote(moved: usize) -> CallersVote {
        let mut vote = CallersVote::new(VoteAbout::Failures, Margin::default(), 0.5);
        vote.step(&sides(moved), NONE);
        vote
    }

    fn bad(bucket: u16) -> BucketCounts {
        BucketCounts { bucket, begun: 1, bad: 1 }
    }

    /// One request of each of so many buckets, from the first.
    fn asked(buckets: usize) -> Vec<u32> {
        (0..BUCKETS).map(|bucket| u32::from(bucket < buckets)).collect()
    }

    #[test]
    fn a_larger_share_needs_more_callers() {
        let needed = |share| callers_needed(Margin::default(), 0.005, share);
        assert_eq!([0.05, 0.1, 0.25, 0.5].map(needed), [4, 4, 7, 14]);
        assert_eq!([100.0, 1_000.0].map(|callers| occupied_buckets(callers).round()), [100.0, 952.0]);
    }

    #[test]
    fn as_many_failing_callers_of_the_candidate_as_are_needed_make_it_worse_and_one_fewer_does_not() {
        for (moved, needed) in [(500, 4), (1_000, 4), (2_500, 7), (5_000, 14)] {
            let mut vote = vote(moved);
            for bucket in 0..needed {
                let verdict = vote.verdict(&asked(usize::from(bucket)), false);
                let CallersVerdict::TooFewCallers { has, needs } = verdict else { panic!("{verdict:?}") };
                assert_eq!((has, needs), (u64::from(bucket), u64::from(needed)));
                vote.observe(&CallerStratum { requests: 1, bad: &[bad(bucket)] });
            }
            let verdict = vote.verdict(&asked(usize::from(needed)), false);
            assert!(matches!(verdict, CallersVerdict::Worse(_)), "{moved}: {verdict}");
            // It stands, whatever comes.
            vote.step(&sides(0), NONE);
            assert!(matches!(vote.verdict(NONE, false), CallersVerdict::Worse(_)));
        }
    }

    #[test]
    fn a_caller_votes_once_however_often_it_fails() {
        let mut vote = vote(1_000);
        for begun in 1..1_000 {
            vote.observe(&CallerStratum { requests: 1, bad: &[BucketCounts { bucket: 7, begun, bad: 1 }] });
        }
        let verdict = vote.verdict(&asked(2_000), false);
        assert!(matches!(verdict, CallersVerdict::NotYet(_)), "{verdict}");
    }

    #[test]
    fn verdicts_are_told_with_their_numbers() {
        let mut vote = vote(1_000);
        let few = vote.verdict(&asked(3), false).to_string();
        assert_eq!(few, "too few callers: 3, at least 4 are needed at this weight");
        (0..10).for_each(|bucket| vote.observe(&CallerStratum { requests: 10, bad: &[bad(bucket)] }));
        vote.observe(&CallerStratum { requests: 10, bad: &[bad(5_000)] });
        let worse = vote.verdict(&asked(BUCKETS), false).to_string();
        let told = "worse: callers: 10 of 11 that began to fail are among the candidate's 1 000 of 10 000 groups; e = ";
        assert!(worse.starts_with(told) && worse.ends_with(", needed 800"), "{worse}");
    }

    #[test]
    fn the_estimate_must_agree() {
        let mut vote = vote(1_000);
        (0..10).for_each(|bucket| vote.observe(&CallerStratum { requests: 1, bad: &[bad(bucket)] }));
        // Each of the moved had twenty thousand good ones: a twentieth of a thousandth fails.
        let busy: Vec<u32> = (0..BUCKETS).map(|bucket| if bucket < 1_000 { 20_000 } else { 1 }).collect();
        assert!(matches!(vote.verdict(&busy, false), CallersVerdict::NotYet(_)));
        assert!(matches!(vote.verdict(&asked(BUCKETS), false), CallersVerdict::Worse(_)));
        let mut slow = CallersVote::new(VoteAbout::Latency, Margin::default(), 0.25);
        slow.step(&sides(1_000), NONE);
        (0..10).for_each(|bucket| slow.observe(&CallerStratum { requests: 1, bad: &[bad(bucket)] }));
        assert!(matches!(slow.verdict(&asked(BUCKETS), false), CallersVerdict::NotYet(_)));
        assert!(slow.verdict(&asked(BUCKETS), true).to_string().contains("that became slow are"));
    }

    #[test]
    fn many_callers_without_a_failure_are_no_worse_at_points_of_callers() {
        let margin = Margin { points: 20_000, ..Margin::default() };
        for (callers, is_shown) in [(300, false), (1_000, true)] {
            let mut vote = CallersVote::new(VoteAbout::Failures, margin, 0.5);
            vote.step(&sides(callers), NONE);
            vote.look(Duration::from_secs(60), &asked(BUCKETS), false);
            let verdict = vote.verdict(&asked(BUCKETS), false);
            assert_eq!(verdict == CallersVerdict::NoWorse, is_shown, "{verdict}");
        }
    }

    #[test]
    fn a_step_that_moves_everybody_is_not_compared_and_input_of_another_size_neither() {
        let mut vote = vote(BUCKETS);
        assert_eq!(vote.verdict(NONE, false), CallersVerdict::NotCompared);
        vote.observe(&CallerStratum { requests: 1, bad: &[bad(3), bad(u16::MAX)] });
        vote.step(&sides(1_000)[1..], NONE);
        assert_eq!(vote.verdict(NONE, false), CallersVerdict::NotCompared);
        vote.step(&sides(1_000), NONE);
        vote.observe(&CallerStratum { requests: 1, bad: &[bad(u16::MAX)] });
        assert!(matches!(vote.verdict(&[], false), CallersVerdict::TooFewCallers { has: 0, .. }));
    }

    #[test]
    fn it_goes_on_from_what_was_stored_and_that_is_bounded() {
        let mut vote = vote(1_000);
        let begun = vec![1_000; BUCKETS];
        (0..BUCKETS as u16).for_each(|bucket| vote.observe(&CallerStratum { requests: 1_000, bad: &[bad(bucket)] }));
        vote.look(Duration::from_secs(61), &begun, false);
        let text = serde_json::to_string(&vote).unwrap();
        assert!(text.len() < 1_500_000, "{} bytes", text.len());
        let mut stored: CallersVote = serde_json::from_str(&text).unwrap();
        assert_eq!(stored, vote);
        (0..100).for_each(|bucket| stored.observe(&CallerStratum { requests: 1, bad: &[bad(bucket)] }));
        let broken = text.replacen("mmm", "mxm", 1);
        assert!(serde_json::from_str::<CallersVote>(&broken).unwrap_err().to_string().contains("no side of a bucket"));
    }

    #[test]
    fn sides_follow_from_two_assignments_of_buckets() {
        let [stable, candidate] = [1, 2].map(|n| VersionId::Number(NonZeroU32::new(n).unwrap()));
        let split = |weight: u16| {
            let parts = [(stable, Weight::WHOLE - weight), (candidate, weight)];
            Buckets::cold(&Split::new(parts.map(|(version, weight)| (version, Weight::new(weight).unwrap()))).unwrap())
        };
        let sides = bucket_sides(&split(500), &split(1_500), stable, candidate);
        let count = |side| sides.iter().filter(|is| **is == side).count();
        assert_eq!([BucketSide::Out, BucketSide::Moved, BucketSide::Staying].map(count), [500, 1_000, BUCKETS - 1_500]);
    }
}
