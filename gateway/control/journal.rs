//! The journal: who changed what, when and why. Each line holds the hash of the one before, so that no line can be
//! changed, left out or put in without a trace.
//!
//! One line is one transaction, as JSON. Hashes are SHA-256 over the bytes of a line, in lower-case hexadecimal; the line
//! of revision 1 stands on 64 zeros. What retention forgot is remembered as one hash ([`Start`]).
//!
//! - `verified`: the journal, checked against itself and against what is stored

mod verified;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use config::model::Config;
use config::text::diff::diff;
use config::text::texts;
use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use super::{Author, CONFIG, sha256};
use crate::store::{Change, Image, Order, Page as StorePage, Revision, Store, StoreError};

pub(super) use verified::verify;
pub use verified::{Checked, Verdict};

/// How many lines are read from the store at a time.
const CHUNK: usize = 256;
/// So many differences are told in words; the texts tell the rest.
const TOLD: usize = 20;
/// RFC 3339 with milliseconds, always: so that times compare as texts.
const TIME: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
/// Texts of what aliases remember, among those of the configuration.
const PAST: &str = "past/";
/// The text that says what was forgotten.
pub(super) const START: &str = "journal/start";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The store's revision after it.
    pub revision: Revision,
    /// When, as RFC 3339 in UTC.
    pub time: String,
    /// Such as `token:ci`, `file`, `start`.
    pub who: String,
    /// In the author's words.
    pub why: Option<String>,
    /// What changed, in words.
    pub what: Vec<String>,
    /// What changed, exactly.
    pub changes: Vec<Changed>,
    /// What rollouts tell of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub news: Vec<News>,
    /// Hashes of all other texts that the transaction wrote, by their names in the store; `None` of those that it deleted. Lines
    /// of release 0.1.0 tell nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<BTreeMap<String, Option<Hash>>>,
    /// Hash of the line before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
    /// Hash of this line, for those who read it. No line holds its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
}

/// One text before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Such as `alias/shop/prod`.
    pub name: String,
    /// `None`: there was none.
    pub before: Option<String>,
    /// `None`: there is none.
    pub after: Option<String>,
}

/// News of a rollout, with the numbers it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Such as `r12`.
    pub rollout: String,
    /// One word: `step`, `rolled back` …
    pub kind: String,
    /// In a sentence.
    pub text: String,
    /// The candidate's weight in percent.
    pub weight: String,
    /// What was counted, and what that says.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub evidence: serde_json::Value,
}

/// What a line tells beside the texts that changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// In words; without any, what differs between the configurations.
    pub(super) what: Vec<String>,
    /// Whether what differs between the configurations is told all the same.
    pub(super) is_edit: bool,
    /// What rollouts tell.
    pub(super) news: Vec<News>,
    /// See [`Entry::others`].
    pub(super) others: BTreeMap<String, Option<Hash>>,
}

/// Hash of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hash(String);

impl Hash {
    /// What the first line stands on.
    pub(super) fn zero() -> Self {
        Self("0".repeat(64))
    }

    /// Of a line, or of another text.
    pub(super) fn of(line: &str) -> Self {
        Self(sha256(line))
    }

    /// In lower-case hexadecimal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was forgotten: every line up to a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The last revision that was forgotten.
    pub(super) revision: Revision,
    /// Hash of its line.
    pub(super) hash: Hash,
}

impl Start {
    /// Where the journal of this store begins.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        Ok(Self::of(&store.load(START).await?))
    }

    /// The beginning of the journal, as an image of the store has it.
    pub(super) fn of(image: &Image) -> Self {
        let kept = image.texts.get(START).and_then(|stored| Self::parse(&stored.text));
        kept.unwrap_or(Self { revision: 0, hash: Hash::zero() })
    }

    /// As its text says, if that can be read.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// What is asked of the journal.
#[derive(Debug, Clone)]
pub struct Query {
    /// Only after this revision.
    pub after: Revision,
    /// Only before this revision.
    pub before: Revision,
    /// From which end.
    pub newest_first: bool,
    /// At most so many entries.
    pub limit: usize,
    /// Only changes of this text: `alias/shop/prod`. A function's is all of the function: `function/shop`.
    pub name: Option<String>,
    /// Only by this author.
    pub who: Option<String>,
    /// Only since then (since 1970-01-01 UTC).
    pub since: Option<Duration>,
}

