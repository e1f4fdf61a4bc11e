//! Calls to servers that are not ours: the one HTTP client of hooks, notifiers and queries.
//!
//! No call follows a redirect, waits longer than it says, or takes more of an answer than it says. No error holds a URL,
//! because URLs hold secrets. Calls by `https` go through the proxy that the environment names (`HTTPS_PROXY`,
//! `NO_PROXY`), calls by `http` never do.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use rand::RngExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::dial::Dial;

#[cfg(test)]
pub(crate) mod fake;

const CONNECT: Duration = Duration::from_secs(5);
/// The most that the first pause between two tries may last; each next one may last twice as long.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Characters of an answer that an error quotes.
const QUOTED: usize = 300;

/// The client; clones share its connections.
#[derive(Clone, Default)]
pub struct Caller(Arc<Clients>);

/// Each made at its first call: only a call by `https` needs certificates, and a small image may have none.
#[derive(Default)]
struct Clients {
    plain: OnceLock<Result<Client, String>>,
    secure: OnceLock<Result<Client, String>>,
    dial: Dial,
}

/// Looks names up for the client, on threads that may block, and leaves out what is not dialled.
struct Lookup(Dial);

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let dial = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (mut addresses, mut refused) = (Vec::new(), None);
            for address in found {
                match dial.check(address.ip()) {
                    Ok(()) => addresses.push(address),
                    Err(why) => refused = Some(why),
                }
            }
            match refused {
                Some(why) if addresses.is_empty() => Err(why.into()),
                _ => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// One request.
#[derive(Clone)]
pub struct Call<'a> {
    pub method: Method,
    /// `http` or `https`; user and password in it become an `authorization` header.
    pub url: &'a str,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// How long everything may take, to the last byte of the answer.
    pub within: Duration,
    /// Bytes of the answer's body that are taken.
    pub most: usize,
}

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// Whether there was more of the body than was taken.
    pub cut: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or one that broke.
    #[error("{0}")]
    Unreachable(String),
    /// Not within this time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Nothing was sent: the URL or a header is wrong, or TLS cannot be set up.
    #[error("{0}")]
    Unsendable(String),
}

impl Caller {
    /// A client that connects to these addresses alone.
    #[must_use]
    pub fn dialling(dial: Dial) -> Self {
        Self(Arc::new(Clients { dial, ..Clients::default() }))
    }

    /// Asks once.
    ///
    /// # Errors
    /// See [`CallError`]. Every status is an answer, redirects too.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, CallError> {
        let url =
            Url::parse(call.url).map_err(|error| CallError::Unsendable(format!("the URL cannot be read: {error}")))?;
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if let Some(address) = literal {
            self.0.dial.check(address).map_err(|why| CallError::Unsendable(why.to_string()))?;
        }
        let mut request = self.client(url.scheme())?.request(call.method, url).body(call.body);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let answer = async {
            let mut response = request.send().await?;
            let mut answer = Answer { status: response.status(), body: Vec::new(), cut: false };
            while let Some(chunk) = response.chunk().await? {
                let room = call.most - answer.body.len();
                answer.cut = chunk.len() > room;
                answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if answer.cut {
                    break;
                }
            }
            Ok(answer)
        };
        let answer = tokio::time::timeout(call.within, answer).await;
        answer.map_err(|_| CallError::TimedOut(call.within))?.map_err(|error: reqwest::Error| why(&error))
    }

    fn client(&self, scheme: &str) -> Result<&Client, CallError> {
        let base = Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .dns_resolver(Arc::new(Lookup(self.0.dial.clone())));
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| format!("TLS cannot be set up: {}", cause(&error)))
        };
        let client = match scheme {
            "https" => self.0.secure.get_or_init(|| build(base)),
            _ => self.0.plain.get_or_init(|| build(base.no_proxy().tls_certs_only([]))),
        };
        client.as_ref().map_err(|error| CallError::Unsendable(error.clone()))
    }
}

/// How long to wait after so many failed tries: at random up to a bound that doubles ("full jitter"), so that those who
/// failed together do not come back together.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let bound = PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    bound.mul_f64(rand::rng().random_range(0.0..1.0))
}

/// A URL for people: without user, password, query and fragment, where secrets are.
#[must_use]
pub fn place(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// The beginning of what somebody said, as one line that is safe in a log and on a terminal.
#[must_use]
pub fn quote(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    shorten(&words.collect::<Vec<_>>().join(" "), QUOTED)
}

/// What stands before it, for the end of an error: nothing when there is nothing to say.
#[must_use]
pub fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// The text, or so many characters of it and `…`.
#[must_use]
pub fn shorten(text: &str, most: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn why(error: &reqwest::Error) -> CallError {
    if error.is_builder() {
        CallError::Unsendable(format!("the request cannot be sent: {}", cause(error)))
    } else if error.is_timeout() {
        CallError::Unreachable(format!("no connection within {CONNECT:?}"))
    } else {
        CallError::Unreachable(cause(error))
    }
}

/// What is beneath an error; the layers above it say the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut inner = error.source();
    while let Some(source) = inner.and_then(Error::source) {
        inner = Some(source);
    }
    inner.map_or_else(|| "for no reason that is known".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_stands_for_a_link_local_address_is_not_called() {
        let ask = |name: &str| Lookup(Dial::default()).resolve(name.parse().unwrap());
        let refused = ask("169.254.169.254").await.err().expect("it is refused").to_string();
        assert!(refused.contains("link-local"), "{refused}");
        assert!(ask("localhost").await.unwrap().all(|address| address.ip().is_loopback()));
    }
}
