//! One HTTP/2 stream, as pingora's proxy reads and writes it.
//!
//! It keeps the limits on clients that [`EdgeStream`](crate::edge::EdgeStream) keeps for HTTP/1: pingora's own session for a stream
//! has no timeout on a body that is read, none on a wait for the endpoint, and knows no least rate.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use pingora_core::ErrorType::{H2Error, InternalError, ReadError, ReadTimedout, WriteError, WriteTimedout};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::body_buffer::FixedBuffer;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::timeout;

use crate::edge::pace::{Patience, TooSlow};
use crate::edge::{ClientSide, Connection, Edge};

/// The bytes of a request's body that are kept for another attempt, as pingora keeps them for HTTP/1.
const REPLAY: usize = 64 << 10;

/// The bytes of interim answers that one stream passes on.
const INTERIM: usize = 64 << 10;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// The way from a request of pingora's to the stream that it came by, in the extensions of its head.
#[derive(Debug, Clone)]
pub(in crate::edge::proxied) struct StreamOrigin {
    /// The connection of the stream.
    pub(in crate::edge::proxied) connection: Arc<Connection>,
    /// The client's side of the stream.
    pub(in crate::edge::proxied) client: Arc<ClientSide>,
}

/// A request and its answer on one HTTP/2 stream.
pub(in crate::edge::proxied) struct Http2Stream {
    address: SocketAddr,
    request: RequestHeader,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    client: Arc<ClientSide>,
    upload: Patience,
    download: Patience,
    /// True once the body has ended. The stream below says so only after its trailers were read, and nobody reads them.
    body_over: bool,
    /// The body as far as it was read, for another attempt.
    replay: Option<FixedBuffer>,
    drain_timeout: Option<Duration>,
    /// The status of the answer, without its fields, as soon as its head is sent.
    answered: Option<ResponseHeader>,
    /// The writer of the answer's body, from then on.
    writer: Option<SendStream<Bytes>>,
    ended: bool,
    /// The bytes of interim answers so far.
    interim: usize,
    read: usize,
    sent: usize,
}

impl Http2Stream {
    pub(super) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        connection: &Arc<Connection>,
        edge: &Edge,
    ) -> Self {
        let (mut parts, body) = request.into_parts();
        let client = Arc::<ClientSide>::default();
        client.begin(!body.is_end_stream());
        let origin = StreamOrigin { connection: Arc::clone(connection), client: Arc::clone(&client) };
        parts.extensions.insert(origin);
        let limits = &edge.limits;
        let download = Patience::within(limits, limits.min_rate.download);
        Self {
            address: SocketAddr::Inet(connection.client),
            request: RequestHeader::from(parts),
            body,
            respond,
            client,
            upload: Patience::within(limits, limits.min_rate.upload),
            download: download.counted(&edge.load, connection.client.ip()),
            body_over: false,
            replay: None,
            drain_timeout: None,
            answered: None,
            writer: None,
            ended: false,
            interim: 0,
            read: 0,
            sent: 0,
        }
    }

    fn is_body_over(&self) -> bool {
        self.body_over || self.has_no_body() || self.body.is_end_stream()
    }

    fn has_no_body(&self) -> bool {
        let is_zero = || self.request.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
        self.read == 0 && (self.body.is_end_stream() || is_zero())
    }

    /// More of the body, within the patience with the client.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        let Self { body, client, upload, .. } = self;
        let read = poll_fn(|cx| {
            if client.poll_cut(cx) {
                return Poll::Ready(Err(was_cut()));
            }
            let polled = body.poll_data(cx);
            client.reading(polled.is_pending() && client.is_uploading());
            match polled {
                Poll::Ready(read) => {
                    Poll::Ready(read.transpose().map_err(|error| failed(error, ReadError, "while reading the body")))
                }
                Poll::Pending if client.is_streaming() => Poll::Pending,
                Poll::Pending => upload.poll_stalled(cx).map(|slow| Err(too_slow(slow, ReadTimedout))),
            }
        });
        let Some(bytes) = read.await? else {
            self.body_over = true;
            return Ok(None);
        };
        self.upload.passed(bytes.len(), self.client.is_rated()).map_err(|slow| too_slow(slow, ReadTimedout))?;
        self.read += bytes.len();
        if let Some(replay) = &mut self.replay {
            replay.write_to_buffer(&bytes);
        }
        // Fails only when the client has reset the stream, which the next read tells.
        let _ = self.body.flow_control().release_capacity(bytes.len());
        Ok(Some(bytes))
    }

    /// Waits until the client resets the stream, or the request is cut.
    async fn left(&mut self) -> Box<Error> {
        let Self { respond, client, writer, .. } = self;
        let reset = poll_fn(|cx| {
            if client.poll_cut(cx) {
                return Poll::Ready(Err(was_cut()));
            }
            let reset = match writer {
                Some(writer) => writer.poll_reset(cx),
                None => respond.poll_reset(cx),
            };
            reset.map(|reset| reset.map_err(|error| failed(error, H2Error, "while idling")))
        });
        match reset.await {
            Ok(reason) => Error::explain(H2Error, format!("the client reset the stream: {reason}")),
            Err(error) => error,
        }
    }

    /// Sends the bytes as the client takes them.
    async fn send(&mut self, mut bytes: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Some(writer) = self.writer.as_mut() else {
            return Error::e_explain(H2Error, "a body before its head");
        };
        self.sent += bytes.len();
        while !bytes.is_empty() {
            writer.reserve_capacity(bytes.len());
            let (client, download) = (&*self.client, &mut self.download);
            let capacity = poll_fn(|cx| {
                let polled = writer.poll_capacity(cx);
                client.writing(polled.is_pending());
                match polled {
                    Poll::Ready(capacity) => Poll::Ready(Ok(capacity)),
                    Poll::Pending => download.poll_stalled(cx).map(|slow| Err(too_slow(slow, WriteTimedout))),
                }
            })
            .await?;
            let capacity =
                capacity.transpose().map_err(|error| failed(error, WriteError, "while the client takes no more"))?;
            let Some(capacity) = capacity else { return Error::e_explain(WriteError, "the stream is over") };
            let now = bytes.split_to(capacity.min(bytes.len()));
            download.passed(now.len(), client.is_rated()).map_err(|slow| too_slow(slow, WriteTimedout))?;
            self.ended = end && bytes.is_empty();
            let sent = writer.send_data(now, self.ended);
            sent.map_err(|error| failed(error, WriteError, "while writing the body"))?;
        }
        Ok(())
    }

    fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.answered.is_some() {
            return Ok(());
        }
        // Fields of an HTTP/1.1 connection are malformed here (RFC 9113, section 8.2.2).
        for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION] {
            head.remove_header(&name);
        }
        let status = head.status;
        if status.is_informational() {
            return self.send_interim(*head);
        }
        head.insert_header(DATE, get_cached_date())?;
        let head = Response::from_parts((*head).into(), ());
        self.writer = Some(self.respond.send_response(head, end).or_err(WriteError, "while writing the head")?);
        self.answered = Some(ResponseHeader::build(status, Some(0))?);
        self.ended = end;
        Ok(())
    }

    /// Sends an interim answer (1xx); of 101 HTTP/2 knows nothing (RFC 9113, section 8.6). They queue up without a limit where
    /// the client reads nothing, so what is too much is dropped.
    fn send_interim(&mut self, head: ResponseHeader) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        self.interim += head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() + 32;
        if self.interim > INTERIM {
            return Ok(());
        }
        let head = Response::from_parts(head.into(), ());
        self.respond.send_informational(head).or_err(WriteError, "while writing an interim answer")
    }

    fn send_end(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.as_mut()
            && !self.ended
        {
            writer.send_data(Bytes::new(), true).or_err(WriteError, "while ending the body")?;
            self.ended = true;
        }
        Ok(())
    }

    fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if let Some(writer) = self.writer.as_mut()
            && !self.ended
        {
            writer.send_trailers(trailers).or_err(WriteError, "while writing trailers")?;
            self.ended = true;
        }
        Ok(())
    }
}

