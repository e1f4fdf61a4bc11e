//! Authority to name things: programs, names of the environment, hosts that are called, and the gateway's own listeners.
//!
//! A configuration file and an admin name what they like, within the process settings. What an operator changes may name
//! only what the live configuration names at the same place already, and what the process settings give to operators. One
//! function asks about all of it, whichever way a change comes in: it looks at what differs between two configurations.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use config::model::{Config, EnvironmentRules, Function, Mention, Notifier, Plan, Process, Said};
use config::text::problem::Problem;
use config::value::pattern::CallPattern;

use super::{Author, Refused};
use crate::dial::{Dial, Undialled};

/// The rules of the process settings for names of the environment and for hosts.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    environment: EnvironmentRules,
    calls: Option<Vec<CallPattern>>,
    dial: Dial,
}

/// The thing that an author named and may not.
#[derive(Debug, thiserror::Error)]
pub enum Forbidden {
    /// A hook with this command.
    #[error(
        "a hook that runs `{0}` does so as the gateway's user: a token of role admin brings it, once in a plan of the \
         configuration, and everybody may release by that plan's name"
    )]
    Program(String),
    /// A name of the environment.
    #[error(
        "`{place}` may not use the environment variable `{name}`: an operator uses only names that the live configuration \
         has at the same place, or that `environment: {{operator: [PATTERN]}}` of the configuration file gives"
    )]
    Variable {
        /// The variable.
        name: String,
        /// The path of the text, or what was sent.
        place: String,
    },
    /// A host that is called.
    #[error(
        "`{place}` may not call `{host}`: an operator names hosts that are live already, and those of `calls: {{allow: [HOST]}}` \
         in the configuration file; without that setting all but link-local addresses"
    )]
    Host {
        /// The host.
        host: String,
        /// The path of the text.
        place: String,
    },
}

/// The names that a text may have: those of the live configuration at its place.
struct Known<'a> {
    /// Place, and name of the environment.
    names: BTreeSet<(String, &'a str)>,
    /// URLs with names of the environment, as they are written.
    urls: BTreeSet<&'a str>,
    hosts: BTreeSet<&'a str>,
}

impl Authority {
    /// The rules of these settings.
    #[must_use]
    pub fn new(process: &Process, dial: Dial) -> Self {
        Self { environment: process.environment.clone(), calls: process.calls.clone(), dial }
    }

