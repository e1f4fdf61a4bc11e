//! Answers that Weir makes itself: refusals, failures, redirects, fixed responses.
//!
//! A client learns what it can act on and nothing of what is inside: no endpoint, no address, no library's words. The
//! code of the end reason is in the body, in `Proxy-Status` (RFC 9209) and in the access log, so that the three are
//! found by one word.

use std::borrow::Cow;

use config::model::FixedResponse;

use super::headers::PSEUDONYM;
use crate::log::EndReason;

/// An answer of Weir's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Why; decides status and text, except for fixed responses.
    pub end: EndReason,
    extra: Extra<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Extra<'a> {
    None,
    /// Methods for `Allow`, such as `GET, HEAD`.
    Allow(Cow<'a, str>),
    /// Seconds for `Retry-After`.
    RetryAfter(u32),
    /// Target of the redirect.
    Location(String),
    Fixed(&'a FixedResponse),
}

/// An answer ready to be sent. Response edits still apply on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a> {
    /// 200..=599.
    pub status: u16,
    /// Lower-case names. `content-length` is among them unless the status forbids it.
    pub headers: Vec<(&'a str, Cow<'a, str>)>,
    /// Empty for `HEAD`, 204 and 304.
    pub body: Cow<'a, [u8]>,
}

impl<'a> Answer<'a> {
    /// The refusal or failure of this reason; a reason that is neither is our own fault, 500.
    #[must_use]
    pub fn of(end: EndReason) -> Self {
        Self { end, extra: Extra::None }
    }

    /// 405, naming the methods that would be right.
    #[must_use]
    pub fn no_method(allow: impl Into<Cow<'a, str>>) -> Self {
        Self { end: EndReason::NoMethod, extra: Extra::Allow(allow.into()) }
    }

    /// 503 (no healthy endpoint, overload) that says when to come back.
    #[must_use]
    pub fn retry_after(end: EndReason, seconds: u32) -> Self {
        Self { end, extra: Extra::RetryAfter(seconds) }
    }

    /// 308 to https. `host` is the matched host without a port, `port` that of the TLS listener, `target` path and query
    /// as received.
    #[must_use]
    pub fn to_https(host: &str, port: u16, target: &str) -> Self {
        let target = if target.starts_with('/') { target } else { "/" };
        let location = match port {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        };
        Self { end: EndReason::Redirected, extra: Extra::Location(location) }
    }

    /// What a `response:` version says.
    #[must_use]
    pub fn fixed(response: &'a FixedResponse) -> Self {
        Self { end: EndReason::Fixed, extra: Extra::Fixed(response) }
    }

    /// The status line's number.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.extra {
            Extra::Fixed(response) => response.status,
            Extra::Location(_) => 308,
            _ => Words::of(self.end).status,
        }
    }

    /// Whether the connection should end with this answer: the rest of the request is of no use, or cannot be found.
    #[must_use]
    pub fn closes(&self) -> bool {
        use EndReason::{BadRequest, BodyTooLarge, HeadTooLarge, SlowClient, TargetTooLong};
        matches!(self.end, BadRequest | BodyTooLarge | HeadTooLarge | SlowClient | TargetTooLong)
    }

    /// The answer to a request with this method and `Accept`: JSON, or plain text for who asks for text and not for JSON.
    #[must_use]
    pub fn reply(self, method: &str, accept: Option<&[u8]>) -> Reply<'a> {
        let status = self.status();
        let mut headers = Vec::with_capacity(6);
        let body: Cow<'a, [u8]> = match self.extra {
            Extra::Fixed(response) => fixed_page(response, &mut headers),
            Extra::Location(location) => {
                headers.push(("location", Cow::Owned(location)));
                Cow::Borrowed(b"")
            }
            extra => {
                let words = Words::of(self.end);
                headers.push(("proxy-status", words.proxy_status(self.end).into()));
                headers.push(("cache-control", "no-store".into()));
                match extra {
                    Extra::Allow(methods) => headers.push(("allow", methods)),
                    Extra::RetryAfter(seconds) => headers.push(("retry-after", seconds.to_string().into())),
                    _ => {}
                }
                words.page(self.end, wants_text(accept), &mut headers)
            }
        };
        if !matches!(status, 204 | 304) {
            headers.push(("content-length", body.len().to_string().into()));
        }
        let silent = method == "HEAD" || matches!(status, 204 | 304);
        Reply { status, headers, body: if silent { Cow::Borrowed(b"") } else { body } }
    }
}

