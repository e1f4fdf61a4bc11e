//! The cases of h2spec 2.6 by its numbers: those of `http2`. The others are in [`generic`](super::generic).

use super::Outcome::{Answers, Ends, LivesOn, Resets, Sends};
use super::{
    COMPRESSION, Case, FLOW_CONTROL, FRAME_SIZE, PROTOCOL, REFUSED, STREAM_CLOSED, case, get, get_with, post, whole_get,
};
use crate::kit::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITIZED, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, headers, settings,
};

pub(super) fn cases() -> Vec<Case> {
    let parts =
        [starting(), framing(), streams(), states(), fields_of_frames(), windows(), continuations(), exchange()];
    parts.into_iter().flatten().collect()
}

const BIG: usize = 16 << 10;

/// A stream that is open: HEADERS without END_STREAM.
pub(super) fn open(stream: u32) -> Vec<u8> {
    headers(stream, 0, &post())
}

pub(super) fn rst(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, 8u32.to_be_bytes())
}

pub(super) fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, by.to_be_bytes())
}

fn starting() -> Vec<Case> {
    let mut bad =
        case("http2/3.5/2 an invalid preface", vec![b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec()], Ends(&[PROTOCOL]));
    bad.greets = false;
    vec![case("http2/3.5/1 the preface", vec![], Sends(SETTINGS, 0)), bad]
}

fn framing() -> Vec<Case> {
    let long = [get(), vec![("x", LARGE)]].concat();
    vec![
        case("http2/4.1/1 a frame of unknown type", vec![frame(0x16, 0, 0, [0; 8])], LivesOn),
        case("http2/4.1/2 undefined flags", vec![frame(PING, 0x16, 0, [0; 8])], Sends(PING, ACK)),
        case("http2/4.1/3 the reserved bit", vec![frame(PING, 0, 1 << 31, [0; 8])], Sends(PING, ACK)),
        case(
            "http2/4.2/1 DATA of 2^14 bytes",
            vec![open(1), frame(DATA, END_STREAM, 1, [b'a'; BIG])],
            Answers(1, &[200]),
        ),
        case(
            "http2/4.2/2 DATA that is too large",
            vec![open(1), frame(DATA, END_STREAM, 1, [b'a'; BIG + 1])],
            Resets(1, &[FRAME_SIZE]),
        ),
        case("http2/4.2/3 HEADERS that are too large", vec![headers(1, END_STREAM, &long)], Ends(&[FRAME_SIZE])),
        case(
            "http2/4.3/1 an invalid block",
            vec![frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x40")],
            Ends(&[COMPRESSION]),
        ),
        case(
            "http2/4.3/2 PRIORITY within a block",
            vec![frame(HEADERS, END_STREAM, 1, block(&get())), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255])],
            Ends(&[PROTOCOL]),
        ),
        case(
            "http2/4.3/3 HEADERS of another stream within a block",
            vec![frame(HEADERS, END_STREAM, 1, block(&get())), whole_get(3)],
            Ends(&[PROTOCOL]),
        ),
        case("http2/5.5/1 an unknown frame", vec![frame(0xff, 0, 0, b"unknown")], LivesOn),
        case(
            "http2/5.5/2 an unknown frame within a block",
            vec![frame(HEADERS, END_STREAM, 1, block(&get())), frame(0xff, 0, 1, b"unknown")],
            Ends(&[PROTOCOL]),
        ),
    ]
}

