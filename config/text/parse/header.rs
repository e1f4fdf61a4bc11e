//! Header edits of a version, and which headers configuration may touch.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::HeaderEdits;
use crate::text::parse::place::{Place, Reading};
use crate::text::parse::scalar::{header_name, is_header_value, template};
use crate::text::parse::upstream::with_variables;
use crate::text::problem::Problem;
use crate::value::template::Template;

/// `headers: {set: {…}, add: {…}, remove: […]}`
pub(super) fn headers(place: &Place<'_>, r: &mut Reading<'_>) -> Option<HeaderEdits> {
    let mut fields = place.fields(r, "a mapping with `set`, `add` or `remove`")?;
    let set = fields.read(r, "set", header_values).unwrap_or_default();
    let add = fields.read(r, "add", header_values).unwrap_or_default();
    let mut remove = Vec::new();
    if let Some(place) = fields.take("remove") {
        for item in place.items(r, "a list of header names") {
            let name = item.text(r, "a header name").and_then(|text| header_name(&item, r, text));
            remove.extend(name.and_then(|name| free_header(&item, r, name)));
        }
    }
    fields.finish(r);
    let mut seen = BTreeSet::new();
    for name in remove.iter().filter(|name| !seen.insert(*name) || set.contains_key(*name)) {
        let problem = place.problem(format!("`{name}` is removed, and also set or removed again"));
        r.problems.push(problem.help("`set` alone replaces every value"));
    }
    Some(HeaderEdits { set, add, remove })
}

fn header_values(place: &Place<'_>, r: &mut Reading<'_>) -> Option<BTreeMap<String, Template>> {
    let mut values = BTreeMap::new();
    for entry in place.entries(r, "header values by name") {
        let name = header_name(&entry, r, entry.key()).and_then(|name| free_header(&entry, r, name));
        let value = template(&entry, r, "the value of a header");
        if let Some(value) = &value
            && !is_header_value(&with_variables(value, "x"))
        {
            r.problems.push(
                entry
                    .problem("this value has characters that headers cannot carry")
                    .help("visible characters and single spaces inside"),
            );
        }
        if let (Some(name), Some(value)) = (name, value)
            && values.insert(name.clone(), value).is_some()
        {
            r.problems.push(
                entry.key_problem(format!("the header `{name}` is here twice")).help("names of headers ignore case"),
            );
        }
    }
    Some(values)
}

fn free_header(place: &Place<'_>, r: &mut Reading<'_>, name: String) -> Option<String> {
    if is_free_header(&name) {
        return Some(name);
    }
    r.problems.push(reserved_header(place, &name));
    None
}

pub(super) fn reserved_header(place: &Place<'_>, name: &str) -> Problem {
    let (message, help) = match name {
        "host" => ("the `Host` is not set here", "use `host: keep`, `host: endpoint` or `host: NAME`"),
        name if name.starts_with("x-weir-") => {
            ("headers that start with `x-weir-` belong to the gateway", "choose another name")
        }
        _ => ("this header frames the message and belongs to the gateway", "leave it out"),
    };
    place.key_problem(format!("`{name}` cannot be changed: {message}")).help(help)
}

/// Whether configuration may set the header: it neither frames the message nor is a context header of ours.
pub(super) fn is_free_header(name: &str) -> bool {
    const OURS: [&str; 11] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    !OURS.contains(&name) && !name.starts_with("x-weir-")
}
