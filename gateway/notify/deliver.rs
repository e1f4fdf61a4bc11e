//! Sends a notice, again while that may help, and reads what the receiver says about it.

use std::time::Duration;

use config::model::Notifier;
use config::value::name::NotifierName;
use http::{Method, StatusCode};
use serde_json::Value;

use super::message::{Message, message};
use super::{Notice, Severity};
use crate::calls::{self, Answer, Call, CallError, Caller, colon, quote};
use crate::clock;

const TRIES: u32 = 3;
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MOST: usize = 16 * 1024;

/// Why a notice did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it answered with status {status}{}", colon(.text))]
    Status { status: StatusCode, text: String },
    #[error("it answered with a redirect ({0}), which is not followed: the URL must be the one that answers")]
    Redirected(StatusCode),
    #[error("it refused with code {code}{}", colon(.text))]
    Refused { code: i64, text: String },
    #[error("what answered is not the API of this kind of notifier{}", colon(.0))]
    Foreign(String),
}

pub(super) async fn deliver(
    caller: &Caller,
    name: &NotifierName,
    notifier: &Notifier,
    notice: &Notice,
) -> Result<(), Failure> {
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    let mut tries = 0;
    loop {
        // Made anew for each try: signatures have a time.
        let Some(message) = message(notifier, notice, clock::unix(), &id) else {
            log(name, notice);
            return Ok(());
        };
        tries += 1;
        match send(caller, notifier, message).await {
            Err(failure) if failure.may_pass() && tries < TRIES => tokio::time::sleep(calls::pause(tries)).await,
            end => return end,
        }
    }
}

async fn send(caller: &Caller, notifier: &Notifier, message: Message) -> Result<(), Failure> {
    let Message { url, mut headers, body } = message;
    headers.push(("content-type", "application/json; charset=utf-8".to_owned()));
    let call = Call { method: Method::POST, url: &url, headers, body, within: WITHIN, most: MOST };
    let Answer { status, body, .. } = caller.send(call).await?;
    if status.is_redirection() {
        return Err(Failure::Redirected(status));
    }
    if !status.is_success() {
        return Err(Failure::Status { status, text: quote(&body) });
    }
    match notifier {
        Notifier::DingTalk { .. } | Notifier::WeCom { .. } => no_code(&body, &["errcode"], "errmsg"),
        // The second name is that of its first robots.
        Notifier::Feishu { .. } => no_code(&body, &["code", "StatusCode"], "msg"),
        Notifier::Slack { .. } | Notifier::Webhook { .. } | Notifier::Log => Ok(()),
    }
}

/// Robots answer 200 to everything; a code that is not 0 is a refusal.
fn no_code(body: &[u8], codes: &[&str], message: &str) -> Result<(), Failure> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match codes.iter().find_map(|code| answer[code].as_i64()) {
        Some(0) => Ok(()),
        Some(code) => {
            let text = quote(answer[message].as_str().unwrap_or_default().as_bytes());
            Err(Failure::Refused { code, text })
        }
        None => Err(Failure::Foreign(quote(body))),
    }
}

/// Without links, which may hold secrets.
fn log(name: &NotifierName, Notice { title, text, severity, .. }: &Notice) {
    match severity {
        Severity::Info => tracing::info!(notifier = %name, text, "{title}"),
        Severity::Warning => tracing::warn!(notifier = %name, text, "{title}"),
        Severity::Error => tracing::error!(notifier = %name, text, "{title}"),
    }
}

impl Failure {
    /// Whether another try may help: not after a time-out, when it may have arrived.
    fn may_pass(&self) -> bool {
        match self {
            Self::Call(error) => matches!(error, CallError::Unreachable(_)),
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Redirected(_) | Self::Refused { .. } | Self::Foreign(_) => false,
        }
    }
}
