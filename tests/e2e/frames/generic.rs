//! The cases of h2spec 2.6 by its numbers: those of `generic` and `hpack`.

use super::Outcome::{Answers, Ends, LivesOn, Sends};
use super::spec::{open, rst, window};
use super::{COMPRESSION, Case, case, get, get_with, whole_get};
use crate::HOST;
use crate::kit::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITIZED, PRIORITY,
    SETTINGS, block, frame, headers, settings,
};

pub(super) fn cases() -> Vec<Case> {
    [hpack(), generic(), fields()].into_iter().flatten().collect()
}

fn goaway() -> Vec<u8> {
    frame(GOAWAY, 0, 0, [0; 8])
}

fn hpack() -> Vec<Case> {
    let raw = |bytes: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 1, [&block(&get()), bytes].concat());
    vec![
        case("hpack/2.3.3/1 an index that is not there", vec![raw(&[0xff, 0x80, 0x01])], Ends(&[COMPRESSION])),
        case(
            "hpack/2.3.3/2 a literal with an index that is not there",
            vec![raw(b"\x7f\x80\x01\x01x")],
            Ends(&[COMPRESSION]),
        ),
        case("hpack/4.2/1 a size of the table behind fields", vec![raw(&[0x20])], Ends(&[COMPRESSION])),
        // The h2 crate takes it.
        case(
            "hpack/5.2/1 padding of more than 7 bits",
            vec![raw(b"\0\x85\xf2\xb2\x4a\x84\xff\x01x")],
            Answers(1, &[200]),
        ),
        case("hpack/5.2/2 padding of zeros", vec![raw(b"\0\x84\xf2\xb2\x4a\x80\x01x")], Ends(&[COMPRESSION])),
        case(
            "hpack/5.2/3 a string with its end coded",
            vec![raw(b"\0\x87\xff\xff\xff\xff\xfa\xff\xff\x01x")],
            Ends(&[COMPRESSION]),
        ),
        case("hpack/6.1/1 the index 0", vec![raw(&[0x80])], Ends(&[COMPRESSION])),
        case(
            "hpack/6.3/1 a table that is larger than allowed",
            vec![frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                [&[0x3f, 0xe1, 0xff, 0xff, 0x7f][..], &block(&get())].concat(),
            )],
            Ends(&[COMPRESSION]),
        ),
    ]
}

fn generic() -> Vec<Case> {
    let with = |flags, prefix: &[u8], suffix: &[u8]| {
        frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, [prefix, &block(&get()), suffix].concat())
    };
    let padded = frame(DATA, END_STREAM | PADDED, 1, b"\x06test\0\0\0\0\0\0");
    let posted = |frames: Vec<Vec<u8>>| [vec![open(1)], frames].concat();
    let head =
        get().into_iter().map(|(key, old)| (key, if key == ":method" { "HEAD" } else { old })).collect::<Vec<_>>();
    let mut prefaced =
        case("generic/1/1 the preface", vec![PREFACE.to_vec(), settings(&[]), whole_get(1)], Answers(1, &[200]));
    prefaced.greets = false;
    vec![
        prefaced,
        case(
            "generic/2/1 idle: PRIORITY",
            vec![frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255]), whole_get(1)],
            Answers(1, &[200]),
        ),
        case("generic/2/2 half closed: WINDOW_UPDATE", vec![whole_get(1), window(1, 100)], Answers(1, &[200])),
        case(
            "generic/2/3 half closed: PRIORITY",
            vec![whole_get(1), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255])],
            Answers(1, &[200]),
        ),
        case("generic/2/4 half closed: RST_STREAM", vec![whole_get(1), rst(1)], LivesOn),
        case("generic/2/5 closed: PRIORITY", vec![open(1), rst(1), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255])], LivesOn),
        case("generic/3.1/1 one DATA", posted(vec![frame(DATA, END_STREAM, 1, b"test")]), Answers(1, &[200])),
        case(
            "generic/3.1/2 two DATA",
            posted(vec![frame(DATA, 0, 1, b"te"), frame(DATA, END_STREAM, 1, b"st")]),
            Answers(1, &[200]),
        ),
        case("generic/3.1/3 DATA with padding", posted(vec![padded]), Answers(1, &[200])),
        case("generic/3.2/1 HEADERS", vec![with(0, &[], &[])], Answers(1, &[200])),
        case("generic/3.2/2 HEADERS with padding", vec![with(PADDED, &[4], &[0; 4])], Answers(1, &[200])),
        case(
            "generic/3.2/3 HEADERS with priority",
            vec![with(PRIORITIZED, &[0, 0, 0, 0, 255], &[])],
            Answers(1, &[200]),
        ),
        case(
            "generic/3.3/1 PRIORITY of priority 1",
            vec![frame(PRIORITY, 0, 1, [0, 0, 0, 0, 0]), whole_get(1)],
            Answers(1, &[200]),
        ),
        case("generic/3.3/2 PRIORITY of priority 256", vec![frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255])], LivesOn),
        case("generic/3.3/3 PRIORITY with a dependency", vec![frame(PRIORITY, 0, 3, [0, 0, 0, 1, 255])], LivesOn),
        case("generic/3.3/4 PRIORITY that excludes", vec![frame(PRIORITY, 0, 3, [128, 0, 0, 1, 255])], LivesOn),
        case("generic/3.4/1 RST_STREAM", vec![open(1), rst(1)], LivesOn),
        case("generic/3.5/1 SETTINGS", vec![settings(&[(4, 65_535)])], Sends(SETTINGS, ACK)),
        case("generic/3.7/1 PING", vec![frame(PING, 0, 0, [9; 8])], Sends(PING, ACK)),
        case("generic/3.8/1 GOAWAY", vec![goaway()], Ends(&[0])),
        case("generic/3.9/1 WINDOW_UPDATE of the connection", vec![window(0, 1)], LivesOn),
        case("generic/3.9/2 WINDOW_UPDATE of a stream", vec![open(1), window(1, 1)], LivesOn),
        case(
            "generic/3.10/1 CONTINUATION",
            vec![
                frame(HEADERS, END_STREAM, 1, block(&get())),
                frame(CONTINUATION, END_HEADERS, 1, block(&[("a", "b")])),
            ],
            Answers(1, &[200]),
        ),
        case("generic/4/1 GET", vec![headers(1, END_STREAM, &get_with("a", "b"))], Answers(1, &[200])),
        case("generic/4/2 HEAD", vec![headers(1, END_STREAM, &head)], Answers(1, &[200])),
        case("generic/4/3 POST", posted(vec![frame(DATA, END_STREAM, 1, b"post")]), Answers(1, &[200])),
        case(
            "generic/4/4 POST with trailers",
            posted(vec![frame(DATA, 0, 1, b"post"), headers(1, END_STREAM, &[("x-test", "ok")])]),
            Answers(1, &[200]),
        ),
    ]
}

