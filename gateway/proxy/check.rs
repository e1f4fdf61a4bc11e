//! Checks of endpoints, with the trust and the protocol of requests, on connections of their own.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use config::route::table::RenderedHost;
use http::Uri;
use pingora::http::RequestHeader;
use pingora::prelude::HttpPeer;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::{ErrorType, OkOrErr, OrErr, Result};

use super::peer::Peers;
use crate::upstreams::{Checker, Member};

/// Checks endpoints over this lane's connections.
#[derive(Default)]
pub struct LaneChecker {
    peers: Peers,
    /// Made for the first check: it reads the system's certificate authorities.
    connector: OnceLock<Connector>,
}

#[async_trait]
impl Checker for LaneChecker {
    async fn get(&self, member: &Member, path: &str, limit: Duration) -> std::result::Result<u16, String> {
        self.status_of(member, path, limit).await.map_err(|error| error.to_string())
    }

    async fn connect(&self, member: &Member, limit: Duration) -> std::result::Result<(), String> {
        let peer = self.peers.for_check_of(member, limit);
        self.dial(&peer).await.map(drop).map_err(|error| error.to_string())
    }
}

impl LaneChecker {
    async fn status_of(&self, member: &Member, path: &str, limit: Duration) -> Result<u16> {
        let peer = self.peers.for_check_of(member, limit);
        let host = match &member.spec().host {
            RenderedHost::Set(host) => host,
            RenderedHost::Keep | RenderedHost::Endpoint => member.authority(),
        };
        let mut session = self.dial(&peer).await?;
        let scheme = if peer.is_tls() { "https" } else { "http" };
        let head = request(&session, scheme, host, path)?;
        exchange(&mut session, head).await
    }

    async fn dial(&self, peer: &HttpPeer) -> Result<HttpSession> {
        let connector = self.connector.get_or_init(|| Connector::new(Some(ConnectorOptions::new(1))));
        connector.get_http_session(peer).await.map(|(session, _)| session)
    }
}

/// Sends the request and reads the head of the answer. The connection ends with the session.
async fn exchange(session: &mut HttpSession, head: RequestHeader) -> Result<u16> {
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let head = session.response_header().or_err(ErrorType::InvalidHTTPHeader, "no response head")?;
    Ok(head.status.as_u16())
}

/// `GET path`, as HTTP/1.1 or HTTP/2 wants it.
fn request(session: &HttpSession, scheme: &str, host: &str, path: &str) -> Result<RequestHeader> {
    let mut head = RequestHeader::build("GET", path.as_bytes(), None)?;
    head.insert_header("user-agent", "weir-check")?;
    if session.as_http2().is_some() {
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build();
        head.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "the check has no valid URI")?);
        head.set_version(http::Version::HTTP_2);
    } else {
        head.insert_header("host", host)?;
        head.insert_header("connection", "close")?;
    }
    Ok(head)
}
