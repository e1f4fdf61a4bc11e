//! Load with faults: endpoints that reset, stall, die, answer garbage and close as they like, and clients that leave. Each answer
//! belongs to its request, what may not be repeated is sent once, and neither descriptors nor memory grow.
//!
//! `make soak` runs it for ten minutes; `WEIR_SOAK_SECONDS` says otherwise.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::HOST;
use crate::kit::lane::Lane;
use crate::kit::message::{self, Message, Reading};
use crate::kit::weir::{Weir, folder};
use crate::kit::{PATIENCE, eventually};

/// Short waits, so that stalls cost little.
const PROCESS: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
workers: 2
drain: {delay: 0s, deadline: 10s}
";

const CLIENTS: usize = 24;
const ENDPOINTS: usize = 3;
/// Growth that is noise: an allocator that keeps what it had, lines of the log that wait.
const MEMORY_NOISE: u64 = 16 << 20;
const DESCRIPTOR_NOISE: usize = 16;

/// Seconds of load on each lane.
fn seconds() -> u64 {
    std::env::var("WEIR_SOAK_SECONDS").map_or(8, |text| text.parse().expect("WEIR_SOAK_SECONDS is a number of seconds"))
}

/// What both sides write down.
#[derive(Default)]
struct Book {
    /// How often each request that may not be repeated came to an endpoint.
    arrivals: Mutex<HashMap<u64, u32>>,
    /// What must not be.
    wrongs: Mutex<Vec<String>>,
    whole: AtomicU64,
    failed: AtomicU64,
    left: AtomicU64,
    numbers: AtomicU64,
}

impl Book {
    fn wrong(&self, what: String) {
        let mut wrongs = self.wrongs.lock().expect("nobody panics with the lock");
        if wrongs.len() < 20 {
            wrongs.push(what);
        }
    }

