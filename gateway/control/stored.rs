//! A configuration as the store tells it: the one place where its texts are read, for the publisher and for the writer.

use std::sync::Arc;

use config::model::Config;
use config::text::texts;
use imbl::OrdMap;

use super::named::below;
use super::{CONFIG, Environment};
use crate::store::{Change, Image, Revision, Transaction};

/// The live configuration at one revision of the store.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub(super) revision: Revision,
    pub(super) config: Config,
    /// When each text changed last, by its name.
    pub(super) revisions: OrdMap<Arc<str>, Revision>,
}

impl Stored {
    /// The configuration of an image, which holds at least its texts. One that cannot be read takes down what it names alone.
    pub(super) fn of(image: &Image, environment: &Environment) -> Self {
        let texts = image.texts.iter();
        let revisions = texts.filter_map(|(name, text)| Some((Arc::from(name.strip_prefix(CONFIG)?), text.revision)));
        Self { revision: image.revision, config: config_of(CONFIG, image, environment), revisions: revisions.collect() }
    }

    /// What the next transaction makes of it. Costs what that changed.
    pub(super) fn after(&self, next: &Transaction, environment: &Environment) -> Self {
        let config = config_after(CONFIG, &self.config, &next.changes, environment);
        let mut after = Self { revision: next.revision, config, revisions: self.revisions.clone() };
        after.note(&next.changes);
        after
    }

    /// Notes that these texts changed at its revision.
    pub(super) fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let Some(name) = change.name.strip_prefix(CONFIG) else { continue };
            match change.text {
                Some(_) => self.revisions.insert(name.into(), self.revision),
                None => self.revisions.remove(name),
            };
        }
    }
}

/// The configuration of the texts below `prefix`, as far as they can be read.
pub(super) fn config_of(prefix: &str, image: &Image, environment: &Environment) -> Config {
    texts::from_store(below(prefix, image), &**environment)
}

/// What changes of texts below `prefix` make of their configuration, as far as they can be read.
pub(super) fn config_after(prefix: &str, before: &Config, changes: &[Change], environment: &Environment) -> Config {
    let changes = changes.iter().filter_map(|change| Some((change.name.strip_prefix(prefix)?, change.text.as_deref())));
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() { before.clone() } else { texts::stored(before, changes.into_iter(), &**environment) }
}
