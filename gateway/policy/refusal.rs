//! Every way in which a request, or a connection before it, is turned away: one table.
//!
//! A row says whose fault it is, how it stands in the access log, what the client is told, and whether the client's connection
//! can serve another request. The transport, the exchange and every lane answer from this table, so that the same mistake
//! has the same answer wherever it is found. The sentences of requests that go nowhere are those of
//! [`Unresolved`], which `weir explain` prints too.

use config::route::resolve::Unresolved;

use crate::log::EndReason;

/// The side that a refusal is blamed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client sent something wrong, too much, or too slowly. Not charged to the version.
    Client,
    /// Endpoints of the version failed, or it has none. Charged to the version.
    Endpoint,
    /// The gateway lacks something, or is wrong. Not charged to the version.
    Gateway,
}

/// The answer to the client over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The status code.
    pub status: u16,
    /// The end reason in the access log and in the body; its name is `code` in the body, one word for programs.
    pub end: EndReason,
    /// One sentence for people, `message` in the body. Needs no JSON escaping.
    pub sentence: &'static str,
    /// The error type of RFC 9209 section 2.3, in `Proxy-Status`.
    pub error: &'static str,
    /// True if the client's HTTP/1 connection ends with the answer, because the rest of the request is of no use or its
    /// end cannot be found.
    pub closes: bool,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The side that is blamed.
    pub fault: Fault,
    /// The label value in metrics.
    pub word: &'static str,
    /// The answer; `None` when nothing can be said in HTTP, before there is a request.
    pub told: Option<Told>,
}

