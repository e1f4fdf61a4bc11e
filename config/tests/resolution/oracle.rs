//! Resolving the slow, obvious way: by scanning the model, with names and new texts, in the order of the rules.

use std::cmp::Reverse;

use config::model::{
    Alias, Config, DomainStage, Function, KeySource, OnMissingKey, OnUnhealthy, Overrides, Route, Selection,
};
use config::value::bucket::{bucket, key_hash, named_salt, salt};
use config::value::host::HostPattern;
use config::value::name::{AliasName, FunctionName, Qualifier, StageName, VersionId};
use config::value::path::{PathPattern, Segment};
use config::value::rule::{Subject, Test};

use crate::worlds::Request;

/// A resolution in names. The versions of a slot are left to whoever knows the sequence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    /// Host pattern of the domain.
    pub domain: Option<String>,
    pub route: Option<u32>,
    pub function: FunctionName,
    pub stage: Option<StageName>,
    pub alias: Option<AliasName>,
    pub version: VersionId,
    pub spare: Option<VersionId>,
    pub fallback_from: Option<VersionId>,
    pub reason: String,
    pub overridden: bool,
    pub issued: Option<String>,
    pub stage_bytes: u32,
}

pub(crate) struct Oracle<'a> {
    pub config: &'a Config,
    pub request: &'a Request,
    /// The version that the alias's sequence gives for the request's slot.
    pub slot: &'a dyn Fn(&FunctionName, &AliasName) -> VersionId,
}

type Outcome<T> = Result<T, &'static str>;

struct Way<'a> {
    domain: Option<String>,
    route: Option<(u32, &'a Route)>,
    function: FunctionName,
    qualifier: Qualifier,
    stage: Option<StageName>,
    stage_bytes: u32,
}

impl<'a> Oracle<'a> {
    pub(crate) fn resolve(&self) -> Outcome<Named> {
        let host = self.host()?;
        self.check_path()?;
        let way = self.way(&host)?;
        let function = self.config.functions.get(&way.function).ok_or("no_function")?;
        let base = Named {
            domain: way.domain.clone(),
            route: way.route.map(|(number, _)| number),
            function: way.function.clone(),
            stage: way.stage.clone(),
            alias: None,
            version: VersionId::Latest,
            spare: None,
            fallback_from: None,
            reason: String::new(),
            overridden: false,
            issued: None,
            stage_bytes: way.stage_bytes,
        };
        let mut name = match &way.qualifier {
            Qualifier::Version(version) => return self.named(base, function, *version, "direct", false),
            Qualifier::Alias(name) => name.clone(),
        };
        let mut overridden = false;
        if let Some(text) = self.header("x-weir-qualifier")
            && self.may_override()
        {
            overridden = true;
            match text.parse() {
                Ok(Qualifier::Version(version)) => return self.named(base, function, version, "override", true),
                Ok(Qualifier::Alias(other)) => name = other,
                Err(_) => return Err("no_alias"),
            }
        }
        let alias = alias_of(function, &name).ok_or("no_alias")?;
        self.through_alias(Named { alias: Some(name), overridden, ..base }, function, &alias)
    }

    fn host(&self) -> Outcome<String> {
        let host = self.request.host.to_lowercase();
        let host = host.split(':').next().unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || host.contains(' ') { Err("bad_host") } else { Ok(host.to_owned()) }
    }

    fn check_path(&self) -> Outcome<()> {
        let path = &self.request.path;
        let good = path.starts_with('/') && !path.split('/').any(|s| s == "." || s == "..");
        if good { Ok(()) } else { Err("bad_path") }
    }

