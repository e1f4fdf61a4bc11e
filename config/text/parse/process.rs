//! Process settings: what needs a restart to change.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{
    AccessLog, AccessTarget, AdminListener, Drain, LaneChoice, Limits, Listener, MinRate, Process, Retention,
};
use crate::text::parse::domain::certificate;
use crate::text::parse::place::{Fields, Place, Reading, quoted};
use crate::text::parse::plan::notify;
use crate::text::parse::scalar::{duration, integer, networks, size, switch};
use crate::text::parse::upstream::file;
use crate::text::parse::{authority, dialects};
use crate::value::name::NotifierName;

/// `listeners`, `admin`, `environment`, `calls`, `dialects`, `store`, `journal`, `versions`, `workers`, `lane`, `limits` and `drain`, from
/// the fields of the file.
pub(super) fn process(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> Process {
    let default = Process::default();
    let listeners = fields.read(r, "listeners", listeners).unwrap_or(default.listeners);
    let (admin, admin_url) = fields.read(r, "admin", admin).unwrap_or((default.admin, None));
    let (journal, journal_notify) = fields.read(r, "journal", journal).unwrap_or((default.journal, Vec::new()));
    Process {
        listeners,
        admin,
        admin_url,
        environment: fields.read(r, "environment", authority::environment).unwrap_or_default(),
        calls: fields.read(r, "calls", authority::calls),
        dialects: fields.read(r, "dialects", dialects::dialects),
        store: fields.read(r, "store", store).unwrap_or(default.store),
        journal,
        journal_notify,
        keep_versions: fields.read(r, "versions", keep_versions).flatten(),
        workers: fields.read(r, "workers", |place, r| count(place, r, 0..=1024)).unwrap_or(default.workers),
        lane: fields.read(r, "lane", lane).unwrap_or(default.lane),
        limits: fields.read(r, "limits", limits).unwrap_or(default.limits),
        drain: fields.read(r, "drain", drain).unwrap_or(default.drain),
        access_log: fields.read(r, "access_log", access_log).unwrap_or(default.access_log),
    }
}

fn count(place: &Place<'_>, r: &mut Reading<'_>, range: std::ops::RangeInclusive<u64>) -> Option<usize> {
    integer(place, r, range).and_then(|n| usize::try_from(n).ok())
}

/// `relay` or `pingora`.
fn lane(place: &Place<'_>, r: &mut Reading<'_>) -> Option<LaneChoice> {
    place.choice(r, &[LaneChoice::Relay, LaneChoice::Pingora].map(|lane| (lane.as_str(), lane)))
}

fn listeners(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<Listener>> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in place.some_items(r, "a list of listeners such as `[{address: 0.0.0.0:8080}]`")? {
        let Some(listener) = listener(&item, r) else { continue };
        if listener.address.port() != 0 && listeners.iter().any(|other| other.address == listener.address) {
            let problem = item.problem(format!("two listeners have the address `{}`", listener.address));
            r.problems.push(problem.help("give one of them another port"));
        }
        listeners.push(listener);
    }
    Some(listeners)
}

/// `0.0.0.0:8080`, or `{address: 0.0.0.0:8443, tls: true, proxy_protocol: {from: [10.0.0.0/8]}}`.
fn listener(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Listener> {
    if place.is_scalar() {
        return address(place, r).map(|address| Listener { address, tls: false, proxy_protocol_from: Vec::new() });
    }
    let mut fields = place.fields(r, "an address such as `0.0.0.0:8080`, or a mapping with `address`")?;
    let address =
        fields.require(r, "address", "for example `address: 0.0.0.0:8080`").and_then(|place| address(&place, r));
    let tls = fields.read(r, "tls", switch).unwrap_or(false);
    let proxy_protocol_from = fields.read(r, "proxy_protocol", |place, r| {
        let mut fields = place.fields(r, "a mapping such as `{from: [10.0.0.0/8]}`")?;
        let from = fields.require(r, "from", "the peers that send a PROXY protocol header: `from: [10.0.0.0/8]`");
        let from = from.and_then(|place| {
            let networks = networks(&place, r)?;
            if place.is_list() && networks.is_empty() {
                r.problems.push(
                    place
                        .problem("this list is empty: nobody sends a PROXY protocol header")
                        .help("leave `proxy_protocol` out"),
                );
            }
            Some(networks)
        });
        fields.finish(r);
        from
    });
    fields.finish(r);
    Some(Listener { address: address?, tls, proxy_protocol_from: proxy_protocol_from.unwrap_or_default() })
}

pub(super) fn address(place: &Place<'_>, r: &mut Reading<'_>) -> Option<SocketAddr> {
    let text = place.text(r, "an address such as `0.0.0.0:8080`")?;
    let Ok(address) = text.parse() else {
        let problem = place.problem(format!("{} is not an address", quoted(text)));
        let help = match text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).unwrap_or(text).parse::<u16>() {
            Ok(port) => {
                format!("write `0.0.0.0:{port}` for all addresses, or `127.0.0.1:{port}` for this machine only")
            }
            Err(_) => "write an IP address and a port, such as `0.0.0.0:8080` or `\"[::]:8080\"`".to_owned(),
        };
        r.problems.push(problem.help(help));
        return None;
    };
    Some(address)
}

/// `127.0.0.1:9900`, `{address: 10.0.0.1:9900, tls: {cert: FILE, key: FILE}}`, or `{socket: /run/weir.sock}`.
fn admin(place: &Place<'_>, r: &mut Reading<'_>) -> Option<(AdminListener, Option<String>)> {
    if place.is_scalar() {
        let listener = AdminListener::at(address(place, r)?);
        return guarded(place, &listener, r, ADMIN).then_some((listener, None));
    }
    let mut fields = place.fields(r, "an address such as `127.0.0.1:9900`, or a mapping with `address` or `socket`")?;
    let url = fields.read(r, "url", authority::outer_url);
    if let Some(socket) = fields.take("socket") {
        for name in ["address", "tls", "insecure"] {
            if let Some(other) = fields.take(name) {
                let problem = other.key_problem(format!("`{name}` does not go with `socket`"));
                r.problems.push(problem.help("a Unix socket has a path alone: `admin: {socket: /run/weir.sock}`"));
            }
        }
        fields.finish(r);
        return file(&socket, r).map(|path| (AdminListener::Socket(path), url));
    }
    let at = fields.require(r, "address", "for example `address: 127.0.0.1:9900`");
    let found = at.as_ref().and_then(|place| address(place, r));
    let tls = fields.has("tls");
    let certificate = fields.read(r, "tls", certificate);
    let insecure = fields.read(r, "insecure", switch).unwrap_or(false);
    fields.finish(r);
    let listener = AdminListener::Tcp { address: found?, tls: certificate, insecure };
    // A certificate that cannot be read has its own problem.
    let read = !tls || matches!(&listener, AdminListener::Tcp { tls: Some(_), .. });
    (read && guarded(&at?, &listener, r, ADMIN)).then_some((listener, url))
}

/// What listens, and what could be read or changed on the way, with an address of this machine.
pub(super) type Guarded<'a> = (&'a str, &'a str, &'a str);

