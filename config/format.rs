//! [`Config`] -> its canonical text: the full form of every shorthand, in one order, without what equals its default.
//!
//! Reading the text gives the same `Config` back. Comments and the spelling of the source are not kept; environment
//! variables stand as `${NAME}`, as they were written. The buckets of an alias and the version that joined it last are
//! written only when they are history that the weights alone do not tell.

use serde_json::Value;

use crate::format::tree::Tree;
use crate::model::{Config, Domain, Function, Stage};

mod process;
mod rule;
mod text;
pub(crate) mod tree;
mod version;
mod ways;
mod words;

pub(crate) use ways::{domain as domain_tree, stage as stage_tree};

/// The whole configuration as a file.
#[must_use]
pub fn format(config: &Config) -> String {
    tree::config(config).to_text()
}

/// The text that the store keeps for a function; [`parse_function`](crate::parse::parse_function) reads it.
#[must_use]
pub fn format_function(function: &Function) -> String {
    tree::function(function).to_text()
}

/// The text that the store keeps for a stage; [`parse_stage`](crate::parse::parse_stage) reads it.
#[must_use]
pub fn format_stage(stage: &Stage) -> String {
    ways::stage(stage).to_text()
}

/// The text that the store keeps for a domain; [`parse_domain`](crate::parse::parse_domain) reads it.
#[must_use]
pub fn format_domain(domain: &Domain) -> String {
    ways::domain(domain).to_text()
}

/// The text that the store keeps for everything but functions, stages and domains;
/// [`parse_rest`](crate::parse::parse_rest) reads it.
#[must_use]
pub fn format_rest(config: &Config) -> String {
    let rest = Config {
        functions: imbl::OrdMap::new(),
        stages: imbl::OrdMap::new(),
        domains: imbl::OrdMap::new(),
        ..config.clone()
    };
    tree::config(&rest).to_text()
}

/// The configuration as JSON in the shape of its canonical text.
#[must_use]
pub fn to_json(config: &Config) -> Value {
    tree::config(config).to_json()
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
