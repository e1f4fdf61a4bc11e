//! YAML text -> a tree with the line and column of every key and value. The only file that names a YAML crate.
//!
//! Two parsers read every text. `saphyr-parser` (YAML 1.2) gives the tree and its positions; `serde_yaml` (libyaml, YAML
//! 1.1) walks beside it and must see the same keys, shapes and strings, so that a text on which the two readings differ
//! is refused instead of guessed at. Scalars stay text: what `no`, `1.10` or `0x10` means is decided where it is used.
//! Texts of the part of YAML that this crate writes itself, where two readings cannot differ, are read without them.
//!
//! Refused: duplicate keys, keys that are not scalars, tags, several documents, nesting deeper than [`MAX_DEPTH`], texts
//! longer than [`MAX_BYTES`], and anchors whose copies add up to more than [`MAX_COPIES`] nodes.

use std::collections::{HashMap, HashSet};
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::text::problem::{Position, Problem};

mod canonical;
pub(crate) mod outline;

/// The longest text, in bytes.
pub(crate) const MAX_BYTES: usize = 256 << 20;
/// The deepest nesting.
pub(crate) const MAX_DEPTH: usize = 64;
/// How many nodes `*aliases` may copy in one text.
pub(crate) const MAX_COPIES: usize = 100_000;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text; `plain` when it was not quoted.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// In the order of the text; no key twice.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) at: Position,
    pub(crate) text: String,
}

/// Reads one document. Every problem found is pushed; `None` when there is no tree to go on with.
pub(crate) fn read(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes; the most is {MAX_BYTES}", text.len());
        problems.push(Problem::error("", message));
        return None;
    }
    canonical::read(text).or_else(|| parse(text, problems))
}

/// Reads a text that stands `above` levels deep in another one, of which it needs nothing; `None` where there is a problem, an
/// anchor or a block scalar (`|`, `>`).
fn read_alone(text: &str, above: usize) -> Option<Node> {
    canonical::read(text).or_else(|| {
        let mut tree = Tree { above, ..Tree::default() };
        tree.build(text).ok()?;
        let root = tree.root.filter(|_| tree.problems.is_empty() && !tree.is_entangled)?;
        Agree(&root).deserialize(serde_yaml::Deserializer::from_str(text)).ok()?;
        Some(root)
    })
}

/// The tree of a whole text by the two parsers.
fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let before = problems.len();
    let mut tree = Tree::default();
    let done = tree.build(text);
    problems.append(&mut tree.problems);
    if let Err(problem) = done {
        problems.push(problem);
        return None;
    }
    let Some(root) = tree.root else {
        return Some(Node { at: Position { line: 1, column: 1, length: 1 }, value: Value::Null });
    };
    if problems.len() == before
        && let Err(error) = Agree(&root).deserialize(serde_yaml::Deserializer::from_str(text))
    {
        problems.push(disagreement(&error));
        return None;
    }
    Some(root)
}

fn disagreement(error: &serde_yaml::Error) -> Problem {
    let full = error.to_string();
    let message = full.split(" at line ").next().unwrap_or(&full);
    let problem = if message.ends_with(DIFFERS) {
        let help = "write other characters, or put the value in double quotes and the special ones as `\\u0085`";
        Problem::error("", DIFFERS).help(help)
    } else {
        Problem::error("", format!("YAML: {message}"))
    };
    match error.location() {
        Some(at) => {
            let narrow = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
            problem.at(Position { line: narrow(at.line()), column: narrow(at.column()), length: 1 })
        }
        None => problem,
    }
}

// --- the tree --------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Tree {
    problems: Vec<Problem>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    copies: usize,
    /// How many levels deep the text stands in another one.
    above: usize,
    /// True if there is an anchor, an alias or a block scalar: another text beside it may change what it means.
    is_entangled: bool,
}

/// A mapping or a list whose end was not seen yet.
struct Open {
    at: Position,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>, Option<Key>),
}

