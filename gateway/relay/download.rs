//! The answer on its way to the client: how far it has come, and what the client has not taken yet.

use std::io::IoSlice;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::body::{BodyFraming, BodyReader, MalformedFraming, Piece};
use super::head::AnswerHead;
use super::upload::{client_failure, keep_rest};
use crate::edge::EdgeStream;
use crate::policy::exchange::AttemptFailure;

/// Memory that stays with the worker between requests; more is given back.
const KEPT_BYTES: usize = 8 << 10;
/// Interim answers before an answer.
const MOST_INTERIMS: u32 = 100;

/// The part of an answer that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum AnswerStage {
    /// Its head, or an interim answer before it.
    #[default]
    Head,
    /// Its body.
    Body,
    /// Nothing: the endpoint has said everything.
    Over,
}

/// The state of a connection that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointSide {
    /// More may come.
    Open,
    /// The endpoint ended its side.
    Ended,
    /// The connection broke.
    Broken,
}

/// An answer on its way.
#[derive(Debug, Default)]
pub(super) struct Download {
    pub(super) stage: AnswerStage,
    pub(super) head: AnswerHead,
    /// The start of a head that is not whole.
    partial: Vec<u8>,
    /// Bytes that the client has not taken, and how many of them it has taken since.
    out: Vec<u8>,
    written: usize,
    /// TLS may hold bytes that went to it.
    is_unflushed: bool,
    pub(super) reader: BodyReader,
    pub(super) framing: BodyFraming,
    /// The client knows the end of the body by the end of its connection.
    pub(super) ends_with_connection: bool,
    /// The names of trailers that go on.
    pub(super) announced: String,
    /// The endpoint may be asked again on its connection, as far as its messages show.
    pub(super) is_reusable: bool,
    interims: u32,
    /// Bytes of content.
    pub(super) bytes: u64,
}

impl Download {
    /// Begins with the answer of another attempt. What the client has not taken of interim answers stays: it has a part of them.
    pub(super) fn begin(&mut self) {
        self.stage = AnswerStage::Head;
        self.partial.clear();
        self.reader = BodyReader::Empty;
        self.framing = BodyFraming::Plain;
        self.ends_with_connection = false;
        self.announced.clear();
        self.is_reusable = false;
        self.bytes = 0;
        self.interims = 0;
    }

    /// Takes what the client has not taken yet, to be sent with what follows.
    pub(super) fn take_unsent(&mut self) -> Vec<u8> {
        self.out.drain(..mem::take(&mut self.written));
        mem::take(&mut self.out)
    }

    /// True if the endpoint sends no more interim answers than one may.
    pub(super) fn takes_interim(&mut self) -> bool {
        self.interims += 1;
        self.interims <= MOST_INTERIMS
    }

    /// Frees what was large.
    pub(super) fn trim(&mut self) {
        self.reader = BodyReader::Empty;
        self.written = 0;
        self.is_unflushed = false;
        for buffer in [&mut self.partial, &mut self.out] {
            buffer.clear();
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }

    /// Ready when the client has taken everything that was kept for it.
    pub(super) fn poll_out(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut EdgeStream,
    ) -> Poll<Result<(), AttemptFailure>> {
        while self.written < self.out.len() {
            let rest = [IoSlice::new(&self.out[self.written..])];
            match ready!(stream.poll_send(cx, &rest)) {
                Ok(wrote) => self.written += wrote,
                Err(error) => return Poll::Ready(Err(client_failure(&error))),
            }
        }
        if self.written > 0 {
            self.written = 0;
            self.out.clear();
            if self.out.capacity() > KEPT_BYTES {
                self.out = Vec::new();
            }
        }
        if self.is_unflushed {
            if let Err(error) = ready!(Pin::new(stream).poll_flush(cx)) {
                return Poll::Ready(Err(client_failure(&error)));
            }
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what the endpoint has sent behind the start of a head that was kept: how many bytes there are in all.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        endpoint: &mut TcpStream,
        buffer: &mut [u8],
    ) -> Poll<(usize, EndpointSide)> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        let mut read = ReadBuf::new(buffer);
        read.set_filled(kept);
        // Until nothing more is there, so that an end that came with the last bytes is seen before they are passed on.
        while read.remaining() > 0 {
            let before = read.filled().len();
            match Pin::new(&mut *endpoint).poll_read(cx, &mut read) {
                Poll::Pending if before == kept => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(Ok(())) if read.filled().len() > before => {}
                Poll::Ready(Ok(())) => return Poll::Ready((before, EndpointSide::Ended)),
                Poll::Ready(Err(_)) => return Poll::Ready((before, EndpointSide::Broken)),
            }
        }
        Poll::Ready((read.filled().len(), EndpointSide::Open))
    }

    /// Keeps the start of a head, to be read again with more of it.
    pub(super) fn keep_partial(&mut self, bytes: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(bytes);
    }

    /// Takes what belongs to the body from the start of these bytes. The answer is over with its last one.
    pub(super) fn take(&mut self, bytes: &mut [u8], side: EndpointSide) -> Result<Piece, MalformedFraming> {
        self.partial.clear();
        let piece = self.reader.take(bytes)?;
        self.bytes += piece.content as u64;
        if self.reader.is_done() || (side == EndpointSide::Ended && self.reader.ends_here()) {
            self.stage = AnswerStage::Over;
        }
        // Bytes behind the answer are nobody's.
        self.is_reusable &= side == EndpointSide::Open && piece.used == bytes.len();
        Ok(piece)
    }

    /// Sends these pieces, as far as the client takes them; the rest is kept.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut EdgeStream,
        pieces: &[&[u8]; 3],
    ) -> Result<(), AttemptFailure> {
        debug_assert!(self.out.is_empty(), "what was kept goes before");
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(());
        }
        let slices = pieces.map(IoSlice::new);
        let wrote = match stream.poll_send(cx, &slices) {
            Poll::Ready(Ok(wrote)) => wrote,
            Poll::Ready(Err(error)) => return Err(client_failure(&error)),
            Poll::Pending => 0,
        };
        self.is_unflushed = stream.connection().tls.is_some();
        keep_rest(&mut self.out, pieces, wrote);
        Ok(())
    }
}
