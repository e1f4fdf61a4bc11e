//! Carries rollouts out: tells the writer what happened, and does what the writer stored.
//!
//! ```text
//! the guardian, hooks, the clock ─ Conductor ─ event ─ Writer ─ stored and live ─ effects ─ Conductor
//! ```
//! The conductor decides nothing: every step is [`config::release::rollout`]'s, and is stored before its effects are carried out.
//! Of several gateways on one store one conducts, under a term ([`super::leading`]). The others tell what comes of the words that
//! were given to them, and do no more.
//!
//! - `lead`: what only the one that leads does
//! - `news`: milestones, as people hear of them
//! - `checkpoint`: how the store hears that a rollout still runs

mod checkpoint;
mod lead;
mod news;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::release::rollout::{Effect, Event, Moment, Outcome, Phase, Rollout, RolloutId, Speaker, Word};
use imbl::OrdMap;
use tokio::sync::{SetOnce, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time;

use super::guardian::{Guardian, LOOK_EVERY, Noticed, Shown, Sights, leads_back, watches};
use super::rollouts::Rollouts;
use super::writer::{Command, Moved, Wanted, What};
use super::{Author, Control, Ground, Refused};
use crate::clock::{self, Steady};
use crate::dial::Dial;
use crate::hook::Hooks;
use crate::metrics::{Metrics, Standing};
use crate::notify::Notifiers;
use crate::query::Queries;
use crate::store::Term;

pub(super) use checkpoint::checkpoint;
pub use news::{Ballot, Ballots};

/// The time between two looks at the wall clock for a rollout that waits for a window.
const WINDOW_EVERY: Duration = Duration::from_secs(60);
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
    /// The term that this gateway has, as far as is known.
    leading: watch::Receiver<Option<Term>>,
    /// The term under which it conducts; `None` while it follows.
    term: Option<Term>,
    /// The term that it had last.
    last_term: Option<Term>,
    /// The rollouts as they were looked at last.
    known: OrdMap<RolloutId, Arc<Rollout>>,
    shared: Arc<Shared>,
    clock: Steady,
    guardian: Guardian,
    /// Notices of the guardian.
    noticed: mpsc::UnboundedReceiver<Noticed>,
    /// Hooks that were asked: what they answered, with where it belongs.
    answers: JoinSet<HookEnded>,
    asked: BTreeMap<(RolloutId, u32), AbortHandle>,
    /// The event that was sent last, of each rollout.
    sent: BTreeMap<RolloutId, Sent>,
    /// The moment at which the clock is looked at next.
    look_at: Option<Instant>,
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
    /// Another gateway conducts by now.
    Over,
}

/// An event that the writer answered.
struct Sent {
    answered: Instant,
    /// From what happened to the decision, if the guardian saw it.
    detected: Option<Duration>,
    /// From the decision until the candidate had lost its traffic, if that was before the writer heard of it.
    swapped: Option<Duration>,
}

struct HookEnded {
    id: RolloutId,
    event: Event,
    /// The candidate's traffic, if the answer took it.
    shown: Option<Shown>,
}

impl Conductor {
    pub(super) fn new(
        ground: Ground,
        commands: mpsc::WeakSender<Command>,
        leading: watch::Receiver<Option<Term>>,
        (rollouts, moved): (watch::Receiver<Rollouts>, mpsc::UnboundedReceiver<Moved>),
        shared: Arc<Shared>,
        clock: Steady,
        (guardian, noticed): (Guardian, mpsc::UnboundedReceiver<Noticed>),
    ) -> Self {
        Self {
            ground,
            commands,
            rollouts,
            moved,
            leading,
            term: None,
            last_term: None,
            known: OrdMap::new(),
            shared,
            clock,
            guardian,
            noticed,
            answers: JoinSet::new(),
            asked: BTreeMap::new(),
            sent: BTreeMap::new(),
            look_at: None,
            not_before: None,
            undelivered: VecDeque::new(),
        }
    }

