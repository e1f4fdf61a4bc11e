//! Releases as the control plane runs them: on virtual traffic, with real hooks, through failing stores and restarts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use config::model::Shield;
use config::release::outcome::Class;
use config::release::rollout::{Ask, Asked, Event, Phase, Rollout, RolloutId, Speaker, Word};
use config::text::parse::parse_plan;
use config::value::name::VersionId;
use tokio::time::timeout;

use super::durable::{Fault, on_a_failing_store};
use super::*;
use crate::control::journal::Query;
use crate::outcomes::Ended;

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn ask(plan: &str) -> Ask {
    Ask {
        members: vec![Asked {
            function: "shop".parse().unwrap(),
            alias: "prod".parse().unwrap(),
            candidate: 2.try_into().unwrap(),
            base: None,
        }],
        plan: Arc::new(parse_plan(plan, &|_| None).unwrap()),
        plan_name: None,
        speaker: ann(),
        supersede: false,
        adopt: false,
    }
}

pub(super) fn ann() -> Speaker {
    Speaker { who: "token:ann".to_owned(), why: None }
}

impl Node {
    async fn shop() -> Self {
        Self::with(&file("shop", "1", "")).await
    }

    /// Begins a release; the number of its rollout.
    pub(super) async fn release(&self, plan: &str) -> RolloutId {
        let done = self.control.release(Author::of("token:ann"), ask(plan), false).await.unwrap();
        RolloutId(done.revision)
    }

    pub(super) async fn say(&self, id: RolloutId, word: Word) -> Outcome {
        self.control.tell(Author::of("token:ann"), id, Event::Said { word, speaker: ann(), step: None }).await
    }

    /// The rollout, once it is as wanted.
    pub(super) async fn until(&self, id: RolloutId, wanted: impl Fn(&Rollout) -> bool) -> Arc<Rollout> {
        let mut rollouts = self.control.rollouts();
        let found = timeout(PATIENCE, rollouts.wait_for(|all| all.all.get(&id).is_some_and(|one| wanted(one)))).await;
        match found {
            Ok(found) => Arc::clone(&found.unwrap().all[&id]),
            Err(_) => panic!("it never came to that: {:?}", self.control.rollouts().borrow().all.get(&id)),
        }
    }

    pub(super) async fn over(&self, id: RolloutId) -> (&'static str, String) {
        let rollout = self.until(id, Rollout::is_over).await;
        let Phase::Over { outcome, why, .. } = &rollout.phase else { unreachable!("it is over") };
        (outcome.as_str(), why.clone())
    }

    /// Requests that the split drew for a version, with what came of them.
    pub(super) fn requests(&self, version: u32, class: Class, count: u32) {
        let version = VersionId::number(version).unwrap();
        let cells = self.live.load().outcomes(&"shop".parse().unwrap(), &"prod".parse().unwrap(), version).unwrap();
        for _ in 0..count {
            let at = crate::clock::now();
            let ticket = cells.begin(0, None, at);
            cells.ended(0, &ticket, &Ended { class, latency: Some(Duration::from_millis(3)), at });
        }
    }

    async fn news(&self) -> Vec<String> {
        let query =
            Query { after: 0, before: u64::MAX, newest_first: false, limit: 100, name: None, who: None, since: None };
        let entries = self.control.journal(query).await.unwrap().entries;
        entries.into_iter().flat_map(|entry| entry.news).map(|news| news.kind).collect()
    }
}

#[tokio::test]
async fn a_release_takes_its_steps_and_leaves_one_version_that_is_stable() {
    let node = Node::shop().await;
    let id = node.release("{linearStep: {weight: 40, interval: 1s}, guard: {min_requests: 0}}").await;
    assert_eq!(node.split(), "1: 60, 2: 40");
    assert_eq!(node.over(id).await.0, "promoted");
    assert_eq!(node.split(), "2: 100");
    assert_eq!(node.alias("shop").1.model.stable.unwrap().to_string(), "2");
    assert_eq!(node.news().await, ["begun", "step", "step", "step", "promoted"]);
}

#[tokio::test]
async fn a_candidate_that_fails_goes_back_at_once_and_the_journal_says_why() {
    let node = Node::shop().await;
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    node.requests(1, Class::Success, 400);
    node.requests(2, Class::ServerError, 100);
    let (outcome, why) = node.over(id).await;
    assert_eq!(outcome, "rolled back");
    assert!(why.contains("worse"), "{why}");
    assert_eq!(node.split(), "1: 100");
    let query = Query { after: 0, before: u64::MAX, newest_first: true, limit: 1, name: None, who: None, since: None };
    let entry = node.control.journal(query).await.unwrap().entries.remove(0);
    assert_eq!((&*entry.who, &*entry.news[0].kind), (&*format!("rollout {id}"), "rolled back"));
    assert_eq!(entry.changes[0].name, "layer/shop/prod", "the layer goes in the same entry");
    assert_eq!(entry.changes.len(), 1, "the alias itself was never touched");
    let evidence = &entry.news[0].evidence["members"][0]["seen"]["candidate"];
    assert_eq!((&evidence["requests"], &evidence["failures"]), (&100.into(), &100.into()));
}

