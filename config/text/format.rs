//! [`Config`] -> its canonical text: the full form of every shorthand, in one order, without what equals its default.
//!
//! Reading the text gives the same `Config` back. Comments and the spelling of the source are not kept; environment
//! variables stand as `${NAME}`, as they were written. The buckets of an alias and the version that joined it last are
//! written only when they are history that the weights alone do not tell.

use std::sync::Arc;

use serde_json::Value;

use crate::model::{Alias, Config, Domain, Function, FunctionSettings, Notifier, Plan, Stage, Target, Version};
use crate::text::format::tree::Tree;
use crate::text::format::version::ShowDigest;

pub mod json;
mod plan;
mod process;
mod rule;
mod text;
pub(crate) mod tree;
pub(crate) mod version;
mod ways;
mod words;

pub(crate) use ways::{domain as domain_tree, stage as stage_tree};

/// The whole configuration as a file.
#[must_use]
pub fn format(config: &Config) -> String {
    tree::config(config).to_text()
}

/// A function, its draft, versions and aliases included; [`parse_function`](crate::text::parse::parse_function) reads it.
#[must_use]
pub fn format_function(function: &Function) -> String {
    tree::function(function, ShowDigest::IfMoved).to_text()
}

/// What belongs to a function alone; [`parse_function_settings`](crate::text::parse::parse_function_settings) reads it.
#[must_use]
pub fn format_function_settings(settings: &FunctionSettings) -> String {
    format!("{}\n", tree::function_settings(settings).to_line())
}

/// A draft; [`parse_draft`](crate::text::parse::parse_draft) reads it.
#[must_use]
pub fn format_draft(draft: &Version) -> String {
    version::version(draft, ShowDigest::No).to_text()
}

/// A version with its digest; [`parse_stored_version`](crate::text::parse::parse_stored_version) reads it.
#[must_use]
pub fn format_stored_version(version: &Version) -> String {
    version::version(version, ShowDigest::Yes).to_text()
}

/// An alias; [`parse_alias`](crate::text::parse::parse_alias) reads it.
#[must_use]
pub fn format_alias(alias: &Alias) -> String {
    tree::alias(alias).to_text()
}

/// A stage; [`parse_stage`](crate::text::parse::parse_stage) reads it.
#[must_use]
pub fn format_stage(stage: &Stage) -> String {
    ways::stage(stage).to_text()
}

/// A domain; [`parse_domain`](crate::text::parse::parse_domain) reads it.
#[must_use]
pub fn format_domain(domain: &Domain) -> String {
    ways::domain(domain).to_text()
}

/// A plan; [`parse_plan_text`](crate::text::parse::parse_plan_text) reads it.
#[must_use]
pub fn format_plan(plan: &Plan) -> String {
    plan::plan(plan).to_text()
}

/// A part of a configuration that came as JSON, as text in the spelling of files.
#[must_use]
pub fn format_value(value: &Value) -> String {
    Tree::from_json(value).to_text()
}

/// A notifier; [`parse_notifier`](crate::text::parse::parse_notifier) reads it.
#[must_use]
pub fn format_notifier(notifier: &Notifier) -> String {
    tree::notifier(notifier).to_text()
}

/// Triggers, base domain, overrides, trusted proxies and default certificate, nothing when there are none;
/// [`parse_settings`](crate::text::parse::parse_settings) reads it.
#[must_use]
pub fn format_settings(config: &Config) -> String {
    tree::config(&settings(config)).to_text()
}

/// The settings alone: triggers, base domain, overrides, trusted proxies and default certificate.
fn settings(config: &Config) -> Config {
    Config {
        triggers: Arc::clone(&config.triggers),
        base_domain: config.base_domain.clone(),
        overrides: Arc::clone(&config.overrides),
        trusted_proxies: Arc::clone(&config.trusted_proxies),
        default_certificate: config.default_certificate.clone(),
        ..Config::default()
    }
}

/// What [`Digest`](crate::value::digest::Digest) hashes.
pub(crate) fn frozen_text(target: &Target, artifact: Option<&str>) -> String {
    let mut text = String::new();
    version::frozen(target, artifact, artifact.is_none()).write_sorted_json(&mut text);
    text
}

/// Entries of a mapping in canonical order, without those that equal their default.
#[derive(Default)]
struct Entries(Vec<(String, Tree)>);

impl Entries {
    /// This entry in any case.
    fn put(&mut self, key: &str, value: impl Into<Tree>) -> &mut Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// This entry unless it equals the default.
    fn put_unless<T: PartialEq>(
        &mut self,
        key: &str,
        value: &T,
        default: &T,
        show: impl FnOnce(&T) -> Tree,
    ) -> &mut Self {
        if value != default {
            self.put(key, show(value));
        }
        self
    }

    /// This entry if there is a value.
    fn put_some<T>(&mut self, key: &str, value: Option<&T>, show: impl FnOnce(&T) -> Tree) -> &mut Self {
        if let Some(value) = value {
            self.put(key, show(value));
        }
        self
    }

    /// This entry unless it is an empty mapping or list.
    fn put_full(&mut self, key: &str, value: Tree) -> &mut Self {
        if !value.is_empty() {
            self.put(key, value);
        }
        self
    }

    /// A mapping on one line where it fits.
    fn flow(&mut self) -> Tree {
        Tree::Map { entries: std::mem::take(&mut self.0), block: false }
    }

    /// A mapping with one line for each entry.
    fn block(&mut self) -> Tree {
        Tree::Map { entries: std::mem::take(&mut self.0), block: true }
    }
}