    /// Until the writer ends. Waits for the gateway to serve: what nobody can answer or see is not begun.
    pub(super) async fn run(mut self) {
        self.ground.calls.admin_url.wait().await;
        self.show();
        self.leading.mark_changed();
        loop {
            let wanted = self.next_look().map(|wait| clock::now() + wait);
            self.look_at = wanted.map(|wanted| self.look_at.map_or(wanted, |at| at.min(wanted)));
            if self.look_at.is_some_and(|at| at <= clock::now()) {
                // The clock gets its turn however much happens, but what is stored still comes first.
                while let Ok(moved) = self.moved.try_recv() {
                    self.carry_out(&moved);
                }
                self.look_at = None;
                self.look().await;
                continue;
            }
            tokio::select! {
                // What is stored comes first: nothing is looked at with an old rollout in mind.
                biased;
                moved = self.moved.recv() => match moved {
                    Some(moved) => self.carry_out(&moved),
                    None => return,
                },
                Ok(()) = self.leading.changed() => self.follow_term().await,
                Ok(()) = self.rollouts.changed() => self.follow(),
                Some(ended) = self.answers.join_next() => {
                    // A hook that was cancelled has no answer.
                    if let Ok(HookEnded { id, event, shown }) = ended {
                        self.send(id, event, shown).await;
                    }
                }
                Some(noticed) = self.noticed.recv() => self.pass_on(noticed).await,
                () = sleep_until(self.look_at) => {}
            }
        }
    }

    /// The time until something must be looked at; `None` while nothing waits for the clock.
    fn next_look(&self) -> Option<Duration> {
        if !self.is_leading() {
            return None;
        }
        let rollouts = self.rollouts.borrow();
        let now = self.clock.time();
        let mut next: Option<Duration> = None;
        let mut by = |wait: Duration| next = Some(next.map_or(wait, |next| next.min(wait)));
        let pause = self.not_before.map_or(Duration::ZERO, |moment| moment.saturating_sub(now));
        if let Some(freeze) = &rollouts.freeze {
            by(freeze.until.saturating_sub(now).max(pause));
        }
        if !self.undelivered.is_empty() {
            by(AGAIN);
        }
        for rollout in rollouts.running().filter(|rollout| !watches(rollout)) {
            if let Some(deadline) = rollout.deadline() {
                let wait = deadline.saturating_sub(now).max(LOOK_EVERY);
                // For checkpoints, and for the wall clock that a window is opened by.
                by(wait.min(WINDOW_EVERY));
            }
        }
        next
    }

    /// Tells the writer what the guardian saw.
    async fn pass_on(&mut self, noticed: Noticed) {
        let Noticed { id, event, because, taken } = noticed;
        let decided = taken.as_ref().map_or_else(clock::now, |taken| taken.decided);
        let swapped = taken.as_ref().map(|taken| taken.swapped);
        self.send(id, event, taken.map(|taken| taken.shown)).await;
        let detected = Some(decided.saturating_duration_since(because));
        self.sent.insert(id, Sent { answered: clock::now(), detected, swapped });
        self.guardian.answered(id, self.not_before);
    }

    /// Looks at what no gate watches.
    async fn look(&mut self) {
        let now = self.clock.time();
        if self.not_before.is_some_and(|moment| now < moment) {
            return;
        }
        self.not_before = None;
        while let Some((id, event)) = self.undelivered.pop_front() {
            self.send(id, event, None).await;
            if self.not_before.is_some() {
                return;
            }
        }
        let rollouts = self.rollouts.borrow().clone();
        if rollouts.freeze.as_ref().is_some_and(|freeze| now >= freeze.until) {
            self.ask_writer(Author::of("freeze"), What::Freeze(None)).await;
            return;
        }
        let frozen = rollouts.now(now).frozen;
        let unwatched = rollouts.running().filter(|rollout| !watches(rollout) && !self.is_lost(rollout.id));
        for rollout in unwatched.collect::<Vec<_>>() {
            if let Some(why) = rollouts.why_stuck(rollout.id) {
                self.go_back(rollout.id, why).await;
            } else if let Some(event) = self.event(rollout, now, frozen) {
                self.send(rollout.id, event, None).await;
                self.sent.insert(rollout.id, Sent { answered: clock::now(), detected: None, swapped: None });
            }
        }
    }

