//! The one way to the swap: what the store's watch tells becomes a snapshot, and the snapshot goes live.
//!
//! A transaction that cannot be made live (a text of another version of Weir) leaves the last good snapshot serving, with a
//! log line and a metric. No file that a configuration names does that: a domain whose certificate cannot be used is live without
//! it, and a version whose certificate authorities cannot be used has no endpoint until they can.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use config::model::{self, Config, Shield};
use config::route::table::{Answers, Change, Changes, UpstreamIndex};
use config::text::edit::{self, Edit};
use config::text::problem::Problem;
use config::text::texts;
use config::value::name::{AliasName, VersionId};
use imbl::OrdMap;
use tokio::sync::oneshot;

use super::named::below;
use super::named_files::FileKeepers;
use super::point::present;
use super::{CONFIG, Ground, Refused};
use crate::live::{Destination, Snapshot, Unusable};
use crate::store::{Revision, Transaction, Update};
use crate::upstreams::{UpstreamKey, Upstreams, Wanted, authority_file};
use crate::{clock, metrics};

/// How often old snapshots are looked at, to see whether requests still hold them.
const RETIRE_EVERY: Duration = Duration::from_millis(100);

/// How often the files of certificate authorities are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Turns the store's updates into snapshots.
struct Publisher {
    ground: Ground,
    keepers: FileKeepers,
    upstreams: Upstreams,
    stored: Stored,
    /// Whether the store has had a transaction that `stored` has not.
    behind: bool,
    /// Edits that are live and not stored.
    ahead: Vec<Edit>,
    /// The authorities that cannot be used, by the place that names them.
    unusable: BTreeMap<String, Unusable>,
}

/// What the store holds.
#[derive(Clone, Default)]
struct Stored {
    revision: Revision,
    config: Config,
    /// When each text changed last, by its name.
    revisions: OrdMap<Arc<str>, Revision>,
}

/// Edits to show, and whom to tell that they are live.
type Show = (Vec<Edit>, oneshot::Sender<()>);

/// The way to show edits before they are stored.
#[derive(Debug, Clone)]
pub(super) struct Ahead(tokio::sync::mpsc::Sender<Show>);

