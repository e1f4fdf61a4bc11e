//! TLS: certificates by server name, swapped while running.
//!
//! TLS 1.2 and 1.3 by rustls with aws-lc-rs; ALPN offers `h2` and `http/1.1`; session tickets rotate every six hours. A client
//! that asks for a name without a certificate is refused with `unrecognized_name` (RFC 6066, section 3), and so is one that
//! asks for no name, unless there is a default certificate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use imbl::HashMap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::extensions::GeneralName;

use super::{ClientProtocol, Refusal, Tls};

/// Settings for TLS 1.3 and 1.2 with these certificates and protocols (RFC 7301).
fn settings(certificates: Arc<dyn ResolvesServerCert>, protocols: &[&str]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

/// Settings for listeners that share `certificates`.
///
/// # Errors
/// When the system has no randomness for ticket keys.
pub fn server_config(certificates: Arc<LiveCertificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = settings(certificates, &["h2", "http/1.1"])?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Settings for a listener of HTTP/1.1 that has one certificate for every name.
///
/// # Errors
/// When the crypto provider lacks a version of TLS.
pub fn server_config_of_one(certificate: Arc<LiveCertificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
    settings(certificate, &["http/1.1"]).map(Arc::new)
}

/// The certificates in use: new handshakes see a swap at once, connections keep what they have.
#[derive(Debug, Default)]
pub struct LiveCertificates(ArcSwap<Certificates>);

impl LiveCertificates {
    /// Replaces all of them.
    pub fn publish(&self, certificates: Certificates) {
        self.0.store(Arc::new(certificates));
    }

    /// Those in use now.
    #[must_use]
    pub fn current(&self) -> Arc<Certificates> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for LiveCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        let certified = match hello.server_name() {
            None => certificates.without_name(),
            Some(name) => certificates.find(&name.to_ascii_lowercase()).or_else(|| certificates.for_unknown_name()),
        };
        certified.map(|certified| Arc::clone(&certified.key))
    }
}

/// The one certificate of a listener, as [`LiveCertificates`].
#[derive(Debug)]
pub struct LiveCertificate(ArcSwap<Certified>);

impl LiveCertificate {
    /// In use from the first handshake on.
    #[must_use]
    pub fn new(certified: Arc<Certified>) -> Self {
        Self(ArcSwap::new(certified))
    }

    /// Replaces it.
    pub fn publish(&self, certified: Arc<Certified>) {
        self.0.store(certified);
    }

    /// The one in use now.
    #[must_use]
    pub fn current(&self) -> Arc<Certified> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for LiveCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

/// Certificates by host. A clone shares what is not changed.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    exact: HashMap<Box<str>, Arc<Certified>>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Arc<Certified>>,
    default: Option<Arc<Certified>>,
    default_for_unknown: bool,
}

impl Certificates {
    /// Serves `host`, which is lower case, or every host below it when it starts with `*.`. Answers what it had before.
    pub fn insert(&mut self, host: &str, certified: Arc<Certified>) -> Option<Arc<Certified>> {
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcard.insert(suffix.into(), certified),
            None => self.exact.insert(host.into(), certified),
        }
    }

    /// Ends what [`insert`](Self::insert) began, and answers it.
    pub fn remove(&mut self, host: &str) -> Option<Arc<Certified>> {
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcard.remove(suffix),
            None => self.exact.remove(host),
        }
    }

    /// Serves clients that name no host, or no longer. Answers what they had before.
    pub fn set_default(&mut self, certified: Option<Arc<Certified>>) -> Option<Arc<Certified>> {
        std::mem::replace(&mut self.default, certified)
    }

    /// Shows the default certificate to clients that name an unknown host too, or no longer.
    pub fn set_default_for_unknown(&mut self, is_for_unknown: bool) {
        self.default_for_unknown = is_for_unknown;
    }

    /// The certificate for clients that name no host.
    #[must_use]
    pub fn without_name(&self) -> Option<&Arc<Certified>> {
        self.default.as_ref()
    }

    /// The certificate for clients that name an unknown host.
    #[must_use]
    pub fn for_unknown_name(&self) -> Option<&Arc<Certified>> {
        self.default.as_ref().filter(|_| self.default_for_unknown)
    }

    /// The certificate that was inserted for this very host pattern.
    #[must_use]
    pub fn own(&self, host: &str) -> Option<&Arc<Certified>> {
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcard.get(suffix),
            None => self.exact.get(host),
        }
    }

    /// The certificate for a host: its own, else the one of the nearest wildcard above it.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&Arc<Certified>> {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.exact.get(host).or_else(|| {
            let mut rest = host;
            while let Some((_, suffix)) = rest.split_once('.') {
                if let Some(certified) = self.wildcard.get(suffix) {
                    return Some(certified);
                }
                rest = suffix;
            }
            None
        })
    }
}

