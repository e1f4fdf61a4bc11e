//! pingora's heads and connections, as policy reads them.

use std::net::Ipv4Addr;

use http::header::HOST;
use http::{HeaderMap, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;

use crate::edge::Connection;
use crate::policy::exchange::{ClientConnection, ClientTls, HeadView, HttpVersion};
use crate::policy::{FieldName, HeaderEdit};

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

/// A head that edits can be applied to.
pub(super) trait Editable {
    fn remove(&mut self, name: &str);
    fn insert(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()>;
    fn append(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()>;
}

macro_rules! editable {
    ($head:ty) => {
        impl Editable for $head {
            fn remove(&mut self, name: &str) {
                self.remove_header(name);
            }
            // pingora keeps a static name as it is; any other one is copied, and copied again for its other map.
            fn insert(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()> {
                match name {
                    FieldName::Own(name) => self.insert_header(name, value),
                    FieldName::Given(name) => self.insert_header(name.to_owned(), value),
                }
            }
            fn append(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()> {
                match name {
                    FieldName::Own(name) => self.append_header(name, value),
                    FieldName::Given(name) => self.append_header(name.to_owned(), value),
                }
                .map(|_| ())
            }
        }
    };
}

editable!(RequestHeader);
editable!(ResponseHeader);

/// Applies the edits of policy to one of pingora's heads.
pub(super) fn apply<'e>(head: &mut impl Editable, edits: impl Iterator<Item = HeaderEdit<'e>>) -> Result<()> {
    for edit in edits {
        match edit {
            HeaderEdit::Remove(name) => head.remove(name),
            HeaderEdit::Set(name, value) => head.insert(name, value)?,
            HeaderEdit::Add(name, value) => head.append(name, value)?,
        }
    }
    Ok(())
}