fn streams() -> Vec<Case> {
    let continued = |stream| frame(CONTINUATION, END_HEADERS, stream, block(&[("x", "y")]));
    let data = |stream| frame(DATA, END_STREAM, stream, b"test");
    let many = (0..150).map(|number| headers(1 + 2 * number, 0, &post())).collect();
    vec![
        case("http2/5.1/1 idle: DATA", vec![data(1)], Ends(&[PROTOCOL])),
        case("http2/5.1/2 idle: RST_STREAM", vec![rst(1)], Ends(&[PROTOCOL])),
        case("http2/5.1/3 idle: WINDOW_UPDATE", vec![window(1, 100)], Ends(&[PROTOCOL])),
        case("http2/5.1/4 idle: CONTINUATION", vec![continued(1)], Ends(&[PROTOCOL])),
        case("http2/5.1/5 half closed: DATA", vec![whole_get(1), data(1)], Resets(1, &[STREAM_CLOSED])),
        case(
            "http2/5.1/6 half closed: HEADERS",
            vec![whole_get(1), whole_get(1)],
            Resets(1, &[STREAM_CLOSED, PROTOCOL]),
        ),
        case(
            "http2/5.1/7 half closed: CONTINUATION",
            vec![whole_get(1), continued(1)],
            Ends(&[STREAM_CLOSED, PROTOCOL]),
        ),
        case("http2/5.1/8 closed by RST_STREAM: DATA", vec![open(1), rst(1), data(1)], Resets(1, &[STREAM_CLOSED])),
        case(
            "http2/5.1/9 closed by RST_STREAM: HEADERS",
            vec![open(1), rst(1), whole_get(1)],
            Resets(1, &[STREAM_CLOSED, PROTOCOL]),
        ),
        case(
            "http2/5.1/10 closed by RST_STREAM: CONTINUATION",
            vec![open(1), rst(1), continued(1)],
            Ends(&[STREAM_CLOSED, PROTOCOL]),
        ),
        case("http2/5.1/11 closed: DATA", vec![whole_get(1), vec![], data(1)], Resets(1, &[STREAM_CLOSED])),
        case(
            "http2/5.1/12 closed: HEADERS",
            vec![whole_get(1), vec![], whole_get(1)],
            Resets(1, &[STREAM_CLOSED, PROTOCOL]),
        ),
        case(
            "http2/5.1/13 closed: CONTINUATION",
            vec![whole_get(1), vec![], continued(1)],
            Ends(&[STREAM_CLOSED, PROTOCOL]),
        ),
        case("http2/5.1.1/1 a stream with an even number", vec![whole_get(2)], Ends(&[PROTOCOL])),
        case(
            "http2/5.1.1/2 a stream with a smaller number",
            vec![whole_get(5), whole_get(3)],
            Ends(&[PROTOCOL, STREAM_CLOSED]),
        ),
        case("http2/5.1.2/1 too many streams", many, Resets(201, &[PROTOCOL, REFUSED])),
        case(
            "http2/5.3.1/1 HEADERS that depend on themselves",
            vec![frame(
                HEADERS,
                END_STREAM | END_HEADERS | PRIORITIZED,
                1,
                [&[0, 0, 0, 1, 255][..], &block(&get())].concat(),
            )],
            Resets(1, &[PROTOCOL]),
        ),
        case(
            "http2/5.3.1/2 PRIORITY that depends on itself",
            vec![frame(PRIORITY, 0, 1, [0, 0, 0, 1, 255])],
            Resets(1, &[PROTOCOL]),
        ),
        case(
            "http2/5.4.1/1 a PING on a stream ends the connection",
            vec![frame(PING, 0, 3, [0; 8])],
            Ends(&[PROTOCOL]),
        ),
        case("http2/5.4.1/2 a PING on a stream brings GOAWAY", vec![frame(PING, 0, 5, [1; 8])], Sends(GOAWAY, 0)),
    ]
}

/// Frames on streams and states that they do not belong to.
fn states() -> Vec<Case> {
    let padded = |kind: u8, stream: u32, block: &[u8]| {
        let flags = PADDED | END_HEADERS | END_STREAM;
        frame(kind, if kind == DATA { PADDED | END_STREAM } else { flags }, stream, [&[200][..], block].concat())
    };
    vec![
        case("http2/6.1/1 DATA on stream 0", vec![frame(DATA, END_STREAM, 0, b"test")], Ends(&[PROTOCOL])),
        case(
            "http2/6.1/2 DATA on a stream that is not open",
            vec![whole_get(1), frame(DATA, 0, 1, b"test")],
            Resets(1, &[STREAM_CLOSED]),
        ),
        case("http2/6.1/3 DATA with too much padding", vec![open(1), padded(DATA, 1, b"test")], Ends(&[PROTOCOL])),
        case(
            "http2/6.2/1 PRIORITY behind HEADERS that go on",
            vec![frame(HEADERS, END_STREAM, 1, block(&get())), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 1])],
            Ends(&[PROTOCOL]),
        ),
        case(
            "http2/6.2/2 HEADERS of another stream behind HEADERS that go on",
            vec![frame(HEADERS, END_STREAM, 3, block(&get())), whole_get(5)],
            Ends(&[PROTOCOL]),
        ),
        case("http2/6.2/3 HEADERS on stream 0", vec![whole_get(0)], Ends(&[PROTOCOL])),
        case(
            "http2/6.2/4 HEADERS with too much padding",
            vec![padded(HEADERS, 1, &block(&[("x", "y")]))],
            Ends(&[PROTOCOL]),
        ),
        case("http2/6.3/1 PRIORITY on stream 0", vec![frame(PRIORITY, 0, 0, [128, 0, 0, 1, 255])], Ends(&[PROTOCOL])),
        case("http2/6.3/2 PRIORITY of four bytes", vec![frame(PRIORITY, 0, 1, [0, 0, 0, 1])], Resets(1, &[FRAME_SIZE])),
        case("http2/6.4/1 RST_STREAM on stream 0", vec![rst(0)], Ends(&[PROTOCOL])),
        case("http2/6.4/2 RST_STREAM on an idle stream", vec![rst(7)], Ends(&[PROTOCOL])),
        case(
            "http2/6.4/3 RST_STREAM of three bytes",
            vec![open(1), frame(RST_STREAM, 0, 1, [0; 3])],
            Ends(&[FRAME_SIZE]),
        ),
    ]
}

