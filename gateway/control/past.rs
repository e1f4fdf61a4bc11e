//! The configuration as it was: what is stored, taken back change by change as the journal tells it.

use std::collections::BTreeMap;

use config::model::Config;
use config::text::texts;

use super::named::below;
use super::rollback::Past;
use super::{CONFIG, Control, Environment, Refused};
use crate::store::{Revision, Store};

impl Control {
    /// The configuration as it was at a revision.
    ///
    /// # Errors
    /// When the journal does not reach there.
    pub async fn config_at(&self, revision: Revision) -> Result<Config, Refused> {
        config_at(&*self.store, &self.environment, revision).await
    }
}

/// The configuration that was live at this revision. `${NAME}` means what it means now: values of the environment are in no journal.
///
/// # Errors
/// When the journal does not reach there.
async fn config_at(store: &dyn Store, environment: &Environment, to: Revision) -> Result<Config, Refused> {
    let image = store.load(CONFIG).await?;
    let past = Past { store, environment, config: &Config::default(), revision: image.revision };
    let mut then: BTreeMap<String, String> =
        below(CONFIG, &image).map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    for (name, text) in past.since(to, |_| true).await? {
        match text {
            Some(text) => then.insert(name, text),
            None => then.remove(&name),
        };
    }
    let then = then.iter().map(|(name, text)| (&**name, &**text));
    // What cannot be read any more is missing in it, and what names it leads to an answer that says so.
    Ok(texts::from_store(then, &**environment))
}
