//! The first token: made when nobody has one, shown once, and kept beside the store for the command line of the same user.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use config::model::Process;

use super::{Failure, Keep, store_path};
use crate::control::tokens::Role;
use crate::control::{Author, Control};
use crate::files;
use crate::log::Diagnostics;

/// The name of the first token.
const NAME: &str = "admin";

/// The file of the first token, to be dealt with when the process ends.
pub(super) struct TokenFile {
    /// The path of the file; `None` where there was a token already and this process wrote none.
    path: Option<PathBuf>,
    keep: Keep,
}

/// Makes the first token, of the role admin, if the store has none. Its secret is said once on standard error, if that is a
/// terminal, and written into a file beside the store, with the extension `token`.
///
/// # Errors
/// When the token cannot be stored, or its file cannot be written.
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
    let path = store_path(process).with_extension("token");
    write(&path, secret.reveal()).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write the token to {}: {error}", path.display()))
    })?;
    let file = path.display();
    // What is no terminal is a log that is kept, and read by others.
    diagnostics.say(&if io::stderr().is_terminal() {
        format!(
            "weir: made the token `{NAME}` for the admin API, shown this once and kept in {file}: {}\n",
            secret.reveal()
        )
    } else {
        format!("weir: made the token `{NAME}` for the admin API; it is in {file}, for this user alone\n")
    });
    Ok(TokenFile { path: Some(path), keep })
}

/// Writes the secret for the file's owner alone, in the place of a file that may be there with other rights. Readers see
/// the old file or the whole new one.
fn write(path: &Path, secret: &str) -> io::Result<()> {
    let next = path.with_extension("token.next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = files::open_to_write(&next, OpenOptions::new().write(true).create_new(true))?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(next, path)
}

impl TokenFile {
    /// Removes the file where the token ends with the process; keeps it where the token is stored.
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
