//! Sizes as operators write them, in bytes: `4096`, `32KiB`, `1GiB`.

use crate::value::decimal::plain_digits;

const SIZES: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// The bytes of a number with or without a unit of 1024; `None` for anything else.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let unit = SIZES.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text.strip_suffix('B').unwrap_or(text), 0));
    let number: u64 = plain_digits(digits).then(|| digits.parse().ok()).flatten()?;
    number.checked_mul(1 << shift)
}

/// The largest unit that leaves a whole number.
pub(crate) fn show_size(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}
