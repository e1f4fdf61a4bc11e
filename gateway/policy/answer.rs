//! Answers that Weir makes itself: refusals, failures, redirects, fixed responses.
//!
//! A client learns what it can act on and nothing of what is inside: no endpoint, no address, no library's words. The
//! code of the end reason is in the body, in `Proxy-Status` (RFC 9209) and in the access log, so that the three are
//! found by one word. Status and words of refusals come from [the table](super::refusal).

use std::borrow::Cow;
use std::io::Write;

use config::model::FixedResponse;

use super::headers::PSEUDONYM;
use super::refusal::{Refusal, Told};
use crate::log::EndReason;

/// Methods that are named where no route could take the request's own.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// An answer of Weir's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a>(Kind<'a>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind<'a> {
    /// A refusal, and the methods that routes take here, where it is for the method.
    Refused(Refusal, Option<String>),
    /// A redirect to this URL.
    Redirect(String),
    Fixed(&'a FixedResponse),
    /// The answer to `OPTIONS *`: what the gateway as a whole takes (RFC 9110, section 9.3.7).
    Methods,
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
    /// The answer to a request that is refused, or failed, for this reason.
    #[must_use]
    pub fn of(refusal: Refusal) -> Self {
        Self(Kind::Refused(refusal, None))
    }

    /// The same for a method that no route takes; `allow` are those that would be right, such as `GET, HEAD`.
    #[must_use]
    pub fn no_method(refusal: Refusal, allow: String) -> Self {
        Self(Kind::Refused(refusal, Some(allow)))
    }

    /// 308 to https. `host` is the matched host without a port, `target` path and query as received. `port` is the
    /// domain's if it names one, else that of the first TLS listener, else 443.
    #[must_use]
    pub fn to_https(host: &str, port: u16, target: &str) -> Self {
        let target = if target.starts_with('/') { target } else { "/" };
        Self(Kind::Redirect(match port {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        }))
    }

    /// What a `response:` version says.
    #[must_use]
    pub fn fixed(response: &'a FixedResponse) -> Self {
        Self(Kind::Fixed(response))
    }

    /// 204 with the methods that the gateway as a whole takes.
    #[must_use]
    pub fn methods() -> Self {
        Self(Kind::Methods)
    }

    /// The end reason of a request that is answered so.
    #[must_use]
    pub fn end(&self) -> EndReason {
        match &self.0 {
            Kind::Refused(refusal, _) => refusal.end(),
            Kind::Redirect(_) => EndReason::Redirected,
            Kind::Fixed(_) | Kind::Methods => EndReason::Fixed,
        }
    }

    /// The refusal that is told; `None` for redirects and fixed responses.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        if let Kind::Refused(refusal, _) = self.0 { Some(refusal) } else { None }
    }

    /// The status line's number.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.0 {
            Kind::Refused(refusal, _) => told(*refusal).status,
            Kind::Redirect(_) => 308,
            Kind::Fixed(response) => response.status,
            Kind::Methods => 204,
        }
    }

    /// True if the connection ends with this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        matches!(&self.0, Kind::Refused(refusal, _) if told(*refusal).closes)
    }

    /// The answer to a request with this method and `Accept`: JSON, or plain text for who asks for text and not for JSON.
    #[must_use]
    pub fn reply(self, method: &str, accept: Option<&[u8]>) -> Reply<'a> {
        let status = self.status();
        let mut headers = Vec::with_capacity(6);
        let body: Cow<'a, [u8]> = match self.0 {
            Kind::Fixed(response) => fixed_page(response, &mut headers),
            Kind::Redirect(location) => {
                headers.push(("location", Cow::Owned(location)));
                Cow::Borrowed(b"")
            }
            Kind::Methods => {
                headers.push(("allow", METHODS.into()));
                Cow::Borrowed(b"")
            }
            Kind::Refused(refusal, allow) => {
                headers.push(("proxy-status", proxy_status(refusal).into()));
                headers.push(("cache-control", "no-store".into()));
                match refusal {
                    Refusal::Connect | Refusal::Trace => headers.push(("allow", METHODS.into())),
                    Refusal::NoHealthy | Refusal::Overloaded => headers.push(("retry-after", "1".into())),
                    _ => headers.extend(allow.map(|methods| ("allow", methods.into()))),
                }
                page(refusal, wants_text(accept), &mut headers)
            }
        };
        if !matches!(status, 204 | 304) {
            headers.push(("content-length", body.len().to_string().into()));
        }
        let silent = method == "HEAD" || matches!(status, 204 | 304);
        Reply { status, headers, body: if silent { Cow::Borrowed(b"") } else { body } }
    }
}

