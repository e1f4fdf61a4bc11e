//! The one form of every answer that says no: `{code, message, problems}`.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use config::text::problem::{Code, Problem};
use serde_json::{Value, json};

use crate::control::Refused;

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    /// For programs; the closed list is [`CODES`].
    pub(super) code: &'static str,
    message: String,
    problems: Vec<Problem>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Every code of an answer, with the status it comes with.
pub(super) const CODES: &[(u16, &str)] = &[
    (400, "InvalidRequest"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (403, "WrongHost"),
    (403, "WrongOrigin"),
    (404, "NotFound"),
    (405, "MethodNotAllowed"),
    (406, "NotAcceptable"),
    (408, "Timeout"),
    (409, "AlreadyExists"),
    (409, "Immutable"),
    (409, "NumberUsed"),
    (409, "Referenced"),
    (409, "Unreadable"),
    (409, "VersionUnchanged"),
    (409, "RolloutState"),
    (409, "PlanUnanswerable"),
    (412, "PreconditionFailed"),
    (413, "TooLarge"),
    (415, "UnsupportedMediaType"),
    (422, "InvalidConfig"),
    (429, "TooManyAttempts"),
    (503, "Busy"),
    (503, "Stopping"),
    (503, "StoreUnavailable"),
    (503, "Unknown"),
];

impl Failure {
    /// `code` is one of [`CODES`].
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let status = CODES.iter().find(|(_, known)| *known == code);
        let status = status.and_then(|(status, _)| StatusCode::from_u16(*status).ok());
        let status = status.expect("the code is in the list");
        Self { status, code, message: message.into(), problems: Vec::new(), headers: Vec::new() }
    }

    /// The request itself is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidRequest", message)
    }

    /// It is about something that does not exist.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new("NotFound", format!("there is no {what}"))
    }

    /// What was sent would not be valid: the code of the first problem that has one decides.
    pub(super) fn problems(problems: Vec<Problem>) -> Self {
        match problems.iter().find_map(|problem| Some((problem.code?, problem.message.clone()))) {
            Some((code, message)) => Self { problems, ..Self::new(name(code), message) },
            None => Self::problems_as("InvalidConfig", problems),
        }
    }

    /// The same with this code, whatever the problems are.
    pub(super) fn problems_as(code: &'static str, problems: Vec<Problem>) -> Self {
        let message = match &*problems {
            [problem] => problem.message.clone(),
            problems => format!("{} problems; nothing was changed", problems.len()),
        };
        Self { problems, ..Self::new(code, message) }
    }

    /// The same with these problems.
    pub(super) fn with(self, problems: Vec<Problem>) -> Self {
        Self { problems, ..self }
    }

    /// In one sentence.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The same answer with one header more.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::NotFound | Code::NothingEarlier => "NotFound",
        Code::Exists => "AlreadyExists",
        Code::VersionUnchanged { .. } => "VersionUnchanged",
        Code::Referenced => "Referenced",
        Code::Immutable | Code::BuiltIn => "Immutable",
        Code::NumberUsed => "NumberUsed",
        Code::DigestMismatch => "PreconditionFailed",
        Code::Unreadable => "Unreadable",
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Problems(problems) => Self::problems(problems),
            Refused::Precondition { .. } => Self::new("PreconditionFailed", message),
            Refused::NotInJournal { oldest, .. } => {
                let help = format!("`weir history` lists them; what was before {oldest} is forgotten");
                Self::new("NotFound", message.clone()).with(vec![Problem::error("to", message).help(help)])
            }
            Refused::Rollout(_) => Self::new("RolloutState", message),
            Refused::Forbidden(_) => Self::new("Forbidden", message),
            Refused::Unavailable(_) | Refused::TermOver => Self::new("StoreUnavailable", message),
            Refused::Unknown(_) => Self::new("Unknown", message),
            Refused::Stopping => Self::new("Stopping", message),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problems: Vec<Value> = self.problems.iter().map(problem).collect();
        let mut body = json!({ "code": self.code, "message": self.message, "problems": problems });
        if let Some(version) = self.problems.iter().find_map(|problem| match problem.code? {
            Code::VersionUnchanged { version } => Some(version),
            _ => None,
        }) {
            body["version"] = version.get().into();
        }
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

/// `{severity, path, message, line?, column?, hint?}`
pub(super) fn problem(problem: &Problem) -> Value {
    let mut value = json!({ "severity": problem.severity.as_str(), "path": problem.path, "message": problem.message });
    if let Some(at) = problem.at {
        value["line"] = at.line.into();
        value["column"] = at.column.into();
    }
    if let Some(help) = &problem.help {
        value["hint"] = help.as_str().into();
    }
    value
}
