//! Who may do what: the names a request may come under (Host and Origin), bearer tokens, and the count of refusals.
//!
//! Off this machine every request under `/v1` needs a token. On it reads need none, so a page in the user's browser must not
//! be able to read: a browser sends the page's `Origin`, and a page that resolves its own name to 127.0.0.1 (DNS rebinding)
//! sends that name as `Host`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::attempts::Attempts;
use super::error::Failure;
use crate::control::Control;
use crate::control::tokens::{Grant, Role};
use crate::metrics::Metrics;

/// What an operation asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Open,
    /// Nothing on this machine, a viewer elsewhere.
    Read,
    /// A token of at least this role.
    Role(Role),
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The client's address; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether the listener can only be reached from this machine.
    pub local: bool,
}

/// `10.0.0.7`, or `unix socket`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("unix socket"),
        }
    }
}

/// What is known of whoever sends a request, beside their name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) peer: Peer,
    /// True of everybody but operators and admins: literal secrets are hidden from them.
    pub(super) is_veiled: bool,
}

/// Decides who gets in.
pub(super) struct Gate {
    control: Control,
    metrics: Arc<Metrics>,
    attempts: Arc<Attempts>,
}

impl Gate {
    pub(super) fn new(control: Control, metrics: Arc<Metrics>, attempts: Arc<Attempts>) -> Self {
        Self { control, metrics, attempts }
    }

    /// Whether a request may come under these names. Asked of every path.
    ///
    /// # Errors
    /// 403 `WrongHost`, `WrongOrigin`.
    pub(super) fn names(&self, peer: Peer, headers: &HeaderMap) -> Result<(), Failure> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) => host,
            _ => return Err(self.refuse(peer, "host", Failure::new("WrongHost", "one `Host` header is needed"))),
        };
        if peer.local && peer.address.is_some() && !names_this_machine(host) {
            let message = format!("the admin API does not answer as `{host}`; use `localhost` or `127.0.0.1`");
            return Err(self.refuse(peer, "host", Failure::new("WrongHost", message)));
        }
        for origin in headers.get_all(header::ORIGIN) {
            let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            if !own.is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)) {
                let message = "pages of other origins may not use the admin API";
                return Err(self.refuse(peer, "origin", Failure::new("WrongOrigin", message)));
            }
        }
        Ok(())
    }

    /// Whose request this is; `None` when nobody had to say.
    ///
    /// # Errors
    /// 401, 403 `Forbidden`, or 429 for an address whose tokens were refused too often. A token that is right always gets
    /// in: guessing 256 random bits is hopeless, and one client must not lock out the others behind its address.
    pub(super) fn admit(&self, peer: Peer, headers: &HeaderMap, access: Access) -> Result<Option<Grant>, Failure> {
        let needed = match access {
            Access::Open => return Ok(None),
            Access::Read if peer.local && !headers.contains_key(header::AUTHORIZATION) => return Ok(None),
            Access::Read => Role::Viewer,
            Access::Role(role) => role,
        };
        let Some(presented) = bearer(headers)? else {
            let failure = Failure::new(
                "Unauthorized",
                format!("a token of role {needed} is needed: `Authorization: Bearer TOKEN`"),
            );
            return Err(self.refuse(peer, "no_token", failure));
        };
        let Some(grant) = self.control.tokens().grant(presented) else { return Err(self.wrong_token(peer)) };
        if grant.role < needed {
            let message = format!("the token `{}` is of role {}; this needs {needed}", grant.name, grant.role);
            return Err(self.refuse(peer, "role", Failure::new("Forbidden", message)));
        }
        Ok(Some(grant))
    }

    fn wrong_token(&self, peer: Peer) -> Failure {
        let Some(wait) = self.attempts.failed(peer.address) else {
            return self.refuse(peer, "wrong_token", Failure::new("Unauthorized", "this token is not known"));
        };
        // Counted, but not told again: the log must not grow as fast as somebody guesses.
        self.metrics.admin_refused.inc("attempts");
        let message = format!("too many wrong tokens from this address; try again in {wait} s");
        Failure::new("TooManyAttempts", message).header(header::RETRY_AFTER, HeaderValue::from(wait))
    }

    fn refuse(&self, peer: Peer, reason: &'static str, failure: Failure) -> Failure {
        self.metrics.admin_refused.inc(reason);
        tracing::warn!(client = %peer, reason, "a request to the admin API was refused: {}", failure.message());
        failure
    }
}

/// The token that a request presents.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token
        .filter(|token| !token.is_empty())
        .map(Some)
        .ok_or_else(|| Failure::new("Unauthorized", "the `Authorization` header is not of the form `Bearer TOKEN`"))
}

/// `localhost`, or an address of the loopback interface, with or without a port.
fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The journal's name of whoever holds this token.
pub(super) fn who(grant: &Grant) -> String {
    format!("token:{}", grant.name)
}

/// The reader without a token.
pub(super) const NOBODY: &str = "nobody";

/// Why, in the author's words: percent-encoded UTF-8.
pub(super) const WHY: HeaderName = HeaderName::from_static("x-weir-why");
/// Characters of it, decoded.
const WHY_LIMIT: usize = 500;

/// The reason that a request brings.
///
/// # Errors
/// 400 when it cannot be read or is too long.
pub(super) fn why(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(WHY) else { return Ok(None) };
    let decoded = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
    let why = decoded.map_err(|_| Failure::invalid("`x-weir-why` is not percent-encoded UTF-8"))?;
    reason(WHY.as_str(), &why)
}

/// A reason as the journal takes it. `field` is where it came from.
///
/// # Errors
/// 400 when it is longer than the journal takes, or no line.
pub(super) fn reason(field: &str, text: &str) -> Result<Option<String>, Failure> {
    if text.chars().count() > WHY_LIMIT || text.chars().any(char::is_control) {
        return Err(Failure::invalid(format!("`{field}` is one line of at most {WHY_LIMIT} characters")));
    }
    Ok(Some(text.trim().to_owned()).filter(|why| !why.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for host in ["localhost", "LOCALHOST:9900", "127.0.0.1", "127.0.0.1:1", "[::1]:9900", "127.8.8.8:80"] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in ["", "evil.example.com", "localhost.evil.com:9900", "10.0.0.1:9900", "127.0.0.1.nip.io", "::1:x"] {
            assert!(!names_this_machine(host), "{host}");
        }
    }

    #[test]
    fn why_is_decoded_or_refused() {
        let of = |value: &'static str| why(&HeaderMap::from_iter([(WHY, HeaderValue::from_static(value))]));
        assert_eq!(of("gr%C3%BCn ist gut").unwrap().unwrap(), "grün ist gut");
        assert_eq!(of("%20").unwrap(), None);
        assert!(of("%ff").is_err() && of("a%0Ab").is_err());
    }
}
