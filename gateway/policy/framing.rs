//! The framing of an answer that a client can read, by the version of HTTP that it speaks.

use http::{HeaderMap, Method, StatusCode, header};

/// True if the end of the connection is the end of the body for a client that knows no chunks: nothing else says how
/// long the body is.
#[must_use]
pub fn ends_with_connection(method: &Method, status: StatusCode, fields: &HeaderMap) -> bool {
    let has_body = *method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    has_body && !fields.contains_key(header::CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

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
