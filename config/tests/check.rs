//! Reading and checking under arbitrary edits: nothing panics, nothing is missed, every problem has its place.

mod arbitrary;

use std::sync::Arc;

use arbitrary::{Draw, config, env, function};
use config::model::Config;
use config::text::check::{check, check_domain, check_function, check_plan};
use config::text::edit::{Edit, apply};
use config::text::format::format;
use config::text::parse::{parse, parse_plan};
use config::text::problem::{Problem, Severity, render};
use proptest::prelude::*;

const GOOD: &str = include_str!("../../tests/fixtures/good/full.yaml");

fn errors(problems: Vec<Problem>) -> Vec<Problem> {
    problems.into_iter().filter(|problem| problem.severity == Severity::Error).collect()
}

/// The configuration with one function drawn anew, less one of its parts, or without it.
fn edited(before: &Config, d: &mut Draw) -> (Config, config::value::name::FunctionName) {
    let names: Vec<_> = before.functions.keys().cloned().collect();
    let name = names[d.below(names.len() as u64) as usize].clone();
    let mut after = before.clone();
    let mut new = (*before.functions[&name]).clone();
    match d.below(6) {
        0 => {
            after.functions.remove(&name);
            return (after, name);
        }
        1 => new = function(d),
        2 => new.draft = None,
        3 => drop(Arc::make_mut(&mut new.versions).pop_first()),
        4 => drop(new.aliases.pop_last()),
        _ => {
            let versions = Arc::make_mut(&mut new.versions).values_mut();
            versions.for_each(|version| Arc::make_mut(version).retired = d.coin());
        }
    }
    after.functions.insert(name.clone(), Arc::new(new));
    (after, name)
}

proptest! {
    #[test]
    fn checking_one_function_finds_what_checking_everything_finds(seed in any::<u64>(), edit in any::<u64>()) {
        let before = config(seed);
        prop_assert_eq!(errors(check(&before)), []);
        let (after, name) = edited(&before, &mut Draw(edit));
        let mut all: Vec<_> = errors(check(&after)).iter().map(ToString::to_string).collect();
        let mut one: Vec<_> = errors(check_function(&before, &after, &name)).iter().map(ToString::to_string).collect();
        all.sort();
        one.sort();
        prop_assert_eq!(one, all);
    }

    #[test]
    fn checking_every_domain_finds_what_checking_everything_finds(seed in any::<u64>(), edit in any::<u64>()) {
        let (after, _) = edited(&config(seed), &mut Draw(edit));
        let all = errors(check(&after)).into_iter().filter(|problem| problem.path.starts_with("domains"));
        let mut paths: Vec<_> = all.map(|problem| problem.path).collect();
        let mut one: Vec<_> = after.domains.keys().flat_map(|host| errors(check_domain(&after, host))).map(|p| p.path).collect();
        paths.dedup();
        one.dedup();
        prop_assert_eq!(one, paths);
    }

    #[test]
    fn any_edit_of_a_text_is_read_or_explained(
        at in any::<prop::sample::Index>(),
        gone in 0usize..30,
        new in "[ -~]{0,6}|\\n *|(\\{\\}|\\[\\]|null|: |\\$\\{|'|\"|&a |\\*a|\t|\\u{0}|名)",
    ) {
        let characters: Vec<char> = GOOD.chars().collect();
        let start = at.index(characters.len());
        let end = (start + gone).min(characters.len());
        let text: String = characters[..start].iter().copied().chain(new.chars()).chain(characters[end..].iter().copied()).collect();
        let env = |name: &str| env(name).or(Some("https://0123456789abcdef:1".to_owned()));
        let problems = match parse(&text, &env) {
            Ok((read, warnings)) => {
                prop_assert!(parse(&format(&read), &env).is_ok_and(|(again, _)| again == read), "{}", format(&read));
                warnings
            }
            Err(problems) => {
                prop_assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
                problems
            }
        };
        let lines = text.split(['\n', '\r']).count() as u32;
        for problem in &problems {
            let at = problem.at.expect("every problem of a text has a place");
            prop_assert!(at.line >= 1 && at.line <= lines + 1, "{:?}", problem);
        }
        prop_assert!(render(&problems, "weir.yaml", &text).len() >= problems.len());
    }
}

#[test]
fn who_is_told_has_to_be_there() {
    let text = "{plans: {careful: {full: true, notify: oncall}}, notifiers: {oncall: log}}";
    let config = parse(text, &env).unwrap().0;
    let oncall: config::value::name::NotifierName = "oncall".parse().unwrap();
    let refused = apply(&config, &[Edit::Notifier(oncall, None)]).unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "error: plans.careful.notify[0]: the notifier `oncall` does not exist (there is no notifier)"
    );
    let inline = parse_plan("{full: true, notify: [oncall, oncal]}", &env).unwrap();
    let paths: Vec<_> = check_plan(&config, "plan", &inline).into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["plan.notify[1]"]);
}
