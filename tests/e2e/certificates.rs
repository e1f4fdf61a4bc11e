//! Certificate files that cannot be used, that change, and that are not named.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::kit::api::Api;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::Endpoint;
use crate::kit::eventually;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder, run};

const A: &str = "a.example.com";
const B: &str = "b.example.com";

/// A function behind hosts that each have the certificate of this name in the file's folder.
fn live(endpoint: &Endpoint, domains: &[(&str, &str)]) -> String {
    let domain = |(host, name): &(&str, &str)| format!("  {host}: {}\n", domain(name));
    format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{}'}}\n    aliases: {{prod: 1}}\ndomains:\n{}",
        endpoint.address,
        domains.iter().map(domain).collect::<String>()
    )
}

fn domain(name: &str) -> String {
    format!("{{certificate: {{cert: {name}.crt, key: {name}.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}")
}

/// Hosts `a` and `b`, each with its certificate.
struct Two {
    weir: Weir,
    endpoint: Endpoint,
    a: Certificate,
    b: Certificate,
}

impl Two {
    async fn start() -> Self {
        let (folder, endpoint) = (folder(), Endpoint::start("v1").await);
        let (a, b) = (Certificate::new(A), Certificate::new(B));
        a.write(folder.path(), "a");
        b.write(folder.path(), "b");
        let weir = Weir::start_in(folder, PROCESS_TLS, &live(&endpoint, &[(A, "a"), (B, "b")])).await;
        let two = Self { weir, endpoint, a, b };
        assert_eq!(two.weir.shows(A, &two.a).await, Shown::Trusted);
        assert_eq!(two.weir.shows(B, &two.b).await, Shown::Trusted);
        two
    }

    fn folder(&self) -> &Path {
        self.weir.folder.path()
    }
}

/// A text in which files of this folder, which are told by their whole paths, have their names alone.
fn short(folder: &Path, text: &str) -> String {
    text.replace(&format!("{}/", folder.display()), "")
}

/// The outcome of a handshake, for a client that trusts one certificate.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Trusted,
    Another,
    /// The alert `unrecognized_name`.
    Refused,
}

impl Weir {
    fn secure(&self) -> SocketAddr {
        self.https.expect("these files have a TLS listener")
    }

    async fn shows(&self, host: &str, certificate: &Certificate) -> Shown {
        let stream = TcpStream::connect(self.secure()).await.expect("the gateway listens");
        let name = ServerName::try_from(host.to_owned()).expect("a test's host is a name");
        let handshake = TlsConnector::from(certificate.client(&[])).connect(name, stream);
        match crate::kit::within("a handshake", handshake).await {
            Ok(_) => Shown::Trusted,
            Err(error) if error.to_string().contains("UnrecognisedName") => Shown::Refused,
            Err(error) if error.to_string().contains("certificate") => Shown::Another,
            Err(error) => panic!("{host}: {error}"),
        }
    }

    /// Waits until clients of this host see this certificate.
    async fn serves(&self, host: &str, certificate: &Certificate) {
        let served = async || (self.shows(host, certificate).await == Shown::Trusted).then_some(());
        eventually(&format!("the new certificate of {host} is served"), served).await;
    }

    async fn unusable(&self) -> Vec<Value> {
        self.ask("/v1/status").await.json()["unusable"].as_array().expect("a list").clone()
    }

