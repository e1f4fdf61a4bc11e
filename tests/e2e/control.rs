//! The control plane end to end: the binary as server and as command line, and what requests see of it.

use crate::kit::api::Api;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS, PROCESS_TLS, Weir, folder, run};
use crate::{HOST, shop};

const ALIAS: &str = "/v1/functions/shop/aliases/prod";

/// A gateway before endpoints `v1` and `v2`, versions 1 and 2 of `shop`.
async fn two() -> (Weir, Endpoint, Endpoint) {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    (Weir::start(&shop(&[&one, &two], "1")).await, one, two)
}

/// How many of 100 requests the first version answered.
async fn first_of_hundred(weir: &Weir) -> usize {
    let mut client = Client::connect(weir.http).await;
    let mut first = 0;
    for _ in 0..100 {
        first += usize::from(client.get(HOST, "/").await.text() == "v1");
    }
    first
}

/// What every client gets when all ask at once.
async fn answers(clients: &mut [Client]) -> Vec<String> {
    for client in &mut *clients {
        client.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    }
    let mut bodies = Vec::new();
    for client in clients {
        bodies.push(client.response("GET").await.text());
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_live_when_its_answer_is_there() {
    let (weir, _one, _two) = two().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(weir.http).await);
    }
    let mut api = Api::of(&weir).await;
    for round in 0..200 {
        let version = round % 2 + 1;
        let answer = api.call("PATCH", ALIAS, format!("{{split: {{{version}: 100}}}}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answers(&mut clients).await, vec![format!("v{version}"); 8], "round {round}");
    }
    for version in ["2", "1"] {
        assert!(weir.told(&["shift", "shop:prod", version]).await.starts_with("shop:prod is "));
        assert_eq!(answers(&mut clients).await, vec![format!("v{version}"); 8]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_of_what_somebody_else_changed_is_refused() {
    let (weir, _one, _two) = two().await;
    let seen = weir.json(&["alias", "get", "shop:prod"]).await["revision"].to_string();
    weir.told(&["shift", "shop:prod", "1=75", "2=25", "--if-revision", &seen]).await;
    let (code, stdout, stderr) = weir.cli(&["shift", "shop:prod", "2", "--if-revision", &seen]).await;
    assert_eq!((code, &*stdout), (Some(5), ""), "{stderr}");
    let now = weir.json(&["alias", "get", "shop:prod"]).await["revision"].to_string();
    assert!(stderr.contains(&format!("revision {now}")), "{stderr}");
    assert_eq!(first_of_hundred(&weir).await, 75);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_outlives_a_restart_until_the_file_says_otherwise() {
    let (weir, one, two) = two().await;
    weir.told(&["shift", "shop:prod", "1=25", "2=75", "--why", "a careful start"]).await;
    let revision = weir.ask("/v1/status").await.revision();
    let weir = Weir::again(weir.stopped().await).await;
    assert_eq!(first_of_hundred(&weir).await, 25);
    assert_eq!(weir.ask("/v1/status").await.revision(), revision, "a file that says nothing new changes nothing");

    let file = shop(&[&one, &two], "1");
    weir.edit(&format!("{file}stages:\n  elsewhere: {{alias: prod}}\n"));
    weir.lives("elsewhere").await;
    assert_eq!(first_of_hundred(&weir).await, 25, "the file changed, and not about the split");
    weir.edit(&shop(&[&one, &two], "{1: 50, 2: 50}"));
    weir.lives("{1: 50, 2: 50}").await;
    assert_eq!(first_of_hundred(&weir).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_leaves_the_file_is_retired_and_may_come_back() {
    let (weir, one, two) = two().await;
    let retired = async || weir.json(&["version", "get", "shop:2"]).await["retired"] == true;
    weir.edit(&shop(&[&one], "1"));
    eventually("version 2 is retired", async || retired().await.then_some(())).await;
    let (code, _, stderr) = weir.cli(&["shift", "shop:prod", "2"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("retired"), "{stderr}");
    weir.edit(&shop(&[&one, &two], "1"));
    eventually("version 2 is back", async || (!retired().await).then_some(())).await;
    weir.told(&["shift", "shop:prod", "2"]).await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_becomes_a_version_once() {
    let (weir, _one, _two) = two().await;
    let three = Endpoint::start("v3").await;
    weir.told(&["draft", "set", "shop", "--endpoint", &three.address.to_string()]).await;
    assert!(weir.told(&["publish", "shop", "--label", "third"]).await.starts_with("shop:3 is published"));
    let (code, _, stderr) = weir.cli(&["publish", "shop"]).await;
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains("version 3"), "{stderr}");
    weir.told(&["shift", "shop:prod", "3"]).await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v3");
    let versions = weir.told(&["version", "list", "shop"]).await;
    assert!(versions.contains("third") && !versions.contains("shop:4"), "{versions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_too_many_go_when_one_is_published() {
    let one = Endpoint::start("v1").await;
    let live = format!("versions: {{keep: 2}}\n{}", shop(&[&one], "1"));
    let weir = Weir::start(&live).await;
    let publish = async |number: u32| {
        weir.told(&["draft", "set", "shop", "--endpoint", &format!("127.0.0.1:{number}")]).await;
        weir.told(&["publish", "shop"]).await
    };
    for number in 2..=5 {
        publish(number).await;
        weir.told(&["shift", "shop:prod", "1"]).await;
    }
    let versions = weir.told(&["version", "list", "shop"]).await;
    let there: Vec<bool> = (1..=5).map(|number| versions.contains(&format!("shop:{number} "))).collect();
    assert_eq!(there, [true, false, false, true, true], "the alias and the file name version 1: {versions}");
    let (code, _, stderr) = weir.cli(&["shift", "shop:prod", "2"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    let digest = stderr.split("had the digest ").nth(1);
    assert!(digest.is_some(), "{stderr}");
    // The same content has its number again, and nothing else has.
    let file = |version| live.replace("versions: {1:", &format!("versions: {{2: {version}, 1:"));
    weir.edit(&file("'http://127.0.0.1:22'"));
    weir.logged("was dropped, and had the digest").await;
    weir.edit(&file("'http://127.0.0.1:2'"));
    let is_back = async || weir.told(&["version", "list", "shop"]).await.contains("shop:2 ").then_some(());
    eventually("version 2 is back", is_back).await;
    assert!(publish(6).await.starts_with("shop:6 is published"), "numbers go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_back_what_was() {
    let (weir, _one, _two) = two().await;
    let (start, before) = (weir.ask("/v1/status").await.revision().to_string(), weir.told(&["export"]).await);
    weir.told(&["shift", "shop:prod", "2"]).await;
    weir.told(&["rollback", "shop:prod"]).await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");

    weir.told(&["shift", "shop:prod", "2"]).await;
    weir.told(&["alias", "create", "shop:canary", "2"]).await;
    std::fs::write(weir.folder.path().join("canary.yaml"), "shop:canary").unwrap();
    weir.told(&["domains", "set", "canary.example.com", "--file", "canary.yaml"]).await;
    assert_eq!(get(weir.http, "canary.example.com", "/").await.text(), "v2");
    weir.told(&["rollback", "--all", "--to", &start, "--why", "a bad day"]).await;
    assert_eq!(weir.told(&["export"]).await, before);
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");
    assert_eq!(get(weir.http, "canary.example.com", "/").await.status, 404);
    let newest = weir.json(&["history", "--limit", "1"]).await;
    assert_eq!((newest[0]["why"].as_str(), newest[0]["who"].as_str()), (Some("a bad day"), Some("token:admin")));
    assert!(weir.told(&["verify"]).await.contains("whole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_brings_everything_to_another_machine() {
    let (weir, one, two) = two().await;
    let viewer = weir.told(&["token", "create", "wall", "--role", "viewer"]).await;
    weir.told(&["shift", "shop:prod", "1=10", "2=90"]).await;
    weir.told(&["export", "--everything", "--output", "dump"]).await;
    let (token, history) = (weir.token(), weir.json(&["history"]).await);
    let revision = weir.ask("/v1/status").await.revision();
    let left = weir.stopped().await;

    let moved = folder();
    std::fs::write(moved.path().join("weir.yaml"), format!("{PROCESS}{}", shop(&[&one, &two], "1"))).unwrap();
    let dump = std::fs::read(left.path().join("dump")).unwrap();
    std::fs::write(moved.path().join("half"), &dump[..dump.len() / 2]).unwrap();
    let (code, _, stderr) = run(moved.path(), &["import", "half"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("no whole export"), "{stderr}");
    let dump = left.path().join("dump");
    let (code, stdout, stderr) = run(moved.path(), &["import", dump.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let store = moved.path().join("weir-state.db");
    assert!(stdout.contains(&format!("into {}", store.display())), "the store is named whole: {stdout}");
    let (code, _, stderr) = run(moved.path(), &["import", dump.to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("empty"), "{stderr}");

    let weir = Weir::again(moved).await;
    assert_eq!(first_of_hundred(&weir).await, 10);
    assert_eq!(weir.ask("/v1/status").await.revision(), revision);
    assert_eq!(weir.json(&["history"]).await, history);
    assert!(weir.told(&["verify"]).await.contains("whole"));
    let (code, stdout, _) = weir.cli_with(&["token", "list"], &[("WEIR_TOKEN", &token)]).await;
    assert!(code == Some(0) && stdout.contains("wall"), "{stdout}");
    let (code, _, stderr) = weir.cli_with(&["status"], &[("WEIR_TOKEN", viewer.trim())]).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_relative_names_in_the_folder_of_its_configuration() {
    let (left, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(left.path(), "shop");
    let endpoint = Endpoint::start("v1").await;
    let live = format!(
        "functions:\n  shop: {{versions: {{1: 'http://{}'}}, aliases: {{prod: 1}}}}\n\
         domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n",
        endpoint.address
    );
    let weir = Weir::start_in(left, PROCESS_TLS, &live).await;
    weir.told(&["export", "--everything", "--output", "dump"]).await;
    let left = weir.stopped().await;
    let dump = left.path().join("dump");
    for is_there in [false, true] {
        let moved = folder();
        std::fs::create_dir(moved.path().join("etc")).unwrap();
        if is_there {
            certificate.write(&moved.path().join("etc"), "shop");
        }
        std::fs::write(moved.path().join("etc/weir.yaml"), format!("{PROCESS_TLS}{live}")).unwrap();
        let arguments = ["import", "--config", "etc/weir.yaml", dump.to_str().unwrap()];
        let (code, stdout, stderr) = run(moved.path(), &arguments).await;
        assert_eq!(code, Some(0), "it is whole all the same: {stderr}");
        assert!(stdout.contains("imported revision"), "{stdout}");
        let whole = moved.path().join("etc/shop.crt").display().to_string();
        assert_eq!(stderr.contains(&whole), !is_there, "{stderr}");
        assert_eq!(stderr.contains("relative names are taken in"), !is_there, "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_has_one_gateway() {
    let (weir, _one, _two) = two().await;
    let (code, _, stderr) = run(weir.folder.path(), &["serve"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("weir-state.db is in use by another process"), "{stderr}");
    let (code, _, stderr) = run(weir.folder.path(), &["import", "weir.yaml"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("in use by another process"), "{stderr}");
    weir.told(&["shift", "shop:prod", "2"]).await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v2");
}

/// A connection that follows changes, from after the last one that it knows.
async fn follow(weir: &Weir, last: u64) -> Client {
    let mut client = Client::connect(weir.admin).await;
    let head = format!("GET /v1/events HTTP/1.1\r\nhost: {}\r\nlast-event-id: {last}\r\n\r\n", weir.admin);
    client.send(head).await;
    let (status, head) = client.head().await;
    assert_eq!((status, head.field("content-type")), (200, Some("text/event-stream")));
    client
}

/// The revision and the text of the next event.
async fn event(client: &mut Client) -> (u64, String) {
    loop {
        let event = client.take_through("\n\n").await;
        let id = event.lines().find_map(|line| line.strip_prefix("id: ")?.parse().ok());
        if let Some(id) = id {
            return (id, event);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_where_they_were_cut_off() {
    let (weir, _one, _two) = two().await;
    let start = weir.ask("/v1/status").await.revision();
    let mut client = follow(&weir, start).await;
    weir.told(&["shift", "shop:prod", "2", "--why", "first"]).await;
    let (id, text) = event(&mut client).await;
    assert!(id == start + 1 && text.contains("event: change") && text.contains("first"), "{text}");
    drop(client);
    weir.told(&["shift", "shop:prod", "1", "--why", "second"]).await;
    weir.told(&["shift", "shop:prod", "2", "--why", "third"]).await;
    // A restart in between is one more way to be cut off.
    let weir = Weir::again(weir.stopped().await).await;
    let mut client = follow(&weir, id).await;
    for (next, why) in [(start + 2, "second"), (start + 3, "third")] {
        let (id, text) = event(&mut client).await;
        assert!(id == next && text.contains(why), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_role_says_until_it_is_revoked() {
    let (weir, _one, _two) = two().await;
    let viewer = weir.told(&["token", "create", "wall", "--role", "viewer"]).await;
    let operator = weir.told(&["token", "create", "ci", "--role", "operator"]).await;
    let try_as = async |token: &str, arguments: &[&str]| {
        let (code, _, stderr) = weir.cli_with(arguments, &[("WEIR_TOKEN", token.trim())]).await;
        assert!(!stderr.contains(token.trim()), "a token is shown: {stderr}");
        code
    };
    assert_eq!(try_as(&viewer, &["status"]).await, Some(0));
    for change in [&["shift", "shop:prod", "2"][..], &["rollback", "shop:prod"], &["publish", "shop"], &["drain"]] {
        assert_eq!(try_as(&viewer, change).await, Some(5), "{change:?}");
    }
    assert_eq!(try_as(&operator, &["shift", "shop:prod", "2"]).await, Some(0));
    for of_admin in [&["token", "create", "own", "--role", "admin"][..], &["export", "--everything"]] {
        assert_eq!(try_as(&operator, of_admin).await, Some(5), "{of_admin:?}");
    }
    weir.told(&["token", "revoke", "ci"]).await;
    weir.told(&["token", "revoke", "wall"]).await;
    assert_eq!(try_as(&operator, &["shift", "shop:prod", "1"]).await, Some(5));
    assert_eq!(try_as(&viewer, &["status"]).await, Some(5));
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_hosts_and_origins_are_refused() {
    let (weir, _one, _two) = two().await;
    let own = weir.admin.to_string();
    let ask = async |host: &str, fields: &str| {
        let answer = Client::connect(weir.admin).await.get_with(host, "/v1/config", fields).await;
        (answer.status, if answer.status == 200 { String::new() } else { answer.json()["code"].to_string() })
    };
    assert_eq!(ask("rebound.example.com", "").await, (403, "\"WrongHost\"".into()));
    assert_eq!(ask(&own, "origin: https://evil.example.com\r\n").await, (403, "\"WrongOrigin\"".into()));
    assert_eq!(ask(&own, "origin: null\r\n").await, (403, "\"WrongOrigin\"".into()));
    assert_eq!(ask(&own, &format!("origin: http://{own}\r\n")).await.0, 200);
    assert_eq!(ask("localhost", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_file_says_where_the_gateway_is() {
    let (weir, _one, _two) = two().await;
    let other = format!("admin: {{address: '{}'}}\n", weir.admin);
    std::fs::write(weir.folder.path().join("other.yaml"), other).unwrap();
    let (code, _, stderr) = run(weir.folder.path(), &["shift", "shop:prod", "2", "--config", "other.yaml"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let status = weir.told(&["status"]).await;
    assert!(status.contains("shop:prod") && status.contains("healthy"), "{status}");
    assert!(status.contains(&format!("revision {}", weir.ask("/v1/status").await.revision())), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_what_was_changed_beside_the_file() {
    let (weir, _one, _two) = two().await;
    assert_eq!(weir.told(&["diff"]).await, "nothing changes\n");
    weir.told(&["shift", "shop:prod", "1=90", "2=10"]).await;
    let drift = weir.told(&["diff"]).await;
    assert_eq!(drift, "functions.shop.aliases.prod.split: 1: 100 -> 1: 90, 2: 10\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_the_gateway_when_its_requests_are_answered() {
    let (mut weir, one, _two) = two().await;
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let parts = vec![b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n".to_vec(), b"late".to_vec()];
    one.on("/slow", Answer::Parts(parts, permits.clone()));
    let mut client = Client::connect(weir.http).await;
    client.send(format!("GET /slow HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    one.saw("/slow").await;
    weir.told(&["drain"]).await;
    weir.ready(503).await;
    permits.add_permits(2);
    assert_eq!(client.response("GET").await.text(), "late");
    assert!(weir.exit().await.success());
    let (code, _, stderr) = weir.cli(&["status"]).await;
    assert_eq!(code, Some(4), "{stderr}");
}
