//! A place in the document while it is read: the node, the way to it, and the problems found on the way.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use crate::model::{EnvironmentRules, Field};
use crate::text::problem::{Position, Problem, nearest};
use crate::text::yaml::{Key, Node, Value, join};
use crate::value::template::Template;

/// What reading a document gathers.
pub(crate) struct Reading<'e> {
    /// Answers for the environment.
    pub(crate) env: &'e dyn Fn(&str) -> Option<String>,
    /// The names of the environment that the file allows itself.
    pub(crate) environment: EnvironmentRules,
    /// Everything found so far.
    pub(crate) problems: Vec<Problem>,
    /// Paths of named things that could not be read: what refers to them is not wrong as well.
    pub(crate) broken: HashSet<String>,
}

impl<'e> Reading<'e> {
    pub(crate) fn new(env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self { env, environment: EnvironmentRules::default(), problems: Vec::new(), broken: HashSet::new() }
    }
}

/// A node and the way to it.
pub(crate) struct Place<'a> {
    pub(crate) node: &'a Node,
    key: Option<&'a Key>,
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    /// Where the text as a whole stands: empty for a file, `functions.shop` for the text of one function.
    Root(&'a str),
    Key(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    pub(crate) fn root(node: &'a Node, path: &'a str) -> Self {
        Self { node, key: None, parent: None, step: Step::Root(path) }
    }

    fn entry(&'a self, key: &'a Key, node: &'a Node) -> Place<'a> {
        Self { node, key: Some(key), parent: Some(self), step: Step::Key(&key.text) }
    }

    /// `functions.shop.aliases.prod`, `domains."shop.example.com".routes[0]`.
    pub(crate) fn path(&self) -> String {
        let parent = self.parent.map(Place::path).unwrap_or_default();
        match self.step {
            Step::Root(path) => path.to_owned(),
            Step::Key(key) => join(&parent, key),
            Step::Item(index) => format!("{parent}[{index}]"),
        }
    }

    /// The key under which the value stands, as it is written.
    pub(crate) fn key(&self) -> &'a str {
        self.key.map_or("", |key| &key.text)
    }

    /// Where the key is; where the value is when it has none.
    pub(crate) fn key_at(&self) -> Position {
        self.key.map_or(self.node.at, |key| key.at)
    }

    /// A problem with the value. A mapping or list is shown at its key.
    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        let at = if matches!(self.node.value, Value::Scalar { .. }) { self.node.at } else { self.key_at() };
        Problem::error(self.path(), message).at(at)
    }

    /// A problem with the key.
    pub(crate) fn key_problem(&self, message: impl Into<String>) -> Problem {
        Problem::error(self.path(), message).at(self.key_at())
    }

    /// The value has another shape than `what`.
    pub(crate) fn expected(&self, what: &str) -> Problem {
        self.problem(format!("expected {what}, found {}", found(self.node)))
    }

    /// Problems since `before` may quote values of the environment, which can be secrets: they become one that does not.
    pub(crate) fn veil(&self, r: &mut Reading<'_>, before: usize, what: &str) {
        let Value::Scalar { text, .. } = &self.node.value else { return };
        let resolved = text.contains("${") && Template::parse(text, r.env).is_ok();
        if resolved && r.problems.len() > before {
            r.problems.truncate(before);
            r.problems.push(self.problem(format!("{} is not {what} once its variables are put in", quoted(text))));
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.node.value, Value::Scalar { .. })
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::Sequence(_))
    }

    /// The text of a scalar; `what` names it in the problem of another shape.
    pub(crate) fn text(&self, r: &mut Reading<'_>, what: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Null => {
                let help = format!("write a value after `{}:`, or leave the key out", self.key());
                r.problems.push(self.expected(what).help(help));
                None
            }
            _ => {
                r.problems.push(self.expected(what));
                None
            }
        }
    }

    /// A scalar of a type with its own text form.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, r: &mut Reading<'_>, what: &str) -> Option<T> {
        let text = self.text(r, what)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                r.problems.push(self.problem(format!("{} is not {what}: {error}", quoted(text))));
                None
            }
        }
    }

    /// The key as a type with its own text form.
    pub(crate) fn parse_key<T: FromStr<Err: Display>>(&self, r: &mut Reading<'_>, what: &str) -> Option<T> {
        let text = self.key();
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                r.problems.push(self.key_problem(format!("{} is not {what}: {error}", quoted(text))));
                None
            }
        }
    }

    /// One word of several.
    pub(crate) fn choice<T: Copy>(&self, r: &mut Reading<'_>, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let what = one_of(&words);
        let text = self.text(r, &what)?;
        let choice = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if choice.is_none() {
            let mut problem = self.expected(&what);
            if let Some(word) = nearest(text, words) {
                problem = problem.help(format!("did you mean `{word}`?"));
            }
            r.problems.push(problem);
        }
        choice
    }

    /// The entries of a mapping by name; `what` says what belongs here.
    pub(crate) fn fields(&'a self, r: &mut Reading<'_>, what: &str) -> Option<Fields<'a>> {
        let entries = self.mapping(r, what)?;
        Some(Fields { place: self, entries, asked: Vec::new() })
    }

    /// The entries of a mapping whose keys are names of the user's.
    pub(crate) fn entries(&'a self, r: &mut Reading<'_>, what: &str) -> Vec<Place<'a>> {
        let entries = self.mapping(r, what).unwrap_or_default();
        entries.iter().map(|(key, node)| self.entry(key, node)).collect()
    }

    /// The items of a list.
    pub(crate) fn items(&'a self, r: &mut Reading<'_>, what: &str) -> Vec<Place<'a>> {
        match &self.node.value {
            Value::Sequence(items) => {
                let item = |(index, node)| Self { node, key: None, parent: Some(self), step: Step::Item(index) };
                items.iter().enumerate().map(item).collect()
            }
            _ => {
                r.problems.push(self.expected(what));
                Vec::new()
            }
        }
    }

    /// The items of a list that must not be empty; `None` when it is, or is no list.
    pub(crate) fn some_items(&'a self, r: &mut Reading<'_>, what: &str) -> Option<Vec<Place<'a>>> {
        let items = self.items(r, what);
        if self.is_list() && items.is_empty() {
            r.problems.push(self.problem(format!("this list is empty; expected {what}")));
        }
        (!items.is_empty()).then_some(items)
    }

    /// The items of a list that must have one at least and `most` at most; `things` is what they are.
    pub(crate) fn few_items(
        &'a self,
        r: &mut Reading<'_>,
        most: usize,
        things: &str,
        what: &str,
    ) -> Option<Vec<Place<'a>>> {
        let items = self.some_items(r, what)?;
        if items.len() > most {
            r.problems.push(self.problem(format!("at most {most} {things} here, and there are {}", items.len())));
        }
        (items.len() <= most).then_some(items)
    }

    fn mapping(&self, r: &mut Reading<'_>, what: &str) -> Option<&'a [(Key, Node)]> {
        match &self.node.value {
            Value::Mapping(entries) => Some(entries),
            Value::Null => {
                let help = "indent what belongs to this key under it, or leave the key out";
                r.problems.push(self.expected(what).help(help));
                None
            }
            _ => {
                r.problems.push(self.expected(what));
                None
            }
        }
    }
}

