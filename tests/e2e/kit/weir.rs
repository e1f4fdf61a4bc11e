//! The real binary, started on ports that the system chooses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::client::{Response, get};
use super::terminal;
use super::{eventually, within};

/// Process settings of most tests: one plain listener, two workers, a short drain.
pub(crate) const PROCESS: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 300ms, deadline: 10s}
";

/// The same with a second listener, for TLS.
pub(crate) const PROCESS_TLS: &str = "\
listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0', tls: true}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 300ms, deadline: 10s}
";

/// A running gateway. Dropping it kills the process.
pub(crate) struct Weir {
    child: Child,
    pub(crate) http: SocketAddr,
    /// The TLS listener, when the file has one.
    pub(crate) https: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
    /// Its working folder; the file is `weir.yaml` in it.
    pub(crate) folder: TempDir,
    process: &'static str,
    stdout: Lines,
    stderr: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Weir {
    /// With [`PROCESS`] before `live`, which is the part of the file that may change.
    pub(crate) async fn start(live: &str) -> Self {
        Self::start_in(folder(), PROCESS, live).await
    }

    /// In a folder that may hold certificates already.
    pub(crate) async fn start_in(folder: TempDir, process: &'static str, live: &str) -> Self {
        Self::start_by(&[], folder, process, live).await
    }

    /// As the last arguments of another command, which is to become the gateway.
    pub(crate) async fn start_by(command: &[&str], folder: TempDir, process: &'static str, live: &str) -> Self {
        let file = folder.path().join("weir.yaml");
        std::fs::write(&file, with_lane(process, live)).expect("the test's folder can be written");
        Self::launch(command, "serve", folder, &file, process).await
    }

    /// From a file that is there already, possibly through links.
    pub(crate) async fn start_file(folder: TempDir, file: &Path, process: &'static str) -> Self {
        Self::start_as("serve", folder, file, process).await
    }

    /// On what another gateway left behind, from the file in its folder.
    pub(crate) async fn again(folder: TempDir) -> Self {
        let file = folder.path().join("weir.yaml");
        Self::start_file(folder, &file, PROCESS).await
    }

    /// As `weir serve` or `weir demo`.
    pub(crate) async fn start_as(command: &str, folder: TempDir, file: &Path, process: &'static str) -> Self {
        Self::launch(&[], command, folder, file, process).await
    }

    async fn launch(by: &[&str], command: &str, folder: TempDir, file: &Path, process: &'static str) -> Self {
        let words = [by, &[env!("CARGO_BIN_EXE_weir"), command, "--config"]].concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let tls = process.contains("tls: true");
        let announced = eventually("the gateway announces its listeners", async || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the gateway ended with {status}:\n{}", text(&stderr));
            }
            let http = announced(&stdout, "weir: listening on ", " (http)")?;
            let https = announced(&stdout, "weir: listening on ", " (https)");
            let admin = announced(&stdout, "weir: admin on ", "")?;
            (https.is_some() == tls).then_some((http, https, admin))
        });
        let (http, https, admin) = announced.await;
        let weir = Self { child, http, https, admin, folder, process, stdout, stderr };
        weir.ready(200).await;
        weir
    }

    /// The file that runs.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("weir.yaml")
    }

    /// The whole text for a changed live part.
    pub(crate) fn text_of(&self, live: &str) -> String {
        with_lane(self.process, live)
    }

    /// Replaces the file in one step; the process settings stay.
    pub(crate) fn edit(&self, live: &str) {
        let next = self.folder.path().join("weir.yaml.next");
        std::fs::write(&next, self.text_of(live)).expect("the test's folder can be written");
        std::fs::rename(&next, self.file()).expect("the test's folder can be written");
    }

    /// Writes into the file as it stands.
    pub(crate) fn overwrite(&self, live: &str) {
        std::fs::write(self.file(), self.text_of(live)).expect("the test's folder can be written");
    }

    /// Waits until the live configuration holds this text.
    pub(crate) async fn lives(&self, mark: &str) {
        eventually(&format!("{mark} is live"), async || self.config().await.contains(mark).then_some(())).await;
    }

    /// The live configuration.
    pub(crate) async fn config(&self) -> String {
        self.ask("/v1/config").await.text()
    }

    /// Waits until `/ready` answers with this status.
    pub(crate) async fn ready(&self, status: u16) {
        let probe = async || (self.ask("/ready").await.status == status).then_some(());
        eventually(&format!("/ready answers {status}"), probe).await;
    }

    /// The value of the series that has all these labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let scrape = self.ask("/metrics").await.text();
        let labelled = |line: &str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
        let named = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let mut values = scrape.lines().filter(|line| named(line) && labelled(line));
        let line = values.next()?;
        assert_eq!(values.next(), None, "more than one {name} with {labels:?}");
        line.rsplit(' ').next().map(|value| value.parse().expect("a metric is a number"))
    }

    /// `GET` on the admin listener.
    pub(crate) async fn ask(&self, path: &str) -> Response {
        get(self.admin, &self.admin.to_string(), path).await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the gateway runs")
    }

    /// Sends `TERM`, `HUP` and the like.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid();
        let kill = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(kill.expect("sh runs").success(), "kill -{name} {pid}");
    }

    /// Runs a command of the same binary against this gateway, in its folder: exit code, stdout, stderr.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.cli_with(arguments, &[]).await
    }

    /// The same with more in its environment.
    pub(crate) async fn cli_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> (Option<i32>, String, String) {
        let admin = self.admin.to_string();
        terminal::weir(self.folder.path(), arguments, &[&[("WEIR_ADMIN", &*admin)], environment].concat()).await
    }

    /// The stdout of a command that has to succeed.
    pub(crate) async fn told(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.cli(arguments).await;
        assert_eq!(code, Some(0), "weir {}:\n{stdout}{stderr}", arguments.join(" "));
        stdout
    }

    /// What a command prints with `--json`.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let told = self.told(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&told).expect("`--json` prints JSON")
    }

    /// The first token, as its file beside the store holds it.
    pub(crate) fn token(&self) -> String {
        let file = self.folder.path().join("weir-state.token");
        std::fs::read_to_string(file).expect("the gateway keeps its first token").trim().to_owned()
    }

    /// Ends it as it would end itself; what it leaves behind can be started again.
    pub(crate) async fn stopped(mut self) -> TempDir {
        self.signal("TERM");
        let status = self.exit().await;
        assert!(status.success(), "{status}:\n{}", self.log());
        self.folder
    }

    /// Ends it within an instruction.
    pub(crate) async fn killed(mut self) -> TempDir {
        within("the process dies", self.child.kill()).await.expect("a running child can be killed");
        self.folder
    }

    /// The folder that a gateway left behind when it ended.
    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    /// Bytes of memory that the process has in use.
    pub(crate) fn resident(&self) -> u64 {
        let pid = self.child.id().expect("the gateway runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("with its resident memory");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("as a number");
        kib << 10
    }

    /// Waits for the end of the process.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        within("the gateway ends", self.child.wait()).await.expect("a child can be waited for")
    }

    /// The address in the announcement that begins so.
    pub(crate) async fn announced(&self, before: &str) -> SocketAddr {
        eventually(before, async || announced(&self.stdout, before, "")).await
    }

    /// Waits for a diagnostic line that holds this text, and returns it.
    pub(crate) async fn logged(&self, part: &str) -> String {
        let find = async || find(&self.stderr, part);
        eventually(&format!("a log line with {part:?}"), find).await
    }

    /// Waits for an access-log line that holds this text, and returns it.
    pub(crate) async fn access_line(&self, part: &str) -> String {
        let find = async || find(&self.stdout, part).filter(|line| line.starts_with('{'));
        eventually(&format!("an access line with {part:?}"), find).await
    }

    /// The access log so far.
    pub(crate) fn access_log(&self) -> Vec<Value> {
        let lines = self.stdout.lock().expect("no test panics with the lock");
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Diagnostics so far.
    pub(crate) fn log(&self) -> String {
        text(&self.stderr)
    }
}

