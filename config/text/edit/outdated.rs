//! Versions that are dropped because a function has too many.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::model::Config;
use crate::text::check;
use crate::text::edit::{Edit, FunctionEdit};
use crate::value::name::{FunctionName, VersionId};

/// The edits by which versions of a function go that are not among its newest `keep`, and that nothing names: no alias, layer or
/// episode that an alias remembers, no route or trigger, not the `file` as last applied, and none of `others`. None where the newest
/// version is that of `before`: versions are dropped when one is published.
#[must_use]
pub fn outdated(
    (before, after): (&Config, &Config),
    file: &Config,
    name: &FunctionName,
    keep: usize,
    others: &BTreeSet<NonZeroU32>,
) -> Vec<Edit> {
    let newest = |config: &Config| config.functions.get(name)?.versions.keys().next_back().copied();
    let Some(function) = after.functions.get(name).filter(|_| newest(before) < newest(after)) else {
        return Vec::new();
    };
    let named = function.named_versions();
    let file = file.functions.get(name);
    let is_named = |number: &NonZeroU32| {
        let id = VersionId::Number(*number);
        others.contains(number)
            || named.contains(&id)
            || file.is_some_and(|file| file.versions.contains_key(number))
            || !check::references(after, name, id).is_empty()
    };
    let old = function.versions.keys().rev().skip(keep).filter(|number| !is_named(number));
    old.map(|number| Edit::Function(name.clone(), FunctionEdit::DropVersion(*number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::edit::apply;
    use crate::text::parse::parse;
    use crate::text::problem::Code;
    use crate::text::texts;

    fn shop(versions: std::ops::RangeInclusive<u32>, more: &str) -> Config {
        let versions: String = versions.map(|n| format!("{n}: 'http://10.0.0.1:{n}', ")).collect();
        parse(&format!("functions: {{shop: {{versions: {{{versions}}}, {more}}}}}\n"), &|_| None).unwrap().0
    }

    fn name() -> FunctionName {
        "shop".parse().unwrap()
    }

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn what_nothing_names_goes_when_a_version_is_published() {
        let before = shop(1..=9, "aliases: {prod: {split: {2: 50, 9: 50}, stable: 3}}");
        let after = shop(1..=10, "aliases: {prod: {split: {2: 50, 9: 50}, stable: 3}}");
        let file = shop(4..=4, "");
        let gone = |keep, others: &[u32]| {
            let others = others.iter().map(|n| number(*n)).collect();
            let edits = outdated((&before, &after), &file, &name(), keep, &others);
            let config = apply(&after, &edits).unwrap();
            config.functions["shop"].dropped.keys().map(|number| number.get()).collect::<Vec<_>>()
        };
        assert_eq!(gone(3, &[]), [1, 5, 6, 7]);
        assert_eq!(gone(3, &[6]), [1, 5, 7]);
        assert_eq!(gone(100, &[]), [0; 0]);
        assert!(outdated((&after, &after), &file, &name(), 3, &BTreeSet::new()).is_empty(), "none was published");
    }

    #[test]
    fn a_number_comes_back_with_the_same_content_alone() {
        let before = shop(1..=3, "");
        let after = shop(1..=4, "");
        let edits = outdated((&before, &after), &Config::default(), &name(), 3, &BTreeSet::new());
        let dropped = apply(&after, &edits).unwrap();
        let put = |of: &Config, version: u32| {
            let version = of.functions["shop"].versions[&number(version)].clone();
            let edit = FunctionEdit::Version(number(1), Some(version));
            apply(&dropped, &[Edit::Function(name(), edit)])
        };
        let refused = put(&after, 2).unwrap_err().remove(0);
        assert_eq!(refused.code, Some(Code::NumberUsed));
        assert!(refused.message.contains("was dropped, and had the digest"), "{}", refused.message);
        let again = put(&after, 1).unwrap();
        assert!(again.functions["shop"].dropped.is_empty());
        assert_eq!(again.functions["shop"].versions.len(), 4);
    }

    #[test]
    fn what_was_dropped_is_stored() {
        let before = shop(1..=3, "");
        let after = shop(1..=4, "");
        let edits = outdated((&before, &after), &Config::default(), &name(), 3, &BTreeSet::new());
        let dropped = apply(&after, &edits).unwrap();
        let stored = texts::changes(&Config::default(), &dropped);
        let stored = stored.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_deref()?)));
        let read = texts::from_texts(stored, &|_| None).unwrap();
        assert_eq!(read.functions, dropped.functions);
        assert!(texts::changes(&after, &dropped).iter().any(|(name, text)| name == "dropped/shop/1" && text.is_some()));
        let back = texts::changes(&dropped, &after);
        assert!(back.iter().any(|(name, text)| name == "dropped/shop/1" && text.is_none()), "{back:?}");
    }
}
