//! Which version a request reaches.

use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder};
use crate::{HOST, shop};

/// How many of `count` sequential requests reached version 2. Header and body must agree on each.
async fn second_of(client: &mut Client, count: usize) -> usize {
    let mut second = 0;
    for _ in 0..count {
        let response = client.get(HOST, "/").await;
        assert_eq!(response.status, 200);
        assert_eq!(format!("v{}", response.version()), response.text(), "header and endpoint disagree");
        second += usize::from(response.version() == "2");
    }
    second
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_at_95_5_are_split_exactly() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&shop(&[&one, &two], "{1: 95, 2: 5}")).await;
    let mut client = Client::connect(weir.http).await;
    let mut total = 0;
    for window in 0..10 {
        let second = second_of(&mut client, 100).await;
        assert!((4..=6).contains(&second), "window {window}: {second} of 100");
        total += second;
    }
    assert!((49..=51).contains(&total), "{total} of 1 000");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_split_is_exact_over_all_workers() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&shop(&[&one, &two], "{1: 95, 2: 5}")).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = weir.http;
        clients.spawn(async move { second_of(&mut Client::connect(address).await, 250).await });
    }
    let second: usize = clients.join_all().await.into_iter().sum();
    assert!((99..=101).contains(&second), "{second} of 2 000");
}

#[tokio::test(flavor = "multi_thread")]
async fn unresolved_requests_take_no_slot() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = shop(&[&one, &two], "{1: 50, 2: 50}").replace(
        &format!("{HOST}: shop:prod"),
        &format!("{HOST}: {{routes: [{{path: /, to: 'shop:prod', methods: [GET]}}]}}"),
    );
    let weir = Weir::start(&live).await;
    let mut client = Client::connect(weir.http).await;
    let mut second = 0;
    for _ in 0..50 {
        for (request, status) in [("GET /missing", 404), ("POST /", 405)] {
            client.send(format!("{request} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n")).await;
            let response = client.response("GET").await;
            assert_eq!(response.status, status);
            if status == 405 {
                assert!(response.head.field("allow").is_some_and(|allow| allow.contains("GET")));
            }
        }
        second += second_of(&mut client, 1).await;
    }
    // Had each refused request taken a slot, the rest would still be near half; the bound is what an exact split gives.
    assert!((24..=26).contains(&second), "{second} of 50");
    assert_eq!(one.seen().len() + two.seen().len(), 50);
}

