//! Functions, versions and aliases.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::{Layer, Past, Shield, Upstream};
use crate::value::bucket::Buckets;
use crate::value::digest::Digest;
use crate::value::name::{AliasName, PlanName, Qualifier, VersionId};
use crate::value::rule::When;
use crate::value::weight::Split;

/// The deployable unit: a draft, frozen versions, and aliases over them. Any HTTP backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Function {
    /// `$LATEST`; a function may have none.
    pub draft: Option<Arc<Version>>,
    /// Published versions by number; shared by everything that changed none of them.
    pub versions: Arc<BTreeMap<NonZeroU32, Arc<Version>>>,
    /// Versions that were dropped because there were too many, by number: one comes back only as it was.
    pub dropped: Arc<BTreeMap<NonZeroU32, Digest>>,
    /// Aliases by name. `$DEFAULT` is here only when it was changed; otherwise it means all to `$LATEST`.
    pub aliases: BTreeMap<AliasName, Arc<Alias>>,
    /// The layers of running rollouts, by the name of their alias.
    pub layers: BTreeMap<AliasName, Arc<Layer>>,
    /// The episodes that aliases remember.
    pub pasts: BTreeMap<AliasName, Arc<Past>>,
    /// Clouds whose context headers endpoints and clients get beside Weir's own.
    pub dialects: Vec<Dialect>,
    /// How an event reaches its versions.
    pub invoke: InvokeSettings,
    /// Versions, aliases and the draft, whose stored text cannot be read: each is none of the above, and its name is taken.
    pub unread: BTreeSet<Qualifier>,
}

/// What belongs to a function alone, beside its draft, versions and aliases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionSettings {
    /// See [`Function::dialects`].
    pub dialects: Vec<Dialect>,
    /// See [`Function::invoke`].
    pub invoke: InvokeSettings,
}

/// How an event reaches an endpoint. YAML: `invoke: {path: /invoke, mode: auto}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvokeSettings {
    /// Where an event is posted. Default `/invoke`.
    pub path: String,
    /// What is made of an event.
    pub mode: InvokeMode,
}

/// What is made of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvokeMode {
    /// The HTTP request that an event of API Gateway (payload format 2.0) holds; any other event is posted.
    #[default]
    Auto,
    /// Each event is posted as it is.
    Event,
    /// Each event holds an HTTP request; another one is refused.
    Proxy,
}

impl Default for InvokeSettings {
    fn default() -> Self {
        Self { path: "/invoke".to_owned(), mode: InvokeMode::default() }
    }
}

/// The number of newest versions of a function that are shown whether they are called or not.
const MOST_AWAKE: usize = 50;

/// A cloud whose header names a function speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// `x-fc-qualifier`, `x-fc-version-id` to the endpoint, `x-fc-invocation-function-version` to the client.
    Fc,
    /// `x-amz-executed-version` to the client.
    Aws,
}

/// One version, or the draft: where it runs and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Who answers.
    pub target: Target,
    /// For people.
    pub description: Option<String>,
    /// Unique within the function; not a number.
    pub label: Option<String>,
    /// Digest of what runs there; stands for the endpoints when versions are compared.
    pub artifact: Option<String>,
    /// Out of use: no alias may name it, but its number stays taken.
    pub retired: bool,
    /// Of the frozen part; of the draft, what it would get if it was published now.
    pub digest: Digest,
}

/// Who answers for a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Endpoints on the network.
    Upstream(Box<Upstream>),
    /// The gateway itself, always the same: a maintenance page.
    Response(FixedResponse),
}

/// A fixed answer. YAML: `response: {status: 503, headers: {…}, body: "…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedResponse {
    /// 200..=599.
    pub status: u16,
    /// Checked header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// UTF-8 body; `content-type: text/plain; charset=utf-8` unless `headers` says otherwise.
    pub body: String,
}

/// A named split over versions of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Who gets how much.
    pub split: Split,
    /// Which callers each version has. A pure function of `split` for one and two versions, history for more.
    pub buckets: Buckets,
    /// The version that joined when the alias last went from one version to several: names the cohort of the salt.
    pub joined: VersionId,
    /// Where the routing key is found: the first source present wins. Empty: every request is keyless.
    pub key: Vec<KeySource>,
    /// What happens to a request without a routing key.
    pub on_missing_key: OnMissingKey,
    /// How keyless requests are drawn.
    pub selection: Selection,
    /// Shares or keeps a cohort under this name.
    pub salt: Option<String>,
    /// First hit wins.
    pub rules: Vec<Rule>,
    /// What happens when no endpoint of the chosen version is healthy.
    pub on_unhealthy: OnUnhealthy,
    /// Which failures of a version that is not the stable one its spare answers instead.
    pub shield: Shield,
    /// The version that promotion left as the stable one.
    pub stable: Option<VersionId>,
    /// The plan that a release uses when it names none.
    pub plan: Option<PlanName>,
    /// For people.
    pub description: Option<String>,
}

