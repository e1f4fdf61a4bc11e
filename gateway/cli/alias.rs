//! Aliases: who gets how much, set by hand and set back.

use std::path::PathBuf;

use config::value::name::FunctionName;
use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::ask::{Ask, Change, Form, OnlyAt, differences, read};
use super::failure::Failure;
use super::remote::{Call, Remote};
use super::table::{Side, or_dash};
use super::target::{AliasTarget, Part, split, split_json, split_text};

/// `weir shift`
#[derive(Debug, clap::Args)]
pub(super) struct Shift {
    /// The alias, such as `shop:prod`
    #[arg(value_name = "FUNCTION:ALIAS")]
    target: AliasTarget,
    /// The new split: `1=90 2=10` in any sum, or one version for everything
    #[arg(value_name = "VERSION=WEIGHT", required = true)]
    split: Vec<Part>,
    #[command(flatten)]
    only_at: OnlyAt,
    #[command(flatten)]
    change: Change,
}

impl Ask for Shift {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let body = json!({"split": split_json(&split(&self.split)?)});
        patch(
            remote,
            &self.target,
            Call::new(Method::PATCH, self.target.path()).json(&body),
            &self.only_at,
            &self.change,
        )
    }
}

fn patch(
    remote: &Remote,
    target: &AliasTarget,
    call: Call,
    only_at: &OnlyAt,
    change: &Change,
) -> Result<Exit, Failure> {
    change.tell(remote, call.only_at(only_at.if_revision), |answer| told(target, answer))
}

/// `shop:prod is 1: 90, 2: 10`, and what a rollout makes of that.
fn told(target: &AliasTarget, answer: &Value) -> String {
    let already = if answer["changed"] == json!(false) { " already" } else { "" };
    let told = format!("{target} is {}{already}", split_text(&answer["split"]));
    match answer["layer"]["rollout"].as_str() {
        Some(rollout) => format!("{told}; rollout {rollout} makes it {}", split_text(&answer["effective"])),
        None => told,
    }
}

/// `weir rollback`
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The alias, such as `shop:prod`
    #[arg(value_name = "FUNCTION:ALIAS", required_unless_present = "all", conflicts_with = "all")]
    target: Option<AliasTarget>,
    /// Set back the whole configuration instead of one alias
    #[arg(long, requires = "to", conflicts_with = "if_revision")]
    all: bool,
    /// The revision to return to, as `weir history` shows them; otherwise the running rollout is aborted, or else the split before
    /// the last episode (a whole rollout, a shift, an edit of the file) comes back
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    #[command(flatten)]
    only_at: OnlyAt,
    #[command(flatten)]
    change: Change,
}

impl Ask for Rollback {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let body = self.to.map_or_else(|| json!({}), |to| json!({"to": to}));
        let call = |path: String| Call::new(Method::POST, path).json(&body).only_at(self.only_at.if_revision);
        match &self.target {
            Some(target) => self.change.tell(remote, call(target.path() + "/rollback"), |answer| told(target, answer)),
            None => {
                let answer = self.change.send(remote, call("/v1/config/rollback".to_owned()))?;
                Ok(self.change.show(&answer, differences))
            }
        }
    }
}

/// `weir alias`
#[derive(Debug, clap::Args)]
pub(super) struct Alias {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the aliases of a function
    List {
        function: FunctionName,
        #[command(flatten)]
        form: Form,
    },
    /// Print an alias in full
    Get {
        #[arg(value_name = "FUNCTION:ALIAS")]
        target: AliasTarget,
        #[command(flatten)]
        form: Form,
    },
    /// Make an alias that does not exist yet
    Create(Write),
    /// Change the split of an alias, or the fields that a file names; the others stay
    Update {
        #[command(flatten)]
        write: Write,
        #[command(flatten)]
        only_at: OnlyAt,
    },
    /// Delete an alias that nothing refers to
    Delete {
        #[arg(value_name = "FUNCTION:ALIAS")]
        target: AliasTarget,
        #[command(flatten)]
        only_at: OnlyAt,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, clap::Args)]
struct Write {
    /// The alias, such as `shop:prod`
    #[arg(value_name = "FUNCTION:ALIAS")]
    target: AliasTarget,
    /// The split: `1=90 2=10` in any sum, or one version for everything
    #[arg(value_name = "VERSION=WEIGHT", required_unless_present = "file", conflicts_with = "file")]
    split: Vec<Part>,
    /// The fields as in the configuration file (`split`, `key`, `rules`, …), YAML or JSON; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    change: Change,
}

impl Write {
    fn send(&self, remote: &Remote, method: Method, with: impl FnOnce(Call) -> Call) -> Result<Exit, Failure> {
        let call = with(Call::new(method, self.target.path()));
        let told = |answer: &Value| told(&self.target, answer);
        match &self.file {
            None => self.change.tell(remote, call.json(&json!({"split": split_json(&split(&self.split)?)})), told),
            Some(file) => {
                let text = read(file)?;
                let sent = self.change.tell(remote, call.yaml(text.clone()), told);
                sent.map_err(|failure| failure.in_text(&file.display().to_string(), &text))
            }
        }
    }
}

impl Ask for Alias {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        match &self.verb {
            Verb::List { function, form } => list(remote, function, form),
            Verb::Get { target, form } => form.get(remote, target.path(), target),
            Verb::Create(write) => write.send(remote, Method::PUT, Call::only_new),
            Verb::Update { write, only_at } => {
                write.send(remote, Method::PATCH, |call| call.only_at(only_at.if_revision))
            }
            Verb::Delete { target, only_at, change } => {
                let call = Call::new(Method::DELETE, target.path()).only_at(only_at.if_revision);
                change.tell(remote, call, |_| format!("{target} is deleted"))
            }
        }
    }
}

fn list(remote: &Remote, function: &FunctionName, form: &Form) -> Result<Exit, Failure> {
    let columns = [("ALIAS", Side::Left), ("REVISION", Side::Right), ("SPLIT", Side::Left), ("PLAN", Side::Left)];
    form.list(remote, &format!("/v1/functions/{function}/aliases"), columns, |item| {
        let name = format!("{function}:{}", item["name"].as_str().unwrap_or_default());
        let (revision, plan) = (item["revision"].as_u64(), item["plan"].as_str());
        let own = split_text(&item["split"]);
        let split = match item["layer"]["rollout"].as_str() {
            Some(rollout) => format!("{own}; {rollout} makes it {}", split_text(&item["effective"])),
            None => own,
        };
        [name, or_dash(revision), split, or_dash(plan)]
    })
}
