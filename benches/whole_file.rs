//! The time from the rename of a whole configuration file until requests see it.
//!
//! `cargo bench --profile demo --bench whole_file -- 100000` runs the gateway with a file of so many functions, each with an alias, and
//! puts other files in its place: one alias differs, then all do. A client asks all the while; the longest time between two of its
//! answers is the gap. What is measured is absolute, so the machine must be told with it, and what else ran on it.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use criterion::measurement::{Measurement, WallTime};

/// The number of functions, unless the command line says otherwise.
const FUNCTIONS: usize = 100_000;
/// The rows of the table.
const ROUNDS: usize = 3;
/// The time for a file to go live.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time between two changes, in which the gateway frees what it replaced.
const PAUSE: Duration = Duration::from_secs(3);
/// A client asks so often.
const EVERY: Duration = Duration::from_millis(2);

fn main() {
    let functions = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(FUNCTIONS);
    let cores = thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let folder = tempfile::tempdir().expect("a folder");
    let file = Fleet { functions, folder: folder.path(), listener: free_address(), admin: free_address() };
    let middle = functions / 2;
    file.put(&file.text("1", None));
    let _weir = Running(file.start());
    let mut client = Client::connect(file.listener);
    thread::sleep(PAUSE);
    println!("\n{functions} functions with an alias each, {cores} cores");
    println!("| change | live after, s | longest gap, ms |\n|---|---|---|");
    for _ in 0..ROUNDS {
        for (name, text, wanted) in [
            ("one alias", file.text("1", Some((middle, "2"))), [(middle, 'b'), (0, 'a')]),
            ("one alias, back", file.text("1", None), [(middle, 'a'), (0, 'a')]),
            ("all aliases", file.text("2", None), [(functions - 1, 'b'), (0, 'b')]),
            ("all aliases, back", file.text("1", None), [(functions - 1, 'a'), (0, 'a')]),
        ] {
            let (live, gap) = client.until_live(&wanted, || file.put(&text));
            println!("| {name} | {:.2} | {:.1} |", live.as_secs_f64(), gap.as_secs_f64() * 1e3);
            thread::sleep(PAUSE);
        }
    }
}

/// A file of many functions.
struct Fleet<'f> {
    functions: usize,
    folder: &'f Path,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Fleet<'_> {
    /// The file in which all aliases name a version, and one of them another one.
    fn text(&self, version: &str, other: Option<(usize, &str)>) -> String {
        let (listener, admin) = (self.listener, self.admin);
        let store = self.folder.join("state.db");
        let mut text = format!("listeners: [{listener}]\nadmin: {admin}\nstore: {{path: {}}}\n", store.display());
        text.push_str("access_log: off\nworkers: 1\nfunctions:\n");
        for number in 0..self.functions {
            let version = other.filter(|(other, _)| *other == number).map_or(version, |(_, version)| version);
            let answer = |body| format!("{{response: {{status: 200, body: {body}}}}}");
            writeln!(
                text,
                "  f{number:06}: {{versions: {{1: {}, 2: {}}}, aliases: {{prod: {version}}}}}",
                answer('a'),
                answer('b')
            )
            .expect("a string takes all");
        }
        text.push_str("domains:\n");
        for number in [0, self.functions / 2, self.functions - 1] {
            writeln!(text, "  d{number:06}.example.com: f{number:06}:prod").expect("a string takes all");
        }
        text
    }

    /// Puts the text in the file's place, whole.
    fn put(&self, text: &str) {
        let next = self.folder.join("next.yaml");
        fs::write(&next, text).expect("the folder takes a file");
        fs::rename(&next, self.folder.join("weir.yaml")).expect("a rename");
    }

    fn start(&self) -> Child {
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        weir.arg("serve").arg("--config").arg(self.folder.join("weir.yaml"));
        weir.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir starts")
    }
}

/// The gateway, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the gateway has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client with one connection.
struct Client(TcpStream);

impl Client {
    /// Connects once the gateway answers.
    fn connect(address: SocketAddr) -> Self {
        let clock = WallTime.start();
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    stream.set_nodelay(true).expect("a socket");
                    return Self(stream);
                }
                Err(error) => assert!(clock.elapsed() < PATIENCE, "the gateway does not come up: {error}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The time from this change until all these aliases answer so, and the longest time between two answers.
    fn until_live(&mut self, wanted: &[(usize, char)], change: impl FnOnce()) -> (Duration, Duration) {
        change();
        let (begun, mut last, mut gap) = (WallTime.start(), WallTime.start(), Duration::ZERO);
        loop {
            let is_live = wanted.iter().all(|(number, body)| {
                let is_wanted = self.ask(*number) == *body;
                gap = gap.max(last.elapsed());
                last = WallTime.start();
                is_wanted
            });
            if is_live {
                return (begun.elapsed(), gap);
            }
            assert!(begun.elapsed() < PATIENCE, "the change does not go live");
            thread::sleep(EVERY);
        }
    }

    /// The body of an answer, of one character.
    fn ask(&mut self, number: usize) -> char {
        write!(self.0, "GET / HTTP/1.1\r\nhost: d{number:06}.example.com\r\n\r\n").expect("the gateway listens");
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = self.0.read(&mut buffer).expect("the gateway answers");
            assert!(length > 0, "the gateway closed the connection");
            answer.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&answer);
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Some(body) = body.chars().next()
            {
                return body;
            }
        }
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("it is bound")
}
