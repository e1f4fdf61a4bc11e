//! The listener of dialects: a thread of its own, off those that serve requests and off the control plane.

use std::pin::Pin;
use std::sync::Arc;

use config::model::{AdminListener, Process};
use tokio::runtime::Runtime;

use super::{Failure, Started, door, store_path, workers};
use crate::admin::Attempts;
use crate::control::file::FileAtStart;
use crate::dialects::{self, DialectGround, Invocations};
use crate::policy::exchange::Worker;

/// An open listener.
pub(super) struct Opened {
    /// What answers on it runs here.
    pub(super) threads: Runtime,
    pub(super) serving: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The line about it.
    pub(super) announcement: String,
    /// What the stop waits for.
    pub(super) invocations: Invocations,
}

/// Opens the listener, if the settings have one.
///
/// # Errors
/// When its socket cannot be opened, or its certificate cannot be used.
pub(super) fn open(
    started: &Started,
    file: &FileAtStart,
    process: &Process,
    attempts: &Arc<Attempts>,
) -> Result<Option<Opened>, Failure> {
    let Some(settings) = &process.dialects else { return Ok(None) };
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("weir-dialects")
        .enable_all()
        .build()?;
    let folder = file.folder();
    let listener = {
        let _context = threads.enter();
        door::open(&folder.admin(&settings.listener))?.with_room_for(started.dialects_room)
    };
    let announcement = format!("weir: dialects on {}\n", listener.name()?);
    let url = listener.url()?;
    let port = url.as_deref().and_then(|url| url.rsplit(':').next()?.parse().ok()).unwrap_or_default();
    let store = match &started.about.store {
        Some(_) => store_path(process).display().to_string(),
        None => started.about.id.clone(),
    };
    let worker = Worker {
        live: Arc::clone(&started.live),
        metrics: Arc::clone(&started.metrics),
        access: started.access.clone(),
        limits: started.edge.limits.clone(),
        https_port: 443,
        ports: [port].into(),
        number: workers::count(process),
    };
    let invocations = Invocations::default();
    let ground = DialectGround {
        control: started.control.clone(),
        environment: Arc::clone(&started.environment),
        worker,
        attempts: Arc::clone(attempts),
        is_tls: matches!(&settings.listener, AdminListener::Tcp { tls: Some(_), .. }),
        account: settings.account.clone(),
        keys: dialects::keys(settings, |path| folder.file(path)),
        store,
        invocations: invocations.clone(),
    };
    Ok(Some(Opened { threads, serving: Box::pin(dialects::serve(listener, ground)), announcement, invocations }))
}
