//! The control plane as dialects need it: what is live with its revisions and times, and commands whose refusals are said in their
//! words.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::dialect::failure::{DialectFailure, FailureKind};
use config::dialect::opaque::revision_id;
use config::model::{Alias, Config, Function};
use config::text::edit::Edit;
use config::text::problem::{Code, Problem};
use config::value::name::{AliasName, FunctionName, VersionId};
use tokio::time::timeout;

use super::keys::Key;
use crate::control::journal::Query;
use crate::control::{Author, Control, Done, Environment, Expected, Guard, Refused, Wish};
use crate::live::{Live, Snapshot};
use crate::store::Revision;

/// Times of revisions that are remembered.
const TIMES: usize = 10_000;
/// Tries of a change that is computed from what is live, and that others overtook.
const TRIES: usize = 20;
/// For a revision that others wrote to go live.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Reads and commands.
pub(super) struct Plane {
    control: Control,
    live: Arc<Live>,
    pub(super) environment: Environment,
    /// Of ARNs.
    pub(super) account: String,
    store: String,
    /// Of revisions, as the journal has them; they never change.
    times: Mutex<HashMap<Revision, Arc<str>>>,
}

/// A configuration, and at which revision each part of it stands.
pub(super) struct Seen {
    pub(super) config: Config,
    revision: Revision,
    snapshot: Arc<Snapshot>,
}

/// A change that is computed from what is live.
pub(super) struct Drafted {
    pub(super) edits: Vec<Edit>,
    /// What it stands on.
    pub(super) guard: Option<Guard>,
    /// True if the caller stated that, and nobody computes it anew.
    pub(super) is_stated: bool,
}

impl Plane {
    pub(super) fn new(
        control: Control,
        live: Arc<Live>,
        environment: Environment,
        account: String,
        store: String,
    ) -> Self {
        Self { control, live, environment, account, store, times: Mutex::default() }
    }

    /// What is live.
    pub(super) fn seen(&self) -> Seen {
        let snapshot = self.live.load_full();
        Seen { config: snapshot.table.config().clone(), revision: snapshot.revision, snapshot }
    }

    /// Carries out a change that is computed from what is live; computed anew, if somebody else was quicker.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn change(
        &self,
        key: &Key,
        draft: impl Fn(&Seen) -> Result<Drafted, DialectFailure> + Send,
    ) -> Result<(Done, Seen), DialectFailure> {
        let mut tries = 0;
        loop {
            let seen = self.seen();
            let Drafted { edits, guard, is_stated } = draft(&seen)?;
            drop(seen);
            let wish = Wish { author: author(key), edits, guard };
            match self.control.edit(wish).await {
                Ok(done) => {
                    let seen = self.after(&done);
                    return Ok((done, seen));
                }
                Err(Refused::Precondition { current, .. }) if !is_stated && tries < TRIES => {
                    tries += 1;
                    self.catch_up(current.unwrap_or_default()).await;
                }
                Err(refused) => return Err(said(refused)),
            }
        }
    }

    /// What a change would do.
    ///
    /// # Errors
    /// Why it would not be made.
    pub(super) async fn try_out(&self, key: &Key, draft: Drafted) -> Result<Seen, DialectFailure> {
        let wish = Wish { author: author(key), edits: draft.edits, guard: draft.guard };
        let done = self.control.try_out(wish).await.map_err(said)?;
        Ok(self.after(&done))
    }

    fn after(&self, done: &Done) -> Seen {
        Seen { config: done.after.clone(), revision: done.revision, snapshot: self.live.load_full() }
    }

    async fn catch_up(&self, revision: Revision) {
        let mut progress = self.live.progress();
        // The next try says what is wrong, if that never comes.
        let _ = timeout(CATCH_UP, progress.wait_for(|seen| *seen >= revision)).await;
    }

    /// The id of the revision of one thing.
    pub(super) fn id_of(&self, name: &str, revision: Revision) -> String {
        revision_id(&self.store, name, revision)
    }

    /// The condition that a revision id of a caller makes; `None` without one.
    ///
    /// # Errors
    /// It is not that of what is live.
    pub(super) fn stated(
        &self,
        stated: Option<&str>,
        name: &str,
        revision: Revision,
    ) -> Result<Option<Guard>, DialectFailure> {
        let Some(stated) = stated.filter(|stated| !stated.is_empty()) else { return Ok(None) };
        let current = self.id_of(name, revision);
        if stated != current {
            let message = format!("the RevisionId is {current}, and not the one that was given: read it again");
            return Err(DialectFailure::new(FailureKind::Precondition, message));
        }
        Ok(Some(Guard { name: name.to_owned(), expected: Expected::Revision(revision) }))
    }

    /// When this revision was written, as RFC 3339 in UTC with milliseconds; that of 1970 if the journal has forgotten it.
    pub(super) async fn time_of(&self, revision: Revision) -> Arc<str> {
        let known = self.times.lock().unwrap_or_else(PoisonError::into_inner).get(&revision).cloned();
        if let Some(known) = known {
            return known;
        }
        let query = Query {
            after: revision.saturating_sub(1),
            before: revision.saturating_add(1),
            newest_first: false,
            limit: 1,
            name: None,
            who: None,
            since: None,
        };
        let read = self.control.journal(query).await;
        let entry = read.ok().and_then(|page| page.entries.into_iter().next());
        let Some(entry) = entry.filter(|entry| entry.revision == revision) else {
            return "1970-01-01T00:00:00.000Z".into();
        };
        let time: Arc<str> = entry.time.into();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() >= TIMES {
            times.clear();
        }
        times.insert(revision, Arc::clone(&time));
        time
    }
}