/// What the journal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// Where the next page goes on: `before` or `after` of the next query; `None` at the end.
    pub next: Option<Revision>,
}

/// The hashes by which a line tells of changed texts that it does not hold whole: all but the live configuration, and in it what aliases
/// remember.
pub(super) fn others(changes: &[Change]) -> BTreeMap<String, Option<Hash>> {
    let is_whole = |name: &str| name.strip_prefix(CONFIG).is_some_and(|name| !name.starts_with(PAST));
    let others = changes.iter().filter(|change| !is_whole(&change.name));
    others.map(|change| (change.name.clone(), change.text.as_deref().map(Hash::of))).collect()
}

/// The line of a transaction from `before` to `after`, at `now` (since 1970-01-01 UTC).
pub(super) fn line(
    revision: Revision,
    now: Duration,
    author: &Author,
    (before, after, changes): (&Config, &Config, &[Change]),
    told: Told,
    previous: &Hash,
) -> Arc<str> {
    let changes = changes.iter().filter_map(|change| Some((change.name.strip_prefix(CONFIG)?, change.text.as_deref())));
    // What an alias remembers follows from the changes of the alias.
    let (pasts, changes): (Vec<_>, Vec<_>) = changes.partition(|(name, _)| name.starts_with(PAST));
    let mut what = told.what;
    if what.is_empty() || told.is_edit {
        what.extend(words(before, after, changes.len()));
    }
    if what.is_empty() {
        what.extend(words_of_pasts(&pasts));
    }
    let entry = Entry {
        revision,
        time: rfc3339(now),
        who: author.who.clone(),
        why: author.why.clone(),
        what,
        changes: changed(before, after, changes),
        news: told.news,
        others: Some(told.others),
        previous: Some(previous.clone()),
        hash: None,
    };
    serde_json::to_string(&entry).expect("texts and numbers are JSON").into()
}

/// What differs, as far as a line tells it, where so many texts do.
fn words(before: &Config, after: &Config, texts: usize) -> Vec<String> {
    let few = first_differences(before, after);
    let changes = diff(before, few.as_ref().unwrap_or(after));
    let mut words: Vec<String> = changes.iter().take(TOLD).map(ToString::to_string).collect();
    if few.is_some() {
        words.push(format!("and more: {texts} texts differ in all"));
    } else if changes.len() > TOLD {
        words.push(format!("and {} more", changes.len() - TOLD));
    }
    // A thing that was replaced is told as one that was added.
    let gone = before.unreadable.keys().filter(|name| !after.unreadable.contains_key(*name));
    words.extend(gone.take(TOLD).map(|name| format!("{name}: the text could not be read, and is replaced or deleted")));
    words
}

/// `after` without most of the functions that differ, where more of them do than are told: the others need not be put into words.
fn first_differences(before: &Config, after: &Config) -> Option<Config> {
    let names = before.functions.diff(&after.functions).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
    });
    let names: Vec<_> = names.take(TOLD + 1).collect();
    if names.len() <= TOLD {
        return None;
    }
    let (mut functions, mut numbers) = (before.functions.clone(), before.numbers.clone());
    for name in names {
        match after.functions.get(name) {
            Some(function) => drop(functions.insert(name.clone(), Arc::clone(function))),
            None => drop(functions.remove(name)),
        }
        if let Some(number) = after.numbers.get(name) {
            numbers.insert(name.clone(), *number);
        }
    }
    Some(Config { functions, numbers, ..after.clone() })
}

/// What a rollback does where there is nothing to undo.
fn words_of_pasts(pasts: &[(&str, Option<&str>)]) -> Vec<String> {
    let pasts = pasts.iter().filter_map(|(name, _)| name.strip_prefix(PAST)?.split_once('/'));
    let words = |(function, alias)| format!("{function}:{alias} is back already: the next rollback goes further back");
    pasts.take(TOLD).map(words).collect()
}

