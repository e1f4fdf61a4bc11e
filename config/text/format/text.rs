//! A tree as YAML text and as JSON.

use serde_json::Value;

use crate::text::format::tree::Tree;

/// Lines are broken into blocks beyond this many characters.
const WIDTH: usize = 110;

impl Tree {
    /// The tree as a document; empty for an empty mapping.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map { entries, .. } if entries.is_empty() => {}
            Self::Map { entries, .. } => block_map(&mut out, entries, 0),
            other => {
                other.inline(&mut out);
                out.push('\n');
            }
        }
        out
    }

    /// The tree on one line, in flow style.
    pub(crate) fn to_line(&self) -> String {
        let mut out = String::new();
        self.inline(&mut out);
        out
    }

    /// The tree of a JSON value: mappings of mappings get lines of their own, versions stand in order of number.
    pub(crate) fn from_json(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::list(items.iter().map(Self::from_json)),
            Value::Object(object) => {
                let block = object.values().any(Value::is_object);
                let mut entries: Vec<_> =
                    object.iter().map(|(key, value)| (key.clone(), Self::from_json(value))).collect();
                entries.sort_by_key(|(key, _)| key.parse::<u64>().unwrap_or(u64::MAX));
                Self::Map { entries, block }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Raw(value.to_string()),
        }
    }

    /// The tree as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Raw(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
            Self::List { items, .. } => items.iter().map(Self::to_json).collect(),
            Self::Map { entries, .. } => {
                Value::Object(entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// The tree as JSON without spaces, keys in the order of their bytes.
    pub(crate) fn write_sorted_json(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(&Value::from(&**text).to_string()),
            Self::Raw(text) => out.push_str(text),
            Self::List { items, .. } => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    item.write_sorted_json(out);
                }
                out.push(']');
            }
            Self::Map { entries, .. } => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                out.push('{');
                for (index, (key, value)) in entries.into_iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    out.push_str(&Value::from(&**key).to_string());
                    out.push(':');
                    value.write_sorted_json(out);
                }
                out.push('}');
            }
        }
    }

    fn inline(&self, out: &mut String) {
        match self {
            Self::Text(text) => scalar(out, text, looks_resolved(text)),
            Self::Raw(text) => out.push_str(text),
            Self::List { items, .. } => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.inline(out);
                }
                out.push(']');
            }
            Self::Map { entries, .. } => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    scalar(out, key, false);
                    out.push_str(": ");
                    value.inline(out);
                }
                out.push('}');
            }
        }
    }

    fn wants_block(&self) -> bool {
        match self {
            Self::Map { block, entries } => *block && !entries.is_empty(),
            Self::List { block, items } => *block && !items.is_empty(),
            _ => false,
        }
    }
}

/// `key: value` lines.
fn block_map(out: &mut String, entries: &[(String, Tree)], indent: usize) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 || out.is_empty() || out.ends_with('\n') {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        let mut written = String::new();
        scalar(&mut written, key, false);
        written.push(':');
        out.push_str(&written);
        after_marker(out, value, indent, written.chars().count());
    }
}

/// What follows `key:` or `-`: on the same line if it fits and nothing asks for lines of its own.
fn after_marker(out: &mut String, value: &Tree, indent: usize, used: usize) {
    if !value.wants_block() {
        let line = value.to_line();
        let fits = indent + used + 1 + line.chars().count() <= WIDTH;
        if fits || matches!(value, Tree::Text(_) | Tree::Raw(_)) || value.is_empty() {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
            return;
        }
    }
    out.push('\n');
    match value {
        Tree::Map { entries, .. } => block_map(out, entries, indent + 2),
        Tree::List { items, .. } => {
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent + 2));
                out.push('-');
                block_item(out, item, indent + 2);
            }
        }
        Tree::Text(_) | Tree::Raw(_) => {}
    }
}

fn block_item(out: &mut String, item: &Tree, indent: usize) {
    let line = item.to_line();
    match item {
        Tree::Map { entries, .. } if indent + 2 + line.chars().count() > WIDTH && !entries.is_empty() => {
            out.push(' ');
            block_map(out, entries, indent + 2);
        }
        _ => {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
        }
    }
}

/// A scalar, quoted where YAML could read something else than this text.
fn scalar(out: &mut String, text: &str, quote: bool) {
    if !quote && is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
}

/// Whether a text means itself without quotes, also inside `{}` and `[]`.
fn is_plain(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/' | b'$' | b'.');
    let other = |b: u8| first(b) || matches!(b, b'-' | b'+' | b'*' | b'@' | b':' | b'^' | b'=' | b'(' | b')');
    text.bytes().next().is_some_and(first)
        && text.bytes().all(other)
        && !text.ends_with(':')
        && !matches!(text, "..." | "null" | "Null" | "NULL")
}

/// Whether YAML readers take this plain text for something else than text.
fn looks_resolved(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let number = text.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.')
        && (text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o") || text.starts_with("0b"));
    number
        || WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
        || text.starts_with(".i")
        || text.starts_with(".n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::yaml;

    proptest! {
        #[test]
        fn every_text_is_read_back(text in "\\PC{0,20}|[\\x00-\\x7f]{0,6}|(null|~|true|1e5|0x1F|\\.inf|-|#|: |, |\\u{feff}|\\u{2028}|\\u{85}|\\u{10ffff}|\\u{fffe}){0,3}", key in "[a-z#: \"\\\\]{1,8}") {
            let tree = Tree::Map {
                entries: vec![(key.clone(), Tree::List { items: vec![Tree::Text(text.clone())], block: false })],
                block: true,
            };
            let written = tree.to_text();
            let mut problems = Vec::new();
            let node = yaml::read(&written, &mut problems);
            prop_assert!(problems.is_empty(), "{written:?}: {problems:?}");
            let yaml::Value::Mapping(entries) = node.unwrap().value else { return Err(TestCaseError::fail("no mapping")) };
            prop_assert_eq!(&entries[0].0.text, &key);
            let yaml::Value::Sequence(items) = &entries[0].1.value else { return Err(TestCaseError::fail("no list")) };
            let is_text = matches!(&items[0].value, yaml::Value::Scalar { text: read, .. } if *read == text);
            prop_assert!(is_text, "{written:?} was read as {items:?}");
        }
    }

    #[test]
    fn what_is_long_goes_into_lines() {
        let item = |n: usize| Tree::Map { entries: vec![("name".into(), Tree::Text("x".repeat(n)))], block: false };
        let list = Tree::List { items: vec![item(10), item(120)], block: false };
        let tree = Tree::Map { entries: vec![("items".into(), list)], block: true };
        let expected = format!("items:\n  - {{name: xxxxxxxxxx}}\n  - name: {}\n", "x".repeat(120));
        assert_eq!(tree.to_text(), expected);
    }
}
