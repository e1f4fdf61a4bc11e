//! Canonical text is read back as the same configuration.

mod arbitrary;

use arbitrary::{Draw, config, env, function};
use config::diff::diff;
use config::format::{format, format_domain, format_function, format_rest, format_stage};
use config::parse::{parse, parse_domain, parse_function, parse_rest, parse_stage};
use config::problem::render;
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
    fn texts_of_the_store_are_read_back(seed in any::<u64>()) {
        let config = config(seed);
        for (name, function) in &config.functions {
            let text = format_function(function);
            prop_assert_eq!(&parse_function(name, &text, &env).unwrap().0, &**function, "{}", text);
        }
        for (name, stage) in &config.stages {
            let text = format_stage(stage);
            prop_assert_eq!(&parse_stage(name, &text, &env).unwrap().0, &**stage, "{}", text);
        }
        for (host, domain) in &config.domains {
            let text = format_domain(domain);
            prop_assert_eq!(&parse_domain(host, &text, &env).unwrap().0, &**domain, "{}", text);
        }
        let rest = parse_rest(&format_rest(&config), &env).unwrap().0;
        let whole = config::model::Config {
            functions: config.functions.clone(),
            stages: config.stages.clone(),
            domains: config.domains.clone(),
            ..rest
        };
        prop_assert_eq!(whole, config);
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
