//! Heads of messages as they came, with a table of where their fields stand: nothing is put into a map, and most lines go on as
//! they are. Strict: a line that can be read in two ways is no line.
//!
//! Sources: RFC 9112 sections 2.2 (line ends), 4 (status line), 5 (fields). A request's head was read by the edge before; that of
//! an answer is read here alone.

use std::ops::Range;

use config::route::head::Headers;
use memchr::memmem;

use crate::edge::head::{Head, decimal, has_control, is_token};
use crate::policy::Fields;
use crate::policy::exchange::{HeadView, HttpVersion};

/// Fields that the head of an answer may have.
pub(super) const MOST_FIELDS: usize = 256;
/// Bytes that the head of an answer may have.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// The head is none, or can be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedLine;

/// The place of one field in a head.
#[derive(Debug, Clone, Copy)]
struct FieldPlace {
    /// Its name, in the names of the table.
    name: (u32, u32),
    /// The bytes of its line, with the line end.
    line: (u32, u32),
    /// The bytes of its value.
    value: (u32, u32),
}

/// The fields of a head, by place. Keeps its memory from head to head.
#[derive(Debug, Default)]
pub(super) struct FieldTable {
    places: Vec<FieldPlace>,
    /// All names in lower case, one behind the other.
    names: String,
}

/// One field of a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'h> {
    /// The name, in lower case.
    pub(super) name: &'h str,
    /// The value, without blanks around it.
    pub(super) value: &'h [u8],
    /// The bytes of the line in the head.
    pub(super) line: (usize, usize),
}

impl FieldTable {
    /// Reads the lines from `start` on; the place behind the empty one that ends them.
    pub(super) fn read(&mut self, bytes: &[u8], start: usize, most: usize) -> Result<usize, MalformedLine> {
        self.places.clear();
        self.names.clear();
        let mut at = start;
        loop {
            let lf = at + memchr::memchr(b'\n', &bytes[at..]).ok_or(MalformedLine)?;
            let Some((b'\r', line)) = bytes[at..lf].split_last() else { return Err(MalformedLine) };
            if line.is_empty() {
                return Ok(lf + 1);
            }
            let colon = memchr::memchr(b':', line).ok_or(MalformedLine)?;
            // A folded line, and a space before the colon, make the name no token.
            if self.places.len() == most || !is_token(&line[..colon]) || has_control(line) {
                return Err(MalformedLine);
            }
            let value = at + line.len() - line[colon + 1..].trim_ascii_start().len();
            let value = (value, value + line[colon + 1..].trim_ascii().len());
            let name = self.names.len();
            self.names.push_str(str::from_utf8(&line[..colon]).map_err(|_| MalformedLine)?);
            self.names[name..].make_ascii_lowercase();
            let name = (name, self.names.len());
            self.places.push(FieldPlace { name: short(name), line: short((at, lf + 1)), value: short(value) });
            at = lf + 1;
        }
    }
}

/// A place in a head. Heads are bounded far below 4 GiB.
fn short((from, to): (usize, usize)) -> (u32, u32) {
    (u32::try_from(from).unwrap_or(u32::MAX), u32::try_from(to).unwrap_or(u32::MAX))
}

fn range((from, to): (u32, u32)) -> Range<usize> {
    from as usize..to as usize
}

/// The fields of a head and the bytes that they stand in.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadFields<'h> {
    pub(super) bytes: &'h [u8],
    pub(super) table: &'h FieldTable,
}

impl<'h> HeadFields<'h> {
    /// Each field in the order received.
    pub(super) fn each(self) -> impl Iterator<Item = Field<'h>> {
        let Self { bytes, table } = self;
        table.places.iter().map(move |place| Field {
            name: &table.names[range(place.name)],
            value: &bytes[range(place.value)],
            line: (place.line.0 as usize, place.line.1 as usize),
        })
    }

    /// The values of all fields with this lower-case name.
    pub(super) fn values(self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.each().filter(move |field| field.name == name).map(|field| field.value)
    }

    /// True if a list of these fields names this option, in any case.
    pub(super) fn lists(self, name: &str, option: &[u8]) -> bool {
        let mut options = self.values(name).flat_map(|value| value.split(|&byte| byte == b','));
        options.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(option))
    }

    /// The one length that the fields say; `Ok(None)` where they say none.
    pub(super) fn length(self) -> Result<Option<u64>, MalformedLine> {
        let mut lengths = self.values("content-length");
        match (lengths.next(), lengths.next()) {
            (None, _) => Ok(None),
            (Some(length), None) => decimal(length).map(Some).ok_or(MalformedLine),
            _ => Err(MalformedLine),
        }
    }
}

