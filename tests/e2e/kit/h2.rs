//! An HTTP/2 client that decides where DATA frames end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::header::EXPECT;
use http::{HeaderMap, Request, Response, StatusCode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::within;

/// One connection over TLS.
pub(crate) struct H2 {
    requests: SendRequest<Bytes>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl H2 {
    /// Panics when the server does not choose `h2` by ALPN.
    pub(crate) async fn connect(address: SocketAddr, host: &str, config: Arc<rustls::ClientConfig>) -> Self {
        Self::try_connect(address, host, config).await.expect("the gateway listens")
    }

    /// `None` when the port is closed.
    pub(crate) async fn try_connect(
        address: SocketAddr,
        host: &str,
        config: Arc<rustls::ClientConfig>,
    ) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let name = ServerName::try_from(host.to_string()).expect("a test's host is a name");
        let stream = within("a handshake", TlsConnector::from(config).connect(name, stream)).await;
        let stream = stream.expect("the certificate fits");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (requests, connection) = h2::client::handshake(stream).await.expect("the preface passes");
        tokio::spawn(connection);
        Some(Self { requests })
    }

    /// True while the connection takes requests: no GOAWAY has come, and no end.
    pub(crate) async fn is_open(&self) -> bool {
        self.requests.clone().ready().await.is_ok()
    }

    /// Sends the head, then each of `frames` as one DATA frame; the last one ends the stream.
    pub(crate) async fn request(&self, request: Request<()>, frames: &[&[u8]]) -> Answer {
        within("an answer over HTTP/2", self.try_request(request, frames)).await.expect("an answer")
    }

    /// Sends the head of a request whose body is still to come.
    pub(crate) async fn open(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        let requests = within("room for a stream", self.requests.clone().ready()).await;
        requests.and_then(|mut requests| requests.send_request(request, false)).expect("a stream opens")
    }

    /// The interim answers (1xx) to a request, and its answer's status. A body is held back until the first of them if the
    /// request expects 100.
    pub(crate) async fn interim(&self, request: Request<()>, body: &'static [u8]) -> (Vec<Response<()>>, StatusCode) {
        let expects = request.headers().contains_key(EXPECT);
        let (mut response, mut upload) = self.open(request).await;
        let mut send_body = || upload.send_data(Bytes::from_static(body), true).expect("the stream takes a body");
        if !expects {
            send_body();
        }
        let mut interim = Vec::new();
        let mut next = async || poll_fn(|cx| response.poll_informational(cx)).await;
        while let Some(head) = within("an interim answer", next()).await {
            interim.push(head.expect("a head"));
            if expects && interim.len() == 1 {
                send_body();
            }
        }
        (interim, within("an answer", response).await.expect("an answer").status())
    }

    pub(crate) async fn try_request(&self, request: Request<()>, frames: &[&[u8]]) -> Result<Answer, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(request, frames.is_empty())?;
        for (index, frame) in frames.iter().enumerate() {
            body.send_data(Bytes::copy_from_slice(frame), index + 1 == frames.len())?;
        }
        let (head, mut body) = response.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await?;
        Ok(Answer { status: head.status, headers: head.headers, body: bytes, trailers })
    }
}