    /// Tells if anybody may use this name of the environment.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.environment.allows(name)
    }

    /// Tells if what an operator sends may be read with this name of the environment: whether it may stand where it does is
    /// asked of the change. A name that is nowhere in the live configuration is not looked up, so nobody learns if it is set.
    #[must_use]
    pub fn may_read(&self, name: &str, live: &Config) -> bool {
        self.environment.gives_operators(name) || (self.allows(name) && is_named(name, live))
    }

    /// Checks that this author may bring everything that `after` names and `before` does not, and the plan that is begun.
    ///
    /// # Errors
    /// The first that they may not.
    pub(super) fn admit(
        &self,
        author: &Author,
        before: &Config,
        after: &Config,
        begun: Option<&Plan>,
    ) -> Result<(), Refused> {
        let own = self.own_endpoints(before, after);
        if !own.is_empty() {
            return Err(Refused::Problems(own));
        }
        if author.may_run {
            return Ok(());
        }
        for (name, function) in after.functions_unlike(before) {
            let old = before.functions.get(name);
            if old.is_some_and(|old| old.shares_versions(function)) {
                continue;
            }
            let old = old.map(|old| old.mentions()).unwrap_or_default();
            self.check(&format!("functions.{name}"), &old, &function.mentions())?;
        }
        self.admit_plans(before, after, begun)?;
        if !before.notifiers.ptr_eq(&after.notifiers) {
            for (name, notifier) in &after.notifiers {
                let old = before.notifiers.get(name).map(|old| old.mentions()).unwrap_or_default();
                self.check(&format!("notifiers.{name}"), &old, &notifier.mentions())?;
            }
        }
        if !before.stages.ptr_eq(&after.stages) {
            for (name, stage) in &after.stages {
                let old = before.stages.get(name).map(|old| old.mentions()).unwrap_or_default();
                self.check(&format!("stages.{name}"), &old, &stage.mentions())?;
            }
        }
        self.check("", &before.overrides.mentions(), &after.overrides.mentions())
    }

    fn admit_plans(&self, before: &Config, after: &Config, begun: Option<&Plan>) -> Result<(), Refused> {
        if begun.is_none() && before.plans.ptr_eq(&after.plans) {
            return Ok(());
        }
        let known: BTreeSet<&[String]> = before.plans.values().flat_map(|plan| plan.programs()).collect();
        let plans = || after.plans.values().map(|plan| &**plan).chain(begun);
        if let Some(program) = plans().flat_map(Plan::programs).find(|program| !known.contains(program)) {
            return Err(Forbidden::Program(program.join(" ")).into());
        }
        let old: Vec<Mention<'_>> = before.plans.values().flat_map(|plan| plan.mentions()).collect();
        let new: Vec<Mention<'_>> = plans().flat_map(Plan::mentions).collect();
        self.check("plans", &old, &new)
    }

    fn check(&self, of: &str, old: &[Mention<'_>], new: &[Mention<'_>]) -> Result<(), Refused> {
        let known = Known::of(old);
        for mention in new {
            let place = || match of {
                "" => mention.place.clone(),
                of => format!("{of}.{}", mention.place),
            };
            let stranger = mention.text.environment().find(|name| {
                !(self.environment.gives_operators(name) || self.allows(name) && known.has(mention, name))
            });
            if let Some(name) = stranger {
                return Err(Forbidden::Variable { name: name.to_owned(), place: place() }.into());
            }
            let Some(host) = mention.host().filter(|host| !known.hosts.contains(host)) else { continue };
            if !self.may_call(host) {
                return Err(Forbidden::Host { host: shown(mention, host), place: place() }.into());
            }
        }
        Ok(())
    }

    /// Tells if an operator may bring this host. What a name stands for is asked when it is dialled.
    fn may_call(&self, host: &str) -> bool {
        match &self.calls {
            Some(allow) => allow.iter().any(|pattern| pattern.takes(host)),
            None => !host.parse().is_ok_and(|address| self.dial.check(address).is_err()),
        }
    }

    /// The endpoints that `after` brings and that are listeners of this gateway.
    fn own_endpoints(&self, before: &Config, after: &Config) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, function) in after.functions_unlike(before) {
            let old = before.functions.get(name);
            if old.is_some_and(|old| old.shares_versions(function)) {
                continue;
            }
            let known = old.map(|old| endpoints(old)).unwrap_or_default();
            for address in endpoints(function).difference(&known) {
                if let Err(why @ Undialled::Own(_)) = self.dial.check_endpoint(*address) {
                    let problem = Problem::error(format!("functions.{name}"), format!("the endpoint {why}"));
                    problems.push(problem.help("name where the version runs"));
                }
            }
        }
        problems
    }
}

impl<'a> Known<'a> {
    fn of(old: &[Mention<'a>]) -> Self {
        let names = old.iter().flat_map(|m| m.text.environment().map(|name| (m.place.clone(), name)));
        let urls = old.iter().filter(|m| m.said == Said::Url).map(|m| m.text.source());
        Self { names: names.collect(), urls: urls.collect(), hosts: old.iter().filter_map(Mention::host).collect() }
    }

    /// Tells if a text may use this name: what stands at its place does. A URL has to be the same, because whoever changes
    /// the host of one gets what is in it.
    fn has(&self, mention: &Mention<'_>, name: &str) -> bool {
        match mention.said {
            Said::Url => self.urls.contains(mention.text.source()),
            Said::Value | Said::Endpoint(_) => self.names.contains(&(mention.place.clone(), name)),
        }
    }
}

/// The host as a refusal may quote it: without what came from the environment.
fn shown(mention: &Mention<'_>, host: &str) -> String {
    match mention.text.environment().next() {
        Some(_) => mention.text.source().to_owned(),
        None => host.to_owned(),
    }
}

/// The endpoints that are addresses.
fn endpoints(function: &Function) -> BTreeSet<SocketAddr> {
    let address = |mention: Mention<'_>| match mention.said {
        Said::Endpoint(port) => Some(SocketAddr::new(mention.host()?.parse().ok()?, port)),
        Said::Url | Said::Value => None,
    };
    function.mentions().into_iter().filter_map(address).collect()
}

fn is_named(name: &str, live: &Config) -> bool {
    let has = |mentions: Vec<Mention<'_>>| mentions.iter().any(|m| m.text.environment().any(|other| other == name));
    has(live.overrides.mentions())
        || live.plans.values().any(|plan| has(plan.mentions()))
        || live.notifiers.values().any(|notifier| has(Notifier::mentions(notifier)))
        || live.stages.values().any(|stage| has(stage.mentions()))
        || live.functions.values().any(|function| has(function.mentions()))
}
