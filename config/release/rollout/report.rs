//! Reports: a rollout as people are told of it, who asks, where it stands and what was counted. Notices and the pages behind links are
//! all made from this.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Approval, Member, Rollout};
use crate::model::{Check, Gate};
use crate::value::weight::Weight;

/// A rollout in words and numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// `rollout r12: step 1 of 3, the candidate has 20 % of the traffic`
    pub standing: String,
    /// `begun by token:ci: it is better`
    pub asked: String,
    /// The time that the counts are of, where it is another than that of the present step.
    pub caption: Option<&'static str>,
    /// Of each alias.
    pub members: Vec<MemberReport>,
    /// Each gate of the step that says something, with its word.
    pub gates: Vec<(String, String)>,
    /// `step 1 was approved by token:ann: looks good`
    pub approvals: Vec<String>,
}

/// One alias of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberReport {
    /// `shop:prod, version 1 to 2`
    pub name: String,
    /// Stable, if there is one, and the candidate.
    pub sides: Vec<SideReport>,
    /// The verdict in a sentence, once there is one.
    pub verdict: Option<String>,
}

/// One version of an alias.
#[derive(Debug, Clone, PartialEq)]
pub struct SideReport {
    /// `stable 1`, `candidate 2`
    pub name: String,
    /// What was counted since the weight of the step went live; `None` before the first look.
    pub counts: Option<SideCounts>,
}

/// What came of the requests of one version.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct SideCounts {
    /// Those that were sent to it.
    pub sent: u64,
    /// Those that count.
    pub requests: u64,
    /// Of them, the bad ones, those below included.
    pub failures: u64,
    /// Those that had no answer in time.
    pub unanswered: u64,
    /// Those whose client left after a long wait.
    pub gone: u64,
    /// Milliseconds.
    pub p95_ms: Option<f64>,
}

/// What was seen of a rollout, as whoever watches it writes it down. What another version of Weir wrote counts as not seen.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seen {
    members: Vec<MemberSeen>,
    gates: Vec<(String, String)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemberSeen {
    verdict: Option<String>,
    stable: Option<SideCounts>,
    candidate: Option<SideCounts>,
}

/// What the rollout carries of what was seen when it last moved: `members` and `gates`.
#[must_use]
pub fn last_seen(rollout: &Rollout) -> Value {
    let members = rollout.evidence["members"].as_array();
    let members: Vec<&Value> = members.into_iter().flatten().map(|member| &member["seen"]).collect();
    let gates = rollout.evidence.get("gates").cloned().unwrap_or_else(|| json!([]));
    json!({ "members": members, "gates": gates })
}

impl Report {
    /// The report of a rollout of which this was seen, in the form of [`last_seen`].
    #[must_use]
    pub fn new(rollout: &Rollout, seen: &Value) -> Self {
        let Seen { members, gates } = Seen::deserialize(seen).unwrap_or_default();
        let mut seen = members.into_iter();
        let step = rollout.step().map(|step| format!("step {} of {}, ", step + 1, rollout.plan.steps.len()));
        Self {
            standing: format!(
                "rollout {}: {}the candidate has {} % of the traffic",
                rollout.id,
                step.unwrap_or_default(),
                rollout.weight
            ),
            asked: format!("begun by {}", said(&rollout.by, rollout.why.as_deref())),
            caption: None,
            members: rollout.members.iter().map(|member| of_member(member, seen.next())).collect(),
            gates: words(rollout, gates),
            approvals: rollout.approvals.iter().map(of_approval).collect(),
        }
    }

    /// How many requests it tells of.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let sides = self.members.iter().flat_map(|member| &member.sides);
        sides.filter_map(|side| side.counts.as_ref()).map(|counts| counts.requests).sum()
    }
}

