//! Function Compute's own form, `FC id:signature`, of the clients of 2016-08-15. Only the `x-fc-*` headers, four others, the
//! path, and below `/proxy/` the query are signed: neither is the body.

use std::time::Duration;

use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::dialect::failure::{DialectFailure, FailureKind};
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::canonical::{decoded_query, hmac};
use super::{Check, KeyRing, Presented, SignedRequest, in_time, known, malformed};

pub(super) fn present(
    request: &SignedRequest<'_>,
    text: &str,
    ring: &KeyRing,
    now: Duration,
) -> Result<Presented, DialectFailure> {
    let (id, signature) = text.trim().split_once(':').ok_or_else(|| malformed("it is `FC ID:SIGNATURE`"))?;
    let key = known(ring, id)?;
    let date =
        request.headers.get(header::DATE).and_then(|date| OffsetDateTime::parse(date.to_str().ok()?, &Rfc2822).ok());
    in_time(date.and_then(|date| u64::try_from(date.unix_timestamp()).ok()), now, "date")?;
    let signature = STANDARD.decode(signature).map_err(|_| malformed("the signature is not base64"))?;
    Ok(Presented { key, region: None, service: None, signature, check: Check::Fc })
}

/// The signature that the request must have.
///
/// # Errors
/// A signed header is no text.
pub(super) fn signature(request: &SignedRequest<'_>, secret: &str) -> Result<Vec<u8>, DialectFailure> {
    let text = |name: &str| match request.headers.get(name).map(|value| value.to_str()) {
        None => Ok(""),
        Some(Ok(text)) => Ok(text),
        Some(Err(_)) => {
            Err(DialectFailure::new(FailureKind::WrongSignature, format!("the signed header `{name}` is no text")))
        }
    };
    let mut own: Vec<&str> =
        request.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-fc-")).collect();
    own.sort_unstable();
    let mut lines = String::new();
    for name in own {
        lines.push_str(&format!("{name}:{}\n", text(name)?.trim()));
    }
    let path = percent_decode_str(request.path).decode_utf8_lossy();
    let query = if path.split('/').nth(2) == Some("proxy") {
        format!("\n{}", decoded_query(request.query).join("\n"))
    } else {
        String::new()
    };
    let signed =
        [request.method, text("content-md5")?, text("content-type")?, text("date")?, &format!("{lines}{path}{query}")]
            .join("\n");
    Ok(hmac(secret.as_bytes(), signed.as_bytes()))
}