impl Tree {
    fn build(&mut self, text: &str) -> Result<(), Problem> {
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| syntax(&error, text))?;
            match event {
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let problem =
                            Problem::error("", "a second document starts here: a file holds one").at(position(span));
                        return Err(problem.help("remove the `---`, or split the file"));
                    }
                }
                Event::Alias(anchor) => {
                    self.is_entangled = true;
                    self.copy(anchor, position(span))?;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.is_entangled |= matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    self.refuse_tag(tag.is_some(), span);
                    let at = scalar_position(span, &text, style);
                    let plain = style == ScalarStyle::Plain;
                    self.scalar(text.into_owned(), plain, at, anchor)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_tag(tag.is_some(), span);
                    self.start(Inside::Sequence(Vec::new()), anchor, position(span))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_tag(tag.is_some(), span);
                    self.start(Inside::Mapping(Vec::new(), None), anchor, position(span))?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
            }
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            let problem = Problem::error(self.path(), "tags (`!name`) have no meaning here").at(position(span));
            self.problems.push(problem.help("write the value without the tag; quote it if it must be text"));
        }
    }

    fn start(&mut self, inside: Inside, anchor: usize, at: Position) -> Result<(), Problem> {
        if let Some(Open { inside: Inside::Mapping(_, key @ None), .. }) = self.open.last() {
            debug_assert!(key.is_none());
            let problem = Problem::error(self.path(), "a key must be a plain word, not a mapping or a list").at(at);
            return Err(problem.help("`{…}` and `[…]` with variables need quotes: \"${NAME}\""));
        }
        if self.above + self.open.len() >= MAX_DEPTH {
            return Err(Problem::error("", format!("nested deeper than {MAX_DEPTH} levels")).at(at));
        }
        self.open.push(Open { at, anchor, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { at, anchor, inside }) = self.open.pop() else { return Ok(()) };
        let value = match inside {
            Inside::Sequence(items) => Value::Sequence(items),
            Inside::Mapping(entries, _) => Value::Mapping(self.unique(entries)),
        };
        self.value(Node { at, value }, anchor)
    }

    fn scalar(&mut self, text: String, plain: bool, at: Position, anchor: usize) -> Result<(), Problem> {
        if let Some(Open { inside: Inside::Mapping(_, key @ None), .. }) = self.open.last_mut() {
            if plain && text.is_empty() {
                return Err(Problem::error(self.path(), "a key is missing before `:`").at(at));
            }
            *key = Some(Key { at, text });
            return Ok(());
        }
        let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
        let value = if null { Value::Null } else { Value::Scalar { text, plain } };
        self.value(Node { at, value }, anchor)
    }

    /// Puts the copy of an anchored node in place.
    fn copy(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        if matches!(self.open.last(), Some(Open { inside: Inside::Mapping(_, None), .. })) {
            return Err(Problem::error(self.path(), "an alias (`*name`) cannot be a key").at(at));
        }
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(Problem::error(self.path(), "this alias (`*name`) lies inside its own anchor").at(at));
        };
        self.copies += size;
        let node = node.clone();
        self.within_budget(at)?;
        self.value(node, 0)
    }

    fn within_budget(&self, at: Position) -> Result<(), Problem> {
        if self.copies <= MAX_COPIES {
            return Ok(());
        }
        let message = format!("anchors and aliases expand to more than {MAX_COPIES} values");
        Err(Problem::error(self.path(), message).at(at).help("write the values out, or use fewer aliases"))
    }

    fn value(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.is_entangled = true;
            let size = node.size();
            self.copies += size;
            self.within_budget(node.at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::Sequence(items)) => items.push(node),
            Some(Inside::Mapping(entries, key)) => entries.extend(key.take().map(|key| (key, node))),
        }
        Ok(())
    }

    /// The entries without those whose key stood there before; each of them is a problem.
    fn unique(&mut self, entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
        let few = entries.len() <= 8;
        if few && entries.iter().enumerate().all(|(n, (key, _))| entries[..n].iter().all(|(k, _)| k.text != key.text)) {
            return entries;
        }
        let mut seen = HashMap::with_capacity(entries.len());
        let mut twice = HashSet::new();
        for (index, (key, _)) in entries.iter().enumerate() {
            match seen.get(&*key.text) {
                None => {
                    seen.insert(&*key.text, key.at.line);
                }
                Some(line) => {
                    let message = format!("the key `{}` is here twice: first in line {line}", key.text);
                    let path = join(&self.path(), &key.text);
                    let problem = Problem::error(path, message).at(key.at).help("keep one of the two");
                    self.problems.push(problem);
                    twice.insert(index);
                }
            }
        }
        drop(seen);
        if twice.is_empty() {
            return entries;
        }
        entries.into_iter().enumerate().filter(|(index, _)| !twice.contains(index)).map(|(_, entry)| entry).collect()
    }

    /// The path of the value that is being read.
    fn path(&self) -> String {
        self.open.iter().fold(String::new(), |path, open| match &open.inside {
            Inside::Sequence(items) => format!("{path}[{}]", items.len()),
            Inside::Mapping(_, Some(key)) => join(&path, &key.text),
            Inside::Mapping(_, None) => path,
        })
    }
}

