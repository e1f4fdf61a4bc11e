//! Events: what is invoked with them, what an endpoint gets of them, and what comes back.
//!
//! In event mode the payload is posted as it is. In proxy mode it is an event of API Gateway, version 2.0 of the payload format, of
//! which the HTTP request is rebuilt; the answer is packed as API Gateway wants it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::dialect::failure::{DialectFailure, FailureKind};
use crate::value::path;

/// The most bytes of a routing key.
pub const MOST_ROUTING_KEY: usize = 1024;

/// An HTTP request that an event holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxiedRequest {
    /// Upper case.
    pub method: String,
    /// Absolute, still percent-encoded.
    pub path: String,
    /// Behind the `?`; `None` for none.
    pub query: Option<String>,
    /// Header fields, cookies among them.
    pub headers: HeaderMap,
    /// Decoded.
    pub body: Vec<u8>,
}

/// The parts of an event that make a request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    version: String,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    cookies: Option<Vec<String>>,
    headers: Option<Map<String, Value>>,
    request_context: Context,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct Context {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
    path: Option<String>,
}

impl ProxiedRequest {
    /// The request in an event; `None` if it is no event of API Gateway of version 2.0.
    ///
    /// # Errors
    /// The payload is such an event, and holds what cannot be sent.
    pub fn read(payload: &[u8]) -> Result<Option<Self>, DialectFailure> {
        let Ok(event) = serde_json::from_slice::<Event>(payload) else { return Ok(None) };
        if event.version != "2.0" {
            return Ok(None);
        }
        let wrong = |what: String| DialectFailure::new(FailureKind::WrongBody, format!("the event: {what}"));
        let Http { method, path } = event.request_context.http;
        let method = method.to_ascii_uppercase();
        if Method::from_bytes(method.as_bytes()).is_err() || matches!(&*method, "CONNECT" | "TRACE") {
            return Err(wrong(format!("`requestContext.http.method` is `{method}`, which is not forwarded")));
        }
        let path = event.raw_path.or(path).unwrap_or_else(|| "/".to_owned());
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !path::is_plain(&path) || !is_visible(&path) || path.contains('?') {
            return Err(wrong("`rawPath` is an absolute path, percent-encoded, without `.` and `..`".to_owned()));
        }
        let query = event.raw_query_string.filter(|query| !query.is_empty());
        if !query.as_deref().is_none_or(is_visible) {
            return Err(wrong("`rawQueryString` is percent-encoded".to_owned()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in event.headers.unwrap_or_default() {
            let value = match &value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => return Err(wrong(format!("the header `{name}` is no text"))),
            };
            append(&mut headers, &name, &value)
                .ok_or_else(|| wrong(format!("`{name}` is no header that can be sent")))?;
        }
        if let Some(cookies) = event.cookies.filter(|cookies| !cookies.is_empty()) {
            headers.remove("cookie");
            append(&mut headers, "cookie", &cookies.join("; "))
                .ok_or_else(|| wrong("`cookies` cannot be sent".to_owned()))?;
        }
        let body = event.body.unwrap_or_default();
        let body = match event.is_base64_encoded {
            true => STANDARD.decode(body).map_err(|_| wrong("`body` is not base64".to_owned()))?,
            false => body.into_bytes(),
        };
        Ok(Some(Self { method, path, query, headers, body }))
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Option<()> {
    let (name, value) = (HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    headers.append(name, value);
    Some(())
}

/// An answer as API Gateway takes it from a function.
#[must_use]
pub fn packed_answer(status: u16, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut fields: Map<String, Value> = Map::new();
    let mut cookies = Vec::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == "set-cookie" {
            cookies.push(Value::String(text));
            continue;
        }
        match fields.get_mut(name.as_str()) {
            Some(Value::String(before)) => *before = format!("{before},{text}"),
            _ => drop(fields.insert(name.as_str().to_owned(), text.into())),
        }
    }
    let text = if headers.contains_key("content-encoding") { None } else { str::from_utf8(body).ok() };
    let (body, is_encoded) = text.map_or_else(|| (STANDARD.encode(body), true), |text| (text.to_owned(), false));
    let mut answer = Map::new();
    answer.insert("statusCode".to_owned(), status.into());
    answer.insert("headers".to_owned(), fields.into());
    if !cookies.is_empty() {
        answer.insert("cookies".to_owned(), cookies.into());
    }
    answer.insert("body".to_owned(), body.into());
    answer.insert("isBase64Encoded".to_owned(), is_encoded.into());
    Value::Object(answer).to_string().into_bytes()
}

/// The fields of a routing key: `{"User": "Bob"}`, an object of texts and numbers.
///
/// # Errors
/// The text is too long, or no such object.
pub fn routing_key(text: &str) -> Result<Vec<(String, String)>, DialectFailure> {
    let wrong = |what: &str| DialectFailure::new(FailureKind::WrongParameter, format!("the routing key {what}"));
    if text.len() > MOST_ROUTING_KEY {
        return Err(wrong(&format!("has {} bytes, and may have {MOST_ROUTING_KEY}", text.len())));
    }
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| wrong("is a JSON object of texts, such as {\"User\": \"Bob\"}"))?;
    let field = |(name, value): (String, Value)| match value {
        _ if HeaderName::from_bytes(name.as_bytes()).is_err() => {
            Err(wrong(&format!("has `{name}`, which is no name of a header")))
        }
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        _ => Err(wrong(&format!("has for `{name}` neither a text nor a number"))),
    };
    fields.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"version": "2.0", "routeKey": "$default", "rawPath": "/a%20b", "rawQueryString": "x=1&y=%2F",
        "cookies": ["uid=7", "theme=dark"], "headers": {"accept": "*/*", "Cookie": "old=1", "x-count": 3},
        "requestContext": {"http": {"method": "post", "path": "/a b", "sourceIp": "10.0.0.7"}},
        "body": "aGk=", "isBase64Encoded": true}"#;

    #[test]
    fn the_request_of_an_event_is_rebuilt() {
        let request = ProxiedRequest::read(EVENT.as_bytes()).unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a%20b"));
        assert_eq!((request.query.as_deref(), request.body.as_slice()), (Some("x=1&y=%2F"), &b"hi"[..]));
        assert_eq!(request.headers["cookie"], "uid=7; theme=dark");
        assert_eq!(
            (&request.headers["accept"], &request.headers["x-count"]),
            (&"*/*".parse().unwrap(), &"3".parse().unwrap())
        );
        for other in ["", "{}", "[1]", r#"{"version": "1.0"}"#, r#"{"version": "2.0", "requestContext": {}}"#] {
            assert_eq!(ProxiedRequest::read(other.as_bytes()), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for (from, to, why) in [
            ("/a%20b", "/a/../b", "rawPath"),
            ("/a%20b", "a", "rawPath"),
            ("/a%20b", "/a b", "rawPath"),
            ("x=1&y=%2F", "x=1 2", "rawQueryString"),
            ("\"post\"", "\"CONNECT\"", "method"),
            ("\"post\"", "\"po st\"", "method"),
            ("\"*/*\"", "\"a\\r\\nb: c\"", "accept"),
            ("\"*/*\"", "[1]", "accept"),
            ("aGk=", "a", "base64"),
        ] {
            let failure = ProxiedRequest::read(EVENT.replace(from, to).as_bytes()).unwrap_err();
            assert!(failure.kind == FailureKind::WrongBody && failure.message.contains(why), "{to}: {failure}");
        }
    }

    #[test]
    fn answers_are_packed_for_the_gateway_before_us() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("content-type", "text/plain"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("vary", "a"), ("vary", "b")]
        {
            headers.append(name, value.parse().unwrap());
        }
        let text = String::from_utf8(packed_answer(404, &headers, "grün".as_bytes())).unwrap();
        assert_eq!(
            text,
            r#"{"body":"grün","cookies":["a=1","b=2"],"headers":{"content-type":"text/plain","vary":"a,b"},"isBase64Encoded":false,"statusCode":404}"#
        );
        let bytes: Value = serde_json::from_slice(&packed_answer(200, &HeaderMap::new(), &[0xff])).unwrap();
        assert_eq!((bytes["body"].as_str(), bytes["isBase64Encoded"].as_bool()), (Some("/w=="), Some(true)));
        headers.insert("content-encoding", "gzip".parse().unwrap());
        let coded: Value = serde_json::from_slice(&packed_answer(200, &headers, b"a")).unwrap();
        assert_eq!(coded["isBase64Encoded"], true);
    }

    #[test]
    fn routing_keys_are_objects_of_texts_and_numbers() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(routing_key(r#"{"User": "Bob"}"#), Ok(vec![pair("User", "Bob")]));
        assert_eq!(routing_key(r#"{"userHash": 30}"#), Ok(vec![pair("userHash", "30")]));
        assert_eq!(routing_key("{}"), Ok(vec![]));
        for wrong in ["Bob", "[]", r#"{"a": [1]}"#, r#"{"a b": "1"}"#, r#"{"a": null}"#] {
            assert_eq!(routing_key(wrong).unwrap_err().kind, FailureKind::WrongParameter, "{wrong}");
        }
        assert!(routing_key(&format!(r#"{{"User": "{}"}}"#, "x".repeat(1024))).unwrap_err().message.contains("1024"));
    }
}
