//! Outcome cells: what came of the requests that the split of an alias gave to one version. They are told; they decide
//! nothing.
//!
//! **What is counted.** Requests that the split drew (slot, bucket, random, or the only version above weight 0), each for
//! the version that was drawn, whoever answered in the end. Not requests that a rule, an override of the version, or a
//! named number led there. A routing key counts once per batch, with its first outcome, and it is told which failures only
//! repeat the key's last outcome; draws are all counted.
//!
//! **What it costs.** Every worker has cells of its own, on cache lines of its own, made when it counts here first; after
//! that nothing allocates and nothing locks. Only the buckets of a batch are shared, and only failures touch the wake.

mod recent;
mod wake;

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use config::release::outcome::{Class, LATENCY_BUCKETS, latency_bucket};
use config::release::verdict::Side;

pub use recent::Recent;
use recent::RecentCells;
pub use wake::Wake;

/// Buckets of a split, one bit each.
const BUCKET_WORDS: usize = 10_000_usize.div_ceil(64);

/// Cells of one version under one alias. They only rise.
pub struct Outcomes {
    workers: Box<[OnceLock<Box<Cells>>]>,
    /// Buckets with an outcome in this batch.
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
    drawn: AtomicU64,
    repeated: AtomicU64,
    classes: [AtomicU64; Class::ALL.len()],
    recent: RecentCells,
    latencies: [AtomicU64; LATENCY_BUCKETS],
}

/// What came of one request.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// What it counts as.
    pub class: Class,
    /// From the head of the request to the head of the answer, if there was an answer.
    pub latency: Option<Duration>,
    /// The bucket of its routing key, if that drew it.
    pub bucket: Option<u16>,
    /// When.
    pub at: Instant,
}

impl Outcomes {
    /// Nothing counted yet. `wake` is told of failures while the cells are [watched](Self::watch).
    #[must_use]
    pub fn new(workers: usize, wake: Arc<Wake>, now: Instant) -> Self {
        Self {
            workers: (0..workers).map(|_| OnceLock::new()).collect(),
            batch: Buckets::default(),
            failing: Buckets::default(),
            stand_ins: AtomicU32::new(0),
            is_watched: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            wake,
            started: now,
        }
    }

    /// The split drew a request. `worker` is below the number of workers.
    pub fn drawn(&self, worker: usize) {
        self.cells(worker).drawn.fetch_add(1, Relaxed);
    }

    /// A drawn request has its outcome.
    pub fn ended(&self, worker: usize, ended: &Ended) {
        let cells = self.cells(worker);
        let failed = ended.class.is_failure(false);
        if ended.class != Class::ClientGone {
            cells.recent.add(self.age(ended.at), failed);
        }
        if let Some(bucket) = ended.bucket {
            if self.batch.set(bucket, true) {
                return;
            }
            if ended.class != Class::ClientGone && self.failing.set(bucket, failed) && failed {
                cells.repeated.fetch_add(1, Relaxed);
            }
        }
        cells.classes[ended.class as usize].fetch_add(1, Relaxed);
        if let Some(latency) = ended.latency {
            cells.latencies[latency_bucket(latency)].fetch_add(1, Relaxed);
        }
        if failed && self.is_watched.load(Relaxed) {
            // The wake makes it visible to whoever is woken.
            self.has_failed.store(true, Relaxed);
            self.wake.wake(ended.at);
        }
    }

    /// Has failures wake, or no longer: those of a split that no rollout judges are nobody's business.
    pub fn watch(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Relaxed);
    }

    /// True if something failed since this was last asked, while the cells were watched.
    pub fn take_failed(&self) -> bool {
        self.has_failed.swap(false, Relaxed)
    }

    /// Outcomes and draws of all workers since the beginning.
    #[must_use]
    pub fn side(&self) -> Side {
        let mut side = Side::default();
        let Side { counts, drawn, repeated } = &mut side;
        for cells in self.workers.iter().filter_map(OnceLock::get) {
            counts.classes.iter_mut().zip(&cells.classes).for_each(|(sum, cell)| *sum += cell.load(Relaxed));
            counts.latencies.iter_mut().zip(&cells.latencies).for_each(|(sum, cell)| *sum += cell.load(Relaxed));
            *drawn += cells.drawn.load(Relaxed);
            *repeated += cells.repeated.load(Relaxed);
        }
        side
    }

    /// When they began to count.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Routing keys count anew. An outcome that comes meanwhile counts in the batch before or in the next one.
    pub fn next_batch(&self) {
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
                drawn: AtomicU64::new(0),
                repeated: AtomicU64::new(0),
                classes: array::from_fn(|_| AtomicU64::new(0)),
                recent: RecentCells::default(),
                latencies: array::from_fn(|_| AtomicU64::new(0)),
            })
        })
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
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
        let Side { counts, drawn, .. } = self.side();
        f.debug_struct("Outcomes").field("drawn", &drawn).field("classes", &counts.classes).finish_non_exhaustive()
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
#[expect(clippy::disallowed_methods, reason = "tests need some moment to begin at")]
mod tests {
    use super::*;

