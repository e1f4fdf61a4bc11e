//! Rollouts whose gateway is killed in every state: it goes on from there, skips nothing, doubles nothing and sends no
//! request astray.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};

use crate::HOST;
use crate::kit::api::Api;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::load::Load;
use crate::kit::rollout::{becomes, ends, link, newest, shares, story, three, with};
use crate::kit::weir::Weir;

/// A plan whose bakes end only by somebody's word as long as a test takes.
const LONG: &str = "linearStep: {weight: 40, interval: 10m}";

async fn release(weir: &Weir, version: &str, plan: &str) {
    ends(weir, &["release", "shop:prod", version, "--plan", plan], 0).await;
}

/// Kills the gateway and starts it again: requests reach whom they reached, from the first on, and the rollout stands
/// where it stood, but for what is named in `changed`.
async fn killed(weir: Weir, split: [usize; 3], changed: &[&str]) -> Weir {
    shares(&weir, split).await;
    let before = newest(&weir).await;
    let weir = Weir::again(weir.killed().await).await;
    shares(&weir, split).await;
    let after = newest(&weir).await;
    for field in ["id", "state", "step", "weight", "held_by", "outcome", "why", "ended"] {
        assert!(changed.contains(&field) || after[field] == before[field], "{field}: {after}\n before: {before}");
    }
    if !changed.contains(&"deadline") && before["deadline"].is_string() {
        // The time that was lost does not count.
        assert!(later(&before, &after) < Duration::from_secs(60), "{after}\n before: {before}");
    }
    weir
}

/// The rollout ends as it should, and told exactly this on its way: no step is missing, none is there twice.
async fn promoted(weir: &Weir, told: &[&str]) {
    becomes(weir, "promoted").await;
    shares(weir, [0, 100, 0]).await;
    assert_eq!(story(weir).await, told);
    assert!(weir.told(&["verify"]).await.contains("whole"));
}

fn deadline(rollout: &Value) -> OffsetDateTime {
    let text = rollout["deadline"].as_str().unwrap_or_else(|| panic!("no deadline: {rollout}"));
    moment(text)
}

fn moment(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).expect("moments are shown as RFC 3339")
}

