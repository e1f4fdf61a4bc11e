//! Rules about texts: length, module docs, words that promise work for later, names of types, the top level.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Ident, Item, Lit, Macro, Meta};

use crate::paths::{attributes, is_test};
use crate::source::{CODE, Source};

/// Lines that a file may have, inline test modules not counted.
const LONGEST: usize = 500;

/// Words that promise work for later. Split, so that this file does not hold them.
pub(crate) const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Endings of type names that say nothing.
const VAGUE: [&str; 6] = ["Manager", "Helper", "Handler", "Util", "Data", "Info"];

/// What the top level may hold.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "benches",
    "config",
    "docker",
    "gateway",
    "tests",
];

/// Code files that are too long.
pub(crate) fn lengths(sources: &[Source]) -> Vec<String> {
    let code = sources.iter().filter(|source| {
        CODE.iter().any(|folder| source.name.starts_with(&format!("{folder}/")))
            && [".rs", ".py", ".c", ".sh"].iter().any(|ending| source.name.ends_with(ending))
    });
    let long = code.map(|source| (source, counted_lines(source))).filter(|(_, lines)| *lines > LONGEST);
    long.map(|(source, lines)| format!("{}:{lines}: longer than {LONGEST} lines", source.name)).collect()
}

/// Rust files that do not begin by saying what they are for.
pub(crate) fn docs(sources: &[Source]) -> Vec<String> {
    let silent = |source: &&Source| !source.parse().attrs.iter().any(says_something);
    sources.iter().filter(silent).map(|source| format!("{}:1: no `//!` doc", source.name)).collect()
}

/// Words that promise work for later, in any text of the project.
pub(crate) fn marks(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(word) = words.find(|word| MARKS.contains(word)) {
                violations.push(format!("{}:{}: {word}: open an issue instead", source.name, index + 1));
            }
        }
    }
    violations
}

/// Tests that do not run, and code that is not there.
pub(crate) fn unfinished(sources: &[Source]) -> Vec<String> {
    #[derive(Default)]
    struct Unfinished(Vec<(usize, String)>);
    impl Visit<'_> for Unfinished {
        fn visit_attribute(&mut self, attribute: &Attribute) {
            let conditional = |list: &syn::MetaList| {
                list.path.is_ident("cfg_attr")
                    && list.tokens.clone().into_iter().any(|token| token.to_string() == "ignore")
            };
            if attribute.path().is_ident("ignore") || matches!(&attribute.meta, Meta::List(list) if conditional(list)) {
                self.0.push((attribute.span().start().line, "#[ignore]: a test runs or goes".into()));
            }
        }
        fn visit_macro(&mut self, call: &Macro) {
            let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
            if name == "todo" || name == "unimplemented" {
                self.0.push((call.span().start().line, format!("{name}!: finish it or leave it out")));
            }
            visit::visit_macro(self, call);
        }
    }
    let mut violations = Vec::new();
    for source in sources {
        let mut found = Unfinished::default();
        found.visit_file(&source.parse());
        violations.extend(found.0.into_iter().map(|(line, what)| format!("{}:{line}: {what}", source.name)));
    }
    violations
}

/// Types whose names end in a word that says nothing.
pub(crate) fn vague_types(sources: &[Source]) -> Vec<String> {
    struct Types(Vec<Ident>);
    impl Visit<'_> for Types {
        fn visit_item(&mut self, item: &Item) {
            match item {
                Item::Struct(item) => self.0.push(item.ident.clone()),
                Item::Enum(item) => self.0.push(item.ident.clone()),
                Item::Trait(item) => self.0.push(item.ident.clone()),
                Item::Type(item) => self.0.push(item.ident.clone()),
                _ => visit::visit_item(self, item),
            }
        }
    }
    let mut violations = Vec::new();
    for source in sources {
        let mut types = Types(Vec::new());
        types.visit_file(&source.parse());
        let vague = |name: &&Ident| VAGUE.iter().any(|ending| name.to_string().ends_with(ending));
        let each = |name: &Ident| format!("{}:{}: {name}: says nothing", source.name, name.span().start().line);
        violations.extend(types.0.iter().filter(vague).map(each));
    }
    violations
}

/// Names at the top level that do not belong there.
pub(crate) fn top_level(names: &[String]) -> Vec<String> {
    let strange = |name: &&String| !name.starts_with('.') && !TOP.contains(&name.as_str());
    names.iter().filter(strange).map(|name| format!("{name}: not a name of the top level")).collect()
}

fn says_something(attribute: &Attribute) -> bool {
    let Meta::NameValue(doc) = &attribute.meta else { return false };
    let Expr::Lit(literal) = &doc.value else { return false };
    doc.path.is_ident("doc") && matches!(&literal.lit, Lit::Str(text) if !text.value().trim().is_empty())
}

fn counted_lines(source: &Source) -> usize {
    let lines = source.text.lines().count();
    // A file that is short with its tests is short without them; only the others need a look inside.
    if lines <= LONGEST || !source.is_rust() {
        return lines;
    }
    let tests = |item: &Item| match item {
        Item::Mod(module) if module.content.is_some() && attributes(item).iter().any(is_test) => {
            let start = module.attrs.first().map_or(module.span(), Spanned::span).start().line;
            module.span().end().line + 1 - start
        }
        _ => 0,
    };
    lines - source.parse().items.iter().map(tests).sum::<usize>()
}
