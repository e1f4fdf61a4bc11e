//! Commands that need no running gateway: they read files, ask `config`, and print.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use config::model::Config;
use config::text::check::check_secrets;
use config::text::problem::{self, Problem, Severity};

use super::Exit;
use crate::files;
use crate::serve::{environment, unusable_files};

/// `weir validate`
#[derive(Debug, clap::Args)]
pub(super) struct Validate {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = "weir.yaml")]
    file: PathBuf,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// Print the problems as JSON on stdout
    #[arg(long)]
    json: bool,
}

impl Validate {
    pub(super) fn run(&self) -> Exit {
        let text = match read(&self.file) {
            Ok(text) => text,
            Err(exit) => return exit,
        };
        let (config, problems) = match config::text::parse::parse(&text, &environment) {
            Ok((config, mut problems)) => {
                let found = [unusable_files(&config, &self.file), check_secrets(&config)].concat();
                problems.extend(config::text::parse::locate(&text, found));
                (Some(config), problems)
            }
            Err(problems) => (None, problems),
        };
        let refused = problems.iter().any(|problem| self.strict || problem.severity == Severity::Error);
        let valid = config.is_some() && !refused;
        if self.json {
            print(&pretty(&problems.iter().map(Problem::to_json).collect()));
        } else {
            report(&self.file, &text, &problems);
            if let Some(config) = config.filter(|_| valid) {
                print(&summary(&self.file, &config));
            }
        }
        if valid { Exit::Ok } else { Exit::Invalid }
    }
}

fn summary(file: &Path, config: &Config) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}: valid: {}, {}, {}, {}\n",
        file.display(),
        count(config.functions.len(), "function"),
        count(config.functions.values().map(|function| function.aliases.len()).sum(), "aliase")
            .replace("1 aliase", "1 alias"),
        count(config.domains.len(), "domain"),
        count(config.triggers.len(), "trigger"),
    )
}

/// `weir fmt`
#[derive(Debug, clap::Args)]
pub(super) struct Fmt {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = "weir.yaml")]
    file: PathBuf,
    /// Replace the file by its canonical form; comments are lost
    #[arg(short, long, conflicts_with = "check")]
    write: bool,
    /// Print nothing; exit with 1 when the file is not in its canonical form
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(&self) -> Exit {
        let (text, config) = match load(&self.file) {
            Ok(loaded) => loaded,
            Err(exit) => return exit,
        };
        let canonical = config::text::format::format(&config);
        if self.check {
            return if canonical == text { Exit::Ok } else { Exit::Failed };
        }
        if !self.write {
            return print(&canonical);
        }
        match replace(&self.file, &canonical) {
            Ok(()) => Exit::Ok,
            Err(error) => fail(&format!("cannot write {}: {error}", self.file.display())),
        }
    }
}

/// Replaces a file. A link stays one; owner, group and mode stay what they were.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let was = fs::metadata(&file)?;
    write_whole(&file, was.permissions().mode(), |to| {
        fchown(&*to, Some(was.uid()), Some(was.gid()))?;
        to.write_all(text.as_bytes())
    })
}

/// Writes beside the file and renames, so that nobody reads a part, and what breaks off leaves nothing that looks whole.
pub(super) fn write_whole(file: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let put = || {
        let mut to = files::open_to_write(&part, OpenOptions::new().write(true).create_new(true))?;
        write(&mut to)?;
        to.set_permissions(Permissions::from_mode(mode))?;
        to.sync_all()?;
        fs::rename(&part, file)
    };
    put().inspect_err(|_| {
        // What failed is told; that its remains are gone is a courtesy.
        let _ = fs::remove_file(&part);
    })
}

/// `weir diff OLD NEW`
pub(super) fn diff(old: &Path, new: &Path, json: bool) -> Exit {
    let ((_, old), (_, new)) = match (load(old), load(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let changes = config::text::diff::diff(&old, &new);
    if json {
        return print(&pretty(&changes.iter().map(config::text::diff::Change::to_json).collect()));
    }
    print(&changes.iter().map(|change| format!("{change}\n")).collect::<String>())
}

/// The file's text and what it means; problems and warnings go to stderr.
pub(super) fn load(file: &Path) -> Result<(String, Config), Exit> {
    load_with(file, &environment)
}

/// The same with each name of the environment standing for itself, for commands that only look.
pub(super) fn load_unresolved(file: &Path) -> Result<Config, Exit> {
    load_with(file, &config::text::parse::unresolved).map(|(_, config)| config)
}

fn load_with(file: &Path, environment: config::text::parse::Env<'_>) -> Result<(String, Config), Exit> {
    let text = read(file)?;
    match config::text::parse::parse(&text, environment) {
        Ok((config, warnings)) => {
            report(file, &text, &warnings);
            Ok((text, config))
        }
        Err(problems) => {
            report(file, &text, &problems);
            Err(Exit::Invalid)
        }
    }
}

fn read(file: &Path) -> Result<String, Exit> {
    let read = files::read_text_in_time(file, files::CONFIGURATION);
    read.map(|(_, text)| text).map_err(|error| fail(&format!("{} {error}", file.display())))
}

fn report(file: &Path, text: &str, problems: &[Problem]) {
    if !problems.is_empty() {
        eprint!("{}", problem::render(problems, &file.display().to_string(), text));
    }
}

pub(super) fn fail(message: &str) -> Exit {
    eprintln!("weir: {message}");
    Exit::Failed
}

pub(super) fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// Prints data.
pub(super) fn print(text: &str) -> Exit {
    print_some(text).unwrap_or(Exit::Ok)
}

/// Prints data that more may follow; the exit code when nobody reads on. A reader that closed its end early
/// (`weir schema | head`) has all it wanted.
pub(super) fn print_some(text: &str) -> Option<Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Some(Exit::Ok),
        Err(error) => Some(fail(&format!("cannot write to stdout: {error}"))),
    }
}
