//! Who the client is, and what endpoints are told about it.
//!
//! A peer is believed only when it is in `trusted_proxies`. The client is the right-most address of `X-Forwarded-For`
//! that is not itself a trusted proxy (the rule of MDN's `X-Forwarded-For` page, "Selecting an IP address", and of RFC
//! 7239 section 8.1): everything left of it may have been invented by the client.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::FieldName::Own;
use super::context::RequestContext;
use super::{Edits, Fields, Text};

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The other end of the socket (or what the PROXY protocol said it is); IPv4-mapped addresses as IPv4.
    pub peer: IpAddr,
    /// The client as far as the trusted proxies tell; `peer` when there is none.
    pub client: IpAddr,
    /// Whether `peer` is a trusted proxy.
    pub trusted: bool,
}

impl Origin {
    /// The origin of a request with these header fields. An entry that is no address stops the walk: then the last
    /// good address is the client. When every entry is trusted, the left-most one is.
    pub fn of<F: Fields + ?Sized>(peer: IpAddr, trusted_proxies: &[IpNet], fields: &F) -> Self {
        let is_trusted = |address: &IpAddr| trusted_proxies.iter().any(|net| net.contains(address));
        let peer = peer.to_canonical();
        if !is_trusted(&peer) {
            return Self { peer, client: peer, trusted: false };
        }
        let lines: SmallVec<[&[u8]; 4]> = values(fields, "x-forwarded-for").collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b','));
        let mut client = peer;
        for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            let Some(address) = address(entry) else { break };
            client = address;
            if !is_trusted(&address) {
                break;
            }
        }
        Self { peer, client, trusted: true }
    }
}

/// Tells the endpoint about the client: `X-Forwarded-*`, `X-Real-IP`, `Forwarded`. The client's own copies must have
/// been removed when the peer is not trusted (see [`headers`](super::headers)).
pub(super) fn forward<'a, F: Fields + ?Sized>(edits: &mut Edits<'a>, request: &RequestContext<'a>, fields: &'a F) {
    let origin = request.origin;
    // Fields of a peer that is not trusted are not looked at.
    let believed = if origin.trusted { usize::MAX } else { 0 };
    let told = |name: &'static str| values(fields, name).take(believed);
    let peer = text_of(origin.peer);
    edits.set_written("x-forwarded-for", |text| {
        chain(text, told("x-forwarded-for"));
        text.bytes(&peer.0);
    });
    edits.set_written("x-real-ip", |text| {
        match origin.client == origin.peer {
            true => text.bytes(&peer.0),
            false => text.display(origin.client),
        };
    });
    let told_proto = told_proto(&origin, fields);
    let proto = told_proto.unwrap_or(if request.tls { b"https" } else { b"http" });
    edits.set(Own("x-forwarded-proto"), proto);
    edits.set(Own("x-forwarded-host"), only(told("x-forwarded-host")).unwrap_or(request.host.as_bytes()));
    match only(told("x-forwarded-port")).filter(|port| port_number(port).is_some()) {
        Some(port) => edits.set(Own("x-forwarded-port"), port),
        // The proxy in front speaks another scheme with the client than with us, so our port is not the client's.
        None if told_proto.is_some() => edits.set(Own("x-forwarded-port"), outer_port(request.host, proto)),
        None => edits.set_written("x-forwarded-port", |text| {
            text.bytes(itoa::Buffer::new().format(request.port).as_bytes());
        }),
    }
    let outer = only(told("x-forwarded-prefix")).filter(|prefix| prefix.starts_with(b"/"));
    if outer.is_some() || !request.stage_prefix.is_empty() {
        edits.set_written("x-forwarded-prefix", |text| {
            let outer = outer.unwrap_or_default();
            text.bytes(outer.strip_suffix(b"/").unwrap_or(outer)).bytes(request.stage_prefix.as_bytes());
        });
    } else if origin.trusted {
        edits.remove("x-forwarded-prefix");
    }
    edits.set_written("forwarded", |text| {
        if told("forwarded").all(is_whole) {
            chain(text, told("forwarded"));
        }
        element(text, request, &peer.0);
    });
}

/// True if a trusted proxy says that the client came to it by https.
pub fn is_told_https<F: Fields + ?Sized>(origin: &Origin, fields: &F) -> bool {
    told_proto(origin, fields) == Some(b"https")
}

