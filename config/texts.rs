//! The configuration as named texts, as a store keeps it: one text per function, stage and domain, one for the rest.
//!
//! Names are `function/shop`, `stage/release`, `domain/shop.example.com` and `rest`. Process settings are no part of it:
//! each node has its own.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::edit::{self, Edit};
use crate::format;
use crate::model::Config;
use crate::parse;
use crate::problem::Problem;

const REST: &str = "rest";

/// The texts that differ from one configuration to the next; `None` where one is gone. Costs what changed.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<(String, Option<String>)> {
    let mut changes = Vec::new();
    of_items("function", &old.functions, &new.functions, &mut changes, format::format_function);
    of_items("stage", &old.stages, &new.stages, &mut changes, format::format_stage);
    of_items("domain", &old.domains, &new.domains, &mut changes, format::format_domain);
    if rest_differs(old, new) {
        changes.push((REST.to_owned(), Some(format::format_rest(&Config { process: Arc::default(), ..new.clone() }))));
    }
    changes
}

fn of_items<K: Ord + Clone + ToString, V: PartialEq>(
    kind: &str,
    old: &OrdMap<K, Arc<V>>,
    new: &OrdMap<K, Arc<V>>,
    changes: &mut Vec<(String, Option<String>)>,
    text: impl Fn(&V) -> String,
) {
    changes.extend(old.diff(new).map(|item| match item {
        DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => {
            (format!("{kind}/{}", key.to_string()), Some(text(value)))
        }
        DiffItem::Remove(key, _) => (format!("{kind}/{}", key.to_string()), None),
    }));
}

fn rest_differs(old: &Config, new: &Config) -> bool {
    old.plans != new.plans
        || old.notifiers != new.notifiers
        || old.triggers != new.triggers
        || old.base_domain != new.base_domain
        || old.overrides != new.overrides
        || old.trusted_proxies != new.trusted_proxies
}

/// The configuration that these texts mean, checked as a whole.
///
/// # Errors
/// Every problem of every text, and of their references to each other.
pub fn from_texts<'t>(
    texts: impl IntoIterator<Item = (&'t str, &'t str)>,
    env: parse::Env<'_>,
) -> Result<Config, Vec<Problem>> {
    let edits = edits(texts.into_iter().map(|(name, text)| (name, Some(text))), env)?;
    edit::apply(&Config::default(), &edits)
}

/// The edits that replace what these texts mean; `None` deletes.
///
/// # Errors
/// Every problem of every text. References are checked when the edits are applied.
pub fn edits<'t>(
    changes: impl IntoIterator<Item = (&'t str, Option<&'t str>)>,
    env: parse::Env<'_>,
) -> Result<Vec<Edit>, Vec<Problem>> {
    let (mut edits, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in changes {
        match edits_of(name, text, env) {
            Ok(of_one) => edits.extend(of_one),
            Err(of_one) => problems.extend(of_one),
        }
    }
    if problems.is_empty() { Ok(edits) } else { Err(problems) }
}

fn edits_of(name: &str, text: Option<&str>, env: parse::Env<'_>) -> Result<Vec<Edit>, Vec<Problem>> {
    let unknown =
        || vec![Problem::error(name, format!("`{name}` is no name of a stored text that this version knows"))];
    let (kind, item) = name.split_once('/').unwrap_or((name, ""));
    Ok(match kind {
        "function" => {
            let name = item.parse().map_err(|_| unknown())?;
            let function = text.map(|text| parse::parse_function(&name, text, env)).transpose()?;
            vec![Edit::PutFunction(name, function.map(|(function, _)| Arc::new(function)))]
        }
        "stage" => {
            let name = item.parse().map_err(|_| unknown())?;
            let stage = text.map(|text| parse::parse_stage(&name, text, env)).transpose()?;
            vec![Edit::Stage(name, stage.map(|(stage, _)| Arc::new(stage)))]
        }
        "domain" => {
            let host = item.parse().map_err(|_| unknown())?;
            let domain = text.map(|text| parse::parse_domain(&host, text, env)).transpose()?;
            vec![Edit::Domain(host, domain.map(|(domain, _)| Arc::new(domain)))]
        }
        REST => vec![Edit::Rest(Arc::new(parse::parse_rest(text.unwrap_or_default(), env)?.0))],
        _ => return Err(unknown()),
    })
}
