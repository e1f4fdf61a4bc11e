//! The strata of one alias under a rollout: begun, read and closed at each look, and summed up for the step.

use std::sync::Arc;
use std::time::Duration;

use config::release::outcome::{Counts, LATENCY_BUCKETS};
use config::release::rollout::{Member, Moment};
use config::release::verdict::{Begun, Limits, Opening, Strata, Watch};
use config::value::name::VersionId;
use config::value::weight::Weight;

use crate::live::{Destination, Snapshot};
use crate::outcomes::{Outcomes, begin_stratum};

/// The number of answers of stable that its limits are taken from.
const KNOWN: u64 = 1_000;

/// The open strata and the counts of one alias.
#[derive(Default)]
pub(super) struct MemberStrata {
    cells: Option<Cells>,
    strata: Strata,
    limits: Limits,
    /// Of the strata of the step that are closed; stable first.
    step: [Counts; 2],
    /// The latencies that were counted before the step.
    before: [Counts; 2],
    /// Those of stable that the watch has learned.
    learned: Counts,
}

/// The cells of both versions, watched until they are dropped.
struct Cells([Arc<Outcomes>; 2]);

impl Drop for Cells {
    fn drop(&mut self) {
        self.0.iter().for_each(|cells| cells.watch(false));
    }
}

/// One look at one member.
pub(super) struct Look<'a> {
    pub(super) member: &'a Member,
    /// The candidate's.
    pub(super) weight: Weight,
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Moment,
    /// The time at which the weight of the step went live.
    pub(super) since: Moment,
    /// True at the first look at the step.
    pub(super) is_new: bool,
}

impl MemberStrata {
    /// The cells that are watched.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<Outcomes>> {
        self.cells.iter().flat_map(|cells| &cells.0)
    }

    /// Looks at what came since the last look, tells the watch, and answers what was counted in the step.
    pub(super) fn look(&mut self, look: &Look<'_>, watch: &mut Watch) -> [Counts; 2] {
        let Some(sides) = look.sides() else { return Default::default() };
        let [stable, candidate] = sides.clone();
        let read = |number: u32| [stable.stratum(number), candidate.stratum(number)];
        let is_other = self.cells().zip(&sides).filter(|(known, now)| Arc::ptr_eq(known, now)).count() < 2;
        if is_other || look.is_new {
            self.begin_step(look, &sides, watch, is_other);
        } else if self.strata.may_begin(look.now)
            && self.strata.present().is_some_and(|number| read(number).iter().any(|side| side.begun > 0))
        {
            if !self.limits.is_known {
                self.limits = look.limits(&stable);
            }
            self.begin(look, &sides, watch);
        }
        for closed in self.strata.settle(look.now, watch, read) {
            if closed.began >= look.since {
                self.add(closed.sides);
            }
        }
        self.strata.early(watch, read);
        self.learn(&stable, watch);
        self.counted(look, &sides, read)
    }

    /// The number of requests of the candidate that began before this stratum and wait for an answer.
    pub(super) fn waiting(&self, before: u32) -> u64 {
        let Some(Cells([stable, candidate])) = &self.cells else { return 0 };
        self.strata.waiting(before, |number| [stable.stratum(number), candidate.stratum(number)])
    }

    /// The number of the stratum that takes requests.
    pub(super) fn present(&self) -> Option<u32> {
        self.strata.present()
    }

    fn begin_step(&mut self, look: &Look<'_>, sides: &[Arc<Outcomes>; 2], watch: &Watch, is_other: bool) {
        let [stable, candidate] = sides;
        self.limits = look.limits(stable);
        self.step = Default::default();
        if is_other {
            self.strata = Strata::default();
            // First the old ones are watched no longer: one side may be the same.
            self.cells = None;
            sides.iter().for_each(|cells| cells.watch(true));
            self.cells = Some(Cells(sides.clone()));
            self.learned = stable.counts();
            // Cells that began with the step counted for nothing else.
            let age = look.now.saturating_sub(look.since);
            if look.is_new && sides.iter().all(|cells| cells.started().elapsed() <= age) {
                self.before = Default::default();
                self.learned = Counts::default();
                [stable, candidate].into_iter().for_each(|cells| cells.limit_present(self.limits));
                let opening = Opening { now: look.since, ..self.opening(look, stable.present_stratum(), None) };
                return self.strata.begin(Opening { is_drawn: false, ..opening }, watch);
            }
        }
        self.before = [stable.counts(), candidate.counts()];
        self.strata.mix();
        self.begin(look, sides, watch);
    }

    /// Begins the next stratum.
    fn begin(&mut self, look: &Look<'_>, sides: &[Arc<Outcomes>; 2], watch: &Watch) {
        let limit = self.limits.unanswered;
        let slow = watch.slow_limits(look.now).map(|slow| slow.map(|time: Duration| time.min(limit)));
        let number = begin_stratum(sides.each_ref(), self.limits, slow);
        self.strata.begin(self.opening(look, number, slow), watch);
    }

    fn opening(&self, look: &Look<'_>, number: u32, slow: Option<[Duration; 2]>) -> Opening {
        Opening {
            number,
            weight: look.weight,
            limits: self.limits,
            slow,
            // Keys come back: their draws say nothing about the split of requests.
            is_drawn: look.is_keyless(),
            now: look.now,
        }
    }

    fn add(&mut self, closed: [Begun; 2]) {
        self.step.iter_mut().zip(closed).for_each(|(step, side)| step.add(&side.counts(true)));
    }

    fn learn(&mut self, stable: &Outcomes, watch: &mut Watch) {
        let now = stable.counts();
        let more: [u64; LATENCY_BUCKETS] = now.since(&self.learned).latencies;
        if more.iter().any(|count| *count > 0) {
            watch.learn_speed(&more);
            self.learned = now;
        }
    }

    /// The counts of the step: closed strata, and what is known of the others.
    fn counted(&self, look: &Look<'_>, sides: &[Arc<Outcomes>; 2], read: impl Fn(u32) -> [Begun; 2]) -> [Counts; 2] {
        let mut counted = self.step.clone();
        for open in self.strata.open(read).filter(|open| open.began >= look.since) {
            counted.iter_mut().zip(open.sides).for_each(|(sum, side)| sum.add(&side.counts(false)));
        }
        for ((sum, cells), before) in counted.iter_mut().zip(sides).zip(&self.before) {
            sum.latencies = cells.counts().since(before).latencies;
        }
        counted
    }
}

