//! The document as a user's tools see it.

use std::collections::BTreeSet;

use super::*;
use crate::admin::operation;

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/openapi.json");
    let document = format!("{:#}\n", document(&operation::all()));
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(golden == document, "{path} is another; UPDATE_EXPECTED=1 writes it anew: read the difference");
}

#[test]
fn every_reference_leads_somewhere_and_every_id_is_its_own() {
    let document = document(&operation::all());
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(to) = map.get("$ref").and_then(Value::as_str) {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    let operations = operation::all();
    let ids: BTreeSet<&str> = operations.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), operations.len());
    let known: BTreeSet<&str> = PARAMETERS.iter().map(|(name, ..)| *name).collect();
    assert!(operations.iter().flat_map(|operation| &operation.query).all(|name| known.contains(name)));
}
