//! Two gateways on one store: both follow, one conducts.

use config::release::outcome::Class;
use config::release::rollout::{Phase, Word};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::durable::{Failing, Fault};
use super::releases::PATIENCE;
use super::*;
use crate::control::journal::Verdict;
use crate::control::{Expected, Guard};
use crate::store::{Change, bounded};

/// How long a node that died keeps the other one from conducting.
const TTL: Duration = Duration::from_secs(1);

/// Two nodes, each with its own way to one store, in which a shop is live at version 1.
async fn two() -> ([Arc<Failing>; 2], [Node; 2]) {
    let one = Arc::new(Failing::default());
    let two = Arc::new(one.of_another_node());
    let a = named("a", &one).await;
    a.file(&file("shop", "1", "")).await.unwrap();
    let b = named("b", &two).await;
    ([one, two], [a, b])
}

pub(super) async fn named(name: &str, store: &Arc<Failing>) -> Node {
    started(name, Arc::clone(store) as Arc<dyn Store>).await
}

async fn started(name: &str, store: Arc<dyn Store>) -> Node {
    let lease = Lease { holder: name.to_owned(), ttl: TTL };
    Node::start(store, Process::default().journal, Aside::default(), lease).await
}

/// A hook that waits to be asked.
struct Hook(TcpListener);

impl Hook {
    async fn new() -> Self {
        // The client of calls takes its cryptography from the process, as `main` sets it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.0.local_addr().unwrap())
    }

    /// The next question, once it is asked.
    async fn asked(&self) -> TcpStream {
        let (mut stream, _) = timeout(PATIENCE, self.0.accept()).await.expect("nobody asked").unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"}") {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0, "it is not asked to its end");
        }
        stream
    }
}

async fn say_yes(mut asked: TcpStream) {
    asked.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await.unwrap();
}

fn loads(stores: &[Arc<Failing>; 2]) -> [usize; 2] {
    [0, 1].map(|node| stores[node].loads.load(Ordering::Relaxed))
}

#[tokio::test]
async fn what_another_node_writes_costs_what_it_changed() {
    let (stores, [a, b]) = two().await;
    let before = loads(&stores);
    for weight in 1..=20 {
        let split = format!("{{1: {}, 2: {weight}}}", 100 - weight);
        [&a, &b][weight % 2].shift(&split).await.unwrap();
    }
    for node in [&a, &b] {
        node.becomes("1: 80, 2: 20").await;
    }
    assert_eq!(loads(&stores), before, "nobody read the store anew");
    let (a, b) = (a.control.verify().await.unwrap(), b.control.drift().await.unwrap());
    assert!(matches!(a.verdict, Verdict::Whole { from: 1, to: 21 }), "{:?}", a.verdict);
    let split = |config: &Config| config.functions["shop"].aliases["prod"].split.to_string();
    assert_eq!((split(&b.0), split(&b.1)), ("1: 100".to_owned(), "1: 80, 2: 20".to_owned()), "the file is as it was");
}

#[tokio::test]
async fn a_file_that_another_node_applied_is_the_one_before_the_next() {
    let (_, [a, b]) = two().await;
    a.file(&file("shop", "{1: 90, 2: 10}", "")).await.unwrap();
    b.shift("{1: 60, 2: 40}").await.unwrap();
    let done = b.file(&file("shop", "{1: 90, 2: 10}", "")).await.unwrap();
    assert_eq!((b.split(), done.revision), ("1: 60, 2: 40".to_owned(), 3), "it says nothing new");
    b.file(&file("shop", "1", "")).await.unwrap();
    a.becomes("1: 100").await;
}

#[tokio::test]
async fn a_condition_holds_against_what_another_node_wrote() {
    let (_, [a, b]) = two().await;
    let seen = b.live.load().revisions["alias/shop/prod"];
    let done = a.shift("{1: 60, 2: 40}").await.unwrap();
    let guard = Guard { name: "alias/shop/prod".into(), expected: Expected::Revision(seen) };
    let refused = b.shift_if("{1: 50, 2: 50}", Some(guard)).await.unwrap_err();
    let Refused::Precondition { current, .. } = refused else { panic!("{refused}") };
    assert_eq!(current, Some(done.revision));
}

