//! Changes while traffic runs.

use std::os::unix::fs::symlink;

use tokio::time::Instant;

use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::load::{Exchange, Load};
use crate::kit::weir::{PROCESS, Weir, folder};
use crate::streams::{events, handshake};
use crate::{HOST, shop};

/// `live` with a stage variable that nothing uses, so that a test can see which text is live.
fn marked(live: &str, mark: usize) -> String {
    format!("{live}stages:\n  mark: {{alias: prod, variables: {{n: 'mark-{mark}-'}}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_file_goes_live() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&shop(&[&one, &two], "1")).await;
    let mut client = Client::connect(weir.http).await;
    // In place, and as editors save: a new file under another name, then a rename. The watch must survive both.
    for round in 0..2 {
        for (alias, body) in [("2", "v2"), ("1", "v1")] {
            let live = shop(&[&one, &two], alias);
            if round == 0 {
                weir.overwrite(&live)
            } else {
                weir.edit(&live)
            }
            eventually(body, async || (get(weir.http, HOST, "/").await.text() == body).then_some(())).await;
            assert_eq!(client.get(HOST, "/").await.text(), body, "the open connection sees it too");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_symlink_goes_live() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let folder = folder();
    let root = folder.path().to_path_buf();
    // As a mounted config map: weir.yaml -> ..data/weir.yaml, ..data -> a folder per revision.
    let revision = |name: &str, alias: &str| {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("weir.yaml"), format!("{PROCESS}{}", shop(&[&one, &two], alias))).unwrap();
    };
    revision("..1", "1");
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/weir.yaml", root.join("weir.yaml")).unwrap();
    let weir = Weir::start_file(folder, &root.join("weir.yaml"), PROCESS).await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");
    for (name, alias, body) in [("..2", "2", "v2"), ("..3", "1", "v1")] {
        revision(name, alias);
        symlink(name, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        eventually(body, async || (get(weir.http, HOST, "/").await.text() == body).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hup_reloads() {
    let endpoint = Endpoint::start("v1").await;
    let live = shop(&[&endpoint], "1");
    let weir = Weir::start(&marked(&live, 1)).await;
    weir.edit(&marked(&live, 2));
    weir.signal("HUP");
    weir.lives("mark-2-").await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&shop(&[&one, &two], "1")).await;
    let before = weir.config().await;
    // A good change and a bad line: neither may apply.
    weir.edit(&format!("{}  other.example.com: shop:prot\n", shop(&[&one, &two], "2")));
    weir.signal("HUP");
    let line = weir.logged("weir.yaml:").await;
    assert!(!line.is_empty());
    eventually("the metric says so", async || {
        weir.metric("weir_config_last_reload_success", &[]).await.filter(|value| *value == 0.0)
    })
    .await;
    assert!(weir.log().contains("prot"), "the log names what is wrong:\n{}", weir.log());
    assert_eq!(weir.config().await, before);
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");
    weir.edit(&shop(&[&one, &two], "2"));
    eventually("the mended file", async || (get(weir.http, HOST, "/").await.text() == "v2").then_some(())).await;
    assert_eq!(weir.metric("weir_config_last_reload_success", &[]).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_a_file_edits_is_refused_at_its_line_and_keeps_no_gateway_from_starting() {
    let one = Endpoint::start("v1").await;
    let live = |prefix: &str| {
        shop(&[&one], "1").replacen(
            "}\n",
            &format!(", 2: {{endpoints: ['{}'], path_prefix: {prefix}}}}}\n", one.address),
            1,
        )
    };
    let weir = Weir::start(&live("/a")).await;
    weir.edit(&live("/b"));
    let told = weir.logged("a version never changes").await;
    let place = |told: &str| told.contains("weir.yaml:7:") && told.contains("functions.shop.versions.2.path_prefix");
    assert!(place(&told), "{told}");
    let weir = Weir::again(weir.stopped().await).await;
    assert!(place(&weir.logged("a version never changes").await), "{}", weir.log());
    assert_eq!(get(weir.http, HOST, "/").await.version(), "1", "what is stored is served");
    let status = weir.told(&["status"]).await;
    assert!(status.contains("reload  refused") && status.contains("a version never changes"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_changes_nothing() {
    let (weir, endpoint) = crate::one().await;
    std::fs::remove_file(weir.file()).unwrap();
    weir.signal("HUP");
    weir.logged("weir.yaml").await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");
    let live = shop(&[&endpoint], "1");
    weir.edit(&marked(&live, 3));
    weir.lives("mark-3-").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_put_back_as_it_was_is_good_again() {
    let (weir, endpoint) = crate::one().await;
    let live = shop(&[&endpoint], "1");
    let success = async |value: f64| {
        let probe = async || (weir.metric("weir_config_last_reload_success", &[]).await == Some(value)).then_some(());
        eventually(&format!("the metric is {value}"), probe).await;
    };
    weir.edit("functions: 7\n");
    success(0.0).await;
    weir.edit(&live);
    success(1.0).await;
    // Not a text at all.
    std::fs::write(weir.file(), b"functions: \xff\n").unwrap();
    success(0.0).await;
    weir.edit(&live);
    success(1.0).await;
    assert_eq!(weir.ask("/v1/status").await.json()["reload"]["result"], "applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn process_settings_ask_for_a_restart() {
    let (weir, endpoint) = crate::one().await;
    let text = weir.text_of(&shop(&[&endpoint], "1")).replace("workers: 2", "workers: 3");
    std::fs::write(weir.file(), text).unwrap();
    weir.signal("HUP");
    weir.logged("restart").await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "v1");
}

/// A weight change: which version has everything, and between which times it may have been the live one.
struct Legal {
    version: String,
    from: Instant,
    until: Option<Instant>,
}

/// Whether the version was legal in a revision that was current during the exchange.
fn was_legal(timeline: &[Legal], exchange: &Exchange, version: &str) -> bool {
    let current =
        |legal: &&Legal| legal.from <= exchange.done && legal.until.is_none_or(|until| exchange.sent <= until);
    timeline.iter().filter(current).any(|legal| legal.version == version)
}

/// 1 000 changes, each giving everything to another of three versions, under constant load.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_changes_lose_nothing() {
    const CHANGES: usize = 1_000;
    let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await, Endpoint::start("v3").await];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let (answer, permits) = events(CHANGES / 50);
    endpoints[0].on("/events", answer);
    endpoints[0].on("/socket", Answer::WebSocket);
    let weir = Weir::start(&marked(&shop(&all, "1"), 0)).await;

    let mut stream = Client::connect(weir.http).await;
    stream.send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    permits.add_permits(1);
    assert_eq!(stream.head().await.0, 200);
    let mut socket = Client::connect(weir.http).await;
    socket.send(handshake("/socket")).await;
    assert_eq!(socket.head().await.0, 101);

    let mut timeline = vec![Legal { version: "1".into(), from: Instant::now(), until: None }];
    let load = Load::start(weir.http, HOST, 2, 2_000_000);
    for change in 1..=CHANGES {
        let version = (change % 3 + 1).to_string();
        let from = Instant::now();
        weir.edit(&marked(&shop(&all, &version), change));
        weir.signal("HUP");
        weir.lives(&format!("mark-{change}-")).await;
        timeline.last_mut().expect("it is never empty").until = Some(Instant::now());
        timeline.push(Legal { version, from, until: None });
        if change % 50 == 0 {
            permits.add_permits(1);
            let event = stream.take_through("\n\n").await;
            assert!(event.contains(&format!("data: {}", change / 50 - 1)), "the stream goes on: {event:?}");
            socket.send("ping").await;
            assert_eq!(socket.take(4).await, b"ping", "the WebSocket goes on");
        }
    }
    let during = load.done();
    let exchanges = load.stop().await;
    assert!(during > CHANGES, "{during} requests are no load for {CHANGES} changes");

    for exchange in &exchanges {
        let (status, version) = exchange.outcome.as_ref().expect("no exchange fails");
        assert_eq!(*status, 200);
        assert!(was_legal(&timeline, exchange, version), "version {version} was not current");
    }
    permits.add_permits(1);
    stream.take_through("0\r\n\r\n").await;
}

#[tokio::test]
async fn the_timeline_can_tell() {
    let start = Instant::now();
    let at = |ms: u64| start + std::time::Duration::from_millis(ms);
    let timeline = [
        Legal { version: "1".into(), from: at(0), until: Some(at(20)) },
        Legal { version: "2".into(), from: at(10), until: None },
    ];
    let exchange =
        |sent, done| Exchange { number: 0, sent: at(sent), done: at(done), outcome: Ok((200, String::new())) };
    assert!(was_legal(&timeline, &exchange(1, 2), "1") && !was_legal(&timeline, &exchange(1, 2), "2"));
    assert!(was_legal(&timeline, &exchange(11, 12), "1") && was_legal(&timeline, &exchange(11, 12), "2"));
    assert!(!was_legal(&timeline, &exchange(21, 22), "1") && was_legal(&timeline, &exchange(21, 22), "2"));
}
