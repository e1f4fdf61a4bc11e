//! The composition root: the only module that sees everyone. Builds, announces, runs, drains.
//!
//! - `descriptors`: the limit of open files, and its shares
//! - `signals`: signals of operators, on a thread of their own
//! - `token`: the first token of the admin API
//! - `door`: the sockets and the certificates of the admin API and of dialects
//! - `dialects`: the listener of the clouds' own clients
//! - `workers`: the threads of the data path
//! - `observe`: events of other modules, joined to metrics and the log
//! - `drain`: the order in which a gateway stops
//! - `closing`: the end of the process
//! - [`demo`]: `weir demo`
//! - `import`: `weir import`

mod closing;
pub mod demo;
mod descriptors;
mod dialects;
mod door;
mod drain;
mod import;
mod observe;
mod signals;
mod token;
mod workers;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::model::{Config, Process};
use config::route::resolve::Unresolved;
use config::text::problem::Problem;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use crate::admin::{About, Admin, Attempts, LastReload};
use crate::cli::Exit;
use crate::clock;
use crate::control::aside::Aside;
use crate::control::authority::Authority;
use crate::control::backup::ImportError;
use crate::control::conduct::Calls;
use crate::control::file::{Applied, ConfigFile, FileAtStart, Reload, Report};
use crate::control::leading::Lease;
use crate::control::named_files::Folder;
use crate::control::{Control, Environment, Ground, Refused, named_files};
use crate::dial::Dial;
use crate::edge::tls::{CertificateProblem, LiveCertificates};
use crate::edge::{Edge, Refusal};
use crate::files;
use crate::live::Live;
use crate::log::{AccessLog, AccessThread, Diagnostics, Outlet};
use crate::metrics::{Labels, Metrics};
use crate::outcomes::Wake;
use crate::proxy::LaneChecker;
use crate::store::embedded::Embedded;
use crate::store::memory::Memory;
use crate::store::{Store, StoreError};
use crate::upstreams::Upstreams;
use closing::Open;
use descriptors::{Share, TooFewDescriptors};
use drain::Stopping;
use observe::{EdgeObserver, UpstreamObserver};
use signals::Signals;

pub use import::import;

/// Where the live state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In the store that the file names.
    Stored,
    /// In memory: it ends with the process.
    Ephemeral,
}

/// `weir serve`: runs in the foreground until it is told to stop.
#[must_use]
pub fn run(path: &Path, keep: Keep, diagnostics: &Diagnostics) -> Exit {
    run_with(path, keep, diagnostics, |_| Ok(String::new()))
}

/// What `${NAME}` means to this process.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The problems of the files that the configuration of this file names, as far as they can be seen from here.
#[must_use]
pub(crate) fn unusable_files(config: &Config, file: &Path) -> Vec<Problem> {
    named_files::check(config, &Folder::of(file))
}

/// Does what [`run`] does; `before` is called on the control plane's runtime when the configuration is live and no
/// socket is open, and returns what is announced before the listeners.
fn run_with(
    path: &Path,
    keep: Keep,
    diagnostics: &Diagnostics,
    before: impl FnOnce(&Started) -> io::Result<String>,
) -> Exit {
    let mut open = Open::default();
    let outcome = serve(path, keep, diagnostics, before, &mut open);
    // Before it is said why: after an error nothing of the gateway may be left that could be asked.
    open.close();
    match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            diagnostics.say(&failure.report());
            failure.exit()
        }
    }
}

