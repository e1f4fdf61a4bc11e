//! Strata: short times in which requests began, and what came of these requests.
//!
//! Each request is in the stratum in which it *began*, whenever it ends, and has one outcome by its own age of `X`
//! ([`Limits::unanswered`]): good, bad, or left out. A request without an answer at that age is *unanswered*, which is bad; one whose
//! client left after `G` ([`Limits::gone`]) is *gone*, which is bad too; one whose client left earlier is left out. Strata are compared
//! in the order in which they began, the first one when nothing of it is open or when all of it is as old as `X`.
//!
//! The order matters: what is compared by a time is then the beginning of one fixed sequence, whichever side is faster, and the most that
//! a test comes to over these beginnings is bounded by Ville's inequality. Counting requests when they end breaks that: a version
//! that fails fast and one that fails slowly, equally often, would be told apart by what is in so far.
//!
//! **The early look** ([`Strata::early`]) does not wait. It goes on from what was compared, over strata that are still open, as if every open
//! request of stable ended badly and every one of the candidate well. Both tests rise with bad outcomes of the candidate and fall
//! with those of stable, so what the early look finds the same strata will show when they are closed: it costs no alpha.

use std::collections::VecDeque;
use std::time::Duration;

use super::tally::Tally;
use super::{Stakes, Watch};
use crate::release::outcome::{Class, Counts};
use crate::value::weight::Weight;

/// The age at which a request without an answer is unanswered, where too little is known of stable.
const UNKNOWN_UNANSWERED: Duration = Duration::from_secs(10);
/// The wait from which on a client that leaves is a bad outcome, where too little is known of stable.
const UNKNOWN_GONE: Duration = Duration::from_secs(1);
/// The least of both.
const LEAST_UNANSWERED: Duration = Duration::from_secs(1);
const LEAST_GONE: Duration = Duration::from_millis(50);
/// The number of stable's answers from which on the limits are taken from them.
const KNOWN: u64 = 1_000;
/// The part of the age limit that a stratum lasts at least, so that at most so many are open.
const PARTS: u32 = 100;

/// The most strata that are open at once, the one included that still takes requests.
pub const MAX_OPEN: usize = PARTS as usize + 8;

/// Limits on the time that a request may be without an answer, fixed when a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The age at which a request without an answer is unanswered: `X`.
    pub unanswered: Duration,
    /// The wait from which on a client that leaves is a bad outcome: `G`.
    pub gone: Duration,
    /// True if they were taken from enough answers of stable.
    pub is_known: bool,
}

impl Limits {
    /// By stable's good answers: four times the 99.9th percentile, at least a second and at most the version's response timeout; and the
    /// 99th percentile, at least 50 ms. `stable` holds the number of answers and both percentiles.
    #[must_use]
    pub fn of(stable: Option<(u64, Duration, Duration)>, response: Duration) -> Self {
        match stable {
            Some((answers, p99, p999)) if answers >= KNOWN => {
                let unanswered = p999.saturating_mul(4).max(LEAST_UNANSWERED).min(response);
                Self { unanswered, gone: p99.max(LEAST_GONE).min(unanswered), is_known: true }
            }
            _ => {
                let unanswered = UNKNOWN_UNANSWERED.min(response);
                Self { unanswered, gone: UNKNOWN_GONE.min(unanswered), is_known: false }
            }
        }
    }

    /// The least time that a stratum takes requests.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        self.unanswered / PARTS
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(None, Duration::MAX)
    }
}

/// Outcomes so far of the requests of one side that began in one stratum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Begun {
    /// All of them. A routing key counts once.
    pub begun: u64,
    /// Those that ended by the age limit, by [`Class`], in its order.
    pub classes: [u64; Class::ALL.len()],
    /// Of those whose client left, the ones whose client had waited for long.
    pub gone: u64,
    /// Those that have not ended and whose good answer is on its way.
    pub answering: u64,
    /// Those that ended, or began to be answered, within the latency limit of their side.
    pub quick: u64,
    /// Those that were left out within it: the client left, or nobody is charged.
    pub quick_left_out: u64,
    /// Of the bad ones, those of routing keys whose last outcome was bad already.
    pub repeated: u64,
}

