//! Whether a request is sent once more, inside its version. A pure decision; the lane acts on it.

use config::model::Retries;

use crate::metrics::Retry;

/// How an attempt failed, before any byte of an answer went to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The endpoint cannot have seen the request: no connection, or an HTTP/2 stream refused unprocessed.
    Unsent,
    /// The connection ended before a whole response head came.
    Reset,
    /// A time limit passed after the request was sent.
    Timeout,
    /// The endpoint answered with this status.
    Status(u16),
}

impl Failure {
    /// The label of `weir_retries_total`.
    #[must_use]
    pub fn label(self) -> Retry {
        match self {
            Self::Unsent => Retry::Connect,
            Self::Reset => Retry::Reset,
            Self::Timeout => Retry::Timeout,
            Self::Status(_) => Retry::Status,
        }
    }
}

/// What is left of the request's body for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none, nothing of it was read yet, or all that was read is in the retry buffer.
    Replayable,
    /// Some of it is gone.
    Gone,
}

/// A request after a failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Method, upper case.
    pub method: &'a str,
    /// Whether the client sent `idempotency-key`.
    pub idempotency_key: bool,
    /// Its body.
    pub body: Body,
    /// Whether any byte of a response head went to the client.
    pub answered: bool,
    /// Attempts made, the failed one included.
    pub made: u32,
}

/// Whether the request is tried again. `budget` takes one retry out of the version's budget; it is asked last, and only
/// when everything else allows the retry.
pub fn again(attempt: &Attempt<'_>, failure: Failure, retries: &Retries, budget: impl FnOnce() -> bool) -> bool {
    let worth = match failure {
        Failure::Unsent => true,
        Failure::Reset => may_be_repeated(attempt),
        Failure::Timeout => false,
        Failure::Status(status) => retries.on_status.contains(&status) && may_be_repeated(attempt),
    };
    worth && !attempt.answered && attempt.body == Body::Replayable && attempt.made <= retries.attempts && budget()
}

/// Whether doing it twice is the same as doing it once: an idempotent method (RFC 9110 section 9.2.2, the safe ones of
/// 9.2.1 among them), or a client that promises so with `idempotency-key`.
pub fn may_be_repeated(attempt: &Attempt<'_>) -> bool {
    attempt.idempotency_key || matches!(attempt.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Attempt<'_> =
        Attempt { method: "GET", idempotency_key: false, body: Body::Replayable, answered: false, made: 1 };
    const POST: Attempt<'_> = Attempt { method: "POST", ..GET };

    #[test]
    fn what_may_be_tried_again() {
        let retries = Retries { attempts: 1, budget: 20, on_status: vec![503] };
        for (attempt, failure, expected) in [
            (GET, Failure::Unsent, true),
            (GET, Failure::Reset, true),
            (GET, Failure::Timeout, false),
            (GET, Failure::Status(503), true),
            (GET, Failure::Status(500), false),
            (POST, Failure::Unsent, true),
            (POST, Failure::Reset, false),
            (POST, Failure::Status(503), false),
            (Attempt { idempotency_key: true, ..POST }, Failure::Reset, true),
            (Attempt { idempotency_key: true, ..POST }, Failure::Status(503), true),
            (Attempt { method: "PUT", ..GET }, Failure::Reset, true),
            (Attempt { method: "PATCH", ..GET }, Failure::Reset, false),
            (Attempt { method: "get", ..GET }, Failure::Reset, false),
            (Attempt { body: Body::Gone, ..GET }, Failure::Unsent, false),
            (Attempt { answered: true, ..GET }, Failure::Reset, false),
            (Attempt { made: 2, ..GET }, Failure::Unsent, false),
        ] {
            assert_eq!(again(&attempt, failure, &retries, || true), expected, "{attempt:?} {failure:?}");
            assert!(!again(&attempt, failure, &retries, || false), "{attempt:?} {failure:?}");
        }
    }

    #[test]
    fn the_budget_is_not_touched_in_vain() {
        let none = Retries { attempts: 0, budget: 20, on_status: Vec::new() };
        again(&GET, Failure::Unsent, &none, || panic!("asked without need"));
        again(&GET, Failure::Timeout, &Retries::default(), || panic!("asked without need"));
    }
}
