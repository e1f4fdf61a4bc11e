//! Invoke.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::dialect::failure::{DialectFailure, FailureKind};
use config::value::name::{Qualifier, VersionId};
use serde::de::IgnoredAny;
use serde_json::json;

use super::{LambdaRequest, with_id, wrong};
use crate::dialects::invoke::{EventCall, Invoked, Tail, clean_headers};
use crate::dialects::received::{Carried, check_event, of_type, text};

const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");

impl LambdaRequest<'_> {
    pub(super) async fn invoke(&self) -> Result<Carried, DialectFailure> {
        let (function, qualifier) = self.named()?;
        let qualifier = qualifier.unwrap_or(Qualifier::Version(VersionId::Latest));
        let parts = &self.signed.parts;
        match text(parts, "x-amz-invocation-type").as_deref().unwrap_or("RequestResponse") {
            "RequestResponse" => {}
            "DryRun" => {
                self.desk.check_call(&function, &qualifier)?;
                return Ok(with_id(of_type(204, "application/json", ""), &self.signed.id).into());
            }
            "Event" => {
                let message = "asynchronous events are not taken yet: invoke by RequestResponse";
                return Err(DialectFailure::new(FailureKind::Unsupported, message));
            }
            other => {
                return Err(wrong(format!(
                    "the invocation type `{other}` is not one of RequestResponse, Event and DryRun"
                )));
            }
        }
        let tail = match text(parts, "x-amz-log-type").as_deref() {
            None | Some("" | "None") => false,
            Some("Tail") => true,
            Some(other) => return Err(wrong(format!("the log type `{other}` is neither None nor Tail"))),
        };
        check_event(&self.signed.body)?;
        let call = EventCall {
            function,
            qualifier,
            event: self.signed.body.clone(),
            routing: Vec::new(),
            headers: clean_headers(&parts.headers),
            host: text(parts, "host").unwrap_or_default(),
            peer: self.signed.peer,
        };
        let invoked = self.desk.invoke(call).await?;
        let response = with_id(answer(&invoked), &self.signed.id);
        let mut outcome = Carried { response, is_function_error: invoked.error.is_some() };
        if tail {
            let log = STANDARD.encode(Tail { id: &self.signed.id, invoked: &invoked }.to_string());
            put(&mut outcome.response, LOG_RESULT, &log);
        }
        Ok(outcome)
    }
}

/// What came of an invocation, as the clients read it: a function that failed is a success of Invoke.
fn answer(invoked: &Invoked) -> Response {
    let is_json = || serde_json::from_slice::<IgnoredAny>(&invoked.body).is_ok();
    let body = match &invoked.error {
        Some(error) if !is_json() => {
            let said = str::from_utf8(&invoked.body).ok().filter(|said| !said.trim().is_empty());
            let message = said.map_or_else(|| error.message.clone(), |said| format!("{}: {said}", error.message));
            json!({ "errorMessage": message, "errorType": error.kind }).to_string().into_bytes().into()
        }
        _ => invoked.body.clone(),
    };
    let mut response = of_type(200, "application/json", body);
    put(&mut response, EXECUTED_VERSION, &invoked.version.to_string());
    if invoked.error.is_some() {
        put(&mut response, FUNCTION_ERROR, "Unhandled");
    }
    response
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
