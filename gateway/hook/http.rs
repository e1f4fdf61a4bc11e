//! A hook that is a server.

use std::time::Duration;

use config::value::template::Template;
use http::Method;

use super::{Code, MOST, Message, Reason};
use crate::calls::{Call, CallError, Caller, quote};

/// One POST; the body of a yes.
pub(super) async fn ask(
    caller: &Caller,
    url: &Template,
    message: &Message,
    within: Duration,
) -> Result<Vec<u8>, Reason> {
    let headers = vec![("content-type", "application/json".to_owned()), ("x-weir-event", message.event.clone())];
    let url = url.fixed().ok_or_else(|| Reason::NotStarted("its URL holds a stage variable".to_owned()))?;
    let call = Call { method: Method::POST, url, headers, body: message.body.clone(), within, most: MOST };
    let answer = caller.send(call).await?;
    let code = Code::Http(answer.status.as_u16());
    match answer.status.as_u16() {
        200..=299 if answer.cut => Err(Reason::TooLarge),
        200..=299 => Ok(answer.body),
        status @ 300..=399 => Err(Reason::Redirected(status)),
        400..=499 => Err(Reason::No { code, text: quote(&answer.body) }),
        _ => Err(Reason::Failing { code, text: quote(&answer.body) }),
    }
}

impl From<CallError> for Reason {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable(why) => Self::Unreachable(why),
            CallError::TimedOut(within) => Self::TimedOut(within),
            CallError::Unsendable(why) => Self::NotStarted(why),
        }
    }
}
