//! What is seen of a rollout's traffic: cells, made into what its gates say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::model::{Check, Gate};
use config::release::outcome::Counts;
use config::release::rollout::{Answer, Member, Moment, Observation, Rollout, RolloutId, Seen};
use config::release::verdict::{Batch, Evidence, Side, Verdict, Watch};
use config::value::name::VersionId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::live::Snapshot;
use crate::metrics::Judged;
use crate::outcomes::Outcomes;

/// What was last seen of every rollout that is watched.
pub type Sights = BTreeMap<RolloutId, Sight>;

/// What was last seen of a rollout.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Sight {
    /// Of each member, in their order.
    pub members: Vec<MemberSight>,
    /// What each gate says, in words: its name, then `pass`, or what it found or lacks.
    pub gates: Vec<(String, String)>,
}

/// What was last seen of one member.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemberSight {
    /// The verdict in a sentence.
    pub verdict: String,
    /// One word: `no worse`, `worse`, `not yet`, `no data`, `void`.
    pub word: &'static str,
    /// The numbers behind it.
    pub evidence: Evidence,
    /// Since the step's weight went live.
    pub stable: SideSight,
    /// Since the step's weight went live.
    pub candidate: SideSight,
}

/// One version since the step's weight went live.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SideSight {
    /// Requests that count.
    pub requests: u64,
    /// Of them, failures.
    pub failures: u64,
    /// Milliseconds, with three decimals.
    pub p95_ms: Option<f64>,
}

/// A rollout under watch.
pub(super) struct Watched {
    /// When the weight went live that the counts are of.
    since: Moment,
    members: Vec<MemberWatch>,
    pub(super) sight: Sight,
    /// What was last told to the writer while a decision waited.
    told: Vec<Answer>,
}

struct MemberWatch {
    stable: SideWatch,
    candidate: SideWatch,
    watch: Watch,
    /// What the verdict has come to.
    judged: Option<Judged>,
}

/// The cells of one version, and what of them is old.
#[derive(Default)]
struct SideWatch {
    cells: Option<Arc<Outcomes>>,
    last: Side,
    /// Since the step's weight went live.
    step: Counts,
}

impl Watched {
    /// Goes on from what the rollout carries.
    pub(super) fn new(rollout: &Rollout) -> Self {
        let guard = &rollout.plan.guard;
        let members = rollout.members.iter().enumerate().map(|(place, _)| {
            let kept = rollout.evidence.get("members").and_then(|members| members.get(place)?.get("watch").cloned());
            let kept = kept.and_then(|watch| serde_json::from_value(watch).ok());
            let mut margin = guard.margin;
            // The chance of a false alarm is that of the whole rollout, however many members it has.
            margin.alpha = (margin.alpha / u32::try_from(rollout.members.len()).unwrap_or(u32::MAX)).max(1);
            let watch = kept.unwrap_or_else(|| Watch::new(margin, guard.client_errors));
            MemberWatch { stable: SideWatch::default(), candidate: SideWatch::default(), watch, judged: None }
        });
        let members = members.collect();
        Self { since: Moment::MAX, members, sight: Sight::default(), told: Vec::new() }
    }

    /// What the gates say now. `servers`: what servers say, by the place of their gate.
    pub(super) fn look(
        &mut self,
        rollout: &Rollout,
        now: Moment,
        snapshot: &Snapshot,
        servers: &[(usize, Answer)],
    ) -> Observation {
        let Some((step, since)) = rollout.bake() else { return Observation::default() };
        let is_new = std::mem::replace(&mut self.since, since) != since;
        let step_age = now.saturating_sub(since);
        if is_new {
            self.told.clear();
        }
        let client_errors = rollout.plan.guard.client_errors;
        let gates: Vec<&Gate> = rollout.gates(step).collect();
        let mut answers: Vec<Answer> = gates.iter().map(|_| Answer::Pass).collect();
        let (mut worse, mut requests, mut sights) = (None, u64::MAX, Vec::new());
        for (member, watched) in rollout.members.iter().zip(&mut self.members) {
            watched.observe(member, rollout, snapshot, is_new.then_some(step_age));
            let verdict = watched.watch.verdict();
            watched.judged = judged(&verdict);
            let (stable, candidate) = (&watched.stable.step, &watched.candidate.step);
            requests = requests.min(candidate.ended());
            if matches!(verdict, Verdict::Worse(_)) && worse.is_none() {
                worse = Some(named(rollout, member, verdict.to_string()));
            }
            let seen = Seen { stable, candidate, verdict: &verdict, client_errors };
            for (answer, gate) in answers.iter_mut().zip(&gates).filter(|(_, gate)| measures(gate)) {
                let of_member = named_answer(rollout, member, gate.answer(&seen));
                *answer = both(std::mem::replace(answer, Answer::Pass), of_member);
            }
            sights.push(MemberSight {
                word: word(&verdict),
                verdict: verdict.to_string(),
                evidence: watched.watch.evidence(),
                stable: SideSight::of(stable, client_errors),
                candidate: SideSight::of(candidate, client_errors),
            });
        }
        for (place, answer) in servers {
            answers[*place] = answer.clone();
        }
        let told = gates.iter().zip(&answers).map(|(gate, answer)| (gate.check.name().to_owned(), in_words(answer)));
        self.sight = Sight { members: sights, gates: told.collect() };
        Observation { step, since, answers, worse, requests, evidence: Value::Null }
    }

