//! What several operations are asked in the same words: values by their texts, and plans.

use std::fmt::Display;
use std::str::FromStr;

use config::model::Config;
use config::text::parse::{self, Env, Named};
use config::text::problem::Problem;
use config::value::name::{AliasName, FunctionName, PlanName};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::error::Failure;

/// A value that is read from its text; a number stands for its digits.
#[derive(Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map(Self).map_err(|error| de::Error::custom(format!("`{text}`: {error}")))
    }
}

/// The plan that is said, by name or written out (as JSON, or as the text that a file would hold); otherwise the one that
/// these aliases name, which is everything at once for an alias that is not there yet.
///
/// # Errors
/// 422 for a plan that is not there or wrong, 409 for one whose stored text cannot be read.
pub(super) fn plan(
    said: Option<&Value>,
    aliases: &[(&FunctionName, &AliasName)],
    config: &Config,
    environment: Env<'_>,
) -> Result<Named, Failure> {
    let text = match said {
        Some(Value::String(text)) => text.clone(),
        Some(inline) => inline.to_string(),
        None => named(aliases, config)?,
    };
    // A predefined plan of the same name is not what was meant.
    if text.parse::<PlanName>().is_ok()
        && let Some(unreadable) = config.unreadable.get(&*format!("plan/{text}"))
    {
        let message = format!("the stored text of the plan `{text}` cannot be read: {}", unreadable.told);
        return Err(Failure::new("Unreadable", message));
    }
    parse::asked_plan(&text, &config.plans, environment).map_err(Failure::problems)
}

/// The one plan that these aliases name.
fn named(aliases: &[(&FunctionName, &AliasName)], config: &Config) -> Result<String, Failure> {
    let mut plans = aliases.iter().map(|(function, alias)| {
        let there = config.functions.get(*function)?.aliases.get(*alias);
        there.map_or_else(|| "full".parse().ok(), |alias| alias.plan.clone())
    });
    let first: Option<PlanName> = plans.next().flatten();
    let same = first.filter(|first| plans.all(|plan| plan.as_ref() == Some(first)));
    same.map(|name| name.to_string()).ok_or_else(|| {
        let message = match aliases {
            [] => "the request names no plan, and no alias that might".to_owned(),
            [(function, alias)] => format!("`{function}:{alias}` names no plan, and neither does the request"),
            _ => "these aliases do not name one plan, and neither does the request".to_owned(),
        };
        let help = "send `plan`: a name, or a plan written out such as `canaryStep: {weight: 10, interval: 10m}`; or set \
                    `plan` of the alias";
        Failure::problems(vec![Problem::error("plan", message).help(help)])
    })
}
