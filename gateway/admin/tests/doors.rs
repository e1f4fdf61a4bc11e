//! Where the API listens, and what that asks of its callers.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use config::model::AdminListener;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;

use super::support::{Api, exchange, request};
use crate::admin::Listener;
use crate::edge::tls::{Certified, LiveCertificate, server_config_of_one};

#[tokio::test]
async fn off_this_machine_reads_need_a_viewer_and_probes_nothing() {
    let open = AdminListener::Tcp { address: "0.0.0.0:0".parse().unwrap(), tls: None, insecure: true };
    let api = Api::start_at(&open).await;
    for path in ["/v1/functions", "/v1/status", "/v1/config", "/v1/journal"] {
        api.get(path).await.refuses(401, "Unauthorized");
    }
    let viewer = format!("Bearer {}", api.viewer);
    let named = [("authorization", &*viewer), ("host", "weir.internal:9900")];
    api.ask("GET", "/v1/functions", &named, "").await.is(200);
    api.get("/ready").await.is(200);
    api.get("/v1/openapi.json").await.is(200);
}

#[tokio::test]
async fn a_unix_socket_is_for_its_owner_and_goes_with_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a process that was killed leaves it behind");
    let at = AdminListener::Socket(path.clone());
    let api = Api::start_at(&at).await;
    assert_eq!(api.place, format!("unix:{}", path.display()));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let stream = UnixStream::connect(&path).await.unwrap();
    exchange(stream, &request("GET", "/v1/functions", &[], "")).await.is(200);
    let stream = UnixStream::connect(&path).await.unwrap();
    exchange(stream, &request("PUT", "/v1/functions/new", &[], "")).await.refuses(401, "Unauthorized");
    let Err(error) = Listener::open(&at, None) else { panic!("the socket was taken from who listens") };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let file = folder.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    assert!(Listener::open(&AdminListener::Socket(file.clone()), None).is_err());
    assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
    drop(Listener::open(&AdminListener::Socket(folder.path().join("other")), None).unwrap());
    assert!(!folder.path().join("other").exists());
}

#[tokio::test]
async fn a_door_with_a_certificate_speaks_tls_and_nothing_else() {
    let made = rcgen::generate_simple_self_signed(["weir.internal".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let certified = Certified::parse(("crt", cert.as_bytes()), ("key", key.as_bytes())).unwrap();
    let at = AdminListener::at("127.0.0.1:0".parse().unwrap());
    let api = Api::start_on(
        Listener::open(&at, Some(server_config_of_one(Arc::new(LiveCertificate::new(certified))).unwrap())).unwrap(),
    )
    .await;
    let address = api.place.strip_suffix(" (https)").unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("weir.internal").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let tls = TlsConnector::from(Arc::new(client)).connect(name, tcp).await.unwrap();
    exchange(tls, &request("GET", "/v1/functions", &[], "")).await.is(200);

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(request("GET", "/v1/functions", &[], "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // An alert, and the end or a reset.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn drain_is_for_operators() {
    let api = Api::start().await;
    let asked = api.drain.notified();
    api.ask("POST", "/v1/drain", &[], "").await.refuses(401, "Unauthorized");
    api.operate("POST", "/v1/drain", "").await.is(202);
    asked.await;
}
