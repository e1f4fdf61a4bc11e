//! Fields that belong to one connection, in requests and in answers (RFC 9110, section 7.6.1), and those that the gateway writes.

use super::case::{Case, ClientEnd, answered, get_with, got, passes, post, refused, replied, reply};
use crate::kit::message::Framing;

/// Fields of the message itself: a connection that claims one of them would take from the endpoint what the client said to it.
const END_TO_END: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "cookie",
    "expect",
    "range",
    "if-match",
    "cache-control",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "x-request-id",
    "x-weir-version",
];

pub(super) fn cases() -> Vec<Case> {
    [of_requests(), nominating(), forged(), of_answers()].concat()
}

fn of_requests() -> Vec<Case> {
    let line = || got("GET / HTTP/1.1");
    let mut cases = Vec::new();
    for (what, fields) in [
        ("Connection", "connection: keep-alive\r\n"),
        ("Connection in capitals", "CONNECTION: Keep-Alive\r\n"),
        ("an empty Connection", "connection:\r\n"),
        ("Connection of commas", "connection: , ,\r\n"),
        ("Keep-Alive", "keep-alive: timeout=5\r\n"),
        ("Keep-Alive that is nominated", "connection: keep-alive\r\nkeep-alive: timeout=5\r\n"),
        ("Proxy-Connection", "proxy-connection: keep-alive\r\n"),
        ("Proxy-Connection that closes", "proxy-connection: close\r\n"),
        ("TE", "te: gzip\r\n"),
        ("TE that is nominated", "connection: te\r\nte: trailers, deflate;q=0.5\r\n"),
        ("Upgrade that nobody offers", "upgrade: h2c\r\n"),
        ("Upgrade to h2c", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"),
        ("Upgrade to what the version has not", "connection: upgrade\r\nupgrade: irc/6.9\r\n"),
        ("one nominated field", "connection: x-private\r\nx-private: 1\r\n"),
        ("a nominated field in another case", "connection: X-PRIVATE\r\nx-Private: 1\r\n"),
        ("a nominated field before its nomination", "x-private: 1\r\nconnection: x-private\r\n"),
        ("two nominated fields", "connection: x-a, x-b\r\nx-a: 1\r\nx-b: 2\r\n"),
        ("two nominations", "connection: x-a\r\nconnection: x-b\r\nx-a: 1\r\nx-b: 2\r\n"),
        ("every field of a nominated name", "connection: x-a\r\nx-a: 1\r\nx-a: 2\r\n"),
        ("nominations without blanks", "connection: keep-alive,x-a,x-b\r\nx-a: 1\r\nx-b: 2\r\n"),
        ("a nomination of what is not there", "connection: x-a\r\n"),
        ("a nomination with blanks", "connection: \t x-a \t\r\nx-a: 1\r\n"),
    ] {
        cases.push(passes(format!("stripped: {what}"), get_with("/", fields), line()));
    }
    let beside = get_with("/", "connection: x-a\r\nx-a: 1\r\nx-ab: 2\r\nx: 3\r\n");
    cases.push(passes("stripped: no field beside it", beside, line().field("x-ab", "2").field("x", "3")));
    for (what, fields) in [
        ("close", "connection: close\r\n"),
        ("close in capitals", "connection: CLOSE\r\n"),
        ("close in a list", "connection: x-a, close\r\nx-a: 1\r\n"),
        ("close beside keep-alive", "connection: keep-alive, close\r\n"),
        ("close in the second field", "connection: keep-alive\r\nconnection: close\r\n"),
    ] {
        cases.push(passes(format!("Connection: {what}"), get_with("/", fields), line()).ends(ClientEnd::Closed));
    }
    cases
}

fn nominating() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in END_TO_END {
        let length = if *name == "content-length" { "" } else { "content-length: 3\r\n" };
        let field = match *name {
            "host" => String::new(),
            "content-length" => "content-length: 3\r\n".into(),
            "transfer-encoding" => String::new(),
            "expect" => String::new(),
            name => format!("{name}: 1\r\n"),
        };
        let bytes = post(&format!("connection: {name}\r\n{length}{field}"), "abc");
        cases.push(refused(format!("nominated: {name}"), 400, bytes));
    }
    let late = get_with("/", "authorization: Basic eDp5\r\nconnection: keep-alive, Authorization\r\n");
    cases.push(refused("nominated: in a list, in capitals, behind the field", 400, late));
    cases.push(refused("nominated: what is no name", 400, get_with("/", "connection: x a\r\n")));
    cases.push(refused("nominated: what is no token", 400, get_with("/", "connection: x(a)\r\n")));
    cases.push(refused("nominated: bytes over 0x7f", 400, get_with("/", "connection: \u{e9}\r\n")));
    cases
}

