//! Signatures: who signed a request, checked in full and in constant time.
//!
//! Four schemes, told apart by the first word of `Authorization`. Each makes one text of the request as it came (method, path, query,
//! headers, hash of the body) and an HMAC of it. Nothing is normalised that the client did not normalise: the text is made of
//! the bytes on the wire.
//!
//! - `canonical`: the pieces that the schemes share
//! - `aws`: Signature Version 4
//! - `acs3`: Alibaba's `ACS3-HMAC-SHA256`
//! - `fc`: Function Compute's own form, `FC id:signature`. It leaves body and query unsigned
//! - `tc3`: Tencent's `TC3-HMAC-SHA256`. It leaves the action unsigned

mod acs3;
mod aws;
mod canonical;
mod fc;
mod tc3;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use config::dialect::failure::{DialectFailure, FailureKind};
use subtle::ConstantTimeEq;

use super::keys::{Key, KeyRing};

/// The most that the clocks of client and gateway may differ.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedRequest<'a> {
    /// Upper case.
    pub(super) method: &'a str,
    /// Percent-encoded, as it stands on the wire.
    pub(super) path: &'a str,
    /// Behind the `?`.
    pub(super) query: Option<&'a str>,
    /// The header fields.
    pub(super) headers: &'a HeaderMap,
}

/// A request whose signature was read, and whose key is known: all that can be said before its body is here.
pub(super) struct Presented {
    key: Arc<Key>,
    /// The region that it was signed for, where the scheme has one.
    pub(super) region: Option<String>,
    /// The service that it was signed for, where the scheme has one.
    pub(super) service: Option<String>,
    /// What the client sent.
    signature: Vec<u8>,
    check: Check,
}

/// What the signature is made of beside the key and the body.
enum Check {
    Aws(aws::Scope),
    Acs3(acs3::Signed),
    Fc,
    Tc3(tc3::Scope),
}

/// Reads who a request says that it comes from. Costs little: it comes before the body.
///
/// # Errors
/// It is not signed, in another form, at another time, by an unknown key.
pub(super) fn present(request: &SignedRequest<'_>, ring: &KeyRing, now: Duration) -> Result<Presented, DialectFailure> {
    refuse_tokens(request)?;
    let Some(value) = request.headers.get(header::AUTHORIZATION) else {
        if is_presigned(request) {
            let message = "presigned URLs are not taken: sign the headers of the request";
            return Err(DialectFailure::new(FailureKind::UnknownForm, message));
        }
        let message = "the request is not signed: send it by the cloud's client, with an access key of this gateway";
        return Err(DialectFailure::new(FailureKind::Unsigned, message));
    };
    let text = value.to_str().map_err(|_| malformed("it is no text"))?;
    let (scheme, rest) = text.split_once(' ').ok_or_else(|| malformed("it has one word"))?;
    match scheme {
        "AWS4-HMAC-SHA256" => aws::present(request, rest, ring, now),
        "ACS3-HMAC-SHA256" => acs3::present(request, rest, ring, now),
        "FC" => fc::present(request, rest, ring, now),
        "TC3-HMAC-SHA256" => tc3::present(request, rest, ring, now),
        other => Err(malformed(&format!(
            "its scheme `{other}` is not one of AWS4-HMAC-SHA256, ACS3-HMAC-SHA256, FC and TC3-HMAC-SHA256"
        ))),
    }
}

impl Presented {
    /// The key, once the signature fits the whole request.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn verify(self, request: &SignedRequest<'_>, body: &[u8]) -> Result<Arc<Key>, DialectFailure> {
        let secret = self.key.secret().ok_or_else(|| {
            let message = format!("the secret of the key `{}` cannot be read now", self.key.id);
            DialectFailure::new(FailureKind::UnknownKey, message)
        })?;
        let expected = match &self.check {
            Check::Aws(scope) => aws::signature(request, scope, &secret, body)?,
            Check::Acs3(signed) => acs3::signature(request, signed, &secret, body)?,
            Check::Fc => fc::signature(request, &secret)?,
            Check::Tc3(scope) => tc3::signature(request, scope, &secret, body)?,
        };
        if bool::from(expected.ct_eq(&self.signature)) {
            return Ok(self.key);
        }
        let message =
            "the signature does not fit the request: the secret is another one, or the request was changed on its way";
        Err(DialectFailure::new(FailureKind::WrongSignature, message))
    }

    /// Checks that the request is signed for this service.
    ///
    /// # Errors
    /// It is signed for another one.
    pub(super) fn is_for(&self, service: &str) -> Result<(), DialectFailure> {
        match self.service.as_deref() {
            Some(signed) if signed != service => {
                let message = format!("the request is signed for the service `{signed}`, and this is `{service}`");
                Err(DialectFailure::new(FailureKind::WrongSignature, message))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses tokens of sessions, which nobody here gives out.
fn refuse_tokens(request: &SignedRequest<'_>) -> Result<(), DialectFailure> {
    let names = ["x-amz-security-token", "x-acs-security-token", "x-fc-security-token", "x-tc-token"];
    match names.into_iter().find(|name| request.headers.contains_key(*name)) {
        Some(name) => {
            let message = format!("`{name}` is set: session tokens are not taken; use a key of this gateway alone");
            Err(DialectFailure::new(FailureKind::SessionToken, message))
        }
        None => Ok(()),
    }
}

fn is_presigned(request: &SignedRequest<'_>) -> bool {
    let names = ["X-Amz-Signature", "X-Amz-Algorithm", "Signature", "x-fc-signature"];
    let query = request.query.unwrap_or_default();
    query.split('&').any(|pair| pair.split_once('=').is_some_and(|(name, _)| names.contains(&name)))
}

/// The key with this id.
fn known(ring: &KeyRing, id: &str) -> Result<Arc<Key>, DialectFailure> {
    ring.find(id).ok_or_else(|| {
        DialectFailure::new(
            FailureKind::UnknownKey,
            "the access key is not one of this gateway's `dialects: {keys: […]}`",
        )
    })
}

fn malformed(why: &str) -> DialectFailure {
    DialectFailure::new(FailureKind::WrongSignature, format!("the `Authorization` header cannot be read: {why}"))
}

/// Checks a time (since 1970) that a request was signed at.
fn in_time(signed: Option<u64>, now: Duration, what: &str) -> Result<(), DialectFailure> {
    let Some(signed) = signed else {
        return Err(DialectFailure::new(FailureKind::WrongSignature, format!("`{what}` is missing, or is no time")));
    };
    if Duration::from_secs(signed).abs_diff(now) <= SKEW {
        return Ok(());
    }
    let side = if Duration::from_secs(signed) < now { "Signature expired" } else { "Signature not yet current" };
    let message = format!("{side}: `{what}` is more than {} minutes from the gateway's clock", SKEW.as_secs() / 60);
    Err(DialectFailure::new(FailureKind::SkewedTime, message))
}

/// The bytes of a signature in hexadecimal.
fn from_hex(text: &str) -> Result<Vec<u8>, DialectFailure> {
    hex::decode(text).map_err(|_| malformed("the signature is not hexadecimal"))
}
