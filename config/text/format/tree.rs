//! The canonical tree of a configuration: what its text and its JSON are written from, and what a diff compares.

use std::num::NonZeroU32;

use crate::model::{
    Alias, Config, Dialect, Function, FunctionSettings, InvokeSettings, KeySource, Notifier, OnMissingKey, OnUnhealthy,
    Selection, Shield,
};
use crate::text::format::version::ShowDigest;
use crate::text::format::{Entries, plan, process, rule, version, ways};
use crate::value::bucket::show_runs;
use crate::value::duration::show_duration;
use crate::value::template::Template;
use crate::value::weight::Split;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// A text.
    Text(String),
    /// A number or a switch, as JSON writes it.
    Raw(String),
    /// `block`: every item has a line.
    List { items: Vec<Tree>, block: bool },
    /// `block`: every entry has a line.
    Map { entries: Vec<(String, Tree)>, block: bool },
}

impl Tree {
    pub(crate) fn text<T: ToString + ?Sized>(text: &T) -> Self {
        Self::Text(text.to_string())
    }

    pub(super) fn raw<T: ToString + ?Sized>(value: &T) -> Self {
        Self::Raw(value.to_string())
    }

    pub(super) fn list(items: impl IntoIterator<Item = Tree>) -> Self {
        Self::List { items: items.into_iter().collect(), block: false }
    }