const ADMIN: Guarded<'_> = ("the admin API", "its tokens could be read on the way", "127.0.0.1:9900");

/// Whether nobody on the way can read the tokens, or the operator has taken that on.
pub(super) fn guarded(
    place: &Place<'_>,
    listener: &AdminListener,
    r: &mut Reading<'_>,
    (what, danger, example): Guarded<'_>,
) -> bool {
    let AdminListener::Tcp { address, tls: None, insecure: false } = listener else { return true };
    if address.ip().is_loopback() {
        return true;
    }
    let message = format!("{what} would listen on `{address}` without TLS: {danger}");
    r.problems.push(place.problem(message).help(format!(
        "write an address of this machine alone such as `{example}`, \
         or add `tls: {{cert: FILE, key: FILE}}`, or `insecure: true` in a closed network",
    )));
    false
}

/// `{path: weir-state.db}`
fn store(place: &Place<'_>, r: &mut Reading<'_>) -> Option<PathBuf> {
    let mut fields = place.fields(r, "a mapping such as `{path: weir-state.db}`")?;
    if let Some(etcd) = fields.take("etcd") {
        let problem = etcd.key_problem("a store in etcd is not supported by this build yet");
        r.problems.push(problem.help("write `store: {path: weir-state.db}`"));
        return None;
    }
    let path = fields.require(r, "path", "for example `path: weir-state.db`").and_then(|place| file(&place, r));
    fields.finish(r);
    path
}

