//! Bytes that stand where they must not: controls, line ends, names that are no token (RFC 9112, sections 2.2, 3 and 5).

use super::case::{Case, got, passes, refused};

/// Every control but tab, CR and LF, which have cases of their own.
fn controls() -> impl Iterator<Item = u8> {
    (0..=0x1f).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')).chain([0x7f])
}

pub(super) fn cases() -> Vec<Case> {
    [everywhere(), names(), line_ends(), folds(), taken()].concat()
}

fn with(before: &str, byte: u8, after: &str) -> Vec<u8> {
    [before.as_bytes(), &[byte], after.as_bytes()].concat()
}

fn everywhere() -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in controls() {
        for (place, before, after) in [
            ("a value", "GET / HTTP/1.1\r\nhost: $H\r\nx: a", "b\r\n\r\n"),
            ("a name", "GET / HTTP/1.1\r\nhost: $H\r\nx", "y: a\r\n\r\n"),
            ("a target", "GET /a", "b HTTP/1.1\r\nhost: $H\r\n\r\n"),
        ] {
            cases.push(refused(format!("control {byte:#04x} in {place}"), 400, with(before, byte, after)));
        }
    }
    for byte in [0, 0x0b, 0x7f, 0x80, 0xff] {
        for (place, before, after) in [
            ("the method", "GE", "T / HTTP/1.1\r\nhost: $H\r\n\r\n"),
            ("the version", "GET / HTTP/1", ".1\r\nhost: $H\r\n\r\n"),
            ("the host", "GET / HTTP/1.1\r\nhost: $H", "\r\n\r\n"),
            ("a length", "POST / HTTP/1.1\r\nhost: $H\r\ncontent-length: 3", "\r\n\r\nabc"),
        ] {
            cases.push(refused(format!("byte {byte:#04x} in {place}"), 400, with(before, byte, after)));
        }
    }
    cases
}

fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in b"\"(),/;<=>?@[\\]{} \t".iter().copied().chain([0x80, 0xc3, 0xff]) {
        let bytes = with("GET / HTTP/1.1\r\nhost: $H\r\nx", byte, "y: a\r\n\r\n");
        cases.push(refused(format!("byte {byte:#04x} in a name"), 400, bytes));
    }
    for byte in b"(),/;<=>?@[\\]{}\":".iter().copied() {
        let bytes = with("GE", byte, "T / HTTP/1.1\r\nhost: $H\r\n\r\n");
        cases.push(refused(format!("byte {byte:#04x} in the method"), 400, bytes));
    }
    for (what, line) in [
        ("an empty name", ": a\r\n"),
        ("an empty name and value", ":\r\n"),
        ("no colon", "x\r\n"),
        ("no colon, blanks", "x a\r\n"),
        ("a blank before the colon", "x : a\r\n"),
        ("a tab before the colon", "x\t: a\r\n"),
        ("a blank before the name", " x: a\r\n"),
        ("blanks alone", "  \r\n"),
    ] {
        cases.push(refused(format!("field: {what}"), 400, format!("GET / HTTP/1.1\r\nhost: $H\r\n{line}\r\n")));
        let first = format!("GET / HTTP/1.1\r\n{line}host: $H\r\n\r\n");
        cases.push(refused(format!("first field: {what}"), 400, first));
    }
    cases
}

