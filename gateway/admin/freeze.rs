//! The freeze: nothing but going back happens to any rollout until it ends.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use config::text::parse;
use serde::Deserialize;

use super::call::Call;
use super::error::Failure;
use super::operation::{Answer, Content, Operation, Verb, run};
use super::rollouts;
use crate::control::rollouts::MAX_FREEZE;

const PATH: &str = "/v1/freeze";
/// Without a word about it.
const LENGTH: Duration = Duration::from_secs(24 * 3600);
const LEAST: Duration = Duration::from_secs(1);

/// Of the freeze.
pub(super) fn operations() -> Vec<Operation> {
    let answer = Content::Form("freeze");
    vec![
        Operation::get(PATH, "getFreeze", "Whether all rollouts are held.", run!(get)).answers(answer),
        Operation::act(Verb::Put, PATH, "putFreeze", "Holds all rollouts; going back still works.", run!(put))
            .may_take("freezing")
            .answers(answer),
        Operation::act(
            Verb::Delete,
            PATH,
            "deleteFreeze",
            "Ends the freeze; nothing happens without one.",
            run!(delete),
        ),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(rename = "for")]
    length: Option<String>,
    reason: Option<String>,
}

async fn get(call: Call) -> Answer {
    Ok(Json(rollouts::freeze(&call.server)).into_response())
}

async fn put(mut call: Call) -> Answer {
    let Form { length, reason } = call.form()?;
    call.because(reason)?;
    let length = match length {
        Some(text) => parse::parse_time("for", &text, LEAST..=MAX_FREEZE).map_err(Failure::problems)?,
        None => LENGTH,
    };
    let done = call.server.control.freeze(call.author.clone(), Some(length)).await?;
    call.done(done, |_| Ok(Json(rollouts::freeze(&call.server)).into_response()))
}

async fn delete(call: Call) -> Answer {
    let done = call.server.control.freeze(call.author.clone(), None).await?;
    call.done(done, |_| Ok(StatusCode::NO_CONTENT.into_response()))
}
