//! Outcome cells: what came of the requests that the split of an alias gave to one version. They are told; they decide
//! nothing.
//!
//! **What is counted.** Requests that the split drew (slot, bucket, random, or the only version above weight 0), each for
//! the version that was drawn, whoever answered in the end. Not requests that a rule, an override of the version, or a
//! named number led there. Each counts in the stratum in which it began ([`strata`]), and in sums over all time. A routing key
//! counts once per stratum, with its first request, and it is told which failures only repeat the key's last outcome; draws are all
//! counted.
//!
//! **What it costs.** Every worker has cells of its own, on cache lines of its own, made when it counts here first, and is the only one that
//! writes to them; after that nothing allocates and nothing locks. Only the buckets of a stratum are shared, and only failures
//! touch the wake.

mod recent;
mod strata;
mod wake;

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use config::release::outcome::{Class, Counts, LATENCY_BUCKETS, latency_bucket};
use config::release::verdict::{Begun, Limits};

pub use recent::Recent;
use recent::RecentCells;
use strata::{Ages, InStratum, Present, Ring};
pub use strata::{Ticket, begin_stratum};
pub use wake::Wake;

/// Buckets of a split, one bit each.
const BUCKET_WORDS: usize = 10_000_usize.div_ceil(64);

/// Cells of one version under one alias. They only rise.
pub struct Outcomes {
    workers: Box<[OnceLock<Box<Cells>>]>,
    /// The stratum in which requests begin, one for all versions of an alias.
    present: Arc<Present>,
    ages: Ages,
    /// Buckets with a request in this stratum.
    batch: Buckets,
    /// Buckets whose last outcome was a failure.
    failing: Buckets,
    stand_ins: AtomicU32,
    /// True while a rollout judges what is counted here.
    is_watched: AtomicBool,
    /// True if something failed since that was last asked, and the cells were watched.
    has_failed: AtomicBool,
    wake: Arc<Wake>,
    started: Instant,
}

/// What one worker counted. A pair of cache lines is what adjacent-line prefetch moves.
#[repr(align(128))]
struct Cells {
    begun: AtomicU64,
    classes: [AtomicU64; Class::ALL.len()],
    gone: AtomicU64,
    recent: RecentCells,
    strata: Ring,
    latencies: [AtomicU64; LATENCY_BUCKETS],
}

/// What came of one request.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// What it counts as.
    pub class: Class,
    /// From the head of the request to the head of the answer, if there was an answer.
    pub latency: Option<Duration>,
    /// When.
    pub at: Instant,
}

impl Outcomes {
    /// Nothing counted yet. `wake` is told of failures while the cells are [watched](Self::watch).
    #[must_use]
    pub fn new(workers: usize, wake: Arc<Wake>, now: Instant) -> Self {
        Self {
            workers: (0..workers).map(|_| OnceLock::new()).collect(),
            present: Arc::default(),
            ages: Ages::default(),
            batch: Buckets::default(),
            failing: Buckets::default(),
            stand_ins: AtomicU32::new(0),
            is_watched: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            wake,
            started: now,
        }
    }

    /// The same for another version of the same alias: its requests begin in the same strata.
    #[must_use]
    pub fn beside(other: &Self, now: Instant) -> Self {
        let fresh = Self::new(other.workers.len(), Arc::clone(&other.wake), now);
        Self { present: Arc::clone(&other.present), ..fresh }
    }

    /// The split drew a request. `worker` is below the number of workers, and is the one that calls; `bucket` is that of its routing key, if
    /// that drew it.
    pub fn begin(&self, worker: usize, bucket: Option<u16>, now: Instant) -> Ticket {
        let is_counted = bucket.is_none_or(|bucket| !self.batch.set(bucket, true));
        let ticket = Ticket::new(self.present.number(), is_counted, bucket, now);
        let cells = self.cells(worker);
        add(&cells.begun);
        cells.strata.begin(&ticket);
        ticket
    }

    /// The good answer of a request is on its way, for as long as that takes. `latency`: to the head of the answer.
    pub fn answering(&self, worker: usize, ticket: &mut Ticket, latency: Duration, now: Instant) {
        self.cells(worker).strata.answering(&self.ages, ticket, latency, now);
    }

    /// A drawn request has its outcome.
    pub fn ended(&self, worker: usize, ticket: &Ticket, ended: &Ended) {
        let cells = self.cells(worker);
        let Ended { class, latency, at } = *ended;
        let failed = class.is_failure(false);
        let is_gone = class == Class::ClientGone && ticket.has_waited(&self.ages, at);
        if !matches!(class, Class::ClientGone | Class::Uncharged) {
            cells.recent.add(self.age(at), failed);
        }
        let is_bad = failed || is_gone;
        let is_outcome = is_gone || !matches!(class, Class::ClientGone | Class::Uncharged);
        let is_repeated = ticket.bucket.is_some_and(|bucket| is_outcome && self.failing.set(bucket, is_bad) && is_bad);
        add(&cells.classes[class as usize]);
        if is_gone {
            add(&cells.gone);
        }
        if let Some(latency) = latency {
            add(&cells.latencies[latency_bucket(latency)]);
        }
        cells.strata.ended(&self.ages, ticket, InStratum { class, latency, at, is_repeated });
        if is_bad && self.is_watched.load(Relaxed) {
            // The wake makes it visible to whoever is woken.
            self.has_failed.store(true, Relaxed);
            self.wake.wake(at);
        }
    }