fn fixed_page<'a>(response: &'a FixedResponse, headers: &mut Vec<(&'a str, Cow<'a, str>)>) -> Cow<'a, [u8]> {
    headers.extend(response.headers.iter().map(|(name, value)| (name.as_str(), Cow::from(value.as_str()))));
    let named = response.headers.iter().any(|(name, _)| name == "content-type");
    if !named && !response.body.is_empty() {
        headers.push(("content-type", "text/plain; charset=utf-8".into()));
    }
    Cow::Borrowed(response.body.as_bytes())
}

/// Whether the client would rather read text: browsers, and `Accept: text/plain`.
fn wants_text(accept: Option<&[u8]>) -> bool {
    let accept = accept.unwrap_or_default();
    let names = |word: &[u8]| accept.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    names(b"text/") && !names(b"json")
}

/// What a client is told.
struct Words {
    status: u16,
    /// One word for programs.
    code: &'static str,
    /// One sentence for people. Needs no JSON escaping.
    message: &'static str,
    /// Error type of RFC 9209 section 2.3.
    error: &'static str,
}

impl Words {
    fn of(end: EndReason) -> Self {
        let (status, code, message, error) = match end {
            EndReason::BadRequest => (400, "BadRequest", "the request breaks the protocol", "http_request_error"),
            EndReason::MissingKey => (400, "MissingKey", "the request carries no routing key", "http_request_error"),
            EndReason::Denied => (403, "Denied", "direct hosts answer trusted clients only", "http_request_denied"),
            EndReason::NoRoute => (404, "NoRoute", "nothing is routed at this host and path", "destination_not_found"),
            EndReason::NoMethod => (405, "NoMethod", "no route takes this method here", "http_request_error"),
            EndReason::SlowClient | EndReason::ClientLeft => {
                (408, "SlowClient", "the request took too long to arrive", "http_request_error")
            }
            EndReason::BodyTooLarge => (413, "BodyTooLarge", "the request body is too large", "http_request_error"),
            EndReason::TargetTooLong => (414, "TargetTooLong", "the request target is too long", "http_request_error"),
            EndReason::Misdirected => {
                (421, "Misdirected", "this connection was not made for this host", "http_request_error")
            }
            EndReason::HeadTooLarge => (431, "HeadTooLarge", "the request head is too large", "http_request_error"),
            EndReason::ConnectFailed => {
                (502, "ConnectFailed", "no connection to an endpoint", "destination_unavailable")
            }
            EndReason::UpstreamReset => {
                (502, "UpstreamReset", "the endpoint closed the connection", "connection_terminated")
            }
            EndReason::UpstreamProtocol => {
                (502, "UpstreamProtocol", "the endpoint's answer breaks the protocol", "http_protocol_error")
            }
            EndReason::NoHealthy => (503, "NoHealthy", "no endpoint is healthy", "destination_unavailable"),
            EndReason::Overloaded => (503, "Overloaded", "the gateway is at its limit", "connection_limit_reached"),
            EndReason::UpstreamTimeout => {
                (504, "UpstreamTimeout", "the endpoint took too long", "http_response_timeout")
            }
            EndReason::Internal | EndReason::Answered | EndReason::Fixed | EndReason::Redirected => {
                (500, "Internal", "the gateway failed", "proxy_internal_error")
            }
        };
        Self { status, code, message, error }
    }

    /// RFC 9209 section 2: our name, the error type, and the short code as details.
    fn proxy_status(&self, end: EndReason) -> String {
        format!("{PSEUDONYM}; error={}; details=\"{}\"", self.error, end.code())
    }

