//! Requests that take time, shown to the verdict as the gateway shows them: each is counted in the stratum in which it began.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use config::release::outcome::{Class, LATENCY_BUCKETS, latency_bucket};
use config::release::verdict::{Begun, Limits, Opening, Strata, Verdict, Watch};
use config::value::weight::Weight;

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) is_candidate: bool,
    pub(crate) began: Duration,
    /// Its age at its end; `None` where it never ends.
    pub(crate) takes: Option<Duration>,
    pub(crate) class: Class,
}

/// The verdict, with the strata that are open and the requests in them.
pub(crate) struct ByBeginnings {
    pub(crate) watch: Watch,
    limits: Limits,
    strata: Strata,
    /// Of each stratum, by its number less 1: outcomes so far, and the ages from which on an answer is slow.
    cells: Vec<([Begun; 2], Option<[Duration; 2]>)>,
    open: BinaryHeap<Ending>,
    /// Answers of stable since the last look.
    learned: [u64; LATENCY_BUCKETS],
}

impl ByBeginnings {
    /// At time 0.
    pub(crate) fn new(watch: Watch, limits: Limits, weight: Weight) -> Self {
        let (strata, open) = Default::default();
        let mut judge = Self { watch, limits, strata, cells: Vec::new(), open, learned: [0; LATENCY_BUCKETS] };
        judge.begin(Duration::ZERO, weight);
        judge
    }

    /// Begins a stratum with the requests that come, if the present one has lasted long enough.
    fn begin(&mut self, now: Duration, weight: Weight) {
        if !self.strata.may_begin(now) {
            return;
        }
        let slow = self.watch.slow_limits(now);
        let slow = slow.map(|slow| slow.map(|time| time.min(self.limits.unanswered)));
        self.cells.push((Default::default(), slow));
        let number = self.cells.len() as u32;
        self.strata.begin(Opening { number, weight, limits: self.limits, slow, is_drawn: true, now }, &self.watch);
    }

    /// A request begins; what will come of it is not looked at before its end.
    pub(crate) fn asked(&mut self, request: Judged) {
        let number = self.strata.present().expect("one takes requests");
        self.cells[number as usize - 1].0[usize::from(request.is_candidate)].begun += 1;
        if let Some(takes) = request.takes {
            self.open.push(Ending { at: request.began + takes, takes, number, request });
        }
    }

    /// Lets everything end that does by now.
    fn end(&mut self, now: Duration) {
        while let Some(Ending { takes, number, request, .. }) = self.open.peek().filter(|ending| ending.at <= now) {
            let (age, class, side) = (*takes, request.class, usize::from(request.is_candidate));
            let is_gone = class == Class::ClientGone;
            if side == 0 && !is_gone {
                self.learned[latency_bucket(age)] += 1;
            }
            if age <= self.limits.unanswered {
                let (sides, slow) = &mut self.cells[*number as usize - 1];
                let is_quick = u64::from(slow.is_none_or(|slow| age <= slow[side]));
                let cell = &mut sides[side];
                cell.classes[class as usize] += 1;
                if is_gone {
                    cell.gone += u64::from(age >= self.limits.gone);
                    cell.quick_left_out += is_quick;
                } else {
                    cell.quick += is_quick;
                }
            }
            self.open.pop();
        }
    }

    /// Looks at what has come by now; from now on requests come at this weight.
    pub(crate) fn look(&mut self, now: Duration, weight: Weight) -> Verdict {
        self.end(now);
        self.begin(now, weight);
        let cells = &self.cells;
        let read = |number: u32| cells[number as usize - 1].0;
        self.strata.settle(now, &mut self.watch, read);
        self.strata.early(&mut self.watch, read);
        self.watch.learn_speed(&std::mem::replace(&mut self.learned, [0; LATENCY_BUCKETS]));
        self.watch.verdict()
    }

    /// The gateway starts again from what it stored: what had not ended is lost.
    pub(crate) fn restarted(&mut self, now: Duration, weight: Weight) {
        let stored = serde_json::to_string(&self.watch).expect("numbers are JSON");
        self.watch = serde_json::from_str(&stored).expect("what was stored is read again");
        (self.strata, self.open) = Default::default();
        self.begin(now, weight);
    }
}

/// The end of a request, in the stratum in which it began. What ends first comes first.
#[derive(Debug)]
struct Ending {
    at: Duration,
    takes: Duration,
    number: u32,
    request: Judged,
}

impl PartialEq for Ending {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Ending {}

impl PartialOrd for Ending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ending {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}
