//! What probes and scrapers ask: no token, nothing of the API proper.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::auth::Access;
use super::call::Call;
use super::operation::{self, Answer, Content, Operation, run};
use super::{Server, openapi};
use crate::clock;
use crate::live::Paused;

/// The longest time that a stored revision may take to go live.
const LAG: Duration = Duration::from_secs(5);
/// The most things that cannot be used and are named in the answer of `/ready`.
const MOST_NAMED: usize = 20;
const TEXT: Content = Content::Text("text/plain");

/// Of health, metrics and the description of the API.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/live", "live", "Whether the process answers.", run!(live)).access(Access::Open).answers(TEXT),
        Operation::get(
            "/ready",
            "ready",
            "Whether new traffic is welcome; 503 while draining, and while what is stored is not live.",
            run!(ready),
        )
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
    let server = &call.server;
    let not_ready = unready(server);
    let mut told = match &not_ready {
        Some(why) if why.is_empty() => "not ready\n".to_owned(),
        Some(why) => format!("not ready\n{why}\n"),
        None => "ready\n".to_owned(),
    };
    // Whatever cannot be used takes down itself alone, so it shows here and changes no code.
    let unusable = server.live.unusable();
    match unusable.values().map(|things| things.len()).sum() {
        0 => {}
        1 => told.push_str("1 thing cannot be used: see /v1/status\n"),
        many => told.push_str(&format!("{many} things cannot be used: see /v1/status\n")),
    }
    let named = unusable.iter().flat_map(|(kind, things)| things.iter().map(move |thing| (kind, &thing.name)));
    for (kind, name) in named.take(MOST_NAMED) {
        told.push_str(&format!("- {kind} {}\n", name.escape_debug()));
    }
    if let Some(Paused { reason, .. }) = server.live.paused() {
        told.push_str(&format!("changes are paused: {reason}\n"));
    }
    let status = if not_ready.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok((status, told).into_response())
}

/// Why new traffic is not welcome, in a sentence that may be empty; `None` if it is.
fn unready(server: &Server) -> Option<String> {
    if !server.ready.load(Ordering::Acquire) {
        return Some(String::new());
    }
    let behind = server.live.behind();
    if server.live.load().revision == 0 && behind.is_some() {
        return Some("nothing of what is stored is live".to_owned());
    }
    let (revision, since) = behind?;
    let behind = clock::now().saturating_duration_since(since);
    (behind >= LAG).then(|| format!("revision {revision} is stored, and not live after {} s", behind.as_secs()))
}

async fn metrics(call: Call) -> Answer {
    call.server.live.load().count_healthy();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, call.server.metrics.render()).into_response())
}

async fn document(_: Call) -> Answer {
    Ok(Json(openapi::document(&operation::all())).into_response())
}
