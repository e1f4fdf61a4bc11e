//! `weir key`: access keys for the clouds' own clients. No gateway is asked: keys are in its file and its environment.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Exit;
use super::local::{fail, print};
use crate::files;

/// `weir key`
#[derive(Debug, clap::Args)]
pub(super) struct KeyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key pair and print it, or write its secret into a file
    New(New),
}

#[derive(Debug, clap::Args)]
struct New {
    /// The id that clients sign with; made up unless given
    #[arg(long, value_parser = id)]
    id: Option<String>,
    /// Write the secret into this new file, of mode 0600, and print the id alone
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

fn id(text: &str) -> Result<String, String> {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_word && (4..=128).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("an id is 4 to 128 letters, digits, `-` and `_`".to_owned())
}

impl KeyCommand {
    pub(super) fn run(&self) -> Exit {
        let Verb::New(New { id, secret_file }) = &self.verb;
        let id = id.clone().unwrap_or_else(|| format!("WEIRKEY{:013}", rand::random::<u64>() % 10_000_000_000_000));
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let Some(path) = secret_file else {
            eprintln!(
                "weir: this is the only time that the secret is shown; keep it in the environment: `secret: \"${{NAME}}\"`"
            );
            return print(&format!("id: {id}\nsecret: {secret}\n"));
        };
        let written = files::open_to_write(path, OpenOptions::new().write(true).create_new(true));
        let written = written.and_then(|mut file| {
            writeln!(file, "{secret}")?;
            file.sync_all()
        });
        if let Err(error) = written {
            return fail(&format!("{}: {error}", path.display()));
        }
        print(&format!("{{id: {id}, secret_file: {}, role: operator}}\n", path.display()))
    }
}
