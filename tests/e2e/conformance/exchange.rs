//! The order of things: requests ahead of their answers, answers ahead of their requests, bodies that are held back, sides that end.

use super::case::{
    Answered, Case, ClientEnd, Pool, Received, ReceivedRequest, Step, answered, early, get, get_with, got, passes,
    post, refused, reply,
};
use crate::kit::message::Framing;
use crate::kit::script::{ScriptedReply, Then};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";
const EXPECT: &str = "expect: 100-continue\r\n";

pub(super) fn cases() -> Vec<Case> {
    [pipelined(), ahead_of_errors(), held_back(), early_answers(), half_closed(), old()].concat()
}

/// The answer that the endpoint gives without a script.
fn echo(line: &str) -> Answered {
    answered(200).body(Framing::Length, line)
}

fn received(requests: &[ReceivedRequest]) -> Received {
    Received::Whole(requests.to_vec())
}

fn pipelined() -> Vec<Case> {
    let get_line = |path: &str| format!("GET {path} HTTP/1.1");
    let mut cases = Vec::new();
    for count in [2, 3, 10, 40] {
        let paths: Vec<String> = (0..count).map(|number| format!("/{number}")).collect();
        let bytes: String = paths.iter().map(|path| get(path)).collect();
        let requests: Vec<_> = paths.iter().map(|path| got(get_line(path))).collect();
        let case = passes(format!("pipelined: {count} requests"), bytes, got(""));
        let case = case.answers(paths.iter().map(|path| echo(&get_line(path))).collect());
        cases.push(case.received(received(&requests)));
    }
    let length = post("content-length: 3\r\n", "abc");
    let chunked = post("transfer-encoding: chunked\r\n", CHUNKS);
    let head = "HEAD /h HTTP/1.1\r\nhost: $H\r\n\r\n".to_owned();
    let posted = got("POST / HTTP/1.1");
    let (a, b, h) = (got(get_line("/a")), got(get_line("/b")), got("HEAD /h HTTP/1.1"));
    let headed = answered(200).body(Framing::None, "");
    let (echo_a, echo_b) = (echo("GET /a HTTP/1.1"), echo("GET /b HTTP/1.1"));
    let echo_post = echo("POST / HTTP/1.1");
    for (what, bytes, requests, answers) in [
        (
            "a request behind a body with a length",
            [length.clone(), get("/a")].concat(),
            vec![posted.clone().length("abc"), a.clone()],
            vec![echo_post.clone(), echo_a.clone()],
        ),
        (
            "a request behind chunks",
            [chunked.clone(), get("/a")].concat(),
            vec![posted.clone().chunked("abc"), a.clone()],
            vec![echo_post.clone(), echo_a.clone()],
        ),
        (
            "bodies between requests",
            [get("/a"), chunked.clone(), length.clone(), get("/b")].concat(),
            vec![a.clone(), posted.clone().chunked("abc"), posted.clone().length("abc"), b.clone()],
            vec![echo_a.clone(), echo_post.clone(), echo_post.clone(), echo_b.clone()],
        ),
        (
            "a request behind HEAD",
            [head.clone(), get("/a")].concat(),
            vec![h.clone(), a.clone()],
            vec![headed.clone(), echo_a.clone()],
        ),
        (
            "HEAD between requests",
            [get("/a"), head.clone(), get("/b")].concat(),
            vec![a.clone(), h, b],
            vec![echo_a.clone(), headed, echo_b],
        ),
        (
            "an empty line before the second request",
            format!("{}\r\n{}", get("/a"), get("/a")),
            vec![a.clone(), a.clone()],
            vec![echo_a.clone(), echo_a.clone()],
        ),
        (
            "an empty line behind a body, as old browsers sent",
            format!("{length}\r\n{}", get("/a")),
            vec![posted.length("abc"), a],
            vec![echo_post, echo_a],
        ),
    ] {
        let case = passes(format!("pipelined: {what}"), bytes, got("")).answers(answers);
        cases.push(case.received(Received::Whole(requests)));
    }
    let cut = [get("/a"), get("/b")].concat();
    let at = cut.len() - 20;
    let apart = passes("pipelined: the second head apart", "", got("")).steps(vec![
        Step::Send(cut[..at].into()),
        Step::Await("GET /a HTTP/1.1"),
        Step::Send(cut[at..].into()),
    ]);
    let apart = apart.answers(vec![echo("GET /a HTTP/1.1"), echo("GET /b HTTP/1.1")]);
    cases.push(apart.received(received(&[got(get_line("/a")), got(get_line("/b"))])));
    let closing = [get_with("/a", "connection: close\r\n"), get("/b")].concat();
    let closing = passes("pipelined: nothing behind a request that closes", closing, got("GET /a HTTP/1.1"));
    cases.push(closing.ends(ClientEnd::Closed));
    cases
}

