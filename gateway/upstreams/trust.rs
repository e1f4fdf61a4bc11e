//! Trust in the endpoints of an upstream: the certificate authorities of its file, and the key that tells its connections
//! from those of any other upstream.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Rendered, UpstreamKey};

/// The certificate authorities of an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("{}: cannot read the certificate authorities: {error}; a PEM file is needed", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// It is not PEM, or one of its certificates cannot be one of an authority.
    #[error("{}: certificate {number} cannot be used: {error}", path.display())]
    Certificate { path: PathBuf, number: usize, error: String },
    /// It has no certificate.
    #[error("{}: holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed", path.display())]
    Empty { path: PathBuf },
}

/// What all peers of an upstream share: the authorities, and the group key.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    pub(super) group_key: u64,
    pub(super) authorities: Option<Arc<CaType>>,
}

impl Trust {
    /// Reads the authorities. Blocks on the file: for the control plane only.
    pub(super) fn load(key: &UpstreamKey, spec: &Rendered) -> Result<Self, TrustError> {
        let mut hasher = DefaultHasher::new();
        (&key.function, key.version, &key.stage).hash(&mut hasher);
        std::mem::discriminant(&spec.protocol).hash(&mut hasher);
        let mut authorities = None;
        if let Some(tls) = &spec.tls {
            (tls.verify, tls.sni.as_ref().map(|sni| sni.as_str())).hash(&mut hasher);
            if let Some(path) = &tls.ca {
                let certificates = read_authorities(path)?;
                certificates.hash(&mut hasher);
                let wrapped = certificates.into_iter().map(|der| WrappedX509::new(der, parse_x509));
                authorities = Some(wrapped.collect::<Vec<_>>().into());
            }
        }
        Ok(Self { group_key: hasher.finish(), authorities })
    }
}

/// Whether the certificate authorities of this PEM file can be used. Blocks on the file.
///
/// # Errors
/// Why not.
pub fn check_authorities(path: &PathBuf) -> Result<(), TrustError> {
    read_authorities(path).map(|_| ())
}

/// The DER certificates of a PEM file, each one usable as a trust anchor.
fn read_authorities(path: &PathBuf) -> Result<Vec<Vec<u8>>, TrustError> {
    let pem = std::fs::read(path).map_err(|error| TrustError::Unreadable { path: path.clone(), error })?;
    let mut found = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let refuse = |error: String| TrustError::Certificate { path: path.clone(), number: index + 1, error };
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        // Both readers must take it: rustls verifies with it, and pingora's own reader panics on what it cannot read.
        RootCertStore::empty().add(certificate.clone()).map_err(|error| refuse(error.to_string()))?;
        X509Certificate::from_der(&certificate).map_err(|error| refuse(error.to_string()))?;
        found.push(certificate.to_vec());
    }
    if found.is_empty() { Err(TrustError::Empty { path: path.clone() }) } else { Ok(found) }
}
