//! The socket below a stream, with or without TLS, and how it is left.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// How long, and for how many bytes, a connection is read after its last response, so that the client sees that response
/// and not a reset (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// The socket, with or without TLS.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// The socket itself.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// The rest of a connection whose last response is made.
#[derive(Debug)]
pub(super) struct Remains {
    transport: Transport,
    /// The last response, where it is not written yet.
    unwritten: Vec<u8>,
}

impl Remains {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, unwritten: Vec::new() }
    }

    /// The same before its last response.
    pub(super) fn before(transport: Transport, response: Vec<u8>) -> Self {
        Self { transport, unwritten: response }
    }

    /// Does what [`linger`](Self::linger) does, and goes on for up to `most` as long as the client sends: over HTTP/2 it tells
    /// so that it reads.
    pub(super) async fn linger_while_read(mut self, most: Duration) {
        let reading = async {
            timeout(LINGER, self.transport.shutdown()).await??;
            let mut chunk = [0; 1024];
            while timeout(LINGER, self.transport.read(&mut chunk)).await?? > 0 {}
            io::Result::Ok(())
        };
        // Whatever ends it, the connection is over.
        let _ = timeout(most, reading).await;
    }

    /// Says that nothing more comes, and reads on for a bounded while so that the client can read what was said.
    pub(super) async fn linger(mut self) {
        let reading = async {
            self.transport.write_all(&self.unwritten).await?;
            self.transport.shutdown().await?;
            let mut chunk = [0; 1024];
            let mut left = LINGER_BYTES;
            while left > 0 {
                let read = self.transport.read(&mut chunk).await?;
                left = if read == 0 { 0 } else { left.saturating_sub(read) };
            }
            io::Result::Ok(())
        };
        // Whatever ends it, the connection is over.
        let _ = timeout(LINGER, reading).await;
    }
}
