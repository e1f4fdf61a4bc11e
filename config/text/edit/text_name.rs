//! Names of stored texts, and what each is about.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Config, Function};
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName, NotifierName, PlanName, Qualifier, StageName, VersionId};

/// The meaning of a text's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TextName {
    Function(FunctionName),
    Number(FunctionName),
    Part(FunctionName, Qualifier),
    Dropped(FunctionName, NonZeroU32),
    Layer(FunctionName, AliasName),
    Past(FunctionName, AliasName),
    Stage(StageName),
    Domain(HostPattern),
    Plan(PlanName),
    Notifier(NotifierName),
    Settings,
}

impl TextName {
    /// `None` for a name that this version of Weir does not know.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name == "settings" {
            return Some(Self::Settings);
        }
        let (kind, item) = name.split_once('/')?;
        let part = || item.split_once('/').and_then(|(function, part)| Some((function.parse().ok()?, part)));
        Some(match kind {
            "function" => Self::Function(item.parse().ok()?),
            "number" => Self::Number(item.parse().ok()?),
            "draft" => Self::Part(item.parse().ok()?, Qualifier::Version(VersionId::Latest)),
            "version" | "dropped" => {
                let (function, number) = part()?;
                let number: NonZeroU32 = number.parse().ok().filter(|n: &NonZeroU32| n.to_string() == number)?;
                match kind {
                    "version" => Self::Part(function, Qualifier::Version(VersionId::Number(number))),
                    _ => Self::Dropped(function, number),
                }
            }
            "alias" => {
                let (function, alias) = part()?;
                Self::Part(function, Qualifier::Alias(alias.parse().ok()?))
            }
            "layer" | "past" => {
                let (function, alias) = part()?;
                let alias = alias.parse().ok()?;
                if kind == "layer" { Self::Layer(function, alias) } else { Self::Past(function, alias) }
            }
            "stage" => Self::Stage(item.parse().ok()?),
            "domain" => Self::Domain(item.parse().ok()?),
            "plan" => Self::Plan(item.parse().ok()?),
            "notifier" => Self::Notifier(item.parse().ok()?),
            _ => return None,
        })
    }

    /// The function that the text is a part of, or that it is about.
    pub(crate) fn function(&self) -> Option<&FunctionName> {
        match self {
            Self::Function(name)
            | Self::Number(name)
            | Self::Part(name, _)
            | Self::Dropped(name, _)
            | Self::Layer(name, _)
            | Self::Past(name, _) => Some(name),
            _ => None,
        }
    }

    /// Makes of `to` what `from` says under this name, be it nothing. A function stays: only its settings are of its own text.
    pub(crate) fn copy(&self, from: &Config, to: &mut Config) {
        let nothing = Function::default();
        let source = self.function().and_then(|name| from.functions.get(name)).map_or(&nothing, |function| function);
        let mut target = self.function().and_then(|name| to.functions.get_mut(name)).map(Arc::make_mut);
        match self {
            Self::Number(name) => put(&mut to.numbers, name, from.numbers.get(name)),
            Self::Function(name) => {
                if target.is_none() && from.functions.contains_key(name) {
                    target = Some(Arc::make_mut(to.functions.entry(name.clone()).or_default()));
                }
                if let Some(target) = target {
                    target.set_settings(&source.settings());
                }
            }
            Self::Part(name, part) => {
                let is_there = is_part(source, part);
                if target.is_none() && is_there {
                    target = Some(Arc::make_mut(to.functions.entry(name.clone()).or_default()));
                }
                let Some(target) = target else { return };
                match part {
                    Qualifier::Version(VersionId::Latest) => target.draft.clone_from(&source.draft),
                    Qualifier::Version(VersionId::Number(number)) => {
                        entry(Arc::make_mut(&mut target.versions), number, source.versions.get(number));
                    }
                    Qualifier::Alias(alias) => entry(&mut target.aliases, alias, source.aliases.get(alias)),
                }
            }
            Self::Dropped(_, number) => {
                if let Some(target) = target {
                    let dropped = Arc::make_mut(&mut target.dropped);
                    match source.dropped.get(number) {
                        Some(digest) => dropped.insert(*number, *digest),
                        None => dropped.remove(number),
                    };
                }
            }
            Self::Layer(_, alias) => {
                if let Some(target) = target {
                    entry(&mut target.layers, alias, source.layers.get(alias));
                }
            }
            Self::Past(_, alias) => {
                if let Some(target) = target {
                    entry(&mut target.pasts, alias, source.pasts.get(alias));
                }
            }
            Self::Stage(name) => put(&mut to.stages, name, from.stages.get(name)),
            Self::Domain(host) => put(&mut to.domains, host, from.domains.get(host)),
            Self::Plan(name) => put(&mut to.plans, name, from.plans.get(name)),
            Self::Notifier(name) => put(&mut to.notifiers, name, from.notifiers.get(name)),
            Self::Settings => {
                to.triggers = Arc::clone(&from.triggers);
                to.base_domain.clone_from(&from.base_domain);
                to.overrides = Arc::clone(&from.overrides);
                to.trusted_proxies = Arc::clone(&from.trusted_proxies);
                to.default_certificate.clone_from(&from.default_certificate);
            }
        }
    }

    /// True if the thing is there, so that a text which could not be read was replaced. Of a function, a counter and the settings
    /// nobody can tell so: they have a value without a text.
    pub(super) fn is_replaced_in(&self, config: &Config) -> bool {
        let function = self.function().and_then(|name| config.functions.get(name));
        match self {
            Self::Function(_) | Self::Number(_) | Self::Settings => false,
            Self::Part(_, part) => function.is_some_and(|function| is_part(function, part)),
            Self::Dropped(_, number) => function.is_some_and(|function| function.dropped.contains_key(number)),
            Self::Layer(_, alias) => function.is_some_and(|function| function.layers.contains_key(alias)),
            Self::Past(_, alias) => function.is_some_and(|function| function.pasts.contains_key(alias)),
            Self::Stage(name) => config.stages.contains_key(name),
            Self::Domain(host) => config.domains.contains_key(host),
            Self::Plan(name) => config.plans.contains_key(name),
            Self::Notifier(name) => config.notifiers.contains_key(name),
        }
    }

    /// True if it goes with its function: a counter of numbers outlives it.
    pub(super) fn is_gone_with_function(&self, config: &Config) -> bool {
        !matches!(self, Self::Number(_)) && self.function().is_some_and(|name| !config.functions.contains_key(name))
    }
}

pub(super) fn is_part(function: &Function, part: &Qualifier) -> bool {
    match part {
        Qualifier::Version(id) => function.version(*id).is_some(),
        Qualifier::Alias(alias) => function.aliases.contains_key(alias),
    }
}

fn put<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, V>, key: &K, value: Option<&V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}

fn entry<K: Ord + Clone, V>(map: &mut BTreeMap<K, Arc<V>>, key: &K, value: Option<&Arc<V>>) {
    match value {
        Some(value) => map.insert(key.clone(), Arc::clone(value)),
        None => map.remove(key),
    };
}
