//! What changed between two configurations, field by field, in the words of the file: for dry runs, the audit log and
//! people.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use serde_json::{Value, json};

use crate::model::{Config, Function, Version};
use crate::text::format::tree::{self, Tree};
use crate::text::format::version::{self, ShowDigest};
use crate::text::format::{domain_tree, stage_tree};
use crate::text::yaml::join;

/// One field that differs. A thing that is only on one side is one change, not one for each of its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where in the document: `functions.shop.aliases.prod.split`.
    pub path: String,
    /// What was there in canonical form; `None` for nothing (or the default).
    pub before: Option<Value>,
    /// What is there now; `None` for nothing (or the default).
    pub after: Option<Value>,
    text: (Option<String>, Option<String>),
}

/// Every difference, in the order of the canonical text. Costs what changed, not what the configurations are large.
#[must_use]
pub fn diff(before: &Config, after: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    let (rest_before, rest_after) = (rest(before), rest(after));
    if rest_before != rest_after {
        compare(&mut changes, "", Some(&tree::config(&rest_before)), Some(&tree::config(&rest_after)));
    }
    functions(&mut changes, before, after);
    for item in before.stages.diff(&after.stages) {
        named(&mut changes, "stages", item, stage_tree);
    }
    for item in before.domains.diff(&after.domains) {
        named(&mut changes, "domains", item, domain_tree);
    }
    changes
}

/// Every split that requests see otherwise because the layer of a rollout differs, as `functions.shop.aliases.prod.effective`.
#[must_use]
pub fn layer_diff(before: &Config, after: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for item in before.functions.diff(&after.functions) {
        let (name, before, after) = match item {
            DiffItem::Add(name, after) => (name, None, Some(after)),
            DiffItem::Update { old: (_, before), new: (name, after) } => (name, Some(before), Some(after)),
            DiffItem::Remove(name, before) => (name, Some(before), None),
        };
        let layered = [before, after].into_iter().flatten().flat_map(|function| function.layers.keys());
        for alias in layered.collect::<BTreeSet<_>>() {
            let seen = |function: Option<&Arc<Function>>| Some(tree::split(&function?.effective(alias)?.split));
            let path = join(&format!("functions.{name}.aliases"), alias.as_str()) + ".effective";
            compare(&mut changes, &path, seen(before).as_ref(), seen(after).as_ref());
        }
    }
    changes
}

impl Change {
    /// What [`Change::to_json`] made; `null` counts as not there. `None` for anything else.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let path = value["path"].as_str()?.to_owned();
        let side = |name: &str| value.get(name).filter(|side| !side.is_null()).cloned();
        let (before, after) = (side("before"), side("after"));
        let text = |side: &Option<Value>| side.as_ref().map(|side| shown(&path, &Tree::from_json(side)));
        let text = (text(&before), text(&after));
        Some(Self { path, before, after, text })
    }

    /// `{path, before, after}`; what is not there is left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({ "path": self.path });
        if let Some(before) = &self.before {
            object["before"] = before.clone();
        }
        if let Some(after) = &self.after {
            object["after"] = after.clone();
        }
        object
    }
}

/// `functions.shop.aliases.prod.split: 1: 95, 2: 5 -> 1: 90, 2: 10`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.text {
            (Some(before), Some(after)) => write!(f, "{path}: {before} -> {after}"),
            (None, Some(after)) => write!(f, "{path}: added {after}"),
            (Some(before), None) => write!(f, "{path}: removed, was {before}"),
            (None, None) => write!(f, "{path}"),
        }
    }
}

/// The fields that no version may change and that differ, as paths within the version.
pub(crate) fn frozen_differences(now: &Version, to: &Version) -> impl Iterator<Item = String> {
    let frozen = |v: &Version| version::frozen(&v.target, v.artifact.as_deref(), false);
    paths(&frozen(now), &frozen(to)).into_iter()
}

/// The paths that differ, the root being empty.
fn paths(before: &Tree, after: &Tree) -> Vec<String> {
    let mut changes = Vec::new();
    compare(&mut changes, "", Some(before), Some(after));
    changes.into_iter().map(|change| change.path).collect()
}

/// Everything but functions, stages and domains.
fn rest(config: &Config) -> Config {
    Config {
        functions: imbl::OrdMap::new(),
        numbers: imbl::OrdMap::new(),
        stages: imbl::OrdMap::new(),
        domains: imbl::OrdMap::new(),
        ..config.clone()
    }
}

