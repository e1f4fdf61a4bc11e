//! Rollouts as the writer keeps them: loaded from the store, moved by events, stored with the weights they move.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use config::model::{Bake, Config};
use config::release::rollout::{
    self, Ask, Effect, Event, Member, Moment, Now, Outcome, OwnFields, Phase, ReadRollout, Rollout, RolloutId, Speaker,
    Traffic, Transition, Waits, Word, from_text, to_text,
};
use config::text::edit::Edit;
use config::text::problem::{Code, Problem};
use config::value::name::{AliasName, FunctionName, VersionId};
use config::value::weight::Weight;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::journal::{News, rfc3339};
use super::{Author, Environment, Refused};
use crate::clock;
use crate::store::{Change, Image};

/// Names of rollouts in the store.
pub(super) const ROLLOUT: &str = "rollout/";
/// Name of the freeze in the store.
pub(super) const FREEZE: &str = "rollout/freeze";
/// So many rollouts that are over are kept; the journal knows the rest.
const KEPT: usize = 100;
/// The longest freeze.
pub const MAX_FREEZE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Every rollout that runs, the last ones that are over, and whether all are frozen.
#[derive(Debug, Clone, Default)]
pub struct Rollouts {
    /// By number.
    pub all: OrdMap<RolloutId, Arc<Rollout>>,
    /// Why nothing but going back happens, if so.
    pub freeze: Option<Freeze>,
    /// Running ones that can only go back, and why.
    pub(super) stuck: Vec<(RolloutId, String)>,
    /// Names of those that cannot be read, and why.
    pub(super) unreadable: Vec<(String, String)>,
    /// Running ones of release 0.1.0, with what each of their aliases had of its own.
    pub(super) lent: Vec<(RolloutId, Vec<OwnFields>)>,
}

/// Holds every rollout: nothing but going back happens until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub why: Option<String>,
    /// Since when.
    pub since: Moment,
    /// When it ends by itself.
    pub until: Moment,
}

impl Freeze {
    /// The freeze by a clock that went back since: it is as long as it was.
    fn since_at_most(self, now: Moment) -> Self {
        let since = self.since.min(now);
        Self { until: since + self.until.saturating_sub(self.since), since, ..self }
    }
}

/// A freeze whose text cannot be read holds until somebody ends it.
fn unreadable_freeze(error: &serde_json::Error) -> Freeze {
    /// The end of the year 9999.
    const NEVER: Moment = Duration::from_secs(253_402_300_799);
    let why = format!("the stored freeze cannot be read: {error}");
    Freeze { by: "start".to_owned(), why: Some(why), since: Duration::ZERO, until: NEVER }
}

/// What one command does to rollouts.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    pub(super) transitions: Vec<Transition>,
    pub(super) freeze: Option<Option<Freeze>>,
    /// Numbers of rollouts that are no longer kept.
    forgotten: Vec<RolloutId>,
}

impl Rollouts {
    /// From the texts of a store. One that this version of Weir cannot read takes down itself alone.
    pub(super) fn load(image: &Image, environment: &Environment, now: Moment) -> Self {
        let mut rollouts = Self::default();
        for (name, stored) in &image.texts {
            rollouts.take(name, Some(&stored.text), environment, now);
        }
        rollouts
    }

    /// Takes one text of a store, or that it is gone.
    pub(super) fn take(&mut self, name: &str, text: Option<&str>, environment: &Environment, now: Moment) {
        if name == FREEZE {
            let freeze = text.map(|text| serde_json::from_str(text).unwrap_or_else(|error| unreadable_freeze(&error)));
            self.freeze = freeze.map(|freeze: Freeze| freeze.since_at_most(now));
            return;
        }
        let name = name.strip_prefix(ROLLOUT).unwrap_or(name);
        self.unreadable.retain(|(other, _)| other != name);
        if let Ok(id) = name.parse() {
            self.all.remove(&id);
            self.stuck.retain(|(other, _)| *other != id);
            self.lent.retain(|(other, _)| *other != id);
        }
        match text.map(|text| from_text(text, &**environment)) {
            None => {}
            Some(Ok(ReadRollout { rollout, unusable, lent })) => {
                self.stuck.extend(unusable.map(|why| (rollout.id, why)));
                if !rollout.is_over() && !lent.is_empty() {
                    self.lent.push((rollout.id, lent));
                }
                self.all.insert(rollout.id, Arc::new(rollout));
            }
            Some(Err(why)) => self.unreadable.push((name.to_owned(), why)),
        }
    }

