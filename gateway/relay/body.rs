//! Bodies as they pass: where the content stands in the bytes that came, where the message ends, and the framing that the next
//! hop gets. Nothing is framed as it came: what goes out has one framing, written here.

use std::io::Write;

use config::model::Limits;

use super::head::{FieldTable, HeadFields};
use crate::edge::chunks::{ChunkPart, Chunks};
use crate::policy::framing;

/// A body that is being read.
#[derive(Debug, Default)]
pub(super) enum BodyReader {
    /// No body.
    #[default]
    Empty,
    /// So many bytes are left.
    Length(u64),
    /// Chunks, with the trailers behind them.
    Chunked(Box<ChunkedBody>),
    /// Everything until the end of the connection.
    UntilClose,
}

/// A chunked body that is being read.
#[derive(Debug)]
pub(super) struct ChunkedBody {
    chunks: Chunks,
    /// The lines of the trailer section, with their line ends.
    trailers: Vec<u8>,
}

/// The content in some bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes that belong to the message.
    pub(super) used: usize,
    /// Bytes of content, which now stand at the front.
    pub(super) content: usize,
}

/// The framing of a body is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedFraming;

impl BodyReader {
    /// A chunked body whose trailers are held to these limits.
    pub(super) fn chunked(limits: &Limits) -> Self {
        Self::Chunked(Box::new(ChunkedBody { chunks: Chunks::new(limits), trailers: Vec::new() }))
    }

    /// Takes what belongs to the body from these bytes, and moves its content to the front of them.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Result<Piece, MalformedFraming> {
        match self {
            Self::Empty => Ok(Piece { used: 0, content: 0 }),
            Self::UntilClose => Ok(Piece { used: bytes.len(), content: bytes.len() }),
            Self::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                Ok(Piece { used, content: used })
            }
            Self::Chunked(body) => body.take(bytes),
        }
    }

    /// True if the body is whole.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Length(left) => *left == 0,
            Self::Chunked(body) => body.chunks.is_done(),
            Self::UntilClose => false,
        }
    }

    /// True if the body is whole with the end of the connection.
    pub(super) fn ends_here(&self) -> bool {
        matches!(self, Self::UntilClose) || self.is_done()
    }

    /// The trailers that came, as lines.
    pub(super) fn trailers(&self) -> &[u8] {
        if let Self::Chunked(body) = self { &body.trailers } else { &[] }
    }
}

impl ChunkedBody {
    fn take(&mut self, bytes: &mut [u8]) -> Result<Piece, MalformedFraming> {
        let (mut used, mut content) = (0, 0);
        while used < bytes.len() && !self.chunks.is_done() {
            let (taken, part) = self.chunks.part(&bytes[used..]).map_err(|_| MalformedFraming)?;
            match part {
                ChunkPart::Content => {
                    if used != content {
                        bytes.copy_within(used..used + taken, content);
                    }
                    content += taken;
                }
                ChunkPart::Trailer => self.trailers.extend_from_slice(&bytes[used..used + taken]),
                ChunkPart::Framing => {}
            }
            used += taken;
        }
        Ok(Piece { used, content })
    }
}

/// The framing of a body that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum BodyFraming {
    /// As it is: a length was announced, or the end of the connection ends it.
    #[default]
    Plain,
    /// In chunks.
    Chunked,
}

impl BodyFraming {
    /// Writes what goes before so much content.
    pub(super) fn before(self, content: usize, out: &mut Vec<u8>) {
        if self == Self::Chunked && content > 0 {
            write!(out, "{content:x}\r\n").expect("writing to memory cannot fail");
        }
    }

