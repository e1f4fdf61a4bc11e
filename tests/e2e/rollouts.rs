//! Commands of rollouts against an admin API that is scripted; see `remote.rs`.

use serde_json::{Value, json};

use crate::kit::endpoint::Answer;
use crate::kit::eventually;
use crate::kit::terminal::{Terminal, weir};

const ROLLOUTS: &str = "/v1/rollouts";
const R12: &str = "/v1/rollouts/r12";

/// A rollout that runs, with what differs.
fn rollout(other: &Value) -> Value {
    let side = |requests: u64, p95: f64| json!({"requests": requests, "failures": 1, "p95_ms": p95});
    let mut rollout = json!({
        "id": "r12", "by": "token:ci", "reason": null, "began": "2026-11-21T09:00:00.000Z", "ended": null,
        "members": [{"function": "shop", "alias": "prod", "stable": "1", "candidate": "2"}],
        "plan": "careful", "over": false, "outcome": null, "why": null, "state": "baking", "step": 1, "weight": 20,
        "steps": [{"weight": 20, "bake_seconds": 600}, {"weight": 100, "bake_seconds": 0}],
        "held_by": null, "deadline": "2026-11-21T09:10:00.000Z", "left_seconds": 583.2, "waits_for": null,
        "seen": {"gates": [], "members": [{"verdict": "not yet: 1 of 200 requests failed on the candidate",
            "word": "not yet", "evidence": {}, "stable": side(800, 3.1), "candidate": side(200, 3.3)}]},
    });
    for (name, value) in other.as_object().into_iter().flatten() {
        rollout[name] = value.clone();
    }
    rollout
}

fn over(outcome: &str, why: &str) -> Value {
    let ended = "2026-11-21T09:10:00.000Z";
    rollout(&json!({"over": true, "outcome": outcome, "state": outcome, "why": why, "step": null, "ended": ended,
        "left_seconds": null, "deadline": null, "weight": if outcome == "promoted" { 100 } else { 0 }}))
}

fn page(items: &[Value]) -> Value {
    json!({"items": items, "next": null})
}

/// Entries of the journal, each with one piece of news of `r12`.
fn journal(news: &[(&str, &str)]) -> Value {
    let entries = news.iter().zip(12..).map(|((kind, text), revision)| {
        json!({"revision": revision, "time": format!("2026-11-21T09:00:{revision}.000Z"), "who": "token:ci", "why": null,
            "what": [], "changes": [], "news": [
                {"rollout": "r11", "kind": "step", "text": "of another rollout", "weight": "10"},
                {"rollout": "r12", "kind": kind, "text": text, "weight": "20", "evidence": {}}]})
    });
    page(&entries.collect::<Vec<_>>())
}

#[tokio::test]
async fn release() {
    let mut terminal = Terminal::new().await;
    terminal.on(ROLLOUTS, 201, &rollout(&json!({})));
    terminal.run(&["release", "shop:prod", "2", "--plan", "careful", "--reason", "größer"]).await;
    let plan = "linearStep: {weight: 10, interval: 1s}";
    terminal.run(&["release", "shop:prod=2", "cart:prod=5", "--plan", plan]).await;
    terminal.run(&["release", "shop:prod", "2", "--base", "1", "--adopt", "--supersede", "--json"]).await;
    terminal.on(
        ROLLOUTS,
        200,
        &json!({"changes": [{"path": "functions.shop.aliases.prod.effective",
        "before": {"1": 100}, "after": {"1": 80, "2": 20}}]}),
    );
    terminal.run(&["release", "shop:prod", "2", "--plan", "careful", "--dry-run"]).await;
    let first = json!({"members": [{"function": "shop", "alias": "prod", "stable": null, "candidate": "1"}]});
    let mut promoted = over("promoted", "every step of the plan is done");
    promoted["members"] = first["members"].clone();
    terminal.on(ROLLOUTS, 201, &promoted);
    terminal.run(&["release", "shop:prod", "1"]).await;
    let problems = json!([{"severity": "error", "path": "functions.shop.aliases.prod",
        "message": "rollout r11 is running on `shop:prod`", "hint": "abort it, or begin with `--supersede`"}]);
    terminal.fails(ROLLOUTS, 409, "AlreadyExists", "rollout r11 is running on `shop:prod`", &problems);
    terminal.run(&["release", "shop:prod", "2"]).await;
    let problems = json!([{"severity": "error", "path": "plan.linearStep.weight", "line": 1, "column": 22, "length": 1,
        "message": "expected a whole percentage from 1 to 100, found `0`"}]);
    terminal.fails(ROLLOUTS, 422, "InvalidConfig", "the plan is wrong", &problems);
    terminal.run(&["release", "shop:prod", "2", "--plan", "linearStep: {weight: 0, interval: 1s}"]).await;
    let problems = json!([{"severity": "error", "path": "plan.steps[0]",
        "message": "`shop:prod`: the gate `error_rate` of step 1 needs 1000 requests of the candidate, and about 30 come",
        "hint": "that many take about 6h at this weight"}]);
    let message = "the plan cannot reach an answer with the requests that come; nothing was changed";
    terminal.fails(ROLLOUTS, 409, "PlanUnanswerable", message, &problems);
    terminal.run(&["release", "shop:prod", "2"]).await;
    let warning = json!([{"severity": "warning", "path": "plan.steps[0]", "message": "too few were seen", "hint": "simulate it"}]);
    terminal.on(ROLLOUTS, 201, &rollout(&json!({"warnings": warning})));
    terminal.run(&["release", "shop:prod", "2", "--no-preflight"]).await;
    for wrong in [
        &["release", "shop:prod"][..],
        &["release", "shop:prod", "$LATEST"],
        &["release", "shop:prod", "2", "3"],
        &["release", "shop:prod=2", "cart:prod=5", "--base", "1"],
        &["release", "shop:prod", "2", "--wait", "--dry-run"],
    ] {
        terminal.run(wrong).await;
    }
    terminal.expect("release");
}