impl Node {
    /// Whether it is `null`, or an empty text, list or mapping.
    pub(crate) fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar { text, .. } => text.is_empty(),
            Value::Sequence(items) => items.is_empty(),
            Value::Mapping(entries) => entries.is_empty(),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Self::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }
}

/// `path.key`, the key quoted when it has other characters than names and numbers have.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'));
    let dot = if path.is_empty() { "" } else { "." };
    if plain { format!("{path}{dot}{key}") } else { format!("{path}{dot}\"{key}\"") }
}

fn position(span: Span) -> Position {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let length = if span.start.line() == span.end.line() { span.end.col().saturating_sub(span.start.col()) } else { 1 };
    Position { line: narrow(span.start.line()), column: narrow(span.start.col() + 1), length: narrow(length.max(1)) }
}

/// Like [`position`]; a plain scalar's span may run on to the next token, so its text counts.
fn scalar_position(span: Span, text: &str, style: ScalarStyle) -> Position {
    let at = position(span);
    match style {
        ScalarStyle::Plain => Position { length: u32::try_from(text.chars().count().max(1)).unwrap_or(u32::MAX), ..at },
        _ => at,
    }
}

fn syntax(error: &ScanError, text: &str) -> Problem {
    let at = position(Span::empty(*error.marker()));
    let problem = Problem::error("", format!("YAML: {}", error.info())).at(at);
    let line = text.lines().nth(at.line as usize - 1).unwrap_or("");
    let indent = &line[..line.len() - line.trim_start().len()];
    let cause = line.trim_start();
    let info = error.info();
    let help = if indent.contains('\t') {
        "indent with spaces: YAML does not allow tabs there"
    } else if cause.contains("${") {
        "a value that contains `${…}` must be quoted inside `[…]` and `{…}`: \"${NAME}\""
    } else if cause.contains(": @") || cause.contains(": `") || cause.contains(": %") {
        "a value that starts with `%`, `@` or a backtick must be quoted"
    } else if cause.contains(": *") || cause.starts_with('*') {
        "`*name` is an alias in YAML; a host that starts with `*` must be quoted: \"*.example.com\""
    } else if info.contains("flow sequence") || info.contains("flow mapping") {
        "a `[` or `{` is not closed, or a comma is missing before this place"
    } else if info.contains("block mapping") || info.contains("block collection") {
        "keys of one mapping start in the same column; look at the indentation here and above"
    } else {
        return problem;
    };
    problem.help(help)
}

// --- the second reading ----------------------------------------------------------------------------------------------

/// Walks a second parser's events beside the tree: both must see the same.
#[derive(Clone, Copy)]
struct Agree<'a>(&'a Node);

/// The same for a key.
struct AgreeKey<'a>(&'a Key);

impl<'de> DeserializeSeed<'de> for Agree<'_> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Agree<'_> {
    /// A scalar that the other parser resolved to something else than text: plain in the tree, then.
    fn resolved<E: de::Error>(self) -> Result<(), E> {
        match &self.0.value {
            Value::Null | Value::Scalar { plain: true, .. } => Ok(()),
            _ => Err(differs()),
        }
    }
}

const DIFFERS: &str = "this text reads differently in YAML 1.1 and YAML 1.2";

fn differs<E: de::Error>() -> E {
    E::custom(DIFFERS)
}