impl Fields for HeadFields<'_> {
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.each().map(|field| (field.name, field.value))
    }
}

impl Headers for HeadFields<'_> {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
    }
}

/// The head of a request: a copy of its bytes, because the answer may be long in coming.
#[derive(Debug, Default)]
pub(super) struct RequestHead {
    bytes: Vec<u8>,
    table: FieldTable,
    /// The method, the target and the host as text, one behind the other.
    line: String,
    method_end: usize,
    /// The place of the `?` of the target.
    query: Option<usize>,
    target_end: usize,
    is_http10: bool,
}

impl RequestHead {
    /// Copies the head that the edge found at the start of `unread`.
    pub(super) fn copy(&mut self, unread: &[u8], head: &Head) -> Result<(), MalformedLine> {
        self.bytes.clear();
        self.bytes.extend_from_slice(&unread[..head.len]);
        self.line.clear();
        self.method_end = self.put_text(&head.method);
        self.target_end = self.put_text(&head.target);
        if let Some(host) = &head.host {
            self.put_text(host);
        }
        let query = memchr::memchr(b'?', &self.line.as_bytes()[self.method_end..self.target_end]);
        self.query = query.map(|at| self.method_end + at);
        self.is_http10 = self.bytes[head.target.end..].starts_with(b" HTTP/1.0");
        let fields = head.target.end + b" HTTP/1.1\r\n".len();
        self.table.read(&self.bytes, fields, usize::MAX).map(|_| ())
    }

    /// Puts a part of the head to the texts, if it is text; the place behind it.
    fn put_text(&mut self, range: &Range<usize>) -> usize {
        self.line.push_str(str::from_utf8(&self.bytes[range.clone()]).unwrap_or_default());
        self.line.len()
    }

    /// The bytes, and the places of the fields in them.
    pub(super) fn head_fields(&self) -> HeadFields<'_> {
        HeadFields { bytes: &self.bytes, table: &self.table }
    }

    /// The head as policy reads it.
    pub(super) fn view(&self) -> HeadView<'_, Self> {
        let target = &self.line[self.method_end..self.target_end];
        let (path, query) = match self.query {
            Some(at) => (&self.line[self.method_end..at], Some(&self.line[at + 1..self.target_end])),
            None => (target, None),
        };
        HeadView {
            method: &self.line[..self.method_end],
            host: &self.line[self.target_end..],
            path,
            query,
            target,
            version: self.version(),
            fields: self,
        }
    }

    /// The version of HTTP that the client speaks.
    pub(super) fn version(&self) -> HttpVersion {
        if self.is_http10 { HttpVersion::Http10 } else { HttpVersion::Http11 }
    }

    /// True if the client lets the connection serve another request (RFC 9112, section 9.3).
    pub(super) fn keeps(&self) -> bool {
        let fields = self.head_fields();
        match self.version() {
            HttpVersion::Http10 => fields.lists("connection", b"keep-alive") && !fields.lists("connection", b"close"),
            _ => !fields.lists("connection", b"close"),
        }
    }

    /// True if the client waits for a 100 (RFC 9110, section 10.1.1): HTTP/1.0 knows none, and no other expectation is defined.
    pub(super) fn holds_body_back(&self) -> bool {
        let mut expected = self.head_fields().values("expect");
        self.version().knows_http11()
            && expected.next().is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Frees what a large head took.
    pub(super) fn trim(&mut self) {
        if self.bytes.capacity() > 8 << 10 {
            *self = Self::default();
        }
    }
}

impl Fields for RequestHead {
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head_fields().each().map(|field| (field.name, field.value))
    }
}

