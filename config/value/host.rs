//! Hosts and host patterns: one place decides which spellings are the same host.
//!
//! Configured hosts go through UTS 46 (lower case, IDNA A-labels). Hosts of requests are already ASCII on the wire, so
//! [`normalize`] only takes off the port and one trailing dot, and lowers the case.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The longest host name, in bytes without a trailing dot (RFC 1035).
pub const MAX_HOST: usize = 253;

/// The longest label between two dots, in bytes (RFC 1035).
const MAX_LABEL: usize = 63;

/// A host name as a domain is looked up: ASCII lower case (IDNA A-labels), no port, no trailing dot. An IPv6 address
/// stands without brackets in the form of RFC 5952.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

/// The host of a domain: `shop.example.com`, or `*.example.com` for every host below `example.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Host),
    /// Every host that ends in a dot and this one, at any depth.
    Wildcard(Host),
}

/// Why a text is no host. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing, or nothing but a dot.
    #[error("a host is empty; write a name such as `shop.example.com`")]
    Empty,
    /// `shop.example.com:8080`.
    #[error("a host has no port: write `{0}`; the ports are those of `listeners`")]
    Port(String),
    /// `https://shop.example.com`, `shop.example.com/path`.
    #[error("a host is only the name: write `{0}`, without scheme or path")]
    Url(String),
    /// `*` anywhere but as the whole first label, or before an address.
    #[error("`*` stands only for the whole first label of a domain, as in `*.example.com`")]
    Star,
    /// `[::1`, `1:2:3`.
    #[error("`{0}` is no IPv6 address")]
    Address(String),
    /// A label is empty or over 63 bytes, or the name is over 253.
    #[error("a host is labels of 1 to 63 characters between dots, 253 in all; `{0}` is not")]
    Length(String),
    /// A character that no host has, or an international name that UTS 46 refuses.
    #[error("a host is letters, digits, `-`, `_` and dots (or a valid international name); `{0}` is not")]
    Shape(String),
}

impl Host {
    /// The host as it is looked up.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an IP address rather than a name.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.0.contains(':') || self.0.parse::<Ipv4Addr>().is_ok()
    }
}

