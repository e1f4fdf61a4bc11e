//! Edits under arbitrary configurations: who owns what, and what is never given out twice.

#![expect(clippy::unwrap_used, reason = "test data: what is written here is valid")]

mod arbitrary;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use arbitrary::{Draw, config, env, function};
use config::model::{Config, Function, Target, Version};
use config::text::diff::diff;
use config::text::edit::{Edit, FunctionEdit, Merge, apply, edits_between};
use config::text::format::format_draft;
use config::text::parse::parse_draft;
use config::value::digest::Digest;
use config::value::name::FunctionName;
use proptest::prelude::*;
use serde_json::Value;

/// The fields of one function by path, as their canonical JSON. A split and what it remembers is one field.
fn fields(function: &Function) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let json = config::text::format::json::function(function);
    let of = |section: &str| json.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, alias) in of("aliases") {
        let (mut memory, mut alias) = (String::new(), alias.as_object().cloned().unwrap_or_default());
        for field in ["split", "joined", "buckets"] {
            memory += &format!("{field}: {}; ", alias.remove(field).unwrap_or_default());
        }
        all.insert(format!("aliases.{name}.split"), memory);
        all.extend(alias.into_iter().map(|(field, value)| (format!("aliases.{name}.{field}"), value.to_string())));
    }
    let mut draft = of("draft");
    // Protocol and TLS go together.
    let transport = [draft.remove("protocol"), draft.remove("tls")];
    if !draft.is_empty() {
        all.insert("draft.protocol".into(), format!("{transport:?}"));
    }
    all.extend(draft.into_iter().map(|(field, value)| (format!("draft.{field}"), value.to_string())));
    all.insert("invoke".into(), json.get("invoke").cloned().unwrap_or_default().to_string());
    all.insert("dialects".into(), json.get("dialects").cloned().unwrap_or_default().to_string());
    all
}

fn shop(function: Function) -> Config {
    let mut config = Config::default();
    let name: FunctionName = "shop".parse().unwrap();
    config.numbers.extend(function.versions.keys().next_back().map(|number| (name.clone(), *number)));
    config.functions.insert(name, Arc::new(function));
    for plan in ["careful", "slow"] {
        config.plans.insert(plan.parse().unwrap(), Arc::new(config::text::parse::parse_plan("full", &env).unwrap()));
    }
    config
}

