//! Remote commands against an admin API that is scripted: what is sent, what is printed, and how the process ends.
//!
//! Each test compares whole transcripts with `tests/fixtures/cli/NAME.txt`; `UPDATE_EXPECTED=1 cargo test --test e2e
//! remote` writes them anew: read them as a user before you commit.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::kit::endpoint::Answer;
use crate::kit::terminal::{Terminal, weir};
use crate::kit::weir::folder;
use crate::kit::wire::{Head, Wire};
use crate::kit::within;

const ALIAS: &str = "/v1/functions/shop/aliases/prod";

fn alias(split: &Value) -> Value {
    json!({"name": "prod", "revision": 42, "split": split, "key": [{"header": "x-user-id"}]})
}

fn changed() -> Value {
    let (before, after) = (json!({"1": 95, "2": 5}), json!({"1": 90, "2": 10}));
    json!({"changes": [{"path": "functions.shop.aliases.prod.split", "before": before, "after": after},
        {"path": "workers", "before": null, "after": 2}]})
}

#[tokio::test]
async fn shift() {
    let mut terminal = Terminal::new().await;
    terminal.on(ALIAS, 200, &alias(&json!({"1": 90, "2": 10})));
    terminal.run(&["shift", "shop:prod", "1=90", "2=10"]).await;
    terminal.run(&["shift", "shop:prod", "1=90", "2=10", "--if-revision", "41", "--why", "größer: 100 %"]).await;
    terminal.run(&["shift", "shop:prod", "1=90", "2=10", "--json"]).await;
    terminal.on(ALIAS, 200, &alias(&json!({"1": 66.67, "2": 33.33})));
    terminal.run(&["shift", "shop:prod", "1=2", "2=1"]).await;
    terminal.on(ALIAS, 200, &changed());
    terminal.run(&["shift", "shop:prod", "1=90", "2=10", "--dry-run"]).await;
    terminal.on(ALIAS, 200, &json!({"changes": []}));
    terminal.run(&["shift", "shop:prod", "2", "--dry-run"]).await;
    terminal.expect("shift");
}

#[tokio::test]
async fn nothing_is_sent_when_the_command_is_wrong() {
    let mut terminal = Terminal::new().await;
    for arguments in [
        &["shift", "shop", "1=90"][..],
        &["shift", "shop:prod", "1=0", "2=0"],
        &["shift", "shop:prod", "1=90", "2"],
        &["shift", "shop:prod", "1=90", "x=10"],
        &["shift", "shop:prod"],
        &["rollback", "--all"],
        &["draft", "edit", "shop"],
        &["version", "label", "shop:$LATEST", "blue"],
        &["status", "--admin", "ftp://gateway"],
        &["history", "--limit", "0"],
    ] {
        terminal.run(arguments).await;
    }
    assert!(terminal.api.seen().is_empty());
    terminal.expect("usage");
}

#[tokio::test]
async fn refusals_say_what_to_do_next() {
    let mut terminal = Terminal::new().await;
    let shift = ["shift", "shop:prod", "1=90", "3=10"];
    terminal.fails(ALIAS, 401, "Unauthorized", "this needs a token", &json!([]));
    terminal.run(&shift).await;
    terminal.fails(ALIAS, 403, "Forbidden", "this needs the role operator, and this token has viewer", &json!([]));
    terminal.run(&shift).await;
    terminal.fails(ALIAS, 404, "NotFound", "there is no function `shop`", &json!([]));
    terminal.run(&shift).await;
    let body = json!({"code": "PreconditionFailed", "message": "the alias was changed since", "problems": []});
    terminal.on_with(ALIAS, 412, "etag: \"43\"\r\n", &body.to_string());
    terminal.run(&["shift", "shop:prod", "1=90", "--if-revision", "41"]).await;
    let problems = json!([{"severity": "error", "path": "functions.shop.aliases.prod.split",
        "message": "there is no version 3", "hint": "versions: 1, 2"}]);
    terminal.fails(ALIAS, 422, "InvalidConfig", "the configuration would be invalid", &problems);
    terminal.run(&shift).await;
    let message = "`shop` has no draft";
    let problems = json!([{"severity": "error", "path": "functions.shop.draft", "message": message,
        "hint": "write a draft first, or name the version to publish again"}]);
    terminal.fails("/v1/functions/shop/versions", 404, "NotFound", message, &problems);
    terminal.run(&["publish", "shop"]).await;
    terminal.fails(ALIAS, 503, "Unknown", "the store did not answer", &json!([]));
    terminal.run(&shift).await;
    terminal.on_with(ALIAS, 502, "", "<html>bad gateway\u{1b}[2J</html>");
    terminal.run(&shift).await;
    terminal.on_with(ALIAS, 302, "location: http://127.0.0.1:1/\r\n", "");
    terminal.run(&shift).await;
    terminal.api.on(ALIAS, Answer::Reset);
    let (code, _, stderr) = weir(terminal.folder.path(), &shift, &[]).await;
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("it is not known whether the change was made"), "{stderr}");
    terminal.expect("refusals");
}

