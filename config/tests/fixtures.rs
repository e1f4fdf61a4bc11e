//! Files that must be read and files that must not, with the whole output that a user sees beside each bad one.
//!
//! `UPDATE_EXPECTED=1 cargo test -p weirgate-config --test fixtures` writes the outputs anew; read them before you commit.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "this test reads fixtures")]

use std::fs;
use std::path::{Path, PathBuf};

use config::text::parse::parse;
use config::text::problem::{Severity, render};

/// What the fixtures find in the environment.
fn env(name: &str) -> Option<String> {
    match name {
        "WEIR_OVERRIDE_TOKEN" => Some("0123456789abcdef0123".to_owned()),
        "DINGTALK_TOKEN" | "DINGTALK_SECRET" | "API_KEY" => Some("s3cret-value".to_owned()),
        "SHOP_URL" => Some("http://10.0.0.11:8080".to_owned()),
        "HOOK_URL" => Some("https://example.com/hook".to_owned()),
        "EMPTY" => Some(String::new()),
        "WITH_NEWLINE" => Some("s3cret\nvalue".to_owned()),
        _ => None,
    }
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(kind);
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What a user sees: all problems, warnings included.
fn output(path: &Path) -> (bool, String) {
    let text = fs::read_to_string(path).unwrap();
    let (read, problems) = match parse(&text, &env) {
        Ok((_, warnings)) => (true, warnings),
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error), "{problems:?}");
            (false, problems)
        }
    };
    (read, render(&problems, "weir.yaml", &text))
}

#[test]
fn bad_files_say_where_what_and_what_would_be_right() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut different = Vec::new();
    for path in fixtures("bad") {
        let (read, output) = output(&path);
        assert!(!read, "{} was read", path.display());
        assert!(!output.contains("s3cret"), "{} shows a secret:\n{output}", path.display());
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, &output).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != output {
            different.push(format!("{}:\n{output}", path.display()));
        }
    }
    assert!(different.is_empty(), "other output than expected:\n{}", different.join("\n"));
    assert!(fixtures("bad").len() >= 45);
}

#[test]
fn good_files_are_read_without_a_word() {
    for path in fixtures("good") {
        let (read, output) = output(&path);
        assert!(read && output.is_empty(), "{}:\n{output}", path.display());
    }
}