fn functions(changes: &mut Vec<Change>, before: &Config, after: &Config) {
    let functions = before.functions.diff(&after.functions).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
    });
    let numbers = before.numbers.diff(&after.numbers).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
    });
    let (functions, numbers): (BTreeSet<_>, BTreeSet<_>) = (functions.collect(), numbers.collect());
    for name in functions.union(&numbers) {
        let sides = [(before, after), (after, before)].map(|(config, other)| {
            let (function, other) = (config.functions.get(*name)?, other.functions.get(*name));
            let function = other.map_or_else(|| Function::clone(function), |other| without_shared(function, other));
            Some(tree::numbered(&function, config.numbers.get(*name), ShowDigest::No))
        });
        let path = join("functions", name.as_str());
        compare(changes, &path, sides[0].as_ref(), sides[1].as_ref());
        if let (Some(before), Some(after)) = (before.functions.get(*name), after.functions.get(*name)) {
            digests(changes, &path, before, after);
        }
    }
    for name in numbers {
        let gone = |config: &Config| match config.numbers.get(name) {
            Some(number) if !config.functions.contains_key(name) => Some(tree::next(*number)),
            _ => None,
        };
        compare(changes, &join("next_versions", name.as_str()), gone(before).as_ref(), gone(after).as_ref());
    }
}

/// A function without the versions that are the very same in another one, of which it may have thousands. The newest stays: the
/// number that comes next is seen beside it.
fn without_shared(function: &Function, other: &Function) -> Function {
    let newest = function.versions.keys().next_back();
    let is_shared = |number, version| other.versions.get(number).is_some_and(|other| Arc::ptr_eq(version, other));
    let kept = if Arc::ptr_eq(&function.versions, &other.versions) {
        newest.into_iter().map(|number| (*number, Arc::clone(&function.versions[number]))).collect()
    } else {
        let versions = function.versions.iter();
        let kept = versions.filter(|(number, version)| newest == Some(number) || !is_shared(number, version));
        kept.map(|(number, version)| (*number, Arc::clone(version))).collect()
    };
    Function { versions: Arc::new(kept), ..function.clone() }
}

/// Versions that say the same and were something else when they were made.
fn digests(changes: &mut Vec<Change>, path: &str, before: &Function, after: &Function) {
    if Arc::ptr_eq(&before.versions, &after.versions) {
        return;
    }
    for (number, after) in &*after.versions {
        let Some(before) = before.versions.get(number).filter(|before| before.digest != after.digest) else { continue };
        let tree = |version| version::version(version, ShowDigest::No);
        if tree(before) == tree(after) {
            let path = format!("{path}.versions.{number}.digest");
            compare(changes, &path, Some(&Tree::text(&before.digest)), Some(&Tree::text(&after.digest)));
        }
    }
}

fn named<K: fmt::Display, V>(
    changes: &mut Vec<Change>,
    section: &str,
    item: DiffItem<'_, '_, K, Arc<V>>,
    tree: impl Fn(&V) -> Tree,
) {
    let (key, before, after) = match item {
        DiffItem::Add(key, after) => (key, None, Some(after)),
        DiffItem::Remove(key, before) => (key, Some(before), None),
        DiffItem::Update { old: (key, before), new: (_, after) } if !Arc::ptr_eq(before, after) => {
            (key, Some(before), Some(after))
        }
        DiffItem::Update { .. } => return,
    };
    let path = join(section, &key.to_string());
    let (before, after) = (before.map(|value| tree(value)), after.map(|value| tree(value)));
    compare(changes, &path, before.as_ref(), after.as_ref());
}

