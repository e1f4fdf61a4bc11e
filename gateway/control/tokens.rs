//! Who may use the admin API. The store holds a hash of each token, never the token.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use config::text::problem::Problem;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::{Revision, TOKEN, sha256};
use crate::clock;
use crate::store::{Store, Stored, Update};

/// What a token allows; each role includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To read.
    Viewer,
    /// To change what is live.
    Operator,
    /// To decide who may do what, and to take everything away as one file.
    Admin,
}

/// A token as its owner has it. Shown once, stored nowhere.
pub struct Secret(String);

/// What the store keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    role: Role,
    /// SHA-256 in hexadecimal: tokens hold 256 random bits, so a slow hash would add nothing.
    sha256: String,
    /// Seconds since 1970-01-01 UTC.
    created: u64,
}

/// Whose token was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Of the token.
    pub name: String,
    /// What it allows.
    pub role: Role,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Of the token.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Seconds since 1970-01-01 UTC.
    pub created: u64,
}

/// Every token, as of the store's watch.
pub struct Tokens {
    kept: RwLock<BTreeMap<String, Kept>>,
    seen: watch::Sender<Revision>,
}

impl Tokens {
    /// Whose token this is. Takes as long for a wrong one as for a right one.
    #[must_use]
    pub fn grant(&self, presented: &str) -> Option<Grant> {
        let presented = sha256(presented);
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for (name, token) in &*kept {
            if bool::from(token.sha256.as_bytes().ct_eq(presented.as_bytes())) {
                found = Some(Grant { name: name.clone(), role: token.role });
            }
        }
        found
    }

    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(name, t)| Listed { name: name.clone(), role: t.role, created: t.created }).collect()
    }

    /// Whether there is one of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// Returns once every change up to `revision` counts.
    pub(super) async fn reached(&self, revision: Revision) {
        // The sender is here, in `self`.
        let _ = self.seen.subscribe().wait_for(|seen| *seen >= revision).await;
    }

    fn take(&self, update: Update) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let revision = match update {
            Update::Image(image) => {
                *kept = image.texts.iter().filter_map(|(name, Stored { text, .. })| read(name, text)).collect();
                image.revision
            }
            Update::Transaction(transaction) => {
                for change in &*transaction.changes {
                    match change.text.as_deref().and_then(|text| read(&change.name, text)) {
                        Some((name, token)) => kept.insert(name, token),
                        None => kept.remove(change.name.strip_prefix(TOKEN).unwrap_or_default()),
                    };
                }
                transaction.revision
            }
        };
        drop(kept);
        self.seen.send_replace(revision);
    }
}

fn read(name: &str, text: &str) -> Option<(String, Kept)> {
    let name = name.strip_prefix(TOKEN)?;
    match serde_json::from_str(text) {
        Ok(kept) => Some((name.to_owned(), kept)),
        Err(error) => {
            tracing::error!(name, "a stored token cannot be read and counts for nothing: {error}");
            None
        }
    }
}

/// Follows the tokens of `store` on this runtime for as long as somebody holds the answer.
pub(super) async fn follow(store: Arc<dyn Store>) -> Arc<Tokens> {
    let tokens = Arc::new(Tokens { kept: RwLock::default(), seen: watch::Sender::new(0) });
    let mut updates = store.watch(TOKEN, 0).await;
    let followed = Arc::downgrade(&tokens);
    tokio::spawn(async move {
        while let Some(update) = updates.recv().await
            && let Some(tokens) = followed.upgrade()
        {
            tokens.take(update);
        }
    });
    tokens
}

/// A new token, and the text to store.
///
/// # Errors
/// When the name is not one.
pub(super) fn create(name: &str, role: Role) -> Result<(Secret, String), Problem> {
    let is_name = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|other| other.is_ascii_alphanumeric() || "-_.".contains(other));
    if !is_name {
        let help = "a letter followed by up to 63 letters, digits, `-`, `_` or `.`";
        return Err(Problem::error("name", format!("`{name}` is no name for a token")).help(help));
    }
    let [high, low]: [u128; 2] = rand::random();
    let secret = format!("weir_{high:032x}{low:032x}");
    let kept = Kept { role, sha256: sha256(&secret), created: clock::unix().as_secs() };
    let text = serde_json::to_string(&kept).expect("texts and numbers are JSON");
    Ok((Secret(secret), text))
}

impl Secret {
    /// To be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no role: viewer, operator or admin"))
    }
}
