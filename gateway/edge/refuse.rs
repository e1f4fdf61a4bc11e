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

impl<'h> RefusedHead<'h> {
    /// Method and target of the request line, as far as it came; `None` for what cannot be told apart.
    #[must_use]
    pub fn request_line(&self) -> (Option<&'h [u8]>, Option<&'h [u8]>) {
        let mut lines = self.received.split(|byte| matches!(byte, b'\r' | b'\n'));
        let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().filter(|method| !method.is_empty() && method.iter().all(u8::is_ascii_uppercase));
        (method, method.and(words.next()).filter(|target| !target.is_empty()))
    }
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::super::ClientProtocol;
    use super::*;

    #[test]
    fn a_request_line_is_told_as_far_as_it_can_be_read() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let connection = Connection::new(1, 0, (address, address), None, ClientProtocol::Http1, Arc::default());
        for (received, method, target) in [
            ("GET admin/x HTTP/1.1\r\nhost: a\r\n", Some("GET"), Some("admin/x")),
            ("\r\nGET /a", Some("GET"), Some("/a")),
            ("GET", Some("GET"), None),
            ("\u{16}\u{3}\u{1} /a", None, None),
            ("", None, None),
            ("GET  HTTP/1.1\r\n", Some("GET"), None),
        ] {
            let (received, refusal) = (received.as_bytes(), Refusal::MalformedHead);
            let head = RefusedHead { connection: &connection, refusal, request_id: b"", received, bytes_out: 0 };
            let expected = (method.map(str::as_bytes), target.map(str::as_bytes));
            assert_eq!(head.request_line(), expected, "{received:?}");
        }
    }
}
