//! Peers: endpoints as pingora wants to see them, made for each attempt.
//!
//! pingora's pool is shared by everything, and its key leaves out the certificate authorities and the protocol. So each
//! peer carries a `group_key` over all that makes one connection unlike another (function, version, stage, protocol,
//! trust), and connections never cross versions or trust settings.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use config::model::{Protocol, UpstreamTls};
use config::route::table::Rendered;
use pingora_core::ErrorType::{ConnectError, ConnectRefused};
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use pingora_core::{Error, OkOrErr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::upstreams::{Authorities, Member, Pick, Trust};

/// Streams at a time on one HTTP/2 connection (pingora's default of 1 is slower than HTTP/1.1).
const H2_STREAMS: usize = 100;
/// Bytes of one answer that an endpoint may send before its client has read them.
const H2_STREAM_WINDOW: u32 = 256 << 10;
/// The same over all answers of a connection: all its streams may be full at once, and none waits for another one.
const H2_CONNECTION_WINDOW: u32 = H2_STREAM_WINDOW * H2_STREAMS as u32;
/// A silent HTTP/2 connection is found dead after this long; it would otherwise swallow requests until TCP gives up.
const H2_PING: Duration = Duration::from_secs(10);
/// Keeps connections of upgrades out of the pool of ordinary requests.
const UPGRADE_SALT: u64 = 0x5745_4953_4f43_4b45;
/// Keeps connections of checks out of every pool.
const CHECK_SALT: u64 = 0x6865_616c_7468_2121;

/// Makes peers, and remembers what pingora makes of an upstream's authorities.
#[derive(Debug, Default)]
pub struct Peers {
    /// Authorities by group key. Changed by the first attempt at a new upstream, read by all others.
    known: ArcSwap<HashMap<u64, KnownAuthorities>>,
}

/// Authorities as pingora wants them, for as long as an upstream has them.
#[derive(Debug, Clone)]
struct KnownAuthorities {
    of: Weak<Authorities>,
    parsed: Arc<CaType>,
}

impl Peers {
    /// The peer for an attempt. Its read timeout bounds each read of head and body alike, so it is the longer one of
    /// `timeouts.response` and `timeouts.idle`; who sends the request keeps the limit on the head.
    pub(super) fn of_pick(&self, pick: &Pick) -> Box<HttpPeer> {
        Box::new(self.of_member(pick.member()))
    }

    /// The peer for a request that wants an upgrade: HTTP/1.1, its own connection, `timeouts.idle` for each read of the
    /// tunnel, and the way around pingora's lost tunnels (issue 946), which holds while no request body filter awaits.
    pub(super) fn for_upgrade_of(&self, pick: &Pick) -> Box<HttpPeer> {
        for_upgrade(self.of_member(pick.member()))
    }

    /// The peer for a check: its own connection each time, never one that requests use.
    pub(super) fn for_check_of(&self, member: &Member, timeout: Duration) -> HttpPeer {
        for_check(self.of_member(member), timeout)
    }

    fn of_member(&self, member: &Member) -> HttpPeer {
        let authorities = self.authorities(member.trust());
        of_endpoint(member.spec(), member.trust(), authorities, member.host(), member.address())
    }

    /// The authorities of the upstream's own file. Parsed at its first attempt.
    fn authorities(&self, trust: &Trust) -> Option<Arc<CaType>> {
        let own = trust.authorities()?;
        if let Some(known) = self.known.load().get(&trust.group_key()) {
            return Some(Arc::clone(&known.parsed));
        }
        let parsed = own.iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509));
        let new = KnownAuthorities { of: Arc::downgrade(own), parsed: parsed.collect::<Vec<_>>().into() };
        self.known.rcu(|known| {
            // Forgets upstreams that are gone.
            let alive = known.iter().filter(|(_, authorities)| authorities.of.strong_count() > 0);
            let mut next: HashMap<_, _> = alive.map(|(key, authorities)| (*key, authorities.clone())).collect();
            next.insert(trust.group_key(), new.clone());
            next
        });
        Some(new.parsed)
    }
}

/// The peer of one endpoint.
fn of_endpoint(
    spec: &Rendered,
    trust: &Trust,
    authorities: Option<Arc<CaType>>,
    host: &str,
    address: SocketAddr,
) -> HttpPeer {
    // An empty SNI would switch verification off in pingora; an endpoint's host is never empty.
    let sni = spec.tls.as_ref().map_or(String::new(), |tls| server_name(tls, host));
    let mut peer = HttpPeer::new(address, spec.tls.is_some(), sni);
    peer.group_key = trust.group_key();
    let options = &mut peer.options;
    options.ca = authorities;
    options.verify_cert = spec.tls.as_ref().is_none_or(|tls| tls.verify);
    options.verify_hostname = options.verify_cert;
    options.connection_timeout = Some(spec.timeouts.connect);
    options.total_connection_timeout = Some(spec.timeouts.connect);
    options.read_timeout = Some(spec.timeouts.response.max(spec.timeouts.idle));
    options.write_timeout = Some(spec.timeouts.idle);
    options.idle_timeout = Some(spec.timeouts.keep_alive);
    if spec.protocol != Protocol::Http1 {
        options.set_http_version(2, 2);
        options.max_h2_streams = H2_STREAMS;
        options.h2_ping_interval = Some(H2_PING);
        options.h2_stream_window_size = Some(H2_STREAM_WINDOW);
        options.h2_connection_window_size = Some(H2_CONNECTION_WINDOW);
    }
    peer
}

