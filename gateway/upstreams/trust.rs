//! Trust in the endpoints of an upstream: the certificate authorities of its file, and the key that tells its connections
//! from those of any other upstream.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Rendered, UpstreamKey};
use crate::files::{self, FileError};

/// The certificate authorities of an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is not one that is read.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: FileError },
    /// A part of the file is no PEM, or no certificate of an authority.
    #[error("{}: certificate {number} cannot be used: {error}", path.display())]
    Certificate { path: PathBuf, number: usize, error: String },
    /// The file holds no certificate.
    #[error("{}: holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed", path.display())]
    Empty { path: PathBuf },
}

/// The certificate authorities that endpoints of an upstream are checked against, and the key of its connections.
#[derive(Debug, Clone)]
pub struct Trust {
    group_key: u64,
    authorities: Option<Arc<Authorities>>,
}

/// DER certificates, each one usable as a trust anchor.
pub type Authorities = [CertificateDer<'static>];

impl Trust {
    /// Trust in the endpoints of `spec`, whose own file holds these authorities.
    pub(crate) fn new(key: &UpstreamKey, spec: &Rendered, authorities: Option<Arc<Authorities>>) -> Self {
        let mut hasher = DefaultHasher::new();
        (&key.function, key.version, &key.stage).hash(&mut hasher);
        std::mem::discriminant(&spec.protocol).hash(&mut hasher);
        if let Some(tls) = &spec.tls {
            (tls.verify, tls.sni.as_ref().map(|sni| sni.as_str())).hash(&mut hasher);
            authorities.iter().flat_map(|own| own.iter()).for_each(|certificate| certificate.hash(&mut hasher));
        }
        Self { group_key: hasher.finish(), authorities }
    }

    /// A key over all that makes one connection unlike another: function, version, stage, protocol, trust. Connections
    /// with different keys must not stand in for each other.
    #[must_use]
    pub fn group_key(&self) -> u64 {
        self.group_key
    }

    /// The authorities of the upstream's own file; `None` where the system's are trusted.
    #[must_use]
    pub fn authorities(&self) -> Option<&Arc<Authorities>> {
        self.authorities.as_ref()
    }
}

/// The DER certificates of a PEM file, each one usable as a trust anchor. Blocks on the file: for the control plane only.
///
/// # Errors
/// The reason why they cannot be used.
pub fn read_authorities(path: &Path) -> Result<Arc<Authorities>, TrustError> {
    let (_, pem) = files::read(path).map_err(|error| TrustError::File { path: path.to_owned(), error })?;
    let mut found = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let refuse = |error: String| TrustError::Certificate { path: path.to_owned(), number: index + 1, error };
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        // Both readers must take it: rustls verifies with it, and a lane may look into it with x509-parser.
        RootCertStore::empty().add(certificate.clone()).map_err(|error| refuse(error.to_string()))?;
        X509Certificate::from_der(&certificate).map_err(|error| refuse(error.to_string()))?;
        found.push(certificate);
    }
    if found.is_empty() { Err(TrustError::Empty { path: path.to_owned() }) } else { Ok(found.into()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn bad_authorities_are_named() {
        let authority = || rcgen::generate_simple_self_signed(["authority.test".to_owned()]).unwrap().cert.pem();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.pem");
        let message = || read_authorities(&path).unwrap_err().to_string();
        assert!(message().contains("authority.pem: cannot be read: No such file"), "{}", message());
        fs::create_dir(&path).unwrap();
        assert!(message().contains("authority.pem: is a directory; expected a regular file"), "{}", message());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(message().contains("authority.pem: is larger than 1 MiB"), "{}", message());
        fs::write(&path, "not PEM").unwrap();
        assert!(message().contains("holds no certificate"), "{}", message());
        let garbage = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        fs::write(&path, authority() + garbage).unwrap();
        assert!(message().contains("certificate 2 cannot be used"), "{}", message());
        fs::write(&path, authority() + &authority()).unwrap();
        assert_eq!(read_authorities(&path).unwrap().len(), 2);
        for device in ["/dev/zero", "/dev/null"] {
            let error = read_authorities(Path::new(device)).unwrap_err().to_string();
            assert!(error.contains("is a device; expected a regular file"), "{error}");
        }
    }
}
