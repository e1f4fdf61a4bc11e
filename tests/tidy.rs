//! Holds the shape of the project: which module may know which, where third-party types live, how long a file may grow.
//!
//! The tables in `tidy/walls.rs` and `tidy/floors.rs` are the architecture that cannot rot; ARCHITECTURE.md explains them. Each rule is tried
//! against a sample that breaks it before it is tried against the project, so a rule that has gone blind fails here.

#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/texts.rs"]
mod texts;
#[path = "tidy/walls.rs"]
mod walls;

use source::Source;

/// Fails with one violation per line.
fn hold(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn modules_know_only_whom_they_may() {
    let sources = source::rust_files(&["gateway"]);
    assert!(sources.iter().any(|source| source.name == "gateway/lib.rs"), "the walk found no gateway");
    hold(&walls::arrows(&sources));
}

#[test]
fn floors_know_only_what_is_below() {
    let sources = source::rust_files(&["config"]);
    let sources: Vec<_> = sources.into_iter().filter(|source| !source.is_test_or_bench()).collect();
    assert!(sources.iter().any(|source| source.name == "config/value/name.rs"), "the walk found no config");
    hold(&floors::arrows(&sources));
    hold(&floors::circles());
}

#[test]
fn third_party_types_stay_home() {
    hold(&walls::homes(&source::rust_files(&["gateway", "config"])));
}

#[test]
fn only_the_guardian_publishes() {
    hold(&walls::publishers(&source::rust_files(&["gateway"])));
}

#[test]
fn files_stay_short() {
    hold(&texts::lengths(&source::files()));
}

#[test]
fn every_module_says_what_it_is_for() {
    hold(&texts::docs(&source::rust_files(&source::CODE)));
}

#[test]
fn nothing_is_left_for_later() {
    hold(&texts::marks(&source::files()));
    hold(&texts::unfinished(&source::rust_files(&source::CODE)));
}

#[test]
fn type_names_say_what_they_are() {
    hold(&texts::vague_types(&source::rust_files(&["gateway", "config"])));
}

#[test]
fn top_level_holds_only_what_it_may() {
    hold(&texts::top_level(&source::top_level()));
}

// --- each rule must bite -----------------------------------------------------------------------------------------------

/// Violations of `rule` in one file that is not on disk.
fn bites(rule: impl Fn(&[Source]) -> Vec<String>, name: &str, text: &str) -> Vec<String> {
    rule(&[Source { name: name.into(), text: text.into() }])
}

/// Module, text, and the arrow that must be reported, as `line: from -> to`.
const FORBIDDEN_SAMPLES: &[(&str, &str, &str)] = &[
    ("gateway/proxy.rs", "use crate::control::Command;", "1: proxy -> control"),
    ("gateway/relay/head.rs", "use super::super::proxy::Ctx;", "1: relay -> proxy"),
    ("gateway/proxy/head.rs", "\nfn f() { crate::relay::open() }", "2: proxy -> relay"),
    ("gateway/edge.rs", "fn f(s: &crate::store::Store) {}", "1: edge -> store"),
    ("gateway/policy/retry.rs", "use crate::{clock, admin::{api, error as e}};", "1: policy -> admin"),
    ("gateway/control/publish.rs", "use crate::proxy;", "1: control -> proxy"),
    ("gateway/control/publish.rs", "use crate::edge::{tls::Live, accept::Edge};", "1: control -> edge"),
    ("gateway/admin/api.rs", "fn f() -> Box<dyn super::super::store::Store> { g() }", "1: admin -> store"),
    ("gateway/store/memory.rs", "use crate::live::Live;", "1: store -> live"),
    ("gateway/store.rs", "fn f(c: config::model::Config) {}", "1: store -> config"),
    ("gateway/metrics.rs", "use crate::edge::Observer;", "1: metrics -> edge"),
    ("gateway/log.rs", "impl X for crate::proxy::Y {}", "1: log -> proxy"),
    ("gateway/cli/explain.rs", "fn f() { let _ = vec![crate::control::start()]; }", "1: cli -> control"),
    ("gateway/cli.rs", "#[derive(crate::proxy::Derive)] struct S;", "1: cli -> proxy"),
    ("gateway/live.rs", "use crate::serve::run;", "1: live -> serve"),
    ("gateway/relay.rs", "mod inner { use super::super::admin; }", "1: relay -> admin"),
    ("gateway/main.rs", "fn main() { gateway::store::open() }", "1: main -> store"),
    ("gateway/edge/tls.rs", "#[cfg(not(test))] mod a { use crate::cli; }", "1: edge -> cli"),
];

#[test]
fn every_forbidden_arrow_is_seen() {
    for (name, text, arrow) in FORBIDDEN_SAMPLES {
        let found = bites(walls::arrows, name, text);
        assert_eq!(found.len(), 1, "{name}: {text}: {found:?}");
        assert!(found[0].starts_with(&format!("{name}:{arrow}: ")), "{found:?} does not report {arrow}");
    }
}

#[test]
fn arrows_between_floors_are_seen() {
    for (name, text, arrow) in [
        ("config/value/name.rs", "use crate::model::Config;", "1: value::name -> model::Config"),
        ("config/model/plan.rs", "use crate::text::parse::parse;", "1: model::plan -> text::parse"),
        ("config/text/parse/alias.rs", "use crate::text::edit::Edit;", "1: text::parse -> text::edit"),
        ("config/text/check.rs", "use super::parse;", "1: text::check -> text::parse"),
        (
            "config/route/table.rs",
            "fn f(_: crate::release::outcome::Outcome) {}",
            "1: route::table -> release::outcome",
        ),
        ("config/release.rs", "use crate::gossip::Peer;", "1: release -> gossip::Peer"),
    ] {
        let found = bites(floors::arrows, name, text);
        assert_eq!(found.len(), 1, "{name}: {text}: {found:?}");
        assert!(found[0].starts_with(&format!("{name}:{arrow}: ")), "{found:?} does not report {arrow}");
    }
    assert_eq!(bites(floors::arrows, "config/gossip.rs", "fn f() {}").len(), 1);
    assert_eq!(bites(floors::arrows, "config/text/gossip.rs", "fn f() {}").len(), 1);
    assert_eq!(bites(floors::arrows, "config/text/parse.rs", "use crate::value::name::Name;").len(), 0);
}

#[test]
fn roots_and_unknown_modules_are_seen() {
    for text in ["use crate::*;", "use crate as root;", "use super::{self as up};", "use crate::gossip::Peer;"] {
        assert_eq!(bites(walls::arrows, "gateway/proxy.rs", text).len(), 1, "{text}");
    }
    assert_eq!(bites(walls::arrows, "gateway/lib.rs", "pub use store::Store;").len(), 1);
    assert_eq!(bites(walls::arrows, "gateway/gossip.rs", "fn f() {}").len(), 1);
}

#[test]
fn allowed_arrows_pass() {
    for (name, text) in [
        ("gateway/serve.rs", "use crate::{admin, control, edge::Lane, proxy, store};"),
        (
            "gateway/proxy/head.rs",
            "use super::ctx::Ctx; use crate::live::Live; use log::info; use config::route::resolve;",
        ),
        ("gateway/control/publish.rs", "#[cfg(test)] mod tests { use crate::proxy; }"),
        ("gateway/control/publish.rs", "use crate::edge::tls::Live; fn f(r: crate::store::Revision) {}"),
        ("gateway/lib.rs", "pub mod cli;\nmod store;"),
        ("gateway/main.rs", "fn main() { gateway::cli::run() }"),
        ("gateway/edge.rs", "macro_rules! m { () => { $crate::clock::now() } }"),
    ] {
        assert_eq!(bites(walls::arrows, name, text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn files_of_test_modules_are_free() {
    let file = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let parent = file("gateway/control.rs", "#[cfg(test)] mod tests;");
    let child = file("gateway/control/tests.rs", "mod publish; use crate::proxy;");
    let grandchild = file("gateway/control/tests/publish.rs", "use crate::proxy;");
    assert_eq!(walls::arrows(&[parent, child.clone(), grandchild]), Vec::<String>::new());
    assert_eq!(walls::arrows(&[child]).len(), 1);
}

#[test]
fn strayed_crates_are_seen() {
    for (name, text) in [
        ("gateway/control.rs", "use pingora_core::Result;"),
        ("gateway/policy.rs", "fn f(s: &pingora::proxy::Session) {}"),
        ("gateway/control/api.rs", "fn f() { axum::serve() }"),
        ("gateway/live.rs", "#[derive(clap::Args)] struct S;"),
        ("config/parse.rs", "use saphyr_parser::Event;"),
        ("config/parse.rs", "fn f() { serde_yaml::from_str(\"\") }"),
        ("gateway/control.rs", "extern crate pingora_core;"),
        ("gateway/store.rs", "use rusqlite::Connection;"),
    ] {
        assert_eq!(bites(walls::homes, name, text).len(), 1, "{name}: {text}");
    }
    for (name, text) in [
        ("gateway/edge/proxied/engine.rs", "use pingora_core::protocols::IO;"),
        ("gateway/admin/api.rs", "use axum::Router;"),
        ("config/text/yaml.rs", "use saphyr_parser::Event;"),
        ("config/parse.rs", "#[cfg(test)] mod tests { use serde_yaml::Value; }"),
    ] {
        assert_eq!(bites(walls::homes, name, text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn strayed_publishers_are_seen() {
    for text in ["fn f(s: &S) { s.live.publish(x) }", "fn f() { live.publish(x) }", "fn f() { Live::publish(&l, x) }"] {
        assert_eq!(bites(walls::publishers, "gateway/admin/api.rs", text).len(), 1, "{text}");
        assert_eq!(bites(walls::publishers, "gateway/control/publish.rs", text).len(), 1, "{text}");
        assert_eq!(bites(walls::publishers, "gateway/control/guardian/swap.rs", text).len(), 0, "{text}");
    }
    assert_eq!(bites(walls::publishers, "gateway/admin/api.rs", "fn f() { function.publish(x) }").len(), 0);
}

#[test]
fn long_files_are_seen() {
    let long = "// line\n".repeat(501);
    assert_eq!(bites(texts::lengths, "gateway/edge.rs", &long).len(), 1);
    assert_eq!(bites(texts::lengths, "benches/peers/bench.py", &"# line\n".repeat(501)).len(), 1);
    assert_eq!(bites(texts::lengths, "gateway/edge.rs", &"// line\n".repeat(500)).len(), 0);
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "// line\n".repeat(500), "// line\n".repeat(400));
    assert_eq!(bites(texts::lengths, "gateway/edge.rs", &tests).len(), 0);
    assert_eq!(bites(texts::lengths, "gateway/edge.rs", &tests.replace("cfg(test)", "cfg(unix)")).len(), 1);
}

#[test]
fn missing_docs_are_seen() {
    for text in ["fn f() {}", "/// Outer.\nfn f() {}", "//!\nfn f() {}"] {
        assert_eq!(bites(texts::docs, "gateway/edge.rs", text).len(), 1, "{text}");
    }
    assert_eq!(bites(texts::docs, "gateway/edge.rs", "//! Sockets.\n").len(), 0);
}

#[test]
fn unfinished_work_is_seen() {
    for word in texts::MARKS {
        assert_eq!(bites(texts::marks, "gateway/edge.rs", &format!("fn f() {{}} // {word}: later\n")).len(), 1);
    }
    assert_eq!(bites(texts::marks, "README.md", &format!("Prefixes {}S are words too.\n", texts::MARKS[0])).len(), 0);
    for text in [
        "#[test]\n#[ignore]\nfn f() {}",
        "#[cfg_attr(unix, ignore = \"slow\")] fn f() {}",
        "fn f() { todo!() }",
        "fn f() { let _ = || std::unimplemented!(\"x\"); }",
    ] {
        assert_eq!(bites(texts::unfinished, "gateway/edge.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn vague_types_are_seen() {
    for text in ["struct PoolManager;", "enum RequestData { A }", "trait Helper {}", "mod a { type RouteInfo = u8; }"] {
        assert_eq!(bites(texts::vague_types, "gateway/edge.rs", text).len(), 1, "{text}");
    }
    assert_eq!(bites(texts::vague_types, "gateway/edge.rs", "struct Datagram; struct Information;").len(), 0);
}

#[test]
fn strange_top_level_names_are_seen() {
    let names = |names: &[&str]| texts::top_level(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(names(&["src", "common", "notes.md"]).len(), 3);
    assert_eq!(names(&["gateway", "Cargo.toml", ".ci", ".gitignore", "LICENSE"]).len(), 0);
}

#[test]
fn the_two_tables_agree() {
    hold(&walls::contradictions());
}
