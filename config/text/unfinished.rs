//! The edit of a file that may not be finished: a program that writes a file in place shows it empty first, and then a part at a
//! time. Each part can be a valid file that removes what is still to come.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use crate::text::yaml::{self, Node, Value};

/// True if `next` may be a part of the text that is meant to follow `last`: if it removes an entry or a list item, is the
/// beginning of `last`, or ends within a line where `last` does not.
///
/// Values that change and entries that are added are no sign of it. A text that cannot be read is none either: it changes
/// nothing.
#[must_use]
pub fn may_be_unfinished(last: &str, next: &str) -> bool {
    if next != last && last.starts_with(next) || last.ends_with('\n') && !next.ends_with('\n') {
        return true;
    }
    let read = |text| yaml::read(text, &mut Vec::new());
    match (read(last), read(next)) {
        (Some(last), Some(next)) => removes(&last, &next),
        _ => false,
    }
}

fn removes(last: &Node, next: &Node) -> bool {
    match (&last.value, &next.value) {
        (Value::Mapping(last), Value::Mapping(next)) => {
            let next: HashMap<&str, &Node> = next.iter().map(|(key, node)| (&*key.text, node)).collect();
            last.iter().any(|(key, node)| next.get(&*key.text).is_none_or(|next| removes(node, next)))
        }
        (Value::Sequence(last), Value::Sequence(next)) => removes_item(last, next),
        (Value::Mapping(last), _) => !last.is_empty(),
        (Value::Sequence(last), _) => !last.is_empty(),
        (Value::Scalar { .. }, Value::Null) => true,
        (Value::Scalar { .. } | Value::Null, _) => false,
    }
}

/// An item stays if an equal one is there, or one in its place that removes nothing of it.
fn removes_item(last: &[Node], next: &[Node]) -> bool {
    if next.len() < last.len() {
        return true;
    }
    let shape = |node: &Node| {
        let mut text = String::new();
        shape(node, &mut text);
        text
    };
    let mut places = last.iter().zip(next).filter(|(last, next)| removes(last, next)).map(|(last, _)| last).peekable();
    if places.peek().is_none() {
        return false;
    }
    let there: HashSet<String> = next.iter().map(shape).collect();
    places.any(|item| !there.contains(&shape(item)))
}

/// Appends the value without its places.
fn shape(node: &Node, text: &mut String) {
    // Writing to a string does not fail.
    let _ = match &node.value {
        Value::Null => write!(text, "~"),
        Value::Scalar { text: scalar, .. } => write!(text, "{scalar:?}"),
        Value::Sequence(items) => {
            text.push('[');
            items.iter().for_each(|item| {
                shape(item, text);
                text.push(',');
            });
            write!(text, "]")
        }
        Value::Mapping(entries) => {
            text.push('{');
            entries.iter().for_each(|(key, value)| {
                text.push_str(&format!("{:?}:", key.text));
                shape(value, text);
                text.push(',');
            });
            write!(text, "}}")
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
functions:
  shop: {versions: {1: 'http://10.0.0.1:80', 2: 'http://10.0.0.2:80'}, aliases: {prod: {1: 95, 2: 5}}}
domains:
  a.example.com: {routes: [{path: /, to: 'shop:prod'}, {path: /x, to: 'shop:1'}]}
  b.example.com: shop:prod
";

    #[test]
    fn every_beginning_of_a_text_may_be_unfinished() {
        for end in 0..WHOLE.len() {
            assert!(may_be_unfinished(WHOLE, &WHOLE[..end]), "{end}");
        }
        assert!(!may_be_unfinished(WHOLE, WHOLE));
    }

    #[test]
    fn every_beginning_of_the_next_text_that_could_be_served_may_be_unfinished() {
        let next = WHOLE
            .replace("95, 2: 5", "90, 2: 10")
            .replace("b.example.com", "b.example.com: shop:prod\n  c.example.com");
        for end in 0..next.len() {
            let part = &next[..end];
            let is_served = crate::text::parse::parse(part, &|_| None).is_ok();
            let lacks_nothing = part.ends_with("b.example.com: shop:prod\n");
            assert!(!is_served || lacks_nothing || may_be_unfinished(WHOLE, part), "{part}");
        }
        assert!(!may_be_unfinished(WHOLE, &next));
    }

    #[test]
    fn changes_and_additions_are_whole_and_removals_may_not_be() {
        for (from, to, expected) in [
            ("1: 95, 2: 5", "1: 90, 2: 10", false),
            ("{1: 95, 2: 5}", "{2: 100}", true),
            ("{1: 95, 2: 5}", "2", true),
            ("  b.example.com: shop:prod\n", "", true),
            ("  b.example.com: shop:prod\n", "  b.example.com:\n", true),
            ("  b.example.com: shop:prod\n", "  b.example.com: 'shop:1'\n", false),
            ("{path: /x, to: 'shop:1'}", "{path: /y, to: 'shop:1'}", false),
            (", {path: /x, to: 'shop:1'}", "", true),
            ("[{path: /,", "[{path: /new, to: 'shop:2', methods: [GET]}, {path: /,", false),
            ("domains:\n", "# a comment\ndomains:\n", false),
            ("functions:", "functions: [", false),
        ] {
            let next = WHOLE.replace(from, to);
            assert_ne!(next, WHOLE, "{from}");
            assert_eq!(may_be_unfinished(WHOLE, &next), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn a_list_may_be_put_into_another_order() {
        assert!(!may_be_unfinished("a: [{x: 1}, {y: 2}]\n", "a: [{y: 2}, {x: 1}, {z: 3}]\n"));
        assert!(may_be_unfinished("a: [{x: 1}, {y: 2}]\n", "a: [{y: 2}, {z: 3}]\n"));
    }
}
