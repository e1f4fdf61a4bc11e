//! Updates against compiling anew: the same answers, stable indices, exact changes, shared rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::model::{Config, DomainStage};
use config::route::resolve::Reason;
use config::route::table::{Alias, AliasIndex, Change, Changes, Table, UpstreamIndex};
use proptest::prelude::*;

use crate::worlds::{self, Choices, request, world};
use crate::{check, names, resolved};

/// Names of a table's entries with their indices and what they stand for.
#[derive(Default)]
struct Entries {
    functions: BTreeMap<String, (u32, String)>,
    aliases: BTreeMap<String, (u32, String)>,
    upstreams: BTreeMap<String, (u32, String)>,
    stages: BTreeMap<String, (u32, String)>,
    domains: BTreeMap<String, (u32, String)>,
}

fn entries(table: &Table) -> Entries {
    let mut all = Entries::default();
    for (index, function) in table.functions() {
        all.functions.insert(function.name.to_string(), (index.get(), format!("{:?}", function.model)));
    }
    for (index, alias) in table.aliases() {
        let function = &table.function(alias.function).unwrap().name;
        all.aliases.insert(
            format!("{function}:{}", alias.name),
            (index.get(), format!("{:?} {:?}", alias.model, places(table, alias))),
        );
    }
    for (index, upstream) in table.upstreams() {
        all.upstreams.insert(format!("{:?}", upstream.key), (index.get(), format!("{:?}", upstream.answers)));
    }
    for (index, stage) in table.stages() {
        all.stages.insert(stage.name.to_string(), (index.get(), format!("{:?}", stage.model)));
    }
    for (index, domain) in table.domains() {
        all.domains.insert(domain.host.to_string(), (index.get(), format!("{:?}", domain.model)));
    }
    all
}

type Kind = BTreeMap<String, (u32, String)>;

/// Names keep their index, and the changes are exactly the difference.
fn compare(before: &Kind, after: &Kind, changes: Vec<(u32, Change)>, more: bool) -> Result<(), TestCaseError> {
    let mut expected = BTreeSet::new();
    for (name, (index, content)) in after {
        match before.get(name) {
            None => expected.insert((*index, "added")),
            Some((old, old_content)) => {
                prop_assert_eq!(old, index, "{} moved", name);
                old_content != content && expected.insert((*index, "changed"))
            }
        };
    }
    for (_, (index, _)) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        expected.insert((*index, "removed"));
    }
    let mut found = BTreeSet::new();
    let mut indices = BTreeSet::new();
    for (index, change) in changes {
        prop_assert!(indices.insert(index), "index {} is there twice", index);
        found.insert((
            index,
            match change {
                Change::Added => "added",
                Change::Changed => "changed",
                Change::Removed => "removed",
            },
        ));
    }
    if more {
        // A function is touched, too, when a stage changes whose variables it uses.
        found.retain(|entry| entry.1 != "changed" || expected.contains(entry));
    }
    prop_assert_eq!(found, expected);
    Ok(())
}

fn exact_changes(before: &Table, after: &Table, changes: &Changes) -> Result<(), TestCaseError> {
    let (old, new) = (entries(before), entries(after));
    let list = |c: &Changes| c.functions.iter().map(|(i, c)| (i.get(), *c)).collect();
    compare(&old.functions, &new.functions, list(changes), true)?;
    compare(&old.aliases, &new.aliases, changes.aliases.iter().map(|(i, c)| (i.get(), *c)).collect(), false)?;
    compare(&old.upstreams, &new.upstreams, changes.upstreams.iter().map(|(i, c)| (i.get(), *c)).collect(), false)?;
    compare(&old.stages, &new.stages, changes.stages.iter().map(|(i, c)| (i.get(), *c)).collect(), false)?;
    compare(&old.domains, &new.domains, changes.domains.iter().map(|(i, c)| (i.get(), *c)).collect(), false)?;
    for (index, alias) in after.aliases() {
        let old = before.alias(index).filter(|old| old.name == alias.name && same_function(before, old, after, alias));
        let kept = old.is_some_and(|old| old.slots.is_some() && old.model.split == alias.model.split);
        prop_assert_eq!(changes.restarted.contains(&index), alias.slots.is_some() && !kept);
    }
    prop_assert!(after.aliases().all(|(index, _)| index.get() < after.alias_end() as u32));
    prop_assert!(after.upstreams().all(|(index, _)| index.get() < after.upstream_end() as u32));
    Ok(())
}

