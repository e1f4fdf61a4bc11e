//! Runtime state of aliases: cursors, counters and cells, found by name and put behind the indices of a new table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use config::route::table::{Alias, AliasIndex, Change, Changes, Function};
use config::value::name::VersionId;
use config::value::weight::Weight;

use super::Ground;
use crate::clock;
use crate::live::{AliasState, Cursor, Destination, Snapshot};
use crate::metrics::VersionSeries;
use crate::outcomes::Outcomes;

impl Ground {
    /// Gives every alias of a function that is new or another its runtime state; a cursor goes on unless the table says
    /// that it begins anew.
    pub(super) fn point_aliases(&self, before: &Snapshot, next: &mut Snapshot, changes: &Changes) {
        let restarted: BTreeSet<AliasIndex> = changes.restarted.iter().copied().collect();
        for function in present(&changes.functions) {
            let function = Arc::clone(next.table.function(function).expect("a changed function is in its table"));
            for index in function.aliases() {
                let alias = Arc::clone(next.table.alias(index).expect("an alias of a function is in its table"));
                let kept = before.cursor(index).filter(|_| !restarted.contains(&index));
                let cursor = alias.slots.as_ref().map(|slots| {
                    let fresh = || Arc::new(Cursor(AtomicU64::new(slots.start(rand::random()))));
                    kept.cloned().unwrap_or_else(fresh)
                });
                let destinations = self.destinations(before, next, &function, &alias);
                next.aliases.put(index.get(), Arc::new(AliasState { cursor, destinations }));
            }
        }
    }

    fn destinations(
        &self,
        before: &Snapshot,
        next: &Snapshot,
        function: &Function,
        alias: &Alias,
    ) -> Box<[Arc<Destination>]> {
        let model = &alias.model;
        let outcomes = self.outcomes(before, function, alias);
        let owed = alias.slots.as_ref().and_then(|slots| Some(slots.carried_over()?.to_string().into_boxed_str()));
        let reachable: BTreeSet<VersionId> = model
            .split
            .parts()
            .iter()
            .map(|part| part.0)
            .chain(model.rules.iter().map(|rule| rule.version))
            .chain(model.stable)
            .collect();
        let upstreams = reachable.into_iter().flat_map(|version| function.upstreams(version));
        upstreams
            .map(|index| {
                let direct = next.upstreams.get(index.get()).expect("upstreams come before aliases");
                let version = direct.version();
                let series = self.series(before, alias, direct);
                let weight = model.split.parts().iter().find(|part| part.0 == version).map_or(Weight::ZERO, |p| p.1);
                series.weight.set(weight.basis_points().into());
                Arc::new(Destination {
                    index,
                    function: Arc::clone(&function.model),
                    qualifier: alias.name.as_str().into(),
                    by_alias: true,
                    upstream: Arc::clone(&direct.upstream),
                    state: direct.state.clone(),
                    series,
                    upstream_series: Arc::clone(&direct.upstream_series),
                    outcomes: outcomes.get(&version).cloned(),
                    shield: alias.shield(version),
                    owed: owed.clone(),
                })
            })
            .collect()
    }

    /// The outcome cells of the versions in an alias's split: those of before, so that a change of weights resets nothing.
    /// None where a split has one part: there is nothing to compare.
    fn outcomes(&self, before: &Snapshot, function: &Function, alias: &Alias) -> BTreeMap<VersionId, Arc<Outcomes>> {
        let parts = alias.model.split.parts();
        let compared = parts.iter().filter(|_| parts.len() > 1);
        let cells = |version| before.outcomes(&function.name, &alias.name, version);
        // All of them count in the same strata.
        let mut first = parts.iter().find_map(|(version, _)| cells(*version));
        let mut fresh = || {
            let first = first
                .get_or_insert_with(|| Arc::new(Outcomes::new(self.workers, Arc::clone(&self.wake), clock::now())));
            Arc::new(Outcomes::beside(first, clock::now()))
        };
        compared.map(|&(version, _)| (version, cells(version).unwrap_or_else(&mut fresh))).collect()
    }

    /// The counters of a version under an alias: those of before, if there are some. Metrics are not asked for them, because
    /// whoever reads all of them holds their lock.
    fn series(&self, before: &Snapshot, alias: &Alias, direct: &Destination) -> Arc<VersionSeries> {
        let key = &direct.upstream.key;
        let known = before.alias_destination(&key.function, &alias.name, key.version);
        let known = known.map(|destination| Arc::clone(&destination.series));
        known.unwrap_or_else(|| {
            // A version that an alias names rests no longer.
            let _ = self.metrics.upstream(&key.function, key.version);
            self.metrics.version(&key.function, Some(&alias.name), key.version)
        })
    }
}

/// The things that are there after these changes.
pub(super) fn present<I: Copy>(changes: &[(I, Change)]) -> impl Iterator<Item = I> + '_ {
    changes.iter().filter(|(_, change)| *change != Change::Removed).map(|(index, _)| *index)
}
