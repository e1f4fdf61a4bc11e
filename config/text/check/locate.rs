//! Where the text says what a path of the document means.

use std::collections::HashMap;

use crate::text::problem::{Position, Problem};
use crate::text::yaml::{Node, Value};
use crate::value::host::HostPattern;

/// Finds the places of paths. Large mappings are indexed once.
pub(super) struct Locator<'a> {
    root: &'a Node,
    /// By address of the node: index of each key.
    keys: HashMap<usize, HashMap<String, usize>>,
}

/// One step of a path.
#[derive(Debug, PartialEq)]
enum Segment<'p> {
    Key(&'p str),
    Item(usize),
}

impl<'a> Locator<'a> {
    pub(super) fn new(root: &'a Node) -> Self {
        Self { root, keys: HashMap::new() }
    }

    /// The problem with the position of the deepest part of its path that the text has. What a shorthand leaves out
    /// (`split` in `prod: {1: 95}`) is passed over.
    pub(super) fn locate(&mut self, problem: Problem, at_key: bool) -> Problem {
        let (mut node, mut key) = (self.root, None);
        let mut complete = true;
        for (depth, segment) in segments(&problem.path).enumerate() {
            complete = false;
            match (segment, &node.value) {
                (Segment::Key(name), Value::Mapping(entries)) => {
                    let hosts = depth == 1 && problem.path.starts_with("domains.");
                    if let Some(index) = self.find(node, name, hosts) {
                        (key, node) = (Some(entries[index].0.at), &entries[index].1);
                        complete = true;
                    }
                }
                (Segment::Item(index), Value::Sequence(items)) => {
                    if let Some(item) = items.get(index) {
                        (key, node) = (None, item);
                        complete = true;
                    }
                }
                _ => {}
            }
        }
        let scalar = matches!(node.value, Value::Scalar { .. });
        let position: Position = match key {
            Some(key) if (at_key && complete) || !scalar => key,
            _ => node.at,
        };
        problem.at(position)
    }

    fn find(&mut self, node: &'a Node, name: &str, hosts: bool) -> Option<usize> {
        let Value::Mapping(entries) = &node.value else { return None };
        if entries.len() <= 16 && !hosts {
            return entries.iter().position(|(key, _)| key.text == name);
        }
        let keys = self.keys.entry(std::ptr::from_ref(node).addr()).or_insert_with(|| {
            let spelling = |text: &str| match text.parse::<HostPattern>() {
                Ok(host) if hosts => host.to_string(),
                _ => text.to_owned(),
            };
            entries.iter().enumerate().rev().map(|(index, (key, _))| (spelling(&key.text), index)).collect()
        });
        keys.get(name).copied()
    }
}

/// The steps of a path: `functions.shop.rules[0]`, `domains."shop.example.com".stage`.
fn segments(path: &str) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']')?;
            rest = after;
            return index.parse().ok().map(Segment::Item);
        }
        if let Some(inner) = rest.strip_prefix('"') {
            let (key, after) = inner.split_once('"')?;
            rest = after;
            return Some(Segment::Key(key));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        rest = after;
        Some(Segment::Key(key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_steps() {
        let steps: Vec<_> = segments("domains.\"a.b\".routes[3].to").collect();
        use Segment::{Item, Key};
        assert_eq!(steps, [Key("domains"), Key("a.b"), Key("routes"), Item(3), Key("to")]);
        assert_eq!(segments("triggers[0].path").next(), Some(Key("triggers")));
    }
}
