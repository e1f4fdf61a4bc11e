//! Stored texts that cannot be read, and edits.

use std::sync::Arc;

use crate::model::Config;
use crate::text::edit::Edit;
use crate::text::edit::text_name::TextName;

/// Says of a text that it is not, or no longer, one that cannot be read. True if it was.
pub(crate) fn forget(config: &mut Config, name: &str) -> bool {
    let was = config.unreadable.remove(name).is_some();
    if was
        && let Some(TextName::Part(function, part)) = TextName::parse(name)
        && let Some(function) = config.functions.get_mut(&function)
    {
        Arc::make_mut(function).unread.remove(&part);
    }
    was
}

/// The fields of the settings, as edits.
pub(crate) fn settings(config: &Config) -> [Edit; 5] {
    [
        Edit::Triggers(Arc::clone(&config.triggers)),
        Edit::BaseDomain(config.base_domain.clone()),
        Edit::Overrides(Arc::clone(&config.overrides)),
        Edit::TrustedProxies(Arc::clone(&config.trusted_proxies)),
        Edit::DefaultCertificate(config.default_certificate.clone()),
    ]
}
