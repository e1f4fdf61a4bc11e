//! What a store says: taken as it is.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::model::{Alias, Config, Function, FunctionSettings, Layer, Past, Version};
use crate::text::edit::version::raise;
use crate::text::problem::Problem;
use crate::text::yaml::join;
use crate::value::digest::Digest;
use crate::value::name::{AliasName, FunctionName};

/// A part of a function as a store has it; `None` where it has it no more.
#[derive(Debug, Clone)]
pub enum Stored {
    /// That the function exists, and what belongs to it alone. Comes before the other parts, and goes after them.
    Function(Option<FunctionSettings>),
    /// The highest number that it ever used.
    Number(Option<NonZeroU32>),
    /// The draft.
    Draft(Option<Arc<Version>>),
    /// A version.
    Version(NonZeroU32, Option<Arc<Version>>),
    /// The digest of a version that was dropped.
    Dropped(NonZeroU32, Option<Digest>),
    /// An alias with its history.
    Alias(AliasName, Option<Arc<Alias>>),
    /// The layer of a running rollout over an alias.
    Layer(AliasName, Option<Arc<Layer>>),
    /// The episodes that an alias remembers.
    Past(AliasName, Option<Arc<Past>>),
}

pub(super) fn apply(config: &mut Config, name: &FunctionName, part: &Stored) -> Result<(), Vec<Problem>> {
    match part {
        Stored::Function(None) => drop(config.functions.remove(name)),
        Stored::Function(Some(settings)) => {
            let function = config.functions.entry(name.clone()).or_default();
            if function.settings() != *settings {
                Arc::make_mut(function).set_settings(settings);
            }
        }
        Stored::Number(None) => drop(config.numbers.remove(name)),
        Stored::Number(Some(number)) => drop(config.numbers.insert(name.clone(), *number)),
        Stored::Draft(to) => {
            if let Some(function) = function(config, name, to.is_some())? {
                function.draft.clone_from(to);
            }
        }
        Stored::Version(number, to) => {
            if let Some(function) = function(config, name, to.is_some())? {
                put(Arc::make_mut(&mut function.versions), number, to.as_ref());
                if to.is_some() {
                    raise(&mut config.numbers, name, *number);
                }
            }
        }
        Stored::Dropped(number, to) => {
            if let Some(function) = function(config, name, to.is_some())? {
                let dropped = Arc::make_mut(&mut function.dropped);
                match to {
                    Some(digest) => dropped.insert(*number, *digest),
                    None => dropped.remove(number),
                };
            }
        }
        Stored::Alias(alias, to) => {
            if let Some(function) = function(config, name, to.is_some())? {
                put(&mut function.aliases, alias, to.as_ref());
                if to.is_none() {
                    function.layers.remove(alias);
                    function.pasts.remove(alias);
                }
            }
        }
        Stored::Layer(alias, to) => {
            if let Some(function) = function(config, name, to.is_some())? {
                put(&mut function.layers, alias, to.as_ref());
            }
        }
        Stored::Past(alias, to) => {
            if let Some(function) = function(config, name, to.is_some())? {
                put(&mut function.pasts, alias, to.as_ref());
            }
        }
    }
    Ok(())
}

/// The function that a part belongs to; `None` when it is gone together with the part.
fn function<'c>(
    config: &'c mut Config,
    name: &FunctionName,
    needed: bool,
) -> Result<Option<&'c mut Function>, Vec<Problem>> {
    match config.functions.get_mut(name) {
        Some(function) => Ok(Some(Arc::make_mut(function))),
        None if !needed => Ok(None),
        None => {
            let message = format!("a part of `{name}` is stored, and the function is not");
            Err(vec![Problem::error(join("functions", name.as_str()), message)])
        }
    }
}

fn put<K: Ord + Clone, V>(map: &mut std::collections::BTreeMap<K, Arc<V>>, key: &K, to: Option<&Arc<V>>) {
    match to {
        Some(value) => map.insert(key.clone(), Arc::clone(value)),
        None => map.remove(key),
    };
}