/// The scheme by which a trusted proxy says that the client came to it, in lower case: `X-Forwarded-Proto`, else
/// `Forwarded`.
fn told_proto<F: Fields + ?Sized>(origin: &Origin, fields: &F) -> Option<&'static [u8]> {
    if !origin.trusted {
        return None;
    }
    let scheme = |text: &[u8]| [&b"http"[..], b"https"].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme));
    only(values(fields, "x-forwarded-proto")).and_then(scheme).or_else(|| {
        // The last element is what the proxy in front of us wrote.
        let line = values(fields, "forwarded").last().filter(|line| is_whole(line))?;
        let element = unquoted_split(line, b',').last()?;
        let proto = unquoted_split(element, b';').find_map(|pair| {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            name.eq_ignore_ascii_case(b"proto").then_some(value)
        })?;
        scheme(proto.strip_prefix(b"\"").and_then(|proto| proto.strip_suffix(b"\"")).unwrap_or(proto))
    })
}

/// The parts of a `Forwarded` between separators that are in no quotes.
fn unquoted_split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quotes = Quotes::default();
    value.split(move |&byte| !quotes.hold(byte) && byte == separator)
}

/// The values of all fields with this name, in order.
pub(super) fn values<'f, F: Fields + ?Sized>(fields: &'f F, name: &str) -> impl Iterator<Item = &'f [u8]> {
    fields.fields().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The value of a field that occurs exactly once and is not empty. Two are as good as none: nobody can say which one
/// the endpoint would read.
pub(super) fn only<'f>(mut values: impl Iterator<Item = &'f [u8]>) -> Option<&'f [u8]> {
    match (values.next().map(<[u8]>::trim_ascii), values.next()) {
        (Some(value), None) if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// Earlier entries, each followed by `, `.
fn chain<'f>(text: &mut Text, values: impl Iterator<Item = &'f [u8]>) {
    for value in values.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty()) {
        text.bytes(value).bytes(b", ");
    }
}

/// The address as it is written, once for all fields that name it.
fn text_of(address: IpAddr) -> Text {
    let mut text = Text::default();
    text.display(address);
    text
}

/// Our element of `Forwarded`: `for`, `host`, `proto` (RFC 7239 section 4; quoting of IPv6 and ports: section 6).
fn element(text: &mut Text, request: &RequestContext<'_>, peer: &[u8]) {
    match request.origin.peer {
        IpAddr::V4(_) => text.bytes(b"for=").bytes(peer),
        IpAddr::V6(_) => text.bytes(b"for=\"[").bytes(peer).bytes(b"]\""),
    };
    if !request.host.is_empty() {
        text.bytes(b";host=");
        if request.host.bytes().all(is_token) {
            text.bytes(request.host.as_bytes());
        } else {
            text.bytes(b"\"");
            for byte in request.host.bytes() {
                text.bytes(if matches!(byte, b'"' | b'\\') { b"\\" } else { b"" }).bytes(&[byte]);
            }
            text.bytes(b"\"");
        }
    }
    text.bytes(if request.tls { b";proto=https" } else { b";proto=http" });
}

/// Whether quotes are closed, so that what is appended cannot end up inside a quoted string.
fn is_whole(value: &[u8]) -> bool {
    let mut quotes = Quotes::default();
    value.iter().for_each(|&byte| {
        quotes.hold(byte);
    });
    !quotes.open
}

/// Reads a value byte by byte, and knows which bytes are within a quoted string (RFC 9110, 5.6.4).
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Takes the next byte; whether it is within quotes, or a quote.
    fn hold(&mut self, byte: u8) -> bool {
        let was_open = self.open;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.open => self.escaped = true,
            b'"' => self.open = !self.open,
            _ => {}
        }
        was_open || self.open
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; IPv4-mapped as IPv4.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let address = match bare {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => text.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip())).ok()?,
    };
    Some(address.to_canonical())
}

/// The port that a client of the proxy in front used: the one in `Host`, else the scheme's.
fn outer_port<'a>(host: &'a str, proto: &[u8]) -> &'a [u8] {
    match host.rsplit_once(':') {
        Some((_, port)) if port_number(port.as_bytes()).is_some() => port.as_bytes(),
        _ if proto == b"https" => b"443",
        _ => b"80",
    }
}