    /// The outcomes so far of the requests that began in this stratum.
    #[must_use]
    pub fn stratum(&self, number: u32) -> Begun {
        let each = self.workers.iter().filter_map(OnceLock::get).map(|cells| cells.strata.read(number));
        each.fold(Begun::default(), |mut sum, more| {
            sum.add(&more);
            sum
        })
    }

    /// The number of the stratum in which requests begin.
    #[must_use]
    pub fn present_stratum(&self) -> u32 {
        self.present.number()
    }

    /// Changes how long requests of the present stratum may take.
    pub fn limit_present(&self, limits: Limits) {
        self.ages.set(self.present.number(), limits, None);
    }

    /// Has failures wake, or no longer: those of a split that no rollout judges are nobody's business.
    pub fn watch(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Relaxed);
    }

    /// True if something failed since this was last asked, while the cells were watched.
    pub fn take_failed(&self) -> bool {
        self.has_failed.swap(false, Relaxed)
    }

    /// Requests of all workers since the beginning, whatever their stratum was.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for cells in self.workers.iter().filter_map(OnceLock::get) {
            counts.begun += cells.begun.load(Relaxed);
            counts.gone += cells.gone.load(Relaxed);
            counts.classes.iter_mut().zip(&cells.classes).for_each(|(sum, cell)| *sum += cell.load(Relaxed));
            counts.latencies.iter_mut().zip(&cells.latencies).for_each(|(sum, cell)| *sum += cell.load(Relaxed));
        }
        counts
    }

    /// When they began to count.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Routing keys count anew. A request that begins meanwhile counts with those before or after.
    fn next_batch(&self) {
        self.batch.clear();
    }

    /// What came of its requests over the last seconds, every request of a routing key counted.
    #[must_use]
    pub fn recent(&self, now: Instant) -> Recent {
        let age = self.age(now);
        self.workers.iter().filter_map(OnceLock::get).map(|cells| cells.recent.at(age)).sum()
    }

    /// A request of another version that this one answers instead, unless `most` are under way already.
    #[must_use]
    pub fn stand_in(self: &Arc<Self>, most: u32) -> Option<StandIn> {
        // Taken first and given back if that was too much: workers that race can be refused, never overdraw.
        if self.stand_ins.fetch_add(1, Relaxed) < most {
            return Some(StandIn(Arc::clone(self)));
        }
        self.stand_ins.fetch_sub(1, Relaxed);
        None
    }

    fn cells(&self, worker: usize) -> &Cells {
        self.workers[worker].get_or_init(|| {
            Box::new(Cells {
                begun: AtomicU64::new(0),
                classes: array::from_fn(|_| AtomicU64::new(0)),
                gone: AtomicU64::new(0),
                recent: RecentCells::default(),
                strata: Ring::default(),
                latencies: array::from_fn(|_| AtomicU64::new(0)),
            })
        })
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

/// Adds one to a cell that nobody else writes.
#[inline]
fn add(cell: &AtomicU64) {
    cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
}

/// A bit for each bucket, shared by all workers; made when the first is set.
#[derive(Default)]
struct Buckets(OnceLock<Box<[AtomicU64; BUCKET_WORDS]>>);

impl Buckets {
    /// Sets a bit; answers what it was.
    fn set(&self, bucket: u16, to: bool) -> bool {
        if !to && self.0.get().is_none() {
            return false;
        }
        let words = self.0.get_or_init(|| Box::new(array::from_fn(|_| AtomicU64::new(0))));
        let (word, bit) = (&words[usize::from(bucket) / 64], 1 << (bucket % 64));
        let was = word.load(Relaxed) & bit != 0;
        // Most requests of a busy key end here, without taking the line from other workers.
        if was == to {
            return was;
        }
        let word = if to { word.fetch_or(bit, Relaxed) } else { word.fetch_and(!bit, Relaxed) };
        word & bit != 0
    }

    fn clear(&self) {
        self.0.get().into_iter().flat_map(|words| words.iter()).for_each(|word| word.store(0, Relaxed));
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { begun, classes, .. } = self.counts();
        f.debug_struct("Outcomes").field("begun", &begun).field("classes", &classes).finish_non_exhaustive()
    }
}

/// A request that a version answers in the place of another one, under way until it is dropped.
#[derive(Debug)]
pub struct StandIn(Arc<Outcomes>);

impl Drop for StandIn {
    fn drop(&mut self) {
        self.0.stand_ins.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
