//! The one way to the swap: what the store's watch tells becomes a snapshot, and the snapshot goes live.
//!
//! A transaction that cannot be made live (a text of another version of Weir, a certificate that is not there) leaves the
//! last good snapshot serving, with a log line and a metric.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use config::edit;
use config::model::{self, Config};
use config::name::{AliasName, VersionId};
use config::problem::Problem;
use config::table::{Alias, AliasIndex, Answers, Change, Changes, Function, UpstreamIndex};
use config::texts;
use config::weight::Weight;

use super::{Environment, certificates};
use crate::clock;
use crate::edge::tls::LiveCertificates;
use crate::live::{AliasState, Cursor, Destination, Live, Snapshot};
use crate::metrics::Metrics;
use crate::store::{Revision, Store, Update};
use crate::upstreams::{Spec, Upstreams};

/// How often old snapshots are looked at, to see whether requests still hold them.
const RETIRE_EVERY: Duration = Duration::from_millis(100);

/// Turns the store's updates into snapshots.
pub struct Publisher {
    /// What it publishes to.
    pub live: Arc<Live>,
    /// The certificates that listeners take.
    pub certificates: Arc<LiveCertificates>,
    /// State of the endpoints.
    pub upstreams: Upstreams,
    /// Where the handles of metrics come from.
    pub metrics: Arc<Metrics>,
    /// For `${NAME}`.
    pub environment: Environment,
}

/// Publishes everything that `store` tells, until its watch ends.
///
/// # Errors
/// When the system gives no thread to free old snapshots on.
pub fn start(store: Arc<dyn Store>, mut publisher: Publisher) -> std::io::Result<()> {
    let (retired, snapshots) = mpsc::channel();
    thread::Builder::new().name("weir-retire".into()).spawn(move || retire(&snapshots))?;
    tokio::spawn(async move {
        let mut updates = store.watch(0).await;
        let mut behind = false;
        while let Some(mut update) = updates.recv().await {
            if behind {
                // A transaction was left out, so the next one does not stand on what is live.
                update = Update::Image(store.load().await);
            }
            match publisher.publish(&update) {
                // The thread ends when this task does.
                Some(before) => behind = retired.send(before).is_err(),
                None => behind = true,
            }
        }
    });
    Ok(())
}