/// A whole file. Its last line chooses the lane of `WEIR_LANE`, where that is set and the settings name none.
fn with_lane(process: &str, live: &str) -> String {
    let chosen = std::env::var("WEIR_LANE").ok().filter(|_| !process.contains("lane:"));
    let lane = chosen.map_or_else(String::new, |lane| format!("lane: {lane}\n"));
    format!("{process}{live}{lane}")
}

/// A new folder that goes away with the test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("the system has a folder for temporary files")
}

/// Runs the binary to its end: exit code, stdout, stderr.
pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within("the command ends", command).await.expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn collect(pipe: impl AsyncRead + Unpin + Send + 'static) -> Lines {
    let lines = Lines::default();
    let sink = lines.clone();
    tokio::spawn(async move {
        let mut pipe = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = pipe.next_line().await {
            sink.lock().expect("no test panics with the lock").push(line);
        }
    });
    lines
}

fn announced(lines: &Lines, before: &str, after: &str) -> Option<SocketAddr> {
    let lines = lines.lock().expect("no test panics with the lock");
    lines.iter().find_map(|line| line.strip_prefix(before)?.strip_suffix(after)?.parse().ok())
}

fn find(lines: &Lines, part: &str) -> Option<String> {
    lines.lock().expect("no test panics with the lock").iter().find(|line| line.contains(part)).cloned()
}

fn text(lines: &Lines) -> String {
    lines.lock().expect("no test panics with the lock").join("\n")
}
