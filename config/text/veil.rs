//! Literal secrets of a configuration that was made JSON, hidden from readers who may not change it.
//!
//! Hidden are tokens, secrets and keys of notifiers, the paths of their URLs, tokens of overrides, user, password and query of
//! every URL, and header values whose name says that they are secret. What stands as `${NAME}` is no secret and stays.

use serde_json::{Map, Value};

use crate::text::format::format_value;
use crate::text::parse::parse_value;

/// The text that stands for a hidden one.
pub const HIDDEN: &str = "(hidden)";
const NOTIFIERS: [&str; 5] = ["dingtalk", "feishu", "wecom", "slack", "webhook"];
/// Parts of names of headers whose values are secret.
const SECRET_HEADERS: [&str; 8] = ["auth", "token", "secret", "key", "password", "cookie", "credential", "signature"];

/// Hides literal secrets; answers whether there were any.
pub fn veil(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => veil_fields(fields),
        Value::Array(items) => items.iter_mut().fold(false, |any, item| veil(item) | any),
        Value::String(text) => veil_url(text, false),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn veil_fields(fields: &mut Map<String, Value>) -> bool {
    let mut any = veil_journal(fields);
    let is_change = (fields.contains_key("name") || fields.contains_key("path"))
        && (fields.contains_key("before") || fields.contains_key("after"));
    if is_change {
        return veil_change(fields) | any;
    }
    for (name, value) in fields.iter_mut() {
        any |= match (&**name, value) {
            (kind, Value::Object(notifier)) if NOTIFIERS.contains(&kind) => veil_notifier(notifier),
            ("override", Value::Object(rules)) => rules.get_mut("tokens").is_some_and(hide),
            ("set" | "add", Value::Object(headers)) => veil_headers(headers),
            (_, value) => veil(value),
        };
    }
    any
}

/// A line of the journal tells in words what its texts say exactly.
fn veil_journal(fields: &mut Map<String, Value>) -> bool {
    let Some(changes) = fields.get("changes").cloned().filter(|_| fields.contains_key("what")) else { return false };
    let mut veiled = changes.clone();
    if !veil(&mut veiled) {
        return false;
    }
    let names = changes.as_array().into_iter().flatten().filter_map(|change| change["name"].as_str());
    let told = names.map(|name| Value::from(format!("{name} changed"))).collect();
    fields.insert("what".to_owned(), told);
    fields.insert("changes".to_owned(), veiled);
    true
}

/// The two texts of a thing, or the two values of a field.
fn veil_change(fields: &mut Map<String, Value>) -> bool {
    let path = fields.get("path").and_then(Value::as_str).map(str::to_owned);
    let mut any = false;
    for side in ["before", "after"] {
        let Some(value) = fields.get_mut(side).filter(|value| !value.is_null()) else { continue };
        any |= match &path {
            Some(path) => veil_at(path, value),
            None => veil_text(value),
        };
    }
    any
}

/// The text of a thing. Of one that cannot be read nobody knows what in it is secret.
fn veil_text(value: &mut Value) -> bool {
    let Value::String(text) = value else { return veil(value) };
    let Ok(mut read) = parse_value(text) else {
        *value = HIDDEN.into();
        return true;
    };
    let any = veil(&mut read);
    if any {
        *text = format_value(&read);
    }
    any
}

/// The value of a field, whose path says what it is.
fn veil_at(path: &str, value: &mut Value) -> bool {
    let mut whole = nested(path, value.clone());
    let any = veil(&mut whole);
    if any {
        let inner = |whole: Value, name: &str| match (whole, name.contains('[')) {
            (Value::Object(mut fields), is_item) => {
                let name = name.split('[').next().unwrap_or_default();
                match (fields.remove(name), is_item) {
                    (Some(Value::Array(mut items)), true) => items.pop().unwrap_or_default(),
                    (value, _) => value.unwrap_or_default(),
                }
            }
            (whole, _) => whole,
        };
        *value = path.split('.').fold(whole, inner);
    }
    any
}

/// The value at this path of an otherwise empty configuration.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, name| {
        let (name, is_item) = name.split_once('[').map_or((name, false), |(name, _)| (name, true));
        let inner = if is_item { Value::Array(vec![inner]) } else { inner };
        Value::Object(Map::from_iter([(name.to_owned(), inner)]))
    })
}

fn veil_notifier(notifier: &mut Map<String, Value>) -> bool {
    let mut any = false;
    for (name, value) in notifier {
        any |= match (&**name, value) {
            ("access_token" | "secret" | "key", value) => hide(value),
            ("url", Value::String(url)) => veil_url(url, true),
            // The name of a notifier may be that of a kind.
            (kind, Value::Object(inner)) if NOTIFIERS.contains(&kind) => veil_notifier(inner),
            (_, value) => veil(value),
        };
    }
    any
}