#[tokio::test]
async fn a_write_of_which_nobody_knows_is_read_again_and_then_followed() {
    let (stores, [a, b]) = two().await;
    stores[0].fail(&[Fault::Doubt]);
    let refused = a.shift("{1: 60, 2: 40}").await.unwrap_err();
    assert!(matches!(refused, Refused::Unknown(_)), "{refused}");
    b.shift("{1: 50, 2: 50}").await.unwrap();
    let done = a.shift("{1: 40, 2: 60}").await.unwrap();
    let before = done.before.functions["shop"].aliases["prod"].split.to_string();
    assert_eq!((before.as_str(), done.revision), ("1: 50, 2: 50", 4));
    let read = loads(&stores);
    b.shift("{1: 30, 2: 70}").await.unwrap();
    a.shift("{1: 20, 2: 80}").await.unwrap();
    assert_eq!(loads(&stores), read, "it follows again");
}

#[tokio::test]
async fn every_node_knows_every_rollout_and_the_freeze() {
    let (_, [a, b]) = two().await;
    let id = a.release("canaryStep: {weight: 20, interval: 10m}").await;
    let known = b.until(id, |rollout| rollout.step() == Some(0)).await;
    assert_eq!((b.split(), known.weight.basis_points()), ("1: 80, 2: 20".to_owned(), 2000));
    b.say(id, Word::Pause).await.unwrap();
    assert!(a.until(id, |rollout| rollout.held.is_some()).await.held.is_some());
    b.control.freeze(Author::of("token:ann"), Some(Duration::from_secs(60))).await.unwrap();
    let mut rollouts = a.control.rollouts();
    timeout(PATIENCE, rollouts.wait_for(|all| all.freeze.is_some())).await.unwrap().unwrap();
    b.say(id, Word::Abort).await.unwrap();
    assert_eq!((a.over(id).await.0, a.split()), ("aborted", "1: 100".to_owned()));
}

#[tokio::test]
async fn a_word_at_a_node_that_follows_leads_on_the_one_that_conducts() {
    let (_, [a, b]) = two().await;
    let hook = Hook::new().await;
    let plan = format!(
        "{{linearStep: {{weight: 50, interval: 1s}}, guard: {{min_requests: 0}}, gates: [approval], hooks: {{after: ['{}']}}}}",
        hook.url()
    );
    let id = b.release(&plan).await;
    b.until(id, |rollout| matches!(rollout.phase, Phase::Deciding { .. })).await;
    b.say(id, Word::Approve).await.unwrap();
    say_yes(hook.asked().await).await;
    for node in [&a, &b] {
        assert_eq!((node.over(id).await.0, node.split()), ("promoted", "2: 100".to_owned()));
    }
}

#[tokio::test]
async fn a_hook_is_asked_no_longer_when_somebody_aborts_at_another_node() {
    let (_, [a, b]) = two().await;
    let hook = Hook::new().await;
    let id = a.release(&format!("{{canaryStep: {{weight: 20}}, hooks: {{before: ['{}']}}}}", hook.url())).await;
    let mut asked = hook.asked().await;
    b.say(id, Word::Abort).await.unwrap();
    assert_eq!(a.over(id).await.0, "aborted");
    let hung_up = timeout(PATIENCE, asked.read(&mut [0; 1])).await;
    assert_eq!(hung_up.expect("the question is taken back").unwrap_or(0), 0);
}

#[tokio::test]
async fn the_second_node_goes_on_when_the_first_one_dies() {
    let (_, [a, b]) = two().await;
    let hook = Hook::new().await;
    let plan = format!(
        "{{canaryStep: {{weight: 20, interval: 2s}}, guard: {{min_requests: 0}}, hooks: {{after: ['{}']}}}}",
        hook.url()
    );
    let id = a.release(&plan).await;
    b.until(id, |rollout| rollout.step() == Some(0)).await;
    let lost = hook.asked().await;
    let before = b.until(id, |rollout| matches!(rollout.phase, Phase::Asking { .. })).await;
    assert_eq!(b.split(), "1: 0, 2: 100", "every step is done but the last question");
    // Nobody gives the term back: it is over when its time is.
    drop(a);
    say_yes(hook.asked().await).await;
    drop(lost);
    assert_eq!((b.over(id).await.0, b.split()), ("promoted", "2: 100".to_owned()));
    let after = b.until(id, |_| true).await;
    assert!(after.runs > before.runs, "the hook is asked again under a number of its own");
}