#[tokio::test]
async fn a_plan_that_is_not_guarded_only_alerts() {
    let node = Node::shop().await;
    let id = node.release("canaryWeight: 50").await;
    node.requests(1, Class::Success, 400);
    node.requests(2, Class::ServerError, 400);
    node.until(id, |rollout| rollout.alerted).await;
    assert_eq!(node.split(), "1: 50, 2: 50");
    assert_eq!(node.news().await.last().unwrap(), "alert");
    node.say(id, Word::Promote).await.unwrap();
    assert_eq!(node.split(), "2: 100");
}

#[tokio::test]
async fn an_abort_goes_live_while_the_store_fails_and_is_written_later() {
    let (store, node) = on_a_failing_store().await;
    node.file(&file("shop", "1", "")).await.unwrap();
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    store.fail(&[Fault::Full, Fault::Full]);
    let done = node.say(id, Word::Abort).await.unwrap();
    assert!(done.unsaved);
    assert_eq!((node.split(), node.over(id).await.0), ("1: 100".to_owned(), "aborted"));
    node.say(id, Word::Abort).await.expect("again: nothing happens");
    let mut rollouts = node.control.rollouts();
    rollouts.mark_unchanged();
    // A change is only taken once the abort is stored.
    timeout(PATIENCE, async { while node.shift("{1: 90, 2: 10}").await.is_err() {} }).await.unwrap();
    let again = Node::on(store as Arc<dyn Store>).await;
    assert_eq!(again.control.rollouts().borrow().all[&id].outcome().unwrap().as_str(), "aborted");
    assert_eq!(again.split(), "1: 90, 2: 10");
}

#[tokio::test]
async fn rollbacks_go_on_while_the_store_takes_nothing() {
    let (store, node) = on_a_failing_store().await;
    node.file(&file("shop", "1", "")).await.unwrap();
    node.shift("{1: 50, 2: 50}").await.unwrap();
    node.shift("1").await.unwrap();
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    store.fail(&[Fault::Full; 100]);
    assert!(node.say(id, Word::Abort).await.unwrap().unsaved);
    let already = node.roll_back(None).await.unwrap();
    assert!(already.unsaved && node.split() == "1: 100", "the abort was that rollback");
    let done = node.roll_back(None).await.unwrap();
    assert!(done.unsaved);
    assert_eq!(node.split(), "1: 50, 2: 50");
    assert_eq!(done.after.functions["shop"].aliases["prod"].split.to_string(), "1: 50, 2: 50");
    store.fail(&[]);
    timeout(PATIENCE, async { while node.shift("{1: 90, 2: 10}").await.is_err() {} }).await.unwrap();
    assert_eq!(node.split(), "1: 90, 2: 10");
}

#[tokio::test]
async fn a_line_that_ends_a_rollout_tells_the_split_too() {
    let node = Node::shop().await;
    node.release("canaryStep: {weight: 20, interval: 10m}").await;
    node.shift("{1: 70, 2: 30}").await.unwrap();
    let query = Query { after: 0, before: u64::MAX, newest_first: true, limit: 1, name: None, who: None, since: None };
    let what = node.control.journal(query).await.unwrap().entries.remove(0).what;
    assert_eq!(what.len(), 2, "{what:?}");
    assert!(what[0].contains("superseded") && what[1].ends_with("split: 1: 100 -> 1: 70, 2: 30"), "{what:?}");
}

#[tokio::test]
async fn whoever_sets_the_split_supersedes_the_rollout() {
    let node = Node::shop().await;
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    node.shift("{1: 70, 2: 30}").await.unwrap();
    let (outcome, why) = node.over(id).await;
    assert_eq!((outcome, &*why, &*node.split()), ("superseded", "token:ci set the split", "1: 70, 2: 30"));
    let refused = node.control.release(Author::of("token:ann"), ask("full"), false).await.unwrap_err();
    assert!(refused.to_string().contains("is split already: {1: 70, 2: 30}"), "{refused}");
    let adopted = Ask { adopt: true, ..ask("linearStep: {weight: 20, interval: 10m}") };
    node.control.release(Author::of("token:ann"), adopted, false).await.unwrap();
    assert_eq!(node.split(), "1: 60, 2: 40", "it goes on from 30 with the next weight of the plan");
}

