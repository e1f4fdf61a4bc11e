//! Aliases: what follows from their split.

use std::sync::Arc;

use super::{Alias, OnMissingKey, OnUnhealthy, Selection, Shield};
use crate::value::bucket::Buckets;
use crate::value::name::VersionId;
use crate::value::weight::Split;

impl Alias {
    /// An alias with this split and the default of everything else, as a cold start from a file makes it.
    #[must_use]
    pub fn new(split: Split) -> Self {
        Self {
            buckets: Buckets::cold(&split),
            joined: split.highest(),
            key: Vec::new(),
            on_missing_key: OnMissingKey::default(),
            selection: Selection::default(),
            salt: None,
            rules: Vec::new(),
            on_unhealthy: OnUnhealthy::default(),
            shield: Shield::default(),
            stable: None,
            plan: None,
            description: None,
            split,
        }
    }

    /// `$DEFAULT` as it is until somebody changes it: everything to `$LATEST`.
    #[must_use]
    pub fn untouched_default() -> Arc<Self> {
        Arc::new(Self::new(Split::whole(VersionId::Latest)))
    }

    /// The stable version: the one that promotion left, else the one with the largest weight; of equals the lower number.
    #[must_use]
    pub fn stable_version(&self) -> VersionId {
        let is_served = |version: &VersionId| self.split.served().any(|served| served == *version);
        self.stable.filter(is_served).unwrap_or_else(|| self.split.largest())
    }

    /// This alias with other weights: callers move only from versions that lose to versions that gain.
    #[must_use]
    pub fn shifted(&self, split: &Split) -> Self {
        Self {
            split: split.clone(),
            buckets: self.buckets.reassign(split),
            joined: joined(self, split),
            ..self.clone()
        }
    }

    /// True if it remembers more than a cold start from its weights would give.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.buckets != Buckets::cold(&self.split) || self.joined != self.split.highest()
    }
}

/// The cohort's version after `alias` gets `split`: it changes when one version becomes several, to the highest newcomer.
fn joined(alias: &Alias, split: &Split) -> VersionId {
    let before: Vec<VersionId> = alias.split.served().collect();
    if before.len() > 1 && split.served().count() > 1 {
        return alias.joined;
    }
    split.served().rfind(|version| !before.contains(version)).unwrap_or_else(|| split.highest())
}
