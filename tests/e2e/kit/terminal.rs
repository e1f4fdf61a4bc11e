//! A terminal before a scripted admin API: runs commands and writes down what they send and print.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::endpoint::{Answer, Endpoint};
use super::weir::folder;
use super::within;

const TOKEN: &str = "weir_0123456789abcdef";

/// A folder with a configuration file that names a scripted admin API, and what happened there so far.
pub(crate) struct Terminal {
    pub(crate) api: Endpoint,
    pub(crate) folder: TempDir,
    transcript: String,
}

impl Terminal {
    pub(crate) async fn new() -> Self {
        let (api, folder) = (Endpoint::start("admin").await, folder());
        let terminal = Self { api, folder, transcript: String::new() };
        terminal.write("weir.yaml", &format!("admin: {{address: '{}'}}\n", terminal.api.address));
        terminal.write("weir-state.token", &format!("{TOKEN}\n"));
        terminal.mode("weir-state.token", 0o600);
        terminal
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("the test's folder can be written");
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        let path = self.folder.path().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the file is the test's own");
    }

    /// What this path answers from now on.
    pub(crate) fn on(&self, path: &str, status: u16, body: &Value) {
        self.on_with(path, status, "", &body.to_string());
    }

    pub(crate) fn on_with(&self, path: &str, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nx-weir-revision: 42\r\n{headers}content-length: {length}\r\n\r\n");
        self.api.on(path, Answer::Raw(format!("{head}{body}").into_bytes()));
    }

    /// An error of the API.
    pub(crate) fn fails(&self, path: &str, status: u16, code: &str, message: &str, problems: &Value) {
        self.on(path, status, &json!({"code": code, "message": message, "problems": problems}));
    }

    /// Runs a command and adds to the transcript what it sent, what it printed and how it ended.
    pub(crate) async fn run(&mut self, arguments: &[&str]) {
        let before = self.api.seen().len();
        let (code, stdout, stderr) = weir(self.folder.path(), arguments, &[]).await;
        let mut told = format!("$ weir {}\n", arguments.join(" "));
        for seen in &self.api.seen()[before..] {
            let _ = writeln!(told, "> {}", seen.head.start.trim_end_matches(" HTTP/1.1"));
            for name in ["if-match", "if-none-match", "content-type", "accept", "last-event-id", "x-weir-why"] {
                for value in seen.head.fields(name).iter().filter(|value| **value != "*/*") {
                    let _ = writeln!(told, "> {name}: {value}");
                }
            }
            for line in String::from_utf8_lossy(&seen.body.bytes).lines() {
                let _ = writeln!(told, "> {line}");
            }
            let authorization = format!("Bearer {TOKEN}");
            assert_eq!(seen.head.field("authorization"), Some(&*authorization), "{told}");
        }
        let stderr: String = stderr.lines().map(|line| format!("! {line}\n")).collect();
        told += &format!("{stdout}{stderr}exit {}\n\n", code.expect("the command was not killed"));
        let folder = self.folder.path().canonicalize().expect("the folder is there");
        let told = told.replace(&self.api.address.to_string(), "127.0.0.1:9900");
        self.transcript += &told.replace(&*folder.to_string_lossy(), "/srv/weir");
    }

    /// Compares the transcript with the one of this name.
    #[track_caller]
    pub(crate) fn expect(&self, name: &str) {
        assert!(!self.transcript.contains(TOKEN), "a command shows the token:\n{}", self.transcript);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cli").join(name).with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&file, &self.transcript).expect("the fixtures can be written");
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(expected == self.transcript, "other than {}:\n{}", file.display(), self.transcript);
    }
}

/// Runs the binary with nothing in its environment that says where the gateway is but `environment`.
pub(crate) async fn weir(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for name in ["WEIR_ADMIN", "WEIR_TOKEN", "WEIR_CONFIG", "WEIR_CA"] {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).current_dir(folder);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = within("the command ends", output).await.expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
