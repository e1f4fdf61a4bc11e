//! The strata of an alias: which one takes requests now, and what became of those that each version began in it.
//!
//! The number of the present stratum is shared by all versions of an alias, so that which stratum a request is in does not depend on
//! the version that was drawn. Who judges them begins the next one; requests keep the number of theirs.
//!
//! A worker has a ring of tallies, and is the only one that writes to it: a tally that still has an older number is emptied by the
//! worker itself when it begins a request there, and a request whose number its tally no longer has counts in none. The ring is
//! larger than the number of strata that may be open, so that no tally is emptied that somebody still reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, Instant};

use config::release::outcome::Class;
use config::release::verdict::{Begun, Limits, MAX_OPEN};

/// The number of tallies of a ring.
const RING: usize = 128;
const _: () = assert!(MAX_OPEN + 1 < RING, "no tally that is read is written anew");

/// The present stratum of an alias. A pair of cache lines of its own: every request reads it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Present(AtomicU32);

impl Present {
    pub(super) fn number(&self) -> u32 {
        self.0.load(Acquire)
    }

    pub(super) fn set(&self, number: u32) {
        self.0.store(number, Release);
    }
}

/// The limits of each stratum, in microseconds; set before the stratum takes requests.
#[derive(Debug)]
pub(super) struct Ages([Age; RING]);

#[derive(Debug)]
struct Age {
    unanswered: AtomicU32,
    gone: AtomicU32,
    quick: AtomicU32,
}

impl Default for Ages {
    fn default() -> Self {
        let ages = Self(std::array::from_fn(|_| Age {
            unanswered: AtomicU32::new(0),
            gone: AtomicU32::new(0),
            quick: AtomicU32::new(0),
        }));
        (0..RING as u32).for_each(|number| ages.set(number, Limits::default(), None));
        ages
    }
}

impl Ages {
    pub(super) fn set(&self, number: u32, limits: Limits, slow: Option<Duration>) {
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let age = &self.0[number as usize % RING];
        age.unanswered.store(micros(limits.unanswered), Relaxed);
        age.gone.store(micros(limits.gone), Relaxed);
        age.quick.store(slow.map_or(u32::MAX, micros), Relaxed);
    }
}

/// The tallies of one worker.
#[derive(Debug)]
pub(super) struct Ring([Tally; RING]);

/// Outcomes of the requests that a version began in one stratum, on one worker: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Tally {
    number: AtomicU32,
    begun: AtomicU32,
    classes: [AtomicU32; Class::ALL.len()],
    gone: AtomicU32,
    answering: AtomicU32,
    quick: AtomicU32,
    quick_left_out: AtomicU32,
    repeated: AtomicU32,
}

impl Default for Ring {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Tally::default()))
    }
}

/// A request that was drawn: where its outcome counts. It has one outcome.
#[derive(Debug)]
pub struct Ticket {
    number: u32,
    /// False of a routing key that had a request in this stratum already.
    is_counted: bool,
    is_answering: bool,
    pub(super) bucket: Option<u16>,
    began: Instant,
}

/// An outcome, as the stratum of its request takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct InStratum {
    pub(super) class: Class,
    pub(super) latency: Option<Duration>,
    pub(super) at: Instant,
    pub(super) is_repeated: bool,
}

impl Ticket {
    pub(super) fn new(number: u32, is_counted: bool, bucket: Option<u16>, began: Instant) -> Self {
        Self { number, is_counted, is_answering: false, bucket, began }
    }

    /// True once the good answer is known to be on its way.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        self.is_answering
    }

    /// True if the client had waited so long when it left that this is a bad outcome.
    pub(super) fn has_waited(&self, ages: &Ages, at: Instant) -> bool {
        !self.is_answering && self.age(at) >= ages.0[self.number as usize % RING].gone.load(Relaxed)
    }

    fn age(&self, at: Instant) -> u32 {
        u32::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u32::MAX)
    }
}

