//! Makes tables live, watches candidates, and takes them out, on a thread of its own.
//!
//! ```text
//! publisher ─ snapshot ─────────────┐
//! abort, rollback, failed hook ─────┼─ Guardian ─ swap ─ live
//! cells, what servers say ─ verdict ┘      └─ event ─ Conductor ─ Writer ─ stored
//! ```
//! A candidate that has to go loses its traffic first, and the store is told next: nothing here parses, renders, or waits for
//! a disk, a hook or a reader of the API. Whatever the publisher makes meanwhile goes live without the candidate. The writer decides
//! all the same; when it has answered, what is stored counts alone ([`Shown`]).

mod mistake;
mod overdue;
mod servers;
mod sight;
mod swap;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use config::model::Bake;
use config::release::rollout::{Answer, Event, Moment, Observation, Phase, Rollout, RolloutId};
use config::text::edit::Edit;
use serde_json::Value;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;

use super::Ground;
use super::conduct::checkpoint;
use super::rollouts::Rollouts;
use crate::clock::{self, Steady};
use crate::live::Snapshot;
use crate::metrics::Judged;
use mistake::{caught, go_back};
use swap::Swap;

pub(super) use overdue::{leads_back, watches};
pub use sight::{Sight, Sights};

/// The longest time between two looks at the cells of a rollout that gates watch.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The time that a failure waits for others, so that a burst is looked at once.
const COALESCE: Duration = Duration::from_millis(1);
/// The number of rollouts that are looked at in a row before somebody else gets a turn.
const IN_A_ROW: usize = 32;
/// The time until a candidate that was taken out, and is still not stored so, is noted beside the store.
const NOTE_AFTER: Duration = Duration::from_millis(50);

/// The way to the guardian.
#[derive(Debug, Clone)]
pub(super) struct Guardian(mpsc::UnboundedSender<Order>);

/// A change that is live and not stored yet; dropped once the writer has answered, and then what is stored counts.
#[derive(Debug)]
pub(super) struct Shown {
    key: u64,
    orders: mpsc::UnboundedSender<Order>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Nobody is served any more when there is no guardian.
        let _ = self.orders.send(Order::Settle(self.key));
    }
}

/// A notice of what the guardian saw, for the writer.
pub(super) struct Noticed {
    pub(super) id: RolloutId,
    pub(super) event: Event,
    /// The moment of the failure that made it look.
    pub(super) because: Instant,
    /// The candidate's traffic, if it is taken already.
    pub(super) taken: Option<Taken>,
}

/// A candidate's traffic that was taken at once.
pub(super) struct Taken {
    /// The moment of the decision.
    pub(super) decided: Instant,
    /// From there until it was live.
    pub(super) swapped: Duration,
    pub(super) shown: Shown,
}

#[derive(Debug)]
enum Order {
    Publish(Arc<Snapshot>, oneshot::Sender<()>),
    TakeBack(RolloutId, Box<Event>, oneshot::Sender<Option<Shown>>),
    Show(Vec<Edit>, oneshot::Sender<Option<Shown>>),
    Settle(u64),
    Watch(bool),
    Moved(Vec<Arc<Rollout>>),
    Answered(RolloutId, Option<Moment>),
    Lost(RolloutId, bool),
}

impl Guardian {
    /// Makes a snapshot live; answers when it is.
    pub(super) async fn publish(&self, next: Arc<Snapshot>) {
        let (reply, answer) = oneshot::channel();
        // Without a guardian the gateway is stopping.
        let _ = self.0.send(Order::Publish(next, reply));
        let _ = answer.await;
    }

    /// Takes candidates out, if this event does that to its rollout; answers when that is live, before anything of it is stored.
    pub(super) async fn take_back(&self, id: RolloutId, event: &Event) -> Option<Shown> {
        self.shown(|reply| Order::TakeBack(id, Box::new(event.clone()), reply)).await
    }

    /// Makes edits of aliases live; answers when they are, before anything of it is stored.
    pub(super) async fn show(&self, edits: Vec<Edit>) -> Option<Shown> {
        self.shown(|reply| Order::Show(edits, reply)).await
    }

    async fn shown(&self, order: impl FnOnce(oneshot::Sender<Option<Shown>>) -> Order) -> Option<Shown> {
        let (reply, answer) = oneshot::channel();
        self.0.send(order(reply)).ok()?;
        answer.await.ok()?
    }

    /// Begins to look at rollouts, or ends it.
    pub(super) fn watch(&self, is_watching: bool) {
        let _ = self.0.send(Order::Watch(is_watching));
    }

