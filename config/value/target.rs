//! The request target of HTTP/1: which of its forms a client used, and the one form that goes to an endpoint.
//!
//! RFC 9112 section 3.2 has four forms. A gateway serves three of them: *origin-form* (`/path?query`), *absolute-form*
//! (`http://host/path?query`), which is turned into origin-form, and *asterisk-form* (`*`, for `OPTIONS` alone). Anything
//! else would be routed as one thing and read by an endpoint as another, so it is refused: a path without its leading `/`,
//! `host:port`, other schemes, a fragment, bytes that are no UTF-8.

use std::fmt;

use crate::value::host;

/// A request target in one of the forms that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestTarget<'t> {
    /// Path and query; starts with `/`.
    Origin(&'t str),
    /// `http://…` or `https://…`.
    Absolute(AbsoluteTarget<'t>),
    /// `*`.
    Asterisk,
}

/// A target in absolute-form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsoluteTarget<'t> {
    /// Host and optional port, not empty, without user information.
    pub authority: &'t str,
    /// The port that the scheme stands for.
    pub default_port: u16,
    /// The part behind the authority: empty, or starts with `/` or `?`.
    pub path_and_query: &'t str,
}

/// The request target has none of the forms that are served, or a character that none of them may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetError;

impl<'t> RequestTarget<'t> {
    /// Reads the target of a request with this method.
    ///
    /// # Errors
    /// [`TargetError`] if the target is not served.
    pub fn parse(method: &[u8], target: &'t [u8]) -> Result<Self, TargetError> {
        match target {
            [b'/', ..] => text(target).map(Self::Origin),
            b"*" if method == b"OPTIONS" => Ok(Self::Asterisk),
            _ => AbsoluteTarget::parse(target).map(Self::Absolute),
        }
    }
}

impl<'t> AbsoluteTarget<'t> {
    fn parse(target: &'t [u8]) -> Result<Self, TargetError> {
        let scheme = |scheme: &[u8]| {
            let (head, rest) = target.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let (rest, default_port) = match (scheme(b"http://"), scheme(b"https://")) {
            (Some(rest), _) => (rest, 80),
            (_, Some(rest)) => (rest, 443),
            _ => return Err(TargetError),
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\')).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        // Some readers take `\` for `/`, which would move the end of the authority.
        if authority.is_empty() || authority.contains(&b'@') || path_and_query.first() == Some(&b'\\') {
            return Err(TargetError);
        }
        Ok(Self { authority: text(authority)?, default_port, path_and_query: text(path_and_query)? })
    }

    /// The target in origin-form, or asterisk-form for `OPTIONS` without a path (RFC 9112, sections 3.2.1 and 3.2.4).
    #[must_use]
    pub fn to_origin_form(&self, method: &[u8]) -> String {
        match self.path_and_query {
            "" if method == b"OPTIONS" => "*".to_owned(),
            rest if rest.starts_with('/') => rest.to_owned(),
            rest => format!("/{rest}"),
        }
    }

    /// True if a `Host` field names the same host and port: case, a trailing dot and the scheme's own port do not
    /// count.
    #[must_use]
    pub fn agrees_with(&self, host_field: &[u8]) -> bool {
        let Ok(field) = str::from_utf8(host_field) else { return false };
        let (mut one, mut other) = ([0; 256], [0; 256]);
        let port = |authority: &str| port_of(authority).map(|port| port.unwrap_or(self.default_port));
        host::normalize(self.authority, &mut one).is_some_and(|own| Some(own) == host::normalize(field, &mut other))
            && port(self.authority).is_some_and(|own| Some(own) == port(field))
    }
}

/// The port behind the host of an authority: `Some(None)` without one, `None` when it is no port.
fn port_of(authority: &str) -> Option<Option<u16>> {
    let behind = authority.rfind(']').map_or(authority, |end| &authority[end..]);
    match behind.rsplit_once(':') {
        None | Some((_, "")) => Some(None),
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok().map(Some),
        Some(_) => None,
    }
}

/// The bytes as text, if every one of them may stand in a target.
///
/// The characters are those of the WHATWG URL standard's path and query states, and `"`, `{`, `}` in paths, which some
/// clients send as they are.
fn text(target: &[u8]) -> Result<&str, TargetError> {
    let mut in_query = false;
    for &byte in target {
        let valid = match byte {
            b'?' => {
                in_query = true;
                true
            }
            b'#' | b'<' | b'>' => false,
            b'"' => !in_query,
            b'`' => in_query,
            _ => byte > b' ' && byte != 0x7f,
        };
        if !valid {
            return Err(TargetError);
        }
    }
    str::from_utf8(target).map_err(|_| TargetError)
}

impl fmt::Display for RequestTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(path) => f.write_str(path),
            Self::Absolute(AbsoluteTarget { authority, default_port, path_and_query }) => {
                let scheme = if *default_port == 443 { "https" } else { "http" };
                write!(f, "{scheme}://{authority}{path_and_query}")
            }
            Self::Asterisk => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RequestTarget<'_>, TargetError> {
        RequestTarget::parse(b"GET", text.as_bytes())
    }