    fn way(&self, host: &str) -> Outcome<Way<'a>> {
        let exact = |pattern: &HostPattern| matches!(pattern, HostPattern::Exact(h) if h.as_str() == host);
        if let Some((pattern, domain)) = self.config.domains.iter().find(|(pattern, _)| exact(pattern)) {
            return self.through_domain(&pattern.to_string(), &domain.stage, &domain.routes);
        }
        if let Some(base) = &self.config.base_domain
            && let Some(label) = host.strip_suffix(&format!(".{}", base.host))
            && !label.contains('.')
            && let Some((qualifier, function)) = label.split_once("--")
        {
            if !base.public && !self.may_override() {
                return Err("direct_host_refused");
            }
            let function: FunctionName = function.parse().map_err(|_| "no_function")?;
            if !self.config.functions.contains_key(&function) {
                return Err("no_function");
            }
            let qualifier = if qualifier == "latest" { "$LATEST" } else { qualifier };
            let qualifier = qualifier.parse().unwrap_or_else(|_| Qualifier::Alias(nobody()));
            return Ok(Way { domain: None, route: None, function, qualifier, stage: None, stage_bytes: 0 });
        }
        let above =
            |pattern: &HostPattern| matches!(pattern, HostPattern::Wildcard(h) if host.ends_with(&format!(".{h}")));
        let wildcard = self.config.domains.iter().filter(|(pattern, _)| above(pattern));
        if let Some((pattern, domain)) = wildcard.max_by_key(|(pattern, _)| pattern.to_string().len()) {
            return self.through_domain(&pattern.to_string(), &domain.stage, &domain.routes);
        }
        let (number, route) = self.best(&self.config.triggers, &self.request.path, "no_domain")?;
        self.through_route(None, (number, route), None, 0)
    }

    fn through_domain(&self, host: &str, stage: &'a DomainStage, routes: &'a [Route]) -> Outcome<Way<'a>> {
        let mut path = self.request.path.clone();
        let (stage, bytes) = match stage {
            DomainStage::None => (None, 0),
            DomainStage::Named(stage) => (Some(stage.clone()), 0),
            DomainStage::Path => {
                let first = path.split('/').nth(1).unwrap_or_default().to_owned();
                let stage = self.config.stages.keys().find(|name| name.as_str() == first).ok_or("no_stage")?;
                path = path[1 + first.len()..].to_owned();
                if path.is_empty() {
                    path.push('/');
                }
                (Some(stage.clone()), 1 + first.len() as u32)
            }
        };
        let route = self.best(routes, &path, "no_route")?;
        self.through_route(Some(host.to_owned()), route, stage, bytes)
    }

    fn through_route(
        &self,
        domain: Option<String>,
        route: (u32, &'a Route),
        stage: Option<StageName>,
        stage_bytes: u32,
    ) -> Outcome<Way<'a>> {
        let function = route.1.function.clone();
        let stage = route.1.stage.clone().or(stage);
        let qualifier = match (&route.1.qualifier, &stage) {
            (Some(qualifier), _) => qualifier.clone(),
            (None, Some(name)) => {
                let stage = &self.config.stages[name];
                let text = stage.functions.get(&function).unwrap_or(&stage.alias);
                Qualifier::Alias(text.render(&stage.variables).ok().and_then(|t| t.parse().ok()).unwrap_or_else(nobody))
            }
            (None, None) => Qualifier::Alias(AliasName::default_alias()),
        };
        Ok(Way { domain, route: Some(route), function, qualifier, stage, stage_bytes })
    }

    fn best(&self, routes: &'a [Route], path: &str, none: &'static str) -> Outcome<(u32, &'a Route)> {
        let on_path: Vec<_> = (0u32..).zip(routes).filter(|(_, route)| route.path.matches(path)).collect();
        let names = |route: &Route, method: &str| route.methods.iter().flatten().any(|m| m == method);
        let method = self.request.method;
        let best = on_path
            .iter()
            .filter(|(_, r)| r.methods.is_none() || names(r, method) || (method == "HEAD" && names(r, "GET")))
            .min_by_key(|(n, r)| (rank(&r.path), Reverse(names(r, method)), r.methods.is_none(), *n));
        match best {
            Some(best) => Ok(*best),
            None if on_path.is_empty() => Err(none),
            None => Err("method_not_allowed"),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    fn may_override(&self) -> bool {
        let Overrides { from, tokens } = &*self.config.overrides;
        let token = self.header("x-weir-override-token");
        from.iter().any(|network| network.contains(&self.request.client))
            || tokens.iter().any(|t| t.fixed() == token && token.is_some())
    }

    fn named(&self, base: Named, function: &Function, version: VersionId, reason: &str, over: bool) -> Outcome<Named> {
        self.runs(function, version, base.stage.as_ref()).ok_or("no_version")?;
        Ok(Named { version, reason: reason.to_owned(), overridden: over, ..base })
    }

    /// Whether the version exists, is in use, and has its variables.
    fn runs(&self, function: &Function, version: VersionId, stage: Option<&StageName>) -> Option<()> {
        let version = function.version(version).filter(|version| !version.retired)?;
        let config::model::Target::Upstream(upstream) = &version.target else { return Some(()) };
        let nothing = std::collections::BTreeMap::new();
        let variables = stage.map_or(&nothing, |stage| &self.config.stages[stage].variables);
        upstream.endpoints.iter().all(|endpoint| endpoint.host.render(variables).is_ok()).then_some(())
    }

    fn through_alias(&self, base: Named, function: &Function, alias: &Alias) -> Outcome<Named> {
        let (version, reason, issued) = self.choose(&base, function, alias)?;
        self.runs(function, version, base.stage.as_ref()).ok_or("no_version")?;
        let spare = if base.overridden { None } else { self.spare(&base, function, alias, version) };
        let chosen = Named { version, reason, issued, spare, ..base };
        match spare {
            Some(spare) if alias.on_unhealthy == OnUnhealthy::Fallback && !self.healthy(version) => {
                Ok(Named { version: spare, fallback_from: Some(version), spare: None, ..chosen })
            }
            _ => Ok(chosen),
        }
    }

    fn choose(&self, base: &Named, function: &Function, alias: &Alias) -> Outcome<(VersionId, String, Option<String>)> {
        for (number, rule) in alias.rules.iter().enumerate() {
            if rule.when.conditions.iter().all(|c| self.holds(&c.subject, &c.test)) {
                return Ok((rule.version, format!("rule {number}"), None));
            }
        }
        let name = base.alias.as_ref().expect("it has an alias");
        let salt = alias.salt.as_ref().map_or_else(|| salt(&base.function, name, alias.joined), |s| named_salt(s));
        let by_key = |key: &str| {
            let bucket = bucket(key_hash(salt, key.as_bytes()));
            let run = alias.buckets.runs().iter().find(|run| bucket < run.end).expect("runs end at 10 000");
            (run.version, format!("bucket {bucket}"))
        };
        if let Some(key) = alias.key.iter().filter_map(|source| self.key(source)).find(|key| !key.is_empty()) {
            let (version, reason) = by_key(&key);
            return Ok((version, reason, None));
        }
        if alias.key.iter().any(|source| matches!(source, KeySource::IssueCookie { .. })) {
            let key = format!("{0:016x}{0:016x}", self.request.random);
            let (version, reason) = by_key(&key);
            return Ok((version, reason, Some(key)));
        }
        match alias.on_missing_key {
            OnMissingKey::Stable if !alias.key.is_empty() => {
                let has_weight = |version: &VersionId| alias.split.weight(*version).basis_points() > 0;
                Ok((alias.stable.filter(has_weight).unwrap_or_else(|| alias.split.largest()), "stable".into(), None))
            }
            OnMissingKey::Refuse if !alias.key.is_empty() => Err("missing_key"),
            _ => self.keyless(base, function, alias),
        }
    }

    fn keyless(
        &self,
        base: &Named,
        function: &Function,
        alias: &Alias,
    ) -> Outcome<(VersionId, String, Option<String>)> {
        let open: Vec<_> = alias.split.parts().iter().filter(|(_, weight)| weight.basis_points() > 0).collect();
        if let [(version, _)] = open[..] {
            return Ok((*version, "only".into(), None));
        }
        if alias.selection == Selection::Random {
            let place = (u128::from(self.request.random) * 10_000) >> 64;
            let mut end = 0;
            let part = open.iter().find(|(_, weight)| {
                end += u128::from(weight.basis_points());
                place < end
            });
            return Ok((part.expect("weights sum to 10 000").0, "random".into(), None));
        }
        if open.iter().any(|(version, _)| self.runs(function, *version, base.stage.as_ref()).is_none()) {
            return Err("no_version");
        }
        let name = base.alias.as_ref().expect("it has an alias");
        Ok(((self.slot)(&base.function, name), "slot".into(), None))
    }

    fn spare(&self, base: &Named, function: &Function, alias: &Alias, chosen: VersionId) -> Option<VersionId> {
        let mut parts: Vec<_> = alias.split.parts().iter().filter(|(_, weight)| weight.basis_points() > 0).collect();
        parts.sort_by_key(|(version, weight)| (Some(*version) != alias.stable, Reverse(*weight), *version));
        let mut others = parts.iter().map(|part| part.0).filter(|&version| version != chosen);
        others.find(|&v| self.runs(function, v, base.stage.as_ref()).is_some() && self.healthy(v))
    }

    fn healthy(&self, version: VersionId) -> bool {
        healthy(self.request, version)
    }

    fn holds(&self, subject: &Subject, test: &Test) -> bool {
        let Subject::Header(name) = subject else { panic!("worlds have rules on headers only") };
        let value = self.header(name);
        match test {
            Test::Exact(text) => value == Some(text),
            Test::Range(interval) => {
                value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|n| interval.first <= n && n <= interval.last)
            }
            other => panic!("worlds have no rules with {other:?}"),
        }
    }

    fn key(&self, source: &KeySource) -> Option<String> {
        let cookie = |name: &str| {
            let pairs = self.header("cookie")?.split("; ");
            pairs.filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value.to_owned())
        };
        match source {
            KeySource::Header(name) => self.header(name).map(str::to_owned),
            KeySource::Cookie(name) | KeySource::IssueCookie { name, .. } => cookie(name),
            KeySource::Query(name) => {
                let pairs = self.request.query?.split('&');
                let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(n, _)| n == name)?.1;
                Some(value.replace("%41", "A"))
            }
            KeySource::ClientAddress => Some(self.request.client.to_string()),
        }
    }
}

/// An alias that no world has: an override can still lead elsewhere.
fn nobody() -> AliasName {
    "nobody".parse().expect("a name")
}

pub(crate) fn healthy(request: &Request, version: VersionId) -> bool {
    match version {
        VersionId::Number(number) => request.healthy.get(number.get() as usize).copied().unwrap_or(true),
        VersionId::Latest => request.healthy[0],
    }
}

fn alias_of(function: &Function, name: &AliasName) -> Option<Alias> {
    let untouched = || crate::worlds::alias(config::value::weight::Split::whole(VersionId::Latest));
    match function.aliases.get(name) {
        Some(alias) => Some(Alias::clone(alias)),
        None => (*name == AliasName::default_alias()).then(untouched),
    }
}

/// The kinds of segments, as the order of specificity compares them; the end is as specific as a literal.
fn rank(pattern: &PathPattern) -> Vec<u8> {
    let kinds = pattern.segments().map(|segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Parameter(_) => 1,
        Segment::Wildcard => 2,
    });
    kinds.chain([0]).collect()
}