#[tokio::test]
async fn rollback() {
    let mut terminal = Terminal::new().await;
    terminal.on(&format!("{ALIAS}/rollback"), 200, &alias(&json!({"1": 95, "2": 5})));
    terminal.run(&["rollback", "shop:prod"]).await;
    terminal.run(&["rollback", "shop:prod", "--to", "17", "--why", "errors"]).await;
    let mut answer = changed();
    answer["revision"] = 43.into();
    terminal.on("/v1/config/rollback", 200, &answer);
    terminal.run(&["rollback", "--all", "--to", "17"]).await;
    terminal.expect("rollback");
}

#[tokio::test]
async fn status() {
    let mut terminal = Terminal::new().await;
    let endpoint = |address: &str, healthy: bool| json!({"address": address, "healthy": healthy, "in_flight": 3});
    let function = json!({"name": "shop",
        "aliases": [
            {"name": "prod", "split": {"1": 95, "2": 4.5, "10": 0.5}, "effective": {"1": 95, "2": 4.5, "10": 0.5}, "achieved": {"1": 95.01, "2": 4.49, "10": 0.5},
                "requests": 1200},
            {"name": "beta", "split": {"2": 100}, "effective": {"2": 100}, "achieved": null, "requests": 0}],
        "versions": [
            {"version": "1", "label": null, "retired": false, "requests_per_second": 190.2, "error_rate": 0.0,
                "p50_ms": 1.2, "p95_ms": 3.1, "p99_ms": 8.0,
                "endpoints": [endpoint("10.0.0.11:8080", true), endpoint("10.0.0.12:8080", true)]},
            {"version": "2", "label": "blue\u{1b}[2J", "retired": true, "requests_per_second": 10.0,
                "error_rate": 0.0125, "p50_ms": 1.3, "p95_ms": 3.3, "p99_ms": 19.0,
                "endpoints": [endpoint("10.0.0.21:8080", true), endpoint("10.0.0.22:8080", false)]},
            {"version": "$LATEST", "label": null, "retired": false, "requests_per_second": null, "error_rate": null,
                "p50_ms": null, "p95_ms": null, "p99_ms": null, "endpoints": []}]});
    let node = json!({"version": "0.1.0", "started": "2026-11-21T09:00:00Z", "uptime_seconds": 7500, "revision": 41,
        "ready": true});
    let mut answer = json!({"node": node,
        "reload": {"time": "2026-11-21T09:00:00Z", "result": "applied", "message": null},
        "store": {"kind": "embedded", "path": "weir-state.db", "healthy": true, "message": null},
        "window_seconds": 60, "functions": [function]});
    terminal.on("/v1/status", 200, &answer);
    terminal.run(&["status"]).await;
    terminal.run(&["status", "shop", "--json"]).await;
    answer["functions"] = json!([]);
    answer["reload"] = json!({"time": null, "result": "refused", "message": "weir.yaml: 2 errors"});
    answer["store"] = json!({"kind": "memory", "path": null, "healthy": false, "message": "no space left"});
    answer["node"]["ready"] = false.into();
    terminal.on("/v1/status", 200, &answer);
    terminal.run(&["status"]).await;
    terminal.on("/v1/status", 200, &json!({"node": {}}));
    terminal.run(&["status"]).await;
    terminal.expect("status");
}

