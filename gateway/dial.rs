//! The addresses that may be connected to: neither link-local ones nor the gateway's own listeners.
//!
//! Whoever connects asks about the address that it dials, after names were looked up: a name may stand for any address.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use config::model::{AdminListener, Process};
use config::value::pattern::CallPattern;

/// The rules of a process. Cheap to clone; the default has no listeners and allows no link-local address.
#[derive(Debug, Clone, Default)]
pub struct Dial(Arc<Rules>);

#[derive(Debug, Default)]
struct Rules {
    allow: Vec<CallPattern>,
    listeners: Vec<SocketAddr>,
}

/// The reason why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undialled {
    /// An address of this link, where clouds have their metadata.
    #[error("{0} is a link-local address, which is called only if `calls: {{allow: [{0}]}}` names it or its network")]
    LinkLocal(IpAddr),
    /// A listener of this gateway.
    #[error("{0} is a listener of this gateway, which would call itself")]
    Own(SocketAddr),
}

impl Dial {
    /// The rules of these settings.
    #[must_use]
    pub fn new(process: &Process) -> Self {
        let admin = match process.admin {
            AdminListener::Tcp { address, .. } => Some(address),
            AdminListener::Socket(_) => None,
        };
        let dialects = process.dialects.as_ref().and_then(|dialects| match dialects.listener {
            AdminListener::Tcp { address, .. } => Some(address),
            AdminListener::Socket(_) => None,
        });
        let listeners = process.listeners.iter().map(|listener| listener.address).chain(admin).chain(dialects);
        Self(Arc::new(Rules {
            allow: process.calls.clone().unwrap_or_default(),
            listeners: listeners.filter(|address| address.port() != 0).collect(),
        }))
    }

    /// Checks an address that is to be called.
    ///
    /// # Errors
    /// The reason why it is not.
    pub fn check(&self, address: IpAddr) -> Result<(), Undialled> {
        let address = address.to_canonical();
        let is_link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if is_link_local && !self.0.allow.iter().any(|pattern| pattern.takes_address(address)) {
            return Err(Undialled::LinkLocal(address));
        }
        Ok(())
    }

    /// Checks the address of an endpoint.
    ///
    /// # Errors
    /// The reason why it is none.
    pub fn check_endpoint(&self, address: SocketAddr) -> Result<(), Undialled> {
        let ip = address.ip().to_canonical();
        let is_own =
            self.0.listeners.iter().filter(|own| own.port() == address.port()).any(|own| {
                own.ip() == ip || ip.is_unspecified() || (own.ip().is_unspecified() && is_of_this_machine(ip))
            });
        if is_own { Err(Undialled::Own(address)) } else { self.check(ip) }
    }
}

/// Tells if this machine has the address: a socket can be bound to it.
fn is_of_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_and_own_listeners_are_not_dialled() {
        let text = "listeners: ['0.0.0.0:8080']\nadmin: 127.0.0.1:9900\ncalls: {allow: [169.254.1.0/24]}\n";
        let dial = Dial::new(&config::text::parse::parse_process(text, &|_| None).unwrap().0);
        let check = |address: &str| dial.check_endpoint(address.parse().unwrap());
        for own in ["127.0.0.1:8080", "127.0.0.1:9900", "[::1]:8080", "[::ffff:127.0.0.1]:9900", "0.0.0.0:9900"] {
            assert!(matches!(check(own), Err(Undialled::Own(_))), "{own}");
        }
        for link in ["169.254.169.254:80", "[fe80::1]:80", "[::ffff:169.254.0.1]:80"] {
            assert!(matches!(check(link), Err(Undialled::LinkLocal(_))), "{link}");
        }
        for other in ["169.254.1.7:80", "127.0.0.1:8081", "127.0.0.2:9900", "192.0.2.1:8080", "[2001:db8::1]:8080"] {
            assert_eq!(check(other), Ok(()), "{other}");
        }
    }
}
