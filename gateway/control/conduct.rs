//! Carries rollouts out: watches what they wait for, tells the writer what happened, and does what the writer stored.
//!
//! ```text
//! cells, servers, hooks, the clock ─ Conductor ─ event ─ Writer ─ stored and live ─ effects ─ Conductor
//! ```
//! The conductor decides nothing: every step is [`config::release::rollout`]'s, and is stored before its effects are carried out.

mod checkpoint;
mod news;
mod servers;
mod sight;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::Bake;
use config::release::rollout::{
    Answer, Effect, Event, Moment, Observation, Outcome, Phase, Point, Rollout, RolloutId, Speaker, Word,
};
use serde_json::Value;
use tokio::sync::{SetOnce, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time;

use checkpoint::checkpoint;

use super::rollouts::{Rollouts, view};
use super::writer::{Command, Moved, Wanted, What};
use super::{Author, Control, Ground, Refused};
use crate::clock::{self, Steady};
use crate::dial::Dial;
use crate::hook::{Hooks, Question};
use crate::metrics::{Judged, Metrics, Standing};
use crate::notify::Notifiers;
use crate::query::Queries;

pub use news::{Ballot, Ballots};
pub use sight::{Sight, Sights};

/// The longest time between two looks at the cells while a gate watches them.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The time between two looks at the wall clock for a rollout that waits for a window.
const WINDOW_EVERY: Duration = Duration::from_secs(60);
/// How long a failure waits for others, so that a burst is looked at once.
const COALESCE: Duration = Duration::from_millis(1);
/// How long the conductor waits after the writer could not take an event.
const AGAIN: Duration = Duration::from_secs(1);

/// What the conductor calls out with.
#[derive(Clone)]
pub struct Calls {
    /// Asks hooks.
    pub hooks: Hooks,
    /// Tells notifiers.
    pub notifiers: Notifiers,
    /// Asks Prometheus servers.
    pub queries: Queries,
    /// Where hooks and people answer, if they can: `http://127.0.0.1:9900`. Known once the gateway serves.
    pub admin_url: Arc<SetOnce<Option<String>>>,
}

impl Calls {
    /// With nobody asked or told yet, at these addresses alone.
    #[must_use]
    pub fn new(metrics: &Metrics, dial: &Dial) -> Self {
        Self {
            hooks: Hooks::dialling(dial.clone()),
            notifiers: Notifiers::dialling(dial.clone(), metrics.notices_lost.clone()),
            queries: Queries::dialling(dial.clone()),
            admin_url: Arc::default(),
        }
    }
}

/// What the conductor and the control plane share.
pub(super) struct Shared {
    pub(super) sights: watch::Sender<Sights>,
    pub(super) ballots: Ballots,
    /// The rollouts whose next step the store could not take, and why.
    pub(super) unstored: watch::Sender<BTreeMap<RolloutId, String>>,
}

impl Control {
    /// The reason why the next step of this rollout could not be stored, if it waits for that.
    #[must_use]
    pub fn unstored(&self, id: RolloutId) -> Option<String> {
        self.shared.unstored.borrow().get(&id).cloned()
    }
}

pub(super) struct Conductor {
    ground: Ground,
    /// Weak: rollouts do not keep the writer alive.
    commands: mpsc::WeakSender<Command>,
    rollouts: watch::Receiver<Rollouts>,
    moved: mpsc::UnboundedReceiver<Moved>,
    shared: Arc<Shared>,
    clock: Steady,
    sights: BTreeMap<RolloutId, sight::Watched>,
    servers: servers::Servers,
    /// Hooks that were asked: what they answered, with where it belongs.
    answers: JoinSet<HookEnded>,
    asked: BTreeMap<(RolloutId, u32), AbortHandle>,
    /// Of each rollout the event that was sent last: when that happened which led to it, and when it was answered.
    sent: BTreeMap<RolloutId, (Instant, Instant)>,
    /// When all rollouts were last looked at.
    looked: Instant,
    /// Before this moment no event is sent: the writer could not take the last one.
    not_before: Option<Moment>,
    /// Events that nothing tells again, such as the answer of a hook, which the writer could not take.
    undelivered: VecDeque<(RolloutId, Event)>,
}

/// The outcome of an event at the writer.
enum Delivery {
    Taken,
    /// The store could not take it now.
    Later(String),
    /// What follows from it is not valid, for this reason.
    Never(String),
}

/// The rollouts that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    AtAll,
    /// Those of which a request failed.
    AtFailed,
}

struct HookEnded {
    id: RolloutId,
    event: Event,
}

