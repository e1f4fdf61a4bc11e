//! Aliases: the split, the routing key, and what else decides which version answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Alias, AliasPatch, KeySource, OnMissingKey, OnUnhealthy, Selection, Shield, predefined_name};
use crate::text::parse::place::{Place, Reading, quoted};
use crate::text::parse::rule::rules;
use crate::text::parse::scalar::{duration, header_name, is_token, line};
use crate::text::problem::Problem;
use crate::text::yaml::Value;
use crate::value::bucket::{Buckets, parse_runs};
use crate::value::name::{AliasName, PlanName, VersionId};
use crate::value::weight::{Share, Split, SplitError};

/// `aliases:`
pub(super) fn aliases(place: &Place<'_>, r: &mut Reading<'_>) -> Option<BTreeMap<AliasName, std::sync::Arc<Alias>>> {
    let mut aliases = BTreeMap::new();
    for entry in place.entries(r, "aliases by name") {
        let name = entry.parse_key::<AliasName>(r, "an alias name");
        let alias = alias(&entry, r);
        if alias.is_none() {
            r.broken.insert(entry.path());
        }
        aliases.extend(name.zip(alias.map(Into::into)));
    }
    Some(aliases)
}

/// A version (`prod: 2`), a split (`prod: {1: 95, 2: 5}`) or the full form.
pub(super) fn alias(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Alias> {
    if place.is_scalar() || looks_like_split(place) {
        return split(place, r).map(Alias::new);
    }
    let mut fields = place.fields(r, "a version, a split such as `{1: 95, 2: 5}`, or a mapping with `split`")?;
    let split = fields.require(r, "split", "for example `split: {1: 95, 2: 5}`").and_then(|place| split(&place, r));
    let key = fields.read(r, "key", key).unwrap_or_default();
    let on_missing_key = fields.read(r, "on_missing_key", on_missing_key);
    let selection = fields.read(r, "selection", selection);
    let salt = fields.read(r, "salt", salt);
    let rules = fields.read(r, "rules", rules).unwrap_or_default();
    let on_unhealthy = fields.read(r, "on_unhealthy", on_unhealthy);
    let shield = fields.read(r, "shield", shield);
    let stable = fields.read(r, "stable", version_id);
    let plan = fields.read(r, "plan", plan_name);
    let description = fields.read(r, "description", line);
    let joined = fields.read(r, "joined", version_id);
    let buckets = fields.take("buckets");
    fields.finish(r);
    let split = split?;
    let buckets = buckets.map(|place| self::buckets(&place, r, &split)).unwrap_or(Some(Buckets::cold(&split)));
    Some(Alias {
        buckets: buckets?,
        joined: joined.unwrap_or_else(|| split.highest()),
        key,
        on_missing_key: on_missing_key.unwrap_or_default(),
        selection: selection.unwrap_or_default(),
        salt,
        rules,
        on_unhealthy: on_unhealthy.unwrap_or_default(),
        shield: shield.unwrap_or_default(),
        stable,
        plan,
        description,
        split,
    })
}

/// The fields of an alias that are to change.
pub(super) fn patch(place: &Place<'_>, r: &mut Reading<'_>) -> Option<AliasPatch> {
    let mut fields = place.fields(r, "a mapping with the fields to change, such as `{split: {1: 95, 2: 5}}`")?;
    let patch = AliasPatch {
        split: fields.read(r, "split", split),
        key: fields.patch(r, "key", key),
        on_missing_key: fields.patch(r, "on_missing_key", on_missing_key),
        selection: fields.patch(r, "selection", selection),
        salt: fields.patch(r, "salt", salt),
        rules: fields.patch(r, "rules", rules),
        on_unhealthy: fields.patch(r, "on_unhealthy", on_unhealthy),
        shield: fields.patch(r, "shield", shield),
        stable: fields.patch(r, "stable", version_id),
        plan: fields.patch(r, "plan", plan_name),
        description: fields.patch(r, "description", line),
    };
    fields.finish(r);
    Some(patch)
}

fn on_missing_key(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OnMissingKey> {
    let choices = [("slot", OnMissingKey::Slot), ("stable", OnMissingKey::Stable), ("refuse", OnMissingKey::Refuse)];
    place.choice(r, &choices)
}

fn selection(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Selection> {
    place.choice(r, &[("exact", Selection::Exact), ("random", Selection::Random)])
}

fn on_unhealthy(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OnUnhealthy> {
    place.choice(r, &[("fallback", OnUnhealthy::Fallback), ("fail", OnUnhealthy::Fail)])
}

fn shield(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Shield> {
    place.choice(r, &Shield::WORDS)
}

fn version_id(place: &Place<'_>, r: &mut Reading<'_>) -> Option<VersionId> {
    place.parse(r, "a version")
}

fn looks_like_split(place: &Place<'_>) -> bool {
    let Value::Mapping(entries) = &place.node.value else { return false };
    let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) || text.starts_with('$');
    entries.first().is_some_and(|(key, _)| is_version(&key.text))
}

/// `2`, or `{1: 95, 2: 5}`.
fn split(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Split> {
    if place.is_scalar() {
        return place.parse::<VersionId>(r, "a version").map(Split::whole);
    }
    let entries = place.entries(r, "a version or a split such as `{1: 95, 2: 5}`");
    let mut shares = Vec::new();
    for entry in &entries {
        let version = entry.parse_key::<VersionId>(r, "a version");
        let share = share(entry, r);
        shares.extend(version.zip(share));
    }
    if shares.len() < entries.len() || !matches!(place.node.value, Value::Mapping(_)) {
        return None;
    }
    match Split::from_shares(&shares) {
        Ok(split) => {
            unusual_sum(place, r, &shares, &split);
            Some(split)
        }
        Err(error) => {
            let at = match error {
                SplitError::RoundsToZero(version) | SplitError::Duplicate(version) => {
                    entries.iter().find(|entry| entry.key().parse() == Ok(version))
                }
                _ => None,
            };
            r.problems.push(at.map_or_else(|| place.problem(error.to_string()), |at| at.problem(error.to_string())));
            None
        }
    }
}

fn share(entry: &Place<'_>, r: &mut Reading<'_>) -> Option<Share> {
    let text = entry.text(r, "a weight such as `95` or `0.25`")?;
    match text.parse() {
        Ok(share) => Some(share),
        Err(error) => {
            let problem = entry.problem(format!("{} is not a weight: {error}", quoted(text)));
            r.problems.push(match text.strip_suffix('%') {
                Some(number) => problem.help(format!("leave out the sign: `{number}`")),
                None => problem,
            });
            None
        }
    }
}

fn unusual_sum(place: &Place<'_>, r: &mut Reading<'_>, shares: &[(VersionId, Share)], split: &Split) {
    let sum: u64 = shares.iter().map(|(_, share)| share.hundredths()).sum();
    if sum == 100 * 100 || shares.len() == 1 {
        return;
    }
    let decimals = if sum.is_multiple_of(100) { String::new() } else { format!(".{:02}", sum % 100) };
    let message = format!("the weights sum to {}{decimals}, not to 100", sum / 100);
    let warning = Problem::warning(place.path(), message).at(place.key_at());
    r.problems.push(warning.help(format!("they count as {{{split}}}")));
}

/// One source or a list: `[{header: x-user-id}, {cookie: uid}, client_address]`.
fn key(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<KeySource>> {
    let what = "a list of sources such as `[{header: x-user-id}, client_address]`";
    if !place.is_list() {
        return key_source(place, r).map(|source| vec![source]);
    }
    let mut sources: Vec<KeySource> = Vec::new();
    for item in place.items(r, what) {
        let Some(source) = key_source(&item, r) else { continue };
        if matches!(sources.last(), Some(KeySource::ClientAddress | KeySource::IssueCookie { .. })) {
            let problem = item.problem("this source is never reached: the one before it is always there");
            r.problems.push(problem.help("put `client_address` or `issue_cookie` last"));
        }
        sources.push(source);
    }
    Some(sources)
}

fn key_source(place: &Place<'_>, r: &mut Reading<'_>) -> Option<KeySource> {
    let what = "`client_address` or one of `{header: NAME}`, `{cookie: NAME}`, `{query: NAME}`, `{issue_cookie: NAME}`";
    if let Value::Scalar { text, .. } = &place.node.value {
        if text == "client_address" {
            return Some(KeySource::ClientAddress);
        }
        r.problems.push(place.expected(what));
        return None;
    }
    let mut fields = place.fields(r, what)?;
    let header = fields.read(r, "header", |place, r| {
        let text = place.text(r, "a header name")?;
        header_name(place, r, text).map(KeySource::Header)
    });
    let cookie = fields.read(r, "cookie", |place, r| cookie_name(place, r).map(KeySource::Cookie));
    let query = fields.read(r, "query", |place, r| {
        let name = place.text(r, "the name of a query parameter").filter(|name| !name.is_empty())?;
        Some(KeySource::Query(name.to_owned()))
    });
    let issued = fields.read(r, "issue_cookie", issue_cookie);
    let count = ["header", "cookie", "query", "issue_cookie"].iter().filter(|name| fields.has(name)).count();
    if count > 1 {
        r.problems.push(
            place
                .problem(format!("one source is one of these, and this mapping has {count}"))
                .help("write a list of sources: `[{header: NAME}, {cookie: NAME}]`"),
        );
    } else if fields.is_empty() {
        r.problems.push(place.expected(what));
    }
    fields.finish(r);
    header.or(cookie).or(query).or(issued)
}

/// `weir_key`, or `{name: weir_key, max_age: 30d}`.
fn issue_cookie(place: &Place<'_>, r: &mut Reading<'_>) -> Option<KeySource> {
    let default = KeySource::COOKIE_MAX_AGE;
    if place.is_scalar() {
        return cookie_name(place, r).map(|name| KeySource::IssueCookie { name, max_age: default });
    }
    let mut fields = place.fields(r, "the name of a cookie, or `{name: NAME, max_age: 30d}`")?;
    let name = fields.require(r, "name", "for example `name: weir_key`").and_then(|place| cookie_name(&place, r));
    let max_age = fields.read(r, "max_age", |place, r| duration(place, r, Duration::from_secs(1))).unwrap_or(default);
    fields.finish(r);
    if max_age.subsec_millis() != 0 {
        r.problems.push(place.problem("`max_age` is whole seconds").help("write for example `max_age: 30d`"));
    }
    Some(KeySource::IssueCookie { name: name?, max_age })
}

impl KeySource {
    /// `Max-Age` of an issued cookie when the file does not say: 30 days.
    pub const COOKIE_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
}

fn cookie_name(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "the name of a cookie")?;
    if !is_token(text) {
        r.problems.push(
            place.problem(format!("{} is not the name of a cookie", quoted(text))).help("letters, digits, `-` and `_`"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// A cohort's name: 1 to 64 visible ASCII characters.
pub(super) fn salt(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "the name of a cohort")?;
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let problem = place.problem(format!("{} is not the name of a cohort", quoted(text)));
        r.problems.push(problem.help("1 to 64 visible ASCII characters, such as `train-7`"));
        return None;
    }
    Some(text.to_owned())
}

/// The name of a plan of the file, or a predefined one of CodeDeploy with or without its prefixes.
fn plan_name(place: &Place<'_>, r: &mut Reading<'_>) -> Option<PlanName> {
    if !place.is_scalar() {
        let problem = place.expected("the name of a plan");
        r.problems.push(problem.help("write the plan under `plans:` at the top level and its name here"));
        return None;
    }
    let text = place.text(r, "the name of a plan")?;
    match predefined_name(text) {
        Some(name) => name.parse().ok(),
        None => place.parse::<PlanName>(r, "the name of a plan"),
    }
}

/// `0-499 2, 500-9999 1`; `@3` after a version is the rank of the edit that brought it there.
fn buckets(place: &Place<'_>, r: &mut Reading<'_>, split: &Split) -> Option<Buckets> {
    let text = place.text(r, "runs of buckets such as `0-499 2, 500-9999 1`")?;
    let Some(runs) = parse_runs(text) else {
        let problem = place.problem("expected runs of buckets such as `0-499 2, 500-9999 1`");
        r.problems.push(problem.help("weir writes this line; leave it out to start from ranges by version number"));
        return None;
    };
    match Buckets::from_runs(&runs, split) {
        Ok(buckets) => Some(buckets),
        Err(error) => {
            let problem = place.problem(error.to_string());
            r.problems.push(problem.help("leave `buckets` out to start from ranges by version number"));
            None
        }
    }
}
