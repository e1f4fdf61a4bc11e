//! The listener of the clouds' own clients, and who may use it.

use std::path::PathBuf;

use super::AdminListener;
use crate::value::template::Template;

/// Where the clouds' own clients are answered. YAML: `dialects: {address: 127.0.0.1:9901, account: "000000000000", keys: […]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialects {
    /// A TCP listener, guarded as that of the admin API is: two of the signatures leave parts of a request unsigned.
    pub listener: AdminListener,
    /// 12 digits: the account of ARNs.
    pub account: String,
    /// Whose requests are answered; at least one.
    pub keys: Vec<AccessKey>,
}

/// A key that requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id, distinct among the keys.
    pub id: String,
    /// Where its secret is.
    pub secret: KeySecret,
    /// What it may do.
    pub role: KeyRole,
}

/// Where the secret of a key is: never in the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySecret {
    /// In the environment. YAML: `secret: "${NAME}"`.
    Variable(Template),
    /// In a file of mode 0600, which is read again when it changes. YAML: `secret_file: PATH`.
    File(PathBuf),
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// Read.
    Viewer,
    /// Invoke.
    Invoker,
    /// Read, invoke and change.
    Operator,
}

impl KeySecret {
    /// The fewest characters of a secret.
    pub const LEAST: usize = 16;
}
