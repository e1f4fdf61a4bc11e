//! Notifiers.

use serde_json::{Map, Value, json};

use crate::text::schema::{described, object, one_key};

pub(super) fn definitions(definitions: &mut Map<String, Value>) {
    definitions.insert("notifier".to_owned(), notifier());
    definitions.insert(
        "secret".to_owned(),
        json!({ "type": "string", "minLength": 1, "description": "Keep it in the environment: \"${NAME}\"." }),
    );
}

fn notifier() -> Value {
    let secret = json!({ "$ref": "#/$defs/secret" });
    let url = json!({ "$ref": "#/$defs/url" });
    let kinds = one_key(object(
        &[],
        json!({
            "dingtalk": described("DingTalk group robot.", object(&["access_token"], json!({
                "access_token": secret, "secret": secret,
                "at_users": { "type": "array", "items": { "$ref": "#/$defs/line" } }, "url": url,
            }))),
            "feishu": described("Feishu group robot.", object(&["url"], json!({ "url": url, "secret": secret }))),
            "wecom": described("WeCom group robot.", object(&["key"], json!({ "key": secret, "url": url }))),
            "slack": described("Slack-compatible incoming webhook.", object(&["url"], json!({ "url": url }))),
            "webhook": described("JSON by POST.", object(&["url"], json!({ "url": url, "secret": secret }))),
            "log": described("A log line.", object(&[], json!({}))),
        }),
    ));
    json!({ "description": "Where the news of a release goes.", "anyOf": [{ "const": "log" }, kinds] })
}
