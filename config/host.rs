//! Hosts and host patterns: one place decides which spellings are the same host.

use std::sync::Arc;

/// A host name as a domain is looked up: ASCII lower case (IDNA A-labels), no port, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

/// The host of a domain: `shop.example.com`, or `*.example.com` for every host below `example.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Host),
    /// Every host that ends in a dot and this one.
    Wildcard(Host),
}