/// The function with the same versions and other things around them, some of which are the old ones.
fn varied(of: &Function, d: &mut Draw) -> Function {
    let mut new = function(d);
    new.versions = of.versions.clone();
    // Aliases of the other function may name a version that this one lacks.
    let known: Vec<_> = of.versions.iter().filter(|(_, version)| !version.retired).map(|(n, _)| n.get()).collect();
    let fits = |alias: &config::model::Alias| {
        let ids = alias.split.parts().iter().map(|(id, _)| *id).chain(alias.rules.iter().map(|rule| rule.version));
        ids.chain(alias.stable).all(|id| match id {
            config::value::name::VersionId::Number(number) => known.contains(&number.get()),
            config::value::name::VersionId::Latest => true,
        })
    };
    new.aliases.retain(|_, alias| fits(alias));
    for (name, alias) in &of.aliases {
        if d.coin() {
            let mut mixed = Arc::unwrap_or_clone(Arc::clone(alias));
            if let (Some(other), true) = (new.aliases.get(name), d.coin()) {
                (mixed.salt, mixed.key) = (other.salt.clone(), other.key.clone());
            }
            new.aliases.insert(name.clone(), Arc::new(mixed));
        }
    }
    if d.coin() {
        new.draft = of.draft.clone();
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_field_that_the_texts_leave_alone_stays_as_it_is_live(seed in any::<u64>(), live in any::<u64>(), next in any::<u64>()) {
        let base = function(&mut Draw(seed));
        let (live, next) = (varied(&base, &mut Draw(live)), varied(&base, &mut Draw(next)));
        let edits = edits_between(&shop(base.clone()), &shop(next.clone()));
        let merged = apply(&shop(live.clone()), &edits).unwrap();
        // A target is of one kind, so where the kinds differ it is one field.
        let kinds = [&base, &live, &next].map(|function| function.draft.as_ref().map(|draft| matches!(draft.target, Target::Upstream(_))));
        let mixed = kinds != [Some(true); 3];
        let (base, live, next, merged) = (fields(&base), fields(&live), fields(&next), fields(&merged.functions["shop"]));
        let thing = |path: &str| path.rsplit_once('.').map_or(path, |(thing, _)| thing).to_owned();
        let has = |fields: &BTreeMap<String, String>, of: &str| fields.keys().any(|path| thing(path) == of);
        let keys: BTreeSet<&String> = base.keys().chain(live.keys()).chain(next.keys()).chain(merged.keys()).collect();
        for path in keys {
            let of = thing(path);
            let target = of == "draft" && !["description", "label", "artifact"].iter().any(|field| path.ends_with(field));
            if target && mixed {
                continue;
            }
            let whole_equal = base.iter().filter(|(p, _)| thing(p) == of).eq(next.iter().filter(|(p, _)| thing(p) == of));
            let expected = if whole_equal {
                live.get(path)
            } else if !has(&next, &of) {
                None
            } else if !has(&live, &of) || !has(&base, &of) {
                // Made whole; a split takes its history from what was live.
                if path.ends_with(".stable") { continue }
                next.get(path)
            } else if base.get(path) == next.get(path) {
                live.get(path)
            } else {
                next.get(path)
            };
            // What an alias remembers of another split comes from what was live.
            let shown = |value: Option<&String>| match (value, path.ends_with(".split")) {
                (Some(value), true) => value.split(';').next().map(str::to_owned),
                (value, _) => value.cloned(),
            };
            prop_assert_eq!(shown(merged.get(path)), shown(expected), "{}", path);
        }
    }

    #[test]
    fn a_merge_without_a_base_is_the_new_text_and_nothing_remains(seed in any::<u64>(), other in any::<u64>()) {
        let (old, new) = (config(seed), config(other));
        for (name, stage) in &new.stages {
            let merge = Edit::MergeStage(name.clone(), Merge { from: None, to: Some(Arc::clone(stage)) });
            if let Ok(next) = apply(&old, &[merge]) {
                prop_assert_eq!(&next.stages[name], stage);
            }
        }
        let edits = edits_between(&old, &old);
        prop_assert!(edits.is_empty());
        prop_assert!(diff(&old, &apply(&old, &edits).unwrap()).is_empty());
    }

    #[test]
    fn no_number_is_given_out_twice(seed in any::<u64>()) {
        let d = &mut Draw(seed);
        let name: FunctionName = "shop".parse().unwrap();
        let draft = |d: &mut Draw| FunctionEdit::Draft(Some(Arc::new(drawn(d))));
        let (mut live, mut seen) = (Config::default(), BTreeMap::<NonZeroU32, Digest>::new());
        for _ in 0..60 {
            let number = NonZeroU32::new(1 + d.below(12) as u32).unwrap();
            let inside = |edit| Edit::Function(name.clone(), edit);
            let edits = match d.below(8) {
                0 => vec![Edit::DeleteFunction(name.clone())],
                1 => vec![inside(FunctionEdit::Version(number, None))],
                2 => vec![inside(FunctionEdit::Version(number, Some(Arc::new(drawn(d)))))],
                3 => vec![inside(FunctionEdit::Retire(number, d.coin()))],
                4 => vec![Edit::MergeFunction(name.clone(), Merge { from: live.functions.get(&name).cloned(), to: None })],
                5 => vec![Edit::CreateFunction(name.clone())],
                _ => vec![Edit::CreateFunction(name.clone()), inside(draft(d)), inside(FunctionEdit::Publish { from: None, label: None, description: None, expected: None })],
            };
            let Ok(next) = apply(&live, &edits) else { continue };
            let there = next.functions.get(&name).map(|function| function.versions.clone()).unwrap_or_default();
            for (number, version) in &*there {
                // Whatever carries a number now is what carried it first.
                prop_assert_eq!(*seen.entry(*number).or_insert(version.digest), version.digest);
                prop_assert!(next.numbers[&name] >= *number);
                let before = live.functions.get(&name).is_some_and(|function| function.versions.contains_key(number));
                prop_assert!(before || live.numbers.get(&name).is_none_or(|highest| number > highest), "{} came back", number);
            }
            live = next;
        }
    }

    #[test]
    fn a_digest_does_not_depend_on_how_a_version_is_written(seed in any::<u64>()) {
        let version = drawn(&mut Draw(seed));
        prop_assert_eq!(version.digest, Digest::of(&version));
        let text = format_draft(&version);
        let yaml = parse_draft("", &text, &env).unwrap().0;
        let json = config::text::format::json::draft(&version);
        let json = parse_draft("", &serde_json::to_string_pretty(&json).unwrap(), &env).unwrap().0;
        prop_assert_eq!((yaml.digest, json.digest), (version.digest, version.digest));
        let told = Version { label: Some("other".into()), description: Some("other".into()), retired: true, ..version.clone() };
        prop_assert_eq!(told.sealed().digest, version.digest);
        let shipped = Version { artifact: Some("another artifact".into()), ..version.clone() };
        prop_assert_ne!(shipped.sealed().digest, version.digest);
    }
}

fn drawn(d: &mut Draw) -> Version {
    Arc::unwrap_or_clone(function(d).draft.unwrap())
}
