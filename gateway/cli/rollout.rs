//! Rollouts as commands name, find, list and tell them.

use std::fmt;
use std::str::FromStr;

use config::release::rollout::RolloutId;
use config::text::problem::visible;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::Exit;
use super::ask::{Ask, Form};
use super::failure::Failure;
use super::remote::{Call, Remote};
use super::status::span;
use super::table::{Side, Table, or_dash};
use super::target::{AliasTarget, Scope};

/// Where rollouts are in the API.
pub(super) const PATH: &str = "/v1/rollouts";

/// `shop:prod`, or `r12`.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Alias(AliasTarget),
    Id(RolloutId),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            return text.parse().map(Self::Alias);
        }
        let wrong = |_| "write FUNCTION:ALIAS, such as `shop:prod`, or the id of a rollout, such as `r12`".to_owned();
        text.parse().map(Self::Id).map_err(wrong)
    }
}

/// What `GET /v1/rollouts/{id}` answers, as far as it is shown.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Rollout {
    pub(super) id: String,
    pub(super) members: Vec<Member>,
    pub(super) steps: Vec<Step>,
    pub(super) state: String,
    pub(super) outcome: Option<String>,
    why: Option<String>,
    /// From 1.
    pub(super) step: Option<usize>,
    /// Of the candidate, in percent.
    pub(super) weight: f64,
    #[serde(default)]
    approvals: Vec<Approval>,
    held_by: Option<String>,
    by: String,
    began: String,
    left_seconds: Option<f64>,
    #[serde(default)]
    unstored: bool,
    pub(super) waits_for: Option<String>,
    pub(super) seen: Option<Seen>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Member {
    function: String,
    alias: String,
    pub(super) stable: Option<String>,
    pub(super) candidate: String,
}

/// Somebody's yes to a step, from 1.
#[derive(Debug, Clone, Deserialize)]
struct Approval {
    step: usize,
    by: String,
    reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Step {
    #[serde(default)]
    hold: bool,
}

/// In the order of the members.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Seen {
    pub(super) members: Vec<MemberSeen>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct MemberSeen {
    pub(super) verdict: String,
    word: String,
    pub(super) stable: SideSeen,
    pub(super) candidate: SideSeen,
}

/// Since the step's weight went live.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SideSeen {
    pub(super) requests: u64,
    pub(super) failures: u64,
    #[serde(default)]
    pub(super) sent: u64,
    #[serde(default)]
    pub(super) unanswered: u64,
    #[serde(default)]
    pub(super) gone: u64,
    pub(super) p95_ms: Option<f64>,
}

impl SideSeen {
    /// `of 1000 sent, 12 failed, 40 unanswered, 3 gone`, where something had no answer in time.
    pub(super) fn silent(&self) -> Option<String> {
        let Self { sent, failures, unanswered, gone, .. } = self;
        let failed = failures.saturating_sub(unanswered + gone);
        (unanswered + gone > 0)
            .then(|| format!("of {sent} sent, {failed} failed, {unanswered} unanswered, {gone} gone"))
    }
}

impl Rollout {
    /// `shop:prod 1 -> 2`, of every member.
    fn names(&self) -> String {
        let names: Vec<String> =
            self.members.iter().map(|member| format!("{} {}", member.name(), member.versions())).collect();
        names.join(", ")
    }

    /// `step 2 of 3, 40 %, 23 s left`
    pub(super) fn standing(&self) -> String {
        let mut parts = vec![self.state()];
        if let Some(step) = self.step {
            parts.push(format!("step {step} of {}", self.steps.len()));
        }
        parts.push(format!("{} %", self.weight));
        parts.extend(self.left().map(|left| format!("{left} left")));
        parts.join(", ")
    }

    fn state(&self) -> String {
        match &self.held_by {
            Some(by) => format!("held by {by}"),
            None if self.holds() => "holds".to_owned(),
            None if self.unstored => format!("{}, waits for the store", self.state),
            None => self.state.clone(),
        }
    }

    /// Until the deadline of where it stands. A plan that holds has none but a reminder.
    fn left(&self) -> Option<String> {
        let left = self.left_seconds.filter(|_| !self.holds())?;
        Some(if left < 10.0 { format!("{left} s") } else { span(left as u64) })
    }

    /// Whether the plan stays where it is until somebody decides.
    pub(super) fn holds(&self) -> bool {
        let step = self.step.and_then(|step| self.steps.get(step - 1));
        self.state == "baking" && self.held_by.is_none() && step.is_some_and(|step| step.hold)
    }

    /// What a script learns of the end.
    pub(super) fn exit(&self) -> Exit {
        match self.outcome.as_deref() {
            None | Some("promoted") => Exit::Ok,
            Some("rolled back") => Exit::Refused,
            Some(_) => Exit::Failed,
        }
    }
}

impl Member {
    /// `shop:prod`
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.function, self.alias)
    }

    fn versions(&self) -> String {
        match &self.stable {
            Some(stable) => format!("{stable} -> {}", self.candidate),
            None => self.candidate.clone(),
        }
    }
}