fn changed(before: &Config, after: &Config, changes: Vec<(&str, Option<&str>)>) -> Vec<Changed> {
    let mut was: HashMap<String, Option<String>> = texts::changes(after, before).into_iter().collect();
    let changes = changes.into_iter().map(|(name, after)| {
        let before = was.remove(name).flatten();
        Changed { name: name.to_owned(), before, after: after.map(str::to_owned) }
    });
    changes.collect()
}

pub(super) fn rfc3339(unix: Duration) -> String {
    let time = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(i64::try_from(unix.as_millis()).unwrap_or(0));
    time.format(TIME).expect("a year of four digits has this form")
}

/// Walks the journal; `visit` gets each revision with its line and says whether to go on.
///
/// # Errors
/// When the store cannot be read, or `visit` fails.
pub(super) async fn walk(
    store: &dyn Store,
    mut page: StorePage,
    mut visit: impl FnMut(Revision, &str) -> Result<ControlFlow<()>, StoreError> + Send,
) -> Result<(), StoreError> {
    page.limit = CHUNK;
    loop {
        let lines = store.journal(page).await?;
        let Some(last) = lines.last() else { return Ok(()) };
        match page.order {
            Order::OldestFirst => page.after = last.revision,
            Order::NewestFirst => page.before = last.revision,
        }
        for line in &lines {
            if visit(line.revision, &line.text)?.is_break() {
                return Ok(());
            }
        }
    }
}

impl Entry {
    pub(super) fn parse(revision: Revision, line: &str) -> Result<Self, StoreError> {
        serde_json::from_str(line)
            .map_err(|error| StoreError::new(format!("the journal's line of revision {revision} is damaged: {error}")))
    }

    /// An entry in the place of one that cannot be read, without a time and an author.
    fn damaged(revision: Revision, error: &StoreError) -> Self {
        Self {
            revision,
            time: String::new(),
            who: String::new(),
            why: None,
            what: vec![error.to_string()],
            changes: Vec::new(),
            news: Vec::new(),
            others: None,
            previous: None,
            hash: None,
        }
    }
}

/// A page of entries that the query wants. A line that is damaged is told as such, and hides no other: nobody knows if it is wanted.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn read(store: &dyn Store, query: &Query) -> Result<Page, StoreError> {
    let order = if query.newest_first { Order::NewestFirst } else { Order::OldestFirst };
    let page = StorePage { after: query.after, before: query.before, order, limit: CHUNK };
    let since = query.since.map(rfc3339);
    let (mut entries, mut next) = (Vec::<Entry>::new(), None);
    walk(store, page, |revision, line| {
        let entry = Entry::parse(revision, line).unwrap_or_else(|error| Entry::damaged(revision, &error));
        let is_damaged = entry.time.is_empty();
        if query.newest_first && !is_damaged && since.as_ref().is_some_and(|since| entry.time < *since) {
            return Ok(ControlFlow::Break(()));
        }
        if is_damaged || query.wants(&entry, since.as_deref()) {
            if entries.len() == query.limit {
                next = entries.last().map(|entry| entry.revision);
                return Ok(ControlFlow::Break(()));
            }
            entries.push(Entry { previous: None, others: None, hash: Some(Hash::of(line)), ..entry });
        }
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(Page { entries, next })
}

impl Query {
    fn wants(&self, entry: &Entry, since: Option<&str>) -> bool {
        let names = |name: &String| entry.changes.iter().any(|change| is_of(&change.name, name));
        self.name.as_ref().is_none_or(names)
            && self.who.as_ref().is_none_or(|who| *who == entry.who)
            && since.is_none_or(|since| &*entry.time >= since)
    }
}

fn is_of(name: &str, asked: &str) -> bool {
    let of_function = || {
        let function = asked.strip_prefix("function/")?;
        let (kind, rest) = name.split_once('/')?;
        let is_part = matches!(kind, "alias" | "draft" | "layer" | "number" | "version");
        Some(is_part && rest.split('/').next() == Some(function))
    };
    let is_layer = || Some(name.strip_prefix("layer/")? == asked.strip_prefix("alias/")?);
    name == asked || is_layer().unwrap_or(false) || of_function().unwrap_or(false)
}
