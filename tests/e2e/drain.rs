//! Clients of a gateway that goes away: each is told in time, and none loses a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::Endpoint;
use crate::kit::h2::H2;
use crate::kit::tls::Certificate;
use crate::kit::weir::{Weir, folder};
use crate::kit::wire::Wire;
use crate::kit::{eventually, within};

/// A delay with a second half that every client lives to see.
const DRAIN: &str = "\
listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0', tls: true}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 3s, deadline: 30s}
";

/// Longer than the delay, the last call and what lingers together.
const IDLE_BOUND: Duration = Duration::from_secs(10);

struct Drained {
    weir: Weir,
    _endpoint: Endpoint,
    trusting: Arc<ClientConfig>,
}

impl Drained {
    async fn start() -> Self {
        let (folder, endpoint, certificate) = (folder(), Endpoint::start("v1").await, Certificate::new(HOST));
        certificate.write(folder.path(), "shop");
        let live = format!(
            "functions:\n  shop:\n    versions: {{1: 'http://{}'}}\n    aliases: {{prod: 1}}\ndomains:\n  {HOST}: \
             {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n",
            endpoint.address
        );
        let weir = Weir::start_in(folder, DRAIN, &live).await;
        Self { weir, _endpoint: endpoint, trusting: certificate.client(&["h2"]) }
    }

    async fn h2(&self) -> H2 {
        H2::connect(self.weir.https.expect("the file has a TLS listener"), HOST, self.trusting.clone()).await
    }
}

/// The experience of one client of the load until the port was closed.
#[derive(Debug, Default)]
struct Saw {
    answered: usize,
    failed: Vec<String>,
    /// Connections of which the gateway said that it would end them.
    told: usize,
}

/// A request each 100 ms, on one connection for as long as the gateway keeps it, else on a new one.
async fn keep(address: SocketAddr, fields: &'static str) -> Saw {
    let mut saw = Saw::default();
    let mut rate = interval(Duration::from_millis(100));
    while let Ok(stream) = TcpStream::connect(address).await {
        let mut client = Client { wire: Wire::new(stream) };
        loop {
            let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n");
            let answer = async {
                client.try_send(request.as_bytes()).await?;
                client.try_response("GET").await
            };
            let answer = within("an answer or an end", answer).await.map_err(|error| error.to_string());
            rate.tick().await;
            match answer {
                Ok(response) if response.status == 200 => {
                    saw.answered += 1;
                    if response.head.field("connection") == Some("close") {
                        saw.told += 1;
                        break;
                    }
                }
                other => {
                    saw.failed.push(format!("{other:?}"));
                    break;
                }
            }
        }
    }
    saw
}

/// The same over HTTP/2, each connection until its GOAWAY.
async fn streams(address: SocketAddr, trusting: Arc<ClientConfig>) -> Saw {
    let mut saw = Saw::default();
    let mut rate = interval(Duration::from_millis(50));
    while let Some(client) = H2::try_connect(address, HOST, trusting.clone()).await {
        while client.is_open().await {
            let request = Request::get(format!("https://{HOST}/")).body(()).expect("a request");
            match within("an answer or an end", client.try_request(request, &[])).await {
                Ok(answer) if answer.status == 200 => saw.answered += 1,
                other => saw.failed.push(format!("{other:?}")),
            }
            rate.tick().await;
        }
        saw.told += 1;
    }
    saw
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_loses_a_request() {
    let mut drained = Drained::start().await;
    let (http, https) = (drained.weir.http, drained.weir.https.unwrap());
    let mut kept: JoinSet<Saw> = (0..10).map(|_| keep(http, "")).collect();
    let mut closed: JoinSet<Saw> = (0..10).map(|_| keep(http, "connection: close\r\n")).collect();
    let mut over_h2: JoinSet<Saw> = (0..4).map(|_| streams(https, drained.trusting.clone())).collect();
    let warm = async || (drained.weir.access_log().len() > 200).then_some(());
    eventually("the load is under way", warm).await;
    drained.weir.signal("TERM");
    let mut all = Vec::new();
    for (kind, clients) in [("kept", &mut kept), ("closed", &mut closed), ("over HTTP/2", &mut over_h2)] {
        while let Some(saw) = clients.join_next().await {
            let saw = saw.unwrap();
            assert_eq!(saw.failed, Vec::<String>::new(), "{kind}: of {} answers", saw.answered);
            assert!(saw.answered > 0 && saw.told > 0, "{kind}: {saw:?}");
            all.push(saw);
        }
    }
    assert_eq!(all.len(), 24);
    assert!(drained.weir.exit().await.success(), "{}", drained.weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_idle_all_the_while_is_answered_once_more() {
    let mut drained = Drained::start().await;
    let mut idle = Client::connect(drained.weir.http).await;
    assert_eq!(idle.get(HOST, "/").await.head.field("connection"), Some("keep-alive"));
    let silent = Client::connect(drained.weir.http).await;
    let over_h2 = drained.h2().await;
    let start = Instant::now();
    drained.weir.signal("TERM");
    let http = drained.weir.http;
    eventually("the port is closed", async || TcpStream::connect(http).await.is_err().then_some(())).await;
    let last = idle.get(HOST, "/").await;
    assert_eq!((last.status, last.head.field("connection")), (200, Some("close")));
    assert!(!over_h2.is_open().await, "it got GOAWAY");
    // Neither a client that does not close its end nor one that never sent anything holds the process.
    assert!(drained.weir.exit().await.success(), "{}", drained.weir.log());
    assert!(start.elapsed() < IDLE_BOUND, "{:?}", start.elapsed());
    assert_eq!(silent.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_half_of_the_delay_keeps_connections_and_the_second_does_not() {
    let drained = Drained::start().await;
    let mut client = Client::connect(drained.weir.http).await;
    assert_eq!(client.get(HOST, "/").await.status, 200);
    let start = Instant::now();
    drained.weir.signal("TERM");
    drained.weir.ready(503).await;
    let told = async || {
        let response = client.get(HOST, "/").await;
        let kept = response.head.field("connection").expect("every answer says it");
        assert!(matches!(kept, "close" | "keep-alive"), "{kept}");
        (kept == "close").then_some(())
    };
    eventually("the connection is to end", told).await;
    assert!(start.elapsed() >= Duration::from_millis(1400), "{:?}", start.elapsed());
    // It still serves, and what it answers itself says so, too.
    for (host, status) in [(HOST, 200), ("nobody.example.com", 404)] {
        let response = Client::connect(drained.weir.http).await.get(host, "/").await;
        assert_eq!((response.status, response.head.field("connection")), (status, Some("close")));
    }
}
