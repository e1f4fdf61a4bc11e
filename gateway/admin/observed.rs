//! What an alias did within the last minute, as far as releases and simulations stand on it.

use std::time::Duration;

use config::model::{Alias, Config};
use config::release::preflight::Observed;
use config::value::name::{AliasName, FunctionName, VersionId};

use super::Server;

/// Requests that the split of this alias decided, and what part of stable's failed.
pub(super) fn of_alias(server: &Server, config: &Config, function: &FunctionName, alias: &AliasName) -> Observed {
    let (counts, over) = server.window.read(&server.metrics);
    let model = config.functions.get(function).and_then(|function| function.aliases.get(alias));
    let stable = model.map_or(VersionId::Latest, |model| stable(model));
    let of_alias = counts.iter().filter(|((of, under, _), _)| of == function && under.as_ref() == Some(alias));
    let requests = of_alias.map(|(_, counts)| counts.drawn).sum();
    let of_stable = counts.get(&(function.clone(), Some(alias.clone()), stable)).copied().unwrap_or_default();
    let failures = of_stable.errors as f64 / of_stable.ended.max(1) as f64;
    Observed { requests, failures, over: over.max(Duration::from_millis(1)) }
}

/// The version that promotion or a rollout left as the stable one, else the one with the largest weight.
fn stable(alias: &Alias) -> VersionId {
    let served = |version: &VersionId| alias.split.weight(*version).basis_points() > 0;
    let largest = || alias.split.parts().iter().max_by_key(|(_, weight)| *weight).map(|(version, _)| *version);
    alias.stable.filter(served).or_else(largest).unwrap_or(VersionId::Latest)
}
