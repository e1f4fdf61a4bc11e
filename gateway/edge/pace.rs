//! Limits on slow clients: the longest silence, and the least rate behind it.
//!
//! Time counts only while bytes wait for the client: while its body is read and there is nothing to read, or an answer is
//! written and it takes nothing. A silence has its own limit; the rate is judged when bytes pass, so that a pause that the
//! limit allows is forgiven if enough follows it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use config::model::Limits;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Load;
use super::load::Unread;

/// The time without any progress after which an answer counts as unread.
const UNREAD: Duration = Duration::from_secs(5);

/// The client was too slow, with its body or in taking its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooSlow {
    /// The client was silent for the longest time allowed.
    Silent,
    /// Bytes passed, and too few of them.
    Trickling,
    /// The client took nothing for a while, and too many answers of the same address wait already.
    Crowding,
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "the client is silent",
            Self::Trickling => "the client is slower than limits.min_rate",
            Self::Crowding => "the client's address reads too few of its answers (limits.unread_per_address)",
        })
    }
}

impl std::error::Error for TooSlow {}

impl From<TooSlow> for io::Error {
    fn from(slow: TooSlow) -> Self {
        Self::new(io::ErrorKind::TimedOut, slow)
    }
}

impl TooSlow {
    /// True if this is such an error, or one of the transport that holds one.
    #[must_use]
    pub fn is_in(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error.is::<Self>() || within.is_some_and(|within| within.is::<Self>())
    }
}

/// The time for which a side that is slower than the least rate may still be waited for.
///
/// Waiting takes from it, bytes give back to it, and it never grows beyond the grace with which it began.
#[derive(Debug, Clone)]
struct Credit {
    bytes_per_second: u64,
    grace: Duration,
    left: Duration,
}

impl Credit {
    fn new(bytes_per_second: u64, grace: Duration) -> Self {
        Self { bytes_per_second, grace, left: grace }
    }

    /// Takes the time that was waited for `bytes`; false when there is not so much left.
    fn spend(&mut self, waited: Duration, bytes: usize) -> bool {
        let earned = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        match (self.left + earned).checked_sub(waited) {
            Some(left) => {
                self.left = left.min(self.grace);
                true
            }
            None => false,
        }
    }
}

/// The wait for one side of one client, with a timer that exists only while there is something to wait for.
#[derive(Debug)]
pub(super) struct Patience {
    silence: Duration,
    credit: Option<Credit>,
    /// The place where unread answers of the client's address are counted.
    counted: Option<(Arc<Load>, IpAddr)>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    timer: Pin<Box<Sleep>>,
    unread: Option<Unread>,
}

impl Patience {
    /// Allows a silence of `silence`, and no rate below so many bytes a second for longer than `grace`.
    pub(super) fn new(silence: Duration, bytes_per_second: Option<u64>, grace: Duration) -> Self {
        Self { silence, credit: bytes_per_second.map(|rate| Credit::new(rate, grace)), counted: None, waiting: None }
    }

    /// Keeps `limits` on one side of a client, with this least rate in bytes a second.
    pub(super) fn within(limits: &Limits, least_rate: Option<u64>) -> Self {
        Self::new(limits.body_timeout, least_rate, limits.min_rate.grace)
    }

    /// Counts the answers of this address in `load` while they wait.
    pub(super) fn counted(self, load: &Arc<Load>, address: IpAddr) -> Self {
        Self { counted: Some((Arc::clone(load), address)), ..self }
    }

    /// Begins anew, for the next message.
    pub(super) fn reset(&mut self) {
        self.waiting = None;
        if let Some(credit) = &mut self.credit {
            credit.left = credit.grace;
        }
    }

