//! What a release asks for: read from a request, with its plan found or read.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use config::model::{Config, Plan};
use config::name::{AliasName, FunctionName, PlanName, VersionId};
use config::parse::{self, Env};
use config::problem::{Problem, nearest};
use config::rollout::{Ask, Asked, Speaker};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::admin::call::Call;
use crate::admin::error::Failure;

/// The plan that gives everything at once.
const FULL: &str = "full";

/// The body: one alias, or `members`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    function: Option<Text<FunctionName>>,
    alias: Option<Text<AliasName>>,
    version: Option<Text<VersionId>>,
    base_version: Option<Text<VersionId>>,
    members: Option<Vec<Mapping<MemberForm>>>,
    plan: Option<Value>,
    #[serde(default)]
    supersede: bool,
    #[serde(default)]
    adopt: bool,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberForm {
    function: Text<FunctionName>,
    alias: Text<AliasName>,
    version: Text<VersionId>,
    base_version: Option<Text<VersionId>>,
}

/// A mapping of names to values, and no list: that would be read field by field, in an order that nobody was told.
#[derive(Debug)]
struct Mapping<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Mapping<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::deserialize(deserializer)?;
        serde_json::from_value(Value::Object(fields)).map(Self).map_err(de::Error::custom)
    }
}

/// A value that is read from its text; a number stands for its digits.
#[derive(Debug)]
struct Text<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map(Self).map_err(|error| de::Error::custom(format!("`{text}`: {error}")))
    }
}

/// What the call asks for.
///
/// # Errors
/// 400 for a body of another form, 422 for a plan that is not there or wrong.
pub(super) fn read(call: &mut Call) -> Result<Ask, Failure> {
    let Form { function, alias, version, base_version, members, plan, supersede, adopt, reason } = call.form()?;
    call.because(reason)?;
    let members = match (members, function, alias, version, base_version) {
        (None, Some(function), Some(alias), Some(version), base_version) => {
            vec![MemberForm { function, alias, version, base_version }]
        }
        (Some(members), None, None, None, None) => members.into_iter().map(|member| member.0).collect(),
        _ => {
            let message = "the body: name one alias by `function`, `alias` and `version`, or several by \
                           `members: [{function, alias, version}]`";
            return Err(Failure::invalid(message));
        }
    };
    let members = members.into_iter().map(MemberForm::asked).collect::<Result<Vec<_>, _>>()?;
    let config = call.live().config;
    let plans = Plans { config: &config, environment: &*call.server.environment };
    let (plan, plan_name) = match plan {
        Some(plan) => plans.said(&plan)?,
        None => plans.of_aliases(&members)?,
    };
    plans.notifiers_of(&plan)?;
    let speaker = Speaker { who: call.author.who.clone(), why: call.author.why.clone() };
    Ok(Ask { members, plan, plan_name, speaker, supersede, adopt })
}

impl MemberForm {
    fn asked(self) -> Result<Asked, Failure> {
        let VersionId::Number(candidate) = self.version.0 else {
            let message = "the body: `$LATEST` is the draft, which may change: publish it, and release its number";
            return Err(Failure::invalid(message));
        };
        let base = self.base_version.map(|base| base.0);
        Ok(Asked { function: self.function.0, alias: self.alias.0, candidate, base })
    }
}

/// Where plans come from.
struct Plans<'c> {
    config: &'c Config,
    environment: Env<'c>,
}

type Named = (Arc<Plan>, Option<String>);

impl Plans<'_> {
    /// A plan by name, or written out: as JSON, or as the text that a file would hold.
    fn said(&self, plan: &Value) -> Result<Named, Failure> {
        let text = match plan {
            Value::String(text) => text.clone(),
            inline => inline.to_string(),
        };
        match (self.named(&text), text.parse::<PlanName>()) {
            (Some(named), _) => Ok(named),
            (None, Ok(name)) => Err(self.unknown(&name)),
            (None, Err(_)) => {
                parse::parse_plan(&text, self.environment).map(|plan| (Arc::new(plan), None)).map_err(Failure::problems)
            }
        }
    }

    /// A plan of this gateway, or one that everybody has.
    fn named(&self, name: &str) -> Option<Named> {
        let own = name.parse().ok().and_then(|name: PlanName| self.config.plans.get(&name));
        let plan = match own {
            Some(own) => Arc::clone(own),
            None if name == FULL => Arc::new(parse::parse_plan(FULL, self.environment).ok()?),
            None => Arc::new(Plan::predefined(name)?),
        };
        Some((plan, Some(name.to_owned())))
    }

    fn unknown(&self, name: &PlanName) -> Failure {
        let known: Vec<&str> = self.config.plans.keys().map(PlanName::as_str).collect();
        let help = match nearest(name.as_str(), known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the plans of this gateway are: {}; a name of CodeDeploy, `full`, or a plan written out such as \
                 `linearStep: {{weight: 10, interval: 1m}}` would do too",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ),
        };
        wrong(Problem::error("plan", format!("the plan `{name}` does not exist")).help(help))
    }

    /// The plan that the aliases name; everything at once for an alias that is not there yet.
    fn of_aliases(&self, members: &[Asked]) -> Result<Named, Failure> {
        let mut plans = members.iter().map(|asked| {
            let function = self.config.functions.get(&asked.function)?;
            match function.aliases.get(&asked.alias) {
                Some(alias) => alias.plan.clone(),
                None => FULL.parse().ok(),
            }
        });
        let first = plans.next().flatten();
        match first.filter(|first| plans.all(|plan| plan.as_ref() == Some(first))) {
            Some(plan) => self.named(plan.as_str()).ok_or_else(|| self.unknown(&plan)),
            None => {
                let message = match members {
                    [one] => format!("`{}:{}` names no plan, and neither does the request", one.function, one.alias),
                    _ => "these aliases do not name one plan, and neither does the request".to_owned(),
                };
                Err(wrong(Problem::error("plan", message).help(
                    "send `plan`: a name, or a plan written out such as `canaryStep: {weight: 10, interval: 10m}`; or \
                     set `plan` of the alias",
                )))
            }
        }
    }

    /// Who is to be told must be there: a plan of the file was checked, one that was sent was not.
    fn notifiers_of(&self, plan: &Plan) -> Result<(), Failure> {
        let known = &self.config.notifiers;
        let missing = plan.notify.iter().enumerate().find(|(_, name)| !known.contains_key(*name));
        let Some((place, missing)) = missing else { return Ok(()) };
        let problem =
            Problem::error(format!("plan.notify[{place}]"), format!("the notifier `{missing}` does not exist"));
        let near = nearest(missing.as_str(), known.keys().map(|name| name.as_str()));
        Err(wrong(match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help("`weir notifiers set` makes one"),
        }))
    }
}

fn wrong(problem: Problem) -> Failure {
    Failure::problems(vec![problem])
}
