//! Answers that are well: every framing, statuses without a body, interim answers, trailers, tunnels that were asked for.

use super::case::{Case, ClientEnd, Pool, Step, answered, get, get_with, got, passes, replied, reply, reply_then};
use crate::kit::message::Framing;
use crate::kit::script::{ScriptedReply, Then};

pub(super) fn cases() -> Vec<Case> {
    [framed(), to_end(), without_body(), interim(), trailers(), tunnels()].concat()
}

fn head(rest: &str) -> ScriptedReply {
    reply(format!("HTTP/1.1 200 OK\r\n{rest}"))
}

fn framed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, rest, framing, body) in [
        ("a length", "content-length: 3\r\n\r\nabc", Framing::Length, "abc"),
        ("a length of 0", "content-length: 0\r\n\r\n", Framing::Length, ""),
        ("a length with zeros", "content-length: 003\r\n\r\nabc", Framing::Length, "abc"),
        ("a length with blanks", "content-length: \t3 \r\n\r\nabc", Framing::Length, "abc"),
        ("a length in capitals", "CONTENT-LENGTH: 3\r\n\r\nabc", Framing::Length, "abc"),
        ("chunks", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Framing::Chunked, "abc"),
        ("no chunks", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", Framing::Chunked, ""),
        ("chunks in capitals", "Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Framing::Chunked, "abc"),
        (
            "many chunks",
            "transfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n",
            Framing::Chunked,
            "abc",
        ),
        ("an extension", "transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n", Framing::Chunked, "abc"),
        ("sizes with zeros", "transfer-encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n", Framing::Chunked, "abc"),
        (
            "capital sizes",
            "transfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
            Framing::Chunked,
            "0123456789",
        ),
        ("data like an answer", "content-length: 15\r\n\r\nHTTP/1.1 200 \r\n", Framing::Length, "HTTP/1.1 200 \r\n"),
        (
            "data like a last chunk",
            "transfer-encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n",
            Framing::Chunked,
            "0\r\n\r\n",
        ),
    ] {
        cases.push(replied(format!("answer by {what}"), head(rest), answered(200).body(framing, body)));
    }
    for (what, line) in [
        ("no reason", "HTTP/1.1 200 "),
        ("no reason and no blank", "HTTP/1.1 200"),
        ("a long reason", "HTTP/1.1 200 All is well, as it was before"),
        ("a reason with a tab", "HTTP/1.1 200 a\tb"),
        ("a status that nobody knows", "HTTP/1.1 299 What"),
        ("a status of errors that nobody knows", "HTTP/1.1 599 What"),
    ] {
        let status: u16 = line[9..12].parse().expect("a status");
        let bytes = format!("{line}\r\ncontent-length: 3\r\n\r\nabc");
        cases.push(replied(format!("answer with {what}"), reply(bytes), answered(status).body(Framing::Length, "abc")));
    }
    for status in [201, 202, 203, 206, 300, 301, 303, 307, 400, 401, 404, 409, 416, 418, 451, 500, 501, 505] {
        let bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: 3\r\n\r\nabc");
        cases.push(replied(format!("answer {status}"), reply(bytes), answered(status).body(Framing::Length, "abc")));
    }
    let closing = head("connection: close\r\ncontent-length: 3\r\n\r\nabc");
    let case = replied("answer that closes", closing, answered(200).body(Framing::Length, "abc").without("x"));
    cases.push(case.pool(Pool::Dropped));
    let old = |fields: &str| reply(format!("HTTP/1.0 200 OK\r\n{fields}content-length: 3\r\n\r\nabc"));
    let case = replied("answer of HTTP/1.0", old(""), answered(200).body(Framing::Length, "abc"));
    cases.push(case.pool(Pool::Dropped));
    let kept = old("connection: keep-alive\r\n");
    cases.push(
        replied("answer of HTTP/1.0 that is kept", kept, answered(200).body(Framing::Length, "abc")).pool(Pool::Any),
    );
    cases
}

/// Bodies that end with the endpoint's connection.
fn to_end() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, bytes, body) in [
        ("the end", "HTTP/1.1 200 OK\r\n\r\nabc", "abc"),
        ("the end, at once", "HTTP/1.1 200 OK\r\n\r\n", ""),
        ("the end, of HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nabc", "abc"),
        ("the end, said", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc", "abc"),
    ] {
        let case = replied(
            format!("answer by {what}"),
            reply_then(bytes, Then::Close),
            answered(200).body(Framing::Chunked, body),
        );
        cases.push(case.pool(Pool::Dropped));
    }
    cases
}