/// The name that the endpoint's certificate must carry: as configured, else its own host (an IP address too).
fn server_name(tls: &UpstreamTls, host: &str) -> String {
    tls.sni.as_ref().map_or(host, |sni| sni.as_str()).to_owned()
}

/// The peer of a request that wants an upgrade. Upgrades exist in HTTP/1.1 alone, so it speaks that even when the
/// upstream is configured for HTTP/2; the tunnel's idle limit holds.
fn for_upgrade(peer: HttpPeer) -> Box<HttpPeer> {
    let mut peer = Box::new(peer);
    peer.group_key ^= UPGRADE_SALT;
    peer.options.set_http_version(1, 1);
    // Writes wait for the idle limit, too.
    peer.options.read_timeout = peer.options.write_timeout;
    peer.options.custom_l4 = Some(Arc::new(YieldingDial));
    peer
}

/// The peer of a check: its own connection each time, never one that requests use.
fn for_check(mut peer: HttpPeer, timeout: Duration) -> HttpPeer {
    peer.group_key ^= CHECK_SALT;
    peer.options.max_h2_streams = 1;
    peer.options.connection_timeout = Some(timeout);
    peer.options.total_connection_timeout = Some(timeout);
    peer.options.read_timeout = Some(timeout);
    peer
}

/// Dials connections for upgrades that work around cloudflare/pingora issue 946.
///
/// In pingora 0.9.1 a tunnel is closed right after its 101 when the 101 is readable before the proxy has seen that the
/// request has no body, which happens at random with near endpoints. So the first read after a write always yields once,
/// and the proxy's own task wins. This holds while no request body filter awaits for upgrades.
#[derive(Debug)]
struct YieldingDial;

#[async_trait]
impl L4Connect for YieldingDial {
    async fn connect(&self, address: &PeerAddress) -> pingora_core::Result<Stream> {
        let address = address.as_inet().or_err(ConnectError, "upgrades need an IP address")?;
        let stream = TcpStream::connect(address).await.map_err(|error| {
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            let kind = if refused { ConnectRefused } else { ConnectError };
            Error::because(kind, format!("connecting to {address}"), error)
        })?;
        Ok(VirtualSocketStream::new(Box::new(YieldingSocket { stream, wrote: false })).into())
    }
}

/// A socket whose first read after a write yields to other tasks once.
#[derive(Debug)]
struct YieldingSocket {
    stream: TcpStream,
    wrote: bool,
}

