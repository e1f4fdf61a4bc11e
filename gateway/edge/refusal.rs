//! Why the transport turned a client away: a closed list, with the answer each one gets.

/// A reason to refuse a connection or a request before any lane has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The head was not whole in time.
    HeadTimeout,
    /// The head has too many bytes.
    HeadTooLarge,
    /// The head has too many fields.
    TooManyFields,
    /// The request target has too many bytes.
    TargetTooLong,
    /// Not HTTP/1, or something that can be read in two ways.
    MalformedHead,
    /// A request target that is neither a path nor an `http` or `https` URL, or has characters that must be encoded.
    MalformedTarget,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// `Host` names another host than the request target.
    ContradictoryHost,
    /// `CONNECT`: Weir is no forward proxy.
    Connect,
    /// Too many connections in all.
    Connections,
    /// Too many connections of one address.
    ConnectionsPerAddress,
    /// A peer that must send a PROXY protocol header sent none, or a wrong one.
    ProxyProtocol,
    /// The TLS handshake was not done in time.
    HandshakeTimeout,
    /// The TLS handshake failed.
    Handshake,
    /// No SNI, or one that no certificate is for.
    UnknownServerName,
    /// HTTP/2 was agreed on and did not begin in time, or not with its preface.
    Http2Preface,
    /// The system gave no connection (out of file descriptors, for example).
    Accept,
}

impl Refusal {
    /// All of them, in the order of the type.
    pub const ALL: [Self; 17] = [
        Self::HeadTimeout,
        Self::HeadTooLarge,
        Self::TooManyFields,
        Self::TargetTooLong,
        Self::MalformedHead,
        Self::MalformedTarget,
        Self::MissingHost,
        Self::ContradictoryHost,
        Self::Connect,
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::ProxyProtocol,
        Self::HandshakeTimeout,
        Self::Handshake,
        Self::UnknownServerName,
        Self::Http2Preface,
        Self::Accept,
    ];

    /// The value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeadTimeout => "head_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::TargetTooLong => "target_too_long",
            Self::MalformedHead => "malformed_head",
            Self::MalformedTarget => "malformed_target",
            Self::MissingHost => "missing_host",
            Self::ContradictoryHost => "contradictory_host",
            Self::Connect => "connect",
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::ProxyProtocol => "proxy_protocol",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Handshake => "handshake",
            Self::UnknownServerName => "unknown_server_name",
            Self::Http2Preface => "http2_preface",
            Self::Accept => "accept",
        }
    }

    /// Status line without version and sentence for the client; `None` when nothing can be said in HTTP.
    fn answer(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::HeadTimeout => ("408 Request Timeout", "the request head took too long"),
            Self::HeadTooLarge => ("431 Request Header Fields Too Large", "the request head is too large"),
            Self::TooManyFields => ("431 Request Header Fields Too Large", "the request has too many header fields"),
            Self::TargetTooLong => ("414 URI Too Long", "the request target is too long"),
            Self::MalformedHead => ("400 Bad Request", "the request head is malformed"),
            Self::MalformedTarget => {
                ("400 Bad Request", "the request target is neither a path that starts with `/` nor an http URL")
            }
            Self::MissingHost => ("400 Bad Request", "the request has no Host"),
            Self::ContradictoryHost => ("400 Bad Request", "Host names another host than the request target"),
            Self::Connect => ("405 Method Not Allowed", "CONNECT is not served here"),
            Self::Connections | Self::ConnectionsPerAddress => ("503 Service Unavailable", "too many connections"),
            Self::ProxyProtocol
            | Self::HandshakeTimeout
            | Self::Handshake
            | Self::UnknownServerName
            | Self::Http2Preface
            | Self::Accept => return None,
        })
    }

    /// The whole HTTP/1.1 response; `None` when nothing can be said in HTTP.
    #[must_use]
    pub fn response(self) -> Option<Vec<u8>> {
        let (status, text) = self.answer()?;
        let length = text.len() + 1;
        let allow = if self == Self::Connect { "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" } else { "" };
        Some(
            format!(
                "HTTP/1.1 {status}\r\n{allow}content-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{text}\n"
            )
            .into_bytes(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_label() {
        let labels: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }

    #[test]
    fn responses_are_framed() {
        for response in Refusal::ALL.iter().filter_map(|r| r.response()) {
            let text = String::from_utf8(response).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
            assert!(head.ends_with("connection: close"), "{head}");
        }
    }
}
