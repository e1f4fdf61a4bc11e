//! What a release asks for: read from a request, with its plan found or read.

use config::model::{Config, Plan};
use config::release::rollout::{Ask, Asked, Speaker};
use config::text::problem::{Problem, nearest};
use config::value::name::{AliasName, FunctionName, VersionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::admin::asked::{self, Text};
use crate::admin::call::Call;
use crate::admin::error::Failure;

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
    #[serde(default = "yes")]
    preflight: bool,
    reason: Option<String>,
}

fn yes() -> bool {
    true
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

/// What the call asks for, and whether it is to be checked against the requests that come.
///
/// # Errors
/// 400 for a body of another form, 422 for a plan that is not there or wrong.
pub(super) fn read(call: &mut Call) -> Result<(Ask, bool), Failure> {
    let Form { function, alias, version, base_version, members, plan, supersede, adopt, preflight, reason } =
        call.form()?;
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
    let aliases = members.iter().map(|asked| (&asked.function, &asked.alias)).collect::<Vec<_>>();
    let (plan, plan_name) = call.with_environment(|env| asked::plan(plan.as_ref(), &aliases, &config, env))?;
    has_notifiers(&config, &plan)?;
    let speaker = Speaker { who: call.author.who.clone(), why: call.author.why.clone() };
    Ok((Ask { members, plan, plan_name, speaker, supersede, adopt }, preflight))
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

/// Who is to be told must be there: a plan of the file was checked, one that was sent was not.
fn has_notifiers(config: &Config, plan: &Plan) -> Result<(), Failure> {
    let known = &config.notifiers;
    let missing = plan.notify.iter().enumerate().find(|(_, name)| !known.contains_key(*name));
    let Some((place, missing)) = missing else { return Ok(()) };
    let problem = Problem::error(format!("plan.notify[{place}]"), format!("the notifier `{missing}` does not exist"));
    let near = nearest(missing.as_str(), known.keys().map(|name| name.as_str()));
    Err(Failure::problems(vec![match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("`weir notifiers set` makes one"),
    }]))
}
