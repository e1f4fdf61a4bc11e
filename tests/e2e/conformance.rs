//! HTTP/1.1 on raw bytes: what can be read in two ways is refused and never forwarded, what is clear goes through as it is, and no
//! connection carries bytes of one exchange into another. RFC 9110 and 9112.
//!
//! Cases are data. Each has a host, a function and an endpoint of its own on one gateway, and ends with two requests more, one on
//! the same connection of the client and one on another, that a poisoned connection would answer wrongly. Every case runs
//! on each lane that the binary has; what is known to differ on one stands in a table, with the reason, and is held just as well.

mod answers;
mod case;
mod chunks;
mod controls;
mod cuts;
mod differences;
mod exchange;
mod fields;
mod garbage;
mod hosts;
mod lengths;
mod run;
mod targets;

use std::collections::BTreeSet;
use std::fmt::Write;

use tokio::task::JoinSet;

use crate::kit::lane::Lane;
use crate::kit::script::Scripted;
use crate::kit::weir::{Weir, folder};
use case::Case;

/// One worker, so that each case has one pool of connections to its endpoint.
const PROCESS: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 1
drain: {delay: 0s, deadline: 10s}
";

/// Every case.
fn cases() -> Vec<Case> {
    let families = [
        lengths::cases(),
        chunks::cases(),
        controls::cases(),
        fields::cases(),
        hosts::cases(),
        targets::cases(),
        exchange::cases(),
        answers::cases(),
        garbage::cases(),
    ];
    families.concat()
}

#[test]
fn cases_are_many_and_distinct() {
    let cases = cases();
    assert!(cases.len() >= 350, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name stands twice");
    let mut bytes = BTreeSet::new();
    let again = cases.iter().filter(|case| !bytes.insert(format!("{:?} {:?}", case.client, case.endpoint)));
    let again: Vec<_> = again.map(|case| case.name.as_str()).collect();
    assert!(again.is_empty(), "stand twice: {again:?}");
    for difference in differences::of_pingora() {
        assert!(names.contains(difference.name), "no case has the name {:?}", difference.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_holds_on_every_lane() {
    for lane in Lane::all().await {
        let failures = on_lane(lane, cases()).await;
        assert!(failures.is_empty(), "{} cases fail on the lane {lane:?}:\n{}", failures.len(), failures.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_are_cut_at_every_byte() {
    let cases = cuts::cases();
    assert!(cases.len() > 1000, "{}", cases.len());
    for lane in Lane::all().await {
        let mut failures = Vec::new();
        for cases in cases.chunks(800) {
            failures.extend(on_lane(lane, cases.to_vec()).await);
        }
        assert!(failures.is_empty(), "{} cases fail on the lane {lane:?}:\n{}", failures.len(), failures.join("\n"));
    }
}

/// Plays all cases at once; what failed, by name.
async fn on_lane(lane: Lane, mut cases: Vec<Case>) -> Vec<String> {
    if lane == Lane::Pingora {
        differences::apply(&mut cases);
    }
    let mut live = String::from("functions:\n");
    let mut endpoints = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let endpoint = Scripted::start(case.endpoint.clone()).await;
        let version = format!("{{endpoints: ['{}'], retries: {{attempts: 0}}}}", endpoint.address);
        let _ = writeln!(live, "  c{number}: {{versions: {{1: {version}}}, aliases: {{prod: 1}}}}");
        endpoints.push(endpoint);
    }
    live.push_str("domains:\n");
    for number in 0..cases.len() {
        let _ = writeln!(live, "  {}: 'c{number}:prod'", host(number));
    }
    let process = format!("{PROCESS}{}", lane.setting().await).leak();
    let weir = Weir::start_in(folder(), process, &live).await;
    let gateway = weir.http;
    let mut playing = JoinSet::new();
    for (number, (case, endpoint)) in cases.into_iter().zip(endpoints).enumerate() {
        playing.spawn(async move { run::play(&case, &host(number), gateway, &endpoint).await });
    }
    let mut failures: Vec<String> = playing.join_all().await.into_iter().filter_map(Result::err).collect();
    failures.sort();
    failures
}

fn host(number: usize) -> String {
    format!("c{number}.example.com")
}
