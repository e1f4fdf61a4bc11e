//! The configuration as named texts, as a store keeps it: one for each thing that changes by itself.
//!
//! | name | text |
//! |---|---|
//! | `function/shop` | what belongs to the function itself, at least `{}`: that it exists |
//! | `number/shop` | the highest version number that it ever used; outlives the function |
//! | `draft/shop`, `version/shop/3`, `alias/shop/prod` | its parts; versions with their digest |
//! | `dropped/shop/2` | the digest of a version that was dropped |
//! | `layer/shop/prod`, `past/shop/prod` | what a running rollout puts over an alias; the episodes that it remembers |
//! | `stage/release`, `domain/shop.example.com`, `plan/careful`, `notifier/oncall` | these |
//! | `settings` | triggers, base domain, overrides, trusted proxies, default certificate |
//!
//! Process settings are no part of it: each node has its own. What these texts say is taken as it is: an alias brings its
//! history, or none.

mod of_alias;
mod stored;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

pub use stored::{from_store, stored};

use crate::model::{Config, Function};
use crate::text::edit::text_name::TextName;
use crate::text::edit::unread::settings;
use crate::text::edit::{self, Edit, Merge, Stored};
use crate::text::problem::Problem;
use crate::text::yaml::join;
use crate::text::{check, format, parse};
use crate::value::digest::Digest;

const SETTINGS: &str = "settings";
/// Texts that say that a function exists.
const FUNCTION: &str = "function/";

type Texts = Vec<(String, Option<String>)>;

/// The texts that differ from one configuration to the next; `None` where one is gone. Costs what changed. A text that cannot be
/// read is none of them, unless what it names was replaced or deleted.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Texts {
    let mut changes = differences(old, new);
    if old.unreadable.is_empty() && new.unreadable.is_empty() {
        return changes;
    }
    changes.retain(|(name, _)| !old.is_unread(name) && !new.is_unread(name));
    for item in old.unreadable.diff(&new.unreadable) {
        changes.push(match item {
            DiffItem::Add(name, unread) | DiffItem::Update { new: (name, unread), .. } => {
                (name.to_string(), unread.text.as_deref().map(str::to_owned))
            }
            DiffItem::Remove(name, _) => (name.to_string(), text_of(new, name)),
        });
    }
    changes
}

/// The text of one thing; `None` without it.
fn text_of(config: &Config, name: &str) -> Option<String> {
    let known = TextName::parse(name)?;
    let mut alone = Config::default();
    known.copy(config, &mut alone);
    differences(&Config::default(), &alone).into_iter().find(|(other, _)| other == name)?.1
}

fn differences(old: &Config, new: &Config) -> Texts {
    let mut changes = Vec::new();
    let nothing = Function::default();
    for item in old.functions.diff(&new.functions) {
        let (name, before, after) = match item {
            DiffItem::Add(name, after) => (name, None, Some(after)),
            DiffItem::Update { old: (_, before), new: (name, after) } => (name, Some(before), Some(after)),
            DiffItem::Remove(name, before) => (name, Some(before), None),
        };
        let itself = |function: &Arc<Function>| format::format_function_settings(&function.settings());
        one(&mut changes, || format!("function/{name}"), before.map(itself), after.map(itself));
        let (before, after) = (before.map_or(&nothing, |f| f), after.map_or(&nothing, |f| f));
        parts(&mut changes, name.as_str(), before, after);
    }
    items(&mut changes, "number", &old.numbers, &new.numbers, |number| format!("{number}\n"));
    items(&mut changes, "stage", &old.stages, &new.stages, |stage| format::format_stage(stage));
    items(&mut changes, "domain", &old.domains, &new.domains, |domain| format::format_domain(domain));
    items(&mut changes, "plan", &old.plans, &new.plans, |plan| format::format_plan(plan));
    items(&mut changes, "notifier", &old.notifiers, &new.notifiers, |notifier| format::format_notifier(notifier));
    if settings_differ(old, new) {
        let text = Some(format::format_settings(new)).filter(|text| !text.is_empty());
        changes.push((SETTINGS.to_owned(), text));
    }
    changes
}

