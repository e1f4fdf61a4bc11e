//! How things stand: the node, its file, its store, and what each version did within the last minute.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::response::IntoResponse;
use config::model::Function;
use config::route::table;
use config::text::format::json as form;
use config::value::name::{AliasName, FunctionName, VersionId};
use serde_json::{Map, Value, json};

use super::call::{Call, after};
use super::functions::find;
use super::operation::{Answer, Content, Operation, run};
use super::{Server, rfc3339, rollouts};
use crate::clock;
use crate::control::Revision;
use crate::control::journal::Query;
use crate::live::Snapshot;
use crate::metrics::{Counted, Counts, Metrics};

/// What rates are measured over.
const WINDOW: Duration = Duration::from_secs(60);
/// How often the counts are looked at.
const STEP: Duration = Duration::from_secs(5);

/// The most things that are named as unusable.
const MOST_UNUSABLE: usize = 100;

/// Of the status.
pub(super) fn operations() -> Vec<Operation> {
    let summary = "The node, and what each alias and version did within the last minute; functions in pages.";
    vec![
        Operation::get("/v1/status", "getStatus", summary, run!(status))
            .takes_long()
            .query(&["function", "limit", "after"])
            .answers(Content::Form("status")),
    ]
}

/// What the versions counted within the last minute. Only those that counted anything take room.
pub(super) struct Window(Mutex<Steps>);

struct Steps {
    /// Counts at the end of the last step.
    last: HashMap<Counted, Counts>,
    /// What each step added, and when it began; the oldest first.
    steps: VecDeque<(Instant, HashMap<Counted, Counts>)>,
    /// When the next step began.
    since: Instant,
}

impl Window {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Steps { last: HashMap::new(), steps: VecDeque::new(), since: clock::now() }))
    }

    /// Looks at the counts every few seconds, as long as somebody holds the window.
    pub(super) async fn follow(this: std::sync::Weak<Self>, metrics: Arc<Metrics>) {
        loop {
            tokio::time::sleep(STEP).await;
            let Some(window) = this.upgrade() else { return };
            window.lock().step(&metrics);
        }
    }

    /// Everything of the window until now, and how long that was.
    pub(super) fn read(&self, metrics: &Metrics) -> (HashMap<Counted, Counts>, Duration) {
        let steps = self.lock();
        let mut sum = HashMap::<Counted, Counts>::new();
        for (key, counts) in steps.steps.iter().flat_map(|(_, step)| step) {
            sum.entry(key.clone()).or_default().add(counts);
        }
        metrics.each_version(|key, now| {
            let added = now.since(steps.last.get(key).unwrap_or(&Counts::default()));
            if added != Counts::default() {
                sum.entry(key.clone()).or_default().add(&added);
            }
        });
        let since = steps.steps.front().map_or(steps.since, |(since, _)| *since);
        (sum, clock::now().saturating_duration_since(since))
    }

    /// Every change of the steps is whole before a panic can come.
    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steps {
    fn step(&mut self, metrics: &Metrics) {
        let (mut now, mut step) = (HashMap::with_capacity(self.last.len()), HashMap::new());
        metrics.each_version(|key, counts| {
            if counts == Counts::default() {
                return;
            }
            let added = counts.since(self.last.get(key).unwrap_or(&Counts::default()));
            if added != Counts::default() {
                step.insert(key.clone(), added);
            }
            now.insert(key.clone(), counts);
        });
        let time = clock::now();
        self.last = now;
        self.steps.push_back((std::mem::replace(&mut self.since, time), step));
        // The step that is under way belongs to the window too.
        while self.steps.front().is_some_and(|(since, _)| time.saturating_duration_since(*since) >= WINDOW) {
            self.steps.pop_front();
        }
    }
}

async fn status(call: Call) -> Answer {
    let (server, limit) = (&call.server, call.limit()?);
    let snapshot = server.live.load_full();
    let functions = &snapshot.table.config().functions;
    let names: Vec<FunctionName> = match call.parameter::<FunctionName>("function")? {
        Some(only) => {
            find(snapshot.table.config(), &only)?;
            vec![only]
        }
        None => functions.range(after::<FunctionName>(&call)?).map(|(name, _)| name.clone()).take(limit + 1).collect(),
    };
    let shown = Seen { server, snapshot: &snapshot, window: server.window.read(&server.metrics) };
    let items: Vec<Value> = names.iter().take(limit).filter_map(|name| shown.function(name)).collect();
    let next = names.get(limit).and(names.get(limit - 1)).map(|name| name.as_str());
    let mut answer = of_node(server, &snapshot);
    answer["store"] = of_store(server).await;
    answer["freeze"] = rollouts::freeze(server);
    let unusable = unusable(server);
    answer["unusable_total"] = unusable.len().into();
    answer["unusable"] = unusable.into_iter().take(MOST_UNUSABLE).collect();
    answer["functions"] = items.into();
    answer["next"] = next.into();
    Ok(Json(answer).into_response())
}

fn of_node(server: &Server, snapshot: &Snapshot) -> Value {
    let about = &server.about;
    let reload = server.reload.borrow();
    json!({
        "node": {
            "id": about.id,
            "version": env!("CARGO_PKG_VERSION"),
            "started": rfc3339(about.started),
            "uptime_seconds": clock::unix().saturating_sub(about.started).as_secs(),
            "revision": snapshot.revision,
            "ready": server.ready.load(Ordering::Acquire),
        },
        "reload": { "time": reload.time.map(rfc3339), "result": reload.result, "message": reload.message },
        "window_seconds": WINDOW.as_secs(),
    })
}

