//! The splits that an alias had.

use std::sync::Arc;

use super::Alias;
use crate::value::bucket::Buckets;
use crate::value::name::{RolloutId, VersionId};
use crate::value::weight::Split;

/// The memory of an alias. An episode is a change of its own split: a promotion with all the steps before it,
/// an operator's shift, an edit of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    /// The splits before its last episodes, the newest last; at most [`Past::KEPT`].
    pub splits: Vec<EarlierSplit>,
    /// True if the last thing that happened was a rollout that went back: what is there now is what was before it.
    pub is_back: bool,
    /// The last rollout whose layer was taken off the alias: with it requests saw something else, even if the alias itself is as it was.
    pub dropped: Option<RolloutId>,
}

/// A split that an alias had, with the callers of each version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierSplit {
    /// The split.
    pub split: Split,
    /// The buckets of each version.
    pub buckets: Buckets,
    /// See [`Alias::joined`].
    pub joined: VersionId,
    /// See [`Alias::stable`].
    pub stable: Option<VersionId>,
    /// The salt, by which callers fall into the buckets.
    pub salt: Option<String>,
}

impl Past {
    /// The number of episodes that an alias remembers.
    pub const KEPT: usize = 16;

    /// The past after an episode; `before` is the alias until then.
    #[must_use]
    pub fn with(&self, before: &Alias) -> Self {
        let kept = self.splits.len().saturating_sub(Self::KEPT - 1);
        let splits = self.splits[kept..].iter().cloned().chain([EarlierSplit::of(before)]).collect();
        Self { splits, is_back: false, dropped: self.dropped }
    }
}

impl EarlierSplit {
    /// The split that an alias has.
    #[must_use]
    pub fn of(alias: &Alias) -> Self {
        let Alias { split, buckets, joined, stable, salt, .. } = alias.clone();
        Self { split, buckets, joined, stable, salt }
    }

    /// The alias with this split again.
    #[must_use]
    pub fn restored(&self, alias: &Alias) -> Arc<Alias> {
        let Self { split, buckets, joined, stable, salt } = self.clone();
        Arc::new(Alias { split, buckets, joined, stable, salt, ..alias.clone() })
    }
}
