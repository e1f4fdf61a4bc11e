//! A node with its admin API on a socket, and a client that shows every byte of an answer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use config::model::AdminListener;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use crate::admin::{About, Admin, LastReload, Listener, serve};
use crate::clock;
use crate::control::Author;
use crate::control::authority::Authority;
use crate::control::tests::{Node, environment, process};
use crate::control::tokens::Role;
use crate::dial::Dial;
use crate::hook::Hooks;

/// One function with two versions, an alias and a domain.
pub(super) const FILE: &str = "\
functions:
  shop:
    draft: http://127.0.0.1:9
    versions: {1: 'http://127.0.0.1:1', 2: 'http://127.0.0.1:2'}
    aliases: {prod: {1: 95, 2: 5}}
domains: {shop.example.com: 'shop:prod'}
";

/// A node with its API.
pub(super) struct Api {
    pub(super) node: Node,
    pub(super) place: String,
    pub(super) drain: Arc<Notify>,
    pub(super) viewer: String,
    pub(super) operator: String,
    pub(super) admin: String,
    serving: tokio::task::JoinHandle<()>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Api {
    /// On a port of this machine, with [`FILE`] live.
    pub(super) async fn start() -> Self {
        Self::start_at(&AdminListener::at("127.0.0.1:0".parse().unwrap())).await
    }

    pub(super) async fn start_at(at: &AdminListener) -> Self {
        Self::start_on(Listener::open(at, None).unwrap()).await
    }

    pub(super) async fn start_on(listener: Listener) -> Self {
        let place = listener.name().unwrap();
        let node = Node::with(FILE).await;
        let drain = Arc::new(Notify::new());
        let admin = Admin {
            live: Arc::clone(&node.live),
            metrics: Arc::clone(&node.metrics),
            control: node.control.clone(),
            hooks: Hooks::default(),
            environment: Arc::new(environment),
            authority: Arc::new(Authority::new(&process(), Dial::new(&process()))),
            ready: Arc::new(AtomicBool::new(true)),
            drain: Arc::clone(&drain),
            reload: watch::Sender::new(LastReload::default()).subscribe(),
            about: About { id: "n1".into(), started: clock::unix(), store: None },
            attempts: Arc::default(),
        };
        let mut tokens = Vec::new();
        for role in Role::ALL {
            let secret = node.control.create_token(Author::of("start"), role.as_str(), role).await.unwrap();
            tokens.push(secret.reveal().to_owned());
        }
        let [viewer, operator, admin_token] = tokens.try_into().unwrap();
        let serving = tokio::spawn(serve(listener, admin));
        Self { node, place, drain, viewer, operator, admin: admin_token, serving }
    }

    /// Without a token.
    pub(super) async fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[], "").await
    }

    /// With the operator's token and JSON.
    pub(super) async fn operate(&self, method: &str, path: &str, body: &str) -> Answered {
        self.operate_with(method, path, &[], body).await
    }

    /// The same with more headers.
    pub(super) async fn operate_with(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answered {
        let bearer = format!("Bearer {}", self.operator);
        let mut headers = vec![("authorization", &*bearer)];
        if !more.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        headers.extend_from_slice(more);
        self.ask(method, path, &headers, body).await
    }

    /// With the admin's token and JSON.
    pub(super) async fn administer(&self, method: &str, path: &str, body: &str) -> Answered {
        let bearer = format!("Bearer {}", self.admin);
        self.ask(method, path, &[("authorization", &bearer), ("content-type", "application/json")], body).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let stream = TcpStream::connect(self.place.replace("0.0.0.0", "127.0.0.1")).await.unwrap();
        exchange(stream, &request(method, path, headers, body)).await
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A request that ends its connection.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        text.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + &format!("content-length: {}\r\n\r\n{body}", body.len())
}

pub(super) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answered {
    // An answer may come before all of a long body was sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    // TLS ends without a farewell here.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answered { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

impl Answered {
    /// The body, which must be JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// This status, or the test fails with the whole answer.
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A refusal with this status and code, of the one form.
    #[track_caller]
    pub(super) fn refuses(self, status: u16, code: &str) -> Value {
        let answer = self.is(status);
        let json = answer.json();
        assert_eq!(json["code"], code, "{json}");
        assert!(json["message"].as_str().is_some_and(|message| !message.is_empty()), "{json}");
        assert!(json["problems"].is_array(), "{json}");
        json
    }
}
