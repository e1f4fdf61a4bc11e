//! Functions, versions, aliases and rules.

use serde_json::{Map, Value, json};

use crate::text::schema::{boolean, choice, described, duration, integer, object};

pub(super) fn definitions(definitions: &mut Map<String, Value>) {
    let mut put = |name: &str, schema: Value| definitions.insert(name.to_owned(), schema);
    put("function", function());
    put("version", version(true));
    put("draft", version(false));
    put("publishedVersion", published_version());
    put("tls", tls());
    put(
        "headerValues",
        json!({ "type": "object", "propertyNames": { "$ref": "#/$defs/header" }, "additionalProperties": { "$ref": "#/$defs/text" } }),
    );
    put("alias", alias());
    put("aliasPatch", alias_patch());
    put("split", split());
    put("key", key());
    put(
        "rule",
        object(
            &["when", "version"],
            json!({
                "when": { "$ref": "#/$defs/when" },
                "version": { "$ref": "#/$defs/versionId", "description": "Where these requests go." },
            }),
        ),
    );
    put("when", when());
    put("test", test());
}

fn function() -> Value {
    let schema = object(
        &[],
        json!({
            "draft": { "$ref": "#/$defs/draft", "description": "$LATEST: the editable next version." },
            "versions": {
                "description": "Frozen versions by number.", "type": "object",
                "propertyNames": { "pattern": "^[1-9][0-9]{0,9}$" }, "additionalProperties": { "$ref": "#/$defs/version" }
            },
            "aliases": {
                "description": "Movable pointers: a version, or a split over versions.", "type": "object",
                "propertyNames": { "anyOf": [{ "$ref": "#/$defs/name" }, { "const": "$DEFAULT" }] },
                "additionalProperties": { "$ref": "#/$defs/alias" }
            },
            "dialects": {
                "description": "Clouds whose context headers endpoints and clients get beside Weir's own.",
                "type": "array", "uniqueItems": true, "items": { "enum": ["fc", "aws"] }
            },
            "invoke": described(
                "How an event that a cloud's client invokes the function with reaches an endpoint.",
                object(&[], json!({
                    "path": { "type": "string", "pattern": "^/[^?#\\s]*$", "description": "Where events are posted; default /invoke." },
                    "mode": choice(&["auto", "event", "proxy"], "What is made of an event: the HTTP request in one of API Gateway (2.0) and a POST of any other (auto, the default), always a POST, always the request."),
                })),
            ),
            "next": integer(1, u64::from(u32::MAX) + 1, "Written by weir: the number of the next version, when it is not the one after the highest."),
        }),
    );
    let mut schema = described("A deployable unit: any HTTP backend.", schema);
    schema["anyOf"] = json!([{ "required": ["draft"] }, { "required": ["versions"] }, { "required": ["next"] }]);
    schema
}

fn full_version(numbered: bool) -> Value {
    let health = object(
        &["path"],
        json!({
            "path": { "type": "string", "pattern": "^/[^#\\s]*$" },
            "every": duration("Time between checks of one endpoint; default 5s."),
            "timeout": duration("For connect and answer together; default 2s."),
            "status": { "description": "A status or a range that counts as healthy; default 200-399.",
                "anyOf": [{ "type": "integer", "minimum": 100, "maximum": 599 }, { "type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$" }] },
            "rise": integer(1, 100, "Good checks in a row until it is healthy again; default 2."),
            "fall": integer(1, 100, "Bad checks in a row until it is unhealthy; default 3."),
        }),
    );
    let timeouts = object(
        &[],
        json!({
            "connect": duration("TCP and TLS together; default 1s."),
            "response": duration("From the last byte of the request to the head of the response; default 30s."),
            "idle": duration("Between two bytes of a body; default 60s."),
            "keep_alive": duration("How long an unused connection is kept; default 55s."),
        }),
    );
    let retries = object(
        &[],
        json!({
            "attempts": integer(0, 5, "Attempts after the first; default 1."),
            "budget": integer(0, 100, "Part of the requests that may be retries, in percent; default 20."),
            "on_status": { "description": "Statuses that are tried again.", "type": "array", "items": { "type": "integer", "minimum": 500, "maximum": 599 } },
        }),
    );
    let headers = object(
        &[],
        json!({
            "set": { "$ref": "#/$defs/headerValues", "description": "Replaces every value." },
            "add": { "$ref": "#/$defs/headerValues", "description": "Adds a value." },
            "remove": { "type": "array", "items": { "$ref": "#/$defs/header" }, "description": "Drops every value." },
        }),
    );
    let response = object(
        &["status"],
        json!({
            "status": integer(200, 599, "The status."),
            "headers": { "$ref": "#/$defs/headerValues" },
            "body": { "$ref": "#/$defs/text" },
        }),
    );
    let mut full = object(
        &[],
        json!({
            "endpoints": { "description": "Addresses, `host:port`.", "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string", "pattern": "^([^/\\s]+:([0-9]{1,5}|\\$\\{.*\\})|\\$\\{.*\\})$" } },
            "protocol": choice(&["http/1.1", "h2", "h2c"], "How endpoints are spoken to; default http/1.1."),
            "tls": { "$ref": "#/$defs/tls" },
            "host": { "type": "string", "minLength": 1, "description": "The Host that an endpoint sees: `keep` (default), `endpoint`, or a host." },
            "path_prefix": { "type": "string", "pattern": "^(|(/|\\$).*[^/])$", "description": "Put before every path." },
            "headers": described("Changes to the request headers.", headers),
            "health": described("An active check of every endpoint.", health),
            "timeouts": described("How long each part may take.", timeouts),
            "retries": described("Retries inside the version.", retries),
            "via": choice(&["on", "off"], "Whether endpoints are told in Via that a gateway is before them; default on."),
            "upgrade": { "description": "Protocols that clients may upgrade a connection to; default websocket, and none with protocol h2 or h2c.", "type": "array", "uniqueItems": true,
                "items": { "type": "string", "pattern": "^(?![hH]2[cC]$)[!#$%&'*+.^_`|~0-9A-Za-z-]+$" } },
            "response": described("A fixed answer by the gateway itself: a maintenance page.", response),
            "description": { "$ref": "#/$defs/line", "description": "For people." },
            "label": { "type": "string", "pattern": "^(?![0-9]+$)[^$: ][^: ]*$", "description": "A name of this version, unique in the function." },
            "artifact": { "$ref": "#/$defs/line", "description": "Digest of what runs there; stands for the endpoints when versions are compared." },
            "retired": boolean("Out of use; the number stays taken."),
        }),
    );
    if numbered {
        full["properties"]["digest"] = json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$", "description": "Written by weir: SHA-256 of what never changes, when the endpoints were moved." });
    }
    full["oneOf"] = json!([{ "required": ["endpoints"] }, { "required": ["response"] }]);
    full
}

