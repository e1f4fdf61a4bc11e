//! Whether a candidate is worse than stable, judged while a rollout runs: as often as one likes, and still with a known chance
//! of being wrong.
//!
//! # What is tested
//! A candidate is *worse* when it fails beyond both margins of the plan: the odds of a failure are more than `ratio` times
//! stable's (at low rates that is: so many times the failures), and it fails more than `points` more often.
//!
//! Requests are compared only within a *stratum*, those that began in a short time at one weight ([`strata`]). Weights and the base rate
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
//! given the rates of that time. Anything that strikes both sides alike (drift, bursts, outages) is allowed, and so is that one side fails
//! slowly and the other fast, below the age at which both are counted. A caller that
//! fails for ever and comes back in every batch would break the second assumption: whoever counts keys tells which failures
//! are such repetitions ([`Begun::repeated`]). `Worse` is never made of them; `NoWorse`, gates and sums have them all.

mod against;
mod breaker;
pub mod interval;
mod odds;
mod points;
mod share;
mod slow;
mod strata;
mod tally;
mod told;
pub mod votes;
mod wealth;
mod windows;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::against::Against;
use self::breaker::Breaker;
use self::odds::Fallen;
use self::points::RateLimit;
use self::share::Share;
use self::slow::Slow;
pub use self::strata::{Begun, Closed, Limits, MAX_OPEN, Opening, Strata, Stratum};
use self::tally::Both;
use self::tally::Joined;
pub use self::tally::Tally;
pub use self::told::{Cause, Evidence, Measure, Needed, SampleRatio, Slowness, Verdict};
use self::wealth::{Wealth, ln_add};
pub use self::windows::{WINDOW_REQUESTS, Windows, enough_requests};
use crate::model::{LatencyGuard, Margin};
use crate::release::outcome::LATENCY_BUCKETS;
use crate::value::weight::Weight;

/// How many times the margin's odds a worse candidate may have: each is bet on.
const LIFTS: [f64; 7] = [1.25, 1.6, 2.5, 5.0, 12.0, 80.0, 2000.0];

/// How many times stable's odds a candidate that is no worse may have.
const NO_WORSE_ODDS: [f64; 3] = [1.0, 0.7, 0.2];

/// How many times stable's rate.
const NO_WORSE_RATES: [f64; 2] = [1.0, 0.3];

/// The chance that a sound split is called broken.
const SHARE_ALPHA: f64 = 1e-4;

/// The stakes of a stratum: a guess of the rate of failures that was made when the stratum began, so that nothing that comes of it
/// has a part in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stakes(f64);

/// Both tests of failures, of one hypothesis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tests {
    odds: Wealth,
    points: Wealth,
}

impl Tests {
    /// Bets that the candidate is worse.
    fn bet(&mut self, joined: &Joined, margin: Margin) {
        let (fresh, points) = (&joined.fresh, RateLimit::points(points(margin)));
        if let Some(fallen) = Fallen::new(*fresh, ratio(margin)) {
            self.odds.bet(|psi| fallen.ln_ratio(psi));
        }
        let guess = joined.guess.unwrap_or(0.01);
        self.points.bet(|lift| points::ln_factor(fresh, guess, points, lifted(points.at(guess), lift)));
    }
}

