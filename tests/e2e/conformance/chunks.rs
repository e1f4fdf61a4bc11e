//! Chunked bodies of requests (RFC 9112, section 7.1).

use super::case::{Case, Received, Step, got, passes, post, refused};

/// A request that only a desync would show.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: $H\r\n\r\n";
const HEAD: &str = "POST / HTTP/1.1\r\nhost: $H\r\ntransfer-encoding: chunked\r\n\r\n";

/// Bodies that can be read in two ways, or not at all.
const MALFORMED: &[(&str, &str)] = &[
    ("an empty size line", "\r\n"),
    ("an empty size line as the last chunk", "3\r\nabc\r\n\r\n"),
    ("an extension without a size", ";a\r\n\r\n"),
    ("a blank before the size", " 3\r\nabc\r\n0\r\n\r\n"),
    ("a tab before the size", "\t3\r\nabc\r\n0\r\n\r\n"),
    ("a blank behind the size", "3 \r\nabc\r\n0\r\n\r\n"),
    ("a tab behind the size", "3\t\r\nabc\r\n0\r\n\r\n"),
    ("a blank behind the last size", "0 \r\n\r\n"),
    ("a plus", "+3\r\nabc\r\n0\r\n\r\n"),
    ("a minus", "-3\r\nabc\r\n0\r\n\r\n"),
    ("a minus before 0", "-0\r\n\r\n"),
    ("a prefix 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("a prefix 0X on the last chunk", "0X0\r\n\r\n"),
    ("a size in quotes", "\"3\"\r\nabc\r\n0\r\n\r\n"),
    ("a size with h", "3h\r\nabc\r\n0\r\n\r\n"),
    ("a size with an underscore", "0_3\r\nabc\r\n0\r\n\r\n"),
    ("a size with a point", "3.0\r\nabc\r\n0\r\n\r\n"),
    ("a size with a comma", "3,3\r\nabc\r\n0\r\n\r\n"),
    ("a size that is no hexadecimal digit", "g\r\nabc\r\n0\r\n\r\n"),
    ("a size with a NUL", "3\0\r\nabc\r\n0\r\n\r\n"),
    ("a size of other digits", "\u{ff13}\r\nabc\r\n0\r\n\r\n"),
    ("a size line that ends in LF", "3\nabc\r\n0\r\n\r\n"),
    ("a size line that ends in CR", "3\rabc\r\n0\r\n\r\n"),
    ("a size line that ends in CR CR LF", "3\r\r\nabc\r\n0\r\n\r\n"),
    ("a size line that ends in LF CR", "3\n\rabc\r\n0\r\n\r\n"),
    ("an extension that ends in LF", "3;a\nabc\r\n0\r\n\r\n"),
    ("an extension with a bare CR", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("an extension with a NUL", "3;a\0\r\nabc\r\n0\r\n\r\n"),
    ("an extension with a backspace", "3;a\x08\r\nabc\r\n0\r\n\r\n"),
    ("data longer than its size", "3\r\nabcd\r\n0\r\n\r\n"),
    ("data shorter than its size", "3\r\nab\r\n0\r\n\r\n"),
    ("data that ends in LF", "3\r\nabc\n0\r\n\r\n"),
    ("data that ends in CR", "3\r\nabc\r0\r\n\r\n"),
    ("data that ends in LF CR", "3\r\nabc\n\r0\r\n\r\n"),
    ("data that ends in nothing", "3\r\nabc0\r\n\r\n"),
    ("data behind an extra CRLF", "3\r\n\r\nabc\r\n0\r\n\r\n"),
    ("an extra CRLF between chunks", "3\r\nabc\r\n\r\n3\r\ndef\r\n0\r\n\r\n"),
    ("a last chunk that ends in LF", "3\r\nabc\r\n0\r\n\n"),
    ("a last chunk that ends in CR CR", "3\r\nabc\r\n0\r\n\r\r"),
    ("a last size that ends in LF", "3\r\nabc\r\n0\n\r\n"),
    ("a trailer without a name", "0\r\n: b\r\n\r\n"),
    ("a trailer without a colon", "0\r\nab\r\n\r\n"),
    ("a trailer with a blank before the colon", "0\r\na : b\r\n\r\n"),
    ("a trailer with a bare LF", "0\r\na: b\nc: d\r\n\r\n"),
    ("a trailer with a bare CR", "0\r\na: b\rc: d\r\n\r\n"),
    ("a trailer with a NUL", "0\r\na: b\0\r\n\r\n"),
    ("a folded trailer", "0\r\na: b\r\n c\r\n\r\n"),
    ("a folded first trailer", "0\r\n a: b\r\n\r\n"),
    ("a trailer whose name is no token", "0\r\na(b): c\r\n\r\n"),
    ("trailers that end in LF", "0\r\na: b\r\n\n"),
    ("a size of 17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("a last size of 17 digits", "00000000000000000\r\n\r\n"),
    ("a size over 63 bits", "8000000000000000\r\nabc\r\n"),
    ("a size over 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("a size of all bits", "ffffffffffffffff\r\nabc\r\n"),
    ("a request where a chunk should begin", "GET / HTTP/1.1\r\nhost: $H\r\n\r\n"),
];

pub(super) fn cases() -> Vec<Case> {
    [malformed(), bounded(), taken()].concat()
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, body) in MALFORMED {
        let with_head = format!("{HEAD}{body}{SMUGGLED}");
        cases.push(refused(format!("chunks: {what}"), 400, with_head).received(Received::NothingWhole));
        // Behind a chunk that is well, and after the endpoint has the head.
        let case = refused(format!("chunks: {what}, behind a chunk"), 400, "").received(Received::NothingWhole);
        cases.push(case.steps(vec![
            Step::Send(format!("{HEAD}2\r\nok\r\n").into()),
            Step::Reach("\r\n\r\n"),
            Step::Send(format!("{body}{SMUGGLED}").into()),
        ]));
    }
    cases
}

fn bounded() -> Vec<Case> {
    let long = "x".repeat(300);
    let many = "a: b\r\n".repeat(101);
    let large = format!("a: {}\r\n", "b".repeat(40 << 10));
    [
        ("an extension of 300 bytes", format!("3;{long}\r\nabc\r\n0\r\n\r\n")),
        ("an extension of 300 blanks", format!("3{};a\r\nabc\r\n0\r\n\r\n", " ".repeat(300))),
        ("a last extension of 300 bytes", format!("3\r\nabc\r\n0;{long}\r\n\r\n")),
        ("a value of an extension of 300 bytes", format!("3;a=\"{long}\"\r\nabc\r\n0\r\n\r\n")),
        ("too many trailers", format!("3\r\nabc\r\n0\r\n{many}\r\n")),
        ("trailers that are too large", format!("3\r\nabc\r\n0\r\n{large}\r\n")),
    ]
    .into_iter()
    .map(|(what, body)| {
        refused(format!("chunks: {what}"), 400, format!("{HEAD}{body}{SMUGGLED}")).received(Received::NothingWhole)
    })
    .collect()
}

/// Bodies that are well, whatever they look like.
fn taken() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, body, data) in [
        ("nothing", "0\r\n\r\n", ""),
        ("one chunk of one byte", "1\r\na\r\n0\r\n\r\n", "a"),
        ("three chunks", "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "abc"),
        ("a capital size", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("a small size", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("leading zeros", "0000000000000003\r\nabc\r\n000\r\n\r\n", "abc"),
        ("an extension", "3;name=value\r\nabc\r\n0;last\r\n\r\n", "abc"),
        ("an extension in quotes", "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ("blanks before an extension", "3 ; a = b\r\nabc\r\n0\t;\r\n\r\n", "abc"),
        ("an empty extension", "3;\r\nabc\r\n0\r\n\r\n", "abc"),
        ("data that is a line end", "2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("data that is a last chunk", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("data that is a request", "16\r\nGET / HTTP/1.1\r\na: b\r\n\r\n0\r\n\r\n", "GET / HTTP/1.1\r\na: b\r\n"),
        ("data that is a bare LF", "1\r\n\n\r\n0\r\n\r\n", "\n"),
        ("data that is a NUL", "1\r\n\0\r\n0\r\n\r\n", "\0"),
    ] {
        let received = got("POST / HTTP/1.1").chunked(data);
        cases.push(passes(format!("chunks that are taken: {what}"), format!("{HEAD}{body}"), received.clone()));
        // A byte at a time for each of them would be the same as in the loop over every cut; here the body comes apart.
        let case = passes(format!("chunks that are taken: {what}, apart"), "", received);
        let half = body.len() / 2;
        cases.push(case.steps(vec![
            Step::Send(HEAD.into()),
            Step::Reach("\r\n\r\n"),
            Step::Send(body[..half].into()),
            Step::Send(body[half..].into()),
        ]));
    }
    // Trailers that nobody announced go no further.
    for (what, trailer) in [
        ("a trailer", "x-sum: 1\r\n"),
        ("a trailer without a value", "x-sum:\r\n"),
        ("two trailers", "x-sum: 1\r\nx-other: 2\r\n"),
        ("a trailer that frames", "content-length: 5\r\n"),
        ("a trailer that frames by chunks", "transfer-encoding: chunked\r\n"),
        ("a trailer that routes", "host: other.example.com\r\n"),
        ("a trailer that authenticates", "authorization: Basic eDp5\r\n"),
        ("a trailer of the gateway", "x-weir-version: 9\r\n"),
    ] {
        let bytes = post("transfer-encoding: chunked\r\n", &format!("3\r\nabc\r\n0\r\n{trailer}\r\n"));
        cases.push(passes(format!("unannounced: {what}"), bytes, got("POST / HTTP/1.1").chunked("abc")));
    }
    for (name, safe) in
        [("x-sum", true), ("content-length", false), ("host", false), ("authorization", false), ("te", false)]
    {
        let bytes = post(
            &format!("transfer-encoding: chunked\r\ntrailer: {name}\r\n"),
            &format!("3\r\nabc\r\n0\r\n{name}: 1\r\n\r\n"),
        );
        let plain = got("POST / HTTP/1.1").chunked("abc");
        let received = if safe { plain.field("trailer", name).trailer(name, "1") } else { plain };
        cases.push(passes(format!("announced trailer: {name}"), bytes, received));
    }
    cases
}
