//! How a request ended: a closed list of short codes, the same in the access log, in metrics and in error answers.

/// How a request ended. Codes that Envoy's response flags have keep Envoy's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// An endpoint answered, whatever it said.
    Answered,
    /// A `response:` version answered.
    Fixed,
    /// Redirected to https.
    Redirected,
    /// 400: the head breaks the protocol.
    BadRequest,
    /// 400: the alias asks for a routing key and there is none.
    MissingKey,
    /// 403: a direct host, and the client may not use it.
    Denied,
    /// 404: no domain, route, stage, alias or version.
    NoRoute,
    /// 405: the path has routes, but none with this method.
    NoMethod,
    /// 408, or an answer cut short: the client was too slow, with its request or in taking the answer.
    SlowClient,
    /// 413: the body is larger than `limits.body_bytes`.
    BodyTooLarge,
    /// 414: the target is longer than `limits.target_bytes`.
    TargetTooLong,
    /// 421: the host is not one that this TLS connection was made for.
    Misdirected,
    /// 431: the head is larger than `limits.head_bytes`, or has more fields than `limits.headers`.
    HeadTooLarge,
    /// The client left before it had the whole answer.
    ClientLeft,
    /// 500: a fault of this gateway.
    Internal,
    /// 502: no connection to an endpoint.
    ConnectFailed,
    /// 502, or an answer cut short: the endpoint closed the connection.
    UpstreamReset,
    /// 502: the endpoint's answer breaks the protocol.
    UpstreamProtocol,
    /// 503: no endpoint of the version is healthy.
    NoHealthy,
    /// 503: this gateway is at one of its own limits.
    Overloaded,
    /// 503: what the route leads to is stored and cannot be read.
    Unreadable,
    /// 504: an endpoint took too long.
    UpstreamTimeout,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 22] = [
        Self::Answered,
        Self::Fixed,
        Self::Redirected,
        Self::BadRequest,
        Self::MissingKey,
        Self::Denied,
        Self::NoRoute,
        Self::NoMethod,
        Self::SlowClient,
        Self::BodyTooLarge,
        Self::TargetTooLong,
        Self::Misdirected,
        Self::HeadTooLarge,
        Self::ClientLeft,
        Self::Internal,
        Self::ConnectFailed,
        Self::UpstreamReset,
        Self::UpstreamProtocol,
        Self::NoHealthy,
        Self::Overloaded,
        Self::Unreadable,
        Self::UpstreamTimeout,
    ];

    /// The short code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Fixed => "FX",
            Self::Redirected => "RD",
            Self::BadRequest => "DPE",
            Self::MissingKey => "MK",
            Self::Denied => "DN",
            Self::NoRoute => "NR",
            Self::NoMethod => "NM",
            Self::SlowClient => "DT",
            Self::BodyTooLarge => "BL",
            Self::TargetTooLong => "TL",
            Self::Misdirected => "MD",
            Self::HeadTooLarge => "HL",
            Self::ClientLeft => "DC",
            Self::Internal => "IE",
            Self::ConnectFailed => "UF",
            Self::UpstreamReset => "UC",
            Self::UpstreamProtocol => "UPE",
            Self::NoHealthy => "UH",
            Self::Overloaded => "OL",
            Self::Unreadable => "CU",
            Self::UpstreamTimeout => "UT",
        }
    }

    /// The name as error answers write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "Answered",
            Self::Fixed => "Fixed",
            Self::Redirected => "Redirected",
            Self::BadRequest => "BadRequest",
            Self::MissingKey => "MissingKey",
            Self::Denied => "Denied",
            Self::NoRoute => "NoRoute",
            Self::NoMethod => "NoMethod",
            Self::SlowClient => "SlowClient",
            Self::BodyTooLarge => "BodyTooLarge",
            Self::TargetTooLong => "TargetTooLong",
            Self::Misdirected => "Misdirected",
            Self::HeadTooLarge => "HeadTooLarge",
            Self::ClientLeft => "ClientLeft",
            Self::Internal => "Internal",
            Self::ConnectFailed => "ConnectFailed",
            Self::UpstreamReset => "UpstreamReset",
            Self::UpstreamProtocol => "UpstreamProtocol",
            Self::NoHealthy => "NoHealthy",
            Self::Overloaded => "Overloaded",
            Self::Unreadable => "Unreadable",
            Self::UpstreamTimeout => "UpstreamTimeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_means_two_things() {
        let mut codes: Vec<_> = EndReason::ALL.iter().map(|end| end.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), EndReason::ALL.len());
    }
}