macro_rules! table {
    (
        requests { $($(#[$doc:meta])* $name:ident: $fault:ident $end:ident $status:literal $closes:ident
            $error:literal $word:literal $sentence:literal;)* }
        connections { $($(#[$silent_doc:meta])* $silent:ident: $silent_fault:ident $silent_word:literal;)* }
    ) => {
        /// A reason to turn a request or a connection away.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
            $($(#[$silent_doc])* $silent,)*
            /// The request goes nowhere.
            Unresolved(Unresolved),
        }

        impl Refusal {
            /// All but [`Unresolved`](Self::Unresolved), in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)* $(Self::$silent,)*];

            /// The row of this refusal in the table.
            #[must_use]
            pub fn row(self) -> Row {
                match self {
                    $(Self::$name => {
                        let (status, end, sentence, error) = ($status, EndReason::$end, $sentence, $error);
                        let told = Told { status, end, sentence, error, closes: table!($closes) };
                        Row { fault: Fault::$fault, word: $word, told: Some(told) }
                    })*
                    $(Self::$silent => Row { fault: Fault::$silent_fault, word: $silent_word, told: None },)*
                    Self::Unresolved(unresolved) => unresolved_row(unresolved),
                }
            }
        }
    };
    (closes) => { true };
    (stays) => { false };
}

table! {
    requests {
        // The head.
        /// The head was not whole in time.
        HeadTimeout: Client SlowClient 408 closes "http_request_error" "head_timeout"
            "the request head took too long to arrive";
        /// The head has too many bytes.
        HeadTooLarge: Client HeadTooLarge 431 closes "http_request_error" "head_too_large"
            "the request head is too large";
        /// The head has too many fields.
        TooManyFields: Client HeadTooLarge 431 closes "http_request_error" "too_many_fields"
            "the request has too many header fields";
        /// The request target has too many bytes.
        TargetTooLong: Client TargetTooLong 414 closes "http_request_error" "target_too_long"
            "the request target is too long";
        /// The head is not HTTP/1, or can be read in two ways.
        MalformedHead: Client BadRequest 400 closes "http_request_error" "malformed_head"
            "the request head is malformed";
        /// A target that is neither a path nor a URL, or has characters that must be percent-encoded.
        MalformedTarget: Client BadRequest 400 closes "http_request_error" "malformed_target"
            "the request target is neither a path that starts with `/` nor an http URL";
        /// HTTP/1.1 without `Host`.
        MissingHost: Client BadRequest 400 closes "http_request_error" "missing_host"
            "the request has no Host";
        /// `Host` names another host than the request target.
        ContradictoryHost: Client BadRequest 400 closes "http_request_error" "contradictory_host"
            "Host names another host than the request target";
        /// HTTP without TLS on a listener for TLS.
        PlainOnTls: Client BadRequest 400 closes "http_request_error" "plain_on_tls"
            "this port speaks TLS: use https";
        /// `CONNECT`: Weir is no forward proxy.
        Connect: Client NoMethod 405 closes "http_request_error" "connect"
            "CONNECT is not served here";
        /// `TRACE`: it would show a caller the fields that proxies add (RFC 9110, section 9.3.8).
        Trace: Client NoMethod 405 stays "http_request_error" "trace"
            "TRACE is not served here";

        // The body.
        /// The client paused its body for too long, or sent it too slowly.
        SlowBody: Client SlowClient 408 closes "http_request_error" "slow_body"
            "the request body took too long to arrive";
        /// The body is not framed as HTTP/1 frames bodies, or is not what its head says.
        MalformedBody: Client BadRequest 400 closes "http_request_error" "malformed_body"
            "the request body is malformed";
        /// The body is larger than `limits.body_bytes`.
        BodyTooLarge: Client BodyTooLarge 413 closes "http_request_error" "body_too_large"
            "the request body is too large";

        // The way to a version.
        /// The TLS connection was made for a host with another certificate (RFC 9110, section 15.5.20).
        Misdirected: Client Misdirected 421 stays "http_request_error" "misdirected"
            "this connection was not made for this host";
        /// No endpoint of the version is healthy.
        NoHealthy: Endpoint NoHealthy 503 stays "destination_unavailable" "no_healthy"
            "no endpoint is healthy";
        /// A gRPC call to a version of HTTP/1.1 endpoints, whose trailers would be lost, where another version of the alias
        /// could answer it.
        LostTrailers: Endpoint UpstreamProtocol 502 stays "http_protocol_error" "lost_trailers"
            "gRPC needs a version with HTTP/2 endpoints";
        /// The same where no version could.
        NoTrailers: Gateway UpstreamProtocol 502 stays "http_protocol_error" "no_trailers"
            "gRPC needs a version with HTTP/2 endpoints";

        // An attempt at an endpoint.
        /// No connection to an endpoint came about.
        ConnectFailed: Endpoint ConnectFailed 502 closes "destination_unavailable" "connect_failed"
            "no connection to an endpoint";
        /// The endpoint closed the connection before its answer was whole.
        UpstreamReset: Endpoint UpstreamReset 502 closes "connection_terminated" "upstream_reset"
            "the endpoint closed the connection";
        /// The endpoint's answer breaks the protocol.
        UpstreamProtocol: Endpoint UpstreamProtocol 502 closes "http_protocol_error" "upstream_protocol"
            "the endpoint's answer breaks the protocol";
        /// The endpoint took too long.
        UpstreamTimeout: Endpoint UpstreamTimeout 504 closes "http_response_timeout" "upstream_timeout"
            "the endpoint took too long";
        /// The endpoint did not ask for the body that the client holds back (`Expect: 100-continue`), which is neither
        /// side's failure.
        NoContinue: Gateway UpstreamTimeout 504 closes "http_response_timeout" "no_continue"
            "the endpoint did not ask for the request body";
        /// Both sides of an event stream, a gRPC call or a tunnel were silent, as they may be.
        IdleStream: Gateway UpstreamTimeout 504 closes "http_response_timeout" "idle_stream"
            "both sides of the stream were silent for too long";

        // This gateway.
        /// Too many connections in all.
        Connections: Gateway Overloaded 503 closes "connection_limit_reached" "connections"
            "too many connections";
        /// Too many connections of one address.
        ConnectionsPerAddress: Client Overloaded 503 closes "connection_limit_reached" "connections_per_address"
            "too many connections of this address";
        /// The gateway is out of descriptors or of something else that a request needs.
        Overloaded: Gateway Overloaded 503 closes "connection_limit_reached" "overloaded"
            "the gateway is at its limit";
        /// The gateway failed.
        Internal: Gateway Internal 500 closes "proxy_internal_error" "internal"
            "the gateway failed";
    }
    connections {
        /// A peer that must send a PROXY protocol header sent none, or a wrong one.
        ProxyProtocol: Client "proxy_protocol";
        /// The TLS handshake was not done in time.
        HandshakeTimeout: Client "handshake_timeout";
        /// The TLS handshake failed.
        Handshake: Client "handshake";
        /// No server name, or one that no certificate is for.
        UnknownServerName: Client "unknown_server_name";
        /// HTTP/2 was agreed on and did not begin in time, or not with its preface.
        Http2Preface: Client "http2_preface";
        /// The system gave no connection (out of file descriptors, for example).
        Accept: Gateway "accept";
    }
}

impl Refusal {
    /// The label value in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// The end reason of a request that is turned away so.
    #[must_use]
    pub fn end(self) -> EndReason {
        self.row().told.map_or(EndReason::Internal, |told| told.end)
    }

    /// Every label value but those of [`Unresolved`].
    #[must_use]
    pub fn words() -> Vec<&'static str> {
        Self::ALL.iter().map(|refusal| refusal.word()).collect()
    }
}

impl From<Unresolved> for Refusal {
    fn from(unresolved: Unresolved) -> Self {
        Self::Unresolved(unresolved)
    }
}

fn unresolved_row(unresolved: Unresolved) -> Row {
    let (end, error) = match unresolved {
        Unresolved::Unreadable(_) => (EndReason::Unreadable, "proxy_configuration_error"),
        Unresolved::BadHost | Unresolved::BadPath => (EndReason::BadRequest, "http_request_error"),
        Unresolved::MissingKey(..) => (EndReason::MissingKey, "http_request_error"),
        Unresolved::DirectHostRefused => (EndReason::Denied, "http_request_denied"),
        Unresolved::MethodNotAllowed(_) => (EndReason::NoMethod, "http_request_error"),
        Unresolved::NoDomain
        | Unresolved::NoRoute(_)
        | Unresolved::NoStage(_)
        | Unresolved::NoFunction(_)
        | Unresolved::NoAlias(..)
        | Unresolved::NoVersion(..) => (EndReason::NoRoute, "destination_not_found"),
    };
    let closes = end == EndReason::BadRequest;
    let told = Told { status: unresolved.status(), end, sentence: unresolved.sentence(), error, closes };
    let fault = if end == EndReason::Unreadable { Fault::Gateway } else { Fault::Client };
    Row { fault, word: unresolved.as_str(), told: Some(told) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_word_means_two_things() {
        let mut words = Refusal::words();
        words.extend(Unresolved::LABELS);
        let distinct: BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
    }

    #[test]
    fn the_status_says_whose_fault_it_is() {
        for refusal in Refusal::ALL {
            let Row { fault, told: Some(told), .. } = refusal.row() else { continue };
            match fault {
                Fault::Client => assert!(matches!(told.status, 400..500 | 503), "{refusal:?}"),
                Fault::Endpoint | Fault::Gateway => assert!(matches!(told.status, 500..600), "{refusal:?}"),
            }
            assert!(!told.sentence.contains(['"', '\\']), "{refusal:?}");
        }
    }

    #[test]
    fn requests_that_go_nowhere_are_told_what_explain_prints() {
        let row = Refusal::from(Unresolved::NoDomain).row();
        let told = row.told.unwrap();
        assert_eq!((row.word, told.status, told.end), ("no_domain", 404, EndReason::NoRoute));
        assert_eq!(told.sentence, Unresolved::NoDomain.to_string());
    }
}
