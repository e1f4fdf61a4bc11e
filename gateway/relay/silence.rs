//! Limits on the silence of an endpoint, by one timer for all requests of a client's connection.
//!
//! Most requests are over long before the timer ends, so it is not touched by them: it may end too early, and is then set to when it
//! should. Who is at fault for a silence is decided by [`Phase::judge`], as in the other lane.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::edge::{ClientSide, Fault, Phase, Silences};

/// The timer of a client's connection.
#[derive(Debug, Default)]
pub(super) struct SilenceTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The task was told to be woken.
    is_armed: bool,
}

/// The silence of one attempt.
#[derive(Debug)]
pub(super) struct Silence {
    phase: Phase,
    silences: Silences,
    /// The time since which nothing came; `None` until somebody waits.
    since: Option<Instant>,
}

impl Silence {
    /// Begins with a request that is to be sent.
    pub(super) fn new(silences: Silences) -> Self {
        Self { phase: Phase::Request, silences, since: None }
    }

    /// The attempt comes to this phase, if it had not.
    pub(super) fn enter(&mut self, phase: Phase) {
        if self.phase < phase {
            self.phase = phase;
            self.since = None;
        }
    }

    /// Bytes passed, in whichever direction. The time for a head does not begin anew.
    pub(super) fn touch(&mut self) {
        if self.phase != Phase::Head {
            self.since = None;
        }
    }

    /// Ready when a silence was too long, with the side at fault.
    pub(super) fn poll(&mut self, timer: &mut SilenceTimer, client: &ClientSide, cx: &mut Context<'_>) -> Poll<Fault> {
        loop {
            let since = *self.since.get_or_insert_with(Instant::now);
            let deadline = since + self.phase.limit(self.silences);
            let sleep = timer.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.deadline() > deadline || (sleep.is_elapsed() && sleep.deadline() < deadline) {
                sleep.as_mut().reset(deadline);
                timer.is_armed = false;
            }
            if timer.is_armed && !sleep.is_elapsed() {
                return Poll::Pending;
            }
            timer.is_armed = true;
            // Out of the task's budget, which bytes may have used up: a timer that was not asked would wake nobody.
            if Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() < deadline {
                continue;
            }
            match self.phase.judge(client) {
                Some(fault) => return Poll::Ready(fault),
                None => self.since = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const SILENCES: Silences = Silences { response: Duration::from_secs(5), idle: Duration::from_secs(1) };

    /// The time after which the silence ends, with what is waited for until then.
    async fn ends_after(silence: &mut Silence, timer: &mut SilenceTimer) -> Duration {
        let (began, client) = (Instant::now(), ClientSide::default());
        poll_fn(|cx| silence.poll(timer, &client, cx)).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_limit_and_one_timer_serves_all() {
        let mut timer = SilenceTimer::default();
        for _ in 0..2 {
            let mut silence = Silence::new(SILENCES);
            assert_eq!(ends_after(&mut silence, &mut timer).await.as_secs(), 1);
            silence.enter(Phase::Head);
            assert_eq!(ends_after(&mut silence, &mut timer).await.as_secs(), 5);
            silence.enter(Phase::Body);
            assert_eq!(ends_after(&mut silence, &mut timer).await.as_secs(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_begin_the_time_anew_but_not_that_of_a_head() {
        for (phase, expected) in [(Phase::Head, 5), (Phase::Body, 6)] {
            let (mut silence, mut timer) = (Silence::new(SILENCES), SilenceTimer::default());
            silence.enter(phase);
            let (began, client) = (Instant::now(), ClientSide::default());
            for _ in 0..7 {
                let ended = poll_fn(|cx| silence.poll(&mut timer, &client, cx));
                tokio::select! {
                    _ = ended => break,
                    () = sleep(Duration::from_millis(900)) => {}
                }
                silence.touch();
                // The task is another one for each turn of the loop.
                timer.is_armed = false;
            }
            let took = began.elapsed().as_secs();
            assert_eq!(took, expected, "{phase:?}");
        }
    }
}
