//! An [`EdgeStream`] of HTTP/1 as pingora wants its streams, and the way back from pingora's sessions to what the edge knows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::proxy::Session;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::http2::StreamOrigin;
use crate::edge::{ClientSide, Connection, EdgeStream};

/// A client's HTTP/1 connection in pingora's hands.
#[derive(Debug)]
pub(super) struct EngineStream {
    pub(super) inner: Box<EdgeStream>,
    /// The socket; its peer is the client.
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
}

impl EngineStream {
    pub(super) fn new(inner: Box<EdgeStream>) -> Self {
        let connection = inner.connection();
        let socket = SocketDigest::from_raw_fd(inner.fd());
        socket.peer_addr.set(Some(connection.client.into())).expect("a new digest has no peer yet");
        let digest = |tls: &crate::edge::Tls| SslDigest::new(tls.cipher, tls.version, None, None, Vec::new());
        let tls = connection.tls.as_ref().map(|tls| Arc::new(digest(tls)));
        Self { inner, socket: Arc::new(socket), tls }
    }
}

/// The connection that a request of pingora's came in on; `None` if it did not come through the edge.
#[must_use]
pub fn connection_of(session: &Session) -> Option<Arc<Connection>> {
    let connection = match session.as_downstream().stream() {
        Some(stream) => stream.as_any().downcast_ref::<EngineStream>()?.inner.connection(),
        None => &session.req_header().extensions.get::<StreamOrigin>()?.connection,
    };
    Some(Arc::clone(connection))
}

/// The client's side of a request that pingora serves.
#[must_use]
pub fn client_side_of(session: &Session, connection: &Connection) -> Arc<ClientSide> {
    let stream = session.req_header().extensions.get::<StreamOrigin>();
    Arc::clone(stream.map_or(&connection.client_side, |stream| &stream.client))
}

impl AsyncRead for EngineStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for EngineStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for EngineStream {
    async fn shutdown(&mut self) {
        // The connection is over either way.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for EngineStream {
    fn id(&self) -> UniqueIDType {
        self.inner.fd()
    }
}

impl Ssl for EngineStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        None
    }
}

impl GetTimingDigest for EngineStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for EngineStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for EngineStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

/// Peeks at nothing: HTTP/2 has a way of its own.
impl Peek for EngineStream {}
