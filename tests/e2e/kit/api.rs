//! The admin API as a program uses it: a connection and a token.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use super::client::{Client, Response};
use super::weir::Weir;
use super::within;

/// A connection that is kept.
pub(crate) struct Api {
    client: Client,
    address: SocketAddr,
    token: String,
}

impl Api {
    /// With the gateway's first token.
    pub(crate) async fn of(weir: &Weir) -> Self {
        Self::with(weir, weir.token()).await
    }

    pub(crate) async fn with(weir: &Weir, token: String) -> Self {
        Self { client: Client::connect(weir.admin).await, address: weir.admin, token }
    }

    /// The answer to this request; a body is YAML, of which JSON is a part.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
        within(path, self.try_call(method, path, body)).await.expect("the gateway answers")
    }

    /// The same where the gateway may die meanwhile.
    pub(crate) async fn try_call(&mut self, method: &str, path: &str, body: impl AsRef<[u8]>) -> io::Result<Response> {
        let (Self { address, token, .. }, body) = (&*self, body.as_ref());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/yaml\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.client.try_send(&[head.as_bytes(), body].concat()).await?;
        self.client.try_response(method).await
    }
}

impl Response {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The revision at which the answer holds.
    pub(crate) fn revision(&self) -> u64 {
        let revision = self.head.field("x-weir-revision").and_then(|revision| revision.parse().ok());
        revision.unwrap_or_else(|| panic!("{} without a revision: {}", self.status, self.text()))
    }
}
