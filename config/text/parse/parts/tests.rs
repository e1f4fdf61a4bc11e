//! A file that is read in parts is what it is when it is read whole, whatever it was before.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn env(name: &str) -> Option<String> {
    (name == "HERE").then(|| "here".to_owned())
}

/// Entries of functions in all styles, right and wrong.
const FUNCTIONS: &[&str] = &[
    "  NAME: {versions: {1: {response: {status: 200}}}, aliases: {prod: 1}}\n",
    "  NAME: {versions: {1: http://10.0.0.1:80, 2: http://10.0.0.2:80}, aliases: {prod: {1: 95, 2: 5}}}\n",
    "  NAME:   {versions: {1: 'http://10.0.0.1:80'}, aliases: {prod: {1: 95}}} # not 100\n",
    "  NAME:\n    versions:\n      1: http://10.0.0.1:80\n    aliases:\n      prod: {1: 95}\n",
    "  # of NAME: a comment\n\n  NAME:\n    draft: http://10.0.0.1:80\n\n    # of the aliases\n    aliases: {prod: $LATEST}\n# here\n",
    "  NAME:\n    versions: {1: {endpoints: [10.0.0.1:80], headers: {set: {x-a: \"${HERE}\"}}}}\n",
    "  NAME:\n    versions: {1: {endpoints: [10.0.0.1:80], headers: {set: {x-a: \"${MISSING}\"}}}}\n",
    "  NAME: {versions: {1: http://10.0.0.1:80}, next: 7, aliases: {a: 1, \"ä\": 1}}\n",
    "  NAME: {versions: {1: http://10.0.0.1:80}, next: 7}\n",
    "  \"NAME\": {versions: {1: http://10.0.0.1:80},\n    aliases: {prod: 1,\n   main: 1}}\n",
    "  NAME: &x {versions: {1: http://10.0.0.1:80}}\n",
    "  NAME: *x\n",
    "  NAME: |\n    text\n",
    "  NAME: {versions: {1: {response: {status: 200, body: \"a\n  b\"}}}}\n",
    "  NAME: {versions: {1: http://10.0.0.1:80}, aliases: {prod: {1: 95}, other: 2}}\n",
    "  NAME: {versions: {1: http://10.0.0.1:80}, aliases: {prod: {split: 1, plan: careful}}}\n",
    "  NAME: {versions: {1: {endpoints: [10.0.0.1:80], label: first}}, alias: {prod: 1}}\n",
    "  NAME:\n",
    "  NAME: {versions: {1: http://10.0.0.1:80}\n",
    "   NAME: {versions: {1: http://10.0.0.1:80}}\n",
    "\tNAME: 1\n",
];

const DOMAINS: &[&str] = &[
    "  NAME.example.com: a:prod\n",
    "  NAME.example.com: b\n",
    "  NAME.Example.com: a:1\n",
    "  \"*.NAME.example.com\": {routes: [{path: /*, to: a}]}\n",
    "  NAME.example.com:\n    routes:\n      - {path: /x, to: \"b:prod\"}\n      - {path: /*, to: a}\n",
    "  NAME.example.com: {certificate: {cert: a.crt, key: a.key}, routes: [{path: /*, to: a}]}\n",
    "  NAME.example.com: {stage: dev, routes: [{path: /*, to: a}]}\n",
    "  NAME.example.com: {https: redirect, routes: [{path: /*, to: a}]}\n",
];

const OTHERS: &[&str] = &[
    "plans:\n  careful: {canaryStep: {weight: 20, interval: 10m}}\n",
    "stages:\n  dev: {alias: prod}\n",
    "listeners: [\n  127.0.0.1:80\n]\n",
    "listeners: [127.0.0.1:80]\nadmin: off\n",
    "environment: {allow: [OTHER]}\n",
    "triggers: [{path: /x, to: \"a:prod\"}]\n",
    "next_versions: {gone: 7}\n",
    "# nothing\n\n",
    "functions: {}\n",
    "unknown: 1\n",
    "---\n",
];

