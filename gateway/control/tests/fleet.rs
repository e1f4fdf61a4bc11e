//! Two gateways on one store.

use config::release::rollout::Word;

use super::durable::{Failing, Fault};
use super::releases::PATIENCE;
use super::*;
use crate::control::Expected;
use crate::control::Guard;

/// Two nodes, each with its own way to one store, in which a shop is live at version 1.
async fn two() -> ([Arc<Failing>; 2], [Node; 2]) {
    let one = Arc::new(Failing::default());
    let two = Arc::new(one.of_another_node());
    let a = Node::on(Arc::clone(&one) as Arc<dyn Store>).await;
    a.file(&file("shop", "1", "")).await.unwrap();
    let b = Node::on(Arc::clone(&two) as Arc<dyn Store>).await;
    ([one, two], [a, b])
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
    assert!(matches!(a.verdict, crate::control::journal::Verdict::Whole { from: 1, to: 21 }), "{:?}", a.verdict);
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
    tokio::time::timeout(PATIENCE, rollouts.wait_for(|all| all.freeze.is_some())).await.unwrap().unwrap();
    b.say(id, Word::Abort).await.unwrap();
    assert_eq!((a.over(id).await.0, a.split()), ("aborted", "1: 100".to_owned()));
}
