//! Tencent's `TC3-HMAC-SHA256`. It signs the content type, the host, the time and the body, and not the action.

use std::time::Duration;

use config::dialect::failure::{DialectFailure, FailureKind};
use time::OffsetDateTime;
use time::macros::format_description;

use super::canonical::{derived_key, hmac, part, sha256, signed_headers};
use super::{Check, KeyRing, Presented, SignedRequest, from_hex, in_time, known, malformed};

/// The scope of a signature: its time, and the service that it is for.
pub(super) struct Scope {
    timestamp: String,
    date: String,
    service: String,
    signed: String,
}

pub(super) fn present(
    request: &SignedRequest<'_>,
    text: &str,
    ring: &KeyRing,
    now: Duration,
) -> Result<Presented, DialectFailure> {
    let credential: Vec<&str> = part(text, "Credential")?.split('/').collect();
    let [id, date, service, "tc3_request"] = credential[..] else {
        return Err(malformed("`Credential` is ID/DATE/SERVICE/tc3_request"));
    };
    let key = known(ring, id)?;
    let timestamp = request.headers.get("x-tc-timestamp").and_then(|time| time.to_str().ok()).unwrap_or_default();
    let seconds = timestamp.parse::<u64>().ok();
    in_time(seconds, now, "x-tc-timestamp")?;
    if seconds.and_then(day).as_deref() != Some(date) {
        return Err(malformed("the date of `Credential` is not that of `x-tc-timestamp`"));
    }
    if request.headers.get("x-tc-content-sha256").is_some_and(|hash| hash == "UNSIGNED-PAYLOAD") {
        return Err(DialectFailure::new(FailureKind::WrongSignature, "the body has to be signed"));
    }
    let scope = Scope {
        timestamp: timestamp.to_owned(),
        date: date.to_owned(),
        service: service.to_owned(),
        signed: part(text, "SignedHeaders")?.to_owned(),
    };
    Ok(Presented {
        key,
        region: None,
        service: Some(service.to_owned()),
        signature: from_hex(part(text, "Signature")?)?,
        check: Check::Tc3(scope),
    })
}

/// The signature that the request must have.
///
/// # Errors
/// A header that must be signed is not.
pub(super) fn signature(
    request: &SignedRequest<'_>,
    scope: &Scope,
    secret: &str,
    body: &[u8],
) -> Result<Vec<u8>, DialectFailure> {
    let Scope { timestamp, date, service, signed } = scope;
    if !signed.split(';').any(|name| name == "content-type") {
        return Err(DialectFailure::new(
            FailureKind::WrongSignature,
            "the header `content-type` is not among the signed ones",
        ));
    }
    let canonical = [
        request.method,
        request.path,
        request.query.unwrap_or_default(),
        &signed_headers(request.headers, signed, "\0")?,
        signed,
        &sha256(body),
    ]
    .join("\n");
    let text = ["TC3-HMAC-SHA256", timestamp, &format!("{date}/{service}/tc3_request"), &sha256(canonical.as_bytes())]
        .join("\n");
    let key = derived_key(format!("TC3{secret}"), &[date, service, "tc3_request"]);
    Ok(hmac(&key, text.as_bytes()))
}

/// The day of a time since 1970, in UTC.
fn day(seconds: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    time.format(format_description!("[year]-[month]-[day]")).ok()
}
