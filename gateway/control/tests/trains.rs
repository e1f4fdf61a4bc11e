//! Trains whose functions another gateway deletes, and rollouts that another one ended while the store could not be followed.

use config::release::rollout::{Ask, Asked, RolloutId, Word};
use config::value::name::FunctionName;
use tokio::time::timeout;

use super::durable::{Failing, Fault};
use super::fleet::named;
use super::releases::{PATIENCE, ask};
use super::*;
use crate::store::Change;

const BOTH: &str = "\
functions:
  cart: {versions: {1: 'http://127.0.0.1:1', 2: 'http://127.0.0.1:2'}, aliases: {prod: 1}}
  shop: {versions: {1: 'http://127.0.0.1:1', 2: 'http://127.0.0.1:2'}, aliases: {prod: 1}}
";

/// Two nodes on one store, of which the first conducts a train of both functions by this plan.
async fn train(plan: &str) -> ([Arc<Failing>; 2], [Node; 2], RolloutId) {
    let one = Arc::new(Failing::default());
    let two = Arc::new(one.of_another_node());
    let a = named("a", &one).await;
    a.file(BOTH).await.unwrap();
    let b = named("b", &two).await;
    let ask = ask(plan);
    let cart = Asked { function: "cart".parse().unwrap(), ..ask.members[0].clone() };
    let ask = Ask { members: vec![cart, ask.members[0].clone()], ..ask };
    let begun = a.control.release(Author::of("token:ann"), ask, false).await.unwrap();
    let id = RolloutId(begun.revision);
    b.until(id, |rollout| rollout.step() == Some(0)).await;
    b.becomes("1: 60, 2: 40").await;
    ([one, two], [a, b], id)
}

fn cart() -> FunctionName {
    "cart".parse().unwrap()
}

#[tokio::test]
async fn a_train_whose_function_is_deleted_ends_and_the_others_go_back() {
    let (_, [a, b], id) = train("linearStep: {weight: 40, interval: 10m}").await;
    let gone = Wish { author: Author::of("token:ann"), edits: vec![Edit::DeleteFunction(cart())], guard: None };
    let done = b.control.edit(gone).await.unwrap();
    assert_eq!(done.ended, [id], "it says so");
    for node in [&a, &b] {
        assert_eq!((node.over(id).await.0, node.split()), ("superseded", "1: 100".to_owned()));
    }
    a.release("canaryStep: {weight: 20, interval: 10m}").await;
    b.becomes("1: 80, 2: 20").await;
}

/// Takes the texts of a function out of the store, as somebody does who knows no rollouts.
async fn take_out(store: &Failing) {
    loop {
        let image = store.load("config/").await.unwrap();
        let of_cart = image.texts.keys().filter(|name| name.contains("/cart"));
        let changes: Vec<Change> = of_cart.map(|name| Change { name: name.clone(), text: None }).collect();
        assert!(changes.len() > 3, "{changes:?}");
        // The rollout may have written meanwhile.
        if store.put_if(image.revision, None, changes, "{}".into()).await.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn a_train_goes_on_without_a_function_whose_texts_are_gone() {
    let (stores, [a, b], id) = train("{linearStep: {weight: 40, interval: 1s}, guard: false}").await;
    take_out(&stores[1]).await;
    for node in [&a, &b] {
        assert_eq!((node.over(id).await.0, node.split()), ("promoted", "2: 100".to_owned()));
        assert!(!node.live.load().table.config().functions.contains_key(&cart()), "nobody made it again");
    }
}

#[tokio::test]
async fn a_train_goes_back_without_a_function_whose_texts_are_gone() {
    let (stores, [a, b], id) = train("linearStep: {weight: 40, interval: 10m}").await;
    take_out(&stores[0]).await;
    b.say(id, Word::Abort).await.unwrap();
    for node in [&a, &b] {
        assert_eq!((node.over(id).await.0, node.split()), ("aborted", "1: 100".to_owned()));
    }
}

#[tokio::test]
async fn what_another_node_ended_is_left_when_the_store_is_read_anew() {
    let (stores, [a, b], id) = train("linearStep: {weight: 40, interval: 10m}").await;
    stores[0].fail(&[Fault::Lost, Fault::Full]);
    assert!(a.say(id, Word::Abort).await.unwrap().unsaved);
    a.becomes("1: 100").await;
    // The next try waits for the disk while another node ends the rollout, and nobody knows what comes of it.
    let (disk, mut puts, loads) =
        (stores[0].disk.lock().await, stores[0].puts.subscribe(), stores[0].loads.load(Ordering::Relaxed));
    let tried = *puts.borrow_and_update();
    timeout(PATIENCE, puts.wait_for(|puts| *puts > tried)).await.expect("it is tried again").unwrap();
    b.say(id, Word::Promote).await.unwrap();
    drop(disk);
    for node in [&a, &b] {
        node.until(id, |rollout| rollout.outcome().is_some_and(|ended| ended.as_str() == "promoted")).await;
        node.becomes("2: 100").await;
    }
    assert!(stores[0].loads.load(Ordering::Relaxed) > loads, "it was read anew");
    a.shift("{1: 50, 2: 50}").await.expect("nothing is left to store");
    b.becomes("1: 50, 2: 50").await;
}