impl HostPattern {
    /// The host itself, or the one below which a wildcard matches.
    #[must_use]
    pub fn host(&self) -> &Host {
        match self {
            Self::Exact(host) | Self::Wildcard(host) => host,
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        refuse_url(text)?;
        if text.contains('*') {
            return Err(HostError::Star);
        }
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return parse_ipv6(text);
        }
        if let Some((host, _)) = text.split_once(':') {
            return Err(HostError::Port(host.to_owned()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(HostError::Empty);
        }
        let ascii = Uts46::new()
            .to_ascii(name.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| HostError::Shape(text.to_owned()))?;
        // UTS 46 maps ideographic full stops to dots, so a second look at the end is needed.
        let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
        if ascii.is_empty() {
            return Err(HostError::Empty);
        }
        if !ascii.bytes().all(|b| is_host_byte(b) || b == b'.') {
            return Err(HostError::Shape(text.to_owned()));
        }
        if ascii.len() > MAX_HOST || ascii.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL) {
            return Err(HostError::Length(text.to_owned()));
        }
        Ok(Self(ascii.into()))
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        refuse_url(text)?;
        match text.strip_prefix("*.") {
            Some(below) => match below.parse::<Host>() {
                Ok(host) if host.is_address() => Err(HostError::Star),
                Ok(host) => Ok(Self::Wildcard(host)),
                Err(HostError::Port(host)) => Err(HostError::Port(format!("*.{host}"))),
                Err(other) => Err(other),
            },
            None => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Wildcard(host) => write!(f, "*.{host}"),
        }
    }
}

impl std::borrow::Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The host of a request, as domains are looked up: without port, brackets and one trailing dot, lower case, an IPv6
/// address in the form of RFC 5952. Nothing is allocated; `buffer` is for what has to be spelled anew. Most hosts are as
/// they should be, and what was written byte by byte a moment ago is slow to read in longer words.
///
/// `None` when the text is no host: empty, over 253 bytes, an empty label, a byte that hosts do not have (every non-ASCII
/// one: on the wire an international name is spelled in A-labels), or a port that is no number.
#[must_use]
pub fn normalize<'b>(raw: &'b str, buffer: &'b mut [u8; 256]) -> Option<&'b str> {
    if let Some(rest) = raw.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        let address: Ipv6Addr = address.parse().ok()?;
        let mut free = &mut buffer[..];
        write!(free, "{address}").ok()?;
        let written = 256 - free.len();
        return std::str::from_utf8(&buffer[..written]).ok();
    }
    let name = match raw.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return None,
        None => raw,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > MAX_HOST {
        return None;
    }
    // A dot before the first byte, so that a first or last dot and an empty name are empty labels too.
    let (mut before, mut bad, mut upper) = (b'.', false, false);
    for from in name.bytes() {
        let to = LOWER[usize::from(from)];
        bad |= to == 0 || (to == b'.' && before == b'.');
        upper |= to != from;
        before = to;
    }
    if bad || before == b'.' {
        return None;
    }
    if !upper {
        return Some(name);
    }
    let lower = &mut buffer[..name.len()];
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

/// The bytes of hosts in lower case; 0 for all others.
static LOWER: [u8; 256] = {
    let mut lower = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_host_byte(byte as u8) || byte as u8 == b'.' {
            lower[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    lower
};

/// Whether a label may hold this byte. `_` is in no DNS host name by the book, but in many by use.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether this is what may follow the colon; RFC 3986 allows nothing at all.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 5 && text.parse::<u16>().is_ok())
}

fn refuse_url(text: &str) -> Result<(), HostError> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.len() == text.len() { Ok(()) } else { Err(HostError::Url(host.to_owned())) }
}

fn parse_ipv6(text: &str) -> Result<Host, HostError> {
    let inner = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => address,
            Some((address, port)) if port.starts_with(':') => return Err(HostError::Port(format!("[{address}]"))),
            _ => return Err(HostError::Address(text.to_owned())),
        },
        None => text,
    };
    let address: Ipv6Addr = inner.parse().map_err(|_| HostError::Address(text.to_owned()))?;
    Ok(Host(address.to_string().into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(raw: &str) -> Option<String> {
        normalize(raw, &mut [0; 256]).map(str::to_owned)
    }

    #[test]
    fn spellings_of_one_host_are_one_host() {
        for (text, host) in [
            ("shop.example.com", "shop.example.com"),
            ("SHOP.Example.COM.", "shop.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER。example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("2--shop.fn.example.com", "2--shop.fn.example.com"),
            ("my_shop.internal", "my_shop.internal"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().as_str(), host, "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, message) in [
            ("", "a host is empty; write a name such as `shop.example.com`"),
            (".", "a host is empty; write a name such as `shop.example.com`"),
            ("shop.example.com:80", "a host has no port: write `shop.example.com`; the ports are those of `listeners`"),
            ("*.example.com:80", "a host has no port: write `*.example.com`; the ports are those of `listeners`"),
            ("[::1]:80", "a host has no port: write `[::1]`; the ports are those of `listeners`"),
            ("https://a.example/x", "a host is only the name: write `a.example`, without scheme or path"),
            ("*", "`*` stands only for the whole first label of a domain, as in `*.example.com`"),
            ("a.*.example", "`*` stands only for the whole first label of a domain, as in `*.example.com`"),
            ("*.10.0.0.1", "`*` stands only for the whole first label of a domain, as in `*.example.com`"),
            ("*.[::1]", "`*` stands only for the whole first label of a domain, as in `*.example.com`"),
            ("[::1", "`[::1` is no IPv6 address"),
            ("1:2:3", "`1:2:3` is no IPv6 address"),
            ("a..b", "a host is labels of 1 to 63 characters between dots, 253 in all; `a..b` is not"),
            ("a b", "a host is letters, digits, `-`, `_` and dots (or a valid international name); `a b` is not"),
        ] {
            assert_eq!(text.parse::<HostPattern>().unwrap_err().to_string(), message, "{text}");
        }
        assert!(matches!("a".repeat(64).parse::<Host>(), Err(HostError::Length(_))));
        assert!(matches!(["a"; 128].join(".").parse::<Host>(), Err(HostError::Length(_))));
        assert!(["a"; 127].join(".").parse::<Host>().is_ok());
    }

    #[test]
    fn patterns_print_as_they_are_read() {
        for text in ["shop.example.com", "*.example.com", "::1"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn hosts_of_requests() {
        for (raw, host) in [
            ("Shop.Example.com", Some("shop.example.com")),
            ("shop.example.com:8080", Some("shop.example.com")),
            ("shop.example.com.:8080", Some("shop.example.com")),
            ("shop.example.com:", Some("shop.example.com")),
            ("[::1]:80", Some("::1")),
            ("[0:0:0:0:0:0:0:1]", Some("::1")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("", None),
            (".", None),
            (":80", None),
            ("a..b", None),
            (".a", None),
            ("a..", None),
            ("a:b", None),
            ("a:123456", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("a b", None),
            ("a/b", None),
            ("user@a", None),
            ("a%41", None),
            ("bücher.example", None),
        ] {
            assert_eq!(normal(raw).as_deref(), host, "{raw}");
        }
        assert_eq!(normal(&["a"; 128].join(".")), None);
        assert!(normal(&["a"; 127].join(".")).is_some());
    }

    proptest! {
        /// A request for a configured host finds it, in any case, with a port or a dot.
        #[test]
        fn what_is_configured_is_found(text in "[a-zA-Z0-9_-]{1,20}(\\.[a-zA-Z0-9ü-]{1,20}){0,4}", port in any::<u16>()) {
            if let Ok(host) = text.parse::<Host>() {
                let sent = host.as_str().to_ascii_uppercase();
                prop_assert_eq!(normal(&sent), Some(host.to_string()));
                prop_assert_eq!(normal(&format!("{sent}.:{port}")), Some(host.to_string()));
                prop_assert_eq!(host.to_string().parse::<Host>(), Ok(host));
            }
        }

        /// No text panics, and what comes out is a fixed point.
        #[test]
        fn any_text_is_safe(text in "\\PC{0,300}|[a-zA-Z0-9.:\\[\\]*_-]{0,300}") {
            let _ = text.parse::<HostPattern>();
            if let Some(host) = normal(&text) {
                let again = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                prop_assert_eq!(normal(&again), Some(host));
            }
        }
    }
}