    /// Notes the running ones that move an alias whose text, or whose layer, cannot be read: they can only go back. Tells if there are new
    /// ones.
    pub(super) fn stick_to_unread(&mut self, config: &Config) -> bool {
        if config.unreadable.is_empty() {
            return false;
        }
        let unread = |member: &Member| {
            let texts = ["layer", "alias"].map(|kind| format!("{kind}/{}/{}", member.function, member.alias));
            texts.into_iter().find(|text| config.is_unread(text))
        };
        let stuck = self.running().filter_map(|rollout| {
            let text = rollout.members.iter().find_map(unread)?;
            Some((rollout.id, format!("the stored text {text} cannot be read")))
        });
        let stuck: Vec<_> = stuck.filter(|(id, _)| self.stuck.iter().all(|(other, _)| other != id)).collect();
        let is_new = !stuck.is_empty();
        self.stuck.extend(stuck);
        is_new
    }

    /// The reason why a running one can only go back, if so.
    pub(super) fn why_stuck(&self, id: RolloutId) -> Option<&str> {
        let (_, why) = self.stuck.iter().find(|(stuck, _)| *stuck == id)?;
        self.all.get(&id).is_some_and(|rollout| !rollout.is_over()).then_some(why)
    }

    /// Those that are not over.
    pub fn running(&self) -> impl Iterator<Item = &Arc<Rollout>> {
        self.all.values().filter(|rollout| !rollout.is_over())
    }

    /// The one that moves this alias.
    #[must_use]
    pub fn on(&self, function: &FunctionName, alias: &AliasName) -> Option<&Arc<Rollout>> {
        self.running().find(|rollout| rollout.moves(function, alias))
    }

    /// What is known beside a rollout at this time.
    #[must_use]
    pub fn now(&self, time: Moment) -> Now {
        Now { time, wall: clock::unix(), frozen: self.freeze.as_ref().is_some_and(|freeze| time < freeze.until) }
    }

    pub(super) fn begin(&self, id: RolloutId, ask: &Ask, config: &Config, time: Moment) -> Result<Moves, Refused> {
        let running: Vec<Arc<Rollout>> = self.running().cloned().collect();
        let (begun, superseded) =
            rollout::begin(id, ask, config, &running, self.now(time)).map_err(Refused::Problems)?;
        let mut transitions: Vec<Transition> =
            superseded.iter().filter_map(|id| self.superseded(&self.all[id], &ask.speaker, time)).collect();
        transitions.push(begun);
        let over: Vec<RolloutId> = self.all.values().filter(|rollout| rollout.is_over()).map(|over| over.id).collect();
        let forgotten = over[..over.len().saturating_sub(KEPT)].to_vec();
        Ok(Moves { transitions, freeze: None, forgotten })
    }

    pub(super) fn event(&self, id: RolloutId, event: &Event, time: Moment) -> Result<Moves, Refused> {
        let Some(rollout) = self.all.get(&id) else {
            let problem = Problem::error(format!("rollouts.{id}"), format!("there is no rollout {id}"));
            return Err(Refused::Problems(vec![problem.code(Code::NotFound)]));
        };
        let is_abort = matches!(event, Event::Said { word: Word::Abort, .. });
        if let Some(why) = self.why_stuck(id).filter(|_| !is_abort) {
            return Err(Refused::Rollout(format!("rollout {id} can only be aborted here: {why}")));
        }
        let transition = rollout.on(event, self.now(time)).map_err(|refusal| Refused::Rollout(refusal.0))?;
        Ok(Moves { transitions: transition.into_iter().collect(), ..Moves::default() })
    }

    /// Sets or ends a freeze; its end moves what waited for it.
    pub(super) fn frozen(&self, freeze: Option<Freeze>, time: Moment) -> Moves {
        let now = Now { frozen: freeze.is_some(), ..self.now(time) };
        let thaw = |rollout: &Arc<Rollout>| rollout.on(&Event::Thawed, now).ok().flatten();
        let running = self.running().filter(|rollout| freeze.is_none() && self.why_stuck(rollout.id).is_none());
        let transitions = running.filter_map(thaw).collect();
        let changes = freeze != self.freeze;
        Moves { transitions, freeze: changes.then_some(freeze), forgotten: Vec::new() }
    }

    /// The rollouts that edits end, because they set the split of an alias, even if to what it is.
    pub(super) fn overruled(&self, edits: &[Edit], sides: (&Config, &Config), author: &Author, time: Moment) -> Moves {
        let own = |config: &Config, member: &Member| {
            Some(config.functions.get(&member.function)?.own(&member.alias)?.split.clone())
        };
        let (before, after) = sides;
        let set: BTreeSet<_> = if self.running().next().is_some() {
            edits.iter().flat_map(Edit::splits).collect()
        } else {
            BTreeSet::new()
        };
        let is_set = |rollout: &&Arc<Rollout>| {
            let mut members = rollout.members.iter();
            members.any(|m| set.contains(&(&m.function, &m.alias)) || own(before, m) != own(after, m))
        };
        let speaker = Speaker { who: author.who.clone(), why: author.why.clone() };
        let moved = self.running().filter(is_set);
        let transitions = moved.filter_map(|rollout| self.superseded(rollout, &speaker, time)).collect();
        Moves { transitions, ..Moves::default() }
    }

