//! The configuration as a file: applied to the running gateway, compared with it, written from it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::problem::render;
use reqwest::Method;
use reqwest::blocking::Response;

use super::Exit;
use super::access::Access;
use super::ask::{Ask, Change, Form, at, differences, finish, read};
use super::failure::{Failure, problems};
use super::local::{self, print};
use super::remote::{Call, LONG, Remote};
use crate::serve;

/// `weir apply`
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The configuration file; `-` is stdin
    /// Apply it even if it has no functions and the file before had some
    #[arg(long)]
    allow_empty: bool,
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    change: Change,
}

impl Ask for Apply {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let text = read(&self.file)?;
        let call = call.query("allow_empty", self.allow_empty.then_some(true));
        let name = self.file.display().to_string();
        let call = Call::new(Method::POST, "/v1/config").yaml(text.clone());
        let sent = self.change.send(remote, call);
        let answer = sent.map_err(|failure| failure.in_text(&name, &text))?;
        let warnings = problems(&answer.json["warnings"]);
        eprint!("{}", render(&warnings, &name, &text));
        Ok(self.change.show(&answer, |json| format!("{}applied{}\n", differences(json), at(answer.revision))))
    }
}

/// `weir diff`
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// Two files: from the first to the second. One: what applying it to the running gateway would change. None: where
    /// the running gateway differs from the file that was applied last
    #[arg(value_name = "FILE", num_args = 0..=2)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    access: Access,
}

impl Diff {
    pub(super) fn run(&self) -> Exit {
        match &*self.files {
            [old, new] => local::diff(old, new, self.form.json),
            files => finish(Remote::new(&self.access).and_then(|remote| self.ask(&remote, files.first()))),
        }
    }

    fn ask(&self, remote: &Remote, file: Option<&PathBuf>) -> Result<Exit, Failure> {
        let answer = match file {
            None => remote.get("/v1/drift")?,
            Some(file) => {
                let text = read(file)?;
                let call = Call::new(Method::POST, "/v1/config").query("dry_run", Some(true)).yaml(text.clone());
                remote.call(call).map_err(|failure| failure.in_text(&file.display().to_string(), &text))?
            }
        };
        Ok(self.form.show(&answer.json["changes"], || differences(&answer.json)))
    }
}

/// `weir export`
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Everything that the store holds, journal and hashes of tokens included, for `weir import`; needs an admin token
    #[arg(long, conflicts_with = "json")]
    everything: bool,
    /// The file to write, readable by its owner only; otherwise stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

impl Ask for Export {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let call = match (self.everything, self.form.json) {
            (true, _) => Call::new(Method::GET, "/v1/export").within(Some(LONG)),
            (false, true) => Call::new(Method::GET, "/v1/config").accept("application/json"),
            (false, false) => Call::new(Method::GET, "/v1/config").accept("application/yaml"),
        };
        match &self.output {
            Some(file) => save(remote.send(call)?, file),
            None => Ok(print(&remote.call(call)?.text)),
        }
    }
}

/// Writes beside the file and renames, so that a broken transfer leaves nothing that looks whole.
fn save(mut response: Response, file: &Path) -> Result<Exit, Failure> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut write = || -> io::Result<()> {
        let mut to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        response.copy_to(&mut to).map_err(io::Error::other)?;
        to.flush()?;
        to.sync_all()?;
        std::fs::rename(&part, file)
    };
    match write() {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => {
            // What failed is told; that its remains are gone is a courtesy.
            let _ = std::fs::remove_file(&part);
            Err(Failure::file("write", file, &error))
        }
    }
}

/// `weir import`: works on the file of the store itself, since it has to be done before the first start.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// What `weir export --everything` wrote; `-` is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The configuration file whose `store` is to be filled
    #[arg(short, long, value_name = "FILE", env = "WEIR_CONFIG", default_value = "weir.yaml")]
    config: PathBuf,
}

impl Import {
    pub(super) fn run(&self) -> Exit {
        finish(read(&self.file).map(|text| serve::import(&self.config, &text)))
    }
}
