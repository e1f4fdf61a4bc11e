//! Resources as JSON: the full form of the file.

use std::sync::Arc;

use config::format::json;
use config::model::{Config, Plan};
use serde_json::Value;

/// A plan; `{"plan": NAME}` where it has a predefined name.
pub(super) fn plan(plan: &Plan) -> Value {
    match json::plan(plan) {
        Value::String(name) => serde_json::json!({ "plan": name }),
        fields => fields,
    }
}

/// Triggers, base domain, override and trusted proxies.
pub(super) fn settings(config: &Config) -> Value {
    let settings = Config {
        triggers: Arc::clone(&config.triggers),
        base_domain: config.base_domain.clone(),
        overrides: Arc::clone(&config.overrides),
        trusted_proxies: Arc::clone(&config.trusted_proxies),
        ..Config::default()
    };
    json::config(&settings)
}
