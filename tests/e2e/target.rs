//! Request targets: what is routed is what an endpoint gets.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::HOST;
use crate::kit::client::{Client, Response};
use crate::kit::endpoint::Endpoint;
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::h2::H2;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder};

/// Endpoints of the functions `public`, `admin` and `root`, and a gateway that tells them apart by path.
async fn three() -> (Weir, [Endpoint; 3]) {
    let endpoints = [Endpoint::start("public").await, Endpoint::start("admin").await, Endpoint::start("root").await];
    let functions: String = ["public", "admin", "root"]
        .iter()
        .zip(&endpoints)
        .map(|(name, endpoint)| {
            format!("  {name}: {{versions: {{1: 'http://{}'}}, aliases: {{prod: 1}}}}\n", endpoint.address)
        })
        .collect();
    let live = format!(
        "functions:\n{functions}domains:\n  {HOST}:\n    routes:\n      - {{path: /, to: 'root:prod'}}\n      \
         - {{path: /public/*, to: 'public:prod'}}\n      - {{path: /admin/*, to: 'admin:prod'}}\n"
    );
    (Weir::start(&live).await, endpoints)
}

/// A request with exactly this target, on a connection of its own.
async fn ask(weir: &Weir, method: &str, target: &[u8]) -> Response {
    let mut client = Client::connect(weir.http).await;
    let start = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nhost: shop.example.com\r\n\r\n"].concat();
    client.send(start).await;
    client.response(method).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_no_path_and_no_url_goes_nowhere() {
    let (weir, endpoints) = three().await;
    for target in [
        "admin/secret.txt",
        "private/secret.txt",
        "public/../admin/secret.txt",
        "../",
        "*",
        "?a=b",
        "shop.example.com:80",
        "x:/a",
        "ftp://shop.example.com/admin/x",
        "http:/shop.example.com/admin/x",
        "http://user@shop.example.com/admin/x",
        "/public/a#/../admin",
        "/public/a\u{7f}",
    ] {
        let response = ask(&weir, "GET", target.as_bytes()).await;
        assert_eq!(response.status, 400, "{target}");
    }
    assert_eq!(ask(&weir, "GET", b"/public/\xff").await.status, 400);
    for endpoint in &endpoints {
        assert_eq!(endpoint.seen().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_form_is_sent_on_as_origin_form_and_logged_as_received() {
    let (weir, [public, ..]) = three().await;
    for (target, sent) in [
        ("http://shop.example.com/public/a?b=c", "/public/a?b=c"),
        ("HTTPS://SHOP.example.com./public/b", "/public/b"),
        ("http://shop.example.com:80/public/c", "/public/c"),
    ] {
        assert_eq!(ask(&weir, "GET", target.as_bytes()).await.text(), "public", "{target}");
        let seen = public.saw(sent).await;
        assert_eq!(seen.head.field("host"), Some(HOST), "{target}");
        let logged = target.split('?').next().unwrap();
        weir.access_line(&format!("\"target\":\"{logged}")).await;
    }
    let mut client = Client::connect(weir.http).await;
    client.send("GET http://shop.example.com/public/old HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response("GET").await.status, 200);
    assert_eq!(public.saw("/public/old").await.head.field("host"), Some(HOST));

    let other = ask(&weir, "GET", b"http://other.example.com/public/a").await;
    assert_eq!(other.status, 400, "Host and target name two hosts");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_path_that_is_none_goes_nowhere() {
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    let endpoint = Endpoint::start("v1").await;
    let live = format!(
        "functions:\n  shop: {{versions: {{1: 'http://{}'}}, aliases: {{prod: 1}}}}\n\
         domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n",
        endpoint.address
    );
    let weir = Weir::start_in(folder, PROCESS_TLS, &live).await;
    let client = H2::connect(weir.https.unwrap(), HOST, certificate.client(&["h2"])).await;
    let uri = http::Uri::builder().scheme("https").authority(HOST).path_and_query("?a=b").build().unwrap();
    match client.try_request(http::Request::get(uri).body(()).unwrap(), &[]).await {
        Ok(answer) => assert_eq!(answer.status, 400),
        Err(error) => assert!(error.is_reset(), "{error}"),
    }
    assert_eq!(endpoint.seen().len(), 0);
}

/// A path that is changed on its way keeps everything else of the request: from clients and to endpoints of both protocols.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_path_keeps_its_host_over_every_pair_of_protocols() {
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    let (one, two) = (Endpoint::start("h1").await, H2Endpoint::start(None).await);
    let version =
        |at: &str, more: &str| format!("{{versions: {{1: {{endpoints: ['{at}']{more}}}}}, aliases: {{prod: 1}}}}");
    let (at_one, at_two) = (one.address.to_string(), two.address.to_string());
    let live = format!(
        "functions:\n  one: {}\n  two: {}\n  one-below: {}\n  two-below: {}\n\
         domains:\n  {HOST}:\n    certificate: {{cert: shop.crt, key: shop.key}}\n    routes:\n      \
         - {{path: /one/*, to: 'one:prod', rewrite: /new/*}}\n      - {{path: /two/*, to: 'two:prod', rewrite: /new/*}}\n      \
         - {{path: /one-below/*, to: 'one-below:prod'}}\n      - {{path: /two-below/*, to: 'two-below:prod'}}\n",
        version(&at_one, ""),
        version(&at_two, ", protocol: h2c"),
        version(&at_one, ", path_prefix: /base"),
        version(&at_two, ", protocol: h2c, path_prefix: /base"),
    );
    let weir = Weir::start_in(folder, PROCESS_TLS, &live).await;
    let h2 = H2::connect(weir.https.expect("a TLS listener"), HOST, certificate.client(&["h2"])).await;
    let mut tls = Client::connect_tls(weir.https.unwrap(), HOST, certificate.client(&["http/1.1"])).await;
    for (path, sent) in [
        ("/one/a?b=c", "/new/a?b=c"),
        ("/two/a?b=c", "/new/a?b=c"),
        ("/one-below/a", "/base/one-below/a"),
        ("/two-below/a", "/base/two-below/a"),
    ] {
        assert_eq!(tls.get(HOST, path).await.status, 200, "{path} over HTTP/1.1");
        let request = http::Request::get(format!("https://{HOST}{path}")).body(()).unwrap();
        assert_eq!(h2.request(request, &[]).await.status.as_u16(), 200, "{path} over HTTP/2");
        if path.starts_with("/one") {
            let seen = one.seen();
            let seen: Vec<_> = seen.iter().filter(|seen| seen.target() == sent).collect();
            assert_eq!(seen.len(), 2, "{path}");
            assert!(seen.iter().all(|seen| seen.head.field("host") == Some(HOST)), "{path}");
        } else {
            let seen = two.seen();
            let path_of = |seen: &http::request::Parts| seen.uri.path_and_query().map(ToString::to_string);
            let seen: Vec<_> = seen.iter().filter(|seen| path_of(seen).as_deref() == Some(sent)).collect();
            assert_eq!(seen.len(), 2, "{path}");
            assert!(seen.iter().all(|seen| seen.uri.host() == Some(HOST)), "{path}");
        }
    }
}

/// Targets near the ones that matter, in every form.
fn any_target() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::sample::select(vec![
            "/", "public", "admin", "..", ".", "%2e%2e", "%2F", "\\", ";", "?", "#", "*", ":", "//", "http://",
            "shop.example.com", "@", "%", "\u{e9}",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(prop::num::u8::ANY.prop_filter("no line or target end", |b| *b > b' '), 1..4),
    ];
    let start = prop::sample::select(vec!["/", "/public/", "/admin/", "http://shop.example.com/", ""]);
    (start, prop::collection::vec(part, 0..6)).prop_map(|(start, parts)| [start.as_bytes(), &parts.concat()].concat())
}

/// A request that an endpoint got is routed once more as it stands: it must come to the same endpoint, unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_received_is_routed_to_it_again() {
    let (weir, endpoints) = three().await;
    let names = ["public", "admin", "root"];
    let sent_to = |response: &Response| {
        let by_name = names.iter().position(|name| *name == response.text())?;
        let target = endpoints[by_name].seen().last()?.target().to_owned();
        // The kit reads bytes as Latin-1.
        let bytes: Vec<u8> = target.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        Some((by_name, bytes))
    };
    let mut runner = TestRunner::deterministic();
    let mut forwarded = 0;
    for _ in 0..400 {
        let target = any_target().new_tree(&mut runner).unwrap().current();
        if target.is_empty() {
            continue;
        }
        let first = ask(&weir, "GET", &target).await;
        let shown = String::from_utf8_lossy(&target);
        let Some((endpoint, sent)) = sent_to(&first) else {
            assert!(matches!(first.status, 400 | 404), "{shown}: {}", first.status);
            continue;
        };
        assert_eq!(sent.first(), Some(&b'/'), "{shown}");
        let again = ask(&weir, "GET", &sent).await;
        assert_eq!(sent_to(&again), Some((endpoint, sent)), "{shown}");
        forwarded += 1;
    }
    assert!(forwarded > 50, "only {forwarded} targets were forwarded");
}
