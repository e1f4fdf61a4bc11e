//! The clouds' own clients, as their vendors give them out, against the real binary: each script is a client's, and says what it saw.
//!
//! `make test-tools` installs the clients below `target/clients`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::kit::endpoint::{Answer, Endpoint, refusing};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::eventually;
use crate::kit::tls::Certificate;
use crate::kit::weir::{Weir, folder, run};

const PROCESS: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 300ms, deadline: 10s}
dialects:
  address: 127.0.0.1:0
  account: '000000000000'
  keys:
    - {id: WEIRKEYOPERATOR00001, secret_file: operator.key, role: operator}
    - {id: WEIRKEYVIEWER0000001, secret_file: viewer.key, role: viewer}
    - {id: WEIRKEYINVOKER000001, secret_file: invoker.key, role: invoker}
";

const KEYS: [(&str, &str, &str); 3] = [
    ("OPERATOR", "WEIRKEYOPERATOR00001", "operator-secret-0123456789"),
    ("VIEWER", "WEIRKEYVIEWER0000001", "viewer-secret-0123456789ab"),
    ("INVOKER", "WEIRKEYINVOKER000001", "invoker-secret-0123456789a"),
];

/// How long a client may take for all that it does: a hundred starts of an interpreter on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A gateway with the functions `shop` (version 1, and a draft like version 2) and `broken`, before endpoints.
struct Cloud {
    weir: Weir,
    dialects: SocketAddr,
    endpoints: [Endpoint; 3],
}

impl Cloud {
    async fn start() -> Self {
        Self::start_with(folder(), "").await
    }

    /// With more functions, in a folder with what they name.
    async fn start_with(folder: TempDir, functions: &str) -> Self {
        for (role, _, secret) in KEYS {
            write_secret(&folder.path().join(format!("{}.key", role.to_lowercase())), secret);
        }
        let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await, Endpoint::start("v3").await];
        let boom = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\nboom";
        endpoints[2].on("/invoke", Answer::Raw(boom.to_vec()));
        let [v1, v2, v3] = endpoints.each_ref().map(|endpoint| endpoint.address);
        let closed = refusing().await;
        let live = format!(
            "functions:\n  shop:\n    draft: {{endpoints: ['{v2}']}}\n    versions: {{1: 'http://{v1}'}}\n    aliases: {{live: 1}}\n\
             \x20 broken:\n    versions: {{1: 'http://{v3}', 2: 'http://{closed}'}}\n{functions}\
             domains:\n  shop.example.com: shop:live\n"
        );
        let weir = Weir::start_in(folder, PROCESS, &live).await;
        let dialects = weir.announced("weir: dialects on ").await;
        Self { weir, dialects, endpoints }
    }

    /// Runs a script by an interpreter; it has to end well, and say `said`.
    async fn runs(&self, interpreter: &Path, script: &str, said: &str) {
        let (is_well, told) = self.run(interpreter, &[script], &[]).await;
        assert!(is_well && told.contains(said), "{told}\n{}", self.weir.log());
    }

    /// Runs a script with arguments and more in its environment: whether it ended well, and what it said.
    async fn run(&self, interpreter: &Path, words: &[&str], more: &[(&str, &str)]) -> (bool, String) {
        let (script, arguments) = words.split_first().expect("there is a script");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/clients").join(script);
        assert!(interpreter.exists(), "{} is not there: `make test-tools` installs the clients", interpreter.display());
        let [v1, _, v3] = self.endpoints.each_ref().map(|endpoint| endpoint.address.to_string());
        let mut command = Command::new(interpreter);
        command
            .arg(script)
            .args(arguments)
            .current_dir(self.weir.folder.path())
            .env("WEIR_DIALECTS", format!("http://{}", self.dialects))
            .env("WEIR_HTTP", self.weir.http.to_string())
            .env("WEIR_NODE_MODULES", clients().join("node/node_modules"))
            .envs([("WEIR_V1", v1), ("WEIR_V3", v3)])
            .envs([("HOME", self.weir.folder.path()), ("TMPDIR", self.weir.folder.path())])
            .envs([("NO_PROXY", "*"), ("no_proxy", "*"), ("AWS_EC2_METADATA_DISABLED", "true")])
            .envs([("PYTHONDONTWRITEBYTECODE", "1"), ("AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE", "1")])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (role, id, secret) in KEYS {
            command.env(format!("WEIR_{role}_ID"), id).env(format!("WEIR_{role}_SECRET"), secret);
        }
        command.envs(more.iter().copied());
        let output = timeout(PATIENCE, command.output()).await.expect("the client ends").expect("the client starts");
        let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), told)
    }

    /// What may never be told: secrets in the log, the live configuration, its export, or the journal.
    async fn keeps_secrets(&self) {
        let asked = [self.weir.told(&["export"]).await, self.weir.told(&["history", "--json"]).await];
        for text in [self.weir.log(), self.weir.config().await].iter().chain(&asked) {
            assert!(KEYS.iter().all(|(_, _, secret)| !text.contains(secret)), "{text}");
        }
        assert!(asked[1].contains("key:WEIRKEYOPERATOR00001"), "the journal says who signed: {}", asked[1]);
    }
}

