//! The command line. Local commands call `config`, remote ones call the admin API of a running gateway; `serve` and
//! `demo` start one.
//!
//! Data goes to stdout, everything else to stderr. Remote commands, in reading order: [`ask`] (what they share), [`access`]
//! (where, with what token), [`remote`] (calls), [`failure`] (what is told), [`rollout`] (what rollouts are to commands), then a
//! file for each kind of command.

mod access;
mod alias;
mod ask;
mod explain;
mod failure;
mod file;
mod history;
mod key;
mod local;
mod man;
mod release;
mod remote;
mod resource;
mod rollout;
mod say;
mod simulate;
mod status;
mod table;
mod target;
mod token;
mod version;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::log::Diagnostics;
use crate::{clock, log, serve};
use ask::Asking;

/// What the process ends with. The numbers are a contract with scripts and init systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed while running.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration is invalid; starting again will not help.
    Invalid = 3,
    /// The running gateway did not answer.
    Unreachable = 4,
    /// The running gateway refused: a precondition does not hold, the token does not allow it, or a gate rolled a rollout
    /// back.
    Refused = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The longest time that a process which is over waits for the reader of its diagnostics.
const FLUSH: Duration = Duration::from_millis(250);

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed while running; of a rollout: aborted or superseded
  2  wrong usage
  3  the configuration is, or would be, invalid
  4  the running gateway does not answer
  5  refused: a precondition does not hold, the token does not allow it, or a gate rolled the rollout back
  130  Ctrl-C while a rollout was shown: it goes on";

const SIGNALS: &str = "\
Signals:
  HUP              read the configuration file again, and open the access log again
  USR1             open the access log again, after it was renamed
  TERM, INT, QUIT  drain: /ready answers 503, what is in flight may end; the second one ends it at once
  USR2, WINCH      ignored, with a line in the log

Diagnostics go to standard error, the access log to standard output unless the file names another place. The soft limit of
open files is raised to the hard one.";

/// An edge traffic-splitting gateway: versions, aliases and gradual releases for any HTTP backend.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground
    #[command(after_help = SIGNALS)]
    Serve(ServeArguments),
    /// Run the gateway with two built-in versions of a small shop, to try things out
    #[command(after_help = SIGNALS)]
    Demo(DemoArguments),
    /// Check a configuration file and print every problem
    Validate(local::Validate),
    /// Print a configuration file in its full canonical form
    Fmt(local::Fmt),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Print what changes between configuration files, or between a file and the running gateway
    Diff(file::Diff),
    /// Say, step by step, where a request goes and why
    Explain(explain::Explain),
    /// Show on one screen what the running gateway does: splits asked and got, rates, latencies, health
    Status(Asking<status::Show>),
    /// Set the weights of an alias by hand, live at once
    Shift(Asking<alias::Shift>),
    /// Tell what a plan would do with a candidate that is sound, and with one that is not
    Simulate(simulate::Simulate),
    /// Begin a rollout: give an alias another version, step by step as a plan says
    Release(Asking<release::Release>),
    /// Publish the draft of a function if it says something new, and release it
    Deploy(Asking<release::Deploy>),
    /// Show a rollout live until it is over; the exit code is its outcome
    Watch(Asking<watch::Watch>),
    /// List rollouts, the newest first
    Rollouts(Asking<rollout::List>),
    #[command(flatten)]
    Word(say::Word),
    /// Hold every rollout for a while: nothing but going back happens
    Freeze(Asking<say::Freeze>),
    /// Let rollouts go on before a freeze ends by itself
    Unfreeze(Asking<say::Unfreeze>),
    /// Return an alias to an earlier split, or everything to an earlier revision
    Rollback(Asking<alias::Rollback>),
    /// List, print, make, change and delete aliases
    Alias(Asking<alias::Alias>),
    /// List, print, make and delete functions
    Functions(Asking<resource::Functions>),
    /// Print and change the draft of a function, the next version to be
    Draft(Asking<version::Draft>),
    /// Freeze the draft of a function as its next version
    Publish(Asking<version::Publish>),
    /// List, print, label, describe, retire, move and delete versions
    Version(Asking<version::Version>),
    /// List, print, set and delete stages
    Stages(Asking<resource::Resources<resource::Stages>>),
    /// List, print, set and delete domains
    Domains(Asking<resource::Resources<resource::Domains>>),
    /// List, print, set and delete plans
    Plans(Asking<resource::Resources<resource::Plans>>),
    /// List, print, set and delete notifiers
    Notifiers(Asking<resource::Resources<resource::Notifiers>>),
    /// Apply a configuration file to the running gateway
    Apply(Asking<file::Apply>),
    /// Print the live configuration as a file
    Export(Asking<file::Export>),
    /// Fill the store of a gateway that has not run yet from what `export --everything` wrote
    Import(file::Import),
    /// Show what was changed, by whom and why
    History(Asking<history::History>),
    /// Verify that nobody tampered with the journal
    Verify(Asking<history::Verify>),
    /// Follow changes as they happen
    Events(Asking<history::Events>),
    /// Make, list and revoke tokens of the admin API
    Token(Asking<token::Token>),
    /// Make access keys for the clouds' own clients
    Key(key::KeyCommand),
    /// Stop the running gateway gracefully, as SIGTERM does
    Drain(Asking<token::Drain>),
    /// Print the manual page, or write one for each command
    Man(man::Man),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
