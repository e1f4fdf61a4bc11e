//! Upstreams: endpoints with one policy, as a URL or in full.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{
    Endpoint, HeaderEdits, HealthCheck, Protocol, Retries, Timeouts, Upgrades, Upstream, UpstreamHost, UpstreamTls,
};
use crate::text::parse::header::headers;
use crate::text::parse::place::{Fields, Place, Reading, clip, quoted};
use crate::text::parse::scalar::{duration, integer, is_token, switch, template_text};
use crate::text::problem::Problem;
use crate::value::host::Host;
use crate::value::template::Template;

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, sni: None, verify: true }
    }
}

/// `http://10.0.0.11:8080/base`, `https://shop.internal`, `10.0.0.11:8080`.
pub(super) fn shorthand(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Upstream> {
    let before = r.problems.len();
    let upstream = url(place, r);
    place.veil(r, before, "a URL such as `http://10.0.0.11:8080`");
    upstream
}

fn url(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Upstream> {
    let written = place.text(r, "a URL such as `http://10.0.0.11:8080`")?;
    let whole = resolve_whole(place, r, written)?;
    if let Some(name) = whole.as_ref().filter(|whole| whole.is_unresolved()) {
        // What it stands for is not to be known here, but that it is something is.
        return Some(Upstream { endpoints: vec![Endpoint { host: name.clone(), port: 80 }], ..plain() });
    }
    let text = whole.as_ref().and_then(Template::fixed).unwrap_or(written);
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (None, rest),
        Some(("https", rest)) => (Some(UpstreamTls::default()), rest),
        Some((scheme, _)) => {
            let message = format!("`{}://` is not a way to reach an endpoint", clip(scheme));
            r.problems
                .push(place.problem(message).help("write `http://host:port`, `https://host:port` or `host:port`"));
            return None;
        }
        None => (None, text),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let default_port = match (&tls, text.contains("://")) {
        (Some(_), _) => Some(443),
        (None, true) => Some(80),
        (None, false) => None,
    };
    if authority.contains('@') {
        let problem = place.problem("a URL of an endpoint carries no user name or password");
        r.problems.push(problem.help("set the header instead: `headers: {set: {authorization: \"${NAME}\"}}`"));
        return None;
    }
    let mut endpoint = endpoint(place, r, authority, default_port)?;
    if let Some(whole) = &whole {
        endpoint.host = endpoint.host.partly(whole);
    }
    let path = if path == "/" { "" } else { path };
    let path_prefix = path_prefix(place, r, path)?;
    Some(Upstream { endpoints: vec![endpoint], path_prefix, tls, ..plain() })
}

/// A text that is one environment variable and nothing else stands for its value.
fn resolve_whole(place: &Place<'_>, r: &mut Reading<'_>, text: &str) -> Option<Option<Template>> {
    let inner = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    if inner.is_none_or(|name| name.contains(['{', '}', '.'])) {
        return Some(None);
    }
    let template = template_text(place, r, text)?;
    Some(Some(template).filter(|template| template.fixed().is_some()))
}

/// An upstream without endpoints and with the default of everything else.
fn plain() -> Upstream {
    Upstream {
        endpoints: Vec::new(),
        protocol: Protocol::default(),
        tls: None,
        host: UpstreamHost::Keep,
        path_prefix: Template::default(),
        headers: HeaderEdits::default(),
        health: None,
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        via: true,
        upgrade: Upgrades::default(),
    }
}

/// The full form, from the fields of a version.
pub(super) fn fields(fields: &mut Fields<'_>, place: &Place<'_>, r: &mut Reading<'_>) -> Option<Upstream> {
    let endpoints = fields.take("endpoints");
    if endpoints.is_none() {
        let problem = place.problem("a version needs `endpoints` or a fixed `response`");
        r.problems.push(problem.help("for example `endpoints: [10.0.0.11:8080]`"));
    }
    let endpoints = endpoints.and_then(|place| self::endpoints(&place, r));
    let protocol = fields.read(r, "protocol", protocol).unwrap_or_default();
    let tls_place = fields.take("tls");
    let tls = tls_place.as_ref().and_then(|place| tls(place, r)).flatten();
    let host = fields.read(r, "host", host).unwrap_or(UpstreamHost::Keep);
    let prefix = fields.read(r, "path_prefix", |place, r| {
        let text = place.text(r, "a path such as `/base`")?;
        path_prefix(place, r, text)
    });
    let headers = fields.read(r, "headers", headers).unwrap_or_default();
    let health = fields.read(r, "health", health);
    let timeouts = fields.read(r, "timeouts", timeouts).unwrap_or_default();
    let retries = fields.read(r, "retries", retries).unwrap_or_default();
    let via = fields.read(r, "via", |place, r| place.choice(r, &[("on", true), ("off", false)])).unwrap_or(true);
    let upgrade = fields.read(r, "upgrade", upgrade).unwrap_or_default();
    match (protocol, &tls) {
        (Protocol::H2, None) if tls_place.is_none() => {
            let problem = place.problem("`protocol: h2` is HTTP/2 over TLS, and `tls` is missing");
            r.problems.push(problem.help("add `tls: {}`, or write `protocol: h2c` for HTTP/2 without TLS"));
        }
        (Protocol::H2c, Some(_)) => {
            let problem = place.problem("`protocol: h2c` is HTTP/2 without TLS, and `tls` is here");
            r.problems.push(problem.help("write `protocol: h2`, or remove `tls`"));
        }
        _ => {}
    }
    let path_prefix = prefix.unwrap_or_default();
    let endpoints = endpoints?;
    Some(Upstream { endpoints, protocol, tls, host, path_prefix, headers, health, timeouts, retries, via, upgrade })
}

pub(super) fn endpoints(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    let mut complete = true;
    for item in place.some_items(r, "a list of endpoints such as `[10.0.0.11:8080]`")? {
        let before = r.problems.len();
        let text = item.text(r, "an endpoint such as `10.0.0.11:8080`");
        let Some(endpoint) = text.and_then(|text| whole_endpoint(&item, r, text)) else {
            item.veil(r, before, "an endpoint such as `10.0.0.11:8080`");
            complete = false;
            continue;
        };
        if endpoints.contains(&endpoint) {
            let message = format!("the endpoint `{}` is here twice", item.text(r, "").unwrap_or_default());
            r.problems.push(item.problem(message).help("keep one of the two"));
        }
        endpoints.push(endpoint);
    }
    complete.then_some(endpoints)
}

/// An endpoint that may be one environment variable and nothing else.
fn whole_endpoint(place: &Place<'_>, r: &mut Reading<'_>, text: &str) -> Option<Endpoint> {
    let Some(whole) = resolve_whole(place, r, text)? else { return endpoint(place, r, text, None) };
    if whole.is_unresolved() {
        return Some(Endpoint { host: whole, port: 80 });
    }
    let Endpoint { host, port } = endpoint(place, r, whole.fixed().unwrap_or(text), None)?;
    Some(Endpoint { host: host.partly(&whole), port })
}

/// `host:port`; without a port only where `default_port` gives one.
fn endpoint(place: &Place<'_>, r: &mut Reading<'_>, text: &str, default_port: Option<u16>) -> Option<Endpoint> {
    if text.contains("://") {
        let problem = place.problem(format!("{} is a URL; an endpoint is `host:port`", quoted(text)));
        r.problems.push(problem.help("leave out the scheme; `tls: {}` beside `endpoints` makes it https"));
        return None;
    }
    let (host, port) = split_port(text);
    let written = port.map(|port| template_text(place, r, port)).map_or(Some(None), |port| port.map(Some))?;
    let port = match &written {
        Some(port) if port.is_unresolved() => default_port.or(Some(80)),
        Some(port) => port.fixed().and_then(parse_port),
        None => default_port,
    };
    let Some(port) = port else {
        let problem = place.problem(format!("{} is not an endpoint: expected `host:port`", quoted(text)));
        r.problems.push(problem.help("a port is a number from 1 to 65535, as in `10.0.0.11:8080`"));
        return None;
    };
    if host.contains(':') && !host.starts_with('[') && !host.contains("${") {
        let problem = place.problem(format!("{} is not an endpoint: an IPv6 address needs brackets", quoted(text)));
        r.problems.push(problem.help("write `\"[2001:db8::1]:8080\"`"));
        return None;
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = template_text(place, r, host)?;
    let host = if let Some(port) = &written { host.partly(port) } else { host };
    let error = match host.fixed() {
        Some(_) if host.is_unresolved() => None,
        Some(fixed) => fixed.parse::<Host>().err(),
        // With a variable put in, it has to look like a host.
        None => with_variables(&host, "x").parse::<Host>().err(),
    };
    if let Some(error) = error {
        r.problems.push(place.problem(format!("{} is not an endpoint: {error}", quoted(text))));
        return None;
    }
    Some(Endpoint { host, port })
}

/// The text with every stage variable set to `value`.
pub(super) fn with_variables(template: &Template, value: &str) -> String {
    let variables: BTreeMap<_, _> =
        template.stage_variables().map(|name| (name.to_owned(), value.to_owned())).collect();
    template.render(&variables).unwrap_or_default()
}

/// Splits at the last colon outside of `${…}` and `[…]`.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0i32;
    let mut colon = None;
    for (index, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ':' if depth == 0 => colon = Some(index),
            _ => {}
        }
    }
    colon.map_or((text, None), |index| (&text[..index], Some(&text[index + 1..])))
}

fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

/// Empty, or `/like/this`.
fn path_prefix(place: &Place<'_>, r: &mut Reading<'_>, text: &str) -> Option<Template> {
    let template = template_text(place, r, text)?;
    let path = with_variables(&template, "x");
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&b);
    let problem = if path.is_empty() || template.is_unresolved() {
        return Some(template);
    } else if !path.starts_with('/') {
        place
            .problem(format!("the path prefix {} does not start with `/`", quoted(text)))
            .help(format!("write `/{}`", clip(text)))
    } else if path.ends_with('/') {
        let trimmed = text.trim_end_matches('/');
        let problem = place.problem(format!("the path prefix {} ends with `/`", quoted(text)));
        problem.help(format!("write `{}`: the path of the request follows with its own `/`", clip(trimmed)))
    } else if path.contains(['?', '#']) {
        place.problem("a path prefix has no query and no fragment").help("the query of the request stays as it is")
    } else if !path.bytes().all(allowed) || path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        place.problem(format!("{} is not a path prefix", quoted(text))).help("write plain segments, as in `/base/v2`")
    } else {
        return Some(template);
    };
    r.problems.push(problem);
    None
}

