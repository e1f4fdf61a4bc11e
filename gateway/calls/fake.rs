//! A server for tests: writes down the bytes it gets, and answers what it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long a test waits for what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A request, byte for byte.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method, target and version.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// As many bytes as `content-length` says.
    pub(crate) body: Vec<u8>,
}

/// What comes back.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status and a body.
    Says(u16, String),
    /// These headers and no body.
    Head(&'static str),
    /// Closes the connection.
    Breaks,
    /// Never answers.
    Silence,
}

/// Serves until it is dropped; the last reply is given again and again.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let (writes, replies) = (Arc::clone(&seen), replies.to_vec());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&writes), replies.clone()));
            }
        });
        Self { address, seen, task }
    }

    pub(crate) async fn says(status: u16, body: &str) -> Self {
        Self::start(&[Reply::Says(status, body.to_owned())]).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub(crate) fn only(&self) -> Request {
        let [request] = &self.seen()[..] else { panic!("{:?}", self.seen()) };
        request.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Waits until `is` holds.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let holds = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, holds).await.is_ok(), "never: {what}");
}

/// One request to each connection.
async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, replies: Vec<Reply>) {
    let Some(request) = read(&mut stream).await else { return };
    let reply = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        replies[(seen.len() - 1).min(replies.len() - 1)].clone()
    };
    let answer = match reply {
        Reply::Says(status, body) => {
            format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        Reply::Head(head) => format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        Reply::Breaks => return,
        Reply::Silence => std::future::pending().await,
    };
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let line = lines.next()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let mut request = Request { line, headers, body: bytes[end + 4..].to_vec() };
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    while request.body.len() < length {
        assert_ne!(stream.read_buf(&mut request.body).await.ok()?, 0, "the body is shorter than it says");
    }
    assert_eq!(request.body.len(), length, "the body is longer than it says");
    Some(request)
}
