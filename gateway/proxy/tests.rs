//! Requests that another lane has resolved already, and what versions are charged with.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::model::Limits;
use config::release::outcome::Class;
use config::value::name::VersionId;
use pingora::proxy::HttpProxy;
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
use crate::policy::exchange::{Admission, ClientConnection, Handed, HeadView, HttpVersion, Worker};

mod peers;

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

/// Answers every request with these bytes and closes the connection.
async fn answering(bytes: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") && stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {}
            stream.write_all(bytes.as_bytes()).await.unwrap();
        }
    });
    address
}

/// Answers gRPC calls over plain HTTP/2 with this status in the head, or in the trailers.
async fn grpc_endpoint(in_head: Option<&'static str>, in_trailers: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut head = http::Response::builder().header("content-type", "application/grpc+proto");
            if let Some(status) = in_head {
                head = head.header("grpc-status", status);
            }
            let mut body = respond.send_response(head.body(()).unwrap(), in_head.is_some()).unwrap();
            match in_trailers {
                Some(status) => {
                    let status = ("grpc-status".parse().unwrap(), http::HeaderValue::from_static(status));
                    body.send_trailers(http::HeaderMap::from_iter([status])).unwrap();
                }
                None if in_head.is_none() => body.send_data(bytes::Bytes::from_static(b"half a call"), true).unwrap(),
                None => {}
            }
        }
    });
    address
}

/// Reads the first head of a connection and resolves it, then lets pingora serve the connection.
struct Resolving<L> {
    worker: Worker,
    next: L,
}

