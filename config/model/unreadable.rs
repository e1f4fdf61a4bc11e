//! Stored texts that cannot be read: another version of Weir wrote them, or the environment lacks what they name.

use std::sync::Arc;

use super::{Config, Function};
use crate::value::name::{AliasName, Qualifier, VersionId};

/// A stored text that cannot be read. What it held is missing in the configuration, and its name stays taken: the text stays as
/// it is until somebody replaces, or deletes, what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The text as it is stored; `None` if it is missing, and others show that it was there.
    pub text: Option<Arc<str>>,
    /// The reason, in a line. It may hold a value of the text, which may be a secret.
    pub reason: String,
    /// The reason for those who may not see secrets.
    pub told: String,
}

impl Config {
    /// True if the text of this name, such as `stage/release`, cannot be read.
    #[must_use]
    pub fn is_unread(&self, name: &str) -> bool {
        self.unreadable.contains_key(name)
    }
}

impl Function {
    /// True if the text of this version, or of the draft, cannot be read.
    #[must_use]
    pub fn is_unread_version(&self, id: VersionId) -> bool {
        !self.unread.is_empty() && self.unread.contains(&Qualifier::Version(id))
    }

    /// True if the text of this alias cannot be read.
    #[must_use]
    pub fn is_unread_alias(&self, name: &AliasName) -> bool {
        self.unread.iter().any(|unread| matches!(unread, Qualifier::Alias(alias) if alias == name))
    }
}
