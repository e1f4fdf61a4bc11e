//! pingora's heads and connections, as policy reads them.

use std::mem;
use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Uri, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora_core::{ErrorType, OrErr, Result};

use crate::edge::Connection;
use crate::policy::exchange::{ClientConnection, ClientTls, HeadView, HttpVersion};
use crate::policy::{Edits, FieldName, HeaderEdit};

/// The head of a request.
pub(super) fn head(request: &RequestHeader) -> HeadView<'_, HeaderMap> {
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    HeadView {
        method: request.method.as_str(),
        host: authority.or_else(|| request.headers.get(HOST)?.to_str().ok()).unwrap_or_default(),
        path: request.uri.path(),
        query: request.uri.query(),
        target: request.uri.path_and_query().map_or("/", |both| both.as_str()),
        version: version(request.version),
        fields: &request.headers,
    }
}

/// The version of HTTP that a message came by.
pub(super) fn version(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_2 => HttpVersion::Http2,
        Version::HTTP_10 => HttpVersion::Http10,
        _ => HttpVersion::Http11,
    }
}

/// True for an interim answer (1xx), which another one follows. 101 is an answer.
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The status of the answer whose head the client got; an interim answer is none.
pub(super) fn answered_status(session: &Session) -> Option<u16> {
    let status = session.response_written()?.status;
    (!is_interim(status)).then_some(status.as_u16())
}

/// The client's connection; one that did not come through the edge has no address.
pub(super) fn client(connection: Option<&Connection>) -> ClientConnection<'_> {
    ClientConnection {
        address: connection.map_or(Ipv4Addr::UNSPECIFIED.into(), |connection| connection.client.ip()),
        listener: connection.map_or(0, |connection| connection.listener),
        tls: connection
            .and_then(|connection| connection.tls.as_ref())
            .map(|tls| ClientTls { sni: &tls.sni, version: tls.version }),
    }
}

/// The parts of an endpoint's head, to be edited and [put back](RequestHeader::from).
///
/// pingora keeps the spelling of every name in a second map, which costs each edit several allocations. A head made from its
/// parts has none: names go out in lower case.
pub(super) fn take_request(head: &mut RequestHeader) -> http::request::Parts {
    let (empty, ()) = http::Request::new(()).into_parts();
    mem::replace(head, RequestHeader::from(empty)).into()
}

/// The same of a client's head.
pub(super) fn take_response(head: &mut ResponseHeader) -> http::response::Parts {
    let (empty, ()) = http::Response::new(()).into_parts();
    mem::replace(head, ResponseHeader::from(empty)).into()
}

/// Gives a request another path and query, and leaves its authority as it is.
pub(super) fn set_target(head: &mut http::request::Parts, target: &str) -> Result<()> {
    let mut uri = mem::take(&mut head.uri).into_parts();
    uri.path_and_query =
        Some(target.parse().or_err(ErrorType::InvalidHTTPHeader, "the path for the endpoint is none")?);
    if uri.authority.is_none() {
        // Without one a scheme has no place in a URI.
        uri.scheme = None;
    }
    head.uri = Uri::from_parts(uri).or_err(ErrorType::InvalidHTTPHeader, "the path for the endpoint is none")?;
    Ok(())
}

/// Applies the edits of policy. All values stand in one buffer, so that they cost one allocation and not one each.
pub(super) fn apply(fields: &mut HeaderMap, edits: &Edits<'_>) -> Result<()> {
    let mut values = BytesMut::with_capacity(edits.value_bytes());
    for edit in edits.iter() {
        if let HeaderEdit::Set(_, value) | HeaderEdit::Add(_, value) = edit {
            values.extend_from_slice(value);
        }
    }
    let mut values = values.freeze();
    for edit in edits.iter() {
        match edit {
            HeaderEdit::Remove(name) => drop(fields.remove(name)),
            HeaderEdit::Set(name, value) => drop(fields.insert(name_of(name)?, take(&mut values, value.len())?)),
            HeaderEdit::Add(name, value) => drop(fields.append(name_of(name)?, take(&mut values, value.len())?)),
        }
    }
    Ok(())
}

fn name_of(name: FieldName<'_>) -> Result<HeaderName> {
    match name {
        FieldName::Own(name) => Ok(HeaderName::from_static(name)),
        FieldName::Given(name) => {
            HeaderName::from_bytes(name.as_bytes()).or_err(ErrorType::InvalidHTTPHeader, "a configured name is invalid")
        }
    }
}

fn take(values: &mut Bytes, len: usize) -> Result<HeaderValue> {
    HeaderValue::from_maybe_shared(values.split_to(len))
        .or_err(ErrorType::InvalidHTTPHeader, "a field value has bytes that no field may have")
}