fn line_ends() -> Vec<Case> {
    [
        ("LF everywhere", "GET / HTTP/1.1\nhost: $H\n\n"),
        ("LF behind the request line", "GET / HTTP/1.1\nhost: $H\r\n\r\n"),
        ("LF behind a field", "GET / HTTP/1.1\r\nhost: $H\n\r\n"),
        ("LF as the last line end", "GET / HTTP/1.1\r\nhost: $H\r\n\n"),
        ("LF between two fields", "GET / HTTP/1.1\r\nhost: $H\r\nx: a\ny: b\r\n\r\n"),
        ("LF in the target", "GET /a\nb HTTP/1.1\r\nhost: $H\r\n\r\n"),
        ("LF before the request", "\nGET / HTTP/1.1\r\nhost: $H\r\n\r\n"),
        ("LF in the name of a field", "GET / HTTP/1.1\r\nhost: $H\r\nx\n: a\r\n\r\n"),
        ("CR behind the request line", "GET / HTTP/1.1\rhost: $H\r\n\r\n"),
        ("CR in a value", "GET / HTTP/1.1\r\nhost: $H\r\nx: a\rb\r\n\r\n"),
        ("CR at the end of a value", "GET / HTTP/1.1\r\nhost: $H\r\nx: a\r\r\n\r\n"),
        ("CR at the start of a value", "GET / HTTP/1.1\r\nhost: $H\r\nx:\ra\r\n\r\n"),
        ("CR in a name", "GET / HTTP/1.1\r\nhost: $H\r\nx\ry: a\r\n\r\n"),
        ("CR in the target", "GET /a\rb HTTP/1.1\r\nhost: $H\r\n\r\n"),
        ("CR at the end of the version", "GET / HTTP/1.1\r\r\nhost: $H\r\n\r\n"),
        ("CR before the last line end", "GET / HTTP/1.1\r\nhost: $H\r\n\r\r\n"),
        ("CR before the request", "\rGET / HTTP/1.1\r\nhost: $H\r\n\r\n"),
        ("two empty lines before the request", "\r\n\r\nGET / HTTP/1.1\r\nhost: $H\r\n\r\n"),
        ("an empty line with a blank before the request", " \r\nGET / HTTP/1.1\r\nhost: $H\r\n\r\n"),
        ("a blank before the request", " GET / HTTP/1.1\r\nhost: $H\r\n\r\n"),
    ]
    .into_iter()
    .map(|(what, bytes)| refused(format!("line end: {what}"), 400, bytes))
    .collect()
}

fn folds() -> Vec<Case> {
    [
        ("by a blank", "x: a\r\n b\r\n"),
        ("by a tab", "x: a\r\n\tb\r\n"),
        ("of an empty value", "x:\r\n a\r\n"),
        ("to nothing", "x: a\r\n \r\n"),
        ("that is a field", "x: a\r\n y: b\r\n"),
        ("that is a length", "x: a\r\n content-length: 5\r\n"),
        ("of a length", "content-length: 1\r\n 0\r\n"),
        ("of Connection", "connection: close,\r\n x-private\r\n"),
    ]
    .into_iter()
    .map(|(what, fields)| refused(format!("fold {what}"), 400, format!("GET / HTTP/1.1\r\nhost: $H\r\n{fields}\r\n")))
    .collect()
}

fn taken() -> Vec<Case> {
    let line = || got("GET / HTTP/1.1");
    vec![
        passes("taken: an empty line before the request", "\r\nGET / HTTP/1.1\r\nhost: $H\r\n\r\n", line()),
        passes("taken: a tab in a value", "GET / HTTP/1.1\r\nhost: $H\r\nx: a\tb\r\n\r\n", line().field("x", "a\tb")),
        passes("taken: an empty value", "GET / HTTP/1.1\r\nhost: $H\r\nx:\r\n\r\n", line().field("x", "")),
        passes("taken: no blank before a value", "GET / HTTP/1.1\r\nhost: $H\r\nx:a\r\n\r\n", line().field("x", "a")),
        passes(
            "taken: blanks around a value",
            "GET / HTTP/1.1\r\nhost: $H\r\nx: \t a \t \r\n\r\n",
            line().field("x", "a"),
        ),
        passes(
            "taken: colons in a value",
            "GET / HTTP/1.1\r\nhost: $H\r\nx: a:b::\r\n\r\n",
            line().field("x", "a:b::"),
        ),
        passes(
            "taken: every token byte in a name",
            "GET / HTTP/1.1\r\nhost: $H\r\n!#$%&'*+-.^_`|~09az: a\r\n\r\n",
            line().field("!#$%&'*+-.^_`|~09az", "a"),
        ),
        passes(
            "taken: bytes over 0x7f in a value",
            b"GET / HTTP/1.1\r\nhost: $H\r\nx: a\xe9\xffb\r\n\r\n",
            line().field("x", "a\u{e9}\u{ff}b"),
        ),
        passes(
            "taken: fields of one name in order",
            "GET / HTTP/1.1\r\nhost: $H\r\nx: 1\r\nX: 2\r\nx: 3\r\n\r\n",
            line().field("x", "1").field("x", "2").field("x", "3"),
        ),
        passes(
            "taken: many fields",
            format!("GET / HTTP/1.1\r\nhost: $H\r\n{}\r\n", "x: y\r\n".repeat(90)),
            (0..90).fold(line(), |line, _| line.field("x", "y")),
        ),
    ]
}