    /// Tells whether a rollout has not heard yet that somebody else conducts it now. Until it has, only failures count: its
    /// deadlines are of another clock.
    pub(super) fn set_lost(&self, id: RolloutId, is_lost: bool) {
        let _ = self.0.send(Order::Lost(id, is_lost));
    }

    /// Tells that the traffic of these rollouts moved, and is live.
    pub(super) fn moved(&self, rollouts: Vec<Arc<Rollout>>) {
        let _ = self.0.send(Order::Moved(rollouts));
    }

    /// Tells that the writer answered what was noticed last of a rollout, which is looked at again, but not before this moment.
    pub(super) fn answered(&self, id: RolloutId, not_before: Option<Moment>) {
        let _ = self.0.send(Order::Answered(id, not_before));
    }
}

/// Starts the guardian; it ends when nobody knows it any more. What it notices is for the conductor, on whose runtime it has
/// servers asked.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start(
    ground: Ground,
    rollouts: watch::Receiver<Rollouts>,
    sights: watch::Sender<Sights>,
    clock: Steady,
) -> io::Result<(Guardian, mpsc::UnboundedReceiver<Noticed>)> {
    let (orders, received) = mpsc::unbounded_channel();
    let (noticed, notices) = mpsc::unbounded_channel();
    let others = Handle::current();
    let mut guarding = Guarding {
        servers: servers::Servers::new(ground.calls.queries.clone(), others.clone()),
        swap: Swap::new(ground.clone())?,
        ground,
        others,
        rollouts,
        clock,
        orders: orders.downgrade(),
        noticed,
        shared: sights,
        is_watching: false,
        sights: BTreeMap::new(),
        waiting: BTreeMap::new(),
        lost: BTreeSet::new(),
        taken: BTreeMap::new(),
        due: VecDeque::new(),
        looked: clock::now(),
    };
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let mut received = received;
    thread::Builder::new().name("weir-guardian".into()).spawn(move || {
        while let Err(panic) = caught(|| runtime.block_on(guarding.run(&mut received))) {
            guarding.recover("the guardian", &panic);
        }
        // Whoever has the store last closes it, which waits for the disk and is for threads that may.
        let others = guarding.others.clone();
        others.spawn_blocking(move || drop(guarding));
    })?;
    Ok((Guardian(orders), notices))
}

/// The guardian on its thread.
struct Guarding {
    ground: Ground,
    swap: Swap,
    /// The runtime of those who may be slow.
    others: Handle,
    rollouts: watch::Receiver<Rollouts>,
    clock: Steady,
    orders: mpsc::WeakUnboundedSender<Order>,
    noticed: mpsc::UnboundedSender<Noticed>,
    /// The sights, for everybody.
    shared: watch::Sender<Sights>,
    is_watching: bool,
    sights: BTreeMap<RolloutId, sight::Watched>,
    servers: servers::Servers,
    /// Rollouts of which the conductor has an event, until the writer answered; or not before a moment.
    waiting: BTreeMap<RolloutId, Option<Moment>>,
    /// Rollouts that have not heard yet that somebody else conducts them now.
    lost: BTreeSet<RolloutId>,
    /// Rollouts whose candidates were taken out, by the key of what is shown.
    taken: BTreeMap<u64, Vec<RolloutId>>,
    /// Rollouts that are looked at next; with the moment of the failure that is the reason, if one is.
    due: VecDeque<(RolloutId, Option<Instant>)>,
    /// The moment at which the last round of looks began.
    looked: Instant,
}

