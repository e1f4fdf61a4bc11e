//! The command line. Local commands call `config`; `serve` and `demo` start the gateway.
//!
//! Data goes to stdout, everything else to stderr.

mod explain;
mod local;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{clock, log, serve};

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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed while running
  2  wrong usage
  3  the configuration is invalid";

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
    Serve(ServeArguments),
    /// Run the gateway with two built-in versions of a small shop, to try things out
    Demo(DemoArguments),
    /// Check a configuration file and print every problem
    Validate(local::Validate),
    /// Print a configuration file in its full canonical form
    Fmt(local::Fmt),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Print what changes from one configuration file to another
    Diff(local::Diff),
    /// Say, step by step, where a request goes and why
    Explain(explain::Explain),
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
    #[command(flatten)]
    log: LogArguments,
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

fn with_log(arguments: &LogArguments, run: impl FnOnce() -> Exit) -> Exit {
    match log::start(&arguments.log, arguments.log_format.into(), clock::unix) {
        Ok(()) => run(),
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
        Command::Serve(serve) => with_log(&serve.log, || serve::run(&serve.config)),
        Command::Demo(demo) => with_log(&demo.log, || serve::demo::run(&demo.config)),
        Command::Validate(validate) => validate.run(),
        Command::Fmt(fmt) => fmt.run(),
        Command::Schema => local::print(&local::pretty(&config::schema::schema())),
        Command::Diff(diff) => diff.run(),
        Command::Explain(explain) => explain.run(),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "weir", &mut script);
            local::print(&String::from_utf8_lossy(&script))
        }
    };
    exit.into()
}