/// `{keep: 50}`
fn keep_versions(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Option<usize>> {
    let mut fields = place.fields(r, "a mapping such as `{keep: 50}`")?;
    let keep = fields.read(r, "keep", |place, r| count(place, r, 1..=1_000_000));
    fields.finish(r);
    Some(keep)
}

/// `{age: 90d, entries: 100000, size: 1GiB, notify: [audit]}`
fn journal(place: &Place<'_>, r: &mut Reading<'_>) -> Option<(Retention, Vec<NotifierName>)> {
    let default = Process::default().journal;
    let mut fields = place.fields(r, "a mapping such as `{age: 90d, entries: 100000, size: 1GiB}`")?;
    let age = fields.read(r, "age", |place, r| duration(place, r, Duration::from_secs(3600))).unwrap_or(default.age);
    let entries = fields.read(r, "entries", |place, r| integer(place, r, 1..=u64::MAX)).unwrap_or(default.entries);
    let bytes = fields.read(r, "size", |place, r| size(place, r, 1 << 20..=1 << 50)).unwrap_or(default.bytes);
    let notify = fields.read(r, "notify", notify).unwrap_or_default();
    fields.finish(r);
    Some((Retention { age, entries, bytes }, notify))
}

/// `stdout`, `off`, a file, or `{to: FILE, redact_query: true}`.
fn access_log(place: &Place<'_>, r: &mut Reading<'_>) -> Option<AccessLog> {
    if place.is_scalar() {
        return access_target(place, r).map(|to| AccessLog { to, redact_query: false });
    }
    let mut fields = place.fields(r, "`stdout`, `off`, the name of a file, or a mapping with `to`")?;
    let to = fields.read(r, "to", access_target).unwrap_or_default();
    let redact_query = fields.read(r, "redact_query", switch).unwrap_or(false);
    fields.finish(r);
    Some(AccessLog { to, redact_query })
}

fn access_target(place: &Place<'_>, r: &mut Reading<'_>) -> Option<AccessTarget> {
    match place.text(r, "`stdout`, `off` or the name of a file")? {
        "stdout" => Some(AccessTarget::Stdout),
        "off" => Some(AccessTarget::Off),
        _ => file(place, r).map(AccessTarget::File),
    }
}

fn limits(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Limits> {
    let default = Limits::default();
    let before = r.problems.len();
    let mut fields = place.fields(r, "a mapping such as `{head_bytes: 32KiB, body_bytes: 1GiB}`")?;
    let bytes = |place: &Place<'_>, r: &mut Reading<'_>, most: u64| {
        size(place, r, 1024..=most).and_then(|n| usize::try_from(n).ok())
    };
    let long = |place: &Place<'_>, r: &mut Reading<'_>| duration(place, r, Duration::from_millis(100));
    const MIB: u64 = 1 << 20;
    let limits = Limits {
        head_bytes: fields.read(r, "head_bytes", |p, r| bytes(p, r, MIB)).unwrap_or(default.head_bytes),
        headers: fields.read(r, "headers", |p, r| count(p, r, 1..=1000)).unwrap_or(default.headers),
        target_bytes: fields.read(r, "target_bytes", |p, r| bytes(p, r, MIB)).unwrap_or(default.target_bytes),
        body_bytes: fields.read(r, "body_bytes", |p, r| size(p, r, 0..=1 << 50)).unwrap_or(default.body_bytes),
        connections: fields.read(r, "connections", |p, r| count(p, r, 1..=100_000_000)).unwrap_or(default.connections),
        connections_per_address: fields
            .read(r, "connections_per_address", |p, r| count(p, r, 1..=100_000_000))
            .unwrap_or(default.connections_per_address),
        unread_per_address: fields
            .read(r, "unread_per_address", |p, r| count(p, r, 1..=100_000_000))
            .unwrap_or(default.unread_per_address),
        head_timeout: fields.read(r, "head_timeout", long).unwrap_or(default.head_timeout),
        idle_timeout: fields.read(r, "idle_timeout", long).unwrap_or(default.idle_timeout),
        body_timeout: fields.read(r, "body_timeout", long).unwrap_or(default.body_timeout),
        min_rate: fields.read(r, "min_rate", min_rate).unwrap_or(default.min_rate),
    };
    fields.finish(r);
    if r.problems.len() == before && limits.target_bytes > limits.head_bytes {
        let problem = place.problem("`target_bytes` is larger than `head_bytes`, which holds the target");
        r.problems.push(problem.help("raise `head_bytes` or lower `target_bytes`"));
    }
    Some(limits)
}

/// `off`, or `{upload: 256B, download: off, grace: 30s}`.
fn min_rate(place: &Place<'_>, r: &mut Reading<'_>) -> Option<MinRate> {
    const EXPECTED: &str = "`off`, or a mapping such as `{upload: 256B, download: 256B, grace: 30s}`";
    let default = MinRate::default();
    if place.is_scalar() {
        if place.text(r, EXPECTED)? == "off" {
            return Some(MinRate { upload: None, download: None, ..default });
        }
        let problem = place.problem("this is neither `off` nor a mapping");
        r.problems
            .push(problem.help("write `off`, or for each side its bytes a second: `{upload: 256B, download: 256B}`"));
        return None;
    }
    let mut fields = place.fields(r, EXPECTED)?;
    let upload = fields.read(r, "upload", rate).unwrap_or(default.upload);
    let download = fields.read(r, "download", rate).unwrap_or(default.download);
    let grace = fields.read(r, "grace", |place, r| duration(place, r, Duration::from_secs(1))).unwrap_or(default.grace);
    fields.finish(r);
    Some(MinRate { upload, download, grace })
}

/// Bytes a second, or `off`.
fn rate(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Option<u64>> {
    match place.text(r, "bytes a second such as `256B`, or `off`")? {
        "off" => Some(None),
        _ => size(place, r, 1..=1 << 30).map(Some),
    }
}

fn drain(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Drain> {
    let default = Process::default().drain;
    let mut fields = place.fields(r, "a mapping such as `{delay: 5s, deadline: 30s}`")?;
    let any = |place: &Place<'_>, r: &mut Reading<'_>| duration(place, r, Duration::ZERO);
    let delay = fields.read(r, "delay", any).unwrap_or(default.delay);
    let deadline = fields.read(r, "deadline", any).unwrap_or(default.deadline);
    fields.finish(r);
    Some(Drain { delay, deadline })
}