/// Every form of a field.
fn fields() -> Vec<Case> {
    let with = |flags, prefix: &[u8], suffix: &[u8]| {
        frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, [prefix, &block(&get()), suffix].concat())
    };
    let indexed = |bytes: &[u8]| {
        let host = [&[0x01, HOST.len() as u8][..], HOST.as_bytes()].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, [&[0x82, 0x87, 0x84][..], &host, bytes].concat())
    };
    vec![
        case("generic/5/1 an indexed field", vec![indexed(&[])], Answers(1, &[200])),
        case("generic/5/2 a literal with indexing, an indexed name", vec![indexed(b"\x7a\x01a")], Answers(1, &[200])),
        case(
            "generic/5/3 a literal with indexing, an indexed name in Huffman",
            vec![indexed(b"\x7a\x81\x1f")],
            Answers(1, &[200]),
        ),
        case("generic/5/4 a literal with indexing, a new name", vec![indexed(b"\x40\x01x\x01y")], Answers(1, &[200])),
        case(
            "generic/5/5 a literal with indexing, a new name in Huffman",
            vec![indexed(b"\x40\x81\xf3\x81\x1f")],
            Answers(1, &[200]),
        ),
        case(
            "generic/5/6 a literal without indexing, an indexed name",
            vec![indexed(b"\x0f\x2b\x01a")],
            Answers(1, &[200]),
        ),
        case(
            "generic/5/7 a literal without indexing, in Huffman",
            vec![indexed(b"\x0f\x2b\x81\x1f")],
            Answers(1, &[200]),
        ),
        case("generic/5/8 a literal without indexing, a new name", vec![indexed(b"\0\x01x\x01y")], Answers(1, &[200])),
        case(
            "generic/5/9 a literal without indexing, a new name in Huffman",
            vec![indexed(b"\0\x81\xf3\x81\x1f")],
            Answers(1, &[200]),
        ),
        case(
            "generic/5/10 a literal never indexed, an indexed name",
            vec![indexed(b"\x1f\x2b\x01a")],
            Answers(1, &[200]),
        ),
        case(
            "generic/5/11 a literal never indexed, in Huffman",
            vec![indexed(b"\x1f\x2b\x81\x1f")],
            Answers(1, &[200]),
        ),
        case("generic/5/12 a literal never indexed, a new name", vec![indexed(b"\x10\x01x\x01y")], Answers(1, &[200])),
        case(
            "generic/5/13 a literal never indexed, a new name in Huffman",
            vec![indexed(b"\x10\x81\xf3\x81\x1f")],
            Answers(1, &[200]),
        ),
        case("generic/5/14 a size of the table", vec![with(0, &[0x3f, 0xe1, 0x0f], &[])], Answers(1, &[200])),
        case("generic/5/15 two sizes of the table", vec![with(0, &[0x20, 0x3f, 0xe1, 0x0f], &[])], Answers(1, &[200])),
    ]
}