#[tokio::test]
async fn aliases() {
    let mut terminal = Terminal::new().await;
    let list = json!({"items": [{"name": "beta", "revision": 7, "split": {"10": 1, "2": 99}},
        {"name": "prod", "revision": 42, "split": {"1": 95, "2": 5}, "plan": "careful"}], "next": null});
    terminal.on("/v1/functions/shop/aliases", 200, &list);
    terminal.on(ALIAS, 200, &alias(&json!({"1": 95, "2": 5})));
    terminal.write("alias.yaml", "split: {1: 95, 2: 5}\nkey: [{header: x-user-id}]\n");
    terminal.run(&["alias", "list", "shop"]).await;
    terminal.run(&["alias", "get", "shop:prod"]).await;
    terminal.run(&["alias", "get", "shop:prod", "--json"]).await;
    terminal.run(&["alias", "create", "shop:prod", "1=95", "2=5"]).await;
    terminal.run(&["alias", "update", "shop:prod", "--file", "alias.yaml", "--if-revision", "41"]).await;
    terminal.on_with(ALIAS, 204, "", "");
    terminal.run(&["alias", "delete", "shop:prod"]).await;
    let problems =
        json!([{"severity": "error", "path": "domains.\"shop.example.com\".routes[0].to", "message": "names it"}]);
    terminal.fails(ALIAS, 409, "Referenced", "the alias `prod` is in use", &problems);
    terminal.run(&["alias", "delete", "shop:prod"]).await;
    terminal.fails(
        ALIAS,
        422,
        "InvalidConfig",
        "the alias is invalid",
        &json!([{"severity": "error", "path": "split.2",
        "message": "there is no version 2", "line": 1, "column": 16, "hint": "versions: 1"}]),
    );
    terminal.run(&["alias", "update", "shop:prod", "-f", "alias.yaml"]).await;
    terminal.run(&["alias", "update", "shop:prod", "-f", "missing.yaml"]).await;
    terminal.expect("alias");
}

#[tokio::test]
async fn functions_drafts_and_versions() {
    let mut terminal = Terminal::new().await;
    let (shop, versions) = ("/v1/functions/shop", "/v1/functions/shop/versions");
    let item = json!({"name": "shop", "revision": 42, "latest": 2, "versions": 2, "aliases": ["beta", "prod"]});
    terminal.on("/v1/functions", 200, &json!({"items": [item], "next": null}));
    terminal.on(
        shop,
        200,
        &json!({"name": "shop", "revision": 42, "draft": {"endpoints": ["10.0.0.19:8080"]},
        "versions": {"1": {"endpoints": ["10.0.0.11:8080"]}, "10": {"endpoints": ["10.0.0.12:8080"], "label": "blue"},
        "2": {"response": {"status": 503, "body": "closed: back soon"}}},
        "aliases": {"prod": {"split": {"1": 95, "10": 5}}}}),
    );
    terminal.run(&["functions", "list"]).await;
    terminal.run(&["functions", "get", "shop"]).await;
    terminal.run(&["functions", "create", "shop", "--dialect", "fc"]).await;
    terminal.on_with(shop, 204, "", "");
    terminal.run(&["functions", "delete", "shop"]).await;
    let draft = format!("{shop}/draft");
    terminal.on(&draft, 200, &json!({"revision": 42, "endpoints": ["10.0.0.19:8080"]}));
    terminal.run(&["draft", "get", "shop"]).await;
    terminal.run(&["draft", "set", "shop", "--endpoint", "10.0.0.19:8080", "--endpoint", "10.0.0.20:8080"]).await;
    terminal
        .run(&["draft", "edit", "shop", "--protocol", "h2c", "--unset", "description", "--if-revision", "41"])
        .await;
    terminal.on_with(&draft, 204, "", "");
    terminal.run(&["draft", "delete", "shop"]).await;
    terminal.on(versions, 201, &json!({"name": "3", "version": 3, "revision": 42, "endpoints": ["10.0.0.19:8080"]}));
    terminal.run(&["publish", "shop", "--label", "blue", "--expect-revision", "41"]).await;
    terminal.run(&["publish", "shop", "--from", "1", "--dry-run"]).await;
    let unchanged = json!({"code": "VersionUnchanged", "message": "nothing changed since the newest version",
        "problems": [], "version": 3});
    terminal.on(versions, 409, &unchanged);
    terminal.run(&["publish", "shop"]).await;
    let items = json!([{"name": "1", "version": 1, "revision": 3, "label": "first", "retired": true},
        {"name": "10", "version": 10, "revision": 42, "label": null, "retired": false, "description": "faster cart"}]);
    terminal.on(versions, 200, &json!({"items": items, "next": null}));
    terminal.run(&["version", "list", "shop"]).await;
    let one = format!("{versions}/1");
    terminal.on(&one, 200, &json!({"name": "1", "version": 1, "revision": 3, "endpoints": ["10.0.0.11:8080"]}));
    for arguments in [
        &["version", "get", "shop:1"][..],
        &["version", "label", "shop:1", "blue"],
        &["version", "label", "shop:1"],
        &["version", "describe", "shop:1", "the first one"],
        &["version", "retire", "shop:1"],
        &["version", "unretire", "shop:1"],
        &["version", "move", "shop:1", "10.0.0.31:8080", "10.0.0.32:8080"],
        &["version", "delete", "shop:1", "--if-revision", "3"],
    ] {
        terminal.run(arguments).await;
    }
    terminal.expect("functions");
}

