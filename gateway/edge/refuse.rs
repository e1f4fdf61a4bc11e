//! The answer to a request, or to a connection, that no lane has seen: the same as any refusal's, on the bare stream.

use super::Connection;
use crate::clock;
use crate::policy::answer::Answer;
use crate::policy::headers::RequestId;
use crate::policy::refusal::Refusal;

/// A head that the transport refused, for the access log.
#[derive(Debug)]
pub struct RefusedHead<'h> {
    /// The connection that it came by.
    pub connection: &'h Connection,
    /// The row of the table of refusals.
    pub refusal: Refusal,
    /// The id that the client was told.
    pub request_id: &'h [u8],
    /// The bytes of the head that were received.
    pub received: &'h [u8],
    /// Bytes of the answer's body.
    pub bytes_out: usize,
}

/// An answer as bytes of HTTP/1.1 after which the connection ends.
pub(super) struct RefusalResponse {
    pub(super) bytes: Vec<u8>,
    pub(super) request_id: RequestId,
    /// The length of the body, which ends `bytes`.
    pub(super) body: usize,
}

impl RefusalResponse {
    /// The answer of this refusal; `None` when nothing can be said in HTTP.
    pub(super) fn of(refusal: Refusal) -> Option<Self> {
        refusal.row().told?;
        let request_id = RequestId::new(clock::unix(), rand::random());
        // A user who typed `http://` before the port for TLS reads the answer in a browser or a terminal.
        let accept = (refusal == Refusal::PlainOnTls).then_some(&b"text/plain"[..]);
        let reply = Answer::of(refusal).reply("GET", accept);
        Some(Self { bytes: reply.to_http1(request_id.as_bytes()), body: reply.body.len(), request_id })
    }
}