impl Ahead {
    /// Shows these edits on top of whatever is stored, until others are shown; none shows what is stored. Answers when
    /// that is live.
    ///
    /// # Errors
    /// When the gateway is stopping.
    pub(super) async fn show(&self, edits: Vec<Edit>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.0.send((edits, reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)
    }
}

/// Publishes everything that the store tells, until its watch ends.
///
/// # Errors
/// When the system gives no thread to free old snapshots on.
pub(super) fn start(ground: Ground, keepers: FileKeepers, upstreams: Upstreams) -> io::Result<Ahead> {
    let (retired, snapshots) = mpsc::channel();
    thread::Builder::new().name("weir-retire".into()).spawn(move || retire(&snapshots))?;
    let store = Arc::clone(&ground.store);
    let (stored, ahead) = (Stored::default(), Vec::new());
    let unusable = BTreeMap::new();
    let mut publisher = Publisher { ground, keepers, upstreams, stored, behind: false, ahead, unusable };
    let (ahead, mut shown) = tokio::sync::mpsc::channel::<Show>(1);
    tokio::spawn(async move {
        let mut updates = store.watch(CONFIG, 0).await;
        // The thread ends when this task does.
        let retire = |before: Option<Arc<Snapshot>>| before.map(|before| retired.send(before));
        let mut look = tokio::time::interval(LOOK_EVERY);
        let (looked, mut looks) = tokio::sync::mpsc::channel(1);
        let mut is_first = true;
        loop {
            let behind = publisher.behind;
            let before = tokio::select! {
                _ = look.tick() => {
                    publisher.look(&looked);
                    None
                }
                Some(changed) = looks.recv() => publisher.take_look(&changed),
                update = updates.recv() => match update {
                    None => return,
                    // A transaction was left out, so the next one does not stand on what is known.
                    Some(Update::Transaction(_)) if behind => match store.load(CONFIG).await {
                        Ok(image) => publisher.update(Update::Image(image)),
                        Err(error) => {
                            tracing::error!("the store cannot be read, what is live stays: {error}");
                            continue;
                        }
                    },
                    Some(update) => {
                    let before = publisher.update(update);
                        if std::mem::take(&mut is_first) {
                            // Nobody is served yet.
                            let changed = publisher.keepers.authorities.look(publisher.authority_files()).await;
                            retire(publisher.take_look(&changed));
                        }
                        before
                    }
                },
                Some((edits, reply)) = shown.recv() => {
                    let before = publisher.show(edits);
                    // Whoever asked may have gone; it is live all the same.
                    let _ = reply.send(());
                    Some(before)
                }
            };
            retire(before);
        }
    });
    Ok(Ahead(ahead))
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
    fn update(&mut self, update: Update) -> Option<Arc<Snapshot>> {
        let revision = match &update {
            Update::Transaction(transaction) => transaction.revision,
            Update::Image(image) => image.revision,
        };
        self.ground.live.stored(revision, clock::now());
        // The texts are gone before anything is made of them: they take as much room.
        let stored = match self.stored(update) {
            Ok(stored) => stored,
            Err(problems) => {
                self.refuse(revision, problems);
                return None;
            }
        };
        let before = self.publish(stored.clone());
        (self.stored, self.behind) = (stored, false);
        Some(before)
    }

    /// Makes these edits live on top of what is stored, instead of those that were.
    fn show(&mut self, edits: Vec<Edit>) -> Arc<Snapshot> {
        self.ahead = edits;
        self.publish(self.stored.clone())
    }

    fn publish(&mut self, stored: Stored) -> Arc<Snapshot> {
        let began = clock::now();
        let ahead = edit::apply(&stored.config, &self.ahead);
        let config = ahead.unwrap_or_else(|problems| {
            for problem in problems {
                tracing::error!(
                    "what was shown before it was stored no longer fits, what is stored goes live: {problem}"
                );
            }
            stored.config.clone()
        });
        let revision = stored.revision;
        let snapshot = self.snapshot(stored, &config);
        self.keepers.certificates.serve(&config);
        self.tell_unusable();
        self.ground.metrics.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        let before = self.ground.live.publish(Arc::new(snapshot));
        self.ground.metrics.reloaded(began.elapsed());
        before
    }

    /// The files of certificate authorities that upstreams name.
    fn authority_files(&self) -> Vec<PathBuf> {
        let named: BTreeSet<PathBuf> = self.upstreams.with_authorities().map(|(_, path)| path.to_owned()).collect();
        self.keepers.authorities.retain(&named);
        named.into_iter().collect()
    }

    /// Has the files looked at, on threads of their own, unless that is still going on.
    fn look(&self, looked: &tokio::sync::mpsc::Sender<BTreeSet<PathBuf>>) {
        let (Ok(permit), paths) = (looked.clone().try_reserve_owned(), self.authority_files()) else { return };
        if !paths.is_empty() {
            let authorities = Arc::clone(&self.keepers.authorities);
            tokio::spawn(async move { permit.send(authorities.look(paths).await) });
        }
    }

    /// Gives the upstreams of these files, whose authorities changed, a state that trusts them.
    fn take_look(&mut self, changed: &BTreeSet<PathBuf>) -> Option<Arc<Snapshot>> {
        let before = self.ground.live.load_full();
        let is_changed = |(_, path): &(&UpstreamKey, &Path)| changed.contains(*path);
        let keys = self.upstreams.with_authorities().filter(is_changed).map(|(key, _)| key);
        let mut changes = Changes::default();
        for key in keys {
            changes.upstreams.extend(before.table.upstream_named(key).map(|index| (index, Change::Changed)));
            let function = before.table.function_named(key.function.as_str());
            changes.functions.extend(function.map(|index| (index, Change::Changed)));
        }
        self.tell_unusable();
        if changes.upstreams.is_empty() {
            return None;
        }
        let mut next = Snapshot::clone(&before);
        self.point_upstreams(&mut next, &changes);
        self.ground.point_aliases(&before, &mut next, &changes);
        Some(self.ground.live.publish(Arc::new(next)))
    }

    /// Shows which authorities cannot be used, and logs what is new of it.
    fn tell_unusable(&mut self) {
        let named = self.upstreams.with_authorities().filter_map(|(key, path)| {
            let wrong = self.keepers.authorities.wrong(path)?;
            let meanwhile = if wrong.has_earlier { "the last good ones are trusted" } else { "it has no endpoint" };
            let name = format!("functions.{}.versions.{}.tls.ca", key.function, key.version);
            Some((
                name,
                Unusable {
                    name: key.to_string(),
                    reason: format!("{}; {meanwhile}", wrong.reason),
                    since: wrong.since,
                },
            ))
        });
        let now: BTreeMap<String, Unusable> = named.collect();
        for (name, thing) in now.iter().filter(|(name, _)| !self.unusable.contains_key(*name)) {
            tracing::error!("{name} cannot be used: {}", thing.reason);
        }
        for name in self.unusable.keys().filter(|name| !now.contains_key(*name)) {
            tracing::info!("{name} is no longer unusable");
        }
        self.ground.metrics.set_unusable(metrics::AUTHORITY, now.len());
        self.ground.live.set_unusable(metrics::AUTHORITY, now.values().cloned().collect());
        self.unusable = now;
    }

    fn refuse(&mut self, revision: Revision, problems: Vec<Problem>) {
        for problem in &problems {
            tracing::error!(revision, "a revision cannot go live: {problem}");
        }
        self.ground.metrics.reload_refused();
        self.ground.live.refuse(revision, problems);
        self.behind = true;
    }

    /// What is stored after the update.
    fn stored(&self, update: Update) -> Result<Stored, Vec<Problem>> {
        let environment = &*self.ground.environment;
        match update {
            Update::Image(image) => {
                let revisions = image
                    .texts
                    .iter()
                    .filter_map(|(name, stored)| Some((Arc::from(name.strip_prefix(CONFIG)?), stored.revision)));
                Ok(Stored {
                    revision: image.revision,
                    config: texts::from_texts(below(CONFIG, &image), environment)?,
                    revisions: revisions.collect(),
                })
            }
            Update::Transaction(Transaction { revision, changes }) => {
                let mut revisions = self.stored.revisions.clone();
                let mut texts = Vec::with_capacity(changes.len());
                for change in &*changes {
                    let Some(name) = change.name.strip_prefix(CONFIG) else { continue };
                    texts.push((name, change.text.as_deref()));
                    match change.text {
                        Some(_) => revisions.insert(name.into(), revision),
                        None => revisions.remove(name),
                    };
                }
                let edits = texts::edits(texts, environment)?;
                Ok(Stored { revision, config: edit::apply(&self.stored.config, &edits)?, revisions })
            }
        }
    }

    fn snapshot(&mut self, stored: Stored, config: &Config) -> Snapshot {
        let Stored { revision, revisions, .. } = stored;
        let before = self.ground.live.load_full();
        let cursor = |alias| before.cursor(alias).map_or(0, |cursor| cursor.0.load(Ordering::Relaxed));
        let (table, changes) = before.table.update(config, &cursor);
        let mut next = Snapshot { revision, table, revisions, ..Snapshot::clone(&before) };
        self.point_upstreams(&mut next, &changes);
        self.ground.point_aliases(&before, &mut next, &changes);
        // Their indices may be given out again, to others.
        removed(&changes.aliases).for_each(|index| next.aliases.clear(index.get()));
        removed(&changes.upstreams).for_each(|index| next.upstreams.clear(index.get()));
        self.forget(&before, &next, &changes);
        next
    }

    /// Gives every upstream that is new or another its runtime state.
    fn point_upstreams(&mut self, next: &mut Snapshot, changes: &Changes) {
        let touched: Vec<UpstreamIndex> = present(&changes.upstreams).collect();
        let upstream = |index: UpstreamIndex| next.table.upstream(index).expect("a changed upstream is in its table");
        let wanted = touched.iter().filter_map(|&index| match &upstream(index).answers {
            Answers::Endpoints(rendered) => Some(Wanted {
                key: upstream(index).key.clone(),
                spec: Arc::clone(rendered),
                authorities: authority_file(rendered).and_then(|path| self.keepers.authorities.authorities(path)),
            }),
            Answers::Response(_) => None,
        });
        let mut states = self.upstreams.reconcile(wanted.collect()).into_iter();
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
                    series: self.ground.metrics.version(&key.function, None, key.version),
                    upstream_series: self.ground.metrics.upstream(&key.function, key.version),
                    outcomes: None,
                    shield: Shield::Off,
                    owed: None,
                    upstream,
                }
            })
            .collect();
        for destination in destinations {
            next.upstreams.put(destination.index.get(), Arc::new(destination));
        }
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
            self.ground.metrics.retain_versions(name, |alias, version| match alias {
                None => is_there(version),
                Some(alias) => function.is_some_and(|function| reaches(function, alias, version)),
            });
            self.ground.metrics.retain_upstreams(name, is_there);
        }
    }
}

/// Whether requests for the alias can end at the version.
fn reaches(function: &model::Function, alias: &AliasName, version: VersionId) -> bool {
    function.effective(alias).map_or(version == VersionId::Latest, |alias| {
        alias.split.parts().iter().any(|part| part.0 == version)
            || alias.rules.iter().any(|rule| rule.version == version)
            || alias.stable == Some(version)
    })
}

fn removed<I: Copy>(changes: &[(I, Change)]) -> impl Iterator<Item = I> + '_ {
    changes.iter().filter(|(_, change)| *change == Change::Removed).map(|(index, _)| *index)
}