#[tokio::test]
async fn simulate() {
    let mut terminal = Terminal::new().await;
    let linear = "linearStep: {weight: 10, interval: 1m}";
    terminal.run(&["simulate", "--plan", linear, "--rate", "200"]).await;
    terminal
        .run(&[
            "simulate",
            "--plan",
            "canaryWeight: 5",
            "--rate",
            "50",
            "--base",
            "0%",
            "--defect",
            "+2%",
            "--runs",
            "20",
        ])
        .await;
    let file = std::fs::read_to_string(terminal.folder.path().join("weir.yaml")).unwrap();
    let plans = "plans:\n  careful: {canaryStep: {weight: 5, interval: 10m}, gates: [{error_rate: {max: 3%, min_requests: 1000, timeout: 10m}}]}\n";
    terminal.write("weir.yaml", &format!("{file}{plans}"));
    terminal.run(&["simulate", "--plan", "careful", "--rate", "0.5", "--runs", "10", "--seed", "3"]).await;
    terminal.run(&["simulate", "--plan", "careful", "--rate", "100", "--runs", "2", "--json"]).await;
    let (spread, shortfalls) = (json!({"median": 9.0, "p95": 24.5}), json!([]));
    let runs = json!({"promoted": 0, "rolled_back": 200, "held": 0, "alerted": 0, "seconds": spread, "found_seconds": spread,
        "requests": spread, "share": 10.0, "failed": spread, "why": "worse: 9 of 9 failures\u{1b}[2J"});
    let due = json!({"seconds": 0.0, "weight": 10.0});
    let assumed = json!({"rate": "200", "base": "1%", "defect": "+5%", "runs": 200, "seed": 1});
    let answer = json!({"plan": "careful", "assumed": assumed, "observed": {"requests": 12_000, "seconds": 60.0},
        "timeline": [due], "sound": runs, "defective": runs, "shortfalls": shortfalls});
    terminal.on("/v1/simulate", 200, &answer);
    terminal.run(&["simulate", "shop:prod"]).await;
    terminal
        .run(&["simulate", "shop:prod", "--plan", linear, "--rate", "200", "--base", "0.5%", "--defect", "+3%"])
        .await;
    let problems = json!([{"severity": "error", "path": "rate", "message": "`shop:prod` had no request within the last minute",
        "hint": "say how many requests come in a second: `rate: 200`"}]);
    terminal.fails(
        "/v1/simulate",
        422,
        "InvalidConfig",
        "`shop:prod` had no request within the last minute",
        &problems,
    );
    terminal.run(&["simulate", "shop:prod", "--plan", linear]).await;
    for wrong in [
        &["simulate", "--plan", "carefull", "--rate", "1"][..],
        &["simulate", "--plan", "canaryStep: {weight: 0}", "--rate", "1"],
        &["simulate", "--plan", linear, "--rate", "1", "--defect", "+100%"],
        &["simulate", "--plan", "linearStep: {weight: 1, interval: 1d}", "--rate", "1", "--runs", "1000"],
        &["simulate", "--plan", linear],
        &["simulate", "--plan", linear, "--rate", "200/s"],
        &["simulate", "--plan", linear, "--rate", "200", "--base", "1"],
        &["simulate", "--plan", linear, "--rate", "200", "--defect", "5%"],
        &["simulate", "--plan", linear, "--rate", "200", "--runs", "0"],
    ] {
        terminal.run(wrong).await;
    }
    terminal.expect("simulate");
}