/// A certificate chain with the key that belongs to it.
pub struct Certified {
    key: Arc<CertifiedKey>,
    /// DNS names of the leaf, lower case; may start with `*.`.
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct CertificateProblem {
    /// The file as it was named.
    pub file: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Certified {
    /// Reads chain and key from PEM texts; the file names are for the errors.
    ///
    /// # Errors
    /// The first thing that makes them unusable. An expired certificate is usable: see [`warnings`](Self::warnings).
    pub fn parse(
        (cert_file, cert): (&str, &[u8]),
        (key_file, key): (&str, &[u8]),
    ) -> Result<Arc<Self>, CertificateProblem> {
        let problem = |file: &str, what: String| CertificateProblem { file: file.into(), what };
        let in_cert = |what: String| problem(cert_file, what);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|error| in_cert(format!("not readable as PEM: {error}")))?;
        let leaf = chain.first().ok_or_else(|| {
            in_cert("holds no certificate; expected PEM sections `-----BEGIN CERTIFICATE-----`, leaf first".into())
        })?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|error| in_cert(format!("its first certificate is not X.509: {error}")))?;
        let names = dns_names(&parsed);
        let (not_before, not_after) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let found = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                problem(key_file, "holds no private key; expected an unencrypted PKCS#8, PKCS#1 or SEC1 section".into())
            }
            error => problem(key_file, format!("not readable as PEM: {error}")),
        });
        let key = found.map_err(|error| if is_encrypted(key) { problem(key_file, ENCRYPTED.into()) } else { error })?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                problem(key_file, format!("is not the key of the first certificate in {cert_file}"))
            }
            rustls::Error::InvalidCertificate(error) => in_cert(format!("its first certificate is invalid: {error:?}")),
            error => problem(key_file, format!("cannot be used: {error}")),
        })?;
        Ok(Arc::new(Self { key: Arc::new(key), names, not_before, not_after }))
    }

    /// Tells if it is the same chain of certificates, which has the same key.
    #[must_use]
    pub fn has_same_chain(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// End of its validity, in seconds since 1970 (negative before).
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// What clients may complain about when `host` (a host, or `*.` and a host) is served with it. `now` is since 1970.
    #[must_use]
    pub fn warnings(&self, host: &str, now: Duration) -> Vec<String> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut warnings = Vec::new();
        if now > self.not_after {
            warnings.push(format!("the certificate expired {}", days(now - self.not_after, "ago")));
        }
        if now < self.not_before {
            warnings.push(format!("the certificate is not valid yet, but in {}", days(self.not_before - now, "")));
        }
        if !self.names.iter().any(|name| covers(name, host)) {
            let names = if self.names.is_empty() { "nothing".into() } else { self.names.join(", ") };
            warnings.push(format!("the certificate is not for {host}: it names {names}"));
        }
        warnings
    }
}

/// The message about a key that is protected by a passphrase.
const ENCRYPTED: &str = "the private key is encrypted; expected one without a passphrase: \
                         `openssl pkey -in ENCRYPTED -out PLAIN` writes it";

/// Tells if a PEM text holds an encrypted key: of PKCS#8 (RFC 5958), or in the older form of OpenSSL (RFC 1421, 4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(pem, mark).is_some();
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