impl AsyncRead for YieldingSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for YieldingSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl VirtualSocket for YieldingSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    use config::model::Timeouts;
    use pingora_core::upstreams::peer::{ALPN, Peer};

    use super::*;
    use crate::upstreams::tests::{key, spec};
    use crate::upstreams::{UpstreamKey, authority_file, read_authorities};

    const CA: &str = "authority.pem";

    /// A fresh certificate authority, as PEM.
    fn authority() -> String {
        rcgen::generate_simple_self_signed(["authority.test".to_owned()]).unwrap().cert.pem()
    }

    fn tls(ca: Option<PathBuf>, verify: bool) -> Option<UpstreamTls> {
        Some(UpstreamTls { ca, sni: None, verify })
    }

    fn trust_in(key: &UpstreamKey, spec: &Rendered) -> Trust {
        Trust::new(key, spec, authority_file(spec).map(|path| read_authorities(path).unwrap()))
    }

    fn finished(spec: &Rendered, host: &str) -> HttpPeer {
        let trust = trust_in(&key(1), spec);
        let authorities = Peers::default().authorities(&trust);
        of_endpoint(spec, &trust, authorities, host, SocketAddr::from(([127, 0, 0, 1], 443)))
    }

    #[test]
    fn every_timeout_is_finite_and_as_configured() {
        let seconds = Duration::from_secs;
        let timeouts = Timeouts { connect: seconds(1), response: seconds(2), idle: seconds(3), keep_alive: seconds(4) };
        let patient = Timeouts { response: seconds(5), ..timeouts.clone() };
        let peer = finished(&Rendered { timeouts, ..spec(&[]) }, "127.0.0.1");
        let patient = finished(&Rendered { timeouts: patient, ..spec(&[]) }, "127.0.0.1");
        let limits = |peer: &HttpPeer| {
            let o = &peer.options;
            [o.connection_timeout, o.total_connection_timeout, o.read_timeout, o.write_timeout, o.idle_timeout]
                .map(|limit| limit.unwrap().as_secs())
        };
        assert_eq!(limits(&peer), [1, 1, 3, 3, 4]);
        assert_eq!(limits(&patient), [1, 1, 5, 3, 4]);
        assert_eq!(limits(&for_upgrade(patient.clone())), [1, 1, 3, 3, 4]);
        assert_eq!(limits(&for_check(peer.clone(), seconds(9))), [9, 9, 9, 3, 4]);
    }

    #[test]
    fn nothing_that_differs_shares_connections() {
        let dir = tempfile::tempdir().unwrap();
        let authorities = [dir.path().join(CA), dir.path().join("other.pem")];
        authorities.iter().for_each(|path| fs::write(path, authority()).unwrap());
        let [ca, other] = authorities.map(Some);
        let plain = spec(&[]);
        let sni = Some(UpstreamTls { ca: None, sni: Some("other.test".parse().unwrap()), verify: true });
        let specs = [
            plain.clone(),
            Rendered { protocol: Protocol::H2c, ..plain.clone() },
            Rendered { tls: tls(None, true), ..plain.clone() },
            Rendered { tls: tls(None, true), protocol: Protocol::H2, ..plain.clone() },
            Rendered { tls: tls(None, false), ..plain.clone() },
            Rendered { tls: tls(ca.clone(), true), ..plain.clone() },
            Rendered { tls: tls(other, true), ..plain.clone() },
            Rendered { tls: sni, ..plain.clone() },
        ];
        let mut keys = BTreeSet::new();
        let mut peers = 0;
        for spec in &specs {
            let stage = UpstreamKey { stage: Some("dev".parse().unwrap()), ..key(1) };
            for key in [key(1), key(2), stage] {
                let trust = trust_in(&key, spec);
                assert_eq!(trust.group_key(), trust_in(&key, spec).group_key(), "the same is the same");
                let peer = of_endpoint(spec, &trust, None, "shop.test", SocketAddr::from(([127, 0, 0, 1], 443)));
                let others =
                    [for_upgrade(peer.clone()).reuse_hash(), for_check(peer.clone(), Duration::MAX).reuse_hash()];
                keys.extend(others.into_iter().chain([peer.reuse_hash()]));
                peers += 3;
            }
        }
        assert_eq!(keys.len(), peers);

        // A new authority under the same path is another trust.
        let spec = &specs[5];
        let before = trust_in(&key(1), spec).group_key();
        fs::write(ca.unwrap(), authority()).unwrap();
        assert_ne!(trust_in(&key(1), spec).group_key(), before);
    }

    #[test]
    fn the_certificate_must_carry_the_configured_name_or_the_host() {
        let https = Rendered { tls: tls(None, true), ..spec(&[]) };
        assert_eq!(finished(&https, "shop.test").sni, "shop.test");
        assert_eq!(finished(&https, "::1").sni, "::1", "never empty: that would switch verification off");
        assert!(finished(&https, "shop.test").options.verify_cert);
        let named = UpstreamTls { ca: None, sni: Some("other.test".parse().unwrap()), verify: false };
        let peer = finished(&Rendered { tls: Some(named), ..https }, "shop.test");
        assert_eq!((&*peer.sni, peer.options.verify_cert, peer.options.verify_hostname), ("other.test", false, false));
    }

    #[test]
    fn http2_is_spoken_when_configured_but_never_for_upgrades() {
        let h2c = finished(&Rendered { protocol: Protocol::H2c, ..spec(&[]) }, "127.0.0.1");
        assert_eq!(h2c.options.alpn, ALPN::H2);
        assert_eq!(h2c.options.max_h2_streams, 100);
        assert_eq!(for_upgrade(h2c).options.alpn, ALPN::H1);
        assert_eq!(finished(&spec(&[]), "127.0.0.1").options.alpn, ALPN::H1);
    }

    #[test]
    fn authorities_are_parsed_once_and_forgotten_with_their_upstream() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CA);
        fs::write(&path, authority()).unwrap();
        let spec = Rendered { tls: tls(Some(path), true), ..spec(&[]) };
        let peers = Peers::default();
        let (first, second) = (trust_in(&key(1), &spec), trust_in(&key(2), &spec));
        let parsed = peers.authorities(&first).unwrap();
        assert_eq!(parsed.len(), 1);
        assert!(Arc::ptr_eq(&parsed, &peers.authorities(&first).unwrap()));
        drop(first);
        peers.authorities(&second).unwrap();
        assert_eq!(peers.known.load().len(), 1);
    }
}
