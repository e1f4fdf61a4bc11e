//! Process settings that say who may name what: the environment, the hosts that are called, and the outer address of the API.

use std::fmt::Display;
use std::str::FromStr;

use crate::model::EnvironmentRules;
use crate::text::parse::place::{Place, Reading};
use crate::value::pattern::CallPattern;

/// `{allow: [PATTERN], operator: [PATTERN]}`
pub(super) fn environment(place: &Place<'_>, r: &mut Reading<'_>) -> Option<EnvironmentRules> {
    let what = "a mapping such as `{allow: [DINGTALK_*], operator: [CI_*]}`";
    let mut fields = place.fields(r, what)?;
    if fields.is_empty() {
        r.problems.push(place.expected(what));
    }
    let names = "a list of names of variables such as `[DINGTALK_*]`";
    let allow = fields.read(r, "allow", |place, r| patterns(place, r, names));
    let operator = fields.read(r, "operator", |place, r| patterns(place, r, names)).unwrap_or_default();
    fields.finish(r);
    Some(EnvironmentRules { allow, operator })
}

/// `{allow: [HOST]}`
pub(super) fn calls(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<CallPattern>> {
    let mut fields = place.fields(r, "a mapping such as `{allow: [\"*.example.com\", 10.0.0.0/8]}`")?;
    let allow = fields.require(r, "allow", "the hosts that operators may name: `allow: [\"*.example.com\"]`");
    let hosts = "a list of hosts such as `[\"*.example.com\", 10.0.0.0/8]`";
    let allow = allow.and_then(|place| patterns(&place, r, hosts));
    fields.finish(r);
    allow
}

fn patterns<T: FromStr<Err: Display>>(place: &Place<'_>, r: &mut Reading<'_>, what: &str) -> Option<Vec<T>> {
    let items = place.items(r, what);
    let mut patterns = Vec::new();
    for item in &items {
        let Some(text) = item.text(r, "a pattern") else { continue };
        match text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => r.problems.push(item.problem(format!("{error}"))),
        }
    }
    place.is_list().then_some(patterns)
}

/// `https://weir.example.com`, with a path where the API is below one.
pub(super) fn outer_url(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "a URL such as `https://weir.example.com`")?;
    let uri = text.parse::<http::Uri>().ok();
    let fits = uri.is_some_and(|uri| {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && !authority.contains('@')
            && uri.query().is_none()
    });
    if !fits || text.contains('#') {
        let problem = place.problem("this is not the address of the admin API");
        r.problems.push(problem.help("write `https://HOST`, without user, query and fragment"));
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}
