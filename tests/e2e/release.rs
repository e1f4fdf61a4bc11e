//! Rollouts end to end: begun, watched, told and ended by the commands of a user, and what requests see of it.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::HOST;
use crate::kit::api::Api;
use crate::kit::client::get;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::load::Load;
use crate::kit::rollout::{becomes, ends, link, newest, shares, three, with};
use crate::kit::weir::Weir;
use crate::kit::{eventually, within};

/// A plan that ends by itself, and not before somebody looked.
const SHORT: &str = "{canaryStep: {weight: 20, interval: 1s}, guard: {min_requests: 0}}";
/// A plan that stays where it is.
const HELD: &str = "canaryWeight: 10";

/// Of the newest rollout: by it, one that is over before the command is there can be watched too.
async fn number(weir: &Weir) -> String {
    newest(weir).await["id"].as_str().expect("a rollout has its number").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_step_is_watched_to_its_promotion_and_the_next_release_starts_from_there() {
    let (weir, _endpoints) = three().await;
    let load = Load::start(weir.http, HOST, 2, 20_000);
    let told =
        ends(&weir, &["release", "shop:prod", "2", "--plan", SHORT, "--reason", "it is better", "--wait"], 0).await;
    let failed = load.stop().await.into_iter().filter(|exchange| !matches!(exchange.outcome, Ok((200, _)))).count();
    assert_eq!(failed, 0, "no request notices");
    for part in
        ["begun: begun by token:admin", "step: step 1 of 2: the candidate gets 20 %", "shop:prod 1 -> 2: promoted"]
    {
        assert!(told.contains(part), "{part} is missing:\n{told}");
    }
    shares(&weir, [0, 100, 0]).await;
    assert_eq!(newest(&weir).await["reason"], "it is better");
    assert_eq!(
        weir.json(&["alias", "get", "shop:prod"]).await["split"],
        json!({ "2": 100 }),
        "nothing else is left in it"
    );

    let told = ends(&weir, &["release", "shop:prod", "3", "--plan", HELD, "--wait"], 0).await;
    assert!(told.contains("shop:prod 2 -> 3: holds, step 1 of 1, 10 %"), "{told}");
    shares(&weir, [0, 90, 10]).await;
    let told = ends(&weir, &["promote", "shop:prod"], 0).await;
    assert!(told.contains("shop:prod 2 -> 3: promoted: promoted by token:admin"), "{told}");
    shares(&weir, [0, 0, 100]).await;
    let (code, told, _) = weir.cli(&["watch", "shop:prod"]).await;
    assert!(code == Some(0) && told.contains("promoted by token:admin"), "what is over can be read: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linear_plan_of_forty_has_three_steps() {
    let (weir, _endpoints) = three().await;
    let plan = "linearStep: {weight: 40, interval: 10m}";
    let begun = weir.json(&["release", "shop:prod", "2", "--plan", plan]).await;
    let weights: Vec<&Value> = begun["steps"].as_array().unwrap().iter().map(|step| &step["weight"]).collect();
    assert_eq!(json!(weights), json!([40.0, 80.0, 100.0]));
    for expected in [[60, 40, 0], [20, 80, 0]] {
        shares(&weir, expected).await;
        ends(&weir, &["advance", "shop:prod"], 0).await;
    }
    shares(&weir, [0, 100, 0]).await;
    assert_eq!(newest(&weir).await["outcome"], "promoted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_gives_stable_everything_and_says_when_there_is_nothing_to_abort() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", HELD], 0).await;
    let id = number(&weir).await;
    let watch = ["watch", &*id];
    let (watched, told) = tokio::join!(weir.cli(&watch), async {
        let status = weir.told(&["status"]).await;
        assert!(status.contains(&id) && status.contains("holds"), "the status knows of it:\n{status}");
        ends(&weir, &["abort", "shop:prod", "--reason", "too slow"], 0).await
    });
    assert!(told.contains("aborted: aborted by token:admin (too slow)"), "{told}");
    assert_eq!(watched.0, Some(1), "{watched:?}");
    shares(&weir, [100, 0, 0]).await;
    assert!(ends(&weir, &["abort", "shop:prod"], 0).await.contains("there is nothing to abort"));
    assert!(ends(&weir, &["abort", &id], 0).await.contains("aborted by token:admin"));
    assert!(ends(&weir, &["pause", &id], 5).await.contains("is over: aborted"));
    assert!(ends(&weir, &["pause", "shop:prod"], 5).await.contains("no rollout is running on shop:prod"));
    ends(&weir, &["abort", "r4711"], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_the_bake_until_somebody_resumes_it() {
    let (weir, _endpoints) = three().await;
    ends(
        &weir,
        &["release", "shop:prod", "2", "--plan", "{linearStep: {weight: 50, interval: 1s}, guard: {min_requests: 0}}"],
        0,
    )
    .await;
    let told = ends(&weir, &["pause", "shop:prod"], 0).await;
    assert!(told.contains("held by token:admin"), "{told}");
    let id = number(&weir).await;
    let watch = ["watch", &*id];
    let (watched, ()) = tokio::join!(weir.cli(&watch), async {
        // Longer than the bake.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        shares(&weir, [50, 50, 0]).await;
        ends(&weir, &["resume", "shop:prod"], 0).await;
    });
    assert_eq!(watched.0, Some(0), "{watched:?}");
    assert!(watched.1.contains("resumed by token:admin") && watched.1.contains("promoted"), "{watched:?}");
    assert!(ends(&weir, &["watch"], 1).await.contains("no rollout is running"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_approves_by_command_or_by_link_and_only_once() {
    let notified = Endpoint::start("notified").await;
    let (weir, _endpoints) =
        with(&format!("notifiers: {{oncall: {{webhook: {{url: 'http://{}/told'}}}}}}\n", notified.address)).await;
    let plan = "{canaryPlans: [{weight: 20, interval: 1s}, {weight: 60, interval: 1s}], guard: {min_requests: 0}, gates: [{approval: {timeout: 1h}}], notify: oncall}";
    let wait = ["release", "shop:prod", "2", "--plan", plan, "--wait"];
    let (waited, ()) = tokio::join!(weir.cli(&wait), async {
        becomes(&weir, "waiting for approval").await;
        let told = ends(&weir, &["approve", "shop:prod", "--reason", "looks good"], 0).await;
        assert!(told.contains("step 2 of 3"), "{told}");
        becomes(&weir, "waiting for approval").await;
        let link = link(&notified, "approve", 2).await;
        let page = get(weir.admin, &weir.admin.to_string(), &link).await;
        assert!(page.status == 200 && page.text().contains("<button>Approve</button>"), "{}", page.text());
        assert_eq!(newest(&weir).await["state"], "waiting for approval", "to look at a link says nothing");
        let mut nobody = Api::with(&weir, String::new()).await;
        let said = nobody.call("POST", &link, "").await;
        assert!(said.status == 200 && said.text().contains("Approved"), "{} {}", said.status, said.text());
        assert_eq!(nobody.call("POST", &link, "").await.status, 404, "a link is used up");
        assert_eq!(get(weir.admin, &weir.admin.to_string(), &link).await.status, 404);
    });
    assert_eq!(waited.0, Some(0), "{waited:?}");
    assert!(
        waited.1.contains("approved by token:admin (looks good)")
            && waited.1.contains("approved by link of oncall from 127.0.0.1"),
        "{waited:?}"
    );

    ends(&weir, &["release", "shop:prod", "3", "--plan", plan], 0).await;
    becomes(&weir, "waiting for approval").await;
    ends(&weir, &["reject", "shop:prod"], 0).await;
    assert_eq!(newest(&weir).await["outcome"], "rolled back");
    shares(&weir, [0, 100, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_answers_later_by_its_callback() {
    let hook = Endpoint::start("hook").await;
    let (weir, _endpoints) = three().await;
    let plan =
        format!("{{canaryWeight: 10, hooks: {{before: [{{http: 'http://{}/ask', callback: true}}]}}}}", hook.address);
    ends(&weir, &["release", "shop:prod", "2", "--plan", &plan], 0).await;
    assert_eq!(newest(&weir).await["state"], "asking a hook");
    let asked: Value = serde_json::from_slice(&hook.saw("/ask").await.body.bytes).unwrap();
    let url = asked["callback"]["url"].as_str().unwrap();
    let path = url[url.find("/v1/").unwrap()..].to_owned();
    shares(&weir, [100, 0, 0]).await;
    let mut nobody = Api::with(&weir, String::new()).await;
    let wrong = nobody.call("POST", &path, "{decision: maybe}").await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let said = nobody.call("POST", &path, "{decision: approve, output: {tested: 7}}").await;
    assert_eq!(said.status, 204, "{}", said.text());
    assert_eq!(nobody.call("POST", &path, "{decision: approve}").await.status, 404);
    becomes(&weir, "baking").await;
    shares(&weir, [90, 10, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_gets_everything_and_says_why() {
    let (weir, _endpoints) = three().await;
    let told = ends(&weir, &["release", "shop:next", "2", "--plan", SHORT], 0).await;
    assert!(told.contains("shop:next 2: promoted") && told.contains("no published version"), "{told}");
    assert_eq!(weir.json(&["alias", "get", "shop:next"]).await["split"], json!({ "2": 100 }));
    let told = weir.told(&["history", "shop:next"]).await;
    assert!(told.contains("the first release: there is no published version to share with"), "{told}");
    assert!(ends(&weir, &["release", "shop:next", "2", "--plan", SHORT], 5).await.contains("already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rollout_runs_on_an_alias_unless_it_is_superseded() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", HELD], 0).await;
    let first = number(&weir).await;
    let told = ends(&weir, &["release", "shop:prod", "3", "--plan", HELD], 5).await;
    assert!(told.contains(&format!("rollout {first} is running")) && told.contains("--supersede"), "{told}");
    ends(&weir, &["release", "shop:prod", "3", "--plan", HELD, "--supersede"], 0).await;
    shares(&weir, [90, 0, 10]).await;
    assert!(ends(&weir, &["watch", &first], 1).await.contains("superseded"));
    // The operator's word is live at once, by whichever command it is said.
    let id = number(&weir).await;
    let watch = ["watch", &*id];
    let (watched, ()) = tokio::join!(weir.cli(&watch), async {
        weir.told(&["shift", "shop:prod", "1=70", "2=30"]).await;
    });
    assert!(watched.0 == Some(1) && watched.1.contains("superseded: token:admin set the split"), "{watched:?}");
    shares(&weir, [70, 30, 0]).await;

    let told = ends(&weir, &["release", "shop:prod", "2", "--plan", HELD], 5).await;
    assert!(told.contains("is split already") && told.contains("--adopt"), "{told}");
    ends(&weir, &["release", "shop:prod", "2", "--plan", "linearStep: {weight: 50, interval: 10m}", "--adopt"], 0)
        .await;
    shares(&weir, [50, 50, 0]).await;
    // To undo a rollout that runs is to abort it.
    weir.told(&["rollback", "shop:prod"]).await;
    assert_eq!(newest(&weir).await["outcome"], "aborted");
    shares(&weir, [100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_lets_nothing_but_going_back_happen() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["freeze", "--for", "2 hours"], 3).await;
    let told = ends(&weir, &["freeze", "--for", "2h", "--reason", "the big sale"], 0).await;
    assert!(told.contains("nothing but going back happens"), "{told}");
    ends(&weir, &["release", "shop:prod", "2", "--plan", SHORT], 0).await;
    let frozen = newest(&weir).await;
    assert!(frozen["waits_for"].as_str().is_some_and(|waits| waits.contains("freeze by token:admin")), "{frozen}");
    shares(&weir, [100, 0, 0]).await;
    assert!(ends(&weir, &["promote", "shop:prod"], 5).await.contains("freeze"));
    let status = weir.told(&["status"]).await;
    assert!(status.contains("freeze  by token:admin until") && status.contains("(the big sale)"), "{status}");
    let id = number(&weir).await;
    let watch = ["watch", &*id];
    let (watched, ()) = tokio::join!(weir.cli(&watch), async {
        ends(&weir, &["unfreeze"], 0).await;
    });
    assert_eq!(watched.0, Some(0), "{watched:?}");
    shares(&weir, [0, 100, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_is_worse_is_rolled_back_and_the_exit_code_says_so() {
    let (weir, endpoints) = three().await;
    endpoints[1].on("/", Answer::Raw(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec()));
    let load = Load::start(weir.http, HOST, 4, 200_000);
    let plan = "canaryStep: {weight: 50, interval: 10m}";
    let told = ends(&weir, &["release", "shop:prod", "2", "--plan", plan, "--wait"], 5).await;
    load.stop().await;
    assert!(told.contains("rolled back: worse: "), "{told}");
    shares(&weir, [100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_command_and_not_the_rollout() {
    let (weir, _endpoints) = three().await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", HELD], 0).await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["watch", "shop:prod"])
        .env("WEIR_ADMIN", weir.admin.to_string())
        .current_dir(weir.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = within("the first line", lines.next_line()).await.unwrap().unwrap();
    assert!(line.contains("begun by token:admin"), "{line}");
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let ended = within("the command ends", child.wait_with_output()).await.unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(130) && stderr.contains("goes on"), "{:?} {stderr}", ended.status);
    assert_eq!(newest(&weir).await["over"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_are_drawn_on_a_terminal() {
    let (weir, _endpoints) = three().await;
    let load = Load::start(weir.http, HOST, 2, 20_000);
    // `script` gives the command a terminal.
    let command = format!("{} release shop:prod 2 --plan '{SHORT}' --wait", env!("CARGO_BIN_EXE_weir"));
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("WEIR_ADMIN", weir.admin.to_string())
        .env("TERM", "xterm")
        .current_dir(weir.folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within("the rollout ends", output).await.expect("util-linux has `script`");
    load.stop().await;
    let drawn = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{drawn}");
    for part in ["█", "20 %", "ASKED", "P95", "\x1b[?2026h", "shop:prod 1 -> 2: promoted"] {
        assert!(drawn.contains(part), "{part} is missing:\n{drawn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_publishes_the_draft_and_releases_it() {
    let (weir, endpoints) = three().await;
    let address = endpoints[1].address.to_string();
    weir.told(&["draft", "set", "shop", "--endpoint", &address, "--description", "second thoughts"]).await;
    let told = weir.told(&["deploy", "shop:prod", "--traffic", "0.1"]).await;
    assert!(
        told.contains("shop:4 is published") && told.contains("shop:prod 1 -> 4: holds, step 1 of 1, 10 %"),
        "{told}"
    );
    shares(&weir, [90, 10, 0]).await;
    let told = weir.told(&["deploy", "shop:prod", "--traffic", "1.0", "--supersede"]).await;
    assert!(told.contains("shop:4 is what the draft says already") && told.contains("promoted"), "{told}");
    shares(&weir, [0, 100, 0]).await;
    ends(&weir, &["deploy", "shop:prod", "--traffic", "0.155"], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_cannot_reach_an_answer_is_refused_unless_somebody_insists() {
    let (weir, _endpoints) = three().await;
    let plan = "{canaryStep: {weight: 10, interval: 10m}, \
                gates: [{error_rate: {max: 50%, min_requests: 10000000, on_insufficient: fail}}]}";
    let release = ["release", "shop:prod", "2", "--plan", plan];
    let tried = [&release[..], &["--dry-run"]].concat();
    let told = ends(&weir, &tried, 0).await;
    assert!(told.contains("warning: ") && told.contains("too few were seen"), "nothing is known yet: {told}");
    let load = Load::start(weir.http, HOST, 1, 200_000);
    let known = async || Some(weir.cli(&tried).await).filter(|(code, ..)| *code == Some(5));
    let (_, _, told) = eventually("the rate is known", known).await;
    for part in
        ["`shop:prod`: the gate `error_rate` of step 1 needs 10000000 requests", "requests a second", "--no-preflight"]
    {
        assert!(told.contains(part), "{part} is missing:\n{told}");
    }
    ends(&weir, &release, 5).await;
    assert_eq!(newest(&weir).await, Value::Null);
    let report = weir.json(&["simulate", "shop:prod", "--plan", plan, "--runs", "3"]).await;
    assert!(report["observed"]["requests"].as_u64().unwrap() > 0, "{report}");
    assert_eq!((&report["sound"]["rolled_back"], &report["assumed"]["base"]), (&json!(3), &json!("0%")), "{report}");
    assert!(report["shortfalls"][0]["message"].as_str().unwrap().contains("error_rate"), "{report}");
    let told = ends(&weir, &[&release[..], &["--no-preflight"]].concat(), 0).await;
    assert!(told.contains("baking, step 1 of 2, 10 %") && !told.contains("warning"), "{told}");
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_release_lacks_is_said_before_anything_moves() {
    let (weir, _endpoints) = three().await;
    let told = ends(&weir, &["release", "shop:prod", "2"], 3).await;
    assert!(told.contains("names no plan"), "{told}");
    let told = ends(&weir, &["release", "shop:prod", "2", "--plan", "linearStep: {weight: 0, interval: 1x}"], 3).await;
    assert!(told.contains("--plan:1:") && told.contains("a whole percentage") && told.contains("duration"), "{told}");
    let told = ends(&weir, &["release", "shop:prod", "9", "--plan", SHORT], 1).await;
    assert!(told.contains("no version 9"), "{told}");
    let told = ends(&weir, &["release", "shop:prod", "2", "--plan", "{canaryWeight: 5, notify: oncal}"], 3).await;
    assert!(told.contains("the notifier `oncal` does not exist"), "{told}");
    let told = weir.told(&["release", "shop:prod", "2", "--plan", HELD, "--dry-run"]).await;
    assert!(told.contains("functions.shop.aliases.prod.effective"), "{told}");
    assert_eq!(newest(&weir).await, Value::Null);
    shares(&weir, [100, 0, 0]).await;
}
