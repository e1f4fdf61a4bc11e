//! The composition root: the only module that sees everyone. Builds, announces, runs, drains.

pub mod demo;
mod drain;
mod observe;
mod workers;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::model::Process;
use config::resolve::Unresolved;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use crate::admin::{self, Admin};
use crate::cli::Exit;
use crate::control::file::{ConfigFile, Reload};
use crate::control::publish::{self, Publisher};
use crate::control::{Control, Environment, Refused, certificates};
use crate::edge::tls::LiveCertificates;
use crate::edge::{Edge, Refusal};
use crate::live::Live;
use crate::log::{AccessLog, AccessThread};
use crate::metrics::{Labels, Metrics};
use crate::store::Store;
use crate::store::memory::Memory;
use crate::upstreams::Upstreams;
use observe::Told;

/// `weir serve`: runs in the foreground until it is told to stop.
#[must_use]
pub fn run(path: &Path) -> Exit {
    run_with(path, |_| Ok(()))
}

/// What `${NAME}` means to this process.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// As [`run`]; `before` is called on the control plane's runtime when the configuration is live and no socket is open.
fn run_with(path: &Path, before: impl FnOnce(&Started) -> io::Result<()>) -> Exit {
    let environment: Environment = Arc::new(environment);
    let (text, config) = match ConfigFile::read(path, &environment) {
        Ok(read) => read,
        Err(report) => {
            eprint!("{report}");
            return Exit::Invalid;
        }
    };
    let process = Arc::clone(&config.process);
    let control_threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("weir-control").enable_all().build();
    let outcome = control_threads.map_err(Failure::from).and_then(|runtime| {
        let _context = runtime.enter();
        let (started, access) = Started::new(&runtime, &process, environment)?;
        runtime.block_on(started.control.apply_file(config))?;
        before(&started)?;
        started.run(&runtime, path, text, &process)?;
        if let Some(access) = access {
            access.finish();
        }
        Ok(())
    });
    match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            eprintln!("weir: {failure}");
            failure.exit()
        }
    }
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("cannot listen on {address} for the admin API: {error}")]
    Admin { address: SocketAddr, error: io::Error },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the configuration cannot be served:\n{0}")]
    Refused(#[from] Refused),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Io(_) | Self::Admin { .. } | Self::Tls(_) => Exit::Failed,
            Self::Refused(_) => Exit::Invalid,
        }
    }
}

/// Everything that stands before the first socket opens.
struct Started {
    live: Arc<Live>,
    control: Control,
    environment: Environment,
    metrics: Arc<Metrics>,
    certificates: Arc<LiveCertificates>,
    access: AccessLog,
    edge: Arc<Edge>,
}

impl Started {
    fn new(
        runtime: &Runtime,
        process: &Process,
        environment: Environment,
    ) -> Result<(Self, Option<AccessThread>), Failure> {
        let live = Arc::new(Live::default());
        let listeners: Vec<String> = process.listeners.iter().map(|listener| listener.address.to_string()).collect();
        let refusals = Refusal::ALL.map(Refusal::as_str);
        let metrics = Arc::new(Metrics::new(&Labels {
            listeners: &listeners,
            refused: &refusals,
            unresolved: &Unresolved::LABELS,
            handshakes: &refusals,
        }));
        let (access, thread) = AccessLog::open(&process.access_log, metrics.lines_dropped.clone())?;
        let certificates = Arc::new(LiveCertificates::default());
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let publisher = Publisher {
            live: Arc::clone(&live),
            certificates: Arc::clone(&certificates),
            upstreams: Upstreams::new(runtime.handle().clone(), Arc::new(Told(Arc::clone(&metrics)))),
            metrics: Arc::clone(&metrics),
            environment: Arc::clone(&environment),
        };
        publish::start(Arc::clone(&store), publisher)?;
        let control = Control::start(store, live.progress(), Arc::clone(&environment));
        let edge = Arc::new(Edge::new(process.limits.clone(), Arc::new(Told(Arc::clone(&metrics)))));
        Ok((Self { live, control, environment, metrics, certificates, access, edge }, thread))
    }

    /// Opens the sockets, says so, and serves until it is told to stop.
    fn run(self, runtime: &Runtime, path: &Path, text: String, process: &Arc<Process>) -> Result<(), Failure> {
        let stop = watch::Sender::new(false);
        let doors = workers::open(&self, process)?;
        let admin = std::net::TcpListener::bind(process.admin)
            .map_err(|error| Failure::Admin { address: process.admin, error })?;
        admin.set_nonblocking(true)?;
        let announcement = format!("{}weir: admin on {}\n", doors.announcement(), admin.local_addr()?);
        let ready = Arc::new(AtomicBool::new(true));
        workers::start(&self, doors, &stop)?;
        let seen =
            Admin { live: Arc::clone(&self.live), metrics: Arc::clone(&self.metrics), ready: Arc::clone(&ready) };
        let admin = TcpListener::from_std(admin)?;
        runtime.spawn(async {
            if let Err(error) = admin::serve(admin, seen).await {
                tracing::error!("the admin listener failed: {error}");
            }
        });
        let (live, certificates) = (Arc::clone(&self.live), Arc::clone(&self.certificates));
        runtime.spawn(certificates::follow(live, certificates, Arc::clone(&self.metrics)));
        let reload = Arc::new(Notify::new());
        let metrics = Arc::clone(&self.metrics);
        let file = ConfigFile::new(
            path,
            self.control.clone(),
            Arc::clone(&self.environment),
            (text, Arc::clone(process)),
            Box::new(move |reload| report(reload, &metrics)),
        );
        runtime.spawn(file.follow(Arc::clone(&reload)));
        runtime.block_on(async {
            let mut signals = drain::Signals::new()?;
            print!("{announcement}");
            io::stdout().flush()?;
            signals.until_stop(&reload).await;
            ready.store(false, Ordering::Release);
            signals.drain(&process.drain, &self.edge.load, &stop).await;
            Ok(())
        })
    }
}

fn report(reload: &Reload, metrics: &Metrics) {
    match reload {
        Reload::Unchanged => tracing::info!("the configuration file says what it said before"),
        Reload::Applied { revision } => tracing::info!(revision, "the configuration file is live"),
        Reload::Refused { report } => {
            metrics.reload_refused();
            tracing::error!("the configuration file was refused; the old configuration serves on\n{report}");
        }
    }
}
