//! Certificates of domains: read when a domain names others, and again when their files change.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::model::{Certificate, Config};
use config::problem::Problem;

use crate::clock;
use crate::edge::tls::{CertificateProblem, Certificates, Certified, LiveCertificate, LiveCertificates};
use crate::live::Live;
use crate::metrics::Metrics;

/// How often the files are looked at, for renewals.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The certificates of `new`, if they are others than those of `old`.
///
/// # Errors
/// Every certificate that cannot be used.
pub fn load(old: &Config, new: &Config) -> Result<Option<Certificates>, Vec<Problem>> {
    if old.has_same_certificates(new) { Ok(None) } else { read(new).map(Some) }
}

/// Reads every certificate that a domain names; one that several name is read once.
fn read(config: &Config) -> Result<Certificates, Vec<Problem>> {
    let mut certificates = Certificates::default();
    let mut seen: HashMap<&Certificate, Option<Arc<Certified>>> = HashMap::new();
    let mut problems = Vec::new();
    for (host, domain) in &config.domains {
        let Some(certificate) = &domain.certificate else { continue };
        let host = host.to_string();
        let path = format!("domains.\"{host}\".certificate");
        let certified = seen.entry(certificate).or_insert_with(|| match read_one(certificate) {
            Ok(certified) => Some(certified),
            Err(problem) => {
                problems.push(Problem::error(&path, problem.to_string()));
                None
            }
        });
        if let Some(certified) = certified {
            for warning in certified.warnings(&host, clock::unix()) {
                tracing::warn!("{path}: {warning}");
            }
            certificates.insert(&host, Arc::clone(certified));
        }
    }
    if problems.is_empty() { Ok(certificates) } else { Err(problems) }
}

/// Reads one certificate and its key.
///
/// # Errors
/// What makes them unusable.
pub fn read_one(files: &Certificate) -> Result<Arc<Certified>, CertificateProblem> {
    let pem = |path: &Path| {
        let file = path.display().to_string();
        match fs::read(path) {
            Ok(pem) => Ok((file, pem)),
            Err(error) => Err(CertificateProblem { file, what: format!("cannot be read: {error}") }),
        }
    };
    let (cert, key) = (pem(&files.cert)?, pem(&files.key)?);
    Certified::parse((&cert.0, &cert.1), (&key.0, &key.1))
}

/// Reads the certificates again whenever one of their files changes, as renewals do. A file that cannot be used leaves
/// what is served, with a line in the log.
pub async fn follow(live: Arc<Live>, certificates: Arc<LiveCertificates>, metrics: Arc<Metrics>) {
    let mut known = Modified::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let config = live.load().table.config().clone();
        let named = config.domains.values().filter_map(|domain| domain.certificate.as_deref()).cloned().collect();
        match renewed(&mut known, named, move || read(&config)).await {
            None => {}
            Some(Ok(renewed)) => {
                metrics.set_certificates(renewed.iter().map(|(host, one)| (host, one.not_after())).collect());
                certificates.publish(renewed);
                tracing::info!("certificates were read again: a file changed");
            }
            Some(Err(problems)) => {
                for problem in problems {
                    tracing::error!("a renewed certificate cannot be used, the old one serves on: {problem}");
                }
            }
        }
    }
}

/// As [`follow`], for the one certificate of the admin listener.
pub async fn follow_one(files: Certificate, certificate: Arc<LiveCertificate>) {
    let mut known = modified(std::slice::from_ref(&files));
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let again = files.clone();
        match renewed(&mut known, vec![files.clone()], move || read_one(&again)).await {
            None => {}
            Some(Ok(renewed)) => {
                certificate.publish(renewed);
                tracing::info!("the certificate of the admin API was read again: a file changed");
            }
            Some(Err(problem)) => {
                tracing::error!(
                    "the renewed certificate of the admin API cannot be used, the old one serves on: {problem}"
                );
            }
        }
    }
}

/// When files were last modified; those that cannot be seen are left out.
type Modified = HashMap<PathBuf, SystemTime>;

/// What `read` answers, if a file changed since it was known.
async fn renewed<T: Send + 'static>(
    known: &mut Modified,
    certificates: Vec<Certificate>,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let before = std::mem::take(known);
    let looked = tokio::task::spawn_blocking(move || {
        let now = modified(&certificates);
        let renewed = now.iter().any(|(path, time)| before.get(path).is_some_and(|before| before != time));
        (now, renewed.then(read))
    });
    let (now, read) = looked.await.expect("reading files does not panic");
    *known = now;
    read
}

fn modified(certificates: &[Certificate]) -> Modified {
    let files = certificates.iter().flat_map(|certificate| [&certificate.cert, &certificate.key]);
    files.filter_map(|path| Some((path.clone(), fs::metadata(path).ok()?.modified().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Writes a new certificate with its key, `minutes` after 1970, so that the change shows whatever the clock's steps.
    fn write(files: &Certificate, minutes: u64) {
        let made = rcgen::generate_simple_self_signed(["weir.internal".to_owned()]).unwrap();
        for (path, pem) in [(&files.cert, made.cert.pem()), (&files.key, made.signing_key.serialize_pem())] {
            fs::write(path, pem).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(60 * minutes);
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
    }

    /// The clock runs as fast as nobody waits for anything else.
    #[tokio::test(start_paused = true)]
    async fn a_renewed_certificate_of_the_admin_listener_is_served_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = Certificate { cert: folder.path().join("crt"), key: folder.path().join("key") };
        write(&files, 1);
        let live = Arc::new(LiveCertificate::new(read_one(&files).unwrap()));
        let first = live.current();
        let followed = tokio::spawn(follow_one(files.clone(), Arc::clone(&live)));
        tokio::time::sleep(2 * LOOK_EVERY).await;
        assert!(Arc::ptr_eq(&first, &live.current()), "nothing changed");
        write(&files, 2);
        tokio::time::sleep(2 * LOOK_EVERY).await;
        let second = live.current();
        assert!(!Arc::ptr_eq(&first, &second));
        fs::write(&files.cert, "-").unwrap();
        tokio::time::sleep(2 * LOOK_EVERY).await;
        assert!(Arc::ptr_eq(&second, &live.current()), "what cannot be used leaves what is served");
        write(&files, 3);
        tokio::time::sleep(2 * LOOK_EVERY).await;
        assert!(!Arc::ptr_eq(&second, &live.current()));
        followed.abort();
    }
}
