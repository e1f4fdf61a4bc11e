//! A text taken apart: the entries of its large sections, and the rest.
//!
//! Each entry is a text that is read by itself, so that entries that did not change need not be read again, and many are
//! read at the same time. It is done only where the shape of a text is sure: block style, an entry begins in the column of
//! the first one, and nothing refers from one entry to another. Whatever else there is, a problem included, is read whole.

use super::{Key, MAX_BYTES, Node, Value, read_alone};
use crate::text::problem::Position;

/// The parts of a text.
#[derive(Debug)]
pub(crate) struct Outline<'t> {
    /// The text without the entries of its sections.
    rest: String,
    /// From which line of `rest` on how many lines of the text were left out before.
    gaps: Vec<(u32, u32)>,
    /// The sections that were taken apart.
    pub(crate) sections: Vec<Section<'t>>,
}

/// A section of a text: a key of the root whose value is a mapping in block style.
#[derive(Debug)]
pub(crate) struct Section<'t> {
    pub(crate) name: &'static str,
    /// The line of its key, from 1.
    line: u32,
    pub(crate) parts: Vec<Part<'t>>,
}

/// One entry of a section, from its key to the next one, with the lines of the text that it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'t> {
    pub(crate) text: &'t str,
    /// How many lines of the text stand before it.
    before: u32,
    /// The column of its key, from 0.
    indent: usize,
}

impl<'t> Outline<'t> {
    /// Takes a text apart; `None` where its shape is not sure. `names` are those of the sections.
    pub(crate) fn of(text: &'t str, names: &[&'static str]) -> Option<Self> {
        // Other breaks of lines, and a mark that may stand anywhere.
        let is_odd = |c: char| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
        let bytes = text.as_bytes();
        if bytes.len() > MAX_BYTES || bytes.contains(&b'\t') || bytes.contains(&b'\r') {
            return None;
        }
        if !text.is_ascii() && text.contains(is_odd) {
            return None;
        }
        let outline = Self { rest: String::new(), gaps: Vec::new(), sections: Vec::new() };
        let mut taken = Taken { text, outline, open: Open::Rest, begun: (0, 0), seen: 0, left_out: 0 };
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            taken.line(line, start, names)?;
            start += line.len();
        }
        taken.open(Open::Rest, start);
        Some(taken.outline)
    }

    /// The tree of the text without the entries of its sections, whose values are `null`; `None` where the shape is not sure.
    pub(crate) fn rest(&self) -> Option<Node> {
        let mut root = read_alone(&self.rest, 0)?;
        root.place(&|at: Position| {
            let gaps = self.gaps.partition_point(|(line, _)| *line <= at.line);
            let left_out = gaps.checked_sub(1).map_or(0, |last| self.gaps[last].1);
            Position { line: at.line + left_out, ..at }
        });
        let Value::Mapping(entries) = &root.value else { return None };
        // A line that looks like a key may stand in a text of many lines.
        let is_key = |section: &Section<'_>| {
            let is_here = |key: &Key| key.text == section.name && (key.at.line, key.at.column) == (section.line, 1);
            entries.iter().any(|(key, node)| is_here(key) && node.value == Value::Null)
        };
        self.sections.iter().all(is_key).then_some(root)
    }
}

impl Part<'_> {
    /// The part as a mapping with one entry, in places of its own; `None` where the shape is not sure.
    pub(crate) fn read(&self) -> Option<Node> {
        let root = read_alone(&self.text[self.cut()..], 1)?;
        matches!(&root.value, Value::Mapping(entries) if entries.len() == 1).then_some(root)
    }

    /// The place in the whole text of a place in this part.
    pub(crate) fn place(&self, at: Position) -> Position {
        let cut = u32::try_from(self.cut()).unwrap_or(u32::MAX);
        Position { line: at.line + self.before, column: at.column + cut, ..at }
    }

    /// The entry at its place in the whole text.
    pub(crate) fn entry(&self) -> Option<(Key, Node)> {
        let mut root = self.read()?;
        root.place(&|at| self.place(at));
        let Value::Mapping(mut entries) = root.value else { return None };
        entries.pop()
    }

    /// How many characters are cut off before it is read: an entry in one line may be of the kind that is read at once.
    fn cut(&self) -> usize {
        let is_one_line = self.text.find('\n').is_none_or(|end| end + 1 == self.text.len());
        if is_one_line { self.indent } else { 0 }
    }
}

impl Node {
    /// Gives everything in it another place.
    pub(crate) fn place(&mut self, place: &impl Fn(Position) -> Position) {
        self.at = place(self.at);
        match &mut self.value {
            Value::Null | Value::Scalar { .. } => {}
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.place(place)),
            Value::Mapping(entries) => {
                for (key, node) in entries {
                    key.at = place(key.at);
                    node.place(place);
                }
            }
        }
    }
}

/// A text that is being taken apart.
struct Taken<'t> {
    text: &'t str,
    outline: Outline<'t>,
    open: Open,
    /// The offset at which what is open begins, and the lines before it.
    begun: (usize, u32),
    /// The lines that were seen.
    seen: u32,
    /// Those of them that are in entries.
    left_out: u32,
}

/// What a line belongs to that begins nothing.
#[derive(Clone, Copy)]
enum Open {
    Rest,
    /// A section without an entry yet.
    Section,
    /// An entry in this column.
    Part(usize),
}

