//! JSON Merge Patch (RFC 7396), one level deep: a field is replaced as a whole.

use serde_json::{Map, Value};

/// The text of `now` with what `patch` says: null removes a field.
pub(super) fn patched(mut now: Value, patch: &Map<String, Value>) -> String {
    if let Value::Object(fields) = &mut now {
        for (name, value) in patch {
            match value {
                Value::Null => fields.remove(name),
                value => fields.insert(name.clone(), value.clone()),
            };
        }
    }
    now.to_string()
}
