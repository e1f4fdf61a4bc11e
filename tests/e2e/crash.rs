//! What is left when the process dies at once, and what works while the disk is full.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::kit::api::Api;
use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::load::Load;
use crate::kit::weir::{Weir, folder};
use crate::kit::{eventually, within};
use crate::{HOST, shop};

const ALIAS: &str = "/v1/functions/shop/aliases/prod";
const STAGE: &str = "/v1/stages/mark";

/// What the edits change: two texts of the store, which a rollback of everything changes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// The weight of version 2, in hundredths of a percent.
    weight: u32,
    /// A variable of a stage.
    mark: u32,
}

impl State {
    async fn of(api: &mut Api) -> (u64, Self) {
        let alias = api.call("GET", ALIAS, "").await;
        let weight = alias.json()["effective"]["2"].as_f64().unwrap_or(0.0);
        let mark = api.call("GET", STAGE, "").await.json()["variables"]["n"].as_str().expect("it is there").to_owned();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10 000")]
        let weight = (weight * 100.0).round() as u32;
        (alias.revision(), Self { weight, mark: mark.parse().expect("it is a number") })
    }
}

/// Every revision that was acknowledged, and what it made live; the last one is current.
struct Past {
    states: Vec<(u64, State)>,
    random: SmallRng,
}

impl Past {
    fn now(&self) -> State {
        self.states.last().expect("there is a beginning").1
    }

    /// An edit, and what it makes of the state.
    fn draw(&mut self) -> (State, &'static str, &'static str, Value) {
        let now = self.now();
        match self.random.random_range(0..3) {
            0 => {
                let weight = self.random.random_range(1..10_000);
                let percent = |weight: u32| f64::from(weight) / 100.0;
                let split = json!({"1": percent(10_000 - weight), "2": percent(weight)});
                (State { weight, ..now }, "PATCH", ALIAS, json!({ "split": split }))
            }
            1 => {
                let mark = self.random.random_range(0..u32::MAX);
                let stage = json!({"alias": "prod", "variables": {"n": mark.to_string()}});
                (State { mark, ..now }, "PUT", STAGE, stage)
            }
            _ => {
                let (to, state) = self.states[self.random.random_range(0..self.states.len())];
                (state, "POST", "/v1/config/rollback", json!({ "to": to }))
            }
        }
    }

