//! Errors of pingora -> whose fault they are.

use pingora_core::{Error, ErrorSource, ErrorType};

use crate::upstreams::Failure;

/// The endpoint's failure that an error shows. `None` when it is not the endpoint's fault: the client's or our own error,
/// or a `reused` connection that the endpoint closed while it was idle.
pub(super) fn of(error: &Error, reused: bool) -> Option<Failure> {
    use ErrorType::*;
    if error.esource() != &ErrorSource::Upstream {
        return None;
    }
    match error.etype() {
        ConnectTimedout | ConnectRefused | ConnectNoRoute | ConnectError | SocketError | ConnectProxyFailure
        | TLSHandshakeFailure | TLSHandshakeTimedout | InvalidCert | HandshakeError => Some(Failure::Connect),
        ReadTimedout | WriteTimedout => Some(Failure::Timeout),
        ReadError | WriteError | ConnectionClosed | H2Error | H2Downgrade | InvalidH2 | InvalidHTTPHeader => {
            (!reused).then_some(Failure::Reset)
        }
        _ => None,
    }
}
