//! What probes and scrapers ask: no token, nothing of the API proper.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::auth::Access;
use super::call::Call;
use super::openapi;
use super::operation::{self, Answer, Content, Operation, run};

const TEXT: Content = Content::Text("text/plain");

/// Of health, metrics and the description of the API.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/live", "live", "Whether the process answers.", run!(live)).access(Access::Open).answers(TEXT),
        Operation::get("/ready", "ready", "Whether new traffic is welcome; 503 while draining.", run!(ready))
            .access(Access::Open)
            .statuses(&[200, 503])
            .answers(TEXT),
        Operation::get("/metrics", "metrics", "Metrics in Prometheus's text format.", run!(metrics))
            .takes_long()
            .access(Access::Open)
            .answers(TEXT),
        Operation::get("/v1/openapi.json", "openapi", "This document.", run!(document))
            .takes_long()
            .access(Access::Open)
            .answers(Content::Form("document")),
    ]
}

async fn live(_: Call) -> Answer {
    Ok("live\n".into_response())
}

async fn ready(call: Call) -> Answer {
    Ok(if call.server.ready.load(Ordering::Acquire) {
        // Whatever cannot be used takes down itself alone, so it shows here and changes no code.
        match call.server.live.unusable().values().map(|things| things.len()).sum() {
            0 => "ready\n".into_response(),
            1 => "ready\n1 thing cannot be used: see /v1/status\n".into_response(),
            many => format!("ready\n{many} things cannot be used: see /v1/status\n").into_response(),
        }
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    })
}

async fn metrics(call: Call) -> Answer {
    call.server.live.load().count_healthy();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, call.server.metrics.render()).into_response())
}

async fn document(_: Call) -> Answer {
    Ok(Json(openapi::document(&operation::all())).into_response())
}
