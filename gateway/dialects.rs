//! Dialects: the clouds' own clients, unmodified, manage and invoke functions here.
//!
//! A dialect is a translation: each operation is one command to, or one read of, the control plane. Bodies are translated in
//! `config::dialect`; here are the listener, signatures, and what they lead to. Everything runs on a thread of its own.
//!
//! - [`signature`], `keys`: who signed a request
//! - `received`: one request, from its head to its body, and which dialect it is of
//! - `plane`: reads and commands, as all dialects need them
//! - `lambda`, `scf`: AWS Lambda and Tencent SCF
//! - `others`: dialects and operations that are told that they are not served
//! - `invoke`: an event on its way to an endpoint

mod invoke;
mod keys;
mod lambda;
mod others;
mod plane;
mod received;
mod scf;
mod signature;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use config::model::Dialects;
use tokio::sync::Semaphore;

use crate::admin::{Attempts, Connections, Listener};
use crate::control::{Control, Environment};
use crate::policy::exchange::Worker;
use keys::KeyRing;
use plane::Plane;

/// Invocations at a time.
const INVOCATIONS: u32 = 256;
/// Other requests at a time.
const REQUESTS: usize = 64;

/// What the dialects stand on.
pub struct DialectGround {
    /// Who changes things.
    pub control: Control,
    /// For `${NAME}` in drafts that are there.
    pub environment: Environment,
    /// By which invocations are resolved, counted and written down.
    pub worker: Worker,
    /// Failed attempts to get in, shared with the admin API.
    pub attempts: Arc<Attempts>,
    /// True if clients speak TLS to the listener.
    pub is_tls: bool,
    /// The account of ARNs.
    pub account: String,
    /// Whose requests are answered.
    pub keys: Keys,
    /// The name of the store, so that revisions of another one have other ids.
    pub store: String,
    /// The places of invocations.
    pub invocations: Invocations,
}

/// The places of invocations: the stop of the gateway waits until all of them are free.
#[derive(Clone)]
pub struct Invocations(Arc<Semaphore>);

impl Default for Invocations {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(INVOCATIONS as usize)))
    }
}

impl Invocations {
    /// Returns once none is under way. Meanwhile none begins.
    pub async fn none(&self) {
        // Nobody closes it.
        let _ = self.0.acquire_many(INVOCATIONS).await;
    }
}

/// The access keys, their secrets read as far as they can be.
pub struct Keys(Arc<KeyRing>);

/// Reads the secrets of the settings' keys; `whole` makes whole paths of relative ones. Blocks on files, within a time.
#[must_use]
pub fn keys(settings: &Dialects, whole: impl Fn(&Path) -> PathBuf) -> Keys {
    Keys(KeyRing::new(&settings.keys, whole))
}

/// What every request works with.
struct Desk {
    plane: Plane,
    worker: Worker,
    ring: Arc<KeyRing>,
    attempts: Arc<Attempts>,
    is_tls: bool,
    invocations: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    trust: invoke::Trusted,
}

/// Answers on `listener` until the runtime ends.
pub async fn serve(listener: Listener, ground: DialectGround) {
    let connections = Connections::new(listener.room);
    let Invocations(invocations) = ground.invocations.clone();
    let DialectGround { control, environment, worker, attempts, is_tls, account, keys: Keys(ring), store, .. } = ground;
    tokio::spawn(Arc::clone(&ring).follow(Arc::clone(&worker.live), Arc::clone(&worker.metrics)));
    let plane = Plane::new(control, Arc::clone(&worker.live), environment, account, store);
    let desk = Arc::new(Desk {
        plane,
        worker,
        ring,
        attempts,
        is_tls,
        invocations,
        requests: Arc::new(Semaphore::new(REQUESTS)),
        trust: invoke::Trusted::default(),
    });
    let router = Router::new().fallback(answer).with_state(desk);
    listener.serve(router, connections).await;
}

async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let mut response = received::answered(desk, request).await;
    // Bodies hold what was asked for by a signed request.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