    /// True if a request failed since this was last asked.
    pub(super) fn take_failed(&self) -> bool {
        let sides = self.members.iter().flat_map(|member| [&member.stable, &member.candidate]);
        // Every side is asked, so that none says it again at the next look.
        sides.filter_map(|side| side.cells.as_ref()).fold(false, |any, cells| cells.take_failed() | any)
    }

    /// What the verdict on each member has come to.
    pub(super) fn judged(&self) -> Vec<Option<Judged>> {
        self.members.iter().map(|member| member.judged).collect()
    }

    /// Whether the answers differ from what was told last; they are told now.
    pub(super) fn is_news(&mut self, seen: &Observation) -> bool {
        let is_news = self.told != seen.answers;
        self.told.clone_from(&seen.answers);
        is_news
    }

    /// The answers were not told after all.
    pub(super) fn forget_told(&mut self) {
        self.told.clear();
    }

    /// The numbers that a look stands on, to be carried by the rollout.
    pub(super) fn evidence(&self) -> Value {
        let members = self.members.iter().zip(&self.sight.members);
        let members = members.map(|(watched, sight)| json!({ "watch": watched.watch, "seen": sight }));
        json!({ "members": members.collect::<Vec<_>>(), "gates": self.sight.gates })
    }
}

impl MemberWatch {
    /// `new_since`: how long ago the step began, at the first look at it.
    fn observe(&mut self, member: &Member, rollout: &Rollout, snapshot: &Snapshot, new_since: Option<Duration>) {
        let cells = |version| snapshot.outcomes(&member.function, &member.alias, version);
        let config = snapshot.table.config();
        let alias = config.functions.get(&member.function).and_then(|function| function.own(&member.alias));
        // Keys come back: their draws say nothing about the split of requests.
        let keyless = alias.is_some_and(|alias| alias.key.is_empty());
        let mut stable = self.stable.take(member.stable.and_then(cells), new_since);
        let mut candidate = self.candidate.take(cells(VersionId::Number(member.candidate)), new_since);
        if !keyless || new_since.is_some() {
            // Around a change of weights a batch has draws of both.
            (stable.drawn, candidate.drawn) = (0, 0);
        }
        self.watch.observe(&Batch { stable: &stable, candidate: &candidate, weight: rollout.weight });
    }
}

impl Drop for SideWatch {
    fn drop(&mut self) {
        self.unwatch();
    }
}

impl SideWatch {
    fn unwatch(&mut self) {
        if let Some(cells) = self.cells.take() {
            cells.watch(false);
        }
    }

    /// What was added since the last look.
    fn take(&mut self, cells: Option<Arc<Outcomes>>, new_since: Option<Duration>) -> Side {
        let Some(cells) = cells else { return Side::default() };
        let is_other = self.cells.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &cells));
        let now = cells.side();
        cells.next_batch();
        if is_other {
            // Cells that began with the step counted for nothing else.
            let is_new = new_since.is_none_or(|age| cells.started().elapsed() <= age);
            self.last = if is_new { Default::default() } else { now.clone() };
            cells.watch(true);
            self.unwatch();
            self.cells = Some(cells);
        }
        let side = now.since(&self.last);
        self.last = now;
        if new_since.is_some() {
            self.step = Counts::default();
        }
        // At the first look at a step, what known cells counted is of the step before.
        if is_other || new_since.is_none() {
            self.step.add(&side.counts);
        }
        side
    }
}

impl SideSight {
    fn of(counts: &Counts, client_errors: bool) -> Self {
        Self {
            requests: counts.judged(),
            failures: counts.failures(client_errors),
            p95_ms: counts.quantile(950).map(|time| time.as_micros() as f64 / 1e3),
        }
    }
}

fn measures(gate: &Gate) -> bool {
    matches!(gate.check, Check::NoWorse | Check::ErrorRate { .. } | Check::Latency { .. })
}

/// The worse of two.
fn both(one: Answer, other: Answer) -> Answer {
    match (one, other) {
        (Answer::Fail(why), _) | (_, Answer::Fail(why)) => Answer::Fail(why),
        (Answer::None(why), _) | (_, Answer::None(why)) => Answer::None(why),
        (Answer::Pass, Answer::Pass) => Answer::Pass,
    }
}

/// With the name of its alias, where there are several.
fn named(rollout: &Rollout, member: &Member, text: String) -> String {
    if rollout.is_train() { format!("{}:{}: {text}", member.function, member.alias) } else { text }
}

fn named_answer(rollout: &Rollout, member: &Member, answer: Answer) -> Answer {
    match answer {
        Answer::Pass => Answer::Pass,
        Answer::Fail(why) => Answer::Fail(named(rollout, member, why)),
        Answer::None(why) => Answer::None(named(rollout, member, why)),
    }
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Pass => "pass".to_owned(),
        Answer::Fail(why) | Answer::None(why) => why.clone(),
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::NoWorse => "no worse",
        Verdict::Worse(_) => "worse",
        Verdict::NotYet(_) => "not yet",
        Verdict::NoData => "no data",
        Verdict::Void(_) => "void",
    }
}

fn judged(verdict: &Verdict) -> Option<Judged> {
    match verdict {
        Verdict::NoWorse => Some(Judged::NoWorse),
        Verdict::Worse(_) => Some(Judged::Worse),
        Verdict::Void(_) => Some(Judged::Void),
        Verdict::NotYet(_) | Verdict::NoData => None,
    }
}
