//! The doors of the admin API and of dialects: a socket, and a certificate where it has one.

use std::sync::Arc;

use config::model::{AdminListener, Certificate};
use rustls::ServerConfig;

use super::Failure;
use crate::admin::Listener;
use crate::control::certificates;
use crate::edge::tls::{self, LiveCertificate};

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
    Listener::open(at, tls).map_err(|error| Failure::Door { place, error })
}

/// The certificate, followed from here on as those of domains are.
fn settings(files: &Certificate) -> Result<Arc<ServerConfig>, Failure> {
    let certificate = Arc::new(LiveCertificate::new(certificates::read_one(files)?));
    tokio::spawn(certificates::follow_one(files.clone(), Arc::clone(&certificate)));
    Ok(tls::server_config_of_one(certificate)?)
}
