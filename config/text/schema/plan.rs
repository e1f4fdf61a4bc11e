//! Plans with their gates, guards and hooks.

use serde_json::{Map, Value, json};

use crate::model::{PrometheusCheck, QUANTILES, predefined_names};
use crate::text::parse::CONSTRUCTORS;
use crate::text::schema::{boolean, choice, described, duration, integer, object, one_key};

pub(super) fn definitions(definitions: &mut Map<String, Value>) {
    let mut put = |name: &str, schema: Value| definitions.insert(name.to_owned(), schema);
    put("plan", plan());
    put("predefinedPlan", predefined());
    put("gates", json!({ "type": "array", "minItems": 1, "maxItems": 32, "items": { "$ref": "#/$defs/gate" } }));
    put("gate", gate());
    put("guard", guard());
    put("hooks", hooks());
    put("hook", hook());
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
            "requests": integer(1, 1_000_000_000, "Until the candidate has answered so many requests."),
            "gates": { "$ref": "#/$defs/gates", "description": "What must hold at this step." },
        }),
    );
    let mut full = object(
        &[],
        json!({
            "canaryStep": described("One step, then everything; interval 10m unless given.", timed.clone()),
            "linearStep": described("Equal steps; interval 1m unless given.", timed.clone()),
            "canaryPlans": { "type": "array", "minItems": 1, "maxItems": 1000, "items": timed, "description": "Steps with rising weights, then everything." },
            "canaryWeight": described("One weight that stays until someone promotes, shifts or aborts.", weight),
            "full": { "const": true, "description": "Everything at once." },
            "steps": { "type": "array", "minItems": 1, "maxItems": 1000, "items": step, "description": "Own steps with rising weights." },
            "plan": { "$ref": "#/$defs/predefinedPlan", "description": "A predefined plan, to say more about it." },
            "gates": { "$ref": "#/$defs/gates", "description": "What must hold at every step that is held." },
            "guard": { "$ref": "#/$defs/guard" },
            "hooks": { "$ref": "#/$defs/hooks" },
            "notify": notify("Who of `notifiers` is told."),
            "on_restart": choice(&["resume", "extend", "hold"], "What becomes of the time in which no gateway ran; default extend: it does not count."),
        }),
    );
    full["oneOf"] = one_of(&CONSTRUCTORS);
    json!({
        "description": "A recipe of a release: a predefined name, or exactly one constructor and what goes with it.",
        "anyOf": [{ "$ref": "#/$defs/predefinedPlan" }, full]
    })
}

/// The names of notifiers, or of one.
pub(super) fn notify(description: &str) -> Value {
    let name = json!({ "$ref": "#/$defs/name" });
    json!({
        "description": description,
        "anyOf": [name, { "type": "array", "minItems": 1, "uniqueItems": true, "items": name }]
    })
}

fn predefined() -> Value {
    let names: Vec<&str> = predefined_names().chain(["full"]).collect();
    let prefixed = format!("^(CodeDeployDefault\\.)?(Lambda)?({})$", predefined_names().collect::<Vec<_>>().join("|"));
    json!({
        "description": "`full`, or a name of CodeDeploy.",
        "anyOf": [choice(&names, "A predefined name."), { "type": "string", "pattern": prefixed }]
    })
}

fn gate() -> Value {
    let kinds = object(
        &[],
        json!({
            "no-worse": described("The candidate is shown to be no worse than stable.", with_waits(json!({}))),
            "error_rate": error_rate(),
            "latency": latency(),
            "approval": described("Somebody says yes.", object(&[], json!({
                "timeout": duration("How long is waited, from 1s to 30d; default 24h."),
                "default": choice(&["reject", "approve"], "What silence means; default reject."),
            }))),
            "window": window(),
            "prometheus": prometheus(),
        }),
    );
    json!({
        "description": "What must hold before a rollout goes on.",
        "anyOf": [choice(&["no-worse", "approval"], "With every default."), one_key(kinds)]
    })
}

/// An object with these properties and what a gate says of waiting.
fn with_waits(mut properties: Value) -> Value {
    properties["on_insufficient"] =
        choice(&["wait", "pass", "fail"], "While there is no answer at the end of the bake; default wait.");
    properties["timeout"] =
        duration("How long an answer is waited for, from 1s to 30d; then back to stable; default 1h.");
    object(&[], properties)
}

/// Counted gates: a limit, and requests that have to be there.
fn counted(mut properties: Value) -> Value {
    properties["min_requests"] = integer(1, 1_000_000_000, "Requests before there is an answer; default 100.");
    with_waits(properties)
}

fn error_rate() -> Value {
    let percentage = json!({ "type": "string", "pattern": "^(100(\\.0{1,4})?|[1-9]?[0-9](\\.[0-9]{1,4})?)%$", "examples": ["1%"], "description": "At most this part of the candidate's requests fails." });
    let mut schema = counted(
        json!({ "max": percentage, "ratio": ratio(), "points": points("At most so many percentage points above stable.") }),
    );
    schema["oneOf"] = one_of(&["max", "ratio", "points"]);
    described("The part of requests that fail.", schema)
}

fn latency() -> Value {
    let limits = || {
        json!({
            "max": duration("At most this, from 1ms to 1h."),
            "ratio": ratio(),
            "more": duration("At most so much more than stable, from 1ms to 1h."),
        })
    };
    let one = || one_of(&["max", "ratio", "more"]);
    let names: Vec<&str> = QUANTILES.iter().map(|(name, _)| *name).collect();
    let mut flat = limits();
    flat["quantile"] = choice(&names, "Which quantile.");
    let mut flat = counted(flat);
    flat["required"] = json!(["quantile"]);
    flat["oneOf"] = one();
    let mut limit = object(&[], limits());
    limit["oneOf"] = one();
    let mut nested = counted(names.iter().map(|name| ((*name).to_owned(), limit.clone())).collect());
    nested["oneOf"] = one_of(&names);
    json!({ "description": "A quantile of the candidate's latencies.", "anyOf": [flat, nested] })
}