/// SETTINGS, PING, GOAWAY.
fn fields_of_frames() -> Vec<Case> {
    vec![
        case(
            "http2/6.5/1 an acknowledgement with a payload",
            vec![frame(SETTINGS, ACK, 0, [0; 1])],
            Ends(&[FRAME_SIZE]),
        ),
        case("http2/6.5/2 SETTINGS on a stream", vec![frame(SETTINGS, 0, 1, [0, 3, 0, 0, 0, 100])], Ends(&[PROTOCOL])),
        case("http2/6.5/3 SETTINGS of three bytes", vec![frame(SETTINGS, 0, 0, [0, 3, 0])], Ends(&[FRAME_SIZE])),
        case("http2/6.5.2/1 ENABLE_PUSH of 2", vec![settings(&[(2, 2)])], Ends(&[PROTOCOL])),
        case("http2/6.5.2/2 INITIAL_WINDOW_SIZE over 31 bits", vec![settings(&[(4, 1 << 31)])], Ends(&[FLOW_CONTROL])),
        case("http2/6.5.2/3 MAX_FRAME_SIZE that is too small", vec![settings(&[(5, 16_383)])], Ends(&[PROTOCOL])),
        case("http2/6.5.2/4 MAX_FRAME_SIZE that is too large", vec![settings(&[(5, 1 << 24)])], Ends(&[PROTOCOL])),
        case("http2/6.5.2/5 an unknown setting", vec![settings(&[(0xff, 1)])], LivesOn),
        case(
            "http2/6.5.3/1 two values of one setting",
            vec![settings(&[(4, 100), (4, 1 << 16)]), whole_get(1)],
            Answers(1, &[200]),
        ),
        case("http2/6.5.3/2 SETTINGS are acknowledged", vec![settings(&[(3, 5)])], Sends(SETTINGS, ACK)),
        case("http2/6.7/1 PING", vec![frame(PING, 0, 0, *b"h2spec\0\0")], Sends(PING, ACK)),
        case("http2/6.7/2 an answer to no PING", vec![frame(PING, ACK, 0, *b"invalid\0")], LivesOn),
        case("http2/6.7/3 PING on a stream", vec![frame(PING, 0, 1, [0; 8])], Ends(&[PROTOCOL])),
        case("http2/6.7/4 PING of six bytes", vec![frame(PING, 0, 0, [0; 6])], Ends(&[FRAME_SIZE])),
        case("http2/6.8/1 GOAWAY on a stream", vec![frame(GOAWAY, 0, 1, [0; 8])], Ends(&[PROTOCOL])),
        case(
            "http2/7/1 GOAWAY of an unknown code",
            vec![frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0xff]), frame(PING, 0, 0, [3; 8])],
            Ends(&[0]),
        ),
        case(
            "http2/7/2 RST_STREAM of an unknown code",
            vec![open(1), frame(RST_STREAM, 0, 1, [0, 0, 0, 0xff])],
            LivesOn,
        ),
    ]
}

fn windows() -> Vec<Case> {
    let most = (1 << 31) - 1;
    vec![
        case("http2/6.9/1 a window that grows by 0", vec![window(0, 0)], Ends(&[PROTOCOL])),
        case("http2/6.9/2 a window of a stream that grows by 0", vec![open(1), window(1, 0)], Resets(1, &[PROTOCOL])),
        case(
            "http2/6.9/3 WINDOW_UPDATE of three bytes",
            vec![frame(WINDOW_UPDATE, 0, 0, [0, 0, 1])],
            Ends(&[FRAME_SIZE]),
        ),
        case("http2/6.9.1/1 a window of 1", vec![settings(&[(4, 1)]), whole_get(1)], Sends(DATA, 0)),
        case("http2/6.9.1/2 a window over 31 bits", vec![window(0, most), window(0, most)], Ends(&[FLOW_CONTROL])),
        case(
            "http2/6.9.1/3 a window of a stream over 31 bits",
            vec![open(1), window(1, most), window(1, most)],
            Resets(1, &[FLOW_CONTROL]),
        ),
        case(
            "http2/6.9.2/1 a window that changes behind HEADERS",
            vec![settings(&[(4, 0)]), whole_get(1), settings(&[(4, 1)])],
            Sends(DATA, 0),
        ),
        case(
            "http2/6.9.2/2 a window that becomes negative",
            vec![settings(&[(4, 3)]), whole_get(1), settings(&[(4, 2)]), window(1, 2)],
            Answers(1, &[200]),
        ),
        case(
            "http2/6.9.2/3 an initial window over 31 bits",
            vec![settings(&[(4, 1 << 31)]), whole_get(1)],
            Ends(&[FLOW_CONTROL]),
        ),
    ]
}