    /// Edits until the gateway dies; what the last edit, which nobody acknowledged, would have made of the state.
    async fn edit(&mut self, mut api: Api) -> State {
        loop {
            let (next, method, path, body) = self.draw();
            match api.try_call(method, path, body.to_string()).await {
                Ok(answer) => {
                    assert!(answer.status < 300, "{method} {path} {body}: {}", answer.text());
                    self.states.push((answer.revision(), next));
                }
                Err(_) => return next,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_has_every_edit_that_it_acknowledged() {
    const KILLS: usize = 200;
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = format!("{}stages:\n  mark: {{alias: prod, variables: {{n: '0'}}}}\n", shop(&[&one, &two], "1"));
    let mut weir = Weir::start(&live).await;
    let mut past =
        Past { states: vec![State::of(&mut Api::of(&weir).await).await], random: SmallRng::seed_from_u64(7) };
    for kill in 0..KILLS {
        let api = Api::of(&weir).await;
        let after = Duration::from_micros(past.random.random_range(0..60_000));
        let dying = async {
            sleep(after).await;
            weir.killed().await
        };
        let (wished, folder) = tokio::join!(past.edit(api), dying);
        weir = Weir::again(folder).await;
        let (revision, found) = State::of(&mut Api::of(&weir).await).await;
        let (last, acknowledged) = *past.states.last().expect("there is a beginning");
        let as_acknowledged = (revision, found) == (last, acknowledged);
        // Killed between the commit and its answer. A rollback to what is there already changes nothing.
        let as_wished = revision == last + 1 && found == wished;
        assert!(
            as_acknowledged || as_wished,
            "kill {kill} after {after:?}: {found:?} at {revision}; acknowledged {acknowledged:?} at {last}, then {wished:?}"
        );
        past.states.push((revision, found));
        let verdict = weir.told(&["verify"]).await;
        assert!(verdict.contains(&format!("whole, revisions 1 to {revision}")), "{verdict}");
    }
    assert!(past.states.len() > 3 * KILLS, "only {} edits", past.states.len());
}

/// Process settings with the store on a disk of its own.
const ON_A_DISK: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
store: {path: disk/weir-state.db}
workers: 2
drain: {delay: 300ms, deadline: 10s}
";

/// A file system of 2 MiB that outlives a gateway on it. Seen by nobody but processes in its namespaces.
struct Disk {
    holder: Child,
    path: PathBuf,
}

impl Disk {
    /// At `disk` in this folder.
    async fn new(folder: &Path) -> Self {
        let path = folder.join("disk");
        std::fs::create_dir(&path).expect("the test's folder can be written");
        let mount = "mount -t tmpfs -o size=2m none \"$0\" && echo mounted && exec sleep 600";
        let mut holder = Command::new("unshare")
            .args(["-rm", "sh", "-c", mount])
            .arg(&path)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare of util-linux is there");
        let mut lines = BufReader::new(holder.stdout.take().expect("stdout is piped")).lines();
        let line = within("a disk is mounted", lines.next_line()).await.expect("a pipe can be read");
        assert_eq!(line.as_deref(), Some("mounted"), "this test needs user namespaces (unshare -rm)");
        Self { holder, path }
    }

    fn pid(&self) -> String {
        self.holder.id().expect("it runs until it is dropped").to_string()
    }

    /// A file on it, as it is seen from here.
    fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(self.path.strip_prefix("/").expect("a temporary folder has an absolute path")).join(name)
    }

    /// Takes all space that is left, and what the store has in reserve in files of its own.
    async fn fill(&self, weir: &Weir) {
        let all = std::fs::write(self.file("ballast"), vec![1; 4 << 20]);
        assert!(all.is_err(), "the disk is too large");
        let mut api = Api::with(weir, self.token()).await;
        for weight in 1..100 {
            let split = json!({"split": {"1": weight, "2": 100 - weight}});
            let answer = api.call("PUT", "/v1/functions/shop/aliases/spare", split.to_string()).await;
            if answer.status == 503 {
                return;
            }
            assert!(answer.status < 300, "{}", answer.text());
        }
        panic!("a full disk takes a hundred edits");
    }

    fn free(&self) {
        std::fs::remove_file(self.file("ballast")).expect("the disk was filled");
    }

    /// Starts a gateway with its store here.
    async fn start(&self, folder: TempDir, live: &str) -> Weir {
        let pid = self.pid();
        // A namespace is entered at its root.
        let enter = format!("cd '{}' && exec \"$0\" \"$@\"", folder.path().display());
        let command = ["nsenter", "-U", "--preserve-credentials", "-m", "-t", &pid, "sh", "-c", &enter];
        Weir::start_by(&command, folder, ON_A_DISK, live).await
    }

    fn token(&self) -> String {
        let token = std::fs::read_to_string(self.file("weir-state.token"));
        token.expect("the gateway keeps its first token").trim().to_owned()
    }
}

/// A gateway before two versions, with its store on a disk; what its file says.
async fn on_a_disk() -> (Disk, Weir, String, [Endpoint; 2]) {
    let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await];
    let live = shop(&[&endpoints[0], &endpoints[1]], "1");
    let folder = folder();
    let disk = Disk::new(folder.path()).await;
    let weir = disk.start(folder, &live).await;
    (disk, weir, live, endpoints)
}

/// The versions of ten requests.
async fn ten(weir: &Weir) -> Vec<String> {
    let mut client = Client::connect(weir.http).await;
    let mut versions = Vec::new();
    for _ in 0..10 {
        versions.push(client.get(HOST, "/").await.text());
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_edits_and_neither_requests_nor_a_rollback() {
    let (disk, weir, live, _endpoints) = on_a_disk().await;
    let token = disk.token();
    let command = async |weir: &Weir, arguments: &[&str]| weir.cli_with(arguments, &[("WEIR_TOKEN", &token)]).await;
    let load = Load::start(weir.http, HOST, 2, 200_000);
    let (code, _, stderr) = command(&weir, &["shift", "shop:prod", "2"]).await;
    assert_eq!(code, Some(0), "{stderr}");

    disk.fill(&weir).await;
    let (code, stdout, stderr) = command(&weir, &["shift", "shop:prod", "1=50", "2=50"]).await;
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("StoreUnavailable") && stderr.contains("full disk"), "{stderr}");
    assert_eq!(ten(&weir).await, ["v2"; 10]);
    assert_eq!(weir.metric("weir_unsaved_rollback", &[]).await, Some(0.0));

    let roll_back = async |weir: &Weir| {
        let (code, _, stderr) = command(weir, &["rollback", "shop:prod", "--why", "errors"]).await;
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains("the store cannot take it"), "{stderr}");
        assert_eq!(ten(weir).await, ["v1"; 10]);
        assert_eq!(weir.metric("weir_unsaved_rollback", &[]).await, Some(1.0));
    };
    roll_back(&weir).await;
    let (_, status, _) = command(&weir, &["status"]).await;
    assert!(status.contains("NOT HEALTHY (paused: ") && status.contains("full disk"), "{status}");
    let before = load.done();
    eventually("requests are served", async || (load.done() > before + 50).then_some(())).await;
    for exchange in load.stop().await {
        assert!(matches!(exchange.outcome, Ok((200, _))), "{:?}", exchange.outcome);
    }

    // Killed before it could be written: what was stored serves.
    let weir = disk.start(weir.killed().await, &live).await;
    assert_eq!(ten(&weir).await, ["v2"; 10]);
    assert_eq!(weir.metric("weir_unsaved_rollback", &[]).await, Some(0.0));
    disk.fill(&weir).await;
    roll_back(&weir).await;

    disk.free();
    let saved = async || weir.metric("weir_unsaved_rollback", &[]).await.filter(|value| *value == 0.0);
    eventually("the rollback is written", saved).await;
    assert_eq!(ten(&weir).await, ["v1"; 10]);
    let (_, history, _) = command(&weir, &["history", "--limit", "1"]).await;
    assert!(history.contains("2: 100 -> 1: 100") && history.contains("why: errors"), "{history}");
    let weir = disk.start(weir.killed().await, &live).await;
    assert_eq!(ten(&weir).await, ["v1"; 10]);
    let (code, verdict, stderr) = command(&weir, &["verify"]).await;
    assert_eq!(code, Some(0), "{verdict}{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_no_disk_could_take_outlives_a_kill() {
    let (disk, weir, live, _endpoints) = on_a_disk().await;
    let token = disk.token();
    let command = async |weir: &Weir, arguments: &[&str]| {
        let (code, stdout, stderr) = weir.cli_with(arguments, &[("WEIR_TOKEN", &token)]).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        stdout
    };
    command(&weir, &["release", "shop:prod", "2", "--plan", "canaryWeight: 50"]).await;
    disk.fill(&weir).await;
    command(&weir, &["abort", "shop:prod"]).await;
    assert_eq!(ten(&weir).await, ["v1"; 10]);
    assert_eq!(weir.metric("weir_unsaved_rollback", &[]).await, Some(1.0));

    let weir = disk.start(weir.killed().await, &live).await;
    assert_eq!(ten(&weir).await, ["v1"; 10], "from the first request on, and the disk is still full");
    disk.free();
    let saved = async || weir.metric("weir_unsaved_rollback", &[]).await.filter(|value| *value == 0.0);
    eventually("the abort is written", saved).await;
    let told = command(&weir, &["rollouts"]).await;
    assert!(told.contains("aborted"), "{told}");

    command(&weir, &["release", "shop:prod", "2", "--plan", "canaryWeight: 50"]).await;
    let weir = disk.start(weir.killed().await, &live).await;
    let seconds = ten(&weir).await.iter().filter(|version| *version == "v2").count();
    assert_eq!(seconds, 5, "what is noted is forgotten once it is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_shows_and_so_does_a_rollout_that_waits_for_it() {
    let (disk, weir, _live, _endpoints) = on_a_disk().await;
    let token = disk.token();
    assert_eq!(weir.metric("weir_store_writable", &[]).await, Some(1.0));
    let plan = "steps: [{weight: 20, bake: 3s}, {weight: 40, bake: 1s}, {weight: 60, bake: hold}]";
    let plan = format!("{{{plan}, guard: false}}");
    let release = ["release", "shop:prod", "2", "--no-preflight", "--plan", &plan];
    let (code, _, stderr) = weir.cli_with(&release, &[("WEIR_TOKEN", &token)]).await;
    assert_eq!(code, Some(0), "{stderr}");
    disk.fill(&weir).await;

    let running = async || weir.ask("/v1/rollouts?limit=1").await.json()["items"][0].clone();
    let waits =
        async || running().await["waits_for"].as_str().filter(|text| text.contains("the store")).map(str::to_owned);
    let waits = eventually("the rollout waits for the store", waits).await;
    assert!(waits.contains("full disk"), "{waits}");
    let (_, status, _) = weir.cli(&["status"]).await;
    assert!(status.contains("NOT HEALTHY (paused: ") && status.contains("baking, waits for the store"), "{status}");
    let store = weir.ask("/v1/status").await.json()["store"].clone();
    assert!(store["writable"] == false && store["paused_since"].is_string(), "{store}");
    assert_eq!(weir.metric("weir_store_writable", &[]).await, Some(0.0));
    let ready = weir.ask("/ready").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("changes are paused: ") && ready.text().contains("full disk"), "{}", ready.text());

    disk.free();
    let goes_on = async || (running().await["weight"].as_f64()? > 20.0).then_some(());
    eventually("the rollout goes on", goes_on).await;
    assert_eq!(weir.metric("weir_store_writable", &[]).await, Some(1.0));
    assert_eq!(weir.ask("/ready").await.text(), "ready\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn room_on_the_disk_is_noticed_without_a_change() {
    let (disk, weir, _live, _endpoints) = on_a_disk().await;
    disk.fill(&weir).await;
    let shows = async |wanted: f64| weir.metric("weir_store_writable", &[]).await.filter(|value| *value == wanted);
    eventually("it shows", async || shows(0.0).await).await;
    disk.free();
    eventually("it is over", async || shows(1.0).await).await;
    assert!(!disk.file("weir-state.probe").exists(), "the probe leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_hook_outlives_a_full_disk() {
    let (disk, weir, _live, endpoints) = on_a_disk().await;
    let token = disk.token();
    let answers = Arc::new(Semaphore::new(0));
    let yes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    endpoints[0].on("/hook", Answer::Parts(vec![yes], Arc::clone(&answers)));
    let hook = format!("hooks: {{before: ['http://{}/hook']}}", endpoints[0].address);
    let plan = format!("{{canaryStep: {{weight: 50, interval: 10m}}, {hook}}}");
    let release = ["release", "shop:prod", "2", "--plan", &plan];
    let (code, _, stderr) = weir.cli_with(&release, &[("WEIR_TOKEN", &token)]).await;
    assert_eq!(code, Some(0), "{stderr}");
    eventually("the hook is asked", async || {
        endpoints[0].seen().iter().any(|seen| seen.head.start.contains("/hook")).then_some(())
    })
    .await;
    disk.fill(&weir).await;
    answers.add_permits(1);
    weir.logged("its next step cannot be stored").await;
    disk.free();
    let shared = async || ten(&weir).await.contains(&"v2".to_owned()).then_some(());
    eventually("the rollout goes on", shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_was_stored_late_is_the_rollouts() {
    let (disk, weir, _live, _endpoints) = on_a_disk().await;
    let token = disk.token();
    let command = async |arguments: &[&str]| {
        let (code, _, stderr) = weir.cli_with(arguments, &[("WEIR_TOKEN", &token)]).await;
        assert_eq!(code, Some(0), "{stderr}");
    };
    command(&["release", "shop:prod", "2", "--plan", "canaryStep: {weight: 50, interval: 10m}"]).await;
    assert!(ten(&weir).await.contains(&"v2".to_owned()));
    disk.fill(&weir).await;
    command(&["abort", "shop:prod"]).await;
    assert_eq!(ten(&weir).await, ["v1"; 10]);
    disk.free();
    let saved = async || weir.metric("weir_unsaved_rollback", &[]).await.filter(|value| *value == 0.0);
    eventually("the abort is written", saved).await;
    // It is so already.
    command(&["rollback", "shop:prod"]).await;
    assert_eq!(ten(&weir).await, ["v1"; 10]);
}
