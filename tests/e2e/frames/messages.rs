//! Requests over frames that are malformed, ambiguous or too large, and some that only look so.

use super::Outcome::{Answers, Ends, LivesOn, Refuses, Resets, Sends};
use super::{CALM, Case, HOST, PROTOCOL, case};
use crate::kit::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, block, frame, headers, settings,
    string,
};

/// A GET that the endpoint never gets.
fn refused_get() -> Vec<(&'static str, &'static str)> {
    vec![(":method", "GET"), (":scheme", "https"), (":path", "/refused"), (":authority", HOST)]
}

fn refused_post() -> Vec<(&'static str, &'static str)> {
    [vec![(":method", "POST")], refused_get()[1..].to_vec()].concat()
}

/// The GET with another value of one field.
fn but<'f>(name: &str, value: &'f str) -> Vec<(&'f str, &'f str)> {
    refused_get().into_iter().map(|(key, old)| (key, if key == name { value } else { old })).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let parts = [connection_fields(), bytes(), pseudo(), hosts(), lengths(), large(), floods(), taken()];
    parts.into_iter().flatten().collect()
}

fn connection_fields() -> Vec<Case> {
    [
        ("connection", "close"),
        ("connection", "te"),
        ("connection", "x-private"),
        ("connection", ""),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", ""),
    ]
    .into_iter()
    .map(|(name, value)| {
        let fields = [refused_get(), vec![(name, value)]].concat();
        case(
            format!("connection field {name}: {value:?}"),
            vec![headers(1, END_STREAM, &fields)],
            Resets(1, &[PROTOCOL]),
        )
    })
    .collect()
}

/// HEADERS of a GET and one field of any bytes.
fn with_raw(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| bytes.len() as u8;
    let field = [&[0, length(name)], name, &[length(value)], value].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, [block(&refused_get()), field].concat())
}

fn bytes() -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in (0..=0x1f).filter(|byte| *byte != b'\t').chain([0x7f]) {
        let value = with_raw(b"x", &[b'a', byte, b'b']);
        cases.push(case(format!("byte {byte:#04x} in a value"), vec![value], Resets(1, &[PROTOCOL])));
    }
    for byte in b"\0\t\n\r \"(),/;<=>?@AZ[\\]{}\x7f\x80\xff".iter().copied() {
        let name = with_raw(&[b'x', byte, b'y'], b"a");
        // The h2 crate takes the quote; the gateway answers for it.
        let outcome = if byte == b'"' { Refuses(1, &[400]) } else { Resets(1, &[PROTOCOL]) };
        cases.push(case(format!("byte {byte:#04x} in a name"), vec![name], outcome));
    }
    cases.push(case("an empty name", vec![with_raw(b"", b"a")], Resets(1, &[PROTOCOL])));
    cases.push(case("a colon alone as a name", vec![with_raw(b":", b"a")], Resets(1, &[PROTOCOL])));
    cases.push(case("a colon behind a name", vec![with_raw(b"x:", b"a")], Resets(1, &[PROTOCOL])));
    cases
}

fn pseudo() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, method) in [
        ("empty", ""),
        ("with a blank", "GET /x"),
        ("with a line end", "GET\r\n"),
        ("that is no token", "G(T"),
        ("with a slash", "GE/T"),
    ] {
        let fields = but(":method", method);
        cases.push(case(format!("a method {what}"), vec![headers(1, END_STREAM, &fields)], Refuses(1, &[400])));
    }
    for (method, statuses) in [("TRACE", &[405][..]), ("CONNECT", &[405, 400])] {
        let fields = but(":method", method);
        cases.push(case(format!("the method {method}"), vec![headers(1, END_STREAM, &fields)], Refuses(1, statuses)));
    }
    let tunnel = [(":method", "CONNECT"), (":authority", "example.com:443")];
    cases.push(case("CONNECT as it is written", vec![headers(1, 0, &tunnel)], Refuses(1, &[405, 400])));
    let extended = [&[(":method", "CONNECT"), (":protocol", "websocket")][..], &refused_get()[1..]].concat();
    cases.push(case(
        "extended CONNECT, which is not announced",
        vec![headers(1, 0, &extended)],
        Refuses(1, &[405, 400]),
    ));
    for (what, path) in [
        ("without a slash", "refused"),
        ("that is an asterisk", "*"),
        ("with a blank", "/refused x"),
        ("with a version", "/refused HTTP/1.1"),
        ("with a line end", "/refused\r\nx: y"),
        ("with a NUL", "/refused\0"),
        ("with a DEL", "/refused\u{7f}"),
        ("that is a URL", "https://shop.example.com/refused"),
        ("that is a URL of another host", "https://other.example.com/refused"),
        ("with an angle bracket", "/refused<"),
        ("with quotes in the query", "/refused?\""),
        ("that is a host and a port", "shop.example.com:443"),
        ("that is a query alone", "?refused"),
        ("that begins with a backslash", "\\refused"),
    ] {
        let fields = but(":path", path);
        cases.push(case(format!("a path {what}"), vec![headers(1, END_STREAM, &fields)], Refuses(1, &[400])));
    }
    for scheme in ["ftp ", "https\0"] {
        let fields = but(":scheme", scheme);
        cases.push(case(format!("a scheme {scheme:?}"), vec![headers(1, END_STREAM, &fields)], Refuses(1, &[400])));
    }
    for name in [":authority", ":method", ":path", ":scheme"] {
        let fields = [refused_get(), vec![("x", "y"), (name, "/refused")]].concat();
        let sends = vec![headers(1, END_STREAM, &fields)];
        cases.push(case(format!("{name} again, behind a field"), sends, Resets(1, &[PROTOCOL])));
    }
    cases
}

fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, authority) in [
        ("with user information", "user@shop.example.com"),
        ("with a password", "user:secret@shop.example.com"),
        ("with a path", "shop.example.com/a"),
        ("with a blank", "shop example.com"),
        ("with a port that is none", "shop.example.com:http"),
        ("with a port that is too large", "shop.example.com:65536"),
        ("with two ports", "shop.example.com:443:443"),
        ("with an open bracket", "[::1"),
        ("that is a list", "shop.example.com,other.example.com"),
    ] {
        let fields = but(":authority", authority);
        cases.push(case(
            format!("an authority {what}"),
            vec![headers(1, END_STREAM, &fields)],
            Refuses(1, &[400, 421]),
        ));
    }
    let none: Vec<_> = refused_get().into_iter().filter(|(name, _)| *name != ":authority").collect();
    cases.push(case("no authority and no host", vec![headers(1, END_STREAM, &none)], Refuses(1, &[400, 421])));
    let other = [refused_get(), vec![("host", "other.example.com")]].concat();
    cases.push(case(
        "a host that differs from the authority",
        vec![headers(1, END_STREAM, &other)],
        Refuses(1, &[400]),
    ));
    let twice = [none, vec![("host", HOST), ("host", "other.example.com")]].concat();
    cases.push(case("two hosts and no authority", vec![headers(1, END_STREAM, &twice)], Refuses(1, &[400])));
    let elsewhere = but(":authority", "other.example.com");
    cases.push(case(
        "a host that the connection is not for",
        vec![headers(1, END_STREAM, &elsewhere)],
        Answers(1, &[404, 421]),
    ));
    cases
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in ["+4", "-4", "4, 4", "", "0x4", "4a", "18446744073709551620"] {
        let fields = [refused_post(), vec![("content-length", length)]].concat();
        let sends = vec![headers(1, 0, &fields), frame(DATA, END_STREAM, 1, b"test")];
        cases.push(case(format!("a length of {length:?}"), sends, Refuses(1, &[400])));
    }
    let twice = |other| [refused_post(), vec![("content-length", "4"), ("content-length", other)]].concat();
    for other in ["4", "5"] {
        let sends = vec![headers(1, 0, &twice(other)), frame(DATA, END_STREAM, 1, b"test")];
        cases.push(case(format!("two lengths, 4 and {other}"), sends, Refuses(1, &[400])));
    }
    let length = |value| headers(1, 0, &[refused_post(), vec![("content-length", value)]].concat());
    let data = |flags, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    for (what, sends) in [
        ("too little", vec![length("5"), data(END_STREAM, b"test")]),
        ("too little in two", vec![length("5"), data(0, b"te"), data(END_STREAM, b"st")]),
        ("too much in two", vec![length("3"), data(0, b"te"), data(END_STREAM, b"st")]),
        ("nothing", vec![length("5"), data(END_STREAM, b"")]),
        ("too little before trailers", vec![length("5"), data(0, b"test"), headers(1, END_STREAM, &[("x", "y")])]),
    ] {
        cases.push(case(format!("a body of {what}"), sends, Resets(1, &[PROTOCOL])));
    }
    // The head alone is a whole request, and may have gone on before the body is known to be too much.
    let zero = [but(":path", "/"), vec![("content-length", "0")]].concat();
    let sends = vec![headers(1, 0, &zero), data(END_STREAM, b"test")];
    cases.push(case("a body of something for a length of 0", sends, Resets(1, &[PROTOCOL])));
    let ended = headers(1, END_STREAM, &[refused_post(), vec![("content-length", "5")]].concat());
    cases.push(case("a length without a body", vec![ended], Resets(1, &[PROTOCOL])));
    cases
}