/// Whether it answers is asked, not remembered.
async fn of_store(server: &Server) -> Value {
    let last =
        Query { after: 0, before: Revision::MAX, newest_first: true, limit: 1, name: None, who: None, since: None };
    let paused = server.live.paused();
    let is_paused = paused.as_ref().map(|paused| format!("paused: {}", paused.reason));
    let unsaved = (server.metrics.unsaved_rollback.get() > 0)
        .then(|| "it cannot take a rollback that is live; it is tried again every second".to_owned());
    let error = [is_paused, unsaved].into_iter().flatten().reduce(|paused, unsaved| format!("{paused}; {unsaved}"));
    let newest = server.control.journal(last).await;
    let head = newest.as_ref().ok().and_then(|page| page.entries.first());
    let head = head.map(|line| json!({ "revision": line.revision, "hash": line.hash }));
    let error = error.or(newest.as_ref().err().map(ToString::to_string));
    json!({
        "kind": if server.about.store.is_some() { "embedded" } else { "memory" },
        "path": server.about.store,
        "healthy": error.is_none(),
        "writable": paused.is_none(),
        "paused_since": paused.map(|paused| rfc3339(paused.since)),
        "message": error,
        "head": head,
    })
}

/// Things that cannot be used as they are, by kind and name.
fn unusable(server: &Server) -> Vec<Value> {
    let kinds = server.live.unusable();
    let all = kinds.iter().flat_map(|(kind, things)| things.iter().map(move |thing| (kind, thing)));
    let shown = all.map(|(kind, thing)| {
        json!({ "kind": kind, "name": thing.name, "reason": thing.reason, "since": rfc3339(thing.since) })
    });
    shown.collect()
}

/// What is live, and what it did within the window.
struct Seen<'s> {
    server: &'s Server,
    snapshot: &'s Snapshot,
    window: (HashMap<Counted, Counts>, Duration),
}

impl Seen<'_> {
    fn function(&self, name: &FunctionName) -> Option<Value> {
        let function = self.snapshot.table.function(self.snapshot.table.function_named(name.as_str())?)?;
        let model = &function.model;
        // `$DEFAULT` means the draft until somebody says otherwise, and nothing without one.
        let names: BTreeSet<AliasName> = model.aliases.keys().cloned().chain([AliasName::default_alias()]).collect();
        let aliases: Vec<Value> = names.iter().filter_map(|alias| self.alias(name, alias, model)).collect();
        let numbers = model.versions.keys().copied().map(VersionId::Number);
        let all = numbers.chain(model.draft.iter().map(|_| VersionId::Latest));
        let versions: Vec<Value> = all.map(|version| self.version(function, model, version)).collect();
        Some(json!({ "name": name.as_str(), "aliases": aliases, "versions": versions }))
    }

    fn alias(&self, function: &FunctionName, name: &AliasName, model: &Function) -> Option<Value> {
        let (own, seen) = (model.own(name)?, model.effective(name)?);
        let drawn = |version| {
            let key = (function.clone(), Some(name.clone()), version);
            self.window.0.get(&key).map_or(0, |counts| counts.drawn)
        };
        let versions: Vec<(VersionId, u64)> =
            seen.split.parts().iter().map(|(version, _)| (*version, drawn(*version))).collect();
        let total: u64 = versions.iter().map(|(_, drawn)| drawn).sum();
        let achieved = (total > 0).then(|| {
            let percent = |drawn: u64| (drawn as f64 * 10_000.0 / total as f64).round() / 100.0;
            versions.iter().map(|(version, drawn)| (version.to_string(), percent(*drawn).into())).collect::<Map<_, _>>()
        });
        Some(json!({
            "name": name.as_str(),
            "split": form::split(&own.split),
            "effective": form::split(&seen.split),
            "achieved": achieved,
            "requests": total,
            "rollout": rollouts::of_alias(self.server, function, name),
        }))
    }

    fn version(&self, function: &table::Function, model: &Function, version: VersionId) -> Value {
        let described = match version {
            VersionId::Number(number) => model.versions.get(&number),
            VersionId::Latest => model.draft.as_ref(),
        };
        let mut counts = Counts::default();
        let aliases = model.aliases.keys().cloned().chain([AliasName::default_alias()]).map(Some).chain([None]);
        let mut keys: Vec<Counted> = aliases.map(|alias| (function.name.clone(), alias, version)).collect();
        keys.sort();
        keys.dedup();
        keys.iter().filter_map(|key| self.window.0.get(key)).for_each(|more| counts.add(more));
        let seconds = self.window.1.as_secs_f64();
        let some = |value: f64| (counts.ended > 0).then(|| (value * 1e4).round() / 1e4);
        let quantile = |part| counts.quantile(part).map(|value| (value * 1e3).round() / 1e3);
        json!({
            "version": version.to_string(),
            "label": described.and_then(|version| version.label.as_deref()),
            "retired": described.is_some_and(|version| version.retired),
            "requests_per_second": some(counts.ended as f64 / seconds),
            "error_rate": some(counts.errors as f64 / counts.ended as f64),
            "p50_ms": quantile(0.5),
            "p95_ms": quantile(0.95),
            "p99_ms": quantile(0.99),
            "endpoints": self.endpoints(function, version),
        })
    }

    fn endpoints(&self, function: &table::Function, version: VersionId) -> Vec<Value> {
        let states = function.upstreams(version).flat_map(|index| self.snapshot.endpoints(index));
        let shown = states.map(|endpoint| {
            json!({
                "address": endpoint.address,
                "name": &*endpoint.host,
                "healthy": endpoint.up && !endpoint.ejected,
                "in_flight": endpoint.in_flight,
            })
        });
        shown.collect()
    }
}
