//! Whether a candidate is worse than stable, judged while a rollout runs: as often as one likes, and still with a known chance
//! of being wrong.
//!
//! # What is tested
//! A candidate is *worse* when it fails beyond both margins of the plan: the odds of a failure are more than `ratio` times
//! stable's (at low rates that is: so many times the failures), and it fails more than `points` more often.
//!
//! Requests are compared only within a *stratum*, a short time at one weight ([`Watch::observe`]). Weights and the base rate
//! move together in a rollout, so that sums over all of it would mislead (Simpson's paradox). Each stratum is bet on by two tests:
//! - `odds`: given how many failed, on which side failures fell. Fisher's noncentral hypergeometric distribution, against the
//!   margin's odds ratio; free of the base rate.
//! - `points`: the difference of both rates against the margin's points. Learns from successes too, so that a candidate is shown to be no
//!   worse even where nothing ever fails.
//!
//! Both are *e-processes* (Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for
//! optional stopping"; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference"): what a stake
//! comes to that is bet against a hypothesis, fair or unfavourable in every stratum while the hypothesis holds. By Ville's
//! inequality it ever reaches `1/alpha` with a chance of at most `alpha`, whenever somebody looks.
//! - `Worse` needs both, each against "within its margin", to reach `1/alpha` at any time: if the candidate keeps within one margin
//!   all along, that one stays low.
//! - `NoWorse` needs the mean of both, each against "beyond its margin", to stand at `1/alpha`: a candidate that is worse makes
//!   both bets unfavourable. It can be lost again, and `Worse` goes before it.
//!
//! The plan's alpha is shared: failures have 1/2 of it, latency (`slow`) 1/4, the `breaker` 1/4. `NoWorse` is about failures and has
//! an alpha of its own. The sample ratio (`share`) is checked at 1e-4.
//!
//! # What is assumed
//! That which side a request goes to does not depend on how it will end, and that callers' fates in different strata are independent
//! given the rates of that time. Anything that strikes both sides alike (drift, bursts, outages) is allowed. A caller that
//! fails for ever and comes back in every batch would break the second assumption: whoever counts keys tells which failures
//! are such repetitions ([`Side::repeated`]). `Worse` is never made of them; `NoWorse`, gates and sums have them all.

mod breaker;
mod odds;
mod points;
mod share;
mod slow;
mod tally;
mod told;
mod wealth;

use serde::{Deserialize, Serialize};

use self::breaker::Breaker;
use self::odds::Fallen;
use self::share::Share;
use self::slow::Slow;
use self::tally::Both;
pub use self::tally::Tally;
pub use self::told::{Cause, Evidence, Measure, Needed, SampleRatio, Slowness, Verdict};
use self::wealth::{Wealth, ln_add};
use crate::model::Margin;
use crate::release::outcome::Counts;
use crate::value::weight::Weight;

/// How many times the margin's odds a worse candidate may have: each is bet on.
const LIFTS: [f64; 7] = [1.25, 1.6, 2.5, 5.0, 12.0, 80.0, 2000.0];

/// How many times stable's odds a candidate that is no worse may have.
const NO_WORSE_ODDS: [f64; 3] = [1.0, 0.7, 0.2];

/// How many times stable's rate.
const NO_WORSE_RATES: [f64; 2] = [1.0, 0.3];

/// The chance that a sound split is called broken.
const SHARE_ALPHA: f64 = 1e-4;

/// What both sides did between two looks, at one weight.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Of the version that has been there.
    pub stable: &'a Side,
    /// Of the version that is tried.
    pub candidate: &'a Side,
    /// The asked share of the candidate.
    pub weight: Weight,
}

/// What one version did between two looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// What came of its requests. A routing key counts once.
    pub counts: Counts,
    /// How often the split picked it, for the sample ratio. Picks must be independent or better spread than that: slots
    /// and random draws are; keys come back, so that each may count once in a rollout or not at all.
    pub drawn: u64,
    /// Of the failures, those of routing keys whose last outcome was a failure already.
    pub repeated: u64,
}

impl Side {
    /// What was added to cells that only rise since they read `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            counts: self.counts.since(&before.counts),
            drawn: self.drawn.saturating_sub(before.drawn),
            repeated: self.repeated.saturating_sub(before.repeated),
        }
    }
}