/// `r12 shop:prod 1 -> 2: baking, step 2 of 3, 40 %, 23 s left`, or how it ended and why.
impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        let told = match &self.outcome {
            None => self.standing(),
            Some(outcome) => format!("{outcome}: {}", self.why.as_deref().unwrap_or("nobody says why")),
        };
        f.write_str(&visible(&format!("{} {names}: {told}", self.id)))?;
        if self.outcome.is_some() && self.members.iter().all(|member| member.stable.is_none()) {
            f.write_str("; the first release has no published version to share with, so it got everything at once")?;
        }
        Ok(())
    }
}

/// The newest rollout of an alias.
///
/// # Errors
/// See [`Remote::call`].
pub(super) fn newest(remote: &Remote, alias: &AliasTarget, running: bool) -> Result<Option<Rollout>, Failure> {
    let call = Call::new(Method::GET, PATH)
        .query("function", Some(&alias.function))
        .query("alias", Some(&alias.alias))
        .query("state", running.then_some("running"))
        .query("limit", Some(1));
    first(&remote.call(call)?.json)
}

fn first(page: &Value) -> Result<Option<Rollout>, Failure> {
    page["items"].get(0).map(read).transpose()
}

/// A rollout of an answer.
///
/// # Errors
/// Another shape, as another release of weir may answer.
pub(super) fn read(json: &Value) -> Result<Rollout, Failure> {
    Rollout::deserialize(json).map_err(|error| Failure::other_form(&error))
}

/// The path of a rollout in the API.
pub(super) fn path(id: &str) -> String {
    format!("{PATH}/{id}")
}

/// `weir rollouts`
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only those of this function or alias
    #[arg(value_name = "FUNCTION[:ALIAS]")]
    scope: Option<Scope>,
    /// Only those that run
    #[arg(long)]
    running: bool,
    /// So many, the newest first
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    form: Form,
}

impl Ask for List {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let call = Call::new(Method::GET, PATH)
            .query("function", self.scope.as_ref().map(|scope| &scope.function))
            .query("alias", self.scope.as_ref().and_then(|scope| scope.alias.as_ref()))
            .query("state", self.running.then_some("running"))
            .query("limit", Some(self.limit));
        let answer = remote.call(call)?;
        let items = &answer.json["items"];
        if self.form.json {
            return Ok(self.form.show(items, String::new));
        }
        let rollouts = items.as_array().into_iter().flatten().map(read).collect::<Result<Vec<_>, _>>()?;
        let none = if self.running { "no rollout is running\n" } else { "no rollouts\n" };
        Ok(self.form.show(items, || if rollouts.is_empty() { none.to_owned() } else { table(&rollouts) }))
    }
}

fn table(rollouts: &[Rollout]) -> String {
    let mut table = Table::new(&[
        ("ROLLOUT", Side::Left),
        ("BEGAN", Side::Left),
        ("BY", Side::Left),
        ("ALIAS", Side::Left),
        ("WEIGHT", Side::Right),
        ("STEP", Side::Left),
        ("LEFT", Side::Right),
        ("STATE", Side::Left),
    ]);
    for rollout in rollouts {
        table.row([
            rollout.id.clone(),
            rollout.began.clone(),
            rollout.by.clone(),
            rollout.names(),
            format!("{} %", rollout.weight),
            or_dash(rollout.step.map(|step| format!("{step} of {}", rollout.steps.len()))),
            or_dash(rollout.left()),
            rollout.state(),
        ]);
    }
    table.to_string()
}

/// A table of rollouts that run, for the status, and who approved what.
pub(super) fn running<'r>(rollouts: impl Iterator<Item = &'r Rollout>) -> Option<String> {
    let mut table = Table::new(&[
        ("ROLLOUT", Side::Left),
        ("ALIAS", Side::Left),
        ("WEIGHT", Side::Right),
        ("STEP", Side::Left),
        ("LEFT", Side::Right),
        ("STATE", Side::Left),
        ("VERDICT", Side::Left),
    ]);
    let (mut known, mut approved) = (Vec::new(), String::new());
    for rollout in rollouts {
        if known.contains(&&rollout.id) {
            continue;
        }
        known.push(&rollout.id);
        rollout.approvals.iter().for_each(|approval| approved += &format!("{}\n", told(&rollout.id, approval)));
        let words = rollout.seen.iter().flat_map(|seen| &seen.members).map(|member| member.word.as_str());
        let words: Vec<&str> = words.collect();
        table.row([
            rollout.id.clone(),
            rollout.names(),
            format!("{} %", rollout.weight),
            or_dash(rollout.step.map(|step| format!("{step} of {}", rollout.steps.len()))),
            or_dash(rollout.left()),
            rollout.state(),
            or_dash((!words.is_empty()).then(|| words.join(", "))),
        ]);
    }
    (!known.is_empty()).then(|| format!("{table}{approved}"))
}

/// `r12: step 1 was approved by token:ann (looks good)`
fn told(id: &str, Approval { step, by, reason }: &Approval) -> String {
    let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    visible(&format!("{id}: step {step} was approved by {by}{reason}"))
}