/// Where the versions of an alias run, which is part of what it stands for.
fn places(table: &Table, alias: &Alias) -> Vec<Option<UpstreamIndex>> {
    let function = table.function(alias.function).unwrap();
    alias.model.split.served().map(|version| function.upstream(version, None)).collect()
}

fn same_function(before: &Table, old: &Alias, after: &Table, new: &Alias) -> bool {
    before.function(old.function).unwrap().name == after.function(new.function).unwrap().name
}

/// The next world: another one altogether, or this one with parts of another.
fn next(choices: &mut Choices<'_>, now: &Config) -> Config {
    let kind = choices.below(4);
    let other = world(choices);
    let mut next = now.clone();
    match kind {
        0 => return other,
        1 => next.stages = other.stages.union(now.stages.clone()),
        2 => {
            for (name, function) in other.functions.iter().filter(|(name, _)| now.functions.contains_key(*name)) {
                let mut merged = now.functions[name].as_ref().clone();
                Arc::make_mut(&mut merged.versions).extend(Arc::unwrap_or_clone(function.versions.clone()));
                if let (Some(old), Some(new)) =
                    (merged.aliases.values_mut().next(), world_alias(&function.aliases, &merged.versions))
                {
                    *old = new;
                }
                next.functions.insert(name.clone(), Arc::new(merged));
            }
        }
        _ => next.domains.retain_some(choices),
    }
    next
}

/// An alias whose versions all have numbers that are there.
fn world_alias(
    aliases: &BTreeMap<config::value::name::AliasName, Arc<config::model::Alias>>,
    versions: &BTreeMap<std::num::NonZeroU32, Arc<config::model::Version>>,
) -> Option<Arc<config::model::Alias>> {
    let there = |alias: &config::model::Alias| {
        alias
            .split
            .parts()
            .iter()
            .map(|part| part.0)
            .chain(alias.stable)
            .chain(alias.rules.iter().map(|r| r.version))
            .all(|version| matches!(version, config::value::name::VersionId::Number(n) if versions.contains_key(&n)))
    };
    aliases.values().find(|alias| there(alias)).cloned()
}

