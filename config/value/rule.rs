//! Match rules of an alias: requests that go to a fixed version whatever the weights say.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use crate::value::weight::Weight;

/// The longest regular expression, in bytes.
pub const MAX_PATTERN: usize = 1024;

/// The most memory that one compiled expression may take, in bytes.
const MAX_COMPILED: usize = 256 << 10;

/// The conditions of a rule; all of them must hold, and there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    pub conditions: Vec<Condition>,
}

/// One test of one part of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub subject: Subject,
    pub test: Test,
}

/// The part of a request that a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A header, lower case. Of several fields any one may hold.
    Header(String),
    /// A cookie, its value without enclosing quotes. The first of the name counts.
    Cookie(String),
    /// A query parameter, percent-decoded, `+` being a space. The first of the name counts.
    Query(String),
    /// The path as it came, still percent-encoded, with its stage, without query.
    Path,
    /// As it came, so upper case.
    Method,
    /// The trusted client address, in its usual text form.
    ClientAddress,
}

/// What a condition asks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    Exact(String),
    Prefix(String),
    Suffix(String),
    /// A value that is not UTF-8 is a miss.
    Regex(Pattern),
    In(Vec<String>),
    /// `true`: it is there; `false`: it is not.
    Present(bool),
    /// An integer inside an interval; a non-integer is a miss.
    Range(Interval),
    /// A stable share of the values, by the bucket of the value.
    Percent {
        weight: Weight,
        /// Names the cohort; `None` takes the alias's own.
        salt: Option<String>,
    },
    /// Only of the client address.
    Networks(Vec<IpNet>),
}

/// A regular expression, compared by its source. Linear time; unanchored unless it says `^` and `$`.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Integers between two ends: `[1,50]`, `(1,50)`, `[1,50)`, `(1,50]`. Held as inclusive ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub first: i64,
    pub last: i64,
}

/// Why a text is no rule. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not the text form of Tencent SCF.
    #[error("a rule as text is `invoke.headers.<Key> exact <value>` or `invoke.headers.<Key> range [1,50]`")]
    Form,
    /// Another operator.
    #[error("`{0}` is no operator of a rule as text; write `exact` or `range`")]
    Operator(String),
    /// No field name.
    #[error("`{0}` is no header name: letters, digits and `-_.!#$%&'*+^|~` and the backtick")]
    Header(String),
    /// Not an interval.
    #[error(
        "an interval is two whole numbers in brackets, `[1,50]`, or `(1,50)`, `[1,50)`, `(1,50]` to leave ends out; `{0}` is not"
    )]
    Interval(String),
    /// No integer is inside.
    #[error("the interval `{0}` holds no whole number")]
    EmptyInterval(String),
    /// Does not compile.
    #[error("the regular expression does not compile: {0}")]
    Regex(String),
    /// Too long or too large.
    #[error("the regular expression is too large: at most 1024 characters, and 256 KiB when compiled")]
    RegexSize,
}

impl FromStr for When {
    type Err = RuleError;

    /// Reads the text form of Tencent SCF as it stands. The header's name may have any case.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let rest = text.trim().strip_prefix("invoke.headers.").ok_or(RuleError::Form)?;
        let (key, rest) = rest.split_once(char::is_whitespace).ok_or(RuleError::Form)?;
        let (operator, value) = rest.trim_start().split_once(char::is_whitespace).ok_or(RuleError::Form)?;
        let header = header_name(key).ok_or_else(|| RuleError::Header(key.to_owned()))?;
        let value = value.trim();
        let test = match operator {
            "exact" => Test::Exact(value.to_owned()),
            "range" => Test::Range(value.parse()?),
            _ => return Err(RuleError::Operator(operator.to_owned())),
        };
        Ok(Self { conditions: vec![Condition { subject: Subject::Header(header), test }] })
    }
}

impl FromStr for Interval {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError::Interval(text.to_owned());
        let empty = || RuleError::EmptyInterval(text.to_owned());
        let inner = text.trim();
        let (open_first, inner) = match inner.strip_prefix('[') {
            Some(inner) => (false, inner),
            None => (true, inner.strip_prefix('(').ok_or_else(wrong)?),
        };
        let (open_last, inner) = match inner.strip_suffix(']') {
            Some(inner) => (false, inner),
            None => (true, inner.strip_suffix(')').ok_or_else(wrong)?),
        };
        let (first, last) = inner.split_once(',').ok_or_else(wrong)?;
        let mut first: i64 = first.trim().parse().map_err(|_| wrong())?;
        let mut last: i64 = last.trim().parse().map_err(|_| wrong())?;
        if open_first {
            first = first.checked_add(1).ok_or_else(empty)?;
        }
        if open_last {
            last = last.checked_sub(1).ok_or_else(empty)?;
        }
        if first <= last { Ok(Self { first, last }) } else { Err(empty()) }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{}]", self.first, self.last)
    }
}

