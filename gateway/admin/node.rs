//! This process among others.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::call::Call;
use super::operation::{Answer, Content, Operation, Verb, run};
use super::rfc3339;

/// Of nodes.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/nodes", "listNodes", "The nodes of this store.", run!(list))
            .answers(Content::Form("nodes")),
        Operation::act(Verb::Post, "/v1/drain", "drain", "Stops this node as SIGTERM does.", run!(drain))
            .statuses(&[202]),
    ]
}

async fn list(call: Call) -> Answer {
    let server = &call.server;
    let node = json!({
        "id": server.about.id,
        "version": env!("CARGO_PKG_VERSION"),
        "started": rfc3339(server.about.started),
        "revision": server.live.load().revision,
        "ready": server.ready.load(Ordering::Acquire),
        "this": true,
    });
    Ok(Json(json!({ "items": [node] })).into_response())
}

async fn drain(call: Call) -> Answer {
    tracing::info!(who = call.author.who, "asked to drain");
    call.server.drain.notify_one();
    Ok(StatusCode::ACCEPTED.into_response())
}
