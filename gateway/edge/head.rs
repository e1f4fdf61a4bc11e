//! The request head of HTTP/1, looked at while it arrives: where it ends, how its body is framed, and everything that two
//! readers could read in two ways. Pure; the bytes themselves are parsed again by whoever serves the request.
//!
//! Sources: RFC 9112 sections 2.2 (line ends), 3 (request line), 5 (fields), 6 (framing), and the list of what pingora 0.9.1
//! lets pass: bare LF, no `Host`, `Transfer-Encoding` beside `Content-Length`, repeated `Content-Length`, `chunked, chunked`.

use std::ops::Range;

use config::model::Limits;
use config::value::target::RequestTarget;

use crate::policy::refusal::Refusal;

/// A whole head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes from the start of the buffer to the end of the empty line.
    pub len: usize,
    /// What follows it.
    pub body: Body,
    /// The method, in the buffer.
    pub method: Range<usize>,
    /// The request target, in the buffer.
    pub target: Range<usize>,
    /// The value of `Host`, in the buffer; `None` where HTTP/1.0 has none.
    pub host: Option<Range<usize>>,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; 0 is no body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A head that is still arriving.
#[derive(Debug, Default)]
pub struct Scan {
    /// Start of the line that is not complete yet.
    line: usize,
    /// Bytes in which no line end is left to be found.
    searched: usize,
    request_line: Option<RequestLine>,
    fields: usize,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
}

/// The first line of a head, without its line end.
#[derive(Debug)]
struct RequestLine {
    version: Version,
    method: Range<usize>,
    target: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// Longest method, with its space: what a request line may hold besides the target.
const METHOD_BYTES: usize = 32;

impl Scan {
    /// Looks at what is there. `bytes` starts with the head and only grows between calls.
    ///
    /// # Errors
    /// The first thing that is over a bound or not HTTP/1.
    pub fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Head>, Refusal> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            let start = std::mem::replace(&mut self.line, end + 1);
            self.searched = end + 1;
            if self.line > limits.head_bytes {
                return Err(self.too_large(end - start, limits));
            }
            if self.take_line(start, &bytes[start..end], limits)? {
                return self.finish(bytes).map(Some);
            }
        }
        self.searched = bytes.len();
        let partial = bytes.len() - self.line;
        if self.request_line.is_none() && partial > limits.target_bytes + METHOD_BYTES {
            return Err(Refusal::TargetTooLong);
        }
        if bytes.len() >= limits.head_bytes { Err(self.too_large(partial, limits)) } else { Ok(None) }
    }

    fn too_large(&self, line: usize, limits: &Limits) -> Refusal {
        if self.request_line.is_none() && line > limits.target_bytes {
            Refusal::TargetTooLong
        } else {
            Refusal::HeadTooLarge
        }
    }

    /// Takes the line from `start` on, without its LF; true at the empty line that ends the head.
    fn take_line(&mut self, start: usize, line: &[u8], limits: &Limits) -> Result<bool, Refusal> {
        let Some((b'\r', line)) = line.split_last() else { return Err(Refusal::MalformedHead) };
        if has_control(line) {
            return Err(Refusal::MalformedHead);
        }
        if self.request_line.is_none() {
            // One empty line before the request is forgiven (RFC 9112, 2.2).
            if line.is_empty() {
                return if self.line == 2 { Ok(false) } else { Err(Refusal::MalformedHead) };
            }
            self.request_line = Some(RequestLine::parse(start, line, limits)?);
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.fields += 1;
        if self.fields > limits.headers {
            return Err(Refusal::TooManyFields);
        }
        self.field(start, line)?;
        Ok(false)
    }

    fn field(&mut self, start: usize, line: &[u8]) -> Result<(), Refusal> {
        let colon = memchr::memchr(b':', line).ok_or(Refusal::MalformedHead)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // A folded line or a space before the colon is no token.
        if !is_token(name) {
            return Err(Refusal::MalformedHead);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let from = start + colon + 1 + leading_blanks(&line[colon + 1..]);
                let before = self.host.replace(from..from + value.len());
                before.map_or(Ok(()), |_| Err(Refusal::MalformedHead))?;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let before = self.length.replace(decimal(value).ok_or(Refusal::MalformedHead)?);
                before.map_or(Ok(()), |_| Err(Refusal::MalformedHead))?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let once = !std::mem::replace(&mut self.chunked, true);
                (once && value.eq_ignore_ascii_case(b"chunked")).then_some(()).ok_or(Refusal::MalformedHead)?;
            }
            10 if name.eq_ignore_ascii_case(b"connection") && claims_end_to_end(value) => {
                return Err(Refusal::MalformedHead);
            }
            _ => {}
        }
        Ok(())
    }

    /// What holds for the head as a whole.
    fn finish(&mut self, bytes: &[u8]) -> Result<Head, Refusal> {
        let line = self.request_line.take().expect("the empty line that ends a head comes after the request line");
        let RequestLine { version, method, target } = line;
        if self.host.is_none() && version == Version::Http11 {
            return Err(Refusal::MissingHost);
        }
        if self.chunked && (self.length.is_some() || version == Version::Http10) {
            return Err(Refusal::MalformedHead);
        }
        if bytes[target.start] != b'/'
            && let Ok(RequestTarget::Absolute(absolute)) =
                RequestTarget::parse(&bytes[method.clone()], &bytes[target.clone()])
            && let Some(host) = &self.host
            && !absolute.agrees_with(&bytes[host.clone()])
        {
            return Err(Refusal::ContradictoryHost);
        }
        let body = if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) };
        Ok(Head { len: self.line, body, method, target, host: self.host.take() })
    }
}