trait RetainSome {
    fn retain_some(&mut self, choices: &mut Choices<'_>);
}

impl<K: Ord + Clone, V: Clone> RetainSome for imbl::OrdMap<K, V> {
    fn retain_some(&mut self, choices: &mut Choices<'_>) {
        let keys: Vec<K> = self.keys().cloned().collect();
        for key in keys {
            if choices.below(2) == 1 {
                self.remove(&key);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn updating_is_compiling_anew(
        edits in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..5),
        requests in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 24), 1..20),
    ) {
        let mut config = Config::default();
        let mut table = Table::empty();
        for edit in &edits {
            let next = next(&mut Choices(edit.iter()), &config);
            let (updated, changes) = table.update(&next, &|alias| alias.get() as u64 * 13);
            exact_changes(&table, &updated, &changes)?;
            (config, table) = (next, updated);
            let anew = Table::compile(&config);
            for choices in &requests {
                let request = request(&mut Choices(choices.iter()));
                check(&config, &table, &request)?;
                let (a, b) = (resolved(&table, &request).0, resolved(&anew, &request).0);
                // What was owed is carried, so slots may go elsewhere than in a table without a past.
                if !matches!(a, Ok(r) if matches!(r.reason, Reason::Slot(_))) {
                    prop_assert_eq!(
                        a.map(|r| names(&table, &r)).map_err(|u| u.as_str()),
                        b.map(|r| names(&anew, &r)).map_err(|u| u.as_str())
                    );
                }
            }
        }
    }
}

fn many(functions: u32) -> Config {
    let mut config = Config::default();
    for n in 0..functions {
        let name = format!("f{n}");
        let versions = (1..=2).map(|v| (v.try_into().unwrap(), worlds::upstream("10.0.0.1", v as u16)));
        let versions = Arc::new(versions.collect());
        let prod = worlds::alias(worlds::split(&[(worlds::version(1), 9_500), (worlds::version(2), 500)]));
        let aliases = BTreeMap::from([("prod".parse().unwrap(), Arc::new(prod))]);
        let function = config::model::Function { versions, aliases, ..Default::default() };
        config.functions.insert(name.parse().unwrap(), Arc::new(function));
        let routes = vec![worlds::route("/*", &name, Some("prod"))];
        let domain = worlds::domain(routes, DomainStage::None);
        config.domains.insert(format!("{name}.example").parse().unwrap(), Arc::new(domain));
    }
    config
}

/// Sets the weight of version 2 of `f<n>:prod`, in basis points.
fn shift(config: &mut Config, n: u32, weight: u16) {
    let name = format!("f{n}").parse().unwrap();
    let mut function = config.functions[&name].as_ref().clone();
    let alias = worlds::alias(worlds::split(&[(worlds::version(1), 10_000 - weight), (worlds::version(2), weight)]));
    function.aliases.insert("prod".parse().unwrap(), Arc::new(alias));
    config.functions.insert(name, Arc::new(function));
}

fn alias_of(table: &Table, n: u32) -> AliasIndex {
    table.function(table.function_named(&format!("f{n}")).unwrap()).unwrap().alias("prod").unwrap()
}

#[test]
fn a_weight_change_touches_one_alias_and_shares_the_rest() {
    let mut config = many(3_000);
    let before = Table::compile(&config);
    shift(&mut config, 1_234, 1_000);
    let (after, changes) = before.update(&config, &|_| 0);
    let alias = alias_of(&after, 1_234);
    let function = after.function_named("f1234").unwrap();
    assert_eq!(
        changes,
        Changes {
            functions: vec![(function, Change::Changed)],
            aliases: vec![(alias, Change::Changed)],
            restarted: vec![alias],
            ..Changes::default()
        }
    );
    let shared = before.aliases().filter(|(index, old)| Arc::ptr_eq(old, after.alias(*index).unwrap())).count();
    assert_eq!(shared, before.aliases().count() - 1);
    assert!(before.upstreams().all(|(index, old)| Arc::ptr_eq(old, after.upstream(index).unwrap())));
    assert!(before.functions().all(|(i, old)| i == function || Arc::ptr_eq(old, after.function(i).unwrap())));
    let (same, nothing) = after.update(&config, &|_| panic!("nothing changed"));
    assert_eq!((nothing, same.aliases().count()), (Changes::default(), after.aliases().count()));
}

/// What versions are owed at a change of weights goes into the next sequence.
#[test]
fn what_is_owed_is_carried() {
    let mut config = many(1);
    shift(&mut config, 0, 5_000);
    let before = Table::compile(&config);
    let index = alias_of(&before, 0);
    let start = before.alias(index).unwrap().slots.as_ref().unwrap().start(11 << 60);
    shift(&mut config, 0, 4_000);
    for drawn in 0..6 {
        let owed = before.alias(index).unwrap().slots.as_ref().unwrap().owed(start + drawn);
        let (after, changes) = before.update(&config, &|_| start + drawn);
        let slots = after.alias(index).unwrap().slots.as_ref().unwrap();
        assert_eq!(changes.restarted, [index]);
        assert_eq!(slots.owed(slots.start(0)), owed, "after {drawn} requests");
    }
}
