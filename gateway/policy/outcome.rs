//! What came of a request, as the version that was drawn for it is charged with it.
//!
//! A version is charged with what its endpoints did, and with having none. What the client did (it was too slow, sent
//! nonsense or too much) and what the gateway refused for its own reasons (a redirect, another certificate, a full
//! gateway) says nothing about the version: such a request counts as [`Class::Uncharged`], so that each that was drawn
//! has its outcome. A client that left counts as [`Class::ClientGone`]: how long it had waited says whether that is a bad outcome.

use config::release::outcome::Class;

use super::refusal::{Fault, Refusal};
use crate::log::EndReason;

/// The status of a gRPC call whose trailers name none, or one that nobody knows.
pub const GRPC_UNKNOWN: u16 = 2;

/// The class of a request that ended so. `refusal` is the row of the table that says whose fault it was, if it was turned
/// away; `status` is the one of the answer; `grpc` the call's own, if it was a call that was answered as one.
#[must_use]
pub fn class(end: EndReason, refusal: Option<Refusal>, status: Option<u16>, grpc: Option<u16>) -> Class {
    let is_endpoints = refusal.is_none_or(|refusal| refusal.row().fault == Fault::Endpoint);
    match (end, status) {
        // However a tunnel ends, it was opened.
        (_, Some(101)) => Class::Success,
        _ if !is_endpoints => Class::Uncharged,
        (EndReason::Answered | EndReason::Fixed, Some(status)) => {
            grpc.filter(|_| status == 200).map_or(Class::of_status(status), of_grpc)
        }
        // The client had seen enough.
        (EndReason::ClientLeft, Some(status @ 500..)) => Class::of_status(status),
        (EndReason::ConnectFailed | EndReason::NoHealthy, _) => Class::Connect,
        (EndReason::UpstreamReset | EndReason::UpstreamProtocol, _) => Class::Reset,
        (EndReason::UpstreamTimeout, _) => Class::Timeout,
        (EndReason::ClientLeft, _) => Class::ClientGone,
        _ => Class::Uncharged,
    }
}

/// By the HTTP status that each code maps to (google.rpc.Code), but for DEADLINE_EXCEEDED, which here is a server's word.
fn of_grpc(status: u16) -> Class {
    match status {
        0 => Class::Success,
        // CANCELLED, which is what a caller does.
        1 => Class::Uncharged,
        3 | 5..=12 | 16 => Class::ClientError,
        // UNAVAILABLE
        14 => Class::GatewayError,
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, DATA_LOSS, and what is no status.
        _ => Class::ServerError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_charged_with_what_their_endpoints_did() {
        use EndReason::*;
        for (end, status, grpc, expected) in [
            (Answered, Some(200), None, Class::Success),
            (Answered, Some(404), None, Class::ClientError),
            (Answered, Some(500), None, Class::ServerError),
            (Fixed, Some(503), None, Class::GatewayError),
            (Answered, Some(200), Some(0), Class::Success),
            (Answered, Some(200), Some(14), Class::GatewayError),
            (Answered, Some(200), Some(GRPC_UNKNOWN), Class::ServerError),
            (Answered, Some(200), Some(99), Class::ServerError),
            (Answered, Some(200), Some(5), Class::ClientError),
            (Answered, Some(503), Some(GRPC_UNKNOWN), Class::GatewayError),
            (UpstreamReset, Some(200), None, Class::Reset),
            (UpstreamReset, Some(101), None, Class::Success),
            (UpstreamTimeout, None, None, Class::Timeout),
            (ConnectFailed, None, None, Class::Connect),
            (NoHealthy, Some(503), None, Class::Connect),
            (UpstreamProtocol, Some(502), None, Class::Reset),
            (ClientLeft, None, None, Class::ClientGone),
            (ClientLeft, Some(200), None, Class::ClientGone),
            (ClientLeft, Some(500), None, Class::ServerError),
            (BodyTooLarge, Some(413), None, Class::Uncharged),
            (SlowClient, Some(408), None, Class::Uncharged),
            (Redirected, Some(308), None, Class::Uncharged),
            (Answered, Some(200), Some(1), Class::Uncharged),
        ] {
            assert_eq!(class(end, None, status, grpc), expected, "{end:?} {status:?} {grpc:?}");
        }
    }

    #[test]
    fn nobody_is_charged_with_what_the_table_blames_on_others() {
        for refusal in Refusal::ALL.iter().filter(|refusal| refusal.row().told.is_some()) {
            let row = refusal.row();
            let status = row.told.map(|told| told.status);
            let charged = class(refusal.end(), Some(*refusal), status, None) != Class::Uncharged;
            assert_eq!(charged, row.fault == Fault::Endpoint, "{refusal:?}");
        }
    }
}
