//! Bringing back what was: the journal knows every text before and after each change.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;

use config::model::Config;
use config::release::rollout::{Member, Rollout, RolloutId};
use config::text::edit::{Edit, FunctionEdit, rollback_of};
use config::text::parse::parse_alias;
use config::text::problem::{Code, Problem};
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
        /// The revision whose alias comes back, all of it. `None`: the rollout that runs on the alias ends; if there is none, the
        /// split before its last episode comes back, callers and all, which the alias remembers itself.
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
    /// The configuration that goes back: what is live.
    pub(super) config: &'a Config,
    /// The revision of what is stored.
    pub(super) revision: Revision,
}

impl Past<'_> {
    /// The edits that bring it back.
    ///
    /// # Errors
    /// When the journal does not tell.
    pub(super) async fn edits(&self, what: &RollBack, rollouts: &Rollouts) -> Result<Vec<Edit>, Refused> {
        match what {
            RollBack::Alias { function, alias, to: None } => {
                Ok(vec![rollback_of(self.config, function, alias).map_err(Refused::Problems)?])
            }
            RollBack::Alias { function, alias, to: Some(to) } => {
                let edits = self.alias_at(function, alias, *to).await?;
                let running = rollouts.on(function, alias).filter(|_| edits.is_empty());
                Ok(if running.is_some() { self.own_again(function, alias).into_iter().collect() } else { edits })
            }
            RollBack::Config { to } => {
                let mut edits = self.config_at(*to).await?;
                // Rollouts that moved traffic since then end: they are not what was then.
                let layers = self.since(*to, |name| name.starts_with("layer/")).await?;
                let since = |rollout: &&Arc<Rollout>| {
                    let has_layer = |m: &Member| layers.contains_key(&format!("layer/{}/{}", m.function, m.alias));
                    rollout.id.0 > *to || rollout.members.iter().any(has_layer)
                };
                let members = rollouts.running().filter(since).flat_map(|rollout| rollout.members.iter());
                let restored: BTreeSet<_> =
                    edits.iter().flat_map(Edit::splits).map(|(f, a)| (f.clone(), a.clone())).collect();
                let own = members.filter(|m| !restored.contains(&(m.function.clone(), m.alias.clone())));
                let own: Vec<Edit> = own.filter_map(|m| self.own_again(&m.function, &m.alias)).collect();
                // First of all, so that an alias that was not there then goes after all.
                edits.splice(0..0, own);
                Ok(edits)
            }
        }
    }

    /// The edit that sets the split of an alias to what it is, which ends a rollout on it.
    fn own_again(&self, function: &FunctionName, alias: &AliasName) -> Option<Edit> {
        let own = self.config.functions.get(function)?.aliases.get(alias)?;
        Some(Edit::Function(function.clone(), FunctionEdit::RestoreAlias(alias.clone(), Arc::clone(own))))
    }

    async fn alias_at(&self, function: &FunctionName, alias: &AliasName, to: Revision) -> Result<Vec<Edit>, Refused> {
        let name = alias_text(function, alias);
        let mut before = self.since(to, |changed| changed == name).await?;
        match before.remove(&name) {
            None => Ok(Vec::new()),
            Some(None) => {
                let message = format!("there was no alias `{function}:{alias}` at revision {to}");
                let help = format!("`weir history {function}:{alias}` lists the revisions since it is there");
                let problem = Problem::error(format!("functions.{function}.aliases.{alias}"), message);
                Err(Refused::Problems(vec![problem.help(help).code(Code::NothingEarlier)]))
            }
            Some(Some(text)) => Ok(vec![self.restored(function, alias, &text)?]),
        }
    }

    fn restored(&self, function: &FunctionName, alias: &AliasName, text: &str) -> Result<Edit, Refused> {
        let path = format!("functions.{function}.aliases.{alias}");
        let (to, _) = parse_alias(&path, text, &**self.environment).map_err(Refused::Problems)?;
        Ok(Edit::Function(function.clone(), FunctionEdit::RestoreAlias(alias.clone(), Arc::new(to))))
    }

    async fn config_at(&self, to: Revision) -> Result<Vec<Edit>, Refused> {
        // Numbers are not given out again, and a layer is a running rollout's.
        let before = self.since(to, |name| !name.starts_with("number/") && !name.starts_with("layer/")).await?;
        let (made_since, before): (BTreeMap<_, _>, BTreeMap<_, _>) =
            before.into_iter().partition(|(name, text)| text.is_none() && name.starts_with("version/"));
        // An alias remembers what it was before this, so it is no text that is taken as it is.
        let (aliases, before): (BTreeMap<_, _>, BTreeMap<_, _>) =
            before.into_iter().partition(|(name, text)| text.is_some() && name.starts_with("alias/"));
        let changes = before.iter().map(|(name, text)| (&**name, text.as_deref()));
        let mut edits = texts::edits(changes, &**self.environment).map_err(Refused::Problems)?;
        for (name, text) in &aliases {
            if let Some(((function, alias), text)) = alias_of(name).zip(text.as_ref()) {
                edits.push(self.restored(&function, &alias, text)?);
            }
        }
        edits.extend(made_since.keys().filter_map(|name| {
            let (function, number) = name.strip_prefix("version/")?.split_once('/')?;
            let (function, number): (FunctionName, NonZeroU32) = (function.parse().ok()?, number.parse().ok()?);
            // It may have been dropped since.
            self.config.functions.get(&function)?.versions.get(&number)?;
            Some(Edit::Function(function, FunctionEdit::Retire(number, true)))
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

/// The name of the text of an alias.
fn alias_text(function: &FunctionName, alias: &AliasName) -> String {
    format!("alias/{function}/{alias}")
}

/// The alias of a text such as `alias/shop/prod`.
pub(super) fn alias_of(text: &str) -> Option<(FunctionName, AliasName)> {
    let (function, alias) = text.strip_prefix("alias/")?.split_once('/')?;
    Some((function.parse().ok()?, alias.parse().ok()?))
}
