//! Hooks: questions to somebody outside, by HTTP or by a program, answered at once or later by a callback.
//!
//! - `http`: a POST of JSON; 2xx is yes, 4xx is no
//! - `command`: a program of its own process group; exit code 0 is yes, another is no
//! - `callback`: the open questions whose answer comes by a URL of their own

use std::fmt;
use std::time::Duration;

use config::model::{Decision, Hook, HookCall};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::calls::{self, Caller, colon};
use crate::clock;
use crate::dial::Dial;

mod callback;
mod command;
mod http;
#[cfg(test)]
mod tests;

use callback::Callbacks;
pub use callback::UnknownToken;

/// Bytes of an answer.
const MOST: usize = 64 * 1024;
/// How long one try may take when the answer comes later: it only hands the question over.
const HAND_OVER: Duration = Duration::from_secs(30);

/// Asks, and knows which questions are open. Clones are the same.
#[derive(Clone, Default)]
pub struct Hooks {
    caller: Caller,
    callbacks: Callbacks,
}

/// What a hook is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// `BeforeAllowTraffic`, `BeforeStep` or `AfterAllowTraffic`.
    pub event: String,
    /// The rollout.
    pub rollout: Value,
    /// The output of the hook before.
    pub previous: Option<Value>,
    /// Where `/v1/callbacks/TOKEN` is, for hooks that answer later: `http://127.0.0.1:9900`.
    pub callback_base: Option<String>,
}

/// What a hook said beside yes: JSON if it is JSON, else a text; `null` for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Output(pub Value);

/// An answer that came later.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub decision: Decision,
    /// What goes to the next hook, or the reason of a no.
    pub output: Value,
}

/// A hook that did not say yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the hook {hook} {reason}{}", after(*.tries))]
pub struct HookFailure {
    /// Who was asked, as the file says it and without secrets.
    pub hook: String,
    /// How often.
    pub tries: u32,
    pub reason: Reason,
}

/// Why a hook did not say yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It said no.
    #[error("said no ({code}){}", colon(.text))]
    No { code: Code, text: String },
    /// No connection, or one that broke.
    #[error("was not reached: {0}")]
    Unreachable(String),
    /// No answer within this time.
    #[error(
        "gave no answer within {0:?}; a longer `timeout`, or `callback: true` for answers that come later, would wait for it"
    )]
    TimedOut(Duration),
    /// It is there, and failed: 5xx, or a signal that ended the program.
    #[error("failed ({code}){}", colon(.text))]
    Failing { code: Code, text: String },
    /// A redirect, which is not followed.
    #[error("answered with a redirect ({0}), which is not followed: the URL must be the one that answers")]
    Redirected(u16),
    /// More than 64 KiB.
    #[error("answered with more than {} KiB: it must say less", MOST / 1024)]
    TooLarge,
    /// It could not be asked at all.
    #[error("cannot be asked: {0}")]
    NotStarted(String),
    /// No callback within this time.
    #[error("was asked, and no callback came within {0:?}")]
    NoCallback(Duration),
    /// There is no address to call back.
    #[error("cannot be asked: it answers by callback, and the admin API has no address for that")]
    NoCallbackAddress,
}

/// How an answer was coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A status.
    Http(u16),
    /// An exit code.
    Exit(i32),
    /// The signal that ended a program.
    Signal(i32),
    /// A decision that came by callback.
    Callback,
}

impl Hooks {
    /// Without open questions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, asking at these addresses alone.
    #[must_use]
    pub fn dialling(dial: Dial) -> Self {
        Self { caller: Caller::dialling(dial), ..Self::default() }
    }

    /// Asks and waits for the answer. Whoever drops the future takes the question back: the connection is closed, the
    /// program killed with its process group, the callback forgotten.
    ///
    /// # Errors
    /// When the answer is not yes; see [`Reason`].
    pub async fn ask(&self, hook: &Hook, question: &Question) -> Result<Output, HookFailure> {
        if !hook.callback {
            return self.put(hook, &Message::new(question, None), hook.timeout).await;
        }
        let failed = |tries, reason| HookFailure { hook: who(hook), tries, reason };
        let base = question.callback_base.as_deref().ok_or_else(|| failed(0, Reason::NoCallbackAddress))?;
        let mut open = self.callbacks.open();
        let message = Message::new(question, Some((open.url(base), clock::unix() + hook.timeout)));
        let answered = async {
            // The answer may come before the question is handed over to the end.
            let handed_over = self.put(hook, &message, hook.timeout.min(HAND_OVER));
            tokio::select! {
                answer = open.answer() => Ok(answer),
                handed_over = handed_over => {
                    handed_over?;
                    Ok(open.answer().await)
                }
            }
        };
        let answered = tokio::time::timeout(hook.timeout, answered).await;
        let Answer { decision, output } = answered.map_err(|_| failed(1, Reason::NoCallback(hook.timeout)))??;
        match decision {
            Decision::Approve => Ok(Output(output)),
            Decision::Reject => Err(failed(1, Reason::No { code: Code::Callback, text: text(&output) })),
        }
    }

    /// Takes an answer that came later, by the token at the end of the callback URL.
    ///
    /// # Errors
    /// When no open question has this token: a token is good once, and until the hook's timeout.
    pub fn answer(&self, token: &str, answer: Answer) -> Result<(), UnknownToken> {
        self.callbacks.answer(token, answer)
    }

    /// Asks until there is an answer or the tries are used up; each may take `within`.
    async fn put(&self, hook: &Hook, message: &Message, within: Duration) -> Result<Output, HookFailure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let said = match &hook.call {
                HookCall::Http(url) => http::ask(&self.caller, url, message, within).await,
                HookCall::Command(words) => command::ask(words, message, within).await,
            };
            match said {
                Ok(body) => return Ok(Output(value(&body))),
                Err(reason) if reason.may_pass() && tries <= hook.retries => {
                    tokio::time::sleep(calls::pause(tries)).await;
                }
                Err(reason) => return Err(HookFailure { hook: who(hook), tries, reason }),
            }
        }
    }
}

/// A question as it is sent.
struct Message {
    event: String,
    callback: Option<String>,
    body: String,
}

impl Message {
    fn new(question: &Question, callback: Option<(String, Duration)>) -> Self {
        let Question { event, rollout, previous, .. } = question;
        let (url, expires) = callback.unzip();
        let expires = expires.and_then(|time| (OffsetDateTime::UNIX_EPOCH + time).format(&Rfc3339).ok());
        let callback = url.as_ref().map(|url| json!({ "url": url, "expires": expires }));
        let body = json!({ "event": event, "rollout": rollout, "previous": previous, "callback": callback });
        Self { event: event.clone(), callback: url, body: body.to_string() }
    }
}

impl Reason {
    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut(_) | Self::Failing { .. })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "status {status}"),
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Callback => f.write_str("by callback"),
        }
    }
}

/// The URL as the file has it, so that `${NAME}` stays unresolved; the program without its arguments.
fn who(hook: &Hook) -> String {
    match &hook.call {
        HookCall::Http(url) => format!("`POST {}`", calls::place(url.source())),
        HookCall::Command(words) => format!("`{}`", words.first().map_or("", String::as_str)),
    }
}

fn value(body: &[u8]) -> Value {
    if body.trim_ascii().is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).trim_end().into())
}

fn text(output: &Value) -> String {
    match output {
        Value::Null => String::new(),
        Value::String(text) => calls::quote(text.as_bytes()),
        other => calls::quote(other.to_string().as_bytes()),
    }
}

fn after(tries: u32) -> String {
    if tries > 1 { format!(" (tried {tries} times)") } else { String::new() }
}