fn protocol(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Protocol> {
    place.choice(r, &[("http/1.1", Protocol::Http1), ("h2", Protocol::H2), ("h2c", Protocol::H2c)])
}

/// `true`, `false`, or `{ca, sni, verify}`.
fn tls(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Option<UpstreamTls>> {
    if place.is_scalar() {
        return switch(place, r).map(|on| on.then(UpstreamTls::default));
    }
    let mut fields = place.fields(r, "`true` or a mapping with `ca`, `sni` or `verify`")?;
    let ca = fields.read(r, "ca", file);
    let sni = fields.read(r, "sni", |place, r| place.parse::<Host>(r, "a host"));
    let verify = fields.take("verify");
    let verified = verify.as_ref().and_then(|place| switch(place, r)).unwrap_or(true);
    if let (Some(place), false) = (verify, verified) {
        let message =
            "certificates of these endpoints are not verified: anybody in between can read and change everything";
        let warning = Problem::warning(place.path(), message).at(place.node.at);
        r.problems.push(warning.help("name the certificate authority with `ca: FILE` instead"));
    }
    fields.finish(r);
    Some(Some(UpstreamTls { ca, sni, verify: verified }))
}

/// The name of a file.
pub(super) fn file(place: &Place<'_>, r: &mut Reading<'_>) -> Option<PathBuf> {
    let text = place.text(r, "the name of a file")?;
    if text.is_empty() || text.contains('\0') {
        r.problems.push(place.expected("the name of a file"));
        return None;
    }
    Some(PathBuf::from(text))
}

/// `keep`, `endpoint` or a host with an optional port.
fn host(place: &Place<'_>, r: &mut Reading<'_>) -> Option<UpstreamHost> {
    let before = r.problems.len();
    let host = host_seen(place, r);
    place.veil(r, before, "a host");
    host
}

fn host_seen(place: &Place<'_>, r: &mut Reading<'_>) -> Option<UpstreamHost> {
    let text = place.text(r, "`keep`, `endpoint` or a host")?;
    match text {
        "keep" => return Some(UpstreamHost::Keep),
        "endpoint" => return Some(UpstreamHost::Endpoint),
        _ => {}
    }
    let template = template_text(place, r, text)?;
    let rendered = with_variables(&template, "x");
    let (name, port) = if rendered.contains("://") { (&*rendered, None) } else { split_port(&rendered) };
    if let Err(error) = name.parse::<Host>() {
        r.problems.push(place.problem(format!("{} is not `keep`, `endpoint` or a host: {error}", quoted(text))));
        return None;
    }
    if port.is_some_and(|port| parse_port(port).is_none()) {
        r.problems
            .push(place.problem(format!("{} is not a host: its port is not a number from 1 to 65535", quoted(text))));
        return None;
    }
    Some(UpstreamHost::Set(template))
}

/// `health: {path: /healthz, every: 5s, …}`
fn health(place: &Place<'_>, r: &mut Reading<'_>) -> Option<HealthCheck> {
    let default = HealthCheck::default();
    let mut fields = place.fields(r, "a mapping such as `{path: /healthz, every: 5s}`")?;
    let path = fields.require(r, "path", "for example `path: /healthz`").and_then(|place| health_path(&place, r));
    let least = Duration::from_millis(100);
    let every = fields.read(r, "every", |place, r| duration(place, r, least)).unwrap_or(default.every);
    let timeout = fields.read(r, "timeout", |place, r| duration(place, r, Duration::from_millis(1)));
    let status = fields.read(r, "status", status_range).unwrap_or(default.status);
    let rise = fields.read(r, "rise", times).unwrap_or(default.rise);
    let fall = fields.read(r, "fall", times).unwrap_or(default.fall);
    fields.finish(r);
    Some(HealthCheck { path: path?, every, timeout: timeout.unwrap_or(default.timeout), status, rise, fall })
}

fn health_path(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "a path such as `/healthz`")?;
    if !text.starts_with('/') || text.contains('#') || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!("{} is not the path of a request", quoted(text));
        r.problems.push(place.problem(message).help("it starts with `/` and has no spaces, as in `/healthz`"));
        return None;
    }
    Some(text.to_owned())
}