/// How much later the second deadline is. Deadlines are shown in whole milliseconds.
fn later(before: &Value, after: &Value) -> Duration {
    (deadline(after) - deadline(before)).try_into().unwrap_or_else(|_| panic!("earlier: {before}\n{after}"))
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// Where the answer to the `nth` question belongs, as soon as it is asked.
async fn question(hook: &Endpoint, nth: usize, event: &str) -> String {
    let asked = eventually("the hook is asked", async || hook.seen().into_iter().nth(nth - 1)).await;
    let asked: Value = serde_json::from_slice(&asked.body.bytes).expect("a question is JSON");
    assert_eq!(asked["event"], event);
    let path = asked["callback"]["url"].as_str().and_then(|url| Some(url[url.find("/v1/")?..].to_owned()));
    path.unwrap_or_else(|| panic!("no callback: {asked}"))
}

/// The status of an answer by callback.
async fn approve(weir: &Weir, question: &str) -> u16 {
    Api::with(weir, String::new()).await.call("POST", question, "{decision: approve}").await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_was_asked_is_asked_again_and_only_that_answer_counts() {
    // The hook, its questions in a whole rollout, how many were answered before, and whom requests reach at the next one.
    for (point, event, questions, answered, split) in [
        ("before", "BeforeAllowTraffic", 1, 0, [100, 0, 0]),
        ("step", "BeforeStep", 3, 0, [100, 0, 0]),
        ("step", "BeforeStep", 3, 1, [60, 40, 0]),
        ("after", "AfterAllowTraffic", 1, 0, [0, 100, 0]),
    ] {
        let hook = Endpoint::start("hook").await;
        let (weir, _endpoints) = three().await;
        let asks = format!("hooks: {{{point}: [{{http: 'http://{}/', callback: true}}]}}", hook.address);
        release(
            &weir,
            "2",
            &format!("{{linearStep: {{weight: 40, interval: 1s}}, guard: {{min_requests: 0}}, {asks}}}"),
        )
        .await;
        for nth in 1..=answered {
            assert_eq!(approve(&weir, &question(&hook, nth, event).await).await, 204);
        }
        let lost = question(&hook, answered + 1, event).await;
        becomes(&weir, "asking a hook").await;
        // The new question has its own time.
        let weir = killed(weir, split, &["deadline"]).await;
        let again = question(&hook, answered + 2, event).await;
        assert_eq!(approve(&weir, &lost).await, 404, "{point}: what the lost one answers no longer counts");
        shares(&weir, split).await;
        assert_eq!(approve(&weir, &again).await, 204);
        for nth in answered + 3..=questions + 1 {
            assert_eq!(approve(&weir, &question(&hook, nth, event).await).await, 204);
        }
        promoted(&weir, &["begun", "step 1 of 3", "step 2 of 3", "step 3 of 3", "promoted"]).await;
        assert_eq!(hook.seen().len(), questions + 1, "{point}: one question more than without a kill");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bake_goes_on_at_every_step() {
    let (weir, _endpoints) = three().await;
    release(&weir, "2", LONG).await;
    let weir = killed(weir, [60, 40, 0], &[]).await;
    ends(&weir, &["advance", "shop:prod"], 0).await;
    let weir = killed(killed(weir, [20, 80, 0], &[]).await, [20, 80, 0], &[]).await;
    ends(&weir, &["advance", "shop:prod"], 0).await;
    promoted(&weir, &["begun", "step 1 of 3", "advanced", "step 2 of 3", "advanced", "step 3 of 3", "promoted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_bake_is_baked_and_not_all_of_it_again() {
    const BAKE: Duration = Duration::from_secs(6);
    let (weir, _endpoints) = three().await;
    release(&weir, "2", "{canaryStep: {weight: 20, interval: 6s}, guard: {min_requests: 0}, on_restart: resume}").await;
    let half = async || (newest(&weir).await["left_seconds"].as_f64()? < 3.0).then_some(());
    eventually("half of the bake is over", half).await;
    let before = newest(&weir).await;
    let folder = weir.killed().await;
    let restarted = Instant::now();
    let weir = Weir::again(folder).await;
    let after = newest(&weir).await;
    assert!(after["deadline"] == before["deadline"] || after["over"] == true, "{after}\n{before}");
    let end = becomes(&weir, "promoted").await;
    assert!(restarted.elapsed() < BAKE, "it was baked anew");
    let ended = moment(end["ended"].as_str().unwrap());
    assert!(ended >= deadline(&before), "it was promoted before its time: {before}\n{end}");
    promoted(&weir, &["begun", "step 1 of 2", "step 2 of 2", "promoted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bake_that_extends_does_not_count_the_time_without_a_gateway() {
    let (weir, _endpoints) = three().await;
    let began = Instant::now();
    release(&weir, "2", &format!("{{{LONG}, on_restart: extend}}")).await;
    let before = newest(&weir).await;
    let folder = weir.killed().await;
    let dead = Instant::now();
    sleep(Duration::from_millis(1500)).await;
    let away = dead.elapsed();
    let weir = Weir::again(folder).await;
    shares(&weir, [60, 40, 0]).await;
    let moved = async || Some(newest(&weir).await).filter(|rollout| rollout["deadline"] != before["deadline"]);
    let after = eventually("the deadline moves", moved).await;
    let later = later(&before, &after);
    // Nothing was stored since the step began, so the time from there to the kill is lost as well.
    assert!(later + MILLISECOND >= away && later <= began.elapsed(), "{later:?} after {away:?}");
    let weir = killed(weir, [60, 40, 0], &["deadline"]).await;
    for _ in 0..2 {
        ends(&weir, &["advance", "shop:prod"], 0).await;
    }
    promoted(&weir, &["begun", "step 1 of 3", "advanced", "step 2 of 3", "advanced", "step 3 of 3", "promoted"]).await;
}

/// Held by somebody since some time after `since`: stays so through a kill. Resumed, the bake has what it had before.
async fn held(weir: Weir, by: &str, since: Instant, before: &Value) -> Weir {
    let is_held = async || newest(&weir).await["held_by"].as_str()?.starts_with(by).then_some(());
    eventually("it is held", is_held).await;
    let seen = Instant::now();
    assert!(ends(&weir, &["advance", "shop:prod"], 5).await.contains("resume it first"));
    let weir = killed(weir, [60, 40, 0], &[]).await;
    let at_least = seen.elapsed();
    ends(&weir, &["resume", "shop:prod"], 0).await;
    let later = later(before, &newest(&weir).await);
    assert!(later + MILLISECOND >= at_least && later <= since.elapsed() + MILLISECOND, "{later:?}, not {at_least:?}");
    weir
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_outlives_a_kill_and_the_rest_of_the_bake_outlives_the_pause() {
    let (weir, _endpoints) = three().await;
    release(&weir, "2", LONG).await;
    let (before, since) = (newest(&weir).await, Instant::now());
    ends(&weir, &["pause", "shop:prod"], 0).await;
    let weir = held(weir, "token:admin", since, &before).await;
    let weir = killed(weir, [60, 40, 0], &[]).await;
    ends(&weir, &["promote", "shop:prod"], 0).await;
    promoted(&weir, &["begun", "step 1 of 3", "held", "resumed", "promoted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_holds_on_restart_waits_for_somebody() {
    let (weir, _endpoints) = three().await;
    // What was lost counts from the last transition on, the beginning of the step.
    let since = Instant::now();
    release(&weir, "2", &format!("{{{LONG}, on_restart: hold}}")).await;
    let before = newest(&weir).await;
    let weir = killed(weir, [60, 40, 0], &["held_by", "deadline"]).await;
    let weir = held(weir, "a restart of the gateway", since, &before).await;
    ends(&weir, &["advance", "shop:prod"], 0).await;
    ends(&weir, &["promote", "shop:prod"], 0).await;
    let told = ["begun", "step 1 of 3", "held", "resumed", "advanced", "step 2 of 3", "promoted"];
    promoted(&weir, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_that_wait_for_an_answer_wait_on() {
    let (weir, _endpoints) = three().await;
    let gate = "error_rate: {max: 5%, min_requests: 60}";
    release(
        &weir,
        "2",
        &format!("{{canaryPlans: [{{weight: 50, interval: 1s}}], guard: {{min_requests: 0}}, gates: [{{{gate}}}]}}"),
    )
    .await;
    becomes(&weir, "waiting for gates").await;
    let weir = killed(weir, [50, 50, 0], &[]).await;
    let load = Load::start(weir.http, HOST, 1, 200_000);
    becomes(&weir, "promoted").await;
    load.stop().await;
    promoted(&weir, &["begun", "step 1 of 2", "waiting", "step 2 of 2", "promoted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bake_by_requests_counts_those_since_the_restart() {
    let (weir, _endpoints) = three().await;
    release(&weir, "2", "steps: [{weight: 50, requests: 60}]").await;
    let weir = killed(weir, [50, 50, 0], &[]).await;
    let load = Load::start(weir.http, HOST, 1, 200_000);
    becomes(&weir, "promoted").await;
    load.stop().await;
    promoted(&weir, &["begun", "step 1 of 2", "step 2 of 2", "promoted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_asked_for_again_with_links_that_work_and_numbers() {
    let notified = Endpoint::start("notified").await;
    let notifier = format!("notifiers: {{oncall: {{webhook: {{url: 'http://{}/told'}}}}}}\n", notified.address);
    let (weir, _endpoints) = with(&notifier).await;
    let plan = "{canaryStep: {weight: 20, interval: 4s}, guard: {min_requests: 0}, gates: [{approval: {timeout: 1h}}], notify: oncall}";
    release(&weir, "2", plan).await;
    shares(&weir, [80, 20, 0]).await;
    becomes(&weir, "waiting for approval").await;
    let lost = link(&notified, "approve", 1).await;
    let weir = killed(weir, [80, 20, 0], &[]).await;
    let link = link(&notified, "approve", 2).await;
    let mut nobody = Api::with(&weir, String::new()).await;
    let spent = nobody.call("POST", &lost, "").await;
    assert!(spent.status == 404 && spent.text().contains("restarted"), "{}", spent.text());
    assert!(spent.text().contains("`weir approve FUNCTION:ALIAS`"), "{}", spent.text());
    assert_eq!(newest(&weir).await["state"], "waiting for approval");
    // What was counted before is told again.
    let page = nobody.call("GET", &link, "").await.text();
    let counted = page.split("<td>requests</td><td>").nth(1).and_then(|rest| rest.split('<').next());
    assert!(counted.and_then(|counted| counted.parse::<u32>().ok()).is_some_and(|counted| counted > 0), "{page}");
    let said = nobody.call("POST", &link, "").await;
    assert!(said.status == 200 && said.text().contains("Approved"), "{} {}", said.status, said.text());
    promoted(&weir, &["begun", "step 1 of 2", "approval", "approval", "approved", "step 2 of 2", "promoted"]).await;
    assert_eq!(newest(&weir).await["approvals"][0]["by"], "link of oncall from 127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_outlives_a_kill_before_the_first_step_and_at_the_end_of_a_bake() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["freeze", "--for", "2h", "--reason", "the big sale"], 0).await;
    release(&weir, "2", "{canaryStep: {weight: 20, interval: 5s}, guard: {min_requests: 0}}").await;
    assert_eq!(newest(&weir).await["state"], "ready");
    let weir = killed(weir, [100, 0, 0], &[]).await;
    ends(&weir, &["unfreeze"], 0).await;
    becomes(&weir, "baking").await;
    ends(&weir, &["freeze", "--for", "2h", "--reason", "not yet"], 0).await;
    let is_over = async || (newest(&weir).await["left_seconds"] == 0.0).then_some(());
    eventually("the bake is over", is_over).await;
    let weir = killed(weir, [80, 20, 0], &[]).await;
    let waits = newest(&weir).await["waits_for"].to_string();
    assert!(waits.contains("freeze by token:admin"), "{waits}");
    ends(&weir, &["unfreeze"], 0).await;
    promoted(&weir, &["begun", "step 1 of 2", "step 2 of 2", "promoted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_closed_stays_closed() {
    let (weir, _endpoints) = three().await;
    let started = weir.ask("/v1/status").await.json()["node"]["started"].as_str().unwrap().to_owned();
    let today = moment(&started).weekday();
    // Three days ahead, whatever midnight does.
    let day = &today.nth_next(3).to_string()[..3];
    let second = format!("{{weight: 60, bake: 10m, gates: [{{window: ['{day} 10:00-12:00']}}]}}");
    release(&weir, "2", &format!("{{steps: [{{weight: 20, bake: 1s}}, {second}], guard: {{min_requests: 0}}}}")).await;
    becomes(&weir, "ready").await;
    let weir = killed(weir, [80, 20, 0], &[]).await;
    assert!(ends(&weir, &["advance", "shop:prod"], 5).await.contains("waits for its window"));
    ends(&weir, &["promote", "shop:prod"], 0).await;
    promoted(&weir, &["begun", "step 1 of 3", "waiting", "promoted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_stays_over() {
    let (weir, endpoints) = three().await;
    let untouched = async |weir: Weir, split| {
        let revision = weir.ask("/v1/status").await.revision();
        let weir = killed(weir, split, &[]).await;
        assert_eq!(weir.ask("/v1/status").await.revision(), revision, "nothing is written of what is over");
        weir
    };
    release(&weir, "2", "{canaryStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}}").await;
    becomes(&weir, "promoted").await;
    let weir = untouched(weir, [0, 100, 0]).await;
    release(&weir, "3", LONG).await;
    ends(&weir, &["abort", "shop:prod"], 0).await;
    let weir = untouched(weir, [0, 100, 0]).await;
    endpoints[2].on("/", Answer::Raw(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec()));
    release(&weir, "3", LONG).await;
    let load = Load::start(weir.http, HOST, 4, 200_000);
    becomes(&weir, "rolled back").await;
    load.stop().await;
    let weir = untouched(weir, [0, 100, 0]).await;
    release(&weir, "3", LONG).await;
    weir.told(&["shift", "shop:prod", "1=70", "2=30"]).await;
    assert_eq!(newest(&weir).await["state"], "superseded");
    untouched(weir, [70, 30, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_a_rollout_takes_every_step_once() {
    let mut random = SmallRng::seed_from_u64(7);
    let (mut weir, _endpoints) = three().await;
    release(&weir, "2", "{linearStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}, on_restart: resume}").await;
    let (mut kills, mut weight) = (0, 0.0);
    while newest(&weir).await["over"] == false {
        sleep(Duration::from_millis(random.random_range(0..900))).await;
        weir = Weir::again(weir.killed().await).await;
        kills += 1;
        assert!(kills < 50, "a step that is killed often enough never ends");
        let now = newest(&weir).await["weight"].as_f64().unwrap();
        assert!(now >= weight, "{now} % after {weight} %");
        weight = now;
    }
    assert!(kills > 2, "only {kills} kills");
    let steps = ["begun", "step 1 of 5", "step 2 of 5", "step 3 of 5", "step 4 of 5", "step 5 of 5", "promoted"];
    promoted(&weir, &steps).await;
}
