//! Alibaba's `ACS3-HMAC-SHA256`.

use std::time::Duration;

use config::dialect::failure::{DialectFailure, FailureKind};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::canonical::{body_hash, encoded_query, hmac, part, sha256, signed_headers};
use super::{Check, KeyRing, Presented, SignedRequest, from_hex, in_time, known};

/// The names of the headers that were signed.
pub(super) struct Signed(String);

/// The header that states the hash of the body.
const HASH: &str = "x-acs-content-sha256";

pub(super) fn present(
    request: &SignedRequest<'_>,
    text: &str,
    ring: &KeyRing,
    now: Duration,
) -> Result<Presented, DialectFailure> {
    let key = known(ring, part(text, "Credential")?)?;
    let date =
        request.headers.get("x-acs-date").and_then(|date| OffsetDateTime::parse(date.to_str().ok()?, &Rfc3339).ok());
    in_time(date.and_then(|date| u64::try_from(date.unix_timestamp()).ok()), now, "x-acs-date")?;
    if !request.headers.contains_key(HASH) {
        return Err(DialectFailure::new(FailureKind::WrongSignature, format!("`{HASH}` is missing")));
    }
    Ok(Presented {
        key,
        region: None,
        service: None,
        signature: from_hex(part(text, "Signature")?)?,
        check: Check::Acs3(Signed(part(text, "SignedHeaders")?.to_owned())),
    })
}

/// The signature that the request must have.
///
/// # Errors
/// A header that must be signed is not, or the stated hash is not that of the body.
pub(super) fn signature(
    request: &SignedRequest<'_>,
    Signed(names): &Signed,
    secret: &str,
    body: &[u8],
) -> Result<Vec<u8>, DialectFailure> {
    let canonical = [
        request.method,
        request.path,
        &encoded_query(request.query),
        &signed_headers(request.headers, names, "x-acs-")?,
        names,
        &body_hash(request.headers, HASH, body)?,
    ]
    .join("\n");
    let text = format!("ACS3-HMAC-SHA256\n{}", sha256(canonical.as_bytes()));
    Ok(hmac(secret.as_bytes(), text.as_bytes()))
}