#[tokio::test]
async fn stages_domains_plans_and_notifiers() {
    let mut terminal = Terminal::new().await;
    terminal.write("stage.yaml", "alias: prod\n");
    let items = json!([{"name": "dev", "revision": 3}, {"name": "release", "revision": 42}]);
    terminal.on("/v1/stages", 200, &json!({"items": items, "next": null}));
    terminal.run(&["stages", "list"]).await;
    terminal.on(
        "/v1/stages/release",
        200,
        &json!({"name": "release", "revision": 42, "alias": "prod",
        "functions": {"assets": "stable"}}),
    );
    terminal.run(&["stages", "get", "release"]).await;
    terminal.run(&["stages", "set", "release", "-f", "stage.yaml", "--if-revision", "41"]).await;
    terminal.on_with("/v1/domains/*.example.com", 204, "", "");
    terminal.run(&["domains", "delete", "*.example.com"]).await;
    terminal.on("/v1/plans", 200, &json!({"items": [], "next": null}));
    terminal.run(&["plans", "list", "--json"]).await;
    terminal.run(&["notifiers", "get", "on call"]).await;
    terminal.expect("resources");
}

#[tokio::test]
async fn files() {
    let mut terminal = Terminal::new().await;
    terminal.write("next.yaml", "functions:\n  shop:\n    draft: 10.0.0.1:80\n    aliases: {prod: 3}\n");
    let mut applied = changed();
    applied["revision"] = 42.into();
    applied["warnings"] = json!([{"severity": "warning", "path": "functions.shop", "message": "no route names it",
        "line": 2, "column": 3}]);
    terminal.on("/v1/config", 200, &applied);
    terminal.run(&["apply", "next.yaml", "--why", "release"]).await;
    terminal.run(&["apply", "next.yaml", "--dry-run"]).await;
    terminal.run(&["diff", "next.yaml"]).await;
    terminal.on("/v1/drift", 200, &changed());
    terminal.run(&["diff"]).await;
    terminal.run(&["diff", "--json"]).await;
    let problem = json!({"severity": "error", "path": "functions.shop.aliases.prod", "message": "there is no version 3",
        "line": 4, "column": 21, "hint": "versions: $LATEST"});
    terminal.fails("/v1/config", 422, "InvalidConfig", "the file has 1 error", &json!([problem]));
    terminal.run(&["apply", "next.yaml"]).await;
    terminal.on_with("/v1/config", 200, "", "functions:\n  shop:\n    draft: {endpoints: [10.0.0.1:80]}\n");
    terminal.run(&["export"]).await;
    terminal.on_with("/v1/export", 200, "", "{\"weir\":1}\n{\"sha256\":\"00\"}\n");
    terminal.run(&["export", "--everything", "--output", "backup.jsonl"]).await;
    let backup = terminal.folder.path().join("backup.jsonl");
    assert_eq!(std::fs::read_to_string(&backup).unwrap(), "{\"weir\":1}\n{\"sha256\":\"00\"}\n");
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600, "it holds hashes of tokens");
    terminal.expect("files");
}