fn compare(changes: &mut Vec<Change>, path: &str, before: Option<&Tree>, after: Option<&Tree>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Tree::Map { entries: before, .. }), Some(Tree::Map { entries: after, .. })) if !is_whole(path) => {
            let find = |entries: &'_ [(String, Tree)], key: &str| entries.iter().position(|(other, _)| other == key);
            for (key, value) in before {
                let now = find(after, key).map(|index| &after[index].1);
                compare(changes, &join(path, key), Some(value), now);
            }
            for (key, value) in after.iter().filter(|(key, _)| find(before, key).is_none()) {
                compare(changes, &join(path, key), None, Some(value));
            }
        }
        (Some(Tree::List { items: before, .. }), Some(Tree::List { items: after, .. }))
            if before.len() == after.len()
                && before.iter().chain(after).all(|item| matches!(item, Tree::Map { .. })) =>
        {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(changes, &format!("{path}[{index}]"), Some(before), Some(after));
            }
        }
        (before, after) => changes.push(Change {
            path: path.to_owned(),
            before: before.map(Tree::to_json),
            after: after.map(Tree::to_json),
            text: (before.map(|tree| shown(path, tree)), after.map(|tree| shown(path, tree))),
        }),
    }
}

/// Mappings that mean something only as a whole.
fn is_whole(path: &str) -> bool {
    is_split(path) || path.ends_with(".when")
}

fn is_split(path: &str) -> bool {
    path.ends_with(".split") || path.ends_with(".effective")
}

fn shown(path: &str, tree: &Tree) -> String {
    let line = tree.to_line();
    match is_split(path).then(|| line.strip_prefix('{')?.strip_suffix('}')).flatten() {
        Some(inner) => inner.to_owned(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse::parse;

    const BEFORE: &str = "
functions:
  shop:
    versions: {1: http://10.0.0.11:8080, 2: http://10.0.0.12:8080}
    aliases: {prod: {1: 95, 2: 5}}
  old: {draft: 10.0.0.1:80}
domains:
  shop.example.com: shop:prod
";

    fn changes(edits: &[(&str, &str)]) -> Vec<String> {
        let after = edits.iter().fold(BEFORE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let read = |text: &str| parse(text, &|_| None).unwrap().0;
        diff(&read(BEFORE), &read(&after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changes_are_told_field_by_field() {
        assert_eq!(changes(&[]), [""; 0]);
        let split = changes(&[("{1: 95, 2: 5}", "{1: 90, 2: 10}")]);
        assert_eq!(split, ["functions.shop.aliases.prod.split: 1: 95, 2: 5 -> 1: 90, 2: 10"]);
        let moved = changes(&[("http://10.0.0.12:8080", "http://10.0.0.13:8080/base")]);
        assert_eq!(
            moved,
            [
                "functions.shop.versions.2.endpoints: [10.0.0.12:8080] -> [10.0.0.13:8080]",
                "functions.shop.versions.2.path_prefix: added /base"
            ]
        );
        assert_eq!(
            changes(&[("  old: {draft: 10.0.0.1:80}\n", "")]),
            ["functions.old: removed, was {draft: {endpoints: [10.0.0.1:80]}}"]
        );
        let domains = changes(&[("shop.example.com: shop:prod", "shop.example.com: old\n  b.example: shop:1")]);
        assert_eq!(
            domains,
            [
                "domains.\"b.example\": added {routes: [{path: /*, to: shop:1}]}",
                "domains.\"shop.example.com\".routes[0].to: shop:prod -> old"
            ]
        );
        assert_eq!(changes(&[("\nfunctions", "\nworkers: 2\nfunctions")]), ["workers: added 2"]);
    }

    #[test]
    fn json_has_values() {
        let read = |text: &str| parse(text, &|_| None).unwrap().0;
        let change = &diff(&read(BEFORE), &read(&BEFORE.replace("95, 2: 5", "90, 2: 10")))[0];
        let expected = json!({"path": "functions.shop.aliases.prod.split", "before": {"1": 95, "2": 5}, "after": {"1": 90, "2": 10}});
        assert_eq!(change.to_json(), expected);
    }

    #[test]
    fn json_reads_back_with_the_same_words() {
        let read = |text: &str| parse(text, &|_| None).unwrap().0;
        let after = BEFORE.replace("95, 2: 5", "90, 2: 10").replace("  old: {draft: 10.0.0.1:80}\n", "");
        let words = |changes: &[Change]| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let changes = diff(&read(BEFORE), &read(&after));
        let again: Vec<Change> = changes.iter().map(|change| Change::from_json(&change.to_json()).unwrap()).collect();
        assert_eq!(words(&again), words(&changes));
        assert_eq!(
            Change::from_json(&json!({"path": "a", "before": null, "after": 2})).unwrap().to_string(),
            "a: added 2"
        );
        assert_eq!(Change::from_json(&json!({"after": 2})), None);
    }
}
