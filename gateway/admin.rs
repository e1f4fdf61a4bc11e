//! The admin listener: health, metrics, the live configuration, and why a request goes where it goes.
//!
//! Runs on the control plane's threads, never on a data-path worker's, and reads snapshots only.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use config::explain::explain;
use config::head::RequestHead;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::live::Live;
use crate::metrics::Metrics;

/// What the admin listener can see.
#[derive(Clone)]
pub struct Admin {
    /// The live snapshot.
    pub live: Arc<Live>,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Whether new traffic is welcome: false before the first snapshot and while draining.
    pub ready: Arc<AtomicBool>,
}

/// Every path of the admin listener.
fn router(admin: Admin) -> Router {
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/config", get(live_config))
        .route("/v1/explain", post(explain_request))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "NotFound", "no such path on the admin listener") })
        .with_state(admin)
}

/// Answers on `listener` until the runtime ends.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    axum::serve(listener, router(admin)).await
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.live.load().count_healthy();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render()).into_response()
}

/// The live configuration as a file; environment variables stay `${NAME}`.
async fn live_config(State(admin): State<Admin>) -> Response {
    let snapshot = admin.live.load_full();
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/yaml".to_owned()),
        ("x-weir-revision", snapshot.revision.to_string()),
    ];
    (headers, config::format::format(snapshot.table.config())).into_response()
}

/// A request to explain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainRequest {
    host: String,
    #[serde(default = "root")]
    path: String,
    #[serde(default = "get_method")]
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default = "localhost")]
    client: IpAddr,
}

fn root() -> String {
    "/".into()
}

fn get_method() -> String {
    "GET".into()
}

fn localhost() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

async fn explain_request(State(admin): State<Admin>, request: Result<Json<ExplainRequest>, JsonRejection>) -> Response {
    let Json(request) = match request {
        Ok(request) => request,
        Err(rejection) => return error(rejection.status(), "InvalidRequest", &rejection.body_text()),
    };
    let snapshot = admin.live.load_full();
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*request.path, None),
    };
    let head = RequestHead {
        method: &request.method,
        host: &request.host,
        path,
        query,
        headers: &*request.headers,
        client: request.client,
    };
    let explanation = explain(&snapshot.table, &head, &mut snapshot.peek());
    let mut answer = explanation.json();
    answer["revision"] = json!(snapshot.revision);
    Json(answer).into_response()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"code": code, "message": message, "problems": []}))).into_response()
}
