//! A client that sends exact bytes and reads answers as they stand on the wire.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::wire::{Body, Head, Unframed, Wire};
use super::within;

/// One connection.
pub(crate) struct Client {
    pub(crate) wire: Wire,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Body,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    /// The version that answered, as the gateway says.
    pub(crate) fn version(&self) -> &str {
        self.head.field("x-weir-version").unwrap_or_default()
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within("connect", TcpStream::connect(address)).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("loopback has no-delay");
        Self { wire: Wire::new(stream) }
    }

    /// TLS with HTTP/1.1 by ALPN.
    pub(crate) async fn connect_tls(address: SocketAddr, host: &str, config: Arc<rustls::ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let name = ServerName::try_from(host.to_string()).expect("a test's host is a name");
        let stream = within("a handshake", TlsConnector::from(config).connect(name, stream)).await;
        Self { wire: Wire::new(stream.expect("the certificate fits")) }
    }

    /// Sends exactly these bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).await.expect("the gateway reads");
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("sending", async {
            self.wire.stream.write_all(bytes).await?;
            self.wire.stream.flush().await
        })
        .await
    }

    /// `GET` of a path with more fields, each ending in CRLF.
    pub(crate) async fn get_with(&mut self, host: &str, path: &str, fields: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n")).await;
        self.response("GET").await
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Response {
        self.get_with(host, path, "").await
    }

    /// The answer to a request of this method.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        within("an answer", self.try_response(method)).await.expect("an answer")
    }

    pub(crate) async fn try_response(&mut self, method: &str) -> std::io::Result<Response> {
        let (status, head) = self.try_head().await?;
        let without = method == "HEAD" || status == 204 || status == 304 || status == 101;
        let body = if without { Body::default() } else { self.wire.body(&head, Unframed::ToEnd).await? };
        Ok(Response { status, head, body })
    }

    /// The next head, 1xx answers before it skipped; its body stays unread.
    pub(crate) async fn head(&mut self) -> (u16, Head) {
        let (status, head) = within("a head", self.try_head()).await.expect("a head");
        (status, head)
    }

    /// 1xx answers are read and left out.
    async fn try_head(&mut self) -> std::io::Result<(u16, Head)> {
        loop {
            let bytes = self.wire.take_through(b"\r\n\r\n").await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
            let wrong = || std::io::Error::other(format!("no head: {}", String::from_utf8_lossy(&bytes)));
            let head = Head::parse(&bytes).ok_or_else(wrong)?;
            let status = head.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
            let status: u16 = status.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
            if status / 100 != 1 || status == 101 {
                return Ok((status, head));
            }
        }
    }

    /// Takes exactly so many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        within("bytes", self.wire.take(count)).await.expect("the bytes come")
    }

    /// Takes bytes up to and with `mark`.
    pub(crate) async fn take_through(&mut self, mark: &str) -> String {
        let bytes = within(mark, self.wire.take_through(mark.as_bytes())).await.expect("the bytes come");
        String::from_utf8_lossy(&bytes.expect("the connection is open")).into_owned()
    }

    /// Waits for the end of the connection and returns what came before it.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        // A reset is an end too.
        within("the end", async { while self.wire.more().await.is_ok_and(|got| got > 0) {} }).await;
        self.wire.unread
    }
}

/// One `GET` over a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Response {
    Client::connect(address).await.get(host, path).await
}