/// A version as it is shown.
fn published_version() -> Value {
    let mut full = full_version(true);
    full["properties"]["number"] = integer(1, u32::MAX.into(), "Never given out again.");
    full["required"] = json!(["number", "digest"]);
    described("A version as it is shown: the full form, with its number and its digest.", full)
}

/// A version, which may state its digest, or the draft.
fn version(numbered: bool) -> Value {
    let full = full_version(numbered);
    json!({
        "description": "Where a version runs: a URL, or the full form.",
        "anyOf": [
            { "type": "string", "pattern": "^(\\$\\{.*\\}|https?://[^/\\s@?#]+(/[^?#\\s]*)?|[^/\\s@]+:([0-9]{1,5}|\\$\\{.*\\})(/[^?#\\s]*)?)$", "examples": ["http://10.0.0.11:8080", "https://shop.internal", "10.0.0.11:8080"] },
            full
        ]
    })
}

fn tls() -> Value {
    let full = object(
        &[],
        json!({
            "ca": { "$ref": "#/$defs/file", "description": "PEM file of the certificate authorities; default the system's." },
            "sni": { "$ref": "#/$defs/host", "description": "The name that the certificate must carry; default the endpoint's host." },
            "verify": boolean("Whether the certificate is verified; default true."),
        }),
    );
    json!({ "description": "TLS to the endpoints.", "anyOf": [{ "type": "boolean" }, full] })
}

fn split() -> Value {
    let weight = json!({
        "description": "A part, with at most two decimals; parts count by their sum.",
        "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1_000_000_000_000_u64 }, { "type": "string", "pattern": "^(0|[1-9][0-9]*)(\\.[0-9]{1,2})?$" }]
    });
    json!({
        "description": "Weights by version: {1: 95, 2: 5}.",
        "type": "object", "minProperties": 1, "maxProperties": 16,
        "propertyNames": { "pattern": "^([1-9][0-9]{0,9}|\\$LATEST)$" }, "additionalProperties": weight
    })
}

fn alias() -> Value {
    let mut fields = alias_fields();
    fields["joined"] =
        json!({ "$ref": "#/$defs/versionId", "description": "Written by weir: the version that joined last." });
    fields["buckets"] = json!({ "type": "string", "description": "Written by weir: which callers each version has, when that is history." });
    json!({
        "description": "A version, a split over versions, or the full form.",
        "anyOf": [{ "$ref": "#/$defs/versionId" }, { "$ref": "#/$defs/split" }, object(&["split"], fields)]
    })
}

/// The same fields, each of which may be reset: nothing (`null`, or empty) gives it its default.
fn alias_patch() -> Value {
    let Value::Object(fields) = alias_fields() else { unreachable!("fields are an object") };
    let nothing = json!({ "enum": [null, "", []] });
    let field = |(name, schema): (String, Value)| match &*name {
        "split" => (name, schema),
        _ => (name, json!({ "anyOf": [schema, nothing] })),
    };
    let fields: Map<String, Value> = fields.into_iter().map(field).collect();
    described(
        "The fields of an alias that are to change; `null` gives a field its default.",
        object(&[], fields.into()),
    )
}

