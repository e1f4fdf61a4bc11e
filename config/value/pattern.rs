//! Patterns of process settings: for names of environment variables, and for hosts that are called.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::host::HostPattern;
use super::template::is_variable;

/// Names of environment variables: `DINGTALK_TOKEN`, or with one `*` for any part, `DINGTALK_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariablePattern(String);

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern: write {1}")]
pub struct PatternError(String, &'static str);

impl VariablePattern {
    /// Tells if the pattern takes this name.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        match self.0.split_once('*') {
            Some((before, after)) => {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            }
            None => self.0 == name,
        }
    }
}

impl FromStr for VariablePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // Any part may stand for the star, so what is around it is judged as if it were an underscore.
        match is_variable(&text.replacen('*', "_", 1)) {
            true => Ok(Self(text.to_owned())),
            false => {
                Err(PatternError(text.to_owned(), "the name of a variable, or one with a single `*` as in `CI_*`"))
            }
        }
    }
}

impl fmt::Display for VariablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hosts that are called: `ci.example.com`, `*.example.com` (every host below), `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallPattern {
    /// By name.
    Host(HostPattern),
    /// By address.
    Network(IpNet),
}

impl CallPattern {
    /// Tells if the pattern takes this host as it is written: a name, or an address without brackets.
    #[must_use]
    pub fn takes(&self, host: &str) -> bool {
        match self {
            Self::Network(_) => host.parse().is_ok_and(|address| self.takes_address(address)),
            Self::Host(HostPattern::Exact(exact)) => exact.as_str().eq_ignore_ascii_case(host),
            Self::Host(HostPattern::Wildcard(below)) => {
                let (host, below) = (host.to_ascii_lowercase(), below.as_str());
                host.strip_suffix(below)
                    .and_then(|before| before.strip_suffix('.'))
                    .is_some_and(|name| !name.is_empty())
            }
        }
    }

    /// Tells if the pattern names this address, or a network that holds it.
    #[must_use]
    pub fn takes_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address.to_canonical()))
    }
}

impl FromStr for CallPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let network = || text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if let Some(network) = network() {
            return Ok(Self::Network(network));
        }
        let wrong =
            "a host such as `ci.example.com`, `*.example.com` for those below, or a network such as `10.0.0.0/8`";
        text.parse().map(Self::Host).map_err(|_| PatternError(text.to_owned(), wrong))
    }
}

impl fmt::Display for CallPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => network.addr().fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_by_name_or_part() {
        let takes = |pattern: &str, name| pattern.parse::<VariablePattern>().unwrap().takes(name);
        assert!(takes("CI_*", "CI_TOKEN") && takes("*_TOKEN", "CI_TOKEN") && takes("CI_*_TOKEN", "CI_A_TOKEN"));
        assert!(takes("*", "ANY") && takes("CI", "CI") && takes("CI*", "CI"));
        assert!(!takes("CI", "CI_TOKEN") && !takes("CI_*", "OTHER") && !takes("CI_*_TOKEN", "CI_TOKEN"));
        for wrong in ["", "CI-*", "*A*", "1A", "${CI}", "CI *"] {
            assert!(wrong.parse::<VariablePattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_by_name_and_network() {
        let takes = |pattern: &str, host| pattern.parse::<CallPattern>().unwrap().takes(host);
        assert!(takes("ci.example.com", "CI.example.com") && takes("*.example.com", "a.b.example.com"));
        assert!(!takes("*.example.com", "example.com") && !takes("*.example.com", "badexample.com"));
        assert!(
            takes("10.0.0.0/8", "10.1.2.3") && takes("10.0.0.1", "10.0.0.1") && takes("10.0.0.0/8", "::ffff:10.0.0.1")
        );
        assert!(!takes("10.0.0.0/8", "10.example.com") && !takes("10.0.0.1", "10.0.0.2"));
        for (text, shown) in [("10.0.0.1", "10.0.0.1"), ("10.0.0.0/8", "10.0.0.0/8"), ("*.a.test", "*.a.test")] {
            assert_eq!(text.parse::<CallPattern>().unwrap().to_string(), shown);
        }
        assert!("http://x/".parse::<CallPattern>().is_err() && "*".parse::<CallPattern>().is_err());
    }
}