#[tokio::test]
async fn a_rollout_goes_on_after_a_restart_with_what_is_left_of_its_bake() {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let node = Node::on(Arc::clone(&store)).await;
    node.file(&file("shop", "1", "")).await.unwrap();
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    let deadline = node.until(id, |_| true).await.deadline();
    drop(node);
    let again = Node::on(Arc::clone(&store)).await;
    let rollout = again.until(id, |_| true).await;
    assert_eq!((rollout.deadline(), &*again.split()), (deadline, "1: 80, 2: 20"));
    again.say(id, Word::Advance).await.unwrap();
    assert_eq!((again.over(id).await.0, &*again.split()), ("promoted", "2: 100"));
}

#[tokio::test]
async fn a_freeze_holds_everything_but_going_back() {
    let node = Node::shop().await;
    let id = node.release("{linearStep: {weight: 50, interval: 1s}, guard: {min_requests: 0}}").await;
    node.control.freeze(Author::of("token:ann"), Some(Duration::from_secs(3600))).await.unwrap();
    let refused = node.say(id, Word::Promote).await.unwrap_err();
    assert!(refused.to_string().contains("freeze"), "{refused}");
    node.requests(1, Class::Success, 400);
    node.requests(2, Class::Connect, 400);
    assert_eq!(node.over(id).await.0, "rolled back");
    let next = node.release("full").await;
    assert_eq!(node.split(), "1: 100", "it waits for the end of the freeze");
    node.control.freeze(Author::of("token:ann"), None).await.unwrap();
    assert_eq!((node.over(next).await.0, &*node.split()), ("promoted", "2: 100"));
}

/// Answers one request with this status; what it was asked.
fn answer_once(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        let mut buffer = [0; 65_536];
        while !text.contains("\r\n\r\n") || !text.trim_end().ends_with('}') {
            let read = stream.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}").unwrap();
        text
    });
    (url, asked)
}

#[tokio::test]
async fn a_hook_that_says_no_keeps_every_request_away_from_the_candidate() {
    let node = Node::shop().await;
    // The client of calls takes its cryptography from the process, as `main` sets it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (url, asked) = answer_once("409 Conflict");
    let id = node.release(&format!("{{canaryStep: {{weight: 20}}, hooks: {{before: ['{url}']}}}}")).await;
    let (outcome, why) = node.over(id).await;
    assert_eq!(outcome, "rolled back");
    assert!(why.contains("hook 1 of `BeforeAllowTraffic`") && why.contains("409"), "{why}");
    let asked = asked.join().unwrap();
    assert!(asked.contains("\"event\":\"BeforeAllowTraffic\"") && asked.contains("\"candidate\":\"2\""), "{asked}");
    assert_eq!(node.split(), "1: 100");
    let weights = node.control.journal(Query {
        after: 1,
        before: u64::MAX,
        newest_first: false,
        limit: 100,
        name: Some("alias/shop/prod".into()),
        who: None,
        since: None,
    });
    let entries = weights.await.unwrap().entries;
    assert!(
        entries.iter().all(|entry| entry
            .changes
            .iter()
            .all(|change| { change.after.as_ref().is_none_or(|after| !after.contains("2: ")) })),
        "the candidate never had a weight: {entries:?}"
    );
}

#[tokio::test]
async fn an_approval_waits_for_somebody() {
    let node = Node::shop().await;
    let id =
        node.release("{canaryStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}, gates: [approval]}").await;
    node.until(id, |rollout| matches!(rollout.phase, Phase::Deciding { .. })).await;
    assert_eq!(node.split(), "1: 80, 2: 20");
    node.say(id, Word::Approve).await.unwrap();
    assert_eq!((node.over(id).await.0, &*node.split()), ("promoted", "2: 100"));
}

