//! Plans and notifiers.

use serde_json::{Map, Value, json};

use crate::parse::predefined_names;
use crate::schema::{choice, described, object};

pub(super) fn definitions(definitions: &mut Map<String, Value>) {
    definitions.insert("plan".to_owned(), plan());
    definitions.insert("notifier".to_owned(), notifier());
    definitions.insert(
        "secret".to_owned(),
        json!({ "type": "string", "minLength": 1, "description": "Keep it in the environment: \"${NAME}\"." }),
    );
}

fn plan() -> Value {
    let weight = json!({ "$ref": "#/$defs/percent" });
    let interval = json!({ "$ref": "#/$defs/interval" });
    let timed = object(&["weight"], json!({ "weight": weight, "interval": interval }));
    let bake =
        json!({ "anyOf": [interval, { "const": "hold" }], "description": "A time, or `hold` until someone decides." });
    let step = object(
        &["weight"],
        json!({
            "weight": weight, "bake": bake,
            "requests": { "type": "integer", "minimum": 1, "maximum": 1_000_000_000, "description": "Until the candidate has answered so many requests." },
        }),
    );
    let mut constructors = object(
        &[],
        json!({
            "canaryStep": described("One step, then everything; interval 10m unless given.", timed.clone()),
            "linearStep": described("Equal steps; interval 1m unless given.", timed.clone()),
            "canaryPlans": { "type": "array", "minItems": 1, "maxItems": 1000, "items": timed, "description": "Steps with rising weights, then everything." },
            "canaryWeight": described("One weight that stays until someone promotes, shifts or aborts.", weight),
            "full": { "const": true, "description": "Everything at once." },
            "steps": { "type": "array", "minItems": 1, "maxItems": 1000, "items": step, "description": "Own steps with rising weights." },
        }),
    );
    constructors["minProperties"] = 1.into();
    constructors["maxProperties"] = 1.into();
    let names: Vec<&str> = predefined_names().chain(["full"]).collect();
    let prefixed = json!({ "type": "string", "pattern": format!("^(CodeDeployDefault\\.)?(Lambda)?({})$", predefined_names().collect::<Vec<_>>().join("|")) });
    json!({
        "description": "A recipe of a release: exactly one constructor, or a predefined name of CodeDeploy.",
        "anyOf": [choice(&names, "A predefined name."), prefixed, constructors]
    })
}

fn notifier() -> Value {
    let secret = json!({ "$ref": "#/$defs/secret" });
    let url = json!({ "type": "string", "pattern": "^(https?://.+|.*\\$\\{.*\\}.*)$" });
    let mut kinds = object(
        &[],
        json!({
            "dingtalk": described("DingTalk group robot.", object(&["access_token"], json!({
                "access_token": secret, "secret": secret,
                "at_users": { "type": "array", "items": { "$ref": "#/$defs/line" } },
            }))),
            "feishu": described("Feishu group robot.", object(&["url"], json!({ "url": url, "secret": secret }))),
            "wecom": described("WeCom group robot.", object(&["key"], json!({ "key": secret }))),
            "slack": described("Slack-compatible incoming webhook.", object(&["url"], json!({ "url": url }))),
            "webhook": described("JSON by POST.", object(&["url"], json!({ "url": url, "secret": secret }))),
            "log": described("A log line.", object(&[], json!({}))),
        }),
    );
    kinds["minProperties"] = 1.into();
    kinds["maxProperties"] = 1.into();
    json!({ "description": "Where the news of a release goes.", "anyOf": [{ "const": "log" }, kinds] })
}
