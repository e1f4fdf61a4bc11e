//! Who may know whom: the table of allowed arrows between the modules of `gateway`, and where third-party types live.
//!
//! A module that is not in the table may not exist, and an arrow that is not in it may not be drawn. Adding one is a
//! decision about the architecture: change the table, ARCHITECTURE.md and the code in one commit, with the reason.

use std::collections::HashSet;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, ExprMethodCall, Member};

use crate::paths::{Named, Paths};
use crate::source::Source;

/// Everything below the composition root.
const ALL: &[&str] = &[
    "admin",
    "calls",
    "clock",
    "control",
    "demo",
    "dial",
    "dialects",
    "edge",
    "files",
    "hook",
    "live",
    "log",
    "metrics",
    "notify",
    "outcomes",
    "policy",
    "proxy",
    "query",
    "relay",
    "store",
    "upstreams",
];

/// Each module at the root of `gateway`, and the siblings it may name; `sibling::name` allows that one name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["clock", "files", "log", "serve"]),
    (
        "serve",
        &[
            "admin",
            "cli::Exit",
            "clock",
            "control",
            "demo",
            "dial",
            "dialects",
            "edge",
            "files",
            "live",
            "log",
            "metrics",
            "outcomes",
            "policy",
            "proxy",
            "relay",
            "store",
            "upstreams",
        ],
    ),
    ("demo", &[]),
    ("clock", &[]),
    ("files", &[]),
    ("live", &["metrics", "outcomes", "store::Revision", "upstreams"]),
    ("dial", &[]),
    ("upstreams", &["clock", "dial", "files"]),
    ("edge", &["clock", "policy"]),
    ("relay", &["clock", "edge", "live", "log", "metrics", "outcomes", "policy", "upstreams"]),
    ("proxy", &["edge", "live", "log", "policy", "upstreams"]),
    ("policy", &["clock", "live", "log", "metrics", "outcomes", "upstreams"]),
    (
        "control",
        &[
            "clock",
            "dial",
            "edge::tls",
            "files",
            "hook",
            "live",
            "metrics",
            "notify",
            "outcomes",
            "query",
            "store",
            "upstreams",
        ],
    ),
    ("store", &["clock", "files"]),
    ("admin", &["clock", "control", "hook", "live", "metrics"]),
    // A second face of the control plane beside `admin`, whose listener and limit of attempts it shares; and, for what is invoked, the
    // client of `policy` that a lane is, on a thread that is not the data path's.
    (
        "dialects",
        &[
            "admin::Attempts",
            "admin::Connections",
            "admin::Listener",
            "admin::Peer",
            "clock",
            "control",
            "files",
            "live",
            "log",
            "metrics",
            "policy",
            "store::Revision",
            "upstreams",
        ],
    ),
    ("notify", &["calls", "clock", "dial"]),
    ("hook", &["calls", "clock", "dial"]),
    ("query", &["calls", "dial"]),
    ("calls", &["dial"]),
    ("metrics", &[]),
    ("outcomes", &[]),
    ("log", &[]),
];

/// Arrows that must never be drawn, and why: what the table above may not be changed into.
const NEVER: &[(&[&str], &[&str], &str)] = &[
    (
        &["proxy", "relay", "edge", "policy"],
        &["control", "store", "admin", "cli"],
        "the data path cannot wait on the control plane",
    ),
    (&["relay"], &["proxy"], "the lanes meet in edge and policy, never in each other"),
    (&["proxy"], &["relay"], "the lanes meet in edge and policy, never in each other"),
    (&["control"], &["proxy", "relay"], "the control plane works with no listener at all"),
    (&["dialects"], &["proxy", "relay", "edge"], "what is invoked has no lane"),
    (&["admin"], &["store"], "admin sends commands and reads snapshots; control writes"),
    (&["store"], &["control", "live", "config"], "a store knows names, texts and revisions"),
    (&["metrics", "log", "outcomes"], ALL, "they are told things; they decide nothing"),
    (&["cli"], &["proxy", "control", "store"], "remote commands are HTTP calls to a running gateway"),
    (&["main"], ALL, "main hands over to cli"),
];

/// Prefixes of third-party crates, the files that may name them (by prefix), and why only those.
const HOMES: &[(&[&str], &[&str], &str)] = &[
    (&["pingora"], &["gateway/edge/proxied", "gateway/proxy"], "pingora's types stay where bytes move"),
    (&["axum"], &["gateway/admin", "gateway/dialects"], "axum is that of the listeners off the data path"),
    (&["clap"], &["gateway/cli"], "the command line is parsed in cli"),
    (&["reqwest"], &["gateway/cli", "gateway/calls"], "remote commands and calls to others have one client each"),
    (&["serde_yaml", "saphyr"], &["config/text/yaml.rs"], "one file names a YAML crate"),
    (&["rusqlite", "sqlx", "etcd_client"], &["gateway/store/"], "store clients stay behind the trait Store"),
];

