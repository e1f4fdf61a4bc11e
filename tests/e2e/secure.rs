//! TLS and HTTP/2.

use std::path::Path;

use http::Request;

use crate::HOST;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::h2::H2;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder};

/// One endpoint behind two hosts, each with its certificate `NAME.crt` from the file's folder.
fn live(endpoint: &Endpoint, more: &str) -> String {
    let domain = |host: &str, name: &str| {
        format!(
            "  {host}: {{certificate: {{cert: {name}.crt, key: {name}.key}}, {more}routes: [{{path: /*, to: 'shop:prod'}}]}}\n"
        )
    };
    format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{}'}}\n    aliases: {{prod: 1}}\ndomains:\n{}{}",
        endpoint.address,
        domain(HOST, "shop"),
        domain("'*.api.example.com'", "api")
    )
}

struct Secure {
    weir: Weir,
    endpoint: Endpoint,
    shop: Certificate,
    api: Certificate,
}

impl Secure {
    async fn start(more: &str) -> Self {
        let (folder, endpoint) = (folder(), Endpoint::start("v1").await);
        let (shop, api) = (Certificate::new(HOST), Certificate::new("*.api.example.com"));
        shop.write(folder.path(), "shop");
        api.write(folder.path(), "api");
        let weir = Weir::start_in(folder, PROCESS_TLS, &live(&endpoint, more)).await;
        Self { weir, endpoint, shop, api }
    }

    fn https(&self) -> std::net::SocketAddr {
        self.weir.https.expect("these files have a TLS listener")
    }

