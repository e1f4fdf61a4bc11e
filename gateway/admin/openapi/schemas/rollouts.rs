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
            "preflight": { "type": "boolean", "description": "Whether a plan is refused that cannot reach an answer with the \
                requests that come (`PlanUnanswerable`). Default true." },
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
        ("simulation", simulation(&plan)),
        ("forecast", forecast()),
        ("release", release),
        ("said", object(&[], json!({ "reason": reason() }))),
        ("freeze", freeze),
        ("freezing", freezing),
        ("hookAnswer", answer),
    ]
}

fn simulation(plan: &Value) -> Value {
    let null_or = |schema: Value, what: &str| json!({ "anyOf": [schema, { "type": "null" }], "description": what });
    let number = || json!({ "type": ["number", "string"] });
    object(
        &[],
        json!({
            "function": null_or(string(""), "With `alias`: what is left out is as this alias had it within the last minute."),
            "alias": null_or(string(""), "With `function`."),
            "plan": { "anyOf": [plan, { "type": "null" }] },
            "rate": null_or(number(), "Requests per second, 0.001 to 1000000. Without an alias it must be said."),
            "base": null_or(string(""), "How many fail on stable: `1%`, which is the default without an alias."),
            "defect": null_or(string(""), "How many more of a hundred fail on the candidate: `+5%`, which is the default."),
            "runs": null_or(json!({ "type": "integer", "minimum": 1, "maximum": 1000 }), "With each candidate. Default 200, or fewer of a plan of very many steps."),
            "seed": null_or(json!({ "type": "integer", "minimum": 0 }), "Equal seeds give equal answers. Default 1."),
        }),
    )
}

fn forecast() -> Value {
    let null_or = |kind: &str, what: &str| json!({ "type": [kind, "null"], "description": what });
    let number = |what: &str| json!({ "type": "number", "description": what });
    let spread = |what: &str| {
        json!({ "type": "object", "description": what, "properties": {
            "median": number("Half of the runs are at most here."), "p95": number("95 of 100 are."),
        } })
    };
    let found = "Until the candidate was found to be worse, or sent back for something else; null where no run did.";
    let runs = |what: &str| {
        json!({ "type": "object", "description": what, "properties": {
            "promoted": integer("Runs."), "rolled_back": integer("Runs."),
            "held": integer("Runs that wait for somebody."),
            "alerted": integer("Runs that told of a worse candidate and went on: the plan is not guarded."),
            "seconds": spread("Until it was over."),
            "found_seconds": { "anyOf": [spread(found), { "type": "null" }] },
            "requests": spread("That the candidate got."), "share": number("Of all requests, in percent: the median."),
            "failed": spread("Requests of the candidate, until it was found."),
            "why": null_or("string", "The median run that went back did."),
        } })
    };
    let assumed = json!({ "type": "object", "properties": {
        "rate": string("Requests per second."), "base": string("Of stable."), "defect": string("Of the candidate."),
        "runs": integer(""), "seed": integer(""),
    } });
    let due = json!({ "type": "object", "properties": { "seconds": number("Since the beginning."), "weight": number("Percent.") } });
    let shortfall =
        json!({ "type": "object", "properties": { "path": string(""), "message": string(""), "hint": string("") } });
    let observed = json!({ "type": ["object", "null"], "description": "Of the alias; null without requests.", "properties": {
        "requests": integer(""), "seconds": number("Within which they came."),
    } });
    json!({ "type": "object", "required": ["assumed", "timeline", "sound", "defective", "shortfalls"], "properties": {
        "plan": null_or("string", "Its name."), "assumed": assumed, "observed": observed,
        "timeline": { "type": "array", "items": due },
        "sound": runs("With a candidate that fails as often as stable."), "defective": runs("With one that has the defect."),
        "shortfalls": { "type": "array", "items": shortfall, "description": "What the plan waits for that does not come." },
    } })
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
    let approval = json!({ "type": "object", "properties": {
        "step": integer("From 1."), "by": string("Such as `token:ann`; `nobody`, where nobody objected in time."),
        "reason": null_or("string", "In their words."), "time": string("RFC 3339."),
    } });
    let side = json!({ "type": "object", "description": "Since the step's weight went live.", "properties": {
        "sent": integer("Requests that were sent to it."),
        "requests": integer("Those that count: they have their outcome."),
        "failures": integer("Of them, the bad ones, those below included."),
        "unanswered": integer("Had no answer when they were as old as answers ever are."),
        "gone": integer("Their client left after a long wait."),
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
        "lacks": null_or("string", "What must be known before the step ends, and is not."),
    } });
    json!({ "type": "object", "required": ["id", "members", "state", "over", "weight"], "properties": {
        "id": string("Such as `r12`."),
        "members": { "type": "array", "items": member },
        "plan": null_or("string", "Its name."),
        "outlook": { "type": "array", "items": { "type": "string" }, "description": "When it begins: what the guard can see with the requests that come, of each alias." },
        "steps": { "type": "array", "items": step },
        "state": string("`ready`, `asking a hook`, `baking`, `waiting for gates`, `waiting for approval`, or the outcome."),
        "over": { "type": "boolean" },
        "outcome": json!({ "enum": ["promoted", "aborted", "rolled back", "superseded", null] }),
        "why": null_or("string", "It ended."),
        "step": null_or("integer", "From 1; null at the end."),
        "weight": { "type": "number", "description": "Of the candidate, in percent." },
        "approvals": { "type": "array", "items": approval },
        "held_by": null_or("string", "Who paused it."),
        "by": string("Who began it."),
        "reason": null_or("string", "In their words."),
        "began": string("RFC 3339."),
        "deadline": null_or("string", "When it must be looked at again, RFC 3339."),
        "left_seconds": null_or("number", "Until then."),
        "ended": null_or("string", "RFC 3339."),
        "ended_rollouts": super::ended_rollouts(),
        "unstored": { "type": "boolean", "description": "Whether its next step waits for the store to take it." },
        "waits_for": null_or("string", "What it waits for but the end of its bake."),
        "seen": seen,
        "warnings": warnings(),
    } })
}

/// Of an answer to a release.
pub(super) fn warnings() -> Value {
    let what = "Why the plan of a release may not reach an answer with the requests that come; absent without any.";
    json!({ "type": "array", "items": reference("problem"), "description": what })
}

fn reason() -> Value {
    let what = "Why, for the journal: one line of at most 500 characters; otherwise that of the header `x-weir-why`.";
    json!({ "type": ["string", "null"], "description": what })
}

fn version(what: &str) -> Value {
    json!({ "type": ["integer", "string"], "description": what })
}
