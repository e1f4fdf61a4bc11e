//! The one way from the store to the swap: what the store's watch tells becomes a snapshot, which the guardian makes live.
//!
//! A text that cannot be read (of another version of Weir) takes down what it names alone. So does a file that a configuration names:
//! a domain whose certificate cannot be used is live without it, and a version whose certificate authorities cannot be used has no
//! endpoint until they can.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::model::{self, Config, Shield};
use config::route::table::{Answers, Change, Changes, UpstreamIndex};
use config::text::edit::{self, Edit};
use config::value::name::{AliasName, VersionId};
use tokio::sync::{mpsc, oneshot};

use super::guardian::Guardian;
use super::named_files::FileKeepers;
use super::point::present;
use super::stored::Stored;
use super::{CONFIG, Ground, Refused, unreadable};
use crate::live::{Destination, Snapshot, Unusable};
use crate::metrics::Among;
use crate::store::Update;
use crate::upstreams::{UpstreamKey, Upstreams, Wanted, authority_file};
use crate::{clock, metrics};

/// How often the files of certificate authorities are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Turns the store's updates into snapshots.
struct Publisher {
    ground: Ground,
    keepers: FileKeepers,
    upstreams: Upstreams,
    guardian: Guardian,
    /// The last snapshot that the guardian got: the next one stands on it.
    last: Arc<Snapshot>,
    stored: Stored,
    /// Edits that are live and not stored.
    ahead: Vec<Edit>,
    /// The authorities that cannot be used, by the place that names them.
    unusable: BTreeMap<String, Unusable>,
}

/// Edits to show, and whom to tell that they are live.
type Show = (Vec<Edit>, oneshot::Sender<()>);

/// The way to show edits before they are stored.
#[derive(Debug, Clone)]
pub(super) struct Ahead(mpsc::Sender<Show>);

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
pub(super) fn start(ground: Ground, keepers: FileKeepers, upstreams: Upstreams, guardian: Guardian) -> Ahead {
    let publisher = Publisher {
        last: ground.live.load_full(),
        ground,
        keepers,
        upstreams,
        guardian,
        stored: Stored::default(),
        ahead: Vec::new(),
        unusable: BTreeMap::new(),
    };
    let (ahead, shown) = mpsc::channel(1);
    tokio::spawn(publisher.run(shown));
    Ahead(ahead)
}

impl Publisher {
    async fn run(mut self, mut shown: mpsc::Receiver<Show>) {
        let store = Arc::clone(&self.ground.store);
        let mut updates = store.watch(CONFIG, 0).await;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let (looked, mut looks) = mpsc::channel(1);
        let mut is_first = true;
        loop {
            tokio::select! {
                _ = look.tick() => self.look(&looked),
                Some(changed) = looks.recv() => self.take_look(&changed).await,
                update = updates.recv() => match update {
                    None => return,
                    Some(update) => {
                        self.update(update).await;
                        if std::mem::take(&mut is_first) {
                            // The start waits for what is stored to be live with its authorities.
                            let changed = self.keepers.authorities.look(self.authority_files()).await;
                            self.take_look(&changed).await;
                        }
                    }
                },
                Some((edits, reply)) = shown.recv() => {
                    self.show(edits).await;
                    // Whoever asked may have gone; it is live all the same.
                    let _ = reply.send(());
                }
            }
        }
    }

    /// Makes the update live.
    async fn update(&mut self, update: Update) {
        let revision = match &update {
            Update::Transaction(transaction) => transaction.revision,
            Update::Image(image) => image.revision,
        };
        self.ground.live.stored(revision, clock::now());
        // The texts are gone before anything is made of them: they take as much room.
        let stored = self.stored(update);
        self.publish(stored.clone()).await;
        self.stored = stored;
    }

    /// Makes these edits live on top of what is stored, instead of those that were.
    async fn show(&mut self, edits: Vec<Edit>) {
        self.ahead = edits;
        self.publish(self.stored.clone()).await;
    }

    async fn publish(&mut self, stored: Stored) {
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
        let snapshot = self.snapshot(stored, &config);
        self.keepers.certificates.serve(&config);
        unreadable::tell(&self.ground, &config);
        self.tell_unusable();
        self.hand_over(snapshot).await;
        self.ground.metrics.reloaded(began.elapsed());
    }

    /// Has the guardian make this live.
    async fn hand_over(&mut self, next: Snapshot) {
        self.last = Arc::new(next);
        self.guardian.publish(Arc::clone(&self.last)).await;
    }

    /// The files of certificate authorities that upstreams name.
    fn authority_files(&self) -> Vec<PathBuf> {
        let named: BTreeSet<PathBuf> = self.upstreams.with_authorities().map(|(_, path)| path.to_owned()).collect();
        self.keepers.authorities.retain(&named);
        named.into_iter().collect()
    }