fn continuations() -> Vec<Case> {
    let half = |flags| frame(HEADERS, flags, 1, block(&get()));
    let more = |flags, stream| frame(CONTINUATION, flags, stream, block(&[("x", "y")]));
    vec![
        case(
            "http2/6.10/1 two CONTINUATION",
            vec![half(END_STREAM), more(0, 1), more(END_HEADERS, 1)],
            Answers(1, &[200]),
        ),
        case(
            "http2/6.10/2 CONTINUATION and DATA",
            vec![half(0), more(0, 1), frame(DATA, END_STREAM, 1, b"test")],
            Ends(&[PROTOCOL]),
        ),
        case("http2/6.10/3 CONTINUATION on stream 0", vec![half(END_STREAM), more(END_HEADERS, 0)], Ends(&[PROTOCOL])),
        case(
            "http2/6.10/4 CONTINUATION behind whole HEADERS",
            vec![half(END_HEADERS), more(END_HEADERS, 1)],
            Ends(&[PROTOCOL]),
        ),
        case(
            "http2/6.10/5 CONTINUATION behind the last one",
            vec![half(0), more(END_HEADERS, 1), more(END_HEADERS, 1)],
            Ends(&[PROTOCOL]),
        ),
        case(
            "http2/6.10/6 CONTINUATION behind DATA",
            vec![half(END_HEADERS), frame(DATA, 0, 1, b"test"), more(END_HEADERS, 1)],
            Ends(&[PROTOCOL]),
        ),
    ]
}

fn exchange() -> Vec<Case> {
    let without = |name: &str| get().into_iter().filter(|(key, _)| *key != name).collect::<Vec<_>>();
    let first = |pair| [vec![pair], get()].concat();
    let refused =
        |name: &str, fields: &[(&str, &str)]| case(name, vec![headers(1, END_STREAM, fields)], Resets(1, &[PROTOCOL]));
    let length = |value| headers(1, 0, &[post(), vec![("content-length", value)]].concat());
    let path =
        |value| get().into_iter().map(|(key, old)| (key, if key == ":path" { value } else { old })).collect::<Vec<_>>();
    let data = |flags, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    vec![
        case(
            "http2/8.1/1 trailers without END_STREAM",
            vec![open(1), data(0, b"a"), headers(1, 0, &[("x", "y")])],
            Resets(1, &[PROTOCOL]),
        ),
        refused("http2/8.1.2/1 a name in capitals", &get_with("X-TEST", "ok")),
        refused("http2/8.1.2.1/1 an unknown pseudo-header", &first((":test", "ok"))),
        refused("http2/8.1.2.1/2 a pseudo-header of answers", &first((":status", "200"))),
        // The h2 crate drops it before anybody sees it; it reaches nobody.
        case(
            "http2/8.1.2.1/3 a pseudo-header in trailers",
            vec![open(1), data(0, b"a"), headers(1, END_STREAM, &[(":method", "GET")])],
            Answers(1, &[200]),
        ),
        refused("http2/8.1.2.1/4 a pseudo-header behind fields", &[vec![("x", "y")], get()].concat()),
        refused("http2/8.1.2.2/1 Connection", &get_with("connection", "keep-alive")),
        refused("http2/8.1.2.2/2 TE of more than trailers", &get_with("te", "trailers, deflate;q=0.5")),
        refused("http2/8.1.2.3/1 an empty path", &path("")),
        refused("http2/8.1.2.3/2 no method", &without(":method")),
        refused("http2/8.1.2.3/3 no scheme", &without(":scheme")),
        refused("http2/8.1.2.3/4 no path", &without(":path")),
        refused("http2/8.1.2.3/5 two methods", &first((":method", "GET"))),
        refused("http2/8.1.2.3/6 two schemes", &first((":scheme", "https"))),
        refused("http2/8.1.2.3/7 two paths", &first((":path", "/"))),
        case(
            "http2/8.1.2.6/1 a length that is wrong",
            vec![length("1"), data(END_STREAM, b"test")],
            Resets(1, &[PROTOCOL]),
        ),
        case(
            "http2/8.1.2.6/2 a length that is wrong for two DATA",
            vec![length("1"), data(0, b"te"), data(END_STREAM, b"st")],
            Resets(1, &[PROTOCOL]),
        ),
        case(
            "http2/8.2/1 PUSH_PROMISE",
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, [&2u32.to_be_bytes()[..], &block(&get())].concat())],
            Ends(&[PROTOCOL]),
        ),
    ]
}

/// A value that does not fit in a frame.
const LARGE: &str = {
    const BYTES: [u8; BIG] = [b'a'; BIG];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};
