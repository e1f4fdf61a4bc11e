//! Joins what happens to where it is counted: modules tell their observers, and these tell metrics and the log.

use std::sync::Arc;

use crate::edge::{self, ClientProtocol, Refusal};
use crate::metrics::Metrics;
use crate::upstreams::{self, Event, UpstreamKey};

/// Tells metrics and the log.
pub(super) struct Told(pub(super) Arc<Metrics>);

impl edge::Observer for Told {
    fn opened(&self, listener: usize, protocol: ClientProtocol) {
        let connections = &self.0.connections[listener];
        match protocol {
            ClientProtocol::Http1 => connections.http1.inc(),
            ClientProtocol::Http2 => connections.http2.inc(),
        }
    }

    fn closed(&self, listener: usize, protocol: ClientProtocol) {
        let connections = &self.0.connections[listener];
        match protocol {
            ClientProtocol::Http1 => connections.http1.dec(),
            ClientProtocol::Http2 => connections.http2.dec(),
        }
    }

    fn refused(&self, refusal: Refusal) {
        self.0.refused.inc(refusal.word());
    }

    fn handshake(&self, outcome: Result<(), Refusal>) {
        self.0.handshakes.inc(outcome.map_or_else(Refusal::word, |()| "ok"));
    }
}

impl upstreams::Observer for Told {
    fn observe(&self, upstream: &UpstreamKey, event: &Event<'_>) {
        match event {
            Event::Ejected { .. } | Event::Failing { .. } | Event::Down { .. } | Event::Unresolved { .. } => {
                tracing::warn!(%upstream, "{event}");
            }
            Event::Returned { .. } | Event::Up { .. } | Event::Resolved { .. } => tracing::info!(%upstream, "{event}"),
        }
    }
}
