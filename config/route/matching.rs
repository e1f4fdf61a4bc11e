//! Whether a request is one of a rule's. Nothing is allocated, but for a query value over 512 bytes that is encoded.

use crate::route::head::{Headers, RequestHead, Scratch};
use crate::value::bucket;
use crate::value::rule::{Condition, Subject, Test, When};

impl When {
    /// Whether all conditions hold. `salt` is the alias's, for a percentage that names no cohort of its own.
    #[must_use]
    pub fn matches<H: Headers + ?Sized>(&self, head: &RequestHead<'_, H>, salt: u64) -> bool {
        self.conditions.iter().all(|condition| condition.holds(head, salt))
    }
}

impl Condition {
    fn holds<H: Headers + ?Sized>(&self, head: &RequestHead<'_, H>, salt: u64) -> bool {
        let test = |value: &[u8]| self.test.holds(value, salt);
        match (&self.subject, &self.test) {
            (Subject::ClientAddress, Test::Networks(networks)) => {
                let client = head.client.to_canonical();
                networks.iter().any(|network| network.contains(&client))
            }
            (Subject::ClientAddress, _) => test(Scratch::new().address(head.client)),
            (Subject::Path, _) => test(head.path.as_bytes()),
            (Subject::Method, _) => test(head.method.as_bytes()),
            (Subject::Header(name), Test::Present(wanted)) => head.headers.get(name).is_some() == *wanted,
            (Subject::Header(name), _) => head.headers.all(name).any(test),
            (Subject::Cookie(name), Test::Present(wanted)) => head.cookie(name).is_some() == *wanted,
            (Subject::Cookie(name), _) => head.cookie(name).is_some_and(test),
            (Subject::Query(name), Test::Present(wanted)) => head.parameter(name).is_some() == *wanted,
            (Subject::Query(name), _) => head.parameter(name).is_some_and(|value| test(Scratch::new().decode(value))),
        }
    }
}

