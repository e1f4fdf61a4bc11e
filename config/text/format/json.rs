//! Single things as JSON, in the shape of their canonical text.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use crate::model::{Alias, Config, Domain, Function, Layer, Notifier, Plan, Shield, Stage, Version};
use crate::text::format::version::{self, ShowDigest};
use crate::text::format::{plan, tree, ways};
use crate::value::weight::Split;

/// `{"split": {"1": 90, "2": 10}, …}`, weights in percent.
#[must_use]
pub fn alias(alias: &Alias) -> Value {
    tree::alias(alias).to_json()
}

/// `{"1": 90, "2": 10}` in percent.
#[must_use]
pub fn split(split: &Split) -> Value {
    tree::split(split).to_json()
}

/// `{"rollout": "r12", "stable": "1", "candidate": "2", "weight": 20, …}`, the weight in percent.
#[must_use]
pub fn layer(layer: &Layer) -> Value {
    let split = split(&layer.split());
    json!({
        "rollout": layer.rollout.to_string(),
        "stable": layer.stable.to_string(),
        "candidate": layer.candidate.to_string(),
        "weight": split[layer.candidate.to_string()],
        "shield": layer.shield.map(Shield::as_str),
        "salt": layer.salt,
    })
}

/// A version with its `number` and its `digest`.
#[must_use]
pub fn version(number: NonZeroU32, version: &Version) -> Value {
    let mut json = version::version(version, ShowDigest::Yes).to_json();
    json["number"] = number.get().into();
    json
}

/// A draft, in the form in which it is written.
#[must_use]
pub fn draft(draft: &Version) -> Value {
    version::version(draft, ShowDigest::No).to_json()
}

/// A function with its draft, versions and aliases; versions with their `digest`.
#[must_use]
pub fn function(function: &Function) -> Value {
    tree::function(function, ShowDigest::Yes).to_json()
}

/// One stage.
#[must_use]
pub fn stage(stage: &Stage) -> Value {
    ways::stage(stage).to_json()
}

/// One domain.
#[must_use]
pub fn domain(domain: &Domain) -> Value {
    ways::domain(domain).to_json()
}

/// One plan; a text where it has a predefined name.
#[must_use]
pub fn plan(plan: &Plan) -> Value {
    plan::plan(plan).to_json()
}

/// One notifier; variables by name.
#[must_use]
pub fn notifier(notifier: &Notifier) -> Value {
    tree::notifier(notifier).to_json()
}

/// Triggers, base domain, overrides, trusted proxies and default certificate.
#[must_use]
pub fn settings(config: &Config) -> Value {
    tree::config(&super::settings(config)).to_json()
}

/// The whole configuration, as a file.
#[must_use]
pub fn config(config: &Config) -> Value {
    tree::config(config).to_json()
}