fn write_secret(path: &Path, secret: &str) {
    let next = path.with_extension("next");
    fs::write(&next, secret).expect("the test's folder can be written");
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).expect("a file of ours takes a mode");
    fs::rename(&next, path).expect("the test's folder can be written");
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

fn python() -> PathBuf {
    clients().join("python/bin/python")
}

fn node() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("node")).find(|node| node.exists());
    found.unwrap_or_else(|| PathBuf::from("node"))
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3() {
    let cloud = Cloud::start().await;
    cloud.runs(&python(), "lambda_boto3.py", "boto3 is served").await;
    cloud.keeps_secrets().await;
    let counted = [("dialect", "lambda"), ("operation", "Invoke")];
    let ok = cloud.weir.metric("weir_dialect_requests_total", &[&counted[..], &[("result", "ok")]].concat()).await;
    assert!(ok.is_some_and(|ok| ok >= 100.0), "{ok:?}");
    let failed = [&counted[..], &[("result", "function_error")]].concat();
    assert_eq!(cloud.weir.metric("weir_dialect_requests_total", &failed).await, Some(1.0));
    let line = cloud.weir.access_line("\"path\":\"/invoke\"").await;
    assert!(line.contains("\"function\":\"shop\"") && line.contains("\"method\":\"POST\""), "{line}");
    let event = cloud.endpoints[0].saw("/invoke").await;
    assert_eq!(event.head.field("content-type"), Some("application/json"));
    assert_eq!(event.head.field("x-weir-qualifier"), Some("live"));
    for own in ["authorization", "x-amz-date", "x-amz-content-sha256", "amz-sdk-request"] {
        assert_eq!(event.head.field(own), None, "{own} is not for functions");
    }
    let proxied = cloud.endpoints[0].saw("/cart?a=1").await;
    assert_eq!((proxied.target(), proxied.head.field("cookie")), ("/cart?a=1", Some("c=1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_seen_and_ended() {
    let cloud = Cloud::start().await;
    cloud.weir.told(&["publish", "shop"]).await;
    cloud.weir.told(&["release", "shop:live", "2", "--plan", "canaryWeight: 20"]).await;
    cloud.runs(&python(), "lambda_rollout.py", "the rollout is over").await;
    let rollouts = cloud.weir.told(&["rollouts"]).await;
    assert!(rollouts.contains("superseded"), "{rollouts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_of_aws() {
    Cloud::start().await.runs(&python(), "lambda_cli.py", "aws is served").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_javascript_3() {
    Cloud::start().await.runs(&node(), "lambda_v3.mjs", "JS v3 is served").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_javascript_2() {
    Cloud::start().await.runs(&node(), "lambda_v2.cjs", "JS v2 is served").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tencent() {
    let cloud = Cloud::start().await;
    cloud.runs(&python(), "scf.py", "SCF is served").await;
    cloud.keeps_secrets().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_every_protocol_take_events() {
    let (folder, certificate) = (folder(), Certificate::new("127.0.0.1"));
    certificate.write(folder.path(), "endpoint");
    let secure = Endpoint::start_tls("secure", certificate.server()).await;
    let plain_h2 = H2Endpoint::start(None).await;
    let secure_h2 = H2Endpoint::start(Some(certificate.server_with(&["h2"]))).await;
    let functions = format!(
        "\x20 many:\n    versions:\n      1: {{endpoints: ['{}'], tls: {{ca: endpoint.crt}}}}\n      2: {{endpoints: ['{}'], protocol: h2c}}\n\
         \x20     3: {{endpoints: ['{}'], protocol: h2, tls: {{ca: endpoint.crt}}}}\n      4: {{response: {{status: 200, body: closed}}}}\n",
        secure.address, plain_h2.address, secure_h2.address
    );
    let cloud = Cloud::start_with(folder, &functions).await;
    let (is_well, told) = cloud.run(&python(), &["lambda_invoke.py", "many", "1", "2", "3", "4"], &[]).await;
    assert!(is_well && told.contains("1: 200 None\n2: 200 None\n3: 200 None\n4: 200 None"), "{told}");
    assert_eq!(secure.saw("/invoke").await.body.bytes, b"{}");
    for endpoint in [plain_h2, secure_h2] {
        let seen = endpoint.seen();
        assert_eq!((seen.len(), seen[0].method.as_str(), seen[0].uri.path()), (1, "POST", "/invoke"));
        assert_eq!(seen[0].headers["content-length"], "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_turned_over_without_a_restart() {
    let cloud = Cloud::start().await;
    let words = ["lambda_invoke.py", "shop", "1"];
    assert!(cloud.run(&python(), &words, &[]).await.0);
    let next = "operator-secret-of-the-next-month";
    write_secret(&cloud.weir.folder.path().join("operator.key"), next);
    let turned = async || cloud.run(&python(), &words, &[("WEIR_OPERATOR_SECRET", next)]).await.0.then_some(());
    eventually("the new secret is taken", turned).await;
    let (is_well, told) = cloud.run(&python(), &words, &[]).await;
    assert!(!is_well && told.contains("InvalidSignatureException"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_invoked_is_answered_before_the_gateway_ends() {
    let cloud = Cloud::start().await;
    let answer = Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec());
    cloud.endpoints[0].on("/invoke", Answer::Later(Duration::from_secs(3), Box::new(answer)));
    let stop = async {
        cloud.endpoints[0].saw("/invoke").await;
        cloud.weir.signal("TERM");
    };
    let invoke = ["lambda_invoke.py", "shop", "1"];
    let python = python();
    let ((is_well, told), ()) = tokio::join!(cloud.run(&python, &invoke, &[]), stop);
    assert!(is_well && told.contains("1: 200 None"), "{told}\n{}", cloud.weir.log());
}

#[tokio::test]
async fn keys_are_made_for_their_owner_alone() {
    let folder = folder();
    let (code, told, _) = run(folder.path(), &["key", "new"]).await;
    assert!(code == Some(0) && told.starts_with("id: WEIRKEY") && told.contains("\nsecret: "), "{told}");
    let words = ["key", "new", "--id", "WEIRKEYCI0000000001", "--secret-file", "ci.key"];
    let (code, told, _) = run(folder.path(), &words).await;
    assert_eq!((code, &*told), (Some(0), "{id: WEIRKEYCI0000000001, secret_file: ci.key, role: operator}\n"));
    let file = folder.path().join("ci.key");
    assert_eq!(fs::metadata(&file).expect("it was written").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&file).expect("it is text").trim().len(), 43, "256 bits in base64");
    let (code, _, errors) = run(folder.path(), &words).await;
    assert!(code == Some(1) && errors.contains("ci.key"), "an old secret is not written over: {errors}");
}

#[tokio::test]
async fn explain_takes_a_routing_key() {
    let folder = folder();
    let file = "functions:\n  shop:\n    versions: {1: 'http://10.0.0.1', 2: 'http://10.0.0.2'}\n    aliases:\n      \
                prod: {split: 1, rules: [{when: 'invoke.headers.User exact Bob', version: 2}]}\n\
                domains: {shop.example.com: 'shop:prod'}\n";
    fs::write(folder.path().join("weir.yaml"), file).expect("the test's folder can be written");
    let explain = ["explain", "--host", "shop.example.com", "--json", "--routing-key"];
    for (key, version) in [(r#"{"User": "Bob"}"#, "2"), (r#"{"User": "Ann"}"#, "1")] {
        let (code, told, errors) = run(folder.path(), &[&explain[..], &[key]].concat()).await;
        assert!(code == Some(0) && told.contains(&format!("\"version\": \"{version}\"")), "{told}{errors}");
    }
    let (code, _, errors) = run(folder.path(), &[&explain[..], &["Bob"]].concat()).await;
    assert!(code == Some(2) && errors.contains("is a JSON object of texts"), "{errors}");
}
