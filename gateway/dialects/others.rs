//! What is not served: other operations and other clouds, each told in the form that its client reads, and with a status that no
//! client tries again.

use axum::http::request::Parts;
use axum::response::Response;
use config::dialect::failure::{DialectFailure, FailureKind};
use serde_json::json;

use super::received::of_type;
use super::{lambda, scf};

/// The dialect of a request that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    /// An operation of Lambda that is not of the list.
    Lambda,
    /// An action of SCF that is not of the list.
    Scf,
    /// SCF's form before TC3: the action is in the body, and so is the signature.
    OldScf,
    CodeDeploy,
    Fc,
    /// Another service of AWS, by the query protocol, whose clients read XML.
    Query,
    Unknown,
}

/// The dialect that a request is of, whose operation is of no list.
pub(super) fn of(parts: &Parts) -> Other {
    let path = parts.uri.path();
    let has = |name: &str| parts.headers.contains_key(name);
    let below = |prefix: &&str| path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if ["/2016-08-15", "/2021-04-06", "/2023-03-30"].iter().any(below) {
        return Other::Fc;
    }
    if has("x-tc-action") {
        return Other::Scf;
    }
    if parts.headers.get("x-amz-target").is_some_and(|target| target.as_bytes().starts_with(b"CodeDeploy_")) {
        return Other::CodeDeploy;
    }
    if is_dated(path) {
        return Other::Lambda;
    }
    let form = parts
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let query = parts.uri.query().unwrap_or_default();
    let in_query = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let is_aws =
        parts.headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256"));
    match path {
        "/" if is_aws => Other::Query,
        "/" if form || in_query("SecretId") => Other::OldScf,
        _ => Other::Unknown,
    }
}

/// `/2015-03-31/…` and the like: every path of Lambda begins with the date of its API.
fn is_dated(path: &str) -> bool {
    let date = path.get(1..11).filter(|_| path.get(11..).is_some_and(|rest| rest.starts_with('/'))).unwrap_or_default();
    date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
}

impl Other {
    /// The dialect's name in metrics.
    pub(super) fn dialect(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Scf | Self::OldScf => "scf",
            Self::CodeDeploy => "codedeploy",
            Self::Fc => "fc",
            Self::Query | Self::Unknown => "unknown",
        }
    }

    /// The service that requests of it are signed for.
    pub(super) fn service(self) -> Option<&'static str> {
        match self {
            Self::Lambda => Some("lambda"),
            Self::Scf => Some("scf"),
            Self::CodeDeploy => Some("codedeploy"),
            Self::OldScf | Self::Fc | Self::Query | Self::Unknown => None,
        }
    }

    /// True if the answer is the same whoever asks.
    pub(super) fn is_for_nobody(self) -> bool {
        matches!(self, Self::OldScf | Self::Query | Self::Unknown)
    }

    /// Why it is not carried out.
    pub(super) fn refusal(self, parts: &Parts) -> DialectFailure {
        let operation = format!("{} {}", parts.method, parts.uri.path());
        let named =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (kind, message) = match self {
            Self::OldScf => (
                FailureKind::UnknownForm,
                "the signatures HmacSHA1 and HmacSHA256 are not taken: sign by TC3-HMAC-SHA256, the client's default"
                    .to_owned(),
            ),
            Self::Scf => {
                (FailureKind::Unsupported, format!("the action `{}` is not served here", named("x-tc-action")))
            }
            Self::CodeDeploy => (FailureKind::Unsupported, format!("`{}` is not served here", named("x-amz-target"))),
            Self::Query => (FailureKind::Unsupported, "of AWS, Lambda is served here".to_owned()),
            Self::Lambda | Self::Fc => (FailureKind::Unsupported, format!("`{operation}` is not served here")),
            Self::Unknown => (
                FailureKind::Unsupported,
                format!(
                    "`{operation}` is of no dialect: AWS Lambda and Tencent SCF are served here; the admin API is elsewhere"
                ),
            ),
        };
        DialectFailure::new(kind, message)
    }

    /// The answer, as the clients of the dialect read it.
    pub(super) fn told(self, failure: &DialectFailure, id: &str) -> Response {
        let DialectFailure { kind, message } = failure;
        match self {
            Self::Lambda => lambda::told(failure, id),
            Self::Scf | Self::OldScf => scf::told(failure, id),
            Self::CodeDeploy => {
                let (status, code) = match kind {
                    FailureKind::Unsupported => (400, "UnsupportedOperationException"),
                    FailureKind::Unsigned => (403, "MissingAuthenticationTokenException"),
                    kind => (400, config::dialect::lambda::status_and_code(*kind).1),
                };
                let body = json!({ "__type": code, "message": message });
                of_type(status, "application/x-amz-json-1.1", body.to_string())
            }
            Self::Fc => {
                let (status, code) = match kind {
                    FailureKind::Unsupported => (501, "NotImplemented"),
                    FailureKind::UnknownKey => (403, "InvalidAccessKeyID"),
                    FailureKind::WrongSignature | FailureKind::UnknownForm => (403, "SignatureNotMatch"),
                    FailureKind::SkewedTime => (403, "RequestTimeTooSkewed"),
                    FailureKind::SessionToken => (403, "InvalidSecurityToken"),
                    FailureKind::TooMany => (429, "ResourceThrottled"),
                    FailureKind::TooLarge | FailureKind::WrongBody => (400, "InvalidArgument"),
                    FailureKind::Unavailable | FailureKind::NotSent => (503, "ServiceUnavailable"),
                    _ => (403, "AccessDenied"),
                };
                let body = json!({
                    "RequestId": id, "Code": code, "Message": message, "ErrorCode": code, "ErrorMessage": message,
                });
                let mut response = of_type(status, "application/json", body.to_string());
                if let Ok(id) = id.parse() {
                    response.headers_mut().insert("x-fc-request-id", id);
                }
                response
            }
            Self::Query => {
                let body = format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>{message}</Message></Error>\
                     <RequestId>{id}</RequestId></ErrorResponse>"
                );
                of_type(400, "text/xml", body)
            }
            Self::Unknown => {
                let status = if *kind == FailureKind::TooMany { 429 } else { 404 };
                let body = json!({ "code": "NotFound", "message": message, "Code": "NotFound", "Message": message });
                of_type(status, "application/json", body.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn other(path: &str, headers: &[(&str, &str)]) -> Other {
        let mut request = Request::builder().method("POST").uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn requests_tell_their_dialect() {
        let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let aws = [form[0], ("authorization", "AWS4-HMAC-SHA256 Credential=…")];
        for (path, headers, expected) in [
            ("/2016-08-15/services/shop", &[][..], Other::Fc),
            ("/2023-03-30/functions", &[], Other::Fc),
            ("/2015-03-31/event-source-mappings", &[], Other::Lambda),
            ("/2021-10-31/functions/shop/url", &[], Other::Lambda),
            ("/", &[("x-amz-target", "CodeDeploy_20141006.GetDeployment")], Other::CodeDeploy),
            ("/", &[("x-tc-action", "CreateFunction")], Other::Scf),
            ("/", &form, Other::OldScf),
            ("/?Action=GetFunction&SecretId=x&Signature=y", &[], Other::OldScf),
            ("/", &aws, Other::Query),
            ("/v1/functions", &[], Other::Unknown),
            ("/2015-03-3é/x", &[], Other::Unknown),
        ] {
            let path = path.replace('é', "%C3%A9");
            assert_eq!(other(&path, headers), expected, "{path}");
        }
    }
}
