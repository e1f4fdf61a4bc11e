//! The frozen part of a version, sealed by its digest.

use sha2::{Digest as _, Sha256};

use crate::model::{Target, Version};
use crate::text::format;
use crate::value::digest::Digest;

impl Digest {
    /// Of a version as it stands, whatever digest it carries.
    #[must_use]
    pub fn of(version: &Version) -> Self {
        Self::of_parts(&version.target, version.artifact.as_deref())
    }

    pub(crate) fn of_parts(target: &Target, artifact: Option<&str>) -> Self {
        Self::from(<[u8; 32]>::from(Sha256::digest(format::frozen_text(target, artifact))))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::format::frozen_text;
    use crate::text::parse::parse_version;

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
}