/// A request that is well, and one behind it that is not: the first is answered, the second refused.
fn ahead_of_errors() -> Vec<Case> {
    [
        ("garbage", "garbage\r\n\r\n", 400),
        ("a bare LF", "GET / HTTP/1.1\nhost: $H\n\n", 400),
        ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
        (
            "both framings",
            "POST / HTTP/1.1\r\nhost: $H\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("CONNECT", "CONNECT $H:443 HTTP/1.1\r\nhost: $H\r\n\r\n", 405),
        ("a preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("bytes of TLS", "\x16\x03\x01\x02\0\x01\0\x01\n\r\n\r\n", 400),
    ]
    .into_iter()
    .map(|(what, bytes, status)| {
        let case = passes(format!("behind a request: {what}"), format!("{}{bytes}", get("/a")), got("GET /a HTTP/1.1"));
        case.answers(vec![echo("GET /a HTTP/1.1"), answered(status)]).ends(ClientEnd::Closed)
    })
    .collect()
}

fn held_back() -> Vec<Case> {
    let asked = ScriptedReply { at_head: CONTINUE.into(), at_end: OK.into(), then: Then::Keep };
    let ok = || answered(200).body(Framing::Length, "ok");
    let mut cases = Vec::new();
    for (what, fields, body, received) in [
        ("a length", "content-length: 3\r\n", "abc", got("POST / HTTP/1.1").length("abc")),
        ("chunks", "transfer-encoding: chunked\r\n", CHUNKS, got("POST / HTTP/1.1").chunked("abc")),
    ] {
        let received = received.field("expect", "100-continue");
        let head = post(&format!("{EXPECT}{fields}"), "");
        let waits = vec![Step::Send(head.clone().into()), Step::Await("100 Continue"), Step::Send(body.into())];
        let case = passes(format!("100-continue: {what}"), "", received.clone()).steps(waits);
        cases.push(case.by(asked.clone()).interims(&[100]).answers(vec![ok()]));
        let at_once = passes(format!("100-continue: {what}, nobody waits"), format!("{head}{body}"), received.clone());
        cases.push(at_once.by(asked.clone()).interims(&[100]).answers(vec![ok()]));
        let silent =
            passes(format!("100-continue: {what}, the endpoint just answers"), format!("{head}{body}"), received);
        cases.push(silent.by(reply(OK)).answers(vec![ok()]));
        // The final answer comes instead of 100: the client may send its body all the same, or leave.
        let no = || vec![answered(417).body(Framing::Length, "no")];
        let refusal = || early("HTTP/1.1 417 No\r\ncontent-length: 2\r\n\r\nno", Then::Keep);
        for (after, steps, end) in [
            ("the client leaves", Vec::new(), ClientEnd::Left),
            ("the body comes all the same", vec![Step::Send(body.into())], ClientEnd::Any),
        ] {
            let steps = [vec![Step::Send(head.clone().into()), Step::Await("417")], steps].concat();
            let refused =
                passes(format!("100-continue: {what}, refused, {after}"), "", got("")).steps(steps).by(refusal());
            cases.push(refused.answers(no()).received(Received::InStep).ends(end).pool(Pool::Any));
        }
    }
    let none = get_with("/", EXPECT);
    let received = got("GET / HTTP/1.1").field("expect", "100-continue");
    cases.push(passes("100-continue: without a body", none, received).by(reply(OK)).answers(vec![ok()]));
    let old = format!("POST / HTTP/1.0\r\nhost: $H\r\n{EXPECT}content-length: 3\r\n\r\nabc");
    let received = got("POST / HTTP/1.1").field("expect", "100-continue").length("abc");
    let case = passes("100-continue: a client of HTTP/1.0 gets no interim answer", old, received).by(asked);
    cases.push(case.answers(vec![ok()]).ends(ClientEnd::Closed));
    cases
}

/// The endpoint answers before it has the request.
fn early_answers() -> Vec<Case> {
    let no = "HTTP/1.1 413 Too much\r\ncontent-length: 2\r\n\r\nno";
    let mut cases = Vec::new();
    for (what, then) in [("and keeps", Then::Keep), ("and closes", Then::Close)] {
        for (framing, fields, body) in [
            ("a length", "content-length: 10\r\n", "abc"),
            ("chunks", "transfer-encoding: chunked\r\n", "3\r\nabc\r\n"),
        ] {
            let case = refused(format!("early answer {what}, of {framing}"), 413, post(fields, body));
            let case = case.by(early(no, then.clone())).answers(vec![answered(413).body(Framing::Length, "no")]);
            cases.push(case.received(Received::NothingWhole).pool(Pool::Dropped));
        }
    }
    // The rest of the body comes after the answer: both connections may go on or end, but never out of step.
    let late = passes("early answer, the body ends later", "", got("POST / HTTP/1.1").length("abcdef"));
    let late = late.steps(vec![
        Step::Send(post("content-length: 6\r\n", "abc").into()),
        Step::Await("413"),
        Step::Send("def".into()),
    ]);
    let late = late.by(early(no, Then::Keep)).answers(vec![answered(413).body(Framing::Length, "no")]);
    cases.push(late.received(Received::InStep).ends(ClientEnd::Any).pool(Pool::Any));
    cases
}

fn half_closed() -> Vec<Case> {
    let ends = |name: &str, bytes: String, requests: &[ReceivedRequest], answers: Vec<Answered>| {
        let case = passes(format!("half-closed: {name}"), "", got("")).steps(vec![Step::Send(bytes.into()), Step::End]);
        case.received(received(requests)).answers(answers).ends(ClientEnd::Closed).pool(Pool::Any)
    };
    let posted = got("POST / HTTP/1.1");
    let (line, post_line) = ("GET /a HTTP/1.1", "POST / HTTP/1.1");
    let mut cases = vec![
        ends("after a request", get("/a"), &[got(line)], vec![echo(line)]),
        ends("after two requests", get("/a").repeat(2), &[got(line), got(line)], vec![echo(line), echo(line)]),
        ends(
            "after a body with a length",
            post("content-length: 3\r\n", "abc"),
            &[posted.clone().length("abc")],
            vec![echo(post_line)],
        ),
        ends(
            "after chunks",
            post("transfer-encoding: chunked\r\n", CHUNKS),
            &[posted.chunked("abc")],
            vec![echo(post_line)],
        ),
        ends("after a request that closes", get_with("/a", "connection: close\r\n"), &[got(line)], vec![echo(line)]),
    ];
    for (what, bytes) in [
        ("before a request", String::new()),
        ("within a request line", "GET / HT".to_owned()),
        ("within a field", "GET / HTTP/1.1\r\nhost: $".to_owned()),
        ("before the last line end", "GET / HTTP/1.1\r\nhost: $H\r\n".to_owned()),
        ("within a body with a length", post("content-length: 6\r\n", "abc")),
        ("before the first byte of a body", post("content-length: 6\r\n", "")),
        ("within a chunk", post("transfer-encoding: chunked\r\n", "6\r\nabc")),
        ("between chunks", post("transfer-encoding: chunked\r\n", "3\r\nabc\r\n")),
        ("before the last line end of chunks", post("transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n")),
        ("within a size", post("transfer-encoding: chunked\r\n", "3")),
        ("within trailers", post("transfer-encoding: chunked\r\n", "0\r\nx: y")),
    ] {
        let case = ends(what, bytes, &[], Vec::new());
        cases.push(case.received(Received::NothingWhole));
    }
    cases
}

/// Clients of HTTP/1.0.
fn old() -> Vec<Case> {
    let ok = || answered(200).body(Framing::Length, "GET /a HTTP/1.1");
    let line = || got("GET /a HTTP/1.1");
    let request = |fields: &str| format!("GET /a HTTP/1.0\r\nhost: $H\r\n{fields}\r\n");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let plain = || answered(200).body(Framing::ToEnd, "abcdef").without("transfer-encoding");
    let hints = format!("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n{OK}");
    let ends = |name: &str, fields: &str| passes(name, request(fields), line()).ends(ClientEnd::Closed);
    vec![
        ends("HTTP/1.0: the connection ends", "").answers(vec![ok()]),
        passes("HTTP/1.0: keep-alive", request("connection: keep-alive\r\n"), line()).answers(vec![ok()]),
        ends("HTTP/1.0: close", "connection: close\r\n").answers(vec![ok()]),
        ends("HTTP/1.0: chunks become a body to the end", "").by(reply(chunked)).answers(vec![plain()]),
        ends("HTTP/1.0: chunks end a connection that would be kept", "connection: keep-alive\r\n")
            .by(reply(chunked))
            .answers(vec![plain()]),
        ends("HTTP/1.0: no interim answer", "")
            .by(reply(hints))
            .answers(vec![answered(200).body(Framing::Length, "ok")]),
        passes(
            "HTTP/1.0: no tunnel",
            "GET /a HTTP/1.0\r\nhost: $H\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            line(),
        )
        .answers(vec![ok()])
        .ends(ClientEnd::Closed),
    ]
}
