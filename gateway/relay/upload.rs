//! The request on its way to the endpoint: its head, and the body as the client sends it.
//!
//! Bytes pass through the buffer of the worker. Only what the endpoint did not take at once is kept here, and the start of the
//! body for another attempt.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::RelayWorker;
use super::body::{BodyFraming, BodyReader, passed_on};
use super::head::RequestHead;
use crate::edge::head::Body;
use crate::edge::{EdgeStream, TooSlow};
use crate::policy::exchange::AttemptFailure;
use crate::policy::framing::announced_trailers;
use crate::policy::retry;

/// Bytes of a body that are kept for another attempt.
const REPLAY_BYTES: usize = 64 << 10;
/// Memory that stays with the worker between requests; more is given back.
const KEPT_BYTES: usize = 8 << 10;

/// A request on its way.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// Bytes for the endpoint, and how many of them it has taken.
    out: Vec<u8>,
    written: usize,
    reader: BodyReader,
    framing: BodyFraming,
    /// The names of trailers that go on.
    announced: String,
    /// The trailers, once they have come.
    trailers: Vec<u8>,
    /// The content that was read so far, unless it became too much.
    replay: Vec<u8>,
    is_gone: bool,
    /// The last byte of the request was read.
    is_read: bool,
    /// The endpoint takes no more of it.
    is_refused: bool,
    /// Bytes of content.
    bytes: u64,
}

/// The progress of an upload in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uploaded {
    /// The endpoint has all of the request.
    All,
    /// The endpoint takes no more, and may have answered.
    Refused,
}

impl Upload {
    /// Begins with the request of this head.
    pub(super) fn begin(&mut self, relay: &RelayWorker, body: Body, head: &RequestHead) {
        let limits = &relay.worker.limits;
        (self.reader, self.framing) = match body {
            Body::Length(0) => (BodyReader::Empty, BodyFraming::Plain),
            Body::Length(length) => (BodyReader::Length(length), BodyFraming::Plain),
            Body::Chunked => (BodyReader::chunked(limits), BodyFraming::Chunked),
        };
        self.announced.clear();
        if body == Body::Chunked {
            self.announced = announced_trailers(head);
        }
        self.trailers.clear();
        self.replay.clear();
        self.is_gone = false;
        self.is_read = self.reader.is_done();
        self.bytes = 0;
        self.rewind();
    }

    /// Frees what was large.
    pub(super) fn trim(&mut self) {
        for buffer in [&mut self.out, &mut self.replay] {
            buffer.clear();
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
        self.reader = BodyReader::Empty;
    }

    /// Forgets what was to be written: another attempt begins. Its head goes into the buffer that is returned.
    pub(super) fn rewind(&mut self) -> &mut Vec<u8> {
        self.out.clear();
        self.written = 0;
        self.is_refused = false;
        &mut self.out
    }

    /// Puts what was read of the body behind the head that was written into [`rewind`](Self::rewind).
    pub(super) fn replay(&mut self) {
        if self.replay.is_empty() && !self.is_read {
            return;
        }
        let last = self.is_read.then_some(&*self.trailers);
        self.framing.before(self.replay.len(), &mut self.out);
        self.out.extend_from_slice(&self.replay);
        self.framing.behind(self.replay.len(), last, &mut self.out);
    }

    /// True if the request has chunks.
    pub(super) fn is_chunked(&self) -> bool {
        self.framing == BodyFraming::Chunked
    }

    /// The names of trailers that go on, between commas.
    pub(super) fn announced(&self) -> &str {
        &self.announced
    }

    /// True if the last byte of the request was read.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// True if the endpoint has all of the request.
    pub(super) fn is_sent(&self) -> bool {
        self.is_read && self.out.is_empty() && !self.is_refused
    }

    /// Bytes of content that were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The body as another attempt would find it.
    pub(super) fn retry_body(&self) -> retry::Body {
        if self.is_gone { retry::Body::Gone } else { retry::Body::Replayable }
    }

    /// Everything from now on passes as it comes, until either side ends.
    pub(super) fn open_tunnel(&mut self) {
        self.reader = BodyReader::UntilClose;
        self.framing = BodyFraming::Plain;
        self.is_read = false;
        self.is_gone = true;
    }

    fn is_tunnel(&self) -> bool {
        matches!(self.reader, BodyReader::UntilClose)
    }

    /// Sends the request as far as both sides let it. `passed` is told of each progress.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (relay, stream): (&RelayWorker, &mut EdgeStream),
        endpoint: &mut TcpStream,
        passed: &mut impl FnMut(),
    ) -> Poll<Result<Uploaded, AttemptFailure>> {
        loop {
            if self.is_refused {
                return Poll::Ready(Ok(Uploaded::Refused));
            }
            if self.written < self.out.len() {
                match ready!(Pin::new(&mut *endpoint).poll_write(cx, &self.out[self.written..])) {
                    Ok(wrote @ 1..) => self.written += wrote,
                    // Its answer may be here already.
                    Ok(0) | Err(_) => self.is_refused = true,
                }
                passed();
                continue;
            }
            self.out.clear();
            self.written = 0;
            if self.is_read {
                return Poll::Ready(Ok(Uploaded::All));
            }
            if let Err(failure) = ready!(self.poll_pass(cx, (relay, stream), endpoint)) {
                return Poll::Ready(Err(failure));
            }
            passed();
        }
    }