fn forged() -> Vec<Case> {
    [
        ("the version", "x-weir-version: 9\r\n"),
        ("the version with underscores", "x_weir_version: 9\r\n"),
        ("the function in capitals", "X-WEIR-FUNCTION: bank\r\n"),
        ("a stage variable", "x-weir-stage-region: moon\r\n"),
        ("what the gateway never says", "x-weir-anything: 1\r\n"),
        ("the client's address", "x-forwarded-for: 6.6.6.6\r\n"),
        ("the client's address with underscores", "x_forwarded_for: 6.6.6.6\r\n"),
        ("the scheme", "x-forwarded-proto: https\r\n"),
        ("Forwarded", "forwarded: for=6.6.6.6;proto=https\r\n"),
        ("the request id", "x-request-id: forged\r\n"),
        ("X-Real-IP", "X-Real-IP: 6.6.6.6\r\n"),
        ("Proxy", "proxy: http://6.6.6.6\r\n"),
    ]
    .into_iter()
    .map(|(what, fields)| passes(format!("forged: {what}"), get_with("/", fields), got("GET / HTTP/1.1")))
    .collect()
}

fn of_answers() -> Vec<Case> {
    let answer = |fields: &str| reply(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok"));
    let ok = || answered(200).body(Framing::Length, "ok");
    let mut cases = Vec::new();
    for (name, fields) in [
        ("keep-alive", "keep-alive: timeout=5\r\n"),
        ("proxy-connection", "proxy-connection: keep-alive\r\n"),
        ("upgrade", "upgrade: h2c\r\n"),
        ("te", "te: gzip\r\n"),
        ("x-private", "connection: x-private\r\nx-private: 1\r\n"),
        ("x-late", "x-late: 1\r\nconnection: X-Late\r\n"),
        ("x-second", "connection: x-first\r\nconnection: x-second\r\nx-second: 1\r\nx-first: 2\r\n"),
    ] {
        cases.push(replied(format!("stripped from an answer: {name}"), answer(fields), ok().without(name)));
    }
    for (what, fields) in [("x-weir-version", "x-weir-version: 9\r\n"), ("x-request-id", "x-request-id: forged\r\n")] {
        let mut case = replied(format!("forged in an answer: {what}"), answer(fields), ok());
        if what == "x-weir-version" {
            case.expected.answers[0] = ok().with("x-weir-version", "1");
        }
        cases.push(case);
    }
    cases.push(replied("kept in an answer: x", answer("x: a\r\n"), ok().with("x", "a")));
    cases.push(replied("kept in an answer: an empty value", answer("x:\r\n"), ok().with("x", "")));
    cases.push(replied("kept in an answer: a tab", answer("x: a\tb\r\n"), ok().with("x", "a\tb")));
    cases.push(replied(
        "kept in an answer: bytes over 0x7f",
        {
            let mut bytes = b"HTTP/1.1 200 OK\r\nx: \xe9\xff\r\n".to_vec();
            bytes.extend_from_slice(b"content-length: 2\r\n\r\nok");
            reply(bytes)
        },
        ok().with("x", "\u{e9}\u{ff}"),
    ));
    cases
}
