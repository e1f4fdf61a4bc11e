//! The head of a request, borrowed from whoever read it: all that routing looks at. Looking allocates nothing.

use std::io::Write;
use std::net::IpAddr;

/// The fields of a request.
pub trait Headers {
    /// The values of the fields with this lower-case name, in the order they came.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;

    /// The first of them.
    fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

impl Headers for http::HeaderMap {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).into_iter().map(http::HeaderValue::as_bytes)
    }
}

/// Pairs of name, in any case, and value.
impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| n.as_ref().eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}

/// A request as it came in.
#[derive(Debug)]
pub struct RequestHead<'a, H: ?Sized> {
    /// Case as it came.
    pub method: &'a str,
    /// `Host` or `:authority`, as it came: any case, perhaps with a port; empty if there was none.
    pub host: &'a str,
    /// Still percent-encoded, without query.
    pub path: &'a str,
    /// What follows the first `?`.
    pub query: Option<&'a str>,
    /// The fields.
    pub headers: &'a H,
    /// The trusted address of the client.
    pub client: IpAddr,
}

impl<H: ?Sized> Clone for RequestHead<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: ?Sized> Copy for RequestHead<'_, H> {}

impl<'a, H: Headers + ?Sized> RequestHead<'a, H> {
    /// The value of a cookie, without enclosing quotes; the first of the name counts. Cookies may be spread over fields,
    /// as HTTP/2 clients do.
    #[must_use]
    pub fn cookie(&self, name: &'a str) -> Option<&'a [u8]> {
        let fields = self.headers.all("cookie");
        fields.flat_map(|field| field.split(|&b| b == b';')).find_map(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
        })
    }

    /// The value of a query parameter, still encoded; the first of the name counts. Names are compared decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.query?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Decode(key.as_bytes()).eq(name.bytes()).then_some(value)
        })
    }
}

/// Room for a decoded value. Values over 512 bytes, and only those, take memory from the heap.
pub(crate) struct Scratch {
    stack: [u8; 512],
    heap: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { stack: [0; 512], heap: Vec::new() }
    }

    /// The bytes of a form-encoded text: `%41` is `A`, `+` is a space, a `%` that starts no encoding is itself.
    pub(crate) fn decode<'b>(&'b mut self, text: &'b str) -> &'b [u8] {
        if !text.contains(['%', '+']) {
            return text.as_bytes();
        }
        if text.len() > self.stack.len() {
            self.heap = Decode(text.as_bytes()).collect();
            return &self.heap;
        }
        let mut length = 0;
        for (to, byte) in self.stack.iter_mut().zip(Decode(text.as_bytes())) {
            *to = byte;
            length += 1;
        }
        &self.stack[..length]
    }

    /// The usual text of an address; an IPv4 address mapped into IPv6 is written as IPv4.
    pub(crate) fn address(&mut self, address: IpAddr) -> &[u8] {
        let mut free = &mut self.stack[..];
        write!(free, "{}", address.to_canonical()).expect("an address is at most 39 characters long");
        let length = 512 - free.len();
        &self.stack[..length]
    }
}

/// The bytes of a form-encoded text.
struct Decode<'a>(&'a [u8]);

impl Iterator for Decode<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let hex = |at: usize| self.0.get(at).and_then(|&b| char::from(b).to_digit(16));
        let (byte, length) = match (*self.0.first()?, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
            (b'+', ..) => (b' ', 1),
            (byte, ..) => (byte, 1),
        };
        self.0 = &self.0[length..];
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(query: Option<&'a str>, headers: &'a [(&'a str, &'a str)]) -> RequestHead<'a, [(&'a str, &'a str)]> {
        let client = IpAddr::from([10, 0, 0, 1]);
        RequestHead { method: "GET", host: "a", path: "/", query, headers, client }
    }

    #[test]
    fn cookies_are_found_over_several_fields() {
        let headers = [("Cookie", "a=1; uid=\"x=y\";b="), ("cookie", "uid=2;c=3 ; uidx=4")];
        let head = head(None, &headers);
        let found = |name| head.cookie(name).map(|v| std::str::from_utf8(v).unwrap());
        assert_eq!(
            ["a", "uid", "b", "c", "uidx", "u", "A", ""].map(found),
            [Some("1"), Some("x=y"), Some(""), Some("3"), Some("4"), None, None, None]
        );
    }

    #[test]
    fn parameters_are_found_decoded() {
        let head = head(Some("a=1&b%20c=2%2F+x&a=3&flag&=5&d=%zz%4"), &[]);
        let mut scratch = Scratch::new();
        let mut found = |name| head.parameter(name).map(|v| std::str::from_utf8(scratch.decode(v)).unwrap().to_owned());
        let expected = [("a", Some("1")), ("b c", Some("2/ x")), ("flag", Some("")), ("", Some("5")), ("c", None)];
        for (name, value) in expected {
            assert_eq!(found(name).as_deref(), value, "{name}");
        }
        assert_eq!(found("d").as_deref(), Some("%zz%4"));
        let long = "%41".repeat(1000);
        assert_eq!(scratch.decode(&long), "A".repeat(1000).as_bytes());
    }

    #[test]
    fn addresses_have_one_text() {
        let mut scratch = Scratch::new();
        for (address, text) in [("::ffff:10.0.0.1", "10.0.0.1"), ("2001:DB8:0::1", "2001:db8::1"), ("::1", "::1")] {
            assert_eq!(scratch.address(address.parse().unwrap()), text.as_bytes());
        }
    }
}
