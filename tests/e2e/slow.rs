//! Slow clients: whose fault a silence is, and what a client that is slow may cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::HOST;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::{Answer, Endpoint, ok};
use crate::kit::endpoint_h2::H2Endpoint;
use crate::kit::h2::H2;
use crate::kit::rollout::{newest, shares};
use crate::kit::tls::Certificate;
use crate::kit::weir::{Weir, folder};
use crate::kit::{eventually, settled, within};
use crate::streams::handshake;

/// A client may be silent in a body for longer than endpoints may be.
pub(crate) const PATIENT: &str = "\
listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0', tls: true}]
admin: {address: '127.0.0.1:0'}
workers: 1
limits: {body_timeout: 20s}
";

/// The same for less long.
const STRICT: &str = "\
listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0', tls: true}]
admin: {address: '127.0.0.1:0'}
workers: 1
limits: {body_timeout: 1s}
";

/// Endpoints may be silent for less long than the pauses of a test's client.
const HASTY: &str = "response: 300ms, idle: 300ms";
const PAUSE: Duration = Duration::from_millis(1_200);

pub(crate) struct Slow {
    pub(crate) weir: Weir,
    certificate: Certificate,
}

impl Slow {
    /// A gateway before one version, written out in full.
    pub(crate) async fn start(process: &'static str, version: &str) -> Self {
        let (folder, certificate) = (folder(), Certificate::new(HOST));
        certificate.write(folder.path(), "shop");
        let live = format!(
            "functions:\n  shop:\n    versions:\n      1: {{{version}}}\n    aliases: {{prod: 1}}\n\
             domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n"
        );
        Self { weir: Weir::start_in(folder, process, &live).await, certificate }
    }

    pub(crate) async fn h2(&self) -> H2 {
        let https = self.weir.https.expect("these files have a TLS listener");
        H2::connect(https, HOST, self.certificate.client(&["h2"])).await
    }
}

pub(crate) fn version(endpoint: SocketAddr, protocol: &str, timeouts: &str) -> String {
    format!("endpoints: ['{endpoint}'], protocol: {protocol}, timeouts: {{{timeouts}}}")
}

fn upload(path: &str) -> Request<()> {
    Request::builder().method("POST").uri(format!("https://{HOST}{path}")).body(()).expect("a request")
}

fn upload_head(path: &str, length: usize, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\n{fields}content-length: {length}\r\n\r\n")
}