impl<'de> Visitor<'de> for Agree<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value that YAML 1.2 reads here")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.resolved()
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.resolved()
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.resolved()
    }
    fn visit_i128<E: de::Error>(self, _: i128) -> Result<(), E> {
        self.resolved()
    }
    fn visit_u128<E: de::Error>(self, _: u128) -> Result<(), E> {
        self.resolved()
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.resolved()
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.resolved()
    }

    fn visit_str<E: de::Error>(self, other: &str) -> Result<(), E> {
        match &self.0.value {
            Value::Scalar { text, .. } if text == other => Ok(()),
            Value::Null if other.is_empty() || other.eq_ignore_ascii_case("null") => Ok(()),
            _ => Err(differs()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut other: A) -> Result<(), A::Error> {
        let Value::Sequence(items) = &self.0.value else { return Err(differs()) };
        for item in items {
            other.next_element_seed(Agree(item))?.ok_or_else(differs)?;
        }
        match other.next_element::<de::IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(differs()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut other: A) -> Result<(), A::Error> {
        let Value::Mapping(entries) = &self.0.value else { return Err(differs()) };
        for (key, node) in entries {
            other.next_key_seed(AgreeKey(key))?.ok_or_else(differs)?;
            other.next_value_seed(Agree(node))?;
        }
        match other.next_key::<de::IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(differs()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for AgreeKey<'_> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let key = Node { at: self.0.at, value: Value::Scalar { text: self.0.text.clone(), plain: true } };
        deserializer.deserialize_any(Agree(&key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn good(text: &str) -> Node {
        let mut problems = Vec::new();
        let node = read(text, &mut problems);
        assert_eq!(problems, []);
        node.unwrap()
    }

    fn bad(text: &str) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        read(text, &mut problems);
        assert!(!problems.is_empty(), "accepted: {text:?}");
        problems
            .into_iter()
            .map(|p| (p.at.map_or(String::new(), |at| format!("{}:{}+{}", at.line, at.column, at.length)), p.message))
            .collect()
    }

    /// The tree as one line with positions.
    fn show(node: &Node) -> String {
        let at = format!("@{}:{}+{}", node.at.line, node.at.column, node.at.length);
        match &node.value {
            Value::Null => format!("null{at}"),
            Value::Scalar { text, plain } => format!("{}{text}{at}", if *plain { "" } else { "'" }),
            Value::Sequence(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
            Value::Mapping(entries) => {
                let entry = |(key, node): &(Key, Node)| {
                    format!("{}@{}:{}: {}", key.text, key.at.line, key.at.column, show(node))
                };
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn every_key_and_value_has_its_place() {
        let text =
            "functions:\n  shop:\n    prod: {1: 95, \"2\": 5.0}\n    list:\n      - no\n      - '名前'\n    empty:\n";
        assert_eq!(
            show(&good(text)),
            "{functions@1:1: {shop@2:3: {prod@3:5: {1@3:12: 95@3:15+2, 2@3:19: 5.0@3:24+3}, \
             list@4:5: [no@5:9+2, '名前@6:9+4], empty@7:5: null@7:10+1}}}"
        );
        assert_eq!(show(&good("")), "null@1:1+1");
        assert_eq!(show(&good("# only a comment\n")), "null@1:1+1");
        assert_eq!(show(&good("\u{feff}a: 1\r\nb: 2\r\n")), "{a@1:1: 1@1:4+1, b@2:1: 2@2:4+1}");
    }

    #[test]
    fn anchors_are_copied() {
        assert_eq!(show(&good("a: &x {k: 1}\nb: *x\n")), "{a@1:1: {k@1:8: 1@1:11+1}, b@2:1: {k@1:8: 1@1:11+1}}");
    }

    #[test]
    fn all_duplicate_keys_are_named_at_every_level() {
        let found = bad("a: {x: 1, x: 2}\nb: 1\na: 2\nb: 3\n");
        let places: Vec<_> = found.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(places, ["1:11+1", "3:1+1", "4:1+1"]);
        assert!(found[1].1.contains("first in line 1"), "{found:?}");
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_grow_is_refused() {
        let bomb = (1..10).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            let copies = vec![format!("*a{}", n - 1); 10].join(", ");
            format!("{text}a{n}: &a{n} [{copies}]\n")
        });
        for (text, message) in [
            (&*bomb, "expand to more than"),
            (&"[".repeat(100_000), "recursion limit"),
            (&format!("a: {}", "{a: ".repeat(MAX_DEPTH)), "nested deeper"),
            ("a: &x [*x]", "inside its own anchor"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("{a: 1}: 2\n", "must be a plain word"),
            ("? [a]\n: 1\n", "must be a plain word"),
            ("a: &k x\n*k : 1\n", "cannot be a key"),
            ("a: !str x\n", "tags"),
            ("a: *nothing\n", "YAML"),
            ("a: [1\nb: 2\n", "YAML"),
            ("\ta: 1\n", "YAML"),
            ("a: \"\u{0}\"\n", "YAML"),
        ] {
            let found = bad(text);
            assert!(found.iter().any(|(_, m)| m.contains(message)), "{text:.60}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_positions_lie_in_the_text(text in "([a-c\"':{}\\[\\],&*!|>#\\- \\n\\t]|\\PC){0,60}") {
            let mut problems = Vec::new();
            let node = read(&text, &mut problems);
            prop_assert!(node.is_some() || !problems.is_empty());
            let lines = text.split('\n').count() as u32 + text.matches('\r').count() as u32;
            for problem in problems {
                if let Some(at) = problem.at {
                    prop_assert!(at.line >= 1 && at.line <= lines + 1 && at.column >= 1 && at.length >= 1, "{:?}", at);
                }
            }
        }
    }
}