impl Look<'_> {
    /// The cells of stable and of the candidate; `None` where there is nothing to compare.
    fn sides(&self) -> Option<[Arc<Outcomes>; 2]> {
        let Member { function, alias, stable, candidate } = self.member;
        let cells = |version| self.snapshot.outcomes(function, alias, version);
        Some([cells((*stable)?)?, cells(VersionId::Number(*candidate))?])
    }

    fn is_keyless(&self) -> bool {
        let function = self.snapshot.table.config().functions.get(&self.member.function);
        function.and_then(|function| function.own(&self.member.alias)).is_some_and(|alias| alias.key.is_empty())
    }

    /// The limits of requests, by the answers of stable: those that the split drew, or, where these are too few, all that its
    /// endpoints gave.
    fn limits(&self, stable: &Outcomes) -> Limits {
        let Member { function, alias, stable: version, .. } = self.member;
        let destination = version.and_then(|version| self.snapshot.alias_destination(function, alias, version));
        let response = destination
            .and_then(|destination: &Arc<Destination>| destination.state.as_ref())
            .map_or(Duration::MAX, |state| state.spec().timeouts.response);
        let drawn = stable.counts();
        let drawn_answers: u64 = drawn.latencies.iter().sum();
        let known = if drawn_answers >= KNOWN {
            drawn.quantile(990).zip(drawn.quantile(999)).map(|(p99, p999)| (drawn_answers, p99, p999))
        } else {
            let times = destination.map(|destination| &destination.upstream_series.duration);
            times.and_then(|times| Some((times.known(), times.upper_bound(990)?, times.upper_bound(999)?)))
        };
        Limits::of(known, response)
    }
}