/// The entries of a mapping with fixed keys. Whatever was not asked for when it is finished is unknown.
pub(crate) struct Fields<'a> {
    place: &'a Place<'a>,
    entries: &'a [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The place of a key, if it is there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Place<'a>> {
        self.asked.push(name);
        self.entries.iter().find(|(key, _)| key.text == name).map(|(key, node)| self.place.entry(key, node))
    }

    /// An optional key, read by `read`; `None` when it is absent or wrong (then a problem says so).
    pub(crate) fn read<T>(
        &mut self,
        r: &mut Reading<'_>,
        name: &'static str,
        read: impl FnOnce(&Place<'_>, &mut Reading<'_>) -> Option<T>,
    ) -> Option<T> {
        let place = self.take(name)?;
        read(&place, r)
    }

    /// A key of a patch: absent keeps, nothing (`null`, an empty text, list or mapping) resets, a value sets.
    pub(crate) fn patch<T>(
        &mut self,
        r: &mut Reading<'_>,
        name: &'static str,
        read: impl FnOnce(&Place<'_>, &mut Reading<'_>) -> Option<T>,
    ) -> Field<T> {
        match self.take(name) {
            None => Field::Keep,
            Some(place) if place.node.is_nothing() => Field::Reset,
            // What is wrong is a problem, and nothing is changed then.
            Some(place) => read(&place, r).map_or(Field::Keep, Field::Set),
        }
    }

    /// A key that must be there; `help` says how it looks.
    pub(crate) fn require(&mut self, r: &mut Reading<'_>, name: &'static str, help: &str) -> Option<Place<'a>> {
        let place = self.take(name);
        if place.is_none() {
            r.problems.push(self.place.problem(format!("`{name}` is missing")).help(help));
        }
        place
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.text == name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many of these keys are there. More than one is a problem, which `one` begins: `a gate is of one kind`.
    pub(crate) fn alternatives(&self, r: &mut Reading<'_>, names: &[&str], one: &str, help: &str) -> usize {
        let there: Vec<&str> = names.iter().copied().filter(|name| self.has(name)).collect();
        if there.len() > 1 {
            let message = format!("{one}, and this one has {}: {}", there.len(), there.join(", "));
            r.problems.push(self.place.problem(message).help(help));
        }
        there.len()
    }

    /// Every key that nobody asked for is a problem.
    pub(crate) fn finish(self, r: &mut Reading<'_>) {
        for (key, node) in self.entries {
            if self.asked.contains(&&*key.text) {
                continue;
            }
            let place = self.place.entry(key, node);
            let allowed = format!("allowed here: {}", self.asked.join(", "));
            let help = match nearest(&key.text, self.asked.iter().copied()) {
                Some(name) => format!("did you mean `{name}`? {allowed}"),
                None => allowed,
            };
            r.problems.push(place.key_problem(format!("unknown key `{}`", clip(&key.text))).help(help));
        }
    }
}

/// What a node is, in a sentence.
pub(crate) fn found(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Scalar { text, .. } => quoted(text),
        Value::Sequence(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(entries) if entries.is_empty() => "an empty mapping".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
    }
}

/// A text as a message quotes it.
pub(crate) fn quoted(text: &str) -> String {
    if text.is_empty() { "an empty text".to_owned() } else { format!("`{}`", clip(text)) }
}

/// A text that fits into a message.
pub(crate) fn clip(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("…".chars()).collect()
}

/// `a`, `a` or `b`, `a`, `b` or `c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}