    fn outcomes(workers: usize) -> (Arc<Outcomes>, Arc<Wake>, Instant) {
        let (wake, now) = {
            let now = Instant::now();
            (Arc::new(Wake::new(now)), now)
        };
        (Arc::new(Outcomes::new(workers, Arc::clone(&wake), now)), wake, now)
    }

    fn ended(class: Class, bucket: Option<u16>, at: Instant) -> Ended {
        Ended { class, latency: None, bucket, at }
    }

    #[test]
    fn workers_add_up() {
        let (outcomes, _, at) = outcomes(4);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let outcomes = &outcomes;
                scope.spawn(move || {
                    for n in 0..1_000_u64 {
                        outcomes.drawn(worker);
                        let class = Class::ALL[n as usize % Class::ALL.len()];
                        let latency = (class == Class::Success).then(|| Duration::from_millis(10));
                        outcomes.ended(worker, &Ended { class, latency, bucket: None, at });
                    }
                });
            }
        });
        let Side { counts, drawn, .. } = outcomes.side();
        assert_eq!((drawn, counts.classes), (4_000, [500; 8]));
        assert_eq!(counts.latencies[latency_bucket(Duration::from_millis(10))], 500);
        assert_eq!(counts.latencies.iter().sum::<u64>(), 500);
    }

    #[test]
    fn a_bucket_counts_once_per_batch_with_its_first_outcome() {
        let (outcomes, _, at) = outcomes(2);
        let seen = |class| outcomes.side().counts.classes[class as usize];
        for (worker, class, bucket) in [
            (0, Class::Success, 0),
            (1, Class::Reset, 0),
            (1, Class::Reset, 9_999),
            (0, Class::Reset, 9_999),
            (0, Class::Success, 63),
            (0, Class::Success, 64),
        ] {
            outcomes.drawn(worker);
            outcomes.ended(worker, &ended(class, Some(bucket), at));
        }
        assert_eq!((seen(Class::Success), seen(Class::Reset), outcomes.side().drawn), (3, 1, 6));
        assert_eq!(outcomes.recent(at), Recent { requests: 6, failures: 3 }, "every request counts there");
        outcomes.next_batch();
        outcomes.ended(1, &ended(Class::Reset, Some(0), at));
        assert_eq!((seen(Class::Success), seen(Class::Reset)), (3, 2));
    }

    #[test]
    fn a_bucket_that_keeps_failing_repeats_itself_until_it_succeeds() {
        let (outcomes, _, at) = outcomes(1);
        let told = [
            (Class::Reset, 0),
            (Class::Reset, 1),
            (Class::ClientGone, 1),
            (Class::Reset, 2),
            (Class::Success, 2),
            (Class::Reset, 2),
            (Class::Reset, 3),
        ];
        for (class, repeated) in told {
            outcomes.ended(0, &ended(class, Some(7), at));
            assert_eq!(outcomes.side().repeated, repeated, "{class:?}");
            outcomes.next_batch();
        }
        outcomes.ended(0, &ended(Class::Reset, Some(8), at));
        outcomes.ended(0, &ended(Class::Reset, None, at));
        outcomes.ended(0, &ended(Class::Reset, None, at));
        assert_eq!(outcomes.side().repeated, 3, "of other keys, and of none");
    }

    #[test]
    fn each_bucket_counts_once_when_workers_race_for_it() {
        let (outcomes, _, at) = outcomes(4);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let outcomes = &outcomes;
                scope.spawn(move || {
                    (0..10_000).for_each(|bucket| outcomes.ended(worker, &ended(Class::Success, Some(bucket), at)));
                });
            }
        });
        assert_eq!(outcomes.side().counts.ended(), 10_000);
    }

    #[tokio::test]
    async fn failures_wake_and_what_is_no_failure_does_not() {
        let (outcomes, wake, at) = outcomes(1);
        let is_woken = async || tokio::time::timeout(Duration::ZERO, wake.wait()).await.is_ok();
        outcomes.ended(0, &ended(Class::Reset, None, at));
        assert!(!is_woken().await && !outcomes.take_failed(), "no rollout judges it");
        outcomes.watch(true);
        for class in Class::ALL {
            outcomes.ended(0, &ended(class, None, at));
            assert_eq!(is_woken().await, class.is_failure(false), "{class:?}");
            assert_eq!(outcomes.take_failed(), class.is_failure(false), "{class:?}");
        }
        outcomes.ended(0, &ended(Class::Reset, Some(7), at));
        assert!(is_woken().await);
        outcomes.ended(0, &ended(Class::Reset, Some(7), at));
        assert!(!is_woken().await, "it was not counted");
    }

    #[test]
    fn no_more_stand_ins_than_allowed_at_once() {
        let (outcomes, ..) = outcomes(1);
        let (first, second) = (outcomes.stand_in(2), outcomes.stand_in(2));
        assert!(first.is_some() && second.is_some() && outcomes.stand_in(2).is_none());
        drop(first);
        assert!(outcomes.stand_in(2).is_some());
    }
}
