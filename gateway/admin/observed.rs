//! What an alias did within the last minute, as far as releases and simulations stand on it.

use std::time::Duration;

use config::model::Config;
use config::release::preflight::Observed;
use config::value::name::{AliasName, FunctionName, VersionId};

use super::Server;

/// Requests that the split of this alias decided, and what part of stable's failed.
pub(super) fn of_alias(server: &Server, config: &Config, function: &FunctionName, alias: &AliasName) -> Observed {
    let (counts, over) = server.window.read(&server.metrics);
    let model = config.functions.get(function).and_then(|function| function.effective(alias));
    let stable = model.map_or(VersionId::Latest, |model| model.stable_version());
    let of_alias = counts.iter().filter(|((of, under, _), _)| of == function && under.as_ref() == Some(alias));
    let requests = of_alias.map(|(_, counts)| counts.drawn).sum();
    let of_stable = counts.get(&(function.clone(), Some(alias.clone()), stable)).copied().unwrap_or_default();
    let failures = of_stable.errors as f64 / of_stable.ended.max(1) as f64;
    Observed { requests, failures, over: over.max(Duration::from_millis(1)) }
}
