//! What every command that asks a running gateway has in common: its flags, its run, and how an answer is shown.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use config::text::diff::Change as Difference;
use config::text::format::format_value;
use serde_json::Value;

use super::Exit;
use super::access::Access;
use super::failure::Failure;
use super::local::{pretty, print};
use super::remote::{Answer, Call, Remote};
use super::table::{Side, Table};
use super::target::split_text;
use crate::files::{self, FileError};

/// A command and where to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Asking<T: clap::Args> {
    #[command(flatten)]
    command: T,
    #[command(flatten)]
    access: Access,
}

/// A command that asks a running gateway.
pub(super) trait Ask {
    /// Asks and prints; the exit code is for answers that are bad news.
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure>;
}

impl<T: Ask + clap::Args> Asking<T> {
    pub(super) fn run(&self) -> Exit {
        self.run_with(T::ask)
    }
}

impl<T: clap::Args> Asking<T> {
    /// By another function than the command's own.
    pub(super) fn run_with(&self, ask: impl FnOnce(&T, &Remote) -> Result<Exit, Failure>) -> Exit {
        finish(Remote::new(&self.access).and_then(|remote| ask(&self.command, &remote)))
    }
}

/// The exit code; a failure is told on stderr.
pub(super) fn finish(outcome: Result<Exit, Failure>) -> Exit {
    outcome.unwrap_or_else(|failure| {
        eprint!("{failure}");
        failure.exit
    })
}

/// Flag of a command that reads.
#[derive(Debug, clap::Args)]
pub(super) struct Form {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Form {
    /// Prints the answer as JSON, or what `told` makes of it.
    pub(super) fn show(&self, json: &Value, told: impl FnOnce() -> String) -> Exit {
        print(&if self.json { pretty(json) } else { told() })
    }

    /// Asks for one resource and prints it: as JSON, or as text that can be edited and sent back.
    ///
    /// # Errors
    /// See [`Remote::call`].
    pub(super) fn get(&self, remote: &Remote, path: impl Into<String>, title: impl Display) -> Result<Exit, Failure> {
        let answer = remote.get(path)?;
        Ok(self.show(&answer.json, || resource(&title.to_string(), &answer.json)))
    }

    /// Asks for a list and prints it: as JSON, or as a table with a row for each item.
    ///
    /// # Errors
    /// See [`Remote::call`].
    pub(super) fn list<const N: usize>(
        &self,
        remote: &Remote,
        path: &str,
        columns: [(&str, Side); N],
        row: impl Fn(&Value) -> [String; N],
    ) -> Result<Exit, Failure> {
        let items = remote.list(path)?;
        let mut table = Table::new(&columns);
        items.iter().for_each(|item| table.row(row(item)));
        Ok(self.show(&Value::Array(items), || table.to_string()))
    }
}

/// Flag of a command that changes something.
#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// Why, for the journal; at most 500 characters
    #[arg(long, visible_alias = "reason", value_name = "TEXT", value_parser = why)]
    pub(super) why: Option<String>,
}

fn why(text: &str) -> Result<String, String> {
    match text.trim().chars().count() {
        0 => Err("say why, or leave it out".to_owned()),
        1..=500 => Ok(text.trim().to_owned()),
        count => Err(format!("{count} characters; the journal takes 500")),
    }
}

/// Flags of a command that changes the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Change {
    #[command(flatten)]
    why: Why,
    /// Print what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) form: Form,
}

impl Change {
    /// Sends the change.
    ///
    /// # Errors
    /// See [`Remote::call`].
    pub(super) fn send(&self, remote: &Remote, call: Call) -> Result<Answer, Failure> {
        let answer = remote.call(call.why(self.why.why.as_deref()).query("dry_run", self.dry_run.then_some(true)))?;
        warn_unsaved(&answer);
        self.tell_ended(&answer.json);
        Ok(answer)
    }

    /// Says which rollouts the change ends, if so.
    fn tell_ended(&self, answer: &Value) {
        let ended: Vec<&str> =
            answer["ended_rollouts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !ended.is_empty() {
            let verb = if self.dry_run { "would end" } else { "ends" };
            eprintln!("weir: this {verb} {}, because of what it does to an alias on which that runs", ended.join(", "));
        }
    }

    /// Prints what would change, the answer as JSON, or what `told` makes of it.
    pub(super) fn show(&self, answer: &Answer, told: impl FnOnce(&Value) -> String) -> Exit {
        let json = &answer.json;
        self.form.show(json, || if self.dry_run { differences(json) } else { told(json) })
    }

    /// Sends a change that is told in one line: `shop:prod is 1: 90, 2: 10 (revision 42)`.
    ///
    /// # Errors
    /// See [`Remote::call`].
    pub(super) fn tell(
        &self,
        remote: &Remote,
        call: Call,
        told: impl FnOnce(&Value) -> String,
    ) -> Result<Exit, Failure> {
        let answer = self.send(remote, call)?;
        Ok(self.show(&answer, |json| format!("{}{}\n", told(json), at(answer.revision))))
    }
}

/// Says that a change is live and not stored yet, if so.
pub(super) fn warn_unsaved(answer: &Answer) {
    if answer.unsaved {
        eprintln!(
            "weir: this is live, and the store cannot take it; it is tried again every second, and lost if the gateway ends \
             before"
        );
    }
}

/// Flag of a command that changes one resource.
#[derive(Debug, clap::Args)]
pub(super) struct OnlyAt {
    /// Only if it is at this revision; refused (exit code 5) when somebody changed it since
    #[arg(long, value_name = "REVISION")]
    pub(super) if_revision: Option<u64>,
}

/// ` (revision 42)`
pub(super) fn at(revision: Option<u64>) -> String {
    revision.map(|revision| format!(" (revision {revision})")).unwrap_or_default()
}

/// `changes` of an answer, one line each.
pub(super) fn differences(answer: &Value) -> String {
    let changes = answer["changes"].as_array().into_iter().flatten();
    let lines: Vec<String> = changes.filter_map(Difference::from_json).map(|change| format!("{change}\n")).collect();
    if lines.is_empty() { "nothing changes\n".to_owned() } else { lines.concat() }
}

/// A resource as text that can be edited and sent back: its fields as in a file, its name, number and revision in a comment.
fn resource(title: &str, answer: &Value) -> String {
    let mut fields = answer.clone();
    let mut comment = String::new();
    let revision = fields.as_object_mut().and_then(|object| {
        object.remove("name");
        object.remove("version");
        object.remove("effective_revision");
        let (layer, effective) = (object.remove("layer"), object.remove("effective"));
        if let Some((rollout, effective)) = layer.as_ref().and_then(|layer| layer["rollout"].as_str()).zip(effective) {
            comment = format!("# rollout {rollout} runs on it, and requests see {}\n", split_text(&effective));
        }
        object.remove("revision")
    });
    let title = format!("# {title}{}\n{comment}", at(revision.and_then(|revision| revision.as_u64())));
    title + &format_value(&fields)
}

/// The text of a file, or of stdin for `-`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    read_up_to(file, files::CONFIGURATION)
}

/// Does the same as [`read`] for a text of up to `most` bytes.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_up_to(file: &Path, most: u64) -> Result<String, Failure> {
    if file != Path::new("-") {
        return files::read_text(file, most).map(|(_, text)| text).map_err(|error| Failure::unreadable(file, &error));
    }
    let stdin = Path::new("stdin");
    let mut text = String::new();
    match std::io::stdin().lock().take(most + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > most => Err(Failure::unreadable(stdin, &FileError::TooLarge(most))),
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::file("read", stdin, &error)),
    }
}
