//! The page of the manual, and the table of the README.

use std::path::Path;

/// The lines of the README around what is made.
const MARKS: [&str; 2] = ["<!-- made by `make science` -->\n", "<!-- end -->\n"];

/// Writes both.
#[expect(clippy::disallowed_methods, reason = "the core is pure; its suite writes a page of the manual")]
pub(crate) fn write(page: &str, table: &str) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manual = root.join("gateway/manual/science.md");
    let told = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}; it and its folder must be there")
    };
    std::fs::write(&manual, page).map_err(told(&manual))?;
    let readme = root.join("README.md");
    let text = std::fs::read_to_string(&readme).map_err(told(&readme))?;
    let made = between(&text, table).ok_or_else(|| format!("{}: no {MARKS:?} to write between", readme.display()))?;
    std::fs::write(&readme, made).map_err(told(&readme))
}

/// The text with the table between its marks.
fn between(text: &str, table: &str) -> Option<String> {
    let [from, to] = MARKS;
    let start = text.find(from)? + from.len();
    let end = start + text[start..].find(to)?;
    Some(format!("{}{table}{}", &text[..start], &text[end..]))
}
