//! Requests of the past, explained from their lines in the access log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::Endpoint;
use crate::kit::eventually;
use crate::kit::weir::Weir;

/// Three versions; requests by slot, by routing key, and by a rule.
fn live(endpoints: &[Endpoint; 3]) -> String {
    let [one, two, three] = endpoints.each_ref().map(|endpoint| endpoint.address);
    format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{one}', 2: 'http://{two}', 3: 'http://{three}'}}\n    aliases:\n      \
         prod: {{split: {{1: 50, 2: 50}}, key: [{{header: x-user}}], rules: [{{when: {{header: {{x-beta: present}}}}, version: 3}}]}}\n\
         domains:\n  {HOST}: {{routes: [{{path: /*, to: 'shop:prod'}}]}}\n"
    )
}

async fn gateway() -> (Weir, [Endpoint; 3]) {
    let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await, Endpoint::start("v3").await];
    (Weir::start(&live(&endpoints)).await, endpoints)
}

/// The lines of requests, as many as there are.
async fn lines(weir: &Weir, count: usize) -> Vec<Value> {
    let all = async || Some(weir.access_log()).filter(|lines| lines.len() >= count);
    eventually("every request has its line", all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_at_changing_weights_is_told_again_from_its_line() {
    let (weir, _endpoints) = gateway().await;
    let mut client = Client::connect(weir.http).await;
    let splits = ["1=50 2=50", "1=90 2=10", "1=50 2=30 3=20", "1=10 2=60 3=30", "1=100"];
    let mut versions = Vec::new();
    for (round, split) in splits.iter().enumerate() {
        let words: Vec<&str> = ["shift", "shop:prod"].into_iter().chain(split.split(' ')).collect();
        weir.told(&words).await;
        for number in 0..11 {
            let fields = match number % 4 {
                0 => format!("x-user: user-{round}-{number}\r\n"),
                1 if number > 4 => "x-beta: 1\r\n".to_owned(),
                _ => String::new(),
            };
            versions.push(client.get_with(HOST, "/a?b=c", &fields).await.text());
        }
    }
    let lines = lines(&weir, 55).await;
    // What comes later changes nothing of it.
    weir.told(&["shift", "shop:prod", "2=100"]).await;
    let mut owed = 0;
    for (line, version) in lines.iter().zip(&versions) {
        assert_eq!(format!("v{}", line["version"].as_str().expect("a version")), *version);
        owed += usize::from(line["owed"].is_string());
        let told = weir.told(&["explain", "--log-line", &line.to_string()]).await;
        let expected = format!(
            "as logged   version {} by revision {}\n",
            line["version"].as_str().expect("a version"),
            line["revision"]
        );
        assert!(told.ends_with(&expected), "{line}\n{told}");
    }
    let reasons = ["slot", "bucket", "rule", "only"];
    assert!(reasons.iter().all(|reason| lines.iter().any(|line| line["reason"] == *reason)), "{lines:?}");
    assert!(owed > 0, "no slot was drawn after a change of weights");

    // A line that lies is found out, and so is a revision that is not there.
    let slot = lines.iter().find(|line| line["reason"] == "slot").expect("there is one").clone();
    let mut lie = slot.clone();
    lie["version"] = json!("3");
    let (code, _, stderr) = weir.cli(&["explain", "--log-line", &lie.to_string()]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("the line says version 3, and revision"), "{stderr}");
    lie["revision"] = json!(4711);
    let (code, _, stderr) = weir.cli(&["explain", "--log-line", &lie.to_string()]).await;
    assert!(code != Some(0) && stderr.contains("4711"), "{code:?} {stderr}");

    // By its id, from the file.
    let log = weir.folder.path().join("access.log");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&log, text).expect("the test's folder can be written");
    let id = slot["request_id"].as_str().expect("an id");
    let told = weir.told(&["explain", "--request", id, "--log", "access.log"]).await;
    assert!(told.contains("as logged   version ") && told.contains("\nslot "), "{told}");
    let (code, _, stderr) = weir.cli(&["explain", "--request", "none", "--log", "access.log"]).await;
    assert!(code == Some(1) && stderr.contains("has no line of request `none`"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_of_the_past_is_asked_by_bucket_and_by_slot() {
    let (weir, _endpoints) = gateway().await;
    let before = weir.json(&["status"]).await["node"]["revision"].to_string();
    weir.told(&["shift", "shop:prod", "3=100"]).await;
    let ask = async |more: &[&str]| weir.told(&[&["explain", "--host", HOST], more].concat()).await;
    let bucket = ["--revision", &before, "--alias", "prod", "--bucket"];
    let told = ask(&[&bucket[..], &["0"]].concat()).await;
    assert!(told.contains("version     2\n"), "the higher version holds the lower buckets:\n{told}");
    let told = ask(&[&bucket[..], &["9999"]].concat()).await;
    assert!(told.contains("version     1\n"), "{told}");
    let told = ask(&["--revision", &before, "--slot", "0"]).await;
    assert!(told.contains("alias       prod (1: 50, 2: 50)\n") && told.contains("slot        0"), "{told}");
    let told = ask(&["--admin"]).await;
    assert!(told.contains("version     3\n"), "{told}");
    tokio::time::timeout(Duration::from_secs(20), weir.stopped()).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_rollout_that_is_over_are_told_again() {
    let (weir, _endpoints) = gateway().await;
    weir.told(&["shift", "shop:prod", "1"]).await;
    weir.told(&["release", "shop:prod", "2", "--plan", "linearStep: {weight: 40, interval: 10m}"]).await;
    let mut client = Client::connect(weir.http).await;
    for step in 0..2 {
        for number in 0..12 {
            let fields = if number % 2 == 0 { format!("x-user: {step}-{number}\r\n") } else { String::new() };
            client.get_with(HOST, "/", &fields).await;
        }
        weir.told(&["advance", "shop:prod"]).await;
    }
    weir.told(&["rollback", "shop:prod"]).await;
    let lines = lines(&weir, 24).await;
    assert!(lines.iter().any(|line| line["version"] == "2"), "{lines:?}");
    for line in &lines {
        let told = weir.told(&["explain", "--log-line", &line.to_string()]).await;
        assert!(told.contains("as logged") && told.contains("runs on the alias, whose own split is 1: 100"), "{told}");
    }
}