/// `200` or `200-399`.
fn status_range(place: &Place<'_>, r: &mut Reading<'_>) -> Option<(u16, u16)> {
    let text = place.text(r, "a status or a range such as `200-399`")?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Some((first, last)),
        _ => {
            r.problems.push(place.expected("a status or a range such as `200-399`"));
            None
        }
    }
}

fn times(place: &Place<'_>, r: &mut Reading<'_>) -> Option<u32> {
    integer(place, r, 1..=100).and_then(|times| u32::try_from(times).ok())
}

/// `upgrade: [websocket]`; `upgrade: []` takes no offer.
fn upgrade(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Upgrades> {
    let mut protocols = Vec::new();
    for item in place.items(r, "a list of protocols such as `[websocket]`") {
        let Some(text) = item.text(r, "a protocol such as `websocket`") else { continue };
        let protocol = text.to_ascii_lowercase();
        if protocol == "h2c" {
            let problem = item
                .problem("a connection is not upgraded to `h2c`: Weir speaks HTTP/2 to endpoints from the first byte");
            r.problems.push(problem.help("write `protocol: h2c` for endpoints that speak HTTP/2 without TLS"));
        } else if !is_token(&protocol) {
            let problem = item.problem(format!("{} is not a protocol that `Upgrade` can name", quoted(text)));
            r.problems.push(problem.help("a protocol is a word such as `websocket`"));
        } else if protocols.contains(&protocol) {
            r.problems.push(item.problem(format!("`{protocol}` is here twice")).help("keep one of the two"));
        } else {
            protocols.push(protocol);
        }
    }
    Some(Upgrades::new(protocols))
}

/// `timeouts: {connect: 1s, response: 30s, idle: 60s, keep_alive: 55s}`
fn timeouts(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Timeouts> {
    let default = Timeouts::default();
    let mut fields = place.fields(r, "a mapping such as `{connect: 1s, response: 30s}`")?;
    let mut read =
        |r: &mut Reading<'_>, name| fields.read(r, name, |place, r| duration(place, r, Duration::from_millis(1)));
    let timeouts = Timeouts {
        connect: read(r, "connect").unwrap_or(default.connect),
        response: read(r, "response").unwrap_or(default.response),
        idle: read(r, "idle").unwrap_or(default.idle),
        keep_alive: read(r, "keep_alive").unwrap_or(default.keep_alive),
    };
    fields.finish(r);
    Some(timeouts)
}

/// `retries: {attempts: 1, budget: 20, on_status: [503]}`
fn retries(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Retries> {
    let default = Retries::default();
    let mut fields = place.fields(r, "a mapping such as `{attempts: 1, budget: 20}`")?;
    let small =
        |place: &Place<'_>, r: &mut Reading<'_>, most| integer(place, r, 0..=most).and_then(|n| u32::try_from(n).ok());
    let attempts = fields.read(r, "attempts", |place, r| small(place, r, 5)).unwrap_or(default.attempts);
    let budget = fields.read(r, "budget", |place, r| small(place, r, 100)).unwrap_or(default.budget);
    let mut on_status = Vec::new();
    if let Some(place) = fields.take("on_status") {
        for item in place.items(r, "a list of statuses such as `[502, 503]`") {
            on_status.extend(integer(&item, r, 500..=599).and_then(|status| u16::try_from(status).ok()));
        }
    }
    fields.finish(r);
    Some(Retries { attempts, budget, on_status })
}