    /// The event that the clock brings a rollout which no gate watches.
    fn event(&self, rollout: &Rollout, now: Moment, frozen: bool) -> Option<Event> {
        let is_due = rollout.deadline().is_some_and(|deadline| now >= deadline) || self.asks_again(rollout);
        // A deadline that leads back is the guardian's; under a freeze one that leads on is no event.
        let leads_on = !leads_back(rollout) && !frozen;
        (is_due && leads_on).then_some(Event::Tick).or_else(|| checkpoint(rollout, now))
    }

    /// True if the wall clock is looked at again for a rollout that waits for a window: it may have jumped.
    fn asks_again(&self, rollout: &Rollout) -> bool {
        let asked = self.sent.get(&rollout.id).map(|sent| sent.answered);
        let is_old = |asked| clock::now().saturating_duration_since(asked) >= WINDOW_EVERY;
        matches!(rollout.phase, Phase::Ready { .. }) && asked.is_none_or(is_old)
    }

    /// Tells the writer. `shown`: what of it is live already, which is tried here if it was not before.
    async fn send(&mut self, id: RolloutId, event: Event, shown: Option<Shown>) {
        if !self.is_leading() {
            return;
        }
        let _shown = match shown {
            Some(shown) => Some(shown),
            None => self.guardian.take_back(id, &event).await,
        };
        let author = Author::of(&format!("rollout {id}"));
        let is_told_once = matches!(event, Event::HookEnded { .. } | Event::Restarted);
        let delivery = self.ask_writer(author.clone(), What::Event(id, Box::new(event.clone()))).await;
        self.shared.unstored.send_if_modified(|unstored| match &delivery {
            Delivery::Later(why) => unstored.insert(id, why.clone()).is_none(),
            Delivery::Taken | Delivery::Over | Delivery::Never(_) => unstored.remove(&id).is_some(),
        });
        if event == Event::Restarted && !matches!(delivery, Delivery::Later(_)) {
            self.guardian.set_lost(id, false);
        }
        match delivery {
            Delivery::Taken | Delivery::Over => {}
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
        let command = Command::Change(Wanted::new(author, what, None, false).under(self.term.clone()), reply);
        if commands.send(command).await.is_err() {
            return Delivery::Taken;
        }
        drop(commands);
        match answer.await {
            // Nobody takes anything when the gateway stops.
            Ok(Ok(_)) | Err(_) | Ok(Err(Refused::Stopping)) => Delivery::Taken,
            Ok(Err(Refused::TermOver)) => {
                self.step_down();
                Delivery::Over
            }
            Ok(Err(refused)) => {
                self.not_before = Some(self.clock.time() + AGAIN);
                if matches!(refused, Refused::Problems(_)) {
                    return Delivery::Never(refused.to_string());
                }
                if matches!(refused, Refused::Rollout(_)) {
                    tracing::warn!("an event of a rollout is left out, because it does not fit: {refused}");
                    return Delivery::Taken;
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
            let sent = self.sent.remove(&rollout.id).filter(|sent| moved.decided <= sent.answered);
            if transition.effects.iter().any(is_moved) {
                self.measure(rollout, moved, sent.as_ref());
            }
            for effect in &transition.effects {
                match effect {
                    // It is live already; and what is asked follows from how the rollout stands.
                    Effect::Traffic(_) | Effect::Ask { .. } | Effect::Cancel { .. } => {}
                    Effect::Tell(milestone) => news::tell(&self.ground, &self.shared, rollout, milestone),
                }
            }
        }
        self.follow();
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

    /// Measures the time from what was seen, if that was the reason, to what is live and stored.
    fn measure(&self, rollout: &Rollout, moved: &Moved, sent: Option<&Sent>) {
        let detected = sent.and_then(|sent| sent.detected);
        let live = sent.and_then(|sent| sent.swapped).unwrap_or(moved.swapped);
        tracing::info!(
            rollout = %rollout.id,
            weight = %rollout.weight,
            detected_us = detected.map(|time| time.as_micros()),
            live_us = live.as_micros(),
            stored_us = moved.stored.as_micros(),
            "traffic moved"
        );
        if let (Some(detected), Some(Outcome::RolledBack)) = (detected, rollout.outcome()) {
            let parts = [detected, live, moved.stored];
            self.ground.metrics.rollback.iter().zip(parts).for_each(|(part, time)| part.observe(time.as_secs_f64()));
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