/// What is known of a rollout's two versions: some numbers, to be stored with the rollout and to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    margin: Margin,
    client_errors: bool,
    /// Of the last stratum, in basis points.
    weight: u16,
    total: Both,
    /// Strata that are not yet compared.
    joined: Joined,
    /// The finding of an early look, before its strata were closed: all requests by then, and the evidence, ln.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    early: Option<(Both, f64)>,
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
            joined: Joined::default(),
            early: None,
            base: Tally::default(),
            worse: Tests { odds: Wealth::new(&LIFTS.map(|lift| ratio * lift)), points: Wealth::new(&LIFTS) },
            no_worse: Tests { odds: Wealth::new(&NO_WORSE_ODDS), points: Wealth::new(&NO_WORSE_RATES) },
            slow: Slow::new(Some(LatencyGuard::default())),
            breaker: Breaker::new(),
            share: Share::new(),
        }
    }

    /// The same with other bounds on the candidate's latency, or none.
    #[must_use]
    pub fn judging_speed(self, settings: Option<LatencyGuard>) -> Self {
        Self { slow: Slow::new(settings), ..self }
    }

    /// About how many requests of the candidate show that it is no worse, at this weight and where this part of requests fails
    /// on both sides, 0 to 1; `None` where none ever would.
    #[must_use]
    pub fn needs(margin: Margin, weight: Weight, failures: f64) -> Option<u64> {
        let mut watch = Self::new(margin, false);
        watch.weight = weight.basis_points();
        watch.base = Tally { requests: 10_000, failures: (failures * 10_000.0).round() as u64, ..Tally::default() };
        watch.more()
    }

    /// An estimate of the evidence of "worse" that each request of the candidate brings, ln, if so many more of them fail than of stable's.
    #[must_use]
    pub fn evidence_of(margin: Margin, weight: Weight, base: f64, defect: f64) -> f64 {
        let share = f64::from(weight.basis_points()) / f64::from(Weight::WHOLE);
        let (stable, candidate) = ((1.0 - share) * base, share * (base + defect));
        let failures = stable + candidate;
        if failures <= 0.0 || defect <= points(margin) || share <= 0.0 {
            return 0.0;
        }
        // Of the failures this part falls on the candidate, and at the margin that one.
        let (part, odds) = (candidate / failures, ratio(margin) * share / (1.0 - share));
        let at_margin = odds / (1.0 + odds);
        if part <= at_margin {
            return 0.0;
        }
        let rest = if part < 1.0 { (1.0 - part) * ((1.0 - part) / (1.0 - at_margin)).ln() } else { 0.0 };
        (part * (part / at_margin).ln() + rest) * failures / share
    }

    /// The evidence of "worse" that is needed, ln, with what spreading the stake over alternatives costs.
    #[must_use]
    pub fn evidence_needed(margin: Margin) -> f64 {
        -(f64::from(margin.alpha) / 1e6 / 2.0).ln() + (2.0 * LIFTS.len() as f64).ln()
    }

    /// Takes in a stratum of which every outcome is known. They come in the order in which they began.
    ///
    /// Strata at one weight are joined until there are some 20 requests, and one of the rarer side to be expected; what is left at a
    /// change of the weight is not compared.
    pub fn observe(&mut self, stratum: &Stratum) {
        if self.weight != stratum.weight.basis_points() {
            self.weight = stratum.weight.basis_points();
            self.joined = Joined::default();
        }
        let more = self.joined_of(stratum);
        self.total += more.all;
        self.breaker.observe(more.fresh);
        self.slow.warm_up(stratum);
        if let Some(joined) = self.joined.join(more, stratum_requests(stratum.weight)) {
            self.compare(&joined);
        }
        if stratum.is_drawn {
            self.share.observe(stratum.weight, stratum.stable.begun, stratum.candidate.begun);
        }
    }

    /// Takes in the speed of a stratum, once every request of it has ended or is slow.
    pub fn observe_speed(&mut self, stratum: &Stratum) {
        self.slow.observe(stratum);
    }

    /// Takes in answers of stable, by which later ones are called slow.
    pub fn learn_speed(&mut self, stable: &[u64; LATENCY_BUCKETS]) {
        self.slow.learn(stable);
    }

    /// The latency from which on an answer is slow, of stable and of the candidate; `None` while speed is not judged.
    #[must_use]
    pub fn slow_limits(&self, now: Duration) -> Option<[Duration; 2]> {
        self.slow.limits(now)
    }

    /// The stakes of the next stratum.
    #[must_use]
    pub fn stakes(&self) -> Stakes {
        Stakes(self.guess())
    }

    /// Looks at strata that are not closed. Each comes twice: as it would be if all that is open went against the finding, and as it
    /// stands.
    fn look_early(&mut self, strata: &[(Stratum, Stratum)]) {
        let bound = self.bound();
        if self.early.is_some() || self.found() >= bound {
            return;
        }
        let (mut joined, mut tests, mut weight) = (self.joined.clone(), self.worse.clone(), self.weight);
        let mut total = self.total;
        for (pessimistic, now) in strata {
            if std::mem::replace(&mut weight, now.weight.basis_points()) != now.weight.basis_points() {
                joined = Joined::default();
            }
            total += self.ended_of(now);
            let Some(joined) = joined.join(self.joined_of(pessimistic), stratum_requests(now.weight)) else { continue };
            tests.bet(&joined, self.margin);
            let found = tests.odds.peak().min(tests.points.peak());
            if found >= bound {
                self.early = Some((total, found));
                return;
            }
        }
    }

    /// Bad outcomes that a side has by now, whatever comes of what is open.
    fn ended_badly(&self, side: &Begun) -> u64 {
        side.counts(false).failures(self.client_errors)
    }

    fn ended_of(&self, stratum: &Stratum) -> Both {
        let [stable, candidate] = [stratum.stable, stratum.candidate].map(|side| {
            let counts = side.counts(false);
            Tally {
                requests: counts.judged(),
                failures: counts.failures(self.client_errors),
                unanswered: 0,
                gone: counts.gone,
            }
        });
        Both { stable, candidate }
    }

    fn joined_of(&self, stratum: &Stratum) -> Joined {
        let Stratum { stable, candidate, .. } = stratum;
        let all = Both { stable: stable.tally(self.client_errors), candidate: candidate.tally(self.client_errors) };
        Joined::new(all, [stable.repeated, candidate.repeated], stable.begun + candidate.begun, stratum.stakes.0)
    }

    /// The bound that `worse` by failures must reach, ln.
    fn bound(&self) -> f64 {
        -(f64::from(self.margin.alpha) / 1e6 / 2.0).ln()
    }

    /// The most that `worse` by failures has come to in closed strata, ln.
    fn found(&self) -> f64 {
        self.worse.odds.peak().min(self.worse.points.peak())
    }

    /// What can be said by now. Bad news first: a broken split must not hide a candidate that fails.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let evidence = self.evidence();
        let Evidence { stable, candidate, .. } = evidence;
        if evidence.failures.reached() {
            let known = Both { stable, candidate };
            let Both { stable, candidate } = self.early.map_or(known, |(then, _)| known.larger(then));
            return Verdict::Worse(Cause::Failures { stable, candidate, measure: evidence.failures });
        }
        if evidence.breaker.reached() {
            return Verdict::Worse(Cause::Breaker { candidate: self.breaker.first, measure: evidence.breaker });
        }
        if evidence.latency.reached() {
            let settings = self.slow.settings.unwrap_or_default();
            return Verdict::Worse(Cause::Latency { slow: evidence.slow, settings, measure: evidence.latency });
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

    /// A warning that is no verdict: the candidate answers slower at a weight at which it carries the larger part of the load.
    #[must_use]
    pub fn alert(&self) -> Option<String> {
        let Evidence { slow, heavy_latency: measure, .. } = self.evidence();
        let settings = self.slow.settings.unwrap_or_default();
        let cause = Cause::Latency { slow, settings, measure };
        measure.reached().then(|| format!("{cause}; above 50 % it carries more of the load than stable, so it stays"))
    }

    /// The numbers behind the verdict.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let alpha = f64::from(self.margin.alpha) / 1e6;
        let worse = self.early.map_or(self.found(), |(_, early)| early.max(self.found()));
        Evidence {
            stable: self.total.stable,
            candidate: self.total.candidate,
            failures: Measure::new(worse, alpha / 2.0),
            latency: Measure::new(self.slow.wealth.peak(), alpha / 4.0),
            heavy_latency: Measure::new(self.slow.heavy.peak(), alpha / 4.0),
            slow: Slowness { stable: self.slow.total.stable, candidate: self.slow.total.candidate },
            breaker: Measure::new(self.breaker.wealth.peak(), alpha / 4.0),
            no_worse: Measure::new(self.no_worse(), alpha),
            sample_ratio: Measure::new(self.share.wealth.peak(), SHARE_ALPHA),
        }
    }

    /// Bets on joined strata: on worse without repeated failures, on no worse with them.
    fn compare(&mut self, joined: &Joined) {
        let (all, margin) = (&joined.all, self.margin);
        self.worse.bet(joined, margin);
        if let Some(fallen) = Fallen::new(*all, ratio(margin)) {
            self.no_worse.odds.bet(|psi| fallen.ln_ratio(psi));
        }
        let guess = joined.guess.unwrap_or_else(|| self.guess());
        let points = RateLimit::points(points(margin));
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
        let (rate, points) = (self.guess(), RateLimit::points(points(self.margin)));
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
