//! Component schemas: those of the configuration file, and what only the API says.

mod rollouts;

use serde_json::{Map, Value, json};

use super::codes;
use crate::metrics::UNUSABLE_KINDS;

/// All of them by name.
pub(super) fn all() -> Map<String, Value> {
    let mut all = of_config();
    for (name, schema) in
        [resources(), bodies(), answers(), journal(), statuses(), tokens(), rollouts::all()].into_iter().flatten()
    {
        let before = all.insert(name.to_owned(), schema);
        debug_assert!(before.is_none(), "two schemas have the name {name}");
    }
    all
}

type Schemas = Vec<(&'static str, Value)>;

/// What the file's own schema defines, and the file itself as `config`.
fn of_config() -> Map<String, Value> {
    let mut all = config::text::schema::definitions();
    let settings = ["triggers", "base_domain", "override", "trusted_proxies", "default_certificate"];
    let settings = settings.map(|name| (name.to_owned(), all["config"]["properties"][name].clone()));
    let settings = json!({ "type": "object", "additionalProperties": false, "properties": Map::from_iter(settings) });
    all.insert("settings".into(), settings);
    all.values_mut().for_each(moved);
    all
}

/// References into `$defs` lead into the components.
fn moved(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value.as_str().and_then(|to| to.strip_prefix("#/$defs/"))) {
                    ("$ref", Some(name)) => *value = reference(name)["$ref"].take(),
                    _ => moved(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(moved),
        _ => {}
    }
}

fn resources() -> Schemas {
    let function = resource(
        "A function in full form.",
        json!({
            "draft": { "type": "object" },
            "versions": { "type": "object", "description": "By number." },
            "aliases": { "type": "object", "description": "By name." },
            "dialects": { "type": "array", "items": string("") },
        }),
    );
    let summary = resource(
        "A function in short.",
        json!({
            "latest": { "type": ["integer", "null"], "description": "The highest version number." },
            "versions": integer("How many."),
            "aliases": { "type": "array", "items": string("") },
        }),
    );
    let version = resource(
        "A version in full form; the draft has the name `$LATEST`, no number and no digest.",
        json!({
            "number": integer("Its number."),
            "digest": string("SHA-256 of what never changes."),
            "label": string("For people; unique within the function."),
            "description": string("For people."),
            "retired": { "type": "boolean" },
            "endpoints": { "type": "array", "items": string("") },
        }),
    );
    let alias = resource(
        "An alias in full form.",
        json!({
            "split": { "type": "object", "additionalProperties": { "type": "number" },
                "description": "The alias's own, in percent by version." },
            "effective": { "type": "object", "additionalProperties": { "type": "number" },
                "description": "The split that requests see: the alias's own, or that of the rollout that runs on it." },
            "effective_revision": integer("The revision of what requests see; `If-Match` takes this one or `revision`."),
            "layer": { "anyOf": [layer(), { "type": "null" }], "description": "The layer of the rollout that runs on it." },
            "ended_rollouts": ended_rollouts(),
            "changed": { "type": "boolean", "description": "Of a rollback: whether requests see another split now." },
        }),
    );
    let plain = |what: &str| resource(what, json!({}));
    vec![
        ("functionResource", function),
        ("functionSummary", summary),
        ("versionResource", version),
        ("aliasResource", alias),
        ("stageResource", plain("A stage in full form.")),
        ("domainResource", plain("A domain in full form.")),
        ("planResource", plain("A plan in full form.")),
        ("notifierResource", plain("A notifier in full form.")),
        ("settingsResource", plain("The settings in full form.")),
    ]
}

fn bodies() -> Schemas {
    let null_or = |schema: Value| json!({ "anyOf": [schema, { "type": "null" }] });
    let dialects = json!({ "type": "array", "items": { "enum": ["fc", "aws"] } });
    let invoke = object(
        &[],
        json!({ "path": string("Where events are posted."), "mode": { "enum": ["auto", "event", "proxy"] } }),
    );
    vec![
        ("newFunction", object(&["name"], json!({ "name": string(""), "dialects": dialects, "invoke": invoke }))),
        ("functionForm", object(&[], json!({ "dialects": dialects, "invoke": invoke }))),
        (
            "publication",
            object(
                &[],
                json!({
                    "from": integer("The version to freeze anew; without it, the draft."),
                    "label": string("For the new version."),
                    "description": string("For the new version; without it, that of the source."),
                    "expected_digest": string("Only if the source has this digest."),
                    "expected_revision": integer("Only if the draft is at this revision."),
                }),
            ),
        ),
        (
            "versionPatch",
            object(
                &[],
                json!({
                    "label": null_or(string("null removes it.")),
                    "description": null_or(string("null removes it.")),
                    "retired": { "type": "boolean" },
                    "endpoints": { "type": "array", "minItems": 1, "items": string("Such as 10.0.0.11:8080.") },
                }),
            ),
        ),
        ("goingBack", object(&[], json!({ "to": integer("A revision. Without it an alias goes back one episode.") }))),
        (
            "question",
            object(
                &["host"],
                json!({
                    "host": string("The `Host` of the request."),
                    "path": string("With its query; default `/`."),
                    "method": string("Default GET."),
                    "headers": { "type": "array", "items": {
                        "type": "array", "prefixItems": [string("Name"), string("Value")], "minItems": 2, "maxItems": 2,
                    } },
                    "client": string("The client's address; default 127.0.0.1."),
                    "config": string("A file to explain it by, instead of what is live."),
                    "revision": integer("The revision to explain it by, instead of what is live."),
                    "slot": integer("The slot that it draws, if it draws one."),
                    "drawn": drawn(),
                }),
            ),
        ),
    ]
}

fn answers() -> Schemas {
    let problem = json!({ "type": "object", "required": ["severity", "path", "message"], "properties": {
        "severity": { "enum": ["error", "warning"] },
        "path": string("Where in the document: `functions.shop.aliases.prod.split`."),
        "message": string("What is wrong."),
        "line": integer("From 1."),
        "column": integer("From 1, in characters."),
        "hint": string("What would be right."),
    } });
    let error = json!({ "type": "object", "required": ["code", "message", "problems"], "properties": {
        "code": { "enum": codes() },
        "message": string("In one sentence."),
        "problems": { "type": "array", "items": reference("problem") },
        "version": integer("With `VersionUnchanged`: the version that it is already."),
    } });
    let change = json!({ "type": "object", "required": ["path", "before", "after"], "properties": {
        "path": string("`functions.shop.aliases.prod.split`"),
        "before": { "description": "null: nothing, or the default." },
        "after": { "description": "null: nothing, or the default." },
    } });
    let changes = json!({ "type": "array", "items": reference("change") });
    let applied = json!({ "type": "object", "required": ["revision", "changes"], "properties": {
        "revision": integer("Where it is live."),
        "changes": changes,
        "warnings": { "type": "array", "items": reference("problem") },
        "ended_rollouts": ended_rollouts(),
    } });
    vec![
        ("problem", problem),
        ("error", error),
        ("change", change),
        (
            "changes",
            json!({ "type": "object", "required": ["changes"], "properties": {
                "changes": changes, "warnings": rollouts::warnings(), "ended_rollouts": ended_rollouts(),
            } }),
        ),
        ("applied", applied),
        ("deleted", json!({ "type": "object", "properties": { "ended_rollouts": ended_rollouts() } })),
        (
            "drift",
            json!({ "type": "object", "required": ["changes", "layers"], "properties": {
                "changes": changes.clone(),
                "layers": { "type": "object", "additionalProperties": layer(),
                    "description": "The layers of running rollouts, by alias: `shop:prod`." },
            } }),
        ),
        ("explanation", json!({ "type": "object", "description": "Each step from the request to a version." })),
        ("document", json!({ "type": "object", "description": "OpenAPI 3.1." })),
    ]
}

fn layer() -> Value {
    json!({ "type": "object", "properties": {
        "rollout": string("Such as `r12`."),
        "stable": string("The version that has what the candidate does not."),
        "candidate": string("The version that is released."),
        "weight": { "type": "number", "description": "The weight of the candidate in percent." },
        "shield": { "type": ["string", "null"], "description": "The shield while it runs; null: the alias's own." },
        "salt": { "type": ["string", "null"], "description": "The cohort while it runs; null: the alias's own." },
    } })
}

fn ended_rollouts() -> Value {
    json!({ "type": "array", "items": string("Such as `r12`."),
        "description": "Rollouts that the change ended, because it sets the split of an alias of theirs, deletes it, or begins another one on it; absent without any." })
}

fn journal() -> Schemas {
    let changed = json!({ "type": "object", "properties": {
        "name": string("Of the text: `alias/shop/prod`."),
        "before": { "type": ["string", "null"] },
        "after": { "type": ["string", "null"] },
    } });
    let news = json!({ "type": "object", "properties": {
        "rollout": string("Such as `r12`."), "kind": string("One word."), "text": string("In a sentence."),
        "weight": string("Of the candidate, in percent."),
        "evidence": { "description": "The numbers behind it." },
    } });
    let entry = json!({ "type": "object", "properties": {
        "revision": integer("After the change."),
        "hash": string("SHA-256 of its line in the journal."),
        "time": string("RFC 3339."),
        "who": string("Such as `token:ci`, `file`, `start`."),
        "why": { "type": ["string", "null"] },
        "what": { "type": "array", "items": string("What changed, in words.") },
        "changes": { "type": "array", "items": changed },
        "news": { "type": "array", "items": news, "description": "Of rollouts; absent without any." },
    } });
    let verdict = json!({ "type": "object", "required": ["ok"], "properties": {
        "ok": { "type": "boolean" },
        "from": integer("The first revision that was checked."),
        "to": integer("The last."),
        "broken_at": integer("The first revision that is wrong."),
        "message": string("What is wrong with it."),
        "differs": { "type": "array", "items": string("What is wrong with a stored text."), "description": "The first 20." },
        "head": string("SHA-256 of the newest line: kept elsewhere, it shows a journal that was written anew."),
        "unchecked": integer("Texts that changed last before the kept journal begins."),
    } });
    vec![("entry", entry), ("verdict", verdict)]
}

fn statuses() -> Schemas {
    let number = json!({ "type": ["number", "null"], "description": "null without requests." });
    let percent = json!({ "type": "object", "additionalProperties": { "type": "number" } });
    let alias = json!({ "type": "object", "properties": {
        "name": string(""), "split": percent, "effective": percent, "achieved": { "type": ["object", "null"], "additionalProperties": { "type": "number" } },
        "requests": integer("Those that the split decided, within the window."),
        "rollout": { "anyOf": [reference("rollout"), { "type": "null" }], "description": "That moves it." },
    } });
    let endpoint = json!({ "type": "object", "properties": {
        "address": string("IP address and port."), "name": string("As configured."),
        "healthy": { "type": "boolean" }, "in_flight": integer("Attempts."),
    } });
    let version = json!({ "type": "object", "properties": {
        "version": string("A number, or `$LATEST`."), "label": { "type": ["string", "null"] },
        "retired": { "type": "boolean" }, "requests_per_second": number, "error_rate": number,
        "p50_ms": number, "p95_ms": number, "p99_ms": number, "endpoints": { "type": "array", "items": endpoint },
    } });
    let function = json!({ "type": "object", "properties": {
        "name": string(""), "aliases": { "type": "array", "items": alias }, "versions": { "type": "array", "items": version },
    } });
    let unusable = json!({ "type": "object", "required": ["kind", "name", "reason", "since"], "properties": {
        "kind": { "enum": UNUSABLE_KINDS }, "name": string("The host of a domain, or `default_certificate`."),
        "reason": string("Why, and what that means."), "since": string("RFC 3339."),
    } });
    let status = json!({ "type": "object", "properties": {
        "node": reference("node"),
        "reload": { "type": "object", "properties": {
            "time": { "type": ["string", "null"] },
            "result": { "enum": ["applied", "unchanged", "refused", "none"] },
            "message": { "type": ["string", "null"] },
        } },
        "store": { "type": "object", "properties": {
            "kind": { "enum": ["embedded", "memory"] }, "path": { "type": ["string", "null"] },
            "healthy": { "type": "boolean" }, "message": { "type": ["string", "null"] },
            "writable": { "type": "boolean", "description": "Whether it took the last change." },
            "head": { "type": ["object", "null"], "description": "The newest line of the journal, and its SHA-256.",
                "properties": { "revision": integer(""), "hash": string("") } },
            "paused_since": { "type": ["string", "null"], "description": "RFC 3339." },
        } },
        "freeze": reference("freeze"),
        "unusable": { "type": "array", "items": unusable, "description": "Things that cannot be used as they are; 100 at most." },
        "unusable_total": integer("How many of them there are."),
        "window_seconds": integer("What rates are measured over."),
        "functions": { "type": "array", "items": function },
        "next": { "type": ["string", "null"] },
    } });
    let node = json!({ "type": "object", "properties": {
        "id": string(""), "version": string(""), "started": string("RFC 3339."), "uptime_seconds": integer(""),
        "revision": integer("That is live."), "ready": { "type": "boolean" }, "this": { "type": "boolean" },
    } });
    let nodes = json!({ "type": "object", "properties": { "items": { "type": "array", "items": reference("node") } } });
    vec![("status", status), ("node", node), ("nodes", nodes)]
}

fn tokens() -> Schemas {
    let role = json!({ "enum": ["viewer", "operator", "admin"] });
    let created = json!({ "type": "object", "properties": {
        "name": string(""), "role": role, "token": string("Shown this once."),
    } });
    let token =
        json!({ "type": "object", "properties": { "name": string(""), "role": role, "created": string("RFC 3339.") } });
    vec![
        ("token", token),
        ("createdToken", created),
        ("newToken", object(&["name", "role"], json!({ "name": string(""), "role": role }))),
    ]
}

fn resource(description: &str, fields: Value) -> Value {
    let mut properties =
        json!({ "name": string("Its name."), "revision": integer("The store's, of its last change.") });
    if let (Value::Object(properties), Value::Object(fields)) = (&mut properties, fields) {
        properties.extend(fields);
    }
    json!({ "type": "object", "description": description, "required": ["name", "revision"], "properties": properties })
}

/// With these keys and no others.
fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn string(description: &str) -> Value {
    match description {
        "" => json!({ "type": "string" }),
        description => json!({ "type": "string", "description": description }),
    }
}

fn integer(description: &str) -> Value {
    json!({ "type": "integer", "description": description })
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The reason for a version, as a line of the access log tells it.
fn drawn() -> Value {
    let reasons = ["direct", "override", "random", "stable", "only", "rule", "bucket", "slot"];
    json!({ "type": "object", "required": ["reason", "version"], "additionalProperties": false,
        "description": "Why the version was chosen, as its line in the access log tells it; headers are not asked then.",
        "properties": {
            "reason": { "enum": reasons }, "alias": string("Unless a version was named."),
            "version": string("That was chosen: `shielded_from` of the line if it has one."),
            "rule": integer("From 0."), "bucket": integer("0 to 9999."), "slot": integer(""),
            "owed": string("As in the line."),
        } })
}
