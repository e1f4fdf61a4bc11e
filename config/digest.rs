//! What a version is, in 32 bytes: equal digests mean the same frozen part.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::format;
use crate::model::{Target, Version};

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

impl Digest {
    /// Of a version as it stands, whatever digest it carries.
    #[must_use]
    pub fn of(version: &Version) -> Self {
        Self::of_parts(&version.target, version.artifact.as_deref())
    }

    pub(crate) fn of_parts(target: &Target, artifact: Option<&str>) -> Self {
        Self(Sha256::digest(format::frozen_text(target, artifact)).into())
    }
}

impl Version {
    /// A version with this target and the default of everything else.
    #[must_use]
    pub fn new(target: Target) -> Self {
        let digest = Digest::of_parts(&target, None);
        Self { target, description: None, label: None, artifact: None, retired: false, digest }
    }

    /// The same version with the digest of what it says now.
    #[must_use]
    pub fn sealed(self) -> Self {
        Self { digest: Digest::of(&self), ..self }
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
    use crate::format::frozen_text;
    use crate::parse::parse_version;

    fn version(text: &str) -> Version {
        parse_version("", text, &|_| Some("s3cret".to_owned())).unwrap().0
    }

    /// What is hashed, and what comes of it: a public contract (`printf '%s' … | sha256sum`).
    #[test]
    fn digests_are_golden() {
        for (text, hashed, digest) in GOLDEN {
            let version = version(text);
            assert_eq!(frozen_text(&version.target, version.artifact.as_deref()), hashed);
            assert_eq!(version.digest.to_string(), digest, "{hashed}");
            assert_eq!(digest.parse(), Ok(version.digest));
        }
    }

    const GOLDEN: [(&str, &str, &str); 4] = [
        (
            "http://10.0.0.1",
            r#"{"endpoints":["10.0.0.1:80"]}"#,
            "c2cb9863c2312d36363bfcd57f5d913f1efe4db664ce0633ffbc59c3c6d8a103",
        ),
        (
            "{protocol: h2c, endpoints: ['a:1', 'b:2'], headers: {set: {x-key: '${KEY}', a: '1'}}, label: blue, description: d, retries: {attempts: 1}}",
            r#"{"endpoints":["a:1","b:2"],"headers":{"set":{"a":"1","x-key":"${KEY}"}},"protocol":"h2c"}"#,
            "98f7b96d0109cb770f41de1589137fec1b488818608e325ed50d91d6b0aaf789",
        ),
        (
            "{endpoints: ['a:1'], artifact: 'sha256:77', timeouts: {connect: 1500ms}}",
            r#"{"artifact":"sha256:77","timeouts":{"connect":"1s500ms"}}"#,
            "3a042257749d46d232974139ca5edb21c37a763dcbe49e752b3b35e2a5e0c08d",
        ),
        (
            "{response: {status: 503, body: \"名\\n\"}, retired: true}",
            r#"{"response":{"body":"名\n","status":503}}"#,
            "ace7ad1c70df3e9f75ef6ac8efae87b0e83456927a425a41d29afd96c472651e",
        ),
    ];

    #[test]
    fn only_64_hexadecimal_digits_are_a_digest() {
        for bad in ["", "12", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"名".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError), "{bad}");
        }
        assert_eq!("AB".repeat(32).parse::<Digest>().unwrap().to_string(), "ab".repeat(32));
    }
}
