//! The transport that every lane reads and writes: one buffer each way, there only while there is something in it.
//!
//! For HTTP/1 the stream knows where a request ends. [`EdgeStream::next_head`] waits for a whole head, within all bounds;
//! then exactly the bytes of that request can be read from the stream, and what comes after them stays for the next head.
//! For HTTP/2 and other protocols the bytes pass through.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::half_closed::HalfClosed;
use super::head::{self, Body, Head, Scan};
use super::idle::IdleWait;
use super::pace::Patience;
use super::readable::Readable;
use super::refuse::{RefusalResponse, RefusedHead};
use super::spare::SpareBuffer;
use super::transport::{Remains, Transport};
use super::writer::Writer;
use super::{ClientProtocol, Connection, Edge, Refusal, ShutdownWatch};

/// Read at once when a head is awaited; what is read ahead of a request that is not yet answered stays below it.
const CHUNK: usize = 4096;

/// Longest wait for a client that does not take the end of its idle TLS session.
const GOODBYE: Duration = Duration::from_secs(1);

/// A client connection as a lane reads and writes it.
pub struct EdgeStream {
    /// `None` once the connection is over and only its remains are left.
    transport: Option<Transport>,
    /// Read from the socket and not yet from this stream.
    unread: BytesMut,
    readable: Readable,
    /// Present once the client has ended its side after a whole request.
    half_closed: Option<HalfClosed>,
    writer: Writer,
    /// The wait for the rest of a request's body.
    upload: Patience,
    connection: Arc<Connection>,
    edge: Arc<Edge>,
}

/// Why no request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client left, was idle too long, or the gateway is shutting down. Nothing is owed.
    Quiet,
    /// The client was refused; it has its answer.
    Refused(Refusal),
}

impl EdgeStream {
    pub(super) fn new(transport: Transport, connection: Arc<Connection>, edge: Arc<Edge>) -> Self {
        let readable = match connection.protocol {
            ClientProtocol::Http1 => Readable::NOTHING,
            ClientProtocol::Http2 => Readable::All,
        };
        let limits = &edge.limits;
        // The streams of an HTTP/2 connection are rated one by one.
        let rated = connection.protocol == ClientProtocol::Http1;
        let download = Patience::within(limits, limits.min_rate.download.filter(|_| rated));
        let download = download.counted(&edge.load, connection.client.ip());
        let writer = Writer::new(download, Arc::clone(&connection.client_side));
        let upload = Patience::within(limits, limits.min_rate.upload);
        let (transport, unread) = (Some(transport), BytesMut::new());
        Self { transport, unread, readable, half_closed: None, writer, upload, connection, edge }
    }

