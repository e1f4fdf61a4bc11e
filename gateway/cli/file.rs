//! The configuration as a file: applied to the running gateway, compared with it, written from it.

use std::io;
use std::path::{Path, PathBuf};

use config::text::problem::{render, visible};
use reqwest::Method;
use reqwest::blocking::Response;

use super::Exit;
use super::access::Access;
use super::ask::{Ask, Change, Form, at, differences, finish, read, read_up_to};
use super::failure::{Failure, problems};
use super::local::{self, print, write_whole};
use super::remote::{Call, LONG, Remote};
use crate::serve;

/// The size of the largest export that is imported, in bytes.
const LARGEST_EXPORT: u64 = 4 << 30;

/// `weir apply`
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The configuration file; `-` is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Apply it even if it has no functions and the file before had some
    #[arg(long)]
    allow_empty: bool,
    #[command(flatten)]
    change: Change,
}

impl Ask for Apply {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let text = read(&self.file)?;
        let name = self.file.display().to_string();
        let call = Call::new(Method::POST, "/v1/config").yaml(text.clone());
        let call = call.query("allow_empty", self.allow_empty.then_some(true));
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
        for (alias, layer) in answer.json["layers"].as_object().into_iter().flatten() {
            let [rollout, candidate] = ["rollout", "candidate"].map(|field| layer[field].as_str().unwrap_or("-"));
            let note = format!("rollout {rollout} runs on {alias}: version {candidate} gets {} %", layer["weight"]);
            eprintln!("weir: {}", visible(&note));
        }
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
        let response = remote.send(call)?;
        if let Some(number) = response.headers().get("x-weir-left-out").and_then(|number| number.to_str().ok()) {
            let note =
                format!("{number} stored texts cannot be read, and what they name is left out: see `weir status`");
            eprintln!("weir: {}", visible(&note));
        }
        match &self.output {
            Some(file) => save(response, file),
            None => Ok(print(&remote.text(response)?)),
        }
    }
}

fn save(mut response: Response, file: &Path) -> Result<Exit, Failure> {
    let written = write_whole(file, 0o600, |to| response.copy_to(to).map(drop).map_err(io::Error::other));
    written.map(|()| Exit::Ok).map_err(|error| Failure::file("write", file, &error))
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
        finish(read_up_to(&self.file, LARGEST_EXPORT).map(|text| serve::import(&self.config, &text)))
    }
}
