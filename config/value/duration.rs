//! Durations as operators write them: `500ms`, `5s`, `1h30m`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units from long to short, each at most once; `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut next = 0;
    let mut milliseconds = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let index = UNITS.iter().position(|(name, _)| *name == &after[..unit]).filter(|index| *index >= next)?;
        milliseconds = milliseconds.checked_add(number.checked_mul(UNITS[index].1)?)?;
        next = index + 1;
        rest = &after[unit..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(milliseconds))
}

/// The shortest text that [`parse_duration`] reads back: `1h30m`, `500ms`, `0s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        if rest >= milliseconds {
            text.push_str(&format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
