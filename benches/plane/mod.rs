//! The control plane on a store, without a listener.

use std::sync::Arc;

use config::model::Process;
use gateway::clock;
use gateway::control::aside::Aside;
use gateway::control::conduct::Calls;
use gateway::control::leading::Lease;
use gateway::control::{Control, Environment, Ground};
use gateway::dial::Dial;
use gateway::edge::tls::LiveCertificates;
use gateway::live::Live;
use gateway::metrics::{Labels, Metrics};
use gateway::outcomes::Wake;
use gateway::proxy::LaneChecker;
use gateway::store::Store;
use gateway::upstreams::{Event, Observer, UpstreamKey, Upstreams};
use tokio::runtime::Runtime;

/// The numbers of domains that the command line names, or these.
pub(crate) fn sizes(otherwise: &[usize]) -> Vec<usize> {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() { otherwise.to_vec() } else { sizes }
}

/// One thread for all of it, as `weir serve` gives it.
pub(crate) fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime")
}

pub(crate) fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(&Labels { listeners: &[], refused: &[], unresolved: &[], handshakes: &[] }))
}

/// Makes live what `store` holds.
pub(crate) fn start(
    runtime: &Runtime,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    certificates: Arc<LiveCertificates>,
) -> (Arc<Live>, Control) {
    let _context = runtime.enter();
    let environment: Environment = Arc::new(|_| None);
    let live = Arc::new(Live::default());
    let upstreams = Upstreams::new(runtime.handle().clone(), Arc::new(Nobody), Arc::new(LaneChecker::default()));
    let calls = Calls::new(&metrics, &Dial::default());
    calls.admin_url.set(None).expect("it is new");
    let ground = Ground {
        store,
        live: Arc::clone(&live),
        certificates,
        calls,
        aside: Aside::default(),
        folder: Default::default(),
        lease: Lease::default(),
        metrics,
        authority: Arc::default(),
        environment,
        retention: Process::default().journal,
        journal_notify: Default::default(),
        keep_versions: None,
        workers: 2,
        wake: Arc::new(Wake::new(clock::now())),
    };
    let control = runtime.block_on(Control::start(ground, upstreams)).expect("the store can be read");
    (live, control)
}

/// Nobody is told of endpoints.
struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &UpstreamKey, _: &Event<'_>) {}
}
