//! Heads as they go out: lines that stay are copied as they came, several at a time; what policy sets follows them.

use std::io::Write;

use smallvec::SmallVec;

use super::head::HeadFields;
use crate::edge::head::has_control;
use crate::policy::hop::Names;
use crate::policy::{Edits, HeaderEdit};

/// Fields of the framing and of one connection: written by this lane alone, whatever the message and policy say.
const OWN: [&str; 5] = ["connection", "content-length", "trailer", "transfer-encoding", "upgrade"];

/// A value with a byte that no field may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidValue;

/// The fields of a message that do not go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped<'d> {
    /// Those that are between two hops, in lower case.
    pub(super) hop: &'d Names,
    /// Others, in lower case.
    pub(super) also: &'d [&'d str],
    /// True if the fields of a changed protocol stay: `Connection` and `Upgrade`.
    pub(super) keeps_upgrade: bool,
}

impl Dropped<'_> {
    fn has(&self, name: &str) -> bool {
        if self.keeps_upgrade && matches!(name, "connection" | "upgrade") {
            return false;
        }
        OWN.contains(&name) || self.also.contains(&name) || self.hop.iter().any(|hop| **hop == *name)
    }
}

/// The edits of a head, so that most fields are told from them by their length.
pub(super) struct EditList<'e> {
    edits: SmallVec<[HeaderEdit<'e>; 32]>,
    /// A bit for each length of a name that is removed or set.
    lengths: u64,
}

impl<'e> EditList<'e> {
    /// Collects these edits.
    pub(super) fn of(edits: &'e Edits<'_>) -> Self {
        let edits: SmallVec<[HeaderEdit<'e>; 32]> = edits.iter().collect();
        let lengths = edits.iter().filter_map(replaced).fold(0, |lengths, name| lengths | bit(name));
        Self { edits, lengths }
    }

    /// True if an edit from `start` on takes the place of fields with this name.
    pub(super) fn replaces(&self, name: &str, start: usize) -> bool {
        self.lengths & bit(name) != 0
            && self.edits[start..].iter().filter_map(replaced).any(|other| name.eq_ignore_ascii_case(other))
    }

    /// Writes what the edits set. True if one of the fields is named `asked`.
    ///
    /// # Errors
    /// [`InvalidValue`] if a value would not stay one field.
    pub(super) fn write(&self, out: &mut Vec<u8>, asked: &str) -> Result<bool, InvalidValue> {
        let mut has_asked = false;
        for (at, edit) in self.edits.iter().enumerate() {
            let (HeaderEdit::Set(name, value) | HeaderEdit::Add(name, value)) = edit else { continue };
            let name = name.as_str();
            if self.replaces(name, at + 1) || OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                continue;
            }
            has_asked |= name.eq_ignore_ascii_case(asked);
            write_field(out, name, value)?;
        }
        Ok(has_asked)
    }
}

/// The name whose fields an edit drops.
fn replaced<'e>(edit: &HeaderEdit<'e>) -> Option<&'e str> {
    match *edit {
        HeaderEdit::Remove(name) => Some(name),
        HeaderEdit::Set(name, _) => Some(name.as_str()),
        HeaderEdit::Add(..) => None,
    }
}

fn bit(name: &str) -> u64 {
    1 << (name.len() & 63)
}

/// Writes the fields of a message that go on, and those that policy sets. True if one of them is named `asked`.
///
/// # Errors
/// [`InvalidValue`] if a value that policy sets would not stay one field.
pub(super) fn write_fields(
    out: &mut Vec<u8>,
    fields: HeadFields<'_>,
    dropped: Dropped<'_>,
    edits: &Edits<'_>,
    asked: &str,
) -> Result<bool, InvalidValue> {
    let edits = EditList::of(edits);
    let has_crumbs = fields.values("cookie").nth(1).is_some() && !edits.replaces("cookie", 0);
    let mut has_asked = false;
    // The lines that go on together.
    let (mut from, mut to) = (0, 0);
    for field in fields.each() {
        if dropped.has(field.name) || edits.replaces(field.name, 0) || (has_crumbs && field.name == "cookie") {
            continue;
        }
        has_asked |= field.name == asked;
        if field.line.0 != to {
            out.extend_from_slice(&fields.bytes[from..to]);
            from = field.line.0;
        }
        to = field.line.1;
    }
    out.extend_from_slice(&fields.bytes[from..to]);
    if has_crumbs {
        join_cookies(out, fields);
    }
    has_asked |= edits.write(out, asked)?;
    Ok(has_asked)
}

