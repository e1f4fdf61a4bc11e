//! What is assumed, as people write it: `200` requests a second, `1%` fail, `+5%` more on the candidate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::value::decimal::{PERCENTAGE, parse_parts, parse_percentage, show_parts};

/// What a simulation stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumed {
    /// Of the alias.
    pub rate: Rate,
    /// The part of stable's requests that fail.
    pub base: Percentage,
    /// How much more of the candidate's fail.
    pub defect: Defect,
    /// How many times each candidate is tried.
    pub runs: u32,
    /// Equal seeds give equal reports.
    pub seed: u64,
}

/// Requests per second, in thousandths; above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(u64);

/// A part of the requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percentage(u32);

/// So many percentage points more; above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Defect(Percentage);

/// Why a text is none of these. The message says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssumedError {
    /// Of a rate.
    #[error("write requests per second: a number from 0.001 to 1000000 with at most 3 decimals, such as `200`")]
    Rate,
    /// Of a part.
    #[error("write {PERCENTAGE}")]
    Percentage,
    /// Of a defect.
    #[error("write how many more of a hundred requests fail: `+5%`, with at most 4 decimals")]
    Defect,
}

impl Rate {
    const MOST: u64 = 1_000_000_000;

    /// The nearest to a number that was measured.
    #[must_use]
    pub fn near(per_second: f64) -> Self {
        Self(((per_second * 1e3).round().max(1.0) as u64).min(Self::MOST))
    }

    /// As a number.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 1e3
    }
}

impl Percentage {
    const WHOLE: u32 = 1_000_000;

    /// The nearest to a fraction that was measured, 0 to 1.
    #[must_use]
    pub fn near(fraction: f64) -> Self {
        Self(((fraction * f64::from(Self::WHOLE)).round().max(0.0) as u32).min(Self::WHOLE))
    }

    /// 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// What is left of all.
    pub(super) fn rest(self) -> Self {
        Self(Self::WHOLE - self.0)
    }

    pub(super) fn plus(self, more: Defect) -> Self {
        Self(self.0 + more.0.0)
    }
}

impl Defect {
    /// 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0.fraction()
    }
}

/// Where nothing is known.
impl Default for Percentage {
    fn default() -> Self {
        Self(10_000)
    }
}

/// Where nobody says.
impl Default for Defect {
    fn default() -> Self {
        Self(Percentage(50_000))
    }
}

impl FromStr for Rate {
    type Err = AssumedError;

    fn from_str(text: &str) -> Result<Self, AssumedError> {
        parse_parts(text, 3).filter(|parts| (1..=Self::MOST).contains(parts)).map(Self).ok_or(AssumedError::Rate)
    }
}

impl FromStr for Percentage {
    type Err = AssumedError;

    fn from_str(text: &str) -> Result<Self, AssumedError> {
        parse_percentage(text).map(Self).ok_or(AssumedError::Percentage)
    }
}

impl FromStr for Defect {
    type Err = AssumedError;

    fn from_str(text: &str) -> Result<Self, AssumedError> {
        let points =
            text.strip_prefix('+').and_then(|text| text.parse().ok()).filter(|points| *points != Percentage(0));
        points.map(Self).ok_or(AssumedError::Defect)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_parts(self.0, 3))
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", show_parts(self.0.into(), 4))
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// As JSON they are their texts.
macro_rules! texts {
    ($($kind:ident),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = AssumedError;

            fn try_from(text: String) -> Result<Self, AssumedError> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }
    )*};
}
texts!(Rate, Percentage, Defect);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_shown() {
        for text in ["200", "0.001", "1000000", "12.5"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["0%", "1%", "0.25%", "100%"] {
            assert_eq!(text.parse::<Percentage>().unwrap().to_string(), text);
            assert!(text.parse::<Defect>().is_err(), "{text}");
        }
        assert_eq!("+5%".parse::<Defect>().unwrap(), Defect::default());
        assert_eq!(("1%".parse::<Percentage>().unwrap().fraction(), Rate::near(1.2346).per_second()), (0.01, 1.235));
    }

    #[test]
    fn what_they_do_not_mean_is_refused() {
        for bad in ["", "0", "-1", "1e3", "200/s", "1000000.001", "0.0001"] {
            assert_eq!(bad.parse::<Rate>(), Err(AssumedError::Rate), "{bad}");
        }
        for bad in ["", "1", "101%", "-1%", "1 %", "0.00001%"] {
            assert_eq!(bad.parse::<Percentage>(), Err(AssumedError::Percentage), "{bad}");
        }
        for bad in ["", "5", "5%", "+0%", "+5", "-5%", "+101%", "++5%"] {
            assert_eq!(bad.parse::<Defect>(), Err(AssumedError::Defect), "{bad}");
        }
    }
}
