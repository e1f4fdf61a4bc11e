//! Texts of a configuration that may hold names of the environment, and the hosts that it calls: what is asked about when
//! somebody changes it.

use super::{
    Check, Function, Hook, HookCall, Notifier, Overrides, Plan, Stage, Target, Upstream, UpstreamHost, Version,
};
use crate::value::template::Template;

/// A text, and its place in the thing that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention<'a> {
    /// The path of the field: `headers.set.x-color`. Numbers of versions and items of lists are not in it.
    pub place: String,
    /// The text.
    pub text: &'a Template,
    /// The kind of text.
    pub said: Said,
}

/// The kind of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A value, which goes to `to` where it is known: the address of a notifier.
    Value,
    /// A URL that is called.
    Url,
    /// The host of an endpoint, with its port.
    Endpoint(u16),
}

impl<'a> Mention<'a> {
    fn value(place: impl Into<String>, text: &'a Template) -> Self {
        Self { place: place.into(), text, said: Said::Value }
    }

    fn url(place: impl Into<String>, text: &'a Template) -> Self {
        Self { place: place.into(), text, said: Said::Url }
    }

    /// The host that is called, without brackets: as it is written where stage variables are in it. `None` for a value.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        let text = self.text.fixed().unwrap_or(self.text.source());
        match self.said {
            Said::Value => None,
            Said::Endpoint(_) => Some(text),
            Said::Url => {
                let (_, rest) = text.split_once("://")?;
                let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                match host.strip_prefix('[') {
                    Some(inner) => inner.split_once(']').map(|(host, _)| host),
                    None => Some(host.split_once(':').map_or(host, |(host, _)| host)),
                }
            }
        }
    }
}

impl Function {
    /// The texts of its draft and its versions.
    #[must_use]
    pub fn mentions(&self) -> Vec<Mention<'_>> {
        self.versions.values().chain(&self.draft).flat_map(|version| version.mentions()).collect()
    }
}

impl Version {
    fn mentions(&self) -> Vec<Mention<'_>> {
        match &self.target {
            Target::Upstream(upstream) => upstream.mentions(),
            Target::Response(_) => Vec::new(),
        }
    }
}

impl Upstream {
    fn mentions(&self) -> Vec<Mention<'_>> {
        let endpoints = self.endpoints.iter().map(|endpoint| Mention {
            place: "endpoints".to_owned(),
            text: &endpoint.host,
            said: Said::Endpoint(endpoint.port),
        });
        let mut mentions: Vec<_> = endpoints.collect();
        mentions.push(Mention::value("path_prefix", &self.path_prefix));
        if let UpstreamHost::Set(host) = &self.host {
            mentions.push(Mention::value("host", host));
        }
        for (edit, headers) in [("set", &self.headers.set), ("add", &self.headers.add)] {
            mentions
                .extend(headers.iter().map(|(name, value)| Mention::value(format!("headers.{edit}.{name}"), value)));
        }
        mentions
    }
}

impl Stage {
    /// The texts of its aliases.
    #[must_use]
    pub fn mentions(&self) -> Vec<Mention<'_>> {
        let functions = self.functions.iter().map(|(name, alias)| Mention::value(format!("functions.{name}"), alias));
        std::iter::once(Mention::value("alias", &self.alias)).chain(functions).collect()
    }
}

impl Overrides {
    /// Mentions of the tokens.
    #[must_use]
    pub fn mentions(&self) -> Vec<Mention<'_>> {
        self.tokens.iter().map(|token| Mention::value("override.tokens", token)).collect()
    }
}

impl Plan {
    /// The URLs of its hooks and of the servers that its gates ask.
    #[must_use]
    pub fn mentions(&self) -> Vec<Mention<'_>> {
        let hooks = [("before", &self.hooks.before), ("step", &self.hooks.step), ("after", &self.hooks.after)];
        let url = |place: &'static str, hook: &'_ Hook| match &hook.call {
            HookCall::Http(_) => Some(format!("hooks.{place}")),
            HookCall::Command(_) => None,
        };
        let mut mentions = Vec::new();
        for (place, chain) in hooks {
            for hook in chain {
                if let (Some(place), HookCall::Http(text)) = (url(place, hook), &hook.call) {
                    mentions.push(Mention::url(place, text));
                }
            }
        }
        let gates = self.gates.iter().chain(self.steps.iter().flat_map(|step| &step.gates));
        mentions.extend(gates.filter_map(|gate| match &gate.check {
            Check::Prometheus(check) => Some(Mention::url("gates.prometheus", &check.url)),
            _ => None,
        }));
        mentions
    }
}

impl Notifier {
    /// Mentions of the address and of the secrets. A secret's place holds the address, because it is given to whoever is there.
    #[must_use]
    pub fn mentions(&self) -> Vec<Mention<'_>> {
        let (kind, url, secrets): (_, Option<&Template>, [(&str, Option<&Template>); 2]) = match self {
            Self::DingTalk { access_token, secret, url, .. } => {
                ("dingtalk", url.as_ref(), [("access_token", Some(access_token)), ("secret", secret.as_ref())])
            }
            Self::Feishu { url, secret } => ("feishu", Some(url), [("secret", secret.as_ref()), ("", None)]),
            Self::WeCom { key, url } => ("wecom", url.as_ref(), [("key", Some(key)), ("", None)]),
            Self::Slack { url } => ("slack", Some(url), [("", None); 2]),
            Self::Webhook { url, secret } => ("webhook", Some(url), [("secret", secret.as_ref()), ("", None)]),
            Self::Log => ("log", None, [("", None); 2]),
        };
        let to = url.map(|url| format!(" to {}", url.source())).unwrap_or_default();
        let secrets = secrets
            .into_iter()
            .filter_map(|(name, secret)| secret.map(|secret| Mention::value(format!("{kind}.{name}{to}"), secret)));
        url.map(|url| Mention::url(format!("{kind}.url"), url)).into_iter().chain(secrets).collect()
    }
}