/// Both tests of failures, of one hypothesis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tests {
    odds: Wealth,
    points: Wealth,
}

/// What is known of a rollout's two versions: some numbers, to be stored with the rollout and to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    margin: Margin,
    client_errors: bool,
    /// Of the last batch, in basis points.
    weight: u16,
    total: Both,
    /// The stratum that is not yet compared.
    open: Both,
    /// The same without repeated failures.
    fresh: Both,
    /// Stable's failures of earlier strata, older ones halved: a guess of its rate.
    base: Tally,
    worse: Tests,
    no_worse: Tests,
    slow: Slow,
    breaker: Breaker,
    share: Share,
}

impl Watch {
    /// A watch that has seen nothing. `client_errors`: whether 4xx count as failures.
    #[must_use]
    pub fn new(margin: Margin, client_errors: bool) -> Self {
        let ratio = ratio(margin);
        Self {
            margin,
            client_errors,
            weight: 0,
            total: Both::default(),
            open: Both::default(),
            fresh: Both::default(),
            base: Tally::default(),
            worse: Tests { odds: Wealth::new(&LIFTS.map(|lift| ratio * lift)), points: Wealth::new(&LIFTS) },
            no_worse: Tests { odds: Wealth::new(&NO_WORSE_ODDS), points: Wealth::new(&NO_WORSE_RATES) },
            slow: Slow::new(),
            breaker: Breaker::new(),
            share: Share::new(),
        }
    }

    /// About how many requests of the candidate show that it is no worse, at this weight and where this part of requests fails
    /// on both sides, 0 to 1; `None` where none ever would.
    #[must_use]
    pub fn needs(margin: Margin, weight: Weight, failures: f64) -> Option<u64> {
        let mut watch = Self::new(margin, false);
        watch.weight = weight.basis_points();
        watch.base = Tally { requests: 10_000, failures: (failures * 10_000.0).round() as u64 };
        watch.more()
    }

    /// Takes in what happened since the last look.
    ///
    /// Looks may come at any time, also because something failed. Batches at one weight are joined until there are some 20 requests,
    /// and one of the rarer side to be expected; what is left at a change of the weight is not compared.
    pub fn observe(&mut self, batch: &Batch<'_>) {
        if self.weight != batch.weight.basis_points() {
            self.weight = batch.weight.basis_points();
            (self.open, self.fresh) = Default::default();
            self.slow.close();
        }
        let all = Both { stable: self.tally(batch.stable), candidate: self.tally(batch.candidate) };
        let fresh = Both {
            stable: all.stable.without(batch.stable.repeated),
            candidate: all.candidate.without(batch.candidate.repeated),
        };
        self.total += all;
        self.fresh += fresh;
        if let Some(all) = self.open.join(all, stratum_requests(batch.weight)) {
            let fresh = std::mem::take(&mut self.fresh);
            self.compare(&all, &fresh);
        }
        self.breaker.observe(fresh);
        self.slow.observe(batch);
        self.share.observe(batch.weight, batch.stable.drawn, batch.candidate.drawn);
    }

