//! Match rules of an alias: the text form of Tencent SCF and the structured form.

use crate::model::Rule;
use crate::text::parse::alias::salt;
use crate::text::parse::place::{Place, Reading, quoted};
use crate::text::parse::scalar::{header_name, is_token, network, switch};
use crate::text::yaml::Value;
use crate::value::name::VersionId;
use crate::value::rule::{Condition, Interval, Pattern, Subject, Test, When};
use crate::value::weight::{Share, Weight};

/// `rules: [{when: …, version: 2}]`
pub(super) fn rules(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    for item in place.items(r, "a list of rules such as `[{when: {header: {x-beta: present}}, version: 2}]`") {
        let Some(mut fields) = item.fields(r, "a mapping with `when` and `version`") else { continue };
        let when = fields.require(r, "when", "for example `when: {header: {x-beta: present}}`");
        let when = when.and_then(|place| when_of(&place, r));
        let version = fields.require(r, "version", "the version that these requests go to");
        let version = version.and_then(|place| place.parse::<VersionId>(r, "a version"));
        fields.finish(r);
        rules.extend(when.zip(version).map(|(when, version)| Rule { when, version }));
    }
    Some(rules)
}

/// A text, a mapping of subjects, or a list of such mappings: every condition must hold.
fn when_of(place: &Place<'_>, r: &mut Reading<'_>) -> Option<When> {
    if place.is_scalar() {
        return place.parse::<When>(r, "a condition");
    }
    let before = r.problems.len();
    let mut conditions = Vec::new();
    if place.is_list() {
        for item in place.items(r, "a list of conditions") {
            subjects(&item, r, &mut conditions);
        }
    } else {
        subjects(place, r, &mut conditions);
    }
    if conditions.is_empty() && r.problems.len() == before {
        let help = "for example `{header: {x-beta: present}}`; a rule for every request is a split";
        r.problems.push(place.problem("this rule has no condition").help(help));
    }
    (r.problems.len() == before).then_some(When { conditions })
}

fn subjects(place: &Place<'_>, r: &mut Reading<'_>, conditions: &mut Vec<Condition>) {
    let what = "a condition: `invoke.headers.<Key> exact <value>`, or a mapping with `header`, `cookie`, `query`, `path`, \
                `method` or `client_address`";
    let Some(mut fields) = place.fields(r, what) else { return };
    if let Some(place) = fields.take("header") {
        for entry in place.entries(r, "tests by header, such as `{x-beta: present}`") {
            if let Some(name) = header_name(&entry, r, entry.key()) {
                tests(&entry, r, &Subject::Header(name), conditions);
            }
        }
    }
    if let Some(place) = fields.take("cookie") {
        for entry in place.entries(r, "tests by cookie, such as `{beta: \"1\"}`") {
            if is_token(entry.key()) {
                tests(&entry, r, &Subject::Cookie(entry.key().to_owned()), conditions);
            } else {
                r.problems.push(entry.key_problem(format!("{} is not the name of a cookie", quoted(entry.key()))));
            }
        }
    }
    if let Some(place) = fields.take("query") {
        for entry in place.entries(r, "tests by query parameter, such as `{debug: present}`") {
            tests(&entry, r, &Subject::Query(entry.key().to_owned()), conditions);
        }
    }
    if let Some(place) = fields.take("path") {
        tests(&place, r, &Subject::Path, conditions);
    }
    if let Some(place) = fields.take("method") {
        tests(&place, r, &Subject::Method, conditions);
    }
    if let Some(place) = fields.take("client_address") {
        client_address(&place, r, conditions);
    }
    fields.finish(r);
}

/// `present`, `absent`, a value (exactly this), or a mapping of tests that must all hold.
fn tests(place: &Place<'_>, r: &mut Reading<'_>, subject: &Subject, conditions: &mut Vec<Condition>) {
    let mut push = |test| conditions.push(Condition { subject: subject.clone(), test });
    match &place.node.value {
        Value::Scalar { text, .. } => push(match &**text {
            "present" => Test::Present(true),
            "absent" => Test::Present(false),
            text => Test::Exact(text.to_owned()),
        }),
        Value::Mapping(entries) if !entries.is_empty() => {
            let mut found = structured(place, r);
            found.drain(..).for_each(push);
        }
        _ => {
            let what = "a value, `present`, `absent`, or a mapping with `exact`, `prefix`, `suffix`, `regex`, `in`, `range` or `percent`";
            r.problems.push(place.expected(what));
        }
    }
}

