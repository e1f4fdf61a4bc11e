//! Upstreams on real loopback sockets, and what their tests share.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::model::{HealthCheck, Protocol, Timeouts, UpstreamTls};
use config::route::table::RenderedHost;
use config::value::name::VersionId;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::names::Lookup;
use super::*;
use crate::proxy::LaneChecker;

mod names;
mod rest;

// --- shared by the tests of the other files --------------------------------------------------------------------------

pub(crate) fn key(version: u32) -> UpstreamKey {
    let version = VersionId::number(version).expect("not 0");
    UpstreamKey { function: "shop".parse().expect("a name"), version, stage: None }
}

pub(crate) fn spec(endpoints: &[(&str, u16)]) -> Rendered {
    Rendered::at(endpoints.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect())
}

/// Endpoints 10.0.0.1 to 10.0.0.`count`, which are never dialled.
pub(crate) fn paper_spec(count: usize) -> Rendered {
    let hosts: Vec<String> = (1..=count).map(|n| format!("10.0.0.{n}")).collect();
    spec(&hosts.iter().map(|host| (host.as_str(), 80)).collect::<Vec<_>>())
}

pub(crate) fn rng() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

/// Writes down what it is told.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn observe(&self, key: &UpstreamKey, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{key}: {event}"));
    }
}

impl Notes {
    pub(crate) fn count(&self, part: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|note| note.contains(part)).count()
    }
}

pub(crate) fn upstreams() -> (Upstreams, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let observer = Arc::clone(&notes) as Arc<dyn Observer>;
    (Upstreams::new(Handle::current(), observer, Arc::new(LaneChecker::default())), notes)
}

pub(crate) fn reconcile(upstreams: &mut Upstreams, key: UpstreamKey, spec: Rendered) -> Arc<UpstreamState> {
    let authorities = authority_file(&spec).and_then(|path| read_authorities(path).ok());
    upstreams.reconcile(vec![Wanted { key, spec: Arc::new(spec), authorities, rests: false }]).remove(0)
}

/// Waits for a condition; the test fails when it does not come true in ten seconds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Reads a request head; `None` when the client is gone.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// An HTTP/1.1 server that answers each connection once, with a status that the test sets.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    pub(crate) status: Arc<AtomicU16>,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(crate) async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, status: Arc::new(AtomicU16::new(status)), heads: Arc::default() };
        let (status, heads) = (Arc::clone(&server.status), Arc::clone(&server.heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer_once(stream, &status, &heads).await;
            }
        });
        server
    }

    pub(crate) fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

