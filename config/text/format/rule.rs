//! Rules in their structured form.

use crate::model::Rule;
use crate::text::format::Entries;
use crate::text::format::tree::{Tree, version_id};
use crate::value::rule::{Condition, Subject, Test, When};

/// One rule.
pub(crate) fn rule(rule: &Rule) -> Tree {
    Entries::default().put("when", when(&rule.when)).put("version", version_id(&rule.version)).flow()
}

/// A single condition is a mapping; several are a list of them, in their order.
fn when(when: &When) -> Tree {
    match &when.conditions[..] {
        [only] => condition(only),
        conditions => Tree::list(conditions.iter().map(condition)),
    }
}

fn condition(condition: &Condition) -> Tree {
    let named = |kind: &str, name: &str| {
        let test = Entries::default().put(name, test(&condition.test)).flow();
        Entries::default().put(kind, test).flow()
    };
    match &condition.subject {
        Subject::Header(name) => named("header", name),
        Subject::Cookie(name) => named("cookie", name),
        Subject::Query(name) => named("query", name),
        Subject::Path => Entries::default().put("path", test(&condition.test)).flow(),
        Subject::Method => Entries::default().put("method", test(&condition.test)).flow(),
        Subject::ClientAddress => Entries::default().put("client_address", test(&condition.test)).flow(),
    }
}

fn test(test: &Test) -> Tree {
    let one = |name: &str, value: Tree| Entries::default().put(name, value).flow();
    match test {
        Test::Exact(text) => one("exact", Tree::text(text)),
        Test::Prefix(text) => one("prefix", Tree::text(text)),
        Test::Suffix(text) => one("suffix", Tree::text(text)),
        Test::Regex(pattern) => one("regex", Tree::text(pattern.as_str())),
        Test::In(texts) => one("in", Tree::list(texts.iter().map(Tree::text))),
        Test::Present(true) => "present".into(),
        Test::Present(false) => "absent".into(),
        Test::Range(interval) => one("range", Tree::text(interval)),
        Test::Percent { weight, salt } => {
            Entries::default().put("percent", Tree::raw(weight)).put_some("salt", salt.as_ref(), Tree::text).flow()
        }
        Test::Networks(networks) => Tree::list(networks.iter().map(Tree::text)),
    }
}