    #[test]
    fn forms_that_are_served() {
        for path in ["/", "/a/b?c=d", "//x", "/a%2Fb", "/\u{e9}?\u{e9}", "/a?b?c", "/{a}", "/a?`b`", "/a\\b"] {
            assert_eq!(parse(path), Ok(RequestTarget::Origin(path)));
        }
        assert_eq!(RequestTarget::parse(b"OPTIONS", b"*"), Ok(RequestTarget::Asterisk));
        for (text, authority, port, rest, origin) in [
            ("http://a.example/b?c", "a.example", 80, "/b?c", "/b?c"),
            ("HTTPS://a.example:8443", "a.example:8443", 443, "", "/"),
            ("http://[::1]:80?q", "[::1]:80", 80, "?q", "/?q"),
        ] {
            let target = AbsoluteTarget { authority, default_port: port, path_and_query: rest };
            assert_eq!(parse(text), Ok(RequestTarget::Absolute(target)), "{text}");
            assert_eq!(target.to_origin_form(b"GET"), origin);
        }
        let bare = AbsoluteTarget { authority: "a", default_port: 80, path_and_query: "" };
        assert_eq!(bare.to_origin_form(b"OPTIONS"), "*");
    }

    #[test]
    fn forms_that_are_refused() {
        for text in [
            "admin/secret.txt",
            "public/../admin",
            "../",
            "*",
            "",
            "?a=b",
            "a.example:80",
            "x:/a",
            "ftp://a.example/x",
            "http:/a.example/x",
            "http:///x",
            "http://a.example\\b/c",
            "://a.example/",
            "/a#/b",
            "http://a.example/#b",
            "#",
            "http://user@a.example/",
            "/a<b",
            "/a?\"b",
            "/a`b",
            "/a\u{7f}",
        ] {
            assert_eq!(parse(text), Err(TargetError), "{text}");
        }
        assert_eq!(RequestTarget::parse(b"GET", b"/a\xff"), Err(TargetError));
        assert_eq!(RequestTarget::parse(b"OPTIONS", b"**"), Err(TargetError));
    }

    #[test]
    fn a_host_field_agrees_in_every_spelling_of_the_same_host() {
        let target = |authority, default_port| AbsoluteTarget { authority, default_port, path_and_query: "/" };
        for (authority, port, field, agrees) in [
            ("shop.example.com", 80, "shop.example.com", true),
            ("SHOP.example.com", 80, "shop.example.com.", true),
            ("shop.example.com:80", 80, "shop.example.com", true),
            ("shop.example.com", 443, "shop.example.com:443", true),
            ("shop.example.com:", 80, "shop.example.com", true),
            ("[::1]:8080", 80, "[::1]:8080", true),
            ("shop.example.com", 80, "other.example.com", false),
            ("shop.example.com", 80, "shop.example.com:8080", false),
            ("shop.example.com:x", 80, "shop.example.com:x", false),
            ("shop.example.com", 80, "", false),
        ] {
            assert_eq!(target(authority, port).agrees_with(field.as_bytes()), agrees, "{authority} {field}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_origin_form_reads_as_itself(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            method in proptest::sample::select(vec!["GET", "OPTIONS"]),
        ) {
            if let Ok(target) = RequestTarget::parse(method.as_bytes(), &bytes) {
                let sent = match target {
                    RequestTarget::Absolute(target) => target.to_origin_form(method.as_bytes()),
                    target => target.to_string(),
                };
                let again = RequestTarget::parse(method.as_bytes(), sent.as_bytes());
                proptest::prop_assert!(matches!(again, Ok(RequestTarget::Origin(_) | RequestTarget::Asterisk)));
                proptest::prop_assert_eq!(again.map(|target| target.to_string()), Ok(sent));
            }
        }
    }
}
