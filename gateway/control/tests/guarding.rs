//! Going back while the store is slow: live first, stored next.

use config::release::outcome::Class;
use config::release::rollout::{Ask, Event, Goal, Held, Phase, Point, Rollout, RolloutId, Word};
use tokio::sync::watch;
use tokio::time::timeout;

use super::durable::Failing;
use super::releases::{PATIENCE, ann, ask};
use super::*;
use crate::clock::Steady;
use crate::control::{Expected, Guard, RollBack, guardian};

const CANARY: &str = "canaryStep: {weight: 20, interval: 10m}";

/// A shop on a store whose disk can be held, with a rollout at 20 %.
async fn releasing(aside: Aside) -> (Arc<Failing>, Node, RolloutId) {
    let store = Arc::new(Failing::default());
    let node = Node::noting(Arc::clone(&store) as Arc<dyn Store>, Process::default().journal, aside).await;
    node.file(&file("shop", "1", "")).await.unwrap();
    let id = node.release(CANARY).await;
    (store, node, id)
}

impl Node {
    /// Until requests see this split.
    pub(super) async fn becomes(&self, split: &str) {
        let seen = async {
            while self.split() != split {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, seen).await.is_ok(), "it is {} and never {split}", self.split());
    }

    fn revision(&self) -> u64 {
        self.live.load().revision
    }
}

