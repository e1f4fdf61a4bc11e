//! Limits on the silence of an endpoint with a request, kept by the task of the client's connection.
//!
//! pingora 0.9.1 has one read timeout for the head and the body of an answer, which runs while the request is still on its
//! way, restarts with every chunk that is forwarded, and knows nothing of the client. So each attempt is watched here, in
//! three phases: while the request is sent, until the head of the answer, and behind it. When a limit passes it is asked
//! for whom bytes wait. Where that is the client, the limits on clients hold (see [`pace`](crate::edge::pace)) and the endpoint
//! gets its time anew; else the wait is cut where pingora reads, and the error that follows is told from others by
//! [`Watch::fault`]. One timer serves all requests of a connection, and is not touched by most of them.

use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::edge::{ClientSide, Connection};

/// pingora's own limit on reads from an endpoint while a body goes up. It only ends what cannot be cut here: an upload to
/// an HTTP/2 endpoint that takes no more of it.
pub const UPLOAD: Duration = Duration::from_secs(3600);

/// The place where a wait is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The socket to the endpoint, which serves this request alone and stays open while the wait lasts.
    Endpoint(RawFd),
    /// The reader of the client: the next read of the request fails.
    Client,
}

/// The side that was silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client, in a stream that neither side has ended.
    Client,
    /// The endpoint.
    Endpoint,
    /// The endpoint did not ask for the body that the client holds back (`Expect: 100-continue`). A client need not wait for
    /// that for ever (RFC 9110, section 10.1.1), so neither side is charged.
    NoContinue,
}

/// The longest silences of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Silences {
    /// The longest one from the request's last byte to the head of the answer.
    pub response: Duration,
    /// The longest one while the request is sent, and in the answer's body.
    pub idle: Duration,
}

/// An attempt at an endpoint, watched until this is dropped.
///
/// A watch that cuts at a socket is dropped in the turn of the task in which that socket is closed or goes back to its pool:
/// the number may belong to another connection afterwards. Lanes run on one thread each, so nothing comes between.
#[derive(Debug)]
pub struct Watch {
    connection: Arc<Connection>,
    id: u64,
}

impl Watch {
    /// Begins with a request that is to be sent.
    #[must_use]
    pub fn begin(connection: &Arc<Connection>, client: &Arc<ClientSide>, silences: Silences, cut: Cut) -> Self {
        let id = connection.deadlines.add(Wait {
            id: 0,
            phase: Phase::Request,
            since: Instant::now(),
            silences,
            cut,
            client: Arc::clone(client),
            fault: None,
        });
        Self { connection: Arc::clone(connection), id }
    }

    /// The endpoint has all of the request.
    pub fn sent(&self) {
        self.enter(Phase::Head);
    }

    /// The endpoint's head is here.
    pub fn answered(&self) {
        self.enter(Phase::Body);
    }

    /// Bytes passed, in whichever direction.
    pub fn touch(&self) {
        self.connection.deadlines.change(self.id, |wait| {
            if wait.phase != Phase::Head {
                wait.since = Instant::now();
            }
        });
    }

    /// The side whose silence ended the attempt, if one did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.connection.deadlines.lock().waits.iter().find(|wait| wait.id == self.id)?.fault
    }

    fn enter(&self, phase: Phase) {
        self.connection.deadlines.change(self.id, |wait| {
            // The head may come before the request's end, which then changes nothing.
            if wait.phase < phase {
                wait.phase = phase;
                wait.since = Instant::now();
            }
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.deadlines.remove(self.id);
    }
}

/// The waits of one connection.
#[derive(Debug)]
pub(in crate::edge) struct Deadlines {
    waits: Mutex<Waits>,
    /// The keeper is to look: at first, and when a wait ends before the timer does.
    sooner: AtomicBool,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { waits: Mutex::default(), sooner: AtomicBool::new(true) }
    }
}

#[derive(Debug, Default)]
struct Waits {
    waits: SmallVec<[Wait; 1]>,
    next_id: u64,
    /// The time at which the timer ends; `None` while it rests.
    timer: Option<Instant>,
    /// The task that keeps the timer.
    keeper: Option<Waker>,
}

#[derive(Debug)]
struct Wait {
    id: u64,
    phase: Phase,
    since: Instant,
    silences: Silences,
    cut: Cut,
    client: Arc<ClientSide>,
    fault: Option<Fault>,
}

