//! Texts of a store that cannot be read: each takes down what it names alone, and nobody touches it by accident.

#![expect(clippy::unwrap_used, reason = "test data: what is written here is valid")]

mod arbitrary;

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Draw, config, env, function};
use config::model::Config;
use config::route::table::Table;
use config::text::edit::apply;
use config::text::texts;
use proptest::prelude::*;

type Texts = BTreeMap<String, String>;

fn live(seed: u64) -> Config {
    Config { process: Default::default(), ..config(seed) }
}

fn all(config: &Config) -> Texts {
    let changes = texts::changes(&Config::default(), config).into_iter();
    changes.map(|(name, text)| (name, text.unwrap())).collect()
}

/// About a third of the texts as a damaged disk or a later version of Weir leaves them, or with a variable that is not set.
fn broken(texts: &Texts, d: &mut Draw) -> Texts {
    let names = texts.keys().filter(|_| d.below(3) == 0).cloned().collect::<Vec<_>>();
    let bad = ["]", "{unknown_field_of_a_later_version: 1}", "\"${NOT_SET}\" : [", "{"];
    names.into_iter().map(|name| (name, bad[d.below(bad.len() as u64) as usize].to_owned())).collect()
}

fn read(texts: &Texts) -> Config {
    texts::from_store(texts.iter().map(|(name, text)| (&**name, &**text)), &env)
}

fn with(texts: &Texts, other: &Texts) -> Texts {
    texts.clone().into_iter().chain(other.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_can_be_read_is_read(seed in any::<u64>(), choice in any::<u64>()) {
        let texts = all(&live(seed));
        let broken = broken(&texts, &mut Draw(choice));
        let stored = read(&with(&texts, &broken));
        let names: BTreeSet<String> = stored.unreadable.keys().map(ToString::to_string).collect();
        prop_assert_eq!(names, broken.keys().cloned().collect::<BTreeSet<_>>());
        for (name, text) in &broken {
            prop_assert_eq!(stored.unreadable[&**name].text.as_deref(), Some(&**text));
        }
        // The rest is there, and nothing else.
        let rest: Texts = texts.into_iter().filter(|(name, _)| !broken.contains_key(name)).collect();
        let mut read_back = all(&stored);
        read_back.retain(|name, _| !broken.contains_key(name));
        prop_assert_eq!(read_back, rest);
        prop_assert_eq!(texts::changes(&stored, &stored), []);
    }

    #[test]
    fn texts_that_break_later_are_as_those_that_were_broken(seed in any::<u64>(), choice in any::<u64>()) {
        let whole = live(seed);
        let texts = all(&whole);
        let broken = broken(&texts, &mut Draw(choice));
        let at_once = read(&with(&texts, &broken));
        let changes = broken.iter().map(|(name, text)| (&**name, Some(&**text)));
        let later = texts::stored(&whole, changes, &env);
        prop_assert_eq!(&later, &at_once);
        let table = Table::compile(&whole).update(&later, &|_| 0).0;
        prop_assert_eq!(table.domains().count(), whole.domains.len(), "nobody else answers for a host");
        let changes = broken.keys().map(|name| (&**name, Some(&*texts[name])));
        let again = texts::stored(&later, changes, &env);
        prop_assert_eq!(&again, &whole);
        prop_assert_eq!(table.update(&again, &|_| 0).0.domains().count(), whole.domains.len());
    }

    #[test]
    fn edits_of_other_things_leave_them_alone(seed in any::<u64>(), other in any::<u64>(), choice in any::<u64>()) {
        let texts = all(&live(seed));
        let broken = broken(&texts, &mut Draw(choice));
        let stored = read(&with(&texts, &broken));
        // One after another, as people make them.
        let mut now = stored.clone();
        let mut d = Draw(other);
        let mut next = live(other);
        for (name, of) in next.functions.clone() {
            let mut of = std::sync::Arc::unwrap_or_clone(of);
            of.aliases = function(&mut d).aliases;
            next.functions.insert(name, of.into());
        }
        let mut applied = 0;
        for (name, text) in texts::changes(&live(seed), &next) {
            let goes = name.starts_with("function/") && text.is_none();
            if broken.contains_key(&name) || goes {
                continue;
            }
            let edits = texts::edits([(&*name, text.as_deref())], &env).unwrap();
            if let Ok(after) = apply(&now, &edits) {
                let changed: Vec<String> = texts::changes(&now, &after).into_iter().map(|(name, _)| name).collect();
                prop_assert!(changed.iter().all(|name| !broken.contains_key(name)), "{changed:?}");
                now = after;
                applied += 1;
            }
        }
        prop_assert!(applied > 0 || broken.len() > 1 || seed == other);
        prop_assert_eq!(&now.unreadable, &stored.unreadable);
    }

    #[test]
    fn what_is_replaced_whole_is_whole(seed in any::<u64>(), choice in any::<u64>()) {
        let whole = live(seed);
        let texts = all(&whole);
        let broken = broken(&texts, &mut Draw(choice));
        let stored = read(&with(&texts, &broken));
        let edits = texts::edits(broken.keys().map(|name| (&**name, Some(&*texts[name]))), &env).unwrap();
        let repaired = apply(&stored, &edits).unwrap();
        prop_assert_eq!(&repaired, &whole);
        let changes = texts::changes(&stored, &repaired);
        let replaced: Texts = changes.into_iter().map(|(name, text)| (name, text.unwrap())).collect();
        let expected: Texts = broken.keys().map(|name| (name.clone(), texts[name].clone())).collect();
        prop_assert_eq!(replaced, expected);
    }
}