impl Ring {
    /// A request began in this stratum.
    pub(super) fn begin(&self, ticket: &Ticket) {
        if !ticket.is_counted {
            return;
        }
        let tally = &self.0[ticket.number as usize % RING];
        if tally.number.load(Relaxed) != ticket.number {
            tally.empty();
            tally.number.store(ticket.number, Release);
        }
        add(&tally.begun, 1);
    }

    /// The good answer of a request is on its way. `latency`: to the head of the answer.
    pub(super) fn answering(&self, ages: &Ages, ticket: &mut Ticket, latency: Duration, at: Instant) {
        let Some((tally, age)) = self.tally(ages, ticket, at).filter(|_| !ticket.is_answering) else { return };
        ticket.is_answering = true;
        add(&tally.answering, 1);
        if micros(latency) <= age.quick.load(Relaxed) {
            add(&tally.quick, 1);
        }
    }

    /// A request ended. What ends after the age at which it was unanswered changes nothing.
    pub(super) fn ended(&self, ages: &Ages, ticket: &Ticket, ended: InStratum) {
        let InStratum { class, latency, at, is_repeated } = ended;
        let Some((tally, age)) = self.tally(ages, ticket, at) else { return };
        let is_left_out = matches!(class, Class::ClientGone | Class::Uncharged);
        // Who had the answer and saw enough of it is no client that left for want of one.
        let class = if is_left_out && ticket.is_answering { Class::Success } else { class };
        add(&tally.classes[class as usize], 1);
        if ticket.is_answering {
            tally.answering.store(tally.answering.load(Relaxed).wrapping_sub(1), Relaxed);
        } else if latency.map_or_else(|| ticket.age(at), micros) <= age.quick.load(Relaxed) {
            add(if is_left_out { &tally.quick_left_out } else { &tally.quick }, 1);
        }
        if class == Class::ClientGone && ticket.has_waited(ages, at) {
            add(&tally.gone, 1);
        }
        if is_repeated {
            add(&tally.repeated, 1);
        }
    }

    /// The outcomes so far of the requests of this stratum.
    pub(super) fn read(&self, number: u32) -> Begun {
        let tally = &self.0[number as usize % RING];
        if tally.number.load(Acquire) != number {
            return Begun::default();
        }
        let get = |cell: &AtomicU32| u64::from(cell.load(Relaxed));
        Begun {
            classes: tally.classes.each_ref().map(get),
            gone: get(&tally.gone),
            answering: get(&tally.answering),
            quick: get(&tally.quick),
            quick_left_out: get(&tally.quick_left_out),
            repeated: get(&tally.repeated),
            begun: get(&tally.begun),
        }
    }

    /// The tally in which the outcome of a request counts, unless it is too late for it.
    fn tally<'a>(&'a self, ages: &'a Ages, ticket: &Ticket, at: Instant) -> Option<(&'a Tally, &'a Age)> {
        let place = ticket.number as usize % RING;
        let (tally, age) = (&self.0[place], &ages.0[place]);
        let is_in_time = ticket.age(at) <= age.unanswered.load(Relaxed);
        (ticket.is_counted && tally.number.load(Relaxed) == ticket.number && is_in_time).then_some((tally, age))
    }
}

impl Tally {
    fn empty(&self) {
        let others = [&self.begun, &self.gone, &self.answering, &self.quick, &self.quick_left_out, &self.repeated];
        self.classes.iter().chain(others).for_each(|cell| cell.store(0, Relaxed));
    }
}

/// Adds to a cell that nobody else writes.
#[inline]
fn add(cell: &AtomicU32, more: u32) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Begins the next stratum of both versions of an alias; its number. `slow`: the latency above which an answer is slow, of each side.
pub fn begin_stratum(sides: [&Arc<super::Outcomes>; 2], limits: Limits, slow: Option<[Duration; 2]>) -> u32 {
    let [stable, candidate] = sides;
    let number = stable.present.number().wrapping_add(1);
    stable.ages.set(number, limits, slow.map(|slow| slow[0]));
    candidate.ages.set(number, limits, slow.map(|slow| slow[1]));
    stable.next_batch();
    candidate.next_batch();
    stable.present.set(number);
    // Versions that began to count apart, such as in a test, still have one stratum at a time.
    candidate.present.set(number);
    number
}
