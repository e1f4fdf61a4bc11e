//! What is seen of a rollout's traffic: cells, made into what its gates say.
//!
//! - [`strata`]: the strata of one alias, begun, read and closed

mod strata;

use std::collections::BTreeMap;
use std::iter;

use config::model::{Bake, Check, Gate};
use config::release::outcome::Counts;
use config::release::rollout::{Answer, Exposure, Member, Moment, Observation, Phase, Rollout, RolloutId, Seen};
use config::release::verdict::{Evidence, Tally, Verdict, Watch};
use config::value::name::VersionId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::live::Snapshot;
use crate::metrics::Judged;

/// What was last seen of every rollout that is watched.
pub type Sights = BTreeMap<RolloutId, Sight>;

/// What was last seen of a rollout.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Sight {
    /// Of each member, in their order.
    pub members: Vec<MemberSight>,
    /// What each gate says, in words: its name, then `pass`, or what it found or lacks.
    pub gates: Vec<(String, String)>,
    /// What is not known yet, and must be before the step ends.
    pub lacks: Option<String>,
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
    /// Requests that were sent to it.
    pub sent: u64,
    /// Those that count: they have their outcome.
    pub requests: u64,
    /// Of them, the bad ones: failures, and those below.
    pub failures: u64,
    /// Of the bad ones, those that had no answer when they were as old as answers ever are.
    pub unanswered: u64,
    /// Of the bad ones, those whose client left after a long wait.
    pub gone: u64,
    /// Milliseconds, with three decimals.
    pub p95_ms: Option<f64>,
}

/// A rollout under watch.
pub(super) struct Watched {
    /// When the weight went live that the counts are of.
    since: Moment,
    members: Vec<MemberWatch>,
    pub(super) sight: Sight,
    /// The answers that were last told to the writer while a decision waited.
    told: Option<Vec<Answer>>,
    /// The first stratum of each member that began after the end of the bake.
    after_bake: Option<Vec<u32>>,
}

/// What the verdict on one member has come to, its strata, and the numbers of the step.
struct MemberWatch {
    member: strata::MemberStrata,
    watch: Watch,
    /// What the verdict has come to.
    judged: Option<Judged>,
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
            let fresh = || Watch::new(margin, guard.client_errors).judging_speed(guard.latency);
            MemberWatch { member: strata::MemberStrata::default(), watch: kept.unwrap_or_else(fresh), judged: None }
        });
        let members = members.collect();
        Self { since: Moment::MAX, members, sight: Sight::default(), told: None, after_bake: None }
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
        if is_new {
            self.told = None;
            self.after_bake = None;
        }
        let client_errors = rollout.plan.guard.client_errors;
        let gates: Vec<&Gate> = rollout.gates(step).collect();
        let mut answers: Vec<Answer> = gates.iter().map(|_| Answer::Pass).collect();
        let (mut worse, mut alert, mut requests, mut sights) = (None, None, u64::MAX, Vec::new());
        for (member, watched) in rollout.members.iter().zip(&mut self.members) {
            let look = strata::Look { member, weight: rollout.weight, snapshot, now, since, is_new };
            let [stable, candidate] = &watched.member.look(&look, &mut watched.watch);
            let verdict = watched.watch.verdict();
            watched.judged = judged(&verdict);
            alert = alert.or_else(|| watched.watch.alert().map(|why| named(rollout, member, why)));
            requests = requests.min(candidate.judged());
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
        let exposure = self.exposure(rollout, now, requests, snapshot);
        for (place, answer) in servers {
            answers[*place] = answer.clone();
        }
        let told = gates.iter().zip(&answers).map(|(gate, answer)| (gate.check.name().to_owned(), in_words(answer)));
        let gates = told.collect();
        let seen = Observation { step, since, answers, worse, alert, exposure, requests, evidence: Value::Null };
        self.sight = Sight { members: sights, gates, lacks: rollout.lacks(step, &seen) };
        seen
    }

    /// What is known of the candidates since the rollout began. `requests`: outcomes in this step.
    fn exposure(&mut self, rollout: &Rollout, now: Moment, requests: u64, snapshot: &Snapshot) -> Option<Exposure> {
        let is_over = match rollout.phase {
            Phase::Baking { step, until, .. } => match rollout.plan.steps[step].bake {
                Bake::Time(_) => now >= until,
                Bake::Requests(wanted) => requests >= wanted,
                Bake::Hold => false,
            },
            _ => true,
        };
        if is_over && self.after_bake.is_none() {
            let present = |watched: &MemberWatch| watched.member.present().map_or(0, |number| number.wrapping_add(1));
            self.after_bake = Some(self.members.iter().map(present).collect());
        }
        let before = self.after_bake.iter().flatten().copied().map(Some).chain(iter::repeat(None));
        let each = rollout.members.iter().zip(&self.members).zip(before).map(|((member, watched), before)| {
            let candidate = VersionId::Number(member.candidate);
            let destination = snapshot.alias_destination(&member.function, &member.alias, candidate);
            let state = destination.and_then(|destination| destination.state.as_ref());
            let Tally { requests, failures, .. } = watched.watch.evidence().candidate;
            Exposure {
                // The gateway itself answers for a version without endpoints, and is known.
                judged: if destination.is_some() && state.is_none() { u64::MAX } else { requests },
                good: if destination.is_some() && state.is_none() { u64::MAX } else { requests - failures },
                waiting: before.map_or(0, |before| watched.member.waiting(before)),
                is_healthy: state.is_none_or(|state| state.healthy()),
            }
        });
        each.reduce(Exposure::least)
    }

    /// True if a request failed since this was last asked.
    pub(super) fn take_failed(&self) -> bool {
        // Every side is asked, so that none says it again at the next look.
        let sides = self.members.iter().flat_map(|watched| watched.member.cells());
        sides.fold(false, |any, cells| cells.take_failed() | any)
    }

    /// What the verdict on each member has come to.
    pub(super) fn judged(&self) -> Vec<Option<Judged>> {
        self.members.iter().map(|member| member.judged).collect()
    }

    /// Whether the answers differ from what was told last; they are told now.
    pub(super) fn is_news(&mut self, seen: &Observation) -> bool {
        let is_news = self.told.as_ref() != Some(&seen.answers);
        self.told = Some(seen.answers.clone());
        is_news
    }

    /// The answers were not told after all.
    pub(super) fn forget_told(&mut self) {
        self.told = None;
    }

    /// The numbers that a look stands on, to be carried by the rollout.
    pub(super) fn evidence(&self) -> Value {
        let members = self.members.iter().zip(&self.sight.members);
        let members = members.map(|(watched, sight)| json!({ "watch": watched.watch, "seen": sight }));
        let judged = self.members.iter().map(|watched| watched.watch.evidence().candidate.requests).min();
        json!({ "members": members.collect::<Vec<_>>(), "gates": self.sight.gates, "judged": judged })
    }
}

impl SideSight {
    fn of(counts: &Counts, client_errors: bool) -> Self {
        Self {
            sent: counts.begun,
            requests: counts.judged(),
            failures: counts.failures(client_errors),
            unanswered: counts.unanswered,
            gone: counts.gone,
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
