//! Stores of release 0.1.0: rollouts set the splits of aliases themselves, and aliases remembered no episode.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use config::model::{Alias, Config, Past};
use config::release::rollout::{RolloutId, layered};
use config::text::edit::{Edit, FunctionEdit, Stored};
use config::text::parse::parse_alias;
use config::value::name::{AliasName, FunctionName};

use super::journal::{self, Changed, Entry, Start};
use super::rollback::alias_of;
use super::rollouts::Rollouts;
use super::{Environment, Refused};
use crate::store::{Change, Order, Page, Revision, Store, StoreError};

/// The text that says which release wrote the store; one of 0.1.0 has none.
const FORMAT: &str = "format";
/// The form in which rollouts are layers.
const LAYERED: &str = "2";

/// The change that notes the form of the texts.
pub(super) fn note() -> Change {
    Change { name: FORMAT.to_owned(), text: Some(LAYERED.into()) }
}

/// The edits that a store of release 0.1.0 needs; `None` if it is of this release, or empty. Requests see the same before and
/// after.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn edits(
    store: &dyn Store,
    config: &Config,
    rollouts: &Rollouts,
    environment: &Environment,
) -> Result<Option<Vec<Edit>>, Refused> {
    let image = store.load(FORMAT).await?;
    if image.revision == 0 || image.texts.contains_key(FORMAT) {
        return Ok(None);
    }
    let running = rollouts.lent.iter().filter_map(|(id, lent)| Some((rollouts.all.get(id)?, lent)));
    let mut edits: Vec<Edit> = running.flat_map(|(rollout, lent)| layered(rollout, lent, config)).collect();
    let memories = remembered(store, image.revision, environment).await?;
    edits.extend(memories.into_iter().filter_map(|((function, alias), memory)| {
        config.functions.get(&function)?.aliases.get(&alias)?;
        let past = memory.without_running(rollouts).past;
        (past != Past::default()).then(|| Edit::Stored(function, Stored::Past(alias, Some(past.into()))))
    }));
    Ok(Some(edits))
}

/// The edits that drop layers whose rollout does not run, such as one whose text is damaged.
pub(super) fn without_orphans(config: &Config, rollouts: &Rollouts) -> Vec<Edit> {
    let is_running = |id: RolloutId| rollouts.all.get(&id).is_some_and(|rollout| !rollout.is_over());
    let layers = config
        .functions
        .iter()
        .flat_map(|(name, function)| function.layers.iter().map(move |(alias, layer)| (name, alias, layer.rollout)));
    let orphans = layers.filter(|(_, _, rollout)| !is_running(*rollout));
    let edits = orphans.map(|(name, alias, rollout)| {
        tracing::error!("the layer of rollout {rollout} on {name}:{alias} is dropped: the rollout does not run");
        Edit::Function(name.clone(), FunctionEdit::DropLayer { alias: alias.clone(), rollout, is_back: true })
    });
    // Nobody knows whose they were; those of running rollouts go with them.
    let unread = config.unreadable.keys().filter_map(|name| {
        let (function, alias) = name.strip_prefix("layer/")?.split_once('/')?;
        let (function, alias): (FunctionName, AliasName) = (function.parse().ok()?, alias.parse().ok()?);
        let is_orphan = rollouts.on(&function, &alias).is_none();
        is_orphan.then(|| Edit::Stored(function, Stored::Layer(alias, None)))
    });
    edits.chain(unread).collect()
}

/// The past of each alias that the journal tells of.
async fn remembered(
    store: &dyn Store,
    newest: Revision,
    environment: &Environment,
) -> Result<BTreeMap<(FunctionName, AliasName), Memory>, StoreError> {
    let mut memories: BTreeMap<(FunctionName, AliasName), Memory> = BTreeMap::new();
    let after = Start::read(store).await?.revision;
    let page = Page { after, before: newest + 1, order: Order::OldestFirst, limit: 0 };
    journal::walk(store, page, |revision, line| {
        let entry = Entry::parse(revision, line)?;
        let by = entry.news.iter().find(|news| news.kind != "superseded").map(|news| &*news.rollout);
        for change in &entry.changes {
            if let Some(alias) = alias_of(&change.name) {
                memories.entry(alias).or_default().take(change, by, environment);
            }
        }
        let back = entry.news.iter().filter(|news| matches!(&*news.kind, "rolled back" | "aborted"));
        for news in back {
            memories.values_mut().for_each(|memory| memory.went_back(&news.rollout));
        }
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(memories)
}

/// The memory of an alias, as its changes are walked over, the oldest first.
#[derive(Default)]
struct Memory {
    past: Past,
    /// The rollout of the last episode, if it was one's.
    rollout: Option<String>,
}

impl Memory {
    /// Takes one change of the alias, `by` a rollout or by somebody else.
    fn take(&mut self, change: &Changed, by: Option<&str>, environment: &Environment) {
        let read = |text: &Option<String>| -> Option<Alias> {
            parse_alias(&change.name, text.as_deref()?, &**environment).ok().map(|(alias, _)| alias)
        };
        let (Some(before), Some(after)) = (read(&change.before), read(&change.after)) else {
            *self = Self::default();
            return;
        };
        if before.split != after.split && (by.is_none() || by != self.rollout.as_deref()) {
            self.past = self.past.with(&before);
            self.rollout = by.map(str::to_owned);
        }
    }

    /// A rollout went back: its episode is undone.
    fn went_back(&mut self, rollout: &str) {
        if self.rollout.as_deref() == Some(rollout) {
            self.rollout = None;
            self.past.splits.pop();
            self.past.is_back = true;
        }
    }

    /// The steps of a running rollout are its layer's, and no episode yet.
    fn without_running(mut self, rollouts: &Rollouts) -> Self {
        let is_running = |id: &String| rollouts.running().any(|rollout| rollout.id.to_string() == *id);
        if self.rollout.as_ref().is_some_and(is_running) {
            self.past.splits.pop();
        }
        self
    }
}
