//! An endpoint that keeps every byte of every connection, and answers request by request with the bytes that a script names.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::message::{self, Message, Reading};

/// Paths that are answered by their own names, whatever the script says.
pub(crate) const CANARY: &str = "/canary/";

/// Long enough for the gateway to have read what it got before.
pub(crate) const MOMENT: Duration = Duration::from_millis(2);

/// What becomes of the connection behind an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    /// It stays for the next request.
    Keep,
    /// It ends.
    Close,
    /// It is reset.
    Reset,
    /// These bytes follow, once [`Scripted::go_on`] is called; it stays.
    Later(Vec<u8>),
    /// These bytes follow after a moment; it stays.
    Pause(Vec<u8>),
    /// Every byte comes back.
    Tunnel,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub(crate) struct ScriptedReply {
    /// Sent when the head is there.
    pub(crate) at_head: Vec<u8>,
    /// Sent when the request is whole.
    pub(crate) at_end: Vec<u8>,
    pub(crate) then: Then,
}

/// A connection as it went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection {
    /// All bytes that came.
    pub(crate) bytes: Vec<u8>,
    /// The whole requests among them.
    pub(crate) requests: Vec<Message>,
    /// Bytes at the end that are no whole request.
    pub(crate) rest: Vec<u8>,
    /// The reason if the rest cannot become a request.
    pub(crate) wrong: Option<String>,
    /// The gateway ended it, or the endpoint reset it.
    pub(crate) is_over: bool,
}

struct Record {
    script: Vec<ScriptedReply>,
    connections: Mutex<Vec<Connection>>,
    later: Semaphore,
}

/// A listening endpoint. Dropping it closes everything.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    record: Arc<Record>,
    accepting: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Scripted {
    /// Answers the n-th request with the n-th reply, further ones with the last; without a script with the request's first line.
    pub(crate) async fn start(script: Vec<ScriptedReply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let record = Arc::new(Record { script, connections: Mutex::default(), later: Semaphore::new(0) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&record)));
        Self { address, record, accepting }
    }

    /// Every connection so far.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.record.connections().clone()
    }

    /// Lets what is held back for later go.
    pub(crate) fn go_on(&self) {
        self.record.later.add_permits(1);
    }
}

impl Record {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().expect("no test panics with the lock")
    }

    /// The reply to the request that is the next one over all connections.
    fn reply(&self, head: &Message) -> ScriptedReply {
        let canary = |target: &str| target.starts_with(CANARY);
        if !canary(head.target()) && !self.script.is_empty() {
            let connections = self.connections();
            let requests = connections.iter().flat_map(|connection| &connection.requests);
            let before = requests.filter(|request| !canary(request.target())).count();
            return self.script[before.min(self.script.len() - 1)].clone();
        }
        let body = if canary(head.target()) { head.target() } else { &head.start };
        let length = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let body = if head.start.starts_with("HEAD ") { "" } else { body };
        ScriptedReply { at_head: Vec::new(), at_end: [&length, body].concat().into(), then: Then::Keep }
    }
}

async fn accept(listener: TcpListener, record: Arc<Record>) {
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("loopback accepts");
        stream.set_nodelay(true).expect("loopback has no-delay");
        let record = Arc::clone(&record);
        let index = {
            let mut connections = record.connections();
            connections.push(Connection::default());
            connections.len() - 1
        };
        // An error is an end of the connection, which is on record.
        tasks.spawn(async move {
            let mut served = Served { stream, record, index, unread: Vec::new() };
            let end = served.serve().await;
            served.settle();
            end
        });
    }
}

/// One connection that is being served.
struct Served {
    stream: TcpStream,
    record: Arc<Record>,
    index: usize,
    unread: Vec<u8>,
}

impl Served {
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut reply = None;
            let request = loop {
                match message::request(&self.unread) {
                    Reading::Whole(request, len) => {
                        self.unread.drain(..len);
                        break request;
                    }
                    Reading::Part(Some(head)) if reply.is_none() => {
                        let scripted = self.record.reply(&head);
                        self.stream.write_all(&scripted.at_head).await?;
                        let ends = scripted.at_end.is_empty() && scripted.then != Then::Keep;
                        if ends && self.leave(&scripted.then).await? {
                            return Ok(());
                        }
                        reply = Some(scripted);
                    }
                    Reading::Part(_) => self.read().await?,
                    Reading::Wrong(why) => {
                        self.record.connections()[self.index].wrong = Some(why);
                        return Ok(());
                    }
                }
            };
            let reply = match reply {
                Some(reply) => reply,
                None => {
                    let reply = self.record.reply(&request);
                    self.stream.write_all(&reply.at_head).await?;
                    reply
                }
            };
            self.record.connections()[self.index].requests.push(request);
            self.settle();
            self.stream.write_all(&reply.at_end).await?;
            if self.leave(&reply.then).await? {
                return Ok(());
            }
        }
    }

    /// True if the connection is over.
    async fn leave(&mut self, then: &Then) -> io::Result<bool> {
        match then {
            Then::Keep => return Ok(false),
            Then::Close => {
                self.stream.shutdown().await?;
                loop {
                    self.read().await?;
                }
            }
            Then::Reset => {
                socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                self.record.connections()[self.index].is_over = true;
            }
            Then::Later(bytes) => {
                self.record.later.acquire().await.expect("nobody closes the semaphore").forget();
                self.stream.write_all(bytes).await?;
                return Ok(false);
            }
            Then::Pause(bytes) => {
                tokio::time::sleep(MOMENT).await;
                self.stream.write_all(bytes).await?;
                return Ok(false);
            }
            Then::Tunnel => loop {
                let bytes = std::mem::take(&mut self.unread);
                self.stream.write_all(&bytes).await?;
                self.read().await?;
            },
        }
        Ok(true)
    }

    async fn read(&mut self) -> io::Result<()> {
        let start = self.unread.len();
        let read = self.stream.read_buf(&mut self.unread).await;
        let mut connections = self.record.connections();
        let connection = &mut connections[self.index];
        connection.bytes.extend_from_slice(&self.unread[start..]);
        connection.rest.clone_from(&self.unread);
        match read {
            Ok(0) | Err(_) => {
                connection.is_over = true;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Puts on record what is left.
    fn settle(&self) {
        self.record.connections()[self.index].rest.clone_from(&self.unread);
    }
}
