//! Where a request ends, by its head: `Content-Length` and `Transfer-Encoding` (RFC 9112, section 6).

use super::case::{Case, Step, got, passes, post, refused};

/// Values of `Content-Length` that are none.
const NO_LENGTHS: &[(&str, &str)] = &[
    ("empty", ""),
    ("plus", "+3"),
    ("minus", "-3"),
    ("minus zero", "-0"),
    ("list of two", "3, 3"),
    ("list of two without blanks", "3,3"),
    ("list that ends", "3,"),
    ("list that begins", ",3"),
    ("list that differs", "3, 4"),
    ("two words", "3 3"),
    ("hexadecimal", "0x3"),
    ("octal", "0o3"),
    ("hexadecimal without a prefix", "a"),
    ("letters behind", "3a"),
    ("letters before", "a3"),
    ("decimal point", "3.0"),
    ("exponent", "3e0"),
    ("underscore", "3_0"),
    ("semicolon", "3;"),
    ("quotes", "\"3\""),
    ("Arabic digits", "\u{663}"),
    ("fullwidth digits", "\u{ff13}"),
    ("over 64 bits", "18446744073709551616"),
    ("over 64 bits by far", "99999999999999999999999999999999"),
    ("wraps to 3", "18446744073709551619"),
];

/// Values of `Transfer-Encoding` that are not one `chunked`.
const NO_CODINGS: &[(&str, &str)] = &[
    ("empty", ""),
    ("identity", "identity"),
    ("gzip", "gzip"),
    ("deflate", "deflate"),
    ("compress", "compress"),
    ("x-gzip", "x-gzip"),
    ("trailers", "trailers"),
    ("gzip and chunked", "gzip, chunked"),
    ("chunked and gzip", "chunked, gzip"),
    ("chunked twice", "chunked, chunked"),
    ("chunked and identity", "chunked, identity"),
    ("identity and chunked", "identity, chunked"),
    ("a list that ends", "chunked,"),
    ("a list that begins", ",chunked"),
    ("a parameter", "chunked;q=1"),
    ("an empty parameter", "chunked;"),
    ("quotes", "\"chunked\""),
    ("single quotes", "'chunked'"),
    ("letters before", "xchunked"),
    ("letters behind", "chunkedx"),
    ("a blank inside", "chun ked"),
    ("two words", "chunked x"),
    ("a dot", "chunked."),
    ("a no-break space", "\u{a0}chunked"),
    ("a full stop of another script", "chunked\u{3002}"),
    ("a dotted capital", "CHUNKED\u{130}"),
    ("a Kelvin sign", "chun\u{212a}ed"),
];

const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: $H\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    [bad_lengths(), bad_codings(), both(), good()].concat()
}

fn bad_lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, value) in NO_LENGTHS {
        let fields = format!("content-length: {value}\r\n");
        cases.push(refused(format!("length: {what}"), 400, post(&fields, "abc")));
    }
    for (what, one, two) in [
        ("twice the same", "3", "3"),
        ("twice, the second longer", "3", "40"),
        ("twice, the second shorter", "40", "3"),
        ("twice, the first 0", "0", "3"),
        ("twice, the second 0", "3", "0"),
        ("twice, one is none", "3", "x"),
    ] {
        let fields = format!("content-length: {one}\r\nContent-Length: {two}\r\n");
        cases.push(refused(format!("length: {what}"), 400, post(&fields, &format!("abc{SMUGGLED}"))));
    }
    cases.push(refused("length: on a GET, signed", 400, "GET / HTTP/1.1\r\nhost: $H\r\ncontent-length: +0\r\n\r\n"));
    cases.push(refused(
        "length: on HTTP/1.0, signed",
        400,
        "POST / HTTP/1.0\r\nhost: $H\r\ncontent-length: +3\r\n\r\nabc",
    ));
    cases.push(refused("length: larger than the limit", 413, post("content-length: 2000000000\r\n", "abc")));
    cases.push(refused("length: 63 bits", 413, post("content-length: 9223372036854775807\r\n", "abc")));
    cases.push(refused("length: 64 bits", 413, post("content-length: 18446744073709551615\r\n", "abc")));
    cases
}