impl Conductor {
    pub(super) fn new(
        ground: Ground,
        commands: mpsc::WeakSender<Command>,
        rollouts: watch::Receiver<Rollouts>,
        moved: mpsc::UnboundedReceiver<Moved>,
        shared: Arc<Shared>,
        clock: Steady,
    ) -> Self {
        let servers = servers::Servers::new(ground.calls.queries.clone());
        Self {
            ground,
            commands,
            rollouts,
            moved,
            shared,
            clock,
            sights: BTreeMap::new(),
            servers,
            answers: JoinSet::new(),
            asked: BTreeMap::new(),
            sent: BTreeMap::new(),
            looked: clock::now(),
            not_before: None,
            undelivered: VecDeque::new(),
        }
    }

    /// Until the writer ends. Waits for the gateway to serve: what nobody can answer or see is not begun.
    pub(super) async fn run(mut self) {
        self.ground.calls.admin_url.wait().await;
        let running: Vec<RolloutId> = self.rollouts.borrow().running().map(|rollout| rollout.id).collect();
        for id in running {
            self.send(id, Event::Restarted).await;
        }
        self.show();
        let wake = Arc::clone(&self.ground.wake);
        loop {
            let look = self.next_look();
            tokio::select! {
                // What is stored comes first: nothing is looked at with an old rollout in mind.
                biased;
                moved = self.moved.recv() => match moved {
                    Some(moved) => self.carry_out(&moved),
                    None => return,
                },
                Some(ended) = self.answers.join_next() => {
                    // A hook that was cancelled has no answer.
                    if let Ok(HookEnded { id, event }) = ended {
                        self.send(id, event).await;
                    }
                }
                failed = wake.wait(), if !self.sights.is_empty() => {
                    time::sleep(COALESCE).await;
                    self.look(failed, Look::AtFailed).await;
                }
                () = sleep(look) => self.look(clock::now(), Look::AtAll).await,
            }
        }
    }

    /// How long until something must be looked at; `None` while nothing runs.
    fn next_look(&self) -> Option<Duration> {
        let rollouts = self.rollouts.borrow();
        let now = self.clock.time();
        let mut next: Option<Duration> = None;
        let mut by = |wait: Duration| next = Some(next.map_or(wait, |next| next.min(wait)));
        if let Some(freeze) = &rollouts.freeze {
            by(freeze.until.saturating_sub(now));
        }
        if !self.undelivered.is_empty() {
            by(AGAIN);
        }
        for rollout in rollouts.running() {
            if watches(rollout) {
                by(LOOK_EVERY);
            } else if let Some(deadline) = rollout.deadline() {
                let wait = deadline.saturating_sub(now).max(LOOK_EVERY);
                // For checkpoints, and for the wall clock that a window is opened by.
                by(wait.min(WINDOW_EVERY));
            }
        }
        next
    }

    /// Looks at rollouts. `because`: when that happened which makes it look.
    async fn look(&mut self, because: Instant, at: Look) {
        let now = self.clock.time();
        // Failures of some must not keep the others waiting.
        let is_due = clock::now().saturating_duration_since(self.looked) >= LOOK_EVERY;
        let at = if is_due { Look::AtAll } else { at };
        if at == Look::AtAll {
            self.looked = clock::now();
        }
        if self.not_before.is_some_and(|moment| now < moment) {
            return;
        }
        self.not_before = None;
        while let Some((id, event)) = self.undelivered.pop_front() {
            self.send(id, event).await;
            if self.not_before.is_some() {
                return;
            }
        }
        let rollouts = self.rollouts.borrow().clone();
        if rollouts.freeze.as_ref().is_some_and(|freeze| now >= freeze.until) {
            self.ask_writer(Author::of("freeze"), What::Freeze(None)).await;
            return;
        }
        self.sights.retain(|id, _| rollouts.all.get(id).is_some_and(|rollout| watches(rollout)));
        self.servers.retain(|id| rollouts.all.get(&id).is_some_and(|rollout| watches(rollout)));
        for rollout in rollouts.running() {
            let has_failed = self.sights.get(&rollout.id).is_some_and(sight::Watched::take_failed);
            if at == Look::AtFailed && !has_failed {
                continue;
            }
            let frozen = rollouts.now(now).frozen;
            if let Some(event) = self.event(rollout, now, frozen) {
                self.send(rollout.id, event).await;
                self.sent.insert(rollout.id, (because, clock::now()));
            }
        }
        self.shared.sights.send_if_modified(|sights| {
            let known = sights.len();
            sights.retain(|id, _| self.sights.contains_key(id));
            let mut changed = sights.len() != known;
            for (id, watched) in
                self.sights.iter().filter(|(id, watched)| sights.get(id) != Some(&watched.sight)).collect::<Vec<_>>()
            {
                sights.insert(*id, watched.sight.clone());
                changed = true;
            }
            changed
        });
    }

