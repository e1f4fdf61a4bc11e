//! The door of the admin API: its socket, and its certificate where it has one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use config::model::{AdminListener, Certificate};
use rustls::ServerConfig;

use super::Failure;
use crate::admin::Listener;
use crate::edge::tls::{self, CertificateProblem, Certified};

/// Opens it. Needs a runtime.
///
/// # Errors
/// When the socket cannot be opened, or the certificate cannot be used.
pub(super) fn open(at: &AdminListener) -> Result<Listener, Failure> {
    let (place, certificate) = match at {
        AdminListener::Tcp { address, tls, .. } => (address.to_string(), tls.as_ref()),
        AdminListener::Socket(path) => (path.display().to_string(), None),
    };
    let tls = certificate.map(settings).transpose()?;
    Listener::open(at, tls).map_err(|error| Failure::Admin { place, error })
}

/// The certificate as it is now: another one needs a restart, as every process setting does.
fn settings(files: &Certificate) -> Result<Arc<ServerConfig>, Failure> {
    let (cert, key) = (read(&files.cert)?, read(&files.key)?);
    let (cert_name, key_name) = (files.cert.display().to_string(), files.key.display().to_string());
    let certified = Certified::parse((&cert_name, &cert), (&key_name, &key))?;
    Ok(tls::single(&certified)?)
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateProblem> {
    fs::read(path).map_err(|error| CertificateProblem {
        file: path.display().to_string(),
        what: format!("cannot be read: {error}"),
    })
}
