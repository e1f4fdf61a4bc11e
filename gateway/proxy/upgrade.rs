//! Offers of clients to upgrade a connection, in pingora's heads.

use config::model::{Protocol, Upgrades};
use config::route::table::Answers;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Version, request};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::policy::exchange::Resolved;
use crate::policy::upgrade;

/// Leaves of a client's offer what the version takes. Nothing of it in the head makes this an ordinary request to pingora,
/// which goes over a pooled connection.
pub(super) fn settle(request: &mut RequestHeader, resolved: &Resolved) {
    if let Answers::Endpoints(rendered) = &resolved.served.destination.upstream.answers {
        settle_for(request, &rendered.upgrade, rendered.protocol);
    }
}

fn settle_for(request: &mut RequestHeader, taken: &Upgrades, spoken: Protocol) {
    if !request.headers.contains_key(UPGRADE) {
        return;
    }
    let offered =
        if request.version == Version::HTTP_11 { upgrade::offered(&request.headers, taken, spoken) } else { None };
    if offered.is_none_or(|offered| request.insert_header(UPGRADE, offered).is_err()) {
        request.remove_header(&UPGRADE);
    }
    // It speaks to who upgrades to h2c, which nobody does (RFC 9113, 3.1).
    request.remove_header("http2-settings");
}

/// Offers the endpoint what is left of the client's offer. pingora hands on `websocket` alone.
pub(super) fn offer(session: &Session, endpoint: &mut request::Parts) {
    let client: &HeaderMap = &session.req_header().headers;
    if let Some(offer) = client.get(UPGRADE).filter(|_| session.is_upgrade_req()) {
        endpoint.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        endpoint.headers.insert(UPGRADE, offer.clone());
    }
}
