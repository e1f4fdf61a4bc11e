//! Whether the parts of a configuration fit each other: everything that is named exists and can be used so.
//!
//! Values are checked where they are made; here are the references between functions, stages, ways in and plans. Reading
//! a file and applying an edit share these rules.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::model::{Config, Function, Https, Mention, Plan, Said, Target, Version};
use crate::text::check::locate::Locator;
use crate::text::problem::{Broken, Problem};
use crate::text::yaml::{Node, join};
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName, Qualifier, StageName, VersionId};

mod function;
mod locate;
mod plan;
mod references;
mod route;

pub use references::references;
pub(crate) use references::{references_to_alias, references_to_function};

/// Help for a certificate or a redirect to https without a listener for TLS.
const ADD_LISTENER: &str = "add one: `listeners: [{address: 0.0.0.0:8443, tls: true}]`";

/// Every problem of the whole configuration, listeners and what needs them aside: those are a node's own. Costs what the
/// configuration is large.
#[must_use]
pub fn check(config: &Config) -> Vec<Problem> {
    let broken = Broken::new();
    let mut check = Check::new(config, &broken);
    check.everything();
    check.found.into_iter().map(|found| found.problem).collect()
}

/// Every problem that a change of one function can have made, and possibly some of those that were there before. Costs what the function is large,
/// unless something that may be in use is gone: then every way in is looked at.
#[must_use]
pub fn check_function(old: &Config, new: &Config, name: &FunctionName) -> Vec<Problem> {
    let broken = Broken::new();
    let mut check = Check::new(new, &broken);
    let now = new.functions.get(name);
    if let Some(function) = now {
        check.function(name, function);
    }
    if old.functions.get(name).is_some_and(|before| lacks(before, now.map(AsRef::as_ref))) {
        check.references(Some(name));
    }
    check.found.into_iter().map(|found| found.problem).collect()
}

/// Every problem of one function and of all that names it. Costs what there are ways in.
pub(crate) fn check_all_of_function(config: &Config, name: &FunctionName) -> Vec<Problem> {
    let broken = Broken::new();
    let mut check = Check::new(config, &broken);
    if let Some(function) = config.functions.get(name) {
        check.function(name, function);
    }
    check.references(Some(name));
    check.found.into_iter().map(|found| found.problem).collect()
}

/// Every problem of one domain.
#[must_use]
pub fn check_domain(config: &Config, host: &HostPattern) -> Vec<Problem> {
    let broken = Broken::new();
    let mut check = Check::new(config, &broken);
    if let Some(domain) = config.domains.get(host) {
        check.domain(host, domain, None);
    }
    check.found.into_iter().map(|found| found.problem).collect()
}

/// Checks that a file is not without functions after one that had some, which is a mistake more often than meant.
///
/// # Errors
/// The problem with how to mean it.
pub fn check_emptied(last: &Config, file: &Config) -> Result<(), Problem> {
    let (had, has) = (last.functions.len(), file.functions.len());
    if had == 0 || has > 0 {
        return Ok(());
    }
    let message = format!("the file has no functions, and had {had} when it was applied last");
    Err(Problem::error("functions", message).help("to remove all of them, run `weir apply --allow-empty FILE`"))
}

/// Every problem of one plan at `path`, such as one that no configuration has and a release brings.
#[must_use]
pub fn check_plan(config: &Config, path: &str, plan: &Plan) -> Vec<Problem> {
    let broken = Broken::new();
    let mut check = Check::new(config, &broken);
    check.plan(path, plan);
    check.found.into_iter().map(|found| found.problem).collect()
}

/// Like [`check`], silent about what refers to things that could not be read, and with places in the text.
pub(crate) fn check_text(config: &Config, broken: &Broken, root: &Node) -> Vec<Problem> {
    let mut check = Check::new(config, broken);
    check.everything();
    check.of_a_file();
    Findings(check.found).located(root)
}

/// Everything that [`check_text`] finds, without places. `sound` is a configuration in which [`check`] finds nothing: if little of
/// functions and domains differs from it, and nothing else does, the rest is not looked at again. Tells also if this one is sound.
pub(crate) fn check_file(config: &Config, sound: Option<&Config>) -> (Findings, bool) {
    let broken = Broken::new();
    let mut check = Check::new(config, &broken);
    if !sound.is_some_and(|sound| is_sound_after(sound, config)) {
        check.everything();
    }
    let is_sound = check.found.is_empty();
    check.of_a_file();
    (Findings(check.found), is_sound)
}

/// So many functions and domains that differ, and checking everything once is cheaper.
pub(crate) const MANY: usize = 64;