    /// What can be said by now. Bad news first: a broken split must not hide a candidate that fails.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let evidence = self.evidence();
        let Evidence { stable, candidate, .. } = evidence;
        if evidence.failures.reached() {
            return Verdict::Worse(Cause::Failures { stable, candidate, measure: evidence.failures });
        }
        if evidence.breaker.reached() {
            return Verdict::Worse(Cause::Breaker { candidate: self.breaker.first, measure: evidence.breaker });
        }
        if evidence.latency.reached() {
            return Verdict::Worse(Cause::Latency { slow: evidence.slow, measure: evidence.latency });
        }
        if evidence.sample_ratio.reached() {
            return Verdict::Void(SampleRatio {
                drawn: self.share.drawn,
                candidate: self.share.candidate,
                asked: self.share.asked,
                measure: evidence.sample_ratio,
            });
        }
        if stable.requests == 0 || candidate.requests == 0 {
            return Verdict::NoData;
        }
        if evidence.no_worse.reached() {
            return Verdict::NoWorse;
        }
        Verdict::NotYet(Needed { stable, candidate, more: self.more(), measure: evidence.no_worse })
    }

    /// The numbers behind the verdict.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let alpha = f64::from(self.margin.alpha) / 1e6;
        let worse = self.worse.odds.peak().min(self.worse.points.peak());
        Evidence {
            stable: self.total.stable,
            candidate: self.total.candidate,
            failures: Measure::new(worse, alpha / 2.0),
            latency: Measure::new(self.slow.wealth.peak(), alpha / 4.0),
            slow: Slowness { stable: self.slow.total.stable, candidate: self.slow.total.candidate },
            breaker: Measure::new(self.breaker.wealth.peak(), alpha / 4.0),
            no_worse: Measure::new(self.no_worse(), alpha),
            sample_ratio: Measure::new(self.share.wealth.peak(), SHARE_ALPHA),
        }
    }

    fn tally(&self, side: &Side) -> Tally {
        Tally { requests: side.counts.judged(), failures: side.counts.failures(self.client_errors) }
    }

    /// Bets on one stratum: on worse without repeated failures, on no worse with them.
    fn compare(&mut self, all: &Both, fresh: &Both) {
        if let Some(fallen) = Fallen::new(*fresh, ratio(self.margin)) {
            self.worse.odds.bet(|psi| fallen.ln_ratio(psi));
        }
        if let Some(fallen) = Fallen::new(*all, ratio(self.margin)) {
            self.no_worse.odds.bet(|psi| fallen.ln_ratio(psi));
        }
        let (guess, points) = (self.guess(), points(self.margin));
        self.worse.points.bet(|lift| points::ln_factor(fresh, guess, points, lifted(guess + points, lift)));
        self.no_worse.points.bet(|times| points::ln_factor(all, guess, points, times * guess));
        self.base += all.stable;
        self.base.forget(10_000);
    }

    /// A guess of stable's rate of failures, above 0; of nothing, 1 %.
    fn guess(&self) -> f64 {
        (self.base.failures as f64 + 0.5) / (self.base.requests as f64 + 50.0)
    }

    /// The ln of what both tests of "worse" have come to on average.
    fn no_worse(&self) -> f64 {
        ln_add(self.no_worse.odds.ln(), self.no_worse.points.ln()) - std::f64::consts::LN_2
    }

    /// How many more requests of the candidate would show that it is no worse, if it fails as often as stable: what is
    /// missing over what the better test expects to gain from each. `None` when it would gain nothing.
    fn more(&self) -> Option<u64> {
        let share = f64::from(self.weight) / f64::from(Weight::WHOLE);
        let (rate, points) = (self.guess(), points(self.margin));
        // For each request of the candidate, so many of stable.
        let stable = (1.0 - share) / share;
        let by_points = points::ln_mean_factor([stable, stable * rate, 1.0, rate], rate, points, rate);
        // A failure falls on the candidate with the chance of its share, not with that of the margin's odds.
        let margin = ratio(self.margin) * share / (ratio(self.margin) * share + 1.0 - share);
        let divergence = share * (share / margin).ln() + (1.0 - share) * ((1.0 - share) / (1.0 - margin)).ln();
        let by_odds = divergence * rate / share;
        let missing = -(f64::from(self.margin.alpha) / 1e6).ln() - self.no_worse();
        let more = missing / by_points.max(by_odds);
        (more.is_finite() && more > 0.0 && more < 1e15).then(|| more.ceil() as u64)
    }
}

/// How many requests a stratum has at least: one of the rarer side is to be expected, and 20 compare well at even weights.
fn stratum_requests(weight: Weight) -> u64 {
    let rarer = weight.basis_points().min(Weight::WHOLE - weight.basis_points());
    Weight::WHOLE.checked_div(rarer).map_or(u64::MAX, |cell| u64::from(cell).max(20))
}

/// The margin's odds ratio. One of 0 has no logarithm; a thousandth stands for it.
fn ratio(margin: Margin) -> f64 {
    f64::from(margin.ratio.max(1)) / 1e3
}

/// The margin's points, as a difference of rates.
fn points(margin: Margin) -> f64 {
    f64::from(margin.points) / 1e6
}

/// The rate that has so many times the odds of this one.
fn lifted(rate: f64, times: f64) -> f64 {
    rate * times / (rate * times + 1.0 - rate)
}