fn entries(kinds: &'static [&'static str]) -> impl Strategy<Value = String> {
    let entry = (select(kinds), select(&["a", "b", "c", "d"][..]));
    // The first kinds are right.
    let right = (select(&kinds[..5]), select(&["a", "b", "c", "d", "e", "f"][..]));
    let entry = prop_oneof![6 => right, 1 => entry].prop_map(|(text, name)| text.replace("NAME", name));
    proptest::collection::btree_map("[a-f]", entry, 0..6).prop_map(|entries| entries.into_values().collect())
}

prop_compose! {
    fn file()(
        functions in entries(FUNCTIONS),
        domains in entries(DOMAINS),
        others in proptest::collection::vec(select(OTHERS), 0..3),
        turn in 0_usize..3,
        header in select(&["functions:\n", "functions: # all\n", "functions:\n\n  # all\n"][..]),
    ) -> String {
        let mut sections: Vec<String> = others.into_iter().map(str::to_owned).collect();
        sections.insert(0, format!("domains:\n{domains}"));
        sections.insert(turn.min(sections.len()), format!("{header}{functions}"));
        sections.concat()
    }
}

/// A text, and what becomes of it: other characters at a place.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    proptest::collection::vec((any::<usize>(), 0_usize..4, "[ab:#\"'{}\\[\\],&*|>\\- \n]{0,3}"), 0..3)
}

fn edited(mut text: String, edits: &[(usize, usize, String)]) -> String {
    for (at, length, new) in edits {
        let at = at % (text.len() + 1);
        let start = text.floor_char_boundary(at);
        let end = text.ceil_char_boundary((at + length).min(text.len()));
        text.replace_range(start..end, new);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn parts_are_the_whole(files in proptest::collection::vec((file(), edits()), 1..4)) {
        let (mut last, mut spread_last) = (LastFile::default(), LastFile::default());
        let spread = |pieces: usize, work: &(dyn Fn(usize) + Sync)| (0..pieces).rev().for_each(work);
        for (text, edits) in files {
            for text in [text.clone(), edited(text, &edits)] {
                let whole = parse_whole(&text, &env);
                prop_assert_eq!(&last.parse(&text, &env), &whole, "{}", text);
                prop_assert_eq!(&spread_last.parse_spread(&text, &env, &spread), &whole, "{}", text);
            }
        }
    }
}

/// A file with these functions, and how many entries had to be read for it.
fn read(last: &mut LastFile, functions: &str, environment: Env<'_>) -> (Config, usize) {
    let text = format!("functions:\n{functions}domains:\n  x.example.com: a\n");
    let count = Cell::new(0);
    let read = |parts: &[&Digested<'_>], rules: &EnvironmentRules| {
        count.set(parts.len());
        parts.iter().map(|part| part.read(environment, rules)).collect::<Option<Vec<_>>>()
    };
    let (config, _) = last.parse_parts(&text, environment, read).expect("the file is plain");
    (config, count.get())
}

#[test]
fn only_entries_whose_text_or_environment_changed_are_read_again() {
    let a = "  a: {versions: {1: http://10.0.0.1:80}, aliases: {$DEFAULT: 1}}\n";
    let b = "  b: {versions: {1: {endpoints: [10.0.0.1:80], headers: {set: {x: \"${HERE}\"}}}}}\n";
    let mut last = LastFile::default();
    let (first, count) = read(&mut last, &format!("{a}{b}"), &env);
    assert_eq!(count, 3);
    let (second, count) = read(&mut last, &format!("# moved\n{b}{a}"), &env);
    assert_eq!((second.functions.get("a"), count), (first.functions.get("a"), 0));
    assert!(second.functions.ptr_eq(&first.functions));
    let (third, count) = read(&mut last, &format!("{a}{b}"), &|_| Some("there".to_owned()));
    assert_eq!(count, 1);
    assert_ne!(third.functions["b"], first.functions["b"]);
    let (fourth, count) = read(&mut last, a, &env);
    assert_eq!((fourth.functions.len(), count), (1, 0));
}
