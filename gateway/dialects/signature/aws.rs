//! AWS Signature Version 4 (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use std::time::Duration;

use config::dialect::failure::DialectFailure;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::canonical::{body_hash, derived_key, encoded_again, hmac, part, sha256, signed_headers, sorted_query};
use super::{Check, KeyRing, Presented, SignedRequest, from_hex, in_time, known, malformed};

/// The scope of a signature: its time, and the region and service that it is for.
pub(super) struct Scope {
    /// `YYYYMMDDTHHMMSSZ`
    time: String,
    region: String,
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
    let [id, date, region, service, "aws4_request"] = credential[..] else {
        return Err(malformed("`Credential` is ID/DATE/REGION/SERVICE/aws4_request"));
    };
    let key = known(ring, id)?;
    let time = request.headers.get("x-amz-date").and_then(|time| time.to_str().ok()).unwrap_or_default();
    in_time(seconds(time), now, "x-amz-date")?;
    if time.get(..8) != Some(date) {
        return Err(malformed("the date of `Credential` is not that of `x-amz-date`"));
    }
    let signed = part(text, "SignedHeaders")?.to_owned();
    let scope = Scope { time: time.to_owned(), region: region.to_owned(), service: service.to_owned(), signed };
    Ok(Presented {
        key,
        region: Some(region.to_owned()),
        service: Some(service.to_owned()),
        signature: from_hex(part(text, "Signature")?)?,
        check: Check::Aws(scope),
    })
}

/// The signature that the request must have.
///
/// # Errors
/// A header that must be signed is not, or the stated hash is not that of the body.
pub(super) fn signature(
    request: &SignedRequest<'_>,
    scope: &Scope,
    secret: &str,
    body: &[u8],
) -> Result<Vec<u8>, DialectFailure> {
    let headers = signed_headers(request.headers, &scope.signed, "x-amz-")?;
    let canonical = [
        request.method,
        &encoded_again(request.path),
        &sorted_query(request.query),
        &headers,
        &scope.signed,
        &body_hash(request.headers, "x-amz-content-sha256", body)?,
    ]
    .join("\n");
    let Scope { time, region, service, .. } = scope;
    let date = time.get(..8).unwrap_or_default();
    let named = format!("{date}/{region}/{service}/aws4_request");
    let text = ["AWS4-HMAC-SHA256", time, &named, &sha256(canonical.as_bytes())].join("\n");
    let key = derived_key(format!("AWS4{secret}"), &[date, region, service, "aws4_request"]);
    Ok(hmac(&key, text.as_bytes()))
}

/// The time of `YYYYMMDDTHHMMSSZ` since 1970.
fn seconds(text: &str) -> Option<u64> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = PrimitiveDateTime::parse(text, format).ok()?;
    u64::try_from(time.assume_utc().unix_timestamp()).ok()
}