/// The fields of an alias that people write.
fn alias_fields() -> Value {
    let split = json!({ "anyOf": [{ "$ref": "#/$defs/versionId" }, { "$ref": "#/$defs/split" }] });
    json!({
            "split": described("Who gets how much: a version, or weights by version.", split),
            "key": { "$ref": "#/$defs/key" },
            "on_missing_key": choice(&["slot", "stable", "refuse"], "What happens to a request without a routing key; default slot."),
            "selection": choice(&["exact", "random"], "How keyless requests are drawn; default exact."),
            "salt": { "type": ["string", "number"], "pattern": "^[!-~]{1,64}$", "description": "Shares or keeps a cohort under this name." },
            "rules": { "description": "First hit wins.", "type": "array", "items": { "$ref": "#/$defs/rule" } },
            "on_unhealthy": choice(&["fallback", "fail"], "What happens when no endpoint of the version is healthy; default fallback."),
            "shield": choice(&["off", "gateway", "any-5xx"], "Which failures of a version other than the stable one another version answers instead, where the request may be repeated; default off."),
            "stable": { "$ref": "#/$defs/versionId", "description": "The version that promotion left as the stable one." },
            "plan": { "type": "string", "minLength": 1, "description": "The plan that a release uses: one of `plans`, or a name of CodeDeploy." },
            "description": { "$ref": "#/$defs/line", "description": "For people." },
    })
}

fn key() -> Value {
    let issued = json!({ "anyOf": [
        { "$ref": "#/$defs/header" },
        object(&["name"], json!({ "name": { "$ref": "#/$defs/header" }, "max_age": duration("Max-Age; default 30d.") }))
    ] });
    let source = json!({ "anyOf": [
        { "const": "client_address" },
        object(&["header"], json!({ "header": { "$ref": "#/$defs/header" } })),
        object(&["cookie"], json!({ "cookie": { "$ref": "#/$defs/header" } })),
        object(&["query"], json!({ "query": { "type": ["string", "number"], "minLength": 1 } })),
        object(&["issue_cookie"], json!({ "issue_cookie": described("A cookie that weir issues when it is absent.", issued) })),
    ] });
    json!({
        "description": "Where the routing key is found: the first source present wins.",
        "anyOf": [source, { "type": "array", "items": source }]
    })
}

fn when() -> Value {
    let by_name = |description: &str| json!({ "description": description, "type": "object", "minProperties": 1, "additionalProperties": { "$ref": "#/$defs/test" } });
    let mut subjects = object(
        &[],
        json!({
            "header": by_name("Tests by header."),
            "cookie": by_name("Tests by cookie."),
            "query": by_name("Tests by query parameter."),
            "path": { "$ref": "#/$defs/test" },
            "method": { "$ref": "#/$defs/test" },
            "client_address": { "anyOf": [{ "$ref": "#/$defs/network" }, { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/network" } }, { "$ref": "#/$defs/test" }] },
        }),
    );
    subjects["minProperties"] = 1.into();
    json!({
        "description": "Which requests; every condition must hold.",
        "anyOf": [
            { "type": "string", "pattern": "^\\s*invoke\\.headers\\.\\S+\\s+(exact|range)\\s+\\S", "description": "The text form of Tencent SCF." },
            subjects,
            { "type": "array", "minItems": 1, "items": subjects }
        ]
    })
}

fn test() -> Value {
    let text = json!({ "$ref": "#/$defs/text" });
    let mut full = object(
        &[],
        json!({
            "exact": text, "prefix": text, "suffix": text,
            "regex": { "$ref": "#/$defs/text", "description": "A regular expression in linear time, unanchored." },
            "in": { "type": "array", "minItems": 1, "items": text },
            "present": boolean("Whether it is there."),
            "range": { "description": "Whole numbers: \"[1,50]\", also with `(` and `)`.",
                "anyOf": [{ "type": "string", "pattern": "^\\s*[\\[(]\\s*-?[0-9]+\\s*,\\s*-?[0-9]+\\s*[\\])]\\s*$" }, { "type": "array", "minItems": 2, "maxItems": 2, "items": { "type": "integer" } }] },
            "percent": { "type": "number", "exclusiveMinimum": 0, "maximum": 100, "description": "A stable share of the values." },
            "salt": { "type": ["string", "number"], "description": "Names the cohort of `percent`." },
        }),
    );
    full["minProperties"] = 1.into();
    full["dependentRequired"] = json!({ "salt": ["percent"] });
    json!({ "description": "A value (exactly this), `present`, `absent`, or a mapping of tests.", "anyOf": [text, full] })
}
