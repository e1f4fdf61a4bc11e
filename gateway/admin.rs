//! The admin API: health, metrics, and everything that can be asked of a gateway or told to it.
//!
//! Runs on threads of its own, so that neither requests nor the control plane wait for it, nor it for them; reads snapshots, and
//! changes things by asking `control`. What it can do is one table of operations ([`operation`]), from which routes and documentation are made.

mod aliases;
mod asked;
mod attempts;
mod auth;
mod backup;
mod call;
mod configuration;
mod connections;
mod drafts;
mod error;
mod events;
mod explain;
mod form;
mod freeze;
mod functions;
mod health;
mod journal;
mod links;
mod listen;
mod named;
mod node;
mod observed;
mod openapi;
mod operation;
mod patch;
mod receive;
mod rollouts;
mod simulate;
mod status;
mod taken;
#[cfg(test)]
mod tests;
mod tokens;
mod veiled;
mod versions;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Notify, Semaphore, watch};

use crate::control::authority::Authority;
use crate::control::{Control, Environment};
use crate::hook::Hooks;
use crate::live::Live;
use crate::metrics::Metrics;
use auth::Gate;
use call::REVISION;
use error::Failure;
use operation::{Operation, Verb};
use status::Window;
use work::Work;

pub use attempts::Attempts;
pub use auth::Peer;
pub use connections::Connections;
pub use listen::Listener;

/// What the admin API sees of the gateway.
pub struct Admin {
    /// The live snapshot.
    pub live: Arc<Live>,
    /// For `/metrics`, and for rates.
    pub metrics: Arc<Metrics>,
    /// Who changes things.
    pub control: Control,
    /// Who waits for answers of hooks.
    pub hooks: Hooks,
    /// For `${NAME}` in what is sent.
    pub environment: Environment,
    /// The names of it that may be used.
    pub authority: Arc<Authority>,
    /// Whether new traffic is welcome: false before the first snapshot and while draining.
    pub ready: Arc<AtomicBool>,
    /// Is notified when somebody asks this node to stop.
    pub drain: Arc<Notify>,
    /// What came of reading the file last.
    pub reload: watch::Receiver<LastReload>,
    /// This process.
    pub about: About,
    /// Failed attempts to get in, here and where clouds' clients are answered.
    pub attempts: Arc<Attempts>,
}

/// What a node says about itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Distinct among the nodes of a store.
    pub id: String,
    /// Since 1970-01-01 UTC.
    pub started: Duration,
    /// File of the store; `None` for one in memory.
    pub store: Option<PathBuf>,
}

/// What came of reading the file last.
#[derive(Debug, Clone)]
pub struct LastReload {
    /// Since 1970-01-01 UTC; `None` before the first time.
    pub time: Option<Duration>,
    /// `none`, `applied`, `unchanged` or `refused`.
    pub result: &'static str,
    /// Why it was refused.
    pub message: Option<String>,
}

impl Default for LastReload {
    fn default() -> Self {
        Self { time: None, result: "none", message: None }
    }
}

/// What every operation works with.
struct Server {
    admin: Admin,
    gate: Gate,
    window: Arc<Window>,
    /// How much is carried out at a time.
    work: Arc<Work>,
    /// Whose turn it is to simulate.
    simulating: Arc<Semaphore>,
}

impl std::ops::Deref for Server {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        &self.admin
    }
}

/// What the braces of a path stand for.
type Names = Result<RawPathParams, RawPathParamsRejection>;

/// Answers on `listener` until the runtime ends.
pub async fn serve(listener: Listener, admin: Admin) {
    let work = Arc::new(Work::new(listener.room));
    let connections = Arc::clone(&work.connections);
    listener.serve(router(admin, work), connections).await;
}

/// Every path of the admin API. Starts the sampler of rates: needs a runtime.
fn router(admin: Admin, work: Arc<Work>) -> Router {
    let gate = Gate::new(admin.control.clone(), Arc::clone(&admin.metrics), Arc::clone(&admin.attempts));
    let window = Arc::new(Window::new());
    tokio::spawn(Window::follow(Arc::downgrade(&window), Arc::clone(&admin.metrics)));
    let server = Arc::new(Server { admin, gate, window, work, simulating: Arc::new(Semaphore::new(1)) });
    let mut router = Router::new();
    for operation in operation::all() {
        let filter = match operation.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Put => MethodFilter::PUT,
            Verb::Patch => MethodFilter::PATCH,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        };
        let (path, operation) = (operation.path, Arc::new(operation));
        let answer = move |State(server): State<Arc<Server>>, names: Names, request: Request| {
            answer(server, Arc::clone(&operation), names, request)
        };
        router = router.route(path, on(filter, answer));
    }
    router
        .method_not_allowed_fallback(|| async {
            Failure::new("MethodNotAllowed", "this path has other methods: see `Allow`")
        })
        .fallback(|| async { Failure::new("NotFound", "no such path on the admin listener") })
        .layer(from_fn_with_state(Arc::clone(&server), names))
        .with_state(server)
}

/// Turns away what comes under a foreign name; what is under `/v1` tells the revision that is live.
async fn names(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let versioned = request.uri().path().starts_with("/v1/");
    let peer = peer(&request);
    let mut response = match server.gate.names(peer, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => return failure.into_response(),
    };
    if versioned && !response.headers().contains_key(REVISION) {
        response.headers_mut().insert(REVISION, HeaderValue::from(server.live.load().revision));
    }
    response
}

async fn answer(server: Arc<Server>, operation: Arc<Operation>, names: Names, request: Request) -> Response {
    let names = match names {
        Ok(names) => names.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        Err(rejection) => return Failure::invalid(rejection.body_text()).into_response(),
    };
    match receive::carried_out(server, &operation, names, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

fn peer(request: &Request) -> Peer {
    *request.extensions().get().expect("the listener tells who is asking")
}

/// A time since 1970-01-01 UTC as RFC 3339.
fn rfc3339(since: Duration) -> Option<String> {
    let seconds = i64::try_from(since.as_secs()).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// The reverse; `None` for what is no time since 1970.
fn since_1970(text: &str) -> Option<Duration> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Duration::try_from(time - OffsetDateTime::UNIX_EPOCH).ok()
}
