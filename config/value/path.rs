//! Path patterns of routes.
//!
//! Patterns match the path as it came, still percent-encoded, segment by segment, case by case. So that routing and
//! endpoint cannot read one path in two ways:
//!
//! - A path with a `.` or `..` segment, spelled plainly or encoded, is refused before any route is looked at
//!   ([`is_plain`]); `%2F`, `\`, `%5C` count as separators there, and `..;x` as `..`, because some endpoints read them so.
//! - `%61` and `a` are the same character (RFC 3986, 6.2.2.2: unreserved ones), so `/%61dmin` is `/admin` here too.
//! - `%2F` is a character of its segment, never a separator: `/static%2Fx` is not below `/static`.
//! - Empty segments stay: `//admin` is not `/admin`, and a parameter never takes an empty segment.
//!
//! `/prefix/*` takes `/prefix`, `/prefix/` and everything below. Of all routes that take a path and a method the most
//! specific wins: segment by segment from the left the end of the path or a literal comes before a parameter, and a
//! parameter before `*`; of equals, one that names methods before one that takes all, then the order of the file.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use rewrite::{Rewrite, RewriteForm};

mod rewrite;

/// The longest pattern or rewrite, in bytes.
pub const MAX_PATTERN: usize = 1024;

/// The most segments of a pattern.
pub const MAX_SEGMENTS: usize = 64;

/// What paths a route takes: `/exact`, `/prefix/*`, `/users/{id}/posts`, `/users/{id}/*`.
///
/// Held in one spelling: unreserved characters plain, all others percent-encoded in upper case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(Arc<str>);

/// One part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Exactly this, in the one spelling.
    Literal(&'a str),
    /// Any one segment that is not empty, under this name.
    Parameter(&'a str),
    /// All the rest, also nothing.
    Wildcard,
}

/// Why a text is no pattern or no rewrite. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not start with `/`.
    #[error("a path starts with `/`: write `/{0}`")]
    Slash(String),
    /// Over [`MAX_PATTERN`] bytes or [`MAX_SEGMENTS`] segments.
    #[error("a path has at most 1024 characters and 64 segments")]
    Length,
    /// A `?` or `#`.
    #[error("a path has no `{0}`: routes and rewrites see neither query nor fragment")]
    Query(char),
    /// `*` that is not the whole last segment.
    #[error("`*` stands only for everything after the last `/`, as in `/prefix/*`")]
    Star,
    /// `{` or `}` that is not around a whole segment, or a name that is none.
    #[error("a parameter is a whole segment `{{name}}` of letters, digits and `_`; `{0}` is not")]
    Parameter(String),
    /// The same parameter twice.
    #[error("the parameter `{{{0}}}` is there twice")]
    Twice(String),
    /// `.` or `..`.
    #[error("no path has a `.` or `..` segment: requests with one are refused")]
    Dots,
    /// `//` inside a pattern.
    #[error("an empty segment `//` matches no request that a client means; write a single `/`")]
    EmptySegment,
    /// A character that paths do not have.
    #[error("no path has the character {0:?}; write it percent-encoded, as `{1}`")]
    Character(char, String),
    /// `%` without two hexadecimal digits.
    #[error("`%` is followed by two hexadecimal digits; write `%25` for the character itself")]
    Percent,
    /// A rewrite refers to what the pattern does not have.
    #[error("the path `{pattern}` has no `{reference}`{help}")]
    Reference {
        /// The pattern of the route.
        pattern: String,
        /// What the rewrite names.
        reference: String,
        /// What it could name, or nothing.
        help: String,
    },
    /// The regular expression of a rewrite does not compile, or is too large.
    #[error("{0}")]
    Regex(String),
}