#[tokio::test]
async fn history() {
    let mut terminal = Terminal::new().await;
    let entry = json!({"revision": 41, "time": "2026-11-21T09:00:00Z", "who": "ci", "why": "more traffic\u{1b}[2J",
        "what": ["functions.shop.aliases.prod.split: 1: 95, 2: 5 -> 1: 90, 2: 10"], "changes": []});
    let older = json!({"revision": 40, "time": "2026-11-21T08:00:00Z", "who": "file", "why": null,
        "what": ["functions.shop: added {…}", "domains.\"shop.example.com\": added {…}"], "changes": []});
    terminal.on("/v1/journal", 200, &json!({"items": [entry, older], "next": null}));
    terminal.run(&["history"]).await;
    let flags = ["--who", "ci", "--since", "2026-11-21T00:00:00Z", "--limit", "5"];
    terminal.run(&[&["history", "shop:prod"], &flags[..]].concat()).await;
    terminal.on("/v1/journal", 200, &json!({"items": [], "next": null}));
    terminal.run(&["history", "shop"]).await;
    terminal.on("/v1/journal/verify", 200, &json!({"ok": true, "from": 1, "to": 41}));
    terminal.run(&["verify"]).await;
    terminal.on("/v1/journal/verify", 200, &json!({"ok": false, "broken_at": 17, "message": "its hash differs"}));
    terminal.run(&["verify"]).await;
    let differs = json!({"ok": false, "message": "1 of the stored texts differ from the journal",
        "differs": ["`token/mine` is there, and no line of the journal tells of it"], "head": "c0ffee", "unchecked": 0});
    terminal.on("/v1/journal/verify", 200, &differs);
    terminal.run(&["verify"]).await;
    let whole = json!({"ok": true, "from": 3, "to": 41, "head": "c0ffee", "unchecked": 2});
    terminal.on("/v1/journal/verify", 200, &whole);
    terminal.run(&["verify"]).await;
    let events = format!(
        ": hello\n\nid: 41\nevent: change\ndata: {entry}\n\nevent: gap\ndata: {{}}\n\n: still here\n\n\
        id: 43\nevent: change\ndata: {older}\n\n"
    );
    let head = "HTTP/1.1 200 OK\r\nx-weir-revision: 40\r\ncontent-type: text/event-stream\r\n\r\n";
    // A stream that breaks is asked for again after its last event, and where there was none after what was live; what
    // is refused then ends it.
    let refused = json!({"code": "Unauthorized", "message": "the token is not known", "problems": []}).to_string();
    let refused = format!("HTTP/1.1 401 X\r\ncontent-length: {}\r\n\r\n{refused}", refused.len());
    let streams = |first: &str| {
        let stream = Answer::RawThenClose(format!("{head}{first}").into_bytes());
        Answer::turns(vec![stream, Answer::Reset, Answer::Raw(refused.clone().into_bytes())])
    };
    terminal.api.on("/v1/events", streams(&events));
    terminal.run(&["events", "--after", "40"]).await;
    terminal.api.on("/v1/events", streams(&events));
    terminal.run(&["events", "--json"]).await;
    terminal.api.on("/v1/events", streams(": hello\n\n"));
    terminal.run(&["events"]).await;
    terminal.expect("history");
}