fn parts(changes: &mut Texts, name: &str, before: &Function, after: &Function) {
    if !same(before.draft.as_ref(), after.draft.as_ref()) {
        changes.push((format!("draft/{name}"), after.draft.as_ref().map(|draft| format::format_draft(draft))));
    }
    if !Arc::ptr_eq(&before.versions, &after.versions) {
        entries(changes, &format!("version/{name}"), &before.versions, &after.versions, format::format_stored_version);
    }
    if !Arc::ptr_eq(&before.dropped, &after.dropped) {
        let kind = format!("dropped/{name}");
        let new = after.dropped.iter().filter(|(number, digest)| before.dropped.get(number) != Some(digest));
        changes.extend(new.map(|(number, digest)| (format!("{kind}/{number}"), Some(format!("{digest}\n")))));
        let gone = before.dropped.keys().filter(|number| !after.dropped.contains_key(number));
        changes.extend(gone.map(|number| (format!("{kind}/{number}"), None)));
    }
    entries(changes, &format!("alias/{name}"), &before.aliases, &after.aliases, format::format_alias);
    entries(changes, &format!("layer/{name}"), &before.layers, &after.layers, of_alias::layer_text);
    entries(changes, &format!("past/{name}"), &before.pasts, &after.pasts, of_alias::past_text);
}

fn entries<K: Ord + ToString, V: PartialEq>(
    changes: &mut Texts,
    kind: &str,
    before: &BTreeMap<K, Arc<V>>,
    after: &BTreeMap<K, Arc<V>>,
    text: fn(&V) -> String,
) {
    let name = |key: &K| format!("{kind}/{}", key.to_string());
    let new = after.iter().filter(|(key, value)| !same(before.get(key), Some(value)));
    changes.extend(new.map(|(key, value)| (name(key), Some(text(value)))));
    changes.extend(before.keys().filter(|key| !after.contains_key(key)).map(|key| (name(key), None)));
}

/// Equal, at once where nothing was touched.
fn same<V: PartialEq>(before: Option<&Arc<V>>, after: Option<&Arc<V>>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after) || before == after,
        (before, after) => before.is_none() && after.is_none(),
    }
}

fn items<K: Ord + Clone + ToString, V: PartialEq>(
    changes: &mut Texts,
    kind: &str,
    old: &OrdMap<K, V>,
    new: &OrdMap<K, V>,
    text: impl Fn(&V) -> String,
) {
    changes.extend(old.diff(new).map(|item| match item {
        DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => {
            (format!("{kind}/{}", key.to_string()), Some(text(value)))
        }
        DiffItem::Remove(key, _) => (format!("{kind}/{}", key.to_string()), None),
    }));
}

fn one(changes: &mut Texts, name: impl FnOnce() -> String, before: Option<String>, after: Option<String>) {
    if before != after {
        changes.push((name(), after));
    }
}

fn settings_differ(old: &Config, new: &Config) -> bool {
    old.triggers != new.triggers
        || old.base_domain != new.base_domain
        || old.overrides != new.overrides
        || old.trusted_proxies != new.trusted_proxies
        || old.default_certificate != new.default_certificate
}

/// The configuration that these texts mean, checked as a whole: for texts that come from somewhere else. [`from_store`] reads those
/// that are live already.
///
/// # Errors
/// Every problem of every text; without any, those of their references to each other.
pub fn from_texts<'t>(
    texts: impl Iterator<Item = (&'t str, &'t str)> + Clone,
    env: parse::Env<'_>,
) -> Result<Config, Vec<Problem>> {
    let (mut config, mut unreadable, mut unfit) = (Config::default(), Vec::new(), Vec::new());
    // Parts come after their function. Edits are applied as they are read: all those of a large store take much room.
    for of_functions in [true, false] {
        for (name, text) in texts.clone().filter(|(name, _)| name.starts_with(FUNCTION) == of_functions) {
            match edits_of(name, Some(text), env) {
                Ok(edits) => unfit.extend(edits.iter().filter_map(|e| edit::apply_one(&mut config, e).err()).flatten()),
                Err(problems) => unreadable.extend(problems),
            }
        }
    }
    let mut problems = if unreadable.is_empty() { unfit } else { unreadable };
    if problems.is_empty() {
        problems = edit::errors(check::check(&config));
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The edits that replace what these texts mean, in whatever order they come; `None` deletes.
///
/// # Errors
/// Every problem of every text. References are checked when the edits are applied.
pub fn edits<'t>(
    changes: impl IntoIterator<Item = (&'t str, Option<&'t str>)>,
    env: parse::Env<'_>,
) -> Result<Vec<Edit>, Vec<Problem>> {
    let (mut first, mut others, mut last, mut problems) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, text) in changes {
        // Parts come after their function, and go before it.
        let edits = match (name.starts_with(FUNCTION), text) {
            (true, Some(_)) => &mut first,
            (true, None) => &mut last,
            (false, _) => &mut others,
        };
        match edits_of(name, text, env) {
            Ok(of_one) => edits.extend(of_one),
            Err(of_one) => problems.extend(of_one),
        }
    }
    first.append(&mut others);
    first.append(&mut last);
    if problems.is_empty() { Ok(first) } else { Err(problems) }
}

