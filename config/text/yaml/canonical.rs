//! The part of YAML that this crate writes itself, read at a fraction of the cost: a store holds hundreds of thousands of
//! small texts, and a start reads all of them.
//!
//! It is a mapping in flow style, or one entry a line with its value in flow style; ASCII; scalars plain or in double
//! quotes without escapes; one space after `:` and `,`. Two readings of such a text cannot differ. Whatever else there is
//! (long texts are written in blocks) is left to the parsers, which a property test compares with this one.

use super::{Key, Node, Value};
use crate::text::problem::Position;

/// Deeper nesting is left to the parsers.
const MAX_DEPTH: usize = 16;
/// Mappings with more entries are left to the parsers, which look for keys that are there twice in another way.
const MAX_ENTRIES: usize = 64;
/// Longer keys are left to the parsers: YAML wants 1024 to be the most.
const MAX_KEY: usize = 512;

/// The tree of a text of this part; `None` for any other.
pub(super) fn read(text: &str) -> Option<Node> {
    let mut reader = Reader { text, next: 0, line: 1, line_start: 0 };
    let root = if text.starts_with('{') { reader.value(0)? } else { reader.lines()? };
    if text.starts_with('{') {
        reader.take("\n")?;
    }
    (reader.next == text.len()).then_some(root)
}

struct Reader<'t> {
    text: &'t str,
    /// Offset of the first byte that was not read.
    next: usize,
    line: u32,
    /// Offset of the line's first byte. All before `next` is ASCII, so offsets count characters.
    line_start: usize,
}

impl<'t> Reader<'t> {
    /// `key: value` lines to the end of the text.
    fn lines(&mut self) -> Option<Node> {
        let at = self.position(self.next, 1);
        let mut entries = Vec::new();
        while self.next < self.text.len() {
            self.entry(0, &mut entries)?;
            self.take("\n")?;
            (self.line, self.line_start) = (self.line + 1, self.next);
        }
        (!entries.is_empty()).then_some(Node { at, value: Value::Mapping(entries) })
    }

    /// `key: value`
    fn entry(&mut self, depth: usize, entries: &mut Vec<(Key, Node)>) -> Option<()> {
        let (text, at, _) = self.scalar()?;
        let twice = entries.iter().any(|(key, _)| key.text == text);
        if twice || text.len() > MAX_KEY || entries.len() == MAX_ENTRIES {
            return None;
        }
        self.take(": ")?;
        let value = self.value(depth + 1)?;
        entries.push((Key { at, text: text.to_owned() }, value));
        Some(())
    }

    /// A scalar, `[a, b]` or `{a: b, c: d}`.
    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let at = self.position(self.next, 1);
        let value = match self.text.as_bytes().get(self.next)? {
            b'[' => {
                let mut items = Vec::new();
                self.list(']', |reader| {
                    items.push(reader.value(depth + 1)?);
                    Some(())
                })?;
                Value::Sequence(items)
            }
            b'{' => {
                let mut entries = Vec::new();
                self.list('}', |reader| reader.entry(depth, &mut entries))?;
                Value::Mapping(entries)
            }
            _ => {
                let (text, at, plain) = self.scalar()?;
                return Some(Node { at, value: Value::Scalar { text: text.to_owned(), plain } });
            }
        };
        Some(Node { at, value })
    }

    /// What lies between a bracket and the closing one, item by item.
    fn list(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.next += 1;
        if self.text[self.next..].starts_with(end) {
            self.next += 1;
            return Some(());
        }
        loop {
            item(self)?;
            if self.text[self.next..].starts_with(end) {
                self.next += 1;
                return Some(());
            }
            self.take(", ")?;
        }
    }

    /// A scalar, its place, and whether it is plain.
    fn scalar(&mut self) -> Option<(&'t str, Position, bool)> {
        let start = self.next;
        let rest = &self.text.as_bytes()[start..];
        let plain = *rest.first()? != b'"';
        let (inner, length) = if plain {
            let length = plain_length(rest);
            (start..start + length, length)
        } else {
            let length = rest[1..].iter().position(|b| !matches!(b, b' '..=b'~') || matches!(b, b'"' | b'\\'))?;
            if rest[1 + length] != b'"' {
                return None;
            }
            (start + 1..start + 1 + length, length + 2)
        };
        let text = &self.text[inner];
        if plain && matches!(text, "" | "..." | "null" | "Null" | "NULL") {
            return None;
        }
        self.next = start + length;
        Some((text, self.position(start, length), plain))
    }

    fn take(&mut self, what: &str) -> Option<()> {
        self.text[self.next..].starts_with(what).then(|| self.next += what.len())
    }

    fn position(&self, start: usize, length: usize) -> Position {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { line: self.line, column: narrow(start - self.line_start + 1), length: narrow(length) }
    }
}