/// The part of an attempt that an endpoint is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The request is sent to it.
    Request,
    /// The head of its answer is awaited.
    Head,
    /// Its answer has begun.
    Body,
}

impl Phase {
    /// The longest silence in this phase.
    #[must_use]
    pub fn limit(self, silences: Silences) -> Duration {
        match self {
            Self::Head => silences.response,
            Self::Request | Self::Body => silences.idle,
        }
    }

    /// The side at fault for a silence that was too long; `None` while bytes wait for the client and its own limits hold.
    #[must_use]
    pub fn judge(self, client: &ClientSide) -> Option<Fault> {
        match self {
            Self::Head => Some(Fault::Endpoint),
            _ if client.is_writing() => None,
            // Both are silent: in a stream the client has no limit of its own.
            Self::Body if client.is_reading() && client.is_streaming() => Some(Fault::Client),
            Self::Request if client.is_expecting() => Some(Fault::NoContinue),
            _ if client.is_reading() => None,
            _ => Some(Fault::Endpoint),
        }
    }
}

impl Wait {
    fn deadline(&self) -> Instant {
        self.since + self.phase.limit(self.silences)
    }

    /// The side at fault for the passed deadline; `None` while bytes wait for the client and its own limits hold.
    fn judge(&self) -> Option<Fault> {
        self.phase.judge(&self.client)
    }

    fn end(&mut self, fault: Fault) {
        self.fault = Some(fault);
        match self.cut {
            // An error means that the endpoint was faster.
            Cut::Endpoint(socket) => drop(shutdown(socket, Shutdown::Both)),
            Cut::Client => self.client.cut(),
        }
    }
}

