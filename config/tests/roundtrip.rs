//! Canonical text is read back as the same configuration.

mod arbitrary;

use arbitrary::{Draw, config, env, function};
use config::model::Config;
use config::text::diff::diff;
use config::text::edit::{apply, edits_between};
use config::text::format::{format, format_function};
use config::text::parse::{parse, parse_function};
use config::text::problem::render;
use config::text::texts;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_diff_is_empty_exactly_for_equal_configurations(seed in any::<u64>(), other in any::<u64>(), same in any::<bool>()) {
        let (before, after) = (config(seed), config(if same { seed } else { other }));
        prop_assert_eq!(diff(&before, &after).is_empty(), before == after);
        // What one direction adds the other removes.
        let back = diff(&after, &before);
        for change in diff(&before, &after) {
            prop_assert!(back.iter().any(|b| b.path == change.path && b.before == change.after && b.after == change.before));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn text_of_a_configuration_is_read_back(seed in any::<u64>()) {
        let config = config(seed);
        let text = format(&config);
        match parse(&text, &env) {
            Ok((read, _)) => {
                prop_assert_eq!(&read, &config, "{}", text);
                prop_assert_eq!(format(&read), text);
            }
            Err(problems) => prop_assert!(false, "{}", render(&problems, "weir.yaml", &text)),
        }
    }

    #[test]
    fn texts_of_the_store_are_read_back_in_any_order(seed in any::<u64>(), other in any::<u64>()) {
        let stored = Config { process: Default::default(), ..config(seed) };
        let nothing = Config::default();
        let mut changes = texts::changes(&nothing, &stored);
        prop_assert!(changes.iter().all(|(_, text)| text.is_some()));
        let mut d = Draw(other);
        for last in (1..changes.len()).rev() {
            changes.swap(last, d.below(last as u64 + 1) as usize);
        }
        let read = |changes: &[(String, Option<String>)], from: &Config| {
            let changes = changes.iter().map(|(name, text)| (name.as_str(), text.as_deref()));
            apply(from, &texts::edits(changes, &env).unwrap()).unwrap()
        };
        prop_assert_eq!(&read(&changes, &nothing), &stored);
        // What changes on the way to something else is all that has to be read there.
        let next = Config { process: Default::default(), ..config(other) };
        let changes = texts::changes(&stored, &next);
        prop_assert_eq!(&read(&changes, &stored), &next);
        prop_assert_eq!(texts::changes(&next, &next), []);
    }

    #[test]
    fn one_function_is_read_back(seed in any::<u64>()) {
        let function = function(&mut Draw(seed));
        let text = format_function(&function);
        prop_assert_eq!(&parse_function(&"shop".parse().unwrap(), &text, &env).unwrap().0, &function, "{}", text);
    }

    #[test]
    fn an_export_brings_back_what_it_was_made_from(seed in any::<u64>()) {
        let file = parse(&format(&config(seed)), &env).unwrap().0;
        let live = Config { process: Default::default(), ..config(seed) };
        let nothing = Config::default();
        prop_assert_eq!(&apply(&nothing, &edits_between(&nothing, &file)).unwrap(), &live);
    }
}

#[test]
fn secrets_are_printed_as_their_variable() {
    let seen = (0..200).map(|seed| format(&config(seed))).filter(|text| text.contains("${TOKEN}")).count();
    assert!(seen > 100, "{seen}");
    let secret = env("TOKEN").unwrap();
    assert!((0..200).all(|seed| !format(&config(seed)).contains(&secret)));
    assert!((0..200).all(|seed| !format!("{:?}", function(&mut Draw(seed))).contains(&secret)));
}