    fn arrived(&self, number: u64) {
        let mut arrivals = self.arrivals.lock().expect("nobody panics with the lock");
        let count = arrivals.entry(number).or_default();
        *count += 1;
        if *count > 1 {
            self.wrong(format!("request {number}, which may not be repeated, came {count} times"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_mix_nothing_up_and_leave_nothing_behind() {
    for lane in Lane::all().await {
        soak(lane, Duration::from_secs(seconds())).await;
    }
}

async fn soak(lane: Lane, length: Duration) {
    let book = Arc::new(Book::default());
    let mut endpoints = JoinSet::new();
    let mut addresses = Vec::new();
    for number in 0..ENDPOINTS {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        addresses.push(listener.local_addr().expect("a bound socket has an address"));
        endpoints.spawn(faulty_endpoint(listener, Arc::clone(&book), number as u64));
    }
    let quoted: Vec<_> = addresses.iter().map(|address| format!("'{address}'")).collect();
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: {{endpoints: [{}], timeouts: {{response: 300ms, idle: 300ms}}}}\n\
         \x20   aliases: {{prod: 1}}\ndomains:\n  {HOST}: shop:prod\n",
        quoted.join(", ")
    );
    let process = format!("{PROCESS}{}", lane.setting().await).leak();
    let weir = Weir::start_in(folder(), process, &live).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(weir.http, Arc::clone(&book), Arc::clone(&stop), 1000 + number as u64));
    }
    // Pools and buffers have their size by then.
    sleep(length / 4).await;
    let (resident, began) = (weir.resident(), Instant::now());
    sleep(length - length / 4).await;
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let grown = weir.resident().saturating_sub(resident);
    let [whole, failed, left] = [&book.whole, &book.failed, &book.left].map(|count| count.load(Ordering::Relaxed));
    println!("{lane:?}: {whole} whole, {failed} failed, {left} left; {grown} bytes more in {:?}", began.elapsed());
    let wrongs = book.wrongs.lock().expect("nobody panics with the lock").join("\n");
    assert!(wrongs.is_empty(), "on the lane {lane:?}:\n{wrongs}");
    assert!(
        whole > failed && failed > 0 && left > 0,
        "{whole} whole, {failed} failed, {left} left: no load with faults"
    );
    assert!(grown < MEMORY_NOISE, "{grown} bytes more than after a quarter of the time");
    let most = 64 + DESCRIPTOR_NOISE + ENDPOINTS * CLIENTS;
    let descriptors = async || (descriptors(weir.pid()) <= most).then_some(());
    eventually("descriptors of clients that are gone are closed", descriptors).await;
    let in_flight = async || {
        weir.metric("weir_connections_open", &[("protocol", "http1")])
            .await
            .is_none_or(|open| open == 0.0)
            .then_some(())
    };
    eventually("no connection is left", in_flight).await;
    assert!(!weir.log().contains("panicked"), "{}", weir.log());
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process has descriptors").count()
}

/// A client that sends one request after another, leaves now and then, and knows its answers.
async fn client(gateway: SocketAddr, book: Arc<Book>, stop: Arc<AtomicBool>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(gateway).await.expect("the gateway listens"),
        };
        let number = book.numbers.fetch_add(1, Ordering::Relaxed);
        let post = random.random_bool(0.4);
        let request = request(number, post, &mut random);
        if random.random_ratio(1, 20) {
            // Leaves within its request, or before its answer.
            let cut = random.random_range(0..=request.len());
            let _ = stream.write_all(&request[..cut]).await;
            if random.random_bool(0.5) {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket takes options");
            }
            book.left.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let answer = async {
            stream.write_all(&request).await.ok()?;
            answer(&mut stream).await
        };
        let Ok(answer) = timeout(PATIENCE, answer).await else {
            book.wrong(format!("request {number} was not answered within {PATIENCE:?}"));
            continue;
        };
        let Some(answer) = answer else {
            book.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        if judge(&book, &answer, number) && !answer.values("connection").contains(&"close") {
            connection = Some(stream);
        }
    }
}

fn request(number: u64, post: bool, random: &mut SmallRng) -> Vec<u8> {
    let head = format!("/{number} HTTP/1.1\r\nhost: {HOST}\r\nx-soak: {number}\r\n");
    if !post {
        return format!("GET {head}\r\n").into();
    }
    let body = format!("{number};").repeat(random.random_range(1..400));
    if random.random_bool(0.5) {
        format!("POST {head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into()
    } else {
        format!("POST {head}content-length: {}\r\n\r\n{body}", body.len()).into()
    }
}

/// The answer, or `None` if the connection ends before it is whole.
async fn answer(stream: &mut TcpStream) -> Option<Message> {
    let mut bytes = Vec::new();
    loop {
        match message::answer(&bytes, "GET", false) {
            Reading::Whole(answer, len) if len == bytes.len() => return Some(answer),
            Reading::Whole(..) | Reading::Wrong(_) => {
                panic!("an answer, and something else: {}", bytes.escape_ascii());
            }
            Reading::Part(_) => {}
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// True if the answer is one that may come, and the endpoint's own.
fn judge(book: &Book, answer: &Message, number: u64) -> bool {
    match answer.status() {
        200 => {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            if body.split(';').any(|part| part != number.to_string()) {
                book.wrong(format!("request {number} got the answer {:.60}", body));
            }
            book.whole.fetch_add(1, Ordering::Relaxed);
            true
        }
        502..=504 => {
            book.failed.fetch_add(1, Ordering::Relaxed);
            true
        }
        status => {
            book.wrong(format!("request {number} got a {status}"));
            false
        }
    }
}

/// Accepts, and now and then dies for a moment with all its connections.
async fn faulty_endpoint(listener: TcpListener, book: Arc<Book>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let address = listener.local_addr().expect("a bound socket has an address");
    let mut listener = Some(listener);
    loop {
        let own = match listener.take() {
            Some(own) => own,
            None => loop {
                match listen(address) {
                    Ok(own) => break own,
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            },
        };
        let life = Duration::from_millis(random.random_range(500..3000));
        let mut connections = JoinSet::new();
        let accepting = async {
            loop {
                let Ok((stream, _)) = own.accept().await else { continue };
                connections.spawn(faulty_connection(stream, Arc::clone(&book), random.random()));
            }
        };
        // Its end is the end of its life; nothing else ends it.
        let _: Result<(), _> = timeout(life, accepting).await;
        connections.abort_all();
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// What an endpoint does with a request, besides answering it.
#[derive(Debug, Clone, Copy)]
enum Fault {
    ResetBefore,
    CloseBefore,
    Garbage,
    Stall,
    ResetWithin,
    CloseWithin,
    Surplus,
    CloseAfter,
    Status,
}

const FAULTS: [Fault; 9] = [
    Fault::ResetBefore,
    Fault::CloseBefore,
    Fault::Garbage,
    Fault::Stall,
    Fault::ResetWithin,
    Fault::CloseWithin,
    Fault::Surplus,
    Fault::CloseAfter,
    Fault::Status,
];

async fn faulty_connection(mut stream: TcpStream, book: Arc<Book>, seed: u64) -> Option<()> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut unread = Vec::new();
    loop {
        let request = loop {
            match message::request(&unread) {
                Reading::Whole(request, len) => {
                    unread.drain(..len);
                    break request;
                }
                Reading::Wrong(why) => {
                    book.wrong(format!("an endpoint got what is no request: {why}: {}", unread.escape_ascii()));
                    return None;
                }
                Reading::Part(_) => {}
            }
            if stream.read_buf(&mut unread).await.ok()? == 0 {
                return None;
            }
        };
        let number: u64 = request.values("x-soak").first()?.parse().ok()?;
        if request.start.starts_with("POST ") {
            book.arrived(number);
            let body = String::from_utf8_lossy(&request.body).into_owned();
            if body.split_terminator(';').any(|part| part != number.to_string()) {
                book.wrong(format!("request {number} came with the body {body:.60}"));
            }
        }
        let body = vec![number.to_string(); random.random_range(1..300)].join(";");
        let answer = if random.random_bool(0.5) {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        } else {
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        };
        if !random.random_ratio(1, 8) {
            stream.write_all(answer.as_bytes()).await.ok()?;
            continue;
        }
        let fault = FAULTS[random.random_range(0..FAULTS.len())];
        let half = random.random_range(1..answer.len());
        match fault {
            Fault::CloseBefore => return None,
            Fault::ResetBefore => {}
            Fault::Garbage => stream.write_all(b"\0garbage\r\n\r\n").await.ok()?,
            Fault::Stall => {
                sleep(Duration::from_millis(600)).await;
                stream.write_all(answer.as_bytes()).await.ok()?;
                continue;
            }
            Fault::ResetWithin | Fault::CloseWithin => stream.write_all(&answer.as_bytes()[..half]).await.ok()?,
            Fault::Surplus => {
                let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
                stream.write_all(format!("{answer}{forged}").as_bytes()).await.ok()?;
                continue;
            }
            Fault::CloseAfter => stream.write_all(answer.as_bytes()).await.ok()?,
            Fault::Status => {
                stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno").await.ok()?;
                continue;
            }
        }
        if matches!(fault, Fault::ResetBefore | Fault::ResetWithin) {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
        }
        return None;
    }
}