#[tokio::test]
async fn waiting() {
    let mut terminal = Terminal::new().await;
    terminal.on(ROLLOUTS, 201, &rollout(&json!({})));
    let (begun, step) = (("begun", "begun by token:ci"), ("step", "step 1 of 2: the candidate gets 20 %"));
    let wait = ["release", "shop:prod", "2", "--plan", "careful", "--wait"];
    for (outcome, why) in [
        ("promoted", "every step of the plan is done"),
        ("rolled back", "worse: 9 of 9 failures fell on the candidate\u{1b}[2J"),
        ("aborted", "aborted by token:ci"),
        ("superseded", "token:ci set the split"),
    ] {
        terminal.on("/v1/journal", 200, &journal(&[begun, step, (outcome, why)]));
        terminal.on(R12, 200, &over(outcome, why));
        terminal.run(&wait).await;
    }
    terminal.run(&["release", "shop:prod", "2", "--wait", "--json"]).await;
    terminal.on("/v1/journal", 200, &journal(&[begun]));
    terminal.on(R12, 200, &rollout(&json!({"steps": [{"weight": 20, "hold": true}]})));
    terminal.run(&wait).await;
    terminal.expect("waiting");
}

#[tokio::test]
async fn watch() {
    let mut terminal = Terminal::new().await;
    let step = ("step", "step 1 of 2: the candidate gets 20 %");
    terminal.on("/v1/journal", 200, &journal(&[step]));
    terminal.on(R12, 200, &over("promoted", "every step of the plan is done"));
    terminal.on(ROLLOUTS, 200, &page(&[rollout(&json!({}))]));
    terminal.run(&["watch"]).await;
    terminal.run(&["watch", "shop:prod"]).await;
    terminal.run(&["watch", "r12", "--json"]).await;
    terminal.on(ROLLOUTS, 200, &page(&[rollout(&json!({})), rollout(&json!({"id": "r13"}))]));
    terminal.run(&["watch"]).await;
    terminal.on(ROLLOUTS, 200, &page(&[]));
    terminal.run(&["watch"]).await;
    terminal.run(&["watch", "shop:prod"]).await;
    terminal.fails(R12, 404, "NotFound", "there is no rollout r12", &json!([]));
    terminal.run(&["watch", "r12"]).await;
    terminal.run(&["watch", "shop"]).await;
    terminal.expect("watch");
}

#[tokio::test]
async fn a_gateway_that_restarts_is_waited_for() {
    let terminal = Terminal::new().await;
    terminal.api.on(R12, Answer::Reset);
    terminal.on("/v1/journal", 200, &journal(&[("promoted", "every step of the plan is done")]));
    let ((code, stdout, stderr), ()) = tokio::join!(weir(terminal.folder.path(), &["watch", "r12"], &[]), async {
        eventually("it asks again", async || (terminal.api.seen().len() > 2).then_some(())).await;
        terminal.on(R12, 200, &over("promoted", "every step of the plan is done"));
    });
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(stderr.matches("does not answer").count(), 1, "{stderr}");
    assert!(stdout.contains("promoted: every step of the plan is done"), "{stdout}");
}

#[tokio::test]
async fn words() {
    let mut terminal = Terminal::new().await;
    terminal.on(ROLLOUTS, 200, &page(&[rollout(&json!({}))]));
    for word in ["approve", "advance", "promote"] {
        terminal.on(&format!("{R12}/{word}"), 200, &rollout(&json!({"step": 2, "weight": 100, "left_seconds": 0})));
        terminal.run(&[word, "shop:prod", "--reason", "looks good"]).await;
    }
    terminal.on(&format!("{R12}/pause"), 200, &rollout(&json!({"held_by": "token:ci", "left_seconds": 604_800})));
    terminal.run(&["pause", "r12"]).await;
    terminal.on(&format!("{R12}/resume"), 200, &rollout(&json!({})));
    terminal.run(&["resume", "r12", "--json"]).await;
    terminal.on(&format!("{R12}/reject"), 200, &over("rolled back", "rejected by token:ci"));
    terminal.run(&["reject", "r12"]).await;
    let aborted = over("aborted", "aborted by token:ci");
    terminal.on_with(&format!("{R12}/abort"), 200, "x-weir-unsaved: true\r\n", &aborted.to_string());
    terminal.run(&["abort", "r12"]).await;
    terminal.fails(&format!("{R12}/pause"), 409, "RolloutState", "rollout r12 is over: aborted", &json!([]));
    terminal.run(&["pause", "r12"]).await;
    terminal.on(ROLLOUTS, 200, &page(&[]));
    terminal.run(&["abort", "shop:prod"]).await;
    terminal.run(&["promote", "shop:prod"]).await;
    terminal.run(&["abort", "12"]).await;
    terminal.expect("words");
}

