//! Answers that are none: the client gets a 502, or an answer that is visibly cut, and the endpoint's connection ends.

use super::case::{Case, ClientEnd, Pool, answered, bad_gateway, get_with, got, passes, replied, reply, reply_then};
use crate::kit::message::Framing;
use crate::kit::script::Then;

pub(super) fn cases() -> Vec<Case> {
    [heads(), framings(), ends(), chunks(), switches(), floods()].concat()
}

fn heads() -> Vec<Case> {
    let ok = "content-length: 2\r\n\r\nok";
    let mut cases = Vec::new();
    for (what, line) in [
        ("garbage", "garbage"),
        ("an empty line", ""),
        ("a request", "GET / HTTP/1.1"),
        ("a body without a head", "<html></html>"),
        ("another protocol", "ICY 200 OK"),
        ("no version", "200 OK"),
        ("HTTP/0.9", "HTTP/0.9 200 OK"),
        ("HTTP/1.2", "HTTP/1.2 200 OK"),
        ("HTTP/2.0", "HTTP/2.0 200 OK"),
        ("HTTP/2", "HTTP/2 200 OK"),
        ("a small protocol name", "http/1.1 200 OK"),
        ("no status", "HTTP/1.1"),
        ("no status, a blank", "HTTP/1.1 "),
        ("a status of letters", "HTTP/1.1 abc OK"),
        ("a status of two digits", "HTTP/1.1 20 OK"),
        ("a status of four digits", "HTTP/1.1 2000 OK"),
        ("a status of 0", "HTTP/1.1 000 OK"),
        ("a status of 99", "HTTP/1.1 099 OK"),
        ("a status of 600", "HTTP/1.1 600 OK"),
        ("a status of 999", "HTTP/1.1 999 OK"),
        ("a signed status", "HTTP/1.1 +20 OK"),
        ("a status and letters", "HTTP/1.1 200OK"),
        ("two blanks before the status", "HTTP/1.1  200 OK"),
        ("a tab before the status", "HTTP/1.1\t200 OK"),
        ("a blank before the version", " HTTP/1.1 200 OK"),
        ("a NUL in the reason", "HTTP/1.1 200 O\0K"),
        ("a bare CR in the reason", "HTTP/1.1 200 O\rK"),
        ("a control in the reason", "HTTP/1.1 200 O\x08K"),
    ] {
        cases.push(bad_gateway(format!("garbage: {what}"), reply(format!("{line}\r\n{ok}"))));
    }
    for (what, fields) in [
        ("a blank before the colon", "x : a\r\n"),
        ("a folded field", "x: a\r\n b\r\n"),
        ("a folded first field", " x: a\r\n"),
        ("an empty name", ": a\r\n"),
        ("no colon", "x\r\n"),
        ("a name that is no token", "x(y): a\r\n"),
        ("a NUL in a value", "x: a\0b\r\n"),
        ("a bare CR in a value", "x: a\rb\r\n"),
        ("a control in a value", "x: a\x08b\r\n"),
        ("a DEL in a value", "x: a\x7fb\r\n"),
        ("a bare LF behind a field", "x: a\n"),
        ("a bare LF that makes a length", "x: a\ncontent-length: 1\r\n"),
    ] {
        cases.push(bad_gateway(format!("garbage: {what}"), reply(format!("HTTP/1.1 200 OK\r\n{fields}{ok}"))));
    }
    for (what, bytes) in [
        ("LF everywhere", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok"),
        ("LF behind the status", "HTTP/1.1 200 OK\ncontent-length: 2\r\n\r\nok"),
        ("LF as the last line end", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\nok"),
        ("bytes of TLS", "\x15\x03\x01\0\x02\x02\x50\r\n\r\n"),
        ("bytes of HTTP/2", "\0\0\0\x04\0\0\0\0\0\0\0\x06\x04\0\0\0\0\0\0\r\n\r\n"),
    ] {
        cases.push(bad_gateway(format!("garbage: {what}"), reply_then(bytes, Then::Close)));
    }
    cases
}

fn framings() -> Vec<Case> {
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    let mut cases = Vec::new();
    for (what, fields, body) in [
        ("an empty length", "content-length:\r\n", "ok"),
        ("a signed length", "content-length: +2\r\n", "ok"),
        ("a negative length", "content-length: -2\r\n", "ok"),
        ("a list of lengths", "content-length: 2, 2\r\n", "ok"),
        ("a length with letters", "content-length: 2x\r\n", "ok"),
        ("a hexadecimal length", "content-length: 0x2\r\n", "ok"),
        ("a length over 64 bits", "content-length: 18446744073709551618\r\n", "ok"),
        ("two lengths", "content-length: 2\r\ncontent-length: 2\r\n", "ok"),
        ("two lengths that differ", "content-length: 2\r\ncontent-length: 20\r\n", "ok"),
        ("both framings", "content-length: 12\r\ntransfer-encoding: chunked\r\n", chunks),
        ("both framings, the coding first", "transfer-encoding: chunked\r\ncontent-length: 12\r\n", chunks),
        ("identity", "transfer-encoding: identity\r\n", "ok"),
        ("gzip", "transfer-encoding: gzip\r\n", "ok"),
        ("gzip and chunked", "transfer-encoding: gzip, chunked\r\n", chunks),
        ("chunked and gzip", "transfer-encoding: chunked, gzip\r\n", chunks),
        ("chunked twice", "transfer-encoding: chunked, chunked\r\n", chunks),
        ("chunked in two fields", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", chunks),
        ("an empty coding", "transfer-encoding:\r\n", "ok"),
        ("a coding that is none", "transfer-encoding: xchunked\r\n", chunks),
        ("a coding with a parameter", "transfer-encoding: chunked;q=1\r\n", chunks),
    ] {
        cases.push(bad_gateway(
            format!("framing of an answer: {what}"),
            reply(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")),
        ));
    }
    let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    cases.push(bad_gateway("framing of an answer: chunks of HTTP/1.0", reply(old)));
    cases
}

/// Connections that end too soon.
fn ends() -> Vec<Case> {
    let mut cases = Vec::new();
    for (then, how) in [(Then::Close, "closed"), (Then::Reset, "reset")] {
        for (what, bytes) in [
            ("before an answer", ""),
            ("within the status line", "HTTP/1.1 2"),
            ("behind the status line", "HTTP/1.1 200 OK\r\n"),
            ("within a field", "HTTP/1.1 200 OK\r\ncontent-le"),
            ("before the last line end", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"),
            ("behind an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ] {
            let case = bad_gateway(format!("{how} {what}"), reply_then(bytes, then.clone()));
            cases.push(if what.contains("interim") { case.interims(&[103]) } else { case });
        }
        for (what, bytes) in [
            ("within a length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
            ("within a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc"),
            ("between chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
            ("within the last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"),
        ] {
            let case = bad_gateway(format!("{how} {what}"), reply_then(bytes, then.clone()));
            cases.push(case.answers(vec![answered(502).or_cut()]));
        }
    }
    cases
}

fn chunks() -> Vec<Case> {
    [
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a negative size", "-3\r\nabc\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a size that is none", "xyz\r\nabc\r\n0\r\n\r\n"),
        ("a blank before the size", " 3\r\nabc\r\n0\r\n\r\n"),
        ("a size that ends in LF", "3\nabc\r\n0\r\n\r\n"),
        ("a size that ends in CR", "3\rabc\r\n0\r\n\r\n"),
        ("a size over 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("data longer than its size", "3\r\nabcd\r\n0\r\n\r\n"),
        ("data that ends in LF", "3\r\nabc\n0\r\n\r\n"),
        ("an extra CRLF between chunks", "3\r\nabc\r\n\r\n0\r\n\r\n"),
        ("an extension with a bare LF", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("a last chunk that ends in LF", "3\r\nabc\r\n0\n\r\n"),
        ("a trailer without a colon", "3\r\nabc\r\n0\r\nab\r\n\r\n"),
    ]
    .into_iter()
    .map(|(what, body)| {
        let bytes = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        bad_gateway(format!("chunks of an answer: {what}"), reply(bytes)).answers(vec![answered(502).or_cut()])
    })
    .collect()
}

/// Tunnels that nobody asked for.
fn switches() -> Vec<Case> {
    let switch = |protocol: &str| {
        reply(format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\nhello"))
    };
    let mut cases = vec![
        bad_gateway("switch: unasked", switch("websocket")),
        bad_gateway("switch: unasked, to h2c", switch("h2c")),
        bad_gateway("switch: unasked, without a protocol", reply("HTTP/1.1 101 Switching Protocols\r\n\r\n")),
    ];
    let offer = get_with("/", "connection: upgrade\r\nupgrade: irc\r\n");
    let case = passes("switch: to what was left out", offer, got("GET / HTTP/1.1")).by(switch("irc"));
    cases.push(case.answers(vec![answered(502)]).pool(Pool::Dropped).ends(ClientEnd::Any));
    let offer = get_with("/", "connection: upgrade\r\nupgrade: websocket\r\n");
    let received = got("GET / HTTP/1.1").field("connection", "upgrade").field("upgrade", "websocket");
    let case = passes("switch: to another protocol", offer, received).by(switch("irc"));
    cases.push(case.answers(vec![answered(502)]).pool(Pool::Dropped).ends(ClientEnd::Any));
    cases
}

fn floods() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    let mut endless = bad_gateway("flood: 20 000 interim answers", reply(format!("{}{ok}", hints.repeat(20_000))));
    endless.expected.interims = None;
    let head = |fields: String| format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok");
    vec![
        bad_gateway("flood: a head of 2 MiB", reply(head(format!("x: {}\r\n", "a".repeat(2 << 20))))),
        bad_gateway(
            "flood: a head without end",
            reply_then(format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(2 << 20)), Then::Keep),
        ),
        bad_gateway("flood: 20 000 fields", reply(head("x: y\r\n".repeat(20_000)))),
        bad_gateway("flood: a status line without end", reply("HTTP/1.1 200 ".to_owned() + &"a".repeat(2 << 20))),
        replied("flood: 90 fields pass", reply(head("x: y\r\n".repeat(90))), answered(200).body(Framing::Length, "ok")),
        endless,
    ]
}