impl Interval {
    /// Whether the number is inside.
    #[must_use]
    pub fn contains(self, number: i64) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// One that does not compile or is too large.
    pub fn new(source: &str) -> Result<Self, RuleError> {
        if source.len() > MAX_PATTERN {
            return Err(RuleError::RegexSize);
        }
        match RegexBuilder::new(source).size_limit(MAX_COMPILED).nest_limit(64).build() {
            Ok(regex) => Ok(Self(regex)),
            Err(regex::Error::CompiledTooBig(_)) => Err(RuleError::RegexSize),
            // The last line says what; those before it draw the expression.
            Err(other) => {
                let text = other.to_string();
                let what = text.lines().last().unwrap_or_default();
                Err(RuleError::Regex(what.strip_prefix("error: ").unwrap_or(what).to_owned()))
            }
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The compiled expression.
    pub(crate) fn regex(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The field name in lower case, when it is one (RFC 9110, 5.1).
fn header_name(text: &str) -> Option<String> {
    http::HeaderName::from_bytes(text.as_bytes()).ok().map(|name| name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Result<(Subject, Test), RuleError> {
        let mut when: When = text.parse()?;
        assert_eq!(when.conditions.len(), 1);
        let condition = when.conditions.remove(0);
        Ok((condition.subject, condition.test))
    }

    #[test]
    fn the_text_form_of_tencent() {
        let user = || Subject::Header("user".into());
        for (text, test) in [
            ("invoke.headers.User exact Bob", Test::Exact("Bob".into())),
            ("  invoke.headers.USER   exact   Bob B. ", Test::Exact("Bob B.".into())),
            ("invoke.headers.user range [1,50]", Test::Range(Interval { first: 1, last: 50 })),
            ("invoke.headers.User range [0,50)", Test::Range(Interval { first: 0, last: 49 })),
            ("invoke.headers.User range (0, 50]", Test::Range(Interval { first: 1, last: 50 })),
            ("invoke.headers.User range (-1,50)", Test::Range(Interval { first: 0, last: 49 })),
        ] {
            assert_eq!(only(text), Ok((user(), test)), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, message) in [
            (
                "header User exact Bob",
                "a rule as text is `invoke.headers.<Key> exact <value>` or `invoke.headers.<Key> range [1,50]`",
            ),
            (
                "invoke.headers.User exact",
                "a rule as text is `invoke.headers.<Key> exact <value>` or `invoke.headers.<Key> range [1,50]`",
            ),
            ("invoke.headers.User is Bob", "`is` is no operator of a rule as text; write `exact` or `range`"),
            ("invoke.headers.User range [5,4]", "the interval `[5,4]` holds no whole number"),
            ("invoke.headers.User range (4,5)", "the interval `(4,5)` holds no whole number"),
        ] {
            assert_eq!(only(text).unwrap_err().to_string(), message, "{text}");
        }
        for text in ["1,50", "[1;50]", "[1,b]", "[1]", "{1,2}", "[1.5,2]", "[1,99999999999999999999]"] {
            assert_eq!(text.parse::<Interval>(), Err(RuleError::Interval(text.into())));
        }
        assert!(matches!(only("invoke.headers.Us(er exact x"), Err(RuleError::Header(_))));
        assert!(matches!(format!("({},5]", i64::MAX).parse::<Interval>(), Err(RuleError::EmptyInterval(_))));
    }

    #[test]
    fn expressions_are_bounded() {
        assert_eq!(Pattern::new("^a+$").unwrap().to_string(), "^a+$");
        assert_eq!(Pattern::new("a{1000}{1000}"), Err(RuleError::RegexSize));
        assert_eq!(Pattern::new(&"a".repeat(1025)), Err(RuleError::RegexSize));
        assert_eq!(
            Pattern::new("(a").unwrap_err().to_string(),
            "the regular expression does not compile: unclosed group"
        );
    }
}
