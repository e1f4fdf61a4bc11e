//! What holds for every input of the codecs: whatever they take, a second strict reader and httparse read in the same way, in
//! however many pieces it comes. For tests and fuzz targets alike.

use config::model::Limits;
use gateway::edge::chunks::Chunks;
use gateway::edge::head::{Body, Head, Scan};

use crate::message::{self, Framing, Message, Reading};

/// Fields that httparse has room for: more than the limits let pass.
const MOST_FIELDS: usize = 128;

/// Holds the head of a request to both readers.
///
/// # Panics
/// When a head is taken that one of them reads otherwise.
pub(crate) fn head(bytes: &[u8]) {
    let limits = Limits::default();
    let whole = Scan::default().advance(bytes, &limits);
    let mut scan = Scan::default();
    let mut piecemeal = Ok(None);
    for end in 0..=bytes.len() {
        piecemeal = scan.advance(&bytes[..end], &limits);
        if !matches!(piecemeal, Ok(None)) {
            break;
        }
    }
    assert_eq!(whole, piecemeal, "in one piece and byte by byte");
    let Ok(Some(head)) = whole else { return };
    same_as_httparse(bytes, &head);
}

fn same_as_httparse(bytes: &[u8], head: &Head) {
    let start = head.method.start;
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(&bytes[start..head.len]).expect("httparse takes what the scan takes");
    assert_eq!(parsed, httparse::Status::Complete(head.len - start));
    assert_eq!(request.method.map(str::as_bytes), Some(&bytes[head.method.clone()]));
    assert_eq!(request.path.map(str::as_bytes), Some(&bytes[head.target.clone()]));
    let values = |name: &str| {
        let same = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        same.map(|field| field.value.trim_ascii()).collect::<Vec<_>>()
    };
    let hosts = values("host");
    assert_eq!(hosts.first().copied(), head.host.clone().map(|host| &bytes[host]));
    assert!(hosts.len() == 1 || (hosts.is_empty() && request.version == Some(0)));
    match (&values("content-length")[..], &values("transfer-encoding")[..], head.body) {
        ([], [], Body::Length(0)) => {}
        ([one], [], Body::Length(length)) => {
            let text = str::from_utf8(one).expect("digits are text");
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(text.parse(), Ok(length));
        }
        ([], [coding], Body::Chunked) => assert!(coding.eq_ignore_ascii_case(b"chunked") && request.version == Some(1)),
        (lengths, codings, body) => panic!("{body:?} by {lengths:?} and {codings:?}"),
    }
}

/// Holds a chunked body to the strict reader and to httparse, whole and in two pieces.
///
/// # Panics
/// When a body is taken that one of them reads otherwise.
pub(crate) fn chunked(bytes: &[u8]) {
    let whole = end_of_chunks(bytes, bytes.len());
    for at in [1, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        assert_eq!(whole, end_of_chunks(bytes, at.min(bytes.len())), "in one piece and cut at {at}");
    }
    let Some(end) = whole else { return };
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let request = [head, &bytes[..end]].concat();
    match message::request(&request) {
        Reading::Whole(message, len) => {
            assert_eq!((len, message.framing), (request.len(), Framing::Chunked));
            assert_eq!(message.body, by_httparse(&bytes[..end]));
        }
        other => panic!("taken, and {other:?} for the strict reader"),
    }
}

/// Where the body ends, if it is whole and well; the first piece ends at `cut`.
fn end_of_chunks(bytes: &[u8], cut: usize) -> Option<usize> {
    let mut chunks = Chunks::new(&Limits::default());
    let mut end = 0;
    for piece in [&bytes[..cut], &bytes[cut..]] {
        let mut rest = piece;
        while !rest.is_empty() && !chunks.is_done() {
            let taken = chunks.advance(rest).ok()?;
            end += taken;
            rest = &rest[taken..];
        }
    }
    chunks.is_done().then_some(end)
}

/// The data of a body, its sizes read by httparse.
fn by_httparse(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(bytes) {
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).expect("the body is there, so its sizes are small");
        data.extend_from_slice(&bytes[start..start + size]);
        bytes = &bytes[start + size + 2..];
    }
    data
}

/// Holds a row of requests to the strict reader: they end where it says, with the same bodies.
///
/// # Panics
/// When a request is taken that the reader reads otherwise.
pub(crate) fn exchange(bytes: &[u8]) {
    let limits = Limits::default();
    let mut rest = bytes;
    while let Ok(Some(head)) = Scan::default().advance(rest, &limits) {
        let body = &rest[head.len..];
        let end = match head.body {
            Body::Length(length) => usize::try_from(length).ok().filter(|length| *length <= body.len()),
            Body::Chunked => end_of_chunks(body, body.len()),
        };
        let Some(end) = end else { return };
        let request = &rest[head.method.start..head.len + end];
        // The strict reader speaks HTTP/1.1 alone.
        if !rest[head.target.end..].starts_with(b" HTTP/1.0") {
            match message::request(request) {
                Reading::Whole(message, len) => agrees(&message, len, request, &body[..end], head.body),
                other => panic!("taken, and {other:?} for the strict reader"),
            }
        }
        rest = &body[end..];
    }
}

fn agrees(message: &Message, len: usize, request: &[u8], body: &[u8], framing: Body) {
    assert_eq!(len, request.len(), "where the request ends");
    match framing {
        Body::Length(_) => assert_eq!(message.body, body),
        Body::Chunked => assert_eq!((message.framing, &message.body), (Framing::Chunked, &by_httparse(body))),
    }
}
