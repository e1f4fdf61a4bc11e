//! Header tables: what goes in, what an endpoint and a client see.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::super::context::{IssuedCookie, VersionEdits};
use super::super::tests::{allocated, apply};
use super::*;

fn origin(trusted: bool) -> Origin {
    Origin { peer: "192.0.2.7".parse().unwrap(), client: "203.0.113.5".parse().unwrap(), trusted }
}

fn request<'a>(trusted: bool) -> RequestContext<'a> {
    RequestContext {
        function: "shop",
        qualifier: "prod",
        version: VersionId::number(2).unwrap(),
        stage_variables: None,
        dialects: &[],
        version_edits: VersionEdits::default(),
        upstream_host: None,
        stage_prefix: "",
        origin: origin(trusted),
        tls: false,
        host: "shop.example.com",
        port: 8080,
        received_by: Some("1.1"),
        request_id: b"id-1",
    }
}

/// The head an endpoint sees, as lines.
fn sent(request: &RequestContext<'_>, fields: &[(&str, &[u8])]) -> Vec<String> {
    let edits = request_edits(request, fields);
    apply(fields, &edits).into_iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(&v))).collect()
}

#[test]
fn a_plain_request_gets_its_context() {
    assert_eq!(
        sent(&request(false), &[("Host", b"shop.example.com"), ("Accept", b"*/*")]),
        [
            "host: shop.example.com",
            "accept: */*",
            "x-weir-function: shop",
            "x-weir-qualifier: prod",
            "x-weir-version: 2",
            "x-forwarded-for: 192.0.2.7",
            "x-real-ip: 203.0.113.5",
            "x-forwarded-proto: http",
            "x-forwarded-host: shop.example.com",
            "x-forwarded-port: 8080",
            "forwarded: for=192.0.2.7;host=shop.example.com;proto=http",
            "via: 1.1 weir",
            "x-request-id: id-1",
        ]
    );
}

