//! Answers as their clients take them: what a request holds is given back when its client has the answer, not when it is rendered.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// Bytes of an answer that are handed on at a time: so much may wait for a client beside its connection's buffers.
const PIECE: usize = 64 << 10;

/// The answer, in small pieces. `kept` is dropped when the client has taken it all but what its connection holds.
pub(super) fn taken(answer: Response, kept: impl Send + Unpin + 'static) -> Response {
    answer.map(|body| Body::new(Pieces { body, next: Bytes::new(), kept: Some(kept) }))
}

struct Pieces<K> {
    body: Body,
    /// What is left of the last piece of the body.
    next: Bytes,
    kept: Option<K>,
}

impl<K: Unpin> HttpBody for Pieces<K> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.next.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.next = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => {
                    self.kept = None;
                    return Poll::Ready(end);
                }
            }
        }
        let piece = self.next.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.next.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty() && HttpBody::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, left) = (HttpBody::size_hint(&self.body), self.next.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + left);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + left);
        }
        hint
    }
}
