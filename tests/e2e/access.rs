//! Where a command finds the gateway, with what token it asks, and whom it trusts.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::process::Command;

use crate::kit::terminal::{Terminal, weir};
use crate::kit::tls::Certificate;
use crate::kit::weir::folder;
use crate::kit::wire::{Head, Unframed, Wire};
use crate::kit::within;

#[tokio::test]
async fn a_unix_socket_is_asked_with_the_token_of_the_environment() {
    let folder = folder();
    let listener = UnixListener::bind(folder.path().join("weir.sock")).unwrap();
    let asked = tokio::spawn(async move {
        let mut wire = Wire::new(listener.accept().await.unwrap().0);
        let head = Head::parse(&wire.take_through(b"\r\n\r\n").await.unwrap().unwrap()).unwrap();
        wire.body(&head, Unframed::Empty).await.unwrap();
        wire.stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        head
    });
    let environment = [
        ("WEIR_ADMIN", "unix:weir.sock"),
        ("WEIR_TOKEN", "from-the-environment"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
    ];
    let (code, _, stderr) = weir(folder.path(), &["drain"], &environment).await;
    assert_eq!(code, Some(0), "{stderr}");
    let head = within("the call", asked).await.unwrap();
    assert_eq!(head.start, "POST /v1/drain HTTP/1.1");
    assert_eq!(head.field("authorization"), Some("Bearer from-the-environment"));
    assert_eq!(head.field("host"), Some("localhost"));
}

#[tokio::test]
async fn nobody_there_is_four_and_says_where_it_looked() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = folder();
    std::fs::write(folder.path().join("other.yaml"), format!("admin: {free}\n")).unwrap();
    let (code, stdout, stderr) = weir(folder.path(), &["status", "--config", "other.yaml"], &[]).await;
    assert_eq!((code, &*stdout), (Some(4), ""));
    let expected = format!(
        "weir: no answer from http://{free}: Connection refused (os error 111)\n\
         hint: is `weir serve` running? The address comes from `admin` of other.yaml; --admin names another\n"
    );
    assert_eq!(stderr, expected);
}

#[tokio::test]
async fn a_token_file_that_others_can_read_is_not_used() {
    let terminal = Terminal::new().await;
    terminal.mode("weir-state.token", 0o640);
    let (code, _, stderr) = weir(terminal.folder.path(), &["status"], &[]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("weir-state.token (mode 0640)") && stderr.contains("chmod 600"), "{stderr}");
    assert!(terminal.api.seen().is_empty());
}

#[tokio::test]
async fn a_configuration_file_that_does_not_say_where_is_invalid() {
    let terminal = Terminal::new().await;
    terminal.write("weir.yaml", "admin: nowhere\n");
    let (code, _, stderr) = weir(terminal.folder.path(), &["status"], &[]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("weir.yaml:1:") && stderr.contains("--admin"), "{stderr}");
    // What only the gateway's environment holds, and what is wrong elsewhere, does not matter here.
    let address = terminal.api.address;
    terminal.write("weir.yaml", &format!("admin: {address}\noverride: {{tokens: ['${{NOT_HERE}}']}}\nfunctions: 7\n"));
    terminal.on("/v1/drain", 202, &json!({}));
    let (code, _, stderr) = weir(terminal.folder.path(), &["drain"], &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn a_broken_file_that_nobody_named_stops_nobody_who_knows_where_the_gateway_is() {
    let terminal = Terminal::new().await;
    let address = terminal.api.address.to_string();
    terminal.write("weir.yaml", "admin: [\n");
    terminal.on("/v1/drain", 202, &json!({}));
    let (code, _, stderr) = weir(terminal.folder.path(), &["drain", "--admin", &address], &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    terminal.fails("/v1/drain", 401, "Unauthorized", "a token is needed", &json!([]));
    let (_, _, stderr) = weir(terminal.folder.path(), &["drain", "--admin", &address], &[]).await;
    assert!(stderr.contains("weir.yaml cannot be read"), "it says why there is no token:\n{stderr}");
    let named = ["drain", "--admin", &address, "--config", "weir.yaml"];
    let (code, _, stderr) = weir(terminal.folder.path(), &named, &[]).await;
    assert!(code == Some(3) && stderr.contains("weir.yaml:"), "a file that is named has to be right:\n{stderr}");
}

#[tokio::test]
async fn an_admin_listener_with_its_own_authority_is_trusted_by_a_flag() {
    let folder = folder();
    Certificate::new("127.0.0.1").write(folder.path(), "admin");
    let process =
        "listeners: ['127.0.0.1:0']\nadmin: {address: '127.0.0.1:0', tls: {cert: admin.crt, key: admin.key}}\n";
    std::fs::write(folder.path().join("weir.yaml"), process).unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("serve")
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(gateway.stdout.take().unwrap()).lines();
    let announced = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it announces itself before it ends");
            if let Some(address) = line.strip_prefix("weir: admin on ") {
                return address.strip_suffix(" (https)").expect("it speaks TLS").to_owned();
            }
        }
    };
    let address = format!("https://{}", within("the announcement", announced).await);
    let list = ["functions", "list", "--admin", &address];
    let (code, _, stderr) = weir(folder.path(), &list, &[]).await;
    assert!(code == Some(4) && stderr.contains("`--ca FILE` or WEIR_CA"), "{stderr}");
    let (code, _, stderr) = weir(folder.path(), &[&list[..], &["--ca", "admin.crt"]].concat(), &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (code, _, stderr) = weir(folder.path(), &list, &[("WEIR_CA", "admin.crt")]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (code, _, stderr) = weir(folder.path(), &[&list[..], &["--ca", "weir.yaml"]].concat(), &[]).await;
    assert!(code == Some(1) && stderr.contains("weir.yaml holds no certificate"), "{stderr}");
}
