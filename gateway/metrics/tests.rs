//! Scrapes after scripted events.

use std::collections::BTreeSet;

use super::*;

fn metrics() -> Metrics {
    Metrics::new(&Labels {
        listeners: &["0.0.0.0:8080".into(), "[::]:8443".into()],
        refused: &["head_timeout"],
        unresolved: &["no_domain"],
        handshakes: &["unknown_server_name"],
    })
}

fn number(n: u32) -> VersionId {
    VersionId::number(n).unwrap()
}

/// A scrape without what changes by itself.
fn scraped(metrics: &Metrics) -> String {
    let own = |line: &&str| !line.contains("process_");
    metrics.render().lines().filter(own).map(|line| format!("{line}\n")).collect()
}

/// Lines with this text in them.
fn lines<'t>(text: &'t str, part: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.contains(part) && !line.starts_with('#')).collect()
}

#[test]
fn a_scrape_after_scripted_events() {
    let metrics = metrics();
    let (shop, prod) = ("shop".parse().unwrap(), "prod".parse().unwrap());
    let series = metrics.version(&shop, Some(&prod), number(2));
    series.weight.set(500);
    series.picked(Pick::Slot);
    series.ended(Some(200), Duration::from_micros(250));
    series.picked(Pick::Fallback);
    series.ended(None, Duration::from_secs(11));
    metrics.version(&shop, None, VersionId::Latest).ended(Some(503), Duration::from_millis(3));
    let upstream = metrics.upstream(&shop, number(2));
    upstream.healthy.set(2);
    upstream.connect.observe(Duration::from_micros(80));
    upstream.retried(Retry::Connect);
    metrics.connections[1].http2.inc();
    metrics.websockets.inc();
    metrics.refused.inc("head_timeout");
    metrics.unresolved.inc("something new");
    metrics.handshakes.inc("ok");
    metrics.revision.set(7);
    metrics.reloaded(Duration::from_millis(2));
    metrics.reload_refused();
    metrics.set_certificates(vec![("shop.example.com".into(), 1_800_000_000)]);
    metrics.lines_dropped.inc_by(3);
    metrics.notices_lost.inc();
    metrics.dialect_requests.inc("lambda", "Invoke", "ok");
    metrics.set_unusable(CERTIFICATE, 2);
    metrics.set_rollouts(vec![Standing { function: shop.clone(), alias: prod.clone(), step: 2, weight: 500 }]);
    metrics.judged(&shop, &prod, Judged::NoWorse);
    let golden = include_str!("../../tests/fixtures/metrics/scrape.txt");
    let commit = option_env!("WEIR_COMMIT").unwrap_or("unknown");
    let golden = golden.replace("COMMIT", commit).replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(scraped(&metrics), golden);
}

#[test]
fn every_family_is_scraped_and_nothing_else() {
    let metrics = metrics();
    let _ = metrics.version(&"f".parse().unwrap(), Some(&"a".parse().unwrap()), number(1));
    let _ = metrics.upstream(&"f".parse().unwrap(), number(1));
    let (function, alias) = ("f".parse().unwrap(), "a".parse().unwrap());
    metrics.dialect_requests.inc("scf", "Invoke", "failed");
    metrics.judged(&function, &alias, Judged::Worse);
    metrics.set_rollouts(vec![Standing { function, alias, step: 1, weight: 0 }]);
    metrics.set_certificates(vec![("d".into(), 1)]);
    let seen: BTreeSet<(String, Vec<String>)> = metrics
        .registry
        .gather()
        .iter()
        .filter(|family| family.name().starts_with("weir_"))
        .map(|family| {
            let mut labels: Vec<_> = family.get_metric()[0].get_label().iter().map(|l| l.name().to_owned()).collect();
            labels.sort_unstable();
            (family.name().to_owned(), labels)
        })
        .collect();
    let told = FAMILIES.iter().map(|family| {
        let mut labels: Vec<_> = family.labels.iter().map(ToString::to_string).collect();
        labels.sort_unstable();
        (family.name.to_owned(), labels)
    });
    assert_eq!(seen, told.collect());
}

/// The names and labels that dashboards and alerts are built on: a change here is a breaking change.
#[test]
fn names_and_labels_are_a_contract() {
    let told: Vec<String> = FAMILIES.iter().map(|f| format!("{}{{{}}}", f.name, f.labels.join(","))).collect();
    assert_eq!(
        told,
        [
            "weir_requests_total{function,alias,version,code_class}",
            "weir_request_duration_seconds{function,alias,version}",
            "weir_picks_total{function,alias,version,reason}",
            "weir_alias_weight{function,alias,version}",
            "weir_upstream_duration_seconds{function,version}",
            "weir_upstream_connect_seconds{function,version}",
            "weir_retries_total{function,version,reason}",
            "weir_endpoints_healthy{function,version}",
            "weir_unresolved_total{reason}",
            "weir_refused_total{reason}",
            "weir_admin_refused_total{reason}",
            "weir_dialect_requests_total{dialect,operation,result}",
            "weir_connections_open{listener,protocol}",
            "weir_streams_open{kind}",
            "weir_config_revision{}",
            "weir_config_reloads_total{result}",
            "weir_config_last_reload_success{}",
            "weir_config_apply_seconds{}",
            "weir_rollout_step{function,alias}",
            "weir_rollout_weight{function,alias}",
            "weir_verdicts_total{function,alias,verdict}",
            "weir_rollback_seconds{part}",
            "weir_notices_lost_total{}",
            "weir_store_started_empty{}",
            "weir_unsaved_rollback{}",
            "weir_store_writable{}",
            "weir_unusable{kind}",
            "weir_tls_certificate_not_after_seconds{domain}",
            "weir_tls_handshakes_total{result}",
            "weir_access_log_dropped_total{}",
            "weir_diagnostics_dropped_total{}",
            "weir_build_info{version,commit}",
        ]
    );
}