fn veil_headers(headers: &mut Map<String, Value>) -> bool {
    let mut any = false;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        any |= if SECRET_HEADERS.iter().any(|part| name.contains(part)) { hide(value) } else { veil(value) };
    }
    any
}

fn hide(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |any, item| hide(item) | any),
        Value::String(text) if text.contains("${") || text == HIDDEN => false,
        Value::String(_) | Value::Number(_) => {
            *value = HIDDEN.into();
            true
        }
        _ => false,
    }
}

/// Hides user, password and query of a URL, and its path where that is a secret too.
fn veil_url(text: &mut String, with_path: bool) -> bool {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return false;
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(authority_end);
    let (path, query) = after.find(['?', '#']).map_or((after, ""), |at| after.split_at(at));
    let is_literal = |part: &str| !part.is_empty() && part != HIDDEN && !part.contains("${");
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let shown_user = if is_literal(user) { HIDDEN } else { user };
    let at = if user.is_empty() { "" } else { "@" };
    let shown_path =
        if with_path && is_literal(path.trim_matches('/')) { format!("/{HIDDEN}") } else { path.to_owned() };
    let shown_query =
        if is_literal(query.trim_start_matches(['?', '#'])) { format!("?{HIDDEN}") } else { query.to_owned() };
    let shown = format!("{scheme}://{shown_user}{at}{host}{shown_path}{shown_query}");
    let is_changed = shown != *text;
    *text = shown;
    is_changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literal_secrets_are_hidden_and_nothing_else() {
        let mut config = json!({
            "functions": { "shop": { "versions": { "1": { "endpoints": ["10.0.0.1:80"], "headers": { "set": {
                "authorization": "Bearer literal", "x-api-key": "${KEY}", "x-color": "blue" } } } },
                "aliases": { "prod": { "split": { "1": 100 }, "key": [{ "header": "x-user-id" }] } } } },
            "domains": { "a.test": { "certificate": { "cert": "a.crt", "key": "a.key" } } },
            "plans": { "p": { "full": true, "hooks": { "before": ["https://u:pw@ci.test/smoke?t=literal", "https://ci.test/${T}?a=${B}"] },
                "gates": [{ "prometheus": { "url": "http://prom/?token=literal", "query": "a > 1" } }] } },
            "notifiers": {
                "ding": { "dingtalk": { "access_token": "literal", "secret": "${S}", "at_users": ["13800000000"] } },
                "slack": { "slack": { "url": "https://hooks.slack.test/services/literal" } },
                "hook": { "webhook": { "url": "${URL}", "secret": "literal" } } },
            "override": { "from": ["10.0.0.0/8"], "tokens": ["0123456789literal", "${TOKEN}"] },
        });
        assert!(veil(&mut config));
        let text = config.to_string();
        assert!(!text.contains("literal") && !text.contains("pw@"), "{text}");
        for stays in [
            "${KEY}",
            "${S}",
            "${URL}",
            "${TOKEN}",
            "blue",
            "a.key",
            "x-user-id",
            "13800000000",
            "ci.test/smoke",
            "https://ci.test/${T}?a=${B}",
            "hooks.slack.test",
            "10.0.0.0/8",
            "10.0.0.1:80",
        ] {
            assert!(text.contains(stays), "{stays}: {text}");
        }
        assert!(!veil(&mut config), "it is hidden once");
    }

    #[test]
    fn texts_of_the_journal_are_hidden_in_words_too() {
        let text = "webhook:\n  url: https://example.com/hook\n  secret: literal\n";
        let mut entry = json!({ "what": ["notifiers.a: literal"],
            "changes": [{ "name": "notifier/a", "before": null, "after": text }] });
        assert!(veil(&mut entry));
        assert!(!entry.to_string().contains("literal"), "{entry}");
        assert_eq!(entry["what"], json!(["notifier/a changed"]));
        let mut entry = json!({ "what": ["notifier/a"],
            "changes": [{ "name": "notifier/a", "before": "webhook: {url: '${URL}', secret: literal", "after": text }] });
        assert!(veil(&mut entry));
        assert!(!entry.to_string().contains("literal"), "nobody can tell what is secret in half a text: {entry}");
        let mut changes = json!({ "changes": [
            { "path": "notifiers.a.webhook.secret", "before": "literal", "after": null },
            { "path": "functions.shop.aliases.prod.split", "before": "{1: 100}", "after": "{1: 95, 2: 5}" },
        ] });
        assert!(veil(&mut changes));
        assert_eq!(changes["changes"][0]["before"], HIDDEN);
        assert_eq!(changes["changes"][1]["after"], "{1: 95, 2: 5}");
    }
}
