//! The JSON Schema (draft 2020-12) of the file, shorthands included: editors complete and check with it.
//!
//! It knows shapes, words and ranges. What only the whole file tells (whether a version exists, whether weights are all
//! 0) is left to [`parse`](crate::text::parse::parse).

use serde_json::{Map, Value, json};

mod function;
mod notifier;
mod plan;
mod ways;

/// The schema of a whole file.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = definitions();
    let mut schema = definitions.remove("config").unwrap_or_default();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$defs"] = definitions.into();
    schema
}

/// The schemas of everything that has a text of its own, and of their parts, by name: `alias`, `aliasPatch`, `version`,
/// `draft`, `function`, `stage`, `domain`, `plan`, `notifier`, `config` and more. They refer to each other by
/// `#/$defs/NAME`.
#[must_use]
pub fn definitions() -> Map<String, Value> {
    let mut definitions = Map::new();
    definitions.insert("config".to_owned(), config());
    scalars(&mut definitions);
    function::definitions(&mut definitions);
    ways::definitions(&mut definitions);
    plan::definitions(&mut definitions);
    notifier::definitions(&mut definitions);
    definitions
}

fn config() -> Value {
    json!({
        "title": "Weir",
        "description": "An edge traffic-splitting gateway: functions with versions and aliases, and the ways in to them.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "listeners": {
                "description": "Where clients come in; default 0.0.0.0:8080. A change needs a restart.",
                "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/listener" }
            },
            "admin": admin(),
            "environment": described(
                "The names of the environment that a configuration may use. A change needs a restart.",
                object(&[], json!({
                    "allow": variables("Those that anybody may use; all unless given."),
                    "operator": variables("Those that an operator may use where the live configuration does not; none unless given."),
                })),
            ),
            "calls": described(
                "The hosts that an operator may name in hooks, notifiers, queries and endpoints. A change needs a restart.",
                object(&["allow"], json!({ "allow": {
                    "description": "Hosts (`ci.example.com`, `*.example.com`) and networks (`10.0.0.0/8`).",
                    "type": "array", "items": { "type": "string", "minLength": 1 }
                } })),
            ),
            "dialects": described(
                "Where the clouds' own clients are answered; absent: nowhere. A change needs a restart.",
                object(&["address", "account", "keys"], json!({
                    "address": { "$ref": "#/$defs/address" },
                    "tls": { "$ref": "#/$defs/certificate", "description": "Its TLS certificate; needed off this machine." },
                    "insecure": boolean("Whether plain text is served off this machine; default false."),
                    "account": { "type": ["string", "integer"], "pattern": "^[0-9]{12}$", "description": "12 digits, in quotes: the account of ARNs." },
                    "keys": { "type": "array", "minItems": 1, "maxItems": 1000, "items": access_key() },
                })),
            ),
            "store": described(
                "Where the live state is kept. A change needs a restart.",
                object(&["path"], json!({ "path": { "type": "string", "minLength": 1, "description": "A file; default weir-state.db." } })),
            ),
            "workers": integer(0, 1024, "Data-path threads; 0 means one per core. A change needs a restart."),
            "lane": choice(&["relay", "pingora"], "The lane that serves requests; default relay. A change needs a restart."),
            "access_log": access_log(),
            "limits": { "$ref": "#/$defs/limits" },
            "journal": described("How much of the journal is kept. A change needs a restart.", object(&[], json!({
                "age": duration("Lines older than this may go; default 90d, at least 1h."),
                "entries": { "type": "integer", "minimum": 1, "description": "Lines beyond so many may go, the oldest first; default 100000." },
                "size": described("Lines beyond so many bytes may go, the oldest first; default 1GiB, at least 1MiB.", json!({ "$ref": "#/$defs/size" })),
                "notify": plan::notify("Who of `notifiers` is told the newest hash of the journal."),
            }))),
            "versions": described("How many versions are kept. A change needs a restart.", object(&[], json!({
                "keep": integer(1, 1_000_000, "When a version is published, older ones of its function go that are not among so many newest ones and that nothing names; default: none."),
            }))),
            "drain": described("How the process stops.", object(&[], json!({
                "delay": duration("How long /ready answers 503 while everything is still served; default 5s."),
                "deadline": duration("How long requests in flight may take after that; default 30s."),
            }))),
            "trusted_proxies": described("Peers whose X-Forwarded-*, Forwarded and X-Request-Id are believed.", json!({ "$ref": "#/$defs/networks" })),
            "default_certificate": described(
                "The TLS certificate for clients that name no host; without one they are refused.",
                object(&["cert", "key"], json!({
                    "cert": { "$ref": "#/$defs/file", "description": "PEM: the chain, leaf first." },
                    "key": { "$ref": "#/$defs/file", "description": "PEM: the private key." },
                    "unknown_names": boolean("Whether clients that name an unknown host get it too; default false."),
                })),
            ),
            "functions": named("Functions by name: each with a draft, versions and aliases.", "#/$defs/name", "#/$defs/function"),
            "next_versions": {
                "description": "Written by weir: where functions that are gone would go on counting.",
                "type": "object", "propertyNames": { "$ref": "#/$defs/name" },
                "additionalProperties": { "type": "integer", "minimum": 1, "maximum": u64::from(u32::MAX) + 1 }
            },
            "stages": named("Named environments: which alias each function has there.", "#/$defs/name", "#/$defs/stage"),
            "domains": {
                "description": "Custom hosts: `shop.example.com` or `*.example.com`.",
                "type": "object", "additionalProperties": { "$ref": "#/$defs/domain" },
                "propertyNames": { "$ref": "#/$defs/hostPattern" }
            },
            "triggers": {
                "description": "Routes that answer on every host that no domain claims.",
                "type": "array", "items": { "$ref": "#/$defs/route" }
            },
            "plans": named("Recipes of releases by name.", "#/$defs/name", "#/$defs/plan"),
            "base_domain": { "$ref": "#/$defs/baseDomain" },
            "override": { "$ref": "#/$defs/override" },
            "notifiers": named("Where the news of a release goes.", "#/$defs/name", "#/$defs/notifier"),
        },
    })
}