/// Sends four bytes with pauses over both protocols, and gets them back.
async fn pauses_are_waited_for(slow: &Slow, path: &str) {
    let mut client = Client::connect(slow.weir.http).await;
    let over_http1 = async {
        client.send(upload_head(path, 4, "")).await;
        for byte in ["a", "b", "c", "d"] {
            sleep(PAUSE).await;
            client.send(byte).await;
        }
        client.response("POST").await.text()
    };
    let h2 = slow.h2().await;
    let over_http2 = async {
        let (answer, mut body) = h2.open(upload(path)).await;
        for byte in ["a", "b", "c", "d"] {
            sleep(PAUSE).await;
            body.send_data(Bytes::from_static(byte.as_bytes()), byte == "d").expect("the stream is open");
        }
        let mut answer = within("an answer", answer).await.expect("an answer").into_body();
        let mut text = Vec::new();
        while let Some(bytes) = within("the body", answer.data()).await {
            text.extend_from_slice(&bytes.expect("the body comes"));
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let (http1, http2) = tokio::join!(over_http1, over_http2);
    assert_eq!((http1.as_str(), http2.as_str()), ("abcd", "abcd"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pauses_its_upload_is_waited_for() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/echo", Answer::Echo);
    pauses_are_waited_for(&Slow::start(PATIENT, &version(endpoint.address, "http/1.1", HASTY)).await, "/echo").await;
}

/// An endpoint that sends its head at once: the upload goes on behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pauses_its_upload_to_an_http2_endpoint_is_waited_for() {
    let endpoint = H2Endpoint::start(None).await;
    pauses_are_waited_for(&Slow::start(PATIENT, &version(endpoint.address, "h2c", HASTY)).await, "/echo").await;
}

/// Stalls an upload over each protocol: 408 in time, and said to be the client's.
async fn stalls_are_the_clients(slow: &Slow, path: &str) {
    let in_time = |asked: Instant| {
        let took = asked.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    };
    let mut client = Client::connect(slow.weir.http).await;
    for request in [
        upload_head(path, 4, "") + "ab",
        format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"),
    ] {
        let asked = Instant::now();
        client.send(request).await;
        assert_eq!(client.response("POST").await.status, 408);
        in_time(asked);
        client = Client::connect(slow.weir.http).await;
    }
    let asked = Instant::now();
    let h2 = slow.h2().await;
    let (answer, mut body) = h2.open(upload(path)).await;
    body.send_data(Bytes::from_static(b"ab"), false).expect("the stream is open");
    assert_eq!(within("an answer", answer).await.expect("an answer").status().as_u16(), 408);
    in_time(asked);
    let ends = || slow.weir.access_log().iter().filter(|line| line["end"] == "DT" && line["status"] == 408).count();
    eventually("three lines that name the client", async || (ends() == 3).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upload_is_a_408() {
    let endpoint = Endpoint::start("v1").await;
    let slow = Slow::start(STRICT, &version(endpoint.address, "http/1.1", HASTY)).await;
    stalls_are_the_clients(&slow, "/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upload_to_an_http2_endpoint_is_a_408() {
    let endpoint = H2Endpoint::start(None).await;
    let slow = Slow::start(STRICT, &version(endpoint.address, "h2c", HASTY)).await;
    stalls_are_the_clients(&slow, "/paced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_uploads_eject_nobody() {
    const STALLED: usize = 12;
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v1").await);
    let version = format!("endpoints: ['{}', '{}'], timeouts: {{{HASTY}}}", one.address, two.address);
    let slow = Slow::start(STRICT, &version).await;
    let mut stalled = JoinSet::new();
    for _ in 0..STALLED {
        let mut client = Client::connect(slow.weir.http).await;
        client.send(upload_head("/", 4, "") + "ab").await;
        stalled.spawn(async move { client.response("POST").await.status });
    }
    let h2 = slow.h2().await;
    for _ in 0..STALLED {
        let (answer, body) = h2.open(upload("/")).await;
        stalled.spawn(async move {
            let status = within("an answer", answer).await.expect("an answer").status().as_u16();
            drop(body);
            status
        });
    }
    assert_eq!(stalled.join_all().await, [408; 2 * STALLED]);
    let healthy = slow.weir.metric("weir_endpoints_healthy", &[("function", "shop"), ("version", "1")]).await;
    assert_eq!(healthy, Some(2.0));
    assert!(!slow.weir.log().contains("ejected"), "{}", slow.weir.log());
}

/// Here the client is silent because the endpoint is.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_ask_for_a_body_is_a_504() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/continue", Answer::Continue);
    let slow = Slow::start(PATIENT, &version(endpoint.address, "http/1.1", HASTY)).await;
    let mut client = Client::connect(slow.weir.http).await;
    let asked = Instant::now();
    client.send(upload_head("/", 4, "expect: 100-continue\r\n")).await;
    assert_eq!(client.response("POST").await.status, 504);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    slow.weir.access_line("\"end\":\"UT\"").await;
    // Once it has asked, it is the client's turn.
    let mut client = Client::connect(slow.weir.http).await;
    client.send(upload_head("/continue", 4, "expect: 100-continue\r\n")).await;
    assert!(client.take_through("\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    sleep(PAUSE).await;
    client.send("abcd").await;
    assert_eq!(client.response("POST").await.text(), "4");
}

/// Over HTTP/2, too, where most servers never ask: it ejects no endpoint, whatever clients speak.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_clients_hold_back_eject_no_endpoint() {
    const ASKING: usize = 8;
    let endpoint = H2Endpoint::start(None).await;
    let slow = Slow::start(PATIENT, &version(endpoint.address, "h2c", HASTY)).await;
    let mut asking = JoinSet::new();
    for _ in 0..ASKING {
        let mut client = Client::connect(slow.weir.http).await;
        client.send(upload_head("/paced", 4, "expect: 100-continue\r\n")).await;
        asking.spawn(async move { client.response("POST").await.status });
    }
    let h2 = slow.h2().await;
    for _ in 0..ASKING {
        let mut request = upload("/paced");
        request.headers_mut().insert("expect", http::HeaderValue::from_static("100-continue"));
        let (answer, body) = h2.open(request).await;
        asking.spawn(async move {
            let status = within("an answer", answer).await.expect("an answer").status().as_u16();
            drop(body);
            status
        });
    }
    assert_eq!(asking.join_all().await, [504; 2 * ASKING]);
    assert!(!slow.weir.log().contains("ejected"), "{}", slow.weir.log());
}

/// Events may be rare, and any client may wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn quiet_event_streams_eject_no_endpoint() {
    let endpoint = Endpoint::start("v1").await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    endpoint.on("/events", Answer::Raw(head.into()));
    for timeouts in [HASTY, "response: 15s, idle: 300ms"] {
        let slow = Slow::start(PATIENT, &version(endpoint.address, "http/1.1", timeouts)).await;
        for _ in 0..8 {
            let mut client = Client::connect(slow.weir.http).await;
            client.send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
            assert!(String::from_utf8_lossy(&client.rest().await).starts_with("HTTP/1.1 200 "));
        }
        slow.weir.access_line("\"end\":\"UT\"").await;
        assert!(!slow.weir.log().contains("ejected"), "{}", slow.weir.log());
    }
}

/// Any client can send uploads with routing keys that fall on the candidate.
#[tokio::test(flavor = "multi_thread")]
async fn stalled_uploads_roll_nothing_back() {
    const STALLED: usize = 40;
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: {{endpoints: ['{}'], timeouts: {{{HASTY}}}}}\n      \
         2: {{endpoints: ['{}'], timeouts: {{{HASTY}}}}}\n    \
         aliases: {{prod: {{split: {{1: 100}}, key: [{{header: x-user-id}}]}}}}\ndomains:\n  {HOST}: shop:prod\n",
        one.address, two.address
    );
    let plain = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 1
limits: {body_timeout: 1s}
";
    let weir = Weir::start_in(folder(), plain, &live).await;
    weir.told(&["release", "shop:prod", "2", "--plan", "canaryStep: {weight: 50, interval: 10m}"]).await;
    shares(&weir, [50, 50, 0]).await;
    let mut client = Client::connect(weir.http).await;
    let mut keys = Vec::new();
    for user in 0.. {
        let key = format!("x-user-id: {user}\r\n");
        if client.get_with(HOST, "/", &key).await.version() == "2" {
            keys.push(key);
        }
        if keys.len() == STALLED {
            break;
        }
    }
    let mut stalled = JoinSet::new();
    for key in keys {
        let mut client = Client::connect(weir.http).await;
        client.send(upload_head("/", 4, &key) + "ab").await;
        stalled.spawn(async move { client.response("POST").await.status });
    }
    assert_eq!(stalled.join_all().await, [408; STALLED]);
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
    let rollout = newest(&weir).await;
    assert!(rollout["ended"].is_null(), "{rollout}");
    weir.told(&["promote", "shop:prod"]).await;
}

/// An endpoint that accepts and reads nothing.
struct Deaf {
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl Deaf {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                kept.push(listener.accept().await.expect("loopback accepts"));
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_no_more_of_an_upload_is_a_504() {
    let deaf = Deaf::start().await;
    let slow = Slow::start(PATIENT, &version(deaf.address, "http/1.1", "response: 15s, idle: 500ms")).await;
    let mut client = Client::connect(slow.weir.http).await;
    let asked = Instant::now();
    client.send(upload_head("/", 64 << 20, "")).await;
    // More than all buffers on the way hold, so writing it never ends.
    let filled = timeout(Duration::from_millis(300), client.try_send(&vec![0; 64 << 20])).await;
    assert!(filled.is_err(), "{filled:?}");
    assert_eq!(client.response("POST").await.status, 504);
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    slow.weir.access_line("\"end\":\"UT\"").await;
}

/// Behind the grace, too little is as good as nothing.
const RATED: &str = "\
listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0', tls: true}]
admin: {address: '127.0.0.1:0'}
workers: 1
limits: {body_timeout: 20s, min_rate: {upload: 256B, download: 64MiB, grace: 1s}}
";

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_trickles_is_a_408() {
    let endpoint = Endpoint::start("v1").await;
    let slow = Slow::start(RATED, &version(endpoint.address, "http/1.1", HASTY)).await;
    let asked = Instant::now();
    let mut client = Client::connect(slow.weir.http).await;
    client.send(upload_head("/", 1_000_000, "")).await;
    let over_http1 = async {
        // The gateway decides how long it reads.
        while client.try_send(b"a").await.is_ok() && asked.elapsed() < Duration::from_secs(3) {
            sleep(Duration::from_millis(50)).await;
        }
        client.response("POST").await.status
    };
    let h2 = slow.h2().await;
    let (answer, mut body) = h2.open(upload("/")).await;
    let over_http2 = async {
        while body.send_data(Bytes::from_static(b"a"), false).is_ok() && asked.elapsed() < Duration::from_secs(3) {
            sleep(Duration::from_millis(50)).await;
        }
        within("an answer", answer).await.expect("an answer").status().as_u16()
    };
    assert_eq!(tokio::join!(over_http1, over_http2), (408, 408));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    slow.weir.access_line("\"end\":\"DT\"").await;
}

/// A megabyte a second is a trickle where 64 are asked for; less would hide in the buffers on the way for too long.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_trickles_is_cut() {
    let endpoint = Endpoint::start("v1").await;
    endpoint.on("/large", Answer::Raw(ok("v1", &vec![7; 64 << 20])));
    let slow = Slow::start(RATED, &version(endpoint.address, "http/1.1", "response: 15s, idle: 15s")).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a small buffer");
    let mut stream = within("connect", socket.connect(slow.weir.http)).await.expect("the gateway listens");
    stream.write_all(format!("GET /large HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.expect("it is read");
    let over_http1 = async {
        let mut some = vec![0; 64 << 10];
        while within("bytes or the end", stream.read(&mut some)).await.is_ok_and(|read| read > 0) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let h2 = slow.h2().await;
    let request = Request::builder().uri(format!("https://{HOST}/large")).body(()).expect("a request");
    let (answer, mut body) = h2.open(request).await;
    body.send_data(Bytes::new(), true).expect("the stream is open");
    let over_http2 = async {
        let mut answer = within("an answer", answer).await.expect("an answer").into_body();
        let mut read = 0;
        while let Some(Ok(bytes)) = within("bytes or the end", answer.data()).await {
            read += bytes.len();
            sleep(Duration::from_millis(50)).await;
            // A stream that was reset has no window to grow.
            let _ = answer.flow_control().release_capacity(bytes.len());
        }
        read
    };
    let cut = || slow.weir.access_log().iter().filter(|line| line["path"] == "/large" && line["end"] == "DT").count();
    let both = eventually("both are cut, and the client is named", async || (cut() == 2).then_some(()));
    tokio::select! {
        ((), read) = async { tokio::join!(over_http1, over_http2) } => assert!(read < 64 << 20, "{read}"),
        () = both => {}
    }
}

/// Events may be slow, and so may those who read them.
#[tokio::test(flavor = "multi_thread")]
async fn streams_have_no_least_rate() {
    let endpoint = Endpoint::start("v1").await;
    let slow = Slow::start(RATED, &version(endpoint.address, "http/1.1", "response: 15s, idle: 15s")).await;
    endpoint.on("/socket", Answer::WebSocket);
    let mut client = Client::connect(slow.weir.http).await;
    client.send(handshake("/socket")).await;
    assert_eq!(client.head().await.0, 101);
    for _ in 0..15 {
        client.send("x").await;
        assert_eq!(client.take(1).await, b"x");
        sleep(Duration::from_millis(150)).await;
    }
}

/// The messages of a gRPC call come when there is something to say.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_have_no_least_rate() {
    let endpoint = H2Endpoint::start(None).await;
    let slow = Slow::start(RATED, &version(endpoint.address, "h2c", "response: 15s, idle: 15s")).await;
    let h2 = slow.h2().await;
    let call = Request::builder().method("POST").uri(format!("https://{HOST}/paced"));
    let call = call.header("content-type", "application/grpc").body(()).expect("a request");
    let (answer, mut body) = h2.open(call).await;
    for number in 0..20 {
        body.send_data(Bytes::from_static(b"x"), number == 19).expect("the call goes on");
        sleep(Duration::from_millis(150)).await;
    }
    endpoint.pace.add_permits(2);
    assert_eq!(within("an answer", answer).await.expect("an answer").status().as_u16(), 200);
}

/// An upload that its endpoint does not take holds up no other one of the same client.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_a_deaf_endpoint_leaves_other_streams_alone() {
    let (deaf, endpoint) = (Deaf::start().await, Endpoint::start("v1").await);
    endpoint.on("/echo", Answer::Echo);
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    let live = format!(
        "functions:\n  deaf: {{versions: {{1: 'http://{}'}}, aliases: {{prod: 1}}}}\n  \
         shop: {{versions: {{1: 'http://{}'}}, aliases: {{prod: 1}}}}\n\
         domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /deaf, to: 'deaf:prod'}}, \
         {{path: /*, to: 'shop:prod'}}]}}\n",
        deaf.address, endpoint.address
    );
    let slow = Slow { weir: Weir::start_in(folder, PATIENT, &live).await, certificate };
    let h2 = slow.h2().await;
    let (_answer, mut body) = h2.open(upload("/deaf")).await;
    let sent = Arc::new(AtomicU64::new(0));
    let filling = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move {
            loop {
                body.reserve_capacity(16 << 10);
                let Some(Ok(capacity)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { return };
                if body.send_data(Bytes::from(vec![0; capacity.min(16 << 10)]), false).is_err() {
                    return;
                }
                sent.fetch_add(capacity as u64, Ordering::Relaxed);
            }
        }
    });
    // Every buffer on the way is full when nothing more can be sent.
    let taken = settled("the upload stalls", || sent.load(Ordering::Relaxed)).await;
    assert!(taken > 0);
    for _ in 0..3 {
        let answer = h2.request(upload("/echo"), &[&[7; 100]]).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 100));
    }
    assert!(!filling.is_finished());
    filling.abort();
}
