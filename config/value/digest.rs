//! What a version is, in 32 bytes: equal digests mean the same frozen part.

use std::fmt;
use std::str::FromStr;

/// SHA-256 of the frozen part of a version, as lower-case hexadecimal.
///
/// Hashed is the canonical form of the version as JSON: UTF-8, without spaces and line ends, the keys of every mapping
/// in the order of their bytes, fields that equal their default left out. Left out are also `description`, `label`,
/// `retired` and `digest`; and `endpoints` when there is an `artifact`, which stands for them. Without one the endpoints
/// count as they were when the version was made: moving them later leaves the digest as it is. Variables count by their
/// name (`${NAME}`), not by their value.
///
/// | hashed | digest |
/// |---|---|
/// | `{"endpoints":["10.0.0.1:80"]}` | `c2cb9863c2312d36…` |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct DigestError;

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Digest {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let bytes = text.as_bytes();
        let mut digest = [0; 32];
        if bytes.len() != 64 {
            return Err(DigestError);
        }
        for (byte, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            let digit = |hex: u8| char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0]).ok_or(DigestError)? << 4 | digit(pair[1]).ok_or(DigestError)?;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_hexadecimal_digits_are_a_digest() {
        for bad in ["", "12", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"名".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError), "{bad}");
        }
        assert_eq!("AB".repeat(32).parse::<Digest>().unwrap().to_string(), "ab".repeat(32));
    }
}