fn ratio() -> Value {
    json!({ "type": "number", "minimum": 1, "maximum": 1000, "description": "At most so many times what stable does." })
}

fn points(description: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "maximum": 100, "description": description })
}

fn window() -> Value {
    let day = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)";
    let days = format!("{day}(-{day})?(,{day}(-{day})?)*");
    let time = "(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)";
    let one = json!({ "type": "string", "pattern": format!("^({days} )?{time}-{time}$"), "examples": ["Mon-Fri 09:00-17:00"] });
    json!({
        "description": "The weight is set only within these times, in UTC.",
        "anyOf": [one, { "type": "array", "minItems": 1, "maxItems": 32, "items": one }]
    })
}

fn prometheus() -> Value {
    let variables = PrometheusCheck::VARIABLES.map(|name| format!("${{{name}}}")).join(", ");
    let query = format!("PromQL whose result is one number; {variables} are replaced.");
    let mut schema = with_waits(json!({
        "url": { "$ref": "#/$defs/url", "description": "The server, for example http://prometheus:9090." },
        "query": { "type": "string", "minLength": 1, "maxLength": 8192, "description": query },
        "min": { "type": "number", "description": "At least this." },
        "max": { "type": "number", "description": "At most this." },
        "every": duration("How often it is asked, from 1s to 1d; default 30s."),
    }));
    schema["properties"]["on_insufficient"] =
        choice(&["wait", "fail"], "While there is no answer at the end of the bake; default wait.");
    schema["required"] = json!(["url", "query"]);
    schema["anyOf"] = one_of(&["min", "max"]);
    described("What a Prometheus server says.", schema)
}

fn guard() -> Value {
    let mut full = object(
        &[],
        json!({
            "enforced": boolean("Whether a candidate that is worse goes back to stable; false only alerts; default true."),
            "alpha": { "type": "number", "minimum": 0.0001, "maximum": 0.5, "description": "The chance that a candidate which is no worse is called worse; default 0.01." },
            "ratio": described("Worse is more than so many times the failures of stable; default 1.2.", ratio()),
            "points": points("And so many percentage points more; default 0.1."),
            "client_errors": boolean("Whether 4xx are failures; default false."),
            "shield": choice(&["off", "gateway", "any-5xx"], "Which failures of the candidate stable answers instead; default any-5xx, or off if not enforced."),
            "latency": { "description": "How much slower than stable is worse, or off.", "anyOf": [{ "enum": ["off"] }, latency_guard()] },
            "min_requests": integer(0, 1_000_000_000, "So many outcomes of the candidate must be known before a step ends; default 10, 0 for plans of CodeDeploy."),
            "patience": duration("So long the end of a step waits for what must be known, from 1s to 30d; default 1h."),
        }),
    );
    full["minProperties"] = 1.into();
    json!({
        "description": "What protects from a candidate that is worse; default true for plans that move by themselves.",
        "anyOf": [{ "type": "boolean" }, full]
    })
}

fn latency_guard() -> Value {
    let names = QUANTILES.map(|(name, _)| name);
    let mut bounds = object(
        &[],
        json!({
            "quantile": choice(&names, "Of stable's answers; default p95."),
            "ratio": { "type": "number", "minimum": 1, "maximum": 100, "description": "Slow is more than so many times that; default 1.5." },
            "more": duration("And so much more, up to 1h; default 25ms."),
            "warm_up": integer(0, 1_000_000_000, "So many answers of the candidate come first and do not count, but for 10s at least and 60s at most; default 500."),
        }),
    );
    bounds["minProperties"] = 1.into();
    bounds
}

fn hooks() -> Value {
    let chain = |description: &str| json!({ "type": "array", "minItems": 1, "maxItems": 16, "items": { "$ref": "#/$defs/hook" }, "description": description });
    let (before, after) = ("Before the candidate gets its first request.", "After the last bake, before promotion.");
    let mut schema = object(
        &[],
        json!({
            "before": chain(before), "BeforeAllowTraffic": chain(before),
            "step": chain("Before the weight of each step is set."),
            "after": chain(after), "AfterAllowTraffic": chain(after),
        }),
    );
    schema["minProperties"] = 1.into();
    schema["not"] = json!({ "anyOf": [
        { "required": ["before", "BeforeAllowTraffic"] }, { "required": ["after", "AfterAllowTraffic"] }
    ] });
    described("Who is asked on the way.", schema)
}

fn hook() -> Value {
    let mut full = object(
        &[],
        json!({
            "http": { "$ref": "#/$defs/url", "description": "Asked by POST of JSON; 2xx is yes." },
            "command": {
                "type": "array", "minItems": 1, "maxItems": 64, "items": { "$ref": "#/$defs/text" },
                "description": "A program and its arguments; JSON on its standard input, exit code 0 is yes."
            },
            "timeout": duration("For one try, from 1s to 30d; with `callback`, for the answer; default 30s, 1h with `callback`."),
            "retries": integer(0, 10, "Tries after a failure to ask; default 2."),
            "callback": boolean("Whether the answer comes later, by a call to the URL in the question; default false."),
        }),
    );
    full["oneOf"] = one_of(&["http", "command"]);
    json!({ "description": "A URL, or the full form.", "anyOf": [{ "$ref": "#/$defs/url" }, full] })
}

/// Exactly one of these keys is there.
fn one_of(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "required": [name] })).collect()
}