    /// Has the files looked at, on threads of their own, unless that is still going on.
    fn look(&self, looked: &mpsc::Sender<BTreeSet<PathBuf>>) {
        let (Ok(permit), paths) = (looked.clone().try_reserve_owned(), self.authority_files()) else { return };
        if !paths.is_empty() {
            let authorities = Arc::clone(&self.keepers.authorities);
            tokio::spawn(async move { permit.send(authorities.look(paths).await) });
        }
    }

    /// Gives the upstreams of these files, whose authorities changed, a state that trusts them.
    async fn take_look(&mut self, changed: &BTreeSet<PathBuf>) {
        let before = Arc::clone(&self.last);
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
            return;
        }
        let mut next = Snapshot::clone(&before);
        self.point_upstreams(&mut next, &changes);
        self.ground.point_aliases(&before, &mut next, &changes);
        self.hand_over(next).await;
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

    /// What is stored after the update. A text that cannot be read takes down what it names alone.
    fn stored(&self, update: Update) -> Stored {
        let environment = &self.ground.environment;
        match update {
            Update::Image(image) => Stored::of(&image, environment),
            Update::Transaction(next) => self.stored.after(&next, environment),
        }
    }

    fn snapshot(&mut self, stored: Stored, config: &Config) -> Snapshot {
        let Stored { revision, revisions, .. } = stored;
        let before = Arc::clone(&self.last);
        let cursor = |alias| before.cursor(alias).map_or(0, |cursor| cursor.0.load(Ordering::Relaxed));
        let (table, changes) = before.table.update(config, &cursor);
        let is_ahead = !self.ahead.is_empty();
        let mut next = Snapshot { revision, is_ahead, table, revisions, ..Snapshot::clone(&before) };
        self.point_upstreams(&mut next, &changes);
        self.ground.point_aliases(&before, &mut next, &changes);
        // Their indices may be given out again, to others.
        removed(&changes.aliases).for_each(|index| next.aliases.clear(index.get()));
        removed(&changes.upstreams).for_each(|index| next.upstreams.clear(index.get()));
        self.forget(&before, &next, &changes);
        rest_others(&before, &next, &changes);
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
                rests: rests(next, &upstream(index).key),
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
                let function = Arc::clone(&function.expect("an upstream has its function").model);
                let metrics = &self.ground.metrics;
                let (series, upstream_series) = if function.rests(key.version) {
                    metrics.resting(&key.function, key.version)
                } else {
                    let series = metrics.version(&key.function, None, key.version);
                    (series, metrics.upstream(&key.function, key.version))
                };
                Destination {
                    index,
                    function,
                    qualifier: key.version.to_string().into(),
                    by_alias: false,
                    state: match &upstream.answers {
                        Answers::Endpoints(_) => states.next(),
                        Answers::Response(_) => None,
                    },
                    series,
                    upstream_series,
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
            let earlier = before.table.config().functions.get(name);
            let among = match earlier.zip(function) {
                Some((earlier, now)) if earlier.shares_versions(now) => Among::ByAlias,
                _ => Among::All,
            };
            self.ground.metrics.retain_versions(name, among, |alias, version| match alias {
                None => is_there(version),
                Some(alias) => function.is_some_and(|function| reaches(function, alias, version)),
            });
            if among == Among::All {
                self.ground.metrics.retain_upstreams(name, is_there);
                if let Some(function) = function {
                    self.ground.metrics.rest(name, |version| function.rests(version));
                }
            }
        }
    }
}

/// Tells if a version rests, as its function has it.
fn rests(next: &Snapshot, key: &UpstreamKey) -> bool {
    let function = next.table.config().functions.get(&key.function);
    function.is_some_and(|function| function.rests(key.version))
}

/// Says of the versions that changed functions have as before whether they rest now.
fn rest_others(before: &Snapshot, next: &Snapshot, changes: &Changes) {
    for index in present(&changes.functions) {
        let function = next.table.function(index).expect("a changed function is in its table");
        let (model, earlier) = (&function.model, before.table.config().functions.get(&function.name));
        let Some(earlier) = earlier.filter(|earlier| model.has_resting() || earlier.has_resting()) else { continue };
        let named = model.named_versions();
        let touched: Vec<VersionId> = if earlier.shares_versions(model) {
            named.symmetric_difference(&earlier.named_versions()).copied().collect()
        } else {
            model.versions.keys().map(|number| VersionId::Number(*number)).collect()
        };
        for version in touched {
            let rests = model.rests_beside(version, || &named);
            for upstream in function.upstreams(version) {
                let state = next.upstreams.get(upstream.get()).and_then(|destination| destination.state.as_ref());
                state.inspect(|state| state.set_resting(rests));
            }
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
