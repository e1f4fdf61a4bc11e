//! The floors of `config`: a module may name the floors below its own, and of its own floor what this table says.
//!
//! A module stands after everything that it may name, so the table can hold no circle.

use crate::paths::Named;
use crate::source::Source;
use crate::walls::outside_tests;

/// The modules of a floor, each with those of the same floor that it may name.
type Modules = &'static [(&'static str, &'static [&'static str])];

/// Each floor, from the lowest, with its modules and the modules of the same floor that they may name.
const FLOORS: &[(&str, Modules)] = &[
    (
        "value",
        &[
            ("decimal", &[]),
            ("digest", &[]),
            ("duration", &[]),
            ("host", &[]),
            ("line", &[]),
            ("name", &[]),
            ("size", &["decimal"]),
            ("target", &["host"]),
            ("template", &[]),
            ("pattern", &["host", "template"]),
            ("weight", &["decimal", "name"]),
            ("bucket", &["name", "weight"]),
            ("rule", &["weight"]),
            ("path", &["rule"]),
        ],
    ),
    ("model", &[]),
    (
        "text",
        &[
            ("problem", &[]),
            ("yaml", &["problem"]),
            ("unfinished", &["yaml"]),
            ("check", &["problem", "yaml"]),
            ("parse", &["check", "problem", "yaml"]),
            ("schema", &["parse"]),
            ("format", &["parse"]),
            ("frozen", &["format"]),
            ("veil", &["format", "parse"]),
            ("diff", &["format", "yaml"]),
            ("edit", &["check", "diff", "problem", "yaml"]),
            ("texts", &["check", "edit", "format", "parse", "problem", "yaml"]),
        ],
    ),
    // What clouds say is told in words of the model and of its edits, and by nobody else.
    (
        "dialect",
        &[
            ("weights", &[]),
            ("failure", &[]),
            ("description", &["failure"]),
            ("main_split", &["weights"]),
            ("arn", &["failure"]),
            ("opaque", &[]),
            ("event", &["failure"]),
            ("lambda", &["arn", "failure", "main_split", "opaque", "weights"]),
            ("scf", &["failure", "main_split", "weights"]),
        ],
    ),
    (
        "route",
        &[
            ("slot", &[]),
            ("head", &[]),
            ("matching", &["head"]),
            ("table", &["slot"]),
            ("resolve", &["head", "slot", "table"]),
            ("explain", &["head", "resolve", "table"]),
        ],
    ),
    (
        "release",
        &[
            ("outcome", &[]),
            ("verdict", &["outcome"]),
            ("rollout", &["outcome", "verdict"]),
            ("preflight", &["rollout", "verdict"]),
            ("simulate", &["outcome", "preflight", "rollout", "verdict"]),
        ],
    ),
];

/// Arrows of `config` that the table does not allow, as `file:line: from -> to: why`.
pub(crate) fn arrows(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for (source, paths) in outside_tests(sources) {
        let module = source.module();
        let Some(height) = height(&module[0]) else {
            if module[0] != "lib" {
                violations.push(format!("{}:1: a floor that has no place in tests/tidy/floors.rs", source.name));
            }
            continue;
        };
        let known = FLOORS[height].1;
        let own = module.get(1).filter(|_| !known.is_empty());
        let allowed = own.map(|own| known.iter().find(|(name, _)| name == own).map(|(_, allowed)| *allowed));
        if let Some(None) = allowed {
            violations.push(format!("{}:1: a module that has no place in tests/tidy/floors.rs", source.name));
            continue;
        }
        for Named { segments, line } in paths.named.iter().filter(|named| named.segments[0] == "crate") {
            let to = segments.get(1).map_or("*", String::as_str);
            let sibling = segments.get(2).map(String::as_str);
            let fits = match self::height(to) {
                Some(other) if other == height => match (allowed.flatten(), sibling) {
                    (Some(allowed), Some(to)) => own.is_some_and(|own| own == to) || allowed.contains(&to),
                    (Some(_), None) => false,
                    (None, _) => true,
                },
                Some(other) => other < height,
                None => false,
            };
            if !fits {
                let from = module[..module.len().min(2)].join("::");
                let to = segments[1..segments.len().min(3)].join("::");
                violations
                    .push(format!("{}:{line}: {from} -> {to}: not an arrow of tests/tidy/floors.rs", source.name));
            }
        }
    }
    violations.dedup();
    violations
}

/// Entries of the table that stand before something that they may name.
pub(crate) fn circles() -> Vec<String> {
    let mut violations = Vec::new();
    for (floor, modules) in FLOORS {
        for (index, (name, allowed)) in modules.iter().enumerate() {
            let earlier = |to: &&str| modules[..index].iter().any(|(other, _)| other == to);
            violations.extend(allowed.iter().filter(|to| !earlier(to)).map(|to| format!("{floor}: {name} -> {to}")));
        }
    }
    violations
}

fn height(floor: &str) -> Option<usize> {
    FLOORS.iter().position(|(name, _)| *name == floor)
}
