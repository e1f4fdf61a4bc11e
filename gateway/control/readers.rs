//! Threads on which the files that a configuration names are read.
//!
//! A file system that does not answer blocks one thread, for which neither a change nor the end of the process waits.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::files::PATIENCE;

/// Threads that may wait for file systems at the same time.
const THREADS: usize = 64;
/// Jobs of one list that may be late: those after them are left for another time.
const LATE: usize = 3;

/// Threads on which files are looked at.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    free: Arc<Semaphore>,
    patience: Duration,
}

/// A thread that waits for a file system.
pub(super) type Waiting = OwnedSemaphorePermit;

/// The answer of one job.
#[derive(Debug)]
pub(super) enum Answer<T> {
    /// The job was done in time.
    Done(T),
    /// The job took too long. Its thread waits on as long as the reference can be upgraded.
    Late(Weak<Waiting>),
    /// The job was not begun: too many others are late.
    Skipped,
}

impl Default for Readers {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(THREADS)), patience: PATIENCE }
    }
}

impl Readers {
    /// Does `work` on each of `jobs`, one after the other, and tells `see` each job and its answer in their order. A job that takes too
    /// long is left to its thread, and another thread goes on with the next; after some of these the rest is skipped.
    pub(super) async fn each<J, T>(
        &self,
        jobs: Vec<J>,
        work: impl Fn(&J) -> T + Send + Sync + 'static,
        mut see: impl FnMut(&J, Answer<T>),
    ) where
        J: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (jobs, work, mut seen, mut late) = (Arc::new(jobs), Arc::new(work), 0, 0);
        while seen < jobs.len() {
            let (tell, mut told) = mpsc::unbounded_channel();
            let started = if late < LATE { self.start(&jobs, &work, seen, tell) } else { None };
            let Some(waiting) = started else {
                jobs[seen..].iter().for_each(|job| see(job, Answer::Skipped));
                return;
            };
            while seen < jobs.len() {
                let (answer, goes_on) = match timeout(self.patience, told.recv()).await {
                    Ok(Some(answer)) => (Answer::Done(answer), true),
                    // The job panicked, which must not be repeated for ever.
                    Ok(None) => (Answer::Skipped, false),
                    Err(_) => {
                        late += 1;
                        (Answer::Late(waiting.clone()), false)
                    }
                };
                see(&jobs[seen], answer);
                seen += 1;
                if !goes_on {
                    break;
                }
            }
        }
    }

    /// Does the same as [`each`](Self::each), and gives all answers at the end.
    pub(super) async fn all<J, T>(&self, jobs: Vec<J>, work: impl Fn(&J) -> T + Send + Sync + 'static) -> Vec<Answer<T>>
    where
        J: Send + Sync + 'static,
        T: Send + 'static,
    {
        let mut answers = Vec::with_capacity(jobs.len());
        self.each(jobs, work, |_, answer| answers.push(answer)).await;
        answers
    }

    /// A thread that does the jobs from this one on, as long as its results are received. `None` when there is no
    /// thread.
    fn start<J, T>(
        &self,
        jobs: &Arc<Vec<J>>,
        work: &Arc<impl Fn(&J) -> T + Send + Sync + 'static>,
        from: usize,
        tell: mpsc::UnboundedSender<T>,
    ) -> Option<Weak<Waiting>>
    where
        J: Send + Sync + 'static,
        T: Send + 'static,
    {
        let permit = Arc::new(Arc::clone(&self.free).try_acquire_owned().ok()?);
        let waiting = Arc::downgrade(&permit);
        let (jobs, work) = (Arc::clone(jobs), Arc::clone(work));
        let spawned = thread::Builder::new().name("weir-files".into()).spawn(move || {
            let _permit = permit;
            for job in &jobs[from..] {
                if tell.send(work(job)).is_err() {
                    return;
                }
            }
        });
        spawned.ok().map(|_| waiting)
    }
}

/// The sentence about a file that took too long.
pub(super) fn late() -> String {
    format!("the file system did not answer within {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_job_that_hangs_holds_up_no_other() {
        let readers = Readers { patience: Duration::from_secs(1), ..Readers::default() };
        let go = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&go);
        let work = move |job: &u8| {
            while *job == 2 && !until.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_millis(1));
            }
            *job
        };
        let answers = readers.all(vec![1, 2, 3], work).await;
        let [Answer::Done(1), Answer::Late(waiting), Answer::Done(3)] = &answers[..] else {
            panic!("{answers:?}");
        };
        assert!(waiting.upgrade().is_some(), "its thread still waits");
        go.store(true, Ordering::Release);
        while waiting.upgrade().is_some() || readers.free.available_permits() < THREADS {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn many_late_jobs_end_the_list() {
        let readers = Readers { patience: Duration::from_millis(50), ..Readers::default() };
        let answers = readers.all(vec![(); LATE + 2], |()| thread::park_timeout(Duration::from_secs(5))).await;
        assert!(answers[..LATE].iter().all(|answer| matches!(answer, Answer::Late(_))), "{answers:?}");
        assert!(answers[LATE..].iter().all(|answer| matches!(answer, Answer::Skipped)), "{answers:?}");
    }

    #[tokio::test]
    async fn no_more_than_so_many_threads_wait() {
        let readers = Readers { free: Arc::new(Semaphore::new(1)), patience: Duration::from_millis(50) };
        let answers = readers.all(vec![1, 2], |_| thread::park_timeout(Duration::from_secs(5))).await;
        assert!(matches!(answers[..], [Answer::Late(_), Answer::Skipped]), "{answers:?}");
    }
}
