//! Bringing back what was: the journal knows every text before and after each change.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use config::model::{Alias, Config};
use config::release::rollout::RolloutId;
use config::text::edit::{Edit, FunctionEdit};
use config::text::parse::parse_alias;
use config::text::problem::Problem;
use config::text::texts;
use config::value::name::{AliasName, FunctionName};

use super::journal::{self, Entry, Start};
use super::rollouts::Rollouts;
use super::{Environment, Refused};
use crate::store::{Order, Page, Revision, Store};

/// What to bring back.
#[derive(Debug, Clone)]
pub enum RollBack {
    /// One alias.
    Alias {
        /// Of this function.
        function: FunctionName,
        /// The alias.
        alias: AliasName,
        /// All of it as it was at this revision. `None`: the end of the rollout that moves it; if there is none, the split before
        /// its last episode that was not undone, callers and all. What one rollout did is one episode, from its first step to its
        /// end.
        to: Option<Revision>,
    },
    /// Everything but version numbers. Versions that were made since are retired, not lost.
    Config {
        /// As it was at this revision.
        to: Revision,
    },
}

/// Where a rollback reads.
pub(super) struct Past<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) environment: &'a Environment,
    /// What is stored.
    pub(super) config: &'a Config,
    /// Its revision.
    pub(super) revision: Revision,
}

impl Past<'_> {
    /// The edits that bring it back.
    ///
    /// # Errors
    /// When the journal does not tell.
    pub(super) async fn edits(&self, what: &RollBack) -> Result<Vec<Edit>, Refused> {
        match what {
            RollBack::Alias { function, alias, to: None } => self.earlier_split(function, alias).await,
            RollBack::Alias { function, alias, to: Some(to) } => self.alias_at(function, alias, *to).await,
            RollBack::Config { to } => self.config_at(*to).await,
        }
    }

    async fn earlier_split(&self, function: &FunctionName, alias: &AliasName) -> Result<Vec<Edit>, Refused> {
        let there = self.config.functions.get(function).and_then(|function| function.aliases.get(alias));
        let now = there.ok_or_else(|| Refused::Problems(vec![missing(function, alias)]))?;
        let name = alias_text(function, alias);
        let mut episodes = Episodes::default();
        self.back_to(0, |entry| {
            let Some(change) = entry.changes.iter().find(|change| change.name == name) else {
                return ControlFlow::Continue(());
            };
            let read = |text: &Option<String>| text.as_deref().and_then(|text| self.alias(&name, text));
            let (Some(before), after) = (read(&change.before), read(&change.after)) else {
                // It was made then, or is of another version of Weir: nothing earlier is known.
                episodes.is_whole = true;
                return ControlFlow::Break(());
            };
            if after.is_some_and(|after| after.split == before.split) {
                return ControlFlow::Continue(());
            }
            episodes.take(entry.moved_by(&name), before)
        })
        .await?;
        let is_whole = episodes.is_whole || Start::read(self.store).await?.revision == 0;
        let Some(earlier) = episodes.found.filter(|(by, _)| by.is_none() || is_whole).map(|(_, before)| before) else {
            return Err(Refused::NothingEarlier(format!("the journal knows no other split of `{function}:{alias}`")));
        };
        let Alias { split, buckets, joined, stable, .. } = earlier;
        let restored = Alias { split, buckets, joined, stable, ..Alias::clone(now) };
        Ok(vec![Edit::Function(function.clone(), FunctionEdit::RestoreAlias(alias.clone(), Arc::new(restored)))])
    }

    async fn alias_at(&self, function: &FunctionName, alias: &AliasName, to: Revision) -> Result<Vec<Edit>, Refused> {
        let name = alias_text(function, alias);
        let mut before = self.since(to, |changed| changed == name).await?;
        match before.remove(&name) {
            None => Ok(Vec::new()),
            Some(None) => {
                Err(Refused::NothingEarlier(format!("there was no alias `{function}:{alias}` at revision {to}")))
            }
            Some(Some(text)) => {
                let changes = [(&*name, Some(&*text))];
                texts::edits(changes, &**self.environment).map_err(Refused::Problems)
            }
        }
    }

    async fn config_at(&self, to: Revision) -> Result<Vec<Edit>, Refused> {
        let before = self.since(to, |name| !name.starts_with("number/")).await?;
        let (made_since, before): (BTreeMap<_, _>, BTreeMap<_, _>) =
            before.into_iter().partition(|(name, text)| text.is_none() && name.starts_with("version/"));
        let changes = before.iter().map(|(name, text)| (&**name, text.as_deref()));
        let mut edits = texts::edits(changes, &**self.environment).map_err(Refused::Problems)?;
        edits.extend(made_since.keys().filter_map(|name| {
            let (function, number) = name.strip_prefix("version/")?.split_once('/')?;
            let retire = FunctionEdit::Retire(number.parse().ok()?, true);
            Some(Edit::Function(function.parse().ok()?, retire))
        }));
        Ok(edits)
    }

    /// What the wanted texts that changed after `to` were at `to`.
    pub(super) async fn since(
        &self,
        to: Revision,
        wanted: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<BTreeMap<String, Option<String>>, Refused> {
        let mut texts = BTreeMap::new();
        self.back_to(to, |entry| {
            // The oldest change after `to` has the last word.
            let changes = entry.changes.into_iter().filter(|change| wanted(&change.name));
            texts.extend(changes.map(|change| (change.name, change.before)));
            ControlFlow::Continue(())
        })
        .await?;
        Ok(texts)
    }

    /// Visits every entry after `to`, newest first.
    async fn back_to(
        &self,
        to: Revision,
        mut visit: impl FnMut(Entry) -> ControlFlow<()> + Send,
    ) -> Result<(), Refused> {
        let oldest = Start::read(self.store).await?.revision;
        if to != 0 && to < oldest || to > self.revision {
            return Err(Refused::NotInJournal { asked: to, oldest, newest: self.revision });
        }
        let page = Page { after: to.max(oldest), before: self.revision + 1, order: Order::NewestFirst, limit: 0 };
        Ok(journal::walk(self.store, page, |revision, line| Ok(visit(Entry::parse(revision, line)?))).await?)
    }

    /// `None` when this version cannot read what was stored then.
    fn alias(&self, name: &str, text: &str) -> Option<Alias> {
        parse_alias(name, text, &**self.environment).ok().map(|(alias, _)| alias)
    }
}

