//! Functions and their versions.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Dialect, FixedResponse, Function, Target, Version};
use crate::name::{FunctionName, VersionId};
use crate::parse::alias::aliases;
use crate::parse::place::{Place, Reading};
use crate::parse::scalar::{header_name, integer, is_header_value, line, switch};
use crate::parse::{header, upstream};

/// `functions:`
pub(super) fn functions(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OrdMap<FunctionName, Arc<Function>>> {
    let mut functions = OrdMap::new();
    for entry in place.entries(r, "functions by name") {
        let name = entry.parse_key::<FunctionName>(r, "a function name");
        let function = function(&entry, r);
        match (name, function) {
            (Some(name), Some(function)) => {
                functions.insert(name, Arc::new(function));
            }
            _ => {
                r.broken.insert(entry.path());
            }
        }
    }
    Some(functions)
}

/// One function: `{draft: …, versions: {…}, aliases: {…}}`.
pub(super) fn function(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Function> {
    let mut fields = place.fields(r, "a mapping with `versions` and `aliases`")?;
    let draft = fields.take("draft").map(|draft| version_or_broken(&draft, r));
    let versions = fields.read(r, "versions", versions).unwrap_or_default();
    let aliases = fields.read(r, "aliases", aliases).unwrap_or_default();
    let dialects = fields.read(r, "dialects", dialects).unwrap_or_default();
    if !fields.has("draft") && !fields.has("versions") {
        let help = "add `versions: {1: http://10.0.0.11:8080}` or `draft: http://10.0.0.11:8080`";
        r.problems.push(place.problem("a function needs `versions` or a `draft`").help(help));
    }
    fields.finish(r);
    unique_labels(place, r, &versions, draft.as_ref().and_then(Option::as_ref));
    Some(Function { draft: draft.flatten(), versions, aliases, dialects })
}

fn version_or_broken(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Arc<Version>> {
    let version = version(place, r);
    if version.is_none() {
        r.broken.insert(place.path());
    }
    version.map(Arc::new)
}

fn versions(place: &Place<'_>, r: &mut Reading<'_>) -> Option<BTreeMap<NonZeroU32, Arc<Version>>> {
    let mut versions = BTreeMap::new();
    for entry in place.entries(r, "versions by number") {
        let number = number(&entry, r);
        let version = version_or_broken(&entry, r);
        versions.extend(number.zip(version));
    }
    Some(versions)
}

fn number(entry: &Place<'_>, r: &mut Reading<'_>) -> Option<NonZeroU32> {
    let key = entry.key();
    match key.parse() {
        Ok(VersionId::Number(number)) => Some(number),
        Ok(VersionId::Latest) => {
            let problem = entry.key_problem("`$LATEST` is the draft, not a version");
            r.problems.push(problem.help("write it as `draft:` beside `versions:`"));
            None
        }
        Err(_) => {
            let message = format!("`{key}` is not a version number: versions are 1, 2, 3, …");
            r.problems.push(entry.key_problem(message).help(if key.starts_with(|c: char| c.is_ascii_digit()) {
                "write a whole number from 1 to 4294967295 without leading zeros".to_owned()
            } else {
                format!("number it, and name it with `label: {key}`")
            }));
            None
        }
    }
}

/// One version: a URL, or the full form.
fn version(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Version> {
    if place.is_scalar() {
        let upstream = upstream::shorthand(place, r)?;
        let target = Target::Upstream(Box::new(upstream));
        return Some(Version { target, description: None, label: None, artifact: None, retired: false });
    }
    let mut fields = place.fields(r, "a URL such as `http://10.0.0.11:8080`, or a mapping with `endpoints`")?;
    let description = fields.read(r, "description", line);
    let label = fields.read(r, "label", label);
    let artifact = fields.read(r, "artifact", line);
    let retired = fields.read(r, "retired", switch).unwrap_or(false);
    let response = fields.take("response");
    let target = match response {
        Some(_) if fields.has("endpoints") => {
            let problem = place.problem("a version has either `endpoints` or a fixed `response`, not both");
            r.problems.push(problem.help("remove one of the two"));
            upstream::fields(&mut fields, place, r);
            None
        }
        Some(response) => fixed_response(&response, r).map(Target::Response),
        None => upstream::fields(&mut fields, place, r).map(|upstream| Target::Upstream(Box::new(upstream))),
    };
    fields.finish(r);
    Some(Version { target: target?, description, label, artifact, retired })
}

/// A label is a line that is no version.
fn label(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let label = line(place, r)?;
    if label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with('$') || label.contains([':', ' ']) {
        let message = format!("`{label}` is not a label");
        let help = "a label is a word that is no number, without `:` and spaces, and does not start with `$`";
        r.problems.push(place.problem(message).help(help));
        return None;
    }
    Some(label)
}

fn unique_labels(
    place: &Place<'_>,
    r: &mut Reading<'_>,
    versions: &BTreeMap<NonZeroU32, Arc<Version>>,
    draft: Option<&Arc<Version>>,
) {
    let numbered = versions.iter().map(|(number, version)| (VersionId::Number(*number), version));
    let mut seen: HashMap<&str, VersionId> = HashMap::new();
    for (id, version) in numbered.chain(draft.map(|draft| (VersionId::Latest, draft))) {
        let Some(label) = version.label.as_deref() else { continue };
        if let Some(first) = seen.insert(label, id) {
            let message = format!("the label `{label}` is on the versions {first} and {id}");
            r.problems.push(place.problem(message).help("a label names one version of a function"));
        }
    }
}

/// `response: {status: 503, headers: {…}, body: "…"}`
fn fixed_response(place: &Place<'_>, r: &mut Reading<'_>) -> Option<FixedResponse> {
    let mut fields = place.fields(r, "a mapping such as `{status: 503, body: closed}`")?;
    let status = fields.require(r, "status", "for example `status: 503`");
    let status = status.and_then(|status| integer(&status, r, 200..=599)).and_then(|status| u16::try_from(status).ok());
    let mut headers = Vec::new();
    if let Some(place) = fields.take("headers") {
        for entry in place.entries(r, "headers by name") {
            headers.extend(fixed_header(&entry, r));
        }
    }
    let body = fields.read(r, "body", |place, r| place.text(r, "a text").map(str::to_owned)).unwrap_or_default();
    if let (Some(status @ (204 | 304)), false) = (status, body.is_empty()) {
        r.problems.push(place.problem(format!("an answer with status {status} has no body")).help("remove `body`"));
    }
    fields.finish(r);
    Some(FixedResponse { status: status?, headers, body })
}

fn fixed_header(entry: &Place<'_>, r: &mut Reading<'_>) -> Option<(String, String)> {
    let name = header_name(entry, r, entry.key())?;
    let value = entry.text(r, "the value of a header")?;
    if !header::is_free_header(&name) {
        r.problems.push(header::reserved_header(entry, &name));
        return None;
    }
    if !is_header_value(value) {
        r.problems.push(entry.problem("this value has characters that headers cannot carry"));
        return None;
    }
    Some((name, value.to_owned()))
}

fn dialects(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<Dialect>> {
    let mut dialects = Vec::new();
    for item in place.items(r, "a list such as `[fc, aws]`") {
        if let Some(dialect) = item.choice(r, &[("fc", Dialect::Fc), ("aws", Dialect::Aws)]) {
            if dialects.contains(&dialect) {
                r.problems.push(item.problem("this dialect is here twice").help("keep one of the two"));
            }
            dialects.push(dialect);
        }
    }
    Some(dialects)
}