impl<L: Lane> Lane for Resolving<L> {
    async fn serve(&self, mut stream: Box<EdgeStream>, shutdown: &ShutdownWatch) {
        if stream.next_head(&mut shutdown.clone()).await.is_err() {
            return;
        }
        assert!(stream.unread().starts_with(b"GET /first HTTP/1.1\r\n"));
        let client = ClientConnection { address: stream.connection().client.ip(), listener: 0, tls: None };
        let head = HeadView {
            method: "GET",
            host: HOST,
            path: "/first",
            query: None,
            target: "/first",
            version: HttpVersion::Http11,
            fields: &http::HeaderMap::new(),
        };
        {
            let snapshot = self.worker.live.load();
            let received = self.worker.receive(&snapshot, &client, &head);
            let Admission::Forward(resolved) = self.worker.admit(&snapshot, &received, &client, &head) else {
                panic!("it goes to an endpoint")
            };
            stream.connection().hand_over(Handed { received, resolved });
        }
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

/// A gateway in this process, on a port of its own.
struct Gateway {
    live: Arc<Live>,
    address: SocketAddr,
    /// Ends it when dropped.
    _stop: watch::Sender<bool>,
}

impl Gateway {
    /// With versions at these addresses.
    async fn start(versions: &[SocketAddr], alias: &str) -> Self {
        let versions: Vec<String> = (1..).zip(versions).map(|(n, at)| format!("{n}: 'http://{at}'")).collect();
        Self::start_with(&versions.join(", "), alias, |_, next| next).await
    }

    /// With `lane` before the lane of pingora.
    async fn start_with<L: Lane>(
        versions: &str,
        alias: &str,
        lane: impl FnOnce(&Worker, ProxiedLane<HttpProxy<Proxy>>) -> L,
    ) -> Self {
        let text = format!(
            "functions:\n  shop:\n    versions: {{{versions}}}\n    aliases: {{prod: {alias}}}\n\
             domains: {{{HOST}: 'shop:prod'}}\n"
        );
        let Node { live, metrics, .. } = Node::with(&text).await;
        let worker = Worker {
            live: Arc::clone(&live),
            metrics,
            access: AccessLog::off(),
            limits: Limits::default(),
            ports: Arc::new([0]),
            https_port: 443,
            number: 0,
        };
        let proxy = Proxy { worker: worker.clone(), peers: Arc::default(), reserved_from: i32::MAX };
        let edge = Arc::new(Edge::new(Limits::default(), Arc::new(())));
        let next = ProxiedLane::new(Arc::new(application(proxy)), Arc::clone(&edge));
        let lane = Rc::new(lane(&worker, next));
        let socket = edge::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().pop().unwrap();
        let address = socket.local_addr().unwrap();
        let entrance = Arc::new(Entrance { listener: 0, tls: None, proxy_protocol_from: Vec::new(), edge });
        let (stop, shutdown) = watch::channel(false);
        tokio::task::spawn_local(edge::serve_listener(socket, lane, entrance, shutdown));
        Self { live, address, _stop: stop }
    }

    /// Waits until the version was charged with so many outcomes; what they are, by class, and how many were drawn.
    async fn charged(&self, version: u32, outcomes: u64) -> ([u64; Class::ALL.len()], u64) {
        let (function, alias) = ("shop".parse().unwrap(), "prod".parse().unwrap());
        let version = VersionId::number(version).unwrap();
        let cells = self.live.load_full().outcomes(&function, &alias, version).expect("both parts are counted");
        let side = async {
            loop {
                let counts = cells.counts();
                if counts.ended() >= outcomes {
                    return (counts.classes, counts.begun);
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), side).await.expect("the outcomes are counted")
    }
}

/// The counts of these classes, all others zero.
fn classes<const N: usize>(counts: [(Class, u64); N]) -> [u64; Class::ALL.len()] {
    Class::ALL.map(|class| counts.iter().filter(|count| count.0 == class).map(|count| count.1).sum())
}

#[tokio::test(flavor = "local")]
async fn a_request_that_is_handed_over_draws_no_second_slot() {
    const HAND_OVERS: usize = 1_000;
    let (one, two) = (endpoint("one").await, endpoint("two").await);
    let versions = format!("1: 'http://{one}', 2: 'http://{two}'");
    let resolving = |worker: &Worker, next| Resolving { worker: worker.clone(), next };
    let gateway = Gateway::start_with(&versions, "{1: 90, 2: 10}", resolving).await;

    let snapshot = gateway.live.load_full();
    let alias = snapshot.table.function(snapshot.table.function_named("shop").unwrap()).unwrap().alias("prod").unwrap();
    let cursor = Arc::clone(snapshot.cursor(alias).unwrap());
    let start = cursor.0.load(Ordering::Relaxed);
    let mut two = 0;
    for _ in 0..HAND_OVERS {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        // The second request of a connection is resolved by pingora's filter.
        for path in ["/first", "/second"] {
            two += usize::from(ask(&mut stream, path).await.ends_with("two"));
        }
    }
    assert_eq!(cursor.0.load(Ordering::Relaxed) - start, 2 * HAND_OVERS as u64);
    assert!((199..=201).contains(&two), "{two} of 2 000 at 10 %");
    let drawn = [gateway.charged(1, 0).await.1, gateway.charged(2, 0).await.1];
    assert_eq!(drawn, [2 * HAND_OVERS as u64 - two as u64, two as u64], "each is drawn once");
}

#[tokio::test(flavor = "local")]
async fn the_version_that_was_drawn_is_charged_whoever_answers() {
    const REQUESTS: u64 = 100;
    for (answer, class) in [
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Class::GatewayError),
        ("", Class::Reset),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", Class::Reset),
    ] {
        let (one, two) = (endpoint("one").await, answering(answer).await);
        let gateway = Gateway::start(&[one, two], "{split: {1: 80, 2: 20}, shield: gateway}").await;
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        for _ in 0..REQUESTS {
            assert!(ask(&mut stream, "/").await.ends_with("one"), "{class:?}");
        }
        let (failed, drawn) = gateway.charged(2, 1).await;
        // Until it is ejected its own failure, then that it had no endpoint.
        let [seen, unseen] = [class, Class::Connect].map(|class| failed[class as usize]);
        assert_eq!(failed, classes([(class, seen), (Class::Connect, unseen)]), "{class:?}");
        assert!(seen > 0 && seen + unseen == drawn, "{class:?}: {failed:?} of {drawn}");
        assert!((19..=21).contains(&drawn), "{drawn}");
        // What it answered for the other is not its own.
        let own = REQUESTS - drawn;
        assert_eq!(gateway.charged(1, own).await, (classes([(Class::Success, own)]), own), "{class:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn failures_without_a_shield_are_charged_too() {
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (two, class) in [
        (refused, Class::Connect),
        (answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await, Class::ServerError),
        (answering("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n").await, Class::ClientError),
        (answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await, Class::Reset),
    ] {
        let gateway = Gateway::start(&[endpoint("one").await, two], "{1: 0, 2: 100}").await;
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(gateway.charged(2, 1).await, (classes([(class, 1)]), 1), "{class:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_grpc_call_is_charged_by_its_own_status() {
    let one = endpoint("one").await;
    for (head, trailers, class) in [
        (None, Some("0"), Class::Success),
        (None, Some("14"), Class::GatewayError),
        (None, None, Class::ServerError),
        (Some("5"), None, Class::ClientError),
    ] {
        let two = grpc_endpoint(head, trailers).await;
        let versions = format!("1: 'http://{one}', 2: {{endpoints: ['{two}'], protocol: h2c}}");
        let gateway = Gateway::start_with(&versions, "{1: 0, 2: 100}", |_, next| next).await;
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let call =
            format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(call.as_bytes()).await.unwrap();
        assert_eq!(gateway.charged(2, 1).await.0, classes([(class, 1)]), "{head:?} {trailers:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn rules_and_numbers_are_not_charged() {
    let (one, two) = (endpoint("one").await, endpoint("two").await);
    let alias = "{split: {1: 100, 2: 0}, rules: [{when: {path: {exact: /two}}, version: 2}]}";
    let gateway = Gateway::start(&[one, two], alias).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    for path in ["/two", "/one", "/two"] {
        assert!(ask(&mut stream, path).await.ends_with(&path[1..]));
    }
    assert_eq!(gateway.charged(1, 1).await, (classes([(Class::Success, 1)]), 1), "the only one above weight 0");
    assert_eq!(gateway.charged(2, 0).await, (classes([]), 0));
}