fn port_number(port: &[u8]) -> Option<u16> {
    let text = str::from_utf8(port).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok().filter(|port| *port != 0)
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: &[&str] = &["10.0.0.0/8", "fd00::/8"];

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted: Vec<IpNet> = PROXIES.iter().map(|net| net.parse().unwrap()).collect();
        let fields: Vec<(&str, &[u8])> = lines.iter().map(|line| ("X-Forwarded-For", line.as_bytes())).collect();
        Origin::of(peer.parse().unwrap(), &trusted, &fields[..]).client.to_string()
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_not_trusted() {
        for (peer, lines, expected) in [
            ("203.0.113.9", &["1.2.3.4"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["9.9.9.9, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
            ("10.0.0.1", &["1.2.3.4", "10.0.0.2"], "1.2.3.4"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["1.2.3.4, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.2.3.4, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4, , 10.0.0.2,"], "1.2.3.4"),
            ("10.0.0.1", &["1.2.3.4:5678"], "1.2.3.4"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1"], "10.0.0.1"),
            ("10.0.0.1", &["::ffff:10.0.0.7"], "10.0.0.7"),
            ("::ffff:10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("fd00::1", &["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["\"1.2.3.4\""], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn invalid_utf8_stops_the_walk() {
        let fields: [(&str, &[u8]); 1] = [("x-forwarded-for", b"1.2.3.4, \xff, 10.0.0.2")];
        let origin = Origin::of("10.0.0.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()], &fields[..]);
        assert_eq!(origin.client, "10.0.0.2".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn quotes_that_do_not_close_are_seen() {
        for whole in ["", "for=1.2.3.4", "for=\"[::1]:80\"", r#"for="a\"b""#, r#"for="a\\""#] {
            assert!(is_whole(whole.as_bytes()), "{whole}");
        }
        for open in ["for=\"", "for=\"a\\\"", "\"\"\""] {
            assert!(!is_whole(open.as_bytes()), "{open}");
        }
    }

    fn is_https(peer: &str, fields: &[(&str, &str)]) -> bool {
        let trusted: Vec<IpNet> = PROXIES.iter().map(|net| net.parse().unwrap()).collect();
        let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        is_told_https(&Origin::of(peer.parse().unwrap(), &trusted, &fields[..]), &fields[..])
    }

    #[test]
    fn trusted_proxies_say_whether_the_client_spoke_https() {
        for (fields, expected) in [
            (&[("x-forwarded-proto", "https")][..], true),
            (&[("X-Forwarded-Proto", " HTTPS ")], true),
            (&[("x-forwarded-proto", "http")], false),
            (&[("x-forwarded-proto", "httpsx")], false),
            (&[("x-forwarded-proto", "http"), ("forwarded", "proto=https")], false),
            (&[("x-forwarded-proto", "ws"), ("forwarded", "proto=https")], true),
            (&[("forwarded", "for=192.0.2.1;proto=https;host=a")], true),
            (&[("Forwarded", "For=192.0.2.1; Proto=\"HTTPS\"")], true),
            (&[("forwarded", "proto=https, for=192.0.2.1;proto=http")], false),
            (&[("forwarded", "proto=http,for=192.0.2.1;proto=https")], true),
            (&[("forwarded", "proto=https"), ("forwarded", "proto=http")], false),
            (&[("forwarded", "for=192.0.2.1;host=\"a;proto=https\"")], false),
            (&[("forwarded", "for=192.0.2.1;host=\"a\\\", proto=https\"")], false),
            (&[("forwarded", "for=192.0.2.1;host=\"a;proto=https")], false),
            (&[("forwarded", "for=192.0.2.1, proto=https")], true),
            (&[("forwarded", "protocol=https")], false),
            (&[], false),
        ] {
            assert_eq!(is_https("10.0.0.1", fields), expected, "{fields:?}");
            assert!(!is_https("203.0.113.9", fields), "{fields:?} of anybody");
        }
    }

    #[test]
    fn the_outer_port_is_the_one_in_host_or_the_schemes() {
        for (host, proto, port) in [
            ("a.example", "http", "80"),
            ("a.example", "https", "443"),
            ("a.example:8443", "https", "8443"),
            ("[::1]", "http", "80"),
            ("[::1]:81", "http", "81"),
            ("a.example:99999", "http", "80"),
            ("a.example:+1", "http", "80"),
        ] {
            assert_eq!(outer_port(host, proto.as_bytes()), port.as_bytes(), "{host}");
        }
    }
}