#[tokio::test]
async fn a_candidate_is_watched_by_whoever_conducts_alone_and_by_the_next_one() {
    let (_, [a, b]) = two().await;
    let id = a.release("canaryStep: {weight: 20, interval: 10m}").await;
    let mut sights = a.control.sights();
    timeout(PATIENCE, sights.wait_for(|sights| sights.contains_key(&id))).await.unwrap().unwrap();
    assert!(b.control.sights().borrow().is_empty());
    drop(a);
    let mut sights = b.control.sights();
    timeout(PATIENCE, sights.wait_for(|sights| sights.contains_key(&id))).await.unwrap().unwrap();
    b.requests(1, Class::Success, 400);
    b.requests(2, Class::ServerError, 100);
    assert_eq!((b.over(id).await.0, b.split()), ("rolled back", "1: 100".to_owned()));
}

#[tokio::test]
async fn a_rollout_that_a_node_cannot_read_goes_back_and_nowhere_else() {
    let (stores, [a, b]) = two().await;
    let id = a.release("canaryStep: {weight: 20, interval: 10m}").await;
    let name = format!("rollout/{id}");
    let image = stores[1].load(&name).await.unwrap();
    let mut rollout: serde_json::Value = serde_json::from_str(&image.texts[&name].text).unwrap();
    rollout["plan"] = "{canaryStep: {weight: 20}, hooks: {before: ['http://127.0.0.1:1/${NOWHERE}']}}".into();
    let change = Change { name, text: Some(rollout.to_string().into()) };
    let disk = stores[0].disk.lock().await;
    stores[1].put_if(image.revision, None, vec![change], "{}".into()).await.unwrap();
    let mut rollouts = b.control.rollouts();
    timeout(PATIENCE, rollouts.wait_for(|all| all.why_stuck(id).is_some())).await.unwrap().unwrap();
    let refused = b.say(id, Word::Advance).await.unwrap_err().to_string();
    assert!(refused.contains("can only be aborted here") && refused.contains("NOWHERE"), "{refused}");
    drop(disk);
    let (outcome, why) = b.over(id).await;
    assert!(outcome == "aborted" && why.contains("NOWHERE"), "{outcome}: {why}");
    assert_eq!((a.split(), b.split()), ("1: 100".to_owned(), "1: 100".to_owned()));
}

#[tokio::test]
async fn an_abort_that_could_not_be_stored_undoes_nothing_that_another_node_ended_since() {
    let (stores, [a, b]) = two().await;
    let id = a.release("canaryStep: {weight: 20, interval: 10m}").await;
    b.until(id, |_| true).await;
    stores[0].fail(&[Fault::Full]);
    assert!(a.say(id, Word::Abort).await.unwrap().unsaved);
    b.say(id, Word::Promote).await.unwrap();
    for node in [&a, &b] {
        node.until(id, |rollout| rollout.outcome().is_some_and(|outcome| outcome.as_str() == "promoted")).await;
        node.becomes("2: 100").await;
    }
    a.shift("{1: 50, 2: 50}").await.expect("nothing is left to store");
    assert_eq!(
        (b.over(id).await.0, a.control.rollouts().borrow().all[&id].outcome().unwrap().as_str()),
        ("promoted", "promoted")
    );
}

#[tokio::test]
async fn a_rollout_that_cannot_go_on_any_more_goes_back_while_it_is_watched() {
    let (stores, [a, b]) = two().await;
    let id = a.release("canaryStep: {weight: 20, interval: 10m}").await;
    b.until(id, |_| true).await;
    let revision = stores[1].load("nothing").await.unwrap().revision;
    let broken = Change { name: "config/layer/shop/prod".to_owned(), text: Some("{of: another release".into()) };
    stores[1].put_if(revision, None, vec![broken], "{}".into()).await.unwrap();
    let (outcome, why) = a.over(id).await;
    assert_eq!((outcome, a.split()), ("aborted", "1: 100".to_owned()));
    assert!(why.contains("layer/shop/prod cannot be read"), "{why}");
    b.becomes("1: 100").await;
}

