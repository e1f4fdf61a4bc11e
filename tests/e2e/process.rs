//! The process and the system: descriptors, signals, standard streams, and the end.

use std::fs::{File, OpenOptions, read_to_string};
use std::io::{ErrorKind, PipeReader, PipeWriter, Write, pipe};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint, ok};
use crate::kit::h2::H2;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS, PROCESS_TLS, Weir, folder, run};
use crate::kit::{eventually, within};
use crate::{HOST, one, shop};

/// A drain that would go on for much longer than a test waits.
const LONG_DRAIN: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 1h, deadline: 1h}
";

/// An access log in a file.
const LOG_FILE: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 0s, deadline: 1s}
access_log: access.log
";

/// Ten times what an end takes that waits for nothing but its own bounds: a drain of 0 s and 1 s, and a second to close.
const IN_TIME: Duration = Duration::from_secs(20);
/// Ten times what an end at once takes at the most.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_of_open_files_becomes_the_hard_one_and_a_shortage_is_told() {
    let endpoint = Endpoint::start("v1").await;
    let by = ["prlimit", "--nofile=1024:20000"];
    let weir = Weir::start_by(&by, folder(), PROCESS, &shop(&[&endpoint], "1")).await;
    let limits = read_to_string(format!("/proc/{}/limits", weir.pid())).unwrap();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<&str> = open_files.split_whitespace().take(2).collect();
    assert_eq!(numbers, ["20000", "20000"], "{limits}");
    let warning = weir.logged("limits.connections is 100000").await;
    assert!(warning.contains("may open 20000 files") && warning.contains("LimitNOFILE="), "{warning}");
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_open_files_to_serve_anybody_are_a_clear_failure() {
    let folder = folder();
    std::fs::write(folder.path().join("weir.yaml"), PROCESS).unwrap();
    let binary = env!("CARGO_BIN_EXE_weir");
    let command = Command::new("prlimit").args(["--nofile=60:60", binary, "serve"]).current_dir(folder.path()).output();
    let output = within("the command ends", command).await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("may open 60 files") && stderr.contains("raise the hard limit"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_answers_while_clients_hold_every_descriptor_they_can_get() {
    let endpoint = Endpoint::start("v1").await;
    let answers = Arc::new(Semaphore::new(0));
    endpoint.on("/hang", Answer::Parts(vec![ok("v1", b"v1")], answers.clone()));
    let live = shop(&[&endpoint, &endpoint], "{1: 100}");
    let weir = Weir::start_by(&["prlimit", "--nofile=300:300"], folder(), PROCESS, &live).await;
    let token = weir.token();
    weir.told(&["shift", "shop:prod", "1=50", "2=50", "--token", &token]).await;
    let mut kept = Client::connect(weir.http).await;
    assert_eq!(kept.get(HOST, "/").await.status, 200);
    // More than fit, each with a request that holds a connection to the endpoint; those that are turned away get a 503.
    let mut clients = Vec::new();
    for _ in 0..400 {
        let mut client = Client::connect(weir.http).await;
        let request = format!("GET /hang HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        // One that was turned away may be gone already.
        let _ = client.try_send(request.as_bytes()).await;
        clients.push(client);
    }
    let full =
        async || weir.metric("weir_refused_total", &[("reason", "connections")]).await.filter(|count| *count > 200.0);
    eventually("clients are turned away", full).await;
    for path in ["/live", "/ready"] {
        assert_eq!(weir.ask(path).await.status, 200, "{path}");
    }
    weir.told(&["rollback", "shop:prod", "--token", &token]).await;
    assert_eq!(kept.get(HOST, "/").await.status, 200, "who is here is served");
    // The answers that come now find nobody: clients that ended their side are waited for until then.
    drop(clients);
    answers.add_permits(1000);
    let recovers = async || {
        let answer = Client::connect(weir.http).await.get(HOST, "/").await;
        (answer.status == 200).then_some(())
    };
    eventually("new clients are served", recovers).await;
    assert!(!weir.log().contains("ejected"), "{}", weir.log());
}

/// HTTP/2 asks for one connection to an endpoint with each stream, so that no cap on clients holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_descriptors_is_the_gateways_own_fault() {
    const ENDED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (endpoint, released) = (Endpoint::start("v1").await, Arc::new(Semaphore::new(0)));
    endpoint.on("/slow", Answer::Parts(vec![ENDED.into()], Arc::clone(&released)));
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    let live = shop(&[&endpoint, &endpoint], "1").replace(
        &format!("{HOST}: shop:prod"),
        &format!("{HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}"),
    );
    let weir = Weir::start_by(&["prlimit", "--nofile=300:300"], folder, PROCESS_TLS, &live).await;
    let token = weir.token();
    weir.told(&["shift", "shop:prod", "1=50", "2=50", "--token", &token]).await;
    // All before the first request: a connection that finds no descriptor is turned away.
    let mut clients = Vec::new();
    for _ in 0..5 {
        let client = H2::connect(weir.https.expect("a TLS listener"), HOST, certificate.client(&["h2"])).await;
        clients.push(Arc::new(client));
    }
    let mut requests = tokio::task::JoinSet::new();
    for client in clients {
        for _ in 0..80 {
            let client = Arc::clone(&client);
            requests.spawn(async move {
                let request = http::Request::get(format!("https://{HOST}/slow")).body(()).expect("a request");
                client.try_request(request, &[]).await
            });
        }
    }
    // Requests that fit wait at the endpoint; the others are answered at once.
    let told = async || (weir.access_log().len() + endpoint.seen().len() >= 400).then_some(());
    eventually("every request is at the endpoint or was answered", told).await;
    for path in ["/live", "/ready"] {
        assert_eq!(weir.ask(path).await.status, 200, "{path}");
    }
    weir.told(&["rollback", "shop:prod", "--token", &token]).await;
    released.add_permits(1000);
    let (mut served, mut refused) = (0, 0);
    while let Some(answer) = within("answers", requests.join_next()).await {
        match answer.unwrap().map(|answer| answer.status.as_u16()) {
            Ok(200) => served += 1,
            Ok(503) => refused += 1,
            other => panic!("{other:?}: {}", weir.log()),
        }
    }
    assert!(served > 50 && refused > 50 && served + refused == 400, "{served} served, {refused} refused");
    let logged = async || (weir.access_log().len() == 400).then(|| weir.access_log());
    for line in eventually("every request has a line", logged).await {
        let expected = if line["status"] == 200 { "ok" } else { "OL" };
        assert_eq!(line["end"], expected, "{line}");
    }
    assert!(!weir.log().contains("ejected"), "{}", weir.log());
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
}

/// Sends the signals that say neither stop nor quit, and awaits a line in the log for each kind.
async fn gets_signals_that_end_nothing(weir: &Weir) {
    for signal in ["USR2", "WINCH"] {
        weir.signal(signal);
        weir.logged(&format!("SIG{signal} is ignored")).await;
    }
    weir.signal("USR1");
    weir.signal("HUP");
    weir.logged("the configuration file is live").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_mean_nothing_here_end_nothing_and_are_told() {
    let (weir, _endpoint) = one().await;
    gets_signals_that_end_nothing(&weir).await;
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_middle_of_the_start_does_not_kill() {
    let endpoint = Endpoint::start("v1").await;
    let folder = folder();
    std::fs::write(folder.path().join("weir.yaml"), format!("{PROCESS}{}", shop(&[&endpoint], "1"))).unwrap();
    let mut started = serving(folder.path(), Stdio::piped(), Stdio::null());
    let pid = started.id().expect("it runs");
    caught(pid).await;
    // All through the start and beyond it, until it has announced itself.
    let storm = tokio::spawn(async move {
        loop {
            for signal in ["USR1", "USR2", "WINCH", "HUP"] {
                kill(signal, pid);
                tokio::task::yield_now().await;
            }
        }
    });
    let stdout = started.stdout.take().expect("stdout is piped");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
    let announced = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("weir: admin on ") {
                return true;
            }
        }
        false
    };
    assert!(within("the announcement", announced).await, "{:?}", started.try_wait());
    storm.abort();
    kill("TERM", pid);
    assert_eq!(ended(&mut started, IN_TIME).await.code(), Some(0));

    // One that says stop ends it as soon as it is up, with the exit code of a stop.
    let mut stopped = serving(folder.path(), Stdio::null(), Stdio::null());
    let pid = stopped.id().expect("it runs");
    caught(pid).await;
    kill("TERM", pid);
    assert_eq!(ended(&mut stopped, IN_TIME).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_in_the_drain_end_it_only_when_they_say_stop() {
    let endpoint = Endpoint::start("v1").await;
    let mut weir = Weir::start_in(folder(), LONG_DRAIN, &shop(&[&endpoint], "1")).await;
    weir.signal("TERM");
    weir.ready(503).await;
    gets_signals_that_end_nothing(&weir).await;
    assert_eq!(get(weir.http, HOST, "/").await.status, 200, "the delay still serves");
    let start = Instant::now();
    weir.signal("QUIT");
    assert_eq!(weir.exit().await.code(), Some(0));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    weir.logged("SIGQUIT again: ending now").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_signal_after_weir_drain_is_not_a_second_one() {
    let endpoint = Endpoint::start("v1").await;
    let mut weir = Weir::start_in(folder(), LONG_DRAIN, &shop(&[&endpoint], "1")).await;
    let token = weir.token();
    weir.told(&["drain", "--token", &token]).await;
    weir.ready(503).await;
    weir.signal("TERM");
    weir.logged("SIGTERM: draining already").await;
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
    weir.signal("TERM");
    assert_eq!(weir.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_access_log_is_followed_by_a_new_file_and_no_line_is_lost() {
    let endpoint = Endpoint::start("v1").await;
    let weir = Weir::start_in(folder(), LOG_FILE, &shop(&[&endpoint], "1")).await;
    let (file, mut client) = (weir.folder.path().join("access.log"), Client::connect(weir.http).await);
    for (number, signal) in ["HUP", "USR1"].into_iter().enumerate() {
        assert_eq!(client.get(HOST, &format!("/before-{signal}")).await.status, 200);
        std::fs::rename(&file, weir.folder.path().join(format!("access.log.{number}"))).unwrap();
        weir.signal(signal);
        let opened = async || file.exists().then_some(());
        eventually("the access log is opened again", opened).await;
        assert_eq!(client.get(HOST, &format!("/after-{signal}")).await.status, 200);
        let written = async || read_to_string(&file).unwrap().contains(&format!("/after-{signal}")).then_some(());
        eventually("the line is in the new file", written).await;
    }
    // Copied and truncated, it goes on from the beginning.
    std::fs::copy(&file, weir.folder.path().join("access.log.2")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(&file).unwrap();
    assert_eq!(client.get(HOST, "/last").await.status, 200);
    drop(client);
    let folder = weir.stopped().await;
    let names = ["access.log.0", "access.log.1", "access.log.2", "access.log"];
    let text: String = names.map(|name| read_to_string(folder.path().join(name)).unwrap()).concat();
    for path in ["/before-HUP", "/after-HUP", "/before-USR1", "/after-USR1", "/last"] {
        assert_eq!(text.matches(&format!("\"path\":\"{path}\"")).count(), 1, "{path}: {text}");
    }
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_holds_no_character_that_drives_a_terminal() {
    let (weir, _endpoint) = one().await;
    let mut client = Client::connect(weir.http).await;
    let request = format!("GET /a\u{9b}31m\u{202e}b HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: \u{85}\u{2028}x\r\n\r\n");
    client.send(request).await;
    client.response("GET").await;
    let line = weir.access_line(r"\u0085\u2028x").await;
    assert!(line.contains(r"/a\u009b31m\u202eb"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_reads_delay_neither_traffic_nor_reloads_nor_the_end() {
    let endpoint = Endpoint::start("v1").await;
    let mut weir = Unread::start("drain: {delay: 0s, deadline: 1s}\n", &shop(&[&endpoint], "1")).await;
    let mut client = Client::connect(weir.http).await;
    for _ in 0..100 {
        assert_eq!(client.get(HOST, "/").await.status, 200);
    }
    let (file, next) = (weir.folder.path().join("weir.yaml"), weir.folder.path().join("weir.yaml.next"));
    let replace = |text: String| {
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, &file).unwrap();
        kill("HUP", weir.pid());
    };
    // Each refused reload has something to say on standard error.
    for number in 0..20 {
        replace(format!("functions: {number}\n"));
    }
    replace(format!("{}{}", weir.process, shop(&[&endpoint], "{1: 7}")));
    let reloads = async || {
        let status = get(weir.admin, &weir.admin.to_string(), "/metrics").await.text();
        status.contains("weir_config_last_reload_success 1").then_some(())
    };
    eventually("the file is live", reloads).await;
    assert_eq!(client.get(HOST, "/").await.status, 200);
    let start = Instant::now();
    kill("TERM", weir.pid());
    assert_eq!(ended(&mut weir.child, IN_TIME).await.code(), Some(0), "after {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_what_nobody_reads() {
    let endpoint = Endpoint::start("v1").await;
    let mut weir = Unread::start("drain: {delay: 1h, deadline: 1h}\n", &shop(&[&endpoint], "1")).await;
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
    kill("TERM", weir.pid());
    let draining = async || (get(weir.admin, &weir.admin.to_string(), "/ready").await.status == 503).then_some(());
    eventually("it drains", draining).await;
    kill("TERM", weir.pid());
    assert_eq!(ended(&mut weir.child, AT_ONCE).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn why_it_does_not_start_is_written_before_it_ends() {
    let folder = folder();
    std::fs::write(folder.path().join("weir.yaml"), "functions: 7\nlisteners: 8\n").unwrap();
    let (code, _, stderr) = run(folder.path(), &["serve"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("weir.yaml:1:") && stderr.contains("weir.yaml:2:") && stderr.ends_with('\n'), "{stderr}");
    // With nobody who reads it, it ends all the same.
    let (_reader, writer) = full();
    let mut unread = serving(folder.path(), Stdio::null(), writer.into());
    assert_eq!(ended(&mut unread, IN_TIME).await.code(), Some(3));
}

/// Reading `/etc/hosts` never ends, and with it no lookup of a name; neither does reading the file again.
#[tokio::test(flavor = "multi_thread")]
async fn lookups_and_files_that_hang_do_not_hold_the_end() {
    let folder = folder();
    for fifo in ["hosts", "hanging.yaml"] {
        let made = std::process::Command::new("mkfifo").arg(folder.path().join(fifo)).status().unwrap();
        assert!(made.success());
    }
    let live = format!(
        "functions:\n  shop:\n    versions: {{1: 'http://shop-endpoint.test:80'}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: shop:prod\n"
    );
    let hosts = folder.path().join("hosts");
    let mount = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
    let by = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount];
    let mut weir = Weir::start_by(&by, folder, PROCESS, &live).await;
    eventually("a lookup hangs", async || is_read(&hosts).then_some(())).await;
    std::fs::rename(weir.folder.path().join("hanging.yaml"), weir.file()).unwrap();
    weir.signal("HUP");
    let start = Instant::now();
    weir.signal("TERM");
    assert_eq!(weir.exit().await.code(), Some(0), "{}", weir.log());
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
    // The store that it left behind is whole.
    std::fs::remove_file(weir.file()).unwrap();
    std::fs::write(weir.file(), PROCESS).unwrap();
    let again = Weir::again(weir.into_folder()).await;
    assert!(again.config().await.contains("shop-endpoint.test"));
}

/// A certificate in a file that never ends being read. The gateway may refuse it; it may not be held by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_is_blocked_does_not_hold_the_end() {
    let endpoint = Endpoint::start("v1").await;
    let mut weir = Weir::start_in(folder(), PROCESS_TLS, &shop(&[&endpoint], "1")).await;
    let fifo = weir.folder.path().join("hanging.pem");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let body = format!(
        r#"{{"certificate": {{"cert": {fifo:?}, "key": {fifo:?}}}, "routes": [{{"path": "/*", "to": "shop:prod"}}]}}"#
    );
    let (admin, token, length) = (weir.admin, weir.token(), body.len());
    let mut client = Client::connect(admin).await;
    let head = format!(
        "PUT /v1/domains/other.test HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    client.send(head + &body).await;
    let asked = tokio::spawn(async move { client.response("PUT").await.status });
    eventually("the file is read or refused", async || (is_read(&fifo) || asked.is_finished()).then_some(())).await;
    let start = Instant::now();
    weir.signal("TERM");
    assert_eq!(weir.exit().await.code(), Some(0), "{}", weir.log());
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
}

/// A command that is on its way: the binary as `weir serve` in this folder.
fn serving(folder: &Path, stdout: Stdio, stderr: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("serve").current_dir(folder).stdin(Stdio::null()).stdout(stdout).stderr(stderr).kill_on_drop(true);
    command.spawn().expect("the binary starts")
}

/// A running gateway whose standard streams are full pipes, which hold what they held before it came.
struct Unread {
    child: Child,
    http: SocketAddr,
    admin: SocketAddr,
    folder: TempDir,
    process: String,
    _readers: [PipeReader; 2],
}

impl Unread {
    async fn start(drain: &str, live: &str) -> Self {
        let [http, admin] = [free().await, free().await];
        let process = format!("listeners: ['{http}']\nadmin: '{admin}'\nworkers: 2\n{drain}");
        let folder = folder();
        std::fs::write(folder.path().join("weir.yaml"), format!("{process}{live}"))
            .expect("the test's folder can be written");
        let ((out, stdout), (err, stderr)) = (full(), full());
        let child = serving(folder.path(), stdout.into(), stderr.into());
        let up = async || tokio::net::TcpStream::connect(admin).await.is_ok().then_some(());
        eventually("it serves though nobody reads its announcement", up).await;
        Self { child, http, admin, folder, process, _readers: [out, err] }
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }
}

/// An address without a listener.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address")
}

/// A pipe that takes no byte more.
fn full() -> (PipeReader, PipeWriter) {
    const O_NONBLOCK: i32 = 0o4000;
    let (reader, writer) = pipe().expect("the system has pipes");
    // Another description of the same pipe, so that the one that is handed on still waits.
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut filler = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).expect("a pipe has a path");
    // Byte by byte at the end: a pipe takes less than a page while it has no room for a whole one.
    for block in [4096, 1] {
        let full = loop {
            if let Err(error) = filler.write_all(&vec![b'.'; block]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    (reader, writer)
}

/// True if a process has opened this FIFO for reading.
fn is_read(fifo: &Path) -> bool {
    const O_NONBLOCK: i32 = 0o4000;
    let opened: std::io::Result<File> = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(fifo);
    // Kept open: at its end the reader would find nothing and go on.
    opened.map(std::mem::forget).is_ok()
}

/// Waits until the process takes `SIGTERM` itself.
async fn caught(pid: u32) {
    const TERM: u64 = 1 << 14;
    let caught = async || {
        let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"))?;
        (u64::from_str_radix(mask, 16).ok()? & TERM != 0).then_some(())
    };
    eventually("signals are taken", caught).await;
}

fn kill(signal: &str, pid: u32) {
    let kill = std::process::Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(kill.expect("sh runs").success(), "kill -{signal} {pid}");
}

async fn ended(child: &mut Child, patience: Duration) -> ExitStatus {
    let waited = tokio::time::timeout(patience, child.wait()).await;
    waited.unwrap_or_else(|_| panic!("it did not end within {patience:?}")).expect("a child can be waited for")
}
