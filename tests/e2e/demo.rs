//! `weir demo`, as the README tells it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::load::Load;
use crate::kit::weir::Weir;

/// The demo's file with ports that nobody has.
fn file_with_free_ports() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo.yaml");
    let mut text = std::fs::read_to_string(path).expect("the demo's file is in the repository");
    for port in ["8181", "8182", "8183", "8184"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the system has a port");
        let free = listener.local_addr().expect("a bound socket has an address").port();
        assert!(text.contains(port), "the demo's version on port {port}");
        text = text.replace(port, &free.to_string());
    }
    format!("admin: {{address: 127.0.0.1:0}}\n{}", text.replace("127.0.0.1:8080", "127.0.0.1:0"))
}

/// How many of 100 requests each version answered.
async fn hundred(client: &mut Client, fields: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..100 {
        let response = client.get_with(HOST, "/", fields).await;
        *counts.entry(response.text().trim().to_owned()).or_default() += 1;
    }
    counts
}

fn counts(first: usize, second: usize) -> BTreeMap<String, usize> {
    let counts = [("version 1", first), ("version 2", second)];
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_does_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.yaml");
    let text = file_with_free_ports();
    std::fs::write(&path, &text).unwrap();
    let weir = Weir::start_as("demo", folder, &path, "").await;
    let mut client = Client::connect(weir.http).await;

    assert_eq!(hundred(&mut client, "").await, counts(95, 5), "the exact split");
    assert_eq!(hundred(&mut client, "x-user-id: alice\r\n").await.len(), 1, "a caller with a routing key stays");
    assert_eq!(hundred(&mut client, "User: Bob\r\n").await, counts(0, 100), "Bob's rule");
    std::fs::write(&path, text.replace("split: {1: 95, 2: 5}", "split: {1: 50, 2: 50}")).unwrap();
    weir.lives("split: {1: 50, 2: 50}").await;
    assert_eq!(hundred(&mut client, "").await, counts(50, 50), "an edit of the file");
    let page = client.get_with("127.0.0.1", "/", "accept: text/html\r\n").await;
    assert!(page.text().contains("<b>"), "a browser sees a page: {}", page.text());

    let load = Load::start(weir.http, HOST, 1, 200_000);
    weir.told(&["shift", "shop:prod", "1"]).await;
    let begun = weir.told(&["release", "shop:prod", "3", "--plan", "quick"]).await;
    assert!(begun.contains("step 1 of 4, 25 %"), "{begun}");
    weir.told(&["promote", "shop:prod"]).await;
    let (code, told, _) = weir.cli(&["release", "shop:prod", "4", "--plan", "quick", "--wait"]).await;
    assert!(code == Some(5) && told.contains("shop:prod 3 -> 4: rolled back"), "{code:?} {told}");
    for exchange in load.stop().await {
        assert!(matches!(exchange.outcome, Ok((200, _))), "the shield answers: {:?}", exchange.outcome);
    }
}