impl Headers for RequestHead {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.head_fields().values(name)
    }
}

/// The head of an answer, by place in the bytes that it was read from.
#[derive(Debug)]
pub(super) struct AnswerHead {
    /// 100..=999.
    pub(super) status: u16,
    pub(super) version: HttpVersion,
    /// The reason phrase, which may be empty.
    pub(super) reason: Range<usize>,
    pub(super) table: FieldTable,
    /// Looks for the end of a head.
    end: memmem::Finder<'static>,
}

impl Default for AnswerHead {
    fn default() -> Self {
        Self {
            status: 0,
            version: HttpVersion::Http11,
            reason: 0..0,
            table: FieldTable::default(),
            end: memmem::Finder::new(b"\r\n\r\n"),
        }
    }
}

impl AnswerHead {
    /// Reads the head at the start of these bytes: its length, or `None` if it is not whole.
    ///
    /// # Errors
    /// [`MalformedLine`] as soon as the bytes can be no head.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, MalformedLine> {
        let Some(end) = self.end.find(bytes) else {
            return if bytes.len() > MOST_BYTES { Err(MalformedLine) } else { may_become_head(bytes).map(|()| None) };
        };
        if end > MOST_BYTES {
            return Err(MalformedLine);
        }
        let lf = memchr::memchr(b'\n', bytes).ok_or(MalformedLine)?;
        let Some((b'\r', line)) = bytes[..lf].split_last() else { return Err(MalformedLine) };
        self.version = match line.get(..9) {
            Some(b"HTTP/1.1 ") => HttpVersion::Http11,
            Some(b"HTTP/1.0 ") => HttpVersion::Http10,
            _ => return Err(MalformedLine),
        };
        let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit)).ok_or(MalformedLine)?;
        self.status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        // The space before an empty reason is often left out.
        self.reason = match line.get(12) {
            None => 12..12,
            Some(b' ') => 13..line.len(),
            Some(_) => return Err(MalformedLine),
        };
        if self.status < 100 || has_control(line) {
            return Err(MalformedLine);
        }
        let end = self.table.read(bytes, lf + 1, MOST_FIELDS)?;
        Ok(Some(end))
    }

    /// True for an interim answer, which another one follows. 101 is an answer.
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Tells if these bytes may be the first ones of a head.
fn may_become_head(bytes: &[u8]) -> Result<(), MalformedLine> {
    let start = b"HTTP/1.";
    let known = bytes.len().min(start.len());
    let lines = memchr::memchr_iter(b'\n', bytes).all(|lf| lf > 0 && bytes[lf - 1] == b'\r');
    if bytes[..known] == start[..known] && lines { Ok(()) } else { Err(MalformedLine) }
}

#[cfg(test)]
mod tests {
    use config::model::Limits;

    use super::*;
    use crate::edge::head::Scan;

    /// The status, the reason and the fields of an answer's head; `None` if it is not whole.
    type Read = Result<Option<(u16, String, Vec<(String, String)>)>, MalformedLine>;

    fn read(bytes: &[u8]) -> Read {
        let mut head = AnswerHead::default();
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        head.read(bytes).map(|length| {
            length.map(|length| {
                assert_eq!(&bytes[length - 4..length], b"\r\n\r\n");
                let fields = HeadFields { bytes, table: &head.table };
                let fields = fields.each().map(|field| (field.name.to_owned(), text(field.value))).collect();
                (head.status, text(&bytes[head.reason.clone()]), fields)
            })
        })
    }

    #[test]
    fn heads_of_answers_that_are_taken() {
        for (text, status, reason, fields) in [
            ("HTTP/1.1 200 OK\r\n\r\n", 200, "OK", &[][..]),
            ("HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n", 404, "Not Found", &[("a", "b")]),
            ("HTTP/1.1 204\r\n\r\n", 204, "", &[]),
            ("HTTP/1.1 599 \r\nX-a:\t b c \r\nx-A:\r\n\r\n", 599, "", &[("x-a", "b c"), ("x-a", "")]),
            (
                "HTTP/1.1 200 \u{e9}t\u{e9}\r\na: \u{e9}\r\n\r\nbody\n\n",
                200,
                "\u{c3}\u{a9}t\u{c3}\u{a9}",
                &[("a", "\u{c3}\u{a9}")],
            ),
        ] {
            let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(read(text.as_bytes()), Ok(Some((status, reason.to_owned(), fields))), "{text:?}");
        }
    }