impl Deadlines {
    fn add(&self, mut wait: Wait) -> u64 {
        let mut waits = self.lock();
        let id = waits.next_id;
        wait.id = id;
        waits.next_id += 1;
        self.advance(&mut waits, wait.deadline());
        waits.waits.push(wait);
        id
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Wait)) {
        let mut waits = self.lock();
        let Some(wait) = waits.waits.iter_mut().find(|wait| wait.id == id && wait.fault.is_none()) else { return };
        change(wait);
        let deadline = wait.deadline();
        self.advance(&mut waits, deadline);
    }

    /// Sees to it that the timer ends no later.
    fn advance(&self, waits: &mut Waits, deadline: Instant) {
        if waits.timer.is_none_or(|timer| deadline < timer) {
            waits.timer = Some(deadline);
            self.sooner.store(true, Ordering::Release);
            if let Some(keeper) = &waits.keeper {
                keeper.wake_by_ref();
            }
        }
    }

    fn remove(&self, id: u64) {
        let mut waits = self.lock();
        if let Some(at) = waits.waits.iter().position(|wait| wait.id == id) {
            // A read that has not failed yet shall not fail the next request.
            waits.waits.swap_remove(at).client.mend();
        }
    }

    /// Ends what is due, and says when the next wait is.
    fn end_due(&self, keeper: &Waker) -> Option<Instant> {
        let mut waits = self.lock();
        self.sooner.store(false, Ordering::Release);
        if !waits.keeper.as_ref().is_some_and(|known| known.will_wake(keeper)) {
            waits.keeper = Some(keeper.clone());
        }
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for wait in waits.waits.iter_mut().filter(|wait| wait.fault.is_none()) {
            if wait.deadline() <= now {
                match wait.judge() {
                    Some(fault) => {
                        wait.end(fault);
                        continue;
                    }
                    None => wait.since = now,
                }
            }
            next = Some(next.map_or(wait.deadline(), |next| next.min(wait.deadline())));
        }
        waits.timer = next;
        next
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        // Nothing that holds it can panic halfway.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the deadlines of a connection in the task that serves it.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    deadlines: &'a Deadlines,
    timer: Option<Pin<Box<Sleep>>>,
    /// True while the timer runs.
    runs: bool,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(deadlines: &'a Deadlines) -> Self {
        Self { deadlines, timer: None, runs: false }
    }

    /// Does the work and ends what is due meanwhile. The due is ended first, so that the work sees it in the same turn.
    pub(super) async fn beside<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.poll(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        // This runs at every wake of the connection, and almost never has anything to do: two loads tell.
        let rang = self.runs && self.timer.as_ref().is_some_and(|timer| timer.is_elapsed());
        if !rang && !self.deadlines.sooner.load(Ordering::Acquire) {
            return;
        }
        loop {
            let Some(next) = self.deadlines.end_due(cx.waker()) else {
                self.runs = false;
                return;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            timer.as_mut().reset(next);
            self.runs = true;
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCES: Silences = Silences { response: Duration::from_secs(5), idle: Duration::from_secs(1) };

    fn wait(phase: Phase) -> Wait {
        let client = Arc::<ClientSide>::default();
        Wait { id: 0, phase, since: Instant::now(), silences: SILENCES, cut: Cut::Client, client, fault: None }
    }

    /// The side whose silence ends a wait in this phase, with what is known of the client.
    fn blamed(phase: Phase, tell: impl Fn(&ClientSide)) -> Option<&'static str> {
        let wait = wait(phase);
        tell(&wait.client);
        wait.judge().map(|fault| match fault {
            Fault::Client => "client",
            Fault::Endpoint => "endpoint",
            Fault::NoContinue => "nobody",
        })
    }

    #[tokio::test]
    async fn whoever_bytes_wait_for_is_to_blame() {
        let uploading = |client: &ClientSide| client.begin(true);
        let silent = |client: &ClientSide| {
            client.begin(true);
            client.reading(true);
        };
        for phase in [Phase::Request, Phase::Body] {
            assert_eq!(blamed(phase, silent), None, "the client's limits end its silence: {phase:?}");
            assert_eq!(blamed(phase, uploading), Some("endpoint"), "it has bytes and takes none: {phase:?}");
            assert_eq!(blamed(phase, |client| client.writing(true)), None, "the client reads nothing: {phase:?}");
        }
        let expecting = |client: &ClientSide| {
            silent(client);
            client.expects(true);
        };
        assert_eq!(blamed(Phase::Request, expecting), Some("nobody"), "it was to ask for the body");
        assert_eq!(blamed(Phase::Head, |client| client.begin(false)), Some("endpoint"));
        assert_eq!(blamed(Phase::Body, |client| client.begin(false)), Some("endpoint"));
        let stream = |client: &ClientSide| {
            silent(client);
            client.streams();
        };
        assert_eq!(blamed(Phase::Body, stream), Some("client"), "both sides of a stream are silent");
    }

    #[tokio::test(start_paused = true)]
    async fn silences_are_counted_from_the_last_bytes_and_only_the_late_are_cut() {
        let deadlines = Deadlines::default();
        let (early, late) = (wait(Phase::Head), wait(Phase::Body));
        let (early_client, late_client) = (Arc::clone(&early.client), Arc::clone(&late.client));
        let (early, late) = (deadlines.add(early), deadlines.add(late));
        let mut keeper = Keeper::new(&deadlines);
        for _ in 0..3 {
            keeper.beside(tokio::time::sleep(Duration::from_millis(900))).await;
            deadlines.change(late, |wait| wait.since = Instant::now());
        }
        assert!(!early_client.take_cut() && !late_client.take_cut());
        let began = Instant::now();
        keeper.beside(tokio::time::sleep(Duration::from_millis(1_001))).await;
        assert!(late_client.take_cut() && !early_client.take_cut(), "{:?}", began.elapsed());
        keeper.beside(tokio::time::sleep(Duration::from_secs(2))).await;
        assert!(early_client.take_cut());
        let faults: Vec<_> = deadlines.lock().waits.iter().map(|wait| wait.fault.is_some()).collect();
        assert_eq!(faults, [true, true]);
        deadlines.remove(early);
        deadlines.remove(late);
        assert!(deadlines.lock().waits.is_empty());
    }

    /// A request of HTTP/2 runs in a task of its own, and begins while the connection's rests.
    #[tokio::test(start_paused = true)]
    async fn another_task_may_add_a_wait() {
        let deadlines = Arc::new(Deadlines::default());
        let keeping = tokio::spawn({
            let deadlines = Arc::clone(&deadlines);
            async move { Keeper::new(&deadlines).beside(std::future::pending::<()>()).await }
        });
        tokio::task::yield_now().await;
        let wait = wait(Phase::Head);
        let client = Arc::clone(&wait.client);
        deadlines.add(wait);
        tokio::time::sleep(Duration::from_millis(5_010)).await;
        assert!(client.take_cut());
        keeping.abort();
    }
}
