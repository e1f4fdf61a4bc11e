//! The schema against a real validator: good fixtures pass, and of the bad ones only those do that need more than shapes.

#![expect(clippy::disallowed_methods, reason = "these tests read fixtures")]

use std::fs;
use std::path::Path;

use serde_json::{Map, Number, Value, json};

use crate::text::format::json;
use crate::text::parse::parse;
use crate::text::schema::{definitions, schema};
use crate::text::yaml::{self, Node};

/// Bad files whose shapes are right: only their meaning is wrong, or their text is no YAML at all.
const MEANING: [&str; 29] = [
    "admin-in-the-open",
    "anchor-bomb",
    "bad-indent",
    "buckets",
    "complex-key",
    "destinations-in-stages",
    "duplicate-keys",
    "environment",
    "gate-prometheus-meaning",
    "gates-never-asked",
    "guard-decimals",
    "guard-without-stable",
    "hooks-environment",
    "nested-too-deep",
    "notify-not-there",
    "plans-that-fall",
    "same-host-twice",
    "split-all-zero",
    "split-rounds-to-zero",
    "stage-variables",
    "star-without-quotes",
    "tabs",
    "tags",
    "target-larger-than-head",
    "two-documents",
    "unclosed-bracket",
    "variable-without-quotes",
    "versions-that-are-not-there",
    "yaml-versions-differ",
];

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::options().build(&schema()).expect("the schema is a schema")
}

/// The tree as an editor's YAML reader resolves it.
fn resolved(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Scalar { text, plain: true } if text == "true" || text == "false" => Value::Bool(text == "true"),
        yaml::Value::Scalar { text, plain: true } => {
            let integer = text.parse::<i64>().ok().map(Number::from);
            let number = integer.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
            number.filter(|_| !text.starts_with(char::is_alphabetic)).map_or_else(|| text.clone().into(), Value::Number)
        }
        yaml::Value::Scalar { text, .. } => text.clone().into(),
        yaml::Value::Sequence(items) => items.iter().map(resolved).collect(),
        yaml::Value::Mapping(entries) => {
            let entry = |(key, node): &(yaml::Key, Node)| (key.text.clone(), resolved(node));
            Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
    }
}

fn fixtures(kind: &str) -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(kind);
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn good_files_and_their_canonical_form_are_valid() {
    let validator = validator();
    let env = |_: &str| Some("https://0123456789abcdef:1".to_owned());
    for (name, text) in fixtures("good") {
        let value = resolved(&yaml::read(&text, &mut Vec::new()).unwrap());
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path)).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let (config, _) = parse(&text, &env).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json::config(&config)).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}, canonical: {errors:#?}");
    }
}

#[test]
fn bad_shapes_are_found() {
    let validator = validator();
    let passing = fixtures("bad").into_iter().filter(|(_, text)| {
        let mut problems = Vec::new();
        yaml::read(text, &mut problems).is_none_or(|node| !problems.is_empty() || validator.is_valid(&resolved(&node)))
    });
    let passing: Vec<String> = passing.map(|(name, _)| name).collect();
    assert_eq!(passing, MEANING);
}

#[test]
fn every_key_has_a_description_or_a_definition() {
    let schema = schema();
    for (name, property) in schema["properties"].as_object().unwrap() {
        let described = property.get("description").is_some() || property.get("$ref").is_some();
        assert!(described, "{name} has neither");
    }
}

/// The schema of one thing of [`definitions`], as OpenAPI refers to it.
fn validator_of(name: &str) -> jsonschema::Validator {
    let schema = json!({ "$ref": format!("#/$defs/{name}"), "$defs": definitions() });
    jsonschema::draft202012::options().build(&schema).expect("the schema is a schema")
}

#[test]
fn single_things_are_valid_as_they_are_shown() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/good/full.yaml")).unwrap();
    let (config, _) = parse(&text, &|_| Some("https://0123456789abcdef:1".to_owned())).unwrap();
    let valid = |name: &str, value: Value| {
        let errors: Vec<_> = validator_of(name).iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name} {value}: {errors:#?}");
    };
    valid("config", json::config(&config));
    for function in config.functions.values() {
        valid("function", json::function(function));
        function.draft.iter().for_each(|draft| valid("draft", json::draft(draft)));
        function.aliases.values().for_each(|alias| valid("alias", json::alias(alias)));
        for (number, version) in &*function.versions {
            valid("publishedVersion", json::version(*number, version));
            assert!(!validator_of("version").is_valid(&json::version(*number, version)), "a number is not written");
        }
    }
    config.stages.values().for_each(|stage| valid("stage", json::stage(stage)));
    config.domains.values().for_each(|domain| valid("domain", json::domain(domain)));
    config.plans.values().for_each(|plan| valid("plan", json::plan(plan)));
    config.notifiers.values().for_each(|notifier| valid("notifier", json::notifier(notifier)));
}

#[test]
fn a_patch_may_reset_what_has_a_default() {
    let validator = validator_of("aliasPatch");
    assert!(
        validator
            .is_valid(&json!({ "split": { "1": 95, "2": 5 }, "salt": null, "key": [], "stable": "", "plan": "slow" }))
    );
    for bad in [json!({ "split": null }), json!({ "buckets": "" }), json!({ "selection": 1 }), json!([])] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}
