//! One HTTP/2 stream, as pingora's proxy reads and writes it.
//!
//! pingora's own session for a stream has no timeout on a body that is read, none on a wait for the endpoint, and knows no
//! least rate. This one stands around it, with the limits that [`EdgeStream`](crate::edge::EdgeStream) keeps for HTTP/1.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use config::model::Limits;
use futures_core::Stream;
use h2::SendStream;
use http::HeaderMap;
use pingora_core::ErrorType::{H2Error, InternalError, ReadTimedout, WriteError, WriteTimedout};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::edge::pace::{Patience, TooSlow};
use crate::edge::{ClientSide, Load};

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// A request and its answer on one HTTP/2 stream.
pub(super) struct Paced {
    inner: HttpSession,
    client: Arc<ClientSide>,
    upload: Patience,
    download: Patience,
    /// The writer of the answer's body, as soon as its head is sent.
    writer: Option<SendStream<Bytes>>,
    ended: bool,
    sent: usize,
}

impl Paced {
    /// A stream of the client with this address, the unread answers of which are counted in `load`.
    pub(super) fn new(mut inner: HttpSession, limits: &Limits, load: &Arc<Load>, address: Option<IpAddr>) -> Self {
        let client = Arc::<ClientSide>::default();
        client.begin(!inner.is_body_done());
        inner.req_header_mut().extensions_mut().insert(Arc::clone(&client));
        let upload = Patience::within(limits, limits.min_rate.upload);
        let mut download = Patience::within(limits, limits.min_rate.download);
        if let Some(address) = address {
            download = download.counted(load, address);
        }
        Self { inner, client, upload, download, writer: None, ended: false, sent: 0 }
    }

    /// More of the body, within the patience with the client.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        let Self { inner, client, upload, .. } = self;
        let mut reading = pin!(inner.read_body_bytes());
        let outcome = poll_fn(|cx| {
            if client.poll_cut(cx) {
                return Poll::Ready(Err(was_cut()));
            }
            let polled = reading.as_mut().poll(cx);
            client.reading(polled.is_pending() && client.is_uploading());
            match polled {
                Poll::Ready(read) => Poll::Ready(read),
                Poll::Pending if client.is_streaming() => Poll::Pending,
                Poll::Pending => upload.poll_stalled(cx).map(|slow| Err(too_slow(slow, ReadTimedout))),
            }
        })
        .await;
        if let Ok(Some(bytes)) = &outcome {
            upload.passed(bytes.len(), client.is_rated()).map_err(|slow| too_slow(slow, ReadTimedout))?;
        }
        outcome
    }

    /// Waits until the client resets the stream, or the request is cut.
    async fn left(&mut self) -> Box<Error> {
        let Self { inner, client, writer, .. } = self;
        let reset = poll_fn(|cx| {
            if client.poll_cut(cx) {
                return Poll::Ready(Err(was_cut()));
            }
            match writer {
                Some(writer) => writer.poll_reset(cx).map(|reset| reset.or_err(H2Error, "while idling")),
                None => Pin::new(&mut inner.idle()).poll(cx),
            }
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
            let capacity = capacity.transpose().or_err(WriteError, "while the client takes no more")?;
            let Some(capacity) = capacity else { return Error::e_explain(WriteError, "the stream is over") };
            let now = bytes.split_to(capacity.min(bytes.len()));
            download.passed(now.len(), client.is_rated()).map_err(|slow| too_slow(slow, WriteTimedout))?;
            self.ended = end && bytes.is_empty();
            writer.send_data(now, self.ended).or_err(WriteError, "while writing the body")?;
        }
        Ok(())
    }

    fn send_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.inner.write_response_header(head, end)?;
        if let Some(writer) = self.inner.take_response_body_writer() {
            self.writer = Some(writer);
        }
        // Heads of 1xx are not sent.
        self.ended = self.ended || (end && self.writer.is_some());
        Ok(())
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

fn too_slow(slow: TooSlow, kind: pingora_core::ErrorType) -> Box<Error> {
    Error::because(kind, "limits on clients", slow)
}

#[async_trait]
impl Session for Paced {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read().await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.inner.is_body_done() { Err(self.left().await) } else { self.read().await }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner.drain_request_body().await
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
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        if !self.ended {
            self.inner.shutdown();
        }
    }

    fn is_body_done(&mut self) -> bool {
        self.inner.is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.send_end()
    }

    fn is_body_empty(&mut self) -> bool {
        self.inner.is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.pseudo_raw_h1_request_header()
    }

    fn enable_retry_buffering(&mut self) {
        self.inner.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.inner.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.inner.get_retry_buffer()
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
