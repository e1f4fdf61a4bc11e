//! Configurations as a store names their texts: below a prefix.

use std::sync::Arc;

use config::model::Config;
use config::text::texts;

use crate::store::{Change, Image};

/// The texts that differ, by their names below `prefix`.
pub(super) fn changes(prefix: &str, old: &Config, new: &Config) -> Vec<Change> {
    let changes = texts::changes(old, new).into_iter();
    changes.map(|(name, text)| Change { name: format!("{prefix}{name}"), text: text.map(Arc::from) }).collect()
}

/// The texts below `prefix`, by their names without it.
pub(super) fn below<'i>(prefix: &'i str, image: &'i Image) -> impl Iterator<Item = (&'i str, &'i str)> + Clone {
    image.texts.iter().filter_map(move |(name, stored)| Some((name.strip_prefix(prefix)?, &*stored.text)))
}