impl Begun {
    /// Requests that were answered at once, so many of them with a failure.
    #[must_use]
    pub fn answered(requests: u64, failures: u64) -> Self {
        let mut begun = Self { begun: requests, quick: requests, ..Self::default() };
        begun.classes[Class::Success as usize] = requests - failures;
        begun.classes[Class::ServerError as usize] = failures;
        begun
    }

    /// Both together.
    pub fn add(&mut self, more: &Self) {
        self.begun += more.begun;
        self.classes.iter_mut().zip(more.classes).for_each(|(sum, more)| *sum += more);
        self.gone += more.gone;
        self.answering += more.answering;
        self.quick += more.quick;
        self.quick_left_out += more.quick_left_out;
        self.repeated += more.repeated;
    }

    /// Those that have not ended.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.begun.saturating_sub(self.classes.iter().sum())
    }

    /// Those of which nothing has come yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.open().saturating_sub(self.answering)
    }

    /// The outcomes at the age limit: what is being answered is good, what still waits is unanswered.
    pub(super) fn tally(&self, client_errors: bool) -> Tally {
        let ended = Counts { classes: self.classes, gone: self.gone, unanswered: self.waiting(), ..Counts::default() };
        Tally {
            requests: ended.judged() + self.answering,
            failures: ended.failures(client_errors),
            unanswered: ended.unanswered,
            gone: ended.gone,
        }
    }

    /// The same if all that is open ended badly.
    fn at_worst(&self) -> Self {
        Self { answering: 0, ..*self }
    }

    /// The same if all that is open ended well.
    fn at_best(&self) -> Self {
        Self { answering: self.open(), ..*self }
    }

    /// Requests by speed: those that count, and of them those that were not quick.
    pub(super) fn slow(&self) -> Tally {
        let requests = self.begun.saturating_sub(self.quick_left_out);
        Tally { requests, failures: requests.saturating_sub(self.quick), ..Tally::default() }
    }

    /// As counts of what ended, without latencies; `is_closed`: whether what waits is unanswered.
    #[must_use]
    pub fn counts(&self, is_closed: bool) -> Counts {
        let mut counts = Counts { begun: self.begun, classes: self.classes, gone: self.gone, ..Counts::default() };
        if is_closed {
            counts.unanswered = self.waiting();
            counts.classes[Class::Success as usize] += self.answering;
        }
        counts
    }
}

/// Both sides of a stratum, at one weight.
#[derive(Debug, Clone, Copy)]
pub struct Stratum {
    /// Of the version that has been there.
    pub stable: Begun,
    /// Of the version that is tried.
    pub candidate: Begun,
    /// The asked share of the candidate.
    pub weight: Weight,
    /// The stakes of the bet, fixed when the stratum began.
    pub stakes: Stakes,
    /// True if draws say something about the split: those of slots do, those of keys come back.
    pub is_drawn: bool,
    /// The time at which it began, since any fixed moment.
    pub began: Duration,
}

/// The strata that are not compared yet, in the order in which they began; the last one takes requests.
#[derive(Debug, Default)]
pub struct Strata {
    open: VecDeque<Opened>,
    /// Bad outcomes of the candidate in the strata of the last early look.
    bad: u64,
}

#[derive(Debug, Clone)]
struct Opened {
    number: u32,
    weight: Weight,
    stakes: Stakes,
    limits: Limits,
    /// The age at which an answer is slow on both sides; `None` where speed is not judged, or was.
    slow: Option<Duration>,
    is_drawn: bool,
    began: Duration,
    /// The time from which on it took no more requests.
    ended: Option<Duration>,
}

/// A stratum that begins.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Its number in the cells.
    pub number: u32,
    /// The asked share of the candidate.
    pub weight: Weight,
    /// The limits of its requests.
    pub limits: Limits,
    /// The age at which an answer is slow, of stable and of the candidate; `None` where speed is not judged.
    pub slow: Option<[Duration; 2]>,
    /// True if draws say something about the split.
    pub is_drawn: bool,
    /// The time.
    pub now: Duration,
}

/// A stratum with its outcomes.
#[derive(Debug, Clone, Copy)]
pub struct Closed {
    /// The time at which it began.
    pub began: Duration,
    /// The outcomes of both sides, stable first.
    pub sides: [Begun; 2],
}

