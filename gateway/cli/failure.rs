//! Why a command failed, in words that say what to do next.

use std::fmt;

use config::text::problem::{Position, Problem, Severity, render, visible};
use reqwest::StatusCode;
use serde_json::Value;

use super::Exit;
use crate::files::FileError;

/// What is printed on stderr when a command fails, and how the process ends.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// With `VersionUnchanged`: the version that it is already.
    pub(super) unchanged: Option<u32>,
    /// Whether the gateway is there and may soon answer otherwise: it stops, or its store does not answer.
    pub(super) is_passing: bool,
    message: String,
    problems: Vec<Problem>,
    source: Option<Box<(String, String)>>,
    hint: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let (unchanged, is_passing) = (None, false);
        Self { exit, unchanged, is_passing, message: message.into(), problems: Vec::new(), source: None, hint: None }
    }

    /// The command line makes no sense in a way that only shows when its parts are seen together.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file that cannot be read or written.
    pub(super) fn file(verb: &str, file: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Exit::Failed, format!("cannot {verb} {}: {error}", file.display()))
    }

    /// A file that cannot be used.
    pub(super) fn unreadable(file: &std::path::Path, error: &FileError) -> Self {
        Self::new(Exit::Failed, format!("{} {error}", file.display()))
    }

    /// What the server answered instead of success.
    pub(super) fn refused(status: StatusCode, body: &[u8]) -> Self {
        let exit = match status.as_u16() {
            401 | 403 | 409 | 412 => Exit::Refused,
            422 => Exit::Invalid,
            _ => Exit::Failed,
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let (Some(code), Some(message)) = (body["code"].as_str(), body["message"].as_str()) else {
            let failure = Self::new(exit, format!("the answer is HTTP {status}, and not in the form of the admin API"));
            return failure.hint("is this the address of weir's admin API?");
        };
        let unchanged = body["version"].as_u64().and_then(|version| version.try_into().ok());
        let version = unchanged.map(|version: u32| format!(": version {version}")).unwrap_or_default();
        let hint = match code {
            "Forbidden" => Some("`weir token create NAME --role ROLE` makes a token with another role"),
            "NotFound" => Some("`weir functions list` shows the functions that there are"),
            "AlreadyExists" => Some("change what is there with `update`, `edit` or `set`"),
            "PlanUnanswerable" => {
                Some("`weir simulate` tells what the plan would do; `--no-preflight` begins it all the same")
            }
            "RolloutState" => Some("`weir rollouts` and `weir watch` show how things stand"),
            "StoreUnavailable" => Some("requests are still served, and `weir rollback` works all the same"),
            "Unknown" => Some("it is not known whether the change was stored: read before you try again"),
            "TooManyAttempts" => Some("too many wrong tokens came from this address: wait a minute"),
            _ => None,
        };
        let mut problems = problems(&body["problems"]);
        let mut hint = hint.map(str::to_owned);
        // What one refusal is about is in its message; of a value that is wrong, the path says more.
        if let [only] = &mut *problems
            && only.message == message
            && !matches!(code, "InvalidConfig" | "PlanUnanswerable")
        {
            hint = only.help.take().or(hint);
            problems.clear();
        }
        let failure = Self::new(exit, format!("{}{version} ({})", visible(message), visible(code)));
        let is_passing = matches!(code, "Stopping" | "StoreUnavailable");
        Self { hint, problems, unchanged, is_passing, ..failure }
    }

    /// An answer in another shape than this release of weir knows.
    pub(super) fn other_form(error: &dyn fmt::Display) -> Self {
        let failure = Self::new(Exit::Failed, format!("the answer is in another form than expected: {error}"));
        failure.hint("are this command and the gateway of one release? `weir --version`, `weir status --json`")
    }

    /// The same with what to do next.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with its problems shown in the text that was sent.
    pub(super) fn in_text(self, name: &str, text: &str) -> Self {
        Self { source: Some(Box::new((name.to_owned(), text.to_owned()))), ..self }
    }

    /// Whether its problems stand somewhere in the text that was sent.
    pub(super) fn is_placed(&self) -> bool {
        self.problems.iter().any(|problem| problem.at.is_some())
    }

    /// The same with these problems.
    pub(super) fn with_problems(self, problems: Vec<Problem>) -> Self {
        Self { problems, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "weir: {}", self.message)?;
        match self.source.as_deref() {
            Some((name, text)) if !self.problems.is_empty() => f.write_str(&render(&self.problems, name, text))?,
            _ => {
                for problem in &self.problems {
                    writeln!(f, "{problem}")?;
                }
            }
        }
        self.hint.as_ref().map_or(Ok(()), |hint| writeln!(f, "hint: {hint}"))
    }
}

/// Problems as the API tells them.
pub(super) fn problems(list: &Value) -> Vec<Problem> {
    list.as_array().into_iter().flatten().map(problem).collect()
}

fn problem(value: &Value) -> Problem {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| value[name].as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let at = number("line").zip(number("column"));
    let at = at.map(|(line, column)| Position { line, column, length: number("length").unwrap_or(1) });
    let help = value["hint"].as_str().map(str::to_owned);
    let severity = if value["severity"] == "warning" { Severity::Warning } else { Severity::Error };
    Problem { severity, at, path: text("path"), message: text("message"), help, code: None }
}