#[test]
fn an_ordinary_request_needs_no_memory_from_the_heap() {
    let fields: [(&str, &[u8]); 8] = [
        ("Host", b"shop.example.com"),
        ("User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("X-Forwarded-For", b"2001:db8:1234:5678:9abc:def0:1234:5678, 2001:db8:1234:5678:9abc:def0:1234:5679"),
        ("X-Forwarded-Proto", b"https"),
        ("X-Forwarded-Host", b"shop.example.com"),
        ("X-Real-IP", b"2001:db8:1234:5678:9abc:def0:1234:5678"),
        ("X-Request-Id", b"018bcfe5-6800-7102-8304-05060708090a"),
        ("X-Weir-Version", b"1"),
    ];
    let peer = "2001:db8:1234:5678:9abc:def0:1234:567a".parse().unwrap();
    for trusted in [false, true] {
        let origin = Origin { peer, client: peer, trusted };
        let context = RequestContext { dialects: &[Dialect::Fc], origin, ..request(trusted) };
        assert!(!allocated(&request_edits(&context, &fields[..])), "trusted: {trusted}");
    }
}

#[test]
fn everything_that_may_be_said_is_said() {
    let variables = BTreeMap::from([("Region".to_owned(), "eu".to_owned())]);
    let set = [("x-color".to_owned(), "blue".to_owned()), ("x-forwarded-proto".to_owned(), "https".to_owned())];
    let add = [("x-tag".to_owned(), "b".to_owned())];
    let context = RequestContext {
        version: VersionId::Latest,
        stage_variables: Some(&variables),
        dialects: &[Dialect::Fc, Dialect::Aws],
        version_edits: VersionEdits { remove: &["accept".to_owned()], set: &set, add: &add },
        upstream_host: Some("shop.internal:8080"),
        stage_prefix: "/prod",
        tls: true,
        host: "[2001:db8::2]:9443",
        port: 8443,
        received_by: Some("2"),
        origin: Origin { peer: "2001:db8::7".parse().unwrap(), ..origin(false) },
        ..request(false)
    };
    let fields: [(&str, &[u8]); 4] =
        [("Accept", b"*/*"), ("X-Color", b"red"), ("X-Tag", b"a"), ("traceparent", b"kept")];
    assert_eq!(
        sent(&context, &fields),
        [
            "x-tag: a",
            "traceparent: kept",
            "x-weir-function: shop",
            "x-weir-qualifier: prod",
            "x-weir-version: $LATEST",
            "x-weir-stage-region: eu",
            "x-fc-qualifier: prod",
            "x-fc-version-id: LATEST",
            "x-forwarded-for: 2001:db8::7",
            "x-real-ip: 203.0.113.5",
            "x-forwarded-host: [2001:db8::2]:9443",
            "x-forwarded-port: 8443",
            "x-forwarded-prefix: /prod",
            "forwarded: for=\"[2001:db8::7]\";host=\"[2001:db8::2]:9443\";proto=https",
            "via: 2 weir",
            "x-request-id: id-1",
            "host: shop.internal:8080",
            "x-color: blue",
            "x-forwarded-proto: https",
            "x-tag: b",
        ]
    );
}

#[test]
fn a_trusted_proxy_is_believed_and_its_chain_continued() {
    let fields: [(&str, &[u8]); 10] = [
        ("X-Forwarded-For", b"198.51.100.1"),
        ("X-Forwarded-For", b"203.0.113.5, 10.0.0.2"),
        ("X-Forwarded-Proto", b"https"),
        ("X-Forwarded-Host", b"outer.example.com"),
        ("X-Forwarded-Port", b"8443"),
        ("X-Forwarded-Prefix", b"/outer/"),
        ("Forwarded", b"for=203.0.113.5"),
        ("Via", b"1.1 outer"),
        ("X-Forwarded-User", b"ann"),
        ("X_Forwarded_User", b"eve"),
    ];
    assert_eq!(
        sent(&RequestContext { stage_prefix: "/prod", ..request(true) }, &fields)
            .into_iter()
            .filter(|line| !line.starts_with("x-weir-"))
            .collect::<Vec<_>>(),
        [
            "via: 1.1 outer",
            "x-forwarded-user: ann",
            "x-forwarded-for: 198.51.100.1, 203.0.113.5, 10.0.0.2, 192.0.2.7",
            "x-real-ip: 203.0.113.5",
            "x-forwarded-proto: https",
            "x-forwarded-host: outer.example.com",
            "x-forwarded-port: 8443",
            "x-forwarded-prefix: /outer/prod",
            "forwarded: for=203.0.113.5, for=192.0.2.7;host=shop.example.com;proto=http",
            "via: 1.1 weir",
            "x-request-id: id-1",
        ]
    );
}

#[test]
fn what_a_trusted_proxy_passed_on_unread_cannot_swallow_ours() {
    let fields: [(&str, &[u8]); 7] = [
        ("Forwarded", b"for=\"evil"),
        ("X-Forwarded-Proto", b"gopher"),
        ("X-Forwarded-Host", b"a.example"),
        ("X-Forwarded-Host", b"b.example"),
        ("X-Forwarded-Port", b"+443"),
        ("X-Forwarded-Prefix", b"no-slash"),
        ("Proxy", b"http://evil:3128"),
    ];
    let head = sent(&request(true), &fields);
    for line in [
        "forwarded: for=192.0.2.7;host=shop.example.com;proto=http",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.example.com",
        "x-forwarded-port: 8080",
    ] {
        assert!(head.iter().any(|l| l == line), "{line} in {head:#?}");
    }
    assert!(!head.iter().any(|line| line.starts_with("x-forwarded-prefix") || line.starts_with("proxy:")), "{head:#?}");
}

#[test]
fn behind_a_proxy_that_speaks_tls_the_port_is_not_ours() {
    let head = sent(&request(true), &[("X-Forwarded-Proto", b"https")]);
    assert!(head.contains(&"x-forwarded-port: 443".to_owned()), "{head:#?}");
    let context = RequestContext { host: "shop.example.com:9443", ..request(true) };
    let head = sent(&context, &[("X-Forwarded-Proto", b"https")]);
    assert!(head.contains(&"x-forwarded-port: 9443".to_owned()), "{head:#?}");
}

#[test]
fn a_host_with_quotes_stays_inside_its_quotes() {
    let context = RequestContext { host: "a\"b\\c", ..request(false) };
    let head = sent(&context, &[]);
    assert!(head.contains(&r#"forwarded: for=192.0.2.7;host="a\"b\\c";proto=http"#.to_owned()), "{head:#?}");
}

#[test]
fn odd_spellings_of_our_names_are_ours_too() {
    for name in [
        "X-Weir-Version",
        "x_weir_version",
        "X-WEIR_override-token",
        "x-weir-qualifier",
        "x-weir-anything-new",
        "X-Fc-Qualifier",
        "x_fc_version_id",
        "Proxy",
    ] {
        assert_eq!(Class::of(name), Class::Context, "{name}");
    }
    for (name, exact) in [
        ("X-Forwarded-For", true),
        ("x-forwarded-anything", true),
        ("X_Forwarded-For", false),
        ("X-Real-IP", true),
        ("x_real_ip", false),
        ("Forwarded", true),
        ("X-Request-ID", true),
        ("x-request_id", false),
    ] {
        assert_eq!(Class::of(name), Class::Forwarding { exact }, "{name}");
    }
    for name in ["", "x", "x-weir", "x-wei", "xx-weir-version", "x-fc-request-id", "forwarded-by", "proxy-x", "via"] {
        assert_eq!(Class::of(name), Class::Other, "{name}");
    }
}

#[test]
fn a_response_says_what_its_domain_and_dialects_ask_for() {
    let context = ResponseContext {
        version: VersionId::number(2),
        shielded_from: VersionId::number(3),
        version_header: true,
        dialects: &[Dialect::Fc, Dialect::Aws],
        request_id: b"id-1",
        cookie: Some(IssuedCookie { name: "weir_key", key: "00ff", max_age: 60, secure: true }),
        received_by: Some("1.1"),
    };
    let lines = |context: &ResponseContext<'_>, fields: &[(&str, &[u8])]| -> Vec<String> {
        let head = apply(fields, &response_edits(context));
        head.into_iter().map(|(n, v)| format!("{n}: {}", String::from_utf8(v).unwrap())).collect()
    };
    assert_eq!(
        lines(&context, &[("X-Weir-Version", b"9"), ("Set-Cookie", b"a=b"), ("Via", b"1.1 inner")]),
        [
            "set-cookie: a=b",
            "via: 1.1 inner",
            "x-weir-version: 2",
            "x-weir-shielded-from: 3",
            "x-fc-invocation-function-version: 2",
            "x-amz-executed-version: 2",
            "x-request-id: id-1",
            "via: 1.1 weir",
            "set-cookie: weir_key=00ff; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure",
        ]
    );
    let draft = lines(&ResponseContext { version: Some(VersionId::Latest), ..context }, &[]);
    for line in ["x-fc-invocation-function-version: LATEST", "x-amz-executed-version: $LATEST"] {
        assert!(draft.iter().any(|other| other == line), "{line} is missing: {draft:?}");
    }
    let cookie = Some(IssuedCookie { secure: false, ..context.cookie.unwrap() });
    let quiet = ResponseContext { version_header: false, dialects: &[], cookie, received_by: None, ..context };
    assert_eq!(
        lines(&quiet, &[("X-Weir-Version", b"9"), ("x-weir-shielded-from", b"9")]),
        ["x-request-id: id-1", "set-cookie: weir_key=00ff; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"]
    );
}

#[test]
fn an_id_is_kept_from_trusted_proxies_only() {
    let made = "018bcfe5-6800-7102-8304-05060708090a";
    let time = Duration::from_millis(1_700_000_000_000);
    let id = |trusted: bool, values: &[&[u8]]| {
        let fields: Vec<(&str, &[u8])> = values.iter().map(|value| ("X-Request-Id", *value)).collect();
        let id = RequestId::of(&origin(trusted), &fields[..], time, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        String::from_utf8(id.as_bytes().to_vec()).unwrap()
    };
    assert_eq!(id(true, &[b"abc-1"]), "abc-1");
    assert_eq!(id(true, &[&[b'x'; 128]]).len(), 128);
    let cases: [&[&[u8]]; 6] = [&[], &[b""], &[b"a b"], &[b"a\xff"], &[b"a", b"b"], &[&[b'x'; 129]]];
    for values in cases {
        assert_eq!(id(true, values), made, "{values:?}");
    }
    assert_eq!(id(false, &[b"abc-1"]), made);
}

#[test]
fn the_trace_id_is_read_but_never_invented() {
    let id = |value: &[u8]| trace_id(&[("Traceparent", value)][..]).map(<[u8]>::to_vec);
    let good = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(id(good).as_deref(), Some(&b"4bf92f3577b34da6a3ce929d0e0e4736"[..]));
    for bad in [
        &b""[..],
        b"00",
        b"00-4bf9-00f067aa0ba902b7-01",
        b"zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    ] {
        assert_eq!(id(bad), None, "{:?}", String::from_utf8_lossy(bad));
    }
    assert_eq!(trace_id(&[("traceparent", &good[..]), ("traceparent", &good[..])][..]), None);
}

/// Names that a client may use to lie, in odd spellings, and harmless ones.
fn any_name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-ssl",
        "x-real-ip",
        "forwarded",
        "x-request-id",
        "x-weir-version",
        "x-weir-function",
        "x-weir-qualifier",
        "x-weir-override-token",
        "x-weir-stage-region",
        "x-fc-qualifier",
        "x-fc-version-id",
        "proxy",
        "accept",
        "cookie",
        "x-custom",
    ]);
    (known, any::<u32>()).prop_map(|(name, odd)| {
        let flip = |(i, c): (usize, char)| match (odd >> (i % 32) & 1, c) {
            (1, '-') => '_',
            (1, c) => c.to_ascii_uppercase(),
            (_, c) => c,
        };
        name.chars().enumerate().map(flip).collect()
    })
}

