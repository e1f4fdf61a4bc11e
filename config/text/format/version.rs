//! Versions and their upstreams.

use crate::model::{
    Endpoint, FixedResponse, HeaderEdits, HealthCheck, Protocol, Retries, Target, Timeouts, Upstream, UpstreamHost,
    UpstreamTls, Version,
};
use crate::text::format::Entries;
use crate::text::format::tree::Tree;
use crate::value::digest::Digest;
use crate::value::duration::show_duration;

/// Whether a version shows its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShowDigest {
    /// Never.
    No,
    /// Where it does not follow from the rest: the version was moved.
    IfMoved,
    /// Always.
    Yes,
}

/// A version or the draft.
pub(crate) fn version(version: &Version, digest: ShowDigest) -> Tree {
    let mut entries = Entries::default();
    target(&mut entries, &version.target, true);
    entries.put_some("description", version.description.as_ref(), Tree::text);
    entries.put_some("label", version.label.as_ref(), Tree::text);
    entries.put_some("artifact", version.artifact.as_ref(), Tree::text);
    entries.put_unless("retired", &version.retired, &false, Tree::raw);
    let shown = match digest {
        ShowDigest::No => false,
        ShowDigest::IfMoved => version.digest != Digest::of(version),
        ShowDigest::Yes => true,
    };
    if shown {
        entries.put("digest", Tree::text(&version.digest));
    }
    entries.flow()
}

/// What a version never changes; with the endpoints where they count for the digest.
pub(crate) fn frozen(of: &Target, artifact: Option<&str>, endpoints: bool) -> Tree {
    let mut entries = Entries::default();
    target(&mut entries, of, endpoints);
    entries.put_some("artifact", artifact.as_ref(), Tree::text);
    entries.flow()
}

fn target(entries: &mut Entries, target: &Target, endpoints: bool) {
    match target {
        Target::Upstream(upstream) => {
            if endpoints {
                entries.put("endpoints", Tree::list(upstream.endpoints.iter().map(|e| Tree::Text(endpoint(e)))));
            }
            self::upstream(entries, upstream);
        }
        Target::Response(response) => {
            entries.put("response", fixed_response(response));
        }
    }
}

fn fixed_response(response: &FixedResponse) -> Tree {
    let headers = response.headers.iter().map(|(name, value)| (name.clone(), Tree::text(value)));
    Entries::default()
        .put("status", Tree::raw(&response.status))
        .put_full("headers", Tree::Map { entries: headers.collect(), block: false })
        .put_unless("body", &response.body, &String::new(), Tree::text)
        .flow()
}

fn upstream(entries: &mut Entries, upstream: &Upstream) {
    entries.put_unless("protocol", &upstream.protocol, &Protocol::default(), |protocol| protocol.as_str().into());
    entries.put_some("tls", upstream.tls.as_ref(), tls);
    match &upstream.host {
        UpstreamHost::Keep => {}
        UpstreamHost::Endpoint => {
            entries.put("host", "endpoint");
        }
        UpstreamHost::Set(host) => {
            entries.put("host", host);
        }
    }
    if !upstream.path_prefix.source().is_empty() {
        entries.put("path_prefix", &upstream.path_prefix);
    }
    entries.put_full("headers", headers(&upstream.headers));
    entries.put_some("health", upstream.health.as_ref(), health);
    entries.put_full("timeouts", timeouts(&upstream.timeouts));
    entries.put_full("retries", retries(&upstream.retries));
    if !upstream.via {
        entries.put("via", "off");
    }
    if let Some(listed) = upstream.upgrade.listed() {
        entries.put("upgrade", Tree::list(listed.iter().map(Tree::text)));
    }
}

/// `10.0.0.11:8080`, `[2001:db8::1]:8080`.
fn endpoint(endpoint: &Endpoint) -> String {
    let host = endpoint.host.source();
    if host.contains(':') { format!("[{host}]:{}", endpoint.port) } else { format!("{host}:{}", endpoint.port) }
}

fn tls(tls: &UpstreamTls) -> Tree {
    Entries::default()
        .put_some("ca", tls.ca.as_ref(), |ca| Tree::text(&ca.display()))
        .put_some("sni", tls.sni.as_ref(), Tree::text)
        .put_unless("verify", &tls.verify, &true, Tree::raw)
        .flow()
}

fn headers(edits: &HeaderEdits) -> Tree {
    let values = |values: &std::collections::BTreeMap<String, crate::value::template::Template>| {
        let entries = values.iter().map(|(name, value)| (name.clone(), Tree::from(value)));
        Tree::Map { entries: entries.collect(), block: false }
    };
    Entries::default()
        .put_full("set", values(&edits.set))
        .put_full("add", values(&edits.add))
        .put_full("remove", Tree::list(edits.remove.iter().map(Tree::text)))
        .flow()
}

fn health(check: &HealthCheck) -> Tree {
    let default = HealthCheck::default();
    Entries::default()
        .put("path", &*check.path)
        .put_unless("every", &check.every, &default.every, |d| Tree::Text(show_duration(*d)))
        .put_unless("timeout", &check.timeout, &default.timeout, |d| Tree::Text(show_duration(*d)))
        .put_unless("status", &check.status, &default.status, |(first, last)| Tree::Text(format!("{first}-{last}")))
        .put_unless("rise", &check.rise, &default.rise, Tree::raw)
        .put_unless("fall", &check.fall, &default.fall, Tree::raw)
        .flow()
}

fn timeouts(timeouts: &Timeouts) -> Tree {
    let default = Timeouts::default();
    let show = |d: &std::time::Duration| Tree::Text(show_duration(*d));
    Entries::default()
        .put_unless("connect", &timeouts.connect, &default.connect, show)
        .put_unless("response", &timeouts.response, &default.response, show)
        .put_unless("idle", &timeouts.idle, &default.idle, show)
        .put_unless("keep_alive", &timeouts.keep_alive, &default.keep_alive, show)
        .flow()
}

fn retries(retries: &Retries) -> Tree {
    let default = Retries::default();
    Entries::default()
        .put_unless("attempts", &retries.attempts, &default.attempts, Tree::raw)
        .put_unless("budget", &retries.budget, &default.budget, Tree::raw)
        .put_full("on_status", Tree::list(retries.on_status.iter().map(Tree::raw)))
        .flow()
}