/// Where a routing key is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A request header, lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The client's address (the trusted one).
    ClientAddress,
    /// A cookie that Weir issues, holding a random key, when it is absent.
    IssueCookie {
        /// Name of the cookie.
        name: String,
        /// `Max-Age`. Default 30 days.
        max_age: Duration,
    },
}

/// What happens to a request without a routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissingKey {
    /// It is split like a keyless one.
    #[default]
    Slot,
    /// The request goes to the [stable version](Alias::stable_version).
    Stable,
    /// 400.
    Refuse,
}

/// How keyless requests are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// By the exact sequence: never more than one request off.
    #[default]
    Exact,
    /// Independently at random, as the clouds do.
    Random,
}

/// What happens when no endpoint of the chosen version is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnhealthy {
    /// The spare version answers.
    #[default]
    Fallback,
    /// 503.
    Fail,
}

/// Requests that go to a fixed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which requests.
    pub when: When,
    /// Where they go.
    pub version: VersionId,
}

impl Function {
    /// What belongs to it alone.
    #[must_use]
    pub fn settings(&self) -> FunctionSettings {
        FunctionSettings { dialects: self.dialects.clone(), invoke: self.invoke.clone() }
    }

    /// Replaces what belongs to it alone.
    pub(crate) fn set_settings(&mut self, to: &FunctionSettings) {
        self.dialects.clone_from(&to.dialects);
        self.invoke.clone_from(&to.invoke);
    }

    /// The version behind an id, the draft included.
    #[must_use]
    pub fn version(&self, id: VersionId) -> Option<&Arc<Version>> {
        match id {
            VersionId::Number(number) => self.versions.get(&number),
            VersionId::Latest => self.draft.as_ref(),
        }
    }

    /// Tells if the draft and all versions are the very same as those of another function, as after a change of aliases alone.
    /// Compares pointers.
    #[must_use]
    pub fn shares_versions(&self, other: &Self) -> bool {
        let is_same_draft = self.draft.as_ref().map(Arc::as_ptr) == other.draft.as_ref().map(Arc::as_ptr);
        is_same_draft && Arc::ptr_eq(&self.versions, &other.versions)
    }

    /// Tells if a version is neither named by an alias nor the draft, in a function with so many that it is not among the newest
    /// 50: it may still be called by its number.
    #[must_use]
    pub fn rests(&self, id: VersionId) -> bool {
        self.rests_beside(id, || self.named_versions())
    }

    /// The same where it is known which versions aliases name.
    #[must_use]
    pub fn rests_beside<N: Borrow<BTreeSet<VersionId>>>(&self, id: VersionId, named: impl FnOnce() -> N) -> bool {
        let VersionId::Number(number) = id else { return false };
        let is_old = || self.versions.keys().rev().nth(MOST_AWAKE - 1).is_some_and(|oldest| number < *oldest);
        self.has_resting() && is_old() && !named().borrow().contains(&id)
    }

    /// True if it has so many versions that some may rest.
    #[must_use]
    pub fn has_resting(&self) -> bool {
        self.versions.len() > MOST_AWAKE
    }

    /// The versions that aliases name, by themselves, by a layer, or in an episode that they remember.
    #[must_use]
    pub fn named_versions(&self) -> BTreeSet<VersionId> {
        let of_alias = |alias: &Alias| {
            let parts = alias.split.parts().iter().map(|part| part.0);
            parts.chain(alias.rules.iter().map(|rule| rule.version)).chain(alias.stable).collect::<Vec<_>>()
        };
        let own = self.aliases.values().flat_map(|alias| of_alias(alias));
        let layers = self.layers.values().flat_map(|layer| [layer.stable, VersionId::Number(layer.candidate)]);
        let earlier = self.pasts.values().flat_map(|past| &past.splits).flat_map(|earlier| earlier.split.served());
        own.chain(layers).chain(earlier).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse::parse;

    #[test]
    fn old_versions_rest_unless_an_alias_names_them() {
        let versions: String = (1..=60).map(|n| format!("      {n}: 'http://10.0.0.1:{n}'\n")).collect();
        let aliases =
            "{prod: {split: {60: 50, 3: 50}, rules: [{when: {header: {x-beta: present}}, version: 4}], stable: 5}}";
        let text = format!("functions:\n  shop:\n    versions:\n{versions}    aliases: {aliases}\n");
        let (config, _) = parse(&text, &|_| None).unwrap();
        let shop = &config.functions["shop"];
        let rests = |number| shop.rests(VersionId::number(number).unwrap());
        assert_eq!((1..=60).filter(|number| rests(*number)).collect::<Vec<u32>>(), [1, 2, 6, 7, 8, 9, 10]);
        assert!(!shop.rests(VersionId::Latest));
    }
}