    async fn h2(&self) -> H2 {
        H2::connect(self.https(), HOST, self.shop.client(&["h2"])).await
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://{HOST}{path}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_follow_the_name() {
    let secure = Secure::start("").await;
    let mut client = Client::connect_tls(secure.https(), HOST, secure.shop.client(&["http/1.1"])).await;
    assert_eq!(client.get(HOST, "/").await.text(), "v1");
    let head = secure.endpoint.saw("/").await.head;
    assert_eq!(head.field("x-forwarded-proto"), Some("https"));
    let host = "eu.api.example.com";
    let mut client = Client::connect_tls(secure.https(), host, secure.api.client(&["http/1.1"])).await;
    assert_eq!(client.get(host, "/").await.text(), "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_gets_no_handshake() {
    let secure = Secure::start("").await;
    let stream = tokio::net::TcpStream::connect(secure.https()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("nobody.example.org").unwrap();
    let handshake = tokio_rustls::TlsConnector::from(secure.shop.client(&[])).connect(name, stream);
    let error = crate::kit::within("a refusal", handshake).await.expect_err("no certificate fits");
    assert!(error.to_string().contains("UnrecognisedName") || error.to_string().contains("alert"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_is_served_without_a_restart() {
    let secure = Secure::start("").await;
    let mut open = Client::connect_tls(secure.https(), HOST, secure.shop.client(&["http/1.1"])).await;
    assert_eq!(open.get(HOST, "/").await.status, 200);
    let renewed = Certificate::new(HOST);
    renewed.write(secure.weir.folder.path(), "renewed");
    let text = live(&secure.endpoint, "").replace("shop.crt", "renewed.crt").replace("shop.key", "renewed.key");
    secure.weir.edit(&text);
    secure.weir.lives("renewed.crt").await;
    eventually("the new certificate is served", async || {
        let stream = tokio::net::TcpStream::connect(secure.https()).await.ok()?;
        let name = rustls::pki_types::ServerName::try_from(HOST).ok()?;
        tokio_rustls::TlsConnector::from(renewed.client(&[])).connect(name, stream).await.ok()
    })
    .await;
    assert_eq!(open.get(HOST, "/").await.status, 200, "an open connection is not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_requests_are_redirected_where_the_domain_says_so() {
    let secure = Secure::start("https: redirect, ").await;
    let response = get(secure.weir.http, HOST, "/a%20b?c=d").await;
    assert_eq!(response.status, 308);
    let location = response.head.field("location").expect("a redirect says where to");
    assert!(location.starts_with(&format!("https://{HOST}")) && location.ends_with("/a%20b?c=d"), "{location}");
    assert_eq!(secure.endpoint.seen().len(), 0);
    let mut client = Client::connect_tls(secure.https(), HOST, secure.shop.client(&["http/1.1"])).await;
    assert_eq!(client.get(HOST, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_names_the_port_of_its_redirect() {
    for (port, location) in [("443", format!("https://{HOST}/a")), ("8444", format!("https://{HOST}:8444/a"))] {
        let secure = Secure::start(&format!("https: {{redirect: true, port: {port}}}, ")).await;
        let response = get(secure.weir.http, HOST, "/a").await;
        assert_eq!((response.status, response.head.field("location")), (308, Some(&*location)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_may_end_tls() {
    let endpoint = Endpoint::start("v1").await;
    let live = format!(
        "trusted_proxies: [127.0.0.1]\nfunctions: {{shop: {{draft: 'http://{}'}}}}\n\
         domains:\n  {HOST}: {{https: redirect, routes: [{{path: /*, to: shop}}]}}\n",
        endpoint.address
    );
    let weir = Weir::start(&live).await;
    let mut client = Client::connect(weir.http).await;
    for fields in ["", "x-forwarded-proto: http\r\n", "forwarded: for=192.0.2.1;proto=http\r\n"] {
        let response = client.get_with(HOST, "/a", fields).await;
        let location = format!("https://{HOST}/a");
        assert_eq!((response.status, response.head.field("location")), (308, Some(&*location)), "{fields}");
    }
    for fields in
        ["x-forwarded-proto: https\r\n", "x-forwarded-proto: HTTPS\r\n", "forwarded: For=192.0.2.1;Proto=HTTPS\r\n"]
    {
        assert_eq!(client.get_with(HOST, "/a", fields).await.status, 200, "{fields}");
    }
    for seen in endpoint.seen() {
        assert_eq!(seen.head.field("x-forwarded-proto"), Some("https"));
    }
}

/// However the host is spelled: as the certificate's it is served, as another one's it is not.
#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_a_host_is_the_same_host() {
    let secure = Secure::start("").await;
    let mut client = Client::connect_tls(secure.https(), HOST, secure.shop.client(&["http/1.1"])).await;
    for host in ["SHOP.example.com", "shop.example.com.", "shop.example.com.:8443"] {
        assert_eq!(client.get(host, "/").await.status, 200, "{host}");
    }
    for host in ["eu.api.example.com.", "EU.API.example.com", "eu.api.example.com.:8443"] {
        assert_eq!(client.get(host, "/").await.status, 421, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_outside_the_certificate_is_misdirected() {
    let secure = Secure::start("").await;
    let mut client = Client::connect_tls(secure.https(), HOST, secure.shop.client(&["http/1.1"])).await;
    assert_eq!(client.get("eu.api.example.com", "/").await.status, 421);
    assert_eq!(secure.endpoint.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_requests_are_answered() {
    let secure = Secure::start("").await;
    let h2 = secure.h2().await;
    secure.endpoint.on("/echo", Answer::Echo);
    let crumbs = request("GET", "/crumbs").header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
    let answer = h2.request(crumbs, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, &b"v1"[..]));
    assert_eq!(answer.headers["x-weir-version"], "1");
    let head = secure.endpoint.saw("/crumbs").await.head;
    assert_eq!(head.field("host"), Some(HOST));
    assert_eq!(head.field("cookie"), Some("a=1; b=2"), "crumbs are joined for HTTP/1.1 (RFC 9113, 8.2.3)");
    let large = vec![7; 1 << 20];
    let answer = h2.request(request("POST", "/echo").body(()).unwrap(), &[&large[..400_000], &large[400_000..]]).await;
    assert!(answer.body == large, "the echo differs");
}

/// A body over HTTP/2 that ends in an empty DATA frame must give the endpoint one chunked terminator, not two: the
/// second would be read as the start of the next request (cloudflare/pingora issue 935).
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_data_frame_gives_one_terminator() {
    let secure = Secure::start("").await;
    let h2 = secure.h2().await;
    for (path, frames) in [
        ("/body", &[&b"abc"[..], b""][..]),
        ("/only-empty", &[b""]),
        ("/two-empty", &[b"abc", b"", b""]),
        ("/none", &[]),
    ] {
        let answer = h2.request(request("POST", path).body(()).unwrap(), frames).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        let seen = secure.endpoint.saw(path).await;
        let text = String::from_utf8_lossy(&seen.body.raw).into_owned();
        if seen.head.field("transfer-encoding").is_some() {
            assert!(text.ends_with("0\r\n\r\n"), "{path}: {text:?}");
            assert_eq!(text.matches("0\r\n\r\n").count(), 1, "{path}: {text:?}");
        } else {
            assert_eq!(seen.head.field("content-length").unwrap_or("0"), seen.body.bytes.len().to_string(), "{path}");
        }
        // What follows on the pooled connection must be a request, not what was left of the last one.
        assert_eq!(h2.request(request("GET", "/after").body(()).unwrap(), &[]).await.status.as_u16(), 200, "{path}");
        assert_eq!(secure.endpoint.strays(), Vec::<Vec<u8>>::new(), "{path}");
    }
    assert_eq!(secure.endpoint.connections(), 1, "the connection was reused, or this test saw nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_endpoints_are_verified() {
    let (folder, certificate) = (folder(), Certificate::new("localhost"));
    certificate.write(folder.path(), "endpoint");
    let endpoint = Endpoint::start_tls("v1", certificate.server()).await;
    let port = endpoint.address.port();
    let version = |tls: &str| format!("{{endpoints: ['localhost:{port}'], tls: {{{tls}}}}}");
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: {}\n      2: {}\n      3: {}\n    aliases: {{prod: 1}}\n\
         domains:\n  one.example.com: 'shop:1'\n  two.example.com: 'shop:2'\n  three.example.com: 'shop:3'\n",
        version("ca: endpoint.crt"),
        version("verify: true"),
        version("ca: endpoint.crt, sni: elsewhere.example.com"),
    );
    let weir = Weir::start_in(folder, crate::kit::weir::PROCESS, &live).await;
    let first = async || Some(get(weir.http, "one.example.com", "/").await).filter(|response| response.status == 200);
    assert_eq!(eventually("the name is resolved", first).await.text(), "v1");
    for host in ["two.example.com", "three.example.com"] {
        let status = get(weir.http, host, "/").await.status;
        assert!(matches!(status, 502 | 503), "{host}: {status}");
    }
    assert!(Path::new(weir.folder.path()).join("endpoint.crt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_on_the_port_for_tls_is_told_so() {
    let secure = Secure::start("").await;
    let answer = get(secure.https(), HOST, "/").await;
    assert_eq!((answer.status, &*answer.text()), (400, "400 BadRequest: this port speaks TLS: use https\n"));
    let refused = async || secure.weir.metric("weir_refused_total", &[("reason", "plain_on_tls")]).await;
    eventually("it is counted", async || (refused().await == Some(1.0)).then_some(())).await;
    assert_eq!(secure.endpoint.seen().len(), 0);
}