fn serve(
    path: &Path,
    keep: Keep,
    diagnostics: &Diagnostics,
    before: impl FnOnce(&Started) -> io::Result<String>,
    open: &mut Open,
) -> Result<(), Failure> {
    let signals = Signals::start(diagnostics)?;
    let open_files = descriptors::raise();
    let environment: Environment = Arc::new(environment);
    let file = FileAtStart::read(path, &environment).map_err(Failure::File)?;
    let process = Arc::clone(&file.process);
    let environment = allowed(environment, &process);
    let share = Share::new(open_files, workers::count(&process), process.listeners.len())?;
    let share = if process.dialects.is_some() { share.with_dialects() } else { share };
    let stdout = open.stdout.insert(Outlet::start("standard output", io::stdout())?);
    let control_threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("weir-control").enable_all().build();
    let runtime = open.runtime.insert(control_threads?);
    let _context = runtime.enter();
    let admin_threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("weir-admin").enable_all().build();
    let admin = open.admin.insert(admin_threads?);
    let (started, access) = Started::new(runtime, (&process, file.folder()), keep, environment, share)?;
    open.access = access;
    signals.access.get_or_init(|| started.access.clone());
    diagnostics.count(&started.metrics.diagnostics_dropped);
    let applied = runtime.block_on(started.apply(&file))?;
    open.token = Some(runtime.block_on(token::ensure(&started.control, &process, keep, diagnostics))?);
    stdout.write(before(&started)?.as_bytes());
    started.run((runtime, admin, &mut open.dialects), signals, stdout, (file, applied))
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The report on the configuration file.
    #[error("{0}")]
    File(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    #[error("{place} cannot be listened on: {error}")]
    Door { place: String, error: io::Error },
    #[error("the certificate of the admin API or of dialects: {0}")]
    Certificate(#[from] CertificateProblem),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("the configuration cannot be served:\n{0}")]
    Refused(#[from] Refused),
}

impl Failure {
    /// The failure in lines of its own.
    fn report(&self) -> String {
        match self {
            Self::File(report) => report.clone(),
            other => format!("weir: {other}\n"),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::File(_) | Self::Refused(Refused::Problems(_)) | Self::Import(ImportError::Problems(_)) => {
                Exit::Invalid
            }
            _ => Exit::Failed,
        }
    }
}

/// Everything that stands before the first socket opens.
struct Started {
    live: Arc<Live>,
    control: Control,
    calls: Calls,
    environment: Environment,
    authority: Arc<Authority>,
    metrics: Arc<Metrics>,
    certificates: Arc<LiveCertificates>,
    access: AccessLog,
    edge: Arc<Edge>,
    about: About,
    /// Connections that the admin API has descriptors for.
    admin_room: usize,
    /// Connections that dialects have descriptors for.
    dialects_room: usize,
}

impl Started {
    fn new(
        runtime: &Runtime,
        (process, folder): (&Process, Folder),
        keep: Keep,
        environment: Environment,
        share: Share,
    ) -> Result<(Self, Option<AccessThread>), Failure> {
        let live = Arc::new(Live::default());
        let listeners: Vec<String> = process.listeners.iter().map(|listener| listener.address.to_string()).collect();
        let refusals = Refusal::words();
        let metrics = Arc::new(Metrics::new(&Labels {
            listeners: &listeners,
            refused: &refusals,
            unresolved: &Unresolved::LABELS,
            handshakes: &refusals,
        }));
        let (access, thread) =
            AccessLog::open(&folder.access_log(&process.access_log), append, metrics.lines_dropped.clone())?;
        let certificates = Arc::new(LiveCertificates::default());
        let store: Arc<dyn Store> = match keep {
            Keep::Stored => Arc::new(open_store(process)?),
            Keep::Ephemeral => Arc::new(Memory::default()),
        };
        let dial = Dial::new(process);
        let calls = Calls::new(&metrics, &dial);
        let authority = Arc::new(Authority::new(process, dial.clone()));
        let ground = Ground {
            store,
            live: Arc::clone(&live),
            certificates: Arc::clone(&certificates),
            metrics: Arc::clone(&metrics),
            environment: Arc::clone(&environment),
            authority: Arc::clone(&authority),
            retention: process.journal,
            journal_notify: process.journal_notify.as_slice().into(),
            keep_versions: process.keep_versions,
            workers: workers::counting(process),
            wake: Arc::new(Wake::new(clock::now())),
            calls: calls.clone(),
            aside: aside(process, keep),
            folder,
            lease: Lease::default(),
        };
        let upstreams =
            Upstreams::new(runtime.handle().clone(), Arc::new(UpstreamObserver), Arc::new(LaneChecker::default()))
                .dialling(dial);
        let control = runtime.block_on(Control::start(ground, upstreams))?;
        let starts_empty = live.load().revision == 0;
        metrics.store_started_empty.set(starts_empty.into());
        if starts_empty && keep == Keep::Stored {
            tracing::info!("the store {} is empty: what is live starts from the file", store_path(process).display());
        }
        let mut limits = process.limits.clone();
        limits.connections = share.admitted(process);
        let edge = Edge::new(limits, Arc::new(EdgeObserver::new(Arc::clone(&metrics), access.clone())))
            .reserving(share.reserved_from());
        let about = About {
            id: format!("{:016x}", rand::random::<u64>()),
            started: clock::unix(),
            store: (keep == Keep::Stored).then(|| store_path(process)),
        };
        Ok((
            Self {
                live,
                control,
                calls,
                environment,
                authority,
                metrics,
                certificates,
                access,
                edge: Arc::new(edge),
                about,
                admin_room: share.admin_room(),
                dialects_room: share.dialects_room(),
            },
            thread,
        ))
    }

    /// Applies the file over what is stored. With an empty store there is nothing else to serve.
    async fn apply(&self, file: &FileAtStart) -> Result<Applied, Failure> {
        if self.live.load().revision > 0 {
            return Ok(file.apply(&self.control).await?);
        }
        let config = file.config.clone().map_err(Failure::File)?;
        self.control.apply_at_start(config).await?;
        Ok(Applied::Yes)
    }

    /// Opens the sockets, says so, and serves until it is told to stop.
    fn run(
        self,
        (runtime, admin, dialect_threads): (&Runtime, &Runtime, &mut Option<Runtime>),
        signals: Signals,
        stdout: &Outlet,
        (file, applied): (FileAtStart, Applied),
    ) -> Result<(), Failure> {
        let process = Arc::clone(&file.process);
        let stop = watch::Sender::new(false);
        let attempts = Arc::new(Attempts::default());
        let doors = workers::open(&self, &process)?;
        let door = {
            let _context = admin.enter();
            door::open(&file.folder().admin(&process.admin))?.with_room_for(self.admin_room)
        };
        let dialects = dialects::open(&self, &file, &process, &attempts)?;
        let announced = dialects.as_ref().map(|opened| opened.announcement.as_str()).unwrap_or_default();
        let announcement = format!("{}weir: admin on {}\n{announced}", doors.announcement(), door.name()?);
        let url = process.admin_url.clone().or(door.url()?);
        let (ready, drain) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
        let reloads = watch::Sender::new(LastReload::default());
        workers::start(&self, doors, process.lane, &stop)?;
        admin.spawn(crate::admin::serve(door, self.admin(&ready, &drain, reloads.subscribe(), attempts)));
        let mut invocations = None;
        if let Some(opened) = dialects {
            opened.threads.spawn(opened.serving);
            invocations = Some(opened.invocations);
            *dialect_threads = Some(opened.threads);
        }
        // It serves once.
        let _ = self.calls.admin_url.set(url);
        let metrics = Arc::clone(&self.metrics);
        let report: Report = Box::new(move |reload| report(reload, &metrics, &reloads));
        let file = ConfigFile::new(file, applied, self.control.clone(), Arc::clone(&self.environment), report);
        runtime.spawn(file.follow(signals.reload));
        stdout.write(announcement.as_bytes());
        // On this thread alone: the drain ends in time even if the control plane is blocked.
        let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        waiting.block_on(async {
            let mut stopping = Stopping::new(signals.stops);
            stopping.until_stop(&drain).await;
            ready.store(false, Ordering::Release);
            let others = async {
                if let Some(invocations) = invocations {
                    invocations.none().await;
                }
            };
            stopping.drain(&process.drain, &self.edge, &stop, others).await;
        });
        Ok(())
    }

    /// What the admin API sees of all this.
    fn admin(
        &self,
        ready: &Arc<AtomicBool>,
        drain: &Arc<Notify>,
        reload: watch::Receiver<LastReload>,
        attempts: Arc<Attempts>,
    ) -> Admin {
        Admin {
            live: Arc::clone(&self.live),
            metrics: Arc::clone(&self.metrics),
            control: self.control.clone(),
            hooks: self.calls.hooks.clone(),
            environment: Arc::clone(&self.environment),
            authority: Arc::clone(&self.authority),
            ready: Arc::clone(ready),
            drain: Arc::clone(drain),
            reload,
            about: self.about.clone(),
            attempts,
        }
    }
}

/// The part of an environment that the settings allow.
fn allowed(environment: Environment, process: &Arc<Process>) -> Environment {
    let process = Arc::clone(process);
    Arc::new(move |name| environment(name).filter(|_| process.environment.allows(name)))
}

/// Opens the access log.
fn append(path: &Path) -> io::Result<File> {
    files::open_to_write(path, File::options().create(true).append(true))
}

/// The store, with a warning where another working directory would be another store.
fn open_store(process: &Process) -> Result<Embedded, Failure> {
    let path = store_path(process);
    if process.store.is_relative() {
        let path = path.display();
        tracing::warn!(
            "`store` is relative to the working directory, where it is {path} now: started in another one, the gateway begins with \
             an empty store. Name it absolutely, such as `store: {{path: {path}}}`"
        );
    }
    Ok(Embedded::open(&path)?)
}

/// The path of the store, which is relative to the working directory, as a whole.
fn store_path(process: &Process) -> PathBuf {
    std::path::absolute(&process.store).unwrap_or_else(|_| process.store.clone())
}

/// Where rollouts are noted that the store cannot take. A gateway without it serves all the same.
fn aside(process: &Process, keep: Keep) -> Aside {
    let path = store_path(process).with_extension("aside");
    let opened = if keep == Keep::Stored { Aside::open(&path) } else { Ok(Aside::default()) };
    opened.unwrap_or_else(|error| {
        tracing::warn!("a rollback that the store cannot take will not outlive a crash: {}: {error}", path.display());
        Aside::default()
    })
}

fn report(reload: &Reload, metrics: &Metrics, reloads: &watch::Sender<LastReload>) {
    let (result, message) = match reload {
        Reload::Unchanged => ("unchanged", None),
        Reload::Applied { .. } => ("applied", None),
        Reload::Refused { report } => ("refused", Some(report.clone())),
    };
    reloads.send_replace(LastReload { time: Some(clock::unix()), result, message });
    match reload {
        Reload::Unchanged => tracing::info!("the configuration file says what it said before"),
        Reload::Applied { revision } => {
            metrics.reload_succeeded();
            tracing::info!(revision, "the configuration file is live");
        }
        Reload::Refused { report } => {
            metrics.reload_refused();
            tracing::error!("the configuration file was refused; the old configuration serves on\n{report}");
        }
    }
}
