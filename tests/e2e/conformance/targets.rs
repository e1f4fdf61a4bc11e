//! The request line: methods, targets and versions (RFC 9112, section 3).

use super::case::{Case, ClientEnd, answered, got, passes, refused};

pub(super) fn cases() -> Vec<Case> {
    [lines(), versions(), targets(), methods(), large()].concat()
}

fn line(line: &str) -> String {
    format!("{line}\r\nhost: $H\r\n\r\n")
}

fn lines() -> Vec<Case> {
    [
        ("two blanks before the target", "GET  / HTTP/1.1"),
        ("two blanks before the version", "GET /  HTTP/1.1"),
        ("a blank at the end", "GET / HTTP/1.1 "),
        ("a tab before the target", "GET\t/ HTTP/1.1"),
        ("a tab before the version", "GET /\tHTTP/1.1"),
        ("a tab at the end", "GET / HTTP/1.1\t"),
        ("no target", "GET HTTP/1.1"),
        ("an empty target", "GET  HTTP/1.1"),
        ("no version", "GET /"),
        ("a version alone", "HTTP/1.1"),
        ("a method alone", "GET"),
        ("no method", " / HTTP/1.1"),
        ("a target alone", "/"),
        ("a fourth word", "GET / HTTP/1.1 x"),
        ("a raw blank in the target", "GET /a b HTTP/1.1"),
        ("a raw blank in the query", "GET /?a b HTTP/1.1"),
        ("a version in the target", "GET / HTTP/1.1 HTTP/1.1"),
        ("an answer", "HTTP/1.1 200 OK"),
        ("a method of 40 letters", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMN / HTTP/1.1"),
    ]
    .into_iter()
    .map(|(what, text)| refused(format!("request line: {what}"), 400, line(text)))
    .collect()
}

fn versions() -> Vec<Case> {
    let wrong = [
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/1.9",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/3.0",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/11",
        "HTTP/1.10",
        "HTTP/1.01",
        "HTTP/01.1",
        "HTTP/1,1",
        "HTTP/1.1.1",
        "HTTP/+1.1",
        "HTTP/1.x",
        "http/1.1",
        "Http/1.1",
        "HTTPS/1.1",
        "HTT/1.1",
        "HTTP1.1",
        "HTTP//1.1",
        "HTTP\\1.1",
        "XTTP/1.1",
        "ICE/1.0",
        "RTSP/1.0",
    ];
    wrong.into_iter().map(|word| refused(format!("version: {word}"), 400, line(&format!("GET / {word}")))).collect()
}

fn targets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, target) in [
        ("no slash", "a"),
        ("a host and a port", "$H:80"),
        ("a host", "$H"),
        ("a query alone", "?a"),
        ("an asterisk on GET", "*"),
        ("an asterisk and more", "/*\u{7f}"),
        ("a fragment", "/a#b"),
        ("a fragment in the query", "/?a#b"),
        ("a fragment alone", "#a"),
        ("an angle bracket", "/<a"),
        ("a closing angle bracket", "/a>"),
        ("quotes in the query", "/?\"a"),
        ("a backtick in the path", "/`a"),
        ("a backslash first", "\\a"),
        ("a dot first", "./a"),
    ] {
        cases.push(refused(format!("target: {what}"), 400, line(&format!("GET {target} HTTP/1.1"))));
    }
    cases.push(refused("target: no UTF-8", 400, b"GET /\xff\xfe HTTP/1.1\r\nhost: $H\r\n\r\n"));
    cases.push(refused("target: half of UTF-8", 400, b"GET /\xc3 HTTP/1.1\r\nhost: $H\r\n\r\n"));
    cases.push(refused("target: an asterisk on POST", 400, line("POST * HTTP/1.1")));
    for (what, target) in [
        ("a path", "/a/b"),
        ("an empty query", "/a?"),
        ("a query", "/a?b=c&d"),
        ("two question marks", "/?a?b"),
        ("a percent sign that is encoded", "/%25"),
        ("a slash in the query", "/?/a"),
        ("a URL in the query", "/?http://other.example.com/"),
        ("semicolons", "/a;b=c"),
        ("a colon", "/a:b"),
        ("an at sign", "/a@b"),
        ("quotes in the path", "/\"a\""),
        ("braces", "/{a}"),
        ("a bar and a caret", "/a|b^c"),
    ] {
        let bytes = line(&format!("GET {target} HTTP/1.1"));
        cases.push(passes(format!("target that is taken: {what}"), bytes, got(format!("GET {target} HTTP/1.1"))));
    }
    let asterisk = line("OPTIONS * HTTP/1.1");
    cases.push(
        refused("target: an asterisk on OPTIONS, which the gateway answers", 204, asterisk).ends(ClientEnd::Kept),
    );
    cases
}

fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "PROPFIND", "get", "Get", "G", "!#$%&'*+-.^_`|~"]
    {
        let bytes = line(&format!("{method} / HTTP/1.1"));
        cases.push(passes(format!("method: {method}"), bytes, got(format!("{method} / HTTP/1.1"))));
    }
    let head = passes("method: HEAD", line("HEAD / HTTP/1.1"), got("HEAD / HTTP/1.1"));
    cases.push(head.answers(vec![answered(200).body(crate::kit::message::Framing::None, "")]));
    for (what, text) in [
        ("CONNECT", "CONNECT $H:443 HTTP/1.1"),
        ("CONNECT of a path", "CONNECT / HTTP/1.1"),
        ("CONNECT of a URL", "CONNECT http://$H/ HTTP/1.1"),
    ] {
        cases.push(refused(format!("method: {what}"), 405, line(text)));
    }
    cases.push(refused("method: TRACE", 405, line("TRACE / HTTP/1.1")).ends(ClientEnd::Kept));
    let trace = "TRACE / HTTP/1.1\r\nhost: $H\r\nmax-forwards: 0\r\nauthorization: Basic eDp5\r\n\r\n";
    cases.push(refused("method: TRACE with what it would show", 405, trace).ends(ClientEnd::Kept));
    cases
}

fn large() -> Vec<Case> {
    let field = |name: &str, len: usize| format!("{name}: {}\r\n", "a".repeat(len));
    vec![
        refused("large: a target", 414, line(&format!("GET /{} HTTP/1.1", "a".repeat(9 << 10)))),
        refused("large: a target without end", 414, format!("GET /{}", "a".repeat(40 << 10))),
        refused("large: a query", 414, line(&format!("GET /?{} HTTP/1.1", "a".repeat(9 << 10)))),
        refused("large: a value", 431, format!("GET / HTTP/1.1\r\nhost: $H\r\n{}\r\n", field("x", 40 << 10))),
        refused(
            "large: a value without end",
            431,
            format!("GET / HTTP/1.1\r\nhost: $H\r\nx: {}", "a".repeat(60 << 10)),
        ),
        refused("large: a name", 431, format!("GET / HTTP/1.1\r\nhost: $H\r\n{}\r\n", field(&"n".repeat(40 << 10), 1))),
        refused(
            "large: two values",
            431,
            format!("GET / HTTP/1.1\r\nhost: $H\r\n{}\r\n", field("x", 20 << 10).repeat(2)),
        ),
        refused("large: many fields", 431, format!("GET / HTTP/1.1\r\nhost: $H\r\n{}\r\n", field("x", 1).repeat(200))),
        refused("large: a cookie", 431, format!("GET / HTTP/1.1\r\nhost: $H\r\n{}\r\n", field("cookie", 33 << 10))),
    ]
}