fn large() -> Vec<Case> {
    let (field, path) = ("a".repeat(3000), format!("/refused{}", "a".repeat(9 << 10)));
    let many: Vec<_> = [refused_get(), vec![("x", "y"); 200]].concat();
    let fields = |count| {
        let large: Vec<_> = [refused_get(), vec![("x", field.as_str()); count]].concat();
        let whole = block(&large);
        let (first, rest) = whole.split_at(9000);
        let mut frames = vec![frame(HEADERS, END_STREAM, 1, first)];
        frames.extend(rest.chunks(9000).map(|part| frame(CONTINUATION, 0, 1, part)));
        frames.push(frame(CONTINUATION, END_HEADERS, 1, b""));
        frames
    };
    vec![
        case("a path that is too long", vec![headers(1, END_STREAM, &but(":path", &path))], Refuses(1, &[414])),
        case("too many fields", vec![headers(1, END_STREAM, &many)], Refuses(1, &[431])),
        case("fields that are too large", fields(14), Refuses(1, &[431])),
    ]
}

fn floods() -> Vec<Case> {
    let resets: Vec<u8> = (0..2000)
        .flat_map(|number| {
            let stream = 1 + 2 * number;
            [headers(stream, END_STREAM, &but(":path", "/reset")), frame(RST_STREAM, 0, stream, 8u32.to_be_bytes())]
                .concat()
        })
        .collect();
    let endless = (0..2000).map(|_| frame(CONTINUATION, 0, 1, block(&[("x", "y")]))).collect::<Vec<_>>().concat();
    let started = frame(HEADERS, END_STREAM, 1, block(&refused_get()));
    vec![
        case("1 000 PING are answered", vec![frame(PING, 0, 0, [1; 8]).repeat(1000)], Sends(PING, ACK)),
        case("100 SETTINGS are taken", vec![settings(&[(3, 100)]).repeat(100)], LivesOn),
        case("2 000 streams that are reset at once", vec![resets], Ends(&[CALM])),
        case("2 000 CONTINUATION", vec![[started, endless].concat()], Ends(&[CALM, PROTOCOL])),
    ]
}

fn taken() -> Vec<Case> {
    let with = |name: &'static str, value: &'static str| {
        let fields = [but(":path", "/"), vec![(name, value)]].concat();
        headers(1, END_STREAM, &fields)
    };
    let method = |method: &'static str| {
        let fields = vec![(":method", method), (":scheme", "https"), (":path", "/"), (":authority", HOST)];
        vec![headers(1, END_STREAM, &fields)]
    };
    let hosted = [&but(":path", "/")[..3], &[("host", HOST)]].concat();
    let cookies = [but(":path", "/"), vec![("cookie", "a=b"), ("cookie", "c=d")]].concat();
    let long = [0x00].into_iter().chain(string("x")).chain(string(&"a".repeat(2000))).collect::<Vec<u8>>();
    let long = frame(HEADERS, END_STREAM | END_HEADERS, 1, [block(&but(":path", "/")), long].concat());
    let mut cases = vec![
        case("taken: TE of trailers", vec![with("te", "trailers")], Answers(1, &[200])),
        case("taken: a value with a tab", vec![with("x", "a\tb")], Answers(1, &[200])),
        case("taken: an empty value", vec![with("x", "")], Answers(1, &[200])),
        case("taken: every byte of a token", vec![with("!#$%&'*+-.^_`|~09az", "a")], Answers(1, &[200])),
        case("taken: a length of 0", vec![with("content-length", "0")], Answers(1, &[200])),
        case("taken: a host beside the authority", vec![with("host", HOST)], Answers(1, &[200])),
        case("taken: a host without the authority", vec![headers(1, END_STREAM, &hosted)], Answers(1, &[200])),
        case("taken: two cookies", vec![headers(1, END_STREAM, &cookies)], Answers(1, &[200])),
        case("taken: a long value", vec![long], Answers(1, &[200])),
        case(
            "taken: an authority with a port",
            vec![headers(1, END_STREAM, &{
                let fields = but(":path", "/");
                fields
                    .into_iter()
                    .map(|(key, old)| (key, if key == ":authority" { "shop.example.com:443" } else { old }))
                    .collect::<Vec<_>>()
            })],
            Answers(1, &[200]),
        ),
    ];
    // The h2 crate takes it; no endpoint and no route ever sees a scheme.
    let bare: Vec<_> =
        but(":path", "/").into_iter().map(|(key, old)| (key, if key == ":scheme" { "" } else { old })).collect();
    cases.push(case("taken: an empty scheme", vec![headers(1, END_STREAM, &bare)], Answers(1, &[200])));
    for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PURGE", "get"] {
        cases.push(case(format!("taken: the method {name}"), method(name), Answers(1, &[200])));
    }
    cases
}
