//! Frames of HTTP/2 written by hand, and as much reading as a test needs (RFC 9113, RFC 7541). No HTTP library.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags. `END_STREAM` and `ACK` are the same bit of different frames.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 32;

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        self.payload.get(at..at + 4).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }

    /// The status of HEADERS whose first field it is, as servers write it.
    pub(crate) fn status(&self) -> Option<u16> {
        let block = &self.payload;
        // Sizes of the dynamic table may stand before the first field.
        let at = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
        match block[at] {
            // Table of RFC 7541, appendix A.
            indexed @ 0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
            0x48 | 0x08 | 0x18 => {
                let len = *block.get(at + 1)?;
                let value = block.get(at + 2..at + 2 + usize::from(len & 0x7f))?;
                if len & 0x80 == 0 { std::str::from_utf8(value).ok()?.parse().ok() } else { huffman_digits(value) }
            }
            _ => None,
        }
    }
}

/// Three digits in the code of RFC 7541, appendix B: 0 to 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> Option<u16> {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum << 1 | u16::from(*bit));
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let five = number(bits.get(at..at + 5)?);
        let digit = if five < 3 { five } else { number(bits.get(at..at + 6)?) - 0b01_1001 + 3 };
        at += if five < 3 { 5 } else { 6 };
        status = status * 10 + digit;
    }
    Some(status)
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let len = u32::try_from(payload.len()).expect("a payload of a test is small").to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A block of fields, each a literal without indexing.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect()
}

/// A string of HPACK without Huffman coding.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.len();
    if rest < 127 {
        out.push(rest as u8);
    } else {
        out.push(127);
        rest -= 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text.as_bytes());
    out
}

/// HEADERS that are whole.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, block(fields))
}

/// A SETTINGS frame.
pub(crate) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pair = |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, pairs.iter().flat_map(pair).collect::<Vec<_>>())
}

/// A connection over TLS that chose `h2`.
pub(crate) struct Framed {
    stream: TlsStream<TcpStream>,
    unread: Vec<u8>,
}

impl Framed {
    pub(crate) async fn connect(
        address: SocketAddr,
        host: &str,
        config: Arc<rustls::ClientConfig>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends as much as the gateway takes: it may end the connection before it has all.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next frame; `None` at the end of the connection, however it ends.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some([a, b, c, kind, flags, stream @ ..]) = self.unread.first_chunk::<9>() {
                let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                let (kind, flags, stream) = (*kind, *flags, u32::from_be_bytes(*stream));
                if self.unread.len() >= 9 + len {
                    let payload = self.unread[9..9 + len].to_vec();
                    self.unread.drain(..9 + len);
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

#[test]
fn statuses_are_read_as_servers_write_them() {
    let status = |payload: &[u8]| Frame { kind: HEADERS, flags: 4, stream: 1, payload: payload.into() }.status();
    assert_eq!(status(&[0x88]), Some(200));
    assert_eq!(status(&[0x20, 0x8d]), Some(404));
    assert_eq!(status(b"\x48\x03431"), Some(431));
    // 302 is `6402` in RFC 7541, appendix C.6.1, and 307 `640eff` in C.6.2.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
    assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), Some(307));
    assert_eq!(frame(PING, ACK, 0, [7; 8])[..9], [0, 0, 8, 6, 1, 0, 0, 0, 0]);
    assert_eq!(string(&"a".repeat(300))[..3], [127, 173, 1]);
}
