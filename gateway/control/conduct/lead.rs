//! What only the conductor that leads does, and how it begins and ends.

use std::sync::Arc;

use config::release::rollout::{Event, Phase, Point, Rollout, RolloutId, Speaker, Word};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::{Conductor, HookEnded};
use crate::clock;
use crate::control::rollouts::{Rollouts, view};
use crate::control::writer::Command;
use crate::hook::Question;
use crate::store::Term;

impl Conductor {
    /// Whether what it writes may be written, as far as is known here.
    pub(super) fn is_leading(&self) -> bool {
        self.term.is_some() && *self.leading.borrow() == self.term
    }

    /// Begins or ends to conduct, as the term says.
    pub(super) async fn follow_term(&mut self) {
        let term = self.leading.borrow_and_update().clone();
        if term != self.term {
            self.step_down();
            match term {
                // Nobody else conducted meanwhile.
                Some(term) if self.last_term.as_ref() == Some(&term) => {
                    self.term = Some(term);
                    self.guardian.watch(true);
                    self.follow();
                }
                Some(term) => self.take_over(term).await,
                None => {}
            }
        }
    }

    /// Conducts no longer: whoever does now asks hooks again, and looks at candidates itself.
    pub(super) fn step_down(&mut self) {
        self.term = None;
        self.guardian.watch(false);
        std::mem::take(&mut self.asked).into_values().for_each(|asked| asked.abort());
        self.known = OrdMap::new();
        self.sent.clear();
        self.undelivered.clear();
        self.not_before = None;
        self.shared.unstored.send_modify(|unstored| unstored.clear());
    }

    /// Goes on with every rollout that runs, under this term.
    async fn take_over(&mut self, term: Term) {
        (self.term, self.last_term) = (Some(term.clone()), Some(term));
        let Some(rollouts) = self.taken_over().await else { return };
        for rollout in rollouts.running() {
            match rollouts.why_stuck(rollout.id) {
                Some(why) => self.go_back(rollout.id, why).await,
                None => self.send(rollout.id, Event::Restarted, None).await,
            }
        }
        if self.is_leading() {
            self.guardian.watch(true);
            for rollout in rollouts.running().filter(|rollout| self.is_lost(rollout.id)) {
                self.guardian.set_lost(rollout.id, true);
            }
            self.follow();
        }
    }

    /// Tells if a rollout has not heard yet that somebody else conducts it now: it waits for answers that are lost, and its deadlines
    /// are of another clock.
    pub(super) fn is_lost(&self, id: RolloutId) -> bool {
        self.undelivered.iter().any(|(other, event)| *other == id && *event == Event::Restarted)
    }

    /// Sends back a rollout that cannot go on.
    pub(super) async fn go_back(&mut self, id: RolloutId, why: &str) {
        tracing::error!("the rollout {id} goes back to stable: {why}");
        let speaker = Speaker { who: "start".to_owned(), why: Some(why.to_owned()) };
        self.send(id, Event::Said { word: Word::Abort, speaker, step: None }, None).await;
    }

    /// The rollouts as far as the store has told of them by now, in the form of this release.
    async fn taken_over(&self) -> Option<Rollouts> {
        let (reply, answer) = oneshot::channel();
        self.commands.upgrade()?.send(Command::TakeOver(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Does what follows from how the rollouts stand, whoever moved them.
    pub(super) fn follow(&mut self) {
        let now = self.rollouts.borrow_and_update().all.clone();
        let changed = self.known.diff(&now).filter_map(|item| match item {
            DiffItem::Add(_, rollout) | DiffItem::Update { new: (_, rollout), .. } => Some(Arc::clone(rollout)),
            DiffItem::Remove(..) => None,
        });
        let changed: Vec<Arc<Rollout>> = changed.collect();
        self.known = now;
        if changed.is_empty() {
            return;
        }
        if self.is_leading() {
            changed.iter().for_each(|rollout| self.ask_as_it_stands(rollout));
        }
        self.guardian.moved(changed);
        self.show();
    }

    /// Asks the hook that a rollout waits for, and takes back what it does not wait for.
    fn ask_as_it_stands(&mut self, rollout: &Rollout) {
        let id = rollout.id;
        let waits_for = match &rollout.phase {
            Phase::Asking { point, index, run, previous, .. } => Some((*point, *index, *run, previous.clone())),
            _ => None,
        };
        let run = waits_for.as_ref().map(|(_, _, run, _)| *run);
        let others = self.asked.range((id, 0)..=(id, u32::MAX)).map(|(key, _)| *key).filter(|key| Some(key.1) != run);
        for key in others.collect::<Vec<_>>() {
            self.asked.remove(&key).inspect(AbortHandle::abort);
        }
        if let Some((point, index, run, previous)) = waits_for
            && !self.asked.contains_key(&(id, run))
            && !self.is_lost(id)
        {
            self.ask(rollout, (point, index, run), previous);
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
        let (asker, guardian) = (self.ground.calls.hooks.clone(), self.guardian.clone());
        let handle = self.answers.spawn(async move {
            let began = clock::now();
            let answer = asker.ask(&hook, &question).await;
            tracing::info!(rollout = %id, event = question.event, hook = index + 1, took = ?began.elapsed(),
                answer = answer.as_ref().map_or_else(ToString::to_string, |_| "yes".to_owned()), "a hook answered");
            let result = answer.map(|output| output.0).map_err(|failure| failure.to_string());
            let event = Event::HookEnded { point, index, run, result };
            // A candidate that has to go waits for nothing that is written for others.
            let shown = guardian.take_back(id, &event).await;
            HookEnded { id, event, shown }
        });
        self.asked.insert((id, run), handle);
    }
}
