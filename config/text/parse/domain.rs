//! Ways in: domains, routes, triggers, stages, direct hosts, overrides.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{BaseDomain, Certificate, DefaultCertificate, Domain, DomainStage, Https, Overrides, Route, Stage};
use crate::text::parse::place::{Fields, Place, Reading, quoted};
use crate::text::parse::scalar::{env_template, integer, is_header_value, networks, switch, template};
use crate::text::parse::upstream::file;
use crate::value::host::{Host, HostPattern};
use crate::value::name::{FunctionName, Qualifier, StageName};
use crate::value::path::{PathPattern, Rewrite};
use crate::value::template::is_variable;

/// `domains:`
pub(super) fn domains(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OrdMap<HostPattern, Arc<Domain>>> {
    let mut domains = OrdMap::new();
    let mut lines: HashMap<HostPattern, (u32, String)> = HashMap::new();
    for entry in place.entries(r, "domains by host") {
        let host = entry.parse_key::<HostPattern>(r, "a host");
        let domain = domain(&entry, r);
        let Some(host) = host else { continue };
        let line = entry.key_at().line;
        if let Some((first, spelling)) = lines.get(&host) {
            let message = format!("`{}` is the same host as `{spelling}` in line {first}: `{host}`", entry.key());
            r.problems.push(entry.key_problem(message).help("keep one of the two, with the routes of both"));
            continue;
        }
        lines.insert(host.clone(), (line, entry.key().to_owned()));
        domains.extend(domain.map(|domain| (host, Arc::new(domain))));
    }
    Some(domains)
}

/// One domain with its host.
pub(super) fn named_domain(entry: &Place<'_>, r: &mut Reading<'_>) -> Option<(HostPattern, Domain)> {
    let host = entry.parse_key::<HostPattern>(r, "a host");
    host.zip(domain(entry, r))
}

/// `shop:prod`, or the full form.
pub(super) fn domain(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Domain> {
    let mut domain = Domain {
        certificate: None,
        stage: DomainStage::None,
        routes: Vec::new(),
        version_header: true,
        https: Https::Optional,
    };
    if place.is_scalar() {
        let (function, qualifier) = destination(place, r)?;
        let path = "/*".parse().expect("`/*` is a pattern");
        domain.routes.push(Route { path, methods: None, function, qualifier, stage: None, rewrite: None });
        return Some(domain);
    }
    let mut fields = place.fields(r, "a function such as `shop:prod`, or a mapping with `routes`")?;
    domain.certificate = fields.read(r, "certificate", certificate).map(Box::new);
    let stage = fields.read(r, "stage", stage_name);
    let from = fields.read(r, "stage_from", |place, r| place.choice(r, &[("path", ())]));
    if fields.has("stage") && fields.has("stage_from") {
        let problem = place.problem("the stage comes either from `stage` or from `stage_from`, not from both");
        r.problems.push(problem.help("remove one of the two"));
    }
    domain.stage = stage.map(DomainStage::Named).or(from.map(|()| DomainStage::Path)).unwrap_or(DomainStage::None);
    let routes = fields.require(r, "routes", "for example `routes: [{path: /*, to: shop}]`");
    let routes = routes.and_then(|place| routes_of(&place, r));
    domain.version_header = fields.read(r, "version_header", switch).unwrap_or(true);
    domain.https = fields.read(r, "https", https).unwrap_or_default();
    fields.finish(r);
    domain.routes = routes?;
    Some(domain)
}

/// `redirect`, `optional`, or `{redirect: true, port: 443}`.
fn https(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Https> {
    if place.is_scalar() {
        return place.choice(r, &[("redirect", Https::Redirect(None)), ("optional", Https::Optional)]);
    }
    let mut fields = place.fields(r, "`redirect`, `optional`, or a mapping such as `{redirect: true, port: 443}`")?;
    let redirect = fields.require(r, "redirect", "write `redirect: true`").and_then(|place| switch(&place, r));
    let port_place = fields.take("port");
    let port = port_place.as_ref().map(|place| integer(place, r, 1..=u16::MAX.into()));
    fields.finish(r);
    match (redirect?, port) {
        (true, None) => Some(Https::Redirect(None)),
        (true, Some(port)) => Some(Https::Redirect(NonZeroU16::new(u16::try_from(port?).ok()?))),
        (false, None) => Some(Https::Optional),
        (false, Some(_)) => {
            let problem = port_place?.problem("this port is never used: there is no redirect");
            r.problems.push(problem.help("write `redirect: true`, or leave `port` out"));
            None
        }
    }
}

pub(super) fn certificate(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Certificate> {
    if place.is_scalar() && place.text(r, "") == Some("acme") {
        return refuse_acme(place, r);
    }
    let mut fields = place.fields(r, "a mapping such as `{cert: tls/shop.crt, key: tls/shop.key}`")?;
    if let Some(acme) = fields.take("acme") {
        return refuse_acme(&acme, r);
    }
    let files = files(&mut fields, r);
    fields.finish(r);
    files
}

/// The certificate for clients that name no host.
pub(super) fn default_certificate(place: &Place<'_>, r: &mut Reading<'_>) -> Option<DefaultCertificate> {
    let mut fields = place.fields(r, "a mapping such as `{cert: tls/default.crt, key: tls/default.key}`")?;
    let files = files(&mut fields, r);
    let unknown_names = fields.read(r, "unknown_names", switch).unwrap_or(false);
    fields.finish(r);
    Some(DefaultCertificate { files: files?, unknown_names })
}

fn files(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> Option<Certificate> {
    let cert = fields.require(r, "cert", "a PEM file: the certificate and its chain").and_then(|place| file(&place, r));
    let key = fields.require(r, "key", "a PEM file: the private key").and_then(|place| file(&place, r));
    Some(Certificate { cert: cert?, key: key? })
}

fn refuse_acme(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Certificate> {
    let problem = place.problem("certificates by ACME are not supported by this build yet");
    r.problems.push(problem.help("write `certificate: {cert: FILE, key: FILE}`"));
    None
}

fn stage_name(place: &Place<'_>, r: &mut Reading<'_>) -> Option<StageName> {
    place.parse(r, "a stage name")
}

fn routes_of(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<Route>> {
    let items = place.some_items(r, "a list of routes such as `[{path: /*, to: shop}]`")?;
    let routes: Vec<Route> = items.iter().filter_map(|item| route(item, r)).collect();
    (routes.len() == items.len()).then_some(routes)
}

/// `triggers: [{path: /hooks/github, to: "shop:prod"}]`
pub(super) fn triggers(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Arc<[Route]>> {
    let items = place.items(r, "a list of triggers such as `[{path: /hooks/github, to: \"shop:prod\"}]`");
    Some(items.iter().filter_map(|item| route(item, r)).collect())
}

fn route(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Route> {
    let mut fields = place.fields(r, "a mapping such as `{path: /*, to: \"shop:prod\"}`")?;
    let path =
        fields.require(r, "path", "for example `path: /*`").and_then(|place| place.parse::<PathPattern>(r, "a path"));
    let to = fields.require(r, "to", "a function, or a function and a qualifier: `to: \"shop:prod\"`");
    let to = to.and_then(|place| destination(&place, r));
    let methods = fields.read(r, "methods", methods);
    let stage = fields.read(r, "stage", stage_name);
    let rewrite = fields.take("rewrite");
    fields.finish(r);
    let path = path?;
    let rewrite = rewrite.map(|place| self::rewrite(&place, r, &path));
    let (function, qualifier) = to?;
    Some(Route { path, methods, function, qualifier, stage, rewrite: rewrite.unwrap_or(None) })
}

/// `shop`, or `shop:prod`, `shop:2`, `shop:$LATEST`.
fn destination(place: &Place<'_>, r: &mut Reading<'_>) -> Option<(FunctionName, Option<Qualifier>)> {
    let text = place.text(r, "a function such as `shop:prod`")?;
    if text.contains("://") {
        let problem = place.problem(format!("{} is a URL; a way in leads to a function", quoted(text)));
        r.problems.push(problem.help("name the function, and write the URL as one of its `versions`"));
        return None;
    }
    let (function, qualifier) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let qualifier = qualifier.map(|text| (text, text.parse::<Qualifier>()));
    let message = match (function.parse::<FunctionName>(), qualifier) {
        (Ok(function), None) => return Some((function, None)),
        (Ok(function), Some((_, Ok(qualifier)))) => return Some((function, Some(qualifier))),
        (Err(error), _) => format!("{} is not a function name: {error}", quoted(function)),
        (Ok(_), Some((text, Err(error)))) => format!("{} is not a qualifier: {error}", quoted(text)),
    };
    r.problems
        .push(place.problem(message).help("write `function`, `function:alias`, `function:2` or `function:$LATEST`"));
    None
}

/// `[GET, POST]`
fn methods(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<String>> {
    let mut methods: Vec<String> = Vec::new();
    for item in place.some_items(r, "a list of methods such as `[GET, POST]`")? {
        let Some(text) = item.text(r, "a method such as `GET`") else { continue };
        let upper = text.to_ascii_uppercase();
        if text.is_empty() || text.len() > 32 || !text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') {
            r.problems.push(item.problem(format!("{} is not a method", quoted(text))).help("for example `GET`"));
        } else if text != upper {
            r.problems.push(
                item.problem(format!("`{text}` is not a method: methods are upper case"))
                    .help(format!("write `{upper}`")),
            );
        } else if matches!(text, "TRACE" | "CONNECT") {
            r.problems.push(item.problem(format!("`{text}` is always refused")).help("leave it out"));
        } else if methods.iter().any(|method| method == text) {
            r.problems.push(item.problem(format!("`{text}` is here twice")).help("keep one of the two"));
        } else {
            methods.push(text.to_owned());
        }
    }
    Some(methods)
}

/// `/app/*`, or `{regex: "^/api/(.*)", to: "/v2/$1"}`.
fn rewrite(place: &Place<'_>, r: &mut Reading<'_>, path: &PathPattern) -> Option<Rewrite> {
    let rewrite = if place.is_scalar() {
        Rewrite::parse(place.text(r, "a path")?, path)
    } else {
        let mut fields = place.fields(r, "a path such as `/app/*`, or `{regex: \"^/api/(.*)\", to: \"/v2/$1\"}`")?;
        let regex = fields.require(r, "regex", "for example `regex: \"^/api/(.*)\"`");
        let regex = regex.and_then(|place| place.text(r, "a regular expression").map(str::to_owned));
        let to = fields.require(r, "to", "for example `to: \"/v2/$1\"`");
        let to = to.and_then(|place| place.text(r, "a path").map(str::to_owned));
        fields.finish(r);
        Rewrite::regex(&regex?, &to?)
    };
    match rewrite {
        Ok(rewrite) => Some(rewrite),
        Err(error) => {
            r.problems.push(place.problem(format!("this rewrite cannot work: {error}")));
            None
        }
    }
}

// --- stages ----------------------------------------------------------------------------------------------------------

/// `stages:`
pub(super) fn stages(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OrdMap<StageName, Arc<Stage>>> {
    let mut stages = OrdMap::new();
    for entry in place.entries(r, "stages by name") {
        let name = entry.parse_key::<StageName>(r, "a stage name");
        match (name, stage(&entry, r)) {
            (Some(name), Some(stage)) => {
                stages.insert(name, Arc::new(stage));
            }
            _ => {
                r.broken.insert(entry.path());
            }
        }
    }
    Some(stages)
}

/// An alias, or `{alias: prod, functions: {assets: stable}, variables: {region: eu}}`.
pub(super) fn stage(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Stage> {
    if place.is_scalar() {
        let alias = template(place, r, "an alias")?;
        return Some(Stage { alias, functions: BTreeMap::new(), variables: BTreeMap::new() });
    }
    let mut fields = place.fields(r, "an alias, or a mapping with `alias`")?;
    let alias = fields.require(r, "alias", "the alias of every function in this stage: `alias: prod`");
    let alias = alias.and_then(|place| template(&place, r, "an alias"));
    let mut functions = BTreeMap::new();
    if let Some(place) = fields.take("functions") {
        for entry in place.entries(r, "aliases by function") {
            let name = entry.parse_key::<FunctionName>(r, "a function name");
            functions.extend(name.zip(template(&entry, r, "an alias")));
        }
    }
    let mut variables = BTreeMap::new();
    if let Some(place) = fields.take("variables") {
        for entry in place.entries(r, "texts by name") {
            variables.extend(variable(&entry, r));
        }
    }
    fields.finish(r);
    Some(Stage { alias: alias?, functions, variables })
}

fn variable(entry: &Place<'_>, r: &mut Reading<'_>) -> Option<(String, String)> {
    let (name, value) = (entry.key(), entry.text(r, "a text"));
    if !is_variable(name) || name.len() > 64 {
        let problem = entry.key_problem(format!("{} is not the name of a stage variable", quoted(name)));
        r.problems.push(problem.help("a letter or `_`, followed by up to 63 letters, digits or `_`"));
        return None;
    }
    let value = value?;
    if !is_header_value(value) || !value.is_ascii() {
        let problem = entry.problem("a stage variable is visible ASCII: it is sent as a header, too");
        r.problems.push(problem.help("stage variables are not for secrets and not for texts of several lines"));
        return None;
    }
    Some((name.to_owned(), value.to_owned()))
}

// --- direct hosts and overrides --------------------------------------------------------------------------------------

/// `fn.example.com`, or `{host: fn.example.com, public: true}`.
pub(super) fn base_domain(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Arc<BaseDomain>> {
    if place.is_scalar() {
        return base_host(place, r).map(|host| Arc::new(BaseDomain { host, public: false }));
    }
    let mut fields = place.fields(r, "a host, or `{host: fn.example.com, public: true}`")?;
    let host = fields.require(r, "host", "for example `host: fn.example.com`").and_then(|place| base_host(&place, r));
    let public = fields.read(r, "public", switch).unwrap_or(false);
    fields.finish(r);
    Some(Arc::new(BaseDomain { host: host?, public }))
}

fn base_host(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Host> {
    let host = place.parse::<Host>(r, "a host")?;
    if host.is_address() {
        r.problems
            .push(place.problem("hosts below an address do not exist").help("write a domain such as `fn.example.com`"));
        return None;
    }
    Some(host)
}

/// `override: {from: [10.0.0.0/8], tokens: ["${WEIR_OVERRIDE_TOKEN}"]}`
pub(super) fn overrides(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Arc<Overrides>> {
    let mut fields = place.fields(r, "a mapping with `from` or `tokens`")?;
    if fields.is_empty() {
        r.problems.push(
            place
                .problem("nobody may override")
                .help("name networks in `from` or secrets in `tokens`, or leave `override` out"),
        );
    }
    let from = fields.read(r, "from", networks).unwrap_or_default();
    let mut tokens = Vec::new();
    if let Some(place) = fields.take("tokens") {
        for item in place.items(r, "a list of secrets such as `[\"${WEIR_OVERRIDE_TOKEN}\"]`") {
            let Some(token) = env_template(&item, r, "a secret") else { continue };
            let fits = token.fixed().is_some_and(|text| text.len() >= 16 && text.bytes().all(|b| b.is_ascii_graphic()));
            if !fits && !token.is_unresolved() {
                r.problems.push(item.problem("a token is at least 16 visible ASCII characters"));
            }
            tokens.push(token);
        }
    }
    fields.finish(r);
    Some(Arc::new(Overrides { from, tokens }))
}