pub(crate) async fn answer_once(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    status: &AtomicU16,
    heads: &Mutex<Vec<String>>,
) {
    let Some(head) = read_head(&mut stream).await else { return };
    heads.lock().unwrap().push(head);
    let answer = format!("HTTP/1.1 {} Scripted\r\ncontent-length: 0\r\n\r\n", status.load(SeqCst));
    // A client that is gone shows in the test itself.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

// --- health ----------------------------------------------------------------------------------------------------------

/// One attempt, which ends with the connection, reported as the data path does.
async fn attempt(state: &UpstreamState, rng: &mut SmallRng) -> Option<bool> {
    let pick = state.pick(&Tried::default(), true, rng)?;
    let connected = TcpStream::connect(pick.address()).await.is_ok();
    if connected {
        pick.answered(200);
        pick.completed();
    } else {
        pick.failed(Failure::Connect);
    }
    Some(connected)
}

#[tokio::test]
async fn a_dead_endpoint_is_ejected_and_comes_back() {
    let alive = Scripted::start(200).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (mut upstreams, notes) = upstreams();
    let endpoints = [("127.0.0.1", alive.port), ("127.0.0.1", dead.port())];
    let state = reconcile(&mut upstreams, key(1), spec(&endpoints));
    let mut rng = rng();

    let mut failed = 0;
    while notes.count("ejected for 1s") == 0 {
        failed += usize::from(attempt(&state, &mut rng).await == Some(false));
    }
    assert_eq!(failed, 5);
    assert!(state.endpoints().iter().any(|endpoint| endpoint.ejected && endpoint.address == dead));
    for _ in 0..50 {
        assert_eq!(attempt(&state, &mut rng).await, Some(true), "the other one answers");
    }
    assert!(state.healthy());

    let _revived = TcpListener::bind(dead).await.unwrap();
    while notes.count("answers again") == 0 {
        assert_eq!(attempt(&state, &mut rng).await, Some(true));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(state.endpoints().iter().all(|endpoint| !endpoint.ejected && endpoint.in_flight == 0));
}

#[tokio::test]
async fn requests_alone_make_a_version_unhealthy_and_a_connection_heals_it() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (mut upstreams, notes) = upstreams();
    let state = reconcile(&mut upstreams, key(1), spec(&[("127.0.0.1", dead.port())]));
    let mut rng = rng();
    for _ in 0..20 {
        assert_eq!(attempt(&state, &mut rng).await, Some(false), "nobody else could answer, so it is tried");
    }
    assert!(!state.healthy() && state.is_up());
    assert_eq!(notes.count("ejected"), 1);
    // No request comes any more: a spare answers.
    until("a probe of our own", || notes.count("ejected for 2s") == 1).await;
    assert_eq!(notes.count("fails: "), 1, "says why");
    assert!(!state.healthy());
    let _revived = TcpListener::bind(dead).await.unwrap();
    until("it answers again", || notes.count("answers again") == 1).await;
    assert!(state.healthy());
}

#[tokio::test]
async fn a_version_that_throws_stays_and_one_that_is_overloaded_does_not() {
    let (mut upstreams, notes) = upstreams();
    let state = reconcile(&mut upstreams, key(1), paper_spec(2));
    let answer = |status| {
        let pick = state.pick(&Tried::default(), true, &mut rng()).unwrap();
        pick.answered(status);
        pick.completed();
    };
    (0..100).for_each(|_| answer(500));
    assert!(state.healthy());
    assert_eq!(notes.count("ejected"), 0);
    (0..20).for_each(|_| answer(503));
    assert!(!state.healthy());
    assert_eq!(notes.count("ejected for 1s: failures in a row, the last one an answer 503"), 2);
    answer(200);
    assert!(state.healthy(), "the panic threshold: an answer brings its endpoint back");
}

#[tokio::test]
async fn what_an_older_state_saw_counts_for_the_newer_one() {
    let (mut upstreams, _) = upstreams();
    let old = reconcile(&mut upstreams, key(1), paper_spec(1));
    let pick = old.pick(&Tried::default(), true, &mut rng()).unwrap();
    let other =
        Rendered { timeouts: Timeouts { connect: Duration::from_millis(50), ..Timeouts::default() }, ..paper_spec(1) };
    let new = reconcile(&mut upstreams, key(1), other);
    let picks: Vec<_> = (0..5).map(|_| old.pick(&Tried::default(), true, &mut rng()).unwrap()).collect();
    drop(old);
    drop(pick);
    picks.iter().for_each(|pick| pick.failed(Failure::Reset));
    assert!(!new.healthy());
}

#[tokio::test]
async fn an_attempt_counts_once_and_one_that_is_told_nothing_not_at_all() {
    let (mut upstreams, notes) = upstreams();
    let state = reconcile(&mut upstreams, key(1), paper_spec(1));
    let mut rng = rng();
    let mut pick = || state.pick(&Tried::default(), true, &mut rng).unwrap();
    for _ in 0..4 {
        let pick = pick();
        pick.answered(503);
        pick.completed();
        pick.failed(Failure::Reset);
    }
    drop(pick());
    assert_eq!(notes.count("ejected"), 0);
    // Heads alone heal nothing.
    for _ in 0..4 {
        pick().answered(200);
    }
    pick().failed(Failure::Reset);
    assert_eq!(notes.count("ejected"), 1);
}

#[tokio::test]
async fn checks_turn_an_endpoint_down_and_up_again() {
    let server = Scripted::start(200).await;
    let (mut upstreams, notes) = upstreams();
    let every = Duration::from_millis(20);
    let health = HealthCheck { path: "/healthz?deep=1".into(), every, rise: 2, fall: 3, ..HealthCheck::default() };
    let spec = Rendered { health: Some(health), ..spec(&[("127.0.0.1", server.port)]) };
    let state = reconcile(&mut upstreams, key(1), spec.clone());
    assert!(state.healthy(), "healthy until checks say otherwise");
    until("checks run", || server.asked() >= 3).await;
    let head = server.heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /healthz?deep=1 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", server.port)), "{head}");

    server.status.store(503, SeqCst);
    let before = server.asked();
    until("down", || !state.healthy()).await;
    // The one that was under way may be the first of the three.
    assert!(server.asked() >= before + 2, "not before `fall` bad checks");
    assert!(state.pick(&Tried::default(), true, &mut rng()).is_none());
    assert_eq!(notes.count("is down: GET /healthz?deep=1 answered 503, healthy is 200 to 399"), 1);

    server.status.store(204, SeqCst);
    until("up", || state.healthy()).await;
    assert_eq!(notes.count("is up"), 1);
    assert!(state.pick(&Tried::default(), true, &mut rng()).is_some());

    // Without checks the endpoint is healthy again, whatever they said before.
    server.status.store(500, SeqCst);
    until("down again", || !state.healthy()).await;
    let unchecked = reconcile(&mut upstreams, key(1), Rendered { health: None, ..spec });
    assert!(unchecked.healthy());
}

#[tokio::test]
async fn a_silent_endpoint_fails_its_checks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut upstreams, notes) = upstreams();
    let (every, timeout) = (Duration::from_millis(10), Duration::from_millis(30));
    let health = Some(HealthCheck { every, timeout, fall: 1, ..HealthCheck::default() });
    let spec = Rendered { health, ..spec(&[("127.0.0.1", listener.local_addr().unwrap().port())]) };
    let state = reconcile(&mut upstreams, key(1), spec);
    until("down", || !state.healthy()).await;
    assert_eq!(notes.count("is down"), 1);
}

