//! Requests that another lane has resolved already.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use config::head::RequestHead;
use config::model::Limits;
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Proxy, application};
use crate::control::tests::Node;
use crate::edge::proxied::ProxiedLane;
use crate::edge::{self, Edge, EdgeStream, Entrance, Lane};
use crate::live::Live;
use crate::log::AccessLog;

const HOST: &str = "shop.example.com";

/// Answers every connection's requests with its name.
async fn endpoint(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {
                    while let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

/// Reads the first head of a connection and resolves it, then lets pingora serve the connection.
struct Resolving<L> {
    live: Arc<Live>,
    next: L,
}

impl<L: Lane> Lane for Resolving<L> {
    async fn serve(&self, mut stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        if stream.next_head(&mut shutdown.clone()).await.is_err() {
            return;
        }
        assert!(stream.unread().starts_with(b"GET /first HTTP/1.1\r\n"));
        let no_headers: &[(&str, &str)] = &[];
        let client = stream.connection().client.ip();
        let head = RequestHead { method: "GET", host: HOST, path: "/first", query: None, headers: no_headers, client };
        let served = self.live.load().serve(&head).unwrap();
        stream.connection().hand_over(served);
        self.next.serve(stream, shutdown).await;
    }
}

async fn ask(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !(answer.ends_with(b"one") || answer.ends_with(b"two")) {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed: {}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_request_that_is_handed_over_draws_no_second_slot() {
    const HAND_OVERS: usize = 1_000;
    let (one, two) = (endpoint("one").await, endpoint("two").await);
    let text = format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{one}', 2: 'http://{two}'}}\n    aliases: {{prod: {{1: 90, 2: 10}}}}\n\
         domains: {{{HOST}: 'shop:prod'}}\n"
    );
    let Node { live, metrics, .. } = Node::with(&text).await;
    let proxy = Proxy {
        live: Arc::clone(&live),
        metrics,
        access: AccessLog::off(),
        limits: Limits::default(),
        ports: Arc::new([0]),
        https_port: 443,
    };
    let edge = Arc::new(Edge::new(Limits::default(), Arc::new(())));
    let next = ProxiedLane::new(Arc::new(application(proxy)), Arc::clone(&edge));
    let lane = Arc::new(Resolving { live: Arc::clone(&live), next });
    let socket = edge::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().pop().unwrap();
    let address = socket.local_addr().unwrap();
    let entrance = Arc::new(Entrance { listener: 0, tls: None, proxy_protocol_from: Vec::new(), edge });
    let (stop, shutdown) = watch::channel(false);
    tokio::spawn(edge::serve_listener(socket, lane, entrance, shutdown));

    let snapshot = live.load_full();
    let alias = snapshot.table.function(snapshot.table.function_named("shop").unwrap()).unwrap().alias("prod").unwrap();
    let cursor = Arc::clone(snapshot.cursor(alias).unwrap());
    let start = cursor.0.load(Ordering::Relaxed);
    let mut two = 0;
    for _ in 0..HAND_OVERS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The second request of a connection is resolved by pingora's filter.
        for path in ["/first", "/second"] {
            two += usize::from(ask(&mut stream, path).await.ends_with("two"));
        }
    }
    assert_eq!(cursor.0.load(Ordering::Relaxed) - start, 2 * HAND_OVERS as u64);
    assert!((199..=201).contains(&two), "{two} of 2 000 at 10 %");
    drop(stop);
}