impl RequestLine {
    /// Reads the line, which begins at `start` of the buffer.
    fn parse(start: usize, line: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let first = memchr::memchr(b' ', line).ok_or(Refusal::MalformedHead)?;
        let last = memchr::memrchr(b' ', line).ok_or(Refusal::MalformedHead)?;
        let method = &line[..first];
        let Some(target) = line.get(first + 1..last) else { return Err(Refusal::MalformedHead) };
        if target.len() > limits.target_bytes {
            return Err(Refusal::TargetTooLong);
        }
        let version = match &line[last + 1..] {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            _ => return Err(Refusal::MalformedHead),
        };
        let blank = |&byte: &u8| byte == b' ' || byte == b'\t';
        if !is_token(method) || method.len() >= METHOD_BYTES || target.is_empty() || target.iter().any(blank) {
            return Err(Refusal::MalformedHead);
        }
        if method == b"CONNECT" {
            return Err(Refusal::Connect);
        }
        RequestTarget::parse(method, target).map_err(|_| Refusal::MalformedTarget)?;
        Ok(Self { version, method: start..start + first, target: start + first + 1..start + last })
    }
}

/// A head in absolute-form turned into origin-form (RFC 9112, section 3.2.1), with `Host` added where HTTP/1.0 left it
/// out; `None` for a head that is in origin-form already. `bytes` is the buffer that `head` was found in.
#[must_use]
pub fn to_origin_form(bytes: &[u8], head: &Head) -> Option<(Vec<u8>, Head)> {
    let (method, target) = (&bytes[head.method.clone()], &bytes[head.target.clone()]);
    if target.first() == Some(&b'/') {
        return None;
    }
    let Ok(RequestTarget::Absolute(absolute)) = RequestTarget::parse(method, target) else { return None };
    let target = absolute.to_origin_form(method);
    let line_end = head.target.end + b" HTTP/1.1\r\n".len();
    let added = if head.host.is_none() { format!("host: {}\r\n", absolute.authority) } else { String::new() };
    let line = [&bytes[..head.target.start], target.as_bytes(), &bytes[head.target.end..line_end]].concat();
    let rewritten = [&line, added.as_bytes(), &bytes[line_end..head.len]].concat();
    let host = match &head.host {
        Some(host) => host.start - line_end + line.len()..host.end - line_end + line.len(),
        None => line.len() + b"host: ".len()..line.len() + added.len() - b"\r\n".len(),
    };
    let head = Head {
        len: rewritten.len(),
        body: head.body,
        method: head.method.clone(),
        target: head.target.start..head.target.start + target.len(),
        host: Some(host),
    };
    Some((rewritten, head))
}

/// Fields that are the message's own, or that the gateway writes for endpoints. A client that nominates one would have it taken
/// out on the way: the endpoint would get another message than the one that the client sent.
const END_TO_END: [&[u8]; 18] = [
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"if-match",
    b"if-none-match",
    b"range",
    b"transfer-encoding",
    b"via",
    b"x-real-ip",
    b"x-request-id",
    b"proxy-authorization",
];
const END_TO_END_FAMILIES: [&[u8]; 2] = [b"x-forwarded-", b"x-weir-"];

/// True if a `Connection` field nominates what is no field of the connection alone, or what is no name of a field.
fn claims_end_to_end(value: &[u8]) -> bool {
    if value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close") {
        return false;
    }
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()).any(|name| {
        let in_family =
            |family: &&[u8]| name.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family));
        !is_token(name)
            || END_TO_END.iter().any(|own| name.eq_ignore_ascii_case(own))
            || END_TO_END_FAMILIES.iter().any(in_family)
    })
}

/// Bytes before the value of a field.
fn leading_blanks(value: &[u8]) -> usize {
    value.len() - value.trim_ascii_start().len()
}

/// True if there is a control character other than a tab. Without an early exit, so that it runs many bytes at a time.
#[must_use]
pub fn has_control(line: &[u8]) -> bool {
    line.iter().fold(false, |bad, &byte| bad | (byte < b' ' && byte != b'\t') | (byte == 0x7f))
}

