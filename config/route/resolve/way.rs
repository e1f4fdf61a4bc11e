//! Step 1: from host and path to what is asked of which function.

use super::{Headers, RequestHead, Routed, Unresolved};
use crate::route::table::{
    Domain, DomainIndex, DomainStage, Found, FunctionIndex, Pointed, RouteTarget, StageIndex, Table, Via,
};
use crate::value::name::{FunctionName, Qualifier, VersionId};

/// The header that names a qualifier.
const QUALIFIER: &str = "x-weir-qualifier";

/// The header that allows to.
const TOKEN: &str = "x-weir-override-token";

/// `host` is the one of `head`, normalised.
pub(super) fn find<H: Headers + ?Sized>(
    table: &Table,
    head: &RequestHead<'_, H>,
    host: &str,
) -> Result<Routed, Unresolved> {
    if let Some(domain) = table.exact_host(host) {
        return through_domain(table, head, domain);
    }
    if let Some((qualifier, function)) = direct_host(table, host) {
        return directly(table, head, qualifier, function);
    }
    if let Some(domain) = table.wildcard_above(host) {
        return through_domain(table, head, domain);
    }
    match table.triggers().find(head.path, head.method) {
        Found::Route(number, target) => through_route(table, Via::Trigger(number), target, None, 0),
        Found::MethodNotAllowed => Err(Unresolved::MethodNotAllowed(None)),
        Found::Nothing => Err(Unresolved::NoDomain),
    }
}

fn through_domain<H: Headers + ?Sized>(
    table: &Table,
    head: &RequestHead<'_, H>,
    index: DomainIndex,
) -> Result<Routed, Unresolved> {
    let domain = table.domain(index).ok_or(Unresolved::NoDomain)?;
    let (stage, path, bytes) = split_stage(table, domain, head.path).ok_or(Unresolved::NoStage(index))?;
    match domain.routes.find(path, head.method) {
        Found::Route(number, target) => through_route(table, Via::Domain(index, number), target, stage, bytes),
        Found::MethodNotAllowed => Err(Unresolved::MethodNotAllowed(Some(index))),
        Found::Nothing => Err(Unresolved::NoRoute(index)),
    }
}

/// The domain's stage, the path that its routes see, and the length of what was in front of that. `None` if the path
/// should name a stage and does not.
pub(super) fn split_stage<'p>(
    table: &Table,
    domain: &Domain,
    path: &'p str,
) -> Option<(Option<StageIndex>, &'p str, u32)> {
    match domain.stage {
        DomainStage::None => Some((None, path, 0)),
        DomainStage::Named(stage) => Some((Some(stage), path, 0)),
        DomainStage::Path => {
            let below = path.strip_prefix('/')?;
            let name = below.split_once('/').map_or(below, |(name, _)| name);
            let stage = table.stage_named(name)?;
            let rest = &below[name.len()..];
            let bytes = u32::try_from(1 + name.len()).ok()?;
            Some((Some(stage), if rest.is_empty() { "/" } else { rest }, bytes))
        }
    }
}

fn through_route(
    table: &Table,
    via: Via,
    target: RouteTarget,
    stage: Option<StageIndex>,
    stage_bytes: u32,
) -> Result<Routed, Unresolved> {
    // A valid configuration has no route to a function that is not there.
    let index = target.function.ok_or(Unresolved::Unreadable(via))?;
    let function = table.function(index).ok_or(Unresolved::NoFunction(via))?;
    let stage = target.stage.or(stage);
    let pointed = match (target.qualifier, stage.and_then(|stage| table.stage(stage))) {
        (Some(pointed), _) => pointed,
        (None, Some(stage)) => {
            stage.alias_of(&function.name).map_or(Pointed::Missing, |name| function.point(name.as_str()))
        }
        (None, None) => function.point("$DEFAULT"),
    };
    Ok(Routed { via, function: index, stage, stage_bytes, pointed })
}

/// Qualifier and function of a host `<qualifier>--<function>.<base_domain>`.
fn direct_host<'h>(table: &Table, host: &'h str) -> Option<(&'h str, &'h str)> {
    let base = table.config().base_domain.as_ref()?;
    let label = host.strip_suffix(base.host.as_str())?.strip_suffix('.')?;
    if label.contains('.') { None } else { label.split_once("--") }
}

/// The way in of an invocation.
pub(super) fn called(table: &Table, function: &FunctionName, qualifier: &Qualifier) -> Result<Routed, Unresolved> {
    let missing = Unresolved::NoFunction(Via::Invoke);
    let index = table.function_named(function.as_str()).ok_or(missing)?;
    let pointed = match qualifier {
        Qualifier::Version(version) => Pointed::Version(*version),
        Qualifier::Alias(alias) => table.function(index).ok_or(missing)?.point(alias.as_str()),
    };
    Ok(Routed { via: Via::Invoke, function: index, stage: None, stage_bytes: 0, pointed })
}

fn directly<H: Headers + ?Sized>(
    table: &Table,
    head: &RequestHead<'_, H>,
    qualifier: &str,
    function: &str,
) -> Result<Routed, Unresolved> {
    let public = table.config().base_domain.as_ref().is_some_and(|base| base.public);
    // Before anything is looked up: a refused client learns no names.
    if !public && !may_override(table, head) {
        return Err(Unresolved::DirectHostRefused);
    }
    let index = table.function_named(function).ok_or(Unresolved::NoFunction(Via::DirectHost))?;
    let pointed = match qualifier {
        "latest" => Pointed::Version(VersionId::Latest),
        _ => point(table, index, qualifier),
    };
    Ok(Routed { via: Via::DirectHost, function: index, stage: None, stage_bytes: 0, pointed })
}

/// What the header `x-weir-qualifier` points to, if the client may use it.
pub(super) fn overridden<H: Headers + ?Sized>(
    table: &Table,
    head: &RequestHead<'_, H>,
    function: FunctionIndex,
) -> Option<Pointed> {
    let overrides = &table.config().overrides;
    if overrides.from.is_empty() && overrides.tokens.is_empty() {
        return None;
    }
    let text = head.headers.get(QUALIFIER)?;
    if !may_override(table, head) {
        return None;
    }
    Some(std::str::from_utf8(text).map_or(Pointed::Missing, |text| point(table, function, text.trim())))
}

fn point(table: &Table, function: FunctionIndex, qualifier: &str) -> Pointed {
    if let Ok(version) = qualifier.parse() {
        return Pointed::Version(version);
    }
    table.function(function).map_or(Pointed::Missing, |function| function.point(qualifier))
}

/// Whether the client is in a trusted network or sent a token.
fn may_override<H: Headers + ?Sized>(table: &Table, head: &RequestHead<'_, H>) -> bool {
    let overrides = &table.config().overrides;
    let client = head.client.to_canonical();
    overrides.from.iter().any(|network| network.contains(&client))
        || head.headers.get(TOKEN).is_some_and(|sent| {
            // No short cut: the time tells nothing about which token is nearly right.
            let tokens = overrides.tokens.iter().filter_map(|token| token.fixed());
            tokens.fold(false, |found, token| found | equal(token.as_bytes(), sent))
        })
}

/// Whether two texts are equal, in a time that depends on their lengths alone.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let different = a.iter().zip(b).fold(0, |different, (a, b)| std::hint::black_box(different | (a ^ b)));
    a.len() == b.len() && different == 0 && !a.is_empty()
}