impl Test {
    /// Whether a value that is there passes.
    fn holds(&self, value: &[u8], salt: u64) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::In(texts) => texts.iter().any(|text| value == text.as_bytes()),
            Self::Regex(pattern) => std::str::from_utf8(value).is_ok_and(|text| pattern.regex().is_match(text)),
            Self::Present(wanted) => *wanted,
            Self::Range(interval) => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
                number.is_some_and(|number| interval.contains(number))
            }
            Self::Percent { weight, salt: name } => {
                let salt = name.as_deref().map_or(salt, bucket::named_salt);
                bucket::bucket(bucket::key_hash(salt, value)) < weight.basis_points()
            }
            // Only of the client address, and that is looked at before.
            Self::Networks(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::rule::{Interval, Pattern};
    use crate::value::weight::Weight;

    const HEADERS: &[(&str, &[u8])] =
        &[("user", b"Bob"), ("user", b"30"), ("x-raw", b"\xff"), ("cookie", b"uid=7; t=\"a\""), ("empty", b"")];

    fn holds(subject: Subject, test: Test) -> bool {
        let head = RequestHead {
            method: "GET",
            host: "shop.example.com",
            path: "/a/%62",
            query: Some("q=a%20b&n=%2d5&e"),
            headers: HEADERS,
            client: "::ffff:10.1.2.3".parse().unwrap(),
        };
        When { conditions: vec![Condition { subject, test }] }.matches(&head, 1)
    }

    fn header(name: &str) -> Subject {
        Subject::Header(name.into())
    }

    fn query(name: &str) -> Subject {
        Subject::Query(name.into())
    }

    #[test]
    fn every_test_of_every_subject() {
        let text = |t: &str| t.to_owned();
        let regex = |t: &str| Test::Regex(Pattern::new(t).unwrap());
        let range = |first, last| Test::Range(Interval { first, last });
        let cookie = |name: &str| Subject::Cookie(name.into());
        let networks = |t: &str| Test::Networks(vec![t.parse().unwrap()]);
        for (subject, test, expected) in [
            (header("user"), Test::Exact(text("Bob")), true),
            (header("user"), Test::Exact(text("30")), true),
            (header("user"), Test::Exact(text("bob")), false),
            (header("user"), range(30, 30), true),
            (header("user"), range(31, 99), false),
            (header("other"), Test::Exact(text("")), false),
            (header("empty"), Test::Exact(text("")), true),
            (header("empty"), Test::Present(true), true),
            (header("other"), Test::Present(true), false),
            (header("other"), Test::Present(false), true),
            (header("x-raw"), regex(""), false),
            (header("x-raw"), Test::Present(true), true),
            (header("user"), regex("^B.b$"), true),
            (header("user"), Test::Prefix(text("Bo")), true),
            (header("user"), Test::Suffix(text("0")), true),
            (header("user"), Test::In(vec![text("Al"), text("Bob")]), true),
            (header("user"), Test::In(vec![]), false),
            (cookie("uid"), range(1, 7), true),
            (cookie("t"), Test::Exact(text("a")), true),
            (cookie("x"), Test::Present(false), true),
            (query("q"), Test::Exact(text("a b")), true),
            (query("q"), Test::Suffix(text(" b")), true),
            (query("n"), range(-5, -5), true),
            (query("e"), Test::Present(true), true),
            (query("e"), Test::Exact(text("")), true),
            (Subject::Path, Test::Prefix(text("/a/")), true),
            (Subject::Path, Test::Exact(text("/a/b")), false),
            (Subject::Method, Test::In(vec![text("GET"), text("PUT")]), true),
            (Subject::ClientAddress, networks("10.0.0.0/8"), true),
            (Subject::ClientAddress, networks("11.0.0.0/8"), false),
            (Subject::ClientAddress, Test::Exact(text("10.1.2.3")), true),
            (header("user"), networks("10.0.0.0/8"), false),
        ] {
            assert_eq!(holds(subject.clone(), test.clone()), expected, "{subject:?} {test:?}");
        }
    }

    #[test]
    fn ranges_of_tencent() {
        let hit = |value: &str, rule: &str| {
            let headers = [("user", value)];
            let client = "10.0.0.1".parse().unwrap();
            let head = RequestHead { method: "GET", host: "", path: "/", query: None, headers: &headers[..], client };
            rule.parse::<When>().unwrap().matches(&head, 0)
        };
        for (value, expected) in [("1", true), ("50", true), ("0", false), ("51", false), ("30", true), ("abc", false)]
        {
            assert_eq!(hit(value, "invoke.headers.User range [1,50]"), expected, "{value}");
        }
        assert!(hit("49", "invoke.headers.User range (1,50)") && !hit("50", "invoke.headers.User range (1,50)"));
        assert!(hit("1", "invoke.headers.User range [1,50)") && !hit("1", "invoke.headers.User range (1,50]"));
        assert!(!hit("1.5", "invoke.headers.User range [1,50]") && !hit("", "invoke.headers.User range [1,50]"));
    }

    #[test]
    fn percentages_are_cohorts() {
        let part = |weight, salt: &str, value: &str| {
            let test = Test::Percent { weight: Weight::new(weight).unwrap(), salt: Some(salt.into()) };
            test.holds(value.as_bytes(), 0)
        };
        // Golden: bucket 7639 (see bucket.rs).
        assert!(part(7640, "train-7", "alice") && !part(7639, "train-7", "alice"));
        let hits = (0..10_000).filter(|n| part(500, "train-7", &n.to_string())).count();
        assert!((400..600).contains(&hits), "{hits}");
        let alone = Test::Percent { weight: Weight::new(7640).unwrap(), salt: None };
        assert!(alone.holds(b"alice", bucket::named_salt("train-7")));
    }

    #[test]
    fn all_conditions_must_hold() {
        let yes = Condition { subject: Subject::Method, test: Test::Exact("GET".into()) };
        let no = Condition { subject: Subject::Method, test: Test::Exact("PUT".into()) };
        let headers: &[(&str, &str)] = &[];
        let client = "10.0.0.1".parse().unwrap();
        let head = RequestHead { method: "GET", host: "", path: "/", query: None, headers, client };
        assert!(When { conditions: vec![yes.clone(), yes.clone()] }.matches(&head, 0));
        assert!(!When { conditions: vec![yes, no] }.matches(&head, 0));
    }
}