    fn page<'a>(&self, end: EndReason, text: bool, headers: &mut Vec<(&'a str, Cow<'a, str>)>) -> Cow<'a, [u8]> {
        let (kind, page) = if text {
            ("text/plain; charset=utf-8", format!("{} {}: {}\n", self.status, self.code, self.message))
        } else {
            let (code, message, end) = (self.code, self.message, end.code());
            ("application/json", format!("{{\"code\":\"{code}\",\"message\":\"{message}\",\"end\":\"{end}\"}}\n"))
        };
        headers.push(("content-type", kind.into()));
        Cow::Owned(page.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, headers and body as one text.
    fn shown(reply: &Reply<'_>) -> String {
        let headers: String = reply.headers.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
        format!("{}\n{headers}\n{}", reply.status, String::from_utf8_lossy(&reply.body))
    }

    #[test]
    fn a_refusal_in_json_and_in_text() {
        assert_eq!(
            shown(&Answer::of(EndReason::NoRoute).reply("GET", None)),
            "404\nproxy-status: weir; error=destination_not_found; details=\"NR\"\ncache-control: no-store\n\
             content-type: application/json\ncontent-length: 82\n\n\
             {\"code\":\"NoRoute\",\"message\":\"nothing is routed at this host and path\",\"end\":\"NR\"}\n"
        );
        assert_eq!(
            shown(&Answer::no_method("GET, HEAD").reply("POST", Some(b"Text/HTML,*/*;q=0.8"))),
            "405\nproxy-status: weir; error=http_request_error; details=\"NM\"\ncache-control: no-store\n\
             allow: GET, HEAD\ncontent-type: text/plain; charset=utf-8\ncontent-length: 46\n\n\
             405 NoMethod: no route takes this method here\n"
        );
        assert!(!wants_text(Some(b"application/json, text/plain, */*")) && !wants_text(Some(b"*/*")));
    }

    #[test]
    fn a_head_request_gets_the_length_but_no_body() {
        let get = Answer::retry_after(EndReason::NoHealthy, 5).reply("GET", None);
        let head = Answer::retry_after(EndReason::NoHealthy, 5).reply("HEAD", None);
        assert_eq!(head.headers, get.headers);
        assert!(get.headers.contains(&("retry-after", "5".into())));
        assert!(get.headers.contains(&("content-length", get.body.len().to_string().into())));
        assert!(head.body.is_empty() && !get.body.is_empty());
    }

    #[test]
    fn redirects_keep_path_and_query() {
        for (port, target, location) in [
            (443, "/a?b=1", "https://shop.example.com/a?b=1"),
            (8443, "/", "https://shop.example.com:8443/"),
            (443, "*", "https://shop.example.com/"),
        ] {
            let reply = Answer::to_https("shop.example.com", port, target).reply("GET", None);
            assert_eq!(shown(&reply), format!("308\nlocation: {location}\ncontent-length: 0\n\n"));
        }
    }

    #[test]
    fn fixed_responses_say_what_they_are_told() {
        let page =
            FixedResponse { status: 503, headers: vec![("retry-after".into(), "60".into())], body: "soon".into() };
        assert_eq!(
            shown(&Answer::fixed(&page).reply("GET", None)),
            "503\nretry-after: 60\ncontent-type: text/plain; charset=utf-8\ncontent-length: 4\n\nsoon"
        );
        let html = FixedResponse { headers: vec![("content-type".into(), "text/html".into())], ..page.clone() };
        let reply = Answer::fixed(&html).reply("GET", None);
        assert_eq!(reply.headers, [("content-type", "text/html".into()), ("content-length", "4".into())]);
        for status in [204, 304] {
            let empty = FixedResponse { status, headers: Vec::new(), ..page.clone() };
            let reply = Answer::fixed(&empty).reply("GET", None);
            assert!(reply.body.is_empty() && reply.headers.iter().all(|(n, _)| *n != "content-length"), "{reply:?}");
        }
    }

    #[test]
    fn every_reason_has_a_page_that_json_readers_can_read() {
        for end in EndReason::ALL {
            let reply = Answer::of(end).reply("GET", None);
            let page: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(page["end"], end.code());
            assert!((400..600).contains(&reply.status), "{end:?}");
        }
    }
}