impl PathPattern {
    /// The pattern in its one spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts; at least one, a wildcard only as the last.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0[1..].split('/').map(|text| match text {
            "*" => Segment::Wildcard,
            _ => match text.strip_prefix('{') {
                Some(rest) => Segment::Parameter(&rest[..rest.len() - 1]),
                None => Segment::Literal(text),
            },
        })
    }

    /// Whether both take exactly the same paths: equal but for the names of parameters.
    #[must_use]
    pub fn same_paths(&self, other: &Self) -> bool {
        self.segments().map(unnamed).eq(other.segments().map(unnamed))
    }

    /// Whether this takes `path`. The table has a faster way for many patterns; this one is for single ones.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(below) = path.strip_prefix('/') else { return false };
        let mut rest = Some(below);
        for segment in self.segments() {
            let Some(text) = rest else { return segment == Segment::Wildcard };
            let (first, after) = match text.split_once('/') {
                Some((first, after)) => (first, Some(after)),
                None => (text, None),
            };
            match segment {
                Segment::Wildcard => return true,
                Segment::Parameter(_) if first.is_empty() => return false,
                Segment::Literal(literal) if compare(literal, first) != Ordering::Equal => return false,
                _ => rest = after,
            }
        }
        rest.is_none()
    }
}

/// The segment without its parameter's name.
fn unnamed(segment: Segment<'_>) -> Segment<'_> {
    if let Segment::Parameter(_) = segment { Segment::Parameter("") } else { segment }
}

impl FromStr for PathPattern {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let rest = text.strip_prefix('/').ok_or_else(|| PathError::Slash(text.to_owned()))?;
        let count = rest.split('/').count();
        if text.len() > MAX_PATTERN || count > MAX_SEGMENTS {
            return Err(PathError::Length);
        }
        let mut names: Vec<&str> = Vec::new();
        let mut spelled = String::with_capacity(text.len());
        for (index, segment) in rest.split('/').enumerate() {
            let last = index + 1 == count;
            spelled.push('/');
            if segment == "*" && last {
                spelled.push('*');
            } else if segment.contains('*') {
                return Err(PathError::Star);
            } else if segment.contains(['{', '}']) {
                let name = parameter(segment).ok_or_else(|| PathError::Parameter(segment.to_owned()))?;
                if names.contains(&name) {
                    return Err(PathError::Twice(name.to_owned()));
                }
                names.push(name);
                spelled.push_str(segment);
            } else if segment.is_empty() && !last {
                return Err(PathError::EmptySegment);
            } else {
                spell(segment, &mut spelled)?;
            }
        }
        if is_plain(&spelled) { Ok(Self(spelled.into())) } else { Err(PathError::Dots) }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name inside `{name}`.
fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let shaped = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (shaped && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

/// Appends `text` in the one spelling: unreserved characters plain, international ones encoded, hex in upper case.
fn spell(text: &str, to: &mut String) -> Result<(), PathError> {
    for c in text.chars() {
        match c {
            '?' | '#' => return Err(PathError::Query(c)),
            '%' | '/' | ':' | '@' | '!' | '$' | '&' | '\'' | '(' | ')' | '+' | ',' | ';' | '=' => {}
            _ if !c.is_ascii() || is_unreserved(c as u8) => {}
            _ => return Err(PathError::Character(c, format!("%{:02X}", c as u8))),
        }
    }
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !(hex(at + 1) && hex(at + 2))) {
        return Err(PathError::Percent);
    }
    for byte in Plain::new(text) {
        if byte.is_ascii() {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(())
}

/// Orders a literal, in the one spelling, against a segment as it came.
pub(crate) fn compare(literal: &str, raw: &str) -> Ordering {
    if raw.contains('%') { literal.bytes().cmp(Plain::new(raw)) } else { literal.cmp(raw) }
}

/// Whether `path` starts with `/` and no endpoint can read a `.` or `..` segment into it. Nothing is allocated.
#[must_use]
pub fn is_plain(path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    // Most paths: without these a dot segment starts with `/.`.
    let bytes = path.as_bytes();
    let (mut before, mut suspicious) = (0, false);
    for &byte in bytes {
        suspicious |= byte == b'%' || byte == b'\\' || (byte == b'.' && before == b'/');
        before = byte;
    }
    if !suspicious {
        return true;
    }
    let mut at = 0;
    // How many dots this segment is made of; `None` once it has anything else.
    let mut dots = Some(0);
    while at < bytes.len() {
        let (byte, length) = decode(&bytes[at..]);
        at += length;
        match byte {
            b'/' | b'\\' | b';' if matches!(dots, Some(1 | 2)) => return false,
            b'/' | b'\\' => dots = Some(0),
            b'.' => dots = dots.map(|n| n + 1),
            _ => dots = None,
        }
    }
    !matches!(dots, Some(1 | 2))
}

/// The first byte of `bytes`, percent-decoded, and how many bytes spell it. `bytes` is not empty.
fn decode(bytes: &[u8]) -> (u8, usize) {
    let hex = |at: usize| bytes.get(at).and_then(|&b| char::from(b).to_digit(16));
    match (bytes[0], hex(1), hex(2)) {
        (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
        (byte, ..) => (byte, 1),
    }
}

/// Characters that mean the same plain and encoded (RFC 3986, 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The bytes of a text in the one spelling.
struct Plain<'a> {
    rest: &'a [u8],
    /// Bytes of an encoding that stays one, still to be given out.
    encoded: u8,
}

impl<'a> Plain<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.as_bytes(), encoded: 0 }
    }
}

impl Iterator for Plain<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let &first = self.rest.first()?;
        if self.encoded > 0 {
            self.encoded -= 1;
            self.rest = &self.rest[1..];
            return Some(first.to_ascii_uppercase());
        }
        let (byte, length) = decode(self.rest);
        if length == 3 && !is_unreserved(byte) {
            self.encoded = 2;
            self.rest = &self.rest[1..];
            return Some(first);
        }
        self.rest = &self.rest[length..];
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_have_one_spelling() {
        for (text, spelled) in [
            ("/", "/"),
            ("/*", "/*"),
            ("/a/", "/a/"),
            ("/users/{id}/*", "/users/{id}/*"),
            ("/%61dmin%2fx", "/admin%2Fx"),
            ("/café", "/caf%C3%A9"),
            ("/a:b@c;d=e", "/a:b@c;d=e"),
        ] {
            assert_eq!(pattern(text).as_str(), spelled);
            assert_eq!(pattern(spelled).to_string(), spelled);
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, message) in [
            ("", "a path starts with `/`: write `/`"),
            ("static/*", "a path starts with `/`: write `/static/*`"),
            ("/a?b", "a path has no `?`: routes and rewrites see neither query nor fragment"),
            ("/a*", "`*` stands only for everything after the last `/`, as in `/prefix/*`"),
            ("/*/a", "`*` stands only for everything after the last `/`, as in `/prefix/*`"),
            ("/{id", "a parameter is a whole segment `{name}` of letters, digits and `_`; `{id` is not"),
            ("/{proxy+}", "a parameter is a whole segment `{name}` of letters, digits and `_`; `{proxy+}` is not"),
            ("/x{id}", "a parameter is a whole segment `{name}` of letters, digits and `_`; `x{id}` is not"),
            ("/{a}/{a}", "the parameter `{a}` is there twice"),
            ("/a/../b", "no path has a `.` or `..` segment: requests with one are refused"),
            ("/%2e", "no path has a `.` or `..` segment: requests with one are refused"),
            ("/a//b", "an empty segment `//` matches no request that a client means; write a single `/`"),
            ("/a b", "no path has the character ' '; write it percent-encoded, as `%20`"),
            ("/100%", "`%` is followed by two hexadecimal digits; write `%25` for the character itself"),
        ] {
            assert_eq!(text.parse::<PathPattern>().unwrap_err().to_string(), message, "{text}");
        }
        assert_eq!(format!("/{}", "a".repeat(1024)).parse::<PathPattern>(), Err(PathError::Length));
        assert_eq!("/a".repeat(65).parse::<PathPattern>(), Err(PathError::Length));
    }

    #[test]
    fn which_paths_a_pattern_takes() {
        for (text, yes, no) in [
            ("/", &["/"][..], &["", "//", "/a"][..]),
            ("/*", &["/", "/a", "/a/b", "//", "/a//"], &["", "*"]),
            ("/a", &["/a", "/%61"], &["/a/", "/A", "/ab", "//a"]),
            ("/a/", &["/a/"], &["/a", "/a//"]),
            ("/a/*", &["/a", "/a/", "/a/b", "/a/b/c", "/%61/b"], &["/ab", "/a%2Fb", "/", "//a/b"]),
            ("/{x}", &["/a", "/%2F"], &["/", "/a/", "/a/b"]),
            ("/u/{x}/p", &["/u/1/p"], &["/u//p", "/u/1", "/u/1/p/"]),
            ("/u/{x}/*", &["/u/1", "/u/1/", "/u/1/a"], &["/u", "/u/", "/u//a"]),
            ("/a%2Fb", &["/a%2Fb", "/a%2fb"], &["/a/b", "/a%252Fb"]),
            ("/caf%C3%A9", &["/caf%c3%a9", "/c%61f%C3%A9"], &["/cafe"]),
        ] {
            for path in yes {
                assert!(pattern(text).matches(path), "{text} takes {path}");
            }
            for path in no {
                assert!(!pattern(text).matches(path), "{text} does not take {path}");
            }
        }
    }

    #[test]
    fn dot_segments_are_seen_in_every_spelling() {
        for path in [
            "/.",
            "/..",
            "/a/.",
            "/a/..",
            "/./a",
            "/a/../b",
            "/%2e",
            "/%2E.",
            "/a/.%2e/b",
            "/a%2F..%2Fb",
            "/a\\..\\b",
            "/a%5c..",
            "/..;x/a",
            "/a/..%3B/b",
            "",
            "a",
            "*",
            "http://a/",
        ] {
            assert!(!is_plain(path), "{path}");
        }
        for path in ["/", "/...", "/.a", "/a.", "/a..b", "/..a/", "//", "/%2e%2e%2e", "/a;..", "/%", "/%2", "/%zz."] {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn the_names_of_parameters_do_not_count() {
        assert!(pattern("/u/{id}/*").same_paths(&pattern("/u/{name}/*")));
        assert!(!pattern("/u/{id}").same_paths(&pattern("/u/id")));
        assert!(!pattern("/u/{id}").same_paths(&pattern("/u/{id}/")));
    }

    proptest! {
        /// What a pattern is printed as reads back to it, and a pattern of literals takes its own spelling.
        #[test]
        fn spelling_is_a_fixed_point(text in "/[a-z%{}*./ü2F-]{0,12}|\\PC{0,20}") {
            if let Ok(read) = text.parse::<PathPattern>() {
                prop_assert_eq!(read.as_str().parse::<PathPattern>(), Ok(read.clone()));
                if read.segments().all(|s| matches!(s, Segment::Literal(_))) {
                    prop_assert!(read.matches(read.as_str()));
                    prop_assert!(is_plain(read.as_str()));
                }
            }
        }

        /// Against the obvious way: decode what is unreserved into a new text, then compare.
        #[test]
        fn comparing_is_comparing_the_spelling(a in "[ab%612F4-]{0,8}", b in "[ab%612F4-]{0,8}") {
            let spelled = |text: &str| Plain::new(text).collect::<Vec<u8>>();
            if let Ok(literal) = String::from_utf8(spelled(&a)) {
                prop_assert_eq!(compare(&literal, &b), spelled(&a).cmp(&spelled(&b)));
            }
        }

        /// Against the obvious way: decode everything, then look at each segment.
        #[test]
        fn dots_against_full_decoding(path in "/([./a;\\\\]|%2e|%2F|%5C|%61){0,8}") {
            let decoded = path.replace("%2e", ".").replace("%2F", "/").replace("%5C", "\\").replace("%61", "a");
            let bad = decoded.split(['/', '\\']).any(|s| matches!(s.split(';').next(), Some("." | "..")));
            prop_assert_eq!(is_plain(&path), !bad);
        }
    }
}
