//! Rollouts as a user sees them: begun by command, read as JSON, and felt in whom requests reach.

use serde_json::Value;

use super::client::Client;
use super::endpoint::Endpoint;
use super::eventually;
use super::weir::Weir;
use crate::{HOST, shop};

/// A gateway before endpoints `v1` to `v3`, with everything at version 1.
pub(crate) async fn three() -> (Weir, [Endpoint; 3]) {
    with("").await
}

/// The same with more in its file.
pub(crate) async fn with(more: &str) -> (Weir, [Endpoint; 3]) {
    let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await, Endpoint::start("v3").await];
    let [one, two, three] = &endpoints;
    (Weir::start(&format!("{}{more}", shop(&[one, two, three], "1"))).await, endpoints)
}

/// How many of 100 requests each version answered.
async fn hundred(weir: &Weir) -> [usize; 3] {
    let mut client = Client::connect(weir.http).await;
    let mut counts = [0; 3];
    for _ in 0..100 {
        match &*client.get(HOST, "/").await.text() {
            "v1" => counts[0] += 1,
            "v2" => counts[1] += 1,
            "v3" => counts[2] += 1,
            other => panic!("{other}"),
        }
    }
    counts
}

/// Of 100 requests each version answers so many, give or take what one window may be off.
pub(crate) async fn shares(weir: &Weir, expected: [usize; 3]) {
    let got = hundred(weir).await;
    let fits = |(got, expected): (&usize, usize)| got.abs_diff(expected) <= usize::from(expected % 100 > 0);
    assert!(got.iter().zip(expected).all(fits), "{got:?}, not {expected:?}");
}

/// The newest rollout.
pub(crate) async fn newest(weir: &Weir) -> Value {
    weir.json(&["rollouts", "--limit", "1"]).await[0].clone()
}

/// Waits until the newest rollout is in this state.
pub(crate) async fn becomes(weir: &Weir, state: &str) -> Value {
    eventually(state, async || Some(newest(weir).await).filter(|rollout| rollout["state"] == state)).await
}

/// A command that ends with this exit code: what it prints, stderr last.
pub(crate) async fn ends(weir: &Weir, arguments: &[&str], expected: i32) -> String {
    let (code, stdout, stderr) = weir.cli(arguments).await;
    assert_eq!(code, Some(expected), "weir {}:\n{stdout}{stderr}", arguments.join(" "));
    stdout + &stderr
}

/// What the newest rollout told, oldest first: each step as `step 1 of 3`, everything else by its word.
pub(crate) async fn story(weir: &Weir) -> Vec<String> {
    let id = newest(weir).await["id"].clone();
    let entries = weir.json(&["history", "--limit", "1000"]).await;
    let entries = entries.as_array().expect("a list").iter().rev();
    let news = entries.flat_map(|entry| entry["news"].as_array().into_iter().flatten());
    let told = news.filter(|news| news["rollout"] == id).map(|news| {
        let text = |name: &str| news[name].as_str().expect("news are texts");
        match text("kind") {
            "step" => text("text").split_once(':').expect("its number, then its weight").0.to_owned(),
            kind => kind.to_owned(),
        }
    });
    told.collect()
}

/// The path of the link with this label in the `nth` notice that has links.
pub(crate) async fn link(notified: &Endpoint, label: &str, nth: usize) -> String {
    let find = async || {
        let notices =
            notified.seen().into_iter().filter_map(|seen| serde_json::from_slice::<Value>(&seen.body.bytes).ok());
        let mut asking = notices.filter(|notice| notice["links"].as_array().is_some_and(|links| !links.is_empty()));
        let notice = asking.nth(nth - 1)?;
        let links = notice["links"].as_array()?.clone();
        let link = links.into_iter().find(|link| link["label"] == label)?;
        let url = link["url"].as_str()?.to_owned();
        Some(url[url.find("/v1/")?..].to_owned())
    };
    eventually("a notice with links", find).await
}