fn scalars(definitions: &mut Map<String, Value>) {
    let mut put = |name: &str, schema: Value| definitions.insert(name.to_owned(), schema);
    put(
        "name",
        json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$", "description": "A letter followed by up to 63 letters, digits, `-` or `_`." }),
    );
    put(
        "text",
        json!({ "type": ["string", "number", "boolean"], "description": "A text; quotes are needed only where YAML asks for them." }),
    );
    put(
        "line",
        json!({ "type": ["string", "number", "boolean"], "minLength": 1, "maxLength": 1024, "pattern": "^[^\\x00-\\x1f]*$" }),
    );
    put(
        "versionId",
        json!({
            "description": "A version number, or $LATEST for the draft.",
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": u32::MAX }, { "type": "string", "pattern": "^([1-9][0-9]{0,9}|\\$LATEST)$" }]
        }),
    );
    put(
        "duration",
        json!({ "type": "string", "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$", "examples": ["500ms", "5s", "10m", "1h30m"] }),
    );
    put(
        "interval",
        json!({
            "description": "A duration; a bare number is minutes.",
            "anyOf": [{ "$ref": "#/$defs/duration" }, { "type": "integer", "minimum": 1 }]
        }),
    );
    put(
        "size",
        json!({
            "description": "Bytes, or a unit of 1024.",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)?$" }], "examples": ["32KiB", "1GiB"]
        }),
    );
    put(
        "address",
        json!({ "type": "string", "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$", "examples": ["0.0.0.0:8080", "[::]:8443"] }),
    );
    put(
        "network",
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "examples": ["10.0.0.0/8", "::1"] }),
    );
    put("networks", json!({ "type": "array", "items": { "$ref": "#/$defs/network" } }));
    put("host", json!({ "type": "string", "minLength": 1, "pattern": "^[^\\s/*]+$" }));
    put("hostPattern", json!({ "type": "string", "minLength": 1, "pattern": "^(\\*\\.)?[^\\s/*]+$" }));
    put(
        "header",
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "description": "The name of a header." }),
    );
    put(
        "url",
        json!({ "type": "string", "pattern": "^(https?://.+|.*\\$\\{.*\\}.*)$", "description": "Variables of the environment are put in: \"${NAME}\"." }),
    );
    put("file", json!({ "type": "string", "minLength": 1, "description": "The name of a file." }));
    put(
        "certificate",
        object(
            &["cert", "key"],
            json!({
                "cert": { "$ref": "#/$defs/file", "description": "PEM: the chain, leaf first." },
                "key": { "$ref": "#/$defs/file", "description": "PEM: the private key." },
            }),
        ),
    );
    put(
        "percent",
        json!({ "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 100 }, { "type": "string", "pattern": "^([1-9][0-9]?|100)$" }], "description": "A whole percentage, 1 to 100." }),
    );
    put(
        "listener",
        json!({ "anyOf": [
        { "$ref": "#/$defs/address" },
        object(&["address"], json!({
            "address": { "$ref": "#/$defs/address" },
            "tls": boolean("Whether clients speak TLS; default false."),
            "proxy_protocol": described(
                "Peers that must send a PROXY protocol header.",
                object(&["from"], json!({ "from": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/network" } } })),
            ),
        }))
    ] }),
    );
    let size = |text: &str| described(text, json!({ "$ref": "#/$defs/size" }));
    put(
        "limits",
        described(
            "Bounds on what clients may send. A change needs a restart.",
            object(
                &[],
                json!({
                    "head_bytes": size("A request head, request line included; default 32KiB. Over it: 431."),
                    "headers": integer(1, 1000, "Header fields of a request; default 100. Over it: 431."),
                    "target_bytes": size("The request target; default 8KiB. Over it: 414."),
                    "body_bytes": size("A request body; default 1GiB. Over it: 413."),
                    "connections": integer(1, 100_000_000, "Open client connections; default 100000."),
                    "connections_per_address": integer(1, 100_000_000, "Open client connections of one address, or of one /64 of IPv6; default 10000."),
                    "unread_per_address": integer(1, 100_000_000, "Answers of one address that it has taken nothing of for five seconds; default 1000."),
                    "head_timeout": duration("From the first byte of a head to its last; default 10s."),
                    "idle_timeout": duration("A connection without a request; default 75s."),
                    "body_timeout": duration("The longest time in which a client sends nothing of a request body, or takes nothing of an answer; default 60s."),
                    "min_rate": min_rate(),
                }),
            ),
        ),
    );
}

fn min_rate() -> Value {
    let off = json!({ "const": "off" });
    let rate = |text: &str| json!({ "description": text, "anyOf": [{ "$ref": "#/$defs/size" }, off] });
    let grace = json!({ "$ref": "#/$defs/duration", "description": "How long a client may be slower; default 30s." });
    let sides = object(
        &[],
        json!({
            "upload": rate("Of request bodies; default 256B. Below it: 408."),
            "download": rate("With which answers are taken; default 256B. Below it the answer is cut."),
            "grace": grace,
        }),
    );
    let description = "The least bytes a second of a client, while bytes wait for it; not for tunnels and streams.";
    json!({ "description": description, "anyOf": [off, sides] })
}

fn variables(text: &str) -> Value {
    json!({ "description": text, "type": "array", "items": { "type": "string", "pattern": "^[A-Za-z0-9_]*\\*?[A-Za-z0-9_]*$", "minLength": 1 } })
}

fn admin() -> Value {
    let url = json!({ "type": "string", "pattern": "^https?://[^?#@]+$", "description": "The address as people and hooks reach it, for links; that of the listener unless given." });
    let tcp = object(
        &["address"],
        json!({
            "address": { "$ref": "#/$defs/address" },
            "tls": { "$ref": "#/$defs/certificate", "description": "Its TLS certificate; needed off this machine." },
            "insecure": boolean("Whether plain text is served off this machine; default false."),
            "url": url,
        }),
    );
    let socket = object(
        &["socket"],
        json!({
            "socket": { "$ref": "#/$defs/file", "description": "A Unix socket, for the user of the process alone." },
            "url": url,
        }),
    );
    let description = "Where the admin API listens; default 127.0.0.1:9900. A change needs a restart.";
    json!({ "description": description, "anyOf": [{ "$ref": "#/$defs/address" }, tcp, socket] })
}

fn access_key() -> Value {
    let mut key = object(
        &["id", "role"],
        json!({
            "id": { "type": "string", "pattern": "^[A-Za-z0-9_-]{4,128}$", "description": "The id that clients sign with." },
            "secret": { "type": "string", "pattern": "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$", "description": "The name of the environment that holds it." },
            "secret_file": { "$ref": "#/$defs/file", "description": "A file of mode 0600 that holds it; read again when it changes." },
            "role": choice(&["viewer", "invoker", "operator"], "What the key may do: read, invoke, or both and change."),
        }),
    );
    key["oneOf"] = json!([{ "required": ["secret"] }, { "required": ["secret_file"] }]);
    key
}

fn access_log() -> Value {
    let to =
        json!({ "type": "string", "minLength": 1, "description": "`stdout` (default), `off`, or the name of a file." });
    let full = object(
        &[],
        json!({ "to": to, "redact_query": boolean("Whether values of query parameters are hidden; default false.") }),
    );
    json!({ "description": "One line for each request. A change needs a restart.", "anyOf": [to, full] })
}

/// An object with these keys and no others.
fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

/// An object of which exactly one key is given.
fn one_key(mut schema: Value) -> Value {
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

/// An object whose keys are names of the user's.
fn named(description: &str, names: &str, values: &str) -> Value {
    json!({ "description": description, "type": "object", "propertyNames": { "$ref": names }, "additionalProperties": { "$ref": values } })
}

fn described(description: &str, mut schema: Value) -> Value {
    schema["description"] = description.into();
    schema
}

fn boolean(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn integer(first: u64, last: u64, description: &str) -> Value {
    json!({ "type": "integer", "minimum": first, "maximum": last, "description": description })
}

fn duration(description: &str) -> Value {
    json!({ "$ref": "#/$defs/duration", "description": description })
}

fn choice(words: &[&str], description: &str) -> Value {
    json!({ "enum": words, "description": description })
}

#[cfg(test)]
mod tests;
