//! Active checks: `GET path` on every endpoint, with the same trust and protocol as requests, on connections of their own.
//!
//! A new endpoint counts as healthy until `fall` checks in a row were bad; it is unhealthy until `rise` in a row were
//! good. Checks run on the control plane's runtime and stop with the upstream.

use std::net::Ipv6Addr;
use std::sync::{Arc, Weak};

use config::model::HealthCheck;
use config::table::RenderedHost;
use http::Uri;
use pingora::http::RequestHeader;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::{ErrorType, OkOrErr, OrErr, Result as PeerResult};
use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use super::pick::Member;
use super::{UpstreamState, peer};

/// Checks all endpoints of an upstream every `every`, until it is dropped or retired. The start is spread over one
/// period, so that a restart does not check everything at once.
pub(super) async fn keep(upstream: Weak<UpstreamState>) {
    let Some(every) = upstream.upgrade().and_then(|state| state.spec().health.as_ref().map(|check| check.every)) else {
        return;
    };
    let start = tokio::time::Instant::now() + every.mul_f64(rand::rng().random_range(0.0..1.0));
    let mut ticks = interval_at(start, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(state) = upstream.upgrade() else { return };
        check_all(&state).await;
    }
}

async fn check_all(state: &Arc<UpstreamState>) {
    let mut checks = JoinSet::new();
    for member in state.members.load().iter() {
        let (state, member) = (Arc::clone(state), Arc::clone(member));
        checks.spawn(async move {
            let Some(check) = &state.spec().health else { return };
            let Ok(_permit) = state.shared.checks.acquire().await else { return };
            let result = match tokio::time::timeout(check.timeout, ask(&state, &member, check)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer to GET {} within {:?}", check.path, check.timeout)),
            };
            state.checked(&member, result);
        });
    }
    checks.join_all().await;
}

/// One check, on a connection of its own. Says what was wrong.
async fn ask(state: &UpstreamState, member: &Member, check: &HealthCheck) -> Result<(), String> {
    let connector = state.shared.connector.get_or_init(|| Connector::new(Some(ConnectorOptions::new(1))));
    let host = match &state.spec().host {
        RenderedHost::Set(host) => host.clone(),
        RenderedHost::Keep | RenderedHost::Endpoint => authority(&member.endpoint.host, member.port),
    };
    let peer = peer::for_check(member.peer(), check.timeout);
    let status = async {
        let (mut session, _) = connector.get_http_session(&peer).await?;
        let scheme = if peer.is_tls() { "https" } else { "http" };
        let head = request(&session, scheme, &host, &check.path)?;
        exchange(&mut session, head).await
    };
    let status = status.await.map_err(|error| error.to_string())?;
    let (lowest, highest) = check.status;
    if (lowest..=highest).contains(&status) {
        Ok(())
    } else {
        Err(format!("GET {} answered {status}, healthy is {lowest} to {highest}", check.path))
    }
}

/// Sends the request and reads the head of the answer. The connection ends with the session.
async fn exchange(session: &mut HttpSession, head: RequestHeader) -> PeerResult<u16> {
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let head = session.response_header().or_err(ErrorType::InvalidHTTPHeader, "no response head")?;
    Ok(head.status.as_u16())
}

/// `GET path`, as HTTP/1.1 or HTTP/2 wants it.
fn request(session: &HttpSession, scheme: &str, host: &str, path: &str) -> PeerResult<RequestHeader> {
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

/// Host and port as in a `Host` header: IPv6 addresses in brackets.
fn authority(host: &str, port: u16) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
