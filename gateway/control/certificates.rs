//! Certificates of domains: read when a domain names others, and again when their files change.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::model::{Certificate, Config};
use config::problem::Problem;

use crate::clock;
use crate::edge::tls::{Certificates, Certified, LiveCertificates};
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
            Err(what) => {
                problems.push(Problem::error(&path, what));
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

fn read_one(certificate: &Certificate) -> Result<Arc<Certified>, String> {
    let file = |path: &Path| {
        let name = path.display().to_string();
        fs::read(path).map(|pem| (name.clone(), pem)).map_err(|error| format!("cannot read {name}: {error}"))
    };
    let (cert, key) = (file(&certificate.cert)?, file(&certificate.key)?);
    Certified::parse((&cert.0, &cert.1), (&key.0, &key.1)).map_err(|problem| problem.to_string())
}

/// Reads the certificates again whenever one of their files changes, as renewals do. A file that cannot be used leaves
/// what is served, with a line in the log.
pub async fn follow(live: Arc<Live>, certificates: Arc<LiveCertificates>, metrics: Arc<Metrics>) {
    let mut known = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let config = live.load().table.config().clone();
        let (looked, changed) = tokio::task::spawn_blocking(move || {
            let now = modified(&config);
            let renewed = now.iter().any(|(path, time)| known.get(path).is_some_and(|before| before != time));
            (now, renewed.then(|| read(&config)))
        })
        .await
        .expect("reading files does not panic");
        known = looked;
        match changed {
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

/// When each file was last modified; files that cannot be seen are left out.
fn modified(config: &Config) -> HashMap<std::path::PathBuf, SystemTime> {
    let named = config.domains.values().filter_map(|domain| domain.certificate.as_ref());
    named
        .flat_map(|certificate| [&certificate.cert, &certificate.key])
        .filter_map(|path| Some((path.clone(), fs::metadata(path).ok()?.modified().ok()?)))
        .collect()
}
