//! Before a rollout begins: whether its plan can reach an answer at the rate of every alias.

use config::model::Config;
use config::release::preflight::{outlook, preflight};
use config::release::rollout::{Ask, Asked};
use config::text::problem::{Problem, Severity};
use config::value::name::{AliasName, VersionId};
use config::value::weight::Weight;

use crate::admin::error::Failure;
use crate::admin::{Server, observed};

/// What may stand in the way of answers.
///
/// # Errors
/// 409 when the plan cannot reach one.
pub(super) fn warnings(server: &Server, config: &Config, ask: &Ask) -> Result<Vec<Problem>, Failure> {
    let mut problems = Vec::new();
    let from = if ask.adopt { adopted(config, ask) } else { Weight::ZERO };
    for asked in ask.members.iter().filter(|asked| has_stable(config, asked)) {
        let seen = observed::of_alias(server, config, &asked.function, &asked.alias);
        problems.extend(preflight(&ask.plan, from, &seen).into_iter().map(|problem| {
            let message = format!("`{}:{}`: {}", asked.function, asked.alias, problem.message);
            Problem { message, ..problem }
        }));
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        let message = "the plan cannot reach an answer with the requests that come; nothing was changed";
        return Err(Failure::new("PlanUnanswerable", message).with(problems));
    }
    Ok(problems)
}

/// What the guard can see of each candidate with the requests that come.
pub(super) fn outlooks(server: &Server, config: &Config, ask: &Ask) -> Vec<String> {
    let from = if ask.adopt { adopted(config, ask) } else { Weight::ZERO };
    let each = ask.members.iter().filter(|asked| has_stable(config, asked)).filter_map(|asked| {
        let seen = observed::of_alias(server, config, &asked.function, &asked.alias);
        Some(format!("`{}:{}`: {}", asked.function, asked.alias, outlook(&ask.plan, from, &seen)?))
    });
    each.collect()
}

/// What the candidate has already, of the member with the most.
fn adopted(config: &Config, ask: &Ask) -> Weight {
    let weights = ask.members.iter().filter_map(|asked| {
        let alias = config.functions.get(&asked.function)?.aliases.get(&asked.alias)?;
        Some(alias.split.weight(VersionId::Number(asked.candidate)))
    });
    weights.max().unwrap_or(Weight::ZERO)
}

/// A first release has nobody to compare with, and waits for nothing; what is not there is refused by others.
fn has_stable(config: &Config, asked: &Asked) -> bool {
    config.functions.get(&asked.function).is_some_and(|function| {
        let draft = asked.alias == AliasName::default_alias() && function.draft.is_some();
        draft || asked.base.is_some() || function.aliases.contains_key(&asked.alias)
    })
}