impl SideCounts {
    /// `of 1000 sent, 12 failed (1.2 %), 40 unanswered, 3 gone`; what did not happen is left out, but failures never are.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { unanswered, gone, .. } = self;
        let mut told = format!("of {} sent, {} failed", self.sent.max(self.requests), self.failed());
        if *unanswered > 0 {
            told += &format!(", {unanswered} unanswered");
        }
        if *gone > 0 {
            told += &format!(", {gone} gone");
        }
        told
    }

    /// Those that failed, by what the version answered or did: `1 (0.5 %)`, or `0`.
    #[must_use]
    pub fn failed(&self) -> String {
        let failures = self.failures.saturating_sub(self.unanswered + self.gone);
        let share = u128::from(failures) * 10_000 + u128::from(self.requests / 2);
        let share = share.checked_div(self.requests.into()).and_then(|share| Weight::new(share.try_into().ok()?));
        match share.filter(|_| failures > 0) {
            Some(share) => format!("{failures} ({share} %)"),
            None => failures.to_string(),
        }
    }

    /// `3.1 ms`, or `-` without requests.
    #[must_use]
    pub fn p95(&self) -> String {
        self.p95_ms.map_or_else(|| "-".to_owned(), |p95| format!("{p95:.1} ms"))
    }
}

/// One fact on a line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.standing, self.asked)?;
        if let Some(caption) = self.caption {
            write!(f, "\n{caption}:")?;
        }
        for MemberReport { name, sides, verdict } in &self.members {
            write!(f, "\n{name}")?;
            for SideReport { name, counts } in sides {
                match counts {
                    Some(counts) => write!(f, "\n{name}: {}, p95 {}", counts.told(), counts.p95())?,
                    None => write!(f, "\n{name}: nothing was counted yet")?,
                }
            }
            if let Some(verdict) = verdict {
                write!(f, "\nverdict: {verdict}")?;
            }
        }
        for (gate, says) in &self.gates {
            write!(f, "\ngate {gate}: {says}")?;
        }
        self.approvals.iter().try_for_each(|approval| write!(f, "\n{approval}"))
    }
}

fn of_member(member: &Member, seen: Option<MemberSeen>) -> MemberReport {
    let MemberSeen { verdict, stable: of_stable, candidate: of_candidate } = seen.unwrap_or_default();
    let Member { function, alias, stable, candidate } = member;
    let to = stable.map(|stable| format!("{stable} to ")).unwrap_or_default();
    let stable = stable.map(|stable| SideReport { name: format!("stable {stable}"), counts: of_stable });
    let candidate_side = SideReport { name: format!("candidate {candidate}"), counts: of_candidate };
    MemberReport {
        name: format!("{function}:{alias}, version {to}{candidate}"),
        sides: stable.into_iter().chain([candidate_side]).collect(),
        verdict,
    }
}

/// What each gate of the step says. A window says nothing once its step is live, and an approval what somebody said.
fn words(rollout: &Rollout, seen: Vec<(String, String)>) -> Vec<(String, String)> {
    let Some((step, _)) = rollout.bake() else { return seen.into_iter().filter(|(gate, _)| measures(gate)).collect() };
    let mut seen = seen.into_iter();
    let word = |gate: &Gate| {
        let name = gate.check.name();
        let says = seen.next().filter(|(seen, _)| seen == name).map(|(_, says)| says);
        let says = match (&gate.check, rollout.approval(step)) {
            (Check::Window(_), _) => return None,
            (Check::Approval { .. }, Some(approval)) => format!("approved by {}", approval.by),
            (Check::Approval { .. }, None) => "waits for somebody's word".to_owned(),
            _ => says.unwrap_or_else(|| "was not looked at yet".to_owned()),
        };
        Some((name.to_owned(), says))
    };
    rollout.gates(step).filter_map(word).collect()
}

/// Whether the gate of this name says something about traffic.
fn measures(gate: &str) -> bool {
    !matches!(gate, "approval" | "window")
}

fn of_approval(approval: &Approval) -> String {
    format!("step {} was approved by {}", approval.step + 1, said(&approval.by, approval.why.as_deref()))
}

