//! The life of a request, without an engine: every decision that a lane would otherwise make for itself.
//!
//! A lane reads heads, moves bytes, and reports what happened. Each step of a request has a type that owns what is known
//! from then on, and the next step is made from it:
//!
//! ```text
//! Received ── admit ──┬─ Resolved ── begin ── Attempting ── answered ── Answered
//!                     └─ an answer of our own     │  ▲
//!                                           failed└──┘ another attempt
//! ```
//! - [`received`]: the client, and the way of its request
//! - [`resolved`]: the version that was drawn, its spare, and the charge
//! - [`attempting`]: one attempt at an endpoint, and the choice of another one
//! - [`answered`]: the head of the answer and its edits; counts, times and the line in the access log
//!
//! The code here never awaits, and does not know how bytes travel.

pub mod answered;
pub mod attempting;
pub mod received;
pub mod resolved;

use std::net::IpAddr;
use std::sync::Arc;

use config::model::Limits;
use config::route::head::{Headers, RequestHead};

use super::Fields;
use crate::live::Live;
use crate::log::AccessLog;
use crate::metrics::Metrics;

pub use answered::{Answered, Ending, Finished};
pub use attempting::{AttemptFailure, Attempting, Next};
pub use received::{Admission, Reached, Received};
pub use resolved::Resolved;

/// Everything that the exchanges of one worker share.
#[derive(Clone)]
pub struct Worker {
    /// The live snapshot, by which requests are resolved.
    pub live: Arc<Live>,
    /// The metrics in which they are counted.
    pub metrics: Arc<Metrics>,
    /// The log in which they are written down.
    pub access: AccessLog,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// Port of each listener.
    pub ports: Arc<[u16]>,
    /// The port of the first TLS listener, 443 if there is none: for redirects to https of domains that name no port.
    pub https_port: u16,
    /// The number of the worker, from 0.
    pub number: usize,
}

/// The connection that a request came in on.
#[derive(Debug, Clone, Copy)]
pub struct ClientConnection<'c> {
    /// The address of the client, or of the proxy in front.
    pub address: IpAddr,
    /// Index of the listener in the settings.
    pub listener: usize,
    /// TLS, if there is any.
    pub tls: Option<ClientTls<'c>>,
}

/// The TLS of a client's connection.
#[derive(Debug, Clone, Copy)]
pub struct ClientTls<'c> {
    /// The server name that the client asked for, lower case.
    pub sni: &'c str,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
}

/// The version of HTTP that a message came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl HttpVersion {
    /// The received-protocol of `Via` (RFC 9110, section 7.6.3).
    #[must_use]
    pub fn via(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }

    /// True if its clients know interim answers (1xx) and chunks. A client of HTTP/1.0 takes an interim answer for the
    /// answer (RFC 9110, section 15.2) and chunk sizes for the body (RFC 9112, section 6.1).
    #[must_use]
    pub fn knows_http11(self) -> bool {
        self != Self::Http10
    }

    /// The name in the access log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// The head of a request, as a lane shows it.
#[derive(Debug)]
pub struct HeadView<'h, F: ?Sized> {
    /// The method, as received.
    pub method: &'h str,
    /// `:authority` or `Host`, as received; empty where there is none, or one that is no text.
    pub host: &'h str,
    /// The path of the target. Not absolute where an HTTP/2 client sent none.
    pub path: &'h str,
    /// The query: the part behind the `?` of the target.
    pub query: Option<&'h str>,
    /// Path and query, as they stand on the wire.
    pub target: &'h str,
    /// The version of HTTP that it came by.
    pub version: HttpVersion,
    /// The header fields.
    pub fields: &'h F,
}

impl<F: ?Sized> Clone for HeadView<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: ?Sized> Copy for HeadView<'_, F> {}

impl<'h, F: RequestFields + ?Sized> HeadView<'h, F> {
    /// The value of the first field of this name.
    fn field(&self, name: &'h str) -> Option<&'h [u8]> {
        self.fields.get(name)
    }

    /// The head as routing reads it.
    fn for_routing(&self, client: IpAddr) -> RequestHead<'h, F> {
        let Self { method, host, path, query, fields, .. } = *self;
        RequestHead { method, host, path, query, headers: fields, client }
    }

    /// True if the request is a gRPC call, which ends in trailers.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.field("content-type").is_some_and(is_grpc_type)
    }
}

/// True for the content type of a gRPC call, which ends in trailers. Not for gRPC-Web: its status is in the body.
fn is_grpc_type(kind: &[u8]) -> bool {
    matches!(kind.strip_prefix(b"application/grpc"), Some([] | [b'+' | b';', ..]))
}

/// The state of a request that one lane hands to another one, so that nothing is resolved or drawn twice.
#[derive(Debug)]
pub struct Handed {
    /// The part that comes from its head.
    pub received: Received,
    /// The version that was drawn for it.
    pub resolved: Resolved,
}

/// Header fields that can be listed and looked up.
pub trait RequestFields: Fields + Headers {}

impl<F: Fields + Headers + ?Sized> RequestFields for F {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_web_is_no_grpc() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web-text+proto", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc_type(kind.as_bytes()), expected, "{kind}");
        }
    }
}
