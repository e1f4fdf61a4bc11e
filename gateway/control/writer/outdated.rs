//! Versions that go when another one is published.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use config::model::Config;
use config::text::edit::{self, Edit};
use config::value::name::{FunctionName, VersionId};
use imbl::ordmap::DiffItem;

use super::Writer;

impl Writer {
    /// The edits by which versions go that are too many after a change, as the settings say. `file` is the one that is applied last
    /// after it.
    pub(super) fn outdated(&self, before: &Config, after: &Config, file: &Config) -> Vec<Edit> {
        let Some(keep) = self.ground.keep_versions else { return Vec::new() };
        let changed = before.functions.diff(&after.functions).filter_map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Update { new: (name, _), .. } => Some(name),
            DiffItem::Remove(..) => None,
        });
        let of_function = |name| edit::outdated((before, after), file, name, keep, &self.in_rollouts(name));
        changed.flat_map(of_function).collect()
    }

    /// The versions of a function that running rollouts move.
    fn in_rollouts(&self, function: &FunctionName) -> BTreeSet<NonZeroU32> {
        let members = self.known.rollouts.running().flat_map(|rollout| &rollout.members);
        let members = members.filter(|member| member.function == *function);
        let versions =
            members.flat_map(|member| member.stable.into_iter().chain([VersionId::Number(member.candidate)]));
        let number = |version| match version {
            VersionId::Number(number) => Some(number),
            VersionId::Latest => None,
        };
        versions.filter_map(number).collect()
    }
}