impl Reply<'_> {
    /// The whole response as HTTP/1.1, the last one of its connection, for a request that no lane has seen.
    #[must_use]
    pub fn to_http1(&self, request_id: &[u8]) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut text = Vec::with_capacity(512);
        let _ = write!(text, "HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or_default());
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.extend_from_slice(b"x-request-id: ");
        text.extend_from_slice(request_id);
        text.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
        text.extend_from_slice(&self.body);
        text
    }
}

/// The words of a refusal for its client. One that has no words of its own is never told over HTTP.
fn told(refusal: Refusal) -> Told {
    refusal.row().told.or_else(|| Refusal::Internal.row().told).expect("an internal failure has an answer")
}

/// RFC 9209 section 2: our name, the error type, and the short code as details.
fn proxy_status(refusal: Refusal) -> String {
    let Told { error, end, .. } = told(refusal);
    format!("{PSEUDONYM}; error={error}; details=\"{}\"", end.code())
}

fn page<'a>(refusal: Refusal, text: bool, headers: &mut Vec<(&'a str, Cow<'a, str>)>) -> Cow<'a, [u8]> {
    let Told { status, end, sentence, .. } = told(refusal);
    let (code, end) = (end.name(), end.code());
    let (kind, page) = if text {
        ("text/plain; charset=utf-8", format!("{status} {code}: {sentence}\n"))
    } else {
        ("application/json", format!("{{\"code\":\"{code}\",\"message\":\"{sentence}\",\"end\":\"{end}\"}}\n"))
    };
    headers.push(("content-type", kind.into()));
    Cow::Owned(page.into_bytes())
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

#[cfg(test)]
mod tests {
    use config::route::resolve::Unresolved;

    use super::*;

    /// Status, headers and body as one text.
    fn shown(reply: &Reply<'_>) -> String {
        let headers: String = reply.headers.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
        format!("{}\n{headers}\n{}", reply.status, String::from_utf8_lossy(&reply.body))
    }

    #[test]
    fn a_refusal_in_json_and_in_text() {
        assert_eq!(
            shown(&Answer::of(Unresolved::NoDomain.into()).reply("GET", None)),
            "404\nproxy-status: weir; error=destination_not_found; details=\"NR\"\ncache-control: no-store\n\
             content-type: application/json\ncontent-length: 80\n\n\
             {\"code\":\"NoRoute\",\"message\":\"no domain is configured for this host\",\"end\":\"NR\"}\n"
        );
        assert_eq!(
            shown(
                &Answer::no_method(Unresolved::MethodNotAllowed(None).into(), "GET, HEAD".to_owned())
                    .reply("POST", Some(b"Text/HTML,*/*;q=0.8"))
            ),
            "405\nproxy-status: weir; error=http_request_error; details=\"NM\"\ncache-control: no-store\n\
             allow: GET, HEAD\ncontent-type: text/plain; charset=utf-8\ncontent-length: 46\n\n\
             405 NoMethod: no route takes this method here\n"
        );
        assert!(!wants_text(Some(b"application/json, text/plain, */*")) && !wants_text(Some(b"*/*")));
    }

    #[test]
    fn a_head_request_gets_the_length_but_no_body() {
        let get = Answer::of(Refusal::NoHealthy).reply("GET", None);
        let head = Answer::of(Refusal::NoHealthy).reply("HEAD", None);
        assert_eq!(head.headers, get.headers);
        assert!(get.headers.contains(&("retry-after", "1".into())));
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
    fn every_refusal_has_a_page_that_json_readers_can_read() {
        for refusal in Refusal::ALL.iter().filter(|refusal| refusal.row().told.is_some()) {
            let reply = Answer::of(*refusal).reply("GET", None);
            let page: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(page["end"], refusal.end().code());
            assert!((400..600).contains(&reply.status), "{refusal:?}");
        }
    }

    #[test]
    fn a_reply_without_a_lane_is_framed() {
        let text = String::from_utf8(Answer::of(Refusal::Connect).reply("GET", None).to_http1(b"id-1")).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\nproxy-status: weir; "), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("allow: GET, HEAD, "), "{head}");
        assert!(head.ends_with("x-request-id: id-1\r\nconnection: close"), "{head}");
    }
}