/// `{prefix: a, suffix: b}`, in the order of the text.
fn structured(place: &Place<'_>, r: &mut Reading<'_>) -> Vec<Test> {
    let Some(mut fields) = place.fields(r, "a mapping of tests") else { return Vec::new() };
    let text = |place: &Place<'_>, r: &mut Reading<'_>| place.text(r, "a text").map(str::to_owned);
    let percent_salt = fields.read(r, "salt", salt);
    if percent_salt.is_some() && !fields.has("percent") {
        r.problems.push(place.problem("`salt` belongs to `percent`").help("for example `{percent: 5, salt: train-7}`"));
    }
    let mut found = vec![
        order(&mut fields, r, "exact", |place, r| text(place, r).map(Test::Exact)),
        order(&mut fields, r, "prefix", |place, r| text(place, r).map(Test::Prefix)),
        order(&mut fields, r, "suffix", |place, r| text(place, r).map(Test::Suffix)),
        order(&mut fields, r, "regex", |place, r| pattern(place, r).map(Test::Regex)),
        order(&mut fields, r, "in", one_of_texts),
        order(&mut fields, r, "present", |place, r| switch(place, r).map(Test::Present)),
        order(&mut fields, r, "range", |place, r| interval(place, r).map(Test::Range)),
        order(&mut fields, r, "percent", |place, r| {
            percent(place, r).map(|weight| Test::Percent { weight, salt: percent_salt })
        }),
    ];
    fields.finish(r);
    found.sort_by_key(|test| test.as_ref().map(|(at, _)| *at));
    found.into_iter().flatten().map(|(_, test)| test).collect()
}

/// A test with its place in the text, by which tests are put in order.
fn order(
    fields: &mut crate::text::parse::place::Fields<'_>,
    r: &mut Reading<'_>,
    name: &'static str,
    read: impl FnOnce(&Place<'_>, &mut Reading<'_>) -> Option<Test>,
) -> Option<(crate::text::problem::Position, Test)> {
    let place = fields.take(name)?;
    read(&place, r).map(|test| (place.key_at(), test))
}

fn pattern(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Pattern> {
    let text = place.text(r, "a regular expression")?;
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            r.problems.push(place.problem(error.to_string()));
            None
        }
    }
}

fn one_of_texts(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Test> {
    let items = place.some_items(r, "a list of values such as `[a, b]`")?;
    Some(Test::In(items.iter().filter_map(|item| item.text(r, "a text").map(str::to_owned)).collect()))
}

/// `"[1,50]"` in all four bracket forms, or a list of two numbers, both inside.
fn interval(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Interval> {
    if !place.is_list() {
        return place.parse::<Interval>(r, "an interval");
    }
    let items = place.items(r, "two whole numbers");
    let ends: Vec<&str> = items.iter().filter_map(|item| item.text(r, "a whole number")).collect();
    match format!("[{}]", ends.join(",")).parse() {
        Ok(interval) => Some(interval),
        Err(error) => {
            r.problems.push(place.problem(format!("this list is not an interval: {error}")));
            None
        }
    }
}

/// A percentage with at most two decimals.
fn percent(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Weight> {
    let what = "a percentage from 0.01 to 100";
    let share = place.text(r, what)?.parse::<Share>().ok();
    let weight = share.and_then(|share| u16::try_from(share.hundredths()).ok()).and_then(Weight::new);
    if weight.is_none_or(|weight| weight == Weight::ZERO) {
        r.problems.push(place.expected(what));
        return None;
    }
    weight
}

/// One network, a list of them, or `{exact: …}` and the like on the address as text.
fn client_address(place: &Place<'_>, r: &mut Reading<'_>, conditions: &mut Vec<Condition>) {
    let networks = match &place.node.value {
        Value::Scalar { .. } => network(place, r).map(|network| vec![network]),
        Value::Mapping(_) => {
            tests(place, r, &Subject::ClientAddress, conditions);
            return;
        }
        _ => {
            let items = place.some_items(r, "a network or a list of them, such as `[10.0.0.0/8]`");
            items.map(|items| items.iter().filter_map(|item| network(item, r)).collect())
        }
    };
    conditions
        .extend(networks.map(|networks| Condition { subject: Subject::ClientAddress, test: Test::Networks(networks) }));
}