impl<'t> Taken<'t> {
    /// Takes the line that begins at `start`; `None` where the shape is not sure.
    fn line(&mut self, line: &'t str, start: usize, names: &[&'static str]) -> Option<()> {
        let indent = line.bytes().position(|b| b != b' ').unwrap_or(line.len());
        let first = line.as_bytes().get(indent).copied().unwrap_or(b'\n');
        match self.open {
            _ if matches!(first, b'\n' | b'#') => {}
            _ if indent == 0 && first.is_ascii_lowercase() => self.root_key(line, start, names)?,
            // The end of a list or a mapping that began in another line, but no mark of a document or a directive.
            Open::Rest if indent == 0 && matches!(first, b']' | b'}') => {}
            _ if indent == 0 => return None,
            Open::Rest => {}
            Open::Section => self.part(indent, first, start)?,
            Open::Part(column) if indent == column => self.part(indent, first, start)?,
            Open::Part(column) if indent < column => return None,
            Open::Part(_) => {}
        }
        self.seen += 1;
        Some(())
    }

    /// Begins a key of the root: a section, or a part of the rest.
    fn root_key(&mut self, line: &str, start: usize, names: &[&'static str]) -> Option<()> {
        let Some(name) = names.iter().find(|name| is_key_alone(line, name)) else {
            self.open(Open::Rest, start);
            return Some(());
        };
        if self.outline.sections.iter().any(|section| section.name == *name) {
            return None;
        }
        self.open(Open::Section, start);
        self.outline.sections.push(Section { name, line: self.seen + 1, parts: Vec::new() });
        Some(())
    }

    /// Begins an entry.
    fn part(&mut self, indent: usize, first: u8, start: usize) -> Option<()> {
        self.open(Open::Part(indent), start);
        (first.is_ascii_alphanumeric() || matches!(first, b'"' | b'\'' | b'_' | b'$')).then_some(())
    }

    /// Ends what is open, and opens something else at this offset.
    fn open(&mut self, next: Open, at: usize) {
        let (begun, before) = std::mem::replace(&mut self.begun, (at, self.seen));
        let (text, outline) = (&self.text[begun..at], &mut self.outline);
        match std::mem::replace(&mut self.open, next) {
            Open::Part(indent) => {
                outline.sections.last_mut().expect("an entry is in a section").parts.push(Part {
                    text,
                    before,
                    indent,
                });
                self.left_out += self.seen - before;
            }
            Open::Rest | Open::Section => {
                outline.gaps.push((before - self.left_out + 1, self.left_out));
                outline.rest.push_str(text);
            }
        }
    }
}

/// Whether a line holds this key, and nothing else but a comment.
fn is_key_alone(line: &str, name: &str) -> bool {
    let after = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
    after.is_some_and(|after| {
        let value = after.trim_start_matches(' ');
        value.trim_end_matches('\n').is_empty() || value.starts_with('#') && value.len() < after.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Option<Outline<'_>> {
        Outline::of(text, &["functions", "domains"])
    }

    #[test]
    fn entries_are_taken_out_and_keep_their_places() {
        let text = "admin: off\n# all\nfunctions: # of the shop\n\n  a: {x: 1}\n  # of b\n  b:\n    y: 2\nstages: {}\n";
        let outline = outline(text).unwrap();
        assert_eq!(outline.rest, "admin: off\n# all\nfunctions: # of the shop\n\nstages: {}\n");
        let [functions] = &outline.sections[..] else { panic!("one section") };
        let texts: Vec<&str> = functions.parts.iter().map(|part| part.text).collect();
        assert_eq!(texts, ["  a: {x: 1}\n  # of b\n", "  b:\n    y: 2\n"]);
        let whole = super::super::read(text, &mut Vec::new()).unwrap();
        let Value::Mapping(mut whole) = whole.value else { panic!("a mapping") };
        let Value::Mapping(rest) = outline.rest().unwrap().value else { panic!("a mapping") };
        let entries = functions.parts.iter().map(|part| part.entry().unwrap()).collect();
        assert_eq!(whole[1].1.value, Value::Mapping(entries));
        whole[1].1 = rest[1].1.clone();
        assert_eq!(rest, whole);
    }

    #[test]
    fn a_shape_that_is_not_sure_is_not_taken_apart() {
        for text in [
            "functions:\n\ta: 1\n",
            "functions:\r\n  a: 1\r\n",
            "functions:\n  a: 1\n b: 2\n",
            "functions:\n  - a\n",
            "functions:\n  ? a\n  : b\n",
            "---\nfunctions:\n  a: 1\n",
            "functions:\n  a: 1\nfunctions:\n  b: 1\n",
            "functions:\n  a: 1\n...\n",
            "functions:\n  a: \"\u{2028}\"\n",
        ] {
            assert!(outline(text).is_none(), "{text:?}");
        }
        for text in
            ["x: \"\nfunctions:\n  a: 1\ny: \"\n", "x: &x 1\nfunctions:\n  a: 1\n", "x: {\nfunctions:\n  a: 1\n}\n"]
        {
            assert!(outline(text).is_none_or(|outline| outline.rest().is_none()), "{text:?}");
        }
        for text in ["functions:\n  a: {\n  b: 1}\n", "functions:\n  a: &x 1\n", "functions:\n  a: |\n    x\n"] {
            let outline = outline(text).unwrap();
            assert!(outline.sections[0].parts.iter().any(|part| part.read().is_none()), "{text:?}");
        }
    }
}
