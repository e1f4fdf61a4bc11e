//! The framing of an answer that a client can read, by the version of HTTP that it speaks, and the trailers behind bodies.

use http::{HeaderMap, Method, StatusCode, header};

use super::Fields;

/// Fields that a recipient needs before the body, or that are between two hops: none of them may be a trailer (RFC 9110,
/// section 6.5.1).
const NO_TRAILERS: [&str; 26] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authorization",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "vary",
];

/// True if the end of the connection is the end of the body for a client that knows no chunks: nothing else says how
/// long the body is.
#[must_use]
pub fn ends_with_connection(method: &Method, status: StatusCode, fields: &HeaderMap) -> bool {
    let has_body = *method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    has_body && !fields.contains_key(header::CONTENT_LENGTH)
}

/// True for a field that may stand behind a body. Names in lower case. Those that the gateway sets itself, and conditions, are
/// not taken from a trailer section either.
#[must_use]
pub fn may_be_trailer(name: &str) -> bool {
    let ours = ["x-weir-", "x-forwarded-", "x-request-id", "x-real-ip", "proxy-", "www-", "if-", "upgrade"];
    !NO_TRAILERS.contains(&name) && !ours.iter().any(|start| name.starts_with(start))
}

/// The names of the trailers that a head announces and that may be passed on, in lower case, between commas. Empty where there
/// are none.
#[must_use]
pub fn announced_trailers<F: Fields + ?Sized>(fields: &F) -> String {
    let lists = fields.fields().filter(|(name, _)| name.eq_ignore_ascii_case("trailer"));
    let names = lists.flat_map(|(_, value)| value.split(|&byte| byte == b','));
    let mut announced = String::new();
    for name in names.filter_map(|name| str::from_utf8(name.trim_ascii()).ok()) {
        let name = name.to_ascii_lowercase();
        if !name.is_empty() && may_be_trailer(&name) {
            announced.push_str(if announced.is_empty() { "" } else { "," });
            announced.push_str(&name);
        }
    }
    announced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_announced_trailers_that_may_stand_there_are_passed_on() {
        for (fields, expected) in [
            (&[("x-a", &b"b"[..])][..], ""),
            (&[("Trailer", b"X-Sum")], "x-sum"),
            (&[("trailer", b"grpc-status, Content-Length,, host"), ("Trailer", b"x-b")], "grpc-status,x-b"),
            (&[("trailer", b"transfer-encoding, X-Weir-Version, if-match, set-cookie")], ""),
        ] {
            assert_eq!(announced_trailers(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn only_a_body_without_a_length_ends_with_the_connection() {
        let with = HeaderMap::from_iter([(header::CONTENT_LENGTH, "3".parse().unwrap())]);
        let without = HeaderMap::new();
        for (method, status, fields, expected) in [
            (Method::GET, 200, &without, true),
            (Method::GET, 200, &with, false),
            (Method::POST, 404, &without, true),
            (Method::HEAD, 200, &without, false),
            (Method::GET, 204, &without, false),
            (Method::GET, 304, &without, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(ends_with_connection(&method, status, fields), expected, "{method} {status} {fields:?}");
        }
    }
}
