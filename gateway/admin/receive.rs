//! From a request to a call: who asks, what they send, and how long they may take.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::auth::{Access, Client, NOBODY, who, why};
use super::call::Call;
use super::error::Failure;
use super::events::EVENTS;
use super::operation::{Answer, Body, Content, Operation};
use super::taken::taken;
use super::veiled::veiled;
use super::work::{Kind, LONG_BODY, Turn, Work};
use super::{Server, peer};
use crate::control::Author;
use crate::control::tokens::Role;

/// For a body to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// For an operation to be carried out.
const PATIENCE: Duration = Duration::from_secs(60);

/// Admits, reads and carries out one request.
///
/// # Errors
/// Why not.
pub(super) async fn carried_out(
    server: Arc<Server>,
    operation: &Operation,
    names: Vec<(String, String)>,
    request: Request,
) -> Answer {
    let peer = peer(&request);
    let grant = server.gate.admit(peer, request.headers(), operation.access)?;
    let kind = match operation.access {
        Access::Open if operation.is_probe() => Kind::Probe,
        _ if operation.changes() => Kind::Change,
        _ => Kind::Read,
    };
    let place = server.work.begin(kind).await?;
    let author = Author {
        who: grant.as_ref().map_or_else(|| NOBODY.to_owned(), who),
        why: why(request.headers())?,
        may_run: grant.as_ref().is_some_and(|grant| grant.role == Role::Admin),
        is_remote: true,
    };
    let (parts, body) = request.into_parts();
    let (text, long_body) = match &operation.body {
        Some(expected) => text(expected, &server.work, &parts.headers, body).await?,
        None => (String::new(), None),
    };
    let sees_secrets = grant.as_ref().is_some_and(|grant| grant.role >= Role::Operator);
    let client = Client { peer, is_veiled: operation.access == Access::Read && !sees_secrets };
    let is_long = operation.is_long || long_body.is_some();
    let work = Arc::clone(&server.work);
    let call = Call::new(server, operation, (author, client), (&parts.uri, parts.headers), names, text)?;
    let run = operation.run;
    let answer = async {
        if !is_long {
            return run(call).await;
        }
        let turn = work.long(kind).await?;
        let runtime = Handle::current();
        let carried_out = spawn_blocking(move || {
            // It keeps its turn, also when nobody waits for the answer any more.
            let _kept = (turn, long_body);
            runtime.block_on(run(call))
        });
        carried_out.await.unwrap_or_else(|_| Err(Failure::new("Stopping", "the gateway is stopping")))
    };
    let answer = timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(unanswered(operation)));
    // A stream has a place of its own.
    let place = place.filter(|_| operation.answer != Content::Text(EVENTS));
    let answer = if client.is_veiled { veiled(answer?).await? } else { answer? };
    Ok(taken(answer, place))
}

fn unanswered(operation: &Operation) -> Failure {
    let message = format!("there was no answer within {} s", PATIENCE.as_secs());
    if !operation.changes() {
        return Failure::new("StoreUnavailable", message);
    }
    let unknown = "it is not known whether the change was stored: read before you try again";
    Failure::new("Unknown", format!("{message}; {unknown}"))
}

/// The body as text that the parsers of the file read, with its place if it is long.
async fn text(
    expected: &Body,
    work: &Work,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<(String, Option<Turn>), Failure> {
    let json = is_json(expected.content, headers)?;
    let bytes = timeout(ARRIVAL, read(body, expected.limit, work)).await;
    let (bytes, place) = bytes
        .map_err(|_| Failure::new("Timeout", format!("the body did not arrive within {} s", ARRIVAL.as_secs())))??;
    let text = String::from_utf8(bytes).map_err(|_| Failure::invalid("the body is not UTF-8"))?;
    match text.trim().is_empty() {
        true if expected.required => Err(Failure::invalid("a body is needed")),
        false if json => Ok((plain(text)?, place)),
        _ => Ok((text, place)),
    }
}

/// The whole body. Of one that is too large a part more is read and dropped: a client that is still sending would not see
/// the answer.
async fn read(mut body: axum::body::Body, limit: usize, work: &Work) -> Result<(Vec<u8>, Option<Turn>), Failure> {
    let (mut bytes, mut size, mut place) = (Vec::new(), 0, None);
    while size <= 4 * limit
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| Failure::invalid(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size > LONG_BODY && size <= limit && place.is_none() {
            place = Some(work.long_body().await?);
        }
        if size <= limit {
            bytes.extend_from_slice(&data);
        }
    }
    if size > limit {
        return Err(Failure::new("TooLarge", format!("the body has more than {limit} bytes")));
    }
    Ok((bytes, place))
}

/// Whether the body must be JSON and not just YAML.
fn is_json(content: Content, headers: &HeaderMap) -> Result<bool, Failure> {
    if let Content::Text(_) = content {
        return Ok(false);
    }
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*kind {
        "application/json" | "application/merge-patch+json" => Ok(true),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(false),
        _ => Err(Failure::new("UnsupportedMediaType", "send application/json or application/yaml")),
    }
}

/// JSON as the YAML parser takes it: all of JSON but the escapes `\/` and those of surrogate pairs.
fn plain(text: String) -> Result<String, Failure> {
    let wrong = |error: serde_json::Error| Failure::invalid(format!("the body is not JSON: {error}"));
    serde_json::from_str::<IgnoredAny>(&text).map_err(wrong)?;
    if text.contains("\\u") || text.contains("\\/") {
        return serde_json::from_str::<Value>(&text).map(|value| value.to_string()).map_err(wrong);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_json_become_what_they_stand_for() {
        let text = plain(r#"{"a": "\ud83d\ude00 \u00fc \/ \n"}"#.to_owned()).unwrap();
        let value = config::text::parse::parse_value(&text).unwrap();
        assert_eq!(value["a"], "\u{1f600} ü / \n");
        assert!(plain("{a: 1}".to_owned()).is_err());
    }
}