    /// Waits until exactly these are named as unusable, each with a part of its reason.
    async fn names_unusable(&self, expected: &[(&str, &str)]) {
        let told = async || {
            let status = self.ask("/v1/status").await.json();
            let found = status["unusable"].as_array()?.clone();
            let fits = |(thing, (name, reason)): (&Value, &(&str, &str))| {
                thing["kind"] == "certificate"
                    && thing["name"] == *name
                    && thing["reason"].as_str().is_some_and(|told| short(self.folder.path(), told).contains(reason))
            };
            (found.len() == expected.len() && found.iter().zip(expected).all(fits)).then_some(())
        };
        eventually(&format!("the status names {expected:?}"), told).await;
        let metric = async || {
            let number = self.metric("weir_unusable", &[("kind", "certificate")]).await?;
            (number == expected.len() as f64).then_some(())
        };
        eventually(&format!("the metric says {}", expected.len()), metric).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_certificate_keeps_no_gateway_from_starting() {
    let (folder, endpoint) = (folder(), Endpoint::start("v1").await);
    let (a, b) = (Certificate::new(A), Certificate::new(B));
    a.write(folder.path(), "a");
    b.write(folder.path(), "b");
    fs::write(folder.path().join("b.key"), &a.key).unwrap();
    let domains = [(A, "a"), (B, "b"), ("c.example.com", "c")];
    let weir = Weir::start_in(folder, PROCESS_TLS, &live(&endpoint, &domains)).await;
    assert_eq!(weir.shows(A, &a).await, Shown::Trusted, "from the first handshake on");
    assert_eq!(weir.shows(B, &b).await, Shown::Refused);
    assert_eq!(weir.shows("c.example.com", &b).await, Shown::Refused);
    for host in [A, B, "c.example.com"] {
        assert_eq!(get(weir.http, host, "/").await.text(), "v1", "{host} without TLS");
    }
    weir.names_unusable(&[
        (B, "b.key: is not the key of the first certificate in b.crt; TLS is refused"),
        ("c.example.com", "c.crt: cannot be read: No such file"),
    ])
    .await;
    let text = short(weir.folder.path(), &weir.told(&["status"]).await);
    assert!(text.contains("UNUSABLE  certificate of b.example.com: b.key: is not the key of"), "{text}");
    let ready = weir.ask("/ready").await.text();
    let named = "- certificate b.example.com\n- certificate c.example.com\n";
    assert_eq!(ready, format!("ready\n2 things cannot be used: see /v1/status\n{named}"));
    // Looks go on; the log says it once.
    b.write(weir.folder.path(), "b");
    weir.serves(B, &b).await;
    weir.names_unusable(&[("c.example.com", "No such file")]).await;
    let times = |part: &str| weir.log().lines().filter(|line| line.contains(part)).count();
    assert_eq!((times("certificate of b.example.com cannot"), times("certificate of c.example.com cannot")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_broke_while_the_gateway_was_down_takes_down_its_domain_alone() {
    let Two { weir, endpoint, a, b } = Two::start().await;
    let folder = weir.stopped().await;
    fs::write(folder.path().join("a.crt"), "rubbish").unwrap();
    let file = folder.path().join("weir.yaml");
    let weir = Weir::start_file(folder, &file, PROCESS_TLS).await;
    assert_eq!(weir.shows(B, &b).await, Shown::Trusted);
    assert_eq!(weir.shows(A, &a).await, Shown::Refused);
    assert_eq!(get(weir.http, A, "/").await.text(), "v1");
    weir.names_unusable(&[(A, "a.crt: holds no certificate")]).await;
    a.write(weir.folder.path(), "a");
    weir.serves(A, &a).await;
    weir.names_unusable(&[]).await;
    drop(endpoint);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_certificate_stops_the_renewal_of_no_other() {
    let two = Two::start().await;
    fs::write(two.folder().join("a.key"), "rubbish").unwrap();
    two.weir.names_unusable(&[(A, "a.key: holds no private key")]).await;
    let renewed = Certificate::new(B);
    renewed.write(two.folder(), "b");
    two.weir.serves(B, &renewed).await;
    assert_eq!(two.weir.shows(A, &two.a).await, Shown::Trusted, "the last good pair serves on");
    let reason = two.weir.unusable().await[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("; the last good one is served"), "{reason}");
    // A change is not refused for what another one broke.
    two.weir.edit(&live(&two.endpoint, &[(A, "a"), (B, "b"), ("d.example.com", "b")]));
    two.weir.lives("d.example.com").await;
    two.a.write(two.folder(), "a");
    two.weir.names_unusable(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_files_are_found_however_they_were_replaced() {
    let two = Two::start().await;
    // At once after the start, in place.
    let second = Certificate::new(A);
    second.write(two.folder(), "a");
    two.weir.serves(A, &second).await;
    // Away for a while, longer than looks are apart.
    for name in ["a.crt", "a.key"] {
        fs::remove_file(two.folder().join(name)).unwrap();
    }
    two.weir.names_unusable(&[(A, "a.crt: cannot be read")]).await;
    assert_eq!(two.weir.shows(A, &second).await, Shown::Trusted);
    let third = Certificate::new(A);
    third.write(two.folder(), "a");
    two.weir.serves(A, &third).await;
    two.weir.names_unusable(&[]).await;
    // One file long before the other.
    let fourth = Certificate::new(A);
    fs::write(two.folder().join("a.crt"), &fourth.cert).unwrap();
    two.weir.names_unusable(&[(A, "a.key: is not the key of the first certificate")]).await;
    assert_eq!(two.weir.shows(A, &third).await, Shown::Trusted, "until both fit");
    fs::write(two.folder().join("a.key"), &fourth.key).unwrap();
    two.weir.serves(A, &fourth).await;
    two.weir.names_unusable(&[]).await;
    assert_eq!(two.weir.shows(B, &two.b).await, Shown::Trusted);
}

/// Mounted secrets and certbot renew so: the files are links, and what they lead to changes.
#[tokio::test(flavor = "multi_thread")]
async fn renewed_files_are_found_behind_links() {
    let (folder, endpoint) = (folder(), Endpoint::start("v1").await);
    let (first, second) = (Certificate::new(A), Certificate::new(A));
    for (name, certificate) in [("one", &first), ("two", &second)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        certificate.write(&folder.path().join(name), "tls");
    }
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
    link("one", "data");
    link("data/tls.crt", "a.crt");
    link("data/tls.key", "a.key");
    link("two", "next");
    let weir = Weir::start_in(folder, PROCESS_TLS, &live(&endpoint, &[(A, "a")])).await;
    assert_eq!(weir.shows(A, &first).await, Shown::Trusted);
    fs::rename(weir.folder.path().join("next"), weir.folder.path().join("data")).unwrap();
    weir.serves(A, &second).await;
    let third = Certificate::new(A);
    third.write(&weir.folder.path().join("two"), "tls");
    weir.serves(A, &third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_refused_for_the_files_that_it_names() {
    let two = Two::start().await;
    let made = Command::new("mkfifo").arg(two.folder().join("fifo.crt")).status();
    assert!(made.unwrap().success());
    fs::copy(two.folder().join("a.key"), two.folder().join("fifo.key")).unwrap();
    fs::copy(two.folder().join("a.crt"), two.folder().join("mixed.crt")).unwrap();
    fs::copy(two.folder().join("b.key"), two.folder().join("mixed.key")).unwrap();
    let mut api = Api::of(&two.weir).await;
    let whole = |name: &str| {
        let named = |kind: &str| two.folder().join(format!("{name}.{kind}")).display().to_string();
        domain(name).replace(&format!("{name}.crt"), &named("crt")).replace(&format!("{name}.key"), &named("key"))
    };
    let zero = domain("none").replace("none.crt", "/dev/zero").replace("none.key", "/none.key");
    for (body, reason) in [
        (domain("a"), "`a.crt` is a relative name, and a text that comes by the API is in no folder"),
        (domain("a"), "name the file whole, such as `"),
        (whole("fifo"), "fifo.crt: is a FIFO; expected a regular file"),
        (zero, "/dev/zero: is a device; expected a regular file"),
        (whole("mixed"), "mixed.key: is not the key of the first certificate in mixed.crt"),
        (whole("none"), "none.crt: cannot be read: No such file"),
    ] {
        let answer = api.call("PUT", "/v1/domains/new.example.com", &body).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(short(two.folder(), &answer.text()).contains(reason), "{reason}: {}", answer.text());
        assert_eq!(two.weir.ask("/live").await.text(), "live\n");
    }
    assert_eq!(two.weir.unusable().await, Vec::<Value>::new(), "nothing of it is live");
    let answer = api.call("PUT", "/v1/domains/new.example.com", whole("a")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(two.weir.shows("new.example.com", &two.a).await, Shown::Another, "live when the answer is there");
    let text = live(&two.endpoint, &[(A, "mixed"), (B, "b")]);
    fs::write(two.folder().join("other.yaml"), two.weir.text_of(&text)).unwrap();
    let (code, _, stderr) = two.weir.cli(&["apply", "other.yaml"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("`mixed.crt` is a relative name") && stderr.contains("other.yaml:"), "{stderr}");
    let mixed = two.folder().join("mixed").display().to_string();
    fs::write(two.folder().join("other.yaml"), two.weir.text_of(&text.replace("mixed", &mixed))).unwrap();
    let (code, _, stderr) = two.weir.cli(&["apply", "other.yaml"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("mixed.key: is not the key") && stderr.contains("other.yaml:"), "{stderr}");
    assert_eq!(two.weir.shows(A, &two.a).await, Shown::Trusted);
}

/// A FIFO in the place of a file is never opened: the gateway answers, renews others and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_a_fifo_blocks_nothing() {
    let two = Two::start().await;
    fs::remove_file(two.folder().join("a.crt")).unwrap();
    assert!(Command::new("mkfifo").arg(two.folder().join("a.crt")).status().unwrap().success());
    two.weir.names_unusable(&[(A, "a.crt: is a FIFO")]).await;
    let renewed = Certificate::new(B);
    renewed.write(two.folder(), "b");
    two.weir.serves(B, &renewed).await;
    assert_eq!(two.weir.ask("/live").await.text(), "live\n");
    two.weir.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_name_no_host_get_the_default_certificate() {
    let two = Two::start().await;
    let own = Certificate::new("127.0.0.1");
    own.write(two.folder(), "own");
    assert_eq!(two.weir.shows("127.0.0.1", &own).await, Shown::Refused);
    let text = live(&two.endpoint, &[(A, "a"), (B, "b")]);
    two.weir.edit(&format!("default_certificate: {{cert: own.crt, key: own.key}}\n{text}"));
    two.weir.lives("default_certificate").await;
    let mut client = Client::connect_tls(two.weir.secure(), "127.0.0.1", own.client(&["http/1.1"])).await;
    // A client that names no host in its handshake names one in its request, and is not sent elsewhere for that.
    assert_eq!(client.get(A, "/").await.text(), "v1");
    assert_eq!(two.weir.shows("nobody.example.com", &own).await, Shown::Refused);
    let renewed = Certificate::new("127.0.0.1");
    renewed.write(two.folder(), "own");
    two.weir.serves("127.0.0.1", &renewed).await;
    fs::write(two.folder().join("own.key"), "rubbish").unwrap();
    two.weir.names_unusable(&[("default_certificate", "own.key: holds no private key")]).await;
    assert_eq!(two.weir.shows("127.0.0.1", &renewed).await, Shown::Trusted);
    renewed.write(two.folder(), "own");
    two.weir.names_unusable(&[]).await;
    two.weir.edit(&format!("default_certificate: {{cert: own.crt, key: own.key, unknown_names: true}}\n{text}"));
    two.weir.lives("unknown_names").await;
    assert_eq!(two.weir.shows("nobody.example.com", &renewed).await, Shown::Another);
    two.weir.edit(&text);
    let gone = async || (two.weir.shows("127.0.0.1", &renewed).await == Shown::Refused).then_some(());
    eventually("nobody is shown a default certificate", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_reads_the_certificates_that_are_there() {
    let folder = folder();
    let (a, b) = (Certificate::new(A), Certificate::new(B));
    a.write(folder.path(), "a");
    fs::write(folder.path().join("mixed.crt"), &a.cert).unwrap();
    fs::write(folder.path().join("mixed.key"), &b.key).unwrap();
    let file = |name: &str| {
        let text = format!(
            "listeners: [{{address: '127.0.0.1:0', tls: true}}]\nfunctions:\n  shop:\n    versions: {{1: 'http://127.0.0.1:1'}}\n    \
             aliases: {{prod: 1}}\ndomains:\n  {A}: {}\n",
            domain(name)
        );
        fs::write(folder.path().join("weir.yaml"), text).unwrap();
    };
    file("a");
    let (code, stdout, stderr) = run(folder.path(), &["validate", "--strict"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    file("mixed");
    let (code, _, stderr) = run(folder.path(), &["validate"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    let stderr = short(folder.path(), &stderr);
    assert!(stderr.contains("error: mixed.key: is not the key of the first certificate in mixed.crt"), "{stderr}");
    assert!(stderr.contains("--> weir.yaml:7:"), "{stderr}");
    // On a build machine the gateway's files are not there.
    file("none");
    let (code, _, stderr) = run(folder.path(), &["validate"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let stderr = short(folder.path(), &stderr);
    assert!(stderr.contains("warning: none.crt cannot be read here, so it was not checked"), "{stderr}");
    assert_eq!(run(folder.path(), &["validate", "--strict"]).await.0, Some(3));
}
