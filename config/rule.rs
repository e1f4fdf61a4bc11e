//! Match rules of an alias: requests that go to a fixed version whatever the weights say.

use ipnet::IpNet;

use crate::weight::Weight;

/// The conditions of a rule; all of them must hold, and there is at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    pub conditions: Vec<Condition>,
}

/// One test of one part of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub subject: Subject,
    pub test: Test,
}

/// The part of a request that a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A header, lower case.
    Header(String),
    Cookie(String),
    /// A query parameter, percent-decoded.
    Query(String),
    Path,
    Method,
    /// The trusted client address.
    ClientAddress,
}

/// What a condition asks of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Pattern),
    In(Vec<String>),
    /// `true`: it is there; `false`: it is not.
    Present(bool),
    /// An integer inside an interval; a non-integer is a miss.
    Range(Interval),
    /// A stable share of the values, by the bucket of the value.
    Percent {
        weight: Weight,
        salt: Option<String>,
    },
    /// Only of the client address.
    Networks(Vec<IpNet>),
}

/// A regular expression, compared by its source. Linear time; unanchored unless it says `^` and `$`.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Integers between two ends: `[1,50]`, `(1,50)`, `[1,50)`, `(1,50]`. Held as inclusive ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub first: i64,
    pub last: i64,
}
