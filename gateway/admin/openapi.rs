//! The OpenAPI 3.1 document, made from the table of operations and the JSON Schema of the file.

mod schemas;

use schemas::reference;
use serde_json::{Map, Value, json};

use super::auth::{Access, WHY};
use super::call::REVISION;
use super::error::CODES;
use super::operation::{Body, Content, Operation, PARAMETERS, Verb};

/// The document.
pub(super) fn document(operations: &[Operation]) -> Value {
    let mut paths = Map::<String, Value>::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.verb.as_str()] = described(operation);
        let names = named(operation.path);
        if !names.is_empty() {
            path["parameters"] = names.into();
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Weir",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "What can be asked of a gateway and told to it. Bodies are JSON or YAML in the shapes of the \
                configuration file; answers are JSON in full form. A resource's revision is the store's revision of its \
                last change. On this machine reads need no token.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "responses": { "error": {
                "description": "Why not.",
                "content": { "application/json": { "schema": reference("error") } },
            } },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut value = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": responses(operation),
        "security": match operation.access {
            Access::Open => json!([]),
            Access::Read => json!([{}, { "token": ["viewer"] }]),
            Access::Role(role) => json!([{ "token": [role] }]),
        },
    });
    let parameters = parameters(operation);
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    if let Some(body) = &operation.body {
        value["requestBody"] = taken(body);
    }
    value
}

/// Parameters of the path.
fn named(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let schema = |name: &str| match name {
        "version" => json!({ "type": "integer", "minimum": 1 }),
        _ => json!({ "type": "string" }),
    };
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema(name) })).collect()
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let known = PARAMETERS.iter().filter(|(name, ..)| operation.query.contains(name));
    let mut parameters: Vec<Value> = known
        .map(|(name, kind, meaning)| {
            json!({ "name": name, "in": "query", "description": meaning, "schema": { "type": kind } })
        })
        .collect();
    let mut header = |name: &str, meaning: &str| {
        parameters
            .push(json!({ "name": name, "in": "header", "description": meaning, "schema": { "type": "string" } }));
    };
    if operation.guarded {
        header("If-Match", "A revision in quotes, or `*`: only if the resource is at it, else 412.");
        header("If-None-Match", "`*`: only if the resource does not exist, else 412.");
    }
    if operation.changes() {
        header(WHY.as_str(), "Why, for the journal: percent-encoded UTF-8, at most 500 characters.");
    }
    if operation.id == "followEvents" {
        header("Last-Event-ID", "The last revision that is known.");
    }
    parameters
}

fn taken(body: &Body) -> Value {
    let content = match body.content {
        Content::Nothing => json!({}),
        Content::Form(name) | Content::Page(name) | Content::File(name) => json!({
            "application/json": { "schema": reference(name) },
            "application/yaml": { "schema": reference(name) },
        }),
        Content::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
    };
    json!({ "required": body.required, "description": format!("At most {} MiB.", body.limit >> 20), "content": content })
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for status in operation.statuses {
        let mut response = json!({ "description": reason(*status) });
        if let Some(content) = answered(operation.answer).filter(|_| *status != 204) {
            response["content"] = content;
        }
        let headers = headers(operation);
        if !headers.is_empty() {
            response["headers"] = headers.into();
        }
        responses.insert(status.to_string(), response);
    }
    if operation.query.contains(&"dry_run") {
        tried_out(responses.entry("200").or_insert_with(|| json!({})));
    }
    if operation.is_versioned() {
        // No `default`: a status that is none of these would be a defect.
        for status in ["4XX", "503"] {
            responses.insert(status.into(), json!({ "$ref": "#/components/responses/error" }));
        }
    }
    responses.into()
}

/// A dry run answers 200, whatever the change itself answers.
fn tried_out(response: &mut Value) {
    let schema = response["content"]["application/json"]["schema"].take();
    let (schema, description) = match schema {
        Value::Null => (reference("changes"), "With `dry_run`: what would change."),
        schema => (json!({ "anyOf": [schema, reference("changes")] }), "Done; or with `dry_run`, what would change."),
    };
    response["description"] = description.into();
    response["content"] = json!({ "application/json": { "schema": schema } });
}

fn answered(answer: Content) -> Option<Value> {
    Some(match answer {
        Content::Nothing => return None,
        Content::Form(name) => json!({ "application/json": { "schema": reference(name) } }),
        Content::Page(name) => json!({ "application/json": { "schema": page(name) } }),
        Content::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
        Content::File(name) => json!({
            "application/yaml": { "schema": reference(name) },
            "application/json": { "schema": reference(name) },
        }),
    })
}

fn headers(operation: &Operation) -> Map<String, Value> {
    let mut headers = Map::new();
    if operation.is_versioned() {
        let meaning = "The store's revision that is live on this node.";
        headers.insert(REVISION.as_str().into(), json!({ "description": meaning, "schema": { "type": "integer" } }));
    }
    if matches!(operation.answer, Content::Form(name) if name.ends_with("Resource")) {
        let meaning = "The resource's revision in quotes.";
        headers.insert("ETag".into(), json!({ "description": meaning, "schema": { "type": "string" } }));
    }
    headers
}

fn reason(status: u16) -> &'static str {
    match status {
        201 => "Created.",
        202 => "Begun.",
        204 => "Gone.",
        503 => "Not now.",
        _ => "Done.",
    }
}

fn page(of: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": { "type": "array", "items": reference(of) },
            "next": { "type": ["string", "integer", "null"], "description": "Where the next page goes on." },
        },
    })
}

/// The codes of errors.
fn codes() -> Vec<&'static str> {
    CODES.iter().map(|(_, code)| *code).collect()
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

#[cfg(test)]
mod tests;