/// True for a byte that may stand in a token, such as the name of a field.
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// True for a token, such as the name of a field (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte))
}

/// Reads a length: digits only, no sign, no list, no overflow.
#[must_use]
pub fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// `tchar` of RFC 9110, section 5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &[u8]) -> Result<Option<Head>, Refusal> {
        Scan::default().advance(text, &Limits::default())
    }

    /// The length of the head, and the framing of the body behind it.
    fn framing(scanned: Result<Option<Head>, Refusal>) -> Result<Option<(usize, Body)>, Refusal> {
        scanned.map(|head| head.map(|head| (head.len, head.body)))
    }

    /// The answer when the bytes come one at a time; it must be the same.
    fn scan_slowly(text: &[u8], limits: &Limits) -> Result<Option<Head>, Refusal> {
        let mut scan = Scan::default();
        for end in 0..=text.len() {
            match scan.advance(&text[..end], limits) {
                Ok(None) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    #[test]
    fn heads_that_are_taken() {
        let table: [(&str, Body); 10] = [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", Body::Length(0)),
            ("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Body::Length(0)),
            ("GET / HTTP/1.0\r\n\r\n", Body::Length(0)),
            ("GET /\u{e9}?a=b HTTP/1.1\r\nHost:\r\n\r\n", Body::Length(0)),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n", Body::Length(12)),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tCHUNKED \r\n\r\n", Body::Chunked),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", Body::Length(0)),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\ncontent-length: 3\r\n\r\n", Body::Length(3)),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\ncontent-length: 0\r\n\r\n", Body::Length(0)),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\nx-tab: a\tb\r\n\r\n", Body::Length(0)),
        ];
        for (text, body) in table {
            let expected = Ok(Some((text.len(), body)));
            assert_eq!(framing(scan(text.as_bytes())), expected, "{text:?}");
            let with_more = format!("{text}more\n\n");
            assert_eq!(framing(scan(with_more.as_bytes())), expected, "{text:?}");
            assert_eq!(scan_slowly(text.as_bytes(), &Limits::default()), scan(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn only_fields_of_the_connection_may_be_nominated() {
        for (value, taken) in [
            ("keep-alive", true),
            ("close, X-Private , te", true),
            (" , ,", true),
            ("upgrade, http2-settings", true),
            ("Host", false),
            ("x-a, AUTHORIZATION", false),
            ("x-forwarded-for", false),
            ("X-Weir-Version", false),
            ("x a", false),
            ("x-forwarded", true),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n");
            assert_eq!(scan(text.as_bytes()).is_ok(), taken, "{value}");
        }
    }

    #[test]
    fn method_target_and_host_are_found() {
        for (text, method, target, host) in [
            ("GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n", "GET", "/a?b", Some("a")),
            ("\r\nPUT http://a/b HTTP/1.1\r\nx: y\r\nHost:\t a \r\n\r\n", "PUT", "http://a/b", Some("a")),
            ("OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS", "*", None),
            ("GET / HTTP/1.1\r\nhost:\r\n\r\n", "GET", "/", Some("")),
        ] {
            let head = scan(text.as_bytes()).unwrap().unwrap();
            assert_eq!((&text[head.method], &text[head.target]), (method, target), "{text:?}");
            assert_eq!(head.host.map(|host| &text[host]), host, "{text:?}");
        }
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        for (text, expected) in [
            ("GET /a HTTP/1.1\r\nhost: a\r\n\r\n", None),
            ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", None),
            (
                "GET http://A/b?c HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\nbody",
                Some("GET /b?c HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n"),
            ),
            ("GET https://a?c HTTP/1.0\r\n\r\n", Some("GET /?c HTTP/1.0\r\nhost: a\r\n\r\n")),
            ("OPTIONS http://a HTTP/1.1\r\nhost: a\r\n\r\n", Some("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n")),
        ] {
            let head = scan(text.as_bytes()).unwrap().unwrap();
            let rewritten = to_origin_form(text.as_bytes(), &head);
            assert_eq!(rewritten.as_ref().map(|(bytes, _)| &**bytes), expected.map(str::as_bytes), "{text:?}");
            if let Some((bytes, head)) = rewritten {
                assert_eq!(scan(&bytes), Ok(Some(head)), "{text:?}");
            }
        }
    }

    #[test]
    fn heads_that_are_refused() {
        use Refusal::{Connect, ContradictoryHost, MalformedHead, MalformedTarget, MissingHost};
        let table: [(&[u8], Refusal); 31] = [
            (b"GET admin/x HTTP/1.1\r\nhost: a\r\n\r\n", MalformedTarget),
            (b"GET a:80 HTTP/1.1\r\nhost: a\r\n\r\n", MalformedTarget),
            (b"GET * HTTP/1.1\r\nhost: a\r\n\r\n", MalformedTarget),
            (b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", MalformedTarget),
            (b"GET /a\xff HTTP/1.1\r\nhost: a\r\n\r\n", MalformedTarget),
            (b"GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", ContradictoryHost),
            (b"GET / HTTP/1.1\nhost: a\r\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost: a\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost: a\r\n\n", MalformedHead),
            (b"GET / HTTP/1.1\r\n\r\n", MissingHost),
            (b"GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n", MalformedHead),
            (b"GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", MalformedHead),
            (b"GET / a HTTP/1.1\r\nhost: a\r\n\r\n", MalformedHead),
            (b"GET  HTTP/1.1\r\nhost: a\r\n\r\n", MalformedHead),
            (b"GET /\r\nhost: a\r\n\r\n", MalformedHead),
            (b"G(T / HTTP/1.1\r\nhost: a\r\n\r\n", MalformedHead),
            (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", MalformedHead),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n", MalformedHead),
            (b"GET / HTTP/1.1\r\nhost: a\r\nnothing\r\n\r\n", MalformedHead),
            (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", MalformedHead),
            (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\n", MalformedHead),
            (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", MalformedHead),
            (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n", MalformedHead),
            (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", MalformedHead),
            (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", Connect),
            (b"\r\n\r\nGET / HTTP/1.0\r\n\r\n", MalformedHead),
        ];
        for (text, refusal) in table {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(scan(text), Err(refusal), "{shown:?}");
            assert_eq!(scan_slowly(text, &Limits::default()), Err(refusal), "{shown:?}");
        }
    }

    #[test]
    fn bounds() {
        let limits = Limits { head_bytes: 200, headers: 3, target_bytes: 50, ..Limits::default() };
        let with = |target: usize, fields: usize, value: usize| {
            let mut text = format!("GET /{} HTTP/1.1\r\nhost: a\r\n", "x".repeat(target - 1));
            for _ in 0..fields {
                text.push_str("x: y\r\n");
            }
            text.push_str(&format!("long: {}\r\n\r\n", "z".repeat(value)));
            text
        };
        let ask = |text: &str| {
            let fast = Scan::default().advance(text.as_bytes(), &limits);
            assert_eq!(scan_slowly(text.as_bytes(), &limits), fast, "{text:?}");
            fast.map(|head| head.is_some())
        };
        assert_eq!(ask(&with(50, 0, 0)), Ok(true));
        assert_eq!(ask(&with(51, 0, 0)), Err(Refusal::TargetTooLong));
        assert_eq!(ask(&with(5000, 0, 0)), Err(Refusal::TargetTooLong));
        assert_eq!(ask(&with(1, 1, 0)), Ok(true));
        assert_eq!(ask(&with(1, 2, 0)), Err(Refusal::TooManyFields));
        let rest = 200 - with(1, 0, 0).len();
        assert_eq!(ask(&with(1, 0, rest)), Ok(true));
        assert_eq!(ask(&with(1, 0, rest + 1)), Err(Refusal::HeadTooLarge));
        assert_eq!(ask(&format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(300))), Err(Refusal::HeadTooLarge));
    }

    /// Where the end is and what comes after it, read the slow way.
    fn oracle(text: &[u8]) -> Option<(usize, Body)> {
        let end = text.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&text[..end]).ok()?;
        let mut body = Body::Length(0);
        for line in head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => body = Body::Length(value.trim().parse().ok()?),
                "transfer-encoding" => body = Body::Chunked,
                _ => {}
            }
        }
        Some((end, body))
    }

    proptest! {
        #[test]
        fn any_well_formed_head_ends_where_the_oracle_says(
            method in "[A-Z]{1,10}", target in "/[!$-;=@-_a-z|~]{0,60}",
            fields in prop::collection::vec(("x-[a-z]{1,12}", "[ -~\t]{0,40}"), 0..20),
            length in prop::option::of(0u64..100_000), tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assume!(method != "CONNECT");
            let mut text = format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n");
            for (name, value) in fields {
                text.push_str(&format!("{name}:{value}\r\n"));
            }
            if let Some(length) = length {
                text.push_str(&format!("Content-Length: {length}\r\n"));
            }
            let mut text = (text + "\r\n").into_bytes();
            text.extend(tail);
            let expected = oracle(&text);
            prop_assert!(expected.is_some());
            prop_assert_eq!(framing(scan(&text)), Ok(expected));
            prop_assert_eq!(scan_slowly(&text, &Limits::default()), scan(&text));
        }

        #[test]
        fn any_bytes_get_the_same_answer_however_they_come(text in prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..200)) {
            prop_assert_eq!(scan_slowly(&text, &Limits::default()), scan(&text));
        }
    }
}
