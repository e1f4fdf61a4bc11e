//! How a rollout begins: what must be so, and who is stable.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::machine::Run;
use super::{
    Effect, Goal, Member, Milestone, Now, Phase, Point, Rollout, RolloutId, Speaker, Tone, Traffic, Transition,
};
use crate::model::{Bake, Config, Guard, Plan, PlanForm, Step};
use crate::text::problem::{Code, Problem};
use crate::text::yaml::join;
use crate::value::name::{AliasName, FunctionName, VersionId};
use crate::value::weight::{Split, Weight};

/// A release that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The aliases, with the version that each is to get.
    pub members: Vec<Asked>,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its name, where it has one.
    pub plan_name: Option<String>,
    /// Who asks.
    pub speaker: Speaker,
    /// Whether rollouts that run on these aliases end for this one.
    pub supersede: bool,
    /// Whether an alias that is split already goes on from there.
    pub adopt: bool,
}

/// One alias of a release that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its function.
    pub function: FunctionName,
    /// Its name.
    pub alias: AliasName,
    /// The version that is to be stable in the end.
    pub candidate: NonZeroU32,
    /// The version that is stable until then; `None`: the one that has the traffic now.
    pub base: Option<VersionId>,
}

/// The first transition of a rollout, and the rollouts that end for it.
///
/// # Errors
/// Every reason why it cannot begin.
pub fn begin(
    id: RolloutId,
    ask: &Ask,
    config: &Config,
    running: &[Arc<Rollout>],
    now: Now,
) -> Result<(Transition, Vec<RolloutId>), Vec<Problem>> {
    let (mut members, mut problems, mut superseded, mut adopted) = (Vec::new(), Vec::new(), Vec::new(), None);
    let mut first = 0;
    for (place, asked) in ask.members.iter().enumerate() {
        if ask.members[..place].iter().any(|other| (&other.function, &other.alias) == (&asked.function, &asked.alias)) {
            problems.push(Problem::error(path(asked), "this alias is named twice in one release"));
            continue;
        }
        let before =
            running.iter().find(|rollout| rollout.moves(&asked.function, &asked.alias)).map(|rollout| &**rollout);
        match Side::of(ask, asked, config, before) {
            Ok(side) => {
                first += usize::from(side.is_first());
                superseded.extend(before.map(|rollout| rollout.id));
                adopted = adopted.max(side.weight);
                members.push(side.member());
            }
            Err(problem) => problems.push(problem),
        }
    }
    if ask.members.is_empty() {
        problems.push(Problem::error("", "a release names at least one alias"));
    }
    if members.len() > 1 && first > 0 {
        let message = "an alias that has no published version yet cannot step together with others";
        problems.push(Problem::error("", message).help("release it by itself first"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    superseded.sort_unstable();
    superseded.dedup();
    let is_first = first > 0;
    let plan = if is_first { Arc::new(all_at_once(&ask.plan)) } else { Arc::clone(&ask.plan) };
    let weight = adopted.unwrap_or(Weight::ZERO);
    let rollout = Rollout {
        id,
        members,
        plan_name: ask.plan_name.clone(),
        by: ask.speaker.who.clone(),
        why: ask.speaker.why.clone(),
        began: now.time,
        weight,
        phase: Phase::Ready { goal: Goal::Step(0), asked: false, until: now.time },
        held: None,
        approvals: Vec::new(),
        runs: 0,
        alerted: false,
        seen: now.time,
        evidence: serde_json::Value::Null,
        plan,
    };
    let text = if is_first {
        "the first release: there is no published version to share with, so the candidate gets everything at once"
            .to_owned()
    } else {
        let needed = ask.plan.guard.min_requests;
        let asks = match (ask.plan.guard.enforced, needed) {
            (false, _) => "",
            (true, 0) => "; its steps end without a request too, and then nothing is known of the candidate",
            (true, _) => "; no step ends before enough requests of the candidate have their outcome",
        };
        format!("begun by {}{asks}", ask.speaker.who)
    };
    let begun = Effect::Tell(Milestone { tone: Tone::Info, kind: "begun", text });
    let mut run = Run { rollout, effects: vec![begun], now, refused: None };
    if adopted.is_some() {
        // The alias's own split is stable's from now on: whatever ends the rollout before its first step leads there.
        run.traffic(Traffic::Adopted);
    }
    run.begin(weight);
    Ok((Transition { rollout: run.rollout, effects: run.effects }, superseded))
}

impl Run {
    fn begin(&mut self, weight: Weight) {
        let steps = &self.rollout.plan.steps;
        // The weights of a plan rise to the last: an adopted candidate never gets less than it has.
        let step = steps.iter().position(|step| step.weight >= weight).unwrap_or(steps.len() - 1);
        let goal = Goal::Step(step);
        if self.rollout.plan.hooks.before.is_empty() {
            self.go(goal, false);
        } else {
            self.ask(Point::Before, goal, 0, 1, None);
        }
    }
}

/// What is known of an alias before its release.
struct Side<'a> {
    asked: &'a Asked,
    stable: Option<VersionId>,
    /// What the candidate has already, if that is adopted.
    weight: Option<Weight>,
}

impl<'a> Side<'a> {
    fn of(ask: &Ask, asked: &'a Asked, config: &'a Config, running: Option<&Rollout>) -> Result<Self, Problem> {
        let candidate = VersionId::Number(asked.candidate);
        let function_path = join("functions", asked.function.as_str());
        let not_found = |path: String, message: String| Problem::error(path, message).code(Code::NotFound);
        let Some(function) = config.functions.get(&asked.function) else {
            return Err(not_found(function_path, format!("there is no function `{}`", asked.function)));
        };
        for version in [Some(candidate), asked.base].into_iter().flatten() {
            let path = format!("{function_path}.versions.{version}");
            match function.version(version) {
                None => return Err(not_found(path, format!("`{}` has no version {version}", asked.function))),
                Some(there) if there.retired => {
                    let problem = Problem::error(path, format!("version {version} of `{}` is retired", asked.function));
                    return Err(problem.help("bring it back first"));
                }
                Some(_) => {}
            }
        }
        if asked.base == Some(candidate) {
            return Err(Problem::error(path(asked), format!("version {candidate} is both the base and the candidate")));
        }
        if let Some(rollout) = running.filter(|_| !ask.supersede) {
            let message = format!("rollout {} is running on `{}:{}`", rollout.id, asked.function, asked.alias);
            let problem = Problem::error(path(asked), message).code(Code::Exists);
            return Err(problem.help("abort it, or begin with `--supersede`"));
        }
        let alias = function.aliases.get(&asked.alias);
        let default = (asked.alias == AliasName::default_alias() && function.draft.is_some())
            .then(|| Split::whole(VersionId::Latest));
        let split = alias.map(|alias| alias.split.clone()).or(default);
        let (stable, weight) = match &split {
            None => (asked.base, None),
            Some(split) => held_by(ask, asked, split)?,
        };
        if stable == Some(candidate) {
            let message =
                format!("`{}:{}` gives everything to version {candidate} already", asked.function, asked.alias);
            return Err(Problem::error(path(asked), message));
        }
        Ok(Self { asked, stable, weight })
    }

    fn member(self) -> Member {
        Member {
            function: self.asked.function.clone(),
            alias: self.asked.alias.clone(),
            stable: self.stable,
            candidate: self.asked.candidate,
        }
    }

    /// True if there is no published version that the candidate could share with: it gets everything at once, as with the
    /// clouds.
    fn is_first(&self) -> bool {
        self.stable.is_none() || self.stable == Some(VersionId::Latest) && self.asked.base.is_none()
    }
}

/// The stable version by an alias's own split, and the candidate's weight if it is adopted.
fn held_by(ask: &Ask, asked: &Asked, split: &Split) -> Result<(Option<VersionId>, Option<Weight>), Problem> {
    let candidate = VersionId::Number(asked.candidate);
    let served: Vec<VersionId> = split.served().collect();
    if let [only] = served[..] {
        return Ok((asked.base.or(Some(only)), None));
    }
    let other = served.iter().find(|version| **version != candidate).copied();
    let is_pair = served.len() == 2 && served.contains(&candidate) && asked.base.is_none_or(|base| Some(base) == other);
    if ask.adopt && is_pair {
        return Ok((other, Some(split.weight(candidate))));
    }
    let message = format!("`{}:{}` is split already: {{{split}}}", asked.function, asked.alias);
    let help = if is_pair {
        "begin with `--adopt` to go on from there, or shift everything to one version first"
    } else {
        "shift everything to the version that is to be stable first"
    };
    Err(Problem::error(path(asked), message).help(help))
}

/// The plan of a first release: the same hooks and notifiers, and nothing to compare with or to wait for.
fn all_at_once(plan: &Plan) -> Plan {
    let everything = Weight::new(Weight::WHOLE).expect("the whole is a weight");
    Plan {
        form: PlanForm::Full,
        steps: vec![Step { weight: everything, bake: Bake::Time(Duration::ZERO), gates: Vec::new() }],
        gates: Vec::new(),
        guard: Guard::of(&PlanForm::Full),
        ..plan.clone()
    }
}

fn path(asked: &Asked) -> String {
    join(&format!("functions.{}.aliases", asked.function), asked.alias.as_str())
}
