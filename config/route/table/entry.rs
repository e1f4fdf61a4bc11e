//! What a table holds by index, but for aliases and upstreams.

use std::fmt;
use std::sync::Arc;

use super::routes::{Pointed, Routes};
use super::{AliasIndex, StageIndex, UpstreamIndex};
use crate::model;
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName, Qualifier, StageName, VersionId};

/// A function with its versions and aliases.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: FunctionName,
    /// As configured.
    pub model: Arc<model::Function>,
    /// Ascending; those that can be reached, and those that are named and are not there.
    pub(super) versions: Arc<[(VersionId, Upstreams)]>,
    /// Ascending; with `$DEFAULT`.
    pub(super) aliases: Box<[(AliasName, AliasIndex)]>,
}

/// Where a version runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Upstreams {
    /// The same for every stage.
    One(UpstreamIndex),
    /// By stage, ascending; those that have all its variables.
    ByStage(Box<[(StageIndex, UpstreamIndex)]>),
}

/// A stage with the aliases it leads to.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: StageName,
    /// As configured.
    pub model: Arc<model::Stage>,
    /// `None` when its text is no alias name with the stage's variables.
    pub(super) alias: Option<AliasName>,
    /// Ascending.
    pub(super) exceptions: Box<[(FunctionName, Option<AliasName>)]>,
}

/// A domain with its routes. One cache line: a request for a host that nobody asked for lately waits for it.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Domain {
    /// Its host.
    pub host: DomainHost,
    /// As configured.
    pub model: Arc<model::Domain>,
    pub(crate) stage: DomainStage,
    pub(crate) routes: Routes,
}

/// The host of a domain. Most hosts are short enough to stand beside the routes they are looked up for.
#[derive(Clone)]
pub struct DomainHost(Text);

#[derive(Clone)]
enum Text {
    Short { wildcard: bool, len: u8, bytes: [u8; SHORT] },
    Long(HostPattern),
}

/// The longest short host, in bytes: as many as leave a domain one cache line.
const SHORT: usize = 29;

/// Where the stage of a domain's requests comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DomainStage {
    None,
    Named(StageIndex),
    Path,
}

impl DomainHost {
    pub(super) fn new(pattern: &HostPattern) -> Self {
        let host = pattern.host().as_str();
        if host.len() > SHORT {
            return Self(Text::Long(pattern.clone()));
        }
        let mut bytes = [0; SHORT];
        bytes[..host.len()].copy_from_slice(host.as_bytes());
        Self(Text::Short { wildcard: matches!(pattern, HostPattern::Wildcard(_)), len: host.len() as u8, bytes })
    }

    /// Whether this is the host, or that below which the wildcard matches.
    #[inline]
    pub(super) fn is(&self, host: &str) -> bool {
        match &self.0 {
            Text::Short { len, bytes, .. } => bytes[..usize::from(*len)] == *host.as_bytes(),
            Text::Long(pattern) => pattern.host().as_str() == host,
        }
    }
}

impl fmt::Display for DomainHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Text::Short { wildcard, len, bytes } => {
                let host = std::str::from_utf8(&bytes[..usize::from(*len)]).expect("a host is ASCII");
                write!(f, "{}{host}", if *wildcard { "*." } else { "" })
            }
            Text::Long(pattern) => pattern.fmt(f),
        }
    }
}

impl fmt::Debug for DomainHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Function {
    /// The alias with this name; `$DEFAULT` is always there, unless its text cannot be read.
    #[inline]
    #[must_use]
    pub fn alias(&self, name: &str) -> Option<AliasIndex> {
        let place = self.aliases.binary_search_by(|(alias, _)| alias.as_str().cmp(name)).ok()?;
        Some(self.aliases[place].1)
    }

    /// What a name of an alias points to.
    #[inline]
    pub(crate) fn point(&self, name: &str) -> Pointed {
        let is_unread = |part: &Qualifier| matches!(part, Qualifier::Alias(alias) if alias.as_str() == name);
        match self.alias(name) {
            Some(alias) => Pointed::Alias(alias),
            None if self.model.unread.iter().any(is_unread) => Pointed::Broken,
            None => Pointed::Missing,
        }
    }

    /// Every alias.
    pub fn aliases(&self) -> impl Iterator<Item = AliasIndex> + '_ {
        self.aliases.iter().map(|(_, index)| *index)
    }

    /// Wherever a version runs: in one place, or in one for each stage.
    pub fn upstreams(&self, version: VersionId) -> impl Iterator<Item = UpstreamIndex> + '_ {
        let found = self.versions.binary_search_by_key(&version, |(version, _)| *version).ok();
        let (one, by_stage): (Option<UpstreamIndex>, &[_]) = match found.map(|place| &self.versions[place].1) {
            None => (None, &[]),
            Some(Upstreams::One(upstream)) => (Some(*upstream), &[]),
            Some(Upstreams::ByStage(upstreams)) => (None, upstreams),
        };
        one.into_iter().chain(by_stage.iter().map(|(_, upstream)| *upstream))
    }

    /// Where a version runs, for requests of this stage. `None` for a version that is not there or retired, or that uses
    /// a variable that the stage does not have.
    #[inline]
    #[must_use]
    pub fn upstream(&self, version: VersionId, stage: Option<StageIndex>) -> Option<UpstreamIndex> {
        let place = self.versions.binary_search_by_key(&version, |(version, _)| *version).ok()?;
        match &self.versions[place].1 {
            Upstreams::One(upstream) => Some(*upstream),
            Upstreams::ByStage(upstreams) => {
                let place = upstreams.binary_search_by_key(&stage?, |(stage, _)| *stage).ok()?;
                Some(upstreams[place].1)
            }
        }
    }
}

impl Stage {
    /// The alias of a function in this stage.
    #[inline]
    pub(crate) fn alias_of(&self, function: &FunctionName) -> Option<&AliasName> {
        match self.exceptions.binary_search_by(|(name, _)| name.cmp(function)) {
            Ok(place) => self.exceptions[place].1.as_ref(),
            Err(_) => self.alias.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_one_cache_line() {
        assert_eq!(size_of::<Option<Domain>>(), 64);
    }

    #[test]
    fn hosts_of_any_length_stay_what_they_are() {
        for len in 1..=60 {
            for star in ["", "*."] {
                let host = "a".repeat(len);
                let pattern: HostPattern = format!("{star}{host}").parse().unwrap();
                let held = DomainHost::new(&pattern);
                assert_eq!(held.to_string(), pattern.to_string());
                assert!(held.is(&host) && !held.is(&host[1..]) && !held.is(&format!("{host}a")));
            }
        }
    }
}