#[tokio::test]
async fn rollouts_and_freeze() {
    let mut terminal = Terminal::new().await;
    let train = json!({"id": "r13", "held_by": "token:ci", "step": 2, "members": [
        {"function": "shop", "alias": "prod", "stable": "1", "candidate": "2"},
        {"function": "cart", "alias": "prod", "stable": "4", "candidate": "5"}]});
    let items = [rollout(&train), rollout(&json!({})), over("promoted", "every step of the plan is done")];
    terminal.on(ROLLOUTS, 200, &page(&items));
    terminal.run(&["rollouts"]).await;
    terminal.run(&["rollouts", "shop:prod", "--running", "--limit", "3"]).await;
    terminal.on(ROLLOUTS, 200, &page(&[]));
    terminal.run(&["rollouts", "shop", "--json"]).await;
    terminal.run(&["rollouts", "--running"]).await;
    let frozen = json!({"frozen": true, "by": "token:ci", "reason": "sale", "since": "2026-11-21T09:00:00Z",
        "until": "2026-11-21T11:00:00Z"});
    terminal.on("/v1/freeze", 200, &frozen);
    terminal.run(&["freeze", "--for", "2h", "--reason", "sale"]).await;
    terminal.run(&["freeze", "--json"]).await;
    terminal.on_with("/v1/freeze", 204, "", "");
    terminal.run(&["unfreeze"]).await;
    terminal.expect("rollouts");
}

#[tokio::test]
async fn deploy() {
    let mut terminal = Terminal::new().await;
    let (shop, versions) = ("/v1/functions/shop", "/v1/functions/shop/versions");
    let function = json!({"name": "shop", "revision": 7, "draft": {"endpoints": ["10.0.0.19:8080"]},
        "versions": {"2": {}, "10": {}, "11": {"retired": true}}});
    terminal.on(shop, 200, &function);
    terminal.on(versions, 201, &json!({"name": "12", "number": 12, "revision": 41}));
    terminal.on(ROLLOUTS, 201, &rollout(&json!({"steps": [{"weight": 10, "hold": true}], "weight": 10})));
    terminal.run(&["deploy", "shop:prod", "--traffic", "0.1"]).await;
    let body = json!({"code": "VersionUnchanged", "message": "the draft is as it was", "problems": [], "version": 10});
    terminal.on(versions, 409, &body);
    terminal.on(ROLLOUTS, 201, &over("promoted", "every step of the plan is done"));
    terminal.run(&["deploy", "shop:prod", "--traffic", "1.0", "--supersede", "--reason", "now"]).await;
    terminal.run(&["deploy", "shop:prod", "--plan", "careful", "--json"]).await;
    let mut function = function;
    function["draft"] = Value::Null;
    terminal.on(shop, 200, &function);
    terminal.run(&["deploy", "shop:prod"]).await;
    function["versions"] = json!({});
    terminal.on(shop, 200, &function);
    terminal.run(&["deploy", "shop:prod"]).await;
    terminal.run(&["deploy", "shop:prod", "--traffic", "1.5"]).await;
    terminal.run(&["deploy", "shop:prod", "--traffic", "0.5", "--plan", "careful"]).await;
    terminal.expect("deploy");
}

#[tokio::test]
async fn status_shows_rollouts_and_the_freeze() {
    let mut terminal = Terminal::new().await;
    let alias = |name: &str, rollout: &Value| json!({"name": name, "split": {"1": 100}, "effective": {"1": 80, "2": 20}, "achieved": null, "requests": 0, "rollout": rollout});
    let function = json!({"name": "shop", "versions": [], "aliases": [
        alias("prod", &rollout(&json!({"waits_for": "somebody", "step": 2, "approvals": [
            {"step": 1, "by": "link of oncall from 10.0.0.7", "reason": null, "time": "2026-11-21T09:10:00.000Z"},
            {"step": 2, "by": "token:ann", "reason": "looks good", "time": "2026-11-21T09:20:00.000Z"}]}))), alias("beta", &Value::Null)]});
    let answer = json!({"window_seconds": 60, "functions": [function],
        "node": {"version": "0.1.0", "started": "2026-11-21T09:00:00Z", "uptime_seconds": 5, "revision": 41, "ready": true},
        "reload": {"time": null, "result": "none", "message": null},
        "store": {"kind": "memory", "path": null, "healthy": true, "message": null},
        "freeze": {"frozen": true, "by": "token:ci", "reason": "sale", "since": "2026-11-21T09:00:00Z",
            "until": "2026-11-21T11:00:00Z"}});
    terminal.on("/v1/status", 200, &answer);
    terminal.run(&["status"]).await;
    terminal.expect("status-rollouts");
}
