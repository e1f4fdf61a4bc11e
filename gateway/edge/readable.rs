//! The bytes of a client that belong to the request being read. The bytes behind it stay for the next head.

use std::io;

use config::model::Limits;

use super::chunks::{Chunks, MalformedChunk};
use super::head::{Body, Head};

/// Bytes that may be read from the stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readable {
    /// The rest of one message; at 0 the client has nothing more to say.
    Bytes(u64),
    /// The rest of a head, and chunks after it.
    Chunks { head: usize, chunks: Chunks },
    /// Everything: HTTP/2, or another protocol in a tunnel.
    All,
}

impl Readable {
    /// No request is being read.
    pub(super) const NOTHING: Self = Self::Bytes(0);

    /// One request, from the first byte of its head.
    pub(super) fn request(head: &Head, limits: &Limits) -> Self {
        match head.body {
            Body::Length(length) => Self::Bytes((head.len as u64).saturating_add(length)),
            Body::Chunked => Self::Chunks { head: head.len, chunks: Chunks::new(limits) },
        }
    }

    /// Takes the head alone, of which nothing was taken before.
    pub(super) fn take_head(&mut self, len: usize) {
        match self {
            Self::All => {}
            Self::Bytes(left) => *left = left.saturating_sub(len as u64),
            Self::Chunks { head, .. } => *head = head.saturating_sub(len),
        }
    }

    /// Takes what belongs to the request from the start of these bytes: how many they are. 0 of some means that the request
    /// is whole.
    ///
    /// # Errors
    /// `InvalidData` when the first of the bytes breaks the framing of the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::All => Ok(bytes.len()),
            Self::Bytes(left) => {
                let own = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= own as u64;
                Ok(own)
            }
            Self::Chunks { head, chunks } => {
                let of_head = bytes.len().min(*head);
                *head -= of_head;
                // A wrong byte behind a part of the head is told at the next call, when the head is with its reader.
                let body = match chunks.advance(&bytes[of_head..]) {
                    Err(MalformedChunk) if of_head > 0 => 0,
                    advanced => advanced.map_err(|MalformedChunk| malformed())?,
                };
                if chunks.is_done() {
                    *self = Self::NOTHING;
                }
                Ok(of_head + body)
            }
        }
    }
}

/// The error by which the reader of a request learns that its body is malformed, and not just at its end.
fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the chunks of the request body are malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(head: usize) -> Readable {
        Readable::request(
            &Head { len: head, body: Body::Chunked, method: 0..0, target: 0..0, host: None },
            &Limits::default(),
        )
    }

    #[test]
    fn a_chunked_request_ends_where_its_last_chunk_does() {
        let text = b"head3\r\nabc\r\n0\r\n\r\nnext";
        let mut readable = chunked(4);
        assert_eq!(readable.take(&text[..2]).unwrap(), 2);
        assert_eq!(readable.take(&text[2..9]).unwrap(), 7);
        assert_eq!(readable.take(&text[9..]).unwrap(), text.len() - 9 - 4);
        assert_eq!(readable, Readable::NOTHING);
        assert_eq!(readable.take(b"next").unwrap(), 0);
    }

    #[test]
    fn a_wrong_byte_is_told_when_nothing_comes_before_it() {
        let text = b"head\r\n";
        let mut readable = chunked(4);
        assert_eq!(readable.take(text).unwrap(), 4);
        assert_eq!(readable.take(&text[4..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut readable = chunked(4);
        assert_eq!(readable.take(b"head3\r\nabcx").unwrap(), 10);
        assert_eq!(readable.take(b"x").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
