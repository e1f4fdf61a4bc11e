//! Decimals without floats: so many decimals as a whole number of the smallest parts, and numbers kept as written.

use std::fmt;
use std::str::FromStr;

/// `1.2` with three places is 1200; `None` for anything but digits with an optional decimal part of at most `places`
/// digits. No sign, no exponent, no leading zero.
pub(crate) fn parse_parts(text: &str, places: usize) -> Option<u64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(units) || !digits(decimals) || decimals.len() > places || (units.len() > 1 && units.starts_with('0')) {
        return None;
    }
    format!("{units}{decimals:0<places$}").parse().ok()
}

/// 1200 with three places as `1.2`: no trailing zeros.
pub(crate) fn show_parts(parts: u64, places: usize) -> String {
    let digits = format!("{parts:0>width$}", width = places + 1);
    let (units, decimals) = digits.split_at(digits.len() - places);
    match decimals.trim_end_matches('0') {
        "" => units.to_owned(),
        decimals => format!("{units}.{decimals}"),
    }
}

/// What [`parse_percentage`] reads.
pub(crate) const PERCENTAGE: &str = "a percentage from `0%` to `100%` with at most 4 decimals, such as `0.5%`";

/// `1%`, `0.25%` in parts per million.
pub(crate) fn parse_percentage(text: &str) -> Option<u32> {
    let parts = text.strip_suffix('%').and_then(|number| parse_parts(number, 4)).filter(|parts| *parts <= 1_000_000);
    parts.and_then(|parts| u32::try_from(parts).ok())
}

/// A number as it was written in the grammar of JSON, so that it is printed back the same. Finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal(String);

impl Decimal {
    /// The nearest number that a machine computes with.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.0.parse().expect("the grammar of JSON is within that of floats")
    }
}

/// Why a text is no decimal. The message says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a finite number such as 0.01, -3 or 1e6")]
pub struct DecimalError;

impl FromStr for Decimal {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        // JSON allows white space around a number.
        let number = text.ends_with(|c: char| c.is_ascii_digit()) && text.starts_with(|c: char| !c.is_whitespace());
        let finite = serde_json::from_str::<f64>(text).is_ok_and(f64::is_finite);
        if number && finite { Ok(Self(text.to_owned())) } else { Err(DecimalError) }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// True if a text is a whole number without a sign and without leading zeros.
pub(crate) fn plain_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_exact() {
        for (text, places, parts) in [("1.2", 3, 1200), ("0.01", 4, 100), ("0", 2, 0), ("100", 4, 1_000_000)] {
            assert_eq!(parse_parts(text, places), Some(parts), "{text}");
            assert_eq!(show_parts(parts, places), text);
        }
        for text in ["", ".5", "5.", "-1", "+1", "1e3", "01", "1.2345", "1,2", "99999999999999999999", "1.2.3"] {
            assert_eq!(parse_parts(text, 3), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_those_of_json() {
        for (text, value) in [("0.01", 0.01), ("-3", -3.0), ("1e6", 1e6), ("1.50", 1.5), ("2.5E-3", 0.0025)] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!((decimal.to_string().as_str(), decimal.value()), (text, value));
        }
        for text in ["", "1e999", "NaN", "inf", "0x1", "1.", ".5", "01", "+1", " 1", "1 ", "true", "[1]"] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(parts in 0..=u64::MAX / 10, places in 1usize..7) {
            prop_assert_eq!(parse_parts(&show_parts(parts, places), places), Some(parts));
        }
    }
}