    /// Writes what goes behind so much content; `last` is the end of the body, with the trailers that go on.
    pub(super) fn behind(self, content: usize, last: Option<&[u8]>, out: &mut Vec<u8>) {
        if self == Self::Plain {
            return;
        }
        if content > 0 {
            out.extend_from_slice(b"\r\n");
        }
        if let Some(trailers) = last {
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(trailers);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The trailers that go on: those that the head announced, without any that may not stand in a trailer section.
pub(super) fn passed_on(announced: &str, trailers: &[u8]) -> Vec<u8> {
    if announced.is_empty() || trailers.is_empty() {
        return Vec::new();
    }
    let (mut kept, mut table) = (Vec::new(), FieldTable::default());
    let bytes = [trailers, b"\r\n"].concat();
    if table.read(&bytes, 0, usize::MAX).is_err() {
        return kept;
    }
    for field in (HeadFields { bytes: &bytes, table: &table }).each() {
        if announced.split(',').any(|name| name == field.name) && framing::may_be_trailer(field.name) {
            kept.extend_from_slice(&bytes[field.line.0..field.line.1]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNKED: &[u8] = b"3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nx-sum: 1\r\nx-b: c\r\n\r\n";

    /// Reads a body in pieces of these lengths: its content, the trailers, and the bytes behind it.
    fn read(
        mut reader: BodyReader,
        mut text: &[u8],
        lengths: &[usize],
    ) -> Result<(Vec<u8>, Vec<u8>, usize), MalformedFraming> {
        let mut content = Vec::new();
        let mut lengths = lengths.iter().cycle();
        while !text.is_empty() && !reader.is_done() {
            let (now, rest) = text.split_at(text.len().min(*lengths.next().expect("an endless list")));
            let mut bytes = now.to_vec();
            let piece = reader.take(&mut bytes)?;
            content.extend_from_slice(&bytes[..piece.content]);
            text = rest;
            if piece.used < now.len() {
                return Ok((content, reader.trailers().to_vec(), now.len() - piece.used + rest.len()));
            }
        }
        Ok((content, reader.trailers().to_vec(), text.len()))
    }

    fn chunked() -> BodyReader {
        BodyReader::chunked(&Limits::default())
    }

    #[test]
    fn every_framing_is_read_to_its_end_and_no_further() {
        let chunks = [CHUNKED, b"next"].concat();
        for (reader, text, content, behind) in [
            (BodyReader::Empty, &b"next"[..], &b""[..], 4),
            (BodyReader::Length(3), b"abcnext", b"abc", 4),
            (BodyReader::UntilClose, b"abcnext", b"abcnext", 0),
            (chunked(), &chunks, b"abc0123456789", 4),
            (chunked(), b"0\r\n\r\n", b"", 0),
        ] {
            let (got, _, rest) = read(reader, text, &[text.len()]).unwrap();
            assert_eq!((got.as_slice(), rest), (content, behind), "{text:?}");
        }
    }

    #[test]
    fn a_body_is_whole_only_at_its_end() {
        for length in 0..CHUNKED.len() {
            let mut reader = chunked();
            let mut bytes = CHUNKED[..length].to_vec();
            assert_eq!(reader.take(&mut bytes).map(|piece| piece.used), Ok(length));
            assert!(!reader.is_done() && !reader.ends_here(), "{length}");
        }
        assert!(BodyReader::UntilClose.ends_here() && !BodyReader::UntilClose.is_done());
        assert!(!BodyReader::Length(1).ends_here());
    }

    #[test]
    fn broken_chunks_are_refused() {
        for text in [
            "\r\n",
            "3\nabc",
            "3\r\nabcd\r\n",
            "+3\r\n",
            "3 \r\nabc",
            "-1\r\n",
            "3\r\nabc\n",
            "g\r\n",
            "0\r\na\r\n\r\n",
        ] {
            for lengths in [&[1][..], &[100]] {
                assert_eq!(read(chunked(), text.as_bytes(), lengths), Err(MalformedFraming), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_framed_is_read_back() {
        let mut out = Vec::new();
        for content in ["abc", "", "0123456789abcdefg"] {
            BodyFraming::Chunked.before(content.len(), &mut out);
            out.extend_from_slice(content.as_bytes());
            BodyFraming::Chunked.behind(content.len(), None, &mut out);
        }
        BodyFraming::Chunked.behind(0, Some(b"x-a: b\r\n"), &mut out);
        assert_eq!(out, b"3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\nx-a: b\r\n\r\n");
        let (content, trailers, behind) = read(chunked(), &out, &[7]).unwrap();
        assert_eq!((content.len(), trailers.as_slice(), behind), (20, &b"x-a: b\r\n"[..], 0));
    }

    #[test]
    fn trailers_go_on_when_they_were_announced_and_are_safe() {
        let trailers = b"X-Sum: 1\r\nx-other: 2\r\ncontent-length: 3\r\n";
        for (announced, expected) in [
            ("x-sum", &b"X-Sum: 1\r\n"[..]),
            ("x-other,x-sum", b"X-Sum: 1\r\nx-other: 2\r\n"),
            ("content-length", b""),
            ("x-su", b""),
            ("", b""),
        ] {
            assert_eq!(passed_on(announced, trailers), expected, "{announced}");
        }
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_in_every_segmentation(lengths in proptest::collection::vec(1usize..9, 1..20)) {
            let text = [CHUNKED, b"GET / HTTP/1.1\r\n"].concat();
            let whole = read(chunked(), &text, &[text.len()]).unwrap();
            prop_assert_eq!(&whole.0, b"abc0123456789");
            prop_assert_eq!(&whole.1, b"x-sum: 1\r\nx-b: c\r\n");
            prop_assert_eq!(read(chunked(), &text, &lengths).unwrap(), whole);
        }
    }
}