#[tokio::test]
async fn a_hanging_endpoint_delays_no_check_of_another() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = hanging.local_addr().unwrap().port();
    let server = Scripted::start(200).await;
    let (mut upstreams, _) = upstreams();
    let (every, timeout) = (Duration::from_millis(50), Duration::from_secs(30));
    let health = Some(HealthCheck { every, timeout, fall: 3, ..HealthCheck::default() });
    // Of other versions, more than could be bounded over all of them.
    let others = (2..100).map(|version| (key(version), spec(&[("127.0.0.1", hanging)])));
    let sibling = [(key(1), spec(&[("127.0.0.1", hanging), ("127.0.0.1", server.port)]))];
    let wanted = sibling.into_iter().chain(others);
    let wanted = wanted.map(|(key, spec)| {
        let spec = Arc::new(Rendered { health: health.clone(), ..spec });
        Wanted { key, spec, authorities: None, rests: false }
    });
    let state = upstreams.reconcile(wanted.collect()).remove(0);
    until("it is checked", || server.asked() > 0).await;
    server.status.store(503, SeqCst);
    let fell = tokio::time::Instant::now();
    until("it is down", || state.endpoints().iter().any(|endpoint| !endpoint.up)).await;
    assert!(fell.elapsed() < Duration::from_secs(2), "three checks in {:?}", fell.elapsed());
}

#[tokio::test]
async fn checks_stop_when_the_upstream_goes() {
    let server = Scripted::start(200).await;
    let (mut upstreams, _) = upstreams();
    let health = Some(HealthCheck { every: Duration::from_millis(5), ..HealthCheck::default() });
    let spec = Rendered { health, ..spec(&[("127.0.0.1", server.port)]) };
    let state = reconcile(&mut upstreams, key(1), spec);
    until("checks run", || server.asked() > 0).await;
    upstreams.forget(&key(1));
    assert!(upstreams.get(&key(1)).is_none());
    let weak = Arc::downgrade(&state);
    drop(state);
    until("the last check is over", || weak.strong_count() == 0).await;
}