/// The edits of a text: one, but for the settings.
fn edits_of(name: &str, text: Option<&str>, env: parse::Env<'_>) -> Result<Vec<Edit>, Vec<Problem>> {
    if name == SETTINGS {
        let (config, _) = parse::parse_settings(text.unwrap_or_default(), env)?;
        return Ok(settings(&config).into());
    }
    let unknown =
        || vec![Problem::error(name, format!("`{name}` is no name of a stored text that this version knows"))];
    let (kind, item) = name.split_once('/').ok_or_else(unknown)?;
    let is_item = |section: &str| join(section, item);
    let edit = match kind {
        "function" | "number" | "draft" | "version" | "dropped" | "alias" | "layer" | "past" => {
            let (function, part) = item.split_once('/').unwrap_or((item, ""));
            let stored = part_of_function(kind, function, part, text, env).ok_or_else(unknown)??;
            Edit::Stored(function.parse().map_err(|_| unknown())?, stored)
        }
        "stage" => {
            let name = item.parse().map_err(|_| unknown())?;
            let to = read(text, |text| parse::parse_stage(&name, text, env))?;
            Edit::MergeStage(name, Merge { from: None, to })
        }
        "domain" => {
            let host = item.parse().map_err(|_| unknown())?;
            let to = read(text, |text| parse::parse_domain(&host, text, env))?;
            Edit::MergeDomain(host, Merge { from: None, to })
        }
        "plan" => {
            let to = read(text, |text| parse::parse_plan_text(&is_item("plans"), text, env))?;
            Edit::MergePlan(item.parse().map_err(|_| unknown())?, Merge { from: None, to })
        }
        "notifier" => {
            let to = read(text, |text| parse::parse_notifier(&is_item("notifiers"), text, env))?;
            Edit::MergeNotifier(item.parse().map_err(|_| unknown())?, Merge { from: None, to })
        }
        _ => return Err(unknown()),
    };
    Ok(vec![edit])
}

/// A part of a function; `None` when its name is none.
fn part_of_function(
    kind: &str,
    function: &str,
    part: &str,
    text: Option<&str>,
    env: parse::Env<'_>,
) -> Option<Result<Stored, Vec<Problem>>> {
    let path = || join("functions", function);
    let number = part.parse::<NonZeroU32>().ok().filter(|number| number.to_string() == part);
    Some(match (kind, part) {
        ("function", "") => {
            let settings = text.map(|text| parse::parse_function_settings(&path(), text, env)).transpose();
            settings.map(|settings| Stored::Function(settings.map(|(settings, _)| settings)))
        }
        ("number", "") => text.map(|text| counter(&path(), text)).transpose().map(Stored::Number),
        ("draft", "") => {
            read(text, |text| parse::parse_draft(&format!("{}.draft", path()), text, env)).map(Stored::Draft)
        }
        ("version", _) => {
            let path = || format!("{}.versions.{part}", path());
            let number = number?;
            read(text, |text| parse::parse_stored_version(&path(), text, env)).map(|to| Stored::Version(number, to))
        }
        ("dropped", _) => {
            let path = || format!("{}.versions.{part}", path());
            let number = number?;
            text.map(|text| digest(&path(), text)).transpose().map(|to| Stored::Dropped(number, to))
        }
        ("alias", _) => {
            let path = || join(&format!("{}.aliases", path()), part);
            let name = part.parse().ok()?;
            read(text, |text| parse::parse_alias(&path(), text, env)).map(|to| Stored::Alias(name, to))
        }
        ("layer", _) => {
            let path = || join(&format!("{}.aliases", path()), part);
            let name = part.parse().ok()?;
            read(text, |text| of_alias::read_layer(&path(), text)).map(|to| Stored::Layer(name, to))
        }
        ("past", _) => {
            let path = || join(&format!("{}.aliases", path()), part);
            let name = part.parse().ok()?;
            read(text, |text| of_alias::read_past(&path(), text, env)).map(|to| Stored::Past(name, to))
        }
        _ => return None,
    })
}

fn digest(path: &str, text: &str) -> Result<Digest, Vec<Problem>> {
    let digest = text.trim_end().parse();
    digest.map_err(|_| vec![Problem::error(path, "the stored digest of the dropped version is none")])
}

fn counter(path: &str, text: &str) -> Result<NonZeroU32, Vec<Problem>> {
    let number = text.trim_end().parse();
    number.map_err(|_| vec![Problem::error(path, "the stored counter of versions is no number from 1 to 4294967295")])
}

fn read<T>(text: Option<&str>, parse: impl FnOnce(&str) -> parse::Parsed<T>) -> Result<Option<Arc<T>>, Vec<Problem>> {
    Ok(text.map(parse).transpose()?.map(|(value, _)| Arc::new(value)))
}