    /// Reads what was received with the head, so that it leaves with the head.
    pub(super) fn read_ahead(
        &mut self,
        relay: &RelayWorker,
        stream: &mut EdgeStream,
        ahead: usize,
    ) -> Result<(), AttemptFailure> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut buffer = relay.buffer.borrow_mut();
        let most = ahead.min(buffer.len());
        let mut read = ReadBuf::new(&mut buffer[..most]);
        let length = match Pin::new(stream).poll_read(&mut cx, &mut read) {
            Poll::Ready(Ok(())) => read.filled().len(),
            Poll::Ready(Err(error)) => return Err(client_failure(&error)),
            Poll::Pending => 0,
        };
        let (before, content, behind) = self.take(relay, &mut buffer[..length])?;
        self.out.extend_from_slice(&before);
        self.out.extend_from_slice(&buffer[..content]);
        self.out.extend_from_slice(&behind);
        Ok(())
    }

    /// Reads once and writes at once what came of it.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        (relay, stream): (&RelayWorker, &mut EdgeStream),
        endpoint: &mut TcpStream,
    ) -> Poll<Result<(), AttemptFailure>> {
        let mut buffer = relay.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        let length = match ready!(Pin::new(stream).poll_read(cx, &mut read)) {
            Ok(()) => read.filled().len(),
            Err(error) => return Poll::Ready(Err(client_failure(&error))),
        };
        if length == 0 {
            return Poll::Ready(self.end_of_client(endpoint));
        }
        let (before, content, behind) = match self.take(relay, &mut buffer[..length]) {
            Ok(taken) => taken,
            Err(failure) => return Poll::Ready(Err(failure)),
        };
        let pieces = [&before[..], &buffer[..content], &behind];
        let slices = pieces.map(IoSlice::new);
        let wrote = match Pin::new(endpoint).poll_write_vectored(cx, &slices) {
            Poll::Ready(Ok(wrote)) => wrote,
            Poll::Ready(Err(_)) => {
                self.is_refused = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Pending => 0,
        };
        keep_rest(&mut self.out, &pieces, wrote);
        Poll::Ready(Ok(()))
    }

    /// The client sends nothing more: the end of a tunnel's one side, or too little of a body.
    fn end_of_client(&mut self, endpoint: &TcpStream) -> Result<(), AttemptFailure> {
        if !self.is_tunnel() {
            return Err(AttemptFailure::ClientLeft);
        }
        self.is_read = true;
        // An endpoint that is gone shows it when it is read.
        let _ = socket2::SockRef::from(endpoint).shutdown(std::net::Shutdown::Write);
        Ok(())
    }

    /// Takes bytes of the client: what goes before the content that now stands at their front, its length, and what goes behind.
    fn take(&mut self, relay: &RelayWorker, bytes: &mut [u8]) -> Result<(Vec<u8>, usize, Vec<u8>), AttemptFailure> {
        let piece = self.reader.take(bytes).map_err(|_| AttemptFailure::MalformedBody)?;
        self.bytes += piece.content as u64;
        if self.bytes > relay.worker.limits.body_bytes && !self.is_tunnel() {
            return Err(AttemptFailure::BodyTooLarge);
        }
        self.remember(&bytes[..piece.content]);
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        self.is_read = self.reader.is_done();
        if self.is_read {
            self.trailers = passed_on(&self.announced, self.reader.trailers());
        }
        self.framing.before(piece.content, &mut before);
        self.framing.behind(piece.content, self.is_read.then_some(&*self.trailers), &mut behind);
        Ok((before, piece.content, behind))
    }

    fn remember(&mut self, content: &[u8]) {
        if self.is_gone {
            return;
        }
        if self.replay.len() + content.len() > REPLAY_BYTES {
            self.is_gone = true;
            self.replay = Vec::new();
        } else {
            self.replay.extend_from_slice(content);
        }
    }
}

/// Keeps what was not written of some pieces.
pub(super) fn keep_rest(out: &mut Vec<u8>, pieces: &[&[u8]], mut wrote: usize) {
    for piece in pieces {
        let gone = wrote.min(piece.len());
        out.extend_from_slice(&piece[gone..]);
        wrote -= gone;
    }
}

/// The failure that an error of the client's stream shows.
pub(super) fn client_failure(error: &io::Error) -> AttemptFailure {
    if TooSlow::is_in(error) {
        AttemptFailure::SlowClient
    } else if error.kind() == io::ErrorKind::InvalidData {
        AttemptFailure::MalformedBody
    } else {
        AttemptFailure::ClientLeft
    }
}
