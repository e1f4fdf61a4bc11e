//! Trust in the endpoints of an upstream: the certificate authorities of its file, and the key that tells its connections
//! from those of any other upstream.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Rendered, UpstreamKey};

/// The largest file of authorities that is read: several times what systems ship.
const MOST: u64 = 1 << 20;

/// The certificate authorities of an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not one that is read: a device, a FIFO, or far too large.
    #[error("{}: {what}; a PEM file of at most {MOST} bytes is needed", path.display())]
    Unfit { path: PathBuf, what: &'static str },
    /// The file cannot be read.
    #[error("{}: cannot read the certificate authorities: {error}; a PEM file is needed", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
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
    /// Reads the authorities. Blocks on the file: for the control plane only.
    pub(crate) fn load(key: &UpstreamKey, spec: &Rendered) -> Result<Self, TrustError> {
        let mut hasher = DefaultHasher::new();
        (&key.function, key.version, &key.stage).hash(&mut hasher);
        std::mem::discriminant(&spec.protocol).hash(&mut hasher);
        let mut authorities = None;
        if let Some(tls) = &spec.tls {
            (tls.verify, tls.sni.as_ref().map(|sni| sni.as_str())).hash(&mut hasher);
            if let Some(path) = &tls.ca {
                let certificates = read_authorities(path)?;
                certificates.iter().for_each(|certificate| certificate.hash(&mut hasher));
                authorities = Some(certificates.into());
            }
        }
        Ok(Self { group_key: hasher.finish(), authorities })
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

/// Checks that the certificate authorities of this PEM file can be used. Blocks on the file.
///
/// # Errors
/// The reason why they cannot.
pub fn check_authorities(path: &PathBuf) -> Result<(), TrustError> {
    read_authorities(path).map(|_| ())
}

/// A regular file of bounded size. An operator who may name one could otherwise stop the control plane with
/// `/dev/zero`.
fn read(path: &PathBuf) -> Result<Vec<u8>, TrustError> {
    let unreadable = |error| TrustError::Unreadable { path: path.clone(), error };
    let unfit = |what| TrustError::Unfit { path: path.clone(), what };
    // Before it is opened, because that waits for the other end of a FIFO.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unfit("not a regular file"));
    }
    let mut pem = Vec::new();
    File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut pem)).map_err(unreadable)?;
    if pem.len() as u64 > MOST { Err(unfit("too large")) } else { Ok(pem) }
}

/// The DER certificates of a PEM file, each one usable as a trust anchor.
fn read_authorities(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = read(path)?;
    let mut found = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let refuse = |error: String| TrustError::Certificate { path: path.clone(), number: index + 1, error };
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        // Both readers must take it: rustls verifies with it, and a lane may look into it with x509-parser.
        RootCertStore::empty().add(certificate.clone()).map_err(|error| refuse(error.to_string()))?;
        X509Certificate::from_der(&certificate).map_err(|error| refuse(error.to_string()))?;
        found.push(certificate);
    }
    if found.is_empty() { Err(TrustError::Empty { path: path.clone() }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use config::model::UpstreamTls;

    use super::super::tests::{key, spec};
    use super::*;

    #[test]
    fn bad_authorities_are_named() {
        let authority = || rcgen::generate_simple_self_signed(["authority.test".to_owned()]).unwrap().cert.pem();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.pem");
        let tls = UpstreamTls { ca: Some(path.clone()), sni: None, verify: true };
        let load = || Trust::load(&key(1), &Rendered { tls: Some(tls.clone()), ..spec(&[]) });
        let message = || load().unwrap_err().to_string();
        assert!(message().contains("authority.pem: cannot read the certificate authorities"), "{}", message());
        fs::create_dir(&path).unwrap();
        assert!(message().contains("authority.pem: not a regular file; a PEM file of at most"), "{}", message());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, vec![b' '; MOST as usize + 1]).unwrap();
        assert!(message().contains("authority.pem: too large"), "{}", message());
        fs::write(&path, "not PEM").unwrap();
        assert!(message().contains("holds no certificate"), "{}", message());
        let garbage = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        fs::write(&path, authority() + garbage).unwrap();
        assert!(message().contains("certificate 2 cannot be used"), "{}", message());
        fs::write(&path, authority() + &authority()).unwrap();
        assert_eq!(load().unwrap().authorities().unwrap().len(), 2);
        for device in ["/dev/zero", "/dev/null"] {
            let error = check_authorities(&device.into()).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
        }
    }
}