/// Arrows of `gateway` that the table does not allow, as `file:line: from -> to: why`.
pub(crate) fn arrows(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for (source, paths) in outside_tests(sources) {
        let module = source.module();
        let Some((from, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module[0]) else {
            violations.push(format!("{}:1: a module that has no place in tests/tidy/walls.rs", source.name));
            continue;
        };
        for Named { segments, line } in &paths.named {
            let at = format!("{}:{line}", source.name);
            if *from == "lib" {
                violations.push(format!("{at}: lib -> {}: the root only lists its modules", segments.join("::")));
            } else if segments[0] == "config" && never(from, "config").is_some() {
                violations.push(format!("{at}: {from} -> config: {}", reason(from, "config")));
            } else if segments[0] == "crate" {
                let to = segments.get(1).map_or("*", String::as_str);
                let name = segments.get(1..3).map(|both| both.join("::")).unwrap_or_default();
                if to != *from && !allowed.contains(&to) && !allowed.contains(&name.as_str()) {
                    violations.push(format!("{at}: {from} -> {to}: {}", reason(from, to)));
                }
            }
        }
    }
    violations.dedup();
    violations
}

/// Third-party types away from home, as `file:line: crate: why`.
pub(crate) fn homes(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for (source, paths) in outside_tests(sources) {
        for Named { segments, line } in &paths.named {
            let of =
                |(crates, _, _): &&(&[&str], &[&str], &str)| crates.iter().any(|name| segments[0].starts_with(name));
            if let Some((_, homes, why)) = HOMES.iter().find(of)
                && !homes.iter().any(|home| source.name.starts_with(home))
            {
                violations.push(format!("{}:{line}: {}: {why}: {}", source.name, segments[0], homes.join(", ")));
            }
        }
    }
    violations
}

/// Calls of `live.publish` outside `control`, the one arrow that is a method and not a path.
pub(crate) fn publishers(sources: &[Source]) -> Vec<String> {
    struct Calls(Vec<usize>);
    impl Visit<'_> for Calls {
        fn visit_expr_method_call(&mut self, call: &ExprMethodCall) {
            let on_live = match &*call.receiver {
                Expr::Field(field) => matches!(&field.member, Member::Named(name) if name == "live"),
                Expr::Path(path) => path.path.is_ident("live"),
                _ => false,
            };
            if call.method == "publish" && on_live {
                self.0.push(call.span().start().line);
            }
            visit::visit_expr_method_call(self, call);
        }
    }
    let mut violations = Vec::new();
    for (source, paths) in outside_tests(sources) {
        if source.name.starts_with("gateway/control/guardian") || source.name == "gateway/live.rs" {
            continue;
        }
        let mut calls = Calls(Vec::new());
        calls.visit_file(&source.parse());
        let by_path = paths.named.iter().filter(|named| named.segments.ends_with(&["Live".into(), "publish".into()]));
        calls.0.extend(by_path.map(|named| named.line));
        let each = |line| format!("{}:{line}: only the guardian publishes into Live", source.name);
        violations.extend(calls.0.into_iter().map(each));
    }
    violations
}

/// Arrows that both tables speak about, in opposite ways.
pub(crate) fn contradictions() -> Vec<String> {
    let known: HashSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let mut violations = Vec::new();
    for (from, allowed) in ALLOWED {
        for to in *allowed {
            let module = to.split("::").next().unwrap_or_default();
            if never(from, module).is_some() {
                violations.push(format!("{from} -> {to} is both allowed and forbidden"));
            }
            if !known.contains(module) {
                violations.push(format!("{from} -> {to}: no such module"));
            }
        }
    }
    violations
}

/// Each source that is not itself a test module, with the paths it names.
pub(crate) fn outside_tests(sources: &[Source]) -> Vec<(&Source, Paths)> {
    let root = |source: &Source| {
        let module = source.module();
        if matches!(module[0].as_str(), "lib" | "main") { Vec::new() } else { module }
    };
    let mut parsed: Vec<_> = sources.iter().map(|source| (source, Paths::of(&source.parse(), root(source)))).collect();
    let tests: HashSet<Vec<String>> = parsed.iter().flat_map(|(_, paths)| paths.test_modules.clone()).collect();
    parsed.retain(|(source, _)| !tests.iter().any(|test| source.module().starts_with(test)));
    parsed
}

fn reason(from: &str, to: &str) -> String {
    match never(from, to) {
        Some(why) => why.into(),
        None if to == "*" => "name the module, not the root".into(),
        None => "not an arrow of tests/tidy/walls.rs".into(),
    }
}

fn never(from: &str, to: &str) -> Option<&'static str> {
    if to == "serve" {
        return (from != "cli").then_some("the composition root knows everyone; only cli knows it");
    }
    NEVER.iter().find(|(froms, tos, _)| froms.contains(&from) && tos.contains(&to)).map(|(_, _, why)| *why)
}
