//! Answers to readers who may not change anything: literal secrets of the configuration are hidden in them.

use axum::body::{Body, to_bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use config::text::format::format_value;
use config::text::parse::parse_value;
use config::text::veil::veil;
use serde_json::Value;

use super::error::Failure;
use super::operation::Answer;

/// The answer without literal secrets. One that has none keeps its bytes.
///
/// # Errors
/// When the answer cannot be read, and nobody knows what is in it.
pub(super) async fn veiled(response: Response) -> Answer {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_yaml = kind.starts_with("application/yaml");
    if !is_yaml && !kind.starts_with("application/json") {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let unreadable = || Failure::new("StoreUnavailable", "the answer cannot be shown without a token of role operator");
    let bytes = to_bytes(body, usize::MAX).await.map_err(|_| unreadable())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable())?;
    let mut value: Value = match is_yaml {
        _ if text.trim().is_empty() => Value::Null,
        true => parse_value(text).map_err(|_| unreadable())?,
        false => serde_json::from_str(text).map_err(|_| unreadable())?,
    };
    if !veil(&mut value) {
        return Ok((head, Body::from(bytes)).into_response());
    }
    head.headers.remove(header::CONTENT_LENGTH);
    let shown = if is_yaml { format_value(&value) } else { value.to_string() };
    Ok((head, Body::from(shown)).into_response())
}