proptest! {
    #[test]
    fn nothing_an_untrusted_client_says_about_itself_survives(
        names in prop::collection::vec(any_name(), 0..12),
        tls in any::<bool>(),
    ) {
        const MARK: &[u8] = b"203.0.113.66";
        let fields: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), MARK)).collect();
        let peer: IpAddr = "192.0.2.7".parse().unwrap();
        let origin = Origin::of(peer, &["10.0.0.0/8".parse().unwrap()], &fields[..]);
        prop_assert_eq!(origin, Origin { peer, client: peer, trusted: false });
        let context = RequestContext { origin, tls, ..request(false) };
        for (name, value) in apply(&fields, &request_edits(&context, &fields[..])) {
            let folded = name.replace('_', "-");
            let harmless = ["accept", "cookie", "x-custom"].contains(&folded.as_str());
            let lied = value.windows(MARK.len()).any(|window| window == MARK);
            prop_assert_eq!(lied, harmless, "{}", name);
        }
    }

    #[test]
    fn every_name_of_ours_occurs_once(names in prop::collection::vec(any_name(), 0..12), trusted in any::<bool>()) {
        let fields: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"1"[..])).collect();
        let head = apply(&fields, &request_edits(&request(trusted), &fields[..]));
        for name in ["x-weir-function", "x-weir-qualifier", "x-weir-version", "x-forwarded-for", "x-real-ip",
            "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded", "x-request-id"] {
            prop_assert_eq!(head.iter().filter(|(n, _)| n.replace('_', "-") == name).count(), 1, "{}", name);
        }
    }
}