impl Strata {
    /// Ends the stratum that takes requests, and begins the next one.
    pub fn begin(&mut self, opening: Opening, watch: &Watch) {
        let Opening { number, weight, limits, slow, is_drawn, now } = opening;
        if let Some(last) = self.open.back_mut() {
            last.ended.get_or_insert(now);
        }
        let stakes = watch.stakes();
        let slow = slow.map(|[stable, candidate]| stable.max(candidate));
        self.open.push_back(Opened { number, weight, stakes, limits, slow, is_drawn, began: now, ended: None });
    }

    /// Takes note that the weight changed while the present stratum took requests: its draws say nothing about the split.
    pub fn mix(&mut self) {
        if let Some(last) = self.open.back_mut() {
            last.is_drawn = false;
        }
    }

    /// True if the next stratum may begin: the present one has lasted long enough, and not too many are open.
    #[must_use]
    pub fn may_begin(&self, now: Duration) -> bool {
        let long_enough =
            |last: &Opened| now.saturating_sub(last.began) >= last.limits.shortest() && self.open.len() < MAX_OPEN;
        self.open.back().is_none_or(long_enough)
    }

    /// The number of the stratum that takes requests.
    #[must_use]
    pub fn present(&self) -> Option<u32> {
        self.open.back().map(|last| last.number)
    }

    /// Compares the strata that are closed by now, the first one first. `read` says what came of one so far.
    pub fn settle(&mut self, now: Duration, watch: &mut Watch, read: impl Fn(u32) -> [Begun; 2]) -> Vec<Closed> {
        self.judge_speed(now, watch, &read);
        let mut closed = Vec::new();
        while let Some(first) = self.open.front().filter(|first| first.ended.is_some()) {
            let sides = read(first.number);
            let age = now.saturating_sub(first.ended.unwrap_or(now));
            if sides.iter().any(|side| side.open() > 0) && age < first.limits.unanswered {
                break;
            }
            watch.observe(&first.stratum(sides));
            closed.push(Closed { began: first.began, sides });
            self.open.pop_front();
        }
        closed
    }

    /// Looks whether the candidate is worse, whatever comes of what is open. Nothing is done unless more of the candidate ended badly.
    pub fn early(&mut self, watch: &mut Watch, read: impl Fn(u32) -> [Begun; 2]) {
        let ended = self.open.iter().take_while(|opened| opened.ended.is_some());
        let read: Vec<(Stratum, Stratum)> = ended
            .map(|opened| {
                let sides = read(opened.number);
                let [stable, candidate] = sides;
                (opened.stratum([stable.at_worst(), candidate.at_best()]), opened.stratum(sides))
            })
            .collect();
        let ended_badly = |(_, now): &(Stratum, Stratum)| watch.ended_badly(&now.candidate);
        let bad = read.iter().map(ended_badly).sum();
        if std::mem::replace(&mut self.bad, bad) < bad {
            watch.look_early(&read);
        }
    }

    /// The outcomes so far of each stratum that is open, with the time at which it began.
    pub fn open(&self, read: impl Fn(u32) -> [Begun; 2]) -> impl Iterator<Item = Closed> {
        self.open.iter().map(move |opened| Closed { began: opened.began, sides: read(opened.number) })
    }

    /// The number of requests of the candidate that wait for an answer and began in a stratum before this one.
    #[must_use]
    pub fn waiting(&self, before: u32, read: impl Fn(u32) -> [Begun; 2]) -> u64 {
        let earlier = self.open.iter().take_while(|opened| opened.number != before);
        earlier.map(|opened| read(opened.number)[1].waiting()).sum()
    }

    /// Compares speeds: a stratum is closed for them when all of it is slow or has ended.
    fn judge_speed(&mut self, now: Duration, watch: &mut Watch, read: &impl Fn(u32) -> [Begun; 2]) {
        for opened in &mut self.open {
            let Some(slow) = opened.slow else { continue };
            let Some(ended) = opened.ended else { return };
            let sides = read(opened.number);
            if sides.iter().any(|side| side.open() > 0) && now.saturating_sub(ended) < slow {
                return;
            }
            opened.slow = None;
            watch.observe_speed(&opened.stratum(sides));
        }
    }
}

impl Opened {
    fn stratum(&self, [stable, candidate]: [Begun; 2]) -> Stratum {
        let Self { weight, stakes, is_drawn, began, .. } = *self;
        Stratum { stable, candidate, weight, stakes, is_drawn, began }
    }
}