/// Whether little differs from a configuration that is sound, and is sound as well.
fn is_sound_after(sound: &Config, config: &Config) -> bool {
    let Config { functions, numbers, domains, .. } = config.clone();
    if (Config { functions, numbers, domains, ..sound.clone() }) != *config {
        return false;
    }
    let functions: Vec<&FunctionName> = unlike(&sound.functions, &config.functions).take(MANY + 1).collect();
    let hosts: Vec<&HostPattern> = unlike(&sound.domains, &config.domains).take(MANY + 1).collect();
    functions.len() + hosts.len() <= MANY
        && functions.into_iter().all(|name| check_function(sound, config, name).is_empty())
        && hosts.into_iter().all(|host| check_domain(config, host).is_empty())
}

/// The keys at which two maps differ.
fn unlike<'m, K: Ord, V: PartialEq>(old: &'m OrdMap<K, V>, new: &'m OrdMap<K, V>) -> impl Iterator<Item = &'m K> {
    old.diff(new).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Update { new: (key, _), .. } | DiffItem::Remove(key, _) => key,
    })
}

/// What a check found in a file.
pub(crate) struct Findings(Vec<Found>);

impl Findings {
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter().map(|found| &found.problem)
    }

    /// The problems at their places in the text.
    pub(crate) fn located(self, root: &Node) -> Vec<Problem> {
        let mut locator = Locator::new(root);
        self.0.into_iter().map(|found| locator.locate(found.problem, found.at_key)).collect()
    }
}

/// Warnings about secrets that stand in the configuration, where everybody who reads it reads them.
#[must_use]
pub fn check_secrets(config: &Config) -> Vec<Problem> {
    let help = "keep it in the environment, and write `${NAME}`";
    let warning = |path: String| Problem::warning(path, "this secret stands in the file").help(help);
    let mut problems = Vec::new();
    let is_literal = |mention: &Mention<'_>| mention.text.environment().next().is_none();
    for (name, notifier) in &config.notifiers {
        let secrets = notifier.mentions().into_iter().filter(|m| m.said == Said::Value && is_literal(m));
        problems.extend(secrets.map(|secret| {
            let field = secret.place.split(' ').next().unwrap_or_default();
            warning(format!("{}.{field}", join("notifiers", name.as_str())))
        }));
    }
    if config.overrides.mentions().iter().any(is_literal) {
        problems.push(warning("override.tokens".to_owned()));
    }
    problems
}

/// These problems at their places in a text.
pub(crate) fn locate(root: &Node, problems: Vec<Problem>) -> Vec<Problem> {
    let mut locator = Locator::new(root);
    problems.into_iter().map(|problem| locator.locate(problem, false)).collect()
}

/// A problem, and whether its place is the key of its path rather than the value.
struct Found {
    problem: Problem,
    at_key: bool,
}

struct Check<'a> {
    config: &'a Config,
    broken: &'a Broken,
    found: Vec<Found>,
    /// Destinations that are known to be right.
    right: HashSet<(FunctionName, Option<Qualifier>, Option<StageName>)>,
}

impl<'a> Check<'a> {
    fn new(config: &'a Config, broken: &'a Broken) -> Self {
        Self { config, broken, found: Vec::new(), right: HashSet::new() }
    }

    fn everything(&mut self) {
        for (name, function) in &self.config.functions {
            self.function(name, function);
        }
        for (name, stage) in &self.config.stages {
            self.stage(name, stage);
        }
        for (name, plan) in &self.config.plans {
            self.plan(&join("plans", name.as_str()), plan);
        }
        self.references(None);
    }

    /// What only the file of a node can have wrong.
    fn of_a_file(&mut self) {
        self.tls();
        self.links();
    }

    /// The places where functions are named; only those of one function if `only` is given.
    fn references(&mut self, only: Option<&FunctionName>) {
        for (name, stage) in &self.config.stages {
            self.exceptions(name, stage, only);
        }
        for (host, domain) in &self.config.domains {
            self.domain(host, domain, only);
        }
        self.triggers(only);
    }

    fn value(&mut self, problem: Problem) {
        self.found.push(Found { problem, at_key: false });
    }

    fn key(&mut self, problem: Problem) {
        self.found.push(Found { problem, at_key: true });
    }

    /// Whether a thing is missing only because it could not be read, which is reported already.
    fn is_broken(&self, path: &str) -> bool {
        self.broken.contains(path)
    }

