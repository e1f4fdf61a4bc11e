//! Edits of an alias: what it remembers goes from edit to edit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Alias, AliasPatch, OnMissingKey, OnUnhealthy, Selection, Shield};
use crate::text::edit::not_found;
use crate::text::problem::{Code, Problem};
use crate::text::yaml::join;
use crate::value::name::AliasName;

type Aliases = BTreeMap<AliasName, Arc<Alias>>;

/// `path` is that of the aliases.
pub(super) fn create(aliases: &mut Aliases, path: &str, name: &AliasName, to: &Arc<Alias>) -> Result<(), Vec<Problem>> {
    if aliases.contains_key(name) {
        let problem = Problem::error(join(path, name.as_str()), format!("there is an alias `{name}` already"));
        return Err(vec![problem.code(Code::Exists)]);
    }
    aliases.insert(name.clone(), Arc::clone(to));
    Ok(())
}

pub(super) fn set(aliases: &mut Aliases, name: &AliasName, to: &Arc<Alias>) {
    let to = match aliases.get(name) {
        Some(now) if !to.has_history() => Arc::new(now.succeeded_by(to)),
        _ => Arc::clone(to),
    };
    aliases.insert(name.clone(), to);
}

pub(super) fn delete(aliases: &mut Aliases, path: &str, name: &AliasName) -> Result<(), Vec<Problem>> {
    if *name == AliasName::default_alias() {
        let problem = Problem::error(join(path, name.as_str()), format!("the alias `{name}` cannot be deleted"));
        return Err(vec![problem.code(Code::BuiltIn).help("give it `$LATEST`, which is what it means by itself")]);
    }
    aliases.remove(name).map(drop).ok_or_else(|| missing(path, name))
}

/// Replaces an alias that is there by what `change` makes of it.
pub(super) fn change(
    aliases: &mut Aliases,
    path: &str,
    name: &AliasName,
    change: impl FnOnce(&Alias) -> Alias,
) -> Result<(), Vec<Problem>> {
    let alias = aliases.get_mut(name).ok_or_else(|| missing(path, name))?;
    *alias = Arc::new(change(alias));
    Ok(())
}

fn missing(path: &str, name: &AliasName) -> Vec<Problem> {
    vec![not_found(join(path, name.as_str()), format!("there is no alias `{name}`"))]
}

impl Alias {
    /// This alias with what the patch says.
    #[must_use]
    pub fn patched(&self, patch: &AliasPatch) -> Self {
        let Self { split, buckets, joined, .. } = match &patch.split {
            Some(split) => self.shifted(split),
            None => self.clone(),
        };
        let now = self.clone();
        Self {
            split,
            buckets,
            joined,
            key: patch.key.over(now.key, Vec::new()),
            on_missing_key: patch.on_missing_key.over(now.on_missing_key, OnMissingKey::default()),
            selection: patch.selection.over(now.selection, Selection::default()),
            salt: patch.salt.over_option(now.salt),
            rules: patch.rules.over(now.rules, Vec::new()),
            on_unhealthy: patch.on_unhealthy.over(now.on_unhealthy, OnUnhealthy::default()),
            shield: patch.shield.over(now.shield, Shield::default()),
            stable: patch.stable.over_option(now.stable),
            plan: patch.plan.over_option(now.plan),
            description: patch.description.over_option(now.description),
        }
    }

    /// What `next` says, with the history of this alias.
    pub(super) fn succeeded_by(&self, next: &Self) -> Self {
        let Self { buckets, joined, .. } = self.shifted(&next.split);
        Self { buckets, joined, stable: next.stable.or(self.stable), ..next.clone() }
    }
}
