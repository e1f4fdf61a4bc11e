//! What edits do, and what they refuse.

use super::*;
use crate::text::check;
use crate::text::parse::{parse, parse_alias, parse_alias_patch, parse_draft, parse_version};
use crate::value::name::VersionId;

const SHOP: &str = "
functions:
  shop:
    versions: {1: 'http://10.0.0.1:80', 2: 'http://10.0.0.2:80', 3: 'http://10.0.0.3:80', 4: 'http://10.0.0.4:80'}
    aliases: {prod: SPLIT}
domains: {shop.example.com: 'shop:prod'}
";

fn file(split: &str) -> Config {
    parse(&SHOP.replace("SPLIT", split), &|_| None).unwrap().0
}

fn prod(config: &Config) -> &Alias {
    &config.functions["shop"].aliases["prod"]
}

fn version(number: u32) -> VersionId {
    VersionId::number(number).unwrap()
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn split(text: &str) -> Split {
    parse_alias("", text, &|_| None).unwrap().0.split
}

fn patch(text: &str) -> AliasPatch {
    parse_alias_patch("", text, &|_| None).unwrap().0
}

fn read_version(text: &str) -> Arc<Version> {
    Arc::new(parse_version("", text, &|_| None).unwrap().0)
}

fn first(config: &Config) -> &Version {
    &config.functions["shop"].versions[&number(1)]
}

/// The file with another text in it.
fn changed(split: &str, from: &str, to: &str) -> Config {
    parse(&SHOP.replace("SPLIT", split).replace(from, to), &|_| None).unwrap().0
}

fn one_edit(config: &Config, edit: FunctionEdit) -> Result<Config, Vec<Problem>> {
    apply(config, &[Edit::Function(name("shop"), edit)])
}

fn codes(problems: &[Problem]) -> Vec<(Code, &str)> {
    problems.iter().map(|problem| (problem.code.unwrap(), problem.path.as_str())).collect()
}

/// The aliases that come of one file after the other.
fn history(splits: &[&str]) -> Vec<Alias> {
    let (mut live, mut last) = (Config::default(), Config::default());
    let step = |split: &&str| {
        let next = file(split);
        live = apply(&live, &edits_between(&last, &next)).unwrap();
        last = next;
        prod(&live).clone()
    };
    splits.iter().map(step).collect()
}

#[test]
fn what_a_file_says_becomes_what_is_live() {
    let (one, two) = (file("{1: 95, 2: 5}"), file("{1: 50, 2: 50}"));
    assert_eq!(apply(&Config::default(), &edits_between(&Config::default(), &one)).unwrap(), one);
    let edits = edits_between(&one, &two);
    assert_eq!(prod(&apply(&one, &edits).unwrap()), prod(&two));
    let splits: Vec<String> = edits.iter().flat_map(Edit::splits).map(|(f, alias)| format!("{f}:{alias}")).collect();
    assert_eq!(splits, ["shop:prod"]);
    assert!(edits_between(&two, &two).is_empty());
}

#[test]
fn what_leaves_the_file_is_gone_but_versions_are_retired_and_come_back_with_the_text() {
    let (full, empty) = (file("{1: 95, 2: 5}"), Config::default());
    let gone = apply(&full, &edits_between(&full, &empty)).unwrap();
    let shop = &gone.functions["shop"];
    assert!(gone.domains.is_empty() && shop.aliases.is_empty());
    assert!(shop.versions.len() == 4 && shop.versions.values().all(|version| version.retired));
    assert_eq!(apply(&gone, &edits_between(&empty, &full)).unwrap(), full);

    let three = changed("{1: 95, 2: 5}", ", 4: 'http://10.0.0.4:80'", "");
    let retired = apply(&full, &edits_between(&full, &three)).unwrap();
    assert!(retired.functions["shop"].versions[&number(4)].retired);
    assert_eq!(retired.functions["shop"].versions.values().filter(|version| version.retired).count(), 1);
}

#[test]
fn a_version_that_a_live_alias_needs_stays_when_the_file_drops_it() {
    let before = file("1");
    let live = one_edit(&before, FunctionEdit::Shift(name("prod"), split("{1: 20, 2: 80}"))).unwrap();
    let after = changed("1", "2: 'http://10.0.0.2:80', ", "");
    let problems = apply(&live, &edits_between(&before, &after)).unwrap_err();
    assert_eq!(codes(&problems), [(Code::Referenced, "functions.shop.versions.2")]);
    assert!(problems[0].message.contains("functions.shop.aliases.prod.split.2"), "{problems:?}");
}

#[test]
fn a_live_shift_stays_until_the_file_says_otherwise_about_the_split() {
    let before = file("{1: 95, 2: 5}");
    let split = file("{1: 20, 2: 80}").functions["shop"].aliases["prod"].split.clone();
    let name: FunctionName = "shop".parse().unwrap();
    let shift = FunctionEdit::Shift("prod".parse().unwrap(), split.clone());
    let live = apply(&before, &[Edit::Function(name, shift)]).unwrap();
    let mut after = before.clone();
    after.trusted_proxies = Arc::new(["10.0.0.0/8".parse().unwrap()]);
    let live = apply(&live, &edits_between(&before, &after)).unwrap();
    assert_eq!(prod(&live).split, split);
    assert_eq!(live.trusted_proxies, after.trusted_proxies);
}

#[test]
fn callers_move_only_into_versions_that_gain_through_any_number_of_files() {
    let aliases = history(&["{1: 60, 2: 40}", "{1: 50, 2: 30, 3: 20}", "{1: 40, 2: 35, 3: 25}"]);
    for pair in aliases.windows(2) {
        for bucket in 0..10_000 {
            let (from, to) = (pair[0].buckets.version(bucket), pair[1].buckets.version(bucket));
            assert!(from == to || pair[0].split.weight(to) < pair[1].split.weight(to), "{bucket}: {from} to {to}");
        }
    }
    assert!(aliases[2].has_history(), "three versions remember how they came to be");
}

#[test]
fn a_cohort_lasts_until_one_version_is_alone() {
    let joined: Vec<_> =
        history(&["1", "{1: 95, 2: 5}", "{1: 50, 2: 50}", "{1: 40, 2: 40, 3: 20}", "3", "{3: 90, 4: 10}"])
            .iter()
            .map(|alias| alias.joined)
            .collect();
    assert_eq!(joined, [1, 2, 2, 2, 3, 4].map(version));
}

#[test]
fn a_text_changes_only_the_fields_in_which_it_differs() {
    let read = |prod: &str, endpoint: &str| {
        let versions = format!("{{1: {{endpoints: [{endpoint}]}}, 2: 'b:1'}}");
        let text = format!("functions: {{shop: {{versions: {versions}, aliases: {{prod: {prod}}}}}}}");
        parse(&text, &|_| None).unwrap().0
    };
    let before = read("{split: 1, salt: a, on_unhealthy: fail}", "'a:1'");
    let live = [
        FunctionEdit::Shift(name("prod"), split("{1: 20, 2: 80}")),
        FunctionEdit::PatchAlias(name("prod"), patch("{on_unhealthy: null, shield: gateway, key: client_address}")),
        FunctionEdit::Describe(number(1), Some("first".into())),
        FunctionEdit::Alias(name("beta"), Some(Arc::new(Alias::new(split("2"))))),
    ];
    let live = live.into_iter().fold(before.clone(), |live, edit| one_edit(&live, edit).unwrap());
    let after = read("{split: 1, salt: b, on_unhealthy: fail}", "'c:1'");
    let next = apply(&live, &edits_between(&before, &after)).unwrap();
    assert_eq!(prod(&next), &Alias { salt: Some("b".into()), ..prod(&live).clone() });
    let version = first(&next);
    assert_eq!(version.description.as_deref(), Some("first"));
    assert_eq!(version.target, first(&after).target);
    assert_eq!(version.digest, first(&before).digest, "moved, not changed");
    assert!(next.functions["shop"].aliases.contains_key("beta"));
}

#[test]
fn what_a_version_froze_cannot_be_changed() {
    let config = file("{1: 95, 2: 5}");
    let h2c = read_version("{endpoints: ['10.0.0.1:80'], protocol: h2c, path_prefix: /x}");
    let problems = one_edit(&config, FunctionEdit::Version(number(1), Some(h2c))).unwrap_err();
    let expected = ["functions.shop.versions.1.protocol", "functions.shop.versions.1.path_prefix"];
    assert_eq!(codes(&problems), expected.map(|path| (Code::Immutable, path)));

    let closed = |status: &str| changed("1", "'http://10.0.0.1:80'", &format!("{{response: {{status: {status}}}}}"));
    let before = closed("503");
    let problems = apply(&before, &edits_between(&before, &closed("404"))).unwrap_err();
    assert_eq!(codes(&problems), [(Code::Immutable, "functions.shop.versions.1.response.status")]);
    let moved = FunctionEdit::Endpoints(number(1), Vec::new());
    assert_eq!(one_edit(&before, moved).unwrap_err()[0].code, Some(Code::Immutable));

    let text =
        SHOP.replace("SPLIT", "1").replace("'http://10.0.0.1:80'", "{endpoints: ['10.0.0.1:80'], protocol: h2c}");
    let file = parse(&text, &|_| None).unwrap().0;
    let problems = crate::text::parse::locate(&text, apply(&config, &edits_between(&config, &file)).unwrap_err());
    let at = problems[0].at.unwrap();
    assert_eq!(text.lines().nth(at.line as usize - 1).unwrap()[at.column as usize - 1..].get(..3), Some("h2c"));

    let moved = read_version("{endpoints: ['10.9.9.9:80'], label: blue}");
    let next = one_edit(&config, FunctionEdit::Version(number(1), Some(moved))).unwrap();
    assert_eq!((first(&next).digest, first(&next).label.as_deref()), (first(&config).digest, Some("blue")));
    assert_ne!(first(&next).target, first(&config).target);
}

#[test]
fn a_digest_that_a_text_states_is_compared() {
    let config = file("1");
    let other = config.functions["shop"].versions[&number(2)].digest;
    let stating = |digest| read_version(&format!("{{endpoints: ['x:1'], digest: {digest}}}"));
    assert!(one_edit(&config, FunctionEdit::Version(number(1), Some(stating(first(&config).digest)))).is_ok());
    let problems = one_edit(&config, FunctionEdit::Version(number(1), Some(stating(other)))).unwrap_err();
    assert_eq!(codes(&problems), [(Code::DigestMismatch, "functions.shop.versions.1.digest")]);
    let text = format!("{{endpoints: ['x:1'], artifact: a, digest: {other}}}");
    let problems = parse_version("v", &text, &|_| None).unwrap_err();
    assert_eq!(codes(&problems), [(Code::DigestMismatch, "v.digest")]);
}

#[test]
fn publishing_freezes_the_draft_under_the_next_number_unless_nothing_changed() {
    let draft = |text: &str| FunctionEdit::Draft(Some(Arc::new(parse_draft("", text, &|_| None).unwrap().0)));
    let publish = |from, expected| FunctionEdit::Publish { from, label: None, description: None, expected };
    let config = file("1");
    assert_eq!(one_edit(&config, publish(None, None)).unwrap_err()[0].code, Some(Code::NotFound));
    let drafted = one_edit(&config, draft("{endpoints: ['n:1'], description: new, label: d}")).unwrap();
    let next = one_edit(&drafted, publish(None, None)).unwrap();
    let shop = &next.functions["shop"];
    let five = &shop.versions[&number(5)];
    assert_eq!(five.digest, shop.draft.as_ref().unwrap().digest);
    assert_eq!((five.description.as_deref(), five.label.as_deref()), (Some("new"), None));
    let unchanged = one_edit(&next, publish(None, None)).unwrap_err();
    assert_eq!(codes(&unchanged), [(Code::VersionUnchanged { version: number(5) }, "functions.shop")]);
    let described = one_edit(&next, draft("{endpoints: ['n:1'], description: other}")).unwrap();
    assert!(one_edit(&described, publish(None, None)).is_err(), "a description is no change");

    let again = one_edit(&next, publish(Some(number(1)), None)).unwrap();
    assert_eq!(again.functions["shop"].versions[&number(6)].digest, first(&next).digest);
    let expected = Some(first(&next).digest);
    assert_eq!(one_edit(&again, publish(None, expected)).unwrap_err()[0].code, Some(Code::DigestMismatch));
}

#[test]
fn numbers_are_never_given_out_again() {
    let config = file("1");
    let four = config.functions["shop"].versions[&number(4)].clone();
    let less = one_edit(&config, FunctionEdit::Version(number(4), None)).unwrap();
    let problems = one_edit(&less, FunctionEdit::Version(number(4), Some(Arc::clone(&four)))).unwrap_err();
    assert_eq!(codes(&problems), [(Code::NumberUsed, "functions.shop.versions.4")]);
    assert_eq!(problems[0].help.as_deref(), Some("the next number is 5"));
    // Nor after the function was deleted, exported and made anew.
    let domain = Edit::Domain("shop.example.com".parse().unwrap(), None);
    let deleted = apply(&less, &[domain, Edit::DeleteFunction(name("shop"))]).unwrap();
    let exported = parse(&crate::text::format::format(&deleted), &|_| None).unwrap().0;
    assert_eq!(exported, deleted);
    let publish = FunctionEdit::Publish { from: None, label: None, description: None, expected: None };
    let edits = [FunctionEdit::Draft(Some(four)), publish].map(|edit| Edit::Function(name("shop"), edit));
    let anew = apply(&exported, &[&[Edit::CreateFunction(name("shop"))], &edits[..]].concat()).unwrap();
    assert_eq!(anew.functions["shop"].versions.keys().copied().collect::<Vec<_>>(), [number(5)]);
}

#[test]
fn what_is_in_use_cannot_go_and_every_place_is_named() {
    let text = "
functions:
  shop:
    versions: {1: 'a:1', 2: 'b:1', 3: 'c:1'}
    aliases:
      prod: {split: {1: 100, 2: 0}, stable: 2, rules: [{when: {header: {x: y}}, version: 2}]}
domains: {shop.example.com: 'shop:2'}
triggers: [{path: /hook, to: 'shop:2'}]
";
    let config = parse(text, &|_| None).unwrap().0;
    let places = [
        "functions.shop.aliases.prod.split.2",
        "functions.shop.aliases.prod.rules[0].version",
        "functions.shop.aliases.prod.stable",
        "domains.\"shop.example.com\".routes[0].to",
        "triggers[0].to",
    ];
    assert_eq!(check::references(&config, &name("shop"), version(2)), places);
    for edit in [FunctionEdit::Version(number(2), None), FunctionEdit::Retire(number(2), true)] {
        let problems = one_edit(&config, edit).unwrap_err();
        assert_eq!(codes(&problems), [(Code::Referenced, "functions.shop.versions.2")]);
        assert!(places.iter().all(|place| problems[0].message.contains(place)), "{problems:?}");
    }
    let deleted = apply(&config, &[Edit::DeleteFunction(name("shop"))]).unwrap_err();
    assert_eq!(codes(&deleted), [(Code::Referenced, "functions.shop")]);
    let retired = one_edit(&config, FunctionEdit::Retire(number(3), true)).unwrap();
    assert_eq!(one_edit(&retired, FunctionEdit::Retire(number(3), false)).unwrap(), config);
    assert!(one_edit(&retired, FunctionEdit::Version(number(3), None)).is_ok());
}

#[test]
fn aliases_are_created_patched_reset_and_put_back() {
    let config = file("{1: 60, 2: 30, 3: 10}");
    let all = Arc::new(Alias::new(Split::whole(version(1))));
    let exists = one_edit(&config, FunctionEdit::CreateAlias(name("prod"), Arc::clone(&all))).unwrap_err();
    assert_eq!(codes(&exists), [(Code::Exists, "functions.shop.aliases.prod")]);
    let built_in = one_edit(&config, FunctionEdit::Alias(AliasName::default_alias(), None)).unwrap_err();
    assert_eq!(codes(&built_in), [(Code::BuiltIn, "functions.shop.aliases.$DEFAULT")]);

    let patched =
        |config: &Config, text: &str| one_edit(config, FunctionEdit::PatchAlias(name("prod"), patch(text))).unwrap();
    let set = patched(&config, "{split: {1: 40, 2: 35, 3: 25}, salt: a, stable: 1}");
    let shifted = prod(&config).shifted(&split("{1: 40, 2: 35, 3: 25}"));
    assert_eq!(prod(&set), &Alias { salt: Some("a".into()), stable: Some(version(1)), ..shifted });
    let reset = patched(&set, r#"{"salt": null, "stable": "", "key": []}"#);
    assert_eq!(prod(&reset), &Alias { salt: None, stable: None, ..prod(&set).clone() });
    assert!(parse_alias_patch("p", "{split: null}", &|_| None).is_err());

    let whole = one_edit(&set, FunctionEdit::Alias(name("prod"), Some(all))).unwrap();
    let back = one_edit(&whole, FunctionEdit::RestoreAlias(name("prod"), Arc::new(prod(&set).clone()))).unwrap();
    assert_eq!(prod(&back), prod(&set));
}

#[test]
fn labels_are_words_that_one_version_has() {
    let config = file("1");
    let labelled = one_edit(&config, FunctionEdit::Label(number(1), Some("blue".into()))).unwrap();
    let twice = one_edit(&labelled, FunctionEdit::Label(number(2), Some("blue".into()))).unwrap_err();
    assert_eq!(twice[0].path, "functions.shop.versions.2.label");
    for bad in ["7", "a b", "$x", "", "a\n"] {
        assert!(one_edit(&config, FunctionEdit::Label(number(1), Some(bad.into()))).is_err(), "{bad:?}");
    }
    assert!(one_edit(&config, FunctionEdit::Describe(number(1), Some("two\nlines".into()))).is_err());
    assert_eq!(one_edit(&labelled, FunctionEdit::Label(number(1), None)).unwrap(), config);
}

#[test]
fn what_is_not_there_is_not_found() {
    let config = file("1");
    let nope = || name::<AliasName>("nope");
    for edit in [
        FunctionEdit::Draft(None),
        FunctionEdit::Version(number(9), None),
        FunctionEdit::Retire(number(9), true),
        FunctionEdit::Label(number(9), None),
        FunctionEdit::Describe(number(9), None),
        FunctionEdit::Endpoints(number(9), vec![Endpoint { host: Default::default(), port: 1 }]),
        FunctionEdit::Alias(nope(), None),
        FunctionEdit::PatchAlias(nope(), AliasPatch::default()),
        FunctionEdit::Shift(nope(), Split::whole(version(1))),
    ] {
        let problems = one_edit(&config, edit.clone()).unwrap_err();
        assert_eq!(problems[0].code, Some(Code::NotFound), "{edit:?}");
    }
    for edit in [
        Edit::DeleteFunction(name("nope")),
        Edit::Function(name("nope"), FunctionEdit::Settings(FunctionSettings::default())),
        Edit::Stage(name("nope"), None),
        Edit::Domain("nope.example".parse().unwrap(), None),
        Edit::Plan(name("nope"), None),
        Edit::Notifier(name("nope"), None),
    ] {
        let problems = apply(&config, std::slice::from_ref(&edit)).unwrap_err();
        assert_eq!(problems[0].code, Some(Code::NotFound), "{edit:?}");
    }
}

#[test]
fn an_edit_that_breaks_a_reference_changes_nothing() {
    let config = file("{1: 95, 2: 5}");
    let name: FunctionName = "shop".parse().unwrap();
    for edit in [
        Edit::DeleteFunction(name.clone()),
        Edit::Function(name.clone(), FunctionEdit::Alias("prod".parse().unwrap(), None)),
        Edit::Function(name.clone(), FunctionEdit::Version(NonZeroU32::MIN, None)),
        Edit::Function("nope".parse().unwrap(), FunctionEdit::Draft(None)),
        Edit::Function(name, FunctionEdit::Shift("nope".parse().unwrap(), Split::whole(version(1)))),
    ] {
        assert!(!apply(&config, std::slice::from_ref(&edit)).unwrap_err().is_empty(), "{edit:?}");
    }
}

#[test]
fn an_alias_that_something_leads_to_cannot_be_deleted_and_every_place_is_named() {
    let domains = "domains: {b.example.com: {stage: release, routes: [{path: /*, to: shop}]}, \
        c.example.com: {stage: dev, routes: [{path: /*, to: shop}]}, ";
    let text = SHOP.replace("SPLIT", "1, stable: 2, free: 3").replace("domains: {", domains);
    let stages = "stages: {release: {alias: prod}, dev: {alias: '${stageVariables.which}', variables: {which: prod}, \
        functions: {shop: stable}}}\ntriggers: [{path: /hook, to: 'shop:prod'}]\n";
    let config = parse(&format!("{text}{stages}"), &|_| None).unwrap().0;
    let delete = |alias: &str| one_edit(&config, FunctionEdit::Alias(name(alias), None));
    let problems = delete("prod").unwrap_err();
    assert_eq!(codes(&problems), [(Code::Referenced, "functions.shop.aliases.prod")]);
    let named = "domains.\"b.example.com\".routes[0].to, domains.\"shop.example.com\".routes[0].to, triggers[0].to";
    assert!(problems[0].message.ends_with(named), "{}", problems[0].message);
    let problems = delete("stable").unwrap_err();
    let named = "stages.dev.functions.shop, domains.\"c.example.com\".routes[0].to";
    assert!(problems[0].message.ends_with(named), "{}", problems[0].message);
    delete("free").unwrap();
}

#[test]
fn a_function_is_made_once() {
    let config = apply(&Config::default(), &[Edit::NewFunction(name("cart"))]).unwrap();
    let problems = apply(&config, &[Edit::NewFunction(name("cart"))]).unwrap_err();
    assert_eq!(codes(&problems), [(Code::Exists, "functions.cart")]);
    apply(&config, &[Edit::CreateFunction(name("cart"))]).unwrap();
}
