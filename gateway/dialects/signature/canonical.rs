//! What the schemes share: HMACs, the lists in `Authorization`, headers, queries and hashes of bodies in canonical form.

use axum::http::HeaderMap;
use config::dialect::failure::{DialectFailure, FailureKind};
use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::malformed;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same but for the slash between segments.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// HMAC-SHA256.
pub(super) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// SHA-256 in lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A part of `Authorization`, of its `name=value` pairs between commas with or without spaces.
///
/// # Errors
/// There is none of this name.
pub(super) fn part<'a>(text: &'a str, name: &str) -> Result<&'a str, DialectFailure> {
    let mut pairs = text.split(',').filter_map(|part| part.trim().split_once('='));
    // The last one counts.
    let found = pairs.rfind(|(key, _)| *key == name);
    found.map(|(_, value)| value).ok_or_else(|| malformed(&format!("it has no `{name}`")))
}

/// The key of a day and a service: one HMAC after the other, from the prefixed secret on.
pub(super) fn derived_key(secret: String, scope: &[&str]) -> Vec<u8> {
    scope.iter().fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()))
}

/// The path with each of its bytes encoded once more.
pub(super) fn encoded_again(path: &str) -> String {
    utf8_percent_encode(path, RESERVED_IN_PATH).to_string()
}

/// The pairs of a query as they were sent, in order.
pub(super) fn sorted_query(query: Option<&str>) -> String {
    let mut pairs: Vec<(&str, &str)> = pairs(query).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The pairs of a query, decoded and encoded anew, in order: `+` is a space.
pub(super) fn encoded_query(query: Option<&str>) -> String {
    let encoded = |text: &str| utf8_percent_encode(&decoded(text), RESERVED).to_string();
    let mut pairs: Vec<(String, String)> = pairs(query).map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The pairs of a query, decoded, as lines `name=value` in order.
pub(super) fn decoded_query(query: Option<&str>) -> Vec<String> {
    let has_value = |pair: &str| pair.contains('=');
    let mut lines: Vec<String> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if has_value(pair) { decoded(pair) } else { format!("{}=", decoded(pair)) })
        .collect();
    lines.sort_unstable();
    lines
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A text of a query without its encoding.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The lines `name:value` of the signed headers, which `names` lists with `;` between; `host` is among them, and every header that
/// is there and begins with `prefix`.
///
/// # Errors
/// One of them is not.
pub(super) fn signed_headers(headers: &HeaderMap, names: &str, prefix: &str) -> Result<String, DialectFailure> {
    let wrong = |message: String| DialectFailure::new(FailureKind::WrongSignature, message);
    let listed: Vec<&str> = names.split(';').collect();
    let needed = headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with(prefix));
    if let Some(missing) = ["host"].into_iter().chain(needed).find(|name| !listed.contains(name)) {
        return Err(wrong(format!("the header `{missing}` is not among the signed ones")));
    }
    let mut lines = String::new();
    for name in listed {
        let mut values = Vec::new();
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| wrong(format!("the signed header `{name}` is no text")))?;
            values.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        if values.is_empty() {
            return Err(wrong(format!("the signed header `{name}` is not there")));
        }
        lines.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    Ok(lines)
}

/// The hash of the body. Where the header `name` states one, it has to be that.
///
/// # Errors
/// It is another one, or the client leaves the body unsigned.
pub(super) fn body_hash(headers: &HeaderMap, name: &str, body: &[u8]) -> Result<String, DialectFailure> {
    let hash = sha256(body);
    match headers.get(name) {
        Some(stated) if !bool::from(stated.as_bytes().ct_eq(hash.as_bytes())) => {
            let message = format!("`{name}` is not the hash of the body: the body has to be signed");
            Err(DialectFailure::new(FailureKind::WrongSignature, message))
        }
        _ => Ok(hash),
    }
}