    /// What happened to the rollout since the last look, if that is for the writer to know.
    fn event(&mut self, rollout: &Arc<Rollout>, now: Moment, frozen: bool) -> Option<Event> {
        let is_due = rollout.deadline().is_some_and(|deadline| now >= deadline);
        if !watches(rollout) {
            // Under a freeze a deadline that only leads on is no event.
            let leads_back = rollout.held.is_some() || matches!(rollout.phase, Phase::Asking { .. });
            let is_due = is_due || !leads_back && self.asks_again(rollout);
            return (is_due && (leads_back || !frozen)).then_some(Event::Tick).or_else(|| checkpoint(rollout, now));
        }
        let seen = self.watch(rollout, now);
        let failed = seen.answers.iter().any(|answer| matches!(answer, Answer::Fail(_)));
        let worse = seen.worse.is_some() && (rollout.plan.guard.enforced || !rollout.alerted);
        if failed || worse {
            return Some(self.observed(rollout.id, seen));
        }
        if rollout.held.is_some() || frozen {
            return (is_due && rollout.held.is_some()).then_some(Event::Tick).or_else(|| checkpoint(rollout, now));
        }
        match &rollout.phase {
            Phase::Baking { step, .. } => match rollout.plan.steps[*step].bake {
                Bake::Hold => is_due.then_some(Event::Tick),
                Bake::Requests(wanted) => (is_due || seen.requests >= wanted).then(|| self.observed(rollout.id, seen)),
                Bake::Time(_) => is_due.then(|| self.observed(rollout.id, seen)),
            },
            _ if is_due || settled(&seen) && self.sights.get_mut(&rollout.id)?.is_news(&seen) => {
                Some(self.observed(rollout.id, seen))
            }
            _ => None,
        }
        .or_else(|| checkpoint(rollout, now))
    }

    /// The event of what was seen, with the numbers that it stands on: they are rendered only when they are sent.
    fn observed(&self, id: RolloutId, seen: Observation) -> Event {
        let evidence = self.sights.get(&id).map_or(Value::Null, sight::Watched::evidence);
        Event::Observed(Observation { evidence, ..seen })
    }

    /// True if the wall clock is looked at again for a rollout that waits for a window: it may have jumped.
    fn asks_again(&self, rollout: &Rollout) -> bool {
        let asked = self.sent.get(&rollout.id).map(|(_, answered)| *answered);
        let is_old = |asked| clock::now().saturating_duration_since(asked) >= WINDOW_EVERY;
        matches!(rollout.phase, Phase::Ready { .. }) && asked.is_none_or(is_old)
    }

    async fn send(&mut self, id: RolloutId, event: Event) {
        let author = Author::of(&format!("rollout {id}"));
        let is_told_once = matches!(event, Event::HookEnded { .. } | Event::Restarted);
        let delivery = self.ask_writer(author.clone(), What::Event(id, Box::new(event.clone()))).await;
        self.shared.unstored.send_if_modified(|unstored| match &delivery {
            Delivery::Later(why) => unstored.insert(id, why.clone()).is_none(),
            Delivery::Taken | Delivery::Never(_) => unstored.remove(&id).is_some(),
        });
        match delivery {
            Delivery::Taken => {}
            Delivery::Later(_) if is_told_once => self.undelivered.push_back((id, event)),
            Delivery::Later(_) => {}
            Delivery::Never(why) => {
                tracing::error!("the rollout {id} ends, because its next step is not valid any more: {why}");
                let speaker = Speaker { who: author.who.clone(), why: Some(why) };
                let event = Event::Said { word: Word::Abort, speaker, step: None };
                self.ask_writer(author, What::Event(id, Box::new(event))).await;
            }
        }
    }

    async fn ask_writer(&mut self, author: Author, what: What) -> Delivery {
        let Some(commands) = self.commands.upgrade() else { return Delivery::Taken };
        let (reply, answer) = oneshot::channel();
        let command = Command::Change(Wanted::new(author, what, None, false), reply);
        if commands.send(command).await.is_err() {
            return Delivery::Taken;
        }
        drop(commands);
        match answer.await {
            // Nobody takes anything when the gateway stops.
            Ok(Ok(_)) | Err(_) | Ok(Err(Refused::Stopping)) => Delivery::Taken,
            Ok(Err(refused)) => {
                self.not_before = Some(self.clock.time() + AGAIN);
                if matches!(refused, Refused::Problems(_)) {
                    return Delivery::Never(refused.to_string());
                }
                tracing::warn!("a rollout waits, because its next step cannot be stored: {refused}");
                Delivery::Later(refused.to_string())
            }
        }
    }