/// How many bytes from the first on are a plain scalar. A `:` belongs to it when a plain character follows.
fn plain_length(bytes: &[u8]) -> usize {
    let first = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/' | b'$' | b'.');
    let other = |b: u8| first(b) || matches!(b, b'-' | b'+' | b'*' | b'@' | b'^' | b'=' | b'(' | b')');
    if !bytes.first().is_some_and(|b| first(*b)) {
        return 0;
    }
    let ends = |(index, b): (usize, &u8)| match b {
        b':' => !bytes.get(index + 1).is_some_and(|next| first(*next)),
        b => !other(*b),
    };
    bytes.iter().enumerate().position(ends).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::yaml::parse;

    fn agrees(text: &str) -> Result<bool, TestCaseError> {
        let Some(node) = read(text) else { return Ok(false) };
        let mut problems = Vec::new();
        let parsed = parse(text, &mut problems);
        prop_assert_eq!(problems, [], "{:?}", text);
        prop_assert_eq!(parsed, Some(node), "{:?}", text);
        Ok(true)
    }

    /// A value in flow style.
    fn flow() -> impl Strategy<Value = String> {
        let scalar =
            prop_oneof!["[a-z0-9/$._][a-z0-9/$._:*=@+-]{0,8}", "\"[ -~&&[^\"\\\\]]{0,8}\"", "true|0x1F|1e5|\\.inf|1_0"];
        scalar.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec(("[a-z0-9\"]{1,3}", inner), 0..3).prop_map(|entries| {
                    let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                    format!("{{{}}}", entries.join(", "))
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_it_reads_the_parsers_read_the_same(
            lines in prop::collection::vec(("[a-z0-9\"/$.]{1,4}", flow()), 1..4),
            cut in any::<prop::sample::Index>(),
            put in "[a-c\"':{}\\[\\],&*!|>#?%@ \n\t\u{e9}\u{feff}\u{85}-]{0,2}",
        ) {
            let text: String = lines.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
            agrees(&text)?;
            agrees(&format!("{}\n", lines[0].1))?;
            // Nearly such a text.
            let mut text = text;
            let cut = cut.index(text.len());
            if text.is_char_boundary(cut) {
                text.insert_str(cut, &put);
            }
            agrees(&text)?;
        }
    }

    #[test]
    fn what_a_store_holds_is_of_this_part() {
        for text in [
            "{}\n",
            "{dialects: [fc, aws]}\n",
            "endpoints: [10.0.0.11:8080, shop.internal:8080]\ntls: {verify: false}\ndigest: \"12\"\n",
            "split: {1: 95, 2: 5}\nkey: [{header: x-user-id}, client_address]\n",
            "routes: [{path: /*, to: shop:prod}]\nversion_header: false\n",
            "a: \"two words: here\"\n",
        ] {
            assert!(agrees(text).unwrap(), "{text}");
        }
        for text in
            ["", "\n", "a:\n  b: 1\n", "a: 1", "a: ~\n", "a: null\n", "a: 1\na: 2\n", "a: é\n", "a: \"\\n\"\n", "2\n"]
        {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
