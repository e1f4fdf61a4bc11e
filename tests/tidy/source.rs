//! The files that the rules look at.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold code.
pub(crate) const CODE: [&str; 4] = ["config", "gateway", "benches", "tests"];

/// One text file: its name from the root of the project, with `/`, and what is in it.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// The syntax tree. A file that does not parse fails the test that asks.
    pub(crate) fn parse(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }

    pub(crate) fn is_test_or_bench(&self) -> bool {
        self.name.split('/').any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
    }

    /// Modules from the crate's root: `gateway/edge/tls.rs` is `[edge, tls]`, `gateway/main.rs` is `[main]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inside = self.name.split_once('/').map_or(self.name.as_str(), |(_, inside)| inside);
        inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/').map(String::from).collect()
    }
}

/// Rust files below these folders.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<Source> {
    let below = |name: &str| folders.iter().any(|folder| name.starts_with(&format!("{folder}/")));
    files().into_iter().filter(|source| source.is_rust() && below(&source.name)).collect()
}

/// Every text file that people of the project write, sorted by name.
pub(crate) fn files() -> Vec<Source> {
    let mut found = Vec::new();
    for name in top_level() {
        walk(&root().join(name), &mut found);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Names at the top level, without what `.gitignore` names there and without git's own folder.
pub(crate) fn top_level() -> Vec<String> {
    let ignored = fs::read_to_string(root().join(".gitignore")).expect(".gitignore is part of the project");
    let ignored: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
    let names = fs::read_dir(root()).expect("the project's root can be read");
    let names = names.map(|entry| entry.expect("its entries too").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != ".git" && !ignored.contains(&name.as_str())).collect()
}

fn walk(path: &Path, found: &mut Vec<Source>) {
    if path.is_dir() {
        // Fixtures are texts that are wrong on purpose; build output is not ours.
        if path.ends_with("fixtures") || path.ends_with("target") || path.ends_with("__pycache__") {
            return;
        }
        for entry in fs::read_dir(path).expect("a folder of the project can be read") {
            walk(&entry.expect("its entries too").path(), found);
        }
    } else if !path.ends_with("Cargo.lock")
        && let Ok(text) = fs::read_to_string(path)
    {
        let name = path.strip_prefix(root()).expect("the walk starts at the root").to_string_lossy().replace('\\', "/");
        found.push(Source { name, text });
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