#[tokio::test]
async fn tokens_explain_and_drain() {
    let mut terminal = Terminal::new().await;
    terminal.on("/v1/tokens", 201, &json!({"name": "ci", "role": "operator", "token": "weir_new_secret"}));
    terminal.run(&["token", "create", "ci", "--role", "operator"]).await;
    terminal.on(
        "/v1/tokens",
        200,
        &json!({"items": [{"name": "admin", "role": "admin"}, {"name": "ci", "role": "operator"}],
        "next": null}),
    );
    terminal.run(&["token", "list"]).await;
    terminal.on_with("/v1/tokens/ci", 204, "", "");
    terminal.run(&["token", "revoke", "ci", "--why", "left"]).await;
    terminal.run(&["token", "create", "c/i", "--role", "owner"]).await;
    let steps = json!([{"step": "host", "found": "shop.example.com"}, {"step": "version", "found": "1"}]);
    terminal.on("/v1/explain", 200, &json!({"resolved": true, "version": "1", "steps": steps, "revision": 42}));
    terminal.run(&["explain", "--admin", "--host", "shop.example.com", "--header", "User: Bob"]).await;
    terminal.on_with("/v1/drain", 202, "", "");
    terminal.run(&["drain"]).await;
    terminal.expect("tokens");
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let terminal = Terminal::new().await;
    // The script knows no queries, so the second page is the first one again: its `next` must be what ends it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let pages = tokio::spawn(async move {
        let mut asked = Vec::new();
        let mut wire = Wire::new(listener.accept().await.unwrap().0);
        for body in [r#"{"items":[{"name":"dev"}],"next":"dev"}"#, r#"{"items":[{"name":"prod"}],"next":null}"#] {
            let head = Head::parse(&wire.take_through(b"\r\n\r\n").await.unwrap().unwrap()).unwrap();
            asked.push(head.start);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            wire.stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    let (code, stdout, stderr) = weir(terminal.folder.path(), &["stages", "list", "--admin", &address], &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "STAGE  REVISION\ndev           -\nprod          -\n");
    let asked = within("both pages", pages).await.unwrap();
    assert_eq!(asked, ["GET /v1/stages?limit=1000 HTTP/1.1", "GET /v1/stages?limit=1000&after=dev HTTP/1.1"]);
}

#[tokio::test]
async fn a_status_that_is_watched_is_drawn_again_until_nobody_reads() {
    let terminal = Terminal::new().await;
    let status = json!({
        "node": {"version": "0.1.0", "uptime_seconds": 7, "revision": 42, "ready": true},
        "reload": {"time": null, "result": "none", "message": null},
        "store": {"kind": "memory", "path": null, "healthy": true, "message": null},
        "window_seconds": 10.0, "functions": [],
    });
    terminal.on("/v1/status", 200, &status);
    let mut watching = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["status", "--watch"])
        .current_dir(terminal.folder.path())
        .env_remove("WEIR_ADMIN")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let twice = async {
        let mut drawn = 0;
        while drawn < 2 {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            assert!(!line.contains('\u{1b}'), "a pipe gets no control characters: {line:?}");
            drawn += usize::from(line.starts_with("weir    0.1.0, ready, revision 42"));
        }
    };
    within("two drawings", twice).await;
    drop(lines);
    let ended = within("the end, when nobody reads", watching.wait()).await.unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn help_completion_and_manual_pages() {
    let folder = folder();
    let (code, help, _) = weir(folder.path(), &["--help"], &[("WEIR_TOKEN", "secret")]).await;
    assert_eq!(code, Some(0));
    for part in ["shift", "rollback", "status", "4  the running gateway does not answer", "5  refused"] {
        assert!(help.contains(part), "{part} is missing:\n{help}");
    }
    let (_, help, _) = weir(folder.path(), &["shift", "--help"], &[("WEIR_TOKEN", "secret")]).await;
    assert!(help.contains("[env: WEIR_TOKEN]") && !help.contains("secret"), "{help}");
    let (code, script, _) = weir(folder.path(), &["completion", "bash"], &[]).await;
    assert!(code == Some(0) && script.contains("rollback"));
    let (code, page, _) = weir(folder.path(), &["man"], &[]).await;
    assert!(code == Some(0) && page.contains(".TH weir 1") && page.contains("weir\\-shift"), "{page}");
    let (code, _, stderr) = weir(folder.path(), &["man", "--output", "."], &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(folder.path().join("weir-shift.1").exists());
}
