//! Host -> domain, in shards: a copy shares all of them, a change copies one.
//!
//! The shards hold nothing but indices: the hosts stand in the domains, which a request needs anyway. So a request for a
//! host that nobody asked for lately misses few cache lines.

use std::sync::Arc;

use shard::Shard;
use xxhash_rust::xxh3::xxh3_64;

use super::DomainIndex;
use crate::value::host::HostPattern;

mod shard;

/// How many shards; a power of two.
const SHARDS: usize = 1024;

/// The domains of exact hosts and of wildcards.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    exact: Shards,
    wildcard: Shards,
}

#[derive(Debug, Clone)]
struct Shards {
    shards: Arc<[Shard]>,
    len: usize,
}

/// Knows the hosts of the domains that are in the shards.
pub(super) trait Names {
    /// Whether this is the host of the domain, or that below which its wildcard matches.
    fn is(&self, domain: DomainIndex, host: &str) -> bool;
}

impl Hosts {
    pub(super) fn new() -> Self {
        let shard = Shard::new();
        let empty = Shards { shards: std::iter::repeat_n(shard, SHARDS).collect(), len: 0 };
        Self { exact: empty.clone(), wildcard: empty }
    }

    /// The domain of exactly this host, which is normalised.
    #[inline]
    pub(super) fn exact(&self, host: &str, names: &impl Names) -> Option<DomainIndex> {
        self.exact.get(host, names)
    }

    /// The domain of the longest wildcard above this host, which is normalised.
    #[inline]
    pub(super) fn wildcard(&self, host: &str, names: &impl Names) -> Option<DomainIndex> {
        if self.wildcard.len == 0 {
            return None;
        }
        let mut below = host;
        while let Some((_, above)) = below.split_once('.') {
            if let Some(domain) = self.wildcard.get(above, names) {
                return Some(domain);
            }
            below = above;
        }
        None
    }

    pub(super) fn get(&self, pattern: &HostPattern, names: &impl Names) -> Option<DomainIndex> {
        self.shards_of(pattern).get(pattern.host().as_str(), names)
    }

    /// Adds a pattern that is not there.
    pub(super) fn insert(&mut self, pattern: &HostPattern, domain: DomainIndex) {
        let hash = hash(pattern.host().as_str());
        let shards = self.shards_of_mut(pattern);
        shards.shard(hash).insert(hash, domain);
        shards.len += 1;
    }

    /// Takes out a pattern that is there. `names` knows it still.
    pub(super) fn remove(&mut self, pattern: &HostPattern, names: &impl Names) {
        let host = pattern.host().as_str();
        let hash = hash(host);
        let shards = self.shards_of_mut(pattern);
        shards.shard(hash).remove(hash, |domain| names.is(domain, host));
        shards.len -= 1;
    }

    fn shards_of(&self, pattern: &HostPattern) -> &Shards {
        match pattern {
            HostPattern::Exact(_) => &self.exact,
            HostPattern::Wildcard(_) => &self.wildcard,
        }
    }

    fn shards_of_mut(&mut self, pattern: &HostPattern) -> &mut Shards {
        match pattern {
            HostPattern::Exact(_) => &mut self.exact,
            HostPattern::Wildcard(_) => &mut self.wildcard,
        }
    }
}

impl Shards {
    #[inline]
    fn get(&self, host: &str, names: &impl Names) -> Option<DomainIndex> {
        let hash = hash(host);
        self.shards[shard(hash)].find(hash, |domain| names.is(domain, host))
    }

    fn shard(&mut self, hash: u64) -> &mut Shard {
        &mut Arc::make_mut(&mut self.shards)[shard(hash)]
    }
}

#[inline]
fn hash(host: &str) -> u64 {
    xxh3_64(host.as_bytes())
}

/// By bits that a shard does not look at.
#[inline]
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Names for Vec<HostPattern> {
        fn is(&self, domain: DomainIndex, host: &str) -> bool {
            self[domain.get() as usize].host().as_str() == host
        }
    }

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn exact_hosts_and_the_longest_wildcard() {
        let names = ["example.com", "*.example.com", "*.a.example.com", "a.example.com"].map(pattern).to_vec();
        let mut hosts = Hosts::new();
        for (index, pattern) in (0..).zip(&names) {
            hosts.insert(pattern, DomainIndex::new(index));
        }
        for (host, exact, wildcard) in [
            ("example.com", Some(0), None),
            ("x.example.com", None, Some(1)),
            ("x.y.example.com", None, Some(1)),
            ("a.example.com", Some(3), Some(1)),
            ("x.a.example.com", None, Some(2)),
            ("x.y.a.example.com", None, Some(2)),
            ("xexample.com", None, None),
            ("com", None, None),
        ] {
            assert_eq!(hosts.exact(host, &names), exact.map(DomainIndex::new), "{host}");
            assert_eq!(hosts.wildcard(host, &names), wildcard.map(DomainIndex::new), "{host}");
        }
    }

    proptest! {
        /// Against a map; a copy stays what it was.
        #[test]
        fn hosts_are_a_map(edits in proptest::collection::vec((any::<bool>(), "(\\*\\.)?[ab](\\.[ab]){0,2}"), 0..40)) {
            let names: Vec<HostPattern> = edits.iter().map(|(_, text)| pattern(text)).collect();
            let mut hosts = Hosts::new();
            let mut map = BTreeMap::new();
            for (n, (insert, _)) in edits.iter().enumerate() {
                let before = hosts.clone();
                let (key, index) = (&names[n], DomainIndex::new(n as u32));
                let held = map.get(key).copied();
                if *insert && held.is_none() {
                    hosts.insert(key, index);
                    map.insert(key, index);
                } else if !insert && held.is_some() {
                    hosts.remove(key, &names);
                    map.remove(key);
                }
                prop_assert_eq!(before.get(key, &names), held);
                prop_assert!(map.iter().all(|(key, index)| hosts.get(key, &names) == Some(*index)));
                prop_assert_eq!(hosts.get(key, &names), map.get(key).copied());
                prop_assert_eq!(hosts.exact.len + hosts.wildcard.len, map.len());
            }
        }
    }
}