#[tokio::test]
async fn a_gateway_that_takes_over_drops_layers_that_nobody_conducts() {
    let (stores, [a, b]) = two().await;
    let id = a.release("canaryStep: {weight: 20, interval: 10m}").await;
    b.until(id, |_| true).await;
    let image = stores[1].load("").await.unwrap();
    let layer = image.texts["config/layer/shop/prod"].text.replace(&id.to_string(), "r999");
    assert!(layer.contains("r999"), "{layer}");
    drop(a);
    let orphan = Change { name: "config/layer/shop/main".to_owned(), text: Some(layer.into()) };
    stores[1].put_if(image.revision, None, vec![orphan], "{}".into()).await.unwrap();
    let is_there =
        || b.live.load().table.config().functions["shop"].layers.keys().any(|alias| alias.as_str() == "main");
    for (wanted, never) in [(true, "it is not live"), (false, "the layer of a rollout that does not run stays")] {
        let becomes = async {
            while is_there() != wanted {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, becomes).await.is_ok(), "{never}");
    }
    assert_eq!(b.split(), "1: 80, 2: 20", "the one that runs goes on");
}

#[tokio::test]
async fn what_a_node_writes_after_its_term_is_refused_and_it_follows_from_then_on() {
    let (stores, [a, b]) = two().await;
    let id = a.release("{canaryStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}}").await;
    let arrived = async |store: &Failing, count: usize| {
        let mut counted = store.under_terms.subscribe();
        timeout(PATIENCE, counted.wait_for(|now| *now >= count)).await.unwrap().unwrap();
    };
    // The first one wants to write that the bake is over, and its disk holds it up until another one conducts.
    let (first, second) = (stores[0].disk.lock().await, stores[1].disk.lock().await);
    arrived(&stores[0], 1).await;
    stores[0].cut.store(true, Ordering::Relaxed);
    arrived(&stores[1], 1).await;
    let before = stores[1].load("nothing").await.unwrap().revision;
    drop(first);
    let mut fenced = stores[0].fenced.subscribe();
    timeout(PATIENCE, fenced.wait_for(|fenced| *fenced == 1)).await.unwrap().unwrap();
    assert_eq!(stores[1].load("nothing").await.unwrap().revision, before, "nothing was written");
    drop(second);
    assert_eq!((b.over(id).await.0, b.split()), ("promoted", "2: 100".to_owned()));
    assert_eq!((a.over(id).await.0, a.split()), ("promoted", "2: 100".to_owned()), "it follows");
    a.shift("1").await.unwrap();
    let next = a.release("{canaryStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}}").await;
    assert_eq!(a.over(next).await.0, "promoted", "what it begins is conducted by the other one");
    assert_eq!(*stores[0].under_terms.borrow(), 1, "it tried no more");
}

#[tokio::test]
async fn a_store_with_bounded_transactions_serves_as_any_other() {
    const DOMAINS: usize = 1_000;
    let [one, two] = bounded::in_memory();
    let (a, b) = (started("a", one).await, started("b", two).await);
    let domains: String = (0..DOMAINS).map(|n| format!("  {n}.example.com: 'shop:prod'\n")).collect();
    let done = a.file(&file("shop", "1", &format!("domains:\n{domains}"))).await.unwrap();
    assert_eq!(done.revision, 1, "it is one change, in however many transactions");
    let mut progress = b.live.progress();
    timeout(PATIENCE, progress.wait_for(|live| *live == 1)).await.unwrap().unwrap();
    assert_eq!(b.live.load().table.config().domains.len(), DOMAINS);
    let id = b.release("{canaryStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}}").await;
    drop(a);
    assert_eq!((b.over(id).await.0, b.split()), ("promoted", "2: 100".to_owned()));
    let verdict = b.control.verify().await.unwrap().verdict;
    assert!(matches!(verdict, Verdict::Whole { from: 1, .. }), "{verdict:?}");
}