fn without_body() -> Vec<Case> {
    let mut cases = Vec::new();
    let none = |status: u16| answered(status).body(Framing::None, "");
    for (what, bytes, status) in [
        ("204", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("204 with a length", "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 204),
        ("204 with a length of 5", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204),
        ("304", "HTTP/1.1 304 Not Modified\r\n\r\n", 304),
        ("304 with a length", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"a\"\r\n\r\n", 304),
        ("304 with chunks that it has not", "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", 304),
    ] {
        let case = replied(format!("no body: {what}"), reply(bytes), none(status));
        cases.push(if what.contains("chunks") { case.pool(Pool::Any) } else { case });
    }
    for (what, fields) in
        [("a length", "content-length: 5\r\n"), ("chunks", "transfer-encoding: chunked\r\n"), ("neither", "")]
    {
        let bytes = "HEAD / HTTP/1.1\r\nhost: $H\r\n\r\n";
        let case = passes(format!("no body: HEAD with {what}"), bytes, got("HEAD / HTTP/1.1"));
        cases.push(case.by(reply(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))).answers(vec![none(200)]));
    }
    // What comes behind such an answer is nobody's: it goes, and its connection with it.
    for (what, method, bytes, status) in [
        ("204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("204 with a length", "GET", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204),
        ("304", "GET", "HTTP/1.1 304 Not Modified\r\n\r\n", 304),
        ("304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304),
        ("HEAD", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 200),
        ("HEAD with chunks", "HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200),
        ("a length", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
        ("chunks", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    ] {
        let answer = if method == "HEAD" || status != 200 { none(status) } else { answered(200) };
        for (kind, surplus) in [
            ("a body", "abcde"),
            ("an answer", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"),
            ("a line end", "\r\n"),
        ] {
            let request = format!("{method} / HTTP/1.1\r\nhost: $H\r\n\r\n");
            let case = passes(format!("surplus: {kind} behind {what}"), &request, got(format!("{method} / HTTP/1.1")));
            let case = case.answers(vec![answer.clone()]).pool(Pool::Dropped);
            cases.push(case.clone().by(reply(format!("{bytes}{surplus}"))));
            let mut later = case.by(reply_then(bytes, Then::Later(surplus.into())));
            later.name.push_str(", later");
            cases.push(later);
        }
    }
    cases
}

fn interim() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    let mut cases = Vec::new();
    for (what, bytes, interims) in [
        ("103", hints.to_owned(), &[103][..]),
        ("103 twice", hints.repeat(2), &[103, 103]),
        ("102", "HTTP/1.1 102 Processing\r\n\r\n".to_owned(), &[102]),
        ("100 that nobody asked for", "HTTP/1.1 100 Continue\r\n\r\n".to_owned(), &[100]),
        ("100 and 103", format!("HTTP/1.1 100 Continue\r\n\r\n{hints}"), &[100, 103]),
        ("one that nobody knows", "HTTP/1.1 199 What\r\n\r\n".to_owned(), &[199]),
        ("103 with a length", "HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\n".to_owned(), &[103]),
        (
            "103 with fields of the connection",
            "HTTP/1.1 103 Early Hints\r\nkeep-alive: a\r\nconnection: x\r\nx: y\r\n\r\n".to_owned(),
            &[103],
        ),
        ("20 of 103", hints.repeat(20), &[103; 20]),
    ] {
        let case = replied(
            format!("interim: {what}"),
            reply(format!("{bytes}{ok}")),
            answered(200).body(Framing::Length, "ok"),
        );
        cases.push(case.interims(interims));
    }
    cases
}

fn trailers() -> Vec<Case> {
    let chunks = |announced: &str, trailers: &str| {
        head(&format!("transfer-encoding: chunked\r\n{announced}\r\n3\r\nabc\r\n0\r\n{trailers}\r\n"))
    };
    let plain = || answered(200).body(Framing::Chunked, "abc");
    let mut cases = Vec::new();
    for (what, announced, trailers, answer) in [
        ("announced", "trailer: x-sum\r\n", "x-sum: 1\r\n", plain().trailer("x-sum", "1")),
        (
            "announced in a list",
            "trailer: x-a, x-b\r\n",
            "x-a: 1\r\nx-b: 2\r\n",
            plain().trailer("x-a", "1").trailer("x-b", "2"),
        ),
        ("of gRPC-Web", "trailer: grpc-status\r\n", "grpc-status: 0\r\n", plain().trailer("grpc-status", "0")),
        ("announced and missing", "trailer: x-sum\r\n", "", plain()),
        ("unannounced", "", "x-sum: 1\r\n", plain()),
        ("unannounced beside one that is", "trailer: x-a\r\n", "x-a: 1\r\nx-b: 2\r\n", plain().trailer("x-a", "1")),
        ("that frame", "trailer: content-length\r\n", "content-length: 5\r\n", plain()),
        ("that frame by chunks", "trailer: transfer-encoding\r\n", "transfer-encoding: chunked\r\n", plain()),
        ("that set a cookie", "trailer: set-cookie\r\n", "set-cookie: a=b\r\n", plain()),
        ("of the connection", "trailer: connection\r\n", "connection: close\r\n", plain()),
        ("of the gateway", "trailer: x-weir-version\r\n", "x-weir-version: 9\r\n", plain()),
    ] {
        cases.push(replied(format!("trailers {what}"), chunks(announced, trailers), answer));
    }
    cases
}

fn tunnels() -> Vec<Case> {
    let offer = get_with("/", "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n");
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let received = || {
        let line = got("GET / HTTP/1.1").field("connection", "upgrade").field("upgrade", "websocket");
        line.field("sec-websocket-version", "13")
    };
    let tunnel = |name: &str, steps| {
        let case = passes(name, "", received()).by(reply_then(switch, Then::Tunnel)).steps(steps);
        case.answers(vec![answered(101)]).ends(ClientEnd::Left).pool(Pool::Dropped)
    };
    let echoed = |bytes: &'static str| vec![Step::Send(bytes.into()), Step::Await(bytes)];
    let asked = || vec![Step::Send(offer.clone().into()), Step::Await("101")];
    vec![
        tunnel("tunnel: nothing in it", asked()),
        tunnel("tunnel: bytes", [asked(), echoed("hello")].concat()),
        tunnel("tunnel: bytes that are a request", [asked(), echoed("GET / HTTP/1.1\r\n\r\n")].concat()),
        tunnel("tunnel: bytes that are none", [asked(), echoed("\0\r\n\n\x7f")].concat()),
        passes("tunnel: refused by the endpoint", &offer, received())
            .by(reply("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno"))
            .answers(vec![answered(403).body(Framing::Length, "no")]),
        passes("tunnel: the endpoint just answers", &offer, received())
            .by(reply("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
            .answers(vec![answered(200).body(Framing::Length, "ok")]),
        passes("tunnel: a request behind one that was refused", format!("{offer}{}", get("/b")), received())
            .by(reply("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno"))
            .answers(vec![answered(403).body(Framing::Length, "no"); 2])
            .received(super::case::Received::Whole(vec![received(), got("GET /b HTTP/1.1")])),
    ]
}
