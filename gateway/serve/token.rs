//! The first token: made when nobody has one, shown once, and kept beside the store for the command line of the same user.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::model::Process;

use super::{Failure, Keep};
use crate::control::tokens::Role;
use crate::control::{Author, Control};
use crate::log::Diagnostics;

/// Its name.
const NAME: &str = "admin";

/// The file that this process wrote, if it did.
pub(super) struct TokenFile {
    path: Option<PathBuf>,
    keep: Keep,
}

/// Makes the first token if there is none.
///
/// # Errors
/// When it cannot be stored, or its file cannot be written.
pub(super) async fn ensure(
    control: &Control,
    process: &Process,
    keep: Keep,
    diagnostics: &Diagnostics,
) -> Result<TokenFile, Failure> {
    if !control.tokens().list().is_empty() {
        return Ok(TokenFile { path: None, keep });
    }
    let secret = control.create_token(Author::of("start"), NAME, Role::Admin).await?;
    let path = process.store.with_extension("token");
    write(&path, secret.reveal()).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write the token to {}: {error}", path.display()))
    })?;
    diagnostics.say(&format!(
        "weir: made the token `{NAME}` for the admin API, shown this once and kept in {}: {}\n",
        path.display(),
        secret.reveal()
    ));
    Ok(TokenFile { path: Some(path), keep })
}

/// For the owner alone, whatever was there before.
fn write(path: &Path, secret: &str) -> io::Result<()> {
    let next = path.with_extension("token.next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(next, path)
}

impl TokenFile {
    /// A token that ends with the process leaves no file behind.
    pub(super) fn forget(self) {
        if let (Some(path), Keep::Ephemeral) = (self.path, self.keep)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(
                "{} holds a token that is worth nothing now, and cannot be removed: {error}",
                path.display()
            );
        }
    }
}