/// Two hosts with a certificate each; the first one wants https, and has a route whose rewrite can fail.
fn redirecting(one: &Endpoint, two: &Endpoint) -> String {
    let live = shop(&[one, two], "{1: 50, 2: 50}");
    let functions = live.split("domains:").next().expect("there is something before the domains");
    format!(
        "{functions}domains:
  {HOST}:
    certificate: {{cert: shop.crt, key: shop.key}}
    https: redirect
    routes: [{{path: /*, to: 'shop:prod'}}, {{path: /dots/*, to: 'shop:prod', rewrite: /.*}}]
  api.example.com: {{certificate: {{cert: api.crt, key: api.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_before_a_version_is_drawn_draws_nothing() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let (folder, shop, api) = (folder(), Certificate::new(HOST), Certificate::new("api.example.com"));
    shop.write(folder.path(), "shop");
    api.write(folder.path(), "api");
    let weir = Weir::start_in(folder, PROCESS_TLS, &redirecting(&one, &two)).await;
    let https = weir.https.expect("there is a TLS listener");
    let mut plain = Client::connect(weir.http).await;
    let mut client = Client::connect_tls(https, HOST, shop.client(&["http/1.1"])).await;
    let mut second = 0;
    for served in 1..=200i32 {
        // In an order that has nothing to do with that of the slots.
        if served % 2 == 0 {
            let redirect = plain.get(HOST, "/").await;
            assert_eq!((redirect.status, redirect.version()), (308, ""), "no version was drawn");
        }
        if served % 3 == 0 {
            let misdirected = client.get("api.example.com", "/").await;
            assert_eq!((misdirected.status, misdirected.version()), (421, ""));
        }
        if served % 5 == 0 {
            let mut client = Client::connect_tls(https, HOST, shop.client(&["http/1.1"])).await;
            assert_eq!(client.get(HOST, "/dots/").await.status, 400, "the rewrite makes `/.` of it");
        }
        if served % 7 == 0 {
            let mut client = Client::connect_tls(https, HOST, shop.client(&["http/1.1"])).await;
            client.send(format!("TRACE / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
            assert_eq!(client.response("TRACE").await.status, 405);
        }
        second += second_of(&mut client, 1).await as i32;
        assert!((2 * second - served).abs() <= 1, "{second} of {served} at 50/50");
    }
    assert_eq!(one.seen().len() + two.seen().len(), 200);
    let lines = eventually("lines of all", async || Some(weir.access_log()).filter(|lines| lines.len() == 434)).await;
    let redirected = lines.iter().find(|line| line["status"] == 308).expect("redirects have their lines");
    assert_eq!((&redirected["route"], &redirected["slot"]), (&"/*".into(), &serde_json::Value::Null), "{redirected}");
}

/// The versions that an alias's slots were drawn for, in their order, as soon as there are `count`.
async fn drawn(weir: &Weir, alias: &str, count: usize) -> Vec<(u64, String)> {
    let draws = async || {
        let log = weir.access_log();
        let of_alias = log.iter().filter(|line| line["alias"] == alias);
        let draws = of_alias.filter_map(|line| {
            let version = if line["shielded_from"].is_string() { &line["shielded_from"] } else { &line["version"] };
            Some((line["slot"].as_u64()?, version.as_str()?.to_owned()))
        });
        let mut draws: Vec<_> = draws.collect();
        draws.sort_unstable();
        (draws.len() == count).then_some(draws)
    };
    eventually(&format!("{count} requests that drew a slot of {alias}"), draws).await
}

/// A version keeps the slots of which the answer is a 503, a shield's or a fallback's.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_version_keeps_its_slots() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let unavailable = Answer::Raw(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let failed = Answer::Raw(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    two.on("/shielded", Answer::Cycle(vec![Answer::Name, failed], std::sync::Arc::default()));
    let live = format!(
        "functions:
  shop:
    versions:
      1: 'http://{}'
      2: {{endpoints: ['{}'], retries: {{attempts: 0}}, health: {{path: /healthz, every: 100ms, fall: 1, rise: 1}}}}
    aliases:
      prod: {{split: {{1: 50, 2: 50}}, shield: any-5xx, on_unhealthy: fallback}}
      strict: {{split: {{1: 50, 2: 50}}, on_unhealthy: fail}}
domains:
  {HOST}: shop:prod
  strict.example.com: shop:strict
",
        one.address, two.address
    );
    let weir = Weir::start(&live).await;
    let healthy = async |count: f64| {
        let labels = [("function", "shop"), ("version", "2")];
        let is = async || weir.metric("weir_endpoints_healthy", &labels).await.filter(|value| *value == count);
        eventually(&format!("version 2 has {count} healthy endpoints"), is).await;
    };
    let mut client = Client::connect(weir.http).await;
    let (mut refused, mut asked) = (0, 0);
    for round in 0..6 {
        two.on("/healthz", if round % 2 == 0 { Answer::Name } else { unavailable.clone() });
        healthy(if round % 2 == 0 { 1.0 } else { 0.0 }).await;
        for _ in 0..25 {
            let path = if round % 2 == 0 { "/shielded" } else { "/" };
            assert_eq!(client.get(HOST, path).await.status, 200, "shielded, or answered by the spare");
            refused += usize::from(client.get("strict.example.com", "/").await.status == 503);
            asked += 1;
        }
    }
    assert!(refused > 25, "{refused} of {asked}, half of the time at every second slot");
    for alias in ["prod", "strict"] {
        let draws = drawn(&weir, alias, asked).await;
        let first = draws[0].0;
        let mut second = 0;
        for (number, (slot, version)) in (1..).zip(&draws) {
            assert_eq!(*slot, first + number - 1, "{alias}: a slot was drawn in vain");
            second += i64::from(version == "2");
            assert!((2 * second - number as i64).abs() <= 1, "{alias}: {second} of {number} at 50/50");
        }
    }
    for reason in ["shield", "fallback"] {
        let labels = [("alias", "prod"), ("version", "1"), ("reason", reason)];
        assert!(weir.metric("weir_picks_total", &labels).await > Some(10.0), "the spare answered as a {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_start_begins_at_another_place_of_the_sequence() {
    const LIVES: usize = 5;
    const ALIASES: usize = 30;
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let aliases: String = (0..ALIASES).map(|n| format!("      a{n}: {{1: 90, 2: 10}}\n")).collect();
    let domains: String = (0..ALIASES).map(|n| format!("  a{n}.example.com: shop:a{n}\n")).collect();
    let (one_at, two_at) = (one.address, two.address);
    let live = format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{one_at}', 2: 'http://{two_at}'}}\n    aliases:\n      \
         prod: {{1: 95, 2: 5}}\n{aliases}domains:\n  {HOST}: shop:prod\n{domains}"
    );
    let mut weir = Weir::start(&live).await;
    let mut lives = Vec::new();
    for life in 0..LIVES {
        if life > 0 {
            weir = Weir::again(weir.killed().await).await;
        }
        let mut client = Client::connect(weir.http).await;
        assert_eq!(second_of(&mut client, 100).await, 5, "the first hundred of life {life} at 95/5");
        let mut versions = Vec::new();
        for n in 0..ALIASES {
            for _ in 0..4 {
                versions.push(client.get(&format!("a{n}.example.com"), "/").await.version() == "2");
            }
        }
        lives.push(versions);
    }
    let rare = lives.iter().flatten().filter(|is_second| **is_second).count();
    // 600 requests; 60 on average, with a standard deviation of 6.
    assert!((25..=95).contains(&rare), "{rare} of 600 at 10 %");
    assert!(lives[1..].iter().all(|life| *life != lives[0]), "a restart went back to the same slots");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_hosts_reach_nobody() {
    let (weir, endpoint) = crate::one().await;
    let response = get(weir.http, "other.example.com", "/").await;
    assert_eq!((response.status, response.version()), (404, ""));
    assert_eq!(get(weir.http, "SHOP.Example.Com.:8080", "/").await.status, 200, "one host, spelled otherwise");
    assert_eq!(endpoint.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_win_over_weights() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let alias = "{split: {1: 100, 2: 0}, rules: [{when: 'invoke.headers.User exact Bob', version: 2}]}";
    let weir = Weir::start(&shop(&[&one, &two], alias)).await;
    let mut client = Client::connect(weir.http).await;
    for (field, version) in [("user: Bob\r\n", "2"), ("user: bob\r\n", "1"), ("user: Bobby\r\n", "1"), ("", "1")] {
        assert_eq!(client.get_with(HOST, "/", field).await.version(), version, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_takes_the_whole_numbers_within_it() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let alias = "{split: {1: 100, 2: 0}, rules: [{when: 'invoke.headers.User range [1,50]', version: 2}]}";
    let weir = Weir::start(&shop(&[&one, &two], alias)).await;
    let mut client = Client::connect(weir.http).await;
    for (user, version) in
        [("1", "2"), ("30", "2"), ("50", "2"), ("0", "1"), ("51", "1"), ("-1", "1"), ("30.5", "1"), ("abc", "1")]
    {
        let answer = client.get_with(HOST, "/", &format!("user: {user}\r\n")).await;
        assert_eq!(answer.version(), version, "{user}");
    }
    assert_eq!(client.get(HOST, "/").await.version(), "1", "without the header");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_key_stays_with_its_version() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let alias = "{split: {1: 50, 2: 50}, key: [{header: x-user-id}, {cookie: uid}]}";
    let weir = Weir::start(&shop(&[&one, &two], alias)).await;
    let again = Weir::start(&shop(&[&one, &two], alias)).await;
    let (mut client, mut other) = (Client::connect(weir.http).await, Client::connect(again.http).await);
    let mut versions = [0, 0];
    for user in 0..64 {
        let header = format!("x-user-id: user-{user}\r\n");
        let first = client.get_with(HOST, "/", &header).await;
        for _ in 0..3 {
            assert_eq!(client.get_with(HOST, "/", &header).await.version(), first.version(), "user {user} moved");
        }
        let cookie = format!("cookie: a=b; uid=user-{user}\r\n");
        assert_eq!(client.get_with(HOST, "/", &cookie).await.version(), first.version(), "user {user} by cookie");
        assert_eq!(other.get_with(HOST, "/", &header).await.version(), first.version(), "user {user} elsewhere");
        versions[usize::from(first.version() == "2")] += 1;
    }
    assert!(versions.iter().all(|count| *count > 10), "64 keys at 50/50: {versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_reaches_a_version_without_weight() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = format!(
        "{}  two.example.com: 'shop:2'\nbase_domain: {{host: fn.example.com, public: true}}\n",
        shop(&[&one, &two], "{1: 100, 2: 0}")
    );
    let weir = Weir::start(&live).await;
    for host in ["two.example.com", "2--shop.fn.example.com"] {
        assert_eq!(get(weir.http, host, "/").await.version(), "2", "{host}");
    }
    assert_eq!(get(weir.http, "prod--shop.fn.example.com", "/").await.version(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_hosts_and_overrides_are_for_the_trusted() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = format!(
        "{}base_domain: fn.example.com\noverride: {{tokens: ['0123456789abcdef-token']}}\n",
        shop(&[&one, &two], "{1: 100, 2: 0}")
    );
    let weir = Weir::start(&live).await;
    let mut client = Client::connect(weir.http).await;
    let refused = client.get("2--shop.fn.example.com", "/").await;
    assert!(matches!(refused.status, 403 | 404), "{}", refused.status);
    let token = "x-weir-override-token: 0123456789abcdef-token\r\n";
    assert_eq!(client.get_with("2--shop.fn.example.com", "/", token).await.version(), "2");
    for (fields, version) in [
        (format!("x-weir-qualifier: 2\r\n{token}"), "2"),
        ("x-weir-qualifier: 2\r\n".to_string(), "1"),
        ("x-weir-qualifier: 2\r\nx-weir-override-token: 0123456789abcdef-tokem\r\n".to_string(), "1"),
    ] {
        assert_eq!(client.get_with(HOST, "/", &fields).await.version(), version, "{fields}");
    }
    for seen in one.seen().iter().chain(&two.seen()) {
        assert_eq!(seen.head.field("x-weir-override-token"), None, "the token must not leave the gateway");
    }
}
