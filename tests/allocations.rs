//! The express lane takes next to no memory from the heap for a request: the whole gateway runs in this process, under an allocator
//! that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use gateway::log::Format;
use gateway::serve::Keep;

/// The allocator of the system, which counts.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator has no safe form; each call goes to that of the system as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `at` comes from `System`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, and `at` comes from `System`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests of one round.
const ROUND: u64 = 200;
/// Bytes of the two bodies.
const BODIES: [usize; 2] = [200, 64 << 10];

#[test]
fn a_plain_request_takes_one_allocation() {
    let gateway = start(BODIES.map(endpoint));
    for (number, length) in BODIES.into_iter().enumerate() {
        let request = format!("GET /?page=1 HTTP/1.1\r\nHost: b{number}.example.com\r\nUser-Agent: test\r\n\r\n");
        let mut client = connect(gateway);
        let mut buffer = vec![0; length + 4096];
        // The work of other threads falls into some rounds and not into others.
        let least = (0..20).map(|_| round(&mut client, &request, &mut buffer, length)).min().unwrap_or(u64::MAX);
        assert!(least <= ROUND, "{length} bytes: {least} allocations in {ROUND} requests");
    }
}

/// The counter counts.
#[test]
fn allocations_are_seen() {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1u64)));
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before);
}

/// The allocations of one round of requests, each answered by a body of this length.
fn round(client: &mut TcpStream, request: &str, buffer: &mut [u8], length: usize) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..ROUND {
        client.write_all(request.as_bytes()).expect("the gateway reads");
        let (mut read, mut body) = (0, None);
        while body.is_none_or(|body| read < body + length) {
            read += client.read(&mut buffer[read..]).expect("the gateway answers");
            body = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 "), "{}", buffer[..read].escape_ascii());
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// A connection to the gateway, once it listens.
fn connect(gateway: SocketAddr) -> TcpStream {
    for _ in 0..2000 {
        if let Ok(stream) = TcpStream::connect(gateway) {
            return stream;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the gateway does not listen");
}

/// An endpoint that answers with a body of this length, and takes nothing from the heap for it.
fn endpoint(length: usize) -> SocketAddr {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    let answer = [head.as_bytes(), &vec![b'a'; length]].concat();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.expect("a connection"), answer.clone());
            thread::spawn(move || {
                let mut request = [0; 4096];
                let mut read = 0;
                while let Ok(more @ 1..) = stream.read(&mut request[read..]) {
                    read += more;
                    if request[..read].ends_with(b"\r\n\r\n") {
                        read = 0;
                        stream.write_all(&answer).expect("the gateway reads");
                    }
                }
            });
        }
    });
    address
}

/// Starts a gateway before these endpoints, which lives as long as the process.
fn start(endpoints: [SocketAddr; 2]) -> SocketAddr {
    // Taken again at once.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let folder = tempfile::tempdir().expect("a folder").keep();
    // The token of the admin API goes there.
    std::env::set_current_dir(&folder).expect("the folder is there");
    let path = folder.join("weir.yaml");
    let mut text = format!(
        "listeners: [{{address: '{free}'}}]\nadmin: {{address: '127.0.0.1:0'}}\nworkers: 1\naccess_log: off\nfunctions:\n"
    );
    for (number, endpoint) in endpoints.into_iter().enumerate() {
        text += &format!("  b{number}: {{versions: {{1: 'http://{endpoint}'}}, aliases: {{prod: 1}}}}\n");
    }
    text += "domains: {b0.example.com: 'b0:prod', b1.example.com: 'b1:prod'}\n";
    std::fs::write(&path, text).expect("the folder can be written");
    thread::spawn(move || {
        rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody else installs one");
        let diagnostics = gateway::log::start("error", Format::Text, || Duration::ZERO).expect("the first start");
        gateway::serve::run(&path, Keep::Ephemeral, &diagnostics)
    });
    free
}
