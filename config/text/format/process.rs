//! Process settings.

use crate::model::{
    AccessKey, AccessTarget, AdminListener, Dialects, EnvironmentRules, KeySecret, Listener, MinRate, Process,
};
use crate::text::format::Entries;
use crate::text::format::tree::Tree;
use crate::text::format::ways::certificate;
use crate::value::duration::show_duration;
use crate::value::pattern::VariablePattern;
use crate::value::size::show_size;

/// The settings that differ from their defaults.
pub(super) fn process(entries: &mut Entries, process: &Process) {
    let default = Process::default();
    entries.put_unless("listeners", &process.listeners, &default.listeners, |l| Tree::lines(l.iter().map(listener)));
    if process.admin != default.admin || process.admin_url.is_some() {
        entries.put("admin", admin(&process.admin, process.admin_url.as_deref()));
    }
    entries.put_full("environment", environment(&process.environment));
    entries.put_some("calls", process.calls.as_ref(), |allow| {
        Entries::default().put("allow", Tree::list(allow.iter().map(Tree::text))).flow()
    });
    entries.put_some("dialects", process.dialects.as_ref(), dialects);
    entries.put_unless("store", &process.store, &default.store, |path| {
        Entries::default().put("path", Tree::text(&path.display())).flow()
    });
    entries.put_unless("workers", &process.workers, &default.workers, Tree::raw);
    entries.put_unless("lane", &process.lane, &default.lane, |lane| lane.as_str().into());
    entries.put_unless("access_log", &process.access_log, &default.access_log, |log| {
        let to = match &log.to {
            AccessTarget::Stdout => Tree::text("stdout"),
            AccessTarget::Off => Tree::text("off"),
            AccessTarget::File(path) => Tree::text(&path.display()),
        };
        Entries::default().put("to", to).put_unless("redact_query", &log.redact_query, &false, Tree::raw).flow()
    });
    entries.put_full("limits", limits(process, &default));
    let show = |d: &std::time::Duration| Tree::Text(show_duration(*d));
    let journal = Entries::default()
        .put_unless("age", &process.journal.age, &default.journal.age, show)
        .put_unless("entries", &process.journal.entries, &default.journal.entries, Tree::raw)
        .put_unless("size", &process.journal.bytes, &default.journal.bytes, |bytes| Tree::Text(show_size(*bytes)))
        .put_full("notify", Tree::list(process.journal_notify.iter().map(Tree::text)))
        .flow();
    entries.put_full("journal", journal);
    entries.put_unless("versions", &process.keep_versions, &None, |keep| {
        Entries::default().put_some("keep", keep.as_ref(), Tree::raw).flow()
    });
    let drain = Entries::default()
        .put_unless("delay", &process.drain.delay, &default.drain.delay, show)
        .put_unless("deadline", &process.drain.deadline, &default.drain.deadline, show)
        .flow();
    entries.put_full("drain", drain);
}

fn listener(listener: &Listener) -> Tree {
    let from = Tree::list(listener.proxy_protocol_from.iter().map(Tree::text));
    let proxy_protocol = Entries::default().put_full("from", from).flow();
    Entries::default()
        .put("address", Tree::text(&listener.address))
        .put_unless("tls", &listener.tls, &false, Tree::raw)
        .put_full("proxy_protocol", proxy_protocol)
        .flow()
}

fn admin(admin: &AdminListener, url: Option<&str>) -> Tree {
    let mut entries = Entries::default();
    match admin {
        AdminListener::Tcp { address, tls, insecure } => entries
            .put("address", Tree::text(address))
            .put_some("tls", tls.as_ref(), certificate)
            .put_unless("insecure", insecure, &false, Tree::raw),
        AdminListener::Socket(path) => entries.put("socket", Tree::text(&path.display())),
    };
    entries.put_some("url", url.as_ref(), Tree::text).flow()
}

fn dialects(dialects: &Dialects) -> Tree {
    let key = |key: &AccessKey| {
        let mut entries = Entries::default();
        entries.put("id", Tree::text(&key.id));
        match &key.secret {
            KeySecret::Variable(secret) => entries.put("secret", secret),
            KeySecret::File(path) => entries.put("secret_file", Tree::text(&path.display())),
        };
        entries.put("role", key.role.as_str()).flow()
    };
    let mut entries = Entries::default();
    if let AdminListener::Tcp { address, tls, insecure } = &dialects.listener {
        entries.put("address", Tree::text(address)).put_some("tls", tls.as_ref(), certificate).put_unless(
            "insecure",
            insecure,
            &false,
            Tree::raw,
        );
    }
    entries
        .put("account", Tree::text(&dialects.account))
        .put("keys", Tree::lines(dialects.keys.iter().map(key)))
        .block()
}

fn environment(rules: &EnvironmentRules) -> Tree {
    let patterns = |patterns: &[VariablePattern]| Tree::list(patterns.iter().map(Tree::text));
    let operator = patterns(&rules.operator);
    Entries::default()
        .put_some("allow", rules.allow.as_ref(), |allow| patterns(allow))
        .put_full("operator", operator)
        .flow()
}

fn limits(process: &Process, default: &Process) -> Tree {
    let (limits, default) = (&process.limits, &default.limits);
    let show = |d: &std::time::Duration| Tree::Text(show_duration(*d));
    let size = |n: &usize| Tree::Text(show_size(*n as u64));
    Entries::default()
        .put_unless("head_bytes", &limits.head_bytes, &default.head_bytes, size)
        .put_unless("headers", &limits.headers, &default.headers, Tree::raw)
        .put_unless("target_bytes", &limits.target_bytes, &default.target_bytes, size)
        .put_unless("body_bytes", &limits.body_bytes, &default.body_bytes, |n| Tree::Text(show_size(*n)))
        .put_unless("connections", &limits.connections, &default.connections, Tree::raw)
        .put_unless(
            "connections_per_address",
            &limits.connections_per_address,
            &default.connections_per_address,
            Tree::raw,
        )
        .put_unless("unread_per_address", &limits.unread_per_address, &default.unread_per_address, Tree::raw)
        .put_unless("head_timeout", &limits.head_timeout, &default.head_timeout, show)
        .put_unless("idle_timeout", &limits.idle_timeout, &default.idle_timeout, show)
        .put_unless("body_timeout", &limits.body_timeout, &default.body_timeout, show)
        .put_full("min_rate", min_rate(&limits.min_rate, &default.min_rate))
        .flow()
}

fn min_rate(rate: &MinRate, default: &MinRate) -> Tree {
    let show = |d: &std::time::Duration| Tree::Text(show_duration(*d));
    let bytes = |n: &Option<u64>| n.map_or_else(|| Tree::text("off"), |n| Tree::Text(show_size(n)));
    Entries::default()
        .put_unless("upload", &rate.upload, &default.upload, bytes)
        .put_unless("download", &rate.download, &default.download, bytes)
        .put_unless("grace", &rate.grace, &default.grace, show)
        .flow()
}