/// The request was ended for a silence; whose it was is known to who ended it.
fn was_cut() -> Box<Error> {
    Error::explain(ReadTimedout, "the wait was ended")
}

/// An error of the stream. One that the connection had because its client took nothing is the client's.
fn failed(error: h2::Error, kind: ErrorType, when: &'static str) -> Box<Error> {
    let is_timeout = error.get_io().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
    if is_timeout { too_slow(TooSlow::Silent, kind) } else { Error::because(kind, when, error) }
}

fn too_slow(slow: TooSlow, kind: ErrorType) -> Box<Error> {
    Error::because(kind, "limits on clients", slow)
}

#[async_trait]
impl Session for Http2Stream {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read().await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.is_body_over() { Err(self.left().await) } else { self.read().await }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if self.is_body_over() {
            return Ok(());
        }
        let limit = self.drain_timeout.unwrap_or(Duration::MAX);
        let mut draining = pin!(async {
            while self.read().await?.is_some() {}
            Ok(())
        });
        match timeout(limit, draining.as_mut()).await {
            Ok(drained) => drained,
            Err(_) => Error::e_explain(ReadTimedout, format!("the rest of the body did not come in {limit:?}")),
        }
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.send_head(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.send_head(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.send(data, end).await.map_err(|e| e.into_down())?;
        if end { self.send_end().map_err(|e| e.into_down()) } else { Ok(()) }
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.send_trailers(trailers).map_err(|e| e.into_down())
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut ends = false;
        for task in tasks {
            ends |= match task {
                HttpTask::Header(head, end) => self.send_head(head, end).map(|()| end).map_err(|e| e.into_down())?,
                HttpTask::Body(bytes, end) => {
                    let bytes = bytes.unwrap_or_default();
                    self.send(bytes, end).await.map(|()| end).map_err(|e| e.into_down())?
                }
                HttpTask::UpgradedBody(..) => return Error::e_explain(InternalError, "an upgrade over HTTP/2"),
                HttpTask::Trailer(Some(trailers)) => {
                    self.send_trailers(*trailers).map(|()| true).map_err(|e| e.into_down())?
                }
                HttpTask::Trailer(None) | HttpTask::Done => true,
                HttpTask::Failed(error) => return Err(error),
            };
        }
        if ends {
            self.send_end().map_err(|e| e.into_down())?;
        }
        Ok(ends)
    }

    /// Ignored: the edge's limits hold.
    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    /// Ignored: the edge's limits hold.
    fn set_write_timeout(&mut self, _: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        let (method, uri) = (&self.request.method, &self.request.uri);
        format!("{method} {}, Host: {}", uri.path(), uri.authority().map_or("", |authority| authority.as_str()))
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.answered.as_ref()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        if !self.ended {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    fn is_body_done(&mut self) -> bool {
        self.is_body_over()
    }

    async fn finish(&mut self) -> Result<()> {
        self.send_end()
    }

    fn is_body_empty(&mut self) -> bool {
        self.has_no_body()
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.read
    }

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        Some(&self.address)
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.request).map(BytesMut::freeze).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.replay.get_or_insert_with(|| FixedBuffer::new(REPLAY));
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.replay.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.replay.as_ref().filter(|replay| !replay.is_truncated())?.get_buffer()
    }

    // HTTP has no messages of its own beside the body.

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
