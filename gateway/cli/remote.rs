//! Calls to a running gateway: one client, and what its answers mean for the command.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Exit;
use super::access::{Access, Address, Found};
use super::failure::Failure;
use super::rollout;
use crate::files;

const CONNECT: Duration = Duration::from_secs(5);
/// The whole of a usual call.
const WHOLE: Duration = Duration::from_secs(30);
/// The whole of a call that moves everything a store holds.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// Entries of a page of a list; the most that a gateway gives.
const PAGE: usize = 1000;

/// What rustls says of a certificate that no known authority signed.
const UNKNOWN_ISSUER: &str = "UnknownIssuer";

/// What a header value cannot hold as it is, and the sign that everything else is written with.
const NOT_IN_HEADERS: &AsciiSet = &CONTROLS.add(b'%');

/// A running gateway.
pub(super) struct Remote {
    client: Client,
    base: Url,
    found: Found,
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Vec<u8>,
    whole: Option<Duration>,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The store revision that is live, at which a change is live.
    pub(super) revision: Option<u64>,
    pub(super) text: String,
    /// `null` when the answer is no JSON.
    pub(super) json: Value,
    /// Whether what it tells is live and not stored yet.
    pub(super) unsaved: bool,
}

impl Remote {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// What [`Access::find`] finds wrong; a token or a certificate store that cannot be used.
    pub(super) fn new(access: &Access) -> Result<Self, Failure> {
        let found = access.find()?;
        let mut headers = HeaderMap::new();
        if let Some(token) = &found.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Failure::new(Exit::Failed, "the token has characters that no token has"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(None);
        let plain = "http://localhost/";
        let (client, base) = match &found.address {
            Address::Socket(path) => (client.tls_certs_only([]).unix_socket(path.as_path()), plain.parse()),
            // Without TLS nothing asks for certificates, and a small image may have none.
            Address::Url(url) if url.scheme() == "http" => (client.tls_certs_only([]), Ok(url.clone())),
            Address::Url(url) => (client, Ok(url.clone())),
        };
        let base = base.expect("a constant URL parses");
        let client = match &access.ca {
            Some(file) => client.tls_certs_only(authorities(file)?),
            None => client,
        };
        let client = client
            .build()
            .map_err(|error| Failure::new(Exit::Failed, format!("TLS cannot be set up: {}", causes(&error))))?;
        Ok(Self { client, base, found })
    }

    /// # Errors
    /// See [`Remote::call`].
    pub(super) fn get(&self, path: impl Into<String>) -> Result<Answer, Failure> {
        self.call(Call::new(Method::GET, path))
    }

    /// # Errors
    /// No answer in time, or an answer that is no success.
    pub(super) fn call(&self, call: Call) -> Result<Answer, Failure> {
        let changes = call.method != Method::GET;
        let response = self.send(call)?;
        let revision = live_revision(&response);
        let unsaved = response.headers().contains_key("x-weir-unsaved");
        let text = response.text().map_err(|error| self.unreachable(&error, changes))?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { revision, text, json, unsaved })
    }

    /// The body of an answer to a question.
    ///
    /// # Errors
    /// When it breaks off.
    pub(super) fn text(&self, response: Response) -> Result<String, Failure> {
        response.text().map_err(|error| self.unreachable(&error, false))
    }