struct ServeArguments {
    /// The configuration file; it is watched, and a change goes live without a restart
    #[arg(short, long, value_name = "FILE", default_value = "weir.yaml")]
    config: PathBuf,
    /// Keep the live state in memory: it ends with the process
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    log: LogArguments,
}

impl ServeArguments {
    fn keep(&self) -> serve::Keep {
        if self.ephemeral { serve::Keep::Ephemeral } else { serve::Keep::Stored }
    }
}

#[derive(Debug, clap::Args)]
struct DemoArguments {
    /// The demo's configuration file; edit it while the demo runs. Written when it does not exist
    #[arg(short, long, value_name = "FILE", default_value = "config/demo.yaml")]
    config: PathBuf,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, clap::Args)]
struct LogArguments {
    /// What diagnostics to show, in the syntax of RUST_LOG: `info`, `info,gateway::edge=debug`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = log::DEFAULT_FILTER)]
    log: String,
    /// The form of diagnostics; `auto` is text on a terminal and JSON elsewhere
    #[arg(long, value_name = "FORM", default_value = "auto")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Auto,
    Text,
    Json,
}

impl From<LogFormat> for log::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto => Self::Auto,
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

fn with_log(arguments: &LogArguments, run: impl FnOnce(&Diagnostics) -> Exit) -> Exit {
    match log::start(&arguments.log, arguments.log_format.into(), clock::unix) {
        Ok(diagnostics) => {
            let exit = run(&diagnostics);
            diagnostics.flush(FLUSH);
            exit
        }
        Err(error) => {
            eprintln!("weir: {error}");
            Exit::Usage
        }
    }
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nowhere to complain to when the terminal is gone.
            let _ = error.print();
            return exit.into();
        }
    };
    let exit = match arguments.command {
        Command::Serve(serve) => with_log(&serve.log, |log| serve::run(&serve.config, serve.keep(), log)),
        Command::Demo(demo) => with_log(&demo.log, |log| serve::demo::run(&demo.config, log)),
        Command::Validate(validate) => validate.run(),
        Command::Fmt(fmt) => fmt.run(),
        Command::Schema => local::print(&local::pretty(&config::text::schema::schema())),
        Command::Diff(diff) => diff.run(),
        Command::Explain(explain) => explain.run(),
        Command::Status(status) => status.run(),
        Command::Shift(shift) => shift.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Release(release) => release.run(),
        Command::Deploy(deploy) => deploy.run(),
        Command::Watch(watch) => watch.run(),
        Command::Rollouts(rollouts) => rollouts.run(),
        Command::Word(word) => word.run(),
        Command::Freeze(freeze) => freeze.run(),
        Command::Unfreeze(unfreeze) => unfreeze.run(),
        Command::Rollback(rollback) => rollback.run(),
        Command::Alias(alias) => alias.run(),
        Command::Functions(functions) => functions.run(),
        Command::Draft(draft) => draft.run(),
        Command::Publish(publish) => publish.run(),
        Command::Version(version) => version.run(),
        Command::Stages(stages) => stages.run(),
        Command::Domains(domains) => domains.run(),
        Command::Plans(plans) => plans.run(),
        Command::Notifiers(notifiers) => notifiers.run(),
        Command::Apply(apply) => apply.run(),
        Command::Export(export) => export.run(),
        Command::Import(import) => import.run(),
        Command::History(history) => history.run(),
        Command::Verify(verify) => verify.run(),
        Command::Events(events) => events.run(),
        Command::Token(token) => token.run(),
        Command::Key(key) => key.run(),
        Command::Drain(drain) => drain.run(),
        Command::Man(man) => man.run(Arguments::command()),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "weir", &mut script);
            local::print(&String::from_utf8_lossy(&script))
        }
    };
    exit.into()
}
