//! Stages, domains, routes, direct hosts, overrides.

use serde_json::{Map, Value, json};

use crate::text::schema::{boolean, choice, described, integer, object};

pub(super) fn definitions(definitions: &mut Map<String, Value>) {
    let mut put = |name: &str, schema: Value| definitions.insert(name.to_owned(), schema);
    put("stage", stage());
    put("domain", domain());
    put("route", route());
    put(
        "destination",
        json!({
            "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}(:([A-Za-z][A-Za-z0-9_-]{0,63}|[1-9][0-9]{0,9}|\\$LATEST|\\$DEFAULT))?$",
            "description": "`function`, `function:alias`, `function:2` or `function:$LATEST`.", "examples": ["shop:prod"]
        }),
    );
    let base = object(
        &["host"],
        json!({
            "host": { "$ref": "#/$defs/host" },
            "public": boolean("Whether everybody may use direct hosts; default false."),
        }),
    );
    put(
        "baseDomain",
        json!({
            "description": "Direct hosts: <qualifier>--<function>.<host>.", "anyOf": [{ "$ref": "#/$defs/host" }, base]
        }),
    );
    let mut overrides = object(
        &[],
        json!({
            "from": { "$ref": "#/$defs/networks", "description": "Client networks." },
            "tokens": { "type": "array", "items": { "type": "string" }, "description": "Secrets of at least 16 characters; keep them in the environment: \"${NAME}\"." },
        }),
    );
    overrides["minProperties"] = 1.into();
    put("override", described("Who may choose a version by the header x-weir-qualifier.", overrides));
}

fn stage() -> Value {
    let alias = json!({ "type": "string", "minLength": 1, "pattern": "^(\\$DEFAULT|[A-Za-z][A-Za-z0-9_-]{0,63}|.*\\$\\{.*\\}.*)$" });
    let full = object(
        &["alias"],
        json!({
            "alias": described("The alias of every function that `functions` does not name.", alias.clone()),
            "functions": { "description": "Exceptions by function.", "type": "object", "propertyNames": { "$ref": "#/$defs/name" }, "additionalProperties": alias },
            "variables": {
                "description": "For ${stageVariables.NAME}; not for secrets.", "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$" }, "additionalProperties": { "type": ["string", "number", "boolean"], "pattern": "^[ -~]*$" }
            },
        }),
    );
    json!({ "description": "An alias, or the full form.", "anyOf": [alias, full] })
}

fn domain() -> Value {
    let mut full = object(
        &["routes"],
        json!({
            "certificate": { "$ref": "#/$defs/certificate", "description": "The TLS certificate of this host." },
            "stage": { "$ref": "#/$defs/name", "description": "The stage of every request here." },
            "stage_from": choice(&["path"], "The stage is the first path segment, removed before routes match."),
            "routes": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/route" } },
            "version_header": boolean("Whether answers carry x-weir-version; default true."),
            "https": https(),
        }),
    );
    full["not"] = json!({ "required": ["stage", "stage_from"] });
    json!({ "description": "A function such as `shop:prod`, or the full form.", "anyOf": [{ "$ref": "#/$defs/destination" }, full] })
}

fn https() -> Value {
    let mut full = object(
        &["redirect"],
        json!({
            "redirect": boolean("Whether plain requests are redirected."),
            "port": integer(1, u16::MAX.into(), "The port of the redirect; default that of the first TLS listener, else 443."),
        }),
    );
    full["if"] = json!({ "properties": { "redirect": { "enum": [false, "false"] } } });
    full["then"] = json!({ "not": { "required": ["port"] } });
    json!({
        "description": "`redirect` sends requests that do not come by https there (308); default optional.",
        "anyOf": [{ "enum": ["redirect", "optional"] }, full]
    })
}

fn route() -> Value {
    let regex = object(&["regex", "to"], json!({ "regex": { "type": "string" }, "to": { "type": "string" } }));
    object(
        &["path", "to"],
        json!({
            "path": { "type": "string", "pattern": "^/[^?#\\s]*$", "description": "`/exact`, `/prefix/*`, `/users/{id}`; the most specific wins." },
            "methods": { "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string", "pattern": "^(?!TRACE$|CONNECT$)[A-Z-]{1,32}$" }, "description": "Default all. GET takes HEAD too." },
            "to": { "$ref": "#/$defs/destination" },
            "stage": { "$ref": "#/$defs/name", "description": "Wins over the domain's stage." },
            "rewrite": { "description": "How the path changes: `/app/*` puts what `*` took.", "anyOf": [{ "type": "string", "pattern": "^/" }, regex] },
        }),
    )
}