    /// The edits by which layers lose the fields that `edits` set live. `ended` are no longer running.
    pub(super) fn without_set_fields(&self, edits: &[Edit], sides: (&Config, &Config), ended: &Moves) -> Vec<Edit> {
        let running = self.running().filter(|rollout| !ended.ends(rollout.id));
        running.flat_map(|rollout| rollout::without_set_fields(rollout, edits, sides.0, sides.1)).collect()
    }

    /// Versions that went out of use from one configuration to the next while a running rollout moves them: a problem for each.
    /// `ended` are no longer running.
    pub(super) fn still_moved(&self, before: &Config, after: &Config, ended: &Moves) -> Vec<Problem> {
        let is_usable = |config: &Config, function: &FunctionName, version: VersionId| {
            config.functions.get(function).and_then(|f| f.version(version)).is_some_and(|version| !version.retired)
        };
        let running = self.running().filter(|rollout| !ended.ends(rollout.id));
        let members = running.flat_map(|rollout| rollout.members.iter().map(|member| (rollout.id, member)));
        let versions = members.flat_map(|(id, member)| {
            let candidate = VersionId::Number(member.candidate);
            member.stable.into_iter().chain([candidate]).map(move |version| (id, &member.function, version))
        });
        let gone = versions.filter(|(_, function, version)| {
            is_usable(before, function, *version) && !is_usable(after, function, *version)
        });
        gone.map(|(id, function, version)| {
            let path = format!("functions.{function}.versions.{version}");
            let message = format!("version {version} of `{function}` is still in use by rollout {id}");
            Problem::error(path, message).help(format!("abort it first: `weir abort {id}`")).code(Code::Referenced)
        })
        .collect()
    }

    fn superseded(&self, rollout: &Rollout, speaker: &Speaker, time: Moment) -> Option<Transition> {
        rollout.on(&Event::Superseded(speaker.clone()), self.now(time)).ok().flatten()
    }

    /// As they are after these moves.
    pub(super) fn moved(&mut self, moves: &Moves) {
        for transition in &moves.transitions {
            self.all.insert(transition.rollout.id, Arc::new(transition.rollout.clone()));
        }
        for id in &moves.forgotten {
            self.all.remove(id);
        }
        if let Some(freeze) = &moves.freeze {
            self.freeze.clone_from(freeze);
        }
    }
}

impl Moves {
    pub(super) fn is_nothing(&self) -> bool {
        self.transitions.is_empty() && self.freeze.is_none()
    }

    /// These, and then those.
    pub(super) fn extend(&mut self, more: &Self) {
        self.transitions.extend(more.transitions.iter().cloned());
        self.freeze = more.freeze.clone().or(self.freeze.take());
        self.forgotten.extend(&more.forgotten);
    }

    /// Without what they do to this rollout.
    pub(super) fn leave_out(&mut self, id: RolloutId) {
        self.transitions.retain(|transition| transition.rollout.id != id);
    }

    /// True if stable gets everything, which must not wait for a store.
    pub(super) fn goes_back(&self) -> bool {
        let is_back = |outcome| matches!(outcome, Some(Outcome::RolledBack | Outcome::Aborted));
        self.traffic().any(|(rollout, _)| is_back(rollout.outcome()))
    }

    /// The rollouts that end.
    pub(super) fn ended(&self) -> impl Iterator<Item = RolloutId> {
        self.transitions.iter().filter(|moved| moved.rollout.is_over()).map(|moved| moved.rollout.id)
    }

    fn ends(&self, id: RolloutId) -> bool {
        self.ended().any(|ended| ended == id)
    }

    /// The edits of the traffic that they move.
    pub(super) fn edits(&self, config: &Config) -> Vec<Edit> {
        self.traffic().flat_map(|(rollout, traffic)| rollout::edits(rollout, traffic, config)).collect()
    }

    fn traffic(&self) -> impl Iterator<Item = (&Rollout, Traffic)> {
        self.transitions.iter().flat_map(|transition| {
            transition.effects.iter().filter_map(move |effect| match effect {
                Effect::Traffic(traffic) => Some((&transition.rollout, *traffic)),
                _ => None,
            })
        })
    }