impl RollBack {
    /// The running rollout that it ends, if so.
    pub(super) fn rollout_in(&self, rollouts: &Rollouts) -> Option<RolloutId> {
        match self {
            Self::Alias { function, alias, to: None } => Some(rollouts.on(function, alias)?.id),
            Self::Alias { .. } | Self::Config { .. } => None,
        }
    }
}

/// The changes of an alias's split, newest first, as they are walked over.
#[derive(Default)]
struct Episodes {
    /// Rollbacks whose episode was not seen yet.
    undone: usize,
    /// The rollout of the episode that is passed over.
    passed: Option<String>,
    /// The last episode that was not undone: its rollout, if it is one's, and the alias before it.
    found: Option<(Option<String>, Alias)>,
    /// True if the beginning of that episode was seen, and not forgotten with the journal.
    is_whole: bool,
}

impl Episodes {
    /// Takes the change of a split from what it was `before`, `by` a rollout or a rollback.
    fn take(&mut self, by: Option<&str>, before: Alias) -> ControlFlow<()> {
        if let Some((found, earlier)) = &mut self.found {
            if by.is_none() || by != found.as_deref() {
                self.is_whole = true;
                return ControlFlow::Break(());
            }
            // An earlier step of the same rollout.
            *earlier = before;
        } else if by == Some(journal::ROLLBACK) {
            self.undone += 1;
        } else if by.is_some() && by == self.passed.as_deref() {
            // Belongs to an episode that was undone.
        } else if self.undone > 0 {
            self.undone -= 1;
            self.passed = by.map(str::to_owned);
        } else {
            self.found = Some((by.map(str::to_owned), before));
        }
        ControlFlow::Continue(())
    }
}

/// The name of the text of an alias.
pub(super) fn alias_text(function: &FunctionName, alias: &AliasName) -> String {
    format!("alias/{function}/{alias}")
}

fn missing(function: &FunctionName, alias: &AliasName) -> Problem {
    Problem::error(format!("functions.{function}.aliases.{alias}"), "there is no such alias")
}