/// `token:ci: it is better`
fn said(by: &str, why: Option<&str>) -> String {
    match why {
        Some(why) => format!("{by}: {why}"),
        None => by.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::release::rollout::{Phase, RolloutId, Waits};
    use crate::text::parse::parse_plan;

    fn rollout() -> Rollout {
        let plan = "{canaryPlans: [{weight: 20, interval: 1m}, {weight: 60, interval: 1m}], \
                    gates: [{error_rate: {max: 1%}}, {window: ['09:00-17:00']}, {approval: {timeout: 1h}}]}";
        let moment = Duration::from_secs(1);
        let member = Member {
            function: "shop".parse().unwrap(),
            alias: "prod".parse().unwrap(),
            stable: Some("1".parse().unwrap()),
            candidate: 2.try_into().unwrap(),
        };
        Rollout {
            id: RolloutId(12),
            members: vec![member],
            plan: Arc::new(parse_plan(plan, &|_| None).unwrap()),
            plan_name: None,
            by: "token:ci".to_owned(),
            why: Some("it is better".to_owned()),
            began: moment,
            weight: Weight::new(6_000).unwrap(),
            phase: Phase::Deciding { step: 1, since: moment, waits: Waits::Approval, until: moment },
            held: None,
            approvals: vec![Approval { step: 0, by: "link of oncall from 10.0.0.7".to_owned(), why: None, at: moment }],
            runs: 0,
            alerted: false,
            seen: moment,
            evidence: Value::Null,
        }
    }

    fn seen() -> Value {
        json!({
            "members": [{ "verdict": "not yet: so far", "word": "not yet", "evidence": {},
                "stable": { "requests": 800, "failures": 1, "p95_ms": 3.125 },
                "candidate": { "sent": 215, "requests": 200, "failures": 9, "unanswered": 4, "gone": 3, "p95_ms": null } }],
            "gates": [["error_rate", "pass"], ["window", "pass"], ["approval", "pass"]],
        })
    }

    #[test]
    fn a_report_has_who_why_where_and_every_number() {
        let report = Report::new(&rollout(), &seen());
        let expected = "rollout r12: step 2 of 3, the candidate has 60 % of the traffic\n\
            begun by token:ci: it is better\n\
            shop:prod, version 1 to 2\n\
            stable 1: of 800 sent, 1 (0.13 %) failed, p95 3.1 ms\n\
            candidate 2: of 215 sent, 2 (1 %) failed, 4 unanswered, 3 gone, p95 -\n\
            verdict: not yet: so far\n\
            gate error_rate: pass\n\
            gate approval: waits for somebody's word\n\
            step 1 was approved by link of oncall from 10.0.0.7";
        assert_eq!(report.to_string(), expected);
        assert_eq!(report.requests(), 1000);
    }

    #[test]
    fn what_was_not_seen_is_told_as_that() {
        for unseen in [Value::Null, json!([]), json!({ "members": 7 }), json!({ "members": [{}] })] {
            let told = Report::new(&rollout(), &unseen).to_string();
            assert!(told.contains("\nstable 1: nothing was counted yet\n"), "{unseen}: {told}");
            assert!(told.contains("\ngate error_rate: was not looked at yet\n"), "{unseen}: {told}");
        }
        let mut first = rollout();
        first.members[0].stable = None;
        assert!(Report::new(&first, &seen()).to_string().contains("\nshop:prod, version 2\ncandidate 2: of 215 sent"));
    }

    #[test]
    fn what_a_rollout_carries_is_what_was_seen() {
        let mut carrying = rollout();
        assert_eq!(last_seen(&carrying), json!({ "members": [], "gates": [] }));
        let Value::Object(mut evidence) = seen() else { panic!("it is a mapping") };
        evidence["members"][0] = json!({ "watch": {}, "seen": evidence["members"][0] });
        carrying.evidence = Value::Object(evidence);
        assert_eq!(last_seen(&carrying), seen());
    }
}