    /// The texts that they change.
    pub(super) fn changes(&self) -> Vec<Change> {
        let name = |id: RolloutId| format!("{ROLLOUT}{id}");
        let texts = self.transitions.iter().map(|transition| &transition.rollout);
        let texts = texts.map(|rollout| Change { name: name(rollout.id), text: Some(to_text(rollout).into()) });
        let forgotten = self.forgotten.iter().map(|id| Change { name: name(*id), text: None });
        let freeze = self.freeze.iter().map(|freeze| {
            let text = freeze.as_ref().map(|freeze| serde_json::to_string(freeze).expect("texts and numbers are JSON"));
            Change { name: FREEZE.to_owned(), text: text.map(Into::into) }
        });
        texts.chain(forgotten).chain(freeze).collect()
    }

    /// What they tell, for the journal.
    pub(super) fn news(&self) -> Vec<News> {
        let mut news = Vec::new();
        for Transition { rollout, effects } in &self.transitions {
            for effect in effects {
                let Effect::Tell(milestone) = effect else { continue };
                news.push(News {
                    rollout: rollout.id.to_string(),
                    kind: milestone.kind.to_owned(),
                    text: milestone.text.clone(),
                    weight: rollout.weight.to_string(),
                    evidence: rollout.evidence.clone(),
                });
            }
        }
        news
    }

    /// What they do, in words.
    pub(super) fn told(&self) -> Vec<String> {
        let mut told: Vec<String> =
            self.news().iter().map(|news| format!("rollout {}: {}: {}", news.rollout, news.kind, news.text)).collect();
        told.extend(self.freeze.iter().map(|freeze| match freeze {
            Some(Freeze { why: Some(why), .. }) => format!("freeze all rollouts: {why}"),
            Some(_) => "freeze all rollouts".to_owned(),
            None => "end the freeze".to_owned(),
        }));
        if told.is_empty() {
            told.extend(self.transitions.iter().map(|moved| format!("rollout {}", moved.rollout.id)));
        }
        told
    }
}

/// A rollout for whoever reads JSON: hooks, notifiers and the API.
#[must_use]
pub fn view(rollout: &Rollout) -> Value {
    let members = rollout.members.iter().map(|member| {
        json!({
            "function": member.function.as_str(),
            "alias": member.alias.as_str(),
            "stable": member.stable.map(|stable| stable.to_string()),
            "candidate": member.candidate.to_string(),
        })
    });
    let steps = rollout.plan.steps.iter().map(|step| match step.bake {
        Bake::Time(time) => json!({ "weight": percent(step.weight), "bake_seconds": time.as_secs_f64() }),
        Bake::Requests(requests) => json!({ "weight": percent(step.weight), "requests": requests }),
        Bake::Hold => json!({ "weight": percent(step.weight), "hold": true }),
    });
    let (state, why) = match &rollout.phase {
        Phase::Over { outcome, why, .. } => (outcome.as_str(), Some(why.as_str())),
        Phase::Asking { .. } => ("asking a hook", None),
        Phase::Ready { .. } => ("ready", None),
        Phase::Baking { .. } => ("baking", None),
        Phase::Deciding { waits: Waits::Gates, .. } => ("waiting for gates", None),
        Phase::Deciding { waits: Waits::Approval, .. } => ("waiting for approval", None),
    };
    let approvals = rollout.approvals.iter().map(|approval| {
        let (step, time) = (approval.step + 1, rfc3339(approval.at));
        json!({ "step": step, "by": approval.by, "reason": approval.why, "time": time })
    });
    let ended = if let Phase::Over { at, .. } = rollout.phase { Some(rfc3339(at)) } else { None };
    json!({
        "id": rollout.id.to_string(),
        "members": members.collect::<Vec<_>>(),
        "plan": rollout.plan_name,
        "steps": steps.collect::<Vec<_>>(),
        "state": state,
        "over": rollout.is_over(),
        "outcome": rollout.outcome().map(|outcome| outcome.as_str()),
        "why": why,
        "step": rollout.step().map(|step| step + 1),
        "weight": percent(rollout.weight),
        "approvals": approvals.collect::<Vec<_>>(),
        "held_by": rollout.held.as_ref().map(|held| held.by.as_str()),
        "by": rollout.by,
        "reason": rollout.why,
        "began": rfc3339(rollout.began),
        "deadline": rollout.deadline().map(rfc3339),
        "ended": ended,
    })
}

/// What was seen of a rollout, in the form of `last_seen`, for whoever reads JSON.
#[must_use]
pub fn seen(seen: &Value) -> Value {
    let gates = seen["gates"].as_array().into_iter().flatten();
    let gates: Vec<Value> = gates.map(|gate| json!({ "gate": gate[0], "says": gate[1] })).collect();
    json!({ "gates": gates, "members": seen["members"], "lacks": seen["lacks"] })
}

/// 5.25 for 525 basis points.
fn percent(weight: Weight) -> Value {
    // Hundredths of a percent print exactly.
    json!(f64::from(weight.basis_points()) / 100.0)
}