    /// The connection below.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The socket's descriptor; -1 once the connection is over.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.transport.as_ref().map_or(-1, |transport| transport.tcp().as_raw_fd())
    }

    /// Whether a head is here that nobody has read: [`next_head`](Self::next_head) was called by the lane before.
    #[must_use]
    pub fn has_head(&self) -> bool {
        !self.unread.is_empty() && self.readable != Readable::NOTHING
    }

    /// Waits for the next request of an HTTP/1 connection until its whole head is here; the request can then be read.
    ///
    /// # Errors
    /// When no request came, or one that was refused: the answer is sent and the connection is to be dropped.
    pub async fn next_head(&mut self, shutdown: &mut ShutdownWatch) -> Result<Head, End> {
        self.next_head_in(&SpareBuffer::default(), &mut IdleWait::new(shutdown)).await
    }

    /// Does what [`next_head`](Self::next_head) does, in memory that the worker lends until [`take_head`](Self::take_head), within
    /// the bounds that all waits of the connection share.
    ///
    /// # Errors
    /// The same.
    pub async fn next_head_in(&mut self, spare: &SpareBuffer, idle: &mut IdleWait) -> Result<Head, End> {
        debug_assert_eq!(self.readable, Readable::NOTHING, "the request before was read to its end");
        match self.await_head(spare, idle).await {
            Ok(mut head) => {
                self.take_absolute_form(&mut head);
                self.readable = Readable::request(&head, &self.edge.limits);
                self.connection.client_side.begin(matches!(head.body, Body::Length(1..) | Body::Chunked));
                self.upload.reset();
                self.writer.begin();
                Ok(head)
            }
            Err(End::Refused(refusal)) => {
                self.edge.observer.refused(refusal);
                self.refuse(refusal).await;
                Err(End::Refused(refusal))
            }
            Err(End::Quiet) => Err(End::Quiet),
        }
    }

    /// Takes the unread head, which its reader has copied. Returns how many bytes of the body were read with it.
    pub fn take_head(&mut self, head: &Head, spare: &SpareBuffer) -> usize {
        self.readable.take_head(head.len);
        self.unread.advance(head.len);
        if self.unread.is_empty() {
            spare.put(mem::take(&mut self.unread));
        }
        if self.readable == Readable::NOTHING { 0 } else { self.unread.len() }
    }

    /// True if the whole request has been read.
    #[must_use]
    pub fn is_request_read(&self) -> bool {
        self.readable == Readable::NOTHING
    }

    /// Writes some of the pieces of an answer at once. What goes out by [`AsyncWrite`] is gathered instead; one answer takes one of
    /// the two ways.
    ///
    /// # Errors
    /// When the client left, or was too slow.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.writer.poll_send(transport(&mut self.transport)?, cx, pieces)
    }

    /// Ends the connection behind a whole answer: the client of a TLS session sees an end and not a cut.
    pub async fn finish(mut self: Box<Self>) {
        self.say_goodbye().await;
        self.leave().await;
    }

    /// Ends the connection so that its client can read what was sent.
    pub async fn leave(self: Box<Self>) {
        let connection = Arc::clone(&self.connection);
        drop(self);
        if let Some(remains) = connection.take_remains() {
            Box::pin(remains.linger()).await;
        }
    }

    /// Resets the connection: the client of an answer that ends with its connection sees that it has not all of it.
    pub fn reset(mut self: Box<Self>) {
        if let Some(transport) = self.transport.take() {
            // A socket that is gone already has been reset by the client.
            let _ = socket2::SockRef::from(transport.tcp()).set_linger(Some(Duration::ZERO));
        }
    }

    /// The unread head, as [`next_head`](Self::next_head) found it, and what was read behind it.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// The request is answered: what the client sends from now on belongs to the next one.
    ///
    /// Only right when the whole request was read.
    pub fn request_done(&mut self) {
        self.readable = Readable::NOTHING;
        self.half_closed = None;
        self.connection.request_done();
    }

    /// Waits for the first bytes of an HTTP/2 connection; they stay unread.
    ///
    /// # Errors
    /// When they did not come in time, or are not HTTP/2. Nothing is answered.
    pub async fn http2_preface(&mut self) -> Result<(), End> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let deadline = Instant::now() + self.edge.limits.head_timeout;
        while self.unread.len() < PREFACE.len() && PREFACE.starts_with(&self.unread) {
            match timeout_at(deadline, self.read_more()).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Err(End::Quiet),
                Err(_) => return Err(self.refuse_quietly(Refusal::Http2Preface)),
            }
        }
        if self.unread.starts_with(PREFACE) { Ok(()) } else { Err(self.refuse_quietly(Refusal::Http2Preface)) }
    }

    #[cfg(test)]
    pub(super) fn holds_buffers(&self) -> bool {
        self.unread.capacity() > 0 || self.writer.holds_buffer()
    }

    fn refuse_quietly(&self, refusal: Refusal) -> End {
        self.edge.observer.refused(refusal);
        End::Refused(refusal)
    }

    async fn await_head(&mut self, spare: &SpareBuffer, idle: &mut IdleWait) -> Result<Head, End> {
        if self.unread.is_empty() {
            self.await_first_bytes(spare, idle).await?;
        }
        let edge = Arc::clone(&self.edge);
        let mut scan = Scan::default();
        // Most heads come whole: then no clock is read.
        let mut began: Option<Instant> = None;
        loop {
            if let Some(head) = scan.advance(&self.unread, &edge.limits).map_err(End::Refused)? {
                self.connection.head_took(began.map_or(Duration::ZERO, |began| began.elapsed()));
                return Ok(head);
            }
            let deadline = *began.get_or_insert_with(Instant::now) + edge.limits.head_timeout;
            match timeout_at(deadline, self.read_more()).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Err(End::Quiet),
                Err(_) => return Err(End::Refused(Refusal::HeadTimeout)),
            }
        }
    }

    /// Puts a target in absolute-form into origin-form, the only one that lanes and endpoints see.
    fn take_absolute_form(&mut self, head: &mut Head) {
        let Some((bytes, rewritten)) = head::to_origin_form(&self.unread, head) else { return };
        self.connection.keep_target(&self.unread[head.target.clone()]);
        let behind = self.unread.split_off(head.len);
        self.unread = BytesMut::from(bytes.as_slice());
        self.unread.unsplit(behind);
        *head = rewritten;
    }

    async fn await_first_bytes(&mut self, spare: &SpareBuffer, idle: &mut IdleWait) -> Result<(), End> {
        let limit = self.edge.limits.idle_timeout;
        idle.begin();
        let first = poll_fn(|cx| match self.poll_first_bytes(spare, cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => idle.poll(limit, cx).map(|()| None),
        });
        match first.await {
            Some(Ok(1..)) => Ok(()),
            Some(Err(_)) => Err(End::Quiet),
            Some(Ok(0)) | None => {
                self.say_goodbye().await;
                Err(End::Quiet)
            }
        }
    }

    /// Ends a TLS session between two requests, so that the client sees an end and not a cut. Without TLS closing the socket
    /// says as much.
    async fn say_goodbye(&mut self) {
        if self.connection.tls.is_some() {
            // The connection is over whether the client can be told or not.
            let _ = timeout(GOODBYE, AsyncWriteExt::shutdown(self)).await;
        }
    }

    /// Reads what is there behind the unread bytes; 0 is the end.
    async fn read_more(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_more(cx)).await
    }

    fn poll_first_bytes(&mut self, spare: &SpareBuffer, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.unread = spare.take();
        let read = self.poll_read_more(cx);
        if self.unread.is_empty() {
            spare.put(mem::take(&mut self.unread));
        }
        read
    }

    fn poll_read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack, so that a connection without a request holds no buffer.
        let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(transport(&mut self.transport)?).poll_read(cx, &mut chunk))?;
        self.unread.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }

    async fn refuse(&mut self, refusal: Refusal) {
        let Some(response) = RefusalResponse::of(refusal) else { return };
        self.edge.observer.refused_head(&RefusedHead {
            connection: &self.connection,
            refusal,
            request_id: response.request_id.as_bytes(),
            received: &self.unread,
            bytes_out: response.body,
        });
        if self.write_all(&response.bytes).await.is_ok()
            && self.flush().await.is_ok()
            && let Some(remains) = self.take_remains()
        {
            Box::pin(remains.linger()).await;
        }
    }

    fn take_remains(&mut self) -> Option<Remains> {
        self.transport.take().map(Remains::new)
    }

    /// Hands on what may be read of the unread bytes.
    fn read_unread(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let len = buf.remaining().min(self.unread.len());
        let own = self.readable.take(&self.unread[..len])?;
        buf.put_slice(&self.unread[..own]);
        self.unread.advance(own);
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        Ok(())
    }

    /// Watches, after a whole request, for the departure of the client. What it sends ahead stays for the next head.
    fn poll_departure(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.half_closed.is_none() && self.unread.len() < CHUNK {
            if ready!(self.poll_read_more(cx))? == 0 {
                self.half_closed = Some(HalfClosed::new());
                // The answer to the last request says that the connection ends.
                if self.unread.is_empty() {
                    self.connection.half_closed();
                }
            }
        }
        let Some(half_closed) = &mut self.half_closed else {
            // Enough was sent ahead: nothing is read, and nobody is woken, until the next head is awaited.
            return Poll::Pending;
        };
        match transport(&mut self.transport)? {
            Transport::Plain(tcp) if !self.connection.answer_is_endless() => half_closed.poll_reset(tcp, cx).map(Err),
            Transport::Plain(_) | Transport::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Reads more of a body, within the patience with the client.
    fn poll_upload(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        let polled = self.poll_read_body(cx, buf);
        let client = &*self.connection.client_side;
        if !client.is_uploading() {
            return polled;
        }
        client.reading(polled.is_pending());
        match polled {
            Poll::Ready(Ok(())) => {
                self.upload.passed(buf.filled().len() - start, client.is_rated())?;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if client.is_streaming() => Poll::Pending,
            Poll::Pending => self.upload.poll_stalled(cx).map(|slow| Err(slow.into())),
        }
    }

    /// Reads past the buffer. What belongs to the next request is put aside.
    fn poll_read_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        ready!(Pin::new(transport(&mut self.transport)?).poll_read(cx, buf))?;
        let own = self.readable.take(&buf.filled()[start..])?;
        self.unread.extend_from_slice(&buf.filled()[start + own..]);
        buf.set_filled(start + own);
        Poll::Ready(Ok(()))
    }
}

fn transport(transport: &mut Option<Transport>) -> io::Result<&mut Transport> {
    transport.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
}

impl AsyncRead for EdgeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.connection.client_side.take_cut() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.readable == Readable::NOTHING {
            if !this.connection.is_tunnel() {
                return this.poll_departure(cx);
            }
            this.readable = Readable::All;
        }
        if this.unread.is_empty() {
            return this.poll_upload(cx, buf);
        }
        Poll::Ready(this.read_unread(buf))
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writer.poll_write(transport(&mut this.transport)?, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.writer.poll_flush(transport(&mut this.transport)?, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(answer) = this.connection.take_substitute() {
            this.writer.replace(answer);
        }
        let transport = transport(&mut this.transport)?;
        ready!(this.writer.poll_flush(transport, cx))?;
        Pin::new(transport).poll_shutdown(cx)
    }
}

impl Drop for EdgeStream {
    /// A lane may drop the stream while the client is still sending: closing then would reset the connection before the
    /// client has read its answer. What remains goes to the connection, whose task lingers. While the gateway is closing it
    /// does so for every client, because one that has not read yet that the connection ends may send its next request.
    fn drop(&mut self) {
        if let Some(answer) = self.connection.take_substitute()
            && let Some(transport) = self.transport.take()
        {
            return self.connection.leave_remains(Remains::before(transport, answer));
        }
        let unfinished = match self.readable {
            Readable::Bytes(left) => left > 0 || !self.unread.is_empty() || self.edge.closing.has_begun(),
            Readable::Chunks { .. } => true,
            // The client of an HTTP/2 connection sends while it reads.
            Readable::All => self.connection.protocol == ClientProtocol::Http2,
        };
        if unfinished && let Some(remains) = self.take_remains() {
            self.connection.leave_remains(remains);
        }
    }
}

impl fmt::Debug for EdgeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeStream")
            .field("connection", &self.connection.id)
            .field("client", &self.connection.client)
            .field("unread", &self.unread.len())
            .field("readable", &self.readable)
            .finish_non_exhaustive()
    }
}
