//! Resources as JSON: the full form of the file.

use config::model::Plan;
use config::text::format::json;
use serde_json::Value;

/// A plan; `{"plan": NAME}` where it has a predefined name.
pub(super) fn plan(plan: &Plan) -> Value {
    match json::plan(plan) {
        Value::String(name) => serde_json::json!({ "plan": name }),
        fields => fields,
    }
}
