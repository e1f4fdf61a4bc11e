//! Joins what happens to where it is counted: modules tell their observers, and these tell metrics and the log.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::edge::{self, ClientProtocol, Refusal, RefusedHead};
use crate::log::{AccessLine, AccessLog, LineRate};
use crate::metrics::Metrics;
use crate::upstreams::{self, Event, UpstreamKey};

/// Lines in the access log for refused heads, in one second; any client can send them.
const REFUSED_HEADS: u64 = 100;

/// Tells metrics and the access log what happens at the edge.
pub(super) struct EdgeObserver {
    metrics: Arc<Metrics>,
    access: AccessLog,
    rate: LineRate,
}

impl EdgeObserver {
    pub(super) fn new(metrics: Arc<Metrics>, access: AccessLog) -> Self {
        Self { metrics, access, rate: LineRate::new(REFUSED_HEADS) }
    }
}

/// Tells the log what happens to endpoints.
pub(super) struct UpstreamObserver;

impl edge::Observer for EdgeObserver {
    fn opened(&self, listener: usize, protocol: ClientProtocol) {
        let connections = &self.metrics.connections[listener];
        match protocol {
            ClientProtocol::Http1 => connections.http1.inc(),
            ClientProtocol::Http2 => connections.http2.inc(),
        }
    }

    fn closed(&self, listener: usize, protocol: ClientProtocol) {
        let connections = &self.metrics.connections[listener];
        match protocol {
            ClientProtocol::Http1 => connections.http1.dec(),
            ClientProtocol::Http2 => connections.http2.dec(),
        }
    }

    fn refused(&self, refusal: Refusal) {
        self.metrics.refused.inc(refusal.word());
    }

    fn refused_head(&self, head: &RefusedHead<'_>) {
        let now = clock::unix();
        if !self.access.is_on() {
            return;
        }
        let Some(suppressed) = self.rate.pass(now) else { return };
        let connection = head.connection;
        let (method, target) = head.request_line();
        let row = head.refusal.row();
        self.access.write(&AccessLine {
            time: now,
            duration: Duration::ZERO,
            ttfb: None,
            upstream_connect: None,
            upstream_time: None,
            method,
            host: None,
            target,
            path: None,
            query: None,
            protocol: None,
            status: row.told.map(|told| told.status),
            upstream_status: None,
            bytes_in: 0,
            bytes_out: head.bytes_out as u64,
            client: connection.client.ip(),
            peer: connection.peer.ip(),
            route: None,
            resolved: None,
            revision: None,
            endpoint: None,
            attempts: 0,
            reused: false,
            tls: connection.tls.as_ref().map(|tls| tls.version),
            sni: connection.tls.as_ref().map(|tls| &*tls.sni),
            request_id: head.request_id,
            trace_id: None,
            user_agent: None,
            referer: None,
            suppressed,
            end: head.refusal.end(),
        });
    }

    fn handshake(&self, outcome: Result<(), Refusal>) {
        self.metrics.handshakes.inc(outcome.map_or_else(Refusal::word, |()| "ok"));
    }
}

impl upstreams::Observer for UpstreamObserver {
    fn observe(&self, upstream: &UpstreamKey, event: &Event<'_>) {
        match event {
            Event::Ejected { .. }
            | Event::Failing { .. }
            | Event::Down { .. }
            | Event::Undialled { .. }
            | Event::Unresolved { .. } => {
                tracing::warn!(%upstream, "{event}");
            }
            Event::Returned { .. } | Event::Up { .. } | Event::Resolved { .. } => tracing::info!(%upstream, "{event}"),
        }
    }
}