/// Writes several `Cookie` fields as the one that HTTP/1.1 knows (RFC 6265, section 5.4).
fn join_cookies(out: &mut Vec<u8>, fields: HeadFields<'_>) {
    out.extend_from_slice(b"cookie: ");
    for (number, value) in fields.values("cookie").enumerate() {
        out.extend_from_slice(if number == 0 { b"" } else { b"; " });
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes one field.
///
/// # Errors
/// [`InvalidValue`] if it would not stay one field.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), InvalidValue> {
    if has_control(value) {
        return Err(InvalidValue);
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes a field with a number.
pub(super) fn write_number(out: &mut Vec<u8>, name: &str, number: u64) {
    write!(out, "{name}: {number}\r\n").expect("writing to memory cannot fail");
}

/// Writes a status line.
pub(super) fn write_status(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write!(out, "{status} ").expect("writing to memory cannot fail");
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::head::AnswerHead;
    use super::*;
    use crate::policy::FieldName::{Given, Own as Ours};
    use crate::policy::hop::hop_by_hop;
    use crate::policy::tests::apply;

    /// The fields that go out of these, with these edits.
    fn written(text: &str, edits: &Edits<'_>) -> String {
        let mut head = AnswerHead::default();
        let bytes = format!("HTTP/1.1 200 OK\r\n{text}\r\n");
        head.read(bytes.as_bytes()).expect("a head").expect("a whole one");
        let fields = HeadFields { bytes: bytes.as_bytes(), table: &head.table };
        let hop = hop_by_hop(&fields);
        let mut out = Vec::new();
        write_fields(&mut out, fields, Dropped { hop: &hop, also: &["x-also"], keeps_upgrade: false }, edits, "date")
            .expect("valid values");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lines_that_stay_are_copied_as_they_came() {
        for (text, expected) in [
            ("Content-Type:  text/plain \r\nX-A: b\r\n", "Content-Type:  text/plain \r\nX-A: b\r\n"),
            ("a: 1\r\nConnection: close, B\r\nb: 2\r\nc: 3\r\n", "a: 1\r\nc: 3\r\n"),
            (
                "a: 1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nUpgrade: h2c\r\nb: 2\r\n",
                "a: 1\r\nb: 2\r\n",
            ),
            ("Keep-Alive: timeout=5\r\nTE: gzip\r\nProxy-Connection: x\r\nX-Also: y\r\n", ""),
            ("Cookie: a=b\r\nx: y\r\nCOOKIE: c=d\r\n", "x: y\r\ncookie: a=b; c=d\r\n"),
            ("cookie: a=b\r\nx: y\r\n", "cookie: a=b\r\nx: y\r\n"),
            ("", ""),
        ] {
            assert_eq!(written(text, &Edits::default()), expected, "{text:?}");
        }
    }

    #[test]
    fn edits_mean_the_same_as_in_a_list_of_fields() {
        let text = "X-Weir-Version: 9\r\nHost: a\r\nvia: 1.1 x\r\nx-request-id: 1\r\nX-Set: old\r\n";
        let mut edits = Edits::default();
        edits.remove("x-weir-version");
        edits.set_written("x-weir-version", |text| {
            text.display(3);
        });
        edits.add_written("via", |text| {
            text.display("1.1 weir");
        });
        edits.set(Ours("x-request-id"), b"2");
        edits.set(Ours("x-gone"), b"1");
        edits.add(Given("X-Gone"), b"2");
        edits.set(Given("X-SET"), b"new");
        edits.remove("X-gone");
        edits.add(Ours("x-set"), b"more");
        let fields: Vec<(&str, &[u8])> =
            text.lines().map(|line| line.split_once(": ").expect("a field")).map(|(n, v)| (n, v.as_bytes())).collect();
        let lower = |(name, value): (String, Vec<u8>)| (name.to_ascii_lowercase(), value);
        let mut expected: Vec<_> = apply(&fields, &edits).into_iter().map(lower).collect();
        let out = written(text, &edits);
        let got = out.lines().map(|line| line.split_once(": ").expect("a field"));
        let mut got: Vec<_> = got.map(|(name, value)| lower((name.to_owned(), value.as_bytes().to_vec()))).collect();
        expected.sort();
        got.sort();
        assert_eq!(got, expected);
    }

    #[test]
    fn no_edit_reaches_the_framing_or_makes_two_fields() {
        let mut edits = Edits::default();
        edits.set(Given("Content-Length"), b"3");
        edits.add(Given("transfer-encoding"), b"chunked");
        edits.set(Given("connection"), b"close");
        assert_eq!(written("a: b\r\n", &edits), "a: b\r\n");
        for value in [&b"a\r\nx: y"[..], b"a\nb", b"\0"] {
            assert_eq!(write_field(&mut Vec::new(), "x", value), Err(InvalidValue));
        }
    }
}