fn dns_names(leaf: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

/// Whether a certificate's name is good for a host pattern; `*` stands for one label (RFC 6125, section 6.4.3).
fn covers(name: &str, host: &str) -> bool {
    name == host || name.strip_prefix("*.").is_some_and(|parent| host.split_once('.').is_some_and(|(_, p)| p == parent))
}

fn days(seconds: i64, ago: &str) -> String {
    let days = seconds / 86_400;
    let unit = if days == 1 { "day" } else { "days" };
    format!("{days} {unit} {ago}").trim_end().into()
}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certified")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Makes the handshake on a fresh connection.
///
/// # Errors
/// The refusal to count; the client has been told by an alert as far as it listens.
pub(super) async fn accept(
    tcp: TcpStream,
    config: &Arc<ServerConfig>,
) -> Result<(TlsStream<TcpStream>, Tls, ClientProtocol), Refusal> {
    /// A fatal alert `unrecognized_name` (RFC 8446, sections 5.1 and 6): rustls would say `access_denied`.
    const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.map_err(|_| Refusal::Handshake)?;
    if config.cert_resolver.resolve(start.client_hello()).is_none() {
        // The client left, if this fails.
        let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
        let _ = start.io.shutdown().await;
        return Err(Refusal::UnknownServerName);
    }
    let stream = start.into_stream(Arc::clone(config)).await.map_err(|_| Refusal::Handshake)?;
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => ClientProtocol::Http2,
        _ => ClientProtocol::Http1,
    };
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("");
    let sni = session.server_name().unwrap_or_default().to_ascii_lowercase();
    let sni = sni.strip_suffix('.').unwrap_or(&sni);
    let tls = Tls { sni: sni.into(), version, cipher };
    Ok((stream, tls, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chain and key in PEM for some names.
    fn pem(names: &[&str], valid: std::ops::Range<i32>) -> (String, String) {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(valid.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(valid.end, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn parse(cert: &str, key: &str) -> Result<Arc<Certified>, CertificateProblem> {
        Certified::parse(("shop.crt", cert.as_bytes()), ("shop.key", key.as_bytes()))
    }

    /// Seconds from 1970 to the first of January.
    fn year(year: u64) -> Duration {
        let leap_days = (year - 1969) / 4;
        Duration::from_secs(((year - 1970) * 365 + leap_days) * 86_400)
    }

    #[test]
    fn what_is_wrong_is_said_with_its_file() {
        let (cert, key) = pem(&["a.example"], 2020..2030);
        let (_, other_key) = pem(&["a.example"], 2020..2030);
        let base64 = "MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49";
        let section =
            |kind: &str, head: &str| format!("-----BEGIN {kind}-----\n{head}{base64}\n-----END {kind}-----\n");
        let encrypted_pkcs8 = section("ENCRYPTED PRIVATE KEY", "");
        let dek = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0F8DB6AD68DB54D5DF7E1B7E5A3A5C9B\n\n";
        let encrypted_sec1 = section("EC PRIVATE KEY", dek);
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let table = [
            (cert.as_str(), other_key.as_str(), "shop.key: is not the key of the first certificate in shop.crt"),
            ("", key.as_str(), "shop.crt: holds no certificate; expected"),
            ("hello", key.as_str(), "shop.crt: holds no certificate; expected"),
            (key.as_str(), key.as_str(), "shop.crt: holds no certificate; expected"),
            (garbage, key.as_str(), "shop.crt: its first certificate is not X.509: "),
            ("-----BEGIN CERTIFICATE-----\nAAAA", key.as_str(), "shop.crt: not readable as PEM: "),
            (cert.as_str(), cert.as_str(), "shop.key: holds no private key; expected"),
            (cert.as_str(), "", "shop.key: holds no private key; expected"),
            (
                cert.as_str(),
                &encrypted_pkcs8,
                "shop.key: the private key is encrypted; expected one without a passphrase",
            ),
            (
                cert.as_str(),
                &encrypted_sec1,
                "shop.key: the private key is encrypted; expected one without a passphrase",
            ),
        ];
        for (cert, key, expected) in table {
            let problem = parse(cert, key).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn validity_and_names_are_warned_about() {
        let (cert, key) = pem(&["a.example", "*.b.example"], 2020..2030);
        let certified = parse(&cert, &key).unwrap();
        assert_eq!(certified.not_after(), year(2030).as_secs() as i64);
        for host in ["a.example", "x.b.example", "*.b.example"] {
            assert_eq!(certified.warnings(host, year(2025)), Vec::<String>::new(), "{host}");
        }
        for host in ["b.example", "x.y.b.example", "*.a.example", "c.example"] {
            let expected = format!("the certificate is not for {host}: it names a.example, *.b.example");
            assert_eq!(certified.warnings(host, year(2025)), [expected]);
        }
        assert_eq!(certified.warnings("a.example", year(2031)), ["the certificate expired 365 days ago"]);
        assert_eq!(certified.warnings("a.example", year(2019)), ["the certificate is not valid yet, but in 365 days"]);
    }

    #[test]
    fn the_nearest_certificate_is_found() {
        let (cert, key) = pem(&["a"], 2020..2030);
        let [exact, wide, wider] = [(); 3].map(|()| parse(&cert, &key).unwrap());
        let mut certificates = Certificates::default();
        certificates.insert("shop.example.com", Arc::clone(&exact));
        certificates.insert("*.example.com", Arc::clone(&wide));
        certificates.insert("*.com", Arc::clone(&wider));
        let table = [
            ("shop.example.com", Some(&exact)),
            ("shop.example.com.", Some(&exact)),
            ("other.example.com", Some(&wide)),
            ("a.b.example.com", Some(&wide)),
            ("below.shop.example.com", Some(&wide)),
            ("example.com", Some(&wider)),
            ("com", None),
            ("", None),
            ("example.org", None),
        ];
        for (host, expected) in table {
            let found = certificates.find(host);
            assert!(found.map(Arc::as_ptr) == expected.map(Arc::as_ptr), "{host}");
        }
        assert!(Arc::ptr_eq(&certificates.remove("*.example.com").unwrap(), &wide));
        assert!(Arc::ptr_eq(certificates.find("other.example.com").unwrap(), &wider));
    }
}