impl Guarding {
    async fn run(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let wake = Arc::clone(&self.ground.wake);
        loop {
            let (wait, is_idle) = (self.until_look(), self.is_idle());
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order),
                    None => return,
                },
                because = wake.wait(), if self.is_watching => {
                    time::sleep(COALESCE).await;
                    self.failed(because);
                    if self.until_look().is_zero() {
                        self.look_at_due();
                    }
                }
                // One may have begun that is to be watched.
                Ok(()) = self.rollouts.changed(), if self.is_watching && is_idle => {}
                () = time::sleep(wait), if self.is_watching && !is_idle => self.look_at_due(),
            }
        }
    }

    /// True if nothing is watched, and nothing is left of what was.
    fn is_idle(&self) -> bool {
        self.due.is_empty()
            && self.sights.is_empty()
            && self.shared.borrow().is_empty()
            && !self.rollouts.borrow().running().any(|rollout| watches(rollout) || leads_back(rollout))
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Publish(next, reply) => {
                self.swap.publish(next);
                // The publisher may have gone; it is live all the same.
                let _ = reply.send(());
            }
            Order::TakeBack(id, event, reply) => drop(reply.send(self.take_back(id, &event))),
            Order::Show(edits, reply) => {
                let shown = self.swap.show(edits).and_then(|key| self.shown(key));
                drop(reply.send(shown));
            }
            Order::Settle(key) => self.settle(key),
            Order::Watch(is_watching) => self.set_watching(is_watching),
            Order::Moved(rollouts) => self.moved(&rollouts),
            Order::Answered(id, None) => drop(self.waiting.remove(&id)),
            Order::Answered(id, not_before) => {
                self.waiting.insert(id, not_before);
                // The writer did not take it, so it is told again.
                self.sights.get_mut(&id).map(sight::Watched::forget_told);
            }
            Order::Lost(id, true) => drop(self.lost.insert(id)),
            Order::Lost(id, false) => drop(self.lost.remove(&id)),
        }
    }

    /// Begins or ends to look at rollouts. What was seen is forgotten at the end.
    fn set_watching(&mut self, is_watching: bool) {
        self.is_watching = is_watching;
        if !is_watching {
            self.sights.clear();
            self.servers.retain(|_| false);
            self.waiting.clear();
            self.lost.clear();
            self.due.clear();
            self.shared.send_replace(Sights::new());
        }
    }

    /// Hands out what is shown. Without anybody who knows the guardian, the gateway is stopping.
    fn shown(&self, key: u64) -> Option<Shown> {
        Some(Shown { key, orders: self.orders.upgrade()? })
    }

    fn settle(&mut self, key: u64) {
        self.swap.settle(key);
        if self.taken.remove(&key).is_some() {
            self.note();
        }
    }

    /// Takes the candidates out whose rollout this event sends back.
    fn take_back(&mut self, id: RolloutId, event: &Event) -> Option<Shown> {
        let moves = self.rollouts.borrow().event(id, event, self.clock.time()).ok()?;
        if !moves.goes_back() {
            return None;
        }
        let key = self.swap.show(moves.edits(self.swap.published().table.config()))?;
        self.taken.insert(key, moves.ended().collect());
        self.note();
        self.shown(key)
    }

    /// Has it noted beside the store which rollouts went back, if the writer takes its time.
    fn note(&self) {
        let aside = self.ground.aside.clone();
        aside.set_taken(self.taken.values().flatten().copied().collect());
        self.others.spawn(async move {
            time::sleep(NOTE_AFTER).await;
            aside.write().await;
        });
    }

    /// The time until rollouts are looked at.
    fn until_look(&self) -> Duration {
        if self.due.is_empty() { LOOK_EVERY.saturating_sub(self.looked.elapsed()) } else { Duration::ZERO }
    }

    /// Looks at the next rollouts of a round, and begins a new one if there are none.
    fn look_at_due(&mut self) {
        if self.due.is_empty() {
            self.looked = clock::now();
            let rollouts = self.rollouts.borrow().clone();
            let is_watched = |id: &RolloutId| rollouts.all.get(id).is_some_and(|rollout| watches(rollout));
            self.sights.retain(|id, _| is_watched(id));
            self.servers.retain(|id| is_watched(&id));
            self.waiting.retain(|id, _| rollouts.all.contains_key(id));
            self.shared.send_if_modified(|sights| {
                let known = sights.len();
                sights.retain(|id, _| is_watched(id));
                sights.len() != known
            });
            let now = self.clock.time();
            let is_due = |rollout: &&Arc<Rollout>| watches(rollout) || overdue::event(rollout, now).is_some();
            self.due = rollouts.running().filter(is_due).map(|rollout| (rollout.id, None)).collect();
        }
        // Failures come first, and must not keep the others waiting.
        let first = self.due.len().min(IN_A_ROW / 2);
        let mut some: Vec<_> = self.due.drain(..first).collect();
        some.extend(self.due.drain(self.due.len().saturating_sub(IN_A_ROW / 2)..));
        self.look(&some);
    }

    /// Has the rollouts looked at first of which a request failed.
    fn failed(&mut self, because: Instant) {
        let failed = self.sights.iter().filter(|(_, watched)| watched.take_failed()).map(|(id, _)| *id);
        let failed: BTreeSet<RolloutId> = failed.collect();
        self.due.retain(|(id, _)| !failed.contains(id));
        for id in failed {
            self.due.push_front((id, Some(because)));
        }
    }

    /// Looks at these rollouts.
    fn look(&mut self, some: &[(RolloutId, Option<Instant>)]) {
        let rollouts = self.rollouts.borrow().clone();
        let now = self.clock.time();
        let frozen = rollouts.now(now).frozen;
        for (id, because) in some {
            let is_waiting = self.waiting.get(id).is_some_and(|until| until.is_none_or(|moment| now < moment));
            let Some(rollout) = rollouts.all.get(id).filter(|_| !is_waiting) else { continue };
            if !watches(rollout) {
                if let Some(event) = overdue::event(rollout, now).filter(|_| !self.lost.contains(id)) {
                    self.notice(*id, event, clock::now());
                }
                continue;
            }
            let event = match rollouts.why_stuck(*id) {
                Some(why) => Some(go_back(why)),
                None => caught(|| self.event(rollout, now, frozen)).unwrap_or_else(|panic| {
                    self.sights.remove(id);
                    self.recover(&format!("the look at rollout {id}"), &panic);
                    Some(go_back("it cannot be watched"))
                }),
            };
            if let Some(event) = event {
                self.notice(*id, event, because.unwrap_or_else(clock::now));
            }
        }
        let ids: Vec<RolloutId> = some.iter().map(|(id, _)| *id).collect();
        self.share(&ids);
    }

    /// Tells the conductor what happened; a candidate that has to go has gone then.
    fn notice(&mut self, id: RolloutId, event: Event, because: Instant) {
        let decided = clock::now();
        let shown = self.take_back(id, &event);
        let taken = shown.map(|shown| Taken { decided, swapped: decided.elapsed(), shown });
        let event = match event {
            Event::Observed(seen) => Event::Observed(self.with_evidence(id, seen)),
            other => other,
        };
        self.waiting.insert(id, None);
        // Without a conductor the gateway is stopping.
        let _ = self.noticed.send(Noticed { id, event, because, taken });
    }

    /// Adds the numbers to an observation that it stands on: they are rendered only when they are told.
    fn with_evidence(&self, id: RolloutId, seen: Observation) -> Observation {
        let evidence = self.sights.get(&id).map_or(Value::Null, sight::Watched::evidence);
        Observation { evidence, ..seen }
    }

    /// The event of a watched rollout since the last look, if one is for the writer to know.
    fn event(&mut self, rollout: &Arc<Rollout>, now: Moment, frozen: bool) -> Option<Event> {
        let is_due = rollout.deadline().is_some_and(|deadline| now >= deadline);
        let seen = self.watch(rollout, now);
        let failed = seen.answers.iter().any(|answer| matches!(answer, Answer::Fail(_)));
        let worse = seen.worse.is_some() && (rollout.plan.guard.enforced || !rollout.alerted);
        if failed || worse || (seen.alert.is_some() && !rollout.alerted) {
            return Some(Event::Observed(seen));
        }
        if self.lost.contains(&rollout.id) {
            return None;
        }
        let checkpoint = checkpoint(rollout, now);
        if rollout.held.is_some() || frozen {
            return (is_due && rollout.held.is_some()).then_some(Event::Tick).or(checkpoint);
        }
        match &rollout.phase {
            Phase::Baking { step, .. } => match rollout.plan.steps[*step].bake {
                Bake::Hold => is_due.then_some(Event::Tick),
                Bake::Requests(wanted) => (is_due || seen.requests >= wanted).then_some(Event::Observed(seen)),
                Bake::Time(_) => is_due.then_some(Event::Observed(seen)),
            },
            _ if is_due
                || overdue::settled(&seen)
                    && rollout.lacks(seen.step, &seen).is_none()
                    && self.sights.get_mut(&rollout.id)?.is_news(&seen) =>
            {
                Some(Event::Observed(seen))
            }
            _ => None,
        }
        .or(checkpoint)
    }

    /// Looks at the gates of a rollout.
    fn watch(&mut self, rollout: &Rollout, now: Moment) -> Observation {
        #[cfg(test)]
        assert!(rollout.plan_name.as_deref() != Some("panics"), "as a test wants it");
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

    /// Closes the batches of the weights before.
    fn moved(&mut self, rollouts: &[Arc<Rollout>]) {
        let now = self.clock.time();
        for rollout in rollouts {
            if self.is_watching && watches(rollout) {
                self.watch(rollout, now);
            } else {
                self.sights.remove(&rollout.id);
            }
        }
        let ids: Vec<RolloutId> = rollouts.iter().map(|rollout| rollout.id).collect();
        self.share(&ids);
    }

    /// Tells everybody what is seen of these.
    fn share(&self, ids: &[RolloutId]) {
        self.shared.send_if_modified(|sights| {
            let mut is_changed = false;
            for id in ids {
                match self.sights.get(id) {
                    Some(watched) if sights.get(id) == Some(&watched.sight) => {}
                    Some(watched) => {
                        sights.insert(*id, watched.sight.clone());
                        is_changed = true;
                    }
                    None => is_changed |= sights.remove(id).is_some(),
                }
            }
            is_changed
        });
    }
}