impl Seen {
    /// The function.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn function(&self, name: &FunctionName) -> Result<&Arc<Function>, DialectFailure> {
        let missing = || DialectFailure::new(FailureKind::NoFunction, format!("Function not found: {name}"));
        self.config.functions.get(name).ok_or_else(missing)
    }

    /// The alias as requests see it.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn alias(&self, function: &FunctionName, name: &AliasName) -> Result<Arc<Alias>, DialectFailure> {
        let missing =
            || DialectFailure::new(FailureKind::NoAlias, format!("there is no alias `{name}` of `{function}`"));
        self.function(function)?.effective(name).ok_or_else(missing)
    }

    /// Checks that a version can be pointed to.
    ///
    /// # Errors
    /// It is not there, or out of use.
    pub(super) fn usable(&self, function: &FunctionName, version: VersionId) -> Result<(), DialectFailure> {
        let why = match self.function(function)?.version(version) {
            Some(version) if !version.retired => return Ok(()),
            Some(_) => "is out of use",
            None => "does not exist",
        };
        Err(DialectFailure::new(FailureKind::NoVersion, format!("version {version} of `{function}` {why}")))
    }

    /// The revision of the thing with this text name. Of a thing that changed since it is the one of what is seen.
    pub(super) fn revision_of(&self, name: &str) -> Revision {
        let known = self.snapshot.revisions.get(name).copied();
        known.filter(|revision| *revision <= self.revision).unwrap_or(self.revision)
    }

    /// The name of an alias's text, and the revision of what requests see of it: its own, or that of the layer over it.
    pub(super) fn effective_revision(&self, function: &FunctionName, alias: &AliasName) -> (String, Revision) {
        let name = alias_text(function, alias);
        let has_layer = self.config.functions.get(function).is_some_and(|function| function.layers.contains_key(alias));
        let own = self.revision_of(&name);
        if !has_layer {
            return (name, own);
        }
        let layer = self.revision_of(&format!("layer/{function}/{alias}"));
        (name, own.max(layer))
    }
}

/// The name of the text of an alias.
pub(super) fn alias_text(function: &FunctionName, alias: &AliasName) -> String {
    format!("alias/{function}/{alias}")
}

/// The name of the text of a version, or of the draft.
pub(super) fn version_text(function: &FunctionName, version: VersionId) -> String {
    match version {
        VersionId::Latest => format!("draft/{function}"),
        VersionId::Number(number) => format!("version/{function}/{number}"),
    }
}

fn author(key: &Key) -> Author {
    Author { who: key.author(), why: None, may_run: false, is_remote: true }
}

/// What the control plane refused, in the words of dialects.
pub(super) fn said(refused: Refused) -> DialectFailure {
    let message = refused.to_string();
    let kind = match refused {
        Refused::Problems(problems) => return of_problems(&problems),
        Refused::Precondition { .. } => FailureKind::Precondition,
        Refused::NotInJournal { .. } | Refused::Rollout(_) => FailureKind::WrongParameter,
        Refused::Forbidden(_) => FailureKind::Forbidden,
        Refused::Unavailable(_) | Refused::TermOver | Refused::Unknown(_) | Refused::Stopping => {
            FailureKind::Unavailable
        }
    };
    DialectFailure::new(kind, message)
}

fn of_problems(problems: &[Problem]) -> DialectFailure {
    let coded = problems.iter().find_map(|problem| Some((problem.code?, problem)));
    let kind = coded.map(|(code, _)| match code {
        Code::NotFound | Code::NothingEarlier => FailureKind::NoVersion,
        Code::Exists => FailureKind::AliasExists,
        Code::Referenced => FailureKind::InUse,
        Code::VersionUnchanged { .. } | Code::DigestMismatch => FailureKind::WrongParameter,
        Code::Immutable | Code::BuiltIn | Code::NumberUsed | Code::Unreadable => FailureKind::InUse,
    });
    let told = coded.map(|(_, problem)| problem).or(problems.first());
    let message = told.map_or_else(String::new, |problem| match &problem.help {
        Some(help) => format!("{}; {help}", problem.message),
        None => problem.message.clone(),
    });
    DialectFailure::new(kind.unwrap_or(FailureKind::WrongParameter), message)
}

/// The version that a refused publication found to be the same.
pub(super) fn unchanged(refused: &Refused) -> Option<std::num::NonZeroU32> {
    let Refused::Problems(problems) = refused else { return None };
    problems.iter().find_map(|problem| match problem.code? {
        Code::VersionUnchanged { version } => Some(version),
        _ => None,
    })
}

impl Plane {
    /// Publishes by these edits; the number is that of the newest version if nothing changed since it.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn publish(
        &self,
        key: &Key,
        edits: Vec<Edit>,
        guard: Option<Guard>,
        function: &FunctionName,
    ) -> Result<(std::num::NonZeroU32, Seen), DialectFailure> {
        let wish = Wish { author: author(key), edits, guard };
        match self.control.edit(wish).await {
            Ok(done) => {
                let seen = self.after(&done);
                let newest = seen.function(function)?.versions.keys().next_back().copied();
                let newest =
                    newest.ok_or_else(|| DialectFailure::new(FailureKind::NoVersion, "no version was published"))?;
                Ok((newest, seen))
            }
            Err(refused) => match unchanged(&refused) {
                Some(version) => Ok((version, self.seen())),
                None => Err(said(refused)),
            },
        }
    }
}