    fn carry_out(&mut self, moved: &Moved) {
        for transition in &moved.moves.transitions {
            let rollout = &transition.rollout;
            let is_moved = |effect: &Effect| matches!(effect, Effect::Traffic(_));
            // What was decided after the answer is somebody's word.
            let sent = self.sent.remove(&rollout.id).filter(|(_, answered)| moved.decided <= *answered);
            if transition.effects.iter().any(is_moved) {
                self.measure(rollout, moved, sent.map(|(because, _)| because));
            }
            for effect in &transition.effects {
                match effect {
                    // It is live already.
                    Effect::Traffic(_) => {}
                    Effect::Ask { point, index, run, previous } => {
                        self.ask(rollout, (*point, *index, *run), previous.clone());
                    }
                    Effect::Cancel { run } => {
                        self.asked.remove(&(rollout.id, *run)).inspect(AbortHandle::abort);
                    }
                    Effect::Tell(milestone) => news::tell(&self.ground, &self.shared.ballots, rollout, milestone),
                }
            }
            if rollout.is_over() {
                self.sights.remove(&rollout.id);
            } else if watches(rollout) {
                // Closes the batch of the weight before.
                self.watch(rollout, self.clock.time());
            }
        }
        self.show();
    }

    /// What the gates of a rollout say now.
    fn watch(&mut self, rollout: &Rollout, now: Moment) -> Observation {
        let snapshot = self.ground.live.load_full();
        let watched = self.sights.entry(rollout.id).or_insert_with(|| sight::Watched::new(rollout));
        let before: Vec<Option<Judged>> = watched.judged();
        let seen = watched.look(rollout, now, &snapshot, &self.servers.answers(rollout));
        for ((member, before), after) in rollout.members.iter().zip(before).zip(watched.judged()) {
            if let Some(judged) = after.filter(|_| before != after) {
                self.ground.metrics.judged(&member.function, &member.alias, judged);
            }
        }
        seen
    }

    /// Shows in the metrics where the rollouts that run stand.
    fn show(&self) {
        let rollouts = self.rollouts.borrow();
        let standings = rollouts.running().flat_map(|rollout| {
            rollout.members.iter().map(|member| Standing {
                function: member.function.clone(),
                alias: member.alias.clone(),
                step: rollout.step().map_or(0, |step| step + 1),
                weight: rollout.weight.basis_points(),
            })
        });
        self.ground.metrics.set_rollouts(standings.collect());
    }

    /// How long it took from what was seen, if that was the reason, to what is live.
    fn measure(&self, rollout: &Rollout, moved: &Moved, because: Option<Instant>) {
        let detected = because.map(|because| moved.decided.saturating_duration_since(because));
        tracing::info!(
            rollout = %rollout.id,
            weight = %rollout.weight,
            detected_us = detected.map(|time| time.as_micros()),
            stored_us = moved.stored.as_micros(),
            live_us = moved.swapped.as_micros(),
            "traffic moved"
        );
        if let (Some(detected), Some(Outcome::RolledBack)) = (detected, rollout.outcome()) {
            let parts = [detected, moved.stored, moved.swapped];
            self.ground.metrics.rollback.iter().zip(parts).for_each(|(part, time)| part.observe(time.as_secs_f64()));
        }
    }

    fn ask(&mut self, rollout: &Rollout, (point, index, run): (Point, usize, u32), previous: Option<Value>) {
        let hooks = &rollout.plan.hooks;
        let (chain, event) = match point {
            Point::Before => (&hooks.before, "BeforeAllowTraffic"),
            Point::Step => (&hooks.step, "BeforeStep"),
            Point::After => (&hooks.after, "AfterAllowTraffic"),
        };
        let (hook, id) = (chain[index].clone(), rollout.id);
        let question = Question {
            event: event.to_owned(),
            rollout: view(rollout),
            previous,
            callback_base: self.ground.calls.admin_url.get().cloned().flatten(),
        };
        let asker = self.ground.calls.hooks.clone();
        let handle = self.answers.spawn(async move {
            let began = clock::now();
            let answer = asker.ask(&hook, &question).await;
            tracing::info!(rollout = %id, event = question.event, hook = index + 1, took = ?began.elapsed(),
                answer = answer.as_ref().map_or_else(ToString::to_string, |_| "yes".to_owned()), "a hook answered");
            let result = answer.map(|output| output.0).map_err(|failure| failure.to_string());
            HookEnded { id, event: Event::HookEnded { point, index, run, result } }
        });
        self.asked.insert((id, run), handle);
    }
}

/// Whether gates watch the traffic.
fn watches(rollout: &Rollout) -> bool {
    matches!(rollout.phase, Phase::Baking { .. } | Phase::Deciding { .. })
}

/// Whether every gate that measures has its answer.
fn settled(seen: &Observation) -> bool {
    seen.answers.iter().all(|answer| !matches!(answer, Answer::None(_)))
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => time::sleep(time).await,
        None => std::future::pending().await,
    }
}