/// `prometheus` 0.14 takes these for one series when its own vectors hold them.
#[test]
fn names_that_read_alike_when_joined_stay_apart() {
    let (metrics, shop) = (metrics(), "shop".parse().unwrap());
    metrics.version(&shop, Some(&"prod1".parse().unwrap()), number(2)).picked(Pick::Slot);
    metrics.version(&shop, Some(&"prod".parse().unwrap()), number(12)).picked(Pick::Rule);
    let text = scraped(&metrics);
    assert_eq!(lines(&text, "weir_picks_total{").iter().filter(|line| line.ends_with(" 1")).count(), 2);
    assert_eq!(lines(&text, r#"weir_picks_total{function="shop",alias="prod",version="12",reason="rule"} 1"#).len(), 1);
}

#[test]
fn the_same_name_has_the_same_cells_until_it_is_dropped() {
    let (metrics, shop) = (metrics(), "shop".parse().unwrap());
    let (prod, beta): (AliasName, AliasName) = ("prod".parse().unwrap(), "beta".parse().unwrap());
    let held = metrics.version(&shop, Some(&prod), number(1));
    let _ = metrics.version(&shop, Some(&beta), number(1));
    let _ = metrics.upstream(&shop, number(1));
    assert!(Arc::ptr_eq(&held, &metrics.version(&shop, Some(&prod), number(1))));
    let (shoq, shops): (FunctionName, FunctionName) = ("shoq".parse().unwrap(), "Shop".parse().unwrap());
    let others = [&shoq, &shops].map(|other| metrics.version(other, Some(&prod), number(1)));
    metrics.retain_versions(&shop, Among::All, |alias, _| alias == Some(&beta));
    metrics.retain_upstreams(&shop, |_| false);
    held.picked(Pick::Slot);
    let text = scraped(&metrics);
    assert!(Arc::ptr_eq(&others[0], &metrics.version(&shoq, Some(&prod), number(1))));
    assert!(Arc::ptr_eq(&others[1], &metrics.version(&shops, Some(&prod), number(1))));
    assert!(
        lines(&text, "function=\"shop\",alias=\"prod\"").is_empty()
            && lines(&text, "weir_endpoints_healthy").is_empty(),
        "{text}"
    );
    assert!(!lines(&text, "alias=\"beta\"").is_empty());
    assert!(!Arc::ptr_eq(&held, &metrics.version(&shop, Some(&prod), number(1))));
}

#[test]
fn versions_that_nobody_calls_are_no_series() {
    let (metrics, shop): (Metrics, FunctionName) = (metrics(), "shop".parse().unwrap());
    let shown = || lines(&scraped(&metrics), "weir_requests_total{function=\"shop\"").len() / CodeClass::LABELS.len();
    let resting: Vec<_> = (1..=20_000).map(|version| metrics.resting(&shop, number(version))).collect();
    let awake = metrics.version(&shop, None, number(20_001));
    assert_eq!(shown(), 1, "those that rest take no place of those that do not");
    resting[6].0.picked(Pick::Direct);
    assert_eq!(shown(), 2);
    assert!(Arc::ptr_eq(&resting[6].0, &metrics.version(&shop, None, number(7))), "its cells are the same");
    assert!(lines(&scraped(&metrics), "weir_endpoints_healthy").is_empty());
    assert!(Arc::ptr_eq(&resting[7].1, &metrics.upstream(&shop, number(8))), "an alias names it now");
    assert_eq!(lines(&scraped(&metrics), "weir_endpoints_healthy{function=\"shop\",version=\"8\"}").len(), 1);
    metrics.rest(&shop, |_| true);
    assert_eq!(shown(), 1, "what was called stays");
    awake.picked(Pick::Direct);
    assert_eq!(shown(), 2);
    metrics.retain_versions(&shop, Among::All, |_, _| false);
    resting[0].0.picked(Pick::Direct);
    assert_eq!(shown(), 0, "what is dropped comes back no more");
}

#[test]
fn domains_are_no_series() {
    let metrics = metrics();
    let before = metrics.render().lines().count();
    metrics.set_certificates((0..10_000).map(|n| (format!("d{n}.example.com"), 1_900_000_000 - n)).collect());
    let text = metrics.render();
    let shown = lines(&text, "weir_tls_certificate_not_after_seconds{");
    assert_eq!(shown.len(), MAX_CERTIFICATES);
    assert!(shown.iter().any(|line| line.contains("d9999.")) && !shown.iter().any(|line| line.contains("d1.")));
    assert_eq!(text.lines().count(), before + MAX_CERTIFICATES + 2);
}

#[test]
fn no_configuration_drowns_who_scrapes() {
    let (metrics, shop) = (metrics(), "shop".parse().unwrap());
    for n in 0..MAX_SERIES + 2 {
        let alias = format!("a{n}").parse().unwrap();
        metrics.version(&shop, Some(&alias), number(1)).picked(Pick::Slot);
    }
    let text = scraped(&metrics);
    assert_eq!(lines(&text, "weir_alias_weight{").len(), MAX_SERIES);
    let other = r#"weir_picks_total{function="_other",alias="_other",version="_other",reason="slot"} 2"#;
    assert_eq!(lines(&text, other).len(), 1);
}

#[test]
fn the_process_is_measured() {
    let text = metrics().render();
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert_eq!(lines(&text, name).len(), 1, "{name}");
    }
}