#[tokio::test]
async fn metrics_show_where_a_rollout_stands_and_what_was_found() {
    let node = Node::shop().await;
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    let shown = async |line: &str| {
        let metrics = Arc::clone(&node.metrics);
        let seen = async {
            while !metrics.render().lines().any(|shown| shown == line) {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, seen).await.is_ok(), "{line} is missing:\n{}", node.metrics.render());
    };
    shown(r#"weir_rollout_step{function="shop",alias="prod"} 1"#).await;
    shown(r#"weir_rollout_weight{function="shop",alias="prod"} 2000"#).await;
    node.requests(1, Class::Success, 400);
    node.requests(2, Class::ServerError, 100);
    node.over(id).await;
    shown(r#"weir_verdicts_total{function="shop",alias="prod",verdict="worse"} 1"#).await;
    for part in ["detected", "stored", "live"] {
        shown(&format!("weir_rollback_seconds_count{{part=\"{part}\"}} 1")).await;
    }
    assert!(!node.metrics.render().contains("weir_rollout_step{"), "it is over");
}

#[tokio::test]
async fn a_rollback_that_somebody_asked_for_was_not_detected() {
    let node = Node::shop().await;
    let id =
        node.release("{canaryStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}, gates: [approval]}").await;
    node.until(id, |rollout| matches!(rollout.phase, Phase::Deciding { .. })).await;
    node.say(id, Word::Reject).await.unwrap();
    assert_eq!(node.over(id).await.0, "rolled back");
    let shown = async {
        while node.metrics.render().contains("weir_rollout_step{") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, shown).await.expect("the metrics hear that it is over");
    let metrics = node.metrics.render();
    assert!(metrics.contains("weir_rollback_seconds_count{part=\"detected\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn whoever_supersedes_a_rollout_gets_the_alias_as_it_was_but_for_the_split() {
    let node = Node::with(&file("shop", "{split: 1, shield: gateway}", "")).await;
    let shield = || node.alias("shop").1.model.shield;
    let own = Shield::Gateway;
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    assert_eq!(shield(), Shield::AnyServerError, "the plan's");
    let mut again = ask("{canaryStep: {weight: 30, interval: 10m}, guard: {shield: off}}");
    again.supersede = true;
    node.control.release(Author::of("token:ann"), again, false).await.unwrap();
    node.until(id, Rollout::is_over).await;
    assert_eq!((node.split(), shield()), ("1: 70, 2: 30".to_owned(), Shield::Off));
    node.shift("{1: 60, 2: 40}").await.unwrap();
    assert_eq!((node.split(), shield()), ("1: 60, 2: 40".to_owned(), own), "and not what either plan said");
}

#[tokio::test]
async fn whoever_takes_one_alias_from_a_train_sends_the_others_back_to_stable() {
    let node = Node::with(&file("shop", "1, beta: 1", "")).await;
    let mut train = ask("canaryStep: {weight: 20, interval: 10m}");
    train.members.push(Asked { alias: "beta".parse().unwrap(), ..train.members[0].clone() });
    let done = node.control.release(Author::of("token:ann"), train, false).await.unwrap();
    let beta = || {
        let snapshot = node.live.load_full();
        let alias = snapshot.table.config().functions["shop"].effective(&"beta".parse().unwrap()).unwrap();
        (alias.split.to_string(), alias.salt.clone())
    };
    assert_eq!(beta().0, "1: 80, 2: 20");
    node.shift("{1: 60, 2: 40}").await.unwrap();
    assert_eq!(node.over(RolloutId(done.revision)).await.0, "superseded");
    assert_eq!((node.split(), beta()), ("1: 60, 2: 40".to_owned(), ("1: 100".to_owned(), None)));
}

#[tokio::test]
async fn a_word_about_a_step_that_is_over_counts_for_no_other() {
    let node = Node::shop().await;
    let plan =
        "{canaryPlans: [{weight: 20, interval: 1h}, {weight: 60, interval: 1h}], gates: [{approval: {timeout: 1h}}]}";
    let id = node.release(plan).await;
    let tell = async |step| {
        let event = Event::Said { word: Word::Approve, speaker: ann(), step: Some(step) };
        node.control.tell(Author::of("link"), id, event).await
    };
    tell(0).await.unwrap();
    node.say(id, Word::Advance).await.unwrap();
    assert_eq!(node.split(), "1: 40, 2: 60");
    let Err(Refused::Rollout(why)) = tell(0).await else { panic!("it counted") };
    assert!(why.contains("step 1") && why.contains("is over"), "{why}");
    assert_eq!(node.control.rollouts().borrow().all[&id].approval(1), None);
    tell(1).await.unwrap();
}

#[tokio::test]
async fn an_alias_that_is_put_as_it_is_ends_its_rollout() {
    let node = Node::with(&file("shop", "1", "")).await;
    let id = node.release("canaryStep: {weight: 20, interval: 10m}").await;
    let same = node.live.load().table.config().functions["shop"].aliases["prod"].clone();
    let put = FunctionEdit::Alias("prod".parse().unwrap(), Some(same));
    let edits = vec![Edit::Function("shop".parse().unwrap(), put)];
    let done = node.control.edit(Wish { author: Author::of("token:ann"), edits, guard: None }).await.unwrap();
    assert_eq!((done.ended, node.split()), (vec![id], "1: 100".to_owned()));
}
