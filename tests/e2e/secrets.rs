//! Secrets: who sees those that stand in the configuration, and where the first token is shown.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::kit::client::Client;
use crate::kit::endpoint::Endpoint;
use crate::kit::rollout::ends;
use crate::kit::terminal;
use crate::kit::weir::{PROCESS, Weir, folder, run};
use crate::kit::within;
use crate::shop;

const LITERAL: &str = "SEC-literal-4711";

/// A live part with a secret written out.
fn with_secret(endpoint: &Endpoint) -> String {
    let hook = format!("{{webhook: {{url: 'http://{}/{LITERAL}', secret: {LITERAL}}}}}", endpoint.address);
    format!("{}notifiers: {{oncall: {hook}}}\n", shop(&[endpoint], "1"))
}

/// The events up to and with the one that holds this mark.
async fn events(weir: &Weir, token: Option<&str>, mark: &str) -> String {
    let mut client = Client::connect(weir.admin).await;
    let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    client.send(format!("GET /v1/events?after=0 HTTP/1.1\r\nhost: {}\r\n{bearer}\r\n", weir.admin)).await;
    client.take_through(mark).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_literal_secret_is_shown_to_those_who_may_change_it_alone() {
    let one = Endpoint::start("v1").await;
    let weir = Weir::start(&with_secret(&one)).await;
    let made = async |role: &str| {
        let told = weir.json(&["token", "create", role, "--role", role]).await;
        told["token"].as_str().unwrap_or_else(|| panic!("no token: {told}")).to_owned()
    };
    let (viewer, operator) = (made("viewer").await, made("operator").await);
    ends(&weir, &["freeze", "--reason", "the-end"], 0).await;
    for token in [None, Some(&*viewer)] {
        let seen = events(&weir, token, "the-end").await;
        assert!(seen.contains("notifier/oncall") && !seen.contains(LITERAL), "{token:?}: {seen}");
        let environment: Vec<_> = token.map(|token| ("WEIR_TOKEN", token)).into_iter().collect();
        let admin = weir.admin.to_string();
        let environment = [&[("WEIR_ADMIN", &*admin)], &*environment].concat();
        // In a folder without a token file.
        let (code, told, _) = terminal::weir(folder().path(), &["notifiers", "get", "oncall"], &environment).await;
        assert!(code == Some(0) && told.contains("(hidden)") && !told.contains(LITERAL), "{token:?}: {told}");
    }
    for token in [operator, weir.token()] {
        let seen = events(&weir, Some(&token), "the-end").await;
        assert!(seen.contains(LITERAL), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_stands_in_the_file_is_warned_about() {
    let one = Endpoint::start("v1").await;
    let folder = folder();
    std::fs::write(folder.path().join("weir.yaml"), format!("{PROCESS}{}", with_secret(&one))).unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["validate", "weir.yaml"]).await;
    let told = stdout + &stderr;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("warning") && told.contains("notifiers.oncall"), "{told}");
    assert!(told.contains("this secret stands in the file") && told.contains("${"), "{told}");
}

/// Reads lines until each of these marks was there once: the lines that have them.
async fn lines_with<const N: usize>(lines: &mut (impl AsyncBufReadExt + Unpin), marks: [&str; N]) -> [String; N] {
    let (mut all, mut found) = (String::new(), marks.map(|_| String::new()));
    while found.iter().any(String::is_empty) {
        let mut line = String::new();
        assert!(
            within("a line", lines.read_line(&mut line)).await.expect("a terminal can be read") > 0,
            "not all of {marks:?}: {all}"
        );
        for (mark, found) in marks.iter().zip(&mut found).filter(|(mark, _)| line.contains(**mark)) {
            assert!(found.is_empty(), "{mark} is there twice: {all}");
            *found = line.trim_end().to_owned();
        }
        all += &line;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_is_shown_on_a_terminal_and_in_no_log() {
    let one = Endpoint::start("v1").await;
    let live = shop(&[&one], "1");
    let weir = Weir::start(&live).await;
    let told = weir.logged("made the token `admin`").await;
    assert!(told.contains("weir-state.token") && !weir.log().contains(&weir.token()), "{}", weir.log());

    let folder = folder();
    std::fs::write(folder.path().join("weir.yaml"), format!("{PROCESS}{live}")).unwrap();
    // `script` gives the gateway a terminal of its own. Whatever becomes of the test, it does not run for long.
    let mut on_terminal = Command::new("script")
        .args(["-qefc", &format!("exec timeout --foreground 60 {} serve", env!("CARGO_BIN_EXE_weir")), "/dev/null"])
        .current_dir(folder.path())
        .env_remove("WEIR_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("util-linux has `script`");
    let mut lines = BufReader::new(on_terminal.stdout.take().unwrap());
    let [line, admin] = lines_with(&mut lines, ["made the token `admin`", "weir: admin on "]).await;
    let token = std::fs::read_to_string(folder.path().join("weir-state.token")).unwrap().trim().to_owned();
    assert!(line.contains("shown this once") && line.ends_with(&token), "{line}");
    let admin = admin.trim_start_matches("weir: admin on ").to_owned();
    let (code, _, stderr) = terminal::weir(folder.path(), &["drain"], &[("WEIR_ADMIN", &admin)]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(within("it ends", on_terminal.wait()).await.unwrap().success());
}