    /// As [`Remote::call`], with the body of the answer still to come.
    ///
    /// # Errors
    /// See [`Remote::call`].
    pub(super) fn send(&self, call: Call) -> Result<Response, Failure> {
        let changes = call.method != Method::GET;
        let path = call.path.clone();
        let mut url = self.base.clone();
        url.set_path(&call.path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = self.client.request(call.method, url).headers(call.headers);
        if !call.body.is_empty() {
            request = request.body(call.body);
        }
        if let Some(whole) = call.whole {
            request = request.timeout(whole);
        }
        let response = request.send().map_err(|error| self.unreachable(&error, changes))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let revision = revision_of(response.headers());
        let body = response.bytes().map_err(|error| self.unreachable(&error, changes))?;
        let failure = Failure::refused(status, &body);
        Err(match status.as_u16() {
            401 => failure.hint(format!("a token is looked for in {}", self.found.looked)),
            412 => self.other_revision(failure, revision, path),
            404 if path.starts_with(&rollout::path("")) => failure.hint("`weir rollouts` shows those that there are"),
            _ => failure,
        })
    }

    /// Every item of a list, page after page.
    ///
    /// # Errors
    /// See [`Remote::call`].
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let (mut items, mut after) = (Vec::new(), None);
        loop {
            let page = self.call(Call::new(Method::GET, path).query("limit", Some(PAGE)).query("after", after))?;
            items.extend(page.json["items"].as_array().into_iter().flatten().cloned());
            after = match &page.json["next"] {
                Value::String(name) => Some(name.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => return Ok(items),
            };
        }
    }

    fn unreachable(&self, error: &reqwest::Error, changes: bool) -> Failure {
        let Found { address, by, .. } = &self.found;
        let cause = causes(error);
        let failure = Failure::new(Exit::Unreachable, format!("no answer from {address}: {cause}"));
        if error.is_connect() && cause.contains(UNKNOWN_ISSUER) {
            failure.hint("`--ca FILE` or WEIR_CA names the authority that signed the gateway's certificate")
        } else if error.is_connect() {
            failure.hint(format!("is `weir serve` running? The address comes from {by}; --admin names another"))
        } else if changes {
            failure.hint("it is not known whether the change was made: read before you try again")
        } else {
            failure
        }
    }

    fn other_revision(&self, failure: Failure, revision: Option<u64>, path: String) -> Failure {
        let ask = || self.client.get(self.base.join(&path).ok()?).timeout(WHOLE).send().ok();
        match revision.or_else(|| revision_of(ask()?.headers())) {
            Some(revision) => failure.hint(format!("it is at revision {revision} now: look at it and try again")),
            None => failure.hint("look at what is there now, and try again"),
        }
    }
}

/// The certificates of a PEM file.
fn authorities(file: &Path) -> Result<Vec<Certificate>, Failure> {
    let (_, pem) = files::read(file).map_err(|error| Failure::unreadable(file, &error))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => {
            let failure = Failure::new(Exit::Failed, format!("{} holds no certificate", file.display()));
            Err(failure.hint("a PEM file with `-----BEGIN CERTIFICATE-----` is needed"))
        }
    }
}

/// The store revision that was live when the answer was made.
pub(super) fn live_revision(response: &Response) -> Option<u64> {
    response.headers().get("x-weir-revision")?.to_str().ok()?.parse().ok()
}

fn revision_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(ETAG)?.to_str().ok()?.trim_matches('"').parse().ok()
}

/// An error and everything beneath it; the outermost layer only says which URL it was.
fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

impl Call {
    /// Without query and body, with the usual patience.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, headers, body) = (Vec::new(), HeaderMap::new(), Vec::new());
        Self { method, path: path.into(), query, headers, body, whole: Some(WHOLE) }
    }

    /// A parameter, if there is a value.
    pub(super) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(super) fn yaml(self, body: String) -> Self {
        self.body("application/yaml", body)
    }

    pub(super) fn body(mut self, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.body = body.into();
        self
    }

    pub(super) fn accept(mut self, kind: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(kind));
        self
    }

    /// How long the whole may take; `None` for a stream that does not end.
    pub(super) fn within(self, whole: Option<Duration>) -> Self {
        Self { whole, ..self }
    }

    /// Goes on after this event.
    pub(super) fn after_event(mut self, id: Option<u64>) -> Self {
        self.headers.extend(id.map(|id| (HeaderName::from_static("last-event-id"), HeaderValue::from(id))));
        self
    }

    /// Only if there is nothing yet.
    pub(super) fn only_new(mut self) -> Self {
        self.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        self
    }

    /// Only if the resource is at this revision.
    pub(super) fn only_at(mut self, revision: Option<u64>) -> Self {
        if let Some(revision) = revision {
            let value = HeaderValue::try_from(format!("\"{revision}\"")).expect("digits and quotes are visible ASCII");
            self.headers.insert(IF_MATCH, value);
        }
        self
    }

    /// With a reason for the journal.
    pub(super) fn why(mut self, why: Option<&str>) -> Self {
        if let Some(why) = why {
            let encoded = utf8_percent_encode(why, NOT_IN_HEADERS).to_string();
            let value = HeaderValue::try_from(encoded).expect("percent-encoded text is visible ASCII");
            self.headers.insert("x-weir-why", value);
        }
        self
    }
}

impl Answer {
    /// The answer as what a command shows.
    ///
    /// # Errors
    /// Another shape, as another release of weir may answer.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| Failure::other_form(&error))
    }
}
