//! What a store holds, taken as far as it can be read: a text that cannot be read takes down its own thing alone.
//!
//! Nothing is checked here. What is stored fitted together when it was written; what names a thing that cannot be read now names
//! nothing, and edits are asked about what they change themselves.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{FUNCTION, edits_of};
use crate::model::{Config, Function, Unreadable};
use crate::text::edit;
use crate::text::edit::text_name::TextName;
use crate::text::edit::unread::forget;
use crate::text::parse::Env;
use crate::text::problem::Problem;
use crate::value::name::{FunctionName, Qualifier, VersionId};

/// The configuration that the texts of a store mean. Those that cannot be read are in [`Config::unreadable`].
#[must_use]
pub fn from_store<'t>(texts: impl Iterator<Item = (&'t str, &'t str)> + Clone, env: Env<'_>) -> Config {
    let mut config = Config::default();
    // Parts come after their function. Edits are applied as they are read: all those of a large store take much room.
    for of_functions in [true, false] {
        for (name, text) in texts.clone().filter(|(name, _)| name.starts_with(FUNCTION) == of_functions) {
            take(&mut config, name, Some(text), env);
        }
    }
    config
}

/// `config` after these texts changed in its store; `None` where one is gone.
#[must_use]
pub fn stored<'t>(
    config: &Config,
    changes: impl Iterator<Item = (&'t str, Option<&'t str>)> + Clone,
    env: Env<'_>,
) -> Config {
    let mut config = config.clone();
    // Parts come after their function, and go before it.
    let order = |(name, text): &(&str, Option<&str>)| match (name.starts_with(FUNCTION), text) {
        (true, Some(_)) => 0,
        (false, _) => 1,
        (true, None) => 2,
    };
    for turn in 0..3 {
        for (name, text) in changes.clone().filter(|change| order(change) == turn) {
            take(&mut config, name, text, env);
        }
    }
    config
}

fn take(config: &mut Config, name: &str, text: Option<&str>, env: Env<'_>) {
    forget(config, name);
    let known = TextName::parse(name);
    match (&known, text) {
        (Some(TextName::Function(function)), None) if has_parts(config, function) => {
            TextName::Function(function.clone()).copy(&Config::default(), config);
            return missing(config, function);
        }
        (Some(TextName::Part(function, _) | TextName::Layer(function, _) | TextName::Past(function, _)), Some(_))
            if !config.functions.contains_key(function) =>
        {
            missing(config, function);
        }
        _ => {}
    }
    let edits = edits_of(name, text, env);
    let applied = edits.and_then(|edits| edits.iter().try_for_each(|edit| edit::apply_one(config, edit)));
    match (applied, text) {
        (Ok(()), _) => {}
        (Err(problems), Some(text)) => leave_out(config, name, known.as_ref(), text, &problems),
        // A name that nobody knows is gone.
        (Err(_), None) => {}
    }
}

fn has_parts(config: &Config, function: &FunctionName) -> bool {
    config.functions.get(function).is_some_and(|function| {
        let is_any = !function.versions.is_empty() || !function.aliases.is_empty() || !function.unread.is_empty();
        is_any || function.draft.is_some()
    })
}

/// The function is there, as its parts show, and its own text is not.
fn missing(config: &mut Config, function: &FunctionName) {
    config.functions.entry(function.clone()).or_default();
    let reason = "it is missing, and parts of the function are stored".to_owned();
    let unreadable = Unreadable { text: None, told: reason.clone(), reason };
    config.unreadable.insert(format!("function/{function}").into(), Arc::new(unreadable));
}

fn leave_out(config: &mut Config, name: &str, known: Option<&TextName>, text: &str, problems: &[Problem]) {
    if let Some(known) = known {
        known.copy(&Config::default(), config);
    }
    match known {
        Some(TextName::Function(function)) => drop(config.functions.entry(function.clone()).or_default()),
        Some(TextName::Number(name)) => {
            if let Some(highest) = config.functions.get(name).and_then(|function| highest(function)) {
                edit::raise(&mut config.numbers, name, highest);
            }
        }
        Some(TextName::Part(name, part)) => {
            let function = config.functions.entry(name.clone()).or_default();
            Arc::make_mut(function).unread.insert(part.clone());
            if let Qualifier::Version(VersionId::Number(number)) = part {
                // The number stays taken.
                edit::raise(&mut config.numbers, name, *number);
            }
        }
        _ => {}
    }
    let (reason, told) = reasons(problems);
    config.unreadable.insert(name.into(), Arc::new(Unreadable { text: Some(text.into()), reason, told }));
}

/// The highest number that is there.
fn highest(function: &Function) -> Option<NonZeroU32> {
    let unread = function.unread.iter().filter_map(|part| match part {
        Qualifier::Version(VersionId::Number(number)) => Some(*number),
        _ => None,
    });
    function.versions.keys().copied().chain(unread).max()
}

/// The first problem in a line, and the same without values of the text; the others most often follow from it.
fn reasons(problems: &[Problem]) -> (String, String) {
    let Some(first) = problems.first() else { return ("it cannot be read".to_owned(), "it cannot be read".to_owned()) };
    let at = if first.path.is_empty() { String::new() } else { format!("{}: ", first.path) };
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    let message = &first.message;
    let names = message.starts_with("unknown key") || message.contains("the environment variable");
    let shown =
        if names || !message.contains('`') { message } else { "this version of Weir cannot read what is there" };
    (format!("{at}{message}{more}"), format!("{at}{shown}{more}"))
}
