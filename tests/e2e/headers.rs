//! What an endpoint and a client get to see beside the message itself.

use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::rollout::ends;
use crate::kit::weir::{PROCESS, Weir, folder};
use crate::{HOST, one, shop};

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_get_the_context_and_forgeries_are_stripped() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    let forged = "X-Weir-Version: 9\r\nx-weir-version: 8\r\nX-WEIR-FUNCTION: bank\r\nx-weir-qualifier: 9\r\n\
                  x-weir-stage-region: moon\r\nx-weir-anything: x\r\nx-other: kept\r\n";
    client.get_with(HOST, "/forged", forged).await;
    let head = endpoint.saw("/forged").await.head;
    assert_eq!(head.field("x-weir-function"), Some("shop"));
    assert_eq!(head.field("x-weir-qualifier"), Some("prod"));
    assert_eq!(head.field("x-weir-version"), Some("1"));
    assert_eq!(head.field("x-weir-stage-region"), None);
    assert_eq!(head.field("x-weir-anything"), None);
    assert_eq!(head.field("x-other"), Some("kept"));
    assert_eq!(head.field("host"), Some(HOST));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_context_says_how_the_version_was_named_and_which_it_is() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = format!(
        "functions:
  shop:
    draft: {{endpoints: ['{0}']}}
    versions: {{1: 'http://{0}', 2: 'http://{1}'}}
    aliases: {{prod: 1}}
domains:
  {HOST}:
    routes:
      - {{path: /none, to: shop}}
      - {{path: /latest, to: 'shop:$LATEST'}}
      - {{path: /number, to: 'shop:2'}}
      - {{path: /*, to: 'shop:prod'}}
",
        one.address, two.address
    );
    let weir = Weir::start(&live).await;
    let mut client = Client::connect(weir.http).await;
    let mut context = async |path: &str, endpoint: &Endpoint| {
        client.get(HOST, path).await;
        let head = endpoint.saw(path).await.head;
        let field = |name: &str| head.field(name).expect("it is always there").to_owned();
        (field("x-weir-qualifier"), field("x-weir-version"))
    };
    let said = |qualifier: &str, version: &str| (qualifier.to_owned(), version.to_owned());
    assert_eq!(context("/none", &one).await, said("$DEFAULT", "$LATEST"));
    assert_eq!(context("/latest", &one).await, said("$LATEST", "$LATEST"));
    assert_eq!(context("/number", &two).await, said("2", "2"));
    assert_eq!(context("/alias", &one).await, said("prod", "1"));
    ends(&weir, &["release", "shop:prod", "2", "--plan", "canaryWeight: 50"], 0).await;
    let mut client = Client::connect(weir.http).await;
    for n in 0..4 {
        client.get(HOST, &format!("/mid-rollout/{n}")).await;
    }
    for (endpoint, version) in [(&one, "1"), (&two, "2")] {
        let seen = endpoint.seen();
        let mut seen = seen.iter().filter(|seen| seen.target().starts_with("/mid-rollout/")).peekable();
        assert!(seen.peek().is_some(), "half of four requests");
        for seen in seen {
            assert_eq!(seen.head.field("x-weir-qualifier"), Some("prod"));
            assert_eq!(seen.head.field("x-weir-version"), Some(version));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dialects_and_stage_variables_reach_the_endpoint() {
    let endpoint = Endpoint::start("v1").await;
    let live = format!(
        "functions:\n  shop:\n    dialects: [fc, aws]\n    versions: {{1: 'http://{}'}}\n    aliases: {{prod: 1}}\n\
         stages:\n  release: {{alias: prod, variables: {{region: eu}}}}\n\
         domains:\n  {HOST}: {{stage: release, routes: [{{path: /*, to: shop}}]}}\n",
        endpoint.address
    );
    let weir = Weir::start(&live).await;
    let fields = "x-fc-version-id: 9\r\nx-fc-qualifier: 9\r\nx-weir-stage-region: moon\r\n";
    let response = Client::connect(weir.http).await.get_with(HOST, "/", fields).await;
    assert_eq!(response.head.field("x-fc-invocation-function-version"), Some("1"));
    assert_eq!(response.head.field("x-amz-executed-version"), Some("1"));
    let head = endpoint.saw("/").await.head;
    assert_eq!(head.field("x-fc-version-id"), Some("1"));
    assert_eq!(head.field("x-fc-qualifier"), Some("prod"));
    assert_eq!(head.field("x-weir-stage-region"), Some("eu"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_header_can_be_turned_off() {
    let endpoint = Endpoint::start("v1").await;
    let live = shop(&[&endpoint], "1").replace(
        &format!("{HOST}: shop:prod"),
        &format!("{HOST}: {{version_header: false, routes: [{{path: /*, to: 'shop:prod'}}]}}"),
    );
    let weir = Weir::start(&live).await;
    endpoint.on("/own", Answer::Raw(b"HTTP/1.1 200 OK\r\nx-weir-version: 7\r\ncontent-length: 0\r\n\r\n".to_vec()));
    let mut client = Client::connect(weir.http).await;
    assert_eq!(client.get(HOST, "/").await.head.field("x-weir-version"), None);
    // What an endpoint says about versions is not for clients to believe.
    assert_eq!(client.get(HOST, "/own").await.head.field("x-weir-version"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_forwarded_by_an_untrusted_client_survives() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    let forged = "x-forwarded-for: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7, 8.8.8.8\r\nx-forwarded-proto: https\r\n\
                  x-forwarded-host: bank.example.com\r\nx-forwarded-port: 443\r\nx-forwarded-prefix: /x\r\n\
                  x-real-ip: 6.6.6.6\r\nforwarded: for=6.6.6.6;proto=https\r\nx-request-id: forged\r\n";
    client.get_with(HOST, "/forged", forged).await;
    let seen = endpoint.saw("/forged").await;
    let head = &seen.head;
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(head.field("x-forwarded-host"), Some(HOST));
    assert_eq!(head.field("x-forwarded-port"), Some(weir.http.port().to_string().as_str()));
    assert_eq!(head.field("x-forwarded-prefix"), None);
    assert_eq!(head.field("x-real-ip"), Some("127.0.0.1"));
    let forwarded = head.field("forwarded").expect("Forwarded is set");
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
    let raw = String::from_utf8_lossy(&seen.raw).into_owned();
    for part in ["6.6.6.6", "7.7.7.7", "8.8.8.8", "bank.example.com", "forged\r\n"] {
        assert!(!raw.contains(part), "{part} went through:\n{raw}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed() {
    let endpoint = Endpoint::start("v1").await;
    let weir = Weir::start(&format!("{}trusted_proxies: [127.0.0.0/8]\n", shop(&[&endpoint], "1"))).await;
    let mut client = Client::connect(weir.http).await;
    let fields =
        "x-forwarded-for: 6.6.6.6, 203.0.113.7\r\nx-forwarded-proto: https\r\nx-request-id: from-the-proxy\r\n";
    let response = client.get_with(HOST, "/", fields).await;
    assert_eq!(response.head.field("x-request-id"), Some("from-the-proxy"));
    let head = endpoint.saw("/").await.head;
    assert_eq!(head.field("x-forwarded-for"), Some("6.6.6.6, 203.0.113.7, 127.0.0.1"));
    assert_eq!(head.field("x-forwarded-proto"), Some("https"));
    assert_eq!(head.field("x-real-ip"), Some("203.0.113.7"), "the right-most address that is not trusted");
    assert_eq!(head.field("x-request-id"), Some("from-the-proxy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_made_and_traces_pass() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let first = client.get_with(HOST, "/traced", &format!("traceparent: {trace}\r\ntracestate: a=b\r\n")).await;
    let id = first.head.field("x-request-id").expect("answers carry the request id").to_string();
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "{id} is a UUID of version 7");
    let head = endpoint.saw("/traced").await.head;
    assert_eq!(head.field("x-request-id"), Some(id.as_str()));
    assert_eq!((head.field("traceparent"), head.field("tracestate")), (Some(trace), Some("a=b")));
    let second = client.get(HOST, "/").await;
    assert_ne!(second.head.field("x-request-id"), Some(id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_stop_here() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    let fields = "connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\n\
                  te: trailers\r\nproxy-authorization: Basic x\r\nupgrade: h2c\r\nx-end: 2\r\n";
    client.get_with(HOST, "/hop", fields).await;
    let head = endpoint.saw("/hop").await.head;
    for name in ["x-hop", "keep-alive", "proxy-connection", "te", "proxy-authorization", "upgrade"] {
        assert_eq!(head.field(name), None, "{name}");
    }
    assert_eq!(head.field("x-end"), Some("2"));
    endpoint.on(
        "/back",
        Answer::Raw(
            b"HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-end: 2\r\n\
              content-length: 0\r\n\r\n"
                .to_vec(),
        ),
    );
    let response = client.get(HOST, "/back").await;
    assert_eq!((response.head.field("x-hop"), response.head.field("x-end")), (None, Some("2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_is_refused() {
    let (weir, endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    client.send(format!("TRACE / HTTP/1.1\r\nhost: {HOST}\r\ncookie: secret\r\n\r\n")).await;
    let response = client.response("TRACE").await;
    assert_eq!(response.status, 405);
    assert!(!response.text().contains("secret"));
    assert_eq!(endpoint.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_edits_and_rewrites_apply() {
    let endpoint = Endpoint::start("v1").await;
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: {{endpoints: ['{0}'], host: endpoint, path_prefix: /base, \
         headers: {{set: {{x-color: blue}}, remove: [x-drop]}}}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: {{routes: [{{path: '/shop/*', to: 'shop:prod', rewrite: '/app/*'}}]}}\n",
        endpoint.address
    );
    let weir = Weir::start(&live).await;
    let fields = "x-color: red\r\nx-drop: 1\r\n";
    let response = Client::connect(weir.http).await.get_with(HOST, "/shop/a%2Fb//c?q=1&q=%20", fields).await;
    assert_eq!(response.status, 200);
    let seen = endpoint.saw("/base/app/a%2Fb//c?q=1&q=%20").await;
    assert_eq!(seen.head.field("x-color"), Some("blue"));
    assert_eq!(seen.head.field("x-drop"), None);
    assert_eq!(seen.head.field("host"), Some(endpoint.address.to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issued_cookie_holds_a_key_and_keeps_its_caller() {
    let (first, second) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let alias = "{split: {1: 50, 2: 50}, key: [{issue_cookie: weir_key}]}";
    let weir = Weir::start(&shop(&[&first, &second], alias)).await;
    let mut client = Client::connect(weir.http).await;
    for _ in 0..8 {
        let response = client.get(HOST, "/").await;
        let cookie = response.head.field("set-cookie").expect("a key is issued").to_string();
        for part in ["HttpOnly", "SameSite=Lax", "Max-Age=", "Path=/"] {
            assert!(cookie.contains(part), "{part} is missing: {cookie}");
        }
        assert!(!cookie.contains("Secure"), "a plain connection cannot return a Secure cookie: {cookie}");
        let pair = cookie.split(';').next().unwrap_or_default();
        for _ in 0..3 {
            let again = client.get_with(HOST, "/", &format!("cookie: {pair}\r\n")).await;
            assert_eq!(again.version(), response.version());
            assert_eq!(again.head.field("set-cookie"), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_lines_and_metrics_say_what_happened() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&shop(&[&one, &two], "{1: 50, 2: 50}")).await;
    let response = Client::connect(weir.http).await.get(HOST, "/logged").await;
    let id = response.head.field("x-request-id").expect("answers carry the request id").to_string();
    let line = weir.access_line(&id).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (key, value) in
        [("method", "GET"), ("host", HOST), ("path", "/logged"), ("function", "shop"), ("alias", "prod")]
    {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert_eq!((line["reason"].as_str(), line["version"].as_str()), (Some("slot"), Some(response.version())), "{line}");
    assert_eq!((line["status"].as_u64(), line["bytes_out"].as_u64()), (Some(200), Some(2)), "{line}");
    let alias = [("function", "shop"), ("alias", "prod"), ("version", response.version())];
    let count = async |name, label| weir.metric(name, &[&alias[..], &[label]].concat()).await;
    assert_eq!(count("weir_requests_total", ("code_class", "2xx")).await, Some(1.0));
    assert_eq!(count("weir_picks_total", ("reason", "slot")).await, Some(1.0));
    assert_eq!(weir.metric("weir_config_last_reload_success", &[]).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn response_versions_answer_by_themselves() {
    let live = format!(
        "functions:\n  shop:\n    versions: {{1: {{response: {{status: 503, body: 'back soon', \
         headers: {{retry-after: '60'}}}}}}}}\n    aliases: {{prod: 1}}\ndomains:\n  {HOST}: shop:prod\n"
    );
    let weir = Weir::start_in(folder(), PROCESS, &live).await;
    let mut client = Client::connect(weir.http).await;
    let response = client.get(HOST, "/").await;
    assert_eq!((response.status, response.text().as_str(), response.version()), (503, "back soon", "1"));
    assert_eq!(response.head.field("retry-after"), Some("60"));
    client.send(format!("HEAD / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    let head = client.response("HEAD").await;
    assert_eq!((head.status, head.head.field("content-length")), (503, Some("9")));
    assert_eq!(client.get(HOST, "/").await.status, 503, "the connection is still in step");
}