fn abort() -> Event {
    Event::Said { word: Word::Abort, speaker: ann(), step: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_is_live_before_the_store_has_it() {
    let (store, node, id) = releasing(Aside::default()).await;
    let (before, disk) = (node.revision(), store.disk.lock().await);
    let (done, ()) = tokio::join!(node.say(id, Word::Abort), async {
        node.becomes("1: 100").await;
        assert_eq!(node.revision(), before, "nothing is stored yet");
        drop(disk);
    });
    let done = done.unwrap();
    assert!(!done.unsaved && done.revision > before);
    assert_eq!((node.over(id).await.0, &*node.split()), ("aborted", "1: 100"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_fails_is_out_while_the_writer_waits_for_the_disk() {
    let (store, node, id) = releasing(Aside::default()).await;
    let (edit, disk) = (file("shop", "1", "domains: {a.example.com: 'shop:prod'}\n"), store.disk.lock().await);
    let (edited, ()) = tokio::join!(node.file(&edit), async {
        node.requests(1, Class::Success, 400);
        node.requests(2, Class::ServerError, 100);
        node.becomes("1: 100").await;
        drop(disk);
    });
    edited.unwrap();
    assert_eq!((node.over(id).await.0, &*node.split()), ("rolled back", "1: 100"));
    for part in ["detected", "live", "stored"] {
        let line = format!("weir_rollback_seconds_count{{part=\"{part}\"}} 1");
        let seen = async {
            while !node.metrics.render().contains(&line) {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, seen).await.is_ok(), "{line} is missing:\n{}", node.metrics.render());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_published_meanwhile_goes_live_without_the_candidate() {
    let (_, node, id) = releasing(Aside::default()).await;
    let shown = node.control.guardian.take_back(id, &abort()).await.expect("an abort takes it out");
    assert_eq!(node.split(), "1: 100");
    let done = node.file(&file("shop", "1", "domains: {a.example.com: 'shop:prod'}\n")).await.unwrap();
    assert!(node.live.load().table.config().domains.len() == 1 && node.revision() == done.revision);
    assert_eq!(node.split(), "1: 100", "the new table has the candidate, and what is live has not");
    assert_eq!(done.after.functions["shop"].layers.len(), 1, "nobody stored it");
    drop(shown);
    node.becomes("1: 80, 2: 20").await;
    node.say(id, Word::Abort).await.unwrap();
    assert_eq!(node.split(), "1: 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_hook_and_a_pause_lead_back_whatever_the_conductor_does() {
    let (store, node, id) = releasing(Aside::default()).await;
    let clock = Steady::start();
    let mut running = node.control.rollouts().borrow().clone();
    let mut rollout = Rollout::clone(&running.all[&id]);
    let (goal, until) = (Goal::Promote, clock.time() - Duration::from_secs(1));
    let asking = Phase::Asking { point: Point::After, goal, index: 0, run: 1, previous: None, until };
    let held = Held { by: "ann".to_owned(), since: until, until };
    for (phase, held) in [(asking, None), (Phase::Ready { goal, asked: true, until }, Some(held))] {
        (rollout.phase, rollout.held) = (phase, held);
        running.all.insert(id, Arc::new(rollout.clone()));
        let (_told, rollouts) = watch::channel(running.clone());
        // Nobody conducts beside it.
        let ground = Node::ground(Arc::clone(&store) as Arc<dyn Store>, &node.live, &node.metrics);
        let (guardian, mut noticed) = guardian::start(ground, rollouts, watch::Sender::default(), clock).unwrap();
        assert_eq!(node.split(), "1: 80, 2: 20");
        guardian.watch(true);
        let seen = timeout(PATIENCE, noticed.recv()).await.expect("in time").expect("it is there");
        assert_eq!((seen.id, seen.event), (id, Event::Tick));
        assert_eq!(node.split(), "1: 100", "nobody has stored it");
        drop(seen.taken.expect("the candidate is out"));
        node.becomes("1: 80, 2: 20").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_no_abort() {
    let (store, node, id) = releasing(Aside::default()).await;
    let disk = store.disk.lock().await;
    tokio::select! {
        _ = node.say(id, Word::Abort) => panic!("the store cannot have taken it"),
        () = node.becomes("1: 100") => {}
    }
    // Some other edit is published, and the candidate does not come back with it.
    drop(disk);
    assert_eq!(node.over(id).await.0, "aborted");
    assert_eq!(node.split(), "1: 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_of_an_alias_is_live_before_the_store_has_it() {
    let store = Arc::new(Failing::default());
    let node = Node::on(Arc::clone(&store) as Arc<dyn Store>).await;
    node.file(&file("shop", "1", "")).await.unwrap();
    node.shift("{1: 50, 2: 50}").await.unwrap();
    let disk = store.disk.lock().await;
    let (done, ()) = tokio::join!(node.roll_back(None), async {
        node.becomes("1: 100").await;
        drop(disk);
    });
    done.unwrap();
    assert_eq!(node.split(), "1: 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_never_live() {
    let (_, node, _) = releasing(Aside::default()).await;
    let mut progress = node.live.progress();
    progress.mark_unchanged();
    let guard = Guard { name: "alias/shop/prod".to_owned(), expected: Expected::Revision(999) };
    let (function, alias) = ("shop".parse().unwrap(), "prod".parse().unwrap());
    let what = RollBack::Alias { function, alias, to: None };
    let refused = node.control.roll_back(Author::of("token:ci"), what, Some(guard), false).await.unwrap_err();
    assert!(matches!(refused, Refused::Precondition { .. }), "{refused}");
    assert!(!progress.has_changed().unwrap(), "no table went live");
    assert_eq!(node.split(), "1: 80, 2: 20");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_before_the_store_has_it_does_not_serve_the_candidate_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aside");
    let (store, node, id) = releasing(Aside::open(&path).unwrap()).await;
    let disk = store.disk.lock().await;
    let noted = async |is_noted| {
        while Aside::open(&path).unwrap().earlier().contains(&id) != is_noted {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = node.say(id, Word::Abort) => panic!("the store cannot have taken it"),
        found = timeout(PATIENCE, noted(true)) => found.expect("it is noted beside the store"),
    }
    // What the store holds now is what a process that died here leaves behind.
    let left = Arc::new(Memory::default());
    left.restore(store.load("").await.unwrap(), Vec::new()).await.unwrap();
    let again = Node::noting(left, Process::default().journal, Aside::open(&path).unwrap()).await;
    assert_eq!((again.over(id).await.0, &*again.split()), ("aborted", "1: 100"));
    timeout(PATIENCE, noted(false)).await.expect("it is stored now");
    drop(disk);
    assert_eq!(node.over(id).await.0, "aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_guardian_sends_one_rollout_back_and_shows_for_as_long_as_the_process_runs() {
    let node = Node::with(&file("shop", "1", "")).await;
    let broken = Ask { plan_name: Some("panics".to_owned()), ..ask(CANARY) };
    let id = RolloutId(node.control.release(Author::of("token:ann"), broken, false).await.unwrap().revision);
    let (outcome, why) = node.over(id).await;
    assert_eq!((outcome, &*node.split()), ("aborted", "1: 100"));
    assert!(why.contains("it cannot be watched"), "{why}");
    let unusable = node.live.unusable();
    assert!(unusable["guardian"][0].reason.contains("as a test wants it"), "{unusable:?}");
    // It watches the next one.
    let next = node.release(CANARY).await;
    node.requests(1, Class::Success, 1_000);
    node.requests(2, Class::ServerError, 50);
    assert_eq!(node.over(next).await.0, "rolled back");
}