    #[test]
    fn heads_of_answers_that_are_none() {
        for text in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 OK\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\u{e9}: b\r\n\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(MalformedLine), "{text:?}");
        }
        let many = "a: b\r\n".repeat(MOST_FIELDS + 1);
        assert_eq!(read(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes()), Err(MalformedLine));
        let long = "a".repeat(MOST_BYTES);
        assert_eq!(read(format!("HTTP/1.1 200 OK\r\na: {long}").as_bytes()), Err(MalformedLine));
    }

    #[test]
    fn garbage_is_known_before_it_ends() {
        for text in ["<html>", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\na: b", "HTTP/1.1 200 OK\r\na: b\n"] {
            assert_eq!(read(text.as_bytes()), Err(MalformedLine), "{text:?}");
        }
    }

    #[test]
    fn a_head_is_the_same_in_every_segmentation() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nx: \r\n\r\n";
        let whole = read(text);
        for length in 0..=text.len() {
            let expected = if length == text.len() { whole.clone() } else { Ok(None) };
            assert_eq!(read(&text[..length]), expected, "{length}");
        }
    }

    #[test]
    fn lengths_are_one_number() {
        for (fields, expected) in [
            ("", Ok(None)),
            ("content-length: 12\r\n", Ok(Some(12))),
            ("content-length: +1\r\n", Err(MalformedLine)),
            ("content-length: 1, 1\r\n", Err(MalformedLine)),
            ("content-length:\r\n", Err(MalformedLine)),
            ("content-length: 1\r\nContent-Length: 1\r\n", Err(MalformedLine)),
            ("content-length: 18446744073709551616\r\n", Err(MalformedLine)),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            let mut head = AnswerHead::default();
            head.read(text.as_bytes()).expect("a head").expect("a whole one");
            let fields = HeadFields { bytes: text.as_bytes(), table: &head.table };
            assert_eq!(fields.length(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_request_is_shown_as_it_came() {
        let text = "POST /a%20b?c=d?e HTTP/1.0\r\nHOST: Shop.Example.com:80\r\nExpect: 100-Continue\r\nConnection: a, Keep-Alive\r\n\r\nbody";
        let found = Scan::default().advance(text.as_bytes(), &Limits::default()).unwrap().unwrap();
        let mut head = RequestHead::default();
        head.copy(text.as_bytes(), &found).unwrap();
        let view = head.view();
        assert_eq!((view.method, view.path, view.query), ("POST", "/a%20b", Some("c=d?e")));
        assert_eq!((view.target, view.host), ("/a%20b?c=d?e", "Shop.Example.com:80"));
        assert_eq!((view.version, head.keeps(), head.holds_body_back()), (HttpVersion::Http10, true, false));
        assert_eq!(Headers::get(&head, "host"), Some(&b"Shop.Example.com:80"[..]));
        assert_eq!(Fields::fields(&head).map(|(name, _)| name).collect::<Vec<_>>(), ["host", "expect", "connection"]);
    }

    #[test]
    fn the_version_and_the_options_decide_whether_a_connection_stays() {
        for (version, connection, expected) in [
            ("1.1", "", true),
            ("1.1", "connection: close\r\n", false),
            ("1.1", "connection: x, CLOSE\r\n", false),
            ("1.1", "connection: closed\r\n", true),
            ("1.0", "", false),
            ("1.0", "connection: keep-alive\r\n", true),
            ("1.0", "connection: keep-alive, close\r\n", false),
        ] {
            let text = format!("GET / HTTP/{version}\r\nhost: a\r\n{connection}\r\n");
            let found = Scan::default().advance(text.as_bytes(), &Limits::default()).unwrap().unwrap();
            let mut head = RequestHead::default();
            head.copy(text.as_bytes(), &found).unwrap();
            assert_eq!(head.keeps(), expected, "{text:?}");
        }
    }
}