    pub(super) fn lines(items: impl IntoIterator<Item = Tree>) -> Self {
        Self::List { items: items.into_iter().collect(), block: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) | Self::Raw(_) => false,
            Self::List { items, .. } => items.is_empty(),
            Self::Map { entries, .. } => entries.is_empty(),
        }
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&Template> for Tree {
    fn from(template: &Template) -> Self {
        Self::Text(template.source().to_owned())
    }
}

/// A mapping with one line for each entry.
pub(super) fn named<K: ToString>(entries: impl IntoIterator<Item = (K, Tree)>) -> Tree {
    Tree::Map { entries: entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect(), block: true }
}

/// A whole file.
pub(crate) fn config(config: &Config) -> Tree {
    let mut entries = Entries::default();
    process::process(&mut entries, &config.process);
    let networks = config.trusted_proxies.iter().map(Tree::text);
    entries.put_full("trusted_proxies", Tree::list(networks));
    entries.put_some("default_certificate", config.default_certificate.as_ref(), |own| ways::default_certificate(own));
    entries.put_full(
        "functions",
        named(
            config.functions.iter().map(|(name, f)| (name, numbered(f, config.numbers.get(name), ShowDigest::IfMoved))),
        ),
    );
    let gone = config.numbers.iter().filter(|(name, _)| !config.functions.contains_key(*name));
    entries.put_full("next_versions", named(gone.map(|(name, number)| (name, next(*number)))));
    entries.put_full("stages", named(config.stages.iter().map(|(name, s)| (name, ways::stage(s)))));
    entries.put_full("domains", named(config.domains.iter().map(|(host, d)| (host, ways::domain(d)))));
    entries.put_full("triggers", Tree::lines(config.triggers.iter().map(ways::route)));
    entries.put_full("plans", named(config.plans.iter().map(|(name, p)| (name, plan::plan(p)))));
    entries.put_some("base_domain", config.base_domain.as_ref(), |base| {
        Entries::default()
            .put("host", Tree::text(&base.host))
            .put_unless("public", &base.public, &false, Tree::raw)
            .flow()
    });
    let overrides = &config.overrides;
    let from = Tree::list(overrides.from.iter().map(Tree::text));
    let tokens = Tree::list(overrides.tokens.iter().map(Tree::from));
    entries.put_full("override", Entries::default().put_full("from", from).put_full("tokens", tokens).flow());
    entries.put_full("notifiers", named(config.notifiers.iter().map(|(name, n)| (name, notifier(n)))));
    entries.block()
}

/// One function with its counter, where that does not follow from its versions.
pub(crate) fn numbered(of: &Function, number: Option<&NonZeroU32>, digest: ShowDigest) -> Tree {
    let mut tree = function(of, digest);
    let highest = of.versions.keys().next_back();
    if let Tree::Map { entries, .. } = &mut tree {
        match number {
            Some(number) if highest < Some(number) => entries.push(("next".to_owned(), next(*number))),
            // A function has to have something.
            _ if highest.is_none() && of.draft.is_none() => entries.push(("next".to_owned(), Tree::raw(&1))),
            _ => {}
        }
    }
    tree
}

/// The number of the next version.
pub(crate) fn next(number: NonZeroU32) -> Tree {
    Tree::raw(&(u64::from(number.get()) + 1))
}

/// One function.
pub(crate) fn function(function: &Function, digest: ShowDigest) -> Tree {
    Entries::default()
        .put_some("draft", function.draft.as_ref(), |draft| version::version(draft, ShowDigest::No))
        .put_full("versions", named(function.versions.iter().map(|(number, v)| (number, version::version(v, digest)))))
        .put_full("aliases", named(function.aliases.iter().map(|(name, a)| (name, alias(a)))))
        .put_full("dialects", dialects(&function.dialects))
        .put_full("invoke", invoke(&function.invoke))
        .block()
}

/// What belongs to a function alone: `{dialects: [fc], invoke: {path: /event}}`.
pub(crate) fn function_settings(settings: &FunctionSettings) -> Tree {
    Entries::default()
        .put_full("dialects", dialects(&settings.dialects))
        .put_full("invoke", invoke(&settings.invoke))
        .flow()
}

fn invoke(invoke: &InvokeSettings) -> Tree {
    let default = InvokeSettings::default();
    Entries::default()
        .put_unless("path", &invoke.path, &default.path, Tree::text)
        .put_unless("mode", &invoke.mode, &default.mode, |mode| mode.as_str().into())
        .flow()
}

/// `[fc, aws]`
fn dialects(dialects: &[Dialect]) -> Tree {
    Tree::list(dialects.iter().map(|dialect| Tree::from(dialect.as_str())))
}

/// One alias in full.
pub(crate) fn alias(alias: &Alias) -> Tree {
    let mut entries = Entries::default();
    entries.put("split", split(&alias.split));
    entries.put_full("key", Tree::list(alias.key.iter().map(key_source)));
    entries.put_unless("on_missing_key", &alias.on_missing_key, &OnMissingKey::default(), |on| on.as_str().into());
    entries.put_unless("selection", &alias.selection, &Selection::default(), |selection| selection.as_str().into());
    entries.put_some("salt", alias.salt.as_ref(), Tree::text);
    entries.put_full("rules", Tree::list(alias.rules.iter().map(rule::rule)));
    entries.put_unless("on_unhealthy", &alias.on_unhealthy, &OnUnhealthy::default(), |on| on.as_str().into());
    entries.put_unless("shield", &alias.shield, &Shield::default(), |shield| shield.as_str().into());
    entries.put_some("stable", alias.stable.as_ref(), version_id);
    entries.put_some("plan", alias.plan.as_ref(), Tree::text);
    entries.put_some("description", alias.description.as_ref(), Tree::text);
    entries.put_unless("joined", &alias.joined, &alias.split.highest(), version_id);
    if !alias.buckets.is_cold(&alias.split) {
        entries.put("buckets", Tree::Text(show_runs(&alias.buckets)));
    }
    entries.flow()
}

/// A version number, or `$LATEST`.
pub(super) fn version_id(id: &crate::value::name::VersionId) -> Tree {
    match id {
        crate::value::name::VersionId::Number(number) => Tree::raw(number),
        crate::value::name::VersionId::Latest => Tree::text(id),
    }
}

/// `{1: 95, 2: 5}` in percent.
pub(crate) fn split(split: &Split) -> Tree {
    let parts = split.parts().iter().map(|(version, weight)| (version.to_string(), Tree::raw(weight)));
    Tree::Map { entries: parts.collect(), block: false }
}

fn key_source(source: &KeySource) -> Tree {
    match source {
        KeySource::Header(name) => Entries::default().put("header", &**name).flow(),
        KeySource::Cookie(name) => Entries::default().put("cookie", &**name).flow(),
        KeySource::Query(name) => Entries::default().put("query", &**name).flow(),
        KeySource::ClientAddress => "client_address".into(),
        KeySource::IssueCookie { name, max_age } if *max_age == KeySource::COOKIE_MAX_AGE => {
            Entries::default().put("issue_cookie", &**name).flow()
        }
        KeySource::IssueCookie { name, max_age } => {
            let cookie =
                Entries::default().put("name", &**name).put("max_age", Tree::Text(show_duration(*max_age))).flow();
            Entries::default().put("issue_cookie", cookie).flow()
        }
    }
}

/// One notifier.
pub(crate) fn notifier(notifier: &Notifier) -> Tree {
    let with = |kind: &str, fields: Tree| Entries::default().put(kind, fields).flow();
    let show = |template: &Template| Tree::from(template);
    match notifier {
        Notifier::DingTalk { access_token, secret, at_users, url } => {
            let users = Tree::list(at_users.iter().map(Tree::text));
            let mut fields = Entries::default();
            fields
                .put("access_token", access_token)
                .put_some("secret", secret.as_ref(), show)
                .put_full("at_users", users)
                .put_some("url", url.as_ref(), show);
            with("dingtalk", fields.flow())
        }
        Notifier::Feishu { url, secret } => {
            with("feishu", Entries::default().put("url", url).put_some("secret", secret.as_ref(), show).flow())
        }
        Notifier::WeCom { key, url } => {
            with("wecom", Entries::default().put("key", key).put_some("url", url.as_ref(), show).flow())
        }
        Notifier::Slack { url } => with("slack", Entries::default().put("url", url).flow()),
        Notifier::Webhook { url, secret } => {
            with("webhook", Entries::default().put("url", url).put_some("secret", secret.as_ref(), show).flow())
        }
        Notifier::Log => "log".into(),
    }
}
