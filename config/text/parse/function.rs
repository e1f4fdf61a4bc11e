//! Functions and their versions.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Dialect, FixedResponse, Function, FunctionSettings, InvokeMode, InvokeSettings, Target, Version};
use crate::text::parse::alias::aliases;
use crate::text::parse::place::{Fields, Place, Reading, quoted};
use crate::text::parse::scalar::{header_name, integer, is_header_value, line, switch};
use crate::text::parse::{header, upstream};
use crate::text::problem::{Code, Position, Problem};
use crate::text::yaml::join;
use crate::value::digest::Digest;
use crate::value::line::is_label;
use crate::value::name::{FunctionName, VersionId};
use crate::value::path;

/// Functions, and the highest number that each ever used.
pub(super) type Functions = (OrdMap<FunctionName, Arc<Function>>, OrdMap<FunctionName, NonZeroU32>);

/// `functions:`
pub(super) fn functions(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Functions> {
    let (mut functions, mut numbers) = (OrdMap::new(), OrdMap::new());
    for entry in place.entries(r, "functions by name") {
        let Some((name, function, number)) = named_function(&entry, r) else { continue };
        numbers.extend(number.map(|number| (name.clone(), number)));
        functions.insert(name, Arc::new(function));
    }
    Some((functions, numbers))
}

/// One function with its name, and the highest number that it ever used.
pub(super) fn named_function(
    entry: &Place<'_>,
    r: &mut Reading<'_>,
) -> Option<(FunctionName, Function, Option<NonZeroU32>)> {
    let name = entry.parse_key::<FunctionName>(r, "a function name");
    let read = name.zip(numbered_function(entry, r));
    if read.is_none() {
        r.broken.insert(entry.path());
    }
    read.map(|(name, (function, number))| (name, function, number))
}

/// `next_versions: {shop: 7}`: what functions that are gone would go on with.
pub(super) fn next_versions(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<(FunctionName, NonZeroU32)>> {
    let mut numbers = Vec::new();
    for entry in place.entries(r, "the next number by function") {
        let name = entry.parse_key::<FunctionName>(r, "a function name");
        numbers.extend(name.zip(next(&entry, r).flatten()));
    }
    Some(numbers)
}

/// One function, and the highest number that it ever used: `{draft: …, versions: {…}, aliases: {…}, next: 7}`.
fn numbered_function(place: &Place<'_>, r: &mut Reading<'_>) -> Option<(Function, Option<NonZeroU32>)> {
    let fields = place.fields(r, "a mapping with `versions` and `aliases`")?;
    let (function, next) = function_of(fields, place, r, true);
    let highest = function.versions.keys().next_back().copied();
    let number = next.and_then(|place| {
        let number = self::next(&place, r)?;
        if let Some(highest) = highest.filter(|highest| Some(*highest) > number) {
            let message = format!("version {highest} is here, so the next one has a higher number");
            let help = "write a number above every version that ever was, or leave `next` out";
            r.problems.push(place.problem(message).help(help));
        }
        number
    });
    Some((function, number.max(highest)))
}

/// The highest number that is taken when this is the next one.
fn next(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Option<NonZeroU32>> {
    let next = integer(place, r, 1..=u64::from(u32::MAX) + 1)?;
    Some(u32::try_from(next - 1).ok().and_then(NonZeroU32::new))
}

/// One function, in a text of its own.
pub(super) fn function(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Function> {
    let fields = place.fields(r, "a mapping with `versions` and `aliases`")?;
    Some(function_of(fields, place, r, false).0)
}

/// The function, and where its counter is.
fn function_of<'a>(
    mut fields: Fields<'a>,
    place: &Place<'_>,
    r: &mut Reading<'_>,
    numbered: bool,
) -> (Function, Option<Place<'a>>) {
    let draft = fields.take("draft").map(|place| or_broken(&place, r, draft));
    let versions = fields.read(r, "versions", versions).unwrap_or_default();
    let aliases = fields.read(r, "aliases", aliases).unwrap_or_default();
    let FunctionSettings { dialects, invoke } = settings(&mut fields, r);
    let next = if numbered { fields.take("next") } else { None };
    if !fields.has("draft") && !fields.has("versions") && next.is_none() {
        let help = "add `versions: {1: http://10.0.0.11:8080}` or `draft: http://10.0.0.11:8080`";
        r.problems.push(place.problem("a function needs `versions` or a `draft`").help(help));
    }
    fields.finish(r);
    let (draft, versions) = (draft.flatten(), Arc::new(versions));
    (Function { draft, versions, aliases, dialects, invoke, ..Function::default() }, next)
}

/// What belongs to a function alone: `{dialects: [fc], invoke: {path: /event}}`, or `{}`.
pub(super) fn settings_alone(place: &Place<'_>, r: &mut Reading<'_>) -> Option<FunctionSettings> {
    let mut fields = place.fields(r, "a mapping such as `{dialects: [fc]}`")?;
    let settings = settings(&mut fields, r);
    fields.finish(r);
    Some(settings)
}

fn settings(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> FunctionSettings {
    FunctionSettings {
        dialects: fields.read(r, "dialects", dialects).unwrap_or_default(),
        invoke: fields.read(r, "invoke", invoke).unwrap_or_default(),
    }
}

/// `{path: /invoke, mode: auto}`
fn invoke(place: &Place<'_>, r: &mut Reading<'_>) -> Option<InvokeSettings> {
    let mut fields = place.fields(r, "a mapping such as `{path: /invoke, mode: auto}`")?;
    let default = InvokeSettings::default();
    let path = fields.read(r, "path", |place, r| {
        let text = place.text(r, "a path such as `/invoke`")?;
        let is_path = path::is_plain(text) && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
        if !is_path {
            let problem = place.problem(format!("{} is not a path that an event can be posted to", quoted(text)));
            r.problems
                .push(problem.help("write an absolute path, percent-encoded, without a query, such as `/invoke`"));
        }
        is_path.then(|| text.to_owned())
    });
    let mode = fields.read(r, "mode", |place, r| place.choice(r, &InvokeMode::WORDS));
    fields.finish(r);
    Some(InvokeSettings { path: path.unwrap_or(default.path), mode: mode.unwrap_or_default() })
}

fn or_broken(
    place: &Place<'_>,
    r: &mut Reading<'_>,
    read: fn(&Place<'_>, &mut Reading<'_>) -> Option<Version>,
) -> Option<Arc<Version>> {
    let version = read(place, r);
    if version.is_none() {
        r.broken.insert(place.path());
    }
    version.map(Arc::new)
}

fn versions(place: &Place<'_>, r: &mut Reading<'_>) -> Option<BTreeMap<NonZeroU32, Arc<Version>>> {
    let mut versions = BTreeMap::new();
    for entry in place.entries(r, "versions by number") {
        let number = number(&entry, r);
        let version = or_broken(&entry, r, version);
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

/// The draft: a URL, or the full form.
pub(super) fn draft(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Version> {
    let form = form(place, r, false)?;
    let digest = form.computed();
    Some(form.with(digest))
}

/// One version: a URL, or the full form. The digest that it states has to be right where that can be told.
pub(super) fn version(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Version> {
    let form = form(place, r, true)?;
    let digest = form.computed();
    let follows = form.artifact.is_some() || matches!(form.target, Target::Response(_));
    if let Some((stated, at)) = form.digest.filter(|(stated, _)| follows && *stated != digest) {
        let problem =
            Problem::error(join(&place.path(), "digest"), format!("the digest of this version is not {stated}"));
        r.problems
            .push(problem.at(at).code(Code::DigestMismatch).help(format!("it is {digest}; or leave `digest` out")));
    }
    let digest = form.digest.map_or(digest, |(stated, _)| stated);
    Some(form.with(digest))
}

/// One version as a store has it: what it states as its digest is its digest.
pub(super) fn stored_version(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Version> {
    let form = form(place, r, true)?;
    let stated = form.digest.map(|(stated, _)| stated);
    let digest = stated.unwrap_or_else(|| form.computed());
    Some(form.with(digest))
}

/// The fields of a version as they are written.
struct Form {
    target: Target,
    description: Option<String>,
    label: Option<String>,
    artifact: Option<String>,
    retired: bool,
    digest: Option<(Digest, Position)>,
}

impl Form {
    fn computed(&self) -> Digest {
        Digest::of_parts(&self.target, self.artifact.as_deref())
    }

    fn with(self, digest: Digest) -> Version {
        let Self { target, description, label, artifact, retired, digest: _ } = self;
        Version { target, description, label, artifact, retired, digest }
    }
}

fn form(place: &Place<'_>, r: &mut Reading<'_>, numbered: bool) -> Option<Form> {
    if place.is_scalar() {
        let target = Target::Upstream(Box::new(upstream::shorthand(place, r)?));
        return Some(Form { target, description: None, label: None, artifact: None, retired: false, digest: None });
    }
    let mut fields = place.fields(r, "a URL such as `http://10.0.0.11:8080`, or a mapping with `endpoints`")?;
    let description = fields.read(r, "description", line);
    let label = fields.read(r, "label", label);
    let artifact = fields.read(r, "artifact", line);
    let retired = fields.read(r, "retired", switch).unwrap_or(false);
    let digest = if numbered { fields.read(r, "digest", digest) } else { None };
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
    Some(Form { target: target?, description, label, artifact, retired, digest })
}

fn digest(place: &Place<'_>, r: &mut Reading<'_>) -> Option<(Digest, Position)> {
    Some((place.parse(r, "a digest")?, place.node.at))
}

fn label(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let label = line(place, r)?;
    if !is_label(&label) {
        let message = format!("`{label}` is not a label");
        let help = "a label is a word that is no number, without `:` and spaces, and does not start with `$`";
        r.problems.push(place.problem(message).help(help));
        return None;
    }
    Some(label)
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