/// Frees each snapshot when nobody else holds it, so that no worker ever does.
fn retire(snapshots: &mpsc::Receiver<Arc<Snapshot>>) {
    let mut held: Vec<Arc<Snapshot>> = Vec::new();
    loop {
        let next = if held.is_empty() {
            snapshots.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            snapshots.recv_timeout(RETIRE_EVERY)
        };
        match next {
            Ok(snapshot) => held.push(snapshot),
            Err(RecvTimeoutError::Timeout) => held.retain(|snapshot| Arc::strong_count(snapshot) > 1),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Publisher {
    /// Makes the update live; answers the snapshot that was live before.
    fn publish(&mut self, update: &Update) -> Option<Arc<Snapshot>> {
        let began = clock::now();
        let revision = match update {
            Update::Transaction(transaction) => transaction.revision,
            Update::Image(image) => image.revision,
        };
        match self.config(update).and_then(|config| self.snapshot(revision, &config)) {
            Ok(snapshot) => {
                self.metrics.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
                let before = self.live.publish(Arc::new(snapshot));
                self.metrics.reloaded(began.elapsed());
                Some(before)
            }
            Err(problems) => {
                for problem in &problems {
                    tracing::error!(revision, "a revision cannot go live: {problem}");
                }
                self.metrics.reload_refused();
                self.live.refuse(revision, problems);
                None
            }
        }
    }

    /// What the update means, on top of what is live.
    fn config(&self, update: &Update) -> Result<Config, Vec<Problem>> {
        let environment = &*self.environment;
        match update {
            Update::Image(image) => {
                let texts = image.texts.iter().map(|(name, text)| (name.as_str(), &**text));
                texts::from_texts(texts, environment)
            }
            Update::Transaction(transaction) => {
                let changes = transaction.changes.iter().map(|change| (change.name.as_str(), change.text.as_deref()));
                let edits = texts::edits(changes, environment)?;
                edit::apply(self.live.load().table.config(), &edits)
            }
        }
    }

    fn snapshot(&mut self, revision: Revision, config: &Config) -> Result<Snapshot, Vec<Problem>> {
        let before = self.live.load_full();
        let cursor = |alias| before.cursor(alias).map_or(0, |cursor| cursor.0.load(Ordering::Relaxed));
        let (table, changes) = before.table.update(config, &cursor);
        let certificates = certificates::load(before.table.config(), config)?;
        let mut next = Snapshot { revision, table, ..Snapshot::clone(&before) };
        self.point_upstreams(&mut next, &changes)?;
        self.point_aliases(&before, &mut next, &changes);
        // Their indices may be given out again, to others.
        removed(&changes.aliases).for_each(|index| next.aliases.clear(index.get()));
        removed(&changes.upstreams).for_each(|index| next.upstreams.clear(index.get()));
        self.forget(&before, &next, &changes);
        if let Some(certificates) = certificates {
            let ends = certificates.iter().map(|(host, certified)| (host, certified.not_after()));
            self.metrics.set_certificates(ends.collect());
            self.certificates.publish(certificates);
        }
        Ok(next)
    }

    /// Gives every upstream that is new or another its runtime state.
    fn point_upstreams(&mut self, next: &mut Snapshot, changes: &Changes) -> Result<(), Vec<Problem>> {
        let touched: Vec<UpstreamIndex> = present(&changes.upstreams).collect();
        let upstream = |index: UpstreamIndex| next.table.upstream(index).expect("a changed upstream is in its table");
        let wanted = touched.iter().filter_map(|&index| match &upstream(index).answers {
            Answers::Endpoints(rendered) => Some((upstream(index).key.clone(), Arc::new(Spec::from(&**rendered)))),
            Answers::Response(_) => None,
        });
        let mut states = self.upstreams.reconcile(wanted.collect()).map_err(problems)?.into_iter();
        let destinations: Vec<Destination> = touched
            .iter()
            .map(|&index| {
                let upstream = Arc::clone(upstream(index));
                let key = &upstream.key;
                let function = next.table.function_named(key.function.as_str());
                let function = function.and_then(|index| next.table.function(index));
                Destination {
                    index,
                    function: Arc::clone(&function.expect("an upstream has its function").model),
                    qualifier: key.version.to_string().into(),
                    by_alias: false,
                    state: match &upstream.answers {
                        Answers::Endpoints(_) => states.next(),
                        Answers::Response(_) => None,
                    },
                    series: self.metrics.version(&key.function, None, key.version),
                    upstream_series: self.metrics.upstream(&key.function, key.version),
                    upstream,
                }
            })
            .collect();
        for destination in destinations {
            next.upstreams.put(destination.index.get(), Arc::new(destination));
        }
        Ok(())
    }

    /// Gives every alias of a function that is new or another its runtime state; a cursor goes on unless the table says
    /// that it begins anew.
    fn point_aliases(&self, before: &Snapshot, next: &mut Snapshot, changes: &Changes) {
        let restarted: BTreeSet<AliasIndex> = changes.restarted.iter().copied().collect();
        for function in present(&changes.functions) {
            let function = Arc::clone(next.table.function(function).expect("a changed function is in its table"));
            for index in function.aliases() {
                let alias = Arc::clone(next.table.alias(index).expect("an alias of a function is in its table"));
                let kept = before.cursor(index).filter(|_| !restarted.contains(&index));
                let cursor = kept.cloned().unwrap_or_else(|| {
                    let start = alias.slots.as_ref().map_or(0, |slots| slots.start());
                    Arc::new(Cursor(AtomicU64::new(start)))
                });
                let destinations = self.destinations(next, &function, &alias);
                next.aliases.put(index.get(), Arc::new(AliasState { cursor, destinations }));
            }
        }
    }

    fn destinations(&self, next: &Snapshot, function: &Function, alias: &Alias) -> Box<[Arc<Destination>]> {
        let model = &alias.model;
        let split: BTreeSet<VersionId> = model.split.parts().iter().map(|part| part.0).collect();
        let reachable: BTreeSet<VersionId> =
            split.into_iter().chain(model.rules.iter().map(|rule| rule.version)).chain(model.stable).collect();
        let upstreams = reachable.into_iter().flat_map(|version| function.upstreams(version));
        upstreams
            .map(|index| {
                let direct = next.upstreams.get(index.get()).expect("upstreams come before aliases");
                let version = direct.version();
                let series = self.metrics.version(&function.name, Some(&alias.name), version);
                let weight = model.split.parts().iter().find(|part| part.0 == version).map_or(Weight::ZERO, |p| p.1);
                series.weight.set(weight.basis_points().into());
                Arc::new(Destination {
                    index,
                    function: Arc::clone(&function.model),
                    qualifier: alias.name.as_str().into(),
                    by_alias: true,
                    upstream: Arc::clone(&direct.upstream),
                    state: direct.state.clone(),
                    series,
                    upstream_series: Arc::clone(&direct.upstream_series),
                })
            })
            .collect()
    }

    /// Drops what nothing names any more.
    fn forget(&mut self, before: &Snapshot, next: &Snapshot, changes: &Changes) {
        for index in removed(&changes.upstreams) {
            if let Some(upstream) = before.table.upstream(index)
                && next.table.upstream_named(&upstream.key).is_none()
            {
                self.upstreams.forget(&upstream.key);
            }
        }
        for (index, change) in changes.functions.iter().filter(|(_, change)| *change != Change::Added) {
            let table = if *change == Change::Removed { &before.table } else { &next.table };
            let name = &table.function(*index).expect("a function is in the tables on either side of its change").name;
            let function = next.table.config().functions.get(name);
            let is_there = |version| function.is_some_and(|function| function.version(version).is_some());
            self.metrics.retain_versions(name, |alias, version| match alias {
                None => is_there(version),
                Some(alias) => function.is_some_and(|function| reaches(function, alias, version)),
            });
            self.metrics.retain_upstreams(name, is_there);
        }
    }
}

/// Whether requests for the alias can end at the version.
fn reaches(function: &model::Function, alias: &AliasName, version: VersionId) -> bool {
    function.aliases.get(alias).map_or(version == VersionId::Latest, |alias| {
        alias.split.parts().iter().any(|part| part.0 == version)
            || alias.rules.iter().any(|rule| rule.version == version)
            || alias.stable == Some(version)
    })
}

fn removed<I: Copy>(changes: &[(I, Change)]) -> impl Iterator<Item = I> + '_ {
    changes.iter().filter(|(_, change)| *change == Change::Removed).map(|(index, _)| *index)
}

fn present<I: Copy>(changes: &[(I, Change)]) -> impl Iterator<Item = I> + '_ {
    changes.iter().filter(|(_, change)| *change != Change::Removed).map(|(index, _)| *index)
}

fn problems(problems: Vec<crate::upstreams::UpstreamProblem>) -> Vec<Problem> {
    let path = |key: &config::table::UpstreamKey| format!("functions.{}.versions.{}.tls.ca", key.function, key.version);
    problems.into_iter().map(|p| Problem::error(path(&p.upstream), p.error.to_string())).collect()
}
