//! Rollouts, what is said to them, and the freeze.

use serde_json::{Value, json};

use super::{Schemas, integer, object, reference, string};

pub(super) fn all() -> Schemas {
    let null_or = |kind: &str, what: &str| json!({ "type": [kind, "null"], "description": what });
    let asked = |more: Value| {
        let mut properties = json!({
            "function": string(""),
            "alias": string(""),
            "version": version("Of the candidate."),
            "base_version": version("That is stable until then; without it, the one that has the traffic."),
        });
        if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
            properties.extend(more);
        }
        properties
    };
    let plan = json!({
        "description": "A name, or a plan written out: as an object, or as the text that a file would hold. Without it, the \
            plan that the alias names.",
        "anyOf": [{ "type": "string" }, reference("plan")],
    });
    let member = object(&["function", "alias", "version"], asked(json!({})));
    let release = object(
        &[],
        asked(json!({
            "members": { "type": "array", "items": member, "description": "Instead of one alias: several that step together." },
            "plan": plan,
            "supersede": { "type": "boolean", "description": "Whether rollouts that run on these aliases end for this one." },
            "adopt": { "type": "boolean", "description": "Whether an alias that is split already goes on from there." },
            "reason": reason(),
        })),
    );
    let freeze = json!({ "type": "object", "required": ["frozen"], "properties": {
        "frozen": { "type": "boolean" },
        "by": null_or("string", "Who."),
        "reason": null_or("string", "In their words."),
        "since": null_or("string", "RFC 3339."),
        "until": null_or("string", "When it ends by itself, RFC 3339."),
    } });
    let freezing = object(
        &[],
        json!({ "for": null_or("string", "Such as `2h`; 24h without it, 30d at most."), "reason": reason() }),
    );
    let answer = object(
        &["decision"],
        json!({
            "decision": { "enum": ["approve", "reject"] },
            "output": { "description": "What the next hook gets, or why not." },
        }),
    );
    vec![
        ("rollout", rollout()),
        ("release", release),
        ("said", object(&[], json!({ "reason": reason() }))),
        ("freeze", freeze),
        ("freezing", freezing),
        ("hookAnswer", answer),
    ]
}

fn rollout() -> Value {
    let null_or = |kind: &str, what: &str| json!({ "type": [kind, "null"], "description": what });
    let member = json!({ "type": "object", "properties": {
        "function": string(""), "alias": string(""),
        "stable": null_or("string", "null in a first release."), "candidate": string(""),
    } });
    let step = json!({ "type": "object", "required": ["weight"], "properties": {
        "weight": { "type": "number", "description": "Percent." },
        "bake_seconds": { "type": "number", "description": "Of a bake by time." },
        "requests": integer("Of a bake by requests."),
        "hold": { "type": "boolean", "description": "Of a bake that somebody ends." },
    } });
    let side = json!({ "type": "object", "description": "Since the step's weight went live.", "properties": {
        "requests": integer("That count."), "failures": integer("Of them."),
        "p95_ms": null_or("number", "null without requests."),
    } });
    let member_seen = json!({ "type": "object", "properties": {
        "verdict": string("In a sentence."),
        "word": { "enum": ["no worse", "worse", "not yet", "no data", "void"] },
        "evidence": { "type": "object", "description": "The numbers behind it." },
        "stable": side, "candidate": side,
    } });
    let gate = json!({ "type": "object", "properties": { "gate": string(""), "says": string("`pass`, or what it found or lacks.") } });
    let seen = json!({ "type": ["object", "null"], "description": "Of its traffic; null before the first look.", "properties": {
        "members": { "type": "array", "items": member_seen }, "gates": { "type": "array", "items": gate },
    } });
    json!({ "type": "object", "required": ["id", "members", "state", "over", "weight"], "properties": {
        "id": string("Such as `r12`."),
        "members": { "type": "array", "items": member },
        "plan": null_or("string", "Its name."),
        "steps": { "type": "array", "items": step },
        "state": string("`ready`, `asking a hook`, `baking`, `waiting for gates`, `waiting for approval`, or the outcome."),
        "over": { "type": "boolean" },
        "outcome": json!({ "enum": ["promoted", "aborted", "rolled back", "superseded", null] }),
        "why": null_or("string", "It ended."),
        "step": null_or("integer", "From 1; null at the end."),
        "weight": { "type": "number", "description": "Of the candidate, in percent." },
        "held_by": null_or("string", "Who paused it."),
        "by": string("Who began it."),
        "reason": null_or("string", "In their words."),
        "began": string("RFC 3339."),
        "deadline": null_or("string", "When it must be looked at again, RFC 3339."),
        "left_seconds": null_or("number", "Until then."),
        "ended": null_or("string", "RFC 3339."),
        "waits_for": null_or("string", "What it waits for but the end of its bake."),
        "seen": seen,
    } })
}

fn reason() -> Value {
    let what = "Why, for the journal: one line of at most 500 characters; otherwise that of the header `x-weir-why`.";
    json!({ "type": ["string", "null"], "description": what })
}

fn version(what: &str) -> Value {
    json!({ "type": ["integer", "string"], "description": what })
}