fn bad_codings() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, value) in NO_CODINGS {
        let fields = format!("transfer-encoding: {value}\r\n");
        cases.push(refused(format!("coding: {what}"), 400, post(&fields, &format!("{CHUNKS}{SMUGGLED}"))));
    }
    for (what, one, two) in [
        ("in two fields", "chunked", "chunked"),
        ("in two fields, identity last", "chunked", "identity"),
        ("in two fields, identity first", "identity", "chunked"),
        ("in two fields, gzip first", "gzip", "chunked"),
        ("in two fields, the first empty", "", "chunked"),
        ("in two fields, the last empty", "chunked", ""),
    ] {
        let fields = format!("transfer-encoding: {one}\r\ntransfer-encoding: {two}\r\n");
        cases.push(refused(format!("coding: {what}"), 400, post(&fields, CHUNKS)));
    }
    for (what, field) in [
        ("a blank before the colon", "transfer-encoding : chunked\r\n"),
        ("a tab before the colon", "transfer-encoding\t: chunked\r\n"),
        ("a blank before the name", " transfer-encoding: chunked\r\n"),
        ("a vertical tab before the value", "transfer-encoding:\x0bchunked\r\n"),
        ("a form feed behind the value", "transfer-encoding: chunked\x0c\r\n"),
        ("a NUL behind the name", "transfer-encoding\0: chunked\r\n"),
        ("a NUL behind the value", "transfer-encoding: chunked\0\r\n"),
        ("a value on the next line", "transfer-encoding:\r\n chunked\r\n"),
        ("behind a bare LF", "x: y\ntransfer-encoding: chunked\r\n"),
        ("behind a bare CR", "x: y\rtransfer-encoding: chunked\r\n"),
    ] {
        cases.push(refused(format!("coding: {what}"), 400, post(field, CHUNKS)));
        let with_length = post(&format!("{field}content-length: {}\r\n", CHUNKS.len()), CHUNKS);
        cases.push(refused(format!("coding: {what}, beside a length"), 400, with_length));
    }
    let old = |fields: &str| format!("POST / HTTP/1.0\r\nhost: $H\r\n{fields}\r\n{CHUNKS}");
    cases.push(refused("coding: on HTTP/1.0", 400, old("transfer-encoding: chunked\r\n")));
    cases.push(refused(
        "coding: on HTTP/1.0 that is kept",
        400,
        old("transfer-encoding: chunked\r\nconnection: keep-alive\r\n"),
    ));
    cases.push(refused("coding: on HTTP/1.0, identity", 400, old("transfer-encoding: identity\r\n")));
    cases
}

fn both() -> Vec<Case> {
    let length = format!("content-length: {}\r\n", CHUNKS.len());
    let coding = "transfer-encoding: chunked\r\n";
    [
        ("the length first", format!("{length}{coding}")),
        ("the coding first", format!("{coding}{length}")),
        ("a length of 0", format!("content-length: 0\r\n{coding}")),
        ("a length that is too short", format!("content-length: 3\r\n{coding}")),
        ("a length that is too long", format!("{coding}content-length: 300\r\n")),
        ("a length that is none", format!("{coding}content-length: x\r\n")),
        ("a coding that is none", format!("{length}transfer-encoding: x\r\n")),
        ("identity", format!("{length}transfer-encoding: identity\r\n")),
        ("the connection ends", format!("{length}{coding}connection: close\r\n")),
    ]
    .into_iter()
    .flat_map(|(what, fields)| {
        let in_one = refused(format!("both: {what}"), 400, post(&fields, &format!("{CHUNKS}{SMUGGLED}")));
        let apart = refused(format!("both: {what}, the body apart"), 400, "").steps(vec![
            Step::Send(post(&fields, "").into()),
            Step::Send(CHUNKS.into()),
            Step::Send(SMUGGLED.into()),
        ]);
        [in_one, apart]
    })
    .collect()
}

fn good() -> Vec<Case> {
    let line = || got("POST / HTTP/1.1");
    let mut cases = Vec::new();
    for (what, value, body) in [
        ("0", "0", ""),
        ("3", "3", "abc"),
        ("leading zeros", "003", "abc"),
        ("blanks around", " \t 3 \t ", "abc"),
        ("of bytes that look like a request", "42", "GET /x HTTP/1.1\r\nhost: a.example.com\r\n\r\nab"),
    ] {
        let fields = format!("content-length:{value}\r\n");
        cases.push(passes(format!("length that is taken: {what}"), post(&fields, body), line().length(body)));
    }
    for (what, value) in [("chunked", " chunked"), ("capitals", " CHUNKED"), ("blanks around", "\t chunked \t")] {
        let bytes = post(&format!("transfer-encoding:{value}\r\n"), CHUNKS);
        cases.push(passes(format!("coding that is taken: {what}"), bytes, line().chunked("abc")));
    }
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "M-SEARCH"] {
        let bytes = format!("{method} / HTTP/1.1\r\nhost: $H\r\ncontent-length: 3\r\n\r\nabc");
        let received = got(format!("{method} / HTTP/1.1")).length("abc");
        cases.push(passes(format!("length that is taken: on {method}"), bytes, received));
        let bytes = format!("{method} / HTTP/1.1\r\nhost: $H\r\ntransfer-encoding: chunked\r\n\r\n{CHUNKS}");
        let received = got(format!("{method} / HTTP/1.1")).chunked("abc");
        cases.push(passes(format!("coding that is taken: on {method}"), bytes, received));
    }
    let named = post("x-content-length: 5\r\n", "");
    let received = line().field("x-content-length", "5");
    cases.push(passes("length that is taken: on another name", named, received));
    cases
}
