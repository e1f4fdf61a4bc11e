//! Any YAML or JSON text as JSON: for forms that are not part of a file.

use serde_json::{Map, Number, Value as Json};

use crate::text::problem::{Problem, Severity};
use crate::text::yaml::{self, Node, Value};

/// The text as JSON: scalars without quotes are numbers, `true`, `false` and `null` where JSON would read them so.
///
/// # Errors
/// Every problem of the text.
pub fn parse_value(text: &str) -> Result<Json, Vec<Problem>> {
    let mut problems = Vec::new();
    let node = yaml::read(text, &mut problems);
    match node {
        Some(node) if problems.iter().all(|problem| problem.severity == Severity::Warning) => Ok(json(&node)),
        _ => Err(problems),
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar { text, plain } => match &**text {
            "true" if *plain => true.into(),
            "false" if *plain => false.into(),
            text => {
                let number = plain.then(|| serde_json::from_str::<Number>(text).ok()).flatten();
                number.map_or_else(|| text.into(), Json::Number)
            }
        },
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.text.clone(), json(value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_are_read_alike() {
        let want = json!({ "to": 41, "label": "41", "retired": true, "none": null, "list": [1.5, "a"] });
        assert_eq!(parse_value(&want.to_string()), Ok(want.clone()));
        assert_eq!(parse_value("to: 41\nlabel: '41'\nretired: true\nnone:\nlist: [1.5, a]\n"), Ok(want));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert!(!parse_value("{a: 1, a: 2}").unwrap_err().is_empty());
    }
}
