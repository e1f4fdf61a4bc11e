//! HTTP/1.1 as it stands on the wire, read without an HTTP library: what is under test must not check itself.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// A plain or TLS stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// A stream and the bytes that were read from it and not yet taken.
pub(crate) struct Wire {
    pub(crate) stream: Pin<Box<dyn Stream>>,
    pub(crate) unread: Vec<u8>,
}

/// Start line and fields of a message, as they came.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    /// The value of the only field of this name. Panics when there are several.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() <= 1, "{name} came {} times: {values:?}", values.len());
        values.first().copied()
    }

    /// Values of every field of this name, in order.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
        let start = lines.next()?.to_string();
        let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_string(), value.trim().to_string()));
        Some(Self { start, fields: lines.map(field).collect::<Option<_>>()? })
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length").map(|text| text.parse().expect("content-length is a number"))
    }

    fn chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// A body: its bytes on the wire, and what they mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    pub(crate) raw: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// What ends a body when neither length nor coding says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unframed {
    /// There is none: a request, or an answer that has no body.
    Empty,
    /// The end of the connection.
    ToEnd,
}

impl Wire {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::pin(stream), unread: Vec::new() }
    }

    /// Reads once more. `Ok(0)` is the end.
    pub(crate) async fn more(&mut self) -> io::Result<usize> {
        self.unread.reserve(64 << 10);
        self.stream.read_buf(&mut self.unread).await
    }

    /// Takes the first `count` bytes.
    pub(crate) async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if self.more().await? == 0 {
                let left = self.unread.len();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{left} of {count} bytes")));
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Takes bytes up to and with `mark`; `None` when the connection ends before the first byte.
    pub(crate) async fn take_through(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut seen = 0;
        loop {
            let found = self.unread[seen..].windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return Ok(Some(self.unread.drain(..seen + at + mark.len()).collect()));
            }
            seen = self.unread.len().saturating_sub(mark.len() - 1);
            if self.more().await? == 0 {
                return if self.unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Takes the body that belongs to `head`.
    pub(crate) async fn body(&mut self, head: &Head, unframed: Unframed) -> io::Result<Body> {
        if head.chunked() {
            return self.chunks().await;
        }
        if let Some(length) = head.length() {
            let raw = self.take(length).await?;
            return Ok(Body { bytes: raw.clone(), raw });
        }
        if unframed == Unframed::Empty {
            return Ok(Body::default());
        }
        while self.more().await? > 0 {}
        let raw = std::mem::take(&mut self.unread);
        Ok(Body { bytes: raw.clone(), raw })
    }

    async fn chunks(&mut self) -> io::Result<Body> {
        let mut body = Body::default();
        loop {
            let line = self.take_through(b"\r\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            body.raw.extend_from_slice(&line);
            let text = String::from_utf8_lossy(&line);
            let size = text.trim_end().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::other(format!("chunk size {text:?}")))?;
            if size == 0 {
                // Trailers up to the empty line.
                loop {
                    let line = self.take_through(b"\r\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    body.raw.extend_from_slice(&line);
                    if line == b"\r\n" {
                        return Ok(body);
                    }
                }
            }
            let chunk = self.take(size + 2).await?;
            assert!(chunk.ends_with(b"\r\n"), "a chunk must end in CRLF");
            body.raw.extend_from_slice(&chunk);
            body.bytes.extend_from_slice(&chunk[..size]);
        }
    }
}