#[tokio::test]
async fn checks_speak_http2_when_the_upstream_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let connections = Arc::new(AtomicUsize::new(0));
    let (uris, opened) = (Arc::clone(&seen), Arc::clone(&connections));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            opened.fetch_add(1, SeqCst);
            let uris = Arc::clone(&uris);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    uris.lock().unwrap().push(request.uri().to_string());
                    let response = http::Response::builder().status(404).body(()).unwrap();
                    respond.send_response(response, true).unwrap();
                }
            });
        }
    });
    let (mut upstreams, notes) = upstreams();
    let health = HealthCheck { every: Duration::from_millis(10), fall: 2, ..HealthCheck::default() };
    let spec = Rendered { health: Some(health), protocol: Protocol::H2c, ..spec(&[("127.0.0.1", port)]) };
    let state = reconcile(&mut upstreams, key(1), spec);
    until("down", || !state.healthy()).await;
    assert_eq!(notes.count("answered 404"), 1);
    assert_eq!(seen.lock().unwrap()[0], format!("http://127.0.0.1:{port}/"));
    assert!(connections.load(SeqCst) >= 2, "each check dials");
}

// --- reconcile -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn state_survives_a_change_of_the_config() {
    let (mut upstreams, notes) = upstreams();
    let first = reconcile(&mut upstreams, key(1), paper_spec(1));
    assert!(Arc::ptr_eq(&first, &reconcile(&mut upstreams, key(1), paper_spec(1))), "nothing changed");
    let mut rng = rng();
    let bad = first.pick(&Tried::default(), true, &mut rng).unwrap();
    (0..5).for_each(|_| first.pick(&Tried::default(), true, &mut rng).unwrap().failed(Failure::Reset));
    assert_eq!(notes.count("ejected for 1s"), 1);
    for _ in 0..30 {
        assert!(first.budget().try_take());
    }

    let second = reconcile(&mut upstreams, key(1), paper_spec(3));
    let view = |state: &UpstreamState| state.endpoints().into_iter().find(|e| e.address == bad.address()).unwrap();
    assert!(view(&second).ejected);
    assert_eq!(view(&second).in_flight, 1);
    assert_eq!(second.endpoints().len(), 3);
    assert!(!second.budget().try_take(), "the budget is the same");

    let other = reconcile(&mut upstreams, key(2), paper_spec(2));
    assert!(other.endpoints().iter().all(|e| !e.ejected && e.in_flight == 0), "versions share nothing");

    // A pick from before the change still reports to the endpoint that both states have.
    drop(first);
    drop(bad);
    assert!(second.endpoints().iter().all(|e| e.in_flight == 0));
    upstreams.retain(|key| key.version == VersionId::number(2).unwrap());
    assert!(upstreams.get(&key(1)).is_none() && upstreams.get(&key(2)).is_some());
}

#[tokio::test]
async fn an_upstream_whose_authorities_are_not_known_has_no_endpoint() {
    let (mut upstreams, _) = upstreams();
    let tls = UpstreamTls { ca: Some("/nowhere/ca.pem".into()), sni: None, verify: true };
    let spec = Rendered { tls: Some(tls), ..paper_spec(1) };
    let state = reconcile(&mut upstreams, key(1), spec.clone());
    assert!(state.endpoints().is_empty() && !state.healthy() && !state.is_up());
    assert_eq!(upstreams.with_authorities().count(), 1);
    let der = rcgen::generate_simple_self_signed(["authority.test".to_owned()]).unwrap().cert.der().clone();
    let wanted = Wanted { key: key(1), spec: Arc::new(spec), authorities: Some([der].into()), rests: false };
    let known = upstreams.reconcile(vec![wanted]).remove(0);
    assert!(known.endpoints().len() == 1 && known.healthy());
    upstreams.forget(&key(1));
    assert_eq!(upstreams.with_authorities().count(), 0);
}