    /// Notes that nothing can pass now. Ready when that has lasted for too long; else the task is woken when it will
    /// have.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        let (silence, counted) = (self.silence, &self.counted);
        let first = if counted.is_some() { silence.min(UNREAD) } else { silence };
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            Waiting { since, timer: Box::pin(sleep_until(since + first)), unread: None }
        });
        loop {
            ready!(waiting.timer.as_mut().poll(cx));
            let Some((load, address)) = counted else { return Poll::Ready(TooSlow::Silent) };
            if waiting.unread.is_some() || waiting.since.elapsed() >= silence {
                return Poll::Ready(TooSlow::Silent);
            }
            let Some(unread) = load.unread(*address) else { return Poll::Ready(TooSlow::Crowding) };
            waiting.unread = Some(unread);
            waiting.timer.as_mut().reset(waiting.since + silence);
        }
    }

    /// Notes that so many bytes passed; an error when the client was too slow with them.
    pub(super) fn passed(&mut self, bytes: usize, rated: bool) -> Result<(), TooSlow> {
        let Some(Waiting { since, .. }) = self.waiting.take() else {
            // They did not wait for the client.
            return Ok(());
        };
        let enough = self.credit.as_mut().is_none_or(|credit| !rated || credit.spend(since.elapsed(), bytes));
        if enough { Ok(()) } else { Err(TooSlow::Trickling) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The second in which a side is given up that passes `bytes` once in `every` seconds; `None` when it never is.
    fn given_up(bytes: usize, every: u32) -> Option<u32> {
        let mut credit = Credit::new(256, 30 * SECOND);
        (1..10_000).find(|_| !credit.spend(every * SECOND, bytes)).map(|times| times * every)
    }

    #[test]
    fn a_trickle_ends_after_the_grace_and_the_rate_itself_does_not() {
        assert_eq!(given_up(1, 1), Some(31), "a byte a second");
        assert_eq!(given_up(0, 1), Some(31));
        assert_eq!(given_up(128, 1), Some(61), "half the rate has twice the time");
        assert_eq!(given_up(256, 1), None);
        assert_eq!(given_up(256 * 50, 50), None, "bursts after pauses are as good");
        assert_eq!(given_up(1, 50), Some(50));
    }

    #[test]
    fn what_came_fast_buys_no_more_than_the_grace() {
        let mut credit = Credit::new(256, 30 * SECOND);
        assert!(credit.spend(Duration::ZERO, 1 << 30));
        assert!(credit.spend(30 * SECOND, 0));
        assert!(!credit.spend(Duration::from_millis(1), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_has_its_own_limit() {
        let mut patience = Patience::new(60 * SECOND, Some(256), 30 * SECOND);
        let began = Instant::now();
        assert_eq!(poll_fn(|cx| patience.poll_stalled(cx)).await, TooSlow::Silent);
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_judged_by_what_follows_it() {
        for (bytes, rated, expected) in
            [(16 << 10, true, Ok(())), (1, true, Err(TooSlow::Trickling)), (1, false, Ok(()))]
        {
            let mut patience = Patience::new(60 * SECOND, Some(256), 30 * SECOND);
            let waited = tokio::time::timeout(45 * SECOND, poll_fn(|cx| patience.poll_stalled(cx))).await;
            assert!(waited.is_err(), "{waited:?}");
            assert_eq!(patience.passed(bytes, rated), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_may_leave_only_so_many_answers_unread() {
        let limits = Limits { unread_per_address: 1, ..Default::default() };
        let (load, address) = (Arc::new(Load::new(&limits)), IpAddr::from([127, 0, 0, 1]));
        let patience = || Patience::new(60 * SECOND, None, SECOND).counted(&load, address);
        let (mut one, mut two) = (patience(), patience());
        let began = Instant::now();
        let first = tokio::time::timeout(6 * SECOND, poll_fn(|cx| one.poll_stalled(cx))).await;
        assert!(first.is_err(), "{first:?}");
        assert_eq!(poll_fn(|cx| two.poll_stalled(cx)).await, TooSlow::Crowding);
        assert_eq!(began.elapsed().as_secs(), 11);
        // A client that reads on makes room.
        assert_eq!(one.passed(1, true), Ok(()));
        two.reset();
        assert_eq!(poll_fn(|cx| two.poll_stalled(cx)).await, TooSlow::Silent);
        assert_eq!(began.elapsed().as_secs(), 71);
    }

    #[test]
    fn errors_say_that_the_client_was_slow() {
        let slow = io::Error::from(TooSlow::Silent);
        assert_eq!(slow.kind(), io::ErrorKind::TimedOut);
        assert!(TooSlow::is_in(&slow) && TooSlow::is_in(&TooSlow::Trickling));
        assert!(!TooSlow::is_in(&io::Error::from(io::ErrorKind::TimedOut)));
    }
}
