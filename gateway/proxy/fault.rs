//! Errors of pingora -> how the attempt broke, and whose fault that is.

use std::io;

use nix::errno::Errno;
use pingora_core::{Error, ErrorSource, ErrorType};

use crate::edge::TooSlow;
use crate::policy::exchange::AttemptFailure;

/// The failure that an error shows. While the request is on its way and `waits_for_client` is true, silence is the client's:
/// pingora waits for both sides at once, and its timer starts anew with every piece of the body.
pub(super) fn of(error: &Error, waits_for_client: bool) -> AttemptFailure {
    use ErrorType::*;
    if lacks_descriptors(error) {
        return AttemptFailure::Overloaded;
    }
    if TooSlow::is_in(error.root_cause()) {
        return AttemptFailure::SlowClient;
    }
    match (error.esource(), error.etype()) {
        (_, HTTPStatus(413)) => AttemptFailure::BodyTooLarge,
        (ErrorSource::Downstream, ReadTimedout) => AttemptFailure::SlowClient,
        (ErrorSource::Downstream, InvalidHTTPHeader) => AttemptFailure::MalformedHead,
        (ErrorSource::Downstream, ReadError) if is_malformed_body(error) => AttemptFailure::MalformedBody,
        (ErrorSource::Downstream, _) => AttemptFailure::ClientLeft,
        (ErrorSource::Upstream, ReadTimedout) if waits_for_client => AttemptFailure::SlowClient,
        (ErrorSource::Upstream, ReadTimedout | WriteTimedout) => AttemptFailure::Timeout,
        (
            ErrorSource::Upstream,
            ConnectTimedout | ConnectRefused | ConnectNoRoute | ConnectError | SocketError | BindError
            | ConnectProxyFailure | TLSHandshakeFailure | TLSHandshakeTimedout | InvalidCert | HandshakeError,
        ) => AttemptFailure::Connect,
        // pingora marks the errors of streams that the endpoint did not process (RFC 9113, sections 6.8 and 8.7).
        (ErrorSource::Upstream, H2Error | H2Downgrade | InvalidH2) if error.retry() => AttemptFailure::RefusedStream,
        (ErrorSource::Upstream, InvalidHTTPHeader | InvalidH2) => AttemptFailure::Protocol,
        (ErrorSource::Upstream, _) => AttemptFailure::Reset,
        _ => AttemptFailure::Internal,
    }
}

/// True if the system had no descriptor, port or memory for a connection (`EMFILE`, `ENFILE`, `EADDRNOTAVAIL`, …).
fn lacks_descriptors(error: &Error) -> bool {
    const LACKS: [Errno; 5] = [Errno::EMFILE, Errno::ENFILE, Errno::EADDRNOTAVAIL, Errno::ENOBUFS, Errno::ENOMEM];
    let code = io_cause(error).and_then(io::Error::raw_os_error);
    code.is_some_and(|code| LACKS.contains(&Errno::from_raw(code)))
}

/// True if the client's stream said that the body of the request is malformed.
fn is_malformed_body(error: &Error) -> bool {
    io_cause(error).is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

fn io_cause(error: &Error) -> Option<&io::Error> {
    error.root_cause().downcast_ref()
}