    /// The sockets and certificates that domains need.
    fn tls(&mut self) {
        let listens = self.config.process.listeners.iter().any(|listener| listener.tls);
        let mut certificate = self.config.default_certificate.is_some();
        if certificate && !listens {
            let message = "this certificate is never used: no listener speaks TLS";
            self.value(Problem::warning("default_certificate", message).help(ADD_LISTENER));
        }
        for (host, domain) in &self.config.domains {
            let path = join("domains", &host.to_string());
            certificate |= domain.certificate.is_some();
            if listens {
                continue;
            }
            if domain.https != Https::Optional && self.config.trusted_proxies.is_empty() {
                let message = "this domain redirects to https, and nobody ends TLS: no listener speaks it, and no proxy is trusted";
                let help = format!("{ADD_LISTENER}, or name the proxy that ends TLS in `trusted_proxies`");
                self.value(Problem::error(format!("{path}.https"), message).help(help));
            } else if domain.certificate.is_some() {
                let message = "this certificate is never used: no listener speaks TLS";
                self.value(Problem::warning(format!("{path}.certificate"), message).help(ADD_LISTENER));
            }
        }
        if listens && !certificate {
            let message = "a listener speaks TLS, and no domain has a certificate: every handshake is refused";
            let help = "give a domain `certificate: {cert: FILE, key: FILE}`";
            self.value(Problem::warning("listeners", message).help(help));
        }
    }
}

/// Whether something that could be in use before is gone or needs more stage variables.
fn lacks(before: &Function, now: Option<&Function>) -> bool {
    let Some(now) = now else { return true };
    let is_same = Arc::ptr_eq(&before.versions, &now.versions) && before.draft == now.draft;
    let of = |function| if is_same { needs_of_aliases(function) } else { needs(function) };
    let now = of(now);
    of(before).iter().any(|(qualifier, needed)| now.get(qualifier).is_none_or(|now| !now.is_subset(needed)))
}

type Needs = BTreeMap<Qualifier, BTreeSet<String>>;

/// Everything that a call can name, and the stage variables that it needs.
fn needs(function: &Function) -> Needs {
    let ids = function.versions.keys().copied().map(VersionId::Number).chain([VersionId::Latest]);
    let usable = ids.filter(|id| function.version(*id).is_some_and(|version| !version.retired));
    let mut needs = needs_of(function, usable.map(Qualifier::Version));
    needs.extend(needs_of_aliases(function));
    needs
}

fn needs_of_aliases(function: &Function) -> Needs {
    let aliases = function.aliases.keys().cloned().chain([AliasName::default_alias()]);
    needs_of(function, aliases.map(Qualifier::Alias))
}

fn needs_of(function: &Function, qualifiers: impl Iterator<Item = Qualifier>) -> Needs {
    let needs = |qualifier: Qualifier| {
        let versions = versions_of(function, &qualifier)?;
        let variables = versions.iter().filter_map(|id| function.version(*id)).flat_map(|version| variables(version));
        Some((qualifier, variables.map(str::to_owned).collect()))
    };
    qualifiers.filter_map(needs).collect()
}

/// The versions that a call with this qualifier can reach; `None` when the qualifier does not exist. `$DEFAULT` exists
/// without being written when there is a draft.
fn versions_of(function: &Function, qualifier: &Qualifier) -> Option<BTreeSet<VersionId>> {
    match qualifier {
        Qualifier::Version(id) => function.version(*id).map(|_| BTreeSet::from([*id])),
        Qualifier::Alias(name) => match function.aliases.get(name) {
            Some(alias) => {
                let split = alias.split.parts().iter().map(|(version, _)| *version);
                let rules = alias.rules.iter().map(|rule| rule.version);
                Some(split.chain(rules).chain(alias.stable).collect())
            }
            None if *name == AliasName::default_alias() && function.draft.is_some() => {
                Some(BTreeSet::from([VersionId::Latest]))
            }
            None => None,
        },
    }
}

/// The stage variables that a version needs.
fn variables(version: &Version) -> impl Iterator<Item = &str> {
    let upstream = match &version.target {
        Target::Upstream(upstream) => Some(upstream),
        Target::Response(_) => None,
    };
    upstream.into_iter().flat_map(|upstream| {
        let hosts = upstream.endpoints.iter().map(|endpoint| &endpoint.host);
        let headers = upstream.headers.set.values().chain(upstream.headers.add.values());
        let host = match &upstream.host {
            crate::model::UpstreamHost::Set(host) => Some(host),
            _ => None,
        };
        let templates = hosts.chain(headers).chain(host).chain([&upstream.path_prefix]);
        templates.flat_map(|template| template.stage_variables())
    })
}

/// `did you mean …?`, or a list of what there is.
fn suggestion<'n>(word: &str, names: impl Iterator<Item = &'n str>, kind: &str) -> String {
    let names: Vec<&str> = names.collect();
    if let Some(near) = crate::text::problem::nearest(word, names.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let more = if names.len() > 8 { ", …" } else { "" };
    let shown = &names[..names.len().min(8)];
    if shown.is_empty() { format!("there is no {kind}") } else { format!("there is: {}{more}", shown.join(", ")) }
}
